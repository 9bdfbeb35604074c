#!/usr/bin/env python3
"""xmin is the transaction that made the row's version, for as long as the row lives.

A heap table and a Rowan table with the same rows, every change being made to both in one transaction, so that xmin of each row is the same
number in both: after updates in place and moves, deletions and rollbacks, VACUUM, pruning, VACUUM FULL, CLUSTER, COPY FREEZE, for old
snapshots, after a crash, on a standby, and after more transactions than can be compared.  Two users of xmin on top of that: a token against
lost updates, and a reader of what has changed.

    xmin.py --seed 7 --rounds 200
"""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import aging
import cluster
import harness
from harness import AM, ENGINE, check, say

TWINS = (('h', 'heap'), ('r', AM))
ROWS = 1200
# every way to a row: sequential scan, index scan, bitmap scan, by TID
PATHS = ('SET enable_indexscan = off; SET enable_bitmapscan = off', 'SET enable_seqscan = off; SET enable_bitmapscan = off',
         'SET enable_seqscan = off; SET enable_indexscan = off')
RESET = '; '.join('RESET enable_%s' % x for x in ('seqscan', 'indexscan', 'bitmapscan'))


def both(c, sql):
    """One transaction makes the change in both tables."""
    c.exec('BEGIN')
    for twin, _ in TWINS:
        c.exec(sql.replace('$', '_' + twin))
    c.exec('COMMIT')


def each(c, sql):
    """In the transaction there is, or, if it makes no row, in one for each."""
    for twin, _ in TWINS:
        c.exec(sql.replace('$', '_' + twin))


def same_xmin(c, table='t', what='', paths=PATHS[:1]):
    """The rows of both tables, with their xmin, are the same; those."""
    for path in paths:
        c.exec(path)
        heap, ours = [c.rows('SELECT id, v, xmin FROM %s_%s WHERE id >= 0 ORDER BY id' % (table, twin)) for twin, _ in TWINS]
        c.exec(RESET)
        differ = [(a, b) for a, b in zip(heap, ours) if a != b][:5]
        check(len(heap) == len(ours) and not differ, '%s: %d rows of heap, %d here; heap, here: %s' % (what, len(heap), len(ours), differ))
    return heap


def make(c, table='t', options=''):
    for twin, am in TWINS:
        c.exec('CREATE TABLE %s_%s (id int PRIMARY KEY, k int, v int, s text) USING %s %s; CREATE INDEX %s_%s_k ON %s_%s (k)' % (
            table, twin, am, options, table, twin, table, twin))


# ---- the users of xmin ----

def token(server):
    """Two users change the row that both have read: the second one must notice, VACUUM or no VACUUM."""
    with server.connect() as a, server.connect() as b:
        for twin, am in TWINS:
            a.exec("CREATE TABLE doc_%s (id int PRIMARY KEY, s text) USING %s; INSERT INTO doc_%s VALUES (1, 'first')" % (twin, am, twin))
            a.exec('VACUUM doc_' + twin)
            seen = [c.one('SELECT xmin FROM doc_%s WHERE id = 1' % twin) for c in (a, b)]
            check(seen[0] == seen[1], 'two tokens of one version')
            update = "UPDATE doc_%s SET s = '%s' WHERE id = 1 AND xmin = '%s' RETURNING id"
            check(a.rows(update % (twin, 'of a', seen[0])) == [('1',)], '%s: the first one is refused' % am)
            a.exec('VACUUM doc_' + twin)
            check(b.rows(update % (twin, 'of b', seen[1])) == [], '%s: an update is lost' % am)
            fresh = b.one('SELECT xmin FROM doc_%s WHERE id = 1' % twin)
            check(b.rows(update % (twin, 'of b', fresh)) == [('1',)], '%s: the fresh token is refused' % am)
            # a change that is taken back leaves the token valid
            fresh = a.one('SELECT xmin FROM doc_%s WHERE id = 1' % twin)
            a.exec('VACUUM doc_' + twin)
            for change in ('UPDATE doc_%s SET s = 3' % twin, 'DELETE FROM doc_%s' % twin, 'SELECT 1 FROM doc_%s FOR UPDATE' % twin):
                b.exec('BEGIN; %s; ROLLBACK' % change)
            check(a.rows(update % (twin, 'of a', fresh)) == [('1',)], '%s: the token is refused after a rollback' % am)
    say('token: fine')


def cursor(server):
    """A reader who remembers the largest xmin gets what was changed since, VACUUM or no VACUUM."""
    with server.connect() as c:
        for twin, am in TWINS:
            c.exec('CREATE TABLE log_%s (id int, v int) USING %s' % (twin, am))
        both(c, 'INSERT INTO log$ SELECT i, 0 FROM generate_series(1, 1000) i')
        answers = {}
        position = {twin: 0 for twin, _ in TWINS}
        for step, sql in enumerate(('UPDATE log$ SET v = 1 WHERE id % 3 = 0', 'INSERT INTO log$ SELECT i, 5 FROM generate_series(1001, 1100) i',
                                    'UPDATE log$ SET v = v + 1 WHERE id % 5 = 0', 'DELETE FROM log$ WHERE id % 7 = 0')):
            both(c, sql)
            each(c, 'VACUUM log$')
            for twin, _ in TWINS:
                rows = c.rows('SELECT id, v, xmin FROM log_%s WHERE xmin::text::bigint > %s ORDER BY id' % (twin, position[twin]))
                position[twin] = max([int(r[2]) for r in rows] + [position[twin]])
                answers[twin, step] = rows
            check(answers['h', step] == answers['r', step], 'after %s: heap %d changed rows, here %d' % (
                sql, len(answers['h', step]), len(answers['r', step])))
            check(len(answers['h', step]) > 50 or 'DELETE' in sql, 'nothing has changed')
    say('cursor: fine')


# ---- one thing after the other ----

def load(c, table='t'):
    """By many transactions, some rows of a page by one, some by another."""
    both(c, "INSERT INTO %s$ SELECT i, i, 0, repeat('x', 30) FROM generate_series(1, %d) i" % (table, ROWS // 2))
    for first in range(ROWS // 2 + 1, ROWS + 1, 100):
        both(c, "INSERT INTO %s$ SELECT i, i, 0, repeat('y', 30) FROM generate_series(%d, %d) i" % (table, first, first + 99))
    c.exec('BEGIN')
    each(c, "INSERT INTO %s$ VALUES (%d, 1, 1, 'a')" % (table, ROWS + 1))
    c.exec('SAVEPOINT x')
    each(c, "INSERT INTO %s$ VALUES (%d, 1, 1, 'b')" % (table, ROWS + 2))
    c.exec('RELEASE x')
    each(c, "INSERT INTO %s$ VALUES (%d, NULL, NULL, NULL), (%d, 1, 1, repeat('long', 3000))" % (table, ROWS + 3, ROWS + 4))
    c.exec('COMMIT')


def steps(server):
    with server.connect() as c:
        make(c)
        load(c)
        same_xmin(c, what='loaded', paths=PATHS)
        vacuums = ('VACUUM t$', 'VACUUM FREEZE t$', 'VACUUM FULL t$', 'CLUSTER t$ USING t$_k', 'SET enable_indexscan = off; CLUSTER t$ USING t$_k; RESET enable_indexscan',
                   'VACUUM (INDEX_CLEANUP off) t$')
        for n, how in enumerate(vacuums + vacuums[:2]):
            for part in how.split('; '):
                each(c, part)
            same_xmin(c, what=how, paths=PATHS)
            both(c, 'UPDATE t$ SET v = v + 1 WHERE id %% 3 = %d' % (n % 3))
            both(c, 'UPDATE t$ SET k = k + 1 WHERE id %% 10 = %d' % (n % 10))
            both(c, 'DELETE FROM t$ WHERE id %% 97 = %d' % (n % 97))
            same_xmin(c, what='changed after ' + how, paths=PATHS)
            for undone in ('UPDATE t$ SET v = -1 WHERE id % 2 = 0', 'DELETE FROM t$ WHERE id % 4 < 2', 'UPDATE t$ SET k = -1 WHERE id % 7 = 0'):
                for part in how.split('; '):
                    each(c, part)
                c.exec('BEGIN')
                for twin, _ in TWINS:
                    c.exec(undone.replace('$', '_' + twin))
                c.exec('SAVEPOINT x')
                for twin, _ in TWINS:
                    c.exec('UPDATE t_%s SET v = -2 WHERE id %% 5 = 0' % twin)
                c.exec('ROLLBACK TO x')
                same_xmin(c, what='in a transaction')
                c.exec('ROLLBACK')
                same_xmin(c, what=undone + ' was rolled back', paths=PATHS)
                both(c, 'UPDATE t$ SET v = v + 1 WHERE id % 50 = 3')         # pops and prunes
                same_xmin(c, what='changed after that', paths=PATHS)
        # by TID, and locked: the version's own xmin
        each(c, 'VACUUM t$')
        truth = dict((r[0], r[2]) for r in same_xmin(c))
        for lock in ('', ' FOR UPDATE', ' FOR KEY SHARE'):
            got = c.rows('SELECT t.id, t.xmin FROM t_r t, (SELECT ctid AS at FROM t_r WHERE id % 100 = 5) x WHERE t.ctid = x.at' + lock)
            check(got and all(truth[i] == x for i, x in got), 'by TID%s: %s' % (lock, got[:3]))
        # what RETURNING shows
        c.exec('BEGIN')
        got = [c.rows('DELETE FROM t_%s WHERE id %% 100 = 7 RETURNING id, xmin' % twin) for twin, _ in TWINS]
        check(sorted(got[0]) == sorted(got[1]) and got[0], 'DELETE RETURNING: %s %s' % (got[0][:3], got[1][:3]))
        c.exec('ROLLBACK')
        for rewrite in ('ALTER TABLE t$ ALTER v TYPE bigint', 'ALTER TABLE t$ ADD w int DEFAULT 5'):
            both(c, rewrite)
            same_xmin(c, what=rewrite)
            each(c, 'VACUUM FULL t$')
            same_xmin(c, what=rewrite + ', rewritten')
        server.verify('t_r')
    say('steps: fine')


def freeze(server):
    with server.connect() as c:
        make(c, 'f')
        for n, sql in enumerate(("COPY f$ (id, v) FROM PROGRAM 'seq -f %g,0 1 400' WITH (FORMAT csv, FREEZE)",
                                 "COPY f$ (id, v) FROM PROGRAM 'seq -f %g,0 401 3000' WITH (FORMAT csv)",
                                 "COPY f$ (id, v) FROM PROGRAM 'seq -f %g,0 1 3000' WITH (FORMAT csv, FREEZE)")):
            c.exec('BEGIN')
            if 'FREEZE' in sql:
                each(c, 'TRUNCATE f$')
            each(c, sql)
            c.exec('SAVEPOINT x')
            each(c, "INSERT INTO f$ SELECT i, i, 1, 's' FROM generate_series(%d, %d) i" % (5000 + n * 1000, 5500 + n * 1000))
            same_xmin(c, 'f', sql)
            c.exec('COMMIT')
            same_xmin(c, 'f', sql, PATHS)
            each(c, 'VACUUM f$')
            same_xmin(c, 'f', sql + ' and VACUUM', PATHS)
            both(c, 'UPDATE f$ SET v = v + 1 WHERE id % 9 = 0; DELETE FROM f$ WHERE id % 9 = 1')
            same_xmin(c, 'f', sql + ' and UPDATE', PATHS)
            each(c, 'VACUUM f$')
            same_xmin(c, 'f', sql + ', UPDATE and VACUUM', PATHS)
        server.verify('f_r')
    say('COPY FREEZE: fine')


def merging(server):
    """Pages filled by different transactions become fewer when most of their rows go."""
    with server.connect() as c:
        make(c, 'm')
        for first in range(1, 6001, 60):
            both(c, "INSERT INTO m$ SELECT i, i, 0, repeat('m', 40) FROM generate_series(%d, %d) i" % (first, first + 59))
        each(c, 'VACUUM m$')
        leaves = int(c.one("SELECT leaf_pages FROM rowan.tree_stats('m_r')")) if ENGINE else 0
        both(c, 'DELETE FROM m$ WHERE id % 10 > 0')
        each(c, 'VACUUM m$')
        same_xmin(c, 'm', 'merged', PATHS)
        if ENGINE:
            left = int(c.one("SELECT leaf_pages FROM rowan.tree_stats('m_r')"))
            say('%d leaves, %d when nine rows of ten are gone' % (leaves, left))
            check(left <= leaves // 4, 'leaves have not been merged')
        # rows in the process of being deleted, too
        with server.connect() as d:
            both(c, 'DELETE FROM m$ WHERE id % 30 > 0')
            d.exec('BEGIN')
            each(d, 'DELETE FROM m$ WHERE id % 120 = 0')
            each(c, 'VACUUM m$')
            same_xmin(c, 'm', 'merged beside a deletion', PATHS)
            d.exec('ROLLBACK')
            same_xmin(c, 'm', 'the deletion was rolled back', PATHS)
        each(c, 'VACUUM m$')
        both(c, "INSERT INTO m$ SELECT i, i, 0, 'new' FROM generate_series(6001, 6500) i")
        same_xmin(c, 'm', 'merged again', PATHS)
        server.verify('m_r')
    say('merging: fine')


# ---- anything ----

def random_change(rng, top):
    some = rng.randint(1, top[0])
    few = (some, some + rng.choice((0, 2, 30, 300)))
    kind = rng.random()
    if kind < 0.2:
        first, top[0] = top[0] + 1, top[0] + rng.choice((1, 5, 200))
        return "INSERT INTO t$ SELECT i, i, 0, repeat('r', %d) FROM generate_series(%d, %d) i" % (rng.randint(0, 90), first, top[0])
    if kind < 0.5:
        return 'UPDATE t$ SET v = v + 1 WHERE id BETWEEN %d AND %d' % few
    if kind < 0.6:
        return "UPDATE t$ SET s = s || 'longer' WHERE id BETWEEN %d AND %d" % few
    if kind < 0.75:
        return 'UPDATE t$ SET k = k + 1 WHERE id BETWEEN %d AND %d' % few
    if kind < 0.9:
        return 'DELETE FROM t$ WHERE id BETWEEN %d AND %d AND id %% 3 = %d' % (*few, rng.randint(0, 2))
    return "INSERT INTO t$ VALUES (%d, 1, 7, 'upsert') ON CONFLICT (id) DO UPDATE SET v = 7" % some


class OldSnapshot:
    """A transaction that sees the rows as they were; it locks the tables from its first look at them on."""
    def __init__(self, c, rng):
        self.c, self.rng, self.rows, self.has_looked = c, rng, None, False

    def may_begin(self, rows):
        if self.rows is None and self.rng.random() < 0.3:
            self.c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1')
            self.rows, self.has_looked = rows, False

    def may_look(self, what):
        if self.rows is None or self.rng.random() < 0.3:
            return
        check(same_xmin(self.c, what='old snapshot after %s' % what, paths=[self.rng.choice(PATHS)]) == self.rows, 'an old snapshot sees other rows')
        self.has_looked = True
        if self.rng.random() < 0.2:
            self.end()

    def end(self):
        if self.rows is not None:
            self.c.exec('COMMIT')
        self.rows, self.has_looked = None, False


def random_transaction(c, rng, top):
    """Changes of both tables; a few words about it."""
    done = []
    c.exec('BEGIN')
    for _ in range(rng.randint(1, 3)):
        change = random_change(rng, top)
        end = rng.choice(('', '', 'RELEASE', 'ROLLBACK TO'))
        if end:
            c.exec('SAVEPOINT s')
        each(c, change)
        if end:
            c.exec(end + ' s')
        done += [change, end]
    done.append(rng.choice(('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK')))
    c.exec(done[-1])
    return done


def random_rounds(server, options):
    rng = random.Random(options.seed)
    top = [ROWS + 10]
    with server.connect() as c, server.connect() as other:
        each(c, 'DROP TABLE t$')
        make(c)
        load(c)
        old = OldSnapshot(other, rng)
        for _ in range(options.rounds):
            done = random_transaction(c, rng, top)
            if rng.random() < 0.25:
                rewrites = [] if old.has_looked else ['VACUUM FULL t$', 'CLUSTER t$ USING t$_k']
                done.append(rng.choice(['VACUUM t$', 'VACUUM t$', 'VACUUM FREEZE t$'] + rewrites))
                each(c, done[-1])
            old.may_look(done)
            old.may_begin(same_xmin(c, what=str(done), paths=[rng.choice(PATHS)]))
        old.end()
        each(c, 'VACUUM t$')
        same_xmin(c, what='in the end', paths=PATHS)
    server.verify('t_r')
    say('%d random rounds: fine' % options.rounds)


# ---- elsewhere and later ----

def crash_and_standby(server):
    standby = server.backup_to().start(wait=False)
    with server.connect() as c:
        each(c, 'VACUUM t$')
        both(c, 'UPDATE t$ SET v = v + 1 WHERE id % 20 = 0; DELETE FROM t$ WHERE id % 20 = 1')
        each(c, 'VACUUM t$')
        both(c, "UPDATE t$ SET k = k + 1 WHERE id % 20 = 2; INSERT INTO t$ SELECT i, i, 1, 'c' FROM generate_series(1000001, 1000300) i")
        c.exec('BEGIN')
        each(c, 'UPDATE t$ SET v = -5 WHERE id % 3 = 0; DELETE FROM t$ WHERE id % 3 = 1')
        with server.connect() as d:
            truth = same_xmin(d, what='before the crash')
        c.exec("SET synchronous_commit = local; SELECT pg_switch_wal()")
        standby.wait_replayed(server)
        with standby.connect() as s:
            check(same_xmin(s, what='on the standby', paths=PATHS) == truth, 'the standby has other rows')
        server.kill9()
    server.start()
    with server.connect() as c:
        check(same_xmin(c, what='after a crash', paths=PATHS) == truth, 'after a crash the rows are others')
        each(c, 'VACUUM t$')
        check(same_xmin(c, what='after a crash and VACUUM', paths=PATHS) == truth, 'VACUUM after a crash')
    standby.wait_replayed(server)
    standby.promote()
    with standby.connect() as s:
        check(same_xmin(s, what='promoted', paths=PATHS) == truth, 'the promoted standby has other rows')
        both(s, 'UPDATE t$ SET v = v + 1 WHERE id % 20 = 5')
        each(s, 'VACUUM t$')
        same_xmin(s, what='promoted, changed')
    standby.verify('t_r')
    standby.stop()
    standby.check_log()
    say('crash and standby: fine')


def wraparound():
    """Old numbers stay, and mean nothing any more: as much later as one likes the rows are there, and are changed as before."""
    server = cluster.make('wrap', conf=dict(autovacuum_freeze_max_age=2 * 10**9, track_commit_timestamp='off'))
    with server.connect() as c:
        c.exec("UPDATE pg_database SET datallowconn = true WHERE datname = 'template0'")
        make(c)
        load(c)
        both(c, 'UPDATE t$ SET v = v + 1 WHERE id % 3 = 0; DELETE FROM t$ WHERE id % 11 = 0')
        each(c, 'VACUUM FREEZE t$')
        truth = same_xmin(c, what='loaded')
    for by in (2**30, 2**30, 2**30, 2**30 + 2**25):
        server.stop()
        aging.run_away(server, by)
        server.start()
        with server.connect() as c:
            check(same_xmin(c, what='much later', paths=PATHS) == truth, 'the rows are others')
            each(c, 'VACUUM t$')
            check(same_xmin(c, what='much later, VACUUM', paths=PATHS) == truth, 'VACUUM has changed the rows')
            # changes that are taken back: what comes back is old, and seen by all
            for undone in ('UPDATE t$ SET v = -1', 'DELETE FROM t$', 'UPDATE t$ SET k = -1 WHERE id % 5 = 0'):
                c.exec('BEGIN')
                each(c, undone)
                c.exec('ROLLBACK')
                check(same_xmin(c, what=undone, paths=PATHS) == truth, 'a rollback has changed the rows')
                each(c, 'VACUUM FULL t$' if 'k =' in undone else 'VACUUM t$')
                check(same_xmin(c, what=undone + ', VACUUM', paths=PATHS) == truth, 'VACUUM after a rollback has changed the rows')
            c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
            same_xmin(c, what='old snapshot')
            with server.connect() as d:
                both(d, 'UPDATE t$ SET v = v + 1 WHERE id % 100 = 3; DELETE FROM t$ WHERE id % 200 = 7')
            check(same_xmin(c, what='old snapshot', paths=PATHS) == truth, 'an old snapshot sees other rows')
            c.exec('COMMIT')
            truth = same_xmin(c, what='changed')
        server.verify('t_r')
        for db in ('template0', 'template1', 'postgres'):
            with server.connect(db) as c:
                c.exec('VACUUM FREEZE')
        with server.connect() as c:
            check(same_xmin(c, what='frozen', paths=PATHS) == truth, 'VACUUM FREEZE has changed the rows')
    server.stop()
    server.check_log()
    say('wraparound: fine')


def arguments(parser):
    parser.add_argument('--rounds', type=int, help='random transactions')


def test(options):
    options.rounds = options.rounds or (2000 if options.long else 60)
    server = cluster.make('xmin')
    token(server)
    cursor(server)
    steps(server)
    freeze(server)
    merging(server)
    random_rounds(server, options)
    crash_and_standby(server)
    server.stop()
    server.check_log()
    wraparound()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    arguments(parser)
    harness.main(test, parser)
