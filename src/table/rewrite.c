/*
 * rewrite.c
 *	  VACUUM FULL and CLUSTER: copying a table row by row into a new file.
 *
 * A row takes along, besides its newest version, the older ones that some snapshot may still need:
 * down to the first version that everybody sees, as heap keeps what is recently dead.  Its chain of
 * versions is made again in the new file with the xids that made it; a deletion that says where the
 * row went is made to say where that is in the new file.  Versions everybody sees become frozen,
 * and keep their creator's xid, to be shown.  Row locks do not survive: nobody holds one while we
 * hold AccessExclusiveLock.
 *
 * Rows are stored anew from their columns, never by their bytes: dropped columns become NULL,
 * missing ones get their default, out-of-line values go into the new toast table.
 *
 * Takes no latches itself; copies of old pages are private.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/multixact.h"
#include "access/relscan.h"
#include "commands/progress.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "table/table.h"
#include "table/toast.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

/* Rows stored with one record a page. */
#define BATCH_ROWS		256
#define BATCH_BYTES		(64 * 1024)

/* Tags keep the versions that snapshots still need fewer than that, and there may be a deletion. */
#define MAX_IMAGES		(2 * (ROW_TAG_MAX + 1))

/* A version as it is to be stored; meta says who made it. */
typedef struct VersionImage
{
	RowMeta		meta;			/* xid (Invalid: frozen), frozen_xid, cid, ROW_DELETED,
								 * ROW_KEY_KEPT, ROW_FORWARD and forward_* */
	VersionKey	newer_key;		/* what its superseder was to the row's key */
	RowData		data;			/* none for a deletion */
} VersionImage;

/* Entry of both maps. */
typedef struct RowMapping
{
	RowId		key;
	RowId		value;
} RowMapping;

typedef struct Rewrite
{
	Relation	old_rel;
	Relation	new_rel;
	RowTable	from;
	RowTable	to;
	TransactionId oldest_xmin;
	RowWork    *work;
	char	   *cell;			/* a row read by itself */
	TupleTableSlot *old_slot;
	TupleTableSlot *new_slot;

	/* rows with a single version, all frozen or all of the same maker, to be stored together */
	MemoryContext batch_context;	/* their bytes */
	int			nbatch;
	TransactionId batch_xid;
	CommandId	batch_cid;
	TransactionId batch_frozen_xid[BATCH_ROWS];
	RowData		batch[BATCH_ROWS];
	RowId		batch_old[BATCH_ROWS];

	/* moved rows: old id of where a row went -> new id of the row that went there */
	HTAB	   *pending;
	/* old id -> new id of rows that one may have moved to; only when rows come in any order */
	HTAB	   *arrived;

	double		rows;
	double		removed;
	double		recently_dead;
	double		written;
} Rewrite;

/* ---- where moved rows went ---- */

static HTAB *
create_map(const char *name)
{
	HASHCTL		control = {.keysize = sizeof(RowId), .entrysize = sizeof(RowMapping),
	.hcxt = CurrentMemoryContext};

	return hash_create(name, 128, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
map_put(HTAB *map, RowId key, RowId value)
{
	RowMapping *mapping = hash_search(map, &key, HASH_ENTER, NULL);

	mapping->value = value;
}

static bool
map_get(HTAB *map, RowId key, RowId *value)
{
	RowMapping *mapping = map == NULL ? NULL : hash_search(map, &key, HASH_FIND, NULL);

	if (mapping != NULL)
		*value = mapping->value;
	return mapping != NULL;
}

static void
set_forward(Rewrite *rewrite, RowId from, RowId to)
{
	ItemPointerData tid;

	row_tid_set(&tid, to, 0);
	row_set_forward(&rewrite->to, from, &tid);
}

/* The row was stored, and somebody's deletion may say that it went there. */
static void
note_arrived(Rewrite *rewrite, RowId old_row, RowId new_row)
{
	RowId		source;

	if (map_get(rewrite->pending, old_row, &source))
	{
		set_forward(rewrite, source, new_row);
		hash_search(rewrite->pending, &old_row, HASH_REMOVE, NULL);
	}
	else if (rewrite->arrived != NULL)
		map_put(rewrite->arrived, old_row, new_row);
}

static void
note_moved(Rewrite *rewrite, const RowMeta *deletion, RowId new_row)
{
	ItemPointerData tid;
	RowId		target;

	ItemPointerSet(&tid, deletion->forward_block, deletion->forward_offset);
	if (map_get(rewrite->arrived, row_id_from_tid(&tid), &target))
		set_forward(rewrite, new_row, target);
	else
		map_put(rewrite->pending, row_id_from_tid(&tid), new_row);
}

/* ---- storing ---- */

static void
flush_batch(Rewrite *rewrite)
{
	RowId		rows[BATCH_ROWS];

	if (rewrite->nbatch == 0)
		 /* empty */ ;
	else if (!TransactionIdIsValid(rewrite->batch_xid))
		row_insert_frozen(&rewrite->to, rewrite->batch, rewrite->nbatch, rewrite->batch_frozen_xid,
						  NULL, rows);
	else
	{
		row_insert(&rewrite->to, rewrite->batch, rewrite->nbatch, rewrite->batch_xid,
				   rewrite->batch_cid, 0, NULL, rows);
		for (int i = 0; i < rewrite->nbatch; i++)
			note_arrived(rewrite, rewrite->batch_old[i], rows[i]);
	}
	rewrite->nbatch = 0;
	MemoryContextReset(rewrite->batch_context);
}

/* Encodes the columns, in the batch's memory. */
static void
encode_values(Rewrite *rewrite, const Datum *values, const bool *isnull, RowData *row)
{
	const RowLayout *layout = table_layout(rewrite->new_rel);
	uint16		flags;
	Size		size = row_encoded_size(layout, values, isnull, &flags);

	row_encode(layout, values, isnull,
			   MemoryContextAlloc(rewrite->batch_context, row_encode_room(layout, size)), row);
}

/* What the new slot's columns are to be stored as; they are the old row's. */
static void
encode_columns(Rewrite *rewrite, RowData *row)
{
	TupleTableSlot *slot = rewrite->new_slot;
	TupleDesc	desc = slot->tts_tupleDescriptor;
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *isnull = palloc(sizeof(bool) * desc->natts);

	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attisdropped)
			slot->tts_isnull[i] = true;
	ExecStoreVirtualTuple(slot);
	/* rows that stay the same are nothing to decode */
	if (toast_row(rewrite->new_rel, slot, NULL, TABLE_INSERT_NO_LOGICAL, values, isnull))
		encode_values(rewrite, values, isnull, row);
	else
		encode_values(rewrite, slot->tts_values, slot->tts_isnull, row);
	toast_release();
	ExecClearTuple(slot);
	pfree(values);
	pfree(isnull);
}

static void
encode_version(Rewrite *rewrite, RowId row, const RowVersion *version, RowData *data)
{
	TupleTableSlot *from = rewrite->old_slot;
	TupleTableSlot *to = rewrite->new_slot;
	int			natts = to->tts_tupleDescriptor->natts;

	table_store_version(rewrite->old_rel, from, row, version, false);
	slot_getallattrs(from);
	ExecClearTuple(to);
	memcpy(to->tts_values, from->tts_values, sizeof(Datum) * natts);
	memcpy(to->tts_isnull, from->tts_isnull, sizeof(bool) * natts);
	encode_columns(rewrite, data);
	ExecClearTuple(from);
}

static void
add_to_batch(Rewrite *rewrite, RowId old_row, const VersionImage *image)
{
	if (rewrite->nbatch == 0)
	{
		rewrite->batch_xid = image->meta.xid;
		rewrite->batch_cid = image->meta.cid;
	}
	rewrite->batch_frozen_xid[rewrite->nbatch] = image->meta.frozen_xid;
	rewrite->batch[rewrite->nbatch] = image->data;
	rewrite->batch_old[rewrite->nbatch++] = old_row;
	if (rewrite->nbatch == BATCH_ROWS ||
		MemoryContextMemAllocated(rewrite->batch_context, false) > BATCH_BYTES)
		flush_batch(rewrite);
}

/* The next row can join those in the batch, or there are none. */
static bool
fits_batch(Rewrite *rewrite, TransactionId xid, CommandId cid)
{
	return rewrite->nbatch == 0 || (rewrite->batch_xid == xid && rewrite->batch_cid == cid);
}

/*
 * The values of older versions that lie out of line were given to the new toast table as well.
 * They are dead there as soon as we commit, or nobody would ever remove them.
 */
static void
bury_old_values(Rewrite *rewrite, const VersionImage *images, int n)
{
	int			first = (images[0].meta.flags & ROW_DELETED) ? 0 : 1;

	for (int i = first; i < n; i++)
		if ((images[i].meta.flags & ROW_DELETED) == 0 && (images[i].data.flags & ROW_EXTERNAL))
			toast_delete_row_data(rewrite->new_rel, &images[i].data, false);
}

/* Within the table, that is. */
static bool
has_moved(const RowMeta *meta)
{
	return (meta->flags & ROW_DELETED) && (meta->flags & ROW_FORWARD) &&
		meta->forward_block != MovedPartitionsBlockNumber;
}

/* images: newest first. */
static void
store_chain(Rewrite *rewrite, RowId old_row, const VersionImage *images, int n)
{
	const VersionImage *oldest = &images[n - 1];
	RowId		row;

	if (TransactionIdIsValid(oldest->meta.xid))
		row_insert(&rewrite->to, &oldest->data, 1, oldest->meta.xid, oldest->meta.cid, 0, NULL,
				   &row);
	else
		row_insert_frozen(&rewrite->to, &oldest->data, 1, &oldest->meta.frozen_xid, NULL, &row);
	for (int i = n - 2; i >= 0; i--)
	{
		RowMeta		made = images[i].meta;

		/* a place in the old file: set when the row there has been stored */
		if (made.forward_block != MovedPartitionsBlockNumber)
			made.flags &= ~ROW_FORWARD;
		row_push_version(&rewrite->to, row, &made, images[i + 1].newer_key, &images[i].data);
	}
	if (TransactionIdIsValid(oldest->meta.xid))
		note_arrived(rewrite, old_row, row);
	if (has_moved(&images[0].meta))
		note_moved(rewrite, &images[0].meta, row);
	bury_old_values(rewrite, images, n);
}

/* ---- what is to be kept of a row ---- */

typedef enum RowFate
{
	FATE_DROP,					/* dead to everybody */
	FATE_FREEZE,				/* only the newest version, and everybody sees it */
	FATE_KEEP					/* with the versions that some snapshot may need */
} RowFate;

static bool
everybody_sees(Rewrite *rewrite, const RowMeta *meta)
{
	if (!TransactionIdIsNormal(meta->xid))
		return true;
	return TransactionIdPrecedes(meta->xid, rewrite->oldest_xmin) &&
		xid_state(meta->xid) == XID_COMMITTED;
}

/* A version that everybody sees, as it is going to be stored. */
static void
freeze_meta(RowMeta *meta)
{
	if (TransactionIdIsValid(meta->xid))
		meta->frozen_xid = meta->xid;
	meta->xid = InvalidTransactionId;
	meta->cid = FirstCommandId;
}

/*
 * Steps *version over aborted versions to what is the newest in truth.
 */
static RowFate
judge_row(Rewrite *rewrite, RowId row, RowVersion *version)
{
	RowMeta    *meta = &version->meta;
	bool		gone;

	if (row_is_stub(meta))
		return FATE_DROP;
	while (xid_state(meta->xid) == XID_ABORTED)
		if (!row_step_older(&rewrite->from, row, version, rewrite->work, &gone))
		{
			if (gone)
				row_missing(&rewrite->from, row, meta);
			return FATE_DROP;
		}
	if (everybody_sees(rewrite, meta))
		return (meta->flags & ROW_DELETED) ? FATE_DROP : FATE_FREEZE;
	return FATE_KEEP;
}

/*
 * We hold an exclusive lock on the table, so only our own transaction can be at work on it.
 */
static void
warn_if_running(Rewrite *rewrite, const RowMeta *meta)
{
	if (xid_state(meta->xid) == XID_RUNNING)
		elog(WARNING, "concurrent %s in progress within table \"%s\"",
			 (meta->flags & ROW_DELETED) ? "delete" : "insert",
			 RelationGetRelationName(rewrite->old_rel));
}

static void
count_rewritten_row(Rewrite *rewrite, const RowVersion *version, RowFate fate, bool was_stub)
{
	if (fate == FATE_DROP)
	{
		rewrite->removed += was_stub ? 0 : 1;
		return;
	}
	rewrite->rows++;
	if (fate == FATE_FREEZE)
		return;
	warn_if_running(rewrite, &version->meta);
	if (version->meta.flags & ROW_DELETED)
		rewrite->recently_dead++;
}

/*
 * Encodes the versions to be kept, newest first; returns their number.  An older version that was
 * reclaimed is needed by nobody, so the one after it is seen by everybody who will ask.
 */
static int
collect_images(Rewrite *rewrite, RowId row, RowVersion *version, VersionImage *images)
{
	int			n = 0;

	for (;;)
	{
		VersionImage *image = &images[n++];
		RowMeta    *meta = &version->meta;
		bool		is_delete = (meta->flags & ROW_DELETED) != 0;
		bool		gone;

		if (n == MAX_IMAGES)
			elog(ERROR, "row has too many versions");
		image->meta = *meta;
		image->newer_key = version->newer_key;
		memset(&image->data, 0, sizeof(image->data));
		if (!is_delete)
		{
			encode_version(rewrite, row, version, &image->data);
			if (everybody_sees(rewrite, meta))
			{
				freeze_meta(&image->meta);
				return n;
			}
		}
		if (row_step_older(&rewrite->from, row, version, rewrite->work, &gone))
			continue;
		if (gone && !row_may_be_reclaimed(&rewrite->from.file, meta->xid))
			row_missing(&rewrite->from, row, meta);
		if (is_delete)
		{
			image = &images[n++];
			memset(image, 0, sizeof(*image));
			encode_version(rewrite, row, version, &image->data);
		}
		return n;
	}
}

/* version: as judge_row left it. */
static void
store_row(Rewrite *rewrite, RowId row, RowVersion *version, RowFate fate)
{
	VersionImage *images;
	int			n;

	if (fate == FATE_FREEZE)
	{
		VersionImage image = {.meta = version->meta};

		freeze_meta(&image.meta);
		if (!fits_batch(rewrite, InvalidTransactionId, FirstCommandId))
			flush_batch(rewrite);
		encode_version(rewrite, row, version, &image.data);
		add_to_batch(rewrite, row, &image);
	}
	else
	{
		if (!fits_batch(rewrite, version->meta.xid, version->meta.cid) ||
			(version->meta.flags & (ROW_VERSION | ROW_DELETED)))
			flush_batch(rewrite);
		images = palloc(sizeof(VersionImage) * MAX_IMAGES);
		n = collect_images(rewrite, row, version, images);
		if (n == 1 && fits_batch(rewrite, images[0].meta.xid, images[0].meta.cid))
			add_to_batch(rewrite, row, &images[0]);
		else
		{
			Assert(rewrite->nbatch == 0);
			store_chain(rewrite, row, images, n);
			MemoryContextReset(rewrite->batch_context);
		}
		pfree(images);
	}
	rewrite->written++;
}

/* ---- the order in which rows come ---- */

static void
report_rows(Rewrite *rewrite)
{
	const int	index[] = {
		PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED,
		PROGRESS_CLUSTER_HEAP_TUPLES_WRITTEN
	};
	int64		value[] = {(int64) rewrite->rows, (int64) rewrite->written};

	pgstat_progress_update_multi_param(2, index, value);
}

static void
rewrite_row(Rewrite *rewrite, RowId row, RowVersion *version)
{
	bool		was_stub = row_is_stub(&version->meta);
	RowFate		fate = judge_row(rewrite, row, version);

	count_rewritten_row(rewrite, version, fate, was_stub);
	if (fate != FATE_DROP)
		store_row(rewrite, row, version, fate);
	report_rows(rewrite);
}

/*
 * For the sort: a heap tuple with the row's key columns, its row id, and its xmin as shown.  A
 * frozen xmin says that it is all there is to know about the row.
 */
static void
sort_row(Rewrite *rewrite, RowId row, RowVersion *version, Tuplesortstate *sort)
{
	bool		was_stub = row_is_stub(&version->meta);
	RowFate		fate = judge_row(rewrite, row, version);
	HeapTuple	tuple;

	count_rewritten_row(rewrite, version, fate, was_stub);
	if (fate == FATE_DROP)
		return;
	table_store_version(rewrite->old_rel, rewrite->old_slot, row, version, false);
	tuple = ExecCopySlotHeapTuple(rewrite->old_slot);
	if (fate == FATE_FREEZE)
		HeapTupleHeaderSetXminFrozen(tuple->t_data);
	tuplesort_putheaptuple(sort, tuple);
	heap_freetuple(tuple);
	ExecClearTuple(rewrite->old_slot);
	pgstat_progress_update_param(PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED, (int64) rewrite->rows);
}

/* All rows in the order of their ids; into the sort, or stored at once if that is NULL. */
static void
scan_table(Rewrite *rewrite, Tuplesortstate *sort)
{
	const PoolFile *file = &rewrite->from.file;
	char	   *page = palloc(BLCKSZ);
	TreeKey		key = TREE_KEY_MIN;
	BlockNumber hint = InvalidBlockNumber;
	PoolRing	ring = {0};
	FileHeaderData header;
	int64		pages = 0;

	space_read_header(file, &header);
	pgstat_progress_update_param(PROGRESS_CLUSTER_PHASE, PROGRESS_CLUSTER_PHASE_SEQ_SCAN_HEAP);
	pgstat_progress_update_param(PROGRESS_CLUSTER_TOTAL_HEAP_BLKS, header.high_water);
	do
	{
		tree_copy_leaf(file, key, hint, &ring, page);
		for (int pos = 0; pos < page_nslots((Page) page); pos++)
		{
			RowVersion	version;
			RowId		row = row_parse_slot(file, (Page) page, pos, &version);

			CHECK_FOR_INTERRUPTS();
			pgstat_count_heap_getnext(rewrite->old_rel);
			if (sort != NULL)
				sort_row(rewrite, row, &version, sort);
			else
				rewrite_row(rewrite, row, &version);
		}
		key = page_trailer(page)->high_fence;
		hint = page_trailer(page)->right_block;
		pgstat_progress_update_param(PROGRESS_CLUSTER_HEAP_BLKS_SCANNED, ++pages);
	} while (key != TREE_KEY_MAX);
	/* the rest of the file are no leaves */
	pgstat_progress_update_param(PROGRESS_CLUSTER_HEAP_BLKS_SCANNED, header.high_water);
	pfree(page);
}

static void
copy_in_index_order(Rewrite *rewrite, Relation index)
{
	TupleTableSlot *slot = table_slot_create(rewrite->old_rel, NULL);
	IndexScanDesc scan = scan_whole_index(rewrite->old_rel, index, SnapshotAny);
	const int	params[] = {PROGRESS_CLUSTER_PHASE, PROGRESS_CLUSTER_INDEX_RELID};
	int64		values[] = {PROGRESS_CLUSTER_PHASE_INDEX_SCAN_HEAP, RelationGetRelid(index)};

	pgstat_progress_update_multi_param(2, params, values);
	index_rescan(scan, NULL, 0, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		RowId		row = row_id_from_tid(&slot->tts_tid);
		RowVersion	version;

		CHECK_FOR_INTERRUPTS();
		if (scan->xs_recheck)
			elog(ERROR, "CLUSTER does not support lossy index conditions");
		if (row_read(&rewrite->from, row, NULL, rewrite->cell, &version))
			rewrite_row(rewrite, row, &version);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/* A row from the sort. */
static void
store_sorted(Rewrite *rewrite, HeapTuple tuple)
{
	RowId		row = row_id_from_tid(&tuple->t_self);
	TupleTableSlot *slot = rewrite->new_slot;
	VersionImage image = {.meta = {.xid = InvalidTransactionId, .cid = FirstCommandId}};
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	RowVersion	version;

	if (!HeapTupleHeaderXminFrozen(tuple->t_data))
	{
		if (row_read(&rewrite->from, row, NULL, rewrite->cell, &version))
			store_row(rewrite, row, &version, judge_row(rewrite, row, &version));
		return;
	}
	if (!fits_batch(rewrite, InvalidTransactionId, FirstCommandId))
		flush_batch(rewrite);
	ExecClearTuple(slot);
	heap_deform_tuple(tuple, RelationGetDescr(rewrite->old_rel), slot->tts_values,
					  slot->tts_isnull);
	encode_columns(rewrite, &image.data);
	image.meta.frozen_xid = xmin == FrozenTransactionId ? InvalidTransactionId : xmin;
	add_to_batch(rewrite, row, &image);
	rewrite->written++;
}

static void
copy_sorted(Rewrite *rewrite, Relation index)
{
	Tuplesortstate *sort = tuplesort_begin_cluster(RelationGetDescr(rewrite->old_rel), index,
												   maintenance_work_mem, NULL, TUPLESORT_NONE);
	HeapTuple	tuple;

	scan_table(rewrite, sort);
	pgstat_progress_update_param(PROGRESS_CLUSTER_PHASE, PROGRESS_CLUSTER_PHASE_SORT_TUPLES);
	tuplesort_performsort(sort);
	pgstat_progress_update_param(PROGRESS_CLUSTER_PHASE, PROGRESS_CLUSTER_PHASE_WRITE_NEW_HEAP);
	while ((tuple = tuplesort_getheaptuple(sort, true)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		store_sorted(rewrite, tuple);
		pgstat_progress_update_param(PROGRESS_CLUSTER_HEAP_TUPLES_WRITTEN,
									 (int64) rewrite->written);
	}
	tuplesort_end(sort);
}

/* ---- the whole ---- */

static Rewrite *
begin_rewrite(Relation old, Relation new, TransactionId oldest_xmin, bool any_order)
{
	Rewrite    *rewrite = palloc0(sizeof(Rewrite));

	rewrite->old_rel = old;
	rewrite->new_rel = new;
	table_row_table(old, &rewrite->from);
	table_row_table(new, &rewrite->to);
	/* for core the new table is ours alone, but others may see the rows it is made of */
	rewrite->to.horizon = rewrite->from.horizon;
	rewrite->oldest_xmin = oldest_xmin;
	rewrite->work = row_work_create();
	rewrite->cell = palloc(2 * BLCKSZ);
	rewrite->old_slot = table_slot_create(old, NULL);
	rewrite->new_slot = table_slot_create(new, NULL);
	rewrite->batch_context = AllocSetContextCreate(CurrentMemoryContext, "Rowan rewrite",
												   ALLOCSET_DEFAULT_SIZES);
	rewrite->pending = create_map("Rowan moved rows");
	if (any_order)
		rewrite->arrived = create_map("Rowan rows moved to");
	return rewrite;
}

static void
end_rewrite(Rewrite *rewrite)
{
	flush_batch(rewrite);
	ExecDropSingleTupleTableSlot(rewrite->old_slot);
	ExecDropSingleTupleTableSlot(rewrite->new_slot);
	MemoryContextDelete(rewrite->batch_context);
	hash_destroy(rewrite->pending);
	if (rewrite->arrived != NULL)
		hash_destroy(rewrite->arrived);
	row_work_free(rewrite->work);
	pfree(rewrite->cell);
	pfree(rewrite);
}

/*
 * The cutoffs stay as they were given: every xid older than oldest_xmin, and every MultiXactId, is
 * gone from the new file.
 *
 * num_tuples and tups_recently_dead count rows, not versions: the former becomes reltuples.
 */
void
rowan_copy_for_cluster(Relation old, Relation new, Relation index, bool use_sort,
					   TransactionId oldest_xmin, TransactionId *xid_cutoff,
					   MultiXactId *multi_cutoff, double *num_tuples, double *tups_vacuumed,
					   double *tups_recently_dead)
{
	Rewrite    *rewrite = begin_rewrite(old, new, oldest_xmin, index != NULL);

	if (index == NULL || use_sort)
		pgstat_count_heap_scan(old);
	if (!tree_exists(&rewrite->from.file))
		 /* empty */ ;
	else if (index == NULL)
		scan_table(rewrite, NULL);
	else if (use_sort)
		copy_sorted(rewrite, index);
	else
		copy_in_index_order(rewrite, index);
	flush_batch(rewrite);
	*num_tuples += rewrite->rows;
	*tups_vacuumed += rewrite->removed;
	*tups_recently_dead += rewrite->recently_dead;
	end_rewrite(rewrite);
}
