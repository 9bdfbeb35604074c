/*
 * decoding.c
 *	  Logical decoding and tables of ours: their changes are left out of it, TRUNCATE too, and none
 *	  of them serves as a catalog of it.
 *
 * Core logs TRUNCATE by itself, for all tables of a statement in one record, and decodes it.  A
 * subscriber would lose rows that it has never been sent the likes of; so the reorder buffer's
 * callbacks are wrapped, and tables of ours taken out of what they are given.  What decodes gets no
 * other hook, but RmgrTable is writable: the record is seen there, long before the transaction is
 * replayed.
 *
 * user_catalog_table asks for records by which decoding can see the table as it was.  We write
 * none.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam_xlog.h"
#include "access/reloptions.h"
#include "access/rmgr.h"
#include "access/table.h"
#include "access/xlog_internal.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "core/hooks.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"
#include "row/decode.h"
#include "table/table.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

/* ---- TRUNCATE ---- */

static void (*core_heap_decode) (LogicalDecodingContext *context, XLogRecordBuffer *buffer);

/* The same for all contexts: functions of logical.c. */
static ReorderBufferApplyTruncateCB core_apply_truncate;
static ReorderBufferStreamTruncateCB core_stream_truncate;

/* Moves the tables that are not ours to the front; returns their number. */
static int
keep_decoded(ReorderBuffer *buffer, ReorderBufferTXN *txn, int n, Relation *relations,
			 ReorderBufferChange *change, Relation *kept)
{
	int			nkept = 0;

	for (int i = 0; i < n; i++)
		if (!rowan_relation_is_rowan(relations[i]))
			kept[nkept++] = relations[i];
	if (nkept < n)
		decode_warn(buffer->private_data, txn->xid, change->lsn);
	return nkept;
}

/* Streamed or not: core's callbacks for the two are of one type, but for its name. */
static void
truncate_others(ReorderBufferApplyTruncateCB core, ReorderBuffer *buffer, ReorderBufferTXN *txn,
				int n, Relation *relations, ReorderBufferChange *change)
{
	Relation   *kept = palloc(Max(n, 1) * sizeof(Relation));
	int			nkept = keep_decoded(buffer, txn, n, relations, change, kept);

	if (nkept > 0)
		core(buffer, txn, nkept, kept, change);
	pfree(kept);
}

static void
apply_truncate(ReorderBuffer *buffer, ReorderBufferTXN *txn, int n, Relation relations[],
			   ReorderBufferChange *change)
{
	truncate_others(core_apply_truncate, buffer, txn, n, relations, change);
}

static void
stream_truncate(ReorderBuffer *buffer, ReorderBufferTXN *txn, int n, Relation relations[],
				ReorderBufferChange *change)
{
	truncate_others(core_stream_truncate, buffer, txn, n, relations, change);
}

static void
heap_decode_wrapper(LogicalDecodingContext *context, XLogRecordBuffer *buffer)
{
	uint8		info = XLogRecGetInfo(buffer->record) & XLOG_HEAP_OPMASK;
	ReorderBuffer *reorder = context->reorder;

	if (info == XLOG_HEAP_TRUNCATE && reorder->apply_truncate != apply_truncate)
	{
		core_apply_truncate = reorder->apply_truncate;
		core_stream_truncate = reorder->stream_truncate;
		reorder->apply_truncate = apply_truncate;
		reorder->stream_truncate = stream_truncate;
	}
	core_heap_decode(context, buffer);
}

/* ---- user_catalog_table ---- */

static object_access_hook_type next_object_access;

static void
refuse_catalog_table(TupleDesc desc, HeapTuple tuple)
{
	Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);
	StdRdOptions *options;

	if (form->relkind != RELKIND_RELATION && form->relkind != RELKIND_MATVIEW)
		return;
	options = (StdRdOptions *) extractRelOptions(tuple, desc, NULL);
	if (options != NULL && options->user_catalog_table && rowan_method_is_rowan(form->relam))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("access method \"%s\" does not support option \"user_catalog_table\"", get_am_name(form->relam)),
				 errdetail("Logical decoding could not see earlier states of table \"%s\".",
						   NameStr(form->relname)),
				 errhint("Keep the table in heap, or reset the option.")));
	if (options != NULL)
		pfree(options);
}

/*
 * A table made, changed, or made anew to be swapped in (SET ACCESS METHOD): the row of pg_class as
 * this command has left it.
 */
static void
object_access(ObjectAccessType access, Oid class, Oid object, int subobject, void *arg)
{
	Relation	catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (next_object_access)
		next_object_access(access, class, object, subobject, arg);
	if ((access != OAT_POST_CREATE && access != OAT_POST_ALTER) ||
		class != RelationRelationId || subobject != 0 || IsBootstrapProcessingMode())
		return;
	catalog = table_open(RelationRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object));
	scan = systable_beginscan(catalog, ClassOidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		refuse_catalog_table(RelationGetDescr(catalog), tuple);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

void
decoding_install(void)
{
	core_heap_decode = RmgrTable[RM_HEAP_ID].rm_decode;
	RmgrTable[RM_HEAP_ID].rm_decode = heap_decode_wrapper;
	next_object_access = object_access_hook;
	object_access_hook = object_access;
}
