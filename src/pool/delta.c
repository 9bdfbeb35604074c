/*
 * delta.c
 *	  What differs between two states of a page, as a list of {uint16 offset, uint16 length, bytes}.
 *
 * What the gap between pd_lower and pd_upper holds is undefined, on disk and in the pool, and
 * nobody reads it: a full-page image brings zeroes there.  So the list leaves out
 * the new page's gap, and has all bytes of the new page's used areas that come out of
 * the old page's gap, whatever they were.
 *
 * Marks on a page (pool_forget_marks) need not be logged and do not reach the file, but may be part
 * of a page image: redo may have them or not.  They lie in bits that are zero otherwise, so that no
 * content is taken for a mark, or equal to one.  Redo begins without them: a mark that stayed where
 * it is, while slots move, would become another entry's.
 *
 * Takes no latches, allocates nothing.
 */
#include "postgres.h"

#include "base/bytes.h"
#include "base/page_sum.h"
#include "pool/delta.h"
#include "pool/pool.h"

/* LSN and pd_checksum are no content. */
#define CONTENT_START	offsetof(PageHeaderData, pd_flags)

typedef struct PagePair
{
	const char *old_bytes;
	const char *new_bytes;
	int			unknown_start;	/* the old page's gap */
	int			unknown_end;
} PagePair;

#define WORD	((int) sizeof(uint64))

static inline bool
differs_at(const PagePair *pair, int at)
{
	return pair->old_bytes[at] != pair->new_bytes[at] ||
		(at >= pair->unknown_start && at < pair->unknown_end);
}

/* Zero if the word at `at` is known and equal; else a one in each byte that differs, or more. */
static inline uint64
word_difference(const PagePair *pair, int at)
{
	uint64		a,
				b;

	if (unlikely(at < pair->unknown_end && at + WORD > pair->unknown_start))
	{
		uint64		difference = 0;

		for (int i = 0; i < WORD; i++)
			if (differs_at(pair, at + i))
				((char *) &difference)[i] = 1;
		return difference;
	}
	memcpy(&a, pair->old_bytes + at, WORD);
	memcpy(&b, pair->new_bytes + at, WORD);
	return a ^ b;
}

/* Equal parts are found by so many bytes at a time. */
#define EQUAL_STRIDE	128

/* First difference in [at, end), or end. */
static int
find_difference(const PagePair *pair, int at, int end)
{
	for (int words = 0; at + WORD <= end; words++)
	{
		if (word_difference(pair, at) != 0)
			break;
		at += WORD;
		while (words >= 4 && at + EQUAL_STRIDE <= end &&
			   (at >= pair->unknown_end || at + EQUAL_STRIDE <= pair->unknown_start) &&
			   memcmp(pair->old_bytes + at, pair->new_bytes + at, EQUAL_STRIDE) == 0)
			at += EQUAL_STRIDE;
	}
	while (at < end && !differs_at(pair, at))
		at++;
	return at;
}

/*
 * End of the difference that starts at `at`.  An equal word ends it, wherever it lies: a header
 * takes half as much as that word.
 */
static int
end_of_difference(const PagePair *pair, int at, int end)
{
	while (at + WORD <= end && word_difference(pair, at) != 0)
		at += WORD;
	if (at + WORD > end)
		at = end;
	while (!differs_at(pair, at - 1))
		at--;
	return at;
}

/* Appends the differences in [start, end) to a list of *size bytes; false: too long. */
static bool
append_differences(const PagePair *pair, int start, int end, char *list, int *size)
{
	int			at = find_difference(pair, start, end);

	while (at < end)
	{
		uint16		header[2];
		int			stop = end_of_difference(pair, at, end);

		header[0] = at;
		header[1] = stop - at;
		if (*size + (int) sizeof(header) + header[1] > DELTA_MAX_BYTES)
			return false;
		memcpy(list + *size, header, sizeof(header));
		memcpy(list + *size + sizeof(header), pair->new_bytes + at, header[1]);
		*size += sizeof(header) + header[1];

		at = find_difference(pair, stop, end);
	}
	return true;
}

static bool
page_has_gap(Page page)
{
	PageHeader	header = (PageHeader) page;

	return header->pd_lower >= SizeOfPageHeaderData &&
		header->pd_lower <= header->pd_upper &&
		header->pd_upper <= BLCKSZ;
}

int
delta_compute(Page old_page, Page new_page, char *list)
{
	PagePair	pair = {.old_bytes = (char *) old_page, .new_bytes = (char *) new_page};
	int			size = 0;

	Assert(page_has_gap(new_page));
	if (!page_has_gap(old_page))
		return -1;
	/* nothing was done to it */
	if (memcmp((char *) old_page + CONTENT_START, (char *) new_page + CONTENT_START,
			   BLCKSZ - CONTENT_START) == 0)
		return 0;
	pair.unknown_start = ((PageHeader) old_page)->pd_lower;
	pair.unknown_end = ((PageHeader) old_page)->pd_upper;
	if (!append_differences(&pair, CONTENT_START, ((PageHeader) new_page)->pd_lower, list, &size) ||
		!append_differences(&pair, ((PageHeader) new_page)->pd_upper, BLCKSZ, list, &size))
		return -1;
	return size;
}

const char *
delta_next(const char *list, Size size)
{
	uint16		header[2];

	if (size < sizeof(header))
		return NULL;
	memcpy(header, list, sizeof(header));
	if (header[1] > size - sizeof(header) || header[0] + header[1] > BLCKSZ)
		return NULL;
	return list + sizeof(header) + header[1];
}

typedef struct Gap
{
	uint16		lower;
	uint16		upper;
} Gap;

/*
 * The part of the page's sum that the words have which the list touches, and those that go out of
 * use with it: they lie in the new page's gap and not in the old one's.  Each is counted once.
 */
typedef struct TouchedWords
{
	Page		page;
	PageSumBounds bounds;
	uint32		sum;
	int			done;			/* words before it are counted */
} TouchedWords;

static void
count_words(TouchedWords *touched, int from, int to)
{
	PageSumRange range;

	if (page_sum_next_range(from, to, &touched->done, &range))
		touched->sum += page_sum_of_words(touched->page, &touched->bounds, range.first, range.end);
}

static uint32
touched_sum(Page page, const char *list, Size size, const PageSumBounds *before,
			const Gap *after)
{
	TouchedWords touched = {.page = page, .bounds = page_sum_bounds(page)};
	const char *end = list + size;
	bool		passed_gap = false;

	while (list < end || !passed_gap)
	{
		uint16		header[2] = {BLCKSZ, 0};

		if (list < end)
			(void) take_bytes(list, header, sizeof(header));
		if (!passed_gap && header[0] >= after->lower)
		{
			count_words(&touched, after->lower, before->lower);
			count_words(&touched, before->upper, after->upper);
			passed_gap = true;
		}
		count_words(&touched, header[0], header[0] + header[1]);
		if (list < end)
			list += sizeof(header) + header[1];
	}
	return touched.sum;
}

/* Where the gap is then; PANICs if the list makes no sense. */
static Gap
gap_after(Page page, const char *list, Size size)
{
	char		header[SizeOfPageHeaderData];
	const char *end = list + size;
	Gap			gap;

	memcpy(header, page, sizeof(header));
	while (list < end)
	{
		const char *next = delta_next(list, end - list);
		uint16		place[2];

		if (next == NULL)
			elog(PANIC, "rowan: a difference in WAL makes no sense");
		list = take_bytes(list, place, sizeof(place));
		if (place[0] < sizeof(header))
			memcpy(header + place[0], list, Min(place[1], sizeof(header) - place[0]));
		list = next;
	}
	memcpy(&gap.lower, header + offsetof(PageHeaderData, pd_lower), sizeof(gap.lower));
	memcpy(&gap.upper, header + offsetof(PageHeaderData, pd_upper), sizeof(gap.upper));
	return gap;
}

static void
put_differences(Page page, const char *list, Size size)
{
	const char *end = list + size;

	if (pool_forget_marks != NULL)
		pool_forget_marks(page);
	while (list < end)
	{
		uint16		header[2];

		list = take_bytes(list, header, sizeof(header));
		memcpy((char *) page + header[0], list, header[1]);
		list += header[1];
	}
}

/* From so many bytes on it is less work to sum up the page than twice what they touch. */
#define MUCH_OF_A_PAGE	(BLCKSZ / 4)

/*
 * Is it less work to sum up the page as it is then: because much of it changes, or little is left,
 * as on a leaf whose rows all go?
 */
static bool
is_made_anew(Size size, const PageSumBounds *before, const Gap *after)
{
	int			left = after->lower + BLCKSZ - after->upper;
	int			gone = Max(before->lower - after->lower, 0) + Max(after->upper - before->upper, 0);

	return size > MUCH_OF_A_PAGE || after->lower > after->upper || after->upper > BLCKSZ ||
		gone + 2 * (int) size > left;
}

uint32
delta_sum(Page old_page, Page new_page, const char *list, Size size)
{
	PageSumBounds before = page_sum_bounds(old_page);
	PageHeader	header = (PageHeader) new_page;
	Gap			after = {.lower = header->pd_lower, .upper = header->pd_upper};

	if (is_made_anew(size, &before, &after) ||
		page_sum_bounds(new_page).marks != before.marks)
		return page_sum(new_page);
	return page_sum_kept(old_page) - touched_sum(old_page, list, size, &before, &after) +
		touched_sum(new_page, list, size, &before, &after);
}

void
delta_apply(Page page, const char *list, Size size, bool whole)
{
	Gap			after = gap_after(page, list, size);
	PageSumBounds before = page_sum_bounds(page);
	uint32		rest;

	if (!whole || is_made_anew(size, &before, &after))
	{
		put_differences(page, list, size);
		page_set_sum(page);
		return;
	}
	rest = page_sum_kept(page) - touched_sum(page, list, size, &before, &after);
	put_differences(page, list, size);
	if (page_sum_bounds(page).marks != before.marks)	/* other words count otherwise, too */
		page_set_sum(page);
	else
		page_sum_kept(page) = rest + touched_sum(page, list, size, &before, &after);
}
