/*
 * latches.c
 *	  For tests, in builds with fault points: latches pages in whatever order it is told.
 *
 * So a test sees that the list of held latches (pool/held.c) is kept in a server, and looked at.
 */
#include "postgres.h"

#ifdef ROWAN_FAULTS

#include "access/relation.h"
#include "base/export.h"
#include "inspect/result.h"

#define MAX_BLOCKS	8

ROWAN_SQL_FUNCTION(rowan_latch_blocks);

/* relation; blocks, an array of integers, latched one after the other; whether to leave them so */
Datum
rowan_latch_blocks(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);
	ArrayType  *blocks = PG_GETARG_ARRAYTYPE_P(1);
	const int32 *block = (const int32 *) ARR_DATA_PTR(blocks);
	int			n = ArrayGetNItems(ARR_NDIM(blocks), ARR_DIMS(blocks));
	PoolFrame  *frames[MAX_BLOCKS];

	if (n > MAX_BLOCKS)
		elog(ERROR, "more than %d blocks", MAX_BLOCKS);
	for (int i = 0; i < n; i++)
		frames[i] = pool_latch(&file, block[i], LW_SHARED);
	if (!PG_GETARG_BOOL(2))
		while (n > 0)
			pool_unlatch(frames[--n]);
	relation_close(rel, AccessShareLock);
	PG_RETURN_VOID();
}

#endif
