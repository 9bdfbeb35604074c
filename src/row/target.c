/*
 * target.c
 *	  A writer's grip on one row: latch its leaf, undo what aborted
 *	  transactions left, replace its cell.
 *
 * Latches: leaf.  Making room (pruning, a split) happens with no latch held, and the writer
 * starts over.  Must not push versions: reclaim.c, which makes room for these, builds upon this.
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "row/target.h"

static void
make_room(RowTarget *target, const RowShape *shape)
{
	target_unlatch(target);
	if (!row_prune_leaf(target->table, target->row, NULL))
		tree_make_room(&target->table->file, target->row, row_footprint(shape), shape->aligned);
	CHECK_FOR_INTERRUPTS();
}

void
target_unlatch(RowTarget *target)
{
	pool_unlatch(target->leaf);
	target->leaf = NULL;
}

void
target_write_cell(RowTarget *target, const RowMeta *meta, const RowData *data, PoolFrame *version,
				  const VersionRecordData *record)
{
	Page		page = pool_page(target->leaf);
	uint16		natts = page_trailer(page)->page_natts;
	RowShape	shape = row_shape_of(meta, data, natts);
	RowCellBuffer cell;

	row_write(cell.bytes, meta, data, natts);
	leaf_replace(target->table, target->leaf, target->pos, cell.bytes, &shape, version, record,
				 target->logical);
	target->leaf = NULL;
}

bool
target_has_room(RowTarget *target, const RowMeta *meta, const RowData *data)
{
	Page		page = pool_page(target->leaf);
	RowShape	shape = row_shape_of(meta, data, page_trailer(page)->page_natts);

	if (page_fits_row(page, target->pos, &shape))
		return true;
	make_room(target, &shape);
	return false;
}

bool
target_write(RowTarget *target, const RowMeta *meta, const RowData *data)
{
	if (!target_has_room(target, meta, data))
		return false;
	target_write_cell(target, meta, data, NULL, NULL);
	return true;
}

/* Reads the cell into the target's copy. False: no such row, or a stub. */
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
	copy = cell == NULL ? NULL : row_copy_cell(cell, size, target->copy.bytes);
	if (copy == NULL ||
		!row_parse(copy, size, trailer->page_xid, trailer->page_cid, trailer->page_natts,
				   &target->top.meta, &target->top.data))
		row_corrupt(&target->table->file, pool_block(target->leaf), target->row,
					"its cell makes no sense");
	row_version_init(&target->top, target->row);
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
	(void) target_write(target, &target->top.meta, &target->top.data);
}

bool
target_latch(RowTarget *target, RowTable *table, RowId row, RowWork *work)
{
	target->table = table;
	target->row = row;
	target->logical = NULL;		/* popping is no change */
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
