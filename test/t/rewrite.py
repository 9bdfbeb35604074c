#!/usr/bin/env python3
"""VACUUM FULL and CLUSTER under old snapshots; VACUUM cutting files while other sessions remember them, and crashes around that."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

ANSWERS = ['SELECT count(*), sum(id), sum(v), sum(hashtext(s)::bigint), sum(length(s)) FROM t',
           'SELECT count(*), sum(v) FROM t WHERE id BETWEEN 100 AND 2000',
           'SELECT id, v, grp FROM t WHERE id IN (1, 77, 78, 79, 80, 1001, 1002) ORDER BY id']
REWRITES = ['VACUUM FULL t', 'CLUSTER t USING t_grp', 'SET enable_indexscan = off; CLUSTER t USING t_grp; RESET enable_indexscan',
            'SET enable_sort = off; CLUSTER t USING t_pkey; RESET enable_sort']


def answers(c):
    result = []
    for mode in ('seqscan', 'indexscan'):
        c.exec('SET enable_seqscan = %s' % ('on' if mode == 'seqscan' else 'off'))
        result.append([c.rows(q) for q in ANSWERS])
    check(result[0] == result[1], 'index and table disagree')
    return result[0]


def churn(c):
    """Several versions of rows: updated in place, moved, deleted, inserted; and work that is undone."""
    c.exec('UPDATE t SET v = v + 1 WHERE id % 3 = 0')
    c.exec('UPDATE t SET v = v + 1 WHERE id % 6 = 0')
    c.exec('UPDATE t SET grp = grp + 1, v = v + 1 WHERE id % 5 = 0')
    c.exec("UPDATE t SET s = s || repeat('y', 3000) || v::text WHERE id % 211 = 0")
    c.exec('DELETE FROM t WHERE id % 7 = 1')
    c.exec("INSERT INTO t SELECT i, i, i % 10, 'new' || i FROM generate_series((SELECT max(id) + 1 FROM t), (SELECT max(id) + 500 FROM t)) i")
    c.exec('BEGIN; UPDATE t SET v = -1 WHERE id % 4 = 0; DELETE FROM t WHERE id % 9 = 0; ROLLBACK')


def old_snapshots(server):
    c = server.connect()
    c.exec("CREATE TABLE t (id int PRIMARY KEY, v bigint, grp int, s text) USING %s; "
           "INSERT INTO t SELECT i, i %% 1000, i %% 10, repeat(md5(i::text), 1 + (i %% 97 = 0)::int * 100) FROM generate_series(1, 5000) i; "
           "CREATE INDEX t_grp ON t (grp, id); CREATE TABLE other (id int)" % AM)
    readers = []
    for n, rewrite in enumerate(REWRITES * 2):
        churn(c)
        reader = server.connect()
        expected = answers(c)
        reader.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM other')     # a snapshot, but no lock on t
        readers.append((reader, expected))
        churn(c)
        now = answers(c)
        c.exec(rewrite)
        check(answers(c) == now, 'after %s the table is another' % rewrite)
        server.verify('t')
    for n, (reader, expected) in enumerate(readers):
        check(answers(reader) == expected, 'snapshot %d has changed its answer' % n)
        r = reader.try_('UPDATE t SET v = 0 WHERE id = 60')
        check(r.error and r.error.sqlstate == '40001', 'an update of a row changed meanwhile: %s' % r.error)
        reader.exec('ROLLBACK')
        reader.close()
    now = answers(c)
    c.exec('VACUUM t')
    c.exec('VACUUM FULL t')
    check(answers(c) == now, 'the table is another after the snapshots have gone')
    server.verify('t')
    c.exec('DROP TABLE t, other')
    # undone updates of own rows (heap itself loses rows here)
    if ENGINE:
        c.exec('CREATE TABLE t (id int PRIMARY KEY, v int) USING %s; INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i' % AM)
        c.exec('BEGIN; UPDATE t SET v = 1; SAVEPOINT a; UPDATE t SET v = 2; DELETE FROM t WHERE id < 50; ROLLBACK TO a; CLUSTER t USING t_pkey')
        check(c.rows('SELECT count(*), sum(v) FROM t') == [('100', '100')], 'undone work came back')
        c.exec('COMMIT; DROP TABLE t')
    c.close()
    say('old snapshots: fine')


def two_sessions(server):
    """A session that knows the file well, while another one cuts it."""
    a, b = server.connect(), server.connect()
    a.exec('CREATE TABLE t (id int PRIMARY KEY, v int, s text) USING %s' % AM)
    fill = "INSERT INTO t SELECT i, 0, repeat('x', 100) FROM generate_series(1, %d) i"
    for n in range(12):
        rows = 4000 if n % 3 == 0 else 600
        a.exec(fill % rows)
        a.exec('UPDATE t SET v = v + 1; UPDATE t SET v = v + 1')            # remembers version pages, too
        check(a.rows('SELECT count(*), sum(v) FROM t') == [(str(rows), str(2 * rows))], 'round %d' % n)
        keep = [0, 50, 3][n % 3 if n < 9 else 0]
        b.exec('DELETE FROM t WHERE id > %d' % keep)
        b.exec('VACUUM t')
        b.exec('VACUUM t')
        if ENGINE and keep == 0:
            check(int(b.one("SELECT pg_relation_size('t')")) <= 16384, 'an empty table has more than its first pages')
        # the first session goes on with what it remembers
        check(a.one('SELECT count(*) FROM t') == str(keep), 'rows are left')
        check(a.rows('SELECT id FROM t WHERE id = %d' % rows) == [], 'a deleted row is found')
        a.exec('UPDATE t SET v = v + 1')
        a.exec("INSERT INTO t VALUES (1000000, 1, 'a')")
        check(b.rows('SELECT v FROM t WHERE id = 1000000') == [('1',)], 'the new row is missing')
        server.verify('t')
        a.exec('DELETE FROM t')
        (a if n % 2 else b).exec('VACUUM t')
        check(b.one('SELECT count(*) FROM t') == '0', 'rows are left')
    # somebody holds a lock: VACUUM gives up cutting, and says nothing wrong
    a.exec(fill % 3000)
    a.exec('DELETE FROM t')
    b.exec('BEGIN; LOCK TABLE t IN ACCESS SHARE MODE')
    start = time.time()
    a.exec('VACUUM t')
    check(time.time() - start > 3, 'VACUUM did not wait for the lock at all')
    check(a.one('SELECT count(*) FROM t') == '0', 'rows are left')
    b.exec('COMMIT')
    a.exec('VACUUM t')
    if ENGINE:
        check(int(a.one("SELECT pg_relation_size('t')")) <= 16384, 'the file was not cut later')
    a.exec('DROP TABLE t')
    a.close()
    b.close()
    say('two sessions: fine')


def crashes(options):
    """Cut, write again, crash at every step; on a standby as well."""
    variant = 'faults' if ENGINE else 'release'
    server = cluster.make('cut', variant=variant, conf={'restart_after_crash': 'off', 'wal_keep_size': '1GB'})
    standby = server.backup_to('cut_standby')
    standby.start(wait=False)
    points = ['', 'trim_write', 'shrink_move', 'vacuum_before_truncate', 'pool_truncate_logged', 'pool_truncate_done']
    cases = [(p, False) for p in points] + [(p, True) for p in points[1:] + ['shrink_moved']]
    for point, index in cases if ENGINE else [('', False)]:
        for keep in (0, 500):
            with server.connect() as c:
                c.exec('DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v int, s text) USING %s; CREATE INDEX ON t (v)' % AM)
                if index:               # its file comes before the table's
                    c.exec('CREATE INDEX t_s ON t USING rowan_btree (s)')
                for _ in range(2):
                    c.exec("INSERT INTO t SELECT i, i % 10, repeat(md5((i * 7919 % 5003)::text), 4) "
                           "FROM generate_series(1, 5000) i ON CONFLICT DO NOTHING")
                    c.exec('VACUUM t')
                    c.exec('CHECKPOINT')
                    c.exec('UPDATE t SET v = v + 1 WHERE id %% 3 = 0; DELETE FROM t WHERE id > %d' % keep)
                    expected = c.rows('SELECT count(*), sum(id), sum(v) FROM t')
                    if point:
                        c.exec("SET rowan.fault = '%s:panic'" % point)
                    error = c.try_('VACUUM t').error
                    if error:
                        break
                    c.exec("INSERT INTO t SELECT i, 1, 'again' FROM generate_series(10001, 10100) i")
                    expected = c.rows('SELECT count(*), sum(id), sum(v) FROM t')
            if not point:
                server.kill9()
            else:
                reached = wait_panicked(server, error)
                check(reached or keep == 0 and point.startswith(('trim', 'shrink')), 'fault point %s was not reached' % point)
                if not reached:
                    server.kill9()
            server.start()
            with server.connect() as c:
                check(c.rows('SELECT count(*), sum(id), sum(v) FROM t') == expected, 'after a crash at "%s": %s, expected %s' % (
                    point, c.rows('SELECT count(*), sum(id), sum(v) FROM t'), expected))
                server.verify('t')
                c.exec('SET enable_seqscan = off')
                check(c.rows('SELECT count(*), sum(id), sum(v) FROM t WHERE id > 0') == expected, 'by index, after a crash at "%s"' % point)
                c.exec("INSERT INTO t SELECT i, 1, 'more' FROM generate_series(20001, 21000) i")
                c.exec('VACUUM t')
                server.verify('t')
                now = c.rows('SELECT count(*), sum(id), sum(v) FROM t')
            standby.wait_replayed(server)
            with standby.connect() as c:
                check(c.rows('SELECT count(*), sum(id), sum(v) FROM t') == now, 'the standby differs after "%s"' % point)
            standby.verify('t')
    server.stop()
    standby.stop()
    server.check_log('fault point', 'terminated by signal 6')
    standby.check_log()
    say('crashes: fine')


def wait_panicked(server, error, timeout_s=20):
    """The server ends by itself after the session has lost it."""
    if not error:
        return False
    server.wait_ended(timeout_s)
    return True


def test(options):
    # without prepared transactions new files are not looked for in the pool (I-POOL-9)
    conf = {'max_prepared_transactions': '0'}
    server = cluster.make('rewrite', conf=dict(conf, **{'rowan.buffers': '8MB'} if ENGINE else {}))
    old_snapshots(server)
    two_sessions(server)
    server.verify()
    server.stop()
    server.check_log()
    crashes(options)


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
