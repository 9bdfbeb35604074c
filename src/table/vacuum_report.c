/*
 * vacuum_report.c
 *	  What VACUUM VERBOSE and the log of autovacuum say: what heap's vacuumlazy.c says, in its words
 *	  and its order, which tools look for; and a line of what heap has not.
 *
 * A page that was scanned is a leaf that was visited; a dead item identifier is a stub.
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/transam.h"
#include "base/compat.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "storage/bufmgr.h"
#include "table/vacuum_report.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

static const char *
schema_name(Relation rel)
{
	return get_namespace_name(RelationGetNamespace(rel));
}

void
vacuum_report_begin(VacuumReport *report, Relation rel, struct VacuumParams *params)
{
	report->rel = rel;
	report->params = params;
	report->start = GetCurrentTimestamp();
	pg_rusage_init(&report->usage);
	report->buffers = pgBufferUsage;
	report->wal = pgWalUsage;
	report->read_us = pgStatBlockReadTime;
	report->write_us = pgStatBlockWriteTime;
	report->frozen_xid = rel->rd_rel->relfrozenxid;
	report->min_multi = rel->rd_rel->relminmxid;
	if (params->options & VACOPT_VERBOSE)
		ereport(INFO,
				(errmsg("vacuuming \"%s.%s.%s\"", get_database_name(MyDatabaseId),
						schema_name(rel), RelationGetRelationName(rel))));
}

static double
percent(const VacuumReport *report, uint64 pages)
{
	return report->pages_before == 0 ? 100.0 : 100.0 * pages / report->pages_before;
}

static void
say_pages_and_rows(const VacuumReport *report, StringInfo text)
{
	BlockNumber removed = report->pages_before - Min(report->pages_before, report->pages_after);

	appendStringInfo(text, "pages: %u removed, %u remain, %llu scanned (%.2f%% of total)"
					 VACUUM_SAYS_EAGER "\n",
					 removed, report->pages_after, (unsigned long long) report->leaves_visited,
					 percent(report, report->leaves_visited));
	appendStringInfo(text, "tuples: %llu removed, %llu remain, %llu are dead but not yet removable\n",
					 (unsigned long long) report->rows_removed,
					 (unsigned long long) report->rows_left,
					 (unsigned long long) report->rows_recently_dead);
}

static void
say_limits(const VacuumReport *report, StringInfo text)
{
	appendStringInfo(text, "removable cutoff: %u, which was %d XIDs old when operation ended\n",
					 report->cutoff, (int32) (ReadNextTransactionId() - report->cutoff));
	if (TransactionIdIsValid(report->new_frozen_xid))
		appendStringInfo(text,
						 "new relfrozenxid: %u, which is %d XIDs ahead of previous value\n",
						 report->new_frozen_xid,
						 (int32) (report->new_frozen_xid - report->frozen_xid));
	if (MultiXactIdIsValid(report->new_min_multi))
		appendStringInfo(text, "new relminmxid: %u, which is %d MXIDs ahead of previous value\n",
						 report->new_min_multi,
						 (int32) (report->new_min_multi - report->min_multi));
}

static void
say_indexes(const VacuumReport *report, StringInfo text)
{
	bool		bypassed = report->indexes_bypassed;

	appendStringInfo(text, "index scan %s: %llu pages from table (%.2f%% of total) %s "
					 "%llu dead item identifiers%s\n",
					 bypassed ? "bypassed" : report->index_passes > 0 ? "needed" : "not needed",
					 (unsigned long long) report->stub_leaves,
					 percent(report, report->stub_leaves), bypassed ? "have" : "had",
					 (unsigned long long) (bypassed ? report->stubs_left : report->stubs_removed),
					 bypassed ? "" : " removed");
	for (int i = 0; i < report->nindexes; i++)
	{
		const IndexBulkDeleteResult *stats = report->index_stats[i];

		if (stats != NULL)
			appendStringInfo(text, "index \"%s\": pages: %u in total, %u newly deleted, "
							 "%u currently deleted, %u reusable\n",
							 report->index_names[i], stats->num_pages, stats->pages_newly_deleted,
							 stats->pages_deleted, stats->pages_free);
	}
}

/* What a heap has not. */
static void
say_versions(const VacuumReport *report, StringInfo text)
{
	appendStringInfo(text, "versions: %llu pages freed; stubs: %llu left; free pages: %u\n",
					 (unsigned long long) report->version_pages_freed,
					 (unsigned long long) report->stubs_left, report->free_pages);
	if (report->index_passes > 0)
		appendStringInfo(text, "indexes cleaned by key: %d of %d\n", report->indexes_by_key,
						 report->nindexes * report->index_passes);
}

static double
rate_of(uint64 blocks, double seconds)
{
	return seconds > 0 ? (double) BLCKSZ * blocks / (1024 * 1024) / seconds : 0;
}

static void
say_usage(const VacuumReport *report, TimestampTz end, StringInfo text)
{
	double		seconds = (end - report->start) / 1000000.0;
	BufferUsage buffers = {0};
	WalUsage	wal = {0};
	uint64		reads,
				dirtied;

	BufferUsageAccumDiff(&buffers, &pgBufferUsage, &report->buffers);
	WalUsageAccumDiff(&wal, &pgWalUsage, &report->wal);
	reads = buffers.shared_blks_read + buffers.local_blks_read;
	dirtied = buffers.shared_blks_dirtied + buffers.local_blks_dirtied;
	if (track_io_timing)
		appendStringInfo(text, "I/O timings: read: %.3f ms, write: %.3f ms\n",
						 (double) (pgStatBlockReadTime - report->read_us) / 1000,
						 (double) (pgStatBlockWriteTime - report->write_us) / 1000);
	appendStringInfo(text, "avg read rate: %.3f MB/s, avg write rate: %.3f MB/s\n",
					 rate_of(reads, seconds), rate_of(dirtied, seconds));
	appendStringInfo(text, "buffer usage: %lld hits, %llu " VACUUM_SAYS_READS ", %llu dirtied\n",
					 (long long) (buffers.shared_blks_hit + buffers.local_blks_hit),
					 (unsigned long long) reads, (unsigned long long) dirtied);
	appendStringInfo(text, "WAL usage: %lld records, %lld full page images, %llu bytes",
					 (long long) wal.wal_records, (long long) wal.wal_fpi,
					 (unsigned long long) wal.wal_bytes);
	vacuum_says_wal_full(text, &wal);
	appendStringInfo(text, "\nsystem usage: %s", pg_rusage_show(&report->usage));
}

static bool
is_to_be_said(const VacuumReport *report, TimestampTz end)
{
	int			least_ms = report->params->log_min_duration;

	if (report->params->options & VACOPT_VERBOSE)
		return true;
	return AmAutoVacuumWorkerProcess() && least_ms >= 0 &&
		(least_ms == 0 || TimestampDifferenceExceeds(report->start, end, least_ms));
}

void
vacuum_report_end(VacuumReport *report)
{
	TimestampTz end = GetCurrentTimestamp();
	bool		verbose = (report->params->options & VACOPT_VERBOSE) != 0;
	StringInfoData text;

	if (!is_to_be_said(report, end))
		return;
	initStringInfo(&text);
	appendStringInfo(&text, "%s \"%s.%s.%s\": index scans: %d\n",
					 verbose ? "finished vacuuming"
					 : report->params->is_wraparound ? "automatic vacuum to prevent wraparound of table"
					 : "automatic vacuum of table",
					 get_database_name(MyDatabaseId), schema_name(report->rel),
					 RelationGetRelationName(report->rel), report->index_passes);
	say_pages_and_rows(report, &text);
	say_limits(report, &text);
	say_indexes(report, &text);
	say_versions(report, &text);
	say_usage(report, end, &text);
	ereport(verbose ? INFO : LOG, (errmsg_internal("%s", text.data)));
	pfree(text.data);
}
