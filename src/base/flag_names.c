/*
 * flag_names.c
 *	  What users are shown for bits of flags, types of pages and kinds of version records.
 *
 * Relies on: the numbers in base/format.h.
 */
#include "postgres.h"

#include "base/flag_names.h"
#include "base/format.h"

#define ROW_FLAG_NAMES(of_0x400) \
	{ROW_XID, "xid"}, \
	{ROW_CID, "cid"}, \
	{ROW_VERSION, "version"}, \
	{ROW_LOCK, "lock"}, \
	{ROW_FORWARD, "forward"}, \
	{ROW_NATTS, "natts"}, \
	{ROW_NULLS, "nulls"}, \
	{ROW_ALIGNED, "aligned"}, \
	{ROW_PAGE_XID, "page_xid"}, \
	{ROW_DELETED, "deleted"}, \
	{ROW_SPECULATIVE, of_0x400}, \
	{ROW_EXTERNAL, "external"}, \
	{0, NULL}

const FlagName row_flag_names[] = {ROW_FLAG_NAMES("speculative")};
const FlagName deleted_row_flag_names[] = {ROW_FLAG_NAMES("key_kept")};

const FlagName page_flag_names[] = {
	{PAGE_UNIFORM, "uniform"},
	{PAGE_LOCKS, "locks"},
	{PAGE_VISIBLE_BITS, "visible_bits"},
	{PAGE_STUBS, "stubs"},
	{0, NULL}
};

const char *
page_type_name(uint8 type)
{
#define NAME_OF_TYPE(symbol, number, name, has_slots) case ROWAN_PAGE_##symbol: return name;
	switch ((RowanPageType) type)
	{
			ROWAN_PAGE_TYPES(NAME_OF_TYPE)
	}
	return "unknown";
}

const char *
version_kind_name(uint16 kind)
{
	switch ((VersionKind) kind)
	{
		case VERSION_SAME_DATA:
			return "same_data";
		case VERSION_DELTA:
			return "delta";
		case VERSION_FULL:
			return "full";
	}
	return "unknown";
}
