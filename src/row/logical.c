/*
 * logical.c
 *	  The logical part of a record: putting it together, adding it, reading it.
 *
 * Takes no latches.  logical_log is for critical sections, and allocates nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xloginsert.h"
#include "base/bytes.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "replication/origin.h"
#include "row/logical.h"

/* ---- a column's code ---- */

/* By the logarithm of their bytes. */
static const char ALIGNMENTS[] = {TYPALIGN_CHAR, TYPALIGN_SHORT, TYPALIGN_INT, TYPALIGN_DOUBLE};

static uint8
length_code(Form_pg_attribute att)
{
	if (att->attlen == -1)
		return LOGICAL_COLUMN_VARLENA;
	if (att->attlen == -2)
		return LOGICAL_COLUMN_CSTRING;
	if (!att->attbyval)
		return LOGICAL_COLUMN_FIXED;
	return att->attlen == 8 ? 3 : att->attlen / 2;
}

static char *
put_column(char *to, Form_pg_attribute att)
{
	uint8		code = length_code(att);

	for (int i = 0; i < (int) lengthof(ALIGNMENTS); i++)
		if (ALIGNMENTS[i] == att->attalign)
			code |= i << 4;
	if (att->attisdropped)
		code |= LOGICAL_COLUMN_DROPPED;
	to = put_bytes(to, &code, sizeof(code));
	if ((code & LOGICAL_COLUMN_LENGTH) == LOGICAL_COLUMN_FIXED)
		to = put_bytes(to, &att->attlen, sizeof(att->attlen));
	return to;
}

/* Bytes of a code with what follows it. */
static Size
column_size(uint8 code)
{
	bool		has_length = (code & LOGICAL_COLUMN_LENGTH) == LOGICAL_COLUMN_FIXED;

	return sizeof(code) + (has_length ? sizeof(int16) : 0);
}

static const char *
take_column(const char *from, Form_pg_attribute att)
{
	uint8		code;

	from = take_bytes(from, &code, sizeof(code));
	att->attalign = ALIGNMENTS[(code & LOGICAL_COLUMN_ALIGN) >> 4];
	att->attisdropped = (code & LOGICAL_COLUMN_DROPPED) != 0;
	att->attstorage = TYPSTORAGE_PLAIN;
	switch (code & LOGICAL_COLUMN_LENGTH)
	{
		case LOGICAL_COLUMN_VARLENA:
			att->attlen = -1;
			break;
		case LOGICAL_COLUMN_CSTRING:
			att->attlen = -2;
			break;
		case LOGICAL_COLUMN_FIXED:
			return take_bytes(from, &att->attlen, sizeof(att->attlen));
		default:
			att->attlen = 1 << (code & LOGICAL_COLUMN_LENGTH);
			att->attbyval = true;
	}
	return from;
}

/* ---- writing ---- */

void
logical_init(RowLogical *logical, uint8 action)
{
	memset(logical, 0, sizeof(*logical));
	logical->mark = action;
	if (action != LOGICAL_INSERT)
		logical->mark |= LOGICAL_LAST;
}

void
logical_set_columns(RowLogical *logical, TupleDesc desc)
{
	uint16		natts = desc->natts;
	char	   *to = palloc(sizeof(natts) + natts * (sizeof(uint8) + sizeof(int16)));

	logical->mark |= LOGICAL_ROW;
	logical->columns = to;
	to = put_bytes(to, &natts, sizeof(natts));
	for (int i = 0; i < natts; i++)
		to = put_column(to, TupleDescAttr(desc, i));
	logical->columns_size = to - logical->columns;
}

void
logical_set_old(RowLogical *logical, HeapTuple old)
{
	HeapTupleHeader header = old->t_data;
	int			natts = HeapTupleHeaderGetNatts(header);
	uint16		head = natts;
	int			bitmap = 0;
	Size		size = old->t_len - header->t_hoff;
	char	   *to;

	Assert(!HeapTupleHasExternal(old));
	if (HeapTupleHasNulls(old))
	{
		head |= LOGICAL_OLD_NULLS;
		bitmap = BITMAPLEN(natts);
	}
	to = palloc(sizeof(head) + bitmap + size);
	logical->mark |= LOGICAL_OLD;
	logical->old = to;
	to = put_bytes(to, &head, sizeof(head));
	to = put_bytes(to, header->t_bits, bitmap);
	to = put_bytes(to, (char *) header + header->t_hoff, size);
	logical->old_size = to - logical->old;
}

void
logical_log(RowLogical *logical, const LogicalKept *kept)
{
	if (logical == NULL)
		return;
	if (logical->mark & LOGICAL_ROW)
		XLogRegisterData(logical->columns, logical->columns_size);
	if ((logical->mark & LOGICAL_ROW) && kept != NULL)
	{
		logical->kept = kept->prefix_size + kept->suffix_size;
		XLogRegisterData((char *) &logical->kept, sizeof(logical->kept));
		XLogRegisterData(unconstify(char *, kept->prefix), kept->prefix_size);
		XLogRegisterData(unconstify(char *, kept->suffix), kept->suffix_size);
	}
	if (logical->mark & LOGICAL_OLD)
		XLogRegisterData(logical->old, logical->old_size);
	XLogRegisterData((char *) &logical->mark, sizeof(logical->mark));
	XLogSetRecordFlags(XLOG_INCLUDE_ORIGIN);
}

/* ---- reading ---- */

static const char *
read_columns(const char *from, LogicalPart *part)
{
	uint16		natts;

	from = take_bytes(from, &natts, sizeof(natts));
	part->natts = natts;
	part->columns = from;
	for (int i = 0; i < natts; i++)
		from += column_size(*from);
	part->columns_size = from - part->columns;
	return from;
}

bool
logical_read(XLogReaderState *record, LogicalPart *part)
{
	Size		size = wal_main_data_size(record);
	const char *from = XLogRecGetData(record);
	const char *end = from + size - 1;
	uint8		mark;

	memset(part, 0, sizeof(*part));
	if (size == 0)
		return false;
	mark = *end;
	part->action = mark & LOGICAL_ACTION;
	part->last = (mark & LOGICAL_LAST) != 0;
	if (mark & LOGICAL_ROW)
		from = read_columns(from, part);
	if ((mark & LOGICAL_ROW) && wal_record_kind(record) == ROWAN_XLOG_REPLACE)
	{
		from = take_bytes(from, &part->kept_size, sizeof(part->kept_size));
		part->kept = from;
		from += part->kept_size;
	}
	if (mark & LOGICAL_OLD)
	{
		part->old = from;
		part->old_size = end - from;
		from = end;
	}
	if (from != end)
		elog(ERROR, "rowan: the logical part of a WAL record makes no sense");
	return true;
}

TupleDesc
logical_make_desc(const char *columns, Size size, int natts)
{
	const char *from = columns;
	TupleDesc	desc = CreateTemplateTupleDesc(natts);

	for (int i = 0; i < natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		memset(att, 0, ATTRIBUTE_FIXED_PART_SIZE);
		att->attnum = i + 1;
		from = take_column(from, att);
		column_is_described(desc, i);
	}
	Assert(from == columns + size);
	return desc;
}
