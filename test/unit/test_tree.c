/*
 * test_tree.c
 *	  The tree against a sorted array, on a pool without a server.
 */
#include "tap.h"

#include "pool_stub.h"
#include "tree/verify.h"

#define FILE	(&stub_file)

typedef struct ModelRow
{
	TreeKey		key;
	uint16		size;
	uint8		stamp;
	bool		aligned;
	TransactionId creator;		/* page_xid of its page, if it depends on that; or 0 */
} ModelRow;

#define MAX_ROWS	300000

static ModelRow *model;
static int	nmodel;
static TreeKey next_key;
static uint16 size_limit;
static bool rows_depend;		/* on page_xid, where the page has one */

/* ---- the model ---- */

static int
model_search(TreeKey key)
{
	int			low = 0,
				high = nmodel;

	while (low < high)
	{
		int			mid = (low + high) / 2;

		if (model[mid].key < key)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool
model_has(TreeKey key)
{
	int			pos = model_search(key);

	return pos < nmodel && model[pos].key == key;
}

static void
fill_row(char *cell, const ModelRow *row)
{
	RowHeaderData header;

	row_header_set(&header, row->size, (row->aligned ? ROW_ALIGNED : 0) |
				   (row->creator != 0 ? ROW_PAGE_XID : 0), row->stamp & ROW_TAG_MAX);
	memcpy(cell, &header, sizeof(header));
	for (int i = sizeof(header); i < row->size; i++)
		cell[i] = (char) (row->key + row->stamp + i);
}

static RowShape
shape_of(const ModelRow *row)
{
	return row_shape(row->aligned ? ROW_ALIGNED : 0, 0, row->size);
}

static bool
row_is(const char *cell, uint16 size, const ModelRow *row)
{
	char		expected[BLCKSZ];

	fill_row(expected, row);
	return size == row->size && memcmp(cell, expected, size) == 0;
}

/* ---- what the row layer does ---- */

static CommandId
command_of(TransactionId creator)
{
	return creator == 0 ? FirstCommandId : creator % 2 == 0 ? PAGE_CID_FROZEN : 3;
}

/* An empty page takes the creator of its first row; rows of others have their own, or none. */
static void
choose_creator(ModelRow *row, Page page)
{
	if (!rows_depend)
		return;
	if (page_nslots(page) == 0)
		row->creator = (TransactionId[]) {0, 500, 501, 502}[test_below(4)];
	else if (test_below(4) > 0)
		row->creator = page_trailer(page)->page_xid;
}

static void
insert_apply(Page page, const ModelRow *row)
{
	char		cell[BLCKSZ];

	if (page_trailer(page)->high_fence == TREE_KEY_MAX &&
		page_next_key(page) <= row->key)
		page_set_next_key(page, row->key + 1);
	if (page_nslots(page) == 0)
	{
		page_trailer(page)->page_xid = row->creator;
		page_trailer(page)->page_cid = command_of(row->creator);
	}
	fill_row(cell, row);
	page_insert_row(page, leaf_search(page, row->key), row->key - page_low_fence(page), cell);
}

static void
delete_apply(Page page, TreeKey key)
{
	page_delete_slots(page, leaf_find(page, key), 1);
}

static void
replace_apply(Page page, const ModelRow *row)
{
	char		cell[BLCKSZ];

	fill_row(cell, row);
	page_replace_row(page, leaf_find(page, row->key), cell);
}

static Page
replica_of(PoolFrame *frame)
{
	return stub_replica_page(pool_block(frame));
}

static bool
leaf_takes(Page page, const ModelRow *row)
{
	RowShape	shape = shape_of(row);

	return row->key - page_low_fence(page) < LEAF_KEY_SPAN &&
		page_fits_insert(page, row_footprint(&shape), row->aligned);
}

static ModelRow
random_row(TreeKey key)
{
	ModelRow	row = {.key = key, .stamp = test_random()};

	row.aligned = test_below(4) == 0;
	row.size = (4 + test_below(test_below(50) == 0 ? 7000 : size_limit)) & ~1;
	return row;
}

static void
change_leaf(PoolFrame *frame, void (*apply) (Page, const ModelRow *), const ModelRow *row)
{
	pool_change_begin(frame);
	apply(pool_page(frame), row);
	pool_change_end(frame);
	apply(replica_of(frame), row);
	pool_unlatch(frame);
}

static void
model_insert(const ModelRow *row)
{
	int			pos = model_search(row->key);

	must(nmodel < MAX_ROWS);
	memmove(&model[pos + 1], &model[pos], (nmodel - pos) * sizeof(ModelRow));
	model[pos] = *row;
	nmodel++;
	if (row->key >= next_key)
		next_key = row->key + 1;
}

static void
do_insert(TreeKey key)
{
	ModelRow	row = random_row(key);
	RowShape	shape = shape_of(&row);
	PoolFrame  *frame;

	for (int round = 0;; round++)
	{
		must(round < 20);
		frame = tree_latch_leaf(FILE, key, LW_EXCLUSIVE);
		if (leaf_takes(pool_page(frame), &row))
			break;
		pool_unlatch(frame);
		tree_make_room(FILE, key, row_footprint(&shape), row.aligned);
		must(stub_latches_held() == 0);
	}
	choose_creator(&row, pool_page(frame));
	change_leaf(frame, insert_apply, &row);
	model_insert(&row);
}

static void
do_append(BlockNumber *hint)
{
	ModelRow	row = random_row(next_key);
	PoolFrame  *frame;

	for (int round = 0;; round++)
	{
		TreeKey		low_fence;

		must(round < 3);
		frame = tree_latch_last_leaf(FILE, *hint);
		must(page_next_key(pool_page(frame)) == next_key);
		*hint = pool_block(frame);
		if (leaf_takes(pool_page(frame), &row))
			break;
		low_fence = page_low_fence(pool_page(frame));
		pool_unlatch(frame);
		tree_append_leaf(FILE, low_fence);
		must(stub_latches_held() == 0);
		/* a new leaf begins a new logical block */
		row.key = next_key = (next_key + ROWS_PER_LOGICAL_BLOCK - 1) & ~(TreeKey) (ROWS_PER_LOGICAL_BLOCK - 1);
	}
	choose_creator(&row, pool_page(frame));
	change_leaf(frame, insert_apply, &row);
	model_insert(&row);
}

static void
delete_row_apply(Page page, const ModelRow *row)
{
	delete_apply(page, row->key);
}

static void
do_delete(int pos, bool merge)
{
	ModelRow	row = model[pos];
	PoolFrame  *frame = tree_latch_leaf(FILE, row.key, LW_EXCLUSIVE);

	change_leaf(frame, delete_row_apply, &row);
	memmove(&model[pos], &model[pos + 1], (nmodel - pos - 1) * sizeof(ModelRow));
	nmodel--;
	if (merge)
		tree_merge_leaf(FILE, row.key);
	must(stub_latches_held() == 0);
}

static void
do_replace(int pos)
{
	ModelRow	row = random_row(model[pos].key);
	RowShape	shape = shape_of(&row);

	row.creator = model[pos].creator;
	for (int round = 0;; round++)
	{
		PoolFrame  *frame = tree_latch_leaf(FILE, row.key, LW_EXCLUSIVE);
		Page		page = pool_page(frame);

		must(round < 20);
		must(leaf_find(page, row.key) >= 0);
		if (page_fits_row(page, leaf_find(page, row.key), &shape))
		{
			change_leaf(frame, replace_apply, &row);
			model[pos] = row;
			return;
		}
		pool_unlatch(frame);
		tree_make_room(FILE, row.key, row_footprint(&shape), row.aligned);
	}
}

/* ---- checks ---- */

static int	leaves_seen;

static void
report_problem(BlockNumber block, const char *message, void *arg)
{
	printf("# block %u: %s\n", block, message);
}

static void
ignore_problem(BlockNumber block, const char *message, void *arg)
{
}

static void
see_leaf(Page leaf, BlockNumber block, void *arg)
{
	must(page_trailer(leaf)->type == ROWAN_PAGE_LEAF);
	leaves_seen++;
}

static void
verify(void)
{
	TreeVerify	how = {.report = report_problem, .leaf_check = see_leaf};

	leaves_seen = 0;
	must(tree_verify(FILE, &how) == 0);
	must(stub_replica_difference() == InvalidBlockNumber);
	must(stub_latches_held() == 0);
}

static char page_bytes[BLCKSZ] pg_attribute_aligned(16);

static void
check_forward(PoolRing *ring)
{
	Page		page = (Page) page_bytes;
	TreeKey		key = TREE_KEY_MIN;
	BlockNumber hint = InvalidBlockNumber;
	int			n = 0;

	do
	{
		tree_copy_leaf(FILE, key, hint, ring, page_bytes);
		must(page_low_fence(page) == key);
		for (int pos = 0; pos < page_nslots(page); pos++, n++)
		{
			uint16		size = 0;
			char	   *cell = page_cell(page, pos, &size);

			must(n < nmodel && leaf_key(page, pos) == model[n].key);
			must(row_is(cell, size, &model[n]));
			if (model[n].creator != 0)
				must(page_trailer(page)->page_xid == model[n].creator &&
					 page_trailer(page)->page_cid == command_of(model[n].creator));
		}
		key = page_trailer(page)->high_fence;
		hint = page_trailer(page)->right_block;
	} while (key != TREE_KEY_MAX);
	must(n == nmodel);
	must(page_next_key(page) == next_key);
}

static void
check_backward(void)
{
	Page		page = (Page) page_bytes;
	int			n = nmodel;

	tree_copy_leaf(FILE, TREE_KEY_MAX - 1, InvalidBlockNumber, NULL, page_bytes);
	do
	{
		for (int pos = page_nslots(page) - 1; pos >= 0; pos--)
			must(leaf_key(page, pos) == model[--n].key);
	} while (tree_copy_left_leaf(FILE, page_low_fence(page), NULL, page_bytes));
	must(n == 0);
}

static void
check_lookups(int count)
{
	for (int i = 0; i < count; i++)
	{
		TreeKey		key = nmodel > 0 && test_below(2) == 0 ?
			model[test_below(nmodel)].key : test_random() >> test_below(63) >> 1;
		bool		found;
		int			attempt = 0;
		PoolRead	read;

		do
		{
			tree_read_leaf(FILE, key, attempt++, NULL, &read);
			found = leaf_find(read.page, key) >= 0;
		} while (!pool_read_end(&read));
		must(found == model_has(key));
	}
}

static void
check_all(void)
{
	PoolRing	ring = {0};

	verify();
	check_forward(&ring);
	check_backward();
	check_lookups(200);
}

static TreeStat
get_stat(void)
{
	TreeStat	stat;

	tree_get_stat(FILE, &stat);
	return stat;
}

static void
start(uint64 seed, int read_failures)
{
	test_seed(seed);
	stub_reset();
	stub_set_read_failures(read_failures);
	nmodel = 0;
	next_key = 0;
	size_limit = 100;
	must(!tree_exists(FILE));
	tree_create(FILE);
	must(tree_exists(FILE) && tree_exists(FILE));
	tree_create(FILE);
	must(stub_commits == 1);
}

static void
merge_everywhere(void)
{
	Page		page = (Page) page_bytes;
	TreeKey		key = TREE_KEY_MIN;

	do
	{
		bool		changed = tree_merge_leaf(FILE, key);

		tree_copy_leaf(FILE, key, InvalidBlockNumber, NULL, page_bytes);
		if (!changed)
			key = page_trailer(page)->high_fence;
	} while (key != TREE_KEY_MAX);
	must(stub_latches_held() == 0);
}

/* Deletes everything in some order; the tree must become a single leaf. */
static void
delete_all(int order, bool merge_at_once)
{
	TreeStat	stat;
	FileHeaderData header;

	while (nmodel > 0)
	{
		do_delete(order == 0 ? 0 : order == 1 ? nmodel - 1 : (int) test_below(nmodel),
				  merge_at_once);
		if (nmodel % 5000 == 1)
			check_all();
	}
	check_all();
	merge_everywhere();
	check_all();
	stat = get_stat();
	space_read_header(FILE, &header);
	if (next_key < LEAF_KEY_SPAN)
	{
		must(stat.height == 1 && stat.leaf_pages == 1 && stat.inner_pages == 0 && stat.rows == 0);
		must(stat.free_pages == header.high_water - 2);
	}
	else
	{
		/* the right edge must reach the next key */
		must(stat.height <= 2 && stat.leaf_pages <= 2 && stat.inner_pages <= 1 && stat.rows == 0);
		must(stat.free_pages >= header.high_water - 4);
	}
}

/* ---- the tests ---- */

static void
test_append(void)
{
	BlockNumber hint = InvalidBlockNumber;
	TreeStat	stat;

	for (int order = 0; order < 3; order++)
	{
		BlockNumber blocks;

		start(11 + order, 50);
		size_limit = 400;		/* the hint is stale: that must not matter */
		for (int i = 0; i < 20000; i++)
			do_append(&hint);
		check_all();
		stat = get_stat();
		printf("# appended: height %d, %d leaves, %d inner, %.1f%% of leaf bytes free, %.1f kB logged\n",
			   stat.height, (int) stat.leaf_pages, (int) stat.inner_pages,
			   100.0 * stat.leaf_free_bytes / (stat.leaf_pages * ROWAN_PAGE_ROOM),
			   stub_logged_bytes / 1024.0);
		must(stat.height == 3 && stat.rows == 20000);
		blocks = pool_file_blocks(FILE);
		delete_all(order, order > 0);

		/* the freed pages serve again */
		for (int i = 0; i < 10000; i++)
			do_append(&hint);
		check_all();
		must(pool_file_blocks(FILE) == blocks);
	}
	tap_ok(true, "append, delete all, append again");
}

static void
test_random_keys(void)
{
	for (int order = 0; order < 3; order++)
	{
		TreeStat	stat;

		start(21 + order, 50);
		size_limit = 400;
		for (int i = 0; i < 20000; i++)
		{
			TreeKey		key = order == 0 ? test_below(200000) :
				order == 1 ? ((TreeKey) test_below(300) << 40) + test_below(300) :
				test_random() >> (test_below(20) == 0 ? 2 + test_below(50) : 46);

			if (!model_has(key))
				do_insert(key);
			if (i % 5 == 0)
				do_replace(test_below(nmodel));
			if (i % 4000 == 0)
				check_all();
		}
		check_all();
		stat = get_stat();
		printf("# random: height %d, %d leaves, %d inner, %d rows\n", stat.height,
			   (int) stat.leaf_pages, (int) stat.inner_pages, (int) stat.rows);
		delete_all(order, order > 0);
	}
	tap_ok(true, "random inserts and replaces, delete all");
}

/* Several ascending runs at once, as concurrent inserters with their own ids. */
static void
test_runs(void)
{
	TreeKey		run[8];
	TreeStat	stat;

	start(31, 0);
	for (int r = 0; r < 8; r++)
		run[r] = r * 20000;
	for (int i = 0; i < 40000; i++)
		do_insert(run[test_below(8)]++);
	check_all();
	stat = get_stat();
	printf("# runs: %d leaves, %.1f%% free\n", (int) stat.leaf_pages,
		   100.0 * stat.leaf_free_bytes / (stat.leaf_pages * ROWAN_PAGE_ROOM));
	must(stat.leaf_free_bytes * 4 < stat.leaf_pages * ROWAN_PAGE_ROOM);
	tap_ok(true, "ascending runs fill their own leaves");
}

/* Inserted at one end, deleted at the other. */
static void
test_queue(void)
{
	BlockNumber hint = InvalidBlockNumber;

	start(41, 100);
	for (int i = 0; i < 80000; i++)
	{
		do_append(&hint);
		if (nmodel > 3000)
			do_delete(0, i % 7 == 0);
		if (i % 5000 == 0)
			merge_everywhere(); /* as VACUUM */
		if (i % 30000 == 0)
			check_all();
	}
	check_all();
	printf("# queue: %u blocks\n", pool_file_blocks(FILE));
	must(pool_file_blocks(FILE) < 300);
	tap_ok(true, "a queue does not grow");
}

static void
test_mixed(void)
{
	for (uint64 seed = 1; seed <= 6; seed++)
	{
		BlockNumber hint = InvalidBlockNumber;

		start(seed * 1000, seed % 2 ? 10 : 0);
		size_limit = seed % 3 == 0 ? 2000 : 150;
		for (int i = 0; i < 20000; i++)
		{
			bool		growing = i / 5000 % 2 == 0;
			int			dice = test_below(100);

			if (nmodel == 0 || dice < (growing ? 40 : 10))
				do_append(&hint);
			else if (dice < (growing ? 60 : 25))
			{
				TreeKey		key = test_random() % (next_key + 1);

				if (!model_has(key))
					do_insert(key);
			}
			else if (dice < 75)
				do_replace(test_below(nmodel));
			else
				do_delete(test_below(nmodel), test_below(4) == 0);
			if (test_below(50) == 0)
				tree_merge_leaf(FILE, test_random() % (next_key + 1));
			if (test_below(2000) == 0)
				next_key += test_below(100000) * (nmodel == 0);
			if (i % 2000 == 0)
				check_all();
		}
		check_all();
		merge_everywhere();
		check_all();
		delete_all(2, false);
	}
	tap_ok(true, "all operations mixed");
}

/* A damaged page: a clean error that names it, whatever is called. */
static void
test_corrupt(void)
{
	BlockNumber hint = InvalidBlockNumber;
	sigjmp_buf	jump;
	PoolRead	read;
	volatile int good = 0;

	start(51, 0);
	for (int i = 0; i < 5000; i++)
		do_append(&hint);
	for (volatile int damage = 0; damage < 6; damage++)
	{
		PoolFrame  *frame;
		char		saved[BLCKSZ];
		volatile BlockNumber block = damage < 4 ? inner_child(pool_page(&pool_frames[1]), 3) : 1;
		Page		page;

		frame = &pool_frames[block];
		page = pool_page(frame);
		memcpy(saved, page, BLCKSZ);
		switch (damage)
		{
			case 0:
				page_trailer(page)->low_fence++;
				break;
			case 1:
				page_trailer(page)->type = ROWAN_PAGE_FREE;
				break;
			case 2:
				page_trailer(page)->level = 1;
				break;
			case 3:
				memset(page, 0, BLCKSZ);
				break;
			case 4:
				((PageHeader) page)->pd_lower = ROWAN_PAGE_BODY;
				break;
			case 5:
				for (int i = 0; i < page_nslots(page); i++)
					page_slots(page)[i].offset = 3;
				break;
		}
		if (sigsetjmp(jump, 0) == 0)
		{
			TreeKey		key = inner_key((Page) (block == 1 ? saved : (char *) pool_page(&pool_frames[1])), 3);

			test_error_jump = &jump;
			tree_read_leaf(FILE, key, 0, NULL, &read);
			test_error_jump = NULL;
			printf("# no error for damage %d\n", damage);
		}
		else
			good += test_error_code == ERRCODE_DATA_CORRUPTED;
		test_error_jump = NULL;
		stub_release_all();
		memcpy(page, saved, BLCKSZ);
	}
	tap_ok(good == 6, "a tree that makes no sense is reported as corrupt");
}

static void
test_verify_notices(void)
{
	TreeVerify	how = {.report = ignore_problem};
	BlockNumber hint = InvalidBlockNumber;
	int			missed = 0;
	PageChange	change;
	BlockNumber freed;

	start(61, 0);
	for (int i = 0; i < 10000; i++)
		do_append(&hint);

	/* two pages on the free list */
	change_begin(&change, FILE);
	for (int i = 0; i < 2; i++)
		space_alloc(&change, ROWAN_PAGE_LEAF, 0, &freed);
	space_free(&change, freed);
	space_free(&change, freed - 1);
	change_commit(&change, InvalidTransactionId);
	verify();

#define PAGE(block) pool_page(&pool_frames[block])
#define ROOT PAGE(1)
#define DAMAGE(block, what) \
	do { \
		BlockNumber b = block; \
		Page		page = PAGE(b); \
		char		saved[BLCKSZ]; \
		memcpy(saved, page, BLCKSZ); \
		what; \
		if (tree_verify(FILE, &how) == 0) \
		{ \
			printf("# not noticed: %s\n", #what); \
			missed++; \
		} \
		memcpy(page, saved, BLCKSZ); \
	} while (0)
	DAMAGE(0, file_header(page)->free_count++);
	DAMAGE(0, file_header(page)->free_head = InvalidBlockNumber);
	DAMAGE(0, file_header(page)->free_head = freed);
	DAMAGE(0, file_header(page)->free_head = 2);
	DAMAGE(0, file_header(page)->high_water++);
	DAMAGE(0, file_header(page)->high_water--);
	DAMAGE(0, file_header(page)->version_head = freed);
	DAMAGE(0, file_header(page)->version_tail = freed);
	DAMAGE(0, file_header(page)->version_count = 1);
	DAMAGE(0, file_header(page)->version_active[3] = freed);
	DAMAGE(1, inner_set_key(page, 3, inner_key(page, 3) + 1));
	DAMAGE(1, page_delete_slots(page, 3, 1));
	DAMAGE(1, page_delete_slots(page, page_nslots(page) - 1, 1));
	DAMAGE(inner_child(ROOT, 3), page_trailer(page)->right_block = 5);
	DAMAGE(inner_child(ROOT, 3), page_trailer(page)->high_fence++);
	DAMAGE(inner_child(ROOT, 3), page_trailer(page)->file_id++);
	DAMAGE(inner_child(ROOT, 3), page_trailer(page)->self_block++);
	DAMAGE(inner_child(ROOT, 3), page_trailer(page)->type = ROWAN_PAGE_FREE);
	DAMAGE(freed, page_trailer(page)->right_block = freed - 1);
	DAMAGE(freed, page_trailer(page)->type = ROWAN_PAGE_VERSION);
	verify();
	tap_ok(missed == 0, "verify notices damage");
}

/* Rows that depend on their page's creator keep it, wherever merges and splits bring them; pages without one go with any other. */
static void
test_creators(void)
{
	BlockNumber hint = InvalidBlockNumber;
	TreeStat	stat;
	int			leaves;

	start(91, 60);
	rows_depend = true;
	size_limit = 200;
	for (int i = 0; i < 20000; i++)
		do_append(&hint);
	leaves = get_stat().leaf_pages;
	for (int round = 0; round < 3; round++)
	{
		for (int i = nmodel - 1; i >= 0; i--)
			if (test_below(3) > 0)
				do_delete(i, false);
		for (int i = 0; i < nmodel; i++)
			if (test_below(10) == 0)
				do_replace(i);
		merge_everywhere();
		check_all();
		for (int i = 0; i < 200; i++)
			do_append(&hint);
	}
	stat = get_stat();
	printf("# %d leaves of four creators, %d with one row of 27\n", leaves, (int) stat.leaf_pages);
	must((int) stat.leaf_pages < leaves * 2 / 3);
	delete_all(2, true);
	rows_depend = false;
	tap_ok(true, "merging pages of different creators");
}

/* All rows become stubs, and share a slot. */
static void
stubs_apply(Page page, const ModelRow *unused)
{
	RowHeaderData header = page_stub_cell;

	for (int pos = 0; pos < page_nslots(page); pos++)
		page_replace_row(page, pos, (char *) &header);
	page_join_stubs(page);
}

/* A leaf is not divided amid stubs that share a slot: the ids of some would look free. */
static void
test_split_at(void)
{
	PoolFrame  *frame;

	start(8, 0);
	for (int i = 0; i < 262; i++)
	{
		ModelRow	row = {.key = i, .size = 4};

		frame = tree_latch_leaf(FILE, i, LW_EXCLUSIVE);
		must(leaf_takes(pool_page(frame), &row));
		choose_creator(&row, pool_page(frame));
		change_leaf(frame, insert_apply, &row);
	}
	change_leaf(tree_latch_leaf(FILE, 0, LW_EXCLUSIVE), stubs_apply, NULL);
	tree_split_at(FILE, ROWS_PER_LOGICAL_BLOCK);
	frame = tree_latch_leaf(FILE, ROWS_PER_LOGICAL_BLOCK, LW_SHARED);
	must(page_low_fence(pool_page(frame)) == 0);
	must(page_check(pool_page(frame), pool_block(frame)) == NULL);
	pool_unlatch(frame);
	tree_split_at(FILE, 262);
	frame = tree_latch_leaf(FILE, 262, LW_SHARED);
	must(page_low_fence(pool_page(frame)) == 262);
	pool_unlatch(frame);
	tap_ok(true, "stubs that share a slot stay on one leaf");
}

int
main(void)
{
	model = malloc(MAX_ROWS * sizeof(ModelRow));
	test_corrupt();
	test_verify_notices();
	test_append();
	test_random_keys();
	test_runs();
	test_queue();
	test_mixed();
	test_creators();
	test_split_at();
	return tap_end();
}
