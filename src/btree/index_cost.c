/*
 * index_cost.c
 *	  What an index scan costs.
 *
 * Core's estimate for btree, with the tree's real height and size.  It lets a scan read everything
 * in the range of its conditions on leading columns.  A scan that can skip (index_skip.c) reads
 * less, if columns without an equality have few values: of each group of entries with the same
 * values of these columns only what the conditions behind them leave.
 */
#include "postgres.h"

#include <math.h>

#include "access/stratnum.h"
#include "btree/btree.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "tree/tree.h"
#include "utils/index_selfuncs.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

/*
 * Leaves that a group costs beyond those with its matches: where it is entered, and where it is
 * left or begins.
 */
#define LEAVES_PER_GROUP	2

/* As core's for btree. */
#define DESCENT_PER_PAGE	50.0

/* The conditions on one column. */
typedef struct ColumnQuals
{
	List	   *quals;			/* RestrictInfo */
	bool		equal;			/* one of them is an equality */
	double		elements;		/* scans that arrays make of one */
} ColumnQuals;

/* A scan that skips, for each combination of array elements. */
typedef struct SkipEstimate
{
	double		groups;
	double		entries;		/* that its conditions leave */
} SkipEstimate;

/* ---- conditions ---- */

static bool
is_equality(Oid operator, Oid family)
{
	return OidIsValid(operator) &&
		get_op_opfamily_strategy(operator, family) == BTEqualStrategyNumber;
}

/* False: not one that scans skip by. */
static bool
add_qual(PlannerInfo *root, const IndexOptInfo *index, int column, RestrictInfo *qual,
		 ColumnQuals *to)
{
	Oid			family = index->opfamily[column];

	if (IsA(qual->clause, OpExpr))
		to->equal |= is_equality(((OpExpr *) qual->clause)->opno, family);
	else if (IsA(qual->clause, ScalarArrayOpExpr))
	{
		ScalarArrayOpExpr *array = (ScalarArrayOpExpr *) qual->clause;

		to->equal |= is_equality(array->opno, family);
		to->elements *= Max(1, expected_elements(root, lsecond(array->args)));
	}
	else if (IsA(qual->clause, NullTest))
		to->equal |= ((NullTest *) qual->clause)->nulltesttype == IS_NULL;
	else
		return false;
	to->quals = lappend(to->quals, qual);
	return true;
}

/* Returns the number of columns up to the last one with conditions. */
static int
sort_quals(PlannerInfo *root, const IndexPath *path, ColumnQuals *columns)
{
	int			n = 0;
	ListCell   *cell;

	for (int i = 0; i < path->indexinfo->nkeycolumns; i++)
		columns[i] = (ColumnQuals) {.elements = 1};
	foreach(cell, path->indexclauses)
	{
		IndexClause *clause = lfirst_node(IndexClause, cell);
		ListCell   *inner;

		foreach(inner, clause->indexquals)
		{
			if (!add_qual(root, path->indexinfo, clause->indexcol, lfirst(inner),
						  &columns[clause->indexcol]))
				return 0;
		}
		n = Max(n, clause->indexcol + 1);
	}
	return n;
}

/* ---- statistics ---- */

static Selectivity
selectivity_of(PlannerInfo *root, IndexOptInfo *index, List *quals)
{
	return clauselist_selectivity(root, add_predicate_to_index_quals(index, quals),
								  index->rel->relid, JOIN_INNER, NULL);
}

/* Different values of an index column, NULL being one; false: nothing is known of them. */
static bool
count_values(PlannerInfo *root, const IndexOptInfo *index, int column, double *count)
{
	TargetEntry *entry = list_nth_node(TargetEntry, index->indextlist, column);
	VariableStatData stats;
	bool		is_default;

	examine_variable(root, (Node *) entry->expr, 0, &stats);
	*count = get_variable_numdistinct(&stats, &is_default) + 1;
	ReleaseVariableStats(stats);
	return !is_default;
}

/*
 * The cheapest of the ways to skip, by fewer or more columns.  False: there is none, or nothing is
 * known.
 */
static bool
estimate_skip(PlannerInfo *root, IndexOptInfo *index, const ColumnQuals *columns, int n,
			  double entries_per_leaf, SkipEstimate *best)
{
	List	   *quals = NIL;
	double		groups = 1;
	double		elements = 1;
	bool		gap = false;
	double		best_leaves = -1;

	for (int i = 0; i < n; i++)
	{
		const ColumnQuals *column = &columns[i];
		double		values;

		quals = list_concat(quals, column->quals);
		elements *= column->elements;
		if (gap && column->quals != NIL)
		{
			double		rows = selectivity_of(root, index, quals) * index->rel->tuples;
			double		entries = rows / elements;
			double		leaves = groups * LEAVES_PER_GROUP + entries / entries_per_leaf;

			if (best_leaves < 0 || leaves < best_leaves)
			{
				best_leaves = leaves;
				best->groups = groups;
				best->entries = entries;
			}
		}
		if (column->equal)
			continue;
		if (!count_values(root, index, i, &values))
			break;
		if (column->quals != NIL)
			values *= selectivity_of(root, index, column->quals);
		groups = Min(groups * Max(values, 1), index->tuples);
		gap = true;
	}
	return best_leaves >= 0;
}

/* ---- the estimate ---- */

/* core asks only its own btree for the height */
static void
measure_tree(IndexOptInfo *info)
{
	Relation	index = index_open(info->indexoid, NoLock);
	IndexTree	tree;
	FileHeaderData header;

	index_tree(index, &tree);
	info->tree_height = 0;
	if (tree_exists(&tree.file))
	{
		info->tree_height = itree_height(&tree);
		/* without pages extended in advance, free ones, and the header */
		space_read_header(&tree.file, &header);
		info->pages = Max(1, header.high_water - header.free_count);
	}
	index_close(index, NoLock);
}

/* As core estimates one, per descent. */
static Cost
descent_cost(const IndexOptInfo *index)
{
	return (ceil(log(Max(index->tuples, 2)) / log(2.0)) +
			(index->tree_height + 1) * DESCENT_PER_PAGE) * cpu_operator_cost;
}

/*
 * What lies behind the start-up costs is for reading leaves and checking their entries: so much of
 * it as leaves are read.
 */
static void
consider_skip(PlannerInfo *root, IndexPath *path, Cost startup_cost, Cost *total_cost,
			  double *pages)
{
	IndexOptInfo *index = path->indexinfo;
	ColumnQuals columns[INDEX_MAX_KEYS];
	double		elements = 1;
	double		entries_per_leaf;
	double		leaves;
	Cost		cost;
	SkipEstimate skip = {0};
	int			n = sort_quals(root, path, columns);

	if (n < 2 || *pages <= 1 || index->pages <= 1 || index->tuples < 1)
		return;
	entries_per_leaf = Max(1, index->tuples / index->pages);
	if (!estimate_skip(root, index, columns, n, entries_per_leaf, &skip))
		return;
	leaves = ceil(skip.groups * LEAVES_PER_GROUP + skip.entries / entries_per_leaf);
	if (leaves >= *pages)
		return;
	for (int i = 0; i < n; i++)
		elements *= columns[i].elements;
	cost = startup_cost + (*total_cost - startup_cost) * leaves / *pages +
		elements * skip.groups * descent_cost(index);
	if (cost >= *total_cost)
		return;
	*total_cost = cost;
	*pages = leaves;
}

void
rowan_index_cost(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup_cost,
				 Cost *total_cost, Selectivity *selectivity, double *correlation, double *pages)
{
	IndexOptInfo *info = path->indexinfo;

	if (info->tree_height < 0 && !info->hypothetical)
		measure_tree(info);
	btcostestimate(root, path, loop_count, startup_cost, total_cost, selectivity, correlation,
				   pages);
	consider_skip(root, path, *startup_cost, total_cost, pages);
}
