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
#include "am/table.h"
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
					 const BlockNumber *leaves, int nleaves)
{
	Buffer		buffer = InvalidBuffer;
	bool		confirmed = true;

	for (int i = 0; i < nleaves; i++)
		if (!row_announce_visibility(table, leaves[i]))
			return false;
	visibilitymap_pin(rel, logical_block, &buffer);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	for (int i = 0; i < nleaves && confirmed; i++)
		confirmed = row_confirm_visibility(table, leaves[i]);
	if (confirmed)
		change_bits(rel, buffer, logical_block, 0,
					VISIBILITYMAP_ALL_VISIBLE | VISIBILITYMAP_ALL_FROZEN);
	UnlockReleaseBuffer(buffer);
	return confirmed;
}
