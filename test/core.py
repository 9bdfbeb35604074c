#!/usr/bin/env python3
"""PostgreSQL's own suites with the engine as the default access method: regress, isolation,
contrib, and test_decoding's.

--suite indexes: regress on heap tables, every default index made by rowan_btree.  A copy of the suite is rewritten: CREATE INDEX without
USING, or USING btree, becomes USING rowan_btree; in the results it is called btree again.

The sources are Debian's; test/core/get-postgres.sh fetches them once and builds a cassert server in
ROWAN_TEST_POSTGRES-MAJOR (default /var/tmp/rowan-postgres-15; 5 minutes).  Results go through a filter
that masks what no user can rely on (test/core/classify.py); what differs still must be listed in
test/core/exceptions.tsv.
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'lib'))
import cluster
import harness
import rewrite
from harness import AM, as_user, own, say

CORE = os.path.join(HERE, 'core')
SUITES = ('regress', 'isolation', 'contrib', 'decoding')
INDEXES = 'indexes'

# Modules whose suites store data.
CONTRIB = ('citext hstore ltree pg_trgm btree_gin btree_gist bloom intarray seg cube tablefunc unaccent dblink '
           'postgres_fdw pgcrypto lo earthdistance isn').split()

# As pg_regress's temporary instance has it; and what it sets for its database.
CONF = {'log_line_prefix': '%m %b[%p] %q%a ', 'log_connections': 'on', 'max_prepared_transactions': '2',
        'autovacuum': 'on', 'shared_buffers': '128MB', 'max_connections': '100', 'max_worker_processes': '8',
        'max_wal_size': '1GB', 'timezone': 'GMT'}
DATABASE = ["lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'", "bytea_output TO 'hex'",
            "timezone_abbreviations TO 'Default'"]
CLIENT_TIMEOUT_S = 1800


def source(*path):
    return os.path.join(harness.cassert_directory(harness.major()), 'source', *path)


def exceptions():
    """(suite, test) -> reason, of those for this major version"""
    found = {}
    with open(os.path.join(CORE, 'exceptions.tsv')) as f:
        for line in f:
            if line.strip() and not line.startswith('#'):
                suite, test, majors, reason = line.rstrip('\n').split('\t')
                if harness.applies(majors):
                    found[suite, test] = reason
    return found


def schedule(path, only):
    """The lists of tests that run together, and the tests whose failure does not count."""
    groups, ignored = [], set()
    with open(path) as f:
        for line in f:
            kind, _, names = line.strip().partition(':')
            if kind == 'test':
                groups.append([n for n in names.split() if not only or n in only])
            elif kind == 'ignore':
                ignored.update(names.split())
    return [g for g in groups if g], ignored


class Suite:
    """One server, one database, one directory of results."""

    def __init__(self, name, directory, database, conf, table_am=AM, plain=None):
        """plain: what to make of texts, expected ones and results, before they are compared."""
        self.name, self.input, self.database, self.table_am, self.plain = name, directory, database, table_am, plain
        self.server = cluster.Cluster('core', variant='pages', conf=dict(CONF, **conf))
        self.server.start()
        if AM == 'rowan':
            self.server.sql('CREATE EXTENSION rowan', db='template1')
        self.rows = []

    def make_database(self):
        s = self.server
        s.sql('DROP DATABASE IF EXISTS ' + self.database)
        s.sql('CREATE DATABASE %s TEMPLATE template1' % self.database)
        for setting in DATABASE + ["default_table_access_method TO '%s'" % self.table_am]:
            s.sql('ALTER DATABASE %s SET %s' % (self.database, setting))

    def extension_objects(self, path):
        """For the filter: names that catalog listings have because of the extension."""
        c = self.server.connect(self.database)
        rows = c.rows(
            "SELECT DISTINCT o.type, o.name, o.identity FROM pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) o "
            "WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' "
            "AND d.refobjid IN (SELECT oid FROM pg_extension WHERE extname <> 'plpgsql')")
        c.close()
        with open(path, 'w') as f:
            f.writelines('|'.join(v or '' for v in row) + '\n' for row in rows)

    def run(self, label, kind, directory, groups, ignored, arguments=()):
        """Runs tests of one directory (sql/ or specs/, and expected/); adds their rows."""
        out = os.path.join(self.server.dir, 'out.' + label)
        os.makedirs(out)
        own(out)
        with open(out + '/schedule', 'w') as f:
            f.writelines('ignore: %s\n' % t for t in sorted(ignored))
            f.writelines('test: %s\n' % ' '.join(g) for g in groups)
        with open(out + '/tests', 'w') as f:
            f.writelines('%s\t%s\n' % (t, 'ignored' if t in ignored else '') for g in groups for t in g)
        self.extension_objects(out + '/extension-objects')
        libdir = os.path.dirname(os.path.dirname(harness.pg_config('--pgxs'))) + '/../src/test/' + kind
        driver = os.path.join(os.path.realpath(libdir), {'regress': 'pg_regress', 'isolation': 'pg_isolation_regress'}[kind])
        command = [driver, '--inputdir=' + directory, '--outputdir=' + out, '--bindir=' + self.server.bindir,
                   '--host=' + self.server.dir, '--port=5432', '--user=postgres', '--dbname=' + self.database,
                   '--use-existing', '--launcher=' + CORE + '/launch.sh', '--schedule=' + out + '/schedule'] + list(arguments)
        environment = self.server.environment({'PATH': self.server.bindir + ':/usr/bin:/bin'})
        with open(out + '/driver.log', 'w') as log:
            subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=directory, env=environment,
                           timeout=CLIENT_TIMEOUT_S, **as_user())
        results = out + '/results'
        if self.plain:
            directory, results = converted(directory, results, out + '/plain', self.plain)
        kept = os.path.join(harness.TOP, 'build', 'core', label)
        shutil.rmtree(kept, ignore_errors=True)
        os.makedirs(kept + '/diffs')
        subprocess.run([sys.executable, CORE + '/classify.py', '--suite', kind, '--in', directory, '--results', results,
                        '--tests', out + '/tests', '--am', AM, '--extobjs', out + '/extension-objects', '--log', self.server.log,
                        '--out', kept, '--header', label], stdout=subprocess.DEVNULL)
        shutil.copytree(out + '/results', kept + '/results')
        with open(kept + '/tests.tsv', errors='surrogateescape') as f:
            for line in f.read().split('\n')[1:]:
                fields = line.split('\t')
                if len(fields) > 1:
                    name = fields[0] if self.name == label else label + '/' + fields[0]
                    self.rows.append((self.name, name, fields[1], fields[-1]))

    def finish(self):
        for kind in ('TRAP:', 'PANIC:'):
            for line in self.server.log_text().split('\n'):
                if kind in line:
                    self.rows.append((self.name, 'server log', 'crash', line[:200]))
        if AM == 'rowan':
            self.server.restart()
            self.server.verify(db=self.database)
        self.server.destroy()
        return self.rows


def convert(source, target, change):
    with open(source, errors='surrogateescape') as f:
        text = f.read()
    with open(target, 'w', errors='surrogateescape') as f:
        f.write(change(text))


def converted(directory, results, target, change):
    """Copies of scripts, expected output and results."""
    for part, files in (('sql', directory + '/sql/*.sql'), ('expected', directory + '/expected/*.out'), ('results', results + '/*.out')):
        os.makedirs('%s/%s' % (target, part))
        for path in glob.glob(files):
            convert(path, '%s/%s/%s' % (target, part, os.path.basename(path)), change)
    return target, target + '/results'


def with_our_indexes(directory):
    """A copy of the suite whose default indexes are rowan_btree's."""
    target = os.path.join(harness.new_dir('indexes'), 'regress')
    shutil.copytree(directory, target)
    count = 0
    for path in glob.glob(target + '/sql/*.sql') + glob.glob(target + '/expected/*.out'):
        name = re.sub(r'_\d$', '', os.path.basename(path)[:-4])

        def change(text):
            nonlocal count
            after = rewrite.regress_script(text, name)
            if path.endswith('.sql'):
                count += after.count(rewrite.METHOD) - text.count(rewrite.METHOD)
            return after
        convert(path, path, change)
    say('%d indexes made by %s instead of btree' % (count, rewrite.METHOD))
    own(os.path.dirname(target))
    return target


def regress_library(directory):
    """regress.so and the modules of contrib/spi that the suite loads, for this server."""
    include = harness.pg_config('--includedir-server')
    for name in ('src/test/regress/regress.c', 'contrib/spi/autoinc.c', 'contrib/spi/refint.c'):
        harness.run(['gcc', '-O2', '-fPIC', '-fno-strict-aliasing', '-fwrapv', '-shared', '-DREFINT_VERBOSE', '-I' + include,
                     '-I' + source('src/test/regress'), '-o',
                     os.path.join(directory, os.path.basename(name)[:-2] + '.so'), source(name)])
    return '--dlpath=' + directory


def run_core_suite(name, only, conf):
    kind = 'regress' if name == INDEXES else name
    directory = source('src/test', kind)
    database = {'regress': 'regression', 'isolation': 'isolation_regression'}[kind]
    if name == INDEXES:
        directory = with_our_indexes(directory)
        suite = Suite(name, directory, database, conf, 'heap', rewrite.plain)
    else:
        suite = Suite(name, directory, database, conf)
    suite.make_database()
    arguments = []
    if kind == 'regress':
        arguments = [regress_library(harness.new_dir('lib')), '--max-concurrent-tests=20']
    groups, ignored = schedule(os.path.join(directory, {'regress': 'parallel_schedule', 'isolation': 'isolation_schedule'}[kind]),
                               only)
    suite.run(name, kind, directory, groups, ignored, arguments)
    return suite.finish()


def module_tests(module, variable='REGRESS'):
    """What a module's Makefile lists there."""
    with open(source('contrib', module, 'Makefile')) as f:
        text = f.read().replace('\\\n', ' ')
    for line in text.split('\n'):
        if line.startswith(variable + ' ='):
            names = line.split('=', 1)[1].replace('$(CF_PGP_TESTS)', 'pgp-compression' if
                                                  os.path.exists(source('contrib', module, 'sql/pgp-compression.sql')) else '')
            return [[name] for name in names.split()]
    return []


def run_contrib(only, conf):
    suite = Suite('contrib', None, 'contrib_regression', conf)
    library = regress_library(harness.new_dir('lib'))
    for module in CONTRIB:
        if only and module not in only:
            continue
        suite.make_database()
        suite.run(module, 'regress', source('contrib', module), module_tests(module), (), [library])
    if not only or 'postgres_fdw' in only:
        suite.make_database()
        suite.server.sql('CREATE EXTENSION postgres_fdw', db=suite.database)
        suite.run('postgres_fdw-isolation', 'isolation', source('contrib/postgres_fdw'), [['eval_plan_qual']], ())
    return suite.finish()


def with_heap_catalogs(directory):
    """A copy of the suite whose tables that decoding is to look into are heap tables: the engine's
    are refused."""
    target = os.path.join(harness.new_dir('decoding'), 'test_decoding')
    shutil.copytree(directory, target)
    for files in ('sql/*.sql', 'specs/*.spec', 'expected/*.out'):
        for path in glob.glob(os.path.join(target, files)):
            convert(path, path, lambda text: re.sub(r'(\)\s*)(WITH \(user_catalog_table)',
                                                    r'\1USING heap \2', text))
    own(os.path.dirname(target))
    return target


def run_decoding(only, conf):
    """Logical decoding: the server is set up as the module's logical.conf has it."""
    suite = Suite('decoding', None, 'contrib_regression', dict(
        {'wal_level': 'logical', 'max_replication_slots': '4',
         'logical_decoding_work_mem': '64kB', 'autovacuum_naptime': '1d'}, **conf))
    directory = with_heap_catalogs(source('contrib/test_decoding'))
    for label, kind, variable in (('test_decoding', 'regress', 'REGRESS'),
                                  ('test_decoding-isolation', 'isolation', 'ISOLATION')):
        suite.make_database()
        groups = module_tests('test_decoding', variable)
        suite.run(label, kind, directory, [g for g in groups if not only or g[0] in only], ())
    return suite.finish()


def report(rows, only):
    """Prints what differs; the number of differences that are not listed."""
    listed = exceptions()
    bad = 0
    for suite in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == suite]
        same = [row for row in mine if row[2] in ('same', 'explained')]
        say('%-10s %d of %d the same' % (suite, len(same), len(mine)))
        for _, test, status, note in mine:
            reason = listed.get((suite, test))
            if status in ('same', 'explained'):
                if reason:
                    say('  %-30s is listed as an exception, but the same' % test)
            elif status == 'different' and reason:
                say('  %-30s differs, listed: %s' % (test, reason))
            else:
                bad += 1
                say('  %-30s %s  %s' % (test, status.upper(), note))
    say('%d differences that are not listed; details in build/core' % bad)
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--suite', choices=SUITES + (INDEXES,), action='append')
    parser.add_argument('--only', default='', help='only these tests (modules, for contrib)')
    parser.add_argument('--conf', action='append', default=[], metavar='NAME=VALUE', help='a server setting')
    parser.add_argument('--bindir', help='binaries of another server of that major version')
    harness.major_option(parser)
    options = parser.parse_args()
    harness.reexec_on_cassert(options)
    conf = dict(c.split('=', 1) for c in options.conf)
    only = set(options.only.split())
    rows = []
    for name in options.suite or SUITES:
        start = time.time()
        runner = {'contrib': run_contrib, 'decoding': run_decoding}.get(name)
        rows += runner(only, conf) if runner else run_core_suite(name, only, conf)
        say('== %s: %d s' % (name, time.time() - start))
    return 1 if report(rows, only) else 0


sys.exit(main())
