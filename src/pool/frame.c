/*
 * frame.c
 *	  Frames in shared memory: their states, latching, optimistic reading, loading.
 *
 * Latches: takes the latch of the page asked for; callers follow the order in
 * pool.h.  A latch is waited for only while the frame is known to hold that very page and
 * cannot be reused (see wait_for_latch), so waits follow the order of pages, however frames
 * are reused meanwhile.
 *
 * Must never wait for a latch while holding a partition lock of the map.
 */
#include "postgres.h"

#include "access/xlogutils.h"
#include "base/compat.h"
#include "base/fault.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "pool/copied.h"
#include "pool/frame.h"
#include "pool/torn.h"
#include "storage/s_lock.h"
#include "storage/shmem.h"

PoolFrame  *pool_frames;
XLogRecPtr *pool_image_lsns;
char	   *pool_pages;
int			pool_n_frames;
PoolControl *pool_control;
int			pool_buffers_setting;

const char *(*pool_page_validator) (Page page, BlockNumber block);

static LWLockPadded *extend_locks;
static LWLockPadded *init_locks;

/* How long to spin for a change to end before waiting for the latch. */
#define SPINS_BEFORE_LATCH	200

/* How long to spin for a latch before sleeping. */
#define SPINS_BEFORE_SLEEP	200

/* ---- shared memory ---- */

Size
frame_shmem_size(void)
{
	Size		size = MAXALIGN(sizeof(PoolControl));

	size = add_size(size, mul_size(pool_buffers_setting, sizeof(PoolFrame)));
	size = add_size(size, mul_size(pool_buffers_setting, sizeof(XLogRecPtr)));
	size = add_size(size, mul_size(pool_buffers_setting, BLCKSZ));
	size = add_size(size, sizeof(LWLockPadded) * (POOL_EXTEND_LOCKS + POOL_INIT_LOCKS));
	size = add_size(size, PG_CACHE_LINE_SIZE + BLCKSZ); /* alignment */
	size = add_size(size, counters_shmem_size());
	return add_size(size, map_shmem_size());
}

static void
init_control(void)
{
	memset(pool_control, 0, sizeof(PoolControl));
	pool_control->frame_tranche = LWLockNewTrancheId();
	pool_control->map_tranche = LWLockNewTrancheId();
	pool_control->extend_tranche = LWLockNewTrancheId();
	pool_control->init_tranche = LWLockNewTrancheId();
	SpinLockInit(&pool_control->mutex);
	pg_atomic_init_u64(&pool_control->tick_time, 0);
	pg_atomic_init_u64(&pool_control->warned_time, 0);
	pg_atomic_init_u32(&pool_control->clock_hand, 0);
	LWLockInitialize(&pool_control->copied_lock, pool_control->init_tranche);
	copied_shmem_init();
}

void
tag_set_free(PoolTag *tag)
{
	memset(tag, 0, sizeof(PoolTag));
	tag->backend = INVALID_PROC_NUMBER;
	tag->block = InvalidBlockNumber;
}

static void
init_frames(void)
{
	for (int i = 0; i < pool_n_frames; i++)
	{
		PoolFrame  *frame = &pool_frames[i];

		memset(frame, 0, sizeof(PoolFrame));
		pg_atomic_init_u64(&frame->version, 0);
		pg_atomic_init_u32(&frame->hash_next, POOL_NO_FRAME);
		pg_atomic_init_u32(&frame->waiters, 0);
		tag_set_free(&frame->tag);
		LWLockInitialize(&frame->latch, pool_control->frame_tranche);
	}
}

void
frame_shmem_init(void)
{
	bool		found;
	char	   *memory;
	LWLockPadded *locks;
	int			nlocks = POOL_EXTEND_LOCKS + POOL_INIT_LOCKS;

	pool_n_frames = pool_buffers_setting;
	pool_control = ShmemInitStruct("rowan pool", sizeof(PoolControl), &found);
	if (!found)
		init_control();
	counters_shmem_init();
	locks = ShmemInitStruct("rowan file locks", sizeof(LWLockPadded) * nlocks, &found);
	extend_locks = locks;
	init_locks = locks + POOL_EXTEND_LOCKS;
	if (!found)
		for (int i = 0; i < nlocks; i++)
			LWLockInitialize(&locks[i].lock,
							 i < POOL_EXTEND_LOCKS ? pool_control->extend_tranche :
							 pool_control->init_tranche);

	memory = ShmemInitStruct("rowan frames",
							 (Size) pool_n_frames * sizeof(PoolFrame) + PG_CACHE_LINE_SIZE, &found);
	pool_frames = (PoolFrame *) TYPEALIGN(sizeof(PoolFrame), memory);
	if (!found)
		init_frames();
	pool_image_lsns = ShmemInitStruct("rowan image LSNs", (Size) pool_n_frames * sizeof(XLogRecPtr),
									  &found);
	memory = ShmemInitStruct("rowan pages", (Size) pool_n_frames * BLCKSZ + BLCKSZ, &found);
	pool_pages = (char *) TYPEALIGN(BLCKSZ, memory);
	map_shmem_init();

	LWLockRegisterTranche(pool_control->frame_tranche, "RowanPage");
	LWLockRegisterTranche(pool_control->map_tranche, "RowanMap");
	LWLockRegisterTranche(pool_control->extend_tranche, "RowanExtend");
	LWLockRegisterTranche(pool_control->init_tranche, "RowanInit");
}

/* Serialises the growth of a file; waited for with latches held, holds I/O only. */
LWLock *
pool_extend_lock(const PoolFile *file)
{
	return &extend_locks[file->locator.relNumber % POOL_EXTEND_LOCKS].lock;
}

LWLock *
pool_init_lock(const PoolFile *file)
{
	return &init_locks[file->locator.relNumber % POOL_INIT_LOCKS].lock;
}

/* ---- states ---- */

bool
frame_is_changing(const PoolFrame *frame)
{
	return (pg_atomic_read_u64(unconstify(pg_atomic_uint64 *, &frame->version)) & 1) != 0;
}

/*
 * Even to odd, or odd to even.  Only the holder of the exclusive latch does this, so
 * plain stores suffice; the barriers order them with the page's bytes on both sides.
 */
void
frame_version_advance(PoolFrame *frame)
{
	Assert(LWLockHeldByMeInMode(&frame->latch, LW_EXCLUSIVE));
	pg_write_barrier();
	pg_atomic_write_u64(&frame->version, pg_atomic_read_u64(&frame->version) + 1);
	pg_write_barrier();
}

/* taken, or out of its chain again: free; releases the latch. */
void
frame_give_back(PoolFrame *frame)
{
	Assert(frame_is_changing(frame));
	tag_set_free(&frame->tag);
	frame->dirty = false;
	frame->referenced = 0;
	frame_version_advance(frame);
	LWLockRelease(&frame->latch);
}

/* valid, latched exclusively: free; releases the latch. */
void
frame_discard(PoolFrame *frame)
{
	PoolTag		tag = frame->tag;

	Assert(tag.block != InvalidBlockNumber);
	if (!frame_is_changing(frame))
		frame_version_advance(frame);
	tag_set_free(&frame->tag);
	map_remove(&tag, frame);
	frame_give_back(frame);
}

/* ---- latching a page that is in the pool ---- */

/*
 * Waits for the latch of a frame that holds the page.  From the registration
 * as a waiter on, the frame cannot be reused for another page (replace.c looks
 * after it has made the tag invalid; the tag is read here after registering), so
 * we wait for holders of this page only.  It can still be discarded; hence the caller's check.
 */
static bool
wait_for_latch(PoolFrame *frame, const PoolTag *tag, LWLockMode mode)
{
	bool		same;

	Assert(!LWLockHeldByMe(&frame->latch));
	pg_atomic_fetch_add_u32(&frame->waiters, 1);
	same = tag_equal(&frame->tag, tag);
	if (same)
		LWLockAcquire(&frame->latch, mode);
	pg_atomic_fetch_sub_u32(&frame->waiters, 1);
	return same;
}

/*
 * A latch is held for microseconds, as long as its holder keeps the processor.  Who sleeps for it
 * gives up his own, and with many sessions is woken at the end of a long queue of those that want
 * one.
 */
static bool
spin_for_latch(PoolFrame *frame, LWLockMode mode)
{
	uint32		held = pg_atomic_read_u32(&frame->latch.state);

	for (int i = 0; i < SPINS_BEFORE_SLEEP; i++)
	{
		SPIN_DELAY();
		if (pg_atomic_read_u32(&frame->latch.state) == held)
			continue;
		if (LWLockConditionalAcquire(&frame->latch, mode))
			return true;
		held = pg_atomic_read_u32(&frame->latch.state);
	}
	return false;
}

/* Latches the page if it is in the pool, after waiting for its load; else NULL. */
PoolFrame *
frame_latch_if_present(const PoolTag *tag, LWLockMode mode)
{
	for (;;)
	{
		PoolFrame  *frame = map_find_optimistic(tag);

		if (frame == NULL)
			frame = map_find(tag);
		if (frame == NULL)
			return NULL;
		if (!LWLockConditionalAcquire(&frame->latch, mode) &&
			!spin_for_latch(frame, mode) && !wait_for_latch(frame, tag, mode))
			continue;
		if (tag_equal(&frame->tag, tag))
			return frame;
		LWLockRelease(&frame->latch);
	}
}

/* ---- accounting ---- */

static inline void
count_hit(const PoolFile *file)
{
	if (file->fetched != NULL)
		(*file->fetched)++;
	if (file->hit != NULL)
		(*file->hit)++;
	if (likely(file->backend == INVALID_PROC_NUMBER))
		pgBufferUsage.shared_blks_hit++;
	else
		pgBufferUsage.local_blks_hit++;
	if (VacuumCostActive)
		VacuumCostBalance += VacuumCostPageHit;
}

static void
count_miss(const PoolFile *file)
{
	if (file->fetched != NULL)
		(*file->fetched)++;
	if (file->backend == INVALID_PROC_NUMBER)
		pgBufferUsage.shared_blks_read++;
	else
		pgBufferUsage.local_blks_read++;
	if (VacuumCostActive)
		VacuumCostBalance += VacuumCostPageMiss;
	count_one(COUNT_READS);
}

/* ---- loading ---- */

typedef enum LoadMode
{
	LOAD_READ,					/* from disk, must be a good page */
	LOAD_READ_EMPTY,			/* an empty page is good enough */
	LOAD_ZERO					/* not from disk */
} LoadMode;

static void
fill_page(const PoolFile *file, PoolFrame *frame, LoadMode how)
{
	if (how == LOAD_ZERO)
	{
		memset(pool_page(frame), 0, BLCKSZ);
		return;
	}
	FAULT_POINT(pool_load);
	io_read(&frame->tag, pool_page(frame), how == LOAD_READ_EMPTY);
	count_miss(file);
}

/* The load failed: the page is not in the pool after all. */
static void
abandon_load(PoolFrame *frame)
{
	PoolTag		tag = frame->tag;

	HOLD_INTERRUPTS();			/* elog(ERROR) forgot the count of our latch */
	tag_set_free(&frame->tag);
	map_remove(&tag, frame);
	frame_give_back(frame);
}

/*
 * Loads a page into a frame of its own and returns it latched exclusively,
 * version even; NULL if somebody else did it meanwhile.
 */
static PoolFrame *
frame_load(const PoolFile *file, const PoolTag *tag, PoolRing *ring, LoadMode how)
{
	PoolFrame  *frame = replace_take(ring);

	Assert(CritSectionCount == 0);
	frame->tag = *tag;
	frame->dirty = false;
	frame->referenced = ring ? 0 : 1;
	*pool_image_lsn(frame) = InvalidXLogRecPtr;
	frame->temporary = file->backend != INVALID_PROC_NUMBER;
	frame->unlogged = !file->logged;
	if (!map_insert(frame))
	{
		frame_give_back(frame);
		return NULL;
	}
	if (ring != NULL)
		ring_remember(ring, frame);
	PG_TRY();
	{
		fill_page(file, frame, how);
	}
	PG_CATCH();
	{
		abandon_load(frame);
		PG_RE_THROW();
	}
	PG_END_TRY();
	/* nobody on a standby may take the zeroes for the page: redo makes it at once */
	if (how != LOAD_ZERO || !InRecovery)
		frame_version_advance(frame);
	return frame;
}

/* ---- latched access ---- */

static PoolFrame *
latch_or_load(const PoolFile *file, BlockNumber block, LWLockMode mode, PoolRing *ring,
			  LoadMode how)
{
	PoolTag		tag;
	PoolFrame  *frame;
	bool		loaded = false;

	tag_init(&tag, file, block);
	for (;;)
	{
		frame = frame_latch_if_present(&tag, mode);
		if (frame != NULL)
			break;
		frame = frame_load(file, &tag, ring, how);
		if (frame == NULL)
			continue;
		loaded = true;
		if (mode == LW_EXCLUSIVE)
			break;
		LWLockRelease(&frame->latch);
	}
	held_add(frame, how == LOAD_ZERO ? HELD_IN_ORDER_NEW : HELD_IN_ORDER);
	if (!loaded)
	{
		count_hit(file);
		pool_mark_referenced(frame);
	}
	return frame;
}

PoolFrame *
pool_latch(const PoolFile *file, BlockNumber block, LWLockMode mode)
{
	return latch_or_load(file, block, mode, NULL, LOAD_READ);
}

/* Latches the frame, if that is free and has the page; else NULL. */
static inline PoolFrame *
latch_if_free(const PoolFile *file, const PoolTag *tag, PoolFrame *frame, LWLockMode mode)
{
	if (!LWLockConditionalAcquire(&frame->latch, mode))
		return NULL;
	if (tag_equal(&frame->tag, tag))
	{
		count_hit(file);
		pool_mark_referenced(frame);
		return frame;
	}
	LWLockRelease(&frame->latch);
	return NULL;
}

PoolFrame *
pool_latch_here(const PoolFile *file, BlockNumber block, PoolFrame *frame, LWLockMode mode)
{
	PoolTag		tag;

	tag_init(&tag, file, block);
	frame = latch_if_free(file, &tag, frame, mode);
	if (frame != NULL)
		held_add(frame, HELD_TRIED);
	return frame;
}

PoolFrame *
pool_latch_near(const PoolFile *file, BlockNumber block, PoolFrame *near, LWLockMode mode)
{
	PoolTag		tag;
	PoolFrame  *frame;

	tag_init(&tag, file, block);
	frame = latch_if_free(file, &tag, near, mode);
	if (frame == NULL)
		return pool_latch(file, block, mode);
	held_add(frame, HELD_IN_ORDER);
	return frame;
}

PoolFrame *
pool_latch_try(const PoolFile *file, BlockNumber block)
{
	PoolTag		tag;
	PoolFrame  *frame;

	tag_init(&tag, file, block);
	frame = map_find_optimistic(&tag);
	if (frame == NULL)
		frame = map_find(&tag);
	frame = frame == NULL ? frame_load(file, &tag, NULL, LOAD_READ) :
		latch_if_free(file, &tag, frame, LW_EXCLUSIVE);
	if (frame != NULL)
		held_add(frame, HELD_TRIED);
	return frame;
}

PoolFrame *
pool_latch_new(const PoolFile *file, BlockNumber block)
{
	return latch_or_load(file, block, LW_EXCLUSIVE, NULL, LOAD_ZERO);
}

PoolFrame *
pool_latch_empty(const PoolFile *file, BlockNumber block)
{
	return latch_or_load(file, block, LW_EXCLUSIVE, NULL, LOAD_READ_EMPTY);
}

PoolFrame *
pool_latch_present(const PoolFile *file, BlockNumber block)
{
	PoolTag		tag;
	PoolFrame  *frame;

	tag_init(&tag, file, block);
	frame = frame_latch_if_present(&tag, LW_EXCLUSIVE);
	if (frame == NULL)
		return NULL;
	held_add(frame, HELD_IN_ORDER);
	count_hit(file);
	pool_mark_referenced(frame);
	return frame;
}

PoolFrame *
pool_latch_redo(const PoolFile *file, BlockNumber block)
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff = InterruptHoldoffCount;
	PoolFrame  *volatile frame = NULL;

	PG_TRY();
	{
		frame = pool_latch_empty(file, block);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_DATA_CORRUPTED || torn_control_is(TORN_NOT_HEALED))
			PG_RE_THROW();
		InterruptHoldoffCount = holdoff;	/* the latches of other pages stay */
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return frame;
}

#ifdef ROWAN_CHECK_PAGES
static void
validate_page(PoolFrame *frame)
{
	const char *problem;

	if (pool_page_validator == NULL || PageIsNew(pool_page(frame)))
		return;
	problem = pool_page_validator(pool_page(frame), frame->tag.block);
	if (problem != NULL)
		elog(PANIC, "rowan: block %u of relfilenode %u is bad after a change: %s",
			 frame->tag.block, frame->tag.locator.relNumber, problem);
}
#else
#define validate_page(frame) ((void) 0)
#endif

void
pool_unlatch(PoolFrame *frame)
{
	held_remove(frame);
	if (frame_is_changing(frame))
	{
		Assert(InRecovery);		/* left so by pool_redo_latch */
		pool_change_end(frame);
	}
	else if (unlikely(PageIsNew(pool_page(frame))) && !frame->dirty &&
			 LWLockHeldByMeInMode(&frame->latch, LW_EXCLUSIVE))
	{
		/* from pool_latch_new, and never changed: not what the disk has */
		frame_discard(frame);
		return;
	}
#ifdef ROWAN_CHECK_PAGES
	else if (LWLockHeldByMeInMode(&frame->latch, LW_EXCLUSIVE))
		validate_page(frame);
#endif
	LWLockRelease(&frame->latch);
}

void
pool_change_begin(PoolFrame *frame)
{
	Assert(CritSectionCount > 0 || InRecovery);
	Assert(LWLockHeldByMeInMode(&frame->latch, LW_EXCLUSIVE));
	Assert(frame->tag.block != InvalidBlockNumber);

	/* before the WAL record is inserted: else a checkpoint could pass us (I3) */
	if (!frame->dirty)
	{
		frame->dirty = true;
		if (frame->temporary)
			pgBufferUsage.local_blks_dirtied++;
		else
			pgBufferUsage.shared_blks_dirtied++;
		if (VacuumCostActive)
			VacuumCostBalance += VacuumCostPageDirty;
	}
	if (!frame_is_changing(frame))
		frame_version_advance(frame);
	else
		Assert(InRecovery);
}

void
pool_change_end(PoolFrame *frame)
{
	Assert(frame_is_changing(frame));
	validate_page(frame);
	frame_version_advance(frame);
}

/* ---- optimistic reading ---- */

/* True if the version became even; false: better wait for the latch. */
static bool
spin_for_change(PoolFrame *frame, uint64 *version)
{
	for (int i = 0; i < SPINS_BEFORE_LATCH; i++)
	{
		SPIN_DELAY();
		*version = pg_atomic_read_u64(&frame->version);
		if ((*version & 1) == 0)
			return true;
	}
	return false;
}

/* The common case: the page is in the pool and nobody changes it. */
static pg_attribute_always_inline bool
begin_in_frame(const PoolTag *tag, PoolFrame *frame, PoolRead *read)
{
	uint64		version = pg_atomic_read_u64(&frame->version);

	if (unlikely((version & 1) != 0) && !spin_for_change(frame, &version))
		return false;
	pg_read_barrier();
	if (unlikely(!tag_equal(&frame->tag, tag)))
		return false;
	pool_mark_referenced(frame);
	read->frame = frame;
	read->page = pool_page(frame);
	read->version = version;
	read->latched = false;
	return true;
}

static pg_attribute_always_inline bool
begin_optimistic(const PoolTag *tag, PoolRead *read)
{
	PoolFrame  *frame = map_find_optimistic(tag);

	return likely(frame != NULL) && begin_in_frame(tag, frame, read);
}

/* Under the latch, loading the page if need be; keeps the latch if asked to. */
static void
begin_latched(const PoolFile *file, const PoolTag *tag, PoolRing *ring, bool keep_latch,
			  PoolRead *read)
{
	PoolFrame  *frame;

	frame = frame_latch_if_present(tag, LW_SHARED);
	if (frame != NULL)
	{
		count_hit(file);
		pool_mark_referenced(frame);
	}
	while (frame == NULL)
	{
		frame = frame_load(file, tag, ring, LOAD_READ); /* latched exclusively */
		if (frame == NULL)
			frame = frame_latch_if_present(tag, LW_SHARED);
	}
	read->frame = frame;
	read->page = pool_page(frame);
	read->version = pg_atomic_read_u64(&frame->version);
	read->latched = keep_latch;
	Assert((read->version & 1) == 0);
	held_add(frame, HELD_IN_ORDER);
	if (!read->latched)
	{
		held_remove(frame);
		LWLockRelease(&frame->latch);
	}
}

void
pool_read_begin(const PoolFile *file, BlockNumber block, int attempt, PoolRing *ring,
				PoolRead *read)
{
	PoolTag		tag;

	tag_init(&tag, file, block);
	if (likely(attempt < POOL_OPTIMISTIC_ATTEMPTS) && likely(begin_optimistic(&tag, read)))
		count_hit(file);
	else
		begin_latched(file, &tag, ring, attempt >= POOL_OPTIMISTIC_ATTEMPTS, read);
}

bool
pool_read_here(const PoolFile *file, BlockNumber block, PoolFrame *frame, PoolRead *read)
{
	PoolTag		tag;

	tag_init(&tag, file, block);
	if (!begin_in_frame(&tag, frame, read))
		return false;
	count_hit(file);
	return true;
}

bool
pool_read_try(const PoolFile *file, BlockNumber block, PoolRead *read)
{
	PoolTag		tag;

	tag_init(&tag, file, block);
	if (!begin_optimistic(&tag, read))
		return false;
	count_hit(file);
	return true;
}

/* How long to wait for a change or a load to end that has not while we spun. */
#define UNORDERED_WAIT_US	100

/*
 * Who changes or loads a page does not wait for a latch before its version is even again: so it is
 * enough to look again.
 */
void
pool_read_begin_unordered(const PoolFile *file, BlockNumber block, PoolRead *read)
{
	PoolTag		tag;

	tag_init(&tag, file, block);
	for (;;)
	{
		PoolFrame  *frame;

		if (begin_optimistic(&tag, read))
		{
			count_hit(file);
			return;
		}
		if (map_find(&tag) != NULL)
		{
			pg_usleep(UNORDERED_WAIT_US);
			continue;
		}
		frame = frame_load(file, &tag, NULL, LOAD_READ);
		if (frame != NULL)
			LWLockRelease(&frame->latch);
	}
}

bool
pool_read_latch_try(PoolRead *read)
{
	Assert(!read->latched);
	if (!LWLockConditionalAcquire(&read->frame->latch, LW_SHARED))
		return false;
	if (!pool_read_valid(read))
	{
		LWLockRelease(&read->frame->latch);
		return false;
	}
	held_add(read->frame, HELD_TRIED);
	read->latched = true;
	return true;
}

const char *
pool_peek(const PoolFile *file, BlockNumber block)
{
	PoolTag		tag;
	PoolFrame  *frame;

	tag_init(&tag, file, block);
	frame = map_find_optimistic(&tag);
	return frame == NULL ? NULL : pool_page(frame);
}

void
pool_read_copy(const PoolFile *file, BlockNumber block, PoolRing *ring, char *dest)
{
	PoolRead	read;

	for (int attempt = 0;; attempt++)
	{
		pool_read_begin(file, block, attempt, ring, &read);
		memcpy(dest, read.page, BLCKSZ);
		if (pool_read_end(&read))
			return;
	}
}
