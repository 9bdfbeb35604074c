/*
 * verify.h
 *	  Checking a whole file.
 */
#ifndef ROWAN_TREE_VERIFY_H
#define ROWAN_TREE_VERIFY_H

#include "tree/tree.h"

/* The rows and version records themselves are checked by callbacks of the layers above. */
typedef struct Verification Verification;

typedef struct TreeVerify
{
	void		(*report) (BlockNumber block, const char *message, void *arg);
	void		(*leaf_check) (Page leaf, BlockNumber block, void *arg);	/* may be NULL */
	void		(*version_check) (Page page, BlockNumber block, void *arg); /* may be NULL */
	void	   *arg;
	/* walks the tree of an index, by the functions below; NULL: a table's tree */
	void		(*walk) (Verification *v, void *arg);
} TreeVerify;

/*
 * Checks that every page is reachable exactly once: used by the tree, or a version
 * page in the version list, or on the free list; and each page and link by itself.  Returns the
 * number of problems reported.  The caller keeps writers away.  Pages are
 * passed to the callbacks as private copies, and only if page_check accepts them.  A
 * page that fails its checksums raises the pool's error.
 */
extern uint64 tree_verify(const PoolFile *file, const TreeVerify *how);

/* For `walk`: what every page of a tree goes through. */
extern void verification_report(Verification *v, BlockNumber block, const char *message);
/* Marks a block as reached; false if it must not be looked at (again). */
extern bool verification_reach(Verification *v, BlockNumber block);
/* Copies the page and checks it by itself; false if it is not to be believed. */
extern bool verification_copy(Verification *v, BlockNumber block, Page page);

#endif							/* ROWAN_TREE_VERIFY_H */
