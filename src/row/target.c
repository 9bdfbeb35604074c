/*
 * target.c
 *	  A writer's grip on one row: latch its leaf, undo what aborted
 *	  transactions left, replace its cell.
 *
 * Latches: leaf, then version page.  Making room (split, new version page) happens with
 * no latch held, and the writer starts over.
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "row/target.h"

static union
{
	char		bytes[BLCKSZ + MAXIMUM_ALIGNOF];
	uint64		force_align;
}			copy_buffer,		/* the row as it was found */
			write_buffer,		/* the cell to be written */
			record_buffer;		/* the version record to be pushed */

static void
make_room(RowTarget *target, uint16 size, bool aligned)
{
	target_unlatch(target);
	if (!row_prune_leaf(target->table, target->row, NULL))
		tree_make_room(&target->table->file, target->row, size, aligned);
	CHECK_FOR_INTERRUPTS();
}

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

/* A change of a row in a logical block that VACUUM has marked visible to all (I7). */
static void
clear_visibility(RowTarget *target)
{
	if (page_trailer(pool_page(target->leaf))->flags & PAGE_VISIBLE_BITS)
		target->table->clear_visibility(target->table->visibility_arg, row_logical_block(target->row));
}

void
target_unlatch(RowTarget *target)
{
	pool_unlatch(target->leaf);
	target->leaf = NULL;
}

/* Replaces the cell, and appends the record to the latched version page, if there is one.  Releases both latches. */
static void
write_cell(RowTarget *target, RowMeta *meta, const RowData *data, PoolFrame *version,
		   VersionRecordData *record)
{
	const PoolFile *file = &target->table->file;
	Page		page = pool_page(target->leaf);
	uint16		natts = page_trailer(page)->page_natts;
	uint16		size = row_cell_size(meta, data, natts);
	CellDiffData	diff;
	char	   *old;
	uint16		old_size = 0;

	row_write(write_buffer.bytes, meta, data, natts);
	old = page_cell(page, target->pos, &old_size);
	cell_diff(old, old_size, target->top_header, write_buffer.bytes, size, size - data->size,
			  &diff);
	clear_visibility(target);
	leaf_replace(file, target->leaf, target->pos, write_buffer.bytes, &diff, version, record);
	target_unlatch(target);
}

/* The cell fits on its leaf; if not, room is made, with the latch released. */
static bool
fits_on_leaf(RowTarget *target, const RowMeta *meta, const RowData *data)
{
	Page		page = pool_page(target->leaf);
	uint16		size = row_cell_size(meta, data, page_trailer(page)->page_natts);
	bool		aligned = (data->flags & ROW_ALIGNED) != 0;

	if (page_fits_replace(page, target->pos, size, aligned))
		return true;
	make_room(target, size, aligned);
	return false;
}

/*
 * Replaces the row's cell; nothing goes to the version store.  Popping needs no more than this: it would reclaim
 * for a new version page, and reclaiming pops.
 */
static bool
replace_cell(RowTarget *target, const RowMeta *meta, const RowData *data)
{
	RowMeta		final = *meta;

	if (!fits_on_leaf(target, &final, data))
		return false;
	write_cell(target, &final, data, NULL, NULL);
	return true;
}

bool
target_replace(RowTarget *target, const RowMeta *meta, const RowData *data,
			   VersionRecordData *record)
{
	RowMeta		final = *meta;
	PoolFrame  *version;

	if (record == NULL)
		return replace_cell(target, meta, data);
	if (!fits_on_leaf(target, &final, data))
		return false;
	version = version_latch_active(&target->table->file, record->size);
	if (version == NULL)
	{
		make_version_room(target);
		return false;
	}
	final.older_block = pool_block(version);
	final.older_offset = version_next_offset(pool_page(version));
	write_cell(target, &final, data, version, record);
	return true;
}

/* Reads the cell into copy_buffer. False: no such row, or a stub. */
static bool
read_top(RowTarget *target)
{
	Page		page = pool_page(target->leaf);
	PageTrailer trailer = page_trailer(page);
	char	   *cell;
	char	   *copy;
	uint16		size = 0;

	target->pos = leaf_find(page, target->row);
	if (target->pos < 0)
		return false;
	cell = page_cell(page, target->pos, &size);
	if (cell != NULL)
	{
		copy = copy_buffer.bytes + ((uintptr_t) cell & (MAXIMUM_ALIGNOF - 1));
		memcpy(copy, cell, size);
	}
	if (cell == NULL ||
		!row_parse(copy, size, trailer->page_xid, trailer->page_cid, trailer->page_natts,
				   &target->top.meta, &target->top.data))
		row_corrupt(&target->table->file, pool_block(target->leaf), target->row,
					"its cell makes no sense");
	row_version_init(&target->top, target->row);
	target->top_header = size - target->top.data.size;
	return !row_is_stub(&target->top.meta);
}

/* Restores the version before the aborted one. Releases the latch. */
static void
pop_top(RowTarget *target, RowWork *work)
{
	RowMeta		lock = target->top.meta;
	bool		gone;

	if (!row_step_older(target->table, target->row, &target->top, work, &gone))
		row_corrupt(&target->table->file, target->top.meta.older_block, target->row,
					"the version before an aborted one is missing");
	target->top.meta.lock_xid = lock.lock_xid;
	target->top.meta.lock_bits = lock.lock_bits;
	FAULT_POINT(row_pop);
	(void) replace_cell(target, &target->top.meta, &target->top.data);
}

bool
target_latch(RowTarget *target, RowTable *table, RowId row, RowWork *work)
{
	target->table = table;
	target->row = row;
	for (;;)
	{
		RowMeta    *meta = &target->top.meta;

		target->leaf = tree_latch_leaf(&table->file, row, LW_EXCLUSIVE);
		if (!read_top(target))
			break;
		if (xid_state(meta->xid) != XID_ABORTED)
			return true;
		if ((meta->flags & (ROW_VERSION | ROW_DELETED)) == 0)
			break;				/* insertion that failed */
		pop_top(target, work);
		CHECK_FOR_INTERRUPTS();
	}
	target_unlatch(target);
	return false;
}

void
row_revert(RowTable *table, RowId row, RowWork *work)
{
	RowTarget	target;

	if (target_latch(&target, table, row, work))
		target_unlatch(&target);
}

/* ---- version records ---- */

static bool
same_nulls(const RowData *a, const RowData *b)
{
	if (a->natts != b->natts || (a->nulls == NULL) != (b->nulls == NULL))
		return false;
	return a->nulls == NULL || memcmp(a->nulls, b->nulls, (a->natts + 7) / 8) == 0;
}

static void
record_delta(VersionRecordData *record, const RowData *old, const RowData *newer)
{
	int			common = Min(old->size, newer->size);
	int			prefix = 0;
	int			suffix = 0;
	int			middle;

	while (prefix + 8 <= common && memcmp(old->data + prefix, newer->data + prefix, 8) == 0)
		prefix += 8;
	while (prefix < common && old->data[prefix] == newer->data[prefix])
		prefix++;
	common -= prefix;
	while (suffix < common &&
		   old->data[old->size - suffix - 1] == newer->data[newer->size - suffix - 1])
		suffix++;
	middle = old->size - prefix - suffix;
	record->kind = VERSION_DELTA;
	record->prefix = prefix;
	record->suffix = suffix;
	memcpy((char *) record + sizeof(*record), old->data + prefix, middle);
	record->size = sizeof(*record) + middle;
}

static void
record_full(VersionRecordData *record, const RowData *old)
{
	int			nulls_size = old->nulls ? (old->natts + 7) / 8 : 0;
	char	   *dest = (char *) record + sizeof(*record);

	record->kind = VERSION_FULL;
	memcpy(dest, old->nulls, nulls_size);
	memcpy(dest + nulls_size, old->data, old->size);
	record->size = sizeof(*record) + nulls_size + old->size;
}

VersionRecordData *
version_record_for(RowId row, const RowVersion *old, TransactionId xid, uint8 newer_tag,
				   VersionKey key, const RowData *newer)
{
	VersionRecordData *record = (VersionRecordData *) record_buffer.bytes;
	const RowMeta *meta = &old->meta;

	memset(record, 0, sizeof(*record));
	record->superseder = xid;
	record->row_low = (uint32) row;
	record->row_high = (uint8) (row >> 32);
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
