-- READ COMMITTED, REPEATABLE READ, SERIALIZABLE; snapshots exported, imported, shared with parallel workers; savepoints.
SELECT * FROM no_plan();
CREATE TABLE t (id int PRIMARY KEY, k int, v int);
CREATE INDEX ON t (k);
INSERT INTO t SELECT i, i % 10, 0 FROM generate_series(1, 2000) i;
SELECT ok(open_session('a') = 'OK' AND open_session('b') = 'OK', 'two sessions');
CREATE FUNCTION sums(who text) RETURNS text LANGUAGE sql AS $$ SELECT ask(who, 'SELECT count(*), sum(id), sum(k), sum(v) FROM t') $$;

SELECT is(run('a', 'BEGIN ISOLATION LEVEL REPEATABLE READ') || sums('a'), 'ok(2000,2001000,9000,0)', 'a snapshot');
SELECT is(run('b', 'BEGIN') || sums('b'), 'ok(2000,2001000,9000,0)', 'read committed');
UPDATE t SET v = v + 1;
UPDATE t SET v = v + 1 WHERE id % 2 = 0;
UPDATE t SET k = k + 100 WHERE id % 3 = 0;
DELETE FROM t WHERE id % 5 = 0;
INSERT INTO t SELECT i, 5, 5 FROM generate_series(3001, 3100) i;
SELECT is(sums('a'), '(2000,2001000,9000,0)', 'the snapshot stays');
SELECT is(sums('b'), '(1700,1905050,61800,2900)', 'read committed goes with the time');
SELECT is(run('a', 'SET enable_seqscan = off; SET enable_bitmapscan = off'), 'ok', 'by index');
SELECT is(ask('a', 'SELECT count(*), sum(id), sum(k), sum(v) FROM t WHERE id > 0'), '(2000,2001000,9000,0)', 'the snapshot stays');
SELECT is(ask('a', 'SELECT count(*), sum(id), sum(k) FROM t WHERE k >= 0'), '(2000,2001000,9000)', 'by an index on what has changed');
SELECT is(ask('a', 'SELECT count(*), sum(v) FROM t WHERE k = 3'), '(200,0)', 'one key of it');
SELECT is(ask('a', 'SELECT count(*), sum(v) FROM t WHERE k > 90'), '(0,)', 'the new keys are not there');
SELECT is(run('a', 'SET enable_bitmapscan = on; SET enable_indexscan = off'), 'ok', 'by bitmap');
SELECT is(ask('a', 'SELECT count(*), sum(id), sum(v) FROM t WHERE k = 3 OR k = 4'), '(400,399400,0)', 'the snapshot stays');
VACUUM t;
SELECT is(ask('a', 'SELECT count(*), sum(id), sum(v) FROM t WHERE k = 3 OR k = 4'), '(400,399400,0)', 'also after VACUUM');
VACUUM FREEZE t;
SELECT is(sums('a'), '(2000,2001000,9000,0)', 'and after VACUUM FREEZE');
SELECT is(run('a', 'RESET ALL; SET default_table_access_method = ' || current_setting('default_table_access_method')), 'ok', 'as before');
-- an exported snapshot
SELECT snap FROM dblink('a', 'SELECT pg_export_snapshot()') AS x (snap text) \gset
-- pgTAP's own tables would not be what it remembers: ask first, judge later
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET TRANSACTION SNAPSHOT :'snap';
SELECT count(*) || ' ' || sum(v) AS by_scan FROM t \gset
SET LOCAL enable_seqscan = off;
SELECT count(*) || ' ' || sum(v) AS by_index FROM t WHERE k BETWEEN 3 AND 4 \gset
SELECT run('a', 'COMMIT') AS exporter \gset
SELECT count(*) || ' ' || sum(v) AS later FROM t \gset
INSERT INTO t VALUES (5000, 1, 1) RETURNING id AS inserted \gset
CREATE FUNCTION pg_temp.late() RETURNS text LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET v = 1 WHERE id = 2; RETURN 'ok'; EXCEPTION WHEN serialization_failure THEN RETURN sqlstate; END $$;
SELECT pg_temp.late() AS update \gset
ROLLBACK;
SELECT is(:'by_scan'::text, '2000 0', 'imported');
SELECT is(:'by_index'::text, '400 0', 'imported, by index');
SELECT is(:'exporter'::text, 'ok', 'the exporter leaves');
SELECT is(:'later'::text, '2000 0', 'the importer keeps it');
SELECT is(:'inserted'::text, '5000', 'it may insert');
SELECT is(:'update'::text, '40001', 'but not write what has changed');
SELECT is(run('b', 'COMMIT'), 'ok', 'done');
-- parallel workers share the snapshot, and see what their leader has written
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SET force_parallel_mode = on;
CREATE FUNCTION gathers(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN ' || query LOOP IF line LIKE '%Gather%' THEN RETURN true; END IF; END LOOP;
  RETURN false;
END $$;
ANALYZE t;
SELECT ok(gathers('SELECT count(*) FROM t'), 'a parallel plan');
BEGIN;
UPDATE t SET v = 1000 WHERE id <= 4;
SELECT is((SELECT count(*) || ' ' || sum(v) FROM t WHERE v = 1000), '4 4000', 'own changes');
SAVEPOINT s; UPDATE t SET v = 2000 WHERE id <= 4; DELETE FROM t WHERE id = 1;
SELECT is((SELECT count(*) || ' ' || sum(v) FROM t WHERE v >= 1000), '3 6000', 'those of a subtransaction');
ROLLBACK TO s;
SELECT is((SELECT count(*) || ' ' || sum(v) FROM t WHERE v >= 1000), '4 4000', 'without those undone');
UPDATE t SET k = 7777 WHERE id <= 4;
SELECT is((SELECT count(*) || ' ' || sum(v) FROM t WHERE k = 7777), '4 4000', 'by whatever index');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is((SELECT sum(v)::int FROM t), 2900, 'a snapshot');
SELECT is(run('b', 'UPDATE t SET v = v + 1'), 'ok', 'changes');
SELECT is((SELECT sum(v)::int FROM t), 2900, 'workers have it, too');
COMMIT;
RESET force_parallel_mode;
RESET max_parallel_workers_per_gather;
-- a statement does not see what it writes; functions see what their snapshot lets them
CREATE TABLE w (id int PRIMARY KEY, v int, seen int);
CREATE FUNCTION total_volatile() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT sum(v) FROM w $$;
CREATE FUNCTION total_stable() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT sum(v) FROM w $$;
INSERT INTO w SELECT i, 1 FROM generate_series(1, 5) i;
UPDATE w SET v = 10, seen = total_stable();
SELECT is((SELECT string_agg(seen::text, ' ' ORDER BY id) FROM w), '5 5 5 5 5', 'a stable function');
UPDATE w SET v = 1, seen = total_volatile();
SELECT is((SELECT string_agg(seen::text, ' ' ORDER BY seen) FROM w), '14 23 32 41 50', 'a volatile one');
INSERT INTO w SELECT id + 100, v FROM w;
SELECT is((SELECT count(*)::int FROM w), 10, 'INSERT ... SELECT from itself');
-- deep subtransactions
BEGIN;
DO $$ BEGIN
  FOR i IN 1..100 LOOP
    BEGIN
      UPDATE w SET v = v + 1 WHERE id = 1; INSERT INTO w VALUES (1000 + i, i); UPDATE w SET seen = i WHERE id = 1000 + i;
      IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
    EXCEPTION WHEN raise_exception THEN NULL; END;
  END LOOP;
END $$;
SELECT is((SELECT v FROM w WHERE id = 1), 68, 'two thirds have stayed');
SELECT is((SELECT count(*) || ' ' || sum(seen) FROM w WHERE id > 1000), '67 3367', 'so have the rows');
ROLLBACK;
SELECT is((SELECT v FROM w WHERE id = 1), 1, 'nothing has');
-- serializable: write skew, the three-way one with a reader, a predicate
CREATE FUNCTION pair(one text, two text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE x text; y text;
BEGIN
  PERFORM run('a', 'BEGIN ISOLATION LEVEL SERIALIZABLE'), run('b', 'BEGIN ISOLATION LEVEL SERIALIZABLE');
  PERFORM ask('a', 'SELECT 1'), ask('b', 'SELECT 1');
  x := run('a', one); y := run('b', two);
  IF x = 'ok' THEN x := run('a', 'COMMIT'); ELSE PERFORM run('a', 'ROLLBACK'); END IF;
  IF y = 'ok' THEN y := run('b', 'COMMIT'); ELSE PERFORM run('b', 'ROLLBACK'); END IF;
  RETURN x || ' ' || y;
END $$;
CREATE TABLE d (id int PRIMARY KEY, k int, v int);
CREATE INDEX ON d (k);
INSERT INTO d SELECT i, i, 0 FROM generate_series(1, 1000) i;
ANALYZE d;
SELECT is(pair('UPDATE d SET v = v + (SELECT v FROM d WHERE id = 2) WHERE id = 1', 'UPDATE d SET v = v + (SELECT v FROM d WHERE id = 1) WHERE id = 2'), 'ok 40001', 'write skew');
SELECT is(pair('UPDATE d SET k = k + (SELECT v FROM d WHERE id = 4) + 1 WHERE id = 3', 'UPDATE d SET k = k + (SELECT v FROM d WHERE id = 3) + 1 WHERE id = 4'), 'ok 40001', 'write skew, moving');
SELECT is(pair('DELETE FROM d WHERE id = 5 AND EXISTS (SELECT FROM d WHERE id = 6)', 'DELETE FROM d WHERE id = 6 AND EXISTS (SELECT FROM d WHERE id = 5)'), 'ok 40001', 'write skew, deleting');
SELECT is(pair('INSERT INTO d SELECT 2001, count(*) FROM d', 'INSERT INTO d SELECT 2002, count(*) FROM d'), 'ok 40001', 'of the whole table');
SELECT is(pair('INSERT INTO d SELECT 2003, 5000, count(*) FROM d WHERE k = 5001', 'INSERT INTO d SELECT 2004, 5001, count(*) FROM d WHERE k = 5000'), 'ok 40001', 'of what is not there yet');
SELECT is(pair('UPDATE d SET v = 1 WHERE id = 11', 'UPDATE d SET v = 1 WHERE id = 900'), 'ok ok', 'nothing in common');
SELECT is(pair('UPDATE d SET v = (SELECT v FROM d WHERE id = 20) WHERE id = 12', 'UPDATE d SET v = (SELECT v FROM d WHERE id = 20) WHERE id = 13'), 'ok ok', 'both read a third row');
-- by ranges of ctid: heap takes no lock there, and lets it pass
CREATE TABLE e (id int PRIMARY KEY, v int); INSERT INTO e VALUES (1, 0), (2, 0);
SELECT is(run('a', 'SET enable_seqscan = off') || run('b', 'SET enable_seqscan = off'), 'okok', 'no sequential scans');
SELECT is(pair('UPDATE e SET v = 1 WHERE id = 1 AND EXISTS (SELECT FROM e x WHERE ctid >= ''(0,2)'' AND ctid <= ''(0,2)'' AND v = 0)',
               'UPDATE e SET v = 1 WHERE id = 2 AND EXISTS (SELECT FROM e x WHERE ctid >= ''(0,1)'' AND ctid <= ''(0,1)'' AND v = 0)'),
  CASE WHEN :'am' = 'heap' THEN 'ok ok' ELSE 'ok 40001' END, 'write skew, by ranges of ctid');
SELECT is(run('a', 'RESET enable_seqscan') || run('b', 'RESET enable_seqscan'), 'okok', 'as before');
SELECT is(run('a', 'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE') || ask('a', 'SELECT count(*) FROM d') || run('a', 'COMMIT'), 'ok(1001)ok', 'deferrable');
SELECT is(run('a', 'BEGIN ISOLATION LEVEL SERIALIZABLE') || ask('a', 'SELECT sum(v) FROM d WHERE id < 50') || run('a', 'PREPARE TRANSACTION ''ssi'''), 'ok(1)ok', 'a prepared reader');
SELECT is(run('b', 'BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE d SET v = 9 WHERE id = 40; COMMIT'), 'ok', 'is no obstacle alone');
COMMIT PREPARED 'ssi';
SELECT throws_ok('INSERT INTO d VALUES (1, 1, 1)', '23505', NULL, 'a unique key is checked by what is there, not by what is seen');
SELECT * FROM finish();
