/*
 * key_method.c
 *	  The access method of indexes that PRIMARY KEY and UNIQUE constraints make.
 *
 * Core makes them with btree: the grammar has no place for another method, and pg_dump could not
 * print it.  So the method is a storage parameter of the constraint,
 *
 *     PRIMARY KEY (id) WITH (rowan_btree)
 *
 * which is part of the schema as any other: pg_dump prints it, LIKE and partitions copy it.  Before
 * core gets the statement, the constraint is given the method's name.  The parameter stays with the
 * index.  btree does not know it: where nobody sees to it, the statement fails, and no index of
 * another kind than the schema says is made.  So the parameter must not go or come later, either.
 *
 * rowan.default_key_access_method adds the parameter to new tables' keys, so that their schema says
 * it, too.
 *
 * Before 18, where neither ON CONFLICT nor foreign keys could use such an index, the same text
 * makes a btree index, with a notice.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "base/compat.h"
#include "btree/opclass.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "core/key_method.h"
#include "nodes/makefuncs.h"
#include "table/table.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#define BEFORE_18 \
	"PostgreSQL before 18 supports ON CONFLICT and foreign keys with btree only."

#define CORE_USING_INDEX_ERROR "index \"%s\" is not a btree"
#define CORE_SECOND_KEY_ERROR "multiple primary keys for table \"%s\" are not allowed"
#define CORE_PARAMETER_ERROR "unrecognized parameter \"%s\""

/* ---- constraints ---- */

static bool
is_marker(const DefElem *option)
{
	return option->defnamespace == NULL && strcmp(option->defname, KEY_MARKER) == 0;
}

/* The marker among the options, or NULL. */
static DefElem *
find_marker(List *options)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		if (is_marker(lfirst_node(DefElem, cell)))
			return lfirst(cell);
	}
	return NULL;
}

static bool
makes_unique_index(const Constraint *constraint)
{
	return (constraint->contype == CONSTR_PRIMARY || constraint->contype == CONSTR_UNIQUE) &&
		constraint->indexname == NULL;
}

static void
say_before_18(void)
{
	ereport(NOTICE,
			(errmsg("using access method \"btree\" instead of \"%s\" for a key", ROWAN_INDEX_AM),
			 errdetail(BEFORE_18)));
}

static void
refuse_without_overlaps(const Constraint *constraint)
{
	if (CONSTRAINT_WITHOUT_OVERLAPS(constraint))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("access method \"%s\" does not support WITHOUT OVERLAPS constraints",
						ROWAN_INDEX_AM),
				 errhint("Leave WITH (rowan_btree) out: such a constraint uses an index of access method gist.")));
}

static void
apply_to_constraint(Constraint *constraint)
{
	DefElem    *marker = find_marker(constraint->options);

	if (marker == NULL || !makes_unique_index(constraint))
		return;
	if (!defGetBoolean(marker))
		constraint->options = list_delete_ptr(constraint->options, marker);
	else if (UNIQUE_INDEXES_NEED_BTREE)
	{
		constraint->options = list_delete_ptr(constraint->options, marker);
		say_before_18();
	}
	else
	{
		refuse_without_overlaps(constraint);
		constraint->access_method = pstrdup(ROWAN_INDEX_AM);
	}
}

/* ---- the setting ---- */

static int	default_method;

typedef enum KeyMethod
{
	KEY_BTREE,
	KEY_ROWAN_BTREE
} KeyMethod;

static const struct config_enum_entry key_methods[] = {
	{"btree", KEY_BTREE, false},
	{ROWAN_INDEX_AM, KEY_ROWAN_BTREE, false},
	{NULL, 0, false}
};

static bool
check_default_method(int *value, void **extra, GucSource source)
{
	if (*value == KEY_ROWAN_BTREE && UNIQUE_INDEXES_NEED_BTREE)
	{
		GUC_check_errdetail(BEFORE_18);
		return false;
	}
	return true;
}

void
key_method_define_setting(void)
{
	DefineCustomEnumVariable("rowan.default_key_access_method",
							 "Access method of keys that CREATE TABLE makes for Rowan tables.",
							 "It adds WITH (rowan_btree) to PRIMARY KEY and UNIQUE constraints that do not have that parameter.",
							 &default_method,
							 KEY_BTREE, key_methods,
							 PGC_USERSET, 0,
							 check_default_method, NULL, NULL);
}

static Oid
method_of_parent(const CreateStmt *statement)
{
	Oid			method = InvalidOid;
	HeapTuple	tuple;

	if (statement->partbound == NULL)
		return InvalidOid;
	tuple = SearchSysCache1(RELOID,
							ObjectIdGetDatum(RangeVarGetRelid(linitial(statement->inhRelations),
															  NoLock, true)));
	if (HeapTupleIsValid(tuple))
	{
		method = ((Form_pg_class) GETSTRUCT(tuple))->relam;
		ReleaseSysCache(tuple);
	}
	return method;
}

/* A partitioned table without a method counts as what its partitions will be. */
static bool
makes_rowan_table(const CreateStmt *statement)
{
	Oid			method;

	if (statement->accessMethod != NULL)
		method = get_am_oid(statement->accessMethod, true);
	else
		method = method_of_parent(statement);
	if (!OidIsValid(method))
		method = get_am_oid(default_table_access_method, true);
	return rowan_method_is_rowan(method);
}

/*
 * Only in CREATE TABLE: pg_dump adds keys by ALTER TABLE, so that a restored table has the method
 * that the dump says, whatever the setting.
 */
static void
add_marker(Constraint *constraint)
{
	if (makes_unique_index(constraint) && !CONSTRAINT_WITHOUT_OVERLAPS(constraint) &&
		find_marker(constraint->options) == NULL)
		constraint->options = lappend(constraint->options,
									  makeDefElem(pstrdup(KEY_MARKER), NULL, -1));
}

/* ---- constraints of a statement ---- */

/* Columns, with constraints of theirs, and constraints of the table: what has no others in it. */
static void
apply_to_elements(List *elements, void (*apply) (Constraint *constraint))
{
	ListCell   *cell;
	ListCell   *own;

	foreach(cell, elements)
	{
		Node	   *node = lfirst(cell);

		if (IsA(node, Constraint))
			apply((Constraint *) node);
		else if (IsA(node, ColumnDef))
			foreach(own, ((ColumnDef *) node)->constraints)
				apply(lfirst_node(Constraint, own));
	}
}

/* ---- storage parameters ---- */

/* It would say of a btree index, or of none of a key, what is not so. */
static void
refuse_change(List *options)
{
	if (find_marker(options) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("storage parameter \"%s\" cannot be changed", KEY_MARKER),
				 errdetail("It says which access method the index of a constraint has."),
				 errhint("Drop the constraint and add it again, with or without the parameter.")));
}

/* ---- statements ---- */

static void
apply_to_command(AlterTableCmd *command)
{
	switch (command->subtype)
	{
		case AT_AddConstraint:
		case AT_AddColumn:
			apply_to_elements(list_make1(command->def), apply_to_constraint);
			break;
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_ReplaceRelOptions:
			refuse_change((List *) command->def);
			break;
		default:
			break;
	}
}

bool
key_method_concerns(Node *statement)
{
	ListCell   *cell;

	if (IsA(statement, CreateStmt))
		return true;
	if (!IsA(statement, AlterTableStmt))
		return false;
	foreach(cell, ((AlterTableStmt *) statement)->cmds)
	{
		switch (lfirst_node(AlterTableCmd, cell)->subtype)
		{
			case AT_AddConstraint:
			case AT_AddColumn:
			case AT_SetRelOptions:
			case AT_ResetRelOptions:
			case AT_ReplaceRelOptions:
				return true;
			default:
				break;
		}
	}
	return false;
}

void
key_method_apply(Node *statement)
{
	ListCell   *cell;

	if (IsA(statement, CreateStmt))
	{
		CreateStmt *create = (CreateStmt *) statement;

		if (default_method == KEY_ROWAN_BTREE && makes_rowan_table(create))
			apply_to_elements(create->tableElts, add_marker);
		apply_to_elements(create->tableElts, apply_to_constraint);
		return;
	}
	foreach(cell, ((AlterTableStmt *) statement)->cmds)
		apply_to_command(lfirst_node(AlterTableCmd, cell));
}

/* ---- errors ---- */

static bool
has_command(Node *statement, AlterTableType subtype)
{
	ListCell   *cell;

	if (!IsA(statement, AlterTableStmt))
		return false;
	foreach(cell, ((AlterTableStmt *) statement)->cmds)
	{
		if (lfirst_node(AlterTableCmd, cell)->subtype == subtype)
			return true;
	}
	return false;
}

/* A partition has a key of the other method; where it is not primary, it gets one more. */
static void
explain_second_key(ErrorData *error, Node *statement)
{
	if (has_command(statement, AT_AttachPartition))
		error->hint = "If the partition's key has another access method than the table's, drop it first: ATTACH PARTITION makes its own.";
}

/* Core makes keys anew by their text: what key_rebuild.c does not know of, such as typed tables. */
static void
explain_parameter(ErrorData *error, Node *statement)
{
	if (!UNIQUE_INDEXES_NEED_BTREE && IsA(statement, AlterTableStmt) &&
		strstr(error->message, "\"" KEY_MARKER "\"") != NULL)
		error->hint = "If a column of a key changes: drop the constraint before, and add it again. EXCLUDE takes the access method by USING.";
}

void
key_method_explain(ErrorData *error, Node *statement)
{
	if (error->message_id == NULL || error->message == NULL)
		return;
	if (strcmp(error->message_id, CORE_USING_INDEX_ERROR) == 0 && !UNIQUE_INDEXES_NEED_BTREE)
		error->hint = "Add the constraint WITH (rowan_btree) instead: it makes an index of its own.";
	else if (strcmp(error->message_id, CORE_SECOND_KEY_ERROR) == 0)
		explain_second_key(error, statement);
	else if (strcmp(error->message_id, CORE_PARAMETER_ERROR) == 0)
		explain_parameter(error, statement);
}
