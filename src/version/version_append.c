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

#define KIND_MASK		0x03
#define KEY_SHIFT		2
#define KEY_MASK		0x03

StaticAssertDecl(VERSION_FULL <= KIND_MASK && VERSION_KEY_TAKEN <= KEY_MASK, "kind and key fit");

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
	if (record->natts > PG_UINT8_MAX || record->prefix > PG_UINT8_MAX ||
		record->suffix > PG_UINT8_MAX)
		parts |= APPEND_WIDE;
	if (record->newer_tag != record->tag + 1)
		parts |= APPEND_TAG;
	return parts;
}

Size
version_append_data(Page page, const VersionRecordData *record, TransactionId xid, char *data)
{
	uint8		parts = parts_of(page, record, xid);
	VersionAppendData append = {.offset = version_next_offset(page), .parts = parts,
		.kind_key = record->kind | record->key << KEY_SHIFT, .flags = record->flags,
	.tag = record->tag, .row_high = record->row_high, .row_low = record->row_low};
	char	   *to = put_bytes(data, &append, sizeof(append));

	Assert(record->unused[0] == 0 && record->unused[1] == 0);
	to = put_number(to, record->natts, (parts & APPEND_WIDE) != 0);
	if (record->kind == VERSION_DELTA)
	{
		to = put_number(to, record->prefix, (parts & APPEND_WIDE) != 0);
		to = put_number(to, record->suffix, (parts & APPEND_WIDE) != 0);
	}
	if (parts & APPEND_SUPERSEDER)
		to = put_bytes(to, &record->superseder, sizeof(record->superseder));
	if (parts & APPEND_XID)
		to = put_bytes(to, &record->xid, sizeof(record->xid));
	if (parts & APPEND_CID)
		to = put_bytes(to, &record->cid, sizeof(record->cid));
	if (parts & APPEND_OLDER)
	{
		to = put_bytes(to, &record->older_block, sizeof(record->older_block));
		to = put_bytes(to, &record->older_offset, sizeof(record->older_offset));
	}
	if (parts & APPEND_TAG)
		to = put_bytes(to, &record->newer_tag, sizeof(record->newer_tag));
	to = put_bytes(to, (const char *) record + sizeof(*record), record->size - sizeof(*record));
	return to - data;
}

/* The record's header; returns where the data behind it begin; NULL: there are too few bytes. */
static const char *
read_append(const char *from, const char *end, TransactionId xid, VersionAppendData *append,
			VersionRecordData *record)
{
	uint8		parts;
	bool		wide;

	from = take_within(from, end, append, sizeof(*append));
	if (from == NULL)
		return NULL;
	parts = append->parts;
	wide = (parts & APPEND_WIDE) != 0;
	memset(record, 0, sizeof(*record));
	record->kind = append->kind_key & KIND_MASK;
	record->key = append->kind_key >> KEY_SHIFT & KEY_MASK;
	record->flags = append->flags;
	record->tag = append->tag;
	record->newer_tag = append->tag + 1;
	record->row_high = append->row_high;
	record->row_low = append->row_low;
	record->superseder = xid;
	from = take_number_within(from, end, &record->natts, wide);
	if (record->kind == VERSION_DELTA)
	{
		from = take_number_within(from, end, &record->prefix, wide);
		from = take_number_within(from, end, &record->suffix, wide);
	}
	if (parts & APPEND_SUPERSEDER)
		from = take_within(from, end, &record->superseder, sizeof(record->superseder));
	if (parts & APPEND_XID)
		from = take_within(from, end, &record->xid, sizeof(record->xid));
	if (parts & APPEND_CID)
		from = take_within(from, end, &record->cid, sizeof(record->cid));
	if (parts & APPEND_OLDER)
	{
		from = take_within(from, end, &record->older_block, sizeof(record->older_block));
		from = take_within(from, end, &record->older_offset, sizeof(record->older_offset));
	}
	if (parts & APPEND_TAG)
		from = take_within(from, end, &record->newer_tag, sizeof(record->newer_tag));
	return from;
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
	uint16		lower = append.offset + stored;

	if (from == NULL || append.offset < ROWAN_PAGE_BODY || append.offset % MAXIMUM_ALIGNOF != 0 ||
		sizeof(*record) + rest > ROWAN_PAGE_SPECIAL - append.offset)
		elog(PANIC, "rowan: a version record in WAL does not fit on a page");
	record->size = sizeof(*record) + rest;
	memcpy(buffer.data + sizeof(*record), from, rest);
	memset(buffer.data + record->size, 0, stored - record->size);
	page_edits_begin(&edits);
	page_edits_add(&edits, offsetof(PageHeaderData, pd_lower), &lower, sizeof(lower));
	page_edits_add(&edits, append.offset, record, stored);
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
	describe(buf, "off: %u", append.offset);
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
