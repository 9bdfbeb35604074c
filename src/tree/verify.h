/*
 * verify.h
 *	  Checking a whole file.
 */
#ifndef ROWAN_TREE_VERIFY_H
#define ROWAN_TREE_VERIFY_H

#include "tree/tree.h"

/* The rows and version records themselves are checked by callbacks of the layers above. */
typedef struct TreeVerify
{
	void		(*report) (BlockNumber block, const char *message, void *arg);
	void		(*leaf_check) (Page leaf, BlockNumber block, void *arg);	/* may be NULL */
	void		(*version_check) (Page page, BlockNumber block, void *arg); /* may be NULL */
	void	   *arg;
} TreeVerify;

/*
 * Checks that every page is reachable exactly once: used by the tree, or a version
 * page in the version list, or on the free list; and each page and link by itself.  Returns the
 * number of problems reported.  The caller keeps writers away.  Pages are
 * passed to the callbacks as private copies, and only if page_check accepts them.  A
 * page that fails its checksums raises the pool's error.
 */
extern uint64 tree_verify(const PoolFile *file, const TreeVerify *how);

#endif							/* ROWAN_TREE_VERIFY_H */
