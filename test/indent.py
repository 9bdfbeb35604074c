#!/usr/bin/env python3
"""The layout of the C source, by PostgreSQL's own pgindent: rewrites src and test, or checks them.

    make indent                  rewrites what is not laid out as pgindent would
    test/indent.py --check       lists those files instead; exit code 1 if there are any
    test/indent.py FILE ...      only these

pgindent and pg_bsd_indent come from PostgreSQL's source (test/core/get-postgres.sh fetches it once,
and builds a server).  Comments may be 100 columns wide instead of 78; comments that begin in the
first column are not touched.  Names of types are core's, and those that our source declares.
"""
import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib'))
import harness
from harness import TOP, Failure, run, say

MAJOR = 18                      # whose pgindent; the oldest that has pg_bsd_indent beside it is 16
BUILD = TOP + '/build/indent'
TOOLS = 'source/src/tools'

# core's list has these as types; here they are names of other things
NO_TYPES = {'symbol', 'text', 'WORD'}

TYPEDEF = re.compile(r'^typedef\s+(?:[^{;]*\{.*?^\}[^;]*;|[^{;]*;)', re.M | re.S)

# how a layout that pgindent would spoil is hidden from it, and what it leaves to be mended
BEFORE = (
    (r'\((\w+)\) \{([^{};]*)\}', r'(\1) COMPOUND_LITERAL(\2)'),
    (r'\((\w+)\[\]\) \{([^{};]*)\}', r'(\1) COMPOUND_ARRAY(\2)'),
    (r'(?m)^\} (pg_attribute_packed\(\)) (\w+;)$', r'} PACKED_\2'),
)
AFTER = (
    (r'\((\w+)\) COMPOUND_LITERAL\(([^{};]*?)\)(?=[;,)])', r'(\1) {\2}'),
    (r'\((\w+)\) COMPOUND_ARRAY\(([^{};]*?)\)(?=[;,)[])', r'(\1[]) {\2}'),
    (r'(?m)^\}\s+PACKED_(\w+;)$', r'} pg_attribute_packed() \1'),
    (r',\.(\w+ = )', r', .\1'),
)


def files(only):
    return only or sorted(glob.glob(TOP + '/src/**/*.[ch]', recursive=True) +
                          glob.glob(TOP + '/test/*/*.[ch]'))


def tools():
    """The paths of pgindent (wide comments allowed) and pg_bsd_indent, and core's list of types."""
    core = harness.cassert_directory(MAJOR)
    if not os.path.exists(core + '/source/src/port/libpgport.a'):
        core = harness.cassert_server(MAJOR)
    os.makedirs(BUILD, exist_ok=True)
    indent, script = BUILD + '/pg_bsd_indent', BUILD + '/pgindent'
    if not os.path.exists(indent):
        include = '-I%s/source/src/include' % core
        run(['gcc', '-O1', '-D_GNU_SOURCE', include, '-o', indent + '.new'] +
            sorted(glob.glob('%s/%s/pg_bsd_indent/*.c' % (core, TOOLS))) +
            ['%s/source/src/%s' % (core, x) for x in ('port/libpgport.a', 'common/libpgcommon.a')])
        os.rename(indent + '.new', indent)
    text = open('%s/%s/pgindent/pgindent' % (core, TOOLS)).read()
    if ' -l79 ' not in text:
        raise Failure('pgindent has another width than expected')
    with open(script, 'w') as f:
        f.write(text.replace(' -l79 ', ' -l97 '))
    return script, indent, '%s/%s/pgindent/typedefs.list' % (core, TOOLS)


def own_types():
    """Names of types that our source declares."""
    found = set()
    for path in files(None):
        code = re.sub(r'/\*.*?\*/', '', open(path).read(), flags=re.S)
        for typedef in TYPEDEF.findall(code):
            typedef = re.sub(r'\{.*\}', '', typedef, flags=re.S)
            found.update(re.findall(r'\b(?:struct|union|enum)\s+(\w+)', typedef))
            function = re.search(r'\(\*\s*(\w+)\)\s*\(', typedef)
            plain = re.search(r'(\w+)\s*(?:\[\w*\]|\([^)]*\))?;$', typedef)
            found.update(m.group(1) for m in (function or plain,) if m)
        found.update(re.findall(r'^(?:static )?(?:struct|union|enum) (\w+)$', code, re.M))
    return found


def types(core):
    path = BUILD + '/typedefs.list'
    names = (set(open(core).read().split()) | own_types()) - NO_TYPES
    with open(path, 'w') as f:
        f.writelines(n + '\n' for n in sorted(names))
    return path


def changed(text, rules):
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text


def laid_out(texts):
    """What pgindent makes of the texts of files."""
    script, indent, core = tools()
    with tempfile.TemporaryDirectory() as directory:
        paths = [directory + '/' + name.replace('/', '_') for name, _ in texts]
        for path, (_, text) in zip(paths, texts):
            with open(path, 'w') as f:
                f.write(changed(text, BEFORE))
        command = ['perl', script, '--typedefs=' + types(core), '--indent=' + indent] + paths
        p = subprocess.run(command, cwd=directory, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        if p.returncode:
            raise Failure('pgindent failed:\n' + p.stdout)
        results = [changed(open(path).read(), AFTER) for path in paths]
    for (name, _), result in zip(texts, results):
        if re.search(r'\b(COMPOUND|PACKED)_', result):
            raise Failure('what was hidden from pgindent is not back in ' + name)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='change nothing')
    parser.add_argument('files', nargs='*')
    options = parser.parse_args()
    paths = files(options.files)
    before = [open(p).read() for p in paths]
    after = laid_out([(os.path.relpath(p, TOP), t) for p, t in zip(paths, before)])
    differ = [p for p, old, new in zip(paths, before, after) if old != new]
    for path, new in zip(paths, after):
        if path in differ and not options.check:
            with open(path, 'w') as f:
                f.write(new)
    for path in differ:
        say(os.path.relpath(path, TOP))
    say('%d of %d files %s' % (len(differ), len(paths), 'differ' if options.check else 'changed'))
    return 1 if differ and options.check else 0


sys.exit(main())
