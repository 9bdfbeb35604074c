/*
 * counters.c
 *	  The counters in shared memory.
 *
 * They only grow.  A reset remembers what they were, so that nobody who counts has to know of it.
 * No latches; a spinlock for the values at the last reset.
 */
#include "postgres.h"

#include "pool/counters.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

typedef struct Counters
{
	pg_atomic_uint64 n[COUNTERS];
	slock_t		mutex;
	CounterValues at_reset;
} Counters;

static Counters *counters;

Size
counters_shmem_size(void)
{
	return MAXALIGN(sizeof(Counters));
}

void
counters_shmem_init(void)
{
	bool		found;

	counters = ShmemInitStruct("rowan counters", sizeof(Counters), &found);
	if (found)
		return;
	memset(counters, 0, sizeof(Counters));
	for (int i = 0; i < COUNTERS; i++)
		pg_atomic_init_u64(&counters->n[i], 0);
	SpinLockInit(&counters->mutex);
	counters->at_reset.since = GetCurrentTimestamp();
}

void
counter_add(Counter counter, uint64 n)
{
	pg_atomic_fetch_add_u64(&counters->n[counter], n);
}

static void
read_all(uint64 *n)
{
	for (int i = 0; i < COUNTERS; i++)
		n[i] = pg_atomic_read_u64(&counters->n[i]);
}

void
counters_read(CounterValues *values)
{
	CounterValues at_reset;

	SpinLockAcquire(&counters->mutex);
	at_reset = counters->at_reset;
	SpinLockRelease(&counters->mutex);
	/* read later, so that none is below what it was then */
	read_all(values->n);
	values->since = at_reset.since;
	for (int i = 0; i < COUNTERS; i++)
		values->n[i] -= at_reset.n[i];
}

void
counters_reset(void)
{
	CounterValues now = {.since = GetCurrentTimestamp()};

	read_all(now.n);
	SpinLockAcquire(&counters->mutex);
	counters->at_reset = now;
	SpinLockRelease(&counters->mutex);
}
