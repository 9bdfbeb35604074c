/*
 * leafop.h
 *	  The logged changes of leaves' rows: rows added, one cell replaced, and both as one.  They
 *	  clear the bits of the rows' logical blocks in the visibility map.
 *
 * Private to src/row.
 */
#ifndef ROWAN_ROW_LEAFOP_H
#define ROWAN_ROW_LEAFOP_H

#include "pool/wal.h"
#include "row/decode.h"
#include "row/mapclear.h"
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
	RowLogical *logical;		/* or NULL */
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
 * released.  logical: what decoding is told of it, or NULL.
 */
extern void leaf_replace(const RowTable *table, PoolFrame *leaf, int pos, const char *cell,
						 const RowShape *shape, PoolFrame *version,
						 const VersionRecordData *record, RowLogical *logical);

/* A row that is deleted at its old place and inserted at its new one. */
typedef struct LeafMove
{
	PoolFrame  *leaf;			/* the old place; latched exclusively, as all pages are */
	int			pos;
	const char *cell;			/* what the old cell becomes, and its shape */
	const RowShape *shape;
	PoolFrame  *version;		/* the page that the old version goes to, or NULL */
	const VersionRecordData *record;
	PoolFrame  *to;				/* the new place; may be the old one */
	const LeafAppend *append;	/* of one row */
	MapClear	clear;			/* prepared for both rows; ended here */
} LeafMove;

/* Releases all of its latches but the old place's. */
static inline void
leaf_move_unlatch_others(const LeafMove *move)
{
	if (move->version != NULL)
		pool_unlatch(move->version);
	if (move->to != move->leaf)
		pool_unlatch(move->to);
}

/* Both, and the version record, as one record.  All have room; all latches are released. */
extern void leaf_move(const RowTable *table, LeafMove *move);

/* ---- parts of records ---- */

/* Bytes that WAL has of an INSERT, a REPLACE, at most. */
#define INSERT_MAX_BYTES	(3 * BLCKSZ + 3072)
#define REPLACE_MAX_BYTES	(BLCKSZ + 512)

/*
 * What WAL has of an append to that page, of a replacement of that cell, in a record of xid; both
 * return its size.  They change nothing.  runs: what is repeated in a cell is left out; else the
 * record ends with all data of the last row.  *kept: data of the cell that are not in the record.
 */
extern Size insert_record(Page page, const LeafAppend *append, TransactionId xid, bool runs,
						  char *record);
extern Size replace_record(PoolFrame *leaf, int pos, const char *cell, const RowShape *shape,
						   const WalContext *context, char *record, LogicalKept *kept);

/*
 * What WAL has of the version record that goes to that page, `data`; returns its size.  *context
 * then knows where it is, and points to *delta if it is one.
 */
extern Size version_record(PoolFrame *version, const VersionRecordData *record,
						   WalContext *context, VersionDelta *delta, char *data);

/* Adds it to the record, as block 1. */
extern void log_version(PoolFrame *version, const char *data, Size size);

/* What redo needs of the page. */
extern WalNeed insert_need(const char *record);
extern WalNeed replace_need(const char *record);

/* What the record says, done; used by do and redo (WalApply). */
extern bool insert_apply(Page page, char *data, Size length, const WalContext *context);
extern bool replace_apply(Page page, char *data, Size length, const WalContext *context);

/* Where the data of the cell are, after the REPLACE. */
extern uint16 replace_data_offset(Page page, const char *record);

/* What it says, in words (describe.h); false: it makes no sense.  *_part: of a block reference. */
extern bool insert_describe(StringInfo buf, const char *record, Size length, TransactionId xid);
extern bool replace_describe(StringInfo buf, const char *record, Size length,
							 const WalContext *context);
extern bool insert_describe_part(StringInfo buf, XLogReaderState *record, uint8 block_id);
extern bool replace_describe_part(StringInfo buf, XLogReaderState *record, uint8 block_id);

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

/* Queues the rows that a record has of an INSERT. */
extern void insert_decode(const Decoding *decoding, const char *record, Size length);

extern void append_wal_init(void);
extern void move_wal_init(void);

#endif							/* ROWAN_ROW_LEAFOP_H */
