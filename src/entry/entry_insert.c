/*
 * entry_insert.c
 *	  Adding an entry to a leaf, and joining equal keys into posting lists.
 *
 * One leaf, latched exclusively by the caller; one record: an ENTRY where the page's gap has room
 * for the cell, else a CHANGE.  Nothing is changed before what can fail has been done.  An entry
 * that belongs inside a posting list is added to that.
 */
#include "postgres.h"

#include "access/xloginsert.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/page_edit.h"
#include "base/page_sum.h"
#include "entry/entry.h"
#include "miscadmin.h"
#include "pool/describe.h"
#include "pool/wal.h"

static CellSource
entry_source(IndexTuple tuple)
{
	CellSource	source = {.tuple = tuple, .tids = &tuple->t_tid, .ntids = 1};

	return source;
}

/* ---- into a posting list ---- */

static int
tid_position(const ItemPointerData *tids, int ntids, ItemPointer tid)
{
	int			low = 0;
	int			high = ntids;

	while (low < high)
	{
		int			mid = low + (high - low) / 2;

		if (ItemPointerCompare(unconstify(ItemPointerData *, &tids[mid]), tid) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/*
 * Adds the TID to the posting list at pos of a working copy, as one list or, if that is
 * too long, as two.  False: no room.
 */
static bool
add_to_posting(const KeyDesc *keys, Page page, int pos, const IndexItem *item, ItemPointer tid)
{
	int			n = item->ntids + 1;
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * n);
	CellSource	source,
				second;
	CellPrefix	prefix;
	int			at;

	item_source(item, &source, tids);
	at = tid_position(tids, item->ntids, tid);
	memmove(tids + at + 1, tids + at, sizeof(ItemPointerData) * (item->ntids - at));
	tids[at] = *tid;
	source.ntids = n;
	cell_prefix(page, &prefix);
	if (cell_encode(&prefix, &source, NULL) <= INDEX_MAX_POSTING)
		return ipage_replace(keys, page, pos, &source);
	second = source;
	source.ntids = n / 2;
	second.tids = tids + n / 2;
	second.ntids = n - n / 2;
	return ipage_replace(keys, page, pos, &source) &&
		ipage_insert(keys, page, pos + 1, &second);
}

/* The entry is one of those of the posting list at pos, or between them. */
static bool
belongs_to_list(const PageView *view, const KeyPoint *point, int pos, IndexItem *item, char *buffer)
{
	if (pos >= page_nslots(view->page) || ipage_head_is_beyond(view, point, pos))
		return false;
	view_item(view, pos, item, buffer);
	return item->ntids > 1 && key_compare(view->keys, point, item) == 0;
}

/* The leaf, which covers the entry's point, has room for it: itree_insert_latched would succeed. */
bool
itree_leaf_takes(const PageView *view, const KeyPoint *point, const CellSource *entry)
{
	PGAlignedBlock buffer,
				trial;
	IndexItem	list;
	int			pos = ipage_search(view, point);

	if (!belongs_to_list(view, point, pos, &list, buffer.data))
		return page_fits_insert(view->page, cell_encode(&view->prefix, entry, NULL), false);

	/* a list that becomes two takes more room than a cell for the entry would */
	memcpy(trial.data, view->page, BLCKSZ);
	return add_to_posting(view->keys, (Page) trial.data, pos, &list,
						  unconstify(ItemPointerData *, entry->tids));
}

/* ---- ENTRY: a cell added to a leaf ---- */

/* What a cell put into the gap touches. */
static void
touch_entry(Page page, int pos, uint16 size, PageEdits *touched)
{
	PageHeader	header = (PageHeader) page;
	int			first = ROWAN_PAGE_BODY + pos * (int) sizeof(SlotData);
	int			lower = header->pd_lower + (int) sizeof(SlotData);

	page_edits_begin(touched);
	page_edits_add(touched, offsetof(PageHeaderData, pd_lower), NULL, 2 * sizeof(uint16));
	page_edits_add(touched, first, NULL, lower - first);
	page_edits_add(touched, header->pd_upper - size, NULL, size);
}

/*
 * Puts a cell into the gap, which has room, as the doing side has seen to.  Header and slots are
 * read, cells are not: redo may have no more.
 */
static void
put_into_gap(Page page, const EntryRecordData *entry, const char *cell, int size)
{
	PageHeader	header = (PageHeader) page;
	PageEdits	touched;
	uint32		rest;

	if (entry->pos > page_nslots(page) || header->pd_upper > ROWAN_PAGE_SPECIAL ||
		header->pd_lower + (int) sizeof(SlotData) + size > header->pd_upper)
		elog(PANIC, "rowan: WAL record does not fit the page it is applied to");
	touch_entry(page, entry->pos, size, &touched);
	rest = page_sum_kept(page) - page_edits_sum(page, &touched);
	header->pd_upper -= size;
	page_add_slot(page, entry->pos, header->pd_upper, entry->head);
	memcpy((char *) page + header->pd_upper, cell, size);
	page_sum_kept(page) = rest + page_edits_sum(page, &touched);
}

/* The rest of a change that an image of the slots has: the cell. */
static void
put_cell_only(Page page, const char *cell, int size)
{
	int			upper = ((PageHeader) page)->pd_upper;

	if (upper + size > (int) ROWAN_PAGE_SPECIAL)
		elog(PANIC, "rowan: WAL record does not fit the page it is applied to");
	memcpy((char *) page + upper, cell, size);
}

/* What a record says, done. */
static bool
entry_apply(Page page, char *data, Size length, const WalContext *context)
{
	EntryRecordData entry;
	const char *cell = data + sizeof(entry);
	int			size = length - sizeof(entry);

	if (context->whole < WAL_NEEDS_SLOTS)
		return false;
	memcpy(&entry, data, sizeof(entry));
	if (context->slots_restored)
		put_cell_only(page, cell, size);
	else
		put_into_gap(page, &entry, cell, size);
	return true;
}

/* The leaf is latched exclusively, and its gap has room.  The latch stays. */
static void
insert_logged(const PoolFile *file, PoolFrame *leaf, EntryRecordData *entry, char *cell, int size)
{
	FAULT_POINT(index_insert);
	pool_refuse_damaged(leaf);
	START_CRIT_SECTION();
	pool_change_begin(leaf);
	put_into_gap(pool_page(leaf), entry, cell, size);
	FAULT_POINT(index_insert_applied);
	if (file->logged)
	{
		wal_begin();
		wal_add_page(0, leaf, WAL_NEEDS_SLOTS);
		XLogRegisterBufData(0, (char *) entry, sizeof(*entry));
		XLogRegisterBufData(0, cell, size);
		wal_insert(ROWAN_XLOG_ENTRY);
	}
	pool_change_end(leaf);
	END_CRIT_SECTION();
	FAULT_POINT(index_insert_logged);
}

static void
entry_redo(XLogReaderState *record)
{
	RedoPage	leaf;

	wal_latch(record, 0, WAL_NEEDS_SLOTS, &leaf);
	FAULT_POINT(index_insert_redo);
	wal_apply(record, &leaf, entry_apply);
	wal_unlatch(&leaf);
}

static bool
describe_entry(StringInfo buf, XLogReaderState *record, uint8 block_id)
{
	Size		length;
	char	   *data = wal_page_data(record, block_id, &length);
	EntryRecordData entry;

	if (data == NULL || length < sizeof(entry))
		return false;
	memcpy(&entry, data, sizeof(entry));
	describe(buf, "slot: %u, head: %u, cell: %zu", entry.pos, entry.head, length - sizeof(entry));
	return true;
}

void
itree_wal_init(void)
{
	static const RowanRecordOps ops = {
		.name = "ENTRY", .redo = entry_redo, .parts = {{"index leaf", describe_entry}}
	};

	wal_register_kind(ROWAN_XLOG_ENTRY, &ops);
}

/* ---- adding an entry ---- */

/* What needs more than a cell put into the gap: as a CHANGE.  The latch is given away. */
static bool
insert_by_change(const IndexTree *tree, PoolFrame *frame, int pos, const CellSource *source,
				 const IndexItem *list)
{
	PageChange	change;
	Page		page;
	bool		done;

	change_begin(&change, &tree->file);
	page = change_page(&change, frame, false);
	if (list != NULL)
		done = add_to_posting(tree->keys, page, pos, list,
							  unconstify(ItemPointerData *, source->tids));
	else
		done = ipage_insert(tree->keys, page, pos, source);
	if (!done)
	{
		change_abort(&change);
		return false;
	}
	FAULT_POINT(index_insert_change);
	change_commit(&change, InvalidTransactionId);
	return true;
}

bool
itree_insert_latched(const IndexTree *tree, PoolFrame *frame, const KeyPoint *point,
					 IndexTuple tuple)
{
	PGAlignedBlock buffer,
				cell;
	PageView	view;
	IndexItem	list;
	EntryRecordData entry;
	CellSource	source = entry_source(tuple);
	int			size;
	int			pos;

	Assert(LWLockHeldByMeInMode(&frame->latch, LW_EXCLUSIVE));	/* I-IDX-5 */
	view_page(&view, tree, pool_page(frame), NULL);
	pos = ipage_search(&view, point);
	if (belongs_to_list(&view, point, pos, &list, buffer.data))
		return insert_by_change(tree, frame, pos, &source, &list);
	size = cell_encode(&view.prefix, &source, cell.data);
	if (page_gap(view.page) < size + (int) sizeof(SlotData))
	{
		if (page_fits_insert(view.page, size, false))
			return insert_by_change(tree, frame, pos, &source, NULL);
		pool_unlatch(frame);
		return false;
	}
	entry.pos = pos;
	entry.head = ipage_head(tree->keys, view.page, tuple, tree->keys->natts);
	insert_logged(&tree->file, frame, &entry, cell.data, size);
	pool_unlatch(frame);
	return true;
}

/* ---- joining equal keys ---- */

/* Joining for less would soon have to be done again. */
#define FREED_LEAST		((int) ROWAN_PAGE_ROOM / 16)

/* A posting list that has room for a few more bytes. */
static bool
may_join(const PostingBuilder *list, const IndexItem *item)
{
	return (int) IndexTupleSize(item->tuple) + posting_size_with(list, item) < INDEX_MAX_POSTING;
}

/* Entries joined would free so many bytes, about. */
static int
bytes_to_free(Page page)
{
	int			bytes = 0;

	for (int pos = SLOT_FIRST + 1; pos < page_nslots(page); pos++)
		if (cell_same_columns(page, pos - 1, pos))
			bytes += cell_columns_bytes(page, pos) + (int) sizeof(SlotData);
	return bytes;
}

/* The entries [from, to), which have the same columns, as one. */
static bool
append_joined(const PageView *view, Page dest, const PostingBuilder *list, IndexTuple tuple)
{
	CellSource	source = {.tuple = tuple};

	posting_source(list, &source);
	return ipage_insert(view->keys, dest, page_nslots(dest), &source);
}

/* Writes the leaf's entries into dest, joined; false: does not fit. */
static bool
join_items(const PageView *view, Page dest)
{
	PGAlignedBlock buffers[2];
	PostingBuilder list;
	IndexItem	item,
				first = {0};
	int			which = 0;

	posting_start(&list);
	for (int pos = SLOT_FIRST; pos < page_nslots(view->page); pos++)
	{
		bool		same = list.ntids > 0 && cell_same_columns(view->page, pos - 1, pos);

		view_item(view, pos, &item, buffers[which].data);
		if (!same || !may_join(&list, &item))
		{
			if (list.ntids > 0 && !append_joined(view, dest, &list, first.tuple))
				return false;
			posting_start(&list);
			if (posting_size_with(&list, &item) > INDEX_MAX_POSTING)
				return false;
			first = item;
			which = 1 - which;
		}
		posting_add(&list, &item);
	}
	return list.ntids == 0 || append_joined(view, dest, &list, first.tuple);
}

bool
itree_deduplicate(const IndexTree *tree, PoolFrame *frame)
{
	PGAlignedBlock joined;
	Page		page = (Page) joined.data;
	PageView	view;
	PageChange	change;

	if (!tree->keys->equal_image)
		return false;
	view_page(&view, tree, pool_page(frame), NULL);
	if (bytes_to_free(view.page) < FREED_LEAST)
		return false;
	memcpy(page, view.page, BLCKSZ);
	if (page_nslots(page) > SLOT_FIRST)
		page_delete_slots(page, SLOT_FIRST, page_nslots(page) - SLOT_FIRST);
	page_compact(page);
	if (!join_items(&view, page))
		return false;
	if (page_free_bytes(page) - page_free_bytes(view.page) < FREED_LEAST)
		return false;
	change_begin(&change, &tree->file);
	page_copy_content(change_page(&change, frame, false), page);
	FAULT_POINT(index_deduplicate);
	change_commit(&change, InvalidTransactionId);
	return true;
}
