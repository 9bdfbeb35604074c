/*
 * entry_verify.c
 *	  Checks the tree of an index: what tree/verify.c asks of every file, and
 *	  fences, separators, order, heads and posting lists.
 *
 * Works on private copies of pages, with no latch held; others may change the index meanwhile.
 */
#include "postgres.h"

#include "entry/entry.h"
#include "entry/entry_verify.h"
#include "miscadmin.h"
#include "tree/verify.h"

typedef struct Walk
{
	const IndexVerify *how;
	IndexItem	cursor;			/* a separator */
	PGAlignedBlock cursor_tuple;
} Walk;

/* Decodes without raising errors; false: its bytes make no sense. */
static bool
decode_item(const PageView *view, int pos, IndexItem *item, char *buffer)
{
	return cell_decode(view->keys, view->page, &view->prefix, pos, item, buffer);
}

static bool
read_item(Verification *v, const PageView *view, int pos, IndexItem *item, char *buffer)
{
	if (decode_item(view, pos, item, buffer))
		return true;
	verification_report(v, page_trailer(view->page)->self_block,
						psprintf("cell of slot %d makes no sense", pos));
	return false;
}

/* ---- fences ---- */

/*
 * The parent's cells that say where the child of a slot begins and ends: the first one begins where
 * the parent does.
 */
static inline int
low_slot(int slot)
{
	return slot > SLOT_FIRST ? slot : SLOT_LOW_FENCE;
}

static inline int
high_slot(Page parent, int slot)
{
	return slot + 1 < page_nslots(parent) ? slot + 1 : SLOT_HIGH_FENCE;
}

/* What the parent says, or where all keys begin and end; false: makes no sense. */
static bool
expected_fence(const IndexTree *tree, Page parent, int slot, bool high, IndexItem *item,
			   char *buffer)
{
	PageView	view;

	if (parent == NULL)
	{
		*item = (IndexItem) {.is_separator = true, .is_infinite = high};
		return true;
	}
	view_page(&view, tree, parent, NULL);
	return decode_item(&view, slot, item, buffer) && item->is_separator;
}

static bool
check_fences(Verification *v, Page parent, int slot, Page page, void *arg)
{
	const IndexTree *tree = ((Walk *) arg)->how->tree;
	PGAlignedBlock buffers[4];
	IndexItem	low,
				high,
				low_expected,
				high_expected;
	PageView	view;
	const char *problem = NULL;

	view_page(&view, tree, page, NULL);
	if (!read_item(v, &view, SLOT_LOW_FENCE, &low, buffers[0].data) ||
		!read_item(v, &view, SLOT_HIGH_FENCE, &high, buffers[1].data))
		return false;
	if (!expected_fence(tree, parent, low_slot(slot), false, &low_expected, buffers[2].data) ||
		!expected_fence(tree, parent, parent ? high_slot(parent, slot) : 0, true, &high_expected,
						buffers[3].data))
		problem = "separators of the parent make no sense";
	else if (!low.is_separator || !high.is_separator)
		problem = "a fence is no separator";
	else if (!key_same_point(&low, &low_expected))
		problem = "low fence differs from the parent's separator";
	else if (!key_same_point(&high, &high_expected))
		problem = "high fence differs from the parent's separator";
	if (problem != NULL)
		verification_report(v, page_trailer(page)->self_block, problem);
	if (high.is_infinite != !BlockNumberIsValid(page_trailer(page)->right_block))
		verification_report(v, page_trailer(page)->self_block,
							"right sibling does not fit the high fence");
	return problem == NULL;
}

static bool
fences_meet(Page left, Page right, void *arg)
{
	const IndexTree *tree = ((Walk *) arg)->how->tree;
	PGAlignedBlock buffers[2];
	IndexItem	high,
				low;
	PageView	left_view,
				right_view;

	view_page(&left_view, tree, left, NULL);
	view_page(&right_view, tree, right, NULL);
	return decode_item(&left_view, SLOT_HIGH_FENCE, &high, buffers[0].data) &&
		decode_item(&right_view, SLOT_LOW_FENCE, &low, buffers[1].data) &&
		key_same_point(&high, &low);
}

/* ---- entries ---- */

/* TIDs ascending; *last is the last one. */
static bool
tids_in_order(const IndexItem *item, ItemPointerData *last)
{
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * item->ntids);
	bool		in_order = cell_tids(item, tids);

	for (int i = 1; in_order && i < item->ntids; i++)
		in_order = ItemPointerCompare(&tids[i - 1], &tids[i]) < 0;
	*last = tids[item->ntids - 1];
	in_order = in_order && ItemPointerEquals(last, unconstify(ItemPointerData *, &item->last_tid));
	pfree(tids);
	return in_order;
}

/* The point right at the item's end: what follows must be behind it. */
static void
point_at_end(const KeyDesc *keys, const IndexItem *item, KeyPoint *point)
{
	ItemPointerData last = item->tid;

	key_point_from_item(keys, point, item);
	if (!item->is_separator)
	{
		(void) tids_in_order(item, &last);
		key_point_from_tuple(keys, point, item->tuple, keys->nkeyatts, TAIL_TID, &last);
	}
}

static const char *
item_problem(const PageView *view, int pos, const IndexItem *item, const IndexItem *before,
			 const IndexItem *high)
{
	KeyPoint	point;
	ItemPointerData last;
	bool		leaf = ipage_is_leaf(view->page);

	if (item->is_separator == leaf || item->is_infinite)
		return "slot %d has the wrong kind of cell";
	if (leaf && !tids_in_order(item, &last))
		return "TIDs of slot %d are not in order";
	if (!leaf && (item->child <= ROWAN_ROOT_BLOCK || !BlockNumberIsValid(item->child)))
		return "slot %d has an impossible child";
	if (!leaf && pos == SLOT_FIRST)
		return item->natts == 0 ? NULL : "first child has a key";
	point_at_end(view->keys, before, &point);
	if (leaf && before->is_separator ? key_compare(view->keys, &point, item) > 0 :
		key_compare(view->keys, &point, item) >= 0)
		return "slot %d is not in order";
	point_at_end(view->keys, item, &point);
	if (!high->is_infinite && key_compare(view->keys, &point, high) >= 0)
		return "slot %d is not below the high fence";
	if (page_slots(view->page)[pos].delta !=
		ipage_head(view->keys, view->page, item->tuple, item->natts))
		return "head of slot %d is wrong";
	return NULL;
}

/*
 * Each item against the one before it, the first one against the low fence.  False: a cell makes no
 * sense.
 */
static bool
check_items(Verification *v, Page page, void *arg)
{
	Walk	   *walk = arg;
	PGAlignedBlock buffers[2],
				high_buffer;
	IndexItem	items[2],
				high;
	PageView	view;
	int			now = 0;

	view_page(&view, walk->how->tree, page, NULL);
	if (!read_item(v, &view, SLOT_LOW_FENCE, &items[1], buffers[1].data) ||
		!read_item(v, &view, SLOT_HIGH_FENCE, &high, high_buffer.data))
		return false;
	for (int pos = SLOT_FIRST; pos < page_nslots(page); pos++)
	{
		const char *problem;

		if (!read_item(v, &view, pos, &items[now], buffers[now].data))
			return false;
		problem = item_problem(&view, pos, &items[now], &items[1 - now], &high);
		if (problem != NULL)
			verification_report(v, page_trailer(page)->self_block, psprintf(problem, pos));
		else if (ipage_is_leaf(page) && walk->how->entry != NULL)
			walk->how->entry(&items[now], walk->how->arg);
		/* the first child begins at the low fence, which stays the item before */
		if (ipage_is_leaf(page) || pos > SLOT_FIRST)
			now = 1 - now;
	}
	return true;
}

/* ---- the walk ---- */

static BlockNumber
checked_child_of_slot(Page page, int slot, void *arg)
{
	PGAlignedBlock buffer;
	IndexItem	item;
	PageView	view;

	view_page(&view, ((Walk *) arg)->how->tree, page, NULL);
	return decode_item(&view, slot, &item, buffer.data) && item.is_separator ? item.child :
		InvalidBlockNumber;
}

/*
 * One after the other: a page that makes no sense must not raise an error, as a search of it does.
 */
static int
slot_at_cursor(Page page, void *arg)
{
	Walk	   *walk = arg;
	const KeyDesc *keys = walk->how->tree->keys;
	KeyPoint	point;
	PageView	view;

	key_point_from_item(keys, &point, &walk->cursor);
	view_page(&view, walk->how->tree, page, NULL);
	for (int pos = page_nslots(page) - 1; pos > SLOT_FIRST; pos--)
	{
		PGAlignedBlock buffer;
		IndexItem	item;

		if (!decode_item(&view, pos, &item, buffer.data) || !item.is_separator)
			return -1;
		if (key_compare(keys, &point, &item) >= 0)
			return pos;
	}
	return page_nslots(page) > SLOT_FIRST ? SLOT_FIRST : -1;
}

static void
cursor_to_start(void *arg)
{
	((Walk *) arg)->cursor = (IndexItem) {.is_separator = true};
}

/* False, and the cursor stays: the cell is no point between keys. */
static bool
cursor_to_cell(Walk *walk, Page page, int slot)
{
	PGAlignedBlock buffer;
	IndexItem	item;
	PageView	view;

	view_page(&view, walk->how->tree, page, NULL);
	if (!decode_item(&view, slot, &item, buffer.data) || !item.is_separator || item.is_infinite)
		return false;
	return decode_item(&view, slot, &walk->cursor, walk->cursor_tuple.data);
}

static void
cursor_past_child(Page page, int slot, void *arg)
{
	(void) cursor_to_cell(arg, page, high_slot(page, slot));
}

static bool
cursor_to_page(Page page, void *arg)
{
	return ipage_is_index(page) && cursor_to_cell(arg, page, SLOT_LOW_FENCE);
}

static const VerifyKind entry_verify_kind = {
	.tree_kind = ROWAN_TREE_INDEX,
	.leaf_type = ROWAN_PAGE_INDEX_LEAF,
	.inner_type = ROWAN_PAGE_INDEX_INNER,
	.first_slot = SLOT_FIRST,
	.check_page = check_items,
	.check_fences = check_fences,
	.fences_meet = fences_meet,
	.child_of_slot = checked_child_of_slot,
	.slot_at_cursor = slot_at_cursor,
	.cursor_to_start = cursor_to_start,
	.cursor_past_child = cursor_past_child,
	.cursor_to_page = cursor_to_page
};

static void
pass_report(BlockNumber block, const char *message, void *arg)
{
	const IndexVerify *how = arg;

	how->report(block, message, how->arg);
}

static void
pass_damaged(BlockNumber block, const PoolDamage *damage, void *arg)
{
	const IndexVerify *how = arg;

	how->damaged(block, damage, how->arg);
}

static void
pass_met(Page page, BlockNumber block, void *arg)
{
	const IndexVerify *how = arg;

	how->met(page, block, how->arg);
}

uint64
itree_verify(const IndexVerify *how)
{
	Walk	   *walk = palloc0(sizeof(Walk));
	TreeVerify	file = {
		.report = pass_report,
		.damaged = how->damaged != NULL ? pass_damaged : NULL,
		.met = how->met != NULL ? pass_met : NULL,
		.arg = unconstify(IndexVerify *, how),
		.kind = &entry_verify_kind,
		.kind_arg = walk
	};
	uint64		problems;

	walk->how = how;
	problems = tree_verify(&how->tree->file, &file);
	pfree(walk);
	return problems;
}

bool
itree_has_entry(const IndexTree *tree, IndexTuple tuple)
{
	PGAlignedBlock leaf,
				buffer;
	KeyPoint	point;
	PageView	view;
	IndexItem	item;
	ItemPointerData *tids;
	PoolFrame  *frame;
	uint64		version;
	bool		found = false;
	int			pos;

	key_point_from_tuple(tree->keys, &point, tuple, tree->keys->nkeyatts, TAIL_TID,
						 &tuple->t_tid);
	itree_copy_leaf(tree, &point, false, InvalidBlockNumber, leaf.data, &frame, &version);
	view_page(&view, tree, (Page) leaf.data, NULL);
	pos = ipage_search(&view, &point);
	if (pos >= page_nslots(view.page))
		return false;
	view_item(&view, pos, &item, buffer.data);
	if (key_compare(tree->keys, &point, &item) != 0)
		return false;
	tids = palloc(sizeof(ItemPointerData) * item.ntids);
	view_tids(&view, &item, tids);
	for (int i = 0; i < item.ntids && !found; i++)
		found = ItemPointerEquals(&tids[i], &tuple->t_tid);
	pfree(tids);
	return found;
}
