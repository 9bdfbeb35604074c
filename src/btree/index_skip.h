/*
 * index_skip.h
 *	  Index scans pass over entries that cannot match, where their conditions have gaps or arrays.
 */
#ifndef ROWAN_BTREE_INDEX_SKIP_H
#define ROWAN_BTREE_INDEX_SKIP_H

#include "btree/btree.h"
#include "btree/index_keys.h"

typedef enum SkipResult
{
	SKIP_NOT,					/* what comes next may match */
	SKIP_TO,					/* nothing before the point can */
	SKIP_END					/* nothing that comes can */
} SkipResult;

/*
 * For a scan that need not look at all entries between its ends; it learns as it goes on.  Lives
 * with them.
 */
extern ScanSkip *index_skip_make(ScanConditions *conditions);
extern void index_skip_free(ScanSkip *skip);

/*
 * Where in that direction the next match may be, for a scan that has come to the fence or entry.
 * The point lives no longer than that item's tuple, and is beyond it.
 */
extern SkipResult index_skip_from(const ScanSkip *skip, const IndexItem *from, bool backward,
								  KeyPoint *to);

/*
 * Parts: ranges of which all matches, one for each combination of values.  A scan that has come to
 * a point that index_skip_from, index_skip_next_part or the range's start gave may read the part
 * that begins there, forward.
 */
extern bool index_skip_reads_parts(const ScanSkip *skip);

/* The one read last was on that leaf. */
extern void index_skip_has_read_part(ScanSkip *skip, BlockNumber block);

/* Of a leaf that was not read as a part so many entries were returned. */
extern void index_skip_has_left_leaf(ScanSkip *skip, int found);

/* The part that this is an entry of counts as the one read last. */
extern void index_skip_return_to_part(ScanSkip *skip, const IndexItem *item);

/*
 * Where the part behind the one read last begins; backward: where the one before ends.  False:
 * there is none.
 */
extern bool index_skip_next_part(ScanSkip *skip, bool backward, KeyPoint *to);

/* Is it worth looking for the leaf that the point is on, rather than reading the next one? */
extern bool index_skip_pays(const ScanSkip *skip);

/* The next leaf did not cover the point. */
extern void index_skip_found_to_pay(ScanSkip *skip);

/* The leaf that the point (backward: what is just before it) is likely on. */
extern BlockNumber index_skip_hint(ScanSkip *skip, const IndexTree *tree, const KeyPoint *point,
								   bool backward);

/* The hint was wrong: pages were split or merged. */
extern void index_skip_hint_failed(ScanSkip *skip);

/*
 * On a leaf: how many entries in sequence that do not match a scan steps over one by one, before it
 * computes the next place where one may match, and searches the leaf for that.
 */
extern int	index_skip_patience(const ScanSkip *skip);

/* That passed over so many entries. */
extern void index_skip_gained(ScanSkip *skip, int entries);

#endif							/* ROWAN_BTREE_INDEX_SKIP_H */
