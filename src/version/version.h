/*
 * version.h
 *	  The version store: older versions of rows, in version pages of the same file.
 *
 * Version pages form a list in allocation order, from the header's version_head
 * to version_tail.  Records are appended to one of a few active pages and never
 * changed; pages are freed whole, from the head, when no record on them can be
 * needed any more (I5; who decides that is row/reclaim.c).
 *
 * A pointer to a record may outlive the record.  So a record names the row and
 * the newer version it belongs to, and whoever follows a pointer compares them
 * (version_is_for): a page that was freed and reused meanwhile is found out.
 */
#ifndef ROWAN_VERSION_VERSION_H
#define ROWAN_VERSION_VERSION_H

#include "pool/change.h"
#include "pool/wal.h"

#define VERSION_MAX_RECORD	ROWAN_PAGE_ROOM

static inline RowId
version_row(const VersionRecordData *record)
{
	return (RowId) record->row_high << 32 | record->row_low;
}

/* The record says how to get at the version before `newer_tag`, made by newer_xid, of that row. */
static inline bool
version_is_for(const VersionRecordData *record, RowId row, TransactionId newer_xid, uint8 newer_tag)
{
	return version_row(record) == row && record->superseder == newer_xid &&
		record->newer_tag == newer_tag;
}

/*
 * An active version page with room for a record of size bytes, latched exclusively.  The caller may
 * hold the latch of a leaf.  NULL if there is none or it is busy: then release all latches, call
 * version_await_active, if that says false version_add_page, and start again.
 */
extern PoolFrame *version_latch_active(const PoolFile *file, uint16 size);

/* If version_latch_active found its page busy: waits for it and says true.  No latches held. */
extern bool version_await_active(const PoolFile *file);

/* Gives this backend's share of the active pages a fresh page.  No latches held. One record. */
extern void version_add_page(const PoolFile *file);

/* Where the next record of the page will go (offset from the page's start). */
extern uint16 version_next_offset(Page page);

/* ---- version_append.c: pure ---- */

/* Bytes of what WAL has of a record at most. */
#define VERSION_APPEND_MAX	(BLCKSZ + 64)

/*
 * What WAL has of the record when it is appended to that page, in a WAL record of that xid; returns
 * its size.
 */
extern Size version_append_data(Page page, const VersionRecordData *record, TransactionId xid,
								char *data);

/* Appends it; used by do and redo (WalApply). */
extern bool version_append_apply(Page page, char *data, Size length, const WalContext *context);

/* What a block reference has of an append, in words (a WalPart's function). */
extern bool version_append_describe(StringInfo buf, XLogReaderState *record, uint8 block_id);

/* Where on the page the record goes. */
extern uint16 version_append_offset(const char *data);

/* What of a row's data a record of VERSION_DELTA has: all but prefix and suffix. */
typedef struct VersionDelta
{
	uint16		flags;			/* of the record */
	uint8		newer_tag;
	uint16		prefix;			/* bytes */
	uint16		suffix;
	int			length;
} VersionDelta;

/* That of the record, of which WAL has the data behind its header; false: it is no delta. */
extern bool version_record_delta(const VersionRecordData *record, VersionDelta *delta);

/* That of the record which the context's next reference tells of; false: it is no delta. */
extern bool version_append_delta(const WalContext *context, VersionDelta *delta);

/* ---- version.c ---- */

/*
 * Copies the record at block, offset to dest (VERSION_MAX_RECORD bytes, MAXALIGNed);
 * false if there is no plausible record (any more): the page was freed, serves something else, or
 * was cut off with the end of the file.
 */
extern bool version_read(const PoolFile *file, BlockNumber block, uint16 offset, char *dest);

/* The same of a copied page, whatever it is. */
extern bool version_page_read(Page page, uint16 offset, char *dest);

/*
 * Walks the records of a copied version page: *offset 0 at first; NULL at the end
 * or where bytes make no sense.
 */
extern const VersionRecordData *version_page_next(Page page, uint16 *offset);

/*
 * Pure: a version page that has, byte for byte, the records of `judged`, a copy of a version page.
 */
extern bool version_same_records(Page page, Page judged);

/*
 * Frees the page at the head of the list if it still is `block` and has the very records of
 * `judged`, the copy by which the caller found that nobody needs them.  An empty page at the list's
 * end that somebody is about to append to stays.  Returns true if freed.  No latches held.  One
 * record; horizon, for standbys: the newest of those superseders that have committed.
 */
extern bool version_free_head(const PoolFile *file, BlockNumber block, Page judged,
							  TransactionId horizon);

#endif							/* ROWAN_VERSION_VERSION_H */
