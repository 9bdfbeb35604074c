-- VACUUM of all kinds, ANALYZE, COPY FREEZE, TRUNCATE: what stays, what is given back, who waits for whom.
SELECT * FROM no_plan();
SELECT ok(open_session('a') = 'OK' AND open_session('b') = 'OK', 'two sessions');
CREATE TABLE t (id int PRIMARY KEY, k int, v int, s text);
CREATE INDEX ON t (k);
CREATE INDEX ON t USING gin ((ARRAY[k, v]));
INSERT INTO t SELECT i, i % 100, 0, repeat(md5(i::text), 1 + i % 5) FROM generate_series(1, 5000) i;
CREATE FUNCTION contents() RETURNS text LANGUAGE sql AS $$ SELECT count(*) || ' ' || sum(id) || ' ' || sum(k) || ' ' || sum(v) || ' ' || sum(length(s)) FROM t $$;
-- The duration of a statement in milliseconds.
CREATE FUNCTION duration(who text, sql text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE start timestamptz := clock_timestamp(); state text;
BEGIN
  state := run(who, sql);
  IF state <> 'ok' THEN RAISE EXCEPTION '%: %', sql, state; END IF;
  RETURN extract(epoch FROM clock_timestamp() - start) * 1000;
END $$;

VACUUM t;
SELECT is(contents(), '5000 12502500 247500 0 480000', 'nothing to do');
UPDATE t SET v = v + 1;
UPDATE t SET k = k + 1 WHERE id % 10 = 0;
DELETE FROM t WHERE id % 7 = 0;
SELECT contents() AS expected \gset
VACUUM (INDEX_CLEANUP off, TRUNCATE off) t;
SELECT is(contents(), :'expected', 'no index cleanup');
VACUUM (VERBOSE, FREEZE, INDEX_CLEANUP on, PARALLEL 2) t;
SELECT is(contents(), :'expected', 'all of it');
SELECT is((SELECT count(*)::int FROM t WHERE k = 50), (SELECT count(*)::int FROM t WHERE k + 0 = 50), 'by index');
VACUUM (DISABLE_PAGE_SKIPPING, SKIP_LOCKED, PROCESS_TOAST off) t;
SELECT is(contents(), :'expected', 'every page');
VACUUM (FULL, ANALYZE) t;
SELECT is(contents(), :'expected', 'FULL');
CLUSTER t USING t_k_idx;
SELECT is(contents(), :'expected', 'CLUSTER');
SELECT is((SELECT count(*)::int FROM (SELECT k < lag(k) OVER () AS down FROM t) x WHERE down), 0, 'in that order');
SELECT is((SELECT relhassubclass::text || relkind::text FROM pg_class WHERE oid = 't'::regclass), 'falser', 'still a table');
CLUSTER t;
SELECT is(contents(), :'expected', 'again');

-- an open snapshot keeps what it sees, whatever VACUUM comes
SELECT is(run('a', 'BEGIN ISOLATION LEVEL REPEATABLE READ') || (ask('a', 'SELECT contents()') = '(' || quote_ident(:'expected') || ')')::text, 'oktrue', 'a snapshot');
DELETE FROM t WHERE id % 2 = 0;
UPDATE t SET v = v + 1, s = s || 'x';
VACUUM (FREEZE, INDEX_CLEANUP on) t;
SELECT is(ask('a', 'SELECT contents()'), '(' || quote_ident(:'expected') || ')', 'VACUUM FREEZE');
SELECT is(run('a', 'SET enable_seqscan = off'), 'ok', 'by index');
SELECT is(ask('a', 'SELECT count(*) FROM t WHERE k = 17'), '(43)', 'rows deleted since');
SELECT is(run('a', 'COMMIT'), 'ok', 'it ends');

-- files are given back, nobody is kept waiting
CREATE TABLE gone AS SELECT * FROM t;
DELETE FROM gone;
VACUUM gone;
SELECT cmp_ok(pg_relation_size('gone'), '<=', 16384::bigint, 'an empty table has no more than its first pages');
INSERT INTO gone SELECT * FROM t;
SELECT is((SELECT count(*)::int FROM gone), (SELECT count(*)::int FROM t), 'and is used again');
CREATE TABLE w (id int PRIMARY KEY, v int, s text);
INSERT INTO w SELECT i, i, repeat('x', 50) FROM generate_series(1, 1000) i;
VACUUM w;
SELECT is(run('a', 'BEGIN ISOLATION LEVEL REPEATABLE READ') || ask('a', 'SELECT count(*) FROM w'), 'ok(1000)', 'a snapshot');
UPDATE w SET v = v + 1;
UPDATE w SET v = v + 1 WHERE id < 100;
SELECT is(run('a', 'COMMIT') || run('a', 'BEGIN; LOCK TABLE w IN ACCESS SHARE MODE'), 'okok', 'a reader without one');
SELECT cmp_ok(duration('b', 'VACUUM w'), '<', 4000, 'VACUUM has nothing to wait for');
SELECT cmp_ok(duration('b', 'VACUUM w'), '<', 4000, 'nor has the next one');
SELECT is(run('a', 'COMMIT'), 'ok', 'the reader goes');
SELECT is(run('a', 'BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE'), 'ok', 'a lock');
SELECT cmp_ok(duration('b', 'VACUUM (SKIP_LOCKED) t'), '<', 4000, 'SKIP_LOCKED');
SELECT is(run('a', 'COMMIT'), 'ok', 'it ends');
SELECT is(run('b', 'BEGIN; VACUUM t'), '25001', 'not in a transaction');
SELECT is(run('b', 'ROLLBACK'), 'ok', 'over');

-- COPY FREEZE
BEGIN;
CREATE TABLE frozen (id int, v int DEFAULT 2, s text DEFAULT 'copied');
COPY frozen (id) FROM PROGRAM 'seq 1 3000' (FREEZE);
SELECT is((SELECT count(*)::int FROM frozen), 3000, 'COPY FREEZE, seen by itself');
SAVEPOINT s;
UPDATE frozen SET v = 0 WHERE id <= 10;
ROLLBACK TO s;
COMMIT;
SELECT is((SELECT count(*) || ' ' || sum(v) FROM frozen), '3000 6000', 'and by others');
SELECT throws_ok('COPY frozen (id) FROM PROGRAM ''seq 1 3000'' (FREEZE)', '55000', NULL, 'only into a table of this transaction');
BEGIN;
TRUNCATE frozen;
COPY frozen (id) FROM PROGRAM 'seq 1 10' (FREEZE);
ROLLBACK;
SELECT is((SELECT count(*) || ' ' || sum(v) FROM frozen), '3000 6000', 'undone');

-- what the statistics say
ANALYZE t;
SELECT is((SELECT reltuples::int FROM pg_class WHERE oid = 't'::regclass), (SELECT count(*)::int FROM t), 'reltuples');
SELECT cmp_ok((SELECT relpages FROM pg_class WHERE oid = 't'::regclass), '<=', (pg_relation_size('t') / current_setting('block_size')::int)::int, 'relpages');
VACUUM t;
SELECT ok((SELECT relallvisible > 0 FROM pg_class WHERE oid = 't'::regclass), 'relallvisible');
SELECT is((SELECT age(relfrozenxid) < 100 FROM pg_class WHERE oid = 't'::regclass), true, 'relfrozenxid goes with the time') FROM (SELECT 1) x WHERE :'am' <> 'heap'
UNION ALL SELECT pass('relfrozenxid: heap waits for vacuum_freeze_min_age') WHERE :'am' = 'heap';
SELECT * FROM finish();
