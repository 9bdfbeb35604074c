/*
 * torn.h
 *	  Pages that redo found torn, or damaged otherwise, and puts together again (torn.c).
 */
#ifndef ROWAN_POOL_TORN_H
#define ROWAN_POOL_TORN_H

#include "pool/redo.h"

/*
 * In fault builds the protection can be broken (rowan.torn_control), for negative controls of tests
 * that tear pages.
 */
typedef enum TornControl
{
	TORN_SOUND,
	TORN_NOT_HEALED,			/* a torn page is an error */
	TORN_LSN_TRUSTED,			/* records older than a torn page says it is are left out */
	TORN_NO_SLOTS,				/* no images of slots */
	TORN_BYTES_LEFT_OUT,		/* a CHANGE of several places lacks the last one */
	TORN_SUM_NOT_ASKED			/* any page is whole after one record */
} TornControl;

#ifdef ROWAN_FAULTS
extern int	torn_control;

#define torn_control_is(control)	(torn_control == (control))
#else
#define torn_control_is(control)	false
#endif

typedef struct TornPage
{
	RedoPageKey key;
	bool		slots;			/* header, slots and trailer are right */
	bool		lost;			/* a record could not be applied: no other one will do */
	bool		changed;		/* since it was written last */
	PGAlignedBlock bytes;
} TornPage;

#define torn_bytes(torn)	((Page) (torn)->bytes.data)

/* NULL: that page is not known to be torn. */
extern TornPage *torn_find(const PoolFile *file, BlockNumber block);

/* Takes a page whose bytes on disk are no good page. */
extern TornPage *torn_take(const PoolFile *file, BlockNumber block);

/*
 * After a record was applied to it, or could not be (!applied): if the page is whole now, puts it
 * into the pool and returns its frame, latched exclusively, version odd; the torn page is
 * forgotten then.
 */
extern PoolFrame *torn_settle(TornPage *torn, bool applied, uint32 sum, XLogRecPtr lsn);

extern void torn_forget_page(RelFileLocator locator, BlockNumber block);
extern void torn_forget_file(RelFileLocator locator, BlockNumber first_block);
extern void torn_forget_database(Oid database);

/*
 * Writes what has been put together so far, with checksums that are wrong: for a restartpoint, from
 * which redo could not come to it again, or a copy of the files.
 */
extern void torn_write(void);

/* Once recovery is consistent, complains about those that are left. */
extern void torn_report_slowly(void);
extern int	torn_unreported;

static inline void
torn_report(void)
{
	if (unlikely(torn_unreported > 0))
		torn_report_slowly();
}

/* Writes, complains about and forgets those that are left. */
extern void torn_end_of_redo(void);

#endif							/* ROWAN_POOL_TORN_H */
