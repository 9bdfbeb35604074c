/*
 * test_delta.c
 *	  Differences of pages: applied to what redo has, they make the new page, whatever marks one side
 *	  has and the other has not, and no entry gets a mark that was another's.
 *
 * Pages are random index leaves.  An entry is dead if its third byte says so: only such ones are
 * marked.
 */
#include "tap.h"

#include "entry/entry.h"
#include "base/page_sum.h"
#include "pool/delta.h"
#include "pool/pool.h"
#include "pool_stub.h"
#include "tree/page.h"

void		(*pool_forget_marks) (Page page);

#define ROUNDS	20000
#define MAX_CELLS	60

static PGAlignedBlock in_memory,
			after,
			in_redo;
static char list[DELTA_MAX_BYTES];

static uint8
some_byte(void)
{
	static const uint8 bytes[] = {0x00, 0x00, 0x80, 0x80, 0x05};

	return bytes[test_random() % lengthof(bytes)];
}

/* Random cells, with dead bytes in between. */
static void
make_page(Page page)
{
	int			at = ROWAN_PAGE_SPECIAL;
	int			n = SLOT_FIRST + 1 + test_random() % MAX_CELLS;

	memset(page, 0, BLCKSZ);
	page_init(page, ROWAN_PAGE_INDEX_LEAF, 0, 7, 1);
	for (int pos = 0; pos < n; pos++)
	{
		SlotData   *slot = &page_slots(page)[pos];
		uint16		size = 4 + test_random() % 40;

		at -= size + test_random() % 3;
		slot->offset = at;
		for (int i = 0; i < size; i++)
			((char *) page)[at + i] = some_byte();
		memcpy((char *) page + at, &size, sizeof(size));
	}
	((PageHeader) page)->pd_lower = ROWAN_PAGE_BODY + n * sizeof(SlotData);
	((PageHeader) page)->pd_upper = at;
}

/* Cells are laid out anew, as compaction does: bytes of cells come to lie where there were others. */
static void
move_cells(Page page)
{
	PGAlignedBlock copy;
	int			at = ROWAN_PAGE_SPECIAL;

	memcpy(copy.data, page, BLCKSZ);
	for (int pos = 0; pos < page_nslots(page); pos++)
	{
		uint16		size;
		char	   *cell = page_cell((Page) copy.data, pos, &size);

		at -= size + test_random() % 3;
		memcpy((char *) page + at, cell, size);
		page_slots(page)[pos].offset = at;
	}
	((PageHeader) page)->pd_upper = at;
}

/* As a CHANGE: bytes of a cell change, a cell is removed, all are moved. */
static void
edit(Page page)
{
	int			nslots = page_nslots(page);
	int			pos = test_random() % nslots;
	uint16		size;
	char	   *cell = page_cell(page, pos, &size);

	switch (test_random() % 3)
	{
		case 0:
			for (int at = 3; at < size; at++)
				cell[at] = some_byte();
			break;
		case 1:
			move_cells(page);
			break;
		case 2:
			if (nslots <= SLOT_FIRST + 1)
				break;
			memmove(&page_slots(page)[pos], &page_slots(page)[pos + 1],
					(nslots - pos - 1) * sizeof(SlotData));
			((PageHeader) page)->pd_lower -= sizeof(SlotData);
			break;
	}
}

static void
set_marks(Page page, int one_in)
{
	for (int pos = SLOT_FIRST; pos < page_nslots(page); pos++)
	{
		uint16		size;
		const char *cell = page_cell(page, pos, &size);

		if (test_random() % one_in == 0 && cell[2] == 0x05)
			ipage_mark_dead(page, pos);
	}
}

/* Some entry that is not dead has a mark. */
static bool
wrong_mark(Page page)
{
	for (int pos = SLOT_FIRST; pos < page_nslots(page); pos++)
	{
		uint16		size;
		const char *cell = page_cell(page, pos, &size);

		if (ipage_is_dead(page, pos) && cell[2] != 0x05)
			return true;
	}
	return false;
}

/* Equal but for marks, LSN, pd_checksum and the gap. */
static bool
same_content(const char *a, const char *b)
{
	PGAlignedBlock x,
				y;
	const PageHeaderData *header = (const PageHeaderData *) a;
	int			start = offsetof(PageHeaderData, pd_flags);

	memcpy(x.data, a, BLCKSZ);
	memcpy(y.data, b, BLCKSZ);
	ipage_forget_marks((Page) x.data);
	ipage_forget_marks((Page) y.data);
	return memcmp(x.data + start, y.data + start, header->pd_lower - start) == 0 &&
		memcmp(x.data + header->pd_upper, y.data + header->pd_upper, BLCKSZ - header->pd_upper) == 0;
}

/* The sum stays right; which is no content here. */
static bool
apply_keeps_sum(Page page, int size)
{
	uint32		kept = page_sum_kept(page);
	bool		right;

	page_set_sum(page);
	delta_apply(page, list, size, true);
	right = page_sum_kept(page) == page_sum(page);
	page_sum_kept(page) = kept;
	return right;
}

/* One page, changed several times; redo follows.  Returns how often it went astray. */
static int
follow(int changes)
{
	make_page((Page) in_memory.data);
	memcpy(in_redo.data, in_memory.data, BLCKSZ);
	for (int i = 0; i < changes; i++)
	{
		int			size;

		set_marks((Page) in_memory.data, 2);
		if (test_random() % 3 == 0)
			set_marks((Page) in_redo.data, 3);	/* came with a page image */
		if (test_random() % 4 == 0)
			ipage_forget_marks((Page) in_memory.data);	/* was evicted and read again */
		memcpy(after.data, in_memory.data, BLCKSZ);
		edit((Page) after.data);
		size = delta_compute((Page) in_memory.data, (Page) after.data, list);
		if (size < 0)
			return 0;
		if (size > 0 && !apply_keeps_sum((Page) in_redo.data, size))
			return 1;
		memcpy(in_memory.data, after.data, BLCKSZ);
		if (!same_content(in_memory.data, in_redo.data) || wrong_mark((Page) in_redo.data))
			return 1;
	}
	return 0;
}

/* Words that nobody touches count otherwise when slots become ones that may have marks. */
static bool
type_changes(void)
{
	Page		page = (Page) in_memory.data;
	int			size;

	make_page(page);
	page_trailer(page)->type = ROWAN_PAGE_INDEX_INNER;
	for (int pos = SLOT_FIRST; pos < page_nslots(page); pos++)
		page_slots(page)[pos].offset |= SLOT_DEAD;
	memcpy(after.data, in_memory.data, BLCKSZ);
	page_trailer((Page) after.data)->type = ROWAN_PAGE_INDEX_LEAF;
	size = delta_compute(page, (Page) after.data, list);
	return size > 0 && apply_keeps_sum(page, size);
}

/* Sectors of a page that were never written: its bounds are those of another state. */
static bool
torn_page(void)
{
	Page		page = (Page) in_redo.data;
	int			size;

	make_page((Page) in_memory.data);
	memcpy(after.data, in_memory.data, BLCKSZ);
	move_cells((Page) after.data);
	size = delta_compute((Page) in_memory.data, (Page) after.data, list);
	memcpy(page, in_memory.data, BLCKSZ);
	((PageHeader) page)->pd_lower = BLCKSZ - 8;
	delta_apply(page, list, size, false);
	return size > 0 && page_sum_kept(page) == page_sum(page);
}

static int
astray(void)
{
	int			n = 0;

	test_seed(4711);
	for (int i = 0; i < ROUNDS; i++)
		n += follow(1 + i % 5);
	return n;
}

int
main(void)
{
	int			marked = 0;

	pool_forget_marks = NULL;
	tap_ok(astray() > 0, "marks that stay when redo moves slots lead astray: the test can see that");
	pool_forget_marks = ipage_forget_marks;
	tap_ok(astray() == 0, "redo makes the same page, and marks nothing, whatever is marked");

	make_page((Page) in_memory.data);
	for (int pos = SLOT_FIRST; pos < page_nslots((Page) in_memory.data); pos++)
	{
		uint16		size;

		(void) page_cell((Page) in_memory.data, pos, &size);
		ipage_mark_dead((Page) in_memory.data, pos);
		(void) page_replace_cell((Page) in_memory.data, pos, size);
		marked += ipage_is_dead((Page) in_memory.data, pos);
	}
	tap_ok(marked == 0, "an entry that took another's place has not its mark");

	make_page((Page) in_memory.data);
	set_marks((Page) in_memory.data, 1);
	memcpy(after.data, in_memory.data, BLCKSZ);
	tap_ok(delta_compute((Page) in_memory.data, (Page) after.data, list) == 0,
		   "a page with marks to which nothing was done is not logged");
	tap_ok(type_changes(), "the sum is right when a page gets another type");
	tap_ok(torn_page(), "of a torn page the bounds are not believed");
	return tap_end();
}
