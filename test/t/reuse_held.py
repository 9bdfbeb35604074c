#!/usr/bin/env python3
"""Row ids are handed out again while others still hold them: copied from an index, from where a row
was before it moved, in a list of entries that are still to be sorted in.

    reuse_held.py [gin|key_share|latest ...]
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


TESTS = {f.__name__: f for f in (gin, key_share, latest)}


def test(options):
    server = cluster.make('reuse-held', variant='faults')
    for function in ('arm(text, text, int) RETURNS void', 'hits(text) RETURNS bigint'):
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
