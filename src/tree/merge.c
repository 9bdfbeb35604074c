/*
 * merge.c
 *	  Merging neighbours, moving cells between them, shrinking the tree.
 *
 * Neighbours under one parent become one page, which keeps the leftmost one's block;
 * the others are freed.  Changes parent, the pages from left to right, file header in one
 * PageChange, latched in that order.  An empty leaf goes into its left neighbour
 * where it has one: then no cell moves.  The first child of a parent is never the one that
 * goes, so a parent's low fence never changes and no inner page becomes empty.
 *
 * Rows may depend on page_xid, page_cid and page_natts of their page, which the tree
 * cannot rewrite: pages that differ in them stay apart, unless one is empty.
 */
#include "postgres.h"

#include "access/transam.h"
#include "base/fault.h"
#include "miscadmin.h"
#include "tree/descend.h"

/* A merged page has at least an eighth free, or it would soon be split again. */
#define MERGE_MAX_BYTES		(ROWAN_PAGE_ROOM - ROWAN_PAGE_ROOM / 8)

/* A leaf with less gets cells from a neighbour that it cannot be merged with. */
#define UNDERFULL_BYTES		(ROWAN_PAGE_ROOM / 4)

typedef enum MergeResult
{
	MERGE_NOTHING,
	MERGE_DONE,					/* a child is gone, or moved cells */
	MERGE_ONLY_CHILD			/* no neighbour under the same parent */
} MergeResult;

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

	return !is_leaf(left) ||
		(l->page_xid == r->page_xid && l->page_cid == r->page_cid &&
		 l->page_natts == r->page_natts);
}

/* All keys of the leaf are within reach of a low fence. */
static bool
keys_within_span(Page page, TreeKey low_fence)
{
	int			nslots = page_nslots(page);

	return !is_leaf(page) || nslots == 0 ||
		leaf_key(page, nslots - 1) - low_fence < LEAF_KEY_SPAN;
}

/*
 * The leaf at the right edge must always be able to take the next key.  An empty
 * one waits for the next insert: it goes only into a page that has room for what will follow.
 */
static bool
may_become_right_edge(Page left, Page right)
{
	if (page_trailer(right)->next_key - page_low_fence(left) >= LEAF_KEY_SPAN)
		return false;
	return page_nslots(right) > 0 || page_packed_bytes(left) <= (int) (MERGE_MAX_BYTES / 2);
}

static bool
may_merge(Page left, Page right)
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

/* ---- merging ---- */

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
 * PAGE_UNIFORM must hold for the rows of both pages; the other flags are warnings, and stay if either
 * page had them.  That includes warnings about row ids that are in neither any more.
 */
static uint16
join_flags(uint16 a, uint16 b)
{
	return (a & b & PAGE_UNIFORM) | ((a | b) & ~PAGE_UNIFORM);
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
	to->newest_xid = newer_xid(to->newest_xid, from->newest_xid);
}

/* In one change: parent, left page, file header, and these. */
#define MERGE_MAX_RIGHT		8

StaticAssertDecl(MERGE_MAX_RIGHT + 3 <= CHANGE_MAX_PAGES, "a merge is one change");

/* The left page takes over cells, fence and link of the right one. */
static void
absorb(Page left, Page right)
{
	join_row_fields(left, right);
	page_append_cells(left, right, 0, page_nslots(right));
	page_trailer(left)->high_fence = page_trailer(right)->high_fence;
	page_trailer(left)->right_block = page_trailer(right)->right_block;
	page_trailer(left)->next_key = page_trailer(right)->next_key;
}

/* Latches slot pos of the parent if it may go into the left page, too. */
static PoolFrame *
latch_if_mergeable(const PoolFile *file, Page parent, int pos, Page left)
{
	PoolFrame  *frame;

	if (pos >= page_nslots(parent))
		return NULL;
	frame = tree_latch_child(file, parent, pos);
	if (may_merge(left, pool_page(frame)))
		return frame;
	pool_unlatch(frame);
	return NULL;
}

/* Slots pos and pos + 1 of the parent become one child, and as many after them as there is room for. */
static void
merge_children(const PoolFile *file, PoolFrame *parent_frame, int pos, PoolFrame *left_frame,
			   PoolFrame *right_frame)
{
	PageChange	change;
	Page		parent,
				left;
	BlockNumber freed[MERGE_MAX_RIGHT];
	int			n = 0;

	change_begin(&change, file);
	parent = change_page(&change, parent_frame, false);
	left = change_page(&change, left_frame, false);
	do
	{
		absorb(left, change_page(&change, right_frame, false));
		freed[n++] = pool_block(right_frame);
	} while (n < MERGE_MAX_RIGHT &&
			 (right_frame = latch_if_mergeable(file, parent, pos + n + 1, left)) != NULL);
	page_delete_slots(parent, pos + 1, n);

	/* the file header's latch comes after those of all leaves */
	for (int i = 0; i < n; i++)
		space_free(&change, freed[i]);
	FAULT_POINT(merge_before_commit);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(merge_after_commit);
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
		leaf_key(right, division.boundary - left_slots - 1) - page_low_fence(left) < LEAF_KEY_SPAN;
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
redistribute(const PoolFile *file, PoolFrame *parent_frame, int pos, PoolFrame *left_frame,
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
	rebuild_right(right, old_right, separator, old_left, from_left, from_right);
	if (from_left > 0)
		page_delete_slots(left, boundary, from_left);
	else
		page_append_cells(left, old_right, 0, from_right);
	page_trailer(left)->high_fence = separator;
	inner_set_key(parent, pos + 1, separator);
	FAULT_POINT(even_out_before_commit);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(even_out_after_commit);
}

/* ---- who with whom ---- */

/* Children pos and pos + 1; the latch of the parent is given away. */
static MergeResult
look_at_pair(const PoolFile *file, PoolFrame *parent_frame, int pos)
{
	Page		parent = pool_page(parent_frame);
	PoolFrame  *left = tree_latch_child(file, parent, pos);
	PoolFrame  *right = tree_latch_child(file, parent, pos + 1);

	if (may_merge(pool_page(left), pool_page(right)))
		merge_children(file, parent_frame, pos, left, right);
	else if (may_redistribute(pool_page(left), pool_page(right)))
		redistribute(file, parent_frame, pos, left, right);
	else
	{
		pool_unlatch(right);
		pool_unlatch(left);
		pool_unlatch(parent_frame);
		return MERGE_NOTHING;
	}
	return MERGE_DONE;
}

/* Empty now; it may change until it is latched, which look_at_pair finds out. */
static bool
child_is_empty(const PoolFile *file, Page parent, int pos)
{
	PoolFrame  *frame = tree_latch_child(file, parent, pos);
	bool		empty = page_nslots(pool_page(frame)) == 0;

	pool_unlatch(frame);
	return empty;
}

/* Looks at the page of that level that covers key and a neighbour of it. */
static MergeResult
merge_once(const PoolFile *file, TreeKey key, int level)
{
	PoolFrame  *frame = tree_latch_page(file, key, level + 1, LW_EXCLUSIVE);
	Page		parent;
	int			nslots,
				pos;

	if (frame == NULL)
		return MERGE_NOTHING;
	parent = pool_page(frame);
	nslots = page_nslots(parent);
	if (nslots == 1)
	{
		pool_unlatch(frame);
		return MERGE_ONLY_CHILD;
	}
	pos = inner_search(parent, key);
	if (pos > 0 && (pos == nslots - 1 || child_is_empty(file, parent, pos)))
		pos--;
	return look_at_pair(file, frame, pos);
}

/*
 * A parent that has lost a child is looked at in its turn; so is one that has a single child,
 * since that child can have no neighbour otherwise.
 */
static bool
merge_level(const PoolFile *file, TreeKey key, int level)
{
	MergeResult result = merge_once(file, key, level);
	bool		above;

	if (result == MERGE_NOTHING)
		return false;
	CHECK_FOR_INTERRUPTS();
	above = merge_level(file, key, level + 1);
	if (result == MERGE_ONLY_CHILD && above)
		result = merge_once(file, key, level);
	return above || result == MERGE_DONE;
}

/* ---- the root ---- */

/*
 * A root with a single child takes over its content.  Changes root, child, file header.
 */
static bool
collapse_root(const PoolFile *file)
{
	PoolFrame  *root_frame = pool_latch(file, ROWAN_ROOT_BLOCK, LW_EXCLUSIVE);
	PoolFrame  *child_frame;
	PageChange	change;
	Page		root,
				child;

	if (is_leaf(pool_page(root_frame)) || page_nslots(pool_page(root_frame)) != 1)
	{
		pool_unlatch(root_frame);
		return false;
	}
	child_frame = tree_latch_child(file, pool_page(root_frame), 0);

	change_begin(&change, file);
	root = change_page(&change, root_frame, false);
	child = change_page(&change, child_frame, false);
	page_copy_content(root, child);
	space_free(&change, page_trailer(child)->self_block);
	FAULT_POINT(root_collapse_before_commit);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(root_collapse_after_commit);
	return true;
}

/* Looked at without a latch: collapse_root looks again. */
static bool
root_has_single_child(const PoolFile *file)
{
	PoolRead	read;
	bool		single;

	pool_read_begin(file, ROWAN_ROOT_BLOCK, 0, NULL, &read);
	single = !is_leaf(read.page) && page_nslots(read.page) == 1;
	return pool_read_end(&read) && single;
}

bool
tree_merge_leaf(const PoolFile *file, TreeKey key)
{
	bool		changed;

	pool_prepare_write();
	changed = merge_level(file, key, 0);
	while (root_has_single_child(file) && collapse_root(file))
		changed = true;
	return changed;
}
