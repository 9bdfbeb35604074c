/*
 * change.h
 *	  Changes of several pages as one WAL record (a "mini-transaction"), for
 *	  structure changes: splits, merges, allocation, freeing.
 *
 * The caller latches pages exclusively, gives each to change_page(), edits the
 * private working copy that it gets, and calls change_commit(), which compares
 * copies with pages, logs the differences as one record, and replaces
 * the pages, all versions odd meanwhile.  Everything that can fail happens
 * before the critical section in change_commit: after an ERROR in between, the
 * shared pages are as they were and core's LWLockReleaseAll releases the latches.
 *
 * Redo applies the same differences with all pages latched: do and redo
 * cannot drift apart.
 */
#ifndef ROWAN_POOL_CHANGE_H
#define ROWAN_POOL_CHANGE_H

#include "pool/pool.h"

#define CHANGE_MAX_PAGES	12

typedef struct PageChange
{
	const PoolFile *file;
	int			npages;
	struct
	{
		PoolFrame  *frame;
		Page		copy;		/* working copy, backend-local */
		bool		is_new;		/* logged whole: old content does not matter */
	}			pages[CHANGE_MAX_PAGES];
} PageChange;

/*
 * Begins a change.  Only one can be open in a process at a time (asserted); one that an ERROR left
 * open is forgotten with its transaction.
 */
extern void change_begin(PageChange *change, const PoolFile *file);

/*
 * Adds an exclusively latched frame; its latch now belongs to the change.
 * Returns the working copy (with is_new: zero-filled).  Adding a frame that is in the change
 * already returns its copy again.
 */
extern Page change_page(PageChange *change, PoolFrame *frame, bool is_new);

/* The working copy of a block that is in the change, or NULL. */
extern Page change_find(PageChange *change, BlockNumber block);

/*
 * Logs and publishes the change and releases all its latches.  horizon: newest xid whose
 * row versions the change removes, for conflicts on a standby, or
 * InvalidTransactionId.
 */
extern void change_commit(PageChange *change, TransactionId horizon);

/* Releases the latches and forgets the copies. */
extern void change_abort(PageChange *change);

#endif							/* ROWAN_POOL_CHANGE_H */
