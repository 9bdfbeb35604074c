/*
 * analyze.c
 *	  ANALYZE: samples physical pages; what is not a leaf is skipped.
 */
#include "postgres.h"

#include "access/xact.h"
#include "am/table.h"

bool
rowan_scan_analyze_next_block(TableScanDesc sscan, BlockNumber block,
							  BufferAccessStrategy strategy)
{
	RowanScan	scan = (RowanScan) sscan;
	FileHeaderData header;

	if (!tree_exists(&scan->table.file))
		return false;
	space_read_header(&scan->table.file, &header);
	if (block < ROWAN_ROOT_BLOCK || block >= header.high_water)
		return false;
	pool_read_copy(&scan->table.file, block, scan->ring, scan->page);
	scan->have_page = page_trailer(scan->page)->type == ROWAN_PAGE_LEAF;
	scan->nslots = page_nslots((Page) scan->page);
	scan->pos = -1;
	return scan->have_page;
}

/* Counts a row; true if it belongs into the sample.  The rules are those of heapam_scan_analyze_next_tuple. */
static bool
count_row(RowStatus status, TransactionId xid, double *live, double *dead)
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

	while (++scan->pos < scan->nslots)
	{
		RowVersion	version;
		TransactionId xid;
		RowStatus	status;
		bool		gone;
		RowId		row = row_parse_slot(&scan->table.file, (Page) scan->page, scan->pos, &version);

		status = table_row_status(&scan->table, row, &version, scan->work, &xid);
		if (!count_row(status, xid, live, dead))
			continue;
		if ((version.meta.flags & ROW_DELETED) &&
			!row_step_older(&scan->table, row, &version, scan->work, &gone))
			continue;
		table_store_version(sscan->rs_rd, slot, row, &version, false);
		return true;
	}
	ExecClearTuple(slot);
	return false;
}
