#!/usr/bin/env python3
"""Operator classes of rowan_btree, and what core 15 refuses to an index that is not a btree.

Classes: one for each class of btree, in btree's families; adopted ones of extensions installed later; gone with
either extension; dumped and restored; in a second database.  Then errors: ON CONFLICT, foreign keys, constraints."""
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import check, say

OURS = "opcmethod = (SELECT oid FROM pg_am WHERE amname = 'rowan_btree')"
MISSING = """SELECT b.opcname, b.opcnamespace::regnamespace FROM pg_opclass b WHERE b.opcmethod = 403 AND NOT EXISTS (
    SELECT FROM pg_opclass c WHERE c.%s AND (c.opcname, c.opcnamespace, c.opcfamily, c.opcintype, c.opckeytype, c.opcdefault)
        = (b.opcname, b.opcnamespace, b.opcfamily, b.opcintype, b.opckeytype, b.opcdefault))""" % OURS


def equal(found, expected, what):
    check(found == expected, '%s: %s, expected %s' % (what, found, expected))


def refused(c, sql, sqlstate, word):
    r = c.try_(sql)
    check(r.error is not None, 'not refused: ' + sql)
    check(r.error.sqlstate == sqlstate and word in str(r.error), '%s: %s %s, expected %s and "%s"' % (
        sql, r.error.sqlstate, r.error, sqlstate, word))
    if c.in_transaction():
        c.exec('ROLLBACK')


def complete(c, what):
    equal(c.rows(MISSING), [], what + ': classes missing')
    bad = c.rows('SELECT opcname FROM pg_opclass WHERE %s AND NOT amvalidate(oid)' % OURS)
    equal(bad, [], what + ': invalid classes')


# ---- classes ----

def catalogs(server):
    with server.connect() as c:
        complete(c, 'CREATE EXTENSION')
        equal(c.one('SELECT count(*) FROM pg_opfamily WHERE opfmethod = (SELECT oid FROM pg_am WHERE amname = \'rowan_btree\')'),
              '0', 'families of our own')
        equal(c.one('SELECT count(*) FROM pg_opclass o WHERE %s AND NOT EXISTS (SELECT FROM pg_depend d, pg_extension e WHERE '
                    "classid = 'pg_opclass'::regclass AND objid = o.oid AND refobjid = e.oid AND deptype = 'e' AND extname = 'rowan')" % OURS),
              '0', 'classes that are not of the extension')
        equal(c.one('SELECT rowan.adopt_operator_classes()'), '0', 'nothing to adopt')
        equal(c.rows("SELECT proname FROM pg_proc p WHERE pronamespace = 'rowan'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL"),
              [], 'functions without comment')
        equal(c.one("SELECT count(*) FROM pg_am WHERE amname LIKE 'rowan%' AND obj_description(oid, 'pg_am') IS NULL"), '0',
              'access methods without comment')
        c.exec('CREATE ROLE someone')
        c.exec('SET ROLE someone')
        refused(c, 'SELECT rowan.adopt_operator_classes()', '42501', 'permission denied')
        refused(c, 'CREATE OPERATOR CLASS x FOR TYPE int USING rowan_btree FAMILY pg_catalog.integer_ops AS STORAGE int', '42501', 'superuser')
        c.exec('RESET ROLE; DROP ROLE someone')


def by_hand(server):
    """CREATE OPERATOR CLASS, in the form that pg_dump prints, and with a family of its own."""
    create = 'CREATE OPERATOR CLASS %s FOR TYPE int USING rowan_btree FAMILY pg_catalog.integer_ops AS %s'
    with server.connect() as c:
        c.exec(create % ('public.mine', 'STORAGE int'))
        c.exec(create % ('public.mine', 'STORAGE int'))        # a notice
        refused(c, create % ('public.mine DEFAULT', 'STORAGE int'), '42710', 'already exists')
        refused(c, create % ('public.other DEFAULT', 'STORAGE int'), '42710', 'default')
        refused(c, create % ('public.other', 'STORAGE text'), '42P17', 'storage type')
        refused(c, create % ('public.other', 'OPERATOR 1 <'), '42P17', 'cannot add operators')
        refused(c, create.replace('integer_ops', 'text_ops') % ('public.other', 'STORAGE int'), '42P17', 'does not support')
        refused(c, create.replace('integer_ops', 'nothing') % ('public.other', 'STORAGE int'), '42704', 'does not exist')
        refused(c, 'BEGIN READ ONLY; ' + create % ('public.other', 'STORAGE int'), '25006', 'read-only')
        c.exec('CREATE TABLE t (a int); CREATE INDEX ON t USING rowan_btree (a mine)')
        refused(c, 'DROP OPERATOR CLASS mine USING rowan_btree', '2BP01', 'depend')
        c.exec('DROP TABLE t; DROP OPERATOR CLASS mine USING rowan_btree')
        c.exec('CREATE OPERATOR CLASS reverse FOR TYPE int USING rowan_btree AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, '
               'OPERATOR 5 <, FUNCTION 1 int4_down(int, int)'.replace('CREATE', """CREATE FUNCTION int4_down(int, int) RETURNS int LANGUAGE sql
               IMMUTABLE STRICT AS 'SELECT btint4cmp($2, $1)'; CREATE""", 1))
        c.exec('CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 100); CREATE INDEX ON t USING rowan_btree (a reverse)')
        c.exec('SET enable_seqscan = off; SET enable_sort = off')
        equal(c.rows('SELECT a FROM t WHERE a < 5 ORDER BY a USING >'), [('4',), ('3',), ('2',), ('1',)], 'a class with its own family')
        c.exec('DROP TABLE t; DROP OPERATOR FAMILY reverse USING rowan_btree; DROP FUNCTION int4_down')


def adoption(server):
    """Extensions installed later, and before."""
    with server.connect() as c:
        c.exec('CREATE EXTENSION citext; CREATE EXTENSION ltree')
        complete(c, 'CREATE EXTENSION citext')
        # otherwise it would be taken for text, which is in another order
        c.exec('DROP OPERATOR CLASS citext_ops USING rowan_btree; DROP OPERATOR CLASS ltree_ops USING rowan_btree')
        c.exec('CREATE TABLE t (a citext, b ltree)')
        refused(c, 'CREATE INDEX ON t USING rowan_btree (b)', '42704', 'adopt_operator_classes')
        equal(c.one('SELECT rowan.adopt_operator_classes()'), '2', 'adopted')
        complete(c, 'adoption')
        c.exec('CREATE UNIQUE INDEX ON t USING rowan_btree (a, b); DROP INDEX t_a_b_idx; CREATE INDEX ON t USING rowan_btree (a)')
        c.exec("INSERT INTO t VALUES ('b'), ('A'), ('a'), ('C'); SET enable_seqscan = off; SET enable_sort = off")
        equal(c.rows("SELECT a FROM t WHERE a = 'A' ORDER BY a::text COLLATE \"C\""), [('A',), ('a',)], 'citext')
        refused(c, 'DROP EXTENSION citext', '2BP01', 'depend')
        refused(c, 'DROP EXTENSION rowan', '2BP01', 'depend')
        c.exec('DROP TABLE t')
        # without anybody who uses them, classes go with their extension
        c.exec('BEGIN; DROP EXTENSION citext; DROP EXTENSION ltree')
        complete(c, 'DROP EXTENSION citext')
        equal(c.one('SELECT count(*) FROM pg_opclass WHERE %s AND opcname ~ \'citext|ltree\'' % OURS), '0', 'classes of dropped extensions')
        c.exec('ROLLBACK; BEGIN; DROP EXTENSION rowan')
        equal(c.one("SELECT count(*) FROM pg_opclass o WHERE NOT EXISTS (SELECT FROM pg_am a WHERE a.oid = o.opcmethod)"), '0', 'orphans')
        equal(c.one("SELECT count(*) FROM pg_depend d WHERE classid = 'pg_opclass'::regclass AND NOT EXISTS "
                    '(SELECT FROM pg_opclass o WHERE o.oid = d.objid)'), '0', 'dangling dependencies')
        equal(c.one("SELECT extname FROM pg_extension WHERE extname = 'citext'"), 'citext', 'citext is untouched')
        c.exec('CREATE EXTENSION rowan')
        complete(c, 'CREATE EXTENSION after citext')
        c.exec('DROP EXTENSION citext')
        complete(c, 'DROP EXTENSION citext after CREATE EXTENSION rowan')
        c.exec('ROLLBACK')


def dump(server):
    """A database with adopted classes, dumped and restored; and again from the copy."""
    for n in ('source', 'target'):
        server.sql('CREATE DATABASE ' + n)
    with server.connect('source') as c:
        c.exec('CREATE EXTENSION rowan; CREATE EXTENSION citext; CREATE SCHEMA elsewhere')
        c.exec('SELECT rowan.adopt_operator_classes()')
        c.exec('CREATE TABLE t (a citext, b text, c int, d name, e varchar(10)) USING heap')
        c.exec("INSERT INTO t SELECT 'x' || i, 'Y' || i, i, 'n' || i, i FROM generate_series(1, 1000) i")
        c.exec('CREATE INDEX i1 ON t USING rowan_btree (a, b text_pattern_ops DESC NULLS LAST) INCLUDE (c) WITH (fillfactor = 70) WHERE c > 0')
        c.exec('CREATE UNIQUE INDEX i2 ON t USING rowan_btree (c, lower(b) COLLATE "C")')
        c.exec('CREATE INDEX i3 ON t USING rowan_btree (d, e, b varchar_pattern_ops)')
        c.exec('CREATE OPERATOR CLASS elsewhere.mine FOR TYPE int USING rowan_btree FAMILY pg_catalog.integer_ops AS STORAGE int')
        c.exec('CREATE INDEX i4 ON t USING rowan_btree (c elsewhere.mine)')
        c.exec('CLUSTER t USING i2')
    first = server.run_tool('pg_dump', '-h', server.dir, '-U', 'postgres', 'source')
    server.psql(first, db='target')
    with server.connect('target') as c:
        complete(c, 'restored database')
        c.exec('SET enable_seqscan = off')
        equal(c.one("SELECT c FROM t WHERE a = 'X77' AND c > 0"), '77', 'restored index')
    second = server.run_tool('pg_dump', '-h', server.dir, '-U', 'postgres', 'target')
    check(body(first) == body(second), 'the dump of the restored database differs')
    upgrade = server.run_tool('pg_dump', '-h', server.dir, '-U', 'postgres', '--binary-upgrade', '-s', 'source')
    check('CREATE OPERATOR CLASS "pg_catalog"."int4_ops"\n    DEFAULT FOR TYPE integer USING "rowan_btree" FAMILY "pg_catalog"."integer_ops" AS\n    STORAGE integer;'
          .replace('"', '') in upgrade.replace('"', ''), 'pg_upgrade would not make the classes')
    for n in ('source', 'target'):
        server.sql('DROP DATABASE ' + n)


def body(text):
    return [x for x in text.split('\n') if not x.startswith(('--', '\\restrict', '\\unrestrict'))]


# ---- planning: what the families are for ----

def planning(server):
    with server.connect() as c:
        c.exec('CREATE TABLE a (x int, t text); CREATE TABLE b (x int, y int); INSERT INTO a SELECT i, i FROM generate_series(1, 3000) i; '
               'INSERT INTO b SELECT i, i FROM generate_series(1, 3000) i; CREATE UNIQUE INDEX ON b USING rowan_btree (x); '
               'CREATE INDEX ON a USING rowan_btree (x); CREATE INDEX a_t ON a USING rowan_btree (t text_pattern_ops)')
        c.exec('VACUUM ANALYZE a')
        c.exec('VACUUM ANALYZE b')

        def plan(q, *words, without=()):
            text = '\n'.join(r[0] for r in c.rows('EXPLAIN (COSTS off) ' + q))
            for w in words:
                check(w in text, 'no "%s" in the plan of %s:\n%s' % (w, q, text))
            for w in without:
                check(w not in text, '"%s" in the plan of %s:\n%s' % (w, q, text))
        plan('SELECT a.* FROM a LEFT JOIN b USING (x)', without=('Join', 'b_x_idx'))
        plan('SELECT min(x), max(x) FROM b', 'Limit', 'b_x_idx')
        plan('SELECT * FROM b ORDER BY x LIMIT 3', 'b_x_idx', without=('Sort',))
        plan('SELECT * FROM b ORDER BY x DESC LIMIT 3', 'Backward', without=('Sort',))
        plan("SELECT * FROM a WHERE t LIKE '77%'", 'a_t', "~>=~ '77'")
        plan('SELECT * FROM b WHERE x IN (1, 5, 7)', 'b_x_idx', 'ANY')
        plan('SELECT * FROM b WHERE x IS NULL', 'b_x_idx')
        plan('SELECT * FROM b WHERE x = 7::bigint', 'b_x_idx', 'Index Cond')
        plan('SELECT * FROM b WHERE (x, y) > (700, 3) ORDER BY x LIMIT 3', 'Index Cond: (x >= 700)', 'Filter: (ROW(x, y) >')
        plan('SELECT * FROM b WHERE (x, y) < (70, 3) AND y > 1', 'b_x_idx', '(x <= 70)', '(y > 1)')
        plan("SELECT * FROM b WHERE (x, y) >= (2990::bigint, 3)", 'b_x_idx', "(x >= '2990'::bigint)")
        for op, n in (('>', 100), ('>=', 101), ('<', 2899), ('<=', 2900)):
            equal(c.one('SELECT count(*) FROM b WHERE (x, y) %s (2900, 2900)' % op), str(n), 'row comparison')
            equal(c.one('SELECT count(*) FROM b WHERE (2900, 2900) %s (x, y)' % {'>': '<', '<': '>', '>=': '<=', '<=': '>='}[op]), str(n), 'row comparison')
        equal(c.one('SELECT count(*) FROM b WHERE (x, y) > (NULL, 1)'), '0', 'row comparison with NULL')
        c.exec('SET enable_hashjoin = off; SET enable_nestloop = off; SET enable_sort = off; SET enable_hashagg = off')
        plan('SELECT * FROM a JOIN b USING (x)', 'Merge Join', 'b_x_idx', 'a_x_idx')
        plan('SELECT DISTINCT x FROM b', 'b_x_idx', 'Unique', without=('Sort',))
        c.exec('RESET ALL; DROP TABLE a, b')


# ---- row comparisons ----

ROWS = """
CREATE TABLE rows (a int, b bigint, c text COLLATE "C", d numeric, v int);
INSERT INTO rows SELECT nullif(i / 1000, 2), nullif(i * 7 % 1000, 13), 'c' || i % 5, nullif(i % 3, 0), i FROM generate_series(1, 4000) i;
CREATE INDEX rows_up ON rows USING rowan_btree (a, b, c, d);
CREATE INDEX rows_down ON rows USING rowan_btree (a DESC, b DESC NULLS LAST, c DESC) WHERE v > 0;
CREATE INDEX rows_mixed ON rows USING rowan_btree (a, c DESC, b) WHERE v > 1;
CREATE INDEX rows_other ON rows USING rowan_btree (b, (d + 1), a);
ANALYZE rows;
PREPARE rows_p (int, bigint, text) AS SELECT count(*), sum(v), min(b), max(c) FROM rows WHERE (a, b, c) > ($1, $2, $3) AND v > 0;
PREPARE rows_q (bigint, bigint) AS SELECT count(*), sum(v) FROM rows WHERE (a, b) <= ($1 % 4, $2) AND c > 'c1';
"""
ROW_COLUMNS = [('a', lambda r: str(r.randrange(-1, 5))), ('b', lambda r: r.choice(['%d', '%d::bigint', '%d::smallint']) % r.randrange(-5, 1005)),
               ('c', lambda r: "'c%d'" % r.randrange(6)), ('d', lambda r: str(r.randrange(4)))]


def removed_by_filter(c, query):
    plan = '\n'.join(r[0] for r in c.rows('EXPLAIN (ANALYZE, COSTS off, TIMING off) ' + query))
    check('Index' in plan and 'Filter: (ROW(' in plan, plan)
    return sum(int(x) for x in re.findall('Rows Removed by Filter: ([0-9]+)', plan))


def row_comparisons(server):
    """Through the index as without; and a scan begins where the whole comparison says."""
    rnd = random.Random(5)
    with server.connect() as c:
        c.exec(ROWS)
        queries = []
        for _ in range(250):
            members = rnd.choice([('a', 'b'), ('a', 'b', 'c'), ('a', 'b', 'c', 'd'), ('a', 'c'), ('a', 'c', 'b'), ('b', 'a'), ('a', 'd'), ('b', 'd')])
            values = [rnd.random() < 0.05 and 'NULL' or dict(ROW_COLUMNS)[m](rnd) for m in members]
            q = '(%s) %s (%s)' % (', '.join(members), rnd.choice(['<', '<=', '>', '>=']), ', '.join(values))
            if rnd.random() < 0.3:
                q += rnd.choice([' AND a = 1', ' AND a > 0', ' AND b < 500', ' AND c IN (\'c1\', \'c3\')', ' AND a IS NOT NULL', ' AND (a, b) < (3, 20)'])
            queries.append("SELECT count(*), sum(v), min(b), max(c) FROM rows WHERE %s%s" % (q, rnd.choice(['', ' AND v > 0', ' AND v > 1'])))
            queries.append('SELECT count(*), sum(a), min(b), max(c) FROM rows WHERE ' + q)
        queries += ['EXECUTE rows_p (%d, %d, \'c%d\')' % (rnd.randrange(4), rnd.randrange(1000), rnd.randrange(5)) for _ in range(12)]
        queries += ['EXECUTE rows_q (%d, %d)' % (rnd.randrange(4), rnd.randrange(1000)) for _ in range(12)]
        # the comparison's arguments come from outside the scan
        queries += ['SELECT (SELECT count(*) FROM rows r WHERE (r.a, r.b) > (x, %d) AND r.v > 0) FROM generate_series(0, 3) x' % rnd.randrange(1000) for _ in range(3)]
        c.exec('SET plan_cache_mode = force_generic_plan; SET enable_bitmapscan = off')
        for q in queries:
            answers = []
            for setting in ('SET LOCAL enable_seqscan = off', 'SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off'):
                c.exec('BEGIN; ' + setting)
                answers.append(c.rows(q))
                c.exec('COMMIT')
            equal(answers[0], answers[1], q)
        c.exec('SET enable_seqscan = off')
        for q, most in (('SELECT v FROM rows WHERE (a, b) > (1, 990) ORDER BY a, b LIMIT 5', 1), ('SELECT v FROM rows WHERE (a, b) < (1, 10) ORDER BY a DESC, b DESC LIMIT 5', 1),
                        ('SELECT a, b, c FROM rows WHERE (a, b, c) >= (3, 985, \'c1\') ORDER BY a, b, c', 1),
                        ('EXECUTE rows_p (3, 900, \'c1\')', 1), ('EXECUTE rows_q (0, 5)', 1)):
            check(removed_by_filter(c, q) <= most, '%d rows read in vain: %s' % (removed_by_filter(c, q), q))
        c.exec('DEALLOCATE ALL; DROP TABLE rows; RESET ALL')


# ---- what core refuses ----

def conflict_clauses(server):
    with server.connect() as c:
        c.exec('CREATE TABLE t (a int PRIMARY KEY, b int); CREATE UNIQUE INDEX t_b ON t USING rowan_btree (b); INSERT INTO t VALUES (1, 1)')
        for q in ('INSERT INTO t VALUES (1, 1) ON CONFLICT DO NOTHING',
                  'INSERT INTO t VALUES (1, 1) ON CONFLICT (a) DO UPDATE SET b = 2',
                  'INSERT INTO t VALUES (1, 1) ON CONFLICT (b) DO NOTHING',
                  'EXPLAIN INSERT INTO t VALUES (1, 1) ON CONFLICT (b) DO NOTHING',
                  'WITH w AS (INSERT INTO t VALUES (1, 1) ON CONFLICT DO NOTHING RETURNING a) SELECT * FROM w',
                  "DO $$BEGIN INSERT INTO t VALUES (1, 1) ON CONFLICT DO NOTHING; END$$"):
            refused(c, q, '0A000', 'ON CONFLICT')
            refused(c, q, '0A000', 'HINT')
        c.exec('CREATE VIEW v AS SELECT * FROM t')
        refused(c, 'INSERT INTO v VALUES (1, 1) ON CONFLICT DO NOTHING', '0A000', 'ON CONFLICT')
        refused(c, 'INSERT INTO t VALUES (2, 1)', '23505', 't_b')
        c.exec('INSERT INTO t VALUES (2, 2); MERGE INTO t USING (VALUES (2), (3)) s (b) ON t.b = s.b WHEN MATCHED THEN DELETE '
               'WHEN NOT MATCHED THEN INSERT VALUES (s.b, s.b)')
        equal(c.rows('SELECT a, b FROM t ORDER BY a'), [('1', '1'), ('3', '3')], 'MERGE')
        c.exec('DROP INDEX t_b; CREATE INDEX ON t USING rowan_btree (b)')
        c.exec('INSERT INTO t VALUES (1, 1) ON CONFLICT (a) DO UPDATE SET b = 2')      # not unique: allowed
        c.exec('DROP VIEW v; DROP TABLE t')
        c.exec('CREATE TABLE p (a int, b int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); '
               'CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2); CREATE UNIQUE INDEX ON p2 USING rowan_btree (b)')
        c.exec('INSERT INTO p VALUES (1, 1) ON CONFLICT DO NOTHING')
        refused(c, 'INSERT INTO p VALUES (2, 1) ON CONFLICT DO NOTHING', '0A000', 'ON CONFLICT')
        refused(c, 'WITH w AS (INSERT INTO p VALUES (2, 1) ON CONFLICT DO NOTHING RETURNING 1) SELECT * FROM w', '0A000', 'ON CONFLICT')
        refused(c, 'CREATE UNIQUE INDEX ON p USING rowan_btree (a)', '0A000', 'cannot match partition key')
        c.exec('INSERT INTO p VALUES (2, 1)')
        c.exec('DROP TABLE p')


def constraints(server):
    with server.connect() as c:
        c.exec('CREATE TABLE t (a int NOT NULL, b int); CREATE UNIQUE INDEX t_a ON t USING rowan_btree (a)')
        refused(c, 'ALTER TABLE t ADD PRIMARY KEY USING INDEX t_a', '42809', 'not a btree')
        refused(c, 'ALTER TABLE t ADD UNIQUE USING INDEX t_a', '42809', 'not a btree')
        refused(c, 'CREATE TABLE f (a int REFERENCES t (a))', '0A000', 'foreign key cannot refer')
        c.exec('CREATE TABLE f (a int)')
        refused(c, 'ALTER TABLE f ADD FOREIGN KEY (a) REFERENCES t (a)', '0A000', 'HINT')
        # with a primary key beside it
        c.exec('ALTER TABLE t ADD PRIMARY KEY (a)')
        refused(c, 'ALTER TABLE f ADD FOREIGN KEY (a) REFERENCES t (a)', '0A000', 'create it again')
        c.exec('ALTER TABLE f ADD FOREIGN KEY (a) REFERENCES t; ALTER TABLE f DROP CONSTRAINT f_a_fkey')
        c.exec('DROP INDEX t_a; CREATE UNIQUE INDEX t_a ON t USING rowan_btree (a); ALTER TABLE f ADD FOREIGN KEY (a) REFERENCES t (a)')
        c.exec('INSERT INTO t VALUES (1, 1)')
        refused(c, 'INSERT INTO f VALUES (2)', '23503', 'foreign key')
        c.exec('CREATE INDEX ON f USING rowan_btree (a); INSERT INTO f VALUES (1)')
        refused(c, 'DELETE FROM t', '23503', 'foreign key')
        # what works
        c.exec('CLUSTER t USING t_a; ALTER TABLE t REPLICA IDENTITY USING INDEX t_a; ALTER TABLE t REPLICA IDENTITY DEFAULT')
        c.exec('ALTER TABLE t ALTER a TYPE bigint; REINDEX TABLE t')
        c.exec('REINDEX TABLE CONCURRENTLY t')
        c.exec('CREATE TABLE like_t (LIKE t INCLUDING ALL)')
        equal(c.one("SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam "
                    "WHERE indrelid = 'like_t'::regclass AND amname = 'rowan_btree' AND indisunique"), '1', 'LIKE INCLUDING ALL')
        c.exec('CREATE TABLE e (a int, EXCLUDE USING rowan_btree (a WITH =)); INSERT INTO e VALUES (1), (2), (NULL), (NULL)')
        refused(c, 'INSERT INTO e VALUES (2)', '23P01', 'exclusion')
        c.exec('CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE UNIQUE INDEX ON m USING rowan_btree (a)')
        refused(c, 'REFRESH MATERIALIZED VIEW CONCURRENTLY m', '55000', 'unique index')
        c.exec('CREATE UNIQUE INDEX ON m (a); REFRESH MATERIALIZED VIEW CONCURRENTLY m; REFRESH MATERIALIZED VIEW m')
        c.exec('DROP MATERIALIZED VIEW m; DROP TABLE e, like_t, f, t')


def tablespaces(server):
    """Core would copy the file."""
    os.mkdir(server.dir + '/space')
    harness.own(server.dir + '/space')
    server.sql("CREATE TABLESPACE space LOCATION '%s/space'" % server.dir)
    with server.connect() as c:
        c.exec("CREATE TABLE t (a int, b text); CREATE UNIQUE INDEX t_a ON t USING rowan_btree (a); INSERT INTO t SELECT i, 'x' || i FROM generate_series(1, 5000) i; "
               'CREATE INDEX t_b ON t USING rowan_btree (b)')
        c.exec('ALTER INDEX t_a SET TABLESPACE space')
        c.exec('BEGIN; ALTER TABLE t_b SET TABLESPACE space; INSERT INTO t VALUES (6000, \'y\'); ROLLBACK')
        equal(c.rows("SELECT relname, spcname FROM pg_class c LEFT JOIN pg_tablespace s ON s.oid = reltablespace WHERE relname ~ '^t_[ab]$' ORDER BY 1"),
              [('t_a', 'space'), ('t_b', None)], 'tablespaces')
        refused(c, 'ALTER INDEX t_b SET TABLESPACE space, SET (fillfactor = 70)', '0A000', 'combined')
        refused(c, 'ALTER INDEX ALL IN TABLESPACE space SET TABLESPACE pg_default', '0A000', 't_a')
        refused(c, 'ALTER INDEX t_b SET TABLESPACE nowhere', '42704', 'nowhere')
        c.exec('INSERT INTO t VALUES (6000, \'y\'); CHECKPOINT; SET enable_seqscan = off; SET enable_bitmapscan = off')
        refused(c, 'INSERT INTO t VALUES (7, \'y\')', '23505', 't_a')
        equal(c.one('SELECT count(*) FROM t WHERE a > 0'), '5001', 'index in another tablespace')
        equal(c.one("SELECT count(*) FROM t WHERE b > ''"), '5001', 'index that came back')
    server.restart()
    with server.connect() as c:
        c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off')
        equal(c.one('SELECT count(*) FROM t WHERE a > 0'), '5001', 'index in another tablespace, after a restart')
        c.exec('ALTER INDEX t_a SET TABLESPACE pg_default; DROP TABLE t')
        c.exec('DROP TABLESPACE space')


def test(options):
    server = cluster.make('classes')
    for part in (catalogs, by_hand, adoption, dump, planning, row_comparisons, conflict_clauses, constraints, tablespaces):
        part(server)
        say('%s: ok' % part.__name__)
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
