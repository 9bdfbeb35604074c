/*
 * btree.h
 *	  The index access method: what its parts share.
 */
#ifndef ROWAN_BTREE_BTREE_H
#define ROWAN_BTREE_BTREE_H

#include "access/amapi.h"
#include "access/genam.h"
#include "entry/entry.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "storage/lock.h"
#include "utils/rel.h"

/* A fence, kept beyond the copy of its leaf. */
typedef struct Bound
{
	IndexItem	item;
	union
	{
		char		bytes[INDEX_TUPLE_LEAST];
		double		align;
	}			tuple;
} Bound;

/* index_handler.c */
extern void index_tree(Relation index, IndexTree *tree);
extern bool index_is_rowan(Relation rel);

/* index_options.c */
extern void index_options_define(void);
extern bytea *rowan_index_options(Datum options, bool validate);
extern int	index_fillfactor(Relation index);
extern bool index_may_deduplicate(Relation index);

/*
 * The interlock between scans that trust a TID without looking at the row (index-only scans), or
 * without an MVCC snapshot, and VACUUM: they hold it shared as long as they hold TIDs copied from a
 * leaf; VACUUM, having removed dead TIDs from all leaves, waits until all who held it have been
 * seen without.  Nobody takes it in another mode, so nobody ever waits for it.
 */
extern void index_tids_tag(Relation index, LOCKTAG *tag);
extern void index_lock_tids(Relation index);
extern void index_unlock_tids(Relation index);

/* index_build.c */
extern IndexBuildResult *rowan_index_build(Relation heap, Relation index, IndexInfo *info);
extern void rowan_index_build_empty(Relation index);
extern void index_check_size(Relation heap, Relation index, IndexTuple tuple);

/* index_insert.c */
extern bool rowan_index_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
							   Relation heap, IndexUniqueCheck check_unique, bool unchanged,
							   IndexInfo *info);

/* index_scan.c */
extern IndexScanDesc rowan_index_begin_scan(Relation index, int nkeys, int norderbys);
extern void rowan_index_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
							   int norderbys);
extern bool rowan_index_get_tuple(IndexScanDesc scan, ScanDirection direction);
extern int64 rowan_index_get_bitmap(IndexScanDesc scan, TIDBitmap *bitmap);
extern void rowan_index_end_scan(IndexScanDesc scan);
extern void rowan_index_mark(IndexScanDesc scan);
extern void rowan_index_restore(IndexScanDesc scan);

/* index_skip.c */
typedef struct ScanSkip ScanSkip;

/* What a scan has to look for. */
typedef struct ScanRange
{
	struct ScanConditions *conditions;	/* index_keys.h */
	KeyPoint	start;
	KeyPoint	end;
	ScanSkip   *skip;			/* NULL: nothing in it can be passed over */
	bool		exact;			/* all that lies between matches: entries need no check */
	bool		may_be_empty;	/* the end may come before the start */
	MemoryContext points;		/* what comparison functions keep in points on the way */
} ScanRange;

/* index_match.c: start, end and what is known of them, from the conditions. */
extern void index_scan_range(ScanRange *range);

/* index_parallel.c */
typedef enum ParallelTurn
{
	TURN_FIRST,					/* nobody has begun: from where the conditions say */
	TURN_NEXT,					/* from the bound */
	TURN_NONE					/* all leaves are taken, or nothing more can match */
} ParallelTurn;

extern Size rowan_index_parallel_size(void);
extern void rowan_index_parallel_init(void *target);
extern void rowan_index_parallel_rescan(IndexScanDesc scan);

/*
 * Our turn to read a leaf, the one behind the bound: then others wait until index_parallel_release
 * or index_parallel_end.  Waits for one's turn, so no latch may be held.
 */
extern ParallelTurn index_parallel_seize(IndexScanDesc scan, Bound *from, BlockNumber *hint);

/*
 * next: the fence that the next leaf in the direction begins at; NULL: there is none, or nothing on
 * it can match.
 */
extern void index_parallel_release(IndexScanDesc scan, const Bound *next, BlockNumber hint);

/* For all processes the scan is at its end.  If it is not parallel, nothing. */
extern void index_parallel_end(IndexScanDesc scan);

/* index_cost.c */
extern void rowan_index_cost(PlannerInfo *root, IndexPath *path, double loop_count,
							 Cost *startup_cost, Cost *total_cost, Selectivity *selectivity,
							 double *correlation, double *pages);

/* index_vacuum.c */
extern IndexBulkDeleteResult *rowan_index_bulk_delete(IndexVacuumInfo *info,
													  IndexBulkDeleteResult *stats,
													  IndexBulkDeleteCallback callback, void *arg);
extern IndexBulkDeleteResult *rowan_index_cleanup(IndexVacuumInfo *info,
												  IndexBulkDeleteResult *stats);

#endif							/* ROWAN_BTREE_BTREE_H */
