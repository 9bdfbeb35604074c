/*
 * prefetch.c
 *	  Redo asks the kernel for pages that it will want soon.
 *
 * Core does that (recovery_prefetch) for the block references of records that it has decoded ahead.
 * But it looks for a page in shared_buffers, where none of ours is, and so asks for all of them,
 * over and over, which took more time than their redo.  wal_add_page tells core that it need not
 * read them; here the same records are looked at, and only pages that are not in the pool asked
 * for: as many at a time as maintenance_io_concurrency says, as core does.
 *
 * It is advice only: whether a page is there, or of which file of that name, doesn't matter.
 */
#include "postgres.h"

#include "base/compat.h"
#include "pool/frame.h"
#include "pool/redo.h"
#include "pool/wal.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"

/* Pages asked for at a time, at most. */
#define MAX_PENDING		64

/* The records, by position, that want the pages that redo has not come to yet; a ring. */
static XLogRecPtr pending[MAX_PENDING];
static int	first_pending;
static int	npending;

/*
 * The last record that was looked at.  As long as it is not redone, core keeps it: it throws away
 * what it has decoded ahead only before and after redo.
 */
static DecodedXLogRecord *looked_at;

static void
forget_pending(XLogRecPtr redone)
{
	while (npending > 0 && pending[first_pending] <= redone)
	{
		first_pending = (first_pending + 1) % MAX_PENDING;
		npending--;
	}
}

/*
 * The page that was looked for last, by the number of the block reference.  Many records in a row
 * want the same one; and looking for it has its bytes fetched, which is slow while this process has
 * not touched them.
 */
#define LAST_WANTED		4

static PoolTag last_wanted[LAST_WANTED];

static void
ask_for(const DecodedXLogRecord *record, const DecodedBkpBlock *block, int block_id)
{
	PoolFile	file = {.locator = block->rlocator, .backend = INVALID_PROC_NUMBER};
	PoolTag    *last = &last_wanted[block_id % LAST_WANTED];
	PoolTag		tag;

	tag_init(&tag, &file, block->blkno);
	if (tag_equal(last, &tag))
		return;
	*last = tag;
	if (map_find_optimistic(&tag) != NULL)
		return;
	if (!prefetch_block(smgropen(file.locator, INVALID_PROC_NUMBER), block->blkno))
		return;
	pending[(first_pending + npending) % MAX_PENDING] = record->lsn;
	npending++;
}

/*
 * Core does not ask for it: it is told not to, or there is an image, which here is of the slots
 * only, and redo reads the page.
 */
static bool
is_left_to_us(const DecodedXLogRecord *record, int block_id)
{
	const DecodedBkpBlock *block = &record->blocks[block_id];

	if (!block->in_use || block->forknum != MAIN_FORKNUM)
		return false;
	if (block->has_image)
		return (record->header.xl_info & ROWAN_XLOG_KIND_MASK) == ROWAN_XLOG_ENTRY;
	return (block->flags & BKPBLOCK_WILL_INIT) != 0 &&
		!wal_data_has_whole_page(record->header.xl_info, record->main_data, block_id);
}

static void
look_ahead_at(const DecodedXLogRecord *record)
{
	if (record->header.xl_rmid != ROWAN_RMGR_ID ||
		(record->header.xl_info & ROWAN_XLOG_KIND_MASK) == ROWAN_XLOG_EXTEND)
		return;
	for (int i = 0; i <= record->max_block_id && npending < MAX_PENDING; i++)
		if (is_left_to_us(record, i))
			ask_for(record, &record->blocks[i], i);
}

void
redo_prefetch(XLogReaderState *reader)
{
	int			limit = Min(maintenance_io_concurrency, MAX_PENDING);
	static XLogRecPtr looked_at_lsn = InvalidXLogRecPtr;

	forget_pending(reader->ReadRecPtr);
	if (looked_at_lsn <= reader->ReadRecPtr)
		looked_at = reader->record;
	while (npending < limit && looked_at->next != NULL)
	{
		looked_at = looked_at->next;
		look_ahead_at(looked_at);
	}
	looked_at_lsn = looked_at->lsn;
}
