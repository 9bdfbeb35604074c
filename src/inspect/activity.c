/*
 * activity.c
 *	  SQL functions behind the views: what is in the pool, what has been done, and how the files
 *	  are, as far as it can be told without reading them.
 *
 * They are asked again and again by programs that watch, so they wait for no lock of a relation.
 * Latches: only those that the pool takes for a copy.
 */
#include "postgres.h"

#include "access/relation.h"
#include "base/export.h"
#include "base/preload.h"
#include "funcapi.h"
#include "inspect/result.h"
#include "pool/counters.h"
#include "utils/timestamp.h"

ROWAN_SQL_FUNCTION(rowan_pool_stat);
ROWAN_SQL_FUNCTION(rowan_pool_relations);
ROWAN_SQL_FUNCTION(rowan_tree_activity);
ROWAN_SQL_FUNCTION(rowan_worker_stat);
ROWAN_SQL_FUNCTION(rowan_reset_stats);
ROWAN_SQL_FUNCTION(rowan_file_state);

static void
set_time(ResultRow *row, int column, TimestampTz time)
{
	if (time != 0)
		set_datum(row, column, TimestampTzGetDatum(time));
}

/* These counters, in the columns from there on; returns the next column. */
static int
set_counters(ResultRow *row, int column, const CounterValues *values, const Counter *counters,
			 int n)
{
	for (int i = 0; i < n; i++)
		set_bigint(row, column++, values->n[counters[i]]);
	return column;
}

/* ---- the pool ---- */

Datum
rowan_pool_stat(PG_FUNCTION_ARGS)
{
	static const Counter counters[] = {
		COUNT_READS, COUNT_WRITES, COUNT_EVICTIONS, COUNT_BACKEND_WRITES, COUNT_DISCARDS,
		COUNT_FLUSHES
	};
	CounterValues values;
	PoolStat	stat;
	ResultRow	row;
	int			column = 0;

	rowan_require_preload();
	pool_get_stat(&stat);
	counters_read(&values);
	clear_row(&row);
	set_bigint(&row, column++, stat.frames);
	set_bigint(&row, column++, stat.used);
	set_bigint(&row, column++, stat.dirty);
	column = set_counters(&row, column, &values, counters, lengthof(counters));
	set_datum(&row, column++, BoolGetDatum(stat.armed != 0));
	return inspect_row_result(fcinfo, &row);
}

/* A row for each file with pages in the pool; names are found by the view. */
Datum
rowan_pool_relations(PG_FUNCTION_ARGS)
{
	PoolShare  *shares;
	int			n;

	rowan_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	shares = pool_get_shares(&n);
	for (int i = 0; i < n; i++)
	{
		ResultRow	row;
		int			column = 0;

		clear_row(&row);
		set_datum(&row, column++, ObjectIdGetDatum(shares[i].locator.dbOid));
		set_datum(&row, column++, ObjectIdGetDatum(shares[i].locator.spcOid));
		set_datum(&row, column++, ObjectIdGetDatum(shares[i].locator.relNumber));
		set_datum(&row, column++, BoolGetDatum(shares[i].backend != INVALID_PROC_NUMBER));
		set_bigint(&row, column++, shares[i].frames);
		set_bigint(&row, column++, shares[i].dirty);
		set_bigint(&row, column++, shares[i].referenced);
		inspect_put_row(fcinfo, &row);
	}
	return (Datum) 0;
}

/* ---- what has been done ---- */

Datum
rowan_tree_activity(PG_FUNCTION_ARGS)
{
	static const Counter counters[] = {
		COUNT_SPLITS, COUNT_ROOT_SPLITS, COUNT_MERGES, COUNT_ROOT_COLLAPSES, COUNT_PAGE_MOVES,
		COUNT_VERSION_PAGES_ADDED, COUNT_VERSION_PAGES_FREED
	};
	CounterValues values;
	ResultRow	row;
	int			column;

	rowan_require_preload();
	counters_read(&values);
	clear_row(&row);
	column = set_counters(&row, 0, &values, counters, lengthof(counters));
	set_time(&row, column, values.since);
	return inspect_row_result(fcinfo, &row);
}

Datum
rowan_worker_stat(PG_FUNCTION_ARGS)
{
	CounterValues values;
	WorkerStat	stat;
	ResultRow	row;
	int			column = 0;

	rowan_require_preload();
	pool_get_worker_stat(&stat);
	counters_read(&values);
	clear_row(&row);
	set_datum(&row, column++, BoolGetDatum(stat.armed));
	set_int(&row, column++, stat.writers);
	set_time(&row, column++, stat.tick);
	set_bigint(&row, column++, values.n[COUNT_CLEAN_WRITES]);
	set_bigint(&row, column++, values.n[COUNT_FLUSHES]);
	set_bigint(&row, column++, values.n[COUNT_FLUSH_WRITES]);
	set_datum(&row, column++, Float8GetDatum(values.n[COUNT_FLUSH_US] / 1000.0));
	set_time(&row, column++, stat.flush_end);
	if (stat.flush_end != 0)
		set_bigint(&row, column, stat.flush_pages);
	column++;
	/* a flush has begun after the last one that has ended */
	if (stat.flush_start > stat.flush_end)
		set_time(&row, column, stat.flush_start);
	column++;
	set_time(&row, column++, values.since);
	return inspect_row_result(fcinfo, &row);
}

Datum
rowan_reset_stats(PG_FUNCTION_ARGS)
{
	rowan_require_preload();
	counters_reset();
	PG_RETURN_VOID();
}

/* ---- files ---- */

/*
 * The newest xid that superseded a version on the oldest version page: whoever sees older states
 * keeps it.
 */
static TransactionId
oldest_version_xid(const PoolFile *file, const FileHeaderData *header)
{
	PGAlignedBlock page;

	if (!BlockNumberIsValid(header->version_head) ||
		header->version_head >= pool_file_blocks(file))
		return InvalidTransactionId;
	pool_read_copy(file, header->version_head, NULL, page.data);
	return page_trailer(page.data)->type == ROWAN_PAGE_VERSION ?
		page_trailer(page.data)->newest_xid : InvalidTransactionId;
}

static int
root_level(const PoolFile *file)
{
	PGAlignedBlock page;

	pool_read_copy(file, ROWAN_ROOT_BLOCK, NULL, page.data);
	return page_trailer(page.data)->level;
}

/* Of three pages.  NULL: the relation is gone, or locked by somebody who changes all of it. */
Datum
rowan_file_state(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open_if_free(PG_GETARG_OID(0), &file);
	FileHeaderData header;
	ResultRow	row;
	int			column = 0;

	if (rel == NULL)
		PG_RETURN_NULL();
	clear_row(&row);
	if (tree_exists(&file))
	{
		space_read_header(&file, &header);
		set_int(&row, column++, root_level(&file) + 1);
		set_bigint(&row, column++, pool_file_blocks(&file));
		set_bigint(&row, column++, header.high_water);
		set_bigint(&row, column++, header.free_count);
		set_bigint(&row, column++, header.version_count);
		set_xid(&row, column++, oldest_version_xid(&file, &header));
	}
	relation_close(rel, AccessShareLock);
	return inspect_row_result(fcinfo, &row);
}
