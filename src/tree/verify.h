/*
 * verify.h
 *	  Checking a whole file, while others change it.
 *
 * Nobody is kept away.  So a page is judged from one consistent copy, and how two pages fit
 * together (parent and child, neighbours, members of a list, header and list) from copies that were
 * true at one moment: the one was copied, then the other, and then the first one's frame still had
 * the version that it was copied at.  Every change of several pages makes all their versions odd
 * before it changes a byte, so such a pair is before it or after it.
 */
#ifndef ROWAN_TREE_VERIFY_H
#define ROWAN_TREE_VERIFY_H

#include "tree/tree.h"

typedef struct Verification Verification;

/*
 * What a kind of tree knows of its pages.  All of them are private copies that page_check accepts.
 * The cursor is a place between keys: what is before it has been visited.
 */
typedef struct VerifyKind
{
	uint16		tree_kind;		/* RowanTreeKind */
	uint8		leaf_type;		/* ROWAN_PAGE_* */
	uint8		inner_type;
	int			first_slot;		/* slots before it hold fences */

	/* Checks what is on the page, and reports; false: it is not to be searched. */
	bool		(*check_page) (Verification *v, Page page, void *arg);

	/*
	 * Fences against what the parent says of the slot's child (NULL: it is the root), reported;
	 * false: they differ.
	 */
	bool		(*check_fences) (Verification *v, Page parent, int slot, Page page, void *arg);

	/* The right one begins where the left one ends. */
	bool		(*fences_meet) (Page left, Page right, void *arg);

	/* The child of a slot of an inner page; InvalidBlockNumber: its bytes make no sense. */
	BlockNumber (*child_of_slot) (Page page, int slot, void *arg);

	/* The slot whose child the cursor is on; negative: the bytes make no sense. */
	int			(*slot_at_cursor) (Page page, void *arg);

	/*
	 * Moves the cursor: before all keys, to where the slot's child ends (unless that is behind
	 * all keys), to the low fence.
	 */
	void		(*cursor_to_start) (void *arg);
	void		(*cursor_past_child) (Page page, int slot, void *arg);
	bool		(*cursor_to_page) (Page page, void *arg);
} VerifyKind;

/* The rows and version records themselves are checked by callbacks of the layers above. */
typedef struct TreeVerify
{
	void		(*report) (BlockNumber block, const char *message, void *arg);

	/* A page that cannot be read; NULL: its message is reported as any other. */
	void		(*damaged) (BlockNumber block, const PoolDamage *damage, void *arg);
	void		(*leaf_check) (Page leaf, BlockNumber block, void *arg);	/* may be NULL */
	void		(*version_check) (Page page, BlockNumber block, void *arg); /* may be NULL */

	/*
	 * Each page that is met, may be NULL: those of the tree, parents before their children,
	 * from left to right; those of the lists.  Where something changes, some are met more than
	 * once.
	 */
	void		(*met) (Page page, BlockNumber block, void *arg);
	void	   *arg;
	const VerifyKind *kind;		/* NULL: a table's tree */
	void	   *kind_arg;
} TreeVerify;

/*
 * Checks that every page is reachable exactly once: used by the tree, or a version page in the
 * version list, or on the free list; and each page and link by itself.  Returns the number of
 * problems reported.  A page that is changed meanwhile may be checked, and its problems be
 * reported, more than once.  Callbacks get private copies, and only of pages that page_check
 * accepts; no latch is held then.  The file must not be cut meanwhile.  A page that fails its
 * checksums is reported, and what only it leads to is passed over.
 */
extern uint64 tree_verify(const PoolFile *file, const TreeVerify *how);

/* For a kind: reports a problem. */
extern void verification_report(Verification *v, BlockNumber block, const char *message);

#endif							/* ROWAN_TREE_VERIFY_H */
