/*
 * counters.h
 *	  What has been done since the server started, or since somebody reset the counters.
 *
 * Counted on slow paths only: never where a page is found in the pool, or a row is changed.
 */
#ifndef ROWAN_POOL_COUNTERS_H
#define ROWAN_POOL_COUNTERS_H

#include "datatype/timestamp.h"

/*
 *	READS, WRITES		pages read from and written to files
 *	EVICTIONS			pages that made room for others
 *	BACKEND_WRITES		of the writes: by a process in need of room
 *	CLEAN_WRITES		by the pool worker or the recovery writer, in the background
 *	FLUSH_WRITES		by flushes of the whole pool, for checkpoints
 *	FLUSHES, FLUSH_US	how many of these, and how long they took together
 *	DISCARDS			changed pages dropped because their file was gone
 *	SPLITS, ROOT_SPLITS	pages that became two; roots that got a level below them
 *	MERGES				pages joined with a neighbour
 *	ROOT_COLLAPSES		roots that lost a level
 *	PAGE_MOVES			pages moved towards the file's beginning
 *	VERSION_PAGES_ADDED, VERSION_PAGES_FREED
 */
#define ROWAN_COUNTERS(COUNTER) \
	COUNTER(READS) \
	COUNTER(WRITES) \
	COUNTER(EVICTIONS) \
	COUNTER(BACKEND_WRITES) \
	COUNTER(CLEAN_WRITES) \
	COUNTER(FLUSH_WRITES) \
	COUNTER(FLUSHES) \
	COUNTER(FLUSH_US) \
	COUNTER(DISCARDS) \
	COUNTER(SPLITS) \
	COUNTER(ROOT_SPLITS) \
	COUNTER(MERGES) \
	COUNTER(ROOT_COLLAPSES) \
	COUNTER(PAGE_MOVES) \
	COUNTER(VERSION_PAGES_ADDED) \
	COUNTER(VERSION_PAGES_FREED)

#define COUNTER_NUMBER(name) COUNT_##name,

typedef enum Counter
{
	ROWAN_COUNTERS(COUNTER_NUMBER)
	COUNTERS
} Counter;

typedef struct CounterValues
{
	TimestampTz since;			/* the start of the server, or the last reset */
	uint64		n[COUNTERS];
} CounterValues;

extern Size counters_shmem_size(void);
extern void counters_shmem_init(void);

extern void counter_add(Counter counter, uint64 n);

static inline void
count_one(Counter counter)
{
	counter_add(counter, 1);
}

/* What has been counted since then. */
extern void counters_read(CounterValues *values);
extern void counters_reset(void);

#endif							/* ROWAN_POOL_COUNTERS_H */
