/*
 * index_by_key.c
 *	  Cleaning an index of few dead rows: their entries are made once more, and looked for.
 *
 * A row has at most one entry in an index.  It gets one when it is inserted, or when the index is
 * built (table/build.c), and no other: an update that changes an indexed column gives the row
 * another id (I-ROW-3), which names no second row before VACUUM has found the indexes clean of it
 * (I-ROW-2).  So an entry that has been found and deleted was the only one, by whatever key it was
 * found; nothing else here needs to be right.  If a row's entry is not found, it may be under
 * another key: an expression may have changed its answer, values in a toast table may be gone.  Or
 * there is none: the row's insertion failed before it had one, it was removed from a full leaf
 * (index_delete.c), the index is partial.  Which it is nobody knows, and all leaves are looked at.
 *
 * Expressions and predicates are those of the index, and may raise errors, as the row's insertion
 * perhaps did: hence the subtransaction.  Entries are deleted in key order, all that are on one
 * leaf in one record.  Latches: one leaf, exclusively.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/transam.h"
#include "base/attempt.h"
#include "btree/btree.h"
#include "btree/index_by_key.h"
#include "catalog/index.h"
#include "commands/vacuum.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "tree/tree.h"
#include "utils/memutils.h"
#include "utils/relcache.h"

typedef struct DeadEntry
{
	IndexTuple	tuple;			/* with the row's TID */
	DeadRow    *row;
} DeadEntry;

/* An entry on the leaf that is latched. */
typedef struct FoundEntry
{
	int			slot;
	ItemPointerData tid;
} FoundEntry;

typedef struct ByKey
{
	Relation	index;
	const IndexTree *tree;
	DeadRows   *rows;
	IndexBulkDeleteResult *stats;
	DeadEntry  *entries;		/* in key order */
	int			n;
	FoundEntry *found;			/* in the leaf's order */
	int			nfound;
	int			deleted;
} ByKey;

/* ---- the entries that rows have ---- */

/* A value is in the toast table, perhaps not any more. */
static bool
has_toasted_value(Relation index, const Datum *values, const bool *isnull)
{
	TupleDesc	desc = RelationGetDescr(index);

	for (int i = 0; i < desc->natts; i++)
		if (!isnull[i] && TupleDescAttr(desc, i)->attlen == -1 &&
			VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
			return true;
	return false;
}

static void
add_entry_of(ByKey *by, int i, Datum *values, bool *isnull)
{
	DeadEntry  *entry = &by->entries[by->n];

	if (has_toasted_value(by->index, values, isnull))
		return;
	entry->row = &by->rows->rows[i];
	entry->tuple = index_form_tuple(RelationGetDescr(by->index), values, isnull);
	if (IndexTupleSize(entry->tuple) > INDEX_MAX_TUPLE)
		return;
	row_tid_set(&entry->tuple->t_tid, entry->row->row, 0);
	by->n++;
}

/* What is toasted may be gone, and its number be another value's. */
static bool
may_compute(const DeadRow *row, const IndexInfo *info)
{
	return (row->data.flags & ROW_EXTERNAL) == 0 ||
		(info->ii_Expressions == NIL && info->ii_Predicate == NIL);
}

static void
form_entries(void *arg)
{
	ByKey	   *by = arg;
	IndexInfo  *info = BuildIndexInfo(by->index);
	EState	   *estate = CreateExecutorState();
	ExprContext *context = GetPerTupleExprContext(estate);
	TupleTableSlot *slot = table_slot_create(by->rows->rel, NULL);
	ExprState  *predicate = ExecPrepareQual(info->ii_Predicate, estate);

	context->ecxt_scantuple = slot;
	for (int i = 0; i < by->rows->n; i++)
	{
		Datum		values[INDEX_MAX_KEYS];
		bool		isnull[INDEX_MAX_KEYS];

		if (!may_compute(&by->rows->rows[i], info))
			continue;
		ResetExprContext(context);
		dead_rows_store(by->rows, i, slot);
		if (!ExecQual(predicate, context))
			continue;
		FormIndexDatum(info, slot, estate, values, isnull);
		add_entry_of(by, i, values, isnull);
	}
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
}

/* In no case does VACUUM fail because of what the index's expressions say of dead rows. */
static void
try_to_form_entries(ByKey *by)
{
	ErrorData  *error = attempt(form_entries, by);

	if (error == NULL)
		return;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	by->n = 0;
}

static int
compare_entries(const void *a, const void *b, void *arg)
{
	const KeyDesc *keys = arg;
	IndexTuple	x = ((const DeadEntry *) a)->tuple;
	IndexTuple	y = ((const DeadEntry *) b)->tuple;
	int			column;
	int			result = key_compare_tuples(keys, x, y, keys->nkeyatts, &column);

	return result != 0 ? result : ItemPointerCompare(&x->t_tid, &y->t_tid);
}

/* ---- deleting them ---- */

static void
point_at(const ByKey *by, int i, KeyPoint *point)
{
	const KeyDesc *keys = by->tree->keys;
	IndexTuple	tuple = by->entries[i].tuple;

	key_point_from_tuple(keys, point, tuple, keys->nkeyatts, TAIL_TID, &tuple->t_tid);
}

/* Notes entry i, at that point, if the leaf has it. */
static void
find_entry_on_leaf(ByKey *by, const PageView *view, const KeyPoint *point, int i)
{
	PGAlignedBlock buffer;
	int			slot = ipage_search(view, point);
	ItemPointerData *tids;
	IndexItem	item;

	if (slot >= page_nslots(view->page))
		return;
	view_item(view, slot, &item, buffer.data);
	if (key_compare(view->keys, point, &item) != 0)
		return;
	tids = palloc(sizeof(ItemPointerData) * item.ntids);
	view_tids(view, &item, tids);
	for (int at = 0; at < item.ntids; at++)
	{
		if (!ItemPointerEquals(&tids[at], &by->entries[i].tuple->t_tid))
			continue;
		by->found[by->nfound++] = (FoundEntry) {slot, tids[at]};
		by->entries[i].row->indexes++;
		break;
	}
	pfree(tids);
}

static bool
was_found(const ByKey *by, int slot, const ItemPointerData *tid)
{
	for (int i = 0; i < by->nfound; i++)
		if (by->found[i].slot == slot &&
			ItemPointerEquals(&by->found[i].tid, unconstify(ItemPointerData *, tid)))
			return true;
	return false;
}

static int
keep_others(void *arg, int slot, ItemPointerData *tids, int ntids)
{
	const ByKey *by = arg;
	int			n = 0;

	for (int i = 0; i < ntids; i++)
		if (!was_found(by, slot, &tids[i]))
			tids[n++] = tids[i];
	return n;
}

/* Those on the leaf of entry `first`; returns the first entry that belongs elsewhere. */
static int
delete_on_leaf(ByKey *by, int first)
{
	KeyPoint	point,
				next;
	PoolFrame  *frame;
	PageView	view;
	bool		is_small;
	int			at = first;

	point_at(by, first, &point);
	next = point;
	by->nfound = 0;
	frame = itree_latch_page(by->tree, &point, 0, LW_EXCLUSIVE);
	view_page(&view, by->tree, pool_page(frame), NULL);
	do
	{
		find_entry_on_leaf(by, &view, &next, at);
		if (++at < by->n)
			point_at(by, at, &next);
	} while (at < by->n && ipage_covers(&view, &next, false));
	if (by->nfound == 0)
	{
		pool_unlatch(frame);
		return at;
	}
	/* rows, not TIDs: if there should be one twice, it does not stand for another */
	by->deleted += by->nfound;
	(void) index_clean_latched(by->tree, frame, keep_others, by, &is_small);
	if (is_small && itree_merge_leaf(by->tree, &point))
		by->stats->pages_newly_deleted++;
	return at;
}

static void
delete_entries(ByKey *by)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "rowan index leaf",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	int			at = 0;

	qsort_arg(by->entries, by->n, sizeof(DeadEntry), compare_entries,
			  unconstify(KeyDesc *, by->tree->keys));
	while (at < by->n)
	{
		vacuum_pause();
		at = delete_on_leaf(by, at);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

/* ---- the whole ---- */

static bool
is_no_function_of_core(Oid function, void *arg)
{
	return function >= FirstNormalObjectId;
}

static bool
runs_code_of_others(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	return IsA(node, CoerceToDomain) ||
		check_functions_in_node(node, is_no_function_of_core, arg) ||
		expression_tree_walker(node, runs_code_of_others, arg);
}

/*
 * Not if a user's function would run.  Snapshots and horizons pass over a VACUUM (PROC_IN_VACUUM):
 * what the function reads may be removed meanwhile, and what it writes others take for aborted, for
 * good.  Nor should VACUUM wait for what it locks.  Core has the same rule for PROC_IN_SAFE_IC.
 */
bool
index_finds_by_key(Relation index)
{
	return index_is_rowan(index) &&
		!runs_code_of_others((Node *) RelationGetIndexExpressions(index), NULL) &&
		!runs_code_of_others((Node *) RelationGetIndexPredicate(index), NULL);
}

/* Finding an entry takes about as long as going through a leaf. */
static bool
is_worth_it(const IndexTree *tree, const DeadRows *rows)
{
	FileHeaderData header;

	space_read_header(&tree->file, &header);
	return (uint64) rows->n <= header.high_water - header.free_count;
}

bool
index_delete_by_key(Relation index, const IndexTree *tree, DeadRows *rows,
					IndexBulkDeleteResult *stats)
{
	ByKey		by = {.index = index, .tree = tree, .rows = rows, .stats = stats};
	MemoryContext context,
				caller;
	bool		all;

	if (!index_finds_by_key(index) || !is_worth_it(tree, rows))
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "rowan index cleaning",
									ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	by.entries = palloc_extended(sizeof(DeadEntry) * rows->n, MCXT_ALLOC_HUGE);
	by.found = palloc_extended(sizeof(FoundEntry) * rows->n, MCXT_ALLOC_HUGE);
	try_to_form_entries(&by);
	/* who is to go through the index anyway does that at once */
	if (rows->optional || by.n == rows->n)
		delete_entries(&by);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	all = by.deleted == rows->n;
	stats->tuples_removed += by.deleted;
	rows->cleaned += all ? 1 : 0;
	return all;
}
