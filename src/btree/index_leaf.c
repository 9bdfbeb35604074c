/*
 * index_leaf.c
 *	  The leaf that an index scan stands on: a private copy, and a place in it.
 *
 * The scan's conditions are mostly a range between two points.  Then the two ends are looked for once on each leaf, and what
 * lies between them is not checked; otherwise core's function checks each entry.  Entries
 * are decoded one by one as they are asked for: many a scan ends before its leaf does.
 *
 * Takes a leaf's latch only under SERIALIZABLE, and to mark dead entries, which never waits for it.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/xact.h"
#include "btree/index_leaf.h"
#include "btree/index_skip.h"
#include "storage/predicate.h"
#include "utils/snapmgr.h"

/* TIDs of a posting list that are read at once. */
#define TIDS_AT_ONCE	32

/* "name" columns are read to their full width, beyond what is stored. */
#define TUPLE_ROOM		(INDEX_TUPLE_ROOM + NAMEDATALEN)

static void
prepare_memory(ScanLeaf *leaf)
{
	if (leaf->bytes != NULL)
		return;
	leaf->bytes = palloc(BLCKSZ);
	leaf->tuple = palloc(TUPLE_ROOM);
	leaf->tids_room = TIDS_AT_ONCE;
	leaf->tids = palloc(sizeof(ItemPointerData) * leaf->tids_room);
}

void
leaf_free(ScanLeaf *leaf)
{
	if (leaf->bytes == NULL)
		return;
	pfree(leaf->bytes);
	pfree(leaf->tuple);
	pfree(leaf->tids);
	leaf->bytes = NULL;
}

void
leaf_copy(ScanLeaf *to, const ScanLeaf *from)
{
	ScanLeaf	own;

	prepare_memory(to);
	own = *to;
	*to = *from;
	to->bytes = own.bytes;
	to->tuple = own.tuple;
	to->tids = own.tids;
	to->tids_room = own.tids_room;
	to->ntids = to->ntids_read = 0;
	memcpy(to->bytes, from->bytes, BLCKSZ);
	to->view.page = (Page) to->bytes;
	view_refresh(&to->view);
}

/* ---- one entry ---- */

/* Has TID number i in tids. */
static void
read_tids(ScanLeaf *leaf, int i)
{
	int			wanted = Min(leaf->ntids, i + TIDS_AT_ONCE);

	if (i < leaf->ntids_read)
		return;
	if (wanted > leaf->tids_room)
	{
		leaf->tids_room = Max(leaf->tids_room * 2, wanted);
		leaf->tids = repalloc(leaf->tids, sizeof(ItemPointerData) * leaf->tids_room);
	}
	if (!posting_read(&leaf->rest, leaf->tids + leaf->ntids_read, wanted - leaf->ntids_read))
		view_is_corrupted(&leaf->view);
	leaf->ntids_read = wanted;
}

/* sub: 0, or -1 for the last one. */
static inline void
take_item(ScanLeaf *leaf, const IndexItem *item, int sub)
{
	leaf->ntids = item->ntids;
	leaf->at.sub = sub < 0 ? item->ntids - 1 : sub;
	if (item->ntids == 1)
	{
		leaf->tids[0] = item->tid;
		leaf->ntids_read = 1;
		return;
	}
	posting_begin(item, &leaf->rest);
	leaf->ntids_read = 0;
	read_tids(leaf, leaf->at.sub);
}

/* Entries are asked for one after the other, with much work in between: let the one after the next come meanwhile. */
static inline void
prefetch_cell(const ScanLeaf *leaf, int slot)
{
	if (slot >= leaf->first && slot < leaf->last)
		__builtin_prefetch((char *) leaf->view.page + page_slots(leaf->view.page)[slot].offset);
}

/* Stands on the slot, if its entry matches.  *go_on: entries beyond it may. */
static inline bool
enter_slot(IndexScanDesc scan, const ScanRange *range, ScanLeaf *leaf, int slot,
		   ScanDirection direction, bool *go_on)
{
	int			sub = ScanDirectionIsBackward(direction) ? -1 : 0;
	IndexItem	item;
	bool		dead;

	*go_on = true;
	leaf->at.slot = slot;
	leaf->at.sub = leaf->ntids = 0;
	if (range->exact && !scan->xs_want_itup &&
		cell_single_tid(leaf->view.page, slot, leaf->tids, &dead))
	{
		if (dead && scan->ignore_killed_tuples)
			return false;
		leaf->ntids = leaf->ntids_read = 1;
		return true;
	}
	if (!cell_decode(leaf->view.keys, leaf->view.page, &leaf->view.prefix, slot, &item,
					 leaf->tuple) || item.is_separator)
		view_is_corrupted(&leaf->view);
	if (item.is_dead && scan->ignore_killed_tuples)
		return false;
	if (!range->exact &&
		!_bt_checkkeys(scan, item.tuple, leaf->view.keys->natts, direction, go_on))
		return false;
	take_item(leaf, &item, sub);
	return true;
}

/* Nothing more can match in that direction. */
static void
end_here(ScanLeaf *leaf, bool backward)
{
	if (backward)
		leaf->more_left = false;
	else
		leaf->more_right = false;
}

/* From the slot to just before the next one in the direction that may match. */
static int
skip_slots(ScanSkip *skip, ScanLeaf *leaf, int slot, bool backward)
{
	IndexItem	item;
	KeyPoint	point;
	int			to;

	view_item(&leaf->view, slot, &item, leaf->tuple);
	switch (index_skip_from(skip, &item, backward, &point))
	{
		case SKIP_NOT:
			return slot;
		case SKIP_END:
			end_here(leaf, backward);
			return backward ? leaf->first : leaf->last;
		case SKIP_TO:
			break;
	}
	if (!ipage_covers(&leaf->view, &point, backward))
		return backward ? leaf->first : leaf->last;
	to = ipage_search(&leaf->view, &point);
	to = backward ? Min(to, slot) : Max(to - 1, slot);
	index_skip_gained(skip, abs(to - slot));
	return to;
}

bool
leaf_next(IndexScanDesc scan, const ScanRange *range, ScanLeaf *leaf, ScanDirection direction)
{
	int			step = ScanDirectionIsBackward(direction) ? -1 : 1;
	int			sub = leaf->at.sub + step;
	int			missed = 0;

	if (sub >= 0 && sub < leaf->ntids)
	{
		leaf->at.sub = sub;
		read_tids(leaf, sub);
		return true;
	}
	for (int slot = leaf->at.slot + step; slot >= leaf->first && slot < leaf->last; slot += step)
	{
		bool		go_on;

		prefetch_cell(leaf, slot + 2 * step);
		if (enter_slot(scan, range, leaf, slot, direction, &go_on))
			return true;
		if (!go_on)
		{
			end_here(leaf, step < 0);
			return false;
		}
		if (range->skip != NULL && ++missed >= index_skip_patience(range->skip))
		{
			slot = skip_slots(range->skip, leaf, slot, step < 0);
			missed = 0;
		}
	}
	return false;
}

void
leaf_go_to(IndexScanDesc scan, ScanLeaf *leaf, LeafPlace place)
{
	IndexItem	item;

	view_item(&leaf->view, place.slot, &item, leaf->tuple);
	leaf->at = place;
	take_item(leaf, &item, place.sub);
}

/* ---- reading a leaf ---- */

/* Is the end of the range on this leaf?  As ipage_search, if so. */
static int
search_end(const ScanLeaf *leaf, const ScanRange *range, bool *more)
{
	const KeyDesc *keys = leaf->view.keys;
	PGAlignedBlock buffer;
	IndexItem	fence;
	int			result;

	view_item(&leaf->view, SLOT_HIGH_FENCE, &fence, buffer.data);
	result = key_compare(keys, &range->end, &fence);
	*more = result > 0;
	if (result >= 0)
		return page_nslots(leaf->view.page);
	if (range->may_be_empty)
	{
		view_item(&leaf->view, SLOT_LOW_FENCE, &fence, buffer.data);
		if (key_compare(keys, &range->end, &fence) <= 0)
			return SLOT_FIRST;
	}
	return ipage_search(&leaf->view, &range->end);
}

static int
search_start(const ScanLeaf *leaf, const ScanRange *range, bool *more)
{
	const KeyDesc *keys = leaf->view.keys;
	PGAlignedBlock buffer;
	IndexItem	fence;
	int			result;

	view_item(&leaf->view, SLOT_LOW_FENCE, &fence, buffer.data);
	result = key_compare(keys, &range->start, &fence);
	*more = result < 0;
	if (result <= 0)
		return SLOT_FIRST;
	if (range->may_be_empty)
	{
		view_item(&leaf->view, SLOT_HIGH_FENCE, &fence, buffer.data);
		if (key_compare(keys, &range->start, &fence) >= 0)
			return page_nslots(leaf->view.page);
	}
	return ipage_search(&leaf->view, &range->start);
}

/* The slots to look at.  at: where the scan comes to this leaf; from_start: it begins there. */
static void
set_limits(ScanLeaf *leaf, const ScanRange *range, int at, bool from_start, bool backward)
{
	leaf->first = SLOT_FIRST;
	leaf->last = page_nslots(leaf->view.page);
	leaf->more_left = leaf->more_right = true;
	if (range->exact && !(from_start && !backward))
		leaf->first = search_start(leaf, range, &leaf->more_left);
	if (range->exact && !(from_start && backward))
		leaf->last = search_end(leaf, range, &leaf->more_right);
	if (from_start && backward)
	{
		leaf->last = at;
		leaf->more_right = false;
	}
	else if (from_start)
	{
		leaf->first = at;
		leaf->more_left = false;
	}
}

/*
 * The point may lie among the TIDs of the entry in the slot: pages were merged and their equal keys joined meanwhile, or a TID
 * was added.  Then the scan goes on inside.
 */
static bool
is_inside_list(const ScanLeaf *leaf, const KeyPoint *point, int slot)
{
	IndexItem	item;

	if (point->tail != TAIL_TID || slot >= page_nslots(leaf->view.page))
		return false;
	view_item(&leaf->view, slot, &item, leaf->tuple);
	return item.ntids > 1 && key_compare(leaf->view.keys, point, &item) == 0;
}

/* Stands between the TIDs of the list that are before the point and those that are not. */
static void
go_inside_list(IndexScanDesc scan, const ScanRange *range, ScanLeaf *leaf, const KeyPoint *point,
			   int slot, ScanDirection direction)
{
	bool		backward = ScanDirectionIsBackward(direction);
	bool		go_on;
	int			i = 0;

	if (!enter_slot(scan, range, leaf, slot, direction, &go_on))
	{
		if (!go_on && backward)
			leaf->first = slot;
		else if (!go_on)
			leaf->last = slot;
		return;
	}
	read_tids(leaf, leaf->ntids - 1);
	while (i < leaf->ntids && ItemPointerCompare(&leaf->tids[i],
												 unconstify(ItemPointerData *, &point->tid)) < 0)
		i++;
	leaf->at.sub = backward ? i : i - 1;
}

/* A bound on both sides: the entries may be few. */
static bool
is_narrow(const ScanRange *range)
{
	return range->exact && range->start.nkeys > 0 && range->end.nkeys > 0 &&
		!range->may_be_empty;
}

bool
leaf_is_remembered(IndexScanDesc scan)
{
	return IsolationIsSerializable() && scan->xs_snapshot != NULL &&
		IsMVCCSnapshot(scan->xs_snapshot);
}

static void
lock_predicate(void *arg, BlockNumber block)
{
	IndexScanDesc scan = arg;

	PredicateLockPage(scan->indexRelation, block, scan->xs_snapshot);
}

/*
 * With predicate locks the leaf is latched: an insertion asks for them with the leaf latched exclusively, so it finds ours, or we
 * find what it has inserted.
 *
 * may_be_part: the range begins here, and is read forward.  True: only its entries were copied.
 */
static bool
copy_leaf(IndexScanDesc scan, const IndexTree *tree, ScanLeaf *leaf, const ScanRange *range,
		  const KeyPoint *point, bool may_be_part, bool backward, BlockNumber hint)
{
	bool		is_part = false;

	prepare_memory(leaf);
	if (unlikely(leaf_is_remembered(scan)))
		itree_copy_leaf_latched(tree, point, backward, lock_predicate, scan, leaf->bytes,
								&leaf->frame, &leaf->version);
	else if (may_be_part && scan->parallel_scan == NULL && is_narrow(range))
		is_part = itree_copy_few(tree, &range->start, &range->end, leaf->bytes, &leaf->frame,
								 &leaf->version, &leaf->first, &leaf->last);
	else
		itree_copy_leaf(tree, point, backward, hint, leaf->bytes, &leaf->frame, &leaf->version);
	view_page(&leaf->view, tree, (Page) leaf->bytes, NULL);
	leaf->block = page_trailer(leaf->view.page)->self_block;
	leaf->valid = true;
	return is_part;
}

void
leaf_read(IndexScanDesc scan, const IndexTree *tree, const ScanRange *range, ScanLeaf *leaf,
		  const KeyPoint *point, bool from_start, ScanDirection direction, BlockNumber hint)
{
	bool		backward = ScanDirectionIsBackward(direction);
	int			at;

	leaf->at.sub = leaf->ntids = 0;
	if (copy_leaf(scan, tree, leaf, range, point, from_start && !backward, backward, hint))
	{
		leaf->more_left = leaf->more_right = false;
		leaf->at.slot = leaf->first - 1;
		return;
	}
	at = ipage_search(&leaf->view, point);
	set_limits(leaf, range, at, from_start, backward);
	leaf->at.slot = backward ? at : at - 1;
	if (is_inside_list(leaf, point, at))
		go_inside_list(scan, range, leaf, point, at, direction);
}

/* ---- entries found dead ---- */

static int
compare_killed(const void *a, const void *b)
{
	const KilledEntry *x = a;
	const KilledEntry *y = b;

	return x->at.slot != y->at.slot ? x->at.slot - y->at.slot : x->at.sub - y->at.sub;
}

/* A posting list is dead if all of it is. */
static void
mark_killed(Page page, const KilledEntry *killed, int n)
{
	for (int i = 0; i < n;)
	{
		const KilledEntry *first = &killed[i];
		int			same = 0;

		for (; i < n && killed[i].at.slot == first->at.slot; i++)
			if (same == 0 || killed[i].at.sub != killed[i - 1].at.sub)
				same++;
		if (same == first->ntids)
			cell_mark_dead(page, first->at.slot);
	}
}

/*
 * If the leaf is unchanged, these entries are the ones that were looked up.  The mark is a hint, not logged, and
 * does not make the page dirty (I6).
 */
void
leaf_kill(const IndexTree *tree, const ScanLeaf *leaf, KilledEntry *killed, int n)
{
	PoolFrame  *frame;

	if (leaf->version == 0)
		return;
	frame = pool_latch_try(&tree->file, leaf->block);
	if (frame == NULL)
		return;
	qsort(killed, n, sizeof(KilledEntry), compare_killed);
	if (frame == leaf->frame && pg_atomic_read_u64(&frame->version) == leaf->version)
		mark_killed(pool_page(frame), killed, n);
	pool_unlatch(frame);
}
