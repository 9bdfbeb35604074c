#!/usr/bin/env python3
"""rowan_btree: scans that pass over groups of entries, conditions on leading columns being missing.

answers   random tables of three columns (types, directions, NULLs, few and many values, small and large groups) and random conditions that leave
          gaps: by index scan, index-only scan, bitmap scan, in several processes, forward, backward and scrolling, and as a join's inner side
          what a sequential scan says; while another session splits and merges the leaves that a cursor comes to
effect    pages read: few if groups are large, never more than of the whole index; and which plans are chosen
conflicts SERIALIZABLE: whatever row is inserted that such a scan would have returned, is noticed; others into leaves passed over are not

    index_skip.py --parts answers --seed 7
"""
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, Failure, check, say

METHOD = 'rowan_btree' if ENGINE else 'btree'
PARALLEL = ('SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; '
            'SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = %d')


def only(how):
    """Settings; core's planner lets an index-only scan count as an index scan, too."""
    kinds = {how, 'indexscan'} if how == 'indexonlyscan' else {how}
    return '; '.join('SET enable_%s = %s' % (k, 'on' if k in kinds else 'off') for k in ('seqscan', 'indexscan', 'indexonlyscan', 'bitmapscan'))


# ---- answers ----

# value number n of a type; what other types its columns can be compared with
TYPES = {
    'int2': (lambda n: {0: -32768, 1: 32767}.get(n, n - 40), ['int2', 'int4', 'int8']),
    'int4': (lambda n: {0: -2147483648, 1: 2147483647}.get(n, n - 40), ['int4', 'int8', 'int2']),
    'int8': (lambda n: {0: -9223372036854775808, 1: 9223372036854775807}.get(n, (n - 40) * 10 ** 12), ['int8']),
    'date': (lambda n: {0: '-infinity', 1: 'infinity'}.get(n, '2020-%02d-%02d' % (n // 28 % 12 + 1, n % 28 + 1)), ['date', 'timestamp']),
    'text COLLATE "C"': (lambda n: {0: '', 1: '~'}.get(n, 'common-prefix-%03d' % n), ['text']),
    'text': (lambda n: {0: '', 1: '~'}.get(n, 'k%d' % n), ['text']),
    'float8': (lambda n: {0: '-infinity', 1: 'NaN'}.get(n, n / 8), ['float8']),
    'numeric': (lambda n: {0: '-1e30', 1: 'NaN'}.get(n, n / 8), ['numeric']),
    'bool': (lambda n: n % 2 == 0, ['bool']),
    'uuid': (lambda n: '%08x-0000-0000-0000-%012x' % (n * 77777 % 2 ** 32, n), ['uuid']),
}
ORDERS = ['', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST']
REVERSE = {'': ' DESC', ' DESC': '', ' NULLS FIRST': ' DESC NULLS LAST', ' DESC NULLS LAST': ' NULLS FIRST'}
OPERATORS = ['=', '=', '=', '<', '<=', '>=', '>']


class Shape:
    """A table with an index on (a, b, c), some hundred leaves."""

    def __init__(self, c, rnd, table_am, rows):
        self.c, self.rnd = c, rnd
        whole_numbers = list(TYPES)[:4]         # neighbours are known of them
        self.types = [rnd.choice(rnd.choice([list(TYPES), whole_numbers])) for _ in range(3)]
        self.orders = [rnd.choice(ORDERS) for _ in range(3)]
        self.values = [rnd.choice([2, 3, 8, 30, 300]), rnd.choice([3, 30, 300]), rnd.choice([4, 60, 300])]
        if rnd.random() < 0.3:                  # equal keys on many leaves
            self.values = [3, 3, 4]
        self.rows = rows
        self.name = ', '.join('%s%s of %d' % x for x in zip(self.types, self.orders, self.values))
        c.exec('DROP TABLE IF EXISTS s CASCADE; CREATE TABLE s (a %s, b %s, c %s, i int, pad text) USING %s WITH (parallel_workers = 2)' % (*self.types, table_am))
        c.exec('CREATE INDEX s_abc ON s USING %s (a%s, b%s, c%s) INCLUDE (pad)' % (METHOD, *self.orders))
        c.exec('INSERT INTO s VALUES ' + ', '.join(self.row() for _ in range(rows // 2)))
        if rnd.random() < 0.5:
            c.exec('REINDEX INDEX s_abc')
        c.exec('INSERT INTO s VALUES ' + ', '.join(self.row() for _ in range(rows // 2)))
        c.exec('DELETE FROM s WHERE i %% 5 = %d' % rnd.randrange(10))
        c.exec('VACUUM ANALYZE s')

    def row(self):
        pad = ''.join('%08x' % self.rnd.getrandbits(32) for _ in range(self.rnd.choice([1, 20, 50])))
        return '(%s, %d, \'%s\')' % (', '.join(self.value(i) for i in range(3)), self.rnd.randrange(10 ** 6), pad)

    def value(self, i, may_be_null=True):
        if may_be_null and self.rnd.random() < 0.08:
            return 'NULL'
        return "'%s'" % TYPES[self.types[i]][0](self.rnd.randrange(self.values[i]))

    def condition(self, i):
        """On column i."""
        name, kind = 'abc'[i], self.rnd.randrange(12)
        values, others = self.values[i], TYPES[self.types[i]][1]
        value = lambda: "'%s'" % TYPES[self.types[i]][0](self.rnd.randrange(2 if self.rnd.random() < 0.1 else values))
        if kind == 0:
            return '%s IS NULL' % name
        if kind == 1:
            return '%s IS NOT NULL' % name
        if kind == 2:
            return '%s IN (%s)' % (name, ', '.join(value() for _ in range(self.rnd.randrange(1, 5))))
        if kind == 3:
            return '%s BETWEEN %s AND %s' % (name, value(), value())
        if kind == 4 and i < 2:
            return '(%s, %s) %s (%s, %s)' % (name, 'abc'[i + 1], self.rnd.choice(['<', '<=', '>', '>=']), value(), self.value(i + 1, False))
        v, other = value(), self.rnd.choice(others)
        if other in ('int2', 'int4', 'int8') and self.types[i] != other:
            v = "'%s'" % (int(v[1:-1]) % 30000)
        return '%s %s %s::%s' % (name, self.rnd.choice(OPERATORS), v, other)

    def conditions(self):
        """Such that skipping is of use, mostly."""
        columns = self.rnd.choice([(1,), (1,), (2,), (1, 2), (0, 2), (0, 1), (0, 1, 2)])
        return ' AND '.join(self.condition(i) for i in columns + ((columns[-1],) if self.rnd.random() < 0.1 else ()))

    def order(self, backward):
        return ', '.join(n + (REVERSE[o] if backward else o) for n, o in zip('abc', self.orders))

    # every way to the rows must give the same

    def compare(self, what, query):
        c = self.c
        c.exec(only('seqscan') + '; SET enable_sort = on')
        expected = query()
        for how in ('indexscan', 'indexonlyscan', 'bitmapscan'):
            c.exec(only(how) + '; SET enable_sort = ' + ('on' if how == 'bitmapscan' else 'off'))
            answer = query()
            if answer != expected:
                raise Failure('(%s): %s: by %s it is not what a sequential scan says: %s | %s' % (self.name, what, how, str(answer)[:300], str(expected)[:300]))

    def ask(self):
        condition = self.conditions()
        rows = lambda columns, order: self.c.rows('SELECT %s FROM s WHERE %s%s' % (columns, condition, order))
        self.compare(condition, lambda: sorted(rows('a, b, c, pad', ''), key=repr))
        self.compare(condition, lambda: sorted(rows('i', ''), key=repr))
        for backward in (False, True):
            order = ' ORDER BY ' + self.order(backward)
            self.compare(condition + order, lambda: rows('a, b, c', order))
            self.compare(condition + order + ', some', lambda: rows('a, b, c', order + ' LIMIT 7'))
            self.compare(condition + order + ', scrolled', lambda: self.scrolled(condition, order))
        self.c.exec(PARALLEL % 2)
        self.compare(condition + ', parallel', lambda: sorted(rows('i, a, b, c', ''), key=repr))
        self.c.exec('SET max_parallel_workers_per_gather = 0')

    def scrolled(self, condition, order):
        self.c.exec('BEGIN; DECLARE s SCROLL CURSOR FOR SELECT a, b, c FROM s WHERE %s%s' % (condition, order))
        result = [self.c.rows('FETCH %s FROM s' % move) for move in
                  ('2', 'BACKWARD 1', '40', 'BACKWARD 25', '9', 'BACKWARD ALL', '4', 'BACKWARD 2', '200', 'BACKWARD 150', 'ALL', 'BACKWARD 5', 'BACKWARD ALL')]
        self.c.exec('ROLLBACK')
        return result

    def join(self):
        """As the inner side: conditions with a gap that change from row to row; marks and restoring."""
        condition = self.condition(1 + self.rnd.randrange(2))
        self.c.exec('CREATE TEMP TABLE o AS SELECT a, b, c FROM s WHERE i % 50 = 1 LIMIT 40; ANALYZE o; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET enable_memoize = off')
        for on in ('s.b = o.b', 's.c = o.c', 's.a <= o.a AND s.b = o.b', 's.a = o.a AND s.c = o.c', 's.b = ANY (ARRAY[o.b, o.b])'):
            self.compare('join ' + on, lambda: self.c.rows('SELECT count(*), sum(s.i) FROM o JOIN s ON %s' % on))
        self.c.exec('SET enable_mergejoin = on; SET enable_nestloop = off')
        self.compare('merge join, ' + condition, lambda: self.c.rows(
            'SELECT count(*), sum(y.i) FROM (SELECT a FROM s WHERE i %% 10 = 0) x JOIN (SELECT * FROM s WHERE %s) y USING (a)' % condition))
        self.c.exec('DROP TABLE o; SET enable_hashjoin = on; SET enable_nestloop = on; SET enable_material = on; SET enable_memoize = on')

    def disturbed(self, other):
        """A cursor, leaves changing under it."""
        condition, backward = self.conditions(), self.rnd.random() < 0.5
        order = ' ORDER BY ' + self.order(backward)
        c = self.c
        c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; ' + only('seqscan') + '; SET enable_sort = on')
        expected = c.rows('SELECT a, b, c FROM s WHERE %s%s' % (condition, order))
        how = self.rnd.choice(['indexscan', 'indexscan', 'indexonlyscan'])
        c.exec(only(how) + '; SET enable_sort = off; DECLARE s SCROLL CURSOR FOR SELECT a, b, c FROM s WHERE %s%s' % (condition, order))
        at, n = 0, 1
        while True:
            got = c.rows('FETCH %d FROM s' % n)
            check(got == expected[at:at + n], '(%s): %s%s: a cursor that leaves change under says %s, not %s' % (self.name, condition, order, got[:5], expected[at:at + n][:5]))
            at += len(got)
            if len(got) < n:
                break
            if self.rnd.random() < 0.3 and at > 3:
                got = c.rows('FETCH BACKWARD 3 FROM s')
                at -= 3
                check(got == expected[at - 1:at + 2][::-1], '(%s): %s%s: backward it says %s, not %s' % (self.name, condition, order, got, expected[at - 1:at + 2][::-1]))
            n = max(1, len(expected) // 6)
            self.disturb(other, how == 'indexscan')
        c.exec('ROLLBACK')

    def disturb(self, other, may_vacuum):
        """VACUUM waits for a cursor that holds TIDs and will not look at their rows."""
        what = self.rnd.randrange(4)
        if what < 3:
            other.exec('BEGIN; INSERT INTO s VALUES ' + ', '.join(self.row() for _ in range(self.rnd.choice([20, 200]))))
            other.exec('DELETE FROM s WHERE i %% 23 = %d' % self.rnd.randrange(23) if self.rnd.random() < 0.3 else 'SELECT 1')
            other.exec(self.rnd.choice(['COMMIT', 'ROLLBACK', 'ROLLBACK']))
        if what > 1 and may_vacuum:
            other.exec('VACUUM (INDEX_CLEANUP on, TRUNCATE off) s')


def answers(server, seed, options):
    asked = 0
    for shape in range(options.shapes):
        rnd = random.Random('%d %d' % (seed, shape))
        with server.connect(options='-c jit=off -c max_parallel_workers_per_gather=0 -c timezone=UTC -c statement_timeout=60s') as c, server.connect(options='-c statement_timeout=60s') as other:
            try:
                table_am = rnd.choice(sorted({'heap', AM}))
                s = Shape(c, rnd, table_am, rnd.choice([600, 2000, options.rows]))
                for _ in range(options.questions):
                    s.ask()
                s.join()
                for _ in range(options.questions // 3):
                    s.disturbed(other)
                c.exec('RESET ALL')
                c.exec('VACUUM s')
                server.verify_indexes('s')
            except Exception as e:
                raise Failure('seed %d, shape %d: %s' % (seed, shape, e))
            asked += options.questions
    say('seed %d: %d tables, %d conditions' % (seed, options.shapes, asked))


# ---- effect ----

def pages_read(c, query):
    """By the index scan in the plan, the index being all that is read."""
    plan = '\n'.join(r[0] for r in c.rows('EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off, SUMMARY off) ' + query))
    check('Heap Fetches: 0' in plan, 'not by the index alone:\n' + plan)
    # the first one is the topmost node's, the others' sum
    found = re.search(r'Buffers: (?:shared|local)([^\n]*)', plan)
    return sum(int(x) for x in re.findall(r'(?:hit|read)=(\d+)', found.group(1)))


def effect(server, seed, options):
    if not ENGINE:
        return
    with server.connect(options='-c jit=off -c max_parallel_workers_per_gather=0') as c:
        for leading, direction in (('int', ''), ('int', ' DESC'), ('text COLLATE "C"', ''), ('numeric', '')):
            c.exec('DROP TABLE IF EXISTS e; CREATE TABLE e (a %s, b int, i int, pad text) USING heap' % leading)
            c.exec("INSERT INTO e SELECT 0, i, i, repeat(md5(i::text), 4) FROM generate_series(0, 59999) i")
            for groups in (4, 60, 300, 600, 1500, 6000, 60000):
                c.exec('ALTER TABLE e ALTER a TYPE %s USING i %% %d, ALTER b TYPE int USING i / %d' % (leading, groups, groups))
                c.exec('DROP INDEX IF EXISTS e_ab; CREATE INDEX e_ab ON e USING %s (a%s, b, i) INCLUDE (pad)' % (METHOD, direction))
                cluster.vacuum_all(c, 'e')
                effect_of(c, leading, direction, groups, 60000 // groups)


def effect_of(c, leading, direction, groups, size):
    pages = int(c.one("SELECT (leaf_pages + inner_pages)::int FROM rowan.tree_stats('e_ab')"))
    name = '%s%s, %d groups' % (leading, direction, groups)
    c.exec(only('indexonlyscan') + '; SET enable_sort = off')
    for order in ('a%s, b' % direction, 'a%s, b DESC' % ('' if direction else ' DESC')):
        # every row of it satisfies the first
        query = 'SELECT a FROM e WHERE %s ORDER BY ' + order
        whole = pages_read(c, query % 'b >= 0')
        reads = []
        for condition in ('b = %d' % (size // 2), 'b BETWEEN %d AND %d' % (size // 2, size // 2 + size // 50), 'b = %d' % (size + 7), 'b IN (%d)' % (size // 3),
                          '(b, i) > (%d, 0)' % (size - 2 if size > 2 else size)):
            read = pages_read(c, query % condition)
            reads.append(read)
            most = min(whole, 4 * groups + 12) + whole // 50 + 4
            check(read <= most, '%s: %s, %s: %d pages of %d were read, should be %d at most' % (name, condition, order, read, pages, most))
        say('%s, %s: %s pages of %d, %d' % (name, order, reads, pages, whole))


def cost(c, condition, method):
    c.exec('CREATE INDEX p_i ON p USING %s (%s)' % (method, c.definition))
    c.exec("DELETE FROM pg_statistic WHERE starelid IN ('p'::regclass, 'p_i'::regclass)")
    if c.analyzed:
        c.exec('ANALYZE p')
    c.exec(only('indexscan'))
    first = c.rows('EXPLAIN SELECT * FROM p WHERE ' + condition)[0][0]
    check('using p_i' in first, first)
    c.exec('RESET ALL')
    chosen = 'p_i' in '\n'.join(r[0] for r in c.rows('EXPLAIN SELECT * FROM p WHERE ' + condition))
    c.exec('DROP INDEX p_i')
    return float(re.search(r'\.\.([0-9.]+) ', first).group(1)), chosen


def plans(server, seed, options):
    """What the planner thinks of it: much less than of btree's scan of the whole index, or the same.  A flag has two values, statistics or not."""
    if not ENGINE:
        return
    with server.connect(options='-c jit=off -c max_parallel_workers_per_gather=0') as c:
        c.exec('DROP TABLE IF EXISTS p; CREATE TABLE p (few int, many int, b int, flag bool, t text, pad text) USING heap')
        c.exec("INSERT INTO p SELECT i % 5, i / 2, hashint4(i) % 10000, i % 2 = 0, 'x' || i % 7, repeat(md5(i::text), 6) FROM generate_series(1, 60000) i")
        c.exec('VACUUM ANALYZE p')
        definitions = {'few, b': True, 'many, b': False, 'few, t, b': True, 'few DESC, flag, many, b': False, '(few + 1), b': True, 'flag, b DESC': True}
        for c.definition, good in definitions.items():
            for c.analyzed in (True, False):
                for condition in ('b = 77', 'b BETWEEN 5 AND 9', 'b = ANY (ARRAY[7, 8])', 'b > 0'):
                    (ours, chosen), (btree, _) = cost(c, condition, METHOD), cost(c, condition, 'btree')
                    pays = good and (c.analyzed or c.definition[:4] == 'flag') and condition != 'b > 0'
                    check(ours < btree * 0.7 if pays else btree * 0.6 < ours < btree * 1.2,
                          '(%s): %s, %s: cost %s, btree %s' % (c.definition, condition, 'analyzed' if c.analyzed else 'without statistics', ours, btree))
                    check(chosen or not pays, '(%s): %s: not chosen' % (c.definition, condition))
        say('%d plans' % len(definitions))


# ---- conflicts ----

def conflict(server, table_am, definition, order, values, expected):
    """Reads by skipping, and writes; another one, who has read what that one writes, inserts the values: does either fail?"""
    with server.connect(options='-c default_transaction_isolation=serializable -c max_parallel_workers_per_gather=0') as reader, server.connect(options='-c default_transaction_isolation=serializable') as writer:
        reader.exec('BEGIN; ' + only('indexonlyscan').replace('SET', 'SET LOCAL') + '; SET LOCAL enable_sort = off')
        n = reader.rows('SELECT a FROM w WHERE b = 50 ORDER BY ' + order)
        check(len(n) == 20, '%d rows, not 20' % len(n))
        writer.exec('BEGIN; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off')
        writer.exec('SELECT count(*) FROM w2')
        errors = [c.try_(sql).error for c, sql in (
            (writer, "INSERT INTO w VALUES (%s, md5('x'))" % values), (reader, 'INSERT INTO w2 VALUES (1)'), (writer, 'COMMIT'), (reader, 'COMMIT'))]
        reader.exec("ROLLBACK; DELETE FROM w WHERE length(pad) = 32")
        failed = any(e is not None for e in errors)
        check(all(e is None or e.sqlstate in ('40001', '25P02') for e in errors), str(errors))
        check(failed or not expected, '%s (%s): a row (%s) was inserted unnoticed, read in the order of %s' % (table_am, definition, values, order))
        # pages read are locked, so a row that does not match may be noticed; not if it is far from those that do
        check(not failed or expected is not False, '%s (%s): a row (%s) is none of those asked for, and on a page that need not be read in the order of %s' % (
            table_am, definition, values, order))


def conflicts(server, seed, options):
    for table_am in sorted({'heap', AM}):
        for definition, backward in (('a, b', 'a DESC, b DESC'), ('a DESC, b', 'a, b DESC'), ('a, b DESC', 'a DESC, b')):
            with server.connect() as c:
                c.exec('DROP TABLE IF EXISTS w, w2; CREATE TABLE w (a int, b int, pad text) USING %s; CREATE TABLE w2 (x int) USING %s' % (table_am, table_am))
                c.exec("INSERT INTO w SELECT g * 10, b, string_agg(md5(g * b::bigint + i::text::bigint || 'x'), '') FROM generate_series(1, 20) g, generate_series(1, 100) b, generate_series(1, 14) i GROUP BY 1, 2")
                c.exec('CREATE INDEX w_ab ON w USING %s (%s) INCLUDE (pad)' % (METHOD, definition))
                c.exec('VACUUM ANALYZE w')
            places = [(a, 50) for a in (-5, 0, 10, 15, 100, 101, 199, 200, 205, 'NULL')]
            for order in (definition, backward):
                for a, b in places:
                    conflict(server, table_am, definition, order, '%s, %s' % (a, b), True)
                # pages in the middle of a group
                for a, b in ((50, 20), (100, 80), (150, 75)):
                    conflict(server, table_am, definition, order, '%s, %s' % (a, b), False if ENGINE else None)
    say('conflicts noticed')


PARTS = {'answers': answers, 'effect': effect, 'plans': plans, 'conflicts': conflicts}


def test(options):
    server = cluster.make('index-skip', conf=dict(jit='off', shared_buffers='64MB', max_pred_locks_per_transaction='1000'))
    for seed in range(options.seed, options.seed + options.seeds):
        for part in options.parts.split(','):
            PARTS[part](server, seed, options)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--parts', default='answers,effect,plans,conflicts')
    parser.add_argument('--seeds', type=int)
    parser.add_argument('--shapes', type=int, help='tables of answers')
    parser.add_argument('--rows', type=int, help='most of them, of each table')
    parser.add_argument('--questions', type=int, help='conditions of each table')
    argv = parser.parse_args()
    long = argv.long
    parser.set_defaults(seeds=5 if long else 1, shapes=60 if long else 6, rows=6000, questions=40 if long else 12)
    harness.main(test, parser)
