/*
 * repack.c
 *	  Keeps pg_repack from exchanging the files of tables of different access methods.
 *
 * pg_repack copies a table into one that it makes by CREATE TABLE AS, and then exchanges the files
 * of the two in pg_class, but not the access methods: it does not know that there are several.
 * Where they differ, it is refused as it makes the copy, and again before the exchange, in case
 * that default_table_access_method has changed.  Tables that have the copy's name by chance are let
 * alone where the extension is not installed.
 *
 * Takes no latches.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "core/hooks.h"
#include "table/table.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define REPACK_EXTENSION	"pg_repack"
#define REPACK_SCHEMA	"repack"
#define REPACK_COPY		"table_"	/* the table's OID follows */

static Oid
access_method_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			method = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		method = ((Form_pg_class) GETSTRUCT(tuple))->relam;
		ReleaseSysCache(tuple);
	}
	return method;
}

static void
check_methods(Oid relid, Oid copy_method)
{
	Oid			method = access_method_of(relid);

	if (!OidIsValid(method) || !OidIsValid(copy_method) || method == copy_method)
		return;
	if (rowan_method_is_rowan(method))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot repack Rowan table \"%s\"", get_rel_name(relid)),
				 errdetail("pg_repack would give it a file of access method \"%s\".", get_am_name(copy_method)),
				 errhint("Rowan tables do not need it: rows are updated in place, and VACUUM joins pages with few rows. "
						 "VACUUM FULL and CLUSTER write a table anew.")));
	if (rowan_method_is_rowan(copy_method))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot repack table \"%s\" of access method \"%s\" while default_table_access_method is \"%s\"",
						get_rel_name(relid), get_am_name(method), get_am_name(copy_method)),
				 errdetail("pg_repack would give it a file of access method \"%s\".", get_am_name(copy_method)),
				 errhint("Set default_table_access_method to \"%s\" for pg_repack, for example by PGOPTIONS=\"-c default_table_access_method=%s\".",
						 get_am_name(method), get_am_name(method))));
}

void
repack_check_copy(CreateTableAsStmt *statement)
{
	RangeVar   *copy = statement->into->rel;
	const char *method = statement->into->accessMethod;
	const char *digits;

	if (copy == NULL || copy->schemaname == NULL || strcmp(copy->schemaname, REPACK_SCHEMA) != 0 ||
		strncmp(copy->relname, REPACK_COPY, strlen(REPACK_COPY)) != 0)
		return;
	digits = copy->relname + strlen(REPACK_COPY);
	if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0' ||
		!OidIsValid(get_extension_oid(REPACK_EXTENSION, true)))
		return;
	check_methods((Oid) strtoul(digits, NULL, 10),
				  get_am_oid(method != NULL ? method : default_table_access_method, true));
}

void
repack_check_swap(Oid relid)
{
	Oid			schema = get_namespace_oid(REPACK_SCHEMA, true);
	char		name[NAMEDATALEN];

	if (!OidIsValid(schema))
		return;
	snprintf(name, sizeof(name), REPACK_COPY "%u", relid);
	check_methods(relid, access_method_of(get_relname_relid(name, schema)));
}
