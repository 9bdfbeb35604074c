/*
 * index_handler.c
 *	  The index access method rowan_btree: its routine table, and what its parts share.
 *
 * The only file of btree/ that asks which major of PostgreSQL it is.
 *
 * Strategies and support functions are btree's.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "base/export.h"
#include "base/preload.h"
#include "btree/btree.h"
#include "btree/opclass.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "commands/vacuum.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "table/table.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

ROWAN_SQL_FUNCTION(rowan_btree_handler);

/* ---- keys ---- */

/*
 * Scans and insertions hold the description of keys while others change the catalogs.  An
 * invalidation, which may come whenever a comparison function looks something up, frees rd_amcache
 * even of an open index, but leaves the memory context that describes its columns.  So the
 * description lives there, and is found again by a callback that does nothing else.
 */
typedef struct KeptKeys
{
	MemoryContextCallback callback;
	KeyDesc		keys;
} KeptKeys;

static void
keys_are_kept(void *arg)
{
}

/*
 * Equal keys have equal bytes, as the operator classes say.  Columns that are not of the key
 * may differ.
 */
static bool
has_equal_images(Relation index)
{
	if (IndexRelationGetNumberOfAttributes(index) != IndexRelationGetNumberOfKeyAttributes(index))
		return false;
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		Oid			type = index->rd_opcintype[i];
		Oid			function = get_opfamily_proc(index->rd_opfamily[i], type, type,
												 BTEQUALIMAGE_PROC);

		if (!OidIsValid(function) ||
			!DatumGetBool(OidFunctionCall1Coll(function, index->rd_indcollation[i],
											   ObjectIdGetDatum(type))))
			return false;
	}
	return true;
}

static void
fill_keys(Relation index, KeyDesc *keys)
{
	keys->desc = RelationGetDescr(index);
	keys->natts = IndexRelationGetNumberOfAttributes(index);
	keys->nkeyatts = IndexRelationGetNumberOfKeyAttributes(index);
	keys->equal_image = has_equal_images(index);
	for (int i = 0; i < keys->natts; i++)
		if (TupleDescAttr(keys->desc, i)->attlen < 0)
			keys->var_width = true;
	for (int i = 0; i < keys->nkeyatts; i++)
	{
		keys->compare[i] = index_getprocinfo(index, i + 1, BTORDER_PROC);
		keys->collation[i] = index->rd_indcollation[i];
		keys->option[i] = index->rd_indoption[i];
		keys->kinds[i] = key_head_kind(keys->compare[i]->fn_oid, keys->collation[i]);
	}
}

/* As they were described before, or described now. */
static const KeyDesc *
kept_keys(Relation index)
{
	KeptKeys   *kept;

	for (MemoryContextCallback *callback = index->rd_indexcxt->reset_cbs; callback != NULL;
		 callback = callback->next)
		if (callback->func == keys_are_kept)
			return &((KeptKeys *) callback->arg)->keys;
	kept = MemoryContextAllocZero(index->rd_indexcxt, sizeof(KeptKeys));
	fill_keys(index, &kept->keys);
	kept->callback.func = keys_are_kept;
	kept->callback.arg = kept;
	MemoryContextRegisterResetCallback(index->rd_indexcxt, &kept->callback);
	return &kept->keys;
}

/* SERIALIZABLE: who has read the one leaf has read what the other one covers. */
static void
copy_predicate_locks(void *owner, BlockNumber from, BlockNumber to)
{
	PredicateLockPageSplit(owner, from, to);
}

/* The keys stay as long as the index is open; rd_amcache only says where they are. */
void
index_tree(Relation index, IndexTree *tree)
{
	if (index->rd_amcache == NULL)
	{
		const KeyDesc *keys = kept_keys(index);

		index->rd_amcache = MemoryContextAlloc(index->rd_indexcxt, sizeof(KeyDesc *));
		*(const KeyDesc **) index->rd_amcache = keys;
	}
	tree->keys = *(const KeyDesc **) index->rd_amcache;
	tree->leaf_moves = copy_predicate_locks;
	tree->owner = index;
	table_pool_file(index, &tree->file);
}

bool
index_is_rowan(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_INDEX && rel->rd_indam != NULL &&
		rel->rd_indam->ambuild == rowan_index_build;
}

/* ---- interlock ---- */

/* Not a page lock: core allows no other lock to be taken with one held. */
void
index_tids_tag(Relation index, LOCKTAG *tag)
{
	LockRelId	id = index->rd_lockInfo.lockRelId;

	SET_LOCKTAG_TUPLE(*tag, id.dbId, id.relId, ROWAN_HEADER_BLOCK, FirstOffsetNumber);
}

void
index_lock_tids(Relation index)
{
	LOCKTAG		tag;

	index_tids_tag(index, &tag);
	(void) LockAcquire(&tag, ShareLock, false, false);
}

void
index_unlock_tids(Relation index)
{
	LOCKTAG		tag;

	index_tids_tag(index, &tag);
	LockRelease(&tag, ShareLock, false);
}

/* ---- planner ---- */

static bool
can_return(Relation index, int attno)
{
	return true;
}

/* ---- what differs between majors ---- */

#if PG_VERSION_NUM >= 180000
static Size
parallel_size(Relation index, int nkeys, int norderbys)
#elif PG_VERSION_NUM >= 170000
static Size
parallel_size(int nkeys, int norderbys)
#else
static Size
parallel_size(void)
#endif
{
	return rowan_index_parallel_size();
}

/* Fields of the routine table that not all majors have. */
static void
set_newer_fields(IndexAmRoutine *routine)
{
#if PG_VERSION_NUM >= 170000
	routine->amcanbuildparallel = true;
#endif
#if PG_VERSION_NUM >= 180000
	/* operators mean the same in all classes of a family, and core may ask which is which */
	routine->amconsistentequality = true;
	routine->amconsistentordering = true;
	routine->amtranslatestrategy = bttranslatestrategy;
	routine->amtranslatecmptype = bttranslatecmptype;
#endif
}

/* ---- the routine table ---- */

Datum
rowan_btree_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *routine = makeNode(IndexAmRoutine);

	rowan_require_preload();
	routine->amstrategies = BTMaxStrategyNumber;
	routine->amsupport = BTNProcs;
	routine->amoptsprocnum = BTOPTIONS_PROC;
	routine->amcanorder = true;
	routine->amcanbackward = true;
	routine->amcanunique = true;
	routine->amcanmulticol = true;
	routine->amoptionalkey = true;
	routine->amsearcharray = true;
	routine->amsearchnulls = true;
	routine->amclusterable = true;
	routine->ampredlocks = true;
	routine->amcanparallel = true;
	routine->amcaninclude = true;
	routine->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL |
		VACUUM_OPTION_PARALLEL_COND_CLEANUP;
	routine->amkeytype = InvalidOid;
	set_newer_fields(routine);

	routine->ambuild = rowan_index_build;
	routine->ambuildempty = rowan_index_build_empty;
	routine->aminsert = rowan_index_insert;
	routine->ambulkdelete = rowan_index_bulk_delete;
	routine->amvacuumcleanup = rowan_index_cleanup;
	routine->amcanreturn = can_return;
	routine->amcostestimate = rowan_index_cost;
	routine->amoptions = rowan_index_options;
	routine->amproperty = btproperty;
	routine->ambuildphasename = btbuildphasename;
	routine->amvalidate = opclass_validate;
	routine->ambeginscan = rowan_index_begin_scan;
	routine->amrescan = rowan_index_rescan;
	routine->amgettuple = rowan_index_get_tuple;
	routine->amgetbitmap = rowan_index_get_bitmap;
	routine->amendscan = rowan_index_end_scan;
	routine->ammarkpos = rowan_index_mark;
	routine->amrestrpos = rowan_index_restore;
	routine->amestimateparallelscan = parallel_size;
	routine->aminitparallelscan = rowan_index_parallel_init;
	routine->amparallelrescan = rowan_index_parallel_rescan;

	PG_RETURN_POINTER(routine);
}
