/*
 * trim.c
 *	  Giving the end of the file back: taking free pages at the end off the free list.  shrink.c has
 *	  moved other pages away before.
 *
 * The caller holds AccessExclusiveLock on the relation, so nobody else uses the file; pages are
 * still latched for the writer of dirty pages and for a standby.  Every record leaves a
 * sound file, so it may be stopped anywhere.
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "tree/idtree.h"

/* ---- what is there ---- */

static uint8
page_type_of(const PoolFile *file, BlockNumber block, PoolRing *ring)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		uint8		type;

		pool_read_begin(file, block, attempt, ring, &read);
		type = page_trailer(read.page)->type;
		if (pool_read_end(&read))
			return type;
		CHECK_FOR_INTERRUPTS();
	}
}

BlockNumber
space_count_free_tail(const PoolFile *file)
{
	FileHeaderData header;
	PoolRing	ring = {0};
	BlockNumber nfree = 0;

	space_read_header(file, &header);
	while (nfree < header.free_count &&
		   page_type_of(file, header.high_water - 1 - nfree, &ring) == ROWAN_PAGE_FREE)
	{
		CHECK_FOR_INTERRUPTS();
		nfree++;
	}
	return nfree;
}

/* ---- the free list ---- */

/*
 * The free list as it is being trimmed: places in it, 0 standing for the header, linked in
 * both directions.  Places whose successor changed are to be written.
 */
#define TRIM_MAX_TOUCHED	(CHANGE_MAX_PAGES - 1)

typedef struct TrimList
{
	const PoolFile *file;
	FreeBlock  *sorted;			/* so many are on the list, by block */
	uint32		limit;
	BlockNumber *block;			/* of a place */
	uint32	   *next;			/* 0: the end */
	uint32	   *prev;
	BlockNumber high;			/* blocks from here on are off the list */
	BlockNumber written_high;	/* the same, in the file */
	int			ntouched;
	uint32		touched[TRIM_MAX_TOUCHED];
} TrimList;

void *
free_list_array(uint32 n, Size size)
{
	return palloc_extended((Size) n * size, MCXT_ALLOC_HUGE);
}

static void
trim_free(TrimList *list)
{
	pfree(list->block);
	pfree(list->next);
	pfree(list->prev);
	pfree(list->sorted);
}

static int
compare_free_blocks(const void *a, const void *b)
{
	BlockNumber x = ((const FreeBlock *) a)->block;
	BlockNumber y = ((const FreeBlock *) b)->block;

	return x < y ? -1 : x > y;
}

void
free_blocks_sort(FreeBlock *blocks, uint32 n)
{
	qsort(blocks, n, sizeof(FreeBlock), compare_free_blocks);
}

/* Reads the whole list; false if told to stop. */
static bool
trim_read_list(TrimList *list, const FileHeaderData *header, SpaceStop stop, void *arg)
{
	uint32		n = header->free_count;
	PoolRing	ring = {0};
	char	   *page = palloc(BLCKSZ);
	BlockNumber block = header->free_head;
	bool		complete = true;

	list->limit = n;
	list->sorted = free_list_array(n + 1, sizeof(FreeBlock));
	list->block = free_list_array(n + 1, sizeof(BlockNumber));
	list->next = free_list_array(n + 1, sizeof(uint32));
	list->prev = free_list_array(n + 1, sizeof(uint32));
	for (uint32 i = 1; i <= n && complete; i++)
	{
		if (block <= ROWAN_ROOT_BLOCK || block >= header->high_water)
			tree_corrupted(list->file, ROWAN_HEADER_BLOCK, "free list leads out of the file");
		list->sorted[i - 1] = (FreeBlock) {block, i};
		list->block[i] = block;
		list->prev[i] = i - 1;
		list->next[i - 1] = i;
		pool_read_copy(list->file, block, &ring, page);
		if (page_trailer(page)->type != ROWAN_PAGE_FREE)
			tree_corrupted(list->file, block, "page on the free list is not free");
		block = page_trailer(page)->right_block;
		complete = !stop(arg);
	}
	list->next[n] = 0;
	if (complete)
		free_blocks_sort(list->sorted, n);
	pfree(page);
	return complete;
}

static BlockNumber
trim_block_after(const TrimList *list, uint32 place)
{
	uint32		next = list->next[place];

	return next == 0 ? InvalidBlockNumber : list->block[next];
}

static void
trim_unlink(TrimList *list, uint32 place)
{
	uint32		prev = list->prev[place];
	uint32		next = list->next[place];

	list->next[prev] = next;
	if (next != 0)
		list->prev[next] = prev;
}

/* A free page of the list, in the change. */
static Page
trim_change_page(TrimList *list, PageChange *change, BlockNumber block)
{
	PoolFrame  *frame = pool_latch(list->file, block, LW_EXCLUSIVE);

	if (page_trailer(pool_page(frame))->type != ROWAN_PAGE_FREE)
		tree_corrupted(list->file, block, "page on the free list is not free");
	return change_page(change, frame, false);
}

/* ---- free pages at the end ---- */

static int
trim_find_touched(TrimList *list, uint32 place)
{
	for (int i = 0; i < list->ntouched; i++)
		if (list->touched[i] == place)
			return i;
	return -1;
}

/*
 * Changes the header and the free pages whose successors left the list.
 */
static void
trim_write(TrimList *list)
{
	PageChange	change;
	FileHeaderData *header;

	if (list->high == list->written_high)
		return;
	change_begin(&change, list->file);
	header = space_change_header(&change);
	Assert(header->high_water == list->written_high);
	header->high_water = list->high;
	header->free_count -= list->written_high - list->high;
	header->free_head = trim_block_after(list, 0);
	for (int i = 0; i < list->ntouched; i++)
	{
		uint32		place = list->touched[i];
		Page		page = trim_change_page(list, &change, list->block[place]);

		page_trailer(page)->right_block = trim_block_after(list, place);
	}
	FAULT_POINT(trim_write);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(trim_written);
	list->written_high = list->high;
	list->ntouched = 0;
}

/* Takes the last block off the list; what is pending is written first if it grew too much. */
static void
trim_last_block(TrimList *list)
{
	uint32		place = list->sorted[list->limit - 1].place;
	uint32		prev = list->prev[place];
	int			was_touched = trim_find_touched(list, place);

	if (was_touched >= 0)
		list->touched[was_touched] = list->touched[--list->ntouched];
	else if (list->ntouched == TRIM_MAX_TOUCHED)
		trim_write(list);
	if (prev != 0 && trim_find_touched(list, prev) < 0)
		list->touched[list->ntouched++] = prev;
	trim_unlink(list, place);
	list->limit--;
	list->high--;
}

static void
trim_free_tail(TrimList *list, SpaceStop stop, void *arg)
{
	while (list->limit > 0 && list->sorted[list->limit - 1].block == list->high - 1 &&
		   !stop(arg))
		trim_last_block(list);
	trim_write(list);
}

BlockNumber
space_trim(const PoolFile *file, SpaceStop stop, void *arg)
{
	TrimList	list = {.file = file};
	FileHeaderData header;

	space_read_header(file, &header);
	list.high = list.written_high = header.high_water;
	if (trim_read_list(&list, &header, stop, arg))
		trim_free_tail(&list, stop, arg);
	trim_free(&list);
	return list.written_high;
}
