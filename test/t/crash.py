#!/usr/bin/env python3
"""Crashes under load, and what must be there afterwards (lib/workload.py is the judge).

    crash.py kill         kill -9 of all processes
    crash.py powerloss    the same, and what no completed sync covers is undone or torn
    crash.py faults       a build with fault points: arm each to panic, crash, recover
    crash.py control      the negative control: a build that leaves the pool out of checkpoints must be caught
    crash.py              a little of each

Every restart is interrupted by another crash at random now and then: replay of a replay.
"""
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, ENGINE, Failure, check, say
from workload import Load

# a pool much smaller than the data
CONF = {'rowan.buffers': '1MB', 'rowan.wal_check': 'on', 'shared_buffers': '2MB', 'max_wal_size': '64MB', 'deadlock_timeout': '200ms'}


def new_load(name, options, conf=None, **kw):
    server = cluster.make(name, conf=dict(CONF, **(conf or {})), **kw)
    load = Load(server, sessions=4, accounts=20000, seed=options.seed)
    load.setup()
    server.sql('CHECKPOINT')
    return load


def crash_in_recovery(server, rnd, again):
    """Starts and kills while it replays, up to `again` times, then starts for good."""
    killed = 0
    for _ in range(again):
        server.start(wait=False)
        time.sleep(rnd.uniform(0.01, 0.5))
        crash_again(server)
        killed += 1
    server.start()
    return killed


def crash_again(server):
    if server.shim and random.random() < 0.5:
        server.power_loss('mix', random.random())
    else:
        server.kill9()


def cycle(load, rnd, crash, seconds):
    server = load.server
    load.start((0.02, rnd.choice([0.1, 0.6, 3.0])))
    time.sleep(seconds)
    check(server.postmaster.poll() is None, 'the server ended by itself')
    undone = crash()
    load.join()
    replays = crash_in_recovery(server, rnd, rnd.choice([0, 0, 0, 1, 2]))
    load.verify()
    return undone, replays


def crashes(options, how, cycles):
    rnd = random.Random(options.seed)
    load = new_load(how, options, shim=how == 'powerloss')
    server, total, replays = load.server, {}, 0
    for n in range(cycles):
        if how == 'powerloss':
            crash = lambda: server.power_loss(rnd.choice(['mix', 'mix', 'all']), rnd.random())
        else:
            crash = lambda: server.kill9()
        try:
            undone, again = cycle(load, rnd, crash, rnd.uniform(0.3, 2.0))
        except (Failure, pq.Error) as e:
            raise Failure('%s cycle %d of %d (seed %d): %s' % (how, n + 1, cycles, options.seed, e))
        replays += again
        for k, v in (undone or {}).items():
            total[k] = total.get(k, 0) + v
        if options.long and n % 10 == 9:
            say('%s: %d cycles, %d commits, %d crashes in recovery %s' % (how, n + 1, load.commits, replays, total or ''))
    say('%s: %d cycles, %d commits, %d crashes in recovery, rows of the ledger %d %s' % (
        how, cycles, load.commits, replays, sum(len(s.model) for s in load.sessions), total or ''))
    check(load.commits > cycles, 'hardly a transaction was committed')
    server.stop()
    server.check_log()
    server.destroy()


def control(options, cycles):
    """Without the gate (heap: without fsync) power loss must be noticed, or the test proves nothing."""
    if ENGINE:
        load = new_load('control', options, conf={'rowan.checkpoint_gate': 'off'}, shim=True, variant='faults')
    else:
        load = new_load('control', options, shim=True, fsync=False)
    rnd = random.Random(options.seed)
    for n in range(cycles):
        load.start((0.02, 0.2))
        time.sleep(rnd.uniform(0.5, 1.5))
        load.server.power_loss('all', rnd.random())
        load.join()                     # trouble before the crash is not what is looked for
        try:
            load.server.start()
            load.verify()
        except (Failure, pq.Error) as e:
            say('control: noticed in cycle %d: %s' % (n + 1, str(e).split('\n')[0][:150]))
            load.server.destroy()
            return
    raise Failure('control: %d power losses without the gate, and nothing was noticed' % cycles)


# ---- fault points ----

def fault_points(server):
    with server.connect() as c:
        r = c.try_('SELECT p.name FROM rowan.fault_points() p')
        if not r.error:
            return [x[0] for x in r.rows]
    return re.findall(r'^\tX\((\w+)\)', open(harness.TOP + '/src/base/fault.h').read(), re.M)



def arm(server, point, action):
    server.write_conf(**{'rowan.fault': '%s:%s' % (point, action) if point else ''})
    if server.postmaster is not None:
        server.sql('SELECT pg_reload_conf()')


def fault_in_work(load, point, rnd, seconds):
    """Panics at that point under load; True if it was reached."""
    server = load.server
    load.start((0.05, 0.3))
    time.sleep(0.2)
    arm(server, point, 'panic:%d' % rnd.choice([1, 1, 3, 20]))
    end = time.time() + seconds
    while time.time() < end and server.postmaster.poll() is None:
        time.sleep(0.02)
        if server.state() == 'stopping':
            break
    reached = server.postmaster.poll() is not None or server.state() == 'stopping'
    if reached:
        server.wait_ended(60)
    elif point == 'pool_shutdown':
        os.kill(server.postmaster.pid, 2)
        server.wait_ended(60)
        reached = 'fault point "%s" reached' % point in server.log_text()
    else:
        server.kill9()
    load.join()
    return reached


def fault_in_recovery(load, point, rnd):
    """Panics at that point while it replays; True if it was reached."""
    server = load.server
    load.start((0.2, 0.5))
    time.sleep(0.7)
    server.kill9()
    load.join()
    arm(server, point, 'panic:%d' % rnd.choice([1, 1, 2, 10]))
    reached = False
    try:
        server.start()
        server.kill9()
    except Failure:
        reached = True
    return reached


def faults(options, seconds, only=None):
    rnd = random.Random(options.seed)
    load = new_load('faults', options, conf={'restart_after_crash': 'off', 'rowan.fault': ''}, variant='faults')
    server, missed = load.server, []
    points = fault_points(server)
    check(len(points) > 10, 'no fault points')
    for point in points if only is None else [p for p in points if p in only]:
        reached = False
        try:
            if 'redo' in point or 'cleanup' in point and not point.startswith('vacuum'):
                reached = fault_in_recovery(load, point, rnd)
            else:
                reached = fault_in_work(load, point, rnd, seconds)
            arm(server, None, None)
            crash_in_recovery(server, rnd, rnd.choice([0, 0, 1]))
            load.verify()
        except (Failure, pq.Error) as e:
            raise Failure('fault point %s (seed %d): %s' % (point, options.seed, e))
        if not reached:
            missed.append(point)
    say('faults: %d points, reached %d, not reached: %s; %d commits' % (
        len(points), len(points) - len(missed), ' '.join(missed) or 'none', load.commits))
    server.stop()
    server.check_log('fault point', 'terminated by signal 6')
    server.destroy()


def test(options):
    modes = options.mode or (['kill', 'powerloss', 'faults', 'control'])
    for mode in modes:
        start = time.time()
        if mode == 'kill' or mode == 'powerloss':
            crashes(options, mode, options.cycles or (100 if options.long else 4))
        elif mode == 'control':
            control(options, 20)
        elif mode == 'faults' and ENGINE:
            faults(options, 10 if options.long else 2, options.points)
        say('%s took %.0f s' % (mode, time.time() - start))


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('mode', nargs='*', help='kill, powerloss, faults, control')
    parser.add_argument('--cycles', type=int)
    parser.add_argument('--points', nargs='*', help='only these fault points')
    harness.main(test, parser)
