/*
 * index_delete.c
 *	  Removing dead entries from a leaf that has no room, so that it need not be split.
 *
 * As nbtree's simple and bottom-up deletion: the leaf proposes entries, the table says which of
 * them no snapshot on this server needs, and what snapshots on a standby are in conflict with their
 * going. Proposed are entries that scans have marked dead, with all others whose rows are in the
 * same table blocks; or, if versions of one row follow each other, all, with a hint which keys are
 * there several times. A mark is believed by scans only; here the table is asked, for it may have
 * come in a page image from another server, whose snapshots were others.
 *
 * The leaf stays latched while the table is asked, so that none of its TIDs is given to another row
 * meanwhile. Scans that hold copied TIDs need no interlock here: the TID of an entry removed is
 * used again only after the next VACUUM has been through all indexes, and that waits for them
 * (index_vacuum.c).
 */
#include "postgres.h"

#include "access/tableam.h"
#include "base/fault.h"
#include "btree/index_delete.h"
#include "lib/qunique.h"
#include "storage/procarray.h"
#include "utils/memutils.h"

/*
 * The table is asked to free this much at least; if less than that comes out, the leaf is packed or
 * split all the same.
 */
#define GOAL_BYTES		(BLCKSZ / 16)
#define ENOUGH_BYTES	(BLCKSZ / 24)

/* The TIDs of a leaf, numbered in page order; ids in op are these numbers. */
typedef struct Candidates
{
	PageView	view;
	uint64		version;		/* of the leaf's frame */
	int		   *first;			/* by slot: number of its first TID */
	int			room;
	TM_IndexDeleteOp op;
	bool	   *dead;			/* the table's answer, by number */
	BlockNumber *blocks;		/* simple: table blocks with marked entries, sorted */
	int			nblocks;
} Candidates;

static Candidates *
begin_candidates(const IndexTree *tree, Relation index, PoolFrame *frame)
{
	Candidates *all = palloc0(sizeof(Candidates));
	PGAlignedBlock buffer;
	int			nslots;

	view_page(&all->view, tree, pool_page(frame), NULL);
	all->version = pg_atomic_read_u64(&frame->version);
	nslots = page_nslots(all->view.page);
	all->first = palloc(sizeof(int) * nslots);
	for (int pos = SLOT_FIRST; pos < nslots; pos++)
	{
		IndexItem	item;

		view_item(&all->view, pos, &item, buffer.data);
		all->first[pos] = all->room;
		all->room += item.ntids;
	}
	all->op.irel = index;
	all->op.iblknum = pool_block(frame);
	all->op.deltids = palloc(sizeof(TM_IndexDelete) * Max(all->room, 1));
	all->op.status = palloc0(sizeof(TM_IndexStatus) * Max(all->room, 1));
	all->dead = palloc0(sizeof(bool) * Max(all->room, 1));
	return all;
}

/* An item's TIDs; the array is the caller's to free. */
static ItemPointerData *
tids_of(const Candidates *all, const IndexItem *item)
{
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * item->ntids);

	view_tids(&all->view, item, tids);
	return tids;
}

static TM_IndexStatus *
propose(Candidates *all, int pos, int at, ItemPointerData tid)
{
	int			number = all->first[pos] + at;
	TM_IndexDelete *entry = &all->op.deltids[all->op.ndeltids++];
	TM_IndexStatus *status = &all->op.status[number];

	entry->tid = tid;
	entry->id = number;
	status->idxoffnum = pos;
	return status;
}

/* ---- asking and removing ---- */

static int
keep_undead(void *arg, int slot, ItemPointerData *tids, int ntids)
{
	const Candidates *all = arg;
	int			n = 0;

	for (int i = 0; i < ntids; i++)
		if (!all->dead[all->first[slot] + i])
			tids[n++] = tids[i];
	return n;
}

/*
 * Asks the table, and removes what it says is dead: one CHANGE with a horizon.  The latch is given
 * away; *free_bytes: what the leaf has then.
 */
static bool
remove_dead_entries(const IndexTree *tree, Relation heap, PoolFrame *frame, Candidates *all,
					int *free_bytes)
{
	TransactionId horizon = table_index_delete_tuples(heap, &all->op);
	PageChange	change;
	Page		page;
	int			ndead = 0;

	Assert(pg_atomic_read_u64(&frame->version) == all->version);	/* I-IDX-9 */
	/* what the table has not looked at is not in the list any more */
	for (int i = 0; i < all->op.ndeltids; i++)
	{
		int			number = all->op.deltids[i].id;

		if (all->op.status[number].knowndeletable)
		{
			all->dead[number] = true;
			ndead++;
		}
	}
	*free_bytes = page_free_bytes(all->view.page);
	if (ndead == 0)
	{
		pool_unlatch(frame);
		return false;
	}
	change_begin(&change, &tree->file);
	page = change_page(&change, frame, false);
	(void) ipage_remove_tids(tree, frame, page, keep_undead, all);
	*free_bytes = page_free_bytes(page);
	FAULT_POINT(index_delete);
	change_commit(&change, horizon);
	return true;
}

/* ---- entries that were marked ---- */

static int
compare_blocks(const void *a, const void *b)
{
	BlockNumber x = *(const BlockNumber *) a;
	BlockNumber y = *(const BlockNumber *) b;

	return x < y ? -1 : x > y;
}

/* Bytes only: most full leaves have no marks. */
static bool
has_marks(Page page)
{
	for (int pos = SLOT_FIRST; pos < page_nslots(page); pos++)
		if (ipage_is_dead(page, pos))
			return true;
	return false;
}

/* Table blocks of marked entries, and of the new one. */
static void
collect_blocks(Candidates *all, const CellSource *entry)
{
	PGAlignedBlock buffer;

	all->blocks = palloc(sizeof(BlockNumber) * (all->room + 1));
	all->blocks[all->nblocks++] = ItemPointerGetBlockNumberNoCheck(entry->tids);
	for (int pos = SLOT_FIRST; pos < page_nslots(all->view.page); pos++)
	{
		IndexItem	item;
		ItemPointerData *tids;

		view_item(&all->view, pos, &item, buffer.data);
		if (!item.is_dead)
			continue;
		tids = tids_of(all, &item);
		for (int i = 0; i < item.ntids; i++)
			all->blocks[all->nblocks++] = ItemPointerGetBlockNumberNoCheck(&tids[i]);
		pfree(tids);
	}
	qsort(all->blocks, all->nblocks, sizeof(BlockNumber), compare_blocks);
	all->nblocks = qunique(all->blocks, all->nblocks, sizeof(BlockNumber), compare_blocks);
}

static void
propose_in_blocks(Candidates *all)
{
	PGAlignedBlock buffer;

	for (int pos = SLOT_FIRST; pos < page_nslots(all->view.page); pos++)
	{
		IndexItem	item;
		ItemPointerData *tids;

		view_item(&all->view, pos, &item, buffer.data);
		tids = tids_of(all, &item);
		for (int i = 0; i < item.ntids; i++)
		{
			BlockNumber block = ItemPointerGetBlockNumberNoCheck(&tids[i]);

			if (bsearch(&block, all->blocks, all->nblocks, sizeof(BlockNumber), compare_blocks))
				(void) propose(all, pos, i, tids[i]);
		}
		pfree(tids);
	}
}

/* *marked: there were entries marked dead. */
static bool
delete_marked(const IndexTree *tree, Relation index, Relation heap, const KeyPoint *point,
			  const CellSource *entry, bool *marked)
{
	PoolFrame  *frame = itree_latch_page(tree, point, 0, LW_EXCLUSIVE);
	Candidates *all;
	int			needed;
	int			free_bytes;

	*marked = has_marks(pool_page(frame));
	if (!*marked)
	{
		pool_unlatch(frame);
		return false;
	}
	all = begin_candidates(tree, index, frame);
	needed = cell_encode(&all->view.prefix, entry, NULL) + (int) sizeof(SlotData);
	collect_blocks(all, entry);
	propose_in_blocks(all);

	/*
	 * Who set the marks may have known a newer horizon than this backend does: heap expects
	 * that a simple deletion finds something.
	 */
	(void) GetOldestNonRemovableTransactionId(heap);
	return remove_dead_entries(tree, heap, frame, all, &free_bytes) && free_bytes >= needed;
}

/* ---- versions of one row ---- */

/*
 * Of a posting list at most one TID is worth a look, the first or the last, and only
 * if half of the list or more is in its block: the list is of many rows, of which one has changed.
 */
static int
promising_of(const ItemPointerData *tids, int ntids)
{
	BlockNumber middle = ItemPointerGetBlockNumberNoCheck(&tids[ntids / 2]);

	if (ItemPointerGetBlockNumberNoCheck(&tids[0]) == middle)
		return 0;
	if (ItemPointerGetBlockNumberNoCheck(&tids[ntids - 1]) == middle)
		return ntids - 1;
	return -1;
}

static void
propose_item(Candidates *all, int pos, const IndexItem *item, bool is_duplicate)
{
	ItemPointerData *tids = tids_of(all, item);
	int			promising = is_duplicate ? promising_of(tids, item->ntids) : -1;
	int			bytes = item->ntids == 1 ? page_slot_bytes(all->view.page, pos) :
		Max(1, item->posting_size / item->ntids);

	for (int i = 0; i < item->ntids; i++)
	{
		TM_IndexStatus *status = propose(all, pos, i, tids[i]);

		status->promising = i == promising;
		status->freespace = bytes;
	}
	pfree(tids);
}

/* The key of the slot is that of the one before. */
static bool
equals_previous(const PageView *view, int pos, const IndexItem *previous, const IndexItem *item)
{
	const SlotData *slots = page_slots(view->page);
	int			difference;

	return pos > SLOT_FIRST && slots[pos].delta == slots[pos - 1].delta &&
		key_compare_tuples(view->keys, previous->tuple, item->tuple, view->keys->nkeyatts,
						   &difference) == 0;
}

static void
propose_all(Candidates *all)
{
	PGAlignedBlock buffers[2];
	IndexItem	items[2];
	bool		pending_equals = false;
	int			pos;

	/* an item is proposed when it is known whether the next one has its key */
	for (pos = SLOT_FIRST; pos < page_nslots(all->view.page); pos++)
	{
		int			at = pos & 1;
		bool		equals;

		view_item(&all->view, pos, &items[at], buffers[at].data);
		equals = equals_previous(&all->view, pos, &items[1 - at], &items[at]);
		if (pos > SLOT_FIRST)
			propose_item(all, pos - 1, &items[1 - at], pending_equals || equals);
		pending_equals = equals;
	}
	if (pos > SLOT_FIRST)
		propose_item(all, pos - 1, &items[(pos - 1) & 1], pending_equals);
}

static bool
delete_versions(const IndexTree *tree, Relation index, Relation heap, const KeyPoint *point,
				const CellSource *entry)
{
	PoolFrame  *frame = itree_latch_page(tree, point, 0, LW_EXCLUSIVE);
	Candidates *all = begin_candidates(tree, index, frame);
	int			needed = cell_encode(&all->view.prefix, entry, NULL) + (int) sizeof(SlotData);
	int			free_bytes;

	propose_all(all);
	if (all->op.ndeltids == 0)
	{
		pool_unlatch(frame);
		return false;
	}
	all->op.bottomup = true;
	all->op.bottomupfreespace = Max(GOAL_BYTES, needed);
	return remove_dead_entries(tree, heap, frame, all, &free_bytes) &&
		free_bytes >= Max(ENOUGH_BYTES, needed);
}

bool
index_delete_dead(const IndexTree *tree, Relation index, Relation heap, const KeyPoint *point,
				  const CellSource *entry, bool likely)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "rowan index deletion",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	bool		marked;
	bool		done = delete_marked(tree, index, heap, point, entry, &marked);

	if (!done && (likely || marked))
		done = delete_versions(tree, index, heap, point, entry);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return done;
}
