/*
 * index_delete.h
 *	  Removing dead entries from a leaf that has no room, so that it need not be split.
 */
#ifndef ROWAN_BTREE_INDEX_DELETE_H
#define ROWAN_BTREE_INDEX_DELETE_H

#include "entry/entry.h"
#include "utils/rel.h"

/*
 * On the leaf that covers the point, which has no room for the cell.  likely: there may be dead
 * entries that no scan has marked yet, because versions of one row follow each other.  True: there
 * is room now.
 */
extern bool index_delete_dead(const IndexTree *tree, Relation index, Relation heap,
							  const KeyPoint *point, const CellSource *entry, bool likely);

#endif							/* ROWAN_BTREE_INDEX_DELETE_H */
