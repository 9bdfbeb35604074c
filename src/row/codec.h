/*
 * codec.h
 *	  Rows as bytes: parsing and writing the cell of a row, and turning column
 *	  values into row data and back.
 *
 * Pure functions over memory; no latches, no WAL.  Row data is what
 * follows a row's header fields (base/format.h):
 *
 *	- columns in declared order;
 *	- pass-by-value columns take attlen bytes, without alignment (copied with memcpy);
 *	- varlenas as heap stores them: short (1-byte header) wherever possible, unaligned; else, and for
 *	  fixed-length pass-by-reference types of attalign > 1, aligned by attalign
 *	  relative to the start of the data, pad bytes zero.  A row with any such value has ROW_ALIGNED, and its
 *	  data starts at a multiple of 8;
 *	- cstrings (attlen -2) with their terminating zero, unaligned;
 *	- NULLs and trailing missing columns take nothing.
 */
#ifndef ROWAN_ROW_CODEC_H
#define ROWAN_ROW_CODEC_H

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "base/format.h"
#include "base/row_shape.h"

/* Column values, encoded.  Pointers are borrowed: into a cell, a copy of it, or a buffer of the caller. */
typedef struct RowData
{
	uint16		natts;			/* attributes stored */
	uint16		flags;			/* ROW_NULLS, ROW_ALIGNED, ROW_EXTERNAL, nothing else */
	uint16		size;			/* bytes of data */
	const bits8 *nulls;			/* (natts + 7) / 8 bytes if ROW_NULLS, else NULL */
	const char *data;
} RowData;

/* Bytes of a null bitmap. */
static inline Size
row_nulls_size(int natts)
{
	return (natts + 7) / 8;
}

/*
 * In RowMeta.flags only, for ROW_DELETED_FROZEN, then without ROW_VERSION: a deletion that has no record of the version
 * deleted, whose creator is said by frozen_xid and not by the page.
 */
#define META_CREATOR	0x1000

/* The row needs its page's page_xid. */
static inline bool
row_needs_page_xid(uint16 meta_flags)
{
	return (meta_flags & ROW_PAGE_XID) != 0 && (meta_flags & META_CREATOR) == 0 &&
		!row_flags_frozen(meta_flags);
}

/* Everything else in a row's header. */
typedef struct RowMeta
{
	uint16		flags;			/* ROW_XID, _CID, _VERSION, _LOCK, _FORWARD, _PAGE_XID,
								 * _DELETED, _SPECULATIVE; META_CREATOR */
	uint8		tag;
	TransactionId xid;			/* creator (or deleter); Invalid = frozen.  row_parse fills it
								 * for ROW_PAGE_XID too */
	TransactionId frozen_xid;	/* creator of a frozen version, or of the one that was deleted;
								 * only to be shown: may be older than any xid that can be
								 * compared.  Invalid: unknown */
	CommandId	cid;
	BlockNumber older_block;	/* ROW_VERSION */
	uint16		older_offset;	/* a multiple of VERSION_POINTER_UNIT */
	uint16		lock_bits;		/* ROW_LOCK */
	TransactionId lock_xid;
	BlockNumber forward_block;	/* ROW_FORWARD: tid; ROW_SPECULATIVE: token */
	uint16		forward_offset;
} RowMeta;

/* What users see as xmin. */
static inline TransactionId
row_shown_xid(const RowMeta *meta)
{
	if (TransactionIdIsValid(meta->xid))
		return meta->xid;
	return TransactionIdIsValid(meta->frozen_xid) ? meta->frozen_xid : FrozenTransactionId;
}

/* Room for a copy of any cell, wherever it stands on its page. */
typedef union RowCellBuffer
{
	char		bytes[BLCKSZ + MAXIMUM_ALIGNOF];
	uint64		force_align;
} RowCellBuffer;

/* Copies a cell to dest (MAXALIGNed), where it is aligned as on its page; returns the copy. */
static inline char *
row_copy_cell(const char *cell, uint16 size, char *dest)
{
	dest += (uintptr_t) cell & (MAXIMUM_ALIGNOF - 1);
	memcpy(dest, cell, size);
	return dest;
}

/*
 * Splits a cell of `size` bytes into its parts, checking all lengths; false if the bytes make no sense.
 * page_* come from the trailer of the page the cell is (or was) on.
 */
static inline bool row_parse(const char *cell, uint16 size, TransactionId page_xid,
							 CommandId page_cid, uint16 page_natts, RowMeta *meta, RowData *data);

/* Only the meta part (cheaper: data not looked at). */
extern bool row_parse_meta(const char *cell, uint16 size, TransactionId page_xid,
						   CommandId page_cid, RowMeta *meta);

/* Size of the cell in bytes; with ROW_ALIGNED header padded to 8. */
extern uint16 row_cell_size(const RowMeta *meta, const RowData *data, uint16 page_natts);

/* Where in a cell's header the xid and the version pointer are; 0: not there. */
typedef struct RowHeaderParts
{
	uint8		xid_at;
	uint8		pointer_at;
} RowHeaderParts;

/* Looks only at the cell's first bytes (RowHeaderData). */
extern RowHeaderParts row_header_parts(const char *cell);

/* The bytes of a version pointer (VERSION_POINTER_BYTES). */
extern void row_version_pointer(char *pointer, BlockNumber block, uint16 offset);


/* The shape of that cell on such a page. */
extern RowShape row_shape_of(const RowMeta *meta, const RowData *data, uint16 page_natts);

/*
 * Writes the cell (row_cell_size bytes, all of them: pad bytes are zero) to dest.  dest must be 8-byte aligned if
 * ROW_ALIGNED; must not overlap data->data.
 */
extern void row_write(char *dest, const RowMeta *meta, const RowData *data, uint16 page_natts);

/* Largest possible sum of nulls and data: a cell with every header field fits on an empty leaf. */
#define ROW_MAX_HEADER	40
#define ROW_MAX_DATA	(ROWAN_PAGE_ROOM - sizeof(SlotData) - 8 - ROW_MAX_HEADER)

/* ---- columns.c ---- */

/*
 * How to find the columns of a row type; made once per slot or scan, in the current
 * memory context.
 */
typedef struct RowLayout
{
	TupleDesc	desc;
	int			natts;
	int			nfixed;			/* leading columns at constant offsets when no NULLs */
	bool		has_aligned_fixed;	/* any fixed-length by-reference column of attalign > 1 */

	/*
	 * The catalog does not tell whether dropped columns were passed by value: here all of those
	 * are taken for such, in this one none.  Each row tells which it was made by.  NULL: it is
	 * known.
	 */
	struct RowLayout *by_catalog;
	struct RowColumn
	{
		int16		len;		/* attlen */
		uint8		align;		/* bytes: 1, 2, 4, 8 */
		bool		byval;
		uint16		offset;		/* from the data's start, for the first nfixed columns */
		uint8		shift;		/* byval: unused high bits of a 64-bit load */
		bool		packable;	/* varlena that may get a 1-byte header */
	}			columns[FLEXIBLE_ARRAY_MEMBER];
} RowLayout;

extern RowLayout *row_layout_create(TupleDesc desc);

/*
 * Encoded size of the values (data and null bitmap, bytes).  Flags as in
 * RowData.  Values must be flat (expanded objects are flattened by row_encode: their
 * flat size counts).
 */
extern Size row_encoded_size(const RowLayout *layout, const Datum *values, const bool *isnull,
							 uint16 *flags);

/* Bytes that row_encode needs for values of that row_encoded_size. */
static inline Size
row_encode_room(const RowLayout *layout, Size encoded_size)
{
	return MAXALIGN(row_nulls_size(layout->natts)) + MAXALIGN(encoded_size);
}

/*
 * Encodes the values into dest (MAXALIGNed, row_encode_room bytes: the data rounded up to MAXALIGN, with room for the
 * bitmap padded to 8 in front) and points *row into it.
 */
extern void row_encode(const RowLayout *layout, const Datum *values, const bool *isnull,
					   char *dest, RowData *row);

/*
 * Decodes columns [from, to) into values/isnull; pass-by-reference values point into row->data.
 * *offset: state between calls (0 at first), as slot_deform_heap_tuple's slow/off.
 * Columns at or beyond row->natts are left alone (the caller fills missing values).
 * Never reads outside row->data; false if the bytes make no sense.
 */
extern bool row_decode(const RowLayout *layout, const RowData *row, int from, int to,
					   uint32 *offset, Datum *values, bool *isnull);

/* ---- the commonest rows, inline ---- */

extern bool row_parse_any(const char *cell, uint16 size, TransactionId page_xid,
						  CommandId page_cid, uint16 page_natts, RowMeta *meta, RowData *data);

/* What may be set in the header of a row that nobody has touched since it was inserted, without NULLs. */
#define ROW_PLAIN_TAG_FLAGS	(ROW_TAG_MAX | (ROW_PAGE_XID << 7))

static inline bool
row_parse(const char *cell, uint16 size, TransactionId page_xid, CommandId page_cid,
		  uint16 page_natts, RowMeta *meta, RowData *data)
{
	uint16		tag_flags;
	bool		is_page_xid,
				frozen;

	if (size < sizeof(RowHeaderData) || page_natts > MaxHeapAttributeNumber)
		return row_parse_any(cell, size, page_xid, page_cid, page_natts, meta, data);
	tag_flags = ((const volatile RowHeaderData *) cell)->tag_flags;
	if ((tag_flags & ~ROW_PLAIN_TAG_FLAGS) != 0 ||
		(((const volatile RowHeaderData *) cell)->size_flags & ~ROW_SIZE_MASK) != 0)
		return row_parse_any(cell, size, page_xid, page_cid, page_natts, meta, data);

	is_page_xid = (tag_flags & (ROW_PAGE_XID << 7)) != 0;
	meta->flags = is_page_xid ? ROW_PAGE_XID : 0;
	meta->tag = tag_flags & ROW_TAG_MAX;
	frozen = page_cid == PAGE_CID_FROZEN;
	meta->xid = is_page_xid && !frozen ? page_xid : InvalidTransactionId;
	meta->frozen_xid = is_page_xid && frozen ? page_xid : InvalidTransactionId;
	meta->cid = is_page_xid && !frozen ? page_cid : FirstCommandId;
	meta->older_block = InvalidBlockNumber;
	meta->older_offset = 0;
	meta->lock_bits = 0;
	meta->lock_xid = InvalidTransactionId;
	meta->forward_block = InvalidBlockNumber;
	meta->forward_offset = 0;
	data->natts = page_natts;
	data->flags = 0;
	data->size = size - sizeof(RowHeaderData);
	data->nulls = NULL;
	data->data = cell + sizeof(RowHeaderData);
	return true;
}

#endif							/* ROWAN_ROW_CODEC_H */
