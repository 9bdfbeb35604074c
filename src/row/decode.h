/*
 * decode.h
 *	  What logical decoding leaves out is said.
 */
#ifndef ROWAN_ROW_DECODE_H
#define ROWAN_ROW_DECODE_H

#include "access/xlogdefs.h"

struct LogicalDecodingContext;
struct XLogRecordBuffer;

/* Of INSERT and REPLACE records: see RowanRecordOps. */
extern void leaf_decode(struct LogicalDecodingContext *context, struct XLogRecordBuffer *buffer);

/* Warns of a change left out, made by the transaction at that place; once for each context. */
extern void decode_warn(struct LogicalDecodingContext *context, TransactionId xid, XLogRecPtr lsn);

#endif							/* ROWAN_ROW_DECODE_H */
