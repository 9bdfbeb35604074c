/*
 * verify.c
 *	  Checks a whole file while others change it: the walk through the tree.
 *
 * The tree is walked in key order, by a path of copies.  The next child is read, and believed if
 * its parent's frame still has the version that the parent was copied at; otherwise the walk begins
 * again at the root, at the cursor. What splits and merges move between pages is on the page that
 * the cursor is on then, whole.  (I-TREE-2: there is exactly one for each level and key.)
 *
 * Holds no latch but that of a page being copied and, after several failures, its parent's, which
 * come in this order. Changes nothing, and goes on after each problem as far as it can.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tree/verification.h"
#include "utils/memutils.h"

/* So often a page that changes is looked at beside its right sibling. */
#define LINK_ATTEMPTS	20

void
verification_report(Verification *v, BlockNumber block, const char *message)
{
	v->problems++;
	v->how->report(block, message, v->how->arg);
}

void
verification_report_page(Verification *v, const PageCopy *copy, const char *message)
{
	if (message != copy->damage.message || v->how->damaged == NULL)
	{
		verification_report(v, copy->block, message);
		return;
	}
	v->problems++;
	v->how->damaged(copy->block, &copy->damage, v->how->arg);
}

void
verification_reach(Verification *v, BlockNumber block)
{
	if (block < v->nblocks)
		v->reached[block] = 1;
}

void
verification_meet(Verification *v, PageCopy *copy)
{
	if (v->how->met != NULL)
		v->how->met(copied_page(copy), copy->block, v->how->arg);
}

static bool
was_reached(const Verification *v, BlockNumber block)
{
	return block < v->nblocks && v->reached[block];
}

/* ---- copies ---- */

/*
 * The copy is to be believed only if *read, which the caller ends, is valid.  False: the page is
 * damaged, and no read is begun.
 */
static bool
begin_copy(Verification *v, BlockNumber block, int attempt, PoolRing *ring, PageCopy *copy,
		   PoolRead *read)
{
	copy->block = block;
	copy->damage.message = NULL;
	if (!pool_read_begin_checked(v->file, block, attempt, ring, read, &copy->damage))
	{
		memset(copy->bytes.data, 0, BLCKSZ);
		copy->frame = NULL;
		copy->version = 0;
		return false;
	}
	memcpy(copy->bytes.data, read->page, BLCKSZ);
	copy->frame = read->frame;
	copy->version = read->version;
	return true;
}

void
verification_copy(Verification *v, BlockNumber block, PageCopy *copy)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;

		CHECK_FOR_INTERRUPTS();
		if (!begin_copy(v, block, attempt, &v->ring, copy, &read) || pool_read_end(&read))
			return;
	}
}

static bool
is_unchanged(const PageCopy *copy)
{
	if (copy->frame == NULL)
		return true;
	pg_read_barrier();
	return pg_atomic_read_u64(&copy->frame->version) == copy->version;
}

bool
verification_stands(const PageCopy *copy)
{
	bool		unchanged = is_unchanged(copy);

	/* it is going to be asked for again */
	if (unchanged && copy->frame != NULL)
		pool_mark_referenced(copy->frame);
	return unchanged;
}

const char *
verification_problem(Verification *v, PageCopy *copy)
{
	const char *message = copy->damage.message;

	if (message == NULL)
		message = page_check(copied_page(copy), copy->block);
	if (message == NULL && v->has_header && copied_trailer(copy)->file_id != v->header.file_id)
		message = "page belongs to another file";
	return message;
}

bool
verification_in_use(Verification *v, BlockNumber block)
{
	FileHeaderData header;

	if (block < v->high_water)
		return true;
	if (block == InvalidBlockNumber || !v->has_header)
		return false;
	space_read_header(v->file, &header);
	v->high_water = Max(v->high_water, header.high_water);
	return block < v->high_water;
}

/* ---- the path ---- */

static PathPage *
path_page(Verification *v, int depth)
{
	if (v->path[depth] == NULL)
		v->path[depth] = palloc0(sizeof(PathPage));
	return v->path[depth];
}

static bool
is_inner_page(const Verification *v, Page page)
{
	return page_trailer(page)->type == v->kind->inner_type;
}

/* The child is none of the file's, or one that we come from. */
static bool
is_impossible_child(Verification *v, BlockNumber block)
{
	if (block <= ROWAN_ROOT_BLOCK || !verification_in_use(v, block))
		return true;
	for (int depth = 0; depth <= v->depth; depth++)
		if (v->path[depth]->copy.block == block)
			return true;
	return false;
}

/* Where to go from the last page of the path; InvalidBlockNumber: no further. */
static BlockNumber
child_at_cursor(Verification *v, int level)
{
	PathPage   *at = v->path[v->depth];
	Page		page = copied_page(&at->copy);
	BlockNumber child;

	if (v->depth + 1 == VERIFY_MAX_DEPTH || verification_problem(v, &at->copy) != NULL ||
		!is_inner_page(v, page) || page_trailer(page)->level <= level)
		return InvalidBlockNumber;
	if (v->depth > 0 &&
		page_trailer(page)->level != copied_trailer(&v->path[v->depth - 1]->copy)->level - 1)
		return InvalidBlockNumber;
	at->slot = v->kind->slot_at_cursor(page, v->kind_arg);
	if (at->slot < v->kind->first_slot)
		return InvalidBlockNumber;
	child = v->kind->child_of_slot(page, at->slot, v->kind_arg);
	return is_impossible_child(v, child) ? InvalidBlockNumber : child;
}

/*
 * One attempt; false: something changed.  Each page was copied while its parent was what our copy
 * of it says.
 */
static bool
try_descent(Verification *v, int level, int attempt)
{
	PoolRead	read;

	v->depth = 0;
	if (!begin_copy(v, ROWAN_ROOT_BLOCK, attempt, NULL, &path_page(v, 0)->copy, &read))
		return true;
	while (pool_read_valid(&read))
	{
		PoolRead	child_read;
		BlockNumber child = child_at_cursor(v, level);
		bool		sound;

		if (child == InvalidBlockNumber)
			return pool_read_end(&read);
		sound = begin_copy(v, child, attempt, NULL, &path_page(v, v->depth + 1)->copy, &child_read);
		if (!pool_read_end(&read))
		{
			if (sound)
				pool_read_end(&child_read);
			return false;
		}
		v->depth++;
		if (!sound)
			return true;
		read = child_read;
	}
	pool_read_end(&read);
	return false;
}

/*
 * Makes the path lead to the page of that level that the cursor is on; it ends earlier where that
 * makes no sense.
 */
static void
descend(Verification *v, int level)
{
	for (int attempt = 0; !try_descent(v, level, attempt); attempt++)
		CHECK_FOR_INTERRUPTS();
}

bool
verification_leads_to(Verification *v, int level, BlockNumber block)
{
	PageCopy   *last;

	descend(v, level);
	last = &v->path[v->depth]->copy;
	return last->block == block && copied_trailer(last)->level == level;
}

bool
verification_is_cut(Verification *v)
{
	return verification_problem(v, &v->path[v->depth]->copy) != NULL;
}

/* ---- pages of the tree ---- */

/* A page copied at one moment with its right sibling: are they neighbours? */
static void
check_right_of(Verification *v, PageCopy *page, PageCopy *right)
{
	PageTrailer trailer = copied_trailer(page);

	if (page_check(copied_page(right), right->block) != NULL ||
		copied_trailer(right)->type != trailer->type ||
		copied_trailer(right)->level != trailer->level ||
		!v->kind->fences_meet(copied_page(page), copied_page(right), v->kind_arg))
		verification_report(v, page->block, "right sibling is not the page that follows");
}

/*
 * Looks at a page together with its right sibling.  If it has changed since, it is copied again: as
 * long as it is of that level, it has a right sibling.
 */
static void
check_right(Verification *v, PageCopy *page)
{
	PageCopy   *right = &v->scratch[0];
	PageTrailer trailer = copied_trailer(page);
	uint8		type = trailer->type;
	uint8		level = trailer->level;

	for (int attempt = 0; attempt < LINK_ATTEMPTS; attempt++)
	{
		BlockNumber block = trailer->right_block;

		if (trailer->type != type || trailer->level != level || block == InvalidBlockNumber)
			return;
		if (!verification_in_use(v, block))
		{
			verification_report(v, page->block, "right sibling lies beyond the pages in use");
			return;
		}
		verification_copy(v, block, right);
		if (verification_stands(page))
		{
			if (right->damage.message == NULL)
				check_right_of(v, page, right);
			return;
		}
		verification_copy(v, page->block, &v->scratch[1]);
		page = &v->scratch[1];
		trailer = copied_trailer(page);
		if (verification_problem(v, page) != NULL)
			return;				/* it is looked at as a page of its own */
	}
}

/*
 * The page visited before on the same level should be its left neighbour, and still have been there
 * when this one was copied: then nothing need be read again.
 */
static void
check_left(Verification *v, PageCopy *copy)
{
	PageCopy  **before = &v->before[copied_trailer(copy)->level];

	if (*before == NULL)
		*before = palloc(sizeof(PageCopy));
	else if ((*before)->block != copy->block &&
			 (copied_trailer(*before)->right_block != copy->block || !is_unchanged(*before) ||
			  !v->kind->fences_meet(copied_page(*before), copied_page(copy), v->kind_arg)))
		check_right(v, *before);
	memcpy(*before, copy, sizeof(PageCopy));
}

/* What is wrong with its place in the tree, but for its fences, or NULL. */
static const char *
misplacement(const Verification *v, PageTrailer trailer, const PageTrailerData *parent)
{
	if (trailer->type != v->kind->inner_type && trailer->type != v->kind->leaf_type)
		return "page in the tree has another type";
	if ((trailer->type == v->kind->leaf_type) != (trailer->level == 0) ||
		(parent != NULL && trailer->level != parent->level - 1))
		return "page has a wrong level";
	if (trailer->level >= VERIFY_MAX_DEPTH)
		return "page has an impossible level";
	return NULL;
}

/*
 * The page at that depth, which was copied while its parent was what our copy of it says.  False:
 * it leads nowhere.
 */
static bool
visit_page(Verification *v, int depth)
{
	PageCopy   *copy = &v->path[depth]->copy;
	PathPage   *above = depth > 0 ? v->path[depth - 1] : NULL;
	bool		reached = was_reached(v, copy->block);
	const char *message = verification_problem(v, copy);

	verification_reach(v, copy->block);
	if (message == NULL)
		message = misplacement(v, copied_trailer(copy),
							   above ? copied_trailer(&above->copy) : NULL);
	if (message != NULL)
	{
		verification_report_page(v, copy, message);
		return false;
	}
	if (!v->kind->check_fences(v, above ? copied_page(&above->copy) : NULL, above ? above->slot : 0,
							   copied_page(copy), v->kind_arg) && reached)
	{
		verification_report(v, copy->block, "block is referenced twice");
		return false;
	}
	if (!v->kind->check_page(v, copied_page(copy), v->kind_arg))
		return false;
	check_left(v, copy);
	verification_meet(v, copy);
	return true;
}

/* ---- the walk ---- */

/*
 * A page without children to visit (a leaf, or one that leads nowhere) ends the path.  Where there
 * is no page at all, its place is at the end of the path, and nobody looks at it.
 */
static void
skip_child(Verification *v)
{
	PathPage   *at = v->path[v->depth];

	verification_report(v, at->copy.block, "a child of it is impossible");
	(void) path_page(v, ++v->depth);
}

/* Visits all pages from the root to the one that the cursor is on. */
static void
visit_path(Verification *v)
{
	int			last;

	descend(v, 0);
	last = v->depth;
	for (int depth = 0; depth <= last; depth++)
	{
		if (!visit_page(v, depth))
		{
			v->depth = depth;
			return;
		}
	}
	if (is_inner_page(v, copied_page(&v->path[last]->copy)))
		skip_child(v);
}

/*
 * Goes up from the end of the path, to the first page that has another child.  False: there is
 * none.
 */
static bool
next_child(Verification *v)
{
	while (v->depth > 0)
	{
		PathPage   *at = v->path[--v->depth];
		Page		page = copied_page(&at->copy);

		v->kind->cursor_past_child(page, at->slot, v->kind_arg);
		if (++at->slot < page_nslots(page))
			return true;
	}
	return false;
}

/*
 * Visits the child of the last page's slot, its first child, and so on.  False: something changed.
 */
static bool
visit_down(Verification *v)
{
	for (;;)
	{
		PathPage   *at = v->path[v->depth];
		PathPage   *below = path_page(v, v->depth + 1);
		BlockNumber child = v->kind->child_of_slot(copied_page(&at->copy), at->slot, v->kind_arg);

		if (is_impossible_child(v, child))
		{
			skip_child(v);
			return true;
		}
		verification_copy(v, child, &below->copy);
		if (!verification_stands(&at->copy))
			return false;
		v->depth++;
		if (!visit_page(v, v->depth) || !is_inner_page(v, copied_page(&below->copy)))
			return true;
		below->slot = v->kind->first_slot;
	}
}

static void
walk_tree(Verification *v)
{
	bool		stands = false;

	v->kind->cursor_to_start(v->kind_arg);
	for (;;)
	{
		if (!stands)
			visit_path(v);
		if (!next_child(v))
			break;
		stands = visit_down(v);
	}
	for (int level = 0; level < VERIFY_MAX_DEPTH; level++)
		if (v->before[level] != NULL)
			check_right(v, v->before[level]);
}

/* ---- row ids as keys ---- */

static TreeKey
end_of_child(Page parent, int slot)
{
	return slot + 1 < page_nslots(parent) ? inner_key(parent, slot + 1) :
		page_trailer(parent)->high_fence;
}

static bool
id_check_page(Verification *v, Page page, void *arg)
{
	PageTrailer trailer = page_trailer(page);

	if ((trailer->high_fence == TREE_KEY_MAX) != (trailer->right_block == InvalidBlockNumber))
		verification_report(v, trailer->self_block, "right sibling does not fit the high fence");
	if (trailer->type == ROWAN_PAGE_LEAF && v->how->leaf_check != NULL)
		v->how->leaf_check(page, trailer->self_block, v->how->arg);
	return true;
}

static bool
id_check_fences(Verification *v, Page parent, int slot, Page page, void *arg)
{
	PageTrailer trailer = page_trailer(page);
	bool		low_fits = trailer->low_fence == (parent ? inner_key(parent, slot) : TREE_KEY_MIN);
	bool		high_fits = trailer->high_fence ==
		(parent ? end_of_child(parent, slot) : TREE_KEY_MAX);

	if (!low_fits)
		verification_report(v, trailer->self_block, "low fence differs from the parent's separator");
	if (!high_fits)
		verification_report(v, trailer->self_block, "high fence differs from the parent's separator");
	return low_fits && high_fits;
}

static bool
id_fences_meet(Page left, Page right, void *arg)
{
	return page_trailer(left)->high_fence == page_trailer(right)->low_fence;
}

static BlockNumber
id_child_of_slot(Page page, int slot, void *arg)
{
	return inner_child(page, slot);
}

static int
id_slot_at_cursor(Page page, void *arg)
{
	return inner_search(page, ((Verification *) arg)->cursor);
}

static void
id_cursor_to_start(void *arg)
{
	((Verification *) arg)->cursor = TREE_KEY_MIN;
}

static void
id_cursor_past_child(Page page, int slot, void *arg)
{
	TreeKey		end = end_of_child(page, slot);

	if (end != TREE_KEY_MAX)
		((Verification *) arg)->cursor = end;
}

static bool
id_cursor_to_page(Page page, void *arg)
{
	((Verification *) arg)->cursor = page_trailer(page)->low_fence;
	return true;
}

static const VerifyKind id_kind = {
	.tree_kind = ROWAN_TREE_TABLE,
	.leaf_type = ROWAN_PAGE_LEAF,
	.inner_type = ROWAN_PAGE_INNER,
	.first_slot = 0,
	.check_page = id_check_page,
	.check_fences = id_check_fences,
	.fences_meet = id_fences_meet,
	.child_of_slot = id_child_of_slot,
	.slot_at_cursor = id_slot_at_cursor,
	.cursor_to_start = id_cursor_to_start,
	.cursor_past_child = id_cursor_past_child,
	.cursor_to_page = id_cursor_to_page
};

/* ---- the file ---- */

typedef struct ExistsQuestion
{
	const PoolFile *file;
	bool		exists;
} ExistsQuestion;

static void
ask_exists(void *arg)
{
	ExistsQuestion *question = arg;

	question->exists = tree_exists(question->file);
}

/* A file whose first pages cannot be read exists. */
static bool
file_exists(const PoolFile *file)
{
	ExistsQuestion question = {.file = file, .exists = true};
	PoolDamage	damage;

	(void) pool_catch_damage(ask_exists, &question, &damage);
	return question.exists;
}

static const char *
header_problem(Verification *v, PageCopy *copy)
{
	const char *message = copy->damage.message;

	if (message == NULL)
		message = page_check(copied_page(copy), ROWAN_HEADER_BLOCK);
	if (message == NULL && copied_trailer(copy)->type != ROWAN_PAGE_HEADER)
		message = "block 0 is not a file header";
	if (message == NULL && (v->header.page_size_kb != BLCKSZ / 1024 ||
							v->header.tree_kind != v->kind->tree_kind))
		message = "file header has an unknown page size or tree kind";
	if (message == NULL && (v->header.high_water <= ROWAN_ROOT_BLOCK ||
							v->header.high_water > pool_file_blocks(v->file)))
		message = "file is shorter than the pages in use";
	return message;
}

/*
 * The file's length is asked after the header was copied: it grows before high_water does.  Without
 * a header the tree can be walked all the same; the header leads to the lists.
 */
static void
check_file_header(Verification *v)
{
	PageCopy   *copy = &v->scratch[0];
	const char *message;

	verification_copy(v, ROWAN_HEADER_BLOCK, copy);
	v->header = *file_header(copied_page(copy));
	message = header_problem(v, copy);
	v->has_header = message == NULL;
	if (message != NULL)
		verification_report_page(v, copy, message);
	v->nblocks = v->high_water = v->has_header ? v->header.high_water : pool_file_blocks(v->file);
}

static void
check_file(Verification *v)
{
	check_file_header(v);
	v->reached = palloc_extended(Max(v->nblocks, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	verification_reach(v, ROWAN_HEADER_BLOCK);
	walk_tree(v);
	if (v->has_header)
	{
		verification_lists(v);
		verification_strays(v);
	}
	pfree(v->reached);
}

uint64
tree_verify(const PoolFile *file, const TreeVerify *how)
{
	Verification *v = palloc0(sizeof(Verification));
	uint64		problems;

	v->file = file;
	v->how = how;
	v->kind = how->kind != NULL ? how->kind : &id_kind;
	v->kind_arg = how->kind != NULL ? how->kind_arg : v;
	if (file_exists(file))
		check_file(v);
	problems = v->problems;
	for (int depth = 0; depth < VERIFY_MAX_DEPTH; depth++)
	{
		if (v->path[depth] != NULL)
			pfree(v->path[depth]);
		if (v->before[depth] != NULL)
			pfree(v->before[depth]);
	}
	pfree(v);
	return problems;
}
