/*
 * verify_index.c
 *	  rowan.verify() of an index: the tree by itself, and entries and rows against each other.
 *
 * Every row that a snapshot sees must have its entry, and a row that it sees through an entry must have
 * that entry's key.  Entries of rows that nobody sees are legal until VACUUM.  Takes ShareLock on table and index
 * (on a standby: AccessShareLock, and what is being replayed may show).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "am/index.h"
#include "base/export.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "index/iverify.h"
#include "maint/verify_index.h"
#include "miscadmin.h"
#include "tree/tree.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

ROWAN_SQL_FUNCTION(rowan_verify_both_ways);

typedef struct Check
{
	ReturnSetInfo *result;
	Relation	heap;
	Relation	index;
	IndexTree	tree;
	IndexInfo  *info;
	Snapshot	snapshot;
	EState	   *estate;
	ExprState  *predicate;
	TupleTableSlot *slot;
	struct IndexFetchTableData *fetch;
} Check;

static void
report_problem(BlockNumber block, const char *message, void *arg)
{
	Check	   *check = arg;
	Datum		values[2];
	bool		isnull[2] = {!BlockNumberIsValid(block), false};

	values[0] = Int64GetDatum(block);
	values[1] = CStringGetTextDatum(message);
	tuplestore_putvalues(check->result->setResult, check->result->setDesc, values, isnull);
}

static void
report_tid(Check *check, ItemPointer tid, const char *format)
{
	report_problem(InvalidBlockNumber,
				   psprintf(format, ItemPointerGetBlockNumberNoCheck(tid),
							ItemPointerGetOffsetNumberNoCheck(tid)),
				   check);
}

/* ---- from rows to entries ---- */

static void
check_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	Check	   *check = arg;
	IndexTuple	tuple = index_form_tuple(RelationGetDescr(index), values, isnull);

	tuple->t_tid = *tid;
	if (!itree_has_entry(&check->tree, tuple))
		report_tid(check, tid, "row (%u,%u) has no entry in the index");
	pfree(tuple);
	CHECK_FOR_INTERRUPTS();
}

static void
check_rows(Check *check)
{
	IndexInfo  *info = BuildIndexInfo(check->index);
	TableScanDesc scan = table_beginscan_strat(check->heap, check->snapshot, 0, NULL, true, true);

	/* as for an index built concurrently: the snapshot decides; and nothing is to be excluded */
	info->ii_Concurrent = true;
	info->ii_Unique = false;
	info->ii_ExclusionOps = NULL;
	info->ii_ExclusionProcs = NULL;
	info->ii_ExclusionStrats = NULL;
	table_index_build_scan(check->heap, check->index, info, true, false, check_row, check, scan);
}

/* ---- from entries to rows ---- */

/* The row in the slot has the item's key. */
static bool
row_has_key(Check *check, const IndexItem *item)
{
	const KeyDesc *keys = check->tree.keys;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	IndexTuple	tuple;
	int			column;
	bool		same;

	FormIndexDatum(check->info, check->slot, check->estate, values, isnull);
	tuple = index_form_tuple(RelationGetDescr(check->index), values, isnull);
	same = key_compare_tuples(keys, tuple, item->tuple, keys->nkeyatts, &column) == 0;
	pfree(tuple);
	return same;
}

static void
check_tid(Check *check, const IndexItem *item, ItemPointerData tid)
{
	ExprContext *context = GetPerTupleExprContext(check->estate);
	ItemPointerData stored = tid;
	bool		call_again = false;
	bool		all_dead = false;

	ResetExprContext(context);
	if (!table_index_fetch_tuple(check->fetch, &tid, check->snapshot, check->slot, &call_again,
								 &all_dead))
		return;
	context->ecxt_scantuple = check->slot;
	if (check->predicate != NULL && !ExecQual(check->predicate, context))
		report_tid(check, &stored, "entry for (%u,%u), whose row is not of the partial index");
	else if (!row_has_key(check, item))
		report_tid(check, &stored, "entry for (%u,%u), whose row has another key");
	ExecClearTuple(check->slot);
}

static void
check_entry(const IndexItem *item, void *arg)
{
	Check	   *check = arg;
	ItemPointerData *tids;

	if (check->fetch == NULL)
		return;
	tids = palloc(sizeof(ItemPointerData) * item->ntids);
	/* a list that makes no sense was reported with its order */
	if (cell_tids(item, tids))
		for (int i = 0; i < item->ntids; i++)
			check_tid(check, item, tids[i]);
	pfree(tids);
	CHECK_FOR_INTERRUPTS();
}

static void
begin_fetching(Check *check)
{
	check->info = BuildIndexInfo(check->index);
	check->estate = CreateExecutorState();
	check->slot = table_slot_create(check->heap, NULL);
	check->predicate = check->info->ii_Predicate == NIL ? NULL :
		ExecPrepareQual(check->info->ii_Predicate, check->estate);
	GetPerTupleExprContext(check->estate)->ecxt_scantuple = check->slot;
	check->fetch = table_index_fetch_begin(check->heap);
}

static void
end_fetching(Check *check)
{
	table_index_fetch_end(check->fetch);
	ExecDropSingleTupleTableSlot(check->slot);
	FreeExecutorState(check->estate);
}

/* ---- both ---- */

static void
open_both(Check *check, Oid relid, LOCKMODE lock)
{
	Oid			heap = IndexGetRelation(relid, false);

	check->heap = table_open(heap, lock);
	check->index = index_open(relid, lock);
	if (!index_is_rowan(check->index))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a Rowan table or index",
						RelationGetRelationName(check->index))));
	if (RELATION_IS_OTHER_TEMP(check->index))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary tables of other sessions")));
	index_tree(check->index, &check->tree);
}

void
verify_index(FunctionCallInfo fcinfo, Oid relid, bool both_ways)
{
	LOCKMODE	lock = RecoveryInProgress() ? AccessShareLock : ShareLock;
	Check		check = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	IndexVerify how = {.tree = &check.tree,.report = report_problem,.entry = check_entry,.arg = &check};
	uint64		problems;
	Oid			user;
	int			security,
				nest_level;

	open_both(&check, relid, lock);
	/* expressions of the index are its owner's, and run as him */
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(check.heap->rd_rel->relowner, security | SECURITY_RESTRICTED_OPERATION);
	nest_level = NewGUCNestLevel();
	check.snapshot = RegisterSnapshot(GetTransactionSnapshot());
	if (both_ways)
		begin_fetching(&check);
	problems = tree_exists(&check.tree.file) ? itree_verify(&how) : 0;
	if (both_ways)
		end_fetching(&check);
	/* in a damaged tree, searching may fail */
	if (both_ways && problems == 0 && check.index->rd_index->indisvalid)
		check_rows(&check);
	UnregisterSnapshot(check.snapshot);
	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(user, security);
	index_close(check.index, lock);
	table_close(check.heap, lock);
}

/* rowan.verify(index, heapallindexed) */
Datum
rowan_verify_both_ways(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	verify_index(fcinfo, PG_GETARG_OID(0), PG_GETARG_BOOL(1));
	return (Datum) 0;
}
