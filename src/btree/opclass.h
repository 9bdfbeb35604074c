/*
 * opclass.h
 *	  Operator classes of rowan_btree in btree's operator families.
 */
#ifndef ROWAN_BTREE_OPCLASS_H
#define ROWAN_BTREE_OPCLASS_H

#include "nodes/parsenodes.h"

#define ROWAN_INDEX_AM "rowan_btree"

/* The storage parameter that makes a key's index one of rowan_btree. */
#define KEY_MARKER "rowan_btree"

/*
 * Carries out CREATE OPERATOR CLASS ... USING rowan_btree FAMILY f if f is a family of btree; false
 * if the statement is something else, and core's.
 */
extern bool opclass_define(CreateOpClassStmt *statement);

/* After CREATE OPERATOR CLASS ... USING btree: makes ours. */
extern void opclass_follow(CreateOpClassStmt *statement);

/* The index access method's amvalidate. */
extern bool opclass_validate(Oid class);

#endif							/* ROWAN_BTREE_OPCLASS_H */
