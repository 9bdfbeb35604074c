/*
 * change.c
 *	  Changes of several pages as one WAL record, ROWAN_XLOG_CHANGE.
 *
 * The record: main data ChangeRecordData.  Per page either its whole content
 * without the gap, or the bytes that differ (delta.c).
 *
 * Latches: the caller's, in the order of change_page; redo takes the same in the
 * same order.  A reader sees all pages before or all after the record, as all versions are odd
 * in between.  Nothing is allocated in the critical section.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xloginsert.h"
#include "base/bytes.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/flag_names.h"
#include "base/page_sum.h"
#include "miscadmin.h"
#include "pool/change.h"
#include "pool/delta.h"
#include "pool/describe.h"
#include "pool/frame.h"
#include "pool/torn.h"
#include "pool/wal.h"

/* The memory of the one change that a process may have open: too much for its stack. */
static PGAlignedBlock copies[CHANGE_MAX_PAGES];
static struct
{
	int			size;			/* 0: unchanged; -1: log the whole page */
	char		bytes[DELTA_MAX_BYTES];
}			deltas[CHANGE_MAX_PAGES];

/* ---- only one ---- */

#ifdef USE_ASSERT_CHECKING

/*
 * A change that an ERROR left open ends when its transaction, or subtransaction, is aborted, as its
 * latches do.  Nobody begins another in between.
 */
static bool change_is_open = false;

static void
forget_change(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT)
		change_is_open = false;
}

static void
forget_change_of_sub(SubXactEvent event, SubTransactionId sub, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		change_is_open = false;
}

static void
note_open(bool open)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(forget_change, NULL);
		RegisterSubXactCallback(forget_change_of_sub, NULL);
		registered = true;
	}
	Assert(change_is_open != open);
	change_is_open = open;
}

#else

#define note_open(open)		((void) 0)

#endif

/* ---- making a change ---- */

void
change_begin(PageChange *change, const PoolFile *file)
{
	note_open(true);
	change->file = file;
	change->npages = 0;
}

Page
change_page(PageChange *change, PoolFrame *frame, bool is_new)
{
	int			i;
	Page		copy;

	Assert(change_is_open);
	for (i = 0; i < change->npages; i++)
		if (change->pages[i].frame == frame)
			return change->pages[i].copy;
	if (i == CHANGE_MAX_PAGES)
		elog(ERROR, "rowan: more than %d pages in one change", CHANGE_MAX_PAGES);
	Assert(LWLockHeldByMeInMode(&frame->latch, LW_EXCLUSIVE));
	held_join_change(frame);
	if (!is_new)
		pool_refuse_damaged(frame);

	copy = (Page) copies[i].data;
	if (is_new)
		memset(copy, 0, BLCKSZ);
	else
		memcpy(copy, pool_page(frame), BLCKSZ);
	change->pages[i].frame = frame;
	change->pages[i].copy = copy;
	change->pages[i].is_new = is_new;
	change->npages++;
	return copy;
}

Page
change_find(PageChange *change, BlockNumber block)
{
	for (int i = 0; i < change->npages; i++)
		if (pool_block(change->pages[i].frame) == block)
			return change->pages[i].copy;
	return NULL;
}

static void
release_latches(PageChange *change)
{
	while (change->npages > 0)
		pool_unlatch(change->pages[--change->npages].frame);
	note_open(false);
}

void
change_abort(PageChange *change)
{
	release_latches(change);
}

/* ---- differences ---- */

static void
compute_deltas(PageChange *change)
{
	for (int i = 0; i < change->npages; i++)
		deltas[i].size = change->pages[i].is_new ? -1 :
			delta_compute(pool_page(change->pages[i].frame), change->pages[i].copy,
						  deltas[i].bytes);
}

/* ---- publishing ---- */

static inline bool
is_changed(int i)
{
	return deltas[i].size != 0;
}

/* The sum is one of the bytes that differ; its place in the header is no content of its own. */
static void
set_sums(PageChange *change)
{
	for (int i = 0; i < change->npages; i++)
	{
		Page		copy = change->pages[i].copy;

		if (deltas[i].size < 0)
			page_set_sum(copy);
		else if (is_changed(i))
			page_sum_kept(copy) = delta_sum(pool_page(change->pages[i].frame), copy,
											deltas[i].bytes, deltas[i].size);
		Assert(!is_changed(i) || page_sum_kept(copy) == page_sum(copy));
	}
}

static void
publish_copies(PageChange *change)
{
	for (int i = 0; i < change->npages; i++)
		if (is_changed(i))
			pool_change_begin(change->pages[i].frame);
	for (int i = 0; i < change->npages; i++)
		if (is_changed(i))
			memcpy(pool_page(change->pages[i].frame), change->pages[i].copy, BLCKSZ);
}

static void
log_changed_page(PageChange *change, int i, uint8 block_id)
{
	PoolFrame  *frame = change->pages[i].frame;

	if (deltas[i].size < 0)
		wal_add_whole_page(block_id, frame);
	else
	{
		wal_add_page(block_id, frame, WAL_NEEDS_NOTHING);
		XLogRegisterBufData(block_id, deltas[i].bytes, deltas[i].size);
	}
}

static void
log_change(PageChange *change, ChangeRecordData *data)
{
	int			block_id = 0;

	wal_begin();
	XLogRegisterData((char *) data, data->whole & CHANGE_HORIZON ? sizeof(ChangeRecordData) :
					 offsetof(ChangeRecordData, horizon));
	for (int i = 0; i < change->npages; i++)
	{
		if (!is_changed(i))
			continue;
		if (deltas[i].size < 0)
			data->whole |= 1 << block_id;
		log_changed_page(change, i, block_id++);
	}
	wal_insert(ROWAN_XLOG_CHANGE);
}

static bool
any_changed(PageChange *change)
{
	for (int i = 0; i < change->npages; i++)
		if (is_changed(i))
			return true;
	return false;
}

void
change_commit(PageChange *change, TransactionId horizon)
{
	ChangeRecordData data = {.whole = TransactionIdIsValid(horizon) ? CHANGE_HORIZON : 0,
	.horizon = horizon};

	compute_deltas(change);
	if (any_changed(change))
	{
		if (change->file->logged)
			XLogEnsureRecordSpace(CHANGE_MAX_PAGES, CHANGE_MAX_PAGES * 3 + 4);
		set_sums(change);
		FAULT_POINT(change_before_log);
		START_CRIT_SECTION();
		publish_copies(change);
		FAULT_POINT(change_published);
		if (change->file->logged)
			log_change(change, &data);
		FAULT_POINT(change_after_log);
		for (int i = 0; i < change->npages; i++)
			if (is_changed(i))
				pool_change_end(change->pages[i].frame);
		END_CRIT_SECTION();
	}
	release_latches(change);
}

/* ---- redo ---- */

static bool
apply_whole(Page page, char *data, Size size, const WalContext *context)
{
	PageHeaderData header;
	Size		tail;

	if (size < SizeOfPageHeaderData)
		elog(PANIC, "rowan: a whole page in WAL is too short");
	memcpy(&header, data, SizeOfPageHeaderData);
	tail = BLCKSZ - header.pd_upper;
	if (header.pd_lower < SizeOfPageHeaderData || header.pd_lower > header.pd_upper ||
		header.pd_lower + tail != size)
		elog(PANIC, "rowan: a whole page in WAL has the wrong length");
	memcpy(page, data, header.pd_lower);
	memset((char *) page + header.pd_lower, 0, header.pd_upper - header.pd_lower);
	memcpy((char *) page + header.pd_upper, data + header.pd_lower, tail);
	return true;
}

#ifdef ROWAN_FAULTS

/* The size of a list of differences without the last of them, if there are several. */
static Size
leave_last_out(const char *list, Size size)
{
	Size		at = 0;
	Size		last = 0;

	while (at < size)
	{
		uint16		header[2];

		last = at;
		memcpy(header, list + at, sizeof(header));
		at += sizeof(header) + header[1];
	}
	return last > 0 ? last : size;
}

#endif

static bool
apply_deltas(Page page, char *data, Size size, const WalContext *context)
{
#ifdef ROWAN_FAULTS
	if (torn_control_is(TORN_BYTES_LEFT_OUT))
		size = leave_last_out(data, size);
#endif
	delta_apply(page, data, size, context->whole == WAL_NEEDS_PAGE);
	return true;
}

static WalApply
how_to_apply(XLogReaderState *record, uint8 block_id)
{
	return wal_has_whole_page(record, block_id) ? apply_whole : apply_deltas;
}

/* False: the record's main data are too short. */
static bool
read_change(XLogReaderState *record, ChangeRecordData *data)
{
	const char *from = XLogRecGetData(record);
	const char *end = from + XLogRecGetDataLen(record);

	data->horizon = InvalidTransactionId;
	from = take_within(from, end, &data->whole, sizeof(data->whole));
	if (from != NULL && (data->whole & CHANGE_HORIZON))
		from = take_within(from, end, &data->horizon, sizeof(data->horizon));
	return from != NULL;
}

static void
change_redo(XLogReaderState *record)
{
	RedoPage	pages[CHANGE_MAX_PAGES];
	RelFileLocator locator;
	ChangeRecordData data;
	int			npages = XLogRecMaxBlockId(record) + 1;

	if (npages > CHANGE_MAX_PAGES)
		elog(PANIC, "rowan: %d pages in one change", npages);
	if (!read_change(record, &data))
		elog(PANIC, "rowan: a change in WAL makes no sense");
	XLogRecGetBlockTag(record, 0, &locator, NULL, NULL);
	wal_resolve_conflict(data.horizon, locator);

	for (int i = 0; i < npages; i++)
		wal_latch(record, i, WAL_NEEDS_NOTHING, &pages[i]);
	FAULT_POINT(change_redo_latched);
	for (int i = 0; i < npages; i++)
	{
		wal_apply(record, &pages[i], how_to_apply(record, i));
		if (i + 1 < npages)
			FAULT_POINT(change_redo_between);
	}
	FAULT_POINT(change_redo_applied);
	for (int i = npages - 1; i >= 0; i--)
		wal_unlatch(&pages[i]);
}

static bool
describe_change(StringInfo buf, XLogReaderState *record)
{
	ChangeRecordData data;

	if (!read_change(record, &data))
		return false;
	describe(buf, "pages: %d", XLogRecMaxBlockId(record) + 1);
	if (TransactionIdIsValid(data.horizon))
		describe(buf, "horizon: %u", data.horizon);
	return true;
}

/* From the page's end, of which the trailer is the last. */
static bool
describe_whole_page(StringInfo buf, const char *data, Size size)
{
	PageTrailerData trailer;

	if (size < SizeOfPageHeaderData + sizeof(trailer))
		return false;
	memcpy(&trailer, data + size - sizeof(trailer), sizeof(trailer));
	describe(buf, "whole: true");
	describe(buf, "type: %s", page_type_name(trailer.type));
	return true;
}

static bool
describe_changed_page(StringInfo buf, XLogReaderState *record, uint8 block_id)
{
	ChangeRecordData change;
	Size		size;
	char	   *data;
	int			n = 0;

	if (!read_change(record, &change))
		return false;
	if (wal_has_whole_page(record, block_id))
	{
		data = XLogRecGetBlockData(record, block_id, &size);
		return data != NULL && describe_whole_page(buf, data, size);
	}
	data = wal_page_data(record, block_id, &size);
	if (data == NULL)
		return false;
	while (size > 0)
	{
		const char *next = delta_next(data, size);

		if (next == NULL)
			return false;
		size -= next - data;
		data = unconstify(char *, next);
		n++;
	}
	describe(buf, "differences: %d", n);
	return true;
}

void
change_register(void)
{
	static const RowanRecordOps ops = {
		.name = "CHANGE", .redo = change_redo, .describe = describe_change,
		.parts = {{"page", describe_changed_page}}
	};

	wal_register_kind(ROWAN_XLOG_CHANGE, &ops);
}
