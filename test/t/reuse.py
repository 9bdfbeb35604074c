#!/usr/bin/env python3
"""Row ids and the room of deleted rows are used again: a table of always as many rows has no more
logical blocks than pages, however often they are deleted and inserted.

    reuse.py --seed 7 --seconds 30
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import actors
import cluster
import harness
from harness import AM, ENGINE, Failure, check, say

ROWS = 30000
ROUNDS = 4
TABLE = """
DROP TABLE IF EXISTS t;
CREATE TABLE t (id int, s text) USING {am} WITH (autovacuum_enabled = off{options});
CREATE INDEX t_id ON t USING {ix} (id);
INSERT INTO t SELECT i, {s} FROM generate_series(1, {rows}) i;
"""
NARROW = 'md5(i::text)'
WIDE = "repeat(md5(i::text), 4)"
GROWING = "repeat(md5(i::text), 1 + i % 20)"
IX = 'rowan_btree' if ENGINE else 'btree'

# what is deleted before as many rows are inserted; {low}: a third of the rows is older
DELETIONS = {
    'half of them, at random': 'random() < 0.5',
    'ranges': 'id % 300 < 100',
    'the oldest': 'id < {low}',
    'nearly all': 'random() < 0.97',
}


def shape(c):
    """Pages and logical blocks."""
    return (int(c.one("SELECT pg_relation_size('t') / current_setting('block_size')::int")),
            int(c.one('SELECT (max(ctid)::text::point)[0] + 1 FROM t')))


def refill(c, where, last, s):
    """Deletes, cleans, inserts as many; the id of the last row."""
    low = int(c.one('SELECT min(id) FROM t')) + ROWS // 3
    n = int(c.one('WITH d AS (DELETE FROM t WHERE %s RETURNING 1) SELECT count(*) FROM d'
                  % where.format(low=low)))
    c.exec('VACUUM t')
    c.exec('INSERT INTO t SELECT i, %s FROM generate_series(%d, %d) i' % (s, last + 1, last + n))
    return last + n


def by_index_and_not(c, where):
    content = "SELECT count(*), sum(id::bigint), sum(length(s)) FROM t WHERE id > -1000000"
    c.exec('SET enable_bitmapscan = off; SET enable_indexscan = off')
    by_table = c.rows(content)
    c.exec('RESET enable_indexscan; SET enable_seqscan = off')
    by_index = c.rows(content)
    c.exec('RESET enable_seqscan; RESET enable_bitmapscan')
    check(by_table == by_index, '%s: %s by table, %s by index' % (where, by_table, by_index))
    return by_table


def always_as_many(server, c):
    for name, where in DELETIONS.items():
        for s, options in ((GROWING, ''), (WIDE, ', fillfactor = 70')):
            c.exec(TABLE.format(am=AM, ix=IX, rows=ROWS, s=s, options=options) +
                   'SELECT setseed(0.5)')
            fresh, _ = shape(c)
            last = ROWS
            for _ in range(ROUNDS):
                last = refill(c, where, last, s)
            pages, blocks = shape(c)
            what = '%s%s: %d pages at first, %d pages and %d blocks' % (
                name, options, fresh, pages, blocks)
            say(what)
            server.verify('t')
            check(by_index_and_not(c, name)[0][0] == str(ROWS), name + ': rows are lost')
            if ENGINE:
                check(blocks <= 1.2 * pages and pages <= 1.2 * fresh + 8, what)


def stubs_stay(server, c):
    """Leaves are divided while stubs, whose index entries are there still, share slots on them."""
    for seed in range(3):
        c.exec(TABLE.format(am=AM, ix=IX, rows=ROWS, s=NARROW, options='') +
               'SELECT setseed(0.%d); DELETE FROM t WHERE random() < 0.6' % (seed + 1))
        c.exec('VACUUM t')
        c.exec('DELETE FROM t WHERE id %% 700 < %d' % (400 + 100 * seed))
        c.exec('VACUUM (INDEX_CLEANUP off, TRUNCATE off) t')
        c.exec('INSERT INTO t SELECT -i, %s FROM generate_series(1, %d) i' % (NARROW, ROWS))
        server.verify('t')
        by_index_and_not(c, 'beside stubs')
        c.exec('VACUUM (INDEX_CLEANUP on) t')
        server.verify('t')


class Writer(actors.Actor):
    """Sums of the ids in the table stay 0, since each comes with its negative."""
    def act(self):
        low = self.rng.randint(1, ROWS)
        high = low + self.rng.choice((3, 100, 2000))
        self.c.exec('BEGIN')
        r = self.c.try_('DELETE FROM t WHERE abs(id) BETWEEN %d AND %d' % (low, high))
        if not r.error and self.rng.random() < 0.8:
            r = self.c.try_('INSERT INTO t SELECT i * j, %s FROM generate_series(%d, %d) i, '
                            '(VALUES (1), (-1)) AS v(j)' % (GROWING, low, high))
        if r.error and r.error.sqlstate not in ('40001', '40P01'):
            raise Failure(str(r.error))
        self.c.exec('ROLLBACK' if r.error or self.rng.random() < 0.1 else 'COMMIT')


class Reader(actors.Actor):
    def act(self):
        self.c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        sums = {self.c.one('SELECT coalesce(sum(id), 0) FROM t') for _ in range(3)}
        check(sums == {'0'}, 'the ids add up to %s' % sums)
        by_index_and_not(self.c, 'beside writers')
        self.c.exec('COMMIT')


class Cleaner(actors.Actor):
    def act(self):
        self.c.exec('VACUUM (INDEX_CLEANUP on) t')


def beside_each_other(server, c, options, seconds):
    c.exec(TABLE.format(am=AM, ix=IX, rows=0, s=WIDE, options=''))
    c.exec('INSERT INTO t SELECT i * j, %s FROM generate_series(1, %d) i, '
           '(VALUES (1), (-1)) AS v(j)' % (NARROW, ROWS // 4))
    say(actors.finish(actors.start((Writer, Writer, Writer, Reader, Reader, Cleaner), server,
                                   options.seed, seconds)))
    c.exec('VACUUM t')
    server.verify('t')
    by_index_and_not(c, 'at the end')


def test(options):
    seconds = options.seconds or (120 if options.long else 8)
    server = cluster.make('reuse', conf={'rowan.buffers': '8MB'} if ENGINE else {})
    with server.connect() as c:
        stubs_stay(server, c)
        always_as_many(server, c)
        beside_each_other(server, c, options, seconds)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seconds', type=float, help='how long')
    harness.main(test, parser)
