-- READ COMMITTED writers who find that the row has become another one: after in-place updates, moving updates, deletions,
-- moves to another partition.
SELECT * FROM no_plan();
CREATE TABLE t (id int PRIMARY KEY, k int, v int, s text);
CREATE INDEX ON t (k);
CREATE TABLE u (id int PRIMARY KEY, factor int);
INSERT INTO u SELECT i, 10 FROM generate_series(1, 50) i;
INSERT INTO t SELECT i, i, 0, repeat('s', 10) FROM generate_series(1, 50) i;
SELECT ok(open_session('a') = 'OK' AND open_session('b') = 'OK', 'two sessions');
SELECT pid_of('b') AS pid_b \gset

-- a writes and waits; b does its work on the same row; a ends; the row and what b said
CREATE FUNCTION race(first text, ending text, second text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE b int := pid_of('b'); answer text;
BEGIN
  IF run('a', 'BEGIN; ' || first) <> 'ok' THEN RETURN 'a has failed'; END IF;
  PERFORM start('b', second);
  IF NOT waits(b) THEN answer := 'no wait, '; ELSE answer := ''; END IF;
  PERFORM run('a', ending);
  RETURN answer || outcome('b');
END $$;
CREATE FUNCTION row_of(i int) RETURNS text LANGUAGE sql AS $$ SELECT coalesce(string_agg(format('%s %s %s', id, k, v), ', ' ORDER BY id, k, v), 'none') FROM t WHERE s LIKE 's%' AND id % 100 = i $$;

SELECT is(race('UPDATE t SET v = v + 1 WHERE id = 1', 'COMMIT', 'UPDATE t SET v = v * 10 + 1 WHERE id = 1'), 'ok', 'in place, in place');
SELECT is(row_of(1), '1 1 11', 'on top');
SELECT is(race('UPDATE t SET v = v + 1 WHERE id = 2', 'ROLLBACK', 'UPDATE t SET v = v * 10 + 1 WHERE id = 2'), 'ok', 'in place undone, in place');
SELECT is(row_of(2), '2 2 1', 'as if nothing were');
SELECT is(race('UPDATE t SET k = 1000 WHERE id = 3', 'COMMIT', 'UPDATE t SET v = v + k WHERE id = 3'), 'ok', 'moved, in place');
SELECT is(row_of(3), '3 1000 1000', 'follows');
SELECT is(race('UPDATE t SET k = 1000 WHERE id = 4', 'ROLLBACK', 'UPDATE t SET v = v + k WHERE id = 4'), 'ok', 'moved and back, in place');
SELECT is(row_of(4), '4 4 4', 'stays');
SELECT is(race('UPDATE t SET k = k + 1000 WHERE id = 5; UPDATE t SET v = 7 WHERE id = 5; UPDATE t SET k = k + 1000 WHERE id = 5; UPDATE t SET v = v + 1 WHERE id = 5',
  'COMMIT', 'UPDATE t SET k = k + v, v = -v WHERE id = 5'), 'ok', 'moved twice and changed twice');
SELECT is(row_of(5), '5 2013 -8', 'follows to the end');
SELECT is(race('UPDATE t SET v = 1 WHERE id = 6', 'COMMIT', 'UPDATE t SET v = 100 WHERE id = 6 AND v = 0'), 'ok', 'no longer qualifies');
SELECT is(row_of(6), '6 6 1', 'left alone');
SELECT is(race('UPDATE t SET k = 1000 WHERE id = 7', 'COMMIT', 'UPDATE t SET v = 100 WHERE id = 7 AND k = 7'), 'ok', 'moved and no longer qualifies');
SELECT is(row_of(7), '7 1000 0', 'left alone');
SELECT is(race('DELETE FROM t WHERE id = 8', 'COMMIT', 'UPDATE t SET v = 100 WHERE id = 8'), 'ok', 'deleted');
SELECT is(row_of(8), 'none', 'stays deleted');
SELECT is(race('DELETE FROM t WHERE id = 9', 'ROLLBACK', 'UPDATE t SET v = 100 WHERE id = 9'), 'ok', 'deletion undone');
SELECT is(row_of(9), '9 9 100', 'updated');
SELECT is(race('UPDATE t SET id = 110 WHERE id = 10', 'COMMIT', 'DELETE FROM t WHERE id = 10'), 'ok', 'the key changed: not the row looked for');
SELECT is(row_of(10), '110 10 0', 'not deleted');
SELECT is(race('UPDATE t SET v = 5 WHERE id = 11', 'COMMIT', 'DELETE FROM t WHERE id = 11 AND v < 10'), 'ok', 'changed, still to be deleted');
SELECT is(row_of(11), 'none', 'deleted');
SELECT is(race('DELETE FROM t WHERE id = 12; INSERT INTO t VALUES (12, 12, 500, ''s'')', 'COMMIT', 'UPDATE t SET v = v + 1 WHERE id = 12'), 'ok', 'another row with that key');
SELECT is(row_of(12), '12 12 500', 'is not the same row');
-- with a join: the other table's row is that of the statement's snapshot
SELECT is(race('UPDATE t SET v = 1 WHERE id = 13; UPDATE u SET factor = 1000 WHERE id = 13', 'COMMIT',
  'UPDATE t SET v = (v + 1) * factor FROM u WHERE u.id = t.id AND t.id = 13'), 'ok', 'a join');
SELECT is(row_of(13), '13 13 20', 'new row here, old row there');
SELECT is(race('UPDATE t SET k = 14000 WHERE id = 14; UPDATE u SET factor = 1000 WHERE id = 14', 'COMMIT',
  'WITH f AS (SELECT * FROM u WHERE id = 14) UPDATE t SET v = (v + 1) * factor FROM f WHERE f.id = t.id'), 'ok', 'a join with WITH, moved');
SELECT is(row_of(14), '14 14000 10', 'new row here, old row there');
SELECT is(race('UPDATE t SET v = 5 WHERE id = 15', 'COMMIT', 'UPDATE t SET v = v + (SELECT count(*) FROM u WHERE u.factor = 10) WHERE id = 15'), 'ok', 'a subquery');
SELECT is((SELECT v BETWEEN 50 AND 60 FROM t WHERE id = 15), true, 'is computed');
-- a self join sees the old rows but for the one written
SELECT is(race('UPDATE t SET v = 3 WHERE id IN (16, 17)', 'COMMIT', 'UPDATE t SET v = t.v + 10 * o.v + 1 FROM t o WHERE o.id = 17 AND t.id = 16'), 'ok', 'self join');
SELECT is(row_of(16), '16 16 4', 'old partner');
-- SELECT FOR UPDATE of joins: qualification is asked again
SELECT is(run('a', 'BEGIN; UPDATE t SET v = 1 WHERE id = 18'), 'ok', 'a changes');
SELECT ok(start('b', 'SELECT format(''%s %s'', v, factor) FROM t JOIN u USING (id) WHERE id = 18 AND v <= 1 FOR UPDATE OF t'), 'b locks');
SELECT ok(waits(:pid_b), 'b waits');
SELECT is(run('a', 'COMMIT'), 'ok', 'a commits');
SELECT results_eq('SELECT * FROM dblink_get_result(''b'') AS x (r text)', ARRAY['1 10'], 'b has the new version');
SELECT ok(NOT EXISTS (SELECT * FROM dblink_get_result('b') AS x (r text)), 'that was all');
-- LIMIT and ORDER BY under locks
SELECT is(run('a', 'BEGIN; UPDATE t SET v = -100 WHERE id = 20'), 'ok', 'a changes');
SELECT ok(start('b', 'SELECT string_agg(x::text, '','') FROM (SELECT id FROM t WHERE id BETWEEN 19 AND 22 AND v = 0 ORDER BY id LIMIT 2 FOR UPDATE) x'), 'b locks two');
SELECT ok(waits(:pid_b), 'b waits');
SELECT is(run('a', 'COMMIT'), 'ok', 'a commits');
SELECT results_eq('SELECT * FROM dblink_get_result(''b'') AS x (r text)', ARRAY['(19),(21)'], 'b goes on to the next');
SELECT ok(NOT EXISTS (SELECT * FROM dblink_get_result('b') AS x (r text)), 'that was all');
-- many rows, some of them changed under way
SELECT is(race('UPDATE t SET k = k + 5000 WHERE id IN (31, 35); UPDATE t SET v = 50 WHERE id IN (33, 37); DELETE FROM t WHERE id = 39', 'COMMIT',
  'UPDATE t SET v = v + 1 WHERE id BETWEEN 30 AND 40'), 'ok', 'many rows');
SELECT is((SELECT string_agg(id || ':' || k || ':' || v, ' ' ORDER BY id) FROM t WHERE id BETWEEN 30 AND 40),
  '30:30:1 31:5031:1 32:32:1 33:33:51 34:34:1 35:5035:1 36:36:1 37:37:51 38:38:1 40:40:1', 'each once');
-- BEFORE triggers lock the row first
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.s := 's' || OLD.v || '>' || NEW.v; RETURN NEW; END $$;
CREATE TRIGGER shout BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.id > 40) EXECUTE FUNCTION shout();
SELECT is(race('UPDATE t SET v = 1 WHERE id = 41', 'COMMIT', 'UPDATE t SET v = v + 10 WHERE id = 41'), 'ok', 'a trigger, in place');
SELECT is(s, 's1>11', 'has the new row') FROM t WHERE id = 41;
SELECT is(race('UPDATE t SET k = 4200, v = 2 WHERE id = 42', 'COMMIT', 'UPDATE t SET v = v + 10 WHERE id = 42'), 'ok', 'a trigger, moved');
SELECT is(s, 's2>12', 'has the new row') FROM t WHERE id = 42;
SELECT is(race('DELETE FROM t WHERE id = 43', 'COMMIT', 'UPDATE t SET v = v + 10 WHERE id = 43'), 'ok', 'a trigger, deleted');
SELECT is(row_of(43), 'none', 'nothing');
-- REPEATABLE READ does not follow
SELECT is(race('UPDATE t SET v = 1 WHERE id = 44', 'COMMIT', 'BEGIN ISOLATION LEVEL REPEATABLE READ; UPDATE t SET v = v + 10 WHERE id = 44; COMMIT'), '40001', 'changed: could not serialize');
SELECT is(run('b', 'ROLLBACK'), 'ok', 'over');
SELECT is(race('UPDATE t SET k = 1 WHERE id = 45', 'COMMIT', 'BEGIN ISOLATION LEVEL REPEATABLE READ; DELETE FROM t WHERE id = 45; COMMIT'), '40001', 'moved: could not serialize');
SELECT is(run('b', 'ROLLBACK'), 'ok', 'over');
SELECT is(race('DELETE FROM t WHERE id = 46', 'COMMIT', 'BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE t SET v = 1 WHERE id = 46; COMMIT'), '40001', 'deleted: could not serialize');
SELECT is(run('b', 'ROLLBACK'), 'ok', 'over');
SELECT is(race('UPDATE t SET v = 1 WHERE id = 47', 'ROLLBACK', 'BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE t SET v = v + 10 WHERE id = 47; COMMIT'), 'ok', 'undone: fine');
SELECT is(row_of(47), '47 47 10', 'done');

-- partitions
CREATE TABLE p (id int, v int, s text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
INSERT INTO p SELECT i, 0, 'p' FROM generate_series(1, 20) i;
SELECT is(race('UPDATE p SET id = id + 100 WHERE id = 1', 'COMMIT', 'UPDATE p SET v = v + 1 WHERE id = 1'), '40001', 'moved to another partition: an update fails');
SELECT is(race('UPDATE p SET id = id + 100 WHERE id = 2', 'COMMIT', 'DELETE FROM p WHERE id = 2'), '40001', 'so does a deletion');
SELECT is(race('UPDATE p SET id = id + 100 WHERE id = 3', 'COMMIT', 'SELECT 1 FROM p WHERE id = 3 FOR UPDATE'), '40001', 'so does a lock');
SELECT is(race('UPDATE p SET id = id + 100 WHERE id = 4', 'COMMIT', 'SELECT 1 FROM p1 WHERE id = 4 FOR KEY SHARE'), '40001', 'so does the weakest lock');
SELECT is(race('UPDATE p SET id = id + 100 WHERE id = 5', 'ROLLBACK', 'UPDATE p SET v = v + 1 WHERE id = 5'), 'ok', 'moved and back');
SELECT is(race('UPDATE p SET v = v + 1 WHERE id = 6; UPDATE p SET id = id + 100 WHERE id = 6', 'COMMIT', 'UPDATE p SET v = v + 1 WHERE id = 6'), '40001', 'changed and moved');
SELECT is(race('UPDATE p SET v = v + 1 WHERE id = 7', 'COMMIT', 'UPDATE p SET id = id + 100, v = v * 10 WHERE id = 7'), 'ok', 'changed, then moved');
SELECT is(race('UPDATE p SET v = v + 1 WHERE id = 8', 'COMMIT', 'UPDATE p SET id = id + 100 WHERE id = 8 AND v = 0'), 'ok', 'changed, not to be moved');
SELECT is(race('DELETE FROM p WHERE id = 9', 'COMMIT', 'UPDATE p SET id = id + 100 WHERE id = 9'), 'ok', 'deleted, not to be moved');
SELECT is(race('UPDATE p SET id = id + 100 WHERE id = 10', 'COMMIT', 'UPDATE p SET id = id + 101 WHERE id = 10'), '40001', 'moved by both');
SELECT is((SELECT string_agg(id || ':' || v, ' ' ORDER BY id) FROM p WHERE id % 100 <= 10), '5:1 8:1 101:0 102:0 103:0 104:0 106:1 107:10 110:0', 'each row is in one place');

-- MERGE follows as well
SELECT is(race('UPDATE u SET factor = 11 WHERE id = 1', 'COMMIT',
  'MERGE INTO u USING (VALUES (1)) n (id) ON u.id = n.id WHEN MATCHED AND factor = 10 THEN UPDATE SET factor = -1 WHEN MATCHED THEN UPDATE SET factor = factor + 100'), 'ok', 'MERGE, changed');
SELECT is(factor, 111, 'by the second clause') FROM u WHERE id = 1;
SELECT is(race('DELETE FROM u WHERE id = 2', 'COMMIT',
  'MERGE INTO u USING (VALUES (2)) n (id) ON u.id = n.id WHEN MATCHED THEN UPDATE SET factor = -1 WHEN NOT MATCHED THEN INSERT VALUES (2, 22)'), 'ok', 'MERGE, deleted');
SELECT is(factor, 22, 'inserted') FROM u WHERE id = 2;
SELECT is(race('UPDATE u SET id = 103 WHERE id = 3', 'COMMIT',
  'MERGE INTO u USING (VALUES (3)) n (id) ON u.id = n.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (3, 33)'), 'ok', 'MERGE, another key');
SELECT is((SELECT string_agg(id || ':' || factor, ' ' ORDER BY id) FROM u WHERE id % 100 = 3), '3:33 103:10', 'inserted');
SELECT is(race('UPDATE u SET factor = 0 WHERE id = 4', 'COMMIT', 'MERGE INTO u USING (VALUES (4)) n (id) ON u.id = n.id WHEN MATCHED AND factor < 20 THEN DELETE'), 'ok', 'MERGE, deletes what was changed');
SELECT is((SELECT count(*)::int FROM u WHERE id = 4), 0, 'deleted');
SELECT * FROM finish();
