/*
 * decode.c
 *	  Logical decoding of the records of rows, INSERT and REPLACE: not there.  What is left out of
 *	  the stream is at least said.
 */
#include "postgres.h"

#include "base/compat.h"
#include "pool/wal.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/snapbuild.h"
#include "row/decode.h"

/* Would a heap table's change be given to the output plugin here? */
static bool
is_to_be_decoded(LogicalDecodingContext *context, XLogRecordBuffer *buffer)
{
	RelFileLocator locator;

	if (SnapBuildCurrentState(context->snapshot_builder) < SNAPBUILD_FULL_SNAPSHOT ||
		SnapBuildXactNeedsSkip(context->snapshot_builder, buffer->origptr))
		return false;
	XLogRecGetBlockTag(buffer->record, 0, &locator, NULL, NULL);
	return locator.dbOid == context->slot->data.database;
}

/* Once for each time that somebody starts decoding: later, a context reads further on. */
void
decode_warn(LogicalDecodingContext *context, TransactionId xid, XLogRecPtr lsn)
{
	static LogicalDecodingContext *warned = NULL;
	static XLogRecPtr warned_at = InvalidXLogRecPtr;
	XLogRecPtr	read_to = context->reader->EndRecPtr;
	bool		same = warned == context && read_to >= warned_at;

	warned = context;
	warned_at = read_to;
	if (same)
		return;
	ereport(WARNING,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("changes of Rowan tables are left out of logical decoding"),
			 errdetail("Transaction %u, at %X/%X, is the first one concerned.",
					   xid, LSN_FORMAT_ARGS(lsn)),
			 errhint("Replicate Rowan tables by streaming replication, or keep tables to be decoded in heap.")));
}

void
leaf_decode(LogicalDecodingContext *context, XLogRecordBuffer *buffer)
{
	if (!context->fast_forward && is_to_be_decoded(context, buffer))
		decode_warn(context, XLogRecGetXid(buffer->record), buffer->origptr);
}
