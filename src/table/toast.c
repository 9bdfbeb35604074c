/*
 * toast.c
 *	  Moving long values of a row out of line.
 *
 * The same policy as heap_toast_insert_or_update, over arrays of values instead of
 * heap tuples, with Rowan's row sizes; the work is done by core's toast helpers, on
 * a heap toast table.
 *
 * Takes no latches; must not be called with any held, for it writes to a heap table
 * and its index.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/toast_helper.h"
#include "access/toast_internals.h"
#include "catalog/pg_type.h"
#include "pool/held.h"
#include "table/table.h"
#include "table/toast.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/*
 * What a row's header is taken to need where its size is compared with core's
 * thresholds: as much as the heap's, so that toast_tuple_target means the same in both.
 */
#define ROW_HEADER_FOR_TARGET	MAXALIGN(SizeofHeapTupleHeader)

/*
 * Holds the values that toast_row made, until the next one.
 */
static MemoryContext toast_context = NULL;

static void
forget_toast_context(void *arg)
{
	toast_context = NULL;
}

static MemoryContext
get_toast_context(void)
{
	MemoryContextCallback *callback;

	if (toast_context != NULL)
	{
		MemoryContextReset(toast_context);
		return toast_context;
	}

	callback = MemoryContextAlloc(TopTransactionContext, sizeof(MemoryContextCallback));
	callback->func = forget_toast_context;
	callback->arg = NULL;
	toast_context = AllocSetContextCreate(TopTransactionContext, "Rowan toast",
										  ALLOCSET_DEFAULT_SIZES);
	MemoryContextRegisterResetCallback(TopTransactionContext, callback);
	return toast_context;
}

void
toast_release(void)
{
	if (toast_context != NULL)
		MemoryContextReset(toast_context);
}

static inline bool
may_be_toasted(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION ||
		rel->rd_rel->relkind == RELKIND_MATVIEW;
}

/* Flags (ROW_EXTERNAL) and encoded size of a slot's content. */
static Size
content_size(TupleTableSlot *slot, uint16 *flags)
{
	RowanSlot  *rslot = (RowanSlot *) slot;
	RowLayout  *layout;
	Size		size;

	if (TTS_IS_ROWAN(slot) && rslot->row.data != NULL)
	{
		*flags = rslot->row.flags;
		return rslot->row.size + (rslot->row.nulls != NULL ? (rslot->row.natts + 7) / 8 : 0);
	}

	slot_getallattrs(slot);
	if (TTS_IS_ROWAN(slot) && rslot->layout != NULL)
		return row_encoded_size(rslot->layout, slot->tts_values, slot->tts_isnull, flags);
	layout = row_layout_create(slot->tts_tupleDescriptor);
	size = row_encoded_size(layout, slot->tts_values, slot->tts_isnull, flags);
	pfree(layout);
	return size;
}

/* Has the slot's row out-of-line values? */
static bool
has_external(TupleTableSlot *slot)
{
	RowanSlot  *rslot = (RowanSlot *) slot;
	TupleDesc	desc = slot->tts_tupleDescriptor;

	if (TTS_IS_ROWAN(slot) && rslot->row.data != NULL)
		return (rslot->row.flags & ROW_EXTERNAL) != 0;
	slot_getallattrs(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attlen == -1 && !slot->tts_isnull[i] &&
			VARATT_IS_EXTERNAL(DatumGetPointer(slot->tts_values[i])))
			return true;
	}
	return false;
}

static void
check_row_size(Size size)
{
	if (size > ROW_MAX_DATA)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row is too big: size %zu, maximum size %zu",
						size, (Size) ROW_MAX_DATA)));
}

/*
 * An expanded object is not something that the toaster can look at: make it
 * flat first, as forming a heap tuple does.
 */
static void
flatten_values(TupleDesc desc, Datum *values, const bool *isnull)
{
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attlen == -1 && !isnull[i] &&
			VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(values[i])))
			values[i] = PointerGetDatum(detoast_external_attr((struct varlena *)
															  DatumGetPointer(values[i])));
	}
}

/* One pass: compress or move out values until the data fits into max_size. */
typedef struct ToastPass
{
	bool		compress;
	bool		externalize;
	bool		main_storage;	/* values of storage MAIN, else EXTENDED and EXTERNAL */
} ToastPass;

static void
run_pass(ToastTupleContext *ttc, const RowLayout *layout, const ToastPass *pass,
		 Size max_size, int options)
{
	Relation	rel = ttc->ttc_rel;
	bool		has_toast_table = OidIsValid(rel->rd_rel->reltoastrelid);
	uint16		flags;

	if (!pass->compress && !has_toast_table)
		return;
	while (row_encoded_size(layout, ttc->ttc_values, ttc->ttc_isnull, &flags) > max_size)
	{
		int			biggest = toast_tuple_find_biggest_attribute(ttc, pass->compress,
																 pass->main_storage);
		ToastAttrInfo *attr;

		if (biggest < 0)
			break;
		attr = &ttc->ttc_attr[biggest];
		if (!pass->compress)
		{
			toast_tuple_externalize(ttc, biggest, options);
			continue;
		}

		if (TupleDescAttr(rel->rd_att, biggest)->attstorage == TYPSTORAGE_EXTERNAL)
			attr->tai_colflags |= TOASTCOL_INCOMPRESSIBLE;
		else
			toast_tuple_try_compression(ttc, biggest);

		/*
		 * A value that alone is too long goes out at once, which saves compressing the others
		 * in vain.
		 */
		if (pass->externalize && has_toast_table && (Size) attr->tai_size > max_size)
			toast_tuple_externalize(ttc, biggest, options);
	}
}

/* The longest value of storage PLAIN whose type can be read out of line; -1: none. */
static int
biggest_plain(ToastTupleContext *ttc)
{
	TupleDesc	desc = ttc->ttc_rel->rd_att;
	Size		biggest_size = MAXALIGN(TOAST_POINTER_SIZE);
	int			biggest = -1;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Pointer		value = DatumGetPointer(ttc->ttc_values[i]);

		if (att->attisdropped || att->attlen != -1 || att->attstorage != TYPSTORAGE_PLAIN ||
			ttc->ttc_isnull[i] || VARATT_IS_EXTERNAL(value) || VARSIZE_ANY(value) <= biggest_size ||
			get_typstorage(att->atttypid) == TYPSTORAGE_PLAIN)
			continue;
		biggest = i;
		biggest_size = VARSIZE_ANY(value);
	}
	return biggest;
}

/*
 * Heap takes rows that are some bytes longer than ours may be.  Of these, values of storage PLAIN
 * go out of line; longer ones are refused as by heap.
 */
static void
externalize_plain(ToastTupleContext *ttc, const RowLayout *layout, int options)
{
	uint16		flags;
	int			biggest;

	if (!OidIsValid(ttc->ttc_rel->rd_rel->reltoastrelid) ||
		row_encoded_size(layout, ttc->ttc_values, ttc->ttc_isnull, &flags) + ROW_HEADER_FOR_TARGET >
		MaxHeapTupleSize)
		return;
	while (row_encoded_size(layout, ttc->ttc_values, ttc->ttc_isnull, &flags) > ROW_MAX_DATA &&
		   (biggest = biggest_plain(ttc)) >= 0)
		toast_tuple_externalize(ttc, biggest, options);
}

static void
run_passes(ToastTupleContext *ttc, const RowLayout *layout, int options)
{
	static const ToastPass compress = {.compress = true, .externalize = true};
	static const ToastPass externalize = {.externalize = true};
	static const ToastPass compress_main = {.compress = true, .main_storage = true};
	static const ToastPass externalize_main = {.externalize = true, .main_storage = true};
	Size		target;
	Size		target_main = Min((Size) TOAST_TUPLE_TARGET_MAIN - ROW_HEADER_FOR_TARGET,
								  ROW_MAX_DATA);

	target = RelationGetToastTupleTarget(ttc->ttc_rel, (int) TOAST_TUPLE_TARGET) -
		ROW_HEADER_FOR_TARGET;

	run_pass(ttc, layout, &compress, target, options);
	run_pass(ttc, layout, &externalize, target, options);
	run_pass(ttc, layout, &compress_main, target, options);

	/* MAIN means: out of line only if the row cannot be stored otherwise */
	run_pass(ttc, layout, &externalize_main, target_main, options);
	externalize_plain(ttc, layout, options);
}

/*
 * Deletes what the old row does not share with the new one: the second half of
 * toast_tuple_cleanup.  Its first half frees values, which are still needed here.
 */
static void
delete_old_values(ToastTupleContext *ttc)
{
	if ((ttc->ttc_flags & TOAST_NEEDS_DELETE_OLD) == 0)
		return;
	for (int i = 0; i < ttc->ttc_rel->rd_att->natts; i++)
	{
		if (ttc->ttc_attr[i].tai_colflags & TOASTCOL_NEEDS_DELETE_OLD)
			toast_delete_datum(ttc->ttc_rel, ttc->ttc_oldvalues[i], false);
	}
}

/* toast_row for a row that does need work. In the toast context. */
static bool
toast_values(Relation rel, TupleTableSlot *slot, TupleTableSlot *old_slot, int options,
			 Datum *values, bool *isnull)
{
	TupleDesc	desc = rel->rd_att;
	int			natts = desc->natts;
	RowLayout  *layout = row_layout_create(desc);
	ToastTupleContext ttc;
	uint16		flags;

	pool_assert_unlatched();
	Assert(slot->tts_tupleDescriptor->natts == natts);
	slot_getallattrs(slot);
	memcpy(values, slot->tts_values, natts * sizeof(Datum));
	memcpy(isnull, slot->tts_isnull, natts * sizeof(bool));
	flatten_values(desc, values, isnull);

	ttc.ttc_rel = rel;
	ttc.ttc_values = values;
	ttc.ttc_isnull = isnull;
	ttc.ttc_oldvalues = NULL;
	ttc.ttc_oldisnull = NULL;
	if (old_slot != NULL)
	{
		slot_getallattrs(old_slot);
		ttc.ttc_oldvalues = old_slot->tts_values;
		ttc.ttc_oldisnull = old_slot->tts_isnull;
	}
	ttc.ttc_attr = palloc(natts * sizeof(ToastAttrInfo));
	toast_tuple_init(&ttc);

	run_passes(&ttc, layout, options);
	check_row_size(row_encoded_size(layout, values, isnull, &flags));
	delete_old_values(&ttc);
	return (ttc.ttc_flags & TOAST_NEEDS_CHANGE) != 0;
}

bool
toast_row(Relation rel, TupleTableSlot *slot, TupleTableSlot *old_slot, int options,
		  Datum *values, bool *isnull)
{
	MemoryContext old_context;
	uint16		flags;
	Size		size = content_size(slot, &flags);
	bool		changed;

	if (!may_be_toasted(rel) ||
		((flags & ROW_EXTERNAL) == 0 &&
		 size + ROW_HEADER_FOR_TARGET <= TOAST_TUPLE_THRESHOLD &&
		 (old_slot == NULL || !has_external(old_slot))))
	{
		check_row_size(size);
		return false;
	}

	/* A speculative insertion stores and, undone, deletes its values as any other. */
	options &= ~HEAP_INSERT_SPECULATIVE;

	old_context = MemoryContextSwitchTo(get_toast_context());
	changed = toast_values(rel, slot, old_slot, options, values, isnull);
	MemoryContextSwitchTo(old_context);
	return changed;
}

void
toast_delete_row(Relation rel, TupleTableSlot *slot, bool is_speculative)
{
	pool_assert_unlatched();
	if (!may_be_toasted(rel) || !has_external(slot))
		return;
	slot_getallattrs(slot);
	toast_delete_external(rel, slot->tts_values, slot->tts_isnull, is_speculative);
}

void
toast_delete_row_data(Relation rel, const RowData *row, bool is_speculative)
{
	TupleDesc	desc = rel->rd_att;
	RowLayout  *layout;
	Datum	   *values;
	bool	   *isnull;

	pool_assert_unlatched();
	if (!may_be_toasted(rel) || (row->flags & ROW_EXTERNAL) == 0)
		return;

	layout = row_layout_create(desc);
	values = palloc(desc->natts * sizeof(Datum));
	isnull = palloc(desc->natts * sizeof(bool));

	/* columns beyond a short row's end have no out-of-line values */
	memset(isnull, true, desc->natts * sizeof(bool));
	(void) table_decode_row(rel, layout, row, values, isnull);
	toast_delete_external(rel, values, isnull, is_speculative);

	pfree(isnull);
	pfree(values);
	pfree(layout);
}

/*
 * As heap's, with Rowan's row sizes: could a row be longer than what is stored
 * without toasting?
 */
bool
rowan_relation_needs_toast_table(Relation rel)
{
	TupleDesc	desc = rel->rd_att;
	Size		size = ROW_HEADER_FOR_TARGET + (desc->natts + 7) / 8;
	bool		has_toastable = false;
	bool		unlimited = false;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		int32		max_size;

		if (att->attisdropped)
			continue;
		size = att_align_nominal(size, att->attalign);
		if (att->attlen > 0)
		{
			size += att->attlen;
			continue;
		}
		max_size = type_maximum_size(att->atttypid, att->atttypmod);
		if (max_size < 0)
			unlimited = true;
		else
			size += max_size;
		if (att->attstorage != TYPSTORAGE_PLAIN)
			has_toastable = true;
	}
	return has_toastable && (unlimited || size > TOAST_TUPLE_THRESHOLD);
}
