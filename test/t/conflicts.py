#!/usr/bin/env python3
"""Queries on a hot standby are not cancelled by Rowan's records more often than by heap's.

One server has the same tables twice: a database of heap tables, one of Rowan's.  Cleaning up after
a transaction only cancels queries of its own database.  The same transactions run in both, at the
same pace, and the same queries on the standby, each holding its snapshot for a while.  What is
compared is how many of them were cancelled, by the standby's own count.

And old queries, under which versions go that they do not need, or do, see what they saw.

    conflicts.py           loads where heap cancels nobody, and one where it does
    conflicts.py --long    all loads, with hot_standby_feedback too
"""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import ENGINE, check, say

CONF = {'max_standby_streaming_delay': '50ms', 'max_standby_archive_delay': '50ms',
        'wal_keep_size': '1GB', 'wal_retrieve_retry_interval': '100ms', 'shared_buffers': '64MB',
        'max_connections': '100', 'autovacuum': 'off'}
ROWS = 2000
TABLES = ("CREATE TABLE t (id int PRIMARY KEY, k int, v int, filler text); CREATE INDEX ON t (k); "
          "INSERT INTO t SELECT i, i, 0, repeat('x', 80) FROM generate_series(1, %d) i; "
          "CREATE TABLE log (id int, filler text)" % ROWS)

# The n-th transaction of a load.
LOADS = {
    'update': "UPDATE t SET v = v + 1 WHERE id % 100 = {n} % 100",
    'move': "UPDATE t SET k = k + 1 WHERE id % 100 = {n} % 100",
    'rollback': "BEGIN; UPDATE t SET v = v + 1 WHERE id % 20 = {n} % 20; ROLLBACK",
    'rollback moves': "BEGIN; UPDATE t SET k = k + 1 WHERE id % 20 = {n} % 20; ROLLBACK",
    'insert': "INSERT INTO log SELECT {n}, repeat('y', 200) FROM generate_series(1, 40)",
    'aborted inserts': "BEGIN; INSERT INTO log SELECT {n}, 'y' FROM generate_series(1, 40); "
                       "ROLLBACK",
    'own rows': "BEGIN; INSERT INTO log VALUES ({n}, 'a'); UPDATE log SET filler = 'b' "
                "WHERE id = {n}; DELETE FROM log WHERE id = {n}; COMMIT",
    'own rows kept': "BEGIN; INSERT INTO log VALUES ({n}, 'a'); UPDATE log SET filler = 'b' "
                      "WHERE id = {n}; UPDATE log SET filler = 'c' WHERE id = {n}; COMMIT",
    'own rows grow': "BEGIN; INSERT INTO log VALUES ({n}, 'a'); UPDATE log SET filler = "
                     "repeat('b', 100) WHERE id = {n}; COMMIT",
    'twice': "BEGIN; UPDATE t SET v = v + 1 WHERE id % 100 = {n} % 100; "
             "UPDATE t SET v = v + 1 WHERE id % 100 = {n} % 100; COMMIT",
    'own keys': "BEGIN; INSERT INTO t SELECT {n} * 10 + 100000 + i, i, 0, 'new' "
                "FROM generate_series(1, 4) i; "
                "UPDATE t SET k = k + 1 WHERE id >= {n} * 10 + 100000; "
                "DELETE FROM t WHERE id >= {n} * 10 + 100000; COMMIT",
    'locks': "BEGIN; SELECT count(*) FROM (SELECT 1 FROM t WHERE id % 50 = {n} % 50 FOR UPDATE) "
             "x; COMMIT",
    'delete': "DELETE FROM t WHERE id % 500 = {n} % 500; "
              "INSERT INTO t SELECT {n} * 10 + 100000 + i, i, 0, 'new' "
              "FROM generate_series(1, 4) i",
    'vacuum': "UPDATE t SET v = v + 1 WHERE id % 100 = {n} % 100; VACUUM t",
    'inserts, vacuum': "INSERT INTO log SELECT {n}, 'y' FROM generate_series(1, 40); VACUUM log",
}
QUIET = ('rollback', 'insert', 'aborted inserts', 'own rows', 'own rows kept', 'own keys',
         'locks')
SECONDS_A_QUERY = 0.4


class Writer(threading.Thread):
    """A load in one database."""

    def __init__(self, server, db, sql, seconds):
        super().__init__(daemon=True)
        self.c, self.sql, self.end = server.connect(db), sql, seconds
        self.n, self.error = 0, None

    def run(self):
        try:
            end = time.time() + self.end
            while time.time() < end:
                self.n += 1
                for statement in self.sql.format(n=self.n).split('; '):
                    self.c.exec(statement)
                time.sleep(0.01)
        except Exception as e:
            self.error = e
        self.c.close()


class Reader(threading.Thread):
    """Queries of a database of the standby, one after the other, until it is told to stop."""

    def __init__(self, standby, db):
        super().__init__(daemon=True)
        self.standby, self.db = standby, db
        self.c, self.stop = standby.connect(db), False
        self.asked = self.cancelled = 0
        self.error = None

    def survives(self):
        """One query; a session that is about to wait for the next is ended, and begins anew."""
        try:
            self.c.exec('SELECT pg_sleep(%g)' % SECONDS_A_QUERY)
            return True
        except pq.Error as e:
            if self.c.alive():
                check(e.sqlstate == '40001', 'not cancelled by recovery: %s %s' % (e.sqlstate, e))
            else:
                # recovery may cancel a session while it begins, too
                self.c = self.standby.connect_patiently(db=self.db)
            return False

    def run(self):
        try:
            while not self.stop:
                self.asked += 1
                if not self.survives():
                    self.cancelled += 1
        except Exception as e:
            self.error = e
        self.c.close()


def conflicts(standby, db):
    return int(standby.one("SELECT confl_snapshot FROM pg_stat_database_conflicts "
                           "WHERE datname = '%s'" % db))


def make_databases(server):
    for db, am in (('on_heap', 'heap'), ('on_rowan', 'rowan')):
        server.sql('CREATE DATABASE ' + db)
        server.sql('CREATE EXTENSION rowan', db)
        server.sql('SET default_table_access_method = %s; %s' % (am, TABLES), db)
        server.sql('VACUUM ANALYZE', db)


def fresh(server):
    """Tables as they were."""
    for db, am in (('on_heap', 'heap'), ('on_rowan', 'rowan')):
        server.sql('DROP TABLE t, log; SET default_table_access_method = %s; %s' % (am, TABLES), db)
        server.sql('VACUUM t', db)


def run_load(server, standby, sql, options):
    """{database: (asked, cancelled)}"""
    fresh(server)
    standby.wait_replayed(server)
    readers = [Reader(standby, db) for db in ('on_heap', 'on_rowan') for _ in range(3)]
    writers = [Writer(server, db, sql, options.seconds) for db in ('on_heap', 'on_rowan')]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    standby.wait_replayed(server)
    for thread in readers:
        thread.stop = True
    for thread in readers:
        thread.join()
    for thread in readers + writers:
        if thread.error is not None:
            raise thread.error
    return [(sum(r.asked for r in part), sum(r.cancelled for r in part))
            for part in (readers[:3], readers[3:])], [w.n for w in writers]


def compare(server, standby, name, feedback, options):
    (heap, rowan), n = run_load(server, standby, LOADS[name], options)
    say('%-16s feedback %-3s %4d and %4d transactions: heap cancels %d of %d, Rowan %d of %d'
        % (name, feedback, *n, heap[1], heap[0], rowan[1], rowan[0]))
    # how many a query meets depends on when it begins
    check(options.report or rowan[1] <= (heap[1] * 1.2 + 2 if heap[1] else 0),
          '%s: Rowan cancels %d of %d queries, heap %d of %d' % (name, *rowan[::-1], *heap[::-1]))


# ---- what an old query sees ----

# What nobody else has seen goes in spite of old queries, which see what was there before.
SEEN = ("SET enable_seqscan = {seq}; SELECT count(*), sum(v), min(id) FROM own WHERE id > 0",
        "SET enable_seqscan = {seq}; SELECT id, v FROM own WHERE id IN (5, 150, 1003)")
# pages of versions are filled, but not the leaf, or its rows would be frozen
CHANGES = (
    "INSERT INTO own SELECT i, {n}, 'new' FROM generate_series(1000 + {n} * 2, 1001 + {n} * 2) i",
    "DO $$BEGIN FOR i IN 1..100 LOOP UPDATE own SET v = v + 1 WHERE id >= 1000 + {n} * 2; "
    "END LOOP; END$$",
    "DELETE FROM own WHERE id = 1000 + {n} * 2")


def change_own_rows(c, n):
    c.exec('BEGIN')
    for sql in CHANGES:
        c.exec(sql.format(n=n))
    c.exec('COMMIT')


def check_old_query(server, standby):
    """An old query of the standby is not cancelled, and sees what it saw."""
    db = 'on_rowan'
    server.sql("CREATE TABLE own (id int PRIMARY KEY, v int, filler text) USING rowan "
               "WITH (autovacuum_enabled = off); "
               "INSERT INTO own SELECT i, 0, 'old' FROM generate_series(1, 200) i", db)
    server.sql('VACUUM own', db)
    standby.wait_replayed(server)
    with standby.connect(db) as old, server.connect(db) as c:
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        asked = [sql.format(seq=seq) for sql in SEEN for seq in ('on', 'off')]
        before = [old.rows(sql) for sql in asked]
        for n in range(40):
            change_own_rows(c, n)
            if n % 10 == 9:
                standby.wait_replayed(server)
                check([old.rows(sql) for sql in asked] == before, 'an old query sees other rows')
                standby.verify('own', db=db)
        old.exec('COMMIT')
        check([old.rows(sql) for sql in asked] != before, 'nothing has happened')
    standby.wait_replayed(server)
    standby.verify('own', db=db)


def check_promoted(server, standby):
    """The same, when the standby becomes a primary under the query."""
    db = 'on_rowan'
    with standby.connect(db) as old, server.connect(db) as c:
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        before = old.rows('SELECT count(*), sum(v) FROM own')
        for n in range(40, 50):
            change_own_rows(c, n)
        standby.wait_replayed(server)
        standby.promote()
        standby.sql('UPDATE own SET v = v + 1 WHERE id < 100', db)
        check(old.rows('SELECT count(*), sum(v) FROM own') == before,
              'an old query sees other rows after a promotion')
        standby.verify('own', db=db)


class Pages:
    """Pages of versions of a table, those that are appended to now."""

    def __init__(self, c, table):
        self.c, self.table = c, table

    def filled(self):
        """{block: bytes}"""
        return {int(block): int(lower) for block, lower in self.c.rows(
            "SELECT b, lower FROM rowan.file_header('{0}'), unnest(version_active) b, "
            "LATERAL rowan.page_header('{0}', b)".format(self.table))}

    def update(self, c, id):
        """The page that the old version went to."""
        before = self.filled()
        c.exec('UPDATE %s SET v = v + 1 WHERE id = %d' % (self.table, id))
        changed = [b for b, n in self.filled().items() if before.get(b) != n]
        check(len(changed) == 1, 'pages with a new version: %s' % changed)
        return changed[0]


def sessions_by_page(server, db):
    """22 sessions, those together that append to the same page."""
    groups = {}
    with server.connect(db) as c:
        c.exec('CREATE TABLE shared (id int, v int) USING rowan; INSERT INTO shared VALUES (1, 0)')
        c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1')   # no page goes
        pages = Pages(c, 'shared')
        for _ in range(22):
            session = server.connect(db)
            groups.setdefault(pages.update(session, 1), []).append(session)
        c.exec('COMMIT; DROP TABLE shared')
    return list(groups.values())


def make_pages(server, db, groups):
    """(pages, early, late, a, other, last): session a has the page `late` in mind, which was freed
    and is the other one's now; that of its own slot, `early`, comes before it in the list."""
    a, twin = next(g for g in groups if len(g) > 1)[:2]
    other, third, fourth, fifth, last, old = [g[0] for g in groups if a not in g][:6]
    pages = Pages(server.connect(db), 'ordered')
    snapshot = 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1'
    old.exec(snapshot)
    taken = [pages.update(c, 1) for c in (a, third, fourth) for _ in range(2)][::2]
    old.exec('COMMIT')
    old.exec(snapshot)
    # the first frees those three, and they are taken again
    again = [pages.update(c, 2) for c in (fifth, twin, other)]
    check(again == taken[::-1], 'of pages %s, %s are taken again' % (taken, again))
    late, early = taken[:2]
    old.exec('COMMIT')
    return pages, early, late, a, other, last


def make_forgetful(c):
    """A table that has the place of `ordered` where a session keeps its page in mind."""
    while True:
        c.exec('CREATE TABLE other (v int) USING rowan; INSERT INTO other VALUES (0)')
        if c.one("SELECT (pg_relation_filenode('other')::int8 - "
                 "pg_relation_filenode('ordered')::int8) % 64") == '0':
            return
        c.exec('DROP TABLE other')


def check_order(server, standby):
    """A transaction changes a row, then again, and what it superseded at last is freed first."""
    db = 'on_rowan'
    groups = sessions_by_page(server, db)
    server.sql("CREATE TABLE ordered (id int, v int) USING rowan "
               "WITH (autovacuum_enabled = off); "
               "INSERT INTO ordered SELECT i, 0 FROM generate_series(1, 40) i", db)
    server.sql('VACUUM ordered', db)
    make_forgetful(groups[0][0])
    pages, early, late, a, other, last = make_pages(server, db, groups)
    standby.wait_replayed(server)
    with standby.connect(db) as old:
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        sql = 'SELECT count(*), sum(v) FROM ordered'
        before = old.rows(sql)
        a.exec('BEGIN')
        check(pages.update(a, 5) == late, 'the page that was freed is out of mind')
        a.exec('UPDATE other SET v = 1')
        check(pages.update(a, 5) == early, 'that page is still in mind')
        a.exec('COMMIT')
        other.exec('BEGIN')
        check(pages.update(other, 6) == late, 'the later page may be freed, too')
        pages.update(last, 7)               # frees those before
        check(pages.c.one("SELECT version_head FROM rowan.file_header('ordered')") == str(late),
              'the earlier page was not freed')
        standby.wait_replayed(server)
        try:
            check(old.rows(sql) == before, 'an old query misses a row')
        except pq.Error as e:
            check(e.sqlstate == '40001' or not old.alive(), 'not cancelled by recovery: %s' % e)
        other.exec('COMMIT')
    for c in [pages.c] + sum(groups, []):
        c.close()
    standby.verify('ordered', db=db)


def test(options):
    if not ENGINE:
        return
    options.seconds = options.seconds or (10 if options.long else 2)
    server = cluster.make('primary', conf=CONF)
    make_databases(server)
    standby = server.backup_to('standby')
    standby.start()
    if not options.loads:
        check_old_query(server, standby)
        check_order(server, standby)
    names = options.loads.split(',') if options.loads else \
        list(LOADS) if options.long else QUIET + ('update',)
    for feedback in ('off', 'on') if options.long else ('off',):
        standby.sql('ALTER SYSTEM SET hot_standby_feedback = ' + feedback)
        standby.sql('SELECT pg_reload_conf()')
        time.sleep(1)
        for name in names:
            compare(server, standby, name, feedback, options)
    for db in ('on_heap', 'on_rowan'):
        say('%s: %d conflicts' % (db, conflicts(standby, db)))
        server.verify(db=db)
        standby.verify(db=db)
    if not options.loads:
        check_promoted(server, standby)
    for s in (standby, server):
        s.stop()
        s.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seconds', type=float, help='of each load')
    parser.add_argument('--loads', help='names, with commas')
    parser.add_argument('--report', action='store_true', help='only say what is found')
    harness.main(test, parser)
