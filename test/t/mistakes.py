#!/usr/bin/env python3
"""Plain mistakes in calls of Rowan's SQL functions get an error that names the mistake: never an internal one, never a crash.

The functions and their arguments are read from pg_proc, so that a new one is asked, too.
"""
import itertools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import ENGINE, check, say

RELATIONS = """
CREATE TABLE good (i int, t text) USING rowan; INSERT INTO good SELECT g, 'x' || g FROM generate_series(1, 1000) g;
CREATE TABLE empty (i int) USING rowan;
CREATE TABLE no_columns () USING rowan; INSERT INTO no_columns DEFAULT VALUES;
CREATE UNLOGGED TABLE unlogged (i int) USING rowan; INSERT INTO unlogged VALUES (1);
CREATE MATERIALIZED VIEW matview USING rowan AS SELECT * FROM good;
CREATE INDEX good_i ON good USING rowan_btree (i);
CREATE INDEX empty_i ON empty USING rowan_btree (i);
CREATE INDEX good_t ON good USING btree (t);
CREATE TABLE heap (i int, t text) USING heap; INSERT INTO heap VALUES (1, 'x');
CREATE INDEX heap_i ON heap USING rowan_btree (i);
CREATE INDEX heap_t ON heap USING hash (t);
CREATE VIEW view AS SELECT * FROM good;
CREATE SEQUENCE sequence;
CREATE TYPE composite AS (i int);
CREATE TABLE parted (i int) PARTITION BY RANGE (i);
CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10) USING rowan;
CREATE INDEX parted_i ON parted USING rowan_btree (i);
CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE foreign_table (i int) SERVER nowhere;
"""

NO_SUCH = ('42P01', '42704')        # no such relation, no such object
NOT_OURS = ('0A000', '42809')       # another session's; a table where an index is meant, or the other way round

# Views ask it of all there is, while others drop it: as pg_relation_size, it then says NULL.
NULL_IF_GONE = 'rowan.file_state'

# What is no table and no index of ours: every function that takes a relation refuses it by that SQLSTATE.
WRONG = {"'good_t'": '42809', "'heap'": '42809', "'heap_t'": '42809', "'view'": '42809', "'sequence'": '42809', "'composite'": '42809',
         "'parted'": '42809', "'parted_i'": '42809', "'foreign_table'": '42809', "'pg_class'": '42809', "'pg_class_oid_index'": '42809',
         "(SELECT reltoastrelid FROM pg_class WHERE relname = 'good')": '42809',
         '4294967295::oid': NO_SUCH, '0::oid': NO_SUCH, "'pg_temp_other'": NOT_OURS, "'pg_temp_other_i'": NOT_OURS, 'dropped': NO_SUCH}
RIGHT = ["'good'", "'empty'", "'no_columns'", "'unlogged'", "'matview'", "'part'", "'good_i'", "'empty_i'", "'heap_i'"]
PAGES = [r"''", r"'\x00'", "decode(repeat('00', 8191), 'hex')", "decode(repeat('00', 8192), 'hex')", "decode(repeat('ff', 8192), 'hex')",
         "decode(repeat('5a', 8193), 'hex')", "decode(repeat('4711', 4096), 'hex')"]
VALUES = {'regclass': RIGHT, 'bigint': ['0', '1', '2', '-1', '1000000', '4294967295', '4294967296', '-9223372036854775808', '9223372036854775807'],
          'boolean': ['true', 'false'], 'bytea': PAGES, 'integer': ['0', '-1', '2147483647', '-2147483648'], 'text': ["''", "'x'", "'visible'"], 'oid': ['0'],
          'xid': ["'0'", "'2'"], 'tid': ["'(0,0)'", "'(4294967295,65535)'"], 'name': ["''"], 'pg_lsn': ["'0/0'", 'pg_current_wal_lsn()', "'FFFFFFFF/FFFFFFFF'"]}

# Answers to arguments of the right kind, other than success.
REFUSALS = {'22023',    # a value out of range: no such block, a page of another size, or none of ours
            '42703', '23514',   # a table to copy to that lacks a column, or does not take a row
            '42809'}    # a table where an index is meant, or the other way round


class Asker:
    def __init__(self, server):
        self.server, self.calls, self.problems = server, 0, []
        self.c = server.connect()

    def expect(self, ok, what):
        if not ok and len(self.problems) < 20:
            self.problems.append(what)

    def ask(self, call):
        self.calls += 1
        e = self.c.try_('SELECT * FROM ' + call).error
        state = e.sqlstate if e else None
        check(self.c.alive(), 'the session is gone: ' + call)
        self.expect(e is None or (state is not None and state != 'XX000'), '%s: %s %s' % (call, state, e))
        return e


def relation(asker, name):
    """The argument as SQL; a dropped table gets a new OID each time."""
    if name != 'dropped':
        return name if name.endswith('::oid') or name.startswith('(') else name + '::regclass'
    oid = asker.c.one("CREATE TABLE gone (i int) USING rowan; SELECT 'gone'::regclass::oid")
    asker.c.exec('DROP TABLE gone')
    return oid


def functions(c):
    """(name, [argument types]) of all that SQL can call."""
    return [(name, types.split(',') if types else []) for name, types in c.rows(
        "SELECT p.oid::regproc::text, (SELECT coalesce(string_agg(format_type(t, NULL), ',' ORDER BY n), '') "
        "FROM unnest(p.proargtypes) WITH ORDINALITY a (t, n)) FROM pg_proc p "
        "WHERE pronamespace = 'rowan'::regnamespace AND NOT 'internal'::regtype = ANY (p.proargtypes) ORDER BY 1, 2")]


def combinations(types):
    for t in types:
        check(t in VALUES, 'no values for arguments of type %s: add some' % t)
    return itertools.product(*(VALUES[t] for t in types))


def typed(value, kind):
    return value if value.startswith(('decode', '(')) else '(%s)::%s' % (value, kind)


def null_arguments(asker, name, types):
    """Strict, or answered in another way: no error that says nothing."""
    for i in range(len(types)):
        values = [next(iter(VALUES[t])) for t in types]
        asker.ask('%s(%s)' % (name, ', '.join('NULL::' + t if j == i else typed(v, t) for j, (v, t) in enumerate(zip(values, types)))))


def wrong_relations(asker, name, types):
    rest = [typed(VALUES[t][0], t) for t in types[1:]]
    for wrong, state in WRONG.items():
        call = '%s(%s)' % (name, ', '.join([relation(asker, wrong)] + rest))
        e = asker.ask(call)
        if name == NULL_IF_GONE and state == NO_SUCH:
            asker.expect(e is None and asker.c.one('SELECT (%s).height IS NULL' % call) == 't',
                         '%s: %s' % (call, e))
            continue
        asker.expect(e is not None and (e.sqlstate == state or e.sqlstate in state), '%s: %s, expected %s' % (call, e, state))
        if e is None:
            continue
        asker.expect(e.primary[0].islower() or e.primary[0] == '"', '%s: %s' % (call, e.primary))
        asker.expect(state == NO_SUCH or state == NOT_OURS or '"' in e.primary, '%s does not name it: %s' % (call, e.primary))


def right_kinds(asker, name, types):
    done = 0
    for values in combinations(types):
        e = asker.ask('%s(%s)' % (name, ', '.join(typed(v, t) for v, t in zip(values, types))))
        asker.expect(e is None or e.sqlstate in REFUSALS, '%s(%s): %s' % (name, ', '.join(values), e))
        done += e is None
    asker.expect(done > 0, '%s: no call succeeded' % name)


def test(options):
    if not ENGINE:
        return
    server = cluster.make('mistakes')
    asker = Asker(server)
    asker.c.exec(RELATIONS)
    other = server.connect()
    other.exec('CREATE TEMP TABLE other (i int) USING rowan; INSERT INTO other VALUES (1); CREATE INDEX other_i ON other USING rowan_btree (i)')
    for name in ('other', 'other_i'):
        WRONG["'%s.%s'" % (other.one("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()"), name)] = WRONG.pop("'pg_temp_%s'" % name)
    asked = functions(asker.c)
    check(len(asked) > 10, 'functions: %s' % asked)
    for name, types in asked:
        null_arguments(asker, name, types)
        if types and types[0] == 'regclass':
            wrong_relations(asker, name, types)
        right_kinds(asker, name, types)
    check(not asker.problems, '\n'.join(asker.problems))
    say('%d functions, %d calls' % (len(asked), asker.calls))
    server.check_log()
    server.stop()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
