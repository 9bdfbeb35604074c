/*
 * isplit.c
 *	  Splitting index pages, and growing the root.
 *
 * As tree/split.c: parent, page, new page and file header (root split: root, two new pages, header) in
 * one PageChange, latched in that order; a parent without room is split first, in a
 * change of its own.  Between two changes the tree is complete.
 *
 * The left page keeps its low fence, so its cells and heads stay as they are; the
 * right page's cells are written anew against its own low fence.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/fault.h"
#include "index/index.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "pool/change.h"
#include "tree/descend.h"
#include "tree/tree.h"

typedef struct SplitWish
{
	int			level;
	const KeyPoint *point;
	const CellSource *entry;	/* leaf: to have room for */
	int			room;			/* inner page: bytes of cells to have room for */
	int			fillfactor;
} SplitWish;

/* A split, worked out: slots from pos on go right. */
typedef struct SplitPlan
{
	int			pos;
	CellSource	separator;
	PGAlignedBlock buffer;		/* its tuple */
	ItemPointerData tid;
	PGAlignedBlock left;		/* the two pages; block numbers and links are still to be set */
	PGAlignedBlock right;
} SplitPlan;

/* A separator's cell is never longer than this. */
static int
separator_bytes(const CellSource *separator)
{
	return cell_encode(NULL, separator, NULL);
}

/* ---- the separator ---- */

/* A TID right behind that one. */
static ItemPointerData
next_tid(const ItemPointerData *tid)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);
	ItemPointerData next;

	if (offset < PG_UINT16_MAX)
		ItemPointerSet(&next, block, offset + 1);
	else
		ItemPointerSet(&next, block + 1, 0);
	return next;
}

/*
 * A short point behind last_left (with its last TID) and not behind first_right (with its first): the first
 * columns of first_right up to the one that differs.  If last_left is much smaller, the
 * point right behind that: so a page has room for its high fence if it had, when its last entry came, for one of that
 * entry's size.  tid: room for a TID that the separator may point to.
 */
void
itree_choose_separator(const KeyDesc *keys, IndexTuple last_left, const ItemPointerData *last_tid,
					   IndexTuple first_right, const ItemPointerData *first_tid,
					   CellSource *separator, ItemPointerData *tid)
{
	int			keep;

	(void) key_compare_tuples(keys, last_left, first_right, keys->nkeyatts, &keep);
	memset(separator, 0, sizeof(*separator));
	separator->is_separator = true;
	separator->child = InvalidBlockNumber;
	separator->tids = tid;
	separator->natts = Min(keep, keys->nkeyatts);
	separator->tuple = index_truncate_tuple(keys->desc, first_right, separator->natts);
	separator->has_tid = keep > keys->nkeyatts;
	*tid = *first_tid;
	if (IndexTupleSize(separator->tuple) > IndexTupleSize(last_left) + MAXIMUM_ALIGNOF)
	{
		pfree(separator->tuple);
		separator->tuple = index_truncate_tuple(keys->desc, last_left, keys->nkeyatts);
		separator->natts = keys->nkeyatts;
		separator->has_tid = true;
		*tid = next_tid(last_tid);
	}
}

/* ---- where ---- */

static bool
is_right_edge(const PageView *view)
{
	return !BlockNumberIsValid(page_trailer(view->page)->right_block);
}

/*
 * The slot to begin the right page: both halves alike, or, where entries are added at
 * the right edge, the left one filled to the fillfactor.  new_pos: where the new entry will be.
 */
static int
balanced_slot(const PageView *view, int new_pos, int new_bytes, int fillfactor)
{
	Page		page = view->page;
	int			nslots = page_nslots(page);
	bool		at_end = is_right_edge(view) && new_pos == nslots;
	int			total = new_bytes;
	int			goal;
	int			left = 0;
	int			best = -1;
	int			best_difference = INT_MAX;

	for (int pos = SLOT_FIRST; pos < nslots; pos++)
		total += page_slot_bytes(page, pos);
	goal = at_end ? (int) ROWAN_PAGE_ROOM * fillfactor / 100 : total / 2;
	for (int pos = SLOT_FIRST + 1; pos < nslots; pos++)
	{
		int			difference;

		left += page_slot_bytes(page, pos - 1);
		difference = abs(goal - left - (new_pos <= pos - 1 ? new_bytes : 0));
		if (difference < best_difference)
		{
			best = pos;
			best_difference = difference;
		}
	}
	/* the new entry alone on the right */
	if (at_end && (best < 0 || abs(goal - left - page_slot_bytes(page, nslots - 1)) <= best_difference))
		best = nslots;
	return best;
}

static void
save_separator(SplitPlan *plan)
{
	if (plan->separator.tuple != NULL)
	{
		memcpy(plan->buffer.data, plan->separator.tuple,
			   IndexTupleSize(plan->separator.tuple));
		plan->separator.tuple = (IndexTuple) plan->buffer.data;
	}
}

/* ---- building the two pages ---- */

static IndexTuple
copy_tuple_at(const PageView *view, int pos)
{
	PGAlignedBlock buffer;
	IndexItem	item;

	if (pos < SLOT_FIRST || pos >= page_nslots(view->page))
		return NULL;
	view_item(view, pos, &item, buffer.data);
	return item.natts > 0 ? CopyIndexTuple(item.tuple) : NULL;
}

/* Copies slots [from, to) to the end of dest; in an inner page the first one loses its key. */
static bool
copy_items(const PageView *view, int from, int to, Page dest)
{
	PGAlignedBlock buffer;

	for (int pos = from; pos < to; pos++)
	{
		ItemPointerData tid;
		IndexItem	item;
		CellSource	source;

		view_item(view, pos, &item, buffer.data);
		item_source_same(&item, &source, &tid);
		if (item.is_separator && pos == from)
		{
			source.tuple = NULL;
			source.natts = 0;
			source.has_tid = false;
		}
		if (!ipage_insert(view->keys, dest, page_nslots(dest), &source))
			return false;
	}
	return true;
}

/*
 * Cells written anew against another low fence may take more room: false if the pages come out too large.
 */
static bool
build_pages(const PageView *view, SplitPlan *plan)
{
	Page		left = (Page) plan->left.data;
	Page		right = (Page) plan->right.data;
	PageTrailer trailer = page_trailer(view->page);
	PGAlignedBlock buffer;
	IndexItem	fence;
	CellSource	high;
	ItemPointerData tid;
	int			nslots = page_nslots(view->page);
	int			first = Min(plan->pos + (trailer->level > 0 ? 1 : 0), nslots - 1);

	view_item(view, SLOT_HIGH_FENCE, &fence, buffer.data);
	item_source(&fence, &high, &tid);
	page_init(right, trailer->type, trailer->level, InvalidBlockNumber, trailer->file_id);
	if (cell_encode(NULL, &plan->separator, NULL) + cell_encode(NULL, &high, NULL) >
		(int) ROWAN_PAGE_ROOM - 2 * (int) sizeof(SlotData))
		return false;
	ipage_init(view->keys, right, &plan->separator, &high, copy_tuple_at(view, first),
			   copy_tuple_at(view, nslots - 1));
	if (!copy_items(view, plan->pos, nslots, right))
		return false;
	memcpy(left, view->page, BLCKSZ);
	ipage_delete(left, plan->pos, nslots - plan->pos);
	return ipage_replace(view->keys, left, SLOT_HIGH_FENCE, &plan->separator);
}

/* ---- planning ---- */

/* The boundary's neighbours, the new entry counted where there is no other. */
static bool
leaf_separator(const PageView *view, const SplitWish *wish, int new_pos, SplitPlan *plan)
{
	PGAlignedBlock left_buffer,
				right_buffer;
	IndexItem	left = {0},
				right = {0};
	ItemPointerData last = wish->entry->tids[0];
	int			nslots = page_nslots(view->page);

	if (plan->pos > SLOT_FIRST)
	{
		view_item(view, plan->pos - 1, &left, left_buffer.data);
		last = left.last_tid;
	}
	else if (new_pos == SLOT_FIRST)
		left.tuple = wish->entry->tuple;
	if (plan->pos < nslots)
		view_item(view, plan->pos, &right, right_buffer.data);
	else if (new_pos == nslots)
	{
		right.tuple = wish->entry->tuple;
		right.tid = wish->entry->tids[0];
	}
	if (left.tuple == NULL || right.tuple == NULL)
		return false;
	/* the new entry goes into a posting list: neither before nor behind it */
	if (plan->pos == SLOT_FIRST && key_compare(view->keys, wish->point, &right) >= 0)
		return false;
	itree_choose_separator(view->keys, left.tuple, &last, right.tuple, &right.tid,
						   &plan->separator, &plan->tid);
	save_separator(plan);
	return true;
}

static bool
inner_separator(const PageView *view, SplitPlan *plan)
{
	PGAlignedBlock buffer;
	IndexItem	item;

	if (plan->pos <= SLOT_FIRST || plan->pos >= page_nslots(view->page))
		return false;
	view_item(view, plan->pos, &item, buffer.data);
	item_source(&item, &plan->separator, &plan->tid);
	plan->separator.child = InvalidBlockNumber;
	save_separator(plan);
	return true;
}

static bool
try_split(const PageView *view, const SplitWish *wish, int new_pos, int pos, SplitPlan *plan)
{
	if (pos < SLOT_FIRST || pos > page_nslots(view->page))
		return false;
	plan->pos = pos;
	return (ipage_is_leaf(view->page) ? leaf_separator(view, wish, new_pos, plan) :
			inner_separator(view, plan)) && build_pages(view, plan);
}

/* The best boundary, or the nearest to it that works. */
static void
plan_split(const PageView *view, const SplitWish *wish, SplitPlan *plan)
{
	bool		leaf = ipage_is_leaf(view->page);
	int			nslots = page_nslots(view->page);
	int			new_pos = leaf ? ipage_search(view, wish->point) :
		ipage_search_child(view, wish->point, false) + 1;
	int			new_bytes = leaf ? cell_encode(&view->prefix, wish->entry, NULL) : wish->room;
	int			best = balanced_slot(view, new_pos, new_bytes + (int) sizeof(SlotData),
									 leaf ? wish->fillfactor : 100);

	if (best < SLOT_FIRST)
		best = new_pos;
	for (int distance = 0; distance <= nslots; distance++)
	{
		if (try_split(view, wish, new_pos, best - distance, plan) ||
			(distance > 0 && try_split(view, wish, new_pos, best + distance, plan)))
			return;
	}
	elog(ERROR, "cannot split block %u of relation %s", page_trailer(view->page)->self_block,
		 compat_path(view->file->node, view->file->backend));
}

/* ---- splitting ---- */

/* Gives two working copies their new content and links them. */
static void
put_pages(const SplitPlan *plan, Page left, Page right)
{
	BlockNumber beyond = page_trailer((Page) plan->left.data)->right_block;

	page_copy_content(left, (Page) plan->left.data);
	page_copy_content(right, (Page) plan->right.data);
	page_trailer(left)->right_block = page_trailer(right)->self_block;
	page_trailer(right)->right_block = beyond;
}

static void
split_child(const IndexTree *tree, PoolFrame *parent_frame, int parent_pos, PoolFrame *frame,
			SplitPlan *plan)
{
	PageChange	change;
	Page		parent,
				left,
				right;
	BlockNumber right_block;
	CellSource	link = plan->separator;

	change_begin(&change, &tree->file);
	parent = change_page(&change, parent_frame, false);
	left = change_page(&change, frame, false);
	right = space_alloc(&change, page_trailer(left)->type, page_trailer(left)->level,
						&right_block);
	put_pages(plan, left, right);
	link.child = right_block;
	if (!ipage_insert(tree->keys, parent, parent_pos + 1, &link))
		elog(ERROR, "no room for a separator in block %u of relation %s",
			 page_trailer(parent)->self_block,
			 compat_path(tree->file.node, tree->file.backend));
	if (ipage_is_leaf(left))
		itree_leaf_moves(tree, page_trailer(left)->self_block, right_block);
	FAULT_POINT(split_before_commit);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(split_after_commit);
}

static void
split_root(const IndexTree *tree, PoolFrame *root_frame, SplitPlan *plan)
{
	PageChange	change;
	Page		root,
				left,
				right;
	BlockNumber left_block,
				right_block;
	uint8		type = page_trailer(pool_page(root_frame))->type;
	uint8		level = page_trailer(pool_page(root_frame))->level;
	CellSource	low = {.is_separator = true,.child = InvalidBlockNumber};
	CellSource	high = {.is_separator = true,.is_infinite = true,.child = InvalidBlockNumber};
	CellSource	link = plan->separator;

	change_begin(&change, &tree->file);
	root = change_page(&change, root_frame, false);
	left = space_alloc(&change, type, level, &left_block);
	right = space_alloc(&change, type, level, &right_block);
	put_pages(plan, left, right);

	page_reset(root, ROWAN_PAGE_INDEX_INNER, level + 1);
	ipage_init(tree->keys, root, &low, &high, plan->separator.tuple, plan->separator.tuple);
	low.child = left_block;
	link.child = right_block;
	if (!ipage_insert(tree->keys, root, SLOT_FIRST, &low) ||
		!ipage_insert(tree->keys, root, SLOT_FIRST + 1, &link))
		elog(ERROR, "no room in a new root");
	if (level == 0)
	{
		itree_leaf_moves(tree, ROWAN_ROOT_BLOCK, left_block);
		itree_leaf_moves(tree, ROWAN_ROOT_BLOCK, right_block);
	}
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(root_split_after_commit);
}

/* ---- fulfilling a wish ---- */

static bool
is_fulfilled(const PageView *view, const SplitWish *wish)
{
	return wish->entry != NULL ? itree_leaf_takes(view, wish->point, wish->entry) :
		page_fits_insert(view->page, wish->room, false);
}

/* False: start again; *room: bytes that the parent must have first, or 0. */
static bool
fulfil_below(const IndexTree *tree, PoolFrame *parent_frame, const SplitWish *wish, int *room)
{
	PageView	parent,
				view;
	PoolFrame  *frame;
	SplitPlan	plan;
	bool		fulfilled;
	int			pos;

	*room = 0;
	view_page(&parent, tree, pool_page(parent_frame), NULL);
	pos = ipage_search_child(&parent, wish->point, false);
	frame = itree_latch_child(tree, pool_page(parent_frame), pos);
	view_page(&view, tree, pool_page(frame), NULL);
	fulfilled = is_fulfilled(&view, wish);
	if (!fulfilled)
	{
		plan_split(&view, wish, &plan);
		if (page_fits_insert(parent.page, separator_bytes(&plan.separator), false))
		{
			split_child(tree, parent_frame, pos, frame, &plan);
			return true;
		}
		*room = separator_bytes(&plan.separator);
	}
	pool_unlatch(frame);
	pool_unlatch(parent_frame);
	return fulfilled;
}

/* One attempt at a page without a parent; false: it has got one meanwhile. */
static bool
fulfil_at_root(const IndexTree *tree, const SplitWish *wish)
{
	PoolFrame  *frame = itree_latch_page(tree, wish->point, wish->level, LW_EXCLUSIVE);
	PageView	view;
	SplitPlan	plan;
	bool		fulfilled;

	if (frame == NULL)
		return true;			/* the tree has shrunk below this level */
	view_page(&view, tree, pool_page(frame), NULL);
	fulfilled = is_fulfilled(&view, wish);
	if (pool_block(frame) == ROWAN_ROOT_BLOCK && !fulfilled)
	{
		plan_split(&view, wish, &plan);
		split_root(tree, frame, &plan);
		return true;
	}
	pool_unlatch(frame);
	return fulfilled;
}

static void
fulfil(const IndexTree *tree, const SplitWish *wish)
{
	for (;;)
	{
		PoolFrame  *parent = itree_latch_page(tree, wish->point, wish->level + 1, LW_EXCLUSIVE);
		SplitWish	above = {.level = wish->level + 1,.point = wish->point};

		if (parent == NULL)
		{
			if (fulfil_at_root(tree, wish))
				return;
		}
		else
		{
			if (fulfil_below(tree, parent, wish, &above.room))
				return;
			if (above.room > 0)
				fulfil(tree, &above);
		}
		CHECK_FOR_INTERRUPTS();
	}
}

void
itree_make_room(const IndexTree *tree, const KeyPoint *point, const CellSource *entry,
				int fillfactor)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "rowan index split",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	SplitWish	wish = {.point = point,.entry = entry,.fillfactor = fillfactor};

	pool_prepare_write();
	fulfil(tree, &wish);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
