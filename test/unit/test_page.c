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

#define PAGE_NATTS	20

/* A row's bytes follow from its key, flags, attributes, size of its data, and a stamp. */
typedef struct ModelCell
{
	uint32		delta;
	uint16		data;
	uint16		flags;
	uint16		natts;			/* with ROW_NATTS */
	uint8		stamp;
} ModelCell;

static RowShape
model_shape(const ModelCell *m)
{
	int			natts = (m->flags & ROW_NATTS) ? m->natts : PAGE_NATTS;

	return row_shape(m->flags, natts, row_shape(m->flags, natts, BLCKSZ).header + m->data);
}

static ModelCell model[MAX_KEYS];
static int	nmodel;

static void
fill_cell(char *cell, const ModelCell *m)
{
	RowShape	shape = model_shape(m);
	RowHeaderData header;

	row_header_set(&header, row_shape_cell(&shape), m->flags, m->stamp & ROW_TAG_MAX);
	memcpy(cell, &header, sizeof(header));
	for (int i = sizeof(header); i < row_shape_cell(&shape); i++)
		cell[i] = (char) (m->stamp + m->delta + i);
	if (m->flags & ROW_NATTS)
		memcpy(cell + sizeof(header) + row_coming_size(m->flags), &m->natts, sizeof(m->natts));
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

		must(cell != NULL);
		must(leaf_key(page, pos) == low + model[pos].delta);
		fill_cell(expected, &model[pos]);
		must(size == row_header_size((RowHeaderData *) expected));
		must(memcmp(cell, expected, size) == 0);
		must((model[pos].flags & ROW_ALIGNED) == 0 || (cell - (char *) page) % 8 == 0);
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
random_size(void)
{
	uint32		kind = test_below(20);

	return kind == 0 ? 500 + test_below(2000) : kind < 8 ? test_below(8) : 4 + test_below(120);
}

/* Flags that a header can have. */
static uint16
settled(uint16 flags)
{
	RowHeaderData header;

	row_header_set(&header, 0, flags, 0);
	return row_header_flags(&header);
}

/* Most rows have few header fields; page_check knows all of them. */
static void
random_header(ModelCell *m, int aligned_share)
{
	m->flags = test_random() & test_random() &
		(ROW_COMING_FLAGS | ROW_NATTS | ROW_NULLS | ROW_PAGE_XID | ROW_DELETED | ROW_EXTERNAL);
	if ((int) test_below(100) < aligned_share)
		m->flags |= ROW_ALIGNED;
	m->flags = settled(m->flags);
	m->natts = test_below(200);
	m->stamp = test_below(256);
}

static void
put_new_row(Page page, int pos, const ModelCell *m)
{
	char		cell[BLCKSZ];

	fill_cell(cell, m);
	page_insert_row(page, pos, m->delta, cell);
}

static bool
do_insert(Page page, TreeKey low, uint32 delta, int aligned_share)
{
	ModelCell	m = {.delta = delta, .data = random_size()};
	int			pos = model_search(delta);
	RowShape	shape;

	random_header(&m, aligned_share);
	shape = model_shape(&m);
	if ((pos < nmodel && model[pos].delta == delta) ||
		!page_fits_insert(page, row_footprint(&shape), shape.aligned))
		return false;
	must(leaf_search(page, low + delta) == pos);
	put_new_row(page, pos, &m);
	memmove(&model[pos + 1], &model[pos], (nmodel - pos) * sizeof(ModelCell));
	model[pos] = m;
	nmodel++;
	return true;
}

/* Where the row's data are on the page. */
static int
data_offset(Page page, int pos)
{
	RowShape	shape = model_shape(&model[pos]);

	return page_slots(page)[pos].offset + shape.header;
}

/*
 * Where a row's header and slack take no more than they did, its data stay where they are, and all
 * other cells, and the gap.
 */
static void
replace_row(Page page, int pos, const ModelCell *m)
{
	PageBuffer	before;
	char		cell[BLCKSZ];
	RowShape	shape = model_shape(m);
	RowShape	old = model_shape(&model[pos]);
	int			data = data_offset(page, pos);
	bool		stays = m->data <= old.data &&
		shape.header + shape.slack <= old.header + old.slack &&
		(!shape.aligned || (data - shape.header) % 8 == 0);

	memcpy(before.bytes, page, BLCKSZ);
	fill_cell(cell, m);
	page_replace_row(page, pos, cell);
	model[pos] = *m;
	if (!stays)
		return;
	must(data_offset(page, pos) == data);
	must(((PageHeader) page)->pd_upper == ((PageHeader) before.bytes)->pd_upper);
	for (int other = 0; other < nmodel; other++)
		must(other == pos ||
			 page_slots(page)[other].offset == page_slots((Page) before.bytes)[other].offset);
}

static void
do_replace(Page page, int aligned_share)
{
	int			pos = test_below(nmodel);
	ModelCell	m = model[pos];
	RowShape	shape;

	if (test_below(3) == 0)
		m.flags = settled(m.flags ^ (test_random() & ROW_COMING_FLAGS));
	else
		random_header(&m, aligned_share);
	if (test_below(3) > 0)
		m.data = random_size();
	shape = model_shape(&m);
	if (page_fits_row(page, pos, &shape))
		replace_row(page, pos, &m);
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
	page_trailer(page)->page_natts = PAGE_NATTS;
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
			/* with a header in full, which has no slack, more of them fit */
			ModelCell	m = {.delta = delta, .flags = ROW_VERSION};

			if (!page_fits_insert(page, 13, false))
				break;
			put_new_row(page, nmodel, &m);
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

/* Moves the cell of slot pos down by a byte, into its slack. */
static void
take_slack(Page page, int pos)
{
	uint16		size;
	char	   *cell = page_cell(page, pos, &size);

	memmove(cell - 1, cell, size);
	page_slots(page)[pos].offset--;
}

/* page_check notices each damage. */
static void
test_check_notices(void)
{
	PageBuffer	good,
				bad;
	Page		page = (Page) bad.bytes;
	int			missed = 0;
	int			plain = 0;

	test_seed(5);
	init_leaf((Page) good.bytes, 500);
	for (int i = 0; i < 60; i++)
		do_insert((Page) good.bytes, 500, test_below(3000), 20);
	while (model[plain].flags & (ROW_COMING_FLAGS | ROW_ALIGNED))
		plain++;
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
	DAMAGE(((char *) page)[page_slots(page)[plain].offset - 1] = 1);
	DAMAGE(((char *) page)[page_slots(page)[plain].offset - ROW_COMING_ROOM] = 1);
	DAMAGE(take_slack(page, plain));
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
		RowShape	shape;

		if (cell != NULL && leaf_stubs(page, pos) == 0)
		{
			must(cell >= (char *) page && size >= 4);
			must(cell + size <= (char *) page + ROWAN_PAGE_SPECIAL);
		}
		inner_key(page, pos);
		inner_child(page, pos);
		page_fits_replace(page, pos, test_below(8192));
		shape = row_shape(test_random() & 0xFFF, test_below(70000), test_below(8192));
		page_fits_row(page, pos, &shape);
		page_slot_bytes(page, pos);
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

/* The row of slot pos with other flags for what comes and goes. */
static void
set_coming(Page page, int pos, uint16 coming)
{
	ModelCell	m = model[pos];

	m.flags = (m.flags & ~(ROW_COMING_FLAGS | ROW_CID_SHORT)) | coming;
	replace_row(page, pos, &m);
}

/*
 * A full page takes the headers of updated, and of locked, rows without moving anything.
 * replace_row looks that all stays.
 */
static void
test_slack(uint16 flags)
{
	static const uint16 steps[] = {ROW_XID | ROW_VERSION, 0, ROW_LOCK, ROW_XID,
		ROW_XID | ROW_CID | ROW_CID_SHORT | ROW_VERSION, ROW_FORWARD, ROW_XID | ROW_CID,
	ROW_XID | ROW_CID | ROW_CID_SHORT, 0};
	PageBuffer	buffer;
	PageBuffer	fresh;
	Page		page = (Page) buffer.bytes;
	ModelCell	m = {.flags = flags, .natts = 7};
	RowShape	shape = model_shape(&m);

	init_leaf(page, 0);
	for (m.data = 16; page_fits_insert(page, row_footprint(&shape), shape.aligned); m.delta++)
	{
		put_new_row(page, nmodel, &m);
		model[nmodel++] = m;
		shape = model_shape(&m);
	}
	must(page_gap(page) < 60);
	fresh = buffer;
	for (int step = 0; step < (int) lengthof(steps); step++)
	{
		for (int pos = 0; pos < nmodel; pos++)
			set_coming(page, pos, steps[step]);
		check_against_model(page, 0);
		page_compact(page);
		check_against_model(page, 0);
	}
	must(memcmp(page, fresh.bytes, BLCKSZ) == 0);
}

static void
test_slack_of_all(void)
{
	test_slack(0);
	test_slack(ROW_NATTS);
	test_slack(ROW_NULLS);
	test_slack(ROW_ALIGNED);
	test_slack(ROW_ALIGNED | ROW_NATTS);
	test_slack(ROW_ALIGNED | ROW_NULLS);
	test_slack(ROW_ALIGNED | ROW_NULLS | ROW_NATTS);
	tap_ok(true, "headers grow into the slack on full pages");
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

/* ---- stubs ---- */

#define STUB_KEYS	400

/* 0: no such key; 'r': a row; 's': a stub */
static char kinds[STUB_KEYS];

static char
kind_on_page(Page page, int pos)
{
	uint16		size;
	RowHeaderData header;

	memcpy(&header, page_cell(page, pos, &size), sizeof(header));
	return row_flags_stub(row_header_flags(&header)) ? 's' : 'r';
}

static void
put_kind(Page page, int key)
{
	ModelCell	m = {.delta = key, .flags = kinds[key] == 's' ? ROW_DELETED : ROW_XID,
	.stamp = key};

	put_new_row(page, page_nslots(page), &m);
}

/* Every key is what it was, and stubs with consecutive keys share a slot. */
static void
check_kinds(Page page)
{
	int			expected = 0;

	must(page_check(page, SELF) == NULL);
	for (int pos = 0; pos < page_nslots(page); pos++)
	{
		int			nkeys = leaf_slot_rows(page, pos);
		int			key = leaf_key(page, pos);

		while (expected < key)
			must(kinds[expected++] == 0);
		must(leaf_last_key(page, pos) == (TreeKey) (key + nkeys - 1));
		must(leaf_find(page, key) == pos);
		for (; nkeys > 0; nkeys--)
			must(kinds[expected++] == kind_on_page(page, pos));
	}
	while (expected < STUB_KEYS)
		must(kinds[expected++] == 0);
}

static int
count_runs(void)
{
	int			n = 0;

	for (int key = 0; key < STUB_KEYS; key++)
		n += kinds[key] == 's' && (key == 0 || kinds[key - 1] != 's');
	return n;
}

static void
check_joined(Page page)
{
	int			runs = 0;

	check_kinds(page);
	for (int pos = 0; pos < page_nslots(page); pos++)
	{
		must((kind_on_page(page, pos) == 's') == (leaf_stubs(page, pos) > 0));
		runs += leaf_stubs(page, pos) > 0;
	}
	must(runs == count_runs());
}

/* Some rows become stubs: as a prune leaves them, or with cells, as insertions that failed. */
static void
kill_rows(Page page)
{
	char		cell[BLCKSZ];

	for (int pos = 0; pos < page_nslots(page); pos++)
	{
		ModelCell	m = {.delta = leaf_key(page, pos), .flags = ROW_DELETED};

		if (leaf_stubs(page, pos) > 0 || test_below(3) > 0)
			continue;
		fill_cell(cell, &m);
		if (test_below(2) == 0)
			page_make_stub(page, pos);
		else
			page_replace_row(page, pos, cell);
		kinds[m.delta] = 's';
	}
}

static void
remove_some(Page page)
{
	TreeKey		keys[STUB_KEYS];
	int			nkeys = 0;
	int			nstubs = 0;

	for (int key = 0; key < STUB_KEYS; key++)
	{
		if (test_below(3) == 0)
			continue;
		keys[nkeys++] = key;	/* rows and absent keys, too */
		if (kinds[key] != 's')
			continue;
		kinds[key] = 0;
		nstubs++;
	}
	must(page_remove_stubs(page, keys, nkeys) == nstubs);
}

static void
test_stubs(void)
{
	for (int round = 0; round < 300; round++)
	{
		PageBuffer	buffer,
					other;
		Page		page = (Page) buffer.bytes;

		init_leaf(page, 0);
		for (int key = 0; key < STUB_KEYS; key++)
		{
			kinds[key] = "\0rrss"[test_below(5)];
			if (kinds[key] != 0 && page_fits_insert(page, 40, false))
				put_kind(page, key);
			else
				kinds[key] = 0;
		}
		check_kinds(page);
		page_join_stubs(page);
		check_joined(page);
		page_compact(page);
		check_joined(page);
		kill_rows(page);
		page_join_stubs(page);
		check_joined(page);
		remove_some(page);
		check_kinds(page);
		init_leaf((Page) other.bytes, 0);
		page_append_cells((Page) other.bytes, page, 0, page_nslots(page));
		check_kinds((Page) other.bytes);
	}
	tap_ok(true, "stubs share slots");
}

int
main(void)
{
	test_model();
	test_leaf_search();
	test_inner_search();
	test_check_notices();
	test_hostile_bytes();
	test_slack_of_all();
	test_largest();
	test_stubs();
	return tap_end();
}
