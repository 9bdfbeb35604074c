/*
 * callbacks.c
 *	  The table access method: its routine table, and what its parts share.
 *
 * Callbacks whose arguments or result are not the same in all majors of PostgreSQL have them here,
 * and call functions of table/ that know of no major.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "base/export.h"
#include "base/preload.h"
#include "catalog/pg_am.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "nodes/tidbitmap.h"
#include "pgstat.h"
#if PG_VERSION_NUM >= 170000
#include "storage/read_stream.h"
#endif
#include "table/table.h"
#include "table/toast.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

ROWAN_SQL_FUNCTION(rowan_table_handler);

void
table_pool_file(Relation rel, PoolFile *file)
{
	file->locator = rel->rd_locator;
	file->backend = rel->rd_backend;
	file->logged = RelationIsPermanent(rel);
	file->fetched = file->hit = NULL;
	if (pgstat_should_count_relation(rel))
	{
		file->fetched = &relation_blocks_fetched(rel);
		file->hit = &relation_blocks_hit(rel);
	}
}

void
table_row_table(Relation rel, RowTable *table)
{
	/*
	 * the pool would not mind, but what is beside the table is in the other session's own
	 * memory
	 */
	if (RELATION_IS_OTHER_TEMP(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary tables of other sessions")));
	memset(table, 0, sizeof(*table));
	table_pool_file(rel, &table->file);
	table->horizon = GlobalVisTestFor(rel);
	table->fill_reserve = (int) ROWAN_PAGE_ROOM * (100 - RelationGetFillFactor(rel, 100)) / 100;
	table->visibility_arg = rel;
}

const RowLayout *
table_layout(Relation rel)
{
	if (rel->rd_amcache == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(CacheMemoryContext);

		rel->rd_amcache = row_layout_create(RelationGetDescr(rel));
		MemoryContextSwitchTo(caller);
	}
	return rel->rd_amcache;
}

int
table_decode_row(Relation rel, const RowLayout *layout, const RowData *row, Datum *values,
				 bool *isnull)
{
	int			natts = Min(row->natts, RelationGetNumberOfAttributes(rel));
	uint32		offset = 0;

	if (!row_decode(layout, row, 0, natts, &offset, values, isnull))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("row of table \"%s\" cannot be decoded", RelationGetRelationName(rel)),
				 errhint("Check the table with rowan.verify().")));
	return natts;
}

BlockNumber
table_logical_blocks(const PoolFile *file)
{
	RowId		next = tree_next_key(file);

	return (BlockNumber) ((next + ROWS_PER_LOGICAL_BLOCK - 1) / ROWS_PER_LOGICAL_BLOCK);
}

static const TupleTableSlotOps *
rowan_slot_callbacks(Relation rel)
{
	return &TTSOpsRowan;
}

static void
rowan_finish_bulk_insert(Relation rel, int options)
{
}

static Oid
rowan_toast_am(Relation rel)
{
	return HEAP_TABLE_AM_OID;
}

/* ---- what differs between majors ---- */

void
table_vacuum_limits(Relation rel, struct VacuumParams *params, TransactionId *oldest_xmin,
					MultiXactId *oldest_multi)
{
#if PG_VERSION_NUM >= 160000
	struct VacuumCutoffs cutoffs;

	(void) vacuum_get_cutoffs(rel, params, &cutoffs);
	*oldest_xmin = cutoffs.OldestXmin;
	*oldest_multi = cutoffs.OldestMxact;
#else
	TransactionId freeze_limit;
	MultiXactId multi_cutoff;

	vacuum_set_xid_limits(rel, params->freeze_min_age, params->freeze_table_age,
						  params->multixact_freeze_min_age, params->multixact_freeze_table_age,
						  oldest_xmin, oldest_multi, &freeze_limit, &multi_cutoff);
#endif
}

#if PG_VERSION_NUM >= 160000
#define update_callback		rowan_tuple_update
#else
/* Summarizing indexes are as others here. */
static TM_Result
update_callback(Relation rel, ItemPointer otid, TupleTableSlot *slot, CommandId cid,
				Snapshot snapshot, Snapshot crosscheck, bool wait, TM_FailureData *tmfd,
				LockTupleMode *lockmode, bool *update_indexes)
{
	TU_UpdateIndexes indexes;
	TM_Result	result = rowan_tuple_update(rel, otid, slot, cid, snapshot, crosscheck, wait, tmfd,
											lockmode, &indexes);

	Assert(indexes != TU_Summarizing);
	*update_indexes = indexes == TU_All;
	return result;
}
#endif

#if PG_VERSION_NUM >= 170000
/* False means the end, so what cannot have rows is passed over. */
static bool
analyze_next_block(TableScanDesc scan, ReadStream *stream)
{
	BlockNumber block;
	BufferAccessStrategy strategy;

	while (BlockNumberIsValid(block = read_stream_next_block(stream, &strategy)))
	{
		CHECK_FOR_INTERRUPTS();
		if (table_analyze_block(scan, block))
			return true;
	}
	return false;
}
#else
static bool
analyze_next_block(TableScanDesc scan, BlockNumber block, BufferAccessStrategy strategy)
{
	return table_analyze_block(scan, block);
}
#endif

#if PG_VERSION_NUM >= 180000
/* The bitmap's next block; false: there is none. */
static bool
next_bitmap_block(RowanScan scan, bool *recheck, uint64 *lossy_pages, uint64 *exact_pages)
{
	TBMIterateResult result;
	OffsetNumber offsets[TBM_MAX_TUPLES_PER_PAGE];
	int			n = -1;

	CHECK_FOR_INTERRUPTS();
	if (!tbm_iterate(&scan->base.st.rs_tbmiterator, &result))
		return false;
	*recheck = result.recheck;
	++*(result.lossy ? lossy_pages : exact_pages);
	if (!result.lossy)
		n = tbm_extract_page_tuple(&result, offsets, lengthof(offsets));
	(void) scan_bitmap_block(scan, result.blockno, offsets, n);
	return true;
}

static bool
bitmap_next_tuple(TableScanDesc scan, TupleTableSlot *slot, bool *recheck, uint64 *lossy_pages,
				  uint64 *exact_pages)
{
	while (!scan_bitmap_row((RowanScan) scan, slot))
	{
		if (!next_bitmap_block((RowanScan) scan, recheck, lossy_pages, exact_pages))
			return false;
	}
	return true;
}
#else
static bool
bitmap_next_block(TableScanDesc sscan, TBMIterateResult *result)
{
	RowanScan	scan = (RowanScan) sscan;

	if (!scan->prefetching_stopped)
	{
		if (table_bitmap_scan_begins != NULL)
			table_bitmap_scan_begins();
		scan->prefetching_stopped = true;
	}
	return scan_bitmap_block(scan, result->blockno, result->offsets, result->ntuples);
}

static bool
bitmap_next_tuple(TableScanDesc scan, TBMIterateResult *result, TupleTableSlot *slot)
{
	return scan_bitmap_row((RowanScan) scan, slot);
}
#endif

#if PG_VERSION_NUM >= 180000
#define copy_minimal_tuple_callback		rowan_slot_copy_minimal_tuple
#else
static MinimalTuple
copy_minimal_tuple_callback(TupleTableSlot *slot)
{
	return rowan_slot_copy_minimal_tuple(slot, 0);
}
#endif

/* ---- the slot's and the method's tables ---- */

const TupleTableSlotOps TTSOpsRowan = {
	.base_slot_size = sizeof(RowanSlot),
	.init = rowan_slot_init,
	.release = rowan_slot_release,
	.clear = rowan_slot_clear,
	.getsomeattrs = rowan_slot_getsomeattrs,
	.getsysattr = rowan_slot_getsysattr,
#if PG_VERSION_NUM >= 170000
	.is_current_xact_tuple = rowan_slot_is_current_xact_tuple,
#endif
	.materialize = rowan_slot_materialize,
	.copyslot = rowan_slot_copyslot,

	/* a Rowan slot owns neither; core copies where it needs one */
	.get_heap_tuple = NULL,
	.get_minimal_tuple = NULL,
	.copy_heap_tuple = rowan_slot_copy_heap_tuple,
	.copy_minimal_tuple = copy_minimal_tuple_callback
};

static const TableAmRoutine rowan_routine = {
	.type = T_TableAmRoutine,

	.slot_callbacks = rowan_slot_callbacks,

	.scan_begin = rowan_scan_begin,
	.scan_end = rowan_scan_end,
	.scan_rescan = rowan_scan_rescan,
	.scan_getnextslot = rowan_scan_getnextslot,
	.scan_set_tidrange = rowan_scan_set_tidrange,
	.scan_getnextslot_tidrange = rowan_scan_getnextslot_tidrange,

	.parallelscan_estimate = table_block_parallelscan_estimate,
	.parallelscan_initialize = rowan_parallelscan_initialize,
	.parallelscan_reinitialize = table_block_parallelscan_reinitialize,

	.index_fetch_begin = rowan_index_fetch_begin,
	.index_fetch_reset = rowan_index_fetch_reset,
	.index_fetch_end = rowan_index_fetch_end,
	.index_fetch_tuple = rowan_index_fetch_tuple,

	.tuple_fetch_row_version = rowan_fetch_row_version,
	.tuple_tid_valid = rowan_tid_valid,
	.tuple_get_latest_tid = rowan_get_latest_tid,
	.tuple_satisfies_snapshot = rowan_satisfies_snapshot,
	.index_delete_tuples = rowan_index_delete_tuples,

	.tuple_insert = rowan_tuple_insert,
	.tuple_insert_speculative = rowan_tuple_insert_speculative,
	.tuple_complete_speculative = rowan_tuple_complete_speculative,
	.multi_insert = rowan_multi_insert,
	.tuple_delete = rowan_tuple_delete,
	.tuple_update = update_callback,
	.tuple_lock = rowan_tuple_lock,
	.finish_bulk_insert = rowan_finish_bulk_insert,

#if PG_VERSION_NUM >= 160000
	.relation_set_new_filelocator = rowan_set_new_filelocator,
#else
	.relation_set_new_filenode = rowan_set_new_filelocator,
#endif
	.relation_nontransactional_truncate = rowan_nontransactional_truncate,
	.relation_copy_data = rowan_copy_data,
	.relation_copy_for_cluster = rowan_copy_for_cluster,
	.relation_vacuum = rowan_vacuum,
	.scan_analyze_next_block = analyze_next_block,
	.scan_analyze_next_tuple = rowan_scan_analyze_next_tuple,
	.index_build_range_scan = rowan_index_build_range_scan,
	.index_validate_scan = rowan_index_validate_scan,

	.relation_size = rowan_relation_size,
	.relation_needs_toast_table = rowan_relation_needs_toast_table,
	.relation_toast_am = rowan_toast_am,

	.relation_estimate_size = rowan_estimate_size,

#if PG_VERSION_NUM < 180000
	.scan_bitmap_next_block = bitmap_next_block,
#endif
	.scan_bitmap_next_tuple = bitmap_next_tuple,
	.scan_sample_next_block = rowan_scan_sample_next_block,
	.scan_sample_next_tuple = rowan_scan_sample_next_tuple
};

bool
rowan_relation_is_rowan(Relation rel)
{
	return rel->rd_tableam == &rowan_routine;
}

bool
rowan_method_is_rowan(Oid method)
{
	HeapTuple	tuple = SearchSysCache1(AMOID, ObjectIdGetDatum(method));
	bool		ours = false;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_am	am = (Form_pg_am) GETSTRUCT(tuple);

		ours = am->amtype == AMTYPE_TABLE && GetTableAmRoutine(am->amhandler) == &rowan_routine;
		ReleaseSysCache(tuple);
	}
	return ours;
}

Datum
rowan_table_handler(PG_FUNCTION_ARGS)
{
	rowan_require_preload();
	PG_RETURN_POINTER(&rowan_routine);
}
