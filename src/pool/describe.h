/*
 * describe.h
 *	  What is in a record, in words: for pg_walinspect, rowan.wal_records, and messages of recovery.
 *
 * In the style of core's descriptions, "name: value, name: value".  Each kind describes its own,
 * beside its redo, by the functions that redo reads it with (RowanRecordOps); none raises an error.
 */
#ifndef ROWAN_POOL_DESCRIBE_H
#define ROWAN_POOL_DESCRIBE_H

#include "base/flag_names.h"
#include "pool/wal.h"

/* Adds what a printf makes, behind a comma if there is something before it. */
extern void describe(StringInfo buf, const char *format,...) pg_attribute_printf(2, 3);

/* Adds "name: [flag, flag]"; bits that nobody knows as a number. */
extern void describe_flags(StringInfo buf, const char *name, uint16 flags, const FlagName *names);

/* The same of a row's header. */
extern void describe_row(StringInfo buf, uint16 flags);

/* Parts of parts: what is added in between is in braces. */
extern void describe_begin(StringInfo buf, const char *name);
extern void describe_end(StringInfo buf);

/* All of a record: what rm_desc answers. */
extern void wal_describe(StringInfo buf, XLogReaderState *record);

/* What a record has for a block reference; and what that page is to it. */
extern void wal_describe_part(StringInfo buf, XLogReaderState *record, uint8 block_id);
extern const char *wal_part_name(XLogReaderState *record, uint8 block_id);

/* Bytes of the image, and the data, that come with a block reference. */
extern uint32 wal_image_length(XLogReaderState *record, uint8 block_id);
extern uint32 wal_block_data_length(XLogReaderState *record, uint8 block_id);

/* The first `size` bytes of main data; false: there are fewer. */
extern bool wal_take_main_data(XLogReaderState *record, void *data, Size size);

#endif							/* ROWAN_POOL_DESCRIBE_H */
