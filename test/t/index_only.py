#!/usr/bin/env python3
"""Index-only scans of rowan_btree and VACUUM: TIDs that a scan has copied from a leaf are not given to other rows before
it has left that leaf (I-IDX-6)."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, ENGINE, check, say

METHOD = 'rowan_btree' if ENGINE else 'btree'


def ask_only_the_index(c):
    c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off')


def fill(c, am):
    c.exec('DROP TABLE IF EXISTS t; CREATE TABLE t (k int, v int) USING %s; CREATE INDEX t_k ON t USING %s (k); '
           'INSERT INTO t SELECT i, i FROM generate_series(1, 1000) i' % (am, METHOD))
    c.exec('VACUUM t')


def cursor_over_deleted(server, am):
    """A session with a cursor that begins before rows whose entries VACUUM is to remove; and another session."""
    a, b = server.connect(), server.connect()
    fill(b, am)
    ask_only_the_index(a)
    b.exec('DELETE FROM t WHERE k BETWEEN 5 AND 100')
    a.exec('BEGIN; DECLARE c CURSOR FOR SELECT k FROM t WHERE k > 0 ORDER BY k')
    return a, b


def others_go_on(c):
    """Index-only scans that begin while VACUUM waits."""
    ask_only_the_index(c)
    c.exec("SET statement_timeout = '30s'")
    check(c.rows('SELECT count(*) FROM t WHERE k > 900') == [('100',)], 'wrong answer beside VACUUM')
    c.exec('RESET statement_timeout')


def vacuum_waits(server, am):
    """Between two FETCHes rows that are deleted for all are vacuumed, and their places filled and marked all-visible."""
    a, b = cursor_over_deleted(server, am)
    plan = a.rows('EXPLAIN SELECT k FROM t WHERE k > 0 ORDER BY k')[0][0]
    check('Index Only Scan' in plan, 'not an index-only scan: ' + plan)
    got = [int(r[0]) for r in a.rows('FETCH 3 FROM c')]
    done = threading.Event()

    def vacuum():
        with server.connect() as v:
            v.exec('VACUUM (INDEX_CLEANUP on) t')
            done.set()
            v.exec('INSERT INTO t SELECT 5000 + i, i FROM generate_series(1, 96) i')
            v.exec('VACUUM t')

    thread = threading.Thread(target=vacuum, daemon=True)
    thread.start()
    check(not done.wait(1.5), 'VACUUM did not wait for the scan')
    others_go_on(b)
    got += [int(r[0]) for r in a.rows('FETCH ALL FROM c')]
    a.exec('COMMIT')
    thread.join(120)
    check(done.is_set(), 'VACUUM does not end')
    check(got == [1, 2, 3, 4] + list(range(101, 1001)), 'wrong rows: %s' % got[:20])
    say('%s: VACUUM waits for a scan that holds TIDs' % am)
    a.close()
    b.close()


def deadlock(server, am):
    """VACUUM waits for a cursor, and its session for VACUUM: that is noticed."""
    a, b = cursor_over_deleted(server, am)
    a.exec('FETCH 3 FROM c')
    said = []

    def vacuum():
        try:
            with server.connect() as v:
                v.exec('VACUUM (INDEX_CLEANUP on) t')
        except pq.Error as e:
            said.append(e.sqlstate)

    thread = threading.Thread(target=vacuum, daemon=True)
    thread.start()
    waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'VACUUM (INDEX%' AND wait_event = 'BufferPin'"
    harness.wait_for(lambda: server.one(waits) == '1', 'VACUUM does not wait for the cursor')
    a.exec("SET statement_timeout = '60s'")
    a.exec('LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE')
    a.exec('COMMIT')
    thread.join(120)
    check(said == ['40P01'], 'VACUUM said %s' % said)
    say('%s: a deadlock of VACUUM and a cursor is noticed' % am)
    a.close()
    b.close()


def queue(server, am):
    """The cursor's session stands in a long queue for another lock, where each waits for all before it: VACUUM, that
    looks through the queue for itself, can still be cancelled."""
    a, b = cursor_over_deleted(server, am)
    a.exec('FETCH 3 FROM c')
    b.exec('BEGIN; SELECT pg_advisory_xact_lock(1)')
    queued = [server.connect() for _ in range(30)]
    for n, c in enumerate(queued + [a]):
        c.send('SELECT pg_advisory_xact_lock(1)')
        while server.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != str(n + 1):
            time.sleep(0.01)
    said = []

    def vacuum():
        try:
            with server.connect() as v:
                v.exec("SET deadlock_timeout = '50ms'")
                v.exec("SET statement_timeout = '2s'")
                v.exec('VACUUM (INDEX_CLEANUP on) t')
        except pq.Error as e:
            said.append(e.sqlstate)

    thread = threading.Thread(target=vacuum, daemon=True)
    thread.start()
    thread.join(100)
    check(said == ['57014'], 'VACUUM that was to be cancelled said %s' % said)
    b.exec('COMMIT')
    check(a.receive().error is None, 'the cursor lost its place')
    a.exec('COMMIT')
    for c in queued:
        check(c.receive().error is None, 'the queue broke')
    for c in queued + [a, b]:
        c.close()
    say('%s: VACUUM looks through a long queue of waiters' % am)


def storm(server, am):
    """Rows come and go, VACUUM gives their places away; each index-only answer is that of its snapshot."""
    with server.connect() as c:
        fill(c, am)
    end = time.time() + 5
    trouble = []

    def guard(what):
        try:
            with server.connect() as c:
                while time.time() < end and not trouble:
                    what(c)
        except Exception as e:
            trouble.append(str(e))

    def change(c):
        c.exec('DELETE FROM t WHERE k % 7 = (random() * 7)::int')
        c.exec('INSERT INTO t SELECT k, k FROM generate_series(1, 1000) k WHERE NOT EXISTS (SELECT FROM t x WHERE x.k = k.k)')

    def ask(c):
        ask_only_the_index(c)
        c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        by_index = c.rows('SELECT count(*), sum(k) FROM t WHERE k > 0')
        c.exec('SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off')
        by_table = c.rows('SELECT count(*), sum(k) FROM t WHERE k > 0')
        c.exec('COMMIT')
        check(by_index == by_table, 'by index %s, by table %s' % (by_index, by_table))

    threads = [threading.Thread(target=guard, args=(what,), daemon=True)
               for what in (change, ask, ask, lambda c: c.exec('VACUUM (INDEX_CLEANUP on) t'))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
        check(not t.is_alive(), 'a session hangs')
    check(not trouble, '%s: %s' % (am, trouble[:1]))
    server.verify_indexes('t')


def invalidated(server, am):
    """What a session knows of an index is forgotten while its cursor stands in it."""
    with server.connect() as a, server.connect() as b:
        a.exec('DROP TABLE IF EXISTS s; CREATE TABLE s (t text) USING %s; CREATE INDEX s_t ON s USING %s (t)' % (am, METHOD))
        a.exec("INSERT INTO s SELECT 'x' || i FROM generate_series(1, 5000) i; SET enable_sort = off")
        ask_only_the_index(a)
        a.exec('BEGIN; DECLARE c CURSOR FOR SELECT t FROM s ORDER BY t')
        n = len(a.rows('FETCH 100 FROM c'))
        for i in range(5):
            b.exec("INSERT INTO s SELECT 'y' || i FROM generate_series(1, 1000) i")
            b.exec('ANALYZE s')
            b.exec('CREATE TABLE other_%s_%d (i int)' % (am, i))
            a.exec('SELECT count(*) FROM other_%s_%d' % (am, i))
            a.exec('SAVEPOINT p; ROLLBACK TO p; RELEASE p')
            n += len(a.rows('FETCH 300 FROM c'))
            a.exec('COMMIT; BEGIN; DECLARE c CURSOR FOR SELECT t FROM s ORDER BY t; MOVE %d FROM c' % n) if i == 2 else None
        n += len(a.rows('FETCH ALL FROM c'))
        check(n == 5000 + 3000, '%d rows by a cursor whose index was invalidated' % n)
        a.exec('COMMIT')


def test(options):
    server = cluster.make('index-only', conf={'rowan.buffers': '8MB'} if ENGINE else {})
    for am in sorted({'heap', AM}):
        vacuum_waits(server, am)
        if ENGINE:              # btree notices nothing
            deadlock(server, am)
            queue(server, am)
        storm(server, am)
        invalidated(server, am)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
