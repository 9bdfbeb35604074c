/*
 * pool_stub.c
 *	  A pool without a server; see pool_stub.h.
 */
#include "tap.h"

#include <pthread.h>
#include <sched.h>

#include "base/page_sum.h"
#include "pool/counters.h"
#include "pool/describe.h"
#include "pool_stub.h"
#include "storage/lwlock.h"
#include "tree/page.h"

#define MAX_BLOCKS	12000
#define MAX_HELD	16

PoolFrame  *pool_frames;
char	   *pool_pages;
int			pool_n_frames = MAX_BLOCKS;

const PoolFile stub_file = {.locator = {1663, 5, 16384}, .backend = INVALID_PROC_NUMBER, .logged = true};

uint64		stub_commits;
uint64		stub_logged_bytes;

static char *replica_pages;
static volatile BlockNumber nblocks;
static int	failure_rate;
static int	yield_rate;
static pthread_rwlock_t latches[MAX_BLOCKS];

static __thread char garbage_page[BLCKSZ] pg_attribute_aligned(16);
static __thread struct
{
	PoolFrame  *frame;
	LWLockMode	mode;
}			held[MAX_HELD];
static __thread int nheld;

static LWLock init_lock;
static __thread bool init_lock_held;

void
stub_reset(void)
{
	if (pool_frames == NULL)
	{
		pool_frames = calloc(MAX_BLOCKS, sizeof(PoolFrame));
		pool_pages = aligned_alloc(BLCKSZ, (Size) MAX_BLOCKS * BLCKSZ);
		replica_pages = aligned_alloc(BLCKSZ, (Size) MAX_BLOCKS * BLCKSZ);
	}
	memset(pool_pages, 0, (Size) nblocks * BLCKSZ);
	memset(replica_pages, 0, (Size) nblocks * BLCKSZ);
	if (nblocks == 0)
	{
		memset(pool_pages, 0, (Size) MAX_BLOCKS * BLCKSZ);
		memset(replica_pages, 0, (Size) MAX_BLOCKS * BLCKSZ);
	}
	for (int i = 0; i < MAX_BLOCKS; i++)
	{
		pool_frames[i].tag.block = i;
		pool_frames[i].version.value += 2;
		pthread_rwlock_init(&latches[i], NULL);
	}
	nblocks = 0;
	stub_release_all();
	stub_commits = stub_logged_bytes = 0;
}

void
stub_set_read_failures(int n)
{
	failure_rate = n;
}

void
stub_set_yields(int n)
{
	yield_rate = n;
}

/* Somebody else may run here. */
static void
maybe_yield(void)
{
	if (yield_rate > 0 && test_below(yield_rate) == 0)
		sched_yield();
}

Page
stub_replica_page(BlockNumber block)
{
	return (Page) (replica_pages + (Size) block * BLCKSZ);
}

static PoolFrame *
frame_of(BlockNumber block)
{
	if (block >= nblocks)
		printf("# block %u of %u\n", block, nblocks);
	must(block < nblocks);
	return &pool_frames[block];
}

/* ---- latches ---- */

static bool
is_tree_page(PoolFrame *frame)
{
	PageTrailer trailer = page_trailer(pool_page(frame));

	return trailer->type == ROWAN_PAGE_INNER || trailer->type == ROWAN_PAGE_LEAF;
}

/* Parent, page, right sibling, file header, free page. */
static void
check_order(PoolFrame *before, PoolFrame *frame)
{
	PageTrailer b = page_trailer(pool_page(before));
	PageTrailer f = page_trailer(pool_page(frame));

	must(before != frame);
	if (pool_block(before) == ROWAN_HEADER_BLOCK)
	{
		must(!is_tree_page(frame));
		return;
	}
	if (is_tree_page(frame) && is_tree_page(before))
		must(b->level > f->level || (b->level == f->level && b->low_fence < f->low_fence));
}

static PoolFrame *
take_latch(PoolFrame *frame, LWLockMode mode)
{
	pthread_rwlock_t *latch = &latches[frame - pool_frames];

	for (int i = 0; i < nheld; i++)
		must(held[i].frame != frame);
	must((mode == LW_SHARED ? pthread_rwlock_rdlock(latch) : pthread_rwlock_wrlock(latch)) == 0);
	for (int i = 0; i < nheld; i++)
		check_order(held[i].frame, frame);
	must(nheld < MAX_HELD);
	held[nheld].frame = frame;
	held[nheld].mode = mode;
	nheld++;
	return frame;
}

static void
give_latch(PoolFrame *frame)
{
	for (int i = 0; i < nheld; i++)
		if (held[i].frame == frame)
		{
			held[i] = held[--nheld];
			pthread_rwlock_unlock(&latches[frame - pool_frames]);
			return;
		}
	must(!"latch is held");
}

static bool
holds_exclusive(PoolFrame *frame)
{
	for (int i = 0; i < nheld; i++)
		if (held[i].frame == frame)
			return held[i].mode == LW_EXCLUSIVE;
	return false;
}

/* The list of held.c, as far as it is looked at here: see check_order. */
void
held_add(PoolFrame *frame, HeldHow how)
{
}

void
held_remove(PoolFrame *frame)
{
}

void
held_join_change(PoolFrame *frame)
{
}

void
held_check_none(const char *where)
{
	must(nheld == 0);
}

int
stub_latches_held(void)
{
	return nheld;
}

void
stub_release_all(void)
{
	while (nheld > 0)
		give_latch(held[0].frame);
	init_lock_held = false;
}

bool
LWLockAcquire(LWLock *lock, LWLockMode mode)
{
	must(lock == &init_lock && !init_lock_held && nheld == 0);
	return init_lock_held = true;
}

void
LWLockRelease(LWLock *lock)
{
	if (lock == &init_lock)
	{
		must(init_lock_held);
		init_lock_held = false;
	}
	else
		give_latch((PoolFrame *) ((char *) lock - offsetof(PoolFrame, latch)));
}

bool
LWLockHeldByMeInMode(LWLock *lock, LWLockMode mode)
{
	PoolFrame  *frame = (PoolFrame *) ((char *) lock - offsetof(PoolFrame, latch));

	for (int i = 0; i < nheld; i++)
		if (held[i].frame == frame)
			return held[i].mode == mode;
	return false;
}

LWLock *
pool_init_lock(const PoolFile *file)
{
	return &init_lock;
}

PoolFrame *
pool_latch(const PoolFile *file, BlockNumber block, LWLockMode mode)
{
	return take_latch(frame_of(block), mode);
}

PoolFrame *
pool_latch_near(const PoolFile *file, BlockNumber block, PoolFrame *near, LWLockMode mode)
{
	return pool_latch(file, block, mode);
}

/* The file may have been another one, with more blocks, when the frame was remembered. */
static bool
is_in_frame(BlockNumber block, const PoolFrame *frame)
{
	return block < nblocks && frame == frame_of(block);
}

PoolFrame *
pool_latch_here(const PoolFile *file, BlockNumber block, PoolFrame *frame, LWLockMode mode)
{
	return is_in_frame(block, frame) ? take_latch(frame, mode) : NULL;
}

/* Only asked for where there is one thread: nobody to wait for. */
PoolFrame *
pool_latch_try(const PoolFile *file, BlockNumber block)
{
	return take_latch(frame_of(block), LW_EXCLUSIVE);
}

PoolFrame *
pool_latch_new(const PoolFile *file, BlockNumber block)
{
	return take_latch(frame_of(block), LW_EXCLUSIVE);
}

PoolFrame *
pool_latch_empty(const PoolFile *file, BlockNumber block)
{
	return take_latch(frame_of(block), LW_EXCLUSIVE);
}

void
pool_refuse_damaged(const PoolFrame *frame)
{
}

void
pool_unlatch(PoolFrame *frame)
{
	give_latch(frame);
}

/* ---- reading ---- */

static void
fill_garbage(void)
{
	for (int i = 0; i < BLCKSZ; i += 8)
	{
		uint64		r = test_random();

		memcpy(garbage_page + i, &r, 8);
	}
}

static void
begin_read(BlockNumber block, bool latched, PoolRead *read)
{
	PoolFrame  *frame = frame_of(block);

	read->latched = latched;
	if (read->latched)
		take_latch(frame, LW_SHARED);
	read->frame = frame;
	read->page = pool_page(frame);
	while ((read->version = pg_atomic_read_u64(&frame->version)) % 2 == 1)
		sched_yield();
	pg_read_barrier();
	maybe_yield();
	if (read->latched)
		return;
	if (failure_rate > 0 && test_below(failure_rate) == 0)
	{
		/* as if it had been changed since */
		read->version -= 2;
		if (test_below(2) == 0)
		{
			fill_garbage();
			if (test_below(2) == 0)
				memcpy(garbage_page + ROWAN_PAGE_SPECIAL, read->page + ROWAN_PAGE_SPECIAL,
					   sizeof(PageTrailerData));
			read->page = (Page) garbage_page;
		}
	}
}

/* It may wait, so nothing is latched that others might want, but for the header: that comes last. */
void
pool_read_begin(const PoolFile *file, BlockNumber block, int attempt, PoolRing *ring,
				PoolRead *read)
{
	for (int i = 0; i < nheld; i++)
		must(held[i].mode == LW_SHARED || block == ROWAN_HEADER_BLOCK);
	begin_read(block, attempt >= POOL_OPTIMISTIC_ATTEMPTS, read);
}

/* No page is damaged. */
bool
pool_read_begin_checked(const PoolFile *file, BlockNumber block, int attempt, PoolRing *ring,
						PoolRead *read, PoolDamage *damage)
{
	pool_read_begin(file, block, attempt, ring, read);
	return true;
}

bool
pool_catch_damage(void (*action) (void *arg), void *arg, PoolDamage *damage)
{
	action(arg);
	return true;
}

bool
pool_read_here(const PoolFile *file, BlockNumber block, PoolFrame *frame, PoolRead *read)
{
	if (!is_in_frame(block, frame))
		return false;
	pool_read_begin(file, block, 0, NULL, read);
	return true;
}

void
pool_read_begin_unordered(const PoolFile *file, BlockNumber block, PoolRead *read)
{
	begin_read(block, false, read);
}

bool
pool_read_try(const PoolFile *file, BlockNumber block, PoolRead *read)
{
	if (block >= nblocks)
		return false;
	begin_read(block, false, read);
	return true;
}

/* Fails always, but then optimistic reads succeed sooner or later. */
bool
pool_read_latch_try(PoolRead *read)
{
	return false;
}

void
pool_read_copy(const PoolFile *file, BlockNumber block, PoolRing *ring, char *dest)
{
	PoolFrame  *frame = take_latch(frame_of(block), LW_SHARED);

	memcpy(dest, pool_page(frame), BLCKSZ);
	give_latch(frame);
}

void
pool_prepare_write(void)
{
	must(nheld == 0);
}

void
pool_change_begin(PoolFrame *frame)
{
	must(holds_exclusive(frame) && frame->version.value % 2 == 0);
	pg_atomic_write_u64(&frame->version, frame->version.value + 1);
	pg_write_barrier();
}

void
pool_change_end(PoolFrame *frame)
{
	must(frame->version.value % 2 == 1);
	pg_write_barrier();
	pg_atomic_write_u64(&frame->version, frame->version.value + 1);
}

BlockNumber
pool_file_blocks(const PoolFile *file)
{
	return nblocks;
}

void
pool_file_extend(const PoolFile *file, BlockNumber to)
{
	must(to > nblocks && to <= MAX_BLOCKS);
	nblocks = to;
}

void
pool_truncate_logged(const PoolFile *file, BlockNumber to)
{
	must(nheld == 0);
	nblocks = Min(nblocks, to);
}

/* Init forks are the server's. */
void
pool_write_init_fork(const PoolFile *file, char *const *pages, int npages)
{
	must(false);
}

/* ---- changes ---- */

static __thread PageChange *open_change;

__thread bool stub_test_compares;

/* I-IDX-12 */
void
held_enter_function(void)
{
	must(open_change == NULL || stub_test_compares);
}

void
held_leave_function(void)
{
}

void
change_begin(PageChange *change, const PoolFile *file)
{
	change->file = file;
	change->npages = 0;
	open_change = change;
}

Page
change_page(PageChange *change, PoolFrame *frame, bool is_new)
{
	char	   *copy;

	must(change == open_change && holds_exclusive(frame));
	for (int i = 0; i < change->npages; i++)
		if (change->pages[i].frame == frame)
			return change->pages[i].copy;
	must(change->npages < CHANGE_MAX_PAGES);
	copy = aligned_alloc(BLCKSZ, BLCKSZ);
	if (is_new)
		memset(copy, 0, BLCKSZ);
	else
		memcpy(copy, pool_page(frame), BLCKSZ);
	change->pages[change->npages].frame = frame;
	change->pages[change->npages].copy = (Page) copy;
	change->pages[change->npages].is_new = is_new;
	change->npages++;
	return (Page) copy;
}

Page
change_find(PageChange *change, BlockNumber block)
{
	for (int i = 0; i < change->npages; i++)
		if (pool_block(change->pages[i].frame) == block)
			return change->pages[i].copy;
	return NULL;
}

static inline bool
in_gap(const char *page, int i)
{
	return i >= ((PageHeader) page)->pd_lower && i < ((PageHeader) page)->pd_upper;
}

/* What a record would carry: bytes outside the new gap that differ or were in the old one. */
static void
replicate(PoolFrame *frame, const char *old, const char *new, bool is_new)
{
	char	   *replica = (char *) stub_replica_page(pool_block(frame));

	/* a full-page image leaves zeros in the gap */
	if (!is_new && test_below(4) == 0)
		memset(replica + ((PageHeader) old)->pd_lower, 0,
			   ((PageHeader) old)->pd_upper - ((PageHeader) old)->pd_lower);
	for (int i = 0; i < BLCKSZ; i++)
	{
		if (in_gap(new, i))
			replica[i] = is_new ? 0 : replica[i];
		else if (is_new || in_gap(old, i) || old[i] != new[i])
		{
			replica[i] = new[i];
			stub_logged_bytes++;
		}
	}
}

static void
check_copy(PoolFrame *frame, Page copy)
{
	const char *message = page_check(copy, pool_block(frame));

	if (message != NULL)
		printf("# block %u: %s\n", pool_block(frame), message);
	must(message == NULL);
}

void
change_commit(PageChange *change, TransactionId horizon)
{
	must(change == open_change);
	for (int i = 0; i < change->npages; i++)
	{
		PoolFrame  *frame = change->pages[i].frame;
		char	   *copy = (char *) change->pages[i].copy;

		check_copy(frame, (Page) copy);
		page_set_sum((Page) copy);
		replicate(frame, (char *) pool_page(frame), copy, change->pages[i].is_new);
	}

	/* all versions odd, then all pages, then all even */
	for (int i = 0; i < change->npages; i++)
		pool_change_begin(change->pages[i].frame);
	for (int i = 0; i < change->npages; i++)
	{
		maybe_yield();
		memcpy(pool_page(change->pages[i].frame), change->pages[i].copy, BLCKSZ);
	}
	for (int i = 0; i < change->npages; i++)
		pool_change_end(change->pages[i].frame);
	stub_commits++;
	change_abort(change);
}

void
change_abort(PageChange *change)
{
	for (int i = 0; i < change->npages; i++)
	{
		give_latch(change->pages[i].frame);
		free(change->pages[i].copy);
	}
	change->npages = 0;
	open_change = NULL;
}

BlockNumber
stub_replica_difference(void)
{
	for (BlockNumber block = 0; block < nblocks; block++)
	{
		char	   *page = (char *) pool_page(&pool_frames[block]);
		char	   *replica = (char *) stub_replica_page(block);

		for (int i = 0; i < BLCKSZ; i++)
			if (page[i] != replica[i] && !in_gap(page, i))
				return block;
	}
	return InvalidBlockNumber;
}

/* ---- records: nobody reads them here ---- */

char *
wal_page_data(XLogReaderState *record, uint8 block_id, Size *length)
{
	return NULL;
}

void
describe(StringInfo buf, const char *format,...)
{
}

void
describe_row(StringInfo buf, uint16 flags)
{
}

void
counter_add(Counter counter, uint64 n)
{
}
