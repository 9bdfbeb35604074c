/*
 * pool_stub.h
 *	  A pool without a server: one file, all pages in memory; threads stand for
 *	  backends.
 *
 * It checks the rules of latching, makes optimistic reads fail now and then (showing
 * garbage first), and keeps a replica that is changed only by what a WAL record would hold.
 */
#ifndef ROWAN_TEST_POOL_STUB_H
#define ROWAN_TEST_POOL_STUB_H

#include "pool/change.h"
#include "pool/wal.h"
#include "pool/pool.h"

extern const PoolFile stub_file;

extern void stub_reset(void);	/* an empty file, no replica errors */

/* One read in n fails; 0: none. */
extern void stub_set_read_failures(int n);

/* One read in n lets other threads run; 0: none. */
extern void stub_set_yields(int n);

/* Abandons latches and the change, as after an ERROR. */
extern void stub_release_all(void);
extern int	stub_latches_held(void);

/* It is the test itself that compares keys: it may, where code under test may not. */
extern __thread bool stub_test_compares;

/* The replica's page, for changes that are no PageChange. */
extern Page stub_replica_page(BlockNumber block);

/* First block whose replica differs outside the gap, or InvalidBlockNumber. */
extern BlockNumber stub_replica_difference(void);

extern uint64 stub_commits;		/* changes committed */
extern uint64 stub_logged_bytes;	/* that their records would hold */

#endif							/* ROWAN_TEST_POOL_STUB_H */
