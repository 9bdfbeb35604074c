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
 * ALTER INDEX ... SET TABLESPACE copies the file without asking the access method: see
 * index_move.c.
 *
 * Extension scripts make heap tables (extension_script.c), pg_repack is kept from mixing up files
 * (repack.c), and core's errors about pages of ours are said in other words (heap_errors.c).
 *
 * What core does with btree indexes only is refused or said in clear words: see btree_only.c,
 * opclass.c.  Indexes of PRIMARY KEY and UNIQUE constraints are always btree's for core: see
 * key_method.c.
 *
 * DROP DATABASE and ALTER DATABASE ... SET TABLESPACE take files away under our frames, after a
 * checkpoint, with nobody connected: so all frames of those files are clean.  Before we get to
 * forget them, a database that moved may have sessions again, whose dirty frames are of its new
 * files: these must stay.
 */
#include "postgres.h"

#include "btree/opclass.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "core/btree_only.h"
#include "core/hooks.h"
#include "core/index_move.h"
#include "core/key_method.h"
#include "core/key_rebuild.h"
#include "core/rowcompare.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/planner.h"
#include "pool/copied.h"
#include "table/table.h"
#include "tcop/utility.h"

static planner_hook_type next_planner;
static ExecutorStart_hook_type next_executor_start;
static ExecutorRun_hook_type next_executor_run;
static ExecutorFinish_hook_type next_executor_finish;
static ProcessUtility_hook_type next_process_utility;

/* ---- planning ---- */

/* Core looks into indexes here. */
static PlannedStmt *
plan_query(Query *parse, const char *query, int cursor_options, ParamListInfo params)
{
	MemoryContext context = CurrentMemoryContext;
	PlannedStmt *volatile plan = NULL;

	PG_TRY();
	{
		plan = (next_planner ? next_planner : standard_planner) (parse, query, cursor_options,
																 params);
	}
	PG_CATCH();
	{
		heap_errors_rethrow(context);
	}
	PG_END_TRY();
	return plan;
}

/* ---- bitmap scans ---- */

/* The query being run, innermost. */
static QueryDesc *running_query = NULL;

static bool
stop_prefetching(PlanState *state, void *context)
{
	if (state == NULL)
		return false;

	/* where a row that changed meanwhile is checked again there are plans of their own */
	if (IsA(state, ModifyTableState))
		(void) stop_prefetching(((ModifyTableState *) state)->mt_epqstate.recheckplanstate,
								context);
	else if (IsA(state, LockRowsState))
		(void) stop_prefetching(((LockRowsState *) state)->lr_epqstate.recheckplanstate, context);
	if (IsA(state, BitmapHeapScanState))
	{
		BitmapHeapScanState *scan = (BitmapHeapScanState *) state;

		if (scan->ss.ss_currentRelation != NULL &&
			rowan_relation_is_rowan(scan->ss.ss_currentRelation))
		{
			forbid_prefetching(scan);
			if (scan->ss.ss_currentScanDesc != NULL)
				((RowanScan) scan->ss.ss_currentScanDesc)->prefetching_stopped = true;
		}
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
	rowcompare_prepare(query->planstate);
}

static void
run_plan(EXECUTOR_RUN_PARAMETERS)
{
	if (next_executor_run)
		next_executor_run(EXECUTOR_RUN_ARGUMENTS);
	else
		standard_ExecutorRun(EXECUTOR_RUN_ARGUMENTS);
}

static void
executor_run(EXECUTOR_RUN_PARAMETERS)
{
	MemoryContext context = CurrentMemoryContext;
	QueryDesc  *outer = running_query;

	running_query = query;
	PG_TRY();
	{
		run_plan(EXECUTOR_RUN_ARGUMENTS);
	}
	PG_CATCH();
	{
		running_query = outer;
		if (btree_only_may_fail(query->plannedstmt))
			btree_only_rethrow(context, NULL);
		heap_errors_rethrow(context);
	}
	PG_END_TRY();
	running_query = outer;
}

/* AFTER triggers run here. */
static void
executor_finish(QueryDesc *query)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		if (next_executor_finish)
			next_executor_finish(query);
		else
			standard_ExecutorFinish(query);
	}
	PG_CATCH();
	{
		heap_errors_rethrow(context);
	}
	PG_END_TRY();
}

/*
 * A bitmap scan is about to start that executor_start has not seen: it was made while the query
 * runs.
 */
void
hooks_stop_prefetching(void)
{
	if (running_query != NULL)
		(void) stop_prefetching(running_query->planstate, NULL);
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

/* The database that the statement moves to another tablespace, or InvalidOid. */
static Oid
database_to_move(Node *statement)
{
	ListCell   *cell;

	if (!IsA(statement, AlterDatabaseStmt))
		return InvalidOid;
	foreach(cell, ((AlterDatabaseStmt *) statement)->options)
	{
		if (strcmp(lfirst_node(DefElem, cell)->defname, "tablespace") == 0)
			return get_database_oid(((AlterDatabaseStmt *) statement)->dbname, true);
	}
	return InvalidOid;
}

/* The arguments of a ProcessUtility hook. */
typedef struct UtilityCall
{
	PlannedStmt *statement;
	const char *query;
	bool		read_only_tree;
	ProcessUtilityContext context;
	ParamListInfo params;
	QueryEnvironment *env;
	DestReceiver *dest;
	QueryCompletion *completion;
} UtilityCall;

static void
run_utility(const UtilityCall *call)
{
	(next_process_utility ? next_process_utility : standard_ProcessUtility)
		(call->statement, call->query, call->read_only_tree, call->context, call->params, call->env,
		 call->dest, call->completion);
}

/*
 * It may come back to its old place some day, with other pages.  An error may come when it has
 * moved already.
 */
static void
move_database(Oid database, const UtilityCall *call)
{
	PG_TRY();
	{
		run_utility(call);
	}
	PG_CATCH();
	{
		pool_forget_database(database);
		PG_RE_THROW();
	}
	PG_END_TRY();
	pool_forget_database(database);
}

/* What core says of indexes that are no btree is said more clearly. */
static void
run_clearly(const UtilityCall *call)
{
	MemoryContext memory = CurrentMemoryContext;

	PG_TRY();
	{
		List	   *keys = key_rebuild_begin(call->statement->utilityStmt);

		run_utility(call);
		key_rebuild_end(keys);
	}
	PG_CATCH();
	{
		btree_only_rethrow(memory, call->statement->utilityStmt);
	}
	PG_END_TRY();
}

static void
run_statement(const UtilityCall *call, Oid moved)
{
	Node	   *node = call->statement->utilityStmt;
	MemoryContext memory = CurrentMemoryContext;

	PG_TRY();
	{
		if (OidIsValid(moved))
			move_database(moved, call);
		else if (btree_only_utility(node))
			run_clearly(call);
		else if (extension_statement(node))
			extension_run(run_utility, call);
		else
			run_utility(call);
	}
	PG_CATCH();
	{
		heap_errors_rethrow(memory);
	}
	PG_END_TRY();
}

/* The statement's tree may be cached by the caller: change a copy. */
static void
make_changeable(UtilityCall *call)
{
	if (call->read_only_tree)
		call->statement = copyObject(call->statement);
	call->read_only_tree = false;
}

/* What has to be changed in the statement, or refused, before core gets it. */
static void
prepare_utility(UtilityCall *call)
{
	Node	   *node = call->statement->utilityStmt;
	Node	   *instead;

	if (key_method_concerns(node))
	{
		make_changeable(call);
		node = call->statement->utilityStmt;
		key_method_apply(node);
	}
	if (IsA(node, CreatedbStmt))
	{
		make_changeable(call);
		copy_files_of_template((CreatedbStmt *) call->statement->utilityStmt);
	}
	else if (IsA(node, AlterTableMoveAllStmt))
		index_move_check_all((AlterTableMoveAllStmt *) node);
	else if (IsA(node, AlterTableStmt) &&
			 (instead = index_move_statement((AlterTableStmt *) node)) != NULL)
	{
		call->statement = copyObject(call->statement);
		call->read_only_tree = false;
		call->statement->utilityStmt = instead;
	}
}

static void
process_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *completion)
{
	UtilityCall call = {statement, query, read_only_tree, context, params, env, dest, completion};
	Node	   *node = statement->utilityStmt;
	Oid			moved = database_to_move(node);
	Oid			dropped = InvalidOid;

	if (IsA(node, CreateOpClassStmt) && opclass_define((CreateOpClassStmt *) node))
		return;
	if (IsA(node, DropdbStmt))
		dropped = get_database_oid(((DropdbStmt *) node)->dbname, true);
	prepare_utility(&call);
	node = call.statement->utilityStmt;
	if (IsA(node, CreateTableAsStmt))
		repack_check_copy((CreateTableAsStmt *) node);
	extension_note_statement(node);
	run_statement(&call, moved);
	if (OidIsValid(dropped))
		pool_discard_database(dropped);
	if (IsA(node, CreatedbStmt))
		copied_database(((CreatedbStmt *) node)->dbname);
	if (IsA(node, CreateOpClassStmt))
		opclass_follow((CreateOpClassStmt *) node);
}

void
hooks_install(void)
{
	next_planner = planner_hook;
	planner_hook = plan_query;
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
	next_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = executor_run;
	next_executor_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = executor_finish;
	next_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	guard_install();
	decoding_install();
	rowcompare_install();
}
