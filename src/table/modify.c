/*
 * modify.c
 *	  INSERT, UPDATE and DELETE: what the executor asks for, in terms of the row
 *	  layer, with toasting before and waiting in between (row_lock.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/fault.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "table/identity.h"
#include "table/row_lock.h"
#include "table/table.h"
#include "table/toast.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Rows of that size are never toasted. */
#define SMALL_ROW_BYTES		(BLCKSZ / 8)

/* ---- a row's bytes ---- */

/* The slot holds a row as it is to be stored: nothing in it is or need be out of line. */
static bool
is_small_row(TupleTableSlot *slot, const RowLayout *layout)
{
	RowData    *row = &((RowanSlot *) slot)->row;

	return TTS_IS_ROWAN(slot) && row->data != NULL && row->natts == layout->natts &&
		(row->flags & ROW_EXTERNAL) == 0 && row->size <= SMALL_ROW_BYTES;
}

/*
 * What is to be stored for the slot, toasted if need be; then the bytes are not the slot's, but
 * palloc'd in the current context.
 */
static void
slot_row_for_storage(Relation rel, TupleTableSlot *slot, TupleTableSlot *old_slot, int options,
					 RowData *row)
{
	int			natts = RelationGetNumberOfAttributes(rel);
	const RowLayout *layout;
	Datum	   *values;
	bool	   *isnull;
	uint16		flags;
	Size		size;

	if (TTS_IS_ROWAN(slot))
		ExecMaterializeSlot(slot);
	if (old_slot == NULL && is_small_row(slot, table_layout(rel)))
	{
		slot_get_row(slot, table_layout(rel), row);
		return;
	}
	values = palloc(sizeof(Datum) * natts);
	isnull = palloc(sizeof(bool) * natts);
	if (!toast_row(rel, slot, old_slot, options, values, isnull))
	{
		slot_get_row(slot, table_layout(rel), row);
		return;
	}
	/* only now: toasting opens relations, and an invalidation may free a layout */
	layout = table_layout(rel);
	size = row_encoded_size(layout, values, isnull, &flags);
	row_encode(layout, values, isnull, palloc(row_encode_room(layout, size)), row);
	toast_release();
}

/*
 * What a verb allocates in all, page-sized pieces mostly: they must come from the block that a reset keeps, which
 * an allocation set does not do with pieces that large.
 */
#define ROW_CONTEXT_BYTES	(16 * BLCKSZ)

MemoryContext
table_enter_row_context(void)
{
	static MemoryContext row_context = NULL;

	if (row_context == NULL)
		row_context = GenerationContextCreate(TopMemoryContext, "Rowan row", ROW_CONTEXT_BYTES,
											  ROW_CONTEXT_BYTES, 16 * ROW_CONTEXT_BYTES);
	MemoryContextReset(row_context);
	return MemoryContextSwitchTo(row_context);
}

/*
 * Serializable transactions that have read what is being written (NULL: the table).  Asked before the change, to
 * fail early, and again after it: a reader that came in between has locked what it read, and did not see the
 * change.
 */
static void
check_conflicts_in(Relation rel, ItemPointer tid)
{
	CheckForSerializableConflictIn(rel, tid,
								   tid == NULL ? InvalidBlockNumber
								   : ItemPointerGetBlockNumber(tid));
}

/* ---- insert ---- */

static void
slot_now_holds(Relation rel, TupleTableSlot *slot, RowId row, TransactionId xid, CommandId cid)
{
	row_tid_set(&slot->tts_tid, row, 0);
	slot->tts_tableOid = RelationGetRelid(rel);
	if (TTS_IS_ROWAN(slot))
	{
		RowanSlot  *rslot = (RowanSlot *) slot;

		rslot->xmin = xid;
		rslot->cmin = cid;
		rslot->xmax = InvalidTransactionId;
		rslot->cmax = cid;
	}
}

/* COPY FREEZE: everybody sees the rows, but it is still we who have made them. */
static void
insert_rows(RowTable *table, const RowData *data, int nrows, CommandId cid, int options,
			uint32 token, RowLogical *logical, RowId *rows)
{
	TransactionId xid = GetCurrentTransactionId();
	TransactionId *xids;

	if ((options & TABLE_INSERT_FROZEN) == 0)
	{
		row_insert(table, data, nrows, xid, cid, token, logical, rows);
		return;
	}
	xids = palloc(sizeof(TransactionId) * nrows);
	for (int i = 0; i < nrows; i++)
		xids[i] = xid;
	row_insert_frozen(table, data, nrows, xids, logical, rows);
}

static void
insert_one(Relation rel, TupleTableSlot *slot, CommandId cid, int options, uint32 token)
{
	MemoryContext caller = table_enter_row_context();
	TransactionId xid = GetCurrentTransactionId();
	RowTable	table;
	RowData		data;
	RowId		row;

	table_row_table(rel, &table);
	slot_row_for_storage(rel, slot, NULL, options, &data);
	identity_check_rows(rel, &data, 1);
	check_conflicts_in(rel, NULL);
	insert_rows(&table, &data, 1, cid, options, token, identity_of_insert(rel, options), &row);
	check_conflicts_in(rel, NULL);
	MemoryContextSwitchTo(caller);
	slot_now_holds(rel, slot, row, xid, cid);
	pgstat_count_heap_insert(rel, 1);
}

void
rowan_tuple_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
				   struct BulkInsertStateData *bistate)
{
	insert_one(rel, slot, cid, options, 0);
}

void
rowan_tuple_insert_speculative(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
							   struct BulkInsertStateData *bistate, uint32 token)
{
	insert_one(rel, slot, cid, options, token);
}

/* Out-of-line values of the row as it is stored: those in the slot may be another table's. */
static void
undo_toasting(Relation rel, RowTable *table, RowId row)
{
	MemoryContext caller = table_enter_row_context();
	RowVersion	version;

	if (row_read(table, row, NULL, palloc(BLCKSZ + MAXIMUM_ALIGNOF), &version))
		toast_delete_row_data(rel, &version.data, true);
	MemoryContextSwitchTo(caller);
}

void
rowan_tuple_complete_speculative(Relation rel, TupleTableSlot *slot, uint32 token, bool succeeded)
{
	RowId		row = row_id_from_tid(&slot->tts_tid);
	RowTable	table;
	RowLogical	logical;
	bool		is_logged = identity_of_speculative(rel, succeeded, &logical);

	table_row_table(rel, &table);
	if (!succeeded)
		undo_toasting(rel, &table, row);
	row_finish_speculative(&table, row, succeeded, is_logged ? &logical : NULL);
}

void
rowan_multi_insert(Relation rel, TupleTableSlot **slots, int nslots, CommandId cid, int options,
				   struct BulkInsertStateData *bistate)
{
	MemoryContext caller = table_enter_row_context();
	TransactionId xid = GetCurrentTransactionId();
	RowTable	table;
	RowData    *data = palloc(sizeof(RowData) * nslots);
	RowId	   *rows = palloc(sizeof(RowId) * nslots);

	table_row_table(rel, &table);
	for (int i = 0; i < nslots; i++)
		slot_row_for_storage(rel, slots[i], NULL, options, &data[i]);
	identity_check_rows(rel, data, nslots);
	check_conflicts_in(rel, NULL);
	insert_rows(&table, data, nslots, cid, options, 0, identity_of_insert(rel, options), rows);
	check_conflicts_in(rel, NULL);
	for (int i = 0; i < nslots; i++)
		slot_now_holds(rel, slots[i], rows[i], xid, cid);
	MemoryContextSwitchTo(caller);
	pgstat_count_heap_insert(rel, nslots);
}

/* ---- delete ---- */

/* What decoding is told of it.  If the version is not there, nothing will be deleted. */
static RowLogical *
deletion_identity(Relation rel, RowTable *table, ItemPointer tid, RowWork *work)
{
	RowVersion	version;

	if (!RelationIsLogicallyLogged(rel) ||
		!row_fetch_tag(table, row_id_from_tid(tid), row_tag_from_tid(tid), NULL,
					   palloc(BLCKSZ + MAXIMUM_ALIGNOF), work, &version))
		return NULL;
	return identity_of_delete(rel, &version.data);
}

TM_Result
rowan_tuple_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot,
				   Snapshot crosscheck, bool wait, TM_FailureData *tmfd, bool changing_part)
{
	MemoryContext caller = table_enter_row_context();
	RowWriter	writer = {.xid = GetCurrentTransactionId(), .cid = cid,
	.crosscheck = crosscheck, .mode = LockTupleExclusive};
	RowWork    *work = row_work_create();
	RowId		row = row_id_from_tid(tid);
	RowTable	table;
	RowOutcome	outcome;
	RowWait		waiting;

	table_row_table(rel, &table);
	check_conflicts_in(rel, tid);
	writer.logical = deletion_identity(rel, &table, tid, work);
	row_wait_init(&waiting, rel, row, LockTupleExclusive, LockWaitBlock, XLTW_Delete);
	for (;;)
	{
		row_delete(&table, row, row_tag_from_tid(tid),
				   changing_part ? ROW_MOVE_PARTITION : ROW_DELETE, &writer, work, &outcome);
		if (outcome.result != TM_BeingModified || !wait)
			break;
		(void) row_wait_for(&waiting, &outcome);
		writer.contended = true;
	}
	row_wait_end(&waiting);
	if (outcome.result == TM_Ok)
	{
		RowVersion	version;

		check_conflicts_in(rel, tid);
		pgstat_count_heap_delete(rel);
		if (rel->rd_rel->reltoastrelid != InvalidOid &&
			row_fetch_tag(&table, row, row_tag_from_tid(tid), NULL, palloc(BLCKSZ + MAXIMUM_ALIGNOF),
						  work, &version))
			toast_delete_row_data(rel, &version.data, false);
	}
	MemoryContextSwitchTo(caller);
	return row_report_outcome(&outcome, tmfd);
}

/* ---- update ---- */

typedef struct UpdateState
{
	Relation	rel;
	RowTable	table;
	RowWriter	writer;
	RowWork    *work;
	RowId		row;
	uint8		tag;
	TupleTableSlot *slot;		/* new */
	TupleTableSlot *old;		/* the version to be updated */
	RowOutcome	outcome;
	RowWait		waiting;
} UpdateState;

/*
 * The same value, byte for byte; that one of them has a short header and the other not, as before
 * it is stored, makes no difference.
 */
static bool
same_value(Form_pg_attribute att, Datum a, Datum b)
{
	Pointer		p = DatumGetPointer(a);
	Pointer		q = DatumGetPointer(b);

	if (att->attlen != -1 || VARATT_IS_EXTERNAL(p) || VARATT_IS_COMPRESSED(p) ||
		VARATT_IS_EXTERNAL(q) || VARATT_IS_COMPRESSED(q))
		return datumIsEqual(a, b, att->attbyval, att->attlen);
	return VARSIZE_ANY_EXHDR(p) == VARSIZE_ANY_EXHDR(q) &&
		memcmp(VARDATA_ANY(p), VARDATA_ANY(q), VARSIZE_ANY_EXHDR(p)) == 0;
}

/* True if any of the columns has another value (core's index AMs cannot recheck). */
static bool
columns_differ(UpdateState *state, const Bitmapset *columns)
{
	TupleDesc	desc = RelationGetDescr(state->rel);
	int			bit = -1;

	while ((bit = bms_next_member(columns, bit)) >= 0)
	{
		AttrNumber	attnum = bit + FirstLowInvalidHeapAttributeNumber;
		Form_pg_attribute att;
		Datum		old_value,
					new_value;
		bool		old_null,
					new_null;

		if (attnum == 0)
			return true;		/* whole-row reference: play safe */
		if (attnum < 0)
			continue;			/* tableoid does not change */
		att = TupleDescAttr(desc, attnum - 1);
		old_value = slot_getattr(state->old, attnum, &old_null);
		new_value = slot_getattr(state->slot, attnum, &new_null);
		if (old_null != new_null)
			return true;
		if (!old_null && !same_value(att, old_value, new_value))
			return true;
	}
	return false;
}

static bool
index_columns_differ(UpdateState *state, Bitmapset *columns)
{
	bool		differ = columns_differ(state, columns);

	bms_free(columns);
	return differ;
}

/*
 * Makes sure that nobody else changes the row, before toast tables are written on its behalf.
 */
static bool
lock_before_toasting(UpdateState *state)
{
	RowVersion	version;
	ItemPointerData tid;
	RowWait		wait;

	row_tid_set(&tid, state->row, state->tag);
	row_wait_init(&wait, state->rel, state->row, state->writer.mode, LockWaitBlock, XLTW_Update);
	row_lock_waiting(&state->table, &tid, &state->writer, &wait, palloc(2 * BLCKSZ), state->work,
					 &version, &state->outcome);
	return state->outcome.result == TM_Ok;
}

static bool
needs_toasting(UpdateState *state)
{
	const RowLayout *layout = table_layout(state->rel);
	uint16		flags;
	Size		size;

	if (((RowanSlot *) state->old)->row.flags & ROW_EXTERNAL)
		return true;
	slot_getallattrs(state->slot);
	size = row_encoded_size(layout, state->slot->tts_values, state->slot->tts_isnull, &flags);
	return size > BLCKSZ / 8 || (flags & ROW_EXTERNAL) != 0;
}

static void
update_in_place(UpdateState *state, const RowData *data)
{
	for (;;)
	{
		row_update(&state->table, state->row, state->tag, data, &state->writer, state->work,
				   &state->outcome);
		if (state->outcome.result != TM_BeingModified)
			break;
		(void) row_wait_for(&state->waiting, &state->outcome);
		state->writer.contended = true;
	}
}

static void
update_by_moving(UpdateState *state, const RowData *data)
{
	RowDeletion why = state->writer.mode == LockTupleExclusive ? ROW_MOVE : ROW_MOVE_KEY_KEPT;
	RowId		new_row;

	for (;;)
	{
		row_move(&state->table, state->row, state->tag, why, data, &state->writer, state->work,
				 &state->outcome, &new_row);
		if (state->outcome.result != TM_BeingModified)
			break;
		(void) row_wait_for(&state->waiting, &state->outcome);
		state->writer.contended = true;
	}
	if (state->outcome.result == TM_Ok)
		state->row = new_row;
}

static bool
fetch_old(UpdateState *state, ItemPointer otid)
{
	RowVersion	version;

	if (!row_fetch_tag(&state->table, state->row, state->tag, NULL,
					   palloc(BLCKSZ + MAXIMUM_ALIGNOF), state->work, &version))
		return false;
	state->writer.contended = version.superseded;
	table_store_version(state->rel, state->old, state->row, &version, true);
	return true;
}

static Bitmapset *
key_columns(Relation rel)
{
	return RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_KEY);
}

/* Which indexes want an entry for the row. */
static TU_UpdateIndexes
indexes_to_update(UpdateState *state, bool moved)
{
	if (state->outcome.result != TM_Ok)
		return TU_None;
	if (moved)
		return TU_All;
	return index_columns_differ(state, summarized_columns(state->rel)) ? TU_Summarizing : TU_None;
}

static RowLogical *
update_identity(UpdateState *state)
{
	if (!RelationIsLogicallyLogged(state->rel))
		return NULL;
	return identity_of_update(state->rel, state->old,
							  index_columns_differ(state, identity_columns(state->rel)));
}

static TU_UpdateIndexes
do_update(UpdateState *state, LockTupleMode *lockmode)
{
	RowData		data;
	bool		move = index_columns_differ(state, moving_columns(state->rel));

	*lockmode = move && index_columns_differ(state, key_columns(state->rel))
		? LockTupleExclusive : LockTupleNoKeyExclusive;
	state->writer.mode = *lockmode;
	state->writer.logical = update_identity(state);
	row_wait_init(&state->waiting, state->rel, state->row, *lockmode, LockWaitBlock, XLTW_Update);
	if (needs_toasting(state))
	{
		if (!lock_before_toasting(state))
			return TU_None;
		slot_row_for_storage(state->rel, state->slot, state->old, 0, &data);
		identity_check_rows(state->rel, &data, 1);
	}
	else
	{
		if (TTS_IS_ROWAN(state->slot))
			ExecMaterializeSlot(state->slot);
		slot_get_row(state->slot, table_layout(state->rel), &data);
	}
	if (!move)
	{
		update_in_place(state, &data);
		move = state->outcome.must_move;
	}
	if (move)
		update_by_moving(state, &data);
	row_wait_end(&state->waiting);
	return indexes_to_update(state, move);
}

TM_Result
rowan_tuple_update(Relation rel, ItemPointer otid, TupleTableSlot *slot, CommandId cid,
				   Snapshot snapshot, Snapshot crosscheck, bool wait, TM_FailureData *tmfd,
				   LockTupleMode *lockmode, TU_UpdateIndexes *update_indexes)
{
	MemoryContext caller = table_enter_row_context();
	UpdateState state;

	memset(&state, 0, sizeof(state));
	state.rel = rel;
	state.writer.xid = GetCurrentTransactionId();
	state.writer.cid = cid;
	state.writer.crosscheck = crosscheck;
	state.work = row_work_create();
	state.row = row_id_from_tid(otid);
	state.tag = row_tag_from_tid(otid);
	state.slot = slot;
	state.old = MakeTupleTableSlot(RelationGetDescr(rel), &TTSOpsRowan);
	table_row_table(rel, &state.table);
	*update_indexes = TU_None;
	*lockmode = LockTupleNoKeyExclusive;
	check_conflicts_in(rel, otid);
	if (fetch_old(&state, otid))
		*update_indexes = do_update(&state, lockmode);
	else
	{
		/* the version is forgotten: let a delete that cannot succeed say what came after it */
		state.writer.mode = LockTupleNoKeyExclusive;
		row_delete(&state.table, state.row, state.tag, ROW_DELETE, &state.writer, state.work,
				   &state.outcome);
		if (state.outcome.result == TM_Ok)
			elog(ERROR, "version of row to be updated is missing");
	}
	MemoryContextSwitchTo(caller);
	if (state.outcome.result == TM_Ok)
	{
		check_conflicts_in(rel, otid);
		slot_now_holds(rel, slot, state.row, state.writer.xid, cid);
		row_tid_set(&slot->tts_tid, state.row, state.outcome.tag);
		if (TTS_IS_ROWAN(slot))
			((RowanSlot *) slot)->xmax = state.outcome.lock_xid;
		count_update(rel, *update_indexes != TU_All);
	}
	ExecDropSingleTupleTableSlot(state.old);
	return row_report_outcome(&state.outcome, tmfd);
}
