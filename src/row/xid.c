/*
 * xid.c
 *	  Transaction states, cached.
 *
 * Only final states are cached, so an entry never becomes wrong while its
 * xid is not reused; the cache is forgotten long before an xid could be.
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

bool
xid_did_commit(TransactionId xid)
{
	XidCacheEntry *entry;

	if (!TransactionIdIsNormal(xid))
		return true;
	entry = cache_entry(xid);
	if (entry->xid != xid)
	{
		entry->committed = TransactionIdDidCommit(xid);
		entry->xid = xid;
	}
	return entry->committed;
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
	return !TransactionIdIsNormal(xid) || GlobalVisTestIsRemovableXid(horizon, xid);
}

bool
xid_visible_to_all(TransactionId xid, GlobalVisState *horizon)
{
	if (!TransactionIdIsNormal(xid))
		return true;
	return GlobalVisTestIsRemovableXid(horizon, xid) && xid_did_commit(xid);
}
