/*
 * rowcompare.c
 *	  Row comparisons as conditions of rowan_btree indexes.
 *
 * Core 15 gives ROW(a, b) > ROW(x, y) to btree indexes only; with another method the comparison would be a mere filter, and a
 * page of a list (WHERE (a, b) > (x, y) ORDER BY a, b LIMIT 10) would be sought from the index's beginning.  But
 * the comparison implies a >= x, which any index that orders a can use.  So each such table's index paths are made once more,
 * with the implied conditions; the comparison itself stays a filter.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "am/opclass.h"
#include "am/rowcompare.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/lsyscache.h"

static set_rel_pathlist_hook_type next_set_rel_pathlist;

/* What the comparison says of its first columns, or NULL. */
static Expr *
implied_condition(const RowCompareExpr *comparison)
{
	Oid			family = linitial_oid(comparison->opfamilies);
	bool		less = comparison->rctype == ROWCOMPARE_LT || comparison->rctype == ROWCOMPARE_LE;
	int			strategy;
	Oid			left;
	Oid			right;
	Oid			operator;
	Expr	   *condition;

	get_op_opfamily_properties(linitial_oid(comparison->opnos), family, false, &strategy, &left,
							   &right);
	operator = get_opfamily_member(family, left, right,
								   less ? BTLessEqualStrategyNumber : BTGreaterEqualStrategyNumber);
	if (!OidIsValid(operator))
		return NULL;
	condition = make_opclause(operator, BOOLOID, false, linitial(comparison->largs),
							  linitial(comparison->rargs), InvalidOid,
							  linitial_oid(comparison->inputcollids));
	set_opfuncid((OpExpr *) condition);
	return condition;
}

static List *
implied_conditions(PlannerInfo *root, RelOptInfo *rel)
{
	List	   *conditions = NIL;
	ListCell   *cell;

	foreach(cell, rel->baserestrictinfo)
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, cell);
		Expr	   *condition;

		if (!IsA(info->clause, RowCompareExpr))
			continue;
		condition = implied_condition((RowCompareExpr *) info->clause);
		if (condition != NULL)
			conditions = lappend(conditions,
								 make_restrictinfo(root, condition, info->is_pushed_down,
												   info->outerjoin_delayed, false,
												   info->security_level, info->required_relids,
												   info->outer_relids, info->nullable_relids));
	}
	return conditions;
}

static List *
indexes_of_ours(RelOptInfo *rel)
{
	Oid			method = get_index_am_oid(ROWAN_INDEX_AM, true);
	List	   *indexes = NIL;
	ListCell   *cell;

	if (!OidIsValid(method))
		return NIL;
	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, cell);

		if (index->relam == method)
			indexes = lappend(indexes, index);
	}
	return indexes;
}

static bool
has_row_comparison(RelOptInfo *rel)
{
	ListCell   *cell;

	foreach(cell, rel->baserestrictinfo)
	{
		if (IsA(lfirst_node(RestrictInfo, cell)->clause, RowCompareExpr))
			return true;
	}
	return false;
}

/* The plan takes its filters from indrestrictinfo, so that must be as it was afterwards. */
static void
add_paths(PlannerInfo *root, RelOptInfo *rel, List *indexes, List *conditions)
{
	List	   *all_indexes = rel->indexlist;
	List	   *restrictions = NIL;
	ListCell   *cell;
	ListCell   *old;

	foreach(cell, indexes)
	{
		IndexOptInfo *index = lfirst(cell);

		restrictions = lappend(restrictions, index->indrestrictinfo);
		index->indrestrictinfo = list_concat_copy(index->indrestrictinfo, conditions);
	}
	rel->indexlist = indexes;
	create_index_paths(root, rel);
	rel->indexlist = all_indexes;
	forboth(cell, indexes, old, restrictions)
		((IndexOptInfo *) lfirst(cell))->indrestrictinfo = lfirst(old);
}

static void
set_rel_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	if (next_set_rel_pathlist)
		next_set_rel_pathlist(root, rel, rti, rte);
	if (rte->rtekind == RTE_RELATION && rel->indexlist != NIL && has_row_comparison(rel) &&
		!IS_DUMMY_REL(rel))
	{
		List	   *indexes = indexes_of_ours(rel);
		List	   *conditions = indexes != NIL ? implied_conditions(root, rel) : NIL;

		if (conditions != NIL)
			add_paths(root, rel, indexes, conditions);
	}
}

void
rowcompare_install(void)
{
	next_set_rel_pathlist = set_rel_pathlist_hook;
	set_rel_pathlist_hook = set_rel_pathlist;
}
