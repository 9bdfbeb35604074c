/*
 * verify_index.h
 *	  Verifying a table or an index, for whoever collects problems.
 */
#ifndef ROWAN_INSPECT_VERIFY_INDEX_H
#define ROWAN_INSPECT_VERIFY_INDEX_H

#include "inspect/problems.h"

/*
 * both_ways: the table's rows against the entries too.  may_be_gone: what does not exist (any
 * more), or is not ours, is passed over; else that is an error.
 */
extern void verify_index(Problems *problems, Oid relid, bool both_ways, bool may_be_gone);

/* The same of a table. */
extern void verify_table(Problems *problems, Oid relid, bool may_be_gone);

#endif							/* ROWAN_INSPECT_VERIFY_INDEX_H */
