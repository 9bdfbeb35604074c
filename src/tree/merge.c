/*
 * merge.c
 *	  Merging neighbours, and shrinking the tree.
 *
 * Neighbours under one parent become one page, which keeps the leftmost one's block;
 * the others are freed.  Changes parent, the pages from left to right, file header in one
 * PageChange, latched in that order.  The first child of a parent is never the one that
 * goes, so a parent's low fence never changes and no inner page becomes empty.
 *
 * A page is tried with both neighbours: VACUUM of an index comes from the left, and what is to the
 * right may still be full of dead entries.  An empty leaf goes to the left if it can: then no cell
 * moves.
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "pool/counters.h"
#include "tree/kind.h"
#include "tree/tree.h"

typedef enum MergeResult
{
	MERGE_NOTHING,
	MERGE_DONE,					/* a child is gone, or moved cells */
	MERGE_ONLY_CHILD			/* no neighbour under the same parent */
} MergeResult;

/* ---- merging ---- */

/* In one change: parent, left page, file header, and these. */
#define MERGE_MAX_RIGHT		8

StaticAssertDecl(MERGE_MAX_RIGHT + 3 <= CHANGE_MAX_PAGES, "a merge is one change");

/* Latches a child of the parent if it may go into the left page, too. */
static PoolFrame *
latch_if_mergeable(const TreeSearch *search, Page parent, int slot, Page left, void *plan)
{
	PoolFrame  *frame;

	if (slot >= page_nslots(parent))
		return NULL;
	frame = tree_latch_child(search, parent, slot);
	if (search->kind->may_merge(search, left, pool_page(frame), plan))
		return frame;
	pool_unlatch(frame);
	return NULL;
}

/*
 * The children of a slot and the next one become one, and as many after them as there is room for.
 */
static void
merge_children(const TreeSearch *search, PoolFrame *parent_frame, int slot, PoolFrame *left_frame,
			   PoolFrame *right_frame, void *plan)
{
	PageChange	change;
	Page		parent,
				left;
	BlockNumber freed[MERGE_MAX_RIGHT];
	int			n = 0;

	change_begin(&change, search->file);
	parent = change_page(&change, parent_frame, false);
	left = change_page(&change, left_frame, false);
	do
	{
		search->kind->absorb(search, left, change_page(&change, right_frame, false), plan);
		tree_leaf_moves(search, page_trailer(left)->level, pool_block(right_frame),
						pool_block(left_frame));
		freed[n++] = pool_block(right_frame);
	} while (n < MERGE_MAX_RIGHT &&
			 (right_frame = latch_if_mergeable(search, parent, slot + n + 1, left, plan)) != NULL);
	page_delete_slots(parent, slot + 1, n);

	/* the file header's latch comes after those of all leaves */
	for (int i = 0; i < n; i++)
		space_free(&change, freed[i]);
	FAULT_POINT(merge_before_commit);
	change_commit(&change, InvalidTransactionId);
	count_one(COUNT_MERGES);
	FAULT_POINT(merge_after_commit);
}

/* ---- who with whom ---- */

/*
 * The children of a slot and the next one.  True: changed, and all latches are released; false:
 * that of the parent stays.
 */
static bool
join_pair(const TreeSearch *search, PoolFrame *parent_frame, int slot, void *plan)
{
	const TreeKind *kind = search->kind;
	Page		parent = pool_page(parent_frame);
	PoolFrame  *left = tree_latch_child(search, parent, slot);
	PoolFrame  *right = tree_latch_child(search, parent, slot + 1);

	if (kind->may_merge(search, pool_page(left), pool_page(right), plan))
	{
		merge_children(search, parent_frame, slot, left, right, plan);
		return true;
	}
	if (kind->even_out != NULL && kind->even_out(search, parent_frame, slot, left, right))
		return true;
	pool_unlatch(right);
	pool_unlatch(left);
	return false;
}

/* Empty now; it may change until it is latched, which join_pair finds out. */
static bool
child_is_empty(const TreeSearch *search, Page parent, int slot)
{
	PoolFrame  *frame = tree_latch_child(search, parent, slot);
	bool		empty = page_nslots(pool_page(frame)) <= search->kind->first_slot;

	pool_unlatch(frame);
	return empty;
}

/*
 * Looks at the page of that level that covers what is looked for and its neighbours, the right one
 * first unless it is empty.
 */
static MergeResult
merge_once(const TreeSearch *search, int level, void *plan)
{
	const TreeKind *kind = search->kind;
	PoolFrame  *frame = kind->latch(search, level + 1, LW_EXCLUSIVE);
	Page		parent;
	int			nslots,
				slot;
	bool		has_left,
				has_right,
				left_first;

	if (frame == NULL)
		return MERGE_NOTHING;
	parent = pool_page(frame);
	nslots = page_nslots(parent);
	if (nslots == kind->first_slot + 1)
	{
		pool_unlatch(frame);
		return MERGE_ONLY_CHILD;
	}
	slot = tree_child_slot(search, parent);
	has_left = slot > kind->first_slot;
	has_right = slot + 1 < nslots;
	left_first = has_left && child_is_empty(search, parent, slot);
	if ((left_first && join_pair(search, frame, slot - 1, plan)) ||
		(has_right && join_pair(search, frame, slot, plan)) ||
		(has_left && !left_first && join_pair(search, frame, slot - 1, plan)))
		return MERGE_DONE;
	pool_unlatch(frame);
	return MERGE_NOTHING;
}

/*
 * A parent that has lost a child is looked at in its turn; so is one that has a single child,
 * since that child can have no neighbour otherwise.
 */
static bool
merge_level(const TreeSearch *search, int level, void *plan)
{
	MergeResult result = merge_once(search, level, plan);
	bool		above;

	if (result == MERGE_NOTHING)
		return false;
	CHECK_FOR_INTERRUPTS();
	above = merge_level(search, level + 1, plan);
	if (result == MERGE_ONLY_CHILD && above)
		result = merge_once(search, level, plan);
	return above || result == MERGE_DONE;
}

/* ---- the root ---- */

static inline bool
has_single_child(const TreeKind *kind, Page root)
{
	return page_trailer(root)->level > 0 && page_nslots(root) == kind->first_slot + 1;
}

/*
 * A root with a single child takes over its content.  Changes root, child, file header.
 */
static bool
collapse_root(const TreeSearch *search)
{
	PoolFrame  *root_frame = pool_latch(search->file, ROWAN_ROOT_BLOCK, LW_EXCLUSIVE);
	PoolFrame  *child_frame;
	PageChange	change;
	Page		root,
				child;

	if (!has_single_child(search->kind, pool_page(root_frame)))
	{
		pool_unlatch(root_frame);
		return false;
	}
	child_frame = tree_latch_child(search, pool_page(root_frame), search->kind->first_slot);

	change_begin(&change, search->file);
	root = change_page(&change, root_frame, false);
	child = change_page(&change, child_frame, false);
	page_copy_content(root, child);
	tree_leaf_moves(search, page_trailer(child)->level, pool_block(child_frame), ROWAN_ROOT_BLOCK);
	space_free(&change, pool_block(child_frame));
	FAULT_POINT(root_collapse_before_commit);
	change_commit(&change, InvalidTransactionId);
	count_one(COUNT_ROOT_COLLAPSES);
	FAULT_POINT(root_collapse_after_commit);
	return true;
}

/* Looked at without a latch: collapse_root looks again. */
static bool
root_has_single_child(const TreeSearch *search)
{
	PoolRead	read;
	bool		single;

	pool_read_begin(search->file, ROWAN_ROOT_BLOCK, 0, NULL, &read);
	single = has_single_child(search->kind, read.page);
	return pool_read_end(&read) && single;
}

bool
tree_merge(const TreeSearch *search, void *plan)
{
	bool		changed;

	pool_prepare_write();
	changed = merge_level(search, 0, plan);
	while (root_has_single_child(search) && collapse_root(search))
		changed = true;
	return changed;
}
