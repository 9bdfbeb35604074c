/*
 * preload.c
 *	  Whether the library was loaded when the server started, which everything but CREATE EXTENSION
 *	  needs: shared memory, the resource manager and the hooks can be had only then.
 */
#include "postgres.h"

#include "base/preload.h"

static bool preloaded = false;

void
rowan_set_preloaded(void)
{
	preloaded = true;
}

void
rowan_require_preload(void)
{
	if (!preloaded)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rowan must be loaded by shared_preload_libraries"),
				 errhint("Add rowan to shared_preload_libraries in postgresql.conf "
						 "and restart the server.")));
}
