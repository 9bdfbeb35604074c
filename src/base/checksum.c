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

static const char *
structure_problem(Page page, BlockNumber block)
{
	PageHeader	header = (PageHeader) page;
	PageTrailer trailer = page_trailer(page);

	if (PageIsNew(page))
		return "the page is empty";
	if (PageGetPageSize(page) != BLCKSZ ||
		PageGetPageLayoutVersion(page) != PG_PAGE_LAYOUT_VERSION)
		return "wrong page size or layout version";
	if (header->pd_special != ROWAN_PAGE_SPECIAL ||
		header->pd_lower < ROWAN_PAGE_BODY ||
		header->pd_lower > header->pd_upper ||
		header->pd_upper > header->pd_special)
		return "wrong page header";
	if (trailer->magic != ROWAN_MAGIC)
		return "not a Rowan page";
	if (trailer->format_version == 0 || trailer->format_version > ROWAN_FORMAT_VERSION)
		return "unknown format version";
	if (trailer->self_block != block)
		return "the page belongs to another block";
	return NULL;
}

bool
page_verify(Page page, BlockNumber block, PageVerdict *verdict)
{
	const char *structure = structure_problem(page, block);

	verdict->checksum_found = ((PageHeader) page)->pd_checksum;
	verdict->checksum_computed = PageIsNew(page) ? 0 : pg_checksum_page((char *) page, block);
	verdict->crc_found = page_trailer(page)->crc;
	verdict->crc_computed = page_crc(page);
	verdict->sums_only = structure == NULL;
	verdict->problem = structure;
	if (structure == NULL &&
		(verdict->checksum_found != verdict->checksum_computed ||
		 verdict->crc_found != verdict->crc_computed))
		verdict->problem = "wrong checksum";
	return verdict->problem == NULL;
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
