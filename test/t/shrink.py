#!/usr/bin/env python3
"""Files of tables and indexes shrink: VACUUM moves pages from the end into free ones, while others
read and write.

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
CREATE INDEX t_k ON t USING {ix} (k, id);
CREATE INDEX t_md5 ON t USING {ix} (md5(id::text));
"""
INDEXES = ('t_k', 't_md5')
WHAT = 'SELECT count(*), sum(id::bigint), sum(k::bigint)'
ANSWER = WHAT + ' FROM t'
BY_INDEX = 'SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off'
BY_TABLE = 'RESET enable_seqscan; RESET enable_bitmapscan; RESET enable_sort'


IX = 'rowan_btree' if ENGINE else 'btree'
BY_K = 'SELECT k, id FROM t WHERE k >= 0 ORDER BY k %s, id %s'


def size(c, name='t'):
    return int(c.one("SELECT pg_relation_size('%s')" % name))


def answers(c, where):
    """What the table says, which its indexes have to say, too, from either end."""
    c.exec(BY_INDEX)
    by_index = c.rows(ANSWER + ' WHERE id > 0')
    for way in ('ASC', 'DESC'):
        query = '%s FROM (%s OFFSET 0) s' % (WHAT, BY_K % (way, way))
        by_k = c.rows(query)
        check(by_k == by_index, '%s: by k %s %s, by id %s' % (where, way, by_k, by_index))
    c.exec(BY_TABLE)
    by_table = c.rows(ANSWER)
    check(by_index == by_table, '%s: by index %s, by table %s' % (where, by_index, by_table))
    return by_table


def check_sizes(c, where):
    """Each file is little bigger than a new one."""
    small = {name: size(c, name) for name in INDEXES}
    for name in INDEXES:
        c.exec('REINDEX INDEX ' + name)
        part = small[name] / size(c, name)
        say('%s: %s has %.2f of a new file' % (where, name, part))
        check(part <= 1.2 or not ENGINE, '%s: %s has %.2f of a new file' % (where, name, part))


# pages are moved below cursors: some entries are read before, the rest afterwards; VACUUM would
# wait for an index-only scan
CURSORS = {'by_table': 'SELECT id FROM t',
           'forward': 'SELECT id FROM t WHERE k >= 0 ORDER BY k, id',
           'backward': 'SELECT id FROM t WHERE k >= 0 ORDER BY k DESC, id DESC',
           'by_md5': 'SELECT id FROM t ORDER BY md5(id::text)'}


def after_deletion(server, c):
    """Nine of ten rows, at random, are deleted: the files become about as small as new ones."""
    c.exec(TABLE.format(am=AM, ix=IX, rows=ROWS))
    c.exec('SELECT setseed(0.5); DELETE FROM t WHERE random() < 0.9')
    expected = answers(c, 'before VACUUM')
    living = sorted(int(r[0]) for r in c.rows('SELECT id FROM t'))
    with server.connect() as reader:
        seen = {}
        reader.exec('BEGIN; SET LOCAL enable_indexonlyscan = off')
        for name, query in CURSORS.items():
            reader.exec(BY_TABLE if name == 'by_table' else BY_INDEX)
            reader.exec('DECLARE %s SCROLL CURSOR FOR %s' % (name, query))
            seen[name] = [int(r[0]) for r in reader.rows('FETCH 1000 FROM ' + name)]
        c.exec('VACUUM t')
        check(answers(c, 'beside a reader') == expected, 'rows are lost')
        for name in CURSORS:
            seen[name] += [int(r[0]) for r in reader.rows('FETCH ALL FROM ' + name)]
            check(sorted(seen[name]) == living,
                  '%s: a scan beside VACUUM saw %d rows of %s' % (name, len(seen[name]), expected))
            back = [int(r[0]) for r in reader.rows('FETCH BACKWARD ALL FROM ' + name)]
            check(back == seen[name][::-1], '%s: back it saw %d rows' % (name, len(back)))
        reader.exec('COMMIT')
    c.exec('VACUUM t')
    server.verify('t')
    small = size(c)
    check(answers(c, 'after VACUUM') == expected, 'rows are lost')
    check_sizes(c, 'after a deletion')
    c.exec('VACUUM FULL t')
    say('after a deletion: the table has %.2f of a new file' % (small / size(c)))
    if ENGINE:
        check(small <= 1.2 * size(c), 'the file is %d bytes, a new one %d' % (small, size(c)))


def of_a_heap(server, c):
    """An index of a heap: the table's parameter keeps it as it is, and it is cut once it may be."""
    c.exec(TABLE.format(am='heap', ix=IX, rows=ROWS) + 'ALTER TABLE t SET (vacuum_truncate = off)')
    before = size(c, 't_md5')
    c.exec('SELECT setseed(0.5); DELETE FROM t WHERE random() < 0.9')
    c.exec('VACUUM (PARALLEL 0) t')
    check(size(c, 't_md5') == before, 'vacuum_truncate = off, and the index was cut')
    c.exec('ALTER TABLE t RESET (vacuum_truncate)')
    c.exec('VACUUM (PARALLEL 0) t')
    answers(c, 'heap')
    check_sizes(c, 'of a heap')


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
    c.exec(TABLE.format(am=AM, ix=IX, rows=ROWS))
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
        of_a_heap(server, c)
        under_load(server, c, options, seconds)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seconds', type=float, help='how long')
    harness.main(test, parser)
