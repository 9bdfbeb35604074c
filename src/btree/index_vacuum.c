/*
 * index_vacuum.c
 *	  VACUUM of an index: removing dead entries, merging leaves, making the file shorter.
 *
 * Few dead rows are looked for by key (index_by_key.c).  Else all leaves are visited in key order;
 * the next one is found by the high fence of the one before, so splits and merges in between skip
 * nothing.  A leaf without dead entries is only read.
 *
 * Removing a TID from the index allows the table to use it for another row.  A scan that holds
 * copied TIDs and will not look at the row, or not through an MVCC snapshot, would then be wrong;
 * so at the end we wait until each such scan has left the leaf that it had copied
 * (index_lock_tids).  Scans that come later find no dead TID.  Other scans look at the row with an
 * MVCC snapshot, older than whatever row has got the TID meanwhile, and do not see that.  On a
 * standby redo waits for nobody: see index_trust.c.
 */
#include "postgres.h"

#include "base/fault.h"
#include "btree/btree.h"
#include "btree/index_by_key.h"
#include "catalog/pg_type_d.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "storage/indexfsm.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "table/table.h"
#include "tree/tree.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

typedef struct Cleaning
{
	IndexTree	tree;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback;
	void	   *arg;
} Cleaning;

/*
 * A leaf with less than this is offered for merging; so is an empty one, whose fences alone may
 * take more.
 */
#define UNDERFULL_BYTES	(ROWAN_PAGE_ROOM * 2 / 5)

bool
index_leaf_is_small(Page page)
{
	return page_nslots(page) <= SLOT_FIRST || page_packed_bytes(page) < (int) UNDERFULL_BYTES;
}

/* Removes dead TIDs from tids; returns how many are left. */
static int
keep_living(void *arg, int slot, ItemPointerData *tids, int ntids)
{
	Cleaning   *cleaning = arg;
	int			n = 0;

	for (int i = 0; i < ntids; i++)
		if (!cleaning->callback(&tids[i], cleaning->arg))
			tids[n++] = tids[i];
	return n;
}

/*
 * Any dead entry on the copy of a leaf?  Counts the living ones from the point on: those before it
 * were, on a leaf merged since.
 */
static bool
has_dead(Cleaning *cleaning, const KeyPoint *point, Page page, int64 *living)
{
	PGAlignedBlock buffer;
	PageView	view;
	int64		dead = 0;
	int			first;

	*living = 0;
	view_page(&view, &cleaning->tree, page, NULL);
	first = ipage_search(&view, point);
	for (int pos = SLOT_FIRST; pos < page_nslots(page); pos++)
	{
		ItemPointerData *tids;
		IndexItem	item;
		int			kept;

		view_item(&view, pos, &item, buffer.data);
		tids = palloc(sizeof(ItemPointerData) * item.ntids);
		view_tids(&view, &item, tids);
		kept = keep_living(cleaning, pos, tids, item.ntids);
		dead += item.ntids - kept;
		if (pos >= first)
			*living += kept;
		pfree(tids);
	}
	return dead > 0;
}

int
index_clean_latched(const IndexTree *tree, PoolFrame *frame, IndexKeepTids keep, void *arg,
					bool *is_small)
{
	PageChange	change;
	Page		page;
	int			removed;

	change_begin(&change, &tree->file);
	page = change_page(&change, frame, false);
	removed = ipage_remove_tids(tree, frame, page, keep, arg);
	*is_small = index_leaf_is_small(page);
	FAULT_POINT(index_vacuum);
	change_commit(&change, InvalidTransactionId);
	return removed;
}

/*
 * One leaf, the one that covers the point; its high fence goes to *high, false if it was the last.
 */
static bool
clean_leaf(Cleaning *cleaning, const KeyPoint *point, BlockNumber *hint, IndexItem *high,
		   char *high_buffer)
{
	PGAlignedBlock leaf;
	PageView	view;
	PoolFrame  *frame;
	uint64		version;
	int64		living;
	bool		is_small;

	itree_copy_leaf(&cleaning->tree, point, false, *hint, leaf.data, &frame, &version);
	view_page(&view, &cleaning->tree, (Page) leaf.data, NULL);
	view_item(&view, SLOT_HIGH_FENCE, high, high_buffer);
	*hint = page_trailer(view.page)->right_block;
	is_small = index_leaf_is_small(view.page);
	if (has_dead(cleaning, point, view.page, &living))
	{
		/* it may have been split since: then the rest is visited next */
		frame = itree_latch_page(&cleaning->tree, point, 0, LW_EXCLUSIVE);
		view_page(&view, &cleaning->tree, pool_page(frame), NULL);
		view_item(&view, SLOT_HIGH_FENCE, high, high_buffer);
		*hint = page_trailer(view.page)->right_block;
		cleaning->stats->tuples_removed += index_clean_latched(&cleaning->tree, frame, keep_living,
															   cleaning, &is_small);
	}
	cleaning->stats->num_index_tuples += living;
	if (is_small && itree_merge_leaf(&cleaning->tree, point))
	{
		cleaning->stats->pages_newly_deleted++;
		*hint = InvalidBlockNumber;
	}
	return !high->is_infinite;
}

static void
clean_all(Cleaning *cleaning)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "rowan index vacuum",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	PGAlignedBlock buffers[2];
	BlockNumber hint = InvalidBlockNumber;
	KeyPoint	point;
	IndexItem	high;
	int			which = 0;

	key_point_init(cleaning->tree.keys, &point, 0, TAIL_LOW);
	while (clean_leaf(cleaning, &point, &hint, &high, buffers[which].data))
	{
		key_point_from_item(cleaning->tree.keys, &point, &high);
		which = 1 - which;
		vacuum_pause();
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

/* ---- waiting for scans ---- */

#define WAIT_MIN_MS		1
#define WAIT_MAX_MS		100

/*
 * Processes, each of which waits for the one it was found by, or for another; without duplicates.
 */
typedef struct Waiters
{
	int		   *pids;
	int			n;
	int			room;
} Waiters;

static void
add_waiter(Waiters *waiters, int pid)
{
	for (int i = 0; i < waiters->n; i++)
		if (waiters->pids[i] == pid)
			return;
	if (waiters->n == waiters->room)
		waiters->pids = repalloc(waiters->pids, sizeof(int) * (waiters->room *= 2));
	waiters->pids[waiters->n++] = pid;
}

static void
add_blockers(Waiters *waiters, int pid)
{
	Datum		array = DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(pid));
	Datum	   *blockers;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &blockers, NULL, &n);
	for (int i = 0; i < n; i++)
		add_waiter(waiters, DatumGetInt32(blockers[i]));
	pfree(blockers);
	pfree(DatumGetPointer(array));
}

/*
 * Does that process wait for this one, by way of others perhaps?  Each process is asked once: in a
 * queue for one lock each waits for all before it, and the ways through it are more than could be
 * gone.
 */
static bool
waits_for_us(int pid)
{
	int			us = MyProc->lockGroupLeader != NULL ? MyProc->lockGroupLeader->pid : MyProcPid;
	Waiters		waiters = {.pids = palloc(sizeof(int) * 16), .room = 16};
	bool		found = false;

	add_waiter(&waiters, pid);
	for (int next = 0; next < waiters.n && !found; next++)
	{
		found = next > 0 && waiters.pids[next] == us;
		if (!found)
			add_blockers(&waiters, waiters.pids[next]);
	}
	pfree(waiters.pids);
	return found;
}

/* No lock queue knows that we wait, so nobody else notices. */
static void
check_deadlock(Relation index, const VirtualTransactionId *holders, int nholders)
{
	for (int i = 0; i < nholders; i++)
	{
		PGPROC	   *holder = ProcNumberGetProc(holders[i].procNumber);
		int			pid = holder != NULL ? holder->pid : 0;

		if (pid != 0 && waits_for_us(pid))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
					 errmsg("deadlock detected"),
					 errdetail("Process %d has an index-only scan of index \"%s\" open, and waits for process %d, which waits for that scan.",
							   pid, RelationGetRelationName(index), MyProcPid)));
	}
}

/* Leaves only those of `holders` that hold the lock now. */
static int
keep_holding(VirtualTransactionId *holders, int nholders, const LOCKTAG *tag)
{
	VirtualTransactionId *now;
	int			nnow;
	int			kept = 0;

	now = GetLockConflicts(tag, ExclusiveLock, &nnow);
	for (int i = 0; i < nholders; i++)
	{
		for (int j = 0; j < nnow; j++)
		{
			if (VirtualTransactionIdEquals(holders[i], now[j]))
			{
				holders[kept++] = holders[i];
				break;
			}
		}
	}
	pfree(now);
	return kept;
}

/*
 * Waits until each scan that holds TIDs now was seen without them once.  Not in the lock's queue:
 * all scans that come later would wait behind us, for as long as a cursor stands idle on a leaf.
 */
static void
wait_for_scans(Relation index)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;
	int			nholders;
	int			delay_ms = WAIT_MIN_MS;
	int			waited_ms = 0;

	pool_assert_unlatched();
	index_tids_tag(index, &tag);
	holders = GetLockConflicts(&tag, ExclusiveLock, &nholders);
	while (nholders > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, delay_ms,
						 WAIT_EVENT_BUFFER_PIN);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		waited_ms += delay_ms;
		delay_ms = Min(delay_ms * 2, WAIT_MAX_MS);
		nholders = keep_holding(holders, nholders, &tag);
		if (waited_ms >= DeadlockTimeout)
		{
			check_deadlock(index, holders, nholders);
			waited_ms = 0;
		}
	}
	pfree(holders);
}

static bool
scans_hold_tids(Relation index)
{
	LOCKTAG		tag;
	int			nholders;

	index_tids_tag(index, &tag);
	pfree(GetLockConflicts(&tag, ExclusiveLock, &nholders));
	return nholders > 0;
}

/* ---- the callbacks ---- */

/* False: all of the index has to be gone through. */
static bool
clean_by_key(Relation index, Cleaning *cleaning, DeadRows *rows)
{
	bool		all;

	if (rows == NULL)
		return false;
	all = index_delete_by_key(index, &cleaning->tree, rows, cleaning->stats);
	if (!all && !rows->optional)
		return false;
	/* nothing was counted */
	cleaning->stats->estimated_count = true;
	cleaning->stats->num_index_tuples = Max(index->rd_rel->reltuples, 0);
	return true;
}

IndexBulkDeleteResult *
rowan_index_bulk_delete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
						IndexBulkDeleteCallback callback, void *arg)
{
	Cleaning	cleaning = {.callback = callback, .arg = arg};
	DeadRows   *rows = table_dead_rows(callback, arg);

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	cleaning.stats = stats;
	stats->estimated_count = false;
	stats->num_index_tuples = 0;
	index_tree(info->index, &cleaning.tree);
	if (tree_exists(&cleaning.tree.file))
	{
		pool_prepare_write();
		if (!clean_by_key(info->index, &cleaning, rows))
			clean_all(&cleaning);
		if (rows == NULL || !rows->optional)
			wait_for_scans(info->index);
		else if (!rows->held)
			rows->held = scans_hold_tids(info->index);
	}
	return stats;
}

static void
pause_vacuum_of_index(void)
{
	vacuum_pause();
}

/*
 * Pages that became free are used again at once; if they are many, the file is made shorter.  Also
 * when this VACUUM removed nothing: the one before may not have got its lock.
 */
IndexBulkDeleteResult *
rowan_index_cleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	IndexTree	tree;
	FileHeaderData header;

	if (info->analyze_only)
		return stats;
	index_tree(info->index, &tree);
	if (tree_exists(&tree.file) && table_may_cut_index(info->index))
	{
		itree_shrink(&tree, pause_vacuum_of_index);
		table_truncate_index_tail(info->index, info->message_level, stats != NULL);
	}
	if (stats == NULL)
		return stats;
	if (tree_exists(&tree.file))
	{
		space_read_header(&tree.file, &header);
		stats->num_pages = header.high_water;
		stats->pages_free = header.free_count;
		stats->pages_deleted = header.free_count;
	}
	if (stats->estimated_count && RelationGetIndexPredicate(info->index) == NIL)
	{
		/* cleaned by key: it has as many entries as the table has rows */
		stats->estimated_count = info->estimated_count;
		stats->num_index_tuples = info->num_heap_tuples;
	}
	if (!info->estimated_count && stats->num_index_tuples > info->num_heap_tuples)
		stats->num_index_tuples = info->num_heap_tuples;
	return stats;
}
