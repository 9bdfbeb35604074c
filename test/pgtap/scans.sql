-- Bitmap scans exact and lossy, parallel scans of every kind, TABLESAMPLE: same rows as the plain scan.
SELECT * FROM no_plan();
CREATE TABLE t (id int PRIMARY KEY, k int, g int, v int DEFAULT 0, s text);
INSERT INTO t SELECT i, i % 100, i / 300, 0, repeat('s', i % 20) FROM generate_series(1, 30000) i;
CREATE INDEX t_k ON t (k);
CREATE INDEX t_g ON t (g);
CREATE INDEX t_brin ON t USING brin (id) WITH (pages_per_range = 4);
UPDATE t SET v = v + 1 WHERE id % 5 = 0;
UPDATE t SET v = v + 1 WHERE id % 10 = 0;
UPDATE t SET k = k + 1 WHERE id % 7 = 0;
DELETE FROM t WHERE id % 11 = 0;
BEGIN; UPDATE t SET v = -100; UPDATE t SET k = -1 WHERE id % 3 = 0; DELETE FROM t WHERE id % 2 = 0; ROLLBACK;
ANALYZE t;
CREATE TABLE truth AS SELECT * FROM t;
CREATE FUNCTION node(query text, wanted text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text; r boolean := false;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS off, TIMING off) ' || query LOOP r := r OR line ~ wanted; END LOOP;
  RETURN r;
END $$;
CREATE FUNCTION both_ways(where_ text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE x text; y text;
BEGIN
  EXECUTE 'SELECT count(*) || '' '' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM t WHERE ' || where_ INTO x;
  EXECUTE 'SELECT count(*) || '' '' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM truth t WHERE ' || where_ INTO y;
  IF x <> y THEN RAISE WARNING '%: %, truth %', where_, x, y; END IF;
  RETURN x = y;
END $$;
-- bitmap
SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off;
SELECT ok(node('SELECT * FROM t WHERE k = 5', 'Bitmap Heap Scan'), 'a bitmap scan');
SELECT ok(both_ways(w), 'bitmap: ' || w) FROM (VALUES ('k = 5'), ('k = 5 OR k = 77'), ('k = 5 AND g = 3'), ('k IN (1, 2, 3) AND g BETWEEN 10 AND 50'), ('k < 50'), ('k = 1000'), ('id BETWEEN 3000 AND 9000')) x (w);
SET work_mem = '64kB';
SELECT ok(both_ways(w), 'lossy bitmap: ' || w) FROM (VALUES ('k < 90'), ('k < 50 OR g > 20'), ('k < 90 AND g > 20'), ('k > 0 AND v = 2'), ('id > 5')) x (w);
RESET work_mem;
DROP INDEX t_k, t_g; ALTER TABLE t DROP CONSTRAINT t_pkey;
SELECT ok(node('SELECT * FROM t WHERE id BETWEEN 3000 AND 9000', 'Bitmap Heap Scan'), 'by BRIN');
SELECT ok(both_ways(w), 'BRIN: ' || w) FROM (VALUES ('id BETWEEN 3000 AND 9000'), ('id < 10'), ('id > 29990'), ('id = 500'), ('id BETWEEN 9000 AND 3000')) x (w);
INSERT INTO t SELECT i, 1, 1, 1, 'late' FROM generate_series(40001, 40500) i; INSERT INTO truth SELECT i, 1, 1, 1, 'late' FROM generate_series(40001, 40500) i;
UPDATE t SET id = id + 50000 WHERE id BETWEEN 100 AND 120; UPDATE truth SET id = id + 50000 WHERE id BETWEEN 100 AND 120;
SELECT ok(both_ways(w), 'BRIN, changed: ' || w) FROM (VALUES ('id > 29990'), ('id BETWEEN 90 AND 130'), ('id > 50000')) x (w);
VACUUM t;
SELECT ok(both_ways(w), 'BRIN, vacuumed: ' || w) FROM (VALUES ('id > 29990'), ('id BETWEEN 90 AND 130'), ('id > 50000')) x (w);
CREATE INDEX t_k ON t (k); CREATE INDEX t_g ON t (g); ALTER TABLE t ADD PRIMARY KEY (id);
RESET enable_seqscan; RESET enable_indexscan; RESET enable_indexonlyscan;
-- parallel
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = 3;
ANALYZE t;
SELECT ok(node('SELECT count(*) FROM t WHERE v = 1', 'Parallel Seq Scan'), 'a parallel sequential scan');
SELECT ok(both_ways('v >= 0'), 'parallel sequential');
SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT ok(node('SELECT count(s) FROM t WHERE k < 50', 'Parallel Index Scan'), 'a parallel index scan');
SELECT ok(both_ways('k < 50'), 'parallel index');
VACUUM t;
SELECT ok(node('SELECT count(*) FROM t WHERE k < 50', 'Parallel Index Only Scan'), 'a parallel index-only scan');
SELECT is((SELECT count(*) FROM t WHERE k < 50), (SELECT count(*) FROM truth WHERE k < 50), 'parallel index-only');
SET enable_bitmapscan = on; SET enable_indexscan = off; SET enable_indexonlyscan = off;
SELECT ok(node('SELECT count(s) FROM t WHERE k < 50', 'Parallel Bitmap Heap Scan'), 'a parallel bitmap scan');
SELECT ok(both_ways('k < 50'), 'parallel bitmap');
SET work_mem = '64kB';
SELECT ok(both_ways('k < 90'), 'parallel lossy bitmap');
RESET work_mem; RESET enable_seqscan; RESET enable_indexscan; RESET enable_indexonlyscan;
SELECT is((SELECT count(*) FROM t a JOIN t b ON a.id = b.id + 1), (SELECT count(*) FROM truth a JOIN truth b ON a.id = b.id + 1), 'a parallel join');
CREATE TABLE made AS SELECT k, count(*) n FROM t GROUP BY k;
SELECT is((SELECT sum(n) FROM made), (SELECT count(*)::numeric FROM truth), 'CREATE TABLE AS from a parallel plan');
SET parallel_leader_participation = off;
SELECT ok(both_ways('v >= 0'), 'without the leader');
RESET parallel_leader_participation;
-- a parallel scan that is begun again, and one that ends early
SET enable_material = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT is((SELECT count(*)::int FROM generate_series(1, 3) g, LATERAL (SELECT count(*) c FROM t WHERE v = g % 3) x), 3, 'rescans');
SELECT is((SELECT count(*)::int FROM (SELECT * FROM t LIMIT 7) x), 7, 'stopped early');
RESET max_parallel_workers_per_gather;
-- index-only against changes after VACUUM
SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = on; SET enable_indexscan = on;
VACUUM t;
SELECT is((SELECT count(*) FROM t WHERE k = 5), (SELECT count(*) FROM truth WHERE k = 5), 'index-only');
DELETE FROM t WHERE k = 5 AND id < 10000; DELETE FROM truth WHERE k = 5 AND id < 10000;
SELECT is((SELECT count(*) FROM t WHERE k = 5), (SELECT count(*) FROM truth WHERE k = 5), 'index-only after deletions');
BEGIN; DELETE FROM t WHERE k = 6; ROLLBACK;
SELECT is((SELECT count(*) FROM t WHERE k = 6), (SELECT count(*) FROM truth WHERE k = 6), 'index-only after deletions undone');
INSERT INTO t SELECT i, 6 FROM generate_series(60001, 60100) i; INSERT INTO truth SELECT i, 6 FROM generate_series(60001, 60100) i;
SELECT is((SELECT count(*) FROM t WHERE k = 6), (SELECT count(*) FROM truth WHERE k = 6), 'index-only after insertions');
-- mark and restore, backwards, row comparison, ANY
SELECT is((SELECT count(*)::int FROM t a JOIN t b USING (k) WHERE a.g = 1 AND b.g = 2), (SELECT count(*)::int FROM truth a JOIN truth b USING (k) WHERE a.g = 1 AND b.g = 2), 'a merge join with mark and restore');
SELECT results_eq('SELECT id FROM t WHERE k IN (3, 4, 50) ORDER BY k DESC, id DESC', 'SELECT id FROM truth WHERE k IN (3, 4, 50) ORDER BY k DESC, id DESC', 'ANY, backwards');
SELECT is((SELECT count(*) FROM t WHERE (k, id) > (50, 10000)), (SELECT count(*) FROM truth WHERE (k, id) > (50, 10000)), 'row comparison');
RESET ALL;
-- compiled expressions
SET jit = on; SET jit_above_cost = 0;
SELECT is((SELECT count(*) || ' ' || sum(v) || ' ' || max(s) FROM t WHERE k < 50 AND s >= 's'), (SELECT count(*) || ' ' || sum(v) || ' ' || max(s) FROM truth WHERE k < 50 AND s >= 's'), 'with JIT');
RESET ALL;
-- TABLESAMPLE
SELECT is((SELECT count(*) FROM t TABLESAMPLE SYSTEM (100)), (SELECT count(*) FROM t), 'all of it, SYSTEM');
SELECT is((SELECT count(*) FROM t TABLESAMPLE BERNOULLI (100)), (SELECT count(*) FROM t), 'all of it, BERNOULLI');
SELECT is((SELECT count(*)::int FROM t TABLESAMPLE SYSTEM (0)) + (SELECT count(*)::int FROM t TABLESAMPLE BERNOULLI (0)), 0, 'nothing');
SELECT ok((SELECT count(*) BETWEEN 2400 AND 3200 FROM t TABLESAMPLE BERNOULLI (10)), 'a tenth, BERNOULLI');
SELECT ok((SELECT avg(n) BETWEEN 2000 AND 3600 FROM (SELECT count(*) n FROM generate_series(1, 30) r, LATERAL (SELECT id FROM t TABLESAMPLE SYSTEM (10) REPEATABLE (r)) x GROUP BY r) y), 'a tenth on average, SYSTEM');
SELECT is((SELECT sum(id) FROM t TABLESAMPLE BERNOULLI (7) REPEATABLE (42)), (SELECT sum(id) FROM t TABLESAMPLE BERNOULLI (7) REPEATABLE (42)), 'the same again, BERNOULLI');
SELECT is((SELECT sum(id) FROM t TABLESAMPLE SYSTEM (7) REPEATABLE (42)), (SELECT sum(id) FROM t TABLESAMPLE SYSTEM (7) REPEATABLE (42)), 'the same again, SYSTEM');
SELECT ok((SELECT min(id) < 1000 AND max(id) > 59000 FROM t TABLESAMPLE BERNOULLI (20)), 'from beginning to end');
BEGIN; UPDATE t SET v = 5; DELETE FROM t WHERE id % 2 = 0;
SELECT is((SELECT count(*) || ' ' || sum(v) FROM t TABLESAMPLE SYSTEM (100)), (SELECT count(*) || ' ' || sum(v) FROM t), 'what one sees');
ROLLBACK;
SELECT is((SELECT count(*) FROM t TABLESAMPLE SYSTEM (100) WHERE v = 5), 0::bigint, 'not what was undone');
SELECT * FROM finish();
