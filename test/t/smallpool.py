#!/usr/bin/env python3
"""A pool of 1 MB and a table of 200 MB: loaded, updated and scanned by four sessions at once."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check, say

SESSIONS = 4


def in_parallel(server, job):
    """job(connection, number) in each session; failures are the caller's."""
    wrong = []

    def body(n):
        try:
            with server.connect() as c:
                job(c, n)
        except Exception as e:
            wrong.append('session %d: %s' % (n, e))
    threads = [threading.Thread(target=body, args=(n,)) for n in range(SESSIONS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, '; '.join(wrong))


def test(options):
    rows = 1300000 if options.long else 120000          # less than 200 bytes each
    share = rows // SESSIONS
    server = cluster.make('smallpool', conf={'rowan.buffers': '1MB', 'shared_buffers': '8MB', 'max_wal_size': '1GB'})
    server.sql('CREATE TABLE t (id int PRIMARY KEY, v int, s text) USING %s; CREATE INDEX t_v ON t (v)' % AM)
    start = time.time()

    def load(c, n):
        for first in range(n * share, (n + 1) * share, 5000):
            c.exec("INSERT INTO t SELECT i, i %% 1000, repeat(md5(i::text), 5) FROM generate_series(%d, %d) i" % (first, first + 4999))
    assert share % 5000 == 0
    in_parallel(server, load)
    size = int(server.one("SELECT pg_relation_size('t')"))
    check(size > (200 << 20 if options.long else rows * 160), 'the table has only %d bytes' % size)
    say('loaded %d MB in %.0f s' % (size >> 20, time.time() - start))

    def update_and_scan(c, n):
        for i in range(4):
            if (i + n) % 2:
                # in place, spread over all pages
                r = c.exec("UPDATE t SET s = 'u' || substr(s, 2) WHERE id %% %d = %d" % (SESSIONS * 10, n * 10 + i))
                check(r.count == rows // (SESSIONS * 10), 'updated %d rows' % r.count)
            else:
                found = c.rows('SELECT count(*), sum(id::bigint), sum(length(s)) FROM t')
                check(found == [(str(rows), str(rows * (rows - 1) // 2), str(rows * 160))], 'a scan finds %s' % found)
        for i in range(200):
            ident = (i * 7919 + n * 104729) % rows
            check(c.rows('SELECT id, right(s, 31) = right(md5(id::text), 31) FROM t WHERE id = %d' % ident) == [(str(ident), 't')],
                  'row %d' % ident)
        r = c.exec('UPDATE t SET v = v + 1000 WHERE id BETWEEN %d AND %d' % (n * share, n * share + 2000))      # moving
        check(r.count == 2001, 'moved %d rows' % r.count)
    start = time.time()
    in_parallel(server, update_and_scan)
    say('updated and scanned by %d sessions in %.0f s' % (SESSIONS, time.time() - start))
    with server.connect() as c:
        found = c.rows("SELECT count(*), sum(id::bigint), count(*) FILTER (WHERE v >= 1000), "
                       "count(*) FILTER (WHERE right(s, 31) = right(md5(id::text), 31)) FROM t")
        check(found == [(str(rows), str(rows * (rows - 1) // 2), str(2001 * SESSIONS), str(rows))], 'at the end: %s' % found)
        c.exec('SET enable_seqscan = off')
        check(c.one('SELECT count(*) FROM t WHERE v >= 1000') == str(2001 * SESSIONS), 'the index finds another number')
    server.verify('t')
    server.kill9()
    server.start()
    check(server.one('SELECT count(*) FROM t') == str(rows), 'rows lost by kill -9')
    server.verify('t')
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
