/*
 * index_skip.h
 *	  Index scans pass over entries that cannot match, though conditions on leading columns are missing.
 */
#ifndef ROWAN_BTREE_INDEX_SKIP_H
#define ROWAN_BTREE_INDEX_SKIP_H

#include "btree/btree.h"

typedef enum SkipResult
{
	SKIP_NOT,					/* what comes next may match */
	SKIP_TO,					/* nothing before the point can */
	SKIP_END					/* nothing that comes can */
} SkipResult;

/*
 * What the conditions say of each column by itself; made, or made anew, when a scan begins.  NULL: no condition comes behind a
 * column without an equality, so that the scan's range says as much.
 */
extern ScanSkip *index_skip_prepare(IndexScanDesc scan, const KeyDesc *keys, ScanSkip *before);
extern void index_skip_free(ScanSkip *skip);

/*
 * Where in that direction the next match may be, for a scan that has come to the fence or entry.  The point lives no longer than that
 * item's tuple, and is beyond it.
 */
extern SkipResult index_skip_from(const ScanSkip *skip, const IndexItem *from, bool backward,
								  KeyPoint *to);

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
 * On a leaf: so many entries in sequence that do not match are looked at before asking for the next possible place.
 */
extern int	index_skip_patience(const ScanSkip *skip);
/* That passed over so many entries. */
extern void index_skip_gained(ScanSkip *skip, int entries);

#endif							/* ROWAN_BTREE_INDEX_SKIP_H */
