/*
 * flush.c
 *	  Writes dirty frames that stay in the pool: for checkpoints, for whole files, and
 *	  little by little in the background.
 *
 * Latches: one frame at a time, shared; must be called without latches.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/fault.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pool/frame.h"
#include "storage/condition_variable.h"
#include "storage/smgr.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define RETRY_MS	1000

typedef struct FlushItem
{
	PoolTag		tag;
	int			index;
} FlushItem;

typedef struct FlushList
{
	FlushItem  *items;
	Size		n;
	Size		size;
} FlushList;

bool		(*flush_may_stop) (void) = NULL;

static void
list_add(FlushList *list, const PoolTag *tag, int index)
{
	if (list->n == list->size)
	{
		list->size = list->size ? list->size * 2 : 1024;
		list->items = list->items ?
			repalloc_huge(list->items, list->size * sizeof(FlushItem)) :
			MemoryContextAllocHuge(CurrentMemoryContext, list->size * sizeof(FlushItem));
	}
	list->items[list->n].tag = *tag;
	list->items[list->n].index = index;
	list->n++;
}

/*
 * Reads flags and tags without latches.  What was dirty before the caller read the
 * redo point is seen as dirty, or was written since: a frame changes its page only after
 * its write.
 */
static void
collect_dirty(FlushList *list, FlushFilter filter, const void *arg)
{
	pg_memory_barrier();
	for (int i = 0; i < pool_n_frames; i++)
	{
		PoolFrame  *frame = &pool_frames[i];
		PoolTag		tag;

		if (!frame->dirty)
			continue;
		tag = frame->tag;
		if (tag.block != InvalidBlockNumber && filter(&tag, arg))
			list_add(list, &tag, i);
	}
}

static int
compare_items(const void *left, const void *right)
{
	const PoolTag *a = &((const FlushItem *) left)->tag;
	const PoolTag *b = &((const FlushItem *) right)->tag;

	if (a->locator.spcOid != b->locator.spcOid)
		return a->locator.spcOid < b->locator.spcOid ? -1 : 1;
	if (a->locator.dbOid != b->locator.dbOid)
		return a->locator.dbOid < b->locator.dbOid ? -1 : 1;
	if (a->locator.relNumber != b->locator.relNumber)
		return a->locator.relNumber < b->locator.relNumber ? -1 : 1;
	if (a->block != b->block)
		return a->block < b->block ? -1 : 1;
	return 0;
}

static bool
flush_one(const FlushItem *item)
{
	PoolFrame  *frame = &pool_frames[item->index];
	WriteResult result = WRITE_CLEAN;

	if (!frame->dirty)
		return false;
	io_flush_wal(frame);
	LWLockAcquire(&frame->latch, LW_SHARED);
	if (tag_equal(&frame->tag, &item->tag))
		result = io_write(frame);
	LWLockRelease(&frame->latch);
	return result == WRITE_DONE;
}

/*
 * Writes all dirty frames that the filter accepts, in the order of files and
 * blocks.  Returns how many.
 */
int
flush_frames(FlushFilter filter, const void *arg)
{
	FlushList	list = {0};
	int			written = 0;

	pool_assert_unlatched();
	collect_dirty(&list, filter, arg);
	if (list.n == 0)
		return 0;
	qsort(list.items, list.n, sizeof(FlushItem), compare_items);
	for (Size i = 0; i < list.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (flush_may_stop != NULL && flush_may_stop())
			break;
		FAULT_POINT(pool_flush_each);
		if (flush_one(&list.items[i]))
			written++;
	}
	pfree(list.items);
	return written;
}

/* ---- what to flush ---- */

static bool
accept_all_but_temporary(const PoolTag *tag, const void *arg)
{
	return tag->backend == INVALID_PROC_NUMBER;
}

static bool
accept_file(const PoolTag *tag, const void *arg)
{
	return tag_of_file(tag, arg);
}

static bool
accept_database(const PoolTag *tag, const void *arg)
{
	return tag->locator.dbOid == *(const Oid *) arg && tag->backend == INVALID_PROC_NUMBER;
}

/* For users to see; end 0: it has not ended. */
static void
note_flush(TimestampTz start, TimestampTz end, uint64 pages)
{
	SpinLockAcquire(&pool_control->mutex);
	pool_control->flush_start = start;
	if (end != 0)
	{
		pool_control->flush_end = end;
		pool_control->flush_pages = pages;
	}
	SpinLockRelease(&pool_control->mutex);
}

void
pool_flush_all(void)
{
	TimestampTz start = GetCurrentTimestamp(),
				end;
	int			written;

	note_flush(start, 0, 0);
	written = flush_frames(accept_all_but_temporary, NULL);
	end = GetCurrentTimestamp();
	note_flush(start, end, written);
	count_one(COUNT_FLUSHES);
	counter_add(COUNT_FLUSH_WRITES, written);
	counter_add(COUNT_FLUSH_US, Max(end - start, 0));
}

void
pool_flush_file(const PoolFile *file)
{
	(void) flush_frames(accept_file, file);
}

void
pool_flush_database(Oid database)
{
	(void) flush_frames(accept_database, &database);
}

/* ---- in the background ---- */

/* Frames that a flush for a checkpoint would find dirty; counts no further than that many. */
int
flush_count_dirty(int enough)
{
	int			count = 0;

	for (int i = 0; i < pool_n_frames && count < enough; i++)
		if (pool_frames[i].dirty && !pool_frames[i].temporary)
			count++;
	return count;
}

/* ---- in the background ---- */

/*
 * Looks at the next so many frames and writes the dirty ones that are not latched and, unless it is
 * to flush WAL, ask for none of that.  In recovery WAL is there already; what is flushed is the
 * minimum recovery point.
 */
static void
trickle(int frames, bool flush_wal)
{
	static uint32 hand;

	for (int i = 0; i < frames; i++)
	{
		PoolFrame  *frame = &pool_frames[hand++ % (uint32) pool_n_frames];

		if (!frame->dirty || frame->temporary)
			continue;
		if (flush_wal)
			io_flush_wal(frame);
		else if (io_needs_wal_flush(frame))
			continue;
		if (!LWLockConditionalAcquire(&frame->latch, LW_SHARED))
			continue;
		if (io_write(frame) == WRITE_DONE)
			count_one(COUNT_CLEAN_WRITES);
		LWLockRelease(&frame->latch);
	}
}

void
flush_share(int turn_ms, bool flush_wal)
{
	static double due;
	int			frames;

	if (pool_clean_interval_setting == 0)
		return;
	due += (double) pool_n_frames * turn_ms / (pool_clean_interval_setting * 1000.0);
	frames = Min((int) due, pool_n_frames);
	due -= (int) due;
	trickle(frames, flush_wal);
}

void
flush_after_error(MemoryContext context)
{
	error_context_stack = NULL;
	HOLD_INTERRUPTS();
	EmitErrorReport();
	LWLockReleaseAll();
	ConditionVariableCancelSleep();
	pgstat_report_wait_end();
	smgrdestroyall();
	MemoryContextSwitchTo(context);
	FlushErrorState();
	MemoryContextReset(context);
	RESUME_INTERRUPTS();
	pg_usleep(RETRY_MS * 1000L);
}
