/*
 * format.h
 *	  Every structure that Rowan keeps on disk, and nothing else.
 *
 * A Rowan file is a sequence of BLCKSZ pages in the relation's main fork.
 *
 *	block 0		file header
 *	block 1		root of the tree, for ever
 *	others		inner pages, leaves, version pages, free pages, unused pages
 *
 * There is no zero page, for core takes one for its own to initialise, and a file has these two pages
 * from the start.
 *
 * Every page:
 *
 *	offset			what
 *	0				PageHeaderData (24 bytes; pd_lower, pd_upper and pd_special are true;
 *					pd_flags is ROWAN_PAGE_SEAL)
 *	24				body; slotted pages: slot array, growing up to pd_lower
 *	pd_lower		free gap, not logged with full-page images
 *	pd_upper		cells, growing down
 *	pd_special		PageTrailerData (64 bytes), up to the end of the page
 *
 * A change of anything here bumps ROWAN_FORMAT_VERSION and doc/format.md.
 */
#ifndef ROWAN_BASE_FORMAT_H
#define ROWAN_BASE_FORMAT_H

#include "access/transam.h"
#include "storage/block.h"
#include "storage/bufpage.h"

#define ROWAN_MAGIC				0x5257	/* "RW" */
#define ROWAN_FORMAT_VERSION	5

/*
 * In pd_flags of every page: a bit that core does not know, so that PageIsVerifiedExtended refuses the page
 * when somebody reads it into shared_buffers.  Tools that look at files check nothing but pd_checksum.
 */
#define ROWAN_PAGE_SEAL			0x8000

StaticAssertDecl((ROWAN_PAGE_SEAL & PD_VALID_FLAG_BITS) == 0, "core refuses pages with the seal");

#define ROWAN_HEADER_BLOCK		0
#define ROWAN_ROOT_BLOCK		1

/* The tree's key.  In a table it is the row id. */
typedef uint64 TreeKey;

#define TREE_KEY_MIN	((TreeKey) 0)
#define TREE_KEY_MAX	PG_UINT64_MAX	/* high fence of the right edge: no key reaches it */

/*
 * Symbol, number, name for users, whether it has slots.  Switch over (RowanPageType) of a trailer's
 * type without `default`, then the compiler names each place that a new type concerns.
 *
 *	LEAF			leaf of a table
 *	VERSION			older row versions
 *	FREE			on the free list
 *	UNUSED			the file was extended by it in advance; no content
 */
#define ROWAN_PAGE_TYPES(TYPE) \
	TYPE(HEADER, 1, "header", false) \
	TYPE(INNER, 2, "inner", true) \
	TYPE(LEAF, 3, "leaf", true) \
	TYPE(VERSION, 4, "version", false) \
	TYPE(FREE, 5, "free", false) \
	TYPE(INDEX_INNER, 6, "index inner", true) \
	TYPE(INDEX_LEAF, 7, "index leaf", true) \
	TYPE(UNUSED, 8, "unused", false)

#define PAGE_TYPE_NUMBER(symbol, number, name, has_slots) ROWAN_PAGE_##symbol = (number),

typedef enum RowanPageType
{
	ROWAN_PAGE_TYPES(PAGE_TYPE_NUMBER)
} RowanPageType;

/*
 * The trailer, in the special area of every page.
 */
typedef struct PageTrailerData
{
	TreeKey		low_fence;		/* 0: smallest key this page may hold */
	TreeKey		high_fence;		/* 8: first key beyond it */
	TreeKey		next_delta;		/* 16: leaf at the right edge only: next row id to hand out,
								 * minus low_fence (page_next_key); else 0 */
	TransactionId page_xid;		/* 24: creator of the rows that say ROW_PAGE_XID */
	CommandId	page_cid;		/* 28: its command; PAGE_CID_FROZEN: everybody sees those rows,
								 * page_xid is only shown to users */
	TransactionId newest_xid;	/* 32: version page: newest superseding xid; leaf: newest xid
								 * that may need pruning (ROW_XID, not frozen) */
	BlockNumber self_block;		/* 36: this page's own block number */
	BlockNumber right_block;	/* 40: inner, leaf: right sibling; version: next in allocation
								 * order; free: next free page */
	uint32		file_id;		/* 44: that of the file header */
	uint16		dead_bytes;		/* 48: bytes of dead cells, found by compaction; without slack */
	uint16		page_natts;		/* 50: attributes of rows without ROW_NATTS */
	uint16		flags;			/* 52: PAGE_* */
	uint8		type;			/* 54: RowanPageType */
	uint8		level;			/* 55: 0 = leaf */
	uint16		magic;			/* 56: ROWAN_MAGIC */
	uint8		format_version; /* 58: ROWAN_FORMAT_VERSION */
	uint8		unused;			/* 59: zero */
	uint32		crc;			/* 60: CRC-32C of the page with this field and pd_checksum as
								 * zero; set when written */
} PageTrailerData;

typedef PageTrailerData *PageTrailer;

StaticAssertDecl(sizeof(PageTrailerData) == 64, "page trailer is 64 bytes");
StaticAssertDecl(offsetof(PageTrailerData, self_block) == 36, "page trailer layout");
StaticAssertDecl(offsetof(PageTrailerData, crc) == 60, "page trailer layout");

#define PAGE_CID_FROZEN		InvalidCommandId

/*
 * Leaf: no row has a creator of its own that is not frozen, an older version, a deletion or a
 * speculative token: one visibility test answers for all of its rows.
 */
#define PAGE_UNIFORM		0x0001

#define PAGE_LOCKS			0x0002	/* leaf: some row may have ROW_LOCK */
#define PAGE_VISIBLE_BITS	0x0004	/* leaf: the visibility map may have bits for logical blocks
									 * of rows on this page (I7) */
#define PAGE_STUBS			0x0008	/* leaf: some row may be a stub */

#define ROWAN_PAGE_BODY		SizeOfPageHeaderData	/* 24 */
#define ROWAN_PAGE_SPECIAL	(BLCKSZ - sizeof(PageTrailerData))
#define ROWAN_PAGE_ROOM		(ROWAN_PAGE_SPECIAL - ROWAN_PAGE_BODY)

#define page_trailer(page)	((PageTrailer) ((char *) (page) + ROWAN_PAGE_SPECIAL))

/*
 * Slot: one per cell, in key order; or, on a leaf, one for stubs with consecutive row ids, without
 * a cell.
 */
typedef struct SlotData
{
	uint16		offset;			/* of the cell, from the page's start; or SLOT_STUBS, and their
								 * number */
	uint16		delta;			/* leaf: row id minus low_fence of the page; inner: zero */
} SlotData;

StaticAssertDecl(sizeof(SlotData) == 4, "slot is 4 bytes");

/*
 * Index leaf, in memory only: the entry is dead to everybody.  A hint that is not logged, and taken
 * out when the page is written.
 */
#define SLOT_DEAD			0x8000
#define SLOT_OFFSET_MASK	0x7FFF

/* Leaf of a table: so many stubs, whose row ids begin with the slot's. */
#define SLOT_STUBS			0x8000
#define SLOT_STUBS_MAX		0x7FFF

/*
 * Cell of an inner page.  The first cell's key equals the page's low fence.
 * A child covers [its key, the next cell's key or the page's high fence).
 */
typedef struct InnerCellData
{
	uint16		size;			/* 0: of the cell, bytes */
	uint16		unused;			/* 2: zero */
	BlockNumber child;			/* 4 */
	uint32		key_low;		/* 8: low half of the key */
	uint32		key_high;		/* 12: high half; two halves, so that cells need no 8-byte
								 * alignment */
} InnerCellData;

StaticAssertDecl(sizeof(InnerCellData) == 16, "inner cell is 16 bytes");

/*
 * Row id: logical block (32 bits) << 8 | slot within it (0..255).  The
 * ItemPointer made from it has offset number slot + 1, plus the version tag
 * << 9.  Row ids are below ROW_ID_LIMIT.
 */
typedef uint64 RowId;

#define ROWS_PER_LOGICAL_BLOCK	256
#define ROW_ID_LIMIT			((RowId) InvalidBlockNumber << 8)

/*
 * Where a version record is, as a row's header says it: its distance from the
 * file's start in units of 8 bytes, in 5 bytes, the lowest first.  So a file has at
 * most 8 TB.
 */
#define VERSION_POINTER_BYTES	5
#define VERSION_POINTER_UNIT	8
#define ROWAN_MAX_BLOCKS \
	((BlockNumber) ((UINT64CONST(1) << (8 * VERSION_POINTER_BYTES)) / (BLCKSZ / VERSION_POINTER_UNIT)))

/*
 * Row: the cell of a leaf.  A fixed header of 4 bytes, then in this order
 * what the flags say:
 *
 *	ROW_XID			uint32	creator (or deleter) xid of the newest version
 *					with ROW_PAGE_XID: see ROW_FROZEN
 *	ROW_CID			uint32	its command id; without it the command id is 0
 *					uint8 with ROW_CID_SHORT
 *	ROW_VERSION		5 bytes: version pointer to the older version
 *	ROW_LOCK		uint32	xid or MultiXactId of lockers; uint16 lock bits
 *	ROW_FORWARD		uint32	logical block, uint16 tid offset: where a moved row went;
 *							or the speculative token, with ROW_SPECULATIVE
 *	ROW_NATTS		uint16	number of attributes stored
 *	ROW_NULLS		null bitmap, (natts + 7) / 8 bytes, bit set = not null
 *
 * then the data.  With ROW_ALIGNED, pad up to 8 bytes before the data, and the
 * cell itself starts at an 8-byte boundary of the page; else no alignment
 * at all: a cell starts at any byte.  Below the cell, at lower addresses, is its slack
 * (base/row_shape.h): zeroes that the header may grow into.
 *
 * A version that everybody sees is frozen.  Who made it is kept, for users to see and compare (xmin), but is
 * never asked for by Rowan: the xid may be older than any that can be compared.
 *
 *	neither ROW_XID nor ROW_PAGE_XID	frozen, its creator is unknown
 *	ROW_PAGE_XID						creator page_xid; frozen if page_cid is PAGE_CID_FROZEN
 *	ROW_XID								creator of its own, not frozen
 *	both (ROW_FROZEN)					creator of its own, frozen
 *	both, and ROW_DELETED				deleted by the xid of its own; the version deleted was frozen, its
 *										creator is page_xid
 *	the same, and ROW_VERSION			there is no older version; the version pointer's bytes are the creator of the version
 *										deleted (4) and a zero (ROW_DELETED_FROZEN)
 */
typedef struct RowHeaderData
{
	uint16		size_flags;		/* 0: 13 bits size of the whole cell, bytes; 3 bits flags (ROW_*
								 * >> 13 << 13) */
	uint16		tag_flags;		/* 2: 7 bits version tag; 9 bits flags << 7 */
} pg_attribute_packed() RowHeaderData;

StaticAssertDecl(sizeof(RowHeaderData) == 4, "row header is 4 bytes");

#define ROW_SIZE_MASK		0x1FFF

/* flags as functions pass them: low 9 in tag_flags, upper 3 in size_flags */
#define ROW_XID				0x0001
#define ROW_CID				0x0002
#define ROW_VERSION			0x0004
#define ROW_LOCK			0x0008
#define ROW_FORWARD			0x0010
#define ROW_NATTS			0x0020
#define ROW_NULLS			0x0040
#define ROW_ALIGNED			0x0080
#define ROW_PAGE_XID		0x0100
#define ROW_DELETED			0x0200	/* newest version is a deletion; the data is that of the
									 * version deleted */
#define ROW_SPECULATIVE		0x0400	/* not confirmed yet */
#define ROW_KEY_KEPT		ROW_SPECULATIVE /* with ROW_DELETED: the row moved, its key was not
											 * VERSION_KEY_TAKEN */
#define ROW_EXTERNAL		0x0800	/* has toasted values outside */

/*
 * ROW_XID and a ROW_CID of one byte.  There is no bit for it in the header: it is ROW_CID without
 * ROW_XID, where that would mean nothing else.
 */
#define ROW_CID_SHORT		0x2000
#define ROW_CID_SHORT_MAX	PG_UINT8_MAX
#define ROW_CID_SAVED		((int) sizeof(CommandId) - 1)	/* bytes */

static inline int
row_cid_size(uint16 flags)
{
	if ((flags & ROW_CID) == 0)
		return 0;
	return (int) sizeof(CommandId) - ((flags & ROW_CID_SHORT) ? ROW_CID_SAVED : 0);
}

#define ROW_FROZEN			(ROW_XID | ROW_PAGE_XID)

#define ROW_DELETED_FROZEN	(ROW_FROZEN | ROW_DELETED | ROW_VERSION)

/* The newest version has a creator of its own, and is frozen. */
static inline bool
row_flags_frozen(uint16 flags)
{
	return (flags & (ROW_FROZEN | ROW_DELETED)) == ROW_FROZEN;
}

/* Whether everybody sees the row is said by the row itself, not by the page (PAGE_UNIFORM). */
static inline bool
row_flags_own(uint16 flags)
{
	return (flags & (ROW_VERSION | ROW_DELETED | ROW_SPECULATIVE)) != 0 ||
		(flags & ROW_FROZEN) == ROW_XID;
}

#define ROW_TAG_MAX			127

static inline uint16
row_header_size(const RowHeaderData *h)
{
	return h->size_flags & ROW_SIZE_MASK;
}

/* A stub: a row that is dead to everybody, without data, as long as an index may know it. */
static inline bool
row_flags_stub(uint16 flags)
{
	return (flags & (ROW_DELETED | ROW_XID | ROW_PAGE_XID | ROW_VERSION)) == ROW_DELETED;
}

/* Can ROW_CID without ROW_XID mean ROW_CID_SHORT?  Not for a command of page_xid's. */
static inline bool
row_flags_take_short_cid(uint16 flags)
{
	return (flags & (ROW_PAGE_XID | ROW_DELETED)) != ROW_PAGE_XID;
}

static inline uint16
row_header_flags(const RowHeaderData *h)
{
	uint16		flags = (h->tag_flags >> 7) | ((h->size_flags >> 13) << 9);

	if ((flags & (ROW_XID | ROW_CID)) == ROW_CID && row_flags_take_short_cid(flags))
		flags |= ROW_XID | ROW_CID_SHORT;
	return flags;
}

static inline uint8
row_header_tag(const RowHeaderData *h)
{
	return h->tag_flags & ROW_TAG_MAX;
}

static inline void
row_header_set(RowHeaderData *h, uint16 size, uint16 flags, uint8 tag)
{
	if (flags & ROW_CID_SHORT)
		flags &= ~(ROW_XID | ROW_CID_SHORT);
	h->size_flags = size | ((flags >> 9) << 13);
	h->tag_flags = tag | (flags & 0x1FF) << 7;
}

/*
 * Version record: the cell of a version page, 8-byte aligned, appended from
 * the page's body upward (pd_lower is the end of the last one; there are no
 * slots).  It says how to get the older version from the newer one.
 *
 * After this header: VERSION_DELTA: old bytes of the changed range of the
 * data; VERSION_FULL: the old null bitmap, then the old data, without padding.
 */
typedef struct VersionRecordData
{
	uint16		size;			/* 0: of the record, without trailing alignment */
	uint16		kind;			/* 2: VersionKind */
	TransactionId superseder;	/* 4: xid that made the newer version */
	uint32		row_low;		/* 8: row id, low 32 bits */
	uint8		row_high;		/* 12: row id, high 8 bits */
	uint8		newer_tag;		/* 13: tag of the newer version */
	uint16		prefix;			/* 14: DELTA: bytes of data kept at the start */
	uint16		suffix;			/* 16: DELTA: bytes of data kept at the end */
	uint16		flags;			/* 18: old version's ROW_* */
	uint16		natts;			/* 20: old version's attribute count */
	uint16		older_offset;	/* 22: older version's record, if ROW_VERSION */
	BlockNumber older_block;	/* 24 */
	TransactionId xid;			/* 28: old version's creator; with ROW_FROZEN in flags only to
								 * be shown; Invalid = frozen, unknown */
	CommandId	cid;			/* 32: its command */
	uint8		tag;			/* 36: old version's tag */
	uint8		key;			/* 37: VersionKey */
	uint8		unused[2];		/* 38: zero */
} VersionRecordData;

StaticAssertDecl(sizeof(VersionRecordData) == 40, "version record header is 40 bytes");

typedef enum VersionKind
{
	VERSION_SAME_DATA = 1,		/* data of the newer version is the older one's */
	VERSION_DELTA = 2,			/* only bytes [prefix, length - suffix) differ; same null bitmap
								 * and attribute count */
	VERSION_FULL = 3			/* the whole old row follows */
} VersionKind;

/*
 * The row's key, when the version was superseded: does that stand in the way of FOR KEY SHARE, also once the
 * superseder has committed?  (A deletion without ROW_KEY_KEPT does, whatever the record says.)
 */
typedef enum VersionKey
{
	VERSION_KEY_FREE = 0,		/* neither changed nor locked: no */
	VERSION_KEY_HELD = 1,		/* the superseder's transaction, in another subtransaction, held
								 * the row FOR UPDATE: if this version is to be locked, not if
								 * an older one is */
	VERSION_KEY_TAKEN = 2		/* changed, or the same subtransaction held the row FOR UPDATE:
								 * yes */
} VersionKey;

/*
 * Cell of an index page.
 *
 *	uint16	size, 13 bits; CELL_NULLS, CELL_POSTING
 *	uint8	control: CELL_*
 *	uint8	prefix, if CELL_PREFIX: bytes of the payload, from its second on, that are
 *			the low fence's
 *
 * separator (inner pages, fences): uint8 columns present (INDEX_INFINITE: plus infinity), uint32 child, then
 * TID (6 bytes) if CELL_TID
 * entry: block of the TID (1 to 4 bytes), offset (1 or 2 bytes)
 * posting list: uint16 number of TIDs, uint16 bytes, the last TID (6 bytes), then for each TID
 *	varint: same block as the one before: difference of offsets << 1, else difference of
 *	blocks << 1 | 1, followed by a varint: offset
 *
 * then the payload: what follows the header of an IndexTuple, without up to 7
 * zeroes at its end and without the bytes of the prefix.
 */
#define CELL_NULLS			0x2000	/* in the size's upper bits: null bitmap present */
#define CELL_POSTING		0x4000

#define CELL_BLOCK_BYTES	0x03	/* in the control byte: bytes of the block, minus 1 */
#define CELL_WIDE_OFFSET	0x04	/* offset takes 2 bytes */
#define CELL_PREFIX			0x08
#define CELL_SEPARATOR		0x10
#define CELL_TID			0x20	/* separator has a TID */

#define INDEX_INFINITE		0xFF

/*
 * Index pages use three fields of the trailer otherwise: a head is
 * (number - base) >> shift, where the number is of 8 bytes of the first column from `skip` on.
 */
#define index_head_base(trailer)	((trailer)->low_fence)
#define index_head_shift(trailer)	((trailer)->page_cid)
#define index_head_skip(trailer)	((trailer)->page_natts)

/*
 * File header: the body of block 0.
 */
#define ROWAN_ACTIVE_VERSION_PAGES	16

typedef struct FileHeaderData
{
	uint32		file_id;		/* 0: random; same on every page of the file */
	uint16		tree_kind;		/* 4: RowanTreeKind */
	uint16		page_size_kb;	/* 6: BLCKSZ / 1024 */
	BlockNumber high_water;		/* 8: blocks ever handed out; beyond them the file may have
								 * unused pages, or left ones */
	BlockNumber free_head;		/* 12: first free page, or InvalidBlockNumber */
	uint32		free_count;		/* 16: pages on the free list */
	BlockNumber version_head;	/* 20: oldest version page */
	BlockNumber version_tail;	/* 24: newest version page */
	uint32		version_count;	/* 28: version pages */
	BlockNumber version_active[ROWAN_ACTIVE_VERSION_PAGES]; /* 32: appended to now */
} FileHeaderData;

StaticAssertDecl(sizeof(FileHeaderData) == 96, "file header is 96 bytes");

typedef enum RowanTreeKind
{
	ROWAN_TREE_TABLE = 1,
	ROWAN_TREE_INDEX = 2
} RowanTreeKind;

#define file_header(page)	((FileHeaderData *) ((char *) (page) + ROWAN_PAGE_BODY))

#endif							/* ROWAN_BASE_FORMAT_H */
