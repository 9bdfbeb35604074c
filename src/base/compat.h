/*
 * compat.h
 *	  Every use of a core interface that differs between PostgreSQL versions.
 *
 * Only these wrappers name such calls; a port to another major version is an edit
 * of this file.
 */
#ifndef ROWAN_BASE_COMPAT_H
#define ROWAN_BASE_COMPAT_H

#include "access/xlogreader.h"
#include "access/xloginsert.h"
#include "common/relpath.h"
#include "storage/proc.h"
#include "storage/smgr.h"
#include "storage/standby.h"
#include "utils/guc.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 160000
#error "Rowan supports PostgreSQL 15"
#endif

/* exported by the server, in no header before 16 */
extern bool ignore_checksum_failure;
extern bool ignore_invalid_pages;

/* 17: MyProc->vxid.lxid */
#define COMPAT_MY_LXID (MyProc->lxid)

/* 16: RelFileLocator with spcOid, dbOid, relNumber */
#define node_tablespace(node)	((node).spcNode)
#define node_database(node)		((node).dbNode)
#define node_relation(node)		((node).relNode)

static inline void
compat_read(SMgrRelation reln, BlockNumber block, char *page)
{
	smgrread(reln, MAIN_FORKNUM, block, page);
}

static inline void
compat_write(SMgrRelation reln, BlockNumber block, char *page, bool skip_fsync)
{
	smgrwrite(reln, MAIN_FORKNUM, block, page, skip_fsync);
}

static inline void
compat_extend(SMgrRelation reln, BlockNumber block, char *page, bool skip_fsync)
{
	smgrextend(reln, MAIN_FORKNUM, block, page, skip_fsync);
}

/* In a critical section; the sizes are taken by the caller before it. */
static inline void
compat_truncate_fork(SMgrRelation reln, ForkNumber fork, BlockNumber old_blocks,
					 BlockNumber blocks)
{
	smgrtruncate2(reln, &fork, 1, &old_blocks, &blocks);
}

static inline void
compat_truncate(SMgrRelation reln, BlockNumber old_blocks, BlockNumber blocks)
{
	compat_truncate_fork(reln, MAIN_FORKNUM, old_blocks, blocks);
}

static inline void
compat_register_block(uint8 block_id, const RelFileNode *node, BlockNumber block,
					  Page page, uint8 flags)
{
	XLogRegisterBlock(block_id, unconstify(RelFileNode *, node), MAIN_FORKNUM, block,
					  (char *) page, flags);
}

static inline void
compat_resolve_conflict(TransactionId horizon, RelFileNode node)
{
	ResolveRecoveryConflictWithSnapshot(horizon, node);
}

#define compat_path(node, backend)	relpathbackend(node, backend, MAIN_FORKNUM)

#endif							/* ROWAN_BASE_COMPAT_H */
