/*
 * identity.h
 *	  What logical decoding is told of a change of a table: its columns, and the old row as the
 *	  table's replica identity says.
 *
 * Private to src/table.
 */
#ifndef ROWAN_TABLE_IDENTITY_H
#define ROWAN_TABLE_IDENTITY_H

#include "row/logical.h"
#include "row/row.h"
#include "utils/rel.h"

/* All: palloc'd, in the current context.  NULL: nobody will decode it. */
extern RowLogical *identity_of_insert(Relation rel, int options);

/* Of a table that is logically logged. */
extern RowLogical *identity_of_update(Relation rel, TupleTableSlot *old, bool key_differs);
extern RowLogical *identity_of_delete(Relation rel, const RowData *old);

/* Of a speculative insertion.  False: as above. */
extern bool identity_of_speculative(Relation rel, bool succeeded, RowLogical *logical);

/*
 * Core puts rows together with their out-of-line values in heap's form, which takes more room.
 * Refuses (ERROR) rows of one call that it could not.
 */
extern void identity_check_rows(Relation rel, const RowData *rows, int nrows);

/* The columns by which rows are known; NULL: none, or all. */
extern Bitmapset *identity_columns(Relation rel);

#endif							/* ROWAN_TABLE_IDENTITY_H */
