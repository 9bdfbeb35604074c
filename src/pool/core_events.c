/*
 * core_events.c
 *	  What core does to files behind the pool's back, and how the pool hears of it.
 *
 * There are no hooks for these events, but RmgrTable is writable: the redo functions of some of
 * core's resource managers are wrapped, so that a standby and crash recovery drop the frames of
 * dropped, cut and copied files, and have the pool written before a checkpoint record can become a
 * restartpoint (restartpoint.c).  On a primary, transaction callbacks drop the frames of relations
 * whose files are about to be removed.
 *
 * Not heard of on a primary: COMMIT PREPARED and ROLLBACK PREPARED of a transaction that dropped or
 * created files, and drops of temporary tables (smgrGetPendingDeletes leaves them out).  Their
 * dirty frames are dropped when they are to be written (io.c), their clean ones when a new file
 * gets the same name (rowan_set_new_filelocator, pool_file_extend), which looks only if there can
 * be such frames.  Databases that move or go: core/hooks.c.
 *
 * Latches: those of pool_discard_*; called without any.
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlog_internal.h"
#include "access/xlogutils.h"
#include "base/compat.h"
#include "base/fault.h"
#include "catalog/pg_control.h"
#include "catalog/storage.h"
#include "catalog/storage_xlog.h"
#include "commands/dbcommands_xlog.h"
#include "pool/frame.h"
#include "pool/restartpoint.h"
#include "pool/torn.h"

typedef RestartpointRedo RedoFunction;

static RedoFunction core_xlog_redo;
static RedoFunction core_xact_redo;
static RedoFunction core_smgr_redo;
static RedoFunction core_dbase_redo;
static RedoFunction core_standby_redo;

/* ---- redo ---- */

static void
xlog_redo_wrapper(XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record) & ~XLR_INFO_MASK;

	/* only these two may come with a new timeline, which then is the one that is replayed */
	if (info == XLOG_CHECKPOINT_SHUTDOWN || info == XLOG_END_OF_RECOVERY)
		restartpoint_end_of_timeline();
	restartpoint_follow_up();
	if (info == XLOG_CHECKPOINT_SHUTDOWN || info == XLOG_CHECKPOINT_ONLINE)
		restartpoint_checkpoint_redo(record);
	else
		core_xlog_redo(record);
}

/* What a primary logs now and then, even if nobody changes anything. */
static void
standby_redo_wrapper(XLogReaderState *record)
{
	restartpoint_follow_up();
	core_standby_redo(record);
}

static void
forget_dropped(const RelFileLocator *locators, int n)
{
	for (int i = 0; i < n; i++)
		wal_forget_file(locators[i], 0);
	pool_discard_files(locators, n);
}

static void
xact_redo_wrapper(XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record) & XLOG_XACT_OPMASK;

	restartpoint_follow_up();
	if (info == XLOG_XACT_COMMIT || info == XLOG_XACT_COMMIT_PREPARED)
	{
		xl_xact_parsed_commit parsed;

		ParseCommitRecord(XLogRecGetInfo(record), (xl_xact_commit *) XLogRecGetData(record),
						  &parsed);
		forget_dropped(parsed.xlocators, parsed.nrels);
	}
	else if (info == XLOG_XACT_ABORT || info == XLOG_XACT_ABORT_PREPARED)
	{
		xl_xact_parsed_abort parsed;

		ParseAbortRecord(XLogRecGetInfo(record), (xl_xact_abort *) XLogRecGetData(record), &parsed);
		forget_dropped(parsed.xlocators, parsed.nrels);
	}
	core_xact_redo(record);
}

/*
 * Without full page writes, redo that begins again meets records of a map page that has been cut
 * off meanwhile. Core remembers such a page as missing until the cut, but expects cuts of the main
 * fork only: its own records of the map make the page anew.  Ours (vismap.c) do not, and cut the
 * map to nothing.
 */
static void
forget_missing_map(const xl_smgr_truncate *truncate)
{
	if ((truncate->flags & SMGR_TRUNCATE_VM) != 0 && truncate->blkno == 0)
		XLogTruncateRelation(truncate->rlocator, VISIBILITYMAP_FORKNUM, 0);
}

static void
smgr_redo_wrapper(XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record) & ~XLR_INFO_MASK;
	PoolFile	file = {.backend = INVALID_PROC_NUMBER, .logged = true};

	if (info == XLOG_SMGR_CREATE)
	{
		xl_smgr_create *create = (xl_smgr_create *) XLogRecGetData(record);

		file.locator = create->rlocator;
		if (create->forkNum == MAIN_FORKNUM)
		{
			torn_forget_file(file.locator, 0);
			pool_discard_file(&file, 0);
		}
	}
	else if (info == XLOG_SMGR_TRUNCATE)
	{
		xl_smgr_truncate *truncate = (xl_smgr_truncate *) XLogRecGetData(record);

		file.locator = truncate->rlocator;
		if ((truncate->flags & SMGR_TRUNCATE_HEAP) != 0)
		{
			wal_forget_file(truncate->rlocator, truncate->blkno);
			pool_discard_file(&file, truncate->blkno);
		}
	}
	core_smgr_redo(record);
	if (info == XLOG_SMGR_TRUNCATE)
		forget_missing_map((xl_smgr_truncate *) XLogRecGetData(record));
}

/* The copy is made from the files: they must have what the pool has, and what torn.c has. */
static void
before_database_copy(const xl_dbase_create_file_copy_rec *copy)
{
	pool_flush_database(copy->src_db_id);
	torn_write();
	torn_forget_database(copy->db_id);
	pool_discard_tablespace(copy->db_id, copy->tablespace_id);
}

static void
before_database_drop(const xl_dbase_drop_rec *drop)
{
	for (int i = 0; i < drop->ntablespaces; i++)
		pool_discard_tablespace(drop->db_id, drop->tablespace_ids[i]);
	wal_forget_database(drop->db_id);
}

static void
dbase_redo_wrapper(XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record) & ~XLR_INFO_MASK;

	if (info == XLOG_DBASE_CREATE_FILE_COPY)
		before_database_copy((xl_dbase_create_file_copy_rec *) XLogRecGetData(record));
	else if (info == XLOG_DBASE_DROP)
		before_database_drop((xl_dbase_drop_rec *) XLogRecGetData(record));
	core_dbase_redo(record);
}

static RedoFunction
wrap_redo(RmgrId rmid, RedoFunction wrapper)
{
	RedoFunction original = RmgrTable[rmid].rm_redo;

	RmgrTable[rmid].rm_redo = wrapper;
	return original;
}

/* ---- transactions ---- */

/* Files that core removes right after this; nobody else can reach them any more. */
static void
discard_pending_deletes(bool for_commit)
{
	RelFileLocator *locators;
	int			n = smgrGetPendingDeletes(for_commit, &locators);

	if (n > 0)
	{
		pool_discard_files(locators, n);
		pfree(locators);
	}
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	pool_assert_unlatched();
	if (event == XACT_EVENT_COMMIT)
	{
		discard_pending_deletes(true);
		checkpoint_watch(GetCurrentTransactionStopTimestamp());
	}
	else if (event == XACT_EVENT_ABORT)
		discard_pending_deletes(false);
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		discard_pending_deletes(false);
}

void
core_events_register(void)
{
	core_xlog_redo = wrap_redo(RM_XLOG_ID, xlog_redo_wrapper);
	core_xact_redo = wrap_redo(RM_XACT_ID, xact_redo_wrapper);
	core_smgr_redo = wrap_redo(RM_SMGR_ID, smgr_redo_wrapper);
	core_dbase_redo = wrap_redo(RM_DBASE_ID, dbase_redo_wrapper);
	core_standby_redo = wrap_redo(RM_STANDBY_ID, standby_redo_wrapper);
	restartpoint_register(core_xlog_redo);
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}
