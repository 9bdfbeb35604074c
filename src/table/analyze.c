/*
 * analyze.c
 *	  ANALYZE: samples physical pages, and skips what is not a leaf.
 *
 * It asks rowan_relation_size for the range of block numbers, as BRIN does, who must get logical
 * ones; and it prefetches what it samples from the file.  So we must know that it is ANALYZE who
 * asks: its progress report says so.  While it takes its sample no other code runs that could ask
 * for the size.  Without progress reports (track_activities = off) a table with a BRIN index is
 * sampled by logical blocks.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/progress.h"
#include "pgstat.h"
#include "table/table.h"
#include "utils/backend_status.h"

bool
table_is_being_sampled(void)
{
	int64		phase;

	if (!pgstat_track_activities || MyBEEntry == NULL ||
		MyBEEntry->st_progress_command != PROGRESS_COMMAND_ANALYZE)
		return false;
	phase = MyBEEntry->st_progress_param[PROGRESS_ANALYZE_PHASE];
	return phase == PROGRESS_ANALYZE_PHASE_ACQUIRE_SAMPLE_ROWS ||
		phase == PROGRESS_ANALYZE_PHASE_ACQUIRE_SAMPLE_ROWS_INH;
}

/* A logical block: all rows with such ids, on however many leaves. */
static bool
analyze_logical_block(RowanScan scan, BlockNumber block)
{
	scan->first = (RowId) block << 8;
	scan->limit = scan->first + ROWS_PER_LOGICAL_BLOCK;
	scan_load_page(scan, scan->first, InvalidBlockNumber);
	scan->pos = leaf_search((Page) scan->page, scan->first) - 1;
	return true;
}

static bool
analyze_page(RowanScan scan, BlockNumber block)
{
	FileHeaderData header;

	space_read_header(&scan->table.file, &header);
	if (block < ROWAN_ROOT_BLOCK || block >= header.high_water)
		return false;
	pool_read_copy(&scan->table.file, block, scan->ring, scan->page);
	scan->nslots = page_nslots((Page) scan->page);
	scan->pos = -1;
	/* no further than this page */
	scan->limit = page_trailer(scan->page)->high_fence;
	return page_trailer(scan->page)->type == ROWAN_PAGE_LEAF;
}

bool
table_analyze_block(TableScanDesc sscan, BlockNumber block)
{
	RowanScan	scan = (RowanScan) sscan;

	if (!tree_exists(&scan->table.file))
		return false;
	return table_blocks_are_logical(sscan->rs_rd) ? analyze_logical_block(scan, block)
		: analyze_page(scan, block);
}

/* The next row of the block, parsed; false at its end. */
static bool
analyze_next_row(RowanScan scan, RowId *row, RowVersion *version)
{
	while (++scan->pos >= scan->nslots)
	{
		TreeKey		high = page_trailer(scan->page)->high_fence;

		if (high >= scan->limit)
			return false;
		scan_load_page(scan, high, page_trailer(scan->page)->right_block);
		scan->pos = leaf_search((Page) scan->page, high) - 1;
	}
	*row = row_parse_slot(&scan->table.file, (Page) scan->page, scan->pos, version);
	return *row < scan->limit;
}

/*
 * Counts a row; true if it belongs into the sample.  The rules are those of
 * heapam_scan_analyze_next_tuple.
 */
static bool
count_sampled_row(RowStatus status, TransactionId xid, double *live, double *dead)
{
	bool		own = TransactionIdIsCurrentTransactionId(xid);

	switch (status)
	{
		case ROW_STATUS_LIVE:
			*live += 1;
			return true;
		case ROW_STATUS_DEAD:
		case ROW_STATUS_RECENTLY_DEAD:
			*dead += 1;
			return false;
		case ROW_STATUS_INSERTING:
			if (own)
				*live += 1;
			return own;
		case ROW_STATUS_DELETING:
			if (own)
				*dead += 1;
			else
				*live += 1;
			return !own;
	}
	return false;
}

bool
rowan_scan_analyze_next_tuple(TableScanDesc sscan, TransactionId oldest_xmin, double *live,
							  double *dead, TupleTableSlot *slot)
{
	RowanScan	scan = (RowanScan) sscan;

	RowVersion	version;
	RowId		row;

	while (analyze_next_row(scan, &row, &version))
	{
		TransactionId xid;
		RowStatus	status;

		status = table_row_status(&scan->table, row, &version, scan->work, scan->cell,
								  &xid);
		if (!count_sampled_row(status, xid, live, dead))
			continue;
		if (version.meta.flags & ROW_DELETED)
			row_undelete(&scan->table, row, &version, scan->work);
		table_store_version(sscan->rs_rd, slot, row, &version, false);
		return true;
	}
	ExecClearTuple(slot);
	return false;
}
