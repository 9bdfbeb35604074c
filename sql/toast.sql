-- Long values.
CREATE TABLE t (id int PRIMARY KEY, v int, a text, b text);
ALTER TABLE t ALTER COLUMN b SET STORAGE EXTERNAL;
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$SELECT string_agg(md5(seed::text || ':' || i), '') FROM generate_series(1, n) i$$;
INSERT INTO t SELECT i, i, repeat('compressible ', 1000 * i), noise(i, 100 * i) FROM generate_series(1, 20) i;
SELECT id, length(a), length(b), md5(a), md5(b) FROM t ORDER BY id;
SELECT substr(b, 5000, 20) FROM t WHERE id = 10;
-- unchanged long values stay
UPDATE t SET v = v + 1;
SELECT id, v, md5(a), md5(b) FROM t WHERE id % 5 = 0 ORDER BY id;
UPDATE t SET b = noise(100 + id, 300) WHERE id % 2 = 0;
UPDATE t SET a = NULL WHERE id % 3 = 0;
UPDATE t SET a = 'short' WHERE id = 7;
UPDATE t SET id = id + 100 WHERE id % 4 = 0;
SELECT id, v, length(a), length(b), md5(b) = md5(noise(100 + id % 100, 300)) FROM t ORDER BY id;
BEGIN; UPDATE t SET b = noise(7, 500); DELETE FROM t WHERE id < 10; ROLLBACK;
SELECT count(*), sum(length(a)), sum(length(b)) FROM t;
BEGIN; SAVEPOINT s; UPDATE t SET b = noise(8, 200) WHERE id = 1; ROLLBACK TO s; UPDATE t SET v = 0 WHERE id = 1; COMMIT;
SELECT v, md5(b) = md5(noise(1, 100)) FROM t WHERE id = 1;
DELETE FROM t WHERE id % 2 = 1;
SELECT count(*), sum(length(a)), sum(length(b)) FROM t;
INSERT INTO t SELECT id + 1000, v, a, b FROM t;
SELECT count(*), sum(length(a)), sum(length(b)) FROM t;
-- just below and above the limits
CREATE TABLE edge (id int, s text);
ALTER TABLE edge ALTER COLUMN s SET STORAGE PLAIN;
INSERT INTO edge SELECT i, repeat('x', i) FROM generate_series(1900, 2100) i;
INSERT INTO edge VALUES (1, repeat('y', 7900));
SELECT count(*), sum(length(s)) FROM edge;
UPDATE edge SET s = s || 'z' WHERE id > 2000;
UPDATE edge SET s = left(s, 10) WHERE id < 1950;
UPDATE edge SET s = repeat('grown', 1000) WHERE id % 50 = 0;
SELECT count(*), sum(length(s)) FROM edge;
DO $$
BEGIN
  INSERT INTO edge VALUES (2, repeat('y', 9000));
EXCEPTION WHEN program_limit_exceeded THEN RAISE NOTICE 'too long';
END $$;
CREATE TABLE extended (id int, s text);
INSERT INTO extended SELECT i, noise(i, i) FROM generate_series(50, 75) i;
SELECT count(*), sum(length(s)) FROM extended;
UPDATE extended SET s = s || noise(id, 300);
SELECT id, length(s), md5(s) FROM extended WHERE id % 10 = 0 ORDER BY id;
-- arrays, jsonb, bytea, numeric
CREATE TABLE others (a int[], j jsonb, b bytea, n numeric);
INSERT INTO others SELECT array_agg(i * 7919 % 10007), jsonb_object_agg(i, md5(i::text)), decode(noise(1, 300), 'hex'), repeat('1234567890', 1000)::numeric
FROM generate_series(1, 3000) i;
UPDATE others SET a[5] = -1, j = j || '{"new": true}';
SELECT array_length(a, 1), a[4:6], j ->> '17', j ->> 'new', length(b), md5(n::text) FROM others;
-- a 5 MB value
INSERT INTO t VALUES (9999, 0, repeat(noise(5, 100), 1600));
SELECT length(a), md5(a) = md5(repeat(noise(5, 100), 1600)) FROM t WHERE id = 9999;
CREATE TABLE copy_of AS SELECT * FROM t;
DROP TABLE t;
SELECT count(*), sum(length(a)), sum(length(b)) FROM copy_of;

-- Storage PLAIN, up to the longest row that a heap page takes.
CREATE TABLE plain (id int PRIMARY KEY, a text, b text);
ALTER TABLE plain ALTER a SET STORAGE plain, ALTER b SET STORAGE plain;
INSERT INTO plain SELECT i, repeat(chr(64 + i), 8000 + i * 5), NULL FROM generate_series(1, 25) i;
UPDATE plain SET b = 'x' WHERE id IN (1, 20, 22);
UPDATE plain SET id = id + 100 WHERE id IN (2, 21, 23);
SELECT id, length(a), left(a, 3), right(a, 3), b, md5(a) FROM plain ORDER BY id;
BEGIN;
UPDATE plain SET a = reverse(a) || 'y' WHERE id > 15;
ROLLBACK;
DELETE FROM plain WHERE id IN (24, 25);
ALTER TABLE plain SET ACCESS METHOD heap;
SELECT count(*), sum(length(a)), md5(string_agg(a, ',' ORDER BY id)) FROM plain;
VACUUM FULL plain;
SELECT count(*), sum(length(a)), md5(string_agg(a, ',' ORDER BY id)) FROM plain;
DROP TABLE plain;
