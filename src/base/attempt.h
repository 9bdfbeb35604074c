/*
 * attempt.h
 *	  Trying something that may raise an error.
 */
#ifndef ROWAN_BASE_ATTEMPT_H
#define ROWAN_BASE_ATTEMPT_H

/*
 * Runs the action in a subtransaction, of which an error leaves nothing.  The error, palloc'd, or
 * NULL.  Not in parallel mode.
 */
extern ErrorData *attempt(void (*action) (void *arg), void *arg);

#endif							/* ROWAN_BASE_ATTEMPT_H */
