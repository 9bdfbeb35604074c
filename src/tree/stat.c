/*
 * stat.c
 *	  Counts a tree's pages, rows and free bytes.
 *
 * Copies one page at a time, so the numbers are of no single moment.  Takes no latches
 * but the pool's own.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tree/idtree.h"

static void
count_page(Page page, TreeStat *stat)
{
	if (page_trailer(page)->type != ROWAN_PAGE_LEAF)
	{
		stat->inner_pages++;
		return;
	}
	stat->leaf_pages++;
	stat->rows += page_nslots(page);
	stat->leaf_free_bytes += page_gap(page);
	stat->leaf_dead_bytes += page_trailer(page)->dead_bytes;
	stat->leaf_slack_bytes += page_slack_bytes(page);
}

/* All pages of a level, left to right; false if the tree is not that high. */
static bool
count_level(const PoolFile *file, int level, Page page, TreeStat *stat)
{
	TreeKey		key = TREE_KEY_MIN;
	BlockNumber hint = InvalidBlockNumber;
	PoolRing	ring = {0};

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (level == 0)
			tree_copy_leaf(file, key, hint, &ring, (char *) page);
		else if (!tree_copy_page(file, key, level, NULL, (char *) page))
			return false;
		count_page(page, stat);
		key = page_trailer(page)->high_fence;
		hint = page_trailer(page)->right_block;
	} while (key != TREE_KEY_MAX);
	return true;
}

void
tree_get_stat(const PoolFile *file, TreeStat *stat)
{
	Page		page = (Page) palloc(BLCKSZ);
	FileHeaderData header;
	BlockNumber nblocks;

	memset(stat, 0, sizeof(*stat));
	if (tree_exists(file))
	{
		while (count_level(file, stat->height, page, stat))
			stat->height++;
		space_read_header(file, &header);
		nblocks = pool_file_blocks(file);
		stat->version_pages = header.version_count;
		stat->free_pages = header.free_count;
		stat->unused_pages = nblocks > header.high_water ? nblocks - header.high_water : 0;
	}
	pfree(page);
}
