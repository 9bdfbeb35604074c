/*
 * entry_seek.c
 *	  Finding pages of an index, latching them, copying leaves.
 *
 * The descent is that of all trees (tree/descent.h).  Here is what it needs to know of index
 * entries.
 *
 * Latches: one page; its right sibling while it is held (itree_latch_right).
 */
#include "postgres.h"

#include "base/compat.h"
#include "entry/entry_tree.h"
#include "pool/file_cache.h"
#include "tree/descent.h"
#include "tree/tree.h"

/* ---- the file ---- */

static void
init_root(Page page, uint32 file_id)
{
	CellSource	low = {.is_separator = true, .child = InvalidBlockNumber};
	CellSource	high = {.is_separator = true, .is_infinite = true, .child = InvalidBlockNumber};

	page_init(page, ROWAN_PAGE_INDEX_LEAF, 0, ROWAN_ROOT_BLOCK, file_id);
	ipage_init(NULL, page, &low, &high, NULL, NULL);
}

void
itree_create(const IndexTree *tree)
{
	tree_create_kind(&tree->file, ROWAN_TREE_INDEX, init_root);
}

void
itree_create_init_fork(const PoolFile *file)
{
	tree_create_init_fork(file, ROWAN_TREE_INDEX, init_root);
}

/* ---- what a descent asks ---- */

static inline bool
is_page_of_level(Page page, int level)
{
	return ipage_is_index(page) && page_trailer(page)->level == level &&
		ipage_is_leaf(page) == (level == 0);
}

/*
 * The fences cannot be read from bytes that may change: descents look at them when they have
 * arrived.
 */
static bool
may_cover(const TreeSearch *search, Page page, int level)
{
	return is_page_of_level(page, level);
}

static bool
entry_covers(const TreeSearch *search, Page page, int level)
{
	const EntrySearch *entry = entry_search(search);
	PageView	view;

	if (!is_page_of_level(page, level))
		return false;
	view_page(&view, entry->tree, page, NULL);
	return ipage_covers(&view, entry->point, entry->before);
}

/*
 * As a block number; InvalidBlockNumber: the page has changed, or the cell is not one of a child.
 */
static BlockNumber
read_child(const PageView *view, int slot)
{
	PGAlignedBlock buffer;
	IndexItem	item;

	return view_item(view, slot, &item, buffer.data) && item.is_separator ? item.child :
		InvalidBlockNumber;
}

static void
entry_find_child(const TreeSearch *search, Page page, PoolRead *read, TreeChild *child)
{
	const EntrySearch *entry = entry_search(search);
	PageView	view;

	view_page(&view, entry->tree, page, read);
	child->slot = ipage_search_child(&view, entry->point, entry->before);
	child->likely_slot = -1;
	if (child->slot >= SLOT_FIRST)
		child->block = read_child(&view, child->slot);
}

static BlockNumber
entry_child_of_slot(const TreeSearch *search, Page parent, int slot)
{
	PageView	view;

	view_page(&view, entry_search(search)->tree, parent, NULL);
	return read_child(&view, slot);
}

/* Cell `a` of one page says what cell `b` of the other one says. */
static bool
says_the_same(const IndexTree *tree, Page page, int a, Page other, int b)
{
	PGAlignedBlock buffers[2];
	IndexItem	items[2];
	PageView	views[2];

	view_page(&views[0], tree, page, NULL);
	view_page(&views[1], tree, other, NULL);
	view_item(&views[0], a, &items[0], buffers[0].data);
	view_item(&views[1], b, &items[1], buffers[1].data);
	return key_same_point(&items[0], &items[1]);
}

/* The first child begins where the parent does, whatever its cell says. */
static bool
entry_is_child(const TreeSearch *search, Page parent, int slot, Page page)
{
	const IndexTree *tree = entry_search(search)->tree;
	int			low = slot > SLOT_FIRST ? slot : SLOT_LOW_FENCE;
	int			high = slot + 1 < page_nslots(parent) ? slot + 1 : SLOT_HIGH_FENCE;

	return is_page_of_level(page, page_trailer(parent)->level - 1) &&
		says_the_same(tree, parent, low, page, SLOT_LOW_FENCE) &&
		says_the_same(tree, parent, high, page, SLOT_HIGH_FENCE);
}

static void
leaf_moves(const TreeSearch *search, BlockNumber from, BlockNumber to)
{
	const IndexTree *tree = entry_search(search)->tree;

	if (tree->leaf_moves != NULL)
		tree->leaf_moves(tree->owner, from, to);
}

static PoolFrame *
entry_latch(const TreeSearch *search, int level, LWLockMode mode)
{
	return itree_latch_page(entry_search(search)->tree, entry_search(search)->point, level, mode);
}

static const TreeKind entry_kind = {
	.leaf_type = ROWAN_PAGE_INDEX_LEAF,
	.inner_type = ROWAN_PAGE_INDEX_INNER,
	.first_slot = SLOT_FIRST,
	.may_cover = may_cover,
	.covers = entry_covers,
	.find_child = entry_find_child,
	.latch = entry_latch,
	.child_of_slot = entry_child_of_slot,
	.is_child = entry_is_child,
	.leaf_has_room = entry_leaf_has_room,
	.plan_split = entry_plan_split,
	.divide = entry_divide,
	.add_child = entry_add_child,
	.fill_root = entry_fill_root,
	.set_child = cell_set_child,
	.may_merge = entry_may_merge,
	.absorb = entry_absorb,
	.leaf_moves = leaf_moves
};

void
entry_search_init(EntrySearch *search, const IndexTree *tree, const KeyPoint *point, bool before)
{
	search->search.kind = &entry_kind;
	search->search.file = &tree->file;
	search->tree = tree;
	search->point = point;
	search->before = before;
}

/* ---- leaves ---- */

static void
find_leaf(const IndexTree *tree, const KeyPoint *point, bool before, int attempt, PoolRead *read,
		  BlockNumber *block)
{
	EntrySearch search;

	entry_search_init(&search, tree, point, before);
	descent_to(&search.search, &entry_kind, 0, attempt, NULL, read, block);
}

void
itree_read_leaf(const IndexTree *tree, const KeyPoint *point, bool before, int attempt,
				PoolRead *read)
{
	BlockNumber block;

	find_leaf(tree, point, before, attempt, read, &block);
}

static bool
leaf_covers(const IndexTree *tree, const KeyPoint *point, bool before, Page page)
{
	EntrySearch search;

	entry_search_init(&search, tree, point, before);
	return entry_covers(&search.search, page, 0);
}

/* The block, if it is the leaf. */
static bool
copy_hinted(const IndexTree *tree, const KeyPoint *point, bool before, BlockNumber hint,
			char *dest, PoolFrame **frame, uint64 *version)
{
	PoolRead	read;

	if (!BlockNumberIsValid(hint) || !space_has_block(&tree->file, hint))
		return false;
	pool_read_begin(&tree->file, hint, 0, NULL, &read);
	memcpy(dest, read.page, BLCKSZ);
	*frame = read.frame;
	*version = read.version;
	return pool_read_end(&read) && leaf_covers(tree, point, before, (Page) dest);
}

void
itree_copy_leaf(const IndexTree *tree, const KeyPoint *point, bool before, BlockNumber hint,
				char *dest, PoolFrame **frame, uint64 *version)
{
	if (copy_hinted(tree, point, before, hint, dest, frame, version))
		return;
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;

		itree_read_leaf(tree, point, before, attempt, &read);
		memcpy(dest, read.page, BLCKSZ);
		*frame = read.frame;
		*version = read.latched ? 0 : read.version;
		if (pool_read_end(&read) && leaf_covers(tree, point, before, (Page) dest))
			return;
		CHECK_FOR_INTERRUPTS();
	}
}

void
itree_copy_leaf_latched(const IndexTree *tree, const KeyPoint *point, bool before, LeafNote note,
						void *arg, char *dest, PoolFrame **frame, uint64 *version)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		BlockNumber block;
		bool		is_target;

		find_leaf(tree, point, before, attempt, &read, &block);
		pool_read_end(&read);
		*frame = pool_latch(&tree->file, block, LW_SHARED);
		*version = pg_atomic_read_u64(&(*frame)->version);
		memcpy(dest, pool_page(*frame), BLCKSZ);
		is_target = leaf_covers(tree, point, before, (Page) dest);
		if (is_target)
			note(arg, block);
		pool_unlatch(*frame);
		if (is_target)
			return;
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- a few entries of a leaf ---- */

/* So many are copied by themselves. */
#define FEW_ENTRIES		8
#define FEW_BYTES		512		/* of each of them, besides its tuple */

typedef enum Few
{
	FEW_RETRY,
	FEW_FOUND,
	FEW_NOT						/* more than a few, or they go on beyond the leaf */
} Few;

/*
 * Optimistic.  The leaf's own entries prove that it covers the point, unless there is none on one
 * side of it.
 */
static Few
fences_hold(const PageView *view, const KeyPoint *start, const KeyPoint *end)
{
	PGAlignedBlock buffer;
	IndexItem	fence;

	if (!view_item(view, SLOT_LOW_FENCE, &fence, buffer.data) ||
		key_compare(view->keys, start, &fence) < 0 ||
		!view_item(view, SLOT_HIGH_FENCE, &fence, buffer.data))
		return FEW_RETRY;
	if (fence.is_infinite)
		return FEW_FOUND;
	if (key_compare(view->keys, start, &fence) >= 0)
		return FEW_RETRY;
	return key_compare(view->keys, end, &fence) <= 0 ? FEW_FOUND : FEW_NOT;
}

/* The slots of the entries from start to end. */
static Few
find_few(const PageView *view, const KeyPoint *start, const KeyPoint *end, int *first, int *last)
{
	int			nslots = page_nslots(view->page);

	*first = ipage_search(view, start);
	if (*first == SEARCH_RETRY)
		return FEW_RETRY;
	for (*last = *first; *last < nslots; (*last)++)
	{
		PGAlignedBlock buffer;
		IndexItem	item;

		if (*last - *first == FEW_ENTRIES)
			return FEW_NOT;
		if (ipage_head_is_beyond(view, end, *last))
			break;
		if (!view_item(view, *last, &item, buffer.data))
			return FEW_RETRY;
		if (item.posting_size > FEW_BYTES)
			return FEW_NOT;
		if (key_compare_first(view->keys, end, &item, NULL) <= 0)
			break;
	}
	if (*first > SLOT_FIRST && *last < nslots && index_head_skip(page_trailer(view->page)) == 0)
		return FEW_FOUND;
	return fences_hold(view, start, end);
}

static bool
copy_fence_cell(Page dest, Page page, int pos)
{
	uint16		size;
	const char *cell = page_cell(page, pos, &size);
	Size		offset;

	if (cell == NULL)
		return false;
	offset = cell - (const char *) page;
	page_slots(dest)[pos].offset = offset;
	memcpy((char *) dest + offset, cell, size);
	return true;
}

/*
 * Copies header, trailer, low fence and these entries to where they are on the page; false: bytes
 * make no sense.
 */
static bool
copy_part(Page dest, Page page, int first, int last)
{
	memcpy(dest, page, ROWAN_PAGE_BODY);
	memcpy(page_trailer(dest), page_trailer(page), sizeof(PageTrailerData));
	if (!copy_fence_cell(dest, page, SLOT_LOW_FENCE))
		return false;
	for (int pos = first; pos < last; pos++)
		if (!copy_fence_cell(dest, page, pos))
			return false;
	return true;
}

static Few
copy_some(const IndexTree *tree, const KeyPoint *start, const KeyPoint *end, PoolRead *read,
		  char *dest, int *first, int *last)
{
	PageView	view;
	Few			result;

	view_page(&view, tree, read->page, read);
	result = find_few(&view, start, end, first, last);
	if (result == FEW_FOUND && copy_part((Page) dest, read->page, *first, *last))
		return FEW_FOUND;
	memcpy(dest, read->page, BLCKSZ);
	return result == FEW_RETRY ? FEW_RETRY : FEW_NOT;
}

/*
 * For a scan from start to end.  True: all its entries are on one leaf, and are few; the copy has
 * no more than them, in [first, last), and the low fence.  False: the copy is the whole leaf that
 * start is on.
 */
bool
itree_copy_few(const IndexTree *tree, const KeyPoint *start, const KeyPoint *end, char *dest,
			   PoolFrame **frame, uint64 *version, int *first, int *last)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		Few			result;

		itree_read_leaf(tree, start, false, attempt, &read);
		result = copy_some(tree, start, end, &read, dest, first, last);
		*frame = read.frame;
		*version = read.latched ? 0 : read.version;
		if (pool_read_end(&read) &&
			(result == FEW_FOUND ||
			 (result == FEW_NOT && leaf_covers(tree, start, false, (Page) dest))))
			return result == FEW_FOUND;
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- latching ---- */

/* Where this backend found the last leaf of an index. */
typedef struct KnownLastLeaf
{
	FileKey		key;
	BlockNumber block;			/* 0: not there any more */
} KnownLastLeaf;

FILE_CACHE(last_leaves, KnownLastLeaf, 16);

/*
 * Entries that come in order all go to the last leaf: if that is where it was, no descent is
 * needed.  The fences decide, as always: a page that was freed meanwhile, or is not the last one
 * any more, has others.
 */
static PoolFrame *
latch_last_leaf(const IndexTree *tree, const KeyPoint *point)
{
	KnownLastLeaf *known = file_cache_find(&last_leaves, &tree->file, 0);
	PoolFrame  *frame;

	if (known == NULL || known->block == 0 ||
		!space_has_block(&tree->file, known->block))
		return NULL;
	frame = pool_latch(&tree->file, known->block, LW_EXCLUSIVE);
	if (leaf_covers(tree, point, false, pool_page(frame)))
		return frame;
	pool_unlatch(frame);
	known->block = 0;
	return NULL;
}

static void
note_last_leaf(const IndexTree *tree, const PoolFrame *frame)
{
	KnownLastLeaf *known = file_cache_make(&last_leaves, &tree->file, 0);

	known->block = pool_block(frame);
}

static PoolFrame *
descend_and_latch(const IndexTree *tree, const KeyPoint *point, int level, LWLockMode mode)
{
	EntrySearch search;

	entry_search_init(&search, tree, point, false);
	return descent_latch(&search.search, &entry_kind, level, mode);
}

PoolFrame *
itree_latch_page(const IndexTree *tree, const KeyPoint *point, int level, LWLockMode mode)
{
	PoolFrame  *frame;

	if (level > 0 || mode != LW_EXCLUSIVE)
		return descend_and_latch(tree, point, level, mode);
	frame = latch_last_leaf(tree, point);
	if (frame == NULL)
		frame = descend_and_latch(tree, point, level, mode);
	if (!BlockNumberIsValid(page_trailer(pool_page(frame))->right_block))
		note_last_leaf(tree, frame);
	return frame;
}

PoolFrame *
itree_latch_right(const IndexTree *tree, PoolFrame *frame, LWLockMode mode)
{
	Page		page = pool_page(frame);
	BlockNumber block = page_trailer(page)->right_block;
	PoolFrame  *right;

	if (!BlockNumberIsValid(block))
		return NULL;
	right = pool_latch(&tree->file, block, mode);
	if (!is_page_of_level(pool_page(right), page_trailer(page)->level))
		tree_corrupted(&tree->file, block, "right sibling is no page of that level");
	return right;
}

int
itree_height(const IndexTree *tree)
{
	int			level;
	PoolRead	read;

	for (int attempt = 0;; attempt++)
	{
		pool_read_begin(&tree->file, ROWAN_ROOT_BLOCK, attempt, NULL, &read);
		level = page_trailer(read.page)->level;
		if (pool_read_end(&read))
			return level;
		CHECK_FOR_INTERRUPTS();
	}
}
