/*
 * result.c
 *	  What inspection functions share: opening relations, copies of pages, and result rows.
 *
 * Latches: only those that the pool takes for a copy.
 */
#include "postgres.h"

#include "access/relation.h"
#include "base/checksum.h"
#include "btree/btree.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "inspect/result.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "table/table.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* ---- opening ---- */

static void
refuse_relation(Relation rel, bool tables_only)
{
	char		kind = rel->rd_rel->relkind;

	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 tables_only ?
			 errmsg("\"%s\" is not a Rowan table", RelationGetRelationName(rel)) :
			 errmsg("\"%s\" is not a Rowan table or index", RelationGetRelationName(rel)),
			 RELKIND_HAS_STORAGE(kind) && kind != RELKIND_SEQUENCE ? 0 :
			 errdetail_relkind_not_supported(kind),
			 RELKIND_HAS_PARTITIONS(kind) ? errhint("Name its partitions.") : 0));
}

static void
check_relation(Relation rel, bool tables_only)
{
	bool		is_table;

	is_table = rowan_relation_is_rowan(rel) && RELKIND_HAS_STORAGE(rel->rd_rel->relkind);
	if (!is_table && (tables_only || !index_is_rowan(rel)))
		refuse_relation(rel, tables_only);
	if (RELATION_IS_OTHER_TEMP(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary tables of other sessions")));
}

Relation
inspect_open_any(Oid relid, LOCKMODE lock)
{
	Relation	rel = try_relation_open(relid, lock);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return rel;
}

static Relation
open_for_looking(Oid relid, bool tables_only, LOCKMODE lock, PoolFile *file)
{
	Relation	rel = inspect_open_any(relid, lock);

	check_relation(rel, tables_only);
	table_pool_file(rel, file);
	return rel;
}

Relation
inspect_open_table(Oid relid, LOCKMODE lock, PoolFile *file)
{
	return open_for_looking(relid, true, lock, file);
}

Relation
inspect_open(Oid relid, PoolFile *file)
{
	return open_for_looking(relid, false, AccessShareLock, file);
}

Relation
inspect_open_if_free(Oid relid, PoolFile *file)
{
	Relation	rel;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return NULL;
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
	{
		UnlockRelationOid(relid, AccessShareLock);
		return NULL;
	}
	check_relation(rel, false);
	table_pool_file(rel, file);
	return rel;
}

void
inspect_require_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class class;

	if (!HeapTupleIsValid(tuple))
		return;
	class = (Form_pg_class) GETSTRUCT(tuple);
	if (!has_privs_of_role(GetUserId(), class->relowner))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(class->relkind),
					   NameStr(class->relname));
	ReleaseSysCache(tuple);
}

static BlockNumber
check_block(Relation rel, const PoolFile *file, int64 block)
{
	BlockNumber nblocks = pool_file_blocks(file);

	if (block < 0 || block >= (int64) nblocks)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("block %lld of \"%s\" does not exist",
						(long long) block, RelationGetRelationName(rel)),
				 errdetail("Its file has %u blocks.", nblocks)));
	if (pool_block_is_blank(file, (BlockNumber) block))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("block %lld of \"%s\" has no content",
						(long long) block, RelationGetRelationName(rel)),
				 errdetail("The file was made longer by it in advance, or what was written there is lost.")));
	return (BlockNumber) block;
}

Page
inspect_copy_page(Oid relid, int64 block)
{
	PoolFile	file;
	Relation	rel = inspect_open(relid, &file);
	BlockNumber checked = check_block(rel, &file, block);
	Page		page = palloc(BLCKSZ);

	pool_read_copy(&file, checked, NULL, page);
	if (!PageIsNew(page))
		page_set_checksums(page, checked);
	relation_close(rel, AccessShareLock);
	return page;
}

Page
inspect_page_from_bytes(bytea *bytes)
{
	Page		page;

	if (VARSIZE_ANY_EXHDR(bytes) != BLCKSZ)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid page size"),
				 errdetail("Expected %d bytes, got %d.",
						   BLCKSZ, (int) VARSIZE_ANY_EXHDR(bytes))));
	page = palloc(BLCKSZ);
	memcpy(page, VARDATA_ANY(bytes), BLCKSZ);
	return page;
}

/* ---- making SQL values of what is on a page ---- */

void
inspect_set_bytes(ResultRow *row, int column, const char *p, Size size)
{
	bytea	   *bytes = palloc(VARHDRSZ + size);

	SET_VARSIZE(bytes, VARHDRSZ + size);
	memcpy(VARDATA(bytes), p, size);
	set_datum(row, column, PointerGetDatum(bytes));
}

void
inspect_set_tid(ResultRow *row, int column, BlockNumber block, OffsetNumber offset)
{
	ItemPointer tid = palloc(sizeof(ItemPointerData));

	ItemPointerSet(tid, block, offset);
	set_datum(row, column, PointerGetDatum(tid));
}

void
inspect_set_flags(ResultRow *row, int column, uint16 flags, const FlagName *names)
{
	Datum		elements[17];
	int			n = 0;

	for (; names->name != NULL; names++)
	{
		if ((flags & names->flag) == 0)
			continue;
		elements[n++] = CStringGetTextDatum(names->name);
		flags &= ~names->flag;
	}
	if (flags != 0)
		elements[n++] = CStringGetTextDatum(psprintf("0x%04x", flags));
	set_datum(row, column,
			  PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT)));
}

/* ---- result rows ---- */

/* The single row of a function that returns a composite value. */
Datum
inspect_row_result(FunctionCallInfo fcinfo, ResultRow *row)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	Assert(desc->natts <= (int) lengthof(row->values));
	desc = BlessTupleDesc(desc);
	return HeapTupleGetDatum(heap_form_tuple(desc, row->values, row->isnull));
}

void
inspect_put_row(FunctionCallInfo fcinfo, ResultRow *row)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	Assert(rsinfo->setDesc->natts <= (int) lengthof(row->values));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row->values, row->isnull);
}
