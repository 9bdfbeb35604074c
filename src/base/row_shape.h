/*
 * row_shape.h
 *	  What a row's cell takes on a leaf: header, data, and the slack below the cell.
 *
 * Most of a row's header comes and goes (ROW_COMING_FLAGS): who made the row, where its older
 * version is, who locks it.  Every row has room for ROW_COMING_ROOM bytes of that, enough for the
 * xid, a command id of one byte and the version pointer that an update adds.  What the header does
 * not use of it are zero bytes directly below the cell:
 *
 *	lower addresses			slack | header | data			higher addresses
 *
 * So the header grows and shrinks downward, and the data stay where they are.  A stub's header does
 * not grow any more: it has no slack.
 */
#ifndef ROWAN_BASE_ROW_SHAPE_H
#define ROWAN_BASE_ROW_SHAPE_H

#include "base/format.h"

#define ROW_COMING_FLAGS	(ROW_XID | ROW_CID | ROW_VERSION | ROW_LOCK | ROW_FORWARD)
#define ROW_COMING_ROOM		((int) sizeof(TransactionId) + 1 + VERSION_POINTER_BYTES)

typedef struct RowShape
{
	uint16		slack;			/* bytes below the cell */
	uint16		header;			/* bytes of the cell before the data, padding included */
	uint16		data;
	bool		aligned;		/* cell and data begin at multiples of 8 */
} RowShape;

/* Bytes of the header's fields that come and go. */
static inline int
row_coming_size(uint16 flags)
{
	return ((flags & ROW_XID) ? 4 : 0) + row_cid_size(flags) +
		((flags & ROW_VERSION) ? VERSION_POINTER_BYTES : 0) +
		((flags & ROW_LOCK) ? 6 : 0) + ((flags & ROW_FORWARD) ? 6 : 0);
}

/* The shape of a row with these flags and attributes whose cell has `size` bytes. */
static inline RowShape
row_shape(uint16 flags, int natts, int size)
{
	int			coming = row_coming_size(flags);
	int			header = (int) sizeof(RowHeaderData) + coming +
		((flags & ROW_NATTS) ? (int) sizeof(uint16) : 0) +
		((flags & ROW_NULLS) ? (natts + 7) / 8 : 0);
	int			slack = row_flags_stub(flags) ? 0 : Max(ROW_COMING_ROOM - coming, 0);
	RowShape	shape;

	shape.aligned = (flags & ROW_ALIGNED) != 0;
	if (shape.aligned)
	{
		slack = TYPEALIGN(8, header + slack) - TYPEALIGN(8, header);
		header = TYPEALIGN(8, header);
	}
	shape.slack = slack;
	shape.header = Min(header, size);	/* bytes that make no sense */
	shape.data = size - shape.header;
	return shape;
}

static inline int
row_shape_cell(const RowShape *shape)
{
	return shape->header + shape->data;
}

/* Bytes that the row takes on a page, but for its slot and what alignment loses above it. */
static inline int
row_footprint(const RowShape *shape)
{
	return shape->slack + row_shape_cell(shape);
}

/*
 * The shape of a cell of `size` bytes, which may make no sense: nothing is read beyond them.
 * page_natts: attributes of rows on its page that don't say it.
 */
static inline RowShape
row_cell_shape(const char *cell, int size, uint16 page_natts)
{
	RowHeaderData header;
	uint16		flags;
	uint16		natts = page_natts;
	int			natts_at;

	memcpy(&header, cell, sizeof(header));
	flags = row_header_flags(&header);
	natts_at = (int) sizeof(RowHeaderData) + row_coming_size(flags);
	if ((flags & ROW_NATTS) && natts_at + (int) sizeof(natts) <= size)
		memcpy(&natts, cell + natts_at, sizeof(natts));
	return row_shape(flags, natts, size);
}

#endif							/* ROWAN_BASE_ROW_SHAPE_H */
