/*
 * page_edit.h
 *	  A change of a page as bytes at fixed places.
 *
 * Operations and redo make the same list and give it to page_edit, which keeps the page's sum
 * right.
 * Nothing of the page is read but its bounds and the bytes that are replaced: so it can be done,
 * in order, to a page of which only some sectors were written, and ends in the right one.
 *
 * Pure functions over the bytes of one page; nothing is allocated.
 */
#ifndef ROWAN_BASE_PAGE_EDIT_H
#define ROWAN_BASE_PAGE_EDIT_H

#include "base/format.h"

#define PAGE_EDITS_MAX	16

typedef struct PageEdit
{
	uint16		at;				/* offset in the page, bytes */
	uint16		size;
	const void *bytes;			/* the caller's, until page_edit has been called; NULL: they are
								 * there already, in what has been the gap */
} PageEdit;

/* In the order of `at`, without overlap. */
typedef struct PageEdits
{
	int			n;
	PageEdit	edit[PAGE_EDITS_MAX];
} PageEdits;

static inline void
page_edits_begin(PageEdits *edits)
{
	edits->n = 0;
}

static inline void
page_edits_add(PageEdits *edits, int at, const void *bytes, int size)
{
	PageEdit   *edit = &edits->edit[edits->n++];

	Assert(edits->n <= PAGE_EDITS_MAX);
	Assert(size >= 0 && at >= 0 && at + size <= BLCKSZ);
	Assert(edits->n == 1 || at >= edit[-1].at + edit[-1].size);
	edit->at = at;
	edit->size = size;
	edit->bytes = bytes;
}

/* A field of the trailer. */
#define page_edits_add_field(edits, field, value) \
	page_edits_add(edits, ROWAN_PAGE_SPECIAL + offsetof(PageTrailerData, field), value, \
				   sizeof(((PageTrailerData *) 0)->field))

/*
 * For changes made otherwise: the part of the page's sum that the words have which the edits touch,
 * whatever their bytes.  What it was before is taken from the sum, what it is then is added.
 */
extern uint32 page_edits_sum(Page page, const PageEdits *edits);

/*
 * Makes the change.  The bytes that come into use out of the gap must all be among the edits; none
 * may go out of use.
 */
extern void page_edit(Page page, const PageEdits *edits);

#endif							/* ROWAN_BASE_PAGE_EDIT_H */
