/*
 * redo.h
 *	  What wal.c and torn.c need of the pages of a record in redo (redo.c, wal.h).
 */
#ifndef ROWAN_POOL_REDO_H
#define ROWAN_POOL_REDO_H

#include "pool/wal.h"

/* wal.c: PANIC if the page's CRC, which rowan.wal_check had logged, is another one. */
extern void wal_check_redo(XLogReaderState *record, uint8 block_id, Page page);

/* At the end of redo: complains about pages that records asked for and no drop explained. */
extern void redo_check_missing(void);

/* At the end of redo, when all pages are written: no zero pages at the end of files that grew. */
extern void redo_seal_grown(void);

#endif							/* ROWAN_POOL_REDO_H */
