-- MERGE: every action, RETURNING elsewhere, own changes, partitions, subqueries, errors.
SELECT * FROM no_plan();
CREATE TABLE t (id int PRIMARY KEY, k int, v int, s text);
CREATE INDEX ON t (k);
CREATE TABLE src (id int, v int);
CREATE FUNCTION state() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(id || ':' || coalesce(v::text, '-'), ' ' ORDER BY id) FROM t $$;
INSERT INTO t SELECT i, i, i * 10 FROM generate_series(1, 6) i;
INSERT INTO src VALUES (1, 0), (2, 5), (3, -1), (7, 70), (8, NULL);
MERGE INTO t USING src ON t.id = src.id
WHEN MATCHED AND src.v = 0 THEN DELETE
WHEN MATCHED AND src.v > 0 THEN UPDATE SET v = t.v + src.v
WHEN MATCHED THEN DO NOTHING
WHEN NOT MATCHED AND src.v IS NOT NULL THEN INSERT VALUES (src.id, src.id, src.v)
WHEN NOT MATCHED THEN DO NOTHING;
SELECT is(state(), '2:25 3:30 4:40 5:50 6:60 7:70', 'each action');
MERGE INTO t USING src ON t.id = src.id WHEN MATCHED THEN UPDATE SET k = t.k + 100 WHEN NOT MATCHED THEN INSERT (id) VALUES (src.id);
SELECT is(state(), '1:- 2:25 3:30 4:40 5:50 6:60 7:70 8:-', 'moving and inserting');
SELECT is((SELECT string_agg(k::text, ' ' ORDER BY id) FROM t WHERE k > 100), '102 103 107', 'moved');
MERGE INTO t USING src ON t.id = src.id WHEN MATCHED AND t.v IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET id = t.id + 20;
SELECT is(state(), '4:40 5:50 6:60 22:25 23:30 27:70', 'keys moved');
INSERT INTO src VALUES (4, 1), (4, 2);
SELECT throws_ok('MERGE INTO t USING src ON t.id = src.id WHEN MATCHED THEN UPDATE SET v = 1', '21000', NULL, 'a row twice: updated');
SELECT throws_ok('MERGE INTO t USING src ON t.id = src.id WHEN MATCHED THEN UPDATE SET k = k + 1', '21000', NULL, 'a row twice: moved');
SELECT throws_ok('MERGE INTO t USING src ON t.id = src.id WHEN MATCHED THEN DELETE', '21000', NULL, 'a row twice: deleted');
SELECT lives_ok('MERGE INTO t USING src ON t.id = src.id WHEN MATCHED AND src.v = 1 THEN UPDATE SET v = 41', 'a row twice, one does nothing');
SELECT is(state(), '4:41 5:50 6:60 22:25 23:30 27:70', 'once');
SELECT throws_ok('MERGE INTO t USING src ON t.id = src.id WHEN NOT MATCHED THEN INSERT VALUES (5, 5, 5)', '23505', NULL, 'a duplicate key');
BEGIN;
UPDATE t SET v = v + 1; UPDATE t SET v = v + 1;
MERGE INTO t USING (SELECT id FROM t WHERE v > 50) n ON t.id = n.id WHEN MATCHED THEN UPDATE SET v = t.v + 1000;
SELECT is(state(), '4:43 5:1052 6:1062 22:27 23:32 27:1072', 'on top of my own changes');
MERGE INTO t USING (SELECT id FROM t WHERE v > 50) n ON t.id = n.id WHEN MATCHED AND t.v > 1060 THEN DELETE WHEN MATCHED THEN UPDATE SET id = -t.id;
SELECT is(state(), '-5:1052 4:43 22:27 23:32', 'again');
ROLLBACK;
SELECT is(state(), '4:41 5:50 6:60 22:25 23:30 27:70', 'as before');
MERGE INTO t USING generate_series(1, 3000) g (id) ON t.id = g.id WHEN MATCHED THEN UPDATE SET v = 0, s = repeat('s', 3000) WHEN NOT MATCHED THEN INSERT VALUES (g.id, g.id, 1);
SELECT is((SELECT count(*) || ' ' || sum(v) || ' ' || sum(length(s)) FROM t), '3000 2994 18000', 'many');
MERGE INTO t USING (SELECT id, max(v) OVER () m FROM t) x ON t.id = x.id AND t.id % 2 = 0 WHEN MATCHED AND t.id % 4 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET v = m + 1 WHEN NOT MATCHED AND x.id < 10 THEN INSERT VALUES (-x.id, 0, 0);
SELECT is((SELECT count(*)::int FROM t WHERE id < 0), 5, 'with itself');
-- partitions
CREATE TABLE p (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (100);
INSERT INTO p SELECT i, 0 FROM generate_series(1, 19) i;
MERGE INTO p USING generate_series(5, 25) g (id) ON p.id = g.id WHEN MATCHED AND g.id < 8 THEN UPDATE SET id = p.id + 20 WHEN MATCHED AND g.id < 15 THEN UPDATE SET v = 1 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (g.id, 7);
SELECT is((SELECT string_agg(tableoid::regclass || ' ' || n || ' ' || x, ', ' ORDER BY tableoid::regclass::text) FROM (SELECT tableoid, count(*) n, sum(v) x FROM p GROUP BY 1) q), 'p1 6 2, p2 14 47', 'partitions');
-- rules about the order of clauses and a join with a large side
SELECT throws_ok('MERGE INTO t USING src ON t.id = src.id WHEN MATCHED THEN DELETE WHEN MATCHED THEN DO NOTHING', '42601', NULL, 'unreachable');
CREATE VIEW vsrc AS SELECT * FROM src WHERE v > 3;
MERGE INTO t USING vsrc s ON t.id = s.id AND s.v = 70 WHEN MATCHED THEN UPDATE SET v = -70;
SELECT is((SELECT v FROM t WHERE id = 7), -70, 'from a view');
SELECT * FROM finish();
