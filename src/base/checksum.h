/*
 * checksum.h
 *	  The two sums of a page on disk, and what is checked when it is read.
 *
 * Pure functions over the bytes of one page; usable without a server.
 */
#ifndef ROWAN_BASE_CHECKSUM_H
#define ROWAN_BASE_CHECKSUM_H

#include "base/format.h"

typedef enum PageFault
{
	PAGE_GOOD,
	PAGE_ZERO,					/* all bytes are zero */
	PAGE_OF_CORE,				/* a valid page, but of a heap or one of core's indexes */
	PAGE_OLDER_FORMAT,			/* its sums are right, but an older Rowan made it */
	PAGE_NEWER_FORMAT,
	PAGE_MISPLACED,				/* its CRC is right, but it says that it is another block */
	PAGE_OF_OTHER_FILE,			/* a good page, but not of this file */
	PAGE_UNUSED,				/* a good page, but one without content where there must be some */
	PAGE_DAMAGED
} PageFault;

typedef struct PageVerdict
{
	PageFault	fault;
	const char *problem;		/* static text, or NULL: the page is good */
	bool		sums_only;		/* structure is plausible, only a sum is wrong */
	uint16		checksum_found; /* pd_checksum, as core computes it */
	uint16		checksum_computed;
	uint32		crc_found;		/* CRC-32C in the trailer */
	uint32		crc_computed;
} PageVerdict;

/* Sets both sums in a private copy that is about to be written as that block. */
extern void page_set_checksums(Page page, BlockNumber block);

/* Makes the page one without content, sums set, to be written as that block. */
extern void page_make_unused(Page page, BlockNumber block);

/* True if the page, just read as that block, can be believed; *verdict tells why not. */
extern bool page_verify(Page page, BlockNumber block, PageVerdict *verdict);

/* CRC of the bytes in use: neither gap, nor LSN, nor sums. */
extern uint32 page_used_crc(Page page);

#endif							/* ROWAN_BASE_CHECKSUM_H */
