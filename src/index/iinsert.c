/*
 * iinsert.c
 *	  Adding an entry to a leaf, and joining equal keys into posting lists.
 *
 * One leaf, latched exclusively by the caller; one CHANGE.  Nothing is changed before what can fail has
 * been done.  An entry that belongs inside a posting list is added to that.
 */
#include "postgres.h"

#include "base/fault.h"
#include "index/index.h"

static CellSource
entry_source(IndexTuple tuple)
{
	CellSource	source = {.tuple = tuple,.tids = &tuple->t_tid,.ntids = 1};

	return source;
}

/* ---- into a posting list ---- */

static int
tid_position(const ItemPointerData *tids, int ntids, ItemPointer tid)
{
	int			low = 0;
	int			high = ntids;

	while (low < high)
	{
		int			mid = low + (high - low) / 2;

		if (ItemPointerCompare(unconstify(ItemPointerData *, &tids[mid]), tid) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/*
 * Adds the TID to the posting list at pos of a working copy, as one list or, if that is
 * too long, as two.  False: no room.
 */
static bool
add_to_posting(const KeyDesc *keys, Page page, int pos, const IndexItem *item, ItemPointer tid)
{
	int			n = item->ntids + 1;
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * n);
	CellSource	source,
				second;
	CellPrefix	prefix;
	int			at;

	item_source(item, &source, tids);
	at = tid_position(tids, item->ntids, tid);
	memmove(tids + at + 1, tids + at, sizeof(ItemPointerData) * (item->ntids - at));
	tids[at] = *tid;
	source.ntids = n;
	cell_prefix(page, &prefix);
	if (cell_encode(&prefix, &source, NULL) <= INDEX_MAX_POSTING)
		return ipage_replace(keys, page, pos, &source);
	second = source;
	source.ntids = n / 2;
	second.tids = tids + n / 2;
	second.ntids = n - n / 2;
	return ipage_replace(keys, page, pos, &source) &&
		ipage_insert(keys, page, pos + 1, &second);
}

bool
itree_insert_latched(const IndexTree *tree, PoolFrame *frame, const KeyPoint *point,
					 IndexTuple tuple)
{
	PGAlignedBlock buffer;
	PageChange	change;
	PageView	view;
	Page		page;
	CellSource	source = entry_source(tuple);
	bool		done;
	int			pos;

	view_page(&view, tree, pool_page(frame), NULL);
	pos = ipage_search(&view, point);
	if (pos >= page_nslots(view.page) &&
		!page_fits_insert(view.page, cell_encode(&view.prefix, &source, NULL), false))
	{
		pool_unlatch(frame);
		return false;
	}

	change_begin(&change, &tree->file);
	page = change_page(&change, frame, false);
	done = false;
	if (pos < page_nslots(page))
	{
		IndexItem	item;

		view_item(&view, pos, &item, buffer.data);
		if (item.ntids > 1 && key_compare(tree->keys, point, &item) == 0)
		{
			done = add_to_posting(tree->keys, page, pos, &item, &tuple->t_tid);
			if (!done)
			{
				change_abort(&change);
				return false;
			}
		}
	}
	if (!done && !ipage_insert(tree->keys, page, pos, &source))
	{
		change_abort(&change);
		return false;
	}
	FAULT_POINT(index_insert);
	change_commit(&change, InvalidTransactionId);
	return true;
}

/* ---- joining equal keys ---- */

/* The group of equal keys that is being collected. */
typedef struct Group
{
	IndexTuple	tuple;
	int			items;
	ItemPointerData *tids;
	int			ntids;
	int			room;
} Group;

static void
add_tids(Group *group, const IndexItem *item)
{
	if (group->ntids + item->ntids > group->room)
	{
		group->room = (group->ntids + item->ntids) * 2;
		group->tids = group->tids == NULL ? palloc(sizeof(ItemPointerData) * group->room) :
			repalloc(group->tids, sizeof(ItemPointerData) * group->room);
	}
	(void) cell_tids(item, group->tids + group->ntids);
	group->ntids += item->ntids;
	group->items++;
}

static CellSource
group_source(const Group *group)
{
	CellSource	source = {.tuple = group->tuple,.tids = group->tids,.ntids = group->ntids};

	return source;
}

/* The group with the item would still be a list of allowed size. */
static bool
may_join(const KeyDesc *keys, const Group *group, const IndexItem *item)
{
	/* TIDs hardly ever take more than 6 bytes */
	return key_equal_images(keys, group->tuple, item->tuple) &&
		IndexTupleSize(group->tuple) + (group->ntids + item->ntids) * 6 < INDEX_MAX_POSTING;
}

static bool
flush_group(const KeyDesc *keys, Page page, Group *group)
{
	CellSource	source = group_source(group);
	bool		fits;

	if (group->ntids == 0)
		return true;
	fits = ipage_insert(keys, page, page_nslots(page), &source);
	group->ntids = group->items = 0;
	return fits;
}

/* Writes the leaf's entries into dest, joined; false: does not fit (or nothing to join). */
static bool
join_items(const PageView *view, Page dest)
{
	PGAlignedBlock buffer;
	Group		group = {0};
	PGAlignedBlock tuple;
	bool		joined = false;

	group.tuple = (IndexTuple) tuple.data;
	for (int pos = SLOT_FIRST; pos < page_nslots(view->page); pos++)
	{
		IndexItem	item;

		view_item(view, pos, &item, buffer.data);
		if (group.ntids > 0 && may_join(view->keys, &group, &item))
			joined = true;
		else
		{
			if (!flush_group(view->keys, dest, &group))
				return false;
			memcpy(tuple.data, item.tuple, IndexTupleSize(item.tuple));
		}
		add_tids(&group, &item);
	}
	return flush_group(view->keys, dest, &group) && joined;
}

bool
itree_deduplicate(const IndexTree *tree, PoolFrame *frame)
{
	PGAlignedBlock joined;
	Page		page = (Page) joined.data;
	PageView	view;
	PageChange	change;
	int			freed;

	if (!tree->keys->equal_image)
		return false;
	view_page(&view, tree, pool_page(frame), NULL);
	memcpy(page, view.page, BLCKSZ);
	if (page_nslots(page) > SLOT_FIRST)
		page_delete_slots(page, SLOT_FIRST, page_nslots(page) - SLOT_FIRST);
	page_compact(page);
	if (!join_items(&view, page))
		return false;
	freed = page_free_bytes(page) - page_free_bytes(view.page);
	if (freed < (int) ROWAN_PAGE_ROOM / 16)
		return false;
	change_begin(&change, &tree->file);
	page_copy_content(change_page(&change, frame, false), page);
	change_commit(&change, InvalidTransactionId);
	return true;
}
