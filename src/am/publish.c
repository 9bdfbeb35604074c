/*
 * publish.c
 *	  Publications: says so if one includes Rowan tables, whose changes are not decoded (pool/decode.c).
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "am/hooks.h"
#include "am/table.h"
#include "catalog/pg_publication.h"
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

void
publish_warn(const char *name)
{
	Publication *publication;
	List	   *tables;
	ListCell   *cell;
	Oid			example = InvalidOid;
	int			n = 0;

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
	if (n > 0)
		ereport(WARNING,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("changes of Rowan tables are not published"),
				 errdetail_plural("Publication \"%s\" has %d such table, \"%s\".",
								  "Publication \"%s\" has %d such tables, \"%s\" being one of them.",
								  n, name, n, get_rel_name(example)),
				 errhint("Replicate Rowan tables by streaming replication, or keep published tables in heap.")));
}
