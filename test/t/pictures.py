#!/usr/bin/env python3
"""rowan.page_svg and rowan.tree_svg: pictures of every page and tree, of damaged pages, and beside
writers, are
well-formed SVG that says what page_header, page_items and tree_stats say."""
import os
import random
import sys
import threading
import xml.etree.ElementTree as ET

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import ENGINE, check, say

SVG = '{http://www.w3.org/2000/svg}'


def parse(text, what):
    """The picture; well-formed, and naming nothing outside of it."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as e:
        raise harness.Failure('%s: %s' % (what, e))
    check(root.tag == SVG + 'svg' and root.find(SVG + 'title') is not None, '%s: no title' % what)
    for element in root.iter():
        check(element.tag not in (SVG + 'script', SVG + 'image', SVG + 'use'),
              '%s: %s' % (what, element.tag))
        check(not any('href' in a for a in element.attrib), '%s: %s' % (what, element.attrib))
    check('url(' not in text and '@import' not in text, '%s names something elsewhere' % what)
    width, height = float(root.get('width')), float(root.get('height'))
    for r in root.iter(SVG + 'rect'):
        x, y, w, h = (float(r.get(a)) for a in ('x', 'y', 'width', 'height'))
        check(0 <= x and 0 <= y and w > 0 and h >= 0 and x + w <= width and y + h <= height,
              '%s: a rectangle out of it: %s' % (what, r.attrib))
    return root


def titles(root):
    return [e.text for e in root.iter(SVG + 'title')]


def fill(c):
    c.exec('CREATE TABLE t (id int PRIMARY KEY, n int, s text) USING rowan; '
           "INSERT INTO t SELECT i, i, repeat('abc', i % 30) FROM generate_series(1, 20000) i; "
           'CREATE INDEX t_s ON t USING rowan_btree (s, n)')
    c.exec('UPDATE t SET n = -n WHERE id % 3 = 0')
    c.exec('DELETE FROM t WHERE id % 5 = 0 OR id BETWEEN 4000 AND 8000')
    c.exec('BEGIN; SELECT count(*) FROM (SELECT FROM t WHERE id < 50 FOR UPDATE) x; COMMIT')
    c.exec("UPDATE t SET s = s || 'much longer than it has been' WHERE id % 7 = 0")
    c.exec('CREATE TABLE empty (i int) USING rowan; CREATE INDEX empty_i ON empty USING '
           'rowan_btree (i)')


def pages(c):
    kinds = set()
    for name in ('t', 't_s'):
        for block in range(int(c.one("SELECT high_water FROM rowan.file_header('%s')" % name))):
            what = '%s, block %d' % (name, block)
            root = parse(c.one("SELECT rowan.page_svg('%s', %d)" % (name, block)), what)
            kind, problem = c.rows("SELECT type, problem FROM rowan.page_header('%s', %d)"
                                   % (name, block))[0]
            check(problem is None and 'public.%s, block %d: %s page' % (name, block, kind)
                  == titles(root)[0], '%s: %s' % (what, titles(root)[0]))
            check(not any('bd' in (e.get('class') or '').split() for e in root.iter()),
                  '%s: drawn as damaged' % what)
            items = c.rows("SELECT slot, \"offset\", size FROM rowan.page_items('%s', %d)"
                           % (name, block))
            told = [t for t in titles(root) if t.startswith('slot ')]
            check(len(told) == len(items), '%s: %d items, %d are drawn'
                  % (what, len(items), len(told)))
            for item, tip in zip(items, told):
                check(tip.startswith('slot %s' % item[0]) and (item[1] is None
                        or 'at byte %s, %s bytes' % item[1:] in tip), '%s: %s, not %s' % (what, tip,
                        item))
            kinds.add(kind)
            if block % 10 == 0:
                again = c.one("SELECT rowan.page_svg(rowan.get_page('%s', %d))" % (name, block))
                parse(again, what + ', as bytes')
    check(kinds >= {'header', 'inner', 'leaf', 'version', 'index inner', 'index leaf'},
          'kinds of pages: %s' % kinds)


def trees(c):
    for name in ('t', 't_s', 'empty', 'empty_i'):
        root = parse(c.one("SELECT rowan.tree_svg('%s')" % name), name)
        height, inner, leaves, versions, free = (int(x) for x in c.rows(
            "SELECT height, inner_pages, leaf_pages, version_pages, free_pages FROM "
            "rowan.tree_stats('%s')" % name)[0])
        said = ' '.join(e.text for e in root.iter(SVG + 'text'))
        for words in ('%d level' % height, '%d page' % (inner + leaves), '%d free' % free,
                      '%d of older versions' % versions):
            check(words in said, '%s: not "%s" but: %s' % (name, words, said))
        check('problem' not in said, '%s: %s' % (name, said))
        blocks = int(c.one("SELECT pg_relation_size('%s') / 8192" % name))
        squares = [r for r in root.iter(SVG + 'rect') if r.get('rx') == '1.5']
        check(len(squares) == blocks, '%s: %d blocks, %d are drawn' % (name, blocks, len(squares)))


def beside_writers(server, c, seconds):
    """Rows come and go, VACUUM moves pages."""
    stop = threading.Event()

    def write():
        with server.connect() as w:
            while not stop.is_set():
                w.exec("INSERT INTO t SELECT i, i, 'new' FROM generate_series(100000, 103000) i; "
                       "DELETE FROM t WHERE id >= 100000")
                w.exec('VACUUM t')
    thread = threading.Thread(target=write)
    thread.start()
    n = 0
    end = harness.time.time() + seconds
    try:
        while harness.time.time() < end:
            for name in ('t', 't_s'):
                root = parse(c.one("SELECT rowan.tree_svg('%s')" % name), name)
                said = ' '.join(e.text for e in root.iter(SVG + 'text'))
                check('problem' not in said, 'beside writers: %s: %s' % (name, said))
            parse(c.one("SELECT rowan.page_svg('t', 1)"), 'the root')
            n += 1
    finally:
        stop.set()
        thread.join()
    say('%d pictures beside writers' % (3 * n))


def large(c):
    """A tree of many pages is a picture of few."""
    c.exec("CREATE TABLE large (t text) USING rowan; ALTER TABLE large ALTER t SET STORAGE PLAIN; "
           "INSERT INTO large SELECT repeat('x', 3900) FROM generate_series(1, 12000)")
    c.exec('DELETE FROM large WHERE ctid < \'(20,0)\'')
    text = c.one("SELECT rowan.tree_svg('large')")
    root = parse(text, 'a large tree')
    check(len(text) < 600000, 'the picture has %d bytes' % len(text))
    said = ' '.join(e.text for e in root.iter(SVG + 'text'))
    check('3 levels' in said and 'in a square' in said, 'a large tree: ' + said)
    c.exec('DROP TABLE large')


def any_bytes(c, rnd, n):
    """Damaged pages are drawn as far as they make sense."""
    damaged = drawn = 0
    for _ in range(n):
        name = rnd.choice(['t', 't_s'])
        block = rnd.randrange(int(c.one("SELECT high_water FROM rowan.file_header('%s')" % name)))
        page = bytearray.fromhex(c.one("SELECT rowan.get_page('%s', %d)" % (name, block))[2:])
        for _ in range(rnd.choice([1, 3, 30])):
            at = rnd.choice([rnd.randrange(8192), rnd.randrange(24, 200), rnd.randrange(8, 24),
                             rnd.randrange(8128, 8192)])
            page[at] = rnd.choice([0, 255, rnd.randrange(256), page[at] ^ (1 << rnd.randrange(8))])
        r = c.try_("SELECT rowan.page_svg('\\x%s'::bytea)" % page.hex())
        if r.error:
            check(r.error.sqlstate == '22023', 'a damaged page: %s' % r.error)
            continue
        root = parse(r.rows[0][0], 'a damaged page')
        drawn += 1
        damaged += any('bd' in (e.get('class') or '').split() or e.get('class') == 'p'
                       for e in root.iter())
    random_pages = [bytes(rnd.randrange(256) for _ in range(8184)) + b'\x57\x52' + bytes(6)
                    for _ in range(5)]
    for page in random_pages + [bytes(8192), b'\xff' * 8192]:
        r = c.try_("SELECT rowan.page_svg('\\x%s'::bytea)" % page.hex())
        check(r.error is None or r.error.sqlstate == '22023', 'any bytes: %s' % r.error)
        if not r.error:
            parse(r.rows[0][0], 'any bytes')
    check(damaged > drawn / 3, 'of %d damaged pages %d say so' % (drawn, damaged))
    check(c.rows('SELECT 1') == [('1',)], 'the session is gone')


def names(c):
    """What XML cannot say, or means something else by, is said otherwise."""
    for name in ('<a & "b">', "it's", ']]>', 'tab\there', 'bell\x07', 'end\uffff',
                 '\u00fcml\u00e4ut \u732b'):
        c.exec('CREATE TABLE "%s" (i int) USING rowan' % name.replace('"', '""'))
        root = parse(c.one("SELECT rowan.tree_svg(%s::regclass)"
                           % c.one("SELECT max(oid) FROM pg_class WHERE relkind = 'r'")), name)
        shown = name.replace('\x07', '?').replace('\uffff', '?')
        check(shown.replace('\t', ' ') in titles(root)[0].replace('\t', ' '),
              '%r is called %r' % (name, titles(root)[0]))
        c.exec('DROP TABLE "%s"' % name.replace('"', '""'))


def refused(server, c):
    c.exec('CREATE TABLE h (i int); CREATE VIEW view AS SELECT 1; CREATE TABLE parts (i int) '
           'PARTITION BY LIST (i)')
    for call, sqlstate in (("page_svg('t', -1)", '22023'), ("page_svg('t', 1000000)", '22023'),
                           ("page_svg('t', 9223372036854775807)", '22023'),
                           ("page_svg('h', 0)", '42809'), ("page_svg('view', 0)", '42809'),
                           ("page_svg('parts', 0)", '42809'),
                           ("page_svg('nothing', 0)", '42P01'), ('page_svg(1, 0)', '42P01'),
                           ("page_svg(''::bytea)", '22023'),
                           ("page_svg('\\x00'::bytea)", '22023'), ("tree_svg('h')", '42809'),
                           ("tree_svg('view')", '42809'), ("tree_svg('t_pkey')", '42809')):
        r = c.try_('SELECT rowan.' + call)
        check(r.error is not None and r.error.sqlstate == sqlstate, '%s: %s' % (call, r.error))
    check(c.rows("SELECT rowan.tree_svg(NULL), rowan.page_svg('t', NULL)") == [(None, None)],
          'of NULL')
    c.exec('CREATE ROLE watcher IN ROLE pg_monitor; CREATE ROLE anybody')
    for role, allowed in (('watcher', True), ('anybody', False)):
        c.exec('SET ROLE ' + role)
        for call in ("page_svg('t', 2)", "tree_svg('t')", "tree_svg('t_s')"):
            r = c.try_('SELECT rowan.' + call)
            check((r.error is None) == allowed and (allowed or r.error.sqlstate == '42501'),
                  '%s for %s: %s' % (call, role, r.error))
        c.exec('RESET ROLE')


def damaged_file(server):
    """A page that fails its checksums is an error that names the block, or one of the problems."""
    path = server.path_of('t')
    server.stop()
    with open(path, 'r+b') as f:
        f.seek(5 * 8192 + 4000)
        f.write(b'damage' * 50)
    server.start()
    with server.connect() as c:
        r = c.try_("SELECT rowan.page_svg('t', 5)")
        check(r.error is not None and r.error.sqlstate == 'XX001' and '5' in r.error.primary,
              'page_svg: %s' % r.error)
        root = parse(c.one("SELECT rowan.tree_svg('t')"), 'a tree with a damaged page')
        said = ' '.join(e.text for e in root.iter(SVG + 'text'))
        check('problem' in said, 'a tree with a damaged page: %s' % said)
        parse(c.one("SELECT rowan.page_svg(pg_read_binary_file(pg_relation_filepath('t'), 5 * "
                    "8192, 8192))"), 'a damaged page of a file')


def test(options):
    if not ENGINE:
        return
    server = cluster.make('pictures')
    with server.connect() as c:
        fill(c)
        pages(c)
        trees(c)
        names(c)
        refused(server, c)
        any_bytes(c, random.Random(options.seed), 3000 if options.long else 300)
        large(c)
        beside_writers(server, c, 60 if options.long else 8)
    server.verify()
    damaged_file(server)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
