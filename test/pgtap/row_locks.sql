-- The four row lock modes: who gets along with whom, NOWAIT, SKIP LOCKED, upgrade, time-out, deadlock.
SELECT * FROM no_plan();
CREATE TABLE t (id int PRIMARY KEY, v int, k int UNIQUE);
INSERT INTO t SELECT i, 0, i FROM generate_series(1, 20) i;
SELECT open_session('a') = 'OK' AND open_session('b') = 'OK' AND open_session('c') = 'OK' AS connected \gset
SELECT ok(:'connected', 'three sessions');
SELECT pid_of('a') AS pid_a, pid_of('b') AS pid_b, pid_of('c') AS pid_c \gset

-- every mode against every mode, and against the writers
CREATE FUNCTION matrix(holder text, wanted text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  PERFORM run('a', 'BEGIN'), run('b', 'BEGIN');
  PERFORM ask('a', 'SELECT id FROM t WHERE id = 1 FOR ' || holder);
  answer := ask('b', format('SELECT id FROM t WHERE id = 1 FOR %s NOWAIT', wanted));
  PERFORM run('a', 'ROLLBACK'), run('b', 'ROLLBACK');
  RETURN answer;
END $$;
SELECT is(matrix(h.m, w.m), CASE WHEN h.n + w.n < 5 OR h.n = 1 AND w.n < 4 OR w.n = 1 AND h.n < 4 THEN
    CASE WHEN h.n + w.n = 4 AND h.n = 2 AND w.n = 2 OR h.n = 1 AND w.n < 4 OR w.n = 1 AND h.n < 4 THEN '(1)' ELSE '55P03' END
  ELSE '55P03' END, format('%s is held, %s is wanted', h.m, w.m))
FROM (VALUES (1, 'KEY SHARE'), (2, 'SHARE'), (3, 'NO KEY UPDATE'), (4, 'UPDATE')) h (n, m),
     (VALUES (1, 'KEY SHARE'), (2, 'SHARE'), (3, 'NO KEY UPDATE'), (4, 'UPDATE')) w (n, m);

CREATE FUNCTION matrix_write(holder text, write text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  PERFORM run('a', 'BEGIN'), run('b', 'BEGIN; SET LOCAL lock_timeout = ''20ms''');
  PERFORM ask('a', 'SELECT id FROM t WHERE id = 1 FOR ' || holder);
  answer := run('b', write);
  PERFORM run('a', 'ROLLBACK'), run('b', 'ROLLBACK');
  RETURN answer;
END $$;
SELECT is(matrix_write(h.m, w.s), CASE WHEN h.n = 1 AND w.n = 3 THEN 'ok' ELSE '55P03' END, format('%s is held: %s', h.m, w.s))
FROM (VALUES (1, 'KEY SHARE'), (2, 'SHARE'), (3, 'NO KEY UPDATE'), (4, 'UPDATE')) h (n, m),
     (VALUES (3, 'UPDATE t SET v = 1 WHERE id = 1'), (4, 'UPDATE t SET id = 100 WHERE id = 1'), (4, 'UPDATE t SET k = 100 WHERE id = 1'),
             (4, 'DELETE FROM t WHERE id = 1')) w (n, s);
-- and the other way round: a writer holds, lockers come
CREATE FUNCTION matrix_written(write text, wanted text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  PERFORM run('a', 'BEGIN'), run('b', 'BEGIN');
  PERFORM run('a', write);
  answer := ask('b', format('SELECT id, v FROM t WHERE id = 1 FOR %s NOWAIT', wanted));
  PERFORM run('a', 'ROLLBACK'), run('b', 'ROLLBACK');
  RETURN answer;
END $$;
SELECT is(matrix_written(w.s, h.m), CASE WHEN h.n = 1 AND w.n = 3 THEN '(1,0)' ELSE '55P03' END, format('%s, then %s', w.s, h.m))
FROM (VALUES (1, 'KEY SHARE'), (2, 'SHARE'), (3, 'NO KEY UPDATE'), (4, 'UPDATE')) h (n, m),
     (VALUES (3, 'UPDATE t SET v = 1 WHERE id = 1'), (4, 'UPDATE t SET id = 100 WHERE id = 1'), (4, 'UPDATE t SET k = 100 WHERE id = 1'),
             (4, 'DELETE FROM t WHERE id = 1')) w (n, s);
SELECT is((SELECT string_agg(t::text, ' ' ORDER BY id) FROM t WHERE id < 3), '(1,0,1) (2,0,2)', 'nothing of this has stayed');

-- several holders: a MultiXact, also one grown by the holder's own stronger lock
SELECT is(run('a', 'BEGIN') || run('b', 'BEGIN') || run('c', 'BEGIN'), 'okokok', 'three transactions');
SELECT is(ask(s, 'SELECT id FROM t WHERE id = 2 FOR SHARE'), '(2)', s || ' shares') FROM unnest('{a,b,c}'::text[]) s;
SELECT is(ask('a', 'SELECT id FROM t WHERE id = 2 FOR UPDATE NOWAIT'), '55P03', 'no upgrade while others share');
SELECT is(run('a', 'ROLLBACK'), 'ok', 'a leaves');
SELECT is(run('a', 'BEGIN'), 'ok', 'a comes back');
SELECT is(ask('a', 'SELECT id FROM t WHERE id = 2 FOR NO KEY UPDATE SKIP LOCKED'), 'none', 'two of the members are enough to be skipped');
SELECT is(ask('a', 'SELECT id FROM t WHERE id = 2 FOR KEY SHARE SKIP LOCKED'), '(2)', 'but a key share goes with them');
SELECT is(run('b', 'COMMIT'), 'ok', 'b leaves');
SELECT is(ask('c', 'SELECT id FROM t WHERE id = 2 FOR NO KEY UPDATE NOWAIT'), '(2)', 'c upgrades past the key share');
SELECT is(run('c', 'UPDATE t SET v = v + 1 WHERE id = 2'), 'ok', 'c updates in place past the key share');
SELECT is(ask('c', 'SELECT id FROM t WHERE id = 2 FOR UPDATE NOWAIT'), '55P03', 'no upgrade to the strongest');
SELECT is(run('a', 'COMMIT'), 'ok', 'a leaves');
SELECT is(run('c', 'BEGIN'), '25P02', 'the failed transaction stays failed');
SELECT is(run('c', 'ROLLBACK'), 'ok', 'c leaves');
SELECT is(v, 0, 'its update is void') FROM t WHERE id = 2;

-- locks of subtransactions
SELECT is(run('a', 'BEGIN; SAVEPOINT s'), 'ok', 'a savepoint');
SELECT is(ask('a', 'SELECT id FROM t WHERE id = 3 FOR UPDATE'), '(3)', 'a lock in it');
SELECT is(ask('b', 'SELECT id FROM t WHERE id = 3 FOR KEY SHARE NOWAIT'), '55P03', 'it counts');
SELECT is(run('a', 'ROLLBACK TO s'), 'ok', 'rolled back');
SELECT is(ask('b', 'SELECT id FROM t WHERE id = 3 FOR UPDATE NOWAIT'), '(3)', 'it is gone');
SELECT is(ask('a', 'SELECT id FROM t WHERE id = 3 FOR SHARE'), '(3)', 'a weaker one outside');
SELECT is(run('a', 'SAVEPOINT s'), 'ok', 'another savepoint');
SELECT is(ask('a', 'SELECT id FROM t WHERE id = 3 FOR UPDATE'), '(3)', 'upgrade in it');
SELECT is(run('a', 'UPDATE t SET v = 77 WHERE id = 3; ROLLBACK TO s'), 'ok', 'an update and back');
SELECT is(ask('b', 'SELECT id, v FROM t WHERE id = 3 FOR SHARE NOWAIT'), '(3,0)', 'what is left is shared');
SELECT is(ask('b', 'SELECT id FROM t WHERE id = 3 FOR UPDATE NOWAIT'), '55P03', 'but not given up');
SELECT is(run('a', 'RELEASE s'), 'ok', 'released');
SELECT is(ask('b', 'SELECT id FROM t WHERE id = 3 FOR UPDATE NOWAIT'), '55P03', 'still not given up');
SELECT is(run('a', 'COMMIT'), 'ok', 'committed');
SELECT is(ask('b', 'SELECT id FROM t WHERE id = 3 FOR UPDATE NOWAIT'), '(3)', 'now it is');

-- SKIP LOCKED as a queue
SELECT is(run('a', 'BEGIN') || run('b', 'BEGIN'), 'okok', 'two workers');
SELECT is(ask('a', 'SELECT id FROM t WHERE id > 10 ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED'), '(11) (12) (13)', 'the first takes three');
SELECT is(ask('b', 'SELECT id FROM t WHERE id > 10 ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED'), '(14) (15) (16)', 'the second the next');
SELECT is(run('a', 'DELETE FROM t WHERE id IN (11, 12)'), 'ok', 'the first does two of them');
SELECT is(run('a', 'COMMIT'), 'ok', 'and commits');
SELECT is(ask('b', 'SELECT id FROM t WHERE id > 10 ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED'), '(13) (14)', 'one has come back');
SELECT is(run('b', 'ROLLBACK'), 'ok', 'b leaves');

-- waiting: granted in order, as it ought to be after commit and after rollback
SELECT is(run('a', 'BEGIN; UPDATE t SET v = v + 1 WHERE id = 5'), 'ok', 'a writes');
SELECT ok(start('b', 'UPDATE t SET v = v * 10 WHERE id = 5'), 'b starts');
SELECT ok(waits(:pid_b), 'b waits');
SELECT ok(start('c', 'DELETE FROM t WHERE id = 5 AND v < 11'), 'c starts');
SELECT ok(waits(:pid_c), 'c waits behind b');
SELECT is(run('a', 'COMMIT'), 'ok', 'a commits');
SELECT is(outcome('b') || outcome('c'), 'okok', 'both go on');
SELECT is((SELECT count(*)::int FROM t WHERE id = 5), 0, 'c has seen the 10 of b');
SELECT is(run('a', 'BEGIN; UPDATE t SET v = v + 1 WHERE id = 6; DELETE FROM t WHERE id = 6'), 'ok', 'a updates and deletes');
SELECT ok(start('b', 'UPDATE t SET v = v + 5 WHERE id = 6'), 'b starts');
SELECT ok(waits(:pid_b), 'b waits');
SELECT is(run('a', 'ROLLBACK'), 'ok', 'a rolls back');
SELECT is(outcome('b'), 'ok', 'b goes on');
SELECT is(v, 5, 'with the old row') FROM t WHERE id = 6;

-- lock_timeout, statement_timeout, deadlock
SELECT is(run('a', 'BEGIN; UPDATE t SET v = 1 WHERE id = 7'), 'ok', 'a writes');
SELECT is(run('b', 'SET lock_timeout = ''30ms'''), 'ok', 'b has no time');
SELECT is(run('b', 'UPDATE t SET v = 2 WHERE id = 7'), '55P03', 'and gives up');
SELECT is(ask('b', 'SELECT v FROM t WHERE id = 7 FOR SHARE'), '55P03', 'again');
SELECT is(run('b', 'RESET lock_timeout; SET statement_timeout = ''30ms'''), 'ok', 'another clock');
SELECT is(run('b', 'DELETE FROM t WHERE id = 7'), '57014', 'gives up, too');
SELECT is(run('b', 'RESET statement_timeout'), 'ok', 'patient again');
SELECT is(run('a', 'COMMIT'), 'ok', 'a commits');
SELECT is(v, 1, 'the row of a') FROM t WHERE id = 7;
SELECT is(run('a', 'BEGIN; SET deadlock_timeout = ''10s''; UPDATE t SET v = 8 WHERE id = 8'), 'ok', 'a has 8');
SELECT is(run('b', 'BEGIN; SET deadlock_timeout = ''20ms''; UPDATE t SET v = 8 WHERE id = 9'), 'ok', 'b has 9');
SELECT ok(start('a', 'UPDATE t SET v = 9 WHERE id = 9'), 'a wants 9');
SELECT ok(waits(:pid_a), 'and waits');
SELECT is(run('b', 'DELETE FROM t WHERE id = 8'), '40P01', 'b wants 8: deadlock');
SELECT is(run('b', 'ROLLBACK'), 'ok', 'b gives up');
SELECT is(outcome('a'), 'ok', 'a goes on');
SELECT is(run('a', 'COMMIT'), 'ok', 'and commits');
SELECT is((SELECT string_agg(v::text, ',' ORDER BY id) FROM t WHERE id IN (8, 9)), '8,9', 'both by a');
-- a deadlock of two lockers who want to upgrade
SELECT is(run('a', 'BEGIN; SET deadlock_timeout = ''10s''') || run('b', 'BEGIN; SET deadlock_timeout = ''20ms'''), 'okok', 'two transactions');
SELECT is(ask('a', 'SELECT id FROM t WHERE id = 10 FOR SHARE') || ask('b', 'SELECT id FROM t WHERE id = 10 FOR SHARE'), '(10)(10)', 'share');
SELECT ok(start('a', 'UPDATE t SET v = 10 WHERE id = 10'), 'a upgrades');
SELECT ok(waits(:pid_a), 'and waits');
SELECT is(run('b', 'UPDATE t SET v = 11 WHERE id = 10'), '40P01', 'b upgrades: deadlock');
SELECT is(run('b', 'ROLLBACK') || outcome('a') || run('a', 'COMMIT'), 'okokok', 'a goes on');
SELECT is(v, 10, 'the row of a') FROM t WHERE id = 10;

-- a row locked by a view, by a join, of one table only, and what the planner forbids
CREATE VIEW w AS SELECT * FROM t WHERE id < 20;
SELECT is(run('a', 'BEGIN'), 'ok', 'a');
SELECT is(ask('a', 'SELECT id FROM w WHERE id = 14 FOR UPDATE'), '(14)', 'locks through a view');
SELECT is(ask('a', 'SELECT x.id FROM t x JOIN t y ON y.id = x.id + 1 WHERE x.id = 16 FOR UPDATE OF y'), '(16)', 'locks one side of a join');
SELECT is(ask('b', 'SELECT id FROM t WHERE id BETWEEN 14 AND 18 ORDER BY id FOR UPDATE SKIP LOCKED'), '(15) (16) (18)', 'these are free');
SELECT is(run('a', 'ROLLBACK'), 'ok', 'all free');
SELECT throws_ok('SELECT count(*) FROM t FOR UPDATE', '0A000', NULL, 'no row to lock');

-- locks survive and end with what locked them
SELECT is(run('a', 'BEGIN'), 'ok', 'a');
SELECT is(ask('a', 'SELECT id FROM t WHERE id = 18 FOR KEY SHARE'), '(18)', 'key share');
SELECT is(run('b', 'UPDATE t SET v = v + 1 WHERE id = 18'), 'ok', 'in-place update');
SELECT is(run('b', 'UPDATE t SET v = v + 1 WHERE id = 18'), 'ok', 'and again');
SELECT is(ask('b', 'SELECT v FROM t WHERE id = 18 FOR UPDATE NOWAIT'), '55P03', 'the lock has stayed with the row');
SELECT is(run('b', 'SET lock_timeout = ''20ms''; DELETE FROM t WHERE id = 18'), '55P03', 'no deletion');
SELECT is(run('a', 'COMMIT'), 'ok', 'a ends');
SELECT is(run('b', 'DELETE FROM t WHERE id = 18'), 'ok', 'deletion');
SELECT * FROM finish();
