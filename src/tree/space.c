/*
 * space.c
 *	  Pages of a file: initialisation, allocation, freeing.
 *
 * The free list is linked through the free pages themselves: header.free_head,
 * then right_block of each free page.  Latches: the file header, then a free page; both
 * are the last ones in latch order.  A file is extended under the header's latch
 * only, before the change that needs it can no longer fail; blocks at or beyond
 * high_water are zero pages and their content on disk never matters.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/fault.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "tree/descend.h"
#include "utils/memutils.h"

#define EXTEND_MIN_BLOCKS	8
#define EXTEND_MAX_BLOCKS	SPACE_MAX_SPARE_BLOCKS

/* ---- does the file exist ---- */

/*
 * Headers seen by this backend: as long as the frame still holds that version, the
 * file exists and has that high_water, and nothing need be looked up.
 */
#define KNOWN_HEADERS	16

typedef struct KnownHeader
{
	RelFileNode node;
	BackendId	backend;
	BlockNumber high_water;
	PoolFrame  *frame;			/* NULL: nothing known */
	uint64		version;
} KnownHeader;

static KnownHeader known_headers[KNOWN_HEADERS];

/* The entry that the file would have, and whether it is the file's and still true. */
static KnownHeader *
find_known_header(const PoolFile *file, bool *is_known)
{
	KnownHeader *known = &known_headers[node_relation(file->node) % KNOWN_HEADERS];
	PoolRead	read;

	*is_known = known->frame != NULL && known->backend == file->backend &&
		RelFileNodeEquals(known->node, file->node) &&
		pool_read_again(file, ROWAN_HEADER_BLOCK, known->frame, known->version, &read) &&
		pool_read_end(&read);
	return known;
}

/* Reads the header of a file that has one. */
static void
learn_header(const PoolFile *file, KnownHeader *known)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		BlockNumber high_water;
		bool		latched;

		pool_read_begin(file, ROWAN_HEADER_BLOCK, attempt, NULL, &read);
		high_water = file_header(read.page)->high_water;
		latched = read.latched;
		if (pool_read_end(&read))
		{
			known->node = file->node;
			known->backend = file->backend;
			known->high_water = high_water;
			known->version = read.version;
			known->frame = latched ? NULL : read.frame;
			return;
		}
		CHECK_FOR_INTERRUPTS();
	}
}

/* A file that was extended, but whose initialisation never was committed, has an empty header page. */
static bool
header_is_initialised(const PoolFile *file)
{
	PoolFrame  *frame = pool_latch_redo(file, ROWAN_HEADER_BLOCK);
	bool		initialised = page_trailer(pool_page(frame))->magic == ROWAN_MAGIC;

	pool_unlatch(frame);
	return initialised;
}

bool
tree_exists(const PoolFile *file)
{
	bool		is_known;
	KnownHeader *known = find_known_header(file, &is_known);
	BlockNumber nblocks;

	if (is_known)
		return true;
	nblocks = pool_file_blocks(file);
	if (nblocks <= ROWAN_ROOT_BLOCK)
		return false;

	/* only an initialised file ever grows further */
	if (nblocks == ROWAN_ROOT_BLOCK + 1 && !header_is_initialised(file))
		return false;
	learn_header(file, known);
	return true;
}

bool
space_has_block(const PoolFile *file, BlockNumber block)
{
	bool		is_known;
	KnownHeader *known = find_known_header(file, &is_known);

	if (!is_known)
		learn_header(file, known);
	return block < known->high_water;
}

/* ---- initialisation ---- */

static void
init_header_page(Page page, uint32 file_id)
{
	FileHeaderData *header = file_header(page);

	page_init(page, ROWAN_PAGE_HEADER, 0, ROWAN_HEADER_BLOCK, file_id);
	((PageHeader) page)->pd_lower = ROWAN_PAGE_BODY + sizeof(FileHeaderData);
	header->file_id = file_id;
	header->tree_kind = ROWAN_TREE_TABLE;
	header->page_size_kb = BLCKSZ / 1024;
	header->high_water = ROWAN_ROOT_BLOCK + 1;
	header->free_head = InvalidBlockNumber;
	header->version_head = InvalidBlockNumber;
	header->version_tail = InvalidBlockNumber;
	for (int i = 0; i < ROWAN_ACTIVE_VERSION_PAGES; i++)
		header->version_active[i] = InvalidBlockNumber;
}

/*
 * Changes the root and the header, both new.  Redo: both pages are made anew.
 */
static void
init_file(const PoolFile *file)
{
	uint32		file_id = pg_prng_uint32(&pg_global_prng_state);
	PageChange	change;
	Page		page;

	change_begin(&change, file);
	page = change_page(&change, pool_latch_new(file, ROWAN_ROOT_BLOCK), true);
	page_init(page, ROWAN_PAGE_LEAF, 0, ROWAN_ROOT_BLOCK, file_id);
	page_trailer(page)->high_fence = TREE_KEY_MAX;
	page = change_page(&change, pool_latch_new(file, ROWAN_HEADER_BLOCK), true);
	init_header_page(page, file_id);
	FAULT_POINT(tree_create);
	change_commit(&change, InvalidTransactionId);
}

/*
 * Two backends may come here for the same file: the lock lets one of them extend and
 * initialise it, and the other one finds that done.
 */
void
tree_create(const PoolFile *file)
{
	LWLock	   *lock;

	if (tree_exists(file))
		return;
	pool_prepare_write();
	lock = pool_init_lock(file);
	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (!tree_exists(file))
	{
		if (pool_file_blocks(file) <= ROWAN_ROOT_BLOCK)
			pool_file_extend(file, ROWAN_ROOT_BLOCK + 1);
		init_file(file);
	}
	LWLockRelease(lock);
}

void
space_read_header(const PoolFile *file, FileHeaderData *header)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		bool		magic_is_right;

		pool_read_begin(file, ROWAN_HEADER_BLOCK, attempt, NULL, &read);
		magic_is_right = page_trailer(read.page)->magic == ROWAN_MAGIC &&
			page_trailer(read.page)->type == ROWAN_PAGE_HEADER;
		memcpy(header, file_header(read.page), sizeof(*header));
		if (pool_read_end(&read))
		{
			if (!magic_is_right)
				tree_corrupted(file, ROWAN_HEADER_BLOCK, "not a file header");
			return;
		}
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- allocation ---- */

/* The header's working copy, latching it if the change does not have it yet. */
static FileHeaderData *
header_in_change(PageChange *change)
{
	Page		page = change_find(change, ROWAN_HEADER_BLOCK);

	if (page == NULL)
	{
		PoolFrame  *frame = pool_latch(change->file, ROWAN_HEADER_BLOCK, LW_EXCLUSIVE);

		if (page_trailer(pool_page(frame))->magic != ROWAN_MAGIC ||
			page_trailer(pool_page(frame))->type != ROWAN_PAGE_HEADER)
			tree_corrupted(change->file, ROWAN_HEADER_BLOCK, "not a file header");
		page = change_page(change, frame, false);
	}
	return file_header(page);
}

static BlockNumber
checked_free_page(PageChange *change, FileHeaderData *header, BlockNumber block, Page page)
{
	PageTrailer trailer = page_trailer(page);

	if (trailer->magic != ROWAN_MAGIC || trailer->type != ROWAN_PAGE_FREE ||
		trailer->self_block != block || header->free_count == 0)
		tree_corrupted(change->file, block, "page on the free list is not free");
	return trailer->right_block;
}

static Page
take_free_page(PageChange *change, FileHeaderData *header, uint8 type, uint8 level,
			   BlockNumber *block)
{
	Page		page;

	*block = header->free_head;
	if (*block <= ROWAN_ROOT_BLOCK || *block >= header->high_water)
		tree_corrupted(change->file, ROWAN_HEADER_BLOCK, "free list leads out of the file");

	/* freed by this very change? */
	page = change_find(change, *block);
	if (page != NULL)
	{
		header->free_head = checked_free_page(change, header, *block, page);
		page_reset(page, type, level);
	}
	else
	{
		PoolFrame  *frame = pool_latch(change->file, *block, LW_EXCLUSIVE);

		header->free_head = checked_free_page(change, header, *block, pool_page(frame));
		page = change_page(change, frame, true);
		page_init(page, type, level, *block, header->file_id);
	}
	header->free_count--;
	return page;
}

/*
 * Extends in batches that grow with the file.  If the change fails afterwards, the
 * zero pages stay behind high_water and serve the next one.
 */
static void
extend_beyond(const PoolFile *file, BlockNumber block)
{
	BlockNumber nblocks = pool_file_blocks(file);
	BlockNumber batch;

	if (block < nblocks)
		return;
	batch = Min(Max(block / 16, EXTEND_MIN_BLOCKS), EXTEND_MAX_BLOCKS);
	if (batch > MaxBlockNumber - block)
		batch = 1;
	pool_file_extend(file, block + batch);
	FAULT_POINT(space_after_extend);
}

static Page
take_new_page(PageChange *change, FileHeaderData *header, uint8 type, uint8 level,
			  BlockNumber *block)
{
	Page		page;

	*block = header->high_water;
	if (*block >= MaxBlockNumber)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("relation %s cannot have more than %u blocks",
						compat_path(change->file->node, change->file->backend),
						MaxBlockNumber)));
	extend_beyond(change->file, *block);
	header->high_water++;
	page = change_page(change, pool_latch_new(change->file, *block), true);
	page_init(page, type, level, *block, header->file_id);
	return page;
}

Page
space_alloc(PageChange *change, uint8 type, uint8 level, BlockNumber *block)
{
	FileHeaderData *header = header_in_change(change);

	if (header->free_head != InvalidBlockNumber)
		return take_free_page(change, header, type, level, block);
	return take_new_page(change, header, type, level, block);
}

void
space_free(PageChange *change, BlockNumber block)
{
	FileHeaderData *header = header_in_change(change);
	Page		page = change_find(change, block);

	Assert(page != NULL);
	Assert(block > ROWAN_ROOT_BLOCK && block < header->high_water);
	page_reset(page, ROWAN_PAGE_FREE, 0);
	page_trailer(page)->right_block = header->free_head;
	header->free_head = block;
	header->free_count++;
}

/* ---- giving the end of the file back ---- */

static bool
block_is_free(const PoolFile *file, BlockNumber block, PoolRing *ring)
{
	for (int attempt = 0;; attempt++)
	{
		PoolRead	read;
		bool		is_free;

		pool_read_begin(file, block, attempt, ring, &read);
		is_free = page_trailer(read.page)->magic == ROWAN_MAGIC &&
			page_trailer(read.page)->type == ROWAN_PAGE_FREE;
		if (pool_read_end(&read))
			return is_free;
		CHECK_FOR_INTERRUPTS();
	}
}

BlockNumber
space_free_tail(const PoolFile *file, SpaceStop stop, void *arg)
{
	FileHeaderData header;
	PoolRing	ring = {0};
	BlockNumber tail;

	space_read_header(file, &header);
	tail = header.high_water;
	while (header.high_water - tail < header.free_count &&
		   block_is_free(file, tail - 1, &ring) && !stop(arg))
		tail--;
	return tail;
}

/*
 * The free list as it is being trimmed: places in it, 0 standing for the header, linked in
 * both directions.  Places whose successor changed are to be written.
 */
#define TRIM_MAX_TOUCHED	(CHANGE_MAX_PAGES - 1)

typedef struct TrimList
{
	const PoolFile *file;
	uint32		n;				/* places are 1..n */
	BlockNumber *block;			/* of a place */
	uint32	   *next;			/* 0: the end */
	uint32	   *prev;
	uint32	   *place;			/* of block tail + i */
	BlockNumber tail;
	BlockNumber high;			/* blocks from here on are off the list */
	BlockNumber written_high;	/* the same, in the file */
	int			ntouched;
	uint32		touched[TRIM_MAX_TOUCHED];
} TrimList;

static void *
trim_array(uint32 n)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, (Size) n * sizeof(uint32));
}

/* Reads the whole list; false if told to stop. */
static bool
trim_read_list(TrimList *list, const FileHeaderData *header, SpaceStop stop, void *arg)
{
	PoolRing	ring = {0};
	char	   *page = palloc(BLCKSZ);
	BlockNumber block = header->free_head;

	list->n = header->free_count;
	list->block = trim_array(list->n + 1);
	list->next = trim_array(list->n + 1);
	list->prev = trim_array(list->n + 1);
	list->place = trim_array(header->high_water - list->tail);
	memset(list->place, 0, (header->high_water - list->tail) * sizeof(uint32));
	for (uint32 i = 1; i <= list->n; i++)
	{
		if (stop(arg))
			return false;
		if (block <= ROWAN_ROOT_BLOCK || block >= header->high_water)
			tree_corrupted(list->file, ROWAN_HEADER_BLOCK, "free list leads out of the file");
		list->block[i] = block;
		list->prev[i] = i - 1;
		list->next[i - 1] = i;
		if (block >= list->tail)
			list->place[block - list->tail] = i;
		pool_read_copy(list->file, block, &ring, page);
		if (page_trailer(page)->type != ROWAN_PAGE_FREE)
			tree_corrupted(list->file, block, "page on the free list is not free");
		block = page_trailer(page)->right_block;
	}
	list->next[list->n] = 0;
	pfree(page);
	return true;
}

static int
trim_find_touched(TrimList *list, uint32 place)
{
	for (int i = 0; i < list->ntouched; i++)
		if (list->touched[i] == place)
			return i;
	return -1;
}

/*
 * Changes the header and the free pages whose successors left the list.
 */
static void
trim_write(TrimList *list)
{
	PageChange	change;
	FileHeaderData *header;
	uint32		first = list->next[0];

	if (list->high == list->written_high)
		return;
	change_begin(&change, list->file);
	header = header_in_change(&change);
	Assert(header->high_water == list->written_high);
	header->high_water = list->high;
	header->free_count -= list->written_high - list->high;
	header->free_head = first == 0 ? InvalidBlockNumber : list->block[first];
	for (int i = 0; i < list->ntouched; i++)
	{
		uint32		place = list->touched[i];
		uint32		next = list->next[place];
		Page		page = change_page(&change, pool_latch(list->file, list->block[place], LW_EXCLUSIVE),
									   false);

		page_trailer(page)->right_block = next == 0 ? InvalidBlockNumber : list->block[next];
	}
	change_commit(&change, InvalidTransactionId);
	list->written_high = list->high;
	list->ntouched = 0;
}

/* Takes the last block off the list; what is pending is written first if it grew too much. */
static void
trim_last_block(TrimList *list)
{
	uint32		place = list->place[list->high - 1 - list->tail];
	uint32		prev,
				next;
	int			was_touched;

	if (place == 0)
		tree_corrupted(list->file, list->high - 1, "free page is not on the free list");
	prev = list->prev[place];
	next = list->next[place];
	was_touched = trim_find_touched(list, place);
	if (was_touched >= 0)
		list->touched[was_touched] = list->touched[--list->ntouched];
	else if (list->ntouched == TRIM_MAX_TOUCHED)
		trim_write(list);
	if (prev != 0 && trim_find_touched(list, prev) < 0)
		list->touched[list->ntouched++] = prev;
	list->next[prev] = next;
	if (next != 0)
		list->prev[next] = prev;
	list->high--;
}

BlockNumber
space_trim(const PoolFile *file, BlockNumber tail, SpaceStop stop, void *arg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "Rowan free list",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	TrimList	list = {.file = file,.tail = tail};
	FileHeaderData header;

	space_read_header(file, &header);
	list.high = list.written_high = header.high_water;
	if (tail < header.high_water && trim_read_list(&list, &header, stop, arg))
	{
		while (list.high > tail && !stop(arg))
			trim_last_block(&list);
		trim_write(&list);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return list.written_high;
}
