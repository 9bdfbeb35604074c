/*
 * vismap.c
 *	  The visibility map: core's format in core's buffers, because core's index-only and bitmap
 *	  scans read it; its block numbers are logical ones (I7).
 *
 * visibilitymap_set and _clear belong to heap (their WAL records and flags refer to heap
 * pages), so bits are changed through GenericXLog.
 *
 * Latches: the caller holds leaves; the map's buffer lock comes after them.
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/visibilitymap.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "am/table.h"
#include "base/compat.h"
#include "base/fault.h"
#include "catalog/storage.h"
#include "catalog/storage_xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"

/* Layout of the map, as in visibilitymap.c. */
#define MAP_BLOCKS_PER_BYTE		(BITS_PER_BYTE / BITS_PER_HEAPBLOCK)
#define MAP_BLOCKS_PER_PAGE		((BLCKSZ - MAXALIGN(SizeOfPageHeaderData)) * MAP_BLOCKS_PER_BYTE)

/* With the buffer locked exclusively. */
static void
change_bits(Relation rel, Buffer buffer, BlockNumber block, uint8 clear, uint8 set)
{
	int			byte = (block % MAP_BLOCKS_PER_PAGE) / MAP_BLOCKS_PER_BYTE;
	int			shift = (block % MAP_BLOCKS_PER_BYTE) * BITS_PER_HEAPBLOCK;
	uint8		now = ((uint8 *) PageGetContents(BufferGetPage(buffer)))[byte];
	uint8		wanted = (now & ~(clear << shift)) | (set << shift);
	GenericXLogState *state;
	Page		page;

	if (now == wanted)
		return;
	state = GenericXLogStart(rel);
	page = GenericXLogRegisterBuffer(state, buffer, 0);
	/* the map lies where generic records suppose a hole: tell them there is none */
	((PageHeader) page)->pd_lower = BLCKSZ;
	((uint8 *) PageGetContents(page))[byte] = wanted;
	GenericXLogFinish(state);
}

void
table_clear_visibility(void *arg, BlockNumber logical_block)
{
	Relation	rel = (Relation) arg;
	Buffer		buffer = InvalidBuffer;

	visibilitymap_pin(rel, logical_block, &buffer);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	change_bits(rel, buffer, logical_block, VISIBILITYMAP_VALID_BITS, 0);
	UnlockReleaseBuffer(buffer);
}

bool
table_set_visibility(Relation rel, RowTable *table, BlockNumber logical_block,
					 const RowLeaf *leaves, int nleaves)
{
	Buffer		buffer = InvalidBuffer;
	bool		confirmed = true;

	for (int i = 0; i < nleaves; i++)
		if (!row_announce_visibility(table, &leaves[i]))
			return false;
	FAULT_POINT(vacuum_visibility);
	visibilitymap_pin(rel, logical_block, &buffer);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	for (int i = 0; i < nleaves && confirmed; i++)
		confirmed = row_confirm_visibility(table, &leaves[i]);
	if (confirmed)
		change_bits(rel, buffer, logical_block, 0,
					VISIBILITYMAP_ALL_VISIBLE | VISIBILITYMAP_ALL_FROZEN);
	UnlockReleaseBuffer(buffer);
	return confirmed;
}

static void
log_map_truncate(Relation rel)
{
	xl_smgr_truncate truncate = {.blkno = 0,.rnode = rel->rd_node,.flags = SMGR_TRUNCATE_VM};

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
	compat_truncate_fork(reln, VISIBILITYMAP_FORKNUM, old_blocks, blocks);
	END_CRIT_SECTION();
	MyProc->delayChkptFlags &= ~delay;
}
