/*
 * index_range.c
 *	  Where an index scan begins and ends: from its conditions to points in the order of keys.
 *
 * The rules are nbtree's (_bt_first): conditions on leading columns serve as long as each column before has
 * an equality, or the scan begins at its bound.  Conditions were prepared by core's
 * _bt_preprocess_keys.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/relscan.h"
#include "btree/btree.h"
#include "utils/lsyscache.h"

/* Conditions chosen, at most one for each column. */
typedef struct StartKeys
{
	ScanKey		keys[INDEX_MAX_KEYS];
	ScanKeyData not_null[INDEX_MAX_KEYS];
	int			n;
	StrategyNumber strategy;	/* of all of them together */
} StartKeys;

/* ---- choosing conditions ---- */

/* The condition is a bound on the side where the scan begins. */
static bool
is_bound(ScanKey key, ScanDirection direction)
{
	switch (key->sk_strategy)
	{
		case BTLessStrategyNumber:
		case BTLessEqualStrategyNumber:
			return ScanDirectionIsBackward(direction);
		case BTGreaterEqualStrategyNumber:
		case BTGreaterStrategyNumber:
			return ScanDirectionIsForward(direction);
		default:
			return true;
	}
}

/* A column with a condition but no bound where the scan begins: NULLs there can be passed over. */
static ScanKey
make_not_null(StartKeys *start, ScanKey implied_by, ScanDirection direction)
{
	bool		nulls_first = (implied_by->sk_flags & SK_BT_NULLS_FIRST) != 0;
	ScanKey		key = &start->not_null[start->n];

	if (nulls_first ? !ScanDirectionIsForward(direction) : !ScanDirectionIsBackward(direction))
		return NULL;
	ScanKeyEntryInitialize(key,
						   SK_SEARCHNOTNULL | SK_ISNULL |
						   (implied_by->sk_flags & (SK_BT_DESC | SK_BT_NULLS_FIRST)),
						   implied_by->sk_attno,
						   nulls_first ? BTGreaterStrategyNumber : BTLessStrategyNumber,
						   InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
	return key;
}

/* The best condition on one column; *next: behind the last one on it. */
static ScanKey
choose_for_column(BTScanOpaque so, StartKeys *start, ScanDirection direction, int *next)
{
	AttrNumber	column = start->n + 1;
	ScanKey		chosen = NULL;
	ScanKey		implies_not_null = NULL;

	for (; *next < so->numberOfKeys && so->keyData[*next].sk_attno == column; (*next)++)
	{
		ScanKey		key = &so->keyData[*next];

		if (key->sk_strategy == BTEqualStrategyNumber)
			chosen = key;
		else if (chosen != NULL)
			continue;
		else if (is_bound(key, direction))
			chosen = key;
		else
			implies_not_null = key;
	}
	if (chosen == NULL && implies_not_null != NULL)
		chosen = make_not_null(start, implies_not_null, direction);
	return chosen;
}

static void
choose_keys(BTScanOpaque so, StartKeys *start, ScanDirection direction)
{
	int			next = 0;

	start->n = 0;
	start->strategy = BTEqualStrategyNumber;
	while (next < so->numberOfKeys && so->keyData[next].sk_attno == start->n + 1)
	{
		ScanKey		chosen = choose_for_column(so, start, direction, &next);

		if (chosen == NULL)
			return;
		start->keys[start->n++] = chosen;
		if (chosen->sk_strategy != BTEqualStrategyNumber)
			start->strategy = chosen->sk_strategy;
		if (chosen->sk_strategy == BTGreaterStrategyNumber ||
			chosen->sk_strategy == BTLessStrategyNumber)
			return;
	}
}

/* ---- conditions to a point ---- */

/* Of members of row comparisons, too, which have their functions already. */
static Oid
argument_type(Relation index, int i, ScanKey key)
{
	return (key->sk_flags & SK_ISNULL) || key->sk_subtype == index->rd_opcintype[i] ?
		InvalidOid : key->sk_subtype;
}

/* The comparison function of two types, which is not kept with the index. */
static void
put_cross_type_key(Relation index, ScanKey to, int i, ScanKey key)
{
	RegProcedure compare = get_opfamily_proc(index->rd_opfamily[i], index->rd_opcintype[i],
											 key->sk_subtype, BTORDER_PROC);

	if (!RegProcedureIsValid(compare))
		elog(ERROR, "missing support function %d(%u,%u) for attribute %d of index \"%s\"",
			 BTORDER_PROC, index->rd_opcintype[i], key->sk_subtype,
			 key->sk_attno, RelationGetRelationName(index));
	ScanKeyEntryInitialize(to, key->sk_flags, key->sk_attno, InvalidStrategy,
						   key->sk_subtype, key->sk_collation, compare, key->sk_argument);
}

void
index_put_key(Relation index, const KeyDesc *keys, KeyPoint *point, int i, ScanKey key)
{
	Oid			type = argument_type(index, i, key);

	point->kinds[i] = key_argument_kind(keys, i, type);
	if (OidIsValid(type) && point->kinds[i] == HEAD_NONE)
		put_cross_type_key(index, &point->keys[i], i, key);
	else
		ScanKeyEntryInitializeWithInfo(&point->keys[i], key->sk_flags, key->sk_attno,
									   InvalidStrategy, key->sk_subtype, key->sk_collation,
									   keys->compare[i], key->sk_argument);
}

void
index_put_member(Relation index, const KeyDesc *keys, KeyPoint *point, int i, ScanKey member)
{
	point->keys[i] = *member;
	point->kinds[i] = key_argument_kind(keys, i, argument_type(index, i, member));
}

/*
 * A row comparison: its first member, and if no condition follows as many of the others as go on with the
 * next columns in the same direction.  If not all of them do, what is used is no strict bound any more.
 */
static bool
put_row_comparison(Relation index, const KeyDesc *keys, StartKeys *start, KeyPoint *point, int i)
{
	ScanKey		header = start->keys[i];
	ScanKey		member = (ScanKey) DatumGetPointer(header->sk_argument);
	bool		used_all = false;

	if (member->sk_flags & SK_ISNULL)
		return false;
	index_put_member(index, keys, point, i, member);
	if (i < start->n - 1)
		return true;
	while (!used_all)
	{
		member++;
		if (member->sk_attno != start->n + 1 || member->sk_strategy != header->sk_strategy ||
			(member->sk_flags & SK_ISNULL))
			break;
		index_put_member(index, keys, point, start->n++, member);
		used_all = (member->sk_flags & SK_ROW_END) != 0;
	}
	if (!used_all && start->strategy == BTLessStrategyNumber)
		start->strategy = BTLessEqualStrategyNumber;
	if (!used_all && start->strategy == BTGreaterStrategyNumber)
		start->strategy = BTGreaterEqualStrategyNumber;
	return true;
}

/* Where a scan in that direction begins; false: nothing can match. */
static bool
start_point(IndexScanDesc scan, ScanDirection direction, KeyPoint *point)
{
	BTScanOpaque so = scan->opaque;
	Relation	index = scan->indexRelation;
	bool		backward = ScanDirectionIsBackward(direction);
	StartKeys	start;
	IndexTree	tree;
	int			chosen;

	index_tree(index, &tree);
	choose_keys(so, &start, direction);
	chosen = start.n;
	for (int i = 0; i < chosen; i++)
	{
		if (!(start.keys[i]->sk_flags & SK_ROW_HEADER))
			index_put_key(index, tree.keys, point, i, start.keys[i]);
		else if (!put_row_comparison(index, tree.keys, &start, point, i))
			return false;
	}
	key_point_init(tree.keys, point, start.n, backward ? TAIL_HIGH : TAIL_LOW);
	if (start.n == 0)
		return true;
	if (start.strategy == BTLessStrategyNumber)
		point->tail = TAIL_LOW;
	else if (start.strategy == BTGreaterStrategyNumber)
		point->tail = TAIL_HIGH;
	return true;
}

/* ---- the whole range ---- */

/* The conditions on the column that starts at *next, which goes behind them: one bound for each side at most. */
static bool
is_single_range(BTScanOpaque so, AttrNumber column, int *next)
{
	int			lower = 0;
	int			upper = 0;

	for (; *next < so->numberOfKeys && so->keyData[*next].sk_attno == column; (*next)++)
	{
		switch (so->keyData[*next].sk_strategy)
		{
			case BTLessStrategyNumber:
			case BTLessEqualStrategyNumber:
				upper++;
				break;
			case BTGreaterEqualStrategyNumber:
			case BTGreaterStrategyNumber:
				lower++;
				break;
			default:
				return false;
		}
	}
	return lower <= 1 && upper <= 1;
}

/*
 * Equality on leading columns and a range of the next one: then the two points say all that the
 * conditions say.  A column may have several conditions if core could not tell which one is stronger.
 */
static bool
is_exact(BTScanOpaque so)
{
	int			next = 0;

	for (int i = 0; i < so->numberOfKeys; i++)
		if (so->keyData[i].sk_flags & SK_ROW_HEADER)
			return false;
	for (AttrNumber column = 1; next < so->numberOfKeys; column++)
	{
		const ScanKeyData *key = &so->keyData[next];

		if (key->sk_attno != column)
			return false;
		if (key->sk_strategy != BTEqualStrategyNumber)
			return is_single_range(so, column, &next) && next == so->numberOfKeys;
		next++;
	}
	return true;
}

bool
index_scan_range(IndexScanDesc scan, ScanDirection direction, ScanRange *range)
{
	BTScanOpaque so = scan->opaque;
	bool		backward = ScanDirectionIsBackward(direction);
	int			n = so->numberOfKeys;

	range->exact = is_exact(so);
	range->may_be_empty = n >= 2 && so->keyData[n - 1].sk_attno == so->keyData[n - 2].sk_attno;
	if ((range->exact || !backward) && !start_point(scan, ForwardScanDirection, &range->start))
		return false;
	return !(range->exact || backward) || start_point(scan, BackwardScanDirection, &range->end);
}
