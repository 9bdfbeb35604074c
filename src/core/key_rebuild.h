/*
 * key_rebuild.h
 *	  ALTER TABLE ... TYPE of columns of keys on rowan_btree.
 */
#ifndef ROWAN_CORE_KEY_REBUILD_H
#define ROWAN_CORE_KEY_REBUILD_H

#include "nodes/parsenodes.h"

/*
 * Before core runs the statement, and after it, with what the former returned.  If the statement
 * fails, its transaction does, too.
 */
extern List *key_rebuild_begin(Node *statement);
extern void key_rebuild_end(List *keys);

#endif							/* ROWAN_CORE_KEY_REBUILD_H */
