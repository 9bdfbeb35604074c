/*
 * mapclear.h
 *	  A row's change clears the bits of its logical block in the visibility map: in the same WAL
 *	  record, by its block reference MAP_CLEAR_REFERENCE, the map's page, or by its main data.
 *
 * Private to src/row.
 */
#ifndef ROWAN_ROW_MAPCLEAR_H
#define ROWAN_ROW_MAPCLEAR_H

#include "pool/wal.h"
#include "row/row.h"

typedef struct MapClear
{
	Buffer		buffer;			/* the map's page, pinned; invalid: there is nothing to clear */
	int			nblocks;
	BlockNumber logical_block[2];
} MapClear;

/*
 * The change of a row on that leaf, latched exclusively until the change is logged: VACUUM sets no
 * bits for it meanwhile (I7).  May raise an error.
 */
extern void map_clear_prepare(const RowTable *table, PoolFrame *leaf, RowId row, MapClear *clear);

/* The same for a second row, after that.  False: its bits are on another page of the map. */
extern bool map_clear_prepare_second(const RowTable *table, PoolFrame *leaf, RowId row,
									 MapClear *clear);

/* In the critical section, before the row changes and its record is inserted. */
extern void map_clear_apply(const MapClear *clear);

/*
 * Right behind wal_begin.  The result is for logical_log, which comes next: what the last byte of
 * main data says of it.
 */
extern uint8 map_clear_log(const MapClear *clear, const PoolFile *file);

/* When all is done. */
extern void map_clear_end(MapClear *clear);

/* Redo, before pages are latched: what the record says of the map. */
extern void map_clear_redo(XLogReaderState *record);

/* Main data behind what they have of it, if their last byte is mark; NULL: that makes no sense. */
extern const char *map_clear_skip(const char *from, const char *end, uint8 mark);

/* What the reference has, or main data, in words (a WalPart's function, RowanRecordOps). */
extern bool map_clear_describe(StringInfo buf, XLogReaderState *record, uint8 block_id);
extern bool map_clear_describe_main(StringInfo buf, XLogReaderState *record);

#endif							/* ROWAN_ROW_MAPCLEAR_H */
