#!/usr/bin/env python3
"""rowan_btree: states of a page that random tests hardly meet.

ranges      conditions whose ends are on one leaf, on neighbours, in the wrong order, or beyond all entries; scrolling in lists of TIDs; merge joins
full_list   an entry for a list of TIDs of the largest size, on a leaf with room for the entry but not for the two lists that come of it
shrinking   VACUUM after most rows went, here and there: leaves are merged with either neighbour, empty ones with long fences too; entries are
            counted once; a comparison function that writes to a table
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, say

METHOD = 'rowan_btree' if ENGINE else 'btree'
TEXT = "(SELECT string_agg(chr(40 + (random() * 80)::int), '') FROM generate_series(1, %d))"


def full_list(server, longest, widths):
    """Many indexes on one table; each has another width of one key, so that some leaf is just so full when its list is."""
    with server.connect() as c:
        c.exec("SET statement_timeout = '60s'")     # an insertion went round for ever
        c.exec('CREATE TABLE full_list (n int, k text) USING heap')
        c.exec("INSERT INTO full_list SELECT i, 'A' FROM generate_series(1, 2400) i")
        c.exec('DELETE FROM full_list WHERE n % 8 <> 0')
        c.exec('VACUUM full_list')
        for width in widths:
            c.exec("CREATE INDEX ON full_list USING %s ((CASE WHEN k LIKE 'D%%' THEN left(k, %d) ELSE k END))" % (METHOD, width))
        # between the TIDs that are there
        c.exec("INSERT INTO full_list SELECT 0, 'A' FROM generate_series(1, 850)")
        for first in 'BCD':
            c.exec("INSERT INTO full_list SELECT 1, '%s' || %s" % (first, TEXT % longest))
        for _ in range(16):
            c.exec("INSERT INTO full_list SELECT 0, 'A' FROM generate_series(1, 30)")
    server.verify_indexes('full_list')
    say('%d leaves with a full list' % len(widths))


def pages(c, index):
    return int(c.one("SELECT high_water - free_count FROM rowan.file_header('%s')" % index))


def shrink(c, key, rows, condition, part):
    """Rows go as the condition says: no more than that part of the index's pages stay."""
    c.exec('DROP TABLE IF EXISTS s; CREATE TABLE s (i int, k text COLLATE "C") USING heap; ALTER TABLE s ALTER k SET STORAGE EXTERNAL')
    c.exec('CREATE INDEX s_k ON s USING %s (k)' % METHOD)
    c.exec('INSERT INTO s SELECT i, %s FROM generate_series(1, %d) i ORDER BY md5(i::text)' % (key, rows))
    before = pages(c, 's_k') if ENGINE else 0
    c.exec('DELETE FROM s WHERE ' + condition)
    c.exec('VACUUM s')
    if ENGINE:
        after = pages(c, 's_k')
        harness.check(after <= before * part, 'of %d pages %d are left, where %s' % (before, after, condition))
    compare(c, 'shrunk', lambda c: c.rows('SELECT count(*), min(k), max(k), sum(i) FROM s WHERE k > $$0$$'))


COUNTED = """
CREATE TABLE counted (i int) USING heap;
CREATE INDEX counted_i ON counted USING {m} (i);
INSERT INTO counted SELECT i FROM generate_series(1, 60000) i;
DELETE FROM counted WHERE i BETWEEN 10000 AND 40000 AND i % 100 < 53"""

# as sane as a comparison function that writes can be
WRITES = """
CREATE TABLE written (i int, t text) USING {am};
INSERT INTO written SELECT 1, repeat('y', 100) FROM generate_series(1, 1000);
CREATE FUNCTION writes(int, int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('test.writes', true) = 'on' THEN
        INSERT INTO written SELECT i, repeat('z', 1000) FROM generate_series(1, 10) i;
    END IF;
    RETURN btint4cmp($1, $2);
END $$;
CREATE OPERATOR CLASS writing FOR TYPE int USING {m} AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 writes(int, int);
CREATE TABLE w (i int) USING heap;
CREATE INDEX w_i ON w USING {m} (i writing);
INSERT INTO w SELECT i FROM generate_series(1, 8000) i;
DELETE FROM w WHERE i % 2000 <> 0;
SET test.writes = on"""


def shrinking(server):
    with server.connect() as c:
        shrink(c, "lpad(i::text, 8, '0')", 60000, 'i % 100 <> 0', 0.2)
        shrink(c, "lpad(i::text, 8, '0') || (SELECT string_agg(md5((i * 100 + j)::text), '') FROM generate_series(1, 70) j)", 600, 'i % 100 <> 0', 0.6)
        for statement in COUNTED.format(m=METHOD).split(';'):
            c.exec(statement)
        c.exec('VACUUM (FREEZE) counted')
        c.exec('DELETE FROM counted WHERE i BETWEEN 10000 AND 40000 AND i % 100 < 62')
        c.exec('VACUUM counted')                # reads a part of the table only, so it cannot correct what the index says
        counted = c.rows("SELECT reltuples, (SELECT count(*) FROM counted) FROM pg_class WHERE relname = 'counted_i'")[0]
        harness.check(float(counted[0]) == float(counted[1]), 'VACUUM counted %s entries of %s' % counted)
        c.exec(WRITES.format(m=METHOD, am=AM))
        c.exec('VACUUM w')
        c.exec('SET test.writes = off')
        harness.check(int(c.one('SELECT count(*) FROM written')) > 1000, 'the comparison function wrote nothing')
    server.verify_indexes('s', 'counted', 'w')
    server.verify('written')


KEYS = {                # expression of i; some of the values to ask for; rows have equal keys but in the first two
    'int8': ('i::bigint', [0, 1, 2, 5, 300, 301, 1999, 3999, 4000, 4001, -7]),
    'text': ("'https://example.org/department-' || i % 7 || '/item/' || lpad(i::text, 9, '0')",
             ['', 'https', 'https://example.org/department-3/item/000000003', 'https://example.org/department-3/item/000002001', 'https://example.org/department-4',
              'https://example.org/department-9', 'z']),
    'int4': ('(i % 40)::int', [-1, 0, 1, 2, 17, 38, 39, 40]),
    'int2': ('CASE WHEN i % 3 > 0 THEN (i % 3000)::smallint END', [-1, 0, 1, 2, 1500, 2999, 3000]),
    'bool': ('i % 500 = 0', ['t', 'f']),
    'oid': ("(4294967295 - i / 4)::oid", [0, 4294967295, 4294967294, 4294965000, 4294964295]),
}
OPERATORS = ['<', '<=', '=', '>=', '>']


def conditions(values):
    def literal(v):
        return "'%s'" % v
    for v in values:
        for a in OPERATORS:
            yield 'k %s %s' % (a, literal(v))
    for v in values:
        for w in values[::2]:                   # ends in the wrong order, too
            yield 'k >= %s AND k < %s' % (literal(v), literal(w))
            yield 'k > %s AND k <= %s' % (literal(v), literal(w))
    yield 'k IS NULL'
    yield 'k IS NOT NULL'
    yield 'k IN (%s)' % ', '.join(literal(v) for v in values)


def scrolled(c, table, condition, order):
    """Some way into the scan, back over where it came from, and on."""
    c.exec('BEGIN')
    c.exec('DECLARE s SCROLL CURSOR FOR SELECT k, ctid FROM %s WHERE %s ORDER BY k %s' % (table, condition, order))
    rows = []
    for move in ('7', 'BACKWARD 3', '500', 'BACKWARD 200', '9', 'BACKWARD ALL', '4', 'ALL', 'BACKWARD 5'):
        rows.append([r[0] for r in c.rows('FETCH %s FROM s' % move)][:600])
    c.exec('ROLLBACK')
    return rows


def compare(c, name, query):
    """By sequential scan, and by the index."""
    c.exec('SET enable_seqscan = on; SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off')
    expected = query(c)
    for how in ('indexscan', 'indexonlyscan', 'bitmapscan'):
        c.exec('SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SET enable_%s = on' % how)
        harness.check(query(c) == expected, '%s: by %s it is not what a sequential scan says' % (name, how))


def ranges(server):
    n = 0
    with server.connect() as c:
        for key, (expression, values) in KEYS.items():
            for order in ('ASC', 'DESC NULLS LAST'):
                c.exec('DROP TABLE IF EXISTS r; CREATE TABLE r (i int, k %s%s) USING heap' % (key, ' COLLATE "C"' if key == 'text' else ''))
                c.exec('CREATE INDEX r_k ON r USING %s (k %s)' % (METHOD, order))
                for part in (0, 1):             # built in order, then entries between them
                    c.exec('INSERT INTO r SELECT i, %s FROM generate_series(1, 4000) i WHERE i %% 2 = %d' % (expression, part))
                c.exec('VACUUM ANALYZE r')
                for condition in conditions(values):
                    compare(c, '%s, %s' % (key, condition), lambda c: c.rows('SELECT count(*), sum(i), sum(i %% 1000 * i), count(k) FROM r WHERE %s' % condition))
                    n += 1
                for condition in ('k IS NOT NULL', "k >= '%s'" % values[1], "k <= '%s'" % values[-2]):
                    for direction in (order, 'DESC NULLS FIRST' if order == 'ASC' else 'ASC NULLS FIRST'):
                        compare(c, '%s, %s, scrolled' % (key, condition), lambda c: scrolled(c, 'r', condition, direction))
                c.exec('SET enable_hashjoin = off; SET enable_nestloop = off; SET enable_sort = on')
                compare(c, key + ', merge join', lambda c: c.rows('SELECT count(*), sum(a.i), sum(b.i) FROM r a JOIN r b USING (k) WHERE a.i % 10 = 0 AND b.i % 11 = 0'))
    server.verify_indexes('r')
    say('%d conditions' % n)


def test(options):
    server = cluster.make('index-edges')
    ranges(server)
    step = 2 if options.long else 4
    shrinking(server)
    full_list(server, 2500, range(1480 if not options.long else 900, 1760 if not options.long else 2400, step))
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
