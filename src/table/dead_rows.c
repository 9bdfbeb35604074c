/*
 * dead_rows.c
 *	  Rows that VACUUM has made stubs of, as they were.
 *
 * A stub has no data left.  So each leaf is copied before it is pruned, and what is a stub
 * afterwards, and was none before, is kept.  A row that has changed in between has the same values
 * in all indexed columns (I-ROW-3); and whatever is kept here is not believed: an index is clean
 * of a row only if that row's entry was found in it.
 */
#include "postgres.h"

#include "table/dead_rows.h"
#include "utils/memutils.h"

#define FIRST_ROOM	64

DeadRows *
dead_rows_create(Relation rel, int max, Size max_bytes)
{
	DeadRows   *rows = palloc0(sizeof(DeadRows));

	rows->rel = rel;
	rows->max = max;
	rows->max_bytes = max_bytes;
	rows->memory = AllocSetContextCreate(CurrentMemoryContext, "rowan dead rows",
										 ALLOCSET_DEFAULT_SIZES);
	return rows;
}

void
dead_rows_forget(DeadRows *rows)
{
	MemoryContextReset(rows->memory);
	rows->rows = NULL;
	rows->n = 0;
	rows->bytes = 0;
	rows->overflowed = false;
}

/* A power of two at least, from FIRST_ROOM on, of them there is room for. */
static void
have_room(DeadRows *rows)
{
	Size		room = sizeof(DeadRow) * rows->n * 2;

	if (rows->rows == NULL)
		rows->rows = MemoryContextAlloc(rows->memory, sizeof(DeadRow) * FIRST_ROOM);
	else if (rows->n >= FIRST_ROOM && (rows->n & (rows->n - 1)) == 0)
		rows->rows = repalloc_huge(rows->rows, room);
}

static void
keep(DeadRows *rows, RowId row, const RowData *data)
{
	Size		nulls = data->nulls != NULL ? MAXALIGN(row_nulls_size(data->natts)) : 0;
	Size		bytes = nulls + data->size;
	DeadRow    *kept;
	char	   *copy;

	if (rows->n >= rows->max || rows->bytes + bytes > rows->max_bytes)
	{
		rows->overflowed = true;
		return;
	}
	have_room(rows);
	copy = MemoryContextAlloc(rows->memory, Max(bytes, 1));
	kept = &rows->rows[rows->n++];
	kept->row = row;
	kept->data = *data;
	kept->indexes = 0;
	if (nulls > 0)
	{
		memcpy(copy, data->nulls, row_nulls_size(data->natts));
		kept->data.nulls = (const bits8 *) copy;
	}
	memcpy(copy + nulls, data->data, data->size);
	kept->data.data = copy + nulls;
	rows->bytes += bytes;
}

void
dead_rows_note(DeadRows *rows, const PoolFile *file, Page before, RowId row)
{
	int			pos = leaf_find(before, row);
	RowVersion	version;

	if (pos < 0 || rows->overflowed)
		return;
	(void) row_parse_slot(file, before, pos, &version);
	if (!row_is_stub(&version.meta))
		keep(rows, row, &version.data);
}

void
dead_rows_store(const DeadRows *rows, int i, TupleTableSlot *slot)
{
	slot_copy_row(slot, &rows->rows[i].data);
	row_tid_set(&slot->tts_tid, rows->rows[i].row, 0);
	slot->tts_tableOid = RelationGetRelid(rows->rel);
}
