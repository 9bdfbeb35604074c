/*
 * page_svg.c
 *	  rowan.page_svg: a page as a map of its bytes.
 *
 * 64 lines of 128 bytes.  What lies where is what rowan.page_items says (pages.c): nothing is
 * parsed here, and nothing believed either: a place is drawn as far as it lies within the page.  So
 * any bytes give a picture.
 *
 * Latches: only those that the pool takes for a copy.
 */
#include "postgres.h"

#include "access/relation.h"
#include "base/export.h"
#include "base/flag_names.h"
#include "inspect/result.h"
#include "inspect/svg.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/pg_lsn.h"

ROWAN_SQL_FUNCTION(rowan_page_svg);
ROWAN_SQL_FUNCTION(rowan_page_svg_bytes);

/* The picture, in its units. */
#define MARGIN			20
#define MAP_X			64
#define MAP_Y			74
#define LINE_BYTES		128
#define BYTE_WIDTH		5
#define LINE_HEIGHT		9
#define MAP_WIDTH		(LINE_BYTES * BYTE_WIDTH)
#define MAP_HEIGHT		(BLCKSZ / LINE_BYTES * LINE_HEIGHT)
#define FACTS_X			(MAP_X + MAP_WIDTH + 28)
#define FACTS_WIDTH		232
#define FACT_HEIGHT		19
#define WIDTH			(FACTS_X + FACTS_WIDTH + MARGIN)
#define LABEL_BYTES		9		/* room for a label in a cell */
#define VALUE_CHARS		24

typedef struct PageSvg
{
	Svg			svg;
	Page		page;
	double		fact_y;
	bool		covered[BLCKSZ];	/* by a cell, or its slack */
} PageSvg;

/* ---- places ---- */

static inline double
line_y(int offset)
{
	return MAP_Y + offset / LINE_BYTES * LINE_HEIGHT;
}

static inline double
byte_x(int offset)
{
	return MAP_X + offset % LINE_BYTES * BYTE_WIDTH;
}

/* The outline of bytes from start to end, which may take several lines. */
static void
outline(PageSvg *map, int start, int end)
{
	double		x0 = byte_x(start),
				y0 = line_y(start),
				x1 = byte_x(end - 1) + BYTE_WIDTH,
				y1 = line_y(end - 1);
	int			lines = (end - 1) / LINE_BYTES - start / LINE_BYTES;

	if (lines == 0)
		svg_print(&map->svg, "M%g %gH%gv%dH%gZ", x0, y0, x1, LINE_HEIGHT, x0);
	else if (lines == 1 && x1 <= x0)
		svg_print(&map->svg, "M%g %gH%dv%dH%gZM%d %gH%gv%dH%dZ",
				  x0, y0, MAP_X + MAP_WIDTH, LINE_HEIGHT, x0, MAP_X, y1, x1, LINE_HEIGHT, MAP_X);
	else
		svg_print(&map->svg, "M%g %gH%dV%gH%gv%dH%dV%gH%gZ",
				  x0, y0, MAP_X + MAP_WIDTH, y1, x1, LINE_HEIGHT, MAP_X, y0 + LINE_HEIGHT, x0);
}

/* Bytes from start to end, as far as they are the page's; false: none is. */
static bool
clip(int *start, int *end)
{
	*start = Max(*start, 0);
	*end = Min(*end, BLCKSZ);
	return *start < *end;
}

static void
draw_bytes(PageSvg *map, SvgPaint paint, int start, int end, const char *more)
{
	if (!clip(&start, &end))
		return;
	svg_print(&map->svg, "<path class=\"i %s%s\" d=\"", svg_class(&map->svg, paint), more);
	outline(map, start, end);
	svg_print(&map->svg, "\"/>");
}

/* The same with something to say. */
static void
draw_part(PageSvg *map, SvgPaint paint, int start, int end, const char *what)
{
	if (!clip(&start, &end))
		return;
	svg_print(&map->svg, "<g class=\"g\"><title>%s: bytes %d to %d</title>", what, start, end - 1);
	draw_bytes(map, paint, start, end, "");
	svg_print(&map->svg, "</g>\n");
}

static void
cover(PageSvg *map, int start, int end)
{
	if (clip(&start, &end))
		memset(map->covered + start, true, end - start);
}

/* ---- what page_items says of an item ---- */

static inline bool
item_has(const ResultRow *row, int column)
{
	return !row->isnull[column];
}

static inline int
item_int(const ResultRow *row, int column, int otherwise)
{
	return row->isnull[column] ? otherwise : DatumGetInt32(row->values[column]);
}

static bool
item_has_flag(const ResultRow *row, const char *name)
{
	Datum	   *flags;
	int			n;

	if (row->isnull[ITEM_FLAGS])
		return false;
	deconstruct_array(DatumGetArrayTypeP(row->values[ITEM_FLAGS]), TEXTOID, -1, false,
					  TYPALIGN_INT, &flags, NULL, &n);
	for (int i = 0; i < n; i++)
		if (strcmp(TextDatumGetCString(flags[i]), name) == 0)
			return true;
	return false;
}

static SvgPaint
item_paint(const PageSvg *map, const ResultRow *row)
{
	if (item_has(row, ITEM_PROBLEM))
		return SVG_BAD;
	switch (page_trailer(map->page)->type)
	{
		case ROWAN_PAGE_VERSION:
			return SVG_RECORD;
		case ROWAN_PAGE_INNER:
			return SVG_CHILD;
		case ROWAN_PAGE_INDEX_INNER:
		case ROWAN_PAGE_INDEX_LEAF:
			if (item_int(row, ITEM_SLOT, 0) < 2)
				return SVG_FENCE;
			if (item_has_flag(row, "dead"))
				return SVG_DELETED;
			return page_trailer(map->page)->level > 0 ? SVG_CHILD : SVG_ENTRY;
	}
	if (item_has_flag(row, "deleted"))
		return SVG_DELETED;
	if (item_has_flag(row, "version"))
		return SVG_OLDER;
	return item_has_flag(row, "xid") && !item_has_flag(row, "page_xid") ? SVG_OWN : SVG_ROW;
}

static char *
tid_text(Datum value)
{
	ItemPointer tid = (ItemPointer) DatumGetPointer(value);

	return psprintf("(%u,%u)", ItemPointerGetBlockNumberNoCheck(tid),
					ItemPointerGetOffsetNumberNoCheck(tid));
}

static void
tell_flags(Svg *svg, Datum array)
{
	Datum	   *flags;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &flags, NULL,
					  &n);
	for (int i = 0; i < n; i++)
		svg_print(svg, "%s%s", i == 0 ? "\nflags " : ", ", TextDatumGetCString(flags[i]));
}

/* One line for each thing that is known. */
static void
tell_item(Svg *svg, const ResultRow *row)
{
	static const struct
	{
		int			column;
		const char *format;
	}			numbers[] = {
		{ITEM_OFFSET, "\nat byte %d"},
		{ITEM_SIZE, ", %d bytes"},
		{ITEM_SLACK, ", slack %d"},
		{ITEM_STUBS, "\n%d stubs"},
		{ITEM_TAG, "\ntag %d"},
		{ITEM_NATTS, "\n%d columns"},
		{ITEM_PREFIX, "\nshares %d bytes"},
	};
	static const struct
	{
		int			column;
		const char *format;
	}			xids[] = {
		{ITEM_XMIN, "\nxmin %u"},
		{ITEM_LOCK_XID, "\nlocked by %u"},
		{ITEM_SUPERSEDER, "\nsuperseded by %u"},
	};

	svg_print(svg, "<title>slot %d", item_int(row, ITEM_SLOT, 0));
	if (item_has(row, ITEM_KIND))
		svg_print(svg, ": %s", TextDatumGetCString(row->values[ITEM_KIND]));
	for (int i = 0; i < (int) lengthof(numbers); i++)
		if (item_has(row, numbers[i].column))
			svg_print(svg, numbers[i].format, DatumGetInt32(row->values[numbers[i].column]));
	if (item_has(row, ITEM_KEY))
		svg_print(svg, "\nrow id " INT64_FORMAT, DatumGetInt64(row->values[ITEM_KEY]));
	if (item_has(row, ITEM_TID))
		svg_print(svg, "\ntid %s", tid_text(row->values[ITEM_TID]));
	if (item_has(row, ITEM_CHILD))
		svg_print(svg, "\nchild block " INT64_FORMAT, DatumGetInt64(row->values[ITEM_CHILD]));
	for (int i = 0; i < (int) lengthof(xids); i++)
		if (item_has(row, xids[i].column))
			svg_print(svg, xids[i].format, DatumGetTransactionId(row->values[xids[i].column]));
	if (item_has(row, ITEM_OLDER_BLOCK))
		svg_print(svg, "\nolder version in block " INT64_FORMAT " at %d",
				  DatumGetInt64(row->values[ITEM_OLDER_BLOCK]),
				  item_int(row, ITEM_OLDER_OFFSET, 0));
	if (item_has(row, ITEM_FORWARD))
		svg_print(svg, "\nmoved to %s", tid_text(row->values[ITEM_FORWARD]));
	if (item_has(row, ITEM_FLAGS))
		tell_flags(svg, row->values[ITEM_FLAGS]);
	if (item_has(row, ITEM_PROBLEM))
		svg_print(svg, "\n%s", TextDatumGetCString(row->values[ITEM_PROBLEM]));
	svg_print(svg, "</title>");
}

/* The row id or child, where there is room for it in the cell's first line. */
static void
label_item(PageSvg *map, const ResultRow *row, int start, int end)
{
	const char *text = NULL;
	int			room = Min(end - start, LINE_BYTES - start % LINE_BYTES);

	if (start < 0 || room < LABEL_BYTES)
		return;
	if (item_has(row, ITEM_CHILD))
		text = psprintf("to " INT64_FORMAT, DatumGetInt64(row->values[ITEM_CHILD]));
	else if (item_has(row, ITEM_TID))
		text = tid_text(row->values[ITEM_TID]);
	if (text != NULL && (int) strlen(text) < room)
		svg_label(&map->svg, byte_x(start) + 3, line_y(start) + 7.2, "w", text);
}

/* Slot, slack and cell, which belong together. */
static void
draw_item(ResultRow *row, void *arg)
{
	PageSvg    *map = arg;
	SvgPaint	paint = item_paint(map, row);
	int			slot = item_int(row, ITEM_SLOT, 0);
	int			start = item_int(row, ITEM_OFFSET, 0);
	int			end = start + item_int(row, ITEM_SIZE, 0);
	int			slack = item_int(row, ITEM_SLACK, 0);
	bool		has_slot = page_trailer(map->page)->type != ROWAN_PAGE_VERSION;

	CHECK_FOR_INTERRUPTS();
	svg_print(&map->svg, "<g class=\"g\">");
	tell_item(&map->svg, row);
	if (has_slot)
		draw_bytes(map, paint == SVG_BAD || item_has(row, ITEM_STUBS) ? paint : SVG_SLOTS,
				   ROWAN_PAGE_BODY + slot * (int) sizeof(SlotData),
				   ROWAN_PAGE_BODY + (slot + 1) * (int) sizeof(SlotData), "");
	if (slack > 0)
		draw_bytes(map, SVG_SLACK, start - slack, start, "");
	if (end > start)
	{
		draw_bytes(map, paint, start, end, slot % 2 ? " o" : "");
		label_item(map, row, start, Min(end, BLCKSZ));
		cover(map, start - slack, end);
	}
	svg_print(&map->svg, "</g>\n");
}

/* ---- the map ---- */

/* Behind everything: what is not drawn over is free, or was used once. */
static void
draw_ground(PageSvg *map, int lower, int upper)
{
	draw_part(map, SVG_GAP, lower, upper, "free gap");
	draw_part(map, SVG_HEADER, 0, ROWAN_PAGE_BODY, "page header");
	draw_part(map, SVG_HEADER, ROWAN_PAGE_SPECIAL, BLCKSZ, "page trailer");
}

static void
draw_dead_bytes(PageSvg *map, int start, int end)
{
	while (start < end)
	{
		int			stop = start;

		while (stop < end && map->covered[stop] == map->covered[start])
			stop++;
		if (!map->covered[start])
			draw_part(map, SVG_DEAD, start, stop, "dead bytes");
		start = stop;
	}
}

static void
draw_map(PageSvg *map)
{
	PageHeader	header = (PageHeader) map->page;
	PageTrailer trailer = page_trailer(map->page);
	int			lower = Min(Max(header->pd_lower, ROWAN_PAGE_BODY), ROWAN_PAGE_SPECIAL);
	int			upper = Min(Max(header->pd_upper, lower), ROWAN_PAGE_SPECIAL);

	if (PageIsNew(map->page))
	{
		draw_part(map, SVG_GAP, 0, BLCKSZ, "zeroes");
		return;
	}
	draw_ground(map, lower, upper);
	if (trailer->type == ROWAN_PAGE_HEADER)
		draw_part(map, SVG_SLOTS, ROWAN_PAGE_BODY, lower, "file header");
	if (trailer->type == ROWAN_PAGE_VERSION)
		draw_part(map, SVG_DEAD, ROWAN_PAGE_BODY, lower, "padding of records");
	inspect_walk_items(map->page, draw_item, map);
	draw_dead_bytes(map, upper, ROWAN_PAGE_SPECIAL);
}

static void
draw_offsets(PageSvg *map)
{
	for (int offset = 0; offset < BLCKSZ; offset += BLCKSZ / 8)
		svg_label(&map->svg, MAP_X - 8, line_y(offset) + 8, "s e", psprintf("%d", offset));
}

/* ---- facts beside it ---- */

static void
fact(PageSvg *map, const char *name, const char *value)
{
	svg_label(&map->svg, FACTS_X, map->fact_y, "n", name);
	svg_label(&map->svg, FACTS_X + FACTS_WIDTH, map->fact_y, "v e", value);
	map->fact_y += FACT_HEIGHT;
}

static void
fact_number(PageSvg *map, const char *name, uint64 number)
{
	fact(map, name, psprintf(UINT64_FORMAT, number));
}

/* A long text, in lines. */
static void
fact_problem(PageSvg *map, const char *problem)
{
	while (*problem != '\0')
	{
		int			length = strlen(problem);

		if (length > 1 + VALUE_CHARS + VALUE_CHARS / 4)
		{
			length = VALUE_CHARS + VALUE_CHARS / 4;
			while (length > 1 && problem[length] != ' ')
				length--;
		}
		svg_label(&map->svg, FACTS_X, map->fact_y, "p", pnstrdup(problem, length));
		map->fact_y += FACT_HEIGHT;
		problem += length;
		while (*problem == ' ')
			problem++;
	}
}

static void
rule(PageSvg *map)
{
	svg_print(&map->svg, "<path class=\"ln\" d=\"M%d %gh%d\"/>\n", FACTS_X, map->fact_y - 8,
			  FACTS_WIDTH);
	map->fact_y += 10;
}

static void
tell_space(PageSvg *map, bool slotted)
{
	Page		page = map->page;
	PageTrailer trailer = page_trailer(page);
	int			gap = Max(page_gap(page), 0);
	int			free = Min(gap + trailer->dead_bytes, (int) ROWAN_PAGE_ROOM);

	if (slotted)
		fact_number(map, "slots", page_nslots(page));
	fact(map, "full", psprintf("%d %%", (int) (100 * (ROWAN_PAGE_ROOM - free) / ROWAN_PAGE_ROOM)));
	fact(map, "free gap", psprintf("%d bytes", gap));
	if (slotted)
		fact(map, "dead", psprintf("%d bytes", trailer->dead_bytes));
	if (trailer->type == ROWAN_PAGE_LEAF)
		fact(map, "slack", psprintf("%d bytes", page_slack_bytes(page)));
	rule(map);
}

static void
tell_place(PageSvg *map)
{
	PageTrailer trailer = page_trailer(map->page);

	fact_number(map, "level", trailer->level);
	if (BlockNumberIsValid(trailer->right_block))
		fact_number(map, trailer->type == ROWAN_PAGE_FREE ? "next free block" :
					trailer->type == ROWAN_PAGE_VERSION ? "next version page" : "right sibling",
					trailer->right_block);
	if (trailer->type == ROWAN_PAGE_LEAF || trailer->type == ROWAN_PAGE_INNER)
	{
		fact_number(map, "row ids from", trailer->low_fence);
		if (trailer->high_fence == TREE_KEY_MAX)
			fact(map, "row ids below", "no end");
		else
			fact_number(map, "row ids below", trailer->high_fence);
	}
	rule(map);
}

static void
tell_state(PageSvg *map)
{
	PageTrailer trailer = page_trailer(map->page);
	XLogRecPtr	lsn = PageXLogRecPtrGet(((PageHeader) map->page)->pd_lsn);

	if (trailer->type == ROWAN_PAGE_LEAF && TransactionIdIsValid(trailer->page_xid))
		fact(map, "made by", psprintf(trailer->page_cid == PAGE_CID_FROZEN ? "%u, frozen" : "%u",
									  trailer->page_xid));
	if (TransactionIdIsValid(trailer->newest_xid))
		fact_number(map, "newest xid", trailer->newest_xid);
	fact(map, "LSN", psprintf("%X/%X", LSN_FORMAT_ARGS(lsn)));
	fact(map, "checksum", psprintf("%04x", ((PageHeader) map->page)->pd_checksum));
	fact(map, "CRC", psprintf("%08x", trailer->crc));
	fact_number(map, "format", trailer->format_version);
}

static void
tell_facts(PageSvg *map)
{
	PageTrailer trailer = page_trailer(map->page);
	const char *problem = inspect_page_problem(map->page);
	bool		slotted = inspect_page_has_slots(trailer->type);

	map->fact_y = MAP_Y + 11;
	if (problem != NULL)
	{
		fact_problem(map, problem);
		rule(map);
	}
	if (PageIsNew(map->page))
		return;
	if (slotted || trailer->type == ROWAN_PAGE_VERSION)
		tell_space(map, slotted);
	tell_place(map);
	tell_state(map);
}

/* ---- the picture ---- */

static Datum
page_svg(Page page, const char *relation)
{
	PageSvg    *map = palloc0(sizeof(PageSvg));
	PageTrailer trailer = page_trailer(page);
	char	   *what = psprintf("block %u: %s page", trailer->self_block,
								page_type_name(trailer->type));
	char	   *title = PageIsNew(page) ? pstrdup("an empty page") :
		relation == NULL ? what : psprintf("%s, %s", relation, what);
	double		height = MAP_Y + MAP_HEIGHT + 17;

	if (!PageIsNew(page))
		inspect_require_magic(page);
	map->page = page;
	svg_begin(&map->svg, title, "A page of a Rowan file as a map of its bytes, line by line.");
	svg_label(&map->svg, MARGIN, 36, "t", title);
	svg_label(&map->svg, MARGIN, 56, "n",
			  "8192 bytes, 128 in a line. Point at something to be told what it is.");
	draw_offsets(map);
	draw_map(map);
	tell_facts(map);
	height += svg_legend(&map->svg, MAP_X, height, WIDTH - MAP_X - MARGIN);
	return svg_end(&map->svg, WIDTH, height + 8);
}

Datum
rowan_page_svg(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);
	char	   *name = svg_relation_name(RelationGetNamespace(rel), RelationGetRelationName(rel));

	relation_close(rel, NoLock);
	return page_svg(inspect_copy_page(PG_GETARG_OID(0), PG_GETARG_INT64(1)), name);
}

Datum
rowan_page_svg_bytes(PG_FUNCTION_ARGS)
{
	return page_svg(inspect_page_from_bytes(PG_GETARG_BYTEA_PP(0)), NULL);
}
