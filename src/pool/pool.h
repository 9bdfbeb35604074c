/*
 * pool.h
 *	  Rowan's buffer pool: frames in shared memory that cache pages of Rowan
 *	  files.
 *
 * Rules of access
 *	1. A page is read either optimistically (pool_read_begin ... pool_read_end:
 *	   no pin, no lock, no shared memory written on a hit; nothing read may be
 *	   believed before pool_read_end or pool_read_valid has said true), or under
 *	   its latch, shared or exclusive.
 *	2. A page is changed only under its exclusive latch, inside a critical
 *	   section, between pool_change_begin (marks the frame dirty, makes its
 *	   version odd) and pool_change_end (makes it even again); the WAL record is
 *	   inserted and the page LSN set in between.
 *	3. A frame is evicted, discarded or reused only under its exclusive latch,
 *	   with its version odd meanwhile.  So a latch is also the pin: there are no
 *	   pin counts, and error cleanup is LWLockReleaseAll.
 *	4. A page is written only after XLogFlush(its LSN) (I2), from a private copy,
 *	   with the frame latched shared until the write is done.
 *	5. A latch is waited for only in latch order, which doc/architecture.md states
 *	   ("Latch order"); pages out of order are only tried (pool_latch_try,
 *	   pool_read_begin_unordered).  held.c checks it.
 */
#ifndef ROWAN_POOL_POOL_H
#define ROWAN_POOL_POOL_H

#include "base/compat.h"
#include "base/format.h"
#include "pgstat.h"
#include "pool/held.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

/*
 * A file as the pool sees it; made by the caller on its stack.  The
 * counters may be NULL; otherwise the pool increments them for each access.
 */
typedef struct PoolFile
{
	RelFileLocator locator;
	ProcNumber	backend;		/* INVALID_PROC_NUMBER but for temporary relations */
	bool		logged;			/* changes are WAL-logged (permanent relation) */
	PgStat_Counter *fetched;	/* pg_statio: pages asked for */
	PgStat_Counter *hit;		/* pg_statio: of them found in the pool */
} PoolFile;

typedef struct PoolTag
{
	RelFileLocator locator;
	ProcNumber	backend;
	BlockNumber block;			/* InvalidBlockNumber: frame is free */
} PoolTag;

typedef struct PoolFrame
{
	pg_atomic_uint64 version;	/* odd: being changed, loaded or reused */
	PoolTag		tag;			/* 20 bytes; changed only with version odd */
	pg_atomic_uint32 hash_next; /* next frame in its bucket, or POOL_NO_FRAME */
	LWLock		latch;
	volatile uint8 dirty;		/* set under exclusive, cleared under any latch */
	volatile uint8 referenced;	/* CLOCK's count, 0..POOL_REFERENCED_MAX */
	volatile uint8 temporary;	/* backend-local file: no WAL, no fsync */
	volatile uint8 unlogged;	/* no WAL flush before writing */
	pg_atomic_uint32 waiters;	/* waiting for the latch of this very page: it must not be
								 * reused meanwhile, or latch order breaks */
	uint8		pad[4];
} PoolFrame;

StaticAssertDecl(sizeof(PoolFrame) == 64, "frame descriptor is one cache line");

/*
 * LSN of the last WAL record since the frame was loaded that has the whole page, or what redo of
 * the page's records reads of it (wal.c); invalid: none.  Under the latch.
 */
extern XLogRecPtr *pool_image_lsns;

#define pool_image_lsn(frame)	(&pool_image_lsns[(frame) - pool_frames])

#define POOL_NO_FRAME		PG_UINT32_MAX
#define POOL_REFERENCED_MAX	2

extern PoolFrame *pool_frames;
extern char *pool_pages;		/* BLCKSZ-aligned */
extern int	pool_n_frames;

static inline Page
pool_page(const PoolFrame *frame)
{
	return (Page) (pool_pages + (Size) (frame - pool_frames) * BLCKSZ);
}

static inline BlockNumber
pool_block(const PoolFrame *frame)
{
	return frame->tag.block;
}

/*
 * A small ring of frames that a large scan loads into, so that it does
 * not flush the pool.  Zero-initialise; NULL where a ring may be given means none.
 */
#define POOL_RING_SIZE	64
typedef struct PoolRing
{
	int			next;
	int			frame[POOL_RING_SIZE];	/* index + 1; 0: none */
	PoolTag		tag[POOL_RING_SIZE];
} PoolRing;

/* ---- optimistic reading ---- */

typedef struct PoolRead
{
	PoolFrame  *frame;
	Page		page;			/* the shared page: check every offset and length */
	uint64		version;		/* even */
	bool		latched;		/* too much contention: latched shared instead */
} PoolRead;

/* After that many failed attempts a reader takes the latch. */
#define POOL_OPTIMISTIC_ATTEMPTS	6

/*
 * Begin to read a page, loading it if need be.  With attempt >=
 * POOL_OPTIMISTIC_ATTEMPTS the page is latched shared until pool_read_end.
 * May raise ERRCODE_DATA_CORRUPTED (bad page on disk), I/O errors.  The caller
 * may hold latches that come before this page in latch order.
 */
extern void pool_read_begin(const PoolFile *file, BlockNumber block, int attempt,
							PoolRing *ring, PoolRead *read);

/* As pool_read_begin, but never waits or loads: false if the page is not at hand at once. */
extern bool pool_read_try(const PoolFile *file, BlockNumber block, PoolRead *read);

/*
 * The same for a page that may be any of the file's, so that nobody knows where it stands in latch
 * order: whatever the caller holds, its latch is not waited for.  The read is optimistic.
 */
extern void pool_read_begin_unordered(const PoolFile *file, BlockNumber block, PoolRead *read);

/*
 * Latches shared, until pool_read_end, the page of an optimistic read that was begun, unless
 * somebody has it latched exclusively, or it has changed since: then false, and nothing is latched.
 * Never waits: for pages out of latch order.
 */
extern bool pool_read_latch_try(PoolRead *read);

/* What has been read so far is a consistent state of the page that was asked for. */
static inline bool
pool_read_valid(const PoolRead *read)
{
	if (read->latched)
		return true;
	pg_read_barrier();
	return pg_atomic_read_u64(&read->frame->version) == read->version;
}

/* Ends the read; false: nothing that was read can be believed, start again. */
static inline bool
pool_read_end(PoolRead *read)
{
	bool		valid = pool_read_valid(read);

	if (read->latched)
	{
		read->latched = false;
		held_remove(read->frame);
		LWLockRelease(&read->frame->latch);
	}
	return valid;
}

static inline void
pool_mark_referenced(PoolFrame *frame)
{
	if (frame->referenced != POOL_REFERENCED_MAX)
		frame->referenced = POOL_REFERENCED_MAX;
}

/*
 * Begins to read the page, if it is in that frame and nobody changes it: without a lookup, and
 * without waiting.
 */
extern bool pool_read_here(const PoolFile *file, BlockNumber block, PoolFrame *frame,
						   PoolRead *read);

/*
 * Try again at a frame that was read before (its frame and version remembered
 * from an ended PoolRead): true and *read begun if it still holds the same,
 * unchanged page (an unchanged version means an unchanged tag).  Costs no lookup, and is not
 * counted as an access, just as heap does not count what it finds in a buffer that it has pinned.
 */
static inline bool
pool_read_again(PoolFrame *frame, uint64 version, PoolRead *read)
{
	if (pg_atomic_read_u64(&frame->version) != version)
		return false;
	pg_read_barrier();
	pool_mark_referenced(frame);
	read->frame = frame;
	read->page = pool_page(frame);
	read->version = version;
	read->latched = false;
	return true;
}

/* Whether the page, in whatever state, is in that frame: a moment later it may be no more. */
static inline bool
pool_is_in_frame(const PoolFile *file, BlockNumber block, const PoolFrame *frame)
{
	return frame->tag.block == block && frame->tag.backend == file->backend &&
		RelFileLocatorEquals(frame->tag.locator, file->locator);
}

/* A consistent private copy of the page (dest: BLCKSZ bytes, MAXALIGNed). */
extern void pool_read_copy(const PoolFile *file, BlockNumber block, PoolRing *ring, char *dest);

/* What an error says of a damaged page; palloc'd, hint may be NULL. */
typedef struct PoolDamage
{
	const char *message;
	const char *hint;
} PoolDamage;

/* As pool_read_begin, but a page that is damaged is no error: then false, and no read is begun. */
extern bool pool_read_begin_checked(const PoolFile *file, BlockNumber block, int attempt,
									PoolRing *ring, PoolRead *read, PoolDamage *damage);

/*
 * Does something that only reads; false: it came upon a damaged page.  No latches held, nor any
 * other LWLock.
 */
extern bool pool_catch_damage(void (*action) (void *arg), void *arg, PoolDamage *damage);

/*
 * A copy of the page of a file that may be damaged, checksums and all, and NULL; or what is wrong
 * with it (palloc'd or static), without an error.  To be believed while nobody changes the file
 * (ShareLock); no latches held.  Not through the pool, which is left as it is.
 */
extern const char *pool_copy_sound(const PoolFile *file, BlockNumber block, char *dest);

/*
 * Has the block, one of the file's, no content?  Files grow in advance.  Looks into the file, past
 * the pool, so for inspection only: what it says may have changed when it returns.
 */
extern bool pool_block_is_blank(const PoolFile *file, BlockNumber block);

/*
 * Where the page seems to be in memory, or NULL.  Nothing read there may ever be believed: for
 * bringing cache lines in ahead of a proper read.
 */
extern const char *pool_peek(const PoolFile *file, BlockNumber block);

/* Hint that the block will be read soon. */
extern void pool_prefetch(const PoolFile *file, BlockNumber block);

/* ---- latched access ---- */

/*
 * Latches the page (LW_SHARED or LW_EXCLUSIVE), loading it if need be. Raises as pool_read_begin.
 */
extern PoolFrame *pool_latch(const PoolFile *file, BlockNumber block, LWLockMode mode);

/* The same, if the page was in that frame a moment ago. */
extern PoolFrame *pool_latch_near(const PoolFile *file, BlockNumber block, PoolFrame *near,
								  LWLockMode mode);

/* The same, only if the page is in that frame and can be latched at once; else NULL. */
extern PoolFrame *pool_latch_here(const PoolFile *file, BlockNumber block, PoolFrame *frame,
								  LWLockMode mode);

/*
 * The page latched exclusively, loading it if need be, but never waiting for another holder of its
 * latch (or for ourselves): then NULL.  For pages out of latch order.
 */
extern PoolFrame *pool_latch_try(const PoolFile *file, BlockNumber block);

/*
 * An exclusively latched frame for a block whose content on disk does not
 * matter: zero-filled if it was not in the pool, version even.
 */
extern PoolFrame *pool_latch_new(const PoolFile *file, BlockNumber block);

/*
 * Latches exclusively a page that may be empty (all zero) on disk: in redo, or
 * where a file may have been extended but never initialised.
 */
extern PoolFrame *pool_latch_empty(const PoolFile *file, BlockNumber block);

extern void pool_unlatch(PoolFrame *frame);

/* Error if the page, latched exclusively and about to be changed, is damaged. */
extern void pool_refuse_damaged(const PoolFrame *frame);

/* Exclusive latch held, in a critical section (see rule 2). */
extern void pool_change_begin(PoolFrame *frame);
extern void pool_change_end(PoolFrame *frame);

/*
 * With -DROWAN_CHECK_PAGES: called for a page whose exclusive latch is released or whose change
 * ends; what it returns, if not NULL, is a PANIC.  Set by the layer that knows page formats.
 */
extern const char *(*pool_page_validator) (Page page, BlockNumber block);

/* Takes marks from a page, which are neither logged nor to reach the file; or NULL. */
extern void (*pool_forget_marks) (Page page);

/*
 * Refuses (ERROR with hint) where nothing may be changed: recovery, single-user
 * mode, walsender, worker not armed after a timeout.  Once per backend it is
 * more than a test of a flag.  Call before taking the latches of a change, outside critical
 * sections.
 */
extern void pool_prepare_write(void);

/* The same question without an error or a wait, for work that may as well be left undone. */
extern bool pool_can_write(void);

/*
 * Transactions from this one on began after recovery, if there was one, had ended: no snapshot that
 * was taken on a standby sees what they did.  Invalid: the server is in recovery, or was a moment
 * ago.
 */
extern TransactionId pool_first_xid(void);

/* May what xid did have been done by recovery: did it begin before that ended, if it has? */
static inline bool
pool_may_be_replayed(TransactionId xid)
{
	TransactionId first = pool_first_xid();

	return !TransactionIdIsValid(first) || TransactionIdPrecedes(xid, first);
}

/* ---- files ---- */

/* Serialises the initialisation of files (tree_create); comes before all latches. */
extern LWLock *pool_init_lock(const PoolFile *file);

/* Blocks in the file on disk; 0 if it does not exist. */
extern BlockNumber pool_file_blocks(const PoolFile *file);

/* Blocks that a file may well have beyond those in use, extended in advance. */
#define POOL_MAX_SPARE_BLOCKS	512

/* Appends unused pages so that the file has nblocks blocks. Raises ENOSPC as core does. */
extern void pool_file_extend(const PoolFile *file, BlockNumber nblocks);

/*
 * Makes the init fork of an unlogged file from these pages (their sums are set here), WAL-logged;
 * it is durable on return.
 */
extern void pool_write_init_fork(const PoolFile *file, char *const *pages, int npages);

/*
 * Forget all frames of the file from first_block on, dirty or not, waiting for
 * those being written.  To be called before the file is removed or truncated.
 */
extern void pool_discard_file(const PoolFile *file, BlockNumber first_block);
extern void pool_discard_database(Oid database);	/* all files of the database */

/* Clean frames only: harmless at any time. */
extern void pool_forget_database(Oid database);

/* Write all dirty frames of a file (and leave them in the pool, clean). */
extern void pool_flush_file(const PoolFile *file);
extern void pool_flush_database(Oid database);
extern void pool_flush_all(void);	/* all but temporary files */

/* Cuts the file to nblocks, discarding frames; WAL-logged by the caller. */
extern void pool_file_truncate(const PoolFile *file, BlockNumber nblocks);

/*
 * The same, WAL-logged and crash-safe, as RelationTruncate does it; the caller holds
 * AccessExclusiveLock on the relation and no latches.
 */
extern void pool_truncate_logged(const PoolFile *file, BlockNumber nblocks);

/* ---- statistics: how it is now; what has been done: pool/counters.h ---- */
typedef struct PoolStat
{
	uint64		frames,
				used,
				dirty,
				armed;			/* 1: pool worker holds the gate */
} PoolStat;
extern void pool_get_stat(PoolStat *stat);

typedef struct WorkerStat
{
	bool		armed;
	int			writers;		/* processes that may write */
	TimestampTz tick;			/* of the last turn of the pool worker; 0: none so far */
	TimestampTz flush_start;	/* of the last flush of the whole pool; 0: none so far */
	TimestampTz flush_end;		/* of the last one that has ended */
	uint64		flush_pages;	/* written by it */
} WorkerStat;
extern void pool_get_worker_stat(WorkerStat *stat);

/* Frames that hold pages of one file. */
typedef struct PoolShare
{
	RelFileLocator locator;
	ProcNumber	backend;
	int			frames;
	int			dirty;
	int			referenced;		/* used since the clock's hand passed */
} PoolShare;

/* The files with pages in the pool, in no order; palloc'd. */
extern PoolShare *pool_get_shares(int *n);

#endif							/* ROWAN_POOL_POOL_H */
