/*
 * index_by_key.h
 *	  Cleaning an index of rows that are known.
 */
#ifndef ROWAN_BTREE_INDEX_BY_KEY_H
#define ROWAN_BTREE_INDEX_BY_KEY_H

#include "entry/entry.h"
#include "table/dead_rows.h"

/* index_vacuum.c: a leaf is offered for merging with a neighbour */
extern bool index_leaf_is_small(Page page);

/*
 * Gives a latched leaf, whose latch is given away, those TIDs only that keep leaves; returns how
 * many went.
 */
extern int	index_clean_latched(const IndexTree *tree, PoolFrame *frame, IndexKeepTids keep,
								void *arg, bool *is_small);

/* index_by_key.c: may entries be made once more, by VACUUM? */
extern bool index_finds_by_key(Relation index);

/*
 * index_by_key.c: false: not all entries of the rows were found, and some may be there.  Those that
 * were found are gone in any case.
 */
extern bool index_delete_by_key(Relation index, const IndexTree *tree, DeadRows *rows,
								IndexBulkDeleteResult *stats);

#endif							/* ROWAN_BTREE_INDEX_BY_KEY_H */
