/*
 * decoding.c
 *	  Logical decoding: none of our tables serves as a catalog of it.
 *
 * user_catalog_table asks for records by which decoding can see the table as it was.  We write
 * none.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "core/hooks.h"
#include "table/table.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

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
	next_object_access = object_access_hook;
	object_access_hook = object_access;
}
