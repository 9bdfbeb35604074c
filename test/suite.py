#!/usr/bin/env python3
"""The regression and isolation suites of an extension, with Rowan as the default and on heap.

    suite.py DIR [--preload NAME] [--create NAME,...] [--create-isolation NAME,...] [--again REGEX]
                 [--set NAME=VALUE ...]

DIR: sources that build with PGXS.  They are copied, built for the server under test and installed
into the private copies of it that our tests use; REGRESS and ISOLATION are asked of the Makefile.
With default_table_access_method = rowan each test has to say what it says on heap, but for the
notice that the extension's own tables are heap tables; whether heap says what the expected file
does is reported.  Afterwards rowan.verify looks at everything that the tests have left.

    --preload       also in shared_preload_libraries
    --create        extensions that the databases have before the tests
    --again         a test that is not as expected and says this is run again, at most ten times:
                    for suites that have races of their own
"""
import argparse
import difflib
import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib'))
import cluster
import harness
from harness import AM, as_user, say

# what pg_regress itself sets in a database that it makes
DATABASE = ["lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'",
            "bytea_output TO 'hex'",
            "timezone_abbreviations TO 'Default'"]
ENVIRONMENT = dict(PGTZ='PST8PDT', PGDATESTYLE='Postgres, MDY')
NOTICE = ('use access method "heap" instead of', "may treat the extension's tables as heap tables",
          'use ALTER TABLE ... SET ACCESS METHOD')
DRIVERS = {'regress': 'regress/pg_regress', 'isolation': 'isolation/pg_isolation_regress'}
FILES = {'regress': 'sql/%s.sql', 'isolation': 'specs/%s.spec'}


class Suite:
    def __init__(self, options):
        self.options = options
        self.dir = harness.new_dir('suite')
        shutil.copytree(options.dir, self.dir, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns('*.o', '*.so', '*.bc', 'results'))
        self.make('all')
        self.tests = {'regress': self.variable('REGRESS'), 'isolation': self.variable('ISOLATION')}
        self.preload = options.preload.split(',') if options.preload else []

    def make(self, *arguments):
        return harness.run(['make', '-s', 'PG_CONFIG=' + os.path.join(harness.BINDIR, 'pg_config'),
                            'with_llvm=no', *arguments],
                           what='make in ' + self.options.dir, cwd=self.dir)

    def variable(self, name):
        return self.make('--eval', 'ask:; @echo $(%s)' % name, 'ask').split()

    def server(self, am):
        preload = ([] if am == 'heap' else ['rowan']) + self.preload
        conf = dict([x.split('=', 1) for x in self.options.set], default_table_access_method=am,
                    autovacuum='on', max_connections='100')
        server = cluster.Cluster('suite_' + am, conf=conf, preload=','.join(preload),
                                 extension=am != 'heap')
        self.make('install', 'DESTDIR=' + server.bindir[:-len(os.path.realpath(harness.BINDIR))])
        return server.start()

    def database(self, server, kind):
        server.sql('CREATE DATABASE suite_%s TEMPLATE template0' % kind)
        for setting in DATABASE:
            server.sql('ALTER DATABASE suite_%s SET %s' % (kind, setting))
        server.create_extension('suite_' + kind)
        create = kind == 'isolation' and self.options.create_isolation or self.options.create
        for extension in create.split(',') if create else []:
            server.sql('CREATE EXTENSION ' + extension, 'suite_' + kind)

    def run(self, server, kind, tests):
        """Each test's output."""
        work = harness.new_dir('work')
        for d in ('sql', 'specs', 'expected', 'data', 'input', 'output'):
            if os.path.isdir('%s/%s' % (self.dir, d)):
                shutil.copytree('%s/%s' % (self.dir, d), '%s/%s' % (work, d))
        os.makedirs(work + '/expected', exist_ok=True)
        for t in tests:
            open('%s/expected/%s.out' % (work, t), 'a').close()
        for path, _, files in os.walk(work):
            for f in [''] + files:
                harness.own(os.path.join(path, f))
        driver = os.path.join(os.path.realpath(harness.pg_config('--pkglibdir')), 'pgxs/src/test',
                              DRIVERS[kind])
        subprocess.run([driver, '--inputdir=' + work, '--outputdir=' + work,
                        '--bindir=' + server.bindir, '--host=' + server.dir,
                        '--port=5432', '--user=postgres', '--dbname=suite_' + kind,
                        '--use-existing', *tests],
                       stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=work, timeout=3600,
                       env=server.environment(dict(ENVIRONMENT,
                                                   PATH=server.bindir + ':/usr/bin:/bin')),
                       **as_user())
        return {t: text('%s/results/%s.out' % (work, t)) for t in tests}

    def results(self, am):
        server, results = self.server(am), {}
        for kind, tests in self.tests.items():
            if not tests:
                continue
            self.database(server, kind)
            results.update(self.run(server, kind, tests))
            for t in tests:
                for _ in range(10):
                    if not self.is_again_wanted(t, results[t]):
                        break
                    say('%s: %s has "%s"; once more' % (am, t, self.options.again))
                    results.update(self.run(server, kind, [t]))
            if am != 'heap':
                server.verify(db='suite_' + kind)
        server.stop()
        server.check_log()
        return results

    def is_again_wanted(self, test, result):
        return self.options.again and result not in self.expected(test) and \
            re.search(self.options.again, result or '')

    def expected(self, test):
        return [text(f) for f in glob.glob('%s/expected/%s.out' %
                                           (self.dir,
                                            test)) + glob.glob('%s/expected/%s_[0-9].out' %
                                                               (self.dir, test))]


def text(path):
    return open(path, errors='replace').read() if os.path.exists(path) else None


def difference(heap, other):
    """Without the notice's lines."""
    lines = [x for x in (other or '').split('\n') if not any(n in x for n in NOTICE)]
    return list(difflib.unified_diff((heap or '').split('\n'), lines, 'heap', AM, lineterm='', n=3))


def test(options):
    suite = Suite(options)
    heap, ours = suite.results('heap'), suite.results(AM)
    bad = 0
    for t in heap:
        expected, lines = suite.expected(t), difference(heap[t], ours[t])
        as_expected = 'as expected' if heap[t] in expected else 'not as expected'
        if not expected:
            as_expected = 'nothing is expected'
        failed = heap[t] is None or ours[t] is None or bool(lines)
        bad += failed
        say('%s %-32s heap: %s; %s' % ('FAILED' if failed else 'ok    ', t, as_expected,
                                       AM + (' differs' if failed else ' the same')))
        if lines:
            say('\n'.join('    ' + x for x in lines[:200]))
    say('%d tests' % len(heap))
    if not heap or bad:
        raise harness.Failure('%d of %d tests differ' % (bad, len(heap)))


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('dir')
    parser.add_argument('--preload')
    parser.add_argument('--create')
    parser.add_argument('--create-isolation')
    parser.add_argument('--again')
    parser.add_argument('--set', action='append', default=[])
    harness.main(test, parser)
