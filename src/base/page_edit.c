/*
 * page_edit.c
 *	  A change of a page as bytes at fixed places (page_edit.h).
 */
#include "postgres.h"

#include "base/page_edit.h"
#include "base/page_sum.h"

/* The words that the edits touch, each of them once; returns the number of ranges. */
static inline int
touched_words(const PageEdits *edits, PageSumRange *ranges)
{
	int			n = 0;
	int			done = 0;		/* words before it are in a range */

	for (int i = 0; i < edits->n; i++)
	{
		const PageEdit *edit = &edits->edit[i];

		if (page_sum_next_range(edit->at, edit->at + edit->size, &done, &ranges[n]))
			n++;
	}
	return n;
}

uint32
page_edits_sum(Page page, const PageEdits *edits)
{
	PageSumRange ranges[PAGE_EDITS_MAX];

	return page_sum_of_ranges(page, ranges, touched_words(edits, ranges));
}

void
page_edit(Page page, const PageEdits *edits)
{
	PageSumRange ranges[PAGE_EDITS_MAX];
	int			n = touched_words(edits, ranges);
	uint32		rest = page_sum_kept(page) - page_sum_of_ranges(page, ranges, n);

	for (int i = 0; i < edits->n; i++)
	{
		const PageEdit *edit = &edits->edit[i];

		if (edit->bytes != NULL)
			memcpy((char *) page + edit->at, edit->bytes, edit->size);
	}
	page_sum_kept(page) = rest + page_sum_of_ranges(page, ranges, n);
}
