/*
 * posting.c
 *	  Posting lists: the TIDs of equal keys, each behind the one before it (format.h).
 *
 * Pure functions over bytes, without latches or allocation; reading checks every length.
 */
#include "postgres.h"

#include "entry/posting.h"

/* A TID behind the one before it. */
static inline int
next_tid_size(const ItemPointerData *before, const ItemPointerData *tid)
{
	BlockNumber from = ItemPointerGetBlockNumberNoCheck(before);
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);

	if (block == from)
		return varint_size((uint64) (offset - ItemPointerGetOffsetNumberNoCheck(before)) << 1);
	return varint_size((uint64) (block - from) << 1 | 1) + varint_size(offset);
}

static inline char *
put_next_tid(char *to, const ItemPointerData *before, const ItemPointerData *tid)
{
	BlockNumber from = ItemPointerGetBlockNumberNoCheck(before);
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);

	if (block == from)
		return varint_put(to, (uint64) (offset - ItemPointerGetOffsetNumberNoCheck(before)) << 1);
	return varint_put(varint_put(to, (uint64) (block - from) << 1 | 1), offset);
}

/* What the first TID follows. */
static const ItemPointerData nothing = {{0, 0}, 0};

int
posting_list_size(const ItemPointerData *tids, int ntids)
{
	int			size = next_tid_size(&nothing, &tids[0]);

	for (int i = 1; i < ntids; i++)
		size += next_tid_size(&tids[i - 1], &tids[i]);
	return size;
}

char *
posting_put_list(char *to, const ItemPointerData *tids, int ntids)
{
	to = put_next_tid(to, &nothing, &tids[0]);
	for (int i = 1; i < ntids; i++)
		to = put_next_tid(to, &tids[i - 1], &tids[i]);
	return to;
}

void
posting_begin(const IndexItem *item, PostingReader *reader)
{
	reader->at = item->posting;
	reader->end = item->posting + item->posting_size;
	reader->block = 0;
	reader->offset = 0;
}

/*
 * posting_get for the lengths that are common, without branches: whether the block is another one,
 * and whether the offset takes one byte or two, is not to be foreseen.  NULL: other lengths, or the
 * end is near.
 */
static pg_attribute_always_inline const char *
get_fast(const char *from, const char *end, BlockNumber *block, OffsetNumber *offset)
{
	uint8		first,
				low,
				high;
	uint32		other,
				two;
	uint32		value;

	if (end - from < 3)
		return NULL;
	first = (uint8) from[0];
	low = (uint8) from[1];
	high = (uint8) from[2];
	other = first & 1;
	two = low >> 7;
	if ((first & 0x80) | (other & two & (high >> 7)))
		return NULL;
	value = (low & 0x7F) | ((high << 7) & -two);
	*block += (first >> 1) & -other;
	*offset = (value & -other) | ((*offset + (first >> 1)) & (other - 1));
	return from + 1 + other + (other & two);
}

/* The next n TIDs; false: bytes make no sense. */
bool
posting_read(PostingReader *reader, ItemPointerData *tids, int n)
{
	const char *at = reader->at;
	BlockNumber block = reader->block;
	OffsetNumber offset = reader->offset;

	for (int i = 0; i < n; i++)
	{
		const char *next = get_fast(at, reader->end, &block, &offset);

		if (unlikely(next == NULL))
			next = posting_get(at, reader->end, &block, &offset);
		if (next == NULL)
			return false;
		at = next;
		entry_set_tid(&tids[i], block, offset);
	}
	reader->at = at;
	reader->block = block;
	reader->offset = offset;
	return true;
}

bool
cell_tids(const IndexItem *item, ItemPointerData *tids)
{
	PostingReader reader;

	if (item->posting == NULL)
	{
		tids[0] = item->tid;
		return true;
	}
	posting_begin(item, &reader);
	return posting_read(&reader, tids, item->ntids);
}

/* ---- making posting lists ---- */

void
posting_start(PostingBuilder *builder)
{
	builder->ntids = builder->size = 0;
	builder->last = nothing;
}

/* What follows a list's first TID: the same bytes wherever the list is added. */
static const char *
rest_of_list(const IndexItem *item, int *size)
{
	BlockNumber block = 0;
	OffsetNumber offset = 0;
	const char *end = item->posting + item->posting_size;
	const char *rest;

	*size = 0;
	if (item->ntids == 1)
		return NULL;
	rest = posting_get(item->posting, end, &block, &offset);
	if (rest != NULL)
		*size = end - rest;
	return rest;
}

int
posting_size_with(const PostingBuilder *builder, const IndexItem *item)
{
	int			rest;

	(void) rest_of_list(item, &rest);
	return builder->size + next_tid_size(&builder->last, &item->tid) + rest;
}

void
posting_add(PostingBuilder *builder, const IndexItem *item)
{
	char	   *to = builder->bytes + builder->size;
	int			size;
	const char *rest = rest_of_list(item, &size);

	Assert(posting_size_with(builder, item) <= (int) sizeof(builder->bytes));
	if (builder->ntids == 0)
		builder->first = item->tid;
	to = put_next_tid(to, &builder->last, &item->tid);
	if (size > 0)
		memcpy(to, rest, size);
	builder->size = to + size - builder->bytes;
	builder->ntids += item->ntids;
	builder->last = item->last_tid;
}

void
posting_source(const PostingBuilder *builder, CellSource *source)
{
	source->tids = &builder->first;
	source->ntids = builder->ntids;
	source->posting = builder->bytes;
	source->posting_size = builder->size;
	source->last_tid = builder->last;
}
