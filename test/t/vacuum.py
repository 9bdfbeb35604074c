#!/usr/bin/env python3
"""What VACUUM costs follows from what has changed: leaves with nothing to do are not read.

The visibility map says which those are.  What is left is done nevertheless: rows removed, counted,
relfrozenxid set.  And: VACUUM VERBOSE says what it says of a heap.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

ROWS = 100000


def visited(c, options=''):
    """(leaves visited, pages of the table before), as VACUUM says itself."""
    c.exec('VACUUM (VERBOSE%s) t' % options)
    text = '\n'.join(c.notices)
    found = re.findall(r'pages: (\d+) removed, (\d+) remain, (\d+) scanned', text)
    check(found, 'VACUUM VERBOSE says ' + text)
    removed, remain, scanned = (int(n) for n in found[-1])
    return scanned, removed + remain


def counted(c, rows):
    reltuples = float(c.one("SELECT reltuples FROM pg_class WHERE relname = 't'"))
    check(abs(reltuples - rows) <= rows * 0.02, 'reltuples is %s of %d rows' % (reltuples, rows))


def untouched(c):
    n, pages = visited(c)
    check(n <= pages // 100, '%d of %d leaves were read of an untouched table' % (n, pages))
    counted(c, ROWS)


def frozen(c):
    """relfrozenxid goes on though the table is not read."""
    for _ in range(30):
        c.exec('CREATE TEMP TABLE x (); DROP TABLE x')
    before = int(c.one("SELECT age(relfrozenxid) FROM pg_class WHERE relname = 't'"))
    n, pages = visited(c, ', FREEZE')
    after = int(c.one("SELECT age(relfrozenxid) FROM pg_class WHERE relname = 't'"))
    check(before >= 30 and after < 5, 'age(relfrozenxid) was %d and is %d' % (before, after))
    check(n <= pages // 100, '%d of %d leaves were read to freeze a frozen table' % (n, pages))


def few_changes(c):
    c.exec('UPDATE t SET v = v + 1 WHERE id %% 50 = 0 AND id <= %d' % (ROWS // 10))
    c.exec('DELETE FROM t WHERE id BETWEEN 70001 AND 70500')
    n, pages = visited(c, ', INDEX_CLEANUP on')
    check(pages // 12 <= n <= pages // 7, '%d of %d leaves were read' % (n, pages))
    counted(c, ROWS - 500)
    c.exec('SET enable_seqscan = off')
    check(c.one('SELECT count(*) FROM t WHERE id BETWEEN 70001 AND 70500') == '0', 'rows are back')
    c.exec('RESET enable_seqscan')
    check(c.one('SELECT count(*) FROM t') == str(ROWS - 500), 'rows are lost')
    n, pages = visited(c)
    check(n <= pages // 50, '%d of %d leaves still have work' % (n, pages))


def all_of_it(c):
    n, pages = visited(c, ', DISABLE_PAGE_SKIPPING')
    check(n >= pages * 0.95, 'only %d of %d leaves were read' % (n, pages))
    counted(c, ROWS - 500)


def words(c, am):
    """What VACUUM VERBOSE says at the end of such a table, line by line, with N for numbers."""
    c.exec('CREATE TABLE w (id int PRIMARY KEY, v int) USING %s; CREATE INDEX ON w (v); '
           'INSERT INTO w SELECT i, i FROM generate_series(1, 20000) i; '
           'DELETE FROM w WHERE id %% 4 = 0' % am)
    c.exec('SET track_io_timing = on')
    c.exec('VACUUM (VERBOSE, FREEZE) w')
    c.exec('DROP TABLE w')
    text = '\n'.join(n for n in c.notices if 'vacuuming "' in n and 'w"' in n)
    return [re.sub(r'-?\d+(\.\d+)?', 'N', line) for line in text.split('\n')]


def same_words(c):
    """What heap says, but what is not counted, and more."""
    heap, ours = words(c, 'heap'), words(c, AM)
    missing = [line for line in heap
               if line not in ours and not line.startswith(('frozen:', 'visibility map:'))]
    check(not missing, 'VACUUM does not say %s, but %s' % (missing, ours))
    check(len(heap) > 10 and any(line.startswith('versions:') for line in ours), str(ours))


def test(options):
    server = cluster.make('vacuum', conf={'autovacuum': 'off'})
    with server.connect() as c:
        c.exec("CREATE TABLE t (id int PRIMARY KEY, v int, s text) USING %s; INSERT INTO t "
               "SELECT i, 0, repeat('x', 100) FROM generate_series(1, %d) i" % (AM, ROWS))
        c.exec('VACUUM t')
        if ENGINE:
            untouched(c)
            frozen(c)
            few_changes(c)
            all_of_it(c)
            same_words(c)
        server.verify('t')
    server.stop()
    server.check_log()
    say('VACUUM reads what has changed')


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
