#!/usr/bin/env python3
"""Damaged files: flipped bits, truncations, swapped, foreign and zeroed pages.

Each gives an error DATA_CORRUPTED that names the block, or has no effect on the answer: never a crash, never
wrong rows.  A file of a model table is copied, damaged, over the files of many tables while
the server is down; then every table is read and written.  So it is done with files of indexes.

With --resealed the checksums are made right again after the damage, as a bug of ours would leave it: then answers
may differ, but nothing may crash and no statement may hang.
"""
import os
import random
import re
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, Failure, check, say

PAGE = 8192
CORRUPTED = ('XX001', 'XX002')
COLUMNS = 'id int, v bigint, n numeric, s text, b bool, d date'
FORWARD = 'SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {t} t'


# ---- the models ----

def make_models(server):
    """Tables of different shape; {name: (file content, answer)}"""
    with server.connect() as c, server.connect() as old:
        c.exec('CREATE TABLE small (%s) USING %s; INSERT INTO small SELECT i, i, i / 7.0, md5(i::text), i %% 2 = 0, NULL '
               'FROM generate_series(1, 40) i' % (COLUMNS, AM))
        c.exec('CREATE TABLE large (%s) USING %s' % (COLUMNS, AM))
        for first in range(1, 3000, 500):
            c.exec("INSERT INTO large SELECT i, i, i / 7.0, repeat(md5(i::text), i %% 4), NULL, date '2020-01-01' + i "
                   "FROM generate_series(%d, %d) i" % (first, first + 499))
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM large')     # keeps old versions
        c.exec('UPDATE large SET v = v + 1 WHERE id % 3 = 0')
        c.exec("UPDATE large SET s = s || 'longer than it was' WHERE id % 5 = 0")
        c.exec('DELETE FROM large WHERE id BETWEEN 1200 AND 1500 OR id % 11 = 0')
        c.exec('BEGIN; UPDATE large SET v = -1 WHERE id % 4 = 0; ROLLBACK')
        old.exec('COMMIT')
        # no duplicates of what an aborted writer left: the file is what it is
    models = {}
    paths = {name: server.path_of(name) for name in ('small', 'large')}
    answers = {name: server.sql(FORWARD.format(t=name)) for name in paths}
    server.verify('small', 'large')
    server.stop()
    for name, path in paths.items():
        models[name] = (open(path, 'rb').read(), answers[name])
    server.start()
    say('models: ' + ', '.join('%s of %d pages' % (n, len(m[0]) // PAGE) for n, m in models.items()))
    return models


# ---- damages: each returns (new content, what, block or None) ----

def some_byte(rnd, page_start):
    """A byte of the page; the places with structure more often."""
    c = rnd.random()
    if c < 0.25:
        return page_start + rnd.randrange(24)                   # page header
    if c < 0.5:
        return page_start + PAGE - 64 + rnd.randrange(64)       # trailer
    if c < 0.65:
        return page_start + 24 + rnd.randrange(100)             # first slots
    return page_start + rnd.randrange(PAGE)


def flip_one(rnd, data, other):
    block = rnd.randrange(len(data) // PAGE)
    at = some_byte(rnd, block * PAGE)
    data[at] ^= 1 << rnd.randrange(8)
    return data, 'bit of byte %d flipped' % (at % PAGE), block


def flip_many(rnd, data, other):
    block = rnd.randrange(len(data) // PAGE)
    at = some_byte(rnd, block * PAGE)
    n = min(rnd.choice([2, 4, 8, 64, 512]), (block + 1) * PAGE - at)
    old = data[at:at + n]
    data[at:at + n] = bytes(rnd.getrandbits(8) for _ in range(n))
    if data[at:at + n] == old:
        data[at] ^= 255
    return data, '%d bytes from %d overwritten' % (n, at % PAGE), block


def flip_scattered(rnd, data, other):
    for _ in range(rnd.randrange(2, 10)):
        data, _, _ = flip_one(rnd, data, other)
    return data, 'bits flipped in several pages', None


def truncate(rnd, data, other):
    """Not to nothing: an empty file is an empty table."""
    pages = len(data) // PAGE
    n = rnd.randrange(1, pages) * PAGE + rnd.choice([0, 0, 512, 4096]) if pages > 1 else 4096
    return data[:n], 'cut to %.2f pages' % (n / PAGE), None


def swap(rnd, data, other):
    pages = len(data) // PAGE
    a, b = rnd.sample(range(pages), 2) if pages > 1 else (0, 0)
    x, y = data[a * PAGE:(a + 1) * PAGE], data[b * PAGE:(b + 1) * PAGE]
    data[a * PAGE:(a + 1) * PAGE], data[b * PAGE:(b + 1) * PAGE] = y, x
    return data, 'pages %d and %d swapped' % (a, b), None


def foreign(rnd, data, other):
    """The page of the same number from another file."""
    block = rnd.randrange(min(len(data), len(other)) // PAGE)
    data[block * PAGE:(block + 1) * PAGE] = other[block * PAGE:(block + 1) * PAGE]
    return data, 'page of another file', block


def zero(rnd, data, other):
    block = rnd.randrange(len(data) // PAGE)
    data[block * PAGE:(block + 1) * PAGE] = bytes(PAGE)
    return data, 'page zeroed', block


DAMAGES = [(10, flip_one), (4, flip_many), (2, flip_scattered), (2, truncate), (2, swap), (1, foreign), (1, zero)]
HEAP_DAMAGES = [(10, flip_one), (4, flip_many), (2, flip_scattered)]       # what page checksums can see


# ---- checksums, to seal a damaged page again ----

def crc32c_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


CRC = crc32c_table()


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = CRC[(c ^ b) & 255] ^ (c >> 8)
    return c ^ 0xFFFFFFFF


FNV_OFFSETS = [
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756]


def core_checksum(page, block):
    """PostgreSQL's page checksum; the field itself counts as zero."""
    words = struct.unpack('<2048I', page[:8] + b'\0\0' + page[10:])
    sums = list(FNV_OFFSETS)

    def mix(s, v):
        t = s ^ v
        return (t * 16777619 & 0xFFFFFFFF) ^ (t >> 17)
    for i in range(0, 2048, 32):
        sums = [mix(s, v) for s, v in zip(sums, words[i:i + 32])]
    for _ in range(2):
        sums = [mix(s, 0) for s in sums]
    result = 0
    for s in sums:
        result ^= s
    return ((result ^ block) % 65535) + 1


def content_sum(page):
    """The page's sum (src/base/page_sum.c)."""
    lower, upper = struct.unpack_from('<HH', page, 12)
    if not 24 <= lower <= upper <= PAGE - 64:
        lower = upper = PAGE - 64
    used = bytearray(page)
    used[8:10] = bytes(2)
    used[20:24] = used[PAGE - 4:] = bytes(4)
    used[lower:upper] = bytes(upper - lower)
    total, low64 = 0, 2 ** 64 - 1
    for place, word in enumerate(struct.unpack('<1024Q', used)):
        if place == 0 or lower <= place * 8 and place * 8 + 8 <= upper:
            continue
        product = (word ^ place * 0x9E3779B97F4A7C15 & low64) * 0x9FB21C651E98DF25
        x = product & low64 ^ product >> 64
        total += (x ^ x >> 32) & 0xFFFFFFFF
    return total & 0xFFFFFFFF


def seal(data, block):
    """All sums right for what the page says now."""
    page = bytearray(data[block * PAGE:(block + 1) * PAGE])
    page[20:24] = struct.pack('<I', content_sum(page))
    page[8:10] = b'\0\0'
    page[PAGE - 4:] = b'\0\0\0\0'
    page[PAGE - 4:] = struct.pack('<I', crc32c(page))
    page[8:10] = struct.pack('<H', core_checksum(bytes(page), block))
    data[block * PAGE:(block + 1) * PAGE] = page


# ---- one round ----

def damage_all(options, rnd, models, paths):
    """Writes a damaged copy over each file; [(table, model, what, block)]"""
    done = []
    kinds = [k for k in (DAMAGES if ENGINE else HEAP_DAMAGES) if not options.kinds or k[1].__name__ in options.kinds]
    names = list(models)
    for table, path in paths:
        name = 'large' if rnd.random() < 0.8 else 'small'
        other = models['small' if name == 'large' else 'large'][0]
        if options.resealed:
            data, what, block = rnd.choice([flip_one, flip_many])(rnd, bytearray(models[name][0]), other)
            seal(data, block)
        else:
            kind = rnd.choices([k for _, k in kinds], [w for w, _ in kinds])[0]
            data, what, block = kind(rnd, bytearray(models[name][0]), other)
        with open(path, 'r+b') as f:
            f.truncate(0)
            f.write(data)
        done.append((table, name, what, block))
    return done


def complain(server, case, text):
    table, name, what, block = case
    keep = '/tmp/rowan-damaged-%s-%d' % (name, os.getpid())
    raise Failure('%s (model %s, %s, block %s): %s' % (table, name, what, block, text))


def judge(server, case, result, expected, resealed):
    """True if the damage was noticed."""
    table, name, what, block = case
    if result.error is None:
        if result.rows != expected and not resealed:
            complain(server, case, 'wrong answer %s, expected %s' % (result.rows, expected))
        return False
    e = result.error
    if e.sqlstate is None:
        complain(server, case, 'the server crashed: %s' % e)
    if e.sqlstate == '57014':
        complain(server, case, 'a statement hangs')
    if resealed:
        return True
    if e.sqlstate not in CORRUPTED:
        complain(server, case, 'error %s: %s' % (e.sqlstate, e))
    named = re.findall(r'block (\d+)', '%s %s %s' % (e.primary, e.detail, e.hint))
    if not named:
        complain(server, case, 'the error names no block: %s' % e)
    if block is not None and str(block) not in named:
        complain(server, case, 'the error names block %s: %s' % (named, e))
    return True


def right_edge(server, models):
    """A leaf at the right edge whose next row id lies before its rows: inserting looped for ever."""
    if not ENGINE:
        return
    server.sql('CREATE TABLE edge (%s) USING %s; INSERT INTO edge (id) VALUES (1)' % (COLUMNS, AM))
    path = server.path_of('edge')
    for byte, value in ((PAGE - 64 + 16, 8), (PAGE - 64 + 16, 40)):
        server.stop()
        data = bytearray(models['small'][0])
        data[PAGE + byte] = value
        seal(data, 1)
        with open(path, 'r+b') as f:
            f.truncate(0)
            f.write(data)
        server.start()
        with server.connect() as c:
            r = c.try_("INSERT INTO edge (id) VALUES (1)")
            if value == 40:             # what it was
                check(r.error is None, 'insertion into a sound file: %s' % r.error)
            else:
                check(r.error and r.error.sqlstate == 'XX001' and 'block 1' in r.error.primary,
                      'byte %d set to %d: %s' % (byte, value, r.error))


def write_file(path, data):
    with open(path, 'r+b') as f:
        f.truncate(0)
        f.write(data)


def far_edge(server, models):
    """A leaf at the right edge whose next row id is one of the last ones there are: VACUUM and parallel scans went through all before it."""
    if not ENGINE:
        return
    path = server.path_of('edge')
    server.stop()
    data = bytearray(models['small'][0])
    data[PAGE + PAGE - 64 + 16:PAGE + PAGE - 64 + 24] = struct.pack('<Q', 0xFFFFFFF000)
    seal(data, 1)
    write_file(path, data)
    server.start()
    with server.connect() as c:
        check(c.rows(FORWARD.format(t='edge')) == models['small'][1], 'a far right edge: other rows')
        for sql in ('VACUUM edge', 'UPDATE edge SET v = v + 1', 'VACUUM edge', 'ANALYZE edge', 'TABLE edge'):
            r = c.try_(sql)
            check(r.error is None, 'a far right edge: %s: %s' % (sql, r.error))
        c.exec('DROP TABLE edge')


def lengths_in_index(server):
    """An index entry says that its text is of 1 GB: whoever compared or returned it read on behind the page."""
    if not ENGINE:
        return
    server.sql("CREATE TABLE texts AS SELECT md5(i::text) AS s FROM generate_series(1, 20) i; CREATE INDEX texts_s ON texts USING rowan_btree (s)")
    path = server.path_of('texts_s')
    server.stop()
    data = bytearray(open(path, 'rb').read())
    data, n = re.subn(rb'\x43[0-9a-f]{3}(?=[0-9a-f]{29})', b'\xfc\xff\xff\xff', bytes(data))
    check(n == 20, '%d texts in the index' % n)
    data = bytearray(data)
    seal(data, 1)
    write_file(path, data)
    server.start()
    for sql in ("SELECT max(length(s || 'x')) FROM texts WHERE s >= ''", "SELECT count(*) FROM texts WHERE s = md5('7')",
                "INSERT INTO texts VALUES (md5('8'))"):
        with server.connect() as c:
            c.exec('SET enable_seqscan = off')
            r = c.try_(sql)
            check(r.error and r.error.sqlstate in CORRUPTED and 'block 1' in r.error.primary, '%s: %s' % (sql, r.error))
    server.sql('DROP TABLE texts')


def with_page(data, block, page, sound=True):
    """The file with that page as that block; sound: with sums that fit."""
    data = bytearray(data)
    data[block * PAGE:(block + 1) * PAGE] = page
    if sound:
        seal(data, block)
    return data


def of_version(data, block, version):
    page = bytearray(data[block * PAGE:(block + 1) * PAGE])
    page[PAGE - 64 + 58] = version
    return with_page(data, block, page)


def unused_page(data, block):
    page = bytearray(PAGE)
    page[10:12] = data[block * PAGE + 10:block * PAGE + 12]
    page[12:20] = struct.pack('<HHHH', 24, PAGE - 64, PAGE - 64, PAGE | 4)
    page[PAGE - 64 + 36:PAGE - 64 + 40] = struct.pack('<I', block)
    page[PAGE - 64 + 54] = 8
    page[PAGE - 64 + 56:PAGE - 64 + 59] = data[block * PAGE + PAGE - 8:block * PAGE + PAGE - 5]
    return page


def flipped(data, block):
    page = bytearray(data[block * PAGE:(block + 1) * PAGE])
    page[5000] ^= 1
    return with_page(data, block, page, sound=False)


# what befell block 3 of a file, SQLSTATE, words of the hint, words that it must not have
SAID = [
    (lambda d, other, heap: of_version(d, 3, 1), '55000', 'older version of Rowan', 'disk'),
    (lambda d, other, heap: of_version(d, 3, 200), '55000', 'newer version of Rowan', 'disk'),
    (lambda d, other, heap: with_page(d, 3, d[2 * PAGE:3 * PAGE], sound=False), 'XX001', 'in the wrong place', 'damaged'),
    (lambda d, other, heap: with_page(d, 3, other[3 * PAGE:4 * PAGE], sound=False), 'XX001', 'in the wrong place', 'damaged'),
    (lambda d, other, heap: with_page(d, 3, heap[3 * PAGE:4 * PAGE], sound=False), 'XX001', 'another access method', 'disk'),
    (lambda d, other, heap: with_page(d, 3, bytes(PAGE), sound=False), 'XX001', 'is lost', 'damaged'),
    (lambda d, other, heap: with_page(d, 3, unused_page(d, 3)), 'XX001', 'is lost', 'damaged'),
    (lambda d, other, heap: flipped(d, 3), 'XX001', 'damaged on disk', 'lost'),
    (lambda d, other, heap: d[:3 * PAGE], 'XX001', 'was cut', 'damaged'),
]


def what_is_said(server):
    """The error says what is wrong with the page, and blames the disk only where that may be."""
    if not ENGINE:
        return
    names = ['said%d' % i for i in range(len(SAID))]
    with server.connect() as c:
        for name, am in [(n, AM) for n in names + ['said_other']] + [('said_heap', 'heap')]:
            c.exec('CREATE TABLE %s USING %s AS SELECT i AS id, md5(i::text) AS s FROM generate_series(1, 3000) i' % (name, am))
        paths = {n: server.path_of(n) for n in names + ['said_other', 'said_heap']}
    server.stop()
    data = {n: open(p, 'rb').read() for n, p in paths.items()}
    for name, (harm, _, _, _) in zip(names, SAID):
        write_file(paths[name], harm(data[name], data['said_other'], data['said_heap']))
    server.start()
    with server.connect() as c:
        for name, (_, sqlstate, hint, never) in zip(names, SAID):
            r = c.try_('SELECT count(s) FROM ' + name)
            check(r.error and r.error.sqlstate == sqlstate and 'lock 3' in r.error.primary and hint in r.error.hint and never not in r.error.hint,
                  '%s, to be "%s": %s %s' % (name, hint, r.error, r.error and r.error.hint))
        for name in names + ['said_other', 'said_heap']:
            c.exec('DROP TABLE ' + name)


WRITES = ["UPDATE {t} SET v = v + 1 WHERE id % 13 = 0", "INSERT INTO {t} SELECT i, i, i, 'new' FROM generate_series(1, 300) i",
          'DELETE FROM {t} WHERE id % 3 = 0', "UPDATE {t} SET s = repeat('x', 500) WHERE id % 50 = 1"]


def read_and_write(server, c, rnd, case, expected, resealed):
    table = case[0]
    noticed = judge(server, case, c.try_(FORWARD.format(t=table)), expected, resealed)
    if rnd.random() < 0.3:              # backward
        c.exec('BEGIN')
        r = c.try_('DECLARE x SCROLL CURSOR FOR SELECT id FROM %s' % table)
        if r.error is None:
            r = c.try_('MOVE ALL IN x')
            n = r.tag
            if r.error is None:
                r = c.try_('MOVE BACKWARD ALL IN x')
        if r.error is None:
            if not resealed and r.tag != n:
                complain(server, case, 'forward %s, backward %s' % (n, r.tag))
        else:
            noticed |= judge(server, case, r, None, resealed)
        c.try_('ROLLBACK')
    if ENGINE and rnd.random() < 0.3:
        r = c.try_("SELECT count(*) FROM rowan.verify('%s')" % table)
        if r.error is None:
            noticed |= r.rows != [('0',)]
        elif r.error.sqlstate is None:
            complain(server, case, 'verify crashed the server')
    r = c.try_(rnd.choice(WRITES).replace('{t}', table))
    if r.error is not None:
        judge(server, case, r, None, resealed)
    return noticed


# ---- indexes ----

INDEX_AM = 'rowan_btree' if ENGINE else 'btree'
INDEX_COLUMNS = {'large': 's, id', 'small': '(id % 7) DESC, n'}
THROUGH_INDEX = {'large': "SELECT count(*), coalesce(sum(hashtext(s || id)::bigint), 0) FROM shared WHERE s >= ''",
                 'small': 'SELECT count(*), coalesce(sum(id % 7), 0) FROM shared WHERE id % 7 >= 1'}


def make_indexes(server, count):
    """Many equal indexes of one table: [(index, path, content)] and the answers."""
    with server.connect() as c:
        c.exec("CREATE TABLE shared (%s) USING heap; INSERT INTO shared SELECT i, i, i / 7.0, repeat(md5((i %% 900)::text), i %% 4), NULL, NULL "
               'FROM generate_series(1, 2500) i' % COLUMNS)
        for i in range(count):
            c.exec('CREATE INDEX x%d ON shared USING %s (%s)' % (i, INDEX_AM, INDEX_COLUMNS[index_model(i)]))
        c.exec('DELETE FROM shared WHERE id % 9 = 0')
        c.exec('INSERT INTO shared SELECT i, i, i, md5(i::text) FROM generate_series(3001, 3300) i')
        c.exec('VACUUM shared')
        answers = {m: c.rows(q) for m, q in THROUGH_INDEX.items()}
        paths = [c.one("SELECT pg_relation_filepath('x%d')" % i) for i in range(count)]
    server.stop()
    indexes = [('x%d' % i, os.path.join(server.data, p), open(os.path.join(server.data, p), 'rb').read()) for i, p in enumerate(paths)]
    server.start()
    return indexes, answers


def index_model(i):
    return 'large' if i % 4 else 'small'


def damage_indexes(options, rnd, indexes):
    cases = []
    kinds = DAMAGES if ENGINE else HEAP_DAMAGES
    for i, (name, path, content) in enumerate(indexes):
        if options.resealed:
            data, what, block = rnd.choice([flip_one, flip_many])(rnd, bytearray(content), None)
            seal(data, block)
        else:
            kind = rnd.choices([k for _, k in kinds], [w for w, _ in kinds])[0]
            data, what, block = kind(rnd, bytearray(content), indexes[i - 1][2])
        with open(path, 'r+b') as f:
            f.truncate(0)
            f.write(data)
        cases.append((name, index_model(i), what, block))
    return cases


def use_index(server, c, case, answers, resealed):
    """The only index that the planner may use."""
    name, model = case[:2]
    c.exec("BEGIN; SET LOCAL enable_seqscan = off; UPDATE pg_index SET indisvalid = (indexrelid = '%s'::regclass) WHERE indrelid = 'shared'::regclass" % name)
    noticed = False
    for setting in ('SET LOCAL enable_bitmapscan = off', 'SET LOCAL enable_bitmapscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off'):
        c.exec('SAVEPOINT s; ' + setting)
        noticed |= judge(server, case, c.try_(THROUGH_INDEX[model]), answers[model], resealed)
        c.exec('ROLLBACK TO s')
    c.exec('ROLLBACK')
    return noticed


def index_rounds(server, options, rnd, total):
    indexes, answers = make_indexes(server, 40)
    done = noticed = 0
    while done < total:
        server.stop()
        cases = damage_indexes(options, rnd, indexes)
        server.start()
        with server.connect() as c:
            # all of them at once
            judge(server, cases[0][:3] + (None,), c.try_("BEGIN; INSERT INTO shared SELECT i, i, i, md5(i::text) FROM generate_series(1, 50) i; ROLLBACK"),
                  [], options.resealed)
            c.try_('ROLLBACK')
            for case in cases:
                try:
                    noticed += use_index(server, c, case, answers, options.resealed)
                except Failure as e:
                    raise Failure('damage %d of indexes, seed %d: %s' % (done, options.seed, e))
                done += 1
    say('%d damages of %s indexes, %d noticed, the others had no effect' % (done, INDEX_AM, noticed))


def test(options):
    rnd = random.Random(options.seed)
    total = options.flips or (10000 if options.long else 600)
    tables = min(500, total)
    server = cluster.make('bytes', conf={'rowan.buffers': '16MB', 'shared_buffers': '16MB', 'max_wal_size': '1GB',
                                         'statement_timeout': '20s', 'max_locks_per_transaction': '1000'})
    models = make_models(server)
    right_edge(server, models)
    far_edge(server, models)
    lengths_in_index(server)
    what_is_said(server)
    with server.connect() as c:
        for i in range(tables):
            c.exec('CREATE TABLE d%d (%s) USING %s' % (i, COLUMNS, AM))
            c.exec('INSERT INTO d%d (id) VALUES (1)' % i)
        paths = [('d%d' % i, os.path.join(server.data, c.one("SELECT pg_relation_filepath('d%d')" % i))) for i in range(tables)]
    done = noticed = 0
    while done < total:
        server.stop()
        cases = damage_all(options, rnd, models, paths)
        server.start()
        c = server.connect()
        for case in cases:
            try:
                noticed += read_and_write(server, c, rnd, case, models[case[1]][1], options.resealed)
            except Failure as e:
                raise Failure('damage %d, seed %d: %s' % (done, options.seed, e))
            done += 1
        c.close()
        if options.long:
            say('%d damages, %d noticed' % (done, noticed))
    say('%d damages, %d noticed, the others had no effect' % (done, noticed))
    index_rounds(server, options, rnd, total // 5)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--flips', type=int, help='number of damages')
    parser.add_argument('--kinds', nargs='*', help='only these: ' + ' '.join(k.__name__ for _, k in DAMAGES))
    parser.add_argument('--resealed', action='store_true', help='checksums made right again: nothing may crash')
    harness.main(test, parser)
