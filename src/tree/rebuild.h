/*
 * rebuild.h
 *	  Making the lists of a table's file anew: free pages, and what the header says of versions.
 */
#ifndef ROWAN_TREE_REBUILD_H
#define ROWAN_TREE_REBUILD_H

#include "tree/tree.h"

typedef enum RebuildResult
{
	REBUILD_NOT_NEEDED,			/* nothing is wrong with the file */
	REBUILD_DONE,
	REBUILD_NO_HEADER,			/* it cannot be read */
	REBUILD_TREE_BROKEN,		/* leaves are missing: any page may be one of them */
	REBUILD_VERSIONS_BROKEN		/* the same of version pages */
} RebuildResult;

/*
 * Every page that neither the tree nor the version list has becomes free, whatever is on it.  Done
 * only if the tree is whole.  AccessExclusiveLock; several records, after each of which the file is
 * sound, but for pages that nobody has.
 */
extern RebuildResult tree_rebuild_lists(const PoolFile *file, uint32 *nfree);

#endif							/* ROWAN_TREE_REBUILD_H */
