/*
 * descend.h
 *	  What the files of src/tree share: finding the page of any level.
 */
#ifndef ROWAN_TREE_DESCEND_H
#define ROWAN_TREE_DESCEND_H

#include "tree/tree.h"

/*
 * Latches the page of that level (0 = leaf) that covers key; NULL if the tree is
 * not that high.  No latch of the tree may be held.
 */
extern PoolFrame *tree_latch_page(const PoolFile *file, TreeKey key, int level, LWLockMode mode);

/*
 * Latches exclusively the child of slot pos of a latched inner page.  Raises
 * DATA_CORRUPTED if it is not what the parent says.
 */
extern PoolFrame *tree_latch_child(const PoolFile *file, Page parent, int pos);

/* Copies the page of that level that covers key; false if the tree is not that high. */
extern bool tree_copy_page(const PoolFile *file, TreeKey key, int level, PoolRing *ring,
						   char *dest);

/* The file header's working copy, latched if the change does not have it yet. */
extern FileHeaderData *space_change_header(PageChange *change);

extern void tree_corrupted(const PoolFile *file, BlockNumber block, const char *message)
			pg_attribute_noreturn();

#endif							/* ROWAN_TREE_DESCEND_H */
