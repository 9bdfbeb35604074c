/*
 * checksum.h
 *	  The two sums of a page on disk, and what is checked when it is read.
 *
 * Pure functions over the bytes of one page; usable without a server.
 */
#ifndef ROWAN_BASE_CHECKSUM_H
#define ROWAN_BASE_CHECKSUM_H

#include "base/format.h"

typedef struct PageVerdict
{
	const char *problem;		/* static text, or NULL: the page is good */
	bool		sums_only;		/* structure is plausible, only a sum is wrong */
	uint16		checksum_found; /* pd_checksum, as core computes it */
	uint16		checksum_computed;
	uint32		crc_found;		/* CRC-32C in the trailer */
	uint32		crc_computed;
} PageVerdict;

/* Sets both sums in a private copy that is about to be written as that block. */
extern void page_set_checksums(Page page, BlockNumber block);

/* True if the page, just read as that block, can be believed; *verdict tells why not. */
extern bool page_verify(Page page, BlockNumber block, PageVerdict *verdict);

/* CRC of the bytes in use: neither gap, nor LSN, nor sums. */
extern uint32 page_used_crc(Page page);

#endif							/* ROWAN_BASE_CHECKSUM_H */
