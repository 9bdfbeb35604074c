/*
 * bytes.h
 *	  Runs of bytes: comparing two from their ends, writing and reading them in a row, numbers that
 *	  take as few as they need.
 *
 * Pure; nothing outside the runs is read.
 */
#ifndef ROWAN_BASE_BYTES_H
#define ROWAN_BASE_BYTES_H

/* How many of the first `limit` bytes (none, if that is negative) are equal, from the front. */
static inline int
common_prefix(const char *a, const char *b, int limit)
{
	int			n = 0;

	while (n + 8 <= limit && memcmp(a + n, b + n, 8) == 0)
		n += 8;
	while (n < limit && a[n] == b[n])
		n++;
	return n;
}

/* How many of the last `limit` bytes before a_end and b_end are equal, from the back. */
static inline int
common_suffix(const char *a_end, const char *b_end, int limit)
{
	int			n = 0;

	while (n + 8 <= limit && memcmp(a_end - n - 8, b_end - n - 8, 8) == 0)
		n += 8;
	while (n < limit && a_end[-n - 1] == b_end[-n - 1])
		n++;
	return n;
}

/* Writing and reading things one after the other, without alignment; both return what is next. */
static inline char *
put_bytes(char *to, const void *bytes, Size size)
{
	memcpy(to, bytes, size);
	return to + size;
}

static inline const char *
take_bytes(const char *from, void *bytes, Size size)
{
	memcpy(bytes, from, size);
	return from + size;
}

/* The same of bytes that end at `end`: NULL if there are not so many, or from is NULL already. */
static inline const char *
take_within(const char *from, const char *end, void *bytes, Size size)
{
	if (from == NULL || (Size) (end - from) < size)
		return NULL;
	return take_bytes(from, bytes, size);
}

/*
 * Numbers: seven bits a byte, the lowest first; the last byte has no 0x80.  So a number below 128
 * takes one byte, below 16,384 two.
 */
#define NUMBER_MAX_BYTES	10

static inline char *
put_number(char *to, uint64 number)
{
	while (number >= 0x80)
	{
		*to++ = (char) (number | 0x80);
		number >>= 7;
	}
	*to++ = (char) number;
	return to;
}

/* A number of any length, `from` not being NULL. */
static inline const char *
take_long_number(const char *from, const char *end, uint64 *number)
{
	*number = 0;
	for (int shift = 0; from < end && shift < 7 * NUMBER_MAX_BYTES; shift += 7)
	{
		uint8		byte = (uint8) *from++;

		*number |= (uint64) (byte & 0x7F) << shift;
		if ((byte & 0x80) == 0)
			return from;
	}
	return NULL;
}

/* As take_within: NULL if the number does not end before `end`, too.  Most take one byte. */
static inline const char *
take_number(const char *from, const char *end, uint64 *number)
{
	if (likely(from != NULL && from < end && (*from & 0x80) == 0))
	{
		*number = (uint8) *from;
		return from + 1;
	}
	*number = 0;
	return from == NULL ? NULL : take_long_number(from, end, number);
}

/* NULL if it has more than 16 bits, too. */
static inline const char *
take_number_16(const char *from, const char *end, uint16 *number)
{
	uint64		n;

	from = take_number(from, end, &n);
	*number = (uint16) n;
	return n > PG_UINT16_MAX ? NULL : from;
}

/*
 * The longest run of one byte, repeated, as far as runs of 15 or more are concerned; shorter ones
 * may be missed.  Returns by how much it is longer than one byte; *at: where it begins.
 */
static inline int
longest_run(const char *bytes, int size, int *at)
{
	int			longest = 0;

	*at = 0;
	for (int i = 0; i + 8 <= size;)
	{
		uint64		word;
		int			first = i,
					end = i + 8;

		memcpy(&word, bytes + i, sizeof(word));
		if (likely(word != (word >> 8 | word << 56)))
		{
			i = end;
			continue;
		}
		while (first > 0 && bytes[first - 1] == bytes[i])
			first--;
		while (end < size && bytes[end] == bytes[i])
			end++;
		if (end - first - 1 > longest)
		{
			longest = end - first - 1;
			*at = first;
		}
		i = end;
	}
	return longest;
}

#endif							/* ROWAN_BASE_BYTES_H */
