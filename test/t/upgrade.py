#!/usr/bin/env python3
"""pg_upgrade, by copy and by link: the new server finds in Rowan tables and in indexes of rowan_btree what
was in them, can change them, and verify finds nothing.

The quick form upgrades the server under test to itself; --long goes from PostgreSQL 15 to 18, cassert builds
that test/core/get-postgres.sh makes.  --old and --new name the binaries of two other servers.
"""
import glob
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, Failure, check, say

INDEX_AM = 'rowan_btree' if ENGINE else 'btree'
KEY = 'rowan_btree' if ENGINE else 'deduplicate_items = on'     # ours from 18 on, else btree
METHODS = """SELECT c.relname, amname, reloptions FROM pg_class c JOIN pg_am a ON a.oid = c.relam
    WHERE relkind = 'i' AND c.oid > 16384 ORDER BY 1"""

# Rows of all ages: frozen, changed in place and moved, deleted, rolled back, locked by several.
FILL = [
    """CREATE TABLE plain (id int PRIMARY KEY, n int, s text, gone int) USING {am};
       INSERT INTO plain SELECT i, i % 100, md5(i::text), i FROM generate_series(1, 8000) i;
       CREATE INDEX plain_n ON plain USING {index} (n, id);
       CREATE UNIQUE INDEX plain_s ON plain USING {index} (s) INCLUDE (id);
       CREATE INDEX plain_expression ON plain USING {index} ((n * 2) DESC NULLS LAST) WHERE id % 2 = 0;
       CREATE INDEX plain_hash ON plain USING hash (s)""",
    'VACUUM (FREEZE, ANALYZE) plain',
    'UPDATE plain SET gone = -id WHERE id % 3 = 0',
    'UPDATE plain SET n = n + 1000 WHERE id % 5 = 0',
    'DELETE FROM plain WHERE id % 7 = 0',
    'BEGIN; UPDATE plain SET n = -1; INSERT INTO plain SELECT i, 0, i::text FROM generate_series(10001, 12000) i; ROLLBACK',
    'BEGIN; SAVEPOINT a; DELETE FROM plain WHERE id < 1000; ROLLBACK TO a; UPDATE plain SET gone = 0 WHERE id < 100; COMMIT',
    # columns dropped, and added with a value that rows do not have
    "ALTER TABLE plain DROP COLUMN gone; ALTER TABLE plain ADD COLUMN late text DEFAULT 'as it was'",
    """CREATE TABLE long_values (id int PRIMARY KEY, v text, w text) USING {am};
       ALTER TABLE long_values ALTER w SET STORAGE EXTERNAL;
       INSERT INTO long_values SELECT i, repeat(md5(i::text), i * 20), (SELECT string_agg(md5((i * j)::text), '')
           FROM generate_series(1, i) j) FROM generate_series(1, 200) i;
       UPDATE long_values SET v = v || 'x' WHERE id % 4 = 0; DELETE FROM long_values WHERE id % 9 = 0""",
    """CREATE TYPE pair AS (a int, b text);
       CREATE TABLE types (id int, a int[], b bytea, c numeric, d jsonb, e pair, f int4range, g inet, h uuid, i bit varying,
           j timestamptz, k interval, l "char", m name, n point) USING {am};
       INSERT INTO types SELECT i, ARRAY[i, NULL, i * 2], decode(md5(i::text), 'hex'), i * 1.5::numeric / 7, jsonb_build_object('i', i),
           ROW(i, i::text)::pair, int4range(i, i + 10), '10.0.0.1'::inet + i, md5(i::text)::uuid, (i::bit(10))::bit varying,
           '2020-01-01'::timestamptz + i * interval '1 hour', i * interval '1 day 1 second', 'x', 'n' || i, point(i, -i)
           FROM generate_series(1, 500) i;
       INSERT INTO types (id) SELECT i FROM generate_series(501, 600) i;
       CREATE INDEX types_numeric ON types USING {index} (c, d); CREATE INDEX types_range ON types USING gist (f)""",
    """CREATE TABLE parts (id int, k int) PARTITION BY RANGE (k);
       CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50) USING {am};
       CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (50) TO (100) USING {am};
       CREATE INDEX parts_k ON parts USING {index} (k);
       INSERT INTO parts SELECT i, i % 100 FROM generate_series(1, 2000) i; UPDATE parts SET k = 99 - k WHERE id % 10 = 0""",
    'CREATE MATERIALIZED VIEW summary USING {am} AS SELECT n, count(*) FROM plain GROUP BY n',
    'CREATE UNLOGGED TABLE unlogged (id int) USING {am}; INSERT INTO unlogged SELECT generate_series(1, 100)',
    """CREATE TABLE on_heap (id int, t text) USING heap; INSERT INTO on_heap SELECT i, chr(97 + i % 26) || i FROM generate_series(1, 3000) i;
       CREATE INDEX on_heap_t ON on_heap USING {index} (t); DELETE FROM on_heap WHERE id % 4 = 0""",
    """CREATE TABLE keyed (id int PRIMARY KEY WITH ({key}),
           u text UNIQUE WITH ({key}, fillfactor = 60), w int UNIQUE) USING {am};
       INSERT INTO keyed SELECT i, 'u' || i, -i FROM generate_series(1, 2000) i;
       DELETE FROM keyed WHERE id % 6 = 0""",
    'CREATE TABLE empty (id int) USING {am}; CREATE INDEX empty_id ON empty USING {index} (id)',
]
TABLES = ('plain', 'long_values', 'types', 'parts', 'summary', 'unlogged', 'on_heap', 'keyed',
          'empty')
FINGERPRINT = 'SELECT count(*), md5(string_agg(t::text, \',\' ORDER BY t::text COLLATE "C")) FROM {} t'

# By each index, and what the plan has to name.
QUERIES = {
    'plain_n': 'SELECT count(*), sum(id) FROM plain WHERE n BETWEEN 20 AND 30',
    'plain_s': "SELECT id, s FROM plain WHERE s >= 'f' ORDER BY s LIMIT 50",
    'plain_expression': 'SELECT sum(id) FROM plain WHERE id % 2 = 0 AND n * 2 > 150',
    'plain_hash': "SELECT id FROM plain WHERE s = md5('4711')",
    'types_numeric': 'SELECT count(*), sum(id) FROM types WHERE c < 50',
    'parts_1_k_idx': 'SELECT count(*), sum(id) FROM parts WHERE k = 7',
    'keyed_u_key': "SELECT id, w FROM keyed WHERE u = 'u1003'",
    'on_heap_t': "SELECT count(*), sum(id) FROM on_heap WHERE t LIKE 'b%' AND t >= 'b' AND t < 'c'",
}


def fill(server):
    for sql in FILL:
        server.sql(sql.format(am=AM, index=INDEX_AM, key=KEY))
    # a row that two transactions have locked
    with server.connect() as a, server.connect() as b:
        for c in (a, b):
            c.exec('BEGIN; SELECT 1 FROM plain WHERE id = 1 FOR SHARE')
        for c in (a, b):
            c.exec('COMMIT')


def contents(server):
    return dict({t: server.sql(FINGERPRINT.format(t)) for t in TABLES},
                methods=server.sql(METHODS))


def answers(server, by_index):
    """Of all queries; by_index: each by its index, and only by that."""
    found = {}
    with server.connect() as c:
        c.exec('SET enable_seqscan = %s; SET enable_indexscan = %s; SET enable_indexonlyscan = %s; SET enable_bitmapscan = %s' %
               (('off', 'on', 'on', 'off') if by_index else ('on', 'off', 'off', 'off')))
        for index, sql in QUERIES.items():
            plan = '\n'.join(r[0] for r in c.rows('EXPLAIN (COSTS OFF) ' + sql))
            check((index in plan) == by_index, 'the plan of %s:\n%s' % (sql, plan))
            found[index] = c.rows(sql)
    return found


def check_reads(server, before, when):
    after = contents(server)
    for t in before:
        check(after[t] == before[t], '%s %s: %s instead of %s' % (t, when, after[t], before[t]))
    check(answers(server, True) == answers(server, False), 'answers by indexes ' + when)
    server.verify()


def check_writes(server):
    """All goes on; the same is done to copies in heap tables."""
    for t in ('plain', 'long_values', 'types'):
        server.sql('CREATE TABLE %s_twin (LIKE %s INCLUDING DEFAULTS) USING heap; INSERT INTO %s_twin SELECT * FROM %s' % (t, t, t, t))
    for t in ('', '_twin'):
        server.sql("UPDATE plain{0} SET n = n + 1 WHERE id % 2 = 0; UPDATE plain{0} SET late = s WHERE id % 11 = 0; DELETE FROM plain{0} WHERE id % 13 = 0;"
                   "INSERT INTO plain{0} SELECT i, i, 'new ' || i FROM generate_series(20001, 23000) i;"
                   "UPDATE long_values{0} SET w = w || v WHERE id % 5 = 0; DELETE FROM types{0} WHERE id % 2 = 0".format(t))
    server.sql('BEGIN; DELETE FROM plain; ROLLBACK')
    for t in ('plain', 'long_values', 'types'):
        a, b = (server.sql(FINGERPRINT.format(x)) for x in (t, t + '_twin'))
        check(a == b, '%s after changes: %s, its twin %s' % (t, a, b))
    for t in TABLES:
        server.sql('VACUUM (ANALYZE) ' + t)
    server.verify()


def show_logs(server):
    for path in sorted(glob.glob(server.data + '/pg_upgrade_output.d/**/*', recursive=True)):
        if os.path.isfile(path) and os.path.getsize(path) > 0 and not path.endswith('.sql') and not path.endswith('.custom'):
            with open(path, errors='replace') as f:
                say('--- %s:\n%s' % (os.path.basename(path), f.read()[-2500:]))


def upgrade(old_bindir, new_bindir, link):
    name = '%d to %d by %s' % (harness.major(old_bindir), harness.major(new_bindir), 'link' if link else 'copy')
    old = cluster.make('old', origin=old_bindir)
    fill(old)
    before = contents(old)
    check_reads(old, before, 'before the upgrade')
    old.stop()
    old.check_log()
    new = cluster.Cluster('new', origin=new_bindir)
    try:
        new.run_tool('pg_upgrade', '-b', old.bindir, '-B', new.bindir, '-d', old.data, '-D', new.data, '-U', 'postgres',
                     '-s', new.dir, '--no-sync', *['--link'] * link, timeout=1800)
    except Failure:
        show_logs(new)
        raise
    new.start()
    check_reads(new, before, 'after the upgrade')
    check_writes(new)
    new.kill9()
    new.start()
    new.verify()
    new.stop()
    new.check_log()
    old.destroy()
    new.destroy()
    say('%s: %d tables the same' % (name, len(TABLES)))


def test(options):
    old, new = options.old or harness.BINDIR, options.new or harness.BINDIR
    if options.long and not (options.old or options.new):
        old, new = (harness.cassert_server(major) + '/pg/bin' for major in (15, 18))
    for link in (False, True):
        upgrade(old, new, link)


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--old', help='binaries of the server that is upgraded from')
    parser.add_argument('--new', help='binaries of the server that is upgraded to')
    harness.main(test, parser)
