/*
 * hooks.h
 *	  Where core must be kept from assuming heap.
 */
#ifndef ROWAN_AM_HOOKS_H
#define ROWAN_AM_HOOKS_H

#include "nodes/parsenodes.h"
#include "utils/relcache.h"

/* Once, at load. */
extern void hooks_install(void);
extern void guard_install(void);

/* Warns if the publication includes Rowan tables. */
extern void publish_warn(const char *name);
extern void publish_warn_copy(const CopyStmt *copy);

/* Logical decoding leaves TRUNCATE of our tables out, and none of them is its user_catalog_table. */
extern void decoding_install(void);

/* Before the first block of a bitmap scan: core must not prefetch its blocks. */
extern void hooks_stop_prefetching(void);

/* Refuses (ERROR) if what asks for the size of a main fork goes on to read it through shared_buffers. */
extern void guard_check_size(Relation rel);

#endif							/* ROWAN_AM_HOOKS_H */
