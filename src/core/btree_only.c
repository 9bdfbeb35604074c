/*
 * btree_only.c
 *	  What core before 18 does with btree indexes only: clear errors instead of internal ones.
 *
 * Core knows that no other method has unique indexes, and says so by elog where one turns up: in ON
 * CONFLICT (BuildSpeculativeIndexInfo, for every unique index of the table, arbiter or not) and
 * where a foreign key refers to one (ATAddForeignKeyConstraint).  18 asks the index's method
 * (index_handler.c), and does neither.
 *
 * ON CONFLICT is refused before the executor starts, so that EXPLAIN says it, too; a partition's
 * indexes are known only when a row goes there, and looking at all partitions would cost too much:
 * there core's error is caught and said in other words.  So it is with foreign keys, for which
 * index a key refers to is decided deep in ALTER TABLE.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "btree/opclass.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "core/btree_only.h"
#include "core/key_method.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#define CORE_CONFLICT_ERROR "unexpected non-btree speculative unique index"
#define CORE_FOREIGN_KEY_ERROR "only b-tree indexes are supported for foreign keys"
#define CORE_METHOD_ERROR "access method \"%s\" does not exist"

#define CONFLICT_HINT \
	"Use a UNIQUE constraint or a unique index USING btree instead of the index, or MERGE instead of ON CONFLICT."

/* ---- ON CONFLICT ---- */

static bool
has_conflict_clause(Plan *plan)
{
	return plan != NULL && IsA(plan, ModifyTable) &&
		((ModifyTable *) plan)->onConflictAction != ONCONFLICT_NONE;
}

static Oid
method_of_unique_index(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	bool		unique;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	unique = ((Form_pg_index) GETSTRUCT(tuple))->indisunique;
	ReleaseSysCache(tuple);
	if (!unique)
		return InvalidOid;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	index = ((Form_pg_class) GETSTRUCT(tuple))->relam;
	ReleaseSysCache(tuple);
	return index;
}

static void
check_table(Oid relid)
{
	Relation	rel = table_open(relid, NoLock);	/* locked since parsing */
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Oid			method = method_of_unique_index(lfirst_oid(cell));

		if (OidIsValid(method) && method != BTREE_AM_OID)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("ON CONFLICT is not supported for table \"%s\", which has a unique index of access method \"%s\"",
							RelationGetRelationName(rel), get_am_name(method)),
					 errdetail("Index \"%s\" is unique, and PostgreSQL before 18 carries out ON CONFLICT with btree indexes only, even if another index is meant.",
							   get_rel_name(lfirst_oid(cell))),
					 errhint(CONFLICT_HINT)));
	}
	list_free(indexes);
	table_close(rel, NoLock);
}

/* Partitioned tables and views among the targets are left to the executor. */
static void
check_targets(PlannedStmt *plan, ModifyTable *node)
{
	ListCell   *cell;

	foreach(cell, node->resultRelations)
	{
		RangeTblEntry *target = rt_fetch(lfirst_int(cell), plan->rtable);

		if (target->rtekind == RTE_RELATION && target->relkind == RELKIND_RELATION)
			check_table(target->relid);
	}
}

/* Tables are changed at the top of a plan, and at the top of a CTE's plan; nowhere else. */
void
btree_only_check_plan(PlannedStmt *plan)
{
	ListCell   *cell;

	if (!UNIQUE_INDEXES_NEED_BTREE)
		return;
	if (has_conflict_clause(plan->planTree))
		check_targets(plan, (ModifyTable *) plan->planTree);
	if (!plan->hasModifyingCTE)
		return;
	foreach(cell, plan->subplans)
	{
		if (has_conflict_clause(lfirst(cell)))
			check_targets(plan, lfirst(cell));
	}
}

static bool
targets_partitions(PlannedStmt *plan, ModifyTable *node)
{
	ListCell   *cell;

	foreach(cell, node->resultRelations)
	{
		RangeTblEntry *target = rt_fetch(lfirst_int(cell), plan->rtable);

		if (target->relkind == RELKIND_PARTITIONED_TABLE)
			return true;
	}
	return false;
}

bool
btree_only_may_fail(PlannedStmt *plan)
{
	ListCell   *cell;

	if (!UNIQUE_INDEXES_NEED_BTREE)
		return false;
	if (has_conflict_clause(plan->planTree) &&
		targets_partitions(plan, (ModifyTable *) plan->planTree))
		return true;
	if (!plan->hasModifyingCTE)
		return false;
	foreach(cell, plan->subplans)
	{
		if (has_conflict_clause(lfirst(cell)) && targets_partitions(plan, lfirst(cell)))
			return true;
	}
	return false;
}

/* ---- core's errors in better words ---- */

bool
btree_only_utility(Node *statement)
{
	return IsA(statement, AlterTableStmt) || IsA(statement, CreateStmt) ||
		IsA(statement, IndexStmt);
}

static void
say_conflict(ErrorData *error)
{
	error->sqlerrcode = ERRCODE_FEATURE_NOT_SUPPORTED;
	error->message = "ON CONFLICT is not supported for a partition that has a unique index of another access method than btree";
	error->detail = "PostgreSQL before 18 carries out ON CONFLICT with btree indexes only, even if another index is meant.";
	error->hint = CONFLICT_HINT;
}

static void
say_foreign_key(ErrorData *error)
{
	error->sqlerrcode = ERRCODE_FEATURE_NOT_SUPPORTED;
	error->message = "a foreign key cannot refer to a unique index of another access method than btree";
	error->detail = "Of several unique indexes on the referenced columns PostgreSQL before 18 takes the oldest one, and only a btree index will do.";
	error->hint = "Add a PRIMARY KEY or UNIQUE constraint on the referenced columns; if there is one, drop the other index and create it again.";
}

static void
hint_at_missing(ErrorData *error)
{
	if (error->message == NULL || strstr(error->message, "\"" ROWAN_INDEX_AM "\"") == NULL)
		return;
	if (error->message_id != NULL && strcmp(error->message_id, CORE_METHOD_ERROR) == 0)
		error->hint = "CREATE EXTENSION rowan.";
	else
		error->hint = "If btree has one: SELECT rowan.adopt_operator_classes().";
}

void
btree_only_rethrow(MemoryContext context, Node *statement)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	if (statement != NULL)
		key_method_explain(error, statement);
	if (error->sqlerrcode == ERRCODE_UNDEFINED_OBJECT)
		hint_at_missing(error);
	else if (error->sqlerrcode == ERRCODE_INTERNAL_ERROR && error->message != NULL)
	{
		if (strcmp(error->message, CORE_CONFLICT_ERROR) == 0)
			say_conflict(error);
		else if (strcmp(error->message, CORE_FOREIGN_KEY_ERROR) == 0)
			say_foreign_key(error);
	}
	ReThrowError(error);
}
