/*
 * pages.c
 *	  SQL functions that look into pages (keys of indexes: index_pages.c).
 *
 * Pages are looked at as private copies, or as bytes that a user brings along, and
 * those may be anything: nothing here believes an offset, a length or a flag.
 * Bytes that make no sense give a row with a problem in it, not an error and
 * never a crash.
 *
 * Latches: only those that the pool takes for a copy.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/checksum.h"
#include "base/export.h"
#include "base/page_sum.h"
#include "catalog/pg_type.h"
#include "entry/entry.h"
#include "funcapi.h"
#include "inspect/result.h"
#include "row/codec.h"
#include "table/table.h"
#include "tree/page.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "version/version.h"

ROWAN_SQL_FUNCTION(rowan_get_page);
ROWAN_SQL_FUNCTION(rowan_page_header);
ROWAN_SQL_FUNCTION(rowan_page_header_bytes);
ROWAN_SQL_FUNCTION(rowan_page_items);
ROWAN_SQL_FUNCTION(rowan_page_items_bytes);

/* ---- making SQL values of what is on a page ---- */

static void
set_row_flags(ResultRow *row, int column, uint16 flags)
{
	inspect_set_flags(row, column, flags, row_flag_names);
}

/* The null bitmap as pg_attribute's order of 1 (not null) and 0. */
static void
set_null_bits(ResultRow *row, int column, const RowData *data)
{
	char	   *bits;

	if (data->nulls == NULL)
		return;
	bits = palloc(data->natts + 1);
	for (int i = 0; i < data->natts; i++)
		bits[i] = (data->nulls[i >> 3] & (1 << (i & 7))) ? '1' : '0';
	bits[data->natts] = '\0';
	set_text(row, column, bits);
}

bool
inspect_page_has_slots(uint8 type)
{
#define SLOTS_OF_TYPE(symbol, number, name, has_slots) case ROWAN_PAGE_##symbol: return has_slots;
	switch ((RowanPageType) type)
	{
			ROWAN_PAGE_TYPES(SLOTS_OF_TYPE)
	}
	return false;
}

/* ---- pages ---- */

Datum
rowan_get_page(PG_FUNCTION_ARGS)
{
	Page		page = inspect_copy_page(PG_GETARG_OID(0), PG_GETARG_INT64(1));
	bytea	   *result = palloc(VARHDRSZ + BLCKSZ);

	SET_VARSIZE(result, VARHDRSZ + BLCKSZ);
	memcpy(VARDATA(result), page, BLCKSZ);
	PG_RETURN_BYTEA_P(result);
}

/* Columns of rowan.page_header. */
enum
{
	HEADER_LSN,
	HEADER_CHECKSUM,
	HEADER_LOWER,
	HEADER_UPPER,
	HEADER_SPECIAL,
	HEADER_TYPE,
	HEADER_LEVEL,
	HEADER_SELF_BLOCK,
	HEADER_RIGHT_BLOCK,
	HEADER_LOW_FENCE,
	HEADER_HIGH_FENCE,
	HEADER_NEXT_KEY,
	HEADER_PAGE_XID,
	HEADER_PAGE_CID,
	HEADER_NEWEST_XID,
	HEADER_FILE_ID,
	HEADER_SLOTS,
	HEADER_DEAD_BYTES,
	HEADER_SLACK,
	HEADER_PAGE_NATTS,
	HEADER_FLAGS,
	HEADER_MAGIC,
	HEADER_FORMAT_VERSION,
	HEADER_CRC,
	HEADER_SUM,
	HEADER_PROBLEM
};

const char *
inspect_page_problem(Page page)
{
	BlockNumber self = page_trailer(page)->self_block;
	PageVerdict verdict;

	if (PageIsNew(page))
		return "the page is empty";
	if (!page_verify(page, self, &verdict))
		return verdict.problem != NULL ? verdict.problem : "wrong checksum";
	return page_check(page, self);
}

static Datum
page_header_result(FunctionCallInfo fcinfo, Page page)
{
	PageHeader	header = (PageHeader) page;
	PageTrailer trailer = page_trailer(page);
	bool		is_edge = trailer->type == ROWAN_PAGE_LEAF && trailer->high_fence == TREE_KEY_MAX;
	const char *problem = inspect_page_problem(page);
	ResultRow	row;

	clear_row(&row);
	set_datum(&row, HEADER_LSN, LSNGetDatum(PageXLogRecPtrGet(header->pd_lsn)));
	set_int(&row, HEADER_CHECKSUM, header->pd_checksum);
	set_int(&row, HEADER_LOWER, header->pd_lower);
	set_int(&row, HEADER_UPPER, header->pd_upper);
	set_int(&row, HEADER_SPECIAL, header->pd_special);
	set_text(&row, HEADER_TYPE, page_type_name(trailer->type));
	set_int(&row, HEADER_LEVEL, trailer->level);
	set_block(&row, HEADER_SELF_BLOCK, trailer->self_block);
	set_block(&row, HEADER_RIGHT_BLOCK, trailer->right_block);
	set_key(&row, HEADER_LOW_FENCE, trailer->low_fence);
	set_key(&row, HEADER_HIGH_FENCE, trailer->high_fence);
	set_key(&row, HEADER_NEXT_KEY, is_edge ? page_next_key(page) : 0);
	set_xid(&row, HEADER_PAGE_XID, trailer->page_xid);
	if (TransactionIdIsValid(trailer->page_xid) && trailer->page_cid != PAGE_CID_FROZEN)
		set_datum(&row, HEADER_PAGE_CID, CommandIdGetDatum(trailer->page_cid));
	set_xid(&row, HEADER_NEWEST_XID, trailer->newest_xid);
	set_bigint(&row, HEADER_FILE_ID, trailer->file_id);
	if (inspect_page_has_slots(page_trailer(page)->type))
		set_int(&row, HEADER_SLOTS, page_nslots(page));
	set_int(&row, HEADER_DEAD_BYTES, trailer->dead_bytes);
	if (trailer->type == ROWAN_PAGE_LEAF)
		set_int(&row, HEADER_SLACK, page_slack_bytes(page));
	set_int(&row, HEADER_PAGE_NATTS, trailer->page_natts);
	inspect_set_flags(&row, HEADER_FLAGS, trailer->flags, page_flag_names);
	set_int(&row, HEADER_MAGIC, trailer->magic);
	set_int(&row, HEADER_FORMAT_VERSION, trailer->format_version);
	set_bigint(&row, HEADER_CRC, trailer->crc);
	set_bigint(&row, HEADER_SUM, page_sum_kept(page));
	if (problem != NULL)
		set_text(&row, HEADER_PROBLEM, problem);
	return inspect_row_result(fcinfo, &row);
}

Datum
rowan_page_header(PG_FUNCTION_ARGS)
{
	return page_header_result(fcinfo, inspect_copy_page(PG_GETARG_OID(0), PG_GETARG_INT64(1)));
}

Datum
rowan_page_header_bytes(PG_FUNCTION_ARGS)
{
	return page_header_result(fcinfo, inspect_page_from_bytes(PG_GETARG_BYTEA_PP(0)));
}

static void
set_row_tid(ResultRow *row, int column, RowId id, uint8 tag)
{
	if (id < ROW_ID_LIMIT)
		inspect_set_tid(row, column, (BlockNumber) (id >> 8), ((uint16) tag << 9) | ((id & 0xFF) + 1));
}

static void
set_row_meta(ResultRow *row, const RowMeta *meta)
{
	set_int(row, ITEM_TAG, meta->tag);
	set_xid(row, ITEM_XMIN, TransactionIdIsValid(meta->xid) ? meta->xid : meta->frozen_xid);
	if (TransactionIdIsValid(meta->xid))
		set_datum(row, ITEM_CID, CommandIdGetDatum(meta->cid));
	if (meta->flags & ROW_VERSION)
	{
		set_block(row, ITEM_OLDER_BLOCK, meta->older_block);
		set_int(row, ITEM_OLDER_OFFSET, meta->older_offset);
	}
	if (meta->flags & ROW_LOCK)
	{
		set_xid(row, ITEM_LOCK_XID, meta->lock_xid);
		set_int(row, ITEM_LOCK_BITS, meta->lock_bits);
	}
	if ((meta->flags & ROW_FORWARD) == 0)
		return;
	if (meta->flags & ROW_SPECULATIVE)
		set_bigint(row, ITEM_TOKEN, meta->forward_block);
	else
		inspect_set_tid(row, ITEM_FORWARD, meta->forward_block, meta->forward_offset);
}

static void
set_leaf_item(ResultRow *row, Page page, int pos, const char *cell, uint16 size)
{
	PageTrailer trailer = page_trailer(page);
	RowId		id = leaf_key(page, pos);
	RowMeta		meta;
	RowData		data;
	RowHeaderData header;

	memcpy(&header, cell, sizeof(header));
	set_key(row, ITEM_KEY, id);
	set_row_tid(row, ITEM_TID, id, row_header_tag(&header));
	set_row_flags(row, ITEM_FLAGS, row_header_flags(&header));
	set_int(row, ITEM_SLACK, page_cell_shape(page, cell, size).slack);
	if (!row_parse(cell, size, trailer->page_xid, trailer->page_cid, trailer->page_natts,
				   &meta, &data))
	{
		set_int(row, ITEM_TAG, row_header_tag(&header));
		set_text(row, ITEM_PROBLEM, "the row's header makes no sense");
		inspect_set_bytes(row, ITEM_DATA, cell, size);
		return;
	}
	set_row_meta(row, &meta);
	set_int(row, ITEM_NATTS, data.natts);
	set_null_bits(row, ITEM_NULLS, &data);
	inspect_set_bytes(row, ITEM_DATA, data.data, data.size);
}

/* Stubs without a cell: their first key, and how many they are. */
static void
set_stubs(ResultRow *row, Page page, int pos)
{
	set_key(row, ITEM_KEY, leaf_key(page, pos));
	set_row_tid(row, ITEM_TID, leaf_key(page, pos), 0);
	set_row_flags(row, ITEM_FLAGS, ROW_DELETED);
	set_int(row, ITEM_STUBS, leaf_stubs(page, pos));
}

static void
set_inner_item(ResultRow *row, const char *cell, uint16 size)
{
	InnerCellData inner;

	if (size < sizeof(InnerCellData))
	{
		set_text(row, ITEM_PROBLEM, "the cell is too short");
		return;
	}
	memcpy(&inner, cell, sizeof(inner));
	set_key(row, ITEM_KEY, (TreeKey) inner.key_high << 32 | inner.key_low);
	set_block(row, ITEM_CHILD, inner.child);
}

static void
walk_slotted_items(Page page, PageItemSeen seen, void *arg)
{
	int			nslots = page_nslots(page);

	for (int pos = 0; pos < nslots; pos++)
	{
		ResultRow	row;
		uint16		size;
		const char *cell = page_cell(page, pos, &size);

		clear_row(&row);
		set_int(&row, ITEM_SLOT, pos);
		if (leaf_stubs(page, pos) > 0)
		{
			set_stubs(&row, page, pos);
			seen(&row, arg);
			continue;
		}
		set_int(&row, ITEM_OFFSET, page_slot_offset(page, pos));
		if (cell == NULL)
			set_text(&row, ITEM_PROBLEM, "the slot points nowhere");
		else
		{
			set_int(&row, ITEM_SIZE, size);
			if (ipage_is_index(page))
				inspect_set_index_cell(&row, page, pos, cell, size);
			else if (page_trailer(page)->type == ROWAN_PAGE_LEAF)
				set_leaf_item(&row, page, pos, cell, size);
			else
				set_inner_item(&row, cell, size);
		}
		seen(&row, arg);
	}
}

static void
set_version_item(ResultRow *row, const VersionRecordData *record)
{
	RowId		id = version_row(record);

	set_key(row, ITEM_KEY, id);
	set_row_tid(row, ITEM_TID, id, record->tag & ROW_TAG_MAX);
	set_int(row, ITEM_TAG, record->tag);
	set_row_flags(row, ITEM_FLAGS, record->flags);
	set_xid(row, ITEM_XMIN, record->xid);
	if (TransactionIdIsValid(record->xid) && !row_flags_frozen(record->flags))
		set_datum(row, ITEM_CID, CommandIdGetDatum(record->cid));
	if (record->flags & ROW_VERSION)
	{
		set_block(row, ITEM_OLDER_BLOCK, record->older_block);
		set_int(row, ITEM_OLDER_OFFSET, record->older_offset);
	}
	set_int(row, ITEM_NATTS, record->natts);
	set_text(row, ITEM_KIND, version_kind_name(record->kind));
	set_xid(row, ITEM_SUPERSEDER, record->superseder);
	set_int(row, ITEM_NEWER_TAG, record->newer_tag);
	if (record->kind == VERSION_DELTA)
	{
		set_int(row, ITEM_PREFIX, record->prefix);
		set_int(row, ITEM_SUFFIX, record->suffix);
	}
	inspect_set_bytes(row, ITEM_DATA, (const char *) record + sizeof(VersionRecordData),
					  record->size - sizeof(VersionRecordData));
}

const VersionRecordData *
inspect_version_record(Page page, uint32 offset, uint32 end)
{
	const VersionRecordData *record = (const VersionRecordData *) ((char *) page + offset);

	if (offset + sizeof(VersionRecordData) > end ||
		record->size < sizeof(VersionRecordData) ||
		offset + record->size > end)
		return NULL;
	return record;
}

static void
walk_version_items(Page page, PageItemSeen seen, void *arg)
{
	uint32		offset = ROWAN_PAGE_BODY;
	uint32		end = Min(((PageHeader) page)->pd_lower, ROWAN_PAGE_SPECIAL);

	for (int pos = 0; offset < end; pos++)
	{
		const VersionRecordData *record = inspect_version_record(page, offset, end);
		ResultRow	row;

		clear_row(&row);
		set_int(&row, ITEM_SLOT, pos);
		set_int(&row, ITEM_OFFSET, offset);
		if (record == NULL)
		{
			set_text(&row, ITEM_PROBLEM, "the version record makes no sense");
			seen(&row, arg);
			return;
		}
		set_int(&row, ITEM_SIZE, record->size);
		set_version_item(&row, record);
		seen(&row, arg);
		offset += MAXALIGN(record->size);
	}
}

void
inspect_walk_items(Page page, PageItemSeen seen, void *arg)
{
	if (inspect_page_has_slots(page_trailer(page)->type))
		walk_slotted_items(page, seen, arg);
	else if (page_trailer(page)->type == ROWAN_PAGE_VERSION)
		walk_version_items(page, seen, arg);
}

void
inspect_require_magic(Page page)
{
	if (page_trailer(page)->magic == ROWAN_MAGIC)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("these bytes are not a Rowan page"),
			 errdetail("Their magic number is %u, not %u.",
					   page_trailer(page)->magic, ROWAN_MAGIC)));
}

static void
put_item(ResultRow *row, void *arg)
{
	inspect_put_row(arg, row);
}

static Datum
put_page_items(FunctionCallInfo fcinfo, Page page)
{
	InitMaterializedSRF(fcinfo, 0);
	if (PageIsNew(page))
		return (Datum) 0;
	inspect_require_magic(page);
	inspect_walk_items(page, put_item, fcinfo);
	return (Datum) 0;
}

Datum
rowan_page_items(PG_FUNCTION_ARGS)
{
	return put_page_items(fcinfo, inspect_copy_page(PG_GETARG_OID(0), PG_GETARG_INT64(1)));
}

Datum
rowan_page_items_bytes(PG_FUNCTION_ARGS)
{
	return put_page_items(fcinfo, inspect_page_from_bytes(PG_GETARG_BYTEA_PP(0)));
}
