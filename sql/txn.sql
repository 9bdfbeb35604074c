-- Transactions: rollback, savepoints, subtransactions, what a snapshot sees, cursors.
CREATE TABLE t (id int PRIMARY KEY, v int, s text);
INSERT INTO t SELECT i, i, 's' || i FROM generate_series(1, 1000) i;
BEGIN; UPDATE t SET v = -v; SELECT sum(v) FROM t; ROLLBACK;
SELECT sum(v) FROM t;
BEGIN; DELETE FROM t; SELECT count(*) FROM t; ROLLBACK;
SELECT count(*) FROM t;
BEGIN; INSERT INTO t SELECT i, i FROM generate_series(2001, 3000) i; SELECT count(*) FROM t; ROLLBACK;
SELECT count(*) FROM t;
-- after a rollback the same rows are changed again
UPDATE t SET v = v + 1 WHERE id <= 500;
BEGIN; UPDATE t SET v = 0 WHERE id <= 500; UPDATE t SET v = v - 5 WHERE id <= 250; ROLLBACK;
UPDATE t SET s = 'after' WHERE id <= 300;
SELECT sum(v), count(*) FILTER (WHERE s = 'after') FROM t;
-- savepoints
BEGIN;
UPDATE t SET v = 1 WHERE id = 1;
SAVEPOINT a;
UPDATE t SET v = 2 WHERE id = 1;
INSERT INTO t VALUES (5000, 5000, 'a');
SAVEPOINT b;
UPDATE t SET v = 3 WHERE id = 1;
DELETE FROM t WHERE id = 5000;
SELECT id, v FROM t WHERE id IN (1, 5000);
ROLLBACK TO b;
SELECT id, v FROM t WHERE id IN (1, 5000) ORDER BY id;
UPDATE t SET v = 4 WHERE id = 1;
RELEASE b;
SELECT id, v FROM t WHERE id IN (1, 5000) ORDER BY id;
ROLLBACK TO a;
SELECT id, v FROM t WHERE id IN (1, 5000) ORDER BY id;
SAVEPOINT c;
DELETE FROM t WHERE id = 1;
ROLLBACK TO c;
UPDATE t SET v = 6, s = 'six' WHERE id = 1;
COMMIT;
SELECT * FROM t WHERE id IN (1, 5000) ORDER BY id;
-- moving updates and savepoints
BEGIN;
UPDATE t SET id = 9001 WHERE id = 10;
SAVEPOINT a;
UPDATE t SET id = 9002 WHERE id = 9001;
ROLLBACK TO a;
UPDATE t SET id = 9003 WHERE id = 9001;
SELECT id, v FROM t WHERE id IN (10, 9001, 9002, 9003);
COMMIT;
SELECT id, v FROM t WHERE id IN (10, 9001, 9002, 9003);
-- deep subtransactions
DO $$
BEGIN
  FOR i IN 1..200 LOOP
    BEGIN
      UPDATE t SET v = v + 1 WHERE id BETWEEN 100 AND 110;
      INSERT INTO t VALUES (20000 + i, i, 'sub');
      IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
  END LOOP;
END $$;
SELECT sum(v) FROM t WHERE id BETWEEN 100 AND 110;
SELECT count(*), sum(v) FROM t WHERE id > 20000;
CREATE FUNCTION nest(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE t SET v = v + 1 WHERE id = 50;
  IF n > 0 THEN PERFORM nest(n - 1); END IF;
  IF n = 5 THEN RAISE EXCEPTION 'at five'; END IF;
EXCEPTION WHEN raise_exception THEN
  UPDATE t SET s = 'caught' WHERE id = 51;
END $$;
SELECT nest(20);
SELECT id, v, s FROM t WHERE id IN (50, 51) ORDER BY id;
-- errors, then go on
BEGIN;
UPDATE t SET v = 777 WHERE id = 60;
SAVEPOINT x;
INSERT INTO t VALUES (60, 1, 'duplicate');
ROLLBACK TO x;
SELECT v FROM t WHERE id = 60;
UPDATE t SET v = 1 / (v - 777) WHERE id = 60;
SELECT 1;
ROLLBACK;
SELECT v FROM t WHERE id = 60;
-- commands of one transaction see each other's work, cursors do not
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, v FROM t WHERE id <= 8 ORDER BY id;
FETCH 2 FROM c;
UPDATE t SET v = -100 WHERE id <= 8;
DELETE FROM t WHERE id = 5;
INSERT INTO t VALUES (0, 0, 'zero');
FETCH ALL FROM c;
FETCH BACKWARD 3 FROM c;
SELECT id, v FROM t WHERE id <= 8 ORDER BY id;
ROLLBACK;
-- sequential scan, both directions
BEGIN;
SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;
CREATE TABLE seq AS SELECT i FROM generate_series(1, 2000) i;
DECLARE d SCROLL CURSOR FOR SELECT i FROM seq;
MOVE 1995 IN d;
FETCH ALL FROM d;
FETCH BACKWARD 3 FROM d;
MOVE BACKWARD 1990 IN d;
FETCH BACKWARD 5 FROM d;
FETCH 2 FROM d;
MOVE LAST IN d;
MOVE FIRST IN d;
FETCH RELATIVE 1000 FROM d;
FETCH ABSOLUTE -1 FROM d;
CLOSE d;
DECLARE e CURSOR WITH HOLD FOR SELECT i FROM seq WHERE i % 500 = 0;
COMMIT;
DELETE FROM seq;
FETCH ALL FROM e;
CLOSE e;
-- a large transaction
BEGIN;
INSERT INTO t SELECT i, i, repeat('x', i % 50) FROM generate_series(100001, 130000) i;
UPDATE t SET v = v + 1 WHERE id > 100000;
UPDATE t SET s = 'even' WHERE id > 100000 AND id % 2 = 0;
DELETE FROM t WHERE id > 100000 AND id % 3 = 0;
SELECT count(*), sum(v), sum(length(s)) FROM t WHERE id > 100000;
COMMIT;
SELECT count(*), sum(v), sum(length(s)) FROM t WHERE id > 100000;
BEGIN;
DELETE FROM t WHERE id > 100000;
INSERT INTO t SELECT i, i FROM generate_series(100001, 101000) i;
ROLLBACK;
SELECT count(*), sum(v), sum(length(s)) FROM t WHERE id > 100000;
-- row identity: every row is found again by its TID
CREATE TABLE tids (id int, v int);
INSERT INTO tids SELECT i, 0 FROM generate_series(1, 1000) i;
SELECT count(*) FROM tids a JOIN tids b ON a.ctid = b.ctid WHERE a.id = b.id;
DO $$
DECLARE r record; n int := 0;
BEGIN
  FOR r IN SELECT ctid AS c, id FROM tids LOOP
    UPDATE tids SET v = v + 1 WHERE ctid = r.c AND id = r.id;
    n := n + (SELECT count(*) FROM tids WHERE ctid = r.c);      -- the old version is not found
  END LOOP;
  RAISE NOTICE 'found by an outdated ctid: %', n;
END $$;
SELECT count(*), sum(v), count(DISTINCT ctid) FROM tids;
DELETE FROM tids WHERE ctid IN (SELECT ctid FROM tids WHERE id % 2 = 0);
SELECT count(*), sum(id) FROM tids;
SELECT count(*) FROM tids WHERE ctid >= '(0,0)';
SELECT count(*) FROM tids WHERE ctid < '(0,1)';
SELECT xmin::text = txid_current()::text AS own, cmin, xmax FROM tids WHERE id = 1;
BEGIN;
INSERT INTO tids VALUES (5000, 1);
INSERT INTO tids VALUES (5001, 1);
SELECT id, xmin::text = txid_current()::text AS own, cmin, cmax, xmax, tableoid::regclass FROM tids WHERE id >= 5000 ORDER BY id;
COMMIT;
-- temporary and unlogged tables
CREATE TEMP TABLE tmp (a int, b text) ON COMMIT DELETE ROWS;
BEGIN; INSERT INTO tmp SELECT i, 'x' FROM generate_series(1, 100) i; SELECT count(*) FROM tmp; COMMIT;
SELECT count(*) FROM tmp;
CREATE UNLOGGED TABLE unlogged (a int PRIMARY KEY, b text);
INSERT INTO unlogged SELECT i, 'x' || i FROM generate_series(1, 1000) i;
UPDATE unlogged SET b = 'y' WHERE a < 10;
SELECT count(*), sum(a), count(*) FILTER (WHERE b = 'y') FROM unlogged;
