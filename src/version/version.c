/*
 * version.c
 *	  Version pages: finding one to append to, reading, adding, freeing.
 *
 * Latches: version page, then file header.  Nothing here knows transactions or rows.
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "pool/counters.h"
#include "pool/file_cache.h"
#include "storage/proc.h"
#include "storage/s_lock.h"
#include "tree/page.h"
#include "tree/tree.h"
#include "version/version.h"

/* So often a page that is busy is tried before the leaf's latch is given up. */
#define BUSY_TRIES	300

/*
 * Which page this backend appends to.  One that is no version page any more, or is full, is found
 * out under its latch.
 */
typedef struct ActivePage
{
	FileKey		key;
	BlockNumber block;			/* 0: none known */
	bool		busy;			/* somebody had it latched when we needed it */
} ActivePage;

FILE_CACHE(active_pages, ActivePage, 64);

static ActivePage *
active_page(const PoolFile *file)
{
	return file_cache_make(&active_pages, file, 0);
}

static int
active_slot(void)
{
	return MyProcNumber % ROWAN_ACTIVE_VERSION_PAGES;
}

uint16
version_next_offset(Page page)
{
	return ((PageHeader) page)->pd_lower;
}

static bool
version_page_has_room(Page page, uint16 size)
{
	return page_trailer(page)->type == ROWAN_PAGE_VERSION &&
		version_next_offset(page) + MAXALIGN(size) <= ROWAN_PAGE_SPECIAL;
}

/*
 * The remembered page may have been freed meanwhile and be a leaf now, even the very one that the
 * caller has latched.  So it is only tried; its holders are waited for in version_await_active,
 * with no latch held.
 */
static PoolFrame *
try_active(const PoolFile *file, ActivePage *active)
{
	for (int i = 0; i < BUSY_TRIES; i++)
	{
		PoolFrame  *frame;

		if (!space_has_block(file, active->block))
		{
			active->block = 0;
			return NULL;
		}
		frame = pool_latch_try(file, active->block);
		if (frame != NULL)
			return frame;
		SPIN_DELAY();
	}
	active->busy = true;
	return NULL;
}

PoolFrame *
version_latch_active(const PoolFile *file, uint16 size)
{
	ActivePage *active = active_page(file);
	PoolFrame  *frame;

	if (active->block == 0)
	{
		FileHeaderData header;

		space_read_header(file, &header);
		if (!BlockNumberIsValid(header.version_active[active_slot()]))
			return NULL;
		active->block = header.version_active[active_slot()];
	}
	frame = try_active(file, active);
	if (frame == NULL)
		return NULL;
	if (version_page_has_room(pool_page(frame), size))
		return frame;
	pool_unlatch(frame);
	active->block = 0;
	return NULL;
}

bool
version_await_active(const PoolFile *file)
{
	ActivePage *active = active_page(file);

	if (!active->busy)
		return false;
	active->busy = false;
	if (active->block != 0 && space_has_block(file, active->block))
	{
		PoolFrame  *frame = pool_latch(file, active->block, LW_EXCLUSIVE);

		if (!version_page_has_room(pool_page(frame), 0))
			active->block = 0;	/* perhaps the very leaf that the caller had latched */
		pool_unlatch(frame);
	}
	return true;
}

/*
 * The active page of this backend's slot was read from the header, and found full (or none).
 * Somebody sharing the slot may have replaced it meanwhile: then there is nothing to do.
 */
void
version_add_page(const PoolFile *file)
{
	for (;;)
	{
		FileHeaderData before;
		FileHeaderData *header;
		PageChange	change;
		BlockNumber block;

		CHECK_FOR_INTERRUPTS();
		space_read_header(file, &before);
		change_begin(&change, file);
		if (BlockNumberIsValid(before.version_tail))
		{
			Page		tail = change_page(&change, pool_latch(file, before.version_tail,
															   LW_EXCLUSIVE), false);

			/* freed meanwhile: a free page must not be held while asking for the file header */
			if (page_trailer(tail)->type != ROWAN_PAGE_VERSION)
			{
				change_abort(&change);
				continue;
			}
		}
		(void) space_alloc(&change, ROWAN_PAGE_VERSION, 0, &block);
		header = file_header(change_find(&change, ROWAN_HEADER_BLOCK));
		if (header->version_tail != before.version_tail)
		{
			change_abort(&change);
			continue;
		}
		if (BlockNumberIsValid(before.version_tail))
			page_trailer(change_find(&change, before.version_tail))->right_block = block;
		else
			header->version_head = block;
		header->version_tail = block;
		header->version_count++;
		header->version_active[active_slot()] = block;
		FAULT_POINT(version_add);
		change_commit(&change, InvalidTransactionId);
		count_one(COUNT_VERSION_PAGES_ADDED);
		FAULT_POINT(version_added);
		active_page(file)->block = block;
		return;
	}
}

static bool
version_record_plausible(Page page, uint16 offset, uint16 *size)
{
	uint16		lower = ((volatile PageHeaderData *) page)->pd_lower;

	if (page_trailer(page)->type != ROWAN_PAGE_VERSION ||
		offset < ROWAN_PAGE_BODY || offset % MAXIMUM_ALIGNOF != 0 ||
		lower > ROWAN_PAGE_SPECIAL || offset + sizeof(VersionRecordData) > lower)
		return false;
	*size = *(volatile uint16 *) ((char *) page + offset);
	return *size >= sizeof(VersionRecordData) && offset + *size <= lower;
}

/*
 * A pointer may outlive its page, and even the part of the file where that was: blocks from
 * high_water on have no content that means anything, or do not exist.  What is in the pool exists;
 * only before a page is waited for or loaded the file header is asked, which changes all the time.
 *
 * What it leads to may be any page of the tree by now, whose holder may be waiting for the leaf
 * that the caller has latched: its latch is only tried.
 */
static bool
begin_read(const PoolFile *file, BlockNumber block, int attempt, PoolRead *read)
{
	if (attempt == 0 && pool_read_try(file, block, read))
		return true;
	if (!space_has_block(file, block))
		return false;
	pool_read_begin_unordered(file, block, read);
	if (attempt >= POOL_OPTIMISTIC_ATTEMPTS)
		(void) pool_read_latch_try(read);
	return true;
}

bool
version_read(const PoolFile *file, BlockNumber block, uint16 offset, char *dest)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		uint16		size;
		bool		plausible;

		if (!begin_read(file, block, attempt, &read))
			return false;
		plausible = version_record_plausible(read.page, offset, &size);
		if (plausible)
		{
			memcpy(dest, (char *) read.page + offset, size);
			((VersionRecordData *) dest)->size = size;
		}
		if (pool_read_end(&read))
			return plausible;
		CHECK_FOR_INTERRUPTS();
	}
}

bool
version_page_read(Page page, uint16 offset, char *dest)
{
	uint16		size;

	if (!version_record_plausible(page, offset, &size))
		return false;
	memcpy(dest, (char *) page + offset, size);
	return true;
}

const VersionRecordData *
version_page_next(Page page, uint16 *offset)
{
	uint16		size;

	if (*offset == 0)
		*offset = ROWAN_PAGE_BODY;
	else if (version_record_plausible(page, *offset, &size))
		*offset += MAXALIGN(size);
	else
		return NULL;
	if (!version_record_plausible(page, *offset, &size))
		return NULL;
	return (const VersionRecordData *) ((char *) page + *offset);
}

bool
version_same_records(Page page, Page judged)
{
	uint16		lower = version_next_offset(judged);

	return page_trailer(page)->type == ROWAN_PAGE_VERSION && version_next_offset(page) == lower &&
		memcmp((char *) page + ROWAN_PAGE_BODY, (char *) judged + ROWAN_PAGE_BODY,
			   lower - ROWAN_PAGE_BODY) == 0;
}

/*
 * Nothing on it, but it is where the next record of some backends goes.  Only the tail stays for
 * that: a page that its maker has not come to use would keep all behind it, perhaps for ever.
 */
static bool
is_wanted(const FileHeaderData *header, BlockNumber block, Page page)
{
	if (version_next_offset(page) > ROWAN_PAGE_BODY || header->version_tail != block)
		return false;
	for (int i = 0; i < ROWAN_ACTIVE_VERSION_PAGES; i++)
		if (header->version_active[i] == block)
			return true;
	return false;
}

/*
 * Between judging and the latch the page may have been freed by somebody else, have come back at
 * the list's end, be at its head again, and be filled as far as before, by records that are
 * needed.  So the records themselves are compared.  What was found out about a record (every
 * snapshot is younger than its superseder, which has committed, or has aborted and was popped)
 * stays true, and no transaction makes the same record twice: the same bytes have the same answer,
 * whatever has become of the page in between.
 */
bool
version_free_head(const PoolFile *file, BlockNumber block, Page judged, TransactionId horizon)
{
	PageChange	change;
	Page		page;
	FileHeaderData *header;
	BlockNumber next;

	change_begin(&change, file);
	page = change_page(&change, pool_latch(file, block, LW_EXCLUSIVE), false);
	if (!version_same_records(page, judged))
	{
		change_abort(&change);
		return false;
	}
	next = page_trailer(page)->right_block;
	header = space_change_header(&change);
	if (header->version_head != block || is_wanted(header, block, page))
	{
		change_abort(&change);
		return false;
	}
	space_free(&change, block);
	header->version_head = next;
	if (header->version_tail == block)
		header->version_tail = InvalidBlockNumber;
	header->version_count--;
	for (int i = 0; i < ROWAN_ACTIVE_VERSION_PAGES; i++)
		if (header->version_active[i] == block)
			header->version_active[i] = InvalidBlockNumber;
	FAULT_POINT(version_free);
	change_commit(&change, horizon);
	count_one(COUNT_VERSION_PAGES_FREED);
	FAULT_POINT(version_freed);
	return true;
}
