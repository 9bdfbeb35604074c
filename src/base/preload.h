/*
 * preload.h
 *	  Whether the library was loaded when the server started.
 */
#ifndef ROWAN_BASE_PRELOAD_H
#define ROWAN_BASE_PRELOAD_H

/* Once, at load by shared_preload_libraries. */
extern void rowan_set_preloaded(void);

/* ERROR unless it was: without shared memory nothing works. */
extern void rowan_require_preload(void);

#endif							/* ROWAN_BASE_PRELOAD_H */
