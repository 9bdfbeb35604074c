/*
 * guard.c
 *	  Refuses, in clear words, functions of contrib modules that read pages through shared_buffers
 *	  (I1), and pg_repack's exchange of files (repack.c).
 *
 * Core would refuse the pages themselves; for functions that look at pages we know better what to
 * say.
 *
 * No hook sees the arguments of these functions.  But all of them ask for the size of a table
 * before they read it, and so come to rowan_relation_size, which asks here (table_size_is_asked)
 * whether one of them is running.  Nobody asks us for the size of an index: for those that take
 * indexes, the hook puts a function of ours in their place, which gets the arguments.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/transam.h"
#include "btree/btree.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "core/hooks.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

typedef enum ReaderTakes
{
	TAKES_TABLE,				/* and no index */
	TAKES_NAME,					/* first argument: text */
	TAKES_OID,					/* first argument: regclass */
	SWAPS_FILES					/* of the table whose OID is the first argument: no reader */
} ReaderTakes;

typedef struct Reader
{
	const char *library;
	const char *symbol;
	ReaderTakes takes;
	int			fork;			/* argument that names the fork, or -1 */
} Reader;

static const Reader readers[] = {
	{"pageinspect", "get_raw_page", TAKES_NAME, -1},
	{"pageinspect", "get_raw_page_1_9", TAKES_NAME, -1},
	{"pageinspect", "get_raw_page_fork", TAKES_NAME, 1},
	{"pageinspect", "get_raw_page_fork_1_9", TAKES_NAME, 1},
	{"pg_prewarm", "pg_prewarm", TAKES_OID, 2},
	{"pg_repack", "repack_swap", SWAPS_FILES, -1},
	{"pg_visibility", "pg_check_frozen", TAKES_TABLE, -1},
	{"pg_visibility", "pg_check_visible", TAKES_TABLE, -1},
	{"pg_visibility", "pg_visibility", TAKES_TABLE, -1},
	{"pg_visibility", "pg_visibility_rel", TAKES_TABLE, -1},
};

static needs_fmgr_hook_type next_needs_fmgr_hook;
static fmgr_hook_type next_fmgr_hook;

static int	readers_running = 0;

static const Reader *
find_in_list(const char *library, const char *symbol)
{
	const char *slash = strrchr(library, '/');

	if (slash != NULL)
		library = slash + 1;
	for (int i = 0; i < (int) lengthof(readers); i++)
		if (strcmp(symbol, readers[i].symbol) == 0 &&
			strncmp(library, readers[i].library, strlen(readers[i].library)) == 0)
			return &readers[i];
	return NULL;
}

static const Reader *
find_reader(Oid function)
{
	HeapTuple	tuple;
	Datum		symbol,
				library;
	bool		symbol_is_null,
				library_is_null;
	const Reader *reader = NULL;

	if (function < FirstNormalObjectId)
		return NULL;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return NULL;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
	{
		symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &symbol_is_null);
		library = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &library_is_null);
		if (!symbol_is_null && !library_is_null)
			reader = find_in_list(TextDatumGetCString(library), TextDatumGetCString(symbol));
	}
	ReleaseSysCache(tuple);
	return reader;
}

/* ---- indexes ---- */

/* What stands in for the function that is about to be called; set by the hook right before. */
static const Reader *called_reader;
static PGFunction called_function;

static Oid
relation_argument(const Reader *reader, FunctionCallInfo fcinfo)
{
	if (fcinfo->nargs < 1 || PG_ARGISNULL(0))
		return InvalidOid;
	if (reader->takes == TAKES_OID)
		return PG_GETARG_OID(0);
	return RangeVarGetRelid(makeRangeVarFromNameList(textToQualifiedNameList(PG_GETARG_TEXT_PP(0))),
							AccessShareLock, true);
}

static bool
is_main_fork(const Reader *reader, FunctionCallInfo fcinfo)
{
	return reader->fork < 0 || reader->fork >= fcinfo->nargs || PG_ARGISNULL(reader->fork) ||
		strcmp(text_to_cstring(PG_GETARG_TEXT_PP(reader->fork)), "main") == 0;
}

static void
refuse_reader(const char *what, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot read pages of Rowan %s \"%s\" through shared_buffers", what, name),
			 errhint("Use rowan.get_page, rowan.prewarm or rowan.verify.")));
}

static Datum
call_unless_index(PG_FUNCTION_ARGS)
{
	const Reader *reader = called_reader;
	PGFunction	function = called_function;
	Oid			relid = relation_argument(reader, fcinfo);

	if (get_rel_relkind(relid) == RELKIND_INDEX && is_main_fork(reader, fcinfo))
	{
		Relation	rel = try_relation_open(relid, AccessShareLock);

		if (rel != NULL)
		{
			if (index_is_rowan(rel))
				refuse_reader("index", RelationGetRelationName(rel));
			relation_close(rel, AccessShareLock);
		}
	}
	return function(fcinfo);
}

static Datum
call_if_methods_agree(PG_FUNCTION_ARGS)
{
	PGFunction	function = called_function;

	if (fcinfo->nargs > 0 && !PG_ARGISNULL(0))
		repack_check_swap(PG_GETARG_OID(0));
	return function(fcinfo);
}

/* ---- the hooks ---- */

static bool
needs_hook(Oid function)
{
	return find_reader(function) != NULL ||
		(next_needs_fmgr_hook && next_needs_fmgr_hook(function));
}

/* What we know about a hooked function, as long as its FmgrInfo lives. */
typedef struct HookedCall
{
	const Reader *reader;		/* or NULL */
	PGFunction	function;		/* the reader itself */
	Datum		next_private;
} HookedCall;

static void
reader_event(FmgrHookEventType event, FmgrInfo *info, HookedCall *call)
{
	if (event != FHET_START)
		info->fn_addr = call->function;
	if (call->reader->takes == SWAPS_FILES)
	{
		if (event == FHET_START)
		{
			called_function = call->function;
			info->fn_addr = call_if_methods_agree;
		}
		return;
	}
	if (event != FHET_START)
	{
		readers_running--;
		return;
	}
	readers_running++;
	if (call->reader->takes != TAKES_TABLE)
	{
		called_reader = call->reader;
		called_function = call->function;
		info->fn_addr = call_unless_index;
	}
}

static void
function_event(FmgrHookEventType event, FmgrInfo *info, Datum *private)
{
	HookedCall *call = (HookedCall *) DatumGetPointer(*private);

	if (call == NULL)
	{
		call = MemoryContextAllocZero(info->fn_mcxt, sizeof(HookedCall));
		call->reader = find_reader(info->fn_oid);
		call->function = info->fn_addr;
		*private = PointerGetDatum(call);
	}
	if (call->reader != NULL && event != FHET_START)
		reader_event(event, info, call);
	if (next_fmgr_hook)
		next_fmgr_hook(event, info, &call->next_private);
	if (call->reader != NULL && event == FHET_START)
		reader_event(event, info, call);
}

void
guard_check_size(Relation rel)
{
	if (likely(readers_running == 0))
		return;
	refuse_reader("table", RelationGetRelationName(rel));
}

void
guard_install(void)
{
	next_needs_fmgr_hook = needs_fmgr_hook;
	needs_fmgr_hook = needs_hook;
	next_fmgr_hook = fmgr_hook;
	fmgr_hook = function_event;
}
