/*
 * vacuum.c
 *	  VACUUM: prune leaves, free version pages, clean indexes of dead rows, remove their stubs,
 *	  merge leaves, set visibility bits, cut the file's end (truncate.c), advance relfrozenxid.
 *
 * Every step stands for itself: a crash between two of them leaves work for the next VACUUM and
 * nothing wrong.  A dead row keeps its id, as a stub, until the indexes were cleaned.
 * No latch is held across steps.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/multixact.h"
#include "access/visibilitymap.h"
#include "base/fault.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "table/dead_rows.h"
#include "table/table.h"
#include "table/vacuum_report.h"
#include "utils/memutils.h"

/* Indexes are left alone while fewer leaves than this part have stubs, as heap does. */
#define BYPASS_PART		0.02

/* Leaves with less than that on them are offered for merging. */
#define MERGE_PACKED_BYTES	(ROWAN_PAGE_ROOM / 2)

typedef struct Vacuum
{
	Relation	rel;
	RowTable	table;
	VacuumParams *params;
	VacuumReport report;
	BufferAccessStrategy strategy;
	char	   *page;			/* copy of a leaf */
	char	   *before;			/* the same before it was pruned */
	PoolRing	ring;

	int			nindexes;
	Relation   *indexes;
	IndexBulkDeleteResult **index_stats;
	int			index_passes;

	RowPruneStat stat;
	uint64		leaves;			/* visited */
	uint64		stub_leaves;
	uint64		version_pages_freed;
	uint64		rows_removed;
	uint64		stubs_visited;	/* leaves whose stubs were removed */
	bool		bypassed;		/* the indexes were left alone */

	/* what need not be looked at */
	BlockNumber nblocks;		/* logical blocks, when it began */
	BlockNumber pages;			/* in use, then */
	bool		skips;
	bool		skipped;		/* some leaves were */
	Buffer		map_buffer;		/* a page of the visibility map, or invalid */

	/* row ids of stubs, ascending */
	RowId	   *dead;
	Size		ndead;
	Size		max_dead;
	Size		last_found;		/* index in dead where the last search ended */
	bool		flushed_dead;	/* there were more than fit */
	DeadRows   *rows;			/* those whose content is known; NULL: no index asks for it */
} Vacuum;

bool		(*table_index_finds_by_key) (Relation index);

/* ---- leaves ---- */

static void
copy_vacuumed_leaf(Vacuum *vacuum, TreeKey key)
{
	tree_copy_leaf(&vacuum->table.file, key, InvalidBlockNumber, &vacuum->ring, vacuum->page);
}

/*
 * The first logical block from this one on that may have work.  All rows of one that the visibility
 * map has are on leaves with nothing to prune or to freeze, and without stubs (I7).
 */
static BlockNumber
next_block_with_work(Vacuum *vacuum, BlockNumber block)
{
	if (vacuum->skips)
		while (block < vacuum->nblocks &&
			   visibilitymap_get_status(vacuum->rel, block, &vacuum->map_buffer) ==
			   VISIBILITYMAP_VALID_BITS)
			block++;
	return block;
}

/* How many rows the table has: as many as were counted, and an estimate of those passed over. */
static double
live_rows(Vacuum *vacuum)
{
	if (!vacuum->skipped)
		return vacuum->stat.rows;
	return vac_estimate_reltuples(vacuum->rel, table_pages_in_use(&vacuum->table.file),
								  vacuum->leaves, vacuum->stat.rows);
}

/* A key at or behind this one that is on the next leaf that may have work; TREE_KEY_MAX: none. */
static TreeKey
next_key_with_work(Vacuum *vacuum, TreeKey key)
{
	BlockNumber block;

	if (key == TREE_KEY_MAX)
		return key;
	block = next_block_with_work(vacuum, key >> 8);
	if ((TreeKey) block << 8 <= key)
		return key;
	vacuum->skipped = true;
	return block < vacuum->nblocks ? (TreeKey) block << 8 : TREE_KEY_MAX;
}

/* pruned: the leaf was copied to vacuum->before, and pruned since. */
static void
collect_stubs(Vacuum *vacuum, bool pruned)
{
	PageTrailer trailer = page_trailer(vacuum->page);

	if ((trailer->flags & PAGE_STUBS) == 0)
		return;
	vacuum->stub_leaves++;
	for (int pos = 0; pos < page_nslots((Page) vacuum->page); pos++)
	{
		RowVersion	version;
		RowId		row = row_parse_slot(&vacuum->table.file, (Page) vacuum->page, pos, &version);

		if (!row_is_stub(&version.meta))
			continue;
		for (RowId last = leaf_last_key((Page) vacuum->page, pos); row <= last; row++)
		{
			vacuum->dead[vacuum->ndead++] = row;
			if (pruned && vacuum->rows != NULL)
				dead_rows_note(vacuum->rows, &vacuum->table.file, (Page) vacuum->before, row);
		}
	}
}

/* How many rows of the leaf may be stubs, at most. */
static int
count_possible_stubs(Page page)
{
	int			n = 0;

	for (int pos = 0; pos < page_nslots(page); pos++)
		n += leaf_slot_rows(page, pos);
	return n;
}

/* ---- indexes ---- */

/*
 * Many indexes have rows in about the order of their ids, so the search starts where the last one
 * ended.
 */
static bool
tid_is_dead(ItemPointer tid, void *arg)
{
	Vacuum	   *vacuum = (Vacuum *) arg;
	RowId		row = row_id_from_tid(tid);
	const RowId *dead = vacuum->dead;
	Size		low = 0;
	Size		high = vacuum->ndead;

	if (row < dead[0] || row > dead[vacuum->ndead - 1])
		return false;
	if (dead[vacuum->last_found] <= row)
	{
		Size		step = 1;

		low = vacuum->last_found;
		while (low + step < high && dead[low + step] <= row)
		{
			low += step;
			step *= 2;
		}
		high = Min(high, low + step);
	}
	/* dead[low] <= row < dead[high], if there is one */
	while (high - low > 1)
	{
		Size		middle = low + (high - low) / 2;

		if (dead[middle] <= row)
			low = middle;
		else
			high = middle;
	}
	vacuum->last_found = low;
	return dead[low] == row;
}

DeadRows *
table_dead_rows(IndexBulkDeleteCallback callback, void *arg)
{
	Vacuum	   *vacuum = (Vacuum *) arg;

	if (callback != tid_is_dead || vacuum->rows == NULL)
		return NULL;
	return (Size) vacuum->rows->n == vacuum->ndead ? vacuum->rows : NULL;
}

static void
init_index_info(Vacuum *vacuum, Relation index, bool estimated, IndexVacuumInfo *info)
{
	memset(info, 0, sizeof(*info));
	info->index = index;
	set_vacuumed_table(info, vacuum->rel);
	info->report_progress = false;
	info->estimated_count = estimated || vacuum->skipped;
	info->message_level = DEBUG2;
	info->num_heap_tuples = estimated ? vacuum->rel->rd_rel->reltuples : live_rows(vacuum);
	info->strategy = vacuum->strategy;
}

/*
 * Each pass is a first one to the access method: only then does GIN move its pending list to where
 * it looks for dead entries, and rows may have died since the pass before whose entries are there.
 */
static void
clean_index(Vacuum *vacuum, int which)
{
	IndexBulkDeleteResult *before = vacuum->index_stats[which];
	IndexBulkDeleteResult *now;
	IndexVacuumInfo info;

	init_index_info(vacuum, vacuum->indexes[which], true, &info);
	now = index_bulk_delete(&info, NULL, tid_is_dead, vacuum);
	if (before != NULL && now != NULL)
	{
		now->tuples_removed += before->tuples_removed;
		now->pages_newly_deleted += before->pages_newly_deleted;
	}
	vacuum->index_stats[which] = now;
}

static void
clean_indexes(Vacuum *vacuum)
{
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_VACUUM_INDEX);
	for (int i = 0; i < vacuum->nindexes; i++)
	{
		clean_index(vacuum, i);
		progress_indexes(i + 1, vacuum->nindexes);
	}
	progress_indexes(0, 0);
	vacuum->last_found = 0;
	vacuum->index_passes++;
	pgstat_progress_update_param(PROGRESS_VACUUM_NUM_INDEX_VACUUMS, vacuum->index_passes);
}

/* The indexes are clean of them. */
static void
remove_stubs(Vacuum *vacuum)
{
	Size		done = 0;

	FAULT_POINT(vacuum_index_cleaned);
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_VACUUM_HEAP);
	while (done < vacuum->ndead)
	{
		vacuum_pause();
		done += row_remove_stubs(&vacuum->table, vacuum->dead + done,
								 Min(vacuum->ndead - done, INT_MAX));
		pgstat_progress_update_param(PROGRESS_VACUUM_HEAP_BLKS_VACUUMED, ++vacuum->stubs_visited);
	}
	FAULT_POINT(vacuum_stubs_removed);
	vacuum->rows_removed += vacuum->ndead;
	vacuum->ndead = 0;
	progress_dead(0, 0);
}

/* Indexes first, then the stubs: the order that makes an absent row id absent everywhere. */
static void
remove_dead_rows(Vacuum *vacuum)
{
	if (vacuum->ndead == 0)
		return;
	if (vacuum->nindexes > 0)
		clean_indexes(vacuum);
	remove_stubs(vacuum);
	if (vacuum->rows != NULL)
		dead_rows_forget(vacuum->rows);
}

/*
 * The stubs are too few for the indexes to be gone through.  But those whose entries can be found
 * by key, in all indexes, need not stay.
 */
static void
remove_known_rows(Vacuum *vacuum)
{
	DeadRows   *rows = vacuum->rows;

	if (rows == NULL || rows->n == 0)
		return;
	for (int i = 0; i < vacuum->nindexes; i++)
		if (!table_index_finds_by_key(vacuum->indexes[i]))
			return;
	for (int i = 0; i < rows->n; i++)
		vacuum->dead[i] = rows->rows[i].row;
	vacuum->ndead = rows->n;
	rows->optional = true;
	clean_indexes(vacuum);
	vacuum->ndead = 0;
	for (int i = 0; i < rows->n; i++)
		if (!rows->held && rows->rows[i].indexes == vacuum->nindexes)
			vacuum->dead[vacuum->ndead++] = rows->rows[i].row;
	if (vacuum->ndead > 0)
		remove_stubs(vacuum);
	vacuum->bypassed = vacuum->rows_removed < vacuum->stat.stubs;
}

static void
cleanup_indexes(Vacuum *vacuum)
{
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_INDEX_CLEANUP);
	for (int i = 0; i < vacuum->nindexes; i++)
	{
		Relation	index = vacuum->indexes[i];
		IndexVacuumInfo info;
		IndexBulkDeleteResult *result;

		init_index_info(vacuum, index, false, &info);
		result = vacuum->index_stats[i] = index_vacuum_cleanup(&info, vacuum->index_stats[i]);
		if (result != NULL && !result->estimated_count)
			update_relation_statistics(index, result->num_pages, result->num_index_tuples, 0, false,
									   InvalidTransactionId, InvalidMultiXactId, NULL, NULL);
		progress_indexes(i + 1, vacuum->nindexes);
	}
}

/* ---- passes over the table ---- */

static void
prune_pass(Vacuum *vacuum)
{
	TreeKey		key = next_key_with_work(vacuum, TREE_KEY_MIN);
	bool		cleanup = vacuum->params->index_cleanup != VACOPTVALUE_DISABLED;
	bool		pruned;
	int			nstubs;

	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_SCAN_HEAP);
	pgstat_progress_update_param(PROGRESS_VACUUM_TOTAL_HEAP_BLKS, vacuum->pages);
	while (key != TREE_KEY_MAX)
	{
		vacuum_pause();
		copy_vacuumed_leaf(vacuum, key);
		pruned = !row_leaf_is_settled((Page) vacuum->page);
		if (!pruned)
			vacuum->stat.rows += page_nslots((Page) vacuum->page);
		else
		{
			if (vacuum->rows != NULL)
				memcpy(vacuum->before, vacuum->page, BLCKSZ);
			(void) row_prune_leaf(&vacuum->table, key, &vacuum->stat);
			copy_vacuumed_leaf(vacuum, key);
		}
		nstubs = count_possible_stubs((Page) vacuum->page);
		if (vacuum->ndead + nstubs > vacuum->max_dead && cleanup)
		{
			remove_dead_rows(vacuum);
			vacuum->flushed_dead = true;
		}
		if (vacuum->ndead + nstubs <= vacuum->max_dead)
			collect_stubs(vacuum, pruned);
		progress_dead(vacuum->ndead * sizeof(RowId), vacuum->ndead);
		key = next_key_with_work(vacuum, page_trailer(vacuum->page)->high_fence);
		pgstat_progress_update_param(PROGRESS_VACUUM_HEAP_BLKS_SCANNED, ++vacuum->leaves);
	}
}

static bool
may_bypass_indexes(Vacuum *vacuum)
{
	return vacuum->params->index_cleanup == VACOPTVALUE_AUTO && !vacuum->flushed_dead &&
		vacuum->nindexes > 0 &&
		vacuum->stub_leaves < BYPASS_PART * table_pages_in_use(&vacuum->table.file);
}

/*
 * Neighbours filled by different transactions stay apart as long as rows on both depend on their
 * page's xid.
 */
static bool
merge_leaf(Vacuum *vacuum, TreeKey key)
{
	const PoolFile *file = &vacuum->table.file;

	return tree_merge_leaf(file, key) ||
		(row_free_page_xid(&vacuum->table, key) && tree_merge_leaf(file, key));
}

static void
merge_pass(Vacuum *vacuum)
{
	TreeKey		key = next_key_with_work(vacuum, TREE_KEY_MIN);

	while (key != TREE_KEY_MAX)
	{
		vacuum_pause();
		copy_vacuumed_leaf(vacuum, key);
		if (page_packed_bytes((Page) vacuum->page) < (int) MERGE_PACKED_BYTES &&
			merge_leaf(vacuum, key))
			continue;
		key = next_key_with_work(vacuum, page_trailer(vacuum->page)->high_fence);
	}
}

/*
 * The next logical block after this one that may have rows on the leaf or lies on the next leaf,
 * too; nblocks: none. Blocks without rows, of which there may be very many, are passed over: nobody
 * will ask for them.
 */
static BlockNumber
next_block_with_rows(Page page, BlockNumber block, BlockNumber nblocks)
{
	int			pos = leaf_search(page, ((TreeKey) block + 1) << 8);
	TreeKey		row = pos < page_nslots(page) ? leaf_key(page, pos) :
		page_trailer(page)->high_fence;

	return (BlockNumber) Min(Max(row >> 8, (TreeKey) block + 1), (TreeKey) nblocks);
}

static bool
leaf_has_rows_of(Page page, BlockNumber block)
{
	return leaf_search(page, (TreeKey) block << 8) < leaf_search(page, ((TreeKey) block + 1) << 8);
}

/*
 * The leaf, cleaned once more if that may do: the older version of a row whose change was undone
 * fits, as the stubs are gone; or a leaf that was passed over had warnings from a split, and they
 * came along when leaves were merged.
 */
static void
copy_settled_leaf(Vacuum *vacuum, TreeKey key)
{
	copy_vacuumed_leaf(vacuum, key);
	if (!row_leaf_may_settle(&vacuum->table, (Page) vacuum->page))
		return;
	(void) row_prune_leaf(&vacuum->table, key, NULL);
	copy_vacuumed_leaf(vacuum, key);
}

/*
 * Notes what room leaves have, and sets bits of logical blocks all of whose rows, on however many
 * leaves, are visible to everybody.  The last block can get them too: insertion looks, as other
 * changes do.
 */
static void
visibility_pass(Vacuum *vacuum)
{
	TreeKey		key = TREE_KEY_MIN;
	RowLeaf		leaves[ROWS_PER_LOGICAL_BLOCK + 1];
	int			nleaves = 0;
	bool		settled = true;
	bool		occupied = false;
	BlockNumber block = next_block_with_work(vacuum, 0);
	BlockNumber nblocks = table_logical_blocks(&vacuum->table.file);
	VisibleBlocks *batch;

	if (block >= nblocks)
		return;
	key = (TreeKey) block << 8;
	batch = palloc(sizeof(VisibleBlocks));
	batch->nblocks = 0;
	do
	{
		PageTrailer trailer = page_trailer(vacuum->page);

		vacuum_pause();
		copy_settled_leaf(vacuum, key);
		table_note_room(vacuum->rel, &vacuum->table, vacuum->pages, (Page) vacuum->page);
		for (;;)
		{
			settled = settled && row_leaf_is_settled((Page) vacuum->page);
			occupied = occupied || leaf_has_rows_of((Page) vacuum->page, block);
			if (nleaves <= ROWS_PER_LOGICAL_BLOCK)
				leaves[nleaves++] = (RowLeaf) {trailer->self_block, trailer->low_fence,
															   trailer->high_fence};
			else
				settled = false;
			if (block >= nblocks || trailer->high_fence < ((TreeKey) (block + 1) << 8))
				break;
			/* the leaf covers the rest of the block */
			if (settled && occupied)
				table_mark_visible(vacuum->rel, &vacuum->table, batch, block, leaves, nleaves);
			nleaves = 0;
			settled = true;
			occupied = false;
			block = next_block_with_rows((Page) vacuum->page, block, nblocks);
			if (trailer->high_fence == ((TreeKey) block << 8))
				break;
		}
		key = trailer->high_fence;
		if (nleaves == 0)
		{
			block = next_block_with_work(vacuum, block);
			key = Max(key, (TreeKey) block << 8);
		}
	} while (key < TREE_KEY_MAX && block < nblocks);
	table_flush_visible(vacuum->rel, &vacuum->table, batch);
	pfree(batch);
	table_finish_room(vacuum->rel, vacuum->pages);
}

/* ---- the whole ---- */

static void
pause_shrinking(void)
{
	vacuum_pause();
}

static void
vacuum_tree(Vacuum *vacuum)
{
	bool		cleanup = vacuum->params->index_cleanup != VACOPTVALUE_DISABLED;

	prune_pass(vacuum);
	FAULT_POINT(vacuum_pruned);
	vacuum->version_pages_freed = row_reclaim_versions(&vacuum->table, 0);
	pgstat_progress_update_param(PROGRESS_VACUUM_HEAP_BLKS_SCANNED, vacuum->pages);
	vacuum->bypassed = !cleanup || may_bypass_indexes(vacuum);
	if (!vacuum->bypassed)
		remove_dead_rows(vacuum);
	else if (cleanup)
		remove_known_rows(vacuum);
	if (vacuum->rows_removed > 0)
		merge_pass(vacuum);

	/* before it is noted where there is room */
	if (vacuum->params->truncate != VACOPTVALUE_DISABLED)
		space_shrink(&vacuum->table.file, pause_shrinking);
	visibility_pass(vacuum);
}

static void
update_statistics(Vacuum *vacuum, TransactionId oldest_xid, MultiXactId oldest_multi)
{
	BlockNumber pages = table_pages_in_use(&vacuum->table.file);
	double		rows = live_rows(vacuum);
	BlockNumber all_visible = 0;
	bool		xid_set = false;
	bool		multi_set = false;

	if (tree_exists(&vacuum->table.file))
	{
		oldest_xid = row_oldest_version_xid(&vacuum->table, vacuum->stat.oldest_xid);
		oldest_multi = vacuum->stat.oldest_multi;
		visibilitymap_count(vacuum->rel, &all_visible, NULL);
	}
	update_relation_statistics(vacuum->rel, pages, rows, all_visible, vacuum->nindexes > 0,
							   oldest_xid, oldest_multi, &xid_set, &multi_set);
	report_vacuumed(vacuum->rel, rows, vacuum->stat.recently_dead, vacuum->report.start);
	vacuum->report.rows_left = rows;
	vacuum->report.new_frozen_xid = xid_set ? oldest_xid : InvalidTransactionId;
	vacuum->report.new_min_multi = multi_set ? oldest_multi : InvalidMultiXactId;
}

/* Bytes that the settings allow. */
static Size
vacuum_memory(void)
{
	int			memory_kb = AmAutoVacuumWorkerProcess() && autovacuum_work_mem != -1 ?
		autovacuum_work_mem : maintenance_work_mem;

	return (Size) memory_kb * 1024;
}

/* As much as the settings allow, but no more than the table has row ids. */
static void
allocate_dead(Vacuum *vacuum)
{
	Size		ids = 0;

	if (tree_exists(&vacuum->table.file))
		ids = (Size) table_logical_blocks(&vacuum->table.file) * ROWS_PER_LOGICAL_BLOCK;
	ids = Min(ids, vacuum_memory() / sizeof(RowId));
	ids = Min(ids, MaxAllocSize / sizeof(RowId));
	vacuum->max_dead = Max(ids, 4 * ROWAN_PAGE_ROOM);
	vacuum->dead = palloc(vacuum->max_dead * sizeof(RowId));
	progress_dead_limit(vacuum->max_dead * sizeof(RowId), vacuum->max_dead);
}

static void
open_indexes(Vacuum *vacuum)
{
	Relation	rel = vacuum->rel;

	vac_open_indexes(rel, RowExclusiveLock, &vacuum->nindexes, &vacuum->indexes);
	if (vacuum->params->nworkers > 0 && vacuum->nindexes > 1 && RelationUsesLocalBuffers(rel))
		ereport(WARNING,
				(errmsg("disabling parallel option of vacuum on \"%s\" --- cannot vacuum temporary tables in parallel",
						RelationGetRelationName(rel))));
	vacuum->index_stats = palloc0(sizeof(IndexBulkDeleteResult *) * Max(vacuum->nindexes, 1));
	vacuum->report.index_names = palloc(sizeof(char *) * Max(vacuum->nindexes, 1));
	for (int i = 0; i < vacuum->nindexes; i++)
		vacuum->report.index_names[i] = pstrdup(RelationGetRelationName(vacuum->indexes[i]));
}

/*
 * Rows are kept as long as finding their entries may be less work than going through the largest
 * index that does so, in an eighth of the memory that there is.
 */
static void
prepare_dead_rows(Vacuum *vacuum)
{
	BlockNumber pages = 0;

	if (vacuum->params->index_cleanup == VACOPTVALUE_DISABLED || table_index_finds_by_key == NULL)
		return;
	for (int i = 0; i < vacuum->nindexes; i++)
		if (table_index_finds_by_key(vacuum->indexes[i]))
			pages = Max(pages, RelationGetNumberOfBlocks(vacuum->indexes[i]));
	if (pages > 0)
		vacuum->rows = dead_rows_create(vacuum->rel, Min(pages, INT_MAX / 2),
										vacuum_memory() / 8);
}

static void
report(Vacuum *vacuum, TransactionId cutoff)
{
	VacuumReport *report = &vacuum->report;
	FileHeaderData header;

	report->pages_before = vacuum->pages;
	report->pages_after = table_pages_in_use(&vacuum->table.file);
	report->leaves_visited = vacuum->leaves;
	report->rows_removed = vacuum->stat.removed;
	report->rows_recently_dead = vacuum->stat.recently_dead;
	report->stub_leaves = vacuum->stub_leaves;
	report->stubs_removed = vacuum->rows_removed;
	report->stubs_left = vacuum->stat.stubs - Min(vacuum->rows_removed, vacuum->stat.stubs);
	report->version_pages_freed = vacuum->version_pages_freed;
	report->free_pages = 0;
	if (tree_exists(&vacuum->table.file))
	{
		space_read_header(&vacuum->table.file, &header);
		report->free_pages = header.free_count;
	}
	report->cutoff = cutoff;
	report->index_passes = vacuum->index_passes;
	report->indexes_bypassed = vacuum->bypassed;
	report->indexes_by_key = vacuum->rows != NULL ? vacuum->rows->cleaned : 0;
	report->nindexes = vacuum->nindexes;
	report->index_stats = vacuum->index_stats;
	vacuum_report_end(report);
}

void
rowan_vacuum(Relation rel, struct VacuumParams *params, BufferAccessStrategy strategy)
{
	Vacuum	   *vacuum = palloc0(sizeof(Vacuum));
	TransactionId oldest_xmin;
	MultiXactId oldest_multi;

	pgstat_progress_start_command(PROGRESS_COMMAND_VACUUM, RelationGetRelid(rel));
	table_vacuum_limits(rel, params, &oldest_xmin, &oldest_multi);
	vacuum_report_begin(&vacuum->report, rel, params);
	vacuum->rel = rel;
	vacuum->params = params;
	vacuum->strategy = strategy;
	table_row_table(rel, &vacuum->table);
	vacuum->page = palloc(BLCKSZ);
	vacuum->before = palloc(BLCKSZ);
	vacuum->stat.oldest_xid = oldest_xmin;
	vacuum->stat.oldest_multi = oldest_multi;
	allocate_dead(vacuum);
	open_indexes(vacuum);
	prepare_dead_rows(vacuum);

	if (tree_exists(&vacuum->table.file))
	{
		pool_prepare_write();
		vacuum->nblocks = table_logical_blocks(&vacuum->table.file);
		vacuum->pages = table_pages_in_use(&vacuum->table.file);
		vacuum->skips = (params->options & VACOPT_DISABLE_PAGE_SKIPPING) == 0;
		vacuum_tree(vacuum);
		if (BufferIsValid(vacuum->map_buffer))
			ReleaseBuffer(vacuum->map_buffer);
	}
	table_keep_index_files(rel, params->truncate == VACOPTVALUE_DISABLED);
	if (params->index_cleanup != VACOPTVALUE_DISABLED)
		cleanup_indexes(vacuum);
	vac_close_indexes(vacuum->nindexes, vacuum->indexes, NoLock);
	if (params->truncate != VACOPTVALUE_DISABLED && tree_exists(&vacuum->table.file))
		table_truncate_tail(rel, params->options & VACOPT_VERBOSE ? INFO : DEBUG2,
							vacuum->rows_removed > 0);
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_FINAL_CLEANUP);
	update_statistics(vacuum, oldest_xmin, oldest_multi);
	pgstat_progress_end_command();
	report(vacuum, oldest_xmin);
}
