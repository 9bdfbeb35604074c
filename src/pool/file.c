/*
 * file.c
 *	  Files below the pool: existence, size, growth, truncation, init forks, and forgetting
 *	  their frames; TRUNCATE and INIT_FORK records.
 *
 * Latches: discarding takes the frames of the file exclusively, one at a time.  The extend
 * lock of a file is taken with latches held; under it there is only I/O (and, for an
 * empty file, the discard of frames that no longer belong to anything).
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "access/xlogutils.h"
#include "base/checksum.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/page_sum.h"
#include "miscadmin.h"
#include "pool/describe.h"
#include "pool/frame.h"
#include "pool/wal.h"

static SMgrRelation
open_file(const PoolFile *file)
{
	return smgropen(file->locator, file->backend);
}

BlockNumber
pool_file_blocks(const PoolFile *file)
{
	SMgrRelation reln = open_file(file);

	return smgrexists(reln, MAIN_FORKNUM) ? smgrnblocks(reln, MAIN_FORKNUM) : 0;
}

void
pool_prefetch(const PoolFile *file, BlockNumber block)
{
#ifdef USE_PREFETCH
	PoolTag		tag;
	SMgrRelation reln;

	tag_init(&tag, file, block);
	if (map_find_optimistic(&tag) != NULL)
		return;
	reln = open_file(file);
	if (block < smgrnblocks(reln, MAIN_FORKNUM))
		(void) prefetch_block(reln, block);
#endif
}

/* ---- growing ---- */

static void discard_stale_frames(const PoolFile *file);

/* In redo the file may be missing: it was dropped later. */
void
pool_file_create_in_redo(const PoolFile *file)
{
	Assert(InRecovery);
	smgrcreate(open_file(file), MAIN_FORKNUM, true);
}

BlockNumber
pool_file_blocks_in_redo(const PoolFile *file)
{
	SMgrRelation reln = open_file(file);

	Assert(InRecovery);
	smgrcreate(reln, MAIN_FORKNUM, true);
	return smgrnblocks(reln, MAIN_FORKNUM);
}

/*
 * For those who read WAL to learn which blocks changed.  An incremental backup (17) would leave
 * out what nobody has logged, and pg_combinebackup put zero pages there.
 */
static void
log_extension(const PoolFile *file, BlockNumber block, BlockNumber nblocks, Page page)
{
	RelFileLocator locator = file->locator;

	XLogEnsureRecordSpace(XLR_MAX_BLOCK_ID, 0);
	while (block < nblocks)
	{
		XLogBeginInsert();
		for (int i = 0; i < EXTEND_RECORD_PAGES && block < nblocks; i++, block++)
			XLogRegisterBlock(i, &locator, MAIN_FORKNUM, block, (char *) page,
							  REGBUF_WILL_INIT);
		(void) XLogInsert(ROWAN_RMGR_ID, ROWAN_XLOG_EXTEND);
	}
}

/*
 * By pages that say they are unused, each by itself: a zero page would be core's to initialise,
 * in shared_buffers, if a function for heaps met it (I1).
 */
void
pool_file_extend(const PoolFile *file, BlockNumber nblocks)
{
	PGIOAlignedBlock unused;
	SMgrRelation reln = open_file(file);
	LWLock	   *lock = pool_extend_lock(file);
	BlockNumber old_blocks;

	if (InRecovery)
		pool_file_create_in_redo(file);
	LWLockAcquire(lock, LW_EXCLUSIVE);
	old_blocks = smgrnblocks(reln, MAIN_FORKNUM);

	if (old_blocks == 0)
		discard_stale_frames(file);
	for (BlockNumber block = old_blocks; block < nblocks; block++)
	{
		page_make_unused((Page) unused.data, block);
		smgrextend(reln, MAIN_FORKNUM, block, unused.data, file->backend != INVALID_PROC_NUMBER);
	}
	LWLockRelease(lock);
	if (file->logged && !InRecovery && old_blocks < nblocks)
		log_extension(file, old_blocks, nblocks, (Page) unused.data);
	FAULT_POINT(pool_extend);
}

/*
 * After a crash of the machine the end of a file that grew may be zero, where the file system had
 * noted the new length but not the pages.  All pages with content have been written when this is
 * called, at the end of redo.
 */
void
pool_file_seal_end(const PoolFile *file)
{
	PGIOAlignedBlock page;
	SMgrRelation reln = open_file(file);
	BlockNumber nblocks = pool_file_blocks(file);

	for (BlockNumber block = nblocks - Min(nblocks, POOL_MAX_SPARE_BLOCKS); block < nblocks;
		 block++)
	{
		smgrread(reln, MAIN_FORKNUM, block, page.data);
		if (!PageIsNew((Page) page.data))
			continue;
		page_make_unused((Page) page.data, block);
		smgrwrite(reln, MAIN_FORKNUM, block, page.data, false);
	}
}

/* ---- init forks ---- */

/*
 * An unlogged file begins anew with a copy of its init fork, which has the first pages.  Nobody
 * reads it in any pool: pages are written to the file here and in redo, and are durable at once,
 * since core copies the file without asking anybody.
 */
#define INIT_FORK_PAGES	2

static void
write_init_fork(RelFileLocator locator, char *const *pages, int npages)
{
	SMgrRelation reln = smgropen(locator, INVALID_PROC_NUMBER);
	BlockNumber nblocks;
	PGIOAlignedBlock page;

	smgrcreate(reln, INIT_FORKNUM, true);
	nblocks = smgrnblocks(reln, INIT_FORKNUM);
	for (BlockNumber block = 0; block < (BlockNumber) npages; block++)
	{
		memcpy(page.data, pages[block], BLCKSZ);
		page_set_sum((Page) page.data);
		page_set_checksums((Page) page.data, block);
		if (block < nblocks)
			smgrwrite(reln, INIT_FORKNUM, block, page.data, true);
		else
			smgrextend(reln, INIT_FORKNUM, block, page.data, true);
	}
	smgrimmedsync(reln, INIT_FORKNUM);
}

void
pool_write_init_fork(const PoolFile *file, char *const *pages, int npages)
{
	InitForkRecordData record = {.locator = file->locator, .npages = npages};

	Assert(npages <= INIT_FORK_PAGES);
	XLogBeginInsert();
	XLogRegisterData((char *) &record, sizeof(record));
	for (int i = 0; i < npages; i++)
	{
		PageHeader	header = (PageHeader) pages[i];

		XLogRegisterData(pages[i], header->pd_lower);
		XLogRegisterData(pages[i] + header->pd_upper, BLCKSZ - header->pd_upper);
	}
	(void) XLogInsert(ROWAN_RMGR_ID, ROWAN_XLOG_INIT_FORK);
	write_init_fork(file->locator, pages, npages);
}

static void
init_fork_redo(XLogReaderState *record)
{
	PGIOAlignedBlock blocks[INIT_FORK_PAGES];
	char	   *pages[INIT_FORK_PAGES];
	InitForkRecordData data;
	const char *bytes = XLogRecGetData(record) + sizeof(data);

	memcpy(&data, XLogRecGetData(record), sizeof(data));
	if (data.npages > INIT_FORK_PAGES)
		elog(PANIC, "rowan: %u pages in an init fork", data.npages);
	for (uint32 i = 0; i < data.npages; i++)
	{
		PageHeaderData header;

		pages[i] = blocks[i].data;
		memset(pages[i], 0, BLCKSZ);
		memcpy(&header, bytes, SizeOfPageHeaderData);
		memcpy(pages[i], bytes, header.pd_lower);
		bytes += header.pd_lower;
		memcpy(pages[i] + header.pd_upper, bytes, BLCKSZ - header.pd_upper);
		bytes += BLCKSZ - header.pd_upper;
	}
	write_init_fork(data.locator, pages, data.npages);
}

static bool
describe_init_fork(StringInfo buf, XLogReaderState *record)
{
	InitForkRecordData data;
	char	   *path;

	if (!wal_take_main_data(record, &data, sizeof(data)))
		return false;
	path = init_fork_path(data.locator);
	describe(buf, "%s", path);
	describe(buf, "pages: %u", data.npages);
	pfree(path);
	return true;
}

/* ---- discarding ---- */

typedef struct DiscardRange
{
	const RelFileLocator *locators; /* sorted; NULL: by database */
	int			n;
	ProcNumber	backend;
	BlockNumber first_block;
	Oid			database;
	Oid			tablespace;		/* InvalidOid: any */
	bool		keep_dirty;
} DiscardRange;

static int
compare_locators(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(RelFileLocator));
}

static bool
in_range(const PoolTag *tag, const DiscardRange *range)
{
	if (tag->block == InvalidBlockNumber)
		return false;
	if (range->locators == NULL)
		return tag->locator.dbOid == range->database &&
			(range->tablespace == InvalidOid || tag->locator.spcOid == range->tablespace);
	if (tag->backend != range->backend || tag->block < range->first_block)
		return false;
	if (range->n == 1)
		return RelFileLocatorEquals(tag->locator, range->locators[0]);
	return bsearch(&tag->locator, range->locators, range->n, sizeof(RelFileLocator),
				   compare_locators) != NULL;
}

#ifdef USE_ASSERT_CHECKING
static bool
range_is_in_pool(const DiscardRange *range)
{
	for (int i = 0; i < pool_n_frames; i++)
	{
		PoolTag		tag = pool_frames[i].tag;

		if (in_range(&tag, range))
			return true;
	}
	return false;
}
#endif

/* The caller sees to it that nobody loads pages of the range meanwhile. */
static void
discard_range(const DiscardRange *range)
{
	pool_assert_unlatched();
	pg_memory_barrier();
	FAULT_POINT(pool_discard);
	for (int i = 0; i < pool_n_frames; i++)
	{
		PoolFrame  *frame = &pool_frames[i];
		PoolTag		tag = frame->tag;

		if (!in_range(&tag, range))
			continue;
		LWLockAcquire(&frame->latch, LW_EXCLUSIVE);
		tag = frame->tag;
		if (in_range(&tag, range) && !(range->keep_dirty && frame->dirty))
			frame_discard(frame);
		else
			LWLockRelease(&frame->latch);
	}
	Assert(range->keep_dirty || !range_is_in_pool(range));	/* I-POOL-9 */
}

void
pool_discard_file(const PoolFile *file, BlockNumber first_block)
{
	DiscardRange range = {.locators = &file->locator, .n = 1, .backend = file->backend,
	.first_block = first_block};

	discard_range(&range);
}

/*
 * The file is new: frames under its name are left from one that was dropped without our knowing.
 * That was a temporary one, or dropped by a transaction that had been prepared (core_events.c); for
 * others the pass over all frames is spared.
 */
static void
discard_stale_frames(const PoolFile *file)
{
	if (file->backend != INVALID_PROC_NUMBER || max_prepared_xacts > 0 || InRecovery)
		pool_discard_file(file, 0);
#ifdef USE_ASSERT_CHECKING
	else
	{
		DiscardRange range = {.locators = &file->locator, .n = 1, .backend = file->backend};

		Assert(!range_is_in_pool(&range));	/* I-POOL-9 */
	}
#endif
}

/* Permanent and unlogged files; one pass over the frames for all of them. */
void
pool_discard_files(const RelFileLocator *locators, int n)
{
	DiscardRange range = {.n = n, .backend = INVALID_PROC_NUMBER};
	RelFileLocator *sorted;

	if (n == 0)
		return;
	sorted = palloc(n * sizeof(RelFileLocator));
	memcpy(sorted, locators, n * sizeof(RelFileLocator));
	qsort(sorted, n, sizeof(RelFileLocator), compare_locators);
	range.locators = sorted;
	discard_range(&range);
	pfree(sorted);
}

void
pool_discard_database(Oid database)
{
	pool_discard_tablespace(database, InvalidOid);
}

void
pool_forget_database(Oid database)
{
	DiscardRange range = {.database = database, .keep_dirty = true};

	discard_range(&range);
}

void
pool_discard_tablespace(Oid database, Oid tablespace)
{
	DiscardRange range = {.database = database, .tablespace = tablespace};

	discard_range(&range);
}

/* ---- truncating ---- */

/* Frames first: one written later would make the file long again. */
void
pool_file_truncate(const PoolFile *file, BlockNumber nblocks)
{
	SMgrRelation reln = open_file(file);
	BlockNumber old_blocks = smgrnblocks(reln, MAIN_FORKNUM);

	if (old_blocks <= nblocks)
		return;
	START_CRIT_SECTION();
	pool_discard_file(file, nblocks);
	truncate_fork(reln, MAIN_FORKNUM, old_blocks, nblocks);
	END_CRIT_SECTION();
}

/*
 * Not also as core's XLOG_SMGR_TRUNCATE, from which incremental backups (17) learn of a cut.  They
 * do without: whatever lies below the high-water mark has been logged whole since it was handed
 * out, and beyond it any page may lie.  And what they make of a cut is wrong when the file has
 * grown again since: summaries of WAL are merged in the order of their directory, and a cut read
 * late makes the backup forget the blocks that came after it (18.6; a heap table loses rows by it).
 */
static void
log_truncate(const PoolFile *file, BlockNumber nblocks)
{
	TruncateRecordData record = {.locator = file->locator, .blocks = nblocks};
	XLogRecPtr	lsn;

	XLogBeginInsert();
	XLogRegisterData((char *) &record, sizeof(record));
	lsn = XLogInsert(ROWAN_RMGR_ID, ROWAN_XLOG_TRUNCATE);

	/* the cut must not reach the disk before the record does */
	XLogFlush(lsn);
}

/*
 * As RelationTruncate: a checkpoint must neither complete between the discard of dirty frames and
 * the cut, nor take its redo point between the record and the cut's fsync
 * request; hence both flags.
 */
void
pool_truncate_logged(const PoolFile *file, BlockNumber nblocks)
{
	SMgrRelation reln = open_file(file);
	BlockNumber old_blocks = smgrnblocks(reln, MAIN_FORKNUM);
	const int	delay = DELAY_CHKPT_START | DELAY_CHKPT_COMPLETE;

	if (old_blocks <= nblocks)
		return;
	Assert((MyProc->delayChkptFlags & delay) == 0);
	MyProc->delayChkptFlags |= delay;
	START_CRIT_SECTION();
	if (file->logged)
		log_truncate(file, nblocks);
	FAULT_POINT(pool_truncate_logged);
	pool_discard_file(file, nblocks);
	FAULT_POINT(pool_truncate_discarded);
	truncate_fork(reln, MAIN_FORKNUM, old_blocks, nblocks);
	END_CRIT_SECTION();
	MyProc->delayChkptFlags &= ~delay;
	FAULT_POINT(pool_truncate_done);
}

static void
truncate_redo(XLogReaderState *record)
{
	TruncateRecordData data;
	PoolFile	file = {.backend = INVALID_PROC_NUMBER, .logged = true};

	memcpy(&data, XLogRecGetData(record), sizeof(data));
	file.locator = data.locator;
	pool_file_create_in_redo(&file);

	/* once the file is cut there is no way back before this record */
	XLogFlush(record->EndRecPtr);
	wal_forget_file(data.locator, data.blocks);
	FAULT_POINT(truncate_redo);
	pool_file_truncate(&file, data.blocks);
	FAULT_POINT(truncate_redo_done);
}

static bool
describe_truncate(StringInfo buf, XLogReaderState *record)
{
	TruncateRecordData data;
	char	   *path;

	if (!wal_take_main_data(record, &data, sizeof(data)))
		return false;
	path = file_path(data.locator, INVALID_PROC_NUMBER);
	describe(buf, "%s to %u blocks", path, data.blocks);
	pfree(path);
	return true;
}

static void
extend_redo(XLogReaderState *record)
{
	PoolFile	file = {.backend = INVALID_PROC_NUMBER, .logged = true};
	BlockNumber last;

	XLogRecGetBlockTag(record, XLogRecMaxBlockId(record), &file.locator, NULL, &last);
	pool_file_extend(&file, last + 1);
}

/* The pages follow each other. */
static bool
describe_extend(StringInfo buf, XLogReaderState *record)
{
	BlockNumber first;

	if (!XLogRecHasBlockRef(record, 0))
		return false;
	XLogRecGetBlockTag(record, 0, NULL, NULL, &first);
	describe(buf, "pages: %d", XLogRecMaxBlockId(record) + 1);
	describe(buf, "first: %u", first);
	return true;
}

void
file_register_records(void)
{
	static const RowanRecordOps truncate = {
		.name = "TRUNCATE", .redo = truncate_redo, .describe = describe_truncate
	};
	static const RowanRecordOps init_fork = {
		.name = "INIT_FORK", .redo = init_fork_redo, .describe = describe_init_fork
	};
	static const RowanRecordOps extend = {
		.name = "EXTEND", .redo = extend_redo, .describe = describe_extend,
		.parts = {{"unused page", NULL}}
	};

	wal_register_kind(ROWAN_XLOG_TRUNCATE, &truncate);
	wal_register_kind(ROWAN_XLOG_EXTEND, &extend);
	wal_register_kind(ROWAN_XLOG_INIT_FORK, &init_fork);
}
