/*
 * change.h
 *	  Changes of several pages as one WAL record (a "mini-transaction"), for
 *	  structure changes: splits, merges, allocation, freeing.
 *
 * The caller latches pages exclusively, gives each to change_page(), edits the
 * private working copy that it gets, and calls change_commit(), which compares
 * copies with pages, logs the differences as one record, and replaces
 * the pages, all versions odd meanwhile.  Everything that can fail happens
 * before the critical section in change_commit: after an ERROR in between, the
 * shared pages are as they were and core's LWLockReleaseAll releases the latches.
 *
 * Redo applies the same differences with all pages latched: do and redo
 * cannot drift apart.
 */
#ifndef ROWAN_POOL_CHANGE_H
#define ROWAN_POOL_CHANGE_H

#include "access/xlogreader.h"
#include "lib/stringinfo.h"
#include "pool/pool.h"

#define CHANGE_MAX_PAGES	12

typedef struct PageChange
{
	const PoolFile *file;
	int			npages;
	struct
	{
		PoolFrame  *frame;
		Page		copy;		/* working copy, backend-local */
		bool		is_new;		/* logged whole: old content does not matter */
	}			pages[CHANGE_MAX_PAGES];
} PageChange;

/* Only one change can be open in a backend at a time. */
extern void change_begin(PageChange *change, const PoolFile *file);

/*
 * Adds an exclusively latched frame; its latch now belongs to the change.
 * Returns the working copy (with is_new: zero-filled).  Adding a frame that is in the change
 * already returns its copy again.
 */
extern Page change_page(PageChange *change, PoolFrame *frame, bool is_new);

/* The working copy of a block that is in the change, or NULL. */
extern Page change_find(PageChange *change, BlockNumber block);

/*
 * Logs and publishes the change and releases all its latches.  horizon: newest xid whose
 * row versions the change removes, for conflicts on a standby, or
 * InvalidTransactionId.
 */
extern void change_commit(PageChange *change, TransactionId horizon);

/* Releases the latches and forgets the copies. */
extern void change_abort(PageChange *change);

/* ---- for records of their own (src/row, src/version) ---- */

typedef enum PoolRedo
{
	POOL_REDO_APPLY,			/* frame is latched, changes to be applied */
	POOL_REDO_DONE,				/* frame is latched, nothing to do (newer, or image restored) */
	POOL_REDO_GONE				/* no frame: block is missing, file dropped later */
} PoolRedo;

/*
 * Latches the page of a block reference exclusively, restoring its full-page image if
 * there is one (dirty, LSN set).  will_init: old content does not matter.
 * Extends the file where needed.
 *
 * The frame's version stays odd until pool_change_end or pool_unlatch, so that a reader on a
 * standby never sees one page of a record without the others: latch all pages
 * of the record first, then change them, then release them.  (REPLACE may end the change of the version
 * page before it begins that of the leaf: nobody looks for the new record before the leaf points to it.)  pool_change_begin (a no-op but for
 * marking dirty) is still required before changing.
 */
extern PoolRedo pool_redo_latch(XLogReaderState *record, uint8 block_id, bool will_init,
								PoolFrame **frame);

/*
 * Between XLogBeginInsert and XLogInsert: block reference block_id is this page, which holds the change already and has the
 * standard layout.  What redo needs to know of it is registered by the caller (XLogRegisterBufData).
 */
extern void wal_add_page(uint8 block_id, PoolFrame *frame);

/* Redo: makes the change that the reference's data tells of to a page that pool_redo_latch said POOL_REDO_APPLY of. */
typedef void (*WalApply) (Page page, char *data, Size length);
extern void wal_apply(XLogReaderState *record, uint8 block_id, PoolFrame *frame, WalApply apply);

/* WAL record kinds, the info byte's upper half; one resource manager. */
#define ROWAN_RMGR_ID			187
#define ROWAN_XLOG_CHANGE		0x00	/* change.c */
#define ROWAN_XLOG_INSERT		0x10	/* row/: rows added to a leaf */
#define ROWAN_XLOG_REPLACE		0x20	/* row/: a row's cell replaced, version appended */
#define ROWAN_XLOG_TRUNCATE		0x30	/* file cut */
#define ROWAN_XLOG_ENTRY		0x40	/* index/: an entry added to a leaf of an index */
#define ROWAN_XLOG_INIT_FORK	0x50	/* file.c: the init fork of an unlogged file */
#define ROWAN_XLOG_KIND_MASK	0xF0

#define wal_record_kind(record) (XLogRecGetInfo(record) & ROWAN_XLOG_KIND_MASK)

/* Each kind's redo and description, registered by the layer that owns it at load. */
typedef struct RowanRedoOps
{
	const char *name;
	void		(*redo) (XLogReaderState *record);
	void		(*desc) (StringInfo buf, XLogReaderState *record);
} RowanRedoOps;
extern void wal_register_kind(uint8 info, const RowanRedoOps *ops);

/*
 * Resolves snapshot conflicts on a standby before a record that removes versions is
 * applied.  Call in redo before latching.
 */
extern void wal_resolve_conflict(TransactionId horizon, RelFileLocator locator);

/*
 * Our own WAL consistency check (rowan.wal_check): the record carries a CRC of the used
 * bytes of each page after its change; redo compares and PANICs.  wal_add_page and wal_apply do it; for others:
 * register pages between XLogBeginInsert and XLogInsert as they are after the change; in redo, check after the record
 * was applied to the page.  The entries end the record's main data: parse that from its
 * front, or take wal_data_size for its length.
 */
extern bool wal_check_enabled;
extern void wal_check_add(uint8 block_id, Page page);
extern void wal_check_redo(XLogReaderState *record, uint8 block_id, Page page);
extern Size wal_data_size(XLogReaderState *record);

static inline void
wal_check_register(uint8 block_id, Page page)
{
	if (unlikely(wal_check_enabled))
		wal_check_add(block_id, page);
}

#endif							/* ROWAN_POOL_CHANGE_H */
