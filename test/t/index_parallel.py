#!/usr/bin/env python3
"""rowan_btree indexes in several processes: scans and builds; scans while the index's description is invalidated.

scans    parallel index scans and index-only scans, forward and backward, with arrays, rescanned, through Gather and Gather Merge: within
         one snapshot they answer as a sequential scan does, while other sessions split and merge pages
builds   CREATE INDEX and REINDEX with workers, CONCURRENTLY too, with rows that only an old snapshot sees; errors and cancellation
inval    scans during which the relation cache rebuilds what it knows of the index

On heap tables and on tables of the engine.

    index_parallel.py --parts scans --seed 7
"""
import os
import random
import re
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
import cluster
import harness
import pq
from harness import AM, ENGINE, Failure, check, say

METHOD = harness.env('ROWAN_TEST_INDEX_AM') or ('rowan_btree' if ENGINE else 'btree')
TABLE_AMS = sorted({'heap', AM})
PARALLEL = ('SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; '
            'SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = 3; SET jit = off')
BY_INDEX = 'SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_material = off'
ALONE = 'SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off'

# w: long, hardly compressible, for large fences; f: few values, for posting lists
SETUP = """
CREATE TABLE par (id int, k int, t text, f int, w text) USING {am} WITH (parallel_workers = 3);
CREATE FUNCTION wide(int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$ SELECT string_agg(md5(($1 * 100 + i)::text), '') FROM generate_series(1, CASE WHEN $1 % 7 = 0 THEN 60 ELSE 2 END) i $$;
CREATE FUNCTION dear(int) RETURNS bool LANGUAGE plpgsql PARALLEL SAFE COST 5000 AS $$ BEGIN RETURN true; END $$;
CREATE FUNCTION slow(int) RETURNS bool LANGUAGE plpgsql PARALLEL SAFE COST 5000 AS
    $$ BEGIN IF $1 % 97 = 0 THEN PERFORM pg_sleep(0.002); END IF; RETURN true; END $$;
INSERT INTO par SELECT i, nullif(i * 7919 % 1000, 3), 'http://example.org/path/' || i * 31 % 700, i % 4, wide(i) FROM generate_series(1, {n}) i;
CREATE UNIQUE INDEX par_id ON par USING {m} (id);
CREATE INDEX par_k ON par USING {m} (k DESC NULLS LAST, id);
CREATE INDEX par_t ON par USING {m} (t) INCLUDE (k);
CREATE INDEX par_f ON par USING {m} (f);
CREATE INDEX par_w ON par USING {m} (w);
CREATE INDEX par_part ON par USING {m} (k) WHERE f = 1;
"""
COLUMNS = "count(*), sum(id), sum(k), sum(hashtext(t)), sum(f), sum(hashtext(w))"
# queries of {x}: what ORDER BY leaves open must not show
QUERIES = [
    'SELECT %s FROM par WHERE id > {x}' % COLUMNS,
    'SELECT %s FROM par WHERE id BETWEEN {x} AND {x} * 3' % COLUMNS,
    'SELECT id FROM par WHERE id > {x} AND dear(id) ORDER BY id',
    'SELECT id, f FROM par WHERE id > {x} AND f <> 2 AND dear(id) ORDER BY id DESC',
    'SELECT k, id FROM par WHERE k < {x} AND dear(id) ORDER BY k, id DESC',
    'SELECT k, id, t FROM par WHERE k BETWEEN {x} AND {x} + 300 AND dear(k) ORDER BY k DESC NULLS LAST, id',
    'SELECT count(*), sum(id) FROM par WHERE k IS NULL AND dear(id)',
    'SELECT count(*), sum(hashtext(t)), sum(k) FROM par WHERE t > $$http://example.org/path/{x}$$',
    'SELECT t FROM par WHERE t < $$http://example.org/path/{x}$$ AND dear(k) ORDER BY t DESC',
    'SELECT f FROM par WHERE f >= {x} % 4 AND dear(f) ORDER BY f',
    'SELECT count(*), sum(id) FROM par WHERE f = {x} % 4',
    'SELECT f, id FROM par WHERE f IN (3, 1) AND id % 3 <> 0 ORDER BY f, id',
    'SELECT f FROM par WHERE f IN (3, 1, 0) AND dear(f) ORDER BY f DESC',
    'SELECT count(*), sum(id) FROM par WHERE id IN ({x}, {x} + 7, 1000, 5, {x}, NULL, 2001, {x} * 2) AND dear(id)',
    'SELECT k, count(*), sum(id) FROM par WHERE k IN ({x}, 1, 500, 501, 502, {x} + 3) AND dear(k) GROUP BY k ORDER BY k',
    'SELECT k, id FROM par WHERE k IN ({x}, 1, 500, 501, 502, {x} + 3) AND id > 200 AND dear(id) ORDER BY k DESC NULLS LAST, id',
    'SELECT k, id FROM par WHERE k IN ({x}, 1, 500, 501, 502, {x} + 3) AND id < 8000 AND dear(id) ORDER BY k NULLS FIRST, id DESC',
    'SELECT w FROM par WHERE w > md5({x}::text) AND dear(length(w)) ORDER BY w',
    'SELECT w FROM par WHERE w < md5({x}::text) AND dear(length(w)) ORDER BY w DESC',
    'SELECT k FROM par WHERE k > {x} AND f = 1 AND dear(k) ORDER BY k',
    'SELECT count(*) FROM par a JOIN par b ON b.id = a.k WHERE a.id > {x}',
    # the scan below Gather is done again for each value
    'SELECT v, n, s FROM (VALUES (1), (2), (3)) v (v) LEFT JOIN (SELECT count(*) n, sum(k) s FROM par WHERE id > {x}) q ON true ORDER BY v',
    'SELECT v, n, s FROM (VALUES (1), (2), (3)) v (v) LEFT JOIN (SELECT count(*) n, sum(id) s FROM par WHERE k IN (4, 5, {x}) AND dear(id)) q ON true ORDER BY v',
    # slow: pages are split and merged under the scan
    'SELECT %s FROM par WHERE id > 0 AND slow(id)' % COLUMNS,
    'SELECT id, k FROM par WHERE id < 8000 AND slow(id) ORDER BY id DESC',
    'SELECT k, id FROM par WHERE k >= 0 AND slow(id) ORDER BY k DESC NULLS LAST, id',
    'SELECT k, id FROM par WHERE k >= 0 AND slow(id) ORDER BY k NULLS FIRST, id DESC',
    'SELECT f, count(*) FROM par WHERE f IN (0, 2, 3) AND slow(id) GROUP BY f ORDER BY f',
]


class Session(threading.Thread):
    def __init__(self, server, end):
        super().__init__(daemon=True)
        self.server, self.end, self.trouble, self.count = server, end, None, 0

    def run(self):
        try:
            with self.server.connect(options='-c deadlock_timeout=100ms') as c:
                while time.time() < self.end:
                    self.turn(c)
                    self.count += 1
        except Exception as e:
            self.trouble = '%s: %s' % (type(e).__name__, e)


class Writer(Session):
    def __init__(self, server, end, seed, number):
        super().__init__(server, end)
        self.rnd, self.number = random.Random(seed * 10 + number), number

    def turn(self, c):
        r = self.rnd
        x, n = r.randrange(1, 9000), r.choice([1, 20, 300])
        if self.number == 0 and r.random() < 0.1:
            c.exec('VACUUM (TRUNCATE off) par')
            return
        sql = r.choice([
            "INSERT INTO par SELECT i, i %% 1000, 'http://example.org/path/' || i %% 70, i %% 4, wide(i) FROM generate_series(%d, %d) i WHERE NOT EXISTS (SELECT FROM par s WHERE s.id = i)" % (x, x + n),
            'UPDATE par SET k = (k + 37) %% 1000 WHERE id BETWEEN %d AND %d' % (x, x + n),
            "UPDATE par SET t = t || 'x', f = %d WHERE id BETWEEN %d AND %d" % (r.randrange(4), x, x + 3),
            'DELETE FROM par WHERE id BETWEEN %d AND %d' % (x, x + n)])
        error = c.try_(r.choice(['%s', '%s', 'BEGIN; %s; ROLLBACK']) % sql).error
        if error:
            if error.sqlstate not in ('23505', '40P01'):
                raise error
            c.try_('ROLLBACK')


class Asker(Session):
    """The same query in parallel by index and alone by sequential scan, in one snapshot."""

    def __init__(self, server, end, seed):
        super().__init__(server, end)
        self.rnd, self.parallel, self.launched = random.Random(seed), 0, 0

    def turn(self, c):
        if self.count == 0:
            c.exec(PARALLEL)
        if self.count == 0 or self.count % 200 == 0:
            self.all = QUERIES[:]
            self.rnd.shuffle(self.all)
        ask(c, self.all[self.count % len(self.all)].replace('{x}', str(self.rnd.randrange(1, 1000))))


def ask(c, query):
    c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SAVEPOINT a; ' + BY_INDEX)
    found = c.rows(query)
    c.exec('ROLLBACK TO a; ' + ALONE)
    expected = c.rows(query)
    c.exec('COMMIT')
    if found != expected:
        first = [i for i, (x, y) in enumerate(zip(found, expected)) if x != y][:1]
        raise Failure('in parallel %d rows, alone %d rows, first difference %s\n%s' % (
            len(found), len(expected), [(i, str(found[i])[:200], str(expected[i])[:200]) for i in first], query))


def check_plans(c):
    """The queries are what they are meant to be, and workers do take part."""
    scans, workers, backward, rescanned = set(), 0, 0, 0
    for q in QUERIES:
        c.exec('BEGIN; ' + BY_INDEX)
        plan = '\n'.join(r[0] for r in c.rows('EXPLAIN (ANALYZE, COSTS off, TIMING off) ' + q.replace('{x}', '50')))
        c.exec('COMMIT')
        scans.update(s for s in ('Parallel Index Scan', 'Parallel Index Only Scan', 'Gather Merge') if s in plan)
        backward += 'Scan Backward' in plan and 'Parallel Index' in plan
        workers += 'Workers Launched: ' in plan and 'Workers Launched: 0' not in plan
        rescanned += 'Parallel Index' in plan and any('Gather' in line and 'loops=3' in line for line in plan.split('\n'))
    check(len(scans) == 3 and backward > 3 and workers > len(QUERIES) * 2 / 3 and rescanned, 'plans have only %s, %d backward, %d with workers, %d rescanned' % (
        sorted(scans), backward, workers, rescanned))


def scans(server, seed, options):
    for table_am in TABLE_AMS:
        server.sql('DROP TABLE IF EXISTS par; DROP FUNCTION IF EXISTS wide(int), dear(int), slow(int)')
        server.sql(SETUP.format(am=table_am, m=METHOD, n=options.rows))
        with server.connect() as c:
            c.exec('VACUUM ANALYZE par')
            c.exec(PARALLEL)
            check_plans(c)
            for q in QUERIES:
                ask(c, q.replace('{x}', str(random.Random(seed).randrange(1, 1000))))
        end = time.time() + options.seconds
        sessions = [Writer(server, end, seed, i) for i in range(2)] + [Asker(server, end, seed)]
        for s in sessions:
            s.start()
        for s in sessions:
            s.join(options.seconds + 120)
            check(not s.is_alive(), 'a session hangs')
        for s in sessions:
            check(s.trouble is None, 'seed %d, %s: %s' % (seed, table_am, s.trouble))
        server.verify_indexes('par')
        say('seed %d: scans on %s: %d queries during %d changes' % (seed, table_am, sessions[-1].count, sum(s.count for s in sessions[:2])))


# ---- inval ----

INVAL = """
DROP TABLE IF EXISTS inv;
CREATE TABLE inv (id int, t text) USING {am};
INSERT INTO inv SELECT i, 'row ' || i FROM generate_series(1, 3000) i;
CREATE INDEX inv_t ON inv USING {m} (t, id);
CREATE OR REPLACE FUNCTION stir(int) RETURNS bool LANGUAGE plpgsql AS
    $$ BEGIN IF $1 % 50 = 0 THEN UPDATE pg_class SET reltuples = reltuples WHERE oid = 'inv_t'::regclass; END IF; RETURN true; END $$;
"""


def inval(server, seed, options):
    for table_am in TABLE_AMS:
        server.sql(INVAL.format(am=table_am, m=METHOD))
        with server.connect() as c:
            for order in ('t, id', 't DESC, id DESC'):
                c.exec('BEGIN; ' + BY_INDEX)
                query = 'SELECT t, id FROM inv WHERE t > $$row 1$$ AND stir(id) ORDER BY ' + order
                check('Index Only Scan' in str(c.rows('EXPLAIN ' + query)), 'no index scan')
                found = c.rows(query)
                c.exec('COMMIT; BEGIN; ' + ALONE)
                check(found == c.rows(query.replace('stir(id)', 'true')), 'another answer while the index is invalidated')
                c.exec('COMMIT')
        server.verify_indexes('inv')
    say('scans while the index is invalidated: as without')


# ---- builds ----

BUILT = """
DROP TABLE IF EXISTS built;
CREATE TABLE built (id int, k int, t text, f int) USING {am} WITH (parallel_workers = 3, autovacuum_enabled = off);
INSERT INTO built SELECT i, nullif(i * 7919 % 1000, 3), 'http://example.org/path/' || i * 31 % 700, i % 4 FROM generate_series(1, {n}) i;
"""
DEFINITIONS = {'id': '(id)', 'k': '(k DESC NULLS LAST, id)', 't': '(t) INCLUDE (k)', 'f': '(f)', 'part': '(k) WHERE f = 1', 'expression': '((k % 10), t)'}


def workers_in_log(server, since):
    return [int(x) for x in re.findall('building index "[^"]*" with ([0-9]+) parallel workers', server.log_text()[since:])]


def build(server, c, sql, workers=True):
    """With workers, if the server is ours to ask."""
    since = len(server.log_text())
    c.exec(sql)
    found = workers_in_log(server, since)
    check(not ENGINE or not workers or (found and min(found) > 0), 'no workers took part in ' + sql)


def contents(c, columns):
    c.exec('BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL max_parallel_workers_per_gather = 0')
    rows = c.rows('SELECT count(*), sum(hashtextextended(id::text, k)), sum(length(t)) FROM built WHERE ' + columns)
    c.exec('COMMIT')
    return rows


def builds(server, seed, options):
    for table_am in TABLE_AMS:
        server.sql(BUILT.format(am=table_am, n=options.rows * 4))
        with server.connect() as c, server.connect() as old:
            c.exec("SET max_parallel_maintenance_workers = 3; SET log_min_messages = debug1; SET maintenance_work_mem = '8MB'; SET lock_timeout = '60s'")
            for name, definition in DEFINITIONS.items():
                build(server, c, 'CREATE %s INDEX built_%s ON built USING %s %s' % ('UNIQUE' * (name == 'id'), name, METHOD, definition))
            server.verify_indexes('built')
            # rows that an old snapshot sees and that have the keys of living ones
            before = c.rows('SELECT count(*), sum(id) FROM built')
            old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1')     # nothing that locks the indexes
            c.exec('DELETE FROM built WHERE id %% 5 = 0; INSERT INTO built SELECT id, k + 1, t, f FROM (SELECT generate_series(5, %d, 10)) g (id), '
                   "LATERAL (SELECT id %% 100 AS k, 'again' AS t, 1 AS f) v; UPDATE built SET k = k + 1 WHERE id %% 7 = 0; UPDATE built SET f = 2 WHERE id %% 11 = 0" % (options.rows * 4))
            build(server, c, 'REINDEX INDEX built_id')
            build(server, c, 'REINDEX TABLE built')
            flags = c.rows("SELECT indexrelid::regclass, indcheckxmin FROM pg_index WHERE indrelid = 'built'::regclass ORDER BY 1")
            c.exec('SET max_parallel_maintenance_workers = 0; REINDEX INDEX built_id; REINDEX INDEX built_t; SET max_parallel_maintenance_workers = 3')
            again = dict(c.rows("SELECT indexrelid::regclass, indcheckxmin FROM pg_index WHERE indrelid = 'built'::regclass"))
            for name, flag in flags:
                check(name not in ('built_id', 'built_t') or again[name] == flag, '%s: indcheckxmin is %s by several, %s by one' % (name, flag, again[name]))
            check(old.rows('SELECT count(*), sum(id) FROM built') == before, 'the old snapshot changed')
            old.exec('COMMIT')
            build(server, c, 'REINDEX INDEX CONCURRENTLY built_k')
            c.exec('DROP INDEX built_f')
            build(server, c, 'CREATE INDEX CONCURRENTLY built_f ON built USING %s (f)' % METHOD)
            expected = c.rows('SELECT count(*), sum(hashtextextended(id::text, k)), sum(length(t)) FROM built WHERE k % 10 >= 0 AND id > 0')
            for condition in ('k % 10 >= 0 AND id > 0', 'k >= 0 AND id > 0'):
                check(contents(c, condition) == expected, 'another answer through the indexes: ' + condition)
            server.verify_indexes('built')
            # errors
            error = c.try_('CREATE UNIQUE INDEX built_wrong ON built USING %s (k)' % METHOD).error
            check(error and error.sqlstate == '23505', 'a unique index on duplicates: %s' % error)
            c.exec("CREATE OR REPLACE FUNCTION late(int) RETURNS int LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN IF $1 % 20 = 1 THEN PERFORM pg_sleep(0.01); END IF; RETURN $1; END $$")
            c.exec("SET statement_timeout = '500ms'")
            error = c.try_("CREATE INDEX built_late ON built USING %s (late(id))" % METHOD).error
            check(error and error.sqlstate == '57014', 'cancelled: %s' % error)
            c.exec('SET statement_timeout = 0')
            build(server, c, 'CREATE INDEX built_late ON built USING %s ((late(k) + 1))' % METHOD) if options.long else None
            # no workers: a function that is not for them; an index emptied by TRUNCATE
            c.exec('CREATE OR REPLACE FUNCTION shy(int) RETURNS int LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE AS $$ BEGIN RETURN $1 + 1; END $$')
            since = len(server.log_text())
            c.exec('CREATE INDEX built_shy ON built USING %s (shy(id))' % METHOD)
            c.exec('BEGIN; CREATE TABLE made (id int) USING %s WITH (parallel_workers = 2); CREATE INDEX ON made USING %s (id); INSERT INTO made VALUES (1); '
                   'TRUNCATE made; INSERT INTO made VALUES (2); DROP TABLE made; COMMIT' % (table_am, METHOD))
            check(not workers_in_log(server, since), 'workers where there should be none')
        server.verify_indexes('built')
    say('builds in several processes')


PARTS = {'builds': builds, 'inval': inval, 'scans': scans}


def test(options):
    small = {'rowan.buffers': '4MB'} if ENGINE else {}
    server = cluster.make('index-parallel', conf=dict(small, max_parallel_workers='8'))
    for seed in range(options.seed, options.seed + options.seeds):
        for part in options.parts.split(','):
            PARTS[part](server, seed, options)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seeds', type=int)
    parser.add_argument('--seconds', type=int)
    parser.add_argument('--rows', type=int)
    parser.add_argument('--parts', default=','.join(PARTS))
    argv = parser.parse_args()
    parser.set_defaults(seeds=5 if argv.long else 1, seconds=60 if argv.long else 5, rows=20000 if argv.long else 5000)
    harness.main(test, parser)
