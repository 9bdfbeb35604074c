-- INSERT, UPDATE, DELETE, RETURNING, COPY, CREATE TABLE AS.
CREATE TABLE t (id int PRIMARY KEY, v int, s text DEFAULT 'none', g int GENERATED ALWAYS AS (v * 2) STORED);
INSERT INTO t (id, v) VALUES (1, 10), (2, 20), (3, 30) RETURNING *;
INSERT INTO t (id, v, s) SELECT i, i * 10, 'row ' || i FROM generate_series(4, 2000) i;
SELECT count(*), sum(v), min(id), max(id), sum(g) FROM t;
INSERT INTO t (id) VALUES (2);
INSERT INTO t (id, v) VALUES (5000, 1), (5001, 2), (3, 3);
SELECT count(*) FROM t WHERE id >= 5000;

-- in place
WITH u AS (UPDATE t SET v = v + 1 WHERE id <= 5 RETURNING id, v, s, g) SELECT * FROM u ORDER BY id;
UPDATE t SET v = v + 1;
WITH u AS (UPDATE t SET s = s || '!' WHERE id % 100 = 0 RETURNING id, s) SELECT * FROM u ORDER BY id;
UPDATE t SET s = NULL WHERE id % 3 = 0;
UPDATE t SET s = 'back' WHERE s IS NULL AND id % 2 = 0;
SELECT count(*), count(s), sum(v), sum(length(s)), sum(g) FROM t;
-- moving: an indexed column
UPDATE t SET id = id + 10000 WHERE id % 10 = 0;
UPDATE t SET id = id - 10000 WHERE id > 10000 AND id % 20 = 0;
SELECT count(*), sum(id), sum(v) FROM t;
SELECT count(*), sum(id) FROM (SELECT id FROM t WHERE id > 10000 ORDER BY id) x;
UPDATE t SET id = 1 WHERE id = 2;
-- growing and shrinking
UPDATE t SET s = repeat('long ', 100) WHERE id % 7 = 0;
SELECT count(*), sum(length(s)) FROM t;
UPDATE t SET s = '' WHERE id % 7 = 0;
SELECT count(*), sum(length(s)) FROM t;
-- many times the same row
DO $$BEGIN FOR i IN 1..300 LOOP UPDATE t SET v = v + 1 WHERE id = 7; END LOOP; END$$;
SELECT id, v FROM t WHERE id IN (6, 7, 8) ORDER BY id;

-- DELETE
WITH d AS (DELETE FROM t WHERE id BETWEEN 100 AND 110 RETURNING id, v) SELECT * FROM d ORDER BY id;
DELETE FROM t WHERE id % 2 = 1;
SELECT count(*), sum(id), sum(v) FROM t;
DELETE FROM t WHERE id = -1;
INSERT INTO t (id, v) SELECT i, i FROM generate_series(1, 99, 2) i;
SELECT count(*), sum(id), sum(v) FROM t;
-- joins in UPDATE and DELETE, several matches, self-joins
CREATE TABLE o (id int, x int);
INSERT INTO o SELECT i % 50, i FROM generate_series(1, 100) i;
UPDATE t SET v = -1 FROM o WHERE o.id = t.id AND o.x <= 50;
DELETE FROM t USING t b WHERE b.id = t.id + 2 AND t.id < 20 AND b.v = -1;
SELECT count(*), sum(v), sum(id) FROM t WHERE id < 100;
WITH moved AS (DELETE FROM t WHERE id < 40 RETURNING *) INSERT INTO o SELECT id, v FROM moved;
SELECT count(*), sum(id), sum(x) FROM o;
WITH x AS (UPDATE t SET v = v + 1000 WHERE id BETWEEN 40 AND 60 RETURNING id, v) SELECT * FROM x ORDER BY id LIMIT 3;
-- a statement does not see its own changes
INSERT INTO o SELECT id + 1000, x FROM o;
SELECT count(*) FROM o;
UPDATE o SET id = id + 1 WHERE id >= 0;
SELECT count(*), sum(id) FROM o;
-- the same row twice in one statement
WITH a AS (UPDATE t SET v = 1 WHERE id = 50 RETURNING id), b AS (UPDATE t SET v = 2 WHERE id = 50 RETURNING id)
SELECT count(*) FROM (SELECT * FROM a UNION ALL SELECT * FROM b) x;
-- errors in the middle leave nothing
UPDATE t SET v = 1 / (id - 500);
INSERT INTO t (id, v) SELECT i, 100 / (3000 - i) FROM generate_series(2990, 3010) i;
SELECT count(*) FROM t WHERE id BETWEEN 2990 AND 3010;

-- COPY
COPY t (id, v, s) FROM stdin;
7001	1	copied
7002	\N	\N
7003	3	tab\tnewline\nbackslash\\
\.
COPY t (id, v) FROM stdin CSV;
7004,4
7005,5
7001,6
\.
COPY (SELECT id, v, s FROM t WHERE id > 7000 ORDER BY id) TO stdout;
COPY (SELECT id, v, s FROM t WHERE id > 7000 ORDER BY id) TO stdout CSV HEADER;
CREATE TABLE copied (a int, b text);
COPY copied FROM PROGRAM 'seq 1 5000 | sed "s/$/\ttext/"';
SELECT count(*), sum(a), min(b) FROM copied;
CREATE TABLE ctas AS SELECT id, v, s FROM t WHERE id < 1000;
SELECT count(*), sum(v) FROM ctas;
SELECT id, v INTO sinto FROM t WHERE id < 500;
SELECT count(*), sum(v) FROM sinto;
CREATE TABLE nodata AS SELECT * FROM t WITH NO DATA;
SELECT count(*) FROM nodata;
CREATE TABLE likes (LIKE t INCLUDING ALL);
INSERT INTO likes (id, v) VALUES (1, 5) RETURNING *;

-- TRUNCATE
TRUNCATE ctas;
SELECT count(*) FROM ctas;
INSERT INTO ctas VALUES (1, 2, 'again') RETURNING *;
BEGIN; TRUNCATE ctas; SELECT count(*) FROM ctas; INSERT INTO ctas SELECT i FROM generate_series(1, 100) i; ROLLBACK;
SELECT * FROM ctas;

-- CHECK, NOT NULL, DEFAULT, triggers with OLD and NEW
CREATE TABLE guarded (id int NOT NULL, v int CHECK (v > 0), at timestamptz DEFAULT '2024-01-01 00:00+00');
INSERT INTO guarded VALUES (NULL, 1);
INSERT INTO guarded VALUES (1, 0);
INSERT INTO guarded VALUES (1, 1);
UPDATE guarded SET v = v - 1;
TABLE guarded;
CREATE TABLE audit (n serial, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit (what) VALUES (format('%s %s: %s -> %s', TG_WHEN, TG_OP, OLD, NEW));
  IF TG_WHEN = 'BEFORE' AND TG_OP <> 'DELETE' THEN NEW.v := NEW.v + 100; END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON guarded FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON guarded FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO guarded VALUES (2, 2);
UPDATE guarded SET v = v + 1;
UPDATE guarded SET v = v + 1 WHERE id = 2;
DELETE FROM guarded WHERE id = 1;
SELECT * FROM audit ORDER BY n;
TABLE guarded;
