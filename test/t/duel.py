#!/usr/bin/env python3
"""Sessions that really run at the same time, each statement done twice in one REPEATABLE READ transaction: on
a heap table, then on a table of the engine.

What succeeded on the heap table holds its row locks, so the engine must neither fail nor answer
otherwise; and under every snapshot both tables must be equal, by sequential scan and
by each index.  Meanwhile one session keeps old snapshots, and one vacuums.

    duel.py --seed 7 --seconds 30
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, Failure, say

WORKERS = 5
ROWS = 60
COLUMNS = 'id int PRIMARY KEY, k int, d int, v int, s text'
EXPECTED_ERRORS = ('40001', '40P01', '23505', '55P03')      # of the heap's statement


def setup(c):
    for table, am in (('h', 'heap'), ('r', AM)):
        c.exec('CREATE TABLE %s (%s) USING %s' % (table, COLUMNS, am))
        c.exec('CREATE INDEX ON %s (k) INCLUDE (d)' % table)
        c.exec('CREATE INDEX ON %s (d) WHERE k %% 2 = 0' % table)
        c.exec("INSERT INTO %s SELECT i, i %% 10, i, 0, repeat('x', i) FROM generate_series(1, %d) i" % (table, ROWS))
        c.exec('ALTER TABLE %s ALTER s SET STORAGE external' % table)


def some_ids(rng):
    if rng.random() < 0.5:
        return 'id = %d' % rng.randint(1, 8)            # hot
    n = rng.choice((1, 1, 2, 3))
    return 'id IN (%s)' % ', '.join(str(rng.randint(1, ROWS)) for _ in range(n))


def text(rng):
    length = rng.choice((0, 3, 3, 40, 200, 700, 1900, 5000))
    return "repeat('%s', %d)" % (rng.choice('abc'), length)


def statement(rng):
    where = some_ids(rng)
    kind = rng.random()
    if kind < 0.40:
        return 'UPDATE %%s SET v = v + 1 WHERE %s RETURNING id, v' % where
    if kind < 0.50:
        return 'UPDATE %%s SET s = %s WHERE %s RETURNING id, md5(s)' % (text(rng), where)
    if kind < 0.58:
        return 'UPDATE %%s SET k = %d, d = d + 1 WHERE %s RETURNING id, k, d' % (rng.randint(0, 9), where)
    if kind < 0.61:
        return 'UPDATE %%s SET k = NULL WHERE %s RETURNING id, k, v' % where
    if kind < 0.66:
        return 'DELETE FROM %%s WHERE %s RETURNING id, v, md5(s)' % where
    if kind < 0.78:
        n = rng.randint(1, ROWS)
        # not DO NOTHING: that locks no row
        return ('INSERT INTO %%s VALUES (%d, %d, %d, 1, %s) ON CONFLICT (id) DO UPDATE SET v = %%s.v + 100 RETURNING id, k, v'
                % (n, n % 10, n, text(rng)))
    if kind < 0.80:
        return 'UPDATE %%s SET id = %d WHERE id = %d RETURNING id, v' % (rng.randint(1, ROWS), rng.randint(1, ROWS))
    if kind < 0.88:
        lock = rng.choice(('UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE'))
        return 'SELECT id, v FROM %%s WHERE %s ORDER BY id FOR %s' % (where, lock)
    return 'SELECT id, k, d, v, md5(s) FROM %%s WHERE %s ORDER BY id' % where


COMPARE = (
    ('', 'SELECT id, k, d, v, md5(s) FROM %s ORDER BY id, v'),
    ('SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off', 'SELECT k, d FROM %s WHERE k >= 0 ORDER BY k, d'),
    ('SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = on',
     'SELECT id, d, v FROM %s WHERE k IN (1, 2, 3, 4) ORDER BY id, v'),
    ('SET LOCAL enable_indexscan = on; SET LOCAL enable_bitmapscan = off', 'SELECT id, v, md5(s) FROM %s WHERE id > 0 ORDER BY id, v'),
    ('', 'SELECT d FROM %s WHERE k % 2 = 0 AND d >= 0 ORDER BY d'),
)


class Duel:
    def __init__(self, server, seed, seconds):
        self.server, self.seed, self.until = server, seed, time.time() + seconds
        self.problem, self.transactions, self.compared, self.errors = None, 0, 0, {}

    def going(self):
        return self.problem is None and time.time() < self.until

    def twice(self, c, sql):
        """False: the transaction has failed, as it may; None to go on"""
        heap = c.try_(sql.replace('%s', 'h'))
        if heap.error:
            state = heap.error.sqlstate
            self.errors[state] = self.errors.get(state, 0) + 1
            if state not in EXPECTED_ERRORS:
                raise Failure('heap: %s: %s' % (sql, heap.error))
            return False
        ours = c.try_(sql.replace('%s', 'r'))
        if ours.error:
            raise Failure('%s: %s (%s)' % (sql, ours.error, ours.error.sqlstate))
        if sorted(heap.rows, key=repr) != sorted(ours.rows, key=repr):
            raise Failure('%s: heap %s, here %s' % (sql, heap.rows, ours.rows))
        return True

    def compare(self, c, what):
        for settings, sql in COMPARE:
            if settings:
                c.exec(settings)
            heap, ours = c.rows(sql.replace('%s', 'h')), c.rows(sql.replace('%s', 'r'))
            if sorted(heap, key=repr) != sorted(ours, key=repr):
                raise Failure('%s: %s: only heap %s, only here %s' %
                              (what, sql, sorted(set(heap) - set(ours), key=repr)[:5], sorted(set(ours) - set(heap), key=repr)[:5]))
            self.compared += 1

    def transaction(self, c, rng):
        c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        savepoints = 0
        for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
            chance = rng.random()
            if chance < 0.12:
                c.exec('SAVEPOINT s')
                savepoints += 1
            elif chance < 0.18 and savepoints:
                c.exec('ROLLBACK TO s')
            if not self.twice(c, statement(rng)):
                if savepoints and rng.random() < 0.5:
                    c.exec('ROLLBACK TO s')
                    continue
                c.exec('ROLLBACK')
                return
        if rng.random() < 0.1:
            self.compare(c, 'own changes')
        c.exec(rng.choice(('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK')))
        self.transactions += 1

    def work(self, number):
        rng = random.Random(self.seed * 100 + number)
        with self.server.connect() as c:
            c.exec("SET deadlock_timeout = '50ms'; SET lock_timeout = '20s'")
            while self.going():
                self.transaction(c, rng)

    def look_back(self, number):
        rng = random.Random(self.seed * 100 + number)
        with self.server.connect() as c:
            while self.going():
                c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
                for _ in range(rng.randint(1, 12)):
                    self.compare(c, 'old snapshot')
                    time.sleep(rng.random() * 0.1)
                c.exec('COMMIT')

    def vacuum(self, number):
        rng = random.Random(self.seed * 100 + number)
        with self.server.connect() as c:
            while self.going():
                c.exec('VACUUM %s r' % rng.choice(('', '', '(FREEZE)', '(INDEX_CLEANUP off)', '(INDEX_CLEANUP on)')))
                time.sleep(rng.random() * 0.4)

    def guarded(self, action, number):
        try:
            action(number)
        except Exception as e:
            self.problem = self.problem or '%s: %s' % (type(e).__name__, e)

    def run(self):
        actions = [self.work] * WORKERS + [self.look_back] * 2 + [self.vacuum]
        threads = [threading.Thread(target=self.guarded, args=(a, n)) for n, a in enumerate(actions)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        say('seed %d: %d transactions, %d comparisons, errors %s' % (self.seed, self.transactions, self.compared, self.errors))
        if self.problem:
            raise Failure('seed %d: %s' % (self.seed, self.problem))


def test(options):
    server = cluster.make('duel', conf=dict(max_connections=30, autovacuum='off'))
    seeds = 5 if options.long else 1
    for seed in range(options.seed, options.seed + seeds):
        with server.connect() as c:
            c.exec('DROP TABLE IF EXISTS h, r')
            setup(c)
        Duel(server, seed, options.seconds or (60 if options.long else 20)).run()
        server.verify('r')
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seconds', type=int, help='how long, for each seed')
    harness.main(test, parser)
