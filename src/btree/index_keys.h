/*
 * index_keys.h
 *	  What the conditions of an index scan say of each column, and what follows for entries and
 *	  points.
 */
#ifndef ROWAN_BTREE_INDEX_KEYS_H
#define ROWAN_BTREE_INDEX_KEYS_H

#include "access/genam.h"
#include "entry/entry.h"

/* ROW(a, b) > ROW(x, y). */
typedef struct RowCondition
{
	int			nmembers;
	ScanKey		members;		/* sk_func: three-way comparison; sk_strategy: the operator's */
	HeadKind   *kinds;			/* of the arguments */
	int			nused;			/* of them a point can have: columns in sequence, same direction */
	bool		strict;			/* what is equal in these columns does not match */
} RowCondition;

/* Bounds of columns on one side, in the order of the index. */
typedef struct SideBounds
{
	KeyPoint	point;			/* only the columns that have one */
	bool		has[INDEX_MAX_KEYS];
	bool		strict[INDEX_MAX_KEYS]; /* the bound itself does not match */
	const RowCondition *row[INDEX_MAX_KEYS];	/* NULL, or the bound is its first member */
} SideBounds;

/* The values that a column may have, if there are several; in the order of the index. */
typedef struct ValueSet
{
	int			n;				/* 0: no such condition */
	int			at;				/* the one of the last search, or of the last point */
	Datum	   *values;
} ValueSet;

/* A condition that could not be compared with others on its column: it is asked by its operator. */
typedef struct ExtraCondition
{
	const ScanKeyData *key;
	int			n;				/* true of one of them */
	const Datum *values;
} ExtraCondition;

/*
 * Arguments are referred to, not copied: they live as long as the scan's keys.  An entry matches if
 * each column lies between its bounds, is one of its values, and the row comparisons and extra
 * conditions hold.
 */
typedef struct ScanConditions
{
	const KeyDesc *keys;
	bool		nothing;		/* they contradict each other */
	bool		may_be_empty;	/* the end may come before the start */
	bool		has_gap;		/* a condition comes behind a column that has none, or a range */
	bool		has_sets;
	bool		exact;			/* of each combination of values, all between two points matches */
	bool		few;			/* and that is likely few entries */
	int			ncolumns;		/* none behind them has a condition */
	SideBounds	low;
	SideBounds	high;
	bool		equal[INDEX_MAX_KEYS];	/* both bounds are the one value that matches */
	ValueSet	sets[INDEX_MAX_KEYS];
	KeyPoint	element;		/* columns that have sets: compares with the value put there */
	int			nrows;
	RowCondition *rows;
	int			nextras;
	ExtraCondition *extras;
	int			extras_room;
	MemoryContext memory;		/* until conditions are prepared anew; NULL: not needed yet */
	MemoryContext scan_memory;
	FmgrInfo   *cross_type[INDEX_MAX_KEYS]; /* the comparison used last, if not the column's own */
	Oid			subtype[INDEX_MAX_KEYS];	/* that of it */
} ScanConditions;

/*
 * index_keys.c: made in the current memory context, empty; prepared from scan->keyData, which must
 * stay as it is while they are used.  May raise what comparison functions raise.
 */
extern ScanConditions *index_make_conditions(const KeyDesc *keys);
extern void index_prepare_conditions(IndexScanDesc scan, ScanConditions *conditions);
extern void index_free_conditions(ScanConditions *conditions);

/* index_match.c */
extern bool index_entry_matches(ScanConditions *conditions, IndexTuple tuple);

/* As memcmp(bound, value) for column i, which has a bound there. */
static inline int
index_compare_bound(const ScanConditions *conditions, const SideBounds *side, int i, Datum value,
					bool is_null)
{
	return key_compare_column(conditions->keys, &side->point, i, value, is_null);
}

/* The first value of column i's set at or behind this one, which is not NULL; or their number. */
extern int	index_find_value(ScanConditions *conditions, int i, Datum value, bool *found);

/* Column i is equal to something, or one of a set. */
static inline bool
index_has_single_values(const ScanConditions *conditions, int i)
{
	return conditions->equal[i] || conditions->sets[i].n > 0;
}

/*
 * Columns from i on of the point: the bounds where a scan in that direction begins, as far as they
 * go.
 */
extern void index_enter_bounds(ScanConditions *conditions, KeyPoint *point, int i,
							   bool backward);

/*
 * The point behind the matching entry in the direction, before which no entry fails to match.
 * False: conditions that are checked one by one say more than the columns' bounds.
 */
extern bool index_group_end(const ScanConditions *conditions, IndexTuple tuple, bool backward,
							KeyPoint *end);

/*
 * If they are exact: the end of the combination of single values that begins at the point, forward.
 */
extern void index_part_end(const ScanConditions *conditions, const KeyPoint *start, KeyPoint *end);

#endif							/* ROWAN_BTREE_INDEX_KEYS_H */
