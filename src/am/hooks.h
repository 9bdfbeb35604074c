/*
 * hooks.h
 *	  Where core must be kept from assuming heap.
 */
#ifndef ROWAN_AM_HOOKS_H
#define ROWAN_AM_HOOKS_H

/* Once, at load. */
extern void hooks_install(void);

#endif							/* ROWAN_AM_HOOKS_H */
