/*
 * verify_table.c
 *	  rowan.verify(): everything that can be checked about a table, while others use it.
 *
 * Pages, links, fences and lists are checked by the tree layer; rows and version records here.
 * Takes AccessShareLock, as a query does: nobody cuts the file or moves pages to others' places
 * meanwhile, everything else goes on.
 *
 * A version is missing if somebody's snapshot may need it (I5).  That is asked after it was not
 * found: who needs it then has had his snapshot all the time, since no new snapshot needs what
 * could be removed before it was taken.  So what was removed rightly is never missed, however old
 * what we know of other transactions' horizon is.  Our own snapshot is registered before the first
 * page is read.
 *
 * On a standby a version goes without regard for its queries if none of them can need it, and which
 * ones those are does not show once they have gone (row/reclaim.c).  So there only versions that
 * may be taken back are missing; when it has become a primary, what was superseded since is, too.
 */
#include "postgres.h"

#include "access/relation.h"
#include "base/export.h"
#include "catalog/pg_class.h"
#include "funcapi.h"
#include "inspect/problems.h"
#include "inspect/result.h"
#include "inspect/verify_index.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "table/table.h"
#include "tree/verify.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

ROWAN_SQL_FUNCTION(rowan_verify);

/* So often a row that changes meanwhile is looked at again. */
#define ROW_ATTEMPTS	10

typedef struct Verify
{
	Problems   *problems;
	Relation	rel;
	RowTable	table;
	Snapshot	snapshot;
	const RowLayout *layout;
	RowWork    *work;
	Datum	   *values;
	bool	   *isnull;
	char	   *leaf;			/* BLCKSZ: a page copied again */
	char	   *cell;			/* BLCKSZ + 8: a row read again */
	BlockNumber block;			/* being checked */
} Verify;

static void
report_problem(BlockNumber block, const char *message, void *arg)
{
	problem_report(((Verify *) arg)->problems, block, message);
}

static void
report_damage(BlockNumber block, const PoolDamage *damage, void *arg)
{
	problem_report_damage(((Verify *) arg)->problems, block, damage);
}

static void
report_row(Verify *verify, RowId row, const char *message)
{
	report_problem(verify->block,
				   psprintf("row (%u,%u): %s", (BlockNumber) (row >> 8),
							(unsigned) (row & 0xFF) + 1, message), verify);
}

/* ---- pages that cannot be read ---- */

typedef struct RecordRead
{
	const PoolFile *file;
	BlockNumber block;
	uint16		offset;
	char	   *dest;
	bool		found;
} RecordRead;

static void
read_record_of(void *arg)
{
	RecordRead *read = arg;

	read->found = version_read(read->file, read->block, read->offset, read->dest);
}

/* The same, where the file header, which says whether there is such a block, cannot be read. */
static void
copy_record_of(void *arg)
{
	RecordRead *read = arg;
	PGAlignedBlock page;

	pool_read_copy(read->file, read->block, NULL, page.data);
	read->found = version_page_read((Page) page.data, read->offset, read->dest);
}

/* RowTable.read_record: a page that is damaged is reported, and has none. */
static bool
read_verified_record(void *arg, BlockNumber block, uint16 offset, char *dest)
{
	Verify	   *verify = arg;
	RecordRead	read = {.file = &verify->table.file, .block = block, .offset = offset,
	.dest = dest};
	PoolDamage	damage;

	if (pool_catch_damage(read_record_of, &read, &damage) ||
		pool_catch_damage(copy_record_of, &read, &damage))
		return read.found;
	report_damage(block, &damage, verify);
	return false;
}

/* ---- versions ---- */

/*
 * What an aborted transaction made may have other columns than the table: it may have altered that,
 * too.  Nobody reads it; its lengths were checked.  (A running one that altered the table would
 * have kept us out.)
 */
static void
check_data(Verify *verify, RowId row, const RowVersion *version)
{
	const RowData *data = &version->data;
	uint32		offset = 0;
	int			natts = Min(data->natts, verify->layout->natts);

	if (xid_state(version->meta.xid) == XID_ABORTED)
		return;
	if (data->natts > verify->layout->natts)
		report_row(verify, row, "it has more columns than the table");
	else if (!row_decode(verify->layout, data, 0, natts, &offset, verify->values, verify->isnull))
		report_row(verify, row, "its columns make no sense");
}

/* Another session has a snapshot that may not see what xid did. */
static bool
others_may_need(TransactionId xid)
{
	VirtualTransactionId *others;
	int			n;

	others = GetCurrentVirtualXIDs(xid, true, false, PROC_IN_VACUUM | PROC_IN_LOGICAL_DECODING, &n);
	pfree(others);
	return n > 0;
}

/*
 * Somebody needs the version before the one that xid made: because xid may roll back, or has, and a
 * writer will put the older one back; or because of his snapshot.  Others' snapshots don't see
 * temporary tables.
 */
static bool
older_is_needed(Verify *verify, TransactionId xid)
{
	if (xid_state(xid) != XID_COMMITTED)
		return true;
	/* it may have gone while this server was, or is, a standby */
	if (pool_may_be_replayed(xid))
		return false;
	if (XidInMVCCSnapshot(xid, verify->snapshot))
		return true;
	return !RelationUsesLocalBuffers(verify->rel) && others_may_need(xid);
}

/*
 * Every version that somebody may need is there, and makes sense.  False: one that is needed was
 * not there when we looked for it.
 */
static bool
check_chain(Verify *verify, RowId row, RowVersion *version)
{
	bool		gone;

	if (row_is_stub(&version->meta))
		return true;
	check_data(verify, row, version);
	while (!xid_visible_to_all(version->meta.xid, verify->table.horizon))
	{
		TransactionId xid = version->meta.xid;

		if (!row_step_older(&verify->table, row, version, verify->work, &gone))
			return !gone || !older_is_needed(verify, xid);
		check_data(verify, row, version);
	}
	return true;
}

/* ---- rows ---- */

/* The row in the page's copy. */
static bool
find_on_leaf(Verify *verify, Page leaf, RowId row, RowVersion *version)
{
	int			pos;

	if (page_check(leaf, verify->block) != NULL || !page_covers(leaf, 0, row))
		return false;
	pos = leaf_find(leaf, row);
	if (pos < 0)
		return false;
	(void) row_parse_slot(&verify->table.file, leaf, pos, version);
	return true;
}

/*
 * The row as it is now.  It is looked for on the page that it was on first: what is in the way of
 * searching the tree is found in its turn.
 */
typedef struct RowRead
{
	Verify	   *verify;
	RowId		row;
	RowVersion *version;
	bool		found;
} RowRead;

static void
read_row_again(void *arg)
{
	RowRead    *read = arg;
	Verify	   *verify = read->verify;

	pool_read_copy(&verify->table.file, verify->block, NULL, verify->leaf);
	read->found = find_on_leaf(verify, (Page) verify->leaf, read->row, read->version) ||
		row_read(&verify->table, read->row, NULL, verify->cell, read->version);
}

static bool
read_again(Verify *verify, RowId row, RowVersion *version)
{
	RowRead		read = {.verify = verify, .row = row, .version = version};
	PoolDamage	damage;

	return pool_catch_damage(read_row_again, &read, &damage) && read.found;
}

/*
 * A version that is needed was not there: because the row has changed since it was copied (a writer
 * took back what had been aborted), or it is lost.
 */
static void
check_row(Verify *verify, RowId row, RowVersion *version)
{
	for (int attempt = 0; attempt < ROW_ATTEMPTS; attempt++)
	{
		RowMeta		newest = version->meta;

		if (check_chain(verify, row, version) || !read_again(verify, row, version))
			return;
		if (row_same_newest(&newest, &version->meta))
		{
			report_row(verify, row, "an older version of it is missing");
			return;
		}
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- pages ---- */

static void
check_leaf(Page leaf, BlockNumber block, void *arg)
{
	Verify	   *verify = (Verify *) arg;
	PageTrailer trailer = page_trailer(leaf);
	bool		uniform = true;

	verify->block = block;
	for (int pos = 0; pos < page_nslots(leaf); pos++)
	{
		RowVersion	version;
		RowId		row = leaf_key(leaf, pos);
		uint16		size;
		char	   *cell = page_cell(leaf, pos, &size);

		CHECK_FOR_INTERRUPTS();
		if (cell == NULL ||
			!row_parse(cell, size, trailer->page_xid, trailer->page_cid, trailer->page_natts,
					   &version.meta, &version.data))
		{
			report_row(verify, row, "its cell makes no sense");
			continue;
		}
		row_version_init(&version, row);
		if (row_flags_own(version.meta.flags))
			uniform = false;
		if (row_needs_page_xid(version.meta.flags) &&
			!TransactionIdIsValid(trailer->page_xid))
			report_row(verify, row, "is made by the page's transaction, but the page says of none");
		if (row_is_stub(&version.meta) && (trailer->flags & PAGE_STUBS) == 0)
			report_row(verify, row, "is a stub, but the page says it has none");
		if ((version.meta.flags & ROW_LOCK) && (trailer->flags & PAGE_LOCKS) == 0)
			report_row(verify, row, "is locked, but the page says it has no locks");
		check_row(verify, row, &version);
	}
	if (!uniform && (trailer->flags & PAGE_UNIFORM))
		report_problem(block, "page says that it is uniform, but has rows with headers", verify);
	if (trailer->high_fence != TREE_KEY_MAX && trailer->next_delta != 0)
		report_problem(block, "page not at the right edge has a next row id", verify);
}

static void
check_version_page(Page page, BlockNumber block, void *arg)
{
	const VersionRecordData *record;
	uint16		offset = 0;
	TransactionId newest = page_trailer(page)->newest_xid;

	while ((record = version_page_next(page, &offset)) != NULL)
	{
		if (record->kind < VERSION_SAME_DATA || record->kind > VERSION_FULL ||
			record->tag > ROW_TAG_MAX || record->newer_tag > ROW_TAG_MAX)
			report_problem(block, psprintf("version record at %u makes no sense", offset), arg);
		if (TransactionIdFollows(record->superseder, newest))
			report_problem(block, psprintf("version record at %u is newer than its page says", offset),
						   arg);
	}
	if (offset != version_next_offset(page))
		report_problem(block, psprintf("version records end at %u", offset), arg);
}

/* ---- the function ---- */

static void
count_table_page(Page page, BlockNumber block, void *arg)
{
	progress_count_page(((Verify *) arg)->problems);
}

/* NULL: there is no such relation, and that is no error. */
static Relation
open_to_verify(Oid relid, bool may_be_gone)
{
	Relation	rel = may_be_gone ? try_relation_open(relid, AccessShareLock) :
		inspect_open_any(relid, AccessShareLock);

	if (may_be_gone && (rel == NULL || !rowan_relation_is_rowan(rel)))
	{
		if (rel != NULL)
			relation_close(rel, AccessShareLock);
		return NULL;
	}
	if (!rowan_relation_is_rowan(rel))
		verify_refuse(rel, "a Rowan table or index");
	verify_check_access(rel);
	return rel;
}

static void
verify_file(Verify *verify)
{
	TreeVerify	how = {
		.report = report_problem,
		.damaged = report_damage,
		.leaf_check = check_leaf,
		.version_check = check_version_page,
		.met = count_table_page,
		.arg = verify
	};

	verify->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	table_row_table(verify->rel, &verify->table);
	verify->table.read_record = read_verified_record;
	verify->table.read_arg = verify;
	verify->layout = row_layout_create(RelationGetDescr(verify->rel));
	verify->work = row_work_create();
	verify->values = palloc(sizeof(Datum) * Max(verify->layout->natts, 1));
	verify->isnull = palloc(sizeof(bool) * Max(verify->layout->natts, 1));
	verify->leaf = palloc(BLCKSZ);
	verify->cell = palloc(BLCKSZ + MAXIMUM_ALIGNOF);
	progress_begin(verify->problems, RelationGetRelid(verify->rel), &verify->table.file);
	(void) tree_verify(&verify->table.file, &how);
	progress_end();
	UnregisterSnapshot(verify->snapshot);
}

void
verify_table(Problems *problems, Oid relid, bool may_be_gone)
{
	Verify		verify = {.problems = problems, .rel = open_to_verify(relid, may_be_gone)};

	if (verify.rel == NULL)
		return;
	if (!verify_is_absent(verify.rel))
		verify_file(&verify);
	relation_close(verify.rel, AccessShareLock);
}

Datum
rowan_verify(PG_FUNCTION_ARGS)
{
	Problems	problems = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	Oid			relid;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation to verify must not be null")));
	relid = PG_GETARG_OID(0);
	InitMaterializedSRF(fcinfo, 0);
	if (get_rel_relkind(relid) == RELKIND_INDEX)
		verify_index(&problems, relid, false, false);
	else
		verify_table(&problems, relid, false);
	return (Datum) 0;
}
