/*
 * room.c
 *	  Which leaves have room for new rows: core's free space map, by the leaves' block numbers.
 *
 * VACUUM writes down what it has left, insertions what they found wanting.  As with a heap nothing
 * of it is logged, and nothing must be believed: a block may be no leaf any more, or full.
 */
#include "postgres.h"

#include "storage/freespace.h"
#include "table/table.h"

/* A smaller table has none, as the map has three pages itself. */
#define LEAST_PAGES		16

/* The most that the map can be asked for. */
#define MOST_BYTES		(BLCKSZ - 256)

static BlockNumber
find_room(void *arg, Size bytes)
{
	return GetPageWithFreeSpace((Relation) arg, Min(bytes, MOST_BYTES));
}

static void
note_leaf(void *arg, BlockNumber leaf, Size bytes)
{
	RecordPageWithFreeSpace((Relation) arg, leaf, bytes);
}

void
table_room_init(void)
{
	static const RowRoomOps ops = {find_room, note_leaf};

	row_room_ops = &ops;
}

void
table_note_room(Relation rel, const RowTable *table, BlockNumber pages, Page leaf)
{
	if (pages >= LEAST_PAGES)
		RecordPageWithFreeSpace(rel, page_trailer(leaf)->self_block, row_leaf_room(table, leaf));
}

void
table_finish_room(Relation rel, BlockNumber pages)
{
	if (pages >= LEAST_PAGES)
		FreeSpaceMapVacuum(rel);
}
