/*
 * redo.h
 *	  What wal.c and torn.c need of the pages of a record in redo (redo.c, wal.h).
 */
#ifndef ROWAN_POOL_REDO_H
#define ROWAN_POOL_REDO_H

#include "pool/wal.h"
#include "utils/hsearch.h"

/* wal.c: PANIC if the page's CRC, which rowan.wal_check had logged, is another one. */
extern void wal_check_redo(XLogReaderState *record, uint8 block_id, Page page);

/* Pages that redo keeps something of, by this key (no padding), with which their entries begin. */
typedef struct RedoPageKey
{
	RelFileLocator locator;
	BlockNumber block;
} RedoPageKey;

extern HTAB *redo_pages_create(const char *name, Size entry_size);

/* Those of a file, from a block on, or (locator NULL) of a database.  pages: may be NULL. */
extern void redo_pages_forget(HTAB *pages, const RelFileLocator *locator, BlockNumber first_block,
							  Oid database);

/* At the end of redo: complains about pages that records asked for and no drop explained. */
extern void redo_check_missing(void);

/* At the end of redo, when all pages are written: no zero pages at the end of files that grew. */
extern void redo_seal_grown(void);

/* ---- prefetch.c ---- */

/*
 * Before a record of ours is redone: the kernel is asked for pages that the next ones will want.
 */
extern void redo_prefetch(XLogReaderState *reader);

#endif							/* ROWAN_POOL_REDO_H */
