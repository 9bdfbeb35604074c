/*
 * problems.h
 *	  What rowan.verify() finds, as rows of its result.
 */
#ifndef ROWAN_INSPECT_PROBLEMS_H
#define ROWAN_INSPECT_PROBLEMS_H

#include "base/compat.h"
#include "nodes/execnodes.h"
#include "pool/pool.h"
#include "storage/block.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"

typedef struct Problems
{
	ReturnSetInfo *result;
	HTAB	   *seen;			/* NULL: none yet */
	Oid			relation;		/* the first column of rowan.verify_database's rows; or Invalid */
	bool		is_index;

	/* how far it has come */
	uint64		pages;
	uint64		relations_done;
	uint64		relations;
} Problems;

/*
 * A problem of a block, or of none (InvalidBlockNumber).  One that was reported before is not
 * reported again.  What it means and what to do follows from the message.
 */
extern void problem_report(Problems *problems, BlockNumber block, const char *message);

/* The same of a page that cannot be read: what the error says. */
extern void problem_report_damage(Problems *problems, BlockNumber block,
								  const PoolDamage *damage);

/* The same of a page, somewhere in the table of the index that is verified. */
extern void problem_report_table_damage(Problems *problems, const PoolDamage *damage);

/*
 * Refuses what cannot be verified (what: the phrase for what was expected) because it is of another
 * kind or access method, or another session's.
 */
pg_noreturn extern void verify_refuse(Relation rel, const char *expected);
extern void verify_check_access(Relation rel);

/* An unlogged relation has no content here: said as a NOTICE. */
extern bool verify_is_absent(Relation rel);

/* ---- verify_database.c: for others to see (rowan.verify_progress) ---- */

extern void progress_begin(Problems *problems, Oid relid, const PoolFile *file);
extern void progress_count_page(Problems *problems);
extern void progress_end(void);

#endif							/* ROWAN_INSPECT_PROBLEMS_H */
