/*
 * cell.c
 *	  Cells of index pages: bytes to index tuples and back (format.h has the format).
 *
 * Pure functions over bytes, without latches or allocation.  Decoding checks every length against
 * the cell's and the buffer's end: the page may be changing meanwhile, and what comes out is
 * believed only after that was ruled out.
 */
#include "postgres.h"

#include "access/tupmacs.h"
#include "base/bytes.h"
#include "entry/posting.h"

/* Zeroes at a payload's end that may be left out: the tuple's size is a multiple of 8. */
#define MAX_STRIPPED	7

#define SEPARATOR_HEADER	8	/* size, control, columns, child */
#define SEPARATOR_CHILD		4
#define POSTING_HEADER		10	/* behind size and control: number, bytes, last TID */
#define MAX_PREFIX			255

static inline uint16
get_u16(const char *from)
{
	uint16		value;

	memcpy(&value, from, sizeof(value));
	return value;
}

/* ---- decoding ---- */

typedef struct CellReader
{
	const char *at;
	const char *end;
	uint16		size_flags;
	uint8		control;
	int			prefix;
} CellReader;

static inline bool
read_separator(CellReader *reader, IndexItem *item)
{
	if (reader->end - reader->at < SEPARATOR_HEADER - 3)
		return false;
	item->natts = (uint8) *reader->at++;
	item->is_infinite = item->natts == INDEX_INFINITE;
	if (item->is_infinite)
		item->natts = 0;
	memcpy(&item->child, reader->at, sizeof(BlockNumber));
	reader->at += sizeof(BlockNumber);
	item->has_tid = (reader->control & CELL_TID) != 0;
	memset(&item->tid, 0, sizeof(item->tid));
	if (item->has_tid)
	{
		if (reader->end - reader->at < (int) sizeof(ItemPointerData))
			return false;
		memcpy(&item->tid, reader->at, sizeof(ItemPointerData));
		reader->at += sizeof(ItemPointerData);
	}
	return true;
}

static pg_noinline bool
read_posting(CellReader *reader, IndexItem *item)
{
	BlockNumber block = 0;
	OffsetNumber offset = 0;

	if (reader->end - reader->at < POSTING_HEADER)
		return false;
	item->ntids = get_u16(reader->at);
	item->posting_size = get_u16(reader->at + 2);
	memcpy(&item->last_tid, reader->at + 4, sizeof(ItemPointerData));
	item->posting = reader->at + POSTING_HEADER;
	if (item->ntids < 2 || item->posting_size > reader->end - item->posting)
		return false;
	reader->at = item->posting + item->posting_size;
	if (posting_get(item->posting, reader->at, &block, &offset) == NULL)
		return false;
	entry_set_tid(&item->tid, block, offset);
	return true;
}

/* Reads 8 bytes from a place within a cell on: they may go on into the page's trailer. */
static pg_attribute_always_inline bool
read_single(CellReader *reader, BlockNumber *block, OffsetNumber *offset)
{
	int			block_bytes = (reader->control & CELL_BLOCK_BYTES) + 1;
	int			offset_bytes = reader->control & CELL_WIDE_OFFSET ? 2 : 1;
	uint64		bytes;

	if (reader->end - reader->at < block_bytes + offset_bytes)
		return false;
	memcpy(&bytes, reader->at, sizeof(bytes));
	*block = bytes & (PG_UINT32_MAX >> (32 - 8 * block_bytes));
	*offset = (bytes >> (8 * block_bytes)) & (offset_bytes == 2 ? 0xFFFF : 0xFF);
	reader->at += block_bytes + offset_bytes;
	return true;
}

static pg_attribute_always_inline bool
read_entry(CellReader *reader, const KeyDesc *keys, IndexItem *item)
{
	BlockNumber block;
	OffsetNumber offset;

	item->natts = keys->natts;
	item->has_tid = true;
	if (reader->size_flags & CELL_POSTING)
		return read_posting(reader, item);
	if (!read_single(reader, &block, &offset))
		return false;
	entry_set_tid(&item->tid, block, offset);
	entry_set_tid(&item->last_tid, block, offset);
	return true;
}

/*
 * Copies n bytes, mostly few.  More than n may be read and written: what is read lies on a page below its trailer, which is at least
 * that long; what is written is a tuple's buffer, with room to spare.
 */
static inline void
copy_bytes(char *to, const char *from, int n)
{
	StaticAssertStmt(INDEX_TUPLE_SPARE >= 64 && sizeof(PageTrailerData) >= 64, "room to spare");
	if (n <= 16)
		memcpy(to, from, 16);
	else if (n <= 64)
		memcpy(to, from, 64);
	else
		memcpy(to, from, n);
}

/* Where a column without a fixed length that begins at `at` ends; beyond `end`: it makes no sense. */
static Size
varying_end(Form_pg_attribute column, const char *tuple, Size at, Size end)
{
	const char *value = tuple + at;

	if (at >= end)
		return end + 1;
	if (column->attlen == -2)
		return at + strnlen(value, end - at) + 1;
	/* values are never out of line here */
	if (VARATT_IS_1B(value))
		return VARATT_IS_EXTERNAL(value) ? end + 1 : at + VARSIZE_1B(value);
	if (end - at < VARHDRSZ || VARSIZE_4B(value) < VARHDRSZ)
		return end + 1;
	return at + VARSIZE_4B(value);
}

static bool
walk_columns(const KeyDesc *keys, IndexTuple tuple, int natts)
{
	bool		has_nulls = IndexTupleHasNulls(tuple);
	Size		at = IndexInfoFindDataOffset(tuple->t_info);
	Size		end = IndexTupleSize(tuple);
	const char *bytes = (const char *) tuple;

	for (int i = 0; i < natts && at <= end; i++)
	{
		Form_pg_attribute column = TupleDescAttr(keys->desc, i);

		if (has_nulls && att_isnull(i, (const bits8 *) bytes + sizeof(IndexTupleData)))
			continue;
		if (column->attlen > 0)
			at = att_align_nominal(at, column->attalign) + column->attlen;
		else if (at < end)
			at = varying_end(column, bytes, att_align_pointer(at, column->attalign, column->attlen, bytes + at), end);
		else
			return false;
	}
	return at <= end;
}

/*
 * The columns lie within the tuple.  Comparison functions and whoever gets the tuple follow its lengths without looking.
 */
static inline bool
columns_fit(const KeyDesc *keys, IndexTuple tuple, int natts)
{
	CompactAttribute *last;

	if (natts == 0)
		return true;
	if (natts > keys->natts)
		return false;
	last = TupleDescCompactAttr(keys->desc, natts - 1);
	/* core remembers an offset if all columns before have a fixed length */
	if (!IndexTupleHasNulls(tuple) && last->attcacheoff >= 0 && last->attlen > 0)
		return sizeof(IndexTupleData) + last->attcacheoff + last->attlen <= IndexTupleSize(tuple);
	return walk_columns(keys, tuple, natts);
}

/* The payload behind an IndexTuple's header in buffer; the tuple ends in zeroes. */
static pg_attribute_always_inline bool
read_payload(const CellReader *reader, const KeyDesc *keys, const CellPrefix *prefix,
			 IndexItem *item, char *buffer)
{
	int			suffix = reader->end - reader->at;
	int			size = suffix + reader->prefix;
	char	   *to = buffer + sizeof(IndexTupleData);

	if (size > INDEX_MAX_TUPLE || (reader->prefix > 0 && suffix < 1))
		return false;
	if (reader->prefix > 0)
	{
		if (prefix == NULL || prefix->size < reader->prefix + 1)
			return false;
		*to = *reader->at;
		copy_bytes(to + 1, prefix->bytes + 1, reader->prefix);
		copy_bytes(to + 1 + reader->prefix, reader->at + 1, suffix - 1);
	}
	else
		copy_bytes(to, reader->at, suffix);
	memset(to + size, 0, MAXIMUM_ALIGNOF);
	item->tuple = (IndexTuple) buffer;
	item->tuple->t_tid = item->tid;
	item->tuple->t_info = MAXALIGN(sizeof(IndexTupleData) + size) |
		(reader->size_flags & CELL_NULLS ? INDEX_NULL_MASK : 0) |
		(keys->var_width ? INDEX_VAR_MASK : 0);
	/* rowan.page_items looks at cells without knowing the index */
	return keys->desc == NULL || columns_fit(keys, item->tuple, item->natts);
}

static pg_attribute_always_inline bool
open_cell(CellReader *reader, Page page, int pos)
{
	uint16		size;
	const char *cell = page_cell(page, pos, &size);

	if (cell == NULL)
		return false;
	reader->size_flags = get_u16(cell);
	reader->control = (uint8) cell[2];
	reader->at = cell + 3;
	reader->end = cell + size;
	reader->prefix = 0;
	return true;
}

bool
cell_decode(const KeyDesc *keys, Page page, const CellPrefix *prefix, int pos, IndexItem *item,
			char *buffer)
{
	CellReader	reader;

	if (!open_cell(&reader, page, pos))
		return false;
	item->has_tid = item->is_infinite = false;
	item->child = InvalidBlockNumber;
	item->ntids = 1;
	item->posting = NULL;
	item->posting_size = 0;
	item->is_separator = (reader.control & CELL_SEPARATOR) != 0;
	item->is_dead = ipage_is_dead(page, pos);
	if (item->is_separator ? !read_separator(&reader, item) :
		!read_entry(&reader, keys, item))
		return false;
	if (reader.control & CELL_PREFIX)
	{
		if (reader.at >= reader.end)
			return false;
		reader.prefix = (uint8) *reader.at++;
	}
	return read_payload(&reader, keys, prefix, item, buffer);
}

/* Behind the TIDs: prefix length and payload. */
static bool
skip_tids(CellReader *reader)
{
	BlockNumber block;
	OffsetNumber offset;

	if ((reader->size_flags & CELL_POSTING) == 0)
		return read_single(reader, &block, &offset);
	if (reader->end - reader->at < POSTING_HEADER + get_u16(reader->at + 2))
		return false;
	reader->at += POSTING_HEADER + get_u16(reader->at + 2);
	return true;
}

bool
cell_same_columns(Page page, int a, int b)
{
	CellReader	x,
				y;
	int			common;

	if (!open_cell(&x, page, a) || !open_cell(&y, page, b) || !skip_tids(&x) || !skip_tids(&y) ||
		((x.size_flags ^ y.size_flags) & CELL_NULLS) || ((x.control ^ y.control) & CELL_PREFIX))
		return false;
	common = Min(x.end - x.at, y.end - y.at);
	if (memcmp(x.at, y.at, common) != 0)
		return false;
	/* one of them may have a zero more, to make its size even */
	for (int i = common; i < x.end - x.at; i++)
		if (x.at[i] != 0)
			return false;
	for (int i = common; i < y.end - y.at; i++)
		if (y.at[i] != 0)
			return false;
	return true;
}

/* Bytes that an entry's columns take. */
int
cell_columns_bytes(Page page, int pos)
{
	CellReader	reader;

	return open_cell(&reader, page, pos) && skip_tids(&reader) ? reader.end - reader.at : 0;
}

/* The last TID of an entry; false: bytes make no sense. */
bool
cell_last_tid(Page page, int pos, ItemPointer last)
{
	CellReader	reader;
	BlockNumber block;
	OffsetNumber offset;

	if (!open_cell(&reader, page, pos) || (reader.control & CELL_SEPARATOR))
		return false;
	if (reader.size_flags & CELL_POSTING)
	{
		if (reader.end - reader.at < POSTING_HEADER)
			return false;
		memcpy(last, reader.at + 4, sizeof(ItemPointerData));
		return true;
	}
	if (!read_single(&reader, &block, &offset))
		return false;
	entry_set_tid(last, block, offset);
	return true;
}

bool
cell_single_tid(Page page, int pos, ItemPointer tid, bool *is_dead)
{
	CellReader	reader;
	BlockNumber block;
	OffsetNumber offset;

	if (!open_cell(&reader, page, pos) || (reader.size_flags & CELL_POSTING) ||
		(reader.control & CELL_SEPARATOR) || !read_single(&reader, &block, &offset))
		return false;
	*is_dead = ipage_is_dead(page, pos);
	entry_set_tid(tid, block, offset);
	return true;
}

void
cell_prefix(Page page, CellPrefix *prefix)
{
	CellReader	reader;
	IndexItem	item;

	prefix->size = 0;
	if (page_nslots(page) > SLOT_LOW_FENCE && open_cell(&reader, page, SLOT_LOW_FENCE) &&
		(reader.control & (CELL_SEPARATOR | CELL_PREFIX)) == CELL_SEPARATOR &&
		read_separator(&reader, &item) && (reader.size_flags & CELL_NULLS) == 0)
	{
		prefix->bytes = reader.at;
		prefix->size = reader.end - reader.at;
	}
}

void
cell_set_child(Page page, int pos, BlockNumber child)
{
	uint16		size;
	char	   *cell = page_cell(page, pos, &size);

	Assert(cell != NULL && size >= SEPARATOR_HEADER);
	memcpy(cell + SEPARATOR_CHILD, &child, sizeof(child));
}

/* ---- encoding ---- */

typedef struct CellPlan
{
	const char *payload;
	int			payload_size;
	int			prefix;
	int			block_bytes;
	int			posting_bytes;
	uint8		control;
} CellPlan;

static void
plan_payload(CellPlan *plan, const CellPrefix *prefix, const CellSource *source)
{
	int			limit;

	plan->payload = NULL;
	plan->payload_size = plan->prefix = 0;
	if (source->tuple == NULL)
		return;
	plan->payload = (const char *) source->tuple + sizeof(IndexTupleData);
	plan->payload_size = IndexTupleSize(source->tuple) - sizeof(IndexTupleData);
	for (int i = 0; i < MAX_STRIPPED && plan->payload_size > 0 &&
		 plan->payload[plan->payload_size - 1] == 0; i++)
		plan->payload_size--;
	if (prefix == NULL || IndexTupleHasNulls(source->tuple))
		return;
	limit = Min(Min(prefix->size, plan->payload_size) - 1, MAX_PREFIX);
	plan->prefix = common_prefix(prefix->bytes + 1, plan->payload + 1, limit);
	if (plan->prefix <= 1)
		plan->prefix = 0;
}

static int
plan_cell(CellPlan *plan, const CellPrefix *prefix, const CellSource *source)
{
	int			size = 3;

	plan->block_bytes = plan->posting_bytes = 0;
	plan_payload(plan, prefix, source);
	plan->control = plan->prefix > 0 ? CELL_PREFIX : 0;
	if (source->is_separator)
	{
		plan->control |= CELL_SEPARATOR | (source->has_tid ? CELL_TID : 0);
		size = SEPARATOR_HEADER + (source->has_tid ? (int) sizeof(ItemPointerData) : 0);
	}
	else if (source->ntids > 1)
	{
		plan->posting_bytes = source->posting != NULL ? source->posting_size :
			posting_list_size(source->tids, source->ntids);
		size += POSTING_HEADER + plan->posting_bytes;
	}
	else
	{
		BlockNumber block = ItemPointerGetBlockNumberNoCheck(source->tids);
		bool		wide = ItemPointerGetOffsetNumberNoCheck(source->tids) > 0xFF;

		plan->block_bytes = block < 1 << 8 ? 1 : block < 1 << 16 ? 2 : block < 1 << 24 ? 3 : 4;
		plan->control |= (plan->block_bytes - 1) | (wide ? CELL_WIDE_OFFSET : 0);
		size += plan->block_bytes + (wide ? 2 : 1);
	}
	size += plan->payload_size - plan->prefix + (plan->prefix > 0 ? 1 : 0);
	return size + (size & 1);
}

static char *
put_separator(char *to, const CellSource *source)
{
	*to++ = (char) (source->is_infinite ? INDEX_INFINITE : source->natts);
	memcpy(to, &source->child, sizeof(BlockNumber));
	to += sizeof(BlockNumber);
	if (source->has_tid)
	{
		memcpy(to, source->tids, sizeof(ItemPointerData));
		to += sizeof(ItemPointerData);
	}
	return to;
}

static char *
put_list(char *to, const CellPlan *plan, const CellSource *source)
{
	uint16		counts[2] = {source->ntids, plan->posting_bytes};
	const ItemPointerData *last = source->posting != NULL ? &source->last_tid :
		&source->tids[source->ntids - 1];

	memcpy(to, counts, sizeof(counts));
	memcpy(to + sizeof(counts), last, sizeof(ItemPointerData));
	to += POSTING_HEADER;
	if (source->posting == NULL)
		return posting_put_list(to, source->tids, source->ntids);
	memcpy(to, source->posting, source->posting_size);
	return to + source->posting_size;
}

static char *
put_entry(char *to, const CellPlan *plan, const CellSource *source)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(source->tids);
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(source->tids);

	if (source->ntids > 1)
		return put_list(to, plan, source);
	memcpy(to, &block, plan->block_bytes);
	to += plan->block_bytes;
	memcpy(to, &offset, plan->control & CELL_WIDE_OFFSET ? 2 : 1);
	return to + (plan->control & CELL_WIDE_OFFSET ? 2 : 1);
}

int
cell_encode(const CellPrefix *prefix, const CellSource *source, char *dest)
{
	CellPlan	plan;
	int			size = plan_cell(&plan, prefix, source);
	uint16		size_flags = size;
	char	   *to = dest;

	if (dest == NULL || size > CELL_MAX)
		return size;
	if (source->tuple != NULL && IndexTupleHasNulls(source->tuple))
		size_flags |= CELL_NULLS;
	if (!source->is_separator && source->ntids > 1)
		size_flags |= CELL_POSTING;
	memcpy(to, &size_flags, sizeof(size_flags));
	to[2] = (char) plan.control;
	to += 3;
	to = source->is_separator ? put_separator(to, source) : put_entry(to, &plan, source);
	if (plan.prefix > 0)
	{
		*to++ = (char) plan.prefix;
		*to++ = plan.payload[0];
		memcpy(to, plan.payload + 1 + plan.prefix, plan.payload_size - 1 - plan.prefix);
		to += plan.payload_size - 1 - plan.prefix;
	}
	else if (plan.payload_size > 0)
	{
		memcpy(to, plan.payload, plan.payload_size);
		to += plan.payload_size;
	}
	if (to < dest + size)
		*to++ = 0;
	Assert(to == dest + size);
	return size;
}
