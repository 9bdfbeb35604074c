/*
 * index_parallel.c
 *	  Parallel index scans: several processes share out the leaves of one scan among them.
 *
 * In shared memory is the fence where the next leaf begins, which no split or merge invalidates;
 * only the process whose turn it is touches it.  The block number is a hint where that leaf may be.
 * Nothing else is shared: what a scan looks for follows from its conditions and the place.
 *
 * Who has copied a leaf passes the turn on before looking at the entries.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "base/compat.h"
#include "btree/btree.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"
#include "utils/wait_event.h"

typedef enum SharedState
{
	SCAN_NOT_BEGUN,
	SCAN_TAKEN,					/* it is somebody's turn */
	SCAN_FREE,					/* whoever comes goes on from the bound */
	SCAN_AT_END
} SharedState;

typedef struct SharedScan
{
	slock_t		mutex;			/* of the state */
	SharedState state;
	ConditionVariable changed;
	BlockNumber hint;			/* where the bound's leaf may be; invalid: not known */
	Bound		bound;
} SharedScan;

Size
rowan_index_parallel_size(void)
{
	return sizeof(SharedScan);
}

void
rowan_index_parallel_init(void *target)
{
	SharedScan *shared = target;

	SpinLockInit(&shared->mutex);
	ConditionVariableInit(&shared->changed);
	shared->state = SCAN_NOT_BEGUN;
}

static SharedScan *
shared_scan(IndexScanDesc scan)
{
	ParallelIndexScanDesc shared = scan->parallel_scan;

	return (SharedScan *) OffsetToPointer(shared, shared->ps_offset_am);
}

/* The workers of the scan before are gone. */
void
rowan_index_parallel_rescan(IndexScanDesc scan)
{
	SharedScan *shared = shared_scan(scan);

	SpinLockAcquire(&shared->mutex);
	shared->state = SCAN_NOT_BEGUN;
	SpinLockRelease(&shared->mutex);
}

/* Pointers differ from process to process. */
static void
copy_bound(Bound *to, const Bound *from)
{
	to->item = from->item;
	to->item.tuple = (IndexTuple) to->tuple.bytes;
	memcpy(to->tuple.bytes, from->tuple.bytes, IndexTupleSize((IndexTuple) from->tuple.bytes));
}

/* Takes the turn, unless it is somebody's; returns what the state was. */
static SharedState
try_to_take(SharedScan *shared)
{
	SharedState before;

	SpinLockAcquire(&shared->mutex);
	before = shared->state;
	if (before == SCAN_NOT_BEGUN || before == SCAN_FREE)
		shared->state = SCAN_TAKEN;
	SpinLockRelease(&shared->mutex);
	return before;
}

ParallelTurn
index_parallel_seize(IndexScanDesc scan, Bound *from, BlockNumber *hint)
{
	SharedScan *shared = shared_scan(scan);
	SharedState before;

	while ((before = try_to_take(shared)) == SCAN_TAKEN)
		ConditionVariableSleep(&shared->changed, WAIT_EVENT_BTREE_PAGE);
	ConditionVariableCancelSleep();
	if (before == SCAN_AT_END)
		return TURN_NONE;
	if (before == SCAN_NOT_BEGUN)
		return TURN_FIRST;
	copy_bound(from, &shared->bound);
	*hint = shared->hint;
	return TURN_NEXT;
}

static void
set_state(SharedScan *shared, SharedState state)
{
	SpinLockAcquire(&shared->mutex);
	shared->state = state;
	SpinLockRelease(&shared->mutex);
}

void
index_parallel_end(IndexScanDesc scan)
{
	if (scan->parallel_scan == NULL)
		return;
	set_state(shared_scan(scan), SCAN_AT_END);
	ConditionVariableBroadcast(&shared_scan(scan)->changed);
}

void
index_parallel_release(IndexScanDesc scan, const Bound *next, BlockNumber hint)
{
	SharedScan *shared = shared_scan(scan);

	if (next == NULL)
	{
		index_parallel_end(scan);
		return;
	}
	copy_bound(&shared->bound, next);
	shared->hint = hint;
	set_state(shared, SCAN_FREE);
	ConditionVariableSignal(&shared->changed);
}
