/*
 * index_trust.c
 *	  TIDs that an index-only scan has copied in recovery, where VACUUM cannot wait for it
 *	  (I-IDX-6).
 *
 * The executor looks at no row whose block is all-visible when it gets the TID.  Redo may have
 * removed the entry since the leaf was copied, then the row, then have set the block's bit: the
 * executor would believe in a dead row.  So before a TID is returned, either
 *
 * (1) the bit is found set, and after that the leaf unchanged.  Then at one moment the entry was
 *	   in the index and the block all-visible: the row was there and visible to every snapshot of
 *	   that moment (I7), ours among them, and so it stays for ours.  That goes for all entries of
 *	   this copy with rows in that block.  Or
 *
 * (2) the row is fetched by the scan's MVCC snapshot, as in an index scan.  If none is visible the
 *	   entry is passed over.  The TID may have been given to another row meanwhile: but that was
 *	   inserted after the leaf was copied, hence after our snapshot was taken, which does not see
 *	   it; and a record that made it visible to all would have cancelled us before.
 *
 * In both cases the entry is one that the snapshot sees, whatever the executor finds in the map
 * afterwards: if the bit is set, it is right to believe it; if not, it fetches the row by the same
 * snapshot.  Whether the server is still in recovery by then makes no difference: after a
 * promotion, VACUUM need not know of these TIDs, only of those that are copied from then on.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "btree/index_trust.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* It holds, and has held since it was copied, what was copied. */
static bool
leaf_is_unchanged(const ScanLeaf *leaf)
{
	PoolRead	read = {.frame = leaf->frame, .version = leaf->version};

	return leaf->version != 0 && pool_read_valid(&read);
}

/* Memory that lasts as long as the scan. */
static TupleTableSlot *
make_slot(IndexScanDesc scan)
{
	MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(scan));
	TupleTableSlot *slot = table_slot_create(scan->heapRelation, NULL);

	MemoryContextSwitchTo(caller);
	return slot;
}

/*
 * The TID that the entry has is left as it is: what is found may be a later member of a HOT chain,
 * or a tagged version.
 */
static bool
row_is_visible(IndexScanDesc scan, const ItemPointerData *tid, TidLookup *lookup)
{
	ItemPointerData found_at = *tid;
	bool		again = false;
	bool		found;

	Assert(IsMVCCSnapshot(scan->xs_snapshot));
	if (lookup->slot == NULL)
		lookup->slot = make_slot(scan);
	found = table_index_fetch_tuple(scan->xs_heapfetch, &found_at, scan->xs_snapshot, lookup->slot,
									&again, NULL);
	ExecClearTuple(lookup->slot);
	return found;
}

bool
tid_may_be_trusted(IndexScanDesc scan, ScanLeaf *leaf, TidLookup *lookup)
{
	const ItemPointerData *tid = leaf_tid(leaf);
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);

	if (block == leaf->visible_block)
		return true;
	/* in this order */
	if (VM_ALL_VISIBLE(scan->heapRelation, block, &lookup->map) && leaf_is_unchanged(leaf))
	{
		leaf->visible_block = block;
		return true;
	}
	return row_is_visible(scan, tid, lookup);
}

void
tid_lookup_end(TidLookup *lookup)
{
	if (BufferIsValid(lookup->map))
		ReleaseBuffer(lookup->map);
	if (lookup->slot != NULL)
		ExecDropSingleTupleTableSlot(lookup->slot);
	lookup->map = InvalidBuffer;
	lookup->slot = NULL;
}
