/*
 * dead_rows.h
 *	  Rows that VACUUM has made stubs of, as they were: an index that knows them can find their
 *	  entries by key.
 */
#ifndef ROWAN_TABLE_DEAD_ROWS_H
#define ROWAN_TABLE_DEAD_ROWS_H

#include "access/genam.h"
#include "table/table.h"

typedef struct DeadRow
{
	RowId		row;
	RowData		data;			/* the row's newest version; in memory of DeadRows */
	int			indexes;		/* that are known to have no entry of it any more */
} DeadRow;

typedef struct DeadRows
{
	Relation	rel;
	MemoryContext memory;
	DeadRow    *rows;			/* in order of row ids */
	int			n;
	int			max;			/* 0: none are kept */
	Size		bytes;
	Size		max_bytes;
	bool		overflowed;		/* some were not kept */
	bool		optional;		/* who does not find all entries leaves the others where they
								 * are */
	bool		held;			/* optional, and a scan holds TIDs: their ids stay taken */
	int			cleaned;		/* indexes that had all found, since VACUUM began */
} DeadRows;

/* No more than so many rows, and bytes of them. */
extern DeadRows *dead_rows_create(Relation rel, int max, Size max_bytes);

/* Notes stub `row`; before: a copy of the leaf where it may not have been one yet. */
extern void dead_rows_note(DeadRows *rows, const PoolFile *file, Page before, RowId row);
extern void dead_rows_forget(DeadRows *rows);

/* The slot is one of rows->rel. */
extern void dead_rows_store(const DeadRows *rows, int i, TupleTableSlot *slot);

/* vacuum.c: of those that ambulkdelete was given; NULL: nobody knows them all. */
extern DeadRows *table_dead_rows(IndexBulkDeleteCallback callback, void *arg);

#endif							/* ROWAN_TABLE_DEAD_ROWS_H */
