#!/usr/bin/env python3
"""rowan_btree: what conditions say together, and the order that an index scan returns entries in.

random   tables of three columns (types, directions, NULLs) and random sets of conditions: arrays, several of them on one column, row
         comparisons, contradictions, types of one family mixed, arguments known only when the scan begins.  By index scan and
         index-only scan the rows come in the order of the index whether the query asks for it or not; scroll cursors go to and fro; merge
         joins go back to marks; bitmap scans and parallel scans return the same rows.  A sequential scan, sorted, is the judge
family   an operator family that lacks the functions to compare some of its types with each other: nothing can be said of two such
         conditions together, and nothing is
arrays   arrays behind ranges and gaps, ORDER BY in both directions, every kind of scan
memory   what comparison functions keep for their next call does not pile up in a long scan
cancel   a bitmap scan is cancelled while it reads the index, not only afterwards

    index_keys.py --parts random --seed 7
"""
import collections
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, ENGINE, Failure, check, say

METHOD = 'rowan_btree' if ENGINE else 'btree'
PARALLEL = ('SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; '
            'SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = %d')
ORDERS = ['', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST']
REVERSE = {'': ' DESC', ' DESC': '', ' NULLS FIRST': ' DESC NULLS LAST', ' DESC NULLS LAST': ' NULLS FIRST'}
OPERATORS = ['=', '=', '<', '<=', '>=', '>']


def only(how, sort='off'):
    """Settings; core's planner lets an index-only scan count as an index scan, too."""
    kinds = {how, 'indexscan'} if how == 'indexonlyscan' else {how}
    return '; '.join('SET enable_%s = %s' % (k, 'on' if k in kinds else 'off')
                     for k in ('seqscan', 'indexscan', 'indexonlyscan', 'bitmapscan')) + '; SET enable_sort = ' + sort


def edge(low, high, then):
    """Value number n: two at the ends of the type, the others between."""
    return lambda n: low if n == 0 else high if n == 1 else then(n)


# value number n of a type; the types that its columns are compared with, and what their values are made by
INTEGERS = {
    'int2': edge(-32768, 32767, lambda n: n - 20),
    'int4': edge(-2147483648, 2147483647, lambda n: n - 20),
    'int8': edge(-9223372036854775808, 9223372036854775807, lambda n: n - 20),
}
DAYS = {
    'date': edge('-infinity', 'infinity', lambda n: '2020-%02d-%02d' % (n // 28 % 12 + 1, n % 28 + 1)),
    'timestamp': edge('-infinity', 'infinity', lambda n: '2020-%02d-%02d %s' % (n // 28 % 12 + 1, n % 28 + 1, '12:00' if n % 5 == 4 else '')),
    'timestamptz': edge('-infinity', 'infinity', lambda n: '2020-%02d-%02d' % (n // 28 % 12 + 1, n % 28 + 1)),
}
FLOATS = {t: edge('-infinity', 'NaN', lambda n: '-0' if n == 3 else '0' if n == 4 else n / 4 - 2) for t in ('float4', 'float8')}
STRINGS = {t: edge('', '~', lambda n: 'k%03d' % n) for t in ('text', 'name')}
TYPES = {
    'int2': INTEGERS, 'int4': INTEGERS, 'int8': INTEGERS, 'positive': {'int4': INTEGERS['int4'], 'int8': INTEGERS['int8']},
    'date': DAYS, 'timestamp': DAYS, 'timestamptz': DAYS, 'float4': FLOATS, 'float8': FLOATS, 'text': {'text': STRINGS['text']}, 'name': STRINGS,
    'text COLLATE "C"': {'text': STRINGS['text']}, 'numeric': {'numeric': edge('-1e30', 'NaN', lambda n: n / 8)},
    'bool': {'bool': lambda n: n % 2 == 0}, 'uuid': {'uuid': lambda n: '%08x-0000-0000-0000-%012x' % (n * 77777 % 2 ** 32, n)},
    'int4[]': {'int4[]': lambda n: '{%d,%d}' % (n // 3, n % 3)}, 'pair': {'pair': lambda n: '(%d,x%d)' % (n // 3, n % 3)},
    'int4range': {'int4range': lambda n: '[%d,%d)' % (n // 3, n // 3 + n % 3)},
}
OWN = {'positive': 'int4', 'text COLLATE "C"': 'text'}
SETUP = "CREATE TYPE pair AS (x int, y text); CREATE DOMAIN positive AS int4"


class Shape:
    """A table with an index on (a, b, c)."""

    def __init__(self, c, rnd, rows):
        self.c, self.rnd, self.rows = c, rnd, rows
        self.types = [rnd.choice(rnd.choice([list(TYPES), list(INTEGERS), list(INTEGERS)])) for _ in range(3)]
        self.orders = [rnd.choice(ORDERS) for _ in range(3)]
        self.values = [rnd.choice([3, 8, 40, 200]), rnd.choice([3, 8, 40]), rnd.choice([4, 10, 100])]
        self.by_index = self.plans = 0
        self.nulls = rnd.choice([0, 0.08, 0.3])
        self.pads = [''.join('%08x' % rnd.getrandbits(32) for _ in range(n)) for n in (1, 1, 20, 50) for _ in range(8)]
        self.name = ', '.join('%s%s of %d' % x for x in zip(self.types, self.orders, self.values))
        # pad: few or many entries on a leaf
        c.exec('DROP TABLE IF EXISTS s CASCADE; CREATE TABLE s (a %s, b %s, c %s, i serial, pad text) USING %s WITH (parallel_workers = 2)' % (*self.types, AM))
        c.exec('CREATE INDEX s_abc ON s USING %s (a%s, b%s, c%s) INCLUDE (pad)' % (METHOD, *self.orders))
        for n in (rows // 2, rows // 2):
            c.exec('INSERT INTO s (a, b, c, pad) VALUES ' + ', '.join(self.row() for _ in range(n)))
            if rnd.random() < 0.3:
                c.exec('REINDEX INDEX s_abc')
        c.exec('DELETE FROM s WHERE i %% 7 = %d' % rnd.randrange(10))
        c.exec('VACUUM ANALYZE s')

    def row(self):
        value = lambda i: 'NULL' if self.rnd.random() < self.nulls else "'%s'" % self.types_of(i)[self.own(i)](self.rnd.randrange(self.values[i]))
        return "(%s, '%s')" % (', '.join(value(i) for i in range(3)), self.rnd.choice(self.pads))

    # ---- conditions ----

    def types_of(self, i):
        return TYPES[self.types[i]]

    def own(self, i):
        return OWN.get(self.types[i], self.types[i])

    def other_type(self, i):
        return self.own(i) if self.rnd.random() < 0.5 else self.rnd.choice(list(self.types_of(i)))

    def value(self, i, kind):
        n = self.rnd.randrange(2 if self.rnd.random() < 0.05 else self.values[i] + 2)
        return self.types_of(i)[kind](n)

    def late(self, expression):
        """Perhaps known only when the scan begins, so that the planner can't simplify."""
        return expression if self.rnd.random() < 0.6 else '(SELECT %s)' % expression

    def literal(self, i, kind=None):
        kind = kind or self.other_type(i)
        if self.rnd.random() < 0.02:
            return self.late('NULL::' + kind)
        return self.late("'%s'::%s" % (self.value(i, kind), kind))

    def array(self, i):
        kind = self.other_type(i)
        if self.rnd.random() < 0.02:
            return self.late(self.rnd.choice(['NULL::%s[]', "'{}'::%s[]", 'ARRAY[NULL]::%s[]']) % kind) + '::%s[]' % kind
        n = self.rnd.choice([1, 2, 3, 3, 5, 8, 60])
        elements = ['NULL' if self.rnd.random() < 0.03 else "'%s'" % self.value(i, kind) for _ in range(n)]
        return self.late('ARRAY[%s]::%s[]' % (', '.join(elements), kind)) + '::%s[]' % kind     # the cast: no subquery as ANY knows them

    def any_of(self, i, operator):
        if self.own(i).endswith('[]'):          # an array of arrays is an array
            return '%s %s %s' % ('abc'[i], operator, self.literal(i))
        return '%s %s ANY (%s)' % ('abc'[i], operator, self.array(i))

    def row_comparison(self, i):
        columns = self.rnd.choice([range(i, 3), range(i, 3), range(i, min(i + 2, 3)), self.rnd.sample(range(3), 2), [i, i]])
        if len(columns) < 2:
            columns = [i, 0]
        return '(%s) %s (%s)' % (', '.join('abc'[k] for k in columns), self.rnd.choice(['<', '<=', '>', '>=']),
                                 ', '.join(self.literal(k) for k in columns))

    def condition(self, i):
        name, kind = 'abc'[i], self.rnd.random()
        if kind < 0.35:
            return '%s %s %s' % (name, self.rnd.choice(OPERATORS), self.literal(i))
        if kind < 0.65:
            return self.any_of(i, '=')
        if kind < 0.7:
            return self.any_of(i, self.rnd.choice(OPERATORS))
        if kind < 0.75:
            return name + ' IS NULL'
        if kind < 0.8:
            return name + ' IS NOT NULL'
        if kind < 0.88:
            return '%s BETWEEN %s AND %s' % (name, self.literal(i), self.literal(i))
        return self.row_comparison(i)

    def conditions(self):
        columns = [self.rnd.randrange(3) for _ in range(self.rnd.choice([1, 2, 2, 3, 3, 4, 5]))]
        if self.rnd.random() < 0.3:             # several on one column
            columns.append(columns[0])
        return ' AND '.join(self.condition(i) for i in columns)

    def order(self, backward):
        return ', '.join(n + (REVERSE[o] if backward else o) for n, o in zip('abc', self.orders))

    # ---- comparing ----

    def columns(self):
        """Equal values must look the same."""
        return ', '.join(n + ' + 0' if 'float' in t else n for n, t in zip('abc', self.types))

    def fail(self, what, answer, expected):
        for k, (x, y) in enumerate(zip(answer, expected)):
            if x != y:
                break
        else:
            k = min(len(answer), len(expected))
        raise Failure('(%s): %s: %d rows, a sequential scan has %d; row %d: %s | %s' % (
            self.name, what, len(answer), len(expected), k, answer[k:k + 3], expected[k:k + 3]))

    def same(self, what, answer, expected):
        if answer != expected:
            self.fail(what, answer, expected)

    def is_scan_of_index(self, query):
        """A condition that is always false has no plan; a row comparison that the index can't use may have another one."""
        plan = '\n'.join(r[0] for r in self.c.rows('EXPLAIN ' + query))
        found = re.match(r'Index (Only )?Scan .*using s_abc', plan) is not None
        self.by_index += found
        self.plans += 1
        return found

    def ask(self):
        c, condition, columns = self.c, self.conditions(), self.columns()
        c.exec(only('seqscan', 'on'))
        what = condition
        expected = c.rows('SELECT %s FROM s WHERE %s ORDER BY %s' % (columns, condition, self.order(False)))
        numbers = c.rows('SELECT i FROM s WHERE %s ORDER BY i' % condition)
        for how in ('indexscan', 'indexonlyscan'):
            c.exec(only(how))
            query = 'SELECT %s FROM s WHERE %s' % (columns, condition)
            if self.is_scan_of_index(query):
                self.same('%s by %s, as it comes' % (what, how), c.rows(query), expected)
            c.exec(only(how, 'on'))
            self.same('%s by %s, numbers' % (what, how), c.rows('SELECT i FROM s WHERE %s ORDER BY i' % condition), numbers)
            c.exec(only(how))
            backward = self.rnd.random() < 0.5
            answer = c.rows(query + ' ORDER BY ' + self.order(backward))
            self.same('%s by %s, ordered%s' % (what, how, ' backward' if backward else ''), answer[::-1] if backward else answer, expected)
            if self.rnd.random() < 0.5 and self.is_scan_of_index(query):
                self.scroll(what + ' by ' + how, query, expected)
        c.exec(only('bitmapscan', 'on'))
        self.same(what + ' by bitmapscan', c.rows('SELECT i FROM s WHERE %s ORDER BY i' % condition), numbers)
        if self.rnd.random() < 0.2:
            self.merge_join(condition)
        if self.rnd.random() < 0.15:
            self.in_parallel(condition, numbers)
        return len(expected)

    def scroll(self, what, query, expected):
        """What a cursor must return is known from where it is."""
        c, rnd, at, n = self.c, self.rnd, 0, len(expected)      # on row `at`, from 1
        c.exec('BEGIN; DECLARE k SCROLL CURSOR FOR ' + query)
        for _ in range(rnd.randrange(2, 12)):
            count = rnd.choice([1, 1, 2, 7, 50, 'ALL'])
            if rnd.random() < 0.5:
                k = n if count == 'ALL' else min(count, n - at)
                rows, to, end = expected[at:at + max(k, 0)], at + (n + 1 if count == 'ALL' else count), 'FORWARD'
                if count == 'ALL':
                    rows = expected[at:]
                at = min(to, n + 1)
            else:
                first = 1 if count == 'ALL' else max(at - count, 1)
                rows, end = expected[first - 1:at - 1][::-1] if at > 1 else [], 'BACKWARD'
                at = 0 if count == 'ALL' else max(at - count, 0)
            answer = c.rows('FETCH %s %s FROM k' % (end, count))
            self.same('%s, FETCH %s %s to row %d' % (what, end, count, at), answer, rows)
        c.exec('COMMIT')

    def merge_join(self, condition):
        c = self.c
        query = 'SELECT count(*), sum(x.i::int8 * s.i) FROM (SELECT a, i FROM s WHERE i %% 3 = 1 ORDER BY a%s OFFSET 0) x JOIN s USING (a) WHERE %s' % (
            self.orders[0], re.sub(r'\ba\b(?! \+)', 's.a', condition).replace("'s.a'", "'a'"))
        c.exec('RESET ALL; SET enable_mergejoin = off; SET enable_nestloop = off; SET enable_indexscan = off; SET enable_bitmapscan = off')
        expected = c.rows(query)
        c.exec('RESET ALL; SET enable_hashjoin = off; SET enable_nestloop = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_material = off')
        self.same('merge join, ' + condition, c.rows(query), expected)
        c.exec('RESET ALL')

    def in_parallel(self, condition, numbers):
        c = self.c
        for how in ('indexscan', 'bitmapscan'):
            c.exec(only(how, 'on') + '; ' + PARALLEL % 2)
            self.same('%s by %s in several processes' % (condition, how), c.rows('SELECT i FROM s WHERE %s ORDER BY i' % condition), numbers)
        c.exec('SET max_parallel_workers_per_gather = 0')


def random_part(server, rnd, options):
    with server.connect() as c:
        c.exec(SETUP)
        c.exec("SET max_parallel_workers_per_gather = 0")
        end = time.time() + options.seconds if options.seconds else None
        shapes = asked = rows = by_index = plans = 0
        while (time.time() < end) if end else shapes < options.shapes:
            shape = Shape(c, rnd, rnd.choice([40, 400, 1500]))
            for _ in range(options.questions):
                rows += shape.ask()
                asked += 1
            shapes, by_index, plans = shapes + 1, by_index + shape.by_index, plans + shape.plans
        server.verify('s')
    check(by_index > plans / 2, 'of %d plans only %d scan the index' % (plans, by_index))
    say('random: %d shapes, %d sets of conditions, %d rows; %d of %d plans scan the index' % (shapes, asked, rows, by_index, plans))


# ---- a family with gaps ----

FAMILY = """
CREATE OPERATOR FAMILY gappy USING {m};
CREATE OPERATOR CLASS gappy FOR TYPE float8 USING {m} FAMILY gappy AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btfloat8cmp(float8, float8);
ALTER OPERATOR FAMILY gappy USING {m} ADD OPERATOR 1 < (float8, float4), OPERATOR 2 <= (float8, float4), OPERATOR 3 = (float8, float4),
    OPERATOR 4 >= (float8, float4), OPERATOR 5 > (float8, float4), FUNCTION 1 (float8, float4) btfloat84cmp(float8, float4);
CREATE TABLE f (a float8, b float8, i serial) USING {am};
CREATE INDEX f_ab ON f USING {m} (a gappy{x}, b gappy{y});
INSERT INTO f (a, b) SELECT nullif(i * 7919 % 30, 3), nullif(i * 31 % 12, 5) FROM generate_series(1, 1500) i;
"""


def family_part(server, rnd, options):
    conditions = 0
    with server.connect() as c:
        for x, y in zip(rnd.sample(ORDERS, 2), rnd.sample(ORDERS, 2)):
            c.exec('DROP TABLE IF EXISTS f; DROP OPERATOR FAMILY IF EXISTS gappy USING %s' % METHOD)
            c.exec(FAMILY.format(m=METHOD, am=AM, x=x, y=y))
            c.exec('VACUUM ANALYZE f')
            for _ in range(options.questions * 4):
                one = lambda: '%s %s %d::%s' % (rnd.choice('aab'), rnd.choice(OPERATORS), rnd.randrange(31), rnd.choice(['float4', 'float4', 'float8']))
                condition = ' AND '.join(one() for _ in range(rnd.randrange(1, 5)))
                if rnd.random() < 0.3:
                    condition += ' AND a = ANY (ARRAY[%s]::float8[])' % ', '.join(str(rnd.randrange(31)) for _ in range(rnd.randrange(1, 9)))
                query = 'SELECT a, b, i FROM f WHERE ' + condition
                order = ' ORDER BY a%s, b%s, i' % (x, y)
                c.exec(only('seqscan', 'on'))
                expected = c.rows(query + order)
                c.exec(only('indexscan'))
                answer = c.rows(query)
                check([r[:2] for r in answer] == [r[:2] for r in expected] and sorted(r[2] for r in answer) == sorted(r[2] for r in expected),
                      'a%s, b%s: %s: %d rows, a sequential scan has %d' % (x, y, condition, len(answer), len(expected)))
                plan = str(c.rows('EXPLAIN ' + query))       # newer planners see some contradictions
                check('f_ab' in plan or 'One-Time Filter: false' in plan, 'the index is not used: ' + condition)
                conditions += 1
    say('family: %d sets of conditions' % conditions)


# ---- arrays and order ----

ARRAYS = ["a > 5 AND b = ANY ('{3,7,1}')", "a = ANY ('{5,2,9}') AND c = ANY ('{1,2}')", "b = ANY ('{1,5}')", "a = ANY ('{1,2,3}') AND b > 4 AND c = ANY ('{3,9}')",
          "a = 3 AND b = ANY ('{4,2}') AND c < 9", "a < 8 AND b = 3 AND c = ANY ('{1,7}')", "a IS NOT NULL AND b = ANY ('{1,2}')", "a = ANY ('{1,2}') AND a > 1",
          "a >= ANY ('{3,4}') AND c = 2", "a = ANY ('{1,2,3,4}') AND b = ANY ('{9,5}') AND c = ANY ('{0,20,3}')", "(a, b) > (5, 3) AND c = ANY ('{4,8}')",
          "a = ANY ('{5,7}') AND (b, c) <= (8, 3)", "a = 5 AND a = ANY ('{5,6}') AND b = ANY ('{1,2,3}') AND b = ANY ('{3,4,1}')", "c = ANY ('{0,20}')"]


def arrays_part(server, rnd, options):
    """From 17 on core asks every method for index order, whichever columns have arrays; so each scan is looked at as it comes, too."""
    with server.connect() as c:
        c.exec('CREATE TABLE sa (a int, b int, c int) USING %s' % AM)
        c.exec('INSERT INTO sa SELECT (random()*20)::int, (random()*20)::int, (random()*20)::int FROM generate_series(1, 20000)')
        c.exec('CREATE INDEX sa_i ON sa USING %s (a, b DESC, c)' % METHOD)
        c.exec('VACUUM ANALYZE sa')
        for condition in ARRAYS:
            query = 'SELECT a, b, c FROM sa WHERE ' + condition
            for order in ('a, b DESC, c', 'a DESC, b, c DESC'):
                c.exec(only('seqscan', 'on'))
                expected = c.rows(query + ' ORDER BY ' + order)
                check(expected, 'no rows: ' + condition)
                for how in ('indexscan', 'indexonlyscan', 'bitmapscan'):
                    c.exec(only(how, 'on' if how == 'bitmapscan' else 'off'))
                    check(c.rows(query + ' ORDER BY ' + order) == expected, '%s by %s ORDER BY %s: not what a sequential scan says' % (condition, how, order))
                    if how != 'bitmapscan':
                        plan = c.rows('EXPLAIN ' + query); check('sa_i' in str(plan), 'the index is not used: %s: %s' % (condition, plan))
                        check(c.rows(query) == expected or 'a DESC' in order, '%s by %s: not in the order of the index' % (condition, how))
    say('arrays: %d sets of conditions' % len(ARRAYS))


# ---- memory ----

SQL_CLASS = """
CREATE FUNCTION compare_in_sql(text, text) RETURNS int LANGUAGE sql IMMUTABLE STRICT
    AS 'SELECT bttextcmp($1, $2)';
CREATE OPERATOR CLASS in_sql FOR TYPE text USING {m} AS OPERATOR 1 <, OPERATOR 2 <=,
    OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compare_in_sql(text, text);
CREATE TABLE sm (a text, b int, pad text) USING {am};
INSERT INTO sm SELECT 'k' || i / 40, i % 40, repeat(md5(i::text), 10)
    FROM generate_series(1, 8000) i;
CREATE INDEX sm_i ON sm USING {m} (a in_sql, b) INCLUDE (pad);
"""


def memory_part(server, rnd, options):
    """Functions in SQL have a memory context of their own wherever they are called from."""
    contexts = "SELECT count(*) FROM pg_backend_memory_contexts WHERE name LIKE 'SQL function%'"
    with server.connect() as c:
        c.exec(SQL_CLASS.format(m=METHOD, am=AM))
        c.exec('VACUUM ANALYZE sm')
        c.exec(only('indexscan') + '; SET max_parallel_workers_per_gather = 0')
        for condition in ("a >= 'a'", "a >= 'a' AND b = 5"):
            c.exec('BEGIN; DECLARE k CURSOR FOR SELECT b FROM sm WHERE ' + condition)
            c.exec('MOVE 3 FROM k')
            before = int(c.rows(contexts)[0][0])
            c.exec('MOVE 190 FROM k' if 'b' in condition else 'MOVE 7900 FROM k')
            added = int(c.rows(contexts)[0][0]) - before
            check(added < 20, '%s: %d contexts more at the end of the scan' % (condition, added))
            c.exec('COMMIT')
    say('memory: 2 scans')


# ---- cancelling ----

COUNTS = "SELECT idx_scan, idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'sc_a'"


def counts(c):
    """Of scans begun, and of entries that ended ones have read."""
    c.exec('SELECT pg_stat_force_next_flush()')
    c.exec('SELECT pg_stat_clear_snapshot()')
    return tuple(int(n) for n in c.rows(COUNTS)[0])


def cancel_part(server, rnd, options):
    """Time-outs of all lengths, until one comes between beginning and end of the index scan."""
    with server.connect() as c:
        c.exec('CREATE TABLE sc (a int) USING %s' % AM)
        c.exec('INSERT INTO sc SELECT i FROM generate_series(1, 300000) i')
        c.exec('CREATE INDEX sc_a ON sc USING %s (a)' % METHOD)
        c.exec('VACUUM ANALYZE sc')
        c.exec(only('bitmapscan') + '; SET max_parallel_workers_per_gather = 0')
        # not known to the planner: it would look into the index, too
        query = 'SELECT count(*) FROM sc WHERE a > (SELECT 0)'
        c.rows(query)
        within = False
        for n in range(400):
            before = counts(c)
            c.exec('SET statement_timeout = %d' % (n % 40 + 1))
            try:
                c.rows(query)
            except pq.Error as e:
                check(e.sqlstate == '57014', str(e))
            c.exec('SET statement_timeout = 0')
            after = counts(c)
            within = after[0] > before[0] and after[1] == before[1]
            if within:
                break
        check(within, 'no time-out ended a bitmap scan while it read the index')
    say('cancel: after %d time-outs' % (n + 1))


PARTS = {'random': random_part, 'family': family_part, 'arrays': arrays_part,
         'memory': memory_part, 'cancel': cancel_part}


def test(options):
    seed = options.seed if options.seed is not None else random.randrange(10 ** 6)
    say('seed %d' % seed)
    server = cluster.make(conf={'max_parallel_workers': 8, 'work_mem': '16MB'})
    if options.long and not options.seconds:
        options.seconds = 1200
    for part in options.parts.split(','):
        PARTS[part](server, random.Random('%s-%d' % (part, seed)), options)


if __name__ == '__main__':
    p = harness.arguments(__doc__)
    p.add_argument('--parts', default=','.join(PARTS))
    p.add_argument('--shapes', type=int, default=12)
    p.add_argument('--questions', type=int, default=40)
    p.add_argument('--seconds', type=int, help='random: so long, rather than so many shapes')
    harness.main(test, p)
