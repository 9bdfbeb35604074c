-- Triggers of every kind: what OLD and NEW are, transition tables, deferred ones after several changes of a row.
SELECT * FROM no_plan();
CREATE TABLE t (id int PRIMARY KEY, k int, v int, s text DEFAULT 'x');
CREATE INDEX ON t (k);
CREATE TABLE log (n serial, line text) USING heap;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO log (line) VALUES (format('%s %s %s %s>%s', TG_NAME, TG_WHEN, TG_OP,
    CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'INSERT' THEN OLD.v END, CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'DELETE' THEN NEW.v END));
  RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE FUNCTION lines() RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  SELECT string_agg(line, '; ' ORDER BY n) INTO answer FROM log;
  DELETE FROM log;
  RETURN coalesce(answer, '');
END $$;
CREATE TRIGGER br BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER ar AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER bs BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER ast AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION note();
INSERT INTO t VALUES (1, 1, 10);
SELECT is(lines(), 'bs BEFORE INSERT >; br BEFORE INSERT >10; ar AFTER INSERT >10; ast AFTER INSERT >', 'insert');
UPDATE t SET v = v + 1;
SELECT is(lines(), 'bs BEFORE UPDATE >; br BEFORE UPDATE 10>11; ar AFTER UPDATE 10>11; ast AFTER UPDATE >', 'in place');
UPDATE t SET v = v + 1, k = k + 1;
SELECT is(lines(), 'bs BEFORE UPDATE >; br BEFORE UPDATE 11>12; ar AFTER UPDATE 11>12; ast AFTER UPDATE >', 'moving');
INSERT INTO t VALUES (1, 1, 13) ON CONFLICT (id) DO UPDATE SET v = excluded.v;
SELECT is(lines(), 'bs BEFORE INSERT >; bs BEFORE UPDATE >; br BEFORE INSERT >13; br BEFORE UPDATE 12>13; ar AFTER UPDATE 12>13; ast AFTER UPDATE >; ast AFTER INSERT >', 'upsert');
MERGE INTO t USING (VALUES (1, 14), (2, 20)) n (id, v) ON t.id = n.id WHEN MATCHED THEN UPDATE SET v = n.v WHEN NOT MATCHED THEN INSERT VALUES (n.id, 0, n.v);
SELECT is((SELECT count(*)::int FROM log), 8, 'merge');
SELECT alike(lines(), '%ar AFTER UPDATE 13>14%', 'merge updates');
DELETE FROM t WHERE id = 1;
SELECT is(lines(), 'bs BEFORE DELETE >; br BEFORE DELETE 14>; ar AFTER DELETE 14>; ast AFTER DELETE >', 'delete');
DELETE FROM t WHERE id = 1;
SELECT is(lines(), 'bs BEFORE DELETE >; ast AFTER DELETE >', 'delete of nothing');
TRUNCATE t;
SELECT is(lines(), 'bs BEFORE TRUNCATE >; ast AFTER TRUNCATE >', 'truncate');
COPY t (id, k, v) FROM stdin;
1	1	10
2	2	20
\.
SELECT is(lines(), 'bs BEFORE INSERT >; br BEFORE INSERT >10; br BEFORE INSERT >20; ar AFTER INSERT >10; ar AFTER INSERT >20; ast AFTER INSERT >', 'copy');
-- several changes of a row in one transaction, AFTER triggers at the end of each statement
BEGIN;
UPDATE t SET v = v + 1 WHERE id = 1; UPDATE t SET v = v + 1 WHERE id = 1; UPDATE t SET k = k + 1 WHERE id = 1; DELETE FROM t WHERE id = 1;
COMMIT;
SELECT is((SELECT string_agg(line, '; ' ORDER BY n) FROM log WHERE line LIKE 'ar%'), 'ar AFTER UPDATE 10>11; ar AFTER UPDATE 11>12; ar AFTER UPDATE 12>12; ar AFTER DELETE 12>', 'each change with its own versions');
DELETE FROM log;
DROP TRIGGER bs ON t; DROP TRIGGER ast ON t; DROP TRIGGER br ON t; DROP TRIGGER ar ON t;

-- deferred: the versions must be found again at commit
CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
BEGIN;
INSERT INTO t VALUES (3, 3, 30);
UPDATE t SET v = v + 1 WHERE id IN (2, 3);
UPDATE t SET k = k + 1, v = v + 1 WHERE id = 3;
UPDATE t SET v = v + 1 WHERE id = 3;
SAVEPOINT s; UPDATE t SET v = 1000; ROLLBACK TO s;
UPDATE t SET v = v + 1 WHERE id = 3;
DELETE FROM t WHERE id = 3;
INSERT INTO t VALUES (3, 3, 300);
SELECT is(lines(), '', 'nothing yet');
COMMIT;
SELECT is(lines(), 'late AFTER INSERT >30; late AFTER UPDATE 20>21; late AFTER UPDATE 30>31; late AFTER UPDATE 31>32; late AFTER UPDATE 32>33; late AFTER UPDATE 33>34; late AFTER DELETE 34>; late AFTER INSERT >300', 'all at commit, in order, with the right versions');
-- more updates than there are tags
BEGIN;
DO $$ BEGIN FOR i IN 1..400 LOOP UPDATE t SET v = v + 1 WHERE id = 2; END LOOP; END $$;
COMMIT;
SELECT is((SELECT count(*)::int FROM log), 400, '400 updates');
SELECT is((SELECT string_agg(line, ',' ORDER BY n) FROM log), (SELECT string_agg(format('late AFTER UPDATE %s>%s', i, i + 1), ',' ORDER BY i) FROM generate_series(21, 420) i), 'each with its versions');
DELETE FROM log;
BEGIN;
DO $$ BEGIN FOR i IN 1..300 LOOP
  UPDATE t SET v = v + 1 WHERE id = 2;
  IF i % 3 = 0 THEN BEGIN UPDATE t SET v = -5 WHERE id = 2; RAISE EXCEPTION 'undo'; EXCEPTION WHEN raise_exception THEN NULL; END; END IF;
  IF i % 50 = 0 THEN UPDATE t SET k = k + 1 WHERE id = 2; END IF;
END LOOP; END $$;
COMMIT;
SELECT is((SELECT string_agg(line, ',' ORDER BY n) FROM log WHERE line !~ ' ([0-9]+)>\1$'), (SELECT string_agg(format('late AFTER UPDATE %s>%s', i, i + 1), ',' ORDER BY i) FROM generate_series(421, 720) i),
  'also with undone updates and moves between');
SELECT is((SELECT count(*)::int FROM log), 306, 'and no undone one');
DELETE FROM log;
DROP TRIGGER late ON t;

-- WHEN, OF columns, triggers that change, skip and forbid
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.v = 0 THEN RETURN NULL; END IF;
  NEW.k := NEW.k + 1000; NEW.s := repeat('y', 3000) || NEW.v; RETURN NEW;
END $$;
CREATE TRIGGER change BEFORE UPDATE OF v ON t FOR EACH ROW WHEN (OLD.v IS DISTINCT FROM NEW.v) EXECUTE FUNCTION change();
UPDATE t SET v = 5 WHERE id = 2;
SELECT is((SELECT format('%s %s', k > 1000, length(s)) FROM t WHERE id = 2), 't 3001', 'a trigger makes an update in place a moving one, with toast');
UPDATE t SET v = 0 WHERE id = 2;
SELECT is((SELECT v FROM t WHERE id = 2), 5, 'a trigger forbids');
UPDATE t SET s = 'short' WHERE id = 2;
SELECT is((SELECT s FROM t WHERE id = 2), 'short', 'another column does not fire it');
DROP TRIGGER change ON t;
-- a BEFORE trigger that changes the row itself
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_trigger_depth() < 2 THEN UPDATE t SET v = -1 WHERE id = OLD.id; END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER meddle BEFORE UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION meddle();
SELECT throws_ok('UPDATE t SET v = 9 WHERE id = 2', '27000', NULL, 'updated by its own BEFORE trigger');
SELECT throws_ok('DELETE FROM t WHERE id = 2', '27000', NULL, 'updated by its own BEFORE trigger, delete');
DROP TRIGGER meddle ON t;
CREATE TRIGGER meddle AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION meddle();
SELECT lives_ok('UPDATE t SET v = 9 WHERE id = 2', 'in an AFTER trigger it may');
SELECT is((SELECT v FROM t WHERE id = 2), -1, 'and wins');
DROP TRIGGER meddle ON t;
CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t WHERE id = NEW.id; RETURN NEW; END $$;
CREATE TRIGGER gone BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION gone();
SELECT throws_ok('UPDATE t SET v = 9 WHERE id = 2', '27000', NULL, 'deleted by its own BEFORE trigger');
DROP TRIGGER gone ON t;

-- transition tables
TRUNCATE t;
CREATE FUNCTION sums() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN INSERT INTO log (line) SELECT format('new %s %s %s', count(*), sum(v), sum(length(s))) FROM n;
  ELSIF TG_OP = 'DELETE' THEN INSERT INTO log (line) SELECT format('old %s %s %s', count(*), sum(v), sum(length(s))) FROM o;
  ELSE INSERT INTO log (line) SELECT format('%s %s>%s %s', count(*), sum(o.v), sum(n.v), sum(length(n.s))) FROM o JOIN n USING (id); END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER ti AFTER INSERT ON t REFERENCING NEW TABLE AS n EXECUTE FUNCTION sums();
CREATE TRIGGER tu AFTER UPDATE ON t REFERENCING NEW TABLE AS n OLD TABLE AS o EXECUTE FUNCTION sums();
CREATE TRIGGER td AFTER DELETE ON t REFERENCING OLD TABLE AS o EXECUTE FUNCTION sums();
INSERT INTO t SELECT i, i, 1, 's' FROM generate_series(1, 1000) i;
SELECT is(lines(), 'new 1000 1000 1000', 'new table');
UPDATE t SET v = v + 1;
SELECT is(lines(), '1000 1000>2000 1000', 'old and new table, in place');
UPDATE t SET v = v + 1, k = k + 1 WHERE id <= 500;
SELECT is(lines(), '500 1000>1500 500', 'old and new table, moving');
UPDATE t SET s = repeat('long', 2000) WHERE id <= 10;
SELECT is(lines(), '10 30>30 80000', 'toasted');
INSERT INTO t SELECT i, i, 7, 's' FROM generate_series(996, 1005) i ON CONFLICT (id) DO UPDATE SET v = excluded.v;
SELECT is(lines(), '5 10>35 5; new 5 35 5', 'upsert');
DELETE FROM t WHERE id <= 20;
SELECT is(lines(), 'old 20 60 80010', 'old table');
WITH d AS (DELETE FROM t WHERE id <= 30 RETURNING *), u AS (UPDATE t SET v = 0 WHERE id > 1000 RETURNING *) INSERT INTO t SELECT id + 5000, k, v, s FROM d;
SELECT is(lines(), 'old 10 30 10; new 10 30 10; 5 35>0 5', 'three at once');
-- INSTEAD OF
CREATE VIEW w AS SELECT id, v FROM t;
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN DELETE FROM t WHERE id = OLD.id; RETURN OLD; END IF;
  UPDATE t SET v = NEW.v * 2 WHERE id = NEW.id; RETURN NEW;
END $$;
CREATE TRIGGER i INSTEAD OF UPDATE OR DELETE ON w FOR EACH ROW EXECUTE FUNCTION instead();
UPDATE w SET v = 21 WHERE id = 100;
DELETE FROM w WHERE id = 101;
SELECT is((SELECT string_agg(id || ':' || v, ' ' ORDER BY id) FROM t WHERE id BETWEEN 99 AND 102), '99:3 100:42 102:3', 'instead of');
-- a partitioned table's triggers, with rows that change their partition
CREATE TABLE p (id int, v int) PARTITION BY LIST (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
CREATE TRIGGER pr AFTER INSERT OR UPDATE OR DELETE ON p FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO p VALUES (1, 1);
DELETE FROM log;
UPDATE p SET id = 2, v = 2;
SELECT is(lines(), 'pr AFTER DELETE 1>; pr AFTER INSERT >2', 'a move is a deletion and an insertion');
-- event-like: constraint trigger that looks at the table
CREATE FUNCTION balance() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (SELECT sum(v) FROM acc) <> 0 THEN RAISE EXCEPTION 'unbalanced' USING ERRCODE = '23514'; END IF; RETURN NULL; END $$;
CREATE TABLE acc (id int, v int);
CREATE CONSTRAINT TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON acc DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION balance();
BEGIN;
INSERT INTO acc VALUES (1, 5);
INSERT INTO acc VALUES (2, -5);
SELECT lives_ok('SET CONSTRAINTS ALL IMMEDIATE', 'balanced');
COMMIT;
BEGIN;
UPDATE acc SET v = v + 1 WHERE id = 1;
SELECT throws_ok('SET CONSTRAINTS ALL IMMEDIATE', '23514', NULL, 'not balanced');
ROLLBACK;
SELECT is((SELECT sum(v)::int FROM acc), 0, 'balanced');
SELECT * FROM finish();
