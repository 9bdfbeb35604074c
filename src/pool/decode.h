/*
 * decode.h
 *	  What logical decoding leaves out is said.
 */
#ifndef ROWAN_POOL_DECODE_H
#define ROWAN_POOL_DECODE_H

#include "access/xlogdefs.h"

struct LogicalDecodingContext;
struct XLogRecordBuffer;

/* The resource manager's callback. */
extern void wal_decode(struct LogicalDecodingContext *context, struct XLogRecordBuffer *buffer);

/* Warns of a change left out, made by the transaction at that place; once for each context. */
extern void wal_decode_warn(struct LogicalDecodingContext *context, TransactionId xid, XLogRecPtr lsn);

#endif							/* ROWAN_POOL_DECODE_H */
