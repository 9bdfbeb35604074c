/*
 * logical.h
 *	  What a record says to logical decoding, besides what redo needs: the logical part.
 *
 * Decoding has no catalog at hand, but must queue rows in heap's form; so a record describes the
 * columns of its row.  An operation is given a description of the change (RowLogical), and adds it
 * to the record that makes the change, whichever that is:
 *
 *	wal_begin();
 *	logical_log(logical, kept, map_clear_log(...));
 *	...
 *
 * What it then has: pool/wal.h.
 */
#ifndef ROWAN_ROW_LOGICAL_H
#define ROWAN_ROW_LOGICAL_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "base/bytes.h"
#include "pool/wal.h"

/* ---- writing ---- */

/* A change, as it is told.  Lives until the record is inserted. */
typedef struct RowLogical
{
	uint8		mark;			/* the last byte */
	uint16		natts;			/* LOGICAL_ROW */
	char		numbers[2 * NUMBER_MAX_BYTES];	/* as they are logged */
	char	   *columns;		/* their descriptions */
	Size		columns_size;
	char	   *old;			/* LOGICAL_OLD */
	Size		old_size;
} RowLogical;

/* Data of a row that a REPLACE does not repeat, before and behind those that it has. */
typedef struct LogicalKept
{
	const char *prefix;
	const char *suffix;
	uint16		prefix_size;
	uint16		suffix_size;
} LogicalKept;

extern void logical_init(RowLogical *logical, uint8 action);

/* The change has a new row, or more of them; palloc'd. */
extern void logical_set_columns(RowLogical *logical, TupleDesc desc);

/*
 * What is to be known of the old row: a heap tuple without values out of line; palloc'd.  Refused
 * (ERROR) if a record has no room for it, which nobody would notice before the change is made.
 */
extern void logical_set_old(RowLogical *logical, HeapTuple old);

/*
 * Adds the logical part to the record: right behind wal_begin, and what map_clear_log returned.
 * logical NULL: there is none.  kept: of a REPLACE's new row; else NULL.
 */
extern void logical_log(RowLogical *logical, const LogicalKept *kept, uint8 clears);

/* ---- reading ---- */

typedef struct LogicalPart
{
	uint8		action;
	bool		last;
	const char *columns;		/* LOGICAL_ROW: descriptions; else NULL */
	Size		columns_size;
	uint16		natts;
	const char *kept;			/* of a REPLACE */
	uint16		kept_size;
	const char *old;			/* LOGICAL_OLD; else NULL */
	Size		old_size;
} LogicalPart;

/* False: the record has no logical part.  The pointers lead into the record. */
extern bool logical_read(XLogReaderState *record, LogicalPart *part);

/* What it says, in a word; NULL: nothing. */
extern const char *logical_action(XLogReaderState *record);

/* The logical part, if there is one, in words (RowanRecordOps). */
extern bool logical_describe(StringInfo buf, XLogReaderState *record);

/* A description of the columns, as far as codes tell; in the current memory context. */
extern TupleDesc logical_make_desc(const char *columns, Size size, int natts);

#endif							/* ROWAN_ROW_LOGICAL_H */
