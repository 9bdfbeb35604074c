/*
 * core.h
 *	  What majors of PostgreSQL have in different shapes, for stubs and tests without a server.
 */
#ifndef ROWAN_UNIT_CORE_H
#define ROWAN_UNIT_CORE_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type_d.h"
#include "common/relpath.h"
#include "storage/proc.h"

/* Of ExceptionalCondition(). */
#if PG_VERSION_NUM >= 160000
#define EXCEPTION_PARAMETERS \
	const char *conditionName, const char *fileName, int lineNumber
#else
#define EXCEPTION_PARAMETERS \
	const char *conditionName, const char *errorType, const char *fileName, int lineNumber
#endif

/* Bytes of a row type with so many columns. */
#if PG_VERSION_NUM >= 180000
#define TUPLE_DESC_SIZE(natts) \
	(offsetof(struct TupleDescData, compact_attrs) + \
	 (natts) * (sizeof(CompactAttribute) + sizeof(FormData_pg_attribute)))
#else
#define TUPLE_DESC_SIZE(natts) \
	(offsetof(struct TupleDescData, attrs) + (natts) * sizeof(FormData_pg_attribute))
#endif

/* After the column's length and alignment were set. */
static inline void
complete_column(TupleDesc desc, int column)
{
	Form_pg_attribute att = TupleDescAttr(desc, column);
#if PG_VERSION_NUM >= 180000
	CompactAttribute *compact = &desc->compact_attrs[column];

	compact->attcacheoff = -1;
	compact->attlen = att->attlen;
	compact->attbyval = att->attbyval;
	compact->attalignby = att->attalign == TYPALIGN_INT ? ALIGNOF_INT :
		att->attalign == TYPALIGN_DOUBLE ? ALIGNOF_DOUBLE :
		att->attalign == TYPALIGN_SHORT ? ALIGNOF_SHORT : 1;
#else
	att->attcacheoff = -1;
#endif
}

/* What GetRelationPath() returns. */
#if PG_VERSION_NUM >= 180000
#define RELATION_PATH			RelPathStr
#else
#define RELATION_PATH			char *
#endif

/* Of XLogRegisterBufData(). */
#if PG_VERSION_NUM >= 180000
#define BUF_DATA_PARAMETERS		uint8 block_id, const void *data, uint32 len
#elif PG_VERSION_NUM >= 160000
#define BUF_DATA_PARAMETERS		uint8 block_id, char *data, uint32 len
#else
#define BUF_DATA_PARAMETERS		uint8 block_id, char *data, int len
#endif

/* The number of this process. */
#if PG_VERSION_NUM >= 170000
#define DEFINE_MY_PROC_NUMBER	ProcNumber MyProcNumber = 0;
#define set_my_proc_number(n)	(MyProcNumber = (n))
#else
#define DEFINE_MY_PROC_NUMBER
#define set_my_proc_number(n)	(MyProc->pgprocno = (n))
#endif

#endif
