/*
 * sound.c
 *	  Reading a file that may be damaged, without errors.
 *
 * Of copies past the pool: what it has is taken first, for it may be newer than the disk, or sound
 * where that is not.  Otherwise the page is read from disk, and judged by itself alone: not by the
 * file id in block 0, which may be damaged, too.
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

/* Errors that say that bytes cannot be had or believed, not that something else went wrong. */
static bool
is_of_the_disk(int code)
{
	return code == ERRCODE_DATA_CORRUPTED || code == ERRCODE_IO_ERROR ||
		code == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;	/* another format */
}

/* Within PG_CATCH: what the error says, if it is one of these; else it goes on. */
static void
take_damage(MemoryContext context, uint32 holdoff, PoolDamage *damage)
{
	ErrorData  *error;

	if (!is_of_the_disk(geterrcode()))
		PG_RE_THROW();
	InterruptHoldoffCount = holdoff;	/* elog(ERROR) has forgotten it */
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	damage->message = error->message;
	damage->hint = error->hint;
}

bool
pool_catch_damage(void (*action) (void *arg), void *arg, PoolDamage *damage)
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff = InterruptHoldoffCount;
	volatile bool done = true;

	PG_TRY();
	{
		action(arg);
	}
	PG_CATCH();
	{
		if (is_of_the_disk(geterrcode()))
			LWLockReleaseAll();
		take_damage(context, holdoff, damage);
		done = false;
	}
	PG_END_TRY();
	return done;
}

bool
pool_read_begin_checked(const PoolFile *file, BlockNumber block, int attempt, PoolRing *ring,
						PoolRead *read, PoolDamage *damage)
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff = InterruptHoldoffCount;
	volatile bool begun = true;

	PG_TRY();
	{
		pool_read_begin(file, block, attempt, ring, read);
	}
	PG_CATCH();
	{
		take_damage(context, holdoff, damage);	/* the latches of other pages stay */
		begun = false;
	}
	PG_END_TRY();
	return begun;
}

/* ---- past the pool ---- */

typedef struct DiskRead
{
	const PoolFile *file;
	BlockNumber block;
	char	   *dest;
} DiskRead;

static void
read_past_pool(void *arg)
{
	const DiskRead *read = arg;

	smgrread(smgropen(read->file->locator, read->file->backend), MAIN_FORKNUM, read->block,
			 read->dest);
}

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

const char *
pool_copy_sound(const PoolFile *file, BlockNumber block, char *dest)
{
	PGIOAlignedBlock bytes;
	PoolTag		tag;
	PoolFrame  *frame;
	PageVerdict verdict;
	DiskRead	read = {.file = file, .block = block, .dest = bytes.data};
	PoolDamage	damage;

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
	if (!pool_catch_damage(read_past_pool, &read, &damage))
		return damage.message;
	memcpy(dest, bytes.data, BLCKSZ);
	return page_verify((Page) dest, block, &verdict) ? NULL : verdict.problem;
}
