/*
 * page_sum.h
 *	  The sum of a page's content, which each change keeps right.
 *
 * It is of the bytes in use: not of the gap, nor of what says when or how the page was written
 * (LSN, checksums), nor of marks that are in memory only.  So the page has the same one on disk, in
 * the pool and in redo, and each WAL record can say what it is after the change: redo that has put
 * a page together from pieces knows by it that they fit.
 *
 * Made of words of 8 bytes, each mixed with its place before they are added up.  So the part of
 * some words can be taken out, and put in again after they have changed, for a few nanoseconds a
 * word.
 *
 * Pure functions over the bytes of one page, whatever they are.
 */
#ifndef ROWAN_BASE_PAGE_SUM_H
#define ROWAN_BASE_PAGE_SUM_H

#include "base/format.h"

/* Where the page keeps it. */
#define page_sum_kept(page)		(((PageHeader) (page))->pd_prune_xid)

#define PAGE_SUM_WORD			8

/* Of the whole page. */
extern uint32 page_sum(Page page);

/*
 * What of a page is left out, by what its header says.  Words are counted from the page's start.
 */
typedef struct PageSumBounds
{
	int			lower;			/* the gap, bytes */
	int			upper;
	int			low_words;		/* words below it, behind the header, are all in use */
	int			high_words;		/* words from it on, up to the CRC, are */
	bool		marks;			/* those below it are slots that may have marks */
} PageSumBounds;

extern PageSumBounds page_sum_bounds(Page page);

/* The part of the words [first, end). */
extern uint32 page_sum_of_words(Page page, const PageSumBounds *bounds, int first, int end);

/* The words [first, end), counted from the page's start. */
typedef struct PageSumRange
{
	uint16		first;
	uint16		end;
} PageSumRange;

/*
 * The words of the bytes [from, to) from *done on, which is moved behind them: so that of bytes
 * that come in order each word is counted once.  False: there are none.
 */
static inline bool
page_sum_next_range(int from, int to, int *done, PageSumRange *range)
{
	int			first = Max(from / PAGE_SUM_WORD, *done);
	int			end = (to + PAGE_SUM_WORD - 1) / PAGE_SUM_WORD;

	if (from >= to || first >= end)
		return false;
	range->first = first;
	range->end = *done = end;
	return true;
}

/* The part of all the words of the ranges. */
extern uint32 page_sum_of_ranges(Page page, const PageSumRange *ranges, int n);

static inline void
page_set_sum(Page page)
{
	page_sum_kept(page) = page_sum(page);
}

#endif							/* ROWAN_BASE_PAGE_SUM_H */
