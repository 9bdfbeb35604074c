#!/usr/bin/env python3
"""Ways to stop: fast, immediate, the pool worker killed (also in a checkpoint), a backend killed, disks full for
relation files and for WAL, single-user mode.  Nothing that was acknowledged is lost."""
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, ENGINE, Failure, as_user, check, say
from workload import Load

CONF = {'rowan.buffers': '1MB', 'shared_buffers': '2MB', 'max_wal_size': '64MB', 'deadlock_timeout': '200ms'}


def control_data(server, what):
    for line in server.run_tool('pg_controldata', server.data).split('\n'):
        if what in line:
            return line.split(':')[1].strip()


def control_state(server):
    return control_data(server, 'cluster state')


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


def worker_terminated(server, load, times):
    """SIGTERM to the worker alone: it must not leave the server without a gate.  It leaves with the last writer,
    and comes back, also if the postmaster sleeps over its death."""
    server.stop()
    server.extra_env = {'LD_PRELOAD': harness.shim(), 'ROWAN_SHIM_SLEEPY': '1'}
    server.start()
    load.start((0.05, 0.5))
    time.sleep(0.5)
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'rowan pool worker'")
    time.sleep(1.5)
    for t in load.sessions + load.helpers:
        t.stopping = True
    load.join()
    worker = "FROM pg_stat_activity WHERE backend_type = 'rowan pool worker'"
    idle = [server.connect() for _ in range(times)]     # a new connection would wake the postmaster
    for c in idle:
        writers = [server.connect() for _ in range(6)]
        for w in writers:
            w.exec('UPDATE progress SET txn = txn')
        pid = c.one('SELECT pid ' + worker)
        c.exec('SELECT pg_terminate_backend(%s)' % pid)
        for w in writers:
            w.close()
        start = time.time()
        while c.one('SELECT count(*) %s AND pid = %s' % (worker, pid)) == '1':
            check(time.time() < start + 10, 'the worker does not leave')
            time.sleep(0.01)
        start = time.time()
        r = c.try_('UPDATE progress SET txn = txn')
        took = time.time() - start
        check(r.error is None and took < 10, 'a writer waited %.0f s for a new worker: %s' % (took, r.error))
        c.exec('CHECKPOINT')
        c.close()
    load.verify()
    server.stop()
    server.extra_env = {}
    server.start()
    say('the worker was terminated by SQL')


# ---- full disks ----

class FullDisk:
    """The server runs with a disk that can be full: for growing files, for any write to them, for WAL."""

    def __init__(self, server):
        self.server, self.path = server, server.dir + '/full'
        server.stop()
        server.extra_env = {'LD_PRELOAD': harness.shim(), 'ROWAN_SHIM_FULL': self.path}
        server.start()

    def full(self, what):
        open('%s.%s' % (self.path, what), 'w').close()

    def free(self, what):
        os.unlink('%s.%s' % (self.path, what))

    def end(self):
        self.server.stop()
        self.server.extra_env = {}
        self.server.start()


def no_space(result, what):
    """True if the statement was refused for lack of space; any other error is a failure."""
    check(result.error is None or result.error.sqlstate == '53100', '%s on a full disk: %s' % (what, result.error))
    return result.error is not None


GROWING = [         # each in need of new pages by another way
    ("INSERT INTO filling (t) SELECT repeat('y', 500) FROM generate_series(1, 5000)", 'new leaves'),
    ("UPDATE filling SET t = 'u' || substr(t, 2)", 'version pages'),
    ("UPDATE filling SET t = t || repeat('w', 700)", 'split leaves'),
    ('UPDATE filling SET id = id + 100000', 'moved rows'),
    ('CREATE TABLE filling_2 USING {am} AS SELECT * FROM filling', 'a new table'),
    ('CREATE TABLE filling_3 (i int) USING {am}; INSERT INTO filling_3 VALUES (1)', 'a new file'),
    ('VACUUM FULL filling', 'a rewritten table'),
    ('CREATE INDEX ON filling (t)', 'a new index'),
]


def filling_is(c, rows, when):
    found = c.rows("SELECT count(*), count(*) FILTER (WHERE t ~ '^x+$' AND length(t) = 500), min(id), max(id) FROM filling")
    check(found == [(str(rows), str(rows), '1', str(rows))], '%s: %s' % (when, found))


def cannot_grow(server, load):
    """Relation files cannot grow for a while: errors, nothing else."""
    disk, refused = FullDisk(server), 0
    with server.connect() as c:
        c.exec('CREATE TABLE filling (id int PRIMARY KEY, t text) USING ' + AM)
        c.exec("INSERT INTO filling SELECT i, repeat('x', 500) FROM generate_series(1, 3000) i")
        c.exec("CREATE SEQUENCE ids START 5000; ALTER TABLE filling ALTER id SET DEFAULT nextval('ids')")
        c.exec('CHECKPOINT')
        disk.full('grow')
        for round_ in range(3):
            for sql, what in GROWING:
                with server.connect() as other:         # a backend that remembers nothing, and one that does
                    for each in (other, c):
                        if not sql.startswith('VACUUM'):
                            each.exec('BEGIN')
                        refused += no_space(each.try_(sql.replace('{am}', AM)), what)
                        each.try_('ROLLBACK')
            filling_is(c, 3000, 'while the disk is full')
        check(refused > 30, 'the disk was full for %d statements only' % refused)
        server.verify('filling')
    server.kill9()
    try:
        server.start()          # still full: core may need to extend an index again
        server.kill9()
    except Failure:
        check('No space left on device' in server.log_text(), 'the server does not start, and not for lack of space')
    disk.free('grow')
    server.start()
    with server.connect() as c:
        filling_is(c, 3000, 'after a crash on a full disk')
        for sql, what in GROWING:
            c.exec(('' if sql.startswith('VACUUM') else 'BEGIN; ') + sql.replace('{am}', AM))
            c.try_('ROLLBACK')
        filling_is(c, 3000, 'when there is space again')
        server.verify('filling')
        c.exec('DROP TABLE filling')
    load.verify()
    disk.end()
    say('files cannot grow: %d statements refused with 53100, nothing lost' % refused)


class Statement(threading.Thread):
    """A statement that has to wait."""

    def __init__(self, server, sql):
        super().__init__(daemon=True)
        self.server, self.sql, self.error, self.done = server, sql, None, False
        self.start()

    def run(self):
        try:
            with self.server.connect() as c:
                c.exec(self.sql)
            self.done = True
        except pq.Error as e:
            self.error = e


def redo_point(server):
    return control_data(server, 'REDO location')


def run_through(load, seconds):
    """Load whose statements may fail for lack of space (the sessions end by it)."""
    load.start(None)
    time.sleep(seconds)
    for t in load.sessions + load.helpers:
        t.stopping = True
    for t in load.sessions + load.helpers:
        t.join(60)
        check(not t.is_alive(), 'a client hangs')
        check(t.trouble is None or 'No space left' in t.trouble, t.trouble)


def cannot_write(server, load):
    """Pages cannot be written out: no checkpoint passes, statements that need a frame fail, a recovery fails
    cleanly, a fast shutdown waits; once there is space, all go on."""
    disk = FullDisk(server)
    for end in ('go on', 'crash', 'shutdown'):
        before = redo_point(server)
        load.start(None)
        time.sleep(0.5)
        load.stop()
        # however little the load came to do on a busy machine, and whatever was written meanwhile
        server.sql('UPDATE accounts SET balance = balance WHERE id <= 10')
        disk.full('write')
        checkpoint = Statement(server, 'CHECKPOINT')
        run_through(load, 1.5)
        check(not checkpoint.done, 'a checkpoint passed although nothing could be written')
        if end == 'crash':
            server.kill9()
            checkpoint.join(30)
            try:
                server.start()
                failed = False
                server.kill9()
            except Failure:
                failed = True
            check('PANIC' not in server.log_text().split('starting PostgreSQL')[-1], 'a recovery that cannot write panics')
            check(failed, 'recovery ended although it could not write')
            disk.free('write')
            server.start()
        elif end == 'shutdown':
            os.kill(server.postmaster.pid, signal.SIGINT)
            time.sleep(1.5)
            check(server.postmaster.poll() is None, 'the server has shut down without our pages')
            disk.free('write')
            server.wait_ended(60)
            check(control_state(server) == 'shut down', 'after a fast shutdown: %s' % control_state(server))
            server.start()
        else:
            check(redo_point(server) == before, 'a checkpoint was made without our pages')
            disk.free('write')
            checkpoint.join(60)
            check(checkpoint.done or checkpoint.error is not None, 'the checkpoint hangs although there is space')
            server.sql('CHECKPOINT')
        load.verify()
    disk.end()
    say('pages cannot be written: no checkpoint passes, recovery fails and is done later, shutdown waits; nothing lost')


def wal_full(server, load):
    """WAL cannot be written: the server crashes, as core wants it, and comes back with what was acknowledged."""
    disk = FullDisk(server)
    load.start((0.05, 0.5))
    time.sleep(0.7)
    disk.full('wal')
    end = time.time() + 60
    while 'PANIC:  could not write to ' not in server.log_text():
        check(time.time() < end, 'WAL was not full')
        time.sleep(0.05)
    load.join()
    time.sleep(1.5)         # core starts again and again, and cannot log the end of recovery
    server.kill9()
    disk.free('wal')
    server.start()
    load.verify()
    disk.end()
    say('WAL cannot be written: PANIC, recovered, nothing lost')


# ---- the worker dies at work ----

def worker_dies(options):
    """kill -9 of the worker in the middle of a checkpoint, or of its last flush at shutdown: that checkpoint is not made."""
    server = cluster.make('worker', conf=dict(CONF, **{'rowan.fault': ''}), variant='faults')
    load = Load(server, sessions=3, accounts=8000, seed=options.seed)
    load.setup()
    for when in ['checkpoint', 'terminated', 'shutdown'] * (3 if options.long else 1):
        load.start(None)
        time.sleep(0.7)
        load.stop()
        before = redo_point(server)
        server.write_conf(**{'rowan.fault': 'pool_flush_each:sleep:30'})
        server.sql('SELECT pg_reload_conf()')
        time.sleep(0.2)
        with server.connect() as c:
            c.exec("UPDATE accounts SET pad = 'PAD ' || substr(pad, 5) WHERE id % 40 = 0")
            pid = int(c.one("SELECT pid FROM pg_stat_activity WHERE backend_type = 'rowan pool worker'"))
        restarts = server.log_text().count('all server processes terminated; reinitializing')
        if when == 'shutdown':
            os.kill(server.postmaster.pid, signal.SIGINT)
        else:
            checkpoint = Statement(server, 'CHECKPOINT')
        time.sleep(0.5)
        check(when == 'shutdown' or not checkpoint.done, 'the checkpoint was too fast for this test')
        os.kill(pid, signal.SIGTERM if when == 'terminated' else signal.SIGKILL)
        server.write_conf(**{'rowan.fault': ''})
        os.kill(server.postmaster.pid, signal.SIGHUP)       # what it starts again shall not be slow
        if when == 'shutdown':
            server.wait_ended(60)
            check(control_state(server) != 'shut down', 'shut down cleanly although the worker was killed')
            server.start()
        elif when == 'checkpoint':
            checkpoint.join(60)
            end = time.time() + 30
            while server.log_text().count('all server processes terminated; reinitializing') == restarts:
                check(time.time() < end, 'the server has not restarted after the death of its worker')
                time.sleep(0.05)
            check(not checkpoint.done, 'the checkpoint passed although the worker was killed in it')
            server.connect_patiently().close()
        else:
            checkpoint.join(60)
            check(checkpoint.done, 'the checkpoint did not pass after SIGTERM to the worker: %s' % checkpoint.error)
            check(redo_point(server) != before, 'no checkpoint was made')
            server.kill9()
            server.start()
        load.verify()
    server.stop()
    check(control_state(server) == 'shut down', 'after a fast shutdown: %s' % control_state(server))
    server.check_log()
    server.destroy()
    say('the worker dies in a checkpoint and at shutdown: nothing lost')


# ---- single-user mode ----

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
            worker_terminated(server, load, 20 if options.long else 4)
    cannot_grow(server, load)
    if ENGINE:
        cannot_write(server, load)
    wal_full(server, load)
    single_user(server, load)
    server.stop()
    server.check_log('could not write to file "pg_wal', 'terminated by signal 6', 'No space left')
    server.destroy()
    if ENGINE:
        worker_dies(options)


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
