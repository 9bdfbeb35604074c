#!/usr/bin/env python3
"""PostgreSQL's own TAP suites (recovery, subscription, tools that read or copy a cluster) with the engine as the default access method.

They run from PostgreSQL's source on the cassert server that test/core/get-postgres.sh makes, Rowan installed into a private copy of it. A
file that fails must fail on heap, too, or be listed in test/core/tap-exceptions.tsv. Their output is in build/tap.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'lib'))
import harness
from harness import AM, as_user, check, env, own, say

CORE = os.path.join(HERE, 'core')
SUITES = {'recovery': 'src/test/recovery', 'subscription': 'src/test/subscription', 'pg_rewind': 'src/bin/pg_rewind',
          'pg_checksums': 'src/bin/pg_checksums', 'pg_basebackup': 'src/bin/pg_basebackup', 'pg_verifybackup': 'src/bin/pg_verifybackup',
          'pg_ctl': 'src/bin/pg_ctl', 'commit_ts': 'src/test/modules/commit_ts', 'bloom': 'contrib/bloom'}
ALWAYS = ('recovery', 'subscription', 'pg_rewind', 'pg_checksums', 'pg_basebackup', 'pg_verifybackup')
FILE_TIMEOUT_S = 1200


def source(*path):
    return os.path.join(harness.cassert_directory(harness.major()), 'source', *path)


def has_injection_points():
    return os.path.exists(harness.pg_config('--sharedir') +
                          '/extension/injection_points.control')


def exceptions():
    """(suite, file) -> (numbers of the tests that may fail, or None: all of them, reason).  Any may be missing: it may end early."""
    found = {}
    with open(os.path.join(CORE, 'tap-exceptions.tsv')) as f:
        for line in f:
            if line.strip() and not line.startswith('#'):
                suite, name, majors, tests, reason = line.rstrip('\n').split('\t')
                if harness.applies(majors):
                    found[suite, name] = (None if tests == '*' else set(tests.replace('-', '').split(',')), reason)
    return found


# What core's Cluster.pm writes into postgresql.conf, and what it is to write.
MINIMAL = ('wal_level = minimal\\n', 'wal_level = replica\\n')


# Where it writes what a test adds to that: a test's libraries must not replace the engine's.
APPEND = 'my ($self, $filename, $str) = @_;\n'
PRELOADS = ("""\t$str =~ s/^(shared_preload_libraries = ')/$1$ENV{ROWAN_TAP_PRELOAD},/mg
\t  or $str =~ s/^(shared_preload_libraries = )(\\w+)/$1'$ENV{ROWAN_TAP_PRELOAD},$2'/mg
\t  if $ENV{ROWAN_TAP_PRELOAD};
""")


def perl_library(directory):
    """Core's modules.  A cluster that is to have no replication gets wal_level = minimal there, which the engine refuses."""
    target = os.path.join(directory, 'perl')
    shutil.copytree(source('src/test/perl'), target)
    path = os.path.join(target, 'PostgreSQL/Test/Cluster.pm')
    with open(path) as f:
        text = f.read()
    old, new = MINIMAL
    check(old in text, 'Cluster.pm is not as expected')
    check(text.count(APPEND) >= 1, 'Cluster.pm is not as expected')
    text = text.replace(old, new).replace(APPEND, APPEND + PRELOADS)
    with open(path, 'w') as f:
        f.write(text)
    return target


class Runner:
    def __init__(self, am):
        self.am = am
        self.dir = harness.new_dir('tap-' + am)
        self.perl = perl_library(self.dir)
        self.bin = harness.prefix_bindir('pages')
        headers = harness.pg_config('--includedir')     # tests look into pg_config.h
        harness.link_tree(headers, self.bin[:-len(os.path.realpath(harness.BINDIR))] + headers)
        os.chmod(self.dir, 0o755)
        self.preload = am if am != 'heap' else ''
        if self.preload:
            with open(self.dir + '/conf', 'w') as f:
                f.write("shared_preload_libraries = '%s'\ndefault_table_access_method = '%s'\nrowan.buffers = 8MB\n" % (am, am))
        self.logs = os.path.join(harness.TOP, 'build', 'tap', am)

    def environment(self, suite, out):
        e = {k: v for k, v in os.environ.items() if not k.startswith(('PG', 'LC_', 'LANG'))}
        e.update(PATH=':'.join([CORE + '/bin', self.bin, source(SUITES[suite]), '/usr/bin', '/bin']), LC_ALL='C.UTF-8', HOME=out, TESTDIR=out,
                 TESTDATADIR=out + '/tmp_check', TESTLOGDIR=out + '/tmp_check/log',
                 enable_injection_points='yes' if has_injection_points() else 'no',
                 ROWAN_TAP_BIN=self.bin, ROWAN_TAP_PRELOAD=self.preload, PERL5LIB=self.perl, PG_TEST_TIMEOUT_DEFAULT='180',
                 PG_REGRESS=source('src/test/regress/pg_regress'), REGRESS_SHLIB=source('src/test/regress/regress.so'),
                 top_builddir=self.dir, with_icu='no', with_ssl='openssl', with_lz4='yes', with_zstd='yes', with_gssapi='no', with_ldap='no',
                 with_readline='no', TAR='tar', LZ4=shutil.which('lz4') or '', ZSTD=shutil.which('zstd') or '', GZIP_PROGRAM=shutil.which('gzip'))
        if self.preload:
            e.update(TEMP_CONFIG=self.dir + '/conf', EXTRA_REGRESS_OPTS='--load-extension=' + self.preload)
        return e

    def run(self, suite, name):
        """Passed?, how many tests passed, numbers of those that failed, seconds."""
        out = harness.new_dir('tap')
        start = time.time()
        log = out + '/prove.log'
        with open(log, 'w') as f:
            p = subprocess.Popen(['prove', '-v', '-I', self.perl, '-I', '.', 't/' + name], cwd=source(SUITES[suite]), stdout=f, stderr=subprocess.STDOUT,
                                 stdin=subprocess.DEVNULL, env=self.environment(suite, out), start_new_session=True, **as_user())
            try:
                p.wait(FILE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGTERM)        # Perl's END blocks stop the servers
                p.wait()
        with open(log, errors='replace') as f:
            text = f.read()
        kept = os.path.join(self.logs, suite, name[:-3])
        shutil.rmtree(kept, ignore_errors=True)
        os.makedirs(kept)
        shutil.copy(log, kept)
        if p.returncode:
            for path in glob.glob(out + '/tmp_check/log/*') + glob.glob(out + '/tmp_check/*.diffs'):
                if os.path.isfile(path):
                    shutil.copy(path, kept)
        if not env('ROWAN_TEST_KEEP'):
            shutil.rmtree(out, ignore_errors=True)
        return (p.returncode == 0, len(re.findall('^ok', text, re.M)), re.findall(r'^not ok (\d+)', text, re.M), time.time() - start)


def judge(suite, name, runner, listed):
    """Runs the file; what to say, and whether that counts as a failure."""
    passed, ok, failed, seconds = runner.run(suite, name)
    may_fail, reason = listed.get((suite, name), (set(), ''))
    counts = '%3d ok, %d not ok, %d s' % (ok, len(failed), seconds)
    if passed:
        return 'ok      %s, %s%s' % (name, counts, ', listed as an exception' if reason else ''), False
    if reason and (may_fail is None or set(failed) <= may_fail):
        return 'listed  %s, %s: %s' % (name, counts, reason), False
    if AM != 'heap':
        heap_passed, heap_ok = Runner('heap').run(suite, name)[:2]
        if not heap_passed and heap_ok > 0:
            return 'ok      %s, %s: fails on heap, too' % (name, counts), False
    return 'FAILED  %s, %s' % (name, counts), True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--suite', choices=sorted(SUITES), action='append')
    parser.add_argument('--only', default='', help='only files whose names begin with one of these words')
    parser.add_argument('--jobs', type=int, default=max(1, min(2, os.cpu_count() or 1)))
    harness.major_option(parser)
    options = parser.parse_args()
    harness.reexec_on_cassert(options)
    runner, listed, bad = Runner(AM), exceptions(), 0
    for suite in options.suite or ALWAYS:
        start = time.time()
        names = sorted(os.path.basename(p) for p in glob.glob(source(SUITES[suite], 't/*.pl')))
        names = [n for n in names if not options.only or n.startswith(tuple(options.only.split()))]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for line, is_bad in pool.map(lambda n: judge(suite, n, runner, listed), names):
                say('%-15s %s' % (suite, line))
                bad += is_bad
        say('== %s: %d s' % (suite, time.time() - start))
    say('%d files that pass on heap fail; output in build/tap' % bad)
    return 1 if bad else 0


sys.exit(main())
