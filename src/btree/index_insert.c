/*
 * index_insert.c
 *	  Adding index entries; uniqueness.
 *
 * The check for equal keys holds the first leaf that the key may be on latched exclusively until
 * the entry is in: whoever wants to insert the same key needs that latch first.  With it held,
 * table rows are looked at (see "Latch order" in doc/architecture.md), and further leaves, always
 * to the right.  Waiting for a transaction happens with no latch held; then everything starts over.
 *
 * A TID found on a latched leaf is not used again meanwhile: VACUUM needs the latch to remove it.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "btree/btree.h"
#include "btree/index_delete.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/snapmgr.h"

/* An insertion in progress. */
typedef struct Insertion
{
	Relation	index;
	Relation	heap;
	IndexTree	tree;
	IndexTuple	tuple;
	IndexUniqueCheck check;
	bool		unchanged;		/* an update that changed no column of this index */
	KeyPoint	key;			/* before all entries with that key */
	KeyPoint	entry;			/* with the TID */
} Insertion;

typedef struct UniqueResult
{
	bool		is_unique;
	bool		found_itself;	/* UNIQUE_CHECK_EXISTING */
	bool		conflict;		/* for good */
	bool		met_dead;		/* equal keys of rows that are gone, or going */
	TransactionId wait_for;
	uint32		token;
} UniqueResult;

/* ---- uniqueness ---- */

static void
report_duplicate(const Insertion *insertion)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	char	   *description;

	index_deform_tuple(insertion->tuple, RelationGetDescr(insertion->index), values, isnull);
	description = BuildIndexValueDescription(insertion->index, values, isnull);
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("duplicate key value violates unique constraint \"%s\"",
					RelationGetRelationName(insertion->index)),
			 description ? errdetail("Key %s already exists.", description) : 0,
			 errtableconstraint(insertion->heap, RelationGetRelationName(insertion->index))));
}

/*
 * Looks at one row with the same key; true: no need to look at more.  *dead: nobody needs the
 * entry.
 */
static bool
check_unique_row(const Insertion *insertion, ItemPointerData tid, UniqueResult *result, bool *dead)
{
	SnapshotData dirty;

	InitDirtySnapshot(dirty);
	*dead = false;
	if (insertion->check == UNIQUE_CHECK_EXISTING &&
		ItemPointerEquals(&tid, &insertion->tuple->t_tid))
	{
		result->found_itself = true;
		return false;
	}
	if (!table_index_fetch_tuple_check(insertion->heap, &tid, &dirty, dead))
	{
		result->met_dead = true;
		return false;
	}
	if (insertion->check == UNIQUE_CHECK_PARTIAL)
	{
		result->is_unique = false;
		return true;
	}
	result->wait_for = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
	if (TransactionIdIsValid(result->wait_for))
	{
		result->token = dirty.speculativeToken;
		return true;
	}

	/*
	 * a row that CREATE INDEX CONCURRENTLY adds may be dead by now: no conflict, and nothing
	 * more to find
	 */
	tid = insertion->tuple->t_tid;
	result->conflict = table_index_fetch_tuple_check(insertion->heap, &tid, SnapshotSelf, NULL);
	if (!result->conflict)
		result->found_itself = true;
	return true;
}

/* The rows of one entry with the same key. */
static bool
check_item(const Insertion *insertion, const PageView *view, const IndexItem *item,
		   UniqueResult *result,
		   bool *all_dead)
{
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * item->ntids);
	bool		done = false;

	*all_dead = true;
	view_tids(view, item, tids);
	for (int i = 0; i < item->ntids && !done; i++)
	{
		bool		dead;

		done = check_unique_row(insertion, tids[i], result, &dead);
		*all_dead &= dead;
	}
	pfree(tids);
	return done;
}

/*
 * Entries of one leaf from pos on; true: no need to look at more leaves.  may_mark: latched
 * exclusively.
 */
static bool
check_unique_on_leaf(const Insertion *insertion, Page page, int pos, bool may_mark,
					 UniqueResult *result)
{
	PGAlignedBlock buffer;
	KeyPoint	beyond = insertion->key;
	PageView	view;
	IndexItem	item;

	beyond.tail = TAIL_HIGH;
	view_page(&view, &insertion->tree, page, NULL);
	for (; pos < page_nslots(page); pos++)
	{
		bool		dead;

		view_item(&view, pos, &item, buffer.data);
		if (key_compare(insertion->tree.keys, &beyond, &item) < 0)
			return true;
		if (item.is_dead)
			continue;
		if (check_item(insertion, &view, &item, result, &dead))
			return true;
		/* a hint, as those of scans (leaf_kill) */
		if (dead && may_mark)
			ipage_mark_dead(page, pos);
	}
	view_item(&view, SLOT_HIGH_FENCE, &item, buffer.data);
	return item.is_infinite || key_compare(insertion->tree.keys, &beyond, &item) < 0;
}

/* frame: the first leaf that the key may be on; stays latched. */
static void
check_unique(const Insertion *insertion, PoolFrame *frame, UniqueResult *result)
{
	PageView	view;
	PoolFrame  *at = frame;
	int			pos;

	memset(result, 0, sizeof(*result));
	result->is_unique = true;
	view_page(&view, &insertion->tree, pool_page(frame), NULL);
	pos = ipage_search(&view, &insertion->key);
	while (!check_unique_on_leaf(insertion, pool_page(at), pos, at == frame, result))
	{
		PoolFrame  *right = itree_latch_right(&insertion->tree, at, LW_SHARED);

		if (at != frame)
			pool_unlatch(at);
		at = right;
		if (at == NULL)
			break;
		pos = SLOT_FIRST;
	}
	if (at != NULL && at != frame)
		pool_unlatch(at);
}

static void
wait_for_other(const Insertion *insertion, const UniqueResult *result)
{
	pool_assert_unlatched();
	if (result->token != 0)
		SpeculativeInsertionWait(result->wait_for, result->token);
	else
		XactLockTableWait(result->wait_for, insertion->index, &insertion->tuple->t_tid,
						  XLTW_InsertIndex);
}

static void
report_not_found(const Insertion *insertion)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("failed to re-find tuple within index \"%s\"",
					RelationGetRelationName(insertion->index)),
			 errhint("This may be because of a non-immutable index expression."),
			 errtableconstraint(insertion->heap, RelationGetRelationName(insertion->index))));
}

/*
 * Serializable transactions that have read the leaf, which stays latched: see copy_scan_leaf
 * (index_leaf.c).
 */
static void
check_leaf_conflicts_in(const Insertion *insertion, PoolFrame *frame)
{
	Assert(LWLockHeldByMeInMode(&frame->latch, LW_EXCLUSIVE));	/* I-IDX-10 */
	CheckForSerializableConflictIn(insertion->index, NULL, pool_block(frame));
}

/* The key's first leaf, latched exclusively, with uniqueness found out. */
static PoolFrame *
latch_unique(const Insertion *insertion, UniqueResult *result)
{
	for (;;)
	{
		PoolFrame  *frame = itree_latch_page(&insertion->tree, &insertion->key, 0, LW_EXCLUSIVE);

		check_unique(insertion, frame, result);
		if (!TransactionIdIsValid(result->wait_for) && !result->conflict)
			return frame;
		/* an error, too, tells what was read: a serialization failure comes first */
		if (result->conflict)
			check_leaf_conflicts_in(insertion, frame);
		pool_unlatch(frame);
		if (result->conflict)
			report_duplicate(insertion);
		wait_for_other(insertion, result);
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- inserting ---- */

/* From the key's first leaf to the one that the entry belongs on. */
static PoolFrame *
move_right(const Insertion *insertion, PoolFrame *frame)
{
	for (;;)
	{
		PageView	view;
		PoolFrame  *right;

		view_page(&view, &insertion->tree, pool_page(frame), NULL);
		if (ipage_covers(&view, &insertion->entry, false))
			return frame;
		right = itree_latch_right(&insertion->tree, frame, LW_EXCLUSIVE);
		if (right == NULL)
			elog(ERROR, "fell off the end of index \"%s\"",
				 RelationGetRelationName(insertion->index));
		pool_unlatch(frame);
		frame = right;
	}
}

/* The leaf was full: remove dead entries, pack it, or split it. */
static void
make_leaf_room(const Insertion *insertion, bool versions)
{
	CellSource	source = {.tuple = insertion->tuple, .tids = &insertion->tuple->t_tid, .ntids = 1};

	if (index_delete_dead(&insertion->tree, insertion->index, insertion->heap, &insertion->entry,
						  &source, versions))
		return;
	if (insertion->tree.keys->equal_image && index_may_deduplicate(insertion->index))
	{
		PoolFrame  *frame = itree_latch_page(&insertion->tree, &insertion->entry, 0, LW_EXCLUSIVE);

		if (itree_deduplicate(&insertion->tree, frame))
			return;
		pool_unlatch(frame);
	}
	itree_make_room(&insertion->tree, &insertion->entry, &source,
					index_fillfactor(insertion->index));
}

static bool
has_nulls(const Insertion *insertion)
{
	for (int i = 0; i < insertion->key.nkeys; i++)
		if (insertion->key.keys[i].sk_flags & SK_ISNULL)
			return true;
	return false;
}

/* Returns whether the key is unique as far as we know. */
static bool
insert_entry(Insertion *insertion)
{
	/* NULL is not equal to NULL, unless declared so */
	bool		check = insertion->check != UNIQUE_CHECK_NO &&
		(insertion->index->rd_index->indnullsnotdistinct || !has_nulls(insertion));
	UniqueResult result = {.is_unique = insertion->check != UNIQUE_CHECK_NO};

	for (;;)
	{
		PoolFrame  *frame;

		if (check)
			frame = latch_unique(insertion, &result);
		else
			frame = itree_latch_page(&insertion->tree, &insertion->entry, 0, LW_EXCLUSIVE);
		if (insertion->check == UNIQUE_CHECK_EXISTING)
		{
			pool_unlatch(frame);
			if (!result.found_itself)
				report_not_found(insertion);
			return result.is_unique;
		}
		if (check)
		{
			/* who looked for the key has locked its first leaf */
			check_leaf_conflicts_in(insertion, frame);
			frame = move_right(insertion, frame);
		}
		check_leaf_conflicts_in(insertion, frame);
		if (itree_insert_latched(&insertion->tree, frame, &insertion->entry, insertion->tuple))
			return result.is_unique;
		make_leaf_room(insertion, insertion->unchanged || result.met_dead);
		CHECK_FOR_INTERRUPTS();
	}
}

bool
rowan_index_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
				   IndexUniqueCheck check_unique, bool unchanged, IndexInfo *info)
{
	Insertion	insertion;
	const KeyDesc *keys;
	bool		is_unique;

	insertion.index = index;
	insertion.heap = heap;
	insertion.check = check_unique;
	insertion.unchanged = unchanged;
	index_tree(index, &insertion.tree);
	keys = insertion.tree.keys;
	insertion.tuple = index_form_tuple(RelationGetDescr(index), values, isnull);
	insertion.tuple->t_tid = *tid;
	index_check_size(heap, index, insertion.tuple);
	if (check_unique != UNIQUE_CHECK_NO)
		key_point_from_tuple(keys, &insertion.key, insertion.tuple, keys->nkeyatts, TAIL_LOW,
							 NULL);
	key_point_from_tuple(keys, &insertion.entry, insertion.tuple, keys->nkeyatts, TAIL_TID, tid);

	pool_prepare_write();
	itree_create(&insertion.tree);
	is_unique = insert_entry(&insertion);
	pfree(insertion.tuple);
	return is_unique;
}
