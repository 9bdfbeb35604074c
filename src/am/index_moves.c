/*
 * index_moves.c
 *	  ALTER INDEX ... SET TABLESPACE of our indexes is refused: no callback reaches it.
 *
 * Core copies an index's file block by block as it is on disk, where pages that are changed in our pool are stale, and
 * logs the copies as pages of shared_buffers, which must never hold one of ours (I1).  REINDEX (TABLESPACE ...) makes
 * the index anew and is what to use instead.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "am/hooks.h"
#include "am/opclass.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static void
refuse(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot move index \"%s\" of access method \"%s\" by SET TABLESPACE", name,
					ROWAN_INDEX_AM),
			 errhint("Use REINDEX (TABLESPACE ...) INDEX, which builds it in the other tablespace.")));
}

static void
check_one(Oid relid, Oid am)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class class;

	if (!HeapTupleIsValid(tuple))
		return;
	class = (Form_pg_class) GETSTRUCT(tuple);
	if (class->relkind == RELKIND_INDEX && class->relam == am)
		refuse(NameStr(class->relname));
	ReleaseSysCache(tuple);
}

/* ALTER INDEX ALL IN TABLESPACE: any of ours there? */
static void
check_all(const char *tablespace, Oid am)
{
	Oid			space = get_tablespace_oid(tablespace, true);
	Relation	classes = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(classes, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	if (space == MyDatabaseTableSpace)
		space = InvalidOid;
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);

		if (class->relkind == RELKIND_INDEX && class->relam == am &&
			class->reltablespace == space)
			refuse(NameStr(class->relname));
	}
	systable_endscan(scan);
	table_close(classes, AccessShareLock);
}

void
index_moves_refuse(Node *statement)
{
	ListCell   *cell;
	Oid			am;

	if (!IsA(statement, AlterTableStmt) && !IsA(statement, AlterTableMoveAllStmt))
		return;
	am = get_index_am_oid(ROWAN_INDEX_AM, true);
	if (!OidIsValid(am))
		return;
	if (IsA(statement, AlterTableMoveAllStmt))
	{
		AlterTableMoveAllStmt *move = (AlterTableMoveAllStmt *) statement;

		if (move->objtype == OBJECT_INDEX)
			check_all(move->orig_tablespacename, am);
		return;
	}
	foreach(cell, ((AlterTableStmt *) statement)->cmds)
	{
		if (lfirst_node(AlterTableCmd, cell)->subtype == AT_SetTableSpace)
			check_one(RangeVarGetRelid(((AlterTableStmt *) statement)->relation, NoLock, true), am);
	}
}
