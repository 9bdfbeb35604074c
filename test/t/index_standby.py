#!/usr/bin/env python3
"""Index-only scans of rowan_btree on a standby: redo of VACUUM waits for nobody, takes entries away that a scan has copied, gives
their TIDs to other rows and marks blocks all-visible; each answer is still that of its snapshot (I-IDX-6)."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, ENGINE, check, say

METHOD = 'rowan_btree' if ENGINE else 'btree'
# a record that takes something from a snapshot in use waits for its end
CONF = {'max_standby_streaming_delay': '-1', 'hot_standby_feedback': 'off', 'wal_retrieve_retry_interval': '100ms'}
ROWS = 4000

INDEX_ONLY = 'SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexscan = on; ' \
             'SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_sort = off; ' \
             'SET LOCAL enable_hashjoin = off; SET LOCAL enable_nestloop = off; SET LOCAL enable_material = off'
BY_TABLE = 'SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexscan = off; ' \
           'SET LOCAL enable_indexonlyscan = off'

# name, query, rows that cursors have fetched when the primary goes on
CASES = [
    ('forward', 'SELECT k FROM t WHERE k > 0 ORDER BY k', [3]),
    ('far', 'SELECT k FROM t WHERE k > 0 ORDER BY k', [3, 1500]),
    ('backward', 'SELECT k FROM t WHERE k > 0 ORDER BY k DESC', [3]),
    ('lists', 'SELECT h FROM t WHERE h > 0 ORDER BY h', [3]),
    ('two columns', 'SELECT g, k FROM t WHERE g IN (1, 3) ORDER BY g, k', [3]),
    ('checked', 'SELECT g, k FROM t WHERE g > 0 AND k % 7 <> 0 AND k > 20 ORDER BY g, k', [3, 700]),
    ('points', 'SELECT k FROM t WHERE k = ANY (ARRAY(SELECT generate_series(1, %d, 3))) ORDER BY k' % ROWS, [3]),
    # the inner scan has just gone back to its mark, once in each group
    ('merge join', 'SELECT u.x, t.k FROM u JOIN t ON t.g = u.x ORDER BY u.x', [3, 560, 1630, 2700, 3770]),
]


def make_table(primary, am):
    with primary.connect() as c:
        c.exec('DROP TABLE IF EXISTS t, u; CREATE TABLE t (k int, g int, h int, v int) USING %s; CREATE TABLE u (x int) USING %s; '
               'CREATE INDEX t_k ON t USING %s (k); CREATE INDEX t_h ON t USING %s (h)' % (am, am, METHOD, METHOD))
        c.exec('INSERT INTO t SELECT i, i %% 5, i %% 5, i FROM generate_series(1, %d) i; INSERT INTO u SELECT i / 2 FROM generate_series(2, 9) i' % ROWS)
        # full leaves: groups begin in the middle of them
        c.exec('CREATE INDEX t_gk ON t USING %s (g, k); CREATE INDEX u_x ON u USING %s (x)' % (METHOD, METHOD))
        cluster.vacuum_all(c, 't')
        cluster.vacuum_all(c, 'u')


def explain(c, query):
    return '\n'.join(r[0] for r in c.rows('EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) ' + query))


def replayed_beside_cursor(standby, primary):
    """btree's pages are pinned by such scans, so there redo waits for them."""
    if ENGINE:
        standby.wait_replayed(primary)
    else:
        time.sleep(0.3)


def planned(standby, am):
    """They are chosen, and look at no rows of all-visible blocks."""
    with standby.connect() as c:
        c.exec('BEGIN')
        c.exec(INDEX_ONLY)
        for name, query, _ in CASES:
            plan = explain(c, query)
            check('Heap Fetches: 0' in plan, '%s, %s: all is visible, but rows are fetched:\n%s' % (am, name, plan))
        c.exec('COMMIT')
        plan = '\n'.join(r[0] for r in c.rows('EXPLAIN SELECT count(*) FROM t WHERE k BETWEEN 100 AND 200'))
        check('Index Only Scan' in plan, '%s: not chosen by cost:\n%s' % (am, plan))


def delete_some(primary, pruned):
    """Dead to all snapshots taken from now on, but still in the indexes.  Not pruned: then rows at both ends stay, so that
    the cursor pins nothing that redo has to prune."""
    these = 'k BETWEEN %d AND %d' % ((20, ROWS - 20) if pruned else (400, ROWS - 400))
    with primary.connect() as c:
        c.exec('DELETE FROM t WHERE %s AND k %% 3 = 0' % these)
        c.exec('UPDATE t SET v = v + 1 WHERE %s AND k %% 4 = 0' % these)
        if pruned:
            c.exec('VACUUM (INDEX_CLEANUP off, TRUNCATE off) t')


def take_entries_away(primary, standby):
    with primary.connect() as c:
        cluster.vacuum_all(c, 't', 'INDEX_CLEANUP on')
    replayed_beside_cursor(standby, primary)
    if not ENGINE:
        return
    with standby.connect() as c:
        c.exec('BEGIN')
        c.exec(INDEX_ONLY)
        plan = explain(c, 'SELECT k FROM t WHERE k > 0 ORDER BY k')
        check('Heap Fetches: 0' in plan, 'the map is not set again on the standby:\n' + plan)


def fill_the_gaps(primary, standby):
    """Their TIDs for other rows, which the snapshot must not see; then more that would take from it what it sees, and waits."""
    with primary.connect() as c:
        c.exec('INSERT INTO t SELECT k, k %% 5, k %% 5, -1 FROM generate_series(1, %d) k' % (ROWS // 3))
        c.exec('UPDATE t SET k = k + 1 WHERE k % 16 = 0')
        replayed_beside_cursor(standby, primary)
        c.exec('DELETE FROM t WHERE k % 2 = 0')
        c.exec('VACUUM (INDEX_CLEANUP on) t')
    time.sleep(0.3)


def one_case(primary, standby, am, case, pruned, refill):
    name, query, fetched = case
    make_table(primary, am)
    delete_some(primary, pruned)
    standby.wait_replayed(primary)
    with standby.connect() as c:
        c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        c.exec(BY_TABLE)
        expected = c.rows(query)
        c.exec(INDEX_ONLY)
        plan = '\n'.join(r[0] for r in c.rows('EXPLAIN (COSTS off) ' + query))
        check('Index Only Scan' in plan and 'Index Scan' not in plan and 'Material' not in plan,
              '%s, %s: not the plan for it:\n%s' % (am, name, plan))
        got = []
        for n in fetched:
            c.exec('DECLARE c%d CURSOR FOR %s' % (n, query))
            got.append(c.rows('FETCH %d FROM c%d' % (n, n)))
        take_entries_away(primary, standby)
        if refill:
            fill_the_gaps(primary, standby)
        for n, some in zip(fetched, got):
            rows = some + c.rows('FETCH ALL FROM c%d' % n)
            if name == 'merge join':
                rows, expected = sorted(rows), sorted(expected)
            check(rows == expected, '%s, %s, from row %d: %d rows by index, %d by table; %s' %
                  (am, name, n, len(rows), len(expected), sorted(set(rows) ^ set(expected))[:5]))
        again = c.rows(query)
        check(len(again) == len(expected), '%s, %s, again: %d rows by index, %d by table' % (am, name, len(again), len(expected)))
        c.exec('COMMIT')
    standby.wait_replayed(primary)


def scrolled(primary, standby, am):
    """Back over entries that are gone."""
    make_table(primary, am)
    delete_some(primary, True)
    standby.wait_replayed(primary)
    with standby.connect() as c:
        c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        c.exec(INDEX_ONLY)
        c.exec('DECLARE c SCROLL CURSOR FOR SELECT k FROM t WHERE k > 0 ORDER BY k')
        there = c.rows('FETCH 2000 FROM c')
        take_entries_away(primary, standby)
        back = c.rows('FETCH BACKWARD ALL FROM c')
        check(back == there[-2::-1], '%s: %d rows forward, %d back' % (am, len(there), len(back)))
        check(c.rows('FETCH 2000 FROM c') == there, '%s: forward again differs' % am)
        c.exec('COMMIT')


def storm(primary, standby, am, rnd):
    """Rows come and go, VACUUM gives their places away; each index-only answer is that of its snapshot."""
    make_table(primary, am)
    standby.wait_replayed(primary)
    end = time.time() + 4
    trouble, asked = [], []

    def guard(server, what, seed):
        own = random.Random(seed)
        try:
            with server.connect() as c:
                while time.time() < end and not trouble:
                    what(c, own)
        except Exception as e:
            trouble.append(str(e))

    def change(c, own):
        c.exec('DELETE FROM t WHERE k %% 7 = %d' % own.randrange(7))
        c.exec('UPDATE t SET %s WHERE k %% 50 = %d' % (own.choice(['v = v + 1', 'g = (g + 1) % 5']), own.randrange(50)))
        c.exec('INSERT INTO t SELECT k, k %% 5, k %% 5, k FROM generate_series(1, %d) k WHERE NOT EXISTS (SELECT FROM t x WHERE x.k = k.k)' % ROWS)

    def ask(c, own):
        name, query, _ = own.choice(CASES)
        c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        c.exec(INDEX_ONLY)
        if own.random() < 0.3:
            c.exec('SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_index_scan_size = 0; '
                   'SET LOCAL min_parallel_table_scan_size = 0')
            by_index = c.rows('SELECT count(*), sum(k) FROM t WHERE k > 0')
            query = 'SELECT count(*), sum(k) FROM t WHERE k > 0'
        else:
            c.exec('DECLARE c CURSOR FOR ' + query)
            by_index = c.rows('FETCH %d FROM c' % own.choice([1, 10, 500]))
            time.sleep(own.choice([0, 0.05, 0.2]))
            by_index += c.rows('FETCH ALL FROM c')
        c.exec(BY_TABLE)
        by_table = c.rows(query)
        c.exec('COMMIT')
        check(sorted(by_index) == sorted(by_table), '%s: %d rows by index, %d by table; %s' %
              (name, len(by_index), len(by_table), sorted(set(by_index) ^ set(by_table))[:5]))
        asked.append(1)

    def vacuum(c, own):
        c.exec('VACUUM (INDEX_CLEANUP on) t')

    threads = [threading.Thread(target=guard, args=(server, what, rnd.random()), daemon=True)
               for server, what in ((primary, change), (primary, vacuum), (standby, ask), (standby, ask))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        check(not t.is_alive(), 'a session hangs')
    check(not trouble, '%s: %s' % (am, trouble[:1]))
    check(asked, 'nothing was asked')
    standby.wait_replayed(primary)
    for s in (primary, standby):
        s.verify_indexes('t')
    say('%s: %d index-only answers on the standby under load' % (am, len(asked)))


def promoted(primary, standby, am):
    """A cursor stands on a leaf copied in recovery; the server is promoted, and vacuums."""
    make_table(primary, am)
    delete_some(primary, True)
    standby.wait_replayed(primary)
    a, b = standby.connect(), standby.connect()
    a.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
    a.exec(BY_TABLE)
    query = 'SELECT k FROM t WHERE k > 0 ORDER BY k'
    expected = a.rows(query)
    a.exec(INDEX_ONLY)
    a.exec('DECLARE c CURSOR FOR ' + query)
    got = a.rows('FETCH 3 FROM c')
    standby.promote()
    b.exec("SET statement_timeout = '60s'")
    vacuum = 'VACUUM (INDEX_CLEANUP %s) t' % ('on' if ENGINE else 'off')    # does not wait: the cursor holds no lock (btree: pins)
    b.exec(vacuum)
    b.exec('INSERT INTO t SELECT k, k % 5, k % 5, -1 FROM generate_series(1, 100) k')
    b.exec(vacuum)
    got += a.rows('FETCH 2000 FROM c')          # this leaf is another one
    if ENGINE:
        b.exec('DELETE FROM t WHERE v = -1')
        held = b.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'tuple' AND mode = 'ShareLock'")
        check(held == [('1',)], 'the scan holds no lock on a leaf copied after the promotion: %s' % held)
    got += a.rows('FETCH ALL FROM c')
    check(got == expected, 'promoted, %s: %d rows by index, %d by table' % (am, len(got), len(expected)))
    a.exec('COMMIT')
    a.close()
    b.close()
    standby.verify()


def test(options):
    rnd = random.Random(options.seed)
    primary = cluster.make('primary', conf=dict(CONF, **({'rowan.buffers': '8MB'} if ENGINE else {})))
    standby = primary.backup_to('standby').start()
    for am in sorted({'heap', AM}):
        make_table(primary, am)
        standby.wait_replayed(primary)
        planned(standby, am)
        for n, case in enumerate(CASES):
            # an unpruned block that the cursor has pinned would keep redo waiting
            one_case(primary, standby, am, case, pruned=case[2] != [3] or n % 2 == 1, refill=n % 2 == 0)
        scrolled(primary, standby, am)
        storm(primary, standby, am, rnd)
        say('%s: %d cursors over entries that redo took away' % (am, sum(len(c[2]) for c in CASES) + 1))
    for am in sorted({'heap', AM}):
        if am != AM:            # each promotion needs a standby of its own
            another = primary.backup_to('another').start()
            promoted(primary, another, am)
            another.stop()
        else:
            promoted(primary, standby, am)
    for s in (primary, standby):
        s.stop()
        s.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
