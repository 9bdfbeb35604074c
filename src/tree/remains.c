/*
 * remains.c
 *	  What is left of a damaged table's tree.
 *
 * First all blocks are read, and what they claim is noted.  Then each leaf is compared with the
 * claims that overlap it.  What no leaf covers that is believed is missing; parents' claims say
 * where it was.
 *
 * Latches: only those that pool_copy_sound takes.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tree/remains.h"
#include "utils/memutils.h"

typedef struct PageClaim
{
	TreeKey		low;
	TreeKey		high;
	XLogRecPtr	lsn;			/* of the page that says so */
	BlockNumber block;			/* whose range that is */
	uint32		file_id;		/* of the page that says so */
	uint8		level;			/* of the block */
	bool		own;			/* it says so itself, else its parent does */
	bool		believed;		/* of a leaf's own */
} PageClaim;

typedef struct BadBlock
{
	BlockNumber block;
	const char *problem;
	bool		named;			/* was reported with what it had */
} BadBlock;

/* A growing array. */
typedef struct Pile
{
	void	   *items;
	uint64		n;
	uint64		size;
} Pile;

typedef struct Survey
{
	const PoolFile *file;
	RemainsReport report;
	void	   *arg;
	FileHeaderData header;
	XLogRecPtr	header_lsn;
	bool		has_header;
	BlockNumber nblocks;
	uint32		file_id;		/* of the pages that are believed */
	uint32	   *file_ids;		/* that each block has; 0: none */
	Pile		claims;
	Pile		bad;			/* BadBlock, by block */
} Survey;

static void *
pile_add(Pile *pile, Size size)
{
	if (pile->n == pile->size)
	{
		pile->size = Max(pile->size * 2, 256);
		pile->items = pile->items == NULL ?
			palloc_extended(pile->size * size, MCXT_ALLOC_HUGE) :
			repalloc_huge(pile->items, pile->size * size);
	}
	return (char *) pile->items + pile->n++ * size;
}

static inline PageClaim *
claim_at(const Survey *survey, uint64 i)
{
	return &((PageClaim *) survey->claims.items)[i];
}

static inline BadBlock *
bad_at(const Survey *survey, uint64 i)
{
	return &((BadBlock *) survey->bad.items)[i];
}

static void
report_finding(Survey *survey, BlockNumber block, const char *problem)
{
	RemainsFinding finding = {.block = block, .problem = problem};

	survey->report(&finding, survey->arg);
}

static void
report_missing_rows(Survey *survey, BlockNumber block, const char *problem, TreeKey low,
					TreeKey high)
{
	RemainsFinding finding = {.block = block, .problem = problem, .rows_missing = true,
	.low = low, .high = high};

	survey->report(&finding, survey->arg);
}

/* ---- what pages say ---- */

static void
add_claim(Survey *survey, Page page, BlockNumber block, TreeKey low, TreeKey high, bool own)
{
	PageTrailer trailer = page_trailer(page);
	PageClaim  *claim = pile_add(&survey->claims, sizeof(PageClaim));

	claim->low = low;
	claim->high = high;
	claim->lsn = PageGetLSN(page);
	claim->block = block;
	claim->file_id = trailer->file_id;
	claim->level = own ? trailer->level : trailer->level - 1;
	claim->own = own;
	claim->believed = false;
}

static void
add_claims_of_parent(Survey *survey, Page page)
{
	for (int slot = 0; slot < page_nslots(page); slot++)
	{
		TreeKey		end = slot + 1 < page_nslots(page) ? inner_key(page, slot + 1) :
			page_trailer(page)->high_fence;

		add_claim(survey, page, inner_child(page, slot), inner_key(page, slot), end, false);
	}
}

static void
add_bad(Survey *survey, BlockNumber block, const char *problem)
{
	BadBlock   *bad = pile_add(&survey->bad, sizeof(BadBlock));

	bad->block = block;
	bad->problem = problem;
	bad->named = false;
}

static void
note_header(Survey *survey, Page page)
{
	survey->header = *file_header(page);
	survey->header_lsn = PageGetLSN(page);
	survey->has_header = survey->header.tree_kind == ROWAN_TREE_TABLE &&
		survey->header.file_id == page_trailer(page)->file_id;
	if (!survey->has_header)
		add_bad(survey, ROWAN_HEADER_BLOCK, "block 0 is not the file header of a table");
}

static void
look_at_block(Survey *survey, BlockNumber block, char *page)
{
	const char *problem = pool_copy_sound(survey->file, block, page);

	if (problem == NULL && page_has_no_content(page))
	{
		if (survey->has_header && block < survey->header.high_water)
			add_bad(survey, block, "the page has no content");
		return;
	}
	if (problem == NULL)
		problem = page_check(page, block);
	if (problem == NULL && block == ROWAN_HEADER_BLOCK &&
		page_trailer(page)->type != ROWAN_PAGE_HEADER)
		problem = "block 0 is not a file header";
	if (problem != NULL)
	{
		add_bad(survey, block, problem);
		return;
	}
	if (block == ROWAN_HEADER_BLOCK)
		note_header(survey, page);
	survey->file_ids[block] = page_trailer(page)->file_id;
	if (page_trailer(page)->type == ROWAN_PAGE_LEAF)
		add_claim(survey, page, block, page_trailer(page)->low_fence,
				  page_trailer(page)->high_fence, true);
	else if (page_trailer(page)->type == ROWAN_PAGE_INNER)
		add_claims_of_parent(survey, page);
}

/* Blocks from the header's high water on are not in use, whatever is in them. */
static bool
is_beyond_end(const Survey *survey, BlockNumber block)
{
	return survey->has_header && block >= survey->header.high_water;
}

/*
 * What was cut off and is there still is older than the header; a leaf that is newer tells that the
 * header is not what it was.
 */
static bool
was_cut_off(const Survey *survey, const PageClaim *claim)
{
	return claim->own && is_beyond_end(survey, claim->block) && claim->lsn <= survey->header_lsn;
}

static int
compare_bad(const void *a, const void *b)
{
	BlockNumber x = ((const BadBlock *) a)->block;
	BlockNumber y = ((const BadBlock *) b)->block;

	return x < y ? -1 : x > y;
}

static uint64
count_file_id(const Survey *survey, uint32 file_id)
{
	uint64		n = 0;

	for (BlockNumber block = 0; block < survey->nblocks; block++)
		n += survey->file_ids[block] == file_id;
	return n;
}

/* The id that more than half of the pages have, if there is such a one; else anyone's. */
static uint32
commonest_file_id(const Survey *survey)
{
	uint32		candidate = 0;
	uint64		votes = 0;

	for (BlockNumber block = 0; block < survey->nblocks; block++)
	{
		uint32		file_id = survey->file_ids[block];

		if (file_id == 0)
			continue;
		if (votes == 0)
			candidate = file_id;
		votes += file_id == candidate ? 1 : -1;
	}
	return candidate;
}

/* The header's counts, unless most pages have another one: then the header is not ours. */
static void
choose_file_id(Survey *survey)
{
	survey->file_id = commonest_file_id(survey);
	if (!survey->has_header || survey->file_id == survey->header.file_id)
		return;
	if (count_file_id(survey, survey->file_id) > count_file_id(survey, survey->header.file_id))
		survey->has_header = false;
	else
		survey->file_id = survey->header.file_id;
}

static void
drop_foreign_pages(Survey *survey)
{
	uint64		kept = 0;

	for (BlockNumber block = 0; block < survey->nblocks; block++)
		if (survey->file_ids[block] != 0 && survey->file_ids[block] != survey->file_id)
			add_bad(survey, block, "the page belongs to another file");
	for (uint64 i = 0; i < survey->claims.n; i++)
	{
		PageClaim  *claim = claim_at(survey, i);

		if (claim->file_id == survey->file_id && !was_cut_off(survey, claim))
			*claim_at(survey, kept++) = *claim;
	}
	survey->claims.n = kept;
	if (survey->bad.n > 0)
		qsort(survey->bad.items, survey->bad.n, sizeof(BadBlock), compare_bad);
}

/* ---- whom to believe ---- */

/* By level, leaves first; then by range. */
static int
compare_claims(const void *a, const void *b)
{
	const PageClaim *x = a;
	const PageClaim *y = b;

	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	if (x->low != y->low)
		return x->low < y->low ? -1 : 1;
	return x->high < y->high ? -1 : x->high > y->high;
}

static inline bool
claims_overlap(const PageClaim *a, const PageClaim *b)
{
	return a->low < b->high && b->low < a->high;
}

/* The other one, newer than the leaf, says something else of its range. */
static bool
contradicts(const PageClaim *other, const PageClaim *leaf)
{
	if (!claims_overlap(other, leaf) ||
		(other->block == leaf->block && other->low == leaf->low && other->high == leaf->high))
		return false;
	/* without WAL there is no telling which one is older */
	return other->lsn >= leaf->lsn;
}

/* Open claims (PageClaim *) begin before a certain key and reach beyond it. */
static void
close_claims(Pile *open, TreeKey low)
{
	PageClaim **claims = open->items;
	uint64		kept = 0;

	for (uint64 i = 0; i < open->n; i++)
		if (claims[i]->high > low)
			claims[kept++] = claims[i];
	open->n = kept;
}

/* Compares the claim with all that overlap it and begin before it. */
static void
judge_claim(const Pile *open, PageClaim *claim)
{
	claim->believed = claim->own;
	for (uint64 i = 0; i < open->n; i++)
	{
		PageClaim  *other = ((PageClaim **) open->items)[i];

		if (claim->believed && contradicts(other, claim))
			claim->believed = false;
		if (other->believed && contradicts(claim, other))
			other->believed = false;
	}
}

/* Claims about leaves are [0, n), by their low fences. */
static void
believe_leaves(Survey *survey, uint64 n)
{
	Pile		open = {0};

	for (uint64 i = 0; i < n; i++)
	{
		PageClaim  *claim = claim_at(survey, i);

		CHECK_FOR_INTERRUPTS();
		close_claims(&open, claim->low);
		judge_claim(&open, claim);
		*(PageClaim **) pile_add(&open, sizeof(PageClaim *)) = claim;
	}
	for (uint64 i = 0; i < n; i++)
	{
		const PageClaim *claim = claim_at(survey, i);

		if (claim->own && !claim->believed)
			report_finding(survey, claim->block, "the page is older than others that have its rows: a later write is lost");
	}
}

static void
collect_leaves(Survey *survey, uint64 n, TreeRemains *remains)
{
	uint64		count = 0;

	for (uint64 i = 0; i < n; i++)
		count += claim_at(survey, i)->believed;
	remains->leaves = palloc_extended(Max(count, 1) * sizeof(RemainingLeaf), MCXT_ALLOC_HUGE);
	for (uint64 i = 0; i < n; i++)
	{
		const PageClaim *claim = claim_at(survey, i);

		if (claim->believed)
			remains->leaves[remains->nleaves++] = (RemainingLeaf)
		{
			claim->block, claim->low, claim->high
		};
	}
}

/* ---- what is missing ---- */

static BadBlock *
find_bad(const Survey *survey, BlockNumber block)
{
	BadBlock	key = {.block = block};

	if (survey->bad.n == 0)
		return NULL;
	return bsearch(&key, survey->bad.items, survey->bad.n, sizeof(BadBlock), compare_bad);
}

/* Of parents' claims that overlap it, those that begin later are not newer. */
static bool
is_newest_claim(const Survey *survey, uint64 i, uint64 end)
{
	const PageClaim *claim = claim_at(survey, i);

	for (uint64 j = i + 1; j < end && claim_at(survey, j)->low < claim->high; j++)
		if (!claim_at(survey, j)->own && claim_at(survey, j)->lsn > claim->lsn)
			return false;
	return true;
}

static void
report_rest_of_gap(Survey *survey, TreeKey low, TreeKey high)
{
	if (low < high)
		report_missing_rows(survey, InvalidBlockNumber, "no page that can be read has these rows",
							low, high);
}

/* The leaf is to be found there, a parent says. */
static void
report_missing_leaf(Survey *survey, const PageClaim *claim)
{
	BadBlock   *bad = find_bad(survey, claim->block);

	if (bad != NULL)
		bad->named = true;
	report_missing_rows(survey, claim->block, bad != NULL ? bad->problem :
						claim->block >= survey->nblocks ? "the file ends before it" :
						"it is not the page that the table had there", claim->low, claim->high);
}

/*
 * No leaf that is believed has rows from low to high.  Claims in [first, end), in order, are all
 * that overlap it.
 */
static void
report_gap(Survey *survey, TreeKey low, TreeKey high, uint64 first, uint64 end)
{
	for (uint64 i = first; i < end; i++)
	{
		const PageClaim *claim = claim_at(survey, i);

		CHECK_FOR_INTERRUPTS();
		if (claim->own || claim->low < low || claim->high > high ||
			!is_newest_claim(survey, i, end))
			continue;
		report_rest_of_gap(survey, low, claim->low);
		report_missing_leaf(survey, claim);
		low = claim->high;
	}
	report_rest_of_gap(survey, low, high);
}

/* The claims about leaves, [0, n), that begin in the gap. */
static void
find_claims_in_gap(const Survey *survey, TreeKey low, TreeKey high, uint64 n, uint64 *first,
				   uint64 *end)
{
	while (*first < n && claim_at(survey, *first)->low < low)
		(*first)++;
	*end = *first;
	while (*end < n && claim_at(survey, *end)->low < high)
		(*end)++;
}

static void
report_gaps(Survey *survey, const TreeRemains *remains, uint64 n)
{
	TreeKey		reached = TREE_KEY_MIN;
	uint64		first = 0;

	for (uint64 i = 0; i <= remains->nleaves; i++)
	{
		TreeKey		next = i < remains->nleaves ? remains->leaves[i].low : TREE_KEY_MAX;
		uint64		end;

		if (reached < next)
		{
			find_claims_in_gap(survey, reached, next, n, &first, &end);
			report_gap(survey, reached, next, first, end);
		}
		if (i < remains->nleaves)
			reached = remains->leaves[i].high;
	}
}

/* Claims about inner pages follow those about leaves. */
static void
name_inner_pages(Survey *survey, uint64 n)
{
	for (uint64 i = n; i < survey->claims.n; i++)
	{
		BadBlock   *bad = find_bad(survey, claim_at(survey, i)->block);

		if (bad == NULL || bad->named)
			continue;
		report_finding(survey, bad->block,
					   psprintf("%s; it was an inner page, which is not needed", bad->problem));
		bad->named = true;
	}
}

static void
report_bad_blocks(Survey *survey)
{
	for (uint64 i = 0; i < survey->bad.n; i++)
	{
		const BadBlock *bad = bad_at(survey, i);

		if (!bad->named && !is_beyond_end(survey, bad->block))
			report_finding(survey, bad->block, bad->problem);
	}
}

/* ---- all of it ---- */

static void
survey_file(Survey *survey)
{
	PGAlignedBlock page;

	survey->nblocks = pool_file_blocks(survey->file);
	survey->file_ids = palloc_extended(Max(survey->nblocks, 1) * sizeof(uint32),
									   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	if (survey->nblocks == 0)
		add_bad(survey, ROWAN_HEADER_BLOCK, "the file is empty");
	for (BlockNumber block = 0; block < survey->nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		look_at_block(survey, block, page.data);
	}
}

TreeRemains *
tree_remains(const PoolFile *file, RemainsReport report, void *arg)
{
	TreeRemains *remains = palloc0(sizeof(TreeRemains));
	Survey		survey = {.file = file, .report = report, .arg = arg};
	uint64		n = 0;

	remains->file = file;
	survey_file(&survey);
	choose_file_id(&survey);
	drop_foreign_pages(&survey);
	remains->file_id = survey.file_id;
	if (survey.claims.n > 0)
		qsort(survey.claims.items, survey.claims.n, sizeof(PageClaim), compare_claims);
	while (n < survey.claims.n && claim_at(&survey, n)->level == 0)
		n++;
	believe_leaves(&survey, n);
	collect_leaves(&survey, n, remains);
	report_gaps(&survey, remains, n);
	name_inner_pages(&survey, n);
	report_bad_blocks(&survey);
	return remains;
}

const char *
remains_copy(const TreeRemains *remains, BlockNumber block, uint8 type, char *dest)
{
	const char *problem = pool_copy_sound(remains->file, block, dest);

	if (problem == NULL)
		problem = page_check((Page) dest, block);
	if (problem == NULL && page_trailer(dest)->file_id != remains->file_id)
		problem = "the page belongs to another file";
	if (problem == NULL && page_trailer(dest)->type != type)
		problem = "the page is of another type";
	return problem;
}
