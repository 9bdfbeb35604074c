/*
 * remains.h
 *	  What is left of a damaged table's tree: which leaves are to be believed, and what is missing.
 *
 * All blocks of the file are looked at, each by itself, so it does not matter which inner pages
 * can be read.  A leaf is believed unless some other page contradicts it and is newer.  What a page
 * says of a range of row ids is a claim: a leaf, that it has the range; its parent, that a certain
 * block has it.  A range passes from one page to another in one record, which changes both and the
 * parents; so whoever has it now has a higher LSN than whatever says otherwise.  That is left of
 * writes that were lost (pages freed, split or merged since), or lies beyond the end.
 *
 * Nobody changes the file meanwhile (ShareLock).
 */
#ifndef ROWAN_TREE_REMAINS_H
#define ROWAN_TREE_REMAINS_H

#include "tree/tree.h"

typedef struct RemainingLeaf
{
	BlockNumber block;
	TreeKey		low;			/* its fences */
	TreeKey		high;
} RemainingLeaf;

typedef struct TreeRemains
{
	const PoolFile *file;
	uint32		file_id;
	uint64		nleaves;
	RemainingLeaf *leaves;		/* by row ids; they do not overlap */
} TreeRemains;

/* Something is wrong with a block, or (InvalidBlockNumber) with none that is known. */
typedef struct RemainsFinding
{
	BlockNumber block;
	const char *problem;
	bool		rows_missing;	/* those with ids [low, high), if there were any */
	TreeKey		low;
	TreeKey		high;			/* TREE_KEY_MAX: and all that follow */
} RemainsFinding;

typedef void (*RemainsReport) (const RemainsFinding *finding, void *arg);

/* Reads the whole file.  In the current memory context; some 80 bytes a page. */
extern TreeRemains *tree_remains(const PoolFile *file, RemainsReport report, void *arg);

/*
 * A copy of a page of that type; NULL, or what is wrong with it.  A page of the tree, too, is
 * checked as far as that can be done by itself.
 */
extern const char *remains_copy(const TreeRemains *remains, BlockNumber block, uint8 type,
								char *dest);

#endif							/* ROWAN_TREE_REMAINS_H */
