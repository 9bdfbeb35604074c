/*
 * rowcompare.c
 *	  Row comparisons as conditions of rowan_btree indexes.
 *
 * Core 15 gives ROW(a, b) > ROW(x, y) to btree indexes only; with another method the comparison
 * would be a mere filter, and a page of a list (WHERE (a, b) > (x, y) ORDER BY a, b LIMIT 10) would
 * be sought from the index's beginning.  But the comparison implies a >= x, which any index that
 * orders a can use.  So each such table's index paths are made once more, with the implied
 * conditions; the comparison itself stays a filter.
 *
 * And before such a plan runs, the scan's key for a >= x is replaced by one for the comparison, as
 * btree would get it, as far as the index has its columns: so the scan begins at (x, y), even if
 * many rows have a = x.  Where that does not happen (bitmap scans, rows checked again after a
 * concurrent update) the condition on a is enough.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "btree/btree.h"
#include "btree/opclass.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "core/rowcompare.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static set_rel_pathlist_hook_type next_set_rel_pathlist;

/* What the comparison says of its first columns, or NULL. */
static Expr *
implied_condition(const RowCompareExpr *comparison)
{
	Oid			family = linitial_oid(comparison->opfamilies);
	bool		less = comparison->cmptype == COMPARE_LT || comparison->cmptype == COMPARE_LE;
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
			conditions = lappend(conditions, implied_restriction(root, condition, info));
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
	/* core knows the indexes of a partitioned table, too, from 16 on, but none can be read */
	if (rte->rtekind == RTE_RELATION && !rte->inh && rel->indexlist != NIL &&
		has_row_comparison(rel) && !IS_DUMMY_REL(rel))
	{
		List	   *indexes = indexes_of_ours(rel);
		List	   *conditions = indexes != NIL ? implied_conditions(root, rel) : NIL;

		if (conditions != NIL)
			add_paths(root, rel, indexes, conditions);
	}
}

/* ---- the executor's keys ---- */

/* The keys of an index scan node, of whichever kind. */
typedef struct NodeKeys
{
	PlanState  *node;
	Relation	index;
	ScanKey		keys;
	int			nkeys;
	IndexRuntimeKeyInfo **runtime;
	int		   *nruntime;
} NodeKeys;

static Expr *
strip_relabel(Expr *expr)
{
	return expr != NULL && IsA(expr, RelabelType) ? ((RelabelType *) expr)->arg : expr;
}

/* The number of the key column that the expression is; 0: none. */
static AttrNumber
key_column(Relation index, Expr *expr)
{
	const Var  *var = (const Var *) strip_relabel(expr);
	int			n = IndexRelationGetNumberOfKeyAttributes(index);

	if (var == NULL || !IsA(var, Var))
		return 0;
	if (var->varno == INDEX_VAR)
		return var->varattno <= n ? var->varattno : 0;
	for (int i = 0; i < n && var->varattno > 0; i++)
		if (index->rd_index->indkey.values[i] == var->varattno)
			return i + 1;
	return 0;
}

/*
 * An argument that is not known yet is computed whenever the scan begins, if the node does such
 * things.
 */
static bool
put_argument(NodeKeys *keys, ScanKey member, Expr *argument)
{
	IndexRuntimeKeyInfo *added;
	int			n = *keys->nruntime;

	if (IsA(argument, Const))
	{
		member->sk_argument = ((Const *) argument)->constvalue;
		if (((Const *) argument)->constisnull)
			member->sk_flags |= SK_ISNULL;
		return true;
	}
	if (n == 0)
		return false;
	added = palloc(sizeof(IndexRuntimeKeyInfo) * (n + 1));
	memcpy(added, *keys->runtime, sizeof(IndexRuntimeKeyInfo) * n);
	added[n].scan_key = member;
	added[n].key_expr = ExecInitExpr(argument, keys->node);
	added[n].key_toastable = TypeIsToastable(member->sk_subtype);
	*keys->runtime = added;
	*keys->nruntime = n + 1;
	return true;
}

/* Member i of the comparison, but for its argument, if the index can use it. */
static bool
make_member(NodeKeys *keys, const RowCompareExpr *comparison, int i, ScanKey member)
{
	Relation	index = keys->index;
	AttrNumber	column = key_column(index, list_nth(comparison->largs, i));
	Oid			operator = list_nth_oid(comparison->opnos, i);
	Oid			collation = list_nth_oid(comparison->inputcollids, i);
	Oid			family;
	int			strategy;
	Oid			left;
	Oid			right;
	Oid			compare;

	if (column == 0)
		return false;
	family = index->rd_opfamily[column - 1];
	if (!op_in_opfamily(operator, family) ||
		(OidIsValid(index->rd_indcollation[column - 1]) &&
		 index->rd_indcollation[column - 1] != collation))
		return false;
	get_op_opfamily_properties(operator, family, false, &strategy, &left, &right);
	compare = get_opfamily_proc(family, left, right, BTORDER_PROC);
	if (strategy != (int) comparison->cmptype || !OidIsValid(compare))
		return false;
	ScanKeyEntryInitialize(member, SK_ROW_MEMBER, column, strategy, right, collation, compare,
						   (Datum) 0);
	return true;
}

/* The key is for what the comparison implies. */
static bool
is_implied_key(const ScanKeyData *key, const OpExpr *condition, Relation index,
			   const RowCompareExpr *comparison)
{
	bool		less = comparison->cmptype == COMPARE_LT || comparison->cmptype == COMPARE_LE;

	return IsA(condition, OpExpr) && key->sk_flags == 0 &&
		key->sk_strategy == (less ? BTLessEqualStrategyNumber : BTGreaterEqualStrategyNumber) &&
		key->sk_attno == key_column(index, linitial(comparison->largs)) &&
		equal(strip_relabel(lsecond(condition->args)),
			  strip_relabel(linitial(comparison->rargs)));
}

/* As many members as the index can use; fewer than all of them compare "or equal". */
static void
replace_key(NodeKeys *keys, ScanKey key, const RowCompareExpr *comparison)
{
	int			n = list_length(comparison->opnos);
	bool		less = comparison->cmptype == COMPARE_LT || comparison->cmptype == COMPARE_LE;
	ScanKey		members = palloc0(sizeof(ScanKeyData) * n);
	StrategyNumber strategy = comparison->cmptype;
	int			used = 1;

	if (!make_member(keys, comparison, 0, &members[0]))
		return;
	members[0].sk_argument = key->sk_argument;	/* known or not */
	while (used < n && make_member(keys, comparison, used, &members[used]) &&
		   put_argument(keys, &members[used],
						strip_relabel(list_nth(comparison->rargs, used))))
		used++;
	if (used == 1)
		return;
	if (used < n)
		strategy = less ? BTLessEqualStrategyNumber : BTGreaterEqualStrategyNumber;
	for (int i = 0; i < used; i++)
		members[i].sk_strategy = strategy;
	members[used - 1].sk_flags |= SK_ROW_END;
	for (int i = 0; i < *keys->nruntime; i++)
		if ((*keys->runtime)[i].scan_key == key)
			(*keys->runtime)[i].scan_key = &members[0];
	memset(key, 0, sizeof(*key));
	key->sk_flags = SK_ROW_HEADER;
	key->sk_attno = members[0].sk_attno;
	key->sk_strategy = strategy;
	key->sk_argument = PointerGetDatum(members);
}

static void
prepare_node(NodeKeys *keys, List *conditions, List *filter)
{
	ListCell   *cell;

	if (keys->index == NULL || !index_is_rowan(keys->index) ||
		list_length(conditions) != keys->nkeys)
		return;
	foreach(cell, filter)
	{
		const RowCompareExpr *comparison = lfirst(cell);

		if (!IsA(comparison, RowCompareExpr))
			continue;
		for (int i = 0; i < keys->nkeys; i++)
		{
			if (!is_implied_key(&keys->keys[i], list_nth(conditions, i), keys->index, comparison))
				continue;
			replace_key(keys, &keys->keys[i], comparison);
			break;
		}
	}
}

static bool
prepare(PlanState *state, void *context)
{
	NodeKeys	keys = {.node = state};
	MemoryContext caller;

	if (state == NULL)
		return false;
	caller = MemoryContextSwitchTo(state->state->es_query_cxt);
	if (IsA(state, IndexScanState))
	{
		IndexScanState *node = (IndexScanState *) state;

		keys.index = node->iss_RelationDesc;
		keys.keys = node->iss_ScanKeys;
		keys.nkeys = node->iss_NumScanKeys;
		keys.runtime = &node->iss_RuntimeKeys;
		keys.nruntime = &node->iss_NumRuntimeKeys;
		prepare_node(&keys, ((IndexScan *) state->plan)->indexqual, state->plan->qual);
	}
	else if (IsA(state, IndexOnlyScanState))
	{
		IndexOnlyScanState *node = (IndexOnlyScanState *) state;

		keys.index = node->ioss_RelationDesc;
		keys.keys = node->ioss_ScanKeys;
		keys.nkeys = node->ioss_NumScanKeys;
		keys.runtime = &node->ioss_RuntimeKeys;
		keys.nruntime = &node->ioss_NumRuntimeKeys;
		prepare_node(&keys, ((IndexOnlyScan *) state->plan)->indexqual, state->plan->qual);
	}
	MemoryContextSwitchTo(caller);
	return planstate_tree_walker(state, prepare, context);
}

void
rowcompare_prepare(PlanState *state)
{
	(void) prepare(state, NULL);
}

void
rowcompare_install(void)
{
	next_set_rel_pathlist = set_rel_pathlist_hook;
	set_rel_pathlist_hook = set_rel_pathlist;
}
