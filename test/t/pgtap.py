#!/usr/bin/env python3
"""The pgTAP files of test/pgtap, one a feature, each in a database of its own: once with heap as the default
access method, once with the one under test.  Each must pass on both, with the same number of tests.

    pgtap.py [WORD...]      only files whose name contains one of the words
"""
import glob
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, TOP, check, say

# what some of the files need
CONF = {'max_prepared_transactions': 10, 'max_connections': 40, 'deadlock_timeout': '100ms', 'max_locks_per_transaction': 256,
        'rowan.buffers': '32MB', 'max_parallel_workers': 4, 'track_io_timing': 'on', 'allow_in_place_tablespaces': 'on'}


def judge(output, failed):
    """(number of tests, what is wrong with the output or None), as pg_prove would."""
    numbers = [int(n) for n in re.findall(r'^(?:not )?ok (\d+)', output, re.M)]
    plan = re.search(r'^1\.\.(\d+)', output, re.M)
    if failed:
        return len(numbers), 'psql gave up'
    if plan is None:
        return len(numbers), 'no plan: the file has not come to its end'
    if re.search(r'^not ok', output, re.M):
        return len(numbers), '%d tests have failed' % len(re.findall(r'^not ok', output, re.M))
    if numbers != list(range(1, int(plan.group(1)) + 1)):
        return len(numbers), 'planned %s tests, ran %s' % (plan.group(1), len(numbers))
    return len(numbers), None


def one_file(server, path, am):
    """(number of tests, output, complaint or None)"""
    db = 'tap_' + am
    server.sql('DROP DATABASE IF EXISTS %s WITH (FORCE)' % db)
    server.sql('CREATE DATABASE %s TEMPLATE tap STRATEGY file_copy' % db)
    failed = False
    try:
        output = server.psql(file=path, db=db, options='-c default_table_access_method=%s -c client_min_messages=warning -c statement_timeout=60s' % am,
                             flags=('-XAtq', '-v', 'am=' + am))
    except harness.Failure as e:
        output, failed = str(e), True
        server.connect_patiently().close()
    count, complaint = judge(output, failed)
    if complaint is None and am == AM:
        try:
            server.verify(db=db)
        except harness.Failure as e:
            complaint = str(e)
    return count, output, complaint


def show(output):
    """A failed test with its diagnostics; a script that died with its end."""
    wanted, lines = False, output.rstrip('\n').split('\n')
    for n, line in enumerate(lines):
        wanted = line.startswith('not ok') or (wanted and line.startswith('#'))
        if wanted or n >= len(lines) - 5:
            say('      ' + line)


def test(options):
    server = cluster.Cluster('pgtap', conf=CONF)
    server.provide('pgtap', 'pgtap')
    server.start()
    server.sql('CREATE DATABASE tap')
    server.create_extension('tap')
    server.psql(file=TOP + '/test/pgtap/setup.psql', db='tap')
    total, bad, files = 0, 0, 0
    for path in sorted(glob.glob(TOP + '/test/pgtap/*.sql')):
        name = os.path.basename(path)[:-4]
        if options.only and not any(w in name for w in options.only):
            continue
        counts, problems = {}, []
        start = time.time()
        for am in dict.fromkeys(('heap', AM)):
            counts[am], output, complaint = one_file(server, path, am)
            if complaint:
                problems.append((am, complaint, output))
        if not problems and len(set(counts.values())) != 1:
            problems.append((AM, 'not as many tests as on heap: %s' % counts, ''))
        files, total, bad = files + 1, total + sum(counts.values()), bad + bool(problems)
        say('%-6s %-24s %4d tests %5.1f s' % ('FAILED' if problems else 'ok', name, counts['heap'], time.time() - start))
        for am, complaint, output in problems:
            say('    on %s: %s' % (am, complaint))
            show(output)
    say('Files=%d, Tests=%d, Result: %s' % (files, total, 'FAIL' if bad else 'PASS'))
    check(files > 0, 'no such file')
    check(bad == 0, '%d of %d files have failed' % (bad, files))
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('only', nargs='*')
    harness.main(test, parser)
