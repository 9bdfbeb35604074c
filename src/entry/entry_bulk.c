/*
 * entry_bulk.c
 *	  Building an index from sorted tuples: pages are filled one after the other, level by level,
 *	  and written whole.
 *
 * The file is new and nobody else knows it: blocks are handed out here, in order, and the file
 * header learns of them at the end, together with the root.  A crash in between leaves a file that
 * belongs to no relation.
 *
 * A page stays in private memory until the one to its right begins, which gives it its high
 * fence.  Room for that fence is reserved.
 */
#include "postgres.h"

#include "entry/entry.h"
#include "miscadmin.h"
#include "tree/kind.h"
#include "tree/tree.h"
#include "utils/memutils.h"

#define MAX_LEVELS		32

/* A fence's cell is at most so much longer than the tuple: see itree_choose_separator. */
#define FENCE_OVERHEAD	24
#define EXTEND_PART			32	/* of what there is, to extend the file by */
#define EXTEND_MAX_BLOCKS	128

/* The rightmost page of a level, being filled. */
typedef struct BulkLevel
{
	BlockNumber block;
	PGAlignedBlock page;
	IndexTuple	low;			/* its low fence */
	CellSource	low_source;
	ItemPointerData low_tid;
} BulkLevel;

struct IndexBulk
{
	const IndexTree *tree;
	int			leaf_limit;		/* bytes of a leaf to fill */
	int			inner_limit;
	bool		deduplicate;
	uint32		file_id;
	BlockNumber next_block;
	BlockNumber extended;
	int			nlevels;
	BulkLevel  *levels[MAX_LEVELS];
	IndexTuple	last;			/* last tuple added to a leaf; in buffers */
	ItemPointerData last_tid;	/* its last TID */

	/* equal keys, collected into a posting list */
	IndexTuple	pending;		/* in buffers; NULL: none */
	PostingBuilder list;
	PGAlignedBlock buffers[2];
};

static BlockNumber
new_block(IndexBulk *bulk)
{
	BlockNumber block = bulk->next_block++;

	if (block >= bulk->extended)
	{
		bulk->extended = block + Min(Max(block / EXTEND_PART, 1), EXTEND_MAX_BLOCKS);
		pool_file_extend(&bulk->tree->file, bulk->extended);
	}
	return block;
}

static void
start_page(IndexBulk *bulk, int level, const CellSource *low)
{
	BulkLevel  *state = bulk->levels[level];
	CellSource	high = {.is_separator = true, .is_infinite = true, .child = InvalidBlockNumber};

	state->low_source = *low;
	state->low_source.child = InvalidBlockNumber;
	if (state->low != NULL)
		pfree(state->low);
	state->low = NULL;
	if (low->tuple != NULL)
		state->low_source.tuple = state->low = CopyIndexTuple(low->tuple);
	if (low->has_tid)
	{
		state->low_tid = low->tids[0];
		state->low_source.tids = &state->low_tid;
	}
	page_init((Page) state->page.data,
			  level == 0 ? ROWAN_PAGE_INDEX_LEAF : ROWAN_PAGE_INDEX_INNER, level, state->block,
			  bulk->file_id);
	ipage_init(bulk->tree->keys, (Page) state->page.data, &state->low_source, &high, NULL, NULL);
}

static void
start_level(IndexBulk *bulk, int level)
{
	CellSource	low = {.is_separator = true, .child = InvalidBlockNumber};

	if (level >= MAX_LEVELS)
		elog(ERROR, "index has too many levels");
	bulk->levels[level] = palloc0(sizeof(BulkLevel));
	bulk->levels[level]->block = new_block(bulk);
	bulk->nlevels = level + 1;
	start_page(bulk, level, &low);
}

static void
write_page(IndexBulk *bulk, Page source, BlockNumber block)
{
	PageChange	change;
	PoolFrame  *frame;
	Page		page;

	frame = pool_latch_new(&bulk->tree->file, block);
	change_begin(&change, &bulk->tree->file);
	page = change_page(&change, frame, true);
	memcpy(page, source, BLCKSZ);
	page_trailer(page)->self_block = block;
	change_commit(&change, InvalidTransactionId);
}

/* The finished page with its heads, which need its last entry to be chosen well. */
static void
finish_page(IndexBulk *bulk, int level, const CellSource *high, BlockNumber right_block,
			BlockNumber block)
{
	const KeyDesc *keys = bulk->tree->keys;
	BulkLevel  *state = bulk->levels[level];
	PGAlignedBlock done,
				first_buffer,
				last_buffer,
				buffer;
	Page		page = (Page) done.data;
	IndexTree	tree = *bulk->tree;
	PageView	view;
	IndexItem	first = {0},
				last = {0};
	int			nslots = page_nslots((Page) state->page.data);
	int			first_pos = SLOT_FIRST + (level > 0 ? 1 : 0);

	view_page(&view, &tree, (Page) state->page.data, NULL);
	if (first_pos < nslots)
	{
		view_item(&view, first_pos, &first, first_buffer.data);
		view_item(&view, nslots - 1, &last, last_buffer.data);
	}
	page_init(page, page_trailer(view.page)->type, level, block, bulk->file_id);
	ipage_init(keys, page, &state->low_source, high, first.tuple, last.tuple);
	page_trailer(page)->right_block = right_block;
	for (int pos = SLOT_FIRST; pos < nslots; pos++)
	{
		uint16		size = 0;
		char	   *cell = page_cell(view.page, pos, &size);
		IndexItem	item;

		/* the same low fence: the cells' bytes can stay */
		view_item(&view, pos, &item, buffer.data);
		memcpy(page_insert_cell(page, pos, ipage_head(keys, page, item.tuple, item.natts),
								size),
			   cell, size);
	}
	write_page(bulk, page, block);
}

static void add_separator(IndexBulk *bulk, int level, const CellSource *separator);

/* Closes the level's page; what follows begins at the separator. */
static void
next_page(IndexBulk *bulk, int level, const CellSource *separator)
{
	BulkLevel  *state = bulk->levels[level];
	BlockNumber next = new_block(bulk);
	CellSource	link = *separator;

	if (level + 1 == bulk->nlevels)
	{
		CellSource	first = {.is_separator = true, .child = state->block};

		start_level(bulk, level + 1);
		add_separator(bulk, level + 1, &first);
	}
	finish_page(bulk, level, separator, next, state->block);
	state->block = next;
	start_page(bulk, level, separator);
	link.child = next;
	add_separator(bulk, level + 1, &link);
	CHECK_FOR_INTERRUPTS();
}

/* Bytes that the page would take with another cell, and with a high fence of its size. */
static bool
has_room(Page page, const CellSource *source, int fence_bytes, int limit)
{
	int			used = (int) ROWAN_PAGE_ROOM - page_free_bytes(page);
	CellPrefix	prefix;
	int			cell;

	cell_prefix(page, &prefix);
	cell = cell_encode(&prefix, source, NULL) + (int) sizeof(SlotData);
	if (used + cell + fence_bytes > (int) ROWAN_PAGE_ROOM)
		return false;
	return used + cell <= limit || page_nslots(page) <= SLOT_FIRST + 1;
}

static void
append(IndexBulk *bulk, int level, const CellSource *source)
{
	Page		page = (Page) bulk->levels[level]->page.data;

	if (!ipage_insert(bulk->tree->keys, page, page_nslots(page), source))
		elog(ERROR, "index entry does not fit on a page");
}

static void
add_separator(IndexBulk *bulk, int level, const CellSource *separator)
{
	BulkLevel  *state = bulk->levels[level];
	CellSource	first = *separator;

	if (has_room((Page) state->page.data, separator, INDEX_MAX_TUPLE, bulk->inner_limit) ||
		page_nslots((Page) state->page.data) <= SLOT_FIRST + 1)
	{
		append(bulk, level, separator);
		return;
	}
	next_page(bulk, level, separator);
	first.tuple = NULL;
	first.natts = 0;
	first.has_tid = false;
	append(bulk, level, &first);
}

static void
add_entry(IndexBulk *bulk, const CellSource *entry)
{
	const KeyDesc *keys = bulk->tree->keys;
	Page		page = (Page) bulk->levels[0]->page.data;
	int			fence = IndexTupleSize(entry->tuple) + FENCE_OVERHEAD;

	if (page_nslots(page) > SLOT_FIRST && !has_room(page, entry, fence, bulk->leaf_limit))
	{
		CellSource	separator;
		ItemPointerData tid;

		itree_choose_separator(keys, bulk->last, &bulk->last_tid, entry->tuple, &entry->tids[0],
							   &separator, &tid);
		next_page(bulk, 0, &separator);
		pfree(separator.tuple);
	}
	append(bulk, 0, entry);
	bulk->last = entry->tuple;
	bulk->last_tid = bulk->list.last;
}

/* ---- equal keys ---- */

static void
flush_pending(IndexBulk *bulk)
{
	CellSource	entry = {.tuple = bulk->pending};

	if (bulk->pending == NULL)
		return;
	posting_source(&bulk->list, &entry);
	add_entry(bulk, &entry);
	bulk->pending = NULL;
}

static bool
joins_pending(IndexBulk *bulk, const IndexItem *item)
{
	return bulk->deduplicate && bulk->pending != NULL &&
		key_equal_images(bulk->pending, item->tuple) &&
		(int) IndexTupleSize(item->tuple) + posting_size_with(&bulk->list, item) <
		INDEX_MAX_POSTING;
}

void
itree_bulk_add(IndexBulk *bulk, IndexTuple tuple)
{
	IndexItem	item = {.tuple = tuple, .tid = tuple->t_tid, .last_tid = tuple->t_tid, .ntids = 1};

	if (!joins_pending(bulk, &item))
	{
		flush_pending(bulk);
		bulk->pending = (IndexTuple)
			bulk->buffers[bulk->last == (IndexTuple) bulk->buffers[0].data].data;
		memcpy(bulk->pending, tuple, IndexTupleSize(tuple));
		posting_start(&bulk->list);
	}
	posting_add(&bulk->list, &item);
}

/* ---- begin and end ---- */

/* The file is empty but for header and root. */
IndexBulk *
itree_bulk_begin(const IndexTree *tree, int fillfactor, bool deduplicate)
{
	IndexBulk  *bulk = palloc0(sizeof(IndexBulk));
	FileHeaderData header;

	pool_prepare_write();
	itree_create(tree);
	space_read_header(&tree->file, &header);
	bulk->tree = tree;
	bulk->leaf_limit = (int) ROWAN_PAGE_ROOM * fillfactor / 100;
	bulk->inner_limit = (int) ROWAN_PAGE_ROOM * 70 / 100;
	bulk->deduplicate = deduplicate && tree->keys->equal_image;
	bulk->file_id = header.file_id;
	bulk->next_block = ROWAN_ROOT_BLOCK + 1;
	bulk->extended = header.high_water;
	start_level(bulk, 0);
	return bulk;
}

/* Root, then header: with it the pages are the tree's. */
static void
write_root(IndexBulk *bulk, int top)
{
	CellSource	high = {.is_separator = true, .is_infinite = true, .child = InvalidBlockNumber};
	PageChange	change;
	FileHeaderData *header;

	finish_page(bulk, top, &high, InvalidBlockNumber, ROWAN_ROOT_BLOCK);
	change_begin(&change, &bulk->tree->file);
	header = space_change_header(&change);
	header->high_water = bulk->next_block;
	change_commit(&change, InvalidTransactionId);
}

/*
 * The top level's page becomes the root.  It was given a block, which is then free: as the last one
 * that was given to a page it would be handed out again, otherwise it goes to the free list.
 */
void
itree_bulk_end(IndexBulk *bulk)
{
	CellSource	high = {.is_separator = true, .is_infinite = true, .child = InvalidBlockNumber};
	int			top = bulk->nlevels - 1;
	BlockNumber spare;

	flush_pending(bulk);
	top = bulk->nlevels - 1;
	for (int level = 0; level < top; level++)
		finish_page(bulk, level, &high, InvalidBlockNumber, bulk->levels[level]->block);
	spare = bulk->levels[top]->block;
	if (spare == bulk->next_block - 1)
		bulk->next_block--;
	else
		write_page(bulk, (Page) bulk->levels[top]->page.data, spare);
	write_root(bulk, top);
	if (spare < bulk->next_block)
	{
		PageChange	change;

		/* a latch of a page is taken before the header's */
		change_begin(&change, &bulk->tree->file);
		(void) change_page(&change, pool_latch(&bulk->tree->file, spare, LW_EXCLUSIVE), false);
		space_free(&change, spare);
		change_commit(&change, InvalidTransactionId);
	}
}
