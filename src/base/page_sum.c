/*
 * page_sum.c
 *	  The sum of a page's content (page_sum.h).
 */
#include "postgres.h"

#include "base/page_sum.h"

#define WORDS			(BLCKSZ / PAGE_SUM_WORD)
#define FIRST_WORD		1		/* behind the LSN */

#define HEADER_CHECKSUM_WORD	1
#define HEADER_SUM_WORD			2
#define CRC_WORD				(WORDS - 1)

StaticAssertDecl(offsetof(PageHeaderData, pd_checksum) == HEADER_CHECKSUM_WORD * PAGE_SUM_WORD,
				 "pd_checksum begins the word");
StaticAssertDecl(offsetof(PageHeaderData, pd_prune_xid) == HEADER_SUM_WORD * PAGE_SUM_WORD + 4,
				 "the sum ends the word");
StaticAssertDecl(ROWAN_PAGE_SPECIAL + offsetof(PageTrailerData, crc) ==
				 CRC_WORD * PAGE_SUM_WORD + 4, "the CRC ends the word");

static inline uint64
rotate_right(uint64 x, int bits)
{
	return x >> bits | x << (64 - bits);
}

/*
 * Pelle Evensen's mixer "rrmxmx", of the word and its place.  Without the rotations a word's
 * highest bits would reach little of the result, and two differences there could cancel out.
 */
static inline uint32
mix(uint64 word, int place)
{
	uint64		x = word ^ (uint64) place * UINT64CONST(0x9E3779B97F4A7C15);

	x ^= rotate_right(x, 49) ^ rotate_right(x, 24);
	x *= UINT64CONST(0x9FB21C651E98DF25);
	x ^= x >> 28;
	x *= UINT64CONST(0x9FB21C651E98DF25);
	return (uint32) (x >> 32);
}

PageSumBounds
page_sum_bounds(Page page)
{
	PageHeader	header = (PageHeader) page;
	PageSumBounds bounds = {.lower = header->pd_lower, .upper = header->pd_upper};

	if (bounds.lower < (int) ROWAN_PAGE_BODY || bounds.lower > bounds.upper ||
		bounds.upper > (int) ROWAN_PAGE_SPECIAL)
		bounds.lower = bounds.upper = ROWAN_PAGE_SPECIAL;	/* no gap to leave out */
	if (page_trailer(page)->type == ROWAN_PAGE_INDEX_LEAF)
		bounds.marks_end = bounds.lower;
	return bounds;
}

/* The bytes [from, to) of a word, counted from its first one in memory. */
static inline uint64
bytes_of_word(int from, int to)
{
	uint64		all = ~UINT64CONST(0);

	from = Max(from, 0);
	to = Min(to, PAGE_SUM_WORD);
	if (from >= to)
		return 0;
#ifdef WORDS_BIGENDIAN
	return all >> 8 * (PAGE_SUM_WORD - (to - from)) << 8 * (PAGE_SUM_WORD - to);
#else
	return all >> 8 * (PAGE_SUM_WORD - (to - from)) << 8 * from;
#endif
}

/* A word without what is left out of it. */
static uint64
partial_word(uint64 word, int place, const PageSumBounds *bounds)
{
	int			at = place * PAGE_SUM_WORD;

	if (place == HEADER_CHECKSUM_WORD)
		word &= ~bytes_of_word(0, sizeof(uint16));
	if (place == HEADER_SUM_WORD || place == CRC_WORD)
		word &= ~bytes_of_word(4, PAGE_SUM_WORD);
	word &= ~bytes_of_word(bounds->lower - at, bounds->upper - at);
	if (at >= (int) ROWAN_PAGE_BODY && at < bounds->marks_end)
	{
		uint16		slots[PAGE_SUM_WORD / sizeof(uint16)];

		memcpy(slots, &word, sizeof(slots));
		slots[0] &= ~SLOT_DEAD; /* offsets of two slots */
		slots[2] &= ~SLOT_DEAD;
		memcpy(&word, slots, sizeof(slots));
	}
	return word;
}

static inline bool
is_whole_word(int place, const PageSumBounds *bounds)
{
	int			at = place * PAGE_SUM_WORD;

	return place > HEADER_SUM_WORD && place < CRC_WORD && at >= bounds->marks_end &&
		(at + PAGE_SUM_WORD <= bounds->lower || at >= bounds->upper);
}

static inline bool
is_in_gap(int place, const PageSumBounds *bounds)
{
	int			at = place * PAGE_SUM_WORD;

	return at >= bounds->lower && at + PAGE_SUM_WORD <= bounds->upper;
}

uint32
page_sum_of_words(Page page, const PageSumBounds *bounds, int first, int end)
{
	const uint64 *words = (const uint64 *) page;
	uint32		sum = 0;

	for (int place = Max(first, FIRST_WORD); place < end; place++)
	{
		if (likely(is_whole_word(place, bounds)))
			sum += mix(words[place], place);
		else if (!is_in_gap(place, bounds))
			sum += mix(partial_word(words[place], place, bounds), place);
	}
	return sum;
}

uint32
page_sum(Page page)
{
	PageSumBounds bounds = page_sum_bounds(page);
	int			gap_start = bounds.lower / PAGE_SUM_WORD;
	int			gap_end = bounds.upper / PAGE_SUM_WORD;

	/* the gap's words count for nothing: leave them out quickly */
	return page_sum_of_words(page, &bounds, FIRST_WORD, Min(gap_start + 1, gap_end)) +
		page_sum_of_words(page, &bounds, Max(gap_end, FIRST_WORD), WORDS);
}
