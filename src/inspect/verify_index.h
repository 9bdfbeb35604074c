/*
 * verify_index.h
 *	  rowan.verify() of an index.
 */
#ifndef ROWAN_INSPECT_VERIFY_INDEX_H
#define ROWAN_INSPECT_VERIFY_INDEX_H

#include "fmgr.h"

/* Reports into the function's set; both_ways: the table's rows against the entries too. */
extern void verify_index(FunctionCallInfo fcinfo, Oid relid, bool both_ways);

#endif							/* ROWAN_INSPECT_VERIFY_INDEX_H */
