/*
 * tree.h
 *	  The B+tree: finding leaves, making room, merging, space.
 *
 * Root at block 1 for ever.  Readers descend optimistically: read the parent,
 * find the child, begin to read the child, check that the parent is unchanged
 * (lock coupling by versions), go on.  Writers descend the same way, latch the leaf
 * exclusively and check that it is a leaf that covers the key; otherwise they start again.
 *
 * Structure changes latch from the top (parent, page, right sibling, ..., file header,
 * free page) and are one PageChange each: no crash and no reader ever sees half of one.
 */
#ifndef ROWAN_TREE_TREE_H
#define ROWAN_TREE_TREE_H

#include "pool/change.h"
#include "pool/pool.h"
#include "tree/page.h"

/* True if the file has been initialised (blocks 0 and 1 are written). Cheap once true. */
extern bool tree_exists(const PoolFile *file);

/*
 * Initialises an empty file: header and an empty root leaf. No-op if done already. Logged as one
 * record.
 */
extern void tree_create(const PoolFile *file);

/* The same for another kind of tree, whose empty root init_root makes in a working copy. */
typedef void (*TreeRootInit) (Page page, uint32 file_id);
extern void tree_create_kind(const PoolFile *file, uint16 tree_kind, TreeRootInit init_root);

/* Makes the init fork of an unlogged file: header and root. */
extern void tree_create_init_fork(const PoolFile *file, uint16 tree_kind, TreeRootInit init_root);
extern void tree_create_table_init_fork(const PoolFile *file);

/*
 * Makes a table's file one of header and empty root, row ids begin anew, and cuts it.
 * AccessExclusiveLock; the visibility map has been emptied before.  A crash between the two steps
 * leaves a file that is longer than needed.
 */
extern void tree_make_empty(const PoolFile *file);

/* A table's file that has nothing but header and empty root, as a new one. */
extern bool tree_is_empty_file(const PoolFile *file);

/*
 * Begins an optimistic read of the leaf that covers key.  The page was a leaf
 * covering key when the function returned; pool_read_end says whether it still is.
 * ring: for leaves only; may be NULL.  attempt: how often the caller has
 * failed before.  Raises DATA_CORRUPTED for a tree that makes no sense although
 * nobody changes it.
 */
extern void tree_read_leaf(const PoolFile *file, TreeKey key, int attempt, PoolRing *ring,
						   PoolRead *read);

/* The next key that the right edge hands out.  Raises what tree_read_leaf does. */
extern TreeKey tree_next_key(const PoolFile *file);

/*
 * Copies a leaf to dest (BLCKSZ bytes, MAXALIGNed), consistent: the one that covers key / the one
 * left of the leaf whose low fence is given (false: there is none). Next leaf to the right:
 * tree_copy_leaf(high fence of the copy), which tries hint_block (the copy's right_block) before it
 * descends; pass InvalidBlockNumber for none.
 */
extern void tree_copy_leaf(const PoolFile *file, TreeKey key, BlockNumber hint_block,
						   PoolRing *ring, char *dest);
extern bool tree_copy_left_leaf(const PoolFile *file, TreeKey low_fence, PoolRing *ring,
								char *dest);

/*
 * Latches the leaf that covers key (LW_SHARED, LW_EXCLUSIVE). No other latch of the tree may be
 * held.
 */
extern PoolFrame *tree_latch_leaf(const PoolFile *file, TreeKey key, LWLockMode mode);

/* Latches the leaf at the right edge exclusively; hint as remembered from last time, or Invalid. */
extern PoolFrame *tree_latch_last_leaf(const PoolFile *file, BlockNumber hint_block);

/*
 * Latches exclusively a leaf that was heard of, of whatever rows; NULL: the block is none now.
 * With latches held (try): NULL too if somebody has its latch.
 */
extern PoolFrame *tree_latch_some_leaf(const PoolFile *file, BlockNumber block, bool try);

/* The same with latches held: the block, if it is that leaf and nobody has its latch, else NULL. */
extern PoolFrame *tree_try_last_leaf(const PoolFile *file, BlockNumber block);

/*
 * Splits the leaf that covers key so that a cell of `size` bytes for key has a better chance to
 * fit; a leaf at the right edge whose new key lies beyond all others (append) gets an
 * empty right neighbour instead, and moves nothing.  No latches held on entry
 * or exit; the caller latches the leaf again and may have to call again.
 * A no-op if the leaf meanwhile has room.
 */
extern void tree_make_room(const PoolFile *file, TreeKey key, uint16 size, bool aligned);
extern void tree_append_leaf(const PoolFile *file, TreeKey full_leaf_low_fence);

/* Divides the leaf that covers key so that one begins with it, if it can.  Latches as above. */
extern void tree_split_at(const PoolFile *file, TreeKey key);

/*
 * Looks at the leaf that covers key: if it is empty (and not the right edge) unlinks and frees it;
 * if it and its right neighbour under the same parent fit together (leaving some slack) merges
 * them; if one is underfull and the other full, redistributes.  Shrinks the tree where a root has a
 * single child.  Returns true if it changed something.  No latches held on entry or exit. The leaf
 * at the right edge keeps its next key within LEAF_KEY_SPAN of its low fence.
 */
extern bool tree_merge_leaf(const PoolFile *file, TreeKey key);

/* ---- space ---- */

/*
 * Takes a page off the free list, or from the end of the file (extending in growing
 * batches), inside an open change that holds all latches that come before
 * file header and free page (both may be waited for: no latch of a page that may be
 * on the free list may be held); the header's and page's latches become the change's.  Returns the
 * working copy, initialised by page_init(type, level).  *block: its number.
 */
extern Page space_alloc(PageChange *change, uint8 type, uint8 level, BlockNumber *block);

/* Puts a page (already in the change) on the free list. */
extern void space_free(PageChange *change, BlockNumber block);

/* The file header's working copy, latched if the change does not have it yet. */
extern FileHeaderData *space_change_header(PageChange *change);

/* Copies the file header (consistent). */
extern void space_read_header(const PoolFile *file, FileHeaderData *header);

/* True unless the block number is stale: remembered from before the file was cut. */
extern bool space_has_block(const PoolFile *file, BlockNumber block);

/* Asked now and then during long work: true to stop early. */
typedef bool (*SpaceStop) (void *arg);

/*
 * Free pages at the end of the file.  A guess: no latch is held, so that pages may be freed or
 * taken before it is used.
 */
extern BlockNumber space_count_free_tail(const PoolFile *file);

/*
 * Takes the free pages at the file's end off the free list and lowers high_water, as far as it
 * gets.  Nobody else may use the relation (AccessExclusiveLock).  Returns the new high_water; the
 * caller cuts the file there.
 */
extern BlockNumber space_trim(const PoolFile *file, SpaceStop stop, void *arg);

/*
 * If much of a table's file is free, moves pages of the tree from its end into free ones, one
 * record each, while others use it; the free pages then are at its end.  VACUUM's lock is held, no
 * latches.  Calls pause before each.
 */
extern void space_shrink(const PoolFile *file, void (*pause) (void));

/* ---- statistics ---- */
typedef struct TreeStat
{
	int			height;
	uint64		inner_pages,
				leaf_pages,
				version_pages,
				free_pages,
				unused_pages,	/* beyond high_water */
				rows,
				leaf_free_bytes,
				leaf_dead_bytes,	/* without slack */
				leaf_slack_bytes;
} TreeStat;
extern void tree_get_stat(const PoolFile *file, TreeStat *stat);

#endif							/* ROWAN_TREE_TREE_H */
