/*
 * storage.c
 *	  Files of tables: creation, truncation, copies; sizes for the planner.
 *
 * A file has its first pages from the start: where core's functions for heaps find no page, they
 * make one (I1).
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/xlog.h"
#include "base/preload.h"
#include "catalog/pg_am.h"
#include "catalog/storage.h"
#include "catalog/storage_xlog.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "storage/smgr.h"
#include "table/table.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* What core takes a table for that nothing is known about. */
#define GUESSED_PAGES	10

/* Per row, besides its data: slot and fixed header. */
#define ROW_OVERHEAD	(sizeof(SlotData) + sizeof(RowHeaderData))

void		(*table_size_is_asked) (Relation rel);

static void
create_init_fork(SMgrRelation srel, const PoolFile *file)
{
	smgrcreate(srel, INIT_FORKNUM, false);
	log_smgrcreate(&file->locator, INIT_FORKNUM);
	tree_create_table_init_fork(file);
}

void
rowan_set_new_filelocator(Relation rel, const RelFileLocator *locator, char persistence,
						  TransactionId *freeze_xid, MultiXactId *min_multi)
{
	PoolFile	file = {.locator = *locator, .backend = INVALID_PROC_NUMBER,
	.logged = persistence == RELPERSISTENCE_PERMANENT};
	SMgrRelation srel;

	rowan_require_preload();
	*freeze_xid = RecentXmin;
	*min_multi = GetOldestMultiXactId();
	srel = RelationCreateStorage(*locator, persistence, true);
	if (persistence == RELPERSISTENCE_TEMP)
		file.backend = ProcNumberForTempRelations();
	if (persistence == RELPERSISTENCE_UNLOGGED)
		create_init_fork(srel, &file);

	/*
	 * Frames of a file that had the name before and was never heard of again: tree_create
	 * forgets them, unless it takes the header that we know from it for the new file's.
	 */
	if (tree_exists(&file))
		pool_discard_file(&file, 0);
	tree_create(&file);
	smgrclose(srel);
}

void
rowan_nontransactional_truncate(Relation rel)
{
	PoolFile	file;

	table_pool_file(rel, &file);
	table_truncate_visibility(rel);
	tree_make_empty(&file);
}

/*
 * Copies every page through the pool, logged whole: core's own copy would log what shared_buffers
 * holds.
 */
static void
copy_main_fork(const PoolFile *from, const PoolFile *to)
{
	BlockNumber nblocks = pool_file_blocks(from);
	char	   *page = palloc(BLCKSZ);
	FileHeaderData header;

	if (!tree_exists(from))
	{
		tree_create(to);
		return;
	}
	space_read_header(from, &header);
	nblocks = Min(nblocks, header.high_water);
	pool_prepare_write();
	pool_file_extend(to, nblocks);
	for (BlockNumber block = 0; block < nblocks; block++)
	{
		PageChange	change;
		Page		copy;

		CHECK_FOR_INTERRUPTS();
		pool_read_copy(from, block, NULL, page);
		change_begin(&change, to);
		copy = change_page(&change, pool_latch_new(to, block), true);
		memcpy(copy, page, BLCKSZ);
		PageSetLSN(copy, InvalidXLogRecPtr);
		change_commit(&change, InvalidTransactionId);
	}
	pfree(page);
}

void
rowan_copy_data(Relation rel, const RelFileLocator *locator)
{
	SMgrRelation dst;
	PoolFile	from,
				to;

	table_pool_file(rel, &from);
	to = from;
	to.locator = *locator;
	dst = RelationCreateStorage(*locator, rel->rd_rel->relpersistence, true);
	pool_discard_file(&to, 0);
	copy_main_fork(&from, &to);
	FlushRelationBuffers(rel);	/* visibility map */
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		create_init_fork(dst, &to);
	for (ForkNumber fork = MAIN_FORKNUM + 1; fork < INIT_FORKNUM; fork++)
	{
		if (!smgrexists(RelationGetSmgr(rel), fork))
			continue;
		smgrcreate(dst, fork, false);
		if (RelationIsPermanent(rel))
			log_smgrcreate(locator, fork);
		RelationCopyStorage(RelationGetSmgr(rel), dst, fork, rel->rd_rel->relpersistence);
	}
	RelationDropStorage(rel);
	smgrclose(dst);
}

/* ---- sizes ---- */

static bool
has_brin_index(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;
	bool		found = false;

	foreach(cell, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(tuple))
			continue;
		found |= ((Form_pg_class) GETSTRUCT(tuple))->relam == BRIN_AM_OID;
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}

BlockNumber
table_pages_in_use(const PoolFile *file)
{
	FileHeaderData header;

	if (tree_is_empty_file(file))
		return 0;
	space_read_header(file, &header);
	return header.high_water;
}

/* Core's functions for heaps would find a file without pages, which they begin by adding one. */
static void
create_missing_tree(Relation rel, const PoolFile *file)
{
	if (!tree_exists(file) && !RELATION_IS_OTHER_TEMP(rel) && pool_can_write())
		tree_create(file);
}

/*
 * Core's functions for heaps come here before they insert, and read the last page.  They are to be
 * told that it is none of theirs (I1).  With this setting they would make a page of their own of
 * it.
 */
static void
refuse_to_zero_pages(Relation rel)
{
	if (zero_damaged_pages)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot tell the size of Rowan table \"%s\" while zero_damaged_pages is on",
						RelationGetRelationName(rel)),
				 errdetail("PostgreSQL's functions for heap tables would overwrite its pages."),
				 errhint("Set zero_damaged_pages to off.")));
}

/*
 * The range of block numbers.  Pages in use, which ANALYZE samples, not those that the file was
 * extended by in advance.  But with a BRIN index: logical blocks, since BRIN takes what comes from
 * here for the range of block numbers in TIDs; unless it is ANALYZE who asks.
 *
 * The last page is one of ours on disk, or the file ends before it; there is always one, but for
 * ANALYZE.
 */
uint64
rowan_relation_size(Relation rel, ForkNumber fork)
{
	PoolFile	file;
	FileHeaderData header;

	if (fork != MAIN_FORKNUM)
		return table_block_relation_size(rel, fork);
	if (table_size_is_asked != NULL)
		table_size_is_asked(rel);
	table_pool_file(rel, &file);
	if (table_is_being_sampled())
		return (uint64) table_pages_in_use(&file) * BLCKSZ;
	refuse_to_zero_pages(rel);
	create_missing_tree(rel, &file);
	if (!tree_exists(&file))
		return 0;
	if (table_blocks_are_logical(rel))
		return (uint64) Max(table_logical_blocks(&file), 1) * BLCKSZ;
	space_read_header(&file, &header);
	return (uint64) header.high_water * BLCKSZ;
}

bool
table_blocks_are_logical(Relation rel)
{
	return rel->rd_rel->relhasindex && !table_is_being_sampled() && has_brin_index(rel);
}

/* Rows on a full page, from the widths of the columns. */
static double
estimate_density(Relation rel, int32 *attr_widths)
{
	int32		width = get_rel_data_width(rel, attr_widths) + ROW_OVERHEAD;

	return (double) (ROWAN_PAGE_ROOM / width);
}

/*
 * Rows of a table nothing is known about: heap's guess for ten pages, rounding included, so that
 * plans do not differ between access methods where both are guessing.
 */
static double
guess_rows(Relation rel, int32 *attr_widths)
{
	int32		width = get_rel_data_width(rel, attr_widths) + MAXALIGN(SizeofHeapTupleHeader) +
		sizeof(ItemIdData);

	return (double) GUESSED_PAGES * ((BLCKSZ - SizeOfPageHeaderData) / width);
}

/*
 * The part of the table that index-only scans need not visit.  relallvisible counts logical blocks:
 * ANALYZE takes it from the visibility map.
 */
static double
visible_part(const PoolFile *file, BlockNumber all_visible)
{
	BlockNumber blocks;

	if (all_visible == 0 || !tree_exists(file))
		return 0;
	blocks = table_logical_blocks(file);
	return all_visible >= blocks ? 1.0 : (double) all_visible / blocks;
}

/*
 * In the unit of pg_class.relpages, which is what rowan_relation_size counts; 0 while the file is
 * as a new one.
 */
static BlockNumber
blocks_for_density(Relation rel, const PoolFile *file)
{
	BlockNumber pages = table_pages_in_use(file);

	return pages > 0 && table_blocks_are_logical(rel) ? table_logical_blocks(file) : pages;
}

/*
 * As table_block_relation_estimate_size, but pages are those a scan reads: not the file header,
 * free pages or the version store; while the density in pg_class refers to all that
 * rowan_relation_size counts.
 */
void
rowan_estimate_size(Relation rel, int32 *attr_widths, BlockNumber *pages, double *tuples,
					double *allvisfrac)
{
	BlockNumber relpages = (BlockNumber) rel->rd_rel->relpages;
	double		reltuples = rel->rd_rel->reltuples;
	BlockNumber blocks;
	BlockNumber scanned = 0;
	PoolFile	file;

	table_pool_file(rel, &file);
	blocks = blocks_for_density(rel, &file);
	if (blocks > 0)
	{
		FileHeaderData header;

		space_read_header(&file, &header);
		scanned = header.high_water - ROWAN_ROOT_BLOCK - header.free_count - header.version_count;
	}
	*allvisfrac = 0;
	*tuples = 0;
	*pages = scanned;
	if (scanned < GUESSED_PAGES && reltuples < 0 && !rel->rd_rel->relhassubclass)
	{
		/* never vacuumed or analyzed, it may well grow */
		*pages = GUESSED_PAGES;
		*tuples = rint(guess_rows(rel, attr_widths));
		return;
	}
	if (scanned == 0)
		return;
	/* ANALYZE gives a new file's pages as those of an empty table: no density follows from that */
	if (reltuples >= 0 && relpages > (reltuples > 0 ? 0 : ROWAN_ROOT_BLOCK + 1) && blocks > 0)
		*tuples = rint(reltuples / relpages * blocks);
	else
		*tuples = rint(estimate_density(rel, attr_widths) * scanned);
	*allvisfrac = visible_part(&file, (BlockNumber) rel->rd_rel->relallvisible);
}
