/*
 * held.h
 *	  Which latches this backend holds, in builds that check it: with assertions, page checks or
 *	  fault points.
 *
 * The pool tells of each latch that its callers are given and give back; the list says then
 * whether they took them in latch order (doc/architecture.md), and whether any is held where
 * none may be.  A violation is a PANIC that names pages.  Release builds have nothing of this.
 *
 * Nothing here takes or releases a latch, or raises an error.  After an error
 * LWLockReleaseAll has released all of them: the list finds out by itself.
 */
#ifndef ROWAN_POOL_HELD_H
#define ROWAN_POOL_HELD_H

struct PoolFrame;

#if defined(USE_ASSERT_CHECKING) || defined(ROWAN_CHECK_PAGES) || defined(ROWAN_FAULTS)
#define ROWAN_CHECK_LATCHES

typedef enum HeldHow
{
	HELD_IN_ORDER,				/* may have been waited for */
	HELD_IN_ORDER_NEW,			/* the same; what is on the page means nothing */
	HELD_TRIED					/* it was free: no wait, so no order */
} HeldHow;

/* ---- for the pool ---- */

/* The latch was taken for a caller; before it is released. */
extern void held_add(struct PoolFrame *frame, HeldHow how);
extern void held_remove(struct PoolFrame *frame);

/*
 * The page, latched exclusively, becomes part of a change, after all that were latched before it
 * and are part of it already: redo latches the pages of a record in the order of their references.
 */
extern void held_join_change(struct PoolFrame *frame);

/* ---- for all layers ---- */

/* No latch is held; `where` is the caller's name, for the message. */
extern void held_check_none(const char *where);

/*
 * Around a call of a comparison function of an operator class.  Users may have written it, and it
 * may read tables and write to them.  Latches of an index may be held meanwhile, of pages that are
 * in no change.  What the function does is looked at as if none of them were held, for it is
 * not ours to know.  If it raises an error, there is nothing to be left.
 */
extern void held_enter_function(void);
extern void held_leave_function(void);

#define pool_assert_unlatched() held_check_none(__func__)

#else

#define held_add(frame, how) ((void) 0)
#define held_remove(frame) ((void) 0)
#define held_join_change(frame) ((void) 0)
#define held_enter_function() ((void) 0)
#define held_leave_function() ((void) 0)
#define pool_assert_unlatched() ((void) 0)

#endif

#endif							/* ROWAN_POOL_HELD_H */
