#!/usr/bin/env python3
"""Sustained load with checkpoints, and redo of it, heap against Rowan.

    load.py sustained [--seconds 300] [--pairs 1] [--scale 50] [--clients 8]
    load.py redo      [--transactions 100000] [--pairs 3] [--scale 10] [--cold] [--no-prefetch]

sustained: pgbench, TPC-B-like and simple update, in turns on heap and on Rowan, each on a server of
its own: fsync on, a checkpoint every 30 seconds.  Transactions a second, WAL of each, CPU time of
the whole server of each.

redo: so many TPC-B-like transactions after a checkpoint, kill -9; what is compared is the CPU time
and the time that the startup process takes, by its own word, to replay them.  --cold: the kernel
has none of the tables in its cache then.
"""
import argparse
import os
import re
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


def make_server(am, scale, conf):
    """A server with pgbench's tables."""
    conf = dict(CONF, default_table_access_method=am, **conf)
    c = cluster.make('load_' + am, conf=conf, fsync=True)
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


def redo_turn(am, options):
    c = make_server(am, options.scale, {
        'checkpoint_timeout': '1h', 'recovery_prefetch': 'off' if options.no_prefetch else 'try'})
    c.sql('CHECKPOINT')
    lsn = c.one('SELECT pg_current_wal_insert_lsn()')
    pgbench(c, 'tpcb-like', '-c', '4', '-j', '2', '-t', str(options.transactions // 4))
    wal = int(c.one("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '%s')::bigint" % lsn))
    c.kill9()
    if options.cold:
        forget_files(c)
    c.start(timeout_s=600)
    user, system, elapsed = (float(x) for x in re.findall(
        r'redo done at .* user: ([0-9.]+) s, system: ([0-9.]+) s, elapsed: ([0-9.]+) s',
        c.log_text())[-1])
    c.stop()
    c.destroy()
    return user + system, elapsed, wal


def redo(options):
    turns = {am: [] for am in ('heap', 'rowan')}
    for pair in range(options.pairs):
        for am in ('heap', 'rowan') if pair % 2 == 0 else ('rowan', 'heap'):
            turns[am].append(redo_turn(am, options))
    say('| redo of %d TPC-B transactions | heap | Rowan | ratio |' % options.transactions)
    say('|---|---|---|---|')
    for i, (what, unit) in enumerate((('CPU s', 1), ('elapsed s', 1), ('WAL MB', 1e6))):
        heap, rowan = (statistics.median(t[i] for t in turns[am]) / unit for am in turns)
        say('| %s | %.2f | %.2f | %.2f |' % (what, heap, rowan, rowan / heap))


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('sustained', 'redo'))
    p.add_argument('--seconds', type=int, default=300)
    p.add_argument('--transactions', type=int, default=100000)
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
