/*
 * slot.h
 *	  The tuple table slot that holds a row of a Rowan table.
 */
#ifndef ROWAN_TABLE_SLOT_H
#define ROWAN_TABLE_SLOT_H

#include "executor/tuptable.h"
#include "row/codec.h"

/* callbacks.c */
extern const TupleTableSlotOps TTSOpsRowan;

/* What it consists of. */
extern void rowan_slot_init(TupleTableSlot *slot);
extern void rowan_slot_release(TupleTableSlot *slot);
extern void rowan_slot_clear(TupleTableSlot *slot);
extern void rowan_slot_getsomeattrs(TupleTableSlot *slot, int natts);
extern Datum rowan_slot_getsysattr(TupleTableSlot *slot, int attnum, bool *isnull);
extern bool rowan_slot_is_current_xact_tuple(TupleTableSlot *slot);
extern void rowan_slot_materialize(TupleTableSlot *slot);
extern void rowan_slot_copyslot(TupleTableSlot *dst, TupleTableSlot *src);
extern HeapTuple rowan_slot_copy_heap_tuple(TupleTableSlot *slot);

/* extra: bytes in front of the tuple, for the caller. */
extern MinimalTuple rowan_slot_copy_minimal_tuple(TupleTableSlot *slot, Size extra);

#define TTS_IS_ROWAN(slot) ((slot)->tts_ops == &TTSOpsRowan)

typedef struct RowanSlot
{
	TupleTableSlot base;
	RowLayout  *layout;			/* of base.tts_tupleDescriptor; made at first use */
	RowData		row;			/* what is stored; row.data == NULL: a virtual tuple (values
								 * only) */
	uint32		decode_offset;
	char	   *buffer;			/* own memory that row may point into (slot's context) */
	Size		buffer_size;

	/* the identity of the version held; kept through copy and materialise */
	TransactionId xmin,
				xmax;			/* xmax: deleter, updater or locker as heap shows it; Invalid if
								 * none */
	CommandId	cmin,
				cmax;
} RowanSlot;

/* The slot's own buffer, at least `size` bytes, MAXALIGNed; whatever it held is lost. */
extern char *slot_buffer(TupleTableSlot *slot, Size size);

/* The same for a row about to be read into it and then stored by slot_own_row; empties the slot. */
static inline char *
slot_begin_row(TupleTableSlot *slot, Size size)
{
	RowanSlot  *rslot = (RowanSlot *) slot;

	Assert(TTS_IS_ROWAN(slot));
	rslot->row.data = NULL;
	slot->tts_nvalid = 0;
	slot->tts_flags = (slot->tts_flags & ~TTS_FLAG_SHOULDFREE) | TTS_FLAG_EMPTY;
	return likely(size <= rslot->buffer_size) ? rslot->buffer : slot_buffer(slot, size);
}

/*
 * Makes a row the slot's content; its bytes belong to somebody else, and stay valid until the slot
 * is cleared or stored into again.  The caller sets the version's identity.
 */
static inline void
slot_refer_row(TupleTableSlot *slot, const RowData *row)
{
	RowanSlot  *rslot = (RowanSlot *) slot;

	Assert(TTS_IS_ROWAN(slot) && row->data != NULL);
	rslot->row = *row;
	rslot->decode_offset = 0;
	slot->tts_nvalid = 0;
	slot->tts_flags &= ~(TTS_FLAG_EMPTY | TTS_FLAG_SHOULDFREE);
}

extern void slot_copy_row(TupleTableSlot *slot, const RowData *row);

static inline bool
slot_buffer_has(const RowanSlot *rslot, const void *p)
{
	return rslot->buffer != NULL && (const char *) p >= rslot->buffer &&
		(const char *) p <= rslot->buffer + rslot->buffer_size;
}

/* The same, but its bytes are or become those in the slot's own buffer. */
static inline void
slot_own_row(TupleTableSlot *slot, const RowData *row)
{
	const RowanSlot *rslot = (const RowanSlot *) slot;

	if (slot_buffer_has(rslot, row->data) &&
		(row->nulls == NULL || slot_buffer_has(rslot, row->nulls)))
		slot_refer_row(slot, row);
	else
		slot_copy_row(slot, row);
	slot->tts_flags |= TTS_FLAG_SHOULDFREE;
}

/*
 * Makes *row the encoded form of any kind of slot, toasting as needed for the relation
 * (table/toast.c) is not done here.  Uses the slot's own bytes where it holds a Rowan row of the
 * same layout; else encodes into a palloc'd buffer of the current context.
 */
extern void slot_get_row(TupleTableSlot *slot, const RowLayout *layout, RowData *row);

#endif							/* ROWAN_TABLE_SLOT_H */
