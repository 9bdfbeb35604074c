/*
 * verify_lists.c
 *	  Checks a whole file while others change it: the version list, the free list, and pages that
 *	  were not met.
 *
 * Both lists change only at their ends: version pages are added behind the tail and taken away at
 * the head, free pages are added and taken away at the head.  So what is behind a member in the
 * list stays behind it while it is a member, and a page that is a member all the time is met by
 * whoever goes from member to member.  Each step is to be believed if the member that it came from
 * still is one afterwards; otherwise the list is followed from its head again. As many pages must
 * lie between the head and the end that a copy of the header names as that header says.
 *
 * A page that was met nowhere may have been moved from a place not yet visited to one that was
 * visited already. It is looked for again, in the place that its type says, and reported if it does
 * not change meanwhile.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tree/verification.h"
#include "utils/memutils.h"

#define HEAD_ATTEMPTS	1000	/* header and first page at one moment */
#define LIST_ATTEMPTS	50		/* the list from its head */
#define STRAY_ROUNDS	20

/* ---- following a list ---- */

typedef enum ListResult
{
	LIST_DONE,
	LIST_DAMAGED,				/* reported; what comes after is not known */
	LIST_OVERTAKEN				/* by changes: start again */
} ListResult;

typedef struct ListWalk
{
	uint8		type;			/* ROWAN_PAGE_VERSION, ROWAN_PAGE_FREE */
	FileHeaderData header;		/* and of that moment are: */
	BlockNumber first;
	uint32		expected;
	/* result */
	uint32		count;
	BlockNumber last;
	bool		active_met[ROWAN_ACTIVE_VERSION_PAGES];
} ListWalk;

/* Pages behind that place are not met: nobody is to miss them. */
static void
note_broken(Verification *v, uint8 type)
{
	if (type == ROWAN_PAGE_FREE)
		v->free_broken = true;
	else
		v->versions_broken = true;
}

static ListResult
list_damaged(Verification *v, BlockNumber block, const char *message)
{
	verification_report(v, block, message);
	return LIST_DAMAGED;
}

static inline bool
may_be_member(Verification *v, BlockNumber block)
{
	return block > ROWAN_ROOT_BLOCK && verification_in_use(v, block);
}

/* Copies the header, and the list's first page (if there is one) as it was at the same moment. */
static ListResult
begin_list(Verification *v, ListWalk *walk, PageCopy *page)
{
	PageCopy   *header = &v->scratch[2];

	for (int attempt = 0; attempt < HEAD_ATTEMPTS; attempt++)
	{
		verification_copy(v, ROWAN_HEADER_BLOCK, header);
		if (header->damage.message != NULL)
			return LIST_DAMAGED;
		walk->header = *file_header(copied_page(header));
		v->high_water = Max(v->high_water, walk->header.high_water);
		walk->first = walk->type == ROWAN_PAGE_FREE ?
			walk->header.free_head : walk->header.version_head;
		walk->expected = walk->type == ROWAN_PAGE_FREE ?
			walk->header.free_count : walk->header.version_count;
		if (walk->first == InvalidBlockNumber)
			return LIST_DONE;
		if (!may_be_member(v, walk->first))
			return list_damaged(v, ROWAN_HEADER_BLOCK, "list leads out of the pages in use");
		verification_copy(v, walk->first, page);
		if (verification_stands(header))
			return LIST_DONE;
	}
	return LIST_OVERTAKEN;
}

/* The file's pages get new LSNs when they change. */
static bool
has_same_lsn(const Verification *v, XLogRecPtr a, XLogRecPtr b)
{
	return v->file->logged && a == b && !XLogRecPtrIsInvalid(a);
}

/*
 * Two copies of a page, the earlier one of a member: was it one of that list all the time, with the
 * same pages behind it?  Version pages are appended to, and the last one gets a successor; a
 * version page used anew has other records.
 */
static bool
is_same_member(const Verification *v, PageCopy *earlier, PageCopy *later)
{
	Page		a = copied_page(earlier);
	Page		b = copied_page(later);
	uint16		lower = ((PageHeader) a)->pd_lower;

	if (page_trailer(a)->type != page_trailer(b)->type)
		return false;
	if (has_same_lsn(v, PageGetLSN(a), PageGetLSN(b)))
		return true;
	if (page_trailer(a)->type == ROWAN_PAGE_FREE)
		return !v->file->logged && memcmp(a, b, BLCKSZ) == 0;
	return lower > ROWAN_PAGE_BODY && ((PageHeader) b)->pd_lower >= lower &&
		memcmp((char *) a + ROWAN_PAGE_BODY, (char *) b + ROWAN_PAGE_BODY,
			   lower - ROWAN_PAGE_BODY) == 0;
}

static void
meet_member(Verification *v, ListWalk *walk, PageCopy *page)
{
	BlockNumber block = page->block;

	walk->count++;
	walk->last = block;
	if (walk->type == ROWAN_PAGE_VERSION)
	{
		for (int i = 0; i < ROWAN_ACTIVE_VERSION_PAGES; i++)
			walk->active_met[i] |= walk->header.version_active[i] == block;
		if (v->how->version_check != NULL && (block >= v->nblocks || !v->reached[block]))
			v->how->version_check(copied_page(page), block, v->how->arg);
	}
	verification_meet(v, page);
	verification_reach(v, block);
}

/*
 * From *page, a member, to the one behind it, copied while *page was a member.  *page is NULL at
 * the list's end.
 */
static ListResult
step_behind(Verification *v, PageCopy **page, PageCopy **spare)
{
	for (;;)
	{
		BlockNumber behind = copied_trailer(*page)->right_block;
		PageCopy   *again = &v->scratch[2];

		if (behind == InvalidBlockNumber)
		{
			*page = NULL;
			return LIST_DONE;
		}
		if (!may_be_member(v, behind))
			return list_damaged(v, (*page)->block, "list leads out of the pages in use");
		verification_copy(v, behind, *spare);
		if (verification_stands(*page))
		{
			PageCopy   *next = *spare;

			*spare = *page;
			*page = next;
			return LIST_DONE;
		}
		verification_copy(v, (*page)->block, again);
		if (!is_same_member(v, *page, again))
			return LIST_OVERTAKEN;
		memcpy(*page, again, sizeof(PageCopy));
	}
}

/* Follows the list from its head to the end that it had then. */
static ListResult
follow_list(Verification *v, ListWalk *walk)
{
	PageCopy   *page = &v->scratch[0];
	PageCopy   *spare = &v->scratch[1];
	ListResult	result = begin_list(v, walk, page);

	if (walk->first == InvalidBlockNumber)
		return LIST_DONE;
	while (result == LIST_DONE && page != NULL && walk->count <= walk->expected)
	{
		const char *message = verification_problem(v, page);

		if (message == NULL && copied_trailer(page)->type != walk->type)
			message = walk->type == ROWAN_PAGE_FREE ? "page on the free list is not free" :
				"page in the version list is not a version page";
		if (message != NULL)
		{
			walk->count++;
			verification_reach(v, page->block);
			verification_report_page(v, page, message);
			return LIST_DAMAGED;
		}
		meet_member(v, walk, page);
		if (walk->type == ROWAN_PAGE_VERSION && page->block == walk->header.version_tail)
			break;
		result = step_behind(v, &page, &spare);
	}
	return result;
}

/* What does not fit between header and list, or NULL. */
static const char *
list_problem(const ListWalk *walk)
{
	if (walk->count != walk->expected)
		return walk->type == ROWAN_PAGE_FREE ? "count of free pages is wrong" :
			"count of version pages is wrong";
	if (walk->type == ROWAN_PAGE_FREE)
		return NULL;
	if (walk->last != walk->header.version_tail)
		return "version list does not end at its tail";
	for (int i = 0; i < ROWAN_ACTIVE_VERSION_PAGES; i++)
		if (walk->header.version_active[i] != InvalidBlockNumber && !walk->active_met[i])
			return "active version page is not in the version list";
	return NULL;
}

/*
 * Follows it until that succeeds; what does not fit has to do so twice.  LIST_OVERTAKEN: it is
 * taken away too fast.
 */
static ListResult
check_list(Verification *v, uint8 type)
{
	const char *before = NULL;

	for (int attempt = 0; attempt < LIST_ATTEMPTS; attempt++)
	{
		ListWalk	walk = {.type = type, .last = InvalidBlockNumber};
		ListResult	result = follow_list(v, &walk);
		const char *message;

		CHECK_FOR_INTERRUPTS();
		if (result == LIST_OVERTAKEN)
			continue;
		if (result == LIST_DAMAGED)
			note_broken(v, type);
		message = result == LIST_DONE ? list_problem(&walk) : NULL;
		if (message != NULL && message == before)
			verification_report(v, ROWAN_HEADER_BLOCK, message);
		if (message == NULL || message == before)
			return result;
		before = message;
	}
	return LIST_OVERTAKEN;
}

void
verification_lists(Verification *v)
{
	(void) check_list(v, ROWAN_PAGE_VERSION);
	(void) check_list(v, ROWAN_PAGE_FREE);
}

/* ---- pages that were not met ---- */

/* A page, and what tells it from what it may become. */
typedef struct Stray
{
	BlockNumber block;
	uint8		type;
	PoolFrame  *frame;
	uint64		version;
	XLogRecPtr	lsn;
	uint64		hash;			/* of all bytes, for files without WAL */
	PoolDamage	damage;
} Stray;

static uint64
hash_page(Page page)
{
	uint64		hash = UINT64CONST(14695981039346656037);

	for (int i = 0; i < BLCKSZ; i += sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, (char *) page + i, sizeof(word));
		hash = (hash ^ word) * UINT64CONST(1099511628211);
		hash ^= hash >> 29;
	}
	return hash;
}

/* Copies the page to scratch[0] and describes it. */
static void
look_at(Verification *v, BlockNumber block, Stray *stray)
{
	PageCopy   *copy = &v->scratch[0];

	verification_copy(v, block, copy);
	stray->block = block;
	stray->type = copied_trailer(copy)->type;
	stray->frame = copy->frame;
	stray->version = copy->version;
	stray->lsn = PageGetLSN(copied_page(copy));
	stray->hash = hash_page(copied_page(copy));
	stray->damage = copy->damage;
}

/*
 * It is what it was, and has been all the time.  A file without WAL may have gone to disk and back
 * meanwhile: its bytes have to do.
 */
static bool
is_still_so(Verification *v, const Stray *stray)
{
	Stray		now;

	look_at(v, stray->block, &now);
	if (now.frame == stray->frame && now.version == stray->version)
		return true;
	return now.hash == stray->hash &&
		(!v->file->logged || XLogRecPtrIsInvalid(now.lsn) || now.lsn == stray->lsn);
}

/*
 * A page of the tree is where its low fence leads to, or may be, where that cannot be followed.
 * The page is in scratch[0].
 */
static bool
is_in_tree(Verification *v, const Stray *stray)
{
	Page		page = copied_page(&v->scratch[0]);

	return page_check(page, stray->block) == NULL && v->kind->cursor_to_page(page, v->kind_arg) &&
		(verification_leads_to(v, page_trailer(page)->level, stray->block) ||
		 verification_is_cut(v));
}

static inline bool
is_of_tree(const Verification *v, const Stray *stray)
{
	return stray->type == v->kind->leaf_type || stray->type == v->kind->inner_type;
}

/* Describes them anew, and removes those that the tree has; returns how many are left. */
static uint32
look_in_tree(Verification *v, Stray *strays, uint32 n)
{
	uint32		left = 0;

	for (uint32 i = 0; i < n; i++)
	{
		Stray		stray;

		look_at(v, strays[i].block, &stray);
		if (!is_of_tree(v, &stray) || !is_in_tree(v, &stray))
			strays[left++] = stray;
	}
	return left;
}

static bool
any_of_type(const Stray *strays, uint32 n, uint8 type)
{
	for (uint32 i = 0; i < n; i++)
		if (strays[i].type == type)
			return true;
	return false;
}

static void
report_stray(Verification *v, const Stray *stray)
{
	PageCopy   *copy = &v->scratch[0];

	copy->block = stray->block;
	copy->damage = stray->damage;
	verification_report_page(v, copy, stray->damage.message != NULL ? stray->damage.message :
							 "block is neither in the tree nor in a list");
}

/*
 * Reports those that were not found and have not changed; leaves the others to be looked for again.
 */
static uint32
settle_strays(Verification *v, Stray *strays, uint32 n, bool versions_known, bool free_known)
{
	uint32		left = 0;

	for (uint32 i = 0; i < n; i++)
	{
		const Stray *stray = &strays[i];

		if (v->reached[stray->block] || (stray->type == ROWAN_PAGE_FREE && v->free_broken) ||
			(stray->type == ROWAN_PAGE_VERSION && v->versions_broken))
			continue;
		if ((stray->type == ROWAN_PAGE_VERSION && !versions_known) ||
			(stray->type == ROWAN_PAGE_FREE && !free_known) || !is_still_so(v, stray))
			strays[left++] = *stray;
		else
			report_stray(v, stray);
	}
	return left;
}

static uint32
look_for_strays(Verification *v, Stray *strays, uint32 n)
{
	bool		versions_known = true;
	bool		free_known = true;

	n = look_in_tree(v, strays, n);
	if (any_of_type(strays, n, ROWAN_PAGE_VERSION))
		versions_known = check_list(v, ROWAN_PAGE_VERSION) != LIST_OVERTAKEN;
	if (any_of_type(strays, n, ROWAN_PAGE_FREE))
		free_known = check_list(v, ROWAN_PAGE_FREE) != LIST_OVERTAKEN;
	return settle_strays(v, strays, n, versions_known, free_known);
}

void
verification_strays(Verification *v)
{
	Stray	   *strays;
	uint32		n = 0;

	for (BlockNumber block = 0; block < v->nblocks; block++)
		n += !v->reached[block];
	if (n == 0)
		return;
	strays = palloc_extended(n * sizeof(Stray), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	n = 0;
	for (BlockNumber block = 0; block < v->nblocks; block++)
		if (!v->reached[block])
			strays[n++].block = block;
	for (int round = 0; round < STRAY_ROUNDS && n > 0; round++)
	{
		CHECK_FOR_INTERRUPTS();
		n = look_for_strays(v, strays, n);
	}
	pfree(strays);
}
