#!/usr/bin/env python3
"""Row ids are handed out again while others still hold them: copied from an index, from where a row
was before it moved, in a list of entries that are still to be sorted in.

    reuse_held.py [NAME ...]
"""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

IX = 'rowan_btree' if ENGINE else 'btree'
ROWS = 20000
CLEAN = 'VACUUM (INDEX_CLEANUP on, TRUNCATE off) t'


def place(ctid):
    """A ctid without the version's tag: the row's id."""
    block, offset = ctid.strip('()').split(',')
    return int(block), int(offset) & 0x1FF


def refill(c, first, n, columns='i, i', table='t'):
    c.exec('INSERT INTO %s SELECT %s FROM generate_series(%d, %d) i' %
           (table, columns, first, first + n - 1))


def places(c, where='true'):
    return {place(r[0]) for r in c.rows('SELECT ctid FROM t WHERE ' + where)}


class Held:
    """A statement of a session that waits at a fault point."""
    def __init__(self, server, point, c, sql):
        self.server, self.point, self.c = server, point, c
        hits = int(server.one("SELECT fault_hits('%s')" % point))
        server.sql("SELECT fault_arm('%s', 'wait', %d)" % (point, c.pid))
        c.send(sql)
        harness.wait_for(lambda: int(server.one("SELECT fault_hits('%s')" % point)) > hits,
                         'nobody comes to ' + point)

    def go_on(self):
        self.server.sql("SELECT fault_arm('%s', 'none', 0)" % self.point)
        return self.c.receive()


# ---- GIN's pending list ----

def gin(server):
    """Rows die between two passes over the indexes, their entries being in GIN's pending list."""
    with server.connect() as v, server.connect() as c:
        c.exec('CREATE TABLE t (id int, a int[]) USING %s;'
               "INSERT INTO t SELECT i, '{1}' FROM generate_series(1, 250000) i;"
               "CREATE INDEX t_a ON t USING gin (a) WITH (gin_pending_list_limit = 100000);"
               'DELETE FROM t WHERE id < 200000' % AM)
        v.exec("SET maintenance_work_mem = '1MB'")
        vacuum = Held(server, 'vacuum_stubs_removed', v, CLEAN)
        c.exec('BEGIN')
        refill(c, 300000, 1000, "i, '{7}'")
        died = places(c, 'id >= 300000')
        c.exec('ROLLBACK')
        refill(c, 400000, 1000, "i, '{1}'")
        r = vacuum.go_on()
        check(not r.error, str(r.error))
        c.exec('SET enable_seqscan = off')
        for n in range(20):
            refill(c, 500000 + 20000 * n, 20000, "i, '{8}'")
            if places(c, 'id >= 500000') & died:
                break
        check(places(c, 'id >= 500000') & died, 'no id was handed out again')
        check('Bitmap' in c.rows("EXPLAIN SELECT FROM t WHERE a @> '{7}'")[0][0] +
              c.rows("EXPLAIN SELECT count(*) FROM t WHERE a @> '{7}'")[1][0], 'GIN is not used')
        n = c.one("SELECT count(*) FROM t WHERE a @> '{7}'")
        check(n == '0', '%s rows by GIN that were never there' % n)
        c.exec('DROP TABLE t')
    say("entries in GIN's pending list are cleaned in each pass")


# ---- where rows have moved ----

def roomy_table(c):
    """One leaf, not the last, that has room: the ids of its rows."""
    c.exec('DROP TABLE IF EXISTS t;'
           'CREATE TABLE t (id int, k int) USING %s WITH (autovacuum_enabled = off);'
           'CREATE UNIQUE INDEX t_id ON t USING %s (id); CREATE INDEX t_k ON t USING %s (k)' %
           (AM, IX, IX))
    refill(c, 1, ROWS)
    c.exec('DELETE FROM t WHERE id BETWEEN 5 AND 150')
    c.exec(CLEAN)


def hand_out(c, at):
    """New rows, one of them with that id: its number."""
    refill(c, 100001, 1000)
    for number, ctid in c.rows('SELECT id, ctid FROM t WHERE id > 100000'):
        if place(ctid) == at:
            return number
    raise harness.Failure('the id was not handed out again')


def key_share(server):
    """FOR KEY SHARE follows a row to where it moved; that is undone, and the id another row's."""
    with server.connect() as x, server.connect() as k, server.connect() as c:
        roomy_table(c)
        x.exec('BEGIN; UPDATE t SET k = -1 WHERE id = 1')
        at = place(x.one('SELECT ctid FROM t WHERE id = 1'))
        lock = Held(server, 'row_lock_follow', k, 'SELECT id, k FROM t WHERE id = 1 FOR KEY SHARE')
        x.exec('ROLLBACK')
        c.exec(CLEAN)
        c.exec('UPDATE t SET id = -1 WHERE id = %s' % hand_out(c, at))
        r = lock.go_on()
        check(not r.error and r.rows == [('1', '1')],
              'FOR KEY SHARE found %s %s' % (r.rows, r.error))
        server.verify('t')
    say('FOR KEY SHARE notices that a row has not moved after all')


def latest(server):
    """The latest version of a row that has moved, when another row is where it was."""
    with server.connect() as d, server.connect() as w, server.connect() as c:
        roomy_table(c)
        old = c.one('SELECT ctid FROM t WHERE id = 1')
        d.exec('BEGIN; SELECT txid_current()')
        w.exec('BEGIN; SELECT txid_current()')
        c.exec('UPDATE t SET k = -1 WHERE id = 1')
        new = c.one('SELECT ctid FROM t WHERE id = 1')
        check(c.one("SELECT currtid2('t', '%s')" % old) == new, 'a row that has moved is not found')
        d.exec('DELETE FROM t WHERE id = 1; COMMIT')
        c.exec(CLEAN)
        hand_out(c, place(new))
        said = c.one("SELECT currtid2('t', '%s')" % old)
        check(said == old, '%s, which moved to %s and was deleted, is at %s' % (old, new, said))
        w.exec('COMMIT')
    say('a row that was deleted is not taken for another one')


# ---- ids that scans have copied ----

# a leaf's last rows, and some of the next one's first: new rows go behind those that stay
FIRST_DEAD, LAST_DEAD = 160, 330
DEAD = 'id BETWEEN %d AND %d' % (FIRST_DEAD, LAST_DEAD)


class Vacuum(threading.Thread):
    """VACUUM of t, in a session of its own; then new rows, one of which has that id."""
    def __init__(self, server, at):
        super().__init__(daemon=True)
        self.server, self.at, self.problem = server, at, None
        self.start()

    def run(self):
        try:
            with self.server.connect() as c:
                c.exec(CLEAN)
                hand_out(c, self.at)
        except Exception as e:
            self.problem = str(e)

    def finish(self):
        self.join(120)
        check(not self.is_alive() and self.problem is None, 'VACUUM: %s' % self.problem)


# how a scan without an MVCC snapshot looks for a row's like
CHECKS = {
    'btree': ('CREATE UNIQUE INDEX ON t (id)', ' ON CONFLICT DO NOTHING'),
    'btree, excluding': ('ALTER TABLE t ADD EXCLUDE USING btree (id WITH =)', ''),
    IX: ('ALTER TABLE t ADD EXCLUDE USING %s (id WITH =)' % IX, ''),
    'hash': ('ALTER TABLE t ADD EXCLUDE USING hash (id WITH =)', ''),
}


def dirty(server, checks=CHECKS):
    """Between an entry and its row, in a check for conflicts, VACUUM does not free the
    id: the row that got it would be a conflict."""
    for name, (index, on_conflict) in checks.items():
        with server.connect() as h, server.connect() as c:
            c.exec('DROP TABLE IF EXISTS t;'
                   'CREATE TABLE t (id int, k int) USING %s WITH (autovacuum_enabled = off)' % AM)
            refill(c, 1, ROWS)
            c.exec(index)
            at = place(c.one('SELECT ctid FROM t WHERE id = %d' % FIRST_DEAD))
            c.exec('DELETE FROM t WHERE ' + DEAD)
            held = Held(server, 'index_fetch', h,
                        'INSERT INTO t VALUES (%d)%s' % (FIRST_DEAD, on_conflict))
            vacuum = Vacuum(server, at)
            vacuum.join(1.5)
            waits = vacuum.is_alive()
            r = held.go_on()
            check(not r.error and r.count == 1, '%s: %s rows, %s' % (name, r.count, r.error))
            vacuum.finish()
            check(c.one('SELECT count(*) FROM t WHERE id = %d' % FIRST_DEAD) == '1',
                  name + ': the row is not there')
            check(waits, name + ': VACUUM did not wait')
            server.verify('t')
    say('VACUUM waits for checks that hold ids')


# a column for each kind of index, and what is looked for in it
SCANS = {
    'btree': ('b', 'b = 1'),
    IX: ('x', 'x = 1'),
    'hash': ('h', 'h = 1'),
    'brin': ('m', 'm = 1'),
    'gin': ('a', "a @> '{1}'"),
    'gist': ('r', "r && '[1,1]'"),
    'spgist': ('s', "s && '[1,1]'"),
}


def many_kinds(c):
    """A table whose odd rows have 1 in each column."""
    c.exec('DROP TABLE IF EXISTS t;'
           'CREATE TABLE t (id int, b int, x int, h int, m int, a int[], r int4range, s int4range)'
           ' USING %s WITH (autovacuum_enabled = off)' % AM)
    for method, (column, _) in SCANS.items():
        c.exec('CREATE INDEX ON t USING %s (%s)' % (method, column))
    refill_kinds(c, 1)
    c.exec('VACUUM ANALYZE t')
    c.exec('DELETE FROM t WHERE id %% 5 = 0 OR %s' % DEAD)


def refill_kinds(c, first, n=ROWS):
    refill(c, first, n, "i, i % 2, i % 2, i % 2, i % 2, ARRAY[i % 2],"
                        "int4range(i % 2, i % 2, '[]'), int4range(i % 2, i % 2, '[]')")


def ask_by(c, how):
    """how: seq, bitmap or index."""
    for kind in ('seq', 'bitmap', 'index'):
        c.exec('SET enable_%sscan = %s' % (kind, 'on' if kind == how else 'off'))
    c.exec('SET enable_indexonlyscan = off')


def begin_scans(server):
    """Cursors that stand in a scan of each index; but hash keeps a pin, and has VACUUM wait."""
    cursors = []
    for method, (_, where) in SCANS.items():
        for how in ('bitmap', 'index'):
            if how == 'index' and method in ('hash', 'brin', 'gin'):
                continue
            c = server.connect()
            ask_by(c, how)
            c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ;'
                   'DECLARE c CURSOR FOR SELECT id FROM t WHERE ' + where)
            got = [int(r[0]) for r in c.rows('FETCH 10 FROM c')]
            cursors.append((method + ' by ' + how, c, got))
    return cursors


def end_scans(cursors):
    expected = [i for i in range(1, ROWS, 2) if i % 5 != 0 and not FIRST_DEAD <= i <= LAST_DEAD]
    for name, c, got in cursors:
        got += [int(r[0]) for r in c.rows('FETCH ALL FROM c')]
        check(sorted(got) == expected, '%s: rows that should not be there, or are missing: %s' %
              (name, sorted(set(got) ^ set(expected))[:10]))
        c.exec('COMMIT')
        c.close()


def clean_and_refill(c):
    """How many new rows got ids below the highest there was."""
    last = max(places(c))
    c.exec(CLEAN)
    refill_kinds(c, 100001, ROWS // 2)
    n = sum(p < last for p in places(c, 'id > 100000'))
    check(n > ROWS // 20, 'only %d ids were handed out again' % n)
    return n


def by_table_and_index(server, c):
    server.verify('t')
    for method, (_, where) in SCANS.items():
        sums = []
        for how in ('seq', 'bitmap'):
            ask_by(c, how)
            sums.append(c.rows('SELECT count(*), sum(id::bigint) FROM t WHERE ' + where))
        check(sums[0] == sums[1], '%s: %s by table, %s by index' % (method, sums[0], sums[1]))
    c.exec('RESET ALL')


def snapshots(server):
    """Scans with MVCC snapshots do not see the rows that got ids which they had copied."""
    with server.connect() as c:
        many_kinds(c)
        cursors = begin_scans(server)
        n = clean_and_refill(c)
        c.exec('VACUUM t')
        end_scans(cursors)
        by_table_and_index(server, c)
    say('scans with snapshots do not see the %d rows at ids that they had copied' % n)


def standby(server):
    """The same on a standby, which is promoted then: it has no map of free space."""
    with server.connect() as c:
        many_kinds(c)
        copy = server.backup_to('held-standby').start()
        copy.wait_replayed(server)
        cursors = begin_scans(copy)
        clean_and_refill(c)
        copy.wait_replayed(server)
        end_scans(cursors)
    copy.promote()
    with copy.connect() as c:
        c.exec('DELETE FROM t WHERE id % 3 = 0')
        refill_kinds(c, 200001)
        by_table_and_index(copy, c)
        c.exec(CLEAN)
        refill_kinds(c, 300001)
        by_table_and_index(copy, c)
    copy.stop()
    copy.check_log()
    say('nor do scans on a standby; and it is well after its promotion')


def lies(server):
    """The map of free space is a larger table's, that has room; and there are stubs, whose entries
    the indexes still have."""
    with server.connect() as c:
        many_kinds(c)
        c.exec('CREATE TABLE u (id int, s text) USING %s;'
               'INSERT INTO u SELECT i, md5(i::text) FROM generate_series(1, %d) i;'
               'DELETE FROM u WHERE id %% 2 = 0' % (AM, 8 * ROWS))
        c.exec('VACUUM (TRUNCATE off) u')
        c.exec('VACUUM (TRUNCATE off) t')
        c.exec('DELETE FROM t WHERE id % 7 = 0')
        c.exec('VACUUM (INDEX_CLEANUP off, TRUNCATE off) t')
        maps = [server.path_of(t) + '_fsm' for t in ('u', 't')]
    server.stop()
    with open(maps[0], 'rb') as good, open(maps[1], 'r+b') as bad:
        bad.write(good.read())
    server.start()
    with server.connect() as c, server.connect() as d:
        for n in range(6):
            refill_kinds(d if n % 2 else c, 100001 * (n + 1), ROWS // 2)
        by_table_and_index(server, c)
        c.exec(CLEAN)
        refill_kinds(c, 1000001)
        by_table_and_index(server, c)
        c.exec('DROP TABLE u')
    say('a map of free space that lies does no harm')


HELD = (gin, key_share, latest, dirty) if ENGINE else ()
TESTS = {f.__name__: f for f in HELD + (snapshots, standby, lies)}


def test(options):
    server = cluster.make('reuse-held', variant='faults' if ENGINE else None)
    for function in ('arm(text, text, int) RETURNS void', 'hits(text) RETURNS bigint') * ENGINE:
        server.sql("CREATE FUNCTION fault_%s LANGUAGE c AS '$libdir/rowan', 'rowan_fault_%s'" %
                   (function, function.split('(')[0]))
    for name in options.names or TESTS:
        TESTS[name](server)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('names', nargs='*', choices=[[]] + list(TESTS), help='only these')
    harness.main(test, parser)
