/*
 * salvage_store.c
 *	  rowan.salvage(): storing rows in the target, in batches, by INSERT.
 *
 * A batch is a tuplestore, which the statement sees as a relation by name, as a trigger sees its
 * transition table.
 */
#include "postgres.h"

#include "catalog/pg_attribute.h"
#include "executor/spi.h"
#include "inspect/salvage.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#define BATCH_NAME			"rowan_salvaged"
#define SALVAGE_BATCH_ROWS	1000
#define SALVAGE_BATCH_BYTES	(8 * 1024 * 1024)

struct SalvageStore
{
	MemoryContext context;
	TupleDesc	desc;			/* of a batch */
	int		   *column;			/* of the source, from 0, for each column of a batch */
	Datum	   *values;
	bool	   *isnull;
	SPIPlanPtr	plan;
	EphemeralNamedRelationData relation;
	Tuplestorestate *batch;
	uint64		nrows;			/* in the batch */
	Size		nbytes;
	uint64		stored;
};

/* ---- columns ---- */

/* What is computed when it is read has no value here; what the target computes it is not given. */
static bool
column_is_copied(Form_pg_attribute from, Form_pg_attribute to)
{
	bool		has_value = from->attgenerated == '\0' ||
		from->attgenerated == ATTRIBUTE_GENERATED_STORED;

	return has_value && to->attgenerated == '\0';
}

static Form_pg_attribute
target_column(Relation source, Relation target, const char *name)
{
	AttrNumber	number = get_attnum(RelationGetRelid(target), name);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\"", RelationGetRelationName(target), name),
				 errdetail("Table \"%s\" has it.", RelationGetRelationName(source)),
				 errhint("Make the table to copy to by CREATE TABLE ... (LIKE ... INCLUDING ALL).")));
	return TupleDescAttr(RelationGetDescr(target), number - 1);
}

static void
map_columns(SalvageStore *store, Relation source, Relation target)
{
	TupleDesc	from = RelationGetDescr(source);
	int			n = 0;

	store->column = palloc(sizeof(int) * Max(from->natts, 1));
	for (int i = 0; i < from->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(from, i);

		if (!att->attisdropped &&
			column_is_copied(att, target_column(source, target, NameStr(att->attname))))
			store->column[n++] = i;
	}
	store->desc = CreateTemplateTupleDesc(n);
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(from, store->column[i]);

		TupleDescInitEntry(store->desc, i + 1, NameStr(att->attname), att->atttypid,
						   att->atttypmod, att->attndims);
		TupleDescInitEntryCollation(store->desc, i + 1, att->attcollation);
	}
	store->values = palloc(sizeof(Datum) * Max(n, 1));
	store->isnull = palloc(sizeof(bool) * Max(n, 1));
}

/* ---- the statement ---- */

static void
add_column_names(const SalvageStore *store, StringInfo sql)
{
	for (int i = 0; i < store->desc->natts; i++)
		appendStringInfo(sql, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(store->desc, i)->attname)));
}

static void
name_batch(SalvageStore *store)
{
	store->batch = tuplestore_begin_heap(false, false, work_mem);
	store->nrows = 0;
	store->nbytes = 0;
	memset(&store->relation, 0, sizeof(store->relation));
	store->relation.md.name = BATCH_NAME;
	store->relation.md.tupdesc = store->desc;
	store->relation.md.enrtype = ENR_NAMED_TUPLESTORE;
	store->relation.md.enrtuples = SALVAGE_BATCH_ROWS;
	store->relation.reldata = store->batch;
	if (SPI_register_relation(&store->relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not name a batch of salvaged rows");
}

static void
prepare_insert(SalvageStore *store, Relation target)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(target)),
												RelationGetRelationName(target)));
	if (store->desc->natts > 0)
	{
		appendStringInfoString(&sql, " (");
		add_column_names(store, &sql);
		appendStringInfoString(&sql, ") OVERRIDING SYSTEM VALUE");
	}
	appendStringInfoString(&sql, " SELECT ");
	add_column_names(store, &sql);
	appendStringInfoString(&sql, " FROM " BATCH_NAME);
	store->plan = SPI_prepare(sql.data, 0, NULL);
	if (store->plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql.data, SPI_result_code_string(SPI_result));
}

static void
store_batch(SalvageStore *store)
{
	int			result;

	if (store->nrows == 0)
		return;
	store->relation.md.enrtuples = store->nrows;
	result = SPI_execute_plan(store->plan, NULL, NULL, false, 0);
	if (result < 0)
		elog(ERROR, "could not store salvaged rows: %s", SPI_result_code_string(result));
	store->stored += SPI_processed;
}

static void
forget_batch(SalvageStore *store)
{
	SPI_unregister_relation(BATCH_NAME);
	tuplestore_end(store->batch);
}

/* ---- for salvage.c ---- */

SalvageStore *
salvage_store_begin(Relation source, Relation target)
{
	SalvageStore *store = palloc0(sizeof(SalvageStore));

	map_columns(store, source, target);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	store->context = CurrentMemoryContext;
	name_batch(store);
	prepare_insert(store, target);
	return store;
}

void
salvage_store_row(SalvageStore *store, const Datum *values, const bool *isnull, Size bytes)
{
	MemoryContext caller;

	for (int i = 0; i < store->desc->natts; i++)
	{
		store->values[i] = values[store->column[i]];
		store->isnull[i] = isnull[store->column[i]];
	}
	tuplestore_putvalues(store->batch, store->desc, store->values, store->isnull);
	store->nrows++;
	store->nbytes += bytes;
	if (store->nrows < SALVAGE_BATCH_ROWS && store->nbytes < SALVAGE_BATCH_BYTES)
		return;
	caller = MemoryContextSwitchTo(store->context);
	store_batch(store);
	forget_batch(store);
	name_batch(store);
	MemoryContextSwitchTo(caller);
}

uint64
salvage_store_end(SalvageStore *store)
{
	store_batch(store);
	forget_batch(store);
	SPI_finish();
	return store->stored;
}
