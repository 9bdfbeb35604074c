/*
 * vacuum_report.h
 *	  What VACUUM VERBOSE and the log of autovacuum say.
 */
#ifndef ROWAN_TABLE_VACUUM_REPORT_H
#define ROWAN_TABLE_VACUUM_REPORT_H

#include "access/genam.h"
#include "commands/vacuum.h"
#include "executor/instrument.h"
#include "utils/pg_rusage.h"
#include "utils/rel.h"

typedef struct VacuumReport
{
	/* as it was at the beginning */
	Relation	rel;
	struct VacuumParams *params;
	TimestampTz start;
	PGRUsage	usage;
	BufferUsage buffers;
	WalUsage	wal;
	int64		read_us;
	int64		write_us;
	TransactionId frozen_xid;	/* relfrozenxid, relminmxid */
	MultiXactId min_multi;

	/* to be filled in */
	BlockNumber pages_before;	/* in use */
	BlockNumber pages_after;
	uint64		leaves_visited;
	uint64		rows_removed;
	uint64		rows_left;
	uint64		rows_recently_dead;
	uint64		stub_leaves;
	uint64		stubs_removed;
	uint64		stubs_left;
	uint64		version_pages_freed;
	BlockNumber free_pages;
	TransactionId cutoff;
	TransactionId new_frozen_xid;	/* Invalid: it stays */
	MultiXactId new_min_multi;
	int			index_passes;
	bool		indexes_bypassed;
	int			indexes_by_key; /* cleaned of rows that were looked for */
	int			nindexes;
	char	  **index_names;
	IndexBulkDeleteResult **index_stats;
} VacuumReport;

extern void vacuum_report_begin(VacuumReport *report, Relation rel, struct VacuumParams *params);

/* Says it, if it is to be said. */
extern void vacuum_report_end(VacuumReport *report);

#endif							/* ROWAN_TABLE_VACUUM_REPORT_H */
