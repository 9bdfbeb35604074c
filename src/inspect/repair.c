/*
 * repair.c
 *	  rowan.repair(): makes anew what can be made from what there is, without losing a row.
 *
 * Of a table: the free list and counts of its file, its visibility map, its map of room.  An index
 * is built anew.  Nobody else uses the relation meanwhile (AccessExclusiveLock).
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "base/export.h"
#include "catalog/pg_class.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "inspect/result.h"
#include "miscadmin.h"
#include "table/table.h"
#include "tree/rebuild.h"
#include "utils/lsyscache.h"

ROWAN_SQL_FUNCTION(rowan_repair);

static void
put_action(FunctionCallInfo fcinfo, const char *what, const char *action)
{
	ResultRow	row;

	clear_row(&row);
	set_text(&row, 0, what);
	set_text(&row, 1, action);
	inspect_put_row(fcinfo, &row);
}

static void
rebuild_index(FunctionCallInfo fcinfo, Oid relid)
{
	char	   *name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
												  get_rel_name(relid));

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(psprintf("REINDEX INDEX %s", name), false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not rebuild index %s", name);
	SPI_finish();
	put_action(fcinfo, "index", "built anew");
}

static const char *
words_of(RebuildResult result, uint32 nfree)
{
	switch (result)
	{
		case REBUILD_NOT_NEEDED:
			return "nothing to do: tree and lists are sound";
		case REBUILD_DONE:
			return psprintf("made anew: %u free pages", nfree);
		case REBUILD_NO_HEADER:
			return "nothing done: the file header cannot be read";
		case REBUILD_TREE_BROKEN:
			return "nothing done: pages of the tree are missing, rowan.salvage() copies the rows";
		case REBUILD_VERSIONS_BROKEN:
			return "nothing done: the list of version pages breaks off";
	}
	return NULL;
}

/* What rooms leaves have; hints only. */
static uint32
note_rooms(Relation rel, const PoolFile *file)
{
	BlockNumber pages = pool_file_blocks(file);
	PGAlignedBlock page;
	RowTable	table;
	uint32		leaves = 0;

	table_row_table(rel, &table);
	for (BlockNumber block = 0; block < pages; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (pool_copy_sound(file, block, page.data) != NULL ||
			page_trailer(page.data)->type != ROWAN_PAGE_LEAF)
			continue;
		table_note_room(rel, &table, pages, (Page) page.data);
		leaves++;
	}
	table_finish_room(rel, pages);
	return leaves;
}

static void
repair_table(FunctionCallInfo fcinfo, Relation rel, const PoolFile *file)
{
	uint32		nfree;
	RebuildResult result = tree_rebuild_lists(file, &nfree);

	put_action(fcinfo, "free list and counts", words_of(result, nfree));
	table_truncate_visibility(rel);
	put_action(fcinfo, "visibility map", "emptied: VACUUM fills it");
	put_action(fcinfo, "free space map",
			   psprintf("made anew: %u leaves", note_rooms(rel, file)));
}

/* Not locked before the table is: REINDEX does that in order. */
static void
repair_index(FunctionCallInfo fcinfo, Oid relid)
{
	PoolFile	file;

	relation_close(inspect_open(relid, &file), AccessShareLock);
	rebuild_index(fcinfo, relid);
}

Datum
rowan_repair(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	PoolFile	file;
	Relation	rel;

	PreventCommandIfReadOnly("rowan.repair()");
	inspect_require_owner(relid);
	InitMaterializedSRF(fcinfo, 0);
	if (get_rel_relkind(relid) == RELKIND_INDEX)
	{
		repair_index(fcinfo, relid);
		return (Datum) 0;
	}
	rel = inspect_open_table(relid, AccessExclusiveLock, &file);
	inspect_require_owner(relid);
	CheckTableNotInUse(rel, "rowan.repair");
	repair_table(fcinfo, rel, &file);
	relation_close(rel, NoLock);
	return (Datum) 0;
}
