#!/usr/bin/env python3
"""Dead entries of rowan_btree go before a leaf is split: indexes of tables that are updated all the time stay small without
VACUUM, answer as btree does, and nobody misses an entry: not queries on a standby, not after a crash."""
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, ENGINE, check, say

METHOD = 'rowan_btree' if ENGINE else 'btree'
COLUMNS = ('id', 'k', 'low', 's')
ROWS = 2000


def make_table(c, name, am, method):
    c.exec('CREATE TABLE %s (id int, k int, low int, s text) USING %s' % (name, am))
    c.exec("INSERT INTO %s SELECT i, i, i %% 20, 'text ' || i FROM generate_series(1, %d) i" % (name, ROWS))
    c.exec('CREATE UNIQUE INDEX %s_id ON %s USING %s (id)' % (name, name, method))
    for column in COLUMNS[1:]:
        c.exec('CREATE INDEX %s_%s ON %s USING %s (%s)' % (name, column, name, method, column))
    c.exec('VACUUM ' + name)


def pages(c, name):
    return {x: int(c.rows("SELECT pg_relation_size('%s_%s') / 8192" % (name, x))[0][0]) for x in COLUMNS}


def answers(c, name):
    """Through each index, forward and backward, and by sequential scan: all must agree."""
    out = []
    for way in ('SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off',
                'SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off',
                'SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off'):
        c.exec('BEGIN; ' + way)
        answer = []
        for condition in ('id > 0', 'k > 0', 'low >= 0', "s > ''", 'low = 7', 'k BETWEEN 500 AND 700', 'id IN (1, 5, 1999)', 'id < 0'):
            answer.append(c.rows('SELECT count(*), sum(id), sum(k), min(s) FROM %s WHERE %s' % (name, condition)))
        answer.append(c.rows('SELECT k FROM %s WHERE k > 1500 ORDER BY k' % name))
        answer.append(c.rows('SELECT low FROM %s WHERE low > 3 ORDER BY low DESC' % name))
        c.exec('COMMIT')
        out.append(answer)
    check(out[0] == out[1] == out[2], '%s: indexes and sequential scan differ' % name)
    return out[0]


# ---- growth ----

def churn(c, name, rounds):
    """One index's column changes, the others get entries with the same keys; a scan meanwhile; a queue's end moves."""
    for r in range(rounds):
        for low in range(0, ROWS, 100):
            c.exec('UPDATE %s SET k = k + 1 WHERE id > %d AND id <= %d' % (name, low, low + 100))
        c.exec('DELETE FROM %s WHERE id = %d' % (name, r + 1))
        c.exec("INSERT INTO %s VALUES (%d, %d, %d, 'text')" % (name, r + 1, r, r % 20))
        if r % 5 == 0:
            c.rows('SELECT count(*) FROM %s WHERE low = 3' % name)


def growth(server, am):
    with server.connect() as c:
        c.exec('SET enable_seqscan = off')
        sizes, contents = {}, {}
        for method in ('btree', METHOD):
            name = 'grow_%s_%s' % (am, method)
            make_table(c, name, am, method)
            before = pages(c, name)
            churn(c, name, 25)
            sizes[method] = pages(c, name)
            contents[method] = answers(c, name)
            say('%s, %s: pages of indexes before %s, after %d row versions each %s' % (am, method, before, 25 * ROWS, sizes[method]))
            server.verify_indexes(name)
        check(contents['btree'] == contents[METHOD], '%s: answers differ' % am)
        for x in COLUMNS:
            # files grow by half, and eight pages at a time
            check(sizes[METHOD][x] <= sizes['btree'][x] * 1.5 + 16, '%s: index on %s has %d pages, btree %d' % (
                am, x, sizes[METHOD][x], sizes['btree'][x]))
        # without deletion there would be an entry for each version
        check(sizes[METHOD]['s'] < 25 * ROWS * 20 / 8192, '%s: the index on s keeps all versions' % am)
        if am == AM and ENGINE:
            server.verify('grow_%s_%s' % (am, METHOD))


def marked(server, am):
    """Keys that come again and again, with a scan that finds the dead ones in between: nothing but marks says that they are dead."""
    with server.connect() as c:
        c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off')
        name = 'marked_' + am
        c.exec('CREATE TABLE %s (k int, t text) USING %s' % (name, am))
        c.exec('CREATE INDEX %s_k ON %s USING %s (k, t)' % (name, name, METHOD))
        size = []
        for r in range(30):
            c.exec("INSERT INTO %s SELECT i, repeat('x', 50) || i || ' %d' FROM generate_series(1, 500) i" % (name, r))
            check(c.rows('SELECT count(*) FROM %s WHERE k > 0' % name) == [('500',)], 'wrong number of rows')
            c.exec('DELETE FROM ' + name)
            check(c.rows('SELECT count(*) FROM %s WHERE k > 0' % name) == [('0',)], 'rows after DELETE')
            size.append(int(c.rows("SELECT pg_relation_size('%s_k') / 8192" % name)[0][0]))
        say('%s: pages of an index whose dead entries scans mark: %s' % (am, size))
        check(size[-1] <= 2 * size[3] + 8, 'the index grows: %s' % size)
    server.verify_indexes(name)


# ---- scans that are under way ----

def scans(server, am):
    """Updates on all sides; every snapshot sees each row once, through whichever index; cursors go on where they stand."""
    name = 'scans_' + am
    trouble, end = [], time.time() + 5
    with server.connect() as c:
        make_table(c, name, am, METHOD)
        c.exec('VACUUM ' + name)

    def guard(what, number):
        try:
            with server.connect() as c:
                c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off')
                while time.time() < end and not trouble:
                    what(c, number)
        except Exception as e:
            trouble.append('%s: %s' % (type(e).__name__, e))

    def write(c, number):
        for low in range(number * 50, ROWS, 200):
            c.exec('UPDATE %s SET k = k + 3000 * (1 - 2 * (k > 3000)::int) WHERE id > %d AND id <= %d' % (name, low, low + 50))

    def read(c, number):
        column, direction = COLUMNS[number], ('', ' DESC')[number % 2]
        c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        where = "s > ''" if column == 's' else column + ' >= 0'
        wanted = 's' if column == 's' else column + ', id' if number % 2 else column
        c.exec('DECLARE c CURSOR FOR SELECT %s FROM %s WHERE %s ORDER BY %s%s' % (wanted, name, where, column, direction))
        rows = []
        while True:
            some = c.rows('FETCH 300 FROM c')
            rows += some
            if not some:
                break
        check(len(rows) == ROWS, '%d rows by %s' % (len(rows), column))
        c.exec('COMMIT')

    threads = [threading.Thread(target=guard, args=(what, n), daemon=True)
               for what, numbers in ((write, (0, 1, 2)), (read, (0, 1, 2, 3))) for n in numbers]
    threads.append(threading.Thread(target=guard, args=(lambda c, n: (c.exec('VACUUM ' + name), time.sleep(0.5)), 0), daemon=True))
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        check(not t.is_alive(), 'a session hangs')
    check(not trouble, '%s: %s' % (am, trouble[:1]))
    with server.connect() as c:
        answers(c, name)
    server.verify_indexes(name)
    if am == AM and ENGINE:
        server.verify(name)


# ---- a standby ----

def conflicts(primary, standby, am):
    """A snapshot on the standby sees rows whose entries go on the primary: it must be cancelled rather than miss them."""
    name = 'conflict_' + am
    with primary.connect() as c:
        c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off')
        # no row is pruned: what takes the conflict along is the index
        c.exec('CREATE TABLE %s (k int, t text) WITH (fillfactor = 50) ' % name if am == 'heap' else
               'CREATE TABLE %s (k int, t text) USING %s' % (name, am))
        c.exec('CREATE INDEX %s_k ON %s USING %s (k)' % (name, name, METHOD))
        c.exec("INSERT INTO %s SELECT i, repeat('x', 300) FROM generate_series(1, 800) i" % name)
        standby.wait_replayed(primary)
        watcher = standby.connect()
        watcher.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off')
        check(watcher.rows('SELECT count(*) FROM %s WHERE k > 0' % name) == [('800',)], 'wrong count on the standby')
        before = int(primary.one("SELECT pg_relation_size('%s_k')" % name))
        for r in range(4):
            c.exec('DELETE FROM %s WHERE k > 0' % name)
            check(c.rows('SELECT count(*) FROM %s WHERE k > 0' % name) == [('0',)], 'rows after DELETE')
            c.exec("INSERT INTO %s SELECT i, repeat('x', 300) FROM generate_series(1, 800) i" % name)
        after = int(primary.one("SELECT pg_relation_size('%s_k')" % name))
        check(after <= before * 2 + 8 * 8192, '%s: the index has grown from %d to %d bytes: nothing was deleted' % (am, before, after))
        standby.wait_replayed(primary)
        try:
            found = watcher.rows('SELECT count(*) FROM %s WHERE k > 0' % name)
            check(found == [('800',)], '%s: the snapshot on the standby sees %s rows of 800' % (am, found[0][0]))
            cancelled = False
        except pq.Error:
            cancelled = True
        watcher.close()
        with standby.connect() as s:
            s.exec('SET enable_seqscan = off')
            check(s.rows('SELECT count(*) FROM %s WHERE k > 0' % name) == [('800',)], 'wrong count on the standby, later')
    say('%s: a snapshot on the standby %s' % (am, 'was cancelled' if cancelled else 'still sees all rows'))
    check(cancelled, '%s: entries went, and no conflict was noticed' % am)


# ---- a crash ----

def lost_commit(server, am, attempt=1):
    """A deletion whose commit was not flushed is undone by a crash; what took it for final must not have reached the disk."""
    name = 'lost_%s_%d' % (am, attempt)
    with server.connect() as c:
        c.exec('CREATE TABLE %s (k int, t text) USING %s' % (name, am))
        c.exec('CREATE INDEX %s_k ON %s USING %s (k)' % (name, name, METHOD))
        c.exec("INSERT INTO %s SELECT i, 'x' FROM generate_series(1, 200) i" % name)
        c.exec('VACUUM ' + name)
        c.exec('CHECKPOINT')
        os.kill(int(c.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")[0][0]), signal.SIGSTOP)
        c.exec("INSERT INTO %s SELECT i, 'x' FROM generate_series(201, 210) i" % name)      # the leaf is dirty
        c.exec('SET synchronous_commit = off; SET enable_seqscan = off; SET enable_bitmapscan = off')
        c.exec('DELETE FROM %s WHERE k BETWEEN 50 AND 60' % name)
        for _ in range(3):
            c.rows('SELECT * FROM %s WHERE k > 0' % name)
        if ENGINE:
            c.exec("SELECT rowan.flush('%s_k')" % name)
    server.kill9()
    server.start()
    with server.connect() as c:
        def count(settings):
            c.exec('BEGIN; SET LOCAL enable_bitmapscan = off; ' + settings)
            n = int(c.rows('SELECT count(*) FROM %s WHERE k BETWEEN 50 AND 60' % name)[0][0])
            c.exec('COMMIT')
            return n
        by_index = count('SET LOCAL enable_seqscan = off')
        by_table = count('SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off')
    if by_table != 11:          # somebody has flushed it
        check(attempt < 5, '%s: the deletion is never lost, the test shows nothing' % am)
        return lost_commit(server, am, attempt + 1)
    say('%s: after the crash %d of 11 rows by the index, %d by the table' % (am, by_index, by_table))
    check(by_index == by_table, '%s: the index says %d, the table %d' % (am, by_index, by_table))
    server.verify_indexes(name)


def test(options):
    server = cluster.make('index-delete', conf={'max_standby_streaming_delay': '200ms', 'hot_standby_feedback': 'off',
                                                'wal_retrieve_retry_interval': '100ms', **({'rowan.buffers': '16MB'} if ENGINE else {})})
    standby = server.backup_to('standby').start()
    access_methods = sorted({'heap', AM})
    for am in access_methods:
        conflicts(server, standby, am)
    standby.stop()
    for am in access_methods:
        growth(server, am)
        marked(server, am)
        scans(server, am)
    server.stop()
    server.check_log()
    standby.check_log()
    # without page images recovery finds pages as they were written
    server = cluster.make('index-lost', conf={'full_page_writes': 'off', 'bgwriter_lru_maxpages': '0', **({'rowan.clean_interval': '0'} if ENGINE else {})})
    for am in access_methods if ENGINE else []:
        lost_commit(server, am)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
