/*
 * decode.h
 *	  Changes of rows for logical decoding, from the logical parts of their records.
 *
 * Private to src/row.  What a record has of a row is read beside the record's redo.
 */
#ifndef ROWAN_ROW_DECODE_H
#define ROWAN_ROW_DECODE_H

#include "row/codec.h"
#include "row/logical.h"

struct LogicalDecodingContext;
struct XLogRecordBuffer;

/* A record that is being decoded. */
typedef struct Decoding
{
	struct LogicalDecodingContext *context;
	struct XLogRecordBuffer *buffer;
	LogicalPart part;
	const RowLayout *layout;	/* of its rows; NULL: it has none */
} Decoding;

/* False: there is nothing in the record for this context, or nothing at all. */
extern bool decode_begin(Decoding *decoding, struct LogicalDecodingContext *context,
						 struct XLogRecordBuffer *buffer);

/* Queues the change of a row; cell: its new one, MAXALIGNed, or NULL.  last: of the record. */
extern void decode_row(const Decoding *decoding, const char *cell, bool last);

#endif							/* ROWAN_ROW_DECODE_H */
