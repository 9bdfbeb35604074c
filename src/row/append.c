/*
 * append.c
 *	  Adding rows to a leaf: INSERT.
 *
 * One leaf, latched exclusively by the caller.  The operation writes down what is to become of the
 * page as bytes at fixed places, which is what it logs; it and redo then do the same with it.
 * Where cells have to be moved to make room, that would be most of the page: then both compact it.
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

/* A shorter run of a byte hardly takes more than its numbers do. */
#define RUN_AT_LEAST	8

/* Where a byte of a cell is repeated. */
typedef struct CellRun
{
	uint16		repeated;		/* so many times; 0: nowhere */
	uint16		at;				/* bytes between the fixed header and it, but for the xid */
} CellRun;

/* An INSERT, as far as it is not in the cells.  Of what parts do not name, nothing is said. */
typedef struct InsertPlan
{
	InsertRecordData record;
	uint16		delta;
	uint16		nrows;
	TransactionId page_xid;
	CommandId	page_cid;
	uint16		page_natts;
	uint16		flags;
	TransactionId newest_xid;
	uint16		dead_bytes;
	uint16		slot;
	CellRun		run;			/* INSERT_RUNS: of the first cell */
	uint16		nmoved;
	SlotData	moved[ROWAN_PAGE_ROOM / sizeof(SlotData)];
} InsertPlan;

/* ---- what an append makes of the trailer ---- */

/* A cell that is on the page now. */
void
leaf_note_cell(PageTrailer trailer, const char *cell)
{
	const RowHeaderData *header = (const RowHeaderData *) cell;
	uint16		flags = row_header_flags(header);

	if (row_flags_own(flags))
		trailer->flags &= ~PAGE_UNIFORM;
	if (flags & ROW_LOCK)
		trailer->flags |= PAGE_LOCKS;
	if ((flags & ROW_XID) && !row_flags_frozen(flags))
	{
		TransactionId xid = row_cell_xid(cell);

		if (!TransactionIdIsValid(trailer->newest_xid) ||
			TransactionIdFollows(xid, trailer->newest_xid))
			trailer->newest_xid = xid;
	}
	else if (flags & ROW_DELETED)
		trailer->flags |= PAGE_STUBS;
}

static inline bool
is_in_block(TreeKey key, RowId row)
{
	return row_logical_block(key) == row_logical_block(row);
}

static void
note_append(PageTrailer trailer, bool was_empty, const LeafAppend *append)
{
	const char *cell = append->cells;

	if (was_empty)
	{
		trailer->flags |= PAGE_UNIFORM;

		/*
		 * the caller has cleared the first row's block; other blocks of the leaf may have bits
		 * still, but not beyond the edge
		 */
		if (is_in_block(trailer->low_fence, append->first_row) &&
			(trailer->high_fence == TREE_KEY_MAX ||
			 is_in_block(trailer->high_fence - 1, append->first_row)))
			trailer->flags &= ~PAGE_VISIBLE_BITS;
	}
	/* I-TREE-9 */
	Assert(was_empty ||
		   (trailer->page_xid == append->page_xid && trailer->page_cid == append->page_cid &&
			trailer->page_natts == append->page_natts));
	trailer->page_xid = append->page_xid;
	trailer->page_cid = append->page_cid;
	trailer->page_natts = append->page_natts;
	for (int i = 0; i < append->nrows; i++)
	{
		leaf_note_cell(trailer, cell);
		cell += TYPEALIGN(append->cell_align, row_header_size((const RowHeaderData *) cell));
	}
	if (trailer->high_fence == TREE_KEY_MAX)
		trailer->next_delta = append->first_row + append->nrows - trailer->low_fence;
}

/* ---- the plan ---- */

/*
 * Where a row's cell goes below `upper`, which becomes the end of its slack; returns the padding
 * above the cell.
 */
static inline int
place_row(const RowShape *shape, int *upper, int *offset)
{
	int			end = *upper;

	*upper = page_place_below(end, row_footprint(shape), shape->aligned);
	*offset = *upper + shape->slack;
	return end - *offset - row_shape_cell(shape);
}

/* Places the cells downward from top; returns the new pd_upper, and the padding between them. */
static int
place_cells(const LeafAppend *append, int top, int *padding)
{
	const char *cell = append->cells;
	int			upper = top;

	*padding = 0;
	for (int i = 0; i < append->nrows; i++)
	{
		uint16		size = row_header_size((const RowHeaderData *) cell);
		RowShape	shape = row_cell_shape(cell, size, append->page_natts);
		int			offset;

		*padding += place_row(&shape, &upper, &offset);
		cell += TYPEALIGN(append->cell_align, size);
	}
	return upper;
}

/* The xid is the record's in all rows that have one, and one of them has. */
static bool
xids_follow(const LeafAppend *append, TransactionId xid)
{
	const char *cell = append->cells;
	bool		any = false;

	for (int i = 0; i < append->nrows; i++)
	{
		const RowHeaderData *header = (const RowHeaderData *) cell;

		if (row_header_flags(header) & ROW_XID)
		{
			if (row_flags_frozen(row_header_flags(header)) || row_cell_xid(cell) != xid)
				return false;
			any = true;
		}
		cell += TYPEALIGN(append->cell_align, row_header_size(header));
	}
	return any;
}

/* Is a row aligned, and the size of its header known by the page's natts only? */
static bool
natts_matter(const LeafAppend *append)
{
	const char *cell = append->cells;

	for (int i = 0; i < append->nrows && append->cell_align > 1; i++)
	{
		const RowHeaderData *header = (const RowHeaderData *) cell;
		uint16		flags = row_header_flags(header);

		if ((flags & (ROW_ALIGNED | ROW_NULLS | ROW_NATTS)) == (ROW_ALIGNED | ROW_NULLS))
			return true;
		cell += TYPEALIGN(append->cell_align, row_header_size(header));
	}
	return false;
}

/* What of a cell's beginning is said without its bytes, or before them. */
static inline int
cell_head(const char *cell, uint16 parts)
{
	bool		has_xid = (row_header_flags((const RowHeaderData *) cell) & ROW_XID) != 0;

	return sizeof(RowHeaderData) +
		((parts & INSERT_XID) && has_xid ? sizeof(TransactionId) : 0);
}

static CellRun
find_run(const char *cell, uint16 parts)
{
	int			head = cell_head(cell, parts);
	int			size = row_header_size((const RowHeaderData *) cell);
	CellRun		run = {0};
	int			at;
	int			repeated = longest_run(cell + head, size - head, &at);

	if (repeated >= RUN_AT_LEAST)
	{
		run.repeated = repeated;
		run.at = at;
	}
	return run;
}

static void
plan_append(Page page, const LeafAppend *append, TransactionId xid, bool runs, InsertPlan *plan)
{
	PageTrailerData old = *page_trailer(page);
	PageTrailerData trailer = old;
	int			nslots = page_nslots(page);
	int			pos = leaf_search(page, append->first_row);
	uint16		first_flags = ((const RowHeaderData *) append->cells)->size_flags;
	uint16		parts = 0;
	int			padding;
	int			upper = place_cells(append, ((PageHeader) page)->pd_upper, &padding);
	bool		repack = upper < ((PageHeader) page)->pd_lower +
		append->nrows * (int) sizeof(SlotData);

	note_append(&trailer, nslots == 0, append);
	plan->slot = pos;
	plan->record.top = repack ? 0 : ((PageHeader) page)->pd_upper;
	plan->delta = append->first_row - trailer.low_fence;
	plan->nrows = append->nrows;
	plan->page_xid = trailer.page_xid;
	plan->page_cid = trailer.page_cid;
	plan->page_natts = trailer.page_natts;
	plan->flags = trailer.flags;
	plan->newest_xid = trailer.newest_xid;
	plan->dead_bytes = old.dead_bytes + padding;
	plan->nmoved = nslots - pos;
	memcpy(plan->moved, page_slots(page) + pos, plan->nmoved * sizeof(SlotData));

	if (append->nrows == 1 && (first_flags & ~ROW_SIZE_MASK) == 0)
		parts |= INSERT_ONE;
	if (plan->delta != pos)
		parts |= INSERT_DELTA;
	if (nslots == 0)
		parts |= INSERT_PAGE;
	if (nslots == 0 || natts_matter(append))
		parts |= INSERT_NATTS;
	if (trailer.flags != old.flags || nslots == 0)
		parts |= INSERT_FLAGS;
	if (trailer.newest_xid == xid && xids_follow(append, xid))
		parts |= INSERT_XID;
	if (trailer.newest_xid != old.newest_xid && (parts & INSERT_XID) == 0)
		parts |= INSERT_NEWEST;
	if (padding > 0 && !repack)
		parts |= INSERT_DEAD;
	if (plan->nmoved > 0 && !repack)
		parts |= INSERT_SLOTS;
	if (trailer.high_fence == TREE_KEY_MAX)
		parts |= INSERT_NEXT;
	plan->run.repeated = 0;
	if (runs)
		plan->run = find_run(append->cells, parts);
	if (plan->run.repeated > 0)
		parts |= INSERT_RUNS;
	plan->record.parts = parts;
}

/* ---- the record's bytes ---- */

/* Several cells have nothing that the append's buffer has not, but for a byte each. */
StaticAssertDecl(sizeof(InsertPlan) + sizeof(((LeafAppend *) 0)->cells) +
				 ROWAN_PAGE_ROOM / sizeof(RowHeaderData) <= INSERT_MAX_BYTES,
				 "INSERT_MAX_BYTES");

/* The cell as INSERT_ONE and INSERT_XID want it, without what is repeated. */
static char *
put_cell(char *to, const char *cell, uint16 parts, const CellRun *run)
{
	int			at = (parts & INSERT_ONE) ? offsetof(RowHeaderData, tag_flags) : 0;
	int			head = cell_head(cell, parts);
	int			size = row_header_size((const RowHeaderData *) cell);

	to = put_bytes(to, cell + at, sizeof(RowHeaderData) - at);
	if (run->repeated == 0)
		return put_bytes(to, cell + head, size - head);
	to = put_bytes(to, cell + head, run->at + 1);
	head += run->at + 1 + run->repeated;
	return put_bytes(to, cell + head, size - head);
}

static char *
put_run(char *to, const CellRun *run)
{
	to = put_number(to, run->repeated);
	return run->repeated > 0 ? put_number(to, run->at) : to;
}

/* run: the first one's.  It stands for all: rows that are inserted together are alike mostly. */
static char *
put_cells(char *to, const LeafAppend *append, uint16 parts, CellRun run)
{
	const char *cell = append->cells;

	for (int i = 0; i < append->nrows; i++)
	{
		if (i > 0 && (parts & INSERT_RUNS))
			run = find_run(cell, parts);
		if (parts & INSERT_RUNS)
			to = put_run(to, &run);
		to = put_cell(to, cell, parts, &run);
		cell += TYPEALIGN(append->cell_align, row_header_size((const RowHeaderData *) cell));
	}
	return to;
}

static Size
write_insert(const InsertPlan *plan, const LeafAppend *append, char *record)
{
	uint16		parts = plan->record.parts;
	char	   *to = put_bytes(record, &plan->record, sizeof(plan->record));

	to = put_number(to, plan->slot);
	if (parts & INSERT_DELTA)
		to = put_number(to, plan->delta);
	if (parts & INSERT_PAGE)
	{
		to = put_bytes(to, &plan->page_xid, sizeof(plan->page_xid));
		to = put_bytes(to, &plan->page_cid, sizeof(plan->page_cid));
	}
	if (parts & INSERT_NATTS)
		to = put_number(to, plan->page_natts);
	if (parts & INSERT_FLAGS)
		to = put_bytes(to, &plan->flags, sizeof(plan->flags));
	if (parts & INSERT_NEWEST)
		to = put_bytes(to, &plan->newest_xid, sizeof(plan->newest_xid));
	if (parts & INSERT_DEAD)
		to = put_bytes(to, &plan->dead_bytes, sizeof(plan->dead_bytes));
	if (parts & INSERT_SLOTS)
	{
		to = put_number(to, plan->nmoved);
		to = put_bytes(to, plan->moved, plan->nmoved * sizeof(SlotData));
	}
	if ((parts & INSERT_ONE) == 0)
		to = put_number(to, plan->nrows);
	return put_cells(to, append, parts, plan->run) - record;
}

/* Reads all but the cells; returns where they are; NULL: the record, up to `end`, is too short. */
static const char *
read_insert(const char *from, const char *end, TransactionId xid, InsertPlan *plan)
{
	uint16		parts;

	from = take_within(from, end, &plan->record, sizeof(plan->record));
	if (from == NULL)
		return NULL;
	parts = plan->record.parts;
	from = take_number_16(from, end, &plan->slot);
	plan->delta = plan->slot;
	plan->nrows = 1;
	plan->nmoved = 0;
	plan->newest_xid = xid;
	plan->page_natts = 0;
	if (parts & INSERT_DELTA)
		from = take_number_16(from, end, &plan->delta);
	if (parts & INSERT_PAGE)
	{
		from = take_within(from, end, &plan->page_xid, sizeof(plan->page_xid));
		from = take_within(from, end, &plan->page_cid, sizeof(plan->page_cid));
	}
	if (parts & INSERT_NATTS)
		from = take_number_16(from, end, &plan->page_natts);
	if (parts & INSERT_FLAGS)
		from = take_within(from, end, &plan->flags, sizeof(plan->flags));
	if (parts & INSERT_NEWEST)
		from = take_within(from, end, &plan->newest_xid, sizeof(plan->newest_xid));
	if (parts & INSERT_DEAD)
		from = take_within(from, end, &plan->dead_bytes, sizeof(plan->dead_bytes));
	if (parts & INSERT_SLOTS)
	{
		from = take_number_16(from, end, &plan->nmoved);
		if (plan->nmoved > lengthof(plan->moved))
			return NULL;
		from = take_within(from, end, plan->moved, plan->nmoved * sizeof(SlotData));
	}
	if ((parts & INSERT_ONE) == 0)
		from = take_number_16(from, end, &plan->nrows);
	return from;
}

/* Takes `size` bytes of a cell, among them those that are repeated. */
static const char *
take_with_run(const char *from, char *to, int size, const CellRun *run)
{
	int			behind = size - run->at - 1 - run->repeated;

	if (run->repeated == 0)
		return take_bytes(from, to, size);
	if (behind < 0)
		elog(PANIC, "rowan: a row in WAL makes no sense");
	from = take_bytes(from, to, run->at + 1);
	to += run->at + 1;
	memset(to, to[-1], run->repeated);
	return take_bytes(from, to + run->repeated, behind);
}

static const char *
read_run(const char *from, const char *end, uint16 parts, CellRun *run)
{
	run->repeated = run->at = 0;
	if (parts & INSERT_RUNS)
		from = take_number_16(from, end, &run->repeated);
	if (run->repeated > 0)
		from = take_number_16(from, end, &run->at);
	return from;
}

/* What stands before a cell's other bytes: its run, and the header's fixed part. */
static const char *
read_cell_begin(const char *from, const char *end, uint16 parts, CellRun *run,
				RowHeaderData *header)
{
	header->size_flags = 0;
	from = read_run(from, end, parts, run);
	if ((parts & INSERT_ONE) == 0)
		from = take_within(from, end, &header->size_flags, sizeof(header->size_flags));
	return take_within(from, end, &header->tag_flags, sizeof(header->tag_flags));
}

/* A cell of a record that ends at `end`, as it is on the page; returns where the next one is. */
static const char *
read_cell(const char *from, const char *end, const InsertPlan *plan, TransactionId xid,
		  RowCellBuffer *cell)
{
	RowHeaderData header;
	uint16		parts = plan->record.parts;
	bool		one = (parts & INSERT_ONE) != 0;
	char	   *to = cell->bytes + sizeof(header);
	CellRun		run;
	int			rest;

	from = read_cell_begin(from, end, parts, &run, &header);
	if (from == NULL)
		elog(PANIC, "rowan: a row in WAL makes no sense");
	if ((parts & INSERT_XID) && (row_header_flags(&header) & ROW_XID))
		to = put_bytes(to, &xid, sizeof(xid));
	rest = one ? end - from + run.repeated : row_header_size(&header) - (to - cell->bytes);
	if (rest < 0 || rest - run.repeated > end - from ||
		to + rest > cell->bytes + ROW_SIZE_MASK)
		elog(PANIC, "rowan: a row in WAL makes no sense");
	if (one)
		header.size_flags = to + rest - cell->bytes;
	memcpy(cell->bytes, &header, sizeof(header));
	return take_with_run(from, to, rest, &run);
}

/*
 * Puts the cells where they go, which is in the gap, and makes the slots of them; returns the new
 * pd_upper.
 */
static int
lay_out_cells(Page page, const InsertPlan *plan, const char *from, const char *end,
			  TransactionId xid, SlotData *slots)
{
	char	   *bytes = (char *) page;
	int			upper = plan->record.top;

	if (upper > (int) ROWAN_PAGE_SPECIAL)
		elog(PANIC, "rowan: rows in WAL do not fit on a page");
	for (int i = 0; i < plan->nrows; i++)
	{
		RowCellBuffer buffer;
		const char *next = read_cell(from, end, plan, xid, &buffer);
		uint16		size = row_header_size((RowHeaderData *) buffer.bytes);
		RowShape	shape = row_cell_shape(buffer.bytes, size, plan->page_natts);
		int			top = upper;
		int			offset;
		int			padding = place_row(&shape, &upper, &offset);

		if (upper < (int) ROWAN_PAGE_BODY)
			elog(PANIC, "rowan: rows in WAL do not fit on a page");
		memset(bytes + upper, 0, offset - upper);
		memcpy(bytes + offset, buffer.bytes, size);
		memset(bytes + top - padding, 0, padding);
		slots[i].offset = offset;
		slots[i].delta = plan->delta + i;
		from = next;
	}
	return upper;
}

/* ---- doing it ---- */

static void
add_trailer_edits(const InsertPlan *plan, const uint64 *next_delta, PageEdits *edits)
{
	uint16		parts = plan->record.parts;

	if (parts & INSERT_NEXT)
		page_edits_add_field(edits, next_delta, next_delta);
	if (parts & INSERT_PAGE)
	{
		page_edits_add_field(edits, page_xid, &plan->page_xid);
		page_edits_add_field(edits, page_cid, &plan->page_cid);
	}
	if (parts & (INSERT_NEWEST | INSERT_XID))
		page_edits_add_field(edits, newest_xid, &plan->newest_xid);
	if (parts & INSERT_DEAD)
		page_edits_add_field(edits, dead_bytes, &plan->dead_bytes);
	if (parts & INSERT_NATTS)
		page_edits_add_field(edits, page_natts, &plan->page_natts);
	if (parts & INSERT_FLAGS)
		page_edits_add_field(edits, flags, &plan->flags);
}

static void
append_edits(Page page, const InsertPlan *plan, const char *cells, const char *end,
			 TransactionId xid)
{
	PageEdits	edits;
	SlotData	slots[ROWAN_PAGE_ROOM / sizeof(SlotData)];
	int			upper = lay_out_cells(page, plan, cells, end, xid, slots);
	int			first_slot = ROWAN_PAGE_BODY + plan->slot * sizeof(SlotData);
	int			moved_slots = first_slot + plan->nrows * sizeof(SlotData);
	uint64		next_delta = (uint64) plan->delta + plan->nrows;
	uint16		bounds[2];

	page_edits_begin(&edits);
	bounds[0] = moved_slots + plan->nmoved * sizeof(SlotData);
	bounds[1] = upper;
	page_edits_add(&edits, offsetof(PageHeaderData, pd_lower), bounds, sizeof(bounds));
	page_edits_add(&edits, first_slot, slots, plan->nrows * sizeof(SlotData));
	page_edits_add(&edits, moved_slots, plan->moved, plan->nmoved * sizeof(SlotData));
	page_edits_add(&edits, upper, NULL, plan->record.top - upper);
	add_trailer_edits(plan, &next_delta, &edits);
	page_edit(page, &edits);
}

/* Cells are moved to make room. */
static void
append_repack(Page page, const InsertPlan *plan, const char *from, const char *end,
			  TransactionId xid)
{
	PageEdits	edits;
	uint64		next_delta = (uint64) plan->delta + plan->nrows;

	page_edits_begin(&edits);
	add_trailer_edits(plan, &next_delta, &edits);
	page_edit(page, &edits);
	for (int i = 0; i < plan->nrows; i++)
	{
		RowCellBuffer cell;

		from = read_cell(from, end, plan, xid, &cell);
		page_insert_row(page, plan->slot + i, plan->delta + i, cell.bytes);
	}
	page_set_sum(page);
}

Size
insert_record(Page page, const LeafAppend *append, TransactionId xid, bool runs, char *record)
{
	InsertPlan	plan;

	plan_append(page, append, xid, runs, &plan);
	return write_insert(&plan, append, record);
}

WalNeed
insert_need(const char *record)
{
	InsertRecordData insert;

	memcpy(&insert, record, sizeof(insert));
	return insert.top == 0 ? WAL_NEEDS_PAGE : WAL_NEEDS_NOTHING;
}

bool
insert_apply(Page page, char *data, Size length, const WalContext *context)
{
	InsertPlan	plan;
	const char *cells = read_insert(data, data + length, context->xid, &plan);

	if (cells == NULL)
		elog(PANIC, "rowan: an insertion in WAL makes no sense");
	if (context->whole < insert_need(data))
		return false;
	if (plan.record.top == 0)
		append_repack(page, &plan, cells, data + length, context->xid);
	else
		append_edits(page, &plan, cells, data + length, context->xid);
	return true;
}

static void
log_insert(const PoolFile *file, PoolFrame *leaf, const char *record, Size size,
		   const MapClear *clear, RowLogical *logical)
{
	wal_begin();
	logical_log(logical, NULL, map_clear_log(clear, file));
	wal_add_page(0, leaf, insert_need(record));
	XLogRegisterBufData(0, (char *) record, size);
	wal_insert(ROWAN_XLOG_INSERT);
}

void
leaf_append(const RowTable *table, PoolFrame *leaf, const LeafAppend *append)
{
	Page		page = pool_page(leaf);
	WalContext	context = {.xid = GetCurrentTransactionIdIfAny(),
	.next_block = InvalidBlockNumber, .whole = WAL_NEEDS_PAGE};
	MapClear	clear;
	char		record[INSERT_MAX_BYTES];
	Size		size;

	FAULT_POINT(row_insert);
	pool_refuse_damaged(leaf);
	size = insert_record(page, append, context.xid, true, record);

	/* only the block of the first row can be marked: VACUUM knows none beyond the edge (I7) */
	map_clear_prepare(table, leaf, append->first_row, &clear);
	START_CRIT_SECTION();
	map_clear_apply(&clear);
	pool_change_begin(leaf);
	(void) insert_apply(page, record, size, &context);
	FAULT_POINT(row_insert_applied);
	if (table->file.logged)
		log_insert(&table->file, leaf, record, size, &clear, append->logical);
	pool_change_end(leaf);
	END_CRIT_SECTION();
	map_clear_end(&clear);
	FAULT_POINT(row_insert_logged);
	pool_unlatch(leaf);
}

static void
leaf_append_redo(XLogReaderState *record)
{
	RedoPage	leaf;

	map_clear_redo(record);
	wal_latch(record, 0, WAL_NEEDS_PAGE, &leaf);
	FAULT_POINT(row_insert_redo);
	wal_apply(record, &leaf, insert_apply);
	wal_unlatch(&leaf);
}

/* What becomes of the trailer. */
static void
describe_trailer(StringInfo buf, const InsertPlan *plan)
{
	uint16		parts = plan->record.parts;

	if (parts & INSERT_PAGE)
		describe(buf, "page_xid: %u, page_cid: %u", plan->page_xid, plan->page_cid);
	if (parts & INSERT_NATTS)
		describe(buf, "page_natts: %u", plan->page_natts);
	if (parts & INSERT_FLAGS)
		describe_flags(buf, "page_flags", plan->flags, page_flag_names);
	if (parts & INSERT_NEWEST)
		describe(buf, "newest_xid: %u", plan->newest_xid);
	if (parts & INSERT_DEAD)
		describe(buf, "dead_bytes: %u", plan->dead_bytes);
}

bool
insert_describe(StringInfo buf, const char *record, Size length, TransactionId xid)
{
	const char *end = record + length;
	InsertPlan	plan;
	RowHeaderData header;
	CellRun		run;
	const char *cells = read_insert(record, end, xid, &plan);

	if (cells == NULL ||
		read_cell_begin(cells, end, plan.record.parts, &run, &header) == NULL)
		return false;
	describe(buf, "slot: %u, delta: %u, rows: %u", plan.slot, plan.delta, plan.nrows);
	describe_row(buf, row_header_flags(&header));
	if (plan.record.top == 0)
		describe(buf, "compacted: true");
	else
		describe(buf, "upper: %u", plan.record.top);
	if (plan.nmoved > 0)
		describe(buf, "moved_slots: %u", plan.nmoved);
	if (run.repeated > 0)
		describe(buf, "repeated: %u", run.repeated);
	describe_trailer(buf, &plan);
	describe(buf, "cells: %zu", (Size) (end - cells));
	return true;
}

bool
insert_describe_part(StringInfo buf, XLogReaderState *record, uint8 block_id)
{
	Size		length;
	const char *data = wal_page_data(record, block_id, &length);

	return data != NULL && insert_describe(buf, data, length, XLogRecGetXid(record));
}

void
insert_decode(const Decoding *decoding, const char *record, Size length)
{
	TransactionId xid = XLogRecGetXid(decoding->buffer->record);
	InsertPlan	plan;
	const char *from = read_insert(record, record + length, xid, &plan);

	if (from == NULL)
		elog(ERROR, "rowan: an insertion in WAL makes no sense");
	for (int i = 1; i <= plan.nrows; i++)
	{
		RowCellBuffer cell;

		from = read_cell(from, record + length, &plan, xid, &cell);
		decode_row(decoding, cell.bytes, i == plan.nrows);
	}
}

static void
leaf_append_decode(LogicalDecodingContext *context, XLogRecordBuffer *buffer)
{
	Decoding	decoding;
	Size		length;
	char	   *data = wal_page_data(buffer->record, 0, &length);

	if (decode_begin(&decoding, context, buffer))
		insert_decode(&decoding, data, length);
}

void
append_wal_init(void)
{
	static const RowanRecordOps ops = {
		.name = "INSERT", .redo = leaf_append_redo, .decode = leaf_append_decode,
		.describe = logical_describe,
		.parts = {{"leaf", insert_describe_part},
		[MAP_CLEAR_REFERENCE] = {"map page", map_clear_describe}}
	};

	wal_register_kind(ROWAN_XLOG_INSERT, &ops);
}
