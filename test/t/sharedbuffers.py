#!/usr/bin/env python3
"""I1: shared_buffers never holds a page of a Rowan table's main fork, whatever is done with the table; functions of
contrib modules that would read one are refused."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

READERS = ["get_raw_page('t', 1)", "get_raw_page('t', 'main', 1)", "pg_prewarm('t')", "pg_prewarm('t', 'prefetch')",
           "pg_check_frozen('t')", "pg_check_visible('t')", "pg_visibility('t', 1)", "pg_visibility('t')"]
INDEX_READERS = ["get_raw_page('t_ix', 1)", "get_raw_page('public.t_ix', 'main', 1)", "pg_prewarm('t_ix')", "pg_prewarm('t_ix', 'read', 'main')"]

WORK = """
SELECT count(*) FROM t WHERE s > 'a'; CREATE INDEX t_ix2 ON t USING rowan_btree (v, s); REINDEX INDEX CONCURRENTLY t_ix
CREATE INDEX t_brin ON t USING brin (id); CREATE INDEX t_gin ON t USING gin (to_tsvector('simple', s));
CREATE INDEX CONCURRENTLY t_hash ON t USING hash (s)
REINDEX TABLE CONCURRENTLY t
ANALYZE t
VACUUM (FREEZE) t
DROP INDEX t_brin
ANALYZE t
SELECT count(*) FROM t TABLESAMPLE SYSTEM (50)
SET enable_seqscan = off; SELECT count(*) FROM t WHERE id < 5000; SET enable_indexscan = off; SELECT sum(v) FROM t WHERE id < 5000
RESET ALL; SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET min_parallel_table_scan_size = 0; SELECT count(*) FROM t
RESET ALL; UPDATE t SET v = v + 1; DELETE FROM t WHERE id % 3 = 0; VACUUM t
SELECT brin_summarize_new_values('u_brin')
ALTER TABLE t SET TABLESPACE there
CLUSTER t USING t_pkey
VACUUM FULL t
ALTER TABLE t ADD COLUMN w int DEFAULT random() * 10
CREATE TABLE copied USING {am} AS SELECT * FROM t; TRUNCATE copied; COPY t (id) TO '/dev/null'
REFRESH MATERIALIZED VIEW m
ALTER TABLE u SET LOGGED
SELECT pg_relation_size('t'), pg_table_size('t'), pg_total_relation_size('t')
SELECT count(*) FROM pg_visibility_map('t')
"""


def cached_pages(server):
    return server.sql("SELECT c.relname, count(*) FROM pg_buffercache b JOIN pg_class c ON b.relfilenode = pg_relation_filenode(c.oid) "
                      "JOIN pg_am a ON a.oid = c.relam WHERE a.amname IN ('%s', 'rowan_btree') AND b.relforknumber = 0 GROUP BY 1" % AM)


def temporary_tables(server):
    """Of another session: refused, as by heap, although they are in the same pool."""
    with server.connect() as one, server.connect() as two:
        one.exec('CREATE TEMP TABLE mine (id int) USING %s; INSERT INTO mine VALUES (1)' % AM)
        name = one.one("SELECT nspname || '.mine' FROM pg_namespace WHERE oid = pg_my_temp_schema()")
        for sql in ('SELECT * FROM ' + name, 'INSERT INTO %s VALUES (2)' % name, 'DELETE FROM ' + name):
            r = two.try_(sql)
            check(r.error and r.error.sqlstate == '0A000', '%s: %s %s' % (sql, r.rows, r.error))
        check(one.one('SELECT count(*) FROM mine') == '1', 'the temporary table')
        two.exec('DROP TABLE ' + name)


def test(options):
    if not ENGINE:
        return
    server = cluster.make('sharedbuffers')
    server.sql("CREATE TABLESPACE there LOCATION '%s'" % harness.new_dir('there'))
    server.sql("CREATE EXTENSION pg_buffercache; CREATE EXTENSION pageinspect; CREATE EXTENSION pg_prewarm; CREATE EXTENSION pg_visibility; "
               "CREATE TABLE t (id int PRIMARY KEY, v int, s text) USING %s; CREATE TABLE h (id int); INSERT INTO h VALUES (1); "
               "INSERT INTO t SELECT i, i, md5(i::text) FROM generate_series(1, 20000) i; UPDATE t SET v = v + 1; "
               "CREATE UNLOGGED TABLE u USING %s AS SELECT id FROM t; CREATE INDEX u_brin ON u USING brin (id); "
               "CREATE INDEX t_ix ON t USING rowan_btree (s); CREATE MATERIALIZED VIEW m USING %s AS SELECT * FROM t" % (AM, AM, AM))
    with server.connect() as c:
        for call in READERS:
            r = c.try_('SELECT ' + call)
            check(r.error and r.error.sqlstate == '0A000' and 'rowan.' in r.error.hint, '%s: %s %s' % (call, r.rows, r.error))
            check(c.try_('SELECT ' + call.replace("'t'", "'h'").replace('1)', '0)')).error is None, '%s on heap' % call)
        for call in INDEX_READERS:
            r = c.try_('SELECT ' + call)
            check(r.error and r.error.sqlstate == '0A000' and 'rowan.' in r.error.hint, '%s: %s %s' % (call, r.rows, r.error))
            check(c.try_('SELECT ' + call.replace("t_ix", "t_pkey")).error is None, '%s on btree' % call)
        # a function that calls one of them and catches the error
        c.exec("CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM %s; RETURN 0; "
               "EXCEPTION WHEN feature_not_supported THEN RETURN (SELECT count(*) FROM t); END $$" % READERS[0])
        check(c.one('SELECT f()') == '20000', 'after an error that was caught')
        for line in WORK.strip().split('\n'):
            for statement in line.replace('{am}', AM).split('; '):
                c.exec(statement)
    temporary_tables(server)
    check(cached_pages(server) == [], 'in shared_buffers: %s' % cached_pages(server))
    server.verify()
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
