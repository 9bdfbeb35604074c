/*
 * entry_page.c
 *	  Index pages: searching, and changing working copies.
 *
 * Takes no latches.  A page is searched where it is: optimistically (each cell is decoded into a
 * private buffer, and compared only after the page was found unchanged), or stable (latched or a
 * copy). Searching assumes that the page covers the point: heads leave out what all keys of the
 * page begin with.
 */
#include "postgres.h"

#include "entry/entry.h"
#include "tree/kind.h"

#define HEAD_MAX	0xFFFF

/* ---- looking at cells ---- */

void
view_page(PageView *view, const IndexTree *tree, Page page, PoolRead *read)
{
	view->keys = tree->keys;
	view->file = &tree->file;
	view->page = page;
	view->read = read;
	view_refresh(view);
}

void
view_refresh(PageView *view)
{
	cell_prefix(view->page, &view->prefix);
}

void
view_is_corrupted(const PageView *view)
{
	tree_corrupted(view->file, page_trailer(view->page)->self_block,
				   "a cell of an index page makes no sense");
}

/* Nothing is wrong with the bytes if the page was changing. */
bool
view_item(const PageView *view, int pos, IndexItem *item, char *buffer)
{
	bool		makes_sense =
		cell_decode(view->keys, view->page, &view->prefix, pos, item, buffer) &&
		item->is_separator == (pos < SLOT_FIRST || !ipage_is_leaf(view->page));

	if (view->read != NULL && !pool_read_valid(view->read))
		return false;
	if (!makes_sense)
	{
		if (view->read != NULL)
			pool_read_end(view->read);
		view_is_corrupted(view);
	}
	return true;
}

/* The TIDs of an item of a stable view; tids has room for item->ntids. */
void
view_tids(const PageView *view, const IndexItem *item, ItemPointerData *tids)
{
	if (!cell_tids(item, tids))
		tree_corrupted(view->file, page_trailer(view->page)->self_block,
					   "a posting list of an index page makes no sense");
}

/* ---- heads ---- */

static uint16
scale_head(Page page, uint64 head)
{
	PageTrailer trailer = page_trailer(page);
	uint64		base = index_head_base(trailer);
	uint64		scaled;

	if (head <= base)
		return 0;
	scaled = (head - base) >> (index_head_shift(trailer) & 63);
	return Min(scaled, HEAD_MAX);
}

uint16
ipage_head(const KeyDesc *keys, Page page, IndexTuple tuple, int natts)
{
	bool		is_null;
	Datum		value;

	if (keys->kinds[0] == HEAD_NONE || tuple == NULL || natts == 0)
		return 0;
	value = index_getattr(tuple, 1, keys->desc, &is_null);
	return scale_head(page, key_head(keys, keys->kinds[0], value, is_null,
									 index_head_skip(page_trailer(page))));
}

/* How heads are to be made on a page of these fences, whose entries reach from first to last. */
static void
choose_heads(const KeyDesc *keys, Page page, const CellSource *low, const CellSource *high,
			 IndexTuple first, IndexTuple last)
{
	PageTrailer trailer = page_trailer(page);
	bool		first_null,
				last_null;
	Datum		first_value,
				last_value;
	uint64		from,
				to;

	if (first == NULL || last == NULL || keys->kinds[0] == HEAD_NONE)
		return;
	if (low->natts > 0 && high->natts > 0 && !high->is_infinite)
	{
		first_value = index_getattr(low->tuple, 1, keys->desc, &first_null);
		last_value = index_getattr(high->tuple, 1, keys->desc, &last_null);
		if (!first_null && !last_null)
			index_head_skip(trailer) = key_common_bytes(keys, first_value, last_value);
	}
	first_value = index_getattr(first, 1, keys->desc, &first_null);
	last_value = index_getattr(last, 1, keys->desc, &last_null);
	from = key_head(keys, keys->kinds[0], first_value, first_null, index_head_skip(trailer));
	to = key_head(keys, keys->kinds[0], last_value, last_null, index_head_skip(trailer));
	if (to < from)
		return;

	/* at the right edge, keys will follow */
	if (high->is_infinite && to - from < PG_UINT64_MAX - to)
		to += to - from;

	/* 0 is the head of all that lies before the first key */
	if (from > 0)
		from--;
	index_head_base(trailer) = from;
	while (((to - from) >> index_head_shift(trailer)) > HEAD_MAX)
		index_head_shift(trailer)++;
}

/* ---- searching ---- */

static inline uint16
slot_head(Page page, int pos)
{
	return ((volatile SlotData *) page_slots(page))[pos].delta;
}

/* First slot in [low, high) whose head is not less than head (or_equal: greater), else high. */
static int
search_heads(Page page, int low, int high, uint16 head, bool beyond)
{
	while (low < high)
	{
		int			mid = low + (high - low) / 2;
		uint16		at = slot_head(page, mid);

		if (at < head || (beyond && at == head))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static inline bool
has_head(const KeyPoint *point)
{
	return point->nkeys > 0 && point->kinds[0] != HEAD_NONE;
}

static inline uint16
head_of_point(const PageView *view, const KeyPoint *point)
{
	return scale_head(view->page,
					  key_head(view->keys, point->kinds[0], point->keys[0].sk_argument,
							   (point->keys[0].sk_flags & SK_ISNULL) != 0,
							   index_head_skip(page_trailer(view->page))));
}

/* Narrows [*low, *high) to the slots that only comparisons can tell from the point. */
static void
narrow_by_heads(const PageView *view, const KeyPoint *point, int *low, int *high)
{
	uint16		head;

	if (!has_head(point))
		return;
	head = head_of_point(view, point);
	*low = search_heads(view->page, *low, *high, head, false);
	*high = search_heads(view->page, *low, *high, head, true);
}

bool
ipage_head_is_beyond(const PageView *view, const KeyPoint *point, int pos)
{
	return has_head(point) && slot_head(view->page, pos) > head_of_point(view, point);
}

/* The point lies among the TIDs of the slot's list; -1: optimistic, the page changed. */
static int
is_inside(const PageView *view, const KeyPoint *point, int pos)
{
	PGAlignedBlock buffer;
	IndexItem	item;

	if (!view_item(view, pos, &item, buffer.data))
		return -1;
	return key_compare(view->keys, point, &item) == 0;
}

/* The cells that may be compared next lie anywhere on the page: let them come meanwhile. */
static inline void
prefetch_searched_cell(Page page, int low, int high)
{
	uint16		offset = page_slot_offset(page, low + (high - low) / 2);

	if (low < high && offset < BLCKSZ)
		__builtin_prefetch((char *) page + offset);
}

/*
 * First slot from `from` on whose item is at or behind the point (beyond: behind it).  Of posting
 * lists only the first TIDs are compared, but of the one just before that slot.
 */
static int
search(const PageView *view, const KeyPoint *point, int from, bool beyond)
{
	PGAlignedBlock buffer;
	int			low = from;
	int			high = Max(page_nslots(view->page), from);
	int			list = -1;		/* slot of a list that the point may be inside of */

	narrow_by_heads(view, point, &low, &high);
	while (low < high)
	{
		int			mid = low + (high - low) / 2;
		IndexItem	item;
		bool		maybe_inside;
		int			result;

		prefetch_searched_cell(view->page, low, mid);
		prefetch_searched_cell(view->page, mid + 1, high);
		if (!view_item(view, mid, &item, buffer.data))
			return SEARCH_RETRY;
		result = key_compare_first(view->keys, point, &item, &maybe_inside);
		if (result > 0 || (beyond && result == 0))
			low = mid + 1;
		else
			high = mid;
		if (maybe_inside)
			list = mid;
	}
	if (list < 0 || list != low - 1 || beyond)
		return low;
	switch (is_inside(view, point, list))
	{
		case 0:
			return low;
		case 1:
			return list;
		default:
			return SEARCH_RETRY;
	}
}

/* Kinds whose number says all about the value. */
static inline bool
number_is_value(HeadKind kind)
{
	return kind == HEAD_INT4 || kind == HEAD_INT8 || kind == HEAD_INT2 || kind == HEAD_OID ||
		kind == HEAD_CHAR || kind == HEAD_BOOL;
}

/*
 * On this leaf the entries with the point's head, and no others, have its key.  (Not at the ends of
 * the scale, where what lies beyond has the same head, and NULLs are.)
 */
static bool
head_is_key(const PageView *view, const KeyPoint *point, uint16 *head)
{
	PageTrailer trailer = page_trailer(view->page);
	uint64		number;

	if (point->nkeys != 1 || view->keys->nkeyatts != 1 || !number_is_value(point->kinds[0]) ||
		index_head_shift(trailer) != 0 || (point->keys[0].sk_flags & SK_ISNULL))
		return false;
	number = key_head(view->keys, point->kinds[0], point->keys[0].sk_argument, false, 0);
	*head = scale_head(view->page, number);
	return *head > 0 && *head < HEAD_MAX && number < PG_UINT64_MAX;
}

/*
 * Of the entries [low, high), which have the point's key, the first one with a TID at or behind the
 * point's.  The last one is looked at first: new rows tend to come behind all others in the table.
 */
static int
search_tid(const PageView *view, const KeyPoint *point, int low, int high)
{
	ItemPointer tid = unconstify(ItemPointerData *, &point->tid);
	int			mid = high - 1;

	for (; low < high; mid = low + (high - low) / 2)
	{
		ItemPointerData last;

		if (!cell_last_tid(view->page, mid, &last))
			return SEARCH_RETRY;
		if (ItemPointerCompare(tid, &last) > 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int
ipage_search(const PageView *view, const KeyPoint *point)
{
	int			nslots = Max(page_nslots(view->page), SLOT_FIRST);
	uint16		head;
	int			low,
				found;

	if (!ipage_is_leaf(view->page) || !head_is_key(view, point, &head))
		return search(view, point, SLOT_FIRST, false);
	low = search_heads(view->page, SLOT_FIRST, nslots, head, false);
	if (point->tail == TAIL_LOW)
		return low;
	found = search_heads(view->page, low, nslots, head, true);
	if (point->tail == TAIL_TID)
		found = search_tid(view, point, low, found);
	/* a stable page whose bytes make no sense is told so there */
	return found == SEARCH_RETRY ? search(view, point, SLOT_FIRST, false) : found;
}

int
ipage_search_child(const PageView *view, const KeyPoint *point, bool before)
{
	int			pos;

	/* the first child begins at the low fence, whatever its cell says */
	if (page_nslots(view->page) <= SLOT_FIRST)
		return SEARCH_RETRY;
	pos = search(view, point, SLOT_FIRST + 1, !before);
	return pos == SEARCH_RETRY ? SEARCH_RETRY : pos - 1;
}

bool
ipage_covers(const PageView *view, const KeyPoint *point, bool before)
{
	PGAlignedBlock buffer;
	IndexItem	fence;
	int			result;

	Assert(view->read == NULL);
	view_item(view, SLOT_LOW_FENCE, &fence, buffer.data);
	result = key_compare(view->keys, point, &fence);
	if (before ? result <= 0 : result < 0)
		return false;
	view_item(view, SLOT_HIGH_FENCE, &fence, buffer.data);
	if (fence.is_infinite)
		return true;
	result = key_compare(view->keys, point, &fence);
	return before ? result <= 0 : result < 0;
}

/* ---- changing ---- */

/* Nothing was changed yet but working copies. */
static void
need_tids(const IndexItem *item, ItemPointerData *tids)
{
	if (!cell_tids(item, tids))
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("a posting list of an index page makes no sense")));
}

static void
put_fence(Page page, int pos, const CellSource *fence)
{
	int			size = cell_encode(NULL, fence, NULL);

	cell_encode(NULL, fence, page_insert_cell(page, pos, 0, size));
}

/* The page's type, level and block are set; first and last: entries to choose heads by, or NULL. */
void
ipage_init(const KeyDesc *keys, Page page, const CellSource *low, const CellSource *high,
		   IndexTuple first, IndexTuple last)
{
	Assert(page_nslots(page) == 0);
	put_fence(page, SLOT_LOW_FENCE, low);
	put_fence(page, SLOT_HIGH_FENCE, high);
	choose_heads(keys, page, low, high, first, last);
}

static uint16
head_of_source(const KeyDesc *keys, Page page, const CellSource *source)
{
	return ipage_head(keys, page, source->tuple,
					  source->is_separator ? source->natts : keys->natts);
}

bool
ipage_insert(const KeyDesc *keys, Page page, int pos, const CellSource *source)
{
	CellPrefix	prefix;
	char		cell[CELL_MAX];
	int			size;
	uint16		head = head_of_source(keys, page, source);

	/* encoded before the insertion, which may move the low fence */
	cell_prefix(page, &prefix);
	size = cell_encode(&prefix, source, cell);
	if (size > CELL_MAX || !page_fits_insert(page, size, false))
		return false;
	memcpy(page_insert_cell(page, pos, head, size), cell, size);
	return true;
}

bool
ipage_replace(const KeyDesc *keys, Page page, int pos, const CellSource *source)
{
	CellPrefix	prefix;
	char		cell[CELL_MAX];
	int			size;
	bool		is_fence = pos < SLOT_FIRST;

	cell_prefix(page, &prefix);
	size = cell_encode(is_fence ? NULL : &prefix, source, cell);
	if (size > CELL_MAX || !page_fits_replace(page, pos, size))
		return false;
	memcpy(page_replace_cell(page, pos, size), cell, size);
	if (!is_fence)
		page_slots(page)[pos].delta = head_of_source(keys, page, source);
	return true;
}

void
ipage_delete(Page page, int pos, int count)
{
	Assert(pos >= SLOT_FIRST);
	page_delete_slots(page, pos, count);
}

/* All of what to write to have the item again, but its TIDs. */
static void
source_without_tids(const IndexItem *item, CellSource *source)
{
	memset(source, 0, sizeof(*source));
	source->tuple = item->natts > 0 ? item->tuple : NULL;
	source->natts = item->natts;
	source->is_separator = item->is_separator;
	source->is_infinite = item->is_infinite;
	source->has_tid = item->has_tid;
	source->child = item->child;
	source->ntids = item->ntids;
}

/* What to write to have the item again.  tids: room for item->ntids; separators: for one. */
void
item_source(const IndexItem *item, CellSource *source, ItemPointerData *tids)
{
	source_without_tids(item, source);
	source->tids = tids;
	need_tids(item, tids);
}

void
item_source_same(const IndexItem *item, CellSource *source, ItemPointerData *tid)
{
	source_without_tids(item, source);
	*tid = item->tid;
	source->tids = tid;
	source->posting = item->posting;
	source->posting_size = item->posting_size;
	source->last_tid = item->last_tid;
}
