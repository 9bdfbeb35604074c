/*
 * verify_index.c
 *	  rowan.verify() of an index: the tree by itself, and entries and rows against each other.
 *
 * Every row that a snapshot sees must have its entry, and a row that it sees through an entry must
 * have that entry's key.  Entries of rows that nobody sees are legal until VACUUM.
 *
 * Takes AccessShareLock on table and index; others may use them.  The snapshot is taken after the
 * locks and before the first page is read.  It sees no row that was inserted later, under whatever
 * TID; and while it is registered, the rows that it sees keep their entries (I-IDX-7, I-IDX-9), so
 * it does not matter when an entry is looked for.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/attempt.h"
#include "base/export.h"
#include "btree/btree.h"
#include "catalog/index.h"
#include "entry/entry_verify.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "inspect/problems.h"
#include "inspect/result.h"
#include "inspect/verify_index.h"
#include "miscadmin.h"
#include "tree/tree.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

ROWAN_SQL_FUNCTION(rowan_verify_both_ways);

typedef struct Check
{
	Problems   *problems;
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
report_index_problem(BlockNumber block, const char *message, void *arg)
{
	problem_report(((Check *) arg)->problems, block, message);
}

static void
report_index_damage(BlockNumber block, const PoolDamage *damage, void *arg)
{
	problem_report_damage(((Check *) arg)->problems, block, damage);
}

static void
report_tid(Check *check, ItemPointer tid, const char *format)
{
	report_index_problem(InvalidBlockNumber,
						 psprintf(format, ItemPointerGetBlockNumberNoCheck(tid),
								  ItemPointerGetOffsetNumberNoCheck(tid)),
						 check);
}

static void
count_index_page(Page page, BlockNumber block, void *arg)
{
	progress_count_page(((Check *) arg)->problems);
}

/* ---- from rows to entries ---- */

static void
check_table_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
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
	table_index_build_scan(check->heap, check->index, info, true, false, check_table_row, check,
						   scan);
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
does_not_exist(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("relation with OID %u does not exist", relid)));
}

static void
not_an_index(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		does_not_exist(relid);
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not an index", name),
			 errdetail("rowan.verify with two arguments compares an index with its table."),
			 errhint("Verify a table by rowan.verify with one argument, and each of its indexes by itself.")));
}

/*
 * An index that has not been built yet has no tree; one that is being dropped gets no entries any
 * more.
 */
static void
check_ready(Relation index)
{
	if (!index->rd_index->indisready)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not ready", RelationGetRelationName(index)),
				 errdetail("It is being built or dropped concurrently, or that has failed."),
				 errhint("If nobody is about to do so, use REINDEX INDEX CONCURRENTLY or DROP INDEX.")));
}

/* The table first, as everybody locks them.  False: both, or one of them, are gone. */
static bool
try_open_both(Check *check, Oid relid)
{
	Oid			heap = InvalidOid;

	if (get_rel_relkind(relid) == RELKIND_INDEX)
		heap = IndexGetRelation(relid, true);
	check->heap = OidIsValid(heap) ? try_table_open(heap, AccessShareLock) : NULL;
	check->index = check->heap != NULL ? try_relation_open(relid, AccessShareLock) : NULL;
	return check->index != NULL && IndexGetRelation(relid, true) == heap;
}

static void
close_both(Check *check)
{
	if (check->index != NULL)
		relation_close(check->index, AccessShareLock);
	if (check->heap != NULL)
		table_close(check->heap, AccessShareLock);
}

static void
open_both(Check *check, Oid relid)
{
	if (get_rel_relkind(relid) != RELKIND_INDEX)
		not_an_index(relid);
	if (!try_open_both(check, relid))
		does_not_exist(relid);
	if (!index_is_rowan(check->index))
		verify_refuse(check->index, "a Rowan table or index");
	verify_check_access(check->index);
	check_ready(check->index);
}

/* Only what can be verified. */
static bool
open_both_if_there(Check *check, Oid relid)
{
	if (try_open_both(check, relid) && index_is_rowan(check->index) &&
		check->index->rd_index->indisready)
		return true;
	close_both(check);
	return false;
}

/* A snapshot from before the index was made may see rows that it has under their new keys only. */
static void
check_snapshot(const Check *check)
{
	Relation	index = check->index;

	if (IsolationUsesXactSnapshot() && index->rd_index->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
							   check->snapshot->xmin))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("index \"%s\" cannot be verified using transaction snapshot",
						RelationGetRelationName(index))));
}

/* Entries and rows can be compared. */
static bool
may_compare(const Check *check)
{
	check_snapshot(check);
	if (check->index->rd_index->indisvalid)
		return true;
	ereport(NOTICE,
			(errmsg("index \"%s\" is not valid: only its structure is verified",
					RelationGetRelationName(check->index))));
	return false;
}

static void
verify_walk(Check *check, bool both_ways)
{
	IndexVerify how = {.tree = &check->tree, .report = report_index_problem,
		.damaged = report_index_damage, .entry = check_entry, .met = count_index_page,
	.arg = check};
	uint64		problems;

	if (both_ways)
		begin_fetching(check);
	progress_begin(check->problems, RelationGetRelid(check->index), &check->tree.file);
	problems = itree_verify(&how);
	progress_end();
	if (both_ways)
		end_fetching(check);
	/* in a damaged tree, searching may fail */
	if (both_ways && problems == 0)
		check_rows(check);
}

/* What reads the table, or calls functions of types, may raise an error because of damage. */
static void
put_caught_damage(Check *check, ErrorData *error)
{
	PoolDamage	damage = {.message = psprintf("index and table cannot be compared: %s",
											  error->message)};

	if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED &&
		error->sqlerrcode != ERRCODE_INDEX_CORRUPTED && error->sqlerrcode != ERRCODE_IO_ERROR)
		ReThrowError(error);
	damage.hint = error->hint;
	problem_report_table_damage(check->problems, &damage);
}

static void
walk_both_ways(void *arg)
{
	verify_walk(arg, true);
}

static void
compare_both(Check *check)
{
	ErrorData  *error = attempt(walk_both_ways, check);

	if (error != NULL)
		put_caught_damage(check, error);
}

static void
run_check(Check *check, bool both_ways)
{
	check->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	both_ways = both_ways && may_compare(check);
	/* no subtransactions in parallel mode: there, it is an error */
	if (both_ways && !IsInParallelMode())
		compare_both(check);
	else
		verify_walk(check, both_ways);
	UnregisterSnapshot(check->snapshot);
}

void
verify_index(Problems *problems, Oid relid, bool both_ways, bool may_be_gone)
{
	Check		check = {.problems = problems};
	Oid			user;
	int			security,
				nest_level;

	problems->is_index = true;
	if (!may_be_gone)
		open_both(&check, relid);
	else if (!open_both_if_there(&check, relid))
		return;
	index_tree(check.index, &check.tree);
	/* expressions of the index are its owner's, and run as him */
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(check.heap->rd_rel->relowner, security | SECURITY_RESTRICTED_OPERATION);
	nest_level = NewGUCNestLevel();
	if (!verify_is_absent(check.index))
		run_check(&check, both_ways);
	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(user, security);
	close_both(&check);
}

/* rowan.verify(index, heapallindexed) */
Datum
rowan_verify_both_ways(PG_FUNCTION_ARGS)
{
	Problems	problems = {.result = (ReturnSetInfo *) fcinfo->resultinfo};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("index to verify and heapallindexed must not be null")));
	InitMaterializedSRF(fcinfo, 0);
	verify_index(&problems, PG_GETARG_OID(0), PG_GETARG_BOOL(1), false);
	return (Datum) 0;
}
