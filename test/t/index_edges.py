#!/usr/bin/env python3
"""rowan_btree: states of a page that random tests hardly meet.

full_list   an entry for a list of TIDs of the largest size, on a leaf with room for the entry but not for the two lists that come of it
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, say

METHOD = 'rowan_btree' if ENGINE else 'btree'
TEXT = "(SELECT string_agg(chr(40 + (random() * 80)::int), '') FROM generate_series(1, %d))"


def full_list(server, longest, widths):
    """Many indexes on one table; each has another width of one key, so that some leaf is just so full when its list is."""
    with server.connect() as c:
        c.exec("SET statement_timeout = '60s'")     # an insertion went round for ever
        c.exec('CREATE TABLE full_list (n int, k text) USING heap')
        c.exec("INSERT INTO full_list SELECT i, 'A' FROM generate_series(1, 2400) i")
        c.exec('DELETE FROM full_list WHERE n % 8 <> 0')
        c.exec('VACUUM full_list')
        for width in widths:
            c.exec("CREATE INDEX ON full_list USING %s ((CASE WHEN k LIKE 'D%%' THEN left(k, %d) ELSE k END))" % (METHOD, width))
        # between the TIDs that are there
        c.exec("INSERT INTO full_list SELECT 0, 'A' FROM generate_series(1, 850)")
        for first in 'BCD':
            c.exec("INSERT INTO full_list SELECT 1, '%s' || %s" % (first, TEXT % longest))
        for _ in range(16):
            c.exec("INSERT INTO full_list SELECT 0, 'A' FROM generate_series(1, 30)")
    server.verify_indexes('full_list')
    say('%d leaves with a full list' % len(widths))


def test(options):
    server = cluster.make('index-edges')
    step = 2 if options.long else 4
    full_list(server, 2500, range(1480 if not options.long else 900, 1760 if not options.long else 2400, step))
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
