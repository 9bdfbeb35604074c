#!/usr/bin/env python3
"""Runs all tests in their quick form: unit tests, twin SQL scripts, tests of test/t.

One line a test; the output of a test that fails is shown; the last line is
"N passed, M failed".  run.py NAME ... runs only tests whose names contain one of these.

With --majors the tests of CORE_OF_IT also run on other distributions' PostgreSQL, in chroots that lib/chroot.py makes.
"""
import argparse
import difflib
import glob
import os
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib'))
import chroot
import cluster
import harness
from harness import AM, TOP, say

TIME_LIMIT_S = 600

# Distributions whose PostgreSQL is tested, too: 17 and 18 at present.
MAJORS = ('trixie', 'forky')
CORE_OF_IT = ('build', 'unit', 'sql/', 't/specs', 't/twin', 't/index_twin', 't/crash')
MAJOR_LIMIT_S = 3 * 3600            # against hangs, on the slowest machine


class Runner:
    def __init__(self, only):
        self.only, self.passed, self.failed = only, 0, 0

    def wanted(self, name):
        return not self.only or any(o in name for o in self.only)

    def report(self, name, seconds, problem=None):
        if problem is None:
            self.passed += 1
            say('ok     %-32s %6.1f s' % (name, seconds))
        else:
            self.failed += 1
            say('FAILED %-32s %6.1f s' % (name, seconds))
            say('\n'.join('    ' + x for x in problem.rstrip('\n').split('\n')[-60:]))

    def test(self, name, action):
        """action returns None or what is wrong"""
        if not self.wanted(name):
            return
        start = time.time()
        try:
            problem = action()
        except Exception as e:
            problem = '%s: %s' % (type(e).__name__, e)
        self.report(name, time.time() - start, problem)


# ---- unit tests ----

def unit_tests():
    if not os.path.exists(TOP + '/test/unit/Makefile'):
        return 'test/unit/Makefile does not exist'
    p = subprocess.run(['make', '-s', '-C', TOP + '/test/unit', 'check'], text=True, errors='replace',
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIME_LIMIT_S)
    if p.returncode or '\nnot ok' in '\n' + p.stdout:
        return p.stdout
    return None


# ---- twin SQL scripts ----

# as pg_regress does it, so that expected/ serves `make installcheck` as well
SQL_ENV = dict(PGTZ='PST8PDT', PGDATESTYLE='Postgres, MDY')


def sql_output(server, name, am):
    """What psql prints for the script with that default access method, and verify's complaints."""
    db = 'sql_%s_%s' % (name, am)
    server.sql('CREATE DATABASE %s TEMPLATE template0' % db)
    server.create_extension(db)
    out = server.psql(file='%s/sql/%s.sql' % (TOP, name), db=db, flags=('-X', '-a', '-q', '-v', 'HIDE_TABLEAM=on'),
                      options='-c intervalstyle=postgres_verbose -c default_table_access_method=' + am,
                      check_=False, env=SQL_ENV)
    if am == 'heap' or not server.extension:
        return out, ''
    try:
        server.connect_patiently().close()      # the script may have crashed the server
        server.verify(db=db)
    except Exception as e:
        return out, str(e)
    return out, ''


def difference(a, b, from_name, to_name):
    return '\n'.join(difflib.unified_diff(a.split('\n'), b.split('\n'), from_name, to_name, lineterm='', n=2))


def twin_sql(server, name, accept):
    expected_path = '%s/expected/%s.out' % (TOP, name)
    heap, _ = sql_output(server, name, 'heap')
    if accept:
        open(expected_path, 'w').write(heap)
    expected = open(expected_path).read() if os.path.exists(expected_path) else ''
    if heap != expected:
        return 'heap differs from expected/:\n' + difference(expected, heap, 'expected', 'heap')
    if AM == 'heap':
        return None
    other, complaint = sql_output(server, name, AM)
    return (difference(heap, other, 'heap', AM) + '\n' + complaint).strip() or None


def twin_sql_tests(runner, accept):
    names = [os.path.basename(f)[:-4] for f in sorted(glob.glob(TOP + '/sql/*.sql'))]
    if not any(runner.wanted('sql/' + n) for n in names):
        return
    server = None

    def one(name):
        nonlocal server
        if server is None or server.postmaster is None or server.postmaster.poll() is not None:
            server = cluster.make('sql')
        return twin_sql(server, name, accept)
    for name in names:
        runner.test('sql/' + name, lambda: one(name))
    if server is not None:
        runner.test('sql/no-crash', lambda: server.check_log())
        server.destroy()


# ---- tests of test/t ----

def script_tests(runner):
    for path in sorted(glob.glob(TOP + '/test/t/*.py')):
        name = os.path.basename(path)[:-3]
        if name in sys.stdlib_module_names:     # others' `import NAME` would find the test
            runner.report('t/' + name, 0, "its name is that of a module of Python's library")
        runner.test('t/' + name, lambda: script(path))


def script(path):
    p = subprocess.Popen([sys.executable, path], text=True, errors='replace', stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    harness.at_end(lambda: p.poll() is None and p.terminate())
    try:
        out = p.communicate(timeout=TIME_LIMIT_S)[0]
    except subprocess.TimeoutExpired:
        p.terminate()           # its own clean-up ends its servers
        try:
            out = p.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            p.kill()
            out = p.communicate()[0]
        return out + '\ntime limit of %d s exceeded' % TIME_LIMIT_S
    return out if p.returncode else None


# ---- other majors ----

def major_tests(runner, suite, werror):
    """The most important tests in a chroot; its lines and its counts are added to ours."""
    name = 'chroot/' + suite
    if not runner.wanted(name):
        return
    start = time.time()
    try:
        root = chroot.make(suite)
    except Exception as e:
        runner.report(name, time.time() - start, '%s: %s' % (type(e).__name__, e))
        return
    counts, late = None, threading.Event()
    command = ['python3', 'test/run.py', *CORE_OF_IT] + ['--werror'] * werror
    with chroot.running(suite, root, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as p:
        timer = threading.Timer(MAJOR_LIMIT_S, lambda: (late.set(), p.kill()))
        timer.start()
        for line in p.stdout:
            counts = re.fullmatch(r'(\d+) passed, (\d+) failed\n', line)
            if not counts:
                say('%s: %s' % (suite, line.rstrip('\n')))
        timer.cancel()
        p.wait()
    passed, failed = map(int, counts.groups()) if counts else (0, 0)
    runner.passed += passed
    runner.failed += failed
    if late.is_set():
        runner.report(name, time.time() - start, 'time limit of %d s exceeded' % MAJOR_LIMIT_S)
    elif not passed + failed or bool(failed) != bool(p.returncode):
        runner.report(name, time.time() - start, 'ended with status %d and without a result' % p.returncode)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--werror', action='store_true', help='a warning of the compiler fails the build')
    parser.add_argument('--accept', action='store_true', help="rewrite expected/ from heap's output")
    parser.add_argument('--majors', action='store_true', help='also on the PostgreSQL of ' + ' and '.join(MAJORS))
    parser.add_argument('--bindir')
    parser.add_argument('--am')
    parser.add_argument('only', nargs='*')
    options = parser.parse_args()
    harness.reexec_with(options)
    start = time.time()
    runner = Runner(options.only)
    say(harness.pg_config('--version'))

    def build():
        harness.tmp()
        harness.prefix_bindir(harness.VARIANT, options.werror)
        if AM == 'rowan':
            harness.prefix_bindir('faults', options.werror)
    start_build = time.time()
    try:
        build()
        runner.report('build', time.time() - start_build)
    except Exception as e:
        runner.report('build', time.time() - start_build, str(e))
        say('%d passed, %d failed' % (runner.passed, runner.failed))
        return 1
    runner.test('unit', unit_tests)
    twin_sql_tests(runner, options.accept)
    script_tests(runner)
    for suite in MAJORS if options.majors else ():
        major_tests(runner, suite, options.werror)
    say('total %.0f s' % (time.time() - start))
    say('%d passed, %d failed' % (runner.passed, runner.failed))
    return 1 if runner.failed else 0


sys.exit(main())
