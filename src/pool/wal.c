/*
 * wal.c
 *	  Rowan's WAL resource manager: dispatch to the layers that own record kinds, pages for
 *	  redo, pages found missing, and our own consistency check.
 *
 * Latches: pool_redo_latch takes the page's exclusively, in the order in which the redo
 * function asks.
 *
 * Must never read a page that the record has an image of: it may be torn.
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xlog_internal.h"
#include "access/xloginsert.h"
#include "access/xlogrecovery.h"
#include "access/xlogutils.h"
#include "base/checksum.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/new_page.h"
#include "base/page_sum.h"
#include "miscadmin.h"
#include "pool/change.h"
#include "pool/frame.h"
#include "pool/restartpoint.h"
#include "pool/wal.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

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

static const RowanRecordOps *
kind_of_info(uint8 info)
{
	return kinds[(info & ROWAN_XLOG_KIND_MASK) / 0x10];
}

static void
rowan_redo(XLogReaderState *record)
{
	const RowanRecordOps *ops = kind_of_info(XLogRecGetInfo(record));

	if (ops == NULL)
		elog(PANIC, "rowan: unknown WAL record kind %u", wal_record_kind(record));
	restartpoint_first_record();
	restartpoint_follow_up();
	ops->redo(record);
	pool_assert_unlatched();
}

static void
rowan_desc(StringInfo buf, XLogReaderState *record)
{
	const RowanRecordOps *ops = kind_of_info(XLogRecGetInfo(record));

	if (ops != NULL && ops->desc != NULL)
		ops->desc(buf, record);
}

static const char *
rowan_identify(uint8 info)
{
	const RowanRecordOps *ops = kind_of_info(info);

	return ops ? ops->name : NULL;
}

static void
rowan_decode(LogicalDecodingContext *context, XLogRecordBuffer *buffer)
{
	const RowanRecordOps *ops = kind_of_info(XLogRecGetInfo(buffer->record));

	ReorderBufferProcessXid(context->reorder, XLogRecGetXid(buffer->record), buffer->origptr);
	if (ops != NULL && ops->decode != NULL)
		ops->decode(context, buffer);
}

/* ---- files that grew ---- */

/*
 * Files whose header some record changed: each growth of a file ends in such a change, so
 * others have no unwritten pages at their end.
 */
static HTAB *grown_files;

static void
remember_grown(RelFileLocator locator)
{
	if (grown_files == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(RelFileLocator), .entrysize = sizeof(RelFileLocator)};

		grown_files = hash_create("rowan files that grew", 100, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	(void) hash_search(grown_files, &locator, HASH_ENTER, NULL);
}

/* A file that was dropped does no harm here but for its entry. */
static void
forget_grown(RelFileLocator locator)
{
	if (grown_files != NULL)
		(void) hash_search(grown_files, &locator, HASH_REMOVE, NULL);
}

static void
seal_grown(void)
{
	HASH_SEQ_STATUS scan;
	RelFileLocator *locator;

	if (grown_files == NULL)
		return;
	hash_seq_init(&scan, grown_files);
	while ((locator = hash_seq_search(&scan)) != NULL)
	{
		PoolFile	file = {.locator = *locator, .backend = INVALID_PROC_NUMBER, .logged = true};

		pool_file_seal_end(&file);
	}
	hash_destroy(grown_files);
	grown_files = NULL;
}

/* ---- pages found missing in redo ---- */

/*
 * A record may refer to a page of a file that was dropped or cut later.  As core's
 * xlogutils.c does for its own pages: remember such pages, forget them when the drop comes by, and
 * if one is left at the end, WAL and files do not fit together.
 */
typedef struct MissingPage
{
	RelFileLocator locator;		/* key: locator and block, without padding */
	BlockNumber block;
	bool		empty;			/* the page is there, but empty */
} MissingPage;

#define MISSING_PAGE_KEY_SIZE	offsetof(MissingPage, empty)

static HTAB *missing_pages;

static void
report_missing(int elevel, RelFileLocator locator, BlockNumber block, bool empty)
{
	char	   *path = file_path(locator, INVALID_PROC_NUMBER);

	ereport(elevel,
			(errmsg(empty ? "page %u of rowan file \"%s\" is empty" :
					"page %u of rowan file \"%s\" does not exist", block, path)));
	pfree(path);
}

static void
complain_about_missing(void)
{
	ereport(ignore_invalid_pages ? WARNING : PANIC,
			(errmsg("WAL contains references to missing pages of rowan tables")));
}

static void
remember_missing(RelFileLocator locator, BlockNumber block, bool empty)
{
	MissingPage key = {.locator = locator, .block = block};
	MissingPage *entry;
	bool		found;

	if (reachedConsistency)
	{
		report_missing(WARNING, locator, block, empty);
		complain_about_missing();
	}
	if (missing_pages == NULL)
	{
		HASHCTL		ctl = {.keysize = MISSING_PAGE_KEY_SIZE, .entrysize = sizeof(MissingPage)};

		missing_pages = hash_create("rowan missing pages", 100, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(missing_pages, &key, HASH_ENTER, &found);
	if (!found)
		entry->empty = empty;
}

static void
forget_missing(const RelFileLocator *locator, BlockNumber first_block, Oid database)
{
	HASH_SEQ_STATUS scan;
	MissingPage *entry;

	if (missing_pages == NULL)
		return;
	hash_seq_init(&scan, missing_pages);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (locator != NULL ?
			RelFileLocatorEquals(entry->locator, *locator) && entry->block >= first_block :
			entry->locator.dbOid == database)
			hash_search(missing_pages, entry, HASH_REMOVE, NULL);
}

void
wal_forget_file(RelFileLocator locator, BlockNumber first_block)
{
	forget_missing(&locator, first_block, InvalidOid);
	if (first_block == 0)
		forget_grown(locator);
}

void
wal_forget_database(Oid database)
{
	forget_missing(NULL, 0, database);
}

static void
check_missing(void)
{
	HASH_SEQ_STATUS scan;
	MissingPage *entry;

	if (missing_pages == NULL)
		return;
	if (hash_get_num_entries(missing_pages) > 0)
	{
		hash_seq_init(&scan, missing_pages);
		while ((entry = hash_seq_search(&scan)) != NULL)
			report_missing(WARNING, entry->locator, entry->block, entry->empty);
		complain_about_missing();
	}
	hash_destroy(missing_pages);
	missing_pages = NULL;
}

/* End of redo, before the end-of-recovery checkpoint, which knows nothing of the pool. */
static void
rowan_cleanup(void)
{
	check_missing();
	FAULT_POINT(redo_cleanup);
	pool_flush_all();
	seal_grown();
	FAULT_POINT(redo_flushed);
}

/* ---- pages for redo ---- */

/* Existing page; NULL: not there. */
static PoolFrame *
latch_existing(const PoolFile *file, BlockNumber block, BlockNumber nblocks)
{
	PoolFrame  *frame;

	if (block >= nblocks)
	{
		remember_missing(file->locator, block, false);
		return NULL;
	}
	frame = pool_latch_redo(file, block);
	if (page_has_no_content(pool_page(frame)))
	{
		pool_unlatch(frame);
		remember_missing(file->locator, block, true);
		return NULL;
	}
	return frame;
}

static PoolFrame *
latch_to_overwrite(const PoolFile *file, BlockNumber block, BlockNumber nblocks)
{
	if (block >= nblocks)
		pool_file_extend(file, block + 1);
	return pool_latch_new(file, block);
}

static void
restore_image(XLogReaderState *record, uint8 block_id, PoolFrame *frame)
{
	PGAlignedBlock image;
	Page		page = pool_page(frame);

	if (!RestoreBlockImage(record, block_id, image.data))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg_internal("%s", record->errormsg_buf)));
	pool_change_begin(frame);
	memcpy(page, image.data, BLCKSZ);
	if (!PageIsNew(page))
		PageSetLSN(page, record->EndRecPtr);
}

PoolRedo
pool_redo_latch(XLogReaderState *record, uint8 block_id, bool will_init, PoolFrame **frame)
{
	PoolFile	file = {.backend = INVALID_PROC_NUMBER, .logged = true};
	ForkNumber	fork;
	BlockNumber block,
				nblocks;
	bool		image = XLogRecBlockImageApply(record, block_id);

	XLogRecGetBlockTag(record, block_id, &file.locator, &fork, &block);
	if (fork != MAIN_FORKNUM ||
		will_init != ((XLogRecGetBlock(record, block_id)->flags & BKPBLOCK_WILL_INIT) != 0))
		elog(PANIC, "rowan: block reference %u of a WAL record is not what redo expects", block_id);

	if (block == 0)
		remember_grown(file.locator);
	pool_file_create_in_redo(&file);
	nblocks = smgrnblocks(smgropen(file.locator, INVALID_PROC_NUMBER), MAIN_FORKNUM);
	if (image || will_init)
		*frame = latch_to_overwrite(&file, block, nblocks);
	else
		*frame = latch_existing(&file, block, nblocks);
	if (*frame == NULL)
		return POOL_REDO_GONE;

	if (image)
	{
		restore_image(record, block_id, *frame);
		return POOL_REDO_DONE;
	}
	if (!will_init && record->EndRecPtr <= PageGetLSN(pool_page(*frame)))
		return POOL_REDO_DONE;

	/* odd from now on, see wal.h; dirty with the change */
	pool_change_begin(*frame);
	return POOL_REDO_APPLY;
}

void
wal_resolve_conflict(TransactionId horizon, RelFileLocator locator)
{
	pool_assert_unlatched();
	if (InHotStandby && TransactionIdIsValid(horizon))
		resolve_snapshot_conflict(horizon, locator);
}

/* ---- the consistency check ---- */

#define WAL_CHECK_MAX	(CHANGE_MAX_PAGES + 4)

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
void
wal_check_add(uint8 block_id, Page page)
{
	static WalCheckEntryData entries[WAL_CHECK_MAX];
	static int	next;
	WalCheckEntryData *entry = &entries[next++ % WAL_CHECK_MAX];

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
wal_data_size(XLogReaderState *record)
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

/* ---- a page of a record ---- */

void
wal_add_page(uint8 block_id, PoolFrame *frame)
{
	Page		page = pool_page(frame);

	Assert(page_sum_kept(page) == page_sum(page));
	XLogRegisterBlock(block_id, &frame->tag.locator, MAIN_FORKNUM, pool_block(frame),
					  (char *) page, REGBUF_STANDARD | REGBUF_KEEP_DATA);
	XLogRegisterBufData(block_id, (char *) &page_sum_kept(page), sizeof(uint32));
	wal_check_register(block_id, page);
}

char *
wal_page_data(XLogReaderState *record, uint8 block_id, Size *length)
{
	char	   *data = XLogRecGetBlockData(record, block_id, length);

	if (data == NULL || *length < sizeof(uint32))
		return NULL;
	*length -= sizeof(uint32);
	return data + sizeof(uint32);
}

void
wal_check_sum(XLogReaderState *record, uint8 block_id, Page page)
{
	Size		length;
	char	   *data = XLogRecGetBlockData(record, block_id, &length);
	uint32		sum;

	memcpy(&sum, data, sizeof(sum));
	if (page_sum_kept(page) != sum)
		ereport(PANIC,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("redo of the WAL record at %X/%X made a different page",
						LSN_FORMAT_ARGS(record->ReadRecPtr)),
				 errdetail("Block reference %u: sum %08X when logged, %08X now.",
						   block_id, sum, page_sum_kept(page))));
	Assert(page_sum_kept(page) == page_sum(page));
}

static void
get_context(XLogReaderState *record, uint8 block_id, WalContext *context)
{
	Size		length;

	context->xid = XLogRecGetXid(record);
	context->next_block = InvalidBlockNumber;
	context->next_data = NULL;
	if (!XLogRecHasBlockRef(record, block_id + 1))
		return;
	XLogRecGetBlockTag(record, block_id + 1, NULL, NULL, &context->next_block);
	context->next_data = wal_page_data(record, block_id + 1, &length);
}

void
wal_apply(XLogReaderState *record, uint8 block_id, PoolFrame *frame, WalApply apply)
{
	Page		page = pool_page(frame);
	Size		length;
	char	   *data = wal_page_data(record, block_id, &length);

	WalContext	context;

	Assert(!XLogRecBlockImageApply(record, block_id));	/* I-POOL-8 */
	if (data == NULL)
		elog(PANIC, "rowan: block reference %u of a WAL record has no data", block_id);
	get_context(record, block_id, &context);
	pool_change_begin(frame);
	apply(page, data, length, &context);
	PageSetLSN(page, record->EndRecPtr);
	wal_check_sum(record, block_id, page);
	wal_check_redo(record, block_id, page);
	pool_change_end(frame);
}

/* ---- registration ---- */

void
wal_register(void)
{
	static RmgrData rmgr = {
		.rm_name = "rowan",
		.rm_redo = rowan_redo,
		.rm_desc = rowan_desc,
		.rm_identify = rowan_identify,
		.rm_cleanup = rowan_cleanup,
		.rm_decode = rowan_decode
	};

	/* rm_mask stays NULL: core's own check would read its stale buffers */
	RegisterCustomRmgr(ROWAN_RMGR_ID, &rmgr);
	change_register();
	file_register_records();
}
