/*
 * index_scan.c
 *	  Index scans.
 *
 * A leaf is copied, its matching entries are put aside, and the scan goes on from the fence of that leaf, found by its
 * key: splits and merges in between make no difference.  Between calls no latch is held.
 *
 * Core's functions prepare conditions and arrays and check entries; they expect the first part of their own
 * scan state, BTScanOpaqueData, where ours begins.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/relscan.h"
#include "access/xlog.h"
#include "am/index.h"
#include "miscadmin.h"
#include "nodes/tidbitmap.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "tree/tree.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* A fence, kept beyond the copy of its leaf. */
typedef struct Bound
{
	IndexItem	item;
	union
	{
		char		bytes[INDEX_MAX_TUPLE + 2 * MAXIMUM_ALIGNOF + sizeof(IndexTupleData)];
		double		align;
	}			tuple;
} Bound;

typedef struct ScanEntry
{
	ItemPointerData tid;
	uint16		slot;			/* on the leaf */
	uint16		ntids;			/* of its cell */
	int			tuple;			/* offset in tuples */
} ScanEntry;

/* What was read from one leaf: all matching entries between two bounds. */
typedef struct Batch
{
	bool		valid;
	Bound		low;
	Bound		high;
	BlockNumber right_block;	/* hint */
	bool		more_left;
	bool		more_right;
	PoolFrame  *frame;			/* the leaf as it was: to mark dead entries */
	uint64		version;
	BlockNumber block;
	ScanEntry  *entries;		/* in index order */
	int			room;
	int			n;
	int			at;				/* the one returned last */
	char	   *tuples;			/* index-only scans */
	int			tuples_room;
	int			tuples_size;
} Batch;

typedef struct LeafScan
{
	IndexTree	tree;
	Batch		current;
	Batch		mark;
	int			mark_at;		/* the mark is in the current batch; or -1 */
	bool		locked;			/* interlock with VACUUM held */
	int		   *killed;			/* entries of the current batch */
	int			nkilled;
	int			killed_room;
} LeafScan;

/* Core's part comes first; what follows there is for its own pages. */
#define CORE_PART	MAXALIGN(offsetof(BTScanOpaqueData, currPos))

static inline LeafScan *
scan_state(IndexScanDesc scan)
{
	return (LeafScan *) ((char *) scan->opaque + CORE_PART);
}

/* ---- the interlock ---- */

static bool
needs_lock(IndexScanDesc scan)
{
	return (scan->xs_want_itup ||
			(scan->xs_snapshot != NULL && !IsMVCCSnapshot(scan->xs_snapshot))) &&
		!RecoveryInProgress();
}

static void
lock_tids(IndexScanDesc scan)
{
	LeafScan  *state = scan_state(scan);

	if (!state->locked && needs_lock(scan))
	{
		index_lock_tids(scan->indexRelation, ShareLock);
		state->locked = true;
	}
}

/* Nobody's TIDs are kept any more. */
static void
unlock_tids(IndexScanDesc scan)
{
	LeafScan  *state = scan_state(scan);

	if (state->locked && !state->mark.valid)
	{
		index_unlock_tids(scan->indexRelation, ShareLock);
		state->locked = false;
	}
}

/* ---- entries found dead ---- */

static int
compare_ints(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

/* A posting list is dead if all of it is. */
static void
mark_killed(Batch *batch, Page page, const int *killed, int n)
{
	for (int i = 0; i < n;)
	{
		const ScanEntry *entry = &batch->entries[killed[i]];
		int			same = 0;

		for (; i < n && batch->entries[killed[i]].slot == entry->slot; i++)
			if (i == 0 || killed[i] != killed[i - 1])
				same++;
		if (same == entry->ntids)
			cell_mark_dead(page, entry->slot);
	}
}

/*
 * Marks the entries on their leaf, if that is unchanged: then they are the ones that were looked up.  The mark is
 * a hint, not logged, and does not make the page dirty (I6).
 */
static void
kill_entries(IndexScanDesc scan)
{
	LeafScan  *state = scan_state(scan);
	Batch	   *batch = &state->current;
	PoolFrame  *frame;

	if (state->nkilled == 0)
		return;
	qsort(state->killed, state->nkilled, sizeof(int), compare_ints);
	frame = batch->version == 0 || wal_check_enabled ? NULL :
		pool_latch_try(&state->tree.file, batch->block);
	if (frame != NULL)
	{
		if (frame == batch->frame && pg_atomic_read_u64(&frame->version) == batch->version)
			mark_killed(batch, pool_page(frame), state->killed, state->nkilled);
		pool_unlatch(frame);
	}
	state->nkilled = 0;
}

static void
note_killed(LeafScan *state)
{
	if (state->nkilled == state->killed_room)
	{
		state->killed_room = Max(state->killed_room * 2, 64);
		state->killed = state->killed == NULL ? palloc(sizeof(int) * state->killed_room) :
			repalloc(state->killed, sizeof(int) * state->killed_room);
	}
	state->killed[state->nkilled++] = state->current.at;
}

/* ---- reading a leaf ---- */

static void
set_bound(Bound *bound, const IndexItem *item)
{
	bound->item = *item;
	bound->item.tuple = (IndexTuple) bound->tuple.bytes;
	memcpy(bound->tuple.bytes, item->tuple, IndexTupleSize(item->tuple));
}

static void
copy_bound(Bound *to, const Bound *from)
{
	set_bound(to, &from->item);
}

static void
set_bound_from_fence(const PageView *view, int slot, Bound *bound)
{
	PGAlignedBlock buffer;
	IndexItem	item;

	view_item(view, slot, &item, buffer.data);
	set_bound(bound, &item);
}

static int
save_tuple(Batch *batch, IndexTuple tuple)
{
	int			size = MAXALIGN(IndexTupleSize(tuple));
	int			at = batch->tuples_size;

	/* "name" columns are read to their full width, beyond what is stored */
	if (at + size + NAMEDATALEN > batch->tuples_room)
	{
		batch->tuples_room = Max(batch->tuples_room * 2, at + size + NAMEDATALEN + BLCKSZ);
		batch->tuples = batch->tuples == NULL ? palloc(batch->tuples_room) :
			repalloc(batch->tuples, batch->tuples_room);
	}
	memcpy(batch->tuples + at, tuple, IndexTupleSize(tuple));
	batch->tuples_size += size;
	return at;
}

/*
 * The bound that the scan comes from may lie inside a posting list: pages were merged and their equal keys
 * joined meanwhile.  Entries on the wrong side of it were returned before.
 */
static inline bool
is_behind(const KeyPoint *point, ItemPointer tid, bool backward)
{
	int			result;

	if (point == NULL)
		return false;
	result = ItemPointerCompare(tid, unconstify(ItemPointerData *, &point->tid));
	return backward ? result >= 0 : result < 0;
}

/* point: the bound, if it may lie among the item's TIDs. */
static void
add_entries(IndexScanDesc scan, Batch *batch, const IndexItem *item, int slot, bool backward,
			const KeyPoint *point)
{
	int			tuple = scan->xs_want_itup ? save_tuple(batch, item->tuple) : 0;
	ItemPointerData single;
	ItemPointerData *tids = &single;

	if (batch->n + item->ntids > batch->room)
	{
		batch->room = Max(batch->room * 2, batch->n + item->ntids + 128);
		batch->entries = batch->entries == NULL ? palloc(sizeof(ScanEntry) * batch->room) :
			repalloc(batch->entries, sizeof(ScanEntry) * batch->room);
	}
	if (item->ntids > 1)
		tids = palloc(sizeof(ItemPointerData) * item->ntids);
	(void) cell_tids(item, tids);
	for (int i = 0; i < item->ntids; i++)
	{
		ItemPointer tid = &tids[backward ? item->ntids - 1 - i : i];
		ScanEntry  *entry = &batch->entries[batch->n];

		if (is_behind(point, tid, backward))
			continue;
		batch->n++;
		entry->tid = *tid;
		entry->slot = slot;
		entry->ntids = item->ntids;
		entry->tuple = tuple;
	}
	if (tids != &single)
		pfree(tids);
}

static void
reverse_entries(Batch *batch)
{
	for (int i = 0, j = batch->n - 1; i < j; i++, j--)
	{
		ScanEntry	entry = batch->entries[i];

		batch->entries[i] = batch->entries[j];
		batch->entries[j] = entry;
	}
}

/*
 * Puts aside what matches, from slot `from` on in the direction.  inside: the point, if it lies among
 * the TIDs of that slot.
 */
static void
read_entries(IndexScanDesc scan, const PageView *view, int from, ScanDirection direction,
			 const KeyPoint *inside)
{
	Batch	   *batch = &scan_state(scan)->current;
	bool		backward = ScanDirectionIsBackward(direction);
	int			nslots = page_nslots(view->page);
	bool		go_on = true;
	PGAlignedBlock buffer;

	batch->n = 0;
	batch->tuples_size = 0;
	for (int slot = from; go_on && slot >= SLOT_FIRST && slot < nslots;
		 slot += backward ? -1 : 1)
	{
		IndexItem	item;

		view_item(view, slot, &item, buffer.data);
		if (item.is_dead && scan->ignore_killed_tuples)
			continue;
		if (_bt_checkkeys(scan, item.tuple, view->keys->natts, direction, &go_on))
			add_entries(scan, batch, &item, slot, backward, slot == from ? inside : NULL);
	}
	if (!go_on && backward)
		batch->more_left = false;
	else if (!go_on)
		batch->more_right = false;
	if (backward)
		reverse_entries(batch);
	batch->at = backward ? batch->n : -1;
}

static bool
is_inside_list(const PageView *view, const KeyPoint *point, int slot)
{
	PGAlignedBlock buffer;
	IndexItem	item;

	if (point->tail != TAIL_TID || slot >= page_nslots(view->page))
		return false;
	view_item(view, slot, &item, buffer.data);
	return item.ntids > 1 && key_compare(view->keys, point, &item) == 0;
}

/*
 * Reads the leaf that the point is on.  from: the bound where the scan comes from, or NULL at its start.
 */
static void
read_leaf(IndexScanDesc scan, const KeyPoint *point, ScanDirection direction, BlockNumber hint,
		  const Bound *from)
{
	LeafScan  *state = scan_state(scan);
	Batch	   *batch = &state->current;
	bool		backward = ScanDirectionIsBackward(direction);
	PGAlignedBlock leaf;
	PageView	view;
	bool		inside;
	int			slot;

	lock_tids(scan);
	itree_copy_leaf(&state->tree, point, backward, hint, leaf.data, &batch->frame,
					&batch->version);
	view_page(&view, &state->tree, (Page) leaf.data, NULL);
	slot = ipage_search(&view, point);
	inside = is_inside_list(&view, point, slot);
	batch->block = page_trailer(view.page)->self_block;
	batch->right_block = page_trailer(view.page)->right_block;
	if (backward)
	{
		if (from != NULL && from != &batch->high)
			copy_bound(&batch->high, from);
		else if (from == NULL)
			set_bound_from_fence(&view, SLOT_HIGH_FENCE, &batch->high);
		set_bound_from_fence(&view, SLOT_LOW_FENCE, &batch->low);
		if (!inside)
			slot--;
	}
	else
	{
		if (from != NULL && from != &batch->low)
			copy_bound(&batch->low, from);
		else if (from == NULL)
			set_bound_from_fence(&view, SLOT_LOW_FENCE, &batch->low);
		set_bound_from_fence(&view, SLOT_HIGH_FENCE, &batch->high);
	}
	batch->valid = true;
	read_entries(scan, &view, slot, direction, inside ? point : NULL);
}

/* ---- from leaf to leaf ---- */

static bool
is_lowest(const Bound *bound)
{
	return bound->item.natts == 0 && !bound->item.is_infinite;
}

static void
leave_batch(IndexScanDesc scan)
{
	LeafScan  *state = scan_state(scan);

	if (state->current.valid)
		kill_entries(scan);
	state->current.valid = false;
	unlock_tids(scan);
}

static void
copy_batch(Batch *to, const Batch *from)
{
	ScanEntry  *entries = to->entries;
	int			room = to->room;
	char	   *tuples = to->tuples;

	if (entries == NULL || room < from->n)
	{
		room = Max(from->room, 1);
		entries = entries == NULL ? palloc(sizeof(ScanEntry) * room) :
			repalloc(entries, sizeof(ScanEntry) * room);
	}
	if (from->tuples_room > 0)
		tuples = tuples == NULL ? palloc(from->tuples_room) :
			repalloc(tuples, from->tuples_room);
	*to = *from;
	to->entries = entries;
	to->room = room;
	to->tuples = tuples;
	to->low.item.tuple = (IndexTuple) to->low.tuple.bytes;
	to->high.item.tuple = (IndexTuple) to->high.tuple.bytes;
	memcpy(to->entries, from->entries, sizeof(ScanEntry) * from->n);
	if (from->tuples_size > 0)
		memcpy(to->tuples, from->tuples, from->tuples_size);
}

/* A mark in the batch that is being left is kept. */
static void
save_mark(LeafScan *state)
{
	if (state->mark_at < 0)
		return;
	copy_batch(&state->mark, &state->current);
	state->mark.at = state->mark_at;
	state->mark_at = -1;
}

/* The next leaf in the direction that has something; false: there is none, the scan is at its end. */
static bool
step(IndexScanDesc scan, ScanDirection direction)
{
	LeafScan  *state = scan_state(scan);
	Batch	   *batch = &state->current;
	bool		backward = ScanDirectionIsBackward(direction);

	save_mark(state);
	for (;;)
	{
		Bound		from;
		KeyPoint	point;

		kill_entries(scan);
		if (backward ? !batch->more_left || is_lowest(&batch->low) :
			!batch->more_right || batch->high.item.is_infinite)
		{
			leave_batch(scan);
			return false;
		}
		copy_bound(&from, backward ? &batch->low : &batch->high);
		key_point_from_item(state->tree.keys, &point, &from.item);
		/* what comes next has more on the side that we come from */
		if (backward)
			batch->more_right = true;
		else
			batch->more_left = true;
		unlock_tids(scan);
		read_leaf(scan, &point, direction, backward ? InvalidBlockNumber : batch->right_block,
				  &from);
		if (batch->n > 0)
			return true;
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- one entry after the other ---- */

static bool
first_batch(IndexScanDesc scan, ScanDirection direction)
{
	BTScanOpaque so = scan->opaque;
	LeafScan  *state = scan_state(scan);
	Batch	   *batch = &state->current;
	KeyPoint	point;

	pgstat_count_index_scan(scan->indexRelation);
	_bt_preprocess_keys(scan);
	if (!so->qual_ok || !tree_exists(&state->tree.file) ||
		!index_start_point(scan, direction, &point))
		return false;
	batch->more_left = ScanDirectionIsBackward(direction);
	batch->more_right = !batch->more_left;
	read_leaf(scan, &point, direction, InvalidBlockNumber, NULL);
	return batch->n > 0 || step(scan, direction);
}

static bool
advance(IndexScanDesc scan, ScanDirection direction)
{
	Batch	   *batch = &scan_state(scan)->current;
	int			next = batch->at + (ScanDirectionIsBackward(direction) ? -1 : 1);

	if (next >= 0 && next < batch->n)
	{
		batch->at = next;
		return true;
	}
	if (!step(scan, direction))
		return false;
	batch->at = ScanDirectionIsBackward(direction) ? batch->n - 1 : 0;
	return true;
}

/* The first entry of a scan, or of the next array elements. */
static bool
begin(IndexScanDesc scan, ScanDirection direction)
{
	Batch	   *batch = &scan_state(scan)->current;

	if (!first_batch(scan, direction))
	{
		leave_batch(scan);
		return false;
	}
	batch->at = ScanDirectionIsBackward(direction) ? batch->n - 1 : 0;
	return true;
}

static void
return_entry(IndexScanDesc scan)
{
	Batch	   *batch = &scan_state(scan)->current;
	const ScanEntry *entry = &batch->entries[batch->at];

	scan->xs_heaptid = entry->tid;
	if (scan->xs_want_itup)
		scan->xs_itup = (IndexTuple) (batch->tuples + entry->tuple);
}

bool
rowan_index_get_tuple(IndexScanDesc scan, ScanDirection direction)
{
	BTScanOpaque so = scan->opaque;
	LeafScan  *state = scan_state(scan);
	bool		found;

	scan->xs_recheck = false;
	if (so->numArrayKeys != 0 && !state->current.valid)
	{
		if (so->numArrayKeys < 0)
			return false;
		_bt_start_array_keys(scan, direction);
	}
	do
	{
		if (!state->current.valid)
			found = begin(scan, direction);
		else
		{
			if (scan->kill_prior_tuple)
				note_killed(state);
			found = advance(scan, direction);
		}
	} while (!found && so->numArrayKeys != 0 && _bt_advance_array_keys(scan, direction));
	if (found)
		return_entry(scan);
	return found;
}

int64
rowan_index_get_bitmap(IndexScanDesc scan, TIDBitmap *bitmap)
{
	BTScanOpaque so = scan->opaque;
	Batch	   *batch = &scan_state(scan)->current;
	int64		n = 0;

	if (so->numArrayKeys < 0)
		return 0;
	if (so->numArrayKeys > 0)
		_bt_start_array_keys(scan, ForwardScanDirection);
	do
	{
		bool		found = begin(scan, ForwardScanDirection);

		while (found)
		{
			for (int i = 0; i < batch->n; i++)
				tbm_add_tuples(bitmap, &batch->entries[i].tid, 1, false);
			n += batch->n;
			found = step(scan, ForwardScanDirection);
		}
	} while (so->numArrayKeys != 0 && _bt_advance_array_keys(scan, ForwardScanDirection));
	return n;
}

/* ---- begin, end, marks ---- */

IndexScanDesc
rowan_index_begin_scan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
	BTScanOpaque so;

	Assert(norderbys == 0);
	so = palloc0(CORE_PART + sizeof(LeafScan));
	scan->opaque = so;
	if (scan->numberOfKeys > 0)
		so->keyData = palloc(scan->numberOfKeys * sizeof(ScanKeyData));
	index_tree(index, &scan_state(scan)->tree);
	scan_state(scan)->mark_at = -1;
	scan->xs_itupdesc = RelationGetDescr(index);
	return scan;
}

void
rowan_index_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	BTScanOpaque so = scan->opaque;
	LeafScan  *state = scan_state(scan);

	state->mark.valid = false;
	state->mark_at = -1;
	leave_batch(scan);
	so->arrayKeyCount = 0;
	if (keys && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	so->numberOfKeys = 0;
	_bt_preprocess_array_keys(scan);
}

void
rowan_index_end_scan(IndexScanDesc scan)
{
	BTScanOpaque so = scan->opaque;
	LeafScan  *state = scan_state(scan);

	state->mark.valid = false;
	leave_batch(scan);
	for (Batch *batch = &state->current;; batch = &state->mark)
	{
		if (batch->entries != NULL)
			pfree(batch->entries);
		if (batch->tuples != NULL)
			pfree(batch->tuples);
		if (batch == &state->mark)
			break;
	}
	if (state->killed != NULL)
		pfree(state->killed);
	if (so->keyData != NULL)
		pfree(so->keyData);
	if (so->arrayContext != NULL)
		MemoryContextDelete(so->arrayContext);
	pfree(so);
}

void
rowan_index_mark(IndexScanDesc scan)
{
	BTScanOpaque so = scan->opaque;
	LeafScan  *state = scan_state(scan);

	state->mark.valid = false;
	state->mark_at = state->current.valid ? state->current.at : -1;
	if (so->numArrayKeys != 0)
		_bt_mark_array_keys(scan);
}

void
rowan_index_restore(IndexScanDesc scan)
{
	BTScanOpaque so = scan->opaque;
	LeafScan  *state = scan_state(scan);

	if (so->numArrayKeys != 0)
		_bt_restore_array_keys(scan);
	if (state->mark_at >= 0)
	{
		state->current.at = state->mark_at;
		return;
	}
	if (state->current.valid)
		kill_entries(scan);
	if (state->mark.valid)
		copy_batch(&state->current, &state->mark);
	else
		leave_batch(scan);
}
