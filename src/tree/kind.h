/*
 * kind.h
 *	  One tree, two kinds of keys: what a kind says, and what the tree does with it.
 *
 * The tree knows how pages hang together: descents, latches and their order, splits, merges, growing and
 * shrinking at the root, each one PageChange.  A kind knows what its pages are ordered by: which child covers what is looked for,
 * where to divide a page, what the halves hold.  The kinds are row ids (seek.c, idsplit.c, idmerge.c) and
 * index entries (src/index).
 */
#ifndef ROWAN_TREE_KIND_H
#define ROWAN_TREE_KIND_H

#include "pool/change.h"
#include "pool/pool.h"
#include "tree/page.h"

typedef struct TreeKind TreeKind;

/* What is looked for, and in which file.  A kind's own search begins with it. */
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
	int			likely_slot;	/* of the child, to be looked at next; negative: unknown */
} TreeChild;

/* What room is wanted on a page, and then what is planned to make it. */
typedef struct TreeWish
{
	const TreeSearch *search;	/* the page is found by it and by its level */
	int			level;
	int			room;			/* inner page: bytes of a child's cell */
	const void *leaf;			/* leaf: the kind's own wish */
	void	   *plan;			/* memory for the kind's plan of a split */
} TreeWish;

struct TreeKind
{
	uint8		leaf_type;		/* ROWAN_PAGE_* */
	uint8		inner_type;
	int			first_slot;		/* slots before it hold fences */

	/* ---- finding pages ---- */

	/*
	 * The page may be the one of that level that covers what is looked for: as far as can be said of bytes that may be
	 * changing.  And: it is that page, which does not change.
	 */
	bool		(*may_cover) (const TreeSearch *search, Page page, int level);
	bool		(*covers) (const TreeSearch *search, Page page, int level);

	/*
	 * The child of an inner page that covers what is looked for.  read: the page may be changing, and what comes out be
	 * wrong then (not out of bounds); NULL: it does not change.
	 */
	void		(*find_child) (const TreeSearch *search, Page page, PoolRead *read,
							   TreeChild *child);

	/*
	 * Optional, to begin a descent to a leaf further down than at the root: begins a read of an inner page of level 1 that
	 * covers what is looked for, if one is remembered.  And: remember this one (which may have changed).
	 */
	bool		(*recall_parent) (const TreeSearch *search, PoolRead *read);
	void		(*note_parent) (const TreeSearch *search, const PoolRead *read);

	/* Latches the page of that level that covers what is looked for; NULL if the tree is not that high. */
	PoolFrame  *(*latch) (const TreeSearch *search, int level, LWLockMode mode);

	/* The child of a slot of a latched inner page; a page may be that child.  */
	BlockNumber (*child_of_slot) (const TreeSearch *search, Page parent, int slot);
	bool		(*is_child) (const TreeSearch *search, Page parent, int slot, Page page);

	/* ---- splitting ---- */

	/* The latched leaf fulfils the wish. */
	bool		(*leaf_has_room) (const TreeWish *wish, Page leaf);

	/* Plans how to divide a latched page, and says how many bytes the right half's cell in the parent takes.  May raise errors. */
	int			(*plan_split) (const TreeWish *wish, Page page);

	/* Divides a working copy that holds all, as planned: the right one is new. */
	void		(*divide) (const TreeWish *wish, Page left, Page right);

	/* Adds the right half to its parent; makes both children of a root that was reset to an inner page. */
	void		(*add_child) (const TreeWish *wish, Page parent, int slot, BlockNumber right);
	void		(*fill_root) (const TreeWish *wish, Page root, BlockNumber left, BlockNumber right);

	/* ---- merging ---- */

	/* Both pages would make a good one; what absorb needs to know goes to plan.  The left one may be a working copy. */
	bool		(*may_merge) (const TreeSearch *search, Page left, Page right, void *plan);
	/* The left working copy takes over what the right page has. */
	void		(*absorb) (const TreeSearch *search, Page left, Page right, void *plan);

	/* Optional: moves cells between two neighbours that cannot become one; if it does, all latches are released. */
	bool		(*even_out) (const TreeSearch *search, PoolFrame *parent, int slot, PoolFrame *left,
							 PoolFrame *right);

	/* Optional: block `to` is about to cover what leaf `from` does; both are latched, nobody can see it yet. */
	void		(*leaf_moves) (const TreeSearch *search, BlockNumber from, BlockNumber to);
};

/* ---- seek.c ---- */

/* The slot of a latched inner page whose child covers what is looked for. */
extern int	tree_child_slot(const TreeSearch *search, Page parent);

/* Latches exclusively the child of a slot of a latched inner page.  Raises DATA_CORRUPTED if it is not what the parent says. */
extern PoolFrame *tree_latch_child(const TreeSearch *search, Page parent, int slot);

extern void tree_corrupted(const PoolFile *file, BlockNumber block, const char *message)
			pg_attribute_noreturn();

/* ---- split.c ---- */

/*
 * Splits pages until the wish is fulfilled, or the page is split once (whether that is enough the caller finds out).
 * No latches held on entry or exit.
 */
extern void tree_split(const TreeWish *wish);

/* ---- merge.c ---- */

/*
 * Looks at the leaf that covers what is looked for and its neighbours under the same parent: merges them if they go together, evens
 * them out, and does the same for parents that have lost a child; a root with a single child takes over its content.
 * plan: memory for the kind.  Returns true if something was changed.  No latches held on entry or exit.
 */
extern bool tree_merge(const TreeSearch *search, void *plan);

#endif							/* ROWAN_TREE_KIND_H */
