#!/usr/bin/env python3
"""Rows that move: one record each (MOVE), within a leaf or to another one, with shared data or not.

What WAL has is looked at by pg_walinspect; that it is enough, by replaying it after a crash, with
pages restored or torn or not, against a heap table that saw the same statements.
"""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check, say

TABLE = """
CREATE TABLE {t} (id int, k int, s text, n int) USING {am};
INSERT INTO {t} SELECT i, i, repeat('s', 1 + i % 90), 0 FROM generate_series(1, 3000) i;
CREATE INDEX ON {t} (k);
CREATE INDEX ON {t} (id);
"""
CONTENT = 'SELECT count(*), sum(hashtext(t::text)::bigint) FROM %s t'


def kinds(c, start, end):
    """Records of ours between two places of WAL, by kind, and the longest one's bytes."""
    c.exec("SELECT pg_switch_wal()")
    return {kind: (int(n), int(longest), what) for kind, n, longest, what in c.rows(
        "SELECT record_type, count(*), max(record_length), max(description) "
        "FROM pg_get_wal_records_info('%s', '%s') "
        "WHERE resource_manager = 'rowan' GROUP BY 1" % (start, end))}


def records(c, sql):
    start = c.one('SELECT pg_current_wal_insert_lsn()')
    c.exec(sql)
    return kinds(c, start, c.one('SELECT pg_current_wal_insert_lsn()'))


def images(c, setting):
    c.exec('ALTER SYSTEM SET full_page_writes = ' + setting)
    c.exec('SELECT pg_reload_conf()')
    harness.wait_for(lambda: c.one('SHOW full_page_writes') == setting, 'full_page_writes')


def one_record_each(c):
    """An update of an indexed column is one record of the table's, small where it may be."""
    c.exec("CREATE TABLE full_ (k int, s text) USING rowan WITH (fillfactor = 100); "
           "CREATE TABLE roomy (k int, s text) USING rowan WITH (fillfactor = 50)")
    for t in ('full_', 'roomy'):
        c.exec("CREATE INDEX ON %s (k); INSERT INTO %s "
               "SELECT i, md5(i::text) || md5('-' || i) || md5('+' || i) "
               "FROM generate_series(1, 500) i" % (t, t))
        c.exec('UPDATE %s SET k = -1 WHERE k = 500' % t)    # a first version page, a known edge
    seen = records(c, 'UPDATE full_ SET k = -2 WHERE k = 3')
    check(set(seen) == {'MOVE'} and seen['MOVE'][0] == 1 and 'new leaf: {' in seen['MOVE'][2],
          'to another leaf: %s' % seen)
    c.exec('CHECKPOINT')
    seen = records(c, 'UPDATE roomy SET k = -1 WHERE k = 3')
    check(set(seen) == {'MOVE'} and 'old row: {' in seen['MOVE'][2] and seen['MOVE'][1] > 170,
          'without an image since the checkpoint the row has to be whole: %s' % seen)
    images(c, 'off')
    c.exec('CHECKPOINT')
    seen = records(c, 'UPDATE roomy SET k = -2 WHERE k = 4')
    check(set(seen) == {'MOVE'} and seen['MOVE'][1] < 130, 'not by its differences: %s' % seen)
    images(c, 'on')


def edge_is_held(server, c):
    """Where the new place can't be had at once, three records do it."""
    c.exec("CREATE TABLE fresh (k int, s text) USING rowan; CREATE INDEX ON fresh (k); "
           "INSERT INTO fresh SELECT i, repeat('x', 100) FROM generate_series(1, 300) i")
    c.exec('UPDATE fresh SET k = -1 WHERE k = 3')
    with server.connect() as other:     # has not inserted anything: it knows no edge
        seen = records(other, 'UPDATE fresh SET k = -2 WHERE k = 4')
        check('MOVE' not in seen and seen['INSERT'][0] == 1 and seen['REPLACE'][0] == 2,
              'not in three steps: %s' % seen)
        check(other.one('SELECT count(*) FROM fresh WHERE k IN (-2, 4)') == '1',
              'the row is not there once')


def statement(rng, t):
    some = rng.randint(1, 3000)
    kind = rng.random()
    if kind < 0.6:
        last = some + rng.choice((0, 0, 5))
        return 'UPDATE %s SET k = k + 3000 WHERE id BETWEEN %d AND %d' % (t, some, last)
    if kind < 0.75:
        return "UPDATE %s SET k = k + 1, s = repeat('%s', %d) WHERE id = %d" % (
            t, rng.choice('abc'), rng.choice((1, 40, 100, 400, 1500)), some)
    if kind < 0.85:
        return 'UPDATE %s SET n = n + 1 WHERE id = %d' % (t, some)
    if kind < 0.95:
        return 'DELETE FROM %s WHERE id = %d' % (t, some)
    return "INSERT INTO %s VALUES (%d, %d, 'new', 0)" % (t, some, some)


def change(c, rng, n):
    for _ in range(n):
        sql = [statement(rng, '%s') for _ in range(rng.randint(1, 3))]
        end = rng.choice(('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK'))
        for t in ('h', 'r'):
            c.exec('BEGIN; %s; %s' % ('; '.join(s.replace('%s', t) for s in sql), end))
        if rng.random() < 0.01:
            c.exec('CHECKPOINT')
        if rng.random() < 0.01:
            c.exec('VACUUM r')


def same(c, where):
    heap, rowan = c.rows(CONTENT % 'h'), c.rows(CONTENT % 'r')
    check(heap == rowan, '%s: heap has %s, rowan %s' % (where, heap, rowan))
    c.exec('SET enable_seqscan = off')
    heap, rowan = (c.one('SELECT sum(k::bigint) FROM %s WHERE k > -9' % t) for t in ('h', 'r'))
    check(heap == rowan, '%s, by index: heap has %s, rowan %s' % (where, heap, rowan))
    c.exec('RESET enable_seqscan')


def replayed(server, seed, crashes, full_page_writes):
    rng = random.Random(seed)
    server.write_conf(full_page_writes=full_page_writes)
    server.start()
    with server.connect() as c:
        c.exec('DROP TABLE IF EXISTS h, r')
        for t, am in (('h', 'heap'), ('r', AM)):
            c.exec(TABLE.format(t=t, am=am))
    for n in range(crashes):
        with server.connect() as c:
            change(c, rng, 300)
            same(c, 'before crash %d' % n)
            c.exec("SELECT pg_logical_emit_message(true, '', '')")
        server.kill9()
        server.start(timeout_s=120)
        with server.connect() as c:
            same(c, 'after crash %d' % n)
        server.verify('r')
    server.stop()


def test(options):
    ours = AM == 'rowan'
    server = cluster.make('moves', fsync=True, conf={'rowan.buffers': '4MB'} if ours else {})
    if ours:
        with server.connect() as c:
            c.exec('CREATE EXTENSION pg_walinspect')
            one_record_each(c)
            edge_is_held(server, c)
        server.write_conf(**{'rowan.wal_check': 'on'})
    server.stop()
    for full_page_writes in ('on', 'off'):
        replayed(server, options.seed, 20 if options.long else 2, full_page_writes)
    server.check_log('terminated by signal 9', 'database system was not properly shut down')
    say('moves: one record each, and replayed as heap has them')


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
