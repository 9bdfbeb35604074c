/*
 * test_bytes.c
 *	  Runs of bytes: numbers that take as few bytes as they need, and bytes that are repeated.
 */
#include "tap.h"

#include "base/bytes.h"

#define ROUNDS	200000
#define ROOM	256

static void
test_numbers(void)
{
	char		room[NUMBER_MAX_BYTES];
	bool		same = true;

	for (int i = 0; i < ROUNDS; i++)
	{
		uint64		number = test_random() >> test_below(64);
		uint64		back;
		char	   *end = put_number(room, number);

		same = same && take_number(room, end, &back) == end && back == number &&
			take_number(room, end - 1, &back) == NULL &&
			(end - room == 1) == (number < 128) && (end - room <= 2) == (number < 16384);
	}
	tap_ok(same, "numbers come back, and take as few bytes as they can");
	tap_ok(put_number(room, PG_UINT64_MAX) == room + NUMBER_MAX_BYTES, "the largest one fits");
}

static void
test_bad_number(void)
{
	char		room[NUMBER_MAX_BYTES + 4];
	uint64		number;

	memset(room, 0xFF, sizeof(room));
	tap_ok(take_number(room, room + sizeof(room), &number) == NULL, "a number has an end");
}

/* How much longer than one byte the longest run is, found the slow way. */
static int
true_longest(const char *bytes, int size)
{
	int			longest = 0;

	for (int first = 0; first < size; first++)
	{
		int			end = first;

		while (end < size && bytes[end] == bytes[first])
			end++;
		longest = Max(longest, end - first - 1);
	}
	return longest;
}

static bool
is_run(const char *bytes, int size, int at, int repeated)
{
	if (at < 0 || at + repeated >= Max(size, 1))
		return false;
	for (int i = 1; i <= repeated; i++)
		if (bytes[at + i] != bytes[at])
			return false;
	return true;
}

/* Of each size, in bytes that are their own allocation: whoever reads too much is found out. */
static void
test_runs(void)
{
	bool		runs = true,
				longest = true;

	for (int i = 0; i < ROUNDS; i++)
	{
		int			size = test_below(ROOM);
		char	   *bytes = malloc(Max(size, 1));
		int			at,
					repeated,
					expected;

		for (int k = 0; k < size; k++)
			bytes[k] = (char) test_below(2);
		for (int n = test_below(4); n > 0 && size > 0; n--)
		{
			int			from = test_below(size);

			memset(bytes + from, (int) test_below(3), test_below(size - from + 1));
		}
		repeated = longest_run(bytes, size, &at);
		expected = true_longest(bytes, size);
		runs = runs && (repeated == 0 || is_run(bytes, size, at, repeated));
		longest = longest && (repeated == expected || (repeated < expected && expected < 14));
		free(bytes);
	}
	tap_ok(runs, "what is found is a run");
	tap_ok(longest, "and the longest, if that has 15 bytes or more");
}

int
main(void)
{
	test_seed(1);
	test_numbers();
	test_bad_number();
	test_runs();
	return tap_end();
}
