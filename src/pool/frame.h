/*
 * frame.h
 *	  What the files of the pool share with each other, and with nobody else.
 *
 * A frame's states, and who moves it on:
 *
 *	free		tag invalid, version even, in no chain
 *	  -> taken		replace_take: latched exclusively, version odd, tag invalid
 *	taken
 *	  -> loading	frame_load: tag set, in its chain
 *	  -> free		frame_give_back
 *	loading
 *	  -> valid		frame_publish: version even
 *	  -> free		frame_give_back (the read failed)
 *	valid			version even
 *	  -> changing	pool_change_begin: version odd, dirty
 *	  -> taken		replace_take (clean only): out of its chain
 *	  -> free		frame_discard
 *	changing
 *	  -> valid		pool_change_end
 *
 * Lock order: frame latches, then a partition lock of the map.  No latch is waited for under a
 * partition lock.
 */
#ifndef ROWAN_POOL_FRAME_H
#define ROWAN_POOL_FRAME_H

#include "pool/counters.h"
#include "pool/pool.h"
#include "storage/spin.h"

#define POOL_PARTITIONS			128
#define POOL_MIN_FRAMES			POOL_PARTITIONS
#define POOL_EXTEND_LOCKS		16
#define POOL_INIT_LOCKS			16

typedef struct PoolControl
{
	int			frame_tranche;
	int			map_tranche;
	int			extend_tranche;
	int			init_tranche;

	slock_t		mutex;			/* the next two, and what recovery needs */
	bool		armed;			/* the worker holds the gate: writes are allowed */
	int			writers;		/* processes that may write */

	/* under the mutex, too: see restartpoint.c */
	struct Latch *recovery_writer;	/* NULL: there is none */
	uint64		flush_wanted;	/* number of the last request to write all that is dirty */
	uint64		flush_done;		/* of the last one that was served */

	/* set once: pool_first_xid */
	volatile TransactionId first_xid;

	/* set without a lock, never reset: some page was read in spite of wrong checksums */
	volatile bool has_damaged_pages;

	pg_atomic_uint64 tick_time; /* TimestampTz of the worker's last tick */
	pg_atomic_uint64 warned_time;	/* of the last complaint about it */

	/* the newest copy of a database; written under the lock: copied.c */
	LWLock		copied_lock;
	pg_atomic_uint64 copied_lsn;

	/* under the mutex, for users to see */
	TimestampTz flush_start;	/* of the last flush of the whole pool; 0: none so far */
	TimestampTz flush_end;		/* of the last one that has ended */
	uint64		flush_pages;	/* written by it */

	/* apart from all that: written at each replacement */
	char		pad[PG_CACHE_LINE_SIZE];
	pg_atomic_uint32 clock_hand;
} PoolControl;

extern PoolControl *pool_control;
extern int	pool_buffers_setting;	/* rowan.buffers */
#ifdef ROWAN_FAULTS
extern bool pool_checkpoint_gate_setting;
#endif
extern int	pool_clean_interval_setting;	/* rowan.clean_interval, s */

static inline void
tag_init(PoolTag *tag, const PoolFile *file, BlockNumber block)
{
	tag->locator = file->locator;
	tag->backend = file->backend;
	tag->block = block;
}

static inline bool
tag_equal(const PoolTag *a, const PoolTag *b)
{
	return a->block == b->block &&
		RelFileLocatorEquals(a->locator, b->locator) &&
		a->backend == b->backend;
}

static inline bool
tag_of_file(const PoolTag *tag, const PoolFile *file)
{
	return tag->block != InvalidBlockNumber &&
		RelFileLocatorEquals(tag->locator, file->locator) &&
		tag->backend == file->backend;
}

/* frame.c */
extern Size frame_shmem_size(void);
extern void frame_shmem_init(void);
extern LWLock *pool_extend_lock(const PoolFile *file);
extern void tag_set_free(PoolTag *tag);
extern void frame_version_advance(PoolFrame *frame);
extern bool frame_is_changing(const PoolFrame *frame);
extern void frame_give_back(PoolFrame *frame);
extern PoolFrame *frame_latch_if_present(const PoolTag *tag, LWLockMode mode);
extern void frame_discard(PoolFrame *frame);

/* Latches the page exclusively if it is in the pool; else NULL. */
extern PoolFrame *pool_latch_present(const PoolFile *file, BlockNumber block);

/* As pool_latch_empty, for redo; NULL: what is on disk is no good page. */
extern PoolFrame *pool_latch_redo(const PoolFile *file, BlockNumber block);

/* map.c */
extern Size map_shmem_size(void);
extern void map_shmem_init(void);
extern PoolFrame *map_find(const PoolTag *tag);
extern bool map_insert(PoolFrame *frame);
extern void map_remove(const PoolTag *tag, PoolFrame *frame);
extern bool map_take_out(PoolFrame *frame);

extern pg_atomic_uint32 *map_buckets;
extern uint32 map_mask;

/*
 * Consecutive blocks of a file fall into consecutive buckets: a scan touches few
 * cache lines of the table, and a file never collides with itself.
 */
static inline uint32
map_bucket(const PoolTag *tag)
{
	uint64		hash = (uint64) tag->locator.relNumber << 32 | tag->locator.dbOid;

	hash = (hash ^ (uint32) tag->backend) * UINT64CONST(0x9E3779B97F4A7C15);
	return ((uint32) (hash >> 32) + tag->block) & map_mask;
}

/*
 * Lock-free lookup: a frame whose tag looked right, or NULL.  Neither
 * answer can be believed without more: a frame found must be validated by its
 * version or its tag under its latch; NULL means "ask map_find".
 */
static inline PoolFrame *
map_find_optimistic(const PoolTag *tag)
{
	uint32		index = pg_atomic_read_u32(&map_buckets[map_bucket(tag)]);

	/* the caller wants both ends of the page: let them come while we look at the frame */
	if (likely(index < (uint32) pool_n_frames))
	{
		const char *page = pool_pages + (Size) index * BLCKSZ;

		__builtin_prefetch(page);
		__builtin_prefetch(page + ROWAN_PAGE_SPECIAL);
	}
	for (int steps = 0; steps < 16; steps++)
	{
		PoolFrame  *frame;

		if (index >= (uint32) pool_n_frames)
			return NULL;
		frame = &pool_frames[index];
		if (tag_equal(&frame->tag, tag))
			return frame;
		index = pg_atomic_read_u32(&frame->hash_next);
	}
	return NULL;
}

/* replace.c */
extern PoolFrame *replace_take(PoolRing *ring);
extern void ring_remember(PoolRing *ring, const PoolFrame *frame);

/* io.c */
typedef enum WriteResult
{
	WRITE_DONE,
	WRITE_CLEAN,				/* was not dirty */
	WRITE_GONE					/* its file or block does not exist any more: now clean */
} WriteResult;

extern void io_read(const PoolTag *tag, Page page, bool allow_new);
extern WriteResult io_write(PoolFrame *frame);
extern void io_flush_wal(const PoolFrame *frame);
extern bool io_needs_wal_flush(const PoolFrame *frame);

/* This process does not hear of files that go and come: what it writes, it opens by name. */
extern bool io_reopens_files;

/* flush.c */
typedef bool (*FlushFilter) (const PoolTag *tag, const void *arg);
extern int	flush_frames(FlushFilter filter, const void *arg);
extern int	flush_count_dirty(int enough);

/*
 * For processes that write in the background, once in TURN_MS: a share of the pool, so that all of
 * it is passed over in rowan.clean_interval.  May raise I/O errors.
 */
extern void flush_share(int turn_ms, bool flush_wal);

/*
 * At their top, where an error has come to, before they try again: reports it, frees what it left;
 * waits a second.
 */
extern void flush_after_error(MemoryContext context);

/* Asked before each page, if set: whether a flush is to end early. */
extern bool (*flush_may_stop) (void);

/* checkpoint.c */
extern void checkpoint_register_worker(void);
extern void checkpoint_watch(TimestampTz now);

/* core_events.c */
extern void core_events_register(void);

/* file.c */
extern void file_register_records(void);
extern void pool_discard_files(const RelFileLocator *locators, int n);
extern void pool_discard_tablespace(Oid database, Oid tablespace);
extern void pool_file_create_in_redo(const PoolFile *file);

/* How long the file is; makes it if need be. */
extern BlockNumber pool_file_blocks_in_redo(const PoolFile *file);
extern void pool_file_seal_end(const PoolFile *file);

/* change.c, wal.c */
extern void change_register(void);
extern void wal_register(void);
extern void wal_forget_file(RelFileLocator locator, BlockNumber first_block);
extern void wal_forget_database(Oid database);

#endif							/* ROWAN_POOL_FRAME_H */
