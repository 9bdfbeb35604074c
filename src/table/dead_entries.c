/*
 * dead_entries.c
 *	  Which index entries point to rows that nobody can see any more: for index AMs that
 *	  remove them before they split a page.
 *
 * Simple deletion has all its TIDs looked at.  Bottom-up deletion proposes all of a page and wants
 * some bytes freed: then, as with heap, only the most promising blocks are visited, as long as that
 * pays.
 *
 * The caller has a page of the index latched or locked (see "Latch order" in doc/architecture.md).
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "table/table.h"
#include "tree/tree.h"

/* As heap's limits. */
#define MAX_BLOCKS		6
#define NEAR_BLOCKS		3

/* Entries of one logical block, from `start` on in the list sorted by TID. */
typedef struct BlockGroup
{
	int			start;
	int			n;
	int			promising;
} BlockGroup;

static int
compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare(unconstify(ItemPointerData *, &((const TM_IndexDelete *) a)->tid),
							  unconstify(ItemPointerData *, &((const TM_IndexDelete *) b)->tid));
}

/*
 * Many promising first, then many; small differences say nothing, and then neighbours stay
 * together.
 */
static int
compare_groups(const void *a, const void *b)
{
	const BlockGroup *x = a;
	const BlockGroup *y = b;
	int			x_promising = pg_nextpower2_32(Max(x->promising, 4));
	int			y_promising = pg_nextpower2_32(Max(y->promising, 4));
	int			x_n = pg_nextpower2_32(x->n);
	int			y_n = pg_nextpower2_32(y->n);

	if (x_promising != y_promising)
		return y_promising - x_promising;
	if (x_n != y_n)
		return y_n - x_n;
	return x->start - y->start;
}

static inline BlockNumber
block_of(const TM_IndexDelete *entry)
{
	return ItemPointerGetBlockNumberNoCheck(&entry->tid);
}

/* Brings the entries of the most promising blocks to the front, and forgets the others. */
static void
choose_blocks(TM_IndexDeleteOp *op)
{
	BlockGroup *groups = palloc(sizeof(BlockGroup) * op->ndeltids);
	TM_IndexDelete *chosen = palloc(sizeof(TM_IndexDelete) * op->ndeltids);
	int			ngroups = 0;
	int			n = 0;

	for (int i = 0; i < op->ndeltids; i++)
	{
		const TM_IndexDelete *entry = &op->deltids[i];

		if (i == 0 || block_of(entry) != block_of(entry - 1))
			groups[ngroups++] = (BlockGroup) {.start = i};
		groups[ngroups - 1].n++;
		groups[ngroups - 1].promising += op->status[entry->id].promising ? 1 : 0;
	}
	qsort(groups, ngroups, sizeof(BlockGroup), compare_groups);
	for (int i = 0; i < Min(ngroups, MAX_BLOCKS); i++)
	{
		memcpy(chosen + n, op->deltids + groups[i].start, sizeof(TM_IndexDelete) * groups[i].n);
		n += groups[i].n;
	}
	memcpy(op->deltids, chosen, sizeof(TM_IndexDelete) * n);
	op->ndeltids = n;
	pfree(groups);
	pfree(chosen);
}

/* How bottom-up deletion is getting on. */
typedef struct Progress
{
	int			goal;			/* bytes to free */
	int			freed;
	int			freed_before;	/* the block at hand */
	BlockNumber block;
} Progress;

/* May the next block be visited?  Not if the goal is reached, or the one before had nothing. */
static bool
may_go_on(Progress *progress, BlockNumber block)
{
	if (BlockNumberIsValid(progress->block))
	{
		if (progress->freed >= progress->goal || progress->freed == progress->freed_before)
			return false;
		/* far away: not as much patience */
		if (Max(block, progress->block) - Min(block, progress->block) > NEAR_BLOCKS)
			progress->goal /= 2;
	}
	progress->freed_before = progress->freed;
	progress->block = block;
	return true;
}

/* Looks at the rows of entries. */
typedef struct Look
{
	RowTable	table;
	RowHint		hint;
	char	   *cell;			/* BLCKSZ + 8 */
	RowWork    *work;
	TransactionId horizon;		/* of those that are dead */
} Look;

static void
look_begin(Look *look, Relation rel)
{
	memset(look, 0, sizeof(*look));
	table_row_table(rel, &look->table);
	look->cell = palloc(BLCKSZ + MAXIMUM_ALIGNOF);
	look->work = row_work_create();
	look->horizon = InvalidTransactionId;
}

static void
look_end(Look *look)
{
	row_work_free(look->work);
	pfree(look->cell);
}

/*
 * A row reduced to a stub, or gone, had its conflict with snapshots on a standby resolved when that
 * was logged; an aborted insertion was seen by nobody.
 */
static bool
is_dead(Look *look, ItemPointer tid)
{
	RowId		row = row_id_from_tid(tid);
	RowVersion	version;
	TransactionId removed;

	if (!row_read(&look->table, row, &look->hint, look->cell, &version))
		return true;
	if (!row_is_dead_to_all(&look->table, &version.meta, &removed))
		return false;
	if (TransactionIdIsNormal(removed))
		row_note_deletion(&look->table, row, &version, look->work, &look->horizon);
	return true;
}

TransactionId
rowan_index_delete_tuples(Relation rel, TM_IndexDeleteOp *op)
{
	Progress	progress = {.goal = op->bottomupfreespace, .block = InvalidBlockNumber};
	Look		look;
	int			end = 0;

	look_begin(&look, rel);
	qsort(op->deltids, op->ndeltids, sizeof(TM_IndexDelete), compare_tids);
	if (op->bottomup)
		choose_blocks(op);
	for (int i = 0; i < op->ndeltids; i++)
	{
		TM_IndexDelete *entry = &op->deltids[i];
		TM_IndexStatus *status = op->status + entry->id;

		if (op->bottomup && block_of(entry) != progress.block &&
			!may_go_on(&progress, block_of(entry)))
			break;
		if (!is_dead(&look, &entry->tid) && !status->knowndeletable)
			continue;
		status->knowndeletable = true;
		progress.freed += status->freespace;
		end = i + 1;
	}
	look_end(&look);
	op->ndeltids = end;			/* none of those behind is dead */
	return look.horizon;
}
