/*
 * shrink.c
 *	  Moving pages of the tree from the file's end into free ones, beside everybody else, so that
 *	  VACUUM finds free pages at the end, and cuts them off (trim.c).
 *
 * A page moves by one record, in which its old place takes the new one's in the free list: readers
 * who had heard of the old one find it free, as after a merge, and look again.  The free list, and
 * where pages are, are read without latches; under them they are looked at again, and if they are
 * not as they were, the page stays until the next VACUUM.
 *
 * Latches: parent, left neighbour, page, file header, predecessor in the free list, new page.  The
 * neighbour and the free pages are known from hearsay only: their latches are tried (I-POOL-5).
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "tree/idtree.h"

/* A file shrinks if this part of it is free, and keeps that part of what is used. */
#define SHRINK_FRACTION		8
#define SHRINK_SPARE		50
#define SHRINK_LEAST		16

/* The free list as it was read; places in it from 1 on, 0 standing for the header. */
typedef struct FreePlaces
{
	uint32		n;
	BlockNumber *block;			/* of a place */
	FreeBlock  *sorted;			/* by block, as they were */
} FreePlaces;

/* Others may change it meanwhile: then it ends early. */
static void
read_free_places(const PoolFile *file, const FileHeaderData *header, FreePlaces *places)
{
	PoolRing	ring = {0};
	char	   *page = palloc(BLCKSZ);
	BlockNumber block = header->free_head;

	places->block = free_list_array(header->free_count + 1, sizeof(BlockNumber));
	places->sorted = free_list_array(header->free_count, sizeof(FreeBlock));
	places->n = 0;
	while (places->n < header->free_count && block > ROWAN_ROOT_BLOCK &&
		   space_has_block(file, block))
	{
		CHECK_FOR_INTERRUPTS();
		pool_read_copy(file, block, &ring, page);
		if (page_trailer(page)->type != ROWAN_PAGE_FREE)
			break;
		places->sorted[places->n] = (FreeBlock) {block, places->n + 1};
		places->block[++places->n] = block;
		block = page_trailer(page)->right_block;
	}
	free_blocks_sort(places->sorted, places->n);
	pfree(page);
}

/* ---- one page ---- */

/* A page's right sibling, or a free page's successor, doesn't matter. */
#define ANY_RIGHT	ROWAN_HEADER_BLOCK

/* Latches a page that ought to be of that type, and to lead to that one; NULL: not so. */
static PoolFrame *
try_page(const PoolFile *file, BlockNumber block, uint8 type, BlockNumber right)
{
	PoolFrame  *frame;
	PageTrailer trailer;

	frame = pool_latch_try(file, block);
	if (frame == NULL)
		return NULL;
	trailer = page_trailer(pool_page(frame));
	if (trailer->magic == ROWAN_MAGIC && trailer->type == type &&
		(right == ANY_RIGHT || trailer->right_block == right))
		return frame;
	pool_unlatch(frame);
	return NULL;
}

static BlockNumber
left_neighbour(const PoolFile *file, const PageTrailerData *trailer)
{
	char	   *page;
	BlockNumber block = InvalidBlockNumber;

	if (trailer->low_fence == TREE_KEY_MIN)
		return InvalidBlockNumber;
	page = palloc(BLCKSZ);
	if (tree_copy_page(file, trailer->low_fence - 1, trailer->level, NULL, page))
		block = page_trailer(page)->self_block;
	pfree(page);
	return block;
}

/* The page that is to be moved, with those that lead to it; false: not where they were. */
static bool
change_tree_pages(PageChange *change, const PageTrailerData *trailer, Page *parent, int *slot,
				  Page *left, Page *page)
{
	const PoolFile *file = change->file;
	BlockNumber left_block = left_neighbour(file, trailer);
	PoolFrame  *frame = tree_latch_page(file, trailer->low_fence, trailer->level + 1, LW_EXCLUSIVE);
	IdSearch	search;

	if (frame == NULL)
		return false;
	*parent = change_page(change, frame, false);
	*slot = inner_search(*parent, trailer->low_fence);
	if (inner_child(*parent, *slot) != trailer->self_block)
		return false;
	*left = NULL;
	if (trailer->low_fence != TREE_KEY_MIN)
	{
		frame = BlockNumberIsValid(left_block) && space_has_block(file, left_block) ?
			try_page(file, left_block, trailer->type, trailer->self_block) : NULL;
		if (frame == NULL)
			return false;
		*left = change_page(change, frame, false);
	}
	id_search_init(&search, file, trailer->low_fence);
	*page = change_page(change, tree_latch_child(&search.search, *parent, *slot), false);
	return true;
}

/* The free page of a place, with the pointer to it; false: not where they were. */
static bool
change_free_pages(PageChange *change, const FreePlaces *places, uint32 place, BlockNumber old,
				  Page *to, BlockNumber *next)
{
	const PoolFile *file = change->file;
	FileHeaderData *header = space_change_header(change);
	BlockNumber block = places->block[place];
	PoolFrame  *frame;

	if (old >= header->high_water || block >= header->high_water ||
		(place == 1 && header->free_head != block))
		return false;
	if (place == 1)
		header->free_head = old;
	else
	{
		frame = places->block[place - 1] < header->high_water ?
			try_page(file, places->block[place - 1], ROWAN_PAGE_FREE, block) : NULL;
		if (frame == NULL)
			return false;
		page_trailer(change_page(change, frame, false))->right_block = old;
	}
	frame = try_page(file, block, ROWAN_PAGE_FREE, ANY_RIGHT);
	if (frame == NULL)
		return false;
	*next = page_trailer(pool_page(frame))->right_block;
	*to = change_page(change, frame, true);
	return true;
}

/* Moves a page of the tree to a free place, if they are where they were. */
static void
move_down(const PoolFile *file, FreePlaces *places, uint32 place, const PageTrailerData *trailer)
{
	BlockNumber old = trailer->self_block;
	BlockNumber new = places->block[place];
	PageChange	change;
	Page		parent,
				left,
				page,
				to;
	BlockNumber next;
	int			slot;

	change_begin(&change, file);
	if (!change_tree_pages(&change, trailer, &parent, &slot, &left, &page) ||
		!change_free_pages(&change, places, place, old, &to, &next))
	{
		change_abort(&change);
		return;
	}
	page_init(to, trailer->type, trailer->level, new, page_trailer(page)->file_id);
	page_copy_content(to, page);
	inner_set_child(parent, slot, new);
	if (left != NULL)
		page_trailer(left)->right_block = new;
	page_reset(page, ROWAN_PAGE_FREE, 0);
	page_trailer(page)->right_block = next;
	FAULT_POINT(shrink_move);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(shrink_moved);
	places->block[place] = old;
}

/* ---- all of them ---- */

static bool
read_tree_page(const PoolFile *file, BlockNumber block, PoolRing *ring, char *page)
{
	uint8		type;

	pool_read_copy(file, block, ring, page);
	type = page_trailer(page)->type;
	return type == ROWAN_PAGE_LEAF || type == ROWAN_PAGE_INNER;
}

void
space_shrink(const PoolFile *file, void (*pause) (void))
{
	FileHeaderData header;
	FreePlaces	places;
	PoolRing	ring = {0};
	BlockNumber used;
	char	   *page;
	uint32		i = 0;

	space_read_header(file, &header);
	if (header.free_count < SHRINK_LEAST || header.free_count < header.high_water / SHRINK_FRACTION)
		return;
	used = header.high_water - header.free_count;
	page = palloc(BLCKSZ);
	read_free_places(file, &header, &places);
	for (BlockNumber last = header.high_water - 1; last > used + used / SHRINK_SPARE; last--)
	{
		pause();
		if (!space_has_block(file, last) || !read_tree_page(file, last, &ring, page))
			continue;
		if (i == places.n || places.sorted[i].block >= last)
			break;
		move_down(file, &places, places.sorted[i++].place, page_trailer(page));
	}
	pfree(places.block);
	pfree(places.sorted);
	pfree(page);
}
