/*
 * btree_only.h
 *	  What core before 18 does with btree indexes only: clear errors instead of internal ones.
 */
#ifndef ROWAN_CORE_BTREE_ONLY_H
#define ROWAN_CORE_BTREE_ONLY_H

#include "base/compat.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "utils/elog.h"

/*
 * Raises an error if the plan has an ON CONFLICT clause for a table with a unique index of another
 * method than btree.
 */
extern void btree_only_check_plan(PlannedStmt *plan);

/* Whether the plan may meet such an index later, in a partition. */
extern bool btree_only_may_fail(PlannedStmt *plan);

/*
 * Whether the utility statement may fail with an error that btree_only_rethrow has better words
 * for.
 */
extern bool btree_only_utility(Node *statement);

/*
 * In PG_CATCH: rethrows the current error, in better words if there are some.  context outlives the
 * error; statement is the utility statement, or NULL.
 */
pg_noreturn extern void btree_only_rethrow(MemoryContext context, Node *statement);

#endif							/* ROWAN_CORE_BTREE_ONLY_H */
