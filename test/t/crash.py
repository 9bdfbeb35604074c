#!/usr/bin/env python3
"""Crashes under load, and what must be there afterwards (lib/workload.py is the judge).

    crash.py kill         kill -9 of all processes
    crash.py powerloss    the same, and what no completed sync covers is undone or torn
    crash.py faults       a build with fault points: crash at each one, recover, crash in recovery, recover again
    crash.py errors       the same points raise errors: transactions fail, the server goes on
    crash.py control      the negative control: a build that leaves the pool out of checkpoints must be caught
    crash.py tears        the like for torn pages: a build that puts them together wrongly is caught
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
import powerloss
import pq
from harness import AM, ENGINE, Failure, check, say
from workload import GONE, Load

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
    load.verify_beside(seconds, rnd)        # from the second cycle on: what a crash has left
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
            # two of three tear pages, so that a short run has some, too
            mode = 'all' if n % 3 == 2 else 'mix'
            crash = lambda: server.power_loss(mode, rnd.random())
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
    check(how != 'powerloss' or total['undone'] > 0, 'power was lost, and no write with it')
    if how == 'powerloss' and ENGINE:
        healed = powerloss.healed_pages(server.log_text())
        say('powerloss: redo made %d torn pages whole' % healed)
        check(healed > 0, 'no page was torn')
        check(powerloss.DAMAGED not in server.log_text(), 'a torn page was not made whole')
    server.stop()
    server.check_log()
    server.destroy()


# What the loss of pages looks like: to the ledger, to readers and verify, to redo.
LOSS = re.compile(r'lost|too many|different|accounts: |churn: |tide: |ticks: |items of nobody|session \d+: transaction|has no row of session|touched \d+ rows|'
                  r'through an index|verify of |invalid page|beyond its end|does not fit the page|made a different page|missing pages|'
                  r'XX00[12]|its cell makes no sense|is missing|missing chunk|corrupt|not a file header|could not (read|open|access)|invalid primary checkpoint|valid checkpoint record')


def control(options, cycles):
    """Without the gate (heap: without fsync) power loss must be noticed, and as what it is, or the test proves
    nothing; with the gate the same must not be noticed."""
    for run in range(options.cycles or (5 if options.long else 1)):
        if run == 0:
            sound_power_losses(options, run)
        n, what = noticed_power_loss(options, run, cycles, {'rowan.checkpoint_gate': 'off'})
        say('control: without the gate noticed in cycle %d: %s' % (n, what[:150]))


# How the protection against torn pages is broken (src/pool/torn.h).
TORN_CONTROLS = ('not_healed', 'lsn_trusted', 'no_slots', 'bytes_left_out', 'sum_not_asked')


def tears(options, cycles):
    """Where the protection against torn pages is broken something is lost, and that is noticed."""
    for run in range(options.cycles or (3 if options.long else 1)):
        first = options.seed % len(TORN_CONTROLS)
        for n, broken in enumerate(TORN_CONTROLS if options.long else TORN_CONTROLS[first:first + 1]):
            conf = {'rowan.torn_control': broken}
            cycle, what = noticed_power_loss(options, run * 10 + n, cycles, conf, 'mix')
            say('tears: %s noticed in cycle %d: %s' % (broken, cycle, what[:150]))


def sound_power_losses(options, run):
    conf = {'rowan.checkpoint_gate': 'on'} if ENGINE else {}
    noticed = power_losses(options, run, 5, conf, 'all')
    check(noticed is None, 'control: with the gate something was noticed, too: %s' % (noticed,))


def noticed_power_loss(options, run, cycles, conf, mode='all'):
    noticed = power_losses(options, run, cycles, conf if ENGINE else {}, mode,
                           fsync=None if ENGINE else False)
    check(noticed is not None, 'control: %d power losses with %s, nothing noticed' % (cycles, conf))
    check(LOSS.search(noticed[1]), 'control: what was noticed is no loss of data: %s' % noticed[1])
    return noticed


def power_losses(options, run, cycles, conf, mode, fsync=None):
    """(cycle, what was noticed), or None"""
    load = new_load('control', options, conf=conf, shim=True, fsync=fsync,
                    variant='faults' if ENGINE else None)
    rnd = random.Random(options.seed * 100 + run)
    noticed = None
    for n in range(cycles):
        load.start((0.02, 0.2))
        time.sleep(rnd.uniform(0.5, 1.5))
        load.server.power_loss(mode, rnd.random())
        try:
            load.join()             # without the gate, readers may notice already what they have read again
            load.server.start()
            load.verify()
        except (Failure, pq.Error) as e:
            noticed = str(e).split('\n')[0]
            if 'does not start' in noticed:
                noticed = '; '.join(x for x in load.server.log_text().split('\n')[-12:] if 'PANIC' in x or 'FATAL' in x)
            break
    load.server.destroy()
    return None if noticed is None else (n + 1, noticed)


# ---- fault points ----

def fault_points():
    points = re.findall(r'^\tX\((\w+)\)', open(harness.TOP + '/src/base/fault.h').read(), re.M)
    check(len(points) > 40, 'no fault points')
    return points


def chosen_points(options):
    """All of them but those of archive recovery (t/replica); in the quick form every fourth."""
    points = [p for p in fault_points() if not p.startswith('standby_')]
    if options.points:
        unknown = [p for p in options.points if p not in points]
        check(not unknown, 'unknown fault points: %s' % unknown)
        return options.points
    return points if options.long else points[options.seed % 4::4]


def arm(server, point=None, action=None):
    server.write_conf(**{'rowan.fault': '%s:%s' % (point, action) if point else ''})
    if server.postmaster is not None:
        try:
            server.sql('SELECT pg_reload_conf()')
        except pq.Error as e:
            if e.sqlstate not in GONE:      # somebody was there already
                raise


def times_reached(server, point):
    return server.log_text().count('fault point "%s" reached' % point)


def wait_panic(server, seconds):
    """True if the server went down within so many seconds."""
    end = time.time() + seconds
    while time.time() < end:
        if server.postmaster.poll() is not None or server.state() == 'stopping':
            server.wait_ended(60)
            return True
        time.sleep(0.02)
    return False


def crash_at_work(load, point, rnd, seconds):
    """Panics at that point under load: at some later hit of it, or at the first one if there are few."""
    server = load.server
    before = times_reached(server, point)
    load.start((0.05, 0.3))
    time.sleep(0.2)
    if point == 'pool_shutdown':
        arm(server, point, 'panic:1')
        server.stop()
    else:
        hit = rnd.choice([1, 1, 3, 20])
        arm(server, point, 'panic:%d' % hit)
        if not wait_panic(server, seconds):
            arm(server, point, 'panic:1')
            if not wait_panic(server, 40):
                raise Failure('not reached in %d s' % (seconds + 40))
    load.join()
    check(times_reached(server, point) > before, 'the server crashed elsewhere')


def replay_crashes(server, point, action):
    """Starts with the point armed; True if it crashed there, else the server is killed again."""
    before = times_reached(server, point)
    arm(server, point, action)
    try:
        server.start()
    except Failure:
        check(times_reached(server, point) > before, 'recovery failed elsewhere than at %s' % point)
        return True
    server.kill9()
    return False


def crash_in_replay(load, point, rnd):
    """Load, a crash, and another one at that point in recovery."""
    server = load.server
    for _ in range(8):
        load.start(None)
        time.sleep(0.4)
        server.sql('CHECKPOINT')
        time.sleep(1.0)
        server.kill9()
        load.join()
        if replay_crashes(server, point, 'panic:1'):
            return
        arm(server)
        server.start()
        load.verify()
    raise Failure('not reached in 8 recoveries')


def double_replay(server, point, rnd):
    """Recovers to the last record, with all pages written; crashes before the checkpoint; recovers
    from the same start, over pages that are all newer, and crashes somewhere; then for good."""
    twice = replay_crashes(server, 'redo_flushed', 'panic:1')
    if twice:
        if 'redo' not in point:
            point = rnd.choice(['change_redo_between', 'row_insert_redo', 'row_replace_redo_between', 'redo_restartpoint'])
        replay_crashes(server, point, 'panic:%d' % rnd.choice([1, 10, 100]))
    arm(server)
    server.start()
    return twice


def crash_and_replay_twice(load, point, rnd):
    for _ in range(3):          # a crash right after a checkpoint leaves nothing to replay
        if 'redo' in point:
            crash_in_replay(load, point, rnd)
        else:
            crash_at_work(load, point, rnd, 3)
        twice = double_replay(load.server, point, rnd)
        load.verify()
        if twice:
            return
    raise Failure('no double replay in 3 rounds')


def faults(options):
    """Crashes at every fault point, each followed by a double replay."""
    rnd = random.Random(options.seed)
    load = new_load('faults', options, conf={'restart_after_crash': 'off', 'rowan.fault': ''}, variant='faults')
    server = load.server
    points = chosen_points(options)
    for n, point in enumerate(points):
        start = time.time()
        try:
            crash_and_replay_twice(load, point, rnd)
        except (Failure, pq.Error) as e:
            raise Failure('fault point %s (seed %d): %s' % (point, options.seed, e))
        if options.long:
            say('%2d of %d: %-28s %.1f s' % (n + 1, len(points), point, time.time() - start))
    say('faults: crashed at each of %d points, each replayed twice; %d commits' % (len(points), load.commits))
    server.stop()
    server.check_log('fault point', 'terminated by signal 6')
    server.destroy()


# Where an error cannot be raised: in critical sections, and after the commit record.
NO_ERRORS = ('change_published', 'change_after_log', 'index_insert_applied', 'row_insert_applied', 'row_replace_applied',
             'row_move_applied', 'version_append',
             'pool_truncate_logged', 'pool_truncate_discarded', 'pool_discard')


def errors(options):
    """The same points raise errors now and then: transactions fail, the server goes on, and nothing is half done."""
    rnd = random.Random(options.seed)
    load = new_load('errors', options, conf={'rowan.fault': ''}, variant='faults')
    server = load.server
    points = [p for p in chosen_points(options) if 'redo' not in p and p not in NO_ERRORS]
    for point in points:
        try:
            before = times_reached(server, point)
            arm(server, point, 'error:%d' % (1 if point == 'pool_shutdown' else rnd.choice([1, 2, 5])))
            load.start((0.05, 0.3))
            end = time.time() + 40
            if point == 'pool_shutdown':
                time.sleep(0.5)
                server.stop()
                load.join()
                arm(server)
                server.start()
            else:
                time.sleep(0.7)
                while times_reached(server, point) == before and time.time() < end:
                    arm(server, point, 'error:1')
                    time.sleep(0.5)
                arm(server)
                time.sleep(0.3)
                load.stop()
            check(times_reached(server, point) > before, 'not reached')
            load.verify()
        except (Failure, pq.Error) as e:
            raise Failure('errors at %s (seed %d): %s' % (point, options.seed, e))
    say('errors: at each of %d points, %d commits' % (len(points), load.commits))
    server.stop()
    server.check_log()
    server.destroy()


def test(options):
    modes = options.mode or ['kill', 'powerloss', 'faults', 'errors', 'control', 'tears']
    for mode in modes:
        start = time.time()
        if mode == 'kill' or mode == 'powerloss':
            crashes(options, mode, options.cycles or (100 if options.long else 4))
        elif mode == 'control':
            control(options, 20)
        elif mode == 'tears' and ENGINE:
            tears(options, 20)
        elif mode == 'faults' and ENGINE:
            faults(options)
        elif mode == 'errors' and ENGINE:
            errors(options)
        say('%s took %.0f s' % (mode, time.time() - start))


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('mode', nargs='*', help='kill, powerloss, faults, errors, control, tears')
    parser.add_argument('--cycles', type=int)
    parser.add_argument('--points', nargs='*', help='only these fault points')
    harness.main(test, parser)
