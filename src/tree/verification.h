/*
 * verification.h
 *	  What the parts of a file's verification share: the walk through the tree (verify.c), and the
 *	  lists and pages that were not met (verify_lists.c).
 *
 * Private to src/tree.
 */
#ifndef ROWAN_TREE_VERIFICATION_H
#define ROWAN_TREE_VERIFICATION_H

#include "tree/verify.h"

/* No tree comes near that. */
#define VERIFY_MAX_DEPTH	64

/* A page as it was at one moment, and how to tell whether it still is. */
typedef struct PageCopy
{
	BlockNumber block;
	PoolFrame  *frame;
	uint64		version;		/* of the frame */
	PoolDamage	damage;			/* no message: none.  Else there are neither bytes nor frame. */
	PGAlignedBlock bytes;
} PageCopy;

/* A page on the path from the root. */
typedef struct PathPage
{
	int			slot;			/* inner page: of the child being visited */
	PageCopy	copy;
} PathPage;

struct Verification
{
	const PoolFile *file;
	const TreeVerify *how;
	const VerifyKind *kind;
	void	   *kind_arg;
	TreeKey		cursor;			/* of a table's tree */
	FileHeaderData header;		/* as it was in the beginning */
	bool		has_header;		/* that one makes sense */
	uint64		problems;
	BlockNumber high_water;		/* the last one known */
	BlockNumber nblocks;		/* the one in the beginning: pages that have to be met */
	uint8	   *reached;		/* one byte for each of them */
	bool		free_broken;	/* the list was not followed to its end */
	bool		versions_broken;
	int			depth;			/* of the last page on the path */
	PathPage   *path[VERIFY_MAX_DEPTH];
	PageCopy   *before[VERIFY_MAX_DEPTH];	/* by level: the page visited before */
	PageCopy	scratch[3];
	PoolRing	ring;
};

static inline Page
copied_page(PageCopy *copy)
{
	return (Page) copy->bytes.data;
}

static inline PageTrailer
copied_trailer(PageCopy *copy)
{
	return page_trailer(copied_page(copy));
}

/* ---- verify.c ---- */

extern void verification_copy(Verification *v, BlockNumber block, PageCopy *copy);

/* The page still is what was copied; and is going to be asked for again. */
extern bool verification_stands(const PageCopy *copy);

/* Reports what is wrong with the page; what cannot be read is damage. */
extern void verification_report_page(Verification *v, const PageCopy *copy, const char *message);

/* What is wrong with the page by itself, or NULL. */
extern const char *verification_problem(Verification *v, PageCopy *copy);

/* A page that was copied before refers to the block: is it in use? */
extern bool verification_in_use(Verification *v, BlockNumber block);

/* Tells the caller of a page that is sound, and in its place. */
extern void verification_meet(Verification *v, PageCopy *copy);

extern void verification_reach(Verification *v, BlockNumber block);

/* The page of that level that the cursor is on is that block. */
extern bool verification_leads_to(Verification *v, int level, BlockNumber block);

/*
 * The last way down ended at a page that makes no sense: there may be anything where it would have
 * led.
 */
extern bool verification_is_cut(Verification *v);

/* ---- verify_lists.c ---- */

extern void verification_lists(Verification *v);

/* Pages that were met neither in the tree nor in a list. */
extern void verification_strays(Verification *v);

#endif							/* ROWAN_TREE_VERIFICATION_H */
