/*
 * row.h
 *	  Rows with versions: reading the one a snapshot sees, inserting, updating,
 *	  deleting, locking, reverting, pruning.
 *
 * A row is a chain of versions: the newest in its leaf, older ones in the version store.
 * A version has a creator (xid, command) and a tag; a deletion is a mark
 * on the newest version with a creator of its own.  The version of an aborted
 * creator does not exist: readers step over it, the next writer pops it.  Only the
 * top of a chain can be aborted, because writers pop before they push.
 *
 * Nothing here waits for transactions: where a caller has to wait, the result says
 * for whom.
 */
#ifndef ROWAN_ROW_ROW_H
#define ROWAN_ROW_ROW_H

#include "access/tableam.h"
#include "row/codec.h"
#include "row/logical.h"
#include "row/xid.h"
#include "storage/buf.h"
#include "tree/tree.h"
#include "version/version.h"

/* A table as the row layer sees it. */
typedef struct RowTable
{
	PoolFile	file;
	GlobalVisState *horizon;	/* of this table; only needed for writing and pruning */
	int			fill_reserve;	/* bytes that appending leaves free on a leaf, slack included */
	void	   *visibility_arg; /* of row_map_ops */

	/*
	 * Serializable reads: a newer version by xid, a top transaction, was stepped over. May be
	 * NULL.
	 */
	void		(*conflict_out) (void *arg, TransactionId xid);
	void	   *conflict_arg;

	/*
	 * NULL: records of older versions come from the pool.  Else of a file that may be damaged:
	 * what version_read does, without an error.
	 */
	bool		(*read_record) (void *arg, BlockNumber block, uint16 offset, char *dest);
	void	   *read_arg;
} RowTable;

/* What the layer above knows of the visibility map, whose blocks are logical ones. */
typedef struct RowMapOps
{
	/* The map's page, pinned, if a bit of the block is set; else invalid. */
	Buffer		(*pin) (void *arg, BlockNumber logical_block);
	/* Clears the bits; in critical sections. */
	void		(*clear) (Buffer buffer, BlockNumber logical_block);
	/* Clears them in redo, if there is such a page. */
	void		(*redo) (RelFileLocator locator, BlockNumber logical_block);
} RowMapOps;

/* Set at load. */
extern const RowMapOps *row_map_ops;

/* What the layer above remembers of leaves with room: hints, which may be wrong. */
typedef struct RowRoomOps
{
	/* A leaf that may have so many bytes; InvalidBlockNumber: none is known. */
	BlockNumber (*find) (void *arg, Size bytes);
	void		(*note) (void *arg, BlockNumber leaf, Size bytes);
} RowRoomOps;

/* Set at load; arg: as for row_map_ops.  No latches held. */
extern const RowRoomOps *row_room_ops;

/* What is to be noted of a leaf. */
extern Size row_leaf_room(const RowTable *table, Page page);

/* ---- row ids and TIDs ---- */

static inline RowId
row_id_from_tid(ItemPointer tid)
{
	return (RowId) ItemPointerGetBlockNumberNoCheck(tid) << 8 |
		(((ItemPointerGetOffsetNumberNoCheck(tid) & 0x1FF) - 1) & 0xFF);
}

static inline BlockNumber
row_logical_block(RowId row)
{
	return (BlockNumber) (row >> 8);
}

static inline uint8
row_tag_from_tid(ItemPointer tid)
{
	return ItemPointerGetOffsetNumberNoCheck(tid) >> 9;
}

static inline void
row_tid_set(ItemPointer tid, RowId row, uint8 tag)
{
	ItemPointerSet(tid, (BlockNumber) (row >> 8), ((uint16) tag << 9) | ((row & 0xFF) + 1));
}

/* The TID could be one of ours: offset part within 1..256, block below the limit. */
static inline bool
row_tid_plausible(ItemPointer tid)
{
	uint16		slot = ItemPointerGetOffsetNumberNoCheck(tid) & 0x1FF;

	return slot >= 1 && slot <= ROWS_PER_LOGICAL_BLOCK &&
		BlockNumberIsValid(ItemPointerGetBlockNumberNoCheck(tid)) &&
		row_tag_from_tid(tid) <= ROW_TAG_MAX;
}

/* ---- reading ---- */

/* Memory for following version chains; one per scan, in the current context. */
typedef struct RowWork
{
	char	   *record;			/* VERSION_MAX_RECORD bytes */
	char	   *data[2];		/* BLCKSZ each, used in turn */
	int			next;
} RowWork;
extern RowWork *row_work_create(void);
extern void row_work_free(RowWork *work);

/* Where the last row was found: a neighbour costs no descent. Zero-initialise. */
typedef struct RowHint
{
	PoolFrame  *frame;
	uint64		version;
	TreeKey		low;
	TreeKey		high;
	TransactionId page_xid;		/* from that version's trailer, too */
	CommandId	page_cid;
	uint16		page_natts;
} RowHint;

/* One version of a row and what superseded it. */
typedef struct RowVersion
{
	RowMeta		meta;			/* meta.xid, .cid: who made this version */
	RowData		data;			/* borrowed: from the caller's copy, or from the RowWork (valid
								 * until its next use) */
	bool		superseded;		/* there is a newer one, or a deletion */
	TransactionId newer_xid;	/* who made that */
	CommandId	newer_cid;
	bool		newer_is_delete;	/* deletion or move */
	bool		newer_is_move;	/* it says where the row went */
	VersionKey	newer_key;		/* what that was to the row's key */
	ItemPointerData newer_tid;	/* where the row is then: itself with the next tag, or where it
								 * moved; its own TID if it is deleted */
} RowVersion;

/* Both were read as the newest version of one row, and it has not changed in between. */
static inline bool
row_same_newest(const RowMeta *a, const RowMeta *b)
{
	return a->xid == b->xid && a->tag == b->tag && a->flags == b->flags &&
		a->older_block == b->older_block && a->older_offset == b->older_offset;
}

/* Notes that nothing supersedes the version. */
static inline void
row_version_init(RowVersion *version, RowId row)
{
	version->superseded = false;
	version->newer_xid = InvalidTransactionId;
	version->newer_cid = InvalidCommandId;
	version->newer_is_delete = false;
	version->newer_is_move = false;
	version->newer_key = VERSION_KEY_FREE;
	row_tid_set(&version->newer_tid, row, version->meta.tag);
}

/*
 * Copies the newest cell of a row: into `dest` (at least BLCKSZ + 8 bytes, MAXALIGNed), parsed to
 * version (nothing superseded).  False if there is no such row.
 */
extern bool row_read(RowTable *table, RowId row, RowHint *hint, char *dest, RowVersion *version);

/*
 * row_read of a row whose newest version, as it was read before, led to a chain that is cut.  It
 * must have changed since: an unchanged one lacks a version that somebody needs, and is reported as
 * corrupt.  So whoever starts over with what this returns makes progress.
 */
extern bool row_read_changed(RowTable *table, RowId row, const RowMeta *before, RowHint *hint,
							 char *dest, RowVersion *version);

/*
 * Steps *version to the one before it.  False if there is none; *gone says that the
 * chain was cut meanwhile (pop or reclaim): read the row again.
 */
extern bool row_step_older(RowTable *table, RowId row, RowVersion *version, RowWork *work,
						   bool *gone);

/*
 * From a deletion (no stub) to the version that was deleted.  There always is one: its data stays
 * on the leaf until the row is a stub, and *version is a copy.
 */
extern void row_undelete(RowTable *table, RowId row, RowVersion *version, RowWork *work);

/*
 * The record that `xid` made when it superseded a version is gone.  True if it may have been
 * reclaimed: xid has committed, and no snapshot of ours, if we have one, is older.  False: damage,
 * unless the version that xid made was popped since it was read.  Not for VACUUM, whose xmin holds
 * nothing back: it is told true too often.
 */
extern bool row_may_be_reclaimed(const PoolFile *file, TransactionId xid);

/*
 * From a newest version (as row_read gave it) to the one that snapshot sees.
 * False: it sees none.  *gone as above.  For SnapshotDirty sets the snapshot's xmin, xmax and
 * speculativeToken.
 */
extern bool row_find_visible(RowTable *table, RowId row, RowVersion *version, Snapshot snapshot,
							 RowWork *work, bool *gone);

/* From a newest version to the one with that tag. */
extern bool row_find_tag(RowTable *table, RowId row, RowVersion *version, uint8 tag,
						 RowWork *work, bool *gone);

/*
 * row_read and one of the above, with retries. all_dead may be NULL: set if nobody can see any
 * version.
 */
extern bool row_fetch_visible(RowTable *table, RowId row, Snapshot snapshot, RowHint *hint,
							  char *dest, RowWork *work, RowVersion *version, bool *all_dead);
extern bool row_fetch_tag(RowTable *table, RowId row, uint8 tag, RowHint *hint,
						  char *dest, RowWork *work, RowVersion *version);

/* What a leaf's rows are for a snapshot that can be answered for all at once. */
extern bool row_page_all_visible(Page copy, Snapshot snapshot);

/*
 * Brings the version records that the snapshot is going to need of a copied leaf's rows into the
 * processor's cache, all rows' at a time: one by one, each step of each chain waits for memory.
 */
extern void row_prefetch_versions(RowTable *table, Page copy, Snapshot snapshot);

pg_noreturn extern void row_corrupt(const PoolFile *file, BlockNumber block, RowId row,
									const char *what);

/* The same, of the version that `newer` superseded. */
pg_noreturn extern void row_missing(const RowTable *table, RowId row, const RowMeta *newer);

/* Parses slot pos of a copied leaf; raises DATA_CORRUPTED. */
static inline RowId
row_parse_slot(const PoolFile *file, Page copy, int pos, RowVersion *version)
{
	PageTrailer trailer = page_trailer(copy);
	RowId		row = leaf_key(copy, pos);
	uint16		size;
	char	   *cell = page_cell(copy, pos, &size);

	if (unlikely(cell == NULL) ||
		unlikely(!row_parse(cell, size, trailer->page_xid, trailer->page_cid, trailer->page_natts,
							&version->meta, &version->data)))
		row_corrupt(file, trailer->self_block, row, "its cell makes no sense");
	row_version_init(version, row);
	return row;
}

/*
 * Nobody, now or later, can see any version of the row whose newest is given (dead, not aborted
 * only).
 */
extern bool row_is_dead_to_all(RowTable *table, const RowMeta *newest, TransactionId *removed_xid);

/*
 * Raises *horizon to what queries on a standby must have seen to miss nothing when a row goes that
 * was deleted and is no stub yet, everybody here seeing that: the deletion's xid, or nothing if he
 * had made the row, too (reclaim.c).  May step *version down.
 */
extern void row_note_deletion(RowTable *table, RowId row, RowVersion *version, RowWork *work,
							  TransactionId *horizon);

/* ---- writing ---- */

/*
 * Appends rows; ids[] gets their row ids, in order.  Logs one record a page.
 * token != 0: a speculative insertion (one row only).  logical: what decoding is told, or NULL.
 */
extern void row_insert(RowTable *table, const RowData *rows, int nrows, TransactionId xid,
					   CommandId cid, uint32 token, RowLogical *logical, RowId *ids);

/* The same, frozen from the start; xids[]: what is shown as the creator of each, or Invalid. */
extern void row_insert_frozen(RowTable *table, const RowData *rows, int nrows,
							  const TransactionId *xids, RowLogical *logical, RowId *ids);

/* A speculative insertion is confirmed, or made never to have happened. */
extern void row_finish_speculative(RowTable *table, RowId row, bool succeeded,
								   RowLogical *logical);

/*
 * What a writer found.  With TM_BeingModified: wait for nwait transactions (any that
 * ended may be skipped), then try again.
 */
#define ROW_MAX_WAIT	64
typedef struct RowOutcome
{
	TM_Result	result;
	ItemPointerData newer_tid;	/* TM_Updated: next place to look; else the row's own TID */
	bool		moved_partition;
	TransactionId newer_xid;	/* tmfd.xmax */
	CommandId	newer_cid;		/* tmfd.cmax for TM_SelfModified */
	TransactionId top_xid;		/* who made the row's newest version */
	CommandId	top_cid;
	TransactionId lock_xid;		/* row_update, row_delete: the lockers that stay (lock word), or
								 * Invalid */
	uint16		lock_bits;
	bool		follow;			/* row_lock: TM_Ok, but the row has moved: lock it at follow_tid
								 * too */
	ItemPointerData follow_tid;
	bool		traversed;		/* row_lock: this is about the newest version, not the one asked
								 * about */
	bool		again;			/* somebody aborted while we looked: look again */
	uint8		tag;			/* TM_Ok, or traversed: tag of the version written or locked */
	bool		must_move;		/* row_update: in place is not possible (tag wrap) */
	bool		holds_lock;		/* TM_BeingModified: we are one of the row's lockers */
	bool		later;			/* row_lock: the result is due to a later version of the row
								 * than the one to be locked; then wait even if the lock is
								 * NOWAIT or SKIP LOCKED */
	int			nwait;
	TransactionId wait[ROW_MAX_WAIT];
} RowOutcome;

typedef struct RowWriter
{
	TransactionId xid;			/* ours; valid, but for row_lock, which assigns one when it
								 * needs it */
	CommandId	cid;
	Snapshot	crosscheck;		/* or InvalidSnapshot */
	LockTupleMode mode;			/* how strongly lockers are in our way */
	bool		contended;		/* others probably change or lock the row: look before it is
								 * latched */
	bool		find_newest;	/* row_lock: the version is superseded? lock the newest of the
								 * row */
	bool		traversed;		/* row_lock: the newest in any case, the row has moved to this
								 * one */
	RowLogical *logical;		/* what decoding is told of the change, or NULL */
} RowWriter;

/* In-place update of the version with that tag. */
extern void row_update(RowTable *table, RowId row, uint8 tag, const RowData *data,
					   const RowWriter *writer, RowWork *work, RowOutcome *outcome);

/* Why a version is marked deleted. */
typedef enum RowDeletion
{
	ROW_DELETE,
	ROW_MOVE,					/* an update that cannot be made in place; a key may have
								 * changed */
	ROW_MOVE_KEY_KEPT,			/* the same, but no key has: FOR KEY SHARE may pass */
	ROW_MOVE_PARTITION			/* readers and writers are told so */
} RowDeletion;

extern void row_delete(RowTable *table, RowId row, uint8 tag, RowDeletion why,
					   const RowWriter *writer, RowWork *work, RowOutcome *outcome);

/*
 * An update that gives the row another place, *new_row, where the lock word of those who still lock
 * it goes, too.  One record; or, if there is no room at once, three: the deletion, the row at its
 * new place, and row_set_forward.  Then others see it as deleted by a transaction in progress until
 * the last; a crash in between aborts it.  why: ROW_MOVE or ROW_MOVE_KEY_KEPT.
 */
extern void row_move(RowTable *table, RowId row, uint8 tag, RowDeletion why, const RowData *data,
					 const RowWriter *writer, RowWork *work, RowOutcome *outcome, RowId *new_row);

/* A row that was deleted says where it goes on. */
extern void row_set_forward(RowTable *table, RowId row, ItemPointer where);

/*
 * Locks the version (writer->mode).  On TM_Ok *version is what was locked, its data in dest (2 *
 * BLCKSZ); on TM_Updated and TM_Deleted it is any version of the row.
 *
 * With writer->find_newest, if the version was superseded for good by another one of the row, the
 * newest is locked, or waited for, in one step (outcome->traversed, ->tag): TM_Updated then says
 * where the row has moved.
 */
extern void row_lock(RowTable *table, RowId row, uint8 tag, RowWriter *writer,
					 char *dest, RowWork *work, RowVersion *version, RowOutcome *outcome);

/* ---- rewriting a table ---- */

/*
 * Puts a version on top of the row's newest, as it was made in another file by made->xid at
 * made->cid; with ROW_DELETED in made->flags (and ROW_KEY_KEPT, ROW_FORWARD and forward_*) a
 * deletion, data NULL; what it was to the key of the version below. AccessExclusiveLock held;
 * made->xid has not aborted.  Tags count from the row's insertion.
 */
extern void row_push_version(RowTable *table, RowId row, const RowMeta *made, VersionKey key,
							 const RowData *data);

/*
 * The rest of a FOR KEY SHARE lock that passed a move (outcome->follow): locks the row at its new
 * place, whoever made it.  May have to follow further, or to wait.  mover: who has moved it there;
 * TM_Deleted if that has aborted, since the id may be another row's by now.
 */
extern void row_lock_moved(RowTable *table, RowId row, TransactionId mover,
						   const RowWriter *writer, RowWork *work, RowOutcome *outcome);

/* ---- cleaning ---- */

typedef struct RowPruneStat
{
	uint64		rows,			/* rows with a newest version that lives */
				recently_dead,	/* deleted, but some snapshot sees them */
				removed,		/* turned into stubs now */
				stubs;			/* stubs there are (including those) */
	TransactionId oldest_xid;	/* oldest xid left in a header */
	MultiXactId oldest_multi;
} RowPruneStat;

/* Is the row a stub: dead, without data, waiting for its index entries to go? */
static inline bool
row_is_stub(const RowMeta *meta)
{
	return row_flags_stub(meta->flags);
}

/*
 * Cleans the leaf that covers key: pops aborted versions, freezes what everybody sees, turns rows
 * dead to everybody into stubs.  One record.  No latches held.  Returns true if it changed the
 * leaf.
 */
extern bool row_prune_leaf(RowTable *table, TreeKey key, RowPruneStat *stat);

/*
 * Of the leaf that covers key, rows dead to everybody are turned into stubs, and nothing else is
 * done.  One record, small.  No latches held.  True: it changed the leaf.
 */
extern bool row_prune_dead(RowTable *table, TreeKey key);

/* How many rows of a leaf, latched, that would be. */
extern int	row_count_dead(RowTable *table, Page page);

/*
 * Frozen rows of the leaf that covers key get their creator's xid into their own headers, so that
 * none depends on the page's and the leaf can be merged with one that has another page_xid.  One
 * record.  No latches held.  False: nothing was changed, since there is no such xid, or no room.
 */
extern bool row_free_page_xid(RowTable *table, TreeKey key);

/* The copied leaf has something for row_prune_leaf to do, after which there may be no more. */
extern bool row_leaf_may_settle(RowTable *table, Page copy);

/* The copied leaf has nothing for row_prune_leaf to do, and no stubs. */
extern bool row_leaf_is_settled(Page copy);

/* A leaf as it was when it was copied: its rows are on that page as long as it has these fences. */
typedef struct RowLeaf
{
	BlockNumber block;
	TreeKey		low;
	TreeKey		high;
} RowLeaf;

/*
 * First step of setting visibility bits (I7): promises that writers of the leaf will clear
 * them.  False: the leaf isn't settled, or isn't that leaf any more.
 */
extern bool row_announce_visibility(RowTable *table, const RowLeaf *leaf);

/*
 * Second step, with the visibility map's page locked: the leaf is what it was, settled, announced,
 * and nobody is about to change it.  Never waits for a latch (writers take the map's lock while
 * they hold one).
 */
extern bool row_confirm_visibility(RowTable *table, const RowLeaf *leaf);

/*
 * Oldest xid in the version store, or `limit` if that is older.  InvalidTransactionId: it changes
 * too fast to tell.
 */
extern TransactionId row_oldest_version_xid(RowTable *table, TransactionId limit);

/*
 * Removes stubs (their index entries are gone) among ids[], sorted, from the leaf that covers
 * ids[0]; returns how many of ids[] were dealt with.
 */
extern int	row_remove_stubs(RowTable *table, const RowId *ids, int nids);

/*
 * Frees version pages at the head of the list that nobody needs, at most `limit` (0: all), popping
 * aborted versions on the way.  Returns the number freed.
 */
extern uint32 row_reclaim_versions(RowTable *table, uint32 limit);

/* Registers redo of this layer's records. Once, at load. */
extern void row_wal_init(void);

#endif							/* ROWAN_ROW_ROW_H */
