/*
 * target.h
 *	  The row a writer has latched, and the replacement of its cell.
 *
 * Private to src/row.  target.c knows how to latch a row, pop aborted versions and write a cell;
 * reclaim.c frees version pages with that; supersede.c pushes versions, for which it may have to
 * reclaim.
 */
#ifndef ROWAN_ROW_TARGET_H
#define ROWAN_ROW_TARGET_H

#include "row/leafop.h"
#include "row/row.h"

typedef struct RowTarget
{
	RowTable   *table;
	RowId		row;
	PoolFrame  *leaf;			/* latched exclusively, or NULL */
	int			pos;
	RowLogical *logical;		/* of the next write of its cell, or NULL */
	RowVersion	top;			/* newest version; its data in `copy` */
	RowCellBuffer copy;			/* the row as it was found */
	RowCellBuffer record;		/* the version record to be pushed */
} RowTarget;

/*
 * Latches the row's leaf and reads the newest version, after popping those of aborted
 * transactions.  False, nothing latched: there is no such row, or it is a stub or a failed
 * insertion.
 */
extern bool target_latch(RowTarget *target, RowTable *table, RowId row, RowWork *work);

extern void target_unlatch(RowTarget *target);

/*
 * The latched row's cell may be replaced by one of that size.  If not, room is made, with the latch
 * released: latch again and start over.
 */
extern bool target_has_room(RowTarget *target, const RowMeta *meta, const RowData *data);

/*
 * Replaces the cell, for which there is room, and appends the record to the latched version page,
 * if that is not NULL.  Releases both latches.
 */
extern void target_write_cell(RowTarget *target, const RowMeta *meta, const RowData *data,
							  PoolFrame *version, const VersionRecordData *record);

/*
 * Replaces the row's cell; nothing goes to the version store.  The latch is released in any case.
 * False: there was no room; it has been made, latch again and start over.
 */
extern bool target_write(RowTarget *target, const RowMeta *meta, const RowData *data);

/* Pops the aborted versions of a row, if there are any. */
extern void row_revert(RowTable *table, RowId row, RowWork *work);

/* ---- insert.c ---- */

/* Where a row that moves goes. */
typedef enum MoveTo
{
	MOVE_NEAR,					/* to the old row's leaf */
	MOVE_TO_EDGE
} MoveTo;

/*
 * A row inserted where one that has been deleted goes on, with the lock word that *lock has, of
 * those who still lock it.
 */
extern void row_insert_moved(RowTable *table, const RowData *data, RowId old_row,
							 const RowWriter *writer, const RowMeta *lock, RowId *id);

/*
 * The leaf where it may go at once; NULL: there is no room, or it isn't known.  leaf: the old
 * row's, latched exclusively, of which `reserve` bytes are not to be counted upon; another one is
 * latched, too.  *append: how it goes there.  *crowded: the old row's leaf lacks bytes for it.
 */
extern PoolFrame *row_place_moved(RowTable *table, PoolFrame *leaf, MoveTo to, int reserve,
								  const RowData *data, const RowWriter *writer,
								  const RowMeta *lock, LeafAppend *append, bool *crowded);

/* ---- supersede.c ---- */

/*
 * Computes the record that keeps target->top, as superseded by xid with a version that has `newer`
 * data and newer_tag; what that is to the row's key.  It is in the target, till the next one.
 */
extern const VersionRecordData *target_record(RowTarget *target, TransactionId xid, uint8 newer_tag,
											  VersionKey key, const RowData *newer);

/*
 * Replaces the cell and inserts the row at its new place, data there, by one record; the cell says
 * where that is.  False: it can't be done so, and nothing has been done; else the latch is
 * released.  *crowded: its leaf lacks bytes for the row.
 */
extern bool target_move(RowTarget *target, MoveTo to, const RowMeta *deletion,
						const VersionRecordData *record, const RowData *data,
						const RowWriter *writer, RowId *new_row, bool *crowded);

/* As target_write, with `record` (or NULL) appended to the version store. */
extern bool target_replace(RowTarget *target, const RowMeta *meta, const RowData *data,
						   const VersionRecordData *record);

/* ---- what else is shared ---- */

/* The deletion says where the row goes on. */
static inline void
row_meta_set_forward(RowMeta *deletion, ItemPointer where)
{
	deletion->flags |= ROW_FORWARD;
	deletion->forward_block = ItemPointerGetBlockNumberNoCheck(where);
	deletion->forward_offset = ItemPointerGetOffsetNumberNoCheck(where);
}

/*
 * Deleting a frozen version pushes no record of it: its creator, if known, stays with the
 * deletion.  False: it is not frozen.
 */
extern bool row_keep_frozen(RowMeta *deletion, const RowMeta *deleted);

/* The lock word without lockers that have ended; ROW_LOCK is cleared if none is left. */
extern void lock_word_tidy(RowMeta *meta);

/*
 * Lockers of the row that are not us, still run, and conflict with mode, of those whose lock is not
 * stronger than `strongest`: added to outcome->wait, in the order of a MultiXactId's members.
 */
extern void lock_conflicts(const RowMeta *meta, LockTupleMode mode, LockTupleMode strongest,
						   RowOutcome *outcome);

/* What an update by xid that changes no key is to the row's key: have we locked it FOR UPDATE? */
extern VersionKey lock_key_held(const RowMeta *meta, TransactionId xid);

/* Our transaction is one of the lockers. */
extern bool lock_held_by_us(const RowMeta *meta);

/* Adds xid's lock to the lock word; false if it has one at least as strong. */
extern bool lock_word_add(RowMeta *meta, TransactionId xid, LockTupleMode mode);

#define ROW_LOCK_MODE_MASK	0x0003	/* LockTupleMode, of a single locker */
#define ROW_LOCK_IS_MULTI	0x0004

#endif							/* ROWAN_ROW_TARGET_H */
