#!/usr/bin/env python3
"""The check of latch order is at work in a server: a negative control.

In order, nothing happens; out of order, or kept beyond the statement, the server goes down, and its
log says which page.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import ENGINE, check, say

# relation, blocks in the order of latching (0: file header, 1: root), kept, what the log says
CONTROLS = [
    ('t', '{1}', False, None),
    ('t', '{1,0}', False, None),
    ('i', '{1,0}', False, None),
    ('t', '{0,1}', False, 'block 1 of relfilenode .* is latched after block 0 of relfilenode'),
    ('i', '{0,1}', False, 'block 1 of relfilenode .* is latched after block 0 of relfilenode'),
    ('t', '{1}', True, 'while block 1 of relfilenode .* is latched'),
]


def log_has(server, pattern, start):
    with open(server.log, errors='replace') as f:
        f.seek(start)
        return re.search(pattern, f.read()) is not None


def control(server, relation, blocks, kept, message):
    start = os.path.getsize(server.log)
    c = server.connect_patiently()
    r = c.try_("SELECT latch_blocks('%s', '%s', %s)" % (relation, blocks, kept))
    what = '%s of %s%s' % (blocks, relation, ', kept' if kept else '')
    if message is None:
        check(r.error is None, '%s: %s' % (what, r.error))
        c.close()
        return
    check(r.error is not None, '%s: nobody noticed' % what)
    harness.wait_for(lambda: log_has(server, message, start),
                     '%s: the log does not say "%s"' % (what, message))
    # only then are all sessions of before gone
    harness.wait_for(lambda: log_has(server, 'ready to accept connections', start),
                     '%s: the server is not there again' % what)
    say('%s was noticed' % what)


def test(options):
    if not ENGINE:
        return
    server = cluster.make('latches', variant='faults')
    server.sql("CREATE TABLE t (i int) USING rowan; INSERT INTO t SELECT generate_series(1, 10); "
               "CREATE INDEX i ON t USING rowan_btree (i); "
               "CREATE FUNCTION latch_blocks(regclass, int[], bool) RETURNS void LANGUAGE c "
               "AS '$libdir/rowan', 'rowan_latch_blocks'")
    for relation, blocks, kept, message in CONTROLS:
        control(server, relation, blocks, kept, message)
    with server.connect_patiently() as c:
        check(c.one('SELECT count(*) FROM t') == '10', 'rows are missing')
    server.verify('t')
    server.stop()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
