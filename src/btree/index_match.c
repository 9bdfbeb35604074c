/*
 * index_match.c
 *	  What prepared conditions mean for entries, and for points: whether an entry matches, where a
 *	  scan begins and ends.
 *
 * Conditions on leading columns bound a scan as long as each column before has a bound on that
 * side that may match.  Relies on index_keys.c for the bounds.  Calls comparison functions and
 * operators; takes no latches.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "btree/btree.h"
#include "btree/index_keys.h"

/* ---- sets ---- */

/* As memcmp(value number k of the set, value). */
static inline int
compare_element(ScanConditions *conditions, int i, int k, Datum value)
{
	ScanKey		key = &conditions->element.keys[i];

	key->sk_argument = conditions->sets[i].values[k];
	return key_compare_argument(conditions->keys, i, key, conditions->element.kinds[i], value,
								false);
}

/* Entries come in order: likely it is where the last one was, or beside. */
int
index_find_value(ScanConditions *conditions, int i, Datum value, bool *found)
{
	ValueSet   *set = &conditions->sets[i];
	int			low = 0;
	int			high = set->n;
	int			k = set->at;
	bool		beside = true;

	*found = false;
	while (low < high)
	{
		int			result = compare_element(conditions, i, k, value);

		if (result == 0)
		{
			*found = true;
			low = high = k;
		}
		else if (result > 0)
			high = k--;
		else
			low = ++k;
		if (!beside || k < low || k >= high)
			k = low + (high - low) / 2;
		beside = false;
	}
	set->at = Min(low, set->n - 1);
	return low;
}

/* ---- an entry ---- */

/*
 * Column i lies within its bounds, and is one of its values.  What row comparisons say is asked by
 * itself.
 */
static inline bool
column_matches(ScanConditions *conditions, int i, Datum value, bool is_null)
{
	const SideBounds *low = &conditions->low;
	const SideBounds *high = &conditions->high;
	bool		found = true;
	int			result;

	if (low->has[i] && low->row[i] == NULL)
	{
		result = index_compare_bound(conditions, low, i, value, is_null);
		if (conditions->equal[i])
			return result == 0;
		if (result > 0 || (result == 0 && low->strict[i]))
			return false;
	}
	if (high->has[i] && high->row[i] == NULL)
	{
		result = index_compare_bound(conditions, high, i, value, is_null);
		if (result < 0 || (result == 0 && high->strict[i]))
			return false;
	}
	if (conditions->sets[i].n > 0)
		(void) index_find_value(conditions, i, value, &found);
	return found;
}

/* result: as memcmp(value, argument), as the operator sees them. */
static bool
strategy_holds(StrategyNumber strategy, int result)
{
	switch (strategy)
	{
		case BTLessStrategyNumber:
			return result < 0;
		case BTLessEqualStrategyNumber:
			return result <= 0;
		case BTGreaterEqualStrategyNumber:
			return result >= 0;
		default:
			return result > 0;
	}
}

/* The first member that differs decides; if NULLs come before that, it is not true. */
static bool
row_matches(const ScanConditions *conditions, const RowCondition *row, IndexTuple tuple)
{
	const KeyDesc *keys = conditions->keys;
	int			result = 0;
	int			m;

	for (m = 0; m < row->nmembers && result == 0; m++)
	{
		const ScanKeyData *member = &row->members[m];
		bool		is_null;
		Datum		value = index_getattr(tuple, member->sk_attno, keys->desc, &is_null);

		if (is_null || (member->sk_flags & SK_ISNULL))
			return false;
		result = key_compare_argument(keys, member->sk_attno - 1, member, row->kinds[m], value,
									  false);
		if (!(member->sk_flags & SK_BT_DESC))
			result = -result;
	}
	return strategy_holds(row->members[m - 1].sk_strategy, result);
}

static bool
extra_holds(const ScanConditions *conditions, const ExtraCondition *extra, IndexTuple tuple)
{
	const ScanKeyData *key = extra->key;
	bool		is_null;
	Datum		value = index_getattr(tuple, key->sk_attno, conditions->keys->desc, &is_null);

	if (is_null)
		return false;
	for (int k = 0; k < extra->n; k++)
		if (DatumGetBool(FunctionCall2Coll(unconstify(FmgrInfo *, &key->sk_func),
										   key->sk_collation, value, extra->values[k])))
			return true;
	return false;
}

bool
index_entry_matches(ScanConditions *conditions, IndexTuple tuple)
{
	for (int i = 0; i < conditions->ncolumns; i++)
	{
		bool		is_null;
		Datum		value;

		if (!conditions->low.has[i] && !conditions->high.has[i])
			continue;
		value = index_getattr(tuple, i + 1, conditions->keys->desc, &is_null);
		if (!column_matches(conditions, i, value, is_null))
			return false;
	}
	for (int r = 0; r < conditions->nrows; r++)
		if (!row_matches(conditions, &conditions->rows[r], tuple))
			return false;
	for (int e = 0; e < conditions->nextras; e++)
		if (!extra_holds(conditions, &conditions->extras[e], tuple))
			return false;
	return true;
}

/* ---- points ---- */

void
index_enter_bounds(ScanConditions *conditions, KeyPoint *point, int i, bool backward)
{
	const SideBounds *near = backward ? &conditions->high : &conditions->low;
	bool		strict = false;

	for (int k = i; k < conditions->ncolumns; k++)
		conditions->sets[k].at = backward ? Max(conditions->sets[k].n - 1, 0) : 0;
	while (i < conditions->ncolumns && near->has[i] && !strict)
	{
		const RowCondition *row = near->row[i];

		for (int m = 0; row != NULL && m < row->nused; m++, i++)
		{
			point->keys[i] = row->members[m];
			point->kinds[i] = row->kinds[m];
			strict = row->strict;
		}
		if (row != NULL)
			continue;
		point->keys[i] = near->point.keys[i];
		point->kinds[i] = near->point.kinds[i];
		strict = near->strict[i++];
	}
	point->nkeys = i;
	/* behind all entries with these columns, or before them */
	point->tail = strict != backward ? TAIL_HIGH : TAIL_LOW;
}

void
index_scan_range(ScanRange *range)
{
	ScanConditions *conditions = range->conditions;

	key_point_init(conditions->keys, &range->start, 0, TAIL_LOW);
	key_point_init(conditions->keys, &range->end, 0, TAIL_HIGH);
	index_enter_bounds(conditions, &range->end, 0, true);
	index_enter_bounds(conditions, &range->start, 0, false);
	range->exact = conditions->exact && !conditions->has_sets;
	range->may_be_empty = conditions->may_be_empty;
}

/*
 * Each row comparison is true of all entries with the same first column, whatever follows, and of
 * those between it and the far bound.
 */
static bool
rows_are_decided(const ScanConditions *conditions, IndexTuple tuple)
{
	for (int r = 0; r < conditions->nrows; r++)
	{
		const RowCondition *row = &conditions->rows[r];
		int			i = row->members[0].sk_attno - 1;
		bool		is_null;
		Datum		value = index_getattr(tuple, i + 1, conditions->keys->desc, &is_null);
		const SideBounds *side = conditions->low.row[i] == row ? &conditions->low :
			&conditions->high;

		/* a stronger condition may have been the column's bound */
		if (side->row[i] != row ||
			index_compare_bound(conditions, side, i, value, is_null) == 0)
			return false;
	}
	return true;
}

/*
 * The point ends where the last column's bound is; rows that are equal to a row comparison's first
 * column are left out.
 */
static void
put_last_bound(const ScanConditions *conditions, const SideBounds *far, int last, KeyPoint *end,
			   bool backward)
{
	end->keys[last] = far->point.keys[last];
	end->kinds[last] = far->point.kinds[last];
	end->nkeys = last + 1;
	end->tail = (far->strict[last] || far->row[last] != NULL) != backward ? TAIL_LOW : TAIL_HIGH;
}

bool
index_group_end(const ScanConditions *conditions, IndexTuple tuple, bool backward, KeyPoint *end)
{
	const SideBounds *far = backward ? &conditions->low : &conditions->high;
	int			last = conditions->ncolumns - 1;
	bool		fixed = index_has_single_values(conditions, last);

	if (conditions->nextras > 0 || !rows_are_decided(conditions, tuple))
		return false;
	key_point_from_tuple(conditions->keys, end, tuple, fixed ? last + 1 : last,
						 backward ? TAIL_LOW : TAIL_HIGH, NULL);
	if (!fixed && far->has[last])
		put_last_bound(conditions, far, last, end, backward);
	return true;
}

void
index_part_end(const ScanConditions *conditions, const KeyPoint *start, KeyPoint *end)
{
	const SideBounds *high = &conditions->high;
	int			last = conditions->ncolumns - 1;
	bool		fixed = index_has_single_values(conditions, last);

	key_point_init(conditions->keys, end, fixed ? last + 1 : last, TAIL_HIGH);
	for (int i = 0; i < end->nkeys; i++)
	{
		end->keys[i] = start->keys[i];
		end->kinds[i] = start->kinds[i];
	}
	if (!fixed && high->has[last])
		put_last_bound(conditions, high, last, end, false);
}
