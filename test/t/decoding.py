#!/usr/bin/env python3
"""Logical decoding leaves out Rowan tables: that is said, and heap tables of the same transaction are there, whatever
was done to Rowan tables, or heap tables made of them, beside them.  TRUNCATE is left out, too."""
import os
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, ENGINE, check, say

WARNING = 'WARNING:  changes of Rowan tables'

# What a transaction does to Rowan tables before or between changes of the heap tables.  r: out-of-line values, keys 1..4.
BESIDE = {
    'insert': "INSERT INTO r VALUES (10, big(1)), (11, big(2))",
    'insert of rows without values out of line': "INSERT INTO r VALUES (10, 'short')",
    'update': "UPDATE r SET t = big(id) WHERE id < 3",
    'update of a key': "UPDATE r SET id = id + 100 WHERE id < 3",
    'update that leaves values': "UPDATE r SET n = n + 1",
    'delete': "DELETE FROM r WHERE id < 3",
    'copy': "COPY r FROM PROGRAM 'for i in 21 22 23; do printf \"$i\\t\"; head -c 9000 /dev/zero | tr \"\\0\" x; printf \"\\t0\\n\"; done'",
    'create table as': "CREATE TABLE made USING rowan AS SELECT * FROM r; INSERT INTO made VALUES (1, big(1))",
    'speculative insertion': "INSERT INTO r VALUES (1, big(1)), (30, big(3)) ON CONFLICT (id) DO NOTHING",
    'speculative insertion, update': "INSERT INTO r VALUES (1, big(7)) ON CONFLICT (id) DO UPDATE SET t = excluded.t",
    'failed insertion': "SAVEPOINT s; INSERT INTO r VALUES (40, big(4)); ROLLBACK TO s",
    'failed unique check': "DO $$BEGIN INSERT INTO r VALUES (50, big(5)), (1, big(5)); EXCEPTION WHEN unique_violation THEN NULL; END$$",
    'insert in a subtransaction': "SAVEPOINT s; INSERT INTO r VALUES (40, big(4)); RELEASE s",
    'rewrite': "ALTER TABLE r ALTER n TYPE bigint",
    'cluster': "CLUSTER r USING r_pkey",
    'to heap': "ALTER TABLE r SET ACCESS METHOD heap",
    'to heap, and a change': "ALTER TABLE r SET ACCESS METHOD heap; INSERT INTO r VALUES (60, 'seen')",
    'from heap': "ALTER TABLE r SET ACCESS METHOD heap; ALTER TABLE r SET ACCESS METHOD rowan; INSERT INTO r VALUES (61, big(6))",
    'heap to rowan': "ALTER TABLE hr SET ACCESS METHOD rowan; INSERT INTO hr VALUES (70, big(7))",
    'materialized view': "CREATE MATERIALIZED VIEW m USING rowan AS SELECT * FROM r; REFRESH MATERIALIZED VIEW m",
    'drop': "INSERT INTO r VALUES (80, big(8)); DROP TABLE r",
    'truncate': "INSERT INTO r VALUES (80, big(8)); TRUNCATE r; INSERT INTO r VALUES (81, big(8))",
}
# Lines of the output that are right besides those of the heap tables.
SEEN = {'to heap, and a change': ["table public.r: INSERT: id[integer]:60 t[text]:'seen' n[integer]:0"]}

OPTIONS = "'include-xids', '0', 'skip-empty-xacts', '1'"


def lines(text):
    """Changes of the decoded output; long values by their length."""
    text = re.sub(r"'(.)\1{50,}'", lambda m: "%s*%d" % (m.group(1), len(m.group(0)) - 2), text)
    return [x for x in text.split('\n') if x.startswith('table ')]


def prepare(server):
    server.sql("DROP TABLE IF EXISTS r, hr, ht, h, made CASCADE; DROP MATERIALIZED VIEW IF EXISTS m; "
               "CREATE TABLE r (id int PRIMARY KEY, t text, n int DEFAULT 0) USING rowan; ALTER TABLE r ALTER t SET STORAGE EXTERNAL; "
               "INSERT INTO r SELECT i, big(i) FROM generate_series(1, 4) i; "
               "CREATE TABLE hr (id int PRIMARY KEY, t text) USING heap; ALTER TABLE hr ALTER t SET STORAGE EXTERNAL; "
               "INSERT INTO hr VALUES (1, big(1)), (2, big(2)); "
               "CREATE TABLE h (id int PRIMARY KEY) USING heap; INSERT INTO h VALUES (1), (2), (3); "
               "CREATE TABLE ht (id int PRIMARY KEY, t text) USING heap; ALTER TABLE ht ALTER t SET STORAGE EXTERNAL; "
               "INSERT INTO ht VALUES (1, big(1)), (2, 'b'), (3, big(2))")


# without a row of a heap table that has a value out of line after them, chunks stay; then one comes
HEAP_CHANGES = ("DELETE FROM h WHERE id = 1", "DELETE FROM ht WHERE id = 1", "UPDATE h SET id = 30 WHERE id = 3",
                "UPDATE ht SET t = 'y' WHERE id = 2", "INSERT INTO ht VALUES (9, big(9))", "UPDATE ht SET t = big(5) WHERE id = 3")
HEAP_OUTPUT = ["table public.h: DELETE: id[integer]:1", "table public.ht: DELETE: id[integer]:1",
               "table public.h: UPDATE: old-key: id[integer]:3 new-tuple: id[integer]:30",
               "table public.ht: UPDATE: id[integer]:2 t[text]:'y'", "table public.ht: INSERT: id[integer]:9 t[text]:9*40000",
               "table public.ht: UPDATE: id[integer]:3 t[text]:5*40000"]


def check_beside(server):
    """A transaction on both kinds of tables, committed, prepared, streamed: what is decoded is what it did to heap tables."""
    server.sql("CREATE OR REPLACE FUNCTION big(int) RETURNS text LANGUAGE sql AS $$SELECT repeat(right($1::text, 1), 40000)$$")
    server.sql("SELECT pg_create_logical_replication_slot('two', 'test_decoding', false, true); "
               "SELECT pg_create_logical_replication_slot('streamed', 'test_decoding')")
    get = {'slot': "SELECT data FROM pg_logical_slot_get_changes('slot', NULL, NULL, %s)" % OPTIONS,
           'two': "SELECT data FROM pg_logical_slot_get_changes('two', NULL, NULL, %s)" % OPTIONS,
           'streamed': "SET logical_decoding_work_mem = '64kB'; "
                       "SELECT data FROM pg_logical_slot_get_changes('streamed', NULL, NULL, 'include-xids', '1', 'stream-changes', '1')"}
    asserts = server.one('SHOW debug_assertions') == 'on'
    for name, script in BESIDE.items():
        for prepared in (False, True):
            prepare(server)
            server.sql('CHECKPOINT')            # its snapshot: decoding need not start from the beginning each time
            for slot in ('slot', 'two'):
                server.psql(get[slot])
            server.sql("SELECT pg_drop_replication_slot('streamed')")
            server.sql("SELECT pg_create_logical_replication_slot('streamed', 'test_decoding')")
            statements = [script] + [x for n, change in enumerate(HEAP_CHANGES)
                                     for x in ([change, "INSERT INTO r2 VALUES (%d, big(%d))" % (n, n)])]
            end = "PREPARE TRANSACTION 'p'" if prepared else 'COMMIT'
            server.psql("DROP TABLE IF EXISTS r2; CREATE TABLE r2 (id int, t text) USING rowan; ALTER TABLE r2 ALTER t SET STORAGE EXTERNAL;\n"
                        "BEGIN;\n%s;\n%s;\n" % (';\n'.join(statements), end))
            want = SEEN.get(name, []) + HEAP_OUTPUT
            got = lines(server.psql(get['two'])) if prepared else want
            check(got == want, '%s, prepared: %s' % (name, got))
            if prepared:
                server.sql("COMMIT PREPARED 'p'")
            got = lines(server.psql(get['slot']))
            check(got == want, '%s: %s' % (name, got))
            # core (15.18) asserts that a subtransaction that was spilled had a change to be decoded: reorderbuffer.c, final_lsn
            if asserts and re.search('SAVEPOINT|EXCEPTION', script):
                continue
            # in a stream the plugin says only that there is a change; earlier transactions may be there once more, to be aborted
            text = server.psql(get['streamed'])
            changes = re.findall(r'^streaming change for TXN (\d+)', text, re.M)
            check(changes.count(changes[-1] if changes else '') == len(want), '%s, streamed: %s' % (name, text))
    say('%d kinds of changes beside heap tables' % len(BESIDE))


def check_truncate(server):
    """As its rows are, TRUNCATE of a Rowan table is left out, and warned of; that of a heap table in one statement with it is not."""
    for sql, want in (('TRUNCATE r', []), ('TRUNCATE h', ['table public.h: TRUNCATE: (no-flags)']),
                      ('TRUNCATE r, h, ht CASCADE', ['table public.h, public.ht: TRUNCATE: cascade']), ('BEGIN; TRUNCATE r; TRUNCATE r; COMMIT', [])):
        prepare(server)
        server.sql("SELECT pg_logical_slot_get_changes('slot', NULL, NULL)")
        server.sql(sql)
        text = server.psql("SELECT data FROM pg_logical_slot_get_changes('slot', NULL, NULL, %s)" % OPTIONS)
        check(lines(text) == want, '%s: %s' % (sql, text))
        check(text.count(WARNING + ' are left out') == ('TRUNCATE r' in sql), '%s: %s' % (sql, text))


def check_catalog_tables(server):
    """Logical decoding could not see earlier states of a Rowan table: it cannot be one of its catalogs."""
    with server.connect() as c:
        c.exec('DROP TABLE IF EXISTS u, v')
        c.exec('CREATE TABLE u (id int) USING rowan; CREATE TABLE v (id int) USING heap WITH (user_catalog_table = true)')
        for sql in ('CREATE TABLE w (id int) USING rowan WITH (user_catalog_table = true)',
                    'CREATE TABLE w USING rowan WITH (user_catalog_table) AS SELECT 1 AS id',
                    'ALTER TABLE u SET (user_catalog_table = true)', 'ALTER TABLE u SET (fillfactor = 50, user_catalog_table = on)',
                    'ALTER TABLE v SET ACCESS METHOD rowan', 'ALTER TABLE u SET (user_catalog_table = true), ADD COLUMN x int',
                    'SET default_table_access_method = rowan; CREATE TABLE w (id int) WITH (user_catalog_table = true)'):
            try:
                c.exec(sql)
            except pq.Error as e:
                check(e.sqlstate == '0A000' and re.search('user_catalog_table|used as a catalog table', str(e)), '%s: %s' % (sql, e))
            else:
                check(False, 'not refused: ' + sql)
        c.exec('ALTER TABLE u SET (user_catalog_table = false, fillfactor = 60); ALTER TABLE u RESET (user_catalog_table)')
        c.exec('ALTER TABLE v RESET (user_catalog_table); ALTER TABLE v SET ACCESS METHOD rowan; INSERT INTO v VALUES (1)')
        c.exec('DROP TABLE u, v')


def anonymous_memory(pid):
    with open('/proc/%d/status' % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith('RssAnon'))


def check_memory(server):
    """A large transaction of values out of line is not kept in memory: neither insertions nor deletions."""
    prepare(server)
    for sql in ("INSERT INTO r SELECT i, repeat('x', 100000) FROM generate_series(101, 500) i; INSERT INTO h VALUES (500)",
                "UPDATE r SET t = repeat('y', 100000) WHERE id > 100", "DELETE FROM r WHERE id > 100"):
        server.sql("SELECT pg_logical_slot_get_changes('slot', NULL, NULL)")
        server.sql('BEGIN; %s; COMMIT' % sql)
        with server.connect() as c:
            c.exec("SET logical_decoding_work_mem = '1MB'")
            pid = int(c.one('SELECT pg_backend_pid()'))
            before, peak, done = anonymous_memory(pid), [0], threading.Event()

            def watch():
                while not done.wait(0.005):
                    peak[0] = max(peak[0], anonymous_memory(pid))
            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                c.rows("SELECT count(*) FROM pg_logical_slot_peek_changes('slot', NULL, NULL)")
            finally:
                done.set()
                watcher.join()
        grown = (peak[0] - before) // 1024
        check(grown < 20, 'decoding %s takes %d MB' % (sql[:20], grown))
        say('decoding of "%s...": %d MB' % (sql[:12], grown))


def test(options):
    if not ENGINE:
        return
    server = cluster.make('decoding', conf={'wal_level': 'logical', 'max_replication_slots': '10'})
    server.sql('CREATE TABLE r (id int PRIMARY KEY) USING %s; CREATE TABLE h (id int PRIMARY KEY) USING heap; '
               'CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) USING %s; '
               'CREATE SCHEMA s; CREATE TABLE s.r (id int) USING %s' % (AM, AM, AM))
    for sql, warned in (('CREATE PUBLICATION a FOR TABLE h', False), ('ALTER PUBLICATION a ADD TABLE r', True),
                        ('ALTER PUBLICATION a SET TABLE h', False), ('CREATE PUBLICATION b FOR TABLE p', True),
                        ('CREATE PUBLICATION c FOR TABLES IN SCHEMA s', True), ('CREATE PUBLICATION d FOR ALL TABLES', True)):
        text = server.psql(sql)
        check((WARNING + ' are not published' in text) == warned, '%s: %s' % (sql, text))
    server.sql("SELECT pg_create_logical_replication_slot('slot', 'test_decoding')")
    get = "SELECT data FROM pg_logical_slot_peek_changes('slot', NULL, NULL)"
    server.sql('INSERT INTO h VALUES (1)')
    check(WARNING not in server.psql(get), 'a warning, but no Rowan table was changed')
    server.sql('BEGIN; INSERT INTO h VALUES (2); INSERT INTO r VALUES (2); UPDATE h SET id = 3 WHERE id = 2; COMMIT')
    for _ in range(2):
        text = server.psql(get)
        check(text.count(WARNING + ' are left out') == 1, 'decoding: %s' % text)
        check('INSERT: id[integer]:2' in text and 'UPDATE:' in text and 'public.r' not in text, 'decoding: %s' % text)
    # a subscription makes its copy over a replication connection
    for table, warned in (('r', True), ('h', False)):
        text = server.psql('COPY %s TO STDOUT' % table, db='dbname=postgres replication=database')
        check((WARNING + ' are not published' in text) == warned, 'COPY: %s' % text)
    check(WARNING not in server.psql('COPY r TO STDOUT'), 'a warning over an ordinary connection')
    # another database's changes are nobody's business
    server.sql("SELECT pg_logical_slot_get_changes('slot', NULL, NULL)")
    server.sql('CREATE DATABASE other')
    server.create_extension('other')
    server.sql('CREATE TABLE r (id int) USING %s; INSERT INTO r VALUES (1)' % AM, 'other')
    check(WARNING not in server.psql(get), 'a warning for another database')
    check_beside(server)
    check_truncate(server)
    check_catalog_tables(server)
    check_memory(server)
    # where nothing at all can be published core says so
    server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    server.stop()
    server.write_conf(wal_level='replica')
    server.start()
    text = server.psql('CREATE PUBLICATION e FOR TABLE r')
    check(WARNING not in text and 'wal_level is insufficient' in text, 'wal_level = replica: %s' % text)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
