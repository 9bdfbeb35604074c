#!/usr/bin/env python3
"""PostgreSQL's regression suite with every default index made by rowan_btree.

A copy of the suite is rewritten: CREATE INDEX without USING, or USING btree, becomes USING rowan_btree, in the scripts
and in the expected output's echo of them.  (Constraints are btree in any case.)  In the results rowan_btree is then called btree
again, columns are unpadded, and the suite runner's classifier compares them with the unchanged results.

Needs the suite runner (PGSUITE: directory with run-pg-suite.sh) and its cache (PGSUITE_CACHE: server in pg/, and suites).
Arguments after -- go to the runner.

    core_indexes.py --only "btree_index create_index"
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib'))
import harness
import rewrite
from harness import AM, EXTENSION, PRELOAD, env, say
from rewrite import METHOD

# Unique indexes stay btree where core 15 insists: ON CONFLICT, foreign keys, USING INDEX, partitioned tables, REFRESH CONCURRENTLY
UNIQUE_STAYS = {'insert_conflict', 'indexing', 'matview', 'foreign_key', 'partition_info', 'alter_table', 'constraints', 'create_index', 'updatable_views',
                'replica_identity', 'triggers', 'rules', 'with', 'truncate', 'rowsecurity', 'partition_aggregate', 'partition_join', 'merge', 'inherit'}
# Scripts about btree itself: left alone
LEFT_ALONE = {'create_am', 'opr_sanity', 'type_sanity', 'amutils'}


def rewritten(text, name):
    return text if name in LEFT_ALONE else rewrite.indexes(text, name not in UNIQUE_STAYS)


def plain(text):
    """What the method is called, and how wide a column is, do not count."""
    text = re.sub(r'^(LINE \d+):.*\n *\^$', r'\1', text.replace(METHOD, 'btree'), flags=re.M)
    return '\n'.join(re.sub('-{3,}', '--', re.sub(' +', ' ', x)).rstrip() for x in text.split('\n'))


def convert(source, target, change):
    with open(source, errors='surrogateescape') as f:
        text = f.read()
    with open(target, 'w', errors='surrogateescape') as f:
        f.write(change(text))


def rewrite_suite(source, target):
    """The whole suite directory, as the runner wants it."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    count = 0
    for path in glob.glob(target + '/regress/sql/*.sql') + glob.glob(target + '/regress/expected/*.out'):
        name = re.sub(r'_\d$', '', os.path.basename(path)[:-4])
        with open(path, errors='surrogateescape') as f:
            before = f.read()
        after = rewritten(before, name)
        if path.endswith('.sql'):
            count += after.count('USING ' + METHOD) - before.count('USING ' + METHOD)
        with open(path, 'w', errors='surrogateescape') as f:
            f.write(after)
    return count


def compare(runner, suite, out, header):
    """The classifier once more, on results that say btree."""
    again = out + '/indexes'
    shutil.rmtree(again, ignore_errors=True)
    for part in ('in/sql', 'in/expected', 'results', 'out/diffs'):
        os.makedirs('%s/%s' % (again, part))
    for part in ('sql', 'expected'):
        for path in glob.glob('%s/regress/%s/*' % (suite, part)):
            if os.path.isfile(path):
                convert(path, '%s/in/%s/%s' % (again, part, os.path.basename(path)), plain)
    for path in glob.glob(out + '/w/results/*.out'):
        convert(path, '%s/results/%s' % (again, os.path.basename(path)), plain)
    return subprocess.run(['python3', runner + '/libexec/classify.py', '--suite', 'regress', '--in', again + '/in', '--results', again + '/results',
                           '--tests', out + '/w/report', '--am', AM, '--extobjs', out + '/w/extobjs', '--log', out + '/server.log',
                           '--watchdog', out + '/watchdog.log', '--out', again + '/out', '--header', header]).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--am', default='heap', help='default table access method: heap or rowan')
    parser.add_argument('--only', help='these tests')
    parser.add_argument('--bindir', help="the server's binaries, default PGSUITE_CACHE/pg/bin")
    parser.add_argument('rest', nargs='*')
    options = parser.parse_args()
    runner, cache = env('PGSUITE'), env('PGSUITE_CACHE')
    if not runner or not cache:
        say('set PGSUITE to the directory of run-pg-suite.sh and PGSUITE_CACHE to its cache')
        return 3
    if not env('ROWAN_TEST_BINDIR'):
        os.environ['ROWAN_TEST_BINDIR'] = options.bindir or os.path.join(cache, 'pg', 'bin')
        os.execv(sys.executable, [sys.executable] + sys.argv)
    bindir = harness.prefix_bindir('pages')
    suite = os.path.join(harness.TOP, 'build', 'suite-indexes')
    out = os.path.join(harness.TOP, 'build', 'core-indexes')
    say('%d indexes made by %s instead of btree, tables by %s' % (rewrite_suite(os.path.join(cache, 'suite'), suite), METHOD, options.am))
    own_cache = os.path.join(harness.TOP, 'build', 'suite-cache')       # the runner keeps libraries by the binaries' directory
    shutil.rmtree(own_cache, ignore_errors=True)
    os.makedirs(own_cache)
    # the runner's own verdict is of no use: it knows nothing of the method's other name
    p = subprocess.run([runner + '/run-pg-suite.sh', '--bindir', bindir, '--am', options.am, '--preload', PRELOAD, '--extension', EXTENSION,
                        '--suite', 'regress', '--suite-dir', suite, '--out', out, '--psql-bindir', os.path.join(cache, 'pg', 'bin')] +
                       (['--only', options.only] if options.only else []) + options.rest,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, PGSUITE_CACHE=own_cache))
    if p.returncode == 3:
        say(p.stdout)
        return 3
    return compare(runner, suite, out, 'regress, indexes by %s, tables by %s' % (METHOD, options.am))


sys.exit(main())
