#!/usr/bin/env python3
"""Unlogged and temporary tables, tablespaces and databases that are copied, moved, dropped and made again under the same
name: a Rowan table holds what its heap twin holds, on the primary, after crashes, on a standby, after its promotion.
"""
import glob
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

TWINS = (('h', 'heap'), ('r', AM))
COLUMNS = 'id int PRIMARY KEY, k int, s text'


def create(c, name, kind='', where=''):
    for twin, am in TWINS:
        t = '%s_%s' % (name, twin)
        c.exec('CREATE %s TABLE %s (%s) USING %s %s; CREATE INDEX ON %s (k)' % (kind, t, COLUMNS, am, where, t))


def both(c, sql, may_fail=False):
    answers = []
    for twin, _ in TWINS:
        r = c.try_(sql.replace('$', '_' + twin))
        if r.error and not may_fail:
            raise harness.Failure('%s: %s' % (sql, r.error))
        answers.append(r.error.sqlstate if r.error else sorted(r.rows, key=repr))
    check(answers[0] == answers[1], '%s: heap %s, here %s' % (sql, answers[0], answers[1]))
    return answers[0]


def fill(c, name, first, last):
    both(c, "INSERT INTO %s$ SELECT i, i %% 10, repeat('x', i %% 50) || CASE WHEN i %% 100 = 0 THEN repeat(md5(i::text), 200) ELSE '' END "
         'FROM generate_series(%d, %d) i' % (name, first, last))


def churn(c, name):
    both(c, 'UPDATE %s$ SET s = s || id WHERE id %% 3 = 0' % name)
    both(c, 'UPDATE %s$ SET k = k + 1 WHERE id %% 4 = 0' % name)
    both(c, 'DELETE FROM %s$ WHERE id %% 11 = 0' % name)
    both(c, 'BEGIN; UPDATE %s$ SET k = -1; DELETE FROM %s$ WHERE id %% 2 = 0; ROLLBACK' % (name, name))


def contents(c, name):
    answers = [both(c, 'SELECT count(*), sum(id), sum(k), sum(hashtext(s)::bigint) FROM %s$' % name)]
    c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off')
    answers.append(both(c, 'SELECT count(*), sum(id), sum(k), sum(hashtext(s)::bigint) FROM %s$ WHERE id > 0' % name))
    answers.append(both(c, 'SELECT count(*), sum(id) FROM %s$ WHERE k BETWEEN 2 AND 5' % name))
    c.exec('RESET enable_seqscan; RESET enable_bitmapscan')
    check(answers[0] == answers[1], 'index and table disagree: %s, %s' % (answers[0], answers[1]))
    return answers


def crash(server):
    server.kill9()
    server.start()


# ---- unlogged ----

def unlogged(server, standby):
    with server.connect() as c:
        for name in ('empty', 'kept', 'open', 'was_logged', 'now_logged', 'cut', 'moved', 'grown'):
            create(c, name, '' if name == 'was_logged' else 'UNLOGGED')
            if name != 'empty':
                fill(c, name, 1, 3000)
                churn(c, name)
        before = contents(c, 'kept')
    server.restart()
    with server.connect() as c, server.connect() as d:
        check(contents(c, 'kept') == before, 'a clean restart lost rows')
        both(c, 'ALTER TABLE was_logged$ SET UNLOGGED')
        both(c, 'ALTER TABLE now_logged$ SET LOGGED')
        both(c, 'TRUNCATE cut$')
        both(c, 'ALTER TABLE moved$ SET TABLESPACE elsewhere')
        churn(c, 'moved')
        churn(c, 'now_logged')
        c.exec('CHECKPOINT')
        churn(c, 'kept')
        fill(c, 'cut', 1, 10)
        fill(c, 'empty', 1, 1)
        d.exec('BEGIN')
        churn_open = "UPDATE open_%s SET k = k + 1; INSERT INTO open_%s SELECT i FROM generate_series(5001, 6000) i"
        for twin, _ in TWINS:
            d.exec(churn_open % (twin, twin))
        create(d, 'unfinished', 'UNLOGGED')
        fill(d, 'unfinished', 1, 500)
        kept = contents(c, 'now_logged')
        server.kill9()
    server.start()
    names = ('empty', 'kept', 'open', 'was_logged', 'cut', 'moved', 'grown')
    with server.connect() as c:
        for name in names:
            check(contents(c, name)[0] == [('0', None, None, None)], '%s is not empty after a crash' % name)
            fill(c, name, 1, 2000)
            churn(c, name)
        check(contents(c, 'now_logged') == kept, 'a table that had become logged lost rows')
        check(both(c, 'SELECT 1 FROM unfinished$', may_fail=True) == '42P01', 'unfinished')
        both(c, 'VACUUM kept$')
        both(c, 'ALTER TABLE was_logged$ SET LOGGED')
        both(c, 'ALTER TABLE moved$ SET TABLESPACE pg_default')
        last = {n: contents(c, n) for n in ('was_logged', 'now_logged', 'moved')}
    crash(server)
    crash(server)
    with server.connect() as c:
        for name in ('was_logged', 'now_logged'):
            check(contents(c, name) == last[name], '%s lost rows' % name)
        check(contents(c, 'moved')[0] == [('0', None, None, None)], 'moved is not empty after a crash')
        for name in names:
            both(c, 'DELETE FROM %s$' % name)
            fill(c, name, 1, 100)
    standby.wait_replayed(server)
    with standby.connect() as c:
        check(both(c, 'SELECT * FROM kept$', may_fail=True) == '0A000', 'an unlogged table is read on a standby')
        contents(c, 'now_logged')
        contents(c, 'was_logged')
    server.verify()
    say('unlogged tables: fine')


# ---- temporary ----

def emptied_with_an_error():
    """A table's file is to become a new one, and that fails when its root is not in the pool."""
    server = cluster.make('emptied', variant='faults', conf={'rowan.buffers': '1MB'})
    with server.connect() as c:
        c.exec("CREATE TABLE big (id int, s text) USING rowan; INSERT INTO big SELECT i, repeat('x', 500) FROM generate_series(1, 10000) i")
        c.exec('CREATE INDEX ON big USING rowan_btree (id)')
        c.exec('CREATE TEMP TABLE t (id int) USING rowan ON COMMIT DELETE ROWS')
        c.exec('BEGIN; INSERT INTO t VALUES (1); UPDATE big SET id = id + 1; SET LOCAL enable_seqscan = off')
        c.exec('SELECT count(s) FROM big WHERE id > 0')
        c.exec("SET rowan.fault = 'tree_create:error:1'")
        check('fault point' in str(c.try_('COMMIT').error), 'the fault point is not reached')
        c.exec("SET rowan.fault = ''")
        check(c.rows('TABLE t') == [], 'rows of a transaction that failed')
        c.exec('BEGIN; INSERT INTO t VALUES (2)')
        check(c.rows('TABLE t') == [('2',)], 'the table holds no rows')
        c.exec('COMMIT')
    server.stop()
    say('a failure to empty a file: fine')


def name_used_again():
    """Names of files come round after 2^32 OIDs; the mode for pg_upgrade gives them out as we like.  Nobody hears of the drop of a
    temporary table."""
    server = cluster.make('again', conf={'rowan.buffers': '8MB'})
    server.stop()
    server.start(arguments=('-b',))
    with server.connect() as c:
        versions = c.rows("SELECT oid FROM pg_proc WHERE proname = 'binary_upgrade_set_next_attribute_versions'")
        for oid in (50000, 50010):
            if versions:
                c.exec("SELECT binary_upgrade_set_next_attribute_versions('{0/1}')")
            c.exec("SELECT binary_upgrade_set_next_pg_type_oid('%d'), binary_upgrade_set_next_array_pg_type_oid('%d'), "
                   "binary_upgrade_set_next_heap_pg_class_oid('%d'), binary_upgrade_set_next_heap_relfilenode('60000')" % (oid, oid + 1, oid + 2))
            c.exec('CREATE TEMP TABLE t (id int) USING rowan')
            check(c.rows('TABLE t') == [], 'a new table has rows of the one that had its name before')
            c.exec('INSERT INTO t SELECT generate_series(1, 10000); DROP TABLE t')
    server.stop()
    say('a name that is used again: fine')


def temp_files(server):
    return [f for f in glob.glob(server.data + '/base/*/t*_*') + glob.glob(server.data + '/pg_tblspc/*/*/*/t*_*')
            if os.path.basename(f)[1].isdigit()]


def temporary(server):
    sessions = [server.connect() for _ in range(4)]
    for round_ in range(2):
        for n, c in enumerate(sessions):
            create(c, 'tmp', 'TEMP', 'TABLESPACE elsewhere' if n == 3 else '')
            fill(c, 'tmp', 1, 3000 + n)
        for c in sessions:
            churn(c, 'tmp')
        server.sql('CHECKPOINT')
        for n, c in enumerate(sessions):
            contents(c, 'tmp')
            for statement in ('VACUUM tmp$', 'CLUSTER tmp$ USING tmp$_pkey', 'VACUUM FULL tmp$', 'ANALYZE tmp$', 'REINDEX TABLE tmp$'):
                both(c, statement)
            churn(c, 'tmp')
            contents(c, 'tmp')
            if n % 2:
                both(c, 'TRUNCATE tmp$')
                fill(c, 'tmp', 1, 100)
                contents(c, 'tmp')
            check(both(c, 'BEGIN; UPDATE tmp$ SET k = 0; PREPARE TRANSACTION \'tmp\'', may_fail=True) == '0A000', 'temporary tables cannot be prepared')
            c.exec('ROLLBACK')
            contents(c, 'tmp')
        if round_ == 0:
            for c in sessions[:2]:
                both(c, 'DROP TABLE tmp$')
            for c in sessions[2:]:
                c.close()
            sessions = sessions[:2] + [server.connect(), server.connect()]
    check(temp_files(server), 'there are no files of temporary tables')
    for c in sessions[:3]:
        c.close()
    end = time.time() + 10
    while server.one("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") != '2' and time.time() < end:
        time.sleep(0.02)
    left = temp_files(server)
    os.kill(sessions[3].pid, signal.SIGKILL)
    sessions[3].close()
    check(left, 'the last session had no files')
    time.sleep(0.2)
    server.connect_patiently().close()
    # the catalog's rows stay until somebody with that number comes, or autovacuum
    again = [server.connect() for _ in range(6)]
    for c in again:
        create(c, 'tmp', 'TEMP')
        fill(c, 'tmp', 1, 200)
        contents(c, 'tmp')
    for c in again:
        c.close()
    server.restart()
    check(temp_files(server) == [], 'files of temporary tables are left: %s' % temp_files(server))
    if ENGINE:
        check(server.one("SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'") in ('0', '2'), 'temporary tables are left')
    say('temporary tables: fine')


# ---- tablespaces ----

def tablespaces(server, standby):
    with server.connect() as c:
        create(c, 'travels')
        fill(c, 'travels', 1, 5000)
        churn(c, 'travels')
        for n, where in enumerate(('elsewhere', 'pg_default', 'elsewhere', 'third', 'pg_default')):
            before = contents(c, 'travels')
            if n == 1:
                # without writing to it there: that leaves entries in indexes, which are not moved, on heap as well
                both(c, 'BEGIN; ALTER TABLE travels$ SET TABLESPACE third; ROLLBACK')
                check(contents(c, 'travels') == before, 'a move that was rolled back changed something')
            both(c, 'ALTER TABLE travels$ SET TABLESPACE %s' % where)
            check(contents(c, 'travels') == before, 'a move to %s changed something' % where)
            churn(c, 'travels')
            fill(c, 'travels', 10000 * (n + 1), 10000 * (n + 1) + 500)
            if n in (2, 3):
                after = contents(c, 'travels')
                server.kill9()
                server.start()
                c = server.connect()
                check(contents(c, 'travels') == after, 'a crash after the move to %s changed something' % where)
            both(c, 'VACUUM travels$')
        c.exec('ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE third')
        churn(c, 'travels')
        after = contents(c, 'travels')
        crash(server)
        c = server.connect()
        check(contents(c, 'travels') == after, 'a crash after moving all')
        standby.wait_replayed(server)
        with standby.connect() as s:
            check(contents(s, 'travels') == after, 'the standby has other rows')
        # old snapshots over a move see what they saw
        with server.connect() as old:
            old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_am')
            churn(c, 'travels')
            both(c, 'ALTER TABLE travels$ SET TABLESPACE elsewhere')
            churn(c, 'travels')
            check(contents(old, 'travels') == after, 'an old snapshot saw a move')
            old.exec('ROLLBACK')
        c.exec('ALTER TABLE ALL IN TABLESPACE third SET TABLESPACE pg_default')
        both(c, 'ALTER TABLE travels$ SET TABLESPACE pg_default')
        c.close()
    server.verify()
    say('tablespaces: fine')


# ---- databases ----

def in_database(server, db, action):
    with server.connect(db) as c:
        return action(c)


def databases(server, standby):
    server.sql('CREATE DATABASE original')
    server.create_extension('original')
    expected = {}

    def prepare(c):
        create(c, 'd')
        fill(c, 'd', 1, 3000)
        churn(c, 'd')
        create(c, 'u', 'UNLOGGED')
        fill(c, 'u', 1, 100)

    def change(db):
        with server.connect(db) as c:
            churn(c, 'd')
            low = int(c.one('SELECT max(id) FROM d_h'))
            fill(c, 'd', low + 1, low + 300)
            expected[db] = contents(c, 'd')

    def check_all(where=server):
        for db, answer in expected.items():
            check(in_database(where, db, lambda c: contents(c, 'd')) == answer, 'database %s has other rows' % db)

    in_database(server, 'original', prepare)
    change('original')
    for n, strategy in enumerate(('file_copy', 'wal_log')):
        change('original')
        server.sql('CREATE DATABASE copy%d TEMPLATE original STRATEGY %s OID %d' % (n, strategy, 700000 + n))
        expected['copy%d' % n] = expected['original']
        check_all()
        in_database(server, 'copy%d' % n, lambda c: contents(c, 'u'))
        change('copy%d' % n)
        change('original')
    check_all()
    crash(server)
    check_all()
    for db in expected:
        change(db)
    # forth and back: the files come back to where others were
    for where in ('elsewhere', 'pg_default', 'elsewhere', 'pg_default'):
        change('copy0')
        server.sql('ALTER DATABASE copy0 SET TABLESPACE %s' % where)
        check_all()
        change('copy0')
    crash(server)
    check_all()
    # a database of the same number again, from another template, with other rows in the same files
    for round_ in range(4):
        change('copy1')
        server.sql('DROP DATABASE copy1')
        server.sql('CREATE DATABASE copy1 TEMPLATE %s OID 700001' % ('original' if round_ % 2 else 'copy0'))
        expected['copy1'] = expected['original' if round_ % 2 else 'copy0']
        check_all()
        if round_ == 2:
            crash(server)
            check_all()
        change('copy1')
        change('copy0')
    server.sql('ALTER DATABASE copy0 RENAME TO renamed')
    expected['renamed'] = expected.pop('copy0')
    # refused, or broken off: nothing happens to the database
    with server.connect('renamed') as c:
        for statement in ('DROP DATABASE renamed', 'ALTER DATABASE renamed SET TABLESPACE elsewhere', 'CREATE DATABASE x TEMPLATE renamed'):
            check(server.connect().try_(statement).error is not None, statement + ' with somebody connected')
        contents(c, 'd')
    change('renamed')
    check_all()
    standby.wait_replayed(server)
    check_all(standby)
    server.sql('DROP DATABASE copy1')
    expected.pop('copy1')
    for db in expected:
        server.verify(db=db)
    say('databases: fine')
    return expected


def promotion(server, standby, expected):
    standby.wait_replayed(server)
    server.stop()
    standby.promote()
    for db, answer in expected.items():
        check(in_database(standby, db, lambda c: contents(c, 'd')) == answer, 'database %s has other rows after promotion' % db)
    for again in range(2):
        with standby.connect() as c:
            check(contents(c, 'kept')[0] == [('0', None, None, None)], 'an unlogged table is not empty on a promoted standby')
            fill(c, 'kept', 1, 1000)
            churn(c, 'kept')
            contents(c, 'kept')
            now = contents(c, 'now_logged'), contents(c, 'travels')
        crash(standby)
        with standby.connect() as c:
            check((contents(c, 'now_logged'), contents(c, 'travels')) == now, 'rows lost on the promoted standby')
    standby.verify()
    standby.stop()
    standby.check_log()
    say('promotion: fine')


def test(options):
    conf = {'allow_in_place_tablespaces': 'on', 'wal_retrieve_retry_interval': '100ms', 'rowan.buffers': '4MB'} if ENGINE else {'allow_in_place_tablespaces': 'on'}
    server = cluster.make('storage', conf=conf)
    standby = server.backup_to()
    standby.start()
    for name in ('elsewhere', 'third'):
        server.sql("CREATE TABLESPACE %s LOCATION ''" % name)
    unlogged(server, standby)
    tablespaces(server, standby)
    expected = databases(server, standby)
    temporary(server)
    if ENGINE:
        emptied_with_an_error()
        name_used_again()
    promotion(server, standby, expected)
    server.check_log('terminated by signal 9')


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
