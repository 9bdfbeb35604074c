#!/usr/bin/env python3
"""Recovery where core's rules leave us alone: pages that core extends without WAL (the visibility map) with full_page_writes = off, on
a standby that follows and on one that comes from an old backup, killed and started again; a killed postmaster."""
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check, say

CONF = {'rowan.buffers': '1MB', 'rowan.wal_check': 'on', 'shared_buffers': '2MB', 'wal_keep_size': '1GB', 'full_page_writes': 'off',
        'wal_retrieve_retry_interval': '100ms', 'max_standby_streaming_delay': '1s'}
if AM == 'heap':
    CONF = {k: v for k, v in CONF.items() if not k.startswith('rowan.')}

# Each leaves a visibility map that the next one extends, cuts or begins anew.
STEPS = ('INSERT INTO r SELECT i, i FROM generate_series(1, 3000) i; VACUUM r',
         'DELETE FROM r WHERE id % 3 = 0; VACUUM r', 'UPDATE r SET n = n + 1 WHERE id % 500 = 1',
         'VACUUM (FREEZE) r', 'DELETE FROM r WHERE id > 100; VACUUM r', 'DELETE FROM r; VACUUM r',
         'INSERT INTO r SELECT i, i FROM generate_series(1, 60000) i; VACUUM r', 'TRUNCATE r',
         'BEGIN; TRUNCATE r; INSERT INTO r SELECT i, i FROM generate_series(1, 500) i; COMMIT; VACUUM r',
         'INSERT INTO r SELECT i, i FROM generate_series(1001, 9000) i; VACUUM r', 'VACUUM FULL r; VACUUM r',
         'CREATE TABLE IF NOT EXISTS other (id int PRIMARY KEY); INSERT INTO other SELECT count(*) FROM other; VACUUM other')


def contents(server):
    """By sequential and by index-only scan."""
    with server.connect() as c:
        c.exec('SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off')
        out = [c.rows('SELECT count(*), sum(id), sum(n) FROM r')]
        c.exec('RESET ALL; SET enable_seqscan = off; SET enable_bitmapscan = off')
        return out + [c.rows('SELECT count(*), sum(id) FROM r WHERE id > 0')]


def map_without_wal(options):
    rnd = random.Random(options.seed)
    primary = cluster.make('primary', conf=CONF)
    standby = primary.backup_to('standby')
    old = primary.backup_to('old')
    standby.start()
    primary.sql('CREATE TABLE r (id int PRIMARY KEY, n int) USING ' + AM)
    for n in range(options.steps or (200 if options.long else 24)):
        with primary.connect() as c:
            for sql in STEPS[n if n < len(STEPS) else rnd.randrange(len(STEPS))].split('; '):
                c.try_(sql)             # keys that are there already
        if n % 3 == 2:
            setting = rnd.choice(('on', 'off'))
            primary.sql('ALTER SYSTEM SET full_page_writes = %s' % setting)
            primary.sql('SELECT pg_reload_conf()')
        if n % 5 == 4:
            primary.sql('CHECKPOINT')
            standby.sql('CHECKPOINT')
        if n % 6 == 5:
            standby.kill9()
            standby.start()
        if n % 8 == 7:
            primary.kill9()
            primary.start()
        if n % 4 == 3:
            standby.wait_replayed(primary)
            check(contents(standby) == contents(primary), 'step %d: %s, %s' % (n, contents(standby), contents(primary)))
    standby.wait_replayed(primary)
    old.start(wait=False)
    time.sleep(0.3)
    old.kill9()
    old.start()
    old.wait_replayed(primary)
    for server in (standby, old):
        check(contents(server) == contents(primary), 'at the end: %s, %s' % (contents(server), contents(primary)))
        server.verify()
        server.promote()
        server.verify()
        server.stop()
        server.check_log()
    primary.verify()
    primary.stop()
    primary.check_log()
    say('the visibility map followed, whatever full_page_writes was')


def postmaster_killed():
    """All others leave by themselves.  That is no failure of theirs."""
    server = cluster.make('orphans')
    server.sql('CREATE TABLE r (id int) USING %s; INSERT INTO r VALUES (1)' % AM)
    pids = server.processes()
    os.kill(server.postmaster.pid, signal.SIGKILL)
    server.postmaster.wait()
    server.postmaster = None
    end = time.time() + 60
    while any(cluster.running(p) for p in pids):
        check(time.time() < end, 'processes that live on without a postmaster')
        time.sleep(0.05)
    server.check_log()
    server.start()
    check(server.one('SELECT id FROM r') == '1', 'a row after the death of the postmaster')
    server.verify()
    say('a killed postmaster leaves no PANIC')


def test(options):
    postmaster_killed()
    map_without_wal(options)


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--steps', type=int)
    harness.main(test, parser)
