/*
 * version_append.c
 *	  Appending a version record to a version page: its part of a WAL record, do and redo.
 *
 * The page is latched exclusively by the caller.  WAL has the place and what of the record does not
 * follow from the WAL record itself; the operation writes that, and it and redo then do the same
 * with it, as bytes at fixed places.
 */
#include "postgres.h"

#include "access/transam.h"
#include "base/bytes.h"
#include "base/page_edit.h"
#include "pool/describe.h"
#include "pool/wal.h"
#include "tree/page.h"
#include "version/version.h"

static uint8
parts_of(Page page, const VersionRecordData *record, TransactionId xid)
{
	TransactionId newest = page_trailer(page)->newest_xid;
	uint8		parts = 0;

	if (record->superseder != xid)
		parts |= APPEND_SUPERSEDER;
	if (!TransactionIdIsValid(newest) || TransactionIdFollows(record->superseder, newest))
		parts |= APPEND_NEWEST;
	if (record->xid != InvalidTransactionId)
		parts |= APPEND_XID;
	if (record->cid != 0)
		parts |= APPEND_CID;
	if (record->older_block != 0 || record->older_offset != 0)
		parts |= APPEND_OLDER;
	if (record->newer_tag != record->tag + 1)
		parts |= APPEND_TAG;
	return parts;
}

Size
version_append_data(Page page, const VersionRecordData *record, TransactionId xid, char *data)
{
	uint8		parts = parts_of(page, record, xid);
	VersionAppendData append = {.place = version_next_offset(page) / MAXIMUM_ALIGNOF,
		.parts = parts, .kind = record->kind, .key = record->key, .flags = record->flags,
	.tag = record->tag};
	char	   *to = put_bytes(data, &append, sizeof(append));

	Assert(record->unused[0] == 0 && record->unused[1] == 0 && append.flags == record->flags);
	Assert(record->older_offset % MAXIMUM_ALIGNOF == 0);
	to = put_number(to, version_row(record));
	to = put_number(to, record->natts);
	if (record->kind == VERSION_DELTA)
	{
		to = put_number(to, record->prefix);
		to = put_number(to, record->suffix);
	}
	if (parts & APPEND_SUPERSEDER)
		to = put_number(to, (TransactionId) (xid - record->superseder));
	if (parts & APPEND_XID)
		to = put_number(to, (TransactionId) (xid - record->xid));
	if (parts & APPEND_CID)
		to = put_number(to, record->cid);
	if (parts & APPEND_OLDER)
		to = put_number(to, (uint64) record->older_block * VERSION_UNITS_A_PAGE +
						record->older_offset / MAXIMUM_ALIGNOF);
	if (parts & APPEND_TAG)
		to = put_bytes(to, &record->newer_tag, sizeof(record->newer_tag));
	to = put_bytes(to, (const char *) record + sizeof(*record), record->size - sizeof(*record));
	return to - data;
}

/* Fields that only some records have. */
static const char *
read_parts(const char *from, const char *end, TransactionId xid, uint8 parts,
		   VersionRecordData *record)
{
	uint64		number;

	record->superseder = xid;
	if (parts & APPEND_SUPERSEDER)
	{
		from = take_number(from, end, &number);
		record->superseder = xid - (TransactionId) number;
	}
	if (parts & APPEND_XID)
	{
		from = take_number(from, end, &number);
		record->xid = xid - (TransactionId) number;
	}
	if (parts & APPEND_CID)
	{
		from = take_number(from, end, &number);
		record->cid = (CommandId) number;
	}
	if (parts & APPEND_OLDER)
	{
		from = take_number(from, end, &number);
		record->older_block = (BlockNumber) (number / VERSION_UNITS_A_PAGE);
		record->older_offset = number % VERSION_UNITS_A_PAGE * MAXIMUM_ALIGNOF;
	}
	if (parts & APPEND_TAG)
		from = take_within(from, end, &record->newer_tag, sizeof(record->newer_tag));
	return from;
}

/* The record's header; returns where the data behind it begin; NULL: there are too few bytes. */
static const char *
read_append(const char *from, const char *end, TransactionId xid, VersionAppendData *append,
			VersionRecordData *record)
{
	uint64		row;

	from = take_within(from, end, append, sizeof(*append));
	if (from == NULL)
		return NULL;
	memset(record, 0, sizeof(*record));
	record->kind = append->kind;
	record->key = append->key;
	record->flags = append->flags;
	record->tag = append->tag;
	record->newer_tag = append->tag + 1;
	from = take_number(from, end, &row);
	record->row_high = (uint8) (row >> 32);
	record->row_low = (uint32) row;
	from = take_number_16(from, end, &record->natts);
	if (record->kind == VERSION_DELTA)
	{
		from = take_number_16(from, end, &record->prefix);
		from = take_number_16(from, end, &record->suffix);
	}
	return read_parts(from, end, xid, append->parts, record);
}

uint16
version_append_offset(const char *data)
{
	VersionAppendData append;

	(void) take_bytes(data, &append, sizeof(append));
	return append.place * MAXIMUM_ALIGNOF;
}

bool
version_record_delta(const VersionRecordData *record, VersionDelta *delta)
{
	if (record->kind != VERSION_DELTA)
		return false;
	delta->flags = record->flags;
	delta->newer_tag = record->newer_tag;
	delta->prefix = record->prefix;
	delta->suffix = record->suffix;
	delta->length = record->size - sizeof(*record);
	return true;
}

bool
version_append_delta(const WalContext *context, VersionDelta *delta)
{
	VersionAppendData append;
	VersionRecordData record;
	const char *end = context->next_data + context->next_length;
	const char *from;

	if (!BlockNumberIsValid(context->next_block))
		return false;
	if (context->next_delta != NULL)
	{
		*delta = *context->next_delta;
		return true;
	}
	from = read_append(context->next_data, end, InvalidTransactionId, &append, &record);
	if (from == NULL)
		return false;
	record.size = sizeof(record) + (end - from);
	return version_record_delta(&record, delta);
}

bool
version_append_apply(Page page, char *data, Size length, const WalContext *context)
{
	PGAlignedBlock buffer;
	VersionRecordData *record = (VersionRecordData *) buffer.data;
	VersionAppendData append;
	PageEdits	edits;
	const char *from = read_append(data, data + length, context->xid, &append, record);
	Size		rest = data + length - from;
	uint16		stored = MAXALIGN(sizeof(*record) + rest);
	int			offset = append.place * MAXIMUM_ALIGNOF;
	uint16		lower = offset + stored;

	if (from == NULL || offset < (int) ROWAN_PAGE_BODY || offset > (int) ROWAN_PAGE_SPECIAL ||
		sizeof(*record) + rest > (Size) (ROWAN_PAGE_SPECIAL - offset))
		elog(PANIC, "rowan: a version record in WAL does not fit on a page");
	record->size = sizeof(*record) + rest;
	memcpy(buffer.data + sizeof(*record), from, rest);
	memset(buffer.data + record->size, 0, stored - record->size);
	page_edits_begin(&edits);
	page_edits_add(&edits, offsetof(PageHeaderData, pd_lower), &lower, sizeof(lower));
	page_edits_add(&edits, offset, record, stored);
	if (append.parts & APPEND_NEWEST)
		page_edits_add_field(&edits, newest_xid, &record->superseder);
	page_edit(page, &edits);
	return true;
}

/* The row by its TID, without a tag: of the older version it says which. */
bool
version_append_describe(StringInfo buf, XLogReaderState *record, uint8 block_id)
{
	VersionRecordData version;
	VersionAppendData append;
	Size		length;
	const char *data = wal_page_data(record, block_id, &length);
	RowId		row;

	if (data == NULL ||
		read_append(data, data + length, XLogRecGetXid(record), &append, &version) == NULL)
		return false;
	row = version_row(&version);
	describe(buf, "off: %u", append.place * MAXIMUM_ALIGNOF);
	describe(buf, "row: (%u,%u)", (uint32) (row >> 8), (uint32) (row & 0xFF) + 1);
	describe(buf, "tag: %u", version.tag);
	describe_row(buf, version.flags);
	describe(buf, "kind: %s", version_kind_name(version.kind));
	if (version.kind == VERSION_DELTA)
		describe(buf, "prefix: %u, suffix: %u", version.prefix, version.suffix);
	describe(buf, "superseder: %u", version.superseder);
	if (append.parts & APPEND_XID)
		describe(buf, "xid: %u", version.xid);
	if (append.parts & APPEND_OLDER)
		describe(buf, "older: %u/%u", version.older_block, version.older_offset);
	return true;
}
