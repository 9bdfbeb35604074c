/*
 * rowan.c
 *	  Loading: settings, shared memory, registration of everything that must be known
 *	  before the server starts.  No logic.
 *
 * Loaded later than by shared_preload_libraries, the module does nothing but let
 * rowan_require_preload() say so.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xlog.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/fault.h"
#include "base/preload.h"
#include "btree/btree.h"
#include "btree/index_by_key.h"
#include "core/hooks.h"
#include "core/key_method.h"
#include "entry/entry.h"
#include "miscadmin.h"
#include "pool/frame.h"
#include "pool/torn.h"
#include "pool/wal.h"
#include "row/row.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "table/table.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static shmem_request_hook_type next_shmem_request_hook;
static shmem_startup_hook_type next_shmem_startup_hook;

#ifdef ROWAN_FAULTS
static const struct config_enum_entry torn_controls[] = {
	{"sound", TORN_SOUND, false},
	{"not_healed", TORN_NOT_HEALED, false},
	{"lsn_trusted", TORN_LSN_TRUSTED, false},
	{"no_slots", TORN_NO_SLOTS, false},
	{"bytes_left_out", TORN_BYTES_LEFT_OUT, false},
	{"sum_not_asked", TORN_SUM_NOT_ASKED, false},
	{NULL, 0, false}
};
#endif

static void
define_settings(void)
{
	DefineCustomIntVariable("rowan.buffers",
							"Size of rowan's buffer pool.",
							NULL,
							&pool_buffers_setting,
							128 * 1024 / (BLCKSZ / 1024), POOL_MIN_FRAMES, INT_MAX / 2,
							PGC_POSTMASTER, GUC_UNIT_BLOCKS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("rowan.clean_interval",
							"Time in which the pool worker passes over the whole pool, writing dirty pages.",
							"0 leaves all writing to checkpoints and to backends in need of room.",
							&pool_clean_interval_setting,
							60, 0, 3600,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("rowan.wal_check",
							 "Adds checksums of changed pages to WAL, which redo compares.",
							 "For developers.",
							 &wal_check_enabled,
							 false,
							 PGC_SUSET, GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
	key_method_define_setting();
	fault_define_settings();
#ifdef ROWAN_FAULTS
	DefineCustomBoolVariable("rowan.checkpoint_gate",
							 "Flushes the pool for checkpoints; off loses data.",
							 "For negative controls of crash tests.",
							 &pool_checkpoint_gate_setting,
							 true,
							 PGC_POSTMASTER, GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
	DefineCustomEnumVariable("rowan.torn_control",
							 "Breaks the protection against torn pages; loses data.",
							 "For negative controls of tests that tear pages.",
							 &torn_control,
							 TORN_SOUND, torn_controls,
							 PGC_POSTMASTER, GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
#endif
}

static void
request_shmem(void)
{
	if (next_shmem_request_hook)
		next_shmem_request_hook();
	RequestAddinShmemSpace(frame_shmem_size());
	RequestAddinShmemSpace(fault_shmem_size());
}

static void
startup_shmem(void)
{
	if (next_shmem_startup_hook)
		next_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	frame_shmem_init();
	fault_shmem_init();
	LWLockRelease(AddinShmemInitLock);
}

static void
install_shmem_hooks(void)
{
	next_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	next_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

/* Under minimal, core would log our pages from its own, stale, buffers. */
static void
check_wal_level(void)
{
	if (wal_level < WAL_LEVEL_REPLICA)
		ereport(FATAL,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rowan cannot be used with wal_level = minimal"),
				 errhint("Set wal_level to replica or logical, or remove rowan from "
						 "shared_preload_libraries.")));
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	check_wal_level();
	rowan_set_preloaded();
	define_settings();
	index_options_define();
	install_shmem_hooks();
	wal_register();
	row_wal_init();
	table_map_init();
	table_room_init();
	itree_wal_init();
	pool_page_validator = page_check;
	pool_forget_marks = ipage_forget_marks;
	table_bitmap_scan_begins = hooks_stop_prefetching;
	table_size_is_asked = guard_check_size;
	table_index_finds_by_key = index_finds_by_key;
	hooks_install();
	core_events_register();
	checkpoint_register_worker();
	MarkGUCPrefixReserved("rowan");
}
