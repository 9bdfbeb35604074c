/*
 * vismap.c
 *	  The visibility map: core's format in core's buffers, because core's index-only and bitmap
 *	  scans read it; its block numbers are logical ones (I7).
 *
 * visibilitymap_set and _clear belong to heap (their WAL records and flags refer to heap
 * pages).  So bits are set through GenericXLog; they are cleared in the record of the row's change
 * (row/mapclear.h).
 *
 * Latches: the caller holds leaves; the map's buffer lock comes after them.
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/visibilitymap.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "access/xlogutils.h"
#include "base/compat.h"
#include "base/fault.h"
#include "catalog/storage.h"
#include "catalog/storage_xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "table/table.h"

/* Layout of the map, as in visibilitymap.c. */
#define MAP_BLOCKS_PER_BYTE		(BITS_PER_BYTE / BITS_PER_HEAPBLOCK)
#define MAP_BLOCKS_PER_PAGE		((BLCKSZ - MAXALIGN(SizeOfPageHeaderData)) * MAP_BLOCKS_PER_BYTE)

/* The bits' byte of a map page, and where they are in it. */
static uint8 *
map_byte(Page page, BlockNumber block, int *shift)
{
	*shift = (block % MAP_BLOCKS_PER_BYTE) * BITS_PER_HEAPBLOCK;
	return (uint8 *) PageGetContents(page) +
		(block % MAP_BLOCKS_PER_PAGE) / MAP_BLOCKS_PER_BYTE;
}

/*
 * Begins a change of the map page, locked exclusively.  It has its content where generic records
 * suppose a hole: they are told that there is none.
 *
 * Core extends the map without WAL.  Redo extends it where a record has the whole page, and only
 * there; so the first record of a page must, whatever full_page_writes says.  A page without an LSN
 * has had none.
 */
static Page
begin_map_change(Relation rel, Buffer buffer, GenericXLogState **state)
{
	bool		is_first = XLogRecPtrIsInvalid(PageGetLSN(BufferGetPage(buffer)));
	Page		page;

	*state = GenericXLogStart(rel);
	page = GenericXLogRegisterBuffer(*state, buffer, is_first ? GENERIC_XLOG_FULL_IMAGE : 0);
	((PageHeader) page)->pd_lower = BLCKSZ;
	return page;
}

/* ---- clearing bits, in the record of a row's change ---- */

static inline bool
any_bit_set(Page page, BlockNumber block)
{
	int			shift;

	return (*map_byte(page, block, &shift) & (VISIBILITYMAP_VALID_BITS << shift)) != 0;
}

static Buffer
pin_if_set(void *arg, BlockNumber logical_block)
{
	Buffer		buffer = InvalidBuffer;
	bool		set;

	visibilitymap_pin((Relation) arg, logical_block, &buffer);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	set = any_bit_set(BufferGetPage(buffer), logical_block);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (set)
		return buffer;
	ReleaseBuffer(buffer);
	return InvalidBuffer;
}

static void
clear_bits(Buffer buffer, BlockNumber logical_block)
{
	int			shift;
	uint8	   *byte;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	byte = map_byte(BufferGetPage(buffer), logical_block, &shift);
	*byte &= ~(VISIBILITYMAP_VALID_BITS << shift);
	MarkBufferDirty(buffer);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
}

/*
 * A page that is not there has no bits, nor has a damaged one, which core takes for zeroes.  It may
 * be newer than the record, and have bits set again: those are lost, as on heap, until the next
 * VACUUM.
 */
static void
clear_in_redo(RelFileLocator locator, BlockNumber logical_block)
{
	SMgrRelation reln = smgropen(locator, INVALID_PROC_NUMBER);
	BlockNumber map_block = logical_block / MAP_BLOCKS_PER_PAGE;
	Buffer		buffer;

	if (!smgrexists(reln, VISIBILITYMAP_FORKNUM) ||
		map_block >= smgrnblocks(reln, VISIBILITYMAP_FORKNUM))
		return;
	buffer = XLogReadBufferExtended(locator, VISIBILITYMAP_FORKNUM, map_block, RBM_ZERO_ON_ERROR,
									InvalidBuffer);
	if (!BufferIsValid(buffer))
		return;
	if (!PageIsNew(BufferGetPage(buffer)))
		clear_bits(buffer, logical_block);
	ReleaseBuffer(buffer);
}

void
table_map_init(void)
{
	static const RowMapOps ops = {pin_if_set, clear_bits, clear_in_redo};

	row_map_ops = &ops;
}

/* ---- setting bits ---- */

static bool
leaves_confirmed(RowTable *table, const VisibleBlocks *batch, int n)
{
	for (int i = batch->first_leaf[n]; i < batch->first_leaf[n + 1]; i++)
		if (!row_confirm_visibility(table, &batch->leaf[i]))
			return false;
	return true;
}

void
table_flush_visible(Relation rel, RowTable *table, VisibleBlocks *batch)
{
	Buffer		buffer = InvalidBuffer;
	GenericXLogState *state;
	Page		page;
	bool		changed = false;

	if (batch->nblocks == 0)
		return;
	FAULT_POINT(vacuum_visibility);
	visibilitymap_pin(rel, batch->block[0], &buffer);

	/*
	 * until the bits are set: a writer who comes after we have looked at his leaf waits, and
	 * clears them
	 */
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page = begin_map_change(rel, buffer, &state);
	for (int i = 0; i < batch->nblocks; i++)
	{
		int			shift;
		uint8	   *byte = map_byte(page, batch->block[i], &shift);
		uint8		bits = (VISIBILITYMAP_ALL_VISIBLE | VISIBILITYMAP_ALL_FROZEN) << shift;

		if ((*byte & bits) != bits && leaves_confirmed(table, batch, i))
		{
			*byte |= bits;
			changed = true;
		}
	}
	if (changed)
		GenericXLogFinish(state);
	else
		GenericXLogAbort(state);
	UnlockReleaseBuffer(buffer);
	batch->nblocks = 0;
}

void
table_mark_visible(Relation rel, RowTable *table, VisibleBlocks *batch, BlockNumber logical_block,
				   const RowLeaf *leaves, int nleaves)
{
	int			n;

	Assert(nleaves < VISIBLE_LEAVES);
	for (int i = 0; i < nleaves; i++)
		if (!row_announce_visibility(table, &leaves[i]))
			return;
	if (batch->nblocks == VISIBLE_BLOCKS ||
		(batch->nblocks > 0 &&
		 (batch->first_leaf[batch->nblocks] + nleaves > VISIBLE_LEAVES ||
		  batch->block[0] / MAP_BLOCKS_PER_PAGE != logical_block / MAP_BLOCKS_PER_PAGE)))
		table_flush_visible(rel, table, batch);
	n = batch->nblocks++;
	if (n == 0)
		batch->first_leaf[0] = 0;
	batch->block[n] = logical_block;
	memcpy(&batch->leaf[batch->first_leaf[n]], leaves, nleaves * sizeof(RowLeaf));
	batch->first_leaf[n + 1] = batch->first_leaf[n] + nleaves;
}

/* ---- emptying the map ---- */

static void
log_map_truncate(Relation rel)
{
	xl_smgr_truncate truncate = {.blkno = 0, .rlocator = rel->rd_locator,
	.flags = SMGR_TRUNCATE_VM};

	XLogBeginInsert();
	XLogRegisterData((char *) &truncate, sizeof(truncate));
	XLogFlush(XLogInsert(RM_SMGR_ID, XLOG_SMGR_TRUNCATE | XLR_SPECIAL_REL_UPDATE));
}

/* As RelationTruncate, which says why both flags are needed, but leaves the main fork alone. */
void
table_truncate_visibility(Relation rel)
{
	SMgrRelation reln = RelationGetSmgr(rel);
	const int	delay = DELAY_CHKPT_START | DELAY_CHKPT_COMPLETE;
	BlockNumber old_blocks,
				blocks;

	if (!smgrexists(reln, VISIBILITYMAP_FORKNUM))
		return;
	blocks = visibilitymap_prepare_truncate(rel, 0);
	if (!BlockNumberIsValid(blocks))
		return;
	reln = RelationGetSmgr(rel);
	old_blocks = smgrnblocks(reln, VISIBILITYMAP_FORKNUM);
	Assert((MyProc->delayChkptFlags & delay) == 0);
	MyProc->delayChkptFlags |= delay;
	START_CRIT_SECTION();
	if (RelationNeedsWAL(rel))
		log_map_truncate(rel);
	truncate_fork(reln, VISIBILITYMAP_FORKNUM, old_blocks, blocks);
	END_CRIT_SECTION();
	MyProc->delayChkptFlags &= ~delay;
}
