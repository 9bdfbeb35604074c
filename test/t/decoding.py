#!/usr/bin/env python3
"""Logical decoding: the same SQL on heap tables and on the engine's, in two databases of one
server, gives the same output of test_decoding and pgoutput; heap's is what is expected.

    decoding.py --seed 7 --only-random      one run of random SQL again; --trace FILE: what it did
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

CONF = {'wal_level': 'logical', 'max_replication_slots': '20', 'max_wal_senders': '10',
    'rowan.buffers': '8MB'}
IDS = 40

WIDE = {
    'c1': ('"char"', "'{x}'"), 'i2': ('int2', '{i} % 100'), 'i8': ('int8', '{i}'),
        'f4': ('float4', '{i} / 3.0'), 'nm': ('name', "'n{i}'"),
    'u': ('uuid', "md5('{i}')::uuid"), 'po': ('point', "point({i}, 1)"),
        'tz': ('timetz', "'12:00:{i2}+01'"), 'm': ('macaddr', "'08:00:2b:01:02:{i2}'"),
    'ch': ('char(7)', "'c{i}'"), 'bo': ('bool', '{i} % 2 = 0'),
        'by': ('bytea', "decode(repeat('ab', {i} % 50), 'hex')"),
            'ar': ('int8[]', 'ARRAY[{i}, NULL, 3]'),
    'iv': ('interval', "'{i} seconds'"), 'ip': ('inet', "'10.0.0.{i2}'"),
        'vb': ('varbit', "B'1011'"), 'pl': ('text', "repeat('p', {i} % 90)"),
    'js': ('jsonb', "jsonb_build_object('k', {i})"), 'rg': ('int4range', 'int4range({i}, {i} + 5)'),
        'nu': ('numeric', '{i} * 1.5'),
}

TABLES = """
CREATE TABLE plain (id int PRIMARY KEY, a int, t text, big text, n numeric, b bool);
ALTER TABLE plain ALTER big SET STORAGE EXTERNAL;
CREATE INDEX ON plain (a);
CREATE TABLE whole (id int, a smallint, t text, big text, n numeric);
ALTER TABLE whole ALTER big SET STORAGE EXTERNAL; ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE INDEX ON whole (id);
CREATE TABLE nothing (id int PRIMARY KEY, t text);
ALTER TABLE nothing REPLICA IDENTITY NOTHING;
CREATE TABLE none (id int, t text);
CREATE TABLE keyed (x int, b text NOT NULL, id int NOT NULL, t text);
CREATE UNIQUE INDEX keyed_key ON keyed (b, id);
ALTER TABLE keyed REPLICA IDENTITY USING INDEX keyed_key;
CREATE TABLE ours (x int, b text NOT NULL, id int NOT NULL, t text);
CREATE UNIQUE INDEX ours_key ON ours USING {btree} (id, b);
ALTER TABLE ours REPLICA IDENTITY USING INDEX ours_key;
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
CREATE FUNCTION big(int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(md5(($1 * 1000 + i)::text), '')
    FROM generate_series(1, 100 + $1 %% 7 * 100) i$$;
""" % ', '.join('%s %s' % (name, kind) for name, (kind, _) in WIDE.items())

PUBLISHED = 'plain, whole, keyed, ours, longkey, parts, made, wide, fk'
PUBLICATIONS = """
CREATE PUBLICATION everything FOR TABLE %s;
CREATE PUBLICATION filtered FOR TABLE plain (id, t, a) WHERE (id %% 3 <> 0), made (id, a),
    keyed (id, b, t) WHERE (id > 10), wide (id, i8, by);
CREATE PUBLICATION roots FOR TABLE parts, plain
    WITH (publish_via_partition_root = true, publish = 'insert, delete, update');
""" % PUBLISHED

# What is asked of a slot: (which slot, function, settings, options).  What comes out must be the
# same on both sides.
TD = "pg_logical_slot_peek_changes('%s', NULL, NULL, 'skip-empty-xacts', '1', %s)"
PG = "pg_logical_slot_peek_binary_changes('%s', NULL, NULL, %s)"
VIEWS = {
    'test_decoding': ('td', TD, '', "'include-xids', '0'"),
    'test_decoding, spilled': ('td', TD, "SET logical_decoding_work_mem = '64kB'",
        "'include-xids', '1'"),
    'test_decoding, streamed': ('td', TD, "SET logical_decoding_work_mem = '64kB'",
        "'include-xids', '1', 'stream-changes', '1'"),
    'test_decoding, local only': ('td', TD, '', "'include-xids', '0', 'only-local', '1'"),
    'test_decoding, two-phase': ('two', TD, '', "'include-xids', '0'"),
    'pgoutput': ('pg', PG, '', "'proto_version', '1', 'publication_names', 'everything', "
        "'messages', 'true'"),
    'pgoutput, binary': ('pg', PG, '', "'proto_version', '1', 'publication_names', 'everything', "
        "'messages', 'true', 'binary', 'true'"),
    'pgoutput, streamed': ('pg', PG, "SET logical_decoding_work_mem = '64kB'",
                           "'proto_version', '2', 'publication_names', 'everything', 'messages', "
                               "'true', 'streaming', 'on'"),
    'pgoutput, filtered': ('pg', PG, '', "'proto_version', '1', 'publication_names', 'filtered', "
        "'messages', 'true'"),
    'pgoutput, roots': ('pg', PG, '', "'proto_version', '1', 'publication_names', 'roots', "
        "'messages', 'true'"),
}
if harness.major() >= 18:
    # at the end of a streamed transaction that aborts both plugins crash, heap tables or not (18.6:
    # pg_decode_stream_abort, an assertion in pgoutput_stream_abort)
    del VIEWS['test_decoding, streamed'], VIEWS['pgoutput, streamed']
PLUGINS = {'td': ('test_decoding', 'false'), 'two': ('test_decoding', 'true'),
    'pg': ('pgoutput', 'false')}


class Twin:
    """A database with heap tables and one with the engine's; a connection to each.  Both get the
    same statements."""

    def __init__(self, server, prefix='d', schema=TABLES, publications=PUBLICATIONS, trace=None):
        self.server, self.trace, self.marks = server, trace, 0
        self.sides = []
        for am in ('heap', AM):
            db = '%s_%d_%s' % (prefix, len(self.sides), am)
            server.sql('CREATE DATABASE ' + db)
            server.create_extension(db)
            server.sql('ALTER DATABASE %s SET default_table_access_method = %s' % (db, am))
            self.sides.append((db, server.connect(db, '-c lock_timeout=60s -c '
                'statement_timeout=120s')))
        self.both(schema.replace('{btree}', 'rowan_btree' if ENGINE else 'btree'))
        if publications:
            self.both(publications)
        for db, c in self.sides:
            for slot, (plugin, two_phase) in PLUGINS.items():
                c.exec("SELECT pg_create_logical_replication_slot('%s_%s', '%s', false, %s)"
                    % (db, slot, plugin, two_phase))

    def close(self):
        for db, c in self.sides:
            c.close()
            self.server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                "WHERE database = '%s'" % db)
            self.server.sql('DROP DATABASE ' + db)

    def both(self, sql, may_fail=False):
        """What it answers must be the same; the answer, an error if there is one and it may."""
        if self.trace:
            self.trace.write(sql + ';\n')
        results = [c.try_(sql) for _, c in self.sides]
        answers = [(r.error.sqlstate, ) if r.error else (None, r.count, sorted(r.rows, key=repr))
            for r in results]
        check(answers[0] == answers[1], '%s\nheap: %s %s\n%s: %s %s'
            % (sql[:2000], answers[0], results[0].error, AM, answers[1], results[1].error))
        check(may_fail or not results[0].error, '%s: %s' % (sql[:2000], results[0].error))
        return results[0]

    def each(self, sql):
        """For what is one server's: %d is the side's number."""
        for n, (_, c) in enumerate(self.sides):
            c.exec(sql % n)

    def mark(self, any_order):
        self.marks += 1
        self.both("SELECT 1 FROM pg_logical_emit_message(true, 'mark', '%s %d')"
            % ('any' if any_order else 'ordered', self.marks))

    def view(self, name, side):
        db, _ = self.sides[side]
        slot, function, setting, options = VIEWS[name]
        with self.server.connect(db) as c:
            if setting:
                c.exec(setting)
            result = c.try_('SELECT data FROM ' + function % (db + '_' + slot, options))
            if result.error and side == 0 and 'could not map filenode' in str(result.error):
                return None             # core cannot decode it
            check(not result.error, '%s, %s: %s' % (db, name, result.error))
            rows = result.rows
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
            heap = self.view(name, 0)
            if heap is None:
                continue
            ours = self.view(name, 1)
            problem = decoded.difference(heap, ours)
            check(problem is None, '%s%s: %s' % (what and what + ', ', name, problem))
            seen = max(seen, len(heap))
        return seen

    def advance(self):
        """Without decoding (fast_forward)."""
        for db, c in self.sides:
            for slot in PLUGINS:
                c.exec("SELECT pg_replication_slot_advance('%s_%s', pg_current_wal_insert_lsn())"
                    % (db, slot))


# ---- random SQL ----

class Random:
    def __init__(self, twin, seed):
        self.twin, self.rnd, self.names, self.reader = twin, random.Random(seed), 0, None
        self.added = {'plain': [], 'whole': [], 'wide': []}

    def id(self):
        return self.rnd.randrange(1, IDS)

    def text(self):
        return self.rnd.choice(['NULL', "''", "'t%d'" % self.id(), "repeat('y', %d)"
            % self.rnd.randrange(300), "'%s'" % ('z' * self.rnd.choice([125, 126, 127, 128]))])

    def large(self):
        return self.rnd.choice(['NULL', "'small'", 'big(%d)' % self.rnd.randrange(50), 'big(%d)'
            % self.rnd.randrange(50)])

    def number(self):
        return self.rnd.choice(['NULL', str(self.rnd.randrange(1000)), '%d.25'
            % self.rnd.randrange(1000)])

    def wide_value(self, name):
        i = self.rnd.randrange(1, 99)
        return 'NULL' if self.rnd.random() < 0.3 else WIDE[name][1].format(i=i, i2='%02d'
            % (i % 60), x=chr(97 + i % 26))

    def row(self, table):
        """Columns and values of a new row."""
        r = self.rnd
        id = str(self.id())
        if table == 'plain':
            return dict(id=id, a=str(r.randrange(9)), t=self.text(), big=self.large(),
                n=self.number(), b=r.choice(['true', 'false', 'NULL']))
        if table == 'whole':
            return dict(id=id, a=str(r.randrange(9)), t=self.text(), big=self.large(),
                n=self.number())
        if table in ('nothing', 'none'):
            return dict(id=id, t=self.text())
        if table in ('keyed', 'ours'):
            return dict(x=str(r.randrange(9)), b="'b%d'" % r.randrange(5), id=id, t=self.text())
        if table == 'longkey':
            k = r.randrange(20)
            return dict(k="repeat('k%d ', %d)" % (k, 3000 if k % 3 == 0 else 5),
                n=str(r.randrange(9)))
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
        sql = 'INSERT INTO %s (%s) VALUES %s' % (table, ', '.join(rows[0]),
            ', '.join('(%s)' % ', '.join(r.values()) for r in rows))
        conflict = self.rnd.random()
        if table == 'ours' and ENGINE and harness.major() < 18:
            pass                        # core refuses it with a unique index of ours
        elif conflict < 0.5 or table == 'ours':
            sql += ' ON CONFLICT DO NOTHING'
        elif conflict < 0.8 and table in ('plain', 'made', 'wide', 'fk', 'nothing', 'parts',
                'longkey'):
            key = {'parts': 'id, p', 'longkey': 'k'}.get(table, 'id')
            column = {'longkey': 'n', 'fk': 'r', 'wide': 'pl'}.get(table, 't')
            sql = sql.split(' VALUES ')[0] + ' VALUES (%s)' % ', '.join(
                    rows[0].values()) + ' ON CONFLICT (%s) DO UPDATE SET %s = excluded.%s' % (key,
                        column, column)
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
        return 'UPDATE %s SET %s WHERE %s' % (table,
            ', '.join('%s = %s' % (n, self.rnd.choice([row[n], row[n], n])) for n in names),
                condition), any_order or table == 'plain'

    def delete(self, table):
        condition, any_order = self.where(table)
        return 'DELETE FROM %s WHERE %s' % (table, condition), any_order or table == 'plain'

    def copy(self, table):
        start, n = self.rnd.randrange(IDS, 10000), self.rnd.choice([1, 5, 300])
        value = {'plain': '$1 "\\t" $1 %% 5 "\\tcopied\\t" (($1 %% 9) ? "\\\\N" : $1) "\\t1\\tt"',
            'whole': '$1 "\\t3\\tcopied\\t" $1 "\\t1"', 'none': '$1 "\\tx"'}[table]
        value = value.replace('%%', '%')
        columns = {'plain': 'id, a, t, big, n, b', 'whole': 'id, a, t, big, n',
            'none': 'id, t'}[table]
        return "COPY %s (%s) FROM PROGRAM $p$seq %d %d | awk '{print %s}'$p$" % (table, columns,
            start, start + n - 1, value), False

    def many(self):
        start = self.rnd.randrange(IDS, 10000)
        return self.rnd.choice([
            ('INSERT INTO whole SELECT i, i %% 100, i, CASE WHEN i %% 3 = 0 THEN big(i) END, i '
                'FROM generate_series(%d, %d) i' % (start, start + 100), False),
            ('UPDATE whole SET n = n + 1 WHERE id >= %d' % IDS, True),
                ('DELETE FROM whole WHERE id >= %d' % IDS, True),
            ('DELETE FROM plain WHERE id >= %d' % IDS, True), ('UPDATE plain SET a = a + 1', True),
                ('UPDATE whole SET t = t', True),
            ('MERGE INTO plain p USING generate_series(1, 9) i ON p.id = i WHEN MATCHED THEN '
                'UPDATE SET b = NOT b WHEN NOT MATCHED THEN INSERT (id, a) VALUES (i, 1)', True)])

    def lock(self):
        return self.rnd.choice(['SELECT id FROM plain WHERE id < 5 ORDER BY id FOR UPDATE',
            'SELECT id FROM whole ORDER BY id LIMIT 1 FOR SHARE',
                                'SELECT id FROM wide FOR KEY SHARE',
                                    'SELECT count(*) FROM plain']), False

    def define(self):
        """DDL, within a transaction or outside."""
        r = self.rnd
        table = r.choice(sorted(self.added))
        what = r.randrange(9)
        if what < 3 and len(self.added[table]) < 6:
            self.names += 1
            name = 'x%d' % self.names
            self.added[table].append(name)
            return 'ALTER TABLE %s ADD COLUMN %s %s' % (table, name,
                r.choice(['int DEFAULT 17', 'text', "text DEFAULT 'added'", 'bigint',
                    'bool DEFAULT true', 'point DEFAULT point(1,2)'])), True
        if what == 3 and self.added[table]:
            return 'ALTER TABLE %s DROP COLUMN %s' % (table,
                self.added[table].pop(r.randrange(len(self.added[table])))), True
        if what == 4:
            return 'ALTER TABLE whole ALTER n TYPE %s' % r.choice(['numeric', 'float8']), True
        if what == 5:
            return 'ALTER TABLE whole REPLICA IDENTITY %s' % 'FULL', True
        if what == 6:
            return 'TRUNCATE %s' % r.choice(['none', 'plain, fk', 'nothing, none RESTART IDENTITY',
                'plain CASCADE', 'parts', 'parts_1']), False
        if what == 7:
            return 'ALTER TABLE ours REPLICA IDENTITY USING INDEX ours_key', True
        return 'UPDATE wide SET %s WHERE id < 20' % ', '.join('%s = %s' % (a, self.wide_value(a))
            for a in r.sample(sorted(WIDE), 3)), True

    def statement(self):
        r = self.rnd
        table = r.choice(['plain', 'plain', 'plain', 'whole', 'whole', 'nothing', 'none', 'keyed',
            'ours', 'longkey', 'parts', 'made', 'empty', 'wide', 'wide', 'fk'])
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

    def maintain(self):
        self.twin.both(self.rnd.choice(['VACUUM plain', 'VACUUM', 'VACUUM FULL whole',
            'CLUSTER plain USING plain_pkey', 'VACUUM (FREEZE) wide', 'CHECKPOINT']))

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
            twin.each("PREPARE TRANSACTION '" + name + "_%d'")
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
        self.twin.each(end + " PREPARED '" + name + "_%d'")
        if end == 'ROLLBACK':
            self.added = before


def check_random(server, seed, transactions, trace):
    twin = Twin(server, 'r%d' % seed, trace=trace)
    twin.origins = ['o0_0', 'o0_1']
    for name in twin.origins:
        server.sql("SELECT pg_replication_origin_create('%s') WHERE "
            "pg_replication_origin_oid('%s') IS NULL" % (name, name))
    run = Random(twin, seed)
    seen = 0
    for n in range(transactions):
        if ENGINE and n % 10 == 0:      # records have a part behind the logical one, or none
            twin.both('SET rowan.wal_check = ' + ('off' if n % 20 else 'on'))
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


# ---- somebody else's plugin ----

def allow_plugin(server, name):
    """Minor versions that know the setting take those plugins only that it names."""
    allowed = server.one("SELECT current_setting('output_plugin_libraries', true)")
    if allowed is not None and name not in allowed:
        server.write_conf(output_plugin_libraries=', '.join(filter(None, (allowed, name))))
        server.sql('SELECT pg_reload_conf()')


def check_wal2json(server, seed, transactions):
    """Random SQL is the same for wal2json, but for the order of rows in a transaction."""
    if not os.path.exists(harness.pg_config('--pkglibdir') + '/wal2json.so'):
        say('wal2json: skipped, not installed: apt-get install postgresql-%d-wal2json'
            % harness.major())
        return
    allow_plugin(server, 'wal2json')
    twin = Twin(server, 'json')
    twin.origins = ['o0_0', 'o0_1']
    for side, (db, _) in enumerate(twin.sides):
        server.sql("SELECT pg_create_logical_replication_slot('%s_json', 'wal2json')" % db, db)
        server.sql("SELECT pg_replication_origin_create('o0_%d') WHERE "
            "pg_replication_origin_oid('o0_%d') IS NULL" % (side, side))
    run = Random(twin, seed)
    for n in range(transactions):
        run.transaction()
    if run.reader:
        run.read_on()
    seen = []
    for side, (db, c) in enumerate(twin.sides):
        result = c.try_("SELECT data FROM pg_logical_slot_get_changes('%s_json', NULL, NULL, "
            "'format-version', '2')" % db)
        if result.error and side == 0 and 'could not map filenode' in str(result.error):
            say('wal2json, seed %d: nothing compared: on heap, too, it fails: %s'
                % (seed, result.error))
            twin.close()
            return
        check(not result.error, 'wal2json, %s: %s' % (db, result.error))
        groups = [[]]
        for line, in result.rows:
            groups[-1].append(re.sub(r'\b([po]\d+(?:_\d+)?)_%d\b' % side, r'\1', line))
            if line.startswith('{"action":"C"'):
                groups.append([])
        # the plugin reports transactions without changes, too, and a heap may have more of them
        seen.append([sorted(group) for group in groups if len(group) > 2])
    problem = next(('%s, but %s' % pair for pair in zip(*seen) if pair[0] != pair[1]), None)
    check(problem is None and len(seen[0]) == len(seen[1]), 'wal2json, seed %d: %s'
        % (seed, problem))
    say('wal2json: %d lines are the same' % sum(map(len, seen[0])))
    twin.close()


# ---- beside other tables, in one transaction ----

BESIDE_TABLES = """
CREATE FUNCTION big(int) RETURNS text LANGUAGE sql
    AS $$SELECT repeat(right($1::text, 1), 40000)$$;
CREATE TABLE r2 (id int PRIMARY KEY, t text);
ALTER TABLE r2 ALTER t SET STORAGE EXTERNAL;
CREATE PUBLICATION everything FOR ALL TABLES
"""
BESIDE_RESET = """
DROP TABLE IF EXISTS r, hr, ht, h, made CASCADE; DROP MATERIALIZED VIEW IF EXISTS m; TRUNCATE r2;
CREATE TABLE r (id int PRIMARY KEY, t text, n int DEFAULT 0);
ALTER TABLE r ALTER t SET STORAGE EXTERNAL;
INSERT INTO r SELECT i, big(i) FROM generate_series(1, 4) i;
CREATE TABLE hr (id int PRIMARY KEY, t text) USING heap;
ALTER TABLE hr ALTER t SET STORAGE EXTERNAL;
INSERT INTO hr VALUES (1, big(1)), (2, big(2));
CREATE TABLE h (id int PRIMARY KEY) USING heap; INSERT INTO h VALUES (1), (2), (3);
CREATE TABLE ht (id int PRIMARY KEY, t text) USING heap;
ALTER TABLE ht ALTER t SET STORAGE EXTERNAL;
INSERT INTO ht VALUES (1, big(1)), (2, 'b'), (3, big(2))
"""
# What a transaction does to tables of the engine before and between changes of heap tables.
BESIDE = [
    "INSERT INTO r VALUES (10, big(1)), (11, big(2))",
    "INSERT INTO r VALUES (10, 'short')",
    "UPDATE r SET t = big(id) WHERE id < 3",
    "UPDATE r SET id = id + 100 WHERE id < 3",
    "UPDATE r SET n = n + 1",
    "DELETE FROM r WHERE id < 3",
    "COPY r (id, t) FROM PROGRAM 'for i in 21 22 23; do printf \"$i\\t\"; head -c 9000 /dev/zero "
        "| tr \"\\0\" x; echo; done'",
    "CREATE TABLE made AS SELECT * FROM r; ALTER TABLE made ADD PRIMARY KEY (id); INSERT INTO "
        "made VALUES (11, big(1))",
    "INSERT INTO r VALUES (1, big(1)), (30, big(3)) ON CONFLICT (id) DO NOTHING",
    "INSERT INTO r VALUES (1, big(7)) ON CONFLICT (id) DO UPDATE SET t = excluded.t",
    "SAVEPOINT s; INSERT INTO r VALUES (40, big(4)); ROLLBACK TO s",
    "DO $$BEGIN INSERT INTO r VALUES (50, big(5)), (1, big(5)); EXCEPTION WHEN unique_violation "
        "THEN NULL; END$$",
    "SAVEPOINT s; INSERT INTO r VALUES (40, big(4)); RELEASE s",
    "ALTER TABLE r ALTER n TYPE bigint; INSERT INTO r VALUES (60, big(6), 1)",
    "CLUSTER r USING r_pkey; INSERT INTO r VALUES (60, big(6), 1)",
    "ALTER TABLE r SET ACCESS METHOD heap; INSERT INTO r VALUES (60, 'seen')",
    "ALTER TABLE r SET ACCESS METHOD heap; ALTER TABLE r SET ACCESS METHOD {am}; INSERT INTO r "
        "VALUES (61, big(6))",
    "ALTER TABLE hr SET ACCESS METHOD {am}; INSERT INTO hr VALUES (70, big(7))",
    "CREATE MATERIALIZED VIEW m AS SELECT * FROM r; REFRESH MATERIALIZED VIEW m",
    "INSERT INTO r VALUES (80, big(8)); DROP TABLE r",
    "INSERT INTO r VALUES (80, big(8)); TRUNCATE r; INSERT INTO r VALUES (81, big(8))",
    "TRUNCATE r, h, ht CASCADE",
]
# without a row of a heap table that has a value out of line after them, chunks stay; then one comes
HEAP_CHANGES = ["DELETE FROM h WHERE id = 1", "DELETE FROM ht WHERE id = 1",
                "UPDATE h SET id = 30 WHERE id = 3", "UPDATE ht SET t = 'y' WHERE id = 2",
                "INSERT INTO ht VALUES (9, big(9))", "UPDATE ht SET t = big(5) WHERE id = 3"]
BESIDE_VIEWS = [v for v in ('test_decoding', 'test_decoding, spilled', 'test_decoding, streamed',
                            'test_decoding, two-phase', 'pgoutput', 'pgoutput, streamed')
                                if v in VIEWS]


def check_beside(server, long):
    """Chunks of out-of-line values belong to the row that follows, whatever tables are changed."""
    twin = Twin(server, 'beside', BESIDE_TABLES, None)
    for n, script in enumerate(BESIDE):
        for prepared in (False, True) if long else (n % 2 == 1,):
            twin.both(BESIDE_RESET)
            twin.advance()
            statements = [script.replace('{am}', AM)]
            for i, change in enumerate(HEAP_CHANGES):
                statements += [change, 'INSERT INTO r2 VALUES (%d, big(%d))' % (i, i)]
            twin.both('BEGIN; ' + '; '.join(statements))
            if prepared:
                twin.each("PREPARE TRANSACTION 'p0_%d'")
                twin.compare(BESIDE_VIEWS, script + ', prepared')
                twin.each("COMMIT PREPARED 'p0_%d'")
            else:
                twin.both('COMMIT')
            seen = twin.compare(BESIDE_VIEWS, script)
            check(seen > 10, '%s: %d lines' % (script, seen))
    twin.close()
    say('%d kinds of changes beside heap tables' % len(BESIDE))


# ---- several sessions ----

SLOW_TABLES = """
CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE calls int := coalesce(nullif(current_setting('my.calls', true), ''), '0')::int + 1;
BEGIN
    PERFORM set_config('my.calls', calls::text, false);
    IF calls = current_setting('my.block')::int THEN
        PERFORM pg_advisory_lock(7); PERFORM pg_advisory_unlock(7);
    END IF;
    RETURN $1;
END$$;
CREATE TABLE s (k text, v text); ALTER TABLE s ALTER v SET STORAGE EXTERNAL;
ALTER TABLE s REPLICA IDENTITY FULL;
CREATE UNIQUE INDEX ON s (slow(k));
CREATE TABLE h (id int PRIMARY KEY, t text) USING heap;
CREATE PUBLICATION everything FOR ALL TABLES
"""


def check_speculative(server):
    """A speculative insertion that meets somebody else's row after all, and one that does not."""
    twin = Twin(server, 'spec', SLOW_TABLES, None)
    for n, end in enumerate(('COMMIT', 'ROLLBACK', 'COMMIT', 'COMMIT')):
        for action in ('DO NOTHING', 'DO UPDATE SET v = excluded.v'):
            for db, _ in twin.sides:
                with server.connect(db) as gate, server.connect(db) as a, server.connect(db) as b:
                    gate.exec('SELECT pg_advisory_lock(7)')
                    a.exec("SET my.block = '2'; BEGIN; SAVEPOINT x")
                    a.send("INSERT INTO s VALUES ('k%d', repeat('a', 9000)) ON CONFLICT (slow(k)) "
                        "%s" % (n, action))
                    harness.wait_for(lambda: gate.one("SELECT count(*) FROM pg_locks WHERE NOT "
                        "granted AND locktype = 'advisory'") == '1', 'a waits')
                    b.exec("SET my.block = '0'; BEGIN; INSERT INTO s VALUES ('%s%d', 'b'); %s"
                        % ('other' if n == 3 else 'k', n, end))
                    gate.exec('SELECT pg_advisory_unlock(7)')
                    result = a.receive()
                    check(not result.error, str(result.error))
                    a.exec("INSERT INTO h VALUES (%d, repeat('h', 9000)) ON CONFLICT (id) DO "
                        "UPDATE SET t = excluded.t; COMMIT" % n)
            twin.compare(BESIDE_VIEWS, '%s, %s' % (end, action))
            twin.both('DELETE FROM s')
    check(twin.compare(BESIDE_VIEWS) > 20, 'nothing was decoded')
    twin.close()


MIXED_TABLES = """
CREATE TABLE m (id int PRIMARY KEY, v int, t text);
INSERT INTO m SELECT i, 0, 'x' FROM generate_series(1, 20) i;
CREATE TABLE other (id int); CREATE PUBLICATION everything FOR ALL TABLES
"""
# session, statement; all of them in transactions that overlap
MIXED = [
    (0, 'BEGIN'), (1, 'BEGIN'), (0, 'UPDATE m SET v = 1 WHERE id = 1'),
        (1, 'UPDATE m SET v = 2 WHERE id = 2'),
    (2, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM m LIMIT 1'),
        (0, 'INSERT INTO m VALUES (30, 0, NULL)'),
    (1, 'DELETE FROM m WHERE id = 3'), (0, 'SAVEPOINT a; UPDATE m SET id = 40 WHERE id = 4'),
        (1, 'SELECT id FROM m WHERE id = 5 FOR UPDATE'),
    (0, 'ROLLBACK TO a; UPDATE m SET v = 9 WHERE id = 4'), (1, 'ROLLBACK'),
        (0, 'UPDATE m SET v = 3 WHERE id = 3; DELETE FROM m WHERE id = 2'),
    (1, 'BEGIN; UPDATE m SET v = v + 1, id = id + 100 WHERE id = 5; INSERT INTO other VALUES (1)'),
        (0, 'COMMIT'),
    (1, 'UPDATE m SET t = repeat(id::text, 3000) WHERE id = 1; ALTER TABLE other ADD x int '
        'DEFAULT 5; INSERT INTO other VALUES (2, 2)'),
    (3, 'VACUUM m'), (1, 'COMMIT'), (2, 'COMMIT'), (3, 'VACUUM m'),
        (0, 'UPDATE m SET v = 7 WHERE id = 105'),
]


def check_mixed(server):
    twin = Twin(server, 'mixed', MIXED_TABLES, None)
    for db, _ in twin.sides:
        sessions = [server.connect(db) for _ in range(4)]
        for n, sql in MIXED:
            sessions[n].exec(sql)
        for c in sessions:
            c.close()
    check(twin.compare(BESIDE_VIEWS, 'sessions') > 10, 'nothing was decoded')
    twin.close()


# ---- rows that are longer in heap's form than heap takes ----

def check_long_rows(server):
    """Expected: the same columns in an order that heap can store."""
    if not ENGINE:
        return
    pairs = ['b%d bool, i%d int8' % (n, n) for n in range(600)]
    grouped = ['i%d int8' % n for n in range(600)] + ['b%d bool' % n for n in range(600)]
    twin = Twin(server, 'long', 'CREATE TABLE h (id int)', None)
    (heap_db, heap), (our_db, ours) = twin.sides
    heap.exec('CREATE TABLE l (id int PRIMARY KEY, %s, t text)' % ', '.join(grouped))
    ours.exec('CREATE TABLE l (id int PRIMARY KEY, %s, t text)' % ', '.join(pairs))
    names = ', '.join('b%d, i%d' % (n, n) for n in range(600))
    values = ', '.join('true, %d' % n for n in range(600))
    twin.both('INSERT INTO l (id, %s) VALUES (1, %s)' % (names, values))
    twin.both("INSERT INTO l (id, t) VALUES (2, (SELECT string_agg(md5(i::text), '') FROM "
        "generate_series(1, 1000) i))")
    twin.both("UPDATE l SET i5 = 77, t = 'short' WHERE id = 1")
    twin.both('ALTER TABLE l REPLICA IDENTITY FULL')
    twin.both("UPDATE l SET i5 = 78 WHERE id = 1; DELETE FROM l WHERE id = 1")
    words = []
    for side in (0, 1):
        words.append([sorted(line.split(' ')) for line in twin.view('test_decoding', side)])
    check(words[0] == words[1] and len(words[0]) >= 10, 'long rows are decoded differently')
    # together with values out of line core could not put them together
    big = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i)"
    copy = "COPY l FROM PROGRAM $$printf '%s'; %s$$"
    row = '\\t'.join(['5'] + ['t\\t1'] * 600 + ['\\\\N']) + '\\n'
    nulls = '\\t'.join(['6'] + ['\\\\N\\t\\\\N'] * 600 + [''])
    noise = "head -c 9000 /dev/urandom | od -A n -x | tr -d ' \\n'"
    out_of_line = "printf '%s'; %s; echo" % (nulls, noise)
    for sql in ('INSERT INTO l (id, %s, t) VALUES (3, %s, %s)' % (names, values, big), copy
            % (row, out_of_line)):
        error = ours.try_(sql).error
        check(error and error.sqlstate == '54000' and 'too big for logical decoding' in str(error),
            'not refused: %s' % error)
    ours.exec('INSERT INTO l (id, %s) VALUES (4, %s)' % (names, values))
    error = ours.try_('UPDATE l SET t = %s WHERE id = 4' % big).error
    check(error and error.sqlstate == '54000', 'not refused: %s' % error)
    ours.exec(copy % (row, 'true'))
    check(len(twin.view('test_decoding', 1)) > 10, 'nothing is decoded')
    server.verify('l', db=our_db)
    twin.close()


# Four such values are a heap tuple that can be had.
LONGEST = 1024 * 1024 * 1024 // 4 - 1024


def check_huge_rows(server):
    """An old row that a WAL record has no room for is an error, before anything is changed: a
    panic, or WAL that redo cannot read, otherwise.  One that it has room for is no error."""
    if not ENGINE:
        return
    server.sql('CREATE TABLE huge (id int, a text, b text, c text, d text) USING rowan')
    for column in 'abcd':
        server.sql('ALTER TABLE huge ALTER %s SET STORAGE EXTERNAL' % column)
    server.sql('ALTER TABLE huge REPLICA IDENTITY FULL')
    for n, size in ((1, LONGEST), (2, 254 * 1024 * 1024)):
        server.sql("INSERT INTO huge SELECT %d, t, t, t, t FROM repeat('x', %d) t" % (n, size))
    for sql in ('DELETE FROM huge WHERE id = 1', 'UPDATE huge SET id = 3 WHERE id = 1'):
        with server.connect() as c:
            error = c.try_(sql).error
        check(error and error.sqlstate == '54000' and 'too big for logical decoding' in str(error),
            '%s: %s' % (sql, error))
    server.sql('UPDATE huge SET id = 4 WHERE id = 2')
    server.kill9()
    server.start()
    check(server.sql('SELECT id, length(d) FROM huge ORDER BY id') ==
          [('1', str(LONGEST)), ('4', str(254 * 1024 * 1024))],
          'rows that are almost too long are not as they were')
    server.verify('huge')
    server.sql('DROP TABLE huge')


# ---- what is refused; memory; crashes; standbys ----

def check_catalog_tables(server):
    """Logical decoding could not see earlier states of a Rowan table: it cannot be one of its
    catalogs."""
    if not ENGINE:
        return
    with server.connect() as c:
        c.exec('DROP TABLE IF EXISTS u, v')
        c.exec('CREATE TABLE u (id int) USING rowan; CREATE TABLE v (id int) USING heap WITH '
            '(user_catalog_table = true)')
        for sql in ('CREATE TABLE w (id int) USING rowan WITH (user_catalog_table = true)',
                    'CREATE TABLE w USING rowan WITH (user_catalog_table) AS SELECT 1 AS id',
                    'ALTER TABLE u SET (user_catalog_table = true)',
                        'ALTER TABLE u SET (fillfactor = 50, user_catalog_table = on)',
                    'ALTER TABLE v SET ACCESS METHOD rowan',
                        'ALTER TABLE u SET (user_catalog_table = true), ADD COLUMN x int',
                    'SET default_table_access_method = rowan; CREATE TABLE w (id int) WITH '
                        '(user_catalog_table = true)'):
            try:
                c.exec(sql)
            except pq.Error as e:
                check(e.sqlstate == '0A000' and re.search('user_catalog_table|used as a catalog '
                    'table', str(e)), '%s: %s' % (sql, e))
            else:
                check(False, 'not refused: ' + sql)
        c.exec('ALTER TABLE u SET (user_catalog_table = false, fillfactor = 60); ALTER TABLE u '
            'RESET (user_catalog_table)')
        c.exec('ALTER TABLE v RESET (user_catalog_table); ALTER TABLE v SET ACCESS METHOD rowan; '
            'INSERT INTO v VALUES (1)')
        c.exec('DROP TABLE u, v')


def anonymous_memory(pid):
    with open('/proc/%d/status' % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith('RssAnon'))


def memory_for(server, db, slot):
    """MB that decoding takes."""
    with server.connect(db) as c:
        c.exec("SET logical_decoding_work_mem = '1MB'")
        pid = int(c.one('SELECT pg_backend_pid()'))
        before, peak, done = anonymous_memory(pid), [0], threading.Event()

        def watch():
            while not done.wait(0.005):
                peak[0] = max(peak[0], anonymous_memory(pid))
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            c.rows("SELECT count(*) FROM pg_logical_slot_peek_changes('%s', NULL, NULL)" % slot)
        finally:
            done.set()
            watcher.join()
    return (peak[0] - before) // 1024


def check_memory(server):
    """A large transaction is not kept in memory: values out of line, short rows."""
    twin = Twin(server, 'memory', 'CREATE TABLE r (id int PRIMARY KEY, t text); ALTER TABLE r '
        'ALTER t SET STORAGE EXTERNAL; CREATE TABLE h (id int) USING heap', None)
    for sql in ("INSERT INTO r SELECT i, repeat('x', 100000) FROM generate_series(101, 400) i; "
            "INSERT INTO h VALUES (500)",
                "UPDATE r SET t = repeat('y', 100000) WHERE id > 100",
                    "DELETE FROM r WHERE id > 100",
                "INSERT INTO r SELECT i, 'short' FROM generate_series(1, 100000) i",
                    'UPDATE r SET id = -id', 'DELETE FROM r'):
        twin.advance()
        twin.both('BEGIN; %s; COMMIT' % sql)
        grown = [memory_for(server, db, db + '_td') for db, _ in twin.sides]
        check(grown[1] < max(20, grown[0] * 1.5), 'decoding %s takes %d MB, with heap tables %d'
            % (sql[:20], grown[1], grown[0]))
    twin.close()


def check_standby(server):
    """Decoded on a standby, which core can since 16."""
    if harness.major() < 16:
        return
    standby = server.backup_to(conf={'hot_standby_feedback': 'on'})
    standby.start()
    twin = Twin(server, 'standby', MIXED_TABLES, None)
    standby.wait_replayed(server)
    with server.connect() as primary:
        for db, _ in twin.sides:
            with standby.connect(db) as c:
                c.send("SELECT pg_create_logical_replication_slot('%s_s', 'test_decoding')" % db)
                while not c.ready(0.1):
                    primary.exec('SELECT pg_log_standby_snapshot()')
                check(not c.receive().error, 'no slot on the standby')
    twin.both("INSERT INTO m VALUES (50, 1, 'new'); UPDATE m SET v = 5 WHERE id < 7; UPDATE m SET "
        "id = -id WHERE id = 8; DELETE FROM m WHERE id = 9")
    standby.wait_replayed(server)
    seen = []
    for db, _ in twin.sides:
        rows = standby.sql("SELECT data FROM pg_logical_slot_get_changes('%s_s', NULL, NULL, "
            "'include-xids', '0')" % db, db)
        standby.sql("SELECT pg_drop_replication_slot('%s_s')" % db)
        seen.append(decoded.test_decoding(rows))
    problem = decoded.difference(*seen)
    check(problem is None and len(seen[0]) > 8, 'on a standby: %s' % problem)
    standby.stop()
    standby.check_log()
    twin.close()


def check_levels(server):
    """Nothing is added to WAL below wal_level = logical; what was changed then is no obstacle
    later."""
    twin = Twin(server, 'levels', MIXED_TABLES, None)
    names = [db for db, _ in twin.sides]
    server.sql('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots')
    for level in ('replica', 'logical'):
        server.stop()
        server.write_conf(wal_level=level)
        server.start()
        for db in names:
            if level == 'logical':
                server.sql("SELECT pg_create_logical_replication_slot('%s_td', 'test_decoding')"
                    % db, db)
            server.sql("UPDATE m SET v = v + 1 WHERE id < 5; UPDATE m SET id = -id WHERE id = 6 "
                "OR id = -6; DELETE FROM m WHERE id = 7; INSERT INTO m VALUES (7)", db)
    for db in names:        # after a crash it is all there again
        server.sql('INSERT INTO m VALUES (200, 1)', db)
    server.kill9()
    server.start()
    twin.sides = [(db, server.connect(db)) for db in names]
    check(twin.compare(['test_decoding'], 'levels') > 8, 'nothing was decoded')
    twin.close()


def check_publications(server):
    """No warnings any more."""
    if not ENGINE:
        return
    server.sql('CREATE TABLE published (id int PRIMARY KEY) USING rowan')
    text = server.psql('CREATE PUBLICATION a FOR TABLE published; ALTER PUBLICATION a SET TABLE '
        'published; CREATE PUBLICATION b FOR ALL TABLES')
    check('WARNING' not in text, text)
    text = server.psql('COPY published TO STDOUT', db='dbname=postgres replication=database')
    check('WARNING' not in text, text)
    server.sql('DROP PUBLICATION a, b; DROP TABLE published')


def test(options):
    server = cluster.make('decoding', conf=CONF)
    trace = open(options.trace, 'w') if options.trace else None
    if options.only_huge or options.only_json:
        if options.only_huge:
            check_huge_rows(server)
        else:
            check_wal2json(server, options.seed, options.transactions or 40)
        server.stop()
        server.check_log()
        return
    for round in range(options.rounds or (20 if options.long else 1)):
        seed = options.seed + round
        transactions = options.transactions or (60 if options.long else 40)
        seen = check_random(server, seed, transactions, trace)
        say('seed %d: %d lines of output are the same' % (seed, seen))
    if not options.only_random:
        check_beside(server, options.long)
        for part in (check_speculative, check_mixed, check_long_rows, check_catalog_tables,
                     check_publications, check_memory, check_standby, check_levels):
            part(server)
        if options.long:
            for seed in range(options.seed, options.seed + 5):
                check_wal2json(server, seed, 40)
            check_huge_rows(server)
    server.stop()
    server.check_log()


def arguments():
    p = harness.arguments(__doc__)
    p.add_argument('--rounds', type=int, help='runs of random SQL')
    p.add_argument('--transactions', type=int, help='in each of these')
    p.add_argument('--only-random', action='store_true')
    p.add_argument('--only-huge', action='store_true', help='rows of almost 1 GB')
    p.add_argument('--only-json', action='store_true', help='wal2json')
    p.add_argument('--trace')
    return p


if __name__ == '__main__':
    harness.main(test, arguments())
