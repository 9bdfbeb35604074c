/*
 * idtree.h
 *	  The tree of row ids: what the files of src/tree share.
 */
#ifndef ROWAN_TREE_IDTREE_H
#define ROWAN_TREE_IDTREE_H

#include "tree/kind.h"
#include "tree/tree.h"

typedef struct IdSearch
{
	TreeSearch	search;
	TreeKey		key;
} IdSearch;

/* ---- seek.c ---- */

extern void id_search_init(IdSearch *search, const PoolFile *file, TreeKey key);

/*
 * Latches the page of that level (0 = leaf) that covers key; NULL if the tree is
 * not that high.  No latch of the tree may be held.
 */
extern PoolFrame *tree_latch_page(const PoolFile *file, TreeKey key, int level, LWLockMode mode);

/* Copies the page of that level that covers key; false if the tree is not that high. */
extern bool tree_copy_page(const PoolFile *file, TreeKey key, int level, PoolRing *ring,
						   char *dest);

/* ---- trim.c ---- */

/* A page of the free list, and its place in that. */
typedef struct FreeBlock
{
	BlockNumber block;
	uint32		place;
} FreeBlock;

/* An array for the free list, which may be long; palloc'd. */
extern void *free_list_array(uint32 n, Size size);

extern void free_blocks_sort(FreeBlock *blocks, uint32 n);

/* ---- idsplit.c, idmerge.c: see TreeKind ---- */

extern bool id_leaf_has_room(const TreeWish *wish, Page leaf);
extern int	id_plan_split(const TreeWish *wish, Page page);
extern void id_divide(const TreeWish *wish, Page left, Page right);
extern void id_add_child(const TreeWish *wish, Page parent, int slot, BlockNumber right);
extern void id_fill_root(const TreeWish *wish, Page root, BlockNumber left, BlockNumber right);
extern bool id_may_merge(const TreeSearch *search, Page left, Page right, void *plan);
extern void id_absorb(const TreeSearch *search, Page left, Page right, void *plan);
extern bool id_even_out(const TreeSearch *search, PoolFrame *parent_frame, int slot,
						PoolFrame *left_frame, PoolFrame *right_frame);

#endif							/* ROWAN_TREE_IDTREE_H */
