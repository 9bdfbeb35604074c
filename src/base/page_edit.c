/*
 * page_edit.c
 *	  A change of a page as bytes at fixed places (page_edit.h).
 */
#include "postgres.h"

#include "base/page_edit.h"
#include "base/page_sum.h"

/* Each word is counted once. */
uint32
page_edits_sum(Page page, const PageEdits *edits)
{
	PageSumBounds bounds = page_sum_bounds(page);
	uint32		sum = 0;
	int			done = 0;		/* words before it are counted */

	for (int i = 0; i < edits->n; i++)
	{
		const PageEdit *edit = &edits->edit[i];
		int			first = edit->at / PAGE_SUM_WORD;
		int			end = (edit->at + edit->size + PAGE_SUM_WORD - 1) / PAGE_SUM_WORD;

		if (edit->size == 0)
			continue;
		sum += page_sum_of_words(page, &bounds, Max(first, done), end);
		done = Max(end, done);
	}
	return sum;
}

void
page_edit(Page page, const PageEdits *edits)
{
	uint32		rest = page_sum_kept(page) - page_edits_sum(page, edits);

	for (int i = 0; i < edits->n; i++)
		memcpy((char *) page + edits->edit[i].at, edits->edit[i].bytes, edits->edit[i].size);
	page_sum_kept(page) = rest + page_edits_sum(page, edits);
}
