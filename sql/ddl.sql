-- Tables that change their columns; wide tables; names of things.
CREATE TABLE t (id int PRIMARY KEY, a int, b text);
INSERT INTO t SELECT i, i, 'b' || i FROM generate_series(1, 500) i;
-- missing-value defaults
ALTER TABLE t ADD COLUMN c int DEFAULT 42;
ALTER TABLE t ADD COLUMN d text DEFAULT 'a longer default value';
ALTER TABLE t ADD COLUMN e timestamptz;
SELECT * FROM t WHERE id IN (1, 500) ORDER BY id;
INSERT INTO t VALUES (501, 1, 'new', 2, 'dd', NULL);
INSERT INTO t (id) VALUES (502);
SELECT * FROM t WHERE id > 499 ORDER BY id;
UPDATE t SET a = a + 1 WHERE id < 100;
SELECT count(*), sum(a), sum(c), sum(length(d)), count(e) FROM t;
UPDATE t SET d = NULL WHERE id = 5;
UPDATE t SET b = NULL WHERE id = 6;
ALTER TABLE t ALTER COLUMN c DROP DEFAULT;
SELECT * FROM t WHERE id IN (4, 5, 6) ORDER BY id;
-- dropped columns
ALTER TABLE t DROP COLUMN a;
SELECT * FROM t WHERE id IN (4, 5, 501) ORDER BY id;
UPDATE t SET c = c + 1 WHERE id = 4;
INSERT INTO t VALUES (600, 'x', 1, 'y');
SELECT * FROM t WHERE id IN (4, 600) ORDER BY id;
ALTER TABLE t DROP COLUMN d, ADD COLUMN f numeric DEFAULT 1.5;
SELECT * FROM t WHERE id IN (4, 5, 501, 600) ORDER BY id;
SELECT count(*), sum(c), sum(f), count(b) FROM t;
-- in a transaction that is rolled back
BEGIN;
ALTER TABLE t ADD COLUMN z int DEFAULT 9;
UPDATE t SET z = id WHERE id < 10;
SELECT sum(z) FROM t;
ROLLBACK;
SELECT * FROM t WHERE id = 4;
-- rewrites
ALTER TABLE t ALTER COLUMN c TYPE bigint;
ALTER TABLE t ALTER COLUMN f TYPE text USING 'f' || f;
SELECT * FROM t WHERE id IN (4, 5, 501, 600) ORDER BY id;
ALTER TABLE t ADD COLUMN r double precision DEFAULT random();
SELECT count(DISTINCT r) > 1 FROM t;
SELECT count(*), sum(c), sum(length(f)) FROM t;
-- constraints on what is there
ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0);
ALTER TABLE t ADD CONSTRAINT none CHECK (id < 600);
ALTER TABLE t ALTER COLUMN b SET NOT NULL;
ALTER TABLE t ADD UNIQUE (c, id);
ALTER TABLE t ADD UNIQUE (c);
ALTER TABLE t RENAME COLUMN f TO ff;
ALTER TABLE t RENAME TO tt;
SELECT ff FROM tt WHERE id = 4;
DROP TABLE tt;
SELECT * FROM tt;

-- wide tables
SELECT 'CREATE TABLE wide (' || string_agg(format('c%s %s', i, CASE i % 4 WHEN 0 THEN 'int' WHEN 1 THEN '"char"' WHEN 2 THEN 'boolean' ELSE 'smallint' END), ', ') || ')'
FROM generate_series(1, 1600) i \gexec
INSERT INTO wide (c4, c1600) VALUES (1, 2);
INSERT INTO wide DEFAULT VALUES;
SELECT 'INSERT INTO wide SELECT ' || string_agg(CASE i % 4 WHEN 0 THEN i::text WHEN 1 THEN '''x''' WHEN 2 THEN 'true' ELSE '1' END, ', ') FROM generate_series(1, 1600) i \gexec
SELECT c1, c2, c3, c4, c797, c800, c1599, c1600 FROM wide ORDER BY c1600 NULLS FIRST;
UPDATE wide SET c800 = 7;
UPDATE wide SET c2 = NULL, c1600 = -1 WHERE c2;
SELECT sum(hashtextextended(w::text, 0)), count(*) FROM wide w;
ALTER TABLE wide ADD COLUMN one_too_many int;
CREATE TABLE wide_text AS SELECT 1 AS id;
SELECT 'ALTER TABLE wide_text ' || string_agg(format('ADD COLUMN t%s text', i), ', ') FROM generate_series(1, 300) i \gexec
SELECT 'INSERT INTO wide_text SELECT 2, ' || string_agg(format('repeat(''%s'', 15)', i % 10), ', ') FROM generate_series(1, 300) i \gexec
SELECT id, t1, t150, t300 FROM wide_text ORDER BY id;
UPDATE wide_text SET t150 = repeat('middle', 100), t1 = NULL;
SELECT id, t1, length(t150), t300 FROM wide_text ORDER BY id;
-- a row that cannot fit
CREATE TABLE too_wide AS SELECT 1 AS id;
SELECT 'ALTER TABLE too_wide ' || string_agg(format('ADD COLUMN d%s name', i), ', ') FROM generate_series(1, 200) i \gexec
DO $$
BEGIN
  EXECUTE (SELECT 'INSERT INTO too_wide SELECT 2, ' || string_agg('''x''::name', ', ') FROM generate_series(1, 200) i);
EXCEPTION WHEN program_limit_exceeded THEN RAISE NOTICE 'too wide';
END $$;
SELECT count(*) FROM too_wide;

-- inheritance, partitions, views, materialized views
CREATE TABLE parent (id int, v text);
CREATE TABLE child (extra int) INHERITS (parent);
INSERT INTO parent VALUES (1, 'p');
INSERT INTO child VALUES (2, 'c', 3);
UPDATE parent SET v = v || '!';
SELECT tableoid::regclass, * FROM parent ORDER BY id;
ALTER TABLE parent ADD COLUMN w int DEFAULT 5;
SELECT * FROM child;
DELETE FROM parent WHERE id = 2;
SELECT count(*) FROM child;
CREATE TABLE parts (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
INSERT INTO parts SELECT i, 'v' || i FROM generate_series(0, 199) i;
UPDATE parts SET id = id + 100 WHERE id % 50 = 7 AND id < 100;
SELECT tableoid::regclass, count(*), sum(id) FROM parts GROUP BY 1 ORDER BY 1;
UPDATE parts SET id = 500 WHERE id = 1;
CREATE MATERIALIZED VIEW mv AS SELECT id % 10 AS k, count(*) AS n FROM parts GROUP BY 1;
SELECT * FROM mv WHERE k < 3 ORDER BY k;
DELETE FROM parts WHERE id % 10 = 1;
REFRESH MATERIALIZED VIEW mv;
SELECT count(*), sum(n) FROM mv;
-- created and dropped in one transaction, created again
BEGIN;
CREATE TABLE ephemeral (a int);
INSERT INTO ephemeral SELECT generate_series(1, 10000);
SELECT count(*) FROM ephemeral;
DROP TABLE ephemeral;
CREATE TABLE ephemeral (a text);
INSERT INTO ephemeral VALUES ('second');
COMMIT;
SELECT * FROM ephemeral;
BEGIN; CREATE TABLE rolled (a int); INSERT INTO rolled SELECT generate_series(1, 1000); ROLLBACK;
SELECT * FROM rolled;
BEGIN;
SAVEPOINT s; CREATE TABLE rolled (a int); INSERT INTO rolled SELECT generate_series(1, 1000); ROLLBACK TO s;
CREATE TABLE rolled (a int); INSERT INTO rolled VALUES (1);
COMMIT;
SELECT * FROM rolled;
