#!/usr/bin/env python3
"""The style of the source, as far as a program can tell.

* lines: at most 100 columns, no blanks at the end, no carriage returns, ASCII, one line feed at the
  end; C is indented by tabs, Python by blanks
* a C file begins with a comment that has its name and says what it is for; a header has its guard
* includes of the source: postgres.h, then <...>, then "...", each sorted; none twice
* no two files have a function of the same name, static ones included: backtraces know no files
* links in documents lead to files and headings that there are, and so does `doc/NAME.md`, "heading"
* functions and source files that documents name exist

Old files have longer lines: test/style.tsv says how many in which file. A file may not get more,
and `test/t/style.py --accept` takes note when it has fewer. Documentation is not listed there.
"""
import argparse
import collections
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import harness
from harness import TOP, Failure, check

COLUMNS = 100
LONG_LINES = TOP + '/test/style.tsv'
CHECKED = ('.c', '.h', '.py', '.sh', '.sql', '.spec', '.md', '.tsv', '.psql', 'Makefile', 'run')
# data that has a form of its own
FREE = re.compile(r'^(expected/|test/specs/expected/|test/.*\.tsv$)')
NO_OLD_LINES = re.compile(r'^(doc/|README|CONTRIBUTING|CHANGELOG|test/t/style\.py$)')
# texts in other alphabets are what these are about
NOT_ASCII = {'test/lib/optypes.py'}

# function: why more than one file may have one of that name
SAME_NAMES = {
    'insert_rows': 'to be renamed',
}


# ---- rules for one file: name, text -> (line, complaint) ----

def columns(name, line):
    """Messages in C are not broken, so that one finds them: a long string counts as none."""
    if name.endswith(('.c', '.h')):
        line = re.sub(r'"([^"\\]|\\.){40,}"', '""', line)
    return len(line.expandtabs(4))


def long_lines(name, text):
    for number, line in enumerate(text.split('\n'), 1):
        if columns(name, line) > COLUMNS:
            yield number, '%d columns' % columns(name, line)


def characters(name, text):
    for number, line in enumerate(text.split('\n'), 1):
        if line.endswith('\r'):
            yield number, 'carriage return'
        elif line != line.rstrip():
            yield number, 'blanks at the end'
        if not line.isascii() and name not in NOT_ASCII:
            yield number, 'not ASCII: ' + ascii(re.sub(r'[\x00-\x7f]', '', line))
        if name.endswith('.py') and '\t' in line:
            yield number, 'a tab'
        if name.endswith(('.c', '.h')) and line.startswith('  '):
            yield number, 'indented by blanks'
    if not text.endswith('\n') or text.endswith('\n\n'):
        yield text.count('\n') + 1, 'the file does not end with one line feed'


def head(name, text):
    if not name.endswith(('.c', '.h')):
        return
    base = os.path.basename(name)
    if not re.match(r'/\*\n \* %s\n \*\t  \S' % re.escape(base), text):
        yield 1, 'does not begin with "/*", " * %s", " *<tab>  what it is for"' % base
    if name.startswith('src/') and name.endswith('.h'):
        guard = 'ROWAN_' + re.sub(r'\W', '_', name[len('src/'):]).upper()
        if not re.search(r'^#ifndef %s\n#define %s$' % (guard, guard), text, re.M):
            yield 1, 'has no guard ' + guard


def includes(name, text):
    if not name.startswith('src/') or not name.endswith(('.c', '.h')):
        return
    depth, last, seen = 0, (0, ''), set()
    for number, line in enumerate(text.split('\n'), 1):
        if re.match(r'#\s*if', line) and not re.match(r'#ifndef ROWAN_\w+_H$', line):
            depth += 1
        elif re.match(r'#\s*endif', line):
            depth -= 1
        m = re.match(r'#\s*include\s+(["<])([^">]+)', line)
        if not m or depth > 0:
            continue
        this = (0 if m.group(2) == 'postgres.h' else 1 if m.group(1) == '<' else 2, m.group(2))
        if name.endswith('.c') and not seen and this[0] > 0:
            yield number, 'postgres.h comes first'
        if this in seen:
            yield number, m.group(2) + ' is included twice'
        elif this < last:
            yield number, '%s comes before %s' % (this[1], last[1])
        last = this
        seen.add(this)


RULES = (long_lines, characters, head, includes)


# ---- rules for all files together ----

# In PostgreSQL's style a function's name begins a line.
FUNCTION = re.compile(r'^[A-Za-z]\w+\b[^;{}=()#]*?\n(\w+)\([^;]*?\)\n\{', re.M)


def code(text):
    return re.sub(r'/\*.*?\*/', '', text, flags=re.S)


def same_names(texts, allowed):
    """texts: {name: text}"""
    where = collections.defaultdict(set)
    for name, text in texts.items():
        if name.startswith('src/') and name.endswith(('.c', '.h')):
            for function in FUNCTION.findall(code(text)):
                where[function].add(name)
    for function, names in sorted(where.items()):
        if len(names) > 1 and function not in allowed:
            yield 'function %s is in %s' % (function, ', '.join(sorted(names)))
    for function in allowed:
        if len(where[function]) < 2:
            yield 'SAME_NAMES lists %s, which is in one file only' % function


def old_long_lines(counts, listed):
    """counts: {name: lines that are too long}; listed: how many there may be."""
    for name in sorted(set(counts) | set(listed)):
        now, before = len(counts.get(name, ())), listed.get(name, 0)
        if NO_OLD_LINES.match(name) and before:
            yield '%s must not be listed in test/style.tsv' % name
        elif now > before:
            lines = ' '.join(str(n) for n, _ in counts[name])
            yield '%s: %d lines of more than %d columns, %d are listed: %s' % (
                name, now, COLUMNS, before, lines)
        elif now < before:
            yield '%s: %d long lines, %d are listed: run test/t/style.py --accept' % (
                name, now, before)


HEADING = re.compile(r'^#+ (.*)$', re.M)
LINK = re.compile(r'\]\(([^)#\s]*)(?:#([^)\s]+))?\)')
AFTER = re.compile(r'`?(doc/\w+\.md)`?,\s+"([^"]+)"')
BEFORE = re.compile(r'"([^"]+)" in (doc/\w+\.md)')


def anchor(heading):
    """As GitHub makes it."""
    return re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-')


def links(texts, exists):
    """texts: {name: text}; exists: is there such a file?"""
    headings = {n: HEADING.findall(re.sub(r'^```.*?^```', '', t, flags=re.S | re.M))
                for n, t in texts.items() if n.endswith('.md')}
    for name, text in texts.items():
        if name in headings:
            for path, place in LINK.findall(text):
                target = os.path.normpath(os.path.join(os.path.dirname(name), path))
                target = target if path else name
                if path.startswith(('http:', 'https:')):
                    continue
                if path and not exists(target):
                    yield '%s: there is no %s' % (name, target)
                elif place and place not in [anchor(h) for h in headings[target]]:
                    yield '%s: %s has no heading #%s' % (name, target, place)
        told = AFTER.findall(text) + [(b, a) for a, b in BEFORE.findall(text)]
        for target, heading in told:
            heading = ' '.join(heading.split())
            if target in headings and heading != '%s' and heading not in headings[target]:
                yield '%s: %s has no heading "%s"' % (name, target, heading)


NAMING = ('doc/architecture.md', 'doc/mechanisms.md', 'doc/invariants.md')
STEP = re.compile(r'^\|[^|]*\| (`[^|]*`) \| (`[^|]*\.[ch]`) \|$', re.M)


def names(texts):
    """texts: {name: text}.  If a row of a table ends in functions and files, they go together."""
    source = {n: t for n, t in texts.items() if n.startswith(('src/', 'test/unit/'))}
    words = set(re.findall(r'\w+', ' '.join(source.values())))
    for name in NAMING:
        text = texts.get(name, '')
        for word in sorted(set(re.findall(r'`([^`\n]+)`', text))):
            if re.match(r'[a-z]+_\w*[a-z]$', word) and word not in words:
                yield '%s: there is no %s in the source' % (name, word)
            elif re.match(r'[\w/]+\.[ch]$', word) and not file_of(word, source):
                yield '%s: there is no %s' % (name, word)
        for functions, files in STEP.findall(text):
            there = [n for f in re.findall(r'[\w/]+\.[ch]', files) for n in file_of(f, source)]
            defined = FUNCTION.findall(code('\n'.join(source[n] for n in there)))
            for function in re.findall(r'\w+', functions):
                if function not in defined:
                    yield '%s: %s is not in %s' % (name, function, files)


def file_of(name, source):
    return [n for n in source if ('/' + n).endswith('/' + name)]


# ---- the rules are able to find something ----

HEAD = '/*\n * a.c\n *\t  Does this.\n */\n'
HEADER = HEAD.replace('a.c', 'a.h') + '#ifndef ROWAN_B_A_H\n#define ROWAN_B_A_H\n'
INCLUDES = '#include "postgres.h"\n\n#include <math.h>\n#include <time.h>\n\n#include "b/c.h"\n'
GOOD = HEAD + INCLUDES + '\nstatic int\nf(void)\n{\n\treturn 1;\n}\n'

# rule, file's name, its text, how many complaints
EXAMPLES = (
    (long_lines, 'doc/a.md', 'x' * 100 + '\n', 0),
    (long_lines, 'doc/a.md', 'x' * 101 + '\n', 1),
    (long_lines, 'src/a.c', '\t\t' + 'x' * 92 + '\n', 0),
    (long_lines, 'src/a.c', '\t\t' + 'x' * 93 + '\n', 1),
    (long_lines, 'src/a.c', '\terrmsg("%s")\n' % ('x' * 100), 0),
    (long_lines, 'src/a.c', 'x' * 70 + '("%s")\n' % ('x' * 30), 1),
    (long_lines, 'test/a.py', 'f("%s")\n' % ('x' * 100), 1),
    (characters, 'src/a.c', GOOD, 0),
    (characters, 'src/a.c', '\tx \n', 1),
    (characters, 'src/a.c', '\tx\t\n', 1),
    (characters, 'src/a.c', '\tx\r\n', 1),
    (characters, 'src/a.c', '/* \u2192 */\n', 1),
    (characters, 'test/lib/optypes.py', '# \u00e9\n', 0),
    (characters, 'src/a.c', '    x;\n', 1),
    (characters, 'test/t/a.py', '\tx\n', 1),
    (characters, 'src/a.c', 'x', 1),
    (characters, 'src/a.c', 'x\n\n', 1),
    (head, 'src/a.c', GOOD, 0),
    (head, 'src/b.c', GOOD, 1),
    (head, 'src/a.c', '/* a.c: does this. */\n', 1),
    (head, 'src/a.c', HEAD.replace('\t ', ' '), 1),
    (head, 'src/b/a.h', HEADER, 0),
    (head, 'src/c/a.h', HEADER, 1),
    (includes, 'src/a.c', GOOD, 0),
    (includes, 'src/a.c', '#include <math.h>\n#include "postgres.h"\n', 2),
    (includes, 'src/a.c', '#include "postgres.h"\n#include <time.h>\n#include <math.h>\n', 1),
    (includes, 'src/a.c', '#include "postgres.h"\n#include "c.h"\n#include <math.h>\n', 1),
    (includes, 'src/a.c', '#include "postgres.h"\n\n#include "c.h"\n\n#include "b.h"\n', 1),
    (includes, 'src/a.c', '#include "postgres.h"\n#include "c.h"\n#include "c.h"\n', 1),
    (includes, 'src/a.c', '#include "postgres.h"\n#if X\n#include "b.h"\n#endif\n', 0),
    (includes, 'src/a.h', '#ifndef ROWAN_A_H\n#include "c.h"\n#include "b.h"\n#endif\n', 1),
)

NAMED = '| a | `g` | `b/c.c` |\n`d.h` `no_such`\n'

TWICE = 'static int\ng(int a,\n  int b)\n{\n}\n'
TOGETHER = (
    (same_names, ({'src/a.c': GOOD, 'src/b.c': TWICE}, {}), 0),
    (same_names, ({'src/a.c': TWICE, 'src/b.c': TWICE}, {}), 1),
    (same_names, ({'src/a.h': TWICE.replace('int\n', 'inline int\n'), 'src/b.c': TWICE}, {}), 1),
    (same_names, ({'src/a.c': TWICE, 'src/b.c': TWICE}, {'g': 'why'}), 0),
    (same_names, ({'src/a.c': TWICE, 'src/b.c': GOOD}, {'g': 'why'}), 1),
    (same_names, ({'src/a.c': TWICE, 'src/b.c': '/*\n' + TWICE + '*/\n'}, {}), 0),
    (old_long_lines, ({'test/a.py': [(1, '')]}, {'test/a.py': 1}), 0),
    (old_long_lines, ({'test/a.py': [(1, ''), (2, '')]}, {'test/a.py': 1}), 1),
    (old_long_lines, ({'test/a.py': [(1, '')]}, {}), 1),
    (old_long_lines, ({}, {'test/a.py': 1}), 1),
    (old_long_lines, ({'doc/a.md': [(1, '')]}, {'doc/a.md': 1}), 1),
    (links, ({'doc/a.md': '# A, b\n[x](#a-b) [z](https://c)\n'}, None), 0),
    (links, ({'doc/a.md': '# A, b\n[x](b.md)\n'}, 'b.md'.__eq__), 1),
    (links, ({'doc/a.md': '# A\n[x](b.svg)\n', 'b': '"A" in doc/a.md\n'}, 'doc/b.svg'.__eq__), 0),
    (links, ({'doc/a.md': '# A\n[x](#b)\n'}, None), 1),
    (names, ({NAMING[0]: NAMED, 'src/b/c.c': GOOD, 'src/d.h': ''},), 2),
    (names, ({NAMING[0]: NAMED, 'src/b/c.c': TWICE, 'src/d.h': 'no_such'},), 0),
    (names, ({NAMING[0]: NAMED},), 4),
    (links, ({'doc/a.md': '# A\n', 'b': '`doc/a.md`, "B"\n"C" in doc/a.md\n'}, None), 2),
)


def check_rules():
    for rule, name, text, expected in EXAMPLES:
        found = list(rule(name, text))
        check(len(found) == expected, '%s says of %r: %s' % (rule.__name__, text, found))
    for rule, arguments, expected in TOGETHER:
        found = list(rule(*arguments))
        check(len(found) == expected, '%s says of %r: %s' % (rule.__name__, arguments, found))


# ---- the test ----

def read_files():
    """{name: text}: what git knows; without git (an unpacked archive) all files of our folders."""
    if os.path.exists(TOP + '/.git'):
        out = subprocess.run(['git', '-c', 'safe.directory=*', '-C', TOP, 'ls-files', '-co',
                              '--exclude-standard'], stdout=subprocess.PIPE, text=True, check=True)
        names = out.stdout.split()
    else:
        names = [os.path.relpath(os.path.join(d, f), TOP) for d, _, fs in os.walk(TOP) for f in fs]
        names = [n for n in names if not re.match('build/|bench-results/|test/unit/build/', n)]
    names = [n for n in sorted(names) if n.endswith(CHECKED) and not FREE.match(n)]
    return {n: open(os.path.join(TOP, n), newline='', encoding='utf-8').read() for n in names
            if os.path.exists(os.path.join(TOP, n))}


def listed_long_lines():
    with open(LONG_LINES) as f:
        rows = [line.rstrip('\n').split('\t') for line in f if not line.startswith('#')]
    return {name: int(count) for name, count in rows}


def accept(counts, listed):
    """Only smaller numbers are taken over."""
    with open(LONG_LINES, 'w') as f:
        f.write('# Lines of more than %d columns in old files: see test/t/style.py.\n' % COLUMNS)
        for name, before in sorted(listed.items()):
            now = min(before, len(counts.get(name, ())))
            if now:
                f.write('%s\t%d\n' % (name, now))


def test(options):
    check_rules()
    texts = read_files()
    check(len(texts) > 200, 'only %d files were found' % len(texts))
    counts, bad = {}, []
    for name, text in texts.items():
        for rule in RULES:
            found = list(rule(name, text))
            if rule is not long_lines:
                bad += ['%s:%d: %s' % (name, number, what) for number, what in found]
            elif found:
                counts[name] = found
    if options.accept:
        accept(counts, listed_long_lines())
    bad += old_long_lines(counts, listed_long_lines())
    bad += same_names(texts, SAME_NAMES)
    bad += names(texts)
    bad += links(texts, lambda name: os.path.exists(os.path.join(TOP, name)))
    if bad:
        raise Failure('\n'.join(bad))


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('--accept', action='store_true', help='take note of fewer long lines')
    harness.main(test, parser)
