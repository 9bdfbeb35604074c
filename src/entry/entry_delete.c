/*
 * entry_delete.c
 *	  Removing entries from a leaf; marks of dead ones.
 *
 * Works on the copy of a leaf that a PageChange has given; the caller has it latched, and logs it.
 * Slots are gone through from the last to the first, so that those before are where they were on
 * the page.
 */
#include "postgres.h"

#include "entry/entry.h"

/* Gives slot pos of the copy what is left of its item; returns how many TIDs went. */
static int
remove_from_item(const PageView *view, Page copy, int pos, IndexKeepTids keep, void *arg)
{
	PGAlignedBlock buffer;
	ItemPointerData *tids;
	IndexItem	item;
	CellSource	source;

	view_item(view, pos, &item, buffer.data);
	tids = palloc(sizeof(ItemPointerData) * item.ntids);
	item_source(&item, &source, tids);
	source.ntids = keep(arg, pos, tids, item.ntids);
	if (source.ntids == 0)
		ipage_delete(copy, pos, 1);
	else if (source.ntids < item.ntids && !ipage_replace(view->keys, copy, pos, &source))
		elog(ERROR, "shortened posting list does not fit");
	pfree(tids);
	return item.ntids - source.ntids;
}

int
ipage_remove_tids(const IndexTree *tree, PoolFrame *frame, Page copy, IndexKeepTids keep,
				  void *arg)
{
	PageView	view;
	int			removed = 0;

	view_page(&view, tree, pool_page(frame), NULL);
	for (int pos = page_nslots(view.page) - 1; pos >= SLOT_FIRST; pos--)
		removed += remove_from_item(&view, copy, pos, keep, arg);
	return removed;
}

/*
 * The mark of an entry whose row is gone says that somebody's commit was seen, which may be lost in
 * a crash as long as its record is not flushed.  A mark in a page image in WAL is behind that
 * record.
 */
void
ipage_forget_marks(Page page)
{
	if (!ipage_is_index(page) || !ipage_is_leaf(page))
		return;
	for (int pos = SLOT_FIRST; pos < page_nslots(page); pos++)
		page_slots(page)[pos].offset &= SLOT_OFFSET_MASK;
}
