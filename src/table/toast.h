/*
 * toast.h
 *	  Moving long values of a row out of line, into the table's toast table,
 *	  which is a heap table.
 */
#ifndef ROWAN_TABLE_TOAST_H
#define ROWAN_TABLE_TOAST_H

#include "table/slot.h"
#include "utils/rel.h"

/*
 * Compresses and moves out values of the row in slot until it is small enough to
 * be stored, and deletes out-of-line values of the old row (old_slot; NULL for
 * an insertion) that the new one does not keep.
 *
 * False: the slot's values can be stored as they are (slot_get_row); values and isnull are
 * garbage.  True: values and isnull (slot's natts each) are what is to be stored (row_encode); they
 * are valid until the next toast_row, toast_release or the end of the transaction.
 *
 * Writes to the toast table, so: no latches held, not in a critical section, and the old row must
 * already be locked by this transaction or otherwise certain to be replaced.  options as for
 * table_tuple_insert.  Raises PROGRAM_LIMIT_EXCEEDED for a row that is too big.
 */
extern bool toast_row(Relation rel, TupleTableSlot *slot, TupleTableSlot *old_slot, int options,
					  Datum *values, bool *isnull);

/* Frees the memory of the last toast_row's values; optional. */
extern void toast_release(void);

/*
 * Deletes the out-of-line values of a deleted row.  is_speculative: the row is an insertion of our
 * own being undone.
 */
extern void toast_delete_row(Relation rel, TupleTableSlot *slot, bool is_speculative);

/* The same, by the row's bytes; cheap when there is nothing out of line. */
extern void toast_delete_row_data(Relation rel, const RowData *row, bool is_speculative);

/* Callback of the table AM. */
extern bool rowan_relation_needs_toast_table(Relation rel);

#endif							/* ROWAN_TABLE_TOAST_H */
