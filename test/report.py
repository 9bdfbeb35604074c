#!/usr/bin/env python3
"""make report: the demo's data in heap tables and in Rowan tables, measured, as one page of HTML.

    report.py [--packages N] [--rounds N] [--out DIRECTORY] [--pictures DIRECTORY]

Writes report.html (sizes and speed as plots, pictures of the tree and of pages) and explorer.html
(page by page) into DIRECTORY (default build/report).  Each stands
for itself: nothing is loaded from
elsewhere.  --pictures: writes those that README.md shows.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib'))
import cluster
import demo
import explorer
import harness
import htmlpage
import plots
from harness import AM, TOP, check

SIDES = (('h', 'heap'), ('r', AM))
LOOKUPS = 20000
REPEATS = 5
MB = 1048576.0
IN_README = ('growth', 'speed', 'page', 'tree')

CONF = {'shared_buffers': '256MB', 'rowan.buffers': '256MB', 'max_wal_size': '4GB', 'jit': 'off',
        'max_parallel_workers_per_gather': '0', 'fsync': 'off', 'checkpoint_timeout': '1h',
        'full_page_writes': 'on'}

LOOKUP = """DO $$ DECLARE n int; BEGIN FOR i IN 1..%d LOOP
    SELECT votes INTO n FROM {s}.packages WHERE id = 1 + (i * 7919) %% {rows}; END LOOP; END $$"""
POINT_UPDATE = """DO $$ BEGIN FOR i IN 1..%d LOOP
    UPDATE {s}.packages SET votes = votes + 1 WHERE id = 1 + (i * 7919) %% {rows};
    END LOOP; END $$"""


class Report(htmlpage.Page):
    def __init__(self, c, rows):
        super().__init__()
        self.c, self.rows = c, rows

    def sides(self, measure):
        return [measure(s, am) for s, am in SIDES]

    def seconds(self, statement):
        """Of both sides."""
        return self.sides(lambda s, am: demo.timed(
            self.c, statement.format(s=s, rows=self.rows, major=harness.major())))


def wal_bytes(c, statement):
    c.exec('CHECKPOINT')
    start = c.one('SELECT pg_current_wal_insert_lsn()')
    c.exec(statement)
    return int(c.one("SELECT pg_current_wal_insert_lsn() - '%s'" % start))


def relation_mb(c, name):
    return int(c.one("SELECT pg_relation_size('%s')" % name)) / MB


def main_size(c, s):
    return relation_mb(c, s + '.packages')


# ---- what is measured ----

def load(report, directory):
    c = report.c
    copied, indexed = [], []
    for s, am in SIDES:
        c.exec(demo.TABLES.format(s=s, am=am))
        start = time.time()
        for t in ('packages', 'dependencies'):
            c.exec("COPY %s.%s FROM '%s/%s.csv' CSV" % (s, t, directory, t))
        copied.append(time.time() - start)
        start = time.time()
        for i in demo.INDEXES:
            c.exec(i.format(s=s))
        indexed.append(time.time() - start)
        c.exec('VACUUM ANALYZE %s.packages, %s.dependencies' % (s, s))
    c.exec('CREATE INDEX packages_name_rowan ON r.packages USING rowan_btree (name)')
    c.exec('CREATE INDEX dependencies_package_rowan ON r.dependencies USING rowan_btree (package)')
    report.section('Size', 'The tables hold the package index of the machine: %s packages, %s '
                   'relations between them. Indexes are btree beside <code>rowan_btree</code>.' % (
                       '{:,}'.format(report.rows),
                       c.one("SELECT to_char(count(*), 'FM999,999,999') FROM r.dependencies")))
    report.picture('size', plots.bars('Size after loading', 'Less is better.', 'MB', [
        ('packages', *report.sides(lambda s, am: main_size(c, s))),
        ('dependencies', *report.sides(lambda s, am: relation_mb(c, s + '.dependencies'))),
        ('index on packages (name)', relation_mb(c, 'h.packages_name'),
         relation_mb(c, 'r.packages_name_rowan')),
        ('index on dependencies (package)', relation_mb(c, 'h.dependencies_package'),
         relation_mb(c, 'r.dependencies_package_rowan')),
    ]), 'Tables without TOAST and indexes.')
    return copied, indexed


def median_ms(report, query):
    """Of both sides, taking turns."""
    taken = [[], []]
    for _ in range(REPEATS):
        for i, seconds in enumerate(report.seconds(query)):
            taken[i].append(1000 * seconds)
    return [sorted(t)[REPEATS // 2] for t in taken]


def speed(report, copied, indexed):
    c = report.c
    rows = [('COPY', *(1000 * x for x in copied)),
            ('four indexes', *(1000 * x for x in indexed)),
            ('read all of dependencies',
             *median_ms(report, 'SELECT sum(length(target)) FROM {s}.dependencies')),
            ('join and count', *median_ms(report, demo.QUERIES[0][1])),
            ('full text through GIN', *median_ms(report, demo.QUERIES[2][1])),
            ('%s lookups by key' % '{:,}'.format(LOOKUPS), *median_ms(report, LOOKUP % LOOKUPS)),
            ('%s updates by key' % '{:,}'.format(LOOKUPS), *median_ms(report,
            POINT_UPDATE % LOOKUPS))]
    c.exec('BEGIN')
    c.exec("UPDATE r.dependencies SET constraint_ = coalesce(constraint_, '') || '!'")
    rollback = demo.timed(c, 'ROLLBACK')
    report.section('Speed', 'One session, everything in memory, no waiting for the disk. Each row '
                   'has a scale of its own. An update of all dependencies was rolled back in %.1f '
                   'ms.'
                   % (1000 * rollback))
    report.picture('speed', plots.bars('Time taken', 'Less is better. Statements repeated: the '
                                       'median of %d.' % REPEATS, 'ms', rows),
                   'Other machines and other loads differ: <code>make bench</code>.')


def growth(report, rounds):
    c = report.c
    c.exec('VACUUM FULL h.packages, r.packages')
    sizes = [[main_size(c, s)] for s, _ in SIDES]
    taken = [[], []]
    for _ in range(rounds):
        for i, (s, _am) in enumerate(SIDES):
            taken[i].append(demo.timed(c, 'UPDATE %s.packages SET votes = votes + 1' % s))
            sizes[i].append(main_size(c, s))
    wal = report.sides(lambda s, am: wal_bytes(
        c, 'UPDATE %s.packages SET votes = votes + 1' % s) / MB)
    report.section('Updates', 'Every package is updated %d times, a column without an index; no '
                   'VACUUM runs. Rowan changes rows in place, and uses the space of older versions '
                   'again.' % rounds)
    report.picture('growth', plots.lines(
        'Size of the table while it is updated', 'packages, after so many updates of all rows.',
        'MB', ['new'] + [str(i + 1) for i in range(rounds)], sizes),
        'Autovacuum would let heap use the space of dead rows again, some time later.')
    report.picture('updates', plots.bars('An update of all packages', 'Less is better.', '', [
        ('seconds, median', *(sorted(t)[len(t) // 2] for t in taken)),
        ('MB of WAL after a checkpoint', *wal)]), 'WAL with full_page_writes on.')
    return sizes


def versions(report, server):
    c = report.c
    with server.connect() as old:
        old.exec("SET application_name = 'nightly report'; BEGIN ISOLATION LEVEL REPEATABLE READ; "
                 'SELECT count(*) FROM r.packages')
        for s, _ in 2 * SIDES:
            c.exec('UPDATE %s.packages SET votes = votes + 1' % s)
        columns = ('relation', 'pages', 'held_by', 'pid', 'name', 'holder_xid', 'age')
        rows = c.rows('SELECT %s FROM rowan.versions' % ', '.join(columns))
        picture = c.one("SELECT rowan.tree_svg('r.packages')")
        old.exec('COMMIT')
    check(any('nightly report' in r for r in rows), 'the holder is not shown: %s' % rows)
    report.section('Who keeps older versions', 'While a snapshot is open, the versions that it '
                   'sees are kept. <code>rowan.versions</code> says where, and for whom:')
    report.table(columns, rows)
    report.picture('tree', picture, 'The table meanwhile: <code>rowan.tree_svg</code>. Its version '
                   'pages are used again once the snapshot is gone.')


def inside(report):
    c = report.c
    report.section('Inside', 'Pages and trees, as the extension draws them. Point at something to '
                   'be told what it is; <a href="explorer.html">explorer.html</a> has more.')
    for s, _ in SIDES:
        c.exec('VACUUM FREEZE %s.dependencies' % s)
        c.exec('UPDATE %s.dependencies SET place = place + 1 WHERE id %% 5 = 0' % s)
        c.exec('DELETE FROM %s.dependencies WHERE id %% 11 = 0' % s)
    kinds = dict(c.rows(
        "SELECT DISTINCT ON (type) type, b FROM generate_series(1, (SELECT high_water - 1 "
        "FROM rowan.file_header('r.dependencies'))) b, rowan.page_header('r.dependencies', b) "
        "WHERE slots > 0 OR type = 'version' ORDER BY type, b"))
    report.picture('page', c.one("SELECT rowan.page_svg('r.dependencies', %s)" % kinds['leaf']),
                   'A leaf: <code>rowan.page_svg</code>.')
    report.picture('version_page', c.one("SELECT rowan.page_svg('r.dependencies', %s)"
                                         % kinds['version']),
                   'Older versions: what is different in them, one record each.')
    report.picture('index_tree', c.one("SELECT rowan.tree_svg('r.packages_name_rowan')"),
                   'The tree of an index.')
    report.picture('index_page', c.one("SELECT rowan.page_svg('r.packages_name_rowan', 2)"),
                   'A leaf of that index.')


def same(report):
    for t in ('packages', 'dependencies'):
        a, b = (report.c.rows(demo.FINGERPRINT.format(s=s, t=t)) for s, _ in SIDES)
        check(a == b, '%s: the two sides differ' % t)
        check(report.c.rows("SELECT * FROM rowan.verify('r.%s')" % t) == [], 'rowan.verify')


# ---- the page ----

def page(report, sizes):
    heap, rowan = (s[-1] / s[0] for s in sizes)
    facts = [('%s' % '{:,}'.format(report.rows), 'packages, each updated %d times'
              % (len(sizes[0]) - 1)),
             ('x %.1f' % heap, 'growth of the heap table'), ('x %.1f' % rowan,
             'growth of the Rowan table'),
             ('same', 'answers on both sides, every page verified')]
    return report.html('Rowan beside heap', htmlpage.about(report.c), facts)


def make(options):
    """Returns the paths of the pages."""
    directory = harness.new_dir('report')
    os.chmod(directory, 0o755)
    text = demo.dumpavail()
    if options.packages:
        text = '\n\n'.join(text.split('\n\n')[:options.packages])
    rows, _ = demo.write_files(directory, text)
    with demo.Progress('starting a server'):
        server = cluster.make('report-server', conf=CONF)
    with server.connect() as c:
        report = Report(c, rows)
        for what, step in (('loading', lambda: load(report, directory)),
                           ('measuring', lambda: speed(report, *loaded)),
                           ('updating', lambda: growth(report, options.rounds)),
                           ('looking inside', lambda: (versions(report, server), inside(report),
                                                       same(report)))):
            with demo.Progress(what):
                result = step()
            if what == 'loading':
                loaded = result
            elif what == 'updating':
                sizes = result
        pages = {'report.html': page(report, sizes), 'explorer.html': explorer.explorer(c,
                'r.packages')}
    server.stop()
    server.check_log()
    for name, content in pages.items():
        htmlpage.write(os.path.join(options.out, name), content)
    for name in IN_README if options.pictures else ():
        htmlpage.write('%s/%s.svg' % (options.pictures, name), report.pictures[name])
    return [os.path.join(options.out, name) for name in pages]


def arguments():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--packages', type=int, default=0, help='only so many')
    p.add_argument('--rounds', type=int, default=8, help='updates of all rows')
    p.add_argument('--out', default=TOP + '/build/report')
    p.add_argument('--pictures', help='directory for those of README.md')
    return p


if __name__ == '__main__':
    try:
        make(arguments().parse_args())
    except harness.Failure as e:
        sys.exit('report: %s' % e)
