/*
 * update.c
 *	  Updating in place, deleting, locking: what HeapTupleSatisfiesUpdate, heap_update,
 *	  heap_delete and heap_lock_tuple decide, for chains of versions.
 *
 * Each verb latches the row's leaf, judges the version it was asked about, writes one record, and
 * releases; where it would have to wait it says for whom.  On a row that many want, that is told from a copy,
 * so that those who cannot go on don't keep the latch from the one who can.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/fault.h"
#include "miscadmin.h"
#include "row/target.h"

#define ROW_TAG_HALF	63

/* So many dead rows on a leaf give their room to one that moves. */
#define WORTH_PRUNING	2

/* Others abort, or move a row, this moment. */
#define AGAIN_DELAY_US	10

/* ---- judging ---- */

static void
outcome_newer(RowOutcome *outcome, const RowVersion *version)
{
	outcome->newer_xid = version->newer_xid;
	outcome->newer_cid = version->newer_cid;
	outcome->newer_tid = version->newer_tid;
	outcome->moved_partition = ItemPointerIndicatesMovedPartitions(&version->newer_tid);
}

/*
 * Whom to wait for where the superseder of *version runs: also for those who had locked the version before, in the order
 * of xids, as heap waits for the members of its xmax.  They may be other subtransactions of the superseder's:
 * then it matters who comes first, because the end of one that was released into another is not noticed
 * before that of the whole transaction.  A lock of the superseder's transaction is written after an update in place only
 * if it is FOR UPDATE.
 */
static void
wait_for_superseder(const RowMeta *top, const RowVersion *version, const RowWriter *writer,
					RowOutcome *outcome)
{
	bool		key_locks = version->newer_is_delete || version->newer_key == VERSION_KEY_HELD;
	int			i;

	lock_conflicts(top, writer->mode, key_locks ? LockTupleExclusive : LockTupleNoKeyExclusive,
				   outcome);
	if (outcome->nwait == ROW_MAX_WAIT)
		return;
	for (i = outcome->nwait++; i > 0 && outcome->wait[i - 1] > version->newer_xid; i--)
		outcome->wait[i] = outcome->wait[i - 1];
	outcome->wait[i] = version->newer_xid;
}

/* The version asked about has a successor; *version is it, with the successor noted; top: the row's newest. */
static TM_Result
judge_superseded(const RowMeta *top, const RowVersion *version, const RowWriter *writer,
				 RowOutcome *outcome)
{
	outcome_newer(outcome, version);
	switch (xid_state(version->newer_xid))
	{
		case XID_OWN:
			return version->newer_cid >= writer->cid ? TM_SelfModified : TM_Invisible;
		case XID_RUNNING:
			wait_for_superseder(top, version, writer, outcome);
			return TM_BeingModified;
		case XID_ABORTED:
			outcome->again = true;
			return TM_BeingModified;
		case XID_COMMITTED:
			break;
	}
	if (version->newer_is_delete && !version->newer_is_move)
		return TM_Deleted;
	return TM_Updated;
}

/*
 * Steps *version to the one before it, the row being latched.  False: there is none, or it was reclaimed; one that
 * somebody may need is an error.
 */
static bool
step_older(RowTarget *target, RowVersion *version, RowWork *work)
{
	bool		gone;

	if (row_step_older(target->table, target->row, version, work, &gone))
		return true;
	if (gone && !row_may_be_reclaimed(&target->table->file, version->meta.xid))
		row_missing(target->table, target->row, &version->meta);
	return false;
}

/*
 * Finds the version with the tag, from the newest; true if it is there.
 */
static bool
find_asked(RowTarget *target, uint8 tag, RowVersion *version, RowWork *work)
{
	*version = target->top;
	while (version->meta.tag != tag || (version->meta.flags & ROW_DELETED))
		if (!step_older(target, version, work))
			return false;
	return true;
}

/*
 * The version asked about was reclaimed, so its successor is older than every snapshot.
 * Points the caller at the newest version that is certain.
 */
static TM_Result
judge_forgotten(RowTarget *target, RowVersion *version, RowWork *work, RowOutcome *outcome)
{
	*version = target->top;
	while (xid_state(version->meta.xid) != XID_COMMITTED)
		if (!step_older(target, version, work))
			return TM_Deleted;
	outcome->newer_xid = version->meta.xid;
	outcome->newer_cid = version->meta.cid;
	if ((version->meta.flags & ROW_DELETED) == 0)
	{
		row_tid_set(&outcome->newer_tid, target->row, version->meta.tag);
		return TM_Updated;
	}
	if ((version->meta.flags & ROW_FORWARD) == 0)
		return TM_Deleted;
	ItemPointerSet(&outcome->newer_tid, version->meta.forward_block, version->meta.forward_offset);
	outcome->moved_partition = ItemPointerIndicatesMovedPartitions(&outcome->newer_tid);
	return TM_Updated;
}

/*
 * The version asked about is not the newest, and its row is not being changed by us.  As only the versions of a
 * transaction that still runs (or has just ended) stand above the newest committed one, those and that one tell
 * whether it was superseded for good: the rest of the chain, which is long if many wait for the row or an old
 * snapshot is held, is not looked at.  False: a version on the way is gone.
 */
static bool
judge_passed(RowTarget *target, uint8 tag, const RowWriter *writer, RowVersion *version,
			 RowWork *work, RowOutcome *outcome, TM_Result *result)
{
	bool		gone;

	*version = target->top;
	while ((version->meta.flags & ROW_DELETED) || xid_state(version->meta.xid) != XID_COMMITTED)
	{
		if (!row_step_older(target->table, target->row, version, work, &gone))
			return false;
		if (version->meta.tag == tag)
		{
			*result = judge_superseded(&target->top.meta, version, writer, outcome);
			return true;
		}
	}
	outcome->newer_xid = version->meta.xid;
	outcome->newer_cid = version->meta.cid;
	row_tid_set(&outcome->newer_tid, target->row, version->meta.tag);
	*result = TM_Updated;
	return true;
}

static TM_Result
judge(RowTarget *target, uint8 tag, const RowWriter *writer, RowVersion *version,
	  RowWork *work, RowOutcome *outcome)
{
	RowMeta    *top = &target->top.meta;
	XidState	state = xid_state(top->xid);
	TM_Result	result;

	if (top->tag == tag && (top->flags & ROW_DELETED) == 0)
	{
		*version = target->top;
		row_tid_set(&outcome->newer_tid, target->row, tag);
		switch (state)
		{
			case XID_OWN:
				return top->cid >= writer->cid ? TM_Invisible : TM_Ok;
			case XID_RUNNING:
				return TM_Invisible;
			case XID_COMMITTED:
				return TM_Ok;
			case XID_ABORTED:
				outcome->again = true;
				return TM_BeingModified;
		}
	}
	/* FOR KEY SHARE may lock an old version; and which command of ours superseded it matters */
	if (state != XID_OWN && writer->mode != LockTupleKeyShare)
	{
		if (judge_passed(target, tag, writer, version, work, outcome, &result))
			return result;
	}
	else if (find_asked(target, tag, version, work))
		return judge_superseded(&target->top.meta, version, writer, outcome);
	return judge_forgotten(target, version, work, outcome);
}

/* Repeatable read inside RI triggers: the version must be visible to the crosscheck snapshot too. */
static bool
crosscheck_fails(RowTarget *target, const RowWriter *writer, RowWork *work)
{
	RowVersion	version = target->top;
	bool		gone;
	uint8		tag = version.meta.tag;

	if (writer->crosscheck == InvalidSnapshot)
		return false;
	if (row_find_visible(target->table, target->row, &version, writer->crosscheck, work, &gone))
		return version.meta.tag != tag;
	if (gone)
		row_missing(target->table, target->row, &version.meta);
	return true;
}

static void
outcome_init(RowOutcome *outcome, RowId row, uint8 tag)
{
	memset(outcome, 0, sizeof(*outcome));
	row_tid_set(&outcome->newer_tid, row, tag);
	outcome->newer_cid = InvalidCommandId;
}

/*
 * The version asked about was superseded for good: may the newest be locked, whatever came in between?
 * As heapam_tuple_lock asks it of the last version of a chain; what a transaction of our own has deleted is gone,
 * by whichever command.
 */
static TM_Result
judge_newest(RowTarget *target, const RowWriter *writer, RowVersion *version, RowOutcome *outcome)
{
	const RowMeta *top = &target->top.meta;
	XidState	state = xid_state(top->xid);

	outcome_init(outcome, target->row, top->tag);
	outcome->traversed = true;
	outcome->newer_xid = top->xid;
	*version = target->top;
	if (state == XID_RUNNING)
		outcome->wait[outcome->nwait++] = top->xid;
	outcome->again = state == XID_ABORTED;
	if (state == XID_RUNNING || state == XID_ABORTED)
		return TM_BeingModified;
	if (top->flags & ROW_DELETED)
	{
		if ((top->flags & ROW_FORWARD) == 0)
			return TM_Deleted;
		ItemPointerSet(&outcome->newer_tid, top->forward_block, top->forward_offset);
		outcome->moved_partition = ItemPointerIndicatesMovedPartitions(&outcome->newer_tid);
		return TM_Updated;
	}
	if (state == XID_OWN && top->cid >= writer->cid)
	{
		outcome->newer_cid = top->cid;
		return TM_SelfModified;
	}
	return TM_Ok;
}

/* The row has a version newer than the one asked about: it was not moved from it, to another place. */
static bool
was_updated_here(const RowTarget *target, RowOutcome *outcome)
{
	return !outcome->moved_partition && row_id_from_tid(&outcome->newer_tid) == target->row;
}

/*
 * What is to be told to a writer who has come too late or has to wait, without the row's latch: judged by a copy of its
 * newest version, it was so at some moment since he asked.  False: he may go on, or it isn't certain; only the
 * latch can tell.  A deletion that has committed is not certain: the copy may be from before the deleter wrote
 * where the row had moved (row_set_forward).
 */
static bool
judge_unlatched(RowTarget *target, RowTable *table, RowId row, uint8 tag, const RowWriter *writer,
				RowVersion *version, RowWork *work, RowOutcome *outcome)
{
	RowMeta    *top = &target->top.meta;
	XidState	state;

	target->table = table;
	target->row = row;
	target->leaf = NULL;
	if (writer->mode == LockTupleKeyShare ||
		!row_read(table, row, NULL, target->copy.bytes, &target->top) || row_is_stub(top))
		return false;
	state = xid_state(top->xid);
	if (state == XID_OWN || state == XID_ABORTED)
		return false;
	outcome->result = TM_Ok;
	if (writer->traversed)
		outcome->result = judge_newest(target, writer, version, outcome);
	else if ((top->tag != tag || (top->flags & ROW_DELETED)) &&
			 !judge_passed(target, tag, writer, version, work, outcome, &outcome->result))
		return false;
	else if (outcome->result == TM_Ok)
		*version = target->top;
	if (outcome->result == TM_Updated && writer->find_newest && was_updated_here(target, outcome))
		outcome->result = judge_newest(target, writer, version, outcome);
	if (outcome->result == TM_Ok)
	{
		lock_conflicts(top, writer->mode, LockTupleExclusive, outcome);
		if (outcome->nwait > 0)
			outcome->result = TM_BeingModified;
	}
	outcome->holds_lock = lock_held_by_us(top);
	return outcome->result != TM_Ok && outcome->result != TM_Deleted && !outcome->again;
}

/*
 * Latches and judges for a change of the newest version.  Returns true with the leaf latched if the
 * change may be made; else outcome->result says why not, and nothing is latched.
 */
static bool
begin_change(RowTarget *target, RowTable *table, RowId row, uint8 tag, const RowWriter *writer,
			 RowWork *work, RowOutcome *outcome)
{
	for (;;)
	{
		RowVersion	version;

		outcome_init(outcome, row, tag);
		if (writer->contended &&
			judge_unlatched(target, table, row, tag, writer, &version, work, outcome))
			return false;
		outcome_init(outcome, row, tag);
		if (!target_latch(target, table, row, work))
		{
			outcome->result = TM_Deleted;
			return false;
		}
		outcome->result = judge(target, tag, writer, &version, work, outcome);
		if (outcome->result == TM_Ok)
		{
			lock_conflicts(&target->top.meta, writer->mode, LockTupleExclusive, outcome);
			if (outcome->nwait > 0)
				outcome->result = TM_BeingModified;
			else if (crosscheck_fails(target, writer, work))
				outcome->result = TM_Updated;
		}
		if (outcome->result == TM_Ok)
			return true;
		outcome->holds_lock = lock_held_by_us(&target->top.meta);
		target_unlatch(target);
		if (!outcome->again)
			return false;
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- update ---- */

/* The newest version with that tag, if there is one, was superseded before every snapshot was taken. */
static bool
tag_is_forgotten(RowTarget *target, uint8 tag, RowWork *work)
{
	RowVersion	version = target->top;

	while (step_older(target, &version, work))
	{
		if (version.meta.tag == tag)
			return xid_older_than_all(version.newer_xid, target->table->horizon);
	}
	return true;				/* never used, or reclaimed */
}

/*
 * The next version's tag.  Tags go from 1 to 127 and begin again, and a tag may be used only if nobody can
 * have seen the version that had it last.  That is asked for half of them at a time: before tags 1 to 63
 * are used again, whether the last version with tag 63 is forgotten, for then those with 1 to 62 are,
 * being older; before 64 to 127 are, the last one with 127.  0: not so, the row must move.
 */
static uint8
next_tag(RowTarget *target, RowWork *work)
{
	uint8		tag = target->top.meta.tag;

	if (tag == ROW_TAG_MAX)
		return tag_is_forgotten(target, ROW_TAG_HALF, work) ? 1 : 0;
	if (tag == ROW_TAG_HALF)
		return tag_is_forgotten(target, ROW_TAG_MAX, work) ? tag + 1 : 0;
	return tag + 1;
}

static void
new_version_meta(RowMeta *meta, const RowMeta *old, const RowWriter *writer, uint8 tag)
{
	*meta = *old;
	meta->flags = ROW_XID | (writer->cid != FirstCommandId ? ROW_CID : 0) |
		(old->flags & ROW_LOCK);
	meta->xid = writer->xid;
	meta->frozen_xid = InvalidTransactionId;
	meta->cid = writer->cid;
	meta->tag = tag;
	lock_word_tidy(meta);
}

static void
note_lock_word(RowOutcome *outcome, const RowMeta *meta)
{
	if (meta->flags & ROW_LOCK)
	{
		outcome->lock_xid = meta->lock_xid;
		outcome->lock_bits = meta->lock_bits;
	}
}

void
row_update(RowTable *table, RowId row, uint8 tag, const RowData *data, const RowWriter *writer,
		   RowWork *work, RowOutcome *outcome)
{
	RowTarget	target;

	pool_prepare_write();
	while (begin_change(&target, table, row, tag, writer, work, outcome))
	{
		const VersionRecordData *record;
		RowMeta		meta;
		VersionKey	key = lock_key_held(&target.top.meta, writer->xid);
		uint8		new_tag = next_tag(&target, work);

		if (new_tag == 0)
		{
			target_unlatch(&target);
			outcome->must_move = true;
			return;
		}
		new_version_meta(&meta, &target.top.meta, writer, new_tag);
		meta.flags |= ROW_VERSION;
		record = target_record(&target, writer->xid, new_tag, key, data);
		target.logical = writer->logical;
		if (target_replace(&target, &meta, data, record))
		{
			outcome->tag = new_tag;
			note_lock_word(outcome, &meta);
			return;
		}
	}
}

/* ---- delete ---- */

bool
row_keep_frozen(RowMeta *deletion, const RowMeta *deleted)
{
	if (TransactionIdIsValid(deleted->xid))
		return false;
	if (row_flags_frozen(deleted->flags))
		deletion->flags |= ROW_PAGE_XID | META_CREATOR;
	else
		deletion->flags |= deleted->flags & ROW_PAGE_XID;
	deletion->frozen_xid = deleted->frozen_xid;
	return true;
}

static void
deletion_meta(RowMeta *meta, RowDeletion why, VersionKey key)
{
	meta->flags |= ROW_DELETED;
	if (key != VERSION_KEY_TAKEN)
		meta->flags |= ROW_KEY_KEPT;
	if (why == ROW_MOVE_PARTITION)
	{
		meta->flags |= ROW_FORWARD;
		meta->forward_block = MovedPartitionsBlockNumber;
		meta->forward_offset = MovedPartitionsOffsetNumber;
	}
}

/* The latched row's header if it is deleted; returns the version to be kept, or NULL. */
static const VersionRecordData *
plan_deletion(RowTarget *target, RowDeletion why, const RowWriter *writer, RowMeta *meta)
{
	uint8		tag = target->top.meta.tag;
	VersionKey	key = VERSION_KEY_TAKEN;

	if (why == ROW_MOVE_KEY_KEPT)
		key = lock_key_held(&target->top.meta, writer->xid);
	new_version_meta(meta, &target->top.meta, writer, tag);
	deletion_meta(meta, why, key);
	if (key != VERSION_KEY_HELD && row_keep_frozen(meta, &target->top.meta))
		return NULL;
	meta->flags |= ROW_VERSION;
	return target_record(target, writer->xid, tag, key, &target->top.data);
}

void
row_delete(RowTable *table, RowId row, uint8 tag, RowDeletion why, const RowWriter *writer,
		   RowWork *work, RowOutcome *outcome)
{
	RowTarget	target;

	pool_prepare_write();
	while (begin_change(&target, table, row, tag, writer, work, outcome))
	{
		RowMeta		meta;
		const VersionRecordData *record = plan_deletion(&target, why, writer, &meta);

		target.logical = writer->logical;
		if (target_replace(&target, &meta, &target.top.data, record))
		{
			outcome->tag = tag;
			note_lock_word(outcome, &meta);
			return;
		}
	}
}

void
row_set_forward(RowTable *table, RowId row, ItemPointer where)
{
	RowWork    *work = row_work_create();
	RowTarget	target;

	while (target_latch(&target, table, row, work))
	{
		RowMeta		meta = target.top.meta;

		Assert(meta.flags & ROW_DELETED);
		row_meta_set_forward(&meta, where);
		if (target_write(&target, &meta, &target.top.data))
			break;
	}
	row_work_free(work);
}

/* ---- move ---- */

/* The row has been deleted: inserts it elsewhere, and says where. */
static void
go_on_elsewhere(RowTable *table, RowId row, const RowData *data, const RowWriter *writer,
				const RowMeta *deletion, RowId *new_row)
{
	ItemPointerData where;

	FAULT_POINT(row_move_deleted);
	row_insert_moved(table, data, row, writer, deletion, new_row);
	row_tid_set(&where, *new_row, 0);
	FAULT_POINT(row_move_inserted);
	row_set_forward(table, row, &where);
}

void
row_move(RowTable *table, RowId row, uint8 tag, RowDeletion why, const RowData *data,
		 const RowWriter *writer, RowWork *work, RowOutcome *outcome, RowId *new_row)
{
	RowTarget	target;
	bool		pruned = false;

	pool_prepare_write();
	while (begin_change(&target, table, row, tag, writer, work, outcome))
	{
		RowMeta		meta;
		const VersionRecordData *record = plan_deletion(&target, why, writer, &meta);
		bool		crowded;
		bool		done = target_move(&target, MOVE_NEAR, &meta, record, data, writer, new_row,
									   &crowded);

		if (crowded && !pruned && row_count_dead(table, pool_page(target.leaf)) >= WORTH_PRUNING)
		{
			target_unlatch(&target);
			(void) row_prune_dead(table, row);
			pruned = true;
			continue;
		}
		if (!done)
			done = target_move(&target, MOVE_TO_EDGE, &meta, record, data, writer, new_row,
							   &crowded);
		if (!done && target_replace(&target, &meta, &target.top.data, record))
		{
			go_on_elsewhere(table, row, data, writer, &meta, new_row);
			done = true;
		}
		if (done)
		{
			outcome->tag = 0;
			note_lock_word(outcome, &meta);
			return;
		}
	}
}

void
row_finish_speculative(RowTable *table, RowId row, bool succeeded, RowLogical *logical)
{
	RowWork    *work = row_work_create();
	RowTarget	target;

	while (target_latch(&target, table, row, work))
	{
		RowMeta		meta = target.top.meta;
		RowData		data = target.top.data;

		Assert((meta.flags & (ROW_SPECULATIVE | ROW_DELETED)) == ROW_SPECULATIVE);
		meta.flags &= ~(ROW_SPECULATIVE | ROW_FORWARD);
		if (!succeeded)
		{
			/* never happened: a stub, dead to everybody including ourselves */
			meta.flags = ROW_DELETED;
			meta.xid = meta.frozen_xid = InvalidTransactionId;
			data.size = 0;
			data.flags = 0;
			data.nulls = NULL;
			data.natts = page_trailer(pool_page(target.leaf))->page_natts;
		}
		target.logical = logical;
		if (target_write(&target, &meta, &data))
			break;
	}
	row_work_free(work);
}

/* ---- lock ---- */

/*
 * FOR KEY SHARE is given for a version although it was superseded, if no key was changed.  First the row is looked at, and
 * locked, in all its later versions, as heap_lock_updated_tuple does: those after the one with tag `oldest`
 * (NO_TAG: all that it has had at this place).  Who took the key, or takes or locks it now?  Our own changes don't
 * matter.
 */
#define NO_TAG	(-1)

static TM_Result
judge_later_keys(const RowTarget *target, int oldest, RowWork *work, RowOutcome *outcome)
{
	RowVersion	version = target->top;
	TM_Result	result = TM_Ok;
	bool		gone;

	outcome->nwait = 0;
	while (row_step_older(target->table, target->row, &version, work, &gone) &&
		   version.meta.tag != oldest)
		switch (xid_state(version.newer_xid))
		{
			case XID_OWN:
				break;
			case XID_RUNNING:
				if (version.newer_key != VERSION_KEY_FREE && outcome->nwait == 0)
					outcome->wait[outcome->nwait++] = version.newer_xid;
				break;
			case XID_ABORTED:
				outcome->again = true;
				return TM_BeingModified;
			case XID_COMMITTED:
				if (version.newer_key == VERSION_KEY_TAKEN)
					result = version.newer_is_delete && !version.newer_is_move
						? TM_Deleted : TM_Updated;
				break;
		}
	if (result == TM_Ok && outcome->nwait == 0)
		lock_conflicts(&target->top.meta, LockTupleKeyShare, LockTupleExclusive, outcome);
	outcome->later = true;
	return result == TM_Ok && outcome->nwait > 0 ? TM_BeingModified : result;
}

/* The same, and where the row goes on: *outcome then says so. */
static TM_Result
judge_later(const RowTarget *target, int oldest, RowWork *work, RowOutcome *outcome)
{
	const RowMeta *top = &target->top.meta;
	TM_Result	result = judge_later_keys(target, oldest, work, outcome);

	if (result != TM_Ok || (top->flags & ROW_DELETED) == 0 || xid_state(top->xid) == XID_OWN)
		return result;
	if ((top->flags & ROW_FORWARD) == 0)
	{
		/* it is moving this moment */
		outcome->again = true;
		return TM_BeingModified;
	}
	outcome->follow = true;
	ItemPointerSet(&outcome->follow_tid, top->forward_block, top->forward_offset);
	return TM_Ok;
}

static void
copy_version(RowVersion *version, char *dest)
{
	char	   *data = dest + MAXALIGN((MaxHeapAttributeNumber + 7) / 8);

	if (version->data.nulls != NULL)
	{
		memmove(dest, version->data.nulls, row_nulls_size(version->data.natts));
		version->data.nulls = (bits8 *) dest;
	}
	memmove(data, version->data.data, version->data.size);
	version->data.data = data;
}

/*
 * Our own changes of the row keep others from it, but for what passes them: FOR KEY SHARE.  (Where we have moved
 * the row, it looks as if we had inserted it; but it can be come by from where it was.)
 */
static bool
lock_is_implied(const RowMeta *top, LockTupleMode mode)
{
	return mode != LockTupleExclusive && xid_state(top->xid) == XID_OWN;
}

/* Is it FOR KEY SHARE of a version that was superseded, but not by who took the key? */
static bool
key_share_passes(const RowVersion *version, uint8 tag, const RowWriter *writer,
				 const RowOutcome *outcome)
{
	return writer->mode == LockTupleKeyShare && !outcome->again && version->superseded &&
		version->meta.tag == tag && version->newer_key == VERSION_KEY_FREE;
}

/* May it be locked? Notes in outcome what else there is to do.  dest: where to copy *version's data, if need be. */
static TM_Result
judge_lock(RowTarget *target, uint8 tag, const RowWriter *writer, RowVersion *version, char *dest,
		   RowWork *work, RowOutcome *outcome)
{
	TM_Result	result;

	if (writer->traversed)
		result = judge_newest(target, writer, version, outcome);
	else
	{
		result = judge(target, tag, writer, version, work, outcome);
		if ((result == TM_BeingModified || result == TM_Updated) &&
			key_share_passes(version, tag, writer, outcome))
		{
			copy_version(version, dest);	/* the next walk uses the same memory */
			result = judge_later(target, tag, work, outcome);
		}
		if (result == TM_Updated && writer->find_newest && was_updated_here(target, outcome))
			result = judge_newest(target, writer, version, outcome);
	}
	if (result == TM_Ok)
	{
		lock_conflicts(&target->top.meta, writer->mode, LockTupleExclusive, outcome);
		if (outcome->nwait > 0)
			result = TM_BeingModified;
	}
	outcome->top_xid = target->top.meta.xid;
	outcome->top_cid = target->top.meta.cid;
	return result;
}

/* Puts the lock into the row's lock word, if need be; releases the latch. False: start over. */
static bool
write_lock(RowTarget *target, const RowWriter *writer)
{
	RowMeta		meta = target->top.meta;

	if (!lock_is_implied(&meta, writer->mode))
	{
		lock_word_tidy(&meta);
		if (lock_word_add(&meta, writer->xid, writer->mode))
			return target_write(target, &meta, &target->top.data);
	}
	target_unlatch(target);
	return true;
}

/* After judging: writes the lock, or leaves the row. False: start over. */
static bool
lock_or_leave(RowTarget *target, const RowWriter *writer, const RowOutcome *outcome)
{
	if (outcome->result == TM_Ok)
		return write_lock(target, writer);
	target_unlatch(target);
	if (outcome->again)
		pg_usleep(AGAIN_DELAY_US);
	return !outcome->again;
}

void
row_lock(RowTable *table, RowId row, uint8 tag, RowWriter *writer, char *dest,
		 RowWork *work, RowVersion *version, RowOutcome *outcome)
{
	RowTarget	target;

	pool_prepare_write();
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		outcome_init(outcome, row, tag);
		if (writer->contended &&
			judge_unlatched(&target, table, row, tag, writer, version, work, outcome))
		{
			copy_version(version, dest);
			outcome->tag = version->meta.tag;
			return;
		}
		/* who cannot have the lock needs no xid, and none must be assigned under a latch */
		if (!TransactionIdIsValid(writer->xid))
			writer->xid = GetCurrentTransactionId();
		outcome_init(outcome, row, tag);
		if (!target_latch(&target, table, row, work))
		{
			outcome->result = TM_Deleted;
			return;
		}
		outcome->result = judge_lock(&target, tag, writer, version, dest, work, outcome);
		copy_version(version, dest);
		outcome->holds_lock = lock_held_by_us(&target.top.meta);
		outcome->tag = version->meta.tag;
		if (lock_or_leave(&target, writer, outcome))
			return;
	}
}

void
row_lock_moved(RowTable *table, RowId row, TransactionId mover, const RowWriter *writer,
			   RowWork *work, RowOutcome *outcome)
{
	RowTarget	target;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		outcome_init(outcome, row, 0);
		if (!target_latch(&target, table, row, work))
		{
			outcome->result = TM_Deleted;
			return;
		}

		/*
		 * Unless he has, the id is that row's still: VACUUM needs the latch, and whoever
		 * deletes it after he has committed had not ended when our snapshot was taken, which
		 * saw the row where it was.
		 */
		if (xid_state(mover) == XID_ABORTED)
		{
			target_unlatch(&target);
			outcome->result = TM_Deleted;
			return;
		}
		outcome->result = judge_later(&target, NO_TAG, work, outcome);
		outcome->newer_xid = outcome->top_xid = target.top.meta.xid;
		if (lock_or_leave(&target, writer, outcome))
			return;
	}
}
