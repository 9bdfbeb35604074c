/*
 * idsplit.c
 *	  The tree of row ids: where to divide a page, and what its halves hold.
 *
 * What is done with the halves is in split.c.
 */
#include "postgres.h"

#include "base/compat.h"
#include "tree/idtree.h"

/* What somebody wants of a leaf. */
typedef struct LeafWish
{
	bool		append;			/* an empty right neighbour for the rightmost leaf, if that has
								 * this low fence */
	TreeKey		low_fence;
	bool		at_key;			/* the key that is looked for to be a leaf's first */
	uint16		size;			/* room for a cell of this size */
	bool		aligned;
} LeafWish;

/* Cells from pos on go to the right page, whose low fence is the separator. */
typedef struct SplitPoint
{
	int			pos;
	TreeKey		separator;
} SplitPoint;

/* ---- where to split ---- */

static inline TreeKey
wished_key(const TreeWish *wish)
{
	return ((const IdSearch *) wish->search)->key;
}

/*
 * The cells from key on fit on a page of their own (packed anew they may take more room), and no
 * stubs that share a slot are on both sides: they would keep their slot, and half of their ids look
 * free on the new page.
 */
static bool
may_split_at(Page page, TreeKey key)
{
	int			first = leaf_search(page, key);
	int			bytes = 0;

	if (first > 0 && leaf_last_key(page, first - 1) >= key)
		return false;
	for (int pos = first; pos < page_nslots(page); pos++)
		bytes += page_slot_bytes(page, pos);
	return bytes <= (int) ROWAN_PAGE_ROOM;
}

bool
id_leaf_has_room(const TreeWish *wish, Page leaf)
{
	const LeafWish *want = wish->leaf;
	PageTrailer trailer = page_trailer(leaf);

	if (want->append)
		return trailer->low_fence != want->low_fence || trailer->next_delta == 0;
	if (want->at_key)
		return trailer->low_fence == wished_key(wish) || !may_split_at(leaf, wished_key(wish));
	return wished_key(wish) - trailer->low_fence < LEAF_KEY_SPAN &&
		page_fits_insert(leaf, want->size, want->aligned);
}

/* Bytes of a cell that does not exist yet, as page_slot_bytes counts. */
static int
wanted_bytes(const LeafWish *want)
{
	return sizeof(SlotData) + (want->aligned ? TYPEALIGN(8, want->size) : want->size);
}

/*
 * The first slot of the right page such that both pages, with the new cell on
 * its side, take as equal a number of bytes as possible; at least one cell stays
 * on each side.
 */
static int
balanced_slot(Page page, int new_pos, int new_bytes)
{
	int			nslots = page_nslots(page);
	int			packed = page_packed_bytes(page);
	int			left = 0;
	int			best = nslots - 1;
	int			best_difference = INT_MAX;

	for (int pos = 1; pos < nslots; pos++)
	{
		int			with_new;
		int			difference;

		left += page_slot_bytes(page, pos - 1);
		with_new = left + (new_pos <= pos ? new_bytes : 0);
		difference = abs(packed + new_bytes - 2 * with_new);

		/* packed anew, cells may take more room than they do where they are */
		if (packed - left <= (int) ROWAN_PAGE_ROOM && difference < best_difference)
		{
			best = pos;
			best_difference = difference;
		}
	}
	return best;
}

/*
 * Keys beyond all others get an empty page of their own, so that ascending inserts fill pages and
 * move nothing; so does a key too far from the low fence.  A new leaf at the right edge begins a
 * new logical block: whoever thinks in block numbers (BRIN, TABLESAMPLE, the visibility map) then
 * thinks in pages, and the ids in between serve rows that move within their leaf.
 */
static bool
choose_leaf_split(Page page, TreeKey key, const LeafWish *want, SplitPoint *at)
{
	int			nslots = page_nslots(page);
	int			pos = leaf_search(page, key);

	at->pos = nslots;
	if (want->append)
		at->separator = TYPEALIGN(ROWS_PER_LOGICAL_BLOCK, page_next_key(page));
	else if (want->at_key)
	{
		at->pos = pos;
		at->separator = key;
	}
	else if (pos == nslots)
		at->separator = nslots > 0 ? Max(key, leaf_last_key(page, nslots - 1) + 1) : key;
	else
	{
		int			new_pos = pos;
		int			new_bytes = wanted_bytes(want);

		/* a row that grows: what it will take more, on the side that it is on */
		if (leaf_key(page, pos) == key)
		{
			new_pos = pos + 1;
			new_bytes = Max(0, new_bytes - page_slot_bytes(page, pos));
		}
		at->pos = nslots > 1 ? balanced_slot(page, new_pos, new_bytes) : 0;
		at->separator = leaf_key(page, at->pos);
	}
	return at->separator > page_trailer(page)->low_fence;
}

/* At the right edge only one child moves: ascending keys leave full pages behind. */
static bool
choose_inner_split(Page page, TreeKey key, SplitPoint *at)
{
	int			nslots = page_nslots(page);
	bool		at_end = page_trailer(page)->high_fence == TREE_KEY_MAX &&
		inner_search(page, key) == nslots - 1;

	at->pos = at_end ? nslots - 1 : nslots / 2;
	at->separator = inner_key(page, at->pos);
	return at->pos > 0;
}

int
id_plan_split(const TreeWish *wish, Page page)
{
	const PoolFile *file = wish->search->file;
	const LeafWish *want = wish->leaf;
	bool		possible = wish->level > 0 ?
		choose_inner_split(page, wished_key(wish), wish->plan) :
		choose_leaf_split(page, wished_key(wish), want, wish->plan);

	/* A cell of the largest size fits on an empty page: not to be reached. */
	if (!possible)
		elog(ERROR, "cannot make room for %u bytes in block %u of relation %s",
			 wish->level > 0 ? (int) sizeof(InnerCellData) : want->size,
			 page_trailer(page)->self_block, file_path(file->locator, file->backend));
	return sizeof(InnerCellData);
}

/* ---- dividing ---- */

/*
 * Moves the cells from at->pos on, the fences and the link.  The cells that
 * stay do not move: their neighbours become dead bytes, which keeps the WAL record short.
 */
void
id_divide(const TreeWish *wish, Page left, Page right)
{
	const SplitPoint *at = wish->plan;
	PageTrailer from = page_trailer(left);
	PageTrailer to = page_trailer(right);
	int			count = page_nslots(left) - at->pos;

	to->low_fence = at->separator;
	to->high_fence = from->high_fence;
	to->right_block = from->right_block;
	if (from->type == ROWAN_PAGE_LEAF && from->high_fence == TREE_KEY_MAX)
		page_set_next_key(right, Max(page_next_key(left), at->separator));
	/* warnings about row ids of the range, even if they have no row any more */
	to->flags = from->flags & ~PAGE_UNIFORM;
	if (count > 0)
	{
		to->page_xid = from->page_xid;
		to->page_cid = from->page_cid;
		to->newest_xid = from->newest_xid;
		to->page_natts = from->page_natts;
		to->flags = from->flags;
		page_append_cells(right, left, at->pos, count);
		page_delete_slots(left, at->pos, count);
	}
	from->high_fence = at->separator;
	from->right_block = to->self_block;
	from->next_delta = 0;
}

void
id_add_child(const TreeWish *wish, Page parent, int slot, BlockNumber right)
{
	const SplitPoint *at = wish->plan;

	inner_insert(parent, slot, at->separator, right);
}

void
id_fill_root(const TreeWish *wish, Page root, BlockNumber left, BlockNumber right)
{
	page_trailer(root)->high_fence = TREE_KEY_MAX;
	inner_insert(root, 0, TREE_KEY_MIN, left);
	id_add_child(wish, root, 1, right);
}

/* ---- making room ---- */

static void
fulfil_leaf_wish(const PoolFile *file, TreeKey key, const LeafWish *want)
{
	IdSearch	search;
	SplitPoint	plan;
	TreeWish	wish = {.search = &search.search, .leaf = want, .plan = &plan};

	id_search_init(&search, file, key);
	tree_split(&wish);
}

void
tree_make_room(const PoolFile *file, TreeKey key, uint16 size, bool aligned)
{
	LeafWish	want = {.size = size, .aligned = aligned};

	fulfil_leaf_wish(file, key, &want);
}

void
tree_append_leaf(const PoolFile *file, TreeKey full_leaf_low_fence)
{
	LeafWish	want = {.append = true, .low_fence = full_leaf_low_fence};

	fulfil_leaf_wish(file, TREE_KEY_MAX - 1, &want);
}

void
tree_split_at(const PoolFile *file, TreeKey key)
{
	LeafWish	want = {.at_key = true};

	fulfil_leaf_wish(file, key, &want);
}
