/*
 * posting.h
 *	  Bytes of posting lists, as cells have them.
 *
 * Private to src/entry.  Pure functions; reading checks every length against the end.
 */
#ifndef ROWAN_ENTRY_POSTING_H
#define ROWAN_ENTRY_POSTING_H

#include "entry/entry.h"

/* ---- numbers of variable length ---- */

static inline int
varint_size(uint64 value)
{
	int			size = 1;

	while (value >= 0x80)
	{
		value >>= 7;
		size++;
	}
	return size;
}

static inline char *
varint_put(char *to, uint64 value)
{
	while (value >= 0x80)
	{
		*to++ = (char) (value | 0x80);
		value >>= 7;
	}
	*to++ = (char) value;
	return to;
}

/* NULL: there is none before `end`. */
static pg_attribute_always_inline const char *
varint_get(const char *from, const char *end, uint64 *value)
{
	if (from < end && (*from & 0x80) == 0)
	{
		*value = (uint8) *from;
		return from + 1;
	}
	*value = 0;
	for (int shift = 0; from < end && shift < 63; shift += 7)
	{
		uint8		byte = (uint8) *from++;

		*value |= (uint64) (byte & 0x7F) << shift;
		if ((byte & 0x80) == 0)
			return from;
	}
	return NULL;
}

/* ---- TIDs ---- */

/*
 * As ItemPointerSet, in two stores as whoever copies a TID loads it: a load of parts stored one by
 * one has to wait for them.
 */
static inline void
entry_set_tid(ItemPointer tid, BlockNumber block, OffsetNumber offset)
{
#ifdef WORDS_BIGENDIAN
	uint32		halves = block;
#else
	uint32		halves = block >> 16 | block << 16;
#endif

	memcpy(&tid->ip_blkid, &halves, sizeof(halves));
	tid->ip_posid = offset;
}

/* Reads the next TID; NULL: bytes make no sense. */
static pg_attribute_always_inline const char *
posting_get(const char *from, const char *end, BlockNumber *block, OffsetNumber *offset)
{
	uint64		value;

	from = varint_get(from, end, &value);
	if (from == NULL)
		return NULL;
	if ((value & 1) == 0)
	{
		*offset += value >> 1;
		return from;
	}
	*block += value >> 1;
	from = varint_get(from, end, &value);
	*offset = value;
	return from;
}

/* Bytes that the TIDs take as a list; writing that; returns its end. */
extern int	posting_list_size(const ItemPointerData *tids, int ntids);
extern char *posting_put_list(char *to, const ItemPointerData *tids, int ntids);

#endif							/* ROWAN_ENTRY_POSTING_H */
