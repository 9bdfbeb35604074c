#!/usr/bin/env python3
"""A table of more than 1 GB, whose file has segments: written, crashed, read back, cut by VACUUM across the segment's
boundary, crashed again, grown again; also on a standby.  Only with --long: it writes some 4 GB."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

ROWS = 150000                   # one row a page: 131,072 pages are a segment
KEPT = 1000
ANSWER = 'SELECT count(*), sum(id), sum(hashtext(s)::bigint) FROM t'


def fill(c, first, last):
    c.exec("INSERT INTO t SELECT i, repeat(md5(i::text), 230) FROM generate_series(%d, %d) i" % (first, last))


def segments(server):
    path = server.path_of('t')
    return [os.path.getsize(p) for p in (path, path + '.1') if os.path.exists(p)]


def test(options):
    if not options.long:
        say('nothing to do without --long')
        return
    conf = {'max_wal_size': '1GB', 'wal_keep_size': '8GB'}
    if ENGINE:
        conf['rowan.buffers'] = '64MB'
    server = cluster.make('segments', conf=conf)
    standby = server.backup_to('segments_standby')
    standby.start(wait=False)
    c = server.connect()
    c.exec('CREATE TABLE t (id int PRIMARY KEY, s text) USING %s; ALTER TABLE t ALTER s SET STORAGE plain' % AM)
    fill(c, 1, ROWS)
    expected = c.rows(ANSWER)
    server.kill9()
    server.start()
    check(len(segments(server)) == 2, 'one segment: %s' % segments(server))
    with server.connect() as c:
        check(c.rows(ANSWER) == expected, 'rows are missing after the crash')
        check(c.rows('SELECT count(*) FROM t WHERE id % 1000 = 1 AND s = repeat(md5(id::text), 230)') == [(str(ROWS // 1000),)],
              'rows are damaged')
        server.verify('t')
        c.exec('DELETE FROM t WHERE id > %d' % KEPT)
        c.exec('CHECKPOINT')
        c.exec('VACUUM t')
        kept = c.rows(ANSWER)
        check(kept[0][0] == str(KEPT), 'rows kept: %s' % kept)
        sizes = segments(server)
        say('after VACUUM the segments have %s bytes' % sizes)
        check(sum(sizes) < 64 << 20, 'the file was not cut: %s' % sizes)
    server.kill9()
    server.start()
    with server.connect() as c:
        check(c.rows(ANSWER) == kept, 'after the cut and a crash there are other rows')
        server.verify('t')
        fill(c, ROWS + 1, 2 * ROWS)
        now = c.rows(ANSWER)
        server.verify('t')
    server.restart()
    check(server.sql(ANSWER) == now, 'rows are missing after a restart')
    standby.wait_replayed(server, 300)
    check(standby.sql(ANSWER) == now, 'the standby differs')
    standby.verify('t')
    server.stop()
    standby.stop()
    server.check_log()
    standby.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
