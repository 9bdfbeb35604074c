/*
 * bytes.h
 *	  Runs of bytes: comparing two from their ends, writing and reading them in a row.
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

/* Numbers below 256 in one byte, if all of them are so small. */
static inline char *
put_number(char *to, uint16 number, bool wide)
{
	uint8		low = (uint8) number;

	return wide ? put_bytes(to, &number, sizeof(number)) : put_bytes(to, &low, sizeof(low));
}

static inline const char *
take_number(const char *from, uint16 *number, bool wide)
{
	uint8		low;

	if (wide)
		return take_bytes(from, number, sizeof(*number));
	from = take_bytes(from, &low, sizeof(low));
	*number = low;
	return from;
}

/* The same of bytes that end at `end`, as take_within. */
static inline const char *
take_number_within(const char *from, const char *end, uint16 *number, bool wide)
{
	if (from == NULL || end - from < (wide ? 2 : 1))
		return NULL;
	return take_number(from, number, wide);
}

#endif							/* ROWAN_BASE_BYTES_H */
