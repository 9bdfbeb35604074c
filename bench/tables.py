#!/usr/bin/env python3
"""Many small tables: creating, filling and dropping them, heap against Rowan.

    tables.py [--tables 2500] [--pairs 5] [--columns "id int, v int, s text"] [--fsync]

Each step is so many statements, a transaction each: CREATE TABLE, the first INSERT (one row), a
second one, DROP TABLE; and all of them in one transaction.  In each pair heap and Rowan run one
after the other on one server.  Elapsed time, CPU time of the session, CPU time of the whole server:
the medians over the pairs, the median of the ratios and their extremes.
"""
import argparse
import os
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'test', 'lib')]
import cluster
from harness import say
from load import cpu_seconds

CONF = {'shared_buffers': '128MB', 'rowan.buffers': '128MB', 'max_wal_size': '16GB',
        'checkpoint_timeout': '1h', 'max_locks_per_transaction': '4096',
        'max_prepared_transactions': '0'}
STEPS = {'create': 'CREATE TABLE t{i} ({columns}) USING {am}',
         'first insert': 'INSERT INTO t{i} VALUES (1, 2)',
         'second insert': 'INSERT INTO t{i} VALUES (3, 4)',
         'drop': 'DROP TABLE t{i}'}
MEASURES = 'elapsed s', 'session CPU s', 'server CPU s'


def session_cpu(c):
    with open('/proc/%d/schedstat' % c.pid) as f:
        return int(f.read().split()[0]) / 1e9


def run(server, c, sql, am, options):
    """One step: (elapsed, CPU time of the session, of the server)."""
    statements = [sql.format(i=i, am=am, columns=options.columns) for i in range(options.tables)]
    before = time.time(), session_cpu(c), cpu_seconds(server)
    for s in statements:
        c.exec(s)
    return tuple(b - a for a, b in zip(before, (time.time(), session_cpu(c), cpu_seconds(server))))


def turn(server, am, options):
    """Each step's measures; a session of its own, so that its caches are empty."""
    out = {}
    with server.connect() as c:
        for step, sql in STEPS.items():
            out[step] = run(server, c, sql, am, options)
    with server.connect() as c:
        c.exec('BEGIN')
        for step, sql in STEPS.items():
            out[step + ', one transaction'] = run(server, c, sql, am, options)
        before = time.time(), session_cpu(c), cpu_seconds(server)
        c.exec('COMMIT')
        after = time.time(), session_cpu(c), cpu_seconds(server)
        out['its commit'] = tuple(b - a for a, b in zip(before, after))
    server.sql('VACUUM')
    server.sql('CHECKPOINT')
    return out


def report(turns):
    say('| step | | heap | Rowan | ratio | of pairs |')
    say('|---|---|---|---|---|---|')
    for step in turns['heap'][0]:
        for i, what in enumerate(MEASURES):
            heap, rowan = ([t[step][i] for t in turns[am]] for am in ('heap', 'rowan'))
            ratios = [r / max(h, 1e-3) for h, r in zip(heap, rowan)]
            say('| %s | %s | %.3f | %.3f | %.2f | %.2f-%.2f |' % (
                step, what, statistics.median(heap), statistics.median(rowan),
                statistics.median(ratios), min(ratios), max(ratios)))


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--tables', type=int, default=2500)
    p.add_argument('--pairs', type=int, default=5)
    p.add_argument('--columns', default='id int, v int, s text')
    p.add_argument('--fsync', action='store_true', help='commits wait for the disk')
    options = p.parse_args()
    server = cluster.make('tables', conf=CONF, fsync=options.fsync)
    turns = {'heap': [], 'rowan': []}
    for pair in range(options.pairs):
        for am in ('heap', 'rowan') if pair % 2 == 0 else ('rowan', 'heap'):
            turns[am].append(turn(server, am, options))
    report(turns)
    server.stop()
    return 0


if __name__ == '__main__':
    sys.exit(main())
