/*
 * entry_verify.h
 *	  Checking the tree of an index.
 */
#ifndef ROWAN_ENTRY_ENTRY_VERIFY_H
#define ROWAN_ENTRY_ENTRY_VERIFY_H

#include "entry/entry.h"

typedef struct IndexVerify
{
	const IndexTree *tree;
	void		(*report) (BlockNumber block, const char *message, void *arg);

	/* as of TreeVerify */
	void		(*damaged) (BlockNumber block, const PoolDamage *damage, void *arg);

	void		(*entry) (const IndexItem *item, void *arg);	/* each cell of a leaf; may be
																 * NULL */
	void		(*met) (Page page, BlockNumber block, void *arg);	/* as of TreeVerify */
	void	   *arg;
} IndexVerify;

/*
 * Returns the number of problems reported, as tree_verify; others may change the index meanwhile.
 */
extern uint64 itree_verify(const IndexVerify *how);

/* The entry is there now: same key, same TID. */
extern bool itree_has_entry(const IndexTree *tree, IndexTuple tuple);

#endif							/* ROWAN_ENTRY_ENTRY_VERIFY_H */
