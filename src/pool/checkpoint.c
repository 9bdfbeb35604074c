/*
 * checkpoint.c
 *	  THE integration with core's checkpoints: the pool worker and its gate.
 *
 * The worker permanently holds DELAY_CHKPT_START with a valid local transaction id.
 * A checkpointer that has set its redo point waits for the holders of that flag, told
 * apart by their local transaction ids; the worker's tick, a fresh id, lets it go on.  It
 * ticks only under OidGenLock and only if the redo point still is the one that it has flushed
 * all dirty frames for.  The checkpointer takes OidGenLock between setting the redo
 * point and listing the holders, so the tick that releases it has seen its redo point:
 * every page dirtied by an older record has been handed to smgrwrite before CheckPointGuts,
 * whose fsyncs cover it (I3).
 *
 * Nobody dirties a page while the gate is not held (I4): writers attach first, and the
 * worker leaves only when none is attached.  Any other end of it is a crash of the server.
 *
 * Latches: none while it waits for anything.  The worker must never run a
 * transaction (the end of one clears the flag and the id), and so must not call anything
 * that reads catalogs.
 */
#include "postgres.h"

#include <signal.h>

#include "access/transam.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/fault.h"
#include "base/preload.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pool/frame.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/walsender.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "storage/sinvaladt.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

extern PGDLLEXPORT void rowan_pool_worker_main(Datum arg);

int			pool_clean_interval_setting;

#ifdef ROWAN_FAULTS
/* off: checkpoints leave the pool out, and crash tests must notice */
bool		pool_checkpoint_gate_setting = true;
#endif

#define TICK_MS				10
#define CLOSE_FILES_MS		10000
#define ARM_TIMEOUT_MS		30000
#define WAKE_TURNS			20	/* of TICK_MS */
#define SLOW_FLUSH_MS		30000
#define HUNG_WORKER_MS		30000

static volatile sig_atomic_t shutdown_requested = false;
static bool exit_is_clean = false;
static bool attached = false;

/* ---- writers ---- */

static void
detach_writer(int code, Datum arg)
{
	SpinLockAcquire(&pool_control->mutex);
	pool_control->writers--;
	SpinLockRelease(&pool_control->mutex);
}

/* The worker must see us from the moment that we rely on it. */
static bool
try_attach(void)
{
	bool		armed;

	SpinLockAcquire(&pool_control->mutex);
	armed = pool_control->armed;
	if (armed)
		pool_control->writers++;
	SpinLockRelease(&pool_control->mutex);
	if (!armed)
		return false;
	on_shmem_exit(detach_writer, 0);
	attached = true;
	return true;
}

static void
refuse_impossible_writer(void)
{
	rowan_require_preload();
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot change rowan tables during recovery")));
	if (!IsUnderPostmaster)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change rowan tables in single-user mode"),
				 errdetail("Nothing flushes rowan's buffer pool before a checkpoint there."),
				 errhint("Start the server normally.")));
	if (am_walsender)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change rowan tables over a replication connection"),
				 errhint("Use an ordinary connection.")));
}

/*
 * The postmaster may sleep over the death of a worker (up to a minute): it lets signals in before
 * its select(), not during it.  This makes it look whether there is a worker to start.
 */
static void
wake_postmaster(void)
{
	SendPostmasterSignal(PMSIGNAL_BACKGROUND_WORKER_CHANGE);
}

static void
wait_for_worker(void)
{
	static uint32 event;
	TimestampTz start = GetCurrentTimestamp();

	for (int turn = 1; !try_attach(); turn++)
	{
		if (turn % WAKE_TURNS == 0)
			wake_postmaster();
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), ARM_TIMEOUT_MS))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("rowan's pool worker is not running"),
					 errdetail("Without it, changes of rowan tables would not survive a crash."),
					 errhint("If the server is not shutting down, increase max_worker_processes "
							 "and restart it.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 TICK_MS, named_wait_event("RowanPoolWorkerStart", &event));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

void
pool_prepare_write(void)
{
	pool_assert_unlatched();
	if (likely(attached))
		return;
	refuse_impossible_writer();
	wait_for_worker();
}

bool
pool_can_write(void)
{
	if (likely(attached))
		return true;
	if (pool_control == NULL || RecoveryInProgress() || !IsUnderPostmaster || am_walsender)
		return false;
	return try_attach();
}

/* ---- the watchdog ---- */

/*
 * Called now and then by writers: a worker that hangs stops every checkpoint,
 * and cannot say so itself.
 */
void
checkpoint_watch(TimestampTz now)
{
	TimestampTz tick;
	uint64		warned;

	if (!attached)
		return;
	tick = (TimestampTz) pg_atomic_read_u64(&pool_control->tick_time);
	if (likely(!TimestampDifferenceExceeds(tick, now, HUNG_WORKER_MS)))
		return;
	warned = pg_atomic_read_u64(&pool_control->warned_time);
	if (!TimestampDifferenceExceeds((TimestampTz) warned, now, HUNG_WORKER_MS) ||
		!pg_atomic_compare_exchange_u64(&pool_control->warned_time, &warned, (uint64) now))
		return;
	ereport(LOG,
			(errmsg("rowan's pool worker has not answered for %ld s",
					(long) ((now - tick) / USECS_PER_SEC)),
			 errdetail("Checkpoints wait for it."),
			 errhint("See pg_stat_activity for what it waits for.")));
}

/* ---- the gate ---- */

static void
gate_close(void)
{
	my_local_xid = GetNextLocalTransactionId();
	pg_memory_barrier();
	MyProc->delayChkptFlags |= DELAY_CHKPT_START;
	pg_memory_barrier();
}

static void
assert_gate_closed(void)
{
	if ((MyProc->delayChkptFlags & DELAY_CHKPT_START) == 0 ||
		my_local_xid == InvalidLocalTransactionId)
		elog(PANIC, "rowan's pool worker lost its hold on checkpoints");
}

/* Lets a waiting checkpointer pass, if what has been flushed covers its redo point. */
static bool
gate_tick(XLogRecPtr flushed_for)
{
	bool		ticked = false;

	LWLockAcquire(OidGenLock, LW_EXCLUSIVE);
	if (GetRedoRecPtr() == flushed_for)
	{
		my_local_xid = GetNextLocalTransactionId();
		ticked = true;
	}
	LWLockRelease(OidGenLock);
	return ticked;
}

static void
arm(void)
{
	SpinLockAcquire(&pool_control->mutex);
	pool_control->armed = true;
	SpinLockRelease(&pool_control->mutex);
	ereport(DEBUG1, (errmsg_internal("rowan's pool worker holds the gate")));
}

static bool
disarm_if_alone(void)
{
	bool		alone;

	SpinLockAcquire(&pool_control->mutex);
	alone = pool_control->writers == 0;
	if (alone)
		pool_control->armed = false;
	SpinLockRelease(&pool_control->mutex);
	return alone;
}

/* ---- the worker ---- */

static void
worker_sigterm(SIGNAL_ARGS)
{
	int			save_errno = errno;

	shutdown_requested = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

/*
 * Exit codes 0 and 1 would leave the server running without a gate.  Without a postmaster there is
 * no server: the checkpointer ends as we do, and nobody starts anything again.
 */
static void
guard_exit(int code, Datum arg)
{
	if (!exit_is_clean && PostmasterIsAlive())
		ereport(PANIC,
				(errmsg("rowan's pool worker ended unexpectedly with code %d", code)));
}

static void
flush_for_checkpoint(void)
{
	TimestampTz start = GetCurrentTimestamp();
	long		elapsed_ms;

	FAULT_POINT(pool_flush);
#ifdef ROWAN_FAULTS
	if (!pool_checkpoint_gate_setting)
		return;
#endif
	pool_flush_all();
	elapsed_ms = TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());
	if (elapsed_ms > SLOW_FLUSH_MS)
		ereport(LOG,
				(errmsg("a checkpoint waited %ld s for rowan's buffer pool to be written",
						elapsed_ms / 1000),
				 errhint("Decrease rowan.clean_interval.")));

	/* handles keep removed files on disk */
	smgrdestroyall();
}

static void
close_files_sometimes(void)
{
	static TimestampTz last;
	TimestampTz now = GetCurrentTimestamp();

	pg_atomic_write_u64(&pool_control->tick_time, (uint64) now);
	if (!TimestampDifferenceExceeds(last, now, CLOSE_FILES_MS))
		return;
	last = now;
	smgrdestroyall();
}

static void
serve_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();		/* DROP DATABASE waits for us to serve its barrier */
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}

	/* directly: ProcessCatchupInterrupt would run a transaction */
	AcceptInvalidationMessages();
}

/* One turn; false once the worker may leave. */
static bool
worker_turn(XLogRecPtr *flushed_for)
{
	static uint32 event;
	XLogRecPtr	redo;

	serve_interrupts();
	assert_gate_closed();
	redo = GetRedoRecPtr();
	if (redo != *flushed_for)
	{
		flush_for_checkpoint();
		*flushed_for = redo;
	}
	FAULT_POINT(pool_tick);
	if (!gate_tick(*flushed_for))
		return true;			/* the redo point has moved on: flush again at once */
	if (shutdown_requested && disarm_if_alone())
		return false;
	flush_share(TICK_MS, false);	/* a checkpoint shall find little left to do */
	close_files_sometimes();
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 TICK_MS, named_wait_event("RowanPoolWorkerMain", &event));
	ResetLatch(MyLatch);
	return true;
}

/*
 * Works until told to stop.  After an error (a page that cannot be written) checkpoints stay
 * shut and it tries again, as core's checkpointer does.
 */
static void
worker_loop(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "rowan pool worker",
												  ALLOCSET_DEFAULT_SIZES);
	sigjmp_buf	jump;
	XLogRecPtr	flushed_for = InvalidXLogRecPtr;

	MemoryContextSwitchTo(context);
	if (sigsetjmp(jump, 1) != 0)
	{
		flush_after_error(context);
		flushed_for = InvalidXLogRecPtr;
	}
	PG_exception_stack = &jump;
	while (worker_turn(&flushed_for))
		MemoryContextReset(context);

	/* disarmed: nobody can dirty a frame any more; errors still come back to the top */
	FAULT_POINT(pool_shutdown);
	pool_flush_all();
	PG_exception_stack = NULL;
}

TransactionId
pool_first_xid(void)
{
	return pool_control->first_xid;
}

void
rowan_pool_worker_main(Datum arg)
{
	pqsignal(SIGTERM, worker_sigterm);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	/* for a place in the ProcArray; the last transaction of this process */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(guard_exit, 0);
	pgstat_report_activity(STATE_IDLE, NULL);
	pg_atomic_write_u64(&pool_control->tick_time, (uint64) GetCurrentTimestamp());
	gate_close();
	if (!TransactionIdIsValid(pool_control->first_xid))
		pool_control->first_xid = ReadNextTransactionId();
	arm();
	worker_loop();
	exit_is_clean = true;
	proc_exit(1);				/* 0 would mean: never start again */
}

void
checkpoint_register_worker(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 0;
	strlcpy(worker.bgw_library_name, "rowan", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "rowan_pool_worker_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "rowan pool worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "rowan pool worker", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}
