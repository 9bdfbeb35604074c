/*
 * extension_script.c
 *	  Extension scripts make heap tables unless they say otherwise.
 *
 * Many extensions treat their own tables as catalogs, by core's functions for heaps
 * (CatalogTupleInsert and the like), which are refused on a Rowan table.  So while CREATE EXTENSION
 * or ALTER EXTENSION ... UPDATE runs, a default_table_access_method of ours is heap.  A script that
 * says USING, or sets it itself, is left alone.  The setting lives in a nest level of its own,
 * which is undone by the end of the statement or by the abort.  Extensions made by CASCADE are made
 * within it; so are tables that event triggers make meanwhile.
 *
 * While a script runs, core keeps notices from the client; so we collect what to say until the end.
 *
 * Takes no latches.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/pg_am_d.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "core/hooks.h"
#include "table/table.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#define SETTING	"default_table_access_method"

/* The statement being run, innermost; NULL: none, or the default is none of ours. */
typedef struct ExtensionScript
{
	List	   *extensions;		/* names of those that made tables by default */
	char	   *method;			/* the default outside */
} ExtensionScript;

static ExtensionScript *running_script = NULL;

/* The default may be the name of anything: a configuration file is not checked for that. */
bool
extension_statement(Node *statement)
{
	return (IsA(statement, CreateExtensionStmt) || IsA(statement, AlterExtensionStmt)) &&
		rowan_method_is_rowan(get_am_oid(default_table_access_method, true));
}

/* Would the statement, run by a script, make a table of the default access method? */
static bool
makes_table_by_default(Node *statement)
{
	if (IsA(statement, CreateStmt))
	{
		/* a partitioned table has no file */
		return ((CreateStmt *) statement)->accessMethod == NULL &&
			((CreateStmt *) statement)->partspec == NULL;
	}
	if (IsA(statement, CreateTableAsStmt))
		return ((CreateTableAsStmt *) statement)->into->accessMethod == NULL;
	return false;
}

void
extension_note_statement(Node *statement)
{
	char	   *name;

	if (running_script == NULL || !creating_extension || !makes_table_by_default(statement) ||
		get_am_oid(default_table_access_method, true) != HEAP_TABLE_AM_OID)
		return;
	name = get_extension_name(CurrentExtensionObject);
	if (name != NULL && !list_member(running_script->extensions, makeString(name)))
	{
		MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(running_script));

		running_script->extensions = lappend(running_script->extensions, makeString(pstrdup(name)));
		MemoryContextSwitchTo(caller);
	}
}

static void
tell(const ExtensionScript *script)
{
	ListCell   *cell;

	foreach(cell, script->extensions)
		ereport(NOTICE,
				(errmsg("tables of extension \"%s\" use access method \"heap\" instead of \"%s\"",
						strVal(lfirst(cell)), script->method),
				 errdetail("Functions of extensions may treat the extension's tables as heap tables."),
				 errhint("If these do not, use ALTER TABLE ... SET ACCESS METHOD.")));
}

void
extension_run(void (*run) (const struct UtilityCall *call), const struct UtilityCall *call)
{
	ExtensionScript *script = palloc0(sizeof(ExtensionScript));
	ExtensionScript *outer = running_script;
	int			level;

	script->method = pstrdup(default_table_access_method);
	level = NewGUCNestLevel();
	(void) set_config_option(SETTING, "heap", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
	running_script = script;
	PG_TRY();
	{
		run(call);
	}
	PG_FINALLY();
	{
		running_script = outer;
	}
	PG_END_TRY();
	AtEOXact_GUC(true, level);
	tell(script);
}
