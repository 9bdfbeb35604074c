/*
 * supersede.c
 *	  Replacing a row's newest version by another, the old one being kept in the version store.
 *
 * Latches: leaf, the leaf that a row moves to, then version page.  Making room for versions
 * (freeing pages, a new one) happens with no latch held, and the writer starts over.
 */
#include "postgres.h"

#include "base/bytes.h"
#include "miscadmin.h"
#include "row/target.h"

static void
make_version_room(RowTarget *target)
{
	target_unlatch(target);
	if (!version_await_active(&target->table->file))
	{
		row_reclaim_versions(target->table, 4);
		version_add_page(&target->table->file);
	}
	CHECK_FOR_INTERRUPTS();
}

bool
target_replace(RowTarget *target, const RowMeta *meta, const RowData *data,
			   const VersionRecordData *record)
{
	RowMeta		final = *meta;
	PoolFrame  *version;

	if (record == NULL)
		return target_write(target, meta, data);
	Assert(xid_state(target->top.meta.xid) != XID_ABORTED); /* I-ROW-1 */
	if (!target_has_room(target, meta, data))
		return false;
	version = version_latch_active(&target->table->file, record->size);
	if (version == NULL)
	{
		make_version_room(target);
		return false;
	}
	final.older_block = pool_block(version);
	final.older_offset = version_next_offset(pool_page(version));
	target_write_cell(target, &final, data, version, record);
	return true;
}

/* Bytes of the leaf that the cell will take beside those it has. */
static int
bytes_to_grow(const RowTarget *target, const RowShape *shape)
{
	PagePlace	place;

	if (page_place_in_place(pool_page(target->leaf), target->pos, shape, &place))
		return 0;
	return row_footprint(shape) + MAXIMUM_ALIGNOF;
}

/* Finds the pages of a move, but for the leaf, and latches them.  False: none is latched. */
static bool
find_pages(RowTarget *target, MoveTo to, const RowMeta *deletion, const RowShape *shape,
		   const RowData *data, const RowWriter *writer, LeafMove *move, LeafAppend *append,
		   bool *crowded)
{
	*crowded = false;
	move->leaf = target->leaf;
	move->pos = target->pos;
	move->shape = shape;
	move->append = append;
	move->version = NULL;
	if (!page_fits_row(pool_page(target->leaf), target->pos, shape))
		return false;
	move->to = row_place_moved(target->table, target->leaf, to, bytes_to_grow(target, shape), data,
							   writer, deletion, append, crowded);
	if (move->to == NULL)
		return false;
	if (move->record == NULL)
		return true;
	move->version = version_latch_active(&target->table->file, move->record->size);
	if (move->version == NULL)
		leaf_move_unlatch_others(move);
	return move->version != NULL;
}

/* The deletion's header, as it becomes: where the old version is, and where the row has gone. */
static void
link_deletion(RowMeta *deletion, const LeafMove *move)
{
	ItemPointerData where;

	row_tid_set(&where, move->append->first_row, 0);
	row_meta_set_forward(deletion, &where);
	if (move->version == NULL)
		return;
	deletion->older_block = pool_block(move->version);
	deletion->older_offset = version_next_offset(pool_page(move->version));
}

bool
target_move(RowTarget *target, MoveTo to, const RowMeta *deletion,
			const VersionRecordData *record, const RowData *data, const RowWriter *writer,
			RowId *new_row, bool *crowded)
{
	const RowTable *table = target->table;
	uint16		natts = page_trailer(pool_page(target->leaf))->page_natts;
	RowMeta		final = *deletion;
	LeafMove	move = {.record = record};
	LeafAppend	append;
	RowCellBuffer cell;
	RowShape	shape;

	final.flags |= ROW_FORWARD;
	shape = row_shape_of(&final, &target->top.data, natts);
	if (!find_pages(target, to, &final, &shape, data, writer, &move, &append, crowded))
		return false;
	map_clear_prepare(table, move.leaf, target->row, &move.clear);
	if (!map_clear_prepare_second(table, move.to, append.first_row, &move.clear))
	{
		map_clear_end(&move.clear);
		leaf_move_unlatch_others(&move);
		return false;
	}
	link_deletion(&final, &move);
	row_write(cell.bytes, &final, &target->top.data, natts);
	move.cell = cell.bytes;
	*new_row = append.first_row;
	leaf_move(table, &move);
	target->leaf = NULL;
	return true;
}

/* ---- version records ---- */

static bool
same_nulls(const RowData *a, const RowData *b)
{
	if (a->natts != b->natts || (a->nulls == NULL) != (b->nulls == NULL))
		return false;
	return a->nulls == NULL || memcmp(a->nulls, b->nulls, row_nulls_size(a->natts)) == 0;
}

static void
record_delta(VersionRecordData *record, const RowData *old, const RowData *newer)
{
	int			common = Min(old->size, newer->size);
	int			prefix = common_prefix(old->data, newer->data, common);
	int			suffix = common_suffix(old->data + old->size, newer->data + newer->size,
									   common - prefix);
	int			middle = old->size - prefix - suffix;

	record->kind = VERSION_DELTA;
	record->prefix = prefix;
	record->suffix = suffix;
	memcpy((char *) record + sizeof(*record), old->data + prefix, middle);
	record->size = sizeof(*record) + middle;
}

static void
record_full(VersionRecordData *record, const RowData *old)
{
	int			nulls_size = old->nulls ? row_nulls_size(old->natts) : 0;
	char	   *dest = (char *) record + sizeof(*record);

	record->kind = VERSION_FULL;
	memcpy(dest, old->nulls, nulls_size);
	memcpy(dest + nulls_size, old->data, old->size);
	record->size = sizeof(*record) + nulls_size + old->size;
}

const VersionRecordData *
target_record(RowTarget *target, TransactionId xid, uint8 newer_tag, VersionKey key,
			  const RowData *newer)
{
	VersionRecordData *record = (VersionRecordData *) target->record.bytes;
	const RowVersion *old = &target->top;
	const RowMeta *meta = &old->meta;

	memset(record, 0, sizeof(*record));
	record->superseder = xid;
	record->row_low = (uint32) target->row;
	record->row_high = (uint8) (target->row >> 32);
	record->newer_tag = newer_tag;
	record->flags = old->data.flags | (meta->flags & ROW_VERSION);
	record->xid = meta->xid;
	if (TransactionIdIsValid(meta->xid))
		record->flags |= ROW_XID | (meta->cid != FirstCommandId ? ROW_CID : 0);
	else if (TransactionIdIsValid(meta->frozen_xid))
	{
		record->flags |= ROW_FROZEN;
		record->xid = meta->frozen_xid;
	}
	record->natts = old->data.natts;
	record->older_block = (meta->flags & ROW_VERSION) ? meta->older_block : 0;
	record->older_offset = (meta->flags & ROW_VERSION) ? meta->older_offset : 0;
	record->cid = meta->cid;
	record->tag = meta->tag;
	record->key = key;
	if (newer == &old->data)
	{
		record->kind = VERSION_SAME_DATA;
		record->size = sizeof(*record);
	}
	else if (same_nulls(&old->data, newer))
		record_delta(record, &old->data, newer);
	else
		record_full(record, &old->data);
	return record;
}
