/*
 * hooks.c
 *	  Where core must be kept from assuming heap: places that no callback reaches.
 *
 * Bitmap scans prefetch block numbers of TIDs from the table's file.  Ours are logical, may lie
 * beyond the file's last segment, and mdprefetch raises an error there.
 *
 * CREATE DATABASE ... STRATEGY WAL_LOG (the default) copies files through shared_buffers, which
 * must never hold a page of ours (I1): it would copy stale pages, and later write them over newer
 * ones.  FILE_COPY makes a checkpoint, which brings our files up to date, and copies them.
 *
 * ALTER INDEX ... SET TABLESPACE copies the file without asking the access method: see index_move.c.
 *
 * What core does with btree indexes only is refused or said in clear words: see btree_only.c, opclass.c.
 *
 * DROP DATABASE and ALTER DATABASE ... SET TABLESPACE take files away under our frames (after a checkpoint,
 * with nobody connected).
 */
#include "postgres.h"

#include "am/btree_only.h"
#include "am/hooks.h"
#include "am/index_move.h"
#include "am/opclass.h"
#include "am/rowcompare.h"
#include "am/table.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"

static ExecutorStart_hook_type next_executor_start;
static ExecutorRun_hook_type next_executor_run;
static ProcessUtility_hook_type next_process_utility;

/* ---- bitmap scans ---- */

static bool
stop_prefetching(PlanState *state, void *context)
{
	if (state == NULL)
		return false;
	if (IsA(state, BitmapHeapScanState))
	{
		BitmapHeapScanState *scan = (BitmapHeapScanState *) state;

		if (scan->ss.ss_currentRelation != NULL &&
			rowan_relation_is_rowan(scan->ss.ss_currentRelation))
			scan->prefetch_maximum = 0;
	}
	return planstate_tree_walker(state, stop_prefetching, context);
}

static void
executor_start(QueryDesc *query, int eflags)
{
	btree_only_check_plan(query->plannedstmt);
	if (next_executor_start)
		next_executor_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
	(void) stop_prefetching(query->planstate, NULL);
}

/* ---- ON CONFLICT in partitions ---- */

static void
run_plan(QueryDesc *query, ScanDirection direction, uint64 count, bool once)
{
	if (next_executor_run)
		next_executor_run(query, direction, count, once);
	else
		standard_ExecutorRun(query, direction, count, once);
}

static void
executor_run(QueryDesc *query, ScanDirection direction, uint64 count, bool once)
{
	MemoryContext context = CurrentMemoryContext;

	if (!btree_only_may_fail(query->plannedstmt))
	{
		run_plan(query, direction, count, once);
		return;
	}
	PG_TRY();
	{
		run_plan(query, direction, count, once);
	}
	PG_CATCH();
	{
		btree_only_rethrow(context);
	}
	PG_END_TRY();
}

/* ---- CREATE DATABASE ---- */

static void
copy_files_of_template(CreatedbStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "strategy") != 0)
			continue;
		if (option->arg != NULL && pg_strcasecmp(defGetString(option), "wal_log") == 0)
		{
			ereport(NOTICE,
					(errmsg("using strategy \"file_copy\" instead of \"wal_log\""),
					 errdetail("Strategy \"wal_log\" copies files through shared_buffers, which cannot hold pages of Rowan tables.")));
			option->arg = (Node *) makeString(pstrdup("file_copy"));
		}
		return;
	}
	statement->options = lappend(statement->options,
								 makeDefElem("strategy", (Node *) makeString("file_copy"), -1));
}

/* ---- databases that move or go ---- */

/* The database whose files the statement removes or moves away, or InvalidOid. */
static Oid
database_to_forget(Node *statement)
{
	ListCell   *cell;

	if (IsA(statement, DropdbStmt))
		return get_database_oid(((DropdbStmt *) statement)->dbname, true);
	if (!IsA(statement, AlterDatabaseStmt))
		return InvalidOid;
	foreach(cell, ((AlterDatabaseStmt *) statement)->options)
	{
		if (strcmp(lfirst_node(DefElem, cell)->defname, "tablespace") == 0)
			return get_database_oid(((AlterDatabaseStmt *) statement)->dbname, true);
	}
	return InvalidOid;
}

static void
run_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
			ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
			DestReceiver *dest, QueryCompletion *completion)
{
	if (next_process_utility)
		next_process_utility(statement, query, read_only_tree, context, params, env, dest,
							 completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context, params, env, dest,
								completion);
}

/* The same; what core says of indexes that are no btree is said more clearly. */
static void
run_utility_clearly(PlannedStmt *statement, const char *query, bool read_only_tree,
					ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
					DestReceiver *dest, QueryCompletion *completion)
{
	MemoryContext memory = CurrentMemoryContext;

	PG_TRY();
	{
		run_utility(statement, query, read_only_tree, context, params, env, dest, completion);
	}
	PG_CATCH();
	{
		btree_only_rethrow(memory);
	}
	PG_END_TRY();
}

static void
process_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *completion)
{
	Node	   *node = statement->utilityStmt;
	Oid			database = database_to_forget(node);

	if (IsA(node, CreateOpClassStmt) && opclass_define((CreateOpClassStmt *) node))
		return;
	if (IsA(node, CreatedbStmt))
	{
		if (read_only_tree)
			statement = copyObject(statement);
		read_only_tree = false;
		copy_files_of_template((CreatedbStmt *) statement->utilityStmt);
	}
	if (IsA(node, AlterTableMoveAllStmt))
		index_move_check_all((AlterTableMoveAllStmt *) node);
	if (IsA(node, AlterTableStmt))
	{
		Node	   *instead = index_move_statement((AlterTableStmt *) node);

		if (instead != NULL)
		{
			statement = copyObject(statement);
			statement->utilityStmt = node = instead;
			read_only_tree = false;
		}
	}
	if (btree_only_utility(node))
		run_utility_clearly(statement, query, read_only_tree, context, params, env, dest,
							completion);
	else
		run_utility(statement, query, read_only_tree, context, params, env, dest, completion);
	if (IsA(node, CreateOpClassStmt))
		opclass_follow((CreateOpClassStmt *) node);
	/* the database may come back to the same place some day, with other pages */
	if (OidIsValid(database))
		pool_discard_database(database);
}

void
hooks_install(void)
{
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
	next_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = executor_run;
	next_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	rowcompare_install();
}
