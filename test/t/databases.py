#!/usr/bin/env python3
"""Databases that are copied, moved and dropped, and come back under the same number: no page of one is ever taken for
another's, and nothing is lost."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, check, say

SUM = 'SELECT count(*), coalesce(sum(v), 0) FROM t'


def fill(server, db, first, last):
    server.sql('INSERT INTO t SELECT i, i FROM generate_series(%d, %d) i' % (first, last), db)


def move_while_connecting(server):
    """A session that connects as soon as the database has moved; with fault points the mover is slow to finish."""
    for n, target in enumerate(('there', 'pg_default', 'there')):
        before = server.sql(SUM, 'd')[0]
        mover = server.connect()
        if server.variant == 'faults':
            mover.exec("SET rowan.fault = 'pool_discard:sleep:1500'")
        done = []

        def move():
            done.append(mover.try_('ALTER DATABASE d SET TABLESPACE %s' % target).error)
        thread = threading.Thread(target=move)
        thread.start()
        time.sleep(0.2)
        added = 0
        while thread.is_alive():
            try:
                with server.connect('d') as c:
                    c.exec("INSERT INTO t VALUES (-1, 1)")
                    added += 1
            except pq.Error:
                pass
            time.sleep(0.02)
        thread.join()
        mover.close()
        check(done == [None] or done[0].sqlstate == '55006', 'the move failed: %s' % done)
        say('moved to %s, meanwhile %d insertions' % (target, added))
        expected = (str(int(before[0]) + added), str(int(before[1]) + added))
        check(server.sql(SUM, 'd')[0] == expected, 'after the move: %s, expected %s' % (server.sql(SUM, 'd'), expected))
        server.verify(db='d')


def test(options):
    server = cluster.make('databases', variant='faults' if harness.ENGINE else 'release')
    space = harness.new_dir('there')
    server.sql("CREATE TABLESPACE there LOCATION '%s'" % space)
    server.sql('CREATE DATABASE d OID = 77777')
    server.create_extension('d')
    server.sql('CREATE TABLE t (id int, v int) USING %s' % AM, 'd')
    fill(server, 'd', 1, 5000)
    move_while_connecting(server)
    fill(server, 'd', 5001, 6000)
    # copies, whatever strategy is asked for
    for n, strategy in enumerate(('', 'STRATEGY wal_log', 'STRATEGY file_copy')):
        server.sql('UPDATE t SET v = v + 1', 'd')
        server.sql('CREATE DATABASE c%d TEMPLATE d %s' % (n, strategy))
        check(server.sql(SUM, 'c%d' % n) == server.sql(SUM, 'd'), 'the copy differs')
        server.verify(db='c%d' % n)
    # gone, and back under the same number with other content
    server.sql('UPDATE t SET v = v + 1', 'd')
    server.sql('DROP DATABASE d')
    server.sql('CREATE DATABASE d TEMPLATE c0 OID = 77777')
    check(server.sql(SUM, 'd') == server.sql(SUM, 'c0'), 'the new database has pages of the old one')
    expected = server.sql(SUM, 'd')
    server.restart('immediate')
    for db in ('d', 'c0'):
        check(server.sql(SUM, db) == expected, 'after the crash')
        server.verify(db=db)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
