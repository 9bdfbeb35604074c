#!/usr/bin/env python3
"""The manual (doc/reference.md) has every function, view and setting that the catalog has, their
columns and
arguments, and every hint that the source gives;
and nothing that is not there.  Each object has a comment."""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import ENGINE, TOP, check, say

MANUAL = TOP + '/doc/reference.md'

# Called by the server, not by users; settings and hints of builds with fault points.
INTERNAL = {'rowan_table_handler', 'btree_handler'}
FOR_TESTS = {'fault.c'}

MINE = """FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'rowan' """


def sections(text):
    """{heading: text} of level 2."""
    parts = re.split(r'^## (.*)$', text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def entries(section):
    """{name: text} of '### `name`...' in a section; several names in one heading have one text."""
    found = {}
    for heading, body in re.findall(r'^### (.*)\n((?:(?!###).*\n)*)', section, re.M):
        for name in re.findall(r'`([\w.]+)', heading):
            found.setdefault(name, []).append(heading + '\n' + body)
    return found


def compare(kind, documented, existing):
    missing, surplus = sorted(existing - documented), sorted(documented - existing)
    check(not missing, 'the manual lacks the %s %s' % (kind, ', '.join(missing)))
    check(not surplus, 'the manual has %s that do not exist: %s' % (kind, ', '.join(surplus)))


def words_of(text):
    return set(re.findall(r'\w+', text))


# ---- the catalog ----

def functions(c, section):
    documented = entries(section)
    rows = c.rows("SELECT p.proname, array_to_string(p.proargnames, ','), "
                  "pg_get_function_identity_arguments(p.oid), "
                  "array_length(p.proargtypes, 1), obj_description(p.oid, 'pg_proc') " + MINE +
                  "JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass "
                  'ORDER BY 1')
    views = {r[0] for r in c.rows("SELECT relname FROM pg_class WHERE relnamespace = "
                                  "'rowan'::regnamespace AND relkind = 'v'")}
    compare('functions', set(documented), {r[0] for r in rows} - INTERNAL - views)
    for name, names, arguments, _, comment in rows:
        check(comment, 'function %s has no comment' % name)
        if name in INTERNAL | views:
            continue
        text = '\n'.join(documented[name])
        for column in (names or '').split(','):
            check(not column or column in words_of(text),
                  'the manual does not have %s of function %s' % (column, name))
    return rows


def views(c, section):
    documented = entries(section)
    rows = c.rows("SELECT c.relname, string_agg(a.attname, ',' ORDER BY attnum), "
                  "obj_description(c.oid, 'pg_class') " + MINE +
                  "JOIN pg_class c ON c.oid = d.objid AND d.classid = 'pg_class'::regclass AND "
                  "relkind = 'v' "
                  'JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 GROUP BY 1, c.oid')
    compare('views', set(documented), {r[0] for r in rows})
    for name, columns, comment in rows:
        check(comment, 'view %s has no comment' % name)
        text = '\n'.join(documented[name])
        said = set(re.findall(r'`(\w+)`', text))
        for column in columns.split(','):
            check(column in said, 'the manual does not have column %s of view %s' % (column, name))
    return rows


def settings(c, section):
    rows = c.rows("SELECT name, boot_val, unit, context, min_val, max_val, short_desc FROM "
                  "pg_settings WHERE name LIKE 'rowan.%'")
    documented = entries(section)
    compare('settings', set(documented), {r[0] for r in rows})
    for name, value, unit, context, _, _, about in rows:
        text = ' '.join(' '.join(documented[name]).split())
        check(about, 'setting %s has no description' % name)
        default = re.search(r'Default:? `([^`]+)`', text)
        check(default, 'the manual does not say the default of %s' % name)
        shown = c.one("SELECT current_setting('%s')" % name)
        in_file = c.one("SELECT setting = boot_val FROM pg_settings WHERE name = '%s'" % name)
        check(in_file != 't' or default.group(1) == shown, '%s: default %s, the manual says %s'
              % (name, shown, default.group(1)))
        when = {'postmaster': 'restart', 'sighup': 'reload', 'superuser': 'superuser',
                'user': 'anybody'}[context]
        check(when in text, '%s: the manual does not say "%s"' % (name, when))
    return rows


def others(c):
    """Schema, extension and access methods."""
    for sql in ("SELECT obj_description('rowan'::regnamespace, 'pg_namespace')",
                "SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = "
                "'rowan'"):
        check(c.one(sql), 'no comment: ' + sql)
    rows = c.rows("SELECT amname, obj_description(oid, 'pg_am') FROM pg_am WHERE amname LIKE "
                  "'rowan%'")
    check(len(rows) == 2 and all(r[1] for r in rows), 'access methods without a comment: %s' % rows)


# ---- hints ----

STRING = r'"((?:[^"\\]|\\.)*)"'


def call(text, start):
    """What is in the parentheses that begin there, strings taken for what they are."""
    depth, i = 0, start
    while i < len(text):
        if text[i] == '"':
            i = re.compile(STRING).match(text, i).end() - 1
        elif text[i] == '(':
            depth += 1
        elif text[i] == ')':
            depth -= 1
            if depth == 0:
                return text[start + 1:i]
        i += 1
    raise harness.Failure('no end of a call')


def plain(text):
    """Words only: no quotes, no places for values, no line ends."""
    text = re.sub(r'%[-0-9.]*(?:ll|l|z)?[sdux%]', ' ', text.replace('\\n', ' ').replace('\\"', ' '))
    return ' '.join(re.findall(r'[\w().=-]+', text.replace('...', ' ')))


def hints():
    """Each sentence that an errhint may say: (file, text)."""
    for path in sorted(glob.glob(TOP + '/src/**/*.c', recursive=True)):
        name, text = os.path.basename(path), open(path).read()
        if name in FOR_TESTS:
            continue
        defined = {n: v for n, v in re.findall(r'#define (\w+)((?:.*\\\n)*.*\n)', text)}
        for m in re.finditer(r'\berrhint\w*(?=\()', text):
            said = call(text, m.end())
            said = defined.get(said.strip(), said)
            strings = re.sub(r'"\s*"', '', said)
            for hint in re.findall(STRING, strings):
                if len(plain(hint)) > 3:
                    yield name, hint
        for body in re.findall(r'^hint_for\(.*?^}', text, re.S | re.M):
            for hint in re.findall(STRING, re.sub(r'"\s*"', '', body)):
                yield name, hint
    for path in glob.glob(TOP + '/rowan--*.sql'):
        for hint in re.findall(r"HINT = '((?:[^']|'')*)'", open(path).read()):
            yield os.path.basename(path), hint


def in_manual(section):
    said = plain(re.sub(r'`', '', section))
    n = 0
    for name, hint in hints():
        n += 1
        check(plain(hint) in said, 'the manual does not have a hint of %s: %s' % (name, hint))
    check(n > 30, 'only %d hints were found' % n)
    return n


def test(options):
    if not ENGINE:
        return
    with open(MANUAL) as f:
        text = sections(f.read())
    n = in_manual(text['Messages with a hint'])
    server = cluster.make('manual')
    with server.connect() as c:
        found = functions(c, text['Functions']), views(c, text['Views']), settings(c,
                text['Settings'])
        others(c)
    server.stop()
    say('%d functions, %d views, %d settings, %d hints' % (*(len(f) for f in found), n))


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
