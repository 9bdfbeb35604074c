/*
 * callbacks.c
 *	  The table access method: its routine table, and what its parts share.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "base/export.h"
#include "base/preload.h"
#include "catalog/pg_am.h"
#include "miscadmin.h"
#include "pgstat.h"
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
	int			fillfactor;

	/* the pool would not mind, but what is beside the table is in the other session's own memory */
	if (RELATION_IS_OTHER_TEMP(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary tables of other sessions")));
	memset(table, 0, sizeof(*table));
	table_pool_file(rel, &table->file);
	table->horizon = GlobalVisTestFor(rel);
	/* 100 is also what core says when nobody has said anything */
	fillfactor = RelationGetFillFactor(rel, 100);
	table->fill_reserve = fillfactor == 100 ? -1 : (int) ROWAN_PAGE_ROOM * (100 - fillfactor) / 100;
	table->clear_visibility = table_clear_visibility;
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

BlockNumber
table_logical_blocks(const PoolFile *file)
{
	char	   *page = palloc(BLCKSZ);
	RowId		next;

	tree_copy_leaf(file, TREE_KEY_MAX - 1, InvalidBlockNumber, NULL, page);
	next = page_trailer(page)->next_key;
	pfree(page);
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
	.tuple_update = rowan_tuple_update,
	.tuple_lock = rowan_tuple_lock,
	.finish_bulk_insert = rowan_finish_bulk_insert,

	.relation_set_new_filelocator = rowan_set_new_filelocator,
	.relation_nontransactional_truncate = rowan_nontransactional_truncate,
	.relation_copy_data = rowan_copy_data,
	.relation_copy_for_cluster = rowan_copy_for_cluster,
	.relation_vacuum = rowan_vacuum,
	.scan_analyze_next_block = rowan_scan_analyze_next_block,
	.scan_analyze_next_tuple = rowan_scan_analyze_next_tuple,
	.index_build_range_scan = rowan_index_build_range_scan,
	.index_validate_scan = rowan_index_validate_scan,

	.relation_size = rowan_relation_size,
	.relation_needs_toast_table = rowan_relation_needs_toast_table,
	.relation_toast_am = rowan_toast_am,

	.relation_estimate_size = rowan_estimate_size,

	.scan_bitmap_next_block = rowan_scan_bitmap_next_block,
	.scan_bitmap_next_tuple = rowan_scan_bitmap_next_tuple,
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
