/*
 * shrink.c
 *	  Moving pages of a tree from the file's end into free ones, beside everybody else, so that
 *	  VACUUM finds free pages at the end, and cuts them off (trim.c).
 *
 * A page moves by one record, in which its old place takes the new one's in the free list: readers
 * who had heard of the old one find it free, as after a merge, and look again.  The free list, and
 * where pages are, are read without latches; under them they are looked at again, and if they are
 * not as they were, the page stays until the next VACUUM.
 *
 * Latches: parent, left neighbour, page, file header, predecessor in the free list, new page.  A
 * neighbour below another parent and the free pages are known from hearsay only: their latches are
 * tried (I-POOL-5).  Whatever compares keys happens before the change is open (I-IDX-12).
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "pool/counters.h"
#include "tree/descent.h"
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

/* The page that is to be moved, with those that lead to it, latched. */
typedef struct Moved
{
	PoolFrame  *parent;
	int			slot;			/* of the page, in its parent */
	PoolFrame  *left;			/* NULL: it is the first of its level */
	PoolFrame  *page;
} Moved;

/* Latches a page that ought to be of that type, and to lead to that one; NULL: not so. */
static PoolFrame *
try_page(const PoolFile *file, BlockNumber block, uint8 type, BlockNumber right)
{
	PoolFrame  *frame;
	PageTrailer trailer;

	if (!space_has_block(file, block))
		return NULL;
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

/* The page's left neighbour, if there is one; false: it cannot be had. */
static bool
latch_left(const TreeMover *mover, const PageTrailerData *trailer, BlockNumber left_block,
		   Moved *moved)
{
	moved->left = NULL;
	if (moved->slot > mover->here->kind->first_slot)
		moved->left = tree_latch_child(mover->here, pool_page(moved->parent), moved->slot - 1);
	else if (BlockNumberIsValid(left_block))
		moved->left = try_page(mover->here->file, left_block, trailer->type, trailer->self_block);
	return moved->left != NULL || !BlockNumberIsValid(left_block);
}

/* Where the page of that level is, a moment ago; false: the tree is not that high. */
static bool
find_block(const TreeSearch *search, int level, BlockNumber *block)
{
	PoolRead	read;

	if (!descent_to(search, search->kind, level, 0, NULL, &read, block))
		return false;
	pool_read_end(&read);
	return true;
}

/* False: they are not where they were, and nothing is latched. */
static bool
latch_moved(const TreeMover *mover, const PageTrailerData *trailer, Moved *moved)
{
	const TreeSearch *here = mover->here;
	BlockNumber left_block = InvalidBlockNumber;

	if (mover->before != NULL && !find_block(mover->before, trailer->level, &left_block))
		return false;
	moved->parent = here->kind->latch(here, trailer->level + 1, LW_EXCLUSIVE);
	if (moved->parent == NULL)
		return false;
	moved->slot = tree_child_slot(here, pool_page(moved->parent));
	if (here->kind->child_of_slot(here, pool_page(moved->parent), moved->slot) ==
		trailer->self_block && latch_left(mover, trailer, left_block, moved))
	{
		moved->page = tree_latch_child(here, pool_page(moved->parent), moved->slot);
		return true;
	}
	pool_unlatch(moved->parent);
	return false;
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
move_down(const TreeMover *mover, FreePlaces *places, uint32 place, const PageTrailerData *trailer)
{
	const TreeSearch *here = mover->here;
	BlockNumber old = trailer->self_block;
	BlockNumber new = places->block[place];
	PageChange	change;
	Moved		moved;
	Page		parent,
				left,
				page,
				to;
	BlockNumber next;

	if (!latch_moved(mover, trailer, &moved))
		return;
	change_begin(&change, here->file);
	parent = change_page(&change, moved.parent, false);
	left = moved.left == NULL ? NULL : change_page(&change, moved.left, false);
	page = change_page(&change, moved.page, false);
	if (!change_free_pages(&change, places, place, old, &to, &next))
	{
		change_abort(&change);
		return;
	}
	page_init(to, trailer->type, trailer->level, new, page_trailer(page)->file_id);
	page_copy_content(to, page);
	here->kind->set_child(parent, moved.slot, new);
	if (left != NULL)
		page_trailer(left)->right_block = new;
	page_reset(page, ROWAN_PAGE_FREE, 0);
	page_trailer(page)->right_block = next;
	tree_leaf_moves(here, trailer->level, old, new);
	FAULT_POINT(shrink_move);
	change_commit(&change, InvalidTransactionId);
	count_one(COUNT_PAGE_MOVES);
	FAULT_POINT(shrink_moved);
	places->block[place] = old;
}

/* ---- all of them ---- */

static bool
read_tree_page(const TreeMover *mover, BlockNumber block, PoolRing *ring, char *page)
{
	const TreeKind *kind = mover->here->kind;
	uint8		type;

	pool_read_copy(mover->here->file, block, ring, page);
	type = page_trailer(page)->type;
	return type == kind->leaf_type || type == kind->inner_type;
}

void
tree_shrink(TreeMover *mover)
{
	const PoolFile *file = mover->here->file;
	FileHeaderData header;
	FreePlaces	places;
	PoolRing	ring = {0};
	BlockNumber used;
	char	   *page;
	uint32		i = 0;

	space_read_header(file, &header);
	if (header.free_count < SHRINK_LEAST || header.free_count < header.high_water / SHRINK_FRACTION)
		return;
	pool_prepare_write();
	used = header.high_water - header.free_count;
	page = palloc(BLCKSZ);
	read_free_places(file, &header, &places);
	for (BlockNumber last = header.high_water - 1; last > used + used / SHRINK_SPARE; last--)
	{
		mover->pause();
		if (!space_has_block(file, last) || !read_tree_page(mover, last, &ring, page))
			continue;
		if (i == places.n || places.sorted[i].block >= last)
			break;
		mover->aim(mover, (Page) page);
		move_down(mover, &places, places.sorted[i++].place, page_trailer(page));
	}
	pfree(places.block);
	pfree(places.sorted);
	pfree(page);
}

/* ---- the tree of row ids ---- */

typedef struct IdMover
{
	TreeMover	mover;
	IdSearch	here;
	IdSearch	before;
} IdMover;

static void
aim_at_ids(TreeMover *mover, Page page)
{
	IdMover    *ids = (IdMover *) mover;
	TreeKey		low_fence = page_low_fence(page);

	ids->here.key = low_fence;
	ids->before.key = low_fence - 1;
	mover->before = low_fence == TREE_KEY_MIN ? NULL : &ids->before.search;
}

void
space_shrink(const PoolFile *file, void (*pause) (void))
{
	IdMover		ids = {.mover = {.here = &ids.here.search, .aim = aim_at_ids, .pause = pause}};

	id_search_init(&ids.here, file, TREE_KEY_MIN);
	id_search_init(&ids.before, file, TREE_KEY_MIN);
	tree_shrink(&ids.mover);
}
