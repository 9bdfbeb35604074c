/*
 * rebuild.c
 *	  Making the lists of a table's file anew.
 *
 * Nobody else uses the file (AccessExclusiveLock).  Latches: file header, then pages that become
 * free.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tree/rebuild.h"
#include "tree/verify.h"
#include "utils/memutils.h"

/* Pages freed by one record, besides the header. */
#define REBUILD_PAGES	(CHANGE_MAX_PAGES - 2)

typedef struct Rebuild
{
	const PoolFile *file;
	FileHeaderData header;		/* as it is to be */
	uint8	   *used;			/* by block: the tree or the version list has it */
	TreeKey		covered;		/* leaves cover all keys before that */
} Rebuild;

/* ---- what is used ---- */

static void
ignore_problem(BlockNumber block, const char *message, void *arg)
{
}

static void
note_used(Page page, BlockNumber block, void *arg)
{
	Rebuild    *rebuild = arg;
	PageTrailer trailer = page_trailer(page);

	if (trailer->type != ROWAN_PAGE_LEAF && trailer->type != ROWAN_PAGE_INNER)
		return;
	rebuild->used[block] = 1;
	if (trailer->type == ROWAN_PAGE_LEAF && trailer->low_fence == rebuild->covered)
		rebuild->covered = trailer->high_fence;
}

static bool
is_version_page(const Rebuild *rebuild, BlockNumber block, Page page)
{
	return block > ROWAN_ROOT_BLOCK && block < rebuild->header.high_water &&
		!rebuild->used[block] && pool_copy_sound(rebuild->file, block, (char *) page) == NULL &&
		page_check(page, block) == NULL && page_trailer(page)->type == ROWAN_PAGE_VERSION &&
		page_trailer(page)->file_id == rebuild->header.file_id;
}

/* Follows the version list from its head; false: it breaks off. */
static bool
note_versions(Rebuild *rebuild)
{
	FileHeaderData *header = &rebuild->header;
	BlockNumber block = header->version_head;
	PGAlignedBlock page;

	header->version_tail = InvalidBlockNumber;
	header->version_count = 0;
	while (BlockNumberIsValid(block))
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_version_page(rebuild, block, (Page) page.data))
			return false;
		rebuild->used[block] = 1;
		header->version_tail = block;
		header->version_count++;
		block = page_trailer(page.data)->right_block;
	}
	return true;
}

/* Those that the list does not have, nobody appends to. */
static void
keep_active_versions(Rebuild *rebuild)
{
	for (int i = 0; i < ROWAN_ACTIVE_VERSION_PAGES; i++)
	{
		BlockNumber *block = &rebuild->header.version_active[i];
		PGAlignedBlock page;

		if (!BlockNumberIsValid(*block))
			continue;
		if (*block >= rebuild->header.high_water || !rebuild->used[*block] ||
			pool_copy_sound(rebuild->file, *block, page.data) != NULL ||
			page_trailer(page.data)->type != ROWAN_PAGE_VERSION)
			*block = InvalidBlockNumber;
	}
}

/* ---- making it so ---- */

/* The lists as they are to be, but without a free page. */
static void
write_header(Rebuild *rebuild)
{
	PageChange	change;

	rebuild->header.free_head = InvalidBlockNumber;
	rebuild->header.free_count = 0;
	change_begin(&change, rebuild->file);
	*space_change_header(&change) = rebuild->header;
	change_commit(&change, InvalidTransactionId);
}

/* What is on the page does not matter: it need not even be readable. */
static void
free_unread(PageChange *change, FileHeaderData *header, BlockNumber block)
{
	Page		page = change_page(change, pool_latch_new(change->file, block), true);

	page_init(page, ROWAN_PAGE_FREE, 0, block, header->file_id);
	page_trailer(page)->right_block = header->free_head;
	header->free_head = block;
	header->free_count++;
}

/* Frees pages that nobody has, from *end downward, as many as one record takes. */
static void
free_some(Rebuild *rebuild, BlockNumber *end)
{
	PageChange	change;
	FileHeaderData *header;
	int			n = 0;

	change_begin(&change, rebuild->file);
	header = space_change_header(&change);
	while (*end > ROWAN_ROOT_BLOCK + 1 && n < REBUILD_PAGES)
	{
		BlockNumber block = --*end;

		if (rebuild->used[block])
			continue;
		free_unread(&change, header, block);
		n++;
	}
	rebuild->header.free_count = header->free_count;
	change_commit(&change, InvalidTransactionId);
}

static RebuildResult
rebuild_file(Rebuild *rebuild)
{
	TreeVerify	how = {.report = ignore_problem, .met = note_used, .arg = rebuild};
	PGAlignedBlock page;
	BlockNumber end;

	if (pool_copy_sound(rebuild->file, ROWAN_HEADER_BLOCK, page.data) != NULL ||
		page_trailer(page.data)->type != ROWAN_PAGE_HEADER)
		return REBUILD_NO_HEADER;
	rebuild->header = *file_header(page.data);
	end = rebuild->header.high_water;
	rebuild->used = palloc_extended(end, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	if (tree_verify(rebuild->file, &how) == 0)
		return REBUILD_NOT_NEEDED;
	if (rebuild->covered != TREE_KEY_MAX)
		return REBUILD_TREE_BROKEN;
	if (!note_versions(rebuild))
		return REBUILD_VERSIONS_BROKEN;
	keep_active_versions(rebuild);
	pool_prepare_write();
	if (pool_file_blocks(rebuild->file) < end)
		pool_file_extend(rebuild->file, end);	/* it was cut: no page of the tree was lost */
	write_header(rebuild);
	while (end > ROWAN_ROOT_BLOCK + 1)
	{
		CHECK_FOR_INTERRUPTS();
		free_some(rebuild, &end);
	}
	return REBUILD_DONE;
}

RebuildResult
tree_rebuild_lists(const PoolFile *file, uint32 *nfree)
{
	Rebuild		rebuild = {.file = file, .covered = TREE_KEY_MIN};
	RebuildResult result = rebuild_file(&rebuild);

	*nfree = rebuild.header.free_count;
	return result;
}
