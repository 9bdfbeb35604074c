/*
 * index_build_parallel.c
 *	  CREATE INDEX in several processes, as nbtree has it (nbtsort.c): each scans a share of the
 *	  table and sorts it; the leader, which takes a share too, merges what they have sorted, and
 *	  loads.
 *
 * Parallel mode lasts until the load is done: what the workers have sorted is in files of theirs.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/export.h"
#include "btree/index_build.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"
#include "table/table.h"
#include "tcop/tcopprot.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#define KEY_SHARED		UINT64CONST(0x526F77616E000001)
#define KEY_SORT_LIVE	UINT64CONST(0x526F77616E000002)
#define KEY_SORT_DEAD	UINT64CONST(0x526F77616E000003)
#define KEY_QUERY		UINT64CONST(0x526F77616E000004)
#define KEY_WAL_USAGE	UINT64CONST(0x526F77616E000005)
#define KEY_BUFFERS		UINT64CONST(0x526F77616E000006)

/* In shared memory; the table scan's part follows. */
typedef struct BuildShared
{
	/* set by the leader */
	Oid			heap;
	Oid			index;
	bool		unique;
	bool		nulls_not_distinct;
	bool		concurrent;
	int			nparticipants;	/* asked for */

	/* added up by the participants when they are done */
	slock_t		mutex;
	ConditionVariable participant_done;
	int			ndone;
	double		rows;
	double		entries;
	bool		any_dead;
	bool		broken_chain;
} BuildShared;

struct ParallelBuild
{
	ParallelContext *context;
	int			nparticipants;	/* launched, and ourselves */
	BuildShared *shared;
	Sharedsort *live;
	Sharedsort *dead;
	Snapshot	snapshot;
	WalUsage   *wal_usage;
	BufferUsage *buffer_usage;
};

extern PGDLLEXPORT void rowan_index_build_worker(dsm_segment *seg, shm_toc *toc);

static ParallelTableScanDesc
table_scan_of(BuildShared *shared)
{
	return (ParallelTableScanDesc) ((char *) shared + BUFFERALIGN(sizeof(BuildShared)));
}

/* ---- every participant ---- */

static SortCoordinate
coordinate(Sharedsort *sort, bool worker, int nparticipants)
{
	SortCoordinate result = palloc0(sizeof(SortCoordinateData));

	result->isWorker = worker;
	result->nParticipants = nparticipants;
	result->sharedsort = sort;
	return result;
}

static void
report_done(BuildShared *shared, const BuildState *state, const IndexInfo *info)
{
	SpinLockAcquire(&shared->mutex);
	shared->ndone++;
	shared->rows += state->rows;
	shared->entries += state->entries;
	shared->any_dead |= state->any_dead;
	shared->broken_chain |= info->ii_BrokenHotChain;
	SpinLockRelease(&shared->mutex);
	ConditionVariableSignal(&shared->participant_done);
}

/* Scans and sorts a share of the table. */
static void
do_share(Relation heap, Relation index, BuildShared *shared, Sharedsort *live, Sharedsort *dead,
		 int memory_kb, bool progress)
{
	BuildState *state = build_state_create(heap, index, shared->unique,
										   shared->nulls_not_distinct);
	IndexInfo  *info = BuildIndexInfo(index);

	info->ii_Concurrent = shared->concurrent;
	build_begin_sorts(state, memory_kb, coordinate(live, true, -1), Min(memory_kb, work_mem),
					  shared->unique ? coordinate(dead, true, -1) : NULL);
	build_scan_table(state, info, progress,
					 table_beginscan_parallel(heap, table_scan_of(shared)));
	if (progress)
		pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE,
									 PROGRESS_BTREE_PHASE_PERFORMSORT_1);
	/* a sort of no rows has to be performed, too: the leader's expects one of each */
	tuplesort_performsort(state->live);
	if (state->dead != NULL)
		tuplesort_performsort(state->dead);
	report_done(shared, state, info);
	build_end_sorts(state);
}

/* ---- a worker ---- */

void
rowan_index_build_worker(dsm_segment *seg, shm_toc *toc)
{
	BuildShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	Sharedsort *live = shm_toc_lookup(toc, KEY_SORT_LIVE, false);
	Sharedsort *dead = NULL;
	BufferUsage *buffer_usage = shm_toc_lookup(toc, KEY_BUFFERS, false);
	WalUsage   *wal_usage = shm_toc_lookup(toc, KEY_WAL_USAGE, false);
	LOCKMODE	heap_mode = shared->concurrent ? ShareUpdateExclusiveLock : ShareLock;
	LOCKMODE	index_mode = shared->concurrent ? RowExclusiveLock : AccessExclusiveLock;
	Relation	heap;
	Relation	index;

	debug_query_string = shm_toc_lookup(toc, KEY_QUERY, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);

	/* the leader has these locks */
	heap = table_open(shared->heap, heap_mode);
	index = index_open(shared->index, index_mode);
	tuplesort_attach_shared(live, seg);
	if (shared->unique)
	{
		dead = shm_toc_lookup(toc, KEY_SORT_DEAD, false);
		tuplesort_attach_shared(dead, seg);
	}
	InstrStartParallelQuery();
	do_share(heap, index, shared, live, dead, maintenance_work_mem / shared->nparticipants,
			 false);
	InstrEndParallelQuery(&buffer_usage[ParallelWorkerNumber], &wal_usage[ParallelWorkerNumber]);
	index_close(index, index_mode);
	table_close(heap, heap_mode);
}

/* ---- the leader: shared memory ---- */

static void
estimate_chunk(ParallelContext *context, Size size)
{
	shm_toc_estimate_chunk(&context->estimator, size);
	shm_toc_estimate_keys(&context->estimator, 1);
}

static void *
allocate_chunk(ParallelContext *context, uint64 key, Size size)
{
	void	   *chunk = shm_toc_allocate(context->toc, size);

	shm_toc_insert(context->toc, key, chunk);
	return chunk;
}

static Size
shared_size(Relation heap, Snapshot snapshot)
{
	return add_size(BUFFERALIGN(sizeof(BuildShared)),
					table_parallelscan_estimate(heap, snapshot));
}

static void
estimate_all(ParallelBuild *parallel, const BuildState *state)
{
	ParallelContext *context = parallel->context;
	Size		sort_size = tuplesort_estimate_shared(parallel->nparticipants);

	estimate_chunk(context, shared_size(state->heap, parallel->snapshot));
	estimate_chunk(context, sort_size);
	if (state->unique)
		estimate_chunk(context, sort_size);
	estimate_chunk(context, mul_size(sizeof(WalUsage), context->nworkers));
	estimate_chunk(context, mul_size(sizeof(BufferUsage), context->nworkers));
	if (debug_query_string != NULL)
		estimate_chunk(context, strlen(debug_query_string) + 1);
}

static Sharedsort *
share_sort(ParallelBuild *parallel, uint64 key)
{
	Sharedsort *sort = allocate_chunk(parallel->context, key,
									  tuplesort_estimate_shared(parallel->nparticipants));

	tuplesort_initialize_shared(sort, parallel->nparticipants, parallel->context->seg);
	return sort;
}

static void
share_all(ParallelBuild *parallel, const BuildState *state, bool concurrent)
{
	ParallelContext *context = parallel->context;
	BuildShared *shared = allocate_chunk(context, KEY_SHARED,
										 shared_size(state->heap, parallel->snapshot));

	memset(shared, 0, sizeof(*shared));
	shared->heap = RelationGetRelid(state->heap);
	shared->index = RelationGetRelid(state->index);
	shared->unique = state->unique;
	shared->nulls_not_distinct = state->nulls_not_distinct;
	shared->concurrent = concurrent;
	shared->nparticipants = parallel->nparticipants;
	SpinLockInit(&shared->mutex);
	ConditionVariableInit(&shared->participant_done);
	table_parallelscan_initialize(state->heap, table_scan_of(shared), parallel->snapshot);
	parallel->shared = shared;

	parallel->live = share_sort(parallel, KEY_SORT_LIVE);
	if (state->unique)
		parallel->dead = share_sort(parallel, KEY_SORT_DEAD);
	parallel->wal_usage = allocate_chunk(context, KEY_WAL_USAGE,
										 mul_size(sizeof(WalUsage), context->nworkers));
	parallel->buffer_usage = allocate_chunk(context, KEY_BUFFERS,
											mul_size(sizeof(BufferUsage), context->nworkers));
	if (debug_query_string != NULL)
		strcpy(allocate_chunk(context, KEY_QUERY, strlen(debug_query_string) + 1),
			   debug_query_string);
}

/* ---- the leader ---- */

/* A table of ours has pages from the start, but no rows on them. */
static bool
heap_has_no_rows(Relation heap)
{
	PoolFile	file;

	if (!rowan_relation_is_rowan(heap))
		return RelationGetNumberOfBlocks(heap) == 0;
	table_pool_file(heap, &file);
	return table_pages_in_use(&file) == 0;
}

/*
 * How many workers: core asks that for btree only, so we do.  Not for an empty table: TRUNCATE
 * rebuilds indexes where core wants no parallel mode.
 */
static int
count_workers(const BuildState *state)
{
	if (!IsNormalProcessingMode() || IsInParallelMode() || heap_has_no_rows(state->heap))
		return 0;
	return plan_create_index_workers(RelationGetRelid(state->heap),
									 RelationGetRelid(state->index));
}

static void
end_parallel_mode(ParallelBuild *parallel)
{
	if (IsMVCCSnapshot(parallel->snapshot))
		UnregisterSnapshot(parallel->snapshot);
	DestroyParallelContext(parallel->context);
	ExitParallelMode();
	pfree(parallel);
}

ParallelBuild *
parallel_build_begin(BuildState *state, IndexInfo *info)
{
	int			nworkers = count_workers(state);
	ParallelBuild *parallel;

	if (nworkers == 0)
		return NULL;
	parallel = palloc0(sizeof(ParallelBuild));
	EnterParallelMode();
	parallel->context = CreateParallelContext("rowan", "rowan_index_build_worker", nworkers);
	parallel->nparticipants = nworkers + 1;
	parallel->snapshot = info->ii_Concurrent ? RegisterSnapshot(GetTransactionSnapshot()) :
		SnapshotAny;
	estimate_all(parallel, state);
	InitializeParallelDSM(parallel->context);
	if (parallel->context->seg == NULL)
	{
		end_parallel_mode(parallel);
		return NULL;
	}
	share_all(parallel, state, info->ii_Concurrent);
	LaunchParallelWorkers(parallel->context);
	if (parallel->context->nworkers_launched == 0)
	{
		WaitForParallelWorkersToFinish(parallel->context);
		end_parallel_mode(parallel);
		return NULL;
	}
	parallel->nparticipants = parallel->context->nworkers_launched + 1;
	ereport(DEBUG1,
			(errmsg_internal("building index \"%s\" with %d parallel workers",
							 RelationGetRelationName(state->index),
							 parallel->context->nworkers_launched)));
	do_share(state->heap, state->index, parallel->shared, parallel->live, parallel->dead,
			 maintenance_work_mem / parallel->nparticipants, true);
	/* one that could not start would be waited for without end */
	WaitForParallelWorkersToAttach(parallel->context);
	return parallel;
}

void
parallel_build_begin_sorts(ParallelBuild *parallel, BuildState *state)
{
	build_begin_sorts(state, maintenance_work_mem,
					  coordinate(parallel->live, false, parallel->nparticipants), work_mem,
					  state->unique ?
					  coordinate(parallel->dead, false, parallel->nparticipants) : NULL);
}

void
parallel_build_wait(ParallelBuild *parallel, BuildState *state, IndexInfo *info)
{
	BuildShared *shared = parallel->shared;
	bool		all_done = false;

	for (;;)
	{
		SpinLockAcquire(&shared->mutex);
		all_done = shared->ndone == parallel->nparticipants;
		SpinLockRelease(&shared->mutex);
		if (all_done)
			break;
		pool_assert_unlatched();
		ConditionVariableSleep(&shared->participant_done, WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
	}
	ConditionVariableCancelSleep();
	state->rows = shared->rows;
	state->entries = shared->entries;
	state->any_dead = shared->any_dead;
	info->ii_BrokenHotChain |= shared->broken_chain;
}

void
parallel_build_end(ParallelBuild *parallel)
{
	WaitForParallelWorkersToFinish(parallel->context);
	for (int i = 0; i < parallel->context->nworkers_launched; i++)
		InstrAccumParallelQuery(&parallel->buffer_usage[i], &parallel->wal_usage[i]);
	end_parallel_mode(parallel);
}
