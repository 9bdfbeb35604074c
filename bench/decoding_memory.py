#!/usr/bin/env python3
"""Memory of a walsender that decodes one large transaction: heap beside the engine.

    decoding_memory.py --gb 1
"""
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'test', 'lib'))
import cluster
import harness
from harness import AM, say

CONF = {'wal_level': 'logical', 'max_wal_size': '2GB', 'logical_decoding_work_mem': '64MB',
        'wal_keep_size': '0'}
ROWS = 4000000                      # about 1 GB of changes as the reorder buffer counts them
CHANGES = (('insert', 'INSERT INTO %s SELECT i, i, repeat(md5(i::text), 4) '
            'FROM generate_series(1, %d) i'),
           ('update', "UPDATE %s SET v = v + 1 WHERE id <= %d"))


def memory(pid, what):
    """MB that the process has of its own."""
    try:
        with open('/proc/%s/smaps_rollup' % pid) as f:
            return max([int(line.split()[1]) // 1024 for line in f if line.startswith(what)] + [0])
    except OSError:
        return 0


class Watch(threading.Thread):
    """The most that walsenders had."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.done = server, threading.Event()
        self.pss = self.anonymous = 0
        self.start()

    def run(self):
        with self.server.connect() as c:
            while not self.done.wait(0.05):
                for pid, in c.rows('SELECT pid FROM pg_stat_replication'):
                    self.pss = max(self.pss, memory(pid, 'Pss:'))
                    self.anonymous = max(self.anonymous, memory(pid, 'Anonymous:'))

    def end(self):
        self.done.set()
        self.join()


def measure(server, am, sql, rows):
    """Peaks in MB, seconds."""
    db, slot = 'd_' + am, 's_' + am
    server.sql("SELECT pg_create_logical_replication_slot('%s', 'test_decoding')" % slot, db)
    server.sql(sql % ('t', rows), db)
    end = server.one("SELECT pg_current_wal_insert_lsn() FROM "
                     "pg_logical_emit_message(true, 'end', 'x')", db)
    watch, start = Watch(server), time.time()
    server.run_tool('pg_recvlogical', '-d', db, '-S', slot, '--start', '-f', '/dev/null', '-E', end,
                    '-o', 'skip-empty-xacts=1', '--no-loop', timeout=3600)
    watch.end()
    server.sql("SELECT pg_drop_replication_slot('%s')" % slot, db)
    return watch.pss, watch.anonymous, time.time() - start


def test(options):
    server = cluster.make('memory', conf=CONF)
    for am in ('heap', AM):
        server.sql('CREATE DATABASE d_' + am)
        server.create_extension('d_' + am)
        server.sql('CREATE TABLE t (id int PRIMARY KEY, v int, t text) USING ' + am, 'd_' + am)
    for name, sql in CHANGES:
        for am in ('heap', AM):
            rows = int(options.gb * ROWS)
            pss, anonymous, seconds = measure(server, am, sql, rows)
            say('%s of %d rows, %s: PSS %d MB, anonymous %d MB, %.0f s'
                % (name, rows, am, pss, anonymous, seconds))
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--gb', type=float, default=1)
    harness.main(test, parser)
