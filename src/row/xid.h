/*
 * xid.h
 *	  What has become of a transaction: a small per-backend cache of final
 *	  states in front of core's functions.  It stands in for heap's hint bits (I6).
 */
#ifndef ROWAN_ROW_XID_H
#define ROWAN_ROW_XID_H

#include "access/transam.h"
#include "utils/snapmgr.h"

typedef enum XidState
{
	XID_OWN,					/* current transaction or a live subtransaction of it */
	XID_RUNNING,				/* somebody else's, in progress or prepared */
	XID_COMMITTED,
	XID_ABORTED					/* or crashed */
} XidState;

/*
 * The state now.  InvalidTransactionId and permanent xids are committed.
 * Tests in the order heap's visibility code uses: own, in progress, committed; a
 * transaction about to commit is running, never aborted.
 */
extern XidState xid_state(TransactionId xid);

/*
 * For an xid that some snapshot, or a horizon, says has ended: true if it committed.  Cheaper than
 * xid_state, because it does not ask first whether the xid is in progress.  Of one that is, it says
 * false, and remembers nothing.
 */
extern bool xid_did_commit(TransactionId xid);

/* Every snapshot, on this server, sees what xid did, and it committed. */
extern bool xid_visible_to_all(TransactionId xid, GlobalVisState *horizon);

/* Every snapshot was taken after xid ended (either way). */
extern bool xid_older_than_all(TransactionId xid, GlobalVisState *horizon);

#endif							/* ROWAN_ROW_XID_H */
