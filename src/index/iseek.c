/*
 * iseek.c
 *	  Finding pages of an index: optimistic descent, latching, copying leaves.
 *
 * As tree/seek.c: a descent holds no latch (after many failed attempts: parent, then child, shared),
 * and checks the parent again once it has the child's version.  Whoever latches what a descent
 * found looks at its fences.
 *
 * Latches: one page; its right sibling while it is held (itree_latch_right).
 */
#include "postgres.h"

#include "base/compat.h"
#include "index/index.h"
#include "miscadmin.h"
#include "tree/descend.h"
#include "tree/tree.h"

typedef enum Step
{
	STEP_DONE,
	STEP_RETRY,
	STEP_TOO_LOW
} Step;

/* ---- the file ---- */

static void
init_root(Page page, uint32 file_id)
{
	CellSource	low = {.is_separator = true,.child = InvalidBlockNumber};
	CellSource	high = {.is_separator = true,.is_infinite = true,.child = InvalidBlockNumber};

	page_init(page, ROWAN_PAGE_INDEX_LEAF, 0, ROWAN_ROOT_BLOCK, file_id);
	ipage_init(NULL, page, &low, &high, NULL, NULL);
}

void
itree_create(const IndexTree *tree)
{
	tree_create_kind(&tree->file, ROWAN_TREE_INDEX, init_root);
}

/* ---- descent ---- */

static Step
retry(PoolRead *read)
{
	pool_read_end(read);
	return STEP_RETRY;
}

/* Bytes that make no sense: if they were stable, the index is damaged. */
static Step
nonsense(const IndexTree *tree, BlockNumber block, PoolRead *read, const char *message)
{
	bool		latched = read->latched;

	pool_read_end(read);
	if (latched)
		tree_corrupted(&tree->file, block, message);
	return STEP_RETRY;
}

static inline bool
is_page_of_level(Page page, int level)
{
	return ipage_is_index(page) && page_trailer(page)->level == level &&
		ipage_is_leaf(page) == (level == 0);
}

/* Goes from an inner page to its child. */
static Step
step_down(const IndexTree *tree, const KeyPoint *point, bool before, int attempt, PoolRead *read,
		  BlockNumber *block)
{
	PGAlignedBlock buffer;
	PageView	view;
	IndexItem	item;
	PoolRead	child;
	int			pos;

	view_page(&view, tree, read->page, read);
	pos = ipage_search_child(&view, point, before);
	if (pos < SLOT_FIRST)
		return nonsense(tree, *block, read, "inner page is empty");
	if (!view_item(&view, pos, &item, buffer.data))
		return retry(read);
	if (!item.is_separator || item.child <= ROWAN_ROOT_BLOCK || !BlockNumberIsValid(item.child))
		tree_corrupted(&tree->file, *block, "impossible child");
	pool_read_begin(&tree->file, item.child, attempt, NULL, &child);
	if (!pool_read_end(read))
	{
		pool_read_end(&child);
		return STEP_RETRY;
	}
	*read = child;
	*block = item.child;
	return STEP_DONE;
}

/*
 * The page that a descent has come to.  Whoever uses it looks at its fences, and descends again if they do
 * not cover the point; without end if the parent is wrong about its child, were it not found here.
 */
static Step
check_target(const IndexTree *tree, const KeyPoint *point, bool before, PoolRead *read,
			 BlockNumber block)
{
	PageView	view;

	if (!read->latched)
		return pool_read_valid(read) ? STEP_DONE : retry(read);
	view_page(&view, tree, read->page, NULL);
	if (!ipage_covers(&view, point, before))
		return nonsense(tree, block, read, "index page is not the one its parent says");
	return STEP_DONE;
}

static Step
descend(const IndexTree *tree, const KeyPoint *point, bool before, int level, int attempt,
		PoolRead *read, BlockNumber *block)
{
	int			at;

	*block = ROWAN_ROOT_BLOCK;
	pool_read_begin(&tree->file, ROWAN_ROOT_BLOCK, attempt, NULL, read);
	at = ((volatile PageTrailerData *) page_trailer(read->page))->level;
	if (at < level)
		return pool_read_end(read) ? STEP_TOO_LOW : STEP_RETRY;
	for (;; at--)
	{
		Step		step;

		if (!is_page_of_level(read->page, at))
			return nonsense(tree, *block, read, "not the index page that it should be");
		if (at == level)
			break;
		step = step_down(tree, point, before, attempt, read, block);
		if (step != STEP_DONE)
			return step;
	}
	return check_target(tree, point, before, read, *block);
}

/* False: the tree is not that high. */
static bool
descend_persistently(const IndexTree *tree, const KeyPoint *point, bool before, int level,
					 int attempt, PoolRead *read, BlockNumber *block)
{
	for (;; attempt++)
	{
		Step		step = descend(tree, point, before, level, attempt, read, block);

		if (step != STEP_RETRY)
			return step == STEP_DONE;
		CHECK_FOR_INTERRUPTS();
	}
}

void
itree_read_leaf(const IndexTree *tree, const KeyPoint *point, bool before, int attempt,
				PoolRead *read)
{
	BlockNumber block;

	descend_persistently(tree, point, before, 0, attempt, read, &block);
}

static bool
copy_covers(const IndexTree *tree, const KeyPoint *point, bool before, char *copy)
{
	PageView	view;

	view_page(&view, tree, (Page) copy, NULL);
	return ipage_covers(&view, point, before);
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
	if (!pool_read_end(&read) || !is_page_of_level((Page) dest, 0))
		return false;
	return copy_covers(tree, point, before, dest);
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
		if (pool_read_end(&read) && copy_covers(tree, point, before, dest))
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

		descend_persistently(tree, point, before, 0, attempt, &read, &block);
		pool_read_end(&read);
		*frame = pool_latch(&tree->file, block, LW_SHARED);
		*version = pg_atomic_read_u64(&(*frame)->version);
		memcpy(dest, pool_page(*frame), BLCKSZ);
		is_target = is_page_of_level((Page) dest, 0) && copy_covers(tree, point, before, dest);
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

/* Optimistic.  The leaf's own entries prove that it covers the point, unless there is none on one side of it. */
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
copy_cell(Page dest, Page page, int pos)
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

/* Copies header, trailer, low fence and these entries to where they are on the page; false: bytes make no sense. */
static bool
copy_part(Page dest, Page page, int first, int last)
{
	memcpy(dest, page, ROWAN_PAGE_BODY);
	memcpy(page_trailer(dest), page_trailer(page), sizeof(PageTrailerData));
	if (!copy_cell(dest, page, SLOT_LOW_FENCE))
		return false;
	for (int pos = first; pos < last; pos++)
		if (!copy_cell(dest, page, pos))
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
 * For a scan from start to end.  True: all its entries are on one leaf, and are few; the copy has no more than them, in
 * [first, last), and the low fence.  False: the copy is the whole leaf that start is on.
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
			(result == FEW_FOUND || (result == FEW_NOT && copy_covers(tree, start, false, dest))))
			return result == FEW_FOUND;
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- latching ---- */

static bool
latched_covers(const IndexTree *tree, const KeyPoint *point, int level, PoolFrame *frame)
{
	PageView	view;

	if (!is_page_of_level(pool_page(frame), level))
		return false;
	view_page(&view, tree, pool_page(frame), NULL);
	return ipage_covers(&view, point, false);
}

/* Where this backend found the last leaf of an index. */
#define KNOWN_LAST_LEAVES	16

typedef struct KnownLastLeaf
{
	RelFileNode node;
	BackendId	backend;
	BlockNumber block;			/* 0: nothing known */
} KnownLastLeaf;

static KnownLastLeaf last_leaves[KNOWN_LAST_LEAVES];

static inline KnownLastLeaf *
last_leaf_of(const IndexTree *tree)
{
	return &last_leaves[node_relation(tree->file.node) % KNOWN_LAST_LEAVES];
}

/*
 * Entries that come in order all go to the last leaf: if that is where it was, no descent is needed.  The fences decide, as
 * always: a page that was freed meanwhile, or is not the last one any more, has others.
 */
static PoolFrame *
latch_last_leaf(const IndexTree *tree, const KeyPoint *point)
{
	KnownLastLeaf *known = last_leaf_of(tree);
	PoolFrame  *frame;

	if (known->block == 0 || known->backend != tree->file.backend ||
		!RelFileNodeEquals(known->node, tree->file.node) ||
		!space_has_block(&tree->file, known->block))
		return NULL;
	frame = pool_latch(&tree->file, known->block, LW_EXCLUSIVE);
	if (latched_covers(tree, point, 0, frame))
		return frame;
	pool_unlatch(frame);
	known->block = 0;
	return NULL;
}

static void
note_last_leaf(const IndexTree *tree, const PoolFrame *frame)
{
	KnownLastLeaf *known = last_leaf_of(tree);

	known->node = tree->file.node;
	known->backend = tree->file.backend;
	known->block = pool_block(frame);
}

static PoolFrame *
descend_and_latch(const IndexTree *tree, const KeyPoint *point, int level, LWLockMode mode)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		BlockNumber block;
		PoolFrame  *frame;

		if (!descend_persistently(tree, point, false, level, attempt, &read, &block))
			return NULL;
		pool_read_end(&read);
		frame = pool_latch(&tree->file, block, mode);
		if (latched_covers(tree, point, level, frame))
			return frame;
		pool_unlatch(frame);
		CHECK_FOR_INTERRUPTS();
	}
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
itree_latch_child(const IndexTree *tree, Page parent, int pos)
{
	PGAlignedBlock buffer;
	PageView	view;
	IndexItem	item;
	PoolFrame  *frame;

	view_page(&view, tree, parent, NULL);
	view_item(&view, pos, &item, buffer.data);
	if (!item.is_separator || item.child <= ROWAN_ROOT_BLOCK || !BlockNumberIsValid(item.child))
		tree_corrupted(&tree->file, page_trailer(parent)->self_block, "impossible child");
	frame = pool_latch(&tree->file, item.child, LW_EXCLUSIVE);
	if (!is_page_of_level(pool_page(frame), page_trailer(parent)->level - 1))
		tree_corrupted(&tree->file, item.child, "page is not the one its parent says");
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
