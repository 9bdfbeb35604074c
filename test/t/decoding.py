#!/usr/bin/env python3
"""Logical decoding: the same SQL on heap tables and on the engine's, in two databases of one server, gives the same output of test_decoding
and pgoutput; heap's is what is expected.

    decoding.py --seed 7 --rounds 1         one run of random SQL again; --trace FILE shows what it did
"""
import os
import random
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import decoded
import harness
import pq
from harness import AM, ENGINE, Failure, check, say

CONF = {'wal_level': 'logical', 'max_replication_slots': '20', 'max_wal_senders': '10', 'rowan.buffers': '8MB'}
IDS = 40

WIDE = {
    'c1': ('"char"', "'{x}'"), 'i2': ('int2', '{i} % 100'), 'i8': ('int8', '{i}'), 'f4': ('float4', '{i} / 3.0'), 'nm': ('name', "'n{i}'"),
    'u': ('uuid', "md5('{i}')::uuid"), 'po': ('point', "point({i}, 1)"), 'tz': ('timetz', "'12:00:{i2}+01'"), 'm': ('macaddr', "'08:00:2b:01:02:{i2}'"),
    'ch': ('char(7)', "'c{i}'"), 'bo': ('bool', '{i} % 2 = 0'), 'by': ('bytea', "decode(repeat('ab', {i} % 50), 'hex')"), 'ar': ('int8[]', 'ARRAY[{i}, NULL, 3]'),
    'iv': ('interval', "'{i} seconds'"), 'ip': ('inet', "'10.0.0.{i2}'"), 'vb': ('varbit', "B'1011'"), 'pl': ('text', "repeat('p', {i} % 90)"),
    'js': ('jsonb', "jsonb_build_object('k', {i})"), 'rg': ('int4range', 'int4range({i}, {i} + 5)'), 'nu': ('numeric', '{i} * 1.5'),
}

TABLES = """
CREATE TABLE plain (id int PRIMARY KEY, a int, t text, big text, n numeric, b bool);
ALTER TABLE plain ALTER big SET STORAGE EXTERNAL;
CREATE INDEX ON plain (a);
CREATE TABLE whole (id int, a smallint, t text, big text, n numeric);
ALTER TABLE whole ALTER big SET STORAGE EXTERNAL; ALTER TABLE whole REPLICA IDENTITY FULL; CREATE INDEX ON whole (id);
CREATE TABLE nothing (id int PRIMARY KEY, t text);
ALTER TABLE nothing REPLICA IDENTITY NOTHING;
CREATE TABLE none (id int, t text);
CREATE TABLE keyed (x int, b text NOT NULL, id int NOT NULL, t text);
CREATE UNIQUE INDEX keyed_key ON keyed (b, id); ALTER TABLE keyed REPLICA IDENTITY USING INDEX keyed_key;
CREATE TABLE ours (x int, b text NOT NULL, id int NOT NULL, t text);
CREATE UNIQUE INDEX ours_key ON ours USING {btree} (id, b); ALTER TABLE ours REPLICA IDENTITY USING INDEX ours_key;
CREATE TABLE longkey (k text PRIMARY KEY, n int);
ALTER TABLE longkey ALTER k SET STORAGE EXTERNAL;
CREATE TABLE parts (id int, p int, t text, PRIMARY KEY (id, p)) PARTITION BY LIST (p);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts_1 (t text, gone int, p int NOT NULL, id int NOT NULL);
ALTER TABLE parts_1 DROP gone; ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES IN (1);
CREATE TABLE made (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED, t text);
CREATE TABLE empty ();
CREATE TABLE wide (id int PRIMARY KEY, %s);
ALTER TABLE wide ALTER pl SET STORAGE PLAIN;
CREATE TABLE fk (id int PRIMARY KEY, r int REFERENCES plain ON DELETE CASCADE ON UPDATE CASCADE);
CREATE FUNCTION big(int) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT string_agg(md5(($1 * 1000 + i)::text), '') FROM generate_series(1, 100 + $1 %% 7 * 100) i$$;
""" % ', '.join('%s %s' % (name, kind) for name, (kind, _) in WIDE.items())

PUBLISHED = 'plain, whole, keyed, ours, longkey, parts, made, wide, fk'
PUBLICATIONS = """
CREATE PUBLICATION everything FOR TABLE %s;
CREATE PUBLICATION filtered FOR TABLE plain (id, t, a) WHERE (id %% 3 <> 0), made (id, a), keyed (id, b, t) WHERE (id > 10), wide (id, i8, by);
CREATE PUBLICATION roots FOR TABLE parts, plain WITH (publish_via_partition_root = true, publish = 'insert, delete, update');
""" % PUBLISHED

# What is asked of a slot: (which slot, function, settings, options).  What comes out must be the same on both sides.
TD = "pg_logical_slot_peek_changes('%s', NULL, NULL, 'skip-empty-xacts', '1', %s)"
PG = "pg_logical_slot_peek_binary_changes('%s', NULL, NULL, %s)"
VIEWS = {
    'test_decoding': ('td', TD, '', "'include-xids', '0'"),
    'test_decoding, spilled': ('td', TD, "SET logical_decoding_work_mem = '64kB'", "'include-xids', '1'"),
    'test_decoding, streamed': ('td', TD, "SET logical_decoding_work_mem = '64kB'", "'include-xids', '1', 'stream-changes', '1'"),
    'test_decoding, local only': ('td', TD, '', "'include-xids', '0', 'only-local', '1'"),
    'test_decoding, two-phase': ('two', TD, '', "'include-xids', '0'"),
    'pgoutput': ('pg', PG, '', "'proto_version', '1', 'publication_names', 'everything', 'messages', 'true'"),
    'pgoutput, binary': ('pg', PG, '', "'proto_version', '1', 'publication_names', 'everything', 'messages', 'true', 'binary', 'true'"),
    'pgoutput, streamed': ('pg', PG, "SET logical_decoding_work_mem = '64kB'",
                           "'proto_version', '2', 'publication_names', 'everything', 'messages', 'true', 'streaming', 'on'"),
    'pgoutput, filtered': ('pg', PG, '', "'proto_version', '1', 'publication_names', 'filtered', 'messages', 'true'"),
    'pgoutput, roots': ('pg', PG, '', "'proto_version', '1', 'publication_names', 'roots', 'messages', 'true'"),
}
PLUGINS = {'td': ('test_decoding', 'false'), 'two': ('test_decoding', 'true'), 'pg': ('pgoutput', 'false')}


class Twin:
    """A database with heap tables and one with the engine's; a connection to each.  Both get the same statements."""

    def __init__(self, server, prefix='d', schema=TABLES, publications=PUBLICATIONS, trace=None):
        self.server, self.trace, self.marks = server, trace, 0
        self.sides = []
        for am in ('heap', AM):
            db = '%s_%d_%s' % (prefix, len(self.sides), am)
            server.sql('CREATE DATABASE ' + db)
            server.create_extension(db)
            server.sql('ALTER DATABASE %s SET default_table_access_method = %s' % (db, am))
            self.sides.append((db, server.connect(db, '-c lock_timeout=60s -c statement_timeout=120s')))
        self.both(schema.replace('{btree}', 'rowan_btree' if ENGINE else 'btree'))
        if publications:
            self.both(publications)
        for db, c in self.sides:
            for slot, (plugin, two_phase) in PLUGINS.items():
                c.exec("SELECT pg_create_logical_replication_slot('%s_%s', '%s', false, %s)" % (db, slot, plugin, two_phase))

    def close(self):
        for db, c in self.sides:
            c.close()
            self.server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '%s'" % db)
            self.server.sql('DROP DATABASE ' + db)

    def both(self, sql, may_fail=False):
        """What it answers must be the same; the answer, an error if there is one and it may."""
        if self.trace:
            self.trace.write(sql + ';\n')
        results = [c.try_(sql) for _, c in self.sides]
        answers = [(r.error.sqlstate, ) if r.error else (None, r.count, sorted(r.rows, key=repr)) for r in results]
        check(answers[0] == answers[1], '%s\nheap: %s %s\n%s: %s %s' % (sql[:2000], answers[0], results[0].error, AM, answers[1], results[1].error))
        check(may_fail or not results[0].error, '%s: %s' % (sql[:2000], results[0].error))
        return results[0]

    def mark(self, any_order):
        self.marks += 1
        self.both("SELECT 1 FROM pg_logical_emit_message(true, 'mark', '%s %d')" % ('any' if any_order else 'ordered', self.marks))

    def view(self, name, side):
        db, _ = self.sides[side]
        slot, function, setting, options = VIEWS[name]
        with self.server.connect(db) as c:
            if setting:
                c.exec(setting)
            rows = c.rows('SELECT data FROM ' + function % (db + '_' + slot, options))
        lines = decoded.pgoutput(rows) if slot == 'pg' else decoded.test_decoding(rows)
        if 'streamed' in name:          # test_decoding says no more than that there are changes
            lines = decoded.unstreamed(lines) if slot == 'pg' else []
        # names that are one server's, and so different: they end in the side's number
        lines = [re.sub(r'\b([po]\d+(?:_\d+)?)_%d\b' % side, r'\1', line) for line in lines]
        return decoded.without_order(lines)

    def compare(self, names=None, what=''):
        """All views of what the slots have; the number of changes that were seen."""
        seen = 0
        for name in names or VIEWS:
            heap, ours = self.view(name, 0), self.view(name, 1)
            problem = decoded.difference(heap, ours)
            check(problem is None, '%s%s: %s' % (what and what + ', ', name, problem))
            seen = max(seen, len(heap))
        return seen

    def advance(self):
        """Without decoding (fast_forward)."""
        for db, c in self.sides:
            for slot in PLUGINS:
                c.exec("SELECT pg_replication_slot_advance('%s_%s', pg_current_wal_insert_lsn())" % (db, slot))


# ---- random SQL ----

class Random:
    def __init__(self, twin, seed):
        self.twin, self.rnd, self.names, self.prepared, self.reader = twin, random.Random(seed), 0, [], None
        self.added = {'plain': [], 'whole': [], 'wide': []}

    def id(self):
        return self.rnd.randrange(1, IDS)

    def text(self):
        return self.rnd.choice(['NULL', "''", "'t%d'" % self.id(), "repeat('y', %d)" % self.rnd.randrange(300), "'%s'" % ('z' * self.rnd.choice([125, 126, 127, 128]))])

    def large(self):
        return self.rnd.choice(['NULL', "'small'", 'big(%d)' % self.rnd.randrange(50), 'big(%d)' % self.rnd.randrange(50)])

    def number(self):
        return self.rnd.choice(['NULL', str(self.rnd.randrange(1000)), '%d.25' % self.rnd.randrange(1000)])

    def wide_value(self, name):
        i = self.rnd.randrange(1, 99)
        return 'NULL' if self.rnd.random() < 0.3 else WIDE[name][1].format(i=i, i2='%02d' % (i % 60), x=chr(97 + i % 26))

    def row(self, table):
        """Columns and values of a new row."""
        r = self.rnd
        id = str(self.id())
        if table == 'plain':
            return dict(id=id, a=str(r.randrange(9)), t=self.text(), big=self.large(), n=self.number(), b=r.choice(['true', 'false', 'NULL']))
        if table == 'whole':
            return dict(id=id, a=str(r.randrange(9)), t=self.text(), big=self.large(), n=self.number())
        if table in ('nothing', 'none'):
            return dict(id=id, t=self.text())
        if table in ('keyed', 'ours'):
            return dict(x=str(r.randrange(9)), b="'b%d'" % r.randrange(5), id=id, t=self.text())
        if table == 'longkey':
            k = r.randrange(20)
            return dict(k="repeat('k%d ', %d)" % (k, 3000 if k % 3 == 0 else 5), n=str(r.randrange(9)))
        if table == 'parts':
            return dict(id=id, p=str(r.randrange(2)), t=self.text())
        if table == 'made':
            return dict(id=id, a=str(r.randrange(99)), t=self.text())
        if table == 'fk':
            return dict(id=id, r=r.choice(['NULL', str(self.id())]))
        if table == 'wide':
            return dict(id=id, **{name: self.wide_value(name) for name in WIDE})
        return {}

    # ---- statements: (sql, are its changes in any order) ----

    def insert(self, table):
        rows = [self.row(table) for _ in range(self.rnd.choice([1, 1, 1, 3]))]
        if not rows[0]:
            return 'INSERT INTO %s DEFAULT VALUES' % table, False
        sql = 'INSERT INTO %s (%s) VALUES %s' % (table, ', '.join(rows[0]), ', '.join('(%s)' % ', '.join(r.values()) for r in rows))
        conflict = self.rnd.random()
        if conflict < 0.5 or table == 'ours':
            sql += ' ON CONFLICT DO NOTHING'
        elif conflict < 0.8 and table in ('plain', 'made', 'wide', 'fk', 'nothing', 'parts', 'longkey'):
            key = {'parts': 'id, p', 'longkey': 'k'}.get(table, 'id')
            column = {'longkey': 'n', 'fk': 'r', 'wide': 'pl'}.get(table, 't')
            sql = sql.split(' VALUES ')[0] + ' VALUES (%s)' % ', '.join(rows[0].values()) + ' ON CONFLICT (%s) DO UPDATE SET %s = excluded.%s' % (key, column, column)
        return sql, False

    def where(self, table):
        """A condition, and whether rows may be met in any order."""
        if table == 'empty':
            return 'true', True
        if table == 'longkey':
            return 'n = %d' % self.rnd.randrange(9), True
        if self.rnd.random() < 0.6 and table not in ('whole', 'none', 'keyed', 'ours', 'parts'):
            return 'id = %d' % self.id(), False
        if self.rnd.random() < 0.7:
            return 'id = %d' % self.id(), True
        return 'id %% 7 = %d' % self.rnd.randrange(7), True

    def update(self, table):
        row = self.row(table)
        if not row:
            return self.delete(table)
        names = self.rnd.sample(sorted(row), self.rnd.randrange(1, min(4, len(row)) + 1))
        if 'id' in names and self.rnd.random() < 0.5 and len(names) > 1:
            names.remove('id')
        condition, any_order = self.where(table)
        return 'UPDATE %s SET %s WHERE %s' % (table, ', '.join('%s = %s' % (n, self.rnd.choice([row[n], row[n], n])) for n in names), condition), any_order or table == 'plain'

    def delete(self, table):
        condition, any_order = self.where(table)
        return 'DELETE FROM %s WHERE %s' % (table, condition), any_order or table == 'plain'

    def copy(self, table):
        start, n = self.rnd.randrange(IDS, 10000), self.rnd.choice([1, 5, 300])
        value = {'plain': '$1 "\\t" $1 %% 5 "\\tcopied\\t" (($1 %% 9) ? "\\\\N" : $1) "\\t1\\tt"', 'whole': '$1 "\\t3\\tcopied\\t" $1 "\\t1"', 'none': '$1 "\\tx"'}[table]
        value = value.replace('%%', '%')
        columns = {'plain': 'id, a, t, big, n, b', 'whole': 'id, a, t, big, n', 'none': 'id, t'}[table]
        return "COPY %s (%s) FROM PROGRAM $p$seq %d %d | awk '{print %s}'$p$" % (table, columns, start, start + n - 1, value), False

    def many(self):
        start = self.rnd.randrange(IDS, 10000)
        return self.rnd.choice([
            ('INSERT INTO whole SELECT i, i %% 100, i, CASE WHEN i %% 3 = 0 THEN big(i) END, i FROM generate_series(%d, %d) i' % (start, start + 100), False),
            ('UPDATE whole SET n = n + 1 WHERE id >= %d' % IDS, True), ('DELETE FROM whole WHERE id >= %d' % IDS, True),
            ('DELETE FROM plain WHERE id >= %d' % IDS, True), ('UPDATE plain SET a = a + 1', True), ('UPDATE whole SET t = t', True),
            ('MERGE INTO plain p USING generate_series(1, 9) i ON p.id = i WHEN MATCHED THEN UPDATE SET b = NOT b WHEN NOT MATCHED THEN INSERT (id, a) VALUES (i, 1)', True)])

    def lock(self):
        return self.rnd.choice(['SELECT id FROM plain WHERE id < 5 ORDER BY id FOR UPDATE', 'SELECT id FROM whole ORDER BY id LIMIT 1 FOR SHARE',
                                'SELECT id FROM wide FOR KEY SHARE', 'SELECT count(*) FROM plain']), False

    def define(self):
        """DDL, within a transaction or outside."""
        r = self.rnd
        table = r.choice(sorted(self.added))
        what = r.randrange(9)
        if what < 3 and len(self.added[table]) < 6:
            self.names += 1
            name = 'x%d' % self.names
            self.added[table].append(name)
            return 'ALTER TABLE %s ADD COLUMN %s %s' % (table, name, r.choice(['int DEFAULT 17', 'text', "text DEFAULT 'added'", 'bigint', 'bool DEFAULT true', 'point DEFAULT point(1,2)'])), True
        if what == 3 and self.added[table]:
            return 'ALTER TABLE %s DROP COLUMN %s' % (table, self.added[table].pop(r.randrange(len(self.added[table])))), True
        if what == 4:
            return 'ALTER TABLE whole ALTER n TYPE %s' % r.choice(['numeric', 'float8']), True
        if what == 5:
            return 'ALTER TABLE whole REPLICA IDENTITY %s' % r.choice(['FULL', 'FULL', 'NOTHING' if not self.twin.published_updates else 'FULL']), True
        if what == 6:
            return 'TRUNCATE %s' % r.choice(['none', 'plain, fk', 'nothing, none RESTART IDENTITY', 'plain CASCADE', 'parts', 'parts_1']), False
        if what == 7:
            return 'ALTER TABLE ours REPLICA IDENTITY USING INDEX ours_key', True
        return 'UPDATE wide SET %s WHERE id < 20' % ', '.join('%s = %s' % (a, self.wide_value(a)) for a in r.sample(sorted(WIDE), 3)), True

    def statement(self):
        r = self.rnd
        table = r.choice(['plain', 'plain', 'plain', 'whole', 'whole', 'nothing', 'none', 'keyed', 'ours', 'longkey', 'parts', 'made', 'empty', 'wide', 'wide', 'fk'])
        kind = r.random()
        if kind < 0.4:
            return self.insert(table)
        if kind < 0.7:
            return self.update(table) if table not in ('none', 'empty') else self.insert(table)
        if kind < 0.82:
            return self.delete(table)
        if kind < 0.88:
            return self.copy(r.choice(['plain', 'whole', 'none']))
        if kind < 0.92:
            return self.many()
        if kind < 0.96:
            return self.lock()
        return self.define()

    def one(self):
        """A statement, undone if it fails."""
        sql, any_order = self.statement()
        before = {k: list(v) for k, v in self.added.items()}
        self.twin.mark(any_order)
        self.twin.both('SAVEPOINT one')
        if self.twin.both(sql, may_fail=True).error:
            self.twin.both('ROLLBACK TO one')
            self.added = before
        elif self.rnd.random() < 0.5:
            self.twin.both('RELEASE one')

    def part(self, depth):
        for _ in range(self.rnd.randrange(1, 6)):
            if depth < 3 and self.rnd.random() < 0.2:
                before = {k: list(v) for k, v in self.added.items()}
                self.twin.both('SAVEPOINT s%d' % depth)
                self.part(depth + 1)
                if self.rnd.random() < 0.4:
                    self.twin.both('ROLLBACK TO s%d' % depth)
                    self.added = before
            self.one()

    def end_prepared(self):
        for name in self.prepared:
            self.twin.both("%s PREPARED '%s'" % (self.rnd.choice(['COMMIT', 'COMMIT', 'ROLLBACK']), name))
        self.prepared = []

    def maintain(self):
        if self.prepared:
            return
        self.twin.both(self.rnd.choice(['VACUUM plain', 'VACUUM', 'VACUUM FULL whole', 'CLUSTER plain USING plain_pkey', 'VACUUM (FREEZE) wide', 'CHECKPOINT']))

    def read_on(self):
        """Somebody with an old snapshot comes and goes, so that versions are kept."""
        if self.reader:
            for c in self.reader:
                c.close()
            self.reader = None
        elif self.rnd.random() < 0.7:
            self.reader = [self.twin.server.connect(db) for db, _ in self.twin.sides]
            for c in self.reader:
                c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_snapshot()')

    def transaction(self):
        r = self.rnd
        twin = self.twin
        origin = r.random() < 0.1
        # what is prepared holds its locks: end it before others may wait for them
        self.end_prepared()
        if r.random() < 0.1:
            self.read_on()
        if r.random() < 0.15 and not self.reader:
            self.maintain()
        if origin:
            for n, (_, c) in enumerate(twin.sides):
                c.exec("SELECT pg_replication_origin_session_setup('%s')" % twin.origins[n])
        before = {k: list(v) for k, v in self.added.items()}
        twin.both('BEGIN')
        self.part(0)
        end = r.random()
        if end < 0.15:
            twin.both('ROLLBACK')
            self.added = before
        elif end < 0.3 and not origin:
            self.names += 1
            name = 'p%d' % self.names
            for n, (_, c) in enumerate(twin.sides):
                c.exec("PREPARE TRANSACTION '%s_%d'" % (name, n))
            self.prepared_end(name, before)
        else:
            twin.both('COMMIT')
        if origin:
            for _, c in twin.sides:
                c.exec('SELECT pg_replication_origin_session_reset()')

    def prepared_end(self, name, before):
        """Decoded before it ends, too."""
        if self.rnd.random() < 0.3:
            self.twin.compare(['test_decoding, two-phase'], 'prepared')
        end = self.rnd.choice(['COMMIT', 'COMMIT', 'ROLLBACK'])
        for n, (_, c) in enumerate(self.twin.sides):
            c.exec("%s PREPARED '%s_%d'" % (end, name, n))
        if end == 'ROLLBACK':
            self.added = before


def check_random(server, seed, transactions, trace):
    twin = Twin(server, 'r%d' % seed, trace=trace)
    twin.published_updates = True
    twin.origins = ['o%d_%d' % (seed, n) for n in (0, 1)]
    for name in twin.origins:
        server.sql("SELECT pg_replication_origin_create('%s')" % name)
    run = Random(twin, seed)
    seen = 0
    for n in range(transactions):
        run.transaction()
        if n % 20 == 19:
            seen += twin.compare(what='seed %d, transaction %d' % (seed, n))
            twin.advance()
    if run.reader:
        run.read_on()
    if ENGINE:
        server.verify(db=twin.sides[1][0])
    twin.close()
    return seen


def test(options):
    server = cluster.make('decoding', conf=CONF)
    trace = open(options.trace, 'w') if options.trace else None
    for round in range(options.rounds):
        seen = check_random(server, options.seed + round, options.transactions, trace)
        say('seed %d: %d lines of output are the same' % (options.seed + round, seen))
    server.stop()
    server.check_log()


def arguments():
    p = harness.arguments(__doc__)
    p.add_argument('--rounds', type=int, default=1)
    p.add_argument('--transactions', type=int, default=60)
    p.add_argument('--trace')
    return p


if __name__ == '__main__':
    harness.main(test, arguments())
