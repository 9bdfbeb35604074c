/*
 * place.c
 *	  Where new rows go: to leaves where VACUUM has found room, else to the tree's right edge.
 *
 * Each backend goes on with the leaf that it has found until that is full.  Then it asks what is
 * remembered of room (row_room_ops), as heap asks its free space map.  A full leaf behind whose
 * rows whole logical blocks are empty gets an empty right neighbour that begins with the first one:
 * so ranges of ids that were emptied are used from their beginning to their end.  If no leaf has
 * room, one that covers more logical blocks than its rows need (leaves were merged) is divided
 * between two of them; only then new blocks are begun, at the edge.
 *
 * Latches: one leaf.
 */
#include "postgres.h"

#include "pool/file_cache.h"
#include "row/place.h"

/* A leaf's slots address keys up to this far beyond its low fence. */
#define LEAF_KEY_RANGE		PG_UINT16_MAX

/* Where this backend's rows go; who latches it, looks whether it is what is said here. */
typedef struct KnownPlace
{
	FileKey		key;
	BlockNumber edge;			/* the rightmost leaf, or Invalid */
	BlockNumber leaf;			/* another one that has had room, or Invalid */
	bool		may_divide;		/* that one, as no other has room */
} KnownPlace;

FILE_CACHE(known_places, KnownPlace, 64);

/* So many leaves are looked at that have no room after all, until the edge gets a neighbour. */
#define MOST_MISSES			16

/*
 * What is asked for, at least: fewer leaves, with more room.  Less is noted of leaves that can only
 * be divided, and still less asked for to find one, since what is remembered is rounded.
 */
#define LEAST_ROOM			(ROWAN_PAGE_ROOM / 8)
#define ROOM_IF_DIVIDED		(ROWAN_PAGE_ROOM / 10)
#define ROOM_UNIT			64

const RowRoomOps *row_room_ops;

static KnownPlace *
known_place(const PoolFile *file)
{
	KnownPlace *known = file_cache_find(&known_places, file, 0);

	if (known == NULL)
	{
		known = file_cache_make(&known_places, file, 0);
		known->edge = known->leaf = InvalidBlockNumber;
		known->may_divide = false;
	}
	return known;
}

PoolFrame *
place_latch(const PoolFile *file)
{
	KnownPlace *known = known_place(file);
	PoolFrame  *leaf;

	if (BlockNumberIsValid(known->leaf))
		return tree_latch_some_leaf(file, known->leaf, false);
	leaf = tree_latch_last_leaf(file, known->edge);
	known->edge = pool_block(leaf);
	return leaf;
}

PoolFrame *
place_try(const PoolFile *file)
{
	KnownPlace *known = known_place(file);

	if (BlockNumberIsValid(known->leaf))
		return tree_latch_some_leaf(file, known->leaf, true);
	return BlockNumberIsValid(known->edge) ? tree_try_last_leaf(file, known->edge) : NULL;
}

/* ---- ids ---- */

static void
limit_ids(const PageTrailerData *trailer, RowId end, FreeIds *ids)
{
	end = Min(end, trailer->low_fence + LEAF_KEY_SPAN);
	end = Min(end, TYPEALIGN_DOWN(ROWS_PER_LOGICAL_BLOCK, ids->first) + ROWS_PER_LOGICAL_BLOCK);
	ids->n = end > ids->first ? end - ids->first : 0;
}

static inline RowId
id_behind_rows(Page page)
{
	int			nslots = page_nslots(page);

	return nslots == 0 ? page_low_fence(page) : leaf_last_key(page, nslots - 1) + 1;
}

void
place_find_ids(Page page, FreeIds *ids)
{
	PageTrailer trailer = page_trailer(page);
	int			nslots = page_nslots(page);

	if (place_is_edge(page))
	{
		ids->first = page_next_key(page);
		ids->n = Max((int64) (trailer->low_fence + LEAF_KEY_RANGE - ids->first), 0);
		return;
	}
	ids->first = id_behind_rows(page);
	limit_ids(trailer, trailer->high_fence, ids);
	if (ids->n > 0)
		return;
	ids->first = trailer->low_fence;
	for (int pos = 0; pos < nslots; pos++)
	{
		limit_ids(trailer, leaf_key(page, pos), ids);
		if (ids->n > 0)
			return;
		ids->first = leaf_last_key(page, pos) + 1;
	}
}

/* Where the first logical block behind all rows of a leaf begins, if there is one; else 0. */
static RowId
empty_block(Page page)
{
	RowId		first = TYPEALIGN64(ROWS_PER_LOGICAL_BLOCK, id_behind_rows(page));

	return !place_is_edge(page) && page_nslots(page) > 0 &&
		first + ROWS_PER_LOGICAL_BLOCK <= page_trailer(page)->high_fence ? first : 0;
}

/* Where the logical block of the row in the middle begins or ends, inside of the leaf; or 0. */
static RowId
middle_block(Page page)
{
	PageTrailer trailer = page_trailer(page);
	RowId		middle = leaf_key(page, page_nslots(page) / 2);
	RowId		begin = TYPEALIGN_DOWN(ROWS_PER_LOGICAL_BLOCK, middle);

	if (begin > trailer->low_fence)
		return begin;
	begin += ROWS_PER_LOGICAL_BLOCK;
	return begin < trailer->high_fence ? begin : 0;
}

/*
 * Where a full leaf is to be divided to make room; 0: nowhere.  Not while most ids have rows: two
 * half-empty leaves would be no better than a full and an empty one.
 */
static RowId
division(Page page)
{
	RowId		ids = page_trailer(page)->high_fence - page_low_fence(page);

	if (place_is_edge(page) || page_nslots(page) == 0 || ids < 2 * (RowId) page_nslots(page))
		return 0;
	return empty_block(page) != 0 ? empty_block(page) : middle_block(page);
}

Size
row_leaf_room(const RowTable *table, Page page)
{
	int			room;
	FreeIds		ids;

	if (place_is_edge(page))
		return 0;				/* rows go there anyway */
	if (empty_block(page) != 0)
		return ROWAN_PAGE_ROOM;
	place_find_ids(page, &ids);
	room = ids.n > 0 ? page_free_bytes(page) - table->fill_reserve : 0;
	if (room >= (int) LEAST_ROOM)
		return room;
	return division(page) != 0 ? ROOM_IF_DIVIDED : 0;
}

/* ---- another place ---- */

static void
note_room_of(RowTable *table, TreeKey key, BlockNumber *block)
{
	PoolFrame  *leaf = tree_latch_leaf(&table->file, key, LW_SHARED);
	Size		room = row_leaf_room(table, pool_page(leaf));

	*block = pool_block(leaf);
	pool_unlatch(leaf);
	if (row_room_ops != NULL && table->visibility_arg != NULL)
		row_room_ops->note(table->visibility_arg, *block, room);
}

/* Divides the leaf that covers the id; the part from there on is the place now. */
static void
divide_place(RowTable *table, RowId first)
{
	BlockNumber left;
	BlockNumber right;

	tree_split_at(&table->file, first);
	note_room_of(table, first - 1, &left);
	note_room_of(table, first, &right);
	known_place(&table->file)->leaf = right;
	known_place(&table->file)->may_divide = false;
}

/* What to note of a leaf that was found to have too little, so that nobody who wants that comes. */
static Size
room_left(const RowTable *table, Page page, Size wanted)
{
	Size		room = Min(row_leaf_room(table, page), wanted - ROOM_UNIT);

	if (room >= LEAST_ROOM)
		return room;
	return division(page) != 0 ? ROOM_IF_DIVIDED : 0;
}

/* A leaf that may have room, or could be divided to get some. */
static BlockNumber
find_roomy_leaf(RowTable *table, Size wanted, bool *may_divide)
{
	BlockNumber leaf = row_room_ops->find(table->visibility_arg, wanted);

	*may_divide = !BlockNumberIsValid(leaf);
	if (*may_divide)
		leaf = row_room_ops->find(table->visibility_arg, ROOM_IF_DIVIDED - ROOM_UNIT);
	return leaf;
}

/* The place has no more than that left: goes to another one, or back to the right edge. */
static void
leave_place(RowTable *table, Size room, Size wanted, int *misses)
{
	BlockNumber full = known_place(&table->file)->leaf;
	BlockNumber leaf = InvalidBlockNumber;
	bool		may_divide = false;

	if (row_room_ops != NULL && table->visibility_arg != NULL)
	{
		if (BlockNumberIsValid(full))
			row_room_ops->note(table->visibility_arg, full, room);
		if (++*misses <= MOST_MISSES)
			leaf = find_roomy_leaf(table, wanted, &may_divide);
	}

	/* what is called meanwhile may look at other files, and have forgotten this one */
	known_place(&table->file)->leaf = leaf;
	known_place(&table->file)->may_divide = may_divide;
}

void
place_next(RowTable *table, PoolFrame *leaf, Size bytes, int *misses)
{
	Size		wanted = Max(bytes, LEAST_ROOM);
	TreeKey		low = 0;
	RowId		divide = 0;
	bool		at_edge = false;
	Size		room = 0;

	if (leaf != NULL)
	{
		Page		page = pool_page(leaf);

		low = page_low_fence(page);
		at_edge = place_is_edge(page);
		room = room_left(table, page, wanted);
		divide = known_place(&table->file)->may_divide ? division(page) : empty_block(page);
		pool_unlatch(leaf);
	}
	if (divide != 0)
	{
		divide_place(table, divide);
		return;
	}
	leave_place(table, room, wanted, misses);
	if (at_edge && !BlockNumberIsValid(known_place(&table->file)->leaf))
		tree_append_leaf(&table->file, low);
}
