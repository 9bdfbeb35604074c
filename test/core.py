#!/usr/bin/env python3
"""PostgreSQL's own regression and isolation suites with the engine as the default access method.

Needs the suite runner (PGSUITE: directory with run-pg-suite.sh) and its cache (PGSUITE_CACHE: a
cassert server in pg/ and the suites).  Arguments go to the runner.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib'))
import harness
from harness import AM, EXTENSION, PRELOAD, env, say


def main():
    runner, cache = env('PGSUITE'), env('PGSUITE_CACHE')
    if not runner or not cache:
        say('set PGSUITE to the directory of run-pg-suite.sh and PGSUITE_CACHE to its cache')
        return 3
    if not env('ROWAN_TEST_BINDIR'):
        os.environ['ROWAN_TEST_BINDIR'] = os.path.join(cache, 'pg', 'bin')
        os.execv(sys.executable, [sys.executable] + sys.argv)
    bindir = harness.prefix_bindir('pages')
    status = 0
    for suite in ('regress', 'isolation'):
        out = os.path.join(harness.TOP, 'build', 'core-' + suite)
        say('== ' + suite)
        status |= subprocess.run([os.path.join(runner, 'run-pg-suite.sh'), '--bindir', bindir, '--am', AM, '--preload', PRELOAD,
                                  '--extension', EXTENSION, '--suite', suite, '--out', out] + sys.argv[1:]).returncode
    return status


sys.exit(main())
