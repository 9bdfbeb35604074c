-- Index-only scans trust the visibility map: rows that move within a page that VACUUM has
-- marked, are undone, removed, and whose places are taken by others.  With this fillfactor a page of
-- a Rowan table has ids of two logical blocks, and rows move from the first to the second.
CREATE TABLE vis (id int PRIMARY KEY, v int, filler text) WITH (fillfactor = 61, autovacuum_enabled = off);
CREATE INDEX vis_v ON vis (v);
INSERT INTO vis SELECT i, i, NULL FROM generate_series(1, 4000) i;
VACUUM ANALYZE vis;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(v), sum(v) FROM vis WHERE v > 0;
SELECT count(v), sum(v) FROM vis WHERE v > 0;
SELECT relallvisible > 0 AS some_visible FROM pg_class WHERE relname = 'vis';

-- undone: the index has entries of rows that never were
BEGIN;
UPDATE vis SET v = v + 1000000 WHERE id % 400 = 7;
SELECT count(v), sum(v) FROM vis WHERE v > 1000000;
ROLLBACK;
SELECT count(v), sum(v) FROM vis WHERE v > 1000000;
SELECT count(v), sum(v) FROM vis WHERE v > 0;

-- done: it has entries of rows that are no more
UPDATE vis SET v = v + 1000000 WHERE id % 400 = 9;
SELECT count(v), sum(v) FROM vis WHERE v > 1000000;
SELECT count(v), sum(v) FROM vis WHERE v <= 1000000;

-- an old snapshot in between
BEGIN ISOLATION LEVEL REPEATABLE READ;
DECLARE old_view CURSOR FOR SELECT v FROM vis WHERE v > 1000000 ORDER BY v;
FETCH 2 FROM old_view;
UPDATE vis SET v = -v WHERE v > 1000000;
SELECT count(v), sum(v) FROM vis WHERE v > 1000000;
MOVE FORWARD ALL FROM old_view;
FETCH BACKWARD 2 FROM old_view;
ROLLBACK;
SELECT count(v), sum(v) FROM vis WHERE v > 1000000;
SELECT count(v), sum(v) FROM vis WHERE v < 0;

-- places are cleaned and taken again, several times
DO $$
BEGIN
	FOR round IN 1..6 LOOP
		UPDATE vis SET v = v + 1 WHERE id % 10 = round;
		DELETE FROM vis WHERE id % 200 = round;
		INSERT INTO vis SELECT i, i, 'again' FROM generate_series(1, 4000) i WHERE i % 200 = round;
	END LOOP;
END
$$;
VACUUM vis;
UPDATE vis SET v = v + 1 WHERE id % 3 = 0;
SELECT count(v), sum(v) FROM vis WHERE v > 0;
VACUUM vis;
UPDATE vis SET v = v - 1 WHERE id % 3 = 1;
SELECT count(v), sum(v) FROM vis WHERE v > 0;
VACUUM vis;
SELECT count(v), sum(v) FROM vis WHERE v > 0;
SELECT count(*), sum(a.v - b.v) FROM vis a JOIN vis b ON a.id = b.id WHERE a.v > 0;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
RESET enable_seqscan;
SELECT count(v), sum(v) FROM vis WHERE v > 0;
RESET enable_indexscan;
RESET enable_indexonlyscan;
RESET enable_bitmapscan;

-- a BRIN index keeps finding rows that move within their page and out of it
CREATE TABLE ranges (id int, v int, filler text) WITH (fillfactor = 60, autovacuum_enabled = off);
INSERT INTO ranges SELECT i, i, repeat('y', 60) FROM generate_series(1, 3000) i;
CREATE INDEX ranges_v ON ranges USING brin (v) WITH (pages_per_range = 1);
SET enable_seqscan = off;
UPDATE ranges SET v = v + 5000 WHERE id % 7 = 0;
UPDATE ranges SET v = v - 9000 WHERE id % 14 = 0;
UPDATE ranges SET v = v + 100, filler = repeat('z', 300) WHERE id BETWEEN 1000 AND 1100;
SELECT count(*), sum(v) FROM ranges WHERE v BETWEEN 5000 AND 6000;
SELECT count(*), sum(v) FROM ranges WHERE v < -1000;
SELECT count(*), sum(v) FROM ranges WHERE v BETWEEN 1150 AND 1180;
VACUUM ranges;
SELECT count(*), sum(v) FROM ranges WHERE v BETWEEN 5000 AND 6000;
SELECT count(*), sum(v) FROM ranges WHERE v < -1000;
SELECT count(*), sum(v) FROM ranges WHERE v BETWEEN 1150 AND 1180;
RESET enable_seqscan;
DROP TABLE vis, ranges;
