/*
 * test_held.c
 *	  The list of held latches notices each way to break latch order, and nothing else.
 */
#include "tap.h"

#include "access/xlogutils.h"
#include "pool/pool.h"
#include "storage/lwlock.h"

#define N_FRAMES	24

PoolFrame  *pool_frames;
char	   *pool_pages;
int			pool_n_frames = N_FRAMES;
bool		InRecovery;

static bool is_held[N_FRAMES];
static int	nframes;

bool
LWLockHeldByMe(LWLock *lock)
{
	return is_held[(PoolFrame *) ((char *) lock - offsetof(PoolFrame, latch)) - pool_frames];
}

int
pg_snprintf(char *text, size_t size, const char *format,...)
{
	va_list		args;
	int			length;

	va_start(args, format);
	length = vsnprintf(text, size, format, args);
	va_end(args);
	return length;
}

/* ---- pages ---- */

#define TABLE	16384
#define INDEX	16385

static void
begin(void)
{
	memset(is_held, false, sizeof(is_held));
	memset(pool_pages, 0, N_FRAMES * BLCKSZ);
	nframes = 0;
	InRecovery = false;
}

static PoolFrame *
page_of(Oid file, BlockNumber block, RowanPageType type, uint8 level, BlockNumber right)
{
	PoolFrame  *frame = &pool_frames[nframes++];
	PageTrailer trailer = page_trailer(pool_page(frame));

	must(nframes <= N_FRAMES);
	frame->tag.locator = (RelFileLocator) {1663, 5, file};
	frame->tag.backend = INVALID_PROC_NUMBER;
	frame->tag.block = block;
	trailer->type = type;
	trailer->level = level;
	trailer->right_block = right;
	if (type == ROWAN_PAGE_HEADER)
		file_header(pool_page(frame))->tree_kind =
			file == TABLE ? ROWAN_TREE_TABLE : ROWAN_TREE_INDEX;
	return frame;
}

static PoolFrame *
leaf(Oid file, BlockNumber block, BlockNumber right)
{
	return page_of(file, block, file == TABLE ? ROWAN_PAGE_LEAF : ROWAN_PAGE_INDEX_LEAF, 0, right);
}

static PoolFrame *
inner(Oid file, BlockNumber block, uint8 level)
{
	return page_of(file, block, file == TABLE ? ROWAN_PAGE_INNER : ROWAN_PAGE_INDEX_INNER, level,
				   InvalidBlockNumber);
}

static PoolFrame *
header(Oid file)
{
	return page_of(file, ROWAN_HEADER_BLOCK, ROWAN_PAGE_HEADER, 0, InvalidBlockNumber);
}

static PoolFrame *
version(BlockNumber block)
{
	return page_of(TABLE, block, ROWAN_PAGE_VERSION, 0, InvalidBlockNumber);
}

static PoolFrame *
free_page(BlockNumber block)
{
	return page_of(TABLE, block, ROWAN_PAGE_FREE, 0, InvalidBlockNumber);
}

/* ---- latches ---- */

static PoolFrame *
take_so(PoolFrame *frame, HeldHow how)
{
	is_held[frame - pool_frames] = true;
	held_add(frame, how);
	return frame;
}

static PoolFrame *
take(PoolFrame *frame)
{
	return take_so(frame, HELD_IN_ORDER);
}

static void
give(PoolFrame *frame)
{
	held_remove(frame);
	is_held[frame - pool_frames] = false;
}

/* As LWLockReleaseAll: nobody tells the list. */
static void
fail(void)
{
	memset(is_held, false, sizeof(is_held));
}

/* Does it end in a PANIC? */
static bool
panics(void (*scene) (void))
{
	sigjmp_buf	jump;
	volatile bool raised = false;

	begin();
	if (sigsetjmp(jump, 0) == 0)
	{
		test_error_jump = &jump;
		scene();
		while (nframes > 0)
			if (is_held[--nframes])
				give(&pool_frames[nframes]);
	}
	else
		raised = true;
	test_error_jump = NULL;
	fail();
	held_check_none("test");
	return raised;
}

/* ---- what is in order ---- */

static void
whole_order(void)
{
	take(leaf(INDEX, 7, 8));
	take(leaf(INDEX, 8, 9));
	take(page_of(TABLE, ROWAN_ROOT_BLOCK, ROWAN_PAGE_INNER, 2, InvalidBlockNumber));
	take(inner(TABLE, 5, 1));
	take(leaf(TABLE, 6, 3));
	take(leaf(TABLE, 3, 9));
	take(version(4));
	take(header(TABLE));
	take(free_page(12));
	take(free_page(11));
	take_so(leaf(TABLE, 13, 5), HELD_IN_ORDER_NEW);
}

static void
new_file(void)
{
	take_so(page_of(TABLE, ROWAN_ROOT_BLOCK, 0, 0, 0), HELD_IN_ORDER_NEW);
	take_so(page_of(TABLE, ROWAN_HEADER_BLOCK, 0, 0, 0), HELD_IN_ORDER_NEW);
}

/* One after the other, each with nothing else held. */
static void
one_by_one(void)
{
	give(take(header(TABLE)));
	give(take(version(4)));
	give(take(leaf(TABLE, 3, 9)));
	give(take(inner(TABLE, 5, 1)));
	give(take(leaf(INDEX, 7, 8)));
}

static void
tried(void)
{
	take(version(4));
	take_so(leaf(TABLE, 6, 3), HELD_TRIED);
}

static void
redo(void)
{
	InRecovery = true;
	take(leaf(TABLE, 6, 3));
	take(inner(TABLE, 5, 1));
}

/* After an error the same frames are latched in another order. */
static void
after_error(void)
{
	PoolFrame  *parent = inner(TABLE, 5, 1);
	PoolFrame  *child = leaf(TABLE, 6, 3);

	take(parent);
	take(child);
	fail();
	give(take(child));
	give(take(parent));
}

/* Who finds that a page is not the one he was told of raises an error, and does not go on. */
static void
damaged(void)
{
	take(leaf(TABLE, 6, 3));
	take(inner(TABLE, 5, 1));
	fail();
}

static void
change(void)
{
	PoolFrame  *parent = take(inner(TABLE, 5, 1));
	PoolFrame  *child = take(leaf(TABLE, 6, 3));

	held_join_change(parent);
	held_join_change(child);
	held_join_change(take(header(TABLE)));
}

/* What it latches is not ours to judge, but for what it holds itself. */
static void
function_writes(void)
{
	PoolFrame  *at = take(leaf(INDEX, 7, 8));

	held_enter_function();
	held_check_none("function");
	give(take(leaf(INDEX + 1, 3, 4)));
	held_leave_function();
	take(leaf(TABLE, 6, 3));
	give(at);
}

/* ---- what is not ---- */

static void
child_before_parent(void)
{
	take(leaf(TABLE, 6, 3));
	take(inner(TABLE, 5, 1));
}

static void
right_before_left(void)
{
	take(leaf(INDEX, 8, 9));
	take(leaf(INDEX, 7, 8));
}

static void
stranger_of_level(void)
{
	take(leaf(TABLE, 6, 3));
	take(leaf(TABLE, 4, 5));
}

static void
leaf_after_version(void)
{
	take(version(4));
	take(leaf(TABLE, 6, 3));
}

static void
two_versions(void)
{
	take(version(4));
	take(version(5));
}

static void
leaf_after_header(void)
{
	take(header(TABLE));
	take(leaf(TABLE, 6, 3));
}

static void
header_after_free(void)
{
	take(free_page(12));
	take(header(TABLE));
}

static void
free_without_header(void)
{
	take(free_page(12));
	take(free_page(13));
}

static void
index_after_table(void)
{
	take(leaf(TABLE, 6, 3));
	take(leaf(INDEX, 7, 8));
}

static void
two_tables(void)
{
	take(leaf(TABLE, 6, 3));
	take(leaf(TABLE + 7, 7, 8));
}

static void
behind_tried(void)
{
	take_so(version(4), HELD_TRIED);
	take(leaf(TABLE, 6, 3));
}

static void
change_in_other_order(void)
{
	PoolFrame  *parent = take(inner(TABLE, 5, 1));
	PoolFrame  *child = take(leaf(TABLE, 6, 3));

	held_join_change(child);
	held_join_change(parent);
}

static void
waits_latched(void)
{
	take(leaf(TABLE, 6, 3));
	held_check_none("test");
}

static void
function_in_change(void)
{
	held_join_change(take(leaf(INDEX, 7, 8)));
	held_enter_function();
}

static void
function_with_table(void)
{
	take(leaf(TABLE, 6, 3));
	held_enter_function();
}

static void
function_keeps(void)
{
	take(leaf(INDEX, 7, 8));
	held_enter_function();
	take(leaf(TABLE, 6, 3));
	held_check_none("function");
}

static void
released_twice(void)
{
	PoolFrame  *frame = take(leaf(TABLE, 6, 3));

	give(frame);
	give(frame);
}

#define good(scene) tap_ok(!panics(scene), #scene)
#define bad(scene) tap_ok(panics(scene), "noticed: " #scene)

int
main(void)
{
	pool_frames = calloc(N_FRAMES, sizeof(PoolFrame));
	pool_pages = aligned_alloc(BLCKSZ, N_FRAMES * BLCKSZ);

	good(whole_order);
	good(new_file);
	good(one_by_one);
	good(tried);
	good(redo);
	good(after_error);
	good(damaged);
	good(change);
	good(function_writes);

	bad(child_before_parent);
	bad(right_before_left);
	bad(stranger_of_level);
	bad(leaf_after_version);
	bad(two_versions);
	bad(leaf_after_header);
	bad(header_after_free);
	bad(free_without_header);
	bad(index_after_table);
	bad(two_tables);
	bad(behind_tried);
	bad(change_in_other_order);
	bad(waits_latched);
	bad(function_in_change);
	bad(function_with_table);
	bad(function_keeps);
	bad(released_twice);
	return tap_end();
}
