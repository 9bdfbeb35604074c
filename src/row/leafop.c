/*
 * leafop.c
 *	  Replacing a row's cell: REPLACE.
 *
 * It touches a leaf and, if an older version is pushed, a version page (latched in that order).  A
 * reader sees both change together: it finds the pointer to a record only on a leaf that was
 * changed after the record was complete.
 *
 * Most cells stay where they are: then the operation writes down what is to become of the leaf as
 * bytes at fixed places, which is what it logs; it and redo do the same with it.  A cell that
 * moves, or other cells that have to make room, would be more to log: then both make the new cell
 * from the old one and put it where it goes.  But redo needs the page for that, and the record an
 * image of it once after each redo point: as long as there is none, a cell that moves into the gap
 * is logged whole.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xloginsert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/page_edit.h"
#include "base/page_sum.h"
#include "miscadmin.h"
#include "pool/describe.h"
#include "pool/wal.h"
#include "replication/decode.h"
#include "row/leafop.h"
#include "row/mapclear.h"

/* A REPLACE's part of the leaf.  Of what parts do not name, nothing is said. */
typedef struct ReplacePlan
{
	ReplaceRecordData record;
	uint16		slot;
	uint16		dead_bytes;
	uint16		flags;
	TransactionId newest_xid;
	uint8		cleared;		/* bytes below the cell that become zero; with REPLACE_UPPER:
								 * what it has of slack, below which the gap ends */
	uint16		prefix;			/* of the data, which stay as they are */
	uint16		length;			/* of the data behind it, which change */
	uint16		suffix;			/* REPLACE_MOVED, _PAIRED: of the data behind that, which stay */
	RowHeaderParts header;
	uint16		header_size;	/* bytes */
	char		bytes[BLCKSZ];	/* the header, then the data that change */
} ReplacePlan;

/* ---- the plan ---- */

/* Does the cell's pointer lead to where the version record goes? */
static bool
points_to(const RowHeaderParts *parts, const char *cell, const WalContext *context)
{
	char		pointer[VERSION_POINTER_BYTES];

	if (parts->pointer_at == 0 || !BlockNumberIsValid(context->next_block))
		return false;
	row_version_pointer(pointer, context->next_block, version_append_offset(context->next_data));
	return memcmp(cell + parts->pointer_at, pointer, sizeof(pointer)) == 0;
}

/* What of the data changes: keeps_prefix, keeps_suffix: what is equal stays where it is. */
static void
plan_data(ReplacePlan *plan, const char *old, int old_length, const char *data, int length,
		  bool keeps_prefix, bool keeps_suffix)
{
	int			common = Min(old_length, length);

	plan->prefix = keeps_prefix ? common_prefix(old, data, common) : 0;
	plan->suffix = keeps_suffix ?
		common_suffix(old + old_length, data + length, common - plan->prefix) : 0;
	plan->length = length - plan->prefix - plan->suffix;
}

/* Does the header begin as the version record lets expect? */
static bool
header_follows(const RowHeaderData *header, const VersionDelta *delta)
{
	RowHeaderData expected;

	row_header_set(&expected, row_header_size(header), replace_flags_following(delta->flags),
				   delta->newer_tag);
	return expected.tag_flags == header->tag_flags;
}

/* Leaves out what the version record says as well. */
static void
plan_pair(ReplacePlan *plan, const char *cell, const RowShape *shape, const WalContext *context)
{
	const RowHeaderData *header = (const RowHeaderData *) cell;
	VersionDelta delta;

	if (plan->record.how != REPLACE_IN_PLACE ||
		(header->size_flags & ~ROW_SIZE_MASK) != 0 ||
		!version_append_delta(context, &delta) ||
		delta.prefix != plan->prefix || delta.length != plan->length ||
		delta.prefix + delta.length + delta.suffix != shape->data)
		return;
	plan->record.how = REPLACE_PAIRED;
	if (header_follows(header, &delta))
		plan->record.parts |= REPLACE_FOLLOWS;
}

/* What becomes of the trailer. */
static void
plan_trailer(ReplacePlan *plan, Page page, const char *cell, int dead_bytes,
			 const WalContext *context)
{
	PageTrailerData trailer = *page_trailer(page);
	TransactionId old_newest = trailer.newest_xid;
	uint16		old_flags = trailer.flags;

	leaf_note_cell(&trailer, cell);
	plan->flags = trailer.flags;
	plan->newest_xid = trailer.newest_xid;
	plan->dead_bytes = dead_bytes;
	if (trailer.flags != old_flags)
		plan->record.parts |= REPLACE_FLAGS;
	if (trailer.newest_xid != old_newest)
		plan->record.parts |= trailer.newest_xid == context->xid ?
			REPLACE_NEWEST_IS_XID : REPLACE_NEWEST;
	if (dead_bytes != trailer.dead_bytes)
		plan->record.parts |= REPLACE_DEAD;
}

/*
 * Where the cell goes if it is moved into the gap, which no other cell has to make room for; false:
 * does not fit.  *padding: bytes above it.
 */
static bool
place_in_gap(Page page, int pos, const RowShape *shape, PagePlace *place, int *padding)
{
	PageHeader	header = (PageHeader) page;
	uint16		size = 0;
	const char *old = page_cell(page, pos, &size);
	RowShape	old_shape = page_cell_shape(page, old, size);
	int			old_floor = old - (char *) page - old_shape.slack;
	bool		is_lowest = old_floor == header->pd_upper;
	int			end = header->pd_upper + (is_lowest ? row_footprint(&old_shape) : 0);
	int			floor = page_place_below(end, row_footprint(shape), shape->aligned);

	if (floor < header->pd_lower || floor > header->pd_upper)
		return false;
	*padding = end - floor - row_footprint(shape);
	place->offset = floor + shape->slack;
	place->dead_bytes = page_trailer(page)->dead_bytes + *padding +
		(is_lowest ? 0 : row_footprint(&old_shape));
	return true;
}

static void
plan_move_whole(ReplacePlan *plan, const char *cell, const RowShape *shape, const PagePlace *place,
				int padding)
{
	plan->record.offset = place->offset;
	plan->record.how = REPLACE_UPPER;
	plan->record.parts = REPLACE_SLOT;
	plan->prefix = plan->suffix = 0;
	plan->length = shape->data + padding;
	plan->cleared = shape->slack;
	memcpy(plan->bytes, cell, row_shape_cell(shape));
	memset(plan->bytes + row_shape_cell(shape), 0, padding);
}

/* In place, or else made from the old one and put wherever there is room. */
static void
plan_differences(ReplacePlan *plan, Page page, int pos, const char *cell, const RowShape *shape,
				 const PagePlace *place, bool moves)
{
	uint16		old_size = 0;
	char	   *old = page_cell(page, pos, &old_size);
	RowShape	old_shape = page_cell_shape(page, old, old_size);
	int			old_offset = old - (char *) page;
	int			offset = moves ? old_offset : place->offset;
	bool		stays = !moves && offset + shape->header == old_offset + old_shape.header;

	plan->record.offset = offset;
	plan->record.how = moves ? REPLACE_MOVED : REPLACE_IN_PLACE;
	plan->record.parts = moves || offset != old_offset ? REPLACE_SLOT : 0;
	plan_data(plan, old + old_shape.header, old_shape.data, cell + shape->header, shape->data,
			  moves || stays, moves || (stays && shape->data == old_shape.data));

	/* of what the old cell had below the new one, only the slack must be zero; the rest is dead */
	plan->cleared = Min(Max(offset - old_offset, 0), shape->slack);
	memcpy(plan->bytes, cell, shape->header);
	memcpy(plan->bytes + shape->header, cell + shape->header + plan->prefix, plan->length);
}

static void
plan_replace(ReplacePlan *plan, PoolFrame *leaf, int pos, const char *cell, const RowShape *shape,
			 const WalContext *context)
{
	Page		page = pool_page(leaf);
	PagePlace	place = {.dead_bytes = page_trailer(page)->dead_bytes};
	int			padding;
	bool		moves = !page_place_in_place(page, pos, shape, &place);

	plan->header_size = shape->header;
	plan->slot = pos;
	plan->header = row_header_parts(cell);
	if (moves && wal_needs_image(leaf) && place_in_gap(page, pos, shape, &place, &padding))
		plan_move_whole(plan, cell, shape, &place, padding);
	else
		plan_differences(plan, page, pos, cell, shape, &place, moves);
	if (plan->cleared > 0)
		plan->record.parts |= REPLACE_CLEAR;
	if (plan->header.xid_at != 0 && row_cell_xid(cell) == context->xid)
		plan->record.parts |= REPLACE_XID;
	if (points_to(&plan->header, cell, context))
		plan->record.parts |= REPLACE_POINTER;
	plan_pair(plan, cell, shape, context);
	plan_trailer(plan, page, cell, place.dead_bytes, context);
}

/* ---- the record's bytes ---- */

StaticAssertDecl(sizeof(ReplacePlan) <= REPLACE_MAX_BYTES, "REPLACE_MAX_BYTES");

/* Bytes that the header's fixed part lacks, at its beginning. */
static int
fixed_left_out(const ReplaceRecordData *record)
{
	if (record->how != REPLACE_PAIRED)
		return 0;
	return record->parts & REPLACE_FOLLOWS ? sizeof(RowHeaderData) :
		offsetof(RowHeaderData, tag_flags);
}

static Size
write_replace(const ReplacePlan *plan, char *record)
{
	uint16		parts = plan->record.parts;
	const RowHeaderParts *header = &plan->header;
	int			at = fixed_left_out(&plan->record);
	char	   *to = put_bytes(record, &plan->record, sizeof(plan->record));

	if (parts & REPLACE_SLOT)
		to = put_number(to, plan->slot);
	if (parts & REPLACE_CLEAR)
		to = put_bytes(to, &plan->cleared, sizeof(plan->cleared));
	if (parts & REPLACE_DEAD)
		to = put_bytes(to, &plan->dead_bytes, sizeof(plan->dead_bytes));
	if (parts & REPLACE_FLAGS)
		to = put_number(to, plan->flags);
	if (parts & REPLACE_NEWEST)
		to = put_bytes(to, &plan->newest_xid, sizeof(plan->newest_xid));
	if (plan->record.how != REPLACE_PAIRED)
	{
		to = put_number(to, plan->prefix);
		to = put_number(to, plan->length);
	}
	if (plan->record.how == REPLACE_MOVED)
		to = put_number(to, plan->suffix);

	/* the header without what is said elsewhere */
	if (parts & REPLACE_XID)
	{
		to = put_bytes(to, plan->bytes + at, header->xid_at - at);
		at = header->xid_at + sizeof(TransactionId);
	}
	if (parts & REPLACE_POINTER)
	{
		to = put_bytes(to, plan->bytes + at, header->pointer_at - at);
		at = header->pointer_at + VERSION_POINTER_BYTES;
	}
	to = put_bytes(to, plan->bytes + at, plan->header_size + plan->length - at);
	return to - record;
}

/* What the version record has as well: numbers, and the beginning of the header it leads to. */
static bool
read_pair(const WalContext *context, ReplacePlan *plan)
{
	VersionDelta delta;
	RowHeaderData header;

	if (!version_append_delta(context, &delta))
		return false;
	plan->prefix = delta.prefix;
	plan->length = delta.length;
	plan->suffix = delta.suffix;
	row_header_set(&header, 0, replace_flags_following(delta.flags), delta.newer_tag);
	memcpy(plan->bytes, &header, sizeof(header));
	return true;
}

/* Reads what comes before the header; NULL: it makes no sense, up to `end`. */
static const char *
read_replace_parts(const char *from, const char *end, const WalContext *context, ReplacePlan *plan)
{
	uint16		parts;

	from = take_within(from, end, &plan->record, sizeof(plan->record));
	if (from == NULL)
		return NULL;
	parts = plan->record.parts;
	plan->newest_xid = context->xid;
	plan->cleared = 0;
	plan->suffix = 0;
	if (parts & REPLACE_SLOT)
		from = take_number_16(from, end, &plan->slot);
	if (parts & REPLACE_CLEAR)
		from = take_within(from, end, &plan->cleared, sizeof(plan->cleared));
	if (parts & REPLACE_DEAD)
		from = take_within(from, end, &plan->dead_bytes, sizeof(plan->dead_bytes));
	if (parts & REPLACE_FLAGS)
		from = take_number_16(from, end, &plan->flags);
	if (parts & REPLACE_NEWEST)
		from = take_within(from, end, &plan->newest_xid, sizeof(plan->newest_xid));
	if (plan->record.how == REPLACE_PAIRED)
		return read_pair(context, plan) ? from : NULL;
	from = take_number_16(from, end, &plan->prefix);
	from = take_number_16(from, end, &plan->length);
	if (plan->record.how == REPLACE_MOVED)
		from = take_number_16(from, end, &plan->suffix);
	return from;
}

/* Bytes of a header that the record does not have. */
static int
header_left_out(const ReplaceRecordData *record)
{
	return fixed_left_out(record) +
		(record->parts & REPLACE_XID ? sizeof(TransactionId) : 0) +
		(record->parts & REPLACE_POINTER ? VERSION_POINTER_BYTES : 0);
}

/* The row header's fixed part. */
static const char *
read_row_header(const char *from, const char *end, ReplacePlan *plan)
{
	int			left_out = fixed_left_out(&plan->record);
	uint16		size = plan->header_size + plan->prefix + plan->length + plan->suffix;

	if (left_out > 0)
		memcpy(plan->bytes + offsetof(RowHeaderData, size_flags), &size, sizeof(size));
	from = take_within(from, end, plan->bytes + left_out, sizeof(RowHeaderData) - left_out);
	plan->header = row_header_parts(plan->bytes);
	return from;
}

/* False: it makes no sense. */
static bool
parse_replace(const char *from, Size length, const WalContext *context, ReplacePlan *plan)
{
	const char *end = from + length;
	uint16		parts;
	char	   *to = plan->bytes + sizeof(RowHeaderData);
	int			header_size;

	from = read_replace_parts(from, end, context, plan);
	if (from == NULL)
		return false;
	parts = plan->record.parts;
	header_size = end - from - plan->length + header_left_out(&plan->record);
	if (header_size < (int) sizeof(RowHeaderData) ||
		header_size + plan->length > (int) ROWAN_PAGE_ROOM)
		return false;
	plan->header_size = header_size;
	from = read_row_header(from, end, plan);
	if (parts & REPLACE_XID)
		to = put_bytes(to, &context->xid, sizeof(context->xid));
	if (parts & REPLACE_POINTER)
	{
		int			before = plan->bytes + plan->header.pointer_at - to;

		if (before < 0 || !BlockNumberIsValid(context->next_block))
			return false;
		from = take_within(from, end, to, before);
		to += before;
		row_version_pointer(to, context->next_block, version_append_offset(context->next_data));
		to += VERSION_POINTER_BYTES;
	}
	if (from == NULL || end - from != plan->bytes + header_size + plan->length - to)
		return false;
	memcpy(to, from, end - from);
	return true;
}

static void
read_replace(const char *from, Size length, const WalContext *context, ReplacePlan *plan)
{
	if (!parse_replace(from, length, context, plan))
		elog(PANIC, "rowan: a row in WAL makes no sense");
}

/* ---- doing it ---- */

static void
replace_edits(Page page, const ReplacePlan *plan)
{
	static const char zeroes[PG_UINT8_MAX + 1];
	PageEdits	edits;
	const ReplaceRecordData *record = &plan->record;
	uint16		offset = record->offset;
	uint16		upper = offset - plan->cleared;
	int			at = offset + plan->header_size + plan->prefix;

	page_edits_begin(&edits);
	if (record->how == REPLACE_UPPER)
		page_edits_add(&edits, offsetof(PageHeaderData, pd_upper), &upper, sizeof(upper));
	if (record->parts & REPLACE_SLOT)
		page_edits_add(&edits, ROWAN_PAGE_BODY + plan->slot * sizeof(SlotData),
					   &offset, sizeof(offset));
	page_edits_add(&edits, offset - plan->cleared, zeroes, plan->cleared);
	page_edits_add(&edits, offset, plan->bytes, plan->header_size);
	page_edits_add(&edits, at, plan->bytes + plan->header_size, plan->length);
	if (record->parts & (REPLACE_NEWEST | REPLACE_NEWEST_IS_XID))
		page_edits_add_field(&edits, newest_xid, &plan->newest_xid);
	if (record->parts & REPLACE_DEAD)
		page_edits_add_field(&edits, dead_bytes, &plan->dead_bytes);
	if (record->parts & REPLACE_FLAGS)
		page_edits_add_field(&edits, flags, &plan->flags);
	page_edit(page, &edits);
}

/*
 * What it touches to replace the cell of a slot by one of that shape, in the gap; false: most of
 * the page, for others are moved.
 */
static bool
touch_move(Page page, int slot, const RowShape *shape, PageEdits *touched)
{
	PageHeader	header = (PageHeader) page;
	uint16		size = 0;
	const char *old = page_cell(page, slot, &size);
	int			old_end = old + size - (char *) page;
	int			slack = page_cell_shape(page, old, size).slack;
	int			lowest = page_place_below(header->pd_upper, row_footprint(shape), shape->aligned);
	bool		old_is_lowest = old_end - size - slack == header->pd_upper;

	if (lowest < header->pd_lower)
		return false;
	page_edits_begin(touched);
	page_edits_add(touched, offsetof(PageHeaderData, pd_lower), NULL, 2 * sizeof(uint16));
	page_edits_add(touched, ROWAN_PAGE_BODY + slot * sizeof(SlotData), NULL, sizeof(SlotData));
	page_edits_add(touched, lowest, NULL,
				   (old_is_lowest ? old_end : header->pd_upper) - lowest);
	page_edits_add_field(touched, newest_xid, NULL);
	page_edits_add_field(touched, dead_bytes, NULL);
	page_edits_add_field(touched, flags, NULL);
	return true;
}

/* The cell is made from the old one, and others are moved if need be. */
static void
replace_moving(Page page, const ReplacePlan *plan)
{
	RowCellBuffer cell;
	uint16		old_size = 0;
	const char *old = page_cell(page, plan->slot, &old_size);
	RowShape	shape;
	PageEdits	touched;
	uint32		rest;
	char	   *to;

	if (old == NULL || plan->slot >= page_nslots(page))
		elog(PANIC, "rowan: WAL record does not fit the page it is applied to");
	shape = page_cell_shape(page, old, old_size);
	if (plan->prefix + plan->suffix > shape.data)
		elog(PANIC, "rowan: WAL record does not fit the page it is applied to");
	to = put_bytes(cell.bytes, plan->bytes, plan->header_size);
	to = put_bytes(to, old + shape.header, plan->prefix);
	to = put_bytes(to, plan->bytes + plan->header_size, plan->length);
	memcpy(to, old + old_size - plan->suffix, plan->suffix);
	to += plan->suffix;
	shape = page_cell_shape(page, cell.bytes, to - cell.bytes);
	if (!touch_move(page, plan->slot, &shape, &touched))
	{
		page_replace_row(page, plan->slot, cell.bytes);
		leaf_note_cell(page_trailer(page), cell.bytes);
		page_set_sum(page);
		return;
	}
	rest = page_sum_kept(page) - page_edits_sum(page, &touched);
	page_replace_row(page, plan->slot, cell.bytes);
	leaf_note_cell(page_trailer(page), cell.bytes);
	page_sum_kept(page) = rest + page_edits_sum(page, &touched);
}

/* The data that a record says nothing of, which decoding cannot look up. */
static void
note_kept(const ReplacePlan *plan, const char *cell, const RowShape *shape, LogicalKept *kept)
{
	const char *data = cell + shape->header;

	kept->prefix = data;
	kept->prefix_size = plan->prefix;
	kept->suffix = data + Min(plan->prefix + plan->length, shape->data);
	kept->suffix_size = data + shape->data - kept->suffix;
}

Size
replace_record(PoolFrame *leaf, int pos, const char *cell, const RowShape *shape,
			   const WalContext *context, char *record, LogicalKept *kept)
{
	ReplacePlan plan;

	plan_replace(&plan, leaf, pos, cell, shape, context);
	note_kept(&plan, cell, shape, kept);
	return write_replace(&plan, record);
}

WalNeed
replace_need(const char *record)
{
	ReplaceRecordData replace;

	memcpy(&replace, record, sizeof(replace));
	return replace.how == REPLACE_MOVED ? WAL_NEEDS_PAGE : WAL_NEEDS_NOTHING;
}

uint16
replace_data_offset(Page page, const char *record)
{
	ReplaceRecordData replace;
	uint16		slot;
	int			offset;
	const char *cell;
	int			size;

	record = take_bytes(record, &replace, sizeof(replace));
	offset = replace.offset;
	if (replace.parts & REPLACE_SLOT)
	{
		(void) take_number_16(record, record + NUMBER_MAX_BYTES, &slot);
		offset = slot < page_nslots(page) ? page_slots(page)[slot].offset : 0;
	}
	if (offset < (int) ROWAN_PAGE_BODY ||
		offset + sizeof(RowHeaderData) > ROWAN_PAGE_SPECIAL)
		elog(PANIC, "rowan: WAL record does not fit the page it is applied to");
	cell = (char *) page + offset;
	size = Min(row_header_size((const RowHeaderData *) cell), (int) ROWAN_PAGE_SPECIAL - offset);
	return offset + page_cell_shape(page, cell, size).header;
}

bool
replace_apply(Page page, char *data, Size length, const WalContext *context)
{
	ReplacePlan plan;

	read_replace(data, length, context, &plan);
	if (context->whole < replace_need(data))
		return false;
	if (plan.record.how == REPLACE_MOVED)
		replace_moving(page, &plan);
	else
		replace_edits(page, &plan);
	return true;
}

Size
version_record(PoolFrame *version, const VersionRecordData *record, WalContext *context,
			   VersionDelta *delta, char *data)
{
	context->next_block = pool_block(version);
	context->next_data = data;
	context->next_length = version_append_data(pool_page(version), record, context->xid, data);
	if (version_record_delta(record, delta))
		context->next_delta = delta;
	return context->next_length;
}

void
log_version(PoolFrame *version, const char *data, Size size)
{
	wal_add_page(1, version, WAL_NEEDS_NOTHING);
	XLogRegisterBufData(1, (char *) data, size);
}

static void
log_replace(const PoolFile *file, PoolFrame *leaf, const char *replace, Size size,
			PoolFrame *version, const char *append, Size append_size, const MapClear *clear,
			RowLogical *logical, const LogicalKept *kept)
{
	wal_begin();
	logical_log(logical, kept, map_clear_log(clear, file));
	wal_add_page(0, leaf, replace_need(replace));
	XLogRegisterBufData(0, (char *) replace, size);
	if (version != NULL)
		log_version(version, append, append_size);
	wal_insert(ROWAN_XLOG_REPLACE);
}

void
leaf_replace(const RowTable *table, PoolFrame *leaf, int pos, const char *cell,
			 const RowShape *shape, PoolFrame *version, const VersionRecordData *record,
			 RowLogical *logical)
{
	WalContext	context = {.xid = GetCurrentTransactionIdIfAny(),
	.next_block = InvalidBlockNumber, .whole = WAL_NEEDS_PAGE};
	MapClear	clear;
	VersionDelta delta;
	LogicalKept kept;
	char		replace[REPLACE_MAX_BYTES];
	char		append[VERSION_APPEND_MAX];
	Size		size,
				append_size = 0;

	if (version != NULL)
		append_size = version_record(version, record, &context, &delta, append);
	FAULT_POINT(row_replace);
	pool_refuse_damaged(leaf);
	if (version != NULL)
		pool_refuse_damaged(version);
	size = replace_record(leaf, pos, cell, shape, &context, replace, &kept);
	map_clear_prepare(table, leaf, leaf_key(pool_page(leaf), pos), &clear);
	START_CRIT_SECTION();
	map_clear_apply(&clear);
	pool_change_begin(leaf);
	if (version != NULL)
	{
		pool_change_begin(version);
		(void) version_append_apply(pool_page(version), append, append_size, &context);
		FAULT_POINT(version_append);
	}
	(void) replace_apply(pool_page(leaf), replace, size, &context);
	FAULT_POINT(row_replace_applied);
	if (table->file.logged)
		log_replace(&table->file, leaf, replace, size, version, append, append_size, &clear,
					logical, &kept);
	if (version != NULL)
		pool_change_end(version);
	pool_change_end(leaf);
	END_CRIT_SECTION();
	map_clear_end(&clear);
	FAULT_POINT(row_replace_logged);
	if (version != NULL)
		pool_unlatch(version);
	pool_unlatch(leaf);
}

static void
leaf_replace_redo(XLogReaderState *record)
{
	bool		has_version = XLogRecHasBlockRef(record, 1);
	RedoPage	leaf,
				version;

	map_clear_redo(record);
	wal_latch(record, 0, WAL_NEEDS_PAGE, &leaf);
	if (has_version)
		wal_latch(record, 1, WAL_NEEDS_NOTHING, &version);
	FAULT_POINT(row_replace_redo);
	if (has_version)
	{
		wal_apply(record, &version, version_append_apply);
		FAULT_POINT(row_replace_redo_between);
	}
	wal_apply(record, &leaf, replace_apply);
	if (has_version)
		wal_unlatch(&version);
	wal_unlatch(&leaf);
}

/* Where the cell goes, and how much of it the record has. */
static void
describe_cell(StringInfo buf, const ReplacePlan *plan)
{
	if (plan->record.parts & REPLACE_SLOT)
		describe(buf, "slot: %u", plan->slot);
	describe(buf, "off: %u", plan->record.offset);
	if (plan->record.how == REPLACE_MOVED || plan->record.how == REPLACE_UPPER)
		describe(buf, "moved: true");
	describe(buf, "header: %u, keeps: %u, changes: %u", plan->header_size, plan->prefix,
			 plan->length);
	if (plan->record.how == REPLACE_MOVED)
		describe(buf, "keeps_behind: %u", plan->suffix);
}

bool
replace_describe(StringInfo buf, const char *record, Size length, const WalContext *context)
{
	ReplacePlan plan;
	RowHeaderData header;

	if (!parse_replace(record, length, context, &plan))
		return false;
	memcpy(&header, plan.bytes, sizeof(header));
	describe_cell(buf, &plan);
	describe_row(buf, row_header_flags(&header));
	describe(buf, "tag: %u", row_header_tag(&header));
	if (plan.record.parts & REPLACE_DEAD)
		describe(buf, "dead_bytes: %u", plan.dead_bytes);
	if (plan.record.parts & REPLACE_FLAGS)
		describe_flags(buf, "page_flags", plan.flags, page_flag_names);
	if (plan.record.parts & (REPLACE_NEWEST | REPLACE_NEWEST_IS_XID))
		describe(buf, "newest_xid: %u", plan.newest_xid);
	return true;
}

bool
replace_describe_part(StringInfo buf, XLogReaderState *record, uint8 block_id)
{
	Size		length;
	const char *data = wal_page_data(record, block_id, &length);
	WalContext	context;

	wal_get_context(record, block_id, &context);
	return data != NULL && replace_describe(buf, data, length, &context);
}

/* The cell as it is after the change, from what the record and its logical part have of it. */
static void
read_new_cell(XLogReaderState *record, const LogicalPart *part, RowCellBuffer *cell)
{
	WalContext	context;
	Size		length;
	char	   *data = wal_page_data(record, 0, &length);
	ReplacePlan plan;
	char	   *to;

	wal_get_context(record, 0, &context);
	read_replace(data, length, &context, &plan);
	if (plan.prefix > part->kept_size ||
		plan.header_size + plan.length + part->kept_size > (int) ROWAN_PAGE_ROOM)
		elog(ERROR, "rowan: a row in WAL makes no sense");
	to = put_bytes(cell->bytes, plan.bytes, plan.header_size);
	to = put_bytes(to, part->kept, plan.prefix);
	to = put_bytes(to, plan.bytes + plan.header_size, plan.length);
	memcpy(to, part->kept + plan.prefix, part->kept_size - plan.prefix);
}

static void
leaf_replace_decode(LogicalDecodingContext *context, XLogRecordBuffer *buffer)
{
	Decoding	decoding;
	RowCellBuffer cell;

	if (!decode_begin(&decoding, context, buffer))
		return;
	if (decoding.part.columns != NULL)
		read_new_cell(buffer->record, &decoding.part, &cell);
	decode_row(&decoding, decoding.part.columns != NULL ? cell.bytes : NULL, true);
}

void
row_wal_init(void)
{
	static const RowanRecordOps replace_ops = {
		.name = "REPLACE", .redo = leaf_replace_redo, .decode = leaf_replace_decode,
		.describe = logical_describe,
		.parts = {{"leaf", replace_describe_part}, {"version page", version_append_describe},
		[MAP_CLEAR_REFERENCE] = {"map page", map_clear_describe}}
	};

	append_wal_init();
	move_wal_init();
	wal_register_kind(ROWAN_XLOG_REPLACE, &replace_ops);
}
