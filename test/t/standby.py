#!/usr/bin/env python3
"""A streaming standby made by pg_basebackup under load: follows, answers the same, survives
kill -9 of itself and of the primary, keeps restartpoints, is promoted with everything there."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, Failure, check, say
from workload import Load, ask_twice

CONF = {'rowan.buffers': '1MB', 'rowan.wal_check': 'on', 'shared_buffers': '2MB', 'max_wal_size': '128MB', 'wal_keep_size': '1GB',
        'max_standby_streaming_delay': '5s', 'deadlock_timeout': '200ms', 'wal_retrieve_retry_interval': '100ms'}


def checksum(server):
    """Of everything, by sequential scan and by index."""
    out = []
    with server.connect() as c:
        for setting in ('SET enable_indexscan = off; SET enable_bitmapscan = off', 'RESET ALL; SET enable_seqscan = off'):
            c.exec(setting)
            for t, condition in (('items', 'k >= 0'), ('accounts', 'id >= 0'), ('progress', 's >= 0'),
                                 ('progress_heap', 's >= 0'), ('churn', 'true')):
                out.append((t, c.rows('SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM %s t WHERE %s'
                                      % (t, condition))[0]))
    return out


def watch(standby, seconds):
    """Queries while it replays: the sum of the accounts is zero in every snapshot."""
    end, asked, cancelled = time.time() + seconds, 0, 0
    with standby.connect() as c:
        while time.time() < end:
            try:
                c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
                ask_twice(c, 'standby')
                c.exec('COMMIT')
                asked += 1
            except pq.Error as e:
                if e.sqlstate not in ('40001', '40P01'):        # cancelled by a conflict with recovery
                    raise
                cancelled += 1
                c.try_('ROLLBACK')
    return asked, cancelled


def crash_one(server, rnd):
    if server.shim:
        server.power_loss('mix', rnd.random())
    else:
        server.kill9()


def round_(primary, standby, load, rnd, victim):
    """Load, a crash of one or both, catching up; then both hold the same."""
    load.start((0.05, 0.5))
    asked, cancelled = watch(standby, rnd.uniform(0.3, 1.2))
    if rnd.random() < 0.5:
        standby.sql('CHECKPOINT')       # a restartpoint if there is one to make
    if victim == 'standby':
        crash_one(standby, rnd)
        time.sleep(rnd.uniform(0, 0.5))
        standby.start()
        watch(standby, 0.3)
        load.stop()
    elif victim == 'primary':
        crash_one(primary, rnd)
        load.join()
        primary.start()
    elif victim == 'both':
        crash_one(primary, rnd)
        crash_one(standby, rnd)
        load.join()
        standby.start()
        primary.start()
    else:
        load.stop()
    load.verify()
    standby.wait_replayed(primary)
    a, b = checksum(primary), checksum(standby)
    check(a == b, 'contents differ:\n  primary %s\n  standby %s' % (a, b))
    load.verify(standby)
    return asked, cancelled


def test(options):
    rnd = random.Random(options.seed)
    cycles = options.cycles or (20 if options.long else 4)
    # with logical parts in records, or without
    conf = dict(CONF, wal_level='replica' if options.seed % 2 else 'logical')
    primary = cluster.make('primary', conf=conf)
    load = Load(primary, sessions=3, accounts=8000, seed=options.seed)
    load.setup()
    load.start((0.05, 0.5))
    time.sleep(0.5)
    standby = primary.backup_to('standby')
    load.stop()
    standby.start()
    total = [0, 0]
    for n in range(cycles):
        victim = ['none', 'standby', 'primary', 'both'][n % 4] if n < 4 else rnd.choice(['standby', 'primary', 'both'])
        try:
            counts = round_(primary, standby, load, rnd, victim)
        except (Failure, pq.Error) as e:
            raise Failure('cycle %d (%s crashed, seed %d): %s' % (n + 1, victim, options.seed, e))
        total = [x + y for x, y in zip(total, counts)]
    say('standby: %d cycles, %d commits, %d snapshots asked on the standby, %d cancelled' % (cycles, load.commits, *total))
    # promotion under load: the primary dies, what it had streamed is there and consistent
    load.start((0.1, 0.5))
    time.sleep(0.7)
    primary_lsn = primary.one('SELECT pg_current_wal_lsn()')
    load.stop()
    standby.wait_replayed(primary)
    primary.kill9()
    standby.promote()
    load.verify(standby)
    load.server = standby
    load.start((0.05, 0.3))             # it is a primary now
    time.sleep(1)
    standby.kill9()
    load.join()
    standby.start()
    load.verify()
    standby.stop()
    for s in (primary, standby):
        s.check_log()
    say('promoted after %s; crashed and recovered as a primary; %d commits' % (primary_lsn, load.commits))


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--cycles', type=int)
    harness.main(test, parser)
