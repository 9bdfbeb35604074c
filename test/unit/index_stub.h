/*
 * index_stub.h
 *	  Index tuples without a server.
 */
#ifndef ROWAN_TEST_INDEX_STUB_H
#define ROWAN_TEST_INDEX_STUB_H

#include "entry/entry.h"

extern IndexTuple stub_form_tuple(TupleDesc desc, const Datum *values, const bool *isnull);

#endif							/* ROWAN_TEST_INDEX_STUB_H */
