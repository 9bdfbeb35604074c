/*
 * prune.c
 *	  Cleaning a leaf of what no transaction needs any more.
 *
 * One leaf at a time, exclusively latched, one PageChange: aborted versions are popped, versions
 * whose creator everybody sees are frozen, rows dead to everybody become stubs.  A frozen version
 * keeps its creator's xid, in its header or its page's trailer, for users to see.  A stub keeps the
 * row id until the indexes have no entry for it; row_remove_stubs then removes it, so that a row id
 * that is absent from the tree is absent from every index.
 *
 * Latches: leaf; version pages are read optimistically.
 */
#include "postgres.h"

#include "access/multixact.h"
#include "base/fault.h"
#include "miscadmin.h"
#include "row/target.h"

typedef struct PruneState
{
	RowTable   *table;
	Page		page;			/* working copy */
	RowWork    *work;
	RowPruneStat *stat;
	TransactionId horizon;		/* newest xid whose versions go */
	bool		changed;
	/* what the trailer will say */
	bool		uniform;
	bool		uses_page_xid;
	bool		locks;
	bool		stubs;
	TransactionId newest_xid;
} PruneState;

static void
note_removed(PruneState *state, TransactionId xid)
{
	if (TransactionIdIsNormal(xid) &&
		(!TransactionIdIsValid(state->horizon) || TransactionIdFollows(xid, state->horizon)))
		state->horizon = xid;
}

/* A row goes, as its newest version is a deletion. */
static void
note_deleted(PruneState *state, RowId row, RowVersion *version)
{
	row_note_deletion(state->table, row, version, state->work, &state->horizon);
}

static void
note_left(PruneState *state, const RowMeta *meta)
{
	TransactionId xid = meta->xid;

	if (row_flags_own(meta->flags))
		state->uniform = false;
	if (row_needs_page_xid(meta->flags))
		state->uses_page_xid = true;
	if (meta->flags & ROW_LOCK)
	{
		state->locks = true;
		if (state->stat == NULL)
			;
		else if (meta->lock_bits & ROW_LOCK_IS_MULTI)
		{
			if (MultiXactIdPrecedes(meta->lock_xid, state->stat->oldest_multi))
				state->stat->oldest_multi = meta->lock_xid;
		}
		else if (TransactionIdPrecedes(meta->lock_xid, state->stat->oldest_xid))
			state->stat->oldest_xid = meta->lock_xid;
	}
	if (!TransactionIdIsNormal(xid))
		return;
	if ((meta->flags & ROW_XID) &&
		(!TransactionIdIsValid(state->newest_xid) || TransactionIdFollows(xid, state->newest_xid)))
		state->newest_xid = xid;
	if (state->stat != NULL && TransactionIdPrecedes(xid, state->stat->oldest_xid))
		state->stat->oldest_xid = xid;
}

/*
 * An older version may come back to the leaf, when a newer one is popped: its xid counts as left
 * here.
 */
static void
note_older(PruneState *state, RowId row, RowVersion *version)
{
	bool		gone;

	while (!xid_visible_to_all(version->meta.xid, state->table->horizon) &&
		   row_step_older(state->table, row, version, state->work, &gone))
	{
		if (TransactionIdIsNormal(version->meta.xid) &&
			TransactionIdPrecedes(version->meta.xid, state->stat->oldest_xid))
			state->stat->oldest_xid = version->meta.xid;
	}
}

/* The row says itself that it is frozen, and who made it, unless its page says the same. */
static void
freeze_header(PruneState *state, RowMeta *meta)
{
	PageTrailer trailer = page_trailer(state->page);
	bool		is_page_xid = trailer->page_cid == PAGE_CID_FROZEN &&
		trailer->page_xid == meta->xid;

	note_removed(state, meta->xid);
	meta->flags &= ~(ROW_FROZEN | ROW_CID | ROW_VERSION | ROW_SPECULATIVE | ROW_FORWARD);
	meta->flags |= is_page_xid ? ROW_PAGE_XID : ROW_FROZEN;
	meta->frozen_xid = meta->xid;
	meta->xid = InvalidTransactionId;
	meta->cid = FirstCommandId;
}

static void
make_stub(PruneState *state, RowMeta *meta, RowData *data)
{
	memset(meta, 0, sizeof(*meta));
	meta->flags = ROW_DELETED;
	data->size = 0;
	data->flags = 0;
	data->nulls = NULL;
	data->natts = page_trailer(state->page)->page_natts;
	if (state->stat != NULL)
		state->stat->removed++;
}

/*
 * Brings one version to its shortest form.  Returns true if the cell has to be written again.
 */
static bool
prune_row(PruneState *state, RowId row, RowVersion *version)
{
	RowMeta    *meta = &version->meta;
	bool		changed = false;
	bool		gone;

	if (row_is_stub(meta))
		return false;
	while (xid_state(meta->xid) == XID_ABORTED)
	{
		changed = true;
		if ((meta->flags & (ROW_VERSION | ROW_DELETED)) == 0)
		{
			make_stub(state, meta, &version->data);
			return true;
		}
		if (!row_step_older(state->table, row, version, state->work, &gone))
			row_corrupt(&state->table->file, page_trailer(state->page)->self_block, row,
						"the version before an aborted one is missing");
	}
	if (meta->flags & ROW_LOCK)
	{
		lock_word_tidy(meta);
		changed |= (meta->flags & ROW_LOCK) == 0;
	}
	if (!TransactionIdIsNormal(meta->xid) || !xid_visible_to_all(meta->xid, state->table->horizon))
		return changed;
	if (meta->flags & ROW_DELETED)
	{
		note_deleted(state, row, version);
		make_stub(state, meta, &version->data);
		return true;
	}
	if (meta->flags & ROW_PAGE_XID)
		return changed;			/* frozen with its page */
	freeze_header(state, meta);
	return true;
}

static void
count_pruned_row(PruneState *state, const RowMeta *meta, int nrows)
{
	if (row_is_stub(meta))
		state->stubs = true;
	if (state->stat == NULL)
		return;
	if (row_is_stub(meta))
		state->stat->stubs += nrows;
	else if (meta->flags & ROW_DELETED)
		state->stat->recently_dead++;
	else
		state->stat->rows++;
}

/* Copies and parses the cell of slot pos; false: it makes no sense. */
static bool
copy_row(Page page, int pos, RowCellBuffer *buffer, RowMeta *meta, RowData *data)
{
	PageTrailer trailer = page_trailer(page);
	uint16		size;
	char	   *cell = page_cell(page, pos, &size);

	return cell != NULL &&
		row_parse(row_copy_cell(cell, size, buffer->bytes), size, trailer->page_xid,
				  trailer->page_cid, trailer->page_natts, meta, data);
}

/* Rewrites slot pos, from a copy; false if it does not fit. */
static bool
write_back(Page page, int pos, const RowMeta *meta, const RowData *data)
{
	uint16		natts = page_trailer(page)->page_natts;
	RowShape	shape = row_shape_of(meta, data, natts);
	RowCellBuffer cell;

	if (!page_fits_row(page, pos, &shape))
		return false;
	row_write(cell.bytes, meta, data, natts);
	page_replace_row(page, pos, cell.bytes);
	return true;
}

/* Of a row dead to everybody the slot is enough; what its cell was is not touched. */
static void
put_stub(PruneState *state, int pos)
{
	page_make_stub(state->page, pos);
	state->changed = true;
}

/* The row of slot pos, its data in the copy. */
static RowId
read_slot(const PruneState *state, int pos, RowCellBuffer *copy, RowVersion *version)
{
	RowId		row = leaf_key(state->page, pos);

	if (!copy_row(state->page, pos, copy, &version->meta, &version->data))
		row_corrupt(&state->table->file, page_trailer(state->page)->self_block, row,
					"its cell makes no sense");
	row_version_init(version, row);
	return row;
}

static void
prune_slot(PruneState *state, int pos)
{
	RowCellBuffer copy;
	RowVersion	version;
	RowId		row = read_slot(state, pos, &copy, &version);
	RowMeta		before = version.meta;

	if (prune_row(state, row, &version))
	{
		/* restoring a longer, older version may not fit */
		if (row_is_stub(&version.meta))
			put_stub(state, pos);
		else if (write_back(state->page, pos, &version.meta, &version.data))
			state->changed = true;
		else
			version.meta = before;
	}
	note_left(state, &version.meta);
	count_pruned_row(state, &version.meta, leaf_slot_rows(state->page, pos));
	if (state->stat != NULL)
		note_older(state, row, &version);
}

/* The page's xid is one that others may not see yet. */
static bool
page_xid_is_live(Page page)
{
	PageTrailer trailer = page_trailer(page);

	return TransactionIdIsNormal(trailer->page_xid) && trailer->page_cid != PAGE_CID_FROZEN;
}

/* The creator of all ROW_PAGE_XID rows is visible to everybody: they are frozen in one stroke. */
static void
freeze_page_xid(PruneState *state)
{
	PageTrailer trailer = page_trailer(state->page);

	if (page_xid_is_live(state->page) &&
		xid_visible_to_all(trailer->page_xid, state->table->horizon))
	{
		note_removed(state, trailer->page_xid);
		trailer->page_cid = PAGE_CID_FROZEN;
		state->changed = true;
	}
}

static void
update_trailer(PruneState *state)
{
	PageTrailer trailer = page_trailer(state->page);
	uint16		flags = trailer->flags & ~(PAGE_UNIFORM | PAGE_LOCKS | PAGE_STUBS);

	if (!state->uses_page_xid && TransactionIdIsValid(trailer->page_xid))
	{
		trailer->page_xid = InvalidTransactionId;
		trailer->page_cid = FirstCommandId;
		state->changed = true;
	}
	flags |= state->uniform ? PAGE_UNIFORM : 0;
	flags |= state->locks ? PAGE_LOCKS : 0;
	flags |= state->stubs ? PAGE_STUBS : 0;
	if (flags != trailer->flags || state->newest_xid != trailer->newest_xid)
		state->changed = true;
	trailer->flags = flags;
	trailer->newest_xid = state->newest_xid;
}

static bool
leaf_needs_prune(Page page)
{
	PageTrailer trailer = page_trailer(page);

	return (trailer->flags & PAGE_UNIFORM) == 0 || (trailer->flags & PAGE_LOCKS) != 0 ||
		page_xid_is_live(page) || TransactionIdIsValid(trailer->newest_xid);
}

bool
row_leaf_may_settle(RowTable *table, Page copy)
{
	TransactionId newest = page_trailer(copy)->newest_xid;

	return leaf_needs_prune(copy) &&
		(!TransactionIdIsNormal(newest) || xid_older_than_all(newest, table->horizon));
}

bool
row_leaf_is_settled(Page copy)
{
	return !leaf_needs_prune(copy) && (page_trailer(copy)->flags & PAGE_STUBS) == 0;
}

static bool
is_that_leaf(Page page, const RowLeaf *leaf)
{
	PageTrailer trailer = page_trailer(page);

	return trailer->type == ROWAN_PAGE_LEAF && trailer->low_fence == leaf->low &&
		trailer->high_fence == leaf->high && row_leaf_is_settled(page);
}

bool
row_announce_visibility(RowTable *table, const RowLeaf *leaf)
{
	PoolFrame  *frame = pool_latch(&table->file, leaf->block, LW_EXCLUSIVE);
	bool		settled = is_that_leaf(pool_page(frame), leaf);
	PageChange	change;

	if (!settled || (page_trailer(pool_page(frame))->flags & PAGE_VISIBLE_BITS))
	{
		pool_unlatch(frame);
		return settled;
	}
	change_begin(&change, &table->file);
	page_trailer(change_page(&change, frame, false))->flags |= PAGE_VISIBLE_BITS;
	change_commit(&change, InvalidTransactionId);
	return true;
}

bool
row_confirm_visibility(RowTable *table, const RowLeaf *leaf)
{
	PoolRead	read;
	bool		confirmed;

	if (!pool_read_try(&table->file, leaf->block, &read) || !pool_read_latch_try(&read))
		return false;
	confirmed = is_that_leaf(read.page, leaf) &&
		(page_trailer(read.page)->flags & PAGE_VISIBLE_BITS) != 0;
	(void) pool_read_end(&read);
	return confirmed;
}

/*
 * VACUUM is about to mark the leaf's blocks if they are settled (I7): announcing it in the record
 * at hand spares one of its own.  The flag alone only makes writers look at the map.
 */
static void
announce_if_settled(Page page)
{
	if (row_leaf_is_settled(page))
		page_trailer(page)->flags |= PAGE_VISIBLE_BITS;
}

bool
row_prune_leaf(RowTable *table, TreeKey key, RowPruneStat *stat)
{
	PruneState	state = {.table = table, .stat = stat, .uniform = true};
	PoolFrame  *leaf = tree_latch_leaf(&table->file, key, LW_EXCLUSIVE);
	PageChange	change;
	int			nslots = page_nslots(pool_page(leaf));

	if (!leaf_needs_prune(pool_page(leaf)))
	{
		if (stat != NULL)
			stat->rows += nslots;
		pool_unlatch(leaf);
		return false;
	}
	change_begin(&change, &table->file);
	state.page = change_page(&change, leaf, false);
	state.work = row_work_create();
	freeze_page_xid(&state);
	for (int pos = 0; pos < nslots; pos++)
		prune_slot(&state, pos);
	if (state.changed && state.stubs)
		page_join_stubs(state.page);
	update_trailer(&state);
	row_work_free(state.work);
	if (state.changed)
	{
		if (stat != NULL)
			announce_if_settled(state.page);
		FAULT_POINT(row_prune);
		change_commit(&change, state.horizon);
	}
	else
		change_abort(&change);
	return state.changed;
}

/* ---- dead rows only ---- */

/* Everybody sees that the row of slot pos is deleted, and it is no stub yet. */
static bool
is_dead_to_all(RowTable *table, Page page, int pos)
{
	PageTrailer trailer = page_trailer(page);
	RowMeta		meta;
	uint16		size;
	char	   *cell = page_cell(page, pos, &size);

	if (cell == NULL || (row_header_flags((RowHeaderData *) cell) & ROW_DELETED) == 0 ||
		!row_parse_meta(cell, size, trailer->page_xid, trailer->page_cid, &meta) ||
		row_is_stub(&meta))
		return false;
	return TransactionIdIsNormal(meta.xid) && xid_visible_to_all(meta.xid, table->horizon);
}

int
row_count_dead(RowTable *table, Page page)
{
	int			n = 0;

	for (int pos = 0; pos < page_nslots(page); pos++)
		if (is_dead_to_all(table, page, pos))
			n++;
	return n;
}

static void
prune_dead_slot(PruneState *state, int pos)
{
	RowCellBuffer copy;
	RowVersion	version;
	RowId		row = read_slot(state, pos, &copy, &version);

	note_deleted(state, row, &version);
	put_stub(state, pos);
}

bool
row_prune_dead(RowTable *table, TreeKey key)
{
	PruneState	state = {.table = table};
	PoolFrame  *leaf = tree_latch_leaf(&table->file, key, LW_EXCLUSIVE);
	PageChange	change;

	change_begin(&change, &table->file);
	state.page = change_page(&change, leaf, false);
	state.work = row_work_create();
	for (int pos = 0; pos < page_nslots(state.page); pos++)
		if (is_dead_to_all(table, state.page, pos))
			prune_dead_slot(&state, pos);
	row_work_free(state.work);
	if (state.changed)
	{
		page_trailer(state.page)->flags |= PAGE_STUBS;
		page_join_stubs(state.page);
		FAULT_POINT(row_prune_dead);
		change_commit(&change, state.horizon);
	}
	else
		change_abort(&change);
	return state.changed;
}

/* ---- the page's xid ---- */

/* Gives a row that needs its page's xid, which is frozen, a header of its own.  False: no room. */
static bool
own_creator(Page page, int pos)
{
	RowCellBuffer copy;
	RowMeta		meta;
	RowData		data;

	if (!copy_row(page, pos, &copy, &meta, &data))
		return false;
	if (!row_needs_page_xid(meta.flags))
		return true;
	if (meta.flags & ROW_DELETED)
		meta.flags |= META_CREATOR;
	else
		meta.flags = (meta.flags & ~ROW_CID) | ROW_FROZEN;
	return write_back(page, pos, &meta, &data);
}

bool
row_free_page_xid(RowTable *table, TreeKey key)
{
	PoolFrame  *leaf = tree_latch_leaf(&table->file, key, LW_EXCLUSIVE);
	PageTrailer trailer = page_trailer(pool_page(leaf));
	PageChange	change;
	Page		page;

	if (!TransactionIdIsValid(trailer->page_xid) || trailer->page_cid != PAGE_CID_FROZEN)
	{
		pool_unlatch(leaf);
		return false;
	}
	change_begin(&change, &table->file);
	page = change_page(&change, leaf, false);
	for (int pos = 0; pos < page_nslots(page); pos++)
	{
		if (!own_creator(page, pos))
		{
			change_abort(&change);
			return false;
		}
	}
	page_trailer(page)->page_xid = InvalidTransactionId;
	page_trailer(page)->page_cid = FirstCommandId;
	change_commit(&change, InvalidTransactionId);
	return true;
}

/* ---- stubs ---- */

static bool
cell_is_stub(Page page, int pos)
{
	PageTrailer trailer = page_trailer(page);
	RowMeta		meta;
	uint16		size;
	char	   *cell = page_cell(page, pos, &size);

	return cell != NULL &&
		row_parse_meta(cell, size, trailer->page_xid, trailer->page_cid, &meta) &&
		row_is_stub(&meta);
}

/* After stubs went: what the flags warn of may have gone with them. */
static void
renew_flags(Page page)
{
	PageTrailer trailer = page_trailer(page);

	trailer->flags = (trailer->flags | PAGE_UNIFORM) & ~PAGE_STUBS;
	for (int pos = 0; pos < page_nslots(page); pos++)
	{
		uint16		size;
		char	   *cell = page_cell(page, pos, &size);

		if (cell == NULL || cell_is_stub(page, pos))
			trailer->flags |= PAGE_STUBS;
		if (cell != NULL)
			leaf_note_cell(trailer, cell);
	}
	announce_if_settled(page);
}

int
row_remove_stubs(RowTable *table, const RowId *ids, int nids)
{
	PoolFrame  *leaf = tree_latch_leaf(&table->file, ids[0], LW_EXCLUSIVE);
	PageChange	change;
	Page		page;
	int			done = 0;

	change_begin(&change, &table->file);
	page = change_page(&change, leaf, false);
	while (done < nids && ids[done] < page_trailer(page)->high_fence)
		done++;
	if (page_remove_stubs(page, ids, done) > 0)
	{
		renew_flags(page);
		change_commit(&change, InvalidTransactionId);
	}
	else
		change_abort(&change);
	return done;
}
