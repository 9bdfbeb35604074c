/*
 * test_codec.c
 *	  Rows as bytes: parse, write, encode, decode; without a server.  Prints TAP.
 *
 * Compiled with the address and undefined-behaviour sanitizers: hostile bytes lie
 * in allocations of exactly their length, so that a read beyond them is a
 * failure.
 */
#include "postgres.h"

#undef printf
#undef fprintf
#include <stdio.h>
#include <stdlib.h>

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "core.h"
#include "row/codec.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"

/* ---- what codec.c needs of a server ---- */

void *
palloc0(Size size)
{
	return calloc(1, size);
}

/* An expanded object of this test: flattens to a varlena of n bytes 'x'. */
typedef struct TestExpanded
{
	ExpandedObjectHeader hdr;
	Size		flat_size;
} TestExpanded;

ExpandedObjectHeader *
DatumGetEOHP(Datum d)
{
	varatt_expanded ptr;

	memcpy(&ptr, VARDATA_EXTERNAL(DatumGetPointer(d)), sizeof(ptr));
	return ptr.eohptr;
}

Size
EOH_get_flat_size(ExpandedObjectHeader *eohptr)
{
	return ((TestExpanded *) eohptr)->flat_size;
}

void
EOH_flatten_into(ExpandedObjectHeader *eohptr, void *result, Size allocated_size)
{
	memset(result, 'x', allocated_size);
	SET_VARSIZE(result, allocated_size);
}

bool
errstart(int elevel, const char *domain)
{
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return true;
}

int
errmsg_internal(const char *fmt,...)
{
	fprintf(stderr, "# error: %s\n", fmt);
	return 0;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	abort();
}

void
ExceptionalCondition(EXCEPTION_PARAMETERS)
{
	fprintf(stderr, "# assertion failed: %s, %s:%d\n", conditionName, fileName, lineNumber);
	abort();
}

/* ---- TAP ---- */

static int	tests_run = 0;
static int	tests_failed = 0;

static void
ok(bool condition, const char *what)
{
	tests_run++;
	if (!condition)
		tests_failed++;
	printf("%sok %d - %s\n", condition ? "" : "not ", tests_run, what);
}

/* ---- random row types and values ---- */

static uint64 random_state = 88172645463325252ULL;

static uint32
rnd(uint32 n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32) (random_state >> 16) % n;
}

typedef struct TestType
{
	int16		len;
	bool		byval;
	char		align;
	char		storage;
} TestType;

static const TestType test_types[] = {
	{1, true, TYPALIGN_CHAR, TYPSTORAGE_PLAIN}, /* bool, "char" */
	{2, true, TYPALIGN_SHORT, TYPSTORAGE_PLAIN},	/* int2 */
	{4, true, TYPALIGN_INT, TYPSTORAGE_PLAIN},	/* int4 */
	{8, true, TYPALIGN_DOUBLE, TYPSTORAGE_PLAIN},	/* int8 */
	{6, false, TYPALIGN_SHORT, TYPSTORAGE_PLAIN},	/* tid */
	{6, false, TYPALIGN_INT, TYPSTORAGE_PLAIN}, /* macaddr */
	{16, false, TYPALIGN_CHAR, TYPSTORAGE_PLAIN},	/* uuid */
	{16, false, TYPALIGN_DOUBLE, TYPSTORAGE_PLAIN}, /* interval */
	{64, false, TYPALIGN_CHAR, TYPSTORAGE_PLAIN},	/* name */
	{-1, false, TYPALIGN_INT, TYPSTORAGE_EXTENDED}, /* text */
	{-1, false, TYPALIGN_INT, TYPSTORAGE_PLAIN},	/* int2vector */
	{-1, false, TYPALIGN_DOUBLE, TYPSTORAGE_EXTENDED},	/* int8[] */
	{-2, false, TYPALIGN_CHAR, TYPSTORAGE_PLAIN}	/* cstring */
};

#define MAX_TEST_COLUMNS	40

static TupleDesc
make_desc(int natts, const int *types)
{
	TupleDesc	desc = calloc(1, TUPLE_DESC_SIZE(natts + 1));

	desc->natts = natts;
	for (int i = 0; i < natts; i++)
	{
		const TestType *type = &test_types[types[i]];
		Form_pg_attribute att = TupleDescAttr(desc, i);

		att->attlen = type->len;
		att->attbyval = type->byval;
		att->attalign = type->align;
		att->attstorage = type->storage;
	}
	return desc;
}

static void
fill_random(char *p, Size n)
{
	for (Size i = 0; i < n; i++)
		p[i] = (char) rnd(256);
}

static Datum
random_byval(int len)
{
	uint64		v = ((uint64) rnd(65536) << 48) | ((uint64) rnd(65536) << 32) |
		((uint64) rnd(65536) << 16) | rnd(65536);

	switch (len)
	{
		case 1:
			return CharGetDatum((char) v);
		case 2:
			return Int16GetDatum((int16) v);
		case 4:
			return Int32GetDatum((int32) v);
		default:
			return (Datum) v;
	}
}

static Datum
random_varlena(void)
{
	Size		n = rnd(4) == 0 ? rnd(300) : rnd(40);
	char	   *p;

	switch (rnd(10))
	{
		case 0:					/* compressed inline */
			p = malloc(VARHDRSZ_COMPRESSED + n);
			fill_random(p, VARHDRSZ_COMPRESSED + n);
			SET_VARSIZE_COMPRESSED(p, VARHDRSZ_COMPRESSED + n);
			break;
		case 1:					/* toast pointer */
			n = VARHDRSZ_EXTERNAL + sizeof(varatt_external);
			p = malloc(n);
			fill_random(p, n);
			SET_VARTAG_EXTERNAL(p, VARTAG_ONDISK);
			break;
		case 2:					/* short already */
			n = rnd(120);
			p = malloc(VARHDRSZ_SHORT + n);
			fill_random(p, VARHDRSZ_SHORT + n);
			SET_VARSIZE_SHORT(p, VARHDRSZ_SHORT + n);
			break;
		default:
			p = malloc(VARHDRSZ + n);
			fill_random(p, VARHDRSZ + n);
			SET_VARSIZE(p, VARHDRSZ + n);
			break;
	}
	return PointerGetDatum(p);
}

static Datum
random_value(Form_pg_attribute att)
{
	char	   *p;

	if (att->attbyval)
		return random_byval(att->attlen);
	if (att->attlen == -1)
		return random_varlena();
	if (att->attlen == -2)
	{
		Size		n = rnd(30);

		p = calloc(1, n + 1);
		for (Size i = 0; i < n; i++)
			p[i] = 'a' + rnd(26);
		return PointerGetDatum(p);
	}
	p = malloc(att->attlen);
	fill_random(p, att->attlen);
	return PointerGetDatum(p);
}

static Size
varlena_payload(const char *p, const char **payload)
{
	if (VARATT_IS_EXTERNAL(p) || VARATT_IS_COMPRESSED(p))
	{
		*payload = p;
		return VARSIZE_ANY(p);
	}
	*payload = VARDATA_ANY(p);
	return VARSIZE_ANY_EXHDR(p);
}

static bool
same_value(Form_pg_attribute att, Datum a, Datum b)
{
	const char *pa = DatumGetPointer(a);
	const char *pb = DatumGetPointer(b);
	Size		na,
				nb;

	if (att->attbyval)
		return a == b;
	if (att->attlen == -2)
		return strcmp(pa, pb) == 0;
	if (att->attlen > 0)
		return ((uintptr_t) pb & (att->attalign == TYPALIGN_DOUBLE ? 7 :
								  att->attalign == TYPALIGN_INT ? 3 : 0)) == 0 &&
			memcmp(pa, pb, att->attlen) == 0;
	na = varlena_payload(pa, &pa);
	nb = varlena_payload(pb, &pb);
	return na == nb && memcmp(pa, pb, na) == 0;
}

typedef struct TestRow
{
	TupleDesc	desc;
	RowLayout  *layout;
	Datum		values[MAX_TEST_COLUMNS];
	bool		isnull[MAX_TEST_COLUMNS];
	char	   *buffer;
	RowData		data;
} TestRow;

static void
make_row(TestRow *row, int max_columns)
{
	int			natts = rnd(max_columns + 1);
	int			types[MAX_TEST_COLUMNS];
	bool		fixed_first = rnd(2) == 0;
	bool		nulls = rnd(3) == 0;
	uint16		flags;
	Size		size;
	Size		room;

	for (int i = 0; i < natts; i++)
		types[i] = fixed_first && i < natts / 2 ? rnd(9) : rnd(lengthof(test_types));
	row->desc = make_desc(natts, types);
	row->layout = row_layout_create(row->desc);
	for (int i = 0; i < natts; i++)
	{
		row->isnull[i] = nulls && rnd(3) == 0;
		row->values[i] = row->isnull[i] ? (Datum) 0 : random_value(TupleDescAttr(row->desc, i));
	}
	size = row_encoded_size(row->layout, row->values, row->isnull, &flags);
	room = row_encode_room(row->layout, size);
	row->buffer = malloc(Max(room, 8));
	memset(row->buffer, 0x7F, room);
	row_encode(row->layout, row->values, row->isnull, row->buffer, &row->data);
	if (row->data.flags != flags ||
		row->data.size + (row->data.nulls ? (Size) (natts + 7) / 8 : 0) != size)
	{
		printf("# size or flags: said %zu %x, got %u %x\n", size, flags,
			   row->data.size, row->data.flags);
		tests_failed++;
	}
}

static void
free_row(TestRow *row)
{
	for (int i = 0; i < row->desc->natts; i++)
	{
		if (!row->isnull[i] && !TupleDescAttr(row->desc, i)->attbyval)
			free(DatumGetPointer(row->values[i]));
	}
	free(row->buffer);
	free(row->layout);
	free(row->desc);
}

/* Decodes in random steps and compares. */
static bool
decodes_to(const TestRow *row, const RowData *data)
{
	Datum		values[MAX_TEST_COLUMNS];
	bool		isnull[MAX_TEST_COLUMNS];
	uint32		offset = 0;
	int			natts = row->desc->natts;

	for (int from = 0; from < natts;)
	{
		int			to = rnd(2) == 0 ? natts : from + 1 + (int) rnd(natts - from);

		if (!row_decode(row->layout, data, from, to, &offset, values, isnull))
			return false;
		from = to;
	}
	for (int i = 0; i < natts; i++)
	{
		if (isnull[i] != row->isnull[i])
			return false;
		if (!isnull[i] && !same_value(TupleDescAttr(row->desc, i), row->values[i], values[i]))
			return false;
	}
	return true;
}

/* Who made a row on a page whose trailer says so, as its flags have it. */
static void
creator_for(RowMeta *meta, TransactionId page_xid, CommandId page_cid)
{
	bool		page_frozen = page_cid == PAGE_CID_FROZEN;

	switch (meta->flags & ROW_FROZEN)
	{
		case ROW_XID:
			meta->xid = 1 + rnd(1000000);
			break;
		case ROW_PAGE_XID:
			meta->xid = page_frozen ? InvalidTransactionId : page_xid;
			meta->frozen_xid = page_frozen ? page_xid : InvalidTransactionId;
			meta->cid = page_frozen ? FirstCommandId : page_cid;
			break;
		case ROW_FROZEN:
			if (meta->flags & META_CREATOR)
			{
				meta->xid = 1 + rnd(1000000);
				meta->frozen_xid = 1 + rnd(1000000);
			}
			else if (meta->flags & ROW_DELETED)
			{
				meta->xid = 1 + rnd(1000000);
				meta->frozen_xid = page_frozen ? page_xid : InvalidTransactionId;
			}
			else
				meta->frozen_xid = 1 + rnd(1000000);
			break;
	}
}

static void
random_meta(RowMeta *meta, TransactionId page_xid, CommandId page_cid)
{
	memset(meta, 0, sizeof(*meta));
	meta->flags = (uint16) rnd(0x800) & (ROW_XID | ROW_CID | ROW_VERSION | ROW_LOCK | ROW_FORWARD |
										 ROW_PAGE_XID | ROW_DELETED | ROW_SPECULATIVE);
	if ((meta->flags & ROW_CID) && row_flags_take_short_cid(meta->flags))
		meta->flags |= ROW_XID; /* whose command it is */
	if ((meta->flags & ROW_DELETED_FROZEN) == ROW_DELETED_FROZEN)
		meta->flags = (meta->flags & ~ROW_VERSION) | META_CREATOR;
	meta->tag = rnd(128);
	meta->older_block = InvalidBlockNumber;
	meta->forward_block = InvalidBlockNumber;
	creator_for(meta, page_xid, page_cid);
	if (meta->flags & ROW_CID)
		meta->cid = rnd(2) == 0 ? rnd(300) : rnd(1000000);
	if (meta->flags & ROW_VERSION)
	{
		meta->older_block = rnd(2) == 0 ? rnd(1000000) : ROWAN_MAX_BLOCKS - 1 - rnd(1000);
		meta->older_offset = rnd(BLCKSZ / VERSION_POINTER_UNIT) * VERSION_POINTER_UNIT;
	}
	if (meta->flags & ROW_LOCK)
	{
		meta->lock_xid = rnd(1000000);
		meta->lock_bits = rnd(65536);
	}
	if (meta->flags & ROW_FORWARD)
	{
		meta->forward_block = rnd(1000000);
		meta->forward_offset = rnd(65536);
	}
}

static bool
same_meta(const RowMeta *a, const RowMeta *b)
{
	return a->flags == b->flags && a->tag == b->tag && a->xid == b->xid && a->cid == b->cid &&
		a->frozen_xid == b->frozen_xid &&
		a->older_block == b->older_block && a->older_offset == b->older_offset &&
		a->lock_bits == b->lock_bits && a->lock_xid == b->lock_xid &&
		a->forward_block == b->forward_block && a->forward_offset == b->forward_offset;
}

static bool
same_data(const RowData *a, const RowData *b)
{
	return a->natts == b->natts && a->flags == b->flags && a->size == b->size &&
		(a->nulls == NULL) == (b->nulls == NULL) &&
		(a->nulls == NULL || memcmp(a->nulls, b->nulls, (a->natts + 7) / 8) == 0) &&
		memcmp(a->data, b->data, a->size) == 0;
}

/* ---- tests ---- */

static void
test_roundtrip(void)
{
	bool		encode_ok = true;
	bool		write_ok = true;
	bool		meta_ok = true;
	bool		size_ok = true;

	for (int round = 0; round < 20000; round++)
	{
		TestRow		row;
		RowMeta		meta,
					meta_back,
					meta_only;
		RowData		data_back;
		CommandId	page_cid = rnd(2) == 0 ? 7 : PAGE_CID_FROZEN;
		uint16		page_natts;
		uint16		size;
		char	   *cell;

		make_row(&row, 20);
		encode_ok &= decodes_to(&row, &row.data);
		if (row.data.size > ROW_MAX_DATA)
		{
			free_row(&row);
			continue;
		}

		random_meta(&meta, 77, page_cid);
		page_natts = rnd(2) == 0 ? row.data.natts : rnd(30);
		size = row_cell_size(&meta, &row.data, page_natts);
		cell = malloc(size);
		memset(cell, 0x7F, size);
		row_write(cell, &meta, &row.data, page_natts);
		size_ok &= row_header_size((RowHeaderData *) cell) == size;
		meta_ok &= row_parse_meta(cell, size, 77, page_cid, &meta_only) && same_meta(&meta, &meta_only);
		write_ok &= row_parse(cell, size, 77, page_cid, page_natts, &meta_back, &data_back) &&
			same_meta(&meta, &meta_back) && same_data(&row.data, &data_back) &&
			decodes_to(&row, &data_back);
		free(cell);
		free_row(&row);
	}
	ok(encode_ok, "encoded values decode to the same values");
	ok(size_ok, "cells know their size");
	ok(meta_ok, "row_parse_meta gives back what row_write wrote");
	ok(write_ok, "row_parse gives back what row_write wrote, byte by byte");
}

/* A frozen row is seen by everybody: nothing but what is shown says who made it, and the page may call all its rows visible. */
static void
test_frozen(void)
{
	const struct
	{
		uint16		flags;
		CommandId	page_cid;
		TransactionId xid;		/* what visibility is asked of */
		TransactionId shown;
		bool		own;		/* the page's answer is not the row's */
	}			cases[] = {
		{0, 7, InvalidTransactionId, FrozenTransactionId, false},
		{0, PAGE_CID_FROZEN, InvalidTransactionId, FrozenTransactionId, false},
		{ROW_PAGE_XID, 7, 77, 77, false},
		{ROW_PAGE_XID, PAGE_CID_FROZEN, InvalidTransactionId, 77, false},
		{ROW_XID, PAGE_CID_FROZEN, 99, 99, true},
		{ROW_FROZEN, 7, InvalidTransactionId, 99, false},
		{ROW_FROZEN | ROW_LOCK, 7, InvalidTransactionId, 99, false},
		{ROW_FROZEN | ROW_DELETED, PAGE_CID_FROZEN, 99, 99, true},
		{ROW_FROZEN | ROW_DELETED | META_CREATOR, PAGE_CID_FROZEN, 99, 99, true},
		{ROW_XID | ROW_VERSION, PAGE_CID_FROZEN, 99, 99, true},
	};
	bool		fine = true;

	for (int i = 0; i < (int) lengthof(cases); i++)
	{
		RowMeta		meta = {.flags = cases[i].flags, .xid = 99, .frozen_xid = 99};
		RowMeta		back;
		RowData		data = {.natts = 3, .data = "x", .size = 1};
		RowData		data_back;
		char		cell[64];
		uint16		size = row_cell_size(&meta, &data, 3);

		row_write(cell, &meta, &data, 3);
		fine &= row_parse(cell, size, 77, cases[i].page_cid, 3, &back, &data_back) &&
			back.xid == cases[i].xid && row_shown_xid(&back) == cases[i].shown &&
			row_flags_own(back.flags) == cases[i].own && data_back.size == 1 &&
			row_parse_meta(cell, size, 77, cases[i].page_cid, &meta) && same_meta(&meta, &back);
	}
	ok(fine, "frozen rows keep their creator's xid, for show only");
}

/* Every prefix of a good row must be refused or decode within its bounds. */
static void
test_truncated(void)
{
	Datum		values[MAX_TEST_COLUMNS];
	bool		isnull[MAX_TEST_COLUMNS];

	for (int round = 0; round < 300; round++)
	{
		TestRow		row;

		make_row(&row, 12);
		for (int size = 0; size < row.data.size; size++)
		{
			RowData		cut = row.data;
			char	   *bytes = malloc(Max(size, 1));
			uint32		offset = 0;

			memcpy(bytes, row.data.data, size);
			cut.size = size;
			cut.data = bytes;
			(void) row_decode(row.layout, &cut, 0, row.desc->natts, &offset, values, isnull);
			free(bytes);
		}
		free_row(&row);
	}
	ok(true, "truncated data is never read beyond its end");
}

/* Reads all of what a decoded value claims to be. */
static uint32
touch(Form_pg_attribute att, Datum value)
{
	const char *p = DatumGetPointer(value);
	Size		n;
	uint32		sum = 0;

	if (att->attbyval)
		return (uint32) value;
	n = att->attlen > 0 ? (Size) att->attlen :
		att->attlen == -1 ? (Size) VARSIZE_ANY(p) : strlen(p) + 1;
	for (Size i = 0; i < n; i++)
		sum += (uint8) p[i];
	return sum;
}

static void
test_hostile(void)
{
	volatile uint32 sum = 0;
	int			parsed = 0;
	int			decoded = 0;
	Datum		values[MAX_TEST_COLUMNS];
	bool		isnull[MAX_TEST_COLUMNS];

	for (int round = 0; round < 300000; round++)
	{
		static TestRow row;
		uint16		size;
		char	   *cell;
		RowMeta		meta;
		RowData		data;
		uint32		offset = 0;

		if (round % 100 == 0)
		{
			if (round > 0)
				free_row(&row);
			make_row(&row, 12);
		}

		/* pure noise, or a good row with a few bytes changed */
		if (rnd(2) == 0 || row.data.size > ROW_MAX_DATA)
		{
			size = rnd(100);
			cell = malloc(Max(size, 1));
			fill_random(cell, size);
		}
		else
		{
			random_meta(&meta, 77, 7);
			size = row_cell_size(&meta, &row.data, row.data.natts);
			cell = malloc(size);
			row_write(cell, &meta, &row.data, row.data.natts);
			for (int i = rnd(4); i >= 0; i--)
				cell[rnd(size)] = (char) rnd(256);
		}

		(void) row_parse_meta(cell, size, 77, 7, &meta);
		if (row_parse(cell, size, 77, 7, row.data.natts, &meta, &data))
		{
			int			natts = Min(data.natts, row.desc->natts);

			parsed++;
			if (row_decode(row.layout, &data, 0, natts, &offset, values, isnull))
			{
				decoded++;
				for (int i = 0; i < natts; i++)
				{
					if (!isnull[i])
						sum += touch(TupleDescAttr(row.desc, i), values[i]);
				}
			}
		}
		free(cell);
		if (round == 300000 - 1)
			free_row(&row);
	}
	printf("# hostile cells: %d parsed, %d decoded, sum of their bytes %u\n", parsed, decoded, sum);
	ok(parsed > 1000 && decoded > 1000, "hostile bytes are never read beyond their end");
}

static void
test_sizes(void)
{
	static const int types[] = {3, 2, 9};	/* int8, int4, text */
	TupleDesc	desc = make_desc(3, types);
	RowLayout  *layout = row_layout_create(desc);
	char		text[VARHDRSZ + 5];
	Datum		values[3] = {Int64GetDatum(-1), Int32GetDatum(-2), PointerGetDatum(text)};
	bool		isnull[3] = {false, false, false};
	char		buffer[64] pg_attribute_aligned(8);
	uint16		flags;
	RowData		row;
	RowMeta		meta = {0};

	SET_VARSIZE(text, sizeof(text));
	memcpy(VARDATA(text), "hello", 5);

	ok(layout->nfixed == 2 && layout->columns[1].offset == 8, "layout finds constant offsets");
	ok(row_encoded_size(layout, values, isnull, &flags) == 18 && flags == 0,
	   "int8, int4 and five letters take 18 bytes, unaligned");
	row_encode(layout, values, isnull, buffer, &row);
	ok(row.nulls == NULL && row_cell_size(&meta, &row, 3) == 22, "and 4 more for the header");
	ok(row_cell_size(&meta, &row, 4) == 24, "and 2 for its own number of attributes");

	isnull[1] = isnull[2] = true;
	ok(row_encoded_size(layout, values, isnull, &flags) == 9 && flags == ROW_NULLS,
	   "NULLs at the end take a bit each");
	row_encode(layout, values, isnull, buffer, &row);
	ok(row.nulls != NULL && row.nulls[0] == 1 && row.size == 8 && row.natts == 3,
	   "and nothing else");
	free(layout);
	free(desc);
}

/* pg_upgrade makes dropped columns again, as passed by reference. */
static void
test_dropped(int sixteen)
{
	int			types[] = {0, 3, 1, 2, sixteen, 3}; /* bool, int8, int2, int4, see below, int8 */
	TupleDesc	desc = make_desc(6, types);
	TupleDesc	upgraded = make_desc(6, types);
	RowLayout  *layout = row_layout_create(desc);
	RowLayout  *upgraded_layout;
	char		bytes[16] = {0};
	Datum		values[6] = {1, 2, 3, 4, PointerGetDatum(bytes), 5};
	bool		isnull[6] = {false};
	char		buffer[64] pg_attribute_aligned(8);
	uint32		offset = 0;
	uint16		flags;
	RowData		row;

	(void) row_encoded_size(layout, values, isnull, &flags);
	row_encode(layout, values, isnull, buffer, &row);
	for (int i = 0; i < 5; i++)
	{
		TupleDescAttr(upgraded, i)->attisdropped = true;
		TupleDescAttr(upgraded, i)->attbyval = false;
	}
	upgraded_layout = row_layout_create(upgraded);
	ok(row_decode(upgraded_layout, &row, 0, 6, &offset, values, isnull) && values[5] == 5,
	   "columns behind those that were dropped before an upgrade are where they were");
	free(layout);
	free(upgraded_layout);
	free(desc);
	free(upgraded);
}

/* The same of a type of somebody's own, which is passed by reference and aligned to its length. */
static void
test_dropped_reference(void)
{
	static const int types[] = {2, 3, 2, 9};	/* int4, int8, int4, text */
	TupleDesc	desc = make_desc(4, types);
	RowLayout  *layout;
	char		eight[8] = "eight by";
	Datum		values[4] = {2, PointerGetDatum(eight), 4, PointerGetDatum("\5a")};
	bool		isnull[4] = {false};
	char		buffer[64] pg_attribute_aligned(8);
	uint32		offset = 0;
	uint16		flags;
	RowData		row;

	TupleDescAttr(desc, 1)->attbyval = false;
	layout = row_layout_create(desc);
	(void) row_encoded_size(layout, values, isnull, &flags);
	row_encode(layout, values, isnull, buffer, &row);
	free(layout);
	TupleDescAttr(desc, 1)->attisdropped = true;
	layout = row_layout_create(desc);
	memset(values, 0, sizeof(values));
	ok(row_decode(layout, &row, 0, 3, &offset, values, isnull) && values[0] == 2 &&
	   values[2] == 4 && row_decode(layout, &row, 3, 4, &offset, values, isnull) &&
	   offset == row.size,
	   "columns behind a dropped one that is passed by reference are where they were");
	free(layout);
	free(desc);
}

static void
test_short_row(void)
{
	static const int types[] = {2, 2, 9};
	TupleDesc	desc = make_desc(3, types);
	RowLayout  *layout = row_layout_create(desc);
	RowData		row = {.natts = 1, .size = 4, .data = "\1\0\0\0"};
	Datum		values[3] = {0, 42, 43};
	bool		isnull[3] = {true, true, true};
	uint32		offset = 0;

	ok(row_decode(layout, &row, 0, 3, &offset, values, isnull) &&
	   values[0] == 1 && !isnull[0] && values[1] == 42 && isnull[1] && values[2] == 43,
	   "columns beyond a short row's end are left alone");
	free(layout);
	free(desc);
}

static void
test_expanded(void)
{
	static const int types[] = {0, 9};
	TupleDesc	desc = make_desc(2, types);
	RowLayout  *layout = row_layout_create(desc);
	TestExpanded expanded = {.flat_size = 30};
	char		pointer[VARHDRSZ_EXTERNAL + sizeof(varatt_expanded)];
	varatt_expanded ptr = {.eohptr = &expanded.hdr};
	Datum		values[2] = {CharGetDatum(1), PointerGetDatum(pointer)};
	bool		isnull[2] = {false, false};
	char		buffer[64] pg_attribute_aligned(8);
	uint16		flags;
	RowData		row;
	uint32		offset = 0;

	SET_VARTAG_EXTERNAL(pointer, VARTAG_EXPANDED_RW);
	memcpy(VARDATA_EXTERNAL(pointer), &ptr, sizeof(ptr));
	ok(row_encoded_size(layout, values, isnull, &flags) == 34 && flags == ROW_ALIGNED,
	   "an expanded object counts with its flat size");
	row_encode(layout, values, isnull, buffer, &row);
	ok(row_decode(layout, &row, 0, 2, &offset, values, isnull) &&
	   VARSIZE_4B(DatumGetPointer(values[1])) == 30 && row.flags == ROW_ALIGNED,
	   "and is stored flat, with a 4-byte header");
	free(layout);
	free(desc);
}

/* Toast pointers other than to the disk are pointers into memory. */
static void
test_pointer_refused(void)
{
	static const int types[] = {9};
	TupleDesc	desc = make_desc(1, types);
	RowLayout  *layout = row_layout_create(desc);
	char		bytes[18] = {0};
	RowData		row = {.natts = 1, .size = sizeof(bytes), .data = bytes};
	Datum		value;
	bool		isnull;
	uint32		offset = 0;
	bool		refused = true;

	for (int tag = 0; tag < 256; tag++)
	{
		SET_VARTAG_EXTERNAL(bytes, tag);
		refused &= row_decode(layout, &row, 0, 1, &offset, &value, &isnull) == (tag == VARTAG_ONDISK);
		offset = 0;
	}
	ok(refused, "only toast pointers to the disk are believed");
	free(layout);
	free(desc);
}

int
main(void)
{
	test_sizes();
	test_dropped(6);			/* uuid */
	test_dropped(7);			/* interval: the row is aligned */
	test_dropped_reference();
	test_short_row();
	test_expanded();
	test_pointer_refused();
	test_roundtrip();
	test_frozen();
	test_truncated();
	test_hostile();
	printf("1..%d\n", tests_run);
	return tests_failed != 0;
}
