/*
 * entry.h
 *	  The B+tree of index entries: keys by operator class, then TID.
 *
 * Pages, space, changes and redo are the table's (src/tree, src/pool); what differs is the key, and
 * with it searching, splitting and merging.  An index page is a slotted page whose slots 0 and 1
 * are its low and high fence; what it holds follows, in key order.  The low fence is also what the
 * page's cells are compressed against.
 *
 * A separator, a fence and a search key are points between entries: some leading columns, then
 * minus infinity, plus infinity or a TID.
 *
 * A slot's 16 bits beside the offset are the entry's head: its first column mapped to a number in
 * order, relative to the page.  Entries whose heads differ need no comparison.
 *
 * Comparison functions may raise errors and are called with pages latched, or on copies of cells
 * that were found valid; never on bytes that may be changing.
 */
#ifndef ROWAN_ENTRY_ENTRY_H
#define ROWAN_ENTRY_ENTRY_H

#include "access/itup.h"
#include "access/skey.h"
#include "pool/change.h"
#include "pool/pool.h"
#include "tree/page.h"

/* Largest index tuple: a page holds its two fences and one entry of that size. */
#define INDEX_MAX_TUPLE		2648

/* Posting lists end at this many bytes, so that a page has room to divide. */
#define INDEX_MAX_POSTING	1200

#define SLOT_LOW_FENCE	0
#define SLOT_HIGH_FENCE 1
#define SLOT_FIRST		2

/* ---- keys ---- */

/*
 * Types whose order is known here.  A column maps to a number that orders as it does, or nearly
 * (heads); some are compared without a call of their comparison function.
 */
typedef enum HeadKind
{
	HEAD_NONE,
	HEAD_BOOL,
	HEAD_CHAR,
	HEAD_INT2,
	HEAD_INT4,
	HEAD_INT8,
	HEAD_OID,
	HEAD_FLOAT4,
	HEAD_FLOAT8,
	HEAD_UUID,
	HEAD_BYTES					/* varlena ordered by memcmp, then length */
} HeadKind;

typedef struct KeyDesc
{
	TupleDesc	desc;
	int			natts;
	int			nkeyatts;
	bool		var_width;
	bool		equal_image;	/* equal keys have equal bytes: posting lists may be made */
	HeadKind	kinds[INDEX_MAX_KEYS];	/* of key columns; the first one's is that of the heads */
	FmgrInfo   *compare[INDEX_MAX_KEYS];
	Oid			collation[INDEX_MAX_KEYS];
	int16		option[INDEX_MAX_KEYS]; /* INDOPTION_* */
} KeyDesc;

typedef enum KeyTail
{
	TAIL_LOW,					/* before all entries that begin like that */
	TAIL_HIGH,					/* behind them */
	TAIL_TID					/* all key columns and a TID */
} KeyTail;

typedef struct KeyPoint
{
	int			nkeys;
	KeyTail		tail;
	ItemPointerData tid;
	HeadKind	kinds[INDEX_MAX_KEYS];	/* of the arguments: integers compare across types */
	ScanKeyData keys[INDEX_MAX_KEYS];	/* sk_func: three-way comparison */
} KeyPoint;

/*
 * A decoded cell.  The tuple lies in the buffer that was given; its TID is the (first) TID of an
 * entry, in a separator the tie-breaking one.
 */
typedef struct IndexItem
{
	IndexTuple	tuple;
	int			natts;			/* columns present: all in leaves */
	bool		is_separator;	/* or fence */
	bool		has_tid;
	bool		is_infinite;	/* plus infinity (a high fence) */
	bool		is_dead;		/* hint: dead to everybody on this server */
	ItemPointerData tid;
	ItemPointerData last_tid;	/* entries only */
	int			ntids;			/* entries: more than 1 in a posting list */
	BlockNumber child;
	const char *posting;
	int			posting_size;
} IndexItem;

/* Buffer for a decoded tuple, MAXALIGNed; decoding writes somewhat beyond its end. */
#define INDEX_TUPLE_SPARE	64
#define INDEX_TUPLE_ROOM	BLCKSZ
#define INDEX_TUPLE_LEAST	(INDEX_MAX_TUPLE + 2 * MAXIMUM_ALIGNOF + sizeof(IndexTupleData) + \
							 INDEX_TUPLE_SPARE)

typedef struct IndexTree
{
	PoolFile	file;
	const KeyDesc *keys;

	/*
	 * Called when a split or merge is going to make block `to` cover what leaf `from` does,
	 * both latched, before anybody can see it: for those who remember leaves that they have
	 * read (predicate locks).  May be NULL.
	 */
	void		(*leaf_moves) (void *owner, BlockNumber from, BlockNumber to);
	void	   *owner;
} IndexTree;

/* key.c */
extern void key_point_init(const KeyDesc *keys, KeyPoint *point, int nkeys, KeyTail tail);
extern void key_point_from_tuple(const KeyDesc *keys, KeyPoint *point, IndexTuple tuple,
								 int natts, KeyTail tail, const ItemPointerData *tid);
extern void key_point_from_item(const KeyDesc *keys, KeyPoint *point, const IndexItem *item);

/* subtype: the argument's type, if it is not the column's own. */
extern HeadKind key_argument_kind(const KeyDesc *keys, int i, Oid subtype);
extern HeadKind key_head_kind(Oid compare, Oid collation);

/* As memcmp(point, item): an item with several TIDs is equal to each point within. */
extern int	key_compare(const KeyDesc *keys, const KeyPoint *point, const IndexItem *item);

/*
 * The same, but an item with several TIDs counts as its first one.  *maybe_inside, if not NULL: the
 * point lies among them or behind.
 */
extern int	key_compare_first(const KeyDesc *keys, const KeyPoint *point, const IndexItem *item,
							  bool *maybe_inside);

/* The same for column i of the point, and a value of it. */
extern int	key_compare_column(const KeyDesc *keys, const KeyPoint *point, int i, Datum value,
							   bool is_null);

/*
 * As memcmp(argument of a condition on column i, a value of it), in the index's order.  kind: the
 * argument's.  sk_func: three-way comparison.
 */
extern int	key_compare_argument(const KeyDesc *keys, int i, const ScanKeyData *key, HeadKind kind,
								 Datum value, bool is_null);

/* As memcmp(a, b), ascending; false: these are no integers. */
extern bool key_compare_integers(HeadKind a_kind, Datum a, HeadKind b_kind, Datum b, int *result);
extern bool key_same_point(const IndexItem *a, const IndexItem *b);
extern int	key_compare_tuples(const KeyDesc *keys, IndexTuple a, IndexTuple b, int natts,
							   int *first_difference);
extern bool key_equal_images(IndexTuple a, IndexTuple b);
extern uint64 key_head(const KeyDesc *keys, HeadKind kind, Datum value, bool is_null, int skip);
extern int	key_common_bytes(const KeyDesc *keys, Datum a, Datum b);

/* cell.c */
typedef struct CellPrefix
{
	const char *bytes;			/* the low fence's payload */
	int			size;
} CellPrefix;

/* A cell to be written: entry, posting list or separator. */
typedef struct CellSource
{
	IndexTuple	tuple;			/* NULL: no columns */
	int			natts;			/* separators: columns present */
	bool		is_separator;
	bool		is_infinite;
	bool		has_tid;
	BlockNumber child;			/* separators */
	const ItemPointerData *tids;
	int			ntids;
	const char *posting;		/* if not NULL: the list's bytes, and tids has only its first
								 * TID */
	int			posting_size;
	ItemPointerData last_tid;
} CellSource;

extern bool cell_decode(const KeyDesc *keys, Page page, const CellPrefix *prefix, int pos,
						IndexItem *item, char *buffer);
extern void cell_prefix(Page page, CellPrefix *prefix);
#define CELL_MAX	(BLCKSZ / 2)

/* Bytes of the cell, even; writes it if dest is not NULL and they are not more than CELL_MAX. */
extern int	cell_encode(const CellPrefix *prefix, const CellSource *source, char *dest);

/* The cell of a child says that it is there now.  The page is stable. */
extern void cell_set_child(Page page, int pos, BlockNumber child);

/* The TIDs of an item; tids has room for item->ntids.  False: bytes make no sense. */
extern bool cell_tids(const IndexItem *item, ItemPointerData *tids);

/* The TID of an entry that has only one; false: look with cell_decode. */
extern bool cell_single_tid(Page page, int pos, ItemPointer tid, bool *is_dead);
extern bool cell_last_tid(Page page, int pos, ItemPointer last);

/* The TIDs of a posting list, little by little. */
typedef struct PostingReader
{
	const char *at;
	const char *end;
	BlockNumber block;
	OffsetNumber offset;
} PostingReader;

/* A posting list to be written, made of other entries, in their order. */
typedef struct PostingBuilder
{
	int			ntids;
	int			size;
	ItemPointerData first;
	ItemPointerData last;
	char		bytes[INDEX_MAX_POSTING];
} PostingBuilder;

extern void posting_start(PostingBuilder *builder);
extern int	posting_size_with(const PostingBuilder *builder, const IndexItem *item);
extern void posting_add(PostingBuilder *builder, const IndexItem *item);
extern void posting_source(const PostingBuilder *builder, CellSource *source);

/* Two entries of a stable leaf have the same columns, byte for byte. */
extern bool cell_same_columns(Page page, int a, int b);
extern int	cell_columns_bytes(Page page, int pos);

extern void posting_begin(const IndexItem *item, PostingReader *reader);
extern bool posting_read(PostingReader *reader, ItemPointerData *tids, int n);

/* entry_page.c */
typedef struct PageView
{
	const KeyDesc *keys;
	const PoolFile *file;
	Page		page;
	PoolRead   *read;			/* optimistic: every cell is validated before use; NULL: stable */
	CellPrefix	prefix;
} PageView;

#define SEARCH_RETRY	(-1)	/* optimistic: the page changed */

extern void view_page(PageView *view, const IndexTree *tree, Page page, PoolRead *read);

/* The page's bytes were replaced. */
extern void view_refresh(PageView *view);
pg_noreturn extern void view_is_corrupted(const PageView *view);

/* Decodes a cell; false only in an optimistic view: it changed. */
extern bool view_item(const PageView *view, int pos, IndexItem *item, char *buffer);
extern void view_tids(const PageView *view, const IndexItem *item, ItemPointerData *tids);

/* First slot whose entry is at or behind the point; or nslots. */
extern int	ipage_search(const PageView *view, const KeyPoint *point);

/* The slot's head alone says that its entry is behind the point.  The page covers the point. */
extern bool ipage_head_is_beyond(const PageView *view, const KeyPoint *point, int pos);

/* Slot of the child that covers the point; with before: that covers what is just before it. */
extern int	ipage_search_child(const PageView *view, const KeyPoint *point, bool before);

/* The page covers the point (with before: what is just before it).  Stable views only. */
extern bool ipage_covers(const PageView *view, const KeyPoint *point, bool before);
extern void ipage_init(const KeyDesc *keys, Page page, const CellSource *low,
					   const CellSource *high, IndexTuple first, IndexTuple last);
extern uint16 ipage_head(const KeyDesc *keys, Page page, IndexTuple tuple, int natts);

/* Inserts a cell before slot pos; false: it does not fit, even after a compaction. */
extern bool ipage_insert(const KeyDesc *keys, Page page, int pos, const CellSource *source);

/* Gives slot pos another cell; must fit. */
extern bool ipage_replace(const KeyDesc *keys, Page page, int pos, const CellSource *source);
extern void ipage_delete(Page page, int pos, int count);
extern void item_source(const IndexItem *item, CellSource *source, ItemPointerData *tids);

/* The same for one that stays as it is: the source points to its bytes.  tid: room for one. */
extern void item_source_same(const IndexItem *item, CellSource *source, ItemPointerData *tid);

/* The entry of a leaf's slot is marked as dead to everybody. */
static inline bool
ipage_is_dead(Page page, int pos)
{
	return (((volatile SlotData *) page_slots(page))[pos].offset & SLOT_DEAD) != 0;
}

/*
 * Marks it; the leaf is latched, at least shared.  Others may mark other slots at the same time: of
 * this one only the byte is written that has the mark.
 */
static inline void
ipage_mark_dead(Page page, int pos)
{
	volatile uint8 *offset = (volatile uint8 *) &page_slots(page)[pos].offset;

#ifdef WORDS_BIGENDIAN
	offset[0] |= SLOT_DEAD >> 8;
#else
	offset[1] |= SLOT_DEAD >> 8;
#endif
}

/*
 * Dead marks do not reach the file: who deleted the row may have committed without having flushed
 * that.
 */
extern void ipage_forget_marks(Page page);

static inline bool
ipage_is_leaf(Page page)
{
	return page_trailer(page)->type == ROWAN_PAGE_INDEX_LEAF;
}

static inline bool
ipage_is_index(Page page)
{
	return page_trailer(page)->magic == ROWAN_MAGIC &&
		(page_trailer(page)->type == ROWAN_PAGE_INDEX_LEAF ||
		 page_trailer(page)->type == ROWAN_PAGE_INDEX_INNER);
}

/* entry_seek.c */
extern void itree_create(const IndexTree *tree);

/* The init fork of an unlogged index. */
extern void itree_create_init_fork(const PoolFile *file);

/* Begins a read of the leaf that covers the point (with before: what is just before it). */
extern void itree_read_leaf(const IndexTree *tree, const KeyPoint *point, bool before, int attempt,
							PoolRead *read);

/* A consistent private copy; frame and version: to find out later whether it still is so. */
extern void itree_copy_leaf(const IndexTree *tree, const KeyPoint *point, bool before,
							BlockNumber hint, char *dest, PoolFrame **frame, uint64 *version);
extern bool itree_copy_few(const IndexTree *tree, const KeyPoint *start, const KeyPoint *end,
						   char *dest, PoolFrame **frame, uint64 *version, int *first, int *last);

/*
 * itree_copy_leaf with the leaf latched shared, and note called for its block before it is let go.
 */
typedef void (*LeafNote) (void *arg, BlockNumber block);
extern void itree_copy_leaf_latched(const IndexTree *tree, const KeyPoint *point, bool before,
									LeafNote note, void *arg, char *dest, PoolFrame **frame,
									uint64 *version);
extern PoolFrame *itree_latch_page(const IndexTree *tree, const KeyPoint *point, int level,
								   LWLockMode mode);

/* The right sibling of a latched page, latched too; NULL if there is none. */
extern PoolFrame *itree_latch_right(const IndexTree *tree, PoolFrame *frame, LWLockMode mode);
extern int	itree_height(const IndexTree *tree);

/* entry_split.c */
/* Makes the leaf that covers the point have room for the entry, if it has not. No latches held. */
extern void itree_make_room(const IndexTree *tree, const KeyPoint *point, const CellSource *entry,
							int fillfactor);
extern void itree_choose_separator(const KeyDesc *keys, IndexTuple last_left,
								   const ItemPointerData *last_tid, IndexTuple first_right,
								   const ItemPointerData *first_tid, CellSource *separator,
								   ItemPointerData *tid);

/* entry_merge.c */
extern bool itree_merge_leaf(const IndexTree *tree, const KeyPoint *point);

/* entry_shrink.c: see tree_shrink. */
extern void itree_shrink(const IndexTree *tree, void (*pause) (void));

/* entry_delete.c */
/* Leaves in tids those that stay; returns how many. */
typedef int (*IndexKeepTids) (void *arg, int slot, ItemPointerData *tids, int ntids);

/* Removes TIDs from the copy of a latched leaf; returns how many. */
extern int	ipage_remove_tids(const IndexTree *tree, PoolFrame *frame, Page copy,
							  IndexKeepTids keep, void *arg);

/* entry_insert.c */
extern void itree_wal_init(void);

/* Adds an entry to a latched leaf that covers it; releases it.  False: no room. */
extern bool itree_insert_latched(const IndexTree *tree, PoolFrame *frame, const KeyPoint *point,
								 IndexTuple tuple);
extern bool itree_leaf_takes(const PageView *view, const KeyPoint *point, const CellSource *entry);

/*
 * Joins equal keys of a latched leaf into posting lists; true if that made room: then it is
 * released.
 */
extern bool itree_deduplicate(const IndexTree *tree, PoolFrame *frame);

/* entry_bulk.c */
typedef struct IndexBulk IndexBulk;
extern IndexBulk *itree_bulk_begin(const IndexTree *tree, int fillfactor, bool deduplicate);
extern void itree_bulk_add(IndexBulk *bulk, IndexTuple tuple);
extern void itree_bulk_end(IndexBulk *bulk);

#endif							/* ROWAN_ENTRY_ENTRY_H */
