/*
 * export.h
 *	  What of the library others may see: functions that SQL or core look up by name.
 *
 * Everything else is hidden (-fvisibility=hidden), so that no other library's symbols meet ours.
 * PostgreSQL marks what it looks up with PGDLLEXPORT, which says nothing in 15 but on Windows.
 */
#ifndef ROWAN_BASE_EXPORT_H
#define ROWAN_BASE_EXPORT_H

#include "fmgr.h"

#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))

/* Heads the definition of a function that is called from SQL. */
#define ROWAN_SQL_FUNCTION(name) \
extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
PG_FUNCTION_INFO_V1(name)

#endif							/* ROWAN_BASE_EXPORT_H */
