/*
 * hooks.h
 *	  Where core must be kept from assuming heap.
 */
#ifndef ROWAN_AM_HOOKS_H
#define ROWAN_AM_HOOKS_H

#include "nodes/parsenodes.h"

/* Once, at load. */
extern void hooks_install(void);

/* index_moves.c: raises an error for a statement that moves files of our indexes as core does it. */
extern void index_moves_refuse(Node *statement);

#endif							/* ROWAN_AM_HOOKS_H */
