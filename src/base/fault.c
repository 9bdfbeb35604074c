/*
 * fault.c
 *	  Fault points: arming and acting.
 *
 * Takes no latches, but runs while its caller holds some: must not wait for
 * anything but time and its own disarming.
 */
#include "postgres.h"

#include <unistd.h>

#include "base/compat.h"
#include "base/export.h"
#include "base/fault.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/pmsignal.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#define FAULT_POINT_NAME(name) #name,
static const char *const fault_names[FAULT_POINTS] = {
	FAULT_POINT_LIST(FAULT_POINT_NAME)
};

const char *
fault_name(FaultPoint point)
{
	Assert(point < FAULT_POINTS);
	return fault_names[point];
}

#ifndef ROWAN_FAULTS

static void
refuse_without_faults(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("this build of rowan has no fault points"),
			 errhint("Build it with \"make FAULTS=1\".")));
}

void
fault_arm(const char *name, const char *action, uint32 argument)
{
	refuse_without_faults();
}

void
fault_disarm(const char *name)
{
	refuse_without_faults();
}

uint64
fault_hits(FaultPoint point)
{
	return 0;
}

void
fault_define_settings(void)
{
}

Size
fault_shmem_size(void)
{
	return 0;
}

void
fault_shmem_init(void)
{
}

#else

typedef enum FaultAction
{
	FAULT_NONE,
	FAULT_ERROR,
	FAULT_PANIC,
	FAULT_SLEEP,
	FAULT_WAIT
} FaultAction;

static const char *const action_names[] = {"none", "error", "panic", "sleep", "wait"};

typedef struct FaultSetting
{
	uint32		action;
	uint32		argument;
} FaultSetting;

typedef struct FaultShared
{
	uint32		armed;			/* number of points armed by fault_arm() */
	struct
	{
		pg_atomic_uint32 action;
		pg_atomic_uint32 argument;
		pg_atomic_uint64 hits;
	}			points[FAULT_POINTS];
} FaultShared;

static FaultShared *shared;
static FaultSetting settings[FAULT_POINTS]; /* from rowan.fault */
static char *fault_setting;
static uint32 never_armed;

bool		fault_armed_here;
volatile uint32 *fault_armed_anywhere = &never_armed;

static int
find_point(const char *name)
{
	for (int i = 0; i < FAULT_POINTS; i++)
		if (strcmp(fault_names[i], name) == 0)
			return i;
	return -1;
}

static int
find_action(const char *name)
{
	for (int i = 0; i < (int) lengthof(action_names); i++)
		if (strcmp(action_names[i], name) == 0)
			return i;
	return -1;
}

/* Waiting inside a critical section or under latches: no interrupts are served. */
static void
wait_until_disarmed(FaultPoint point, uint32 only_pid)
{
	if (only_pid != 0 && only_pid != (uint32) MyProcPid)
		return;
	while (pg_atomic_read_u32(&shared->points[point].action) == FAULT_WAIT)
	{
		if (!PostmasterIsAlive())
			_exit(1);
		pg_usleep(5000);
	}
}

static void
act(FaultPoint point, FaultAction action, uint32 argument)
{
	switch (action)
	{
		case FAULT_ERROR:
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("fault point \"%s\" reached", fault_names[point])));
			break;
		case FAULT_PANIC:
			ereport(PANIC,
					(errmsg("fault point \"%s\" reached", fault_names[point])));
			break;
		case FAULT_SLEEP:
			pg_usleep(argument * 1000L);
			break;
		case FAULT_WAIT:
			wait_until_disarmed(point, argument);
			break;
		case FAULT_NONE:
			break;
	}
}

/* Error and panic: at each hit, or only at the one that the argument counts down to. */
static bool
due_anywhere(FaultPoint point, uint32 argument)
{
	if (argument == 0)
		return true;
	if (pg_atomic_fetch_sub_u32(&shared->points[point].argument, 1) != 1)
		return false;
	pg_atomic_write_u32(&shared->points[point].action, FAULT_NONE);
	return true;
}

static bool
due_here(FaultSetting *setting)
{
	if (setting->argument == 0)
		return true;
	if (--setting->argument != 0)
		return false;
	setting->action = FAULT_NONE;
	return true;
}

static bool
counts_hits(uint32 action)
{
	return action == FAULT_ERROR || action == FAULT_PANIC;
}

void
fault_hit(FaultPoint point)
{
	FaultSetting here = settings[point];

	if (shared != NULL)
	{
		uint32		action = pg_atomic_read_u32(&shared->points[point].action);
		uint32		argument = pg_atomic_read_u32(&shared->points[point].argument);

		pg_atomic_fetch_add_u64(&shared->points[point].hits, 1);
		if (!counts_hits(action) || due_anywhere(point, argument))
			act(point, action, argument);
	}
	if (!counts_hits(here.action) || due_here(&settings[point]))
		act(point, here.action, here.argument);
}

/* "name:action[:argument]" */
static bool
parse_one(char *item, FaultSetting *parsed)
{
	char	   *action = strchr(item, ':');
	char	   *argument;
	int			point,
				kind;

	if (action == NULL)
		return false;
	*action++ = '\0';
	argument = strchr(action, ':');
	if (argument != NULL)
		*argument++ = '\0';
	point = find_point(item);
	kind = find_action(action);
	if (point < 0 || kind < 0 || kind == FAULT_WAIT)
		return false;
	parsed[point].action = kind;
	parsed[point].argument = argument ? (uint32) atol(argument) : 0;
	return true;
}

static bool
check_fault(char **newval, void **extra, GucSource source)
{
	FaultSetting *parsed = guc_malloc(LOG, FAULT_POINTS * sizeof(FaultSetting));
	char	   *list = pstrdup(*newval ? *newval : "");
	char	   *state;

	if (parsed == NULL)
		return false;
	memset(parsed, 0, FAULT_POINTS * sizeof(FaultSetting));
	for (char *item = strtok_r(list, ", ", &state); item != NULL;
		 item = strtok_r(NULL, ", ", &state))
	{
		if (!parse_one(item, parsed))
		{
			GUC_check_errdetail("Expected \"point:action[:argument]\" with a known point and the action error, panic or sleep.");
			guc_free(parsed);
			return false;
		}
	}
	*extra = parsed;
	return true;
}

static void
assign_fault(const char *newval, void *extra)
{
	fault_armed_here = newval != NULL && newval[0] != '\0';
	if (extra != NULL)
		memcpy(settings, extra, sizeof(settings));
}

void
fault_define_settings(void)
{
	DefineCustomStringVariable("rowan.fault",
							   "Fault points to act at: point:action[:argument], ...",
							   "Actions: error, panic (argument: which hit), sleep (argument: milliseconds).",
							   &fault_setting, "", PGC_SUSET, GUC_NOT_IN_SAMPLE,
							   check_fault, assign_fault, NULL);
}

Size
fault_shmem_size(void)
{
	return sizeof(FaultShared);
}

void
fault_shmem_init(void)
{
	bool		found;

	shared = ShmemInitStruct("rowan faults", sizeof(FaultShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(FaultShared));
		for (int i = 0; i < FAULT_POINTS; i++)
		{
			pg_atomic_init_u32(&shared->points[i].action, FAULT_NONE);
			pg_atomic_init_u32(&shared->points[i].argument, 0);
			pg_atomic_init_u64(&shared->points[i].hits, 0);
		}
	}
	fault_armed_anywhere = &shared->armed;
}

static int
require_point(const char *name)
{
	int			point = find_point(name);

	if (point < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("fault point \"%s\" does not exist", name)));
	return point;
}

/* Recounting keeps it right however often a point is armed. */
static void
count_armed(void)
{
	uint32		armed = 0;

	for (int i = 0; i < FAULT_POINTS; i++)
		if (pg_atomic_read_u32(&shared->points[i].action) != FAULT_NONE)
			armed++;
	shared->armed = armed;
}

void
fault_arm(const char *name, const char *action, uint32 argument)
{
	int			point = require_point(name);
	int			kind = find_action(action);

	if (kind < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fault action \"%s\" does not exist", action),
				 errhint("Actions are error, panic, sleep and wait.")));
	pg_atomic_write_u32(&shared->points[point].argument, argument);
	pg_atomic_write_u32(&shared->points[point].action, kind);
	count_armed();
}

void
fault_disarm(const char *name)
{
	int			only = name ? require_point(name) : -1;

	for (int i = 0; i < FAULT_POINTS; i++)
		if (only < 0 || only == i)
			pg_atomic_write_u32(&shared->points[i].action, FAULT_NONE);
	count_armed();
}

uint64
fault_hits(FaultPoint point)
{
	return pg_atomic_read_u64(&shared->points[point].hits);
}

/* ---- for tests, which declare these functions themselves ---- */

ROWAN_SQL_FUNCTION(rowan_fault_arm);
ROWAN_SQL_FUNCTION(rowan_fault_hits);

/* point, action, argument */
Datum
rowan_fault_arm(PG_FUNCTION_ARGS)
{
	fault_arm(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)),
			  PG_GETARG_UINT32(2));
	PG_RETURN_VOID();
}

/* How often a point was reached while any was armed. */
Datum
rowan_fault_hits(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(fault_hits(require_point(text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}

#endif							/* ROWAN_FAULTS */
