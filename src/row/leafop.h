/*
 * leafop.h
 *	  The two logged changes of a leaf's rows: rows added, one cell replaced.  Both clear the bits
 *	  of the rows' logical block in the visibility map.
 *
 * Private to src/row.
 */
#ifndef ROWAN_ROW_LEAFOP_H
#define ROWAN_ROW_LEAFOP_H

#include "pool/wal.h"
#include "row/row.h"

/* What an append does to a leaf: cells one after the other, each MAXALIGNed in the buffer. */
typedef struct LeafAppend
{
	RowId		first_row;
	TransactionId page_xid;		/* trailer's values afterwards */
	CommandId	page_cid;
	uint16		page_natts;
	uint16		nrows;
	uint16		cell_align;		/* in cells: 8 if any of them is ROW_ALIGNED, else 1 */
	Size		size;			/* bytes in cells */
	union
	{
		char		cells[2 * BLCKSZ];
		uint64		force_align;
	};
} LeafAppend;

/*
 * Adds rows to a leaf, latched exclusively, which has room: at the right edge with the next ids,
 * elsewhere with free ones, between which there is no row.  Logs and releases the latch.
 */
extern void leaf_append(const RowTable *table, PoolFrame *leaf, const LeafAppend *append);

/*
 * Replaces the cell of slot pos by `cell`, of that shape, and, if version is not NULL, appends
 * record to that page, as one record.  Both pages latched exclusively, with room; both latches are
 * released.
 */
extern void leaf_replace(const RowTable *table, PoolFrame *leaf, int pos, const char *cell,
						 const RowShape *shape, PoolFrame *version,
						 const VersionRecordData *record);

/* The xid of a cell with ROW_XID. */
static inline TransactionId
row_cell_xid(const char *cell)
{
	TransactionId xid;

	memcpy(&xid, cell + sizeof(RowHeaderData), sizeof(xid));
	return xid;
}

/* Sets the trailer's fields for a cell that is on the page now. Pure. */
extern void leaf_note_cell(PageTrailer trailer, const char *cell);

extern void append_wal_init(void);

#endif							/* ROWAN_ROW_LEAFOP_H */
