/*
 * reclaim.c
 *	  Deciding when a version page is needed no more (I5), and freeing it.
 *
 * A page goes when the newest xid that superseded anything on it is older than every
 * snapshot, and what aborted transactions pushed there was popped; the latter
 * is made true here, row by row.  No latch is held across rows: the page is judged by a copy, and
 * freed only if it still has the records that were judged (version_free_head).
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "row/target.h"

/* So often somebody else may come first before a VACUUM leaves the rest to others. */
#define RECLAIM_ATTEMPTS	100

/*
 * Every superseder has ended, and its records are of no use for popping what it did.  *horizon: the
 * newest one that has committed, which queries on a standby may not have seen yet.  What aborted
 * was popped, so that nobody comes by its records.
 */
static bool
records_all_settled(RowTable *table, Page copy, RowWork *work, TransactionId *horizon)
{
	const VersionRecordData *record;
	uint16		offset = 0;

	*horizon = InvalidTransactionId;
	while ((record = version_page_next(copy, &offset)) != NULL)
	{
		switch (xid_state(record->superseder))
		{
			case XID_COMMITTED:
				if (!TransactionIdIsValid(*horizon) ||
					TransactionIdFollows(record->superseder, *horizon))
					*horizon = record->superseder;
				break;
			case XID_ABORTED:
				row_revert(table, version_row(record), work);
				break;
			case XID_OWN:
			case XID_RUNNING:
				return false;
		}
	}
	return offset == version_next_offset(copy);
}

/* Whether nobody needs what is on the page, a copy; pops what aborted transactions left. */
static bool
page_is_settled(RowTable *table, Page copy, RowWork *work, TransactionId *horizon)
{
	PageTrailer trailer = page_trailer(copy);

	return trailer->type == ROWAN_PAGE_VERSION &&
		xid_older_than_all(trailer->newest_xid, table->horizon) &&
		records_all_settled(table, copy, work, horizon);
}

uint32
row_reclaim_versions(RowTable *table, uint32 limit)
{
	uint32		freed = 0;
	int			lost = 0;
	int			max_lost = limit == 0 ? RECLAIM_ATTEMPTS : 1;
	char	   *copy = palloc(BLCKSZ);
	RowWork    *work = row_work_create();

	while ((limit == 0 || freed < limit) && lost < max_lost)
	{
		FileHeaderData header;
		TransactionId horizon;

		CHECK_FOR_INTERRUPTS();
		space_read_header(&table->file, &header);
		if (!BlockNumberIsValid(header.version_head))
			break;
		pool_read_copy(&table->file, header.version_head, NULL, copy);
		if (!page_is_settled(table, (Page) copy, work, &horizon))
			break;
		FAULT_POINT(version_judged);
		if (version_free_head(&table->file, header.version_head, (Page) copy, horizon))
			freed++;
		else
			lost++;
	}
	row_work_free(work);
	pfree(copy);
	return freed;
}

static void
count_record_xids(Page copy, TransactionId *oldest)
{
	const VersionRecordData *record;
	uint16		offset = 0;

	while ((record = version_page_next(copy, &offset)) != NULL)
	{
		if (TransactionIdIsNormal(record->xid) && !row_flags_frozen(record->flags) &&
			TransactionIdPrecedes(record->xid, *oldest))
			*oldest = record->xid;
		if (TransactionIdPrecedes(record->superseder, *oldest))
			*oldest = record->superseder;
	}
}

/*
 * A page that is freed under us may have come back elsewhere in the list: then walk it again. That
 * the head is the same before and after is enough, although a page may have been freed and have
 * become the head again: pages are freed from the head and come back at the end, so then all pages
 * of the walk's beginning are gone, and those that came since have no record that is older than the
 * limit.
 */
#define OLDEST_XID_ATTEMPTS	10

TransactionId
row_oldest_version_xid(RowTable *table, TransactionId limit)
{
	char	   *copy = palloc(BLCKSZ);
	TransactionId oldest = InvalidTransactionId;

	for (int attempt = 0; attempt < OLDEST_XID_ATTEMPTS; attempt++)
	{
		FileHeaderData before;
		FileHeaderData after;
		BlockNumber block;

		oldest = limit;
		space_read_header(&table->file, &before);
		for (block = before.version_head; BlockNumberIsValid(block);
			 block = page_trailer((Page) copy)->right_block)
		{
			CHECK_FOR_INTERRUPTS();
			pool_read_copy(&table->file, block, NULL, copy);
			if (page_trailer((Page) copy)->type != ROWAN_PAGE_VERSION)
				break;
			count_record_xids((Page) copy, &oldest);
		}
		space_read_header(&table->file, &after);
		if (before.version_head == after.version_head && !BlockNumberIsValid(block))
			break;
		oldest = InvalidTransactionId;
	}
	pfree(copy);
	return oldest;
}
