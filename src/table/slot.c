/*
 * slot.c
 *	  The tuple table slot of Rowan tables.
 *
 * A slot holds either a row's bytes (row.data set; values are decoded from them
 * on demand and point into them) or a virtual tuple (row.data NULL; the value
 * arrays are all there is, as after ExecStoreVirtualTuple).  TTS_FLAG_SHOULDFREE
 * means that the content depends on nothing but the slot.
 *
 * Takes no latches; never holds anything of the pool: bytes that a slot refers
 * to are copies.
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/tupmacs.h"
#include "access/xact.h"
#include "base/compat.h"
#include "table/slot.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"

/* A buffer that grew beyond this is not kept for the next row. */
#define SLOT_BUFFER_KEPT_BYTES	65536
#define SLOT_BUFFER_MIN_BYTES	512

#define rowan_slot(slot)	((RowanSlot *) (slot))

static inline RowLayout *
get_layout(RowanSlot *rslot)
{
	if (unlikely(rslot->layout == NULL))
	{
		MemoryContext old_context = MemoryContextSwitchTo(rslot->base.tts_mcxt);

		rslot->layout = row_layout_create(rslot->base.tts_tupleDescriptor);
		MemoryContextSwitchTo(old_context);
	}
	return rslot->layout;
}

static void
free_buffer(RowanSlot *rslot)
{
	if (rslot->buffer != NULL)
		pfree(rslot->buffer);
	rslot->buffer = NULL;
	rslot->buffer_size = 0;
}

/* The slot no longer refers to anything of the row it held. */
static inline void
forget_content(RowanSlot *rslot)
{
	rslot->row.data = NULL;
	rslot->decode_offset = 0;
	rslot->base.tts_nvalid = 0;
	rslot->base.tts_flags &= ~TTS_FLAG_SHOULDFREE;
}

static inline void
forget_identity(RowanSlot *rslot)
{
	rslot->xmin = InvalidTransactionId;
	rslot->xmax = InvalidTransactionId;
	rslot->cmin = FirstCommandId;
	rslot->cmax = FirstCommandId;
}

char *
slot_buffer(TupleTableSlot *slot, Size size)
{
	RowanSlot  *rslot = rowan_slot(slot);

	if (unlikely(size > rslot->buffer_size || rslot->buffer == NULL))
	{
		Size		new_size = Max(size, SLOT_BUFFER_MIN_BYTES);

		free_buffer(rslot);
		rslot->buffer = MemoryContextAllocHuge(slot->tts_mcxt, new_size);
		rslot->buffer_size = new_size;
	}
	return rslot->buffer;
}

/* ---- storing ---- */

/* Makes a copy of the row the content, in the slot's buffer. */
void
slot_copy_row(TupleTableSlot *slot, const RowData *row)
{
	Size		bitmap_size = row->nulls != NULL ? (row->natts + 7) / 8 : 0;
	RowData		copy = *row;
	char	   *dest;

	/* all in the buffer or nothing: it may be freed here */
	Assert(!slot_buffer_has(rowan_slot(slot), row->data));
	dest = slot_buffer(slot, MAXALIGN(bitmap_size) + row->size);
	if (row->nulls != NULL)
	{
		memcpy(dest, row->nulls, bitmap_size);
		copy.nulls = (const bits8 *) dest;
		dest += MAXALIGN(bitmap_size);
	}
	memcpy(dest, row->data, row->size);
	copy.data = dest;
	slot_refer_row(slot, &copy);
}

/* ---- making content the slot's own ---- */

/*
 * A pointer to a value in memory (VARTAG_INDIRECT) cannot be put into a row's
 * bytes before toasting has resolved it.
 */
static bool
has_indirect_value(TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;

	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attlen == -1 && !slot->tts_isnull[i] &&
			VARATT_IS_EXTERNAL_INDIRECT(DatumGetPointer(slot->tts_values[i])))
			return true;
	}
	return false;
}

/*
 * Encodes a virtual tuple into the slot's buffer, so that storing it in the
 * table copies nothing; false if it must stay virtual: it is going to be
 * toasted, or holds indirect values.
 */
static bool
encode_virtual(RowanSlot *rslot)
{
	TupleTableSlot *slot = &rslot->base;
	RowLayout  *layout = get_layout(rslot);
	RowData		row;
	uint16		flags;
	Size		size;

	size = row_encoded_size(layout, slot->tts_values, slot->tts_isnull, &flags);
	if (size > TOAST_TUPLE_THRESHOLD)
		return false;
	if ((flags & ROW_EXTERNAL) && has_indirect_value(slot))
		return false;
	row_encode(layout, slot->tts_values, slot->tts_isnull,
			   slot_buffer(slot, row_encode_room(layout, size)), &row);
	slot_refer_row(slot, &row);
	slot->tts_flags |= TTS_FLAG_SHOULDFREE;
	return true;
}

/* Bytes that the value takes at *offset, which moves to its aligned start. */
static Size
flat_size(Form_pg_attribute att, Datum value, Size *offset)
{
	*offset = att_align_nominal(*offset, att->attalign);
	if (att->attlen == -1 && VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(value)))
		return EOH_get_flat_size(DatumGetEOHP(value));
	return att_addlength_datum((Size) 0, att->attlen, value);
}

/*
 * Copies the values of a virtual tuple into the slot's buffer.
 */
static void
copy_virtual(RowanSlot *rslot)
{
	TupleTableSlot *slot = &rslot->base;
	TupleDesc	desc = slot->tts_tupleDescriptor;
	Size		size = 0;
	Size		offset = 0;
	char	   *buffer;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attbyval && !slot->tts_isnull[i])
			size += flat_size(att, slot->tts_values[i], &size);
	}

	buffer = slot_buffer(slot, size);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Datum		value = slot->tts_values[i];
		Size		n;

		if (att->attbyval || slot->tts_isnull[i])
			continue;
		n = flat_size(att, value, &offset);
		if (att->attlen == -1 && VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(value)))
			EOH_flatten_into(DatumGetEOHP(value), buffer + offset, n);
		else
			memcpy(buffer + offset, DatumGetPointer(value), n);
		slot->tts_values[i] = PointerGetDatum(buffer + offset);
		offset += n;
	}
	slot->tts_flags |= TTS_FLAG_SHOULDFREE;
}

/* ---- callbacks ---- */

void
rowan_slot_init(TupleTableSlot *slot)
{
	RowanSlot  *rslot = rowan_slot(slot);

	rslot->layout = NULL;
	rslot->row.data = NULL;
	rslot->decode_offset = 0;
	rslot->buffer = NULL;
	rslot->buffer_size = 0;
	forget_identity(rslot);
}

void
rowan_slot_release(TupleTableSlot *slot)
{
	RowanSlot  *rslot = rowan_slot(slot);

	forget_content(rslot);
	free_buffer(rslot);
	if (rslot->layout != NULL)
		pfree(rslot->layout);
	rslot->layout = NULL;
}

void
rowan_slot_clear(TupleTableSlot *slot)
{
	RowanSlot  *rslot = rowan_slot(slot);

	forget_content(rslot);
	forget_identity(rslot);
	if (unlikely(rslot->buffer_size > SLOT_BUFFER_KEPT_BYTES))
		free_buffer(rslot);

	/* the slot may be about to get another descriptor (ExecSetSlotDescriptor) */
	if (unlikely(!TTS_FIXED(slot) && rslot->layout != NULL))
	{
		pfree(rslot->layout);
		rslot->layout = NULL;
	}
	slot->tts_flags |= TTS_FLAG_EMPTY;
	ItemPointerSetInvalid(&slot->tts_tid);
}

void
rowan_slot_getsomeattrs(TupleTableSlot *slot, int natts)
{
	RowanSlot  *rslot = rowan_slot(slot);
	int			n;

	Assert(!TTS_EMPTY(slot));
	if (rslot->row.data == NULL)
		elog(ERROR, "virtual tuple in a Rowan slot has %d of %d values",
			 slot->tts_nvalid, natts);
	n = Min(natts, rslot->row.natts);
	if (n <= slot->tts_nvalid)
		return;					/* the rest is missing: core fills it in */

	if (!row_decode(get_layout(rslot), &rslot->row, slot->tts_nvalid, n,
					&rslot->decode_offset, slot->tts_values, slot->tts_isnull))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("row (%u,%u) of table with OID %u cannot be decoded",
						ItemPointerGetBlockNumberNoCheck(&slot->tts_tid),
						ItemPointerGetOffsetNumberNoCheck(&slot->tts_tid),
						slot->tts_tableOid),
				 errhint("Check the table with rowan.verify().")));
	slot->tts_nvalid = n;
}

/* Does the slot hold a row of a table, not one still to be inserted? */
static inline bool
is_stored_row(const RowanSlot *rslot)
{
	return ItemPointerIsValid(&rslot->base.tts_tid) &&
		(rslot->row.data != NULL || TransactionIdIsValid(rslot->xmin));
}

/* As a user sees it: a row visible to everyone has the frozen xid. */
static inline TransactionId
shown_xmin(const RowanSlot *rslot)
{
	return TransactionIdIsValid(rslot->xmin) ? rslot->xmin : FrozenTransactionId;
}

Datum
rowan_slot_getsysattr(TupleTableSlot *slot, int attnum, bool *isnull)
{
	RowanSlot  *rslot = rowan_slot(slot);

	Assert(!TTS_EMPTY(slot));
	if (!is_stored_row(rslot))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot retrieve a system column in this context")));

	*isnull = false;
	switch (attnum)
	{
		case SelfItemPointerAttributeNumber:
			return PointerGetDatum(&slot->tts_tid);
		case MinTransactionIdAttributeNumber:
			return TransactionIdGetDatum(shown_xmin(rslot));
		case MaxTransactionIdAttributeNumber:
			return TransactionIdGetDatum(rslot->xmax);
		case MinCommandIdAttributeNumber:
			return CommandIdGetDatum(rslot->cmin);
		case MaxCommandIdAttributeNumber:
			return CommandIdGetDatum(rslot->cmax);
		case TableOidAttributeNumber:
			return ObjectIdGetDatum(slot->tts_tableOid);
		default:
			elog(ERROR, "invalid system attribute number: %d", attnum);
			return 0;			/* keep compiler quiet */
	}
}

void
rowan_slot_materialize(TupleTableSlot *slot)
{
	RowanSlot  *rslot = rowan_slot(slot);

	Assert(!TTS_EMPTY(slot));
	if (TTS_SHOULDFREE(slot))
		return;
	if (rslot->row.data != NULL)
		slot_own_row(slot, &rslot->row);
	else if (!encode_virtual(rslot))
		copy_virtual(rslot);
}

/*
 * The identity of the version (TID, table, creator ...) goes with a copy from
 * another Rowan slot, so that satisfies_snapshot and triggers still know it.
 */
static void
copy_identity(RowanSlot *dst, const RowanSlot *src)
{
	dst->base.tts_tid = src->base.tts_tid;
	dst->base.tts_tableOid = src->base.tts_tableOid;
	dst->xmin = src->xmin;
	dst->xmax = src->xmax;
	dst->cmin = src->cmin;
	dst->cmax = src->cmax;
}

void
rowan_slot_copyslot(TupleTableSlot *dst, TupleTableSlot *src)
{
	TupleDesc	src_desc = src->tts_tupleDescriptor;
	TupleDesc	dst_desc = dst->tts_tupleDescriptor;
	int			natts = Min(src_desc->natts, dst_desc->natts);

	rowan_slot_clear(dst);

	/* a short row's missing values are those of the source's descriptor */
	if (TTS_IS_ROWAN(src) && rowan_slot(src)->row.data != NULL &&
		src_desc->natts == dst_desc->natts &&
		(src_desc == dst_desc || rowan_slot(src)->row.natts == src_desc->natts))
	{
		slot_own_row(dst, &rowan_slot(src)->row);
		copy_identity(rowan_slot(dst), rowan_slot(src));
		return;
	}

	slot_getallattrs(src);
	memcpy(dst->tts_values, src->tts_values, natts * sizeof(Datum));
	memcpy(dst->tts_isnull, src->tts_isnull, natts * sizeof(bool));
	for (int i = natts; i < dst_desc->natts; i++)
	{
		dst->tts_values[i] = (Datum) 0;
		dst->tts_isnull[i] = true;
	}
	dst->tts_nvalid = dst_desc->natts;
	dst->tts_flags &= ~TTS_FLAG_EMPTY;
	if (TTS_IS_ROWAN(src))
		copy_identity(rowan_slot(dst), rowan_slot(src));
	rowan_slot_materialize(dst);
}

/*
 * A heap tuple for triggers, SPI and ANALYZE, which look at its TID, table and
 * creator.
 */
HeapTuple
rowan_slot_copy_heap_tuple(TupleTableSlot *slot)
{
	RowanSlot  *rslot = rowan_slot(slot);
	HeapTuple	tuple;
	HeapTupleHeader header;

	Assert(!TTS_EMPTY(slot));
	slot_getallattrs(slot);
	tuple = heap_form_tuple(slot->tts_tupleDescriptor, slot->tts_values, slot->tts_isnull);
	tuple->t_self = slot->tts_tid;
	tuple->t_tableOid = slot->tts_tableOid;
	if (!is_stored_row(rslot))
		return tuple;

	/*
	 * Some minor versions of 15 mark what heap_form_tuple makes as a composite value, by a pair
	 * of hint bits that no stored row has together: its type and length would be looked for
	 * where its creator is.
	 */
	header = tuple->t_data;
	header->t_infomask &= ~(HEAP_XMAX_COMMITTED | HEAP_XMAX_INVALID);
	HeapTupleHeaderSetXmin(header, shown_xmin(rslot));
	HeapTupleHeaderSetXmax(header, rslot->xmax);
	HeapTupleHeaderSetCmin(header, rslot->cmin);
	if (!TransactionIdIsValid(rslot->xmax))
		header->t_infomask |= HEAP_XMAX_INVALID;
	header->t_ctid = slot->tts_tid;
	return tuple;
}

MinimalTuple
rowan_slot_copy_minimal_tuple(TupleTableSlot *slot, Size extra)
{
	Assert(!TTS_EMPTY(slot));
	slot_getallattrs(slot);
	return form_minimal_tuple(slot->tts_tupleDescriptor, slot->tts_values, slot->tts_isnull, extra);
}

/* Referential integrity asks about a row that it is to check again. */
bool
rowan_slot_is_current_xact_tuple(TupleTableSlot *slot)
{
	if (!is_stored_row(rowan_slot(slot)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("don't have transaction information for this type of tuple")));
	return TransactionIdIsCurrentTransactionId(rowan_slot(slot)->xmin);
}

/* ---- for storing a slot's content in a table ---- */

void
slot_get_row(TupleTableSlot *slot, const RowLayout *layout, RowData *row)
{
	uint16		flags;
	Size		size;

	if (TTS_IS_ROWAN(slot) && rowan_slot(slot)->row.data != NULL &&
		rowan_slot(slot)->row.natts == layout->natts &&
		slot->tts_tupleDescriptor->natts == layout->natts)
	{
		*row = rowan_slot(slot)->row;
		return;
	}

	Assert(slot->tts_tupleDescriptor->natts == layout->natts);
	slot_getallattrs(slot);
	size = row_encoded_size(layout, slot->tts_values, slot->tts_isnull, &flags);
	if (size > ROW_MAX_DATA)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row is too big: size %zu, maximum size %zu",
						size, (Size) ROW_MAX_DATA)));
	row_encode(layout, slot->tts_values, slot->tts_isnull,
			   palloc(row_encode_room(layout, size)), row);
}
