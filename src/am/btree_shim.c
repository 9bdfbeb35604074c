/*
 * btree_shim.c
 *	  Interim: core's nbtree under the name of rowan_btree, so that operator classes and tests can be tried before the
 *	  access method is there.  Goes when src/index has rowan_btree_handler (the linker will insist).
 *
 * tuplesort takes btree's own indexes only, so the build is told that this is one.
 */
#include "postgres.h"
#include "access/amapi.h"
#include "access/nbtree.h"
#include "catalog/pg_am.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
PG_FUNCTION_INFO_V1(rowan_btree_handler);
static IndexBuildResult *
shim_build(Relation heap, Relation index, struct IndexInfo *info)
{
	Oid			am = index->rd_rel->relam;
	IndexBuildResult *r;

	PG_TRY();
	{
		index->rd_rel->relam = BTREE_AM_OID;
		r = btbuild(heap, index, info);
	}
	PG_FINALLY();
	{
		index->rd_rel->relam = am;
	}
	PG_END_TRY();
	return r;
}
Datum
rowan_btree_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *r = (IndexAmRoutine *) DatumGetPointer(OidFunctionCall1(F_BTHANDLER, PointerGetDatum(NULL)));

	r->ambuild = shim_build;
	PG_RETURN_POINTER(r);
}
