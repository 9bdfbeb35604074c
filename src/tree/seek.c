/*
 * seek.c
 *	  Finding leaves: optimistic descent, and latching what was found.
 *
 * A descent holds no latch while it goes down (after many failed attempts:
 * parent, then child, shared).  Whoever latches what a descent found must look again
 * whether the page still covers the key: that alone decides, since there is
 * exactly one live page for a level and a key.
 *
 * Must never follow a block number, or raise an error about a page, before
 * the read it came from was found valid.
 */
#include "postgres.h"

#include "base/compat.h"
#include "miscadmin.h"
#include "tree/descend.h"

typedef enum Descent
{
	DESCENT_FOUND,				/* *read is begun */
	DESCENT_RETRY,				/* something changed meanwhile; nothing is held */
	DESCENT_TOO_LOW				/* the root is below that level; nothing is held */
} Descent;

void
tree_corrupted(const PoolFile *file, BlockNumber block, const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("corrupted page in block %u of relation %s: %s", block,
					compat_path(file->node, file->backend), message),
			 errhint("Run rowan.verify() on the table, then restore it from a backup.")));
	pg_unreachable();
}

/*
 * The page makes no sense.  Seen optimistically that means only that it was being
 * changed; seen under a latch, with the parent latched too, it is corrupt.
 */
static Descent
give_up(const PoolFile *file, BlockNumber block, PoolRead *read, const char *message)
{
	bool		latched = read->latched;

	pool_read_end(read);
	if (latched)
		tree_corrupted(file, block, message);
	return DESCENT_RETRY;
}

/*
 * Goes from *read, an inner page, to its child that covers key.  On success *read is the
 * child and *block its number.
 */
static Descent
step_down(const PoolFile *file, TreeKey key, int attempt, PoolRing *ring, PoolRead *read,
		  BlockNumber *block)
{
	int			pos = inner_search(read->page, key);
	BlockNumber child_block;
	TreeKey		distance;
	PoolRead	child;

	if (pos < 0)
		return give_up(file, *block, read, "inner page is empty");
	child_block = inner_child(read->page, pos);
	distance = key - inner_key(read->page, pos);
	if (child_block == InvalidBlockNumber || child_block <= ROWAN_ROOT_BLOCK)
		return give_up(file, *block, read, "impossible child");
	if (!pool_read_valid(read))
	{
		pool_read_end(read);
		return DESCENT_RETRY;
	}
	pool_read_begin(file, child_block, attempt, ring, &child);

	/* on a leaf without holes the slot is there: let it come while we look at the trailer */
	if (distance < ROWAN_PAGE_ROOM / sizeof(SlotData))
		__builtin_prefetch(page_slots(child.page) + distance);

	/*
	 * The child's version was taken while the parent still pointed to it: from
	 * here on the child's version alone tells whether it still is the right page.
	 */
	if (!pool_read_end(read))
	{
		pool_read_end(&child);
		return DESCENT_RETRY;
	}
	*read = child;
	*block = child_block;
	return DESCENT_FOUND;
}

/* ---- parents of leaves, remembered ---- */

/*
 * Where this backend found the parent of a leaf.  As long as the frame has that version it is that page
 * still, unchanged, and a descent may start there instead of at the root.
 */
#define KNOWN_PARENTS		512
#define KNOWN_PARENT_SHIFT	14	/* a parent covers a few times 2^14 rows of usual width */

typedef struct KnownParent
{
	RelFileNode node;
	BackendId	backend;
	PoolFrame  *frame;			/* NULL: nothing known */
	uint64		version;
	TreeKey		low;
	TreeKey		high;
} KnownParent;

static KnownParent known_parents[KNOWN_PARENTS];

static inline KnownParent *
known_parent_entry(const PoolFile *file, TreeKey key)
{
	return &known_parents[(node_relation(file->node) * 61 + (key >> KNOWN_PARENT_SHIFT)) % KNOWN_PARENTS];
}

static bool
read_known_parent(const PoolFile *file, TreeKey key, PoolRead *read)
{
	const KnownParent *known = known_parent_entry(file, key);

	return known->frame != NULL && known->low <= key && key < known->high &&
		RelFileNodeEquals(known->node, file->node) && known->backend == file->backend &&
		pool_read_again(known->frame, known->version, read);
}

static void
learn_parent(const PoolFile *file, TreeKey key, const KnownParent *parent)
{
	KnownParent *known = known_parent_entry(file, key);

	*known = *parent;
	known->node = file->node;
	known->backend = file->backend;
}

/* step_down to a leaf, remembering where we came from. */
static Descent
step_to_leaf(const PoolFile *file, TreeKey key, int attempt, PoolRing *ring, PoolRead *read,
			 BlockNumber *block)
{
	PageTrailer trailer = page_trailer(read->page);
	KnownParent parent;
	Descent		result;

	parent.frame = read->latched ? NULL : read->frame;
	parent.version = read->version;
	parent.low = trailer->low_fence;
	parent.high = trailer->high_fence;
	result = step_down(file, key, attempt, ring, read, block);
	if (result == DESCENT_FOUND && parent.frame != NULL)
		learn_parent(file, key, &parent);
	return result;
}

/* Begins at the root; returns its level. */
static int
read_root(const PoolFile *file, int attempt, PoolRead *read)
{
	pool_read_begin(file, ROWAN_ROOT_BLOCK, attempt, NULL, read);
	return ((volatile PageTrailerData *) page_trailer(read->page))->level;
}

static Descent
descend(const PoolFile *file, TreeKey key, int level, int attempt, PoolRing *ring,
		PoolRead *read, BlockNumber *block)
{
	bool		known = level == 0 && attempt == 0 && read_known_parent(file, key, read);
	int			at = known ? 1 : read_root(file, attempt, read);

	Assert(key < TREE_KEY_MAX);
	*block = known ? pool_block(read->frame) : ROWAN_ROOT_BLOCK;
	if (at < level)
		return pool_read_end(read) ? DESCENT_TOO_LOW : DESCENT_RETRY;
	for (;;)
	{
		Descent		result;

		if (!page_covers(read->page, at, key))
			return give_up(file, *block, read, "page is not the one its parent says");
		if (at == level)
			break;
		if (at == 1 && !known)
			result = step_to_leaf(file, key, attempt, ring, read, block);
		else
			result = step_down(file, key, attempt, at == 1 ? ring : NULL, read, block);
		if (result != DESCENT_FOUND)
			return result;
		at--;
	}
	if (pool_read_valid(read))
		return DESCENT_FOUND;
	pool_read_end(read);
	return DESCENT_RETRY;
}

/* Descends until it succeeds; false if the tree is too low. */
static bool
descend_persistently(const PoolFile *file, TreeKey key, int level, int attempt, PoolRing *ring,
					 PoolRead *read, BlockNumber *block)
{
	for (;; attempt++)
	{
		Descent		result = descend(file, key, level, attempt, ring, read, block);

		if (result != DESCENT_RETRY)
			return result == DESCENT_FOUND;
		CHECK_FOR_INTERRUPTS();
	}
}

void
tree_read_leaf(const PoolFile *file, TreeKey key, int attempt, PoolRing *ring, PoolRead *read)
{
	BlockNumber block;

	descend_persistently(file, key, 0, attempt, ring, read, &block);
}

bool
tree_copy_page(const PoolFile *file, TreeKey key, int level, PoolRing *ring, char *dest)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		BlockNumber block;

		if (!descend_persistently(file, key, level, attempt, ring, &read, &block))
			return false;
		memcpy(dest, read.page, BLCKSZ);
		if (pool_read_end(&read))
			return true;
		CHECK_FOR_INTERRUPTS();
	}
}

/* Copies the block if it is the leaf that covers key. */
static bool
copy_hinted_leaf(const PoolFile *file, TreeKey key, BlockNumber hint_block, PoolRing *ring,
				 char *dest)
{
	PoolRead	read;

	if (hint_block == InvalidBlockNumber || !space_has_block(file, hint_block))
		return false;
	pool_read_begin(file, hint_block, 0, ring, &read);
	memcpy(dest, read.page, BLCKSZ);
	return pool_read_end(&read) && page_covers((Page) dest, 0, key);
}

void
tree_copy_leaf(const PoolFile *file, TreeKey key, BlockNumber hint_block, PoolRing *ring,
			   char *dest)
{
	if (!copy_hinted_leaf(file, key, hint_block, ring, dest))
		tree_copy_page(file, key, 0, ring, dest);
}

bool
tree_copy_left_leaf(const PoolFile *file, TreeKey low_fence, PoolRing *ring, char *dest)
{
	if (low_fence == TREE_KEY_MIN)
		return false;
	tree_copy_page(file, low_fence - 1, 0, ring, dest);
	return true;
}

PoolFrame *
tree_latch_page(const PoolFile *file, TreeKey key, int level, LWLockMode mode)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		BlockNumber block;
		PoolFrame  *frame;

		if (!descend_persistently(file, key, level, attempt, NULL, &read, &block))
			return NULL;
		pool_read_end(&read);
		frame = pool_latch(file, block, mode);
		if (page_covers(pool_page(frame), level, key))
			return frame;
		pool_unlatch(frame);
		CHECK_FOR_INTERRUPTS();
	}
}

PoolFrame *
tree_latch_leaf(const PoolFile *file, TreeKey key, LWLockMode mode)
{
	return tree_latch_page(file, key, 0, mode);
}

/* New rows go behind those that are there; everything else would loop for ever, or give an id twice. */
static PoolFrame *
checked_last_leaf(const PoolFile *file, PoolFrame *frame)
{
	Page		page = pool_page(frame);
	int			nslots = page_nslots(page);

	if (page_trailer(page)->next_key < page_low_fence(page) ||
		(nslots > 0 && page_trailer(page)->next_key <= leaf_key(page, nslots - 1)))
		tree_corrupted(file, pool_block(frame), "its next row id is not beyond its rows");
	return frame;
}

PoolFrame *
tree_latch_last_leaf(const PoolFile *file, BlockNumber hint_block)
{
	if (hint_block != InvalidBlockNumber && space_has_block(file, hint_block))
	{
		PoolFrame  *frame = pool_latch(file, hint_block, LW_EXCLUSIVE);

		if (page_covers(pool_page(frame), 0, TREE_KEY_MAX - 1))
			return checked_last_leaf(file, frame);
		pool_unlatch(frame);
	}
	return checked_last_leaf(file, tree_latch_page(file, TREE_KEY_MAX - 1, 0, LW_EXCLUSIVE));
}

PoolFrame *
tree_latch_child(const PoolFile *file, Page parent, int pos)
{
	BlockNumber block = inner_child(parent, pos);
	int			level = page_trailer(parent)->level - 1;
	TreeKey		low_fence = inner_key(parent, pos);
	TreeKey		high_fence = pos + 1 < page_nslots(parent) ?
		inner_key(parent, pos + 1) : page_trailer(parent)->high_fence;
	PoolFrame  *frame;
	Page		page;

	if (block == InvalidBlockNumber || block <= ROWAN_ROOT_BLOCK)
		tree_corrupted(file, page_trailer(parent)->self_block, "impossible child");
	frame = pool_latch(file, block, LW_EXCLUSIVE);
	page = pool_page(frame);
	if (!page_covers(page, level, low_fence) ||
		page_trailer(page)->low_fence != low_fence ||
		page_trailer(page)->high_fence != high_fence)
		tree_corrupted(file, block, "page is not the one its parent says");
	return frame;
}
