/*
 * index_build.c
 *	  CREATE INDEX: rows are sorted by core's tuplesort and loaded page by page.  Several processes
 *	  may scan and sort (index_build_parallel.c); one loads.
 *
 * tuplesort's sort of index tuples, which also finds duplicates, serves btree only: it asks for the
 * access method of the index.  It is given a copy of the relation's descriptor that says btree, and
 * looks at nothing else of it that differs.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/tableam.h"
#include "base/preload.h"
#include "btree/index_build.h"
#include "catalog/index.h"
#include "catalog/pg_am_d.h"
#include "catalog/storage.h"
#include "catalog/storage_xlog.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/smgr.h"
#include "table/table.h"
#include "tree/tree.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

void
index_check_size(Relation heap, Relation index, IndexTuple tuple)
{
	if (IndexTupleSize(tuple) > INDEX_MAX_TUPLE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index row size %zu exceeds rowan_btree maximum %d for index \"%s\"",
						IndexTupleSize(tuple), INDEX_MAX_TUPLE,
						RelationGetRelationName(index)),
				 errdetail("Index row references tuple (%u,%u) in relation \"%s\".",
						   ItemPointerGetBlockNumberNoCheck(&tuple->t_tid),
						   ItemPointerGetOffsetNumberNoCheck(&tuple->t_tid),
						   RelationGetRelationName(heap)),
				 errhint("Values larger than 1/3 of a buffer page cannot be indexed.\n"
						 "Consider a function index of an MD5 hash of the value, "
						 "or use full text indexing."),
				 errtableconstraint(heap, RelationGetRelationName(index))));
}

/* ---- sorting ---- */

static void
mask_as_btree(BuildState *state)
{
	state->masked = *state->index;
	state->masked_class = *state->index->rd_rel;
	state->masked_class.relam = BTREE_AM_OID;
	state->masked.rd_rel = &state->masked_class;
}

BuildState *
build_state_create(Relation heap, Relation index, bool unique, bool nulls_not_distinct)
{
	BuildState *state = palloc0(sizeof(BuildState));

	state->heap = heap;
	state->index = index;
	state->unique = unique;
	state->nulls_not_distinct = nulls_not_distinct;
	index_tree(index, &state->tree);
	mask_as_btree(state);
	return state;
}

void
build_begin_sorts(BuildState *state, int live_kb, SortCoordinate live, int dead_kb,
				  SortCoordinate dead)
{
	state->live = tuplesort_begin_index_btree(state->heap, &state->masked, state->unique,
											  state->nulls_not_distinct, live_kb, live,
											  TUPLESORT_NONE);
	if (state->unique)
		state->dead = tuplesort_begin_index_btree(state->heap, &state->masked, false, false,
												  dead_kb, dead, TUPLESORT_NONE);
}

void
build_end_sorts(BuildState *state)
{
	tuplesort_end(state->live);
	if (state->dead != NULL)
		tuplesort_end(state->dead);
}

static void
add_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	BuildState *state = arg;
	Tuplesortstate *sort = state->live;

	if (!alive && state->dead != NULL)
	{
		sort = state->dead;
		state->any_dead = true;
	}
	tuplesort_putindextuplevalues(sort, &state->masked, tid, values, isnull);
	state->entries++;
}

void
build_scan_table(BuildState *state, IndexInfo *info, bool progress, TableScanDesc scan)
{
	state->rows = table_index_build_scan(state->heap, state->index, info, true, progress,
										 add_row, state, scan);
}

/* ---- loading ---- */

static void
load(BuildState *state, IndexBulk *bulk, IndexTuple tuple, int64 *loaded)
{
	index_check_size(state->heap, state->index, tuple);
	itree_bulk_add(bulk, tuple);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, ++*loaded);
}

static bool
comes_first(BuildState *state, IndexTuple a, IndexTuple b)
{
	int			column;
	int			result;

	if (b == NULL)
		return true;
	if (a == NULL)
		return false;
	result = key_compare_tuples(state->tree.keys, a, b, state->tree.keys->nkeyatts, &column);
	return result != 0 ? result < 0 : ItemPointerCompare(&a->t_tid, &b->t_tid) <= 0;
}

static void
begin_ahead(BuildState *state)
{
	TuplesortInstrumentation stats;

	tuplesort_get_stats(state->live, &stats);
	memset(&state->ahead, 0, sizeof(TuplesAhead));
	state->ahead.in_memory = stats.sortMethod == SORT_TYPE_QUICKSORT;
}

static void
fetch_ahead(BuildState *state, TuplesAhead *ahead)
{
	IndexTuple	tuple = tuplesort_getindextuple(state->live, true);

	if (tuple == NULL)
	{
		ahead->at_end = true;
		return;
	}
	__builtin_prefetch(tuple);
	__builtin_prefetch((char *) tuple + PG_CACHE_LINE_SIZE / 2 - 1);
	ahead->tuples[(ahead->next + ahead->n++) % TUPLES_AHEAD] = tuple;
}

static IndexTuple
next_live(BuildState *state)
{
	TuplesAhead *ahead = &state->ahead;
	IndexTuple	tuple;

	if (!ahead->in_memory)
		return tuplesort_getindextuple(state->live, true);
	while (!ahead->at_end && ahead->n < TUPLES_AHEAD)
		fetch_ahead(state, ahead);
	if (ahead->n == 0)
		return NULL;
	tuple = ahead->tuples[ahead->next];
	ahead->next = (ahead->next + 1) % TUPLES_AHEAD;
	ahead->n--;
	return tuple;
}

static void
load_sorted(BuildState *state, IndexBulk *bulk)
{
	IndexTuple	live = next_live(state);
	IndexTuple	dead = state->any_dead ? tuplesort_getindextuple(state->dead, true) : NULL;
	int64		loaded = 0;

	while (live != NULL || dead != NULL)
	{
		if (comes_first(state, live, dead))
		{
			load(state, bulk, live, &loaded);
			live = next_live(state);
		}
		else
		{
			load(state, bulk, dead, &loaded);
			dead = tuplesort_getindextuple(state->dead, true);
		}
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- building ---- */

/* The relation may have had an index before (TRUNCATE in the transaction that made it). */
static void
make_file_empty(Relation index, const PoolFile *file)
{
	pool_discard_file(file, 0);
	if (pool_file_blocks(file) > 0)
	{
		RelationTruncate(index, 0);
		pool_discard_file(file, 0);
	}
}

static void
perform_sorts(BuildState *state)
{
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE,
								 PROGRESS_BTREE_PHASE_PERFORMSORT_1);
	tuplesort_performsort(state->live);
	if (state->any_dead)
	{
		pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE,
									 PROGRESS_BTREE_PHASE_PERFORMSORT_2);
		tuplesort_performsort(state->dead);
	}
}

/* To be ended when the sorts have been read; NULL: we are alone. */
static ParallelBuild *
scan_and_sort(BuildState *state, IndexInfo *info)
{
	ParallelBuild *parallel;

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE,
								 PROGRESS_BTREE_PHASE_INDEXBUILD_TABLESCAN);
	parallel = parallel_build_begin(state, info);
	if (parallel == NULL)
	{
		build_begin_sorts(state, maintenance_work_mem, NULL, work_mem, NULL);
		build_scan_table(state, info, true, NULL);
	}
	else
	{
		parallel_build_begin_sorts(parallel, state);
		parallel_build_wait(parallel, state, info);
	}
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, (int64) state->entries);
	pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_TOTAL, 0);
	pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, 0);
	perform_sorts(state);
	return parallel;
}

IndexBuildResult *
rowan_index_build(Relation heap, Relation index, IndexInfo *info)
{
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	BuildState *state;
	ParallelBuild *parallel;
	MemoryContext context,
				caller;
	IndexBulk  *bulk;

	rowan_require_preload();
	state = build_state_create(heap, index, info->ii_Unique, info->ii_NullsNotDistinct);
	pool_prepare_write();
	make_file_empty(index, &state->tree.file);
	parallel = scan_and_sort(state, info);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PROGRESS_BTREE_PHASE_LEAF_LOAD);
	context = AllocSetContextCreate(CurrentMemoryContext, "rowan index load",
									ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	begin_ahead(state);
	bulk = itree_bulk_begin(&state->tree, index_fillfactor(index), index_may_deduplicate(index));
	load_sorted(state, bulk);
	itree_bulk_end(bulk);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);

	build_end_sorts(state);
	if (parallel != NULL)
		parallel_build_end(parallel);
	result->heap_tuples = state->rows;
	result->index_tuples = state->entries;
	pfree(state);
	return result;
}

/* Core has created the init fork. */
void
rowan_index_build_empty(Relation index)
{
	PoolFile	file = {.locator = index->rd_locator, .backend = INVALID_PROC_NUMBER};

	log_smgrcreate(&file.locator, INIT_FORKNUM);
	itree_create_init_fork(&file);
}
