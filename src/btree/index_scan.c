/*
 * index_scan.c
 *	  Index scans.
 *
 * A leaf is copied (index_leaf.c), and when its entries have been returned the scan goes on from
 * the fence of that leaf, found by its key: splits and merges in between make no difference.
 * Between calls no latch is held.
 *
 * Conditions are prepared when the scan begins (index_keys.c).  Arrays need no state of their own:
 * from a place in the index it follows what may come next (index_skip.c).  So a mark, a change of
 * direction and a parallel scan are a matter of places.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "btree/index_keys.h"
#include "btree/index_leaf.h"
#include "btree/index_skip.h"
#include "btree/index_trust.h"
#include "miscadmin.h"
#include "nodes/tidbitmap.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "tree/tree.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

typedef struct LeafScan
{
	IndexTree	tree;
	bool		prepared;		/* the range is that of the scan's keys */
	ScanSkip   *skip;			/* allocated; range.skip if these conditions make use of it */
	ScanLeaf	current;
	ScanLeaf	mark;
	LeafPlace	mark_at;
	bool		mark_is_here;	/* mark_at is on the current leaf; else on mark, if that is
								 * valid */
	bool		locked;			/* interlock with VACUUM held */
	TidLookup	lookup;
	KilledEntry *killed;		/* entries of the current leaf */
	int			nkilled;
	int			killed_room;
	ScanRange	range;
} LeafScan;

static inline LeafScan *
scan_state(IndexScanDesc scan)
{
	return scan->opaque;
}

/* ---- the interlock ---- */

static bool
needs_lock(IndexScanDesc scan)
{
	return scan->xs_want_itup ||
		(scan->xs_snapshot != NULL && !IsMVCCSnapshot(scan->xs_snapshot));
}

/*
 * A leaf is going to be copied.  In recovery VACUUM is redone without waiting for anybody: then
 * TIDs are looked up instead (index_trust.c), those of that leaf also after a promotion.
 */
static void
lock_tids(IndexScanDesc scan)
{
	LeafScan   *state = scan_state(scan);

	state->current.unlocked = false;
	if (state->locked || !needs_lock(scan))
		return;
	if (RecoveryInProgress())
	{
		state->current.unlocked = scan->xs_want_itup;
		state->current.visible_block = InvalidBlockNumber;
		return;
	}
	index_lock_tids(scan->indexRelation);
	state->locked = true;
}

/* Nobody's TIDs are kept any more. */
static void
unlock_tids(IndexScanDesc scan)
{
	LeafScan   *state = scan_state(scan);

	if (state->locked && !state->mark.valid)
	{
		index_unlock_tids(scan->indexRelation);
		state->locked = false;
	}
}

/* ---- entries found dead ---- */

static void
kill_entries(LeafScan *state)
{
	if (state->nkilled > 0)
		leaf_kill(&state->tree, &state->current, state->killed, state->nkilled);
	state->nkilled = 0;
}

static void
note_killed(LeafScan *state)
{
	if (state->nkilled == state->killed_room)
	{
		state->killed_room = Max(state->killed_room * 2, 64);
		state->killed = state->killed == NULL ?
			palloc(sizeof(KilledEntry) * state->killed_room) :
			repalloc(state->killed, sizeof(KilledEntry) * state->killed_room);
	}
	state->killed[state->nkilled].at = state->current.at;
	state->killed[state->nkilled++].ntids = state->current.ntids;
}

/* ---- from leaf to leaf ---- */

static void
get_fence(const ScanLeaf *leaf, int slot, Bound *bound)
{
	view_item(&leaf->view, slot, &bound->item, bound->tuple.bytes);
}

/* Where the next leaf in the direction begins; false: there is none. */
static bool
next_bound(const ScanLeaf *leaf, bool backward, Bound *from)
{
	if (!(backward ? leaf->more_left : leaf->more_right))
		return false;
	get_fence(leaf, backward ? SLOT_LOW_FENCE : SLOT_HIGH_FENCE, from);
	return backward ? from->item.natts > 0 : !from->item.is_infinite;
}

static BlockNumber
next_hint(const ScanLeaf *leaf, bool backward)
{
	return backward ? InvalidBlockNumber : page_trailer(leaf->view.page)->right_block;
}

/* In a parallel scan it was our turn; with the leaf in our hands it is somebody else's. */
static void
pass_turn_on(IndexScanDesc scan, bool backward)
{
	ScanLeaf   *leaf = &scan_state(scan)->current;

	if (scan->parallel_scan != NULL)
	{
		Bound		next;

		index_parallel_release(scan, next_bound(leaf, backward, &next) ? &next : NULL,
							   next_hint(leaf, backward));
	}
}

/* Reads the part that begins at the point, or the leaf that it is on. */
static void
read_part(IndexScanDesc scan, const KeyPoint *point, bool from_start)
{
	LeafScan   *state = scan_state(scan);
	KeyPoint	end;

	index_part_end(state->range.conditions, point, &end);
	leaf_read(scan, &state->tree, &state->range, &state->current, point, &end, from_start,
			  ForwardScanDirection, InvalidBlockNumber);
	index_skip_has_read_part(state->range.skip, state->current.block);
}

static bool
may_read_part(IndexScanDesc scan, bool backward)
{
	const ScanRange *range = &scan_state(scan)->range;

	return range->skip != NULL && !backward && scan->parallel_scan == NULL &&
		index_skip_reads_parts(range->skip);
}

/* There are bounds on both sides, and the entries between them may be few. */
static bool
is_narrow(IndexScanDesc scan, bool backward)
{
	const ScanRange *range = &scan_state(scan)->range;

	return range->exact && range->conditions->few && !backward && scan->parallel_scan == NULL &&
		range->start.nkeys > 0 && range->end.nkeys > 0;
}

static void
read_first_leaf(IndexScanDesc scan, ScanDirection direction)
{
	LeafScan   *state = scan_state(scan);
	ScanRange  *range = &state->range;
	bool		backward = ScanDirectionIsBackward(direction);

	lock_tids(scan);
	if (may_read_part(scan, backward))
	{
		/* the scan may have been elsewhere before: which part it is, is noted with the point */
		index_enter_bounds(range->conditions, &range->start, 0, false);
		read_part(scan, &range->start, true);
	}
	else
		leaf_read(scan, &state->tree, range, &state->current,
				  backward ? &range->end : &range->start,
				  is_narrow(scan, backward) ? &range->end : NULL, true, direction,
				  InvalidBlockNumber);
	pass_turn_on(scan, backward);
}

/*
 * The leaf that the point is on, between which and the bound nothing matches.  As long as skipping
 * was not found to pay, the next leaf is tried: the point may be there.
 */
static void
skip_to_leaf(IndexScanDesc scan, const KeyPoint *bound, const KeyPoint *point,
			 ScanDirection direction, BlockNumber hint)
{
	LeafScan   *state = scan_state(scan);
	ScanLeaf   *leaf = &state->current;
	ScanSkip   *skip = state->range.skip;
	bool		backward = ScanDirectionIsBackward(direction);

	/* hints are of no use there */
	if (leaf_is_remembered(scan))
	{
		leaf_read(scan, &state->tree, &state->range, leaf, point, NULL, false, direction,
				  hint);
		return;
	}
	if (!index_skip_pays(skip) && BlockNumberIsValid(hint))
	{
		leaf_read(scan, &state->tree, &state->range, leaf, bound, NULL, false, direction,
				  hint);
		if (ipage_covers(&leaf->view, point, backward))
			return;
		index_skip_found_to_pay(skip);
	}
	hint = index_skip_hint(skip, &state->tree, point, backward);
	leaf_read(scan, &state->tree, &state->range, leaf, point, NULL, false, direction,
			  hint);
	if (leaf->block != hint)
		index_skip_hint_failed(skip);
}

/* The next leaf behind the bound that may have something; false: there is none. */
static bool
read_next_leaf(IndexScanDesc scan, const Bound *from, ScanDirection direction, BlockNumber hint)
{
	LeafScan   *state = scan_state(scan);
	ScanRange  *range = &state->range;
	bool		backward = ScanDirectionIsBackward(direction);
	SkipResult	result = SKIP_NOT;
	KeyPoint	bound;
	KeyPoint	point;

	if (range->skip != NULL)
		result = index_skip_from(range->skip, &from->item, backward, &point);
	if (result == SKIP_END)
	{
		index_parallel_end(scan);
		return false;
	}
	key_point_from_item(state->tree.keys, &bound, &from->item);
	lock_tids(scan);
	if (result == SKIP_TO && may_read_part(scan, backward))
		read_part(scan, &point, false);
	else if (result == SKIP_TO)
		skip_to_leaf(scan, &bound, &point, direction, hint);
	else
		leaf_read(scan, &state->tree, range, &state->current, &bound, NULL, false, direction,
				  hint);
	pass_turn_on(scan, backward);
	return true;
}

/* Behind a part the next one; false: there is none. */
static bool
read_next_part(IndexScanDesc scan, ScanDirection direction)
{
	LeafScan   *state = scan_state(scan);
	bool		backward = ScanDirectionIsBackward(direction);
	KeyPoint	point;

	if (!index_skip_next_part(state->range.skip, backward, &point))
		return false;
	unlock_tids(scan);
	lock_tids(scan);
	if (may_read_part(scan, backward))
		read_part(scan, &point, false);
	else
		leaf_read(scan, &state->tree, &state->range, &state->current, &point, NULL, false,
				  direction, InvalidBlockNumber);
	return true;
}

/*
 * As next_bound, in a parallel scan: from where the other processes have come to.  It ends for all
 * of them when one has seen that nothing more can match.
 */
static bool
next_shared_bound(IndexScanDesc scan, bool backward, Bound *from, BlockNumber *hint)
{
	ScanLeaf   *leaf = &scan_state(scan)->current;

	if (index_parallel_seize(scan, from, hint) != TURN_NEXT)
		return false;
	if (backward ? leaf->more_left : leaf->more_right)
		return true;
	index_parallel_end(scan);
	return false;
}

static void
leave_leaf(IndexScanDesc scan)
{
	LeafScan   *state = scan_state(scan);

	if (state->current.valid)
		kill_entries(state);
	state->current.valid = false;
	unlock_tids(scan);
}

/* A mark on the leaf that is being left is kept. */
static void
save_mark(LeafScan *state)
{
	if (!state->mark_is_here)
		return;
	leaf_copy(&state->mark, &state->current);
	state->mark_is_here = false;
}

/* The next leaf in the direction, or part of one; false: nothing there can match. */
static bool
read_next(IndexScanDesc scan, ScanDirection direction)
{
	LeafScan   *state = scan_state(scan);
	ScanLeaf   *leaf = &state->current;
	bool		backward = ScanDirectionIsBackward(direction);
	BlockNumber hint = next_hint(leaf, backward);
	Bound		from;

	if (leaf->is_part)
		return read_next_part(scan, direction);
	if (state->range.skip != NULL)
		index_skip_has_left_leaf(state->range.skip, leaf->found);
	if (!(scan->parallel_scan != NULL ? next_shared_bound(scan, backward, &from, &hint) :
		  next_bound(leaf, backward, &from)))
		return false;
	unlock_tids(scan);
	return read_next_leaf(scan, &from, direction, hint);
}

/* Points are made for it, and forgotten with what comparison functions keep in them. */
static bool
read_next_briefly(IndexScanDesc scan, ScanDirection direction)
{
	MemoryContext points = scan_state(scan)->range.points;
	MemoryContext caller = MemoryContextSwitchTo(points);
	bool		found = read_next(scan, direction);

	MemoryContextSwitchTo(caller);
	MemoryContextReset(points);
	return found;
}

/*
 * The next leaf in the direction that has something; false: there is none, the scan is at its end.
 */
static bool
step(IndexScanDesc scan, ScanDirection direction)
{
	LeafScan   *state = scan_state(scan);

	save_mark(state);
	do
	{
		/* on each leaf: a bitmap scan comes nowhere else */
		CHECK_FOR_INTERRUPTS();
		kill_entries(state);
		if (!read_next_briefly(scan, direction))
		{
			leave_leaf(scan);
			return false;
		}
	} while (!leaf_next(scan, &state->range, &state->current, direction));
	return true;
}

/* ---- one entry after the other ---- */

static bool
advance(IndexScanDesc scan, ScanDirection direction)
{
	LeafScan   *state = scan_state(scan);

	return leaf_next(scan, &state->range, &state->current, direction) || step(scan, direction);
}

/* There is not even a page to be locked: the whole index, then. */
static bool
is_empty(IndexScanDesc scan)
{
	const PoolFile *file = &scan_state(scan)->tree.file;

	if (tree_exists(file))
		return false;
	if (leaf_is_remembered(scan))
		PredicateLockRelation(scan->indexRelation, scan->xs_snapshot);
	/* who has made a page before we had the lock may not have seen it */
	return !tree_exists(file);
}

/* What the conditions say. */
static void
set_range(IndexScanDesc scan)
{
	LeafScan   *state = scan_state(scan);
	ScanRange  *range = &state->range;
	ScanConditions *conditions = range->conditions;

	index_prepare_conditions(scan, conditions);
	state->prepared = true;
	if (conditions->nothing)
		return;
	range->skip = NULL;
	if (conditions->has_gap || conditions->has_sets)
	{
		if (state->skip == NULL)
			state->skip = index_skip_make(conditions);
		range->skip = state->skip;
	}
	index_scan_range(range);
}

static bool
first_leaf(IndexScanDesc scan, ScanDirection direction)
{
	LeafScan   *state = scan_state(scan);
	ParallelTurn turn = TURN_FIRST;
	Bound		from;
	BlockNumber hint = InvalidBlockNumber;

	if (!state->prepared)
		set_range(scan);
	if (state->range.conditions->nothing || is_empty(scan))
	{
		index_parallel_end(scan);
		return false;
	}
	if (scan->parallel_scan != NULL)
		turn = index_parallel_seize(scan, &from, &hint);
	if (turn == TURN_NONE)
		return false;
	if (turn == TURN_FIRST)
		read_first_leaf(scan, direction);
	else if (!read_next_leaf(scan, &from, direction, hint))
		return false;
	return advance(scan, direction);
}

/* The first entry of a scan in the direction. */
static bool
begin(IndexScanDesc scan, ScanDirection direction)
{
	bool		found;

	pgstat_count_index_scan(scan->indexRelation);
	count_index_search(scan);
	found = first_leaf(scan, direction);
	if (!found)
		leave_leaf(scan);
	return found;
}

static bool
next_tuple(IndexScanDesc scan, ScanDirection direction)
{
	LeafScan   *state = scan_state(scan);

	scan->xs_recheck = false;
	if (!state->current.valid)
	{
		if (!begin(scan, direction))
			return false;
	}
	else if (scan->kill_prior_tuple || ScanDirectionIsBackward(direction) ||
			 !leaf_next_tid(&state->current))
	{
		if (scan->kill_prior_tuple)
			note_killed(state);
		if (!advance(scan, direction))
			return false;
	}
	scan->xs_heaptid = *leaf_tid(&state->current);
	if (scan->xs_want_itup)
		scan->xs_itup = (IndexTuple) state->current.tuple;
	return true;
}

bool
rowan_index_get_tuple(IndexScanDesc scan, ScanDirection direction)
{
	LeafScan   *state = scan_state(scan);

	pool_assert_unlatched();
	while (next_tuple(scan, direction))
	{
		if (likely(!state->current.unlocked) ||
			tid_may_be_trusted(scan, &state->current, &state->lookup))
			return true;
		scan->kill_prior_tuple = false; /* it was said of the one before */
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/* TIDs that are given to a bitmap at once. */
#define BITMAP_BATCH	64

int64
rowan_index_get_bitmap(IndexScanDesc scan, TIDBitmap *bitmap)
{
	ItemPointerData tids[BITMAP_BATCH];
	int64		all = 0;
	int			n = 0;

	pool_assert_unlatched();
	for (bool found = begin(scan, ForwardScanDirection); found;
		 found = advance(scan, ForwardScanDirection))
	{
		tids[n++] = *leaf_tid(&scan_state(scan)->current);
		if (n == BITMAP_BATCH)
		{
			tbm_add_tuples(bitmap, tids, n, false);
			all += n;
			n = 0;
		}
	}
	if (n > 0)
		tbm_add_tuples(bitmap, tids, n, false);
	return all + n;
}

/* ---- begin, end, marks ---- */

IndexScanDesc
rowan_index_begin_scan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
	LeafScan   *state = palloc(sizeof(LeafScan));

	Assert(norderbys == 0);
	/* the two points of the range are large, and not read before they are set */
	memset(state, 0, offsetof(LeafScan, range));
	scan->opaque = state;
	index_tree(index, &state->tree);
	state->range.conditions = index_make_conditions(state->tree.keys);
	state->range.points = AllocSetContextCreate(CurrentMemoryContext, "rowan index scan points",
												ALLOCSET_SMALL_SIZES);
	scan->xs_itupdesc = RelationGetDescr(index);
	return scan;
}

static void
forget_mark(LeafScan *state)
{
	state->mark_is_here = state->mark.valid = false;
}

void
rowan_index_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	LeafScan   *state = scan_state(scan);

	forget_mark(state);
	leave_leaf(scan);
	state->prepared = false;
	if (keys && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
}

void
rowan_index_end_scan(IndexScanDesc scan)
{
	LeafScan   *state = scan_state(scan);

	forget_mark(state);
	leave_leaf(scan);
	leaf_free(&state->current);
	leaf_free(&state->mark);
	tid_lookup_end(&state->lookup);
	if (state->killed != NULL)
		pfree(state->killed);
	if (state->skip != NULL)
		index_skip_free(state->skip);
	index_free_conditions(state->range.conditions);
	MemoryContextDelete(state->range.points);
	pfree(state);
}

void
rowan_index_mark(IndexScanDesc scan)
{
	LeafScan   *state = scan_state(scan);

	state->mark.valid = false;
	state->mark_is_here = state->current.valid;
	state->mark_at = state->current.at;
}

/* The scan may have gone on to other parts since. */
static void
return_to_part(const LeafScan *state)
{
	const ScanLeaf *leaf = &state->current;
	PGAlignedBlock buffer;
	IndexItem	item;

	view_item(&leaf->view, leaf->at.slot, &item, buffer.data);
	index_skip_return_to_part(state->range.skip, &item);
}

void
rowan_index_restore(IndexScanDesc scan)
{
	LeafScan   *state = scan_state(scan);

	if (!state->mark_is_here)
	{
		if (!state->mark.valid)
		{
			leave_leaf(scan);
			return;
		}
		if (state->current.valid)
			kill_entries(state);
		leaf_copy(&state->current, &state->mark);
	}
	leaf_go_to(scan, &state->current, state->mark_at);
	if (state->current.is_part)
		return_to_part(state);
}
