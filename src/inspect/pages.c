/*
 * pages.c
 *	  SQL functions that look into pages, trees and the pool (keys of indexes: index_pages.c).
 *
 * Pages are looked at as private copies, or as bytes that a user brings along, and
 * those may be anything: nothing here believes an offset, a length or a flag.
 * Bytes that make no sense give a row with a problem in it, not an error and
 * never a crash.
 *
 * Latches: only those that the pool takes for a copy or a flush.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "base/checksum.h"
#include "base/export.h"
#include "base/preload.h"
#include "btree/btree.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "inspect/result.h"
#include "miscadmin.h"
#include "row/codec.h"
#include "table/table.h"
#include "tree/page.h"
#include "tree/tree.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "version/version.h"

ROWAN_SQL_FUNCTION(rowan_get_page);
ROWAN_SQL_FUNCTION(rowan_page_header);
ROWAN_SQL_FUNCTION(rowan_page_header_bytes);
ROWAN_SQL_FUNCTION(rowan_page_items);
ROWAN_SQL_FUNCTION(rowan_page_items_bytes);
ROWAN_SQL_FUNCTION(rowan_file_header);
ROWAN_SQL_FUNCTION(rowan_tree_stats);
ROWAN_SQL_FUNCTION(rowan_version_store_stats);
ROWAN_SQL_FUNCTION(rowan_pool_stat);
ROWAN_SQL_FUNCTION(rowan_flush);
ROWAN_SQL_FUNCTION(rowan_prewarm);

/* How many blocks rowan.prewarm announces to the operating system in advance. */
#define PREWARM_AHEAD_BLOCKS	32

/* ---- opening ---- */

static void
refuse_relation(Relation rel, bool tables_only)
{
	char		kind = rel->rd_rel->relkind;

	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 tables_only ?
			 errmsg("\"%s\" is not a Rowan table", RelationGetRelationName(rel)) :
			 errmsg("\"%s\" is not a Rowan table or index", RelationGetRelationName(rel)),
			 RELKIND_HAS_STORAGE(kind) && kind != RELKIND_SEQUENCE ? 0 :
			 errdetail_relkind_not_supported(kind),
			 RELKIND_HAS_PARTITIONS(kind) ? errhint("Name its partitions.") : 0));
}

static Relation
open_for_looking(Oid relid, bool tables_only, PoolFile *file)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	bool		is_table;

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	is_table = rowan_relation_is_rowan(rel) && RELKIND_HAS_STORAGE(rel->rd_rel->relkind);
	if (!is_table && (tables_only || !index_is_rowan(rel)))
		refuse_relation(rel, tables_only);
	if (RELATION_IS_OTHER_TEMP(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary tables of other sessions")));
	table_pool_file(rel, file);
	return rel;
}

static Relation
open_table(Oid relid, PoolFile *file)
{
	return open_for_looking(relid, true, file);
}

Relation
inspect_open(Oid relid, PoolFile *file)
{
	return open_for_looking(relid, false, file);
}

static BlockNumber
check_block(Relation rel, const PoolFile *file, int64 block)
{
	BlockNumber nblocks = pool_file_blocks(file);

	if (block < 0 || block >= (int64) nblocks)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("block %lld of \"%s\" does not exist",
						(long long) block, RelationGetRelationName(rel)),
				 errdetail("Its file has %u blocks.", nblocks)));
	if (pool_block_is_blank(file, (BlockNumber) block))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("block %lld of \"%s\" has no content",
						(long long) block, RelationGetRelationName(rel)),
				 errdetail("The file was made longer by it in advance, or what was written there is lost.")));
	return (BlockNumber) block;
}

Page
inspect_copy_page(Oid relid, int64 block)
{
	PoolFile	file;
	Relation	rel = inspect_open(relid, &file);
	BlockNumber checked = check_block(rel, &file, block);
	Page		page = palloc(BLCKSZ);

	pool_read_copy(&file, checked, NULL, page);
	if (!PageIsNew(page))
		page_set_checksums(page, checked);
	relation_close(rel, AccessShareLock);
	return page;
}

Page
inspect_page_from_bytes(bytea *bytes)
{
	Page		page;

	if (VARSIZE_ANY_EXHDR(bytes) != BLCKSZ)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid page size"),
				 errdetail("Expected %d bytes, got %d.",
						   BLCKSZ, (int) VARSIZE_ANY_EXHDR(bytes))));
	page = palloc(BLCKSZ);
	memcpy(page, VARDATA_ANY(bytes), BLCKSZ);
	return page;
}

/* ---- making SQL values of what is on a page ---- */

/* A key; those beyond what SQL can show, like that of the right edge, stay NULL. */
static inline void
set_key(ResultRow *row, int column, TreeKey key)
{
	if (key <= (TreeKey) PG_INT64_MAX)
		set_bigint(row, column, key);
}

static inline void
set_xid(ResultRow *row, int column, TransactionId xid)
{
	if (TransactionIdIsValid(xid))
		set_datum(row, column, TransactionIdGetDatum(xid));
}

void
inspect_set_bytes(ResultRow *row, int column, const char *p, Size size)
{
	bytea	   *bytes = palloc(VARHDRSZ + size);

	SET_VARSIZE(bytes, VARHDRSZ + size);
	memcpy(VARDATA(bytes), p, size);
	set_datum(row, column, PointerGetDatum(bytes));
}

void
inspect_set_tid(ResultRow *row, int column, BlockNumber block, OffsetNumber offset)
{
	ItemPointer tid = palloc(sizeof(ItemPointerData));

	ItemPointerSet(tid, block, offset);
	set_datum(row, column, PointerGetDatum(tid));
}

static const FlagName row_flag_names[] = {
	{ROW_XID, "xid"},
	{ROW_CID, "cid"},
	{ROW_VERSION, "version"},
	{ROW_LOCK, "lock"},
	{ROW_FORWARD, "forward"},
	{ROW_NATTS, "natts"},
	{ROW_NULLS, "nulls"},
	{ROW_ALIGNED, "aligned"},
	{ROW_PAGE_XID, "page_xid"},
	{ROW_DELETED, "deleted"},
	{ROW_SPECULATIVE, "speculative"},
	{ROW_EXTERNAL, "external"}
};

static const FlagName page_flag_names[] = {
	{PAGE_UNIFORM, "uniform"},
	{PAGE_LOCKS, "locks"},
	{PAGE_VISIBLE_BITS, "visible_bits"},
	{PAGE_STUBS, "stubs"}
};

void
inspect_set_flags(ResultRow *row, int column, uint16 flags, const FlagName *names, int nnames)
{
	Datum		elements[17];
	int			n = 0;

	for (int i = 0; i < nnames; i++)
	{
		if ((flags & names[i].flag) == 0)
			continue;
		elements[n++] = CStringGetTextDatum(names[i].name);
		flags &= ~names[i].flag;
	}
	if (flags != 0)
		elements[n++] = CStringGetTextDatum(psprintf("0x%04x", flags));
	set_datum(row, column,
			  PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT)));
}

static void
set_row_flags(ResultRow *row, int column, uint16 flags)
{
	inspect_set_flags(row, column, flags, row_flag_names, lengthof(row_flag_names));
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

static const char *
page_type_name(uint8 type)
{
	switch ((RowanPageType) type)
	{
		case ROWAN_PAGE_HEADER:
			return "header";
		case ROWAN_PAGE_INNER:
			return "inner";
		case ROWAN_PAGE_LEAF:
			return "leaf";
		case ROWAN_PAGE_VERSION:
			return "version";
		case ROWAN_PAGE_INDEX_INNER:
			return "index inner";
		case ROWAN_PAGE_INDEX_LEAF:
			return "index leaf";
		case ROWAN_PAGE_FREE:
			return "free";
		case ROWAN_PAGE_UNUSED:
			return "unused";
	}
	return "unknown";
}

/* The single row of a function that returns a composite value. */
static Datum
row_result(FunctionCallInfo fcinfo, ResultRow *row)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	Assert(desc->natts <= (int) lengthof(row->values));
	desc = BlessTupleDesc(desc);
	return HeapTupleGetDatum(heap_form_tuple(desc, row->values, row->isnull));
}

void
inspect_put_row(FunctionCallInfo fcinfo, ResultRow *row)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	Assert(rsinfo->setDesc->natts <= (int) lengthof(row->values));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row->values, row->isnull);
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
	HEADER_PAGE_NATTS,
	HEADER_FLAGS,
	HEADER_MAGIC,
	HEADER_FORMAT_VERSION,
	HEADER_CRC,
	HEADER_PROBLEM
};

static bool
has_slots(Page page)
{
	uint8		type = page_trailer(page)->type;

	return type == ROWAN_PAGE_LEAF || type == ROWAN_PAGE_INNER || ipage_is_index(page);
}

static const char *
page_problem(Page page)
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
	const char *problem = page_problem(page);
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
	set_key(&row, HEADER_NEXT_KEY, trailer->next_key);
	set_xid(&row, HEADER_PAGE_XID, trailer->page_xid);
	if (TransactionIdIsValid(trailer->page_xid) && trailer->page_cid != PAGE_CID_FROZEN)
		set_datum(&row, HEADER_PAGE_CID, CommandIdGetDatum(trailer->page_cid));
	set_xid(&row, HEADER_NEWEST_XID, trailer->newest_xid);
	set_bigint(&row, HEADER_FILE_ID, trailer->file_id);
	if (has_slots(page))
		set_int(&row, HEADER_SLOTS, page_nslots(page));
	set_int(&row, HEADER_DEAD_BYTES, trailer->dead_bytes);
	set_int(&row, HEADER_PAGE_NATTS, trailer->page_natts);
	inspect_set_flags(&row, HEADER_FLAGS, trailer->flags, page_flag_names, lengthof(page_flag_names));
	set_int(&row, HEADER_MAGIC, trailer->magic);
	set_int(&row, HEADER_FORMAT_VERSION, trailer->format_version);
	set_bigint(&row, HEADER_CRC, trailer->crc);
	if (problem != NULL)
		set_text(&row, HEADER_PROBLEM, problem);
	return row_result(fcinfo, &row);
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
put_slotted_items(FunctionCallInfo fcinfo, Page page)
{
	int			nslots = page_nslots(page);

	for (int pos = 0; pos < nslots; pos++)
	{
		ResultRow	row;
		uint16		size;
		const char *cell = page_cell(page, pos, &size);

		clear_row(&row);
		set_int(&row, ITEM_SLOT, pos);
		set_int(&row, ITEM_OFFSET, page_slots(page)[pos].offset);
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
		inspect_put_row(fcinfo, &row);
	}
}

static const char *
version_kind_name(uint16 kind)
{
	switch ((VersionKind) kind)
	{
		case VERSION_SAME_DATA:
			return "same_data";
		case VERSION_DELTA:
			return "delta";
		case VERSION_FULL:
			return "full";
	}
	return "unknown";
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

/*
 * The record at offset if all of it lies within the page's used part, or NULL.
 */
static const VersionRecordData *
version_record_at(Page page, uint32 offset, uint32 end)
{
	const VersionRecordData *record = (const VersionRecordData *) ((char *) page + offset);

	if (offset + sizeof(VersionRecordData) > end ||
		record->size < sizeof(VersionRecordData) ||
		offset + record->size > end)
		return NULL;
	return record;
}

static void
put_version_items(FunctionCallInfo fcinfo, Page page)
{
	uint32		offset = ROWAN_PAGE_BODY;
	uint32		end = Min(((PageHeader) page)->pd_lower, ROWAN_PAGE_SPECIAL);

	for (int pos = 0; offset < end; pos++)
	{
		const VersionRecordData *record = version_record_at(page, offset, end);
		ResultRow	row;

		clear_row(&row);
		set_int(&row, ITEM_SLOT, pos);
		set_int(&row, ITEM_OFFSET, offset);
		if (record == NULL)
		{
			set_text(&row, ITEM_PROBLEM, "the version record makes no sense");
			inspect_put_row(fcinfo, &row);
			return;
		}
		set_int(&row, ITEM_SIZE, record->size);
		set_version_item(&row, record);
		inspect_put_row(fcinfo, &row);
		offset += MAXALIGN(record->size);
	}
}

static Datum
put_page_items(FunctionCallInfo fcinfo, Page page)
{
	InitMaterializedSRF(fcinfo, 0);
	if (PageIsNew(page))
		return (Datum) 0;
	if (page_trailer(page)->magic != ROWAN_MAGIC)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("these bytes are not a Rowan page"),
				 errdetail("Their magic number is %u, not %u.", page_trailer(page)->magic, ROWAN_MAGIC)));
	if (has_slots(page))
		put_slotted_items(fcinfo, page);
	else if (page_trailer(page)->type == ROWAN_PAGE_VERSION)
		put_version_items(fcinfo, page);
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

/* ---- files ---- */

static ArrayType *
block_array(const BlockNumber *blocks, int n)
{
	Datum	   *elements = palloc(n * sizeof(Datum));
	int			found = 0;

	for (int i = 0; i < n; i++)
	{
		if (BlockNumberIsValid(blocks[i]))
			elements[found++] = Int64GetDatum((int64) blocks[i]);
	}
	return construct_array(elements, found, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
						   TYPALIGN_DOUBLE);
}

/*
 * The file header; NULL for a table without a row so far.
 */
Datum
rowan_file_header(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);
	bool		exists = tree_exists(&file);
	FileHeaderData header;
	ResultRow	row;
	int			column = 0;

	if (exists)
		space_read_header(&file, &header);
	relation_close(rel, AccessShareLock);
	if (!exists)
		PG_RETURN_NULL();

	clear_row(&row);
	set_bigint(&row, column++, header.file_id);
	set_int(&row, column++, header.tree_kind);
	set_int(&row, column++, header.page_size_kb);
	set_bigint(&row, column++, header.high_water);
	set_block(&row, column++, header.free_head);
	set_bigint(&row, column++, header.free_count);
	set_block(&row, column++, header.version_head);
	set_block(&row, column++, header.version_tail);
	set_bigint(&row, column++, header.version_count);
	set_datum(&row, column++,
			  PointerGetDatum(block_array(header.version_active, ROWAN_ACTIVE_VERSION_PAGES)));
	return row_result(fcinfo, &row);
}

Datum
rowan_tree_stats(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);
	TreeStat	stat;
	ResultRow	row;
	int			column = 0;

	if (index_is_rowan(rel))
		inspect_index_stat(rel, &stat);
	else
		tree_get_stat(&file, &stat);
	relation_close(rel, AccessShareLock);

	clear_row(&row);
	set_int(&row, column++, stat.height);
	set_bigint(&row, column++, stat.inner_pages);
	set_bigint(&row, column++, stat.leaf_pages);
	set_bigint(&row, column++, stat.version_pages);
	set_bigint(&row, column++, stat.free_pages);
	set_bigint(&row, column++, stat.unused_pages);
	set_bigint(&row, column++, stat.rows);
	set_bigint(&row, column++, stat.leaf_free_bytes);
	set_bigint(&row, column++, stat.leaf_dead_bytes);
	return row_result(fcinfo, &row);
}

typedef struct VersionStat
{
	uint64		pages,
				records,
				record_bytes;
	TransactionId oldest_xid,	/* superseding xids */
				newest_xid;
} VersionStat;

static void
count_version_page(Page page, VersionStat *stat)
{
	uint32		offset = ROWAN_PAGE_BODY;
	uint32		end = Min(((PageHeader) page)->pd_lower, ROWAN_PAGE_SPECIAL);
	const VersionRecordData *record;

	stat->pages++;
	while (offset < end && (record = version_record_at(page, offset, end)) != NULL)
	{
		TransactionId xid = record->superseder;

		stat->records++;
		stat->record_bytes += MAXALIGN(record->size);
		if (TransactionIdIsNormal(xid))
		{
			if (!TransactionIdIsValid(stat->oldest_xid) ||
				TransactionIdPrecedes(xid, stat->oldest_xid))
				stat->oldest_xid = xid;
			if (!TransactionIdIsValid(stat->newest_xid) ||
				TransactionIdPrecedes(stat->newest_xid, xid))
				stat->newest_xid = xid;
		}
		offset += MAXALIGN(record->size);
	}
}

/*
 * Walks the list of version pages, which may lose its head meanwhile: a page
 * that has become something else ends the walk, and a list can have no more
 * pages than the file.
 */
static void
count_versions(const PoolFile *file, BlockNumber block, VersionStat *stat)
{
	BlockNumber nblocks = pool_file_blocks(file);
	Page		page = palloc(BLCKSZ);

	while (BlockNumberIsValid(block) && block < nblocks && stat->pages < nblocks)
	{
		CHECK_FOR_INTERRUPTS();
		pool_read_copy(file, block, NULL, page);
		if (page_trailer(page)->type != ROWAN_PAGE_VERSION)
			break;
		count_version_page(page, stat);
		block = page_trailer(page)->right_block;
	}
	pfree(page);
}

Datum
rowan_version_store_stats(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = open_table(PG_GETARG_OID(0), &file);
	FileHeaderData header;
	VersionStat stat;
	ResultRow	row;
	int			column = 0;

	memset(&stat, 0, sizeof(stat));
	if (tree_exists(&file))
	{
		space_read_header(&file, &header);
		count_versions(&file, header.version_head, &stat);
	}
	relation_close(rel, AccessShareLock);

	clear_row(&row);
	set_bigint(&row, column++, stat.pages);
	set_bigint(&row, column++, stat.records);
	set_bigint(&row, column++, stat.record_bytes);
	set_xid(&row, column++, stat.oldest_xid);
	set_xid(&row, column++, stat.newest_xid);
	return row_result(fcinfo, &row);
}

/* ---- the pool ---- */

Datum
rowan_pool_stat(PG_FUNCTION_ARGS)
{
	PoolStat	stat;
	ResultRow	row;
	int			column = 0;

	rowan_require_preload();
	pool_get_stat(&stat);
	clear_row(&row);
	set_bigint(&row, column++, stat.frames);
	set_bigint(&row, column++, stat.used);
	set_bigint(&row, column++, stat.dirty);
	set_bigint(&row, column++, stat.reads);
	set_bigint(&row, column++, stat.writes);
	set_bigint(&row, column++, stat.evictions);
	set_bigint(&row, column++, stat.backend_writes);
	set_bigint(&row, column++, stat.discards);
	set_bigint(&row, column++, stat.flushes);
	set_datum(&row, column++, BoolGetDatum(stat.armed != 0));
	return row_result(fcinfo, &row);
}

Datum
rowan_flush(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);

	pool_flush_file(&file);
	relation_close(rel, AccessShareLock);
	PG_RETURN_VOID();
}

/* Loads every page that the file uses; returns how many. */
static int64
load_pages(const PoolFile *file)
{
	FileHeaderData header;
	BlockNumber nblocks;

	if (!tree_exists(file))
		return 0;
	space_read_header(file, &header);
	nblocks = Min(header.high_water, pool_file_blocks(file));
	for (BlockNumber block = 0; block < nblocks; block++)
	{
		PoolRead	read;

		CHECK_FOR_INTERRUPTS();
		if (block % PREWARM_AHEAD_BLOCKS == 0)
		{
			BlockNumber end = Min(nblocks, block + 2 * PREWARM_AHEAD_BLOCKS);

			for (BlockNumber ahead = block + PREWARM_AHEAD_BLOCKS; ahead < end; ahead++)
				pool_prefetch(file, ahead);
		}

		/* that the page was in the pool is all that matters */
		pool_read_begin(file, block, 0, NULL, &read);
		(void) pool_read_end(&read);
	}
	return nblocks;
}

Datum
rowan_prewarm(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);
	Oid			table = index_is_rowan(rel) ? rel->rd_index->indrelid : RelationGetRelid(rel);
	AclResult	acl = pg_class_aclcheck(table, GetUserId(), ACL_SELECT);
	int64		loaded;

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, get_relkind_objtype(rel->rd_rel->relkind),
					   RelationGetRelationName(rel));
	loaded = load_pages(&file);
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(loaded);
}
