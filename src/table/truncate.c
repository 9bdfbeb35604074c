/*
 * truncate.c
 *	  The last step of VACUUM: giving free pages at the end of the file back to the operating
 *	  system, and making the file of an empty table a new one.  The same for an index of ours,
 *	  whichever access method its table has.
 *
 * The policy is that of lazy_truncate_heap: only when it is worthwhile, with an AccessExclusiveLock
 * that is not waited for long and given up when somebody waits for it.  It is waited for at all
 * only if this VACUUM removed rows: pages that held old versions, which heap has not, come and go
 * all the time.  Under that lock nobody else reads the file; what backends remember about it is
 * checked when they come back (space_has_block, frame versions).
 *
 * Takes no latches itself.  Pages are first taken off the free list, then the file is cut; a crash
 * in between leaves a file that is longer than needed, which the next VACUUM cuts.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/fault.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "table/table.h"
#include "utils/snapmgr.h"

/* Files grow by as many at once. */
#define TRUNCATE_LEAST		8

/* As in vacuumlazy.c. */
#define TRUNCATE_MINIMUM	1000
#define TRUNCATE_FRACTION	16
#define CHECK_INTERVAL_MS	20
#define LOCK_WAIT_MS		50
#define LOCK_TIMEOUT_MS		5000

/* A table may have many, and who has it locked for long has them locked, too. */
#define INDEX_TIMEOUT_MS	1000

typedef struct Truncation
{
	Relation	rel;
	bool		is_table;
	PoolFile	file;
	int			message_level;
	int			timeout_ms;		/* for the lock; 0: one attempt */
	uint32		calls;
	instr_time	checked;		/* when we last looked for waiters */
	bool		suspended;		/* there were some */
} Truncation;

/*
 * VACUUM (TRUNCATE off) of this table is going on, or was the last one: what it does to indexes of
 * the table core's callbacks do not tell.
 */
static Oid	uncut_table;

static const char *
kind_of(const Truncation *truncation)
{
	return truncation->is_table ? "table" : "index";
}

/* ---- is there anything to gain ---- */

/* No row, not even a stub whose index entries are still to be removed. */
static bool
has_no_rows(const Truncation *truncation)
{
	const PoolFile *file = &truncation->file;
	char	   *page;
	TreeKey		key = TREE_KEY_MIN;
	bool		empty = true;

	if (!truncation->is_table)
		return false;
	page = palloc(BLCKSZ);
	while (empty && key != TREE_KEY_MAX)
	{
		CHECK_FOR_INTERRUPTS();
		tree_copy_leaf(file, key, InvalidBlockNumber, NULL, page);
		empty = page_nslots((Page) page) == 0;
		key = page_trailer(page)->high_fence;
	}
	pfree(page);
	return empty;
}

static bool
is_worthwhile(const PoolFile *file)
{
	FileHeaderData header;
	BlockNumber nblocks = pool_file_blocks(file);
	BlockNumber freeable;

	space_read_header(file, &header);
	freeable = space_count_free_tail(file);

	/* more than a file is extended by in advance: left from a truncation that was interrupted */
	if (nblocks > header.high_water && nblocks - header.high_water > POOL_MAX_SPARE_BLOCKS)
		freeable += nblocks - header.high_water;
	return freeable > TRUNCATE_LEAST &&
		(freeable >= TRUNCATE_MINIMUM || freeable >= header.high_water / TRUNCATE_FRACTION);
}

/* ---- the lock ---- */

static bool
lock_patiently(Truncation *truncation)
{
	pool_assert_unlatched();
	for (int waited_ms = 0;; waited_ms += LOCK_WAIT_MS)
	{
		if (ConditionalLockRelation(truncation->rel, AccessExclusiveLock))
		{
			INSTR_TIME_SET_CURRENT(truncation->checked);
			return true;
		}
		CHECK_FOR_INTERRUPTS();
		if (waited_ms >= truncation->timeout_ms)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOCK_WAIT_MS,
						 WAIT_EVENT_VACUUM_TRUNCATE);
		ResetLatch(MyLatch);
	}
	ereport(truncation->message_level,
			(errmsg("\"%s\": stopping truncate due to conflicting lock request",
					RelationGetRelationName(truncation->rel))));
	return false;
}

/* SpaceStop: does somebody wait for the lock?  Looks every few milliseconds only. */
static bool
stop_for_waiters(void *arg)
{
	Truncation *truncation = (Truncation *) arg;
	instr_time	now,
				elapsed;

	CHECK_FOR_INTERRUPTS();
	if (truncation->suspended || ++truncation->calls % 32 != 0)
		return truncation->suspended;
	INSTR_TIME_SET_CURRENT(now);
	elapsed = now;
	INSTR_TIME_SUBTRACT(elapsed, truncation->checked);
	if (INSTR_TIME_GET_MILLISEC(elapsed) < CHECK_INTERVAL_MS)
		return false;
	truncation->checked = now;
	truncation->suspended = LockHasWaitersRelation(truncation->rel, AccessExclusiveLock);
	if (truncation->suspended)
		ereport(truncation->message_level,
				(errmsg("%s \"%s\": suspending truncate due to conflicting lock request",
						kind_of(truncation), RelationGetRelationName(truncation->rel))));
	return truncation->suspended;
}

/* ---- cutting ---- */

/*
 * Everything was deleted and is gone from all indexes: the file becomes a fresh one, and row ids
 * begin anew.  The visibility map goes first: its bits must not meet new rows.
 */
static void
cut_to_nothing(Truncation *truncation)
{
	table_truncate_visibility(truncation->rel);
	FAULT_POINT(vacuum_before_truncate);
	tree_make_empty(&truncation->file);
}

static void
cut_tail(Truncation *truncation)
{
	BlockNumber high_water = space_trim(&truncation->file, stop_for_waiters, truncation);

	FAULT_POINT(vacuum_before_truncate);
	pool_truncate_logged(&truncation->file, high_water);
}

/* True: somebody waited for the lock, and there may be more to cut. */
static bool
cut_once(Truncation *truncation)
{
	BlockNumber before;
	BlockNumber after;

	truncation->suspended = false;
	if (!lock_patiently(truncation))
		return false;
	/* others may have written meanwhile: only now the answer holds */
	before = pool_file_blocks(&truncation->file);
	if (has_no_rows(truncation))
		cut_to_nothing(truncation);
	else if (is_worthwhile(&truncation->file))
		cut_tail(truncation);
	after = pool_file_blocks(&truncation->file);
	UnlockRelation(truncation->rel, AccessExclusiveLock);
	if (after < before)
		ereport(truncation->message_level,
				(errmsg("%s \"%s\": truncated %u to %u pages", kind_of(truncation),
						RelationGetRelationName(truncation->rel), before, after)));
	return truncation->suspended;
}

static void
truncate_tail(Truncation *truncation)
{
	/* a scan with an old snapshot could not tell that pages are missing */
	if (snapshots_grow_too_old())
		return;
	if (!has_no_rows(truncation) && !is_worthwhile(&truncation->file))
		return;
	if (truncation->is_table)
		pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_TRUNCATE);
	while (cut_once(truncation))
		;
}

void
table_truncate_tail(Relation rel, int message_level, bool rows_removed)
{
	Truncation	truncation = {.rel = rel, .is_table = true, .message_level = message_level,
	.timeout_ms = rows_removed ? LOCK_TIMEOUT_MS : 0};

	table_pool_file(rel, &truncation.file);
	if (!tree_is_empty_file(&truncation.file))
		truncate_tail(&truncation);
}

/* ---- indexes ---- */

void
table_keep_index_files(Relation rel, bool keep)
{
	uncut_table = keep ? RelationGetRelid(rel) : InvalidOid;
}

/* As the table's storage parameters say; it is open and locked. */
static bool
parameters_let_cut(Oid table)
{
	Relation	rel = RelationIdGetRelation(table);
	const StdRdOptions *options = rel == NULL ? NULL : (const StdRdOptions *) rel->rd_options;
	bool		may_cut = options_let_truncate(options);

	if (rel != NULL)
		RelationClose(rel);
	return may_cut;
}

bool
table_may_cut_index(Relation index)
{
	/* the lock has to be logged with a transaction's id, which is not given out then */
	return !IsInParallelMode() && index->rd_index->indrelid != uncut_table &&
		parameters_let_cut(index->rd_index->indrelid);
}

void
table_truncate_index_tail(Relation index, int message_level, bool entries_removed)
{
	Truncation	truncation = {.rel = index, .message_level = message_level,
	.timeout_ms = entries_removed ? INDEX_TIMEOUT_MS : 0};

	table_pool_file(index, &truncation.file);
	truncate_tail(&truncation);
}
