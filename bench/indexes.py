#!/usr/bin/env python3
"""rowan_btree against btree: build, size, insertion, lookups, ranges, index-only scans.

A server of its own; both methods in turn in every repeat, on tables of their own with the same rows, in heap.  Times are
CPU seconds of the backend (/proc/PID/schedstat): the machine may be shared.

    bench/indexes.py --rows 1000000 --reps 5        --quick: to see that everything runs
"""
import argparse
import os
import random
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'test', 'lib'))
import cluster
import harness
from harness import say

METHODS = ['btree', 'rowan_btree']
# name: (columns, key, row i of n, condition for the key of row i, range from row i)
KEYS = {
    'int8': ('k bigint', 'k', '{i}::bigint', 'k = {i}', 'k >= {i} ORDER BY k'),
    'uuid': ('k uuid', 'k', 'md5(({i})::text)::uuid', "k = md5('{i}')::uuid", "k >= md5('{i}')::uuid ORDER BY k"),
    'url': ('k text COLLATE "C"', 'k', "'https://www.example.org/shop/catalogue/department-' || ({i}) % 97 || '/item/' || lpad(({i})::text, 9, '0') || '.html'",
            "k = 'https://www.example.org/shop/catalogue/department-' || {i} % 97 || '/item/' || lpad('{i}', 9, '0') || '.html'",
            "k >= 'https://www.example.org/shop/catalogue/department-' || {i} % 97 || '/item/' || lpad('{i}', 9, '0') ORDER BY k"),
    'two': ('a int, b int', 'a, b', '(({i}) % 1000)::int, ({i})::int', 'a = {i} % 1000 AND b = {i}', 'a = {i} % 1000 AND b >= 0 ORDER BY a, b'),
    'low': ('k int', 'k', '(({i}) % 100)::int', 'k = {i} % 100 LIMIT 1', 'k = {i} % 100'),
}
FORCE = ('SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off; '
         'SET max_parallel_workers_per_gather = 0; SET max_parallel_maintenance_workers = 0; '
         'SET synchronous_commit = off')


class Bench:
    def __init__(self, server, options):
        self.server, self.n, self.reps, self.lookups = server, options.rows, options.reps, options.lookups
        self.values = {}

    def record(self, key, what, method, value):
        self.values.setdefault((key, what), {}).setdefault(method, []).append(value)

    def cpu(self, c):
        return int(open('/proc/%d/schedstat' % c.pid).read().split()[0]) / 1e9

    def timed(self, c, key, what, method, sql, scale=1.0):
        start = self.cpu(c)
        c.exec(sql)
        self.record(key, what, method, (self.cpu(c) - start) * scale)

    def run(self, key, rep):
        for method in METHODS if rep % 2 else METHODS[::-1]:
            with self.server.connect() as c:
                c.exec(FORCE)
                self.one(c, key, method, random.Random(rep))

    def one(self, c, key, method, rnd):
        columns, index_key, row, point, span = KEYS[key]
        t = 'b_' + key
        shuffled = 'SELECT i FROM generate_series(1, %d) i ORDER BY hashint4(i::int + 7)' % self.n
        c.exec('DROP TABLE IF EXISTS %s; CREATE TABLE %s (id int, %s)' % (t, t, columns))
        c.exec('INSERT INTO %s SELECT i, %s FROM (%s) q' % (t, row.format(i='i'), shuffled))
        c.exec('CHECKPOINT')
        self.timed(c, key, 'build, s', method, 'CREATE INDEX %s_x ON %s USING %s (%s)' % (t, t, method, index_key))
        self.record(key, 'size after build, MB', method, self.size(c, method, t))
        c.exec('VACUUM ANALYZE ' + t)
        self.reads(c, key, method, t, point, span, rnd)
        for order, source in (('random', shuffled), ('ascending', 'SELECT generate_series(1, %d) i' % self.n)):
            c.exec('TRUNCATE ' + t)
            self.timed(c, key, 'insert, %s, us' % order, method, 'INSERT INTO %s SELECT i, %s FROM (%s) q' % (t, row.format(i='i'), source), 1e6 / self.n)
            self.record(key, 'size after %s insertion, MB' % order, method, self.size(c, method, t))
        c.exec('DROP TABLE ' + t)

    def reads(self, c, key, method, t, point, span, rnd):
        """Loops inside the server: nothing but the index differs.  Columns are counted, or the planner leaves them out, and with them the table."""
        points = '1 + (hashint8extended(g, %d) & 4611686018427387903) %% %d' % (rnd.randrange(1000), self.n)

        def lateral(select, count):
            return 'SELECT count(q.x) FROM (SELECT (%s)::int AS i FROM generate_series(1, %d) g) p, LATERAL (%s) q' % (points, count, select)

        def outer(condition):
            return condition.replace("'{i}'", 'p.i::text').replace('{i}', 'p.i')
        self.timed(c, key, 'point lookup, us', method, lateral('SELECT id AS x FROM %s WHERE %s LIMIT 1' % (t, outer(point).replace(' LIMIT 1', '')), self.lookups), 1e6 / self.lookups)
        index_key = KEYS[key][1]
        ranges = max(1, self.lookups // 50)
        for what, column in (('range of 100 rows, us', 'id'), ('range of 100 rows by index alone, us', index_key.split(',')[0])):
            inner = 'SELECT count(s.x) AS x FROM (SELECT %s AS x FROM %s WHERE %s LIMIT 100) s' % (column, t, outer(span))
            self.timed(c, key, what, method, lateral(inner, ranges), 1e6 / ranges)
        self.timed(c, key, 'whole index alone, ms', method, 'SELECT count(%s) FROM (SELECT %s FROM %s ORDER BY %s OFFSET 0) q' % (
            index_key.split(',')[0], index_key, t, index_key), 1e3)

    def size(self, c, method, t):
        """Pages in use: files are extended in advance."""
        if method == 'btree':
            return int(c.one("SELECT pg_relation_size('%s_x')" % t)) / 1048576
        return int(c.one("SELECT high_water - free_count FROM rowan.file_header('%s_x')" % t)) / 128

    def summary(self):
        say('%-6s %-40s %12s %12s %8s' % ('key', 'measure (median)', *METHODS, 'ratio'))
        for (key, what), found in self.values.items():
            a, b = (statistics.median(found[m]) for m in METHODS)
            say('%-6s %-40s %12.3f %12.3f %8.2f' % (key, what, a, b, b / a if a else 0))


    def write(self, path):
        """As bench.py writes what it has measured."""
        with open(path, 'w') as f:
            f.write('case\tmetric\tunit\tam\trep\tvalue\n')
            for (key, what), found in self.values.items():
                metric, unit = what.rsplit(', ', 1)
                for method, values in found.items():
                    for i, value in enumerate(values):
                        f.write('x_%s\t%s\t%s\t%s\t%d\t%s\n' % (key, metric, unit, method,
                                                                i + 1, value))


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rows', type=int, default=1000000)
    p.add_argument('--lookups', type=int, default=200000)
    p.add_argument('--reps', type=int, help='5 of them, one if it is quick')
    p.add_argument('--quick', action='store_true')
    p.add_argument('--keys', default=','.join(KEYS))
    p.add_argument('--bindir')
    return p


def measure(server, options):
    if options.quick:
        options.rows, options.lookups = 20000, 5000
    options.reps = options.reps or (1 if options.quick else 5)
    bench = Bench(server, options)
    for rep in range(1, options.reps + 1):
        for key in options.keys.split(','):
            bench.run(key, rep)
        say('repeat %d of %d' % (rep, options.reps))
    bench.summary()
    return bench


def main():
    options = arguments().parse_args()
    harness.reexec_with(options)
    server = cluster.make('bench-indexes', conf={
        'shared_buffers': '512MB', 'rowan.buffers': '512MB', 'max_wal_size': '8GB', 'checkpoint_timeout': '30min', 'work_mem': '256MB',
        'maintenance_work_mem': '256MB', 'max_parallel_maintenance_workers': '0', 'synchronous_commit': 'off'})
    measure(server, options)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    main()
