-- All six index access methods, built on rows that are there and kept up to date.
CREATE TABLE t (id int PRIMARY KEY, k int, s text, arr int[], r int4range, ts timestamp, p point, words text);
INSERT INTO t SELECT i, i * 7 % 1000, 's' || i % 200, ARRAY[i % 30, i % 7], int4range(i % 500, i % 500 + 5),
    timestamp '2024-01-01' + i * interval '1 hour', point(i % 100, i / 100), 'word' || i % 50 || ' common'
FROM generate_series(1, 3000) i;
DELETE FROM t WHERE id % 13 = 0;
UPDATE t SET s = s || 'x' WHERE id % 17 = 0;
CREATE INDEX t_btree ON t USING btree (k, id);
CREATE INDEX t_hash ON t USING hash (s);
CREATE INDEX t_gin ON t USING gin (arr);
CREATE INDEX t_gist ON t USING gist (r);
CREATE INDEX t_gist_point ON t USING gist (p);
CREATE INDEX t_spgist ON t USING spgist (s);
CREATE INDEX t_brin ON t USING brin (ts) WITH (pages_per_range = 2);
CREATE INDEX t_expr ON t (lower(s), (k % 10));
CREATE INDEX t_partial ON t (k) WHERE id % 3 = 0;
CREATE INDEX t_include ON t (k) INCLUDE (s);
CREATE INDEX t_words ON t USING gin (to_tsvector('simple', words));
SET enable_seqscan = off;

CREATE FUNCTION look() RETURNS TABLE (what text, n bigint, ids bigint) LANGUAGE plpgsql AS $$
BEGIN
  FOR what, n, ids IN
    EXECUTE $q$
      SELECT 'btree', count(*), sum(id) FROM t WHERE k BETWEEN 100 AND 150
      UNION ALL SELECT 'btree all', count(*), sum(id) FROM t WHERE k >= 0
      UNION ALL SELECT 'pk', count(*), sum(id) FROM t WHERE id > 1500
      UNION ALL SELECT 'hash', count(*), sum(id) FROM t WHERE s = 's34'
      UNION ALL SELECT 'hash x', count(*), sum(id) FROM t WHERE s = 's34x'
      UNION ALL SELECT 'gin', count(*), sum(id) FROM t WHERE arr @> '{3}'
      UNION ALL SELECT 'gin or', count(*), sum(id) FROM t WHERE arr && '{3,5,29}'
      UNION ALL SELECT 'gist', count(*), sum(id) FROM t WHERE r && int4range(50, 60)
      UNION ALL SELECT 'gist point', count(*), sum(id) FROM t WHERE p <@ box '(10,10),(20,20)'
      UNION ALL SELECT 'spgist', count(*), sum(id) FROM t WHERE s ^@ 's1'
      UNION ALL SELECT 'brin', count(*), sum(id) FROM t WHERE ts BETWEEN '2024-02-01' AND '2024-02-10'
      UNION ALL SELECT 'expr', count(*), sum(id) FROM t WHERE lower(s) = 's34' AND k % 10 = 8
      UNION ALL SELECT 'partial', count(*), sum(id) FROM t WHERE k BETWEEN 100 AND 150 AND id % 3 = 0
      UNION ALL SELECT 'words', count(*), sum(id) FROM t WHERE to_tsvector('simple', words) @@ 'word7'
    $q$
  LOOP RETURN NEXT; END LOOP;
END $$;
SELECT * FROM look();
-- in place: no index is touched; moving: all are
ALTER TABLE t ADD COLUMN v int;
UPDATE t SET v = id;
SELECT * FROM look();
UPDATE t SET k = (k + 1) % 1000;
SELECT * FROM look();
UPDATE t SET s = 's' || (id + 1) % 200, arr = arr || 3 WHERE id % 5 = 0;
UPDATE t SET r = int4range(55, 56), p = point(15, 15), ts = ts - interval '10 days' WHERE id % 11 = 0;
UPDATE t SET words = 'word7' WHERE id % 100 = 1;
SELECT * FROM look();
DELETE FROM t WHERE id % 4 = 0;
SELECT * FROM look();
BEGIN;
UPDATE t SET k = 120, s = 's34', arr = '{3}' WHERE id < 500;
INSERT INTO t (id, k, s, arr) SELECT i, 120, 's34', '{3}' FROM generate_series(10001, 10100) i;
SELECT * FROM look();
ROLLBACK;
SELECT * FROM look();
INSERT INTO t SELECT i, i % 1000, 's' || i % 200, ARRAY[i % 30], int4range(i % 500, i % 500 + 2), timestamp '2024-02-05', point(12, 12), 'word7'
FROM generate_series(5001, 6000) i;
SELECT * FROM look();
-- ordered, backward, index-only, nearest neighbours, bitmap and, or
SELECT id, k FROM t ORDER BY k, id LIMIT 5;
SELECT id, k FROM t ORDER BY k DESC, id DESC LIMIT 5;
SELECT k, count(*) FROM t WHERE k < 5 GROUP BY k ORDER BY k;
SELECT min(k), max(k) FROM t;
SELECT id, p <-> point(50.2, 7.3) AS dist FROM t ORDER BY p <-> point(50.2, 7.3), id LIMIT 4;
SELECT count(*) FROM t WHERE (k < 50 OR id < 50) AND arr @> '{3}';
SELECT count(*) FROM t WHERE k IN (1, 5, 900, 901, NULL);
SELECT count(*) FROM t WHERE (k, id) > (900, 100);
-- joins by index
SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT count(*), sum(b.id) FROM t a JOIN t b ON b.id = a.k WHERE a.id < 500;
RESET enable_hashjoin; RESET enable_mergejoin;
-- unique
DO $$BEGIN CREATE UNIQUE INDEX t_unique ON t (k); EXCEPTION WHEN unique_violation THEN RAISE NOTICE 'not unique'; END$$;
CREATE UNIQUE INDEX t_unique ON t (k, id);
INSERT INTO t (id, k) VALUES (1, 1);
CREATE TABLE u (a int UNIQUE, b int, UNIQUE NULLS NOT DISTINCT (b));
INSERT INTO u VALUES (1, 1), (2, 2), (NULL, 3), (NULL, NULL);
INSERT INTO u VALUES (NULL, NULL);
INSERT INTO u VALUES (2, 5);
UPDATE u SET a = a + 1;
DELETE FROM u WHERE a = 2;
INSERT INTO u VALUES (2, 7) RETURNING *;
BEGIN; DELETE FROM u WHERE a = 2; INSERT INTO u VALUES (2, 8); ROLLBACK;
SELECT * FROM u ORDER BY b;
CREATE TABLE deferred (a int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO deferred SELECT generate_series(1, 10);
UPDATE deferred SET a = a + 1;
BEGIN; INSERT INTO deferred VALUES (5); COMMIT;
SELECT count(*), sum(a) FROM deferred;
CREATE TABLE rooms (room int, during int4range, EXCLUDE USING gist (during WITH &&));
INSERT INTO rooms VALUES (1, '[1,5)'), (2, '[5,9)');
INSERT INTO rooms VALUES (3, '[4,6)');
UPDATE rooms SET during = '[20,30)' WHERE room = 1;
INSERT INTO rooms VALUES (3, '[2,4)');
SELECT * FROM rooms ORDER BY room;
-- reindex
REINDEX TABLE t;
SELECT * FROM look();
DROP INDEX t_btree, t_hash, t_gin;
CREATE INDEX t_btree ON t (k DESC NULLS LAST, id);
SELECT id, k FROM t ORDER BY k DESC NULLS LAST, id LIMIT 3;
