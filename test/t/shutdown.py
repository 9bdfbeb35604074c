#!/usr/bin/env python3
"""Ways to stop: fast, immediate, the pool worker killed, a backend killed, a full disk, single-user mode.
Nothing that was acknowledged is lost."""
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, ENGINE, Failure, as_user, check, say
from workload import Load

CONF = {'rowan.buffers': '1MB', 'shared_buffers': '2MB', 'max_wal_size': '64MB', 'deadlock_timeout': '200ms'}


def control_state(server):
    for line in server.run_tool('pg_controldata', server.data).split('\n'):
        if 'cluster state' in line:
            return line.split(':')[1].strip()


def recoveries(server):
    return server.log_text().count('automatic recovery in progress')


def stops(server, load, rnd, cycles):
    for n in range(cycles):
        mode = 'immediate' if n % 3 == 2 else 'fast'
        load.start((0.05, 0.5))
        time.sleep(rnd.uniform(0.3, 1.2))
        start = time.time()
        server.stop(mode)
        took = time.time() - start
        load.join()
        if mode == 'fast':
            check(control_state(server) == 'shut down', 'after a fast shutdown: %s' % control_state(server))
            server.run_tool('pg_checksums', '--check', '-D', server.data)
            check(took < 30, 'a fast shutdown took %.0f s' % took)
        before = recoveries(server)
        server.start()
        check(mode == 'immediate' or recoveries(server) == before, 'recovery after a fast shutdown')
        load.verify()
    say('%d stops, fast and immediate: %d commits' % (cycles, load.commits))


def backend_killed(server, load, who):
    """kill -9 of one process: the server restarts itself, and nothing is lost."""
    load.start((0.05, 0.5))
    time.sleep(0.5)
    with server.connect() as c:
        pid = c.one("SELECT pid FROM pg_stat_activity WHERE %s LIMIT 1" % who)
    check(pid is not None, 'no process with ' + who)
    started = server.log_text().count('all server processes terminated; reinitializing')
    os.kill(int(pid), 9)
    end = time.time() + 30
    while server.log_text().count('all server processes terminated; reinitializing') == started:
        check(time.time() < end, 'the server has not restarted after the death of: ' + who)
        time.sleep(0.05)
    load.join()
    server.connect_patiently().close()
    load.verify()
    say('killed: %s; restarted by itself' % who)


def worker_terminated(server, load):
    """SIGTERM to the worker alone: it must not leave the server without a gate."""
    load.start((0.05, 0.5))
    time.sleep(0.5)
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'rowan pool worker'")
    time.sleep(1.5)
    for t in load.sessions + load.helpers:
        t.stopping = True
    load.join()
    with server.connect_patiently() as c:
        c.exec('CHECKPOINT')
        for _ in range(100):    # it leaves when the last writer has, and comes back
            workers = c.one("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'rowan pool worker'")
            if workers == '1':
                break
            time.sleep(0.1)
        check(workers == '1', 'no pool worker after pg_terminate_backend')
    load.verify()
    say('the worker was terminated by SQL')


def disk_full(server, load):
    """Relation files cannot grow for a while: errors, nothing else."""
    flag = server.dir + '/full'
    server.stop()
    server.extra_env = {'LD_PRELOAD': harness.shim(), 'ROWAN_SHIM_FULL': flag}
    server.start()
    with server.connect() as c:
        c.exec('CREATE TABLE filling (id serial PRIMARY KEY, t text) USING ' + AM)
        c.exec("INSERT INTO filling (t) SELECT repeat('x', 500) FROM generate_series(1, 1000)")
        open(flag, 'w').close()
        refused = 0
        for _ in range(30):
            r = c.try_("INSERT INTO filling (t) SELECT repeat('y', 500) FROM generate_series(1, 5000)")
            refused += r.error is not None
            check(r.error is None or r.error.sqlstate == '53100', 'disk full: %s' % r.error)
        check(refused > 20, 'the disk was not full')
        check(c.one("SELECT count(*) FROM filling WHERE t LIKE 'x%'") == '1000', 'rows lost on a full disk')
        check(int(c.one("SELECT count(*) FROM filling WHERE t LIKE 'y%'")) % 5000 == 0, 'half a statement survived')
        r = c.try_('UPDATE filling SET id = id WHERE id = 1')
        check(r.error is None or r.error.sqlstate == '53100', 'UPDATE on a full disk: %s' % r.error)
        server.verify('filling')
    # crash while full, recover while full: whatever was extended before is there
    server.kill9()
    os.unlink(flag)
    server.start()
    with server.connect() as c:
        check(c.one("SELECT count(*) FROM filling WHERE t LIKE 'x%'") == '1000', 'rows lost after a full disk and a crash')
        c.exec("INSERT INTO filling (t) SELECT repeat('z', 500) FROM generate_series(1, 5000)")
        check(c.one("SELECT count(*) FROM filling WHERE t LIKE 'z%'") == '5000', 'no space although there is')
        c.exec('DROP TABLE filling')
    load.verify()
    server.stop()
    server.extra_env = {}
    server.start()
    say('a full disk: %d statements refused with 53100, nothing lost' % refused)


def single(server, sql):
    return subprocess.run([server.bindir + '/postgres', '--single', '-D', server.data, '-j', 'postgres'], input=sql + '\n\n',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace', timeout=120,
                          cwd=server.dir, env=server.environment(), **as_user()).stdout


def single_user(server, load):
    """Reads answer; writes either are refused with an error, or hold."""
    with server.connect() as c:
        c.exec('DROP TABLE IF EXISTS lonely; CREATE TABLE lonely (id int PRIMARY KEY, t text) USING %s; '
               "INSERT INTO lonely SELECT i, 'row' FROM generate_series(1, 1000) i" % AM)
    for crash in (False, True):
        with server.connect() as c:
            c.exec("UPDATE lonely SET t = 'row' WHERE id % 10 = 0")
        server.kill9() if crash else server.stop()
        out = single(server, 'SELECT count(*) AS answer FROM lonely;')
        check('answer = "1000"' in out, 'single-user mode%s reads: %s' % (' after a crash' * crash, out[-800:]))
        out = single(server, "UPDATE lonely SET t = 'single' WHERE id <= 10;")
        refused = 'ERROR:' in out
        check(refused or not ENGINE or 'PANIC' not in out, 'single-user mode writes: %s' % out[-800:])
        check(not refused or ENGINE, 'heap cannot write in single-user mode: %s' % out[-800:])
        server.start()
        found = server.one("SELECT count(*) FROM lonely WHERE t = 'single'")
        check(found == ('0' if refused else '10'), 'after single-user mode: %s rows changed, refused: %s' % (found, refused))
        check(server.one('SELECT count(*) FROM lonely') == '1000', 'rows lost in single-user mode')
        load.verify()
    say('single-user mode: reads, writes %s' % ('are refused: ' + [x for x in out.split('\n') if 'ERROR:' in x][0][-100:] if refused else 'hold'))


def test(options):
    rnd = random.Random(options.seed)
    server = cluster.make('shutdown', conf=CONF)
    load = Load(server, sessions=3, accounts=8000, seed=options.seed)
    load.setup()
    stops(server, load, rnd, 12 if options.long else 3)
    for _ in range(3 if options.long else 1):
        backend_killed(server, load, "backend_type = 'client backend' AND pid <> pg_backend_pid()")
        backend_killed(server, load, "backend_type = 'checkpointer'")
        if ENGINE:
            backend_killed(server, load, "backend_type = 'rowan pool worker'")
            worker_terminated(server, load)
    disk_full(server, load)
    single_user(server, load)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
