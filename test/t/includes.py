#!/usr/bin/env python3
"""The order of the house (doc/architecture.md): what may include what, and where things are defined.

* includes point only downward
* what a folder's header declares, that folder defines; a .c file declares nothing of others
* no two files share a name
"""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import harness
from harness import TOP, Failure, check

RANK = {'base': 0, 'pool': 1, 'tree': 2, 'version': 3, 'entry': 4, 'row': 4, 'table': 5, 'btree': 6, 'core': 7, 'inspect': 8}
# core headers that stay out of lower layers: header -> lowest rank that may include it
CORE = {'utils/rel.h': 5, 'utils/snapmgr.h': 4, 'access/heapam.h': 5, 'executor/executor.h': 5}

# extern int name(...)  extern char *(*name) (...)  extern bool name;  extern int names[];
FUNCTION = re.compile(r'^extern\s(?!PGDLLIMPORT)[^;={]*?\b(\w+)\s*\((?!\*)', re.M)
VARIABLE = re.compile(r'^extern\s(?!PGDLLIMPORT)[^;(={]*?\b(\w+)(?:\[\w*\])?;|^extern\s[^;={(]*?\(\*(\w+)\)', re.M)


def sources(pattern):
    return sorted(glob.glob('%s/src/%s' % (TOP, pattern)))


def text(path):
    """Without comments and macros."""
    code = re.sub(r'/\*.*?\*/', '', open(path).read(), flags=re.S)
    return re.sub(r'^#\s*define(.*\\\n)*.*', '', code, flags=re.M)


def upward():
    for path in sources('*/*.[ch]'):
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
            if target in RANK and os.path.exists(TOP + '/src/' + header) and \
                    (RANK[target] > RANK[layer] or (RANK[target] == RANK[layer] and target != layer)):
                yield where + '%s must not include %s' % (layer, header)
            elif RANK[layer] < CORE.get(header, 0):
                yield where + '%s is not for %s' % (header, layer)


def declared(path):
    """Functions and variables that a file declares."""
    code = text(path)
    functions = set(FUNCTION.findall(code))
    variables = {a or b for a, b in VARIABLE.findall(code)}
    return functions - variables, variables


def is_defined(name, function, code):
    """In PostgreSQL's style a function's name begins a line."""
    if function:
        return re.search(r'^%s\(' % name, code, re.M)
    return re.search(r'^(?!extern|typedef|#)\S[^;(={]*?(\b|\(\*)%s(\)|\b)[^;]*(;|=)' % name, code, re.M)


def defined_elsewhere():
    for layer in RANK:
        code = '\n'.join(text(p) for p in sources(layer + '/*.c'))
        for path in sources(layer + '/*.h'):
            functions, variables = declared(path)
            for name in sorted(functions | variables):
                if not is_defined(name, name in functions, code):
                    yield '%s: %s is not defined in src/%s' % (path[len(TOP) + 1:], name, layer)


def declared_in_c():
    for path in sources('*/*.c') + sources('*.c'):
        for name in sorted(set.union(*declared(path))):
            if not is_defined(name, True, text(path)):
                yield '%s: declares %s, which belongs in a header' % (path[len(TOP) + 1:], name)


def same_names():
    seen = {}
    for path in sources('*.c') + sources('*/*.[ch]'):
        name = os.path.basename(path)
        if name in seen:
            yield '%s and %s share a name' % (seen[name], path[len(TOP) + 1:])
        seen[name] = path[len(TOP) + 1:]


def test(options):
    bad = [x for complaints in (upward, defined_elsewhere, declared_in_c, same_names) for x in complaints()]
    check(len(sources('*/*.h')) > 30, 'headers are missing')
    if bad:
        raise Failure('\n'.join(bad))


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
