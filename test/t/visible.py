#!/usr/bin/env python3
"""The visibility map (I7): index-only scans, which trust it, answer as sequential scans do under the same snapshot,
while sessions change rows, roll back, and VACUUM sets bits; and after VACUUM they need no table at all.

    visible.py --seed 7 --seconds 30
"""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import actors
import cluster
import harness
from harness import AM, Failure, check, say

ROWS = 6000                     # over 20 logical blocks of row ids
EXPECTED_ERRORS = ('40001', '40P01', '23505', '55P03')
ANSWER = 'SELECT count(*), sum(k::bigint), sum(k::bigint * k), min(k), max(k) FROM t WHERE k >= 0'
INDEX_ONLY = 'SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexscan = on; SET enable_indexonlyscan = on'
SEQUENTIAL = 'SET enable_seqscan = on; SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off'


def statement(rng, fresh):
    some = rng.randint(1, ROWS)
    kind = rng.random()
    if kind < 0.25:
        return 'DELETE FROM t WHERE id BETWEEN %d AND %d' % (some, some + rng.choice((0, 3, 40)))
    if kind < 0.50:
        return "INSERT INTO t SELECT i, i %% 977, repeat('n', %d) FROM generate_series(%d, %d) i ON CONFLICT DO NOTHING" % (
            rng.randint(0, 60), some, some + rng.choice((0, 3, 40)))
    if kind < 0.65:
        return 'UPDATE t SET k = (k + 1) %% 977 WHERE id BETWEEN %d AND %d' % (some, some + rng.choice((0, 3)))
    if kind < 0.80:             # in place, growing: leaves split
        return "UPDATE t SET s = s || repeat('g', %d) WHERE id BETWEEN %d AND %d" % (rng.randint(0, 100), some, some + 5)
    if kind < 0.90:
        return "UPDATE t SET s = '' WHERE id BETWEEN %d AND %d" % (some, some + 20)
    return 'SELECT id FROM t WHERE id BETWEEN %d AND %d FOR UPDATE' % (some, some + 3)


class Writer(actors.Actor):
    def act(self):
        self.c.exec('BEGIN')
        for n in range(self.rng.randint(1, 4)):
            r = self.c.try_(statement(self.rng, n))
            if r.error:
                if r.error.sqlstate not in EXPECTED_ERRORS:
                    raise Failure(str(r.error))
                break
        self.c.exec(self.rng.choice(('COMMIT', 'COMMIT', 'ROLLBACK')))


class Reader(actors.Actor):
    """Keeps a snapshot for a while, and asks both ways."""
    def act(self):
        self.c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        for _ in range(self.rng.choice((1, 1, 5))):
            self.c.exec(INDEX_ONLY)
            by_index = self.c.rows(ANSWER)
            self.c.exec(SEQUENTIAL)
            by_table = self.c.rows(ANSWER)
            check(by_index == by_table, 'index-only scan says %s, sequential scan %s' % (by_index, by_table))
        self.c.exec('COMMIT')


class Cleaner(actors.Actor):
    def act(self):
        options = self.rng.choice(('', '', 'INDEX_CLEANUP on', 'INDEX_CLEANUP off', 'FREEZE'))
        self.c.exec('SET vacuum_cost_limit = 50')
        self.c.exec('SET vacuum_cost_delay = %d' % self.rng.choice((0, 0, 1)))
        self.c.exec('VACUUM %s t' % ('(%s)' % options if options else ''))
        time.sleep(self.rng.random() * 0.05)


def heap_fetches(c):
    c.exec(INDEX_ONLY)
    text = '\n'.join(r[0] for r in c.rows('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ' + ANSWER))
    check('Index Only Scan' in text, 'not an index-only scan: ' + text)
    return int(re.search(r'Heap Fetches: (\d+)', text).group(1))


def test(options):
    seconds = options.seconds or (60 if options.long else 6)
    server = cluster.make('visible', conf={'rowan.buffers': '4MB'} if AM == 'rowan' else {})
    c = server.connect()
    c.exec("CREATE TABLE t (id int PRIMARY KEY, k int, s text) USING %s; CREATE INDEX t_k ON t (k); "
           "INSERT INTO t SELECT i, i %% 977, 'x' FROM generate_series(1, %d) i" % (AM, ROWS))
    cluster.vacuum_all(c, 't')
    check(heap_fetches(c) == 0, 'after VACUUM the table is still needed')
    say(actors.finish(actors.start((Writer, Writer, Writer, Reader, Reader, Cleaner), server, options.seed, seconds)))
    c.exec('VACUUM (INDEX_CLEANUP on) t')
    check(heap_fetches(c) == 0, 'after the last VACUUM the table is still needed')
    by_index = c.rows(ANSWER)
    c.exec(SEQUENTIAL)
    check(c.rows(ANSWER) == by_index, 'the index does not say what the table says')
    server.verify('t')
    c.close()
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seconds', type=float, help='how long')
    harness.main(test, parser)
