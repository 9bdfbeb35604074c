/*
 * insert.c
 *	  New rows: where there is room (place.c), and close to the row that they replace, if they
 *	  do.
 *
 * An id is handed out under the exclusive latch of the leaf that covers it.  At the right edge the
 * trailer knows the next one.  Elsewhere it is one that no row has; by I-ROW-2 no index knows it
 * any more.  Many rows go in as one record a page.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "row/place.h"
#include "row/target.h"

/* What new rows have in common. */
typedef struct NewRows
{
	TransactionId xid;			/* Invalid: frozen, then frozen_xids says what to show of each */
	const TransactionId *frozen_xids;
	CommandId	cid;
	uint32		token;			/* speculative token, or 0 */
	TransactionId lock_xid;		/* lock word, or Invalid */
	uint16		lock_bits;
	RowLogical *logical;		/* or NULL */
} NewRows;

static void
live_row_meta(RowMeta *meta, TransactionId xid, CommandId cid, const LeafAppend *append)
{
	bool		is_page_xid = append->page_xid == xid && append->page_cid != PAGE_CID_FROZEN;

	meta->xid = xid;
	meta->cid = cid;
	meta->flags |= is_page_xid ? ROW_PAGE_XID : ROW_XID;
	if (cid != (is_page_xid ? append->page_cid : FirstCommandId))
		meta->flags |= ROW_CID;
}

static void
frozen_row_meta(RowMeta *meta, TransactionId xid, const LeafAppend *append)
{
	bool		is_page_xid = append->page_xid == xid && append->page_cid == PAGE_CID_FROZEN;

	meta->frozen_xid = xid;
	if (TransactionIdIsValid(xid))
		meta->flags |= is_page_xid ? ROW_PAGE_XID : ROW_FROZEN;
}

/* Header fields of new row number i on a page whose trailer will be as append says. */
static void
new_row_meta(RowMeta *meta, const NewRows *new, int i, const LeafAppend *append)
{
	memset(meta, 0, sizeof(*meta));
	if (TransactionIdIsValid(new->xid))
		live_row_meta(meta, new->xid, new->cid, append);
	else
		frozen_row_meta(meta, new->frozen_xids[i], append);
	if (new->token != 0)
	{
		meta->flags |= ROW_SPECULATIVE | ROW_FORWARD;
		meta->forward_block = new->token;
	}
	if (TransactionIdIsValid(new->lock_xid))
	{
		meta->flags |= ROW_LOCK;
		meta->lock_xid = new->lock_xid;
		meta->lock_bits = new->lock_bits;
	}
}

/* The xid that more than half of the rows have, if there is one; else any of them. */
static TransactionId
commonest_xid(const TransactionId *xids, int n)
{
	TransactionId candidate = xids[0];
	int			lead = 0;

	for (int i = 0; i < n; i++)
	{
		if (lead == 0)
			candidate = xids[i];
		lead += xids[i] == candidate ? 1 : -1;
	}
	return candidate;
}

/* An empty page takes its creator from the rows to come. */
static void
choose_page_creator(LeafAppend *append, const NewRows *new, int nrows)
{
	append->page_xid = new->xid;
	append->page_cid = new->cid;
	if (TransactionIdIsValid(new->xid))
		return;
	append->page_xid = commonest_xid(new->frozen_xids, nrows);
	append->page_cid = TransactionIdIsValid(append->page_xid) ? PAGE_CID_FROZEN : FirstCommandId;
}

static void
begin_append(LeafAppend *append, Page page, const RowData *rows, int nrows, const NewRows *new)
{
	PageTrailer trailer = page_trailer(page);

	append->nrows = 0;
	append->size = 0;
	append->logical = new->logical;
	if (page_nslots(page) == 0)
	{
		choose_page_creator(append, new, nrows);
		append->page_natts = rows[0].natts;
	}
	else
	{
		append->page_xid = trailer->page_xid;
		append->page_cid = trailer->page_cid;
		append->page_natts = trailer->page_natts;
	}
}

static bool
any_aligned(const RowData *rows, int nrows)
{
	for (int i = 0; i < nrows; i++)
		if (rows[i].flags & ROW_ALIGNED)
			return true;
	return false;
}

/*
 * Gap that new rows leave on a leaf, which then has so many, for headers that need more than their
 * slack (with a command id, a lock) and for rows that grow.
 */
static int
gap_to_keep(int nrows)
{
	return Min(2 * nrows, (int) ROWAN_PAGE_ROOM / 64);
}

/*
 * Encodes as many rows as fit on the leaf without moving cells; an empty leaf takes at least one.
 * What the table's fillfactor keeps free is gap and dead bytes, in which are the rows' slack.
 */
static void
fill_append(LeafAppend *append, RowTable *table, Page page, const RowData *rows, int nrows,
			const NewRows *new)
{
	FreeIds		ids;
	int			gap = page_gap(page);
	int			nslots = page_nslots(page);
	int			dead = page_trailer(page)->dead_bytes + nslots * VERSION_POINTER_BYTES;
	bool		empty = nslots == 0;

	place_find_ids(page, &ids);
	append->first_row = ids.first;
	append->cell_align = any_aligned(rows, nrows) ? MAXIMUM_ALIGNOF : 1;
	for (int i = 0; i < nrows && (uint64) i < ids.n; i++)
	{
		RowMeta		meta;
		RowShape	shape;
		int			need;

		new_row_meta(&meta, new, i, append);
		shape = row_shape_of(&meta, &rows[i], append->page_natts);
		need = row_footprint(&shape) + sizeof(SlotData) + (shape.aligned ? MAXIMUM_ALIGNOF - 1 : 0);
		if (empty && i == 0)
			need = Min(need, gap);	/* at the page's end nothing is lost to alignment */
		else if (gap - need < Max(table->fill_reserve - dead - shape.slack,
								  gap_to_keep(nslots + i + 1)))
			break;
		gap -= need;
		dead += shape.slack;
		row_write(append->cells + append->size, &meta, &rows[i], append->page_natts);
		append->size += TYPEALIGN(append->cell_align, row_shape_cell(&shape));
		append->nrows++;
	}
}

/*
 * One row, for which cells may be moved.  reserve: bytes that something else will take of the page.
 * False: it can't; *crowded: for lack of bytes.
 */
static bool
fill_near(LeafAppend *append, Page page, const RowData *row, const NewRows *new, int reserve,
		  bool *crowded)
{
	FreeIds		ids;
	RowMeta		meta;
	RowShape	shape;

	*crowded = false;
	begin_append(append, page, row, 1, new);
	place_find_ids(page, &ids);
	if (ids.n == 0 || ids.first >= ROW_ID_LIMIT - 1)
		return false;
	append->first_row = ids.first;
	new_row_meta(&meta, new, 0, append);
	shape = row_shape_of(&meta, row, append->page_natts);
	*crowded = !page_fits_insert(page, row_footprint(&shape) + reserve +
								 gap_to_keep(page_nslots(page) + 1), shape.aligned);
	if (*crowded)
		return false;
	row_write(append->cells, &meta, row, append->page_natts);
	append->cell_align = shape.aligned ? MAXIMUM_ALIGNOF : 1;
	append->size = TYPEALIGN(append->cell_align, row_shape_cell(&shape));
	append->nrows = 1;
	return true;
}

/* As fill_append, and if that can take none, one row for which cells are moved. */
static void
fill_place(LeafAppend *append, RowTable *table, Page page, const RowData *rows, int nrows,
		   const NewRows *new)
{
	int			nslots = page_nslots(page);
	bool		crowded;

	begin_append(append, page, rows, nrows, new);
	fill_append(append, table, page, rows, nrows, new);
	if (append->nrows == 0 && nslots > 0 && !place_is_edge(page))
		(void) fill_near(append, page, rows, new,
						 Max(table->fill_reserve - nslots * VERSION_POINTER_BYTES, 0), &crowded);
}

static void
check_ids_left(Page page, int nrows)
{
	if (place_is_edge(page) && page_next_key(page) + nrows >= ROW_ID_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("table has used up all its row identifiers"),
				 errhint("Rewrite the table with VACUUM FULL.")));
}

static Size
bytes_for(const RowData *row)
{
	return row->size + ROW_MAX_HEADER;
}

static void
insert_rows(RowTable *table, const RowData *rows, int nrows, NewRows *new, RowId *ids)
{
	int			misses = 0;

	pool_prepare_write();
	if (!tree_exists(&table->file))
		tree_create(&table->file);
	while (nrows > 0)
	{
		PoolFrame  *leaf = place_latch(&table->file);
		LeafAppend	append;

		append.nrows = 0;
		if (leaf != NULL)
		{
			check_ids_left(pool_page(leaf), nrows);
			fill_place(&append, table, pool_page(leaf), rows, nrows, new);
		}
		if (append.nrows == 0)
		{
			place_next(table, leaf, bytes_for(rows), &misses);
			CHECK_FOR_INTERRUPTS();
			continue;
		}
		misses = 0;
		if (append.logical != NULL && append.nrows == nrows)
			append.logical->mark |= LOGICAL_LAST;
		leaf_append(table, leaf, &append);
		for (int i = 0; i < append.nrows; i++)
			ids[i] = append.first_row + i;
		rows += append.nrows;
		if (new->frozen_xids != NULL)
			new->frozen_xids += append.nrows;
		ids += append.nrows;
		nrows -= append.nrows;
	}
}

void
row_insert(RowTable *table, const RowData *rows, int nrows, TransactionId xid, CommandId cid,
		   uint32 token, RowLogical *logical, RowId *ids)
{
	NewRows		new = {.xid = xid, .cid = cid, .token = token, .logical = logical};

	Assert(TransactionIdIsValid(xid));
	insert_rows(table, rows, nrows, &new, ids);
}

void
row_insert_frozen(RowTable *table, const RowData *rows, int nrows, const TransactionId *xids,
				  RowLogical *logical, RowId *ids)
{
	NewRows		new = {.xid = InvalidTransactionId, .frozen_xids = xids, .logical = logical};

	insert_rows(table, rows, nrows, &new, ids);
}

/* ---- beside the old row ---- */

static bool
insert_near(RowTable *table, const RowData *row, const NewRows *new, RowId old_row, RowId *id)
{
	PoolFrame  *leaf = tree_latch_leaf(&table->file, old_row, LW_EXCLUSIVE);
	LeafAppend	append;
	bool		crowded;

	if (!fill_near(&append, pool_page(leaf), row, new, 0, &crowded))
	{
		pool_unlatch(leaf);
		return false;
	}
	*id = append.first_row;
	leaf_append(table, leaf, &append);
	return true;
}

static NewRows
moved_row(const RowWriter *writer, const RowMeta *lock)
{
	NewRows		new = {.xid = writer->xid, .cid = writer->cid, .logical = writer->logical};

	if (lock->flags & ROW_LOCK)
	{
		new.lock_xid = lock->lock_xid;
		new.lock_bits = lock->lock_bits;
	}
	return new;
}

void
row_insert_moved(RowTable *table, const RowData *data, RowId old_row, const RowWriter *writer,
				 const RowMeta *lock, RowId *id)
{
	NewRows		new = moved_row(writer, lock);

	pool_prepare_write();
	if (!insert_near(table, data, &new, old_row, id))
		insert_rows(table, data, 1, &new, id);
}

PoolFrame *
row_place_moved(RowTable *table, PoolFrame *leaf, MoveTo to, int reserve, const RowData *data,
				const RowWriter *writer, const RowMeta *lock, LeafAppend *append, bool *crowded)
{
	NewRows		new = moved_row(writer, lock);
	PoolFrame  *place;

	if (to == MOVE_NEAR)
		return fill_near(append, pool_page(leaf), data, &new, reserve, crowded) ? leaf : NULL;
	*crowded = false;
	place = place_try(&table->file);
	if (place == NULL)
		return NULL;
	if (!place_is_edge(pool_page(place)) || page_next_key(pool_page(place)) + 1 < ROW_ID_LIMIT)
	{
		fill_place(append, table, pool_page(place), data, 1, &new);
		if (append->nrows > 0)
			return place;
	}
	pool_unlatch(place);
	return NULL;
}
