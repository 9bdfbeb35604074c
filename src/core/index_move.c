/*
 * index_move.c
 *	  ALTER INDEX ... SET TABLESPACE for indexes whose files core must not copy.
 *
 * Core asks the table access method to copy a table, but copies an index by itself: from the file,
 * which knows nothing of the pool, and with page LSNs that it sets anew, which our checksums
 * cover.  So an index of ours is rebuilt in the other tablespace instead.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "btree/opclass.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "core/index_move.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static bool
is_index_of_ours(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class row;
	bool		ours;

	if (!HeapTupleIsValid(tuple))
		return false;
	row = (Form_pg_class) GETSTRUCT(tuple);
	ours = row->relkind == RELKIND_INDEX && OidIsValid(row->relam) &&
		row->relam == get_index_am_oid(ROWAN_INDEX_AM, true);
	ReleaseSysCache(tuple);
	return ours;
}

static AlterTableCmd *
tablespace_command(AlterTableStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_SetTableSpace)
			return command;
	}
	return NULL;
}

Node *
index_move_statement(AlterTableStmt *statement)
{
	AlterTableCmd *command = tablespace_command(statement);
	ReindexStmt *reindex;

	if (command == NULL ||
		!is_index_of_ours(RangeVarGetRelid(statement->relation, NoLock, true)))
		return NULL;
	if (list_length(statement->cmds) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("SET TABLESPACE cannot be combined with other actions for an index of access method \"%s\"",
						ROWAN_INDEX_AM)));
	reindex = makeNode(ReindexStmt);
	reindex->kind = REINDEX_OBJECT_INDEX;
	reindex->relation = copyObject(statement->relation);
	reindex->params = list_make1(makeDefElem("tablespace",
											 (Node *) makeString(pstrdup(command->name)), -1));
	return (Node *) reindex;
}

void
index_move_check_all(AlterTableMoveAllStmt *statement)
{
	Oid			tablespace;
	Relation	catalog;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (statement->objtype != OBJECT_INDEX)
		return;
	tablespace = get_tablespace_oid(statement->orig_tablespacename, false);
	if (tablespace == MyDatabaseTableSpace)
		tablespace = InvalidOid;
	catalog = table_open(RelationRelationId, AccessShareLock);
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class row = (Form_pg_class) GETSTRUCT(tuple);

		if (row->relkind == RELKIND_INDEX && row->reltablespace == tablespace &&
			is_index_of_ours(row->oid))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot move index \"%s\" of access method \"%s\" together with others",
							NameStr(row->relname), ROWAN_INDEX_AM),
					 errhint("Move it first, by ALTER INDEX ... SET TABLESPACE.")));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}
