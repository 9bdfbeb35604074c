/*
 * codec.c
 *	  Rows as bytes: their cells (what is in the columns: columns.c).
 *
 * Takes no latches, writes no WAL, allocates nothing.  Cells may be hostile (a page that changes
 * meanwhile, a corrupt page): nothing is read outside the lengths that were handed in, and a length
 * that was checked is not read a second time.
 */
#include "postgres.h"

#include "row/codec.h"

#define META_FLAGS \
	(ROW_XID | ROW_CID | ROW_VERSION | ROW_LOCK | ROW_FORWARD | \
	 ROW_PAGE_XID | ROW_DELETED | ROW_SPECULATIVE)
#define DATA_FLAGS	(ROW_NULLS | ROW_ALIGNED | ROW_EXTERNAL)

/* the flags that bring a header field of constant size, the six lowest */
#define FIELD_FLAGS	0x003F

StaticAssertDecl((ROW_XID | ROW_CID | ROW_VERSION | ROW_LOCK | ROW_FORWARD | ROW_NATTS) == FIELD_FLAGS,
				 "header field flags are the low six bits");

/* Size of a header with these fields, null bitmap not counted. */
#define H1(f)	(4 + ((f) & 1 ? 4 : 0) + ((f) & 2 ? 4 : 0) + ((f) & 4 ? VERSION_POINTER_BYTES : 0) + \
				 ((f) & 8 ? 6 : 0) + ((f) & 16 ? 6 : 0) + ((f) & 32 ? 2 : 0))
#define H4(f)	H1(f), H1((f) + 1), H1((f) + 2), H1((f) + 3)
#define H16(f)	H4(f), H4((f) + 4), H4((f) + 8), H4((f) + 12)

static const uint8 header_sizes[FIELD_FLAGS + 1] = {H16(0), H16(16), H16(32), H16(48)};

StaticAssertDecl(H1(FIELD_FLAGS) <= ROW_MAX_HEADER, "ROW_MAX_HEADER holds every field");

#undef H1
#undef H4
#undef H16

static inline int
fields_size(uint16 flags)
{
	return header_sizes[flags & FIELD_FLAGS] - ((flags & ROW_CID_SHORT) ? ROW_CID_SAVED : 0);
}

static inline uint32
get_uint32(const char **p)
{
	uint32		v;

	memcpy(&v, *p, sizeof(v));
	*p += sizeof(v);
	return v;
}

static inline uint16
get_uint16(const char **p)
{
	uint16		v;

	memcpy(&v, *p, sizeof(v));
	*p += sizeof(v);
	return v;
}

static inline void
put_uint32(char **p, uint32 v)
{
	memcpy(*p, &v, sizeof(v));
	*p += sizeof(v);
}

static inline void
put_uint16(char **p, uint16 v)
{
	memcpy(*p, &v, sizeof(v));
	*p += sizeof(v);
}

static inline void
get_version_pointer(const char **p, BlockNumber *block, uint16 *offset)
{
	uint64		units = 0;

	for (int i = 0; i < VERSION_POINTER_BYTES; i++)
		units |= (uint64) (uint8) (*p)[i] << (8 * i);
	*block = (BlockNumber) (units / (BLCKSZ / VERSION_POINTER_UNIT));
	*offset = (units % (BLCKSZ / VERSION_POINTER_UNIT)) * VERSION_POINTER_UNIT;
	*p += VERSION_POINTER_BYTES;
}

void
row_version_pointer(char *pointer, BlockNumber block, uint16 offset)
{
	uint64		units = (uint64) block * (BLCKSZ / VERSION_POINTER_UNIT) + offset / VERSION_POINTER_UNIT;

	Assert(block < ROWAN_MAX_BLOCKS && offset % VERSION_POINTER_UNIT == 0);
	for (int i = 0; i < VERSION_POINTER_BYTES; i++)
		pointer[i] = (char) (units >> (8 * i));
}

RowHeaderParts
row_header_parts(const char *cell)
{
	RowHeaderData header;
	uint16		flags;
	int			at = sizeof(RowHeaderData);
	RowHeaderParts parts = {0};

	memcpy(&header, cell, sizeof(header));
	flags = row_header_flags(&header);
	if (flags & ROW_XID)
	{
		parts.xid_at = at;
		at += sizeof(TransactionId);
	}
	at += row_cid_size(flags);
	if (flags & ROW_VERSION)
		parts.pointer_at = at;
	return parts;
}

/*
 * Reads the fixed header once; the header's own size field is the caller's
 * business (it gave us `size`).
 */
static inline bool
read_flags(const char *cell, uint16 size, uint16 *flags, uint8 *tag)
{
	const volatile RowHeaderData *shared = (const volatile RowHeaderData *) cell;
	RowHeaderData header;

	if (size < sizeof(RowHeaderData))
		return false;
	header.size_flags = shared->size_flags;
	header.tag_flags = shared->tag_flags;
	*flags = row_header_flags(&header);
	*tag = row_header_tag(&header);
	return size >= fields_size(*flags);
}

static inline void
get_creator(const char **p, TransactionId *xid)
{
	*xid = get_uint32(p);
	*p += VERSION_POINTER_BYTES - sizeof(TransactionId);
}

static inline void
put_creator(char **p, TransactionId xid)
{
	put_uint32(p, xid);
	for (int i = sizeof(TransactionId); i < VERSION_POINTER_BYTES; i++)
		*(*p)++ = 0;
}

/* Who made it, if the page says so. */
static inline void
read_page_creator(uint16 flags, TransactionId page_xid, CommandId page_cid, RowMeta *meta)
{
	if (page_cid == PAGE_CID_FROZEN)
		meta->frozen_xid = page_xid;
	else if ((flags & ROW_XID) == 0)
	{
		meta->xid = page_xid;
		meta->cid = page_cid;
	}
}

/* Fills meta; returns where the fields known to it end. */
static inline const char *
read_meta(const char *cell, uint16 flags, uint8 tag, TransactionId page_xid,
		  CommandId page_cid, RowMeta *meta)
{
	const char *p = cell + sizeof(RowHeaderData);
	bool		deleted_frozen = (flags & ROW_DELETED_FROZEN) == ROW_DELETED_FROZEN;

	meta->flags = flags & META_FLAGS;
	if (deleted_frozen)
		meta->flags = (meta->flags & ~ROW_VERSION) | META_CREATOR;
	meta->tag = tag;
	meta->xid = InvalidTransactionId;
	meta->frozen_xid = InvalidTransactionId;
	meta->cid = FirstCommandId;
	meta->older_block = InvalidBlockNumber;
	meta->older_offset = 0;
	meta->lock_bits = 0;
	meta->lock_xid = InvalidTransactionId;
	meta->forward_block = InvalidBlockNumber;
	meta->forward_offset = 0;

	if (row_needs_page_xid(meta->flags))
		read_page_creator(flags, page_xid, page_cid, meta);
	if ((flags & (ROW_XID | ROW_CID | ROW_VERSION | ROW_LOCK | ROW_FORWARD)) == 0)
		return p;

	if (row_flags_frozen(flags))
		meta->frozen_xid = get_uint32(&p);
	else if (flags & ROW_XID)
		meta->xid = get_uint32(&p);
	if (flags & ROW_CID_SHORT)
		meta->cid = (uint8) *p++;
	else if (flags & ROW_CID)
		meta->cid = get_uint32(&p);
	if (deleted_frozen)
		get_creator(&p, &meta->frozen_xid);
	else if (flags & ROW_VERSION)
		get_version_pointer(&p, &meta->older_block, &meta->older_offset);
	if (flags & ROW_LOCK)
	{
		meta->lock_xid = get_uint32(&p);
		meta->lock_bits = get_uint16(&p);
	}
	if (flags & ROW_FORWARD)
	{
		meta->forward_block = get_uint32(&p);
		meta->forward_offset = get_uint16(&p);
	}
	Assert(!row_flags_frozen(flags) || !TransactionIdIsValid(meta->xid));	/* I-ROW-13 */
	return p;
}

bool
row_parse_meta(const char *cell, uint16 size, TransactionId page_xid,
			   CommandId page_cid, RowMeta *meta)
{
	uint16		flags;
	uint8		tag;

	if (!read_flags(cell, size, &flags, &tag))
		return false;
	read_meta(cell, flags, tag, page_xid, page_cid, meta);
	return true;
}

bool
row_parse_any(const char *cell, uint16 size, TransactionId page_xid, CommandId page_cid,
			  uint16 page_natts, RowMeta *meta, RowData *data)
{
	uint16		flags;
	uint8		tag;
	uint16		natts = page_natts;
	const char *p;
	Size		used;

	if (!read_flags(cell, size, &flags, &tag))
		return false;
	p = read_meta(cell, flags, tag, page_xid, page_cid, meta);
	if (flags & ROW_NATTS)
		natts = get_uint16(&p);
	if (natts > MaxHeapAttributeNumber)
		return false;

	data->natts = natts;
	data->flags = flags & DATA_FLAGS;
	data->nulls = NULL;
	used = p - cell;
	if (flags & ROW_NULLS)
	{
		data->nulls = (const bits8 *) p;
		used += row_nulls_size(natts);
	}
	if (flags & ROW_ALIGNED)
	{
		if (((uintptr_t) cell & 7) != 0)
			return false;
		used = TYPEALIGN(8, used);
	}
	if (used > size)
		return false;
	data->data = cell + used;
	data->size = size - used;
	return true;
}

static inline uint16
cell_flags(const RowMeta *meta, const RowData *data, uint16 page_natts)
{
	uint16		flags = (meta->flags & META_FLAGS) | (data->flags & DATA_FLAGS);

	Assert((flags & (ROW_XID | ROW_CID)) != ROW_CID || !row_flags_take_short_cid(flags));
	if (meta->flags & META_CREATOR)
		flags |= ROW_VERSION;
	if ((flags & ROW_CID) && (flags & ROW_XID) && row_flags_take_short_cid(flags) &&
		meta->cid <= ROW_CID_SHORT_MAX)
		flags |= ROW_CID_SHORT;
	if (data->natts != page_natts)
		flags |= ROW_NATTS;
	return flags;
}

static inline Size
cell_header_size(uint16 flags, uint16 natts)
{
	Size		size = fields_size(flags);

	if (flags & ROW_NULLS)
		size += row_nulls_size(natts);
	if (flags & ROW_ALIGNED)
		size = TYPEALIGN(8, size);
	return size;
}

uint16
row_cell_size(const RowMeta *meta, const RowData *data, uint16 page_natts)
{
	uint16		flags = cell_flags(meta, data, page_natts);
	Size		size = cell_header_size(flags, data->natts) + data->size;

	Assert(size <= ROW_SIZE_MASK);
	return (uint16) size;
}

RowShape
row_shape_of(const RowMeta *meta, const RowData *data, uint16 page_natts)
{
	return row_shape(cell_flags(meta, data, page_natts), data->natts,
					 row_cell_size(meta, data, page_natts));
}

void
row_write(char *dest, const RowMeta *meta, const RowData *data, uint16 page_natts)
{
	uint16		flags = cell_flags(meta, data, page_natts);
	Size		header_size = cell_header_size(flags, data->natts);
	Size		size = header_size + data->size;
	RowHeaderData header;
	char	   *p = dest;

	Assert(size <= ROW_SIZE_MASK);
	Assert((flags & ROW_ALIGNED) == 0 || ((uintptr_t) dest & 7) == 0);

	row_header_set(&header, (uint16) size, flags, meta->tag);
	memcpy(p, &header, sizeof(header));
	p += sizeof(header);
	if (flags & ROW_XID)
		put_uint32(&p, row_flags_frozen(flags) ? meta->frozen_xid : meta->xid);
	if (flags & ROW_CID_SHORT)
		*p++ = (char) meta->cid;
	else if (flags & ROW_CID)
		put_uint32(&p, meta->cid);
	if (meta->flags & META_CREATOR)
		put_creator(&p, meta->frozen_xid);
	else if (flags & ROW_VERSION)
	{
		row_version_pointer(p, meta->older_block, meta->older_offset);
		p += VERSION_POINTER_BYTES;
	}
	if (flags & ROW_LOCK)
	{
		put_uint32(&p, meta->lock_xid);
		put_uint16(&p, meta->lock_bits);
	}
	if (flags & ROW_FORWARD)
	{
		put_uint32(&p, meta->forward_block);
		put_uint16(&p, meta->forward_offset);
	}
	if (flags & ROW_NATTS)
		put_uint16(&p, data->natts);
	if (flags & ROW_NULLS)
	{
		memcpy(p, data->nulls, row_nulls_size(data->natts));
		p += row_nulls_size(data->natts);
	}
	while (p < dest + header_size)
		*p++ = 0;
	if (data->size > 0)
		memcpy(p, data->data, data->size);
}
