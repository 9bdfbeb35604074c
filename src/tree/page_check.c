/*
 * page_check.c
 *	  What can be checked on one page: pure functions over its bytes.
 *
 * As page.c: no latches, nothing allocated or raised, nothing read outside the page.
 */
#include "postgres.h"

#include "tree/page.h"

/* One bit for each byte of the page: where cells, and their slack, are. */
typedef struct CellMap
{
	uint8		used[BLCKSZ / 8];
} CellMap;

/* Marks bytes of a cell or its slack; false if another cell has some of them. */
static bool
mark_bytes(CellMap *map, int offset, int size)
{
	for (int byte = offset; byte < offset + size; byte++)
	{
		if (map->used[byte / 8] & (1 << byte % 8))
			return false;
		map->used[byte / 8] |= 1 << byte % 8;
	}
	return true;
}

static const char *
check_header(Page page, BlockNumber self)
{
	PageHeader	header = (PageHeader) page;
	PageTrailer trailer = page_trailer(page);

	if (trailer->magic != ROWAN_MAGIC)
		return "page has no Rowan magic number";
	if (trailer->format_version != ROWAN_FORMAT_VERSION)
		return "page has an unknown format version";
	if (header->pd_flags != ROWAN_PAGE_SEAL ||
		header->pd_special != ROWAN_PAGE_SPECIAL ||
		header->pd_pagesize_version != (BLCKSZ | PG_PAGE_LAYOUT_VERSION))
		return "page header is wrong";
	if (header->pd_lower < ROWAN_PAGE_BODY || header->pd_lower > header->pd_upper ||
		header->pd_upper > ROWAN_PAGE_SPECIAL)
		return "bounds of the free gap are wrong";
	if (trailer->self_block != self)
		return "page says it is another block";
	if (trailer->unused != 0)
		return "unused bytes of the trailer are not zero";
	return NULL;
}

/* The slack below a row's cell. */
static const char *
check_slack(Page page, CellMap *map, const char *cell, const RowShape *shape)
{
	int			offset = cell - (char *) page - shape->slack;

	if (offset < ((PageHeader) page)->pd_upper || !mark_bytes(map, offset, shape->slack))
		return "there is no slack below a row";
	for (int i = 1; i <= shape->slack; i++)
	{
		if (cell[-i] != 0)
			return "slack below a row is not zero";
	}
	return NULL;
}

static const char *
check_leaf_slot(Page page, CellMap *map, int pos, const char *cell, uint16 size)
{
	RowShape	shape = page_cell_shape(page, cell, size);
	PageTrailer trailer = page_trailer(page);

	if (pos > 0 && page_slot_delta(page, pos) <= page_slot_delta(page, pos - 1))
		return "leaf keys are not in order";
	if (leaf_key(page, pos) < trailer->low_fence || leaf_key(page, pos) >= trailer->high_fence)
		return "leaf key is not below the high fence";
	if (trailer->high_fence == TREE_KEY_MAX && page_slot_delta(page, pos) >= trailer->next_delta)
		return "leaf key is not below the next key to hand out";
	if (shape.aligned && (cell - (char *) page) % 8 != 0)
		return "aligned row is not aligned";
	return check_slack(page, map, cell, &shape);
}

static const char *
check_inner_slot(Page page, int pos, uint16 size)
{
	PageTrailer trailer = page_trailer(page);
	InnerCellData *cell = inner_cell(page, pos);
	InnerCellData copy;

	if (size != sizeof(InnerCellData) || cell == NULL)
		return "inner cell has a wrong size";
	memcpy(&copy, cell, sizeof(copy));
	if (copy.size != sizeof(InnerCellData) || copy.unused != 0 || page_slot_delta(page, pos) != 0)
		return "inner cell is wrong";
	if (copy.child == InvalidBlockNumber || copy.child <= ROWAN_ROOT_BLOCK)
		return "inner cell has an impossible child";
	if (pos == 0 && inner_key(page, 0) != trailer->low_fence)
		return "first separator is not the low fence";
	if (pos > 0 && inner_key(page, pos) <= inner_key(page, pos - 1))
		return "separators are not in order";
	if (inner_key(page, pos) >= trailer->high_fence)
		return "separator is not below the high fence";
	return NULL;
}

/* Stubs without a cell. */
static const char *
check_stubs(Page page, int pos)
{
	PageTrailer trailer = page_trailer(page);
	TreeKey		last = leaf_last_key(page, pos);

	if (pos > 0 && page_slot_delta(page, pos) <= page_slot_delta(page, pos - 1))
		return "leaf keys are not in order";
	if (pos + 1 < page_nslots(page) && last >= leaf_key(page, pos + 1))
		return "stubs reach the next row";
	if (last >= trailer->high_fence || last - trailer->low_fence >= LEAF_KEY_SPAN ||
		(trailer->high_fence == TREE_KEY_MAX && last >= page_next_key(page)))
		return "stubs are not below the high fence";
	return NULL;
}

static const char *
check_slots(Page page)
{
	PageHeader	header = (PageHeader) page;
	int			cells = 0;
	const char *message;
	CellMap		map;

	if ((header->pd_lower - ROWAN_PAGE_BODY) % sizeof(SlotData) != 0)
		return "slot array has a broken end";
	memset(&map, 0, sizeof(map));
	for (int pos = 0; pos < page_nslots(page); pos++)
	{
		uint16		size;
		char	   *cell = page_cell(page, pos, &size);

		if (leaf_stubs(page, pos) > 0)
		{
			message = check_stubs(page, pos);
			if (message != NULL)
				return message;
			continue;
		}
		if (cell == NULL || cell - (char *) page < header->pd_upper)
			return "slot points to no cell";
		if (page_slot_offset(page, pos) != page_slots(page)[pos].offset &&
			page_trailer(page)->type != ROWAN_PAGE_INDEX_LEAF)
			return "slot has a mark of index leaves";
		if (!mark_bytes(&map, cell - (char *) page, size))
			return "cells overlap";
		if (page_trailer(page)->type == ROWAN_PAGE_LEAF)
			message = check_leaf_slot(page, &map, pos, cell, size);
		else if (page_trailer(page)->type == ROWAN_PAGE_INNER)
			message = check_inner_slot(page, pos, size);
		else
			message = NULL;
		if (message != NULL)
			return message;
		cells += size + page_cell_shape(page, cell, size).slack;
	}
	if (cells + page_trailer(page)->dead_bytes != (int) ROWAN_PAGE_SPECIAL - header->pd_upper)
		return "count of dead bytes is wrong";
	return NULL;
}

static const char *
check_tree_page(Page page)
{
	PageTrailer trailer = page_trailer(page);
	bool		leaf = trailer->type == ROWAN_PAGE_LEAF;

	if (leaf != (trailer->level == 0))
		return "page type does not fit its level";
	if (trailer->low_fence >= trailer->high_fence)
		return "fences are not in order";
	if ((trailer->right_block == InvalidBlockNumber) != (trailer->high_fence == TREE_KEY_MAX))
		return "right sibling does not fit the high fence";
	if (leaf && trailer->high_fence == TREE_KEY_MAX)
	{
		if (page_next_key(page) < trailer->low_fence)
			return "next key to hand out is below the low fence";
	}
	else if (trailer->next_delta != 0)
		return "next key on a page that is not the right edge";
	if (!leaf && page_nslots(page) == 0)
		return "inner page is empty";
	return check_slots(page);
}

/* What can be said of an index page without its keys. */
static const char *
check_index_page(Page page)
{
	PageTrailer trailer = page_trailer(page);

	if ((trailer->type == ROWAN_PAGE_INDEX_LEAF) != (trailer->level == 0))
		return "page type does not fit its level";
	if (page_nslots(page) < (trailer->level == 0 ? 2 : 3))
		return "index page has not all it must have";
	return check_slots(page);
}

const char *
page_check(Page page, BlockNumber self)
{
	PageHeader	header = (PageHeader) page;
	const char *message = check_header(page, self);

	if (message != NULL)
		return message;
	/* no default: the compiler tells whoever adds a type that it is to be checked here */
	switch ((RowanPageType) page_trailer(page)->type)
	{
		case ROWAN_PAGE_HEADER:
			if (self != ROWAN_HEADER_BLOCK)
				return "file header is not block 0";
			if (header->pd_lower != ROWAN_PAGE_BODY + sizeof(FileHeaderData))
				return "file header has a wrong size";
			return NULL;
		case ROWAN_PAGE_INNER:
		case ROWAN_PAGE_LEAF:
			return check_tree_page(page);
		case ROWAN_PAGE_INDEX_INNER:
		case ROWAN_PAGE_INDEX_LEAF:
			return check_index_page(page);
		case ROWAN_PAGE_VERSION:
			return header->pd_upper == ROWAN_PAGE_SPECIAL ? NULL : "version page has cells";
		case ROWAN_PAGE_FREE:
		case ROWAN_PAGE_UNUSED:
			return header->pd_lower == ROWAN_PAGE_BODY &&
				header->pd_upper == ROWAN_PAGE_SPECIAL ? NULL : "free page is not empty";
	}
	return "page has an unknown type";
}
