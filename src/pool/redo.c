/*
 * redo.c
 *	  The pages of a record in redo: latched, restored from images, taken as torn, found missing,
 *	  changed and checked.
 *
 * Latches: wal_latch takes the page's exclusively, in the order in which the redo function asks.
 *
 * Must never read a page that the record has whole: it may be torn.
 */
#include "postgres.h"

#include "access/xlogrecovery.h"
#include "access/xlogutils.h"
#include "base/compat.h"
#include "base/new_page.h"
#include "base/page_sum.h"
#include "pool/frame.h"
#include "pool/redo.h"
#include "pool/torn.h"

/* ---- pages that redo keeps something of ---- */

HTAB *
redo_pages_create(const char *name, Size entry_size)
{
	HASHCTL		ctl = {.keysize = sizeof(RedoPageKey), .entrysize = entry_size};

	return hash_create(name, 100, &ctl, HASH_ELEM | HASH_BLOBS);
}

void
redo_pages_forget(HTAB *pages, const RelFileLocator *locator, BlockNumber first_block, Oid database)
{
	HASH_SEQ_STATUS scan;
	RedoPageKey *key;

	if (pages == NULL)
		return;
	hash_seq_init(&scan, pages);
	while ((key = hash_seq_search(&scan)) != NULL)
		if (locator != NULL ?
			RelFileLocatorEquals(key->locator, *locator) && key->block >= first_block :
			key->locator.dbOid == database)
			(void) hash_search(pages, key, HASH_REMOVE, NULL);
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

void
redo_seal_grown(void)
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
	RedoPageKey key;
	bool		empty;			/* the page is there, but empty */
} MissingPage;

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
	RedoPageKey key = {.locator = locator, .block = block};
	MissingPage *entry;
	bool		found;

	if (reachedConsistency)
	{
		report_missing(WARNING, locator, block, empty);
		complain_about_missing();
	}
	if (missing_pages == NULL)
		missing_pages = redo_pages_create("rowan missing pages", sizeof(MissingPage));
	entry = hash_search(missing_pages, &key, HASH_ENTER, &found);
	if (!found)
		entry->empty = empty;
}

void
wal_forget_file(RelFileLocator locator, BlockNumber first_block)
{
	redo_pages_forget(missing_pages, &locator, first_block, InvalidOid);
	torn_forget_file(locator, first_block);
	if (first_block == 0)
		forget_grown(locator);
}

void
wal_forget_database(Oid database)
{
	redo_pages_forget(missing_pages, NULL, 0, database);
	torn_forget_database(database);
}

void
redo_check_missing(void)
{
	HASH_SEQ_STATUS scan;
	MissingPage *entry;

	if (missing_pages == NULL)
		return;
	if (hash_get_num_entries(missing_pages) > 0)
	{
		hash_seq_init(&scan, missing_pages);
		while ((entry = hash_seq_search(&scan)) != NULL)
			report_missing(WARNING, entry->key.locator, entry->key.block, entry->empty);
		complain_about_missing();
	}
	hash_destroy(missing_pages);
	missing_pages = NULL;
}

/* ---- latching ---- */

/* A page that was not in the pool; false: the file does not have it. */
static bool
latch_from_file(const PoolFile *file, BlockNumber block, RedoPage *page)
{
	if (block >= pool_file_blocks_in_redo(file))
	{
		remember_missing(file->locator, block, false);
		return false;
	}
	page->torn = torn_find(file, block);
	if (page->torn != NULL)
		return true;
	page->frame = pool_latch_redo(file, block);
	if (page->frame == NULL)
		page->torn = torn_take(file, block);
	return true;
}

/*
 * Existing page, whole or torn; false: not there.  One that is in the pool is not torn (I-POOL-12),
 * and there is a file that has it (I-POOL-9).
 */
static bool
latch_existing(const PoolFile *file, BlockNumber block, RedoPage *page)
{
	page->frame = pool_latch_present(file, block);
	if (page->frame == NULL && !latch_from_file(file, block, page))
		return false;
	if (page->torn != NULL)
		return true;
	if (page_has_no_content(pool_page(page->frame)))
	{
		pool_unlatch(page->frame);
		page->frame = NULL;
		remember_missing(file->locator, block, true);
		return false;
	}
	return true;
}

static PoolFrame *
latch_to_overwrite(const PoolFile *file, BlockNumber block)
{
	if (block >= pool_file_blocks_in_redo(file))
		pool_file_extend(file, block + 1);
	torn_forget_page(file->locator, block);
	return pool_latch_new(file, block);
}

static void
get_image(XLogReaderState *record, uint8 block_id, char *image)
{
	if (!RestoreBlockImage(record, block_id, image))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg_internal("%s", record->errormsg_buf)));
}

static void
restore_image(XLogReaderState *record, uint8 block_id, PoolFrame *frame)
{
	PGAlignedBlock image;
	Page		page = pool_page(frame);

	get_image(record, block_id, image.data);
	pool_change_begin(frame);
	memcpy(page, image.data, BLCKSZ);
	PageSetLSN(page, record->EndRecPtr);
}

/* As they were registered (wal.c): with the end of the gap in the place of the sum. */
static void
restore_slots(XLogReaderState *record, uint8 block_id, TornPage *torn)
{
	PGAlignedBlock image;
	PageHeader	header = (PageHeader) image.data;
	Page		page = torn_bytes(torn);

	get_image(record, block_id, image.data);
	if (header->pd_lower < ROWAN_PAGE_BODY || header->pd_lower > page_sum_kept(image.data) ||
		page_sum_kept(image.data) > ROWAN_PAGE_SPECIAL)
		elog(PANIC, "rowan: an image of slots in WAL makes no sense");
	header->pd_upper = page_sum_kept(image.data);
	memcpy(page, image.data, header->pd_lower);
	memcpy((char *) page + ROWAN_PAGE_SPECIAL, image.data + ROWAN_PAGE_SPECIAL,
		   BLCKSZ - ROWAN_PAGE_SPECIAL);
	torn->slots = true;
}

static bool
latch_page(XLogReaderState *record, bool overwrite, RedoPage *page)
{
	PoolFile	file = {.backend = INVALID_PROC_NUMBER, .logged = true};
	ForkNumber	fork;
	BlockNumber block;

	XLogRecGetBlockTag(record, page->block_id, &file.locator, &fork, &block);
	if (fork != MAIN_FORKNUM)
		elog(PANIC, "rowan: block reference %u of a WAL record is not what redo expects",
			 page->block_id);
	if (block == 0)
		remember_grown(file.locator);
	if (!overwrite)
		return latch_existing(&file, block, page);
	page->frame = latch_to_overwrite(&file, block);
	return true;
}

/* An image of slots leaves out all between these and the trailer, which of a leaf is the cells. */
static bool
image_is_of_slots(XLogReaderState *record, uint8 block_id)
{
	const DecodedBkpBlock *block = XLogRecGetBlock(record, block_id);

	return block->hole_offset + block->hole_length == ROWAN_PAGE_SPECIAL;
}

void
wal_latch(XLogReaderState *record, uint8 block_id, WalNeed need, RedoPage *page)
{
	bool		has_image = XLogRecBlockImageApply(record, block_id);
	bool		slots = has_image && need == WAL_NEEDS_SLOTS &&
		image_is_of_slots(record, block_id);
	bool		image = has_image && !slots;
	bool		made_anew = wal_has_whole_page(record, block_id);

	memset(page, 0, sizeof(*page));
	page->block_id = block_id;
	if (!latch_page(record, made_anew || image, page))
		return;
	if (page->torn != NULL)
	{
		page->apply = !torn_control_is(TORN_LSN_TRUSTED) ||
			record->EndRecPtr > PageGetLSN(torn_bytes(page->torn));
		if (slots)
			restore_slots(record, block_id, page->torn);
		return;
	}
	if (image)
		restore_image(record, block_id, page->frame);
	else if (made_anew || record->EndRecPtr > PageGetLSN(pool_page(page->frame)))
	{
		/* odd from now on, see wal.h; dirty with the change */
		pool_change_begin(page->frame);
		page->apply = true;
	}
}

void
wal_unlatch(RedoPage *page)
{
	if (page->frame != NULL)
		pool_unlatch(page->frame);
}

/* ---- applying ---- */

char *
wal_page_data(XLogReaderState *record, uint8 block_id, Size *length)
{
	char	   *data = XLogRecGetBlockData(record, block_id, length);

	if (data == NULL || *length < sizeof(uint32))
		return NULL;
	*length -= sizeof(uint32);
	return data + sizeof(uint32);
}

static uint32
sum_of(XLogReaderState *record, uint8 block_id)
{
	Size		length;
	uint32		sum;

	memcpy(&sum, XLogRecGetBlockData(record, block_id, &length), sizeof(sum));
	return sum;
}

static void
check_sum(XLogReaderState *record, uint8 block_id, Page page)
{
	uint32		sum = sum_of(record, block_id);

	if (page_sum_kept(page) != sum)
		ereport(PANIC,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("redo of the WAL record at %X/%X made a different page",
						LSN_FORMAT_ARGS(record->ReadRecPtr)),
				 errdetail("Block reference %u: sum %08X when logged, %08X now.",
						   block_id, sum, page_sum_kept(page))));
	Assert(page_sum_kept(page) == page_sum(page));
}

void
wal_get_context(XLogReaderState *record, uint8 block_id, WalContext *context)
{
	uint8		next = block_id + 1;

	memset(context, 0, sizeof(*context));
	context->xid = XLogRecGetXid(record);
	context->next_block = InvalidBlockNumber;
	context->whole = WAL_NEEDS_PAGE;
	if (!XLogRecHasBlockRef(record, next))
		return;
	context->next_data = wal_page_data(record, next, &context->next_length);
	if (context->next_data != NULL)
		XLogRecGetBlockTag(record, next, NULL, NULL, &context->next_block);
}

/* The same where the page may be torn. */
static void
get_context(XLogReaderState *record, const RedoPage *page, WalContext *context)
{
	wal_get_context(record, page->block_id, context);
	if (page->torn == NULL)
		return;
	context->whole = page->torn->slots || torn_control_is(TORN_NO_SLOTS) ? WAL_NEEDS_SLOTS :
		WAL_NEEDS_NOTHING;
	context->slots_restored = XLogRecBlockImageApply(record, page->block_id);
}

static void
apply_to_torn(XLogReaderState *record, RedoPage *page, WalApply apply, char *data, Size length,
			  const WalContext *context)
{
	TornPage   *torn = page->torn;
	bool		applied = !torn->lost && apply(torn_bytes(torn), data, length, context);

	page->frame = torn_settle(torn, applied, sum_of(record, page->block_id), record->EndRecPtr);
	if (page->frame == NULL)
		return;
	page->torn = NULL;
	wal_check_redo(record, page->block_id, pool_page(page->frame));
}

void
wal_apply(XLogReaderState *record, RedoPage *page, WalApply apply)
{
	bool		whole = wal_has_whole_page(record, page->block_id);
	Size		length;
	char	   *data;
	WalContext	context;

	if (!page->apply)
		return;
	data = whole ? XLogRecGetBlockData(record, page->block_id, &length) :
		wal_page_data(record, page->block_id, &length);
	if (data == NULL)
		elog(PANIC, "rowan: block reference %u of a WAL record has no data", page->block_id);
	get_context(record, page, &context);
	if (page->torn != NULL)
	{
		apply_to_torn(record, page, apply, data, length, &context);
		return;
	}
	if (!apply(pool_page(page->frame), data, length, &context))
		elog(PANIC, "rowan: a WAL record needs more of a page than redo has");
	PageSetLSN(pool_page(page->frame), record->EndRecPtr);
	if (!whole)
		check_sum(record, page->block_id, pool_page(page->frame));
	wal_check_redo(record, page->block_id, pool_page(page->frame));
}
