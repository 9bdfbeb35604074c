/*
 * test_edit.c
 *	  The sum of a page's content, and changes that keep it.
 *
 * Pages are random bytes with sensible bounds.
 */
#include "tap.h"

#include "base/page_edit.h"
#include "base/page_sum.h"

#define ROUNDS	20000

static void
random_page(Page page)
{
	PageHeader	header = (PageHeader) page;

	for (int i = 0; i < BLCKSZ; i++)
		((char *) page)[i] = (char) test_random();
	page_trailer(page)->type = test_below(2) ? ROWAN_PAGE_LEAF : ROWAN_PAGE_INDEX_LEAF;
	header->pd_lower = ROWAN_PAGE_BODY + test_below(500) * sizeof(SlotData);
	header->pd_upper = header->pd_lower + test_below(ROWAN_PAGE_SPECIAL - header->pd_lower + 1);
	page_set_sum(page);
}

/* Not what the sum is of. */
static void
test_left_out(void)
{
	PGAlignedBlock block;
	Page		page = (Page) block.data;
	bool		same = true;

	for (int i = 0; i < ROUNDS / 10; i++)
	{
		PageHeader	header = (PageHeader) page;

		random_page(page);
		PageSetLSN(page, test_random());
		header->pd_checksum = test_random();
		page_trailer(page)->crc = test_random();
		for (int at = header->pd_lower; at < header->pd_upper; at++)
			block.data[at] = (char) test_random();
		if (page_trailer(page)->type == ROWAN_PAGE_INDEX_LEAF)
			for (int at = ROWAN_PAGE_BODY; at < header->pd_lower; at += sizeof(SlotData))
				block.data[at + 1] ^= (char) (test_below(2) << 7);
		same = same && page_sum(page) == page_sum_kept(page);
	}
	tap_ok(same, "gap, LSN, checksums and marks are left out");
}

/* Any other byte, and the highest bits of two words, which might cancel out. */
static void
test_noticed(void)
{
	PGAlignedBlock block;
	Page		page = (Page) block.data;
	int			missed = 0;

	random_page(page);
	page_trailer(page)->type = ROWAN_PAGE_LEAF;
	page_set_sum(page);
	for (int at = offsetof(PageHeaderData, pd_flags); at < BLCKSZ - (int) sizeof(uint32); at++)
	{
		PageHeader	header = (PageHeader) page;

		if ((at >= header->pd_lower && at < header->pd_upper) ||
			(at >= (int) offsetof(PageHeaderData, pd_prune_xid) && at < (int) ROWAN_PAGE_BODY) ||
			(at >= (int) offsetof(PageHeaderData, pd_lower) &&
			 at < (int) offsetof(PageHeaderData, pd_special)))
			continue;
		block.data[at] ^= 1;
		missed += page_sum(page) == page_sum_kept(page);
		block.data[at] ^= 1;
	}
	for (int i = 0; i < ROUNDS; i++)
	{
		int			a = 8 * (3 + test_below(((PageHeader) page)->pd_lower / 8 - 3)) + 7;
		int			b = BLCKSZ - 8 * (2 + test_below(6)) + 7;

		if (((PageHeader) page)->pd_lower < 40)
			break;
		block.data[a] ^= (char) 0x80;
		block.data[b] ^= (char) 0x80;
		missed += page_sum(page) == page_sum_kept(page);
		block.data[a] ^= (char) 0x80;
		block.data[b] ^= (char) 0x80;
	}
	tap_ok(missed == 0, "each byte in use counts, and differences do not cancel out");
}

/* Random edits: bounds that take bytes out of the gap, bytes elsewhere. */
static void
random_edits(Page page, PageEdits *edits, uint16 *bounds, char *bytes)
{
	PageHeader	header = (PageHeader) page;
	int			gap = header->pd_upper - header->pd_lower;
	int			slots = test_below(Min(gap, 100) / sizeof(SlotData) + 1) * sizeof(SlotData);
	int			cell = test_below(Min(gap - slots, 200) + 1);
	int			at = header->pd_upper - cell;

	edits->n = 0;
	bounds[0] = header->pd_lower + slots;
	bounds[1] = at;
	page_edits_add(edits, offsetof(PageHeaderData, pd_lower), bounds, 4);
	page_edits_add(edits, header->pd_lower, bytes, slots);
	page_edits_add(edits, at, bytes + 1000, cell);
	for (int i = 0; i < 5; i++)
	{
		int			size = test_below(20);
		int			room;

		at = edits->edit[edits->n - 1].at + edits->edit[edits->n - 1].size;
		room = BLCKSZ - (int) sizeof(uint32) - at;
		if (room <= 0)
			break;
		at += test_below(Min(room, 300));
		page_edits_add(edits, at, bytes + 2000,
					   Min(size, BLCKSZ - (int) sizeof(uint32) - at));
	}
}

static void
test_edits(void)
{
	PGAlignedBlock block,
				old;
	Page		page = (Page) block.data;
	char		bytes[3000];
	uint16		bounds[2];
	PageEdits	edits;
	int			wrong = 0;

	for (int i = 0; i < ROUNDS; i++)
	{
		uint8		type;

		random_page(page);
		for (int j = 0; j < (int) sizeof(bytes); j++)
			bytes[j] = (char) test_random();
		memcpy(old.data, block.data, BLCKSZ);
		random_edits(page, &edits, bounds, bytes);
		type = page_trailer(page)->type;
		page_edit(page, &edits);
		if (page_trailer(page)->type != type)
			continue;			/* no operation changes that */
		wrong += page_sum_kept(page) != page_sum(page);
		for (int j = 0; j < edits.n; j++)
			wrong += memcmp(block.data + edits.edit[j].at, edits.edit[j].bytes,
							edits.edit[j].size) != 0;
	}
	tap_ok(wrong == 0, "a change keeps the sum");
}

int
main(void)
{
	test_seed(1);
	test_left_out();
	test_noticed();
	test_edits();
	return tap_end();
}
