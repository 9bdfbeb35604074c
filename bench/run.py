#!/usr/bin/env python3
"""make bench: starts a server of its own, runs bench.py on it, stops it."""
import argparse
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'test', 'lib'))
import cluster
import harness

QUICK = dict(N='20000', NLOAD='40000', NBLOAT='20000', NUPD='40000', NUUID='20000', NBIG='40000', M_K='500',
             PGB_T='1', SCALE='1', REPS='1', REPS_G='1', REPS_H='1', REPS_I='1', CLIENTS='1')
CASES = 'a b c c2 d k e f l g h i m'


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--cases', default=CASES)
    p.add_argument('--reps')
    p.add_argument('--quick', action='store_true', help='small tables: only to see that every case runs')
    p.add_argument('--buffers', default='1GB', help='of shared_buffers and rowan.buffers each')
    p.add_argument('--bindir')
    p.add_argument('methods', nargs='*', help='heap and ...')
    options = p.parse_args()
    harness.reexec_with(options)
    server = cluster.make('bench', conf={
        'shared_buffers': options.buffers, 'rowan.buffers': options.buffers, 'max_wal_size': '8GB',
        'checkpoint_timeout': '30min', 'checkpoint_completion_target': '0.9', 'work_mem': '64MB',
        'maintenance_work_mem': '256MB', 'wal_buffers': '16MB'}, fsync=True)
    server.sql('CREATE DATABASE bench')
    data = harness.new_dir('bench-data')
    os.chmod(data, 0o777)
    e = dict(os.environ)
    if options.quick:
        e.update(QUICK)
    e.update(server.environment(), PGDATABASE='bench', BENCH_DATA=data, CASES=options.cases,
             OUT=e.get('OUT', os.path.join(harness.TOP, 'bench-results')),
             PATH=server.bindir + ':' + e['PATH'])
    if options.reps:
        e['REPS'] = options.reps
    status = subprocess.run([sys.executable, HERE + '/bench.py'] + (options.methods or ['heap', harness.AM]), env=e).returncode
    server.stop()
    server.check_log()
    return status


sys.exit(main())
