/*
 * server_stub.c
 *	  The few server functions that code under unit test calls, and TAP output.
 */
#include "postgres.h"

#include <stdarg.h>

#include "common/pg_prng.h"
#include "common/relpath.h"
#include "core.h"
#include "miscadmin.h"
#include "tap.h"
#include "utils/memutils.h"

/* ---- TAP ---- */

static int	tests_run;
static int	tests_failed;

void
tap_ok(bool ok, const char *name)
{
	tests_run++;
	if (!ok)
		tests_failed++;
	printf("%s %d - %s\n", ok ? "ok" : "not ok", tests_run, name);
	fflush(stdout);
}

int
tap_end(void)
{
	printf("1..%d\n", tests_run);
	return tests_failed == 0 ? 0 : 1;
}

void
tap_abort(const char *file, int line, const char *what)
{
	printf("Bail out! %s:%d: %s\n", file, line, what);
	fflush(stdout);
	abort();
}

/* ---- random numbers: splitmix64 ---- */

static __thread uint64 seed_state = 1;

void
test_seed(uint64 seed)
{
	seed_state = seed;
}

uint64
test_random(void)
{
	uint64		z = (seed_state += UINT64CONST(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

pg_prng_state pg_global_prng_state;

uint32
pg_prng_uint32(pg_prng_state *state)
{
	return (uint32) test_random();
}

/* ---- errors ---- */

sigjmp_buf *test_error_jump;
int			test_error_code;
static __thread int error_level;

bool
errstart(int elevel, const char *domain)
{
	error_level = elevel;
	test_error_code = ERRCODE_INTERNAL_ERROR;
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	if (error_level < ERROR)
		return;
	if (test_error_jump != NULL)
		siglongjmp(*test_error_jump, 1);
	tap_abort(filename, lineno, "ERROR raised");
}

int
errcode(int sqlerrcode)
{
	test_error_code = sqlerrcode;
	return 0;
}

static int
print_message(const char *fmt, va_list args)
{
	char		text[1024];

	if (test_error_jump == NULL)
	{
		vsnprintf(text, sizeof(text), fmt, args);
		printf("# %s\n", text);
	}
	return 0;
}

#define MESSAGE_FUNCTION(name) \
int \
name(const char *fmt,...) \
{ \
	va_list		args; \
\
	va_start(args, fmt); \
	print_message(fmt, args); \
	va_end(args); \
	return 0; \
}

MESSAGE_FUNCTION(errmsg)
MESSAGE_FUNCTION(errmsg_internal)
MESSAGE_FUNCTION(errhint)
MESSAGE_FUNCTION(errdetail)

void
ExceptionalCondition(EXCEPTION_PARAMETERS)
{
	tap_abort(fileName, lineNumber, conditionName);
}

/* ---- memory ---- */

void *
palloc(Size size)
{
	return malloc(size);
}

void *
palloc0(Size size)
{
	return calloc(1, size);
}

void *
palloc_extended(Size size, int flags)
{
	return (flags & MCXT_ALLOC_ZERO) ? calloc(1, size) : malloc(size);
}

/* Of a path, for a message: nobody frees it. */
char *
pstrdup(const char *in)
{
	static char copy[MAXPGPATH];

	snprintf(copy, sizeof(copy), "%s", in);
	return copy;
}

void
pfree(void *pointer)
{
	free(pointer);
}

/* ---- the rest ---- */

volatile sig_atomic_t InterruptPending = false;

void
ProcessInterrupts(void)
{
}

RELATION_PATH
GetRelationPath(Oid dbOid, Oid spcOid, Oid relNumber, int procNumber, ForkNumber forkNumber)
{
#if PG_VERSION_NUM >= 180000
	RelPathStr	path;

	snprintf(path.str, sizeof(path.str), "base/%u/%u", dbOid, relNumber);
	return path;
#else
	static char path[64];

	snprintf(path, sizeof(path), "base/%u/%u", dbOid, relNumber);
	return path;
#endif
}

#if PG_VERSION_NUM >= 180000
void
verify_compact_attribute(TupleDesc tupdesc, int attnum)
{
}
#endif

bool
TransactionIdFollows(TransactionId id1, TransactionId id2)
{
	return (int32) (id1 - id2) > 0;
}

void
pg_qsort(void *base, size_t n, size_t size, int (*compare) (const void *, const void *))
{
	(qsort) (base, n, size, compare);
}
