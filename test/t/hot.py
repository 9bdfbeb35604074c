#!/usr/bin/env python3
"""Few rows that many want: 64 clients of pgbench on one to ten rows.  They update them in place and
moving, delete and insert them again, with savepoints and rollbacks; autovacuum is beside them, and old
snapshots come and go.

What a transaction does to the table it does, in the same statement, to a heap table: the two have the
same rows, for every snapshot and in the end, after a crash too.  A snapshot sees the same as long as
it lasts, whichever way it looks.  A third table is updated in transactions of one statement, which
pgbench counts.  No error but deadlocks.

    hot.py --seconds 60 --rows 1
"""
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import actors
import cluster
import harness
from harness import AM, ENGINE, as_user, check, say

CLIENTS = 64
COUNTING, LOOKING = 24, 4       # of the clients while the others change both tables; and snapshots beside them

CONF = {'max_connections': '120', 'autovacuum': 'on', 'autovacuum_naptime': '1s', 'autovacuum_vacuum_cost_delay': '0',
        'autovacuum_vacuum_threshold': '50', 'autovacuum_vacuum_scale_factor': '0', 'autovacuum_analyze_threshold': '5000',
        'deadlock_timeout': '50ms', 'max_wal_size': '1GB', 'shared_buffers': '32MB'}
POOLS = ('32MB', '1MB')                 # rowan.buffers

COLUMNS = '(id int PRIMARY KEY, n bigint, k int, pad text)'

# both tables in one statement, the table under test first; the heap follows only where that was done
CHANGE = ('WITH a AS (UPDATE hot SET %s WHERE id = :%s RETURNING id) '
          'UPDATE twin SET %s WHERE id IN (SELECT id FROM a);\n')


def change(what, which='id'):
    return CHANGE % (what, which, what)


ONE = '\\set id random(1, :rows)\n\\set d random(-50, 100)\n\\set r random(1, 100)\n\\set len random(0, 300)\n'
TWO = ONE + '\\set j 1 + :id % :rows\n'
ADD, GROW, MOVE = 'n = n + :d', "n = n + :d, pad = repeat('x', :len)", 'n = n + :d, k = k + 1'
SCRIPTS = {
    'add': (8, ONE + change(ADD)),
    'grow': (3, ONE + change(GROW)),
    'move': (2, ONE + change(MOVE)),
    'again': (1, ONE + 'WITH gone AS (DELETE FROM hot WHERE id = :id RETURNING *), '
              'back AS (INSERT INTO hot SELECT id, n + :d, k, pad FROM gone RETURNING id), '
              'twin_gone AS (DELETE FROM twin WHERE id IN (SELECT id FROM back) RETURNING *) '
              'INSERT INTO twin SELECT id, n + :d, k, pad FROM twin_gone;\n'),
    'rollback': (3, ONE + 'BEGIN;\n' + change(ADD) + '\\if :r < 40\n' + change(GROW) + '\\elif :r < 60\n' + change(MOVE) +
                 '\\elif :r < 70\nDELETE FROM hot WHERE id = :id;\n\\endif\nROLLBACK;\n'),
    'savepoint': (3, TWO + 'BEGIN;\n' + change(ADD) + 'SAVEPOINT s;\n' + change(GROW) + '\\if :r % 3 = 0\n' + change(ADD, 'j') + '\\endif\n'
                  '\\if :r < 60\nROLLBACK TO s;\n\\else\nRELEASE s;\n\\endif\n' + change(ADD) +
                  'SAVEPOINT t;\n' + change(MOVE) + 'ROLLBACK TO t;\n' + change(ADD) +
                  '\\if :r % 4 = 0\nROLLBACK;\n\\else\nCOMMIT;\n\\endif\n'),
    'lock': (2, TWO + 'BEGIN;\n\\if :r < 50\nSELECT n FROM hot WHERE id = :id FOR KEY SHARE;\n\\else\nSELECT n FROM hot WHERE id = :id FOR UPDATE;\n\\endif\n' +
             change(ADD) + '\\if :r % 2 = 0\n' + change(ADD, 'j') + '\\endif\nCOMMIT;\n'),
}
COUNT = '\\set id random(1, :counted)\nUPDATE counted SET n = n + 1 WHERE id = :id;\n'


def pgbench(server, *arguments):
    return subprocess.Popen([server.bindir + '/pgbench', '-n', '-j', '2'] + [str(a) for a in arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors='replace', cwd=server.dir, env=server.environment(), **as_user())


class Looker(actors.Actor):
    """Snapshots, short and long ones, that have to see the same each time."""

    def rows(self, table):
        way = self.rng.choice(('seqscan', 'indexscan', 'bitmapscan'))
        for w in ('seqscan', 'indexscan', 'bitmapscan', 'indexonlyscan'):
            self.c.exec('SET LOCAL enable_%s = %s' % (w, 'on' if w.startswith(way) else 'off'))
        return way, self.c.rows('SELECT id, n, k, pad FROM %s WHERE id > 0 ORDER BY id' % table)

    def act(self):
        rng = self.rng
        self.c.exec('BEGIN ISOLATION LEVEL ' + rng.choice(('READ COMMITTED', 'REPEATABLE READ', 'REPEATABLE READ', 'REPEATABLE READ')))
        # one statement, one snapshot
        apart = self.c.rows('SELECT * FROM (SELECT id, n, k, pad FROM hot) h FULL JOIN (SELECT id, n, k, pad FROM twin) t USING (id, n, k, pad) WHERE h IS NULL OR t IS NULL')
        check(not apart, 'the tables differ for a snapshot: %s' % apart)
        if self.c.one('SHOW transaction_isolation') == 'repeatable read':
            first, counted = self.rows('twin')[1], self.c.rows('SELECT id, n FROM counted ORDER BY id')
            end = time.time() + rng.choice((0, 0.1, 0.5, 1, 1, 4))
            while True:
                way, now = self.rows('hot')
                check(now == first, 'a snapshot saw %s, and now by %s %s' % (first, way, now))
                now = self.c.rows('SELECT id, n FROM counted ORDER BY id')
                check(now == counted, 'a snapshot saw %s, and now %s' % (counted, now))
                if time.time() > end:
                    break
                time.sleep(rng.random() * 0.2)
        self.c.exec('COMMIT')


def make_tables(c, rows, counted):
    c.exec('DROP TABLE IF EXISTS hot, twin, counted')
    for name, am in (('hot', AM), ('twin', 'heap')):
        c.exec("CREATE TABLE %s %s USING %s; CREATE INDEX ON %s (k); INSERT INTO %s SELECT i, 0, i, 'x' FROM generate_series(1, %d) i" % (
            name, COLUMNS, am, name, name, rows))
    c.exec("CREATE TABLE counted (id int PRIMARY KEY, n bigint, pad text) USING %s; INSERT INTO counted SELECT i, 0, repeat('x', 50) FROM generate_series(1, %d) i" % (AM, counted))


def write_script(server, name, text):
    path = '%s/%s.sql' % (server.dir, name)
    open(path, 'w').write(text)
    os.chmod(path, 0o644)
    return path


def audit(server, done):
    with server.connect() as c:
        check(c.one('SELECT sum(n) FROM counted') == str(done), 'counted: %s updates, and a sum of %s' % (done, c.one('SELECT sum(n) FROM counted')))
        for way in ('on', 'off'):
            c.exec('SET enable_seqscan = ' + way)
            hot, twin = (c.rows('SELECT * FROM %s WHERE id > 0 ORDER BY id' % t) for t in ('hot', 'twin'))
            check(hot == twin, 'the tables differ: %s and %s' % (hot, twin))
    server.verify('hot', 'counted')


def errors(server):
    """Of the log, but for deadlocks."""
    return [x for x in server.log_text().split('\n') if re.search(r' (ERROR|FATAL|PANIC): ', x) and 'deadlock detected' not in x and 'terminating' not in x]


def outputs(processes, seconds):
    """How many transactions each run of pgbench has made."""
    done = []
    for p in processes:
        out = p.communicate(timeout=seconds + 300)[0]
        check(p.returncode == 0, 'pgbench: ' + out[-3000:])
        done.append(int(re.search(r'actually processed: (\d+)', out).group(1)))
    return done


def count(server, options, clients, seconds, counted):
    """Without a snapshot that lasts, pages of the version store come and go most quickly."""
    return pgbench(server, '-c', clients, '-M', 'prepared', '-D', 'counted=%d' % counted, '-T', seconds,
                   '--random-seed', options.seed, '-f', write_script(server, 'count', COUNT))


def change_both(server, options, clients, seconds, rows):
    scripts = []
    for name, (weight, text) in SCRIPTS.items():
        scripts += ['-f', '%s@%d' % (write_script(server, name, text), weight)]
    return pgbench(server, '-c', clients, '-D', 'rows=%d' % rows, '--max-tries', 20, '-T', seconds, '--random-seed', options.seed, *scripts)


def round_(server, options, seconds, rows, number):
    counted, part = 10, max(1, round(seconds / 2))
    with server.connect() as c:
        make_tables(c, rows, counted)
    done = outputs([count(server, options, CLIENTS, part, counted)], part)[0]
    found = errors(server)
    check(not found, 'errors: %d, first: %s' % (len(found), found[:3]))

    lookers = actors.start([Looker] * LOOKING, server, options.seed * 100 + number, part)
    more, changed = outputs([count(server, options, COUNTING, part, counted),
                             change_both(server, options, CLIENTS - COUNTING, part, rows)], part)
    actors.finish(lookers)
    found = errors(server)
    check(not found, 'errors: %d, first: %s' % (len(found), found[:3]))
    audit(server, done + more)
    say('%d rows, %d clients, %d s: %d updates counted, %d transactions changed both tables, %d snapshots' % (
        rows, CLIENTS, seconds, done + more, changed, sum(x.done for x in lookers)))
    return done + more


def test(options):
    long_round = 60
    seconds = options.seconds or (1800 if options.long else 20)
    rounds = max(1, round(seconds / long_round))
    for number in range(rounds):
        rows = options.rows or (8, 1, 10, 2, 4)[number % 5]
        server = cluster.make('hot', conf=dict(CONF, **({'rowan.buffers': POOLS[number % len(POOLS)]} if ENGINE else {})))
        done = round_(server, options, seconds / rounds, rows, number)
        server.kill9()
        server.start()
        audit(server, done)
        server.stop()
        server.check_log()
        server.destroy()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seconds', type=float, help='how long altogether')
    parser.add_argument('--rows', type=int, help='rows of the two tables, instead of 1 to 10 in turn')
    harness.main(test, parser)
