#!/usr/bin/env python3
"""rowan.salvage: every row that is not on a damaged page comes back, once and as it was; what is
missing is named.

A model table is made once, with all that a life leaves in a file: splits, merges, free pages, older
versions, versions of aborted transactions.  What is on which page is noted.  Copies of its file are
damaged at random and put in place of other tables' files while the server is down; each is salvaged
into an empty table, and that is compared with what must have been left.  One kind of damage is a
write that was lost: a page as it was some time ago.
"""
import os
import random
import re
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bytes as damages
import cluster
import harness
import pq
from harness import AM, ENGINE, Failure, check, say

PAGE = 8192
COLUMNS = 'id int, n bigint, s text, b boolean, d numeric'
INNER, LEAF, VERSION, FREE = 2, 3, 4, 5
TRAILER = PAGE - 64

SUMMARY = 'notice'
LOST = 'lost write'

# the row id of a TID
ROW_ID = "({0}::text::point)[0]::bigint * 256 + (({0}::text::point)[1]::int & 511) - 1"


# ---- what is on a page of a file ----

def u32(data, block, offset):
    return struct.unpack_from('<I', data, block * PAGE + offset)[0]


def u64(data, block, offset):
    return struct.unpack_from('<Q', data, block * PAGE + offset)[0]


def page_type(data, block):
    return data[block * PAGE + TRAILER + 54]


def fences(data, block):
    return u64(data, block, TRAILER), u64(data, block, TRAILER + 8)


def high_water(data):
    return u32(data, 0, 24 + 8)


# ---- models ----

UNDONE = ('UPDATE {t} SET n = n + 1 WHERE id % 13 = 0',
          "UPDATE {t} SET s = repeat('undone', 60) WHERE id % 41 = 1",
          'DELETE FROM {t} WHERE id % 43 = 2',
          "INSERT INTO {t} SELECT i, 0, 'never' FROM generate_series(1, 50) i")


class Model:
    """A table's file, and what must come back of it."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.aborted, self.old, self.data = set(), None, None

    def sql(self, c, sql, **values):
        c.exec(sql.format(t=self.name, **values))

    def make(self, rows):
        """Its file is kept twice: what is done in between is what a lost write lacks."""
        with self.server.connect() as c:
            self.sql(c, 'CREATE TABLE {t} ({columns}) USING {am}; CREATE INDEX ON {t} (id)',
                     columns=COLUMNS, am=AM)
            for first in range(0, rows, rows // 4):
                self.sql(c, 'INSERT INTO {t} SELECT i, i, repeat(md5(i::text), i % 7), i % 2 = 0, '
                         'i / 7.0 FROM generate_series({a}, {b}) i', a=first + 1,
                         b=first + rows // 4)
            self.sql(c, 'DELETE FROM {t} WHERE id % 10 = 3 OR id BETWEEN {a} AND {b}',
                     a=rows // 3, b=rows // 2)
        self.old = self.file()
        with self.server.connect() as c:
            c.exec('VACUUM ' + self.name)
            self.live(c, rows)
        self.learn()

    def live(self, c, rows):
        self.sql(c, "UPDATE {t} SET s = s || 'and more of it, for splits' WHERE id % 3 = 0")
        self.sql(c, "INSERT INTO {t} SELECT i, -i, 'later', NULL, NULL FROM "
                 'generate_series({a}, {b}) i', a=rows + 1, b=rows + rows // 5)
        self.sql(c, 'UPDATE {t} SET id = id + 1000000 WHERE id % 17 = 0')
        for what in UNDONE:
            c.exec('BEGIN')
            self.aborted.add(c.one('SELECT txid_current()'))
            self.sql(c, what)
            if what.startswith('UPDATE'):
                self.sql(c, what)
            c.exec('ROLLBACK')

    def file(self):
        """Of a server that was stopped: nothing of it is in memory only."""
        path = self.server.path_of(self.name)
        self.server.stop()
        data = open(path, 'rb').read()
        self.server.start()
        return data

    def items(self, c):
        """Where each row's newest version is, by row id; each older one, by its place."""
        where, records = {}, {}
        for block, kind in c.rows(
                "SELECT b, (rowan.page_header('{0}', b)).type FROM generate_series(1, "
                "(rowan.file_header('{0}')).high_water - 1) b".format(self.name)):
            if kind not in ('leaf', 'version'):
                continue
            for key, offset, *place in c.rows(
                    'SELECT key, "offset", older_block, older_offset, xmin FROM '
                    "rowan.page_items('%s', %s) WHERE stubs IS NULL" % (self.name, block)):
                if kind == 'leaf':
                    where[int(key)] = (block, *place)
                else:
                    records[block, offset] = place
        return where, records

    def learn(self):
        """Rows as they are seen, the block of each, and the version pages that it needs."""
        with self.server.connect() as c:
            c.exec('CREATE TABLE truth_%s (id int, r text, block int, needs int[]) USING heap'
                   % self.name)
            self.where, records = self.items(c)
            values = []
            for id_, text, key in c.rows('SELECT id, t::text, %s FROM %s t'
                                         % (ROW_ID.format('ctid'), self.name)):
                block, *place = self.where[int(key)]
                values.append("(%s, '%s', %s, '{%s}')" % (
                    id_, text.replace("'", "''"), block, ','.join(self.needs(place, records))))
            for first in range(0, len(values), 2000):
                c.exec('INSERT INTO truth_%s VALUES %s'
                       % (self.name, ', '.join(values[first:first + 2000])))
            needy = int(c.one("SELECT count(*) FROM truth_%s WHERE needs <> '{}'" % self.name))
        self.data = self.file()
        self.stale = [b for b in range(1, min(high_water(self.data), high_water(self.old)))
                      if self.is_stale(b)]
        types = [page_type(self.data, b) for b in range(high_water(self.data))]
        say('%s: %d rows (%d need a version page) on %d leaves, %d inner, %d version, %d free '
            'pages; %d that a lost write may change' % (
                self.name, len(values), needy, types.count(LEAF), types.count(INNER),
                types.count(VERSION), types.count(FREE), len(self.stale)))
        check(needy > 20 and len(self.stale) > 3, 'the model is too simple')

    def needs(self, place, records):
        found = []
        while place[2] in self.aborted and place[0] is not None:
            found.append(place[0])
            place = records[place[0], place[1]]
        return found

    def is_stale(self, block):
        """It was what nobody can take for what it is: a leaf of another range, or now no leaf."""
        was, now = page_type(self.old, block), page_type(self.data, block)
        return was in (LEAF, INNER) and \
            (was != now or fences(self.old, block) != fences(self.data, block))

    def page(self, block):
        return self.data[block * PAGE:(block + 1) * PAGE]


# ---- damages of a page ----

def put(data, block, page):
    data[block * PAGE:(block + 1) * PAGE] = page


def harm_bits(rnd, model, data, block):
    for _ in range(rnd.choice([1, 1, 3])):
        at = damages.some_byte(rnd, block * PAGE)
        data[at] ^= 1 << rnd.randrange(8)


def harm_bytes(rnd, model, data, block):
    n = rnd.choice([8, 64, 512])
    at = block * PAGE + rnd.randrange(PAGE - n)
    data[at:at + n] = bytes(rnd.getrandbits(8) for _ in range(n))


def harm_zero(rnd, model, data, block):
    put(data, block, bytes(PAGE))


def harm_foreign(rnd, model, data, block):
    """The page of another file, sound and of that number."""
    data[block * PAGE + TRAILER + 44] ^= 255
    damages.seal(data, block)


def harm_misplaced(rnd, model, data, block):
    put(data, block, model.page(rnd.randrange(high_water(model.data))))


def harm_nonsense(rnd, model, data, block):
    """Damaged before it was written: the checksums are right, the sum is not."""
    at = damages.some_byte(rnd, block * PAGE)
    data[at] ^= 1 << rnd.randrange(8)
    page = data[block * PAGE:(block + 1) * PAGE]
    if damages.content_sum(bytes(page)) == struct.unpack_from('<I', page, 20)[0]:
        page = model.page(block)                # in the gap, or the LSN
    else:
        page[8:10] = bytes(2)
        page[PAGE - 4:] = bytes(4)
        page[PAGE - 4:] = struct.pack('<I', damages.crc32c(page))
        page[8:10] = struct.pack('<H', damages.core_checksum(bytes(page), block))
    put(data, block, page)


HARMS = {harm_bits: 6, harm_bytes: 3, harm_zero: 2, harm_foreign: 1, harm_misplaced: 1,
         harm_nonsense: 1}


# ---- damages of a file ----

def choose_blocks(rnd, model):
    """Mostly some; sometimes many; sometimes those that everything hangs on."""
    used = high_water(model.data)
    inner = [b for b in range(1, used) if page_type(model.data, b) == INNER]
    kind = rnd.random()
    if kind < 0.05:
        return []
    many = kind < 0.2
    blocks = set(rnd.sample(range(used), rnd.randrange(1, used // 3 if many else 7)))
    if rnd.random() < 0.2:
        blocks |= set(rnd.sample(inner, rnd.randrange(1, len(inner) + 1)))
    if rnd.random() < 0.2:
        blocks.add(0)
    return sorted(blocks)


def harm_pages(rnd, model, data):
    """{block: what was done}"""
    done = {}
    for block in choose_blocks(rnd, model):
        harm = rnd.choices(list(HARMS), HARMS.values())[0]
        if len(done) > 10 and harm is harm_foreign:
            harm = harm_bits                    # most pages say which file it is
        harm(rnd, model, data, block)
        if data[block * PAGE:(block + 1) * PAGE] != model.page(block):
            done[block] = harm.__name__
    return done


def lose_write(rnd, model, data, done, cut):
    """Only while the parents can tell: else nobody knows what became of the page since."""
    block = rnd.choice(model.stale)
    if block in cut or block in done or \
            any(page_type(model.data, b) == INNER for b in cut | set(done)):
        return
    put(data, block, model.old[block * PAGE:(block + 1) * PAGE])
    done[block] = LOST


def damage(rnd, model):
    """(content, {block: what was done}, blocks that were cut off)"""
    data, used = bytearray(model.data), high_water(model.data)
    done = harm_pages(rnd, model, data)
    end = used
    if rnd.random() < 0.1:
        end = rnd.randrange(1, used)
        data = data[:end * PAGE + rnd.choice([0, 0, 512, 4096])]
    done = {b: w for b, w in done.items() if b < end}
    cut = set(range(end, used))
    if rnd.random() < 0.3:
        lose_write(rnd, model, data, done, cut)
    return data, done, cut


# ---- the campaign ----

def compare(c, model, lost):
    lost = ','.join(map(str, lost))
    expected = "SELECT id, r FROM truth_%s WHERE NOT block = ANY ('{%s}') AND NOT needs && '{%s}'" \
        % (model.name, lost, lost)
    found = 'SELECT id, t::text FROM salvaged t'
    missing = c.rows('(%s) EXCEPT ALL (%s) LIMIT 3' % (expected, found))
    check(not missing, 'rows that are on no damaged page are missing: %s' % missing)
    wrong = c.rows('(%s) EXCEPT ALL (%s) LIMIT 3' % (found, expected))
    check(not wrong, 'rows that cannot be there, or are there twice: %s' % wrong)


def is_named(model, block, what):
    """An inner page that is older than it should be is no harm, and nobody looks."""
    return what != LOST or page_type(model.old, block) == LEAF


def what_is_named(findings, model, done, cut):
    """Every damaged page is named, no other one is; ranges have the rows that are missing."""
    blocks = {int(f[1]) for f in findings if f[1] is not None}
    unnamed = sorted({b for b, w in done.items() if is_named(model, b, w)} - blocks)
    check(not unnamed, 'damaged blocks that are not named: %s' % unnamed)
    surplus = sorted(blocks - set(done) - cut)
    check(not surplus, 'blocks that are named and not damaged: %s' % surplus)
    ranges = [(int(f[3]), int(f[4]) if f[4] is not None else 1 << 40)
              for f in findings if f[3] is not None]
    for key, (block, *_) in model.where.items():
        if int(block) in done or int(block) in cut:
            check(any(a <= key <= b for a, b in ranges),
                  'row id %d of block %s is in no range' % (key, block))


def judge(c, table, model, done, cut):
    """How many rows were salvaged."""
    c.exec('TRUNCATE salvaged')
    findings = c.rows("SELECT severity, block, problem, %s, %s FROM rowan.salvage('%s', 'salvaged')"
                      % (ROW_ID.format('first_row'), ROW_ID.format('last_row'), table))
    try:
        check([f[0] for f in findings].count(SUMMARY) == 1 and findings[-1][0] == SUMMARY,
              'no summary')
        compare(c, model, sorted(set(done) | cut))
        what_is_named(findings, model, done, cut)
        copied = int(re.match(r'rows copied: (\d+)', findings[-1][2]).group(1))
        check(copied == int(c.one('SELECT count(*) FROM salvaged')), 'the summary is wrong')
        check(len(findings) == 1 or done or cut, 'findings of a sound table')
    except Failure as e:
        raise Failure('%s\nfindings: %s' % (e, findings[:25]))
    return copied


def write_damaged(rnd, models, tables, paths):
    cases = []
    for t in tables:
        model = rnd.choices(models, [4] + [1] * (len(models) - 1))[0]
        data, done, cut = damage(rnd, model)
        with open(paths[t], 'r+b') as f:
            f.truncate(0)
            f.write(data)
        cases.append((t, model, done, cut))
    return cases


def campaign(options, server, models, copies):
    rnd = random.Random(options.seed)
    tables = ['copy%d' % i for i in range(min(copies, 25))]
    with server.connect() as c:
        c.exec('CREATE TABLE salvaged (%s) USING %s' % (COLUMNS, AM))
        for t in tables:
            c.exec('CREATE TABLE %s (%s) USING %s' % (t, COLUMNS, AM))
        paths = {t: server.path_of(t) for t in tables}
    number, rows, harmed = 0, 0, 0
    while number < copies:
        server.stop()
        cases = write_damaged(rnd, models, tables[:copies - number], paths)
        server.start()
        with server.connect(options='-c statement_timeout=300s') as c:
            for t, model, done, cut in cases:
                try:
                    rows += judge(c, t, model, done, cut)
                except Failure as e:
                    raise Failure('seed %d, copy %d (%s), damaged: %s, cut off from %s: %s' % (
                        options.seed, number, model.name, done, min(cut, default='-'), e))
                number += 1
                harmed += len(done)
    say('%d copies, %d damaged pages: %d rows salvaged, none missing, none wrong'
        % (number, harmed, rows))


# ---- cases ----

def salvage(c, *arguments):
    return c.rows('SELECT * FROM rowan.salvage(%s)' % ', '.join("'%s'" % a for a in arguments))


def said(c, *arguments):
    """What the summary says."""
    return salvage(c, *arguments)[-1][2]


def harm(server, path, change):
    """What change does to the file of the server, which is down for it."""
    server.stop()
    data = bytearray(open(path, 'rb').read())
    change(data)
    with open(path, 'r+b') as f:
        f.write(data)
    server.start()


def wanted_versions(how):
    """(id, n) of what `versions` makes."""
    ids = [i for i in range(1, 101 if how != 'visible' else 91) if i != 50 or how == 'all']
    rows = [(i, n) for i in ids for n in range(2 if i <= 10 else 1)]
    if how != 'all':
        rows = [(i, n) for i, n in rows if n == (1 if i <= 10 else 0)]
    return [('-50', '0')] + [(str(i), str(n)) for i, n in rows]


def versions(server):
    """Rows that were deleted, and older versions, for whoever asks for them."""
    with server.connect() as c, server.connect() as old:
        c.exec('CREATE TABLE v (id int, n int) USING %s; CREATE INDEX ON v (id);'
               'INSERT INTO v SELECT i, 0 FROM generate_series(1, 100) i;'
               'CREATE TABLE vv (LIKE v)' % AM)
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM v')
        c.exec('UPDATE v SET n = n + 1 WHERE id <= 10; DELETE FROM v WHERE id > 90;'
               'UPDATE v SET id = -id WHERE id = 50')
        c.exec('BEGIN; UPDATE v SET n = 99; DELETE FROM v; ROLLBACK')
        c.exec('BEGIN; DELETE FROM v WHERE id = 60; ROLLBACK')
        for how in ('visible', 'deleted', 'all'):
            c.exec('TRUNCATE vv')
            found = salvage(c, 'v', 'vv', how)
            rows = c.rows('SELECT * FROM vv ORDER BY id, n')
            check(len(found) == 1 and rows == wanted_versions(how),
                  'versions %s: %s %s' % (how, found, rows))
        old.exec('ROLLBACK')
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM v; TRUNCATE vv')
        c.exec('INSERT INTO v VALUES (1000, 1)')
        check(said(old, 'v', 'vv').startswith('rows copied: 90,'), 'an older snapshot')
        old.exec('ROLLBACK')
        c.exec('BEGIN; TRUNCATE vv; DELETE FROM v; INSERT INTO v VALUES (1, 1); SAVEPOINT a;'
               'INSERT INTO v VALUES (2, 2); ROLLBACK TO a')
        salvage(c, 'v', 'vv')
        check(c.rows('SELECT * FROM vv') == [('1', '1')], 'own changes')
        c.exec('ROLLBACK; DROP TABLE v, vv')


def harm_toast(data):
    put(data, 2, bytes(PAGE))
    data[5 * PAGE + 4000] ^= 1


def out_of_line(server):
    """Values whose pieces are damaged: the row is reported, the others come."""
    with server.connect() as c:
        c.exec('CREATE TABLE o (id int, a text, b text) USING %s; CREATE TABLE oo (LIKE o) USING '
               'heap; ALTER TABLE o ALTER a SET STORAGE EXTERNAL;'
               'INSERT INTO o SELECT i, repeat(chr(64 + i), 6000), '
               "(SELECT string_agg(md5(j::text), '') FROM generate_series(1, 300) j) "
               'FROM generate_series(1, 20) i;'
               "INSERT INTO o VALUES (21, 'short', NULL)" % AM)
        truth = dict(c.rows('SELECT id, md5(o::text) FROM o'))
        toast = server.path_of(
            c.one("SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'o'"))
    harm(server, toast, harm_toast)
    with server.connect() as c:
        found = salvage(c, 'o', 'oo')
        came = dict(c.rows('SELECT id, md5(oo::text) FROM oo'))
        check(all(truth[i] == r for i, r in came.items()), 'a value is wrong')
        errors = [f for f in found if f[0] == 'error']
        lost = {f[3] for f in errors}
        check(lost == {'(0,%s)' % i for i in truth if i not in came}, 'reported %s' % found)
        check(1 < len(lost) < 15 and '21' in came, 'lost: %s' % lost)
        check(all('out of line' in f[2] for f in errors), 'findings: %s' % found)
        c.exec('DROP TABLE o, oo')


def columns(server):
    """They go by name; what the target computes itself is not given to it."""
    with server.connect() as c:
        c.exec('CREATE TABLE k (a int, gone text, b int GENERATED ALWAYS AS IDENTITY, c text, '
               'g int GENERATED ALWAYS AS (a * 2) STORED) USING %s;'
               "INSERT INTO k (a, c) SELECT i, 'c' || i FROM generate_series(1, 5000) i;"
               'ALTER TABLE k DROP gone; ALTER TABLE k ADD late int DEFAULT 7' % AM)
        c.exec('CREATE TABLE kk (late bigint, g int, c varchar, b int, a int) '
               'PARTITION BY RANGE (a);'
               'CREATE TABLE kk1 PARTITION OF kk FOR VALUES FROM (0) TO (2000);'
               'CREATE TABLE kk2 PARTITION OF kk DEFAULT')
        check(said(c, 'k', 'kk').startswith('rows copied: 5000,'), 'a partitioned table')
        check(not c.rows('SELECT a, b, c, g, late FROM k EXCEPT SELECT a, b, c, g, late FROM kk'),
              'columns')
        c.exec('DROP TABLE kk; CREATE TABLE kk (LIKE k INCLUDING ALL)')
        salvage(c, 'k', 'kk')
        check(not c.rows('TABLE k EXCEPT TABLE kk'), 'generated columns')
        c.exec('DROP TABLE k, kk; CREATE TABLE k () USING %s; INSERT INTO k DEFAULT VALUES;'
               'CREATE TABLE kk ()' % AM)
        check(said(c, 'k', 'kk').startswith('rows copied: 1,'), 'no columns')
        c.exec('DROP TABLE k, kk')


ODD = """CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RETURN CASE WHEN new.i % 2 = 0 THEN NULL ELSE new END; END $$"""


def rules_of_target(server):
    """Its triggers and constraints hold."""
    with server.connect() as c:
        c.exec('CREATE TABLE r (i int) USING %s; INSERT INTO r SELECT generate_series(1, 5000);'
               'CREATE TABLE rr (i int)' % AM)
        c.exec(ODD)
        c.exec('CREATE TRIGGER odd BEFORE INSERT ON rr FOR EACH ROW EXECUTE FUNCTION odd()')
        check(said(c, 'r', 'rr').startswith('rows copied: 2500,'), 'a trigger')
        c.exec('TRUNCATE rr; ALTER TABLE rr ADD CHECK (i < 4000)')
        check(c.try_("SELECT rowan.salvage('r', 'rr')").error.sqlstate == '23514', 'a constraint')
        c.exec('DROP TABLE r, rr; DROP FUNCTION odd')


def kinds(server):
    """Unlogged and temporary tables, changes that are in memory only, empty tables."""
    with server.connect() as c:
        for kind in ('UNLOGGED', 'TEMPORARY', ''):
            c.exec('CREATE %s TABLE u (id int, s text) USING %s; CREATE INDEX ON u (id);'
                   "INSERT INTO u SELECT i, repeat('x', i %% 300) FROM generate_series(1, 3000) i;"
                   'DELETE FROM u WHERE id BETWEEN 500 AND 2000' % (kind, AM))
            c.exec('CREATE %s TABLE uu (LIKE u); CREATE TABLE e () USING %s' % (kind, AM))
            c.exec('VACUUM u')
            c.exec('UPDATE u SET id = -id, s = s || s WHERE id % 3 = 0')
            found = salvage(c, 'u', 'uu')
            check(len(found) == 1 and not c.rows('TABLE u EXCEPT ALL TABLE uu'),
                  '%s: %s' % (kind, found))
            check(len(salvage(c, 'e', 'uu')) == 1, 'an empty table')
            c.exec('DROP TABLE u, uu, e')


REFUSED = {"'copy', 'mine'": '42809', "'mine', 'view'": '42809', "'mine', 'mine'": '22023',
           "'mine', 'copy', 'x'": '22023', "'mine', 'other'": '42703', "'mine', 1": '42P01',
           "1, 'copy'": '42P01'}


def refusal(c, arguments="'mine', 'copy'"):
    e = c.try_('SELECT rowan.salvage(%s)' % arguments).error
    return e and e.sqlstate


def refused(server):
    """Other people's tables, before anybody waits for a lock; what is no table of ours."""
    with server.connect() as c, server.connect() as busy:
        c.exec('CREATE ROLE mallory; CREATE TABLE mine (i int) USING %s; CREATE TABLE copy (i int);'
               'CREATE VIEW view AS SELECT 1 AS i; CREATE TABLE other (j int);'
               'GRANT ALL ON mine, copy TO mallory' % AM)
        for arguments, state in REFUSED.items():
            check(refusal(c, arguments) == state, 'salvage(%s)' % arguments)
        c.exec('BEGIN READ ONLY')
        check(refusal(c) == '25006', 'read only')
        c.exec('ROLLBACK; SET ROLE mallory')
        check(refusal(c) == '42501', 'not the owner')
        c.exec('RESET ROLE; ALTER TABLE mine OWNER TO mallory')
        busy.exec('BEGIN; INSERT INTO mine VALUES (1)')
        c.exec("SET ROLE mallory; SET lock_timeout = '100ms'")
        check(refusal(c) == '42501', "not the target's owner")
        c.exec('RESET ROLE; ALTER TABLE copy OWNER TO mallory; SET ROLE mallory')
        check(refusal(c) == '55P03', 'it does not wait for writers')
        busy.exec('COMMIT')
        check(said(c, 'mine', 'copy').startswith('rows copied: 1,'), 'the owner')
        c.exec('RESET ROLE; RESET lock_timeout; DROP TABLE mine, copy, other; DROP VIEW view;'
               'DROP ROLE mallory')


CASES = (versions, out_of_line, columns, rules_of_target, kinds, refused)


def run_cases(server, names):
    for case in CASES:
        if names is not None and case.__name__ not in names:
            continue
        try:
            case(server)
        except (Failure, pq.Error) as e:
            raise Failure('%s: %s' % (case.__name__, e))


def test(options):
    if not ENGINE:
        return
    server = cluster.make('salvage', conf={'rowan.buffers': '32MB'})
    run_cases(server, options.case)
    if options.case is None:
        models = [Model(server, 'small')] + [Model(server, 'large')] * options.long
        for model, rows in zip(models, (3000, 40000)):
            model.make(rows)
        campaign(options, server, models, options.copies or (1000 if options.long else 100))
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--copies', type=int, help='damaged copies')
    parser.add_argument('--case', nargs='*', help='only these cases: ' +
                        ' '.join(c.__name__ for c in CASES))
    harness.main(test, parser)
