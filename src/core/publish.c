/*
 * publish.c
 *	  Publications: says so if one includes Rowan tables, whose changes are not decoded
 *	  (row/decode.c).
 *
 * Said where it begins to matter: when a publication is made or changed on a server with wal_level
 * = logical (with a lower one nothing at all is published, as core says), when a subscription
 * copies the table, and when decoding meets a change.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_publication.h"
#include "core/hooks.h"
#include "replication/walsender.h"
#include "table/table.h"
#include "utils/lsyscache.h"

static bool
is_rowan_table(Oid relation)
{
	Relation	rel = try_relation_open(relation, AccessShareLock);
	bool		result;

	if (rel == NULL)
		return false;
	result = rowan_relation_is_rowan(rel);
	relation_close(rel, AccessShareLock);
	return result;
}

static List *
tables_of(const Publication *publication)
{
	if (publication->alltables)
		return GetAllTablesPublicationRelations(false);
	return list_concat(GetPublicationRelations(publication->oid, PUBLICATION_PART_LEAF),
					   GetAllSchemaPublicationRelations(publication->oid, PUBLICATION_PART_LEAF));
}

static void
warn(const char *detail)
{
	ereport(WARNING,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("changes of Rowan tables are not published"),
			 errdetail_internal("%s", detail),
			 errhint("Replicate Rowan tables by streaming replication, or keep published tables in heap.")));
}

void
publish_warn(const char *name)
{
	Publication *publication;
	List	   *tables;
	ListCell   *cell;
	Oid			example = InvalidOid;
	int			n = 0;

	if (!XLogLogicalInfoActive())
		return;
	CommandCounterIncrement();
	publication = GetPublicationByName(name, true);
	if (publication == NULL)
		return;
	tables = tables_of(publication);
	foreach(cell, tables)
	{
		if (!is_rowan_table(lfirst_oid(cell)))
			continue;
		if (n++ == 0)
			example = lfirst_oid(cell);
	}
	if (n == 1)
		warn(psprintf("Publication \"%s\" has such a table, \"%s\".", name, get_rel_name(example)));
	else if (n > 1)
		warn(psprintf("Publication \"%s\" has %d such tables, \"%s\" being one of them.",
					  name, n, get_rel_name(example)));
}

/*
 * A subscription makes a copy of a table before it follows the changes: it does so over a
 * replication connection.
 */
void
publish_warn_copy(const CopyStmt *copy)
{
	Oid			table;

	if (!am_db_walsender || copy->is_from || copy->relation == NULL)
		return;
	table = RangeVarGetRelid(copy->relation, NoLock, true);
	if (OidIsValid(table) && is_rowan_table(table))
		warn(psprintf("Table \"%s\" is copied over a replication connection, but what changes later does not follow.",
					  copy->relation->relname));
}
