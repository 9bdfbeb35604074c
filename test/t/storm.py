#!/usr/bin/env python3
"""DDL under load: while sessions move money between accounts, others rewrite the table, build and rebuild its indexes, add and
drop columns, change its access method and tablespace, vacuum, analyze and verify it.  In every snapshot the sum is the same, by
the table and by each index; at the end, and after a crash, amcheck and rowan.verify find nothing.

    storm.py --seed 7 --seconds 60
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import actors
import cluster
import harness
import pq
from harness import AM, ENGINE, Failure, check, say

ROWS = 2000
TOTAL = ROWS * 1000
EXPECTED_ERRORS = ('40001', '40P01', '55P03')
# what a plan made before a column was dropped may say, and a wait for a lock that lasts too long
DDL_ERRORS = EXPECTED_ERRORS + ('42P07', '42701', '42703', '57014')
INDEX_ON = ('bal', '(bal % 7)', 'grp, id', 'grp) INCLUDE (bal', 'hash:grp', 'brin:id', 'gin:tags') + (('rowan_btree:grp, bal', 'rowan_btree:(bal % 7)') if ENGINE else ())


class Stormer(actors.Actor):
    def attempt(self, sql, allowed):
        r = self.c.try_(sql)
        # core's own race, of DDL about one row of its catalogs
        catalogs = 'CONCURRENTLY' in sql and 'tuple concurrently updated' in str(r.error)
        if r.error and r.error.sqlstate not in allowed and not catalogs:
            raise Failure('%s: %s' % (sql, r.error))
        return not r.error

    def moved(self, sql):
        """False if it failed, or if the account was deleted and inserted again meanwhile."""
        r = self.c.try_(sql)
        check(not r.error or r.error.sqlstate in EXPECTED_ERRORS, '%s: %s' % (sql, r.error))
        return not r.error and r.count == 1


class Payer(Stormer):
    def act(self):
        rng = self.rng
        level = rng.choice(('READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'))
        self.c.exec('BEGIN ISOLATION LEVEL ' + level)
        for _ in range(rng.choice((1, 1, 3))):
            a, b, amount = rng.randint(1, ROWS), rng.randint(1, ROWS), rng.randint(1, 50)
            move = 'UPDATE t SET bal = bal %s %d' + rng.choice(('', ', grp = (grp + 1) %% 50', ", tags = tags || 1")) + ' WHERE id = %d'
            if rng.random() < 0.2:
                self.c.try_('SAVEPOINT s') and self.attempt(move % ('-', 5, a), EXPECTED_ERRORS)
                self.c.try_('ROLLBACK TO s')
            if rng.random() < 0.1:
                # one goes, and comes back with another id
                ok = self.attempt('WITH gone AS (DELETE FROM t WHERE id = %d RETURNING *) '
                                  'INSERT INTO t (id, bal, grp, tags, s) SELECT id, bal, grp, tags, s FROM gone' % a, EXPECTED_ERRORS)
            else:
                ok = self.moved(move % ('-', amount, a)) and self.moved(move % ('+', amount, b))
            if not ok:
                self.c.exec('ROLLBACK')
                return
        self.attempt(rng.choice(('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK')), EXPECTED_ERRORS)
        self.c.try_('ROLLBACK')


class Auditor(Stormer):
    def act(self):
        rng = self.rng
        self.c.exec('BEGIN ISOLATION LEVEL ' + rng.choice(('READ COMMITTED', 'REPEATABLE READ')))
        for _ in range(rng.choice((1, 1, 4))):
            way = rng.choice(('seqscan', 'indexscan', 'bitmapscan'))
            for w in ('seqscan', 'indexscan', 'bitmapscan', 'indexonlyscan'):
                self.c.exec('SET LOCAL enable_%s = %s' % (w, 'on' if w.startswith(way) else 'off'))
            condition = rng.choice(('id > 0', 'bal > -1000000', 'bal % 7 > -10', 'grp >= 0', "tags @> '{0}'"))
            r = self.c.try_('SELECT sum(bal), count(*) FROM t WHERE ' + condition)
            if r.error:
                # cannot be read under a snapshot older than a rewrite; or a deadlock with DDL
                check(r.error.sqlstate in EXPECTED_ERRORS, str(r.error))
                break
            check(r.rows == [(str(TOTAL), str(ROWS))] or self.rewritten_meanwhile(r.rows), 'WHERE %s by %s: %s' % (condition, way, r.rows))
        self.c.exec('ROLLBACK')

    def rewritten_meanwhile(self, rows):
        """ALTER TABLE's rewriting is not MVCC-safe: for a snapshot from before it the table is empty."""
        return rows == [(None, '0')]


class Builder(Stormer):
    """One DDL statement after the other."""
    def act(self):
        rng, n = self.rng, self.rng.randint(1, 3)
        on = rng.choice(INDEX_ON)
        method, _, columns = on.partition(':') if ':' in on else ('btree', '', on)
        self.c.exec("SET lock_timeout = '2s'; SET deadlock_timeout = '50ms'")
        kind = rng.choice(('VACUUM t', 'VACUUM (FREEZE) t', 'VACUUM FULL t', 'CLUSTER t USING t_pkey', 'ANALYZE t',
                           'CREATE INDEX i%d ON t USING %s (%s)' % (n, method, columns),
                           'CREATE INDEX CONCURRENTLY i%d ON t USING %s (%s)' % (n, method, columns),
                           'DROP INDEX IF EXISTS i%d' % n, 'DROP INDEX CONCURRENTLY IF EXISTS i%d' % n,
                           'REINDEX TABLE t', 'REINDEX TABLE CONCURRENTLY t', 'REINDEX INDEX CONCURRENTLY t_pkey',
                           "ALTER TABLE t ADD COLUMN extra int DEFAULT 7", 'ALTER TABLE t DROP COLUMN IF EXISTS extra',
                           'ALTER TABLE t ADD COLUMN extra float DEFAULT random()',
                           'ALTER TABLE t SET (fillfactor = %d)' % rng.choice((50, 90, 100)),
                           'ALTER TABLE t SET ACCESS METHOD heap', 'ALTER TABLE t SET ACCESS METHOD ' + AM,
                           'ALTER TABLE t SET UNLOGGED; ALTER TABLE t SET LOGGED',
                           'ALTER TABLE t ALTER s TYPE varchar(%d)' % rng.randint(100, 200),
                           'ALTER TABLE t SET TABLESPACE %s' % rng.choice(('there', 'pg_default'))))
        if not self.attempt(kind, DDL_ERRORS) and 'CONCURRENTLY' in kind:
            for name in invalid_indexes(self.c):
                # another session's, which becomes the constraint's index under this name right now
                self.attempt('DROP INDEX IF EXISTS ' + name, DDL_ERRORS + ('2BP01',))
        time.sleep(rng.random() * 0.1)


class Verifier(Stormer):
    """rowan.verify of the table and an index, whatever they are just now."""
    def act(self):
        self.verify("'t'")
        for (name,) in self.c.rows("SELECT i.oid::regclass FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am a ON a.oid = i.relam "
                                   "WHERE indrelid = 't'::regclass AND amname = 'rowan_btree' ORDER BY random() LIMIT 1"):
            self.verify("'%s', true" % name)
        time.sleep(self.rng.random() * 0.1)

    def verify(self, what):
        r = self.c.try_('SELECT * FROM rowan.verify(%s)' % what)
        # a heap table at the moment; an index that is gone, or not there yet
        check(r.error is None or r.error.sqlstate in EXPECTED_ERRORS + ('42809', '42P01', '42704', '55000'), 'verify(%s): %s' % (what, r.error))
        check(not r.rows, 'verify(%s): %d problems: %s' % (what, len(r.rows), r.rows[:3]))


def invalid_indexes(c):
    """What CREATE INDEX and REINDEX CONCURRENTLY leave behind when they are interrupted."""
    return [r[0] for r in c.rows("SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 't'::regclass AND NOT indisvalid")]


def audit(server):
    with server.connect() as c:
        for name in invalid_indexes(c):
            c.exec('DROP INDEX ' + name)
        check(c.rows('SELECT sum(bal), count(*), count(DISTINCT id) FROM t') == [(str(TOTAL), str(ROWS), str(ROWS))], 'the sum is wrong')
        c.rows("SELECT bt_index_check(indexrelid, true) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am a ON a.oid = i.relam "
               "WHERE indrelid = 't'::regclass AND amname = 'btree'")
        c.exec('ALTER TABLE t SET ACCESS METHOD ' + AM)
    server.verify('t')


def test(options):
    seconds = options.seconds or (120 if options.long else 10)
    server = cluster.make('storm', conf={'rowan.buffers': '2MB', 'autovacuum': 'on', 'autovacuum_naptime': '1s'} if ENGINE else {})
    os.mkdir(server.dir + '/there')
    harness.own(server.dir + '/there')
    c = server.connect()
    c.exec("CREATE EXTENSION amcheck")
    c.exec("CREATE TABLESPACE there LOCATION '%s/there'" % server.dir)
    c.exec("CREATE TABLE t (id int PRIMARY KEY, bal int, grp int, tags int[], s text) USING %s; "
           "INSERT INTO t SELECT i, 1000, i %% 50, '{0}', repeat('s', i %% 100) FROM generate_series(1, %d) i" % (AM, ROWS))
    c.close()
    for part in range(2 if options.long else 1):
        kinds = (Payer, Payer, Payer, Auditor, Auditor, Builder, Builder) + (Verifier,) * ENGINE
        say(actors.finish(actors.start(kinds, server, options.seed, seconds)))
        audit(server)
        server.kill9()
        server.start()
        audit(server)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seconds', type=float, help='how long')
    harness.main(test, parser)
