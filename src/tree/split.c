/*
 * split.c
 *	  Splitting pages: making room in leaves, appending leaves, growing the root.
 *
 * A split changes parent, page, new page and file header (and the root split:
 * root, two new pages, file header) in one PageChange, latched in that order.  A parent
 * without room is split first, in a change of its own, after which the search starts
 * anew: no latch is ever held while waiting for one higher up.
 *
 * Readers see the tree before or after a split, never in between; between two changes
 * the tree is complete, so there is nothing to repair after a crash.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/fault.h"
#include "miscadmin.h"
#include "tree/descend.h"

/* What somebody wants of a page; the page is found by level and key. */
typedef struct SplitWish
{
	int			level;
	TreeKey		key;
	bool		append;			/* leaf: an empty right neighbour for the rightmost
								 * leaf, if that has this low fence */
	TreeKey		low_fence;
	uint16		size;			/* leaf: room for a cell of this size */
	bool		aligned;
} SplitWish;

/* Cells from pos on go to the right page, whose low fence is the separator. */
typedef struct SplitPoint
{
	int			pos;
	TreeKey		separator;
} SplitPoint;

/* ---- where to split ---- */

static bool
has_room_for_child(Page page)
{
	return page_fits_insert(page, sizeof(InnerCellData), false);
}

static bool
wish_is_fulfilled(Page page, const SplitWish *wish)
{
	PageTrailer trailer = page_trailer(page);

	if (wish->append)
		return trailer->low_fence != wish->low_fence ||
			trailer->next_key <= trailer->low_fence;
	if (wish->level > 0)
		return has_room_for_child(page);
	return wish->key - trailer->low_fence < LEAF_KEY_SPAN &&
		page_fits_insert(page, wish->size, wish->aligned);
}

/* Bytes of a cell that does not exist yet, as page_slot_bytes counts. */
static int
wish_bytes(const SplitWish *wish)
{
	return sizeof(SlotData) + (wish->aligned ? TYPEALIGN(8, wish->size) : wish->size);
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
 * Keys beyond all others get an empty page of their own, so that ascending inserts fill
 * pages and move nothing; so does a key too far from the low fence.  A new leaf at the right edge begins a
 * new logical block: whoever thinks in block numbers (BRIN, TABLESAMPLE, the visibility map) then thinks in pages,
 * and the ids in between serve rows that move within their leaf.
 */
static bool
choose_leaf_split(Page page, const SplitWish *wish, SplitPoint *at)
{
	int			nslots = page_nslots(page);
	int			pos = leaf_search(page, wish->key);

	at->pos = nslots;
	if (wish->append)
		at->separator = TYPEALIGN(ROWS_PER_LOGICAL_BLOCK, page_trailer(page)->next_key);
	else if (pos == nslots)
		at->separator = wish->key;
	else
	{
		int			new_pos = pos;
		int			new_bytes = wish_bytes(wish);

		/* a row that grows: what it will take more, on the side that it is on */
		if (leaf_key(page, pos) == wish->key)
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
choose_inner_split(Page page, const SplitWish *wish, SplitPoint *at)
{
	int			nslots = page_nslots(page);
	bool		at_end = page_trailer(page)->high_fence == TREE_KEY_MAX &&
		inner_search(page, wish->key) == nslots - 1;

	at->pos = at_end ? nslots - 1 : nslots / 2;
	at->separator = inner_key(page, at->pos);
	return at->pos > 0;
}

static void
choose_split(const PoolFile *file, Page page, const SplitWish *wish, SplitPoint *at)
{
	bool		possible = wish->level > 0 ? choose_inner_split(page, wish, at) :
		choose_leaf_split(page, wish, at);

	/* A cell of the largest size fits on an empty page: not to be reached. */
	if (!possible)
		elog(ERROR, "cannot make room for %u bytes in block %u of relation %s",
			 wish->size, page_trailer(page)->self_block,
			 compat_path(file->node, file->backend));
}

/* ---- splitting ---- */

/*
 * Moves the cells from at->pos on, the fences and the link.  The cells that
 * stay do not move: their neighbours become dead bytes, which keeps the WAL record short.
 */
static void
split_cells(Page left, Page right, BlockNumber right_block, const SplitPoint *at)
{
	PageTrailer from = page_trailer(left);
	PageTrailer to = page_trailer(right);
	int			count = page_nslots(left) - at->pos;

	to->low_fence = at->separator;
	to->high_fence = from->high_fence;
	to->right_block = from->right_block;
	if (from->type == ROWAN_PAGE_LEAF && from->high_fence == TREE_KEY_MAX)
		to->next_key = Max(from->next_key, at->separator);
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
	from->right_block = right_block;
	from->next_key = 0;
}

/*
 * Splits a page below a parent that has room for another child.  Changes
 * parent, page, new page, file header.
 */
static void
split_child(const PoolFile *file, PoolFrame *parent_frame, int parent_pos, PoolFrame *frame,
			const SplitPoint *at)
{
	PageChange	change;
	Page		parent,
				left,
				right;
	BlockNumber right_block;

	change_begin(&change, file);
	parent = change_page(&change, parent_frame, false);
	left = change_page(&change, frame, false);
	right = space_alloc(&change, page_trailer(left)->type, page_trailer(left)->level,
						&right_block);
	split_cells(left, right, right_block, at);
	inner_insert(parent, parent_pos + 1, at->separator, right_block);
	FAULT_POINT(split_before_commit);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(split_after_commit);
}

/*
 * Moves the root's content to two new pages below it.  Changes root, file
 * header, both new pages.
 */
static void
split_root(const PoolFile *file, PoolFrame *root_frame, const SplitPoint *at)
{
	PageChange	change;
	Page		root,
				left,
				right;
	BlockNumber left_block,
				right_block;
	uint8		type,
				level;

	change_begin(&change, file);
	root = change_page(&change, root_frame, false);
	type = page_trailer(root)->type;
	level = page_trailer(root)->level;
	left = space_alloc(&change, type, level, &left_block);
	right = space_alloc(&change, type, level, &right_block);
	page_copy_content(left, root);
	split_cells(left, right, right_block, at);

	page_reset(root, ROWAN_PAGE_INNER, level + 1);
	page_trailer(root)->high_fence = TREE_KEY_MAX;
	inner_insert(root, 0, TREE_KEY_MIN, left_block);
	inner_insert(root, 1, at->separator, right_block);
	FAULT_POINT(root_split_before_commit);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(root_split_after_commit);
}

/*
 * One attempt at a page that has a parent; false: start again, after
 * making room in the parent.
 */
static bool
fulfil_below(const PoolFile *file, PoolFrame *parent_frame, const SplitWish *wish)
{
	Page		parent = pool_page(parent_frame);
	int			pos = inner_search(parent, wish->key);
	PoolFrame  *frame = tree_latch_child(file, parent, pos);
	Page		page = pool_page(frame);
	bool		fulfilled = wish_is_fulfilled(page, wish);
	bool		parent_has_room = has_room_for_child(parent);
	SplitPoint	at;

	if (!fulfilled && parent_has_room)
	{
		choose_split(file, page, wish, &at);
		split_child(file, parent_frame, pos, frame, &at);
		return true;
	}
	pool_unlatch(frame);
	pool_unlatch(parent_frame);
	return fulfilled;
}

/* One attempt at a page without a parent; false: it has got one meanwhile. */
static bool
fulfil_at_root(const PoolFile *file, const SplitWish *wish)
{
	PoolFrame  *frame = tree_latch_page(file, wish->key, wish->level, LW_EXCLUSIVE);
	SplitPoint	at;

	if (frame == NULL)
		return true;			/* the tree has shrunk below this level */
	if (pool_block(frame) == ROWAN_ROOT_BLOCK && !wish_is_fulfilled(pool_page(frame), wish))
	{
		choose_split(file, pool_page(frame), wish, &at);
		split_root(file, frame, &at);
		return true;
	}
	else
	{
		bool		fulfilled = wish_is_fulfilled(pool_page(frame), wish);

		pool_unlatch(frame);
		return fulfilled;
	}
}

static void
fulfil(const PoolFile *file, const SplitWish *wish)
{
	for (;;)
	{
		PoolFrame  *parent = tree_latch_page(file, wish->key, wish->level + 1, LW_EXCLUSIVE);
		SplitWish	above = {.level = wish->level + 1,.key = wish->key};

		if (parent == NULL)
		{
			if (fulfil_at_root(file, wish))
				return;
		}
		else
		{
			if (fulfil_below(file, parent, wish))
				return;
			fulfil(file, &above);
		}
		CHECK_FOR_INTERRUPTS();
	}
}

void
tree_make_room(const PoolFile *file, TreeKey key, uint16 size, bool aligned)
{
	SplitWish	wish = {.key = key,.size = size,.aligned = aligned};

	pool_prepare_write();
	fulfil(file, &wish);
}

void
tree_append_leaf(const PoolFile *file, TreeKey full_leaf_low_fence)
{
	SplitWish	wish = {.key = TREE_KEY_MAX - 1,.append = true,.low_fence = full_leaf_low_fence};

	pool_prepare_write();
	fulfil(file, &wish);
}
