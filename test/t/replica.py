#!/usr/bin/env python3
"""Recovery where core's rules leave us alone: pages that core extends without WAL (the visibility map) with full_page_writes = off, on
a standby that follows and on one that comes from an old backup, killed and started again; checkpoint records that redo does not
wait for, and the recovery writer that writes what they need; a killed postmaster."""
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
    for n in range(options.steps or (200 if options.long else 16)):
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


def map_cut():
    """Redo that begins again meets records of a map that has been cut to nothing meanwhile."""
    primary = cluster.make('cutting', conf=CONF)
    standby = primary.backup_to('cut')
    standby.start()
    primary.sql('CREATE TABLE r (id int PRIMARY KEY, n int) USING %s; INSERT INTO r SELECT i, i FROM generate_series(1, 3000) i' % AM)
    primary.sql('VACUUM r')
    primary.sql('CHECKPOINT')
    standby.wait_replayed(primary)
    standby.sql('CHECKPOINT')
    primary.sql('DELETE FROM r')
    primary.sql('VACUUM r')
    check(primary.one("SELECT pg_relation_size('r', 'vm')") == '0', 'the map is not cut')
    standby.wait_replayed(primary)
    standby.kill9()
    standby.start()
    primary.sql('INSERT INTO r SELECT i, i FROM generate_series(1, 10) i')
    primary.kill9()
    primary.start()
    standby.wait_replayed(primary)
    check(contents(standby) == contents(primary), 'contents %s, %s' % (contents(standby), contents(primary)))
    for server in (standby, primary):
        server.verify()
        server.stop()
        server.check_log()
    say('records of a map that is cut later do no harm')


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


# ---- checkpoint records in recovery ----

SLOW = 'pool_flush_each:sleep:10'       # each page of a flush takes 10 ms
PAGES = 400


def writers(server):
    """The recovery writer's processes."""
    found = []
    for pid in server.processes():
        try:
            with open('/proc/%d/cmdline' % pid) as f:
                if 'rowan recovery writer' in f.read():
                    found.append(pid)
        except OSError:
            pass
    return found


def dirty(server):
    return int(server.one('SELECT dirty FROM rowan.pool_stat'))


def redo_point(server):
    return server.one('SELECT redo_lsn FROM pg_control_checkpoint()')


def is_older(server, a, b):
    return server.one("SELECT '%s'::pg_lsn < '%s'::pg_lsn" % (a, b)) == 't'


def sums(server):
    return server.sql('SELECT count(*), sum(hashtextextended(t::text, 0)) FROM t')


def checkpoint_replayed(primary, standby):
    """Many dirty pages on the standby, a checkpoint of the primary, and the standby replays its record; its redo point, and
    how many pages are dirty then."""
    primary.sql('UPDATE t SET n = n + 1')
    standby.wait_replayed(primary)
    check(dirty(standby) > PAGES // 2, 'only %d dirty pages on the standby' % dirty(standby))
    primary.sql('CHECKPOINT')
    record = primary.one('SELECT checkpoint_lsn FROM pg_control_checkpoint()')
    with standby.connect() as c:
        end = time.time() + 60
        while True:
            replayed, left = c.rows("SELECT pg_last_wal_replay_lsn() > '%s', dirty FROM rowan.pool_stat" % record)[0]
            if replayed == 't':
                return redo_point(primary), int(left)
            check(time.time() < end, 'the checkpoint is not replayed')


def restart(standby, **conf):
    if standby.postmaster is not None:
        standby.stop()
    standby.write_conf(**conf)
    standby.start()


def restartpoints(options):
    """Redo does not wait for pages to be written, the restartpoint does."""
    primary = cluster.make('ahead', variant='faults', conf={
        'rowan.buffers': '16MB', 'rowan.clean_interval': '0', 'rowan.wal_check': 'on', 'wal_keep_size': '1GB', 'max_wal_size': '2GB',
        'checkpoint_timeout': '1h', 'wal_retrieve_retry_interval': '100ms', 'restart_after_crash': 'off'})
    primary.sql('CREATE TABLE t (id int, n int, s text) USING rowan WITH (fillfactor = 60); ALTER TABLE t ALTER s SET STORAGE PLAIN; '
                "INSERT INTO t SELECT i, 0, repeat('s', 3000) FROM generate_series(1, %d) i" % PAGES)
    standby = primary.backup_to('behind', conf={'rowan.fault': SLOW})
    standby.start()
    primary.sql('UPDATE t SET n = n + 1')
    harness.wait_for(lambda: len(writers(standby)) == 1, 'a recovery writer')

    redo, left = checkpoint_replayed(primary, standby)
    check(left > PAGES // 10, 'redo of the checkpoint waited for the pages: %d are left' % left)
    standby.sql('CHECKPOINT')
    made = redo_point(standby)
    check(dirty(standby) == 0 or is_older(standby, made, redo), 'a restartpoint before all pages were written')
    for _ in range(300):                # the next record makes it known that they are
        primary.sql('INSERT INTO t VALUES (0)')
        standby.wait_replayed(primary)
        standby.sql('CHECKPOINT')
        if redo_point(standby) == redo:
            break
        time.sleep(0.1)
    check(redo_point(standby) == redo, 'restartpoint %s, not %s' % (redo_point(standby), redo))
    standby.kill9()
    restart(standby)
    standby.wait_replayed(primary)
    check(sums(standby) == sums(primary), 'contents after a restartpoint and a crash')

    # killed, and stopped, while the writer is at work
    for stop in ('kill', 'fast', 'immediate', 'writer') if options.long else ('kill', 'writer', 'fast'):
        checkpoint_replayed(primary, standby)
        if stop == 'kill':
            standby.kill9()
        elif stop == 'writer':
            os.kill(writers(standby)[0], signal.SIGTERM)
            harness.wait_for(lambda: not writers(standby), 'the recovery writer leaves when told to')
            primary.sql('CHECKPOINT')
            standby.wait_replayed(primary)
            standby.kill9()
        else:
            standby.stop(stop)
        restart(standby)
        standby.wait_replayed(primary)
        check(sums(standby) == sums(primary), 'contents after: ' + stop)
        standby.verify()

    # it crashes on its way
    for point in ('standby_flush', 'standby_restartpoint'):
        standby.stop()
        standby.write_conf(**{'rowan.fault': point + ':panic:1'})
        standby.start(wait=False)
        for _ in range(100):
            if standby.postmaster.poll() is not None:
                break
            primary.sql('UPDATE t SET n = n + 1; CHECKPOINT; UPDATE t SET n = n + 1')
            time.sleep(0.2)
        check(standby.postmaster.poll() is not None, 'not reached: ' + point)
        standby.postmaster = None
        check('fault point "%s" reached' % point in standby.log_text(), 'not by the fault point: ' + point)
        restart(standby, **{'rowan.fault': ''})
        standby.wait_replayed(primary)
        check(sums(standby) == sums(primary), 'contents after a crash at ' + point)

    # promoted while it is at work; without hot_standby it is there as well
    restart(standby, **{'rowan.fault': SLOW})
    checkpoint_replayed(primary, standby)
    want = sums(primary)
    primary.kill9()
    standby.promote()
    check(sums(standby) == want, 'contents after a promotion')
    harness.wait_for(lambda: not writers(standby), 'the recovery writer has left')
    standby.sql('UPDATE t SET n = n + 1; CHECKPOINT; UPDATE t SET n = n - 1')
    standby.kill9()
    restart(standby, **{'rowan.fault': ''})
    check(sums(standby) == want, 'contents after a promotion and a crash')
    standby.verify()
    third = standby.backup_to('third', conf={'hot_standby': 'off'})
    third.start(wait=False)
    harness.wait_for(lambda: standby.one('SELECT count(*) FROM pg_stat_replication') == '1', 'a standby of the promoted one')
    standby.sql('UPDATE t SET n = n + 1')
    harness.wait_for(lambda: len(writers(third)) == 1, 'a recovery writer without hot_standby')
    standby.sql('CHECKPOINT')
    lsn = standby.one('SELECT pg_current_wal_lsn()')
    harness.wait_for(lambda: standby.one("SELECT replay_lsn >= '%s' FROM pg_stat_replication" % lsn) == 't', 'replay without hot_standby')
    third.run_tool('pg_ctl', 'promote', '-D', third.data)
    third.wait_ready()
    check(sums(third) == sums(standby), 'contents without hot_standby')
    third.verify()
    for server in (standby, third):
        server.stop()
        server.check_log('fault point', 'terminated by signal 6')
    say('redo does not wait for checkpoints, restartpoints do')


def test(options):
    postmaster_killed()
    map_cut()
    map_without_wal(options)
    if harness.ENGINE:
        restartpoints(options)


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--steps', type=int)
    harness.main(test, parser)
