/*
 * entry_merge.c
 *	  What two neighbours of an index become.
 *
 * Which ones, and what is done with them, is in tree/merge.c.  The right page's cells are written
 * anew against the left one's low fence.
 */
#include "postgres.h"

#include "entry/entry_tree.h"
#include "utils/memutils.h"

/* A merged page has some room left, or it would soon be split again. */
#define MERGE_MAX_BYTES		(ROWAN_PAGE_ROOM - ROWAN_PAGE_ROOM / 8)

/*
 * Adds a page's items to dest.  The first child of a right page gets the low fence as its key
 * again.
 */
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
 * Nothing, or a single child: such pages are merged whenever that fits.  With fences of a third of
 * a page no two inner pages would ever have room to spare, and an empty tree would keep its height.
 */
static bool
is_bare(Page page)
{
	return page_nslots(page) <= SLOT_FIRST + (ipage_is_leaf(page) ? 0 : 1);
}

/*
 * Builds the page that both would become; false: too large.  Heads are chosen anew: the range is
 * wider.
 */
bool
entry_may_merge(const TreeSearch *search, Page left_page, Page right_page, void *plan)
{
	const IndexTree *tree = entry_search(search)->tree;
	Page		dest = plan;
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

void
entry_absorb(const TreeSearch *search, Page left, Page right, void *plan)
{
	page_copy_content(left, (Page) plan);
}

/* Returns true if it changed something.  No latches held on entry or exit. */
bool
itree_merge_leaf(const IndexTree *tree, const KeyPoint *point)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "rowan index merge",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	PGAlignedBlock merged;
	EntrySearch search;
	bool		changed;

	entry_search_init(&search, tree, point, false);
	changed = tree_merge(&search.search, merged.data);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return changed;
}
