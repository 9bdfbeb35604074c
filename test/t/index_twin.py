#!/usr/bin/env python3
"""rowan_btree against btree, on heap tables and on tables of the engine.

dml      the same random statements of four interleaved sessions on two tables with the same indexes, of rowan_btree and of
         btree: same rows, same errors (unique!), same waiting; same answers through each index and by sequential scan
classes  every operator class: a table with both kinds of index; each operator of the family, IN, IS NULL, row comparison, ranges, order
         forward and backward, through one, through the other, and by sequential scan, between changes and VACUUM
storm    four sessions at once, on rowan_btree indexes: within one snapshot every way to the rows gives the same

    index_twin.py --parts classes --only numeric_ops --seed 7
"""
import os
import random
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
import cluster
import harness
import optypes
import pq
import twin
from harness import AM, ENGINE, Failure, check, say
from twin import Difference

METHOD = harness.env('ROWAN_TEST_INDEX_AM') or ('rowan_btree' if ENGINE else 'btree')
# from 18 on: two of the unique indexes are of constraints
KEYS = ENGINE and harness.major() >= 18
WAYS = {
    'seq': 'SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off',
    'index': 'SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off',
    'bitmap': 'SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off',
}


def difference(a, b):
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return 'row %d: %s | %s (of %d | %d)' % (i, str(x)[:300], str(y)[:300], len(a), len(b))
    return '%d rows | %d rows, first beyond: %s' % (len(a), len(b), str((a + b)[min(len(a), len(b))])[:300])


# ---- dml ----

INDEXES = {
    'k': '(k)', 'kd': '(k DESC NULLS LAST, d) INCLUDE (b)', 's': '(s text_pattern_ops, id)', 'ts': '(ts DESC)', 'r': '(r, id)',
    'ks': '((k % 10), d) WHERE b', 'arr': '(arr NULLS FIRST)', 'p': '(p COLLATE "C" DESC, k NULLS FIRST)', 'low': '(b)',
}
UNIQUE = {'id': '(id)', 'kp': '(k, p, ts) NULLS NOT DISTINCT WHERE k < 50', 'tsu': '(ts, s, k)'}
# condition, order
QUERIES = [
    ('true', 'id'), ('true', 'id DESC'), ('id = {x}', 'id'), ('id IN (1, {x}, 7, NULL, {x} * 3, 7)', 'id DESC'),
    ('k >= 0', 'k'), ('k BETWEEN {x} AND {x} + 100', 'k DESC'), ('k IS NULL', 'k'), ('k IS NOT NULL', 'k'), ('k = {x} AND d IS NULL', 'k'),
    ('k = ANY (ARRAY[{x}, 3, {x} + 1, NULL, 900])', 'k DESC NULLS LAST, d'), ('k < {x} * 10', 'k DESC NULLS LAST, d'),
    ('k > {x}', 'k NULLS FIRST, d DESC'), ("(k, d) > ({x} * 5, date '2021-01-01')", 'k NULLS FIRST, d DESC'), ("(k, d) <= ({x} * 5, date '2022-01-01')", 'k'),
    ("s ~~ 's{x}%'", 's USING ~<~, id'), ("s = 's{x}'", 's USING ~>~, id DESC'), ("ts > timestamp '2020-01-20'", 'ts'), ('ts IS NULL', 'ts'),
    ("ts <= timestamp '2020-01-01' + {x} * interval '3 h'", 'ts DESC'), ('r > int4range({x}, {x} + 3)', 'r, id'), ('r <= int4range({x}, {x} + 3)', 'r DESC, id DESC'),
    ('b AND k % 10 = {x} % 10', '(k % 10), d'), ('b AND k % 10 IN (1, 4, {x} % 10)', '(k % 10) DESC, d DESC'), ("arr = '{{{x}}}'", 'arr'), ("arr < '{{{x}}}'", 'arr'),
    ("p COLLATE \"C\" > 'p{x}'", 'p COLLATE "C" DESC, k NULLS FIRST'), ("p COLLATE \"C\" <= 'p{x}'", 'p COLLATE "C", k DESC NULLS LAST'),
    ('b', 'b'), ('NOT b', 'b DESC'), ('b IS NULL', 'b'),
]


def ordered_columns(order):
    """What the order says about the rows' sequence, as a select list; the order itself breaks no ties."""
    return ', '.join(x.split(' DESC')[0].split(' NULLS')[0].split(' USING')[0].strip() for x in order.split(', '))


class IndexRun(twin.Run):
    # before 18 core refuses ON CONFLICT
    OPTIONAL = [x for x in twin.Run.OPTIONAL if KEYS or not x[1].startswith('upsert')]

    def __init__(self, server, seed, statements, table_am):
        self.table_am = table_am
        twin.INDEXES = INDEXES
        super().__init__(server, seed, statements, None, self.OPTIONAL)
        self.features_solo = (('vacuum',),)

    def setup(self):
        self.tables = ['ix_btree', 'ix_ours']
        self.methods = dict(zip(self.tables, ('btree', METHOD)))
        for t in self.tables:
            key = '' if self.methods[t] == 'btree' else ' WITH (rowan_btree)'
            columns = twin.COLUMNS.replace('PRIMARY KEY', 'CONSTRAINT %s_id PRIMARY KEY%s' % (t, key)
                                           if KEYS else 'NOT NULL')
            self.monitor.exec('DROP TABLE IF EXISTS %s; CREATE TABLE %s (%s) USING %s' % (
                t, t, columns, self.table_am))
            for name, definition in INDEXES.items():
                self.monitor.exec('CREATE INDEX %s_%s ON %s USING %s %s' % (t, name, t, self.methods[t], definition))
            for name, definition in UNIQUE.items():
                if KEYS and name == 'id':
                    continue
                if KEYS and name == 'tsu':
                    self.monitor.exec('ALTER TABLE %s ADD CONSTRAINT %s_%s UNIQUE %s%s'
                                      % (t, t, name, definition, key))
                    continue
                self.monitor.exec('CREATE UNIQUE INDEX %s_%s ON %s USING %s %s' % (t, name, t, self.methods[t], definition))
        rows = self.many_rows(1, 400)
        for t in self.tables:
            self.monitor.exec(rows.replace('{t}', t))
        self.next_id = 401

    def rebuild_index(self):
        name = self.rnd.choice(list(INDEXES))
        yield 'DROP INDEX {t}_%s' % name
        yield 'UPDATE {t} SET v = v + 1 WHERE id % 11 = 3'
        for c, t in zip(self.sessions[0].pair, self.tables):
            c.exec('CREATE INDEX %s_%s ON %s USING %s %s' % (t, name, t, self.methods[t], INDEXES[name]))
        yield 'REINDEX INDEX {t}_%s' % self.rnd.choice(list(UNIQUE) + list(INDEXES))

    def vacuum(self):
        yield self.rnd.choice(['VACUUM {t}', 'VACUUM (INDEX_CLEANUP on) {t}', 'VACUUM ANALYZE {t}'])

    def compare(self, query):
        if query not in QUERIES:
            query = self.rnd.choice(QUERIES)
        condition, order = query
        condition = condition.format(x=self.rnd.randrange(100))
        sql = 'SELECT %s FROM {t} t WHERE %s ORDER BY %s' % (ordered_columns(order), condition, order)
        content = 'SELECT %s FROM {t} t WHERE %s' % (twin.FINGERPRINT, condition)
        answers = {}
        for t in self.tables:
            for way, setting in WAYS.items():
                self.monitor.exec('BEGIN; ' + setting)
                answers[t, way] = (self.monitor.rows(content.replace('{t}', t)), self.monitor.rows(sql.replace('{t}', t)))
                self.monitor.exec('COMMIT')
        self.compared += 1
        first = answers[self.tables[0], 'seq']
        for where, answer in answers.items():
            if answer[0] != first[0]:
                raise Difference('contents of %s by %s differ: %s, %s by sequential scan with btree\n%s\n%s' % (
                    where + (answer[0], first[0], content, self.rows_apart())))
            if answer[1] != first[1]:
                raise Difference('order of %s by %s differs: %s\n%s' % (where + (difference(answer[1], first[1]), sql)))

    def compare_all(self):
        for q in QUERIES:
            self.compare(q)
        self.server.verify('ix_ours') if self.table_am == AM else None
        verify_indexes(self.server, 'ix_ours')


def verify_indexes(server, table):
    if hasattr(server, 'verify_indexes'):
        server.verify_indexes(table)


def dml(server, seed, options):
    for table_am in sorted({'heap', AM}):
        start = time.time()
        run = IndexRun(server, seed, options.statements, table_am)
        try:
            run.go()
        except (Failure, pq.Error) as e:
            raise Failure('seed %d, %s, statement %d: %s\nlast statements:\n  %s' % (
                seed, table_am, run.statements, e, '\n  '.join(x[:240] for x in run.history[-25:])))
        run.close()
        say('seed %d: dml on %s: %d statements, %d comparisons, %d waits, errors %s, %.0f s' % (
            seed, table_am, run.statements, run.compared, run.waits, run.errors, time.time() - start))


# ---- classes ----

VARIANTS = ['c {o}', 'c {o} DESC', 'c {o} NULLS FIRST', 'c {o} DESC NULLS LAST', 'c {o}, id', 'c {o} DESC, id', '(id % 3), c {o}', 'id, c {o}']


class ClassRun:
    """One operator class on one kind of table."""

    def __init__(self, c, rnd, name, input_type, family, table_am):
        self.c, self.rnd, self.name, self.input_type = c, rnd, name, input_type
        self.type, self.value = optypes.VALUES[input_type]
        self.operators = optypes.operators(c, family, input_type)
        self.next, self.asked, self.by_index = 0, 0, 0
        self.variant = rnd.choice(VARIANTS) if rnd.random() < 0.7 else 'c {o}'
        self.where = rnd.choice(['', '', '', ' WHERE id % 5 <> 0'])
        self.include = rnd.choice(['', '', ' INCLUDE (id)'] if 'id' not in self.variant else [''])
        self.span = rnd.choice([30, 400, 100000])
        self.collate = ' COLLATE "%s"' % rnd.choice(self.collations()) if self.collatable() else ''
        if self.collate and self.collate != ' COLLATE "C"':     # name's is C: the two would be in conflict
            self.operators = [x for x in self.operators if x[2] != 'name']
        self.setup(table_am)

    def collations(self):
        """Some servers are built without ICU."""
        icu = self.c.rows("SELECT collname FROM pg_collation WHERE collname IN ('und-x-icu', 'en-x-icu') ORDER BY 1")
        return ['C', 'C', 'default'] + [r[0] for r in icu]

    def collatable(self):
        return self.c.one("SELECT typcollation <> 0 FROM pg_type WHERE oid = '%s'::regtype" % self.type) == 't' and 'name' not in self.type

    def setup(self, table_am):
        self.c.exec('DROP TABLE IF EXISTS oc; CREATE TABLE oc (id int, c %s%s) USING %s' % (self.type, self.collate, table_am))
        self.insert(self.rnd.choice([0, 40, 700]))
        for method in dict.fromkeys((METHOD, 'btree')):
            self.c.exec('CREATE INDEX oc_%s ON oc USING %s (%s)%s%s' % (
                method, method, self.variant.format(o=self.name), self.include, self.where))
        self.insert(self.rnd.choice([5, 40, 700]))

    def expression(self, r):
        return '(SELECT CASE WHEN %s %% 23 <> 1 THEN (%s)::%s END FROM (SELECT hashint4(%s) %% %d AS r) q)' % (
            r, self.value, self.type, r, self.span)

    def insert(self, n):
        if n:
            salt = self.rnd.randrange(10 ** 6)
            self.c.exec('INSERT INTO oc SELECT i, %s FROM generate_series(%d, %d) i' % (
                self.expression('(i + %d)' % salt), self.next, self.next + n - 1))
        self.next += n

    def change(self):
        a = self.rnd.randrange(self.next + 1)
        sql = self.rnd.choice(['UPDATE oc SET c = %s WHERE id BETWEEN %d AND %d' % (self.expression('(id + %d)' % a), a, a + self.rnd.choice([1, 50])),
                               'DELETE FROM oc WHERE id BETWEEN %d AND %d' % (a, a + self.rnd.choice([1, 50, 300])), None, None])
        if sql is None:
            self.insert(self.rnd.choice([1, 60, 300]))
            return
        how = self.rnd.choice(['%s', '%s', 'BEGIN; %s; ROLLBACK', 'BEGIN; SAVEPOINT a; %s; ROLLBACK TO a; COMMIT'])
        self.c.exec(how % sql)
        if self.rnd.random() < 0.15:
            self.c.exec('VACUUM oc')

    def literal(self, right):
        """A constant of the operator's right type: often a value that is there."""
        kind, expression = (self.type, self.value) if right == self.input_type or right not in optypes.VALUES else optypes.VALUES[right]
        if kind == self.type and self.rnd.random() < 0.6:
            v = self.c.one('SELECT quote_literal(c::text) FROM oc WHERE c IS NOT NULL ORDER BY id LIMIT 1 OFFSET %d' % self.rnd.randrange(self.next + 1))
            if v is not None:
                return '%s::%s' % (v, self.type)
        v = self.c.one('SELECT quote_literal(((%s)::%s)::text) FROM (SELECT %d AS r) q' % (expression, kind, abs(self.rnd.randrange(self.span))))
        return '%s::%s' % (v, kind)

    def any_of(self, operator, right):
        return 'c %s ANY (ARRAY[%s])' % (operator, ', '.join(self.literal(right) for _ in range(self.rnd.choice([1, 2, 5, 30]))))

    def condition(self):
        strategy, operator, right = self.rnd.choice(self.operators)
        kind = self.rnd.random()
        column = 'c'
        if kind < 0.45:
            q = '%s %s %s' % (column, operator, self.literal(right))
        elif kind < 0.6 and not self.type.endswith('[]'):       # an array of arrays is an array
            q = self.any_of(operator, right)
            if self.rnd.random() < 0.5:         # perhaps a contradiction
                other = self.rnd.choice(self.operators)
                q += ' AND ' + (self.any_of('=', self.input_type) if other[1] == '=' and self.rnd.random() < 0.5 else
                                'c %s %s' % (other[1], self.literal(other[2])))
        elif kind < 0.75:
            other = self.rnd.choice(self.operators)
            q = '%s %s %s AND %s %s %s' % (column, operator, self.literal(right), column, other[1], self.literal(other[2]))
        elif kind < 0.85:
            q = self.rnd.choice(['c IS NULL', 'c IS NOT NULL'])
        elif kind < 0.9:
            q = '(c %s %s OR c IS NULL)' % (operator, self.literal(right))
        elif kind < 0.95:
            q = 'c %s NULL' % operator
        else:
            q = 'true'
        if 'id' in self.variant and self.rnd.random() < 0.6:
            q += self.rnd.choice([' AND id % 3 = 1', ' AND id > %d' % self.rnd.randrange(self.next + 1), ' AND id = ANY (ARRAY[1, 5, %d])' % self.rnd.randrange(self.next + 1)])
        return q + self.where.replace(' WHERE', ' AND')

    def order(self):
        less = [o for s, o, r in self.operators if s == 1 and r == self.input_type][0]
        greater = [o for s, o, r in self.operators if s == 5 and r == self.input_type][0]
        using = self.rnd.choice([less, greater])
        nulls = self.rnd.choice(['', ' NULLS FIRST', ' NULLS LAST'])
        return 'c USING %s%s' % (using, nulls)

    def ask(self):
        condition, order = self.condition(), self.order()
        # equal values may look different: their sequence is free
        queries = ['SELECT count(*), coalesce(sum(hashint4(id)::bigint), 0) FROM oc WHERE ' + condition,
                   'SELECT dense_rank() OVER w, c IS NULL FROM oc WHERE %s WINDOW w AS (ORDER BY %s)' % (condition, order),
                   'SELECT c IS NULL, count(*) OVER (ORDER BY %s) FROM oc WHERE %s ORDER BY %s LIMIT 5' % (order, condition, order)]
        answers = {}
        for hidden, shown in (('btree', METHOD), (METHOD, 'btree')):
            self.c.exec("BEGIN; UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'oc_%s'::regclass AND '%s' <> '%s'" % (hidden, hidden, shown))
            for way, setting in WAYS.items():
                if way == 'seq' and shown != METHOD:
                    continue
                self.c.exec('SAVEPOINT w; ' + setting)
                answers[shown, way] = [self.c.rows(q) for q in queries]
                if way == 'index' and shown == METHOD:
                    self.by_index += 'oc_' + METHOD in str(self.c.rows('EXPLAIN ' + queries[0]))
                self.c.exec('ROLLBACK TO w')
            self.c.exec('ROLLBACK')
        first = answers[METHOD, 'seq']
        self.asked += 1
        for where, answer in answers.items():
            for q, x, y in zip(queries, answer, first):
                if x != y:
                    raise Difference('through %s by %s, and by sequential scan: %s\n%s\nindex: (%s)%s%s%s' % (
                        where + (difference(x, y), q, self.variant.format(o=self.name), self.include, self.where, self.collate)))


def all_classes(server, seed, options):
    with server.connect() as c:
        optypes.setup(c)
        classes = optypes.classes(c)
        unknown = [x[0] for x in classes if x[1] not in optypes.VALUES]
        check(not unknown, 'classes without values in optypes.py: %s' % unknown)
        start, asked, by_index = time.time(), 0, 0
        for name, input_type, family, _ in classes:
            if options.only and options.only not in name:
                continue
            rnd = random.Random('%d %s' % (seed, name))
            run = ClassRun(c, rnd, name, input_type, family, rnd.choice(['heap', AM]))
            try:
                for _ in range(options.changes):
                    run.change()
                    for _ in range(3):
                        run.ask()
                verify_indexes(server, 'oc')
                if run.variant.startswith('c '):
                    check(run.by_index > 0, 'no query used the index')
            except (Failure, pq.Error) as e:
                raise Failure('seed %d, %s: %s' % (seed, name, e))
            asked, by_index = asked + run.asked, by_index + run.by_index
        c.exec('DROP TABLE oc')
        say('seed %d: %d operator classes, %d conditions asked, %d through the index alone, %.0f s' % (seed, len(classes), asked, by_index, time.time() - start))


# ---- storm ----

STORM = """
DROP TABLE IF EXISTS storm;
CREATE TABLE storm (id int, k int, t text, f int) USING {am};
CREATE UNIQUE INDEX storm_id ON storm USING {m} (id);
CREATE INDEX storm_k ON storm USING {m} (k DESC, id);
CREATE INDEX storm_t ON storm USING {m} (t) INCLUDE (k);
CREATE INDEX storm_low ON storm USING {m} (f);
CREATE INDEX storm_part ON storm USING {m} (k) WHERE f = 1;
INSERT INTO storm SELECT i, i % 1000, 'http://example.org/path/' || i % 700, i % 4 FROM generate_series(1, 3000) i;
"""
ASKS = [
    ('true', 'id'), ('k BETWEEN {x} AND {x} + 200', 'k DESC, id'), ('k < {x}', 'k, id DESC'), ("t > 'http://example.org/path/{x}'", 't'),
    ('f = {x} % 4', 'f'), ('k > {x} AND f = 1', 'k DESC'), ('id IN ({x}, {x} + 7, {x} + 1000, 5, {x})', 'id'), ('k IN ({x}, 1, 500)', 'k, id DESC'),
    ('id > {x}', 'id DESC'), ('f IN (1, 3)', 'f DESC'),
]


class Stormer(threading.Thread):
    def __init__(self, server, seed, number, end):
        super().__init__(daemon=True)
        self.server, self.rnd, self.number, self.end = server, random.Random(seed * 100 + number), number, end
        self.trouble, self.changes, self.asks, self.errors = None, 0, 0, {}

    def run(self):
        try:
            with self.server.connect(options='-c deadlock_timeout=100ms') as c:
                while time.time() < self.end:
                    if self.rnd.random() < 0.2:
                        self.ask(c)
                    elif self.number == 0 and self.rnd.random() < 0.08:     # one after the other: truncating waits for those who wait
                        c.exec('VACUUM (TRUNCATE %s) storm' % self.rnd.choice(['off', 'off', 'off', 'on']))
                    else:
                        self.change(c)
        except Exception as e:
            self.trouble = '%s: %s' % (type(e).__name__, e)

    def change(self, c):
        r = self.rnd
        x, n = r.randrange(1, 6000), r.choice([1, 1, 20, 300])
        sql = r.choice([
            'INSERT INTO storm VALUES (%d, %d, \'http://example.org/path/%d\', %d)' % (x, r.randrange(1000), x % 700, x % 4),
            "INSERT INTO storm SELECT i, i %% 1000, 'http://example.org/path/' || i %% 70, i %% 4 FROM generate_series(%d, %d) i WHERE NOT EXISTS (SELECT FROM storm s WHERE s.id = i)" % (x, x + n),
            'UPDATE storm SET k = (k + 37) %% 1000 WHERE id BETWEEN %d AND %d' % (x, x + n),
            "UPDATE storm SET t = t || 'x', f = %d WHERE id = %d" % (r.randrange(4), x),
            'UPDATE storm SET id = %d WHERE id = %d' % (r.randrange(1, 6000), x),
            'DELETE FROM storm WHERE id BETWEEN %d AND %d' % (x, x + n),
            'DELETE FROM storm WHERE k BETWEEN %d AND %d' % (x % 1000, x % 1000 + 3)])
        result = c.try_(r.choice(['%s', '%s', 'BEGIN; %s; ROLLBACK']) % sql)
        self.changes += 1
        if result.error:
            if result.error.sqlstate not in ('23505', '40P01'):
                raise result.error
            self.errors[result.error.sqlstate] = self.errors.get(result.error.sqlstate, 0) + 1
            c.try_('ROLLBACK')

    def ask(self, c):
        """One snapshot, several ways."""
        condition, order = self.rnd.choice(ASKS)
        condition = condition.format(x=self.rnd.randrange(1000))
        content = 'SELECT %s FROM storm t WHERE %s' % (twin.FINGERPRINT, condition)
        ordered = 'SELECT %s FROM storm WHERE %s ORDER BY %s' % (ordered_columns(order), condition, order)
        c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        answers = {}
        for way in self.rnd.sample(list(WAYS), 3):
            c.exec('SAVEPOINT w; ' + WAYS[way])
            answers[way] = (c.rows(content), c.rows(ordered))
            c.exec('ROLLBACK TO w')
        for way in answers:
            if answers[way] != answers['seq']:
                raise Difference('by %s: %s, by sequential scan: %s; %s\n%s' % (
                    way, answers[way][0], answers['seq'][0], difference(*(answers[w][1] for w in (way, 'seq'))) if answers[way][1] != answers['seq'][1] else '', ordered))
        ids = c.rows('SELECT id FROM storm GROUP BY id HAVING count(*) > 1')
        check(not ids, 'duplicates in a unique index: %s' % ids[:5])
        c.exec('COMMIT')
        self.asks += 1


def storm(server, seed, options):
    for table_am in sorted({'heap', AM}):
        server.sql(STORM.format(am=table_am, m=METHOD))
        threads = [Stormer(server, seed, i, time.time() + options.seconds) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(options.seconds + 120)
            check(not t.is_alive(), 'a session hangs')
        for t in threads:
            check(t.trouble is None, 'seed %d, storm on %s: %s' % (seed, table_am, t.trouble))
        server.sql('SET enable_seqscan = off; SELECT count(*) FROM storm')
        if table_am == AM:
            server.verify('storm')
        verify_indexes(server, 'storm')
        say('seed %d: storm on %s: %d changes, %d snapshots, errors %s' % (
            seed, table_am, sum(t.changes for t in threads), sum(t.asks for t in threads), [t.errors for t in threads]))


PARTS = {'dml': dml, 'classes': all_classes, 'storm': storm}


def test(options):
    small = {'rowan.buffers': '1MB'} if ENGINE else {}
    server = cluster.make('index-twin', conf=dict(small, deadlock_timeout='10s', jit='off', max_parallel_workers_per_gather='0'))
    for seed in range(options.seed, options.seed + options.seeds):
        for part in options.parts.split(','):
            PARTS[part](server, seed, options)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seeds', type=int)
    parser.add_argument('--statements', type=int, help='of dml')
    parser.add_argument('--changes', type=int, help='of each operator class')
    parser.add_argument('--seconds', type=int, help='of storm')
    parser.add_argument('--parts', default='dml,classes,storm')
    parser.add_argument('--only', help='operator classes whose names contain this')
    argv = parser.parse_args()
    long = argv.long
    parser.set_defaults(seeds=10 if long else 1, statements=20000 if long else 1500, changes=30 if long else 5, seconds=60 if long else 8)
    harness.main(test, parser)
