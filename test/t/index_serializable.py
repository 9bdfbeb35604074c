#!/usr/bin/env python3
"""SERIALIZABLE on rowan_btree indexes: no conflict is missed while leaves are split and merged.

Sessions count the rows of a range through an index, and insert one only if there are few: more than the limit would be
there only if two had counted at the same time and neither noticed the other.  Keys are long, so that a leaf holds some nine, and
ranges move from leaf to leaf all the time.

On heap tables and on tables of the engine.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

METHOD = harness.env('ROWAN_TEST_INDEX_AM') or ('rowan_btree' if ENGINE else 'btree')
LIMIT, WIDTH = 3, 10

SETUP = """
DROP TABLE IF EXISTS booked;
CREATE TABLE booked (k text COLLATE "C", range int, who int) USING {am} WITH (autovacuum_enabled = off);
CREATE INDEX booked_k ON booked USING {m} (k);
CREATE OR REPLACE FUNCTION long_key(int) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT to_char($1, 'FM0000000') || string_agg(md5(($1 * 100 + i)::text), '') FROM generate_series(1, 22) i $$;
"""
# ways to count: the plan, the query
WAYS = [
    ('enable_seqscan = off; SET LOCAL enable_bitmapscan = off', 'SELECT count(*) FROM booked WHERE k >= {low} AND k < {high}'),
    ('enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off', 'SELECT count(who) FROM booked WHERE k >= {low} AND k < {high}'),
    ('enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off', 'SELECT count(who) FROM booked WHERE k >= {low} AND k < {high}'),
    ('enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off',
     'SELECT count(*) FROM (SELECT k FROM booked WHERE k >= {low} AND k < {high} ORDER BY k DESC LIMIT %d) q' % LIMIT),
    ('enable_seqscan = off; SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_index_scan_size = 0; SET LOCAL min_parallel_table_scan_size = 0',
     'SELECT count(who) FROM booked WHERE k >= {low} AND k < {high}'),
]


class Booker(threading.Thread):
    def __init__(self, server, seed, number, end, ranges):
        super().__init__(daemon=True)
        self.server, self.rnd, self.number, self.end, self.ranges = server, random.Random(seed * 100 + number), number, end, ranges
        self.trouble, self.booked, self.refused, self.failed = None, 0, 0, 0

    def run(self):
        try:
            with self.server.connect(options='-c deadlock_timeout=100ms -c default_transaction_isolation=serializable') as c:
                while time.time() < self.end:
                    self.turn(c)
        except Exception as e:
            self.trouble = '%s: %s' % (type(e).__name__, e)

    def turn(self, c):
        # the same few ranges at a time for all of them
        r = self.rnd.randrange(3) + int(time.time() * 4) * 3 % self.ranges
        low, high = ("'%07d'" % (x * WIDTH) for x in (r, r + 1))
        setting, query = self.rnd.choice(WAYS)
        result = c.try_('BEGIN; SET LOCAL %s; %s' % (setting, query.format(low=low, high=high)))
        if not result.error:
            if self.rnd.random() < 0.7:
                time.sleep(self.rnd.random() * 0.02)
            if int(result.rows[0][0]) < LIMIT:
                result = c.try_('INSERT INTO booked VALUES (long_key(%d), %d, %d)' % (r * WIDTH + self.rnd.randrange(WIDTH), r, self.number))
                self.booked += 1
            else:
                self.refused += 1
                if self.rnd.random() < 0.5:
                    result = c.try_('DELETE FROM booked WHERE k >= %s AND k < %s' % (low, high))
        if not result.error:
            result = c.try_('COMMIT')
        if result.error:
            if result.error.sqlstate not in ('40001', '40P01'):
                raise result.error
            self.failed += 1
            c.try_('ROLLBACK')


class Stirrer(threading.Thread):
    """Not serializable: splits leaves with rows between the ranges' (that count nowhere), deletes them, and has leaves merged."""

    def __init__(self, server, seed, end, ranges):
        super().__init__(daemon=True)
        self.server, self.rnd, self.end, self.ranges, self.trouble, self.rounds = server, random.Random(seed), end, ranges, None, 0

    def run(self):
        try:
            with self.server.connect() as c:
                while time.time() < self.end:
                    r = int(time.time() * 4) * 3 % self.ranges
                    for i in range(self.rnd.choice([1, 3, 10])):
                        x = (r + i % 4) * WIDTH
                        c.exec("INSERT INTO booked SELECT '%07d' || substr(long_key(i), 8), -1, -1 FROM generate_series(1, 5) i" % (x - 1))
                        c.exec("INSERT INTO booked SELECT to_char(%d + i, 'FM0000000') || 'x' || substr(long_key(i), 8), -1, -1 FROM generate_series(0, 9) i" % x)
                        # they count only until they are gone again, and must not keep others from booking
                        c.exec('DELETE FROM booked WHERE who = -1')
                    if self.rnd.random() < 0.5:
                        c.exec('VACUUM (TRUNCATE off, INDEX_CLEANUP on) booked')
                    self.rounds += 1
        except Exception as e:
            self.trouble = '%s: %s' % (type(e).__name__, e)


def run(server, table_am, seed, options):
    server.sql(SETUP.format(am=table_am, m=METHOD))
    server.sql('INSERT INTO booked SELECT long_key(i * %d), i, 0 FROM generate_series(0, %d) i' % (WIDTH, options.ranges))
    end = time.time() + options.seconds
    bookers = [Booker(server, seed, i, end, options.ranges) for i in range(6)]
    threads = bookers + [Stirrer(server, seed, end, options.ranges)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(options.seconds + 120)
        check(not t.is_alive(), 'a session hangs')
    for t in threads:
        check(t.trouble is None, 'seed %d, %s: %s' % (seed, table_am, t.trouble))
    over = server.sql('SELECT range, count(*), array_agg(who) FROM booked WHERE range >= 0 GROUP BY range HAVING count(*) > %d ORDER BY 1' % LIMIT)
    check(not over, 'seed %d, %s: ranges with more than %d rows: %s' % (seed, table_am, LIMIT, over[:5]))
    server.verify_indexes('booked')
    say('seed %d, %s: %d booked, %d times full, %d serialization failures, %d rounds of splitting and merging' % (
        seed, table_am, sum(b.booked for b in bookers), sum(b.refused for b in bookers), sum(b.failed for b in bookers), threads[-1].rounds))


def test(options):
    small = {'rowan.buffers': '2MB'} if ENGINE else {}
    server = cluster.make('index-serializable', conf=dict(small, max_parallel_workers_per_gather='2', jit='off'))
    for seed in range(options.seed, options.seed + options.seeds):
        for table_am in sorted({'heap', AM}):
            run(server, table_am, seed, options)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seeds', type=int)
    parser.add_argument('--seconds', type=int)
    parser.add_argument('--ranges', type=int, default=60)
    argv = parser.parse_args()
    parser.set_defaults(seeds=5 if argv.long else 1, seconds=60 if argv.long else 6)
    harness.main(test, parser)
