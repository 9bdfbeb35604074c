#!/usr/bin/env python3
"""rowan.verify finds nothing in sound tables and indexes, whatever others do meanwhile, on the primary and on a standby
beside replay; makes nobody wait; finds a version that is missing; and says clearly what it cannot verify."""
import os
import random
import re
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from bytes import seal
from harness import AM, ENGINE, Failure, check, say

PAGE = 8192
INDEX_AM = 'rowan_btree' if ENGINE else 'btree'
CONF = {'rowan.buffers': '2MB', 'shared_buffers': '16MB', 'autovacuum': 'on', 'autovacuum_naptime': '1s', 'max_wal_size': '512MB',
        'wal_keep_size': '1GB', 'deadlock_timeout': '200ms', 'statement_timeout': '120s', 'max_standby_streaming_delay': '1s'}


def found(c, relation, *arguments):
    return c.rows("SELECT block, problem FROM rowan.verify(%s)" % ', '.join(["'%s'" % relation] + list(arguments)))


def sound(c, what, relation, *arguments):
    problems = found(c, relation, *arguments)
    check(not problems, '%s: verify of %s: %d problems: %s' % (what, relation, len(problems), problems[:3]))


# ---- what is not to be reported ----

def old_horizon(server):
    """What a session knew of the horizon before is too old: versions that it holds for needed have gone rightly."""
    with server.connect() as w, server.connect() as old, server.connect() as writer, server.connect() as v:
        w.exec("CREATE TABLE horizon (id int, n int, pad text) USING %s; INSERT INTO horizon SELECT g, 0, repeat('x', 20) FROM generate_series(1, 5000) g" % AM)
        w.exec('VACUUM horizon')
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class LIMIT 1')
        w.exec('UPDATE horizon SET n = n + 1')
        w.exec('UPDATE horizon SET n = n + 1')
        writer.exec('BEGIN; SELECT txid_current()')
        sound(v, 'beside an old snapshot', 'horizon')
        old.exec('ROLLBACK')
        writer.exec('UPDATE horizon SET n = n + 1 WHERE id <= 3000')
        v.send("SELECT * FROM rowan.verify('horizon')")
        end = time.time() + 20
        while not v.ready(0.2) and time.time() < end:
            pass
        waited = not v.ready()
        writer.exec('COMMIT')
        problems = v.receive().rows
        check(not waited, 'verify waits for a writer')
        check(not problems, 'after an old snapshot: %d problems: %s' % (len(problems), problems[:3]))
        sound(v, 'after the writer', 'horizon')


def beyond_the_end(server):
    """VACUUM cuts off what chains point to: gone, and nobody needs it; verify beside sessions that did when they began."""
    with server.connect() as w, server.connect() as other, server.connect() as old, server.connect() as later, server.connect() as v:
        w.exec("CREATE TABLE cut (id int, n int, pad text) USING %s; INSERT INTO cut SELECT g, 0, repeat('x', 50) FROM generate_series(1, 20000) g" % AM)
        w.exec('VACUUM cut')
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current_snapshot()')
        w.exec('UPDATE cut SET n = n + 1 WHERE id > 1')
        for _ in range(60):
            w.exec('UPDATE cut SET n = n + 1 WHERE id = 1')
        sound(v, 'versions at the end of the file', 'cut')
        old.exec('ROLLBACK')
        later.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current_snapshot()')
        other.exec('UPDATE cut SET n = n + 1 WHERE id = 1')        # its versions are elsewhere
        before = int(v.one("SELECT high_water FROM rowan.file_header('cut')"))
        w.exec('VACUUM cut')
        after = int(v.one("SELECT high_water FROM rowan.file_header('cut')"))
        check(after < before, 'VACUUM cut nothing: %d blocks, %d before' % (after, before))
        sound(v, 'after the file was cut', 'cut')
        w.exec('UPDATE cut SET n = n + 1 WHERE id = 1')
        sound(later, 'to an older snapshot', 'cut')
        check(later.rows('SELECT n FROM cut WHERE id = 1') == [('60',)], 'the older snapshot')
        later.exec('ROLLBACK')
        sound(v, 'at the end', 'cut')


def aborted_shapes(server):
    """Versions of a transaction that also altered the table, and was rolled back, have columns that the table hasn't."""
    with server.connect() as c:
        def rolled_back(*statements):
            c.exec('BEGIN')
            for s in statements:
                c.exec(s)
            c.exec('ROLLBACK')
            sound(c, 'after ROLLBACK of %s' % '; '.join(statements), 'shape')
        c.exec("CREATE TABLE shape (id int, n int, s text) USING %s; INSERT INTO shape SELECT i, i, 'a' FROM generate_series(1, 10) i" % AM)
        rolled_back('ALTER TABLE shape ADD rb int DEFAULT 5', 'UPDATE shape SET rb = 6 WHERE id = 2')
        c.exec("ALTER TABLE shape ADD rb text DEFAULT 'again'")
        sound(c, 'another column in its place', 'shape')
        rolled_back('ALTER TABLE shape ADD x int, ADD y int', 'UPDATE shape SET x = 3, y = 4 WHERE id < 5', 'UPDATE shape SET x = 4 WHERE id < 3',
                    'INSERT INTO shape (id, x, y) VALUES (100, 1, 2)', 'DELETE FROM shape WHERE id = 4')
        c.exec('ALTER TABLE shape ADD x text, ADD y numeric')
        sound(c, 'other columns in their places', 'shape')
        rolled_back('ALTER TABLE shape DROP s', 'UPDATE shape SET n = 9 WHERE id = 7', 'ALTER TABLE shape ADD s int', 'UPDATE shape SET s = 1 WHERE id = 8')
        rolled_back('ALTER TABLE shape ALTER n TYPE bigint', 'UPDATE shape SET n = 1 << 30')
        # within the transaction, too
        c.exec('BEGIN; SAVEPOINT a; ALTER TABLE shape ADD z int DEFAULT 1; UPDATE shape SET z = 2 WHERE id = 9; ROLLBACK TO a')
        sound(c, 'after ROLLBACK TO', 'shape')
        c.exec('ALTER TABLE shape ADD z text; UPDATE shape SET z = $$z$$ WHERE id = 10')
        sound(c, 'in the transaction that altered it', 'shape')
        c.exec('COMMIT')
        c.exec('UPDATE shape SET n = 0; DELETE FROM shape WHERE id > 8')
        sound(c, 'after all', 'shape')
        check(c.rows('SELECT id, s, rb, x, z FROM shape WHERE id IN (2, 3) ORDER BY id') ==
              [('2', 'a', 'again', None, None), ('3', 'a', 'again', None, None)], 'rows after aborted changes')


def own_temporary(server):
    """In a temporary table versions go as soon as the session itself needs them no more."""
    with server.connect() as old, server.connect() as c:
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()')
        c.exec("CREATE TEMP TABLE mine (id int, n int, s text) USING %s; INSERT INTO mine SELECT i, 0, repeat('x', 100) FROM generate_series(1, 3000) i" % AM)
        c.exec('CREATE INDEX mine_n ON mine USING %s (n)' % INDEX_AM)
        for _ in range(4):
            c.exec("UPDATE mine SET s = s || 'y'")
            c.exec('BEGIN; UPDATE mine SET n = n + 1 WHERE id % 3 = 0; ROLLBACK')
            sound(c, 'temporary table', 'mine')
            sound(c, 'index of a temporary table', 'mine_n', 'true')
        old.exec('ROLLBACK')


def nobody_waits(server):
    """Locks that keep all others but readers away; and verify beside itself in a transaction that has written."""
    with server.connect() as a, server.connect() as b:
        b.exec("SET lock_timeout = '20s'")
        a.exec("CREATE TABLE busy (id int, n int) USING %s; INSERT INTO busy SELECT i, i FROM generate_series(1, 500) i" % AM)
        a.exec('BEGIN; LOCK TABLE busy IN EXCLUSIVE MODE; UPDATE busy SET n = 5')
        sound(b, 'beside EXCLUSIVE', 'busy')
        a.exec('ROLLBACK')
        a.exec('CREATE INDEX busy_n ON busy USING %s (n)' % INDEX_AM)
        a.exec('BEGIN; LOCK TABLE busy IN EXCLUSIVE MODE; UPDATE busy SET n = 6')
        sound(b, 'beside EXCLUSIVE', 'busy_n', 'true')
        sound(a, 'in the transaction', 'busy_n', 'true')
        sound(a, 'in the transaction', 'busy')
        a.exec('ROLLBACK')
        # what verify itself holds, to the end of a cursor
        a.exec("BEGIN; SELECT * FROM rowan.verify('busy')")
        b.exec('BEGIN; LOCK TABLE busy IN SHARE ROW EXCLUSIVE MODE; ROLLBACK')
        a.exec('ROLLBACK')


def broken_chains(server):
    """A snapshot from before an index whose rows had other keys then."""
    with server.connect() as old, server.connect() as c:
        c.exec('CREATE TABLE chains (id int, k int) USING %s; INSERT INTO chains SELECT i, i FROM generate_series(1, 100) i' % AM)
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM chains')
        c.exec('UPDATE chains SET k = k + 1000')
        c.exec('CREATE INDEX chains_k ON chains USING %s (k)' % INDEX_AM)
        r = old.try_("SELECT * FROM rowan.verify('chains_k', true)")
        check(r.rows == [] and (r.error is None or r.error.sqlstate == '40001'), 'old snapshot: %s %s' % (r.rows[:3], r.error))
        old.try_('ROLLBACK')
        sound(c, 'beside the old snapshot', 'chains_k', 'true')


# ---- what cannot be verified ----

def refusals(server):
    with server.connect() as c, server.connect() as other:
        c.exec("""CREATE TABLE plain (id int PRIMARY KEY, n int) USING %s; INSERT INTO plain VALUES (1, 1), (2, 1);
                  CREATE INDEX plain_btree ON plain USING btree (n); CREATE INDEX plain_rowan ON plain USING %s (n);
                  CREATE VIEW a_view AS SELECT 1 AS x; CREATE SEQUENCE a_sequence; CREATE TYPE a_type AS (x int);
                  CREATE TABLE a_heap (t text) USING heap;
                  CREATE MATERIALIZED VIEW a_matview USING %s AS SELECT 1 AS x;
                  CREATE TABLE parted (i int) PARTITION BY LIST (i); CREATE INDEX parted_i ON parted USING %s (i);
                  CREATE TABLE part PARTITION OF parted FOR VALUES IN (1) USING %s;
                  CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
                  CREATE FOREIGN TABLE a_foreign (t text) SERVER files OPTIONS (filename '/dev/null')""" % (AM, INDEX_AM, AM, INDEX_AM, AM))
        r = c.try_('CREATE UNIQUE INDEX CONCURRENTLY broken ON plain USING %s (n)' % INDEX_AM)
        check(r.error is not None and r.error.sqlstate == '23505', 'duplicates: %s' % r.error)
        other.exec('CREATE TEMP TABLE others (i int) USING %s; CREATE INDEX others_i ON others USING %s (i)' % (AM, INDEX_AM))
        schema = other.one("SELECT pg_my_temp_schema()::regnamespace")
        toast = c.one("SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'a_heap'::regclass")
        wrong_type = [("'a_view'", 'not supported for views'), ("'a_sequence'", 'not supported for sequences'),
                      ("'a_type'", 'not supported for composite types'), ("'a_foreign'", 'not supported for foreign tables'),
                      ("'a_heap'", 'method is heap.*amcheck'), ("'%s'" % toast, 'method is heap'), ("'plain_pkey'", 'method is btree.*amcheck'),
                      ("'parted'", 'partitioned tables.*one by one'), ("'parted_i'", 'partitioned indexes.*one by one'),
                      ("'plain_btree', true", 'method is btree.*amcheck'), ("'plain', true", 'not an index.*one argument'),
                      ("'plain', false", 'not an index.*one argument'), ("'a_view', true", 'not an index'), ("'parted_i', true", 'not an index'),
                      ("'a_heap', true", 'not an index'), ("'pg_class'", 'method is heap')]
        cases = [(a, '42809', p) for a, p in wrong_type] + [
            ("NULL", '22004', 'must not be null'), ("NULL, true", '22004', 'must not be null'), ("'plain_rowan', NULL", '22004', 'must not be null'),
            ("4000000000", '42P01', 'does not exist'), ("4000000000, true", '42704', 'does not exist'),
            ("'%s.others'" % schema, '0A000', 'temporary tables of other sessions'), ("'%s.others_i'" % schema, '0A000', 'temporary tables of other sessions'),
            ("'broken'", '55000', 'is not ready.*REINDEX'), ("'broken', true", '55000', 'is not ready')]
        for arguments, sqlstate, pattern in cases:
            r = c.try_('SELECT * FROM rowan.verify(%s)' % arguments)
            text = r.error and ' '.join((r.error.primary, r.error.detail, r.error.hint))
            check(r.error is not None and r.error.sqlstate == sqlstate and re.search(pattern, text),
                  'verify(%s): %s' % (arguments, r.rows if r.error is None else '%s %s' % (r.error.sqlstate, text)))
        for relation in ('plain', 'plain_rowan', 'a_matview', 'part', 'part_i_idx'):
            sound(c, 'what can be verified', relation)
        c.exec('SET ROLE pg_read_all_data')
        check(c.try_("SELECT * FROM rowan.verify('plain')").error.sqlstate == '42501', 'verify is for everybody')


# ---- what is to be found ----

def missing_version(server):
    """A version that a prepared transaction's rollback would bring back is not where the row says."""
    with server.connect() as c:
        c.exec('CREATE TABLE lost (id int, n int) USING %s; INSERT INTO lost SELECT i, i FROM generate_series(1, 50) i' % AM)
        c.exec("BEGIN; UPDATE lost SET n = -n WHERE id <= 20; PREPARE TRANSACTION 'lost'")
        sound(c, 'beside a prepared transaction', 'lost')
        block = int(c.one("SELECT version_head FROM rowan.file_header('lost')"))
    path = server.path_of('lost')
    server.stop()
    data = bytearray(open(path, 'rb').read())
    record = block * PAGE + 24
    row, = struct.unpack_from('<I', data, record + 8)
    struct.pack_into('<I', data, record + 8, row + 1000)
    seal(data, block)
    with open(path, 'r+b') as f:
        f.write(data)
    server.start()
    with server.connect() as c:
        problems = found(c, 'lost')
        check(len(problems) == 1 and problems[0][0] == '1' and re.match(r'row \(0,\d+\): an older version of it is missing', problems[0][1]),
              'a lost version: %s' % problems)
        c.exec("COMMIT PREPARED 'lost'")
        sound(c, 'nobody needs it', 'lost')


def damage_beside_writers(server):
    """A free page that the list has lost, and a leaf that names a wrong neighbour, are found in each run while others write."""
    with server.connect() as c:
        c.exec("CREATE TABLE damaged (id int, n int, s text) USING %s; INSERT INTO damaged SELECT i, 0, repeat('x', 200) FROM generate_series(1, 6000) i" % AM)
        c.exec('DELETE FROM damaged WHERE id BETWEEN 2000 AND 4000')
        c.exec('VACUUM (TRUNCATE off) damaged')
        sound(c, 'before it is damaged', 'damaged')
    path = server.path_of('damaged')
    server.stop()
    data = bytearray(open(path, 'rb').read())

    def block_at(block, offset):
        return struct.unpack_from('<I', data, block * PAGE + offset)[0]
    lost, count = block_at(0, 24 + 12), block_at(0, 24 + 16)
    behind = block_at(lost, PAGE - 64 + 40)
    check(count > 3, 'only %d free pages' % count)
    struct.pack_into('<II', data, 24 + 12, behind, count - 1)
    leaf = next(b for b in range(2, len(data) // PAGE) if data[(b + 1) * PAGE - 10] == 3 and block_at(b, PAGE - 64) == 0)
    wrong = block_at(block_at(leaf, PAGE - 64 + 40), PAGE - 64 + 40)
    struct.pack_into('<I', data, leaf * PAGE + PAGE - 64 + 40, wrong)
    for block in (0, leaf):
        seal(data, block)
    with open(path, 'r+b') as f:
        f.write(data)
    server.start()
    expected = {(str(lost), 'block is neither in the tree nor in a list'), (str(leaf), 'right sibling is not the page that follows')}
    stopping = []

    def write(number):
        rnd = random.Random(number)
        with server.connect() as c:
            while not stopping:
                first = rnd.randrange(4000, 6000)
                c.exec('UPDATE damaged SET n = n + 1 WHERE id BETWEEN %d AND %d' % (first, first + 200))
                c.exec("INSERT INTO damaged SELECT 0, i, repeat('y', 200) FROM generate_series(1, 200) i")
                c.try_('BEGIN; DELETE FROM damaged WHERE id = 0 AND n < 100; %s' % rnd.choice(['COMMIT', 'ROLLBACK']))
                if number == 0:
                    c.exec('VACUUM (TRUNCATE off) damaged')
    writers = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(3)]
    try:
        for w in writers:
            w.start()
        with server.connect() as c:
            for _ in range(20):
                problems = set(found(c, 'damaged'))
                check(problems == expected, 'damage beside writers: %s instead of %s' % (problems, expected))
                time.sleep(0.05)
    finally:
        stopping.append(True)
        for w in writers:
            w.join(60)
    server.sql('DROP TABLE damaged')


HURT = """
CREATE TABLE hurt (id int, n int, s text) USING {am};
CREATE INDEX hurt_i ON hurt USING {ix} (id);
INSERT INTO hurt SELECT i, 0, repeat('x', 200) FROM generate_series(1, 6000) i;
DELETE FROM hurt WHERE id BETWEEN 2000 AND 4000
"""


def found_of_damaged(server, path, relation, blocks):
    """What verify says of the file with damages in these blocks."""
    server.stop()
    whole = open(path, 'rb').read()
    data = bytearray(whole)
    for b in blocks:
        data[b * PAGE + 3000] ^= 1
    said = []
    for content in (data, whole):
        if content is whole:
            server.stop()
        with open(path, 'r+b') as f:
            f.write(content)
        server.start()
        with server.connect() as c:
            said.append(c.rows('SELECT block, problem, severity, advice FROM '
                               "rowan.verify('%s')" % relation))
    check(not said[1], 'as it was: %s' % said[1])
    return said[0]


def damaged_pages(server):
    """Pages that cannot be read: each is a row, with advice, and what it leads to is not missed."""
    with server.connect() as c:
        c.exec(HURT.format(am=AM, ix=INDEX_AM))
        c.exec('VACUUM (TRUNCATE off) hurt')
        c.exec('BEGIN; UPDATE hurt SET n = 1 WHERE id < 300; ROLLBACK')
        sound(c, 'before it is damaged', 'hurt')
        free, version = map(int, c.rows("SELECT free_head, version_head FROM "
                                        "rowan.file_header('hurt')")[0])
        leaf = int(c.one("SELECT b FROM generate_series(2, 100) b WHERE "
                         "(rowan.page_header('hurt', b)).type = 'leaf' ORDER BY 1 DESC LIMIT 1"))
    table, index = server.path_of('hurt'), server.path_of('hurt_i')
    for blocks in ([leaf], [1], [0], [free], [version], [0, leaf, version], [1, leaf, free]):
        said = found_of_damaged(server, table, 'hurt', blocks)
        unreadable = {int(r[0]): r for r in said if 'checksum' in r[1]}
        check(set(unreadable) == set(blocks), 'damaged %s: %s' % (blocks, said[:5]))
        check(all(r[2] == 'error' and 'rowan.salvage' in r[3] for r in unreadable.values()),
              'advice: %s' % said[:5])
        other = [r for r in said if 'checksum' not in r[1]]
        check(all(version in blocks and 'older version' in r[1] for r in other),
              'damaged %s: %s' % (blocks, other[:5]))
    for blocks in ([1], [0], [2]):
        said = found_of_damaged(server, index, 'hurt_i', blocks)
        check({int(r[0]) for r in said} == set(blocks) and all('REINDEX' in r[3] for r in said),
              'index, damaged %s: %s' % (blocks, said))
    server.sql('DROP TABLE hurt')


MANY = """
CREATE TABLE m{0} (id int, s text) USING {1};
CREATE INDEX m{0}_i ON m{0} USING {2} (id);
INSERT INTO m{0} SELECT i, repeat('x', 100) FROM generate_series(1, 3000) i
"""


def flip_in(paths):
    for path in paths:
        with open(path, 'r+b') as f:
            f.seek(2 * PAGE + 3000)
            byte = f.read(1)[0]
            f.seek(2 * PAGE + 3000)
            f.write(bytes([byte ^ 1]))


def of_database(c, *arguments):
    """What verify_database says, without words."""
    return sorted(c.rows('SELECT relation, block, severity FROM rowan.verify_database(%s)'
                         % ', '.join(arguments)), key=str)


def dropped_meanwhile(c, other):
    other.exec('BEGIN; DROP TABLE m3')
    c.send('SELECT * FROM rowan.verify_database()')
    harness.wait_for(lambda: other.one(
        "SELECT wait_event_type FROM pg_stat_activity WHERE query LIKE '%%verify_database()' "
        'AND pid <> pg_backend_pid()') == 'Lock', 'verify_database waits for the lock')
    other.exec('COMMIT')
    r = c.receive()
    check(r.error is None and r.rows == [], 'a table dropped meanwhile: %s' % r.error)


def progress(c, other):
    check(c.rows('SELECT * FROM rowan.verify_progress') == [], 'progress of nobody')
    seen = set()

    def see():
        if c.ready():
            c.receive()
            c.send('SELECT * FROM rowan.verify_database()')
        seen.update(other.rows('SELECT relation, pages_done <= pages, relations_done < relations, '
                               'relations FROM rowan.verify_progress'))
        return len(seen) > 2
    c.send('SELECT * FROM rowan.verify_database()')
    harness.wait_for(see, 'progress of verify_database', pause_s=0.001)
    c.receive()
    check(all(r[0][0] == 'm' and r[1:] == ('t', 't', '12') for r in seen), 'progress: %s' % seen)


def whole_database(server):
    """All there is, in one session or in parts; what is dropped meanwhile; how far it is."""
    server.sql('CREATE DATABASE many')
    server.create_extension('many')
    with server.connect('many') as c, server.connect('many') as other:
        for i in range(6):
            c.exec(MANY.format(i, AM, INDEX_AM))
        check(of_database(c) == [], 'a sound database')
        parts = [c.try_('SELECT * FROM rowan.verify_database(true, %d, 4)' % p).error
                 for p in range(6)]
        check([e and e.sqlstate for e in parts] == ['22023', None, None, None, None, '22023'],
              'parts')
        progress(c, other)
        dropped_meanwhile(c, other)
        paths = [server.path_of(name, 'many') for name in ('m2', 'm4_i')]
    server.stop()
    flip_in(paths)
    server.start()
    with server.connect('many') as c:
        rows = of_database(c)
        check(rows == [('m2', '2', 'error'), ('m2_i', None, 'error'), ('m4_i', '2', 'error')],
              'damages: %s' % rows)
        found_by = [r for p in '123' for r in of_database(c, 'true', p, '3')]
        check(sorted(found_by, key=str) == rows, 'parts: %s' % found_by)
        check(of_database(c, 'false') == [rows[0], rows[2]], 'without comparing')
    server.sql('DROP DATABASE many')


# ---- under load ----

SETUP = """
CREATE TABLE mixed (id int PRIMARY KEY, k int, n int, s text) USING {am};
CREATE INDEX mixed_k ON mixed USING {ix} (k, id);
CREATE INDEX mixed_s ON mixed USING {ix} (s);
CREATE TABLE hot (id int PRIMARY KEY, n int, s text) USING {am};
CREATE UNLOGGED TABLE unlogged (id int, k int, s text) USING {am};
CREATE INDEX unlogged_k ON unlogged USING {ix} (k);
CREATE TABLE on_heap (id int PRIMARY KEY, k int, s text) USING heap;
CREATE INDEX on_heap_k ON on_heap USING {ix} (k, s);
INSERT INTO mixed SELECT i, i, 0, md5(i::text) FROM generate_series(1, 6000 * {scale}) i;
INSERT INTO hot SELECT i, 0, 'x' FROM generate_series(1, 10) i;
INSERT INTO unlogged SELECT i, i, repeat('u', i % 90) FROM generate_series(1, 2000 * {scale}) i;
INSERT INTO on_heap SELECT i, i % 50, md5(i::text) FROM generate_series(1, 2000) i;
"""
VERIFIED = [('mixed',), ('mixed_k', 'true'), ('hot',), ('mixed_s', 'true'), ('unlogged',), ('unlogged_k', 'true'), ('on_heap_k', 'true')]
LOGGED = [v for v in VERIFIED if 'unlogged' not in v[0]]
RETRY = ('40001', '40P01', '55P03', '57014', '23505')


def one_change(rnd, scale):
    """Statements of one transaction."""
    def some(rnd, width, limit=9000):
        first = rnd.randrange(limit * scale)
        return 'BETWEEN %d AND %d' % (first, first + rnd.randrange(1, width))
    kind = rnd.randrange(16)
    if kind == 0:
        return ['DELETE FROM mixed WHERE id ' + some(rnd, 1500)]
    if kind in (1, 2):
        first = rnd.randrange(9000 * scale)
        return ["INSERT INTO mixed SELECT i, %d - i, 0, md5((i * 7)::text) FROM generate_series(%d, %d) i ON CONFLICT (id) DO %s"
                % (rnd.randrange(20000), first, first + rnd.randrange(1, 600), rnd.choice(['NOTHING', 'UPDATE SET n = mixed.n + 1']))]
    if kind == 3:
        return ['UPDATE mixed SET n = n + 1 WHERE id ' + some(rnd, 600)]
    if kind == 4:
        return ['UPDATE mixed SET k = k + %d WHERE id %s' % (rnd.randrange(-5000, 5000), some(rnd, 300))]
    if kind == 5:
        return ["UPDATE mixed SET s = repeat(md5((id + %d)::text), %d) WHERE id %s" % (rnd.randrange(99), rnd.choice([1, 2, 20]), some(rnd, 100))]
    if kind == 6:
        return ['UPDATE mixed SET n = n + 1 WHERE id ' + some(rnd, 400), 'SAVEPOINT a', 'UPDATE mixed SET n = n + 1, k = -k WHERE id ' + some(rnd, 400),
                'ROLLBACK TO a', 'DELETE FROM mixed WHERE id ' + some(rnd, 50), rnd.choice(['ROLLBACK', 'COMMIT'])]
    if kind == 7:
        return ["SET LOCAL lock_timeout = '300ms'", 'ALTER TABLE mixed ADD extra int DEFAULT 7', 'UPDATE mixed SET extra = 8 WHERE id ' + some(rnd, 200), 'ROLLBACK']
    if kind in (8, 9):
        return ['UPDATE hot SET n = n + 1 WHERE id = %d' % rnd.randrange(1, 11) for _ in range(5)] + [rnd.choice(['COMMIT', 'COMMIT', 'ROLLBACK'])]
    if kind == 10:
        return ["UPDATE hot SET s = repeat('y', %d) WHERE id = %d" % (rnd.randrange(1500), rnd.randrange(1, 11))]
    if kind == 11:
        return ['DELETE FROM unlogged WHERE k ' + some(rnd, 500, 3000), "INSERT INTO unlogged SELECT i, i, repeat('v', i %% 90) FROM generate_series(%d, %d) i"
                % (lambda a: (a, a + 300))(rnd.randrange(3000 * scale)), 'UPDATE unlogged SET k = k + 1 WHERE id ' + some(rnd, 300, 3000)]
    if kind == 12:
        return ['UPDATE on_heap SET k = k + 1 WHERE id ' + some(rnd, 200, 2500), 'DELETE FROM on_heap WHERE id ' + some(rnd, 100, 2500),
                'INSERT INTO on_heap SELECT i, i % 50, md5(i::text) FROM generate_series(1, 2500, 7) i ON CONFLICT DO NOTHING']
    if kind == 13:
        return ['SET TRANSACTION ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*), sum(n) FROM mixed', 'SELECT pg_sleep(%.2f)' % rnd.uniform(0, 0.5),
                'SELECT count(*), sum(n) FROM mixed', 'SELECT sum(n) FROM hot']
    if kind == 14:
        return ['DELETE FROM mixed WHERE id % 3 <> 0 AND id ' + some(rnd, 6000 * scale)]
    return ["SET LOCAL lock_timeout = '300ms'", 'CREATE INDEX extra ON mixed USING %s (n, k)' % INDEX_AM, rnd.choice(['COMMIT', 'ROLLBACK'])]


def alone(rnd):
    """A statement that is a transaction."""
    return rnd.choice(['VACUUM mixed', 'VACUUM mixed', 'VACUUM hot', 'VACUUM unlogged', 'VACUUM on_heap', 'VACUUM (FREEZE) mixed', 'CHECKPOINT', 'ANALYZE mixed',
                       "SET lock_timeout = '300ms'; DROP INDEX IF EXISTS extra; RESET lock_timeout",
                       'REINDEX INDEX CONCURRENTLY mixed_s', 'TRUNCATE on_heap'])


class Worker(threading.Thread):
    def __init__(self, run, body):
        super().__init__(daemon=True)
        self.owner, self.body, self.trouble = run, body, None

    def run(self):
        try:
            self.body()
        except Exception as e:
            self.trouble = e


class Load:
    """Writers, and sessions that verify, until told to stop."""

    def __init__(self, server, seed, scale):
        self.server, self.seed, self.scale, self.stopping = server, seed, scale, False
        self.threads, self.runs, self.cancelled, self.changes = [], {}, 0, 0

    def add(self, body):
        self.threads.append(Worker(self, body))
        self.threads[-1].start()

    def write(self, number):
        rnd = random.Random(self.seed * 100 + number)
        with self.server.connect() as c:
            while not self.stopping:
                if number == 0:
                    statements = [alone(rnd)]
                    time.sleep(rnd.uniform(0, 0.1))
                else:
                    statements = ['BEGIN'] + one_change(rnd, self.scale)
                for s in statements:
                    r = c.try_(s)
                    if r.error is not None and r.error.sqlstate not in RETRY + ('42P07', '42701'):
                        raise Failure('%s: %s' % (s, r.error))
                    if r.error is not None:
                        break
                if number > 0:
                    c.try_('COMMIT' if r.error is None and statements[-1] not in ('COMMIT', 'ROLLBACK') else 'ROLLBACK')
                self.changes += 1

    def verify(self, server, relations, number):
        """One session after the other: recovery ends one that is just between two commands."""
        rnd = random.Random(number)
        while not self.stopping:
            try:
                c = server.connect()
            except pq.Error as e:           # a session that begins reads catalogs, too
                if server is self.server or 'conflict with recovery' not in str(e):
                    raise
                self.cancelled += 1
                continue
            with c:
                self.verify_by(c, rnd, server, relations)

    def verify_by(self, c, rnd, server, relations):
        while not self.stopping:
            what = rnd.choice(relations)
            r = c.try_('SELECT * FROM rowan.verify(%s)' % ', '.join(["'%s'" % what[0]] + list(what[1:])))
            if r.error is not None and r.error.sqlstate is None and server is not self.server and server.postmaster.poll() is None:
                self.cancelled += 1
                return
            if r.error is not None:
                # a conflict with recovery; an index just being replaced
                if r.error.sqlstate not in ('40001', '40P01', '42704', '42P01', '55000'):
                    raise Failure('%s: verify of %s: %s' % (server.name, what[0], r.error))
                self.cancelled += 1
                continue
            check(not r.rows, '%s: verify of %s under load: %d problems: %s' % (server.name, what[0], len(r.rows), r.rows[:3]))
            key = (server.name, what[0])
            self.runs[key] = self.runs.get(key, 0) + 1

    def trouble(self):
        return next((t.trouble for t in self.threads if t.trouble is not None), None)

    def run_until(self, enough, limit_s):
        """Until enough() or somebody is in trouble; then stops all."""
        end = time.time() + limit_s
        while not enough() and self.trouble() is None and time.time() < end:
            time.sleep(0.1)
        self.stopping = True
        for t in self.threads:
            t.join(180)
        if self.trouble() is not None:
            raise Failure('seed %d: %s' % (self.seed, self.trouble()))


def under_load(options):
    scale = options.scale or (10 if options.long else 2)
    primary = cluster.make('primary', conf=CONF)
    with primary.connect() as c:
        c.exec(SETUP.format(am=AM, ix=INDEX_AM, scale=scale))
    standby = primary.backup_to('standby', conf={'rowan.buffers': '1MB'})
    standby.start()
    load = Load(primary, options.seed, scale)
    for n in range(5):
        load.add(lambda n=n: load.write(n))
    load.add(lambda: load.verify(primary, VERIFIED, 1))
    load.add(lambda: load.verify(primary, VERIFIED[:4], 2))
    load.add(lambda: load.verify(standby, LOGGED, 3))
    wanted = options.runs or (100 if options.long else 6)
    start = time.time()
    seconds = options.seconds or (60 if options.long else 8)

    def enough():
        return time.time() > start + seconds and \
            all(sum(n for (s, _), n in list(load.runs.items()) if s == server) >= wanted for server in ('primary', 'standby'))
    load.run_until(enough, 3600 if options.long else 60)
    runs = {s: sum(n for (x, _), n in load.runs.items() if x == s) for s in ('primary', 'standby')}
    say('%d changes; verify found nothing in %d runs on the primary and %d on the standby (%d were cancelled)'
        % (load.changes, runs['primary'], runs['standby'], load.cancelled))
    check(min(runs.values()) > 0, 'verify never ended')
    # and when it has become quiet, with the versions that are left
    standby.wait_replayed(primary)
    for server in (primary, standby):
        server.verify()
    primary.sql('VACUUM')
    primary.verify()
    # a standby that was a standby when the versions went
    primary.stop()
    standby.promote()
    standby.verify()
    standby.stop()
    for s in (primary, standby):
        s.check_log()


CASES = (old_horizon, beyond_the_end, aborted_shapes, own_temporary, nobody_waits, broken_chains, refusals, missing_version, damage_beside_writers,
         damaged_pages, whole_database)


def test(options):
    if not ENGINE:
        say('heap has no verify of ours')
        return
    modes = options.mode or ['cases', 'load']
    if 'cases' in modes:
        server = cluster.make('verify', conf={'deadlock_timeout': '200ms'})
        for case in CASES:
            if options.case and case.__name__ not in options.case:
                continue
            try:
                case(server)
            except (Failure, pq.Error) as e:
                raise Failure('%s: %s' % (case.__name__, e))
        server.verify()
        server.stop()
        server.check_log()
    if 'load' in modes:
        under_load(options)


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('mode', nargs='*', help='cases, load')
    parser.add_argument('--case', nargs='*', help='only these cases: ' + ' '.join(c.__name__ for c in CASES))
    parser.add_argument('--runs', type=int, help='verifications under load, on each server')
    parser.add_argument('--scale', type=int, help='of the tables')
    parser.add_argument('--seconds', type=int, help='of load, at least')
    harness.main(test, parser)
