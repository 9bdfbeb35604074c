#!/usr/bin/env python3
"""The inspection functions agree with what is in tables and indexes, and take any bytes."""
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, TOP, check, say

INDEXES = {
    'i': ('(i)', "'(' || i || ')'"),
    'it': ('(i DESC, t) INCLUDE (n)', "'(' || i || ', ' || t || ', ' || coalesce(n::text, 'null') || ')'"),
    'low': ('(low)', "'(' || low || ')'"),
    'nam': ('(nam)', "'(' || nam || ')'"),
    'n': ('(n NULLS FIRST)', "'(' || coalesce(n::text, 'null') || ')'"),
    'r': ('(r)', "'(' || r::text || ')'"),
    'part': ('((i % 7), t) WHERE low = 3', None),
}


def index_pages(c, name):
    """Every page of an index: what index_items, page_items, page_header and tree_stats say fits together."""
    stat = [int(x) for x in c.rows("SELECT height, inner_pages, leaf_pages, free_pages, unused_pages, rows FROM rowan.tree_stats('%s')" % name)[0]]
    blocks = int(c.rows("SELECT high_water FROM rowan.file_header('%s')" % name)[0][0])
    check(blocks == 1 + sum(stat[1:4]), '%s: %d blocks, tree_stats %s' % (name, blocks, stat))
    entries, children, kinds = [], [], {}
    for block in range(1, blocks):
        kind, level, slots, problem = c.rows("SELECT type, level, slots, problem FROM rowan.page_header('%s', %d)" % (name, block))[0]
        check(problem is None, 'page_header: block %d: %s' % (block, problem))
        kinds[kind] = kinds.get(kind, 0) + 1
        items = c.rows("SELECT slot, kind, size, prefix, natts, key, tid, tids, child, dead, problem FROM rowan.index_items('%s', %d)" % (name, block))
        raw = c.rows("SELECT slot, kind, size, prefix, tid, child, problem FROM rowan.page_items('%s', %d)" % (name, block))
        check(c.rows("SELECT count(*) FROM rowan.page_items(rowan.get_page('%s', %d))" % (name, block)) == [(str(len(raw)),)], 'page_items of bytes')
        check([(r[0], r[1], r[2], r[3], r[6], r[8], r[10]) for r in items] == raw, 'block %d: index_items and page_items differ: %s' % (block, [(a, b) for a, b in zip([(r[0], r[1], r[2], r[3], r[6], r[8], r[10]) for r in items], raw) if a != b][:3]))
        if kind == 'free':
            continue
        check(len(items) == int(slots) and all(r[10] is None for r in items), 'block %d: %s' % (block, items[:3]))
        check(items[0][1] == 'low fence' and items[1][1] in ('high fence', 'no high fence'), 'fences of block %d: %s' % (block, items[:2]))
        for r in items[2:]:
            if kind == 'index leaf':
                check(r[1] == ('entry' if r[7].count('(') == 1 else 'list') and r[9] is not None, 'block %d: %s' % (block, r))
                entries += [(r[5], t) for t in r[7].strip('{}"').replace('"', '').replace('),(', ')|(').split('|')]
            else:
                check(r[1] == 'child', 'block %d: %s' % (block, r))
                children.append(int(r[8]))
    check(kinds.get('index leaf', 0) == stat[2] and kinds.get('index inner', 0) == stat[1], '%s: %s, tree_stats %s' % (name, kinds, stat))
    check(len(entries) == stat[5], '%d entries, tree_stats says %d' % (len(entries), stat[5]))
    check(len(set(children)) == len(children) == stat[1] + stat[2] - 1, '%d children of %s' % (len(children), stat))
    return entries


def indexes(server, c, am):
    c.exec("CREATE TABLE t_%s (i int, t text, low int, nam name, n numeric, r int4range) USING %s" % (am, am))
    c.exec("INSERT INTO t_%s SELECT i, repeat('long common prefix ', i %% 3 * 2) || i, i %% 5, 'name ' || i, nullif(i %% 9, 3) * 1.50, int4range(i, i + 3) "
           "FROM generate_series(1, 3000) i" % am)
    for name, (definition, key) in INDEXES.items():
        ix = 'ix_%s_%s' % (am, name)
        c.exec('CREATE INDEX %s ON t_%s USING rowan_btree %s' % (ix, am, definition))
        if name == 'i':
            c.exec('DELETE FROM t_%s WHERE i BETWEEN 500 AND 2000' % am)
            c.exec('VACUUM t_' + am)
        entries = index_pages(c, ix)
        if key:
            rows = c.rows('SELECT %s, ctid FROM t_%s' % (key, am))
            if am == AM:            # entries have no tag
                rows = [(k, '(%s,%d)' % (t.strip('()').split(',')[0], int(t.strip('()').split(',')[1]) & 511)) for k, t in rows]
            check(sorted(entries) == sorted(rows), '%s: entries are not those of the rows: %s %s' % (ix, sorted(entries)[:3], sorted(rows)[:3]))
        check(int(c.rows("SELECT rowan.prewarm('%s')" % ix)[0][0]) > 0, 'prewarm')
        c.exec("SELECT rowan.flush('%s')" % ix)
    # marks of dead entries
    c.exec('DELETE FROM t_%s WHERE i < 20; SET enable_seqscan = off; SET enable_bitmapscan = off' % am)
    for _ in range(2):
        c.rows('SELECT * FROM t_%s WHERE i < 30' % am)
    marked = c.rows("SELECT count(*) FROM generate_series(1, 5) b, rowan.index_items('ix_%s_i', b) WHERE dead" % am)
    check(marked == [('19',)], '%s: %s entries marked dead' % (am, marked))


def refused(c, am):
    for call, words in (("rowan.index_items('t_%s', 1)" % AM, 'page_items'), ("rowan.version_store_stats('ix_%s_i')" % am, 'not a Rowan table'),
                        ("rowan.get_page('t_btree', 0)", 'not a Rowan table or index'), ("rowan.get_page('ix_%s_i', 100000)" % am, 'does not exist')):
        r = c.try_('SELECT * FROM ' + call)
        check(r.error is not None and words in str(r.error) + str(r.error.hint), '%s: %s' % (call, r.error))


def headers_use_slack(c):
    """On full leaves, rows are updated, frozen, locked: none moves, no leaf is split."""
    c.exec('CREATE TABLE still (a int, b int, t text, n numeric[]) USING rowan;'
           'ALTER TABLE still ALTER n SET STORAGE PLAIN;'
           "INSERT INTO still SELECT i, i, CASE WHEN i % 3 > 0 THEN 'text' END, "
           'CASE WHEN i % 5 = 0 THEN array_fill(i::numeric, ARRAY[20]) END '
           'FROM generate_series(1, 2000) i')
    leaves = c.one("SELECT leaf_pages + 1 FROM rowan.tree_stats('still')")
    places = ('SELECT b, slot, "offset" - slack, "offset" + size, lower, upper '
              "FROM generate_series(2, %s) b, rowan.page_items('still', b), "
              "rowan.page_header('still', b) WHERE type = 'leaf'" % leaves)
    slack = "SELECT leaf_slack_bytes FROM rowan.tree_stats('still')"
    before, fresh = c.rows(places), int(c.one(slack))
    check(len(before) == 2000 and fresh >= 2000 * 8, 'slack of %d rows: %d' % (len(before), fresh))
    for statement in ('SELECT count(*) FROM (SELECT FROM still FOR UPDATE) x',
                      'UPDATE still SET b = -b', 'VACUUM (FREEZE) still',
                      'BEGIN; UPDATE still SET b = 0; ROLLBACK', 'VACUUM (FREEZE) still',
                      'BEGIN; CREATE TABLE nothing (); UPDATE still SET b = b + 1; COMMIT'):
        c.exec(statement)
        moved = sorted(set(before) ^ set(c.rows(places)))
        check(not moved, '%s: rows have moved: %s' % (statement, moved[:6]))
    wrong = c.rows("SELECT b FROM generate_series(2, %s) b, rowan.page_header('still', b) h "
                   "WHERE type = 'leaf' AND (slack_bytes <> (SELECT sum(slack) FROM "
                   "rowan.page_items('still', b)) OR sum NOT BETWEEN 0 AND 4294967295)" % leaves)
    check(not wrong, 'page_header: slack or sum of %s' % wrong)
    check(int(c.one(slack)) == 0, 'updated rows have %s bytes of slack' % c.one(slack))
    check(c.rows("SELECT * FROM rowan.verify('still')") == [], 'verify')


def any_bytes(c, rnd, n):
    """Damaged pages: rows with a problem, or an error; the server goes on."""
    names = ['ix_%s_%s' % (am, name) for am in ('heap', AM) for name in INDEXES] + ['t_' + AM]
    for _ in range(n):
        name = rnd.choice(names)
        block = rnd.randrange(int(c.rows("SELECT high_water FROM rowan.file_header('%s')" % name)[0][0]))
        page = bytearray.fromhex(c.rows("SELECT rowan.get_page('%s', %d)" % (name, block))[0][0][2:])
        for _ in range(rnd.choice([1, 3, 30])):
            at = rnd.choice([rnd.randrange(8192), rnd.randrange(24, 200), rnd.randrange(8000, 8192)])
            page[at] = rnd.choice([0, 255, rnd.randrange(256), page[at] ^ (1 << rnd.randrange(8))])
        for f in ('page_items', 'page_header'):
            c.try_("SELECT count(*) FROM rowan.%s('\\x%s'::bytea)" % (f, page.hex()))
    check(c.rows('SELECT 1') == [('1',)], 'the session is gone')


def script_for_everything(server):
    """The script of doc/dba.md: silent on what is sound, not on what is damaged; pg_amcheck is, of both."""
    with open(TOP + '/doc/dba.md') as f:
        script = re.search(r'(?m)(^    CREATE EXTENSION IF NOT EXISTS amcheck;\n(^    .*\n)+)', f.read()).group(1)
    server.sql('CREATE TABLE whole (id int PRIMARY KEY, t text) USING rowan; CREATE INDEX ON whole USING rowan_btree (t); '
               "INSERT INTO whole SELECT i, 't' || i FROM generate_series(1, 3000) i; CREATE EXTENSION IF NOT EXISTS amcheck")
    got = server.psql(script, options='-c client_min_messages=warning')
    check(got == '', 'the script that checks everything: ' + got)
    for relation in ('whole', 'whole_t_idx', 'whole_pkey'):
        path = server.path_of(relation)
        server.stop()
        with open(path, 'r+b') as f:
            f.seek(3 * 8192 + 5000)
            sound = f.read(500)
            f.seek(3 * 8192 + 5000)
            f.write(b'damage' * 83)
        server.start()
        got = server.psql(script, options='-c client_min_messages=warning', check_=False)
        check('whole' in got or 'invalid page' in got, 'the script that checks everything does not see damage in %s: %s' % (relation, got))
        server.run_tool('pg_amcheck', 'postgres')       # fails if it finds something: doc/dba.md says so
        server.stop()
        with open(path, 'r+b') as f:
            f.seek(3 * 8192 + 5000)
            f.write(sound)
        server.start()


def records_have_names(server):
    """pg_walinspect runs in the server, which knows the records of extensions."""
    server.sql('CREATE EXTENSION pg_walinspect')
    start = server.one('SELECT pg_current_wal_lsn()')
    server.sql('CREATE TABLE named (id int) USING rowan; '
               'CREATE INDEX ON named USING rowan_btree (id); '
               'INSERT INTO named SELECT generate_series(1, 20000); '
               'UPDATE named SET id = 2 WHERE id = 1; DELETE FROM named WHERE id > 10')
    server.sql('VACUUM named')
    server.sql("SELECT pg_logical_emit_message(true, '', '')")      # only what is flushed is shown
    rows = server.sql("SELECT DISTINCT record_type FROM pg_get_wal_records_info('%s', pg_current_wal_lsn()) "
                      "WHERE resource_manager = 'rowan' AND description <> ''" % start)
    check({'INSERT', 'REPLACE', 'CHANGE', 'ENTRY', 'EXTEND', 'TRUNCATE'} <= {r[0] for r in rows},
          'names of records: %s' % rows)


def test(options):
    if not ENGINE:
        return
    server = cluster.make('inspect')
    with server.connect() as c:
        c.exec('CREATE TABLE b (i int); CREATE INDEX t_btree ON b (i); CREATE TABLE e (i int); CREATE INDEX empty ON e USING rowan_btree (i)')
        check(c.rows("SELECT height, leaf_pages, rows FROM rowan.tree_stats('empty')")[0][2] == '0', 'an empty index')
        for am in ('heap', AM):
            indexes(server, c, am)
        refused(c, 'heap')
        headers_use_slack(c)
        any_bytes(c, random.Random(options.seed), 3000 if options.long else 300)
        c.exec('CREATE ROLE somebody; SET ROLE somebody')
        r = c.try_("SELECT * FROM rowan.index_items('ix_heap_i', 1)")
        check(r.error and r.error.sqlstate == '42501', 'index_items for everybody')
        r = c.try_("SELECT rowan.prewarm('ix_heap_i')")
        check(r.error and r.error.sqlstate == '42501', 'prewarm without SELECT')
    server.verify()
    records_have_names(server)
    script_for_everything(server)
    server.stop()
    server.check_log()
    say('inspection: %d indexes, page by page' % (2 * len(INDEXES)))


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
