/*
 * reclaim.c
 *	  Deciding when a version page is needed no more (I5), and freeing it.
 *
 * A page goes when the newest xid that superseded anything on it is older than every
 * snapshot, and what aborted transactions pushed there was popped; the latter
 * is made true here, row by row.  No latch is held across rows: the page is judged by a copy, and
 * freed only if it still has the records that were judged (version_free_head).
 *
 * Queries on a standby hold no horizon back; they are cancelled if they need what goes.  A record
 * that X made is needed by who does not see what X did, and so X counts for the horizon that the
 * freeing says; but not for a record of X's own: one that keeps a version which X had made himself,
 * and leads to none that somebody else misses.  That is so if it leads nowhere, as X had inserted
 * the row; or to a record on the same page, which is judged as well (it has been there since before
 * this one, as X was running then); or to a record that is gone already.  Claim: if the record of
 * what X superseded is gone, then those who don't see what X did are cancelled, or see no version
 * below it.  By induction, over the freed pages and each page's records: X counted when it went, or
 * it was X's own.  Then who does not see what X did does not see the version that it kept, and for
 * those below that the claim was true of the record that it led to, which was gone then, or goes at
 * once.  That pages are filled and freed in any order is not asked for.
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "row/target.h"

/* So often somebody else may come first before a VACUUM leaves the rest to others. */
#define RECLAIM_ATTEMPTS	100

/* So many of its own versions of a row that a transaction deleted are looked at. */
#define MAX_OWN_STEPS		1000

/* The record's superseder counts for no horizon: above. */
static bool
is_own(RowTable *table, BlockNumber block, const VersionRecordData *record, RowWork *work)
{
	if (record->xid != record->superseder || row_flags_frozen(record->flags))
		return false;
	if ((record->flags & ROW_VERSION) == 0 || record->older_block == block)
		return true;
	return !version_read(&table->file, record->older_block, record->older_offset, work->record) ||
		!version_is_for((VersionRecordData *) work->record, version_row(record), record->xid,
						record->tag);
}

static inline bool
is_newer(TransactionId xid, TransactionId horizon)
{
	return !TransactionIdIsValid(horizon) || TransactionIdFollows(xid, horizon);
}

void
row_note_deletion(RowTable *table, RowId row, RowVersion *version, RowWork *work,
				  TransactionId *horizon)
{
	TransactionId deleter = version->meta.xid;
	bool		gone;

	if (!TransactionIdIsNormal(deleter) || !is_newer(deleter, *horizon))
		return;
	Assert((version->meta.flags & ROW_DELETED) && !row_is_stub(&version->meta));
	for (int i = 0; i < MAX_OWN_STEPS; i++)
	{
		if (!row_step_older(table, row, version, work, &gone))
			return;				/* he had inserted it, or the claim above */
		if (version->meta.xid != deleter)
			break;
	}
	*horizon = deleter;
}

/*
 * Every superseder has ended, and its records are of no use for popping what it did.  *horizon: the
 * newest one that has committed, which queries on a standby may not have seen yet, and need a
 * record of.  What aborted was popped, so that nobody comes by its records.
 */
static bool
records_all_settled(RowTable *table, Page copy, RowWork *work, TransactionId *horizon)
{
	BlockNumber block = page_trailer(copy)->self_block;
	const VersionRecordData *record;
	uint16		offset = 0;

	*horizon = InvalidTransactionId;
	while ((record = version_page_next(copy, &offset)) != NULL)
	{
		switch (xid_state(record->superseder))
		{
			case XID_COMMITTED:
				if (is_newer(record->superseder, *horizon) &&
					!is_own(table, block, record, work))
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
