#!/usr/bin/env python3
"""Isolation specs of our own (test/specs): heap and Rowan must both answer what expected/ says.

A spec with indexes of rowan_btree is run with btree on heap first, then with rowan_btree on both.

With --accept expected/ is written from heap's answers.
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
from harness import AM, ENGINE, TOP, as_user, check, pg_config, say

INDEX_AM = 'rowan_btree'
SPECS = TOP + '/test/specs'


def isolationtester():
    path = os.path.join(os.path.dirname(pg_config('--pgxs')), '..', 'test', 'isolation', 'isolationtester')
    check(os.path.exists(path), '%s does not exist: it comes with postgresql-client-15' % os.path.normpath(path))
    return path


def answer(server, am, script, index_am='btree'):
    """What isolationtester prints for the script with tables and indexes of these access methods."""
    with tempfile.TemporaryFile('w+') as f:
        f.write(script.replace(INDEX_AM, index_am))
        f.seek(0)
        p = subprocess.run([isolationtester(), "host='%s' port=5432 user=postgres dbname='iso_%s'" % (server.dir, am)],
                           stdin=f, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                           env=server.environment({'PGOPTIONS': '-c default_table_access_method=' + am}),
                           cwd=server.dir, timeout=120, **as_user())
    return p.stdout.replace(index_am, 'btree') + ('' if p.returncode == 0 else 'isolationtester ended with %d\n' % p.returncode)


def difference(a, b, from_name, to_name):
    return '\n'.join(difflib.unified_diff(a.split('\n'), b.split('\n'), from_name, to_name, lineterm='', n=3))


def test(options):
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
    parser.add_argument('only', nargs='*', help='names of specs')
    harness.main(test, parser)
