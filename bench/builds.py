#!/usr/bin/env python3
"""Two builds of Rowan against each other: has a change made anything slower?

    builds.py OLD [NEW] [--pairs 5] [--rows 100000] [--only NAME]

OLD and NEW are checkouts (NEW: this one).  Each builds itself and starts a server of its own; the
same statements run in one session of the one and of the other, by turns.  What is compared is the
CPU time of the server process, so that a busy machine does little harm.

Which of two servers was started first makes up to a tenth of a difference, also between two of the
same build (where the kernel has put their memory).  So all is done twice, with OLD started first
and with NEW, and the ratio new/old is the geometric mean of the two medians; the two stand behind
it.
"""
import argparse
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TOP, 'test', 'lib'))
import pq

SERVER = """
import sys
sys.path.insert(0, %r)
import cluster
server = cluster.make('builds', conf={
    'shared_buffers': '256MB', 'rowan.buffers': '256MB',
    'max_wal_size': '8GB', 'checkpoint_timeout': '30min'})
print('SERVER', server.conninfo(), flush=True)
sys.stdin.read()
"""
SETUP = """
CREATE TABLE t (id int PRIMARY KEY, k int, v int, payload text) USING rowan;
CREATE TABLE x (id int, k int, v int, payload text) USING rowan;
INSERT INTO x SELECT i, i % 1000, i, repeat(md5(i::text), 3) FROM generate_series(1, {n}) i;
CREATE INDEX x_id ON x USING rowan_btree (id);
CREATE INDEX x_k ON x USING rowan_btree (k, id);
CREATE TABLE u (id int PRIMARY KEY, k int, v int, payload text) USING rowan WITH (fillfactor = 90);
INSERT INTO u SELECT i, i % 1000, i, repeat(md5(i::text), 3) FROM generate_series(1, {n}) i;
CREATE INDEX u_k ON u (k);
CREATE FUNCTION each(sql text, n int, most int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM setseed(0.5);
  FOR i IN 1 .. n LOOP EXECUTE sql USING (1 + random() * (most - 1))::int, i; END LOOP;
END $$;
"""
INDEX = 'SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; ' \
    'SET enable_indexonlyscan = %s;'
# name, settings, statement; {n}: rows of the tables
MEASURES = [
    ('insert', '',
     'TRUNCATE t; INSERT INTO t SELECT i, i % 1000, i, repeat(md5(i::text), 3) '
     'FROM generate_series(1, {n}) i'),
    ('insert_single', '',
     "TRUNCATE t; SELECT each('INSERT INTO t VALUES ($2, 1, 1, ''some words'')', {n} / 3, {n})"),
    ('lookup_by_key', INDEX % 'off', "SELECT each('SELECT v FROM u WHERE id = $1', {n}, {n})"),
    ('lookup_by_rowan_btree', INDEX % 'off',
     "SELECT each('SELECT v FROM x WHERE id = $1', {n}, {n})"),
    ('range_by_rowan_btree', INDEX % 'off',
     "SELECT each('SELECT sum(v) FROM x WHERE id BETWEEN $1 AND $1 + 100', {n} / 30, {n})"),
    ('array_by_rowan_btree', INDEX % 'off',
     "SELECT each('SELECT sum(v) FROM x WHERE id = ANY (ARRAY[$1, $1 + 5, $1 + 50, 7, $1 + 500])', "
     "{n} / 10, {n})"),
    ('two_columns_by_rowan_btree', INDEX % 'off',
     "SELECT each('SELECT sum(v) FROM x WHERE k = $1 % 1000 AND id > $1', {n} / 30, {n})"),
    ('index_only_scan', INDEX % 'on',
     'SELECT count(k), sum(id) FROM x WHERE k >= 0; SELECT count(*) FROM x WHERE k < 900'),
    ('skip_scan', INDEX % 'on',
     "SELECT each('SELECT count(*) FROM x WHERE id = $1', {n} / 500, {n})"),
    ('order_by_index', INDEX % 'off', 'SELECT count(*) FROM (SELECT v FROM x ORDER BY k, id) s'),
    ('seq_scan', 'SET enable_indexscan = off; SET enable_indexonlyscan = off;',
     '; '.join(5 * ['SELECT sum(v), max(payload) FROM x; SELECT sum(v) FROM u; '
                    'SELECT count(*) FROM x'])),
    ('update_in_place', '', "SELECT each('UPDATE u SET v = v + 1 WHERE id = $1', {n} / 3, {n})"),
    ('update_many', '', 'UPDATE u SET v = v + 1'),
    ('update_indexed', '', "SELECT each('UPDATE u SET k = $2 WHERE id = $1', {n} / 5, {n})"),
    ('build_index', '', 'REINDEX INDEX x_k'),
    ('vacuum', '', 'VACUUM u'),
]


class Build:
    def __init__(self, checkout, rows):
        self.process = subprocess.Popen([sys.executable, '-c',
                                         SERVER % (os.path.abspath(checkout) + '/test/lib')],
                                        text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=checkout)
        for line in self.process.stdout:
            if line.startswith('SERVER '):
                self.connection = pq.Connection(line[len('SERVER '):].strip())
                break
        else:
            sys.exit('%s: no server' % checkout)
        for statement in (SETUP.format(n=rows), 'VACUUM ANALYZE x', 'VACUUM ANALYZE u',
                          'CHECKPOINT'):
            self.connection.exec(statement)
        self.pid = int(self.connection.one('SELECT pg_backend_pid()'))

    def cpu_s(self):
        return int(open('/proc/%d/schedstat' % self.pid).read().split()[0]) / 1e9

    def measure(self, settings, statement):
        c = self.connection
        c.exec('RESET ALL; SET jit = off; SET max_parallel_workers_per_gather = 0;' + settings)
        start = self.cpu_s()
        for part in statement.split('; '):
            c.exec(part)
        return self.cpu_s() - start

    def end(self):
        self.connection.close()
        self.process.stdin.close()
        self.process.wait()


def compare(options, order):
    """Starts the servers in that order (0: old, 1: new); pairs of CPU seconds for each measure."""
    checkouts, builds, measured = (options.old, options.new), {}, {}
    for i in order:
        builds[i] = Build(checkouts[i], options.rows)
    for name, settings, statement in MEASURES:
        if options.only and options.only not in name:
            continue
        statement = statement.replace('{n}', str(options.rows))
        pairs = measured[name] = []
        for turn in range(options.pairs):
            seconds = {i: builds[i].measure(settings, statement)
                       for i in ((0, 1) if turn % 2 == 0 else (1, 0))}
            pairs.append((seconds[0], seconds[1]))
    for b in builds.values():
        b.end()
    return measured


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('old')
    p.add_argument('new', nargs='?', default=TOP)
    p.add_argument('--pairs', type=int, default=5)
    p.add_argument('--rows', type=int, default=100000)
    p.add_argument('--only', help='measures whose names contain this')
    options = p.parse_args()
    first, second = (compare(options, order) for order in ((0, 1), (1, 0)))
    print('| measure | old, CPU s | new, CPU s | new/old '
          '| old started first | new started first |')
    print('|---|---|---|---|---|---|')
    for name in first:
        pairs, ratios = first[name] + second[name], []
        for part in (first[name], second[name]):
            ratios.append(statistics.median(new / max(old, 0.001) for old, new in part))
        print('| %s | %.2f | %.2f | %.3f | %.3f | %.3f |' % (
            name, statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs),
            (ratios[0] * ratios[1]) ** 0.5, *ratios))


if __name__ == '__main__':
    main()
