/*
 * index_skip.c
 *	  Index scans pass over entries that cannot match.
 *
 * A condition bounds the range of a scan only if each column before its own has an equality.  WHERE
 * b = 5 on (a, b) does not, and the scan would read the whole index.  But an entry (1, 7) says that
 * the next match is not before (1, 5) of the next a: behind all entries that begin with 1, and if a
 * is an integer, not before (2, 5).  Likewise a = ANY ('{1,9}'): an entry (2, 7) says that the next
 * match is not before (9).  So from where the scan has come to, each column's own bounds and values
 * give the next point where a match may be.  Only entries that cannot match lie before it; those
 * that are read are checked as always.
 *
 * Under SERIALIZABLE the leaves that are passed over are not locked, and need not be: an entry that
 * belongs there does not match.
 *
 * Whether the point is on the next leaf or far away is not known.  At first the next leaf is read
 * as if nothing were skipped; once it did not reach the point, skipping pays: the leaf's parent is
 * copied, and says which leaf covers a point, without a page read, as long as the points are in its
 * range.  It may be outdated: what it says is a hint, and the leaf's fences decide.
 *
 * Takes the latch of one inner page, shared, to copy it.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/relscan.h"
#include "btree/index_skip.h"
#include "utils/memutils.h"

struct ScanSkip
{
	ScanConditions *conditions;
	int			patience;
	bool		dense;			/* many parts are on a leaf */
	int			same;			/* parts in sequence that were on the same leaf as the one
								 * before */
	BlockNumber part_block;
	bool		pays;
	bool		has_parent;
	int			parent_used;	/* points that were in its range */
	int			parent_rest;	/* so many points are looked for without one */
	char	   *parent;			/* copy of a page of level 1 */
};

/* Points without a copy of the parent, after one was of no use. */
#define PARENT_REST		8

/* So many on one leaf, and it is better copied as a whole. */
#define PARTS_OF_DENSE_LEAF 3

/* Entries that are as quickly looked at as it takes to find the next possible place. */
#define SKIP_WORTH		8
#define MOST_PATIENCE	256

ScanSkip *
index_skip_make(ScanConditions *conditions)
{
	ScanSkip   *skip = MemoryContextAllocZero(conditions->scan_memory, sizeof(ScanSkip));

	skip->conditions = conditions;
	skip->patience = SKIP_WORTH;
	return skip;
}

void
index_skip_free(ScanSkip *skip)
{
	if (skip->parent != NULL)
		pfree(skip->parent);
	pfree(skip);
}

/* ---- the next point ---- */

/* As memcmp(bound, the point's value), the index being read backward if so. */
static int
compare_bound(const ScanConditions *conditions, const SideBounds *side, int i,
			  const KeyPoint *point, bool backward)
{
	const ScanKeyData *value = &point->keys[i];
	int			result = index_compare_bound(conditions, side, i, value->sk_argument,
											 (value->sk_flags & SK_ISNULL) != 0);

	return backward ? -result : result;
}

/*
 * Makes the value of an integer column its neighbour in the direction, between which there is none.
 */
static bool
go_to_neighbour(const KeyDesc *keys, KeyPoint *point, int i, bool backward)
{
	ScanKey		key = &point->keys[i];
	int			step = backward == ((key->sk_flags & SK_BT_DESC) != 0) ? 1 : -1;
	int64		limit;

	if (key->sk_flags & SK_ISNULL)
		return false;
	switch (keys->kinds[i])
	{
		case HEAD_INT2:
			limit = step > 0 ? PG_INT16_MAX : PG_INT16_MIN;
			if (DatumGetInt16(key->sk_argument) == limit)
				return false;
			key->sk_argument = Int16GetDatum(DatumGetInt16(key->sk_argument) + step);
			return true;
		case HEAD_INT4:
			limit = step > 0 ? PG_INT32_MAX : PG_INT32_MIN;
			if (DatumGetInt32(key->sk_argument) == limit)
				return false;
			key->sk_argument = Int32GetDatum(DatumGetInt32(key->sk_argument) + step);
			return true;
		case HEAD_INT8:
			limit = step > 0 ? PG_INT64_MAX : PG_INT64_MIN;
			if (DatumGetInt64(key->sk_argument) == limit)
				return false;
			key->sk_argument = Int64GetDatum(DatumGetInt64(key->sk_argument) + step);
			return true;
		default:
			return false;
	}
}

static SkipResult
enter_bounds(ScanConditions *conditions, KeyPoint *to, int i, bool backward)
{
	index_enter_bounds(conditions, to, i, backward);
	return SKIP_TO;
}

/* Value number k of column i's set, then the bounds behind it. */
static SkipResult
enter_value(ScanConditions *conditions, KeyPoint *to, int i, int k, bool backward)
{
	to->keys[i] = conditions->element.keys[i];
	to->keys[i].sk_argument = conditions->sets[i].values[k];
	to->kinds[i] = conditions->element.kinds[i];
	conditions->sets[i].at = k;
	return enter_bounds(conditions, to, i + 1, backward);
}

/* What find_next has seen of a column. */
typedef struct ColumnPlace
{
	bool		is_last;		/* the last value in the direction that it may have */
	int			element;		/* number of the value in its set */
} ColumnPlace;

/*
 * Nothing with the point's columns up to number i matches: to the next value of the last one before
 * that may have another one.
 */
static SkipResult
leave_bounds(ScanConditions *conditions, KeyPoint *to, int i, const ColumnPlace *places,
			 bool backward)
{
	do
	{
		if (i == 0)
			return SKIP_END;
		i--;
	} while (places[i].is_last);
	if (conditions->sets[i].n > 0)
		return enter_value(conditions, to, i, places[i].element + (backward ? -1 : 1), backward);
	if (go_to_neighbour(conditions->keys, to, i, backward))
		return enter_bounds(conditions, to, i + 1, backward);
	to->nkeys = i + 1;
	to->tail = backward ? TAIL_LOW : TAIL_HIGH;
	return SKIP_TO;
}

/*
 * The column's value lies between its bounds.  False: it is none of its set, *place has the next
 * one in the direction.
 */
static bool
find_place(ScanConditions *conditions, const KeyPoint *point, int i, bool backward,
		   ColumnPlace *place)
{
	bool		found;

	if (conditions->sets[i].n == 0)
		return true;
	place->element = index_find_value(conditions, i, point->keys[i].sk_argument, &found);
	if (!found && backward)
		place->element--;
	return found;
}

/*
 * The first `to->nkeys` columns of what comes next are at or beyond the point's; others may have
 * any value, from the first one on.
 */
static SkipResult
find_next(ScanConditions *conditions, KeyPoint *to, bool backward)
{
	const SideBounds *near = backward ? &conditions->high : &conditions->low;
	const SideBounds *far = backward ? &conditions->low : &conditions->high;
	ColumnPlace places[INDEX_MAX_KEYS];

	for (int i = 0; i < conditions->ncolumns; i++)
	{
		int			result;

		if (i >= to->nkeys)
			return near->has[i] ? enter_bounds(conditions, to, i, backward) : SKIP_NOT;
		if (near->has[i])
		{
			result = compare_bound(conditions, near, i, to, backward);
			if (result > 0 || (result == 0 && near->strict[i]))
				return enter_bounds(conditions, to, i, backward);
		}
		places[i].is_last = false;
		if (far->has[i])
		{
			result = compare_bound(conditions, far, i, to, backward);
			if (result < 0 || (result == 0 && far->strict[i]))
				return leave_bounds(conditions, to, i, places, backward);
			places[i].is_last = result == 0;
		}
		if (!find_place(conditions, to, i, backward, &places[i]))
			return enter_value(conditions, to, i, places[i].element, backward);
	}
	return SKIP_NOT;
}

SkipResult
index_skip_from(const ScanSkip *skip, const IndexItem *from, bool backward, KeyPoint *to)
{
	const KeyDesc *keys = skip->conditions->keys;
	SkipResult	result;
	int			beyond;

	key_point_from_tuple(keys, to, from->tuple, from->natts, TAIL_LOW, NULL);
	/* what is before a fence without a TID has other columns */
	if (backward && from->is_separator && !from->has_tid && to->nkeys > 0)
		(void) go_to_neighbour(keys, to, to->nkeys - 1, true);
	result = find_next(skip->conditions, to, backward);
	if (result != SKIP_TO)
		return result;
	beyond = key_compare(keys, to, from);
	return (backward ? beyond < 0 : beyond > 0) ? SKIP_TO : SKIP_NOT;
}

/* ---- parts ---- */

/*
 * The range of each combination of single values can be read by itself, and it is likely small.
 * That does not pay if the next one is mostly on the same leaf.
 */
bool
index_skip_reads_parts(const ScanSkip *skip)
{
	return skip->conditions->few && skip->conditions->has_sets && !skip->dense;
}

void
index_skip_has_read_part(ScanSkip *skip, BlockNumber block)
{
	skip->same = block == skip->part_block ? skip->same + 1 : 0;
	skip->part_block = block;
	skip->dense = skip->same >= PARTS_OF_DENSE_LEAF - 1;
}

void
index_skip_has_left_leaf(ScanSkip *skip, int found)
{
	if (skip->dense && found < PARTS_OF_DENSE_LEAF)
	{
		skip->dense = false;
		skip->same = 0;
	}
}

void
index_skip_return_to_part(ScanSkip *skip, const IndexItem *item)
{
	ScanConditions *conditions = skip->conditions;

	for (int i = 0; i < conditions->ncolumns; i++)
	{
		bool		unused;

		if (conditions->sets[i].n > 0)
			(void) index_find_value(conditions, i,
									index_getattr(item->tuple, i + 1, conditions->keys->desc,
												  &unused), &unused);
	}
}

/* The values of columns before number i that the part is of. */
static void
put_bound_values(const ScanConditions *conditions, KeyPoint *to, int i)
{
	for (int k = 0; k < i; k++)
	{
		const ValueSet *set = &conditions->sets[k];

		to->keys[k] = conditions->low.point.keys[k];
		to->kinds[k] = conditions->low.point.kinds[k];
		if (set->n > 0)
			to->keys[k].sk_argument = set->values[set->at];
	}
}

bool
index_skip_next_part(ScanSkip *skip, bool backward, KeyPoint *to)
{
	ScanConditions *conditions = skip->conditions;
	const ValueSet *set;
	int			i = conditions->ncolumns;

	do
	{
		if (i == 0)
			return false;
		set = &conditions->sets[--i];
	} while (set->n == 0 || set->at == (backward ? 0 : set->n - 1));
	key_point_init(conditions->keys, to, 0, TAIL_LOW);
	put_bound_values(conditions, to, i);
	(void) enter_value(conditions, to, i, set->at + (backward ? -1 : 1), backward);
	return true;
}

/* ---- the leaf that it is on ---- */

bool
index_skip_pays(const ScanSkip *skip)
{
	return skip->pays;
}

void
index_skip_found_to_pay(ScanSkip *skip)
{
	skip->pays = true;
}

void
index_skip_hint_failed(ScanSkip *skip)
{
	skip->has_parent = false;
}

/*
 * Should the next one be copied?  Points that are far from each other are rather looked for from
 * the root.
 */
static bool
parent_pays(ScanSkip *skip)
{
	if (skip->has_parent && skip->parent_used == 0)
		skip->parent_rest = PARENT_REST;
	skip->has_parent = false;
	if (skip->parent_rest == 0)
		return true;
	skip->parent_rest--;
	return false;
}

/* False: there are only leaves. */
static bool
copy_parent(ScanSkip *skip, const IndexTree *tree, const KeyPoint *point)
{
	PoolFrame  *frame = itree_latch_page(tree, point, 1, LW_SHARED);

	if (frame == NULL)
		return false;
	if (skip->parent == NULL)
		skip->parent = MemoryContextAlloc(GetMemoryChunkContext(skip), BLCKSZ);
	memcpy(skip->parent, pool_page(frame), BLCKSZ);
	pool_unlatch(frame);
	return true;
}

BlockNumber
index_skip_hint(ScanSkip *skip, const IndexTree *tree, const KeyPoint *point, bool backward)
{
	PGAlignedBlock buffer;
	PageView	view;
	IndexItem	item;
	int			pos;

	if (skip->has_parent)
		view_page(&view, tree, (Page) skip->parent, NULL);
	if (!skip->has_parent || !ipage_covers(&view, point, backward))
	{
		skip->has_parent = parent_pays(skip) && copy_parent(skip, tree, point);
		if (!skip->has_parent)
			return InvalidBlockNumber;
		skip->parent_used = 0;
		view_page(&view, tree, (Page) skip->parent, NULL);
	}
	else
		skip->parent_used++;
	/* what is just before a point may be on the page before */
	if (!ipage_covers(&view, point, backward))
		return InvalidBlockNumber;
	pos = ipage_search_child(&view, point, backward);
	if (pos < SLOT_FIRST || !view_item(&view, pos, &item, buffer.data) || !item.is_separator)
		return InvalidBlockNumber;
	return item.child;
}

/* ---- within a leaf ---- */

int
index_skip_patience(const ScanSkip *skip)
{
	return skip->patience;
}

void
index_skip_gained(ScanSkip *skip, int entries)
{
	if (entries < SKIP_WORTH)
		skip->patience = Min(skip->patience * 2, MOST_PATIENCE);
	else
		skip->patience = Max(skip->patience / 2, 1);
}
