/*
 * bytes.h
 *	  Comparing two runs of bytes from their ends.
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

#endif							/* ROWAN_BASE_BYTES_H */
