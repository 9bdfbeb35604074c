/*
 * wal.c
 *	  Rowan's WAL resource manager: dispatch to the layers that own record kinds, what an operation
 *	  needs to log one, and our own consistency check.  What redo needs: redo.c, torn.c.
 *
 * Takes no latches.  Nothing is allocated where an operation is logged.
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xlog_internal.h"
#include "access/xloginsert.h"
#include "access/xlogutils.h"
#include "base/checksum.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/page_sum.h"
#include "pool/change.h"
#include "pool/copied.h"
#include "pool/describe.h"
#include "pool/frame.h"
#include "pool/redo.h"
#include "pool/restartpoint.h"
#include "pool/torn.h"
#include "pool/wal.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"

#define KINDS	(ROWAN_XLOG_KIND_MASK / 0x10 + 1)

static const RowanRecordOps *kinds[KINDS];

bool		wal_check_enabled;

/* ---- dispatch ---- */

void
wal_register_kind(uint8 info, const RowanRecordOps *ops)
{
	Assert((info & ~ROWAN_XLOG_KIND_MASK) == 0);
	Assert(kinds[info / 0x10] == NULL);
	kinds[info / 0x10] = ops;
}

const RowanRecordOps *
wal_kind_of_info(uint8 info)
{
	return kinds[(info & ROWAN_XLOG_KIND_MASK) / 0x10];
}

static void
rowan_redo(XLogReaderState *record)
{
	const RowanRecordOps *ops = wal_kind_of_info(XLogRecGetInfo(record));

	if (ops == NULL)
		elog(PANIC, "rowan: unknown WAL record kind %u", wal_record_kind(record));
	restartpoint_first_record();
	restartpoint_follow_up();
	torn_report();
	redo_prefetch(record);
	ops->redo(record);
	pool_assert_unlatched();
}

static const char *
rowan_identify(uint8 info)
{
	const RowanRecordOps *ops = wal_kind_of_info(info);

	return ops ? ops->name : NULL;
}

static void
rowan_decode(LogicalDecodingContext *context, XLogRecordBuffer *buffer)
{
	const RowanRecordOps *ops = wal_kind_of_info(XLogRecGetInfo(buffer->record));

	ReorderBufferProcessXid(context->reorder, XLogRecGetXid(buffer->record), buffer->origptr);
	if (ops != NULL && ops->decode != NULL)
		ops->decode(context, buffer);
}

/* End of redo, before the end-of-recovery checkpoint, which knows nothing of the pool. */
static void
rowan_cleanup(void)
{
	redo_check_missing();
	FAULT_POINT(redo_cleanup);
	pool_flush_all();
	torn_end_of_redo();
	redo_seal_grown();
	FAULT_POINT(redo_flushed);
}

void
wal_resolve_conflict(TransactionId horizon, RelFileLocator locator)
{
	pool_assert_unlatched();
	if (InHotStandby && TransactionIdIsValid(horizon))
		resolve_snapshot_conflict(horizon, locator);
}

/* ---- the consistency check ---- */

#define WAL_MAX_PAGES	(CHANGE_MAX_PAGES + 4)

/* Of the page without marks: redo may have them or not. */
static uint32
checked_crc(Page page)
{
	PGAlignedBlock copy;

	memcpy(copy.data, page, BLCKSZ);
	if (pool_forget_marks != NULL)
		pool_forget_marks((Page) copy.data);
	return page_used_crc((Page) copy.data);
}

/* In critical sections: nothing is allocated.  A record's entries live until it is inserted. */
static void
add_check_entry(uint8 block_id, Page page)
{
	static WalCheckEntryData entries[WAL_MAX_PAGES];
	WalCheckEntryData *entry = &entries[block_id];

	entry->crc = checked_crc(page);
	entry->block_id = block_id;
	entry->magic = WAL_CHECK_MAGIC;
	XLogRegisterData((char *) entry, sizeof(WalCheckEntryData));
}

/* The entry that ends at *size of the record's main data, which is cut by it; false: none. */
static bool
last_check_entry(XLogReaderState *record, Size *size, WalCheckEntryData *entry)
{
	if (*size < sizeof(WalCheckEntryData))
		return false;
	memcpy(entry, XLogRecGetData(record) + *size - sizeof(WalCheckEntryData),
		   sizeof(WalCheckEntryData));
	if (entry->magic != WAL_CHECK_MAGIC)
		return false;
	*size -= sizeof(WalCheckEntryData);
	return true;
}

Size
wal_main_data_size(XLogReaderState *record)
{
	Size		size = XLogRecGetDataLen(record);
	WalCheckEntryData entry;

	while (last_check_entry(record, &size, &entry))
		;
	return size;
}

void
wal_check_redo(XLogReaderState *record, uint8 block_id, Page page)
{
	Size		size = XLogRecGetDataLen(record);
	WalCheckEntryData entry;

	while (last_check_entry(record, &size, &entry))
	{
		uint32		crc;

		if (entry.block_id != block_id)
			continue;
		crc = checked_crc(page);
		if (entry.crc != crc)
			ereport(PANIC,
					(errmsg("rowan: redo of the WAL record at %X/%X made a different page",
							LSN_FORMAT_ARGS(record->ReadRecPtr)),
					 errdetail("Block reference %u: CRC %08X when logged, %08X now.",
							   block_id, entry.crc, crc)));
	}
}

/* ---- logging an operation ---- */

/* A page of the record that is being put together, and what wal_insert gives back to it. */
typedef struct LoggedPage
{
	PoolFrame  *frame;
	WalNeed		need;
	bool		whole;			/* the record has all of it, whatever core decides */
	bool		copied;			/* the same, as an image */
	uint16		upper;
	uint32		sum;
} LoggedPage;

static LoggedPage logged[WAL_MAX_PAGES];
static int	nlogged;

void
wal_begin(void)
{
	nlogged = 0;
	XLogBeginInsert();
}

/* May the page be of a copied database, and not have changed since?  See copied.h. */
static bool
is_copied(PoolFrame *frame)
{
	XLogRecPtr	copied = pg_atomic_read_u64(&pool_control->copied_lsn);

	return unlikely(copied != InvalidXLogRecPtr) && PageGetLSN(pool_page(frame)) <= copied;
}

static LoggedPage *
note_logged(PoolFrame *frame, WalNeed need, bool whole)
{
	LoggedPage *page = &logged[nlogged++];

	Assert(nlogged <= WAL_MAX_PAGES);
	Assert(LWLockHeldByMeInMode(&frame->latch, LW_EXCLUSIVE));
	page->frame = frame;
	page->need = need;
	page->whole = whole;
	page->copied = !whole && is_copied(frame);
	page->upper = ((PageHeader) pool_page(frame))->pd_upper;
	page->sum = page_sum_kept(pool_page(frame));
	return page;
}

/*
 * Core decides about an image by the page's LSN: shown the LSN of the last image instead, it adds
 * one if there has been none since the redo point.  It leaves the gap out of the image: shown one
 * that goes up to the trailer, it leaves out the cells.  Where the gap really ends is in the place
 * of the sum, which is in the reference's data.
 */
static void
disguise(const LoggedPage *page)
{
	Page		bytes = pool_page(page->frame);

	PageSetLSN(bytes, *pool_image_lsn(page->frame));
	if (page->need == WAL_NEEDS_SLOTS)
	{
		page_sum_kept(bytes) = page->upper;
		((PageHeader) bytes)->pd_upper = ROWAN_PAGE_SPECIAL;
	}
}

static void
undo_disguise(const LoggedPage *page)
{
	Page		bytes = pool_page(page->frame);

	page_sum_kept(bytes) = page->sum;
	((PageHeader) bytes)->pd_upper = page->upper;
}

void
wal_add_page(uint8 block_id, PoolFrame *frame, WalNeed need)
{
	LoggedPage *page;
	uint8		flags;

	if (need == WAL_NEEDS_SLOTS && torn_control_is(TORN_NO_SLOTS))
		need = WAL_NEEDS_NOTHING;
	page = note_logged(frame, need, false);
	/* without an image, core is told that redo doesn't read the page: prefetch.c looks ahead */
	flags = REGBUF_STANDARD | (page->copied ? REGBUF_FORCE_IMAGE | REGBUF_KEEP_DATA :
							   need == WAL_NEEDS_NOTHING ? REGBUF_WILL_INIT : REGBUF_KEEP_DATA);
	Assert(page->sum == page_sum(pool_page(frame)));
	if (unlikely(wal_check_enabled))
		add_check_entry(block_id, pool_page(frame));
	if (need != WAL_NEEDS_NOTHING && !page->copied)
		disguise(page);
	XLogRegisterBlock(block_id, &frame->tag.locator, MAIN_FORKNUM, pool_block(frame),
					  (char *) pool_page(frame), flags);
	XLogRegisterBufData(block_id, (char *) &page->sum, sizeof(page->sum));
}

void
wal_add_whole_page(uint8 block_id, PoolFrame *frame)
{
	char	   *page = (char *) pool_page(frame);
	PageHeader	header = (PageHeader) page;

	note_logged(frame, WAL_NEEDS_NOTHING, true);
	if (unlikely(wal_check_enabled))
		add_check_entry(block_id, (Page) page);
	XLogRegisterBlock(block_id, &frame->tag.locator, MAIN_FORKNUM, pool_block(frame), page,
					  REGBUF_STANDARD | REGBUF_WILL_INIT);
	XLogRegisterBufData(block_id, page, header->pd_lower);
	XLogRegisterBufData(block_id, page + header->pd_upper, BLCKSZ - header->pd_upper);
}

/* Would core add one to a page that redo needs? */
static bool
image_is_due(PoolFrame *frame)
{
	XLogRecPtr	redo_point;
	bool		images;

	GetFullPageWriteInfo(&redo_point, &images);
	return images && *pool_image_lsn(frame) <= redo_point;
}

/*
 * Whether core added an image follows from what it decided by, which is still known: XLogInsert
 * leaves the redo point that it went by.
 */
static bool
got_image(const LoggedPage *page)
{
	return page->whole || page->copied ||
		(page->need != WAL_NEEDS_NOTHING && image_is_due(page->frame));
}

void
wal_insert(uint8 kind)
{
	XLogRecPtr	lsn = XLogInsert(ROWAN_RMGR_ID, kind);

	for (int i = 0; i < nlogged; i++)
	{
		LoggedPage *page = &logged[i];

		if (got_image(page))
			*pool_image_lsn(page->frame) = lsn;
		undo_disguise(page);
		PageSetLSN(pool_page(page->frame), lsn);
	}
}

bool
wal_needs_image(PoolFrame *frame)
{
	return is_copied(frame) || image_is_due(frame);
}

/* ---- registration ---- */

void
wal_register(void)
{
	static RmgrData rmgr = {
		.rm_name = "rowan",
		.rm_redo = rowan_redo,
		.rm_desc = wal_describe,
		.rm_identify = rowan_identify,
		.rm_cleanup = rowan_cleanup,
		.rm_decode = rowan_decode
	};

	/* rm_mask stays NULL: core's own check would read its stale buffers */
	RegisterCustomRmgr(ROWAN_RMGR_ID, &rmgr);
	change_register();
	file_register_records();
	copied_register();
}
