#!/usr/bin/env python3
"""Sustained load with checkpoints, and redo of it, heap against Rowan.

    load.py sustained [--seconds 300] [--pairs 1] [--scale 50] [--clients 8]
    load.py redo      [--cases tpcb,update,...] [--transactions 100000] [--rows 1000000]
                      [--pairs 3] [--scale 10] [--cold] [--no-prefetch] [--perf DIRECTORY]

sustained: pgbench, TPC-B-like and simple update, in turns on heap and on Rowan, each on a server of
its own: fsync on, a checkpoint every 30 seconds.  Transactions a second, WAL of each, CPU time of
the whole server of each.

redo: a load after a checkpoint, kill -9, then the server is started as a standby; what is compared
is the CPU time that the startup process takes to replay it.  Cases: so many TPC-B-like
transactions; so many updates of a random row, in place (update) or of an indexed column (move); so
many rows loaded by COPY, by INSERT ... SELECT; CREATE INDEX (btree of heap, rowan_btree of Rowan);
DELETE of every second row, of the first half, and VACUUM.  --cold: the kernel has none of the
tables in its cache then.  --perf: where the startup process spends its time, of each case and
method.
"""
import argparse
import os
import re
import signal
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'test', 'lib'))
import cluster
import harness
from harness import check, say

CONF = {'shared_buffers': '256MB', 'rowan.buffers': '256MB', 'max_wal_size': '16GB'}
CASES = {'tpcb-like': 'TPC-B', 'simple-update': 'simple update'}


def make_server(am, scale, conf, fsync=True):
    """A server with pgbench's tables."""
    conf = dict(CONF, default_table_access_method=am, **conf)
    c = cluster.make('load_' + am, conf=conf, fsync=fsync)
    c.run_tool('pgbench', '-i', '-q', '-s', str(scale), timeout=3600)
    c.sql('VACUUM ANALYZE pgbench_accounts')
    return c


def cpu_seconds(c):
    """Of the server's processes, those that have ended too."""
    tick, total = os.sysconf('SC_CLK_TCK'), 0
    for pid in c.processes():
        try:
            stat = open('/proc/%d/stat' % pid).read()
        except OSError:
            continue
        fields = stat[stat.rindex(')') + 2:].split()
        last = 15 if pid == c.postmaster.pid else 13        # the postmaster knows its children's
        total += sum(int(x) for x in fields[11:last])
    return total / tick


def pgbench(c, case, *arguments):
    out = subprocess.run([c.bindir + '/pgbench', '-n', '-M', 'prepared', '-b', case, *arguments],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         env=c.environment(), cwd=c.dir).stdout
    tps = re.search(r'tps = ([0-9.]+)', out)
    check(tps is not None, out)
    return float(tps.group(1)), int(re.search(r'actually processed: (\d+)', out).group(1))


def sustained_turn(am, case, options):
    """(transactions a second, bytes of WAL and CPU microseconds of each)"""
    c = make_server(am, options.scale, {'checkpoint_timeout': '30s'})
    c.sql('CHECKPOINT')
    lsn, cpu = c.one('SELECT pg_current_wal_insert_lsn()'), cpu_seconds(c)
    clients = str(options.clients)
    tps, n = pgbench(c, case, '-c', clients, '-j', '2', '-T', str(options.seconds))
    wal = int(c.one("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '%s')::bigint" % lsn))
    cpu = cpu_seconds(c) - cpu
    c.stop()
    c.destroy()
    return tps, wal / n, cpu * 1e6 / n


def sustained(options):
    say('| load | | heap | Rowan | ratio |')
    say('|---|---|---|---|---|')
    for case, name in CASES.items():
        turns = {am: [] for am in ('heap', 'rowan')}
        for pair in range(options.pairs):
            for am in ('heap', 'rowan') if pair % 2 == 0 else ('rowan', 'heap'):
                turns[am].append(sustained_turn(am, case, options))
        for i, what in enumerate(('transactions/s', 'WAL bytes each', 'CPU us each')):
            heap, rowan = (statistics.median(t[i] for t in turns[am]) for am in turns)
            say('| %s | %s | %.0f | %.0f | %.2f |' % (name, what, heap, rowan, rowan / heap))


def forget_files(c):
    """Takes the tables out of the kernel's cache."""
    for where, _, files in os.walk(os.path.join(c.data, 'base')):
        for name in files:
            fd = os.open(os.path.join(where, name), os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


# ---- redo: what is replayed ----

TABLE = ('CREATE TABLE t (id int PRIMARY KEY, k int, v int, filler text) USING {am}; '
         'CREATE INDEX t_k ON t (k)')
ROWS = "SELECT i, i, 0, 'filler ' || i FROM generate_series(1, {rows}) i"


def fill(c, am, options):
    c.sql(TABLE.format(am=am))
    c.sql('INSERT INTO t ' + ROWS.format(rows=options.rows))
    c.sql('VACUUM ANALYZE t')


def run_script(c, sql, options):
    """So many transactions of 4 sessions."""
    path = os.path.join(c.dir, 'script.sql')
    with open(path, 'w') as f:
        f.write('\\set id random(1, %d)\n%s;\n' % (options.rows, sql))
    c.run_tool('pgbench', '-n', '-M', 'prepared', '-f', path, '-c', '4', '-j', '2',
               '-t', str(options.transactions // 4), timeout=3600)


def tpcb_load(c, am, options):
    pgbench(c, 'tpcb-like', '-c', '4', '-j', '2', '-t', str(options.transactions // 4))


def update_load(c, am, options):
    run_script(c, 'UPDATE t SET v = v + 1 WHERE id = :id', options)


def move_load(c, am, options):
    run_script(c, 'UPDATE t SET k = k + 1 WHERE id = :id', options)


def copy_load(c, am, options):
    c.sql("COPY (%s) TO '%s/rows'" % (ROWS.format(rows=options.rows), c.data))
    c.sql("COPY t FROM '%s/rows'" % c.data)


def select_load(c, am, options):
    c.sql('INSERT INTO t ' + ROWS.format(rows=options.rows))


def index_load(c, am, options):
    method = 'rowan_btree' if am == 'rowan' else 'btree'
    c.sql('CREATE INDEX ON t USING %s (k, filler)' % method)


def scattered_load(c, am, options):
    c.sql('DELETE FROM t WHERE id % 2 = 0')
    c.sql('VACUUM t')


def range_load(c, am, options):
    c.sql('DELETE FROM t WHERE id <= %d' % (options.rows // 2))
    c.sql('VACUUM t')


def empty(c, am, options):
    c.sql(TABLE.format(am=am))


# name: (what is there before, what is replayed)
REDO_CASES = {'tpcb': (None, tpcb_load), 'update': (fill, update_load), 'move': (fill, move_load),
              'copy': (empty, copy_load), 'select': (empty, select_load),
              'index': (fill, index_load), 'scattered': (fill, scattered_load),
              'range': (fill, range_load)}


def redo_server(am, setup, options):
    conf = {'checkpoint_timeout': '1h',
            'recovery_prefetch': 'off' if options.no_prefetch else 'try'}
    if setup is None:
        return make_server(am, options.scale, conf, fsync=False)
    c = cluster.make('load_' + am, conf=dict(CONF, **conf))
    setup(c, am, options)
    return c


def startup_process(c):
    """Its pid, as soon as there is one."""
    while True:
        for pid in c.processes():
            with open('/proc/%d/cmdline' % pid) as f:
                if 'startup' in f.read():
                    return pid
        check(c.postmaster.poll() is None, 'the server does not start')


def replay(c, perf_data):
    """CPU seconds of the startup process when all WAL is replayed; it waits for more then."""
    open(c.data + '/standby.signal', 'w').close()
    harness.own(c.data + '/standby.signal')
    c.start(wait=False)
    pid = startup_process(c)
    perf = perf_data and subprocess.Popen(['perf', 'record', '-q', '-g', '-o', perf_data,
                                           '-p', str(pid)])
    c.wait_ready(600)
    with open('/proc/%d/schedstat' % pid) as f:
        seconds = int(f.read().split()[0]) / 1e9
    if perf:
        perf.send_signal(signal.SIGINT)
        perf.wait()
    return seconds


def redo_turn(am, case, options):
    setup, load = REDO_CASES[case]
    c = redo_server(am, setup, options)
    c.sql('CHECKPOINT')
    lsn = c.one('SELECT pg_current_wal_insert_lsn()')
    load(c, am, options)
    wal = int(c.one("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '%s')::bigint" % lsn))
    c.kill9()
    if options.cold:
        forget_files(c)
    perf_data = options.perf and os.path.join(options.perf, '%s-%s.data' % (case, am))
    seconds = replay(c, perf_data)
    c.stop()
    c.destroy()
    return seconds, wal


def redo(options):
    say('| redo | | heap | Rowan | ratio |')
    say('|---|---|---|---|---|')
    for case in options.cases.split(','):
        turns = {am: [] for am in ('heap', 'rowan')}
        for pair in range(options.pairs):
            for am in ('heap', 'rowan') if pair % 2 == 0 else ('rowan', 'heap'):
                turns[am].append(redo_turn(am, case, options))
        for i, (what, unit) in enumerate((('CPU s', 1), ('WAL MB', 1e6))):
            heap, rowan = (statistics.median(t[i] for t in turns[am]) / unit for am in turns)
            say('| %s | %s | %.2f | %.2f | %.2f |'
                % (case, what, heap, rowan, rowan / max(heap, 0.01)))


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('sustained', 'redo'))
    p.add_argument('--seconds', type=int, default=300)
    p.add_argument('--transactions', type=int, default=100000)
    p.add_argument('--cases', default='tpcb', help=','.join(REDO_CASES))
    p.add_argument('--rows', type=int, default=1000000)
    p.add_argument('--perf', metavar='DIRECTORY', help='perf.data of redo go there')
    p.add_argument('--pairs', type=int)
    p.add_argument('--scale', type=int)
    p.add_argument('--clients', type=int, default=8)
    p.add_argument('--cold', action='store_true')
    p.add_argument('--no-prefetch', action='store_true')
    options = p.parse_args()
    if options.what == 'sustained':
        options.pairs, options.scale = options.pairs or 1, options.scale or 50
        sustained(options)
    else:
        options.pairs, options.scale = options.pairs or 3, options.scale or 10
        redo(options)
    return 0


if __name__ == '__main__':
    sys.exit(main())
