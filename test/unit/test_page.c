/*
 * test_page.c
 *	  Slotted pages against a model, and against random bytes.
 */
#include "tap.h"

#include "tree/page.h"

#define SELF	7
#define MAX_KEYS 2100

typedef union PageBuffer
{
	char		bytes[BLCKSZ];
	double		align;
} PageBuffer;

/* A cell's bytes follow from its key, size and a stamp. */
typedef struct ModelCell
{
	uint32		delta;
	uint16		size;
	bool		aligned;
	uint8		stamp;
} ModelCell;

static ModelCell model[MAX_KEYS];
static int	nmodel;

static void
fill_cell(char *cell, const ModelCell *m)
{
	RowHeaderData header;

	row_header_set(&header, m->size, m->aligned ? ROW_ALIGNED : 0, m->stamp & ROW_TAG_MAX);
	memcpy(cell, &header, sizeof(header));
	for (int i = sizeof(header); i < m->size; i++)
		cell[i] = (char) (m->stamp + m->delta + i);
}

static void
check_against_model(Page page, TreeKey low)
{
	const char *message = page_check(page, SELF);

	if (message != NULL)
		printf("# %s\n", message);
	must(message == NULL);
	must(page_nslots(page) == nmodel);
	for (int pos = 0; pos < nmodel; pos++)
	{
		char		expected[BLCKSZ];
		uint16		size;
		char	   *cell = page_cell(page, pos, &size);

		must(cell != NULL && size == model[pos].size);
		must(leaf_key(page, pos) == low + model[pos].delta);
		fill_cell(expected, &model[pos]);
		must(memcmp(cell, expected, size) == 0);
		must(!model[pos].aligned || (cell - (char *) page) % 8 == 0);
	}
}

static int
model_search(uint32 delta)
{
	int			pos = 0;

	while (pos < nmodel && model[pos].delta < delta)
		pos++;
	return pos;
}

static uint16
random_size(bool aligned)
{
	uint32		kind = test_below(20);
	int			size = kind == 0 ? 500 + test_below(2000) : kind < 8 ? 4 + test_below(8) :
		8 + test_below(120);

	return size;
}

static bool
do_insert(Page page, TreeKey low, uint32 delta, int aligned_share)
{
	ModelCell	m = {.delta = delta, .stamp = test_below(256)};
	int			pos = model_search(delta);

	m.aligned = (int) test_below(100) < aligned_share;
	m.size = random_size(m.aligned);
	if ((pos < nmodel && model[pos].delta == delta) || !page_fits_insert(page, m.size, m.aligned))
		return false;
	must(leaf_search(page, low + delta) == pos);
	fill_cell(page_insert_cell(page, pos, delta, m.size, m.aligned), &m);
	memmove(&model[pos + 1], &model[pos], (nmodel - pos) * sizeof(ModelCell));
	model[pos] = m;
	nmodel++;
	return true;
}

static void
do_replace(Page page, int aligned_share)
{
	int			pos = test_below(nmodel);
	ModelCell	m = model[pos];

	m.stamp = test_below(256);
	m.aligned = (int) test_below(100) < aligned_share;
	m.size = test_below(3) == 0 ? model[pos].size : random_size(m.aligned);
	if (!page_fits_replace(page, pos, m.size, m.aligned))
		return;
	fill_cell(page_replace_cell(page, pos, m.size, m.aligned), &m);
	model[pos] = m;
}

static void
do_delete(Page page)
{
	int			pos = test_below(nmodel);
	int			count = test_below(10) == 0 ? (int) test_below(nmodel) : 1;

	count = Min(count, nmodel - pos);
	page_delete_slots(page, pos, count);
	memmove(&model[pos], &model[pos + count], (nmodel - pos - count) * sizeof(ModelCell));
	nmodel -= count;
}

static void
init_leaf(Page page, TreeKey low)
{
	page_init(page, ROWAN_PAGE_LEAF, 0, SELF, 99);
	page_trailer(page)->low_fence = low;
	page_trailer(page)->high_fence = low + LEAF_KEY_SPAN;
	page_trailer(page)->right_block = 8;
	nmodel = 0;
}

/* The bytes outside the gap do not depend on what the gap held. */
static void
check_same_outside_gap(Page a, Page b)
{
	PageHeader	header = (PageHeader) a;

	must(memcmp(a, b, header->pd_lower) == 0);
	must(memcmp((char *) a + header->pd_upper, (char *) b + header->pd_upper,
				BLCKSZ - header->pd_upper) == 0);
}

static void
scribble_gap(Page page)
{
	PageHeader	header = (PageHeader) page;

	for (int i = header->pd_lower; i < header->pd_upper; i++)
		((char *) page)[i] = (char) test_random();
}

static void
random_step(Page page, TreeKey low, uint32 range, int aligned_share, int insert_share)
{
	int			dice = test_below(100);

	if (dice < insert_share || nmodel == 0)
		do_insert(page, low, test_below(range), aligned_share);
	else if (dice < insert_share + 30)
		do_replace(page, aligned_share);
	else if (dice < 99)
		do_delete(page);
	else
		page_compact(page);
}

static void
run_random(uint64 seed, uint32 range, int aligned_share)
{
	PageBuffer	a,
				b;
	TreeKey		low = UINT64CONST(0x123456789A) * seed;

	test_seed(seed);
	init_leaf((Page) a.bytes, low);
	for (int step = 0; step < 4000; step++)
	{
		int			insert_share = step / 500 % 2 == 0 ? 60 : 30;
		ModelCell	saved_model[MAX_KEYS];
		int			saved_n = nmodel;

		if (step % 16 != 0)
		{
			random_step((Page) a.bytes, low, range, aligned_share, insert_share);
			if (step % 4 == 0)
				check_against_model((Page) a.bytes, low);
			continue;
		}
		/* the same step twice, from pages that differ in the gap */
		memcpy(saved_model, model, sizeof(model));
		b = a;
		scribble_gap((Page) b.bytes);
		test_seed(seed * 100000 + step);
		random_step((Page) b.bytes, low, range, aligned_share, insert_share);
		memcpy(model, saved_model, sizeof(model));
		nmodel = saved_n;
		test_seed(seed * 100000 + step);
		random_step((Page) a.bytes, low, range, aligned_share, insert_share);
		check_against_model((Page) a.bytes, low);
		check_same_outside_gap((Page) a.bytes, (Page) b.bytes);
	}
}

static void
test_model(void)
{
	static const uint32 ranges[] = {50, 300, 2000, 65536};
	static const int shares[] = {0, 20, 50, 100};

	for (int r = 0; r < 4; r++)
		for (int s = 0; s < 4; s++)
			for (int seed = 1; seed <= 3; seed++)
				run_random(seed + 10 * r + 100 * s, ranges[r], shares[s]);
	tap_ok(true, "random inserts, replaces, deletes, compactions against a model");
}

/* Every search answer against a linear one, on dense pages and pages with holes. */
static void
test_leaf_search(void)
{
	for (int hole_share = 0; hole_share <= 100; hole_share += 10)
	{
		PageBuffer	buffer;
		Page		page = (Page) buffer.bytes;
		TreeKey		low = 1000;

		test_seed(hole_share);
		init_leaf(page, low);
		for (uint32 delta = test_below(3); delta < LEAF_KEY_SPAN && nmodel < 900;
			 delta += (int) test_below(100) < hole_share ? 1 + test_below(300) : 1)
		{
			ModelCell	m = {.delta = delta, .size = 4};

			fill_cell(page_insert_cell(page, nmodel, delta, 4, false), &m);
			model[nmodel++] = m;
		}
		for (TreeKey key = 0; key < low + 2 * LEAF_KEY_SPAN; key += 1 + test_below(3))
		{
			int			pos = key <= low ? 0 : model_search(Min(key - low, LEAF_KEY_SPAN));
			bool		found = pos < nmodel && low + model[pos].delta == key;

			must(leaf_search(page, key) == pos);
			must(leaf_find(page, key) == (found ? pos : -1));
		}
	}
	tap_ok(true, "leaf search: dense, with holes, beyond the span");
}

static void
test_inner_search(void)
{
	for (int shape = 0; shape < 6; shape++)
	{
		PageBuffer	buffer;
		Page		page = (Page) buffer.bytes;
		TreeKey		keys[500];
		int			n = 0;
		TreeKey		key = shape == 5 ? 0 : 12345;

		test_seed(shape);
		page_init(page, ROWAN_PAGE_INNER, 1, SELF, 99);
		page_trailer(page)->low_fence = key;
		while (page_fits_insert(page, sizeof(InnerCellData), false))
		{
			must(page_check(page, SELF) != NULL || n > 0);
			inner_insert(page, n, key, 100 + n);
			keys[n++] = key;
			key += shape == 0 ? 200 : shape == 1 ? 1 + test_below(400) :
				shape == 2 ? (n < 200 ? 1 : UINT64CONST(1) << 40) :
				shape == 3 ? UINT64CONST(1) << (n / 10) : shape == 4 ? 1 : UINT64CONST(1) << 55;
			if (shape == 5 && n == 400)
				break;
			if (key < keys[n - 1])
				break;
		}
		page_trailer(page)->high_fence = TREE_KEY_MAX;
		must(page_check(page, SELF) == NULL);
		for (int i = 0; i < n; i++)
		{
			TreeKey		end = i + 1 < n ? keys[i + 1] : TREE_KEY_MAX;

			must(inner_search(page, keys[i]) == i);
			must(inner_search(page, keys[i] + (end - keys[i]) / 2) == i);
			must(inner_search(page, end - 1) == i);
			must(inner_child(page, i) == (BlockNumber) (100 + i));
		}
		if (keys[0] > 0)
			must(inner_search(page, keys[0] - 1) == 0);
	}
	tap_ok(true, "inner search: even, skewed and exponential separators");
}

/* page_check notices each damage. */
static void
test_check_notices(void)
{
	PageBuffer	good,
				bad;
	Page		page = (Page) bad.bytes;
	int			missed = 0;

	test_seed(5);
	init_leaf((Page) good.bytes, 500);
	for (int i = 0; i < 60; i++)
		do_insert((Page) good.bytes, 500, test_below(3000), 20);
	must(page_check((Page) good.bytes, SELF) == NULL);
	must(page_check((Page) good.bytes, SELF + 1) != NULL);
#define DAMAGE(what) \
	do { \
		bad = good; \
		what; \
		if (page_check(page, SELF) == NULL) \
		{ \
			printf("# not noticed: %s\n", #what); \
			missed++; \
		} \
	} while (0)
	DAMAGE(page_trailer(page)->magic++);
	DAMAGE(page_trailer(page)->format_version++);
	DAMAGE(page_trailer(page)->type = 9);
	DAMAGE(page_trailer(page)->type = ROWAN_PAGE_INNER);
	DAMAGE(page_trailer(page)->level = 1);
	DAMAGE(page_trailer(page)->dead_bytes += 2);
	DAMAGE(page_trailer(page)->low_fence = page_trailer(page)->high_fence);
	DAMAGE(page_trailer(page)->high_fence = 501);
	DAMAGE(page_trailer(page)->high_fence = TREE_KEY_MAX);
	DAMAGE(page_trailer(page)->right_block = InvalidBlockNumber);
	DAMAGE(page_trailer(page)->next_delta = 4);
	DAMAGE(page_trailer(page)->unused = 1);
	DAMAGE(page_slots(page)[3].offset = page_slots(page)[4].offset);
	DAMAGE(page_slots(page)[3].offset += 1);
	DAMAGE(page_slots(page)[3].offset = 8190);
	DAMAGE(page_slots(page)[3].offset = ((PageHeader) page)->pd_lower);
	DAMAGE(page_slots(page)[3].delta = page_slots(page)[4].delta);
	DAMAGE(((PageHeader) page)->pd_lower -= 4);
	DAMAGE(((PageHeader) page)->pd_lower += 1);
	DAMAGE(((PageHeader) page)->pd_upper -= 2);
	DAMAGE(((PageHeader) page)->pd_special -= 8);
	tap_ok(missed == 0, "page_check notices damage");
}

/* Nothing here may be read out of bounds: the sanitizer watches. */
static void
read_everything(Page page)
{
	int			nslots = page_nslots(page);
	TreeKey		key = test_random() >> test_below(64);

	page_check(page, SELF);
	leaf_search(page, key);
	leaf_find(page, page_low_fence(page) + test_below(70000));
	inner_search(page, key);
	page_gap(page);
	page_free_bytes(page);
	page_packed_bytes(page);
	page_fits_insert(page, test_below(8192), test_below(2));
	page_covers(page, test_below(3), key);
	for (int pos = 0; pos < nslots; pos++)
	{
		uint16		size = 0;
		char	   *cell = page_cell(page, pos, &size);

		if (cell != NULL)
		{
			must(cell >= (char *) page && size >= 4);
			must(cell + size <= (char *) page + ROWAN_PAGE_SPECIAL);
		}
		inner_key(page, pos);
		inner_child(page, pos);
		page_fits_replace(page, pos, test_below(8192), test_below(2));
	}
}

static void
test_hostile_bytes(void)
{
	/* its own allocation: the sanitizer guards both ends */
	char	   *bytes = palloc(BLCKSZ);
	Page		page = (Page) bytes;

	for (int round = 0; round < 3000; round++)
	{
		test_seed(round);
		for (int i = 0; i < BLCKSZ; i += 8)
		{
			uint64		r = test_random();

			memcpy(bytes + i, &r, 8);
		}
		if (round % 3 > 0)
			((PageHeader) page)->pd_lower = ROWAN_PAGE_BODY + test_below(ROWAN_PAGE_ROOM + 1);
		if (round % 3 > 1)
			page_trailer(page)->type = ROWAN_PAGE_INNER + test_below(2);
		read_everything(page);
	}
	for (int round = 0; round < 3000; round++)
	{
		test_seed(round);
		init_leaf(page, 500);
		for (int i = 0; i < 40; i++)
			do_insert(page, 500, test_below(100), 30);
		for (int i = 1 + test_below(30); i > 0; i--)
			bytes[test_below(BLCKSZ)] = (char) test_random();
		read_everything(page);
	}
	pfree(page);
	tap_ok(true, "random bytes are never read out of bounds");
}

/* A row of the largest size fits an empty page, whatever its alignment. */
static void
test_largest(void)
{
	PageBuffer	buffer;
	Page		page = (Page) buffer.bytes;
	uint16		size = ROWAN_PAGE_ROOM - sizeof(SlotData) - 8;

	init_leaf(page, 0);
	tap_ok(page_fits_insert(page, size, true) && page_fits_insert(page, size, false) &&
		   !page_fits_insert(page, ROWAN_PAGE_ROOM, false), "largest cell fits an empty page");
}

int
main(void)
{
	test_model();
	test_leaf_search();
	test_inner_search();
	test_check_notices();
	test_hostile_bytes();
	test_largest();
	return tap_end();
}
