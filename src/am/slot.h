/*
 * slot.h
 *	  The tuple table slot that holds a row of a Rowan table.
 */
#ifndef ROWAN_AM_SLOT_H
#define ROWAN_AM_SLOT_H

#include "executor/tuptable.h"
#include "row/codec.h"

extern const TupleTableSlotOps TTSOpsRowan;

#define TTS_IS_ROWAN(slot) ((slot)->tts_ops == &TTSOpsRowan)

typedef struct RowanSlot
{
	TupleTableSlot base;
	RowLayout  *layout;			/* of base.tts_tupleDescriptor; made at first use */
	RowData		row;			/* what is stored; row.data == NULL: a virtual tuple (values only) */
	uint32		decode_offset;
	char	   *buffer;			/* own memory that row may point into (slot's context) */
	Size		buffer_size;

	/* the identity of the version held; kept through copy and materialise */
	TransactionId xmin,
				xmax;			/* xmax: deleter, updater or locker as heap shows it; Invalid if none */
	CommandId	cmin,
				cmax;
} RowanSlot;

/*
 * Stores a row whose bytes belong to somebody else and stay valid until the slot is
 * cleared or stored into again.  tid is the tagged TID of exactly this version.
 */
extern void slot_store_row(TupleTableSlot *slot, const RowData *row, ItemPointer tid, Oid table_oid);

/* The same, but copies the bytes (data, bitmap) into the slot's own buffer. */
extern void slot_store_row_copy(TupleTableSlot *slot, const RowData *row, ItemPointer tid,
								Oid table_oid);

/* The slot's own buffer, at least `size` bytes, MAXALIGNed; whatever it held is lost. */
extern char *slot_buffer(TupleTableSlot *slot, Size size);

/* The same for a row about to be read into it and then stored by slot_store_row_copy; empties the slot. */
extern char *slot_begin_row(TupleTableSlot *slot, Size size);

/*
 * Makes *row the encoded form of any kind of slot, toasting as needed for the relation (am/toast.c)
 * is not done here.  Uses the slot's own bytes where it holds a
 * Rowan row of the same layout; else encodes into a palloc'd buffer of the current context.
 */
extern void slot_get_row(TupleTableSlot *slot, const RowLayout *layout, RowData *row);

#endif							/* ROWAN_AM_SLOT_H */
