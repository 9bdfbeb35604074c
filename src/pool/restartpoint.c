/*
 * restartpoint.c
 *	  Checkpoint records in recovery: a restartpoint at one needs all pages that older records have
 *	  changed on disk (I3), and redo is not to wait until these are written.
 *
 * Core's redo of a checkpoint record makes it known as a candidate: the checkpointer may make a
 * restartpoint of it from that moment on, and looks no further than shared_buffers.  So where many
 * frames are dirty, redo asks the recovery writer to write them, goes on, and makes the record
 * known when that is done.  Until then the candidate before it stands, if there was one.
 *
 *	record N comes		few frames dirty, or no writer: flush here and now; N is the candidate
 *						else: N is noted, the writer asked; the counters of N are believed at once
 *	record M comes		while the writer is at work for N: only its counters; N's turn comes first
 *	writer is done		at the next record that is redone: N is the candidate
 *	the timeline ends	what was noted is dropped, flush here and now
 *
 * What N needs were pages dirtied before N was redone: the writer collects dirty frames after it
 * has been asked, and a frame becomes clean only after its write.
 *
 * A candidate is made known by core's redo function, as there is no other way: with a record of our
 * own making, an online checkpoint's, whose counters are minimums and have been believed already.
 * To believe the counters only, its position is invalid, which core takes for "no candidate".
 *
 * The recovery writer is a process without a database, so that it runs before consistency and
 * without hot_standby.  The startup process asks for it at the first record of ours in archive
 * recovery, and at checkpoint records if it is not there.  In crash recovery there is none: a
 * process that writes while pg_control has no minimum recovery point will not move it later (I2).
 * It ends with recovery. It only writes; the gate (checkpoint.c) is the pool worker's, which starts
 * after it.  It hears of no invalidations, so each page is written to a file newly opened by name;
 * the frame's latch, which whoever removes a file has to wait for, keeps that file in place.
 *
 * Latches: as flush.c.
 */
#include "postgres.h"

#include <signal.h>

#include "access/rmgr.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecovery.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/fault.h"
#include "catalog/pg_control.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pool/frame.h"
#include "pool/restartpoint.h"
#include "pool/torn.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

extern PGDLLEXPORT void rowan_recovery_writer_main(Datum arg);

#define TURN_MS				200
#define CLOSE_FILES_TURNS	50

/* Not worth another process: frames dirty when a checkpoint record comes. */
#define FEW_DIRTY			Max(4, Min(256, pool_n_frames / 32))

/* ---- candidates; startup process ---- */

typedef struct Candidate
{
	CheckPoint	checkpoint;
	XLogRecPtr	start;			/* of its record; invalid: there is no candidate */
	XLogRecPtr	end;
} Candidate;

static RestartpointRedo core_redo;	/* XLOG's */
static Candidate known;			/* to core, as far as we have told it */
static Candidate noted;			/* to become known when the request is served */
static FullTransactionId latest_next_xid;

uint64		restartpoint_request = 0;	/* the writer's, for noted; 0: none */

static Candidate
candidate_of(XLogReaderState *record)
{
	Candidate	candidate = {.start = record->ReadRecPtr, .end = record->EndRecPtr};

	memcpy(&candidate.checkpoint, XLogRecGetData(record), sizeof(CheckPoint));
	return candidate;
}

/*
 * Core's redo, as if the candidate's record came now.  Its redo leaves the checkpoint's next xid in
 * pg_control, where the latest belongs.
 */
static void
tell_core(const Candidate *candidate)
{
	CheckPoint	checkpoint = candidate->checkpoint;
	DecodedXLogRecord decoded = {0};
	XLogReaderState reader = {0};

	checkpoint.nextXid = latest_next_xid;
	decoded.header.xl_rmid = RM_XLOG_ID;
	decoded.header.xl_info = XLOG_CHECKPOINT_ONLINE;
	decoded.lsn = candidate->start;
	decoded.next_lsn = candidate->end;
	decoded.main_data = (char *) &checkpoint;
	decoded.main_data_len = sizeof(checkpoint);
	decoded.max_block_id = -1;
	reader.record = &decoded;
	reader.ReadRecPtr = candidate->start;
	reader.EndRecPtr = candidate->end;
	core_redo(&reader);
}

static void
believe_counters(const Candidate *candidate)
{
	Candidate	no_candidate = *candidate;

	no_candidate.start = InvalidXLogRecPtr;
	tell_core(&no_candidate);
	if (!XLogRecPtrIsInvalid(known.start))
		tell_core(&known);
}

/* ---- asking the writer ---- */

static bool
writer_is_there(void)
{
	bool		result;

	SpinLockAcquire(&pool_control->mutex);
	result = pool_control->recovery_writer != NULL;
	SpinLockRelease(&pool_control->mutex);
	return result;
}

/* Returns the request's number, or 0 if there is nobody to ask. */
static uint64
ask_writer(void)
{
	uint64		request = 0;
	Latch	   *latch;

	SpinLockAcquire(&pool_control->mutex);
	latch = pool_control->recovery_writer;
	if (latch != NULL)
		request = ++pool_control->flush_wanted;
	SpinLockRelease(&pool_control->mutex);
	if (latch != NULL)
		SetLatch(latch);
	return request;
}

static bool
request_is_served(uint64 request)
{
	bool		served;

	SpinLockAcquire(&pool_control->mutex);
	served = pool_control->flush_done >= request;
	SpinLockRelease(&pool_control->mutex);
	return served;
}

static void
start_writer(void)
{
	BackgroundWorker worker;

	if (!InArchiveRecovery || !IsUnderPostmaster || writer_is_there())
		return;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_PostmasterStart;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "rowan", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "rowan_recovery_writer_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "rowan recovery writer", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "rowan recovery writer", BGW_MAXLEN);
	(void) RegisterDynamicBackgroundWorker(&worker, NULL);
}

void
restartpoint_first_record(void)
{
	static bool asked = false;

	if (!asked && InArchiveRecovery)
	{
		asked = true;
		start_writer();
	}
}

/* ---- redo ---- */

static void
flush_now(void)
{
	FAULT_POINT(redo_restartpoint);
	pool_flush_all();
	restartpoint_request = 0;
}

void
restartpoint_follow_up_slowly(void)
{
	if (!request_is_served(restartpoint_request))
		return;
	FAULT_POINT(standby_restartpoint);
	restartpoint_request = 0;
	known = noted;
	tell_core(&known);
}

void
restartpoint_checkpoint_redo(XLogReaderState *record)
{
	Candidate	candidate = candidate_of(record);
	bool		is_online = (XLogRecGetInfo(record) & ~XLR_INFO_MASK) == XLOG_CHECKPOINT_ONLINE;
	bool		at_work = restartpoint_request != 0 && writer_is_there();

	latest_next_xid = candidate.checkpoint.nextXid;
	torn_write();
	if (is_online && !at_work && flush_count_dirty(FEW_DIRTY) >= FEW_DIRTY)
	{
		restartpoint_request = ask_writer();
		noted = candidate;
		at_work = restartpoint_request != 0;
		if (!at_work)
			start_writer();		/* for the next time */
	}
	if (is_online && at_work)
		believe_counters(&candidate);
	else
	{
		flush_now();
		known = candidate;
		core_redo(record);
	}
}

/* The candidates' timeline is not the one that is replayed any more, which core would not stand. */
void
restartpoint_end_of_timeline(void)
{
	restartpoint_request = 0;
	known.start = InvalidXLogRecPtr;
}

void
restartpoint_register(RestartpointRedo xlog_redo)
{
	core_redo = xlog_redo;
}

/* ---- the recovery writer ---- */

static volatile sig_atomic_t shutdown_requested = false;

static void
writer_sigterm(SIGNAL_ARGS)
{
	int			save_errno = errno;

	shutdown_requested = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

static bool
writer_may_leave(void)
{
	return shutdown_requested || !RecoveryInProgress();
}

static void
unregister_writer(int code, Datum arg)
{
	SpinLockAcquire(&pool_control->mutex);
	if (pool_control->recovery_writer == MyLatch)
		pool_control->recovery_writer = NULL;
	SpinLockRelease(&pool_control->mutex);
}

/* False: there is one already. */
static bool
register_writer(void)
{
	bool		alone;

	SpinLockAcquire(&pool_control->mutex);
	alone = pool_control->recovery_writer == NULL;
	if (alone)
		pool_control->recovery_writer = MyLatch;
	SpinLockRelease(&pool_control->mutex);
	if (alone)
		on_shmem_exit(unregister_writer, 0);
	return alone;
}

/* Writes what is dirty, if somebody has asked for that since the last time. */
static void
serve_request(void)
{
	uint64		wanted,
				done;

	SpinLockAcquire(&pool_control->mutex);
	wanted = pool_control->flush_wanted;
	done = pool_control->flush_done;
	SpinLockRelease(&pool_control->mutex);
	if (wanted == done)
		return;
	FAULT_POINT(standby_flush);
	pool_flush_all();
	if (writer_may_leave())
		return;					/* not all of it */
	SpinLockAcquire(&pool_control->mutex);
	pool_control->flush_done = wanted;
	SpinLockRelease(&pool_control->mutex);
}

static void
writer_turn(void)
{
	static int	turns;
	static uint32 event;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	serve_request();
	flush_share(TURN_MS, true);
	if (++turns % CLOSE_FILES_TURNS == 0)
		smgrdestroyall();		/* handles keep removed files on disk */
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, TURN_MS,
					 named_wait_event("RowanRecoveryWriterMain", &event));
	ResetLatch(MyLatch);
}

/*
 * After an error (a page that cannot be written) it tries again: meanwhile there are no new
 * restartpoints.
 */
static void
writer_loop(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "rowan recovery writer",
												  ALLOCSET_DEFAULT_SIZES);
	sigjmp_buf	jump;

	MemoryContextSwitchTo(context);
	if (sigsetjmp(jump, 1) != 0)
		flush_after_error(context);
	PG_exception_stack = &jump;
	while (!writer_may_leave())
	{
		writer_turn();
		MemoryContextReset(context);
	}
	PG_exception_stack = NULL;
}

void
rowan_recovery_writer_main(Datum arg)
{
	pqsignal(SIGTERM, writer_sigterm);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	io_reopens_files = true;
	flush_may_stop = writer_may_leave;
	if (register_writer())
		writer_loop();
	proc_exit(0);				/* never to be started again, unless asked for */
}
