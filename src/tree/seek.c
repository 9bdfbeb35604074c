/*
 * seek.c
 *	  Finding leaves by row id, and latching what was found.
 *
 * The descent is that of all trees (descent.h).  Here is what it needs to know of row ids: the
 * fences in the trailer say at each level whether the page is the right one.
 */
#include "postgres.h"

#include "base/compat.h"
#include "miscadmin.h"
#include "pool/file_cache.h"
#include "tree/descent.h"
#include "tree/idtree.h"

void
tree_corrupted(const PoolFile *file, BlockNumber block, const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("corrupted page in block %u of relation %s: %s", block,
					file_path(file->locator, file->backend), message),
			 errhint("Run rowan.verify() on the table, then restore it from a backup.")));
	pg_unreachable();
}

int
tree_child_slot(const TreeSearch *search, Page parent)
{
	TreeChild	child;

	search->kind->find_child(search, parent, NULL, &child);
	if (child.slot < search->kind->first_slot)
		tree_corrupted(search->file, page_trailer(parent)->self_block, "inner page is empty");
	return child.slot;
}

PoolFrame *
tree_latch_child(const TreeSearch *search, Page parent, int slot)
{
	BlockNumber block = search->kind->child_of_slot(search, parent, slot);
	PoolFrame  *frame;

	if (block == InvalidBlockNumber || block <= ROWAN_ROOT_BLOCK)
		tree_corrupted(search->file, page_trailer(parent)->self_block, "impossible child");
	frame = pool_latch(search->file, block, LW_EXCLUSIVE);
	if (!search->kind->is_child(search, parent, slot, pool_page(frame)))
		tree_corrupted(search->file, block, "page is not the one its parent says");
	return frame;
}

/* ---- what a descent asks ---- */

static inline TreeKey
searched_key(const TreeSearch *search)
{
	return ((const IdSearch *) search)->key;
}

static bool
id_covers(const TreeSearch *search, Page page, int level)
{
	return page_covers(page, level, searched_key(search));
}

static void
id_find_child(const TreeSearch *search, Page page, PoolRead *read, TreeChild *child)
{
	TreeKey		distance;

	child->slot = inner_search(page, searched_key(search));
	if (child->slot < 0)
		return;
	child->block = inner_child(page, child->slot);
	distance = searched_key(search) - inner_key(page, child->slot);
	child->likely_slot = distance < ROWAN_PAGE_ROOM / sizeof(SlotData) ? (int) distance : -1;
}

static BlockNumber
id_child_at(const TreeSearch *search, Page parent, int slot)
{
	return inner_child(parent, slot);
}

static bool
id_is_child(const TreeSearch *search, Page parent, int slot, Page page)
{
	TreeKey		low_fence = inner_key(parent, slot);
	TreeKey		high_fence = slot + 1 < page_nslots(parent) ?
		inner_key(parent, slot + 1) : page_trailer(parent)->high_fence;

	return page_covers(page, page_trailer(parent)->level - 1, low_fence) &&
		page_trailer(page)->low_fence == low_fence && page_trailer(page)->high_fence == high_fence;
}

/* ---- parents of leaves, remembered ---- */

/*
 * Where this backend found the parent of a leaf.  As long as the frame has that version it is that
 * page still, unchanged, and a descent may start there instead of at the root.
 */
#define KNOWN_PARENT_SHIFT	14	/* a parent covers a few times 2^14 rows of usual width */

typedef struct KnownParent
{
	FileKey		key;
	PoolFrame  *frame;
	uint64		version;
	TreeKey		low;
	TreeKey		high;
} KnownParent;

FILE_CACHE(known_parents, KnownParent, 512);

static bool
recall_parent(const TreeSearch *search, PoolRead *read)
{
	TreeKey		key = searched_key(search);
	const KnownParent *known = file_cache_find(&known_parents, search->file,
											   key >> KNOWN_PARENT_SHIFT);

	return known != NULL && known->low <= key && key < known->high &&
		pool_read_again(known->frame, known->version, read);
}

/*
 * If the page has changed meanwhile it has another version, and what is noted here is never
 * believed.
 */
static void
note_parent(const TreeSearch *search, const PoolRead *read)
{
	PageTrailer trailer = page_trailer(read->page);
	KnownParent *known;

	if (read->latched)
		return;
	known = file_cache_make(&known_parents, search->file,
							searched_key(search) >> KNOWN_PARENT_SHIFT);
	known->frame = read->frame;
	known->version = read->version;
	known->low = trailer->low_fence;
	known->high = trailer->high_fence;
}

/* ---- the kind ---- */

static PoolFrame *
id_latch(const TreeSearch *search, int level, LWLockMode mode)
{
	return tree_latch_page(search->file, searched_key(search), level, mode);
}

static const TreeKind id_kind = {
	.leaf_type = ROWAN_PAGE_LEAF,
	.inner_type = ROWAN_PAGE_INNER,
	.first_slot = 0,
	.may_cover = id_covers,
	.covers = id_covers,
	.find_child = id_find_child,
	.recall_parent = recall_parent,
	.note_parent = note_parent,
	.latch = id_latch,
	.child_of_slot = id_child_at,
	.is_child = id_is_child,
	.leaf_has_room = id_leaf_has_room,
	.plan_split = id_plan_split,
	.divide = id_divide,
	.add_child = id_add_child,
	.fill_root = id_fill_root,
	.set_child = inner_set_child,
	.may_merge = id_may_merge,
	.absorb = id_absorb,
	.even_out = id_even_out
};

void
id_search_init(IdSearch *search, const PoolFile *file, TreeKey key)
{
	Assert(key < TREE_KEY_MAX);
	search->search.kind = &id_kind;
	search->search.file = file;
	search->key = key;
}

/* ---- leaves ---- */

/*
 * The leaf that this backend found last in a file: a change of a row reads it, reads it again and
 * latches it.  The last leaf, which also tells planners how many rows there are, is known besides.
 * It is the right one if it covers the key, as after any descent.
 */
typedef struct KnownLeaf
{
	FileKey		key;
	PoolFrame  *frame;
	BlockNumber block;
	TreeKey		low;
	TreeKey		high;
} KnownLeaf;

#define KNOWN_LEAVES	32

FILE_CACHE(known_leaves, KnownLeaf, KNOWN_LEAVES);

/* On the last leaf, whatever rows there are. */
#define LAST_KEY	(TREE_KEY_MAX - 1)

/* Which of the file's two entries: that of its last leaf, or of any. */
static inline uint32
leaf_part(TreeKey key)
{
	return key == LAST_KEY ? KNOWN_LEAVES / 2 : 0;
}

static inline const KnownLeaf *
recall_leaf(const PoolFile *file, TreeKey key)
{
	const KnownLeaf *known = file_cache_find(&known_leaves, file, leaf_part(key));

	return known != NULL && known->low <= key && key < known->high ? known : NULL;
}

/* It may be changing meanwhile: what is noted then is of no use, and does no harm. */
static inline void
remember_leaf(const PoolFile *file, TreeKey key, PoolFrame *frame)
{
	PageTrailer trailer = page_trailer(pool_page(frame));
	KnownLeaf  *known = file_cache_make(&known_leaves, file, leaf_part(key));

	known->frame = frame;
	known->block = pool_block(frame);
	known->low = trailer->low_fence;
	known->high = trailer->high_fence;
}

static inline bool
read_known_leaf(const PoolFile *file, TreeKey key, PoolRead *read)
{
	const KnownLeaf *known = recall_leaf(file, key);

	return known != NULL && pool_read_here(file, known->block, known->frame, read) &&
		page_covers(read->page, 0, key) && pool_read_valid(read);
}

/* NULL: it is not known, or not the right one, or somebody has latched it. */
static inline PoolFrame *
latch_known_leaf(const PoolFile *file, TreeKey key, LWLockMode mode)
{
	const KnownLeaf *known = recall_leaf(file, key);
	PoolFrame  *frame = known == NULL ? NULL :
		pool_latch_here(file, known->block, known->frame, mode);

	if (frame == NULL || page_covers(pool_page(frame), 0, key))
		return frame;
	pool_unlatch(frame);
	return NULL;
}

static bool
find_page(const PoolFile *file, TreeKey key, int level, int attempt, PoolRing *ring, PoolRead *read)
{
	IdSearch	search;
	BlockNumber block;

	id_search_init(&search, file, key);
	return descent_to(&search.search, &id_kind, level, attempt, ring, read, &block);
}

void
tree_read_leaf(const PoolFile *file, TreeKey key, int attempt, PoolRing *ring, PoolRead *read)
{
	if (attempt == 0 && read_known_leaf(file, key, read))
		return;
	find_page(file, key, 0, attempt, ring, read);
	remember_leaf(file, key, read->frame);
}

TreeKey
tree_next_key(const PoolFile *file)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		TreeKey		next;

		tree_read_leaf(file, LAST_KEY, attempt, NULL, &read);
		next = page_next_key(read.page);
		if (pool_read_end(&read))
			return next;
		CHECK_FOR_INTERRUPTS();
	}
}

bool
tree_copy_page(const PoolFile *file, TreeKey key, int level, PoolRing *ring, char *dest)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;

		if (!find_page(file, key, level, attempt, ring, &read))
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
	IdSearch	search;

	id_search_init(&search, file, key);
	return descent_latch(&search.search, &id_kind, level, mode);
}

PoolFrame *
tree_latch_leaf(const PoolFile *file, TreeKey key, LWLockMode mode)
{
	PoolFrame  *frame = latch_known_leaf(file, key, mode);

	if (frame == NULL)
	{
		frame = tree_latch_page(file, key, 0, mode);
		remember_leaf(file, key, frame);
	}
	return frame;
}

/*
 * New rows go behind those that are there; everything else would loop for ever, or give an id
 * twice.
 */
static PoolFrame *
checked_last_leaf(const PoolFile *file, PoolFrame *frame)
{
	Page		page = pool_page(frame);
	int			nslots = page_nslots(page);

	if (page_next_key(page) < page_low_fence(page) ||
		(nslots > 0 && page_next_key(page) <= leaf_last_key(page, nslots - 1)))
		tree_corrupted(file, pool_block(frame), "its next row id is not beyond its rows");
	return frame;
}

/* The page if it is the last leaf; else it is released, and NULL. */
static PoolFrame *
last_leaf_or_none(const PoolFile *file, PoolFrame *frame)
{
	if (page_covers(pool_page(frame), 0, LAST_KEY))
		return checked_last_leaf(file, frame);
	pool_unlatch(frame);
	return NULL;
}

/* Without a look at the file's header: what is in the pool is in the file. */
static PoolFrame *
latch_known_last_leaf(const PoolFile *file)
{
	PoolFrame  *frame = latch_known_leaf(file, LAST_KEY, LW_EXCLUSIVE);

	return frame == NULL ? NULL : checked_last_leaf(file, frame);
}

PoolFrame *
tree_try_last_leaf(const PoolFile *file, BlockNumber block)
{
	PoolFrame  *frame = latch_known_last_leaf(file);

	if (frame != NULL)
		return frame;
	frame = space_has_block(file, block) ? pool_latch_try(file, block) : NULL;
	return frame == NULL ? NULL : last_leaf_or_none(file, frame);
}

PoolFrame *
tree_latch_some_leaf(const PoolFile *file, BlockNumber block, bool try)
{
	PoolFrame  *frame;
	PageTrailer trailer;

	if (!space_has_block(file, block))
		return NULL;
	frame = try ? pool_latch_try(file, block) : pool_latch(file, block, LW_EXCLUSIVE);
	if (frame == NULL)
		return NULL;
	trailer = page_trailer(pool_page(frame));
	if (trailer->magic == ROWAN_MAGIC && trailer->type == ROWAN_PAGE_LEAF)
		return trailer->high_fence == TREE_KEY_MAX ? checked_last_leaf(file, frame) : frame;
	pool_unlatch(frame);
	return NULL;
}

PoolFrame *
tree_latch_last_leaf(const PoolFile *file, BlockNumber hint_block)
{
	PoolFrame  *frame = latch_known_last_leaf(file);

	if (frame != NULL)
		return frame;
	if (hint_block != InvalidBlockNumber && space_has_block(file, hint_block))
		frame = last_leaf_or_none(file, pool_latch(file, hint_block, LW_EXCLUSIVE));
	if (frame == NULL)
		frame = checked_last_leaf(file, tree_latch_page(file, LAST_KEY, 0, LW_EXCLUSIVE));
	remember_leaf(file, LAST_KEY, frame);
	return frame;
}
