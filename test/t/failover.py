#!/usr/bin/env python3
"""Two servers with synchronous replication: one of them, or both, is killed under load, over and
over; a standby whose primary is gone is promoted, and the old primary joins it by pg_rewind while
the load goes on.  What was acknowledged is never lost, both have the same in the end, and verify
finds nothing on either.

    failover.py            2 cycles
    failover.py --long     50
"""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, Failure, check, say
from workload import Load, contents

CONF = {'rowan.buffers': '1MB', 'shared_buffers': '2MB', 'wal_keep_size': '2GB',
        'max_wal_size': '256MB', 'wal_retrieve_retry_interval': '100ms',
        'max_standby_streaming_delay': '1s', 'synchronous_standby_names': '*',
        'restart_after_crash': 'off'}
if AM == 'heap':
    CONF.pop('rowan.buffers')


class Pair:
    """Who is what."""

    def __init__(self, load, primary, standby, rnd):
        self.load, self.primary, self.standby, self.rnd = load, primary, standby, rnd

    def begin_load(self):
        self.load.server = self.primary
        self.load.start((0.05, 0.5))

    def kill_primary(self):
        """The standby is promoted; the load goes on there; the old primary joins."""
        old, new = self.primary, self.standby
        old.kill9()
        self.load.join()
        new.promote()
        self.load.verify(new, engine_verify=False)
        self.primary, self.standby = new, old
        new.sql('CHECKPOINT')           # the new timeline is in the control file then
        self.begin_load()               # its commits wait for a standby
        time.sleep(self.rnd.uniform(0, 0.3))
        self.join_again(old)

    def join_again(self, old):
        old.run_tool('pg_rewind', '-D', old.data, '--source-server', self.primary.conninfo())
        follow(old, self.primary)
        old.start()

    def kill_standby(self):
        self.standby.kill9()
        time.sleep(self.rnd.uniform(0, 0.5))
        self.standby.start()

    def kill_both(self):
        """The primary stays the primary."""
        victims = [self.primary, self.standby]
        self.rnd.shuffle(victims)
        for server in victims:
            server.kill9()
        self.load.join()
        self.rnd.shuffle(victims)
        for server in victims:
            server.start()
        self.load.verify(self.primary, engine_verify=False)
        self.begin_load()

    def settle(self):
        """Everybody has everything."""
        time.sleep(self.rnd.uniform(0.2, 0.8))
        self.load.stop()
        self.standby.wait_replayed(self.primary)
        a, b = contents(self.primary), contents(self.standby)
        check(a == b, 'contents differ:\n  %s\n  %s' % (a, b))
        self.load.verify(self.primary)
        self.load.verify(self.standby)


def follow(server, primary):
    server.write_conf(primary_conninfo='host=%s port=5432 user=postgres application_name=%s'
                      % (primary.dir, server.name))
    open(server.data + '/standby.signal', 'w').close()
    harness.own(server.data + '/standby.signal')


def make_pair(options, rnd):
    first = cluster.make('first', conf=dict(CONF, synchronous_standby_names=''))
    load = Load(first, sessions=3, accounts=2000, seed=options.seed)
    load.setup()
    second = first.backup_to('second')
    for server in (first, second):
        server.write_conf(synchronous_standby_names='*')
    follow(second, first)
    second.start()
    first.restart()
    harness.wait_for(lambda: first.one("SELECT count(*) FROM pg_stat_replication "
                                       "WHERE sync_state = 'sync'") == '1', 'a synchronous standby')
    return Pair(load, first, second, rnd)


def cycle(pair, n, rnd):
    kind = 'primary' if n < 2 else rnd.choice(('primary',) * 4 + ('standby', 'both'))
    pair.begin_load()
    time.sleep(rnd.uniform(0.3, 1.0))
    {'primary': pair.kill_primary, 'standby': pair.kill_standby, 'both': pair.kill_both}[kind]()
    pair.settle()
    return kind


def test(options):
    rnd = random.Random(options.seed)
    pair = make_pair(options, rnd)
    kinds = []
    for n in range(options.cycles or (50 if options.long else 2)):
        try:
            kinds.append(cycle(pair, n, rnd))
        except (Failure, pq.Error) as e:
            raise Failure('cycle %d after %s, seed %d: %s' % (n + 1, kinds, options.seed, e))
    timeline = pair.primary.one('SELECT timeline_id FROM pg_control_checkpoint()')
    for server in (pair.standby, pair.primary):
        server.stop()
        server.check_log()
    say('%d failovers, %d times the standby, %d times both; timeline %s; %d commits, none lost'
        % (*(kinds.count(k) for k in ('primary', 'standby', 'both')), timeline, pair.load.commits))


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--cycles', type=int)
    harness.main(test, parser)
