/*
 * wal.h
 *	  Rowan's WAL records: their kinds, the structures in them, and what operations and redo share.
 *
 * One resource manager; the info byte's upper half is the kind.  A kind's operation, its redo, its
 * description and its decoding stand beside each other, in the layer that owns what changes, and
 * are registered at load (RowanRecordOps).  The structures stand here, so that whoever reads WAL
 * finds all of it in one place: see also doc/format.md.  They go into WAL byte for byte, and are
 * not aligned there: redo copies them out.
 */
#ifndef ROWAN_POOL_WAL_H
#define ROWAN_POOL_WAL_H

#include "access/xlogreader.h"
#include "lib/stringinfo.h"
#include "pool/pool.h"

#define ROWAN_RMGR_ID			187

/* ---- kinds, and who owns them ---- */

#define ROWAN_XLOG_CHANGE		0x00	/* pool/change.c: pages changed together */
#define ROWAN_XLOG_INSERT		0x10	/* row/append.c: rows added to a leaf */
#define ROWAN_XLOG_REPLACE		0x20	/* row/leafop.c: a row's cell replaced, version appended */
#define ROWAN_XLOG_TRUNCATE		0x30	/* pool/file.c: file cut */
#define ROWAN_XLOG_ENTRY		0x40	/* entry/entry_insert.c: an entry added to a leaf of an
										 * index */
#define ROWAN_XLOG_INIT_FORK	0x50	/* pool/file.c: the init fork of an unlogged file */
#define ROWAN_XLOG_EXTEND		0x60	/* pool/file.c: unused pages added to a file */
#define ROWAN_XLOG_MOVE			0x70	/* row/move.c: a row that gets another place */
#define ROWAN_XLOG_COPIED		0x80	/* pool/copied.c: a database was copied */
#define ROWAN_XLOG_KIND_MASK	0xF0

#define wal_record_kind(record) (XLogRecGetInfo(record) & ROWAN_XLOG_KIND_MASK)

/* ---- what the records hold ---- */

/*
 * CHANGE, main data.  Each block reference has its own: a list of differences (delta.h), or, if its
 * bit is set, a page.
 */
typedef struct ChangeRecordData
{
	uint16		whole;			/* 1 << block reference: the page; CHANGE_HORIZON */
	TransactionId horizon;		/* newest xid whose versions are removed; with CHANGE_HORIZON */
} pg_attribute_packed() ChangeRecordData;

#define CHANGE_HORIZON	0x8000

StaticAssertDecl(sizeof(ChangeRecordData) == 6, "CHANGE");

/*
 * Where no size is told, a "number" takes as many bytes as it needs (base/bytes.h).
 *
 * INSERT, data of block 0.  Behind it the slot of the first row, a number; the other rows follow,
 * without a gap of ids.  Then, in this order, what the parts say:
 *
 *	INSERT_DELTA	number: the first row's delta; else it is the slot
 *	INSERT_PAGE		uint32 page_xid, uint32 page_cid, of the trailer
 *	INSERT_NATTS	number: the trailer's page_natts
 *	INSERT_FLAGS	uint16: the trailer's flags
 *	INSERT_NEWEST	uint32: its newest_xid
 *	INSERT_DEAD		uint16: its dead_bytes
 *	INSERT_SLOTS	number, then so many slots, moved up by the new ones
 *	(without INSERT_ONE) number of rows
 *
 * then the cells of the rows, one after the other, with INSERT_ONE without the first two bytes (the
 * size, and three flags that are not set), with INSERT_XID without the xid.  With INSERT_RUNS each
 * cell begins with a number: how many times a byte of it is repeated.  If that is not 0, another
 * number follows, how many of the cell's bytes are before that byte, and the repetitions are left
 * out.  Blanks of char(n) and zeroes cost little so.
 */
typedef struct InsertRecordData
{
	unsigned int top:13;		/* pd_upper before, where the first cell ends; 0: the page is
								 * compacted */
	unsigned int parts:11;		/* INSERT_* */
} pg_attribute_packed() InsertRecordData;

#define INSERT_ONE		0x001	/* one row, whose cell has the rest of the record's bytes */
#define INSERT_DELTA	0x002
#define INSERT_PAGE		0x004	/* the page was empty */
#define INSERT_NATTS	0x008	/* that, or where the cells go depends on it */
#define INSERT_FLAGS	0x010
#define INSERT_NEWEST	0x020
#define INSERT_DEAD		0x040
#define INSERT_SLOTS	0x080
#define INSERT_NEXT		0x100	/* right edge: the next row id follows the last row */
#define INSERT_XID		0x200	/* rows with ROW_XID: it is the record's, and newest_xid too */
#define INSERT_RUNS		0x400

StaticAssertDecl(sizeof(InsertRecordData) == 3, "INSERT");
StaticAssertDecl(BLCKSZ <= (1 << 13), "offsets in a page have 13 bits");

/*
 * REPLACE, data of block 0, the leaf.  Behind it, in this order, what the parts say:
 *
 *	REPLACE_SLOT	number: the slot, which now points to the cell
 *	REPLACE_CLEAR	uint8: so many bytes below the cell become zero
 *	REPLACE_DEAD	uint16: the trailer's dead_bytes
 *	REPLACE_FLAGS	number: its flags
 *	REPLACE_NEWEST	uint32: its newest_xid
 *
 * then, numbers, how many bytes of the data stay as they are, how many behind them change and, if
 * the row is REPLACE_MOVED, how many at their end stay; then the header, with REPLACE_XID without
 * the xid, with REPLACE_POINTER without the version pointer; then the data that change, which end
 * the record: so it is known how long the header is.  Block 1, if there is one, is the version
 * page, with a VersionAppendData.
 *
 * REPLACE_PAIRED: block 1's record is a delta, which has the old bytes of those that change here.
 * Then these numbers are its, and the header lacks the first two bytes (the size, and three flags
 * that are not set), with REPLACE_FOLLOWS also the next two: the tag is newer_tag, the flags are
 * those that replace_flags_following says.
 */
typedef struct ReplaceRecordData
{
	unsigned int offset:13;		/* of the cell, of the old one if it moves, from the page's
								 * start */
	unsigned int how:2;			/* ReplaceHow */
	unsigned int parts:9;		/* REPLACE_* */
} pg_attribute_packed() ReplaceRecordData;

typedef enum ReplaceHow
{
	REPLACE_IN_PLACE,			/* of the old cell */
	REPLACE_PAIRED,				/* the same, as told above */
	REPLACE_UPPER,				/* the cell, and slack of REPLACE_CLEAR's bytes below it, come
								 * out of the gap, which ends there now; padding above it is
								 * among the data */
	REPLACE_MOVED				/* other cells too: data that stay are the old cell's */
} ReplaceHow;

#define REPLACE_SLOT	0x001
#define REPLACE_CLEAR	0x002
#define REPLACE_DEAD	0x004
#define REPLACE_FLAGS	0x008
#define REPLACE_NEWEST	0x010
#define REPLACE_NEWEST_IS_XID	0x020	/* newest_xid becomes the record's xid */
#define REPLACE_XID		0x040	/* the cell's xid is the record's */
#define REPLACE_POINTER	0x080	/* it points to what block 1 gets */
#define REPLACE_FOLLOWS	0x100

/* Flags of a row that was updated in place, from its older version's. */
static inline uint16
replace_flags_following(uint16 older)
{
	return (older & ~(ROW_CID | ROW_PAGE_XID)) | ROW_XID | ROW_VERSION;
}

StaticAssertDecl(sizeof(ReplaceRecordData) == 3, "REPLACE");

/*
 * MOVE: a REPLACE of the old cell (block 0) with its version (block 1), and an INSERT of the new
 * one.  If that goes to another leaf, it is block 3, and blocks 0 and 3 have what REPLACE and
 * INSERT have.  If to the same, block 0 has a number, the bytes of the REPLACE times two, plus one
 * if the rows share something; then, if so, four numbers: head, prefix, middle, suffix; then the
 * REPLACE, then the INSERT.  What they share: the new row's data begin with the first `prefix`
 * bytes of the old row's, and end with its last `suffix` bytes, `middle` bytes further on; the
 * INSERT has only what is between, behind its first `head` bytes.
 */
#define MOVE_TO_REFERENCE	3

/*
 * INSERT, REPLACE and MOVE, if they clear bits of the visibility map (row/mapclear.c): this block
 * reference is the map's page, without an image; its data are the logical block, a number, or two
 * of them.  Where nobody reads WAL to learn which pages of a map changed (no WAL_IS_SUMMARIZED),
 * main data begin with these numbers; MAIN_CLEARS and MAIN_CLEARS_SECOND in their last byte say so.
 */
#define MAP_CLEAR_REFERENCE	2
#define MAIN_CLEARS			0x80
#define MAIN_CLEARS_SECOND	0x40	/* there are two */

/*
 * A version record appended to a version page.  Behind it, in this order:
 *
 *	numbers: row id, natts; if kind is VERSION_DELTA prefix and suffix
 *	APPEND_SUPERSEDER	number: how much older the superseder is than the WAL record's xid
 *	APPEND_XID			number: how much older the xid is
 *	APPEND_CID			number: cid
 *	APPEND_OLDER		number: older_block * VERSION_UNITS_A_PAGE + older_offset / 8
 *	APPEND_TAG			uint8: newer_tag
 *
 * then the record's data.  Fields that nothing is said of are zero, but superseder, which is the
 * WAL record's xid, newer_tag, which is tag + 1, and size.
 */
typedef struct VersionAppendData
{
	uint64		place:10;		/* where the record begins, from the page's start, divided by 8 */
	uint64		parts:7;		/* APPEND_* */
	uint64		kind:2;			/* as in the record, from here on */
	uint64		key:2;
	uint64		flags:12;
	uint64		tag:7;
} pg_attribute_packed() VersionAppendData;

#define APPEND_SUPERSEDER	0x01
#define APPEND_NEWEST		0x02	/* nothing behind: the superseder becomes newest_xid */
#define APPEND_XID			0x04
#define APPEND_CID			0x08
#define APPEND_OLDER		0x10
#define APPEND_TAG			0x20

#define VERSION_UNITS_A_PAGE	(BLCKSZ / MAXIMUM_ALIGNOF)

StaticAssertDecl(sizeof(VersionAppendData) == 5, "version append");
StaticAssertDecl(VERSION_UNITS_A_PAGE <= (1 << 10) && ROW_TAG_MAX < (1 << 7) &&
				 VERSION_FULL < (1 << 2) && VERSION_KEY_TAKEN < (1 << 2), "version append");

/*
 * INSERT, REPLACE and MOVE, main data, if decoding is to be told of the change: the logical part
 * (row/logical.c).  In this order:
 *
 *	LOGICAL_ROW		of the new rows: number of columns, then these, as described below; a REPLACE
 *					also has here a number of bytes, and so many of the row's data: those that its
 *					block 0 lacks, as they stay
 *	LOGICAL_OLD		of the old row: uint16 number of columns, with LOGICAL_OLD_NULLS null bitmap,
 *					then the values, as in a heap tuple
 *	uint8			LOGICAL_* action, with the flags of what is there, and MAIN_CLEARS
 *
 * The last byte is none that a check entry (below) ends with, so that one can be told from what is
 * before it, which may be somebody's text.
 */
#define LOGICAL_INSERT		0x01
#define LOGICAL_UPDATE		0x02
#define LOGICAL_DELETE		0x03
#define LOGICAL_CONFIRM		0x04	/* a speculative insertion */
#define LOGICAL_ABORT		0x05	/* the same, undone */
#define LOGICAL_ACTION		0x07
#define LOGICAL_LAST		0x08	/* the record's last row is the last one of those whose
									 * out-of-line values were stored before */
#define LOGICAL_ROW			0x10
#define LOGICAL_OLD			0x20

#define LOGICAL_OLD_NULLS	0x8000

/*
 * A column, or up to 16 that are alike: whatever decides where values lie in a heap tuple.  Types
 * passed by value are aligned to their length, dropped ones are LOGICAL_COLUMN_OTHER: then a byte
 * (the alignment's logarithm, and flags) and the length (int16) follow.
 */
#define LOGICAL_COLUMN_KIND			0x0F	/* logarithm of the length, passed by value; or: */
#define LOGICAL_COLUMN_VARLENA		4	/* aligned to 4 bytes */
#define LOGICAL_COLUMN_VARLENA_8	5
#define LOGICAL_COLUMN_OTHER		6
#define LOGICAL_COLUMN_MORE			0xF0	/* so many more columns */

#define LOGICAL_OTHER_ALIGN			0x03
#define LOGICAL_OTHER_BYVAL			0x04
#define LOGICAL_OTHER_DROPPED		0x08

/* TRUNCATE, main data. */
typedef struct TruncateRecordData
{
	RelFileLocator locator;
	BlockNumber blocks;			/* that are left */
} TruncateRecordData;

StaticAssertDecl(sizeof(TruncateRecordData) == 16, "TRUNCATE");

/* EXTEND has no data: its block references, none of which redo reads, are the pages added. */
#define EXTEND_RECORD_PAGES		(XLR_MAX_BLOCK_ID + 1)

/* ENTRY, data of block 0.  Behind it the cell, whose first two bytes say its size. */
typedef struct EntryRecordData
{
	uint16		pos;			/* slot */
	uint16		head;			/* the slot's head: the key's first bytes */
} EntryRecordData;

StaticAssertDecl(sizeof(EntryRecordData) == 4, "ENTRY");

/* INIT_FORK, main data.  Behind it the pages' bytes, each without its gap. */
typedef struct InitForkRecordData
{
	RelFileLocator locator;
	uint32		npages;
} InitForkRecordData;

StaticAssertDecl(sizeof(InitForkRecordData) == 16, "INIT_FORK");

/*
 * With rowan.wal_check the main data of any kind ends with one of these for each page, known by
 * their magic.
 */
typedef struct WalCheckEntryData
{
	uint32		crc;			/* of the page's used bytes after the change, without marks */
	uint32		block_id;		/* which block reference */
	uint64		magic;			/* WAL_CHECK_MAGIC */
} WalCheckEntryData;

#define WAL_CHECK_MAGIC	UINT64CONST(0x52574E5F43484B31)

StaticAssertDecl(sizeof(WalCheckEntryData) == 16, "WAL check");

/* ---- registration ---- */

struct LogicalDecodingContext;
struct XLogRecordBuffer;

/*
 * What a record has of a block reference: how users are told what that page is, and a function that
 * says what becomes of it (describe.h); false: it makes no sense.  It never raises an error, for
 * recovery calls it to tell of one.
 */
typedef struct WalPart
{
	const char *name;
	bool		(*describe) (StringInfo buf, XLogReaderState *record, uint8 block_id);
} WalPart;

#define WAL_MAX_PARTS	4

/*
 * What each kind's owner registers at load.  describe (of what is in no block reference), decode
 * and functions of parts may be NULL.  The first part stands for those that have no name.
 */
typedef struct RowanRecordOps
{
	const char *name;
	void		(*redo) (XLogReaderState *record);
	void		(*decode) (struct LogicalDecodingContext *context, struct XLogRecordBuffer *buffer);
	bool		(*describe) (StringInfo buf, XLogReaderState *record);
	WalPart		parts[WAL_MAX_PARTS];	/* by block reference */
} RowanRecordOps;

extern void wal_register_kind(uint8 info, const RowanRecordOps *ops);

/* NULL: there is no such kind. */
extern const RowanRecordOps *wal_kind_of_info(uint8 info);

/* ---- pages of a record: operations ---- */

/*
 * What redo of a block reference reads of the page as it was before: all that has to be whole.  A
 * page may be torn when redo begins, for no images of our pages are logged to heal it (torn.c).
 */
typedef enum WalNeed
{
	WAL_NEEDS_NOTHING,			/* the record has bytes at fixed places */
	WAL_NEEDS_SLOTS,			/* header, slots and trailer */
	WAL_NEEDS_PAGE				/* all */
} WalNeed;

/*
 * An operation logs a record so, in its critical section:
 *
 *	wal_begin()
 *	wal_add_page(...) for each page, which is latched exclusively and holds the change already,
 *		and XLogRegisterBufData, XLogRegisterData for what else redo needs to know
 *	wal_insert(kind)
 *
 * wal_add_page registers the page's sum as the first part of the reference's data.  If redo needs
 * more of the page than nothing, the record has an image of that, unless there has been one since
 * the redo point; and one of all of it, if the page may be a copied database's (copied.h).  Until
 * wal_insert, which sets the pages' LSN, the page's header is not its own.
 * wal_add_whole_page registers all of the page (WILL_INIT).
 */
extern void wal_begin(void);
extern void wal_add_page(uint8 block_id, PoolFrame *frame, WalNeed need);
extern void wal_add_whole_page(uint8 block_id, PoolFrame *frame);
extern void wal_insert(uint8 kind);

/*
 * Would a record that needs the page, or its slots, get an image if it were inserted now?  Only a
 * hint: the redo point may move.  The page is latched exclusively.
 */
extern bool wal_needs_image(PoolFrame *frame);

/* ---- pages of a record: redo ---- */

/*
 * A page of a block reference, latched for redo.  Its version stays odd until wal_unlatch, so that
 * a reader on a standby never sees one page of a record without the others: latch all pages of the
 * record first, then change them, then release them.  (REPLACE may end the change of the version
 * page before it begins that of the leaf: nobody looks for the new record before the leaf points to
 * it.)
 */
typedef struct RedoPage
{
	PoolFrame  *frame;			/* latched exclusively; NULL: the page is torn or gone */
	struct TornPage *torn;		/* not in the pool: some of its sectors are older than others */
	uint8		block_id;
	bool		apply;			/* it is older than the record */
} RedoPage;

/*
 * Latches the page of a block reference.  If the reference has an image of the page, that is
 * restored (dirty, LSN set); need says whether an image is one of the slots only.  If the record
 * makes the page anew its old content does not matter.  Extends the file where needed.
 */
extern void wal_latch(XLogReaderState *record, uint8 block_id, WalNeed need, RedoPage *page);
extern void wal_unlatch(RedoPage *page);

/* Has a record, by its info and main data, all of the page (wal_add_whole_page)? */
static inline bool
wal_data_has_whole_page(uint8 info, const char *main_data, uint8 block_id)
{
	uint16		whole;

	if ((info & ROWAN_XLOG_KIND_MASK) != ROWAN_XLOG_CHANGE)
		return false;
	memcpy(&whole, main_data + offsetof(ChangeRecordData, whole), sizeof(whole));
	return (whole & (1 << block_id)) != 0;
}

static inline bool
wal_has_whole_page(XLogReaderState *record, uint8 block_id)
{
	return wal_data_has_whole_page(XLogRecGetInfo(record), XLogRecGetData(record), block_id);
}

/* What a record says elsewhere, and the data of a block reference need not repeat. */
typedef struct WalContext
{
	TransactionId xid;			/* the record's */
	BlockNumber next_block;		/* of the next block reference; InvalidBlockNumber: there is
								 * none */
	const char *next_data;		/* its data, behind the sum */
	Size		next_length;	/* bytes of that */
	const struct VersionDelta *next_delta;	/* what an operation knows of it: version/version.h */
	WalNeed		whole;			/* so much of the page is as it was before; operations: all */
	bool		slots_restored; /* header, slots and trailer are as they are after the change */
} WalContext;

/* What a record says of a reference's page elsewhere, for whoever reads it and has no page. */
extern void wal_get_context(XLogReaderState *record, uint8 block_id, WalContext *context);

/*
 * Makes the change that the reference's data tells of.  False: nothing was changed, as that needs
 * more of the page than there is.
 */
typedef bool (*WalApply) (Page page, char *data, Size length, const WalContext *context);

/*
 * Redo: makes the change, if the page is older than the record, and sets the LSN.  PANIC if a page
 * that was whole before has not the sum then which the record says.  A torn one that has it is put
 * into the pool.
 */
extern void wal_apply(XLogReaderState *record, RedoPage *page, WalApply apply);

/*
 * What is behind the sum in the data of a reference that is not whole; NULL if there is none.
 */
extern char *wal_page_data(XLogReaderState *record, uint8 block_id, Size *length);

/*
 * Resolves snapshot conflicts on a standby before a record that removes versions is
 * applied.  Call in redo before latching.
 */
extern void wal_resolve_conflict(TransactionId horizon, RelFileLocator locator);

/*
 * Our own WAL consistency check (rowan.wal_check): the record carries a CRC of the used bytes of
 * each page after its change; redo compares and PANICs.  wal_add_page and wal_apply do it.  The
 * entries end the record's main data: parse that from its front.
 */
extern bool wal_check_enabled;

/* Bytes of the record's main data before those entries. */
extern Size wal_main_data_size(XLogReaderState *record);

#endif							/* ROWAN_POOL_WAL_H */
