#!/usr/bin/env python3
"""What the library keeps in memory of its own, from call to call, in each process: only what doc/architecture.md
lists, so that no buffer is shared by two who do not know of each other.

Read from the compiled library: variables, in functions or files, that can be written and are not small.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import harness
from harness import TOP, check, run, say

SMALL_BYTES = 256
HEADING = '### What a process keeps'


def variables(library):
    """{name: bytes} of writable variables.  Constant tables with addresses in them are in .data.rel.ro."""
    found = {}
    for line in run(['objdump', '-t', library]).split('\n'):
        m = re.match(r'[0-9a-f]+ .{7} (\.bss|\.data)\s+([0-9a-f]+)\s+(?:\.hidden )?(\S+)$', line)
        if m:
            name = re.sub(r'(_entries)?(\.\d+)?$', '', m.group(3))
            found[name] = max(found.get(name, 0), int(m.group(2), 16))
    return found


def listed():
    """What the items of the section's lists begin with."""
    text = open(TOP + '/doc/architecture.md').read()
    check(text.count(HEADING) == 1, 'doc/architecture.md has no section "%s"' % HEADING)
    section = re.split(r'\n##', text.split(HEADING)[1])[0]
    return {name for item in re.findall(r'^\* ((?:`\w+`,? ?)+) in `', section, re.M)
            for name in re.findall(r'\w+', item)}


def caches():
    """Names given to FILE_CACHE."""
    found = []
    for folder, _, files in os.walk(TOP + '/src'):
        for name in files:
            if name.endswith('.c'):
                found += re.findall(r'^FILE_CACHE\((\w+),', open(os.path.join(folder, name)).read(), re.M)
    return found


def test(options):
    found, names = variables(os.path.join(harness.build('release'), 'rowan.so')), listed()
    large = {name for name, size in found.items() if size >= SMALL_BYTES}
    check('copies' in large and found.get('preloaded', 0) < SMALL_BYTES, 'the library shows only %s' % sorted(found))
    for name in sorted(large - names):
        check(False, '%s, %d bytes, is not listed in doc/architecture.md, "%s"' % (name, found[name], HEADING))
    for name in sorted(names - large):
        check(False, '%s is listed in doc/architecture.md, but there is no such variable' % name)
    for name in caches():
        check(caches().count(name) == 1, 'two caches are called %s' % name)
        check(name in names, 'the cache %s is not listed in doc/architecture.md' % name)
    say('%d variables, %d of them not small and listed' % (len(found), len(large)))


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
