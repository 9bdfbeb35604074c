/*
 * decode.c
 *	  Logical decoding: what the records of rows say goes to the reorder buffer, as heap's do
 *	  (replication/logical/decode.c).
 *
 * Rows are queued in heap's form, which core takes apart by the table's description as it was then.
 * Neither that nor any other catalog can be seen here: the record describes its columns.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/bytes.h"
#include "base/compat.h"
#include "common/hashfn.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"
#include "replication/snapbuild.h"
#include "row/decode.h"
#include "utils/memutils.h"

/* ---- descriptions of columns ---- */

#define KNOWN_COLUMNS	16

typedef struct KnownColumns
{
	MemoryContext memory;		/* of the description and its codes; NULL: none yet */
	const char *columns;
	Size		size;
	int			natts;
	RowLayout  *layout;
} KnownColumns;

static void
learn_columns(KnownColumns *known, const LogicalPart *part)
{
	MemoryContext caller;

	if (known->memory != NULL)
		MemoryContextDelete(known->memory);
	known->memory = NULL;
	known->memory = AllocSetContextCreate(TopMemoryContext, "Rowan decoding",
										  ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(known->memory);
	known->natts = -1;
	known->columns = memcpy(palloc(part->columns_size + 1), part->columns, part->columns_size);
	known->size = part->columns_size;
	known->layout = row_layout_create(logical_make_desc(known->columns, known->size,
														part->natts));
	known->natts = part->natts;
	MemoryContextSwitchTo(caller);
}

/* A table's columns are described in each of its records, so that the same are met all the time. */
static const RowLayout *
layout_of_columns(const LogicalPart *part)
{
	static KnownColumns known_columns[KNOWN_COLUMNS];
	uint32		hash = hash_bytes((const unsigned char *) part->columns, part->columns_size);
	KnownColumns *known = &known_columns[hash % KNOWN_COLUMNS];

	if (known->memory == NULL || known->natts != part->natts ||
		known->size != part->columns_size ||
		memcmp(known->columns, part->columns, part->columns_size) != 0)
		learn_columns(known, part);
	return known->layout;
}

/* ---- rows ---- */

static QueuedTuple *
make_tuple(ReorderBuffer *reorder, int natts, bool has_nulls, Size data_size)
{
	Size		header_size = MAXALIGN(SizeofHeapTupleHeader +
									   (has_nulls ? BITMAPLEN(natts) : 0));
	Size		size = header_size + data_size;
	QueuedTuple *queued = ReorderBufferAllocTupleBuf(reorder, size - SizeofHeapTupleHeader);
	HeapTuple	tuple = queued_heap_tuple(queued);

	memset(tuple->t_data, 0, size);
	tuple->t_len = size;
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
	HeapTupleHeaderSetNatts(tuple->t_data, natts);
	tuple->t_data->t_hoff = header_size;
	tuple->t_data->t_infomask = has_nulls ? HEAP_HASNULL : 0;
	return queued;
}

static QueuedTuple *
new_tuple(const Decoding *decoding, const RowData *row)
{
	TupleDesc	desc = decoding->layout->desc;
	Datum		values[MaxHeapAttributeNumber];
	bool		isnull[MaxHeapAttributeNumber];
	bool		has_nulls = false;
	uint32		offset = 0;
	QueuedTuple *queued;
	HeapTuple	tuple;
	Size		size;

	if (row->natts != desc->natts ||
		!row_decode(decoding->layout, row, 0, row->natts, &offset, values, isnull))
		elog(ERROR, "rowan: a row in WAL makes no sense");
	for (int i = 0; i < desc->natts; i++)
	{
		isnull[i] |= TupleDescAttr(desc, i)->attisdropped;
		has_nulls |= isnull[i];
	}
	size = heap_compute_data_size(desc, values, isnull);
	queued = make_tuple(decoding->context->reorder, desc->natts, has_nulls, size);
	tuple = queued_heap_tuple(queued);
	heap_fill_tuple(desc, values, isnull, (char *) tuple->t_data + tuple->t_data->t_hoff, size,
					&tuple->t_data->t_infomask, has_nulls ? tuple->t_data->t_bits : NULL);
	return queued;
}

static QueuedTuple *
old_tuple(const Decoding *decoding)
{
	const char *end = decoding->part.old + decoding->part.old_size;
	uint16		head;
	const char *from = take_bytes(decoding->part.old, &head, sizeof(head));
	bool		has_nulls = (head & LOGICAL_OLD_NULLS) != 0;
	int			natts = head & ~LOGICAL_OLD_NULLS;
	int			bitmap = has_nulls ? BITMAPLEN(natts) : 0;
	QueuedTuple *queued = make_tuple(decoding->context->reorder, natts, has_nulls,
									 end - from - bitmap);
	HeapTupleHeader header = queued_heap_tuple(queued)->t_data;

	header->t_infomask |= HEAP_HASVARWIDTH; /* it may */
	from = take_bytes(from, header->t_bits, bitmap);
	memcpy((char *) header + header->t_hoff, from, end - from);
	return queued;
}

/* ---- changes ---- */

static ReorderBufferChangeType
change_type(const Decoding *decoding, bool speculative)
{
	switch (decoding->part.action)
	{
		case LOGICAL_INSERT:
			return speculative ? REORDER_BUFFER_CHANGE_INTERNAL_SPEC_INSERT :
				REORDER_BUFFER_CHANGE_INSERT;
		case LOGICAL_UPDATE:
			return REORDER_BUFFER_CHANGE_UPDATE;
		case LOGICAL_DELETE:
			return REORDER_BUFFER_CHANGE_DELETE;
		case LOGICAL_CONFIRM:
			return REORDER_BUFFER_CHANGE_INTERNAL_SPEC_CONFIRM;
		case LOGICAL_ABORT:
			return REORDER_BUFFER_CHANGE_INTERNAL_SPEC_ABORT;
	}
	elog(ERROR, "rowan: unknown action %u in WAL", decoding->part.action);
}

void
decode_row(const Decoding *decoding, const char *cell, bool last)
{
	XLogReaderState *record = decoding->buffer->record;
	ReorderBuffer *reorder = decoding->context->reorder;
	RowMeta		meta = {0};
	RowData		row;
	ReorderBufferChange *change;

	if (cell != NULL &&
		!row_parse(cell, row_header_size((const RowHeaderData *) cell), InvalidTransactionId,
				   FirstCommandId, decoding->part.natts, &meta, &row))
		elog(ERROR, "rowan: a row in WAL makes no sense");
	change = ReorderBufferAllocChange(reorder);
	change->action = change_type(decoding, (meta.flags & ROW_SPECULATIVE) != 0);
	change->origin_id = XLogRecGetOrigin(record);
	XLogRecGetBlockTag(record, 0, &change_locator(change), NULL, NULL);
	if (decoding->part.old != NULL)
		change->data.tp.oldtuple = old_tuple(decoding);
	if (cell != NULL)
		change->data.tp.newtuple = new_tuple(decoding, &row);
	change->data.tp.clear_toast_afterwards = last && decoding->part.last;
	ReorderBufferQueueChange(reorder, XLogRecGetXid(record), decoding->buffer->origptr, change,
							 false);
}

/* The same questions in the same order as heap's changes. */
static bool
is_for(LogicalDecodingContext *context, XLogRecordBuffer *buffer)
{
	SnapBuild  *builder = context->snapshot_builder;
	RelFileLocator locator;

	if (SnapBuildCurrentState(builder) < SNAPBUILD_FULL_SNAPSHOT ||
		!SnapBuildProcessChange(builder, XLogRecGetXid(buffer->record), buffer->origptr) ||
		context->fast_forward)
		return false;
	XLogRecGetBlockTag(buffer->record, 0, &locator, NULL, NULL);
	if (locator.dbOid != context->slot->data.database)
		return false;
	return context->callbacks.filter_by_origin_cb == NULL ||
		!filter_by_origin_cb_wrapper(context, XLogRecGetOrigin(buffer->record));
}

bool
decode_begin(Decoding *decoding, LogicalDecodingContext *context, XLogRecordBuffer *buffer)
{
	if (!logical_read(buffer->record, &decoding->part) || !is_for(context, buffer))
		return false;
	decoding->context = context;
	decoding->buffer = buffer;
	decoding->layout = decoding->part.columns ? layout_of_columns(&decoding->part) : NULL;
	return true;
}
