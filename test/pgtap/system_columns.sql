-- ctid, xmin, xmax, cmin, cmax, tableoid; TID and TID-range scans; currtid.
SELECT * FROM no_plan();
CREATE TABLE t (id int PRIMARY KEY, k int, v int);
CREATE INDEX ON t (k);
INSERT INTO t SELECT i, i, 0 FROM generate_series(1, 1000) i;
SELECT is((SELECT count(DISTINCT ctid)::int FROM t), 1000, 'all different');
SELECT is((SELECT count(DISTINCT xmin::text)::int FROM t), 1, 'one transaction');
SELECT is((SELECT count(*)::int FROM t WHERE xmax <> 0), 0, 'nobody has touched them');
SELECT is((SELECT DISTINCT tableoid::regclass::text FROM t), 't', 'tableoid');
BEGIN;
SELECT is((SELECT count(*)::int FROM t WHERE xmin = pg_current_xact_id()::xid), 0, 'not mine');
INSERT INTO t VALUES (2000, 1, 1);
INSERT INTO t VALUES (2001, 1, 1);
UPDATE t SET v = 5 WHERE id = 2000;
UPDATE t SET v = 5 WHERE id = 1;
SELECT is((SELECT string_agg(id::text, ' ' ORDER BY id) FROM t WHERE xmin = pg_current_xact_id()::xid), '1 2000 2001', 'mine');
SELECT ok((SELECT a.cmin::text::int < b.cmin::text::int AND b.cmin::text::int < c.cmin::text::int FROM t a, t b, t c WHERE a.id = 2001 AND b.id = 2000 AND c.id = 1), 'cmin in order');
SELECT is((SELECT count(*)::int FROM t WHERE xmax <> 0), 0, 'current ones have no xmax');
SELECT id AS locked FROM t WHERE id = 5 FOR UPDATE \gset
SELECT is((SELECT xmax FROM t WHERE id = 5), pg_current_xact_id()::xid, 'xmax of a locked row');
DECLARE c CURSOR FOR SELECT id, xmax <> 0 AS x, cmax FROM t WHERE id = 7;
DELETE FROM t WHERE id = 7;
SELECT results_eq('SELECT xmax = pg_current_xact_id()::xid FROM t WHERE id = 5', ARRAY[true], 'still');
COMMIT;
SELECT ok(open_session('a') = 'OK', 'a session');
-- xmax seen by others
SELECT is(run('a', 'BEGIN; UPDATE t SET v = 9 WHERE id = 10; DELETE FROM t WHERE id = 11; UPDATE t SET k = 0 WHERE id = 12'), 'ok', 'three changes');
SELECT is((SELECT count(DISTINCT xmax::text)::int FROM t WHERE id IN (10, 11, 12) AND xmax <> 0), 1, 'xmax says by whom') ;
SELECT is((SELECT count(*)::int FROM t WHERE xmax::text = (SELECT x FROM dblink('a', 'SELECT pg_current_xact_id()::xid::text') AS d (x text))), 3, 'three of them');
SELECT is(run('a', 'ROLLBACK'), 'ok', 'undone');
SELECT is((SELECT count(*)::int FROM t WHERE id BETWEEN 10 AND 12 AND v = 0 AND k = id), 3, 'as before');

-- TID scans
SELECT is((SELECT id FROM t WHERE ctid = (SELECT ctid FROM t WHERE id = 500)), 500, 'by ctid');
SELECT ctid AS old FROM t WHERE id = 500 \gset
UPDATE t SET v = v + 1 WHERE id = 500;
SELECT is_empty(format('SELECT * FROM t WHERE ctid = %L', :'old'), 'the old ctid finds nothing after an update in place');
SELECT ctid AS new FROM t WHERE id = 500 \gset
SELECT isnt(:'new'::tid, :'old'::tid, 'it has another one');
SELECT is((SELECT v FROM t WHERE ctid = :'new'), 1, 'which finds it');
UPDATE t SET k = k + 1 WHERE id = 500;
SELECT is_empty(format('SELECT * FROM t WHERE ctid = %L', :'new'), 'nor after a moving one');
SELECT ctid AS newest FROM t WHERE id = 500 \gset
SELECT is(currtid2('t', :'new'::tid), :'newest'::tid, 'currtid finds the newest');
DELETE FROM t WHERE id = 500;
SELECT is_empty(format('SELECT * FROM t WHERE ctid = %L', :'newest'), 'nor after a deletion');
SELECT is((SELECT count(*)::int FROM t WHERE ctid = ANY (ARRAY(SELECT ctid FROM t WHERE id <= 10 OR id > 995))), (SELECT count(*)::int FROM t WHERE id <= 10 OR id > 995), 'ctid = ANY');
SELECT is((SELECT count(*)::int FROM t WHERE ctid IN ('(0,1)', '(99999,1)', '(4294967295,1)', '(0,0)')) <= 1, true, 'ctids that are nowhere');
SELECT lives_ok('UPDATE t SET v = 77 WHERE ctid = (SELECT ctid FROM t WHERE id = 501)', 'update by ctid');
SELECT lives_ok('DELETE FROM t WHERE ctid = (SELECT ctid FROM t WHERE id = 502)', 'delete by ctid');
SELECT is((SELECT count(*) || ' ' || sum(v) FROM t WHERE id IN (501, 502)), '1 77', 'done');
SELECT is((SELECT count(*)::int FROM t a JOIN t b ON a.ctid = b.ctid), (SELECT count(*)::int FROM t), 'a join by ctid');
DELETE FROM t a USING t b WHERE a.ctid < b.ctid AND a.id = b.id;
SELECT is((SELECT count(*)::int FROM t WHERE id = 600), 1, 'no duplicates');
CREATE TABLE dup (a int);
INSERT INTO dup SELECT i % 5 FROM generate_series(1, 50) i;
DELETE FROM dup x USING dup y WHERE x.a = y.a AND x.ctid > y.ctid;
SELECT is((SELECT count(*) || ' ' || sum(a) FROM dup), '5 10', 'duplicates removed by ctid');
-- ranges
SELECT ctid AS lo FROM t ORDER BY ctid OFFSET 100 LIMIT 1 \gset
SELECT ctid AS hi FROM t ORDER BY ctid OFFSET 800 LIMIT 1 \gset
SELECT is((SELECT count(*)::int FROM t WHERE ctid >= :'lo' AND ctid < :'hi'), 700, 'half open');
SELECT is((SELECT count(*)::int FROM t WHERE ctid > :'lo' AND ctid <= :'hi'), 700, 'the other half open');
SELECT is((SELECT count(*)::int FROM t WHERE ctid > :'lo' AND ctid < :'hi'), 699, 'open');
SELECT is((SELECT count(*)::int FROM t WHERE ctid >= :'lo' AND ctid <= :'hi'), 701, 'closed');
SELECT is((SELECT count(*)::int FROM t WHERE ctid < :'lo') + (SELECT count(*)::int FROM t WHERE ctid >= :'lo'), (SELECT count(*)::int FROM t), 'below and above');
SELECT is((SELECT count(*)::int FROM t WHERE ctid > '(99999,0)'), 0, 'beyond the end');
SELECT is((SELECT count(*)::int FROM t WHERE ctid < '(0,0)'), 0, 'before the beginning');
SELECT is((SELECT count(*)::int FROM t WHERE ctid > '(4294967295,65535)'), 0, 'the last there could be');
SELECT is((SELECT count(*)::int FROM t WHERE ctid >= '(0,0)' AND ctid <= '(4294967295,65535)'), (SELECT count(*)::int FROM t), 'all there could be');
SELECT is((SELECT count(*)::int FROM t WHERE ctid > :'hi' AND ctid < :'lo'), 0, 'an empty range');
SELECT results_eq(format('SELECT id FROM t WHERE ctid >= %L AND ctid < %L ORDER BY ctid DESC', :'lo', :'hi'),
  format('SELECT id FROM t WHERE id IN (SELECT id FROM t ORDER BY ctid OFFSET 100 LIMIT 700) ORDER BY ctid DESC'), 'same rows in both ways');
SELECT is((SELECT sum(n)::int FROM (SELECT count(*) n FROM generate_series(0, 20) b, LATERAL (SELECT FROM t WHERE ctid >= format('(%s,0)', b)::tid AND ctid < format('(%s,0)', b + 1)::tid) x) y), (SELECT count(*)::int FROM t), 'block by block, as parallel dumps do');
SELECT lives_ok(format('UPDATE t SET v = -5 WHERE ctid < %L', :'lo'), 'update of a range');
SELECT is((SELECT count(*)::int FROM t WHERE v = -5), 100, 'as many as there were');
-- RETURNING them
UPDATE t SET v = 6 WHERE id = 700 RETURNING ctid AS got \gset
SELECT is((SELECT ctid FROM t WHERE id = 700), :'got', 'RETURNING ctid of the new version');
UPDATE t SET k = 6 WHERE id = 700 RETURNING ctid AS got \gset
SELECT is((SELECT ctid FROM t WHERE id = 700), :'got', 'also of one that has moved');
INSERT INTO t VALUES (4000, 1, 1) RETURNING ctid AS got \gset
SELECT is((SELECT ctid FROM t WHERE id = 4000), :'got', 'and of a new one');
BEGIN;
INSERT INTO t VALUES (3000, 1, 1) RETURNING xmin = pg_current_xact_id()::xid AND xmax = 0 AS got \gset
SELECT is(:'got'::text, 't', 'INSERT RETURNING xmin, xmax');
ROLLBACK;
CREATE TABLE part (id int, v int) PARTITION BY LIST (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2);
INSERT INTO part VALUES (1), (2);
SELECT is((SELECT string_agg(tableoid::regclass::text, ' ' ORDER BY id) FROM part), 'part1 part2', 'tableoid of partitions');
UPDATE part SET id = 2 WHERE id = 1 RETURNING tableoid::regclass::text AS got \gset
SELECT is(:'got'::text, 'part2', 'of a row that moved');
SELECT * FROM finish();
