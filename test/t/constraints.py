#!/usr/bin/env python3
"""PRIMARY KEY and UNIQUE constraints on rowan_btree: WITH (rowan_btree).

* the same statements on heap tables with btree and on Rowan tables with such keys give the same
  rows, counts and errors: ON CONFLICT, foreign keys in both roles, deferrable keys, NULLS NOT
  DISTINCT, INCLUDE, partitions, replica identity, REFRESH CONCURRENTLY, ALTER TABLE, exclusion by
  equality, CLUSTER
* the parameter is where the index is ours and nowhere else, whatever made the constraint
* what cannot be done is refused with a hint
* a catalog that names btree for a file of ours is an error before anything is changed
* rowan.default_key_access_method is for keys that CREATE TABLE makes, and the schema says it
* dumped and restored, each key has the method it had, whatever the setting there
* apply workers find rows by such keys
* before 18 the same text makes btree indexes, with a notice

Runs on the server under test and, if that is older, on a cassert build of 18 that is there.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import ENGINE, check, say, wait_for

KEY = 'rowan_btree' if ENGINE else 'deduplicate_items = on'

# {key}: the parameter; {am}: of tables; {index}: of indexes that say it
STATEMENTS = [
    # column and table constraints, and what ON CONFLICT does with them
    """CREATE TABLE t (id int PRIMARY KEY WITH ({key}), u text UNIQUE WITH ({key}, fillfactor = 70),
       a int, b int, v int DEFAULT 0,
       CONSTRAINT t_ab UNIQUE (a, b) INCLUDE (v) WITH ({key})) USING {am}""",
    "INSERT INTO t SELECT g, 'u' || g, g % 10, g FROM generate_series(1, 500) g",
    "INSERT INTO t VALUES (7, 'new', -1, -1)",
    "INSERT INTO t VALUES (-7, 'u7', -1, -1)",
    "INSERT INTO t VALUES (-7, 'new', 7, 7)",
    "INSERT INTO t SELECT g, 'u' || g, g % 10, g FROM generate_series(450, 550) g "
    "ON CONFLICT DO NOTHING",
    "INSERT INTO t SELECT g, 'u' || g, g % 10, g FROM generate_series(540, 560) g "
    "ON CONFLICT (id) DO UPDATE SET v = t.v + excluded.id RETURNING id, v",
    "INSERT INTO t VALUES (9, 'u3', 1, 1000) ON CONFLICT (u) DO UPDATE SET v = -1",
    "INSERT INTO t VALUES (1003, 'u3', 1, 1000) ON CONFLICT (u) DO UPDATE SET v = -1 RETURNING *",
    "INSERT INTO t VALUES (1003, 'u1003', 3, 3) ON CONFLICT ON CONSTRAINT t_ab DO UPDATE SET v = 5 "
    "WHERE t.v = 0 RETURNING *",
    "INSERT INTO t VALUES (1003, 'u1003', 3, 3) ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING",
    "INSERT INTO t VALUES (2000, 'x', 0, 0), (2000, 'y', 1, 0) "
    "ON CONFLICT (id) DO UPDATE SET v = 1",
    "INSERT INTO t VALUES (1, 'z', 0, 0) ON CONFLICT (v) DO NOTHING",
    "UPDATE t SET id = id + 1 WHERE id = 1",
    "UPDATE t SET id = -id WHERE id < 10 RETURNING id",
    "MERGE INTO t USING (SELECT generate_series(-3, 3) AS g) s ON t.id = s.g "
    "WHEN MATCHED THEN UPDATE SET v = 9 WHEN NOT MATCHED THEN INSERT (id, a, b) VALUES (g, g, g)",
    # NULLs
    "CREATE TABLE n (k int, m int, UNIQUE (k) WITH ({key}), "
    "UNIQUE NULLS NOT DISTINCT (m) WITH ({key})) USING {am}",
    "INSERT INTO n VALUES (NULL, 1), (NULL, 2), (1, NULL)",
    "INSERT INTO n VALUES (2, NULL)",
    "INSERT INTO n VALUES (2, NULL) ON CONFLICT (m) DO UPDATE SET k = -1",
    "INSERT INTO n VALUES (NULL, 3) ON CONFLICT (k) DO NOTHING",
    # deferrable
    "CREATE TABLE d (id int, CONSTRAINT d_id UNIQUE (id) WITH ({key}) "
    "DEFERRABLE INITIALLY DEFERRED, x int, "
    "CONSTRAINT d_x UNIQUE (x) WITH ({key}) DEFERRABLE) USING {am}",
    "INSERT INTO d SELECT g, g FROM generate_series(1, 20) g",
    "UPDATE d SET x = x + 1",
    "BEGIN; UPDATE d SET id = id % 19 + 1; UPDATE d SET id = 20 WHERE id = 2 AND x = 21; COMMIT",
    "BEGIN; INSERT INTO d VALUES (3, 100); SET CONSTRAINTS d_id IMMEDIATE",
    "ROLLBACK",
    "BEGIN; INSERT INTO d VALUES (3, 100); DELETE FROM d WHERE x = 100; COMMIT",
    "INSERT INTO d VALUES (3, 100)",
    "INSERT INTO d VALUES (3, 3) ON CONFLICT (x) DO NOTHING",
    "INSERT INTO d VALUES (3, 100) ON CONFLICT DO NOTHING",
    # foreign keys, in both roles
    "CREATE TABLE child (id int PRIMARY KEY WITH ({key}), p int REFERENCES t ON DELETE CASCADE "
    "ON UPDATE CASCADE, q text REFERENCES t (u) ON DELETE SET NULL DEFERRABLE) USING {am}",
    "INSERT INTO child SELECT g, g, 'u' || g FROM generate_series(100, 200) g",
    "INSERT INTO child VALUES (1, 100000)",
    "INSERT INTO child VALUES (1, 100, 'nobody')",
    "UPDATE t SET id = id + 10000 WHERE id BETWEEN 100 AND 120",
    "DELETE FROM t WHERE id BETWEEN 10100 AND 10110",
    "SELECT count(*), sum(id), sum(p), count(q) FROM child",
    "CREATE TABLE self (id int PRIMARY KEY WITH ({key}), up int REFERENCES self) USING {am}",
    "INSERT INTO self VALUES (1, NULL), (2, 1), (3, 2)",
    "DELETE FROM self WHERE id = 1",
    "DELETE FROM self",
    "CREATE TABLE wide (a int, b int, PRIMARY KEY (b, a) WITH ({key})) USING {am}",
    "CREATE TABLE narrow (a int, b int, FOREIGN KEY (a, b) REFERENCES wide (a, b)) USING {am}",
    "INSERT INTO wide VALUES (1, 2); INSERT INTO narrow VALUES (1, 2)",
    "INSERT INTO narrow VALUES (2, 1)",
    "DROP TABLE wide",
    "ALTER TABLE wide DROP CONSTRAINT wide_pkey",
    # ALTER TABLE
    "ALTER TABLE n ADD COLUMN id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY WITH ({key})",
    "ALTER TABLE n ADD COLUMN o int, ADD UNIQUE (o) WITH ({key}), ADD UNIQUE (k, m) WITH ({key})",
    "ALTER TABLE n ADD UNIQUE (nothing) WITH ({key})",
    "ALTER TABLE n ADD PRIMARY KEY (o) WITH ({key})",
    "ALTER TABLE d ADD COLUMN one int DEFAULT 1, ADD CONSTRAINT d_one UNIQUE (one) WITH ({key})",
    "INSERT INTO n (k, o) VALUES (10, 1) ON CONFLICT (o) DO NOTHING",
    "INSERT INTO n (k, o) VALUES (11, 1) ON CONFLICT (o) DO UPDATE SET k = n.k + 100",
    "ALTER TABLE n RENAME CONSTRAINT n_k_m_key TO pair",
    "ALTER TABLE n DROP CONSTRAINT n_o_key",
    # columns of keys get other types: core makes the keys anew
    "CREATE TABLE y (id int PRIMARY KEY WITH ({key}), u varchar(10) CONSTRAINT uu UNIQUE "
    "WITH ({key}, fillfactor = 70), w int, v int, UNIQUE NULLS NOT DISTINCT (v) WITH ({key}), "
    "CONSTRAINT uw UNIQUE (w) INCLUDE (id) WITH ({key}) DEFERRABLE INITIALLY DEFERRED) USING {am}",
    "INSERT INTO y SELECT g, g, g, g FROM generate_series(1, 200) g",
    "CREATE TABLE of_y (id int REFERENCES y, u varchar(10) REFERENCES y (u)) USING {am}",
    "INSERT INTO of_y SELECT g, g FROM generate_series(1, 50) g",
    "COMMENT ON CONSTRAINT y_pkey ON y IS 'of a constraint'; "
    "COMMENT ON INDEX y_pkey IS 'of an index'",
    "ALTER TABLE y CLUSTER ON y_pkey, REPLICA IDENTITY USING INDEX y_pkey",
    "ALTER TABLE y ALTER id TYPE bigint",
    "SELECT conname, contype, condeferrable, condeferred, conislocal, coninhcount, connoinherit, "
    "relname, obj_description(n.oid, 'pg_constraint'), obj_description(c.oid, 'pg_class'), "
    "indisprimary, indimmediate, indisclustered, indisreplident, "
    "(SELECT count(*) FROM pg_trigger WHERE tgconstrindid = c.oid) FROM pg_constraint n "
    "JOIN pg_class c ON c.oid = conindid JOIN pg_index ON indexrelid = c.oid "
    "WHERE conrelid IN ('y'::regclass, 'of_y'::regclass) ORDER BY 1",
    "CREATE TEMP TABLE before AS SELECT pg_relation_filenode('uu') AS n",
    "ALTER TABLE y ALTER u TYPE varchar(20)",
    "SELECT n = pg_relation_filenode('uu') FROM before; DROP TABLE before",
    "ALTER TABLE y ALTER u TYPE text, ALTER w TYPE bigint, ALTER v TYPE numeric",
    "INSERT INTO y VALUES (5, 'x', -5, -5)",
    "INSERT INTO y VALUES (-5, '5', -5, -5)",
    "INSERT INTO y VALUES (-5, 'x', -5, 5)",
    "INSERT INTO y VALUES (-5, 'x', 5, -5)",
    "BEGIN; INSERT INTO y VALUES (-5, 'x', 5, -5); UPDATE y SET w = -5 WHERE id = -5; COMMIT",
    "DELETE FROM y WHERE id = 1",
    "INSERT INTO y VALUES (2, 'n', 0, 0) ON CONFLICT (id) DO UPDATE SET v = -1 RETURNING *",
    "ALTER TABLE y ALTER id TYPE int USING id % 3",
    "ALTER TABLE y ALTER id TYPE int, ADD PRIMARY KEY (v)",
    "ALTER TABLE y ALTER id TYPE int, ALTER id DROP NOT NULL",
    "BEGIN; ALTER TABLE y ALTER id TYPE int; INSERT INTO y VALUES (2); ROLLBACK",
    "ALTER TABLE y DROP CONSTRAINT uw, ALTER w TYPE int",
    "ALTER TABLE y DROP COLUMN v, ALTER u TYPE varchar",
    "ALTER TABLE y ALTER id TYPE int, ADD COLUMN x int UNIQUE WITH ({key})",
    "START TRANSACTION READ ONLY; ALTER TABLE y ALTER id TYPE bigint",
    "ROLLBACK",
    "ALTER TABLE y ALTER nothing TYPE bigint",
    "ALTER TABLE IF EXISTS nothing ALTER nothing TYPE bigint",
    "CREATE TABLE tree (a int, b int, c int, PRIMARY KEY (a, b) WITH ({key}), "
    "CONSTRAINT cba UNIQUE (c, b, a) INCLUDE (b) WITH ({key}) DEFERRABLE) PARTITION BY LIST (a)",
    "CREATE TABLE tree_1 PARTITION OF tree FOR VALUES IN (1) USING {am}",
    "CREATE TABLE tree_2 PARTITION OF tree FOR VALUES IN (2) PARTITION BY LIST (a)",
    "CREATE TABLE tree_2a PARTITION OF tree_2 FOR VALUES IN (2) USING {am}",
    "CREATE TABLE tree_3 (x int, c int, b int, a int, PRIMARY KEY (a, b) "
    "WITH ({key}), CONSTRAINT own UNIQUE (c) WITH ({key})) USING {am}",
    "ALTER TABLE tree_3 DROP COLUMN x; ALTER TABLE tree ATTACH PARTITION tree_3 FOR VALUES IN (3)",
    "CREATE TABLE of_tree (a int, b int, FOREIGN KEY (a, b) REFERENCES tree) USING {am}",
    "INSERT INTO tree SELECT 1 + g % 3, g, g FROM generate_series(1, 30) g",
    "INSERT INTO of_tree SELECT a, b FROM tree",
    "ALTER TABLE tree ALTER b TYPE bigint",
    "ALTER TABLE tree ALTER c TYPE text",
    "SELECT conrelid::regclass, conname, contype, conislocal, coninhcount, connoinherit, "
    "conparentid <> 0, conindid::regclass, indisprimary, indimmediate, indisvalid "
    "FROM pg_constraint JOIN pg_index ON indexrelid = conindid "
    "WHERE conrelid::regclass::text ~ '^(tree|y)' AND conname !~ 'fkey' ORDER BY 1, 2",
    "SELECT i.inhrelid::regclass, i.inhparent::regclass FROM pg_inherits i "
    "WHERE inhparent::regclass::text ~ '^(tree|cba)' ORDER BY 1, 2",
    "SELECT pg_describe_object(classid, objid, objsubid), "
    "pg_describe_object(refclassid, refobjid, refobjsubid), deptype FROM pg_depend "
    "WHERE refclassid <> 'pg_opclass'::regclass AND ((classid = 'pg_class'::regclass AND objid IN "
    "(SELECT indexrelid FROM pg_index WHERE indrelid::regclass::text ~ '^(tree|y)')) OR "
    "(classid = 'pg_constraint'::regclass AND objid IN (SELECT oid FROM pg_constraint "
    "WHERE conrelid::regclass::text ~ '^(tree|y)')))",
    "INSERT INTO tree VALUES (3, 2, 0)",
    "INSERT INTO tree VALUES (3, 2, 0) ON CONFLICT (b, a) DO UPDATE SET c = 'n' RETURNING *",
    "INSERT INTO of_tree VALUES (3, 3)",
    "ALTER TABLE tree_1 DROP CONSTRAINT tree_1_pkey",
    "ALTER TABLE of_tree DROP CONSTRAINT of_tree_a_b_fkey; ALTER TABLE tree DROP CONSTRAINT cba",
    "CREATE TABLE up (id int PRIMARY KEY WITH ({key})) USING {am}; "
    "CREATE TABLE down (UNIQUE (id) WITH ({key})) INHERITS (up) USING {am}",
    "ALTER TABLE up ALTER id TYPE bigint",
    "ALTER TABLE ONLY up ALTER id TYPE int",
    "CREATE TABLE generated (a int, b int GENERATED ALWAYS AS (a * 2) STORED UNIQUE "
    "WITH ({key})) USING {am}; INSERT INTO generated VALUES (1), (2)",
    # LIKE, inheritance
    "CREATE TABLE copy (LIKE t INCLUDING INDEXES) USING {am}",
    "INSERT INTO copy SELECT * FROM t; INSERT INTO copy SELECT * FROM t ON CONFLICT DO NOTHING",
    "CREATE TABLE copy_more (LIKE n INCLUDING ALL, UNIQUE (m, k) WITH ({key})) USING {am}",
    "CREATE TABLE heir (more int, PRIMARY KEY (id) WITH ({key})) INHERITS (t) USING {am}",
    "INSERT INTO heir (id) VALUES (3), (4)",
    "INSERT INTO heir (id) VALUES (3)",
    # partitions
    "CREATE TABLE parts (a int, b int, v int, PRIMARY KEY (a, b) WITH ({key})) "
    "PARTITION BY LIST (a)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1) USING {am}",
    "CREATE TABLE parts_2 PARTITION OF parts (UNIQUE (v) WITH ({key})) FOR VALUES IN (2) "
    "PARTITION BY RANGE (b)",
    "CREATE TABLE parts_2a PARTITION OF parts_2 FOR VALUES FROM (0) TO (10) USING {am}",
    "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2) PARTITION BY RANGE (b)",
    "CREATE TABLE parts_2a PARTITION OF parts_2 FOR VALUES FROM (0) TO (10) USING {am}",
    "CREATE TABLE parts_3 (a int NOT NULL, b int NOT NULL, v int) USING {am}",
    "ALTER TABLE parts ATTACH PARTITION parts_3 FOR VALUES IN (3)",
    "CREATE TABLE parts_4 (a int, b int, v int, CONSTRAINT four PRIMARY KEY (a, b) WITH ({key})) "
    "USING {am}",
    "ALTER TABLE parts ATTACH PARTITION parts_4 FOR VALUES IN (4)",
    "ALTER TABLE parts ADD UNIQUE (b, a) WITH ({key})",
    "INSERT INTO parts SELECT 1 + g % 4, g / 4, 0 FROM generate_series(0, 39) g",
    "INSERT INTO parts SELECT 1 + g % 4, g / 4, 0 FROM generate_series(20, 30) g "
    "ON CONFLICT (b, a) DO UPDATE SET v = excluded.a + excluded.b RETURNING *",
    "INSERT INTO parts VALUES (3, 3, 3)",
    "CREATE TABLE of_parts (a int, b int, FOREIGN KEY (a, b) REFERENCES parts) USING {am}",
    "INSERT INTO of_parts VALUES (2, 2), (4, 4)",
    "INSERT INTO of_parts VALUES (5, 2)",
    "DELETE FROM parts WHERE a = 4",
    "UPDATE parts SET a = 1, b = 100 WHERE a = 4 AND b = 5",
    "ALTER TABLE of_parts DROP CONSTRAINT of_parts_a_b_fkey",
    "ALTER TABLE parts DETACH PARTITION parts_3",
    "INSERT INTO parts_3 VALUES (3, 3, 3)",
    # replica identity, CLUSTER, materialized views
    "ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey",
    "ALTER TABLE copy REPLICA IDENTITY USING INDEX copy_u_key",
    "CLUSTER t USING t_pkey",
    "CREATE MATERIALIZED VIEW m USING {am} AS SELECT a, sum(v) FROM t GROUP BY a",
    "CREATE UNIQUE INDEX ON m USING {index} (a)",
    "UPDATE t SET v = v + 1 WHERE a = 3",
    "SELECT * FROM m ORDER BY a",
    # equality and order by the key
    "CREATE TABLE e (r int, s text, EXCLUDE USING {index} (r WITH =, s WITH =)) USING {am}",
    "INSERT INTO e VALUES (1, 'a'), (1, 'b'), (NULL, 'a'), (NULL, 'a')",
    "INSERT INTO e VALUES (1, 'a')",
    "INSERT INTO e VALUES (1, 'a') ON CONFLICT DO NOTHING",
    "SELECT * FROM parts WHERE (a, b) > (2, 5) ORDER BY a, b",
    "SELECT id, u, count(*) FROM t GROUP BY id ORDER BY id LIMIT 5",
    "SELECT count(*) FROM (SELECT DISTINCT id FROM t) x",
    "SELECT max(id), min(u) FROM t",
    "ALTER TABLE t SET ACCESS METHOD heap",
    "INSERT INTO t (id) VALUES (10111)",
    "ALTER TABLE t SET ACCESS METHOD {am}",
    "INSERT INTO t (id) VALUES (10111)",
    "VACUUM FULL t",
    "REINDEX TABLE t",
    "TRUNCATE e; INSERT INTO e VALUES (1, 'a')",
    "BEGIN; DROP TABLE copy; ROLLBACK",
]

# Each index of a constraint: its definition without the method, and that.
KEYS = """SELECT replace(pg_get_indexdef(i.indexrelid), current_schema || '.', ''), amname,
    array_to_string(c.reloptions, ',')
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
    JOIN pg_constraint n ON n.conindid = c.oid AND n.contype IN ('p', 'u')
    WHERE c.relnamespace = current_schema::regnamespace
    ORDER BY n.conrelid::regclass::text, conname"""


# from 18 on
WITH_ANY_UNIQUE_INDEX = ["UPDATE t SET v = v + 1 WHERE a = 4",
                         "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
                         "SELECT * FROM m ORDER BY a",
                         "ALTER TABLE generated ALTER b SET EXPRESSION AS (a * 3)",
                         "ALTER TABLE generated ALTER b SET EXPRESSION AS (1)",
                         "INSERT INTO generated VALUES (2)"]


def outcome(result):
    if result.error is None:
        return sorted(result.rows, key=str), result.count
    return result.error.sqlstate, result.error.primary or str(result.error)


class Side:
    def __init__(self, server, schema, **words):
        self.c, self.schema, self.words = server.connect(), schema, words
        self.c.exec('CREATE SCHEMA %s; SET search_path = %s, public' % (schema, schema))

    def run(self, statement):
        return outcome(self.c.try_(statement.format(**self.words)))

    def contents(self):
        tables = self.c.rows("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'm') AND "
                             "relnamespace = current_schema::regnamespace ORDER BY 1")
        return {t: self.c.rows('SELECT count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text))'
                               'FROM %s t' % t) for (t,) in tables}


def is_marked(options):
    return 'rowan_btree=true' in (options or '').split(',')


def check_methods(c, of, what):
    """The parameter and the method say the same, and are as expected."""
    rows = c.rows(KEYS)
    check(len(rows) > 5, '%s: no keys' % what)
    for definition, method, options in rows:
        check(method == of and is_marked(options) == (method == 'rowan_btree'),
              '%s: %s, %s, %s' % (what, definition, method, options))
    return rows


def plain_definitions(keys):
    """Without storage parameters, which differ."""
    return [re.sub(r" WITH \(.*\)", '', d) for d, _, _ in keys]


def same_on_both(server, expected):
    """expected: the method of our keys."""
    heap = Side(server, 'on_heap', key='deduplicate_items = on', am='heap', index='btree')
    ours = Side(server, 'on_ours', key=KEY, am=harness.AM,
                index='rowan_btree' if ENGINE else 'btree')
    for statement in STATEMENTS + WITH_ANY_UNIQUE_INDEX * (expected == 'rowan_btree'):
        a, b = heap.run(statement), ours.run(statement)
        check(a == b, '%s\non heap: %s\nhere: %s' % (statement, a, b))
    a, b = heap.contents(), ours.contents()
    check(len(a) > 10 and a == b, 'contents: %s\n%s' % (a, b))
    a = check_methods(heap.c, 'btree', 'on heap')
    b = check_methods(ours.c, expected, 'here')
    a, b = ([d.replace('rowan_btree', 'btree') for d in plain_definitions(x)] for x in (a, b))
    check(a == b, 'keys: %s\n%s' % (a, b))
    say('%d statements, %d keys' % (len(STATEMENTS), len(b)))
    return ours


# ---- the setting ----

def keys_of(c, *tables):
    return c.rows("SELECT conrelid::regclass, conname, amname FROM pg_constraint "
                  "JOIN pg_class c ON c.oid = conindid JOIN pg_am a ON a.oid = relam "
                  "WHERE contype IN ('p', 'u') AND conrelid IN (%s) ORDER BY 1, 2"
                  % ','.join("'%s'::regclass" % t for t in tables))


def default_method(server):
    """It is for keys of new Rowan tables, and only if CREATE TABLE makes them."""
    with server.connect() as c:
        c.exec('SET rowan.default_key_access_method = rowan_btree')
        c.exec('CREATE TABLE s1 (id int PRIMARY KEY, u int UNIQUE WITH (fillfactor = 50), '
               'w int UNIQUE WITH (rowan_btree = off), UNIQUE (u, w)) USING rowan;'
               'CREATE TABLE s2 (id int PRIMARY KEY, u int UNIQUE WITH (rowan_btree));'
               'CREATE TABLE s3 (id int) USING rowan; ALTER TABLE s3 ADD PRIMARY KEY (id);'
               'CREATE TABLE s4 (q int4range, r int4range, id int UNIQUE, '
               'PRIMARY KEY (q, r WITHOUT OVERLAPS)) '
               'USING rowan;'
               'CREATE TABLE s5 (id int, PRIMARY KEY (id)) PARTITION BY LIST (id) USING rowan;'
               'CREATE TABLE s5_1 PARTITION OF s5 (UNIQUE (id)) FOR VALUES IN (1);'
               'CREATE TABLE s7 (LIKE s2 INCLUDING INDEXES) USING rowan;'
               'SET default_table_access_method = rowan;'
               'CREATE TABLE s6 (id int PRIMARY KEY); CREATE TEMP TABLE s8 (id int UNIQUE);'
               'CREATE TABLE s9 (id int PRIMARY KEY) USING heap')
        found = {'%s %s' % (t, k): m for t, k, m in
                 keys_of(c, *('s%d' % n for n in range(1, 10)), 's5_1')}
        ours = {'s1 s1_pkey', 's1 s1_u_key', 's1 s1_u_w_key', 's2 s2_u_key', 's4 s4_id_key',
                's5 s5_pkey', 's5_1 s5_1_pkey', 's5_1 s5_1_id_key', 's6 s6_pkey', 's7 s7_u_key',
                's8 s8_id_key'}
        others = {'s1 s1_w_key': 'btree', 's2 s2_pkey': 'btree', 's3 s3_pkey': 'btree',
                  's4 s4_pkey': 'gist', 's7 s7_pkey': 'btree', 's9 s9_pkey': 'btree'}
        expected = dict({k: 'rowan_btree' for k in ours}, **others)
        check(found == expected, 'with the setting: %s' % (found.items() ^ expected.items()))
        rows = c.rows("SELECT relname FROM pg_class c JOIN pg_am a ON a.oid = relam "
                      "WHERE relname ~ '^s[0-9]_.*key$' AND (amname = 'rowan_btree') <> "
                      "('rowan_btree=true' = ANY (coalesce(reloptions, '{}')))")
        check(rows == [], 'the parameter and the method differ: %s' % rows)


# ---- dump and restore ----

def restored(server, how, dump, restore, options=()):
    """Into a new database with the setting or without it; its keys."""
    for setting in ('btree', 'rowan_btree'):
        db = 'restored_%s_%s' % (how, setting)
        server.sql('CREATE DATABASE %s TEMPLATE template0' % db)
        server.sql('ALTER DATABASE %s SET rowan.default_key_access_method = %s' % (db, setting))
        server.run_tool('pg_dump', *dump, '-f', '%s/%s' % (server.dir, db), 'dumped')
        server.run_tool(restore[0], *restore[1:], '-d', db, *options, '%s/%s' % (server.dir, db))
        yield db


def round_trip(server):
    server.sql('CREATE DATABASE dumped TEMPLATE template0')
    server.create_extension('dumped')
    with server.connect('dumped') as c:
        c.exec('CREATE SCHEMA on_ours; SET search_path = on_ours, public')
        for statement in STATEMENTS:
            c.try_(statement.format(key=KEY, am='rowan', index='rowan_btree'))
        c.exec('CREATE TABLE plain (id int PRIMARY KEY, u int UNIQUE) USING rowan;'
               'CREATE TABLE on_heap (id int PRIMARY KEY WITH (rowan_btree)) USING heap;'
               'CREATE UNLOGGED TABLE lost (id int PRIMARY KEY WITH (rowan_btree)) USING rowan')
        keys = c.rows(KEYS)
    methods = {k[1] for k in keys}
    check(methods == {'btree', 'rowan_btree'}, 'methods of keys: %s' % methods)
    script = ('psql', '-Xq', '-v', 'ON_ERROR_STOP=1')
    ways = [('plain', ('-Fp',), script, '-f'),
            ('custom', ('-Fc',), ('pg_restore', '-j2', '-e'), None),
            ('directory', ('-Fd', '-j2'), ('pg_restore', '-j2', '-e'), None)]
    for how, dump, restore, file in ways:
        for db in restored(server, how, dump, restore, (file,) if file else ()):
            with server.connect(db) as c:
                c.exec('SET search_path = on_ours, public')
                found = c.rows(KEYS)
            check(found == keys, '%s: %s' % (db, set(map(str, found)) ^ set(map(str, keys))))
            server.verify_indexes(db=db)
    # one table
    for db in restored(server, 'table', ('-Fp', '-t', 'on_ours.y', '-t', 'on_ours.plain'),
                       script, ('-c', 'CREATE SCHEMA on_ours; CREATE EXTENSION rowan', '-f')):
        with server.connect(db) as c:
            c.exec('SET search_path = on_ours, public')
            found = c.rows(KEYS)
        of = [k for k in keys if re.search(r' ON (y|plain) ', k[0])]
        check(found == of and len(of) > 3, '%s: %s\n%s' % (db, found, of))


# ---- a subscription ----

def replicated(server):
    """Apply workers find rows by such keys: the identity's, and any for identity FULL."""
    for db in ('publisher', 'subscriber'):
        server.sql('CREATE DATABASE %s TEMPLATE template0' % db)
        server.create_extension(db)
        server.sql('CREATE TABLE r (id int PRIMARY KEY WITH (rowan_btree), v int) USING rowan;'
                   'CREATE TABLE f (id int UNIQUE WITH (rowan_btree), v int) USING rowan', db)
    with server.connect('publisher') as c:
        c.exec("ALTER TABLE f REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR ALL TABLES")
        c.exec("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        server.sql("CREATE SUBSCRIPTION s CONNECTION 'host=%s port=5432 user=postgres "
                   "dbname=publisher' PUBLICATION p WITH (create_slot = false, copy_data = false)"
                   % server.dir, 'subscriber')
        for t in ('r', 'f'):
            c.exec('INSERT INTO %s SELECT g, 0 FROM generate_series(1, 300) g' % t)
            c.exec('UPDATE %s SET v = id WHERE id %% 3 = 0' % t)
            c.exec('UPDATE %s SET id = -id WHERE id %% 7 = 0' % t)
            c.exec('DELETE FROM %s WHERE id %% 5 = 0' % t)
    content = 'SELECT count(*), sum(id), sum(v) FROM %s'
    for t in ('r', 'f'):
        expected = server.sql(content % t, 'publisher')
        wait_for(lambda: server.sql(content % t, 'subscriber') == expected, 'rows of ' + t)
    scans = ("SELECT relname, idx_scan FROM pg_stat_user_tables WHERE relname IN ('r', 'f') "
             'AND idx_scan > 100')
    wait_for(lambda: len(server.sql(scans, 'subscriber')) == 2, 'scans of the indexes')
    server.sql('DROP SUBSCRIPTION s', 'subscriber')
    server.verify_indexes(db='subscriber')


def without_rowan(server):
    """The parameter is refused, not ignored."""
    server.stop()
    server.preload = ''
    server.write_conf()
    server.start()
    for statement in ('CREATE TABLE bare (id int PRIMARY KEY WITH (rowan_btree))',
                      'CREATE TABLE bare (id int); ALTER TABLE bare ADD UNIQUE (id) '
                      'WITH (rowan_btree)'):
        with server.connect() as c:
            r = c.try_(statement)
            check(r.error is not None and r.error.primary == 'unrecognized parameter "rowan_btree"',
                  '%s: %s' % (statement, r.error))


def refused(c, statement, sqlstate, hint):
    r = c.try_(statement)
    check(r.error is not None and r.error.sqlstate == sqlstate and hint in r.error.hint,
          '%s: %s, hint %s' % (statement, r.error, r.error and r.error.hint))


def refusals(server):
    with server.connect() as c:
        c.exec('CREATE TABLE r (id int PRIMARY KEY WITH (rowan_btree), v int) USING rowan')
        for statement in ('ALTER INDEX r_pkey RESET (rowan_btree)',
                          'ALTER INDEX r_pkey SET (fillfactor = 80, rowan_btree = off)',
                          'ALTER TABLE r_pkey RESET (rowan_btree)'):
            refused(c, statement, '0A000', 'Drop the constraint')
        c.exec('ALTER INDEX r_pkey SET (fillfactor = 80)')
        c.exec('CREATE UNIQUE INDEX r_v ON r USING rowan_btree (v)')
        refused(c, 'ALTER TABLE r ADD UNIQUE USING INDEX r_v', '42809', 'WITH (rowan_btree)')
        refused(c, 'CREATE TABLE w (a int4range, PRIMARY KEY (a WITHOUT OVERLAPS) '
                'WITH (rowan_btree))', '0A000', 'gist')
        for options in ('rowan_btree = maybe', 'rowan_btree = off, rowan_btree = maybe',
                        'rowan_btree, nothing', 'rowan_btree, fillfactor = 1',
                        'rowan_btree, rowan_btree'):
            r = c.try_('CREATE TABLE w (a int PRIMARY KEY WITH (%s))' % options)
            check(r.error is not None, options + ' is accepted')
        c.exec('CREATE TABLE w (a int PRIMARY KEY WITH (rowan_btree = off, fillfactor = 50), '
               'b int UNIQUE WITH (rowan_btree = 1))')
        rows = c.rows("SELECT amname, reloptions FROM pg_class c JOIN pg_am a ON a.oid = relam "
                      "WHERE relname ~ '^w_.*key$' ORDER BY relname")
        check(rows == [('rowan_btree', '{rowan_btree=1}'), ('btree', '{fillfactor=50}')],
              'keys of w: %s' % rows)
        c.exec('CREATE TABLE q (a int PRIMARY KEY WITH (rowan_btree)) PARTITION BY LIST (a);'
               'CREATE TABLE q1 (a int PRIMARY KEY)')
        refused(c, 'ALTER TABLE q ATTACH PARTITION q1 FOR VALUES IN (1)', '42P16', 'drop it first')
        c.exec('CREATE VIEW grouped AS SELECT id, v FROM r GROUP BY id')
        refused(c, 'ALTER TABLE r ALTER id TYPE bigint', '2BP01', 'CASCADE')
        c.exec('CREATE TYPE pair AS (a int, b int);'
               'CREATE TABLE typed OF pair (PRIMARY KEY (a) WITH (rowan_btree))')
        refused(c, 'ALTER TYPE pair ALTER ATTRIBUTE a TYPE bigint CASCADE', '22023',
                'drop the constraint')
        c.exec('CREATE DATABASE without TEMPLATE template0')
    with server.connect('without') as c:
        refused(c, 'CREATE TABLE r (id int PRIMARY KEY WITH (rowan_btree))', '42704',
                'CREATE EXTENSION')


def disagreement(server):
    """Whoever names btree for our file is told, and the file stays as it is."""
    with server.connect() as c:
        c.exec('CREATE TABLE x (id int PRIMARY KEY WITH (rowan_btree), v int) USING rowan;'
               'INSERT INTO x SELECT g, 0 FROM generate_series(1, 1000) g; CHECKPOINT')
        catalog = c.rows("SELECT relam, indclass FROM pg_class c JOIN pg_index i ON indexrelid = "
                         "c.oid WHERE relname = 'x_pkey'")[0]
        change = ("UPDATE pg_class SET relam = %s WHERE relname = 'x_pkey'; UPDATE pg_index "
                  "SET indclass = '%s' WHERE indexrelid = 'x_pkey'::regclass")
        c.exec(change % (403, '1978'))
    with open(server.path_of('x_pkey'), 'rb') as f:
        before = f.read()
    with server.connect() as c:
        for statement in ('SELECT * FROM x WHERE id = 1', 'INSERT INTO x VALUES (2, 2)',
                          'INSERT INTO x VALUES (2, 2) ON CONFLICT DO NOTHING', 'DELETE FROM x',
                          'UPDATE x SET id = 1', 'VACUUM x', 'SELECT max(id) FROM x',
                          'CREATE TABLE y (id int REFERENCES x); INSERT INTO y VALUES (3)'):
            refused(c, statement, '0A000', 'REINDEX')
        c.exec('CHECKPOINT')
    with open(server.path_of('x_pkey'), 'rb') as f:
        check(f.read() == before, 'the file was changed')
    with server.connect() as c:
        c.exec(change % catalog)
    server.sql('INSERT INTO x VALUES (2, 3) ON CONFLICT (id) DO UPDATE SET v = 9')
    check(server.sql('SELECT v FROM x WHERE id = 2') == [('9',)], 'the index, put right')


def notices(server):
    """Before 18: a notice for each, and btree."""
    with server.connect() as c:
        c.exec('CREATE TABLE old (id int PRIMARY KEY WITH (rowan_btree, fillfactor = 80), '
               'u int UNIQUE WITH (rowan_btree = off))')
        c.exec('ALTER TABLE old ADD UNIQUE (id, u) WITH (rowan_btree)')
        said = [n for n in c.notices if 'using access method "btree" instead of "rowan_btree"' in n]
        check(len(said) == 2, 'notices: %s' % list(c.notices))
        refused(c, 'SET rowan.default_key_access_method = rowan_btree', '22023', '')
        rows = c.rows("SELECT amname, reloptions FROM pg_class c JOIN pg_am a ON a.oid = relam "
                      "WHERE relname ~ '^old_.*key$' ORDER BY relname")
        check(rows == [('btree', None), ('btree', '{fillfactor=80}'), ('btree', None)],
              'keys of old: %s' % rows)


def run(origin):
    major = harness.major(origin)
    server = cluster.make('constraints', origin=origin, conf={'wal_level': 'logical'})
    ours = 'rowan_btree' if ENGINE and major >= 18 else 'btree'
    same_on_both(server, ours)
    if ENGINE and major >= 18:
        refusals(server)
        default_method(server)
        round_trip(server)
        replicated(server)
        disagreement(server)
    elif ENGINE:
        notices(server)
    server.verify()
    if ENGINE:
        without_rowan(server)
    server.check_log()
    server.stop()


def test(options):
    run(harness.BINDIR)
    newer = harness.cassert_directory(18) + '/pg/bin'
    if harness.major() < 18 and os.path.exists(newer):
        run(newer)


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
