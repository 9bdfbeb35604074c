/*
 * verify.c
 *	  rowan.verify(): everything that can be checked about a table.
 *
 * Pages, links, fences and lists are checked by the tree layer; rows and version records here.
 * Takes ShareLock on the table (on a standby: AccessShareLock, and what is being replayed may show).
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "am/table.h"
#include "base/export.h"
#include "catalog/pg_class.h"
#include "funcapi.h"
#include "maint/verify_index.h"
#include "miscadmin.h"
#include "tree/verify.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

ROWAN_SQL_FUNCTION(rowan_verify);

typedef struct Verify
{
	Relation	rel;
	RowTable	table;
	const RowLayout *layout;
	RowWork    *work;
	Datum	   *values;
	bool	   *isnull;
	ReturnSetInfo *result;
	BlockNumber block;			/* being checked */
} Verify;

static void
report_problem(BlockNumber block, const char *message, void *arg)
{
	Verify	   *verify = (Verify *) arg;
	Datum		values[2];
	bool		isnull[2] = {block == InvalidBlockNumber, false};

	values[0] = Int64GetDatum(block);
	values[1] = CStringGetTextDatum(message);
	tuplestore_putvalues(verify->result->setResult, verify->result->setDesc, values, isnull);
}

static void
report_row(Verify *verify, RowId row, const char *message)
{
	report_problem(verify->block,
				   psprintf("row (%u,%u): %s", (BlockNumber) (row >> 8),
							(unsigned) (row & 0xFF) + 1, message), verify);
}

static void
check_data(Verify *verify, RowId row, const RowData *data)
{
	uint32		offset = 0;
	int			natts = Min(data->natts, verify->layout->natts);

	if (data->natts > verify->layout->natts)
		report_row(verify, row, "it has more columns than the table");
	else if (!row_decode(verify->layout, data, 0, natts, &offset, verify->values, verify->isnull))
		report_row(verify, row, "its columns make no sense");
}

/* Every version that somebody may need is there, and makes sense. */
static void
check_chain(Verify *verify, RowId row, RowVersion *version)
{
	bool		gone;

	if (row_is_stub(&version->meta))
		return;
	check_data(verify, row, &version->data);
	while (!xid_visible_to_all(version->meta.xid, verify->table.horizon))
	{
		if (!row_step_older(&verify->table, row, version, verify->work, &gone))
		{
			/* reclaimed while we looked: its maker became visible to all */
			if (gone && !xid_visible_to_all(version->meta.xid, verify->table.horizon))
				report_row(verify, row, "an older version of it is missing");
			return;
		}
		check_data(verify, row, &version->data);
	}
}

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
		if ((version.meta.flags & ROW_PAGE_XID) && !row_flags_frozen(version.meta.flags) &&
			!TransactionIdIsValid(trailer->page_xid))
			report_row(verify, row, "is made by the page's transaction, but the page says of none");
		if (row_is_stub(&version.meta) && (trailer->flags & PAGE_STUBS) == 0)
			report_row(verify, row, "is a stub, but the page says it has none");
		if ((version.meta.flags & ROW_LOCK) && (trailer->flags & PAGE_LOCKS) == 0)
			report_row(verify, row, "is locked, but the page says it has no locks");
		check_chain(verify, row, &version);
	}
	if (!uniform && (trailer->flags & PAGE_UNIFORM))
		report_problem(block, "page says that it is uniform, but has rows with headers", verify);
	if (trailer->high_fence != TREE_KEY_MAX && trailer->next_key != 0)
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

Datum
rowan_verify(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	LOCKMODE	lock = RecoveryInProgress() ? AccessShareLock : ShareLock;
	Verify		verify;
	TreeVerify	how = {report_problem, check_leaf, check_version_page, &verify, NULL};

	InitMaterializedSRF(fcinfo, 0);
	memset(&verify, 0, sizeof(verify));
	if (get_rel_relkind(relid) == RELKIND_INDEX)
	{
		verify_index(fcinfo, relid, false);
		return (Datum) 0;
	}
	verify.rel = relation_open(relid, lock);
	if (!rowan_relation_is_rowan(verify.rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a Rowan table or index", RelationGetRelationName(verify.rel))));
	table_row_table(verify.rel, &verify.table);
	verify.layout = row_layout_create(RelationGetDescr(verify.rel));
	verify.work = row_work_create();
	verify.values = palloc(sizeof(Datum) * Max(verify.layout->natts, 1));
	verify.isnull = palloc(sizeof(bool) * Max(verify.layout->natts, 1));
	verify.result = (ReturnSetInfo *) fcinfo->resultinfo;
	if (tree_exists(&verify.table.file))
		(void) tree_verify(&verify.table.file, &how);
	relation_close(verify.rel, lock);
	return (Datum) 0;
}
