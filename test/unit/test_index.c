/*
 * test_index.c
 *	  Cells, pages and the tree of an index against a sorted array, on a pool without a server.
 */
#include "tap.h"

#include "catalog/pg_index.h"
#include "catalog/pg_type_d.h"
#include "core.h"
#include "entry/entry_verify.h"
#include "index_stub.h"
#include "pool_stub.h"
#include "tree/tree.h"
#include "utils/fmgroids.h"

/* what is not freed belongs to a memory context in the server */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* ---- kinds of indexes ---- */

static FmgrInfo int4_compare = {.fn_oid = F_BTINT4CMP};
static FmgrInfo text_compare = {.fn_oid = F_BTTEXT_PATTERN_CMP};

typedef struct Kind
{
	const char *name;
	const char *columns;		/* i: int4, t: text; behind a bar: INCLUDE */
	int16		option;			/* of the first column */
	bool		heads;			/* as a type whose order is known */
	bool		equal_image;
	int			values;			/* different keys, about */
	int			longest;		/* text */
	int			nulls;			/* one in so many; 0: none */
} Kind;

static const Kind kinds[] = {
	{"int4", "i", 0, true, true, 1000000, 0, 0},
	{"int4, few values", "i", 0, true, true, 12, 0, 20},
	{"int4 DESC, as if unknown", "i", INDOPTION_DESC | INDOPTION_NULLS_FIRST, false, false, 3000, 0, 10},
	{"text", "t", 0, true, true, 5000, 40, 30},
	{"text DESC NULLS FIRST", "t", INDOPTION_DESC | INDOPTION_NULLS_FIRST, true, true, 300, 300, 15},
	{"long text", "t", 0, true, true, 400, 2600, 50},
	{"text, int4", "ti", 0, true, true, 50, 200, 10},
	{"int4, text INCLUDE (text)", "it|t", INDOPTION_NULLS_FIRST, true, false, 30, 600, 10},
};

static const Kind *kind;
static KeyDesc keys;
static IndexTree tree = {.file = {{1663, 5, 16384}, INVALID_PROC_NUMBER, true}, .keys = &keys};

static void
set_kind(const Kind *which)
{
	int			n = 0;

	kind = which;
	memset(&keys, 0, sizeof(keys));
	keys.desc = calloc(1, TUPLE_DESC_SIZE(8));
	for (const char *at = kind->columns; *at; at++)
		keys.desc->natts += *at != '|';
	for (const char *at = kind->columns; *at; at++)
	{
		Form_pg_attribute attribute = TupleDescAttr(keys.desc, n);
		bool		is_text = *at == 't';

		if (*at == '|')
		{
			keys.nkeyatts = n;
			continue;
		}
		attribute->attnum = n + 1;
		attribute->attlen = is_text ? -1 : 4;
		attribute->attbyval = !is_text;
		attribute->attalign = TYPALIGN_INT;
		complete_column(keys.desc, n);
		keys.compare[n] = is_text ? &text_compare : &int4_compare;
		keys.option[n] = n == 0 ? kind->option : 0;
		keys.var_width |= is_text;
		n++;
	}
	keys.natts = n;
	if (keys.nkeyatts == 0)
		keys.nkeyatts = n;
	keys.equal_image = kind->equal_image;
	for (int i = 0; i < keys.nkeyatts; i++)
	{
		keys.kinds[i] = key_head_kind(keys.compare[i]->fn_oid, InvalidOid);
		must(keys.kinds[i] != HEAD_NONE);
	}
	if (!kind->heads)
		keys.kinds[0] = HEAD_NONE;
}

static Datum
random_text(void)
{
	int			number = test_below(kind->values);

	/* of one number always the same text, some with a long common beginning */
	int			prefix = number % 3 == 0 ? kind->longest / 2 : number % 7;
	int			length = kind->longest > 1000 && test_below(3) ? number % 60 :
		number * 7919 % (kind->longest - 10);
	char	   *text = calloc(1, VARHDRSZ + kind->longest + 20);
	char	   *to = VARDATA(text);

	length = Max(length, 12);
	memset(to, 'p', prefix);
	if (prefix > length - 11)
		prefix = length - 11;
	snprintf(to + prefix, 12, "%010d", number);
	memset(to + prefix + 10, 'a' + number % 5, length - prefix - 10);
	SET_VARSIZE(text, VARHDRSZ + length);
	return PointerGetDatum(text);
}

static IndexTuple
random_tuple(void)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	IndexTuple	tuple;

	for (int i = 0; i < keys.natts; i++)
	{
		isnull[i] = kind->nulls > 0 && test_below(kind->nulls) == 0;
		values[i] = TupleDescAttr(keys.desc, i)->attbyval ?
			Int32GetDatum((int32) test_below(kind->values) - kind->values / 2) : random_text();
	}
	tuple = stub_form_tuple(keys.desc, values, isnull);
	if (IndexTupleSize(tuple) > INDEX_MAX_TUPLE)
		return random_tuple();
	return tuple;
}

static ItemPointerData
random_tid(int nblocks)
{
	ItemPointerData tid;
	BlockNumber block = test_below(nblocks);

	ItemPointerSet(&tid, block, 1 + test_below(test_below(20) == 0 ? 60000 : 200));
	return tid;
}

/* ---- the model: entries in order ---- */

#define MAX_ENTRIES 200000

static IndexTuple *model;
static int	nmodel;

static int
compare_entries(IndexTuple a, IndexTuple b)
{
	int			difference;
	int			result;

	stub_test_compares = true;
	result = key_compare_tuples(&keys, a, b, keys.nkeyatts, &difference);
	stub_test_compares = false;
	return result != 0 ? result : ItemPointerCompare(&a->t_tid, &b->t_tid);
}

static int
model_search(IndexTuple tuple)
{
	int			low = 0,
				high = nmodel;

	while (low < high)
	{
		int			mid = (low + high) / 2;

		if (compare_entries(model[mid], tuple) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ---- cells ---- */

static CellSource
random_source(bool separator, ItemPointerData *tids, int room)
{
	CellSource	source = {.child = InvalidBlockNumber, .tids = tids};

	source.tuple = random_tuple();
	if (!separator)
	{
		source.ntids = test_below(3) == 0 ? 2 + test_below(room - 2) : 1;
		tids[0] = random_tid(test_below(2) ? 100 : 1 << (1 + test_below(30)));
		for (int i = 1; i < source.ntids; i++)
		{
			BlockNumber block = ItemPointerGetBlockNumberNoCheck(&tids[i - 1]);
			OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(&tids[i - 1]);

			if (test_below(2) && offset < 60000)
				offset += 1 + test_below(test_below(9) ? 5 : 5000);
			else
			{
				block += 1 + test_below(1 << test_below(20));
				offset = 1 + test_below(60000);
			}
			ItemPointerSet(&tids[i], block, offset);
		}
		return source;
	}
	source.is_separator = true;
	source.child = test_below(1 << 30);
	source.natts = test_below(keys.nkeyatts + 1);
	source.is_infinite = source.natts == 0 && test_below(2);
	source.has_tid = source.natts == keys.nkeyatts && test_below(2);
	tids[0] = random_tid(1 << 20);
	source.tuple = source.natts == 0 ? NULL :
		index_truncate_tuple(keys.desc, source.tuple, source.natts);
	return source;
}

/* A zero that fills up a cell may make the tuple longer, once. */
static bool
same_tuple(IndexTuple found, IndexTuple expected)
{
	char		wide[2 * BLCKSZ] = {0};

	memcpy(wide, expected, IndexTupleSize(expected));
	return (IndexTupleSize(found) == IndexTupleSize(expected) ||
			IndexTupleSize(found) == IndexTupleSize(expected) + MAXIMUM_ALIGNOF) &&
		IndexTupleHasNulls(found) == IndexTupleHasNulls(expected) &&
		memcmp(found + 1, wide + sizeof(IndexTupleData),
			   IndexTupleSize(found) - sizeof(IndexTupleData)) == 0;
}

static void
check_decoded(const CellSource *source, const IndexItem *item)
{
	ItemPointerData tids[300];

	must(item->is_separator == source->is_separator && item->is_infinite == source->is_infinite);
	must(!item->is_dead);
	if (source->is_separator)
	{
		must(item->natts == source->natts && item->child == source->child);
		must(item->has_tid == source->has_tid);
		must(!item->has_tid || ItemPointerEquals(unconstify(ItemPointerData *, &item->tid),
												 unconstify(ItemPointerData *, source->tids)));
	}
	else
	{
		must(item->ntids == source->ntids && cell_tids(item, tids));
		for (int i = 0; i < item->ntids; i++)
			must(ItemPointerEquals(&tids[i], unconstify(ItemPointerData *, &source->tids[i])));
	}
	if (source->tuple == NULL)
		return;
	must(same_tuple(item->tuple, source->tuple));
}

/* A page with two fences, and cells against the low one. */
static void
init_page(Page page)
{
	CellSource	low = {.is_separator = true, .child = InvalidBlockNumber};
	CellSource	high = {.is_separator = true, .is_infinite = true, .child = InvalidBlockNumber};
	ItemPointerData tid = random_tid(100);

	page_init(page, ROWAN_PAGE_INDEX_LEAF, 0, 7, 1);
	if (test_below(2))
	{
		low.tuple = random_tuple();
		low.natts = keys.nkeyatts;
		low.tuple = index_truncate_tuple(keys.desc, low.tuple, low.natts);
		low.has_tid = test_below(2);
		low.tids = &tid;
	}
	ipage_init(&keys, page, &low, &high, NULL, NULL);
}

static void
damage(Page page)
{
	for (int i = 1 + test_below(4); i > 0; i--)
		((char *) page)[24 + test_below(BLCKSZ - 24)] = (char) test_random();
}

static void
test_cells(void)
{
	ItemPointerData tids[300];
	PGAlignedBlock block,
				buffer;
	Page		page = (Page) block.data;
	int			n = 0;

	for (int round = 0; round < 2000; round++)
	{
		CellSource	sources[20];
		ItemPointerData *kept = malloc(sizeof(tids));
		PageView	view;
		IndexItem	item;
		int			nsources = 0;

		set_kind(&kinds[round % lengthof(kinds)]);
		memset(page, 0, BLCKSZ);
		init_page(page);
		for (; nsources < 20; nsources++)
		{
			sources[nsources] = random_source(test_below(4) == 0, kept, 300);
			if (!ipage_insert(&keys, page, page_nslots(page), &sources[nsources]))
				break;
			kept = malloc(sizeof(tids));
		}
		must(page_check(page, 7) == NULL);
		view_page(&view, &tree, page, NULL);
		for (int i = 0; i < nsources; i++, n++)
		{
			must(cell_decode(&keys, page, &view.prefix, SLOT_FIRST + i, &item, buffer.data));
			check_decoded(&sources[i], &item);
		}
		/* whatever is there, nothing is read beyond it */
		for (int i = 0; i < 10; i++)
		{
			damage(page);
			view_page(&view, &tree, page, NULL);
			for (int pos = 0; pos < Min(page_nslots(page), 100); pos++)
				if (cell_decode(&keys, page, &view.prefix, pos, &item, buffer.data) &&
					item.ntids < 8000)
					(void) cell_tids(&item, malloc(sizeof(ItemPointerData) * item.ntids));
			ipage_forget_marks(page);
		}
	}
	tap_ok(n > 5000, "cells come back as they were written; damaged ones do no harm");
}

/* ---- the tree ---- */

static KeyPoint
point_of(IndexTuple tuple)
{
	KeyPoint	point;

	key_point_from_tuple(&keys, &point, tuple, keys.nkeyatts, TAIL_TID, &tuple->t_tid);
	return point;
}

static void
do_insert(IndexTuple tuple)
{
	int			at = model_search(tuple);
	KeyPoint	point = point_of(tuple);
	CellSource	source = {.tuple = tuple, .tids = &tuple->t_tid, .ntids = 1};

	if ((at < nmodel && compare_entries(model[at], tuple) == 0) || nmodel == MAX_ENTRIES)
		return;
	for (;;)
	{
		PoolFrame  *frame = itree_latch_page(&tree, &point, 0, LW_EXCLUSIVE);

		if (itree_insert_latched(&tree, frame, &point, tuple))
			break;
		if (keys.equal_image)
		{
			frame = itree_latch_page(&tree, &point, 0, LW_EXCLUSIVE);
			if (itree_deduplicate(&tree, frame))
				continue;
			pool_unlatch(frame);
		}
		itree_make_room(&tree, &point, &source, 90);
	}
	must(stub_latches_held() == 0);
	memmove(model + at + 1, model + at, sizeof(IndexTuple) * (nmodel - at));
	model[at] = tuple;
	nmodel++;
}

/* Of a leaf, removes about one TID in `rate`; they leave the model, too. */
typedef struct Removal
{
	PageView	view;
	int			rate;
	int			removed;
} Removal;

static int
keep_some(void *arg, int slot, ItemPointerData *tids, int ntids)
{
	Removal    *removal = arg;
	PGAlignedBlock buffer;
	IndexItem	item;
	int			n = 0;

	view_item(&removal->view, slot, &item, buffer.data);
	for (int i = 0; i < ntids; i++)
	{
		if (test_below(removal->rate) == 0)
		{
			IndexTuple	tuple = CopyIndexTuple(item.tuple);
			int			at;

			tuple->t_tid = tids[i];
			at = model_search(tuple);
			must(at < nmodel && compare_entries(model[at], tuple) == 0);
			memmove(model + at, model + at + 1, sizeof(IndexTuple) * (--nmodel - at));
			removal->removed++;
		}
		else
			tids[n++] = tids[i];
	}
	return n;
}

static void
remove_from_leaf(const KeyPoint *point, int rate)
{
	Removal		removal = {.rate = rate};
	PoolFrame  *frame = itree_latch_page(&tree, point, 0, LW_EXCLUSIVE);
	PageChange	change;
	Page		page;

	view_page(&removal.view, &tree, pool_page(frame), NULL);
	change_begin(&change, &tree.file);
	page = change_page(&change, frame, false);
	must(ipage_remove_tids(&tree, frame, page, keep_some, &removal) == removal.removed);
	change_commit(&change, InvalidTransactionId);
}

static bool
high_fence_of(char *leaf, IndexItem *high, char *buffer)
{
	PageView	view;

	view_page(&view, &tree, (Page) leaf, NULL);
	view_item(&view, SLOT_HIGH_FENCE, high, buffer);
	return !high->is_infinite;
}

/* All leaves, left to right: some of what is on them goes, and they are merged. */
static void
remove_everywhere(int rate, bool merge)
{
	PGAlignedBlock leaf,
				fences[2];
	KeyPoint	point;
	IndexItem	high;
	int			which = 0;
	PoolFrame  *frame;
	uint64		version;

	key_point_init(&keys, &point, 0, TAIL_LOW);
	do
	{
		remove_from_leaf(&point, rate);
		while (merge && itree_merge_leaf(&tree, &point))
			;
		itree_copy_leaf(&tree, &point, false, InvalidBlockNumber, leaf.data, &frame, &version);
		if (!high_fence_of(leaf.data, &high, fences[which].data))
			break;
		key_point_from_item(&keys, &point, &high);
		which = 1 - which;
	} while (true);
	must(stub_latches_held() == 0);
}

/* ---- checking ---- */

static int	nproblems;

static void
report(BlockNumber block, const char *message, void *arg)
{
	printf("# block %u: %s\n", block, message);
	nproblems++;
}

static int	nentries;

static void
check_entry(const IndexItem *item, void *arg)
{
	ItemPointerData *tids = malloc(sizeof(ItemPointerData) * item->ntids);

	must(cell_tids(item, tids));
	for (int i = 0; i < item->ntids; i++, nentries++)
	{
		must(nentries < nmodel);
		must(ItemPointerEquals(&tids[i], &model[nentries]->t_tid));
		must(same_tuple(item->tuple, model[nentries]));
	}
	free(tids);
}

/* From the last entry backward, leaf by leaf, by low fences. */
static void
check_backward(void)
{
	PGAlignedBlock leaf,
				fences[2],
				buffer;
	KeyPoint	point;
	IndexItem	item;
	int			n = nmodel;
	int			which = 0;

	key_point_init(&keys, &point, 0, TAIL_HIGH);
	for (;; which = 1 - which)
	{
		PoolFrame  *frame;
		PageView	view;
		uint64		version;

		itree_copy_leaf(&tree, &point, true, InvalidBlockNumber, leaf.data, &frame, &version);
		view_page(&view, &tree, (Page) leaf.data, NULL);
		for (int pos = page_nslots(view.page) - 1; pos >= SLOT_FIRST; pos--)
		{
			view_item(&view, pos, &item, buffer.data);
			n -= item.ntids;
			must(n >= 0 && ItemPointerEquals(&item.tid, &model[n]->t_tid));
		}
		view_item(&view, SLOT_LOW_FENCE, &item, fences[which].data);
		if (item.natts == 0)
			break;
		key_point_from_item(&keys, &point, &item);
	}
	must(n == 0);
}

/* A leaf's search against one that goes through all slots, for points of all kinds. */
static void
check_searches(int count)
{
	PGAlignedBlock leaf,
				buffer;

	for (int i = 0; i < count; i++)
	{
		IndexTuple	tuple = nmodel > 0 && test_below(2) ? model[test_below(nmodel)] : random_tuple();
		KeyTail		tail = test_below(3);
		ItemPointerData tid = test_below(2) ? tuple->t_tid : random_tid(300);
		KeyPoint	point;
		PoolFrame  *frame;
		PageView	view;
		IndexItem	item;
		uint64		version;
		int			pos = SLOT_FIRST;

		key_point_from_tuple(&keys, &point, tuple, tail == TAIL_TID ? keys.nkeyatts :
							 (int) test_below(keys.nkeyatts + 1), tail,
							 tail == TAIL_TID ? &tid : NULL);
		itree_copy_leaf(&tree, &point, false, InvalidBlockNumber, leaf.data, &frame, &version);
		view_page(&view, &tree, (Page) leaf.data, NULL);
		must(ipage_covers(&view, &point, false));
		for (; pos < page_nslots(view.page); pos++)
		{
			view_item(&view, pos, &item, buffer.data);
			if (key_compare(&keys, &point, &item) <= 0)
				break;
		}
		must(ipage_search(&view, &point) == pos);
	}
}

static void
check_all(void)
{
	IndexVerify how = {.tree = &tree, .report = report, .entry = check_entry};

	nentries = 0;
	must(itree_verify(&how) == 0 && nproblems == 0);
	must(nentries == nmodel);
	check_backward();
	check_searches(150);
	must(stub_replica_difference() == InvalidBlockNumber);
	for (int i = 0; i < 50 && nmodel > 0; i++)
		must(itree_has_entry(&tree, model[test_below(nmodel)]));
}

static void
start(const Kind *which, uint64 seed, int read_failures)
{
	test_seed(seed);
	stub_reset();
	stub_set_read_failures(read_failures);
	set_kind(which);
	nmodel = 0;
	must(!tree_exists(&tree.file));
	itree_create(&tree);
	itree_create(&tree);
	must(tree_exists(&tree.file) && stub_commits == 1);
}

/* ---- the tests ---- */

static void
insert_some(int count, int nblocks)
{
	for (int i = 0; i < count; i++)
	{
		IndexTuple	tuple = random_tuple();

		tuple->t_tid = random_tid(nblocks);
		do_insert(tuple);
	}
}

/* What a merge brings in from the right is there at the next turn only. */
static void
remove_all(void)
{
	while (nmodel > 0)
	{
		remove_everywhere(1, true);
		check_all();
	}
	for (int turn = 0; itree_height(&tree) > 0; turn++)
	{
		must(turn < 10);
		remove_everywhere(1, true);
		check_all();
	}
}

static void
test_random_operations(const Kind *which, uint64 seed)
{
	int			count = which->longest > 1000 ? 400 : 2000;

	start(which, seed, 20);
	for (int round = 0; round < 4; round++)
	{
		insert_some(count, 1 << (4 + 4 * round));
		check_all();
		remove_everywhere(round == 1 ? 2 : 30, round > 0);
		check_all();
	}
	insert_some(count, 1000);
	remove_all();
	insert_some(count / 10, 1000);
	check_all();
	tap_ok(true, which->name);
}

/* Ascending, descending: pages at the edges are split unevenly; then the tree shrinks to one leaf. */
static void
test_ordered(bool descending)
{
	FileHeaderData header;

	start(&kinds[0], 5, 0);
	for (int i = 0; i < 30000; i++)
	{
		Datum		value = Int32GetDatum(descending ? -i : i);
		bool		isnull = false;
		IndexTuple	tuple = stub_form_tuple(keys.desc, &value, &isnull);

		ItemPointerSet(&tuple->t_tid, i / 200, 1 + i % 200);
		do_insert(tuple);
	}
	check_all();
	space_read_header(&tree.file, &header);
	/* at the right edge pages are filled to 90 %, elsewhere they are halved */
	printf("# %u pages\n", header.high_water);
	must(header.high_water < (descending ? 110 : 65));
	remove_all();
	tap_ok(true, descending ? "descending keys" : "ascending keys");
}

/* One key only: lists fill and are split inside, wherever a TID belongs. */
static void
test_one_key(void)
{
	const Kind	one = {"one key", "t", 0, true, true, 1, 500, 0};

	start(&one, 9, 0);
	insert_some(20000, 300);
	check_all();
	remove_everywhere(3, true);
	check_all();
	insert_some(5000, 3000);
	check_all();
	tap_ok(true, "one key with many TIDs");
}

int
main(void)
{
	model = malloc(MAX_ENTRIES * sizeof(IndexTuple));
	test_cells();
	for (int i = 0; i < (int) lengthof(kinds); i++)
		test_random_operations(&kinds[i], 100 + i);
	test_ordered(false);
	test_ordered(true);
	test_one_key();
	return tap_end();
}
