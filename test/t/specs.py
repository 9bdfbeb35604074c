#!/usr/bin/env python3
"""Isolation specs of our own (test/specs): heap and Rowan must both answer what expected/ says.

A spec with indexes of rowan_btree is run with btree on heap first, then with rowan_btree on both.

With --accept expected/ is written from heap's answers.

With --core DIRECTORY (src/test/isolation of PostgreSQL's sources) core's own specs are run instead, default indexes and primary keys being unique indexes
of rowan_btree: they must answer what they do with btree.
"""
import difflib
import glob
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import rewrite
from harness import AM, ENGINE, TOP, as_user, check, pg_config, say

INDEX_AM = 'rowan_btree'
SPECS = TOP + '/test/specs'


def isolationtester():
    path = os.path.join(os.path.dirname(pg_config('--pgxs')), '..', 'test', 'isolation', 'isolationtester')
    check(os.path.exists(path), '%s does not exist: it comes with postgresql-client-%d' %
          (os.path.normpath(path), harness.major()))
    return path


def answer(server, am, script, index_am='btree'):
    """What isolationtester prints for the script with tables and indexes of these access methods."""
    with tempfile.TemporaryFile('w+') as f:
        f.write(script if index_am == INDEX_AM else script.replace(INDEX_AM, index_am))
        f.seek(0)
        p = subprocess.run([isolationtester(), "host='%s' port=5432 user=postgres dbname='iso_%s'" % (server.dir, am)],
                           stdin=f, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                           env=server.environment({'PGOPTIONS': '-c default_table_access_method=' + am}),
                           cwd=server.dir, timeout=120, **as_user())
    return p.stdout.replace(index_am, 'btree') + ('' if p.returncode == 0 else 'isolationtester ended with %d\n' % p.returncode)


def difference(a, b, from_name, to_name):
    return '\n'.join(difflib.unified_diff(a.split('\n'), b.split('\n'), from_name, to_name, lineterm='', n=3))


# ---- core's specs ----

# what core 15 wants btree for: ON CONFLICT, foreign keys, partitioned tables, constraints
CORE_NOT = {'fk-partitioned-1', 'fk-partitioned-2', 'fk-deadlock', 'fk-deadlock2', 'fk-contention', 'fk-snapshot', 'referential-integrity', 'ri-trigger',
            'insert-conflict-do-nothing', 'insert-conflict-do-nothing-2', 'insert-conflict-do-update', 'insert-conflict-do-update-2', 'insert-conflict-do-update-3',
            'insert-conflict-specconflict', 'alter-table-1', 'alter-table-2', 'alter-table-4', 'detach-partition-concurrently-1', 'detach-partition-concurrently-2',
            'detach-partition-concurrently-3', 'detach-partition-concurrently-4', 'partition-key-update-1', 'partition-key-update-2', 'partition-key-update-3',
            'partition-key-update-4', 'partition-concurrent-attach', 'partition-drop-index-locking', 'prepared-transactions-cic', 'prepared-transactions', 'eval-plan-qual-trigger',
            'insert-conflict-do-update-4', 'merge-delete', 'propagate-lock-delete', 'tuplelock-partition', 'update-locked-tuple', 'intra-grant-inplace'}


def core_specs(options):
    """Those whose text changes; in PostgreSQL's order."""
    names = sorted(os.path.basename(f)[:-5] for f in glob.glob(options.core + '/specs/*.spec'))
    check(names, 'there are no specs in ' + options.core)
    for name in names:
        script = open('%s/specs/%s.spec' % (options.core, name)).read()
        ours = rewrite.keys(rewrite.indexes(script))
        if ours != script and name not in CORE_NOT and (not options.only or name in options.only):
            yield name, script, ours


def test_core(options):
    server = cluster.make('specs', conf={'max_prepared_transactions': '10'})
    wrong, count = 0, 0
    for am in ['heap'] + [AM] * ENGINE:
        server.sql('CREATE DATABASE iso_%s' % am)
        server.create_extension('iso_' + am)
    for name, script, ours in core_specs(options):
        for am in ['heap'] + [AM] * ENGINE:
            expected = answer(server, am, script)
            found = answer(server, am, ours, INDEX_AM).replace(' USING btree', '')
            count += 1
            if found != expected:
                wrong += 1
                say('%s: %s with %s differs from btree:\n%s' % (name, am, INDEX_AM, difference(expected, found, 'btree', INDEX_AM)))
    say('%d answers, %d differ' % (count, wrong))
    server.stop()
    check(not wrong, '%d answers differ' % wrong)


def test(options):
    if options.core:
        return test_core(options)
    server = cluster.make('specs')
    access_methods = ['heap'] + [AM] * ENGINE
    for am in access_methods:
        server.sql('CREATE DATABASE iso_%s' % am)
        server.create_extension('iso_' + am)
    names = [os.path.basename(f)[:-5] for f in sorted(glob.glob(SPECS + '/*.spec'))]
    check(names, 'there are no specs')
    wrong = 0
    for name in [n for n in names if not options.only or n in options.only]:
        path = '%s/expected/%s.out' % (SPECS, name)
        script = open('%s/%s.spec' % (SPECS, name)).read()
        pairs = [(am, 'btree') for am in access_methods]
        if INDEX_AM in script and ENGINE:
            pairs = [('heap', 'btree')] + [(am, INDEX_AM) for am in access_methods]
        for am, index_am in pairs:
            found = answer(server, am, script, index_am)
            if (am, index_am) == ('heap', 'btree') and options.accept:
                open(path, 'w').write(found)
            expected = open(path).read() if os.path.exists(path) else ''
            if found != expected:
                wrong += 1
                say('%s: %s with %s differs from expected/:\n%s' % (name, am, index_am, difference(expected, found, 'expected', am)))
    check(not wrong, '%d answers differ from expected/' % wrong)
    for am in access_methods:
        server.verify(db='iso_' + am)
    say('%d specs, answers as expected from %s' % (len(names), ' and '.join(access_methods)))
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--accept', action='store_true', help="write expected/ from heap's answers")
    parser.add_argument('--core', metavar='DIRECTORY', help="PostgreSQL's src/test/isolation")
    parser.add_argument('only', nargs='*', help='names of specs')
    harness.main(test, parser)
