/*
 * iverify.c
 *	  Checks the tree of an index: what tree/verify.c asks of every file, and
 *	  fences, separators, order, heads and posting lists.
 *
 * Works on private copies of pages; the caller keeps writers away.
 */
#include "postgres.h"

#include "index/index.h"
#include "index/iverify.h"
#include "miscadmin.h"
#include "tree/verify.h"

#define MAX_LEVELS	64

typedef struct Walk
{
	const IndexVerify *how;
	Verification *v;
	BlockNumber right_of[MAX_LEVELS];	/* right sibling that the page before named */
	bool		started[MAX_LEVELS];
} Walk;

/* What the parent says about a page. */
typedef struct Expected
{
	int			level;
	const IndexItem *low;
	const IndexItem *high;
} Expected;

/* Decodes without raising errors; false: reported. */
static bool
read_item(Walk *walk, const PageView *view, int pos, IndexItem *item, char *buffer)
{
	if (cell_decode(view->keys, view->page, &view->prefix, pos, item, buffer))
		return true;
	verification_report(walk->v, page_trailer(view->page)->self_block,
						psprintf("cell of slot %d makes no sense", pos));
	return false;
}

static void
check_fences(Walk *walk, const PageView *view, const Expected *expected)
{
	PGAlignedBlock low_buffer,
				high_buffer;
	IndexItem	low,
				high;
	BlockNumber block = page_trailer(view->page)->self_block;

	if (!read_item(walk, view, SLOT_LOW_FENCE, &low, low_buffer.data) ||
		!read_item(walk, view, SLOT_HIGH_FENCE, &high, high_buffer.data))
		return;
	if (!low.is_separator || !high.is_separator)
		verification_report(walk->v, block, "a fence is no separator");
	else if (!key_same_point(&low, expected->low))
		verification_report(walk->v, block, "low fence differs from the parent's separator");
	else if (!key_same_point(&high, expected->high))
		verification_report(walk->v, block, "high fence differs from the parent's separator");
	if (high.is_infinite != !BlockNumberIsValid(page_trailer(view->page)->right_block))
		verification_report(walk->v, block, "right sibling does not fit the high fence");
}

static void
check_sibling(Walk *walk, Page page, int level)
{
	BlockNumber block = page_trailer(page)->self_block;

	if (walk->started[level] && walk->right_of[level] != block)
		verification_report(walk->v, block, "page is not the right sibling of the page before it");
	walk->started[level] = true;
	walk->right_of[level] = page_trailer(page)->right_block;
}

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

/* Each item against the one before it, the first one against the low fence. */
static void
check_items(Walk *walk, const PageView *view)
{
	PGAlignedBlock buffers[2],
				high_buffer;
	IndexItem	items[2],
				high;
	int			now = 0;

	if (!read_item(walk, view, SLOT_LOW_FENCE, &items[1], buffers[1].data) ||
		!read_item(walk, view, SLOT_HIGH_FENCE, &high, high_buffer.data))
		return;
	for (int pos = SLOT_FIRST; pos < page_nslots(view->page); pos++)
	{
		const char *problem;

		if (!read_item(walk, view, pos, &items[now], buffers[now].data))
			return;
		problem = item_problem(view, pos, &items[now], &items[1 - now], &high);
		if (problem != NULL)
			verification_report(walk->v, page_trailer(view->page)->self_block,
								psprintf(problem, pos));
		else if (ipage_is_leaf(view->page) && walk->how->entry != NULL)
			walk->how->entry(&items[now], walk->how->arg);
		/* the first child begins at the low fence, which stays the item before */
		if (ipage_is_leaf(view->page) || pos > SLOT_FIRST)
			now = 1 - now;
	}
}

static void walk_page(Walk *walk, BlockNumber block, const Expected *expected);

static void
walk_children(Walk *walk, const PageView *view, const Expected *expected)
{
	PGAlignedBlock *buffers = palloc(sizeof(PGAlignedBlock) * 2);
	int			nslots = page_nslots(view->page);

	for (int pos = SLOT_FIRST; pos < nslots; pos++)
	{
		IndexItem	low,
					high = *expected->high;
		Expected	child = {expected->level - 1, &low, &high};
		BlockNumber block;

		if (!read_item(walk, view, pos, &low, buffers[0].data))
			return;
		block = low.child;
		if (pos == SLOT_FIRST)
			low = *expected->low;
		if (pos + 1 < nslots && !read_item(walk, view, pos + 1, &high, buffers[1].data))
			return;
		walk_page(walk, block, &child);
	}
	pfree(buffers);
}

static void
walk_page(Walk *walk, BlockNumber block, const Expected *expected)
{
	Page		page;
	PageView	view;

	if (!verification_reach(walk->v, block))
		return;
	page = palloc(BLCKSZ);
	if (verification_copy(walk->v, block, page))
	{
		if (!ipage_is_index(page) || page_trailer(page)->level != expected->level)
			verification_report(walk->v, block, "page in the tree has another type or level");
		else
		{
			view_page(&view, walk->how->tree, page, NULL);
			check_fences(walk, &view, expected);
			check_sibling(walk, page, expected->level);
			check_items(walk, &view);
			if (expected->level > 0)
				walk_children(walk, &view, expected);
		}
	}
	pfree(page);
}

static void
walk_tree(Verification *v, void *arg)
{
	const IndexVerify *how = arg;
	IndexItem	low = {.is_separator = true};
	IndexItem	high = {.is_separator = true,.is_infinite = true};
	Expected	expected = {itree_height(how->tree), &low, &high};
	Walk	   *walk = palloc0(sizeof(Walk));

	walk->how = how;
	walk->v = v;
	if (expected.level >= MAX_LEVELS)
		verification_report(v, ROWAN_ROOT_BLOCK, "root has an impossible level");
	else
		walk_page(walk, ROWAN_ROOT_BLOCK, &expected);
	pfree(walk);
}

static void
pass_report(BlockNumber block, const char *message, void *arg)
{
	const IndexVerify *how = arg;

	how->report(block, message, how->arg);
}

uint64
itree_verify(const IndexVerify *how)
{
	TreeVerify	file = {.report = pass_report,.walk = walk_tree,.arg = unconstify(IndexVerify *, how)};

	return tree_verify(&how->tree->file, &file);
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
