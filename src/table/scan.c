/*
 * scan.c
 *	  Scans over the table itself: sequential, parallel, TID range, bitmap, sample.
 *
 * A scan copies one leaf at a time into its own memory, under no latch, and works on the copy.
 * Rows it returns point into the copy (or into memory for older versions), which stays until the
 * scan moves on; the executor has its slot filled anew or cleared by then.  No latch is held
 * between calls.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/tsmapi.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "table/table.h"
#include "utils/memutils.h"

/* Tables larger than this part of the pool are scanned through a ring. */
#define RING_THRESHOLD_PART		4

/*
 * From that many rows of a logical block on, copying its leaves beats fetching the rows one by one.
 */
#define BITMAP_COPY_MIN_ROWS	64

/*
 * Scans whose rows nobody locks one by one.  A range of TIDs is one of them: heap takes no lock
 * there (as of 15), so that SERIALIZABLE lets write skew pass.
 */
#define SCANS_THAT_LOCK_ALL		(SO_TYPE_SEQSCAN | SO_TYPE_SAMPLESCAN | SO_TYPE_TIDRANGESCAN)

static void
scan_conflict_out(void *arg, TransactionId xid)
{
	RowanScan	scan = (RowanScan) arg;

	CheckForSerializableConflictOut(scan->base.rs_rd, xid, scan->base.rs_snapshot);
}

static void
scan_start_over(RowanScan scan)
{
	scan->have_page = false;
	scan->started = false;
	scan->first = 0;
	scan->limit = TREE_KEY_MAX;
	scan->nrows = scan->next_row = 0;
	scan->block_first = TREE_KEY_MAX;
	if ((scan->base.rs_flags & SCANS_THAT_LOCK_ALL) && scan->base.rs_snapshot != NULL)
	{
		if (scan->base.rs_flags & SO_TYPE_SEQSCAN)
			pgstat_count_heap_scan(scan->base.rs_rd);
		if (IsMVCCSnapshot(scan->base.rs_snapshot))
			PredicateLockRelation(scan->base.rs_rd, scan->base.rs_snapshot);
	}
}

static void
choose_ring(RowanScan scan)
{
	bool		large = pool_file_blocks(&scan->table.file) >
		(BlockNumber) pool_n_frames / RING_THRESHOLD_PART;

	if (large && (scan->base.rs_flags & (SO_TYPE_SEQSCAN | SO_TYPE_ANALYZE)))
		scan->ring = palloc0(sizeof(PoolRing));
}

/*
 * The page is copied to the start of a cache line: then no line of a page, which begins with one
 * too, goes to two of the copy, and a scan of pages in memory takes about 3 % less time.
 */
static void
allocate_copies(RowanScan scan)
{
	scan->copies = palloc(PG_CACHE_LINE_SIZE + 2 * BLCKSZ + MAXIMUM_ALIGNOF);
	scan->page = (char *) TYPEALIGN(PG_CACHE_LINE_SIZE, scan->copies);
	scan->cell = scan->page + BLCKSZ;
}

TableScanDesc
rowan_scan_begin(Relation rel, Snapshot snapshot, int nkeys, struct ScanKeyData *key,
				 ParallelTableScanDesc pscan, uint32 flags)
{
	RowanScan	scan;

	if (nkeys > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("scan keys are not supported in scans of Rowan tables")));
	RelationIncrementReferenceCount(rel);
	scan = palloc0(sizeof(RowanScanData));
	scan->base.rs_rd = rel;
	scan->base.rs_snapshot = snapshot;
	scan->base.rs_flags = flags;
	scan->base.rs_parallel = pscan;
	table_row_table(rel, &scan->table);
	if (snapshot != NULL && CheckForSerializableConflictOutNeeded(rel, snapshot))
	{
		scan->table.conflict_arg = scan;
		scan->table.conflict_out = scan_conflict_out;
	}
	scan->work = row_work_create();
	allocate_copies(scan);
	if (pscan != NULL)
		scan->worker = palloc0(sizeof(ParallelBlockTableScanWorkerData));
	choose_ring(scan);
	scan_start_over(scan);
	return &scan->base;
}

void
rowan_scan_rescan(TableScanDesc sscan, struct ScanKeyData *key, bool set_params,
				  bool allow_strat, bool allow_sync, bool allow_pagemode)
{
	scan_start_over((RowanScan) sscan);
}

void
rowan_scan_end(TableScanDesc sscan)
{
	RowanScan	scan = (RowanScan) sscan;

	RelationDecrementReferenceCount(sscan->rs_rd);
	row_work_free(scan->work);
	pfree(scan->copies);
	if (scan->ring != NULL)
		pfree(scan->ring);
	if (scan->worker != NULL)
		pfree(scan->worker);
	if (sscan->rs_flags & SO_TEMP_SNAPSHOT)
		UnregisterSnapshot(sscan->rs_snapshot);
	pfree(scan);
}

/* ---- moving from leaf to leaf ---- */

static void
scan_got_page(RowanScan scan)
{
	scan->have_page = true;
	scan->nslots = page_nslots((Page) scan->page);
	scan->all_visible = scan->base.rs_snapshot != NULL &&
		row_page_all_visible((Page) scan->page, scan->base.rs_snapshot) &&
		scan->table.conflict_out == NULL;
	if (!scan->all_visible && scan->base.rs_snapshot != NULL &&
		(scan->base.rs_flags & SO_TYPE_SEQSCAN))
		row_prefetch_versions(&scan->table, (Page) scan->page, scan->base.rs_snapshot);
}

void
scan_load_page(RowanScan scan, RowId row, BlockNumber hint)
{
	tree_copy_leaf(&scan->table.file, row, hint, scan->ring, scan->page);
	scan_got_page(scan);
}

static inline TreeKey
scan_page_low(RowanScan scan)
{
	return page_trailer(scan->page)->low_fence;
}

static inline TreeKey
scan_page_high(RowanScan scan)
{
	return page_trailer(scan->page)->high_fence;
}

/* Positions the scan before its first row (forward) or behind its last (backward). */
static void
scan_position(RowanScan scan, bool forward)
{
	RowId		row = forward ? scan->first : scan->limit - 1;

	if (!scan->have_page || row < scan_page_low(scan) || row >= scan_page_high(scan))
		scan_load_page(scan, row, scan->have_page && row == scan_page_high(scan)
					   ? page_trailer(scan->page)->right_block : InvalidBlockNumber);
	if (forward)
		scan->pos = leaf_search((Page) scan->page, row) - 1;
	else
		scan->pos = leaf_search((Page) scan->page, row + 1);
	scan->started = true;
}

/* Steps to the next slot within the bounds; false at the end (and stays behind it). */
static bool
scan_step(RowanScan scan, bool forward)
{
	if (forward)
	{
		while (++scan->pos >= scan->nslots)
		{
			TreeKey		high = scan_page_high(scan);

			if (high >= scan->limit || high == TREE_KEY_MAX)
			{
				scan->pos = scan->nslots;
				return false;
			}
			CHECK_FOR_INTERRUPTS();
			scan_load_page(scan, high, page_trailer(scan->page)->right_block);
			/* not simply its first row: the leaf we come from may have been merged into it */
			scan->pos = leaf_search((Page) scan->page, high) - 1;
		}
		return leaf_key((Page) scan->page, scan->pos) < scan->limit;
	}
	while (--scan->pos < 0)
	{
		TreeKey		low = scan_page_low(scan);

		if (low <= scan->first ||
			!tree_copy_left_leaf(&scan->table.file, low, scan->ring, scan->page))
		{
			scan->pos = -1;
			return false;
		}
		CHECK_FOR_INTERRUPTS();
		scan_got_page(scan);
		scan->pos = leaf_search((Page) scan->page, low);
	}
	return leaf_key((Page) scan->page, scan->pos) >= scan->first;
}

/* Stores the version that the scan's snapshot sees of the row at the current position, if any. */
static bool
scan_store_current(RowanScan scan, TupleTableSlot *slot)
{
	RowVersion	version;
	RowId		row = row_parse_slot(&scan->table.file, (Page) scan->page, scan->pos, &version);
	bool		gone = false;

	if (!scan->all_visible &&
		!row_find_visible(&scan->table, row, &version, scan->base.rs_snapshot, scan->work, &gone))
	{
		/* the chain was cut after we copied the page: the row itself has an answer */
		if (!gone ||
			!row_fetch_visible(&scan->table, row, scan->base.rs_snapshot, NULL, scan->cell,
							   scan->work, &version, NULL))
			return false;
	}
	table_store_version(scan->base.rs_rd, slot, row, &version, false);
	scan->creator = version.meta.xid;
	return true;
}

static bool
scan_next(RowanScan scan, bool forward, TupleTableSlot *slot)
{
	if (!scan->started)
		scan_position(scan, forward);
	while (scan_step(scan, forward))
	{
		if (scan_store_current(scan, slot))
			return true;
	}
	return false;
}

/* ---- sequential ---- */

Size
rowan_parallelscan_initialize(Relation rel, ParallelTableScanDesc pscan)
{
	Size		size = table_block_parallelscan_initialize(rel, pscan);
	ParallelBlockTableScanDesc bscan = (ParallelBlockTableScanDesc) pscan;
	PoolFile	file;

	/* workers share out logical blocks */
	table_pool_file(rel, &file);
	bscan->phs_nblocks = tree_exists(&file) ? table_logical_blocks(&file) : 0;
	pscan->phs_syncscan = false;
	return size;
}

/* The next range of rows that this worker is to scan; false: nothing left. */
static bool
parallel_next_range(RowanScan scan)
{
	ParallelBlockTableScanDesc bscan = (ParallelBlockTableScanDesc) scan->base.rs_parallel;
	BlockNumber block;

	if (!scan->started)
		table_block_parallelscan_startblock_init(scan->base.rs_rd, scan->worker, bscan);
	block = table_block_parallelscan_nextpage(scan->base.rs_rd, scan->worker, bscan);
	scan->started = true;
	if (!BlockNumberIsValid(block))
		return false;
	scan->first = (RowId) block << 8;
	scan->limit = scan->first + ROWS_PER_LOGICAL_BLOCK;
	scan_position(scan, true);
	return true;
}

static bool
parallel_next(RowanScan scan, TupleTableSlot *slot)
{
	if (!scan->started && !parallel_next_range(scan))
		return false;
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (scan->have_page && scan_next(scan, true, slot))
			return true;
		if (!parallel_next_range(scan))
		{
			scan->have_page = false;
			return false;
		}
	}
}

bool
rowan_scan_getnextslot(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot)
{
	RowanScan	scan = (RowanScan) sscan;
	bool		found = false;

	pool_assert_unlatched();
	/* whoever has seen a page of the tree need not ask */
	if (scan->have_page || tree_exists(&scan->table.file))
	{
		if (sscan->rs_parallel != NULL)
			found = parallel_next(scan, slot);
		else
			found = scan_next(scan, !ScanDirectionIsBackward(direction), slot);
	}
	if (!found)
	{
		ExecClearTuple(slot);
		return false;
	}
	pgstat_count_heap_getnext(sscan->rs_rd);
	return true;
}

/* ---- TID range ---- */

/*
 * The bounds are whole TIDs, version tags included, as a comparison of ctid would see them; so all
 * of the first and the last logical block is scanned, and TIDs are compared.
 */
void
rowan_scan_set_tidrange(TableScanDesc sscan, ItemPointer mintid, ItemPointer maxtid)
{
	RowanScan	scan = (RowanScan) sscan;

	scan_start_over(scan);
	scan->first = (RowId) ItemPointerGetBlockNumberNoCheck(mintid) << 8;
	scan->limit = ((RowId) ItemPointerGetBlockNumberNoCheck(maxtid) << 8) + ROWS_PER_LOGICAL_BLOCK;
	scan->min_tid = *mintid;
	scan->max_tid = *maxtid;
}

bool
rowan_scan_getnextslot_tidrange(TableScanDesc sscan, ScanDirection direction,
								TupleTableSlot *slot)
{
	RowanScan	scan = (RowanScan) sscan;
	bool		forward = !ScanDirectionIsBackward(direction);

	if (scan->first < scan->limit && tree_exists(&scan->table.file))
	{
		while (scan_next(scan, forward, slot))
		{
			if (ItemPointerCompare(&slot->tts_tid, &scan->min_tid) < 0 ||
				ItemPointerCompare(&slot->tts_tid, &scan->max_tid) > 0)
				continue;
			pgstat_count_heap_getnext(sscan->rs_rd);
			return true;
		}
	}
	ExecClearTuple(slot);
	return false;
}

/* ---- bitmap ---- */

static bool
fetch_one(RowanScan scan, RowId row, TupleTableSlot *slot)
{
	RowVersion	version;

	if (!row_fetch_visible(&scan->table, row, scan->base.rs_snapshot, &scan->hint, scan->cell,
						   scan->work, &version, NULL))
		return false;
	table_store_version(scan->base.rs_rd, slot, row, &version, false);
	scan->creator = version.meta.xid;
	return true;
}

static bool
fetch_from_page(RowanScan scan, RowId row, TupleTableSlot *slot)
{
	if (!scan->have_page || row < scan_page_low(scan) || row >= scan_page_high(scan))
		scan_load_page(scan, row, scan->have_page ? page_trailer(scan->page)->right_block
					   : InvalidBlockNumber);
	scan->pos = leaf_find((Page) scan->page, row);
	return scan->pos >= 0 && scan_store_current(scan, slot);
}

/* The next of scan->rows[] that the snapshot sees. */
static bool
next_listed_row(RowanScan scan, TupleTableSlot *slot)
{
	while (scan->next_row < scan->nrows)
	{
		RowId		row = scan->rows[scan->next_row++];

		if (!(scan->nrows < BITMAP_COPY_MIN_ROWS ? fetch_one(scan, row, slot)
			  : fetch_from_page(scan, row, slot)))
			continue;
		if (scan->base.rs_snapshot != NULL && IsMVCCSnapshot(scan->base.rs_snapshot))
			PredicateLockTID(scan->base.rs_rd, &slot->tts_tid, scan->base.rs_snapshot,
							 scan->creator);
		if (scan->table.conflict_out != NULL)
		{
			/*
			 * as in fetch.c: see who changed it before our lock was there; the slot keeps its
			 * own bytes
			 */
			RowVersion	version;

			ExecMaterializeSlot(slot);
			(void) row_fetch_visible(&scan->table, row, scan->base.rs_snapshot, NULL, scan->cell,
									 scan->work, &version, NULL);
		}
		return true;
	}
	return false;
}

/* Lists the rows there are in a logical block. */
static void
list_block(RowanScan scan, BlockNumber block)
{
	RowId		first = (RowId) block << 8;
	RowId		limit = first + ROWS_PER_LOGICAL_BLOCK;
	RowId		row = first;

	scan->nrows = scan->next_row = 0;
	scan->block_first = first;
	while (row < limit)
	{
		if (!scan->have_page || row < scan_page_low(scan) || row >= scan_page_high(scan))
			scan_load_page(scan, row, InvalidBlockNumber);
		for (int pos = leaf_search((Page) scan->page, row); pos < scan->nslots; pos++)
		{
			row = leaf_key((Page) scan->page, pos);
			if (row >= limit)
				break;
			scan->rows[scan->nrows++] = row;
		}
		row = scan_page_high(scan);
	}
}

void		(*table_bitmap_scan_begins) (void);

/* The bitmap's TIDs are of one logical block. */
static void
list_rows(RowanScan scan, BlockNumber block, const OffsetNumber *offsets, int n)
{
	scan->nrows = scan->next_row = 0;
	for (int i = 0; i < n; i++)
	{
		ItemPointerData tid;

		ItemPointerSet(&tid, block, offsets[i]);
		if (row_tid_plausible(&tid))
			scan->rows[scan->nrows++] = row_id_from_tid(&tid);
	}
}

bool
scan_bitmap_block(RowanScan scan, BlockNumber block, const OffsetNumber *offsets, int n)
{
	if (!tree_exists(&scan->table.file))
		return false;
	scan->have_page = false;
	if (n < 0)
		list_block(scan, block);
	else
		list_rows(scan, block, offsets, n);
	return scan->nrows > 0;
}

bool
scan_bitmap_row(RowanScan scan, TupleTableSlot *slot)
{
	if (!next_listed_row(scan, slot))
	{
		ExecClearTuple(slot);
		return false;
	}
	pgstat_count_heap_fetch(scan->base.rs_rd);
	return true;
}

/* ---- sample ---- */

bool
rowan_scan_sample_next_block(TableScanDesc sscan, struct SampleScanState *state)
{
	RowanScan	scan = (RowanScan) sscan;
	TsmRoutine *tsm = state->tsmroutine;
	BlockNumber nblocks;
	BlockNumber block;

	if (!tree_exists(&scan->table.file))
		return false;
	nblocks = table_logical_blocks(&scan->table.file);
	if (tsm->NextSampleBlock)
		block = tsm->NextSampleBlock(state, nblocks);
	else
	{
		RowId		next = scan->block_first == TREE_KEY_MAX ? 0
			: scan->block_first + ROWS_PER_LOGICAL_BLOCK;

		block = (next >> 8) < nblocks ? (BlockNumber) (next >> 8) : InvalidBlockNumber;
	}
	if (!BlockNumberIsValid(block))
		return false;
	list_block(scan, block);
	return true;
}

bool
rowan_scan_sample_next_tuple(TableScanDesc sscan, struct SampleScanState *state,
							 TupleTableSlot *slot)
{
	RowanScan	scan = (RowanScan) sscan;
	TsmRoutine *tsm = state->tsmroutine;
	BlockNumber block = (BlockNumber) (scan->block_first >> 8);
	OffsetNumber max_offset = scan->nrows == 0 ? 0
		: (scan->rows[scan->nrows - 1] & 0xFF) + 1;

	for (;;)
	{
		OffsetNumber offset;

		CHECK_FOR_INTERRUPTS();
		offset = tsm->NextSampleTuple(state, block, max_offset);
		if (!OffsetNumberIsValid(offset))
			break;
		if (!fetch_from_page(scan, scan->block_first + offset - 1, slot))
			continue;
		pgstat_count_heap_getnext(sscan->rs_rd);
		return true;
	}
	ExecClearTuple(slot);
	return false;
}
