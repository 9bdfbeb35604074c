/*
 * place.h
 *	  Where new rows go.
 */
#ifndef ROWAN_ROW_PLACE_H
#define ROWAN_ROW_PLACE_H

#include "row/row.h"

/* Ids of a leaf that no row has, one after the other, in one logical block unless at the edge. */
typedef struct FreeIds
{
	RowId		first;
	uint64		n;
} FreeIds;

/* The right edge: rows are appended there. */
static inline bool
place_is_edge(Page page)
{
	return page_trailer(page)->high_fence == TREE_KEY_MAX;
}

/* At the edge the next ones; elsewhere those behind the last row if there are some, else a gap. */
extern void place_find_ids(Page page, FreeIds *ids);

/* The leaf that rows go to, latched; NULL: the one that was known is none any more. */
extern PoolFrame *place_latch(const PoolFile *file);

/* The same, if it is known and nobody has it: latches beside it are held out of order. */
extern PoolFrame *place_try(const PoolFile *file);

/*
 * The place, which is latched (released then), cannot take a row of so many bytes; NULL: it was no
 * leaf.  Finds another one, or makes it.  misses: how often in sequence, from 0 on.
 */
extern void place_next(RowTable *table, PoolFrame *leaf, Size bytes, int *misses);

#endif							/* ROWAN_ROW_PLACE_H */
