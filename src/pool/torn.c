/*
 * torn.c
 *	  Pages that redo finds torn, and puts together again.
 *
 * A write that a crash of the machine cuts short, or a backup that reads while it happens, leaves
 * some sectors of a page as they were and others as they became.  Core heals such pages by an image
 * of the page in WAL, at its first change after each checkpoint.  Of our pages there are no images:
 * what changes since the redo point is in WAL as bytes at fixed places.  All of them written again,
 * in order, whatever the page's LSN says, make the right page of any mixture of sectors; nothing of
 * the page is read meanwhile.  Each record says what the page's sum is after it: the page is whole
 * when it has that.
 *
 *	redo reads a page with a wrong checksum		it is taken: private memory, not the pool, or it
 *												could get a right checksum (I-POOL-12)
 *	a record changes it							applied; if the sum is right the page goes into the
 *												pool, and is one like others
 *	a record has it whole, or its file goes		forgotten
 *	a record needs more of it than there is		lost: WAL without images of that, full_page_writes
 *												was off
 *	a restartpoint, CREATE DATABASE				the file gets what there is, with wrong checksums
 *	consistency is reached, redo ends			those left are damaged, and stay so: reported, with
 *												wrong checksums on disk
 *
 * Some records need more than nothing of the page.  They have an image of what they need, at the
 * first time after a redo point (wal.c): of the page, or of the slots, with which slots are right
 * from then on.
 *
 * Startup process only.  Latches: torn_settle takes that of the new frame.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "base/checksum.h"
#include "base/compat.h"
#include "base/page_sum.h"
#include "pool/frame.h"
#include "pool/torn.h"

#ifdef ROWAN_FAULTS
int			torn_control = TORN_SOUND;
#endif

static HTAB *torn_pages;		/* NULL: there are none */
static uint64 healed;
int			torn_unreported;

/* ---- taking ---- */

TornPage *
torn_find(const PoolFile *file, BlockNumber block)
{
	RedoPageKey key = {.locator = file->locator, .block = block};

	return torn_pages == NULL ? NULL : hash_search(torn_pages, &key, HASH_FIND, NULL);
}

static void
report_torn(TornPage *torn)
{
	ereport(WARNING,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("block %u of file \"%s\" is damaged, and WAL does not make it whole",
					torn->key.block, file_path(torn->key.locator, INVALID_PROC_NUMBER)),
			 torn->lost ?
			 errdetail("It was torn, and a change of it was logged with \"full_page_writes\" off.") :
			 errdetail("Bytes of it that were not changed since the redo point are not right."),
			 errhint("The page cannot be read, other pages can. Check the disk, then restore the "
					 "table, or this server, from a backup.")));
}

TornPage *
torn_take(const PoolFile *file, BlockNumber block)
{
	RedoPageKey key = {.locator = file->locator, .block = block};
	TornPage   *torn;
	PGIOAlignedBlock buffer;

	if (torn_pages == NULL)
		torn_pages = redo_pages_create("rowan torn pages", sizeof(TornPage));
	smgrread(smgropen(file->locator, file->backend), MAIN_FORKNUM, block, buffer.data);
	torn = hash_search(torn_pages, &key, HASH_ENTER, NULL);
	torn->slots = torn->lost = torn->changed = false;
	memcpy(torn->bytes.data, buffer.data, BLCKSZ);
	if (reachedConsistency)
		report_torn(torn);
	else
		torn_unreported++;
	return torn;
}

/* ---- forgetting ---- */

static void
forget(TornPage *torn)
{
	(void) hash_search(torn_pages, &torn->key, HASH_REMOVE, NULL);
	if (hash_get_num_entries(torn_pages) > 0)
		return;
	hash_destroy(torn_pages);
	torn_pages = NULL;
	torn_unreported = 0;
}

void
torn_forget_page(RelFileLocator locator, BlockNumber block)
{
	PoolFile	file = {.locator = locator, .backend = INVALID_PROC_NUMBER};
	TornPage   *torn = torn_find(&file, block);

	if (torn != NULL)
		forget(torn);
}

void
torn_forget_file(RelFileLocator locator, BlockNumber first_block)
{
	redo_pages_forget(torn_pages, &locator, first_block, InvalidOid);
}

void
torn_forget_database(Oid database)
{
	redo_pages_forget(torn_pages, NULL, 0, database);
}

/* ---- healing ---- */

/* A page like any other, but for its checksums? */
static bool
is_whole(TornPage *torn, uint32 sum)
{
	Page		page = torn_bytes(torn);
	PageVerdict verdict;

	if (PageIsNew(page))
		return false;
	page_sum_kept(page) = sum;
	if (torn_control_is(TORN_SUM_NOT_ASKED))
		page_set_sum(page);
	else if (page_sum(page) != sum)
		return false;
	page_set_checksums(page, torn->key.block);
	return page_verify(page, torn->key.block, &verdict);
}

PoolFrame *
torn_settle(TornPage *torn, bool applied, uint32 sum, XLogRecPtr lsn)
{
	PoolFile	file = {.locator = torn->key.locator, .backend = INVALID_PROC_NUMBER,
	.logged = true};
	Page		page = torn_bytes(torn);
	PoolFrame  *frame;

	if (!applied)
		torn->lost = true;
	if (torn->lost)
		return NULL;
	PageSetLSN(page, lsn);
	torn->changed = true;
	if (!is_whole(torn, sum))
		return NULL;
	if (pool_forget_marks != NULL)
		pool_forget_marks(page);
	frame = pool_latch_new(&file, torn->key.block);
	pool_change_begin(frame);
	memcpy(pool_page(frame), page, BLCKSZ);
	forget(torn);
	healed++;
	return frame;
}

/* ---- what is left on disk ---- */

/*
 * A mixture of sectors must not come to have right ones by what is written here.  A page whose
 * header is zero is no good one, whatever they are.
 */
static void
set_wrong_checksums(Page page, BlockNumber block)
{
	if (PageIsNew(page))
		return;
	page_set_checksums(page, block);
	((PageHeader) page)->pd_checksum ^= 0x5555;
	page_trailer(page)->crc ^= 0x55555555;
}

static void
write_torn(TornPage *torn)
{
	SMgrRelation reln = smgropen(torn->key.locator, INVALID_PROC_NUMBER);
	PGIOAlignedBlock copy;

	if (!torn->changed || !smgrexists(reln, MAIN_FORKNUM) ||
		torn->key.block >= smgrnblocks(reln, MAIN_FORKNUM))
		return;
	memcpy(copy.data, torn->bytes.data, BLCKSZ);
	XLogFlush(PageGetLSN((Page) copy.data));
	set_wrong_checksums((Page) copy.data, torn->key.block);
	smgrwrite(reln, MAIN_FORKNUM, torn->key.block, copy.data, false);
	torn->changed = false;
}

static void
for_all(void (*act) (TornPage *torn))
{
	HASH_SEQ_STATUS scan;
	TornPage   *torn;

	if (torn_pages == NULL)
		return;
	hash_seq_init(&scan, torn_pages);
	while ((torn = hash_seq_search(&scan)) != NULL)
		act(torn);
}

void
torn_write(void)
{
	for_all(write_torn);
}

void
torn_report_slowly(void)
{
	if (!reachedConsistency)
		return;
	for_all(report_torn);
	torn_unreported = 0;
}

void
torn_end_of_redo(void)
{
	if (healed > 0)
		ereport(LOG, (errmsg("redo made " UINT64_FORMAT " torn pages of rowan files whole",
							 healed)));
	if (torn_pages == NULL)
		return;
	torn_write();
	for_all(report_torn);
	torn_unreported = 0;
	hash_destroy(torn_pages);
	torn_pages = NULL;
}
