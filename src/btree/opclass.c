/*
 * opclass.c
 *	  Operator classes of the index access method.
 *
 * The planner proves uniqueness, removes joins, finds orders and LIKE prefixes by operator
 * families, and by btree's only.  So our classes have no families of their own: a class of ours
 * belongs to the same family as the btree class that it is made from, and has no operators and
 * support functions but the family's.  Catalogs and core's caches don't mind: operators are looked
 * up by family, and strategy and support numbers are btree's.  (The family's own method is compared
 * only by CREATE OPERATOR CLASS, which therefore is ours if it says
 *
 *     CREATE OPERATOR CLASS c ... USING rowan_btree FAMILY f
 *
 * where f is a family of btree.  pg_dump prints a class of ours just so, hence such classes are
 * restored.)
 *
 * Whoever makes a class for btree later gets ours along with it, unasked.  Without a class of its
 * own an index on citext would silently use that of text, for which a value of citext can be taken,
 * and a UNIQUE index would be case-sensitive.
 *
 * Classes in families of the system belong to the extension.  Those in families of other extensions
 * and of users belong to nobody, since what belongs to an extension can only go with it: they
 * depend on the family and on the access method, go with either, and pg_dump prints them.
 * Restoring them finds that they are there, and that is all right.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/export.h"
#include "btree/opclass.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "parser/parse_type.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

ROWAN_SQL_FUNCTION(rowan_adopt_operator_classes);

/* A class to be made. */
typedef struct NewClass
{
	Oid			method;			/* ours */
	NameData	name;
	Oid			namespace;
	Oid			family;			/* btree's */
	Oid			type;			/* what is indexed */
	Oid			key_type;		/* what is stored, or InvalidOid if that is the same */
	bool		is_default;
} NewClass;

/* The access method's OID, locked against its going away. */
static Oid
lock_method(void)
{
	Oid			method = get_index_am_oid(ROWAN_INDEX_AM, false);

	/* nor do two sessions make classes at the same time */
	LockDatabaseObject(AccessMethodRelationId, method, 0, ShareUpdateExclusiveLock);
	return get_index_am_oid(ROWAN_INDEX_AM, false);
}

/* As for any operator class: nobody can check whether its functions are right. */
static void
require_superuser(void)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to create an operator class")));
}

/* ---- what is there already ---- */

/* A class of ours by that name, or an invalid tuple. */
static HeapTuple
find_class(const NewClass *class)
{
	return SearchSysCache3(CLAAMNAMENSP, ObjectIdGetDatum(class->method),
						   PointerGetDatum(NameStr(class->name)),
						   ObjectIdGetDatum(class->namespace));
}

/* The default class for the type, or InvalidOid. */
static Oid
default_class_of(Oid method, Oid type)
{
	Oid			found = InvalidOid;
	Relation	catalog = table_open(OperatorClassRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_opclass_opcmethod, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(method));
	scan = systable_beginscan(catalog, OpclassAmNameNspIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_opclass row = (Form_pg_opclass) GETSTRUCT(tuple);

		if (row->opcdefault && row->opcintype == type)
			found = row->oid;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/* ---- making one ---- */

static void
depend_on(const ObjectAddress *class, Oid catalog, Oid object, DependencyType how)
{
	ObjectAddress other;

	ObjectAddressSet(other, catalog, object);
	recordDependencyOn(class, &other, how);
}

/*
 * AUTO: it goes with the access method, the family or the type, without CASCADE, and without a
 * word.  That nobody loses the type by mistake is btree's class's concern.
 */
static void
record_dependencies(const NewClass *class, Oid oid, bool of_extension)
{
	ObjectAddress self;

	ObjectAddressSet(self, OperatorClassRelationId, oid);
	depend_on(&self, NamespaceRelationId, class->namespace, DEPENDENCY_NORMAL);
	depend_on(&self, AccessMethodRelationId, class->method, DEPENDENCY_AUTO);
	depend_on(&self, OperatorFamilyRelationId, class->family, DEPENDENCY_AUTO);
	depend_on(&self, TypeRelationId, class->type, DEPENDENCY_AUTO);
	recordDependencyOnOwner(OperatorClassRelationId, oid, GetUserId());
	if (of_extension)
		recordDependencyOnCurrentExtension(&self, false);
}

static void
make_class(const NewClass *class, bool of_extension)
{
	Relation	catalog = table_open(OperatorClassRelationId, RowExclusiveLock);
	Oid			oid = GetNewOidWithIndex(catalog, OpclassOidIndexId, Anum_pg_opclass_oid);
	Datum		values[Natts_pg_opclass] = {0};
	bool		nulls[Natts_pg_opclass] = {false};
	HeapTuple	tuple;

	values[Anum_pg_opclass_oid - 1] = ObjectIdGetDatum(oid);
	values[Anum_pg_opclass_opcmethod - 1] = ObjectIdGetDatum(class->method);
	values[Anum_pg_opclass_opcname - 1] = NameGetDatum(&class->name);
	values[Anum_pg_opclass_opcnamespace - 1] = ObjectIdGetDatum(class->namespace);
	values[Anum_pg_opclass_opcowner - 1] = ObjectIdGetDatum(GetUserId());
	values[Anum_pg_opclass_opcfamily - 1] = ObjectIdGetDatum(class->family);
	values[Anum_pg_opclass_opcintype - 1] = ObjectIdGetDatum(class->type);
	values[Anum_pg_opclass_opcdefault - 1] = BoolGetDatum(class->is_default);
	values[Anum_pg_opclass_opckeytype - 1] = ObjectIdGetDatum(class->key_type);
	tuple = heap_form_tuple(RelationGetDescr(catalog), values, nulls);
	CatalogTupleInsert(catalog, tuple);
	heap_freetuple(tuple);
	record_dependencies(class, oid, of_extension);
	InvokeObjectPostCreateHook(OperatorClassRelationId, oid, 0);
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

/* ---- CREATE OPERATOR CLASS ... FAMILY family of btree ---- */

/* The family if it is btree's and not ours, or InvalidOid. */
static Oid
btree_family_named(Oid method, List *name)
{
	if (OidIsValid(get_opfamily_oid(method, name, true)))
		return InvalidOid;
	return get_opfamily_oid(BTREE_AM_OID, name, true);
}

/* A class has no members of its own here: they would become btree's. */
static void
read_items(const CreateOpClassStmt *statement, NewClass *class)
{
	ListCell   *cell;

	foreach(cell, statement->items)
	{
		CreateOpClassItem *item = lfirst_node(CreateOpClassItem, cell);

		if (item->itemtype != OPCLASS_ITEM_STORAGETYPE)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("operator class \"%s\" cannot add operators or functions to an operator family of btree",
							NameStr(class->name)),
					 errhint("Use ALTER OPERATOR FAMILY ... USING btree ADD, and define the class AS STORAGE %s.",
							 format_type_be(class->type))));
		class->key_type = typenameTypeId(NULL, item->storedtype);
	}
	if (class->key_type == class->type)
		class->key_type = InvalidOid;
	if (OidIsValid(class->key_type) &&
		!(class->type == NAMEOID && class->key_type == CSTRINGOID)) /* as btree's name_ops */
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("storage type cannot be different from data type for access method \"%s\"",
						ROWAN_INDEX_AM)));
}

static void
read_statement(const CreateOpClassStmt *statement, NewClass *class)
{
	char	   *name;

	class->namespace = QualifiedNameGetCreationNamespace(statement->opclassname, &name);
	namestrcpy(&class->name, name);
	class->type = typenameTypeId(NULL, statement->datatype);
	class->is_default = statement->isDefault;
	read_items(statement, class);
	if (!OidIsValid(get_opfamily_proc(class->family, class->type, class->type, BTORDER_PROC)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("operator family \"%s\" of btree does not support type %s",
						NameListToString(statement->opfamilyname), format_type_be(class->type))));
}

/* The same class is there: a dump is restored into a database where it was adopted. */
static bool
is_there_already(const NewClass *class)
{
	HeapTuple	tuple = find_class(class);
	Form_pg_opclass row;
	bool		same;

	if (!HeapTupleIsValid(tuple))
		return false;
	row = (Form_pg_opclass) GETSTRUCT(tuple);
	same = row->opcfamily == class->family && row->opcintype == class->type &&
		row->opckeytype == class->key_type && row->opcdefault == class->is_default;
	ReleaseSysCache(tuple);
	ereport(same ? NOTICE : ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("operator class \"%s\" for access method \"%s\" already exists%s",
					NameStr(class->name), ROWAN_INDEX_AM, same ? ", skipping" : "")));
	return true;
}

static void
check_default(const NewClass *class)
{
	Oid			other;

	if (!class->is_default)
		return;
	other = default_class_of(class->method, class->type);
	if (OidIsValid(other))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("could not make operator class \"%s\" be default for type %s",
						NameStr(class->name), format_type_be(class->type)),
				 errdetail("There is another default operator class.")));
}

bool
opclass_define(CreateOpClassStmt *statement)
{
	NewClass	class = {0};

	if (strcmp(statement->amname, ROWAN_INDEX_AM) != 0 || statement->opfamilyname == NIL)
		return false;
	class.method = get_index_am_oid(ROWAN_INDEX_AM, true);
	if (!OidIsValid(class.method))
		return false;
	class.family = btree_family_named(class.method, statement->opfamilyname);
	if (!OidIsValid(class.family))
		return false;

	PreventCommandIfReadOnly("CREATE OPERATOR CLASS");
	PreventCommandIfParallelMode("CREATE OPERATOR CLASS");
	PreventCommandDuringRecovery("CREATE OPERATOR CLASS");
	class.method = lock_method();
	read_statement(statement, &class);
	if (is_there_already(&class))
		return true;
	require_superuser();
	check_default(&class);
	make_class(&class, true);
	return true;
}

/* ---- adopting ---- */

static void
class_like(Form_pg_opclass original, Oid method, NewClass *class)
{
	class->method = method;
	class->name = original->opcname;
	class->namespace = original->opcnamespace;
	class->family = original->opcfamily;
	class->type = original->opcintype;
	class->key_type = original->opckeytype;
	class->is_default = original->opcdefault;
}

/* All classes of btree, as a list of NewClass. */
static List *
classes_of_btree(Oid method)
{
	List	   *classes = NIL;
	Relation	catalog = table_open(OperatorClassRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_opclass_opcmethod, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(BTREE_AM_OID));
	scan = systable_beginscan(catalog, OpclassAmNameNspIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		NewClass   *class = palloc0(sizeof(NewClass));

		class_like((Form_pg_opclass) GETSTRUCT(tuple), method, class);
		classes = lappend(classes, class);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return classes;
}

static bool
adopt_class(NewClass *class)
{
	HeapTuple	tuple = find_class(class);

	if (HeapTupleIsValid(tuple))
	{
		ReleaseSysCache(tuple);
		return false;
	}
	if (class->is_default && OidIsValid(default_class_of(class->method, class->type)))
		class->is_default = false;	/* somebody made one by hand */
	make_class(class, IsPinnedObject(OperatorFamilyRelationId, class->family));
	return true;
}

void
opclass_follow(CreateOpClassStmt *statement)
{
	Oid			method;
	Oid			namespace;
	char	   *name;
	NewClass	class = {0};
	HeapTuple	tuple;

	if (strcmp(statement->amname, "btree") != 0 ||
		!OidIsValid(get_index_am_oid(ROWAN_INDEX_AM, true)))
		return;
	CommandCounterIncrement();
	method = lock_method();
	namespace = QualifiedNameGetCreationNamespace(statement->opclassname, &name);
	tuple = SearchSysCache3(CLAAMNAMENSP, ObjectIdGetDatum(BTREE_AM_OID), CStringGetDatum(name),
							ObjectIdGetDatum(namespace));
	if (!HeapTupleIsValid(tuple))
		return;					/* an event trigger was faster */
	class_like((Form_pg_opclass) GETSTRUCT(tuple), method, &class);
	ReleaseSysCache(tuple);
	(void) adopt_class(&class);
}

Datum
rowan_adopt_operator_classes(PG_FUNCTION_ARGS)
{
	int			count = 0;
	ListCell   *cell;

	require_superuser();
	foreach(cell, classes_of_btree(lock_method()))
		count += adopt_class(lfirst(cell));
	PG_RETURN_INT32(count);
}

/* ---- amvalidate ---- */

static bool
family_is_of(Oid family, Oid method)
{
	HeapTuple	tuple = SearchSysCache1(OPFAMILYOID, ObjectIdGetDatum(family));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator family %u", family);
	result = ((Form_pg_opfamily) GETSTRUCT(tuple))->opfmethod == method;
	ReleaseSysCache(tuple);
	return result;
}

/* What else there is to say of the family is said when btree's own classes are validated. */
bool
opclass_validate(Oid class)
{
	Oid			family = get_opclass_family(class);
	Oid			type = get_opclass_input_type(class);
	bool		complete;

	if (!family_is_of(family, BTREE_AM_OID))
		return btvalidate(class);
	complete = OidIsValid(get_opfamily_proc(family, type, type, BTORDER_PROC));
	for (int strategy = 1; strategy <= BTMaxStrategyNumber; strategy++)
		complete = complete && OidIsValid(get_opfamily_member(family, type, type, strategy));
	if (!complete)
		ereport(INFO,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("operator class %u of access method %s is missing operators or its comparison function",
						class, ROWAN_INDEX_AM)));
	return complete;
}
