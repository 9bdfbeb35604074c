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
#include "pool/describe.h"
#include "replication/origin.h"
#include "row/logical.h"
#include "row/mapclear.h"

/* ---- columns ---- */

/* By the logarithm of their bytes. */
static const char ALIGNMENTS[] = {TYPALIGN_CHAR, TYPALIGN_SHORT, TYPALIGN_INT, TYPALIGN_DOUBLE};

static int
alignment_log(char alignment)
{
	for (int i = 0; i < (int) lengthof(ALIGNMENTS); i++)
		if (ALIGNMENTS[i] == alignment)
			return i;
	elog(ERROR, "rowan: unknown alignment \"%c\"", alignment);
}

static uint8
column_kind(Form_pg_attribute att)
{
	int			align = alignment_log(att->attalign);

	if (att->attisdropped)
		return LOGICAL_COLUMN_OTHER;
	if (att->attbyval && att->attlen == 1 << align)
		return align;
	if (att->attlen == -1 && att->attalign == TYPALIGN_INT)
		return LOGICAL_COLUMN_VARLENA;
	if (att->attlen == -1 && att->attalign == TYPALIGN_DOUBLE)
		return LOGICAL_COLUMN_VARLENA_8;
	return LOGICAL_COLUMN_OTHER;
}

static bool
are_alike(Form_pg_attribute a, Form_pg_attribute b)
{
	return a->attlen == b->attlen && a->attalign == b->attalign && a->attbyval == b->attbyval &&
		a->attisdropped == b->attisdropped;
}

/* Describes *n columns from the i-th on. */
static char *
put_columns(char *to, TupleDesc desc, int i, int *n)
{
	Form_pg_attribute att = TupleDescAttr(desc, i);
	uint8		code = column_kind(att);
	uint8		other = alignment_log(att->attalign) |
		(att->attbyval ? LOGICAL_OTHER_BYVAL : 0) |
		(att->attisdropped ? LOGICAL_OTHER_DROPPED : 0);

	*n = 1;
	while (*n < 16 && i + *n < desc->natts && are_alike(att, TupleDescAttr(desc, i + *n)))
		(*n)++;
	code |= (*n - 1) << 4;
	to = put_bytes(to, &code, sizeof(code));
	if ((code & LOGICAL_COLUMN_KIND) != LOGICAL_COLUMN_OTHER)
		return to;
	to = put_bytes(to, &other, sizeof(other));
	return put_bytes(to, &att->attlen, sizeof(att->attlen));
}

/* What each put_columns takes at most. */
#define COLUMNS_MAX_BYTES	(2 * sizeof(uint8) + sizeof(int16))

/*
 * Reads what describes *n columns: into those parts of *att that matter; NULL: there are too few
 * bytes.
 */
static const char *
take_columns(const char *from, const char *end, FormData_pg_attribute *att, int *n)
{
	uint8		code;
	uint8		other;

	from = take_within(from, end, &code, sizeof(code));
	if (from == NULL)
		return NULL;
	*n = 1 + ((code & LOGICAL_COLUMN_MORE) >> 4);
	memset(att, 0, sizeof(*att));
	att->attstorage = TYPSTORAGE_PLAIN; /* values are short, or not, as they were stored */
	code &= LOGICAL_COLUMN_KIND;
	if (code == LOGICAL_COLUMN_VARLENA || code == LOGICAL_COLUMN_VARLENA_8)
	{
		att->attlen = -1;
		att->attalign = code == LOGICAL_COLUMN_VARLENA ? TYPALIGN_INT : TYPALIGN_DOUBLE;
	}
	else if (code < LOGICAL_COLUMN_VARLENA)
	{
		att->attlen = 1 << code;
		att->attalign = ALIGNMENTS[code];
		att->attbyval = true;
	}
	else
	{
		from = take_within(from, end, &other, sizeof(other));
		from = take_within(from, end, &att->attlen, sizeof(att->attlen));
		if (from == NULL)
			return NULL;
		att->attalign = ALIGNMENTS[other & LOGICAL_OTHER_ALIGN];
		att->attbyval = (other & LOGICAL_OTHER_BYVAL) != 0;
		att->attisdropped = (other & LOGICAL_OTHER_DROPPED) != 0;
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
	char	   *to = palloc(desc->natts * COLUMNS_MAX_BYTES + 1);
	int			n;

	logical->mark |= LOGICAL_ROW;
	logical->natts = desc->natts;
	logical->columns = to;
	for (int i = 0; i < desc->natts; i += n)
		to = put_columns(to, desc, i, &n);
	logical->columns_size = to - logical->columns;
}

/*
 * Of an old row.  A record has at most 1020 MB (XLogRecordMaxSize, which 15 lacks), the rest of it
 * less than one: XLogInsert raises an error for a longer one, in a critical section, or, in 15,
 * writes what redo cannot read.
 */
#define OLD_MAX_BYTES	((Size) 1018 * 1024 * 1024)

static void
check_old_size(Size size)
{
	if (size > OLD_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row is too big for logical decoding: size %zu, maximum size %zu",
						size, OLD_MAX_BYTES),
				 errdetail("The replica identity has the old row logged with the change.")));
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
	check_old_size(old->t_len);
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

static void
log_row(RowLogical *logical, const LogicalKept *kept)
{
	char	   *second = put_number(logical->numbers, logical->natts);

	XLogRegisterData(logical->numbers, second - logical->numbers);
	XLogRegisterData(logical->columns, logical->columns_size);
	if (kept == NULL)
		return;
	XLogRegisterData(second,
					 put_number(second, kept->prefix_size + kept->suffix_size) - second);
	XLogRegisterData(unconstify(char *, kept->prefix), kept->prefix_size);
	XLogRegisterData(unconstify(char *, kept->suffix), kept->suffix_size);
}

void
logical_log(RowLogical *logical, const LogicalKept *kept, uint8 clears)
{
	static uint8 mark;			/* until the record is inserted */

	mark = clears | (logical == NULL ? 0 : logical->mark);
	if (mark == 0)
		return;
	if (mark & LOGICAL_ROW)
		log_row(logical, kept);
	if (mark & LOGICAL_OLD)
		XLogRegisterData(logical->old, logical->old_size);
	XLogRegisterData((char *) &mark, sizeof(mark));
	if (logical != NULL)
		XLogSetRecordFlags(XLOG_INCLUDE_ORIGIN);
}

/* ---- reading ---- */

static const char *
read_columns(const char *from, const char *end, LogicalPart *part)
{
	FormData_pg_attribute att;
	int			n;

	from = take_number_16(from, end, &part->natts);
	part->columns = from;
	for (int i = 0; i < part->natts && from != NULL; i += n)
		from = take_columns(from, end, &att, &n);
	if (from != NULL)
		part->columns_size = from - part->columns;
	return from;
}

static const char *
read_kept(const char *from, const char *end, LogicalPart *part)
{
	from = take_number_16(from, end, &part->kept_size);
	if (from == NULL || end - from < part->kept_size)
		return NULL;
	part->kept = from;
	return from + part->kept_size;
}

typedef enum LogicalFound
{
	LOGICAL_NONE,
	LOGICAL_FOUND,
	LOGICAL_SENSELESS
} LogicalFound;

static LogicalFound
parse_logical(XLogReaderState *record, LogicalPart *part)
{
	Size		size = wal_main_data_size(record);
	const char *from = XLogRecGetData(record);
	const char *end = from + size - 1;
	uint8		mark;

	memset(part, 0, sizeof(*part));
	if (size == 0)
		return LOGICAL_NONE;
	mark = *end;
	if ((mark & LOGICAL_ACTION) == 0)
		return LOGICAL_NONE;
	from = map_clear_skip(from, end, mark);
	part->action = mark & LOGICAL_ACTION;
	part->last = (mark & LOGICAL_LAST) != 0;
	if ((mark & LOGICAL_ROW) && from != NULL)
		from = read_columns(from, end, part);
	if ((mark & LOGICAL_ROW) && from != NULL &&
		wal_record_kind(record) == ROWAN_XLOG_REPLACE)
		from = read_kept(from, end, part);
	if ((mark & LOGICAL_OLD) && from != NULL)
	{
		part->old = from;
		part->old_size = end - from;
		from = end;
	}
	return from == end ? LOGICAL_FOUND : LOGICAL_SENSELESS;
}

bool
logical_read(XLogReaderState *record, LogicalPart *part)
{
	LogicalFound found = parse_logical(record, part);

	if (found == LOGICAL_SENSELESS)
		elog(ERROR, "rowan: the logical part of a WAL record makes no sense");
	return found == LOGICAL_FOUND;
}

const char *
logical_action(XLogReaderState *record)
{
	static const char *const names[] = {NULL, "insert", "update", "delete", "confirm", "abort"};
	LogicalPart part;

	if (parse_logical(record, &part) != LOGICAL_FOUND || part.action >= lengthof(names))
		return NULL;
	return names[part.action];
}

bool
logical_describe(StringInfo buf, XLogReaderState *record)
{
	LogicalPart part;
	LogicalFound found = parse_logical(record, &part);
	const char *action = logical_action(record);

	if (!map_clear_describe_main(buf, record))
		return false;
	if (found == LOGICAL_NONE)
		return true;
	if (action == NULL)
		return false;
	describe_begin(buf, "logical");
	describe(buf, "action: %s", action);
	if (part.last)
		describe(buf, "last: true");
	if (part.columns != NULL)
		describe(buf, "columns: %u", part.natts);
	if (part.kept != NULL)
		describe(buf, "kept: %u", part.kept_size);
	if (part.old != NULL)
		describe(buf, "old: %zu", part.old_size);
	describe(buf, "bytes: %zu", wal_main_data_size(record));
	describe_end(buf);
	return true;
}

TupleDesc
logical_make_desc(const char *columns, Size size, int natts)
{
	const char *from = columns;
	TupleDesc	desc = CreateTemplateTupleDesc(natts);

	for (int i = 0; i < natts;)
	{
		FormData_pg_attribute alike;
		int			n;

		from = take_columns(from, columns + size, &alike, &n);
		if (from == NULL || i + n > natts)
			elog(ERROR, "rowan: the logical part of a WAL record makes no sense");
		for (n += i; i < n; i++)
		{
			memcpy(TupleDescAttr(desc, i), &alike, ATTRIBUTE_FIXED_PART_SIZE);
			TupleDescAttr(desc, i)->attnum = i + 1;
			column_is_described(desc, i);
		}
	}
	Assert(from == columns + size);
	return desc;
}
