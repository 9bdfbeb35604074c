/*
 * descent.h
 *	  The optimistic descent, for whoever knows the kind of tree when it is compiled.
 *
 * A descent holds no latch while it goes down (after many failed attempts: parent, then child,
 * shared): lock coupling by versions (Leis et al., "The ART of Practical Synchronization", 2016).
 * Whoever latches what a descent found must look again whether the page still covers what is looked
 * for: that alone decides, since there is exactly one live page for a level and a key.
 *
 * Must never follow a block number, or raise an error about a page, before
 * the read it came from was found valid.
 *
 * Inlined with a constant kind, so that calls through it cost nothing where it counts.
 */
#ifndef ROWAN_TREE_DESCENT_H
#define ROWAN_TREE_DESCENT_H

#include "miscadmin.h"
#include "tree/kind.h"

typedef enum Descent
{
	DESCENT_FOUND,				/* *read is begun */
	DESCENT_RETRY,				/* something changed meanwhile; nothing is held */
	DESCENT_TOO_LOW				/* the root is below that level; nothing is held */
} Descent;

/*
 * The page makes no sense.  Seen optimistically that means only that it was being
 * changed; seen under a latch, with the parent latched too, it is corrupt.
 */
static inline Descent
descent_give_up(const TreeSearch *search, BlockNumber block, PoolRead *read, const char *message)
{
	bool		latched = read->latched;

	pool_read_end(read);
	if (latched)
		tree_corrupted(search->file, block, message);
	return DESCENT_RETRY;
}

/*
 * Goes from *read, an inner page, to its child that covers what is looked for.  On success *read is
 * the child and *block its number.  note: remember the parent.
 */
static pg_attribute_always_inline Descent
descent_step(const TreeSearch *search, const TreeKind *kind, bool note, int attempt, PoolRing *ring,
			 PoolRead *read, BlockNumber *block)
{
	TreeChild	child;
	PoolRead	child_read;

	kind->find_child(search, read->page, read, &child);
	if (child.slot < kind->first_slot)
		return descent_give_up(search, *block, read, "inner page is empty");
	if (child.block == InvalidBlockNumber || child.block <= ROWAN_ROOT_BLOCK)
		return descent_give_up(search, *block, read, "impossible child");
	if (!pool_read_valid(read))
	{
		pool_read_end(read);
		return DESCENT_RETRY;
	}
	pool_read_begin(search->file, child.block, attempt, ring, &child_read);

	/* on a leaf without holes the slot is there: let it come while we look at the trailer */
	if (child.likely_slot >= 0)
		__builtin_prefetch(page_slots(child_read.page) + child.likely_slot);
	if (note)
		kind->note_parent(search, read);

	/*
	 * The child's version was taken while the parent still pointed to it: from here on the
	 * child's version alone tells whether it still is the right page.
	 */
	if (!pool_read_end(read))
	{
		pool_read_end(&child_read);
		return DESCENT_RETRY;
	}
	*read = child_read;
	*block = child.block;
	return DESCENT_FOUND;
}

/* Where the descent has ended.  Only of bytes that do not change can everything be asked. */
static pg_attribute_always_inline Descent
descent_end(const TreeSearch *search, const TreeKind *kind, int level, PoolRead *read,
			BlockNumber block)
{
	if (read->latched && !kind->covers(search, read->page, level))
		return descent_give_up(search, block, read, "page is not the one its parent says");
	if (pool_read_valid(read))
		return DESCENT_FOUND;
	pool_read_end(read);
	return DESCENT_RETRY;
}

/* Begins at the root, or further down; returns the level. */
static pg_attribute_always_inline int
descent_begin(const TreeSearch *search, const TreeKind *kind, int level, int attempt,
			  PoolRead *read,
			  BlockNumber *block, bool *recalled)
{
	*recalled = kind->recall_parent != NULL && level == 0 && attempt == 0 &&
		kind->recall_parent(search, read);
	if (*recalled)
	{
		*block = pool_block(read->frame);
		return 1;
	}
	*block = ROWAN_ROOT_BLOCK;
	pool_read_begin(search->file, ROWAN_ROOT_BLOCK, attempt, NULL, read);
	return ((volatile PageTrailerData *) page_trailer(read->page))->level;
}

/* ring: for leaves only; may be NULL. */
static pg_attribute_always_inline Descent
descent_try(const TreeSearch *search, const TreeKind *kind, int level, int attempt, PoolRing *ring,
			PoolRead *read, BlockNumber *block)
{
	bool		recalled;
	int			at = descent_begin(search, kind, level, attempt, read, block, &recalled);

	if (at < level)
		return pool_read_end(read) ? DESCENT_TOO_LOW : DESCENT_RETRY;
	for (;; at--)
	{
		Descent		result;

		if (!kind->may_cover(search, read->page, at))
			return descent_give_up(search, *block, read, "page is not the one its parent says");
		if (at == level)
			return descent_end(search, kind, level, read, *block);
		result = descent_step(search, kind, kind->note_parent != NULL && at == 1 && !recalled,
							  attempt, at == 1 ? ring : NULL, read, block);
		if (result != DESCENT_FOUND)
			return result;
	}
}

/* Descends until it succeeds; false if the tree is too low. */
static pg_attribute_always_inline bool
descent_to(const TreeSearch *search, const TreeKind *kind, int level, int attempt, PoolRing *ring,
		   PoolRead *read, BlockNumber *block)
{
	for (;; attempt++)
	{
		Descent		result = descent_try(search, kind, level, attempt, ring, read, block);

		if (result != DESCENT_RETRY)
			return result == DESCENT_FOUND;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Latches the page of that level that covers what is looked for; NULL if the tree is not that high.
 */
static pg_attribute_always_inline PoolFrame *
descent_latch(const TreeSearch *search, const TreeKind *kind, int level, LWLockMode mode)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		BlockNumber block;
		PoolFrame  *frame;

		if (!descent_to(search, kind, level, attempt, NULL, &read, &block))
			return NULL;
		pool_read_end(&read);
		frame = pool_latch_near(search->file, block, read.frame, mode);
		if (kind->covers(search, pool_page(frame), level))
			return frame;
		pool_unlatch(frame);
		CHECK_FOR_INTERRUPTS();
	}
}

#endif							/* ROWAN_TREE_DESCENT_H */
