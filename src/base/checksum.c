/*
 * checksum.c
 *	  Computes and checks the sums of a page.
 *
 * pd_checksum is core's own, so that pg_checksums and pg_basebackup verify Rowan
 * files.  It is 16 bits and leaves out nothing else, so the CRC-32C in the trailer
 * is computed first, with both sums as zero.
 *
 * Takes no latches; must never touch shared memory or raise an error.
 */
#include "postgres.h"

#include "base/checksum.h"
#include "base/new_page.h"
#include "base/page_sum.h"
#include "port/pg_crc32c.h"
#include "storage/checksum.h"

#define CHECKSUM_OFFSET		offsetof(PageHeaderData, pd_checksum)
#define AFTER_CHECKSUM		(CHECKSUM_OFFSET + sizeof(uint16))
#define CRC_OFFSET			(BLCKSZ - sizeof(uint32))

StaticAssertDecl(CHECKSUM_OFFSET == 8, "pd_checksum follows the LSN");
StaticAssertDecl(ROWAN_PAGE_SPECIAL + offsetof(PageTrailerData, crc) == CRC_OFFSET,
				 "the CRC is at the page's end");

static uint32
page_crc(Page page)
{
	static const char zero[sizeof(uint32)];
	const char *bytes = (const char *) page;
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, CHECKSUM_OFFSET);
	COMP_CRC32C(crc, zero, sizeof(uint16));
	COMP_CRC32C(crc, bytes + AFTER_CHECKSUM, CRC_OFFSET - AFTER_CHECKSUM);
	COMP_CRC32C(crc, zero, sizeof(uint32));
	FIN_CRC32C(crc);
	return crc;
}

void
page_set_checksums(Page page, BlockNumber block)
{
	page_trailer(page)->crc = page_crc(page);
	((PageHeader) page)->pd_checksum = pg_checksum_page((char *) page, block);
}

void
page_make_unused(Page page, BlockNumber block)
{
	page_init(page, ROWAN_PAGE_UNUSED, 0, block, 0);
	page_set_sum(page);
	page_set_checksums(page, block);
}

static bool
is_all_zero(Page page)
{
	const uint64 *words = (const uint64 *) page;

	for (int i = 0; i < BLCKSZ / (int) sizeof(uint64); i++)
		if (words[i] != 0)
			return false;
	return true;
}

/*
 * What core would let into shared_buffers: the page of a heap, an index of core's, or their like.
 */
static bool
is_page_of_core(Page page)
{
	PageHeader	header = (PageHeader) page;

	return page_trailer(page)->magic != ROWAN_MAGIC && !PageIsNew(page) &&
		(header->pd_flags & ~PD_VALID_FLAG_BITS) == 0 &&
		PageGetPageSize(page) == BLCKSZ &&
		PageGetPageLayoutVersion(page) == PG_PAGE_LAYOUT_VERSION &&
		header->pd_lower >= SizeOfPageHeaderData &&
		header->pd_lower <= header->pd_upper &&
		header->pd_upper <= header->pd_special &&
		header->pd_special <= BLCKSZ;
}

static const char *
structure_problem(Page page)
{
	PageHeader	header = (PageHeader) page;

	if (PageIsNew(page))
		return "wrong page header";
	if (PageGetPageSize(page) != BLCKSZ ||
		PageGetPageLayoutVersion(page) != PG_PAGE_LAYOUT_VERSION)
		return "wrong page size or layout version";
	if (header->pd_special != ROWAN_PAGE_SPECIAL ||
		header->pd_lower < ROWAN_PAGE_BODY ||
		header->pd_lower > header->pd_upper ||
		header->pd_upper > header->pd_special)
		return "wrong page header";
	if (page_trailer(page)->magic != ROWAN_MAGIC)
		return "not a Rowan page";
	return NULL;
}

/*
 * The page's bytes are as Rowan, of whatever version, wrote them: is it the page that was asked
 * for?
 */
static void
judge_sound_page(Page page, BlockNumber block, PageVerdict *verdict)
{
	PageTrailer trailer = page_trailer(page);

	if (trailer->format_version != ROWAN_FORMAT_VERSION)
	{
		verdict->fault = trailer->format_version < ROWAN_FORMAT_VERSION ?
			PAGE_OLDER_FORMAT : PAGE_NEWER_FORMAT;
		verdict->problem = "the page has another format version";
	}
	else if (trailer->self_block != block)
	{
		verdict->fault = PAGE_MISPLACED;
		verdict->problem = "the page belongs to another block";
	}
	else if (((PageHeader) page)->pd_flags != ROWAN_PAGE_SEAL)
	{
		verdict->fault = PAGE_DAMAGED;
		verdict->problem = "wrong page header";
	}
	else if (page_sum_kept(page) != page_sum(page))
	{
		verdict->fault = PAGE_DAMAGED;
		verdict->problem = "the page was damaged before it was written";
	}
}

bool
page_verify(Page page, BlockNumber block, PageVerdict *verdict)
{
	memset(verdict, 0, sizeof(*verdict));
	verdict->checksum_found = ((PageHeader) page)->pd_checksum;
	verdict->crc_found = page_trailer(page)->crc;
	verdict->crc_computed = page_crc(page);
	if (is_all_zero(page))
	{
		verdict->fault = PAGE_ZERO;
		verdict->problem = "the page is empty";
		return false;
	}
	if (!PageIsNew(page))
		verdict->checksum_computed = pg_checksum_page((char *) page, block);
	if (is_page_of_core(page))
	{
		verdict->fault = PAGE_OF_CORE;
		verdict->problem = "not a Rowan page";
		return false;
	}
	verdict->fault = PAGE_DAMAGED;
	verdict->problem = structure_problem(page);
	if (verdict->problem != NULL)
		return false;

	/* the CRC knows nothing of the block that the page is found at */
	if (verdict->crc_found == verdict->crc_computed)
	{
		verdict->fault = PAGE_GOOD;
		judge_sound_page(page, block, verdict);
		if (verdict->fault != PAGE_GOOD)
			return false;
		if (verdict->checksum_found == verdict->checksum_computed)
			return true;
		verdict->fault = PAGE_DAMAGED;
	}
	verdict->problem = "wrong checksum";
	verdict->sums_only = page_trailer(page)->format_version == ROWAN_FORMAT_VERSION &&
		page_trailer(page)->self_block == block;
	return false;
}

uint32
page_used_crc(Page page)
{
	const char *bytes = (const char *) page;
	uint16		lower = ((PageHeader) page)->pd_lower;
	uint16		upper = ((PageHeader) page)->pd_upper;
	pg_crc32c	crc;

	if (lower < ROWAN_PAGE_BODY || lower > upper || upper > CRC_OFFSET)
		lower = upper = ROWAN_PAGE_BODY;	/* no gap to leave out */
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes + AFTER_CHECKSUM, lower - AFTER_CHECKSUM);
	COMP_CRC32C(crc, bytes + upper, CRC_OFFSET - upper);
	FIN_CRC32C(crc);
	return crc;
}
