/*
 * lock.c
 *	  The lock word of a row: who has locked it, and how strongly.
 *
 * The word holds lockers only (whoever changed the row is the creator of its newest
 * version): one xid with its mode, or a MultiXactId.  Four modes and their conflicts as in
 * heapam's tuple locks.  Pure but for multixact and transaction state look-ups.
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/xact.h"
#include "row/target.h"

#define LOCK_MODES	(LockTupleExclusive + 1)

/* mode_conflicts[held][wanted] */
static const bool mode_conflicts[LOCK_MODES][LOCK_MODES] = {
	[LockTupleKeyShare] = {[LockTupleExclusive] = true},
	[LockTupleShare] = {[LockTupleNoKeyExclusive] = true,[LockTupleExclusive] = true},
	[LockTupleNoKeyExclusive] = {[LockTupleShare] = true,[LockTupleNoKeyExclusive] = true,
	[LockTupleExclusive] = true},
	[LockTupleExclusive] = {true, true, true, true},
};

static const MultiXactStatus status_of_mode[LOCK_MODES] = {
	[LockTupleKeyShare] = MultiXactStatusForKeyShare,
	[LockTupleShare] = MultiXactStatusForShare,
	[LockTupleNoKeyExclusive] = MultiXactStatusForNoKeyUpdate,
	[LockTupleExclusive] = MultiXactStatusForUpdate,
};

static LockTupleMode
mode_of_status(MultiXactStatus status)
{
	switch (status)
	{
		case MultiXactStatusForKeyShare:
			return LockTupleKeyShare;
		case MultiXactStatusForShare:
			return LockTupleShare;
		case MultiXactStatusForNoKeyUpdate:
		case MultiXactStatusNoKeyUpdate:
			return LockTupleNoKeyExclusive;
		case MultiXactStatusForUpdate:
		case MultiXactStatusUpdate:
			break;
	}
	return LockTupleExclusive;
}

/*
 * The lockers, as an array of members (palloc'd for a MultiXactId, *single otherwise).
 */
static int
lock_members(const RowMeta *meta, MultiXactMember *single, MultiXactMember **members)
{
	*members = single;
	if ((meta->flags & ROW_LOCK) == 0)
		return 0;
	if (meta->lock_bits & ROW_LOCK_IS_MULTI)
		return Max(GetMultiXactIdMembers(meta->lock_xid, members, false, true), 0);
	single->xid = meta->lock_xid;
	single->status = status_of_mode[meta->lock_bits & ROW_LOCK_MODE_MASK];
	return 1;
}

static void
free_members(MultiXactMember *single, MultiXactMember *members, int n)
{
	if (members != single && n > 0)
		pfree(members);
}

void
lock_conflicts(const RowMeta *meta, LockTupleMode mode, LockTupleMode strongest,
			   RowOutcome *outcome)
{
	MultiXactMember single;
	MultiXactMember *members;
	int			n = lock_members(meta, &single, &members);

	for (int i = 0; i < n && outcome->nwait < ROW_MAX_WAIT; i++)
	{
		LockTupleMode held = mode_of_status(members[i].status);

		if (held <= strongest && mode_conflicts[held][mode] &&
			xid_state(members[i].xid) == XID_RUNNING)
			outcome->wait[outcome->nwait++] = members[i].xid;
	}
	free_members(&single, members, n);
}

bool
lock_held_by_us(const RowMeta *meta)
{
	MultiXactMember single;
	MultiXactMember *members;
	int			n = lock_members(meta, &single, &members);
	bool		held = false;

	for (int i = 0; i < n && !held; i++)
		held = TransactionIdIsCurrentTransactionId(members[i].xid);
	free_members(&single, members, n);
	return held;
}

VersionKey
lock_key_held(const RowMeta *meta, TransactionId xid)
{
	MultiXactMember single;
	MultiXactMember *members;
	int			n = lock_members(meta, &single, &members);
	VersionKey	key = VERSION_KEY_FREE;

	for (int i = 0; i < n && key == VERSION_KEY_FREE; i++)
	{
		if (mode_of_status(members[i].status) != LockTupleExclusive ||
			!TransactionIdIsCurrentTransactionId(members[i].xid))
			continue;
		/* heap notes the stronger of both in one xid; in a MultiXactId they stay two members */
		key = members == &single && single.xid == xid ? VERSION_KEY_TAKEN : VERSION_KEY_HELD;
	}
	free_members(&single, members, n);
	return key;
}

static bool
locker_alive(TransactionId xid)
{
	XidState	state = xid_state(xid);

	return state == XID_OWN || state == XID_RUNNING;
}

void
lock_word_tidy(RowMeta *meta)
{
	MultiXactMember single;
	MultiXactMember *members;
	int			n = lock_members(meta, &single, &members);
	bool		alive = false;

	for (int i = 0; i < n && !alive; i++)
		alive = locker_alive(members[i].xid);
	free_members(&single, members, n);
	if (!alive)
	{
		meta->flags &= ~ROW_LOCK;
		meta->lock_xid = InvalidTransactionId;
		meta->lock_bits = 0;
	}
}

static void
set_single(RowMeta *meta, TransactionId xid, LockTupleMode mode)
{
	meta->flags |= ROW_LOCK;
	meta->lock_xid = xid;
	meta->lock_bits = mode;
}

static bool
has_lock(const MultiXactMember *members, int n, TransactionId xid, LockTupleMode mode)
{
	for (int i = 0; i < n; i++)
		if (members[i].xid == xid && mode_of_status(members[i].status) >= mode)
			return true;
	return false;
}

bool
lock_word_add(RowMeta *meta, TransactionId xid, LockTupleMode mode)
{
	MultiXactMember single;
	MultiXactMember *members;
	int			n = lock_members(meta, &single, &members);
	bool		held = has_lock(members, n, xid, mode);

	free_members(&single, members, n);
	if (held)
		return false;

	/*
	 * Also where there is no MultiXactId yet: others may make one of this lock, and who does
	 * not see us among its possible members takes it for one that nobody holds any more.
	 */
	MultiXactIdSetOldestMember();
	if (n == 0 || (n == 1 && members == &single && single.xid == xid))
		set_single(meta, xid, mode);
	else
	{
		if (meta->lock_bits & ROW_LOCK_IS_MULTI)
			meta->lock_xid = MultiXactIdExpand(meta->lock_xid, xid, status_of_mode[mode]);
		else
			meta->lock_xid = MultiXactIdCreate(single.xid, single.status, xid,
											   status_of_mode[mode]);
		meta->lock_bits = ROW_LOCK_IS_MULTI;
	}
	return true;
}
