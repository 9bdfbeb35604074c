#!/usr/bin/env python3
"""Files shrink: VACUUM moves pages from the end into free ones, while others read and write.

    shrink.py --seed 7 --seconds 30
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import actors
import cluster
import harness
from harness import AM, ENGINE, Failure, check, say

ROWS = 40000
TABLE = """
DROP TABLE IF EXISTS t;
CREATE TABLE t (id int, k int, s text) USING {am} WITH (autovacuum_enabled = off);
INSERT INTO t SELECT i, i % 977, repeat('x', 120) FROM generate_series(1, {rows}) i;
CREATE INDEX t_id ON t (id);
"""
ANSWER = 'SELECT count(*), sum(id::bigint), sum(k::bigint) FROM t'
BY_INDEX = 'SET enable_seqscan = off; SET enable_bitmapscan = off'
BY_TABLE = 'RESET enable_seqscan; RESET enable_bitmapscan'


def size(c):
    return int(c.one("SELECT pg_relation_size('t')"))


def answers(c, where):
    """What the table says, which its index has to say, too."""
    c.exec(BY_INDEX)
    by_index = c.rows(ANSWER + ' WHERE id > 0')
    c.exec(BY_TABLE)
    by_table = c.rows(ANSWER)
    check(by_index == by_table, '%s: by index %s, by table %s' % (where, by_index, by_table))
    return by_table


def after_deletion(server, c):
    """Nine of ten rows, at random, are deleted: the file becomes about as small as a new one."""
    c.exec(TABLE.format(am=AM, rows=ROWS))
    c.exec('SELECT setseed(0.5); DELETE FROM t WHERE random() < 0.9')
    expected = answers(c, 'before VACUUM')
    with server.connect() as reader:
        reader.exec('BEGIN; DECLARE c CURSOR FOR SELECT id FROM t')
        seen = [int(r[0]) for r in reader.rows('FETCH 100 FROM c')]
        c.exec('VACUUM t')
        check(answers(c, 'beside a reader') == expected, 'rows are lost')
        seen += [int(r[0]) for r in reader.rows('FETCH ALL FROM c')]
        check([(str(len(seen)), str(sum(seen)))] == [r[:2] for r in expected],
              'a scan beside VACUUM saw %d rows of %s' % (len(seen), expected))
        reader.exec('COMMIT')
    c.exec('VACUUM t')
    server.verify('t')
    small = size(c)
    check(answers(c, 'after VACUUM') == expected, 'rows are lost')
    c.exec('VACUUM FULL t')
    say('after a deletion: %.2f of a new file' % (small / size(c)))
    if ENGINE:
        check(small <= 1.2 * size(c), 'the file is %d bytes, a new one %d' % (small, size(c)))


class Writer(actors.Actor):
    """Deletes much, inserts as much: pages become free all over, and are used again."""
    def act(self):
        some, many = self.rng.randint(1, ROWS), self.rng.choice((10, 300, 3000))
        sql = self.rng.choice((
            'DELETE FROM t WHERE id BETWEEN %d AND %d',
            'UPDATE t SET k = k + 1 WHERE id BETWEEN %d AND %d',
            "UPDATE t SET s = s || 'grows' WHERE id BETWEEN %d AND %d",
            "INSERT INTO t SELECT i, 1, repeat('n', 100) FROM generate_series(%d, %d) i"))
        r = self.c.try_('BEGIN; ' + sql % (some, some + many))
        if r.error and r.error.sqlstate not in ('40001', '40P01'):
            raise Failure(str(r.error))
        self.c.exec('ROLLBACK' if r.error or self.rng.random() < 0.2 else 'COMMIT')


class Reader(actors.Actor):
    def act(self):
        self.c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        for _ in range(3):
            answers(self.c, 'under load')
        self.c.exec('COMMIT')


class Cleaner(actors.Actor):
    def act(self):
        self.c.exec('VACUUM (TRUNCATE %s) t' % self.rng.choice(('on', 'on', 'off')))
        time.sleep(self.rng.random() * 0.02)


def under_load(server, c, options, seconds):
    c.exec(TABLE.format(am=AM, rows=ROWS))
    say(actors.finish(actors.start((Writer, Writer, Reader, Reader, Cleaner), server, options.seed,
                                   seconds)))
    c.exec('VACUUM t')
    server.verify('t')
    answers(c, 'at the end')


def test(options):
    seconds = options.seconds or (120 if options.long else 8)
    server = cluster.make('shrink', conf={'rowan.buffers': '4MB'} if ENGINE else {})
    with server.connect() as c:
        after_deletion(server, c)
        under_load(server, c, options, seconds)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seconds', type=float, help='how long')
    harness.main(test, parser)
