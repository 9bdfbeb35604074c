#!/usr/bin/env python3
"""What statistics say of a table and what autovacuum makes of them; transaction ids that run away from the rows.

Counters are those of a heap twin; ANALYZE is compared with the truth; a table left alone by its users is vacuumed, and its
relfrozenxid advances, so that its rows outlive two thousand million transactions (pg_resetwal moves the counter).
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check, say

TWINS = (('h', 'heap'), ('r', AM))


def both(c, sql):
    answers = [c.exec(sql.replace('$', '_' + twin)).rows for twin, _ in TWINS]
    return answers


def same(c, sql):
    answers = both(c, sql)
    check(sorted(answers[0], key=repr) == sorted(answers[1], key=repr), '%s: heap %s, here %s' % (sql, answers[0], answers[1]))
    return answers[0]


# ---- counters ----

COUNTERS = ('seq_scan', 'seq_tup_read', 'idx_scan', 'idx_tup_fetch', 'n_tup_ins', 'n_tup_upd', 'n_tup_del', 'n_tup_hot_upd', 'n_live_tup',
            'n_mod_since_analyze', 'n_ins_since_vacuum', 'vacuum_count', 'analyze_count')

ACTIONS = (
    "INSERT INTO t$ SELECT i, i, 0, 'x' FROM generate_series(1, 1000) i",
    'UPDATE t$ SET v = v + 1 WHERE id <= 100',
    'UPDATE t$ SET k = k + 1 WHERE id BETWEEN 50 AND 149',
    'DELETE FROM t$ WHERE id % 10 = 0',
    'ANALYZE t$',
    'BEGIN; UPDATE t$ SET v = v + 1 WHERE id <= 200; DELETE FROM t$ WHERE id > 900; INSERT INTO t$ SELECT i FROM generate_series(2001, 2050) i; ROLLBACK',
    "BEGIN; INSERT INTO t$ SELECT i FROM generate_series(3001, 3050) i; SAVEPOINT a; DELETE FROM t$ WHERE id < 50; ROLLBACK TO a; UPDATE t$ SET v = 9 WHERE id > 3040; COMMIT",
    'SELECT sum(v) FROM t$ WHERE id BETWEEN 10 AND 60; SELECT sum(k) FROM t$ WHERE k = 70',
    'SET enable_seqscan = on; SELECT count(*) FROM t$; SET enable_seqscan = off',
    "INSERT INTO t$ VALUES (1, 1, 1) ON CONFLICT (id) DO UPDATE SET v = 5",
    "INSERT INTO t$ VALUES (1, 1, 1), (9999, 1, 1) ON CONFLICT DO NOTHING",
    'MERGE INTO t$ USING generate_series(1, 20) g (i) ON id = i WHEN MATCHED AND i % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET v = 1 WHEN NOT MATCHED THEN INSERT VALUES (i)',
    'SELECT id FROM t$ WHERE id < 30 FOR UPDATE',
    'VACUUM t$',
    'DELETE FROM t$ WHERE id % 7 = 0',
    'VACUUM ANALYZE t$',
    "COPY t$ (id) FROM PROGRAM 'seq 5000 5099'",
    'UPDATE t$ SET id = id + 10000 WHERE id >= 5000',
    "BEGIN; UPDATE t$ SET v = 7 WHERE id < 40; PREPARE TRANSACTION 'p$'",
    "COMMIT PREPARED 'p$'",
    "BEGIN; UPDATE t$ SET v = 7 WHERE id < 40; PREPARE TRANSACTION 'p$'",
    "ROLLBACK PREPARED 'p$'",
    'BEGIN; TRUNCATE t$; INSERT INTO t$ VALUES (1); ROLLBACK',
    "UPDATE t$ SET s = repeat('big', 2000) WHERE id < 70",
    'SELECT count(*) FROM t$ TABLESAMPLE BERNOULLI (100)',
    'TRUNCATE t$',
    'INSERT INTO t$ SELECT i FROM generate_series(1, 50) i',
    'VACUUM FULL t$',
    'CLUSTER t$ USING t$_pkey',
)


def counters(server):
    with server.connect() as c:
        for twin, am in TWINS:
            # room on the pages, so that heap finds it for HOT
            c.exec('CREATE TABLE t_%s (id int PRIMARY KEY, k int, v int, s text) USING %s WITH (fillfactor = 20); CREATE INDEX ON t_%s (k)' % (twin, am, twin))
        c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off; SET enable_nestloop = off; SET enable_mergejoin = off')       # the same plans
        for action in ACTIONS:
            for twin, _ in TWINS:
                for part in action.replace('$', '_' + twin).split('; '):
                    c.exec(part)
                    if 'BEGIN' in action and part != 'BEGIN' and not part.startswith(('ROLLBACK', 'COMMIT', 'PREPARE')):
                        c.rows('SELECT 1')
            c.exec('SELECT pg_stat_force_next_flush()')
            seen = both(c, "SELECT %s FROM pg_stat_user_tables WHERE relname = 't$'" % ', '.join(COUNTERS))
            for name, heap, ours in zip(COUNTERS, seen[0][0], seen[1][0]):
                # the planner looks up the largest key, and needs the row where it is not known to be visible
                slack = 20 if name == 'idx_tup_fetch' else 0
                check(abs(int(heap) - int(ours)) <= slack, 'after %s: %s: heap %s, here %s' % (action, name, heap, ours))
        c.exec('BEGIN')
        both(c, 'UPDATE t$ SET v = 1 WHERE id < 10')
        both(c, 'UPDATE t$ SET k = 1 WHERE id < 5')
        both(c, 'DELETE FROM t$ WHERE id = 7')
        same(c, "SELECT n_tup_ins, n_tup_upd, n_tup_del, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 't$'")
        c.exec('ROLLBACK')
    say('counters: fine')


# ---- ANALYZE ----

def near(what, got, truth, tolerance):
    check(truth * (1 - tolerance) <= got <= truth * (1 + tolerance), '%s: %s, in truth %s' % (what, got, truth))


def fraction(c, table, column, value):
    """What the planner believes of column = value."""
    plan = c.one('EXPLAIN (FORMAT json) SELECT * FROM %s WHERE %s = %s' % (table, column, value))
    return float(plan.split('"Plan Rows": ')[1].split(',')[0])


def look(c, table, what, tolerance=0.12):
    c.exec('SELECT pg_stat_force_next_flush()')     # or what is pending comes on top of what ANALYZE says
    c.exec('ANALYZE ' + table)
    near('%s: reltuples' % what, float(c.one("SELECT reltuples FROM pg_class WHERE relname = '%s'" % table)), float(c.one('SELECT count(*) FROM ' + table)), tolerance)
    for value in (0, 1, 2):
        truth = float(c.one('SELECT count(*) FROM %s WHERE kind = %d' % (table, value)))
        if truth > 2000:
            near('%s: rows of kind %d' % (what, value), fraction(c, table, 'kind', value), truth, 0.25)
    live = float(c.one("SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = '%s'" % table))
    near('%s: n_live_tup' % what, live, float(c.one('SELECT count(*) FROM ' + table)), tolerance)


def analyze(server, brin):
    """Kinds of rows of very different sizes, and pages of which some are free, versions or nearly empty."""
    with server.connect() as c:
        c.exec('DROP TABLE IF EXISTS a; CREATE TABLE a (id int PRIMARY KEY, kind int, v int, s text) USING %s; SET default_statistics_target = 30' % AM)
        if brin:
            c.exec('CREATE INDEX ON a USING brin (id)')
        c.exec("INSERT INTO a SELECT i, 0, 0, '' FROM generate_series(1, 40000) i")
        c.exec("INSERT INTO a SELECT i, 1, 0, repeat('x', 500) FROM generate_series(40001, 60000) i")
        c.exec("INSERT INTO a SELECT i, 2, 0, repeat('x', 60) FROM generate_series(60001, 100000) i")
        look(c, 'a', 'loaded')
        with server.connect() as old:
            old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_am')
            c.exec('UPDATE a SET v = 1 WHERE kind = 0')
            c.exec("UPDATE a SET s = s || 'longer and longer' WHERE kind = 2")
            c.exec('DELETE FROM a WHERE kind = 1 AND id % 3 = 0')
            look(c, 'a', 'with old versions kept')
            old.exec('COMMIT')
        c.exec('UPDATE a SET v = 2 WHERE kind = 0')
        look(c, 'a', 'with old versions')
        c.exec('VACUUM a')
        look(c, 'a', 'vacuumed')
        c.exec('DELETE FROM a WHERE id % 10 < 8')
        look(c, 'a', 'most deleted')
        c.exec('VACUUM a')
        look(c, 'a', 'most deleted, vacuumed')
        c.exec('DELETE FROM a WHERE kind = 0 AND id < 39000')
        c.exec('VACUUM a')
        look(c, 'a', 'one kind nearly gone')
        c.exec("INSERT INTO a SELECT i, 1, 0, repeat('x', 300) FROM generate_series(200001, 230000) i")
        look(c, 'a', 'grown again')
        # those in progress elsewhere, and own ones
        with server.connect() as d:
            d.exec("BEGIN; INSERT INTO a SELECT i, 0, 0, '' FROM generate_series(300001, 310000) i; DELETE FROM a WHERE kind = 2 AND id % 20 = 9")
            look(c, 'a', 'with a writer')
            d.exec('ROLLBACK')
        look(c, 'a', 'after his rollback')
        c.exec("BEGIN; INSERT INTO a SELECT i, 0, 0, '' FROM generate_series(300001, 320000) i; ANALYZE a")
        near('own rows', float(c.one("SELECT reltuples FROM pg_class WHERE relname = 'a'")), float(c.one('SELECT count(*) FROM a')), 0.12)
        c.exec('COMMIT')
        for statement in ('DELETE FROM a', 'VACUUM a', 'ANALYZE a'):
            c.exec(statement)
        check(c.one("SELECT reltuples FROM pg_class WHERE relname = 'a'") == '0', 'reltuples of an empty table')
        server.verify('a')
    say('ANALYZE%s: fine' % (' with BRIN' * brin))


# ---- autovacuum ----

def wait_until(server, sql, what):
    harness.wait_for(lambda: server.one(sql) == 't', what, pause_s=0.2)


def burn(c, count):
    """That many transaction ids."""
    c.exec('CREATE TABLE IF NOT EXISTS burnt (a int) USING heap')
    c.exec('DO $$ BEGIN FOR i IN 1..%d LOOP BEGIN INSERT INTO burnt VALUES (i); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END; '
           'IF i %% 10000 = 0 THEN COMMIT; END IF; END LOOP; END $$' % count)
    c.exec('TRUNCATE burnt')


def autovacuum():
    server = cluster.make('autovacuum', conf={
        'autovacuum': 'on', 'autovacuum_naptime': '1s', 'autovacuum_vacuum_threshold': 50, 'autovacuum_vacuum_scale_factor': '0.01',
        'autovacuum_analyze_threshold': 50, 'autovacuum_analyze_scale_factor': '0.01', 'autovacuum_vacuum_cost_delay': '0', 'autovacuum_freeze_max_age': 100000,
        'autovacuum_vacuum_insert_threshold': 1000, 'autovacuum_vacuum_insert_scale_factor': '0',
        'vacuum_freeze_table_age': 90000, 'vacuum_freeze_min_age': 50000, 'log_autovacuum_min_duration': '0'})
    with server.connect() as c:
        c.exec("CREATE TABLE busy (id int PRIMARY KEY, k int, v int, s text) USING %s; CREATE INDEX ON busy (k)" % AM)
        c.exec("CREATE TABLE quiet (id int PRIMARY KEY, v int, s text) USING %s WITH (autovacuum_enabled = off)" % AM)
        c.exec("CREATE TABLE filled (id int PRIMARY KEY, s text) USING %s" % AM)
        c.exec("INSERT INTO busy SELECT i, i, 0, 'x' FROM generate_series(1, 5000) i; INSERT INTO quiet SELECT i, 0, 'q' FROM generate_series(1, 5000) i")
        c.exec("UPDATE quiet SET v = v + 1 WHERE id % 2 = 0; DELETE FROM quiet WHERE id % 5 = 0; BEGIN; UPDATE quiet SET v = -1; ROLLBACK")
        c.exec("SELECT id FROM quiet WHERE id < 100 FOR UPDATE")
        c.exec('UPDATE busy SET k = k + 1; DELETE FROM busy WHERE id % 2 = 0')
        c.exec("INSERT INTO filled SELECT i, 'f' FROM generate_series(1, 3000) i")
        stat = "SELECT %s FROM pg_stat_user_tables WHERE relname = '%s'"
        wait_until(server, stat % ('autovacuum_count > 0 AND autoanalyze_count > 0 AND n_dead_tup = 0', 'busy'), 'autovacuum has not come to the busy table')
        wait_until(server, stat % ('autovacuum_count > 0', 'filled'), 'autovacuum has not come to the filled table')
        check(server.one(stat % ('autovacuum_count', 'quiet')) == '0', 'autovacuum came to a table that forbids it')
        truth = c.rows('SELECT count(*), sum(id), sum(v) FROM quiet')
        burn(c, 120000)
        wait_until(server, "SELECT age(relfrozenxid) < 100000 FROM pg_class WHERE relname = 'quiet'", 'relfrozenxid of the quiet table stays old')
        wait_until(server, "SELECT age(relfrozenxid) < 100000 FROM pg_class WHERE relname = 'busy'", 'relfrozenxid of the busy table stays old')
        check(c.rows('SELECT count(*), sum(id), sum(v) FROM quiet') == truth, 'the quiet table is another')
    server.verify()
    check('automatic vacuum of table "postgres.public.busy"' in server.log_text(), 'the log says nothing of autovacuum')
    server.stop()
    server.check_log()
    say('autovacuum: fine')


# ---- running away ----

def next_xid(server):
    out = server.run_tool('pg_controldata', '-D', server.data)
    return int(out.split("Latest checkpoint's NextXID:")[1].split('\n')[0].split(':')[1])


def run_away(server, by):
    """The server, stopped, goes on that many transactions later."""
    xid = (next_xid(server) + by) % 2**32
    # to the beginning of a page of pg_xact, which has to be there
    xid = max(xid - xid % (32768 * 32), 32768)
    segment = server.data + '/pg_xact/%04X' % (xid // (32768 * 32))
    if not os.path.exists(segment):
        with open(segment, 'wb') as f:
            f.write(b'\0' * 8192 * 32)
        harness.own(segment)
    server.run_tool('pg_resetwal', '-f', '-x', str(xid), '-D', server.data)


WRAP_SQL = """
CREATE TABLE w_{t} (id int PRIMARY KEY, k int, v int, s text) USING {am};
CREATE INDEX ON w_{t} (k);
INSERT INTO w_{t} SELECT i, i, 0, 'w' FROM generate_series(1, 3000) i;
UPDATE w_{t} SET v = v + 1 WHERE id % 2 = 0;
UPDATE w_{t} SET v = v + 1 WHERE id % 4 = 0;
UPDATE w_{t} SET k = k + 10000 WHERE id % 3 = 0;
DELETE FROM w_{t} WHERE id % 7 = 0;
BEGIN; UPDATE w_{t} SET v = -1 WHERE id % 5 = 0; DELETE FROM w_{t} WHERE id % 11 = 0; INSERT INTO w_{t} SELECT i FROM generate_series(5000, 5100) i; ROLLBACK;
BEGIN; SAVEPOINT a; UPDATE w_{t} SET v = v + 100 WHERE id % 13 = 0; RELEASE a; SAVEPOINT b; UPDATE w_{t} SET v = -2 WHERE id % 13 = 1; ROLLBACK TO b; COMMIT;
BEGIN; SELECT id FROM w_{t} WHERE id BETWEEN 100 AND 200 FOR UPDATE; COMMIT;
BEGIN; SELECT id FROM w_{t} WHERE id BETWEEN 200 AND 300 FOR KEY SHARE; SAVEPOINT s; SELECT id FROM w_{t} WHERE id BETWEEN 200 AND 250 FOR UPDATE; UPDATE w_{t} SET v = v + 1 WHERE id BETWEEN 220 AND 230; COMMIT;
"""


def shared_locks(server):
    """MultiXacts on rows, with members that have ended."""
    with server.connect() as a, server.connect() as b:
        for twin, _ in TWINS:
            for c in (a, b):
                c.exec('BEGIN; SELECT id FROM w_%s WHERE id BETWEEN 300 AND 400 FOR KEY SHARE; SELECT id FROM w_%s WHERE id BETWEEN 350 AND 400 FOR SHARE' % (twin, twin))
            a.exec('UPDATE w_%s SET v = v + 7 WHERE id BETWEEN 300 AND 340' % twin)
            a.exec('COMMIT')
            b.exec('ROLLBACK')


def wrap_contents(c):
    answer = [same(c, 'SELECT count(*), sum(id), sum(k), sum(v) FROM w$')]
    c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off')
    answer.append(same(c, 'SELECT count(*), sum(id), sum(k), sum(v) FROM w$ WHERE k > 0'))
    answer.append(same(c, 'SELECT id, k, v FROM w$ WHERE id BETWEEN 100 AND 410'))
    c.exec('RESET enable_seqscan; RESET enable_bitmapscan')
    check(answer[0] == answer[1], 'index and table disagree')
    return answer


def vacuum_all(server, how=''):
    for db in ('template1', 'postgres'):
        with server.connect(db) as c:
            c.exec('VACUUM ' + how)


def wraparound():
    server = cluster.make('wraparound', conf=dict(autovacuum_freeze_max_age=2 * 10**9))   # nobody else vacuums
    with server.connect() as c:
        # the database that nobody can enter holds the oldest id
        c.exec("UPDATE pg_database SET datallowconn = true WHERE datname = 'template0'")
        for twin, am in TWINS:
            for line in WRAP_SQL.format(t=twin, am=am).strip().split('\n'):
                for part in line.split(';'):
                    c.exec(part)
    shared_locks(server)
    with server.connect() as c:
        truth = wrap_contents(c)
    # the last one passes 2^32, and pg_resetwal leaves the epoch as it is: core's horizons then may lie in the future
    for n, by in enumerate((300 * 10**6, 10**9, 900 * 10**6, 1500 * 10**6, 10**9)):
        server.stop()
        run_away(server, by)
        server.start()
        with server.connect() as c:
            age = int(c.one("SELECT age(relfrozenxid) FROM pg_class WHERE relname = 'w_r'"))
            check(age > by - 2**21, 'the table is only %d transactions old' % age)
            check(wrap_contents(c) == truth, 'after %d transactions more the rows are others' % by)
            both(c, 'SELECT id FROM w$ WHERE id < 5 FOR UPDATE')
            both(c, 'UPDATE w$ SET v = v + 1 WHERE id % 10 = 1')
            both(c, 'DELETE FROM w$ WHERE id %% 100 = %d' % (2 * n + 2))
            truth = wrap_contents(c)
        server.verify()
        with server.connect('template0') as c:
            c.exec('VACUUM FREEZE')
        vacuum_all(server, '(FREEZE)' if n % 2 else '')
        with server.connect() as c:
            check(wrap_contents(c) == truth, 'VACUUM has changed the rows')
            age = int(c.one("SELECT age(relfrozenxid) FROM pg_class WHERE relname = 'w_r'"))
            check(age < 2**21, 'VACUUM has left the table %d transactions old' % age)
            oldest = int(c.one('SELECT max(age(datfrozenxid)) FROM pg_database'))
            check(oldest < 160 * 10**6, 'a database is %d transactions old' % oldest)
        server.verify()
        if n == 1:
            server.kill9()
            server.start()
            with server.connect() as c:
                check(wrap_contents(c) == truth, 'a crash has changed the rows')
        say('%d transactions later: fine' % by)
    server.stop()
    server.check_log()


def test(options):
    server = cluster.make('aging', conf=dict(max_prepared_transactions=5))
    counters(server)
    analyze(server, False)
    analyze(server, True)
    server.stop()
    server.check_log()
    wraparound()
    autovacuum()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
