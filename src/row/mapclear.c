/*
 * mapclear.c
 *	  A row's change clears the bits of its logical block in the visibility map (mapclear.h).
 *
 * As with heap, the map's page gets no LSN, and no image in WAL: bits that are cleared too early do
 * no harm, and redo clears them again.  What the map looks like only the table layer knows
 * (row_map_ops).
 *
 * Latches: the leaf's, of the caller; the map's buffer lock comes after it.
 */
#include "postgres.h"

#include "access/xloginsert.h"
#include "base/bytes.h"
#include "pool/describe.h"
#include "row/mapclear.h"
#include "storage/bufmgr.h"

const RowMapOps *row_map_ops;

void
map_clear_prepare(const RowTable *table, PoolFrame *leaf, RowId row, MapClear *clear)
{
	clear->logical_block[0] = row_logical_block(row);
	clear->nblocks = 0;
	clear->buffer = InvalidBuffer;
	if ((page_trailer(pool_page(leaf))->flags & PAGE_VISIBLE_BITS) == 0)
		return;
	clear->buffer = row_map_ops->pin(table->visibility_arg, clear->logical_block[0]);
	clear->nblocks = BufferIsValid(clear->buffer) ? 1 : 0;
}

bool
map_clear_prepare_second(const RowTable *table, PoolFrame *leaf, RowId row, MapClear *clear)
{
	MapClear	second;

	map_clear_prepare(table, leaf, row, &second);
	if (second.nblocks == 0)
		return true;
	if (clear->nblocks == 0)
	{
		*clear = second;
		return true;
	}
	ReleaseBuffer(second.buffer);
	if (second.buffer != clear->buffer)
		return false;
	if (second.logical_block[0] != clear->logical_block[0])
		clear->logical_block[clear->nblocks++] = second.logical_block[0];
	return true;
}

void
map_clear_apply(const MapClear *clear)
{
	for (int i = 0; i < clear->nblocks; i++)
		row_map_ops->clear(clear->buffer, clear->logical_block[i]);
}

uint8
map_clear_log(const MapClear *clear, const PoolFile *file)
{
	static char data[2 * NUMBER_MAX_BYTES]; /* until the record is inserted */
	char	   *to = data;
	RelFileLocator locator = file->locator;

	if (!BufferIsValid(clear->buffer))
		return 0;
	for (int i = 0; i < clear->nblocks; i++)
		to = put_number(to, clear->logical_block[i]);
	if (!WAL_IS_SUMMARIZED)
	{
		XLogRegisterData(data, to - data);
		return clear->nblocks == 2 ? MAIN_CLEARS | MAIN_CLEARS_SECOND : MAIN_CLEARS;
	}
	XLogRegisterBlock(MAP_CLEAR_REFERENCE, &locator, VISIBILITYMAP_FORKNUM,
					  BufferGetBlockNumber(clear->buffer), (char *) BufferGetPage(clear->buffer),
					  REGBUF_NO_IMAGE);
	XLogRegisterBufData(MAP_CLEAR_REFERENCE, data, to - data);
	return 0;
}

void
map_clear_end(MapClear *clear)
{
	if (BufferIsValid(clear->buffer))
		ReleaseBuffer(clear->buffer);
	clear->buffer = InvalidBuffer;
}

/* n logical blocks; returns what is behind them; NULL: they make no sense. */
static const char *
take_blocks(const char *from, const char *end, int n, BlockNumber *logical_block)
{
	for (int i = 0; i < n && from != NULL; i++)
	{
		uint64		number;

		from = take_number(from, end, &number);
		logical_block[i] = (BlockNumber) number;
	}
	return from;
}

/* The logical blocks that a record clears the bits of, at most two; 0: none; -1: senseless. */
static int
read_map_clear(XLogReaderState *record, BlockNumber *logical_block)
{
	Size		size = wal_main_data_size(record);
	const char *from = XLogRecGetData(record);
	const char *end = from + size - 1;
	int			n;

	if (XLogRecHasBlockRef(record, MAP_CLEAR_REFERENCE))
	{
		from = XLogRecGetBlockData(record, MAP_CLEAR_REFERENCE, &size);
		end = from + size;
		from = take_blocks(from, end, 1, logical_block);
		if (from == NULL || from == end)
			return from == NULL ? -1 : 1;
		return take_blocks(from, end, 1, logical_block + 1) == end ? 2 : -1;
	}
	if (size == 0 || (*end & MAIN_CLEARS) == 0)
		return 0;
	n = *end & MAIN_CLEARS_SECOND ? 2 : 1;
	return take_blocks(from, end, n, logical_block) == NULL ? -1 : n;
}

const char *
map_clear_skip(const char *from, const char *end, uint8 mark)
{
	BlockNumber logical_block[2];

	if ((mark & MAIN_CLEARS) == 0)
		return from;
	return take_blocks(from, end, mark & MAIN_CLEARS_SECOND ? 2 : 1, logical_block);
}

void
map_clear_redo(XLogReaderState *record)
{
	RelFileLocator locator;
	BlockNumber logical_block[2];
	int			nblocks = read_map_clear(record, logical_block);

	if (nblocks < 0)
		elog(PANIC, "rowan: a WAL record does not say which bits of the map to clear");
	XLogRecGetBlockTag(record, 0, &locator, NULL, NULL);
	for (int i = 0; i < nblocks; i++)
		row_map_ops->redo(locator, logical_block[i]);
}

static bool
describe_blocks(StringInfo buf, const BlockNumber *logical_block, int nblocks)
{
	if (nblocks == 2)
		describe(buf, "clears: [%u, %u]", logical_block[0], logical_block[1]);
	else if (nblocks == 1)
		describe(buf, "clears: [%u]", logical_block[0]);
	return nblocks >= 0;
}

bool
map_clear_describe(StringInfo buf, XLogReaderState *record, uint8 block_id)
{
	BlockNumber logical_block[2];

	return describe_blocks(buf, logical_block, read_map_clear(record, logical_block));
}

bool
map_clear_describe_main(StringInfo buf, XLogReaderState *record)
{
	BlockNumber logical_block[2];

	return XLogRecHasBlockRef(record, MAP_CLEAR_REFERENCE) ||
		describe_blocks(buf, logical_block, read_map_clear(record, logical_block));
}
