/*
 * split.c
 *	  Splitting pages, and growing the root.
 *
 * A split changes parent, page, new page and file header (and the root split:
 * root, two new pages, file header) in one PageChange, latched in that order.  A parent
 * without room is split first, in a change of its own, after which the search starts
 * anew: no latch is ever held while waiting for one higher up.
 *
 * Readers see the tree before or after a split, never in between; between two changes
 * the tree is complete, so there is nothing to repair after a crash.
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "pool/counters.h"
#include "tree/kind.h"
#include "tree/tree.h"

/*
 * Splits a page below a parent that has room for another child.  Changes
 * parent, page, new page, file header.
 */
static void
split_child(const TreeWish *wish, PoolFrame *parent_frame, int slot, PoolFrame *frame)
{
	const TreeKind *kind = wish->search->kind;
	PageChange	change;
	Page		parent,
				left,
				right;
	BlockNumber right_block;

	change_begin(&change, wish->search->file);
	parent = change_page(&change, parent_frame, false);
	left = change_page(&change, frame, false);
	right = space_alloc(&change, page_trailer(left)->type, page_trailer(left)->level,
						&right_block);
	kind->divide(wish, left, right);
	kind->add_child(wish, parent, slot + 1, right_block);
	tree_leaf_moves(wish->search, wish->level, pool_block(frame), right_block);
	FAULT_POINT(split_before_commit);
	change_commit(&change, InvalidTransactionId);
	count_one(COUNT_SPLITS);
	FAULT_POINT(split_after_commit);
}

/*
 * Moves the root's content to two new pages below it.  Changes root, file
 * header, both new pages.
 */
static void
split_root(const TreeWish *wish, PoolFrame *root_frame)
{
	const TreeKind *kind = wish->search->kind;
	PageChange	change;
	Page		root,
				left,
				right;
	BlockNumber left_block,
				right_block;
	uint8		type;

	change_begin(&change, wish->search->file);
	root = change_page(&change, root_frame, false);
	type = page_trailer(root)->type;
	left = space_alloc(&change, type, wish->level, &left_block);
	right = space_alloc(&change, type, wish->level, &right_block);
	page_copy_content(left, root);
	kind->divide(wish, left, right);

	page_reset(root, kind->inner_type, wish->level + 1);
	kind->fill_root(wish, root, left_block, right_block);
	tree_leaf_moves(wish->search, wish->level, ROWAN_ROOT_BLOCK, left_block);
	tree_leaf_moves(wish->search, wish->level, ROWAN_ROOT_BLOCK, right_block);
	FAULT_POINT(root_split_before_commit);
	change_commit(&change, InvalidTransactionId);
	count_one(COUNT_ROOT_SPLITS);
	FAULT_POINT(root_split_after_commit);
}

static bool
is_fulfilled(const TreeWish *wish, Page page)
{
	return wish->level > 0 ? page_fits_insert(page, wish->room, false) :
		wish->search->kind->leaf_has_room(wish, page);
}

/*
 * One attempt at a page that has a parent; false: start again, after
 * making room in the parent for so many bytes.
 */
static bool
fulfil_below(const TreeWish *wish, PoolFrame *parent_frame, int *room)
{
	const TreeSearch *search = wish->search;
	Page		parent = pool_page(parent_frame);
	int			slot = tree_child_slot(search, parent);
	PoolFrame  *frame = tree_latch_child(search, parent, slot);
	bool		fulfilled = is_fulfilled(wish, pool_page(frame));

	if (!fulfilled)
	{
		*room = search->kind->plan_split(wish, pool_page(frame));
		if (page_fits_insert(parent, *room, false))
		{
			split_child(wish, parent_frame, slot, frame);
			return true;
		}
	}
	pool_unlatch(frame);
	pool_unlatch(parent_frame);
	return fulfilled;
}

/* One attempt at a page without a parent; false: it has got one meanwhile. */
static bool
fulfil_at_root(const TreeWish *wish)
{
	const TreeKind *kind = wish->search->kind;
	PoolFrame  *frame = kind->latch(wish->search, wish->level, LW_EXCLUSIVE);
	bool		fulfilled;

	if (frame == NULL)
		return true;			/* the tree has shrunk below this level */
	fulfilled = is_fulfilled(wish, pool_page(frame));
	if (pool_block(frame) == ROWAN_ROOT_BLOCK && !fulfilled)
	{
		(void) kind->plan_split(wish, pool_page(frame));
		split_root(wish, frame);
		return true;
	}
	pool_unlatch(frame);
	return fulfilled;
}

static void
fulfil(const TreeWish *wish)
{
	for (;;)
	{
		PoolFrame  *parent = wish->search->kind->latch(wish->search, wish->level + 1,
													   LW_EXCLUSIVE);

		if (parent == NULL)
		{
			if (fulfil_at_root(wish))
				return;
		}
		else
		{
			TreeWish	above = {.search = wish->search, .level = wish->level + 1,
			.plan = wish->plan};

			if (fulfil_below(wish, parent, &above.room))
				return;
			fulfil(&above);
		}
		CHECK_FOR_INTERRUPTS();
	}
}

void
tree_split(const TreeWish *wish)
{
	pool_prepare_write();
	fulfil(wish);
}
