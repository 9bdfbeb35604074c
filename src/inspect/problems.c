/*
 * problems.c
 *	  What rowan.verify() finds, as rows of its result; and what it refuses to look at.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "inspect/problems.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

/* ---- found ---- */

typedef struct SeenProblem
{
	uint64		hash;			/* of block and message */
} SeenProblem;

/* A page that changes is looked at more than once. */
static bool
was_seen(Problems *problems, BlockNumber block, const char *message)
{
	SeenProblem key = {
		.hash = hash_bytes_extended((const unsigned char *) message, strlen(message), block)
	};
	bool		found;

	if (problems->seen == NULL)
	{
		HASHCTL		ctl = {
			.keysize = sizeof(uint64),
			.entrysize = sizeof(SeenProblem),
			.hcxt = CurrentMemoryContext
		};

		problems->seen = hash_create("rowan problems", 256, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	(void) hash_search(problems->seen, &key, HASH_ENTER, &found);
	return found;
}

void
problem_report(Problems *problems, BlockNumber block, const char *message)
{
	ReturnSetInfo *result = problems->result;
	Datum		values[2];
	bool		isnull[2] = {!BlockNumberIsValid(block), false};

	if (was_seen(problems, block, message))
		return;
	values[0] = Int64GetDatum(block);
	values[1] = CStringGetTextDatum(message);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* ---- refused ---- */

/* Relations that have a file and belong to another access method. */
static bool
has_other_method(Relation rel)
{
	char		relkind = rel->rd_rel->relkind;

	return OidIsValid(rel->rd_rel->relam) &&
		(RELKIND_HAS_TABLE_AM(relkind) || relkind == RELKIND_INDEX);
}

void
verify_refuse(Relation rel, const char *expected)
{
	char		relkind = rel->rd_rel->relkind;
	bool		other_method = has_other_method(rel);
	bool		partitioned = RELKIND_HAS_PARTITIONS(relkind);

	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not %s", RelationGetRelationName(rel), expected),
			 other_method ?
			 errdetail("Its access method is %s.", get_am_name(rel->rd_rel->relam)) :
			 errdetail_relkind_not_supported(relkind),
			 partitioned ? errhint("Verify its partitions, one by one.") :
			 !other_method ? 0 :
			 errhint("The extension amcheck verifies heap tables (verify_heapam) and btree indexes (bt_index_check).")));
	pg_unreachable();
}

void
verify_check_access(Relation rel)
{
	if (RELATION_IS_OTHER_TEMP(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary tables of other sessions")));
}

bool
verify_is_absent(Relation rel)
{
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT || !RecoveryInProgress())
		return false;
	ereport(NOTICE,
			(errmsg("cannot verify unlogged relation \"%s\" during recovery, skipping",
					RelationGetRelationName(rel))));
	return true;
}
