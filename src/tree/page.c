/*
 * page.c
 *	  Slotted pages: pure functions over the bytes of one page.
 *
 * Takes no latches, logs nothing, allocates nothing and raises nothing: it runs
 * on shared pages inside critical sections, on working copies, in redo and in
 * tests without a server.  Must never read or write outside the page, whatever its
 * bytes say; must never leave a byte outside the gap undetermined.
 *
 * Keys are compared here (and fences in page_covers) and nowhere else but for
 * equality: a tree with another kind of key replaces these functions.
 */
#include "postgres.h"

#include "tree/page.h"

const RowHeaderData page_stub_cell = {
	.size_flags = sizeof(RowHeaderData) | (ROW_DELETED >> 9) << 13
};

#define NO_SLOT		(-1)
#define NO_PLACE	(-1)

static inline PageHeader
header_of(Page page)
{
	return (PageHeader) page;
}

void
page_reset(Page page, uint8 type, uint8 level)
{
	PageTrailer trailer = page_trailer(page);
	BlockNumber self = trailer->self_block;
	uint32		file_id = trailer->file_id;

	header_of(page)->pd_lower = ROWAN_PAGE_BODY;
	header_of(page)->pd_upper = ROWAN_PAGE_SPECIAL;
	memset(trailer, 0, offsetof(PageTrailerData, magic));
	trailer->self_block = self;
	trailer->right_block = InvalidBlockNumber;
	trailer->file_id = file_id;
	trailer->type = type;
	trailer->level = level;
}

void
page_copy_content(Page dest, Page src)
{
	PageHeaderData header = *header_of(dest);
	BlockNumber self = page_trailer(dest)->self_block;

	memcpy(dest, src, BLCKSZ);
	header_of(dest)->pd_lsn = header.pd_lsn;
	header_of(dest)->pd_checksum = header.pd_checksum;
	page_trailer(dest)->self_block = self;
}

/* ---- searching ---- */

static inline TreeKey
read_low_fence(Page page)
{
	return ((volatile PageTrailerData *) page_trailer(page))->low_fence;
}

int
leaf_search(Page page, TreeKey key)
{
	int			nslots = page_nslots(page);
	TreeKey		low_fence = read_low_fence(page);
	int			delta,
				last,
				low,
				high;

	if (nslots == 0 || key <= low_fence)
		return 0;
	if (key - low_fence >= LEAF_KEY_SPAN)
		return nslots;
	delta = (int) (key - low_fence);

	/*
	 * Deltas are distinct and ascending, so a delta cannot stand to the right of the position
	 * equal to it, and on a page without holes stands exactly there.
	 */
	if (delta < nslots && page_slot_delta(page, delta) == delta)
		return delta;
	last = page_slot_delta(page, nslots - 1);
	if (delta > last)
		return nslots;

	/* Counted from either end, only missing ids separate it from its place. */
	low = Max(0, nslots - 1 - (last - delta));
	high = Min(delta, nslots - 1);
	while (low < high)
	{
		int			mid = low + (high - low) / 2;

		if (page_slot_delta(page, mid) < delta)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int
leaf_find(Page page, TreeKey key)
{
	TreeKey		low_fence = read_low_fence(page);
	int			pos = leaf_search(page, key);

	if (pos >= page_nslots(page) || key < low_fence ||
		page_slot_delta(page, pos) != key - low_fence)
		return NO_SLOT;
	return pos;
}

/* Cells of a page that makes no sense may be misaligned. */
static inline uint32
read_u32(const char *p)
{
	uint32		value;

	memcpy(&value, p, sizeof(value));
	return value;
}

TreeKey
inner_key(Page page, int pos)
{
	const char *cell = (const char *) inner_cell(page, pos);

	if (cell == NULL)
		return TREE_KEY_MIN;
	return (TreeKey) read_u32(cell + offsetof(InnerCellData, key_high)) << 32 |
		read_u32(cell + offsetof(InnerCellData, key_low));
}

BlockNumber
inner_child(Page page, int pos)
{
	const char *cell = (const char *) inner_cell(page, pos);

	return cell == NULL ? InvalidBlockNumber : read_u32(cell + offsetof(InnerCellData, child));
}

/*
 * Keys are usually spread evenly: interpolate, then widen around the guess
 * until it brackets the key, then halve.
 */
int
inner_search(Page page, TreeKey key)
{
	int			nslots = page_nslots(page);
	TreeKey		first,
				last;
	int			low,
				high,
				guess,
				step = 1;

	if (nslots <= 1)
		return nslots - 1;
	first = inner_key(page, 0);
	last = inner_key(page, nslots - 1);
	if (key >= last)
		return nslots - 1;
	if (key <= first)
		return 0;

	/* from here on key(low) <= key < key(high) */
	guess = (int) ((double) (key - first) * (nslots - 1) / (double) (last - first));
	guess = Min(guess, nslots - 2);
	if (inner_key(page, guess) <= key)
	{
		low = guess;
		while (low + step < nslots - 1 && inner_key(page, low + step) <= key)
		{
			low += step;
			step *= 2;
		}
		high = Min(low + step, nslots - 1);
	}
	else
	{
		high = guess;
		while (high - step > 0 && inner_key(page, high - step) > key)
		{
			high -= step;
			step *= 2;
		}
		low = Max(high - step, 0);
	}
	while (high - low > 1)
	{
		int			mid = low + (high - low) / 2;

		if (inner_key(page, mid) <= key)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* ---- room ---- */

int
page_gap(Page page)
{
	int			gap = (int) header_of(page)->pd_upper - (int) header_of(page)->pd_lower;

	return Min(Max(gap, 0), (int) ROWAN_PAGE_ROOM);
}

int
page_free_bytes(Page page)
{
	return page_gap(page) + page_trailer(page)->dead_bytes;
}

int
page_slot_bytes(Page page, int pos)
{
	uint16		size;
	char	   *cell = page_cell(page, pos, &size);
	RowShape	shape;

	if (cell == NULL || leaf_stubs(page, pos) > 0)
		return sizeof(SlotData);
	shape = page_cell_shape(page, cell, size);
	return sizeof(SlotData) + shape.slack + (shape.aligned ? TYPEALIGN(8, size) : size);
}

static int
packed_bytes_without(Page page, int skip)
{
	int			nslots = page_nslots(page);
	int			bytes = 0;

	for (int pos = 0; pos < nslots; pos++)
		bytes += pos == skip ? (int) sizeof(SlotData) : page_slot_bytes(page, pos);
	return bytes;
}

int
page_packed_bytes(Page page)
{
	return packed_bytes_without(page, NO_SLOT);
}

int
page_slack_bytes(Page page)
{
	int			bytes = 0;

	for (int pos = 0; pos < page_nslots(page); pos++)
	{
		uint16		size;
		char	   *cell = page_cell(page, pos, &size);

		if (cell != NULL)
			bytes += page_cell_shape(page, cell, size).slack;
	}
	return bytes;
}

/*
 * A cell fits between lower and the gap's end, or what that end would be after a
 * compaction.  Packing aligned cells anew may take more than they take now: that
 * is why it is computed, not derived from dead_bytes.
 */
static bool
fits(Page page, int lower, uint16 size, bool aligned, int skip)
{
	int			upper;

	if (page_place_below(header_of(page)->pd_upper, size, aligned) >= lower)
		return true;
	upper = ROWAN_PAGE_SPECIAL + page_nslots(page) * (int) sizeof(SlotData) -
		packed_bytes_without(page, skip);
	return page_place_below(upper, size, aligned) >= lower;
}

bool
page_fits_insert(Page page, uint16 size, bool aligned)
{
	int			lower = header_of(page)->pd_lower + (int) sizeof(SlotData);

	return fits(page, lower, size, aligned, NO_SLOT);
}

/*
 * Where a row goes that replaces the one of slot pos and fits into its bytes and slack, or
 * NO_PLACE.
 * If its data are not longer they stay where they are; else cells end at the same byte.
 */
static int
place_in_place(Page page, int pos, const RowShape *row)
{
	uint16		size = 0;
	char	   *cell = page_cell(page, pos, &size);
	RowShape	old;
	int			floor,
				offset;

	if (cell == NULL || leaf_stubs(page, pos) > 0)
		return NO_PLACE;
	old = page_cell_shape(page, cell, size);
	floor = cell - (char *) page - old.slack + row->slack;
	offset = cell - (char *) page + old.header - row->header;
	if (row->data <= old.data && offset >= floor && (!row->aligned || offset % 8 == 0))
		return offset;
	offset = page_place_below(cell - (char *) page + size, row_shape_cell(row), row->aligned);
	return offset >= floor ? offset : NO_PLACE;
}

bool
page_place_in_place(Page page, int pos, const RowShape *row, PagePlace *place)
{
	uint16		size = 0;
	char	   *cell = page_cell(page, pos, &size);
	int			offset = place_in_place(page, pos, row);
	RowShape	old;

	if (offset == NO_PLACE)
		return false;
	old = page_cell_shape(page, cell, size);
	place->offset = offset;
	place->dead_bytes = page_trailer(page)->dead_bytes + row_footprint(&old) - row_footprint(row);
	return true;
}

bool
page_fits_row(Page page, int pos, const RowShape *row)
{
	return place_in_place(page, pos, row) != NO_PLACE ||
		fits(page, header_of(page)->pd_lower, row_footprint(row), row->aligned, pos);
}

static bool
fits_in_place(Page page, int pos, uint16 new_size)
{
	uint16		size = 0;

	return page_cell(page, pos, &size) != NULL && new_size <= size;
}

bool
page_fits_replace(Page page, int pos, uint16 new_size)
{
	return fits_in_place(page, pos, new_size) ||
		fits(page, header_of(page)->pd_lower, new_size, false, pos);
}

/* ---- changing ---- */

/* A page whose cells are packed anew. */
typedef struct Packing
{
	Page		page;
	Page		old;			/* the bytes as they were */
	int			upper;			/* cells from here on are packed */
	int			cells;			/* their bytes, with slack */
} Packing;

static inline void
pack_cell(Packing *packing, int pos, const char *cell, uint16 size, const RowShape *shape)
{
	char	   *bytes = (char *) packing->page;
	int			offset = page_place_below(packing->upper, size, shape->aligned);

	Assert(offset - shape->slack >= header_of(packing->page)->pd_lower);
	memcpy(bytes + offset, cell, size);
	memset(bytes + offset + size, 0, packing->upper - offset - size);
	page_slots(packing->page)[pos].offset = offset;
	packing->upper = offset - shape->slack;
	memset(bytes + packing->upper, 0, shape->slack);
	packing->cells += size + shape->slack;
}

/*
 * Packs the cells that need alignment, or those that don't, in slot order.  Returns whether there
 * are others.
 */
static bool
pack_cells(Packing *packing, bool aligned, int skip)
{
	Page		old = packing->old;
	bool		leaf = page_trailer(old)->type == ROWAN_PAGE_LEAF;
	int			nslots = page_nslots(old);
	bool		others = false;

	for (int pos = 0; pos < nslots; pos++)
	{
		uint16		size;
		char	   *cell;
		RowShape	shape;

		if (pos == skip || leaf_stubs(old, pos) > 0 ||
			(cell = page_cell(old, pos, &size)) == NULL)
			continue;
		if ((leaf && (row_header_flags((RowHeaderData *) cell) & ROW_ALIGNED)) != aligned)
		{
			others = true;
			continue;
		}
		shape = page_cell_shape(old, cell, size);
		pack_cell(packing, pos, cell, size, &shape);
	}
	return others;
}

/*
 * Compacts.  The cell of slot skip is dropped, its slot left for the caller to set.
 * Aligned cells go first: then the padding does not depend on their neighbours.
 */
static void
compact_without(Page page, int skip)
{
	union
	{
		char		bytes[BLCKSZ];
		double		force_align_d;
		int64		force_align_i64;
	}			old;
	Packing		packing = {.page = page, .old = (Page) old.bytes, .upper = ROWAN_PAGE_SPECIAL};

	memcpy(old.bytes, page, BLCKSZ);
	if (pack_cells(&packing, true, skip))
		(void) pack_cells(&packing, false, skip);
	header_of(page)->pd_upper = packing.upper;
	page_trailer(page)->dead_bytes = ROWAN_PAGE_SPECIAL - packing.upper - packing.cells;
}

void
page_compact(Page page)
{
	int			upper = ROWAN_PAGE_SPECIAL + page_nslots(page) * (int) sizeof(SlotData) -
		page_packed_bytes(page);

	if (upper > header_of(page)->pd_upper)
		compact_without(page, NO_SLOT);
}

/* Takes bytes for a cell off the gap's upper end; padding above it counts as dead. */
static char *
take_gap(Page page, uint16 size, bool aligned)
{
	PageHeader	header = header_of(page);
	int			offset = page_place_below(header->pd_upper, size, aligned);
	int			padding = header->pd_upper - offset - size;

	Assert(offset >= header->pd_lower);
	memset((char *) page + offset + size, 0, padding);
	page_trailer(page)->dead_bytes += padding;
	header->pd_upper = offset;
	return (char *) page + offset;
}

/* Adds slot pos; returns room of so many bytes. */
static char *
insert_room(Page page, int pos, uint16 delta, uint16 size, bool aligned)
{
	PageHeader	header = header_of(page);
	int			lower = header->pd_lower + (int) sizeof(SlotData);
	char	   *cell;

	Assert(pos >= 0 && pos <= page_nslots(page));
	Assert(size >= 4 && size <= ROW_SIZE_MASK);
	Assert(page_fits_insert(page, size, aligned));

	if (page_place_below(header->pd_upper, size, aligned) < lower)
		compact_without(page, NO_SLOT);
	cell = take_gap(page, size, aligned);
	Assert(cell - (char *) page >= lower);
	page_add_slot(page, pos, cell - (char *) page, delta);
	return cell;
}

char *
page_insert_cell(Page page, int pos, uint16 delta, uint16 size)
{
	return insert_room(page, pos, delta, size, false);
}

/* Fills the room for a row: slack, and above that the cell, which the slot points to. */
static void
put_row(Page page, int pos, char *room, const char *row, const RowShape *shape)
{
	memset(room, 0, shape->slack);
	memcpy(room + shape->slack, row, row_shape_cell(shape));
	page_slots(page)[pos].offset = room + shape->slack - (char *) page;
}

/* The shape of a row that is to be put on the page. */
static inline RowShape
new_row_shape(Page page, const char *row)
{
	RowHeaderData header;

	Assert(page_trailer(page)->type == ROWAN_PAGE_LEAF);
	memcpy(&header, row, sizeof(header));
	return page_cell_shape(page, row, row_header_size(&header));
}

void
page_insert_row(Page page, int pos, uint16 delta, const char *row)
{
	RowShape	shape = new_row_shape(page, row);
	char	   *room = insert_room(page, pos, delta, row_footprint(&shape), shape.aligned);

	put_row(page, pos, room, row, &shape);
}

/* The cell's bytes, with its slack, become gap if it is the lowest one, else dead. */
static void
drop_cell(Page page, int pos)
{
	PageHeader	header = header_of(page);
	uint16		size;
	char	   *cell = page_cell(page, pos, &size);
	int			slack;

	if (cell == NULL || leaf_stubs(page, pos) > 0)
		return;
	slack = page_cell_shape(page, cell, size).slack;
	if (cell - (char *) page - slack == header->pd_upper)
		header->pd_upper += slack + size;
	else
		page_trailer(page)->dead_bytes += slack + size;
}

/* Gives up the cell of slot pos; returns room of so many bytes in its stead. */
static char *
replace_room(Page page, int pos, uint16 size, bool aligned)
{
	PageHeader	header = header_of(page);

	if (page_place_below(header->pd_upper, size, aligned) < header->pd_lower)
		compact_without(page, pos);
	else
		drop_cell(page, pos);
	return take_gap(page, size, aligned);
}

char *
page_replace_cell(Page page, int pos, uint16 new_size)
{
	uint16		size = 0;
	char	   *cell = page_cell(page, pos, &size);

	Assert(pos >= 0 && pos < page_nslots(page));
	Assert(new_size >= 4 && new_size <= ROW_SIZE_MASK);
	Assert(page_fits_replace(page, pos, new_size));

	if (fits_in_place(page, pos, new_size))
	{
		page_trailer(page)->dead_bytes += size - new_size;
		page_slots(page)[pos].offset = cell - (char *) page;	/* a mark was the old cell's */
		return cell;
	}
	cell = replace_room(page, pos, new_size, false);
	page_slots(page)[pos].offset = cell - (char *) page;
	return cell;
}

/* What the old cell and its slack took below the new one becomes zero, the new slack in it. */
static void
put_in_place(Page page, int pos, int offset, const char *row, const RowShape *shape)
{
	uint16		size = 0;
	char	   *cell = page_cell(page, pos, &size);
	int			slack = page_cell_shape(page, cell, size).slack;
	int			floor = cell - (char *) page - slack;

	memset((char *) page + floor, 0, offset - floor);
	memcpy((char *) page + offset, row, row_shape_cell(shape));
	page_trailer(page)->dead_bytes += slack + size - row_footprint(shape);
	page_slots(page)[pos].offset = offset;
}

void
page_replace_row(Page page, int pos, const char *row)
{
	RowShape	shape = new_row_shape(page, row);
	int			offset = place_in_place(page, pos, &shape);

	Assert(pos >= 0 && pos < page_nslots(page));
	Assert(page_fits_row(page, pos, &shape));

	if (offset != NO_PLACE)
		put_in_place(page, pos, offset, row, &shape);
	else
		put_row(page, pos, replace_room(page, pos, row_footprint(&shape), shape.aligned), row,
				&shape);
}

void
page_delete_slots(Page page, int pos, int count)
{
	PageHeader	header = header_of(page);
	SlotData   *slots = page_slots(page);
	int			nslots = page_nslots(page);

	Assert(pos >= 0 && count >= 0 && pos + count <= nslots);
	for (int i = pos; i < pos + count; i++)
		drop_cell(page, i);
	memmove(&slots[pos], &slots[pos + count], (nslots - pos - count) * sizeof(SlotData));
	header->pd_lower -= count * sizeof(SlotData);
	if (count == nslots)
	{
		header->pd_upper = ROWAN_PAGE_SPECIAL;
		page_trailer(page)->dead_bytes = 0;
	}
}

/* ---- stubs ---- */

void
page_make_stub(Page page, int pos)
{
	Assert(page_trailer(page)->type == ROWAN_PAGE_LEAF && leaf_stubs(page, pos) == 0);
	drop_cell(page, pos);
	page_slots(page)[pos].offset = SLOT_STUBS | 1;
}

static bool
is_stub(Page page, int pos)
{
	uint16		size;
	const char *cell = page_cell(page, pos, &size);

	return cell != NULL && row_flags_stub(row_header_flags((const RowHeaderData *) cell));
}

void
page_join_stubs(Page page)
{
	SlotData   *slots = page_slots(page);
	int			nslots = page_nslots(page);
	int			kept = 0;

	for (int pos = 0; pos < nslots; pos++)
	{
		SlotData	slot = slots[pos];
		int			before = kept > 0 ? leaf_stubs(page, kept - 1) : 0;
		int			count;

		if (!is_stub(page, pos))
		{
			slots[kept++] = slot;
			continue;
		}
		count = leaf_slot_rows(page, pos);
		drop_cell(page, pos);
		if (before > 0 && slots[kept - 1].delta + before == slot.delta &&
			before + count <= SLOT_STUBS_MAX)
			slots[kept - 1].offset = SLOT_STUBS | (before + count);
		else
			slots[kept++] = (SlotData)
		{
			SLOT_STUBS | count, slot.delta
		};
	}
	header_of(page)->pd_lower = ROWAN_PAGE_BODY + kept * sizeof(SlotData);
}

/* What is left of a slot's stubs without those keys; returns how many slots that are. */
static int
stubs_without(Page page, int pos, const TreeKey *keys, int nkeys, SlotData *left)
{
	int			delta = page_slots(page)[pos].delta;
	int			end = delta + leaf_stubs(page, pos);
	int			n = 0;

	for (int i = 0; i <= nkeys; i++)
	{
		int			next = i < nkeys ? (int) (keys[i] - page_low_fence(page)) : end;

		if (next > delta)
			left[n++] = (SlotData)
		{
			SLOT_STUBS | (next - delta), delta
		};
		delta = next + 1;
	}
	return n;
}

/* Puts so many slots in place of one.  False: there is no room. */
static bool
replace_slot(Page page, int pos, const SlotData *with, int n)
{
	SlotData   *slots = page_slots(page);

	if ((n - 1) * (int) sizeof(SlotData) > page_gap(page))
		return false;
	memmove(&slots[pos + n], &slots[pos + 1], (page_nslots(page) - pos - 1) * sizeof(SlotData));
	memcpy(&slots[pos], with, n * sizeof(SlotData));
	header_of(page)->pd_lower += (n - 1) * (int) sizeof(SlotData);
	return true;
}

int
page_remove_stubs(Page page, const TreeKey *keys, int nkeys)
{
	SlotData	left[ROWAN_PAGE_ROOM / sizeof(SlotData) + 1];
	int			removed = 0;
	int			pos = 0;
	int			i = 0;

	while (pos < page_nslots(page) && i < nkeys)
	{
		int			first = i;
		int			n;

		if (keys[i] > leaf_last_key(page, pos))
			pos++;
		else if (keys[i] < leaf_key(page, pos))
			i++;
		else if (leaf_stubs(page, pos) == 0)
		{
			i++;
			if (is_stub(page, pos))
			{
				page_delete_slots(page, pos, 1);
				removed++;
			}
		}
		else
		{
			while (i < nkeys && keys[i] <= leaf_last_key(page, pos) &&
				   i - first < (int) lengthof(left) - 1)
				i++;
			n = stubs_without(page, pos, keys + first, i - first, left);
			if (replace_slot(page, pos, left, n))
			{
				removed += i - first;
				pos += n;
			}
			else
				pos++;
		}
	}
	return removed;
}

void
page_append_cells(Page dest, Page src, int pos, int count)
{
	bool		leaf = page_trailer(src)->type == ROWAN_PAGE_LEAF;

	for (int i = pos; i < pos + count; i++)
	{
		uint16		size = 0;
		char	   *cell = page_cell(src, i, &size);

		Assert(cell != NULL);
		if (leaf)
		{
			TreeKey		delta = leaf_key(src, i) - page_low_fence(dest);

			Assert(delta < LEAF_KEY_SPAN);
			if (leaf_stubs(src, i) > 0)
				page_add_slot(dest, page_nslots(dest), page_slots(src)[i].offset, delta);
			else
				page_insert_row(dest, page_nslots(dest), delta, cell);
		}
		else
			memcpy(page_insert_cell(dest, page_nslots(dest), 0, size), cell, size);
	}
}

void
inner_set_key(Page page, int pos, TreeKey key)
{
	InnerCellData *cell = inner_cell(page, pos);

	Assert(cell != NULL);
	cell->key_low = (uint32) key;
	cell->key_high = (uint32) (key >> 32);
}

void
inner_set_child(Page page, int pos, BlockNumber child)
{
	InnerCellData *cell = inner_cell(page, pos);

	Assert(cell != NULL);
	cell->child = child;
}

void
inner_insert(Page page, int pos, TreeKey key, BlockNumber child)
{
	InnerCellData *cell;

	cell = (InnerCellData *) page_insert_cell(page, pos, 0, sizeof(InnerCellData));
	cell->size = sizeof(InnerCellData);
	cell->unused = 0;
	cell->child = child;
	inner_set_key(page, pos, key);
}
