/*
 * rowcompare.h
 *	  Row comparisons as conditions of rowan_btree indexes.
 */
#ifndef ROWAN_CORE_ROWCOMPARE_H
#define ROWAN_CORE_ROWCOMPARE_H

#include "nodes/execnodes.h"

/* Once, at load. */
extern void rowcompare_install(void);

/* A plan that is about to run. */
extern void rowcompare_prepare(PlanState *state);

#endif							/* ROWAN_CORE_ROWCOMPARE_H */
