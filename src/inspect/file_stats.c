/*
 * file_stats.c
 *	  SQL functions that look at whole files.
 *
 * Latches: only those that the pool takes for a copy or a flush.
 */
#include "postgres.h"

#include "access/relation.h"
#include "base/export.h"
#include "btree/btree.h"
#include "catalog/pg_type.h"
#include "inspect/result.h"
#include "miscadmin.h"
#include "table/table.h"
#include "tree/page.h"
#include "tree/tree.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "version/version.h"

ROWAN_SQL_FUNCTION(rowan_file_header);
ROWAN_SQL_FUNCTION(rowan_tree_stats);
ROWAN_SQL_FUNCTION(rowan_version_store_stats);
ROWAN_SQL_FUNCTION(rowan_flush);
ROWAN_SQL_FUNCTION(rowan_prewarm);

/* How many blocks rowan.prewarm announces to the operating system in advance. */
#define PREWARM_AHEAD_BLOCKS	32

/* ---- files ---- */

static ArrayType *
block_array(const BlockNumber *blocks, int n)
{
	Datum	   *elements = palloc(n * sizeof(Datum));
	int			found = 0;

	for (int i = 0; i < n; i++)
	{
		if (BlockNumberIsValid(blocks[i]))
			elements[found++] = Int64GetDatum((int64) blocks[i]);
	}
	return construct_array(elements, found, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
						   TYPALIGN_DOUBLE);
}

/*
 * The file header; NULL for a table without a row so far.
 */
Datum
rowan_file_header(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);
	bool		exists = tree_exists(&file);
	FileHeaderData header;
	ResultRow	row;
	int			column = 0;

	if (exists)
		space_read_header(&file, &header);
	relation_close(rel, AccessShareLock);
	if (!exists)
		PG_RETURN_NULL();

	clear_row(&row);
	set_bigint(&row, column++, header.file_id);
	set_int(&row, column++, header.tree_kind);
	set_int(&row, column++, header.page_size_kb);
	set_bigint(&row, column++, header.high_water);
	set_block(&row, column++, header.free_head);
	set_bigint(&row, column++, header.free_count);
	set_block(&row, column++, header.version_head);
	set_block(&row, column++, header.version_tail);
	set_bigint(&row, column++, header.version_count);
	set_datum(&row, column++,
			  PointerGetDatum(block_array(header.version_active, ROWAN_ACTIVE_VERSION_PAGES)));
	return inspect_row_result(fcinfo, &row);
}

Datum
rowan_tree_stats(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);
	TreeStat	stat;
	ResultRow	row;
	int			column = 0;

	if (index_is_rowan(rel))
		inspect_index_stat(rel, &stat);
	else
		tree_get_stat(&file, &stat);
	relation_close(rel, AccessShareLock);

	clear_row(&row);
	set_int(&row, column++, stat.height);
	set_bigint(&row, column++, stat.inner_pages);
	set_bigint(&row, column++, stat.leaf_pages);
	set_bigint(&row, column++, stat.version_pages);
	set_bigint(&row, column++, stat.free_pages);
	set_bigint(&row, column++, stat.unused_pages);
	set_bigint(&row, column++, stat.rows);
	set_bigint(&row, column++, stat.leaf_free_bytes);
	set_bigint(&row, column++, stat.leaf_dead_bytes);
	set_bigint(&row, column++, stat.leaf_slack_bytes);
	return inspect_row_result(fcinfo, &row);
}

typedef struct VersionStat
{
	uint64		pages,
				records,
				record_bytes;
	TransactionId oldest_xid,	/* superseding xids */
				newest_xid;
} VersionStat;

static void
count_version_page(Page page, VersionStat *stat)
{
	uint32		offset = ROWAN_PAGE_BODY;
	uint32		end = Min(((PageHeader) page)->pd_lower, ROWAN_PAGE_SPECIAL);
	const VersionRecordData *record;

	stat->pages++;
	while (offset < end && (record = inspect_version_record(page, offset, end)) != NULL)
	{
		TransactionId xid = record->superseder;

		stat->records++;
		stat->record_bytes += MAXALIGN(record->size);
		if (TransactionIdIsNormal(xid))
		{
			if (!TransactionIdIsValid(stat->oldest_xid) ||
				TransactionIdPrecedes(xid, stat->oldest_xid))
				stat->oldest_xid = xid;
			if (!TransactionIdIsValid(stat->newest_xid) ||
				TransactionIdPrecedes(stat->newest_xid, xid))
				stat->newest_xid = xid;
		}
		offset += MAXALIGN(record->size);
	}
}

/*
 * Walks the list of version pages, which may lose its head meanwhile: a page
 * that has become something else ends the walk, and a list can have no more
 * pages than the file.
 */
static void
count_versions(const PoolFile *file, BlockNumber block, VersionStat *stat)
{
	BlockNumber nblocks = pool_file_blocks(file);
	Page		page = palloc(BLCKSZ);

	while (BlockNumberIsValid(block) && block < nblocks && stat->pages < nblocks)
	{
		CHECK_FOR_INTERRUPTS();
		pool_read_copy(file, block, NULL, page);
		if (page_trailer(page)->type != ROWAN_PAGE_VERSION)
			break;
		count_version_page(page, stat);
		block = page_trailer(page)->right_block;
	}
	pfree(page);
}

Datum
rowan_version_store_stats(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open_table(PG_GETARG_OID(0), AccessShareLock, &file);
	FileHeaderData header;
	VersionStat stat;
	ResultRow	row;
	int			column = 0;

	memset(&stat, 0, sizeof(stat));
	if (tree_exists(&file))
	{
		space_read_header(&file, &header);
		count_versions(&file, header.version_head, &stat);
	}
	relation_close(rel, AccessShareLock);

	clear_row(&row);
	set_bigint(&row, column++, stat.pages);
	set_bigint(&row, column++, stat.records);
	set_bigint(&row, column++, stat.record_bytes);
	set_xid(&row, column++, stat.oldest_xid);
	set_xid(&row, column++, stat.newest_xid);
	return inspect_row_result(fcinfo, &row);
}

/* ---- files and the pool ---- */

Datum
rowan_flush(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);

	pool_flush_file(&file);
	relation_close(rel, AccessShareLock);
	PG_RETURN_VOID();
}

/* Loads every page that the file uses; returns how many. */
static int64
load_pages(const PoolFile *file)
{
	FileHeaderData header;
	BlockNumber nblocks;

	if (!tree_exists(file))
		return 0;
	space_read_header(file, &header);
	nblocks = Min(header.high_water, pool_file_blocks(file));
	for (BlockNumber block = 0; block < nblocks; block++)
	{
		PoolRead	read;

		CHECK_FOR_INTERRUPTS();
		if (block % PREWARM_AHEAD_BLOCKS == 0)
		{
			BlockNumber end = Min(nblocks, block + 2 * PREWARM_AHEAD_BLOCKS);

			for (BlockNumber ahead = block + PREWARM_AHEAD_BLOCKS; ahead < end; ahead++)
				pool_prefetch(file, ahead);
		}

		/* that the page was in the pool is all that matters */
		pool_read_begin(file, block, 0, NULL, &read);
		(void) pool_read_end(&read);
	}
	return nblocks;
}

Datum
rowan_prewarm(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);
	Oid			table = index_is_rowan(rel) ? rel->rd_index->indrelid : RelationGetRelid(rel);
	AclResult	acl = pg_class_aclcheck(table, GetUserId(), ACL_SELECT);
	int64		loaded;

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, get_relkind_objtype(rel->rd_rel->relkind),
					   RelationGetRelationName(rel));
	loaded = load_pages(&file);
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(loaded);
}
