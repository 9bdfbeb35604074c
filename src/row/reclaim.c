/*
 * reclaim.c
 *	  Deciding when a version page is needed no more (I5), and freeing it.
 *
 * A page goes when the newest xid that superseded anything on it is older than every
 * snapshot, and what aborted transactions pushed there was popped; the latter
 * is made true here, row by row.  No latch is held across rows.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "row/target.h"

static bool
records_all_settled(RowTable *table, Page copy, RowWork *work)
{
	const VersionRecordData *record;
	uint16		offset = 0;

	while ((record = version_page_next(copy, &offset)) != NULL)
		if (!xid_did_commit(record->superseder))
			row_revert(table, version_row(record), work);
	return offset == version_next_offset(copy);
}

/* Somebody is about to append to it (an empty page is nobody's otherwise). */
static bool
is_active(const FileHeaderData *header, BlockNumber block)
{
	for (int i = 0; i < ROWAN_ACTIVE_VERSION_PAGES; i++)
		if (header->version_active[i] == block)
			return true;
	return false;
}

uint32
row_reclaim_versions(RowTable *table, uint32 limit)
{
	uint32		freed = 0;
	char	   *copy = palloc(BLCKSZ);
	RowWork    *work = row_work_create();

	while (limit == 0 || freed < limit)
	{
		FileHeaderData header;
		TransactionId newest;

		CHECK_FOR_INTERRUPTS();
		space_read_header(&table->file, &header);
		if (!BlockNumberIsValid(header.version_head))
			break;
		pool_read_copy(&table->file, header.version_head, NULL, copy);
		newest = page_trailer((Page) copy)->newest_xid;
		if (page_trailer((Page) copy)->type != ROWAN_PAGE_VERSION ||
			(!TransactionIdIsValid(newest) && is_active(&header, header.version_head)) ||
			!xid_older_than_all(newest, table->horizon))
			break;
		if (!records_all_settled(table, (Page) copy, work))
			break;
		if (!version_free_head(&table->file, header.version_head,
							   version_next_offset((Page) copy), newest))
			break;
		freed++;
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

/* A page that is freed under us may have come back elsewhere in the list: then walk it again. */
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
