/*
 * index_trust.h
 *	  TIDs that an index-only scan has copied in recovery.
 */
#ifndef ROWAN_BTREE_INDEX_TRUST_H
#define ROWAN_BTREE_INDEX_TRUST_H

#include "btree/index_leaf.h"
#include "executor/tuptable.h"
#include "storage/buf.h"

/* What a scan needs to look TIDs up; all zero: nothing yet. */
typedef struct TidLookup
{
	Buffer		map;			/* a page of the visibility map */
	TupleTableSlot *slot;
} TidLookup;

/* The scan may return the TID that it stands on.  False: to its snapshot there is no such row. */
extern bool tid_may_be_trusted(IndexScanDesc scan, ScanLeaf *leaf, TidLookup *lookup);
extern void tid_lookup_end(TidLookup *lookup);

#endif							/* ROWAN_BTREE_INDEX_TRUST_H */
