#!/usr/bin/env python3
"""Many clients, few rows: throughput and latency of heap and Rowan, in pairs.

A server of its own, and its pgbench.  In each pair both methods run one after the other (which one is first
alternates), each on a new table; a ratio is of one pair, the table has their median.  What two runs at different
times say of a shared machine means nothing, what a pair says does.

    bench/hot.py --clients 64,128 --rows 1,10 --seconds 8 --pairs 3 --workloads update,lock,skip,nowait,move,old

Workloads:
    update  UPDATE of one row by its primary key
    lock    a transaction of two statements: SELECT FOR UPDATE, then UPDATE
    skip    UPDATE of the first row that nobody has locked (SKIP LOCKED)
    nowait  UPDATE, unless the row is locked (NOWAIT; the error is caught in a subtransaction)
    move    UPDATE of an indexed column
    old     as update, while a session keeps a snapshot from before
    keys    INSERT of a row that refers to the hot one, which has been updated in the same transaction
"""
import argparse
import glob
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'test', 'lib'))
import cluster
import harness
from harness import check, say

ID = '\\set id random(1, {rows})\n'
WORKLOADS = {
    'update': ID + 'UPDATE hot SET n = n + 1 WHERE id = :id;\n',
    'lock': ID + 'BEGIN;\nSELECT n FROM hot WHERE id = :id FOR UPDATE;\nUPDATE hot SET n = n + 1 WHERE id = :id;\nEND;\n',
    'skip': 'UPDATE hot SET n = n + 1 WHERE id = (SELECT id FROM hot ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED);\n',
    'nowait': ID + 'SELECT update_nowait(:id);\n',
    'move': ID + 'UPDATE hot SET n = n + 1, k = k + 1 WHERE id = :id;\n',
    'old': ID + 'UPDATE hot SET n = n + 1 WHERE id = :id;\n',
    'keys': ID + 'BEGIN;\nUPDATE hot SET n = n + 1 WHERE id = :id;\nINSERT INTO child VALUES (:id);\nEND;\n',
}
SCHEMA = """
DROP TABLE IF EXISTS child, hot;
CREATE TABLE hot (id int PRIMARY KEY, n bigint, k int, pad text) USING {am};
CREATE TABLE child (id int REFERENCES hot) USING {am};
CREATE INDEX hot_k ON hot (k);
INSERT INTO hot SELECT i, 0, i, repeat('x', 40) FROM generate_series(1, {rows}) i;
VACUUM ANALYZE hot;
CREATE OR REPLACE FUNCTION update_nowait(which int) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    PERFORM n FROM hot WHERE id = which FOR UPDATE NOWAIT;
    UPDATE hot SET n = n + 1 WHERE id = which;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
"""


class Bench:
    def __init__(self, server, options):
        self.server, self.options = server, options
        self.results = {}

    def pgbench(self, script, clients):
        """Transactions a second, and all latencies in ms, in order."""
        directory = harness.new_dir('hot')
        with open(directory + '/script', 'w') as f:
            f.write(script)
        os.chmod(directory + '/script', 0o644)
        harness.run([self.server.bindir + '/pgbench', '-n', '-M', 'prepared', '-f', directory + '/script', '-c', str(clients), '-j', '2',
                     '-T', str(self.options.seconds), '-l', '--log-prefix', directory + '/log'],
                    what='pgbench', cwd=directory, env=self.server.environment(), **harness.as_user())
        latencies = []
        for name in glob.glob(directory + '/log*'):
            with open(name) as f:
                latencies += [int(line.split()[2]) / 1000 for line in f]
            os.unlink(name)
        check(latencies, 'pgbench has done nothing')
        return len(latencies) / self.options.seconds, sorted(latencies)

    def run(self, am, workload, rows, clients):
        self.server.psql(SCHEMA.format(am=am, rows=rows))
        self.server.sql('CHECKPOINT')
        with self.server.connect() as old:
            if workload == 'old':
                old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
                old.exec('SELECT count(*) FROM hot')
            tps, latencies = self.pgbench(WORKLOADS[workload].format(rows=rows), clients)
        done = int(self.server.one('SELECT sum(n) FROM hot'))
        check(done == len(latencies) or workload in ('skip', 'nowait'), '%s: %d updates, %d counted' % (am, len(latencies), done))
        if am != 'heap':
            self.server.verify('hot')
        # of those two, what counts is the work that was done
        return done / self.options.seconds, latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]

    def case(self, workload, rows, clients):
        pairs = []
        for i in range(self.options.pairs):
            methods = ['heap', harness.AM]
            if i % 2:
                methods.reverse()
            pair = {am: self.run(am, workload, rows, clients) for am in methods}
            pairs.append([pair['heap'], pair[harness.AM]])
        heap, ours = ([statistics.median(p[side][m] for p in pairs) for m in range(3)] for side in (0, 1))
        ratios = [[p[1][m] / max(p[0][m], 0.001) for p in pairs] for m in range(3)]
        say('%-8s %4d %7d %9.0f %9.0f %18s %7.1f %7.1f %7.1f %7.1f %18s'
            % (workload, rows, clients, heap[0], ours[0], spread(ratios[0]), heap[1], ours[1], heap[2], ours[2], spread(ratios[2])))


def spread(ratios):
    return '%.2f (%.2f-%.2f)' % (statistics.median(ratios), min(ratios), max(ratios))


def numbers(text):
    return [int(n) for n in text.split(',')]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--clients', type=numbers, default=[64, 128])
    p.add_argument('--rows', type=numbers, default=[1, 10])
    p.add_argument('--seconds', type=int, default=8)
    p.add_argument('--pairs', type=int, default=3)
    p.add_argument('--workloads', default='update', help=', '.join(WORKLOADS) + '; or all')
    p.add_argument('--plan', choices=['index', 'any'], default='index', help='any: the planner may scan the whole table, too')
    p.add_argument('--fsync', action='store_true', help='commits wait for the disk')
    p.add_argument('--bindir')
    options = p.parse_args()
    harness.reexec_with(options)
    server = cluster.make('bench-hot', fsync=options.fsync, conf={
        'shared_buffers': '256MB', 'rowan.buffers': '256MB', 'max_wal_size': '4GB', 'checkpoint_timeout': '30min', 'autovacuum': 'on',
        'max_connections': str(max(options.clients) + 20),
        **({'enable_seqscan': 'off', 'enable_bitmapscan': 'off'} if options.plan == 'index' else {})})
    bench = Bench(server, options)
    say('%-8s %4s %7s %9s %9s %18s %7s %7s %7s %7s %18s'
        % ('workload', 'rows', 'clients', 'heap tps', 'ours', 'ratio (min-max)', 'p50 ms', 'ours', 'p99 ms', 'ours', 'ratio (min-max)'))
    for workload in WORKLOADS if options.workloads == 'all' else options.workloads.split(','):
        for clients in options.clients:
            for rows in options.rows:
                bench.case(workload, rows, clients)
    server.stop()
    server.check_log()


main()
