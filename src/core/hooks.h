/*
 * hooks.h
 *	  Where core must be kept from assuming heap.
 */
#ifndef ROWAN_CORE_HOOKS_H
#define ROWAN_CORE_HOOKS_H

#include "base/compat.h"
#include "nodes/parsenodes.h"
#include "utils/relcache.h"

/* Once, at load. */
extern void hooks_install(void);
extern void guard_install(void);

/* None of our tables is a user_catalog_table, which logical decoding would look into. */
extern void decoding_install(void);

/* Before the first block of a bitmap scan: core must not prefetch its blocks. */
extern void hooks_stop_prefetching(void);

/*
 * Whether the statement runs scripts of extensions, and the default table access method is ours;
 * then extension_run runs it, with heap as the default.  Every statement is shown to
 * extension_note_statement first.
 */
struct UtilityCall;
extern bool extension_statement(Node *statement);
extern void extension_run(void (*run) (const struct UtilityCall *call),
						  const struct UtilityCall *call);
extern void extension_note_statement(Node *statement);

/*
 * In PG_CATCH: rethrows the current error, in better words if it came from a function for heaps
 * that met a file of ours.  context outlives the error.
 */
pg_noreturn extern void heap_errors_rethrow(MemoryContext context);

/*
 * Refuse (ERROR) pg_repack's copy of a table, or its exchange of files with that, if access methods
 * differ and one is ours.
 */
extern void repack_check_copy(CreateTableAsStmt *statement);
extern void repack_check_swap(Oid relid);

/*
 * Refuses (ERROR) if what asks for the size of a main fork goes on to read it through
 * shared_buffers.
 */
extern void guard_check_size(Relation rel);

#endif							/* ROWAN_CORE_HOOKS_H */
