/*
 * new_page.h
 *	  The bytes of a page without content.
 *
 * Pure functions over the bytes of one page.
 */
#ifndef ROWAN_BASE_NEW_PAGE_H
#define ROWAN_BASE_NEW_PAGE_H

#include "base/format.h"

/* An empty page of that type: header and trailer, sums and LSN zero. */
static inline void
page_init(Page page, uint8 type, uint8 level, BlockNumber self, uint32 file_id)
{
	PageHeader	header = (PageHeader) page;
	PageTrailer trailer = page_trailer(page);

	memset(page, 0, BLCKSZ);
	header->pd_flags = ROWAN_PAGE_SEAL;
	header->pd_lower = ROWAN_PAGE_BODY;
	header->pd_upper = ROWAN_PAGE_SPECIAL;
	header->pd_special = ROWAN_PAGE_SPECIAL;
	header->pd_pagesize_version = BLCKSZ | PG_PAGE_LAYOUT_VERSION;
	trailer->self_block = self;
	trailer->right_block = InvalidBlockNumber;
	trailer->file_id = file_id;
	trailer->type = type;
	trailer->level = level;
	trailer->magic = ROWAN_MAGIC;
	trailer->format_version = ROWAN_FORMAT_VERSION;
}

/* No content: never written, or written for the sole purpose of making the file longer. */
static inline bool
page_has_no_content(Page page)
{
	return PageIsNew(page) ||
		(page_trailer(page)->magic == ROWAN_MAGIC && page_trailer(page)->type == ROWAN_PAGE_UNUSED);
}

#endif							/* ROWAN_BASE_NEW_PAGE_H */
