/*
 * tree_svg.c
 *	  rowan.tree_svg: a tree, level by level, each page as wide as the leaves below it and filled as
 *	  it is; and what each block of the file serves for.
 *
 * The pages are those that the verifier's walk meets (tree/verify.h), so others may change the tree
 * meanwhile, and what does not fit together is counted in the picture.  Where there are more pages
 * than one could see, neighbours are drawn as one.
 *
 * Latches: only those that the pool takes for a copy.
 */
#include "postgres.h"

#include "access/relation.h"
#include "base/export.h"
#include "btree/btree.h"
#include "entry/entry_verify.h"
#include "inspect/problems.h"
#include "inspect/result.h"
#include "inspect/svg.h"
#include "miscadmin.h"
#include "tree/verify.h"
#include "utils/guc.h"
#include "utils/memutils.h"

ROWAN_SQL_FUNCTION(rowan_tree_svg);

/* The picture, in its units. */
#define MARGIN			20
#define LEVELS_X		112
#define LEVELS_Y		92
#define LEVELS_WIDTH	(WIDTH - LEVELS_X - MARGIN)
#define WIDTH			984
#define INNER_HEIGHT	30
#define LEAF_HEIGHT		84
#define LEVEL_GAP		14
#define NARROWEST		4.0		/* page, or pages drawn as one */
#define BLOCK_SIZE		11
#define BLOCKS_IN_LINE	((int) LEVELS_WIDTH / BLOCK_SIZE)
#define BLOCK_LINES		20		/* at most */
#define MAX_LEVELS		64

/* A page of the tree, in the order of the walk: parents first, from left to right. */
typedef struct TreePage
{
	BlockNumber block;
	uint16		used_bytes;
	uint16		slots;
	uint8		level;
} TreePage;

typedef struct TreeSvg
{
	Svg			svg;
	TreePage   *pages;
	Size		n;
	Size		room;
	uint64		level_pages[MAX_LEVELS];
	uint64		used_bytes;		/* of leaves */
	int			height;
	uint8	   *types;			/* of each block; 0: not met */
	BlockNumber nblocks;
	BlockNumber high_water;
	uint64		problems;
	char	   *first_problem;
	double		y;
} TreeSvg;

/* ---- what the walk meets ---- */

static bool
is_page_of_tree(uint8 type)
{
	return type == ROWAN_PAGE_LEAF || type == ROWAN_PAGE_INNER || type == ROWAN_PAGE_INDEX_LEAF ||
		type == ROWAN_PAGE_INDEX_INNER;
}

static void
add_page(TreeSvg *tree, Page page, BlockNumber block)
{
	PageTrailer trailer = page_trailer(page);
	TreePage   *added;
	int			free = page_free_bytes(page);

	if (trailer->level >= MAX_LEVELS)
		return;
	if (tree->n == tree->room)
	{
		tree->room *= 2;
		tree->pages = repalloc_huge(tree->pages, tree->room * sizeof(TreePage));
	}
	added = &tree->pages[tree->n++];
	added->block = block;
	added->level = trailer->level;
	added->slots = page_nslots(page);
	added->used_bytes = ROWAN_PAGE_ROOM - Min(Max(free, 0), (int) ROWAN_PAGE_ROOM);
	tree->height = Max(tree->height, trailer->level + 1);
	tree->level_pages[trailer->level]++;
	if (trailer->level == 0)
		tree->used_bytes += added->used_bytes;
}

static void
page_is_met(Page page, BlockNumber block, void *arg)
{
	TreeSvg    *tree = arg;
	uint8		type = page_trailer(page)->type;

	/* met once already, or of a part that was added meanwhile */
	if (block >= tree->nblocks || tree->types[block] != 0)
		return;
	tree->types[block] = type;
	if (is_page_of_tree(type))
		add_page(tree, page, block);
}

static void
problem_is_met(BlockNumber block, const char *message, void *arg)
{
	TreeSvg    *tree = arg;

	if (tree->problems++ == 0)
		tree->first_problem = BlockNumberIsValid(block) ?
			psprintf("block %u: %s", block, message) : pstrdup(message);
}

static void
walk_index(Relation index, TreeSvg *tree)
{
	IndexTree	index_of;
	IndexVerify how = {.tree = &index_of, .report = problem_is_met, .met = page_is_met,
	.arg = tree};
	Oid			user;
	int			security,
				nest_level;

	/* functions of operator classes are called: as the owner, who chose them */
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(index->rd_rel->relowner, security | SECURITY_RESTRICTED_OPERATION);
	nest_level = NewGUCNestLevel();
	index_tree(index, &index_of);
	(void) itree_verify(&how);
	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(user, security);
}

static void
walk(Relation rel, const PoolFile *file, TreeSvg *tree)
{
	TreeVerify	how = {.report = problem_is_met, .met = page_is_met, .arg = tree};
	FileHeaderData header;

	tree->room = 1024;
	tree->pages = palloc(tree->room * sizeof(TreePage));
	tree->nblocks = 0;
	if (verify_is_absent(rel) || !tree_exists(file))
		return;
	space_read_header(file, &header);
	tree->high_water = header.high_water;
	tree->nblocks = Max(pool_file_blocks(file), tree->high_water);
	tree->types = palloc_extended(tree->nblocks, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	tree->types[ROWAN_HEADER_BLOCK] = ROWAN_PAGE_HEADER;
	if (index_is_rowan(rel))
		walk_index(rel, tree);
	else
		(void) tree_verify(file, &how);
}

/* ---- levels ---- */

/* Neighbours that are drawn as one. */
typedef struct PageGroup
{
	uint64		from,			/* of the leaves, counted from the left: those below it */
				to;
	uint64		pages;
	uint64		slots;
	uint64		used_bytes;
	BlockNumber first,
				last;
} PageGroup;

static void
tell_group(TreeSvg *tree, const PageGroup *group, int level)
{
	int			percent = (int) (100 * group->used_bytes / (group->pages * ROWAN_PAGE_ROOM));
	const char *what = level == 0 ? "leaf" : "inner page";
	const char *several = level == 0 ? "leaves" : "inner pages";

	if (group->pages == 1)
		svg_print(&tree->svg, "<title>block %u: %s\n" UINT64_FORMAT " slots, %d %% full</title>",
				  group->first, what, group->slots, percent);
	else
		svg_print(&tree->svg, "<title>" UINT64_FORMAT " %s, from block %u to block %u\n"
				  UINT64_FORMAT " slots, %d %% full</title>",
				  group->pages, several, group->first, group->last, group->slots, percent);
}

static void
draw_group(TreeSvg *tree, const PageGroup *group, int level, double scale)
{
	double		height = level == 0 ? LEAF_HEIGHT : INNER_HEIGHT;
	double		x = LEVELS_X + group->from * scale;
	double		width = Max((group->to - group->from) * scale - (scale < 2 ? 0 : 1), 0.6);
	double		filled = height * group->used_bytes / (group->pages * (double) ROWAN_PAGE_ROOM);

	svg_print(&tree->svg, "<g class=\"g\">");
	tell_group(tree, group, level);
	svg_print(&tree->svg, "<rect class=\"i %s\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" "
			  "height=\"%.1f\"/>", svg_class(&tree->svg, SVG_GAP), x, tree->y, width, height);
	svg_print(&tree->svg, "<rect class=\"%s\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" "
			  "height=\"%.1f\"/></g>\n",
			  svg_class(&tree->svg, level == 0 ? SVG_LEAF : SVG_CHILD), x,
			  tree->y + height - filled, width, filled);
}

/*
 * All pages of a level.  Leaves are counted on the way: those that follow a page, up to the next
 * one of its level, are below it.
 */
static void
draw_level(TreeSvg *tree, int level)
{
	double		scale = (double) LEVELS_WIDTH / Max(tree->level_pages[0], 1);
	uint64		leaves = 0;
	PageGroup	group = {0};

	for (Size i = 0; i < tree->n; i++)
	{
		const TreePage *page = &tree->pages[i];

		CHECK_FOR_INTERRUPTS();
		if (page->level == level)
		{
			group.to = leaves;
			if (group.pages > 0 && (group.to - group.from) * scale >= NARROWEST)
			{
				draw_group(tree, &group, level, scale);
				memset(&group, 0, sizeof(group));
			}
			if (group.pages++ == 0)
			{
				group.first = page->block;
				group.from = leaves;
			}
			group.last = page->block;
			group.slots += page->slots;
			group.used_bytes += page->used_bytes;
		}
		if (page->level == 0)
			leaves++;
	}
	group.to = leaves;
	if (group.pages > 0)
		draw_group(tree, &group, level, scale);
}

static char *
count_of(uint64 n, const char *one, const char *several)
{
	return psprintf(UINT64_FORMAT " %s", n, n == 1 ? one : several);
}

static void
draw_levels(TreeSvg *tree)
{
	for (int level = tree->height - 1; level >= 0; level--)
	{
		double		height = level == 0 ? LEAF_HEIGHT : INNER_HEIGHT;
		const char *name = level == 0 ? (tree->height == 1 ? "root, a leaf" : "leaves") :
			level == tree->height - 1 ? "root" : psprintf("level %d", level);

		svg_label(&tree->svg, MARGIN, tree->y + 13, "v", name);
		svg_label(&tree->svg, MARGIN, tree->y + 28, "s",
				  count_of(tree->level_pages[level], "page", "pages"));
		if (level == 0)
			svg_label(&tree->svg, MARGIN, tree->y + 43, "s",
					  psprintf("%d %% full", (int) (100 * tree->used_bytes /
													(tree->level_pages[0] * ROWAN_PAGE_ROOM))));
		draw_level(tree, level);
		tree->y += height + LEVEL_GAP;
	}
}

/* ---- the file ---- */

static SvgPaint
paint_of_block(const TreeSvg *tree, BlockNumber block)
{
	switch (tree->types[block])
	{
		case ROWAN_PAGE_HEADER:
			return SVG_HEADER;
		case ROWAN_PAGE_LEAF:
		case ROWAN_PAGE_INDEX_LEAF:
			return SVG_LEAF;
		case ROWAN_PAGE_INNER:
		case ROWAN_PAGE_INDEX_INNER:
			return SVG_CHILD;
		case ROWAN_PAGE_VERSION:
			return SVG_RECORD;
		case ROWAN_PAGE_FREE:
			return SVG_FREE;
	}
	return block < tree->high_water ? SVG_UNMET : SVG_UNUSED;
}

static const char *
name_of_paint(SvgPaint paint)
{
#define SVG_PAINT_NAME(symbol, class, light, dark, legend) legend,
	static const char *const names[] = {SVG_PAINTS(SVG_PAINT_NAME)};

	return names[paint];
}

/* Blocks from first on, as one square, in the colour of most of them. */
static void
draw_blocks(TreeSvg *tree, BlockNumber first, BlockNumber end, int place)
{
	uint32		count[SVG_PAINT_COUNT] = {0};
	SvgPaint	most = SVG_UNUSED;

	for (BlockNumber block = first; block < end; block++)
		count[paint_of_block(tree, block)]++;
	for (int i = 0; i < SVG_PAINT_COUNT; i++)
		if (count[i] > count[most])
			most = i;
	svg_print(&tree->svg, "<rect class=\"i %s\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%d\" "
			  "rx=\"1.5\"><title>", svg_class(&tree->svg, most),
			  LEVELS_X + place % BLOCKS_IN_LINE * BLOCK_SIZE,
			  tree->y + place / BLOCKS_IN_LINE * BLOCK_SIZE, BLOCK_SIZE - 1, BLOCK_SIZE - 1);
	if (end - first == 1)
		svg_print(&tree->svg, "block %u: %s", first, name_of_paint(most));
	else
	{
		svg_print(&tree->svg, "blocks %u to %u", first, end - 1);
		for (int i = 0; i < SVG_PAINT_COUNT; i++)
			if (count[i] > 0)
				svg_print(&tree->svg, "\n%u: %s", count[i], name_of_paint(i));
	}
	svg_print(&tree->svg, "</title></rect>\n");
}

static void
draw_file(TreeSvg *tree)
{
	BlockNumber each = tree->nblocks / (BLOCKS_IN_LINE * BLOCK_LINES) + 1;
	int			place = 0;

	tree->y += 8;
	svg_label(&tree->svg, MARGIN, tree->y + 9, "v", "file");
	svg_label(&tree->svg, MARGIN, tree->y + 24, "s", count_of(tree->nblocks, "block", "blocks"));
	if (each > 1)
		svg_label(&tree->svg, MARGIN, tree->y + 39, "s", psprintf("%u in a square", each));
	for (BlockNumber block = 0; block < tree->nblocks; block += each)
	{
		CHECK_FOR_INTERRUPTS();
		draw_blocks(tree, block, Min(block + each, tree->nblocks), place++);
	}
	tree->y += Max((place + BLOCKS_IN_LINE - 1) / BLOCKS_IN_LINE * BLOCK_SIZE, 42) + 16;
}

/* ---- the picture ---- */

static char *
summary(TreeSvg *tree)
{
	uint64		of_type[256] = {0};

	for (BlockNumber block = 0; block < tree->nblocks; block++)
		of_type[tree->types[block]]++;
	return psprintf("%s, %s, " UINT64_FORMAT " free, " UINT64_FORMAT " of older versions",
					count_of(tree->height, "level", "levels"),
					count_of(tree->n, "page of the tree", "pages of the tree"),
					of_type[ROWAN_PAGE_FREE], of_type[ROWAN_PAGE_VERSION]);
}

static Datum
tree_svg(TreeSvg *tree, const char *title)
{
	svg_begin(&tree->svg, title,
			  "A B+tree, level by level from the root to the leaves, and the blocks of its file.");
	svg_label(&tree->svg, MARGIN, 36, "t", title);
	svg_label(&tree->svg, MARGIN, 56, "n", summary(tree));
	if (tree->problems > 0)
		svg_label(&tree->svg, MARGIN, 75, "p",
				  psprintf("%s: %s", count_of(tree->problems, "problem", "problems"),
						   tree->first_problem));
	tree->y = tree->problems > 0 ? LEVELS_Y : LEVELS_Y - 18;
	if (tree->nblocks > 0)
	{
		draw_levels(tree);
		draw_file(tree);
	}
	tree->y += svg_legend(&tree->svg, LEVELS_X, tree->y, LEVELS_WIDTH);
	return svg_end(&tree->svg, WIDTH, tree->y + 8);
}

Datum
rowan_tree_svg(PG_FUNCTION_ARGS)
{
	PoolFile	file;
	Relation	rel = inspect_open(PG_GETARG_OID(0), &file);
	TreeSvg    *tree = palloc0(sizeof(TreeSvg));
	char	   *title = psprintf("%s: %s", svg_relation_name(RelationGetNamespace(rel),
															 RelationGetRelationName(rel)),
								 index_is_rowan(rel) ? "tree of the index" : "tree of the table");

	walk(rel, &file, tree);
	relation_close(rel, AccessShareLock);
	return tree_svg(tree, title);
}
