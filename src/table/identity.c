/*
 * identity.c
 *	  What logical decoding is told of a change of a table.
 *
 * As heap's ExtractReplicaIdentity has it.  May read out-of-line values: no latch may be held.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "pool/held.h"
#include "table/identity.h"
#include "table/table.h"

static RowLogical *
make(uint8 action)
{
	RowLogical *logical = palloc(sizeof(RowLogical));

	logical_init(logical, action);
	return logical;
}

Bitmapset *
identity_columns(Relation rel)
{
	char		identity = rel->rd_rel->relreplident;

	if (identity == REPLICA_IDENTITY_NOTHING || identity == REPLICA_IDENTITY_FULL)
		return NULL;
	return RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
}

/* ---- the old row ---- */

/* Those of the row's columns that are in `columns`, but for dropped ones; NULL: all. */
static void
set_old(RowLogical *logical, Relation rel, Datum *values, const bool *isnull,
		const Bitmapset *columns)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool	   *left_out = palloc(sizeof(bool) * desc->natts);
	HeapTuple	tuple;

	pool_assert_unlatched();
	for (int i = 0; i < desc->natts; i++)
		left_out[i] = isnull[i] || TupleDescAttr(desc, i)->attisdropped ||
			(columns != NULL &&
			 !bms_is_member(i + 1 - FirstLowInvalidHeapAttributeNumber, columns));
	tuple = heap_form_tuple(desc, values, left_out);
	if (HeapTupleHasExternal(tuple))
		tuple = toast_flatten_tuple(tuple, desc);
	logical_set_old(logical, tuple);
}

/* All of the row, or only its key, if that is needed. */
static void
set_identity(RowLogical *logical, Relation rel, Datum *values, const bool *isnull,
			 bool key_required)
{
	Bitmapset  *key;

	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		set_old(logical, rel, values, isnull, NULL);
	else if (key_required && (key = identity_columns(rel)) != NULL)
		set_old(logical, rel, values, isnull, key);
}

/* A row as it is stored: what it is short of has the values that the columns were added with. */
static void
row_values(Relation rel, const RowData *row, Datum *values, bool *isnull)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			natts = table_decode_row(rel, table_layout(rel), row, values, isnull);

	for (int i = natts; i < desc->natts; i++)
		values[i] = getmissingattr(desc, i + 1, &isnull[i]);
}

/* Has a column of the key a value out of line?  Then the new row need not have it. */
static bool
key_is_external(Relation rel, TupleTableSlot *old)
{
	Bitmapset  *key = identity_columns(rel);
	int			bit = -1;

	while ((bit = bms_next_member(key, bit)) >= 0)
	{
		AttrNumber	attnum = bit + FirstLowInvalidHeapAttributeNumber;
		bool		isnull;
		Datum		value = slot_getattr(old, attnum, &isnull);

		if (!isnull && TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attlen == -1 &&
			VARATT_IS_EXTERNAL(DatumGetPointer(value)))
			return true;
	}
	return false;
}

/* ---- rows that core cannot put together ---- */

/* Bytes of the row as a heap tuple. */
static Size
heap_size(Relation rel, const RowData *row)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Size		header = MAXALIGN(SizeofHeapTupleHeader + BITMAPLEN(desc->natts));
	Datum	   *values;
	bool	   *isnull;
	Size		size = header + row->size + desc->natts * (MAXIMUM_ALIGNOF - 1);

	if (size <= MaxHeapTupleSize)
		return size;			/* at most */
	values = palloc(sizeof(Datum) * desc->natts);
	isnull = palloc(sizeof(bool) * desc->natts);
	row_values(rel, row, values, isnull);
	return header + heap_compute_data_size(desc, values, isnull);
}

void
identity_check_rows(Relation rel, const RowData *rows, int nrows)
{
	bool		external = false;

	if (!RelationIsLogicallyLogged(rel))
		return;
	for (int i = 0; i < nrows; i++)
		external |= (rows[i].flags & ROW_EXTERNAL) != 0;
	if (!external)
		return;
	for (int i = 0; i < nrows; i++)
	{
		Size		size = heap_size(rel, &rows[i]);

		if (size > MaxHeapTupleSize)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("row is too big for logical decoding: size %zu, maximum size %zu",
							size, (Size) MaxHeapTupleSize),
					 errdetail("Where values are stored out of line, logical decoding wants rows no longer than heap's.")));
	}
}

/* ---- changes ---- */

RowLogical *
identity_of_insert(Relation rel, int options)
{
	RowLogical *logical;

	if (!RelationIsLogicallyLogged(rel) || (options & TABLE_INSERT_NO_LOGICAL))
		return NULL;
	logical = make(LOGICAL_INSERT);
	logical_set_columns(logical, RelationGetDescr(rel));
	return logical;
}

RowLogical *
identity_of_update(Relation rel, TupleTableSlot *old, bool key_differs)
{
	RowLogical *logical = make(LOGICAL_UPDATE);

	Assert(RelationIsLogicallyLogged(rel));
	logical_set_columns(logical, RelationGetDescr(rel));
	slot_getallattrs(old);
	set_identity(logical, rel, old->tts_values, old->tts_isnull,
				 key_differs || key_is_external(rel, old));
	return logical;
}

RowLogical *
identity_of_delete(Relation rel, const RowData *old)
{
	int			natts = RelationGetNumberOfAttributes(rel);
	RowLogical *logical = make(LOGICAL_DELETE);
	Datum	   *values = palloc(sizeof(Datum) * natts);
	bool	   *isnull = palloc(sizeof(bool) * natts);

	Assert(RelationIsLogicallyLogged(rel));
	row_values(rel, old, values, isnull);
	set_identity(logical, rel, values, isnull, true);
	return logical;
}

bool
identity_of_speculative(Relation rel, bool succeeded, RowLogical *logical)
{
	if (!RelationIsLogicallyLogged(rel))
		return false;
	logical_init(logical, succeeded ? LOGICAL_CONFIRM : LOGICAL_ABORT);
	return true;
}
