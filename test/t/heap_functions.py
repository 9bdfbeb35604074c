#!/usr/bin/env python3
"""I1, against extensions that take a Rowan table for a heap: whatever function of core's for heaps, catalogs or buffers is called
on it (test/lib/heapcalls.c), in every state of its file, there is an error and nothing is lost."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

INSERTS = ['simple_heap_insert', 'heap_insert', 'heap_insert_skip_fsm', 'heap_multi_insert', 'CatalogTupleInsert']
SCANS = ['heap_getnext', 'heap_getnextslot']
BY_TID = ['simple_heap_update', 'simple_heap_delete', 'CatalogTupleUpdate', 'CatalogTupleDelete', 'heap_inplace_update', 'heap_lock_tuple',
          'heap_fetch', 'ReadBuffer', 'ReadBuffer and MarkBufferDirty']
# of rows that a scan finds
BY_SCAN = ['systable_getnext and CatalogTupleDelete', 'systable_getnext and CatalogTupleUpdate']

ROWS = "INSERT INTO {t} SELECT i, md5(i::text) FROM generate_series(1, {n}) i"
# what makes the state of a file; each statement a transaction
STATES = {
    'new': [],
    'truncated': [ROWS.format(t='{t}', n=3000), 'TRUNCATE {t}'],
    'truncated_at_once': ['DROP TABLE {t}', 'BEGIN; {create}; ' + ROWS.format(t='{t}', n=3000) + '; TRUNCATE {t}; COMMIT'],
    'cut': [ROWS.format(t='{t}', n=3000), 'DELETE FROM {t}', 'VACUUM {t}'],
    'written': [ROWS.format(t='{t}', n=3)],
    'grown': [ROWS.format(t='{t}', n=5000), 'UPDATE {t} SET s = s WHERE id % 3 = 0'],
    'flushed': [ROWS.format(t='{t}', n=5000), "SELECT rowan.flush('{t}')", 'CHECKPOINT'],
    'flushed_and_grown': [ROWS.format(t='{t}', n=1000), "SELECT rowan.flush('{t}')", ROWS.format(t='{t}', n=4000)],
    'high_ids': [ROWS.format(t='{t}', n=20000), 'DELETE FROM {t} WHERE id < 19900', 'VACUUM {t}'],
    'brin': ['CREATE INDEX ON {t} USING brin (id)', ROWS.format(t='{t}', n=3000)],
    'brin_new': ['CREATE INDEX ON {t} USING brin (id)'],
    'rolled_back': ['BEGIN; ' + ROWS.format(t='{t}', n=3000) + '; ROLLBACK'],
    'altered': [ROWS.format(t='{t}', n=100), 'ALTER TABLE {t} ALTER s TYPE varchar', 'ALTER TABLE {t} ALTER s TYPE text'],
    'moved': [ROWS.format(t='{t}', n=100), 'ALTER TABLE {t} SET TABLESPACE there'],
    'moved_new': ['ALTER TABLE {t} SET TABLESPACE there'],
}
KINDS = {'p': '', 'u': 'UNLOGGED', 't': 'TEMP'}
CREATE = 'CREATE {kind} TABLE {t} (id int, s text) USING {am}'


def make(c, kind, state):
    name = '%s_%s' % (kind, state)
    create = CREATE.format(kind=KINDS[kind], t=name, am=AM)
    c.exec(create)
    for statement in STATES[state]:
        c.exec(statement.replace('{t}', name).replace('{create}', create))
    return name


def contents(c, table):
    return c.rows('SELECT count(*), sum(id), min(s), max(s) FROM ' + table)


def tids(c, table):
    """Of rows, of all pages there may be, and beyond."""
    blocks = int(c.one("SELECT pg_relation_size('%s') / 8192" % table))
    rows = [x[0] for x in c.rows('(SELECT ctid FROM %s LIMIT 1) UNION (SELECT max(ctid) FROM %s HAVING count(*) > 0)' % (table, table))]
    return rows + ['(%d,1)' % b for b in sorted({0, 1, 2, blocks // 2, blocks - 2, blocks - 1, blocks, 100000}) if b >= 0]


def refused(c, call, table, tid='(0,1)'):
    r = c.try_("SELECT heap_call('%s', '%s', '%s')" % (call, table, tid))
    check(r.error is not None, '%s on %s at %s is not refused' % (call, table, tid))
    check(r.error.sqlstate in ('XX001', '0A000'), '%s on %s at %s: %s %s' % (call, table, tid, r.error.sqlstate, r.error))
    return r.error


def attack(c, table):
    before = contents(c, table)
    for call in INSERTS + SCANS:
        refused(c, call, table)
    for tid in tids(c, table):
        for call in BY_TID:
            refused(c, call, table, tid)
    # asserts that tuples come out of heap's slots, whatever the access method: only servers without assertions get further
    if c.one('SHOW debug_assertions') == 'off':
        n = c.one("SELECT heap_call('systable_getnext', '%s', '(0,1)')" % table)
        check(n == before[0][0], 'systable_getnext finds %s of %s rows' % (n, before[0][0]))
        if n != '0':
            for call in BY_SCAN:
                refused(c, call, table)
    check(contents(c, table) == before, '%s: %s, before it was %s' % (table, contents(c, table), before))
    return before


def attack_index(c, index):
    blocks = int(c.one("SELECT pg_relation_size('%s') / 8192" % index))
    check(blocks > 0, '%s has no page' % index)
    for block in {0, 1, blocks // 2, blocks - 1, blocks}:
        for call in ('ReadBuffer', 'ReadBuffer and MarkBufferDirty'):
            refused(c, call, index, '(%d,1)' % block)


def settings(c, table):
    """Those that make core read pages that it would refuse."""
    before = contents(c, table)
    c.exec('SET zero_damaged_pages = on')
    for call in INSERTS:
        r = c.try_("SELECT heap_call('%s', '%s', '(0,1)')" % (call, table))
        check(r.error is not None and 'zero_damaged_pages' in r.error.hint, '%s with zero_damaged_pages: %s' % (call, r.error))
    c.exec('RESET zero_damaged_pages; SET ignore_checksum_failure = on')
    for call in INSERTS:
        refused(c, call, table)
    for tid in tids(c, table):
        for call in BY_TID:
            refused(c, call, table, tid)
    c.exec('RESET ignore_checksum_failure')
    check(contents(c, table) == before, table + ' after settings')


def make_zeroed(c):
    """A file with pages extended in advance; how many are in use."""
    c.exec('CREATE TABLE p_zeroed (id int, s text) USING %s; %s' % (AM, ROWS.format(t='p_zeroed', n=20000)))
    c.exec("SELECT rowan.flush('p_zeroed')")
    return int(c.one("SELECT high_water FROM rowan.file_header('p_zeroed')"))


def zero_the_end(path, used):
    """As a crash of the machine may leave it: the file has its length, but its last pages were never written."""
    blocks = os.path.getsize(path) // 8192
    check(blocks > used, 'no page was extended in advance')
    with open(path, 'r+b') as f:
        f.seek(used * 8192)
        f.write(b'\0' * ((blocks - used) * 8192))


def check_no_zero_page(path):
    with open(path, 'rb') as f:
        data = f.read()
    zero = [b for b in range(len(data) // 8192) if data[b * 8192:(b + 1) * 8192] == b'\0' * 8192]
    check(not zero, 'zero pages: %s' % zero[:10])


def all_written_and_usable(server, c, tables):
    """Pages on disk are as PostgreSQL's tools want them, and all tables take rows."""
    for t in tables:
        n = int(contents(c, t)[0][0])
        c.exec("INSERT INTO %s SELECT i, 'new' FROM generate_series(1, 200) i" % t)
        check(int(contents(c, t)[0][0]) == n + 200, t + ' after an insertion')
    server.verify()


def test(options):
    if not ENGINE:
        return
    server = cluster.make('heap_functions', conf={'autovacuum': 'off', 'zero_damaged_pages': 'off'})
    there = harness.new_dir('there')
    server.sql("CREATE TABLESPACE there LOCATION '%s'" % there)
    server.sql("CREATE FUNCTION heap_call(text, regclass, tid) RETURNS int LANGUAGE c STRICT AS '%s'" % harness.server_module('heapcalls'))
    found, indexes = {}, []
    with server.connect() as c:
        for kind in KINDS:
            for state in STATES:
                name = make(c, kind, state)
                found[name] = attack(c, name)
        settings(c, 'p_flushed')
        for kind in 'pu':
            for state in ('new', 'grown', 'flushed'):
                indexes.append('%s_%s_ix' % (kind, state))
                c.exec('CREATE INDEX %s ON %s_%s USING rowan_btree (s)' % (indexes[-1], kind, state))
                attack_index(c, indexes[-1])
        used = make_zeroed(c)
        found['p_zeroed'] = attack(c, 'p_zeroed')
        zeroed = server.path_of('p_zeroed')
        server.verify()
    say('%d tables, %d indexes' % (len(found), len(indexes)))

    server.kill9()
    zero_the_end(zeroed, used)
    server.start()
    check_no_zero_page(zeroed)
    with server.connect() as c:
        for name, before in found.items():
            if name[0] == 'p':
                check(attack(c, name) == before, name + ' after a crash')
            elif name[0] == 'u':
                check(attack(c, name)[0][0] == '0', name + ' is not empty after a crash')
        for index in indexes:
            attack_index(c, index)
        server.verify()

    server.restart()
    with server.connect() as c:
        for name, before in found.items():
            if name[0] == 'p':
                check(attack(c, name) == before, name + ' after a restart')
        all_written_and_usable(server, c, [t for t in found if t[0] != 't'])
    server.stop()
    server.run_tool('pg_checksums', '--check', '-D', server.data)
    server.start()
    copy = harness.new_dir('backup')
    server.run_tool('pg_basebackup', '-D', copy, '-c', 'fast', '--no-sync', '--tablespace-mapping=%s=%s' % (there, harness.new_dir('there_copy')))
    server.run_tool('pg_verifybackup', copy)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
