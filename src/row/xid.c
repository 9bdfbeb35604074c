/*
 * xid.c
 *	  Transaction states, cached.
 *
 * Only final states are cached, so an entry never becomes wrong while its
 * xid is not reused; the cache is forgotten long before an xid could be.
 *
 * A horizon alone does not prove that a transaction has ended.  Core keeps it as a full xid, and
 * where the epoch of the server's counter is wrong (pg_resetwal -x without -e after a wraparound),
 * it may lie in the far future, and every xid before it.  So whoever asks for a horizon asks for
 * the state, too.
 */
#include "postgres.h"

#include "access/subtrans.h"
#include "access/transam.h"
#include "access/xact.h"
#include "row/xid.h"
#include "storage/procarray.h"

#define XID_CACHE_SIZE		2048	/* power of two */
#define XID_CACHE_LIFE		(1 << 29)	/* xids */

typedef struct XidCacheEntry
{
	TransactionId xid;
	bool		committed;
} XidCacheEntry;

static XidCacheEntry xid_cache[XID_CACHE_SIZE];
static TransactionId xid_cache_base = InvalidTransactionId;

static inline XidCacheEntry *
cache_entry(TransactionId xid)
{
	if (unlikely(RecentXmin - xid_cache_base > XID_CACHE_LIFE))
	{
		memset(xid_cache, 0, sizeof(xid_cache));
		xid_cache_base = RecentXmin;
	}
	return &xid_cache[xid & (XID_CACHE_SIZE - 1)];
}

/*
 * An xid that has ended either has committed by then, or never will.  One that is running all the
 * same is in progress first and committed afterwards, so that is the order to ask in before
 * "aborted" may be remembered.
 */
bool
xid_did_commit(TransactionId xid)
{
	XidCacheEntry *entry;
	bool		committed;

	if (!TransactionIdIsNormal(xid))
		return true;
	entry = cache_entry(xid);
	if (entry->xid == xid)
		return entry->committed;
	committed = TransactionIdDidCommit(xid);
	if (!committed)
	{
		if (TransactionIdIsInProgress(xid))
			return false;
		committed = TransactionIdDidCommit(xid);
	}
	entry->committed = committed;
	entry->xid = xid;
	return committed;
}

XidState
xid_state(TransactionId xid)
{
	if (!TransactionIdIsNormal(xid))
		return XID_COMMITTED;
	if (cache_entry(xid)->xid != xid)
	{
		if (TransactionIdIsCurrentTransactionId(xid))
			return XID_OWN;
		if (TransactionIdIsInProgress(xid))
			return XID_RUNNING;
	}
	return xid_did_commit(xid) ? XID_COMMITTED : XID_ABORTED;
}

bool
xid_older_than_all(TransactionId xid, GlobalVisState *horizon)
{
	XidState	state;

	if (!TransactionIdIsNormal(xid))
		return true;
	if (!GlobalVisTestIsRemovableXid(horizon, xid))
		return false;
	state = xid_state(xid);
	return state == XID_COMMITTED || state == XID_ABORTED;
}

bool
xid_visible_to_all(TransactionId xid, GlobalVisState *horizon)
{
	if (!TransactionIdIsNormal(xid))
		return true;
	return GlobalVisTestIsRemovableXid(horizon, xid) && xid_did_commit(xid);
}
