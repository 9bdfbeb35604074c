/*
 * delta.h
 *	  Differences between two states of a page, for WAL.
 */
#ifndef ROWAN_POOL_DELTA_H
#define ROWAN_POOL_DELTA_H

#include "storage/bufpage.h"

/* Longer lists of differences are logged as whole pages. */
#define DELTA_MAX_BYTES		(BLCKSZ / 2)

/*
 * Writes the list of what differs to list[DELTA_MAX_BYTES]; its size, 0 if nothing does, -1 if the
 * whole page is to be logged.
 */
extern int	delta_compute(Page old_page, Page new_page, char *list);

/* The new page's sum, if the old one keeps the right one; the list is what delta_compute made. */
extern uint32 delta_sum(Page old_page, Page new_page, const char *list, Size size);

/* Where the list's second difference is, or its end; NULL: the first one makes no sense. */
extern const char *delta_next(const char *list, Size size);

/*
 * Makes the new page of the old one, but for LSN, pd_checksum and gap, with its sum.  Of a page
 * that is whole the sum is what it was, but for what differs; of another nothing is believed, not
 * where its gap is.  PANICs if the list makes no sense.
 */
extern void delta_apply(Page page, const char *list, Size size, bool whole);

#endif							/* ROWAN_POOL_DELTA_H */
