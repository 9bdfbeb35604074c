/*
 * guard.c
 *	  Keeps functions of contrib modules from reading pages of our files into shared_buffers (I1).
 *
 * What is read there is stale, and worse: pg_visibility takes the bytes for heap tuples, may set hint bits
 * in them, and the next checkpoint then writes the stale page over the one that our pool has written.
 *
 * No hook sees the arguments of these functions.  But all of them ask for the size of the relation before they
 * read it, and so come to rowan_relation_size, which asks here whether one of them is running.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "am/hooks.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static const struct
{
	const char *library;
	const char *symbol;
}			readers[] = {
	{"pageinspect", "get_raw_page"},
	{"pageinspect", "get_raw_page_1_9"},
	{"pageinspect", "get_raw_page_fork"},
	{"pageinspect", "get_raw_page_fork_1_9"},
	{"pg_prewarm", "pg_prewarm"},
	{"pg_visibility", "pg_check_frozen"},
	{"pg_visibility", "pg_check_visible"},
	{"pg_visibility", "pg_visibility"},
	{"pg_visibility", "pg_visibility_rel"},
};

static needs_fmgr_hook_type next_needs_fmgr_hook;
static fmgr_hook_type next_fmgr_hook;

static int	readers_running = 0;

static bool
is_named_in_list(const char *library, const char *symbol)
{
	const char *slash = strrchr(library, '/');

	if (slash != NULL)
		library = slash + 1;
	for (int i = 0; i < (int) lengthof(readers); i++)
		if (strcmp(symbol, readers[i].symbol) == 0 &&
			strncmp(library, readers[i].library, strlen(readers[i].library)) == 0)
			return true;
	return false;
}

static bool
is_reader(Oid function)
{
	HeapTuple	tuple;
	Datum		symbol,
				library;
	bool		symbol_is_null,
				library_is_null;
	bool		result = false;

	if (function < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
	{
		symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &symbol_is_null);
		library = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &library_is_null);
		if (!symbol_is_null && !library_is_null)
			result = is_named_in_list(TextDatumGetCString(library), TextDatumGetCString(symbol));
	}
	ReleaseSysCache(tuple);
	return result;
}

static bool
needs_hook(Oid function)
{
	return is_reader(function) || (next_needs_fmgr_hook && next_needs_fmgr_hook(function));
}

/* What we know about a hooked function, as long as its FmgrInfo lives. */
typedef struct HookedCall
{
	bool		is_reader;
	Datum		next_private;
} HookedCall;

static void
function_event(FmgrHookEventType event, FmgrInfo *info, Datum *private)
{
	HookedCall *call = (HookedCall *) DatumGetPointer(*private);

	if (call == NULL)
	{
		call = MemoryContextAllocZero(info->fn_mcxt, sizeof(HookedCall));
		call->is_reader = is_reader(info->fn_oid);
		*private = PointerGetDatum(call);
	}
	if (call->is_reader && event != FHET_START)
		readers_running--;
	if (next_fmgr_hook)
		next_fmgr_hook(event, info, &call->next_private);
	if (call->is_reader && event == FHET_START)
		readers_running++;
}

void
guard_check_size(Relation rel)
{
	if (likely(readers_running == 0))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot read pages of Rowan table \"%s\" through shared_buffers",
					RelationGetRelationName(rel)),
			 errhint("Use rowan.get_page, rowan.prewarm or rowan.verify.")));
}

void
guard_install(void)
{
	next_needs_fmgr_hook = needs_fmgr_hook;
	needs_fmgr_hook = needs_hook;
	next_fmgr_hook = fmgr_hook;
	fmgr_hook = function_event;
}
