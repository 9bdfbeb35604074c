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

/* The columns of rowan.verify; 0.1.0 has the first two only. */
enum
{
	PROBLEM_BLOCK,
	PROBLEM_MESSAGE,
	PROBLEM_SEVERITY,
	PROBLEM_ADVICE,
	PROBLEM_COLUMNS
};

static void
put_problem(Problems *problems, BlockNumber block, const char *message, const char *severity,
			const char *advice)
{
	ReturnSetInfo *result = problems->result;
	Datum		values[1 + PROBLEM_COLUMNS];
	bool		isnull[1 + PROBLEM_COLUMNS] = {false};
	int			first = OidIsValid(problems->relation) ? 1 : 0;

	if (was_seen(problems, block, message))
		return;
	values[0] = ObjectIdGetDatum(problems->relation);
	values[first + PROBLEM_BLOCK] = Int64GetDatum(block);
	isnull[first + PROBLEM_BLOCK] = !BlockNumberIsValid(block);
	values[first + PROBLEM_MESSAGE] = CStringGetTextDatum(message);
	values[first + PROBLEM_SEVERITY] = CStringGetTextDatum(severity);
	values[first + PROBLEM_ADVICE] = CStringGetTextDatum(advice);
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* ---- what is to be done ---- */

#define ADVICE_REINDEX \
	"Rebuild the index: REINDEX INDEX, or rowan.repair()."
#define ADVICE_REPAIR \
	"No row is concerned, only space. rowan.repair() puts it right."
#define ADVICE_SALVAGE \
	"Restore the table from a backup, or copy what can be read into another table by rowan.salvage()."
#define ADVICE_COPY \
	"What can be read, rowan.salvage() copies into another table."
#define ADVICE_VERSION \
	"Only old snapshots, and a rollback that is not cleaned up yet, need it. End long transactions; rowan.salvage() copies the rows that are there."

typedef struct Meaning
{
	const char *part;			/* of the message */
	const char *severity;
	const char *advice;
} Meaning;

/* What is not named here is an error. */
static const Meaning meanings[] = {
	{"an older version of it is missing", "error", ADVICE_VERSION},
	{"neither in the tree nor in a list", "warning", ADVICE_REPAIR},
	{"free pages is wrong", "warning", ADVICE_REPAIR},
	{"on the free list is not free", "error", ADVICE_REPAIR},
	{"version pages is wrong", "warning", ADVICE_REPAIR},
	{"version list does not end", "warning", ADVICE_REPAIR},
	{"active version page", "warning", ADVICE_REPAIR}
};

static Meaning
meaning_of(const Problems *problems, const char *message)
{
	if (problems->is_index)
		return (Meaning) {message, "error", ADVICE_REINDEX};
	for (int i = 0; i < (int) lengthof(meanings); i++)
		if (strstr(message, meanings[i].part) != NULL)
			return meanings[i];
	return (Meaning) {message, "error", ADVICE_SALVAGE};
}

void
problem_report(Problems *problems, BlockNumber block, const char *message)
{
	Meaning		meaning = meaning_of(problems, message);

	put_problem(problems, block, message, meaning.severity, meaning.advice);
}

static const char *
with_hint(const char *hint, const char *advice)
{
	return hint != NULL ? psprintf("%s %s", hint, advice) : advice;
}

void
problem_report_damage(Problems *problems, BlockNumber block, const PoolDamage *damage)
{
	put_problem(problems, block, damage->message, "error",
				problems->is_index ? ADVICE_REINDEX : damage->hint == NULL ? ADVICE_SALVAGE :
				with_hint(damage->hint, ADVICE_COPY));
}

void
problem_report_table_damage(Problems *problems, const PoolDamage *damage)
{
	put_problem(problems, InvalidBlockNumber, damage->message, "error",
				with_hint(damage->hint, "Verify the table."));
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
