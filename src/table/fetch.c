/*
 * fetch.c
 *	  Single rows by TID: for index scans, triggers, constraints, TID scans.
 *
 * An index entry's TID names a row; the version that was found is said by the tag in the TID that
 * goes into the slot.  No latch is held between calls.
 *
 * Predicate locks are on tagged TIDs, that is on versions, as heap's are: who replaces a version
 * conflicts with those who read it, not with readers of versions before it (they conflict with
 * those who replaced these).
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/xact.h"
#include "base/fault.h"
#include "miscadmin.h"
#include "pool/file_cache.h"
#include "storage/predicate.h"
#include "table/table.h"
#include "utils/memutils.h"

typedef struct RowanFetchData
{
	IndexFetchTableData base;
	RowTable	table;
	RowHint		hint;			/* the leaf of the last row */
	bool		found_one;		/* a row: expect more, and let the slot have room for any */
	bool		tree_exists;	/* once true, it stays so */
	Snapshot	snapshot;		/* for conflict_out */
} RowanFetchData;

typedef RowanFetchData *RowanFetch;

/*
 * Memory for one row and its versions, which is used up when a fetch returns.  One for all of them:
 * a unique check begins and ends a fetch for each entry with the key that it looks at.
 */
static RowWork *one_work;
static char *one_cell;

/*
 * The leaf where the last fetch from a table ended; its version says whether that is the same
 * still.
 */
typedef struct LastFetch
{
	FileKey		key;
	RowHint		hint;
} LastFetch;

FILE_CACHE(last_fetches, LastFetch, 16);

static void
have_memory(void)
{
	MemoryContext caller;

	if (one_cell != NULL)
		return;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	one_work = row_work_create();
	one_cell = palloc(BLCKSZ + MAXIMUM_ALIGNOF);
	MemoryContextSwitchTo(caller);
}

static void
fetch_conflict_out(void *arg, TransactionId xid)
{
	RowanFetch	fetch = (RowanFetch) arg;

	CheckForSerializableConflictOut(fetch->base.rel, xid, fetch->snapshot);
}

struct IndexFetchTableData *
rowan_index_fetch_begin(Relation rel)
{
	RowanFetch	fetch = palloc0(sizeof(RowanFetchData));
	const LastFetch *last;

	fetch->base.rel = rel;
	table_row_table(rel, &fetch->table);
	have_memory();
	last = file_cache_find(&last_fetches, &fetch->table.file, 0);
	if (last != NULL)
		fetch->hint = last->hint;
	return &fetch->base;
}

void
rowan_index_fetch_reset(struct IndexFetchTableData *data)
{
}

void
rowan_index_fetch_end(struct IndexFetchTableData *data)
{
	RowanFetch	fetch = (RowanFetch) data;

	if (fetch->hint.frame != NULL)
	{
		LastFetch  *last = file_cache_make(&last_fetches, &fetch->table.file, 0);

		last->hint = fetch->hint;
	}
	pfree(fetch);
}

static void
watch_conflicts(RowanFetch fetch, Snapshot snapshot)
{
	bool		needed = CheckForSerializableConflictOutNeeded(fetch->base.rel, snapshot);

	fetch->snapshot = snapshot;
	fetch->table.conflict_arg = fetch;
	fetch->table.conflict_out = needed ? fetch_conflict_out : NULL;
}

/*
 * A writer that changed the row after we read it, and before our predicate lock, has not seen the
 * lock: so we must see its change.  The answer is the same; only conflicts are reported.
 */
static void
look_again(RowanFetch fetch, RowId row, Snapshot snapshot)
{
	RowVersion	version;
	char	   *cell = palloc(BLCKSZ + MAXIMUM_ALIGNOF);

	(void) row_fetch_visible(&fetch->table, row, snapshot, &fetch->hint, cell, one_work,
							 &version, NULL);
	pfree(cell);
}

bool
rowan_index_fetch_tuple(struct IndexFetchTableData *data, ItemPointer tid, Snapshot snapshot,
						TupleTableSlot *slot, bool *call_again, bool *all_dead)
{
	RowanFetch	fetch = (RowanFetch) data;
	RowId		row = row_id_from_tid(tid);
	RowVersion	version;
	char	   *cell = one_cell;

	FAULT_POINT(index_fetch);
	*call_again = false;
	if (all_dead != NULL)
		*all_dead = false;
	if (unlikely(!fetch->tree_exists))
	{
		fetch->tree_exists = tree_exists(&fetch->table.file);
		if (!fetch->tree_exists)
			return false;
	}
	if (IsolationIsSerializable())
		watch_conflicts(fetch, snapshot);
	/* after the first, straight into the slot's own memory: the row is copied once */
	if (fetch->found_one)
		cell = slot_begin_row(slot, BLCKSZ + MAXIMUM_ALIGNOF);
	if (!row_fetch_visible(&fetch->table, row, snapshot, &fetch->hint, cell, one_work, &version,
						   all_dead))
		return false;
	fetch->found_one = true;
	table_store_version(fetch->base.rel, slot, row, &version, true);
	if (IsolationIsSerializable() && IsMVCCSnapshot(snapshot))
	{
		PredicateLockTID(fetch->base.rel, &slot->tts_tid, snapshot, version.meta.xid);
		if (fetch->table.conflict_out != NULL)
			look_again(fetch, row, snapshot);
	}
	*tid = slot->tts_tid;
	return true;
}

/* ---- by exact version ---- */

/* False: there can be no such row. */
static bool
one_begin(Relation rel, ItemPointer tid, RowTable *table)
{
	if (!row_tid_plausible(tid))
		return false;
	table_row_table(rel, table);
	if (!tree_exists(&table->file))
		return false;
	have_memory();
	return true;
}

bool
rowan_fetch_row_version(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot)
{
	RowTable	table;
	RowVersion	version;
	ItemPointerData wanted = *tid;	/* may be the slot's own */
	RowId		row = row_id_from_tid(&wanted);
	uint8		tag = row_tag_from_tid(&wanted);
	bool		serializable = IsolationIsSerializable() && IsMVCCSnapshot(snapshot);
	RowanFetchData watcher = {0};
	bool		found;

	if (!one_begin(rel, &wanted, &table))
		return false;
	if (serializable)
	{
		watcher.base.rel = rel;
		watcher.table = table;
		watch_conflicts(&watcher, snapshot);
		table = watcher.table;
	}
	if (snapshot->snapshot_type == SNAPSHOT_ANY)
		found = row_fetch_tag(&table, row, tag, NULL, one_cell, one_work, &version);
	else
		found = row_fetch_visible(&table, row, snapshot, NULL, one_cell, one_work, &version,
								  NULL) && version.meta.tag == tag;
	if (found)
	{
		table_store_version(rel, slot, row, &version, true);
		if (serializable)
		{
			PredicateLockTID(rel, &slot->tts_tid, snapshot, version.meta.xid);
			if (watcher.table.conflict_out != NULL)
				look_again(&watcher, row, snapshot);
		}
	}
	return found;
}

bool
rowan_satisfies_snapshot(Relation rel, TupleTableSlot *slot, Snapshot snapshot)
{
	RowTable	table;
	RowVersion	version;
	bool		found;

	if (!one_begin(rel, &slot->tts_tid, &table))
		return false;
	found = row_fetch_visible(&table, row_id_from_tid(&slot->tts_tid), snapshot, NULL,
							  one_cell, one_work, &version, NULL) &&
		version.meta.tag == row_tag_from_tid(&slot->tts_tid);
	return found;
}

bool
rowan_tid_valid(TableScanDesc sscan, ItemPointer tid)
{
	RowanScan	scan = (RowanScan) sscan;

	return row_tid_plausible(tid) && tree_exists(&scan->table.file) &&
		ItemPointerGetBlockNumberNoCheck(tid) < table_logical_blocks(&scan->table.file);
}

/*
 * Was the row made by who moved one there?  No snapshot need have seen that one: it may be gone,
 * and its id another row's.  If it isn't known any more, nobody sees where it came from.
 */
static bool
was_made_by(RowanScan scan, RowId row, TransactionId mover)
{
	RowVersion	version;
	bool		gone;

	if (!row_read(&scan->table, row, NULL, scan->cell, &version))
		return false;
	while (row_step_older(&scan->table, row, &version, scan->work, &gone))
		 /* to the oldest */ ;
	return !gone && (version.meta.xid == mover || version.meta.frozen_xid == mover);
}

/* Follows moves as far as the scan's snapshot sees them; the newest version visible there. */
void
rowan_get_latest_tid(TableScanDesc sscan, ItemPointer tid)
{
	RowanScan	scan = (RowanScan) sscan;
	ItemPointerData at = *tid;

	for (;;)
	{
		RowId		row = row_id_from_tid(&at);
		RowVersion	version;
		RowMeta		newest;

		CHECK_FOR_INTERRUPTS();
		if (!row_tid_plausible(&at) || !tree_exists(&scan->table.file))
			return;
		if (row_fetch_visible(&scan->table, row, sscan->rs_snapshot, NULL, scan->cell, scan->work,
							  &version, NULL))
		{
			row_tid_set(tid, row, version.meta.tag);
			return;
		}
		if (!row_read(&scan->table, row, NULL, scan->cell, &version))
			return;
		newest = version.meta;
		if ((newest.flags & ROW_DELETED) == 0 || (newest.flags & ROW_FORWARD) == 0 ||
			newest.forward_offset == MovedPartitionsOffsetNumber)
			return;
		ItemPointerSet(&at, newest.forward_block, newest.forward_offset);
		if (!was_made_by(scan, row_id_from_tid(&at), newest.xid))
			return;
	}
}
