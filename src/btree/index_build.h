/*
 * index_build.h
 *	  Building an index: what is common to one process and several.
 */
#ifndef ROWAN_BTREE_INDEX_BUILD_H
#define ROWAN_BTREE_INDEX_BUILD_H

#include "btree/btree.h"
#include "utils/tuplesort.h"

/*
 * Sorted tuples lie all over the memory: while one is loaded the next ones are on their way.  Only
 * if the sort stayed in memory, where tuples stay until its end.
 */
#define TUPLES_AHEAD	8

typedef struct TuplesAhead
{
	bool		in_memory;
	bool		at_end;
	int			next;
	int			n;
	IndexTuple	tuples[TUPLES_AHEAD];
} TuplesAhead;

typedef struct BuildState
{
	Relation	index;
	Relation	heap;
	IndexTree	tree;
	RelationData masked;		/* the index, said to be a btree */
	FormData_pg_class masked_class;
	bool		unique;
	bool		nulls_not_distinct;
	Tuplesortstate *live;
	Tuplesortstate *dead;		/* unique indexes: rows that take no part in uniqueness */
	bool		any_dead;
	TuplesAhead ahead;			/* of live */
	double		rows;			/* seen in the table */
	double		entries;
} BuildState;

/* index_build.c */
extern BuildState *build_state_create(Relation heap, Relation index, bool unique,
									  bool nulls_not_distinct);

/* Coordinates: of a sort in several processes, or NULL. */
extern void build_begin_sorts(BuildState *state, int live_kb, SortCoordinate live, int dead_kb,
							  SortCoordinate dead);
extern void build_end_sorts(BuildState *state);

/* Sends the table's rows, or a share of them, to the sorts. */
extern void build_scan_table(BuildState *state, IndexInfo *info, bool progress,
							 TableScanDesc scan);

/* index_build_parallel.c */
typedef struct ParallelBuild ParallelBuild;

/* Starts workers, and does our share of the scan; NULL: there are none to be had. */
extern ParallelBuild *parallel_build_begin(BuildState *state, IndexInfo *info);

/* The sorts that merge what all of them have sorted. */
extern void parallel_build_begin_sorts(ParallelBuild *parallel, BuildState *state);

/* Waits for the workers; what they counted goes to the state. */
extern void parallel_build_wait(ParallelBuild *parallel, BuildState *state, IndexInfo *info);
extern void parallel_build_end(ParallelBuild *parallel);

#endif							/* ROWAN_BTREE_INDEX_BUILD_H */
