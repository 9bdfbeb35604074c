/*
 * kind.h
 *	  One tree, two kinds of keys: what a kind says, and what the tree does with it.
 *
 * The tree knows how pages hang together: descents, latches and their order, splits, merges,
 * growing and shrinking at the root, each one PageChange.  A kind knows what its pages are ordered
 * by: which child covers what is looked for, where to divide a page, what the halves hold.  The
 * kinds are row ids (seek.c, idsplit.c, idmerge.c) and index entries (src/entry/entry_tree.h).
 *
 * What a kind's function may do depends on when it is called:
 *
 * In a descent: may_cover, find_child, note_parent.  No latch: the bytes may be changing.  Whatever
 * they are, nothing is read out of bounds; errors are raised only about a read that was found
 * valid, after ending it.
 *
 * With latches held: covers, leaf_has_room, plan_split, even_out.  May raise errors, which let go
 * of all latches.
 *
 * With a change open: divide, add_child, fill_root, set_child, absorb, leaf_moves; may_merge,
 * child_of_slot and is_child too, since a merge goes on from neighbour to neighbour.  May raise
 * errors (shared pages are still as they were), but must not run comparison functions: users may
 * have written them, and there can be only one change at a time (I-IDX-12).
 */
#ifndef ROWAN_TREE_KIND_H
#define ROWAN_TREE_KIND_H

#include "pool/change.h"
#include "pool/pool.h"
#include "tree/page.h"

typedef struct TreeKind TreeKind;

/*
 * What is looked for, and in which file.  The first member of a kind's own search (IdSearch,
 * EntrySearch), which has the key.
 */
typedef struct TreeSearch
{
	const TreeKind *kind;
	const PoolFile *file;
} TreeSearch;

/* A child of an inner page. */
typedef struct TreeChild
{
	int			slot;			/* negative: the page has none, or its bytes make no sense */
	BlockNumber block;
	int			likely_slot;	/* where on the child the key probably is, to be prefetched;
								 * negative: unknown */
} TreeChild;

/* What room is wanted on a page, and what the kind plans to make it. */
typedef struct TreeWish
{
	const TreeSearch *search;	/* the page is the one of the level that covers this */
	int			level;
	int			room;			/* inner page: bytes of a child's cell */
	const void *leaf;			/* leaf: the kind's own wish */
	void	   *plan;			/* plan_split writes the kind's plan here, divide and the others
								 * follow it */
} TreeWish;

struct TreeKind
{
	uint8		leaf_type;		/* ROWAN_PAGE_* */
	uint8		inner_type;
	int			first_slot;		/* slots before it hold fences */

	/* ---- finding pages ---- */

	/*
	 * Is it the page of that level that covers what is looked for?  may_cover is asked of bytes
	 * that may be changing, and may say true of a page that is not; covers is asked of a page
	 * that does not change, and decides.
	 */
	bool		(*may_cover) (const TreeSearch *search, Page page, int level);
	bool		(*covers) (const TreeSearch *search, Page page, int level);

	/*
	 * The child of an inner page that covers what is looked for.  read: the page may be
	 * changing, and the result be nonsense then, so the caller checks the read before following
	 * it; NULL: the page does not change.
	 */
	void		(*find_child) (const TreeSearch *search, Page page, PoolRead *read,
							   TreeChild *child);

	/*
	 * Optional, to begin a descent to a leaf further down than at the root.  recall_parent
	 * begins a read of an inner page of level 1 that covers what is looked for, if one is
	 * remembered that has not changed since; note_parent remembers one, by the version of its
	 * frame: the page may have changed since the read began, then that version never comes
	 * again.
	 */
	bool		(*recall_parent) (const TreeSearch *search, PoolRead *read);
	void		(*note_parent) (const TreeSearch *search, const PoolRead *read);

	/*
	 * Latches the page of that level that covers what is looked for; NULL if the tree is not
	 * that high.
	 */
	PoolFrame  *(*latch) (const TreeSearch *search, int level, LWLockMode mode);

	/*
	 * The child of a slot of a latched inner page; is a latched page what the parent says of
	 * that child (level, fences)?
	 */
	BlockNumber (*child_of_slot) (const TreeSearch *search, Page parent, int slot);
	bool		(*is_child) (const TreeSearch *search, Page parent, int slot, Page page);

	/* ---- splitting ---- */

	/* The latched leaf fulfils the wish. */
	bool		(*leaf_has_room) (const TreeWish *wish, Page leaf);

	/*
	 * Plans how to divide a latched page; returns how many bytes the right half's cell in the
	 * parent takes at most.
	 */
	int			(*plan_split) (const TreeWish *wish, Page page);

	/*
	 * As planned: the left working copy holds all and keeps the left half, the right one is
	 * new.
	 */
	void		(*divide) (const TreeWish *wish, Page left, Page right);

	/*
	 * Adds the right half to its parent, as that slot; makes both halves children of a root
	 * that was reset to an empty inner page.
	 */
	void		(*add_child) (const TreeWish *wish, Page parent, int slot, BlockNumber right);
	void		(*fill_root) (const TreeWish *wish, Page root, BlockNumber left, BlockNumber right);

	/* The child of that slot is somewhere else now. */
	void		(*set_child) (Page parent, int slot, BlockNumber child);

	/* ---- merging ---- */

	/*
	 * Would both pages make a good one?  What absorb needs to know goes to plan.  The left one
	 * may be a working copy that has absorbed others already.
	 */
	bool		(*may_merge) (const TreeSearch *search, Page left, Page right, void *plan);

	/*
	 * Next, if they do: the left working copy takes over what the right page has, fence and
	 * link too.
	 */
	void		(*absorb) (const TreeSearch *search, Page left, Page right, void *plan);

	/*
	 * Optional: moves cells between two neighbours that cannot become one; if it does, all
	 * latches are released.
	 */
	bool		(*even_out) (const TreeSearch *search, PoolFrame *parent, int slot, PoolFrame *left,
							 PoolFrame *right);

	/*
	 * Optional: leaf `to` is about to cover what leaf `from` covers, or part of it.  Both are
	 * latched, nobody can see it yet.
	 */
	void		(*leaf_moves) (const TreeSearch *search, BlockNumber from, BlockNumber to);
};

/* See TreeKind. */
static inline void
tree_leaf_moves(const TreeSearch *search, int level, BlockNumber from, BlockNumber to)
{
	if (level == 0 && search->kind->leaf_moves != NULL)
		search->kind->leaf_moves(search, from, to);
}

/* ---- seek.c ---- */

/* The slot of a latched inner page whose child covers what is looked for. */
extern int	tree_child_slot(const TreeSearch *search, Page parent);

/*
 * Latches exclusively the child of a slot of a latched inner page.  Raises DATA_CORRUPTED if it is
 * not what the parent says.
 */
extern PoolFrame *tree_latch_child(const TreeSearch *search, Page parent, int slot);

pg_noreturn extern void tree_corrupted(const PoolFile *file, BlockNumber block,
									   const char *message);

/* ---- split.c ---- */

/*
 * Splits pages (of higher levels first, if their parents lack room) until the wish is fulfilled or
 * the page itself was split once; whether that is enough the caller finds out.  No latches held on
 * entry or exit.
 */
extern void tree_split(const TreeWish *wish);

/* ---- merge.c ---- */

/*
 * Looks at the leaf that covers what is looked for and its neighbours under the same parent: merges
 * them if they go together, else evens them out, and does the same for parents that have lost a
 * child; a root with a single child takes over its content. plan: memory for what may_merge tells
 * absorb.  Returns true if something was changed.  No latches held on entry or exit.
 */
extern bool tree_merge(const TreeSearch *search, void *plan);

/* ---- shrink.c ---- */

/* What a kind tells of pages that are to be moved; the first member of its own. */
typedef struct TreeMover TreeMover;

struct TreeMover
{
	const TreeSearch *here;		/* covers the page */
	const TreeSearch *before;	/* covers what is just before it; NULL: nothing is */

	/*
	 * Makes both of them for that page, a copy, which stays.  May leave the caller in another
	 * memory context, which is the kind's own.
	 */
	void		(*aim) (TreeMover *mover, Page page);
	void		(*pause) (void);	/* called before each page */
};

/*
 * If much of the file is free, moves pages of the tree from its end into free ones, one record
 * each, while others use it; the free pages then are at its end.  VACUUM's lock is held, no
 * latches.
 */
extern void tree_shrink(TreeMover *mover);

#endif							/* ROWAN_TREE_KIND_H */
