/*
 * space.c
 *	  Pages of a file: initialisation, allocation, freeing.
 *
 * The free list is linked through the free pages themselves: header.free_head, then right_block of
 * each free page.  Latches: the file header, then a free page; both are the last ones in latch
 * order.  A file is extended under the header's latch only, before the change that needs it can no
 * longer fail; blocks at or beyond high_water are unused or left pages, and their content on disk
 * never matters, but to core: there is no zero page.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/fault.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pool/file_cache.h"
#include "tree/idtree.h"

#define EXTEND_MIN_BLOCKS	8	/* but a very small file grows by half */
#define EXTEND_MAX_BLOCKS	128
#define EXTEND_PART			256 /* of the file, that is not used yet */

StaticAssertDecl(EXTEND_MAX_BLOCKS <= POOL_MAX_SPARE_BLOCKS, "a file has no more spare blocks");

/* ---- does the file exist ---- */

/*
 * Headers seen by this backend: as long as the frame still holds that version, the
 * file exists and has that high_water, and nothing need be looked up.
 */
typedef struct KnownHeader
{
	FileKey		key;
	BlockNumber high_water;
	PoolFrame  *frame;			/* NULL: nothing known */
	uint64		version;
} KnownHeader;

FILE_CACHE(known_headers, KnownHeader, 16);

/* What is known of the header, if it is still true, or NULL. */
static const KnownHeader *
find_known_header(const PoolFile *file)
{
	const KnownHeader *known = file_cache_find(&known_headers, file, 0);
	PoolRead	read;

	if (known != NULL && known->frame != NULL &&
		pool_read_again(known->frame, known->version, &read) && pool_read_end(&read))
		return known;
	return NULL;
}

/*
 * The header that was seen is in the same frame still, changed perhaps, as a busy table's is all
 * the time, or being changed.  Waits for nobody and looks at no file.
 */
static bool
header_is_where_it_was(const PoolFile *file)
{
	const KnownHeader *known = file_cache_find(&known_headers, file, 0);

	return known != NULL && known->frame != NULL &&
		page_trailer(pool_page(known->frame))->magic == ROWAN_MAGIC &&
		pool_is_in_frame(file, ROWAN_HEADER_BLOCK, known->frame);
}

/* Reads the header of a file that has one. */
static const KnownHeader *
learn_header(const PoolFile *file)
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
			KnownHeader *known = file_cache_make(&known_headers, file, 0);

			known->high_water = high_water;
			known->version = read.version;
			known->frame = latched ? NULL : read.frame;
			return known;
		}
		CHECK_FOR_INTERRUPTS();
	}
}

static bool
page_is_initialised(const PoolFile *file, BlockNumber block)
{
	PoolFrame  *frame = pool_latch_empty(file, block);
	bool		initialised = !page_has_no_content(pool_page(frame));

	pool_unlatch(frame);
	return initialised;
}

/*
 * Files are initialised when they are made.  Yet somebody may come upon one in between: redo, or a
 * build of an index that begins anew.  A file that was extended, but whose initialisation never was
 * committed, has nothing but unused pages.  If only some of the first two are empty or missing, the
 * file is damaged: it is said to exist, and whoever reads it meets the damage.
 */
bool
tree_exists(const PoolFile *file)
{
	BlockNumber nblocks;

	if (find_known_header(file) != NULL || header_is_where_it_was(file))
		return true;
	nblocks = pool_file_blocks(file);

	/* only an initialised file ever grows further */
	if (nblocks <= ROWAN_ROOT_BLOCK + 1)
	{
		bool		any = false;

		for (BlockNumber block = 0; block < nblocks && !any; block++)
			any = page_is_initialised(file, block);
		if (!any)
			return false;
	}
	(void) learn_header(file);
	return true;
}

bool
space_has_block(const PoolFile *file, BlockNumber block)
{
	const KnownHeader *known = find_known_header(file);

	if (known == NULL)
		known = learn_header(file);
	return block < known->high_water;
}

/* ---- initialisation ---- */

static void
init_header_page(Page page, uint32 file_id, uint16 tree_kind)
{
	FileHeaderData *header = file_header(page);

	page_init(page, ROWAN_PAGE_HEADER, 0, ROWAN_HEADER_BLOCK, file_id);
	((PageHeader) page)->pd_lower = ROWAN_PAGE_BODY + sizeof(FileHeaderData);
	header->file_id = file_id;
	header->tree_kind = tree_kind;
	header->page_size_kb = BLCKSZ / 1024;
	header->high_water = ROWAN_ROOT_BLOCK + 1;
	header->free_head = InvalidBlockNumber;
	header->version_head = InvalidBlockNumber;
	header->version_tail = InvalidBlockNumber;
	for (int i = 0; i < ROWAN_ACTIVE_VERSION_PAGES; i++)
		header->version_active[i] = InvalidBlockNumber;
}

static uint32
new_file_id(void)
{
	return pg_prng_uint32(&pg_global_prng_state);
}

/*
 * A page that may have content comes from the file: if the change fails, the pool has it as it was.
 */
static PoolFrame *
latch_first_page(const PoolFile *file, BlockNumber block, bool has_content)
{
	return has_content ? pool_latch(file, block, LW_EXCLUSIVE) : pool_latch_new(file, block);
}

/*
 * Changes the root and the header, both anew.  Redo: both pages are made anew.
 */
static void
init_file(const PoolFile *file, uint32 file_id, uint16 tree_kind, TreeRootInit init_root,
		  bool has_content)
{
	PageChange	change;
	Page		page;

	change_begin(&change, file);
	page = change_page(&change, latch_first_page(file, ROWAN_ROOT_BLOCK, has_content), true);
	init_root(page, file_id);
	page = change_page(&change, latch_first_page(file, ROWAN_HEADER_BLOCK, has_content), true);
	init_header_page(page, file_id, tree_kind);
	FAULT_POINT(tree_create);
	change_commit(&change, InvalidTransactionId);
	FAULT_POINT(tree_created);
}

/*
 * Two backends may come here for the same file: the lock lets one of them extend and
 * initialise it, and the other one finds that done.
 */
void
tree_create_kind(const PoolFile *file, uint16 tree_kind, TreeRootInit init_root)
{
	LWLock	   *lock;

	if (tree_exists(file))
		return;
	pool_prepare_write();
	lock = pool_init_lock(file);
	pool_assert_unlatched();
	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (!tree_exists(file))
	{
		if (pool_file_blocks(file) <= ROWAN_ROOT_BLOCK)
			pool_file_extend(file, ROWAN_ROOT_BLOCK + 1);
		init_file(file, new_file_id(), tree_kind, init_root, false);
	}
	LWLockRelease(lock);
}

void
tree_create_init_fork(const PoolFile *file, uint16 tree_kind, TreeRootInit init_root)
{
	PGIOAlignedBlock blocks[2];
	char	   *pages[] = {blocks[0].data, blocks[1].data};
	uint32		file_id = new_file_id();

	init_header_page((Page) pages[ROWAN_HEADER_BLOCK], file_id, tree_kind);
	init_root((Page) pages[ROWAN_ROOT_BLOCK], file_id);
	pool_write_init_fork(file, pages, lengthof(pages));
}

static void
init_table_root(Page page, uint32 file_id)
{
	page_init(page, ROWAN_PAGE_LEAF, 0, ROWAN_ROOT_BLOCK, file_id);
	page_trailer(page)->high_fence = TREE_KEY_MAX;
}

void
tree_create(const PoolFile *file)
{
	tree_create_kind(file, ROWAN_TREE_TABLE, init_table_root);
}

void
tree_create_table_init_fork(const PoolFile *file)
{
	tree_create_init_fork(file, ROWAN_TREE_TABLE, init_table_root);
}

/*
 * The file id stays: pages are compared with the one in the file, where the old header may
 * stand for a while.
 */
void
tree_make_empty(const PoolFile *file)
{
	FileHeaderData header;

	if (!tree_exists(file))
	{
		tree_create(file);
		return;
	}
	pool_prepare_write();
	space_read_header(file, &header);
	init_file(file, header.file_id, ROWAN_TREE_TABLE, init_table_root, true);
	pool_truncate_logged(file, ROWAN_ROOT_BLOCK + 1);
}

bool
tree_is_empty_file(const PoolFile *file)
{
	FileHeaderData header;
	char	   *page;
	bool		empty;

	if (!tree_exists(file))
		return true;
	space_read_header(file, &header);
	if (header.high_water > ROWAN_ROOT_BLOCK + 1)
		return false;
	page = palloc(BLCKSZ);
	pool_read_copy(file, ROWAN_ROOT_BLOCK, NULL, page);
	empty = page_trailer(page)->type == ROWAN_PAGE_LEAF && page_nslots((Page) page) == 0;
	pfree(page);
	return empty;
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

FileHeaderData *
space_change_header(PageChange *change)
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
 * unused pages stay behind high_water and serve the next one.
 */
static void
extend_beyond(const PoolFile *file, BlockNumber block)
{
	BlockNumber nblocks = pool_file_blocks(file);
	BlockNumber batch;

	if (block < nblocks)
		return;
	if (block >= ROWAN_MAX_BLOCKS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("cannot extend relation %s beyond %u blocks",
						file_path(file->locator, file->backend), ROWAN_MAX_BLOCKS),
				 errhint("Partition the table.")));
	batch = Max(block / EXTEND_PART, Min((block + 1) / 2, EXTEND_MIN_BLOCKS));
	batch = Min(batch, EXTEND_MAX_BLOCKS);
	pool_file_extend(file, Min(block + batch, ROWAN_MAX_BLOCKS));
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
						file_path(change->file->locator, change->file->backend),
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
	FileHeaderData *header = space_change_header(change);

	if (header->free_head != InvalidBlockNumber)
		return take_free_page(change, header, type, level, block);
	return take_new_page(change, header, type, level, block);
}

void
space_free(PageChange *change, BlockNumber block)
{
	FileHeaderData *header = space_change_header(change);
	Page		page = change_find(change, block);

	Assert(page != NULL);
	Assert(block > ROWAN_ROOT_BLOCK);	/* I-TREE-4 */
	if (block >= header->high_water)
		tree_corrupted(change->file, ROWAN_HEADER_BLOCK, "a page in use is beyond the end");
	page_reset(page, ROWAN_PAGE_FREE, 0);
	page_trailer(page)->right_block = header->free_head;
	header->free_head = block;
	header->free_count++;
}
