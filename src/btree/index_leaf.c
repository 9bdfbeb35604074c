/*
 * index_leaf.c
 *	  The leaf that an index scan stands on: a private copy, and a place in it.
 *
 * The two ends of the scan's range are looked for once on each leaf.  Mostly its conditions say no
 * more than that; otherwise entries between them are checked, until a few in sequence have matched:
 * then the end of such entries is looked for.  Entries are decoded one by one as they are asked
 * for: many a scan ends before its leaf does.
 *
 * Takes a leaf's latch only under SERIALIZABLE, and to mark dead entries, which never waits for it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "btree/index_keys.h"
#include "btree/index_leaf.h"
#include "btree/index_skip.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* TIDs of a posting list that are read at once. */
#define TIDS_AT_ONCE	32

/* Entries in sequence that are found to match before it is worth a search for the end of them. */
#define LEAST_PATIENCE	4
#define MOST_PATIENCE	256

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
	leaf->patience = LEAST_PATIENCE;
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

/*
 * Entries are asked for one after the other, with much work in between: let the one after the next
 * come meanwhile.
 */
static inline void
prefetch_leaf_cell(const ScanLeaf *leaf, int slot)
{
	if (slot >= leaf->first && slot < leaf->last)
		__builtin_prefetch((char *) leaf->view.page + page_slot_offset(leaf->view.page, slot));
}

/* ---- where a point is ---- */

/*
 * The slot of the first entry behind the point, which is not before the leaf unless it may be.
 * more: it is beyond the leaf.
 */
static int
search_end(const ScanLeaf *leaf, const KeyPoint *end, bool may_be_before, bool *more)
{
	const KeyDesc *keys = leaf->view.keys;
	PGAlignedBlock buffer;
	IndexItem	fence;
	int			result;

	view_item(&leaf->view, SLOT_HIGH_FENCE, &fence, buffer.data);
	result = key_compare(keys, end, &fence);
	*more = result > 0;
	if (result >= 0)
		return page_nslots(leaf->view.page);
	if (may_be_before)
	{
		view_item(&leaf->view, SLOT_LOW_FENCE, &fence, buffer.data);
		if (key_compare(keys, end, &fence) <= 0)
			return SLOT_FIRST;
	}
	return ipage_search(&leaf->view, end);
}

static int
search_start(const ScanLeaf *leaf, const KeyPoint *start, bool may_be_behind, bool *more)
{
	const KeyDesc *keys = leaf->view.keys;
	PGAlignedBlock buffer;
	IndexItem	fence;
	int			result;

	view_item(&leaf->view, SLOT_LOW_FENCE, &fence, buffer.data);
	result = key_compare(keys, start, &fence);
	*more = result < 0;
	if (result <= 0)
		return SLOT_FIRST;
	if (may_be_behind)
	{
		view_item(&leaf->view, SLOT_HIGH_FENCE, &fence, buffer.data);
		if (key_compare(keys, start, &fence) >= 0)
			return page_nslots(leaf->view.page);
	}
	return ipage_search(&leaf->view, start);
}

/* ---- does an entry match? ---- */

/* The entry in the slot and some before matched: likely so do those that follow. */
static void
extend_sure(const ScanRange *range, ScanLeaf *leaf, int slot, IndexTuple tuple, bool backward)
{
	KeyPoint	end;
	bool		more;

	leaf->run = 0;
	if (!index_group_end(range->conditions, tuple, backward, &end))
	{
		leaf->patience = Min(leaf->patience * 2, MOST_PATIENCE);
		return;
	}
	leaf->sure_first = backward ? search_start(leaf, &end, false, &more) : slot;
	leaf->sure_last = backward ? slot + 1 : search_end(leaf, &end, false, &more);
	if (leaf->sure_last - leaf->sure_first > 2 * leaf->patience)
		leaf->patience = LEAST_PATIENCE;
	else
		leaf->patience = Min(leaf->patience * 2, MOST_PATIENCE);
}

static inline bool
is_sure(const ScanLeaf *leaf, int slot)
{
	return slot >= leaf->sure_first && slot < leaf->sure_last;
}

static inline bool
entry_matches(const ScanRange *range, ScanLeaf *leaf, int slot, IndexTuple tuple, bool backward)
{
	if (is_sure(leaf, slot))
		return true;
	if (!index_entry_matches(range->conditions, tuple))
	{
		leaf->run = 0;
		return false;
	}
	if (++leaf->run >= leaf->patience)
		extend_sure(range, leaf, slot, tuple, backward);
	return true;
}

/* Stands on the slot, if its entry matches. */
static inline bool
enter_slot(IndexScanDesc scan, const ScanRange *range, ScanLeaf *leaf, int slot, bool backward)
{
	IndexItem	item;
	bool		dead;

	leaf->at.slot = slot;
	leaf->at.sub = leaf->ntids = 0;
	if (is_sure(leaf, slot) && !scan->xs_want_itup &&
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
	if (!entry_matches(range, leaf, slot, item.tuple, backward))
		return false;
	take_item(leaf, &item, backward ? -1 : 0);
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
		prefetch_leaf_cell(leaf, slot + 2 * step);
		if (enter_slot(scan, range, leaf, slot, step < 0))
		{
			leaf->found++;
			return true;
		}
		if (range->skip != NULL && ++missed >= index_skip_patience(range->skip))
		{
			MemoryContext caller = MemoryContextSwitchTo(range->points);

			slot = skip_slots(range->skip, leaf, slot, step < 0);
			MemoryContextSwitchTo(caller);
			MemoryContextReset(range->points);
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

/* The slots to look at.  at: where the scan comes to this leaf; from_start: it begins there. */
static void
set_limits(ScanLeaf *leaf, const ScanRange *range, int at, bool from_start, bool backward)
{
	/* skipping to a column's next value may have led beyond the end */
	bool		unordered = range->may_be_empty || range->skip != NULL;

	leaf->first = SLOT_FIRST;
	leaf->last = page_nslots(leaf->view.page);
	leaf->more_left = leaf->more_right = true;
	if (!from_start || backward)
		leaf->first = search_start(leaf, &range->start, unordered, &leaf->more_left);
	if (!from_start || !backward)
		leaf->last = search_end(leaf, &range->end, unordered, &leaf->more_right);
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

/* Before anything is known, all or none. */
static void
set_sure(ScanLeaf *leaf, bool all)
{
	leaf->sure_first = leaf->first;
	leaf->sure_last = all ? leaf->last : leaf->first;
}

/*
 * The point may lie among the TIDs of the entry in the slot: pages were merged and their equal keys
 * joined meanwhile, or a TID was added.  Then the scan goes on inside.
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
			   int slot, bool backward)
{
	int			i = 0;

	if (!enter_slot(scan, range, leaf, slot, backward))
		return;
	read_tids(leaf, leaf->ntids - 1);
	while (i < leaf->ntids && ItemPointerCompare(&leaf->tids[i],
												 unconstify(ItemPointerData *, &point->tid)) < 0)
		i++;
	leaf->at.sub = backward ? i : i - 1;
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
 * With predicate locks the leaf is latched: an insertion asks for them with the leaf latched
 * exclusively, so it finds ours, or we find what it has inserted.
 *
 * True: only the entries up to part_end were copied.
 */
static bool
copy_scan_leaf(IndexScanDesc scan, const IndexTree *tree, ScanLeaf *leaf, const KeyPoint *point,
			   const KeyPoint *part_end, bool backward, BlockNumber hint)
{
	bool		is_part = false;

	prepare_memory(leaf);
	if (unlikely(leaf_is_remembered(scan)))
		itree_copy_leaf_latched(tree, point, backward, lock_predicate, scan, leaf->bytes,
								&leaf->frame, &leaf->version);
	else if (part_end != NULL)
		is_part = itree_copy_few(tree, point, part_end, leaf->bytes, &leaf->frame,
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
		  const KeyPoint *point, const KeyPoint *part_end, bool from_start,
		  ScanDirection direction, BlockNumber hint)
{
	bool		backward = ScanDirectionIsBackward(direction);
	int			at;

	leaf->at.sub = leaf->ntids = leaf->run = leaf->found = 0;
	leaf->is_part = false;
	if (copy_scan_leaf(scan, tree, leaf, point, part_end, backward, hint))
	{
		leaf->is_part = range->skip != NULL;
		leaf->more_left = leaf->more_right = false;
		set_sure(leaf, true);
		leaf->at.slot = leaf->first - 1;
		return;
	}
	at = ipage_search(&leaf->view, point);
	set_limits(leaf, range, at, from_start, backward);
	set_sure(leaf, range->exact);
	leaf->at.slot = backward ? at : at - 1;
	if (is_inside_list(leaf, point, at))
		go_inside_list(scan, range, leaf, point, at, backward);
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
			ipage_mark_dead(page, first->at.slot);
	}
}

/*
 * If the leaf is unchanged, these entries are the ones that were looked up.  The mark is a hint,
 * not logged, and does not make the page dirty (I6).
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
