/*
 * test_race.c
 *	  Several backends (threads) change and read one tree at the same time.
 *
 * Each thread has keys of its own, which only it inserts and deletes, so it knows what
 * every lookup and every scan must find of them, whatever the others do to the pages.  The file is
 * verified meanwhile, too: nothing may be found.
 */
#include "tap.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool_stub.h"
#include "tree/verify.h"

#define FILE		(&stub_file)
#define THREADS		4
#define RANDOM_KEYS	20000		/* below: key % THREADS is the owner */
#define MAX_KEYS	600000		/* above: appended, the appender is the owner */

/* What the key's owner knows; nobody else looks. */
static uint16 row_size[MAX_KEYS];	/* 0: no such row */
static uint8 row_owner[MAX_KEYS];
static int	steps = 30000;

typedef struct Worker
{
	int			id;
	pthread_t	thread;
	int			nrows;
	TreeKey		appended[MAX_KEYS / THREADS];
	int			nappended;
	uint64		retries;
	int			verified;
} Worker;

static void
fill_row(char *cell, TreeKey key, uint16 size)
{
	RowHeaderData header;

	row_header_set(&header, size, 0, 0);
	memcpy(cell, &header, sizeof(header));
	for (int i = sizeof(header); i < size; i++)
		cell[i] = (char) (key + i);
}

static bool
row_is(const char *cell, uint16 size, TreeKey key)
{
	char		expected[BLCKSZ];

	fill_row(expected, key, size);
	return size == row_size[key] && memcmp(cell, expected, size) == 0;
}

static uint16
random_size(void)
{
	return (8 + test_below(test_below(30) == 0 ? 3000 : 200)) & ~1;
}

/* ---- changes, as the row layer makes them ---- */

static void
insert_apply(Page page, TreeKey key, uint16 size)
{
	char		cell[BLCKSZ];

	if (page_trailer(page)->high_fence == TREE_KEY_MAX && page_next_key(page) <= key)
		page_set_next_key(page, key + 1);
	fill_row(cell, key, size);
	page_insert_row(page, leaf_search(page, key), key - page_low_fence(page), cell);
}

static void
delete_apply(Page page, TreeKey key, uint16 size)
{
	page_delete_slots(page, leaf_find(page, key), 1);
}

static void
change_leaf(PoolFrame *frame, void (*apply) (Page, TreeKey, uint16), TreeKey key, uint16 size)
{
	pool_change_begin(frame);
	apply(pool_page(frame), key, size);
	pool_change_end(frame);
	apply(stub_replica_page(pool_block(frame)), key, size);
	pool_unlatch(frame);
}

static int
footprint(uint16 size)
{
	RowShape	shape = row_shape(0, 0, size);

	return row_footprint(&shape);
}

static bool
leaf_takes(Page page, TreeKey key, uint16 size)
{
	return key - page_low_fence(page) < LEAF_KEY_SPAN &&
		page_fits_insert(page, footprint(size), false);
}

static void
do_insert(Worker *w, TreeKey key)
{
	uint16		size = random_size();

	for (;;)
	{
		PoolFrame  *frame = tree_latch_leaf(FILE, key, LW_EXCLUSIVE);

		must(leaf_find(pool_page(frame), key) < 0);
		if (leaf_takes(pool_page(frame), key, size))
		{
			change_leaf(frame, insert_apply, key, size);
			break;
		}
		pool_unlatch(frame);
		tree_make_room(FILE, key, footprint(size), false);
	}
	row_size[key] = size;
	row_owner[key] = w->id;
	w->nrows++;
}

static void
do_append(Worker *w)
{
	uint16		size = random_size();
	static __thread BlockNumber hint = InvalidBlockNumber;

	for (;;)
	{
		PoolFrame  *frame = tree_latch_last_leaf(FILE, hint);
		TreeKey		key = page_next_key(pool_page(frame));
		TreeKey		low_fence = page_low_fence(pool_page(frame));

		must(key < MAX_KEYS);
		hint = pool_block(frame);
		if (leaf_takes(pool_page(frame), key, size))
		{
			row_size[key] = size;
			row_owner[key] = w->id;
			change_leaf(frame, insert_apply, key, size);
			w->appended[w->nappended++] = key;
			w->nrows++;
			return;
		}
		pool_unlatch(frame);
		tree_append_leaf(FILE, low_fence);
	}
}

static void
do_delete(Worker *w, TreeKey key)
{
	PoolFrame  *frame = tree_latch_leaf(FILE, key, LW_EXCLUSIVE);

	must(leaf_find(pool_page(frame), key) >= 0);
	change_leaf(frame, delete_apply, key, 0);
	row_size[key] = 0;
	w->nrows--;
	if (test_below(3) == 0)
		tree_merge_leaf(FILE, key);
}

/* ---- reading ---- */

static void
do_lookup(Worker *w, TreeKey key)
{
	char		copy[BLCKSZ];

	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		int			pos;
		uint16		size = 0;
		char	   *cell = NULL;

		tree_read_leaf(FILE, key, attempt, NULL, &read);
		pos = leaf_find(read.page, key);
		if (pos >= 0)
			cell = page_cell(read.page, pos, &size);
		if (cell != NULL)
			memcpy(copy, cell, size);
		if (pool_read_end(&read))
		{
			must((pos >= 0) == (row_size[key] > 0));
			must(pos < 0 || (cell != NULL && row_is(copy, size, key)));
			return;
		}
		w->retries++;
	}
}

/* All own rows, each once, in order. */
static void
do_scan(Worker *w, bool forward)
{
	char	   *bytes = palloc(BLCKSZ);
	Page		page = (Page) bytes;
	int			seen = 0;
	BlockNumber hint = InvalidBlockNumber;
	TreeKey		edge = TREE_KEY_MIN;
	bool		more = true;

	if (!forward)
		tree_copy_leaf(FILE, TREE_KEY_MAX - 1, hint, NULL, bytes);
	while (more)
	{
		if (forward)
		{
			tree_copy_leaf(FILE, edge, hint, NULL, bytes);
			must(page_low_fence(page) <= edge);
		}
		must(page_check(page, page_trailer(page)->self_block) == NULL);
		for (int pos = 0; pos < page_nslots(page); pos++)
		{
			TreeKey		key = leaf_key(page, pos);
			uint16		size = 0;
			char	   *cell = page_cell(page, pos, &size);

			/* a merged leaf may show rows that were passed already */
			if (forward ? key < edge : (edge != TREE_KEY_MIN && key >= edge))
				continue;
			if (row_owner[key] != w->id)
				continue;
			must(row_is(cell, size, key));
			seen++;
		}
		edge = forward ? page_trailer(page)->high_fence : page_low_fence(page);
		hint = page_trailer(page)->right_block;
		more = forward ? edge != TREE_KEY_MAX : tree_copy_left_leaf(FILE, edge, NULL, bytes);
	}
	if (seen != w->nrows)
		printf("# scan %s found %d rows of %d\n", forward ? "forward" : "backward", seen, w->nrows);
	must(seen == w->nrows);
	pfree(bytes);
}

/* ---- verifying ---- */

static void
report_problem(BlockNumber block, const char *message, void *arg)
{
	printf("# block %u: %s\n", block, message);
}

/* All own rows are on the leaves that it shows; some of them twice, if leaves are divided or merged meanwhile. */
typedef struct SeenByVerify
{
	Worker	   *worker;
	char	   *seen;			/* by key */
	int			nrows;
} SeenByVerify;

static void
see_leaf(Page leaf, BlockNumber block, void *arg)
{
	SeenByVerify *state = arg;

	for (int pos = 0; pos < page_nslots(leaf); pos++)
	{
		TreeKey		key = leaf_key(leaf, pos);

		must(key < MAX_KEYS);
		if (row_owner[key] != state->worker->id || state->seen[key])
			continue;
		state->seen[key] = true;
		state->nrows++;
	}
}

static void
do_verify(Worker *w)
{
	SeenByVerify state = {.worker = w, .seen = palloc0(MAX_KEYS)};
	TreeVerify	how = {.report = report_problem, .leaf_check = see_leaf, .arg = &state};

	must(tree_verify(FILE, &how) == 0);
	must(state.nrows == w->nrows);
	pfree(state.seen);
	w->verified++;
}

/* ---- the workers ---- */

static TreeKey
random_own_key(Worker *w)
{
	/* now and then narrow, so that several threads meet on a page */
	uint32		range = test_below(4) == 0 ? 400 : RANDOM_KEYS;

	if (w->nappended > 0 && test_below(3) == 0)
		return w->appended[test_below(w->nappended)];
	return test_below(range) / THREADS * THREADS + w->id;
}

static void
do_step(Worker *w, int step)
{
	bool		growing = step / (steps / 8 + 1) % 2 == 0;
	TreeKey		key = random_own_key(w);
	int			dice = test_below(100);

	for (int i = 0; !growing && row_size[key] == 0 && i < 20; i++)
		key = random_own_key(w);

	if (dice < (growing ? 20 : 3))
		do_append(w);
	else if (dice < 60)
	{
		if (row_size[key] > 0 && (!growing || test_below(3) == 0))
			do_delete(w, key);
		else if (row_size[key] == 0 && (growing || test_below(4) == 0))
			do_insert(w, key);
	}
	else if (dice < 90)
		do_lookup(w, key);
	else if (dice < 99)
		tree_merge_leaf(FILE, test_below(2) == 0 ? key : TREE_KEY_MAX - 1);
	else if (test_below(4) == 0)
		do_scan(w, test_below(2) == 0);
	else if (test_below(3) == 0)
		do_verify(w);
	must(stub_latches_held() == 0);
}

static void *
work(void *arg)
{
	Worker	   *w = arg;

	test_seed(w->id + 1000 * steps);
	for (int step = 0; step < steps; step++)
		do_step(w, step);
	do_scan(w, true);
	return NULL;
}

static void
run(int yields, int read_failures, const char *name)
{
	static Worker workers[THREADS];
	TreeVerify	how = {.report = report_problem};
	TreeStat	stat;
	uint64		rows = 0,
				retries = 0;
	int			verified = 0;

	stub_reset();
	stub_set_yields(yields);
	stub_set_read_failures(read_failures);
	memset(row_size, 0, sizeof(row_size));
	memset(row_owner, 0xFF, sizeof(row_owner));
	memset(workers, 0, sizeof(workers));
	for (TreeKey key = 0; key < RANDOM_KEYS; key++)
		row_owner[key] = key % THREADS;
	tree_create(FILE);

	/* ids of the random part are handed out already */
	workers[THREADS - 1].id = THREADS - 1;
	do_insert(&workers[THREADS - 1], RANDOM_KEYS - 1);

	for (int i = 0; i < THREADS; i++)
	{
		workers[i].id = i;
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	for (int i = 0; i < THREADS; i++)
	{
		pthread_join(workers[i].thread, NULL);
		rows += workers[i].nrows;
		retries += workers[i].retries;
		verified += workers[i].verified;
	}
	stub_set_yields(0);
	stub_set_read_failures(0);
	tree_get_stat(FILE, &stat);
	printf("# %d rows, %d leaves, height %d, %d changes, %d lookups repeated, verified %d times\n",
		   (int) rows, (int) stat.leaf_pages, stat.height, (int) stub_commits, (int) retries, verified);
	must(stat.rows == rows);
	tap_ok(tree_verify(FILE, &how) == 0 && stub_replica_difference() == InvalidBlockNumber, name);
}

int
main(int argc, char **argv)
{
	if (argc > 1)
		steps = atoi(argv[1]);
	alarm(300 + steps / 20);	/* a deadlock ends the test */
	run(0, 0, "four backends");
	run(20, 50, "four backends, switching often, reads failing now and then");
	run(3, 5, "four backends, switching all the time, reads failing often");
	return tap_end();
}
