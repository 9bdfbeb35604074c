/*
 * trim.c
 *	  Giving the end of the file back: taking free pages at the end off the free list,
 *	  and moving pages that are in the way.
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
space_count_free_tail(const PoolFile *file, int others, SpaceStop stop, void *arg)
{
	FileHeaderData header;
	PoolRing	ring = {0};
	BlockNumber nfree = 0;

	space_read_header(file, &header);
	for (BlockNumber block = header.high_water - 1;
		 block > ROWAN_ROOT_BLOCK && nfree < header.free_count && !stop(arg); block--)
	{
		uint8		type = page_type_of(file, block, &ring);

		if (type == ROWAN_PAGE_FREE)
			nfree++;
		else if (type == ROWAN_PAGE_VERSION || --others < 0)
			break;
	}
	return nfree;
}

/* ---- the free list ---- */

/*
 * The free list as it is being trimmed: places in it, 0 standing for the header, linked in
 * both directions.  Places whose successor changed are to be written.
 */
#define TRIM_MAX_TOUCHED	(CHANGE_MAX_PAGES - 1)

typedef struct FreeBlock
{
	BlockNumber block;
	uint32		place;
} FreeBlock;

typedef struct TrimList
{
	const PoolFile *file;
	FreeBlock  *sorted;			/* [first, limit) are on the list, by block */
	uint32		first;
	uint32		limit;
	BlockNumber *block;			/* of a place */
	uint32	   *next;			/* 0: the end */
	uint32	   *prev;
	BlockNumber high;			/* blocks from here on are off the list */
	BlockNumber written_high;	/* the same, in the file */
	int			ntouched;
	uint32		touched[TRIM_MAX_TOUCHED];
} TrimList;

static void *
trim_array(uint32 n, Size size)
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
	list->sorted = trim_array(n + 1, sizeof(FreeBlock));
	list->block = trim_array(n + 1, sizeof(BlockNumber));
	list->next = trim_array(n + 1, sizeof(uint32));
	list->prev = trim_array(n + 1, sizeof(uint32));
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
		qsort(list->sorted, n, sizeof(FreeBlock), compare_free_blocks);
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
trim_change_page(TrimList *list, PageChange *change, BlockNumber block, bool is_new)
{
	PoolFrame  *frame = pool_latch(list->file, block, LW_EXCLUSIVE);

	if (page_trailer(pool_page(frame))->type != ROWAN_PAGE_FREE)
		tree_corrupted(list->file, block, "page on the free list is not free");
	return change_page(change, frame, is_new);
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
		Page		page = trim_change_page(list, &change, list->block[place], false);

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
	while (list->limit > list->first && list->sorted[list->limit - 1].block == list->high - 1 &&
		   !stop(arg))
		trim_last_block(list);
	trim_write(list);
}

/* ---- pages in the way ---- */

/*
 * Takes the first free block of the file off the list, inside the change, and the last block off
 * the file.
 */
static Page
trim_take_first(TrimList *list, PageChange *change, const PageTrailerData *trailer)
{
	FreeBlock  *taken = &list->sorted[list->first];
	uint32		prev = list->prev[taken->place];
	FileHeaderData *header = space_change_header(change);
	Page		page;

	Assert(header->high_water == list->high && list->high == list->written_high);
	trim_unlink(list, taken->place);
	list->first++;
	list->high = --list->written_high;
	header->high_water--;
	header->free_count--;
	header->free_head = trim_block_after(list, 0);
	if (prev != 0)
		page_trailer(trim_change_page(list, change, list->block[prev], false))->right_block =
			trim_block_after(list, prev);
	page = trim_change_page(list, change, taken->block, true);
	page_init(page, trailer->type, trailer->level, taken->block, header->file_id);
	return page;
}

/* Nobody else is here, so what is found without a latch stays where it is. */
static BlockNumber
find_left_neighbour(const PoolFile *file, const PageTrailerData *trailer)
{
	char	   *page;
	BlockNumber block;

	if (trailer->low_fence == TREE_KEY_MIN)
		return InvalidBlockNumber;
	page = palloc(BLCKSZ);
	if (!tree_copy_page(file, trailer->low_fence - 1, trailer->level, NULL, page))
		tree_corrupted(file, trailer->self_block, "page has no left neighbour");
	block = page_trailer(page)->self_block;
	pfree(page);
	return block;
}

/* Latches it, in the change; the page to its right is the one to be moved. */
static Page
change_left_neighbour(PageChange *change, BlockNumber block, const PageTrailerData *trailer)
{
	PoolFrame  *frame = pool_latch(change->file, block, LW_EXCLUSIVE);

	if (page_trailer(pool_page(frame))->right_block != trailer->self_block)
		tree_corrupted(change->file, block, "right sibling is not the next page");
	return change_page(change, frame, false);
}

/*
 * Moves the last page, of the tree, into the first free one.  Changes parent, left neighbour (if
 * any), page, file header, predecessor of the new page in the free list, new page.
 */
static void
move_page(TrimList *list, const PageTrailerData *trailer)
{
	const PoolFile *file = list->file;
	BlockNumber left_block = find_left_neighbour(file, trailer);
	PoolFrame  *parent_frame;
	IdSearch	search;
	PageChange	change;
	Page		left = NULL;
	Page		parent,
				page,
				to;
	int			pos;

	parent_frame = tree_latch_page(file, trailer->low_fence, trailer->level + 1, LW_EXCLUSIVE);
	if (parent_frame == NULL)
		tree_corrupted(file, trailer->self_block, "page has no parent");
	change_begin(&change, file);
	parent = change_page(&change, parent_frame, false);
	pos = inner_search(parent, trailer->low_fence);
	if (inner_child(parent, pos) != trailer->self_block)
		tree_corrupted(file, trailer->self_block, "page is not the one its parent says");
	if (BlockNumberIsValid(left_block))
		left = change_left_neighbour(&change, left_block, trailer);
	id_search_init(&search, file, trailer->low_fence);
	page = change_page(&change, tree_latch_child(&search.search, parent, pos), false);
	to = trim_take_first(list, &change, trailer);
	page_copy_content(to, page);
	inner_set_child(parent, pos, page_trailer(to)->self_block);
	if (left != NULL)
		page_trailer(left)->right_block = page_trailer(to)->self_block;
	page_reset(page, ROWAN_PAGE_FREE, 0);
	FAULT_POINT(trim_move);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(trim_moved);
}

/* The last page, if it is one of the tree and there is a free page before it. */
static bool
move_last_page(TrimList *list)
{
	PageTrailerData trailer;
	char	   *page;

	if (list->first == list->limit || list->high - 1 <= ROWAN_ROOT_BLOCK)
		return false;
	page = palloc(BLCKSZ);
	pool_read_copy(list->file, list->high - 1, NULL, page);
	trailer = *page_trailer(page);
	pfree(page);
	if (trailer.type != ROWAN_PAGE_LEAF && trailer.type != ROWAN_PAGE_INNER)
		return false;
	move_page(list, &trailer);
	return true;
}

BlockNumber
space_trim(const PoolFile *file, SpaceStop stop, void *arg)
{
	TrimList	list = {.file = file};
	FileHeaderData header;
	BlockNumber moved = 0;

	space_read_header(file, &header);
	list.high = list.written_high = header.high_water;
	if (trim_read_list(&list, &header, stop, arg))
	{
		do
		{
			trim_free_tail(&list, stop, arg);
		} while (moved <= SPACE_MOVE_FREELY + (header.high_water - list.high) / SPACE_MOVE_PART &&
				 !stop(arg) && move_last_page(&list) && ++moved);
	}
	trim_free(&list);
	return list.written_high;
}
