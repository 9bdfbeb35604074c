/*
 * salvage.h
 *	  rowan.salvage(): where salvaged rows go.
 *
 * Private to src/inspect.
 */
#ifndef ROWAN_INSPECT_SALVAGE_H
#define ROWAN_INSPECT_SALVAGE_H

#include "utils/relcache.h"

/*
 * Rows on their way into the target, in batches, by INSERT: constraints, triggers, defaults and
 * indexes of the target have their part.
 */
typedef struct SalvageStore SalvageStore;

/*
 * Columns go to those of the same name; an error if there is none.  Between begin and end the
 * current memory context is SPI's.
 */
extern SalvageStore *salvage_store_begin(Relation source, Relation target);

/* All columns of the source; nothing in them is out of line. */
extern void salvage_store_row(SalvageStore *store, const Datum *values, const bool *isnull,
							  Size bytes);

/* How many rows were stored. */
extern uint64 salvage_store_end(SalvageStore *store);

#endif							/* ROWAN_INSPECT_SALVAGE_H */
