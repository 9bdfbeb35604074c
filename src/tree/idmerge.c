/*
 * idmerge.c
 *	  The tree of row ids: which pages become one, and moving cells between those that cannot.
 *
 * An empty leaf at the right edge waits for the next insert.  Rows may depend on page_xid, page_cid
 * and page_natts of their page, which the tree cannot rewrite: pages that differ in them stay
 * apart, unless one is empty.  No row depends on a page_xid of 0: such a page goes with any other
 * of the same page_natts (see row_free_page_xid).
 */
#include "postgres.h"

#include "access/transam.h"
#include "base/fault.h"
#include "tree/idtree.h"

/* A merged page has at least a sixteenth free, or it would soon be split again. */
#define MERGE_MAX_BYTES		(ROWAN_PAGE_ROOM - ROWAN_PAGE_ROOM / 16)

/* A leaf with less gets cells from a neighbour that it cannot be merged with. */
#define UNDERFULL_BYTES		(ROWAN_PAGE_ROOM / 4)

/* ---- may they be merged ---- */

static inline bool
is_leaf(Page page)
{
	return page_trailer(page)->type == ROWAN_PAGE_LEAF;
}

static inline bool
is_right_edge(Page page)
{
	return page_trailer(page)->high_fence == TREE_KEY_MAX;
}

/* Rows of either page mean the same on the other one. */
static bool
rows_are_compatible(Page left, Page right)
{
	PageTrailer l = page_trailer(left);
	PageTrailer r = page_trailer(right);

	if (!is_leaf(left))
		return true;
	return l->page_natts == r->page_natts &&
		(!TransactionIdIsValid(l->page_xid) || !TransactionIdIsValid(r->page_xid) ||
		 (l->page_xid == r->page_xid && l->page_cid == r->page_cid));
}

/* All keys of the leaf are within reach of a low fence. */
static bool
keys_within_span(Page page, TreeKey low_fence)
{
	int			nslots = page_nslots(page);

	return !is_leaf(page) || nslots == 0 ||
		leaf_last_key(page, nslots - 1) - low_fence < LEAF_KEY_SPAN;
}

/*
 * The leaf at the right edge must always be able to take the next key.  An empty
 * one waits for the next insert: it goes only into a page that has room for what will follow.
 */
static bool
may_become_right_edge(Page left, Page right)
{
	if (page_next_key(right) - page_low_fence(left) >= LEAF_KEY_SPAN)
		return false;
	return page_nslots(right) > 0 || page_packed_bytes(left) <= (int) (MERGE_MAX_BYTES / 2);
}

bool
id_may_merge(const TreeSearch *search, Page left, Page right, void *plan)
{
	int			left_slots = page_nslots(left);
	int			right_slots = page_nslots(right);

	if (is_leaf(left) && is_right_edge(right) && !may_become_right_edge(left, right))
		return false;
	if (right_slots == 0)
		return true;
	if (!keys_within_span(right, page_low_fence(left)))
		return false;
	if (left_slots == 0)
		return page_packed_bytes(right) <= (int) ROWAN_PAGE_ROOM;
	return rows_are_compatible(left, right) &&
		page_packed_bytes(left) + page_packed_bytes(right) <= (int) MERGE_MAX_BYTES;
}

/* ---- becoming one ---- */

static TransactionId
newer_xid(TransactionId a, TransactionId b)
{
	if (!TransactionIdIsValid(a))
		return b;
	if (!TransactionIdIsValid(b))
		return a;
	return TransactionIdFollows(a, b) ? a : b;
}

/*
 * PAGE_UNIFORM must hold for the rows of both pages; the other flags are warnings, and stay if
 * either page had them.  That includes warnings about row ids that are in neither any more.
 */
static uint16
join_flags(uint16 a, uint16 b)
{
	return (a & b & PAGE_UNIFORM) | ((a | b) & ~PAGE_UNIFORM);
}

/*
 * Rows of `from`, which is compatible, come to `to`: their creator comes along, if no row there
 * depends on another.
 */
static void
join_creator(PageTrailer to, const PageTrailerData *from)
{
	if (TransactionIdIsValid(to->page_xid))
		return;
	to->page_xid = from->page_xid;
	to->page_cid = from->page_cid;
}

/* The trailer fields that describe the rows, for all rows of both pages. */
static void
join_row_fields(Page left, Page right)
{
	PageTrailer to = page_trailer(left);
	PageTrailer from = page_trailer(right);

	to->flags = join_flags(to->flags, from->flags);
	if (page_nslots(right) == 0)
		return;
	if (page_nslots(left) == 0)
	{
		to->page_xid = from->page_xid;
		to->page_cid = from->page_cid;
		to->page_natts = from->page_natts;
		to->newest_xid = from->newest_xid;
		return;
	}
	join_creator(to, from);
	to->newest_xid = newer_xid(to->newest_xid, from->newest_xid);
}

/* The left page takes over cells, fence and link of the right one. */
void
id_absorb(const TreeSearch *search, Page left, Page right, void *plan)
{
	join_row_fields(left, right);
	page_append_cells(left, right, 0, page_nslots(right));
	page_trailer(left)->high_fence = page_trailer(right)->high_fence;
	page_trailer(left)->right_block = page_trailer(right)->right_block;
	if (page_trailer(right)->type == ROWAN_PAGE_LEAF &&
		page_trailer(right)->high_fence == TREE_KEY_MAX)
		page_set_next_key(left, page_next_key(right));
}

/* ---- moving cells ---- */

/* How the cells of two neighbours would best be divided. */
typedef struct Division
{
	int			boundary;		/* cells on the left, counted over both pages */
	int			left_bytes;
	int			right_bytes;
} Division;

/* As equal as possible; at least one cell on each side. */
static Division
balanced_division(Page left, Page right)
{
	int			left_slots = page_nslots(left);
	int			nslots = left_slots + page_nslots(right);
	int			total = page_packed_bytes(left) + page_packed_bytes(right);
	int			bytes = 0;
	Division	best = {0, 0, total};

	for (int n = 1; n < nslots; n++)
	{
		bytes += n <= left_slots ? page_slot_bytes(left, n - 1) :
			page_slot_bytes(right, n - 1 - left_slots);
		if (Max(bytes, total - bytes) < Max(best.left_bytes, best.right_bytes))
			best = (Division)
		{
			n, bytes, total - bytes
		};
	}
	return best;
}

static bool
may_redistribute(Page left, Page right)
{
	int			left_slots = page_nslots(left);
	int			smaller = Min(page_packed_bytes(left), page_packed_bytes(right));
	Division	division;

	if (!is_leaf(left) || is_right_edge(right) || !rows_are_compatible(left, right) ||
		left_slots == 0 || page_nslots(right) == 0 || smaller >= (int) UNDERFULL_BYTES)
		return false;
	division = balanced_division(left, right);
	if (Max(division.left_bytes, division.right_bytes) > (int) MERGE_MAX_BYTES ||
		Min(division.left_bytes, division.right_bytes) < 2 * smaller)
		return false;

	/* the low fences must reach all keys */
	if (division.boundary < left_slots)
		return keys_within_span(right, leaf_key(left, division.boundary));
	return division.boundary > left_slots &&
		leaf_last_key(right, division.boundary - left_slots - 1) - page_low_fence(left) <
		LEAF_KEY_SPAN;
}

/* The right page anew, beginning at the separator, with the cells that it shall have. */
static void
rebuild_right(Page right, Page old_right, TreeKey separator, Page left, int from_left,
			  int skip_right)
{
	PageTrailer trailer = page_trailer(right);

	page_delete_slots(right, 0, page_nslots(right));
	trailer->low_fence = separator;
	page_append_cells(right, left, page_nslots(left) - from_left, from_left);
	page_append_cells(right, old_right, skip_right, page_nslots(old_right) - skip_right);
}

/*
 * Evens out two leaves; both stay.  Changes parent, left, right.
 */
static void
redistribute(const PoolFile *file, PoolFrame *parent_frame, int slot, PoolFrame *left_frame,
			 PoolFrame *right_frame)
{
	Page		old_left = pool_page(left_frame);
	Page		old_right = pool_page(right_frame);
	int			left_slots = page_nslots(old_left);
	int			boundary = balanced_division(old_left, old_right).boundary;
	int			from_left = Max(left_slots - boundary, 0);
	int			from_right = Max(boundary - left_slots, 0);
	TreeKey		separator = from_left > 0 ? leaf_key(old_left, boundary) :
		leaf_key(old_right, from_right);
	PageChange	change;
	Page		parent,
				left,
				right;

	change_begin(&change, file);
	parent = change_page(&change, parent_frame, false);
	left = change_page(&change, left_frame, false);
	right = change_page(&change, right_frame, false);

	page_trailer(left)->flags = page_trailer(right)->flags =
		join_flags(page_trailer(old_left)->flags, page_trailer(old_right)->flags);
	page_trailer(left)->newest_xid = page_trailer(right)->newest_xid =
		newer_xid(page_trailer(old_left)->newest_xid, page_trailer(old_right)->newest_xid);
	join_creator(page_trailer(left), page_trailer(old_right));
	join_creator(page_trailer(right), page_trailer(old_left));
	rebuild_right(right, old_right, separator, old_left, from_left, from_right);
	if (from_left > 0)
		page_delete_slots(left, boundary, from_left);
	else
		page_append_cells(left, old_right, 0, from_right);
	page_trailer(left)->high_fence = separator;
	inner_set_key(parent, slot + 1, separator);
	FAULT_POINT(even_out_before_commit);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(even_out_after_commit);
}

bool
id_even_out(const TreeSearch *search, PoolFrame *parent_frame, int slot, PoolFrame *left_frame,
			PoolFrame *right_frame)
{
	if (!may_redistribute(pool_page(left_frame), pool_page(right_frame)))
		return false;
	redistribute(search->file, parent_frame, slot, left_frame, right_frame);
	return true;
}

bool
tree_merge_leaf(const PoolFile *file, TreeKey key)
{
	IdSearch	search;

	id_search_init(&search, file, key);
	return tree_merge(&search.search, NULL);
}
