/*
 * build.c
 *	  Feeding index builds with the rows of the table.
 *
 * The decisions are those of heapam_index_build_range_scan, taken once per row instead of
 * once per tuple: an index gets one entry a row, for its newest version.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "catalog/catalog.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "table/table.h"
#include "utils/datum.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"

RowStatus
table_row_status(RowTable *table, RowId row, RowVersion *version, RowWork *work,
				 char *cell, TransactionId *xid)
{
	RowMeta		newest = version->meta;
	XidState	state;
	bool		gone;

	*xid = InvalidTransactionId;
	while ((state = xid_state(version->meta.xid)) == XID_ABORTED || row_is_stub(&version->meta))
	{
		if (row_step_older(table, row, version, work, &gone))
			continue;
		/* gone: it was popped since we copied the page, the row itself knows better */
		if (!gone || !row_read_changed(table, row, &newest, NULL, cell, version))
			return ROW_STATUS_DEAD;
		newest = version->meta;
	}
	*xid = version->meta.xid;
	if (version->meta.flags & ROW_DELETED)
	{
		if (state == XID_COMMITTED)
			return xid_visible_to_all(version->meta.xid, table->horizon) ? ROW_STATUS_DEAD
				: ROW_STATUS_RECENTLY_DEAD;
		return ROW_STATUS_DELETING;
	}
	if (state == XID_COMMITTED || (version->meta.flags & ROW_VERSION))
		return ROW_STATUS_LIVE;
	return ROW_STATUS_INSERTING;
}

typedef struct IndexBuild
{
	Relation	rel;
	Relation	index;
	IndexInfo  *info;
	RowanScan	scan;
	EState	   *estate;
	ExprState  *predicate;
	TupleTableSlot *slot;
	bool		check_unique;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
} IndexBuild;

static void
build_begin(IndexBuild *build, Relation rel, Relation index, IndexInfo *info)
{
	memset(build, 0, sizeof(*build));
	build->rel = rel;
	build->index = index;
	build->info = info;
	build->estate = CreateExecutorState();
	build->slot = table_slot_create(rel, NULL);
	GetPerTupleExprContext(build->estate)->ecxt_scantuple = build->slot;
	build->predicate = ExecPrepareQual(info->ii_Predicate, build->estate);
}

static void
build_end(IndexBuild *build)
{
	ExecDropSingleTupleTableSlot(build->slot);
	FreeExecutorState(build->estate);
	/* these may have been pointing to the now-gone estate */
	build->info->ii_ExpressionsState = NIL;
	build->info->ii_PredicateState = NULL;
}

/* Index columns of the version in the slot; false if the predicate excludes it. */
static bool
build_datums(IndexBuild *build)
{
	pool_assert_unlatched();
	MemoryContextReset(GetPerTupleExprContext(build->estate)->ecxt_per_tuple_memory);
	if (build->predicate != NULL &&
		!ExecQual(build->predicate, GetPerTupleExprContext(build->estate)))
		return false;
	FormIndexDatum(build->info, build->slot, build->estate, build->values, build->isnull);
	return true;
}

/*
 * Somebody may still see an older version of the row, which may have had other values in the
 * columns that are being indexed (before there was an index nothing kept an update in place from
 * changing them).
 */
static bool
older_version_visible(IndexBuild *build, const RowVersion *version)
{
	return (version->meta.flags & ROW_VERSION) != 0 &&
		!xid_visible_to_all(version->meta.xid, build->scan->table.horizon);
}

/*
 * Does the row belong into the index, and does it count for uniqueness?  Waits for others where
 * that can't be known yet; *again: look at the row once more.
 */
static bool
row_is_to_be_indexed(IndexBuild *build, RowStatus status, TransactionId xid, ItemPointer tid,
					 bool *alive, bool *again, double *reltuples)
{
	bool		own = TransactionIdIsCurrentTransactionId(xid);

	pool_assert_unlatched();
	*again = false;
	switch (status)
	{
		case ROW_STATUS_DEAD:
			return false;
		case ROW_STATUS_LIVE:
			*alive = true;
			*reltuples += 1;
			return true;
		case ROW_STATUS_RECENTLY_DEAD:
			*alive = false;
			return true;
		case ROW_STATUS_INSERTING:
			if (!own && build->check_unique)
			{
				XactLockTableWait(xid, build->rel, tid, XLTW_InsertIndexUnique);
				*again = true;
				return false;
			}
			*alive = true;
			*reltuples += own ? 1 : 0;
			return true;
		case ROW_STATUS_DELETING:
			if (!own && build->check_unique)
			{
				XactLockTableWait(xid, build->rel, tid, XLTW_InsertIndexUnique);
				*again = true;
				return false;
			}

			/*
			 * as heap: our own deletions are dead, others' undecided ones alive for statistics
			 * only
			 */
			*alive = false;
			*reltuples += own ? 0 : 1;
			return true;
	}
	return false;
}

static void
build_version(IndexBuild *build, RowId row, const RowVersion *version, bool alive,
			  IndexBuildCallback callback, void *callback_state)
{
	ItemPointerData tid;

	row_tid_set(&tid, row, 0);
	table_store_version(build->rel, build->slot, row, version, true);
	if (build_datums(build))
		callback(build->index, &tid, build->values, build->isnull, alive, callback_state);
}

/*
 * Of an index that summarizes, columns change in place: all versions that somebody may see belong
 * into the summary. If their chain is cut, the row is looked at again, unless it has not changed:
 * then nobody wants what was cut off.
 */
static void
build_older(IndexBuild *build, RowId row, RowVersion *version, IndexBuildCallback callback,
			void *callback_state)
{
	RowanScan	scan = build->scan;
	RowMeta		before = {0};
	bool		gone;

	while (older_version_visible(build, version))
	{
		if (!row_step_older(&scan->table, row, version, scan->work, &gone))
		{
			TransactionId xid;

			if (!gone || !row_read(&scan->table, row, NULL, scan->cell, version) ||
				row_same_newest(&before, &version->meta))
				return;
			before = version->meta;
			if (table_row_status(&scan->table, row, version, scan->work, scan->cell, &xid) ==
				ROW_STATUS_DEAD)
				return;
		}
		build_version(build, row, version, false, callback, callback_state);
	}
}

static void
build_row_any(IndexBuild *build, RowId row, RowVersion *version, IndexBuildCallback callback,
			  void *callback_state, double *reltuples)
{
	RowanScan	scan = build->scan;
	ItemPointerData tid;
	bool		alive = false;
	bool		again;

	pgstat_count_heap_getnext(build->rel);
	row_tid_set(&tid, row, 0);
	for (;;)
	{
		TransactionId xid;
		RowStatus	status = table_row_status(&scan->table, row, version, scan->work,
											  scan->cell, &xid);

		if (row_is_to_be_indexed(build, status, xid, &tid, &alive, &again, reltuples))
			break;
		/* again: a transaction has ended that we waited for */
		if (!again || !row_read(&scan->table, row, NULL, scan->cell, version))
			return;
	}

	/*
	 * By a newer horizon than ours everybody may see the deletion, and the record of it be
	 * reclaimed; BRIN, which summarises beside writers, meets that.  An entry too many does no
	 * harm.
	 */
	if (version->meta.flags & ROW_DELETED)
		row_undelete(&scan->table, row, version, scan->work);
	build_version(build, row, version, alive, callback, callback_state);
	if (index_summarizes(build->index))
		build_older(build, row, version, callback, callback_state);
	else if (older_version_visible(build, version))
		build->info->ii_BrokenHotChain = true;
}

static void
build_row_mvcc(IndexBuild *build, RowId row, RowVersion *version, Snapshot snapshot,
			   IndexBuildCallback callback, void *callback_state, double *reltuples)
{
	RowanScan	scan = build->scan;
	bool		gone;

	if (!row_find_visible(&scan->table, row, version, snapshot, scan->work, &gone) &&
		(!gone || !row_fetch_visible(&scan->table, row, snapshot, NULL, scan->cell, scan->work,
									 version, NULL)))
		return;
	pgstat_count_heap_getnext(build->rel);
	*reltuples += 1;
	build_version(build, row, version, true, callback, callback_state);
}

static bool
build_next_range(RowanScan scan, RowId *first, RowId *limit)
{
	ParallelBlockTableScanDesc bscan = (ParallelBlockTableScanDesc) scan->base.rs_parallel;
	BlockNumber block;

	if (bscan == NULL)
		return false;
	block = table_block_parallelscan_nextpage(scan->base.rs_rd, scan->worker, bscan);
	if (!BlockNumberIsValid(block))
		return false;
	*first = (RowId) block << 8;
	*limit = *first + ROWS_PER_LOGICAL_BLOCK;
	return true;
}

static void
build_range(IndexBuild *build, RowId first, RowId limit, bool progress,
			IndexBuildCallback callback, void *callback_state, double *reltuples)
{
	RowanScan	scan = build->scan;
	Snapshot	snapshot = scan->base.rs_snapshot;
	bool		mvcc = snapshot != NULL && IsMVCCSnapshot(snapshot);
	uint64		pages = 0;
	RowId		row = first;

	while (row < limit)
	{
		CHECK_FOR_INTERRUPTS();
		if (!scan->have_page || row < page_trailer(scan->page)->low_fence ||
			row >= page_trailer(scan->page)->high_fence)
			scan_load_page(scan, row, scan->have_page ? page_trailer(scan->page)->right_block
						   : InvalidBlockNumber);
		for (int pos = leaf_search((Page) scan->page, row); pos < scan->nslots; pos++)
		{
			RowVersion	version;

			row = row_parse_slot(&scan->table.file, (Page) scan->page, pos, &version);
			if (row >= limit)
				return;
			if (mvcc)
				build_row_mvcc(build, row, &version, snapshot, callback, callback_state, reltuples);
			else
				build_row_any(build, row, &version, callback, callback_state, reltuples);
		}
		row = page_trailer(scan->page)->high_fence;
		if (progress)
			pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, ++pages);
	}
}

double
rowan_index_build_range_scan(Relation rel, Relation index, struct IndexInfo *info,
							 bool allow_sync, bool anyvisible, bool progress, BlockNumber start,
							 BlockNumber nblocks, IndexBuildCallback callback,
							 void *callback_state, TableScanDesc sscan)
{
	IndexBuild	build;
	double		reltuples = 0;
	RowId		first = (RowId) start << 8;
	RowId		limit = nblocks == InvalidBlockNumber ? TREE_KEY_MAX
		: first + ((RowId) nblocks << 8);
	Snapshot	snapshot = SnapshotAny;
	bool		own_snapshot = false;

	build_begin(&build, rel, index, info);
	build.check_unique = (info->ii_Unique || info->ii_ExclusionOps != NULL);
	if (sscan == NULL)
	{
		if (info->ii_Concurrent)
		{
			snapshot = RegisterSnapshot(GetTransactionSnapshot());
			own_snapshot = true;
		}
		sscan = rowan_scan_begin(rel, snapshot, 0, NULL, NULL, 0);
		pgstat_count_heap_scan(rel);	/* as heap's builds count */
	}
	build.scan = (RowanScan) sscan;
	if (progress)
		pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_TOTAL,
									 pool_file_blocks(&build.scan->table.file));
	if (!tree_exists(&build.scan->table.file))
		 /* empty */ ;
	else if (sscan->rs_parallel == NULL)
		build_range(&build, first, limit, progress, callback, callback_state, &reltuples);
	else
	{
		table_block_parallelscan_startblock_init(rel, build.scan->worker,
												 (ParallelBlockTableScanDesc) sscan->rs_parallel);
		while (build_next_range(build.scan, &first, &limit))
			build_range(&build, first, limit, progress, callback, callback_state, &reltuples);
	}
	rowan_scan_end(sscan);
	if (own_snapshot)
		UnregisterSnapshot(snapshot);
	build_end(&build);
	return reltuples;
}

/* ---- CREATE INDEX CONCURRENTLY, second pass ---- */

/* The next TID in the index, from the sort; false at the end.  Index entries carry no tags. */
static bool
next_index_tid(ValidateIndexState *state, ItemPointerData *tid)
{
	Datum		value;
	bool		isnull;

	if (!next_sorted_datum(state->tuplesort, &value, &isnull))
		return false;
	itemptr_decode(tid, DatumGetInt64(value));
#ifndef USE_FLOAT8_BYVAL
	pfree(DatumGetPointer(value));
#endif
	return true;
}

void
rowan_index_validate_scan(Relation rel, Relation index, struct IndexInfo *info,
						  Snapshot snapshot, struct ValidateIndexState *state)
{
	IndexBuild	build;
	RowanScan	scan;
	ItemPointerData index_tid;
	bool		have_index_tid;

	build_begin(&build, rel, index, info);
	scan = (RowanScan) rowan_scan_begin(rel, snapshot, 0, NULL, NULL, SO_TYPE_SEQSCAN);
	build.scan = scan;
	pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_TOTAL,
								 pool_file_blocks(&scan->table.file));
	have_index_tid = next_index_tid(state, &index_tid);
	while (rowan_scan_getnextslot(&scan->base, ForwardScanDirection, build.slot))
	{
		ItemPointerData tid;

		CHECK_FOR_INTERRUPTS();
		state->htups += 1;
		row_tid_set(&tid, row_id_from_tid(&build.slot->tts_tid), 0);
		while (have_index_tid && ItemPointerCompare(&index_tid, &tid) < 0)
			have_index_tid = next_index_tid(state, &index_tid);
		if (have_index_tid && ItemPointerEquals(&index_tid, &tid))
			continue;
		if (!build_datums(&build))
			continue;
		index_insert(index, build.values, build.isnull, &tid, rel,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, info);
		state->tups_inserted += 1;
	}
	rowan_scan_end(&scan->base);
	build_end(&build);
}
