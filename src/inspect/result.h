/*
 * result.h
 *	  What the inspection functions of tables and of indexes share: opening, going on
 *	  after errors, and making SQL values of what is on a page.
 */
#ifndef ROWAN_INSPECT_RESULT_H
#define ROWAN_INSPECT_RESULT_H

#include "access/htup_details.h"
#include "base/flag_names.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "pool/pool.h"
#include "tree/tree.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "version/version.h"

/* Opens a Rowan table or a rowan_btree index for looking at its file. */
extern Relation inspect_open(Oid relid, PoolFile *file);

/* The same, without waiting for a lock: NULL if it is not to be had, or the relation is gone. */
extern Relation inspect_open_if_free(Oid relid, PoolFile *file);

/* The same as inspect_open; a table, and the lock that is asked for. */
extern Relation inspect_open_table(Oid relid, LOCKMODE lock, PoolFile *file);

/* Opens a relation of any kind; an error if there is none. */
extern Relation inspect_open_any(Oid relid, LOCKMODE lock);

/*
 * Error unless we own it, before anybody is made to wait for its lock.  What does not exist is for
 * others to say.
 */
extern void inspect_require_owner(Oid relid);

/* A copy of the page as it would be written now, sums included. */
extern Page inspect_copy_page(Oid relid, int64 block);

/* The user's bytes, MAXALIGNed. */
extern Page inspect_page_from_bytes(bytea *bytes);

/* One result row under construction: all NULL at first. */
typedef struct ResultRow
{
	Datum		values[32];
	bool		isnull[32];
} ResultRow;

static inline void
clear_row(ResultRow *row)
{
	memset(row->values, 0, sizeof(row->values));
	memset(row->isnull, true, sizeof(row->isnull));
}

static inline void
set_datum(ResultRow *row, int column, Datum value)
{
	row->values[column] = value;
	row->isnull[column] = false;
}

static inline void
set_int(ResultRow *row, int column, int32 value)
{
	set_datum(row, column, Int32GetDatum(value));
}

static inline void
set_text(ResultRow *row, int column, const char *value)
{
	set_datum(row, column, CStringGetTextDatum(value));
}

static inline void
set_bigint(ResultRow *row, int column, uint64 value)
{
	set_datum(row, column, Int64GetDatum((int64) value));
}

static inline void
set_block(ResultRow *row, int column, BlockNumber block)
{
	if (BlockNumberIsValid(block))
		set_bigint(row, column, block);
}

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

extern void inspect_set_bytes(ResultRow *row, int column, const char *p, Size size);
extern void inspect_set_tid(ResultRow *row, int column, BlockNumber block, OffsetNumber offset);

/* Names of the flags; bits that nobody knows are shown as a number. */
extern void inspect_set_flags(ResultRow *row, int column, uint16 flags, const FlagName *names);

/* A row of a function that returns a set; the single row of another. */
extern void inspect_put_row(FunctionCallInfo fcinfo, ResultRow *row);
extern Datum inspect_row_result(FunctionCallInfo fcinfo, ResultRow *row);

/* Columns of rowan.page_items. */
enum
{
	ITEM_SLOT,
	ITEM_OFFSET,
	ITEM_SIZE,
	ITEM_SLACK,
	ITEM_KEY,
	ITEM_TID,
	ITEM_TAG,
	ITEM_FLAGS,
	ITEM_XMIN,
	ITEM_CID,
	ITEM_OLDER_BLOCK,
	ITEM_OLDER_OFFSET,
	ITEM_LOCK_XID,
	ITEM_LOCK_BITS,
	ITEM_FORWARD,
	ITEM_TOKEN,
	ITEM_NATTS,
	ITEM_NULLS,
	ITEM_DATA,
	ITEM_CHILD,
	ITEM_STUBS,
	ITEM_KIND,
	ITEM_SUPERSEDER,
	ITEM_NEWER_TAG,
	ITEM_PREFIX,
	ITEM_SUFFIX,
	ITEM_PROBLEM
};

/* pages.c */
/* Calls seen for each row that rowan.page_items has for the page, whatever is on it. */
typedef void (*PageItemSeen) (ResultRow *row, void *arg);
extern void inspect_walk_items(Page page, PageItemSeen seen, void *arg);

/* An error if these bytes are no page of ours. */
extern void inspect_require_magic(Page page);

/* What page_header says is wrong with it, or NULL. */
extern const char *inspect_page_problem(Page page);
extern bool inspect_page_has_slots(uint8 type);

/* The record at offset of a version page if all of it lies before `end`, or NULL. */
extern const VersionRecordData *inspect_version_record(Page page, uint32 offset, uint32 end);

/* index_pages.c */
/* What rowan.page_items says of a cell of an index page, whatever is in it. */
extern void inspect_set_index_cell(ResultRow *row, Page page, int pos, const char *cell,
								   uint16 size);
extern void inspect_index_stat(Relation index, TreeStat *stat);

#endif							/* ROWAN_INSPECT_RESULT_H */
