#!/usr/bin/env python3
"""make demo: the machine's own Debian package index in Rowan tables, and in heap
tables beside them: loaded, queried, updated, rolled back, crashed, verified.

Exit status 0 only if every answer was the same on both sides and every check clean.
"""
import csv
import os
import re
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib'))
import cluster
import harness
import pq
from harness import AM, ENGINE, Failure, check, say

COLOUR = sys.stdout.isatty()
SIDES = (('h', 'heap'), ('r', AM))      # schema, access method
STEPS = 9


def bold(s):
    return '\033[1m%s\033[0m' % s if COLOUR else s


def dim(s):
    return '\033[2m%s\033[0m' % s if COLOUR else s


class Demo:
    def __init__(self):
        self.number, self.start, self.wrong = 0, time.time(), []

    def title(self, text):
        self.number += 1
        say('\n' + bold('%d/%d  %s' % (self.number, STEPS, text)) + dim('   (%.0f s)' % (time.time() - self.start)))

    def must(self, ok, text):
        say('     %s %s' % ('ok ' if ok else 'WRONG:', text))
        if not ok:
            self.wrong.append(text)


class Progress:
    """A line that says what is going on, with a clock on a terminal."""

    def __init__(self, text):
        self.text, self.start, self.done = text, time.time(), threading.Event()

    def __enter__(self):
        if COLOUR:
            self.thread = threading.Thread(target=self._tick, daemon=True)
            self.thread.start()
        else:
            print('     %s ...' % self.text, end='', flush=True)
        return self

    def _tick(self):
        while not self.done.wait(0.1):
            print('\r     %s ... %.1f s ' % (self.text, time.time() - self.start), end='', flush=True)

    def __exit__(self, *e):
        self.seconds = time.time() - self.start
        self.done.set()
        if COLOUR:
            self.thread.join()
            print('\r     %s ... %.1f s ' % (self.text, self.seconds))
        else:
            print(' %.1f s' % self.seconds)


# ---- the data ----

FIELDS = ['Package', 'Version', 'Architecture', 'Section', 'Priority', 'Maintainer', 'Homepage', 'Description']
KINDS = ['Depends', 'Pre-Depends', 'Recommends', 'Suggests', 'Conflicts', 'Breaks', 'Provides', 'Replaces']
RELATION = re.compile(r'\s*([^\s(:|,]+)(?::\S+)?\s*(?:\(([^)]*)\))?')


def dumpavail():
    """The package index; fetched first if the machine has none."""
    def read():
        return subprocess.run(['apt-cache', 'dumpavail'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, errors='replace').stdout
    text = read()
    if text.count('\nPackage: ') < 1000 and os.getuid() == 0:
        with Progress('apt-get update: this machine has no package index yet'):
            subprocess.run(['apt-get', 'update'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        text = read()
    check(text.count('\nPackage: ') >= 1000, 'apt-cache dumpavail lists no packages; run apt-get update')
    return text


def stanzas(text):
    for stanza in text.split('\n\n'):
        fields, key = {}, None
        for line in stanza.split('\n'):
            if line[:1] in (' ', '\t'):
                if key:
                    fields[key] += '\n' + line.strip()
            elif ': ' in line:
                key, value = line.split(': ', 1)
                fields[key] = value
            else:
                key = line.rstrip(':') or None
                if key:
                    fields[key] = ''
        if 'Package' in fields:
            yield fields


def write_files(directory, text):
    """packages.csv and dependencies.csv; their numbers of rows."""
    n = m = 0
    text = text.replace('\0', '')
    with open(directory + '/packages.csv', 'w', newline='') as p, \
            open(directory + '/dependencies.csv', 'w', newline='') as d:
        packages, dependencies = csv.writer(p), csv.writer(d)
        for f in stanzas(text):
            n += 1
            packages.writerow([n] + [f.get(x) for x in FIELDS] +
                              [f.get('Installed-Size'), f.get('Size'), 0])
            for kind in KINDS:
                for place, group in enumerate(f.get(kind, '').split(',')):
                    for alternative, one in enumerate(group.split('|')):
                        match = RELATION.match(one)
                        if match:
                            m += 1
                            dependencies.writerow([m, n, kind, place, alternative, match.group(1), match.group(2)])
    return n, m


TABLES = """
CREATE SCHEMA {s};
CREATE TABLE {s}.packages (id int PRIMARY KEY, name text NOT NULL, version text, architecture text,
    section text, priority text, maintainer text, homepage text, description text,
    installed_kb bigint, size_bytes bigint, votes int NOT NULL) USING {am};
CREATE TABLE {s}.dependencies (id int PRIMARY KEY, package int NOT NULL, kind text NOT NULL,
    place int, alternative int, target text NOT NULL, constraint_ text) USING {am};
"""
INDEXES = ["CREATE INDEX packages_name ON {s}.packages (name)",
           "CREATE INDEX packages_words ON {s}.packages USING gin (to_tsvector('english', description))",
           "CREATE INDEX dependencies_package ON {s}.dependencies (package)",
           "CREATE INDEX dependencies_target ON {s}.dependencies USING hash (target)"]

QUERIES = [
    ('The ten packages that most others depend on',
     """SELECT d.target, count(DISTINCT p.name) AS needed_by
        FROM {s}.dependencies d JOIN {s}.packages p ON p.id = d.package
        WHERE d.kind = 'Depends' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10"""),
    ('What the server package needs, one level: point lookups through indexes',
     """SELECT q.name, q.version, q.installed_kb FROM {s}.packages p
        JOIN {s}.dependencies d ON d.package = p.id AND d.kind = 'Depends'
        JOIN {s}.packages q ON q.name = d.target
        WHERE p.name = 'postgresql-{major}' ORDER BY 1, 2"""),
    ('Full text: packages that speak of storage engines, through GIN',
     """SELECT name, section FROM {s}.packages
        WHERE to_tsvector('english', description) @@ to_tsquery('english', 'storage & engine')
        ORDER BY 1, version, 2 LIMIT 10"""),
]


def timed(connection, sql):
    start = time.time()
    connection.exec(sql)
    return time.time() - start


def show_plans(plans):
    width = shutil.get_terminal_size((100, 24)).columns
    half = (width - 9) // 2
    if width >= 150:
        left, right = plans
        for i in range(max(len(left), len(right))):
            a = left[i] if i < len(left) else ''
            b = right[i] if i < len(right) else ''
            say('     ' + dim('%-*s | %s' % (half, a[:half], b[:half])))
        return
    for (_, am), plan in zip(SIDES, plans):
        say('     ' + am)
        for line in plan:
            say('       ' + dim(line[:width - 8]))


def mb(n):
    return '%.1f MB' % (int(n) / 1048576.0)


def table_bytes(c, schema):
    """Of the tables themselves, without indexes and TOAST."""
    return int(c.one("SELECT sum(pg_relation_size(c.oid)) FROM pg_class c WHERE relnamespace = '%s'::regnamespace "
                     "AND relkind = 'r'" % schema))


FINGERPRINT = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {s}.{t} t"


def same_content(demo, c, when):
    for t in ('packages', 'dependencies'):
        a, b = (c.rows(FINGERPRINT.format(s=s, t=t)) for s, _ in SIDES)
        demo.must(a == b, '%s: %s has the same %s rows on both sides' % (when, t, format(int(a[0][0]), ',')))


def verify(demo, server):
    if not ENGINE:
        return
    with server.connect() as c:
        for t in ('packages', 'dependencies'):
            complaints = c.rows("SELECT * FROM rowan.verify('r.%s')" % t)
            demo.must(not complaints, "rowan.verify('r.%s') has nothing to complain about %s"
                      % (t, ('' if not complaints else complaints[:3])))


# ---- the steps ----

def step_data(demo):
    demo.title('Reading the Debian package index of this machine')
    directory = harness.new_dir('demo')
    os.chmod(directory, 0o755)
    text = dumpavail()
    with Progress('parsing %.0f MB of apt-cache dumpavail' % (len(text) / 1e6)):
        n, m = write_files(directory, text)
    say('     %s packages, %s relations between them' % (format(n, ','), format(m, ',')))
    return directory


def step_load(demo, c, directory):
    demo.title('Loading them with COPY, and building btree, hash and GIN indexes')
    for s, am in SIDES:
        c.exec(TABLES.format(s=s, am=am))
        with Progress('%-6s COPY with primary keys' % am):
            for t in ('packages', 'dependencies'):
                c.exec("COPY %s.%s FROM '%s/%s.csv' CSV" % (s, t, directory, t))
        with Progress('%-6s four indexes' % am):
            for i in INDEXES:
                c.exec(i.format(s=s))
    for s, am in SIDES:
        say('     %-6s %10s of tables' % (am, mb(table_bytes(c, s))))
    c.try_('ANALYZE h.packages, h.dependencies')
    c.try_('ANALYZE r.packages, r.dependencies')
    same_content(demo, c, 'loaded')


def step_queries(demo, c):
    demo.title('The same questions to both; EXPLAIN (ANALYZE, BUFFERS)')
    for what, query in QUERIES:
        say('\n     ' + bold(what))
        answers, plans = [], []
        for s, _ in SIDES:
            answers.append(c.rows(query.format(s=s, major=harness.major())))
            plans.append([r[0] for r in c.rows('EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) ' +
                                               query.format(s=s, major=harness.major()))])
        for row in answers[0][:3]:
            say('       ' + ' | '.join(str(x) for x in row))
        if len(answers[0]) > 3:
            say('       ... %d rows' % len(answers[0]))
        show_plans(plans)
        demo.must(answers[0] == answers[1], 'both give the same answer')


def step_update(demo, c):
    demo.title('Updating every package five times: a column without an index, so Rowan does it in place')
    before = {s: table_bytes(c, s) for s, _ in SIDES}
    for s, am in SIDES:
        with Progress('%-6s 5 x UPDATE packages SET votes = votes + 1' % am):
            for _ in range(5):
                c.exec('UPDATE %s.packages SET votes = votes + 1' % s)
    for s, am in SIDES:
        after = table_bytes(c, s)
        say('     %-6s %10s before, %10s after: %+.0f %%   (no VACUUM ran)' %
            (am, mb(before[s]), mb(after), 100.0 * (after - before[s]) / before[s]))
        if am == 'rowan':
            demo.must(after <= before[s] * 1.5, 'the Rowan tables have not bloated')
    same_content(demo, c, 'updated')


def step_rollback(demo, c):
    demo.title('A large update that is rolled back: nothing to undo, so it is instant')
    for s, am in SIDES:
        c.exec('BEGIN')
        with Progress("%-6s UPDATE of %s rows' text" % (am, format(int(c.one('SELECT count(*) FROM %s.dependencies' % s)), ','))):
            c.exec("UPDATE %s.dependencies SET constraint_ = coalesce(constraint_, '') || '!'" % s)
        seconds = timed(c, 'ROLLBACK')
        say('     %-6s ROLLBACK took %.2f ms' % (am, 1000 * seconds))
        if am == 'rowan':
            demo.must(seconds < 0.5, 'rollback in constant time')
    same_content(demo, c, 'rolled back')


def step_snapshot(demo, server, c):
    demo.title('An old snapshot keeps its answer while others change everything')
    with server.connect() as old:
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        ask = 'SELECT sum(votes), sum(size_bytes) FROM r.packages'
        first = old.rows(ask)
        for s, _ in SIDES:
            c.exec('UPDATE %s.packages SET votes = votes + id %% 7' % s)
            c.exec('DELETE FROM %s.packages WHERE id %% 50 = 0' % s)
        demo.must(old.rows(ask) == first, 'the snapshot still sees what it saw: %s votes' % first[0][0])
        demo.must(c.rows(ask) != first, 'everybody else sees the new state')
        old.exec('COMMIT')
    same_content(demo, c, 'afterwards')


def step_verify(demo, server):
    demo.title('Checking every page, checksum, link and version of the Rowan tables')
    verify(demo, server)


def step_crash(demo, server, c):
    demo.title('kill -9 of the whole server in the middle of an update')
    with server.connect() as busy:
        for s, _ in SIDES:
            c.exec('UPDATE %s.packages SET votes = votes + 1' % s)       # committed, not checkpointed
        busy.exec('BEGIN')
        busy.exec("UPDATE r.dependencies SET target = upper(target) WHERE id % 3 = 0")
        busy.send('UPDATE r.packages SET votes = -1')
        time.sleep(0.3)
        server.kill9()
    say('     killed; all processes are gone')
    with Progress('restart and crash recovery'):
        server.start()
    with server.connect() as c:
        same_content(demo, c, 'recovered')
        demo.must(c.one('SELECT count(*) FROM r.packages WHERE votes < 0') == '0',
                  'nothing of the unfinished update is visible')


def step_end(demo, server):
    demo.title('Checking once more, and a clean stop')
    verify(demo, server)
    server.check_log()
    server.stop()
    demo.must(True, 'server stopped')


def demo_run(demo):
    directory = step_data(demo)
    with Progress('building Rowan, starting a server of our own (unix socket only, temporary directory)'):
        server = cluster.make('demo-server', conf={
            'shared_buffers': '256MB', 'rowan.buffers': '256MB', 'max_wal_size': '1GB', 'jit': 'off',
            'max_parallel_workers_per_gather': '0', 'fsync': 'off'})
    c = server.connect()
    say('     ' + c.one('SELECT version()').split(' on ')[0])
    step_load(demo, c, directory)
    step_queries(demo, c)
    step_update(demo, c)
    step_rollback(demo, c)
    step_snapshot(demo, server, c)
    step_verify(demo, server)
    step_crash(demo, server, c)
    step_end(demo, server)


def main():
    demo = Demo()
    say(bold('Rowan: a storage engine for stock PostgreSQL. A tour on real data, beside heap.'))
    try:
        demo_run(demo)
    except (Failure, pq.Error) as e:
        say('')
        demo.must(False, str(e))
        for s in cluster.clusters:
            s.show_log_tail()
    took = time.time() - demo.start
    if demo.wrong:
        say('\n' + bold('%d thing%s went WRONG (%.0f s).' % (len(demo.wrong), 's' * (len(demo.wrong) > 1), took)))
        return 1
    say('\n' + bold('Everything agreed (%.0f s).' % took) + ' Next: make test, README.md.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
