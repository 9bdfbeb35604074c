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

/* Adds the right page's items to dest.  An inner page's first child gets the low fence as its key again. */
static bool
append_items(const PageView *right, Page dest)
{
	PGAlignedBlock buffer,
				fence_buffer;

	for (int pos = SLOT_FIRST; pos < page_nslots(right->page); pos++)
	{
		ItemPointerData *tids;
		IndexItem	item;
		CellSource	source;
		bool		fits;

		view_item(right, pos, &item, buffer.data);
		if (item.is_separator && pos == SLOT_FIRST)
		{
			BlockNumber child = item.child;

			view_item(right, SLOT_LOW_FENCE, &item, fence_buffer.data);
			item.child = child;
		}
		tids = palloc(sizeof(ItemPointerData) * Max(item.ntids, 1));
		item_source(&item, &source, tids);
		fits = ipage_insert(right->keys, dest, page_nslots(dest), &source);
		pfree(tids);
		if (!fits)
			return false;
	}
	return true;
}

/* Builds the page that both would become; false: too large. */
static bool
build_merged(const IndexTree *tree, Page left, Page right, Page dest)
{
	PageView	view;
	PGAlignedBlock buffer;
	IndexItem	fence;
	CellSource	high;
	ItemPointerData tid;

	if (page_nslots(left) + page_nslots(right) > 2 * SLOT_FIRST &&
		page_packed_bytes(left) + page_packed_bytes(right) >
		(int) (MERGE_MAX_BYTES + ROWAN_PAGE_ROOM / 8))
		return false;
	memcpy(dest, left, BLCKSZ);
	view_page(&view, tree, right, NULL);
	view_item(&view, SLOT_HIGH_FENCE, &fence, buffer.data);
	item_source(&fence, &high, &tid);
	if (!ipage_replace(tree->keys, dest, SLOT_HIGH_FENCE, &high) || !append_items(&view, dest))
		return false;
	page_trailer(dest)->right_block = page_trailer(right)->right_block;
	return page_nslots(left) <= SLOT_FIRST || page_nslots(right) <= SLOT_FIRST ||
		page_packed_bytes(dest) <= (int) MERGE_MAX_BYTES;
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
