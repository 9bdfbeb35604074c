/*
 * entry_split.c
 *	  Where to divide an index page, and what its halves hold.
 *
 * What is done with the halves is in tree/split.c.  The left page keeps its low fence, so its cells
 * and heads stay as they are; the right page's cells are written anew against its own low fence.
 */
#include "postgres.h"

#include "base/compat.h"
#include "entry/entry_tree.h"
#include "utils/memutils.h"

/* What somebody wants of a leaf. */
typedef struct LeafWish
{
	const CellSource *entry;	/* to have room for */
	int			fillfactor;
} LeafWish;

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
 * A short point behind last_left (with its last TID) and not behind first_right (with its first):
 * the first columns of first_right up to the one that differs.  If last_left is much smaller, the
 * point right behind that: so a page has room for its high fence if it had, when its last entry
 * came, for one of that entry's size.  tid: room for a TID that the separator may point to.
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
view_is_right_edge(const PageView *view)
{
	return !BlockNumberIsValid(page_trailer(view->page)->right_block);
}

/*
 * The slot to begin the right page: both halves alike, or, where entries are added at
 * the right edge, the left one filled to the fillfactor.  new_pos: where the new entry will be.
 */
static int
balanced_entry_slot(const PageView *view, int new_pos, int new_bytes, int fillfactor)
{
	Page		page = view->page;
	int			nslots = page_nslots(page);
	bool		at_end = view_is_right_edge(view) && new_pos == nslots;
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
	if (at_end && (best < 0 ||
				   abs(goal - left - page_slot_bytes(page, nslots - 1)) <= best_difference))
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
 * Cells written anew against another low fence may take more room: false if the pages come out too
 * large.
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
leaf_separator(const PageView *view, const TreeWish *wish, int new_pos, SplitPlan *plan)
{
	const LeafWish *want = wish->leaf;
	PGAlignedBlock left_buffer,
				right_buffer;
	IndexItem	left = {0},
				right = {0};
	ItemPointerData last = want->entry->tids[0];
	int			nslots = page_nslots(view->page);

	if (plan->pos > SLOT_FIRST)
	{
		view_item(view, plan->pos - 1, &left, left_buffer.data);
		last = left.last_tid;
	}
	else if (new_pos == SLOT_FIRST)
		left.tuple = want->entry->tuple;
	if (plan->pos < nslots)
		view_item(view, plan->pos, &right, right_buffer.data);
	else if (new_pos == nslots)
	{
		right.tuple = want->entry->tuple;
		right.tid = want->entry->tids[0];
	}
	if (left.tuple == NULL || right.tuple == NULL)
		return false;
	/* the new entry goes into a posting list: neither before nor behind it */
	if (plan->pos == SLOT_FIRST &&
		key_compare(view->keys, entry_search(wish->search)->point, &right) >= 0)
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
try_split(const PageView *view, const TreeWish *wish, int new_pos, int pos, SplitPlan *plan)
{
	if (pos < SLOT_FIRST || pos > page_nslots(view->page))
		return false;
	plan->pos = pos;
	return (ipage_is_leaf(view->page) ? leaf_separator(view, wish, new_pos, plan) :
			inner_separator(view, plan)) && build_pages(view, plan);
}

/* The slot to begin the right page by bytes, and where the new entry will be. */
static int
best_slot(const PageView *view, const TreeWish *wish, int *new_pos)
{
	const KeyPoint *point = entry_search(wish->search)->point;
	const LeafWish *want = wish->leaf;
	bool		leaf = ipage_is_leaf(view->page);
	int			new_bytes = leaf ? cell_encode(&view->prefix, want->entry, NULL) : wish->room;
	int			best;

	*new_pos = leaf ? ipage_search(view, point) : ipage_search_child(view, point, false) + 1;
	best = balanced_entry_slot(view, *new_pos, new_bytes + (int) sizeof(SlotData),
							   leaf ? want->fillfactor : 100);
	return best < SLOT_FIRST ? *new_pos : best;
}

/* The best boundary, or the nearest to it that works. */
int
entry_plan_split(const TreeWish *wish, Page page)
{
	SplitPlan  *plan = wish->plan;
	const PoolFile *file = wish->search->file;
	PageView	view;
	int			nslots = page_nslots(page);
	int			best,
				new_pos;

	view_page(&view, entry_search(wish->search)->tree, page, NULL);
	best = best_slot(&view, wish, &new_pos);
	for (int distance = 0; distance <= nslots; distance++)
	{
		if (try_split(&view, wish, new_pos, best - distance, plan) ||
			(distance > 0 && try_split(&view, wish, new_pos, best + distance, plan)))
			return separator_bytes(&plan->separator);
	}
	elog(ERROR, "cannot split block %u of relation %s", page_trailer(page)->self_block,
		 file_path(file->locator, file->backend));
}

/* ---- dividing ---- */

/* Gives two working copies their new content and links them. */
void
entry_divide(const TreeWish *wish, Page left, Page right)
{
	const SplitPlan *plan = wish->plan;
	BlockNumber beyond = page_trailer((Page) plan->left.data)->right_block;

	page_copy_content(left, (Page) plan->left.data);
	page_copy_content(right, (Page) plan->right.data);
	page_trailer(left)->right_block = page_trailer(right)->self_block;
	page_trailer(right)->right_block = beyond;
}

static void
add_child(const TreeWish *wish, Page parent, int slot, const CellSource *link)
{
	const PoolFile *file = wish->search->file;

	if (!ipage_insert(entry_search(wish->search)->tree->keys, parent, slot, link))
		elog(ERROR, "no room for a separator in block %u of relation %s",
			 page_trailer(parent)->self_block, file_path(file->locator, file->backend));
}

void
entry_add_child(const TreeWish *wish, Page parent, int slot, BlockNumber right)
{
	CellSource	link = ((const SplitPlan *) wish->plan)->separator;

	link.child = right;
	add_child(wish, parent, slot, &link);
}

void
entry_fill_root(const TreeWish *wish, Page root, BlockNumber left, BlockNumber right)
{
	const SplitPlan *plan = wish->plan;
	CellSource	low = {.is_separator = true, .child = InvalidBlockNumber};
	CellSource	high = {.is_separator = true, .is_infinite = true, .child = InvalidBlockNumber};

	ipage_init(entry_search(wish->search)->tree->keys, root, &low, &high, plan->separator.tuple,
			   plan->separator.tuple);
	low.child = left;
	add_child(wish, root, SLOT_FIRST, &low);
	entry_add_child(wish, root, SLOT_FIRST + 1, right);
}

/* ---- making room ---- */

bool
entry_leaf_has_room(const TreeWish *wish, Page leaf)
{
	const EntrySearch *search = entry_search(wish->search);
	const LeafWish *want = wish->leaf;
	PageView	view;

	view_page(&view, search->tree, leaf, NULL);
	return itree_leaf_takes(&view, search->point, want->entry);
}

void
itree_make_room(const IndexTree *tree, const KeyPoint *point, const CellSource *entry,
				int fillfactor)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "rowan index split",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	LeafWish	want = {.entry = entry, .fillfactor = fillfactor};
	SplitPlan	plan;
	EntrySearch search;
	TreeWish	wish = {.search = &search.search, .leaf = &want, .plan = &plan};

	entry_search_init(&search, tree, point, false);
	tree_split(&wish);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
