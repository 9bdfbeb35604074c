/*
 * io.c
 *	  Reads pages with verification, writes them from a private copy.
 *
 * Takes no latches: the caller holds the frame's, exclusively for a read, in
 * any mode for a write.  Must never write a page whose WAL is not flushed (I2), nor mark a frame
 * clean before its write is complete.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogutils.h"
#include "base/checksum.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/new_page.h"
#include "base/page_sum.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pool/file_cache.h"
#include "pool/frame.h"
#include "portability/instr_time.h"
#include "storage/bufmgr.h"

void		(*pool_forget_marks) (Page page);
bool		io_reopens_files = false;

/* ---- reading ---- */

static void
report_beyond_end(const PoolTag *tag, BlockNumber nblocks)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("block %u of file \"%s\" is beyond its end",
					tag->block, file_path(tag->locator, tag->backend)),
			 errdetail("The file has %u blocks.", nblocks),
			 errhint("The file was cut, or something refers to a page that never was: "
					 "check the disk, then restore the table from a backup.")));
}

/*
 * What to do about it.  Only some faults point at the disk; a sound page that is not the one
 * looked for got there by somebody's doing.
 */
static const char *
hint_for(PageFault fault)
{
	switch (fault)
	{
		case PAGE_GOOD:
		case PAGE_DAMAGED:
			break;
		case PAGE_OF_CORE:
			return "The file was made for another access method than the catalog says: some tool exchanged the files of "
				"two relations, or their rows in pg_class, or restored the wrong file. Undo that, or restore the table from a backup.";
		case PAGE_OLDER_FORMAT:
			return "The file was made by an older version of Rowan: dump the table with that version and restore it with this one.";
		case PAGE_NEWER_FORMAT:
			return "The file was made by a newer version of Rowan: install that one.";
		case PAGE_MISPLACED:
		case PAGE_OF_OTHER_FILE:
			return "The page is sound, but in the wrong place: files were mixed up when they were copied or restored, or a write "
				"went astray. Restore the table from a backup; if no file was copied, check the disk.";
		case PAGE_ZERO:
		case PAGE_UNUSED:
			return "What was written there is lost: the file was restored in parts, zeroes were written over it, or "
				"the disk lost a write. Restore the table from a backup. Other pages stay readable.";
	}
	return "The page is damaged on disk: check the disk, then restore the table from a "
		"backup. Other pages stay readable.";
}

/* Within ereport, as errdetail. */
static int
detail_of(const PageVerdict *verdict, Page page)
{
	switch (verdict->fault)
	{
		case PAGE_OF_CORE:
			return errdetail("It is a valid page of a heap or of an index of another kind.");
		case PAGE_OLDER_FORMAT:
		case PAGE_NEWER_FORMAT:
			return errdetail("The page has format version %u, this server reads version %u.",
							 page_trailer(page)->format_version, ROWAN_FORMAT_VERSION);
		case PAGE_MISPLACED:
			return errdetail("It says that it is block %u.", page_trailer(page)->self_block);
		case PAGE_OF_OTHER_FILE:
			return errdetail("Its file id is %08X.", page_trailer(page)->file_id);
		case PAGE_ZERO:
		case PAGE_UNUSED:
			return 0;
		default:
			return errdetail("Checksum found %u, computed %u; CRC found %08X, computed %08X.",
							 verdict->checksum_found, verdict->checksum_computed,
							 verdict->crc_found, verdict->crc_computed);
	}
}

static void
report_bad_page(int elevel, const PoolTag *tag, Page page, const PageVerdict *verdict)
{
	bool		other_format = verdict->fault == PAGE_OLDER_FORMAT ||
		verdict->fault == PAGE_NEWER_FORMAT;

	ereport(elevel,
			(errcode(other_format ? ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE : ERRCODE_DATA_CORRUPTED),
			 errmsg("invalid page in block %u of file \"%s\", main fork: %s",
					tag->block, file_path(tag->locator, tag->backend), verdict->problem),
			 detail_of(verdict, page),
			 errhint("%s", hint_for(verdict->fault))));
}

/*
 * Redo does something about a page that is damaged (torn.c), or zero: it was written once if there
 * is a record of it.  On a standby no damaged page comes into the pool, where redo would take it
 * for a good one; on a primary such a page cannot be changed.
 */
static void
check_page(const PoolTag *tag, Page page, bool allow_new)
{
	PageVerdict verdict;
	bool		ignore;

	if (allow_new && PageIsNew(page) && !InRecovery)
		return;
	if (!page_verify(page, tag->block, &verdict))
	{
		if (!InRecovery && (verdict.fault == PAGE_DAMAGED || verdict.fault == PAGE_MISPLACED))
			pgstat_report_checksum_failures_in_db(tag->locator.dbOid, 1);
		ignore = ignore_checksum_failure && verdict.sums_only && !RecoveryInProgress();
		report_bad_page(ignore ? WARNING : ERROR, tag, page, &verdict);
		pool_control->has_damaged_pages = true;
	}
	else if (!allow_new && page_has_no_content(page))
	{
		verdict.fault = PAGE_UNUSED;
		verdict.problem = "the page has no content";
		report_bad_page(ERROR, tag, page, &verdict);
	}
}

/*
 * The change's record would say a sum that was made of the damage, too, and the page be written as
 * a good one.
 */
void
pool_refuse_damaged(const PoolFrame *frame)
{
	Page		page = pool_page(frame);

	if (likely(!pool_control->has_damaged_pages))
		return;
	if (PageIsNew(page) || page_sum(page) == page_sum_kept(page))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("cannot change block %u of file \"%s\", which is damaged",
					frame->tag.block, file_path(frame->tag.locator, frame->tag.backend)),
			 errdetail("It could be read because \"ignore_checksum_failure\" was on."),
			 errhint("Copy what can be read into another table.")));
}

static void
read_timed(SMgrRelation reln, BlockNumber block, Page page)
{
	instr_time	start,
				elapsed;

	if (!track_io_timing)
	{
		smgrread(reln, MAIN_FORKNUM, block, (char *) page);
		return;
	}
	INSTR_TIME_SET_CURRENT(start);
	smgrread(reln, MAIN_FORKNUM, block, (char *) page);
	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, start);
	pgstat_count_buffer_read_time(INSTR_TIME_GET_MICROSEC(elapsed));
	INSTR_TIME_ADD(pgBufferUsage.shared_blk_read_time, elapsed);
}

/*
 * A good page at the right place may still be another file's.  What identifies the file is on its header
 * page: read from disk, past the pool, for it never changes while the file lives; remembered until a
 * page disagrees (the file may have been made anew).  0: the header never was written yet.
 */
static uint32
read_file_id(SMgrRelation reln)
{
	PGIOAlignedBlock header;

	smgrread(reln, MAIN_FORKNUM, ROWAN_HEADER_BLOCK, header.data);
	if (page_trailer(header.data)->magic != ROWAN_MAGIC ||
		page_trailer(header.data)->type != ROWAN_PAGE_HEADER)
		return 0;
	return page_trailer(header.data)->file_id;
}

typedef struct KnownFileId
{
	FileKey		key;
	uint32		file_id;
} KnownFileId;

FILE_CACHE(known_file_ids, KnownFileId, 64);

static void
check_file_id(const PoolTag *tag, SMgrRelation reln, Page page)
{
	PoolFile	file = {.locator = tag->locator, .backend = tag->backend};
	KnownFileId *known;
	uint32		found = page_trailer(page)->file_id;
	PageVerdict verdict = {.fault = PAGE_OF_OTHER_FILE,
	.problem = "it and the file header in block 0 belong to different files"};

	if (tag->block == ROWAN_HEADER_BLOCK || page_has_no_content(page) || RecoveryInProgress())
		return;
	known = file_cache_make(&known_file_ids, &file, 0);
	if (known->file_id == found && found != 0)
		return;
	known->file_id = read_file_id(reln);
	if (known->file_id != 0 && known->file_id != found)
		report_bad_page(ERROR, tag, page, &verdict);
}

/*
 * Reads a page into its frame; raises an error unless it is a good page with content (or without
 * any, or zero, if allowed).
 */
void
io_read(const PoolTag *tag, Page page, bool allow_new)
{
	SMgrRelation reln = smgropen(tag->locator, tag->backend);
	BlockNumber nblocks = smgrnblocks(reln, MAIN_FORKNUM);

	if (tag->block >= nblocks)
		report_beyond_end(tag, nblocks);
	read_timed(reln, tag->block, page);
	check_page(tag, page, allow_new);
	check_file_id(tag, reln, page);
}

bool
pool_block_is_blank(const PoolFile *file, BlockNumber block)
{
	static const PGAlignedBlock zeroes;
	PGIOAlignedBlock page;

	if (pool_peek(file, block) != NULL)
		return false;
	smgrread(smgropen(file->locator, file->backend), MAIN_FORKNUM, block, page.data);
	return page_has_no_content((Page) page.data) &&
		(!PageIsNew((Page) page.data) || memcmp(page.data, zeroes.data, BLCKSZ) == 0);
}

/* ---- the WAL rule ---- */

static inline bool
has_wal(const PoolFrame *frame)
{
	return !frame->temporary && !frame->unlogged;
}

/*
 * The page's LSN, read without the latch; false if it is changing now.  A torn LSN
 * must not reach XLogFlush, which fails on positions that do not exist yet.
 */
static bool
read_lsn(const PoolFrame *frame, XLogRecPtr *lsn)
{
	PoolFrame  *mutable_frame = unconstify(PoolFrame *, frame);
	uint64		version = pg_atomic_read_u64(&mutable_frame->version);

	if ((version & 1) != 0)
		return false;
	pg_read_barrier();
	*lsn = PageGetLSN(pool_page(frame));
	pg_read_barrier();
	return pg_atomic_read_u64(&mutable_frame->version) == version;
}

/* Would writing the page now wait for WAL?  Needs no latch. */
bool
io_needs_wal_flush(const PoolFrame *frame)
{
	XLogRecPtr	lsn;

	return has_wal(frame) && read_lsn(frame, &lsn) && XLogNeedsFlush(lsn);
}

/* Flushes WAL ahead of latching, so that it need not be done under the latch. */
void
io_flush_wal(const PoolFrame *frame)
{
	XLogRecPtr	lsn;

	if (has_wal(frame) && read_lsn(frame, &lsn))
		XLogFlush(lsn);
}

/* ---- writing ---- */

static void
write_timed(SMgrRelation reln, BlockNumber block, Page page, bool skip_fsync)
{
	instr_time	start,
				elapsed;

	if (!track_io_timing)
	{
		smgrwrite(reln, MAIN_FORKNUM, block, (char *) page, skip_fsync);
		return;
	}
	INSTR_TIME_SET_CURRENT(start);
	smgrwrite(reln, MAIN_FORKNUM, block, (char *) page, skip_fsync);
	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, start);
	pgstat_count_buffer_write_time(INSTR_TIME_GET_MICROSEC(elapsed));
	INSTR_TIME_ADD(pgBufferUsage.shared_blk_write_time, elapsed);
}

static bool
file_has_block(SMgrRelation reln, BlockNumber block)
{
	return smgrexists(reln, MAIN_FORKNUM) && block < smgrnblocks(reln, MAIN_FORKNUM);
}

/*
 * Writes a page unless its file or block is gone.  In recovery that is common (records
 * of files dropped later), so ask first.  Otherwise it takes a race with a drop that
 * has no callback (COMMIT PREPARED), and asking costs an open and a close for each
 * page: write, and ask only after a failure.
 */
static bool
write_if_exists(const PoolTag *tag, Page page, bool skip_fsync)
{
	SMgrRelation reln = smgropen(tag->locator, tag->backend);
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff = InterruptHoldoffCount;
	volatile bool exists = true;

	if (RecoveryInProgress() || io_reopens_files)
	{
		exists = file_has_block(reln, tag->block);
		if (exists)
			write_timed(reln, tag->block, page, skip_fsync);
		return exists;
	}
	PG_TRY();
	{
		exists = tag->block < smgrnblocks(reln, MAIN_FORKNUM);
		if (exists)
			write_timed(reln, tag->block, page, skip_fsync);
	}
	PG_CATCH();
	{
		InterruptHoldoffCount = holdoff;	/* we still hold the latch */
		MemoryContextSwitchTo(context);
		if (file_has_block(reln, tag->block))
		{
			InterruptHoldoffCount = 0;	/* as errfinish left it: LWLockReleaseAll counts for
										 * itself */
			PG_RE_THROW();
		}
		FlushErrorState();
		exists = false;
	}
	PG_END_TRY();
	return exists;
}

/* Files that a trace was left of. */
typedef struct GoneFile
{
	FileKey		key;
} GoneFile;

FILE_CACHE(gone_files, GoneFile, 16);

/*
 * The page had changes, but there is nowhere to write them.  Expected in recovery and
 * for temporary files; else it takes a prepared transaction that dropped the file, or
 * somebody removed it by hand: leave a trace, once a file.
 */
static void
note_gone(const PoolFrame *frame)
{
	PoolFile	file = {.locator = frame->tag.locator, .backend = frame->tag.backend};

	count_one(COUNT_DISCARDS);
	if (frame->temporary || RecoveryInProgress() || file_cache_find(&gone_files, &file, 0) != NULL)
		return;
	(void) file_cache_make(&gone_files, &file, 0);
	ereport(LOG,
			(errmsg("changes of block %u of file \"%s\" were dropped: it does not exist any more",
					frame->tag.block, file_path(frame->tag.locator, frame->tag.backend)),
			 errdetail("That is normal if a prepared transaction dropped the table.")));
}

static void
count_write(const PoolFrame *frame)
{
	count_one(COUNT_WRITES);
	if (frame->temporary)
		pgBufferUsage.local_blks_written++;
	else
		pgBufferUsage.shared_blks_written++;
}

/*
 * Writes a page if it is dirty.  Its latch is held, so nobody changes it or
 * reuses the frame before it is marked clean; another holder of the shared latch may
 * write the same bytes at the same time.
 */
WriteResult
io_write(PoolFrame *frame)
{
	PGIOAlignedBlock copy;
	Page		page = (Page) copy.data;

	Assert(LWLockHeldByMe(&frame->latch));
	if (!frame->dirty)
		return WRITE_CLEAN;
	memcpy(page, pool_page(frame), BLCKSZ);
	if (has_wal(frame))
		XLogFlush(PageGetLSN(page));
	if (!PageIsNew(page))
	{
		Assert((((PageHeader) page)->pd_flags & ROWAN_PAGE_SEAL) != 0); /* I1 */
		if (pool_forget_marks != NULL)
			pool_forget_marks(page);
		Assert(page_sum_kept(page) == page_sum(page));
		page_set_checksums(page, frame->tag.block);
	}
	FAULT_POINT(pool_write);
	if (!write_if_exists(&frame->tag, page, frame->temporary))
	{
		note_gone(frame);
		frame->dirty = false;
		return WRITE_GONE;
	}
	frame->dirty = false;
	count_write(frame);
	return WRITE_DONE;
}
