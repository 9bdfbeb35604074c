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
#define BODY_WORD				3
#define CRC_WORD				(WORDS - 1)

StaticAssertDecl(ROWAN_PAGE_BODY == BODY_WORD * PAGE_SUM_WORD, "a page's body begins a word");
StaticAssertDecl(offsetof(PageHeaderData, pd_checksum) == HEADER_CHECKSUM_WORD * PAGE_SUM_WORD,
				 "pd_checksum begins the word");
StaticAssertDecl(offsetof(PageHeaderData, pd_prune_xid) == HEADER_SUM_WORD * PAGE_SUM_WORD + 4,
				 "the sum ends the word");
StaticAssertDecl(ROWAN_PAGE_SPECIAL + offsetof(PageTrailerData, crc) ==
				 CRC_WORD * PAGE_SUM_WORD + 4, "the CRC ends the word");

#define PLACE_FACTOR	UINT64CONST(0x9E3779B97F4A7C15)
#define WORD_FACTOR		UINT64CONST(0x9FB21C651E98DF25)

/* Both halves of a product of 128 bits, added without carry. */
static inline uint64
fold_product(uint64 a, uint64 b)
{
#ifdef HAVE_INT128
	/* not uint128: PostgreSQL aligns that, and the compiler then takes it through memory */
	unsigned	PG_INT128_TYPE product = (unsigned PG_INT128_TYPE) a * b;

	return (uint64) product ^ (uint64) (product >> 64);
#else
	uint64		low = (a & PG_UINT32_MAX) * (b & PG_UINT32_MAX);
	uint64		middle = (a >> 32) * (b & PG_UINT32_MAX) + (low >> 32);
	uint64		other = (a & PG_UINT32_MAX) * (b >> 32) + (middle & PG_UINT32_MAX);
	uint64		high = (a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32);

	return high ^ (other << 32 | (low & PG_UINT32_MAX));
#endif
}

/*
 * Of the word and its place, as in Wang Yi's wyhash: a difference in the lowest bits changes the
 * product's lower half, one in the highest bits its upper half.
 */
static inline uint32
mix(uint64 word, int place)
{
	uint64		x = fold_product(word ^ (uint64) place * PLACE_FACTOR, WORD_FACTOR);

	return (uint32) (x ^ x >> 32);
}

PageSumBounds
page_sum_bounds(Page page)
{
	PageHeader	header = (PageHeader) page;
	PageSumBounds bounds = {.lower = header->pd_lower, .upper = header->pd_upper};

	if (bounds.lower < (int) ROWAN_PAGE_BODY || bounds.lower > bounds.upper ||
		bounds.upper > (int) ROWAN_PAGE_SPECIAL)
		bounds.lower = bounds.upper = ROWAN_PAGE_SPECIAL;	/* no gap to leave out */
	bounds.low_words = bounds.lower / PAGE_SUM_WORD;
	bounds.high_words = (bounds.upper + PAGE_SUM_WORD - 1) / PAGE_SUM_WORD;
	bounds.marks = page_trailer(page)->type == ROWAN_PAGE_INDEX_LEAF;
	return bounds;
}

/* The bytes [from, to) of a word, counted from its first one in memory. */
static pg_attribute_always_inline uint64
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

/* Of a word in which two slots are. */
static inline uint64
without_marks(uint64 word)
{
	const uint16 marks[PAGE_SUM_WORD / sizeof(uint16)] = {SLOT_DEAD, 0, SLOT_DEAD, 0};
	uint64		mask;

	memcpy(&mask, marks, sizeof(mask));
	return word & ~mask;
}

/* A word without what is left out of it. */
static inline uint64
partial_word(uint64 word, int place, const PageSumBounds *bounds)
{
	int			at = place * PAGE_SUM_WORD;

	if (place == HEADER_CHECKSUM_WORD)
		return word & ~bytes_of_word(0, sizeof(uint16));
	if (place == HEADER_SUM_WORD || place == CRC_WORD)
		return word & ~bytes_of_word(4, PAGE_SUM_WORD);
	if (bounds->marks && at < bounds->lower)
		word = without_marks(word);
	return word & ~bytes_of_word(bounds->lower - at, bounds->upper - at);
}

static inline uint32
sum_of_slots(const uint64 *words, int first, int end)
{
	uint32		sum = 0;

	for (int place = first; place < end; place++)
		sum += mix(without_marks(words[place]), place);
	return sum;
}

static inline uint32
sum_of_whole(const uint64 *words, int first, int end)
{
	uint32		sum = 0;

	for (int place = first; place < end; place++)
		sum += mix(words[place], place);
	return sum;
}

/* The part of the words [first, end). */
static inline uint32
sum_of_words(const uint64 *words, const PageSumBounds *bounds, int first, int end)
{
	uint32		sum = 0;
	int			place = Max(first, FIRST_WORD);

	while (place < end)
	{
		int			stop = place + 1;

		if (place >= bounds->high_words && place < CRC_WORD)
		{
			stop = Min(end, CRC_WORD);
			sum += sum_of_whole(words, place, stop);
		}
		else if (place >= BODY_WORD && place < bounds->low_words)
		{
			stop = Min(end, bounds->low_words);
			sum += bounds->marks ? sum_of_slots(words, place, stop) :
				sum_of_whole(words, place, stop);
		}
		else if (place * PAGE_SUM_WORD >= bounds->lower &&
				 (place + 1) * PAGE_SUM_WORD <= bounds->upper)
			stop = bounds->upper / PAGE_SUM_WORD;	/* the gap */
		else
			sum += mix(partial_word(words[place], place, bounds), place);
		place = stop;
	}
	return sum;
}

uint32
page_sum_of_words(Page page, const PageSumBounds *bounds, int first, int end)
{
	return sum_of_words((const uint64 *) page, bounds, first, end);
}

uint32
page_sum_of_ranges(Page page, const PageSumRange *ranges, int n)
{
	PageSumBounds bounds = page_sum_bounds(page);
	uint32		sum = 0;

	for (int i = 0; i < n; i++)
		sum += sum_of_words((const uint64 *) page, &bounds, ranges[i].first, ranges[i].end);
	return sum;
}

uint32
page_sum(Page page)
{
	PageSumBounds bounds = page_sum_bounds(page);

	return sum_of_words((const uint64 *) page, &bounds, FIRST_WORD, WORDS);
}
