/*
 * move.c
 *	  Moving a row: MOVE, an update that gives the row another place.
 *
 * It deletes the row where it was, with the version that is kept of it, and inserts it where it
 * goes, which may be the same leaf: what REPLACE and INSERT do, by one record.  The order of
 * latches is old leaf, new leaf, version page.  Readers see the new row no later than the old one
 * says where it has gone, as the old leaf's change ends last.
 *
 * On the same leaf the new row's data mostly are the old one's but for a few bytes, and these are
 * what is logged.  But redo needs the old row for that, which a page that was torn may not have.
 * So as long as there is no image of the page since the redo point, the new row is logged whole.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xloginsert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "miscadmin.h"
#include "pool/describe.h"
#include "replication/decode.h"
#include "row/leafop.h"

/* Sharing costs a few bytes itself. */
#define SHARES_AT_LEAST	16

/* What the new row's data have of the old row's; see pool/wal.h. */
typedef struct MoveShared
{
	uint16		head;
	uint16		prefix;
	uint16		middle;
	uint16		suffix;
} MoveShared;

/* The record of a move within a leaf. */
typedef struct NearMove
{
	bool		shares;			/* then what is shared is left out of the INSERT */
	MoveShared	shared;
	char	   *replace;
	Size		replace_size;
	char	   *insert;
	Size		insert_size;
} NearMove;

/* ---- the record of a move within a leaf ---- */

/* What the data, which end an INSERT, share with the old row's. */
static void
plan_shared(NearMove *near, const char *old_cell, const RowShape *old_shape,
			const LeafAppend *append)
{
	uint16		size = row_header_size((const RowHeaderData *) append->cells);
	RowShape	shape = row_cell_shape(append->cells, size, append->page_natts);
	const char *old = old_cell + old_shape->header;
	const char *data = append->cells + shape.header;
	MoveShared *shared = &near->shared;
	int			common = Min(old_shape->data, shape.data);

	shared->prefix = common_prefix(old, data, common);
	shared->suffix = common_suffix(old + old_shape->data, data + shape.data,
								   common - shared->prefix);
	shared->middle = old_shape->data - shared->prefix - shared->suffix;
	if (shared->prefix + shared->suffix < SHARES_AT_LEAST)
		return;
	shared->head = near->insert_size - shape.data;
	near->shares = true;
	near->insert_size -= shared->prefix + shared->suffix;
	memmove(near->insert + shared->head, near->insert + shared->head + shared->prefix,
			near->insert_size - shared->head);
}

/* Writes what comes before the REPLACE and the INSERT. */
static Size
write_near(const NearMove *near, char *record)
{
	char	   *to = put_number(record, near->replace_size << 1 | near->shares);

	if (near->shares)
	{
		to = put_number(to, near->shared.head);
		to = put_number(to, near->shared.prefix);
		to = put_number(to, near->shared.middle);
		to = put_number(to, near->shared.suffix);
	}
	return to - record;
}

/* False: it makes no sense. */
static bool
parse_near(char *record, Size length, NearMove *near)
{
	const char *end = record + length;
	uint64		replace;
	const char *from = take_number(record, end, &replace);

	near->shares = (replace & 1) != 0;
	near->replace_size = replace >> 1;
	if (near->shares)
	{
		from = take_number_16(from, end, &near->shared.head);
		from = take_number_16(from, end, &near->shared.prefix);
		from = take_number_16(from, end, &near->shared.middle);
		from = take_number_16(from, end, &near->shared.suffix);
	}
	if (from == NULL || near->replace_size > (Size) (end - from))
		return false;
	near->replace = unconstify(char *, from);
	near->insert = near->replace + near->replace_size;
	near->insert_size = end - near->insert;
	return true;
}

static void
read_near(char *record, Size length, NearMove *near)
{
	if (!parse_near(record, length, near))
		elog(PANIC, "rowan: a move in WAL makes no sense");
}

/* The INSERT with what its row shares with the old one, which is deleted already; its size. */
static Size
complete_insert(Page page, const NearMove *near, char *insert)
{
	const MoveShared *shared = &near->shared;
	int			at = replace_data_offset(page, near->replace);
	const char *old = (char *) page + at;
	char	   *to;

	if (at + shared->prefix + shared->middle + shared->suffix > (int) ROWAN_PAGE_SPECIAL ||
		shared->head > near->insert_size)
		elog(PANIC, "rowan: a move in WAL makes no sense");
	to = put_bytes(insert, near->insert, shared->head);
	to = put_bytes(to, old, shared->prefix);
	to = put_bytes(to, near->insert + shared->head, near->insert_size - shared->head);
	to = put_bytes(to, old + shared->prefix + shared->middle, shared->suffix);
	return to - insert;
}

static WalNeed
near_need(const NearMove *near)
{
	if (near->shares)
		return WAL_NEEDS_PAGE;
	return Max(replace_need(near->replace), insert_need(near->insert));
}

/* What a record says, redone. */
static bool
near_apply(Page page, char *data, Size length, const WalContext *context)
{
	NearMove	near;
	char		insert[INSERT_MAX_BYTES];

	read_near(data, length, &near);
	if (context->whole < near_need(&near))
		return false;
	(void) replace_apply(page, near.replace, near.replace_size, context);
	if (near.shares)
	{
		near.insert_size = complete_insert(page, &near, insert);
		near.insert = insert;
	}
	return insert_apply(page, near.insert, near.insert_size, context);
}

/* ---- doing it ---- */

/* What WAL has of the three changes. */
typedef struct MoveRecords
{
	char		version[VERSION_APPEND_MAX];
	Size		version_size;
	VersionDelta delta;
	char		replace[REPLACE_MAX_BYTES];
	Size		replace_size;
	char		insert[INSERT_MAX_BYTES];
	Size		insert_size;
	bool		may_share;		/* the INSERT is for that, it ends with all of the row's data */
} MoveRecords;

static void
log_near(const LeafMove *move, MoveRecords *records, char *prefix)
{
	NearMove	near = {.replace = records->replace, .replace_size = records->replace_size,
	.insert = records->insert, .insert_size = records->insert_size};

	if (records->may_share)
		plan_shared(&near, move->cell, move->shape, move->append);
	wal_add_page(0, move->leaf, near_need(&near));
	XLogRegisterBufData(0, prefix, write_near(&near, prefix));
	XLogRegisterBufData(0, near.replace, near.replace_size);
	XLogRegisterBufData(0, near.insert, near.insert_size);
}

static void
log_far(const LeafMove *move, MoveRecords *records)
{
	wal_add_page(0, move->leaf, replace_need(records->replace));
	XLogRegisterBufData(0, records->replace, records->replace_size);
	wal_add_page(MOVE_TO_REFERENCE, move->to, insert_need(records->insert));
	XLogRegisterBufData(MOVE_TO_REFERENCE, records->insert, records->insert_size);
}

static void
log_move(const PoolFile *file, const LeafMove *move, MoveRecords *records)
{
	char		prefix[5 * NUMBER_MAX_BYTES];

	wal_begin();
	logical_log(move->append->logical, NULL, map_clear_log(&move->clear, file));
	if (move->to == move->leaf)
		log_near(move, records, prefix);
	else
		log_far(move, records);
	if (move->version != NULL)
		log_version(move->version, records->version, records->version_size);
	wal_insert(ROWAN_XLOG_MOVE);
}

static void
refuse_damaged(const LeafMove *move)
{
	pool_refuse_damaged(move->leaf);
	pool_refuse_damaged(move->to);
	if (move->version != NULL)
		pool_refuse_damaged(move->version);
}

static void
begin_changes(const LeafMove *move)
{
	pool_change_begin(move->leaf);
	if (move->to != move->leaf)
		pool_change_begin(move->to);
	if (move->version != NULL)
		pool_change_begin(move->version);
}

static void
end_changes(const LeafMove *move)
{
	if (move->version != NULL)
		pool_change_end(move->version);
	if (move->to != move->leaf)
		pool_change_end(move->to);
	pool_change_end(move->leaf);
}

/* The insertion is planned when the old cell has been replaced: it may go to the same page. */
static void
apply_move(const LeafMove *move, MoveRecords *records, WalContext *context)
{
	LogicalKept kept;

	if (move->version != NULL)
		(void) version_append_apply(pool_page(move->version), records->version,
									records->version_size, context);
	records->replace_size = replace_record(move->leaf, move->pos, move->cell, move->shape, context,
										   records->replace, &kept);
	(void) replace_apply(pool_page(move->leaf), records->replace, records->replace_size, context);
	FAULT_POINT(row_move_applied);
	records->insert_size = insert_record(pool_page(move->to), move->append, context->xid,
										 !records->may_share, records->insert);
	(void) insert_apply(pool_page(move->to), records->insert, records->insert_size, context);
}

void
leaf_move(const RowTable *table, LeafMove *move)
{
	WalContext	context = {.xid = GetCurrentTransactionIdIfAny(),
	.next_block = InvalidBlockNumber, .whole = WAL_NEEDS_PAGE};
	MoveRecords records;

	FAULT_POINT(row_move);
	refuse_damaged(move);
	/* decoding needs all of the row */
	records.may_share = move->to == move->leaf && move->append->logical == NULL &&
		!wal_needs_image(move->leaf);
	if (move->version != NULL)
		records.version_size = version_record(move->version, move->record, &context,
											  &records.delta, records.version);
	START_CRIT_SECTION();
	map_clear_apply(&move->clear);
	begin_changes(move);
	apply_move(move, &records, &context);
	if (table->file.logged)
		log_move(&table->file, move, &records);
	end_changes(move);
	END_CRIT_SECTION();
	map_clear_end(&move->clear);
	FAULT_POINT(row_move_logged);
	leaf_move_unlatch_others(move);
	pool_unlatch(move->leaf);
}

/* ---- redo ---- */

static void
leaf_move_redo(XLogReaderState *record)
{
	bool		has_version = XLogRecHasBlockRef(record, 1);
	bool		is_far = XLogRecHasBlockRef(record, MOVE_TO_REFERENCE);
	RedoPage	leaf,
				to,
				version;

	map_clear_redo(record);
	wal_latch(record, 0, WAL_NEEDS_PAGE, &leaf);
	if (is_far)
		wal_latch(record, MOVE_TO_REFERENCE, WAL_NEEDS_PAGE, &to);
	if (has_version)
		wal_latch(record, 1, WAL_NEEDS_NOTHING, &version);
	FAULT_POINT(row_move_redo);
	if (has_version)
		wal_apply(record, &version, version_append_apply);
	if (is_far)
		wal_apply(record, &to, insert_apply);
	FAULT_POINT(row_move_redo_between);
	wal_apply(record, &leaf, is_far ? replace_apply : near_apply);
	if (has_version)
		wal_unlatch(&version);
	if (is_far)
		wal_unlatch(&to);
	wal_unlatch(&leaf);
}

static bool
describe_near(StringInfo buf, char *data, Size length, const WalContext *context)
{
	NearMove	near;

	if (!parse_near(data, length, &near))
		return false;
	describe_begin(buf, "old row");
	if (!replace_describe(buf, near.replace, near.replace_size, context))
		return false;
	describe(buf, "bytes: %zu", near.replace_size);
	describe_end(buf);
	describe_begin(buf, "new row");
	if (!insert_describe(buf, near.insert, near.insert_size, context->xid))
		return false;
	describe(buf, "bytes: %zu", near.insert_size);
	describe_end(buf);
	if (near.shares)
		describe(buf, "prefix: %u, suffix: %u", near.shared.prefix, near.shared.suffix);
	return true;
}

static bool
describe_old_leaf(StringInfo buf, XLogReaderState *record, uint8 block_id)
{
	Size		length;
	char	   *data = wal_page_data(record, block_id, &length);
	WalContext	context;

	if (XLogRecHasBlockRef(record, MOVE_TO_REFERENCE))
		return replace_describe_part(buf, record, block_id);
	wal_get_context(record, block_id, &context);
	return data != NULL && describe_near(buf, data, length, &context);
}

static void
leaf_move_decode(LogicalDecodingContext *context, XLogRecordBuffer *buffer)
{
	bool		is_far = XLogRecHasBlockRef(buffer->record, MOVE_TO_REFERENCE);
	Decoding	decoding;
	Size		length;
	char	   *data = wal_page_data(buffer->record, is_far ? MOVE_TO_REFERENCE : 0, &length);
	NearMove	near = {.insert = data, .insert_size = length};

	if (!decode_begin(&decoding, context, buffer))
		return;
	if (!is_far)
		read_near(data, length, &near);
	insert_decode(&decoding, near.insert, near.insert_size);
}

void
move_wal_init(void)
{
	static const RowanRecordOps ops = {
		.name = "MOVE", .redo = leaf_move_redo, .decode = leaf_move_decode,
		.describe = logical_describe,
		.parts = {{"leaf", describe_old_leaf}, {"version page", version_append_describe},
		[MAP_CLEAR_REFERENCE] = {"map page", map_clear_describe},
		[MOVE_TO_REFERENCE] = {"new leaf", insert_describe_part}}
	};

	wal_register_kind(ROWAN_XLOG_MOVE, &ops);
}
