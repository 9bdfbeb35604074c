/*
 * salvage.c
 *	  rowan.salvage(): copies the rows of a damaged table that can be read into another, and says
 *	  what is missing.
 *
 * Which leaves there are is found out without the tree (tree/remains.h).  A row is copied from its
 * leaf, older versions from their pages, all of them by copies that raise no errors; what is in the
 * way of one row is a finding, and the next row has its turn.
 *
 * Writers are kept away (ShareLock): so the file stands still, and a version that is not found is
 * lost, for nobody removes versions meanwhile.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/relation.h"
#include "base/attempt.h"
#include "base/export.h"
#include "catalog/pg_class.h"
#include "funcapi.h"
#include "inspect/result.h"
#include "inspect/salvage.h"
#include "miscadmin.h"
#include "storage/predicate.h"
#include "table/table.h"
#include "tree/remains.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

ROWAN_SQL_FUNCTION(rowan_salvage);

typedef enum SalvageVersions
{
	SALVAGE_VISIBLE,			/* what the snapshot sees */
	SALVAGE_DELETED,			/* the newest of each row, deleted or not */
	SALVAGE_ALL					/* each version that ever was committed, and is still there */
} SalvageVersions;

enum
{
	FINDING_SEVERITY,
	FINDING_BLOCK,
	FINDING_PROBLEM,
	FINDING_FIRST_ROW,
	FINDING_LAST_ROW
};

typedef struct Salvage
{
	FunctionCallInfo fcinfo;
	SalvageVersions versions;
	Relation	source;
	Relation	target;
	RowTable	table;
	Snapshot	snapshot;
	const RowLayout *layout;
	TreeRemains *remains;
	SalvageStore *store;
	RowWork    *work;
	TupleTableSlot *slot;
	MemoryContext row_context;
	Size		row_bytes;		/* of the row being copied */
	BlockNumber block;			/* its leaf */
	BlockNumber version_block;	/* in version_page, or Invalid */
	const char *version_problem;
	PGAlignedBlock leaf;
	PGAlignedBlock version_page;
} Salvage;

/* ---- findings ---- */

static void
set_row_id(ResultRow *result, int column, RowId row)
{
	if (row < ROW_ID_LIMIT)
		inspect_set_tid(result, column, row_logical_block(row), (row & 0xFF) + 1);
}

static void
put_finding(Salvage *salvage, const char *severity, BlockNumber block, const char *problem,
			RowId first, RowId last)
{
	ResultRow	result;

	clear_row(&result);
	set_text(&result, FINDING_SEVERITY, severity);
	set_block(&result, FINDING_BLOCK, block);
	set_text(&result, FINDING_PROBLEM, problem);
	set_row_id(&result, FINDING_FIRST_ROW, first);
	set_row_id(&result, FINDING_LAST_ROW, last);
	inspect_put_row(salvage->fcinfo, &result);
}

static void
put_row_finding(Salvage *salvage, BlockNumber block, RowId row, const char *problem)
{
	put_finding(salvage, "error", block, problem, row, row);
}

static void
put_remains_finding(const RemainsFinding *finding, void *arg)
{
	if (finding->rows_missing)
		put_finding(arg, "error", finding->block, finding->problem, finding->low,
					finding->high == TREE_KEY_MAX ? ROW_ID_LIMIT : finding->high - 1);
	else
		put_finding(arg, "warning", finding->block, finding->problem, ROW_ID_LIMIT, ROW_ID_LIMIT);
}

/* ---- older versions ---- */

/* RowTable.read_record */
static bool
read_salvaged_record(void *arg, BlockNumber block, uint16 offset, char *dest)
{
	Salvage    *salvage = arg;

	if (block != salvage->version_block)
	{
		MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(salvage));

		salvage->version_block = block;
		salvage->version_problem = remains_copy(salvage->remains, block, ROWAN_PAGE_VERSION,
												salvage->version_page.data);
		MemoryContextSwitchTo(caller);
	}
	return salvage->version_problem == NULL &&
		version_page_read((Page) salvage->version_page.data, offset, dest);
}

/* The version before that one is needed, and was not found. */
static void
put_missing_version(Salvage *salvage, RowId row, const RowMeta *newer)
{
	const char *reason = "its record is not there";

	if (salvage->version_block == newer->older_block && salvage->version_problem != NULL)
		reason = salvage->version_problem;
	put_row_finding(salvage, newer->older_block, row,
					psprintf("the version of the row that is wanted was here: %s", reason));
}

/* ---- values out of line ---- */

/* Errors that are due to what is stored. */
static bool
is_damage(int code)
{
	return ERRCODE_TO_CATEGORY(code) == ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR) ||
		ERRCODE_TO_CATEGORY(code) == ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR);
}

/*
 * Brings the row's values in line, compressed as they are; that they can be read, too, is tried:
 * without checksums of the server's, that alone may tell of damage.
 */
static void
fetch_values(void *arg)
{
	Salvage    *salvage = arg;
	TupleTableSlot *slot = salvage->slot;

	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		struct varlena *value;

		if (TupleDescAttr(slot->tts_tupleDescriptor, i)->attlen != -1 || slot->tts_isnull[i] ||
			!VARATT_IS_EXTERNAL(DatumGetPointer(slot->tts_values[i])))
			continue;
		value = detoast_external_attr((struct varlena *) DatumGetPointer(slot->tts_values[i]));
		if (VARATT_IS_COMPRESSED(value))
			pfree(detoast_attr(value));
		salvage->row_bytes += VARSIZE_ANY(value);
		slot->tts_values[i] = PointerGetDatum(value);
	}
}

/* What the error says if that fails because of damage, or NULL. */
static const char *
fetch_problem(Salvage *salvage)
{
	ErrorData  *error = attempt(fetch_values, salvage);

	if (error == NULL)
		return NULL;
	if (!is_damage(error->sqlerrcode))
		ReThrowError(error);
	return error->message;
}

/* ---- rows ---- */

/* The version's columns make no sense: why, or NULL. */
static const char *
content_problem(Salvage *salvage, const RowVersion *version)
{
	TupleTableSlot *slot = salvage->slot;
	uint32		offset = 0;

	if (version->data.natts > salvage->layout->natts)
		return "it has more columns than the table";
	if (!row_decode(salvage->layout, &version->data, 0, version->data.natts, &offset,
					slot->tts_values, slot->tts_isnull))
		return "its columns make no sense";
	return NULL;
}

static void
salvage_version(Salvage *salvage, RowId row, const RowVersion *version)
{
	TupleTableSlot *slot = salvage->slot;
	const char *problem = content_problem(salvage, version);

	if (problem != NULL)
	{
		put_row_finding(salvage, salvage->block, row, problem);
		return;
	}
	table_store_version(salvage->source, slot, row, version, false);
	slot_getallattrs(slot);
	salvage->row_bytes = version->data.size;
	if (version->data.flags & ROW_EXTERNAL)
		problem = fetch_problem(salvage);
	if (problem == NULL)
		salvage_store_row(salvage->store, slot->tts_values, slot->tts_isnull,
						  salvage->row_bytes);
	else
		put_row_finding(salvage, salvage->block, row,
						psprintf("a value out of line cannot be read: %s", problem));
	ExecClearTuple(slot);
}

static void
copy_visible(Salvage *salvage, RowId row, RowVersion *version)
{
	bool		gone;

	if (row_find_visible(&salvage->table, row, version, salvage->snapshot, salvage->work, &gone))
		salvage_version(salvage, row, version);
	else if (gone)
		put_missing_version(salvage, row, &version->meta);
}

static bool
has_committed(const RowVersion *version)
{
	XidState	state = xid_state(version->meta.xid);

	return state == XID_COMMITTED || state == XID_OWN;
}

/* Steps over versions that were undone; false: there is no other. */
static bool
find_committed(Salvage *salvage, RowId row, RowVersion *version)
{
	while (!has_committed(version))
	{
		bool		gone;

		if (row_step_older(&salvage->table, row, version, salvage->work, &gone))
			continue;
		if (gone)
			put_missing_version(salvage, row, &version->meta);
		return false;
	}
	return true;
}

/* A row that has moved is another one now. */
static void
copy_newest(Salvage *salvage, RowId row, RowVersion *version)
{
	if (!find_committed(salvage, row, version))
		return;
	if (version->meta.flags & ROW_DELETED)
	{
		if (version->meta.flags & ROW_FORWARD)
			return;
		row_undelete(&salvage->table, row, version, salvage->work);
	}
	salvage_version(salvage, row, version);
}

/* Older versions end where they were removed because nobody could see them any more. */
static void
copy_all(Salvage *salvage, RowId row, RowVersion *version)
{
	bool		gone;

	if (!find_committed(salvage, row, version))
		return;
	if (version->meta.flags & ROW_DELETED)
		row_undelete(&salvage->table, row, version, salvage->work);
	do
		salvage_version(salvage, row, version);
	while (row_step_older(&salvage->table, row, version, salvage->work, &gone));
}

static void
salvage_row(Salvage *salvage, RowId row, RowVersion *version)
{
	MemoryContext caller = MemoryContextSwitchTo(salvage->row_context);

	switch (salvage->versions)
	{
		case SALVAGE_VISIBLE:
			copy_visible(salvage, row, version);
			break;
		case SALVAGE_DELETED:
			copy_newest(salvage, row, version);
			break;
		case SALVAGE_ALL:
			copy_all(salvage, row, version);
			break;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(salvage->row_context);
}

/* ---- leaves ---- */

static void
salvage_slot(Salvage *salvage, Page leaf, int pos)
{
	PageTrailer trailer = page_trailer(leaf);
	RowId		row = leaf_key(leaf, pos);
	RowVersion	version;
	uint16		size;
	char	   *cell = page_cell(leaf, pos, &size);

	if (cell == NULL || !row_parse(cell, size, trailer->page_xid, trailer->page_cid,
								   trailer->page_natts, &version.meta, &version.data))
	{
		put_row_finding(salvage, salvage->block, row, "its cell makes no sense");
		return;
	}
	if (row_is_stub(&version.meta))
		return;
	row_version_init(&version, row);
	salvage_row(salvage, row, &version);
}

static void
salvage_leaf(Salvage *salvage, const RemainingLeaf *leaf)
{
	Page		page = (Page) salvage->leaf.data;
	const char *problem = remains_copy(salvage->remains, leaf->block, ROWAN_PAGE_LEAF, page);

	salvage->block = leaf->block;
	if (problem != NULL)
	{
		RemainsFinding finding = {.block = leaf->block, .problem = problem,
		.rows_missing = true, .low = leaf->low, .high = leaf->high};

		put_remains_finding(&finding, salvage);
		return;
	}
	for (int pos = 0; pos < page_nslots(page); pos++)
	{
		CHECK_FOR_INTERRUPTS();
		salvage_slot(salvage, page, pos);
	}
}

/* ---- the function ---- */

static SalvageVersions
versions_by_name(const char *name)
{
	if (strcmp(name, "visible") == 0)
		return SALVAGE_VISIBLE;
	if (strcmp(name, "deleted") == 0)
		return SALVAGE_DELETED;
	if (strcmp(name, "all") == 0)
		return SALVAGE_ALL;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized versions \"%s\"", name),
			 errhint("Say \"visible\", \"deleted\" or \"all\".")));
}

static Relation
open_target(Oid relid, Oid source)
{
	Relation	rel = inspect_open_any(relid, RowExclusiveLock);

	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(rel)),
				 errdetail_relkind_not_supported(rel->rd_rel->relkind)));
	if (relid == source)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot copy the rows of table \"%s\" into itself",
						RelationGetRelationName(rel))));
	return rel;
}

static void
prepare_salvage(Salvage *salvage)
{
	Relation	source = salvage->source;

	/* under READ COMMITTED it is taken now, when the writers that we have waited for are gone */
	salvage->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	PredicateLockRelation(source, salvage->snapshot);
	table_row_table(source, &salvage->table);
	salvage->table.read_record = read_salvaged_record;
	salvage->table.read_arg = salvage;
	salvage->version_block = InvalidBlockNumber;
	salvage->layout = row_layout_create(RelationGetDescr(source));
	salvage->work = row_work_create();
	salvage->slot = MakeSingleTupleTableSlot(RelationGetDescr(source), &TTSOpsRowan);
	salvage->row_context = AllocSetContextCreate(CurrentMemoryContext, "Rowan salvage",
												 ALLOCSET_DEFAULT_SIZES);
}

static void
salvage_rows(Salvage *salvage)
{
	TreeRemains *remains = salvage->remains;
	uint64		stored;

	salvage->store = salvage_store_begin(salvage->source, salvage->target);
	for (uint64 i = 0; i < remains->nleaves; i++)
		salvage_leaf(salvage, &remains->leaves[i]);
	stored = salvage_store_end(salvage->store);
	put_finding(salvage, "notice", InvalidBlockNumber,
				psprintf("rows copied: %llu, from %llu leaves", (unsigned long long) stored,
						 (unsigned long long) remains->nleaves), ROW_ID_LIMIT, ROW_ID_LIMIT);
}

Datum
rowan_salvage(PG_FUNCTION_ARGS)
{
	Salvage    *salvage = palloc0(sizeof(Salvage));
	Oid			source = PG_GETARG_OID(0);
	Oid			target = PG_GETARG_OID(1);
	PoolFile	file;

	PreventCommandIfReadOnly("rowan.salvage()");
	inspect_require_owner(source);
	inspect_require_owner(target);
	/* nobody changes it meanwhile, nor does VACUUM */
	salvage->source = inspect_open_table(source, ShareLock, &file);
	salvage->target = open_target(target, source);
	inspect_require_owner(source);
	inspect_require_owner(target);
	salvage->versions = versions_by_name(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	salvage->fcinfo = fcinfo;
	InitMaterializedSRF(fcinfo, 0);
	prepare_salvage(salvage);
	salvage->remains = tree_remains(&file, put_remains_finding, salvage);
	salvage_rows(salvage);
	ExecDropSingleTupleTableSlot(salvage->slot);
	UnregisterSnapshot(salvage->snapshot);
	relation_close(salvage->target, NoLock);
	relation_close(salvage->source, NoLock);
	return (Datum) 0;
}
