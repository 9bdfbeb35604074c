/*
 * compat.h
 *	  Where the majors of PostgreSQL differ, as far as names, types and calls go.
 *
 * The source speaks the newest major's names; here they are mapped to what older ones call
 * the same thing.  A call whose arguments or result have changed has a wrapper here, named after
 * what it does: a macro where core's header for it is not for all layers, which does without the
 * header until it is used.  Besides this file only those that hold core's callback signatures
 * ask which major it is (test/t/seam.py knows them).
 *
 * Relies on: nothing of ours.
 */
#ifndef ROWAN_BASE_COMPAT_H
#define ROWAN_BASE_COMPAT_H

/* The ICU part of pg_locale.h wants headers that PostgreSQL's package does not bring along. */
#undef USE_ICU

#include "access/xloginsert.h"
#include "access/xlogreader.h"
#include "common/relpath.h"
#include "storage/proc.h"
#include "storage/smgr.h"
#include "storage/standby.h"
#include "utils/guc.h"
#include "utils/pg_locale.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "Rowan supports PostgreSQL 15, 16, 17 and 18"
#endif

/* ---- headers ---- */

#if PG_VERSION_NUM >= 160000
#include "access/xlogutils.h"
#include "storage/bufpage.h"
#include "storage/relfilelocator.h"
#include "utils/relfilenumbermap.h"
#include "varatt.h"
#else
#include "storage/relfilenode.h"
#include "utils/relfilenodemap.h"
#endif

#if PG_VERSION_NUM < 180000
/* exported by the server, in no header */
extern PGDLLIMPORT bool ignore_checksum_failure;
extern PGDLLIMPORT bool ignore_invalid_pages;
#endif

#if PG_VERSION_NUM >= 170000
#include "storage/procnumber.h"
#else
#include "storage/backendid.h"
#endif

/* ---- names ---- */

#if PG_VERSION_NUM < 160000
#define RelFileLocator			RelFileNode
#define RelFileLocatorEquals	RelFileNodeEquals
#define spcOid					spcNode
#define dbOid					dbNode
#define relNumber				relNode
#define rd_locator				rd_node
#define rlocator				rnode
#define xlocators				xnodes
#define PGIOAlignedBlock		PGAlignedBlock

/* memory that a setting's check hook hands over */
#define guc_malloc(elevel, size)	malloc(size)
#define guc_free				free

/* Which indexes want an entry for a row that has been updated. */
typedef enum TU_UpdateIndexes
{
	TU_None,
	TU_All,
	TU_Summarizing				/* never on 15, where updates in place change no indexed column */
} TU_UpdateIndexes;
#endif

#if PG_VERSION_NUM < 170000
#define ProcNumber				BackendId
#define INVALID_PROC_NUMBER		InvalidBackendId
#define ProcNumberForTempRelations	BackendIdForTempRelations
#define ProcNumberGetProc		BackendIdGetProc
#define procNumber				backendId
#define MyProcNumber			(MyProc->pgprocno)
#define shared_blk_read_time	blk_read_time
#define shared_blk_write_time	blk_write_time
#define smgrdestroyall			smgrcloseall
#define AmAutoVacuumWorkerProcess	IsAutoVacuumWorkerProcess
#define WAIT_EVENT_BUFFER_PIN	PG_WAIT_BUFFER_PIN
#endif

#if PG_VERSION_NUM < 180000
#define ps_offset_am			ps_offset
#define pg_noreturn				pg_attribute_noreturn()
#define CompactAttribute		FormData_pg_attribute
#define TupleDescCompactAttr	TupleDescAttr
#define cmptype					rctype
#define COMPARE_LT				ROWCOMPARE_LT
#define COMPARE_LE				ROWCOMPARE_LE
#endif

/* ---- what is reached in another way ---- */

/* This process's local transaction number: a variable. */
#if PG_VERSION_NUM >= 170000
#define my_local_xid			(MyProc->vxid.lxid)
#else
#define my_local_xid			(MyProc->lxid)
#endif

/* Counters of blocks in a relation's statistics, which must be there: variables. */
#if PG_VERSION_NUM >= 160000
#define relation_blocks_fetched(rel)	((rel)->pgstat_info->counts.blocks_fetched)
#define relation_blocks_hit(rel)		((rel)->pgstat_info->counts.blocks_hit)
#else
#define relation_blocks_fetched(rel)	((rel)->pgstat_info->t_counts.t_blocks_fetched)
#define relation_blocks_hit(rel)		((rel)->pgstat_info->t_counts.t_blocks_hit)
#endif

/* Does anybody read WAL to learn which blocks changed, those of visibility maps too (backups)? */
#define WAL_IS_SUMMARIZED		(PG_VERSION_NUM >= 170000)

/* Can rows lose versions that a snapshot may still want (old_snapshot_threshold)? */
#if PG_VERSION_NUM >= 170000
#define snapshots_grow_too_old()	false
#else
#define snapshots_grow_too_old()	(old_snapshot_threshold >= 0)
#endif

/*
 * What a change of these columns asks for: the row moves, with new entries in all indexes; or
 * it stays, with new entries in indexes that summarize blocks (BRIN).
 */
#if PG_VERSION_NUM >= 160000
#define moving_columns(rel) \
	RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_HOT_BLOCKING)
#define summarized_columns(rel) \
	RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_SUMMARIZED)
#define index_summarizes(index)		((index)->rd_indam->amsummarizing)
#else
#define moving_columns(rel)			RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_ALL)
#define summarized_columns(rel)		((Bitmapset *) NULL)
#define index_summarizes(index)		false
#endif

/* Do ON CONFLICT and foreign keys insist on btree indexes?  Else core asks an index's method. */
#define UNIQUE_INDEXES_NEED_BTREE	(PG_VERSION_NUM < 180000)

/* ALTER TABLE ... SET EXPRESSION, which is like TYPE. */
#if PG_VERSION_NUM >= 170000
#define SETS_EXPRESSION(subtype)	((subtype) == AT_SetExpression)
#else
#define SETS_EXPRESSION(subtype)	false
#endif

/* A constraint that excludes what overlaps. */
#if PG_VERSION_NUM >= 180000
#define CONSTRAINT_WITHOUT_OVERLAPS(constraint)	((constraint)->without_overlaps)
#else
#define CONSTRAINT_WITHOUT_OVERLAPS(constraint)	false
#endif

/* ---- the executor's hook: of one argument core found that nobody uses it ---- */

#if PG_VERSION_NUM >= 180000
#define EXECUTOR_RUN_PARAMETERS \
	QueryDesc *query, ScanDirection direction, uint64 count
#define EXECUTOR_RUN_ARGUMENTS		query, direction, count
#else
#define EXECUTOR_RUN_PARAMETERS \
	QueryDesc *query, ScanDirection direction, uint64 count, bool once
#define EXECUTOR_RUN_ARGUMENTS		query, direction, count, once
#endif

/* Keeps a bitmap scan's node from reading ahead, which 18 leaves to the table's method. */
#if PG_VERSION_NUM >= 180000
#define forbid_prefetching(scan)	((void) (scan))
#else
#define forbid_prefetching(scan)	((scan)->prefetch_maximum = 0)
#endif

/* ---- calls ---- */

/* A relation's main file, by its path in the data directory; palloc'd. */
static inline char *
file_path(RelFileLocator locator, ProcNumber backend)
{
#if PG_VERSION_NUM >= 180000
	return pstrdup(relpathbackend(locator, backend, MAIN_FORKNUM).str);
#else
	return relpathbackend(locator, backend, MAIN_FORKNUM);
#endif
}

/* The same of the fork that unlogged relations start with. */
static inline char *
init_fork_path(RelFileLocator locator)
{
#if PG_VERSION_NUM >= 180000
	return pstrdup(relpathperm(locator, INIT_FORKNUM).str);
#else
	return relpathperm(locator, INIT_FORKNUM);
#endif
}

/* In a critical section; the sizes are taken by the caller before it. */
static inline void
truncate_fork(SMgrRelation reln, ForkNumber fork, BlockNumber old_blocks, BlockNumber blocks)
{
#if PG_VERSION_NUM >= 180000
	smgrtruncate(reln, &fork, 1, &old_blocks, &blocks);
#else
	smgrtruncate2(reln, &fork, 1, &old_blocks, &blocks);
#endif
}

/* Ends the standby's queries that may still see what no snapshot up to the horizon may need. */
static inline void
resolve_snapshot_conflict(TransactionId horizon, RelFileLocator locator)
{
#if PG_VERSION_NUM >= 160000
	ResolveRecoveryConflictWithSnapshot(horizon, false, locator);
#else
	ResolveRecoveryConflictWithSnapshot(horizon, locator);
#endif
}

/* The relation that has this file in this database; InvalidOid: none. */
#if PG_VERSION_NUM >= 160000
#define relation_of_file(locator)	RelidByRelfilenumber((locator).spcOid, (locator).relNumber)
#else
#define relation_of_file(locator)	RelidByRelfilenode((locator).spcOid, (locator).relNumber)
#endif

/* Asks the operating system for a block that will be read soon. */
static inline bool
prefetch_block(SMgrRelation reln, BlockNumber block)
{
#if PG_VERSION_NUM >= 170000
	return smgrprefetch(reln, MAIN_FORKNUM, block, 1);
#else
	return smgrprefetch(reln, MAIN_FORKNUM, block);
#endif
}

/*
 * A wait event by this name, for pg_stat_activity; *event is the caller's memory of it, zero at first.
 * Before 17 all of extensions have one name.
 */
static inline uint32
named_wait_event(const char *name, uint32 *event)
{
	if (*event == 0)
#if PG_VERSION_NUM >= 170000
		*event = WaitEventExtensionNew(name);
#else
		*event = PG_WAIT_EXTENSION;
#endif
	return *event;
}

/* Does the collation compare bytes? */
#if PG_VERSION_NUM >= 180000
#define collation_is_c(collation)	(pg_newlocale_from_collation(collation)->collate_is_c)
#else
#define collation_is_c(collation)	lc_collate_is_c(collation)
#endif

/* Tries to lock without waiting; refusing: the caller will raise an error, and 18 can log why. */
#if PG_VERSION_NUM >= 180000
#define try_lock_tuple(rel, tid, mode, refusing) \
	ConditionalLockTuple(rel, tid, mode, (refusing) && log_lock_failures)
#define try_wait_for_xid(xid, refusing) \
	ConditionalXactLockTableWait(xid, (refusing) && log_lock_failures)
#else
#define try_lock_tuple(rel, tid, mode, refusing) \
	((void) (refusing), ConditionalLockTuple(rel, tid, mode))
#define try_wait_for_xid(xid, refusing) \
	((void) (refusing), ConditionalXactLockTableWait(xid))
#endif

/* A tuple without system columns, with extra bytes for the caller in front (before 18: none). */
#if PG_VERSION_NUM >= 180000
#define form_minimal_tuple(desc, values, isnull, extra) \
	heap_form_minimal_tuple(desc, values, isnull, extra)
#else
#define form_minimal_tuple(desc, values, isnull, extra) \
	((void) (extra), heap_form_minimal_tuple(desc, values, isnull))
#endif

/* Counts an update for the statistics; stays: in place, or on the same page. */
#if PG_VERSION_NUM >= 160000
#define count_update(rel, stays)	pgstat_count_heap_update(rel, stays, false)
#else
#define count_update(rel, stays)	pgstat_count_heap_update(rel, stays)
#endif

/* An ordinary scan of an index, without conditions. */
#if PG_VERSION_NUM >= 180000
#define scan_whole_index(rel, index, snapshot) \
	index_beginscan(rel, index, snapshot, NULL, 0, 0)
#else
#define scan_whole_index(rel, index, snapshot) \
	index_beginscan(rel, index, snapshot, 0, 0)
#endif

/* A search of the index, for EXPLAIN, which asks since 18. */
#if PG_VERSION_NUM >= 180000
#define count_index_search(scan) \
	((scan)->instrument != NULL ? (void) (scan)->instrument->nsearches++ : (void) 0)
#else
#define count_index_search(scan)	((void) (scan))
#endif

/* The next of sorted values, by value or in the sort's memory. */
#if PG_VERSION_NUM >= 160000
#define next_sorted_datum(sort, value, isnull) \
	tuplesort_getdatum(sort, true, false, value, isnull, NULL)
#else
#define next_sorted_datum(sort, value, isnull) \
	tuplesort_getdatum(sort, true, value, isnull, NULL)
#endif

/* What is known of the backends of this server, from 1. */
#if PG_VERSION_NUM >= 160000
#define local_backend_status(i)		pgstat_get_local_beentry_by_index(i)
#else
#define local_backend_status(i)		pgstat_fetch_stat_local_beentry(i)
#endif

/* How many elements the planner expects an array to have. */
#if PG_VERSION_NUM >= 170000
#define expected_elements(root, array)	estimate_array_length(root, array)
#else
#define expected_elements(root, array)	estimate_array_length(array)
#endif

/* A restriction that another one implies, and that holds where that does. */
#if PG_VERSION_NUM >= 160000
#define implied_restriction(root, clause, by) \
	make_restrictinfo(root, clause, (by)->is_pushed_down, (by)->has_clone, (by)->is_clone, false, \
					  (by)->security_level, (by)->required_relids, (by)->incompatible_relids, \
					  (by)->outer_relids)
#else
#define implied_restriction(root, clause, by) \
	make_restrictinfo(root, clause, (by)->is_pushed_down, (by)->outerjoin_delayed, false, \
					  (by)->security_level, (by)->required_relids, (by)->outer_relids, \
					  (by)->nullable_relids)
#endif

/* ---- logical decoding ---- */

/* The file of the table that a change of a row is about: a variable. */
#if PG_VERSION_NUM >= 160000
#define change_locator(change)		((change)->data.tp.rlocator)
#else
#define change_locator(change)		((change)->data.tp.relnode)
#endif

/* A row as it is queued. */
#if PG_VERSION_NUM >= 170000
#define QueuedTuple					HeapTupleData
#define queued_heap_tuple(queued)	(queued)
#else
#define QueuedTuple					ReorderBufferTupleBuf
#define queued_heap_tuple(queued)	(&(queued)->tuple)
#endif

#if PG_VERSION_NUM < 180000
#define ReorderBufferAllocChange	ReorderBufferGetChange
#define ReorderBufferAllocTupleBuf	ReorderBufferGetTupleBuf
#endif

/* All is known of a column of a TupleDesc made by hand, counted from 0. */
#if PG_VERSION_NUM >= 180000
#define column_is_described(desc, i)	populate_compact_attribute(desc, i)
#else
#define column_is_described(desc, i)	((void) (TupleDescAttr(desc, i)->attcacheoff = -1))
#endif

/* ---- VACUUM ---- */

/* A place where VACUUM may be cancelled, and sleeps if it costs too much. */
#if PG_VERSION_NUM >= 180000
#define vacuum_pause()				vacuum_delay_point(false)
#else
#define vacuum_pause()				vacuum_delay_point()
#endif

/* The table whose index is being cleaned. */
#if PG_VERSION_NUM >= 160000
#define set_vacuumed_table(info, rel)	((void) ((info)->heaprel = (rel)))
#else
#define set_vacuumed_table(info, rel)	((void) 0)
#endif

/* May VACUUM cut files of a table with these options, a StdRdOptions or NULL? */
#if PG_VERSION_NUM >= 180000
#define options_let_truncate(options) \
	((options) != NULL && (options)->vacuum_truncate_set ? (options)->vacuum_truncate : \
	 vacuum_truncate)
#else
#define options_let_truncate(options)	((options) == NULL || (options)->vacuum_truncate)
#endif

/*
 * Writes pg_class; what is visible to all is frozen, too.  xid_set, multi_set: NULL, or whether
 * these were.
 */
#if PG_VERSION_NUM >= 180000
#define update_relation_statistics(rel, pages, rows, visible, has_index, xid, multi, xid_set, \
								   multi_set) \
	vac_update_relstats(rel, pages, rows, visible, visible, has_index, xid, multi, xid_set, \
						multi_set, false)
#else
#define update_relation_statistics(rel, pages, rows, visible, has_index, xid, multi, xid_set, \
								   multi_set) \
	vac_update_relstats(rel, pages, rows, visible, has_index, xid, multi, xid_set, multi_set, false)
#endif

/*
 * pg_stat_progress_vacuum: dead rows, of as many as there is memory for; indexes done, of so many.
 */
#if PG_VERSION_NUM >= 170000
#define progress_dead_limit(bytes, rows) \
	pgstat_progress_update_param(PROGRESS_VACUUM_MAX_DEAD_TUPLE_BYTES, bytes)
#define progress_dead(bytes, rows) \
	(pgstat_progress_update_param(PROGRESS_VACUUM_DEAD_TUPLE_BYTES, bytes), \
	 pgstat_progress_update_param(PROGRESS_VACUUM_NUM_DEAD_ITEM_IDS, rows))
#define progress_indexes(done, total) \
	(pgstat_progress_update_param(PROGRESS_VACUUM_INDEXES_TOTAL, total), \
	 pgstat_progress_update_param(PROGRESS_VACUUM_INDEXES_PROCESSED, done))
#else
#define progress_dead_limit(bytes, rows) \
	pgstat_progress_update_param(PROGRESS_VACUUM_MAX_DEAD_TUPLES, rows)
#define progress_dead(bytes, rows) \
	pgstat_progress_update_param(PROGRESS_VACUUM_NUM_DEAD_TUPLES, rows)
#define progress_indexes(done, total)	((void) 0)
#endif

/* What VACUUM VERBOSE says of a heap in this major's words. */
#if PG_VERSION_NUM >= 180000
#define VACUUM_SAYS_EAGER	", 0 eagerly scanned"
#define VACUUM_SAYS_READS	"reads"
#define vacuum_says_wal_full(text, usage) \
	appendStringInfo(text, ", %lld buffers full", (long long) (usage)->wal_buffers_full)
#else
#define VACUUM_SAYS_EAGER	""
#define VACUUM_SAYS_READS	"misses"
#define vacuum_says_wal_full(text, usage)	((void) 0)
#endif

/* start: when this VACUUM began. */
#if PG_VERSION_NUM >= 180000
#define report_vacuumed(rel, live, dead, start) \
	pgstat_report_vacuum(RelationGetRelid(rel), (rel)->rd_rel->relisshared, live, dead, start)
#else
#define report_vacuumed(rel, live, dead, start) \
	((void) (start), \
	 pgstat_report_vacuum(RelationGetRelid(rel), (rel)->rd_rel->relisshared, live, dead))
#endif

#endif							/* ROWAN_BASE_COMPAT_H */
