/*
 * verify.c
 *	  Checks a whole file: every page is reachable exactly once, used by the
 *	  tree, or a version page in the version list, or on the free list.
 *
 * Reads copies of pages, takes no latches but the pool's own, changes nothing, and goes
 * on after each problem as far as it can.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tree/verify.h"
#include "utils/memutils.h"

/* Levels are bytes; no tree comes near that. */
#define MAX_LEVELS	256

struct Verification
{
	const PoolFile *file;
	const TreeVerify *how;
	FileHeaderData header;
	uint64		problems;
	BlockNumber nblocks;		/* blocks that may be referenced */
	uint8	   *reached;		/* one byte for each of them */
	BlockNumber right_of[MAX_LEVELS];	/* right sibling that the page before named */
	bool		started[MAX_LEVELS];	/* there was a page before */
};

/* What the parent says about a page. */
typedef struct Expected
{
	int			level;
	TreeKey		low_fence;
	TreeKey		high_fence;
} Expected;

void
verification_report(Verification *v, BlockNumber block, const char *message)
{
	v->problems++;
	v->how->report(block, message, v->how->arg);
}

/* Marks a block as reached; false if it must not be looked at (again). */
bool
verification_reach(Verification *v, BlockNumber block)
{
	if (block >= v->nblocks)
	{
		verification_report(v, block, "block is referenced but lies beyond the pages in use");
		return false;
	}
	if (v->reached[block])
	{
		verification_report(v, block, "block is referenced twice");
		return false;
	}
	v->reached[block] = 1;
	return true;
}

/* Copies the page and checks it by itself. */
bool
verification_copy(Verification *v, BlockNumber block, Page page)
{
	const char *message;

	CHECK_FOR_INTERRUPTS();
	pool_read_copy(v->file, block, NULL, (char *) page);
	message = page_check(page, block);
	if (message == NULL && page_trailer(page)->file_id != v->header.file_id)
		message = "page belongs to another file";
	if (message != NULL)
		verification_report(v, block, message);
	return message == NULL;
}

/* ---- the tree ---- */

static void
check_position(Verification *v, BlockNumber block, Page page, const Expected *expected)
{
	PageTrailer trailer = page_trailer(page);
	int			level = trailer->level;

	if (trailer->low_fence != expected->low_fence)
		verification_report(v, block, "low fence differs from the parent's separator");
	if (trailer->high_fence != expected->high_fence)
		verification_report(v, block, "high fence differs from the parent's separator");
	if (v->started[level] && v->right_of[level] != block)
		verification_report(v, block, "page is not the right sibling of the page before it");
	v->started[level] = true;
	v->right_of[level] = trailer->right_block;
}

static void verify_subtree(Verification *v, BlockNumber block, const Expected *expected);

static void
verify_children(Verification *v, Page page)
{
	int			nslots = page_nslots(page);

	for (int pos = 0; pos < nslots; pos++)
	{
		Expected	expected;

		expected.level = page_trailer(page)->level - 1;
		expected.low_fence = inner_key(page, pos);
		expected.high_fence = pos + 1 < nslots ? inner_key(page, pos + 1) :
			page_trailer(page)->high_fence;
		verify_subtree(v, inner_child(page, pos), &expected);
	}
}

/* expected->level < 0: any level, the page is the root. */
static void
verify_subtree(Verification *v, BlockNumber block, const Expected *expected)
{
	Page		page;

	if (!verification_reach(v, block))
		return;
	page = (Page) palloc(BLCKSZ);
	if (verification_copy(v, block, page))
	{
		uint8		type = page_trailer(page)->type;

		if (type != ROWAN_PAGE_INNER && type != ROWAN_PAGE_LEAF)
			verification_report(v, block, "page in the tree has another type");
		else if (expected->level >= 0 && page_trailer(page)->level != expected->level)
			verification_report(v, block, "page has a wrong level");
		else
		{
			check_position(v, block, page, expected);
			if (type == ROWAN_PAGE_INNER)
				verify_children(v, page);
			else if (v->how->leaf_check != NULL)
				v->how->leaf_check(page, block, v->how->arg);
		}
	}
	pfree(page);
}

static void
verify_tree(Verification *v)
{
	Expected	root = {-1, TREE_KEY_MIN, TREE_KEY_MAX};

	verify_subtree(v, ROWAN_ROOT_BLOCK, &root);
}

/* ---- the lists ---- */

/*
 * Follows right_block from the first page on; returns the number of pages
 * and the last one.
 */
static uint32
verify_list(Verification *v, BlockNumber first, uint8 type, BlockNumber *last)
{
	Page		page = (Page) palloc(BLCKSZ);
	BlockNumber block = first;
	uint32		count = 0;

	*last = InvalidBlockNumber;
	while (block != InvalidBlockNumber && verification_reach(v, block))
	{
		count++;
		*last = block;
		if (!verification_copy(v, block, page))
			break;
		if (page_trailer(page)->type != type)
		{
			verification_report(v, block, type == ROWAN_PAGE_FREE ?
				   "page on the free list is not free" :
				   "page in the version list is not a version page");
			break;
		}
		if (type == ROWAN_PAGE_VERSION && v->how->version_check != NULL)
			v->how->version_check(page, block, v->how->arg);
		block = page_trailer(page)->right_block;
	}
	pfree(page);
	return count;
}

static void
verify_free_list(Verification *v)
{
	BlockNumber last;

	if (verify_list(v, v->header.free_head, ROWAN_PAGE_FREE, &last) != v->header.free_count)
		verification_report(v, ROWAN_HEADER_BLOCK, "count of free pages is wrong");
}

/* To be called before other lists are followed: it relies on what is reached. */
static void
verify_version_list(Verification *v)
{
	uint8	   *before = (uint8 *) palloc_extended(v->nblocks, MCXT_ALLOC_HUGE);
	BlockNumber last;

	memcpy(before, v->reached, v->nblocks);
	if (verify_list(v, v->header.version_head, ROWAN_PAGE_VERSION, &last) !=
		v->header.version_count)
		verification_report(v, ROWAN_HEADER_BLOCK, "count of version pages is wrong");
	if (last != v->header.version_tail)
		verification_report(v, ROWAN_HEADER_BLOCK, "version list does not end at its tail");
	for (int i = 0; i < ROWAN_ACTIVE_VERSION_PAGES; i++)
	{
		BlockNumber block = v->header.version_active[i];

		if (block != InvalidBlockNumber &&
			(block >= v->nblocks || !v->reached[block] || before[block]))
			verification_report(v, ROWAN_HEADER_BLOCK, "active version page is not in the version list");
	}
	pfree(before);
}

/* ---- the file ---- */

static void
verify_all_reached(Verification *v)
{
	for (BlockNumber block = 0; block < v->nblocks; block++)
		if (!v->reached[block])
			verification_report(v, block, "block is neither in the tree nor in a list");
}

static inline uint16
expected_kind(const TreeVerify *how)
{
	return how->walk == NULL ? ROWAN_TREE_TABLE : ROWAN_TREE_INDEX;
}

static bool
verify_header(Verification *v, BlockNumber file_blocks)
{
	Page		page = (Page) palloc(BLCKSZ);
	const char *message;

	pool_read_copy(v->file, ROWAN_HEADER_BLOCK, NULL, (char *) page);
	v->header = *file_header(page);
	message = page_check(page, ROWAN_HEADER_BLOCK);
	if (message == NULL && page_trailer(page)->type != ROWAN_PAGE_HEADER)
		message = "block 0 is not a file header";
	pfree(page);
	if (message == NULL && (v->header.page_size_kb != BLCKSZ / 1024 ||
							v->header.tree_kind != expected_kind(v->how)))
		message = "file header has an unknown page size or tree kind";
	if (message == NULL && (v->header.high_water <= ROWAN_ROOT_BLOCK ||
							v->header.high_water > file_blocks))
		message = "file is shorter than the pages in use";
	if (message != NULL)
		verification_report(v, ROWAN_HEADER_BLOCK, message);
	return message == NULL;
}

uint64
tree_verify(const PoolFile *file, const TreeVerify *how)
{
	Verification *v = (Verification *) palloc0(sizeof(Verification));
	BlockNumber file_blocks;
	uint64		problems;

	v->file = file;
	v->how = how;
	file_blocks = tree_exists(file) ? pool_file_blocks(file) : 0;
	if (file_blocks > 0 && verify_header(v, file_blocks))
	{
		v->nblocks = v->header.high_water;
		v->reached = (uint8 *) palloc_extended(v->nblocks, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		v->reached[ROWAN_HEADER_BLOCK] = 1;
		if (v->how->walk != NULL)
			v->how->walk(v, v->how->arg);
		else
			verify_tree(v);
		verify_version_list(v);
		verify_free_list(v);
		verify_all_reached(v);
		pfree(v->reached);
	}
	problems = v->problems;
	pfree(v);
	return problems;
}
