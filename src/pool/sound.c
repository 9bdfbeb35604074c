/*
 * sound.c
 *	  Copies of pages of a file that may be damaged, without errors.
 *
 * What the pool has is taken first: it may be newer than the disk, or sound where that is not.
 * Otherwise the page is read past the pool, and judged by itself alone: not by the file id in block
 * 0, which may be damaged, too.
 *
 * Latches: that of the page, for the time of the copy; none may be held that comes after it.
 */
#include "postgres.h"

#include "base/checksum.h"
#include "base/page_sum.h"
#include "miscadmin.h"
#include "pool/frame.h"
#include "storage/smgr.h"
#include "utils/memutils.h"

/* A page was let into the pool in spite of its checksums, or its bytes were changed in memory. */
static const char *
problem_in_pool(Page page, BlockNumber block)
{
	if (PageIsNew(page))
		return "the page is empty";
	if (page_trailer(page)->magic != ROWAN_MAGIC || page_trailer(page)->self_block != block ||
		page_sum_kept(page) != page_sum(page))
		return "the page in memory is damaged";
	return NULL;
}

/* Errors that say that bytes cannot be had, not that something else went wrong. */
static bool
is_of_the_disk(int code)
{
	return code == ERRCODE_DATA_CORRUPTED || code == ERRCODE_IO_ERROR;
}

/* Reads the block; what the error says if that fails, or NULL. */
static const char *
read_past_pool(const PoolFile *file, BlockNumber block, char *dest)
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff = InterruptHoldoffCount;
	const char *volatile problem = NULL;

	PG_TRY();
	{
		smgrread(smgropen(file->locator, file->backend), MAIN_FORKNUM, block, dest);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (!is_of_the_disk(geterrcode()))
			PG_RE_THROW();
		InterruptHoldoffCount = holdoff;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		problem = pstrdup(error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
	return problem;
}

const char *
pool_copy_sound(const PoolFile *file, BlockNumber block, char *dest)
{
	PGIOAlignedBlock bytes;
	PoolTag		tag;
	PoolFrame  *frame;
	PageVerdict verdict;
	const char *problem;

	tag_init(&tag, file, block);
	frame = frame_latch_if_present(&tag, LW_SHARED);
	if (frame != NULL)
	{
		memcpy(dest, pool_page(frame), BLCKSZ);
		LWLockRelease(&frame->latch);
		return problem_in_pool((Page) dest, block);
	}
	if (block >= pool_file_blocks(file))
		return "the file ends before it";
	problem = read_past_pool(file, block, bytes.data);
	if (problem != NULL)
		return problem;
	memcpy(dest, bytes.data, BLCKSZ);
	return page_verify((Page) dest, block, &verdict) ? NULL : verdict.problem;
}
