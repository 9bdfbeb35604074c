/*
 * census.c
 *	  What is in the pool now, and how its worker is; for users to see.
 *
 * Looks at all frames without a latch: numbers of no single moment.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pool/frame.h"
#include "utils/hsearch.h"

void
pool_get_stat(PoolStat *stat)
{
	memset(stat, 0, sizeof(PoolStat));
	stat->frames = pool_n_frames;
	for (int i = 0; i < pool_n_frames; i++)
	{
		if (pool_frames[i].tag.block == InvalidBlockNumber)
			continue;
		stat->used++;
		if (pool_frames[i].dirty)
			stat->dirty++;
	}
	SpinLockAcquire(&pool_control->mutex);
	stat->armed = pool_control->armed ? 1 : 0;
	SpinLockRelease(&pool_control->mutex);
}

void
pool_get_worker_stat(WorkerStat *stat)
{
	SpinLockAcquire(&pool_control->mutex);
	stat->armed = pool_control->armed;
	stat->writers = pool_control->writers;
	stat->flush_start = pool_control->flush_start;
	stat->flush_end = pool_control->flush_end;
	stat->flush_pages = pool_control->flush_pages;
	SpinLockRelease(&pool_control->mutex);
	stat->tick = (TimestampTz) pg_atomic_read_u64(&pool_control->tick_time);
}

/* ---- by file ---- */

typedef struct FileOfTag
{
	RelFileLocator locator;
	ProcNumber	backend;
} FileOfTag;

typedef struct CountedFile
{
	FileOfTag	file;
	PoolShare	share;
} CountedFile;

/* The frame's tag, whole: it changes only while the version is odd.  False: it is changing. */
static bool
read_tag(PoolFrame *frame, PoolTag *tag)
{
	uint64		version = pg_atomic_read_u64(&frame->version);

	if (version % 2 != 0)
		return false;
	pg_read_barrier();
	*tag = frame->tag;
	pg_read_barrier();
	return pg_atomic_read_u64(&frame->version) == version;
}

static void
count_frame(HTAB *files, const PoolFrame *frame, const PoolTag *tag)
{
	FileOfTag	key;
	CountedFile *counted;
	bool		found;

	memset(&key, 0, sizeof(key));
	key.locator = tag->locator;
	key.backend = tag->backend;
	counted = hash_search(files, &key, HASH_ENTER, &found);
	if (!found)
		counted->share = (PoolShare)
	{
		.locator = tag->locator, .backend = tag->backend
	};
	counted->share.frames++;
	if (frame->dirty)
		counted->share.dirty++;
	if (frame->referenced > 0)
		counted->share.referenced++;
}

static PoolShare *
collect_shares(HTAB *files, int *n)
{
	PoolShare  *shares = palloc(sizeof(PoolShare) * Max(hash_get_num_entries(files), 1));
	HASH_SEQ_STATUS walk;
	CountedFile *counted;

	*n = 0;
	hash_seq_init(&walk, files);
	while ((counted = hash_seq_search(&walk)) != NULL)
		shares[(*n)++] = counted->share;
	return shares;
}

PoolShare *
pool_get_shares(int *n)
{
	HASHCTL		ctl = {
		.keysize = sizeof(FileOfTag),
		.entrysize = sizeof(CountedFile),
		.hcxt = CurrentMemoryContext
	};
	HTAB	   *files = hash_create("rowan files in the pool", 256, &ctl,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	PoolShare  *shares;

	for (int i = 0; i < pool_n_frames; i++)
	{
		PoolTag		tag;

		CHECK_FOR_INTERRUPTS();
		if (read_tag(&pool_frames[i], &tag) && tag.block != InvalidBlockNumber)
			count_frame(files, &pool_frames[i], &tag);
	}
	shares = collect_shares(files, n);
	hash_destroy(files);
	return shares;
}
