-- VACUUM FULL, CLUSTER and the truncation of files by VACUUM.
CREATE TABLE w (id int PRIMARY KEY, grp int, gone text, note text);
INSERT INTO w SELECT i, i % 17, 'gone' || i, CASE WHEN i % 5 <> 0 THEN repeat(md5(i::text), 1 + i % 4) END
  FROM generate_series(1, 3000) i;
-- compressed and out-of-line values
INSERT INTO w VALUES (3001, 1, NULL, repeat('x', 20000)),
  (3002, 2, NULL, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 500) i));
CREATE INDEX w_grp ON w (grp, id);
CREATE VIEW w_sum AS SELECT count(*) AS n, sum(id) AS ids, sum(grp) AS grps, sum(hashtext(w::text)::bigint) AS hash FROM w;
UPDATE w SET note = note || '!' WHERE id % 3 = 0;
UPDATE w SET grp = grp + 100 WHERE id % 7 = 0;
DELETE FROM w WHERE id % 4 = 0;
SELECT * FROM w_sum;
VACUUM FULL w;
SELECT * FROM w_sum;
-- dropped columns go, added ones keep their default
DROP VIEW w_sum;
ALTER TABLE w DROP COLUMN gone;
ALTER TABLE w ADD COLUMN extra text DEFAULT 'extra', ADD COLUMN nothing int;
CREATE VIEW w_sum AS SELECT count(*) AS n, sum(id) AS ids, sum(grp) AS grps, sum(hashtext(w::text)::bigint) AS hash FROM w;
SELECT * FROM w_sum;
VACUUM FULL w;
SELECT * FROM w_sum;
SELECT attname, atthasmissing FROM pg_attribute WHERE attrelid = 'w'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;
-- in the order of an index, by scanning it and by sorting
CREATE FUNCTION in_order(text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE a text[]; b text[];
BEGIN
  EXECUTE 'SELECT array_agg(k) FROM (SELECT (' || $1 || ')::text AS k FROM w) x' INTO a;
  EXECUTE 'SELECT array_agg(k::text ORDER BY k) FROM (SELECT ' || $1 || ' AS k FROM w) x' INTO b;
  RETURN a = b;
END $$;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET enable_indexonlyscan = off;
CLUSTER w USING w_grp;
SELECT in_order('(grp, id)'), in_order('id');
SELECT * FROM w_sum;
CLUSTER w USING w_pkey;
SELECT in_order('(grp, id)'), in_order('id');
RESET enable_indexscan;
SET enable_sort = off;
CLUSTER w USING w_grp;
SELECT in_order('(grp, id)'), in_order('id');
SELECT * FROM w_sum;
RESET enable_sort;
RESET enable_bitmapscan;
RESET enable_indexonlyscan;
CREATE INDEX w_expr ON w ((left(note, 40) || 'x'));
SET enable_indexscan = off;
CLUSTER w USING w_expr;
RESET enable_indexscan;
SELECT * FROM w_sum;
SELECT indexrelid::regclass, indisclustered FROM pg_index WHERE indrelid = 'w'::regclass ORDER BY indexrelid::regclass::text;
CLUSTER w;
-- by index, after all this
SET enable_seqscan = off;
SELECT count(*), sum(id) FROM w WHERE grp BETWEEN 3 AND 105;
SELECT id, grp, length(note), extra FROM w WHERE id IN (1, 3, 7, 3001, 3002) ORDER BY 1;
RESET enable_seqscan;

-- what the own transaction did
BEGIN;
INSERT INTO w VALUES (4001, 1, 'new');
UPDATE w SET note = 'first' WHERE id < 20;
UPDATE w SET note = 'second' WHERE id < 10;
CLUSTER w;
DELETE FROM w WHERE id = 1;
SAVEPOINT s;
INSERT INTO w VALUES (4002, 1, 'undone');
ROLLBACK TO s;
DELETE FROM w WHERE id = 3;
CLUSTER w;
SELECT id, grp, note FROM w WHERE id < 20 OR id > 4000 ORDER BY id;
ROLLBACK;
SELECT count(*) FROM w WHERE note IN ('first', 'second', 'new');
SELECT * FROM w_sum;
BEGIN;
UPDATE w SET note = 'kept' WHERE id < 20;
UPDATE w SET note = 'kept twice', grp = 77 WHERE id = 5;
DELETE FROM w WHERE id = 6;
CLUSTER w USING w_pkey;
COMMIT;
SELECT id, grp, note FROM w WHERE note LIKE 'kept%' ORDER BY id;
VACUUM FULL w;
SELECT id, grp, note FROM w WHERE note LIKE 'kept%' ORDER BY id;
-- aborted work is not copied
BEGIN;
DELETE FROM w;
INSERT INTO w SELECT -i, i FROM generate_series(1, 100) i;
ROLLBACK;
SELECT * FROM w_sum;
VACUUM FULL w;
SELECT * FROM w_sum;

-- triggers and keys go on
CREATE TABLE w_child (id int REFERENCES w ON DELETE CASCADE);
INSERT INTO w_child SELECT id FROM w WHERE id < 50;
VACUUM FULL w, w_child;
INSERT INTO w_child VALUES (3);
DELETE FROM w WHERE id < 20;
SELECT count(*) FROM w_child;
DROP TABLE w_child;

-- unlogged, temporary, empty
CREATE UNLOGGED TABLE wu AS SELECT i AS a, i % 10 AS b FROM generate_series(1, 1000) i;
CREATE INDEX wu_b ON wu (b, a);
CREATE TEMP TABLE wt AS SELECT i AS a, i % 10 AS b FROM generate_series(1, 1000) i;
CREATE INDEX wt_b ON wt (b, a);
CREATE TABLE we (a int, b text);
CREATE INDEX we_a ON we (a);
DELETE FROM wu WHERE a % 2 = 0;
DELETE FROM wt WHERE a % 2 = 0;
VACUUM FULL wu;
VACUUM FULL wt;
VACUUM FULL we;
CLUSTER wu USING wu_b;
CLUSTER wt USING wt_b;
CLUSTER we USING we_a;
SELECT count(*), sum(a), sum(b) FROM wu;
SELECT count(*), sum(a), sum(b) FROM wt;
INSERT INTO we VALUES (1, 'a');
SELECT * FROM we;

-- reltuples and age
VACUUM FULL we;
SELECT reltuples, relfrozenxid::text::bigint > 2, relminmxid <> '0' FROM pg_class WHERE relname = 'we';

-- materialized views and rewrites by ALTER TABLE
CREATE MATERIALIZED VIEW wm AS SELECT grp, count(*) AS n FROM w GROUP BY grp;
CREATE UNIQUE INDEX wm_grp ON wm (grp);
CLUSTER wm USING wm_grp;
REFRESH MATERIALIZED VIEW wm;
REFRESH MATERIALIZED VIEW CONCURRENTLY wm;
SELECT count(*), sum(n) FROM wm;
ALTER TABLE wu ALTER COLUMN a TYPE bigint;
ALTER TABLE wu SET LOGGED;
SELECT count(*), sum(a) FROM wu;
ALTER TABLE wu SET UNLOGGED;
SELECT count(*), sum(a) FROM wu;

-- VACUUM gives the end of the file back
CREATE TABLE tr (id int PRIMARY KEY, v text);
INSERT INTO tr SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
SELECT pg_relation_size('tr') AS full_size \gset
DELETE FROM tr WHERE id > 1000;
VACUUM (TRUNCATE off) tr;
SELECT pg_relation_size('tr') >= :full_size AS untouched;
VACUUM tr;
SELECT pg_relation_size('tr') < :full_size / 4 AS shorter;
SELECT count(*), sum(id) FROM tr;
INSERT INTO tr SELECT i, md5(i::text) FROM generate_series(1001, 3000) i;
SELECT count(*), sum(id) FROM tr;
-- not while the option says no
ALTER TABLE tr SET (vacuum_truncate = off);
DELETE FROM tr;
VACUUM tr;
SELECT pg_relation_size('tr') > 0 AS untouched;
ALTER TABLE tr RESET (vacuum_truncate);
VACUUM tr;
SELECT pg_relation_size('tr') <= 16384 AS small;
SELECT count(*) FROM tr;
-- a table that became empty is as a new one: also for those who remember it, and for index-only scans
INSERT INTO tr SELECT i, md5(i::text) FROM generate_series(1, 2000) i;
VACUUM tr;
SET enable_seqscan = off;
SELECT count(*) FROM tr WHERE id BETWEEN 500 AND 1500;
DELETE FROM tr;
VACUUM tr;
BEGIN;
INSERT INTO tr SELECT i, md5(i::text) FROM generate_series(1, 2000) i;
ROLLBACK;
SELECT count(*) FROM tr WHERE id BETWEEN 500 AND 1500;
SELECT ctid, v FROM tr WHERE id = 7;
RESET enable_seqscan;
VACUUM tr;
SELECT pg_relation_size('tr') <= 16384 AS small;
-- in scattered order
INSERT INTO tr SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
DELETE FROM tr WHERE id / 200 % 7 <> 3;
VACUUM tr;
SELECT count(*), sum(id) FROM tr;
DELETE FROM tr WHERE id / 200 % 2 <> 1;
VACUUM tr;
UPDATE tr SET v = v || v;
DELETE FROM tr WHERE id BETWEEN 5000 AND 12000 OR id > 13000;
VACUUM tr;
VACUUM tr;
SELECT count(*), sum(id), sum(length(v)) FROM tr;
SET enable_seqscan = off;
SELECT count(*), sum(id), sum(length(v)) FROM tr WHERE id > 0;
RESET enable_seqscan;
CREATE TEMP TABLE trt AS SELECT i FROM generate_series(1, 5000) i;
CREATE UNLOGGED TABLE tru AS SELECT i FROM generate_series(1, 5000) i;
DELETE FROM trt;
DELETE FROM tru;
VACUUM trt, tru;
SELECT pg_relation_size('trt') <= 16384 AS trt_small, pg_relation_size('tru') <= 16384 AS tru_small;
INSERT INTO trt VALUES (1);
INSERT INTO tru VALUES (1);
SELECT * FROM trt, tru;
DROP VIEW w_sum;
DROP FUNCTION in_order;
DROP MATERIALIZED VIEW wm;
DROP TABLE w, wu, wt, we, tr, tru, trt;
