/*
 * index_pages.c
 *	  SQL functions that look into pages and trees of rowan_btree indexes.
 *
 * Works on private copies of pages.  rowan.page_items shows the cells of any bytes;
 * rowan.index_items knows the index, and shows keys too: those whose lengths fit, by the output
 * functions of their types.
 */
#include "postgres.h"

#include "access/relation.h"
#include "base/export.h"
#include "btree/btree.h"
#include "funcapi.h"
#include "inspect/result.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

ROWAN_SQL_FUNCTION(rowan_index_items);

/* ---- cells ---- */

static const FlagName cell_flag_names[] = {
	{CELL_NULLS, "nulls"},
	{CELL_POSTING, "list"},
	{SLOT_DEAD, "dead"},
	{0, NULL}
};

static const char *
kind_name(Page page, int pos, const IndexItem *item)
{
	if (pos == SLOT_LOW_FENCE)
		return "low fence";
	if (pos == SLOT_HIGH_FENCE)
		return item->is_infinite ? "no high fence" : "high fence";
	if (item->is_separator)
		return "child";
	return item->ntids > 1 ? "list" : "entry";
}

/* Of the cell, and the mark of its slot. */
static uint16
index_cell_flags(Page page, int pos, const char *cell)
{
	uint16		size_flags;

	memcpy(&size_flags, cell, sizeof(size_flags));
	return (size_flags & (CELL_NULLS | CELL_POSTING)) | (ipage_is_dead(page, pos) ? SLOT_DEAD : 0);
}

/* Bytes of the payload that are not stored: they are the low fence's. */
static int
cell_prefix_length(Page page, int pos, const IndexItem *item)
{
	uint16		size = 0;
	const uint8 *cell = (const uint8 *) page_cell(page, pos, &size);
	int			at = 3;

	if (cell == NULL || size < 3 || (cell[2] & CELL_PREFIX) == 0)
		return 0;
	if (item->is_separator)
		at += 5 + (cell[2] & CELL_TID ? (int) sizeof(ItemPointerData) : 0);
	else if (item->posting != NULL)
		at = (const uint8 *) item->posting + item->posting_size - cell;
	else
		at += (cell[2] & CELL_BLOCK_BYTES) + 1 + (cell[2] & CELL_WIDE_OFFSET ? 2 : 1);
	return at < size ? cell[at] : 0;
}

void
inspect_set_index_cell(ResultRow *row, Page page, int pos, const char *cell, uint16 size)
{
	KeyDesc		nothing = {0};
	PGAlignedBlock buffer;
	CellPrefix	prefix;
	IndexItem	item;

	cell_prefix(page, &prefix);
	inspect_set_bytes(row, ITEM_DATA, cell, size);
	if (!cell_decode(&nothing, page, &prefix, pos, &item, buffer.data))
	{
		set_text(row, ITEM_PROBLEM, "the cell makes no sense");
		return;
	}
	inspect_set_flags(row, ITEM_FLAGS, index_cell_flags(page, pos, cell), cell_flag_names);
	set_text(row, ITEM_KIND, kind_name(page, pos, &item));
	set_int(row, ITEM_PREFIX, cell_prefix_length(page, pos, &item));
	set_block(row, ITEM_CHILD, item.child);
	if (item.has_tid)
		inspect_set_tid(row, ITEM_TID, ItemPointerGetBlockNumberNoCheck(&item.tid),
						ItemPointerGetOffsetNumberNoCheck(&item.tid));
	if (item.is_separator)
		set_int(row, ITEM_NATTS, item.natts);
}

/* ---- keys ---- */

/* The columns present, in parentheses. */
static char *
key_text(TupleDesc desc, IndexTuple tuple, int natts)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '(');
	for (int i = 0; i < natts; i++)
	{
		bool		is_null;
		Datum		value = index_getattr(tuple, i + 1, desc, &is_null);
		Oid			output;
		bool		is_varlena;

		if (i > 0)
			appendStringInfoString(&text, ", ");
		getTypeOutputInfo(TupleDescAttr(desc, i)->atttypid, &output, &is_varlena);
		appendStringInfoString(&text, is_null ? "null" : OidOutputFunctionCall(output, value));
	}
	appendStringInfoChar(&text, ')');
	return text.data;
}

/* ---- rowan.index_items ---- */

enum
{
	INDEX_ITEM_SLOT,
	INDEX_ITEM_KIND,
	INDEX_ITEM_SIZE,
	INDEX_ITEM_HEAD,
	INDEX_ITEM_PREFIX,
	INDEX_ITEM_NATTS,
	INDEX_ITEM_KEY,
	INDEX_ITEM_TID,
	INDEX_ITEM_TIDS,
	INDEX_ITEM_CHILD,
	INDEX_ITEM_DEAD,
	INDEX_ITEM_PROBLEM
};

static void
set_tids(ResultRow *row, const IndexItem *item)
{
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * item->ntids);
	Datum	   *elements = palloc(sizeof(Datum) * item->ntids);

	if (!cell_tids(item, tids))
	{
		set_text(row, INDEX_ITEM_PROBLEM, "the list of TIDs makes no sense");
		return;
	}
	for (int i = 0; i < item->ntids; i++)
		elements[i] = PointerGetDatum(&tids[i]);
	set_datum(row, INDEX_ITEM_TIDS,
			  PointerGetDatum(construct_array(elements, item->ntids, TIDOID,
											  sizeof(ItemPointerData), false, TYPALIGN_SHORT)));
}

static void
set_index_item(ResultRow *row, const PageView *view, int pos, const IndexItem *item)
{
	TupleDesc	desc = view->keys->desc;

	set_text(row, INDEX_ITEM_KIND, kind_name(view->page, pos, item));
	set_int(row, INDEX_ITEM_HEAD, page_slots(view->page)[pos].delta);
	set_int(row, INDEX_ITEM_PREFIX, cell_prefix_length(view->page, pos, item));
	set_int(row, INDEX_ITEM_NATTS, item->natts);
	set_block(row, INDEX_ITEM_CHILD, item->child);
	if (item->natts > 0)
		set_text(row, INDEX_ITEM_KEY, key_text(desc, item->tuple, item->natts));
	if (item->has_tid)
		inspect_set_tid(row, INDEX_ITEM_TID, ItemPointerGetBlockNumberNoCheck(&item->tid),
						ItemPointerGetOffsetNumberNoCheck(&item->tid));
	if (!item->is_separator)
	{
		set_datum(row, INDEX_ITEM_DEAD, BoolGetDatum(item->is_dead));
		set_tids(row, item);
	}
}

static void
put_index_items(FunctionCallInfo fcinfo, const PageView *view)
{
	PGAlignedBlock buffer;

	for (int pos = 0; pos < page_nslots(view->page); pos++)
	{
		ResultRow	row;
		IndexItem	item;
		uint16		size;

		CHECK_FOR_INTERRUPTS();
		clear_row(&row);
		set_int(&row, INDEX_ITEM_SLOT, pos);
		if (page_cell(view->page, pos, &size) == NULL ||
			!cell_decode(view->keys, view->page, &view->prefix, pos, &item, buffer.data))
			set_text(&row, INDEX_ITEM_PROBLEM, "the cell makes no sense");
		else
		{
			set_int(&row, INDEX_ITEM_SIZE, size);
			set_index_item(&row, view, pos, &item);
		}
		inspect_put_row(fcinfo, &row);
	}
}

Datum
rowan_index_items(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	index = inspect_open(PG_GETARG_OID(0), &file);
	Page		page;
	IndexTree	tree;
	PageView	view;

	if (!index_is_rowan(index))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a rowan_btree index", RelationGetRelationName(index)),
				 errhint("Use rowan.page_items for a table.")));
	page = inspect_copy_page(PG_GETARG_OID(0), PG_GETARG_INT64(1));
	InitMaterializedSRF(fcinfo, 0);
	if (!PageIsNew(page) && ipage_is_index(page))
	{
		index_tree(index, &tree);
		view_page(&view, &tree, page, NULL);
		put_index_items(fcinfo, &view);
	}
	relation_close(index, AccessShareLock);
	return (Datum) 0;
}

/* ---- rowan.tree_stats ---- */

static void
count_leaf(const PageView *view, TreeStat *stat)
{
	PGAlignedBlock buffer;

	stat->leaf_pages++;
	stat->leaf_free_bytes += page_gap(view->page);
	stat->leaf_dead_bytes += page_trailer(view->page)->dead_bytes;
	for (int pos = SLOT_FIRST; pos < page_nslots(view->page); pos++)
	{
		IndexItem	item;

		view_item(view, pos, &item, buffer.data);
		stat->rows += item.ntids;
	}
}

/* Leaves from left to right, each found by the fence of the one before. */
static void
count_leaves(const IndexTree *tree, TreeStat *stat)
{
	PGAlignedBlock leaf,
				fences[2];
	BlockNumber hint = InvalidBlockNumber;
	KeyPoint	point;
	IndexItem	high = {0};

	key_point_init(tree->keys, &point, 0, TAIL_LOW);
	for (int which = 0; !high.is_infinite; which = 1 - which)
	{
		PoolFrame  *frame;
		PageView	view;
		uint64		version;

		CHECK_FOR_INTERRUPTS();
		itree_copy_leaf(tree, &point, false, hint, leaf.data, &frame, &version);
		view_page(&view, tree, (Page) leaf.data, NULL);
		count_leaf(&view, stat);
		hint = page_trailer(view.page)->right_block;
		view_item(&view, SLOT_HIGH_FENCE, &high, fences[which].data);
		if (!high.is_infinite)
			key_point_from_item(tree->keys, &point, &high);
	}
}

void
inspect_index_stat(Relation index, TreeStat *stat)
{
	IndexTree	tree;
	FileHeaderData header;
	BlockNumber nblocks;
	int64		used;

	index_tree(index, &tree);
	memset(stat, 0, sizeof(*stat));
	if (!tree_exists(&tree.file))
		return;
	count_leaves(&tree, stat);
	stat->height = itree_height(&tree) + 1;
	space_read_header(&tree.file, &header);
	nblocks = pool_file_blocks(&tree.file);
	stat->free_pages = header.free_count;
	stat->unused_pages = nblocks > header.high_water ? nblocks - header.high_water : 0;
	/* an index has no other pages: inner ones are what is left */
	used = (int64) header.high_water - 1 - header.free_count - (int64) stat->leaf_pages;
	stat->inner_pages = Max(used, 0);
}
