/*
 * index_leaf.h
 *	  The private copy of a leaf that an index scan stands on.
 */
#ifndef ROWAN_BTREE_INDEX_LEAF_H
#define ROWAN_BTREE_INDEX_LEAF_H

#include "access/relscan.h"
#include "btree/btree.h"

/* Where the scan is on its leaf: TID `sub` of the entry in `slot`.  ntids 0: between entries. */
typedef struct LeafPlace
{
	int			slot;
	int			sub;
} LeafPlace;

/*
 * The copy holds the whole leaf, or no more than the low fence and the entries of [first, last):
 * then nothing follows on either side, unless it is a part of what the scan looks for.
 */
typedef struct ScanLeaf
{
	bool		valid;
	bool		unlocked;		/* copied in recovery: TIDs are looked up first */
	BlockNumber visible_block;	/* then: all TIDs in this block of the table may be trusted */
	bool		is_part;		/* of a scan that goes on with other parts (index_skip.h) */
	bool		more_left;		/* entries beyond the leaf may match */
	bool		more_right;
	int			first;			/* slots whose entries may match: [first, last) */
	int			last;
	int			sure_first;		/* of these match without being asked: [sure_first, sure_last) */
	int			sure_last;
	int			found;			/* entries returned */
	int			run;			/* entries in sequence that were asked and matched */
	int			patience;		/* so many: then it is found out how many more do */
	LeafPlace	at;
	int			ntids;			/* of the entry in at.slot */
	int			ntids_read;		/* of them in tids */
	PostingReader rest;			/* the others */
	ItemPointerData *tids;
	int			tids_room;
	char	   *bytes;			/* the copy; allocated when first needed */
	char	   *tuple;			/* the current entry's, for index-only scans and checks */
	PageView	view;			/* of the copy */
	PoolFrame  *frame;			/* the leaf as it was, to mark dead entries */
	uint64		version;
	BlockNumber block;
} ScanLeaf;

/* An entry found dead. */
typedef struct KilledEntry
{
	LeafPlace	at;
	int			ntids;			/* of its cell */
} KilledEntry;

/*
 * Reads the leaf that the point is on (backward: what is just before it), and stands there between
 * two entries.  from_start: the point is where the scan begins, range.start or, backward,
 * range.end.  part_end: NULL, or where entries end that begin at the point and all match: if they
 * are few, only they are copied.
 */
extern void leaf_read(IndexScanDesc scan, const IndexTree *tree, const ScanRange *range,
					  ScanLeaf *leaf, const KeyPoint *point, const KeyPoint *part_end,
					  bool from_start, ScanDirection direction, BlockNumber hint);

/* SERIALIZABLE: reading a leaf takes a predicate lock on it. */
extern bool leaf_is_remembered(IndexScanDesc scan);

/* To the next matching entry in the direction; false: none is left on this leaf. */
extern bool leaf_next(IndexScanDesc scan, const ScanRange *range, ScanLeaf *leaf,
					  ScanDirection direction);

/* To a place where the scan has been on this leaf. */
extern void leaf_go_to(IndexScanDesc scan, ScanLeaf *leaf, LeafPlace place);

/* to: a copy of it, with memory of its own. */
extern void leaf_copy(ScanLeaf *to, const ScanLeaf *from);
extern void leaf_free(ScanLeaf *leaf);

/* Marks entries dead on the leaf, if it is what was copied.  Sorts them. */
extern void leaf_kill(const IndexTree *tree, const ScanLeaf *leaf, KilledEntry *killed, int n);

/* The next TID of the same posting list, forward: the quick way. */
static inline bool
leaf_next_tid(ScanLeaf *leaf)
{
	if (leaf->at.sub + 1 >= leaf->ntids_read || leaf->at.sub + 1 >= leaf->ntids)
		return false;
	leaf->at.sub++;
	return true;
}

static inline ItemPointer
leaf_tid(const ScanLeaf *leaf)
{
	return &leaf->tids[leaf->at.sub];
}

#endif							/* ROWAN_BTREE_INDEX_LEAF_H */
