/*
 * entry_shrink.c
 *	  Moving pages of an index to where the file has room: what tree/shrink.c asks of entries.
 *
 * A page is found by its low fence, its left neighbour as what is just before that.
 */
#include "postgres.h"

#include "entry/entry_tree.h"
#include "utils/memutils.h"

typedef struct EntryMover
{
	TreeMover	mover;
	EntrySearch here;
	EntrySearch before;
	KeyPoint	point;
	PGAlignedBlock fence;		/* what the point's values lie in */
	MemoryContext context;		/* what comparison functions leave, page by page */
} EntryMover;

static void
aim_at_entries(TreeMover *mover, Page page)
{
	EntryMover *entries = (EntryMover *) mover;
	PageView	view;
	IndexItem	low;

	MemoryContextReset(entries->context);
	MemoryContextSwitchTo(entries->context);
	view_page(&view, entries->here.tree, page, NULL);
	view_item(&view, SLOT_LOW_FENCE, &low, entries->fence.data);
	key_point_from_item(view.keys, &entries->point, &low);
	mover->before = low.natts == 0 ? NULL : &entries->before.search;
}

void
itree_shrink(const IndexTree *tree, void (*pause) (void))
{
	EntryMover *entries = palloc(sizeof(EntryMover));
	MemoryContext caller = CurrentMemoryContext;

	entries->mover = (TreeMover) {.here = &entries->here.search, .aim = aim_at_entries,
												  .pause = pause};
	entry_search_init(&entries->here, tree, &entries->point, false);
	entry_search_init(&entries->before, tree, &entries->point, true);
	entries->context = AllocSetContextCreate(caller, "rowan index shrink", ALLOCSET_DEFAULT_SIZES);
	tree_shrink(&entries->mover);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(entries->context);
	pfree(entries);
}
