#!/usr/bin/env python3
"""make bench: starts a server of its own, runs bench.py and indexes.py on it, stops it; writes a
page of HTML with what they have measured."""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'test', 'lib'))
import cluster
import harness
import htmlpage
import indexes
import page

QUICK = dict(N='20000', NLOAD='40000', NBLOAT='20000', NUPD='40000', NUUID='20000', NBIG='40000',
             M_K='500', PGB_T='1', SCALE='1', REPS='1', REPS_G='1', REPS_H='1', REPS_I='1',
             CLIENTS='1')
CASES = 'a b c c2 d k e f l g h i m x'
INDEXES = 'x'                           # that case is indexes.py; all others are bench.py's


def arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--cases', default=CASES)
    p.add_argument('--keys', default=','.join(indexes.KEYS), help='of case x')
    p.add_argument('--reps')
    p.add_argument('--quick', action='store_true',
                   help='small tables: only to see that every case runs')
    p.add_argument('--buffers', default='1GB', help='of shared_buffers and rowan.buffers each')
    p.add_argument('--out', default=os.environ.get('OUT', harness.TOP + '/bench-results'))
    p.add_argument('--bindir')
    p.add_argument('methods', nargs='*', help='heap and ...')
    return p


def start(options):
    server = cluster.make('bench', conf={
        'shared_buffers': options.buffers, 'rowan.buffers': options.buffers, 'max_wal_size': '8GB',
        'checkpoint_timeout': '30min', 'checkpoint_completion_target': '0.9', 'work_mem': '64MB',
        'maintenance_work_mem': '256MB', 'wal_buffers': '16MB'}, fsync=True)
    server.sql('CREATE DATABASE bench')
    return server


def run_bench(server, options, tag):
    data = harness.new_dir('bench-data')
    os.chmod(data, 0o777)
    cases = [c for c in options.cases.split() if c != INDEXES]
    if not cases:
        return 0
    e = dict(os.environ)
    if options.quick:
        e.update(QUICK)
    e.update(server.environment(), PGDATABASE='bench', BENCH_DATA=data, CASES=' '.join(cases),
             OUT=options.out, TAG=tag, PATH=server.bindir + ':' + e['PATH'])
    if options.reps:
        e['REPS'] = options.reps
    return subprocess.run([sys.executable, HERE + '/bench.py'] +
                          (options.methods or ['heap', harness.AM]), env=e).returncode


def run_indexes(server, options, tag):
    if INDEXES not in options.cases.split():
        return
    arguments = ['--keys', options.keys] + ['--quick'] * options.quick
    if options.reps:
        arguments += ['--reps', options.reps]
    found = indexes.measure(server, indexes.arguments().parse_args(arguments))
    found.write('%s/indexes_%s.tsv' % (options.out, tag))


# ---- what the page says beside the figures ----

def memory():
    for line in open('/proc/meminfo'):
        if line.startswith('MemTotal'):
            return '%d GB' % round(int(line.split()[1]) / 1048576)
    return 'unknown'


def load_average():
    return '%.2f' % os.getloadavg()[0]


def errors(path):
    if not os.path.exists(path):
        return []
    return re.findall(r'^\S+ (?:ERROR|case \S+ aborted:) .*', open(path).read(), re.M)


def describe(server, options, tag, load_before, seconds):
    with server.connect() as c:
        title = htmlpage.about(c)
        settings = c.rows("SELECT name, current_setting(name) FROM pg_settings WHERE source NOT IN "
                          "('default', 'client', 'override', 'session') ORDER BY 1")
    facts = {'processor': htmlpage.processor(), 'memory': memory(),
             'kernel': '%s %s' % (platform.system(), platform.release()),
             'load average': '%s before, %s at the end' % (load_before, load_average()),
             'time taken': '%.0f minutes' % (seconds / 60),
             'command': ' '.join(['bench/run.py'] + sys.argv[1:])}
    with open('%s/about_%s.json' % (options.out, tag), 'w') as f:
        json.dump({'title': title, 'settings': [s for s in settings if '/' not in s[1]],
                   'facts': facts, 'errors': errors('%s/log_%s.txt' % (options.out, tag))}, f)


def main():
    options = arguments().parse_args()
    harness.reexec_with(options)
    os.makedirs(options.out, exist_ok=True)
    tag = os.environ.get('TAG', time.strftime('%m%d_%H%M%S'))
    began, load_before = time.time(), load_average()
    server = start(options)
    status = run_bench(server, options, tag)
    run_indexes(server, options, tag)
    describe(server, options, tag, load_before, time.time() - began)
    server.stop()
    server.check_log()
    page.page(options.out, tag)
    return status


if __name__ == '__main__':
    sys.exit(main())
