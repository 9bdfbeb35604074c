#!/usr/bin/env python3
"""Twin oracle: the same random DML on a heap table and on a table of the engine.

Every session is a pair of connections, one a table; both get the same statements in the same
interleaving.  What a statement returns (rows, row count, SQLSTATE, whether it has to wait) must
be the same, and after commits the contents: by sequential scan, through each index, and
inside transactions by their own snapshots.

Statements that touch many rows stay within the session's own ids, and while one session
waits the others only read and end: else the order in which rows lie would decide who waits for whom.

    twin.py --seed 7 --seeds 1 --statements 20000     one run again, with what --trace FILE shows
"""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, ENGINE, Failure, check, say

SESSIONS = 4
COLUMNS = """id int PRIMARY KEY, k int, v int, n numeric(20,4), f float8, s text, big text, d date, b bool,
    arr int[], ts timestamp, r int4range, p text, j jsonb, u uuid, c char(5), by bytea, iv interval"""
INDEXES = {
    'k': 'btree (k)', 's': 'hash (s)', 'arr': 'gin (arr)', 'ts': 'brin (ts) WITH (pages_per_range = 4)',
    'r': 'gist (r)', 'p': 'spgist (p)', 'ks': 'btree ((k % 10), d) WHERE b',
}
FORCE = 'SET enable_seqscan = off; SET enable_sort = off; '
FINGERPRINT = 'count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)'

# what goes through each index: (settings, condition)
PATHS = [
    ('SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off', 'true'),
    ('SET enable_seqscan = off; SET enable_bitmapscan = off', 'id >= 0'),
    ('SET enable_seqscan = off; SET enable_indexscan = off', 'id >= 0'),
    ('SET enable_seqscan = off; SET enable_bitmapscan = off', 'k >= 0'),
    ('SET enable_seqscan = off; SET enable_indexscan = off', 'k BETWEEN 100 AND 700'),
    ('SET enable_seqscan = off; SET enable_bitmapscan = off', "s = 's{x}'"),
    ('SET enable_seqscan = off', "arr @> '{{{x}}}'"),
    ('SET enable_seqscan = off', "ts >= timestamp '2020-01-01' + {x} * interval '1 day'"),
    ('SET enable_seqscan = off', "r && int4range({x}, {x} + 10)"),
    ('SET enable_seqscan = off', "p >= 'p{x}'"),
    ('SET enable_seqscan = off', "b AND k % 10 = {x} % 10"),
]


class Difference(Failure):
    pass


class Values:
    """Random literals."""

    def __init__(self, rnd):
        self.rnd = rnd

    def maybe_null(self, literal, share=0.08):
        return 'NULL' if self.rnd.random() < share else literal

    def big(self):
        c = self.rnd.random()
        if c < 0.6:
            return "''"
        if c < 0.8:
            return "repeat('%s', %d)" % (self.rnd.choice('abc'), self.rnd.randrange(1, 600))
        if c < 0.9:                     # compressible
            return "repeat('%032x', %d)" % (self.rnd.getrandbits(128), self.rnd.randrange(60, 400))
        # does not compress: goes to the toast table
        return "(SELECT string_agg(md5((i * %d)::text), '') FROM generate_series(1, %d) i)" % (
            self.rnd.randrange(1, 1000000), self.rnd.randrange(50, 300))

    def of(self, column):
        r = self.rnd
        return self.maybe_null({
            'k': lambda: '%d' % r.randrange(1000),
            'v': lambda: '%d' % r.randrange(-1000000, 1000000),
            'n': lambda: '%d.%04d' % (r.randrange(-10 ** r.randrange(1, 12), 10 ** 12), r.randrange(10000)),
            'f': lambda: repr(r.random() * 1000),
            's': lambda: "'s%d'" % r.randrange(100),
            'big': self.big,
            'd': lambda: "date '2020-01-01' + %d" % r.randrange(3000),
            'b': lambda: r.choice(['true', 'false']),
            'arr': lambda: "'{%s}'" % ','.join(str(r.randrange(100)) for _ in range(r.randrange(0, 6))),
            'ts': lambda: "timestamp '2020-01-01' + %d * interval '1 hour'" % r.randrange(2400),
            'r': lambda: "int4range(%d, %d)" % (lambda a: (a, a + r.randrange(1, 20)))(r.randrange(100)),
            'p': lambda: "'p%d'" % r.randrange(100),
            'j': lambda: "'{\"a\": %d, \"b\": [%d, null]}'" % (r.randrange(100), r.randrange(10)),
            'u': lambda: "md5('%d')::uuid" % r.randrange(10 ** 6),
            'c': lambda: "'%s'" % ('xyz' * 2)[:r.randrange(6)],
            'by': lambda: "decode('%s', 'hex')" % ('%02x' % r.getrandbits(8) * r.randrange(9)),
            'iv': lambda: "interval '%d seconds'" % r.randrange(10 ** 6),
        }[column]())


ALL = ['k', 'v', 'n', 'f', 's', 'big', 'd', 'b', 'arr', 'ts', 'r', 'p', 'j', 'u', 'c', 'by', 'iv']
PLAIN = ['v', 'n', 'f', 'big', 'j', 'u', 'c', 'by', 'iv']       # in no index
INDEXED = ['k', 's', 'arr', 'ts', 'r', 'p', 'd', 'b']


class Session:
    def __init__(self, run, number):
        self.run, self.number = run, number
        self.pair = [run.server.connect() for _ in run.tables]
        self.open, self.savepoints, self.waiting, self.cursor = False, [], None, False
        self.touched = set()            # residue classes of ids this transaction may have locked
        self.failed = False             # transaction is aborted

    def execute(self, sql):
        """On both; if both wait for a lock: self.waiting."""
        self.run.note(self.number, sql)
        for c, t in zip(self.pair, self.run.tables):
            c.send(sql.replace('{t}', t))
        self.waiting = sql
        self.settle()
        self.run.waits += self.waiting is not None

    def settle(self):
        """Waits until both have answered or both wait; compares the answers."""
        states = [self.state_of(c) for c in self.pair]
        if states[0] != states[1]:
            # one may be about to: look again for a while before calling it a difference
            end = time.time() + 5
            while states[0] != states[1] and time.time() < end:
                time.sleep(0.01)
                states = [self.state_of(c) for c in self.pair]
        if states[0] != states[1]:
            raise Difference('one side waits: %s in %s' % (states, self.waiting))
        if states[0] == 'done':
            sql, self.waiting = self.waiting, None
            self.compare([c.receive() for c in self.pair], sql)

    def state_of(self, connection):
        end = time.time() + 60
        while not connection.ready(0.002):
            if self.run.monitor.one('SELECT pg_blocking_pids(%d) <> \'{}\'' % connection.pid) == 't':
                return 'waits'
            if time.time() > end:
                raise Failure('no answer after 60 s to: %s' % self.waiting)
        return 'done'

    def compare(self, results, sql):
        a, b = results
        if (a.error is None) != (b.error is None) or (a.error and a.error.sqlstate != b.error.sqlstate):
            raise Difference('different outcome of session %d: %s\n  %s: %s\n  %s: %s' % (
                self.number, sql, self.run.tables[0], a.error or a.tag, self.run.tables[1], b.error or b.tag))
        if a.error:
            if a.error.sqlstate is None:
                raise Failure('connection lost: %s' % sql)
            self.run.errors[a.error.sqlstate] = self.run.errors.get(a.error.sqlstate, 0) + 1
            self.failed = self.open
            return
        rows = [x.rows if 'ORDER BY' in sql or sql.startswith('FETCH') else sorted(x.rows, key=repr) for x in results]
        if a.tag != b.tag or rows[0] != rows[1]:
            d = [(x, y) for x, y in zip(*rows) if x != y][:3]
            raise Difference('different answer to session %d: %s\n  %s, %d rows | %s, %d rows\n  %s' % (
                self.number, sql, a.tag, len(rows[0]), b.tag, len(rows[1]), str(d)[:1500]))
        self.run.answers += len(a.rows)

    def close(self):
        for c in self.pair:
            c.close()


class Run:
    def __init__(self, server, seed, statements, trace, features):
        self.server, self.seed, self.limit, self.features = server, seed, statements, features
        self.rnd = random.Random(seed)
        self.value = Values(self.rnd)
        self.tables = ['twin_heap', 'twin_am']
        self.monitor = server.connect()
        self.statements, self.commits, self.answers, self.compared, self.errors, self.waits = 0, 0, 0, 0, {}, 0
        self.history, self.trace = [], trace
        self.next_id = 1
        self.extra_columns = 0
        self.setup()
        self.sessions = [Session(self, i) for i in range(SESSIONS)]

    def note(self, who, sql):
        line = '%d %d: %s' % (self.statements, who, sql)
        self.history.append(line)
        del self.history[:-60]
        if self.trace:
            self.trace.write(line + '\n')

    def setup(self):
        for t, am in zip(self.tables, ('heap', AM)):
            self.monitor.exec('DROP TABLE IF EXISTS %s; CREATE TABLE %s (%s) USING %s' % (t, t, COLUMNS, am))
            for name, definition in INDEXES.items():
                self.monitor.exec('CREATE INDEX %s_%s ON %s USING %s' % (t, name, t, definition))
        rows = self.many_rows(1, 400)
        for t in self.tables:
            self.monitor.exec(rows.replace('{t}', t))
        self.next_id = 401

    # ---- statements ----

    def many_rows(self, first, count):
        salt = self.rnd.randrange(1000)
        return ("INSERT INTO {t} (id, k, v, n, s, big, d, b, arr, ts, r, p, j) SELECT i, (i * 7 + %d) %% 1000, i, i / 3.0, "
                "'s' || i %% 100, CASE WHEN i %% 40 = 0 THEN repeat(md5(i::text), 100) END, date '2021-01-01' + i %% 1000, "
                "i %% 3 = 0, ARRAY[i %% 100, (i + %d) %% 100], timestamp '2020-01-01' + i * interval '1 hour', "
                "int4range(i %% 100, i %% 100 + 3), 'p' || i %% 90, jsonb_build_object('i', i) "
                "FROM generate_series(%d, %d) i" % (salt, salt, first, first + count - 1))

    def fresh(self, session, count=1):
        """New ids of the session's own residue class lie in a range of their own."""
        first = self.next_id
        self.next_id += count
        return first

    def any_id(self, s=None):
        """Young rows are touched more often; sometimes one that does not exist.  s: who may come to lock it."""
        if self.rnd.random() < 0.5:
            ident = max(1, self.next_id - int(self.rnd.expovariate(1 / 40.0)))
        else:
            ident = self.rnd.randrange(1, self.next_id + 5)
        if s is not None:
            s.touched.add(ident % SESSIONS)
        return ident

    def own(self, session):
        """A condition that keeps to this session's ids."""
        a = self.any_id()
        return 'id %% %d = %d AND id BETWEEN %d AND %d' % (
            SESSIONS, session.number, a, a + self.rnd.choice([10, 50, 200]))

    def set_clause(self, columns):
        chosen = self.rnd.sample(columns, self.rnd.randrange(1, 4))
        return ', '.join('%s = %s' % (c, self.value.of(c)) for c in chosen)

    def insert(self, s):
        columns = self.rnd.sample(ALL, self.rnd.randrange(1, len(ALL) + 1))
        ident = self.fresh(s) if self.rnd.random() < 0.95 else self.any_id(s)
        return 'INSERT INTO {t} (id, %s) VALUES (%d, %s)%s' % (
            ', '.join(columns), ident, ', '.join(self.value.of(c) for c in columns),
            self.rnd.choice(['', ' RETURNING id, %s' % columns[0]]))

    def insert_many(self, s):
        n = self.rnd.choice([2, 5, 20, 60])
        return self.many_rows(self.fresh(s, n), n)

    def update_in_place(self, s):
        return 'UPDATE {t} SET %s WHERE id = %d%s' % (
            self.set_clause(PLAIN), self.any_id(s), self.rnd.choice(['', '', ' RETURNING id, v, n, big']))

    def update_relative(self, s):
        return 'UPDATE {t} SET v = v + %d, n = n * 2 %% 1000003 WHERE id = %d RETURNING v, n' % (
            self.rnd.randrange(10), self.any_id(s))

    def update_moving(self, s):
        return 'UPDATE {t} SET %s WHERE id = %d%s' % (
            self.set_clause(INDEXED + ['v']), self.any_id(s), self.rnd.choice(['', ' RETURNING *']))

    def update_many(self, s):
        what = self.rnd.choice(['v = coalesce(v, 0) + 1', 'v = -v, f = f / 2', 'k = (k + 1) % 1000', "s = 's' || k % 100",
                                'big = left(big || big, 5000)', 'b = NOT b', 'arr = arr || (k % 100)', 'j = NULL',
                                "ts = ts + interval '1 day'", 'n = NULL, u = NULL, c = NULL', 'v = v'])
        return 'UPDATE {t} SET %s WHERE %s%s' % (what, self.own(s), self.rnd.choice(['', ' RETURNING id, v']))

    def update_halloween(self, s):
        return 'UPDATE {t} SET k = k + 1 WHERE k > %d AND id %% %d = %d' % (self.rnd.randrange(900, 1000), SESSIONS, s.number)

    def update_key(self, s):
        return 'UPDATE {t} SET id = %d WHERE id = %d' % (self.fresh(s), self.any_id(s))

    def update_join(self, s):
        return 'UPDATE {t} a SET v = b.v + 1 FROM {t} b WHERE b.k = a.k AND b.id = %d AND a.id %% %d = %d AND a.id <> b.id ' \
               'RETURNING a.id, a.v' % (self.any_id(s), SESSIONS, s.number)

    def update_error(self, s):
        return 'UPDATE {t} SET v = 100 / (id - %d) WHERE %s' % (self.any_id(s), self.own(s))

    def delete(self, s):
        return 'DELETE FROM {t} WHERE id = %d%s' % (self.any_id(s), self.rnd.choice(['', ' RETURNING id, v, s']))

    def delete_many(self, s):
        return 'DELETE FROM {t} WHERE %s AND id %% 3 = %d' % (self.own(s), self.rnd.randrange(3))

    def insert_select(self, s):
        n = 10
        first = self.fresh(s, n)
        return 'INSERT INTO {t} (id, k, v, s, big, arr) SELECT %d + row_number() OVER (ORDER BY id), k, v, s, big, arr ' \
               'FROM {t} WHERE id %% %d = %d ORDER BY id LIMIT %d' % (first - 1, SESSIONS, s.number, n)

    def upsert(self, s):
        return 'INSERT INTO {t} (id, v, k) VALUES (%d, 1, 5) ON CONFLICT (id) DO UPDATE SET v = {t}.v + 1 RETURNING v' % self.any_id(s)

    def upsert_nothing(self, s):
        return 'INSERT INTO {t} (id, v, k) VALUES (%d, 1, 5) ON CONFLICT DO NOTHING' % self.any_id(s)

    def lock_row(self, s):
        return 'SELECT id, v FROM {t} WHERE id = %d FOR %s%s' % (
            self.any_id(s), self.rnd.choice(['UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE']),
            self.rnd.choice(['', '', ' NOWAIT', ' SKIP LOCKED']))

    def merge(self, s):
        return 'MERGE INTO {t} a USING (SELECT %d AS id) b ON a.id = b.id WHEN MATCHED AND a.v > 0 THEN UPDATE SET v = 0 ' \
               'WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, v) VALUES (b.id, 1)' % self.any_id(s)

    def current_of(self, s):
        # a column of no index: by an index-only scan heap misses rows that were updated in place (HOT)
        return 'DO $$DECLARE x cursor FOR SELECT id, v FROM {t} WHERE %s; BEGIN FOR q IN x LOOP ' \
               'UPDATE {t} SET v = v + 1 WHERE CURRENT OF x; END LOOP; END$$' % self.own(s)

    def read(self, s):
        x = self.rnd.randrange(100)
        return self.rnd.choice([
            'SELECT * FROM {t} WHERE id = %d' % self.any_id(),
            'SELECT id, v, k FROM {t} WHERE k BETWEEN %d AND %d' % (x * 10, x * 10 + 30),
            "SELECT id, s FROM {t} WHERE s = 's%d'" % x,
            "SELECT id FROM {t} WHERE arr @> '{%d}'" % x,
            'SELECT id, v FROM {t} ORDER BY id DESC LIMIT 20',
            'SELECT max(k), min(k), max(id), min(id) FROM {t}',
            'SELECT count(*), sum(v), sum(length(big)), sum(n) FROM {t}',
            'SELECT %s FROM {t} t' % FINGERPRINT,
            'SELECT a.id, b.id FROM {t} a JOIN {t} b ON b.id = a.v %% 100 WHERE a.k < %d' % x,
        ])

    def read_cursor(self, s):
        if not s.cursor:
            s.cursor = True
            return 'DECLARE cur%d SCROLL CURSOR FOR SELECT id, v, k, s FROM {t} ORDER BY id' % s.number
        return 'FETCH %s FROM cur%d' % (self.rnd.choice(['7', 'NEXT', 'BACKWARD 3', 'LAST', 'FIRST', 'RELATIVE 5']), s.number)

    WRITES = [(10, 'insert'), (3, 'insert_many'), (16, 'update_in_place'), (8, 'update_relative'), (10, 'update_moving'),
              (5, 'update_many'), (1, 'update_halloween'), (2, 'update_key'), (2, 'update_join'), (1, 'update_error'),
              (8, 'delete'), (2, 'delete_many'), (1, 'insert_select')]
    OPTIONAL = [(3, 'upsert'), (1, 'upsert_nothing'), (4, 'lock_row'), (2, 'merge'), (1, 'current_of')]
    READS = [(12, 'read')]
    MANY = ('update_many', 'update_halloween', 'update_join', 'update_error', 'delete_many', 'current_of')

    def write(self, s, kinds):
        kind = self.pick(kinds)
        if kind in self.MANY and any(o.open and s.number in o.touched for o in self.sessions if o is not s):
            kind = 'update_relative'
        return getattr(self, kind)(s)

    def pick(self, kinds):
        return self.rnd.choices([k for _, k in kinds], [w for w, _ in kinds])[0]

    # ---- driving ----

    def go(self):
        while self.statements < self.limit:
            self.statements += 1
            waiting = [s for s in self.sessions if s.waiting]
            s = self.rnd.choice([x for x in self.sessions if not x.waiting])
            self.step(s, bool(waiting))
            for w in waiting:
                if w.waiting:
                    w.settle()
            if self.statements % 997 == 0:
                self.alone()
        self.end_all()
        self.compare_all()

    def step(self, s, somebody_waits):
        r = self.rnd.random()
        if s.failed:
            if s.savepoints and r < 0.7:
                self.rollback_to(s)
            else:
                self.end(s, 'ROLLBACK' if r < 0.9 else 'COMMIT')
            return
        if not s.open:
            if r < 0.75 or somebody_waits:
                s.execute('BEGIN ISOLATION LEVEL ' + self.rnd.choice(['READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ']))
                s.open, s.savepoints, s.cursor, s.failed, s.touched = True, [], False, False, set()
            else:
                s.touched = set()
                s.execute(self.write(s, self.WRITES))       # autocommit
                if not s.waiting:
                    self.committed()
            return
        if r < 0.10 or (somebody_waits and r < 0.5):
            self.end(s, 'COMMIT' if self.rnd.random() < 0.7 else 'ROLLBACK')
        elif somebody_waits:
            s.execute(self.read(s))
        elif r < 0.16:
            name = 'p%d' % len(s.savepoints)
            s.execute('SAVEPOINT ' + name)
            s.savepoints.append(name)
        elif r < 0.20 and s.savepoints:
            self.rollback_to(s)
        elif r < 0.22 and s.savepoints:
            s.execute('RELEASE ' + s.savepoints.pop())
        elif r < 0.25:
            s.execute(self.read_cursor(s))
        else:
            s.execute(self.write(s, self.WRITES + self.features + self.READS))

    def rollback_to(self, s):
        name = self.rnd.choice(s.savepoints)
        s.execute('ROLLBACK TO ' + name)
        s.savepoints = s.savepoints[:s.savepoints.index(name) + 1]
        s.failed = False
        s.cursor = s.cursor and None    # may have been closed: not used again in this transaction
        if s.cursor is None:
            s.cursor = False
            s.execute('CLOSE ALL')

    def end(self, s, how):
        s.execute(how)
        s.open, s.failed, s.savepoints, s.cursor = False, False, [], False
        self.committed()

    def committed(self):
        self.commits += 1
        for s in self.sessions:         # a single statement that waited for this end may commit between two questions
            if s.waiting:
                s.settle()
        if self.rnd.random() < 0.25:
            self.compare(self.rnd.choice(PATHS))

    def end_all(self):
        for _ in range(3):
            for s in self.sessions:
                if not s.waiting and s.open:
                    self.end(s, self.rnd.choice(['COMMIT', 'ROLLBACK']))
            for s in self.sessions:
                if s.waiting:
                    s.settle()

    def compare(self, path):
        setting, condition = path
        condition = condition.format(x=self.rnd.randrange(100))
        answers = []
        for t in self.tables:
            self.monitor.exec('BEGIN; %s' % setting.replace('SET ', 'SET LOCAL '))
            answers.append(self.monitor.rows('SELECT %s FROM %s t WHERE %s' % (FINGERPRINT, t, condition)))
            self.monitor.exec('COMMIT')
        self.compared += 1
        if answers[0] != answers[1]:
            raise Difference('contents differ WHERE %s (%s): %s\n%s' % (condition, setting, answers, self.rows_apart()))

    def rows_apart(self):
        a, b = (dict((r[0], r) for r in self.monitor.rows('SELECT * FROM %s' % t)) for t in self.tables)
        out = []
        for i in sorted(set(a) | set(b), key=int):
            if a.get(i) != b.get(i):
                out.append('  id %s\n    heap %s\n    %s %s' % (i, str(a.get(i))[:300], AM, str(b.get(i))[:300]))
        return '\n'.join(out[:5]) or '  (by sequential scans they are the same)'

    def compare_all(self):
        for path in PATHS:
            for _ in range(1 if '{x}' not in path[1] else 4):
                self.compare(path)
        self.server.verify('twin_am')

    def alone(self):
        """What needs the table for itself: DDL, TRUNCATE, VACUUM."""
        self.end_all()
        s = self.sessions[0]
        for sql in self.rnd.choice(self.solo())():
            s.open = sql.startswith('BEGIN') or (s.open and sql not in ('COMMIT', 'ROLLBACK'))
            s.execute(sql)
        s.open = s.failed = False
        self.compare_all()

    def solo(self):
        acts = [self.add_column, self.rebuild_index, self.truncate, self.shrink]
        return acts + ([self.vacuum] if ('vacuum',) in self.features_solo else [])

    features_solo = ()

    def add_column(self):
        self.extra_columns += 1
        name = 'x%d' % self.extra_columns
        yield 'ALTER TABLE {t} ADD COLUMN %s %s' % (name, self.rnd.choice(['int DEFAULT 42', "text DEFAULT 'missing'", 'numeric']))
        yield 'UPDATE {t} SET %s = NULL WHERE id %% 7 = 0' % name
        if self.rnd.random() < 0.7:
            yield 'ALTER TABLE {t} DROP COLUMN %s' % name

    def rebuild_index(self):
        name = self.rnd.choice(list(INDEXES))
        yield 'DROP INDEX {t}_%s' % name
        yield 'UPDATE {t} SET v = v + 1 WHERE id % 11 = 3'
        yield 'CREATE INDEX {t}_%s ON {t} USING %s' % (name, INDEXES[name])

    def truncate(self):
        yield 'BEGIN'
        yield 'TRUNCATE {t}'
        first = self.fresh(None, 50)
        yield self.many_rows(first, 50)
        yield 'SELECT id, k FROM {t} ORDER BY id'
        yield self.rnd.choice(['COMMIT', 'ROLLBACK', 'ROLLBACK'])

    def shrink(self):
        yield 'DELETE FROM {t} WHERE id < %d AND id %% 5 <> 0' % (self.next_id - 400)

    def vacuum(self):
        yield 'VACUUM {t}'

    def close(self):
        for s in self.sessions:
            s.close()
        self.monitor.close()


def supported(server):
    """Optional statements: what the engine refuses as not supported yet is left out, and said."""
    probes = {
        'upsert': 'INSERT INTO {t} VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET v = 2',
        'upsert_nothing': 'INSERT INTO {t} VALUES (1, 1) ON CONFLICT DO NOTHING',
        'lock_row': 'SELECT * FROM {t} FOR UPDATE',
        'merge': 'MERGE INTO {t} a USING (SELECT 1 AS id) b ON a.id = b.id WHEN MATCHED THEN UPDATE SET v = 0',
        'current_of': 'DO $$DECLARE x cursor FOR SELECT * FROM {t}; BEGIN FOR q IN x LOOP UPDATE {t} SET v = 1 WHERE CURRENT OF x; END LOOP; END$$',
        'vacuum': 'VACUUM {t}',
    }
    out, missing = [], []
    with server.connect() as c:
        c.exec('DROP TABLE IF EXISTS probe; CREATE TABLE probe (id int PRIMARY KEY, v int) USING %s; INSERT INTO probe VALUES (1, 1)' % AM)
        for name, sql in probes.items():
            r = c.try_(sql.replace('{t}', 'probe'))
            if r.error and r.error.sqlstate == '0A000':
                missing.append(name)
            elif r.error:
                raise Failure('%s: %s' % (sql, r.error))
            else:
                out.append(name)
        c.exec('DROP TABLE probe')
    if missing:
        say('not supported yet, left out: ' + ', '.join(missing))
    return out


def test(options):
    small = {'rowan.buffers': '1MB'} if ENGINE else {}
    server = cluster.make('twin', conf=dict(small, deadlock_timeout='10s', jit='off', max_parallel_workers_per_gather='0'))
    able = supported(server)
    features = [(w, k) for w, k in Run.OPTIONAL if k in able]
    for seed in range(options.seed, options.seed + options.seeds):
        start = time.time()
        trace = open(options.trace, 'w') if options.trace else None
        run = Run(server, seed, options.statements, trace, features)
        run.features_solo = (('vacuum',),) if 'vacuum' in able else ()
        try:
            run.go()
        except (Failure, pq.Error) as e:
            raise Failure('seed %d, statement %d: %s\nlast statements:\n  %s' % (
                seed, run.statements, e, '\n  '.join(x[:240] for x in run.history[-25:])))
        finally:
            if trace:
                trace.close()
        run.close()
        say('seed %d: %d statements, %d ends of transactions, %d comparisons, %d rows answered, %d waits, errors %s, %.0f s' % (
            seed, run.statements, run.commits, run.compared, run.answers, run.waits, run.errors, time.time() - start))
    server.verify()
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seeds', type=int)
    parser.add_argument('--statements', type=int)
    parser.add_argument('--trace', help='write every statement to this file')
    argv = parser.parse_args()
    parser.set_defaults(seeds=10 if argv.long else 2, statements=20000 if argv.long else 2500)
    harness.main(test, parser)
