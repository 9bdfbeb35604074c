-- Cursors: forth and back, held over commit, WHERE CURRENT OF, under changes, insensitive.
SELECT * FROM no_plan();
CREATE TABLE t (id int PRIMARY KEY, k int, v int DEFAULT 0);
CREATE INDEX ON t (k);
INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 2000) i;
UPDATE t SET v = v + 1 WHERE id % 3 = 0;
DELETE FROM t WHERE id % 7 = 0;
ANALYZE t;
CREATE FUNCTION walk(query text, how text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE c refcursor; r record; forth int[]; back int[]; i int;
BEGIN
  EXECUTE how;
  OPEN c SCROLL FOR EXECUTE query;
  LOOP FETCH c INTO r; EXIT WHEN NOT FOUND; forth := forth || r.id; END LOOP;
  LOOP FETCH PRIOR FROM c INTO r; EXIT WHEN NOT FOUND; back := r.id || back; END LOOP;
  IF forth IS DISTINCT FROM back THEN RETURN format('forth %s, back %s', cardinality(forth), cardinality(back)); END IF;
  FETCH ABSOLUTE 100 FROM c INTO r; IF r.id <> forth[100] THEN RETURN 'absolute'; END IF;
  FETCH RELATIVE -50 FROM c INTO r; IF r.id <> forth[50] THEN RETURN 'relative'; END IF;
  FETCH LAST FROM c INTO r; IF r.id <> forth[cardinality(forth)] THEN RETURN 'last'; END IF;
  FETCH RELATIVE -1 FROM c INTO r; IF r.id <> forth[cardinality(forth) - 1] THEN RETURN 'last but one'; END IF;
  FETCH FIRST FROM c INTO r; IF r.id <> forth[1] THEN RETURN 'first'; END IF;
  -- to and fro
  i := 1;
  FOR n IN 1..300 LOOP
    IF n % 5 < 3 THEN FETCH NEXT FROM c INTO r; i := i + 1; ELSE FETCH PRIOR FROM c INTO r; i := i - 1; END IF;
    IF i BETWEEN 1 AND cardinality(forth) AND r.id IS DISTINCT FROM forth[i] THEN RETURN format('to and fro at %s: %s, not %s', i, r.id, forth[i]); END IF;
  END LOOP;
  CLOSE c;
  RETURN format('%s rows, %s', cardinality(forth), (SELECT sum(x) FROM unnest(forth) x));
END $$;
SELECT is(walk('SELECT id FROM t', 'SET LOCAL enable_seqscan = on'), '1715 rows, 1715715', 'sequential');
SELECT is(walk('SELECT id FROM t WHERE id > 0', 'SET LOCAL enable_seqscan = off'), '1715 rows, 1715715', 'by index');
SELECT is(walk('SELECT id FROM t WHERE id > 0 ORDER BY id DESC', 'SET LOCAL enable_seqscan = off'), '1715 rows, 1715715', 'by index, backwards');
SELECT is(walk('SELECT id FROM t WHERE k = 3', 'SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off'), '172 rows, 171376', 'bitmap');
SELECT is(walk('SELECT id FROM t WHERE ctid >= ''(1,0)'' AND ctid < ''(6,0)''', 'SET LOCAL enable_seqscan = on') LIKE '%rows%', true, 'by TID range');
SELECT is(walk('SELECT a.id FROM t a JOIN t b ON a.id = b.id + 1', ''), walk('SELECT a.id FROM t a JOIN t b ON a.id = b.id + 1 ORDER BY 1', ''), 'a join');
-- under own changes: the cursor sees what there was
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, v FROM t WHERE id BETWEEN 1 AND 5 ORDER BY id;
SELECT results_eq('FETCH 2 FROM c', 'VALUES (1, 0), (2, 0)', 'two');
UPDATE t SET v = v + 100 WHERE id <= 5; UPDATE t SET k = 77 WHERE id = 3; DELETE FROM t WHERE id = 4; INSERT INTO t VALUES (0, 0);
SELECT results_eq('FETCH 5 FROM c', 'VALUES (3, 1), (4, 0), (5, 0)', 'as it was');
SELECT results_eq('FETCH BACKWARD 6 FROM c', 'VALUES (5, 0), (4, 0), (3, 1), (2, 0), (1, 0)', 'back as it was');
ROLLBACK;
-- sequential cursor under own changes
BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id FROM t;
FETCH 1 FROM c \gset
UPDATE t SET v = v + 1; UPDATE t SET k = k + 1 WHERE id % 2 = 0; DELETE FROM t WHERE id % 5 = 0; INSERT INTO t SELECT i FROM generate_series(5000, 6000) i;
CREATE TEMP TABLE got (id int);
DO $$ DECLARE r int; c refcursor := 'c'; BEGIN LOOP FETCH c INTO r; EXIT WHEN NOT FOUND; INSERT INTO got VALUES (r); END LOOP; END $$;
SELECT is((SELECT count(*) || ' ' || sum(id) FROM got), '1714 1715714', 'all of the old rows, none of the new');
ROLLBACK;
-- held
BEGIN;
DECLARE h SCROLL CURSOR WITH HOLD FOR SELECT id, v FROM t WHERE id <= 20 ORDER BY id;
SELECT results_eq('FETCH 1 FROM h', 'VALUES (1, 0)', 'one before commit');
UPDATE t SET v = 500 WHERE id = 2;
COMMIT;
DELETE FROM t WHERE id = 3;
SELECT results_eq('FETCH 2 FROM h', 'VALUES (2, 0), (3, 1)', 'two after commit, as they were');
SELECT results_eq('FETCH ABSOLUTE 1 FROM h', 'VALUES (1, 0)', 'and back');
VACUUM t;
SELECT results_eq('FETCH LAST FROM h', 'VALUES (20, 0)', 'the last');
CLOSE h;
BEGIN; SAVEPOINT s; DECLARE x CURSOR FOR SELECT 1 FROM t; ROLLBACK TO s; SELECT throws_ok('FETCH x', '34000', NULL, 'a cursor of a subtransaction goes with it'); ROLLBACK;
BEGIN; DECLARE x CURSOR FOR SELECT id FROM t ORDER BY id; SAVEPOINT s; FETCH 1 FROM x \gset
UPDATE t SET v = -1 WHERE id = 2; ROLLBACK TO s;
SELECT results_eq('FETCH 1 FROM x', 'VALUES (2)', 'a cursor goes on after a rollback to a savepoint'); ROLLBACK;
-- WHERE CURRENT OF
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM t WHERE id BETWEEN 30 AND 40 ORDER BY id FOR UPDATE;
FETCH 1 FROM c \gset
SELECT lives_ok('UPDATE t SET v = 1000 WHERE CURRENT OF c', 'the first in place');
SELECT lives_ok('UPDATE t SET v = v + 1 WHERE CURRENT OF c', 'again');
FETCH 1 FROM c \gset
SELECT lives_ok('UPDATE t SET k = 1000 WHERE CURRENT OF c', 'the second moves');
SELECT lives_ok('UPDATE t SET v = 2000 WHERE CURRENT OF c', 'again');
FETCH 1 FROM c \gset
SELECT lives_ok('DELETE FROM t WHERE CURRENT OF c', 'the third goes');
SELECT lives_ok('DELETE FROM t WHERE CURRENT OF c', 'again');
SELECT is((SELECT string_agg(id || ':' || k || ':' || v, ' ' ORDER BY id) FROM t WHERE id BETWEEN 30 AND 34), '30:0:1001 31:1000:2000 33:3:1 34:4:0', 'done');
COMMIT;
BEGIN;
SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
DECLARE c CURSOR FOR SELECT id FROM t WHERE id = 50;
SELECT throws_ok('UPDATE t SET v = 5 WHERE CURRENT OF c', '24000', NULL, 'not on a row');
ROLLBACK;
BEGIN;
SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
DECLARE c CURSOR FOR SELECT id FROM t WHERE id = 50;
FETCH 1 FROM c \gset
SELECT lives_ok('UPDATE t SET v = 5 WHERE CURRENT OF c', 'an index-only cursor');
SELECT lives_ok('UPDATE t SET v = v + 5 WHERE CURRENT OF c', 'again: the row has another version now');
SELECT is((SELECT v FROM t WHERE id = 50), 10, 'on top');
COMMIT;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t WHERE id IN (51, 52);
FETCH 1 FROM c \gset
SELECT lives_ok('DELETE FROM t WHERE CURRENT OF c', 'delete');
FETCH 1 FROM c \gset
SELECT lives_ok('UPDATE t SET k = -1 WHERE CURRENT OF c', 'move');
COMMIT;
SELECT is((SELECT string_agg(id || ':' || k, ' ' ORDER BY id) FROM t WHERE id IN (51, 52)), '52:-1', 'done');
CREATE TABLE kid (extra int) INHERITS (t);
INSERT INTO kid SELECT i, 0, 0, i FROM generate_series(9000, 9010) i;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM t WHERE id BETWEEN 9000 AND 9002 ORDER BY id FOR UPDATE;
FETCH 1 FROM c \gset
FETCH 1 FROM c \gset
UPDATE t SET v = 9 WHERE CURRENT OF c;
SELECT is((SELECT string_agg(id || ':' || v, ' ' ORDER BY id) FROM kid WHERE v <> 0), '9001:9', 'of a child table');
COMMIT;
DROP TABLE kid;
-- another session changes the row under the cursor
SELECT ok(open_session('a') = 'OK', 'a session');
BEGIN;
DECLARE c CURSOR FOR SELECT id, v FROM t WHERE id BETWEEN 60 AND 62 ORDER BY id;
FETCH 1 FROM c \gset
SELECT is(run('a', 'UPDATE t SET v = 600 WHERE id = 60; UPDATE t SET v = 610 WHERE id = 61; DELETE FROM t WHERE id = 62'), 'ok', 'changes');
SELECT lives_ok('UPDATE t SET v = v + 1 WHERE CURRENT OF c', 'follows');
SELECT is((SELECT v FROM t WHERE id = 60), 601, 'on top of it');
COMMIT;
SELECT * FROM finish();
