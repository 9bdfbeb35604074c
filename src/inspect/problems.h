/*
 * problems.h
 *	  What rowan.verify() finds, as rows of its result.
 */
#ifndef ROWAN_INSPECT_PROBLEMS_H
#define ROWAN_INSPECT_PROBLEMS_H

#include "base/compat.h"
#include "nodes/execnodes.h"
#include "storage/block.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"

typedef struct Problems
{
	ReturnSetInfo *result;
	HTAB	   *seen;			/* NULL: none yet */
} Problems;

/*
 * A problem of a block, or of none (InvalidBlockNumber).  One that was reported before is not
 * reported again.
 */
extern void problem_report(Problems *problems, BlockNumber block, const char *message);

/*
 * Refuses what cannot be verified (what: the phrase for what was expected) because it is of another
 * kind or access method, or another session's.
 */
pg_noreturn extern void verify_refuse(Relation rel, const char *expected);
extern void verify_check_access(Relation rel);

/* An unlogged relation has no content here: said as a NOTICE. */
extern bool verify_is_absent(Relation rel);

#endif							/* ROWAN_INSPECT_PROBLEMS_H */
