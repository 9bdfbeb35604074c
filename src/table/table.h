/*
 * table.h
 *	  The table access method's parts, for each other.
 */
#ifndef ROWAN_TABLE_TABLE_H
#define ROWAN_TABLE_TABLE_H

#include "access/tableam.h"
#include "row/row.h"
#include "table/slot.h"
#include "utils/rel.h"

/*
 * What folders above hand down at load (rowan.c), since includes point only downward; NULL without
 * preload.  Called before the first block of a bitmap scan, and when the size of a main fork is
 * asked for, which an ERROR refuses.  Whether an index finds the entries of dead rows, if these are
 * known, by key (dead_rows.h).
 */
extern void (*table_bitmap_scan_begins) (void);
extern void (*table_size_is_asked) (Relation rel);
extern bool (*table_index_finds_by_key) (Relation index);

/* The relation as the pool and the row layer see it; valid in this transaction. */
extern void table_pool_file(Relation rel, PoolFile *file);
extern void table_row_table(Relation rel, RowTable *table);

/* How the relation's columns are encoded; cached in the relcache entry. */
extern const RowLayout *table_layout(Relation rel);

/*
 * The row's columns, as far as it has them; returns how many.  Raises DATA_CORRUPTED if it makes no
 * sense.
 */
extern int	table_decode_row(Relation rel, const RowLayout *layout, const RowData *row,
							 Datum *values, bool *isnull);

/* Number of logical blocks: all row ids are below it times 256. */
extern BlockNumber table_logical_blocks(const PoolFile *file);

/* Pages in use, for statistics: 0 while the table's file is as a new one. */
extern BlockNumber table_pages_in_use(const PoolFile *file);

/* Whether block numbers that core asks and gives for the table are logical ones (BRIN), or pages. */
extern bool table_blocks_are_logical(Relation rel);

extern bool rowan_relation_is_rowan(Relation rel);

/* The same of an access method; false: there is none of that OID. */
extern bool rowan_method_is_rowan(Oid method);

/* ANALYZE is taking a sample, and core's questions about block numbers are its. */
extern bool table_is_being_sampled(void);

/* Lock word or superseder, as xmax. */
static inline TransactionId
table_version_xmax(const RowVersion *version)
{
	if (version->superseded)
		return version->newer_xid;
	if (version->meta.flags & ROW_LOCK)
		return version->meta.lock_xid;
	return InvalidTransactionId;
}

/* Stores a version, with its identity, into a slot of ours. copy: the slot gets its own bytes. */
static inline void
table_store_version(Relation rel, TupleTableSlot *slot, RowId row, const RowVersion *version,
					bool copy)
{
	RowanSlot  *rslot = (RowanSlot *) slot;

	if (copy)
		slot_own_row(slot, &version->data);
	else
		slot_refer_row(slot, &version->data);
	row_tid_set(&slot->tts_tid, row, version->meta.tag);
	slot->tts_tableOid = RelationGetRelid(rel);
	rslot->xmin = row_shown_xid(&version->meta);
	rslot->cmin = version->meta.cid;
	rslot->xmax = table_version_xmax(version);
	/* one field in heap's header: what was not superseded shows its own command */
	rslot->cmax = version->superseded ? version->newer_cid : version->meta.cid;
}

/* ---- callbacks, by file ---- */

/* scan.c */
extern TableScanDesc rowan_scan_begin(Relation rel, Snapshot snapshot, int nkeys,
									  struct ScanKeyData *key, ParallelTableScanDesc pscan,
									  uint32 flags);
extern void rowan_scan_end(TableScanDesc scan);
extern void rowan_scan_rescan(TableScanDesc scan, struct ScanKeyData *key, bool set_params,
							  bool allow_strat, bool allow_sync, bool allow_pagemode);
extern bool rowan_scan_getnextslot(TableScanDesc scan, ScanDirection direction,
								   TupleTableSlot *slot);
extern void rowan_scan_set_tidrange(TableScanDesc scan, ItemPointer mintid, ItemPointer maxtid);
extern bool rowan_scan_getnextslot_tidrange(TableScanDesc scan, ScanDirection direction,
											TupleTableSlot *slot);
extern Size rowan_parallelscan_initialize(Relation rel, ParallelTableScanDesc pscan);
extern bool rowan_scan_sample_next_block(TableScanDesc scan, struct SampleScanState *state);
extern bool rowan_scan_sample_next_tuple(TableScanDesc scan, struct SampleScanState *state,
										 TupleTableSlot *slot);

/* fetch.c */
extern struct IndexFetchTableData *rowan_index_fetch_begin(Relation rel);
extern void rowan_index_fetch_reset(struct IndexFetchTableData *data);
extern void rowan_index_fetch_end(struct IndexFetchTableData *data);
extern bool rowan_index_fetch_tuple(struct IndexFetchTableData *data, ItemPointer tid,
									Snapshot snapshot, TupleTableSlot *slot, bool *call_again,
									bool *all_dead);
extern bool rowan_fetch_row_version(Relation rel, ItemPointer tid, Snapshot snapshot,
									TupleTableSlot *slot);
extern void rowan_get_latest_tid(TableScanDesc scan, ItemPointer tid);
extern bool rowan_tid_valid(TableScanDesc scan, ItemPointer tid);
extern bool rowan_satisfies_snapshot(Relation rel, TupleTableSlot *slot, Snapshot snapshot);
extern TransactionId rowan_index_delete_tuples(Relation rel, TM_IndexDeleteOp *delstate);

/* modify.c */
/* Switches to a context that is reset by each call: for one row's verb.  Returns the caller's. */
extern MemoryContext table_enter_row_context(void);
extern void rowan_tuple_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
							   struct BulkInsertStateData *bistate);
extern void rowan_tuple_insert_speculative(Relation rel, TupleTableSlot *slot, CommandId cid,
										   int options, struct BulkInsertStateData *bistate,
										   uint32 token);
extern void rowan_tuple_complete_speculative(Relation rel, TupleTableSlot *slot, uint32 token,
											 bool succeeded);
extern void rowan_multi_insert(Relation rel, TupleTableSlot **slots, int nslots, CommandId cid,
							   int options, struct BulkInsertStateData *bistate);
extern TM_Result rowan_tuple_delete(Relation rel, ItemPointer tid, CommandId cid,
									Snapshot snapshot, Snapshot crosscheck, bool wait,
									TM_FailureData *tmfd, bool changing_part);
extern TM_Result rowan_tuple_update(Relation rel, ItemPointer otid, TupleTableSlot *slot,
									CommandId cid, Snapshot snapshot, Snapshot crosscheck,
									bool wait, TM_FailureData *tmfd, LockTupleMode *lockmode,
									TU_UpdateIndexes *update_indexes);

/* row_lock.c */
extern TM_Result rowan_tuple_lock(Relation rel, ItemPointer tid, Snapshot snapshot,
								  TupleTableSlot *slot, CommandId cid, LockTupleMode mode,
								  LockWaitPolicy wait_policy, uint8 flags, TM_FailureData *tmfd);

/* build.c */
extern double rowan_index_build_range_scan(Relation rel, Relation index,
										   struct IndexInfo *info, bool allow_sync,
										   bool anyvisible, bool progress, BlockNumber start,
										   BlockNumber nblocks, IndexBuildCallback callback,
										   void *callback_state, TableScanDesc scan);
extern void rowan_index_validate_scan(Relation rel, Relation index, struct IndexInfo *info,
									  Snapshot snapshot, struct ValidateIndexState *state);

/* analyze.c */
/* A block that ANALYZE has chosen; false: nothing there can be a row. */
extern bool table_analyze_block(TableScanDesc scan, BlockNumber block);
extern bool rowan_scan_analyze_next_tuple(TableScanDesc scan, TransactionId oldest_xmin,
										  double *live, double *dead, TupleTableSlot *slot);

/* storage.c */
extern void rowan_set_new_filelocator(Relation rel, const RelFileLocator *locator, char persistence,
									  TransactionId *freeze_xid, MultiXactId *min_multi);
extern void rowan_nontransactional_truncate(Relation rel);
extern void rowan_copy_data(Relation rel, const RelFileLocator *locator);
extern uint64 rowan_relation_size(Relation rel, ForkNumber fork);
extern void rowan_estimate_size(Relation rel, int32 *attr_widths, BlockNumber *pages,
								double *tuples, double *allvisfrac);

/* rewrite.c */
extern void rowan_copy_for_cluster(Relation old, Relation new, Relation index, bool use_sort,
								   TransactionId oldest_xmin, TransactionId *xid_cutoff,
								   MultiXactId *multi_cutoff, double *num_tuples,
								   double *tups_vacuumed, double *tups_recently_dead);

/* callbacks.c: the oldest xid and multixact that VACUUM has to keep. */
extern void table_vacuum_limits(Relation rel, struct VacuumParams *params,
								TransactionId *oldest_xmin, MultiXactId *oldest_multi);

/* table/vacuum.c */
extern void rowan_vacuum(Relation rel, struct VacuumParams *params,
						 BufferAccessStrategy strategy);

/* table/truncate.c: VACUUM's last step, gives free pages at the file's end back. */
extern void table_truncate_tail(Relation rel, int message_level, bool rows_removed);

/*
 * The same for the file of an index, of whatever table, if that may be: not where the table's
 * parameters forbid it, nor in parallel mode, nor for the table that was named here.
 */
extern void table_truncate_index_tail(Relation index, int message_level, bool entries_removed);
extern bool table_may_cut_index(Relation index);
extern void table_keep_index_files(Relation rel, bool keep);

/* room.c */
extern void table_room_init(void);

/* VACUUM of a table of so many pages: what a leaf has room for; then, that this was all. */
extern void table_note_room(Relation rel, const RowTable *table, BlockNumber pages, Page leaf);
extern void table_finish_room(Relation rel, BlockNumber pages);

/* vismap.c */
extern void table_map_init(void);

/* Empties the map of a table that has become empty; before its main fork is cut. */
extern void table_truncate_visibility(Relation rel);

/* Logical blocks about to be marked visible to all, in ascending order, with the leaves that cover them. */
#define VISIBLE_BLOCKS		64
#define VISIBLE_LEAVES		(2 * ROWS_PER_LOGICAL_BLOCK)
typedef struct VisibleBlocks
{
	int			nblocks;
	BlockNumber block[VISIBLE_BLOCKS];
	int			first_leaf[VISIBLE_BLOCKS + 1]; /* in leaf; the last one is the end */
	RowLeaf		leaf[VISIBLE_LEAVES];
} VisibleBlocks;

/*
 * table_mark_visible announces a logical block whose rows are on those leaves, if they are as they were and settled, and
 * puts it off to the batch; table_flush_visible sets the bits of all whose leaves still are, and
 * which nobody is changing, as one record for each page of the map.  No latches held.
 */
extern void table_mark_visible(Relation rel, RowTable *table, VisibleBlocks *batch,
							   BlockNumber logical_block, const RowLeaf *leaves, int nleaves);
extern void table_flush_visible(Relation rel, RowTable *table, VisibleBlocks *batch);

/*
 * The state of a row for index builds and ANALYZE, as HeapTupleSatisfiesVacuum; steps *version
 * over aborted versions.  cell (BLCKSZ + 8 bytes): where to read the row again if it changes meanwhile.
 */
typedef enum RowStatus
{
	ROW_STATUS_DEAD,
	ROW_STATUS_LIVE,
	ROW_STATUS_RECENTLY_DEAD,
	ROW_STATUS_INSERTING,
	ROW_STATUS_DELETING
} RowStatus;
extern RowStatus table_row_status(RowTable *table, RowId row, RowVersion *version, RowWork *work,
								  char *cell, TransactionId *xid);

/* The scan descriptor; in the header for analyze.c and build.c. */
typedef struct RowanScanData
{
	TableScanDescData base;
	RowTable	table;
	RowWork    *work;
	PoolRing   *ring;			/* NULL for small tables */
	RowHint		hint;			/* the leaf of the last row read by itself */
	char	   *copies;			/* memory of page and cell */
	char	   *cell;			/* BLCKSZ + 8: a row read by itself */
	TransactionId creator;		/* of the version returned last; Invalid: frozen, whatever xmin
								 * shows */

	/* the leaf we are on: a private copy */
	char	   *page;
	bool		have_page;
	bool		all_visible;	/* one test answered for all its rows */
	int			pos;			/* slot returned last */
	int			nslots;

	/* rows to return: [first, limit) */
	RowId		first;
	RowId		limit;
	bool		started;

	/* parallel scan */
	ParallelBlockTableScanWorkerData *worker;

	/* bitmap and sample scans: the rows of one logical block */
	int			nrows;
	int			next_row;
	RowId		rows[ROWS_PER_LOGICAL_BLOCK];
	RowId		block_first;
	bool		prefetching_stopped;	/* core does not prefetch for this bitmap scan */

	/* TID range scans: the bounds, both included */
	ItemPointerData min_tid;
	ItemPointerData max_tid;
} RowanScanData;

typedef RowanScanData *RowanScan;

/* A bitmap's block: the rows at n offsets, or with n < 0 all that there are.  False: none. */
extern bool scan_bitmap_block(RowanScan scan, BlockNumber block, const OffsetNumber *offsets,
							  int n);

/* The next of them that the snapshot sees; false, with the slot cleared: no more. */
extern bool scan_bitmap_row(RowanScan scan, TupleTableSlot *slot);

/* Makes the page that covers `row` the scan's page. */
extern void scan_load_page(RowanScan scan, RowId row, BlockNumber hint);

#endif							/* ROWAN_TABLE_TABLE_H */
