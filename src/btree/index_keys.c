/*
 * index_keys.c
 *	  The conditions of an index scan, prepared: what they say of each column.
 *
 * Conditions come as the executor makes them: operators with their strategies, arrays, row
 * comparisons, IS NULL.  Those of one column are brought down to a lower and an upper bound in the
 * order of the index, or to the values that it may have; contradictions are found.  Arguments of
 * different types are compared by the operator family's functions.  A family need not have one for
 * each pair of types: what cannot be compared is kept beside, to be asked of each entry.
 *
 * So a scan has no more state than the place where it is: there is no "current" element of an
 * array. Arrays of whichever columns are expanded in the order of the index, forward and backward,
 * by skipping (index_skip.c).
 *
 * Relies on operator families being consistent across types, as nbtree does.  Takes no latches;
 * calls comparison functions.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/relscan.h"
#include "btree/index_keys.h"
#include "catalog/pg_index.h"
#include "lib/qunique.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* A bound that a column may get. */
typedef struct Candidate
{
	const ScanKeyData *key;		/* NULL: none */
	bool		strict;
	const RowCondition *row;	/* the key is its first member */
} Candidate;

/* What is known of one column so far. */
typedef struct ColumnKeys
{
	Relation	index;
	ScanConditions *conditions;
	int			i;
	bool		is_null;
	bool		not_null;
	Candidate	low;			/* in the order of the index */
	Candidate	high;
	const ScanKeyData *equal;	/* the values come from it; NULL: any value */
	int			nvalues;
	Datum	   *values;			/* ordered as the index is */
	Datum		one;			/* room for them, if there is only one */
} ColumnKeys;

/* ---- memory ---- */

static MemoryContext
condition_memory(ScanConditions *conditions)
{
	if (conditions->memory == NULL)
		conditions->memory = AllocSetContextCreate(conditions->scan_memory,
												   "rowan index scan conditions",
												   ALLOCSET_SMALL_SIZES);
	return conditions->memory;
}

/* ---- types and functions ---- */

static inline bool
is_descending(const ColumnKeys *column)
{
	return (column->conditions->keys->option[column->i] & INDOPTION_DESC) != 0;
}

static inline Oid
argument_type(const ColumnKeys *column, const ScanKeyData *key)
{
	return OidIsValid(key->sk_subtype) ? key->sk_subtype : column->index->rd_opcintype[column->i];
}

static HeadKind
argument_kind(const ColumnKeys *column, const ScanKeyData *key)
{
	Oid			type = argument_type(column, key);

	return key_argument_kind(column->conditions->keys, column->i,
							 type == column->index->rd_opcintype[column->i] ? InvalidOid : type);
}

/* Compares the column with values of another type. */
static FmgrInfo *
cross_type_function(const ColumnKeys *column, Oid type)
{
	ScanConditions *conditions = column->conditions;
	Relation	index = column->index;
	int			i = column->i;
	Oid			function;

	if (conditions->cross_type[i] != NULL && conditions->subtype[i] == type)
		return conditions->cross_type[i];
	function = get_opfamily_proc(index->rd_opfamily[i], index->rd_opcintype[i], type, BTORDER_PROC);
	if (!OidIsValid(function))
		elog(ERROR, "missing support function %d(%u,%u) for attribute %d of index \"%s\"",
			 BTORDER_PROC, index->rd_opcintype[i], type, i + 1, RelationGetRelationName(index));
	if (conditions->cross_type[i] == NULL)
		conditions->cross_type[i] = MemoryContextAlloc(conditions->scan_memory, sizeof(FmgrInfo));
	fmgr_info_cxt(function, conditions->cross_type[i], conditions->scan_memory);
	conditions->subtype[i] = type;
	return conditions->cross_type[i];
}

/*
 * Column i's comparison with the argument of an ordinary condition, or with NULL; integers need no
 * function of their own.  What others' functions keep for their next call goes when conditions are
 * prepared anew.
 */
static void
set_comparison(const ColumnKeys *column, KeyPoint *point, const ScanKeyData *key)
{
	const KeyDesc *keys = column->conditions->keys;
	int			i = column->i;
	bool		is_null = (key->sk_flags & SK_ISNULL) != 0;
	FmgrInfo   *function = keys->compare[i];
	MemoryContext caller = CurrentMemoryContext;

	point->kinds[i] = is_null ? keys->kinds[i] : argument_kind(column, key);
	if (!is_null && argument_type(column, key) != column->index->rd_opcintype[i] &&
		point->kinds[i] == HEAD_NONE)
		function = cross_type_function(column, key->sk_subtype);
	if (point->kinds[i] == HEAD_NONE)
		MemoryContextSwitchTo(condition_memory(column->conditions));
	ScanKeyEntryInitializeWithInfo(&point->keys[i],
								   (is_null ? SK_ISNULL : 0) |
								   (keys->option[i] << SK_BT_INDOPTION_SHIFT),
								   i + 1, InvalidStrategy, key->sk_subtype, keys->collation[i],
								   function, key->sk_argument);
	MemoryContextSwitchTo(caller);
}

/* How values of two types compare, in the order of the index. */
typedef struct ValueOrder
{
	HeadKind	a_kind;
	HeadKind	b_kind;
	FmgrInfo	function;
	Oid			collation;
	bool		commuted;		/* the function is one of (b, a) */
	bool		descending;
} ValueOrder;

/* False: the family has no function for them. */
static bool
find_function(const ColumnKeys *column, Oid a_type, Oid b_type, ValueOrder *order)
{
	MemoryContext memory = condition_memory(column->conditions);
	Oid			family = column->index->rd_opfamily[column->i];
	Oid			own = column->index->rd_opcintype[column->i];
	Oid			function;

	if (a_type == own && b_type == own)
	{
		fmgr_info_copy(&order->function, column->conditions->keys->compare[column->i], memory);
		return true;
	}
	function = get_opfamily_proc(family, a_type, b_type, BTORDER_PROC);
	if (!OidIsValid(function))
	{
		function = get_opfamily_proc(family, b_type, a_type, BTORDER_PROC);
		order->commuted = true;
	}
	if (!OidIsValid(function))
		return false;
	fmgr_info_cxt(function, &order->function, memory);
	return true;
}

static bool
find_order(const ColumnKeys *column, const ScanKeyData *a, const ScanKeyData *b, ValueOrder *order)
{
	int			unused;

	order->a_kind = argument_kind(column, a);
	order->b_kind = argument_kind(column, b);
	order->collation = a->sk_collation;
	order->descending = is_descending(column);
	order->commuted = false;
	if (key_compare_integers(order->a_kind, (Datum) 0, order->b_kind, (Datum) 0, &unused))
		return true;
	return find_function(column, argument_type(column, a), argument_type(column, b), order);
}

/* As memcmp(a, b). */
static int
compare_condition_values(ValueOrder *order, Datum a, Datum b)
{
	int			result;

	if (!key_compare_integers(order->a_kind, a, order->b_kind, b, &result))
	{
		int32		compared = order->commuted ?
			DatumGetInt32(FunctionCall2Coll(&order->function, order->collation, b, a)) :
			DatumGetInt32(FunctionCall2Coll(&order->function, order->collation, a, b));

		result = compared < 0 ? -1 : compared > 0;
		if (order->commuted)
			result = -result;
	}
	return order->descending ? -result : result;
}

/* ---- extra conditions ---- */

static void
add_extra(const ColumnKeys *column, const ScanKeyData *key, const Datum *values, int n)
{
	ScanConditions *conditions = column->conditions;
	ExtraCondition *extras = conditions->extras;

	if (conditions->nextras == conditions->extras_room)
	{
		conditions->extras_room = conditions->extras_room * 2 + 4;
		conditions->extras = MemoryContextAlloc(condition_memory(conditions),
												sizeof(ExtraCondition) * conditions->extras_room);
		if (conditions->nextras > 0)
			memcpy(conditions->extras, extras, sizeof(ExtraCondition) * conditions->nextras);
	}
	conditions->extras[conditions->nextras++] = (ExtraCondition) {key, n, values};
}

static void
add_extra_bound(const ColumnKeys *column, const Candidate *candidate)
{
	/* row comparisons are asked in any case */
	if (candidate->row == NULL)
		add_extra(column, candidate->key, &candidate->key->sk_argument, 1);
}

/* ---- bounds ---- */

/* A bound on the low side of the index. */
static bool
is_low(const ColumnKeys *column, StrategyNumber strategy)
{
	return (strategy == BTGreaterEqualStrategyNumber || strategy == BTGreaterStrategyNumber) !=
		is_descending(column);
}

static bool
is_strict(StrategyNumber strategy)
{
	return strategy == BTLessStrategyNumber || strategy == BTGreaterStrategyNumber;
}

/* Which of two bounds on one side says more?  Of equal ones, a row comparison does. */
static bool
is_stronger(const Candidate *a, const Candidate *b, int result)
{
	if (result != 0)
		return result > 0;
	return a->strict != b->strict ? a->strict : a->row != NULL;
}

static void
add_bound(ColumnKeys *column, StrategyNumber strategy, const Candidate *added)
{
	bool		low = is_low(column, strategy);
	Candidate  *kept = low ? &column->low : &column->high;
	ValueOrder	order;
	int			result;

	column->not_null = true;
	if (kept->key == NULL)
	{
		*kept = *added;
		return;
	}
	if (!find_order(column, added->key, kept->key, &order))
	{
		add_extra_bound(column, added);
		return;
	}
	result = compare_condition_values(&order, added->key->sk_argument, kept->key->sk_argument);
	if (is_stronger(added, kept, low ? result : -result))
		*kept = *added;
}

/* ---- values ---- */

static int
compare_for_sort(const void *a, const void *b, void *order)
{
	return compare_condition_values(order, *(const Datum *) a, *(const Datum *) b);
}

/* Both ways must be possible: a type is in a family only with its own comparison. */
static void
find_own_order(const ColumnKeys *column, const ScanKeyData *key, ValueOrder *order)
{
	Oid			type = argument_type(column, key);

	if (!find_order(column, key, key, order))
		elog(ERROR, "missing support function %d(%u,%u) in opfamily %u", BTORDER_PROC, type, type,
			 column->index->rd_opfamily[column->i]);
}

/*
 * Leaves those of the column's values that are among the others, too.  False: they cannot be
 * compared.
 */
static bool
intersect(ColumnKeys *column, const ScanKeyData *key, const Datum *values, int n)
{
	ValueOrder	order;
	int			kept = 0;
	int			k = 0;

	if (!find_order(column, column->equal, key, &order))
		return false;
	for (int v = 0; v < column->nvalues && k < n; v++)
	{
		int			result;

		while (k < n &&
			   (result = compare_condition_values(&order, column->values[v], values[k])) > 0)
			k++;
		if (k < n && result == 0)
			column->values[kept++] = column->values[v];
	}
	column->nvalues = kept;
	return true;
}

/* The column has one of these values, which are in order. */
static void
add_values(ColumnKeys *column, const ScanKeyData *key, Datum *values, int n)
{
	column->not_null = true;
	if (column->equal != NULL)
	{
		if (!intersect(column, key, values, n))
			add_extra(column, key, values, n);
		return;
	}
	column->equal = key;
	column->nvalues = n;
	column->values = values;
}

/* Leaves those of the values that are within the bound. */
static void
filter_values(ColumnKeys *column, const Candidate *bound, bool low)
{
	ValueOrder	order;
	int			kept = 0;

	if (bound->key == NULL)
		return;
	if (!find_order(column, column->equal, bound->key, &order))
	{
		add_extra_bound(column, bound);
		return;
	}
	for (int v = 0; v < column->nvalues; v++)
	{
		int			result = compare_condition_values(&order, column->values[v], bound->key->sk_argument);

		if (low ? result > 0 || (result == 0 && !bound->strict) :
			result < 0 || (result == 0 && !bound->strict))
			column->values[kept++] = column->values[v];
	}
	column->nvalues = kept;
}

/* ---- arrays ---- */

/* The elements that are not NULL. */
static int
array_values(const ScanKeyData *key, Datum **values)
{
	ArrayType  *array = DatumGetArrayTypeP(key->sk_argument);
	int16		length;
	bool		by_value;
	char		align;
	bool	   *nulls;
	int			all;
	int			n = 0;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, values, &nulls, &all);
	for (int k = 0; k < all; k++)
		if (!nulls[k])
			(*values)[n++] = (*values)[k];
	return n;
}

/*
 * "> one of these" is "> the least": the last one or, low, the first one of these in the order of
 * the index.
 */
static Datum
extreme_value(ValueOrder *order, const Datum *values, int n, bool low)
{
	Datum		found = values[0];

	for (int k = 1; k < n; k++)
	{
		int			result = compare_condition_values(order, values[k], found);

		if (low ? result < 0 : result > 0)
			found = values[k];
	}
	return found;
}

/* An ordinary condition that says the same. */
static const ScanKeyData *
scalar_condition(const ScanKeyData *key, Datum value)
{
	ScanKey		scalar = palloc(sizeof(ScanKeyData));

	*scalar = *key;
	scalar->sk_flags &= ~SK_SEARCHARRAY;
	scalar->sk_argument = value;
	return scalar;
}

/* False: it is true of nothing. */
static bool
add_array(ColumnKeys *column, const ScanKeyData *key)
{
	MemoryContext caller = MemoryContextSwitchTo(condition_memory(column->conditions));
	StrategyNumber strategy = key->sk_strategy;
	ValueOrder	order;
	Datum	   *values;
	int			n = array_values(key, &values);

	if (n > 1)
		find_own_order(column, key, &order);
	if (n > 0 && strategy == BTEqualStrategyNumber)
	{
		if (n > 1)
		{
			qsort_arg(values, n, sizeof(Datum), compare_for_sort, &order);
			n = qunique_arg(values, n, sizeof(Datum), compare_for_sort, &order);
		}
		add_values(column, key, values, n);
	}
	else if (n > 0)
	{
		Candidate	bound = {.strict = is_strict(strategy)};

		bound.key = scalar_condition(key, extreme_value(&order, values, n,
														is_low(column, strategy)));
		add_bound(column, strategy, &bound);
	}
	MemoryContextSwitchTo(caller);
	return n > 0;
}

/* ---- row comparisons ---- */

static int
count_members(const ScanKeyData *members)
{
	int			n = 1;

	while (!(members[n - 1].sk_flags & SK_ROW_END))
		n++;
	return n;
}

/*
 * As many members as a point can have.  If it can't have all of them, what is equal in these may
 * match; but not if the next one is compared with NULL.
 */
static void
set_used_members(const ColumnKeys *column, RowCondition *row)
{
	ColumnKeys	next = *column;
	bool		low = is_low(column, row->members[0].sk_strategy);
	int			m = 1;

	for (; m < row->nmembers; m++)
	{
		const ScanKeyData *member = &row->members[m];

		next.i = column->i + m;
		if (member->sk_attno != next.i + 1 || (member->sk_flags & SK_ISNULL) ||
			is_low(&next, member->sk_strategy) != low)
			break;
	}
	row->nused = m;
	row->strict = m == row->nmembers ? is_strict(row->members[0].sk_strategy) :
		(row->members[m].sk_flags & SK_ISNULL) != 0;
}

static void
copy_members(const ColumnKeys *column, RowCondition *row, const ScanKeyData *members)
{
	const KeyDesc *keys = column->conditions->keys;
	ColumnKeys	other = *column;

	row->nmembers = count_members(members);
	row->members = palloc(sizeof(ScanKeyData) * row->nmembers);
	row->kinds = palloc(sizeof(HeadKind) * row->nmembers);
	for (int m = 0; m < row->nmembers; m++)
	{
		row->members[m] = members[m];
		other.i = members[m].sk_attno - 1;
		row->members[m].sk_flags = (members[m].sk_flags & SK_ISNULL) |
			(keys->option[other.i] << SK_BT_INDOPTION_SHIFT);
		row->kinds[m] = members[m].sk_flags & SK_ISNULL ? HEAD_NONE :
			argument_kind(&other, &members[m]);
	}
}

/* False: it is true of nothing. */
static bool
add_row_condition(ColumnKeys *column, const ScanKeyData *key)
{
	ScanConditions *conditions = column->conditions;
	const ScanKeyData *members = (const ScanKeyData *) DatumGetPointer(key->sk_argument);
	MemoryContext caller;
	RowCondition *row;
	Candidate	bound = {0};

	if (members[0].sk_flags & SK_ISNULL)
		return false;
	caller = MemoryContextSwitchTo(condition_memory(conditions));
	row = &conditions->rows[conditions->nrows++];
	copy_members(column, row, members);
	set_used_members(column, row);
	bound.key = &row->members[0];
	bound.strict = row->nused == 1 && row->strict;
	bound.row = row;
	add_bound(column, bound.key->sk_strategy, &bound);
	MemoryContextSwitchTo(caller);
	return true;
}

/* ---- all conditions of a column ---- */

/* False: it is true of nothing. */
static bool
add_key(ColumnKeys *column, const ScanKeyData *key)
{
	Candidate	bound = {.key = key, .strict = is_strict(key->sk_strategy)};

	if (key->sk_flags & SK_SEARCHNULL)
		column->is_null = true;
	else if (key->sk_flags & SK_SEARCHNOTNULL)
		column->not_null = true;
	else if (key->sk_flags & SK_ROW_HEADER)
		return add_row_condition(column, key);
	else if (key->sk_flags & SK_ISNULL)
		return false;
	else if (key->sk_flags & SK_SEARCHARRAY)
		return add_array(column, key);
	else if (key->sk_strategy == BTEqualStrategyNumber)
	{
		/* a second one needs no room of its own: the values are only fewer then */
		if (column->equal == NULL)
			column->one = key->sk_argument;
		add_values(column, key, column->equal == NULL ? &column->one :
				   unconstify(Datum *, &key->sk_argument), 1);
	}
	else
		add_bound(column, key->sk_strategy, &bound);
	return true;
}

/* ---- what follows from them ---- */

static void
put_bound(const ColumnKeys *column, SideBounds *side, const Candidate *bound)
{
	int			i = column->i;

	set_comparison(column, &side->point, bound->key);
	side->has[i] = true;
	side->strict[i] = bound->strict;
	side->row[i] = bound->row;
}

/* The same value, or NULL, on both sides. */
static void
put_equal(const ColumnKeys *column, const ScanKeyData *key)
{
	ScanConditions *conditions = column->conditions;
	Candidate	bound = {.key = key};

	put_bound(column, &conditions->low, &bound);
	put_bound(column, &conditions->high, &bound);
	conditions->equal[column->i] = true;
}

/* What is no value is not true of NULL: where no bound is, that is one. */
static void
exclude_null(const ColumnKeys *column)
{
	ScanConditions *conditions = column->conditions;
	bool		first = (conditions->keys->option[column->i] & INDOPTION_NULLS_FIRST) != 0;
	SideBounds *side = first ? &conditions->low : &conditions->high;
	ScanKeyData null = {.sk_flags = SK_ISNULL};
	Candidate	bound = {.key = &null, .strict = true};

	if (!side->has[column->i])
		put_bound(column, side, &bound);
}

/* False: there is none left. */
static bool
put_values(ColumnKeys *column)
{
	ScanConditions *conditions = column->conditions;
	int			i = column->i;
	ScanKeyData key = *column->equal;
	int			n;

	filter_values(column, &column->low, true);
	filter_values(column, &column->high, false);
	n = column->nvalues;
	if (n == 0)
		return false;
	key.sk_argument = column->values[0];
	put_equal(column, &key);
	if (n == 1)
		return true;
	conditions->equal[i] = false;
	conditions->high.point.keys[i].sk_argument = column->values[n - 1];
	conditions->element.keys[i] = conditions->low.point.keys[i];
	conditions->element.kinds[i] = conditions->low.point.kinds[i];
	conditions->sets[i] = (ValueSet) {.n = n, .values = column->values};
	conditions->has_sets = true;
	return true;
}

/* False: there is nothing between them. */
static bool
put_bounds(ColumnKeys *column)
{
	ScanConditions *conditions = column->conditions;
	const Candidate *low = &column->low;
	const Candidate *high = &column->high;
	ValueOrder	order;

	if (low->key != NULL)
		put_bound(column, &conditions->low, low);
	if (high->key != NULL)
		put_bound(column, &conditions->high, high);
	exclude_null(column);
	if (low->key == NULL || high->key == NULL)
		return true;
	if (find_order(column, low->key, high->key, &order))
	{
		int			result = compare_condition_values(&order, low->key->sk_argument,
													  high->key->sk_argument);

		conditions->equal[column->i] = result == 0;
		return result < 0 || (result == 0 && !low->strict && !high->strict);
	}
	conditions->may_be_empty = true;
	return true;
}

/* False: nothing can match. */
static bool
finish_column(ColumnKeys *column)
{
	ScanKeyData null = {.sk_flags = SK_ISNULL};

	column->conditions->ncolumns = column->i + 1;
	if (column->is_null)
	{
		put_equal(column, &null);
		return !column->not_null;
	}
	return column->equal != NULL ? put_values(column) : put_bounds(column);
}

/* ---- all of them ---- */

ScanConditions *
index_make_conditions(const KeyDesc *keys)
{
	ScanConditions *conditions = palloc(sizeof(ScanConditions));

	conditions->keys = keys;
	conditions->memory = NULL;
	conditions->scan_memory = CurrentMemoryContext;
	memset(conditions->cross_type, 0, sizeof(conditions->cross_type));
	return conditions;
}

void
index_free_conditions(ScanConditions *conditions)
{
	for (int i = 0; i < INDEX_MAX_KEYS; i++)
		if (conditions->cross_type[i] != NULL)
			pfree(conditions->cross_type[i]);
	if (conditions->memory != NULL)
		MemoryContextDelete(conditions->memory);
	pfree(conditions);
}

static void
forget_side(SideBounds *side, int n)
{
	memset(side->has, 0, sizeof(bool) * n);
	memset(side->strict, 0, sizeof(bool) * n);
	memset(side->row, 0, sizeof(RowCondition *) * n);
}

static void
forget_conditions(ScanConditions *conditions)
{
	int			n = conditions->keys->nkeyatts;

	if (conditions->memory != NULL)
		MemoryContextReset(conditions->memory);
	conditions->nothing = conditions->may_be_empty = false;
	conditions->has_gap = conditions->has_sets = false;
	conditions->exact = conditions->few = false;
	conditions->ncolumns = conditions->nrows = 0;
	conditions->nextras = conditions->extras_room = 0;
	forget_side(&conditions->low, n);
	forget_side(&conditions->high, n);
	memset(conditions->equal, 0, sizeof(bool) * n);
	memset(conditions->sets, 0, sizeof(ValueSet) * n);
}

/* Row comparisons are referred to, so all have their places from the beginning. */
static void
prepare_rows(IndexScanDesc scan, ScanConditions *conditions)
{
	int			n = 0;

	for (int k = 0; k < scan->numberOfKeys; k++)
		if (scan->keyData[k].sk_flags & SK_ROW_HEADER)
			n++;
	if (n > 0)
		conditions->rows = MemoryContextAlloc(condition_memory(conditions),
											  sizeof(RowCondition) * n);
	conditions->may_be_empty = n > 0;
}

/* A condition comes behind a column that has more than single values. */
static bool
has_gap(const ScanConditions *conditions)
{
	for (int i = 0; i < conditions->ncolumns - 1; i++)
		if (!index_has_single_values(conditions, i))
			return true;
	return false;
}

/* The last column has bounds on both sides: there may be much between them. */
static bool
has_two_bounds(const ScanConditions *conditions)
{
	int			last = conditions->ncolumns - 1;

	return last >= 0 && !index_has_single_values(conditions, last) && conditions->low.has[last] &&
		conditions->high.has[last] && !(conditions->low.point.keys[last].sk_flags & SK_ISNULL) &&
		!(conditions->high.point.keys[last].sk_flags & SK_ISNULL);
}

/*
 * The conditions on the column of key number *k, which goes behind them.  False: nothing can match.
 */
static bool
prepare_column(IndexScanDesc scan, ScanConditions *conditions, int *k)
{
	AttrNumber	attno = scan->keyData[*k].sk_attno;
	ColumnKeys	column;

	if (attno <= conditions->ncolumns || attno > conditions->keys->nkeyatts)
		elog(ERROR, "index conditions are not ordered by attribute");
	column.index = scan->indexRelation;
	column.conditions = conditions;
	column.i = attno - 1;
	column.is_null = column.not_null = false;
	column.low.key = column.high.key = column.equal = NULL;
	for (; *k < scan->numberOfKeys && scan->keyData[*k].sk_attno == attno; (*k)++)
		if (!add_key(&column, &scan->keyData[*k]))
			return false;
	return finish_column(&column);
}

void
index_prepare_conditions(IndexScanDesc scan, ScanConditions *conditions)
{
	MemoryContext caller = MemoryContextSwitchTo(conditions->scan_memory);
	int			k = 0;

	forget_conditions(conditions);
	prepare_rows(scan, conditions);
	while (k < scan->numberOfKeys && !conditions->nothing)
		conditions->nothing = !prepare_column(scan, conditions, &k);
	if (conditions->nothing)
	{
		MemoryContextSwitchTo(caller);
		return;
	}
	conditions->has_gap = has_gap(conditions);
	conditions->exact = !conditions->has_gap && conditions->nrows == 0 && conditions->nextras == 0;
	conditions->few = conditions->exact && !conditions->may_be_empty &&
		!has_two_bounds(conditions);
	MemoryContextSwitchTo(caller);
}
