/*
 * entry_tree.h
 *	  The tree of index entries as a kind of tree (tree/kind.h): what the files of src/index share.
 */
#ifndef ROWAN_ENTRY_ENTRY_TREE_H
#define ROWAN_ENTRY_ENTRY_TREE_H

#include "entry/entry.h"
#include "tree/kind.h"

typedef struct EntrySearch
{
	TreeSearch	search;
	const IndexTree *tree;
	const KeyPoint *point;
	bool		before;			/* what is just before the point */
} EntrySearch;

static inline const EntrySearch *
entry_search(const TreeSearch *search)
{
	return (const EntrySearch *) search;
}

/* ---- entry_seek.c ---- */

extern void entry_search_init(EntrySearch *search, const IndexTree *tree, const KeyPoint *point,
							  bool before);

/* ---- entry_split.c, entry_merge.c: see TreeKind ---- */

extern bool entry_leaf_has_room(const TreeWish *wish, Page leaf);
extern int	entry_plan_split(const TreeWish *wish, Page page);
extern void entry_divide(const TreeWish *wish, Page left, Page right);
extern void entry_add_child(const TreeWish *wish, Page parent, int slot, BlockNumber right);
extern void entry_fill_root(const TreeWish *wish, Page root, BlockNumber left, BlockNumber right);
extern bool entry_may_merge(const TreeSearch *search, Page left_page, Page right_page, void *plan);
extern void entry_absorb(const TreeSearch *search, Page left, Page right, void *plan);

#endif							/* ROWAN_ENTRY_ENTRY_TREE_H */
