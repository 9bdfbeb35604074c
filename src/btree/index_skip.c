/*
 * index_skip.c
 *	  Index scans pass over entries that cannot match.
 *
 * A condition bounds the range of a scan only if each column before its own has an equality.  WHERE b = 5 on (a, b) does not, and
 * the scan would read the whole index.  But an entry (1, 7) says that the next match is not before (1, 5) of the next a: behind all entries
 * that begin with 1, and if a is an integer, not before (2, 5).  So each column's own bounds are kept here, and from where the scan has
 * come to they give the next point where a match may be.  Only entries that cannot match lie before it; those that are read are
 * checked as always.
 *
 * Under SERIALIZABLE the leaves that are passed over are not locked, and need not be: an entry that belongs there does not
 * match.
 *
 * Whether the point is on the next leaf or far away is not known.  At first the next leaf is read as if nothing
 * were skipped; once it did not reach the point, skipping pays: the leaf's parent is copied, and says which leaf covers a
 * point, without a page read, as long as the points are in its range.  It may be outdated: what it says is a hint, and the
 * leaf's fences decide.
 *
 * Takes the latch of one inner page, shared, to copy it.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/relscan.h"
#include "btree/index_skip.h"
#include "utils/memutils.h"

/* The bounds of columns on one side. */
typedef struct SideBounds
{
	KeyPoint	point;			/* only the columns that have one */
	bool		has[INDEX_MAX_KEYS];
	bool		strict[INDEX_MAX_KEYS];	/* the bound itself does not match */
} SideBounds;

struct ScanSkip
{
	const KeyDesc *keys;
	int			ncolumns;		/* none behind them has a bound */
	SideBounds	low;			/* in the order of the index */
	SideBounds	high;
	int			patience;
	bool		pays;
	bool		has_parent;
	char	   *parent;			/* copy of a page of level 1 */
};

#define LEAST_PATIENCE	8
#define MOST_PATIENCE	256

/* ---- bounds ---- */

/* There is a condition behind a column without an equality. */
static bool
has_gap(BTScanOpaque so)
{
	AttrNumber	equal = 0;		/* columns from the first one on that have equalities */

	for (int i = 0; i < so->numberOfKeys; i++)
	{
		const ScanKeyData *key = &so->keyData[i];

		if (key->sk_attno > equal + 1)
			return true;
		if (key->sk_strategy == BTEqualStrategyNumber)
			equal = key->sk_attno;
	}
	return false;
}

static void
put_bound(Relation index, const KeyDesc *keys, SideBounds *side, ScanKey key, bool strict)
{
	int			i = key->sk_attno - 1;

	index_put_key(index, keys, &side->point, i, key);
	side->has[i] = true;
	side->strict[i] = strict;
}

/* An ordinary condition is never true of NULL: where no bound is, that is one. */
static void
exclude_nulls(const KeyDesc *keys, SideBounds *side, ScanKey key)
{
	int			i = key->sk_attno - 1;

	if (side->has[i])
		return;
	ScanKeyEntryInitializeWithInfo(&side->point.keys[i],
								   SK_ISNULL | (keys->option[i] << SK_BT_INDOPTION_SHIFT),
								   key->sk_attno, InvalidStrategy, InvalidOid,
								   keys->collation[i], keys->compare[i], (Datum) 0);
	side->point.kinds[i] = keys->kinds[i];
	side->has[i] = side->strict[i] = true;
}

/*
 * Of several conditions on one side any one will do; an equality is the best.  (A column may have more if core could not
 * tell which one is stronger.)
 */
static void
put_condition(Relation index, ScanSkip *skip, ScanKey key)
{
	int			i = key->sk_attno - 1;

	switch (key->sk_strategy)
	{
		case BTLessStrategyNumber:
		case BTLessEqualStrategyNumber:
			if (!skip->high.has[i])
				put_bound(index, skip->keys, &skip->high, key,
						  key->sk_strategy == BTLessStrategyNumber);
			break;
		case BTEqualStrategyNumber:
			put_bound(index, skip->keys, &skip->low, key, false);
			put_bound(index, skip->keys, &skip->high, key, false);
			break;
		default:
			if (!skip->low.has[i])
				put_bound(index, skip->keys, &skip->low, key,
						  key->sk_strategy == BTGreaterStrategyNumber);
	}
	skip->ncolumns = Max(skip->ncolumns, key->sk_attno);
}

/* A row comparison bounds its first column, and may be true of rows at the bound. */
static void
put_row_comparison(Relation index, ScanSkip *skip, ScanKey header, ScanKey member)
{
	int			i = member->sk_attno - 1;
	SideBounds *side = header->sk_strategy == BTLessStrategyNumber ||
		header->sk_strategy == BTLessEqualStrategyNumber ? &skip->high : &skip->low;

	if (!side->has[i])
	{
		index_put_member(index, skip->keys, &side->point, i, member);
		side->has[i] = true;
		side->strict[i] = false;
	}
	skip->ncolumns = Max(skip->ncolumns, member->sk_attno);
}

/* The key, or if it is a row comparison the one on its first column. */
static ScanKey
first_member(ScanKey key)
{
	return key->sk_flags & SK_ROW_HEADER ? (ScanKey) DatumGetPointer(key->sk_argument) : key;
}

static void
put_bounds(Relation index, ScanSkip *skip, BTScanOpaque so)
{
	for (int i = 0; i < so->numberOfKeys; i++)
	{
		ScanKey		key = &so->keyData[i];
		ScanKey		member = first_member(key);

		if (member == key)
			put_condition(index, skip, key);
		else if (!(member->sk_flags & SK_ISNULL))
			put_row_comparison(index, skip, key, member);
	}
	for (int i = 0; i < so->numberOfKeys; i++)
	{
		ScanKey		key = first_member(&so->keyData[i]);

		if (!(key->sk_flags & SK_ISNULL))
			exclude_nulls(skip->keys,
						  key->sk_flags & SK_BT_NULLS_FIRST ? &skip->low : &skip->high, key);
	}
}

ScanSkip *
index_skip_prepare(IndexScanDesc scan, const KeyDesc *keys, ScanSkip *before)
{
	BTScanOpaque so = scan->opaque;
	ScanSkip   *skip = before;
	MemoryContext caller;

	if (!has_gap(so))
		return NULL;
	caller = MemoryContextSwitchTo(GetMemoryChunkContext(so));
	if (skip == NULL)
	{
		skip = palloc0(sizeof(ScanSkip));
		skip->patience = LEAST_PATIENCE;
	}
	skip->keys = keys;
	skip->ncolumns = 0;
	memset(skip->low.has, false, sizeof(skip->low.has));
	memset(skip->high.has, false, sizeof(skip->high.has));
	put_bounds(scan->indexRelation, skip, so);
	MemoryContextSwitchTo(caller);
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
compare_bound(const ScanSkip *skip, const SideBounds *side, int i, const KeyPoint *point,
			  bool backward)
{
	const ScanKeyData *value = &point->keys[i];
	int			result = key_compare_column(skip->keys, &side->point, i, value->sk_argument,
											(value->sk_flags & SK_ISNULL) != 0);

	return backward ? -result : result;
}

/* Makes the value of an integer column its neighbour in the direction, between which there is none. */
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

/* The point's columns before number i, then the bounds from there on as far as they go. */
static SkipResult
enter_bounds(const ScanSkip *skip, KeyPoint *to, int i, bool backward)
{
	const SideBounds *near = backward ? &skip->high : &skip->low;
	bool		strict = false;

	for (; i < skip->ncolumns && near->has[i] && !strict; i++)
	{
		to->keys[i] = near->point.keys[i];
		to->kinds[i] = near->point.kinds[i];
		strict = near->strict[i];
	}
	to->nkeys = i;
	/* behind all entries with these columns, or before them */
	to->tail = strict != backward ? TAIL_HIGH : TAIL_LOW;
	return SKIP_TO;
}

/* Nothing with the point's columns up to number i matches: to the next value of the last one before that may have another one. */
static SkipResult
leave_bounds(const ScanSkip *skip, KeyPoint *to, int i, const bool *is_last, bool backward)
{
	do
	{
		if (i == 0)
			return SKIP_END;
		i--;
	} while (is_last[i]);
	if (go_to_neighbour(skip->keys, to, i, backward))
		return enter_bounds(skip, to, i + 1, backward);
	to->nkeys = i + 1;
	to->tail = backward ? TAIL_LOW : TAIL_HIGH;
	return SKIP_TO;
}

/*
 * The first `to->nkeys` columns of what comes next are at or beyond the point's; others may have any value, from the first one on.
 */
static SkipResult
find_next(const ScanSkip *skip, KeyPoint *to, bool backward)
{
	const SideBounds *near = backward ? &skip->high : &skip->low;
	const SideBounds *far = backward ? &skip->low : &skip->high;
	bool		is_last[INDEX_MAX_KEYS];

	for (int i = 0; i < skip->ncolumns; i++)
	{
		int			result;

		if (i >= to->nkeys)
			return near->has[i] ? enter_bounds(skip, to, i, backward) : SKIP_NOT;
		if (near->has[i])
		{
			result = compare_bound(skip, near, i, to, backward);
			if (result > 0 || (result == 0 && near->strict[i]))
				return enter_bounds(skip, to, i, backward);
		}
		is_last[i] = false;
		if (far->has[i])
		{
			result = compare_bound(skip, far, i, to, backward);
			if (result < 0 || (result == 0 && far->strict[i]))
				return leave_bounds(skip, to, i, is_last, backward);
			is_last[i] = result == 0;
		}
	}
	return SKIP_NOT;
}

SkipResult
index_skip_from(const ScanSkip *skip, const IndexItem *from, bool backward, KeyPoint *to)
{
	SkipResult	result;
	int			beyond;

	key_point_from_tuple(skip->keys, to, from->tuple, from->natts, TAIL_LOW, NULL);
	/* what is before a fence without a TID has other columns */
	if (backward && from->is_separator && !from->has_tid && to->nkeys > 0)
		(void) go_to_neighbour(skip->keys, to, to->nkeys - 1, true);
	result = find_next(skip, to, backward);
	if (result != SKIP_TO)
		return result;
	beyond = key_compare(skip->keys, to, from);
	return (backward ? beyond < 0 : beyond > 0) ? SKIP_TO : SKIP_NOT;
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
		skip->has_parent = copy_parent(skip, tree, point);
		if (!skip->has_parent)
			return InvalidBlockNumber;
		view_page(&view, tree, (Page) skip->parent, NULL);
	}
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
	if (entries < LEAST_PATIENCE)
		skip->patience = Min(skip->patience * 2, MOST_PATIENCE);
	else if (entries > 2 * skip->patience)
		skip->patience = LEAST_PATIENCE;
}
