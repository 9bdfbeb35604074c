/*
 * imerge.c
 *	  Merging index pages with their right neighbours, shrinking the tree.
 *
 * As tree/merge.c: two neighbours under one parent become one page, which keeps the left one's block, in one
 * PageChange (parent, left, right, file header).  The first child of a parent is never the one that goes.
 * The right page's cells are written anew against the left one's low fence.
 */
#include "postgres.h"

#include "base/fault.h"
#include "index/index.h"
#include "miscadmin.h"
#include "tree/descend.h"
#include "tree/tree.h"
#include "utils/memutils.h"

/* A merged page has some room left, or it would soon be split again. */
#define MERGE_MAX_BYTES		(ROWAN_PAGE_ROOM - ROWAN_PAGE_ROOM / 5)

typedef enum MergeResult
{
	MERGE_NOTHING,
	MERGE_DONE,
	MERGE_ONLY_CHILD
} MergeResult;

/* Adds a page's items to dest.  The first child of a right page gets the low fence as its key again. */
static bool
append_items(const PageView *view, bool is_right, Page dest)
{
	PGAlignedBlock buffer,
				fence_buffer;

	for (int pos = SLOT_FIRST; pos < page_nslots(view->page); pos++)
	{
		ItemPointerData tid;
		IndexItem	item;
		CellSource	source;

		view_item(view, pos, &item, buffer.data);
		if (item.is_separator && is_right && pos == SLOT_FIRST)
		{
			BlockNumber child = item.child;

			view_item(view, SLOT_LOW_FENCE, &item, fence_buffer.data);
			item.child = child;
		}
		item_source_same(&item, &source, &tid);
		if (!ipage_insert(view->keys, dest, page_nslots(dest), &source))
			return false;
	}
	return true;
}

/* A fence as a source; the tuple and the TID go to the buffers. */
static void
read_fence(const PageView *view, int slot, CellSource *source, char *buffer, ItemPointerData *tid)
{
	IndexItem	item;

	view_item(view, slot, &item, buffer);
	item_source(&item, source, tid);
}

/* The tuple of the page's first or last item that has a key, or NULL. */
static IndexTuple
key_at_end(const PageView *view, bool last, char *buffer)
{
	int			pos = last ? page_nslots(view->page) - 1 :
		SLOT_FIRST + (ipage_is_leaf(view->page) ? 0 : 1);
	IndexItem	item;

	if (pos < SLOT_FIRST || pos >= page_nslots(view->page))
		return NULL;
	view_item(view, pos, &item, buffer);
	return item.natts > 0 ? item.tuple : NULL;
}

/*
 * Nothing, or a single child: such pages are merged whenever that fits.  With fences of a third of a page
 * no two inner pages would ever have room to spare, and an empty tree would keep its height.
 */
static bool
is_bare(Page page)
{
	return page_nslots(page) <= SLOT_FIRST + (ipage_is_leaf(page) ? 0 : 1);
}

/*
 * Builds the page that both would become; false: too large.  Heads are chosen anew: the range is wider.
 */
static bool
build_merged(const IndexTree *tree, Page left_page, Page right_page, Page dest)
{
	PGAlignedBlock buffers[4];
	ItemPointerData tids[2];
	CellSource	low,
				high;
	PageView	left,
				right;
	IndexTuple	first,
				last;
	bool		one_is_bare = is_bare(left_page) || is_bare(right_page);

	if (!one_is_bare && page_packed_bytes(left_page) + page_packed_bytes(right_page) >
		(int) (MERGE_MAX_BYTES + ROWAN_PAGE_ROOM / 8))
		return false;
	view_page(&left, tree, left_page, NULL);
	view_page(&right, tree, right_page, NULL);
	read_fence(&left, SLOT_LOW_FENCE, &low, buffers[0].data, &tids[0]);
	read_fence(&right, SLOT_HIGH_FENCE, &high, buffers[1].data, &tids[1]);
	first = key_at_end(&left, false, buffers[2].data);
	if (first == NULL)
		first = key_at_end(&right, false, buffers[2].data);
	last = key_at_end(&right, true, buffers[3].data);
	if (last == NULL)
		last = key_at_end(&left, true, buffers[3].data);

	page_init(dest, page_trailer(left_page)->type, page_trailer(left_page)->level,
			  page_trailer(left_page)->self_block, page_trailer(left_page)->file_id);
	ipage_init(tree->keys, dest, &low, &high, first, last);
	page_trailer(dest)->right_block = page_trailer(right_page)->right_block;
	if (!append_items(&left, false, dest) || !append_items(&right, true, dest))
		return false;
	return one_is_bare || page_packed_bytes(dest) <= (int) MERGE_MAX_BYTES;
}

/* Children pos and pos + 1; the parent's latch is given away. */
static MergeResult
merge_pair(const IndexTree *tree, PoolFrame *parent_frame, int pos)
{
	PGAlignedBlock merged;
	Page		parent = pool_page(parent_frame);
	PoolFrame  *left = itree_latch_child(tree, parent, pos);
	PoolFrame  *right = itree_latch_child(tree, parent, pos + 1);
	PageChange	change;
	Page		page;

	if (!build_merged(tree, pool_page(left), pool_page(right), (Page) merged.data))
	{
		pool_unlatch(right);
		pool_unlatch(left);
		pool_unlatch(parent_frame);
		return MERGE_NOTHING;
	}
	change_begin(&change, &tree->file);
	parent = change_page(&change, parent_frame, false);
	page = change_page(&change, left, false);
	page_copy_content(page, (Page) merged.data);
	page = change_page(&change, right, false);
	if (ipage_is_leaf(page))
		itree_leaf_moves(tree, pool_block(right), pool_block(left));
	ipage_delete(parent, pos + 1, 1);
	space_free(&change, page_trailer(page)->self_block);
	FAULT_POINT(merge_before_commit);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(merge_after_commit);
	return MERGE_DONE;
}

/* The page of that level that covers the point, with its right neighbour, else with the left one. */
static MergeResult
merge_once(const IndexTree *tree, const KeyPoint *point, int level)
{
	PoolFrame  *frame = itree_latch_page(tree, point, level + 1, LW_EXCLUSIVE);
	PageView	view;
	int			nslots,
				pos;

	if (frame == NULL)
		return MERGE_NOTHING;
	view_page(&view, tree, pool_page(frame), NULL);
	nslots = page_nslots(view.page);
	if (nslots == SLOT_FIRST + 1)
	{
		pool_unlatch(frame);
		return MERGE_ONLY_CHILD;
	}
	pos = ipage_search_child(&view, point, false);
	if (pos == nslots - 1)
		pos--;
	return merge_pair(tree, frame, pos);
}

static bool
merge_level(const IndexTree *tree, const KeyPoint *point, int level)
{
	MergeResult result = merge_once(tree, point, level);
	bool		above;

	if (result == MERGE_NOTHING)
		return false;
	CHECK_FOR_INTERRUPTS();
	above = merge_level(tree, point, level + 1);
	if (result == MERGE_ONLY_CHILD && above)
		result = merge_once(tree, point, level);
	return above || result == MERGE_DONE;
}

/* A root with a single child takes over its content. */
static bool
collapse_root(const IndexTree *tree)
{
	PoolFrame  *root_frame = pool_latch(&tree->file, ROWAN_ROOT_BLOCK, LW_EXCLUSIVE);
	PoolFrame  *child_frame;
	PageChange	change;
	Page		root,
				child;

	if (ipage_is_leaf(pool_page(root_frame)) ||
		page_nslots(pool_page(root_frame)) != SLOT_FIRST + 1)
	{
		pool_unlatch(root_frame);
		return false;
	}
	child_frame = itree_latch_child(tree, pool_page(root_frame), SLOT_FIRST);
	change_begin(&change, &tree->file);
	root = change_page(&change, root_frame, false);
	child = change_page(&change, child_frame, false);
	page_copy_content(root, child);
	if (ipage_is_leaf(child))
		itree_leaf_moves(tree, pool_block(child_frame), ROWAN_ROOT_BLOCK);
	space_free(&change, page_trailer(child)->self_block);
	FAULT_POINT(root_collapse_before_commit);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(root_collapse_after_commit);
	return true;
}

static bool
root_has_single_child(const IndexTree *tree)
{
	PoolRead	read;
	bool		single;

	pool_read_begin(&tree->file, ROWAN_ROOT_BLOCK, 0, NULL, &read);
	single = !ipage_is_leaf(read.page) && page_nslots(read.page) == SLOT_FIRST + 1;
	return pool_read_end(&read) && single;
}

/* Returns true if it changed something.  No latches held on entry or exit. */
bool
itree_merge_leaf(const IndexTree *tree, const KeyPoint *point)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "rowan index merge",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	bool		changed;

	pool_prepare_write();
	changed = merge_level(tree, point, 0);
	while (root_has_single_child(tree) && collapse_root(tree))
		changed = true;
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return changed;
}
