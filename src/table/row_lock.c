/*
 * row_lock.c
 *	  Row locks, and waiting for those who have a row.
 *
 * Waiting follows heapam: take the heavyweight tuple lock, so that those who wait are served in
 * order, then wait for the transaction; then look again.  No latch is held meanwhile.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/fault.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "table/row_lock.h"
#include "table/table.h"
#include "utils/snapmgr.h"

/* ---- waiting ---- */

static const LOCKMODE heavy_lock_of[] = {
	[LockTupleKeyShare] = AccessShareLock,
	[LockTupleShare] = RowShareLock,
	[LockTupleNoKeyExclusive] = ExclusiveLock,
	[LockTupleExclusive] = AccessExclusiveLock,
};

void
row_wait_init(RowWait *wait, Relation rel, RowId row, LockTupleMode mode, LockWaitPolicy policy,
			  XLTW_Oper oper)
{
	wait->rel = rel;
	row_tid_set(&wait->tid, row, 0);
	wait->mode = mode;
	wait->policy = policy;
	wait->oper = oper;
	wait->have_lock = false;
}

static void
refuse_lock(RowWait *wait)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("could not obtain lock on row in relation \"%s\"",
					RelationGetRelationName(wait->rel))));
}

static bool
wait_get_lock(RowWait *wait)
{
	LOCKMODE	heavy = heavy_lock_of[wait->mode];

	if (wait->have_lock)
		return true;
	pool_assert_unlatched();
	if (wait->policy == LockWaitBlock)
		LockTuple(wait->rel, &wait->tid, heavy);
	else if (!try_lock_tuple(wait->rel, &wait->tid, heavy, wait->policy == LockWaitError))
	{
		if (wait->policy == LockWaitError)
			refuse_lock(wait);
		return false;
	}
	wait->have_lock = true;
	return true;
}

void
row_wait_end(RowWait *wait)
{
	if (wait->have_lock)
		UnlockTuple(wait->rel, &wait->tid, heavy_lock_of[wait->mode]);
	wait->have_lock = false;
}

/*
 * Who locks an old version FOR KEY SHARE waits for those at work on later ones whatever the policy,
 * and out of turn: heap_lock_updated_tuple does.
 */
static void
wait_for_later(RowWait *wait, const RowOutcome *outcome)
{
	pool_assert_unlatched();
	for (int i = 0; i < outcome->nwait; i++)
		XactLockTableWait(outcome->wait[i], wait->rel, &wait->tid, XLTW_LockUpdated);
}

/* Waits for whoever outcome names; false: the policy is to skip. */
bool
row_wait_for(RowWait *wait, const RowOutcome *outcome)
{
	pool_assert_unlatched();
	if (outcome->later)
	{
		wait_for_later(wait, outcome);
		return true;
	}
	/* one who has a lock already must not queue behind those who wait for it */
	if (!outcome->holds_lock && !wait_get_lock(wait))
		return false;
	for (int i = 0; i < outcome->nwait; i++)
	{
		TransactionId xid = outcome->wait[i];

		if (wait->policy == LockWaitBlock)
			XactLockTableWait(xid, wait->rel, &wait->tid, wait->oper);
		else if (!try_wait_for_xid(xid, wait->policy == LockWaitError))
		{
			if (wait->policy == LockWaitError)
				refuse_lock(wait);
			return false;
		}
	}
	return true;
}

TM_Result
row_report_outcome(const RowOutcome *outcome, TM_FailureData *tmfd)
{
	if (outcome->result != TM_Ok)
	{
		tmfd->ctid = outcome->newer_tid;
		tmfd->xmax = outcome->newer_xid;
		tmfd->cmax = outcome->result == TM_SelfModified ? outcome->newer_cid : InvalidCommandId;
		if (outcome->moved_partition)
			ItemPointerSetMovedPartitions(&tmfd->ctid);
	}
	return outcome->result;
}

/* ---- locking ---- */

/*
 * The rest of a lock that passed moves: at each place the row has gone to.  False: it never went
 * there, who moved it has aborted; the lock has to be tried again from the start.
 */
static bool
lock_where_it_went(RowTable *table, const RowWriter *writer, RowWait *wait, RowWork *work,
				   RowOutcome *outcome)
{
	ItemPointerData at = outcome->follow_tid;
	TransactionId mover = outcome->top_xid;

	for (;;)
	{
		RowOutcome	there;

		FAULT_POINT(row_lock_follow);
		row_lock_moved(table, row_id_from_tid(&at), mover, writer, work, &there);
		if (there.result == TM_BeingModified)
		{
			wait_for_later(wait, &there);
			continue;
		}
		if (there.result == TM_Deleted && xid_state(mover) == XID_ABORTED)
			return false;
		if (there.result != TM_Ok)
		{
			outcome->result = there.result;
			outcome->newer_tid = at;
			outcome->newer_xid = there.newer_xid;
			return true;
		}
		if (!there.follow)
			return true;
		at = there.follow_tid;
		mover = there.top_xid;
	}
}

/* Locks one version, waiting as the policy says; on TM_WouldBlock outcome->result says so. */
void
row_lock_waiting(RowTable *table, ItemPointer tid, RowWriter *writer, RowWait *wait, char *dest,
				 RowWork *work, RowVersion *version, RowOutcome *outcome)
{
	RowId		row = row_id_from_tid(tid);
	uint8		tag = row_tag_from_tid(tid);

	for (;;)
	{
		row_lock(table, row, tag, writer, dest, work, version, outcome);
		if (outcome->result == TM_BeingModified)
		{
			if (row_wait_for(wait, outcome))
			{
				writer->contended = true;
				continue;
			}
			outcome->result = TM_WouldBlock;
		}
		if (outcome->result != TM_Ok || !outcome->follow ||
			lock_where_it_went(table, writer, wait, work, outcome))
			break;
	}
	row_wait_end(wait);
}

static void
refuse_moved_partition(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("tuple to be locked was already moved to another partition due to concurrent update")));
}

TM_Result
rowan_tuple_lock(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot,
				 CommandId cid, LockTupleMode mode, LockWaitPolicy wait_policy, uint8 flags,
				 TM_FailureData *tmfd)
{
	MemoryContext caller = table_enter_row_context();
	RowWriter	writer = {.xid = InvalidTransactionId, .cid = cid,
	.crosscheck = InvalidSnapshot, .mode = mode};
	RowWork    *work = row_work_create();
	char	   *dest = palloc(2 * BLCKSZ);
	ItemPointerData at = *tid;
	RowTable	table;
	RowVersion	version;
	RowOutcome	outcome;

	table_row_table(rel, &table);
	writer.find_newest = (flags & TUPLE_LOCK_FLAG_FIND_LAST_VERSION) != 0;
	writer.contended = writer.find_newest || wait_policy != LockWaitBlock;
	tmfd->traversed = false;
	for (;;)
	{
		RowWait		wait;

		CHECK_FOR_INTERRUPTS();
		version.data.data = NULL;
		row_wait_init(&wait, rel, row_id_from_tid(&at), mode, wait_policy, XLTW_Lock);
		row_lock_waiting(&table, &at, &writer, &wait, dest, work, &version, &outcome);
		if (outcome.traversed)
		{
			row_tid_set(&at, row_id_from_tid(&at), outcome.tag);
			tmfd->traversed = true;
		}
		if (outcome.result != TM_Updated || !writer.find_newest)
			break;
		if (outcome.moved_partition)
			refuse_moved_partition();
		if (ItemPointerEquals(&at, &outcome.newer_tid))
			break;
		at = outcome.newer_tid;
		writer.traversed = tmfd->traversed = true;
	}
	MemoryContextSwitchTo(caller);
	if (tmfd->traversed && (outcome.result == TM_Invisible || outcome.result == TM_SelfModified))
	{
		/* as heap: it is the newest version's command that is the trouble */
		outcome.result = TM_SelfModified;
		outcome.newer_xid = outcome.top_xid;
		outcome.newer_cid = outcome.top_cid;
	}
	*tid = at;
	if (version.data.data != NULL && outcome.result != TM_Deleted && outcome.result != TM_Updated)
		table_store_version(rel, slot, row_id_from_tid(&at), &version, true);
	slot->tts_tid = at;
	slot->tts_tableOid = RelationGetRelid(rel);
	return row_report_outcome(&outcome, tmfd);
}
