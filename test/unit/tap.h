/*
 * tap.h
 *	  What a unit test needs: TAP output, random numbers, and the message of an
 *	  ereport that the code under test raises.
 */
#ifndef ROWAN_TEST_TAP_H
#define ROWAN_TEST_TAP_H

#include "postgres.h"

#include <setjmp.h>

/* the C library's will do */
#undef printf
#undef snprintf
#undef vsnprintf

extern void tap_ok(bool ok, const char *name);
extern int	tap_end(void);		/* prints the plan; exit status */

/* For conditions checked a million times: prints and aborts when false. */
#define must(cond) \
	do { \
		if (!(cond)) \
			tap_abort(__FILE__, __LINE__, #cond); \
	} while (0)
extern void tap_abort(const char *file, int line, const char *what) __attribute__((noreturn));

/* Same numbers for the same seed everywhere. */
extern void test_seed(uint64 seed);
extern uint64 test_random(void);
static inline uint32
test_below(uint32 n)
{
	return (uint32) (test_random() % n);
}

/* An ERROR jumps there if set, with its SQLSTATE; otherwise the test aborts. */
extern sigjmp_buf *test_error_jump;
extern int	test_error_code;

#endif							/* ROWAN_TEST_TAP_H */
