/*
 * read.c
 *	  Reading rows: the newest version from the leaf, older ones from the
 *	  version store, and which one a snapshot sees.
 *
 * All reads are optimistic copies; nothing is decided on bytes that were not
 * validated.  The rules are those of heapam_visibility.c, asked of a chain from its new end
 * instead of one tuple at a time.
 */
#include "postgres.h"

#include "access/subtrans.h"
#include "access/transam.h"
#include "access/xact.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "row/row.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"

RowWork *
row_work_create(void)
{
	RowWork    *work = palloc(sizeof(RowWork) + 3 * (BLCKSZ + MAXIMUM_ALIGNOF));
	char	   *memory = (char *) MAXALIGN((char *) work + sizeof(RowWork));

	work->record = memory;
	work->data[0] = memory + BLCKSZ;
	work->data[1] = memory + 2 * BLCKSZ;
	work->next = 0;
	return work;
}

void
row_work_free(RowWork *work)
{
	pfree(work);
}

void
row_corrupt(const PoolFile *file, BlockNumber block, RowId row, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("corrupt row in block %u of relation %s", block,
					file_path(file->locator, file->backend)),
			 errdetail("Row (%u,%u): %s.", (BlockNumber) (row >> 8), (unsigned) (row & 0xFF) + 1, what),
			 errhint("Run rowan.verify() on the table.")));
}

void
row_missing(const RowTable *table, RowId row, const RowMeta *newer)
{
	row_corrupt(&table->file, newer->older_block, row, "an older version of it is missing");
}

/* ---- the newest version ---- */

static inline bool
hint_read(RowId row, const RowHint *hint, PoolRead *read)
{
	return hint->frame != NULL && row >= hint->low && row < hint->high &&
		pool_read_again(hint->frame, hint->version, read);
}

/* What is needed of the leaf that was found; to be believed when the read has ended well. */
static inline void
hint_set(RowHint *hint, const PoolRead *read)
{
	const PageTrailerData *trailer = page_trailer(read->page);

	hint->frame = read->latched ? NULL : read->frame;
	hint->version = read->version;
	hint->low = trailer->low_fence;
	hint->high = trailer->high_fence;
	hint->page_xid = trailer->page_xid;
	hint->page_cid = trailer->page_cid;
	hint->page_natts = trailer->page_natts;
}

/* Slot of the row, or -1: on a leaf without holes it stands where its id says. */
static inline int
find_slot(Page page, RowId row, const RowHint *hint)
{
	TreeKey		delta = row - hint->low;

	if (likely(delta < (TreeKey) page_nslots(page) && page_slots(page)[delta].delta == delta))
		return (int) delta;
	return leaf_find(page, row);
}

/* Who reads a leaf row by row is going to want that cell. */
static inline void
prefetch_cell(Page page, TreeKey pos)
{
	if (pos < ROWAN_PAGE_ROOM / sizeof(SlotData))
	{
		const char *cell = (const char *) page + page_slot_offset(page, pos);

		__builtin_prefetch(cell);
		__builtin_prefetch(cell + PG_CACHE_LINE_SIZE / 2);
	}
}

/* Copies the row's cell to dest; NULL: it makes no sense. */
static inline char *
copy_cell(Page page, int pos, char *dest, uint16 *size)
{
	char	   *source = page_cell(page, pos, size);

	return source == NULL ? NULL : row_copy_cell(source, *size, dest);
}

bool
row_read(RowTable *table, RowId row, RowHint *hint, char *dest, RowVersion *version)
{
	RowHint		own_hint;

	if (hint == NULL)
	{
		hint = &own_hint;
		hint->frame = NULL;
	}
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		BlockNumber block;
		char	   *cell = NULL;
		uint16		size = 0;
		int			pos;

		if (!hint_read(row, hint, &read))
		{
			tree_read_leaf(&table->file, row, attempt, NULL, &read);
			hint_set(hint, &read);
		}
		else
			prefetch_cell(read.page, row + 2 - hint->low);
		block = pool_block(read.frame);
		pos = find_slot(read.page, row, hint);
		if (pos >= 0)
			cell = copy_cell(read.page, pos, dest, &size);
		if (unlikely(!pool_read_end(&read)))
		{
			hint->frame = NULL;
			continue;
		}
		if (pos < 0)
			return false;
		if (cell == NULL ||
			!row_parse(cell, size, hint->page_xid, hint->page_cid, hint->page_natts,
					   &version->meta, &version->data))
			row_corrupt(&table->file, block, row, "its cell makes no sense");
		row_version_init(version, row);
		return true;
	}
}

/* ---- older versions ---- */

/* Notes in what is about to become the older version who superseded it. */
static void
note_superseder(RowVersion *version, RowId row, VersionKey key)
{
	const RowMeta *newer = &version->meta;

	version->superseded = true;
	version->newer_xid = newer->xid;
	version->newer_cid = newer->cid;
	version->newer_is_delete = (newer->flags & ROW_DELETED) != 0;
	version->newer_is_move = version->newer_is_delete && (newer->flags & ROW_FORWARD);
	version->newer_key = key;
	if (version->newer_is_delete && (newer->flags & ROW_KEY_KEPT) == 0)
		version->newer_key = VERSION_KEY_TAKEN;
	if (version->newer_is_move)
		ItemPointerSet(&version->newer_tid, newer->forward_block, newer->forward_offset);
	else
		row_tid_set(&version->newer_tid, row, newer->tag);
}

/* The older version's data from the newer one's and the record. False: they don't fit each other. */
static bool
older_data(RowData *data, const VersionRecordData *record, RowWork *work)
{
	const char *payload = (const char *) record + sizeof(VersionRecordData);
	int			length = record->size - sizeof(VersionRecordData);
	char	   *dest;

	if (record->kind == VERSION_SAME_DATA)
		return length == 0;
	dest = work->data[work->next];
	work->next ^= 1;
	if (record->kind == VERSION_DELTA)
	{
		int			total = record->prefix + length + record->suffix;
		const bits8 *nulls = data->nulls;
		int			nulls_size = nulls ? row_nulls_size(data->natts) : 0;

		if (record->prefix + record->suffix > data->size ||
			total + MAXALIGN(nulls_size) > BLCKSZ)
			return false;
		memcpy(dest, data->data, record->prefix);
		memcpy(dest + record->prefix, payload, length);
		memcpy(dest + record->prefix + length, data->data + data->size - record->suffix,
			   record->suffix);
		if (nulls != NULL)
		{
			memmove(dest + BLCKSZ - nulls_size, nulls, nulls_size);
			data->nulls = (bits8 *) (dest + BLCKSZ - nulls_size);
		}
		data->size = total;
	}
	else if (record->kind == VERSION_FULL)
	{
		int			nulls_size = (record->flags & ROW_NULLS) ? row_nulls_size(record->natts) : 0;

		if (nulls_size > length)
			return false;
		data->size = length - nulls_size;
		memcpy(dest, payload + nulls_size, data->size);
		memcpy(dest + BLCKSZ - nulls_size, payload, nulls_size);
		data->nulls = nulls_size > 0 ? (bits8 *) (dest + BLCKSZ - nulls_size) : NULL;
		data->natts = record->natts;
	}
	else
		return false;
	data->data = dest;
	data->flags = record->flags & (ROW_NULLS | ROW_ALIGNED | ROW_EXTERNAL);
	return true;
}

static void
older_meta(RowMeta *meta, const VersionRecordData *record)
{
	uint16		lock_flags = meta->flags & ROW_LOCK;
	bool		frozen = row_flags_frozen(record->flags);

	meta->flags = (record->flags & (ROW_FROZEN | ROW_CID | ROW_VERSION)) | lock_flags;
	meta->tag = record->tag;
	meta->xid = frozen ? InvalidTransactionId : record->xid;
	meta->frozen_xid = frozen ? record->xid : InvalidTransactionId;
	meta->cid = record->cid;
	meta->older_block = record->older_block;
	meta->older_offset = record->older_offset;
}

static inline bool
read_older_record(RowTable *table, const RowMeta *meta, char *dest)
{
	if (unlikely(table->read_record != NULL))
		return table->read_record(table->read_arg, meta->older_block, meta->older_offset, dest);
	return version_read(&table->file, meta->older_block, meta->older_offset, dest);
}

bool
row_step_older(RowTable *table, RowId row, RowVersion *version, RowWork *work, bool *gone)
{
	RowMeta    *meta = &version->meta;
	VersionRecordData *record = (VersionRecordData *) work->record;

	/* a chain is as long as an old snapshot made it */
	CHECK_FOR_INTERRUPTS();
	*gone = false;
	if ((meta->flags & ROW_VERSION) == 0)
	{
		if ((meta->flags & ROW_DELETED) == 0 || row_is_stub(meta))
			return false;
		/* deletion of a version that everybody could see: nothing was pushed */
		note_superseder(version, row, VERSION_KEY_FREE);
		meta->flags = (meta->flags & (ROW_LOCK | ROW_PAGE_XID)) |
			(meta->flags & META_CREATOR ? ROW_FROZEN : 0);
		meta->xid = InvalidTransactionId;
		meta->cid = FirstCommandId;
		return true;
	}
	if (!read_older_record(table, meta, work->record) ||
		!version_is_for(record, row, meta->xid, meta->tag))
	{
		*gone = true;
		return false;
	}
	note_superseder(version, row, record->key);
	if (!older_data(&version->data, record, work))
	{
		*gone = true;
		if (table->read_record != NULL)
			return false;
		row_corrupt(&table->file, meta->older_block, row, "its version record does not fit it");
	}
	older_meta(meta, record);
	return true;
}

/*
 * A query on a standby that does not see what xid did, and does not find the record of what xid
 * superseded, sees no version below it: else it was cancelled when that record went (reclaim.c).
 * What began after a promotion has no such excuse: its horizons have regard for the query.
 */
static bool
is_no_loss(TransactionId xid, Snapshot snapshot)
{
	return snapshot->snapshot_type == SNAPSHOT_MVCC && snapshot->takenDuringRecovery &&
		pool_may_be_replayed(xid) && xid_state(xid) == XID_COMMITTED;
}

/*
 * A version page goes when a horizon has passed all its superseders, and no horizon for a table that
 * others can see ever passes the xmin of a backend that counts: computed before that was set, it is
 * not newer than what was running then; computed later, it has regard for it.  The horizon of a
 * temporary table has no regard for snapshots.
 */
bool
row_may_be_reclaimed(const PoolFile *file, TransactionId xid)
{
	if (xid_state(xid) != XID_COMMITTED)
		return false;
	if (file->backend != INVALID_PROC_NUMBER || !TransactionIdIsNormal(MyProc->xmin) ||
		(MyProc->statusFlags & (PROC_IN_VACUUM | PROC_IN_SAFE_IC)) != 0)
		return true;
	return TransactionIdPrecedes(xid, MyProc->xmin);
}

/* ---- visibility ---- */

static inline bool
creator_visible_mvcc(const RowMeta *meta, Snapshot snapshot)
{
	TransactionId xid = meta->xid;

	if (!TransactionIdIsNormal(xid))
		return true;
	if ((int32) (xid - snapshot->xmin) < 0)
		return xid_did_commit(xid);
	if (TransactionIdIsCurrentTransactionId(xid))
		return meta->cid < snapshot->curcid;
	if (XidInMVCCSnapshot(xid, snapshot))
		return false;
	return xid_did_commit(xid);
}

/*
 * A serializable transaction does not see what xid did.  As HeapCheckForSerializableConflictOut: core knows serializable
 * transactions by their top xid, and what was undone, by itself or with a subtransaction, is no conflict.
 */
static void
report_conflict(const RowTable *table, TransactionId xid)
{
	XidState	state;

	if (TransactionIdPrecedes(xid, TransactionXmin))
		return;
	state = xid_state(xid);
	if (state == XID_OWN || state == XID_ABORTED)
		return;
	xid = SubTransGetTopmostTransaction(xid);
	if (!TransactionIdPrecedes(xid, TransactionXmin))
		table->conflict_out(table->conflict_arg, xid);
}

static bool
find_mvcc(RowTable *table, RowId row, RowVersion *version, Snapshot snapshot, RowWork *work,
		  bool *gone)
{
	for (;;)
	{
		if (creator_visible_mvcc(&version->meta, snapshot))
			return (version->meta.flags & ROW_DELETED) == 0;
		if (table->conflict_out != NULL)
			report_conflict(table, version->meta.xid);
		if (!row_step_older(table, row, version, work, gone))
			return false;
	}
}

static bool
find_self(RowTable *table, RowId row, RowVersion *version, RowWork *work, bool *gone)
{
	for (;;)
	{
		XidState	state = xid_state(version->meta.xid);

		if (state == XID_OWN || state == XID_COMMITTED)
			return (version->meta.flags & ROW_DELETED) == 0;
		if (!row_step_older(table, row, version, work, gone))
			return false;
	}
}

/*
 * What is there if transactions in progress were taken for undecided: the newest version that
 * is certain, and in snapshot->xmax who is about to supersede it; or a row that is only
 * just being inserted, and in snapshot->xmin by whom.
 */
static bool
find_dirty(RowTable *table, RowId row, RowVersion *version, Snapshot snapshot, RowWork *work,
		   bool *gone)
{
	snapshot->xmin = snapshot->xmax = InvalidTransactionId;
	snapshot->speculativeToken = 0;
	for (;;)
	{
		RowMeta    *meta = &version->meta;
		XidState	state = xid_state(meta->xid);

		if (state == XID_OWN || state == XID_COMMITTED)
			return (meta->flags & ROW_DELETED) == 0;
		if (state == XID_RUNNING)
		{
			if ((meta->flags & (ROW_DELETED | ROW_VERSION)) == 0)
			{
				snapshot->xmin = meta->xid;
				snapshot->xmax = InvalidTransactionId;
				if (meta->flags & ROW_SPECULATIVE)
					snapshot->speculativeToken = meta->forward_block;
				return true;
			}
			snapshot->xmax = meta->xid;
		}
		if (!row_step_older(table, row, version, work, gone))
			return false;
	}
}

void
row_undelete(RowTable *table, RowId row, RowVersion *version, RowWork *work)
{
	bool		gone;

	Assert((version->meta.flags & ROW_DELETED) && !row_is_stub(&version->meta));
	if (row_step_older(table, row, version, work, &gone))
		return;
	/* only its maker's record is gone: everybody could see the version, and its data stayed */
	note_superseder(version, row, VERSION_KEY_FREE);
	version->meta.flags &= ROW_LOCK;
	version->meta.xid = version->meta.frozen_xid = InvalidTransactionId;
	version->meta.cid = FirstCommandId;
}

/* Any data there is: the newest version, or the one that was deleted. */
static bool
find_any(RowTable *table, RowId row, RowVersion *version, RowWork *work)
{
	if (row_is_stub(&version->meta))
		return false;
	if (version->meta.flags & ROW_DELETED)
		row_undelete(table, row, version, work);
	return true;
}

static bool
find_non_vacuumable(RowTable *table, RowId row, RowVersion *version, Snapshot snapshot,
					RowWork *work)
{
	TransactionId removed;
	RowTable	with_horizon = *table;

	with_horizon.horizon = snapshot->vistest;
	if (row_is_dead_to_all(&with_horizon, &version->meta, &removed))
		return false;
	return find_any(table, row, version, work);
}

static bool
find_not_aborted(RowTable *table, RowId row, RowVersion *version, RowWork *work, bool *gone)
{
	while (xid_state(version->meta.xid) == XID_ABORTED)
		if (!row_step_older(table, row, version, work, gone))
			return false;
	return find_any(table, row, version, work);
}

bool
row_find_visible(RowTable *table, RowId row, RowVersion *version, Snapshot snapshot,
				 RowWork *work, bool *gone)
{
	*gone = false;
	switch (snapshot->snapshot_type)
	{
		case SNAPSHOT_MVCC:
			return find_mvcc(table, row, version, snapshot, work, gone);
		case SNAPSHOT_SELF:
			return find_self(table, row, version, work, gone);
		case SNAPSHOT_ANY:
			return find_any(table, row, version, work);
		case SNAPSHOT_TOAST:
			return find_not_aborted(table, row, version, work, gone);
		case SNAPSHOT_DIRTY:
			return find_dirty(table, row, version, snapshot, work, gone);
		case SNAPSHOT_NON_VACUUMABLE:
			return find_non_vacuumable(table, row, version, snapshot, work);
		case SNAPSHOT_HISTORIC_MVCC:
			break;
	}
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("Rowan tables cannot be read by logical decoding as catalog tables")));
}

bool
row_find_tag(RowTable *table, RowId row, RowVersion *version, uint8 tag, RowWork *work, bool *gone)
{
	*gone = false;
	if (!find_any(table, row, version, work))
		return false;
	while (version->meta.tag != tag)
	{
		if (!row_step_older(table, row, version, work, gone))
			return false;
	}
	return true;
}

/* ---- with retries ---- */

bool
row_read_changed(RowTable *table, RowId row, const RowMeta *before, RowHint *hint, char *dest,
				 RowVersion *version)
{
	CHECK_FOR_INTERRUPTS();
	if (!row_read(table, row, hint, dest, version))
		return false;
	if (row_same_newest(before, &version->meta))
		row_missing(table, row, before);
	return true;
}

bool
row_fetch_visible(RowTable *table, RowId row, Snapshot snapshot, RowHint *hint, char *dest,
				  RowWork *work, RowVersion *version, bool *all_dead)
{
	bool		exists = row_read(table, row, hint, dest, version);

	if (all_dead != NULL)
		*all_dead = !exists;
	while (exists)
	{
		RowMeta		newest;
		bool		gone;

		/* the common case: the newest version is the one */
		if (snapshot->snapshot_type == SNAPSHOT_MVCC &&
			(version->meta.flags & ROW_DELETED) == 0 &&
			creator_visible_mvcc(&version->meta, snapshot))
			return true;
		newest = version->meta;
		if (row_find_visible(table, row, version, snapshot, work, &gone))
			return true;
		if (!gone)
		{
			TransactionId removed;

			if (all_dead != NULL && table->horizon != NULL)
				*all_dead = row_is_dead_to_all(table, &newest, &removed);
			return false;
		}
		if (is_no_loss(version->meta.xid, snapshot))
			return false;
		exists = row_read_changed(table, row, &newest, hint, dest, version);
		if (all_dead != NULL)
			*all_dead = !exists;
	}
	return false;
}

bool
row_fetch_tag(RowTable *table, RowId row, uint8 tag, RowHint *hint, char *dest, RowWork *work,
			  RowVersion *version)
{
	RowMeta		before = {0};

	for (int attempt = 0;; attempt++)
	{
		RowMeta		newest;
		bool		gone;

		if (!row_read(table, row, hint, dest, version))
			return false;
		newest = version->meta;
		if (row_find_tag(table, row, version, tag, work, &gone))
			return true;
		if (!gone)
			return false;
		/* unchanged: that version was reclaimed, nobody is entitled to it */
		if (attempt > 0 && row_same_newest(&before, &newest))
		{
			if (!row_may_be_reclaimed(&table->file, version->meta.xid))
				row_missing(table, row, &version->meta);
			return false;
		}
		before = newest;
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- whole pages ---- */

#ifdef USE_ASSERT_CHECKING
static bool
has_row_of_its_own(Page copy)
{
	for (int pos = 0; pos < page_nslots(copy); pos++)
	{
		uint16		size;
		char	   *cell = page_cell(copy, pos, &size);

		if (cell != NULL && row_flags_own(row_header_flags((RowHeaderData *) cell)))
			return true;
	}
	return false;
}
#endif

bool
row_page_all_visible(Page copy, Snapshot snapshot)
{
	PageTrailer trailer = page_trailer(copy);
	TransactionId xid = trailer->page_xid;

	if ((trailer->flags & PAGE_UNIFORM) == 0 || snapshot->snapshot_type != SNAPSHOT_MVCC)
		return false;
	Assert(!has_row_of_its_own(copy));	/* I-ROW-5 */
	if (!TransactionIdIsNormal(xid) || trailer->page_cid == PAGE_CID_FROZEN)
		return true;
	if (TransactionIdPrecedes(xid, snapshot->xmin))
		return xid_did_commit(xid);
	return !TransactionIdIsCurrentTransactionId(xid) &&
		!XidInMVCCSnapshot(xid, snapshot) && xid_did_commit(xid);
}

/* A version record to look at. */
typedef struct VersionPlace
{
	BlockNumber block;
	uint16		offset;
	const char *page;
} VersionPlace;

#define PREFETCH_MAX_ROWS	256
#define PREFETCH_MAX_STEPS	64

/* A guess: the snapshot has to step over what xid made. */
static inline bool
looks_too_new(TransactionId xid, Snapshot snapshot)
{
	return TransactionIdIsNormal(xid) && (int32) (xid - snapshot->xmin) >= 0;
}

static int
collect_places(Page copy, Snapshot snapshot, VersionPlace *places)
{
	int			nslots = Min(page_nslots(copy), PREFETCH_MAX_ROWS);
	int			n = 0;

	for (int pos = 0; pos < nslots; pos++)
	{
		RowMeta		meta;
		uint16		size;
		char	   *cell = page_cell(copy, pos, &size);

		if (cell == NULL || (row_header_flags((RowHeaderData *) cell) & ROW_VERSION) == 0 ||
			!row_parse_meta(cell, size, InvalidTransactionId, FirstCommandId, &meta) ||
			(meta.flags & ROW_VERSION) == 0 || !looks_too_new(meta.xid, snapshot))
			continue;
		places[n].block = meta.older_block;
		places[n].offset = meta.older_offset;
		n++;
	}
	return n;
}

/* One step down all chains: fetches the records, then leaves the places of those that come after. */
static int
prefetch_step(const PoolFile *file, Snapshot snapshot, VersionPlace *places, int n)
{
	int			left = 0;

	for (int i = 0; i < n; i++)
	{
		places[i].page = places[i].offset <= ROWAN_PAGE_SPECIAL - sizeof(VersionRecordData) ?
			pool_peek(file, places[i].block) : NULL;
		if (places[i].page == NULL)
			continue;
		__builtin_prefetch(places[i].page + places[i].offset);
		__builtin_prefetch(places[i].page + places[i].offset + sizeof(VersionRecordData));
	}
	for (int i = 0; i < n; i++)
	{
		VersionRecordData record;

		if (places[i].page == NULL)
			continue;
		memcpy(&record, places[i].page + places[i].offset, sizeof(record));
		if ((record.flags & ROW_VERSION) == 0 || !looks_too_new(record.xid, snapshot))
			continue;
		places[left].block = record.older_block;
		places[left].offset = record.older_offset;
		left++;
	}
	return left;
}

void
row_prefetch_versions(RowTable *table, Page copy, Snapshot snapshot)
{
	VersionPlace places[PREFETCH_MAX_ROWS];
	int			n;

	if (snapshot->snapshot_type != SNAPSHOT_MVCC ||
		!looks_too_new(page_trailer(copy)->newest_xid, snapshot))
		return;
	n = collect_places(copy, snapshot, places);
	for (int step = 0; n > 1 && step < PREFETCH_MAX_STEPS; step++)
		n = prefetch_step(&table->file, snapshot, places, n);
}

bool
row_is_dead_to_all(RowTable *table, const RowMeta *newest, TransactionId *removed_xid)
{
	*removed_xid = InvalidTransactionId;
	if (row_is_stub(newest))
		return true;
	if (newest->flags & ROW_DELETED)
	{
		*removed_xid = newest->xid;
		return xid_visible_to_all(newest->xid, table->horizon);
	}
	/* an insertion that failed */
	return (newest->flags & ROW_VERSION) == 0 && xid_state(newest->xid) == XID_ABORTED;
}
