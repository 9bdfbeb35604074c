#!/usr/bin/env python3
"""What majors of PostgreSQL after 15 offer, and that it is not there before.

* 17: the pool worker's waits have a name; rows of the same transaction are known in foreign keys'
  triggers; parallel builds of indexes; incremental backups of a file that is cut and grows again
  are combined into what there was
* 18: EXPLAIN counts searches of an index; ON CONFLICT and foreign keys by unique indexes of
  rowan_btree

Rows that stay in place though a BRIN index has the changed column (16): t/brin.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import check, say, wait_for

MAJOR = harness.major()


def wait_events(server):
    seen = ("SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'rowan pool worker' "
            "AND wait_event_type = 'Extension'")
    expected = [('RowanPoolWorkerMain' if MAJOR >= 17 else 'Extension',)]
    wait_for(lambda: server.sql(seen) == expected, 'the pool worker waits as %s' % expected[0])


def same_transaction(c):
    """Core asks the old version's slot who made it: our own key is checked again."""
    c.exec("CREATE TABLE parent (id int PRIMARY KEY) USING rowan")
    c.exec("INSERT INTO parent VALUES (1), (2)")
    c.exec("CREATE TABLE child (p int REFERENCES parent DEFERRABLE INITIALLY DEFERRED, v int) "
           "USING rowan")
    c.exec("BEGIN; INSERT INTO child VALUES (1, 1)")
    c.exec("UPDATE child SET v = 2; UPDATE child SET v = 3; COMMIT")
    c.exec("BEGIN; INSERT INTO child VALUES (7, 1)")
    c.exec("UPDATE child SET v = 2 WHERE p = 7")
    r = c.try_('COMMIT')
    check(r.error is not None and r.error.sqlstate == '23503', 'a missing key: %s' % r.error)
    c.exec("UPDATE child SET v = 4")
    check(c.rows('SELECT * FROM child') == [('1', '4')], 'children')


def conflicts(c):
    """By a unique index of ours."""
    c.exec('CREATE TABLE u (k int NOT NULL, v int) USING rowan')
    c.exec('CREATE UNIQUE INDEX u_k ON u USING rowan_btree (k)')
    c.exec('INSERT INTO u SELECT g, 0 FROM generate_series(1, 1000) g')
    insert = c.try_('INSERT INTO u SELECT g, 1 FROM generate_series(900, 1100) g '
                    'ON CONFLICT (k) DO UPDATE SET v = u.v + 2')
    key = c.try_('CREATE TABLE refers (k int REFERENCES u (k)) USING rowan')
    if MAJOR < 18:
        for r in (insert, key):
            check(r.error is not None and r.error.sqlstate == '0A000', 'before 18: %s' % r.error)
        return
    check(insert.error is None and key.error is None, 'on 18: %s, %s' % (insert.error, key.error))
    rows = c.rows('SELECT v, count(*) FROM u GROUP BY v ORDER BY v')
    check(rows == [('0', '899'), ('1', '100'), ('2', '101')], 'rows of u: %s' % rows)
    c.exec('INSERT INTO refers VALUES (1100)')
    for statement in ('INSERT INTO refers VALUES (1101)', 'DELETE FROM u WHERE k = 1100'):
        r = c.try_(statement)
        check(r.error is not None and r.error.sqlstate == '23503', '%s: %s' % (statement, r.error))


def searches(c):
    """One search for each element of an array that lies elsewhere."""
    c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off')
    c.exec('CREATE INDEX u_v ON u USING rowan_btree (v, k)')
    plan = [r[0] for r in c.rows('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, '
                                 'BUFFERS OFF) SELECT * FROM u WHERE k = 500')]
    c.exec('RESET enable_seqscan; RESET enable_bitmapscan')
    lines = [x.strip() for x in plan if 'Index Searches' in x]
    check(lines == (['Index Searches: 1'] if MAJOR >= 18 else []), 'EXPLAIN: %s' % plan)


def parallel_build(server, c):
    """Before 17 core believes only btree and says so nowhere: any method's plan counts."""
    c.exec('CREATE TABLE wide (a int, b text) USING rowan WITH (parallel_workers = 2)')
    c.exec("INSERT INTO wide SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g")
    out = server.psql(script="""
        SET client_min_messages = debug1;
        SET max_parallel_maintenance_workers = 2;
        SET min_parallel_table_scan_size = 0;
        CREATE INDEX wide_a ON wide USING rowan_btree (a)""")
    expected = 'with request for 2 parallel workers' if MAJOR >= 17 else 'serially'
    check(expected in out, 'CREATE INDEX says: %s' % out)


def zero_pages(path):
    with open(path, 'rb') as f:
        data = f.read()
    return [i // 8192 for i in range(0, len(data), 8192) if not any(data[i:i + 8192])]


def incremental_backup(server):
    """
    Of a file that is cut and grows again.  With a checkpoint after each step there are several
    summaries, which the server reads in the order of their directory, whatever that is.
    """
    with server.connect() as c:
        c.exec("CREATE TABLE cut (id int, t text) USING rowan WITH (autovacuum_enabled = off)")
        c.exec("INSERT INTO cut SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g")
        c.exec("CREATE INDEX cut_id ON cut USING rowan_btree (id)")
        c.exec("CREATE TABLE grown USING rowan AS SELECT * FROM cut LIMIT 2000")
    full, more, combined = (server.dir + '/' + x for x in ('full', 'more', 'combined'))
    server.run_tool('pg_basebackup', '-D', full, '-c', 'fast', '--no-sync')
    path = server.path_of('cut')
    with server.connect() as c:
        c.exec('DELETE FROM cut WHERE id > 5000')
        before = os.path.getsize(path)
        cluster.vacuum_all(c, 'cut')
        c.exec('CHECKPOINT')
        after = os.path.getsize(path) // 8192
        check(after < before // 8192 // 2, 'cut from %d bytes to %d pages' % (before, after))
        for step in range(3):
            c.exec("INSERT INTO cut SELECT -g, repeat('y', 200) "
                   "FROM generate_series(%d, %d) g" % (step * 3000 + 1, step * 3000 + 3000))
            c.exec('CHECKPOINT')
        c.exec("INSERT INTO grown SELECT * FROM cut LIMIT 700")
        c.exec("UPDATE cut SET t = 'z' WHERE id IN (7, 700)")
        expected = c.rows('SELECT count(*), sum(id), sum(length(t)) FROM cut')
    server.run_tool('pg_basebackup', '-D', more, '-c', 'fast', '--no-sync', '--incremental',
                    full + '/backup_manifest')
    server.run_tool('pg_combinebackup', full, more, '-o', combined, '--no-sync')
    restored = cluster.Cluster('restored', initdb=False)
    restored.data = combined
    restored.write_conf()
    restored.start()
    for table in ('cut', 'grown'):
        pages = zero_pages(restored.path_of(table))
        check(pages == [], 'restored, pages of zeroes in the file of %s: %s' % (table, pages))
    with restored.connect() as c:
        for seqscan in ('on', 'off'):
            c.exec('SET enable_seqscan = ' + seqscan)
            rows = c.rows('SELECT count(*), sum(id), sum(length(t)) FROM cut WHERE id < 100000')
            check(rows == expected, 'the combined backup has %s, expected %s' % (rows, expected))
        c.exec("INSERT INTO cut SELECT g, repeat('v', 200) FROM generate_series(1, 20000) g")
    restored.verify()
    restored.verify_indexes()
    restored.check_log()
    restored.stop()


def test(options):
    server = cluster.make('newer', conf={'summarize_wal': 'on'} if MAJOR >= 17 else {})
    wait_events(server)
    with server.connect() as c:
        same_transaction(c)
        conflicts(c)
        searches(c)
        parallel_build(server, c)
    if MAJOR >= 17:
        incremental_backup(server)
    else:
        with server.connect() as c:
            check(c.try_('SHOW summarize_wal').error is not None, 'summaries of WAL on %d' % MAJOR)
    server.verify()
    server.check_log()
    server.stop()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
