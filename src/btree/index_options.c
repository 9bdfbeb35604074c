/*
 * index_options.c
 *	  Storage parameters of rowan_btree indexes: btree's, and one that marks keys.
 *
 * A PRIMARY KEY or UNIQUE constraint has no clause for its index's access method.  What says it is
 * a storage parameter, which pg_dump prints and btree rejects: see core/key_method.c.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/reloptions.h"
#include "btree/btree.h"
#include "btree/opclass.h"

typedef struct IndexOptions
{
	BTOptions	btree;			/* must be first */
	bool		key_marker;
} IndexOptions;

static relopt_kind options_kind;

void
index_options_define(void)
{
	options_kind = add_reloption_kind();
	add_int_reloption(options_kind, "fillfactor", "Packs index pages only to this percentage",
					  BTREE_DEFAULT_FILLFACTOR, BTREE_MIN_FILLFACTOR, 100,
					  ShareUpdateExclusiveLock);
	add_real_reloption(options_kind, "vacuum_cleanup_index_scale_factor",
					   "Accepted, as of btree indexes, without effect", -1, 0, 1e10,
					   ShareUpdateExclusiveLock);
	add_bool_reloption(options_kind, "deduplicate_items",
					   "Joins entries with equal keys", true, ShareUpdateExclusiveLock);
	add_bool_reloption(options_kind, KEY_MARKER,
					   "Marks the index of a PRIMARY KEY or UNIQUE constraint as one of rowan_btree",
					   false, AccessExclusiveLock);
}

#define OPTION(name, type, field) \
	{.optname = (name), .opttype = RELOPT_TYPE_##type, .offset = offsetof(IndexOptions, field)}

bytea *
rowan_index_options(Datum options, bool validate)
{
	static const relopt_parse_elt known[] = {
		OPTION("fillfactor", INT, btree.fillfactor),
		OPTION("vacuum_cleanup_index_scale_factor", REAL,
			   btree.vacuum_cleanup_index_scale_factor),
		OPTION("deduplicate_items", BOOL, btree.deduplicate_items),
		OPTION(KEY_MARKER, BOOL, key_marker)
	};

	return build_reloptions(options, validate, options_kind, sizeof(IndexOptions), known,
							lengthof(known));
}

int
index_fillfactor(Relation index)
{
	return index->rd_options == NULL ? BTREE_DEFAULT_FILLFACTOR :
		((IndexOptions *) index->rd_options)->btree.fillfactor;
}

bool
index_may_deduplicate(Relation index)
{
	return index->rd_options == NULL ||
		((IndexOptions *) index->rd_options)->btree.deduplicate_items;
}
