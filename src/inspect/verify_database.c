/*
 * verify_database.c
 *	  rowan.verify_database(): all Rowan tables and rowan_btree indexes of the database, one by one;
 *	  and how far a verification has come.
 *
 * Progress is kept where core keeps that of its commands, under a number that none of them has, so
 * it goes with its backend, and with its transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/export.h"
#include "btree/btree.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "funcapi.h"
#include "inspect/problems.h"
#include "inspect/result.h"
#include "inspect/verify_index.h"
#include "miscadmin.h"
#include "table/table.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

ROWAN_SQL_FUNCTION(rowan_verify_database);
ROWAN_SQL_FUNCTION(rowan_verify_progress);

/* ---- progress ---- */

/* Far beyond core's. */
#define PROGRESS_COMMAND_VERIFY		((ProgressCommandType) 18700)

/* So many pages at a time. */
#define PROGRESS_PAGES				32

enum
{
	VERIFY_PAGES_DONE,
	VERIFY_PAGES,
	VERIFY_RELATIONS_DONE,
	VERIFY_RELATIONS,
	VERIFY_PARAMETERS
};

void
progress_begin(Problems *problems, Oid relid, const PoolFile *file)
{
	const int	index[] = {VERIFY_PAGES, VERIFY_RELATIONS_DONE, VERIFY_RELATIONS};
	int64		value[] = {pool_file_blocks(file), (int64) problems->relations_done,
	(int64) Max(problems->relations, 1)};

	problems->pages = 0;
	pgstat_progress_start_command(PROGRESS_COMMAND_VERIFY, relid);
	pgstat_progress_update_multi_param(lengthof(index), index, value);
}

void
progress_count_page(Problems *problems)
{
	if (++problems->pages % PROGRESS_PAGES == 0)
		pgstat_progress_update_param(VERIFY_PAGES_DONE, (int64) problems->pages);
}

void
progress_end(void)
{
	pgstat_progress_end_command();
}

Datum
rowan_verify_progress(PG_FUNCTION_ARGS)
{
	int			n = pgstat_fetch_stat_numbackends();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 1; i <= n; i++)
	{
		const LocalPgBackendStatus *local = local_backend_status(i);
		const PgBackendStatus *status;
		ResultRow	row;
		int			column = 0;

		if (local == NULL)
			continue;
		status = &local->backendStatus;
		if (status->st_progress_command != PROGRESS_COMMAND_VERIFY)
			continue;
		clear_row(&row);
		set_int(&row, column++, status->st_procpid);
		set_datum(&row, column++, ObjectIdGetDatum(status->st_databaseid));
		set_datum(&row, column++, ObjectIdGetDatum(status->st_progress_command_target));
		for (int parameter = 0; parameter < VERIFY_PARAMETERS; parameter++)
			set_bigint(&row, column++, status->st_progress_param[parameter]);
		inspect_put_row(fcinfo, &row);
	}
	return (Datum) 0;
}

/* ---- the database ---- */

typedef struct Candidate
{
	Oid			relid;
	bool		is_index;
	int32		pages;			/* as statistics have it */
} Candidate;

static bool
is_candidate_class(Form_pg_class class, Oid index_method)
{
	if (class->relpersistence == RELPERSISTENCE_TEMP && isOtherTempNamespace(class->relnamespace))
		return false;
	if (class->relkind == RELKIND_INDEX)
		return OidIsValid(index_method) && class->relam == index_method;
	return RELKIND_HAS_TABLE_AM(class->relkind) && rowan_method_is_rowan(class->relam);
}

static Candidate *
find_candidates(int *n)
{
	Relation	catalog = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	Oid			index_method = get_index_am_oid("rowan_btree", true);
	Candidate  *candidates = palloc(64 * sizeof(Candidate));
	int			size = 64;
	HeapTuple	tuple;

	*n = 0;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);

		if (!is_candidate_class(class, index_method))
			continue;
		if (*n == size)
			candidates = repalloc(candidates, (size *= 2) * sizeof(Candidate));
		candidates[*n].relid = class->oid;
		candidates[*n].is_index = class->relkind == RELKIND_INDEX;
		candidates[*n].pages = class->relpages;
		(*n)++;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return candidates;
}

/* The largest first, so that parts are of one size. */
static int
compare_candidates(const void *a, const void *b)
{
	const Candidate *x = a;
	const Candidate *y = b;

	if (x->pages != y->pages)
		return x->pages > y->pages ? -1 : 1;
	return x->relid < y->relid ? -1 : x->relid > y->relid;
}

static void
check_part(int32 part, int32 parts)
{
	if (parts < 1 || part < 1 || part > parts)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no part %d of %d", part, parts),
				 errhint("Parts are counted from 1.")));
}

static void
verify_candidate(const Problems *all, const Candidate *candidate, bool both_ways)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "Rowan verify",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Problems	problems = *all;

	problems.relation = candidate->relid;
	if (candidate->is_index)
		verify_index(&problems, candidate->relid, both_ways, true);
	else
		verify_table(&problems, candidate->relid, true);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

Datum
rowan_verify_database(PG_FUNCTION_ARGS)
{
	bool		both_ways = PG_GETARG_BOOL(0);
	int32		part = PG_GETARG_INT32(1);
	int32		parts = PG_GETARG_INT32(2);
	int			n;
	Candidate  *candidates;
	Problems	all = {.result = (ReturnSetInfo *) fcinfo->resultinfo};

	check_part(part, parts);
	InitMaterializedSRF(fcinfo, 0);
	candidates = find_candidates(&n);
	qsort(candidates, n, sizeof(Candidate), compare_candidates);
	all.relations = n / parts + (n % parts >= part ? 1 : 0);
	for (int i = part - 1; i < n; i += parts)
	{
		CHECK_FOR_INTERRUPTS();
		verify_candidate(&all, &candidates[i], both_ways);
		all.relations_done++;
	}
	return (Datum) 0;
}
