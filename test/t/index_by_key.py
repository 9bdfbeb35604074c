#!/usr/bin/env python3
"""VACUUM finds the entries of few dead rows by key; none stays whose row id may go to another row.

cases    what can be found, and what cannot: rows that moved, whose insertion failed, expressions
         that have changed their answer, or fail, partial indexes, toasted keys
held     rows that an old snapshot sees
random   statements and VACUUM: every row id in an index is a row's or a stub's

    index_by_key.py --seed 7 --rounds 60
"""
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

ROWS = 40000
MAIN = 'INDEX_CLEANUP on, TRUNCATE off'

FUNCTION = """CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql
AS 'BEGIN RETURN %s; END'"""

# row ids that an index has entries of, and that the table does not have
LOST = """
SELECT (n::text::point)[0]::bigint * 256 + (((n::text::point)[1]::int - 1) & 255)
FROM generate_series(0, (rowan.file_header('{index}')).high_water - 1) b,
    rowan.page_header('{index}', b) h, rowan.index_items('{index}', b) i,
    unnest(coalesce(i.tids, ARRAY[i.tid])) n
WHERE h.type = 'index leaf' AND i.kind IN ('entry', 'list')
EXCEPT
SELECT i.key + g FROM generate_series(0, (rowan.file_header('t')).high_water - 1) b,
    rowan.page_header('t', b) h, rowan.page_items('t', b) i,
    generate_series(0, greatest(i.stubs, 1) - 1) g
WHERE h.type = 'leaf'
"""


def check_indexes(server, c, verify=True):
    for (index,) in c.rows("SELECT indexrelid::regclass FROM pg_index "
                           "WHERE indrelid = 't'::regclass"):
        lost = c.rows(LOST.format(index=index))
        check(not lost, '%s has entries of rows that are gone: %s' % (index, lost[:5]))
    if verify:
        server.verify('t')


def vacuum(c, options=MAIN):
    """(indexes cleaned by key, indexes), as VACUUM says; None if it went through none."""
    c.notices.clear()
    c.exec('VACUUM (VERBOSE, %s) t' % options)
    text = '\n'.join(c.notices)
    found = re.findall(r'indexes cleaned by key: (\d+) of (\d+)', text)
    check('index scans' in text, text)
    return tuple(int(n) for n in found[-1]) if found else None


def stubs(c):
    return int(c.one("SELECT coalesce(sum(greatest(i.stubs, 1)), 0) "
                     "FROM generate_series(0, (rowan.file_header('t')).high_water - 1) b, "
                     "rowan.page_header('t', b) h, rowan.page_items('t', b) i "
                     "WHERE h.type = 'leaf' AND (i.stubs > 0 OR i.flags = ARRAY['deleted'])"))


def make(c, *indexes, s="'text ' || i"):
    c.exec('DROP TABLE IF EXISTS t; CREATE TABLE t (id int, k int, v int, s text) USING %s' % AM)
    c.exec('INSERT INTO t SELECT i, i %% 1000, 0, %s FROM generate_series(1, %d) i' % (s, ROWS))
    for index in indexes:
        c.exec('CREATE %s' % index.replace('ON t', 'ON t USING rowan_btree'))
    c.exec('VACUUM t')


def expect(server, c, what, expected, options=MAIN, verify=True):
    found = vacuum(c, options)
    check(found == expected, '%s: cleaned by key: %s' % (what, found))
    check_indexes(server, c, verify)


# ---- cases ----

def found(server, c):
    make(c, 'UNIQUE INDEX ON t (id)', 'INDEX ON t (k DESC, s) INCLUDE (id)')
    c.exec('DELETE FROM t WHERE id % 2000 = 7')
    expect(server, c, 'deleted', (2, 2))
    c.exec('UPDATE t SET v = v + 1 WHERE id % 1000 = 1; UPDATE t SET k = -1 WHERE id % 2000 = 1')
    expect(server, c, 'moved', (2, 2))
    c.exec('BEGIN; UPDATE t SET v = 3 WHERE id % 3000 = 2; SAVEPOINT a; '
           'UPDATE t SET v = 4 WHERE id % 3000 = 2; ROLLBACK TO a; COMMIT; '
           'DELETE FROM t WHERE id % 3000 = 2')
    expect(server, c, 'changed, undone, deleted', (2, 2))
    c.exec('BEGIN; INSERT INTO t SELECT -i, i, i, NULL FROM generate_series(1, 20) i;'
           'UPDATE t SET k = NULL WHERE id < -10; ROLLBACK')
    expect(server, c, 'insertion undone', (2, 2))
    c.exec('DELETE FROM t WHERE id BETWEEN 5000 AND 5030')
    expect(server, c, 'a range', (2, 2))
    c.exec('DELETE FROM t WHERE id % 2 = 0')
    expect(server, c, 'half of them', (0, 2))


def few_stubs(server, c):
    """Where the indexes would be left alone: what is found goes, what is not found stays a stub."""
    make(c, 'UNIQUE INDEX ON t (id)', 'INDEX ON t (k)')
    c.exec('DELETE FROM t WHERE id = 20000')
    expect(server, c, 'one row', (2, 2), 'TRUNCATE off')
    check(stubs(c) == 0, 'stubs are left')
    c.exec('DELETE FROM t WHERE id = 20001')
    c.try_("INSERT INTO t VALUES (7, 7, 7, 'violates t_id')")
    expect(server, c, 'a row without entries', (0, 2), 'TRUNCATE off')
    check(stubs(c) == 1, '%d stubs are left' % stubs(c))
    expect(server, c, 'by and by', (0, 2))
    check(stubs(c) == 0, 'stubs are left')


def not_found(server, c):
    make(c, 'UNIQUE INDEX ON t (id)', 'INDEX ON t (k)')
    c.try_("INSERT INTO t VALUES (7, 7, 7, 'violates t_id')")
    expect(server, c, 'insertion failed', (0, 2))
    c.exec('DELETE FROM t WHERE id % 1000 = 3')
    c.exec('VACUUM (INDEX_CLEANUP off) t')
    c.exec('DELETE FROM t WHERE id % 1000 = 4')
    expect(server, c, 'older stubs', (0, 2))
    c.exec(FUNCTION % '$1 + 1')
    make(c, 'INDEX ON t (f(k))', 'INDEX ON t (k) WHERE id > 1000',
         'INDEX ON t ((1000 / v)) WHERE v > 0')
    c.exec('DELETE FROM t WHERE id % 10000 = 1999')
    expect(server, c, 'expression', (1, 3))
    c.exec(FUNCTION % '$1 + 2')
    c.exec('DELETE FROM t WHERE id % 10000 = 1998')
    expect(server, c, 'another answer', (1, 3), verify=False)
    c.exec(FUNCTION % '$1 / 0')
    c.exec('DELETE FROM t WHERE id % 10000 = 998')
    expect(server, c, 'no predicate holds, and an error', (0, 3), verify=False)


def failed(server, c):
    """Rows whose entries nobody could make."""
    make(c, 'INDEX ON t ((1 / v))' + ' WHERE id < 0', 'INDEX ON t (s)')
    check(c.try_("INSERT INTO t VALUES (-1, 1, 0, 'division by zero')").error, 'no error')
    expect(server, c, 'division by zero', (0, 2))
    long = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i)"
    c.exec('ALTER TABLE t ALTER s SET STORAGE external')
    check(c.try_("INSERT INTO t VALUES (-2, 1, 1, %s)" % long).error, 'no error')
    expect(server, c, 'too long', (0, 2))
    c.exec('DROP INDEX t_s_idx; CREATE INDEX ON t USING rowan_btree (k);'
           "UPDATE t SET s = %s WHERE id %% 8000 = 5; DELETE FROM t WHERE id %% 8000 = 5;"
           'DROP INDEX t_expr_idx' % long)
    expect(server, c, 'a toasted value that is no key', (1, 1))
    c.exec('CREATE INDEX ON t USING rowan_btree (left(s, 10)); '
           'UPDATE t SET s = %s WHERE id %% 8000 = 6' % long)
    c.exec('VACUUM (INDEX_CLEANUP on) t')
    c.exec('DELETE FROM t WHERE id % 8000 = 6')
    expect(server, c, 'part of a toasted value', (1, 2))


def equal_keys(server, c):
    """Posting lists: of many rows with one key only those that died lose their entries."""
    make(c, 'INDEX ON t (v)', 'INDEX ON t ((k / 500), v)')
    c.exec('DELETE FROM t WHERE id IN (17, 18, 20000)')
    expect(server, c, 'equal keys', (2, 2))
    count = c.one('SET enable_seqscan = off; SELECT count(*) FROM t WHERE v = 0')
    check(count == str(ROWS - 3), '%s rows are left' % count)
    c.exec('RESET enable_seqscan')


def function_writes(server, c):
    """What an index function writes stays: snapshots and horizons pass over a VACUUM's xid."""
    make(c)
    c.exec("""CREATE TABLE log (x int);
CREATE FUNCTION note(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.log VALUES ($1);
    PERFORM pg_sleep(current_setting('by_key.sleep')::float); RETURN $1; END $$;
CREATE FUNCTION noting(int) RETURNS int IMMUTABLE LANGUAGE plpgsql
AS 'BEGIN PERFORM public.note($1); RETURN $1; END'; SET by_key.sleep = 0;
DELETE FROM t WHERE id > 2000; CREATE INDEX ON t USING rowan_btree (noting(k))""")
    c.exec('VACUUM t')
    c.exec('DELETE FROM t WHERE id = 17; TRUNCATE log; SET by_key.sleep = 3')
    with server.connect() as other:
        c.send('VACUUM (INDEX_CLEANUP on) t')
        harness.wait_for(lambda: c.ready(0) or other.one(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == '1', 'VACUUM')
        other.exec('CREATE TABLE younger (x int)')
        read = other.one('SELECT count(*) FROM log')
        c.receive()
        left = other.one('SELECT count(*) FROM log')
    # not called at all, or what it wrote is there
    calls = c.one("SELECT count(*) FROM log, pg_class WHERE false") and \
        int(c.one("SELECT pg_relation_size('log')")) > 0
    check(not calls or left == '1', 'VACUUM called a function that wrote a row, and committed: '
          'it is lost (rows seen meanwhile: %s, afterwards: %s)' % (read, left))
    c.exec('DROP TABLE t, log, younger; DROP FUNCTION noting, note')


def idle_cursor(server, c):
    """One dead row in a large table is no reason to wait for an index-only scan."""
    make(c, 'INDEX ON t (id)')
    c.exec('DELETE FROM t WHERE id = 20000')
    with server.connect() as other:
        other.exec('SET enable_seqscan = off; SET enable_bitmapscan = off; BEGIN; '
                   'DECLARE q CURSOR FOR SELECT id FROM t WHERE id > 50; FETCH 1 FROM q')
        c.exec("SET statement_timeout = '5s'")
        error = c.try_('VACUUM t').error
        c.exec('RESET statement_timeout')
        check(error is None, 'VACUUM waits for a cursor: %s' % error)


CASES = (found, few_stubs, not_found, failed, equal_keys, function_writes, idle_cursor)


# ---- old snapshots ----

def held(server, c):
    make(c, 'UNIQUE INDEX ON t (id)', 'INDEX ON t (k)')
    with server.connect() as old:
        old.exec('SET enable_seqscan = off; BEGIN ISOLATION LEVEL REPEATABLE READ')
        sums = 'SELECT count(*), sum(k) FROM t WHERE id > 0'
        before = old.rows(sums)
        c.exec('DELETE FROM t WHERE id % 8000 = 1')
        with server.connect() as young:
            young.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t')
            c.exec('UPDATE t SET k = -k - 1 WHERE id % 8000 = 2')
            check(vacuum(c) in (None, (0, 0)), 'rows went that a snapshot sees')
            check(old.rows(sums) == before, 'rows are lost')
            old.exec('COMMIT')
            expect(server, c, 'one of two snapshots ended', (2, 2))
            young.exec('COMMIT')
        expect(server, c, 'none is left', (2, 2))
    c.exec('INSERT INTO t SELECT i, -5, 0, NULL FROM generate_series(100001, 100100) i')
    count = c.one('SET enable_seqscan = off; SELECT count(*) FROM t WHERE k = -5')
    check(count == '100', '%s rows of 100' % count)
    c.exec('RESET enable_seqscan')
    check_indexes(server, c)


# ---- at random ----

STATEMENTS = (
    'DELETE FROM t WHERE id BETWEEN {x} AND {x} + {n}',
    'UPDATE t SET k = {y} WHERE id BETWEEN {x} AND {x} + {n}',
    'UPDATE t SET v = v + 1, s = s || {y} WHERE id BETWEEN {x} AND {x} + {n}',
    "INSERT INTO t SELECT i, i % 777, i % 5, 'new ' || i FROM generate_series({x}, {x} + {n}) i",
    "INSERT INTO t SELECT i + 1000000, i, 0, 'other ' || i FROM generate_series({x}, {x} + {n}) i "
    'WHERE NOT EXISTS (SELECT FROM t o WHERE o.id = i + 1000000)',
    'DELETE FROM t WHERE k = {y}',
    'SELECT count(*) FROM t WHERE k BETWEEN {y} AND {y} + 3',
)


def step(c, rnd):
    sql = rnd.choice(STATEMENTS).format(x=rnd.randrange(ROWS), y=rnd.randrange(1000),
                                        n=rnd.choice((0, 0, 1, 3, 20)))
    how = rnd.choice(('{}', '{}', '{}', 'BEGIN; {}; ROLLBACK',
                      'BEGIN; SAVEPOINT a; {}; ROLLBACK TO a; {}; COMMIT'))
    error = c.try_(how.replace('{}', sql)).error
    check(not error or error.sqlstate == '23505', str(error))
    c.try_('ROLLBACK')


def at_random(server, c, rnd, rounds):
    make(c, 'UNIQUE INDEX ON t (id)', 'INDEX ON t (k DESC) INCLUDE (s)', 'INDEX ON t (s, k)',
         'INDEX ON t ((k % 10), v) WHERE v < 3', 'INDEX ON t (v)')
    by_key = all_of = 0
    with server.connect() as old:
        for _ in range(rounds):
            if rnd.random() < 0.3:
                old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t')
            for _ in range(rnd.randrange(1, 5)):
                step(c, rnd)
            if old.in_transaction() and rnd.random() < 0.6:
                old.exec('COMMIT')
            said = vacuum(c, rnd.choice((MAIN, MAIN, 'TRUNCATE off', 'INDEX_CLEANUP off')))
            by_key, all_of = (x + y for x, y in zip((by_key, all_of), said or (0, 0)))
            check_indexes(server, c, verify=False)
    server.verify('t')
    say('%d of %d times an index was cleaned by key' % (by_key, all_of))
    check(by_key > all_of // 10, 'indexes are hardly ever cleaned by key')


def test(options):
    if not ENGINE:
        return
    server = cluster.make('by-key', conf={'autovacuum': 'off', 'jit': 'off'})
    with server.connect() as c:
        for case in CASES:
            case(server, c)
        held(server, c)
        at_random(server, c, random.Random(options.seed), options.rounds)
    server.stop()
    server.check_log()
    say('entries of few dead rows are found by key, and none is left')


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--rounds', type=int)
    parser.set_defaults(rounds=300 if parser.parse_args().long else 15)
    harness.main(test, parser)
