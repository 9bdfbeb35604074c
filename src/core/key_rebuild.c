/*
 * key_rebuild.c
 *	  ALTER TABLE ... TYPE of columns of keys on rowan_btree.
 *
 * Core makes what depends on such a column anew, by its text.  A constraint's text does not have
 * the method of its index, and core parses it where no hook sees it (key_method.c).  But the text
 * of an index has it.  So the constraint is taken from its index before core gets the statement:
 * that is a unique index then, which core makes anew, or keeps, as any other, and foreign keys that
 * refer to it with it.  Afterwards the new index is given the constraint again.  All that is in
 * one transaction, under the lock that the statement takes anyway.
 *
 * A partitioned table's key is taken with those of the partitions that come from it: core makes
 * their indexes together, too.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "btree/opclass.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "commands/comment.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "core/key_rebuild.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* An index, by what stays when it is made anew. */
typedef struct IndexName
{
	Oid			table;
	char	   *name;
} IndexName;

/* A constraint that was taken from its index. */
typedef struct TakenKey
{
	Oid			table;
	char	   *name;
	char		type;			/* as in pg_constraint */
	bits16		flags;			/* INDEX_CONSTR_CREATE_ */
	char	   *comment;
	List	   *partitions;		/* IndexName, of all levels */
} TakenKey;

/* ---- what the statement changes ---- */

/* The names of columns that get another type or expression. */
static List *
changed_columns(AlterTableStmt *statement)
{
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_AlterColumnType || SETS_EXPRESSION(command->subtype))
			names = lappend(names, command->name);
	}
	return names;
}

static bool
drops_constraint(AlterTableStmt *statement, const char *name)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_DropConstraint && strcmp(command->name, name) == 0)
			return true;
	}
	return false;
}

static bool
has_column(Relation table, Relation index, List *names)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		AttrNumber	column = get_attnum(RelationGetRelid(table), lfirst(cell));

		for (int i = 0; i < index->rd_index->indnatts; i++)
			if (column != InvalidAttrNumber && index->rd_index->indkey.values[i] == column)
				return true;
	}
	return false;
}

/* ---- taking ---- */

/* As one that is no constraint's. */
static void
depend_on_columns(Oid index_oid)
{
	Relation	index = index_open(index_oid, AccessShareLock);
	ObjectAddress self;
	ObjectAddress column;

	deleteDependencyRecordsForClass(RelationRelationId, index_oid, ConstraintRelationId,
									DEPENDENCY_INTERNAL);
	ObjectAddressSet(self, RelationRelationId, index_oid);
	for (int i = 0; i < index->rd_index->indnatts; i++)
	{
		ObjectAddressSubSet(column, RelationRelationId, index->rd_index->indrelid,
							index->rd_index->indkey.values[i]);
		recordDependencyOn(&self, &column, DEPENDENCY_AUTO);
	}
	index_close(index, NoLock);
}

static TakenKey *
describe_key(Relation table, Form_pg_constraint row)
{
	TakenKey   *key = palloc0(sizeof(TakenKey));

	key->table = RelationGetRelid(table);
	key->name = pstrdup(NameStr(row->conname));
	key->type = row->contype;
	key->flags = INDEX_CONSTR_CREATE_UPDATE_INDEX | INDEX_CONSTR_CREATE_REMOVE_OLD_DEPS;
	if (row->contype == CONSTRAINT_PRIMARY)
		key->flags |= INDEX_CONSTR_CREATE_MARK_AS_PRIMARY;
	if (row->condeferrable)
		key->flags |= INDEX_CONSTR_CREATE_DEFERRABLE;
	if (row->condeferred)
		key->flags |= INDEX_CONSTR_CREATE_INIT_DEFERRED;
	key->comment = GetComment(row->oid, ConstraintRelationId, 0);
	return key;
}

/* Constraints of partitions go with it, their indexes stay. */
static void
take_constraint(TakenKey *key, Oid index, Oid constraint)
{
	ObjectAddress address;
	ListCell   *cell;

	foreach(cell, find_all_inheritors(index, AccessShareLock, NULL))
	{
		IndexName  *name = palloc(sizeof(IndexName));

		name->table = IndexGetRelation(lfirst_oid(cell), false);
		name->name = get_rel_name(lfirst_oid(cell));
		key->partitions = lappend(key->partitions, name);
		depend_on_columns(lfirst_oid(cell));
	}
	CommandCounterIncrement();
	ObjectAddressSet(address, ConstraintRelationId, constraint);
	performDeletion(&address, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	CommandCounterIncrement();
}

/* NULL: the index is not of a key that is concerned. */
static TakenKey *
take_key(AlterTableStmt *statement, Relation table, Relation index, List *columns)
{
	Oid			constraint = get_index_constraint(RelationGetRelid(index));
	HeapTuple	tuple;
	Form_pg_constraint row;
	TakenKey   *key = NULL;

	if (!OidIsValid(constraint) || index->rd_rel->relam != get_index_am_oid(ROWAN_INDEX_AM, true) ||
		!has_column(table, index, columns))
		return NULL;
	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for constraint %u", constraint);
	row = (Form_pg_constraint) GETSTRUCT(tuple);
	if ((row->contype == CONSTRAINT_PRIMARY || row->contype == CONSTRAINT_UNIQUE) &&
		!OidIsValid(row->conparentid) && !drops_constraint(statement, NameStr(row->conname)))
		key = describe_key(table, row);
	ReleaseSysCache(tuple);
	if (key != NULL)
		take_constraint(key, RelationGetRelid(index), constraint);
	return key;
}

static List *
take_keys(AlterTableStmt *statement, Oid relid, List *columns)
{
	Relation	table = table_open(relid, NoLock);
	List	   *keys = NIL;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(table))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		TakenKey   *key = take_key(statement, table, index, columns);

		if (key != NULL)
			keys = lappend(keys, key);
		index_close(index, NoLock);
	}
	table_close(table, NoLock);
	return keys;
}

List *
key_rebuild_begin(Node *node)
{
	AlterTableStmt *statement = (AlterTableStmt *) node;
	List	   *columns;
	List	   *keys = NIL;
	LOCKMODE	mode;
	Oid			relid;
	ListCell   *cell;

	if (UNIQUE_INDEXES_NEED_BTREE || !IsA(node, AlterTableStmt) ||
		statement->objtype != OBJECT_TABLE || (columns = changed_columns(statement)) == NIL)
		return NIL;
	PreventCommandIfReadOnly("ALTER TABLE");
	PreventCommandIfParallelMode("ALTER TABLE");
	PreventCommandDuringRecovery("ALTER TABLE");
	mode = AlterTableGetLockLevel(statement->cmds);
	relid = AlterTableLookupRelation(statement, mode);
	if (!OidIsValid(relid))
		return NIL;
	foreach(cell, statement->relation->inh ? find_all_inheritors(relid, mode, NULL) :
			list_make1_oid(relid))
	{
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION ||
			get_rel_relkind(lfirst_oid(cell)) == RELKIND_PARTITIONED_TABLE)
			keys = list_concat(keys, take_keys(statement, lfirst_oid(cell), columns));
	}
	return keys;
}

/* ---- giving back ---- */

static void
check_primary(Relation table, const IndexInfo *info)
{
	IndexStmt  *statement = makeNode(IndexStmt);

	statement->primary = true;
	index_check_primary_key(table, unconstify(IndexInfo *, info), true, statement);
}

/* Core names indexes of partitions as it likes. */
static void
name_as_before(const TakenKey *key, Oid table, Oid index)
{
	ListCell   *cell;

	foreach(cell, key->partitions)
	{
		IndexName  *name = lfirst(cell);

		if (name->table == table &&
			!OidIsValid(get_relname_relid(name->name, get_rel_namespace(table))))
			RenameRelationInternal(index, name->name, true, true);
	}
	CommandCounterIncrement();
}

/* With those of partitions, which have their index's name. */
static Oid
give_constraint(const TakenKey *key, Oid relid, Oid index_oid, Oid parent)
{
	Relation	table;
	Relation	index;
	IndexInfo  *info;
	ObjectAddress address;
	ListCell   *cell;

	check_stack_depth();
	name_as_before(key, relid, index_oid);
	table = table_open(relid, NoLock);
	index = index_open(index_oid, AccessShareLock);
	info = BuildIndexInfo(index);
	if (key->type == CONSTRAINT_PRIMARY)
		check_primary(table, info);
	address = index_constraint_create(table, index_oid, parent, info,
									  RelationGetRelationName(index), key->type, key->flags, false,
									  true);
	index_close(index, NoLock);
	table_close(table, NoLock);
	CommandCounterIncrement();
	foreach(cell, find_inheritance_children(index_oid, NoLock))
		give_constraint(key, IndexGetRelation(lfirst_oid(cell), false), lfirst_oid(cell),
						address.objectId);
	return address.objectId;
}

static void
give_back(const TakenKey *key)
{
	Oid			index = get_relname_relid(key->name, get_rel_namespace(key->table));
	Oid			constraint;

	/* it went with a column */
	if (!OidIsValid(index) || IndexGetRelation(index, true) != key->table)
		return;
	constraint = give_constraint(key, key->table, index, InvalidOid);
	if (key->comment != NULL)
		CreateComments(constraint, ConstraintRelationId, 0, key->comment);
}

void
key_rebuild_end(List *keys)
{
	ListCell   *cell;

	if (keys == NIL)
		return;
	CommandCounterIncrement();
	foreach(cell, keys)
		give_back(lfirst(cell));
}
