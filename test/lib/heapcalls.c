/*
 * heapcalls.c
 *	  What extensions do with tables that they take for heap: one SQL function for core's functions for heaps, catalogs
 *	  and buffers.
 *
 * heap_call(what, relation, tid) calls one of them on a relation with columns (id int, s text); returns what it found.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(heap_call);

static HeapTuple
make_tuple(Relation rel)
{
	Datum		values[2] = {Int32GetDatum(-1), PointerGetDatum(cstring_to_text("alien"))};
	bool		nulls[2] = {false, false};

	return heap_form_tuple(RelationGetDescr(rel), values, nulls);
}

static void
insert_bulk(Relation rel, int options)
{
	BulkInsertState bistate = GetBulkInsertState();

	heap_insert(rel, make_tuple(rel), GetCurrentCommandId(true), options, bistate);
	FreeBulkInsertState(bistate);
}

static void
insert_many(Relation rel)
{
	TupleTableSlot *slots[3];

	for (int i = 0; i < 3; i++)
	{
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
		ExecStoreHeapTuple(make_tuple(rel), slots[i], false);
	}
	heap_multi_insert(rel, slots, 3, GetCurrentCommandId(true), 0, NULL);
}

static HeapTuple
make_tuple_at(Relation rel, ItemPointer tid)
{
	HeapTuple	tuple = make_tuple(rel);

	tuple->t_self = *tid;
	tuple->t_tableOid = RelationGetRelid(rel);
	return tuple;
}

static void
lock(Relation rel, ItemPointer tid)
{
	HeapTupleData tuple = {.t_self = *tid};
	Buffer		buffer;
	TM_FailureData failure;

	(void) heap_lock_tuple(rel, &tuple, GetCurrentCommandId(true), LockTupleExclusive, LockWaitBlock, false,
						   &buffer, &failure);
}

static void
fetch(Relation rel, ItemPointer tid)
{
	HeapTupleData tuple = {.t_self = *tid};
	Buffer		buffer;

	if (heap_fetch(rel, SnapshotAny, &tuple, &buffer, false))
		ReleaseBuffer(buffer);
}

/* As tables were scanned before there were access methods; and around the check in heap_getnext. */
static int
scan(Relation rel, bool by_slot)
{
	TableScanDesc scan = heap_beginscan(rel, GetActiveSnapshot(), 0, NULL, NULL, SO_TYPE_SEQSCAN);
	int			n = 0;

	if (by_slot)
	{
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsBufferHeapTuple);

		while (heap_getnextslot(scan, ForwardScanDirection, slot))
			n++;
	}
	else
		while (heap_getnext(scan, ForwardScanDirection) != NULL)
			n++;
	heap_endscan(scan);
	return n;
}

/* How catalogs are read; with what is done to the rows found.  Reading by itself is fit for all access methods. */
static int
scan_as_catalog(Relation rel, bool delete, bool update)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple	tuple;
	int			n = 0;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		n++;
		if (delete)
			CatalogTupleDelete(rel, &tuple->t_self);
		if (update)
			CatalogTupleUpdate(rel, &tuple->t_self, heap_copytuple(tuple));
	}
	systable_endscan(scan);
	return n;
}

static void
read_block(Relation rel, BlockNumber block, bool change)
{
	Buffer		buffer = ReadBuffer(rel, block);

	if (change)
	{
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		MarkBufferDirty(buffer);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	}
	ReleaseBuffer(buffer);
}

Datum
heap_call(PG_FUNCTION_ARGS)
{
	char	   *what = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Relation	rel = relation_open(PG_GETARG_OID(1), RowExclusiveLock);
	ItemPointer tid = (ItemPointer) PG_GETARG_POINTER(2);
	int			n = 0;

	if (strcmp(what, "simple_heap_insert") == 0)
		simple_heap_insert(rel, make_tuple(rel));
	else if (strcmp(what, "heap_insert") == 0)
		insert_bulk(rel, 0);
	else if (strcmp(what, "heap_insert_skip_fsm") == 0)
		insert_bulk(rel, HEAP_INSERT_SKIP_FSM);
	else if (strcmp(what, "heap_multi_insert") == 0)
		insert_many(rel);
	else if (strcmp(what, "CatalogTupleInsert") == 0)
		CatalogTupleInsert(rel, make_tuple(rel));
	else if (strcmp(what, "simple_heap_update") == 0)
		simple_heap_update(rel, tid, make_tuple_at(rel, tid));
	else if (strcmp(what, "simple_heap_delete") == 0)
		simple_heap_delete(rel, tid);
	else if (strcmp(what, "CatalogTupleUpdate") == 0)
		CatalogTupleUpdate(rel, tid, make_tuple_at(rel, tid));
	else if (strcmp(what, "CatalogTupleDelete") == 0)
		CatalogTupleDelete(rel, tid);
	else if (strcmp(what, "heap_inplace_update") == 0)
		heap_inplace_update(rel, make_tuple_at(rel, tid));
	else if (strcmp(what, "heap_lock_tuple") == 0)
		lock(rel, tid);
	else if (strcmp(what, "heap_fetch") == 0)
		fetch(rel, tid);
	else if (strcmp(what, "heap_getnext") == 0)
		n = scan(rel, false);
	else if (strcmp(what, "heap_getnextslot") == 0)
		n = scan(rel, true);
	else if (strcmp(what, "systable_getnext") == 0)
		n = scan_as_catalog(rel, false, false);
	else if (strcmp(what, "systable_getnext and CatalogTupleDelete") == 0)
		n = scan_as_catalog(rel, true, false);
	else if (strcmp(what, "systable_getnext and CatalogTupleUpdate") == 0)
		n = scan_as_catalog(rel, false, true);
	else if (strcmp(what, "ReadBuffer") == 0)
		read_block(rel, ItemPointerGetBlockNumberNoCheck(tid), false);
	else if (strcmp(what, "ReadBuffer and MarkBufferDirty") == 0)
		read_block(rel, ItemPointerGetBlockNumberNoCheck(tid), true);
	else
		elog(ERROR, "heap_call: unknown function %s", what);
	relation_close(rel, RowExclusiveLock);
	PG_RETURN_INT32(n);
}
