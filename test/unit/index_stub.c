/*
 * index_stub.c
 *	  What index code needs of the server besides server_stub.c: index tuples, comparing, memory
 *	  contexts, and the WAL of ENTRY records, which are applied to the replica at once.
 */
#include "tap.h"

#include "access/htup_details.h"
#include "access/itup.h"
#include "access/skey.h"
#include "access/tupmacs.h"
#include "access/xloginsert.h"
#include "access/xlogreader.h"
#include "base/page_sum.h"
#include "core.h"
#include "index_stub.h"
#include "lib/stringinfo.h"
#include "pool_stub.h"
#include "tree/page.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"

#undef USE_ICU					/* whose headers may not be there */
#include "utils/pg_locale.h"

/* ---- memory ---- */

MemoryContext CurrentMemoryContext;
volatile uint32 CritSectionCount;

static MemoryContextData one_context;

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size minContextSize,
							  Size initBlockSize, Size maxBlockSize)
{
	return &one_context;
}

void
MemoryContextReset(MemoryContext context)
{
}

void
MemoryContextDelete(MemoryContext context)
{
}

void *
repalloc(void *pointer, Size size)
{
	return realloc(pointer, size);
}

char *
psprintf(const char *fmt,...)
{
	char	   *text = malloc(256);
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, 256, fmt, args);
	va_end(args);
	return text;
}

void
appendStringInfo(StringInfo str, const char *fmt,...)
{
	must(!"called");
}

/* ---- TIDs ---- */

int32
ItemPointerCompare(ItemPointer a, ItemPointer b)
{
	BlockNumber x = ItemPointerGetBlockNumberNoCheck(a);
	BlockNumber y = ItemPointerGetBlockNumberNoCheck(b);

	if (x != y)
		return x < y ? -1 : 1;
	return (int) ItemPointerGetOffsetNumberNoCheck(a) - (int) ItemPointerGetOffsetNumberNoCheck(b);
}

bool
ItemPointerEquals(ItemPointer a, ItemPointer b)
{
	return ItemPointerCompare(a, b) == 0;
}

/* ---- index tuples: int4, int8 and text ---- */

static char *
put_value(char *base, char *to, Form_pg_attribute attribute, Datum value)
{
	Pointer		from = DatumGetPointer(value);

	if (attribute->attlen > 0)
	{
		to = base + att_align_nominal(to - base, attribute->attalign);
		store_att_byval(to, value, attribute->attlen);
		return to + attribute->attlen;
	}
	if (!VARATT_IS_SHORT(from) && VARATT_CAN_MAKE_SHORT(from))
	{
		SET_VARSIZE_SHORT(to, VARATT_CONVERTED_SHORT_SIZE(from));
		memcpy(to + 1, VARDATA(from), VARSIZE(from) - VARHDRSZ);
		return to + VARATT_CONVERTED_SHORT_SIZE(from);
	}
	if (!VARATT_IS_SHORT(from))
		to = base + att_align_nominal(to - base, attribute->attalign);
	memcpy(to, from, VARSIZE_ANY(from));
	return to + VARSIZE_ANY(from);
}

/* As index_form_tuple, of the first natts columns. */
static IndexTuple
form_tuple(TupleDesc desc, int natts, const Datum *values, const bool *isnull)
{
	IndexTuple	tuple = calloc(1, 2 * BLCKSZ);
	bool		has_null = false;
	bool		has_var = false;
	char	   *base;
	char	   *to;

	for (int i = 0; i < natts; i++)
	{
		has_null |= isnull[i];
		has_var |= !isnull[i] && TupleDescAttr(desc, i)->attlen < 0;
	}
	to = base = (char *) tuple + IndexInfoFindDataOffset(has_null ? INDEX_NULL_MASK : 0);
	for (int i = 0; i < natts; i++)
	{
		if (isnull[i])
			continue;
		if (has_null)
			((bits8 *) (tuple + 1))[i >> 3] |= 1 << (i & 7);
		to = put_value(base, to, TupleDescAttr(desc, i), values[i]);
	}
	tuple->t_info = MAXALIGN(to - (char *) tuple) | (has_null ? INDEX_NULL_MASK : 0) |
		(has_var ? INDEX_VAR_MASK : 0);
	return tuple;
}

IndexTuple
stub_form_tuple(TupleDesc desc, const Datum *values, const bool *isnull)
{
	return form_tuple(desc, desc->natts, values, isnull);
}

Datum
nocache_index_getattr(IndexTuple tuple, int attnum, TupleDesc desc)
{
	char	   *base = (char *) tuple + IndexInfoFindDataOffset(tuple->t_info);
	int			offset = 0;

	for (int i = 0;; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (IndexTupleHasNulls(tuple) && att_isnull(i, (bits8 *) (tuple + 1)))
			continue;
		offset = att_align_pointer(offset, attribute->attalign, attribute->attlen, base + offset);
		if (i == attnum - 1)
			return fetchatt(attribute, base + offset);
		offset = att_addlength_pointer(offset, attribute->attlen, base + offset);
	}
}

IndexTuple
CopyIndexTuple(IndexTuple source)
{
	IndexTuple	tuple = malloc(IndexTupleSize(source));

	memcpy(tuple, source, IndexTupleSize(source));
	return tuple;
}

IndexTuple
index_truncate_tuple(TupleDesc desc, IndexTuple source, int leavenatts)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	IndexTuple	tuple;

	if (leavenatts == desc->natts)
		return CopyIndexTuple(source);
	for (int i = 0; i < leavenatts; i++)
		values[i] = index_getattr(source, i + 1, desc, &isnull[i]);
	tuple = form_tuple(desc, leavenatts, values, isnull);
	tuple->t_tid = source->t_tid;
	return tuple;
}

/* ---- comparing ---- */

void
ScanKeyEntryInitializeWithInfo(ScanKey entry, int flags, AttrNumber attributeNumber,
							   StrategyNumber strategy, Oid subtype, Oid collation,
							   FmgrInfo *finfo, Datum argument)
{
	entry->sk_flags = flags;
	entry->sk_attno = attributeNumber;
	entry->sk_strategy = strategy;
	entry->sk_subtype = subtype;
	entry->sk_collation = collation;
	entry->sk_argument = argument;
	entry->sk_func = *finfo;
}

static int
compare_texts(Datum arg1, Datum arg2)
{
	Pointer		a = DatumGetPointer(arg1);
	Pointer		b = DatumGetPointer(arg2);
	int			a_size = VARSIZE_ANY_EXHDR(a);
	int			b_size = VARSIZE_ANY_EXHDR(b);
	int			result = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(a_size, b_size));

	return result != 0 ? result : a_size - b_size;
}

Datum
FunctionCall2Coll(FmgrInfo *flinfo, Oid collation, Datum arg1, Datum arg2)
{
	if (flinfo->fn_oid != F_BTINT4CMP)
		return Int32GetDatum(compare_texts(arg1, arg2));
	return Int32GetDatum(DatumGetInt32(arg1) < DatumGetInt32(arg2) ? -1 :
						 DatumGetInt32(arg1) > DatumGetInt32(arg2));
}

bool
datum_image_eq(Datum value1, Datum value2, bool typByVal, int typLen)
{
	return typByVal ? value1 == value2 : compare_texts(value1, value2) == 0;
}

#if PG_VERSION_NUM >= 180000
pg_locale_t
pg_newlocale_from_collation(Oid collation)
{
	static struct pg_locale_struct locale = {.collate_is_c = true};

	return &locale;
}
#else
bool
lc_collate_is_c(Oid collation)
{
	return true;
}
#endif

struct varlena *
detoast_attr(struct varlena *attr)
{
	must(!"called");
	return NULL;
}

/* ---- WAL: one ENTRY ---- */

static PoolFrame *wal_frame;
static char wal_data[2 * BLCKSZ];
static int	wal_size;

void
wal_begin(void)
{
	wal_size = 0;
}

void
wal_add_page(uint8 block_id, PoolFrame *frame, WalNeed need)
{
	wal_frame = frame;
}

void
XLogRegisterBufData(BUF_DATA_PARAMETERS)
{
	memcpy(wal_data + wal_size, data, len);
	wal_size += len;
}

/* Slot and head, then the cell, whose first two bytes say its size. */
void
wal_insert(uint8 kind)
{
	Page		replica = stub_replica_page(pool_block(wal_frame));
	uint16		place[2];
	uint16		size;

	memcpy(place, wal_data, sizeof(place));
	memcpy(&size, wal_data + sizeof(place), sizeof(size));
	size &= ROW_SIZE_MASK;
	must(size + (int) sizeof(place) == wal_size);
	memcpy(page_insert_cell(replica, place[0], place[1], size), wal_data + sizeof(place),
		   size);
	page_set_sum(replica);
	stub_logged_bytes += wal_size;

	/* the LSN is not compared by value */
	PageSetLSN(replica, (XLogRecPtr) wal_size);
	PageSetLSN(pool_page(wal_frame), (XLogRecPtr) wal_size);
}

void
wal_register_kind(uint8 info, const RowanRecordOps *ops)
{
}

void
wal_apply(XLogReaderState *record, RedoPage *page, WalApply apply)
{
}

void
wal_latch(XLogReaderState *record, uint8 block_id, WalNeed need, RedoPage *page)
{
}

void
wal_unlatch(RedoPage *page)
{
}

char *
XLogRecGetBlockData(XLogReaderState *record, uint8 block_id, Size *len)
{
	return NULL;
}
