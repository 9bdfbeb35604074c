/*
 * index_parallel.c
 *	  Parallel index scans: several processes share out the leaves of one scan among them.
 *
 * Whose turn it is to read a leaf, and to which array elements the scan has come, is decided by core's functions for btree, which
 * keep a block number in shared memory.  Ours goes on from a leaf's fence instead, which no split or merge invalidates: it
 * lies behind core's state, and only the process whose turn it is touches it.  The block number is
 * the hint where that leaf may be.
 *
 * Who has copied a leaf passes the turn on before looking at the entries.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/relscan.h"
#include "btree/btree.h"

/* Core's P_NONE: there is no next leaf.  Invalid: not begun yet. */
#define BLOCK_AT_END	P_NONE

/* Never a leaf's sibling: no hint. */
#define BLOCK_NO_HINT	ROWAN_ROOT_BLOCK

StaticAssertDecl(P_NONE == ROWAN_HEADER_BLOCK, "core's mark of the end must not be a leaf");

static Size
core_size(void)
{
	return MAXALIGN(btestimateparallelscan());
}

Size
rowan_index_parallel_size(void)
{
	return core_size() + sizeof(Bound);
}

void
rowan_index_parallel_init(void *target)
{
	btinitparallelscan(target);
}

static Bound *
shared_bound(IndexScanDesc scan)
{
	ParallelIndexScanDesc shared = scan->parallel_scan;

	return (Bound *) ((char *) OffsetToPointer(shared, shared->ps_offset) + core_size());
}

/* Pointers differ from process to process. */
static void
copy_bound(Bound *to, const Bound *from)
{
	to->item = from->item;
	to->item.tuple = (IndexTuple) to->tuple.bytes;
	memcpy(to->tuple.bytes, from->tuple.bytes, IndexTupleSize((IndexTuple) from->tuple.bytes));
}

ParallelTurn
index_parallel_seize(IndexScanDesc scan, Bound *from, BlockNumber *hint)
{
	BlockNumber block;

	if (!_bt_parallel_seize(scan, &block))
		return TURN_NONE;
	if (block == BLOCK_AT_END)
	{
		_bt_parallel_done(scan);
		return TURN_NONE;
	}
	if (!BlockNumberIsValid(block))
		return TURN_FIRST;
	copy_bound(from, shared_bound(scan));
	*hint = block == BLOCK_NO_HINT ? InvalidBlockNumber : block;
	return TURN_NEXT;
}

void
index_parallel_release(IndexScanDesc scan, const Bound *next, BlockNumber hint)
{
	if (next == NULL)
	{
		_bt_parallel_release(scan, BLOCK_AT_END);
		return;
	}
	copy_bound(shared_bound(scan), next);
	_bt_parallel_release(scan, BlockNumberIsValid(hint) ? hint : BLOCK_NO_HINT);
}
