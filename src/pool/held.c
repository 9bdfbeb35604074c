/*
 * held.c
 *	  Which latches this backend holds, and whether it took them in latch order.
 *
 * A latch is looked at not when it is taken, but when its holder goes on with it: takes another
 * one, puts the page into a change, or gives it back.  For only by then he has found out whether the
 * page is the one he was told of; if it is damaged, he raises an error, and it never stood in any
 * order.
 *
 * What a frame holds is read under its latch.  In redo the order is that of the record, which is
 * the one in which the doing side took the latches; pages may be newer than the record there, so
 * what is on them says nothing.
 *
 * Must not allocate, and must work in critical sections.
 */
#include "postgres.h"

#include "access/xlogutils.h"
#include "pool/frame.h"

#ifdef ROWAN_CHECK_LATCHES

/* More than any change, and what is held beside it. */
#define MAX_HELD	32

/* Where a page stands in latch order among those of its file. */
#define PLACE_OF_LEVEL(level)	(PG_UINT8_MAX - (level))
#define PLACE_VERSION			(PG_UINT8_MAX + 1)
#define PLACE_HEADER			(PG_UINT8_MAX + 2)
#define PLACE_FREE				(PG_UINT8_MAX + 3)

typedef struct HeldLatch
{
	PoolFrame  *frame;
	HeldHow		how;
	bool		checked;		/* against those before it in the list */
	bool		in_change;
	int			functions;		/* so many users' functions run since it was taken */
	uint16		kind;			/* RowanTreeKind; 0: unknown */
	int			place;
} HeldLatch;

/* In the order in which they were taken. */
static HeldLatch held[MAX_HELD];
static int	nheld;

/* ---- where a page stands ---- */

static void
note_kind(HeldLatch *latch, Page page)
{
	latch->kind = 0;
	switch ((RowanPageType) page_trailer(page)->type)
	{
		case ROWAN_PAGE_HEADER:
			latch->kind = file_header(page)->tree_kind;
			break;
		case ROWAN_PAGE_INNER:
		case ROWAN_PAGE_LEAF:
		case ROWAN_PAGE_VERSION:
			latch->kind = ROWAN_TREE_TABLE;
			break;
		case ROWAN_PAGE_INDEX_INNER:
		case ROWAN_PAGE_INDEX_LEAF:
			latch->kind = ROWAN_TREE_INDEX;
			break;
		case ROWAN_PAGE_FREE:
		case ROWAN_PAGE_UNUSED:
			break;
	}
}

static int
place_of(Page page)
{
	switch ((RowanPageType) page_trailer(page)->type)
	{
		case ROWAN_PAGE_HEADER:
			return PLACE_HEADER;
		case ROWAN_PAGE_INNER:
		case ROWAN_PAGE_LEAF:
		case ROWAN_PAGE_INDEX_INNER:
		case ROWAN_PAGE_INDEX_LEAF:
			return PLACE_OF_LEVEL(page_trailer(page)->level);
		case ROWAN_PAGE_VERSION:
			return PLACE_VERSION;
		case ROWAN_PAGE_FREE:
		case ROWAN_PAGE_UNUSED:
			break;
	}
	return PLACE_FREE;
}

/* Where a page that is about to be made will stand: free, unless it is a file's header or root. */
static int
place_of_new(BlockNumber block)
{
	if (block == ROWAN_ROOT_BLOCK)
		return PLACE_OF_LEVEL(PG_UINT8_MAX);
	return block == ROWAN_HEADER_BLOCK ? PLACE_HEADER : PLACE_FREE;
}

static void
note_place(HeldLatch *latch)
{
	if (latch->how == HELD_IN_ORDER_NEW)
	{
		latch->kind = 0;
		latch->place = place_of_new(pool_block(latch->frame));
		return;
	}
	note_kind(latch, pool_page(latch->frame));
	latch->place = place_of(pool_page(latch->frame));
}

/* ---- the order ---- */

static bool
same_file(const HeldLatch *a, const HeldLatch *b)
{
	return RelFileLocatorEquals(a->frame->tag.locator, b->frame->tag.locator) &&
		a->frame->tag.backend == b->frame->tag.backend;
}

static bool
is_tree_page(const HeldLatch *latch)
{
	return latch->place <= PLACE_OF_LEVEL(0);
}

/* Pages of one level: one that is held, taken before it, has it for its right sibling. */
static bool
is_right_sibling(const HeldLatch *latch)
{
	for (const HeldLatch *before = held; before < latch; before++)
		if (same_file(before, latch) && before->place == latch->place &&
			page_trailer(pool_page(before->frame))->right_block == pool_block(latch->frame))
			return true;
	return false;
}

/* Who holds the header is alone with all free pages that are on the list: they need no order. */
static bool
has_header(const HeldLatch *latch)
{
	for (const HeldLatch *before = held; before < latch; before++)
		if (same_file(before, latch) && before->place == PLACE_HEADER)
			return true;
	return false;
}

static bool
in_order(const HeldLatch *before, const HeldLatch *latch)
{
	if (!same_file(before, latch))
		return before->kind == ROWAN_TREE_INDEX && latch->kind != ROWAN_TREE_INDEX;
	if (before->place != latch->place)
		return before->place < latch->place;
	return is_tree_page(latch) ? is_right_sibling(latch) :
		latch->place == PLACE_FREE && has_header(latch);
}

typedef struct LatchName
{
	char		text[120];
} LatchName;

static LatchName
name_of(const HeldLatch *latch)
{
	LatchName	name;

	snprintf(name.text, sizeof(name.text), "block %u of relfilenode %u (place %d, kind %d)",
			 pool_block(latch->frame), latch->frame->tag.locator.relNumber, latch->place,
			 latch->kind);
	return name;
}

static void
complain_of_order(const HeldLatch *before, const HeldLatch *latch)
{
	elog(PANIC, "rowan: %s is latched after %s", name_of(latch).text, name_of(before).text);
}

/* I-POOL-5 */
static void
check(HeldLatch *latch)
{
	if (latch->checked)
		return;
	latch->checked = true;
	if (latch->how == HELD_TRIED || InRecovery)
		return;
	for (const HeldLatch *before = held; before < latch; before++)
		if (before->functions == 0 && !in_order(before, latch))
			complain_of_order(before, latch);
}

/* ---- the list ---- */

/* Forgets what an error has released. */
static void
tidy(void)
{
	int			kept = 0;

	for (int i = 0; i < nheld; i++)
		if (LWLockHeldByMe(&held[i].frame->latch))
			held[kept++] = held[i];
	nheld = kept;
}

static HeldLatch *
find(const PoolFrame *frame)
{
	for (int i = 0; i < nheld; i++)
		if (held[i].frame == frame)
			return &held[i];
	return NULL;
}

/*
 * The latch is held already: an entry left by an error for the same frame would look as if it
 * still stood, in its old place.
 */
static void
forget_left_over(const PoolFrame *frame)
{
	HeldLatch  *old = find(frame);

	if (old == NULL)
		return;
	memmove(old, old + 1, (held + nheld - (old + 1)) * sizeof(HeldLatch));
	nheld--;
}

void
held_add(PoolFrame *frame, HeldHow how)
{
	tidy();
	forget_left_over(frame);
	if (nheld > 0)
		check(&held[nheld - 1]);
	if (nheld == MAX_HELD)
		elog(PANIC, "rowan: more than %d latches", MAX_HELD);
	held[nheld] = (HeldLatch) {.frame = frame, .how = how};
	note_place(&held[nheld]);
	nheld++;
}

void
held_remove(PoolFrame *frame)
{
	HeldLatch  *latch = find(frame);

	if (latch == NULL)
		elog(PANIC, "rowan: the latch of block %u is released, but was not taken",
			 pool_block(frame));
	check(latch);
	forget_left_over(frame);
}

void
held_join_change(PoolFrame *frame)
{
	HeldLatch  *latch = find(frame);

	if (latch == NULL)
		elog(PANIC, "rowan: block %u is changed, but was not latched", pool_block(frame));
	check(latch);
	for (HeldLatch *after = latch + 1; after < held + nheld; after++)
		if (after->in_change)
			elog(PANIC, "rowan: block %u joins a change after block %u, but was latched before it",
				 pool_block(frame), pool_block(after->frame));
	latch->in_change = true;
}

static void
complain_latched(const HeldLatch *latch, const char *where)
{
	elog(PANIC, "rowan: %s while %s is latched", where, name_of(latch).text);
}

/* I-AM-3 */
void
held_check_none(const char *where)
{
	tidy();
	for (int i = 0; i < nheld; i++)
		if (held[i].functions == 0)
			complain_latched(&held[i], where);
}

/* ---- functions of users ---- */

/* I-IDX-12 */
void
held_enter_function(void)
{
	tidy();
	for (int i = 0; i < nheld; i++)
	{
		if (held[i].functions == 0 && (held[i].in_change || held[i].kind != ROWAN_TREE_INDEX))
			complain_latched(&held[i], held[i].in_change ? "comparison function in a change"
							 : "comparison function");
		held[i].functions++;
	}
}

void
held_leave_function(void)
{
	for (int i = 0; i < nheld; i++)
		if (held[i].functions > 0)
			held[i].functions--;
}

#endif
