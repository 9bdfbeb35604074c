/*
 * tuples.c
 *	  A trigger that says what the headers of the tuples look like that triggers are given.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(show_tuples);

static void
show(const char *which, const char *when, HeapTuple tuple)
{
	HeapTupleHeader header = tuple->t_data;
	int			both = HEAP_XMAX_COMMITTED | HEAP_XMAX_INVALID;
	bool		composite = (header->t_infomask & both) == both;

	elog(NOTICE, "%s %s: columns %d, nulls %d, composite %d, creator %d, place %d, table %d",
		 when, which, (int) HeapTupleHeaderGetNatts(header), HeapTupleHasNulls(tuple), composite,
		 !composite && TransactionIdIsNormal(HeapTupleHeaderGetRawXmin(header)),
		 !composite && ItemPointerIsValid(&tuple->t_self),
		 !composite && OidIsValid(tuple->t_tableOid));
}

Datum
show_tuples(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	const char *when = TRIGGER_FIRED_BEFORE(data->tg_event) ? "before" : "after";

	show("old", when, data->tg_trigtuple);
	if (!TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		return PointerGetDatum(data->tg_trigtuple);
	show("new", when, data->tg_newtuple);
	return PointerGetDatum(data->tg_newtuple);
}
