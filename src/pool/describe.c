/*
 * describe.c
 *	  What is in a record, in words: what all kinds have in common.
 *
 * Takes no latches, reads no pages.  Must never raise an error: recovery describes the record that
 * it could not redo.
 */
#include "postgres.h"

#include "base/format.h"
#include "pool/describe.h"

static void
begin_item(StringInfo buf)
{
	if (buf->len > 0 && buf->data[buf->len - 1] != '{')
		appendStringInfoString(buf, ", ");
}

void
describe(StringInfo buf, const char *format,...)
{
	begin_item(buf);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(buf, format, args);
		va_end(args);
		if (needed == 0)
			return;
		enlargeStringInfo(buf, needed);
	}
}

void
describe_flags(StringInfo buf, const char *name, uint16 flags, const FlagName *names)
{
	const char *between = "";

	describe(buf, "%s: [", name);
	for (; names->name != NULL; names++)
	{
		if ((flags & names->flag) == 0)
			continue;
		appendStringInfo(buf, "%s%s", between, names->name);
		flags &= ~names->flag;
		between = ", ";
	}
	if (flags != 0)
		appendStringInfo(buf, "%s0x%04x", between, flags);
	appendStringInfoChar(buf, ']');
}

void
describe_row(StringInfo buf, uint16 flags)
{
	describe_flags(buf, "flags", flags & ~ROW_CID_SHORT,
				   (flags & ROW_DELETED) ? deleted_row_flag_names : row_flag_names);
}

void
describe_begin(StringInfo buf, const char *name)
{
	describe(buf, "%s: {", name);
}

void
describe_end(StringInfo buf)
{
	appendStringInfoChar(buf, '}');
}

/* ---- what core knows of a block reference ---- */

uint32
wal_image_length(XLogReaderState *record, uint8 block_id)
{
	return XLogRecHasBlockImage(record, block_id) ? XLogRecGetBlock(record, block_id)->bimg_len : 0;
}

uint32
wal_block_data_length(XLogReaderState *record, uint8 block_id)
{
	const DecodedBkpBlock *block = XLogRecGetBlock(record, block_id);

	return block->has_data ? block->data_len : 0;
}

bool
wal_take_main_data(XLogReaderState *record, void *data, Size size)
{
	if (XLogRecGetDataLen(record) < size)
		return false;
	memcpy(data, XLogRecGetData(record), size);
	return true;
}

/* ---- records ---- */

static const WalPart *
part_of(XLogReaderState *record, uint8 block_id)
{
	static const WalPart unknown = {"page", NULL};
	const RowanRecordOps *ops = wal_kind_of_info(XLogRecGetInfo(record));

	if (ops == NULL || ops->parts[0].name == NULL)
		return &unknown;
	return block_id < WAL_MAX_PARTS && ops->parts[block_id].name != NULL ?
		&ops->parts[block_id] : &ops->parts[0];
}

const char *
wal_part_name(XLogReaderState *record, uint8 block_id)
{
	return part_of(record, block_id)->name;
}

void
wal_describe_part(StringInfo buf, XLogReaderState *record, uint8 block_id)
{
	const WalPart *part = part_of(record, block_id);

	if (part->describe != NULL && !part->describe(buf, record, block_id))
		describe(buf, "data that make no sense");
}

static void
describe_reference(StringInfo buf, XLogReaderState *record, uint8 block_id)
{
	BlockNumber block;

	XLogRecGetBlockTag(record, block_id, NULL, NULL, &block);
	describe_begin(buf, wal_part_name(record, block_id));
	describe(buf, "block: %u", block);
	wal_describe_part(buf, record, block_id);
	describe(buf, "bytes: %u", wal_block_data_length(record, block_id));
	if (XLogRecHasBlockImage(record, block_id))
		describe(buf, "image: %u", wal_image_length(record, block_id));
	describe_end(buf);
}

/* References that have nothing but their block are left to core, which shows those. */
void
wal_describe(StringInfo buf, XLogReaderState *record)
{
	const RowanRecordOps *ops = wal_kind_of_info(XLogRecGetInfo(record));
	StringInfoData own;

	if (ops == NULL)
		return;
	initStringInfo(&own);
	if (ops->describe != NULL && !ops->describe(&own, record))
		describe(&own, "data that make no sense");
	for (int i = 0; i <= XLogRecMaxBlockId(record); i++)
		if (XLogRecHasBlockRef(record, i) && wal_block_data_length(record, i) > 0)
			describe_reference(&own, record, i);
	if (wal_main_data_size(record) < XLogRecGetDataLen(record))
		describe(&own, "checks: %zu", (XLogRecGetDataLen(record) - wal_main_data_size(record)) /
				 sizeof(WalCheckEntryData));
	appendBinaryStringInfo(buf, own.data, own.len);
	pfree(own.data);
}
