/*
 * fault.h
 *	  Fault points: named places where a test can make a backend fail, crash, sleep
 *	  or wait.
 *
 * Compiled in with -DROWAN_FAULTS only.  FAULT_POINT(name) costs a test of a flag
 * then, and nothing otherwise; a name that is not in the list does not compile in
 * either build.  Armed by the setting rowan.fault ('name:action[:argument], ...', this
 * process or all of them), or for all processes by fault_arm().
 *
 * Actions: error, panic (argument: at which hit, 1 is the first), sleep (argument:
 * milliseconds), wait (until disarmed; argument: the process that waits, 0: all; fault_arm() only).
 */
#ifndef ROWAN_BASE_FAULT_H
#define ROWAN_BASE_FAULT_H

#define FAULT_POINT_LIST(X) \
	X(pool_load) \
	X(pool_evict) \
	X(pool_write) \
	X(pool_flush) \
	X(pool_flush_each) \
	X(pool_tick) \
	X(pool_shutdown) \
	X(pool_extend) \
	X(pool_discard) \
	X(pool_truncate_logged) \
	X(pool_truncate_discarded) \
	X(pool_truncate_done) \
	X(change_before_log) \
	X(change_published) \
	X(change_after_log) \
	X(change_redo_latched) \
	X(change_redo_between) \
	X(change_redo_applied) \
	X(truncate_redo) \
	X(truncate_redo_done) \
	X(redo_restartpoint) \
	X(standby_restartpoint) \
	X(standby_flush) \
	X(redo_cleanup) \
	X(redo_flushed) \
	X(space_after_extend) \
	X(tree_create) \
	X(tree_created) \
	X(split_before_commit) \
	X(split_after_commit) \
	X(root_split_before_commit) \
	X(root_split_after_commit) \
	X(merge_before_commit) \
	X(merge_after_commit) \
	X(even_out_before_commit) \
	X(even_out_after_commit) \
	X(root_collapse_before_commit) \
	X(root_collapse_after_commit) \
	X(trim_write) \
	X(trim_written) \
	X(shrink_move) \
	X(shrink_moved) \
	X(index_insert) \
	X(index_insert_applied) \
	X(index_insert_logged) \
	X(index_insert_redo) \
	X(index_insert_change) \
	X(index_deduplicate) \
	X(index_delete) \
	X(index_vacuum) \
	X(row_insert) \
	X(row_insert_applied) \
	X(row_insert_logged) \
	X(row_insert_redo) \
	X(row_replace) \
	X(row_replace_applied) \
	X(row_replace_logged) \
	X(row_replace_redo) \
	X(row_replace_redo_between) \
	X(row_move) \
	X(row_move_applied) \
	X(row_move_logged) \
	X(row_move_redo) \
	X(row_move_redo_between) \
	X(row_move_deleted) \
	X(row_move_inserted) \
	X(row_prune) \
	X(row_prune_dead) \
	X(row_pop) \
	X(row_lock_follow) \
	X(index_fetch) \
	X(version_append) \
	X(version_add) \
	X(version_added) \
	X(version_judged) \
	X(version_free) \
	X(version_freed) \
	X(vacuum_pruned) \
	X(vacuum_index_cleaned) \
	X(vacuum_stubs_removed) \
	X(vacuum_visibility) \
	X(vacuum_before_truncate)

#define FAULT_POINT_ENUM(name) FAULT_##name,
typedef enum FaultPoint
{
	FAULT_POINT_LIST(FAULT_POINT_ENUM)
	FAULT_POINTS				/* their number */
} FaultPoint;
#undef FAULT_POINT_ENUM

#ifdef ROWAN_FAULTS

/* Any point armed here, or by anybody. */
extern bool fault_armed_here;
extern volatile uint32 *fault_armed_anywhere;

extern void fault_hit(FaultPoint point);

#define FAULT_POINT(name) \
	do { \
		if (unlikely(fault_armed_here || *fault_armed_anywhere != 0)) \
			fault_hit(FAULT_##name); \
	} while (0)

#else
#define FAULT_POINT(name) ((void) FAULT_##name)
#endif

/* For SQL functions; without -DROWAN_FAULTS they raise FEATURE_NOT_SUPPORTED. */
extern void fault_arm(const char *name, const char *action, uint32 argument);
extern void fault_disarm(const char *name); /* NULL: all */
extern const char *fault_name(FaultPoint point);
extern uint64 fault_hits(FaultPoint point); /* hits while anything was armed */

/* At load; shared memory as core asks for it. */
extern void fault_define_settings(void);
extern Size fault_shmem_size(void);
extern void fault_shmem_init(void);

#endif							/* ROWAN_BASE_FAULT_H */
