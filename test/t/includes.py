#!/usr/bin/env python3
"""Includes point only downward (see doc/architecture.md for the layers)."""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import harness
from harness import TOP, Failure, say

RANK = {'base': 0, 'pool': 1, 'tree': 2, 'version': 3, 'entry': 4, 'row': 4, 'table': 5, 'btree': 5, 'core': 5, 'inspect': 6}
# core headers that stay out of lower layers: header -> lowest rank that may include it
CORE = {'utils/rel.h': 5, 'utils/snapmgr.h': 4, 'access/heapam.h': 5, 'executor/executor.h': 5}


def complaints():
    for path in sorted(glob.glob(TOP + '/src/*/*.[ch]')):
        layer, name = path.split('/')[-2:]
        if layer not in RANK:
            yield '%s/%s: unknown layer' % (layer, name)
            continue
        for number, line in enumerate(open(path), 1):
            m = re.match(r'\s*#\s*include\s*["<]([^">]+)[">]', line)
            if not m:
                continue
            header = m.group(1)
            target = header.split('/')[0]
            where = 'src/%s/%s:%d: ' % (layer, name, number)
            if target in RANK and os.path.exists(TOP + '/src/' + header) and RANK[target] > RANK[layer]:
                yield where + '%s must not include %s' % (layer, header)
            elif RANK[layer] < CORE.get(header, 0):
                yield where + '%s is not for %s' % (header, layer)


def test(options):
    bad = list(complaints())
    if bad:
        raise Failure('includes point upward:\n' + '\n'.join(bad))


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
