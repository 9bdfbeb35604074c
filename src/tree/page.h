/*
 * page.h
 *	  Slotted pages: pure functions over the bytes of one page.
 *
 * No latches, no WAL, no palloc, no ereport: a page is the shared page in a
 * critical section, a working copy, or a copy in a test without a server.
 * Functions that read come in one kind only: they check every offset and
 * length against the page's bounds, so they may be used on a page that is being changed
 * meanwhile; what they return is then wrong, but never out of bounds.
 * Functions that change assume a page that page_check() accepts.
 *
 * Cells begin with a uint16 whose low 13 bits are the cell's size in bytes
 * (RowHeaderData, InnerCellData).  A cell is stored at any offset, or at a multiple of 8
 * with `aligned`.  Below a row's cell is its slack (base/row_shape.h): dead bytes, zero.
 */
#ifndef ROWAN_TREE_PAGE_H
#define ROWAN_TREE_PAGE_H

#include "base/format.h"
#include "base/new_page.h"
#include "base/row_shape.h"

/*
 * Every byte outside the free gap is determined by the calls made, padding
 * included (zero): redo and full-page images (which drop the gap) give the same bytes.
 */

static inline SlotData *
page_slots(Page page)
{
	return (SlotData *) ((char *) page + ROWAN_PAGE_BODY);
}

/* Number of slots; never more than fit on a page, whatever the bytes say. */
static inline int
page_nslots(Page page)
{
	uint16		lower = ((volatile PageHeaderData *) page)->pd_lower;

	if (lower < ROWAN_PAGE_BODY || lower > ROWAN_PAGE_SPECIAL)
		return 0;
	return (lower - ROWAN_PAGE_BODY) / sizeof(SlotData);
}

/* Where the cell of a slot begins, read once, whatever mark the slot has. */
static inline uint16
page_slot_offset(Page page, int pos)
{
	return ((volatile SlotData *) page_slots(page))[pos].offset & SLOT_OFFSET_MASK;
}

/* How many stubs without a cell a slot of a leaf stands for; 0: it has a cell. */
static inline int
leaf_stubs(Page page, int pos)
{
	uint16		offset = ((volatile SlotData *) page_slots(page))[pos].offset;

	if (likely((offset & SLOT_STUBS) == 0) || page_trailer(page)->type != ROWAN_PAGE_LEAF)
		return 0;
	return offset & SLOT_STUBS_MAX;
}

/* What a cell of stubs would be. */
extern const RowHeaderData page_stub_cell;

/*
 * The cell of slot pos and its size; NULL if the bytes make no sense (the page changed
 * meanwhile, or is corrupt).  The returned cell lies within the page for *size bytes, but for
 * stubs, which have page_stub_cell.
 */
static inline char *
page_cell(Page page, int pos, uint16 *size)
{
	uint16		offset = page_slot_offset(page, pos);
	uint16		n;

	if (unlikely(leaf_stubs(page, pos) > 0))
	{
		*size = sizeof(page_stub_cell);
		return unconstify(char *, (const char *) &page_stub_cell);
	}
	if (offset < ROWAN_PAGE_BODY || offset > ROWAN_PAGE_SPECIAL - 4)
		return NULL;
	n = ((volatile RowHeaderData *) ((char *) page + offset))->size_flags & ROW_SIZE_MASK;
	if (n < 4 || n > ROWAN_PAGE_SPECIAL - offset)
		return NULL;
	*size = n;
	return (char *) page + offset;
}

/* The slot's delta, read once. */
static inline uint16
page_slot_delta(Page page, int pos)
{
	return ((volatile SlotData *) page_slots(page))[pos].delta;
}

/* The shape that a cell, which may lie elsewhere, has on this page; but for rows it is all data. */
static inline RowShape
page_cell_shape(Page page, const char *cell, uint16 size)
{
	if (page_trailer(page)->type != ROWAN_PAGE_LEAF)
		return (RowShape)
	{
		.data = size
	};
	return row_cell_shape(cell, size, page_trailer(page)->page_natts);
}

static inline TreeKey
page_low_fence(Page page)
{
	return page_trailer(page)->low_fence;
}

/*
 * It is the page of that level whose range covers key.  In a live tree there is
 * exactly one such page; a freed page has another type.
 */
static inline bool
page_covers(Page page, int level, TreeKey key)
{
	PageTrailer trailer = page_trailer(page);

	return trailer->magic == ROWAN_MAGIC && trailer->level == level &&
		trailer->type == (level == 0 ? ROWAN_PAGE_LEAF : ROWAN_PAGE_INNER) &&
		trailer->low_fence <= key && key < trailer->high_fence;
}

/* Where a cell goes that is put below upper. */
static inline int
page_place_below(int upper, uint16 size, bool aligned)
{
	int			offset = upper - (int) size;

	return aligned ? offset & ~7 : offset;
}

/* Of the leaf at the right edge: the next key to hand out. */
static inline TreeKey
page_next_key(Page page)
{
	return page_trailer(page)->low_fence + page_trailer(page)->next_delta;
}

static inline void
page_set_next_key(Page page, TreeKey key)
{
	page_trailer(page)->next_delta = key - page_trailer(page)->low_fence;
}

/* A leaf's slots reach this many keys from its low fence on. */
#define LEAF_KEY_SPAN	65536

/* The key of a slot in a leaf. */
static inline TreeKey
leaf_key(Page page, int pos)
{
	return page_trailer(page)->low_fence + page_slots(page)[pos].delta;
}

/* How many rows a slot stands for: several only if they are stubs. */
static inline int
leaf_slot_rows(Page page, int pos)
{
	return Max(leaf_stubs(page, pos), 1);
}

/* The key of the last of them. */
static inline TreeKey
leaf_last_key(Page page, int pos)
{
	return leaf_key(page, pos) + leaf_slot_rows(page, pos) - 1;
}

static inline InnerCellData *
inner_cell(Page page, int pos)
{
	uint16		size;
	char	   *cell = page_cell(page, pos, &size);

	return cell == NULL || size < sizeof(InnerCellData) ? NULL : (InnerCellData *) cell;
}

/* First slot whose key is >= key (nslots if none). Dense ids: tried by position first. */
extern int	leaf_search(Page page, TreeKey key);

/* Slot with exactly that key, or -1. */
extern int	leaf_find(Page page, TreeKey key);

/* Inner page: slot of the child that covers key (0 if key is below the first), and its parts. -1 if no slots. */
extern int	inner_search(Page page, TreeKey key);
extern TreeKey inner_key(Page page, int pos);
extern BlockNumber inner_child(Page page, int pos); /* InvalidBlockNumber: bytes make no sense */

/*
 * Free bytes: gap, and gap plus dead bytes.  A new cell needs size (+ up to 7 of
 * alignment) + sizeof(SlotData).
 */
extern int	page_gap(Page page);
extern int	page_free_bytes(Page page);

/*
 * True if a new cell (with a slot) fits, after compaction if need be.  Of a row: size is its
 * row_footprint.
 */
extern bool page_fits_insert(Page page, uint16 size, bool aligned);

/* The same of a replacement of the row, or (not on a leaf of a table) of the cell, of slot pos. */
extern bool page_fits_row(Page page, int pos, const RowShape *row);
extern bool page_fits_replace(Page page, int pos, uint16 new_size);

/*
 * Makes room for a cell at slot pos (compacting when the gap is short); returns its uninitialised
 * bytes, which the caller must fill, size field included.  Must fit.  Not for rows.
 */
extern char *page_insert_cell(Page page, int pos, uint16 delta, uint16 size);

/* Puts a row's cell, copied, at slot pos of a leaf of a table.  Must fit. */
extern void page_insert_row(Page page, int pos, uint16 delta, const char *row);

/*
 * Gives slot pos a cell of new_size bytes.  The old cell's bytes are NOT kept: copy
 * what you need first.  In place where the size allows it (and the rest becomes dead bytes).
 * Not for rows.
 */
extern char *page_replace_cell(Page page, int pos, uint16 new_size);

/* Where a row goes, and what becomes of the page's count of dead bytes. */
typedef struct PagePlace
{
	uint16		offset;			/* of the cell */
	uint16		dead_bytes;
} PagePlace;

/*
 * Where the row goes that replaces that of slot pos, if it takes no more bytes, slack included.
 * False: it has to move.
 */
extern bool page_place_in_place(Page page, int pos, const RowShape *row, PagePlace *place);

/*
 * Gives slot pos a copy of this row.  In place if cell and slack take no more bytes than now; then
 * the data stay where they are, unless they have become longer.
 */
extern void page_replace_row(Page page, int pos, const char *row);

extern void page_delete_slots(Page page, int pos, int count);	/* cells become dead bytes */

/* Moves all cells together; deterministic.  Aligned cells (leaf rows with ROW_ALIGNED) stay aligned. */
extern void page_compact(Page page);

/*
 * Bytes that cells, with their slack, and slots take after a compaction; of two pages: their sum is
 * that of the merged page.
 */
extern int	page_packed_bytes(Page page);

/* Adds slot pos, for a cell that is put at that offset: the gap has room.  Reads no cell. */
static inline void
page_add_slot(Page page, int pos, uint16 offset, uint16 delta)
{
	SlotData   *slots = page_slots(page);

	memmove(&slots[pos + 1], &slots[pos], (page_nslots(page) - pos) * sizeof(SlotData));
	slots[pos].offset = offset;
	slots[pos].delta = delta;
	((PageHeader) page)->pd_lower += sizeof(SlotData);
}

/* The row of slot pos becomes a stub without a cell; the bytes of its cell stay. */
extern void page_make_stub(Page page, int pos);

/*
 * Stubs of a leaf lose their cells, and those with consecutive row ids share a slot.
 */
extern void page_join_stubs(Page page);

/*
 * Takes the stubs with these keys, which ascend, off the leaf, as far as they are on it and there
 * is room for what their slots become; returns how many.
 */
extern int	page_remove_stubs(Page page, const TreeKey *keys, int nkeys);

/* What the rows of a leaf keep for their headers, bytes.  The page may make no sense. */
extern int	page_slack_bytes(Page page);

/* Bytes that the cell of slot pos, its slack and the slot take after a compaction. */
extern int	page_slot_bytes(Page page, int pos);

/* Copies `count` cells of src to the end of dest, whose fences are set; must fit. Leaf: deltas are made anew. */
extern void page_append_cells(Page dest, Page src, int pos, int count);

/* Makes dest hold what src holds, but keeps dest's own block number and LSN. */
extern void page_copy_content(Page dest, Page src);

/* page_init, but keeps LSN, block number and file id, and leaves the bytes of the gap alone. */
extern void page_reset(Page page, uint8 type, uint8 level);

extern void inner_insert(Page page, int pos, TreeKey key, BlockNumber child);
extern void inner_set_key(Page page, int pos, TreeKey key);
extern void inner_set_child(Page page, int pos, BlockNumber child);

/*
 * page_check.c
 *
 * Checks everything that can be checked on one page: header, trailer, slots in
 * order and within bounds, cells and their slack not overlapping, slack zero, dead bytes exact,
 * keys within fences.  NULL if fine, else a message (static text).  Safe on any bytes.
 */
extern const char *page_check(Page page, BlockNumber self);

#endif							/* ROWAN_TREE_PAGE_H */
