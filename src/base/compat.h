/*
 * compat.h
 *	  Where the majors of PostgreSQL differ, as far as names, types and calls go.
 *
 * The source speaks the newest major's names; here they are mapped to what older ones call
 * the same thing.  A call whose arguments or result have changed has a wrapper here, named after
 * what it does.  Besides this file only those that hold core's callback signatures ask which
 * major it is (test/t/seam.py knows them).
 *
 * Relies on: nothing of ours.
 */
#ifndef ROWAN_BASE_COMPAT_H
#define ROWAN_BASE_COMPAT_H

#include "access/xloginsert.h"
#include "access/xlogreader.h"
#include "common/relpath.h"
#include "storage/backendid.h"
#include "storage/proc.h"
#include "storage/relfilenode.h"
#include "storage/smgr.h"
#include "storage/standby.h"
#include "utils/guc.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 160000
#error "Rowan supports PostgreSQL 15"
#endif

/* ---- names ---- */

/* exported by the server, in no header before 16 */
extern PGDLLIMPORT bool ignore_checksum_failure;
extern PGDLLIMPORT bool ignore_invalid_pages;

/* since 16 */
#define RelFileLocator			RelFileNode
#define RelFileLocatorEquals	RelFileNodeEquals
#define spcOid					spcNode
#define dbOid					dbNode
#define relNumber				relNode
#define rd_locator				rd_node
#define rlocator				rnode
#define xlocators				xnodes
#define relation_set_new_filelocator	relation_set_new_filenode
#define PGIOAlignedBlock		PGAlignedBlock

/* since 17 */
#define ProcNumber				BackendId
#define INVALID_PROC_NUMBER		InvalidBackendId
#define ProcNumberForTempRelations	BackendIdForTempRelations
#define ProcNumberGetProc		BackendIdGetProc
#define procNumber				backendId
#define MyProcNumber			(MyProc->pgprocno)
#define shared_blk_read_time	blk_read_time
#define shared_blk_write_time	blk_write_time
#define smgrdestroyall			smgrcloseall

/* ---- what is reached in another way ---- */

/* This process's local transaction number: a variable. */
#define my_local_xid			(MyProc->lxid)

/* Counters of blocks in a relation's statistics, which must be there: variables. */
#define relation_blocks_fetched(rel)	((rel)->pgstat_info->t_counts.t_blocks_fetched)
#define relation_blocks_hit(rel)		((rel)->pgstat_info->t_counts.t_blocks_hit)

/* ---- calls ---- */

/* A relation's main file, by its path in the data directory; palloc'd. */
static inline char *
file_path(RelFileLocator locator, ProcNumber backend)
{
	return relpathbackend(locator, backend, MAIN_FORKNUM);
}

/* The same of the fork that unlogged relations start with. */
static inline char *
init_fork_path(RelFileLocator locator)
{
	return relpathperm(locator, INIT_FORKNUM);
}

/* In a critical section; the sizes are taken by the caller before it. */
static inline void
truncate_fork(SMgrRelation reln, ForkNumber fork, BlockNumber old_blocks, BlockNumber blocks)
{
	smgrtruncate2(reln, &fork, 1, &old_blocks, &blocks);
}

/* Ends the standby's queries that may still see what no snapshot up to the horizon may need. */
static inline void
resolve_snapshot_conflict(TransactionId horizon, RelFileLocator locator)
{
	ResolveRecoveryConflictWithSnapshot(horizon, locator);
}

/* Asks the operating system for a block that will be read soon. */
static inline bool
prefetch_block(SMgrRelation reln, BlockNumber block)
{
	return smgrprefetch(reln, MAIN_FORKNUM, block);
}

#endif							/* ROWAN_BASE_COMPAT_H */
