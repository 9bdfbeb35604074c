/*
 * row_lock.h
 *	  Waiting for other transactions that have a row, and locking it.
 *
 * Private to src/table.  No latch may be held.
 */
#ifndef ROWAN_TABLE_ROW_LOCK_H
#define ROWAN_TABLE_ROW_LOCK_H

#include "access/tableam.h"
#include "row/row.h"
#include "storage/lmgr.h"

/* A verb's wait for other transactions, over its retries. */
typedef struct RowWait
{
	Relation	rel;
	ItemPointerData tid;		/* untagged: one form for heavyweight locks */
	LockTupleMode mode;
	LockWaitPolicy policy;
	XLTW_Oper	oper;
	bool		have_lock;		/* heavyweight tuple lock */
} RowWait;

/* Begins a verb's wait; takes nothing yet. */
extern void row_wait_init(RowWait *wait, Relation rel, RowId row, LockTupleMode mode,
						  LockWaitPolicy policy, XLTW_Oper oper);

/* Waits for whoever outcome names; false: the policy is to skip.  The tuple lock is kept. */
extern bool row_wait_for(RowWait *wait, const RowOutcome *outcome);

/* Gives the tuple lock back, if it was taken. */
extern void row_wait_end(RowWait *wait);

/*
 * Locks one version, waiting as the policy says, and ends the wait; on TM_WouldBlock
 * outcome->result says so.  dest: 2 * BLCKSZ, for *version.
 */
extern void row_lock_waiting(RowTable *table, ItemPointer tid, RowWriter *writer, RowWait *wait,
							 char *dest, RowWork *work, RowVersion *version, RowOutcome *outcome);

/* The result for the executor, *tmfd filled from the outcome. */
extern TM_Result row_report_outcome(const RowOutcome *outcome, TM_FailureData *tmfd);

#endif							/* ROWAN_TABLE_ROW_LOCK_H */
