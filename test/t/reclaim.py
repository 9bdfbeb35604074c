#!/usr/bin/env python3
"""Version pages that are freed while others still look at them.

    judged    a session has found that nobody needs a version page, and waits (at a fault point) before
              it frees it; meanwhile the page is freed by another session, comes back, and is filled
              as far as before, by versions that are needed
    beyond    VACUUM cuts the file, and a chain of versions leads beyond its end: to versions that
              nobody is entitled to
    missing   a version that somebody needs is not there: an error to whoever asks for it, and
              to rowan.verify
    empty     a session fails when it has made a version page and has not used it: the pages behind that
              one are freed all the same

    reclaim.py [judged] [beyond] [missing] [empty]
"""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from bytes import PAGE, seal
from harness import AM, ENGINE, check, say

FULL = 8088         # where the 168 records that fit on a version page end, of 48 bytes each
RECORD = 48


# ---- judged by a copy, freed later ----

def header(c, what):
    return c.one("SELECT %s FROM rowan.file_header('hot')" % what)


def filled(c, block):
    return int(c.one("SELECT lower FROM rowan.page_header('hot', %s)" % block))


def bump(c, id=1):
    c.exec('UPDATE hot SET n = n + 1 WHERE id = %d' % id)


def fill(c, page, to):
    """By other rows, in turn: under an old snapshot, one that was updated too often would move."""
    n = 0
    while filled(c, page) < to:
        bump(c, 2 + n % 7)
        n += 1


def blocked(c, session):
    """Has it answered, or does it wait for a transaction?"""
    return session.ready() or c.one("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %d" % session.pid) == 't'


def judged(server, table, needed_by):
    """The page is filled by versions that a transaction that rolls back, or an old snapshot, is going to need."""
    a, b, old = server.connect(), server.connect(), server.connect()
    b.exec("DROP TABLE IF EXISTS hot; CREATE TABLE hot (id int, n bigint, pad text) USING %s; INSERT INTO hot SELECT i, 0, repeat('x', 50) FROM generate_series(1, 8) i" % table)
    for n in range(200):
        bump(b, 1 + n % 8)
    # one full version page, and no other
    harness.wait_for(lambda: bump(b) or header(b, 'version_head = version_tail') == 't' and filled(b, header(b, 'version_tail')) == FULL,
             'the version store does not come down to a full page')
    page = header(b, 'version_head')

    hits = int(b.one("SELECT fault_hits('version_judged')"))
    b.exec("SELECT fault_arm('version_judged', 'wait', %d)" % a.pid)
    a.send('UPDATE hot SET n = n + 1 WHERE id = 1')
    harness.wait_for(lambda: int(b.one("SELECT fault_hits('version_judged')")) > hits, 'nobody reclaims version pages')

    bump(b)
    check(header(b, 'version_head') == page and filled(b, page) < FULL, 'the page was not freed and used again')
    fill(b, page, FULL - RECORD)
    check(header(b, 'version_head') == page and filled(b, page) == FULL - RECORD, 'the page is not as full as it should be')
    if needed_by == 'rollback':
        b.exec('BEGIN; UPDATE hot SET n = n + 1000000 WHERE id = 1')
    else:
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
    before = old.one('SELECT n FROM hot WHERE id = 1')
    if needed_by == 'snapshot':
        bump(b)
    check(filled(b, page) == FULL, 'the page is not full again')

    b.exec("SELECT fault_arm('version_judged', 'none', 0)")
    harness.wait_for(lambda: blocked(b, a), 'who was held does not go on')
    check(old.one('SELECT n FROM hot WHERE id = 1') == before, 'the old version is lost')
    if needed_by == 'rollback':
        b.exec('ROLLBACK')
    r = a.receive()
    check(not r.error and r.count == 1, 'who was held: %s' % r.error)
    if needed_by == 'snapshot':
        check(old.one('SELECT n FROM hot WHERE id = 1') == before, 'the snapshot has changed its answer')
        old.exec('COMMIT')
    bump(b)
    check(int(b.one('SELECT n FROM hot WHERE id = 1')) == int(before) + (2 if needed_by == 'rollback' else 3), 'updates are lost')
    server.verify('hot')
    for c in (a, b, old):
        c.close()


def judged_pages(server):
    for table in (AM, AM + ' WITH (fillfactor = 50)'):
        for needed_by in ('rollback', 'snapshot'):
            judged(server, table, needed_by)
    server.sql('DROP TABLE hot')
    say('a page that was judged, and used again before it was freed, stays')


# ---- beyond the end of the file ----

def beyond(server):
    answers = {}
    for am in ('heap', AM):
        b, old, c, d = (server.connect() for _ in range(4))
        b.exec("DROP TABLE IF EXISTS bt; CREATE TABLE bt (id int, n bigint, pad text) USING %s; "
               "INSERT INTO bt SELECT g, 0, repeat('x', 50) FROM generate_series(1, 20000) g" % am)
        b.exec('VACUUM bt')
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current_snapshot()')
        b.exec('UPDATE bt SET n = n + 1 WHERE id > 1')          # version pages at the end of the file
        b.exec('DO $$ BEGIN FOR i IN 1..60 LOOP UPDATE bt SET n = n + 1 WHERE id = 1; COMMIT; END LOOP; END $$')
        old.exec('ROLLBACK')
        c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current_snapshot()')
        d.exec('UPDATE bt SET n = n + 1 WHERE id = 1')
        if am != 'heap':
            before = int(b.one("SELECT high_water FROM rowan.file_header('bt')"))
        b.exec('VACUUM bt')
        if am != 'heap':
            after = int(b.one("SELECT high_water FROM rowan.file_header('bt')"))
            check(after < before - 50, 'VACUUM has not cut the file: %d pages, then %d' % (before, after))
        # the tag that would be used again is looked for down the chain
        answers[am] = [d.one('UPDATE bt SET n = n + 1 WHERE id = 1 RETURNING n') for _ in range(140)]
        answers[am].append(c.one('SELECT n FROM bt WHERE id = 1'))
        c.exec('ROLLBACK')
        answers[am].append(d.rows('SELECT n, pad FROM bt WHERE id = 1'))
        server.verify('bt') if am != 'heap' else None
        for x in (b, old, c, d):
            x.close()
    check(answers['heap'] == answers[AM], 'heap: %s, %s: %s' % (answers['heap'], AM, answers[AM]))
    say('a chain that leads beyond the end of the file does no harm')


# ---- a version that is needed is missing ----

ROW_XID, ROW_CID, ROW_VERSION = 1, 2, 4


def bend_version_pointers(path, leaf, block):
    """All version pointers of a leaf lead to that block; how many."""
    data, bent = bytearray(open(path, 'rb').read()), 0
    page = leaf * PAGE
    lower, = struct.unpack_from('<H', data, page + 12)
    for slot in range(24, lower, 4):
        cell = page + struct.unpack_from('<H', data, page + slot)[0]
        size_flags, tag_flags = struct.unpack_from('<HH', data, cell)
        flags = tag_flags >> 7 | size_flags >> 13 << 9
        if flags & ROW_VERSION:
            at = cell + 4 + 4 * bool(flags & ROW_XID) + 4 * bool(flags & ROW_CID)
            data[at:at + 5] = ((block * PAGE + 24) // 8).to_bytes(5, 'little')
            bent += 1
    seal(data, leaf)
    open(path, 'wb').write(data)
    return bent


def missing(server):
    """The pointers of two rows, one being changed by a prepared transaction, are bent to a block beyond the end of the file."""
    if not ENGINE:
        return
    with server.connect() as c:
        c.exec('CREATE TABLE m (id int PRIMARY KEY, n bigint) USING %s; INSERT INTO m VALUES (1, 10), (2, 20)' % AM)
        c.exec('VACUUM m')
        c.exec('UPDATE m SET n = n + 1 WHERE id = 2')
        for statement in ('BEGIN', 'UPDATE m SET n = n + 1 WHERE id = 1', "PREPARE TRANSACTION 'm'"):
            c.exec(statement)
    path = server.path_of('m')
    server.stop()
    bent = bend_version_pointers(path, 1, 1000000)
    check(bent == 2, '%d version pointers' % bent)
    server.start()
    with server.connect() as c:
        # of row 2 nobody needs the older version
        c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off')
        check(c.one('SELECT n FROM m WHERE id = 2') == '21', 'row 2')
        c.exec('UPDATE m SET n = n + 1 WHERE id = 2')
        r = c.try_('SELECT n FROM m WHERE id = 1')
        check(r.error and r.error.sqlstate == 'XX001' and 'an older version of it is missing' in r.error.detail, 'row 1: %s %s' % (r.rows, r.error))
        c.exec("ROLLBACK PREPARED 'm'")
        found = c.rows("SELECT * FROM rowan.verify('m')")
        check(len(found) == 1 and 'row (0,1): an older version of it is missing' in found[0][1], 'verify: %s' % found)
        for statement in ('SELECT n FROM m WHERE id = 1', 'UPDATE m SET n = 0 WHERE id = 1', 'DELETE FROM m', 'VACUUM m', 'VACUUM FULL m'):
            r = c.try_(statement)
            check(r.error and r.error.sqlstate == 'XX001', '%s: %s' % (statement, r.error or r.rows))
        c.exec('DROP TABLE m')
    say('a version that is needed, and missing, is told of')


# ---- an empty page at the head ----

def empty(server):
    a, b = server.connect(), server.connect()
    b.exec("CREATE TABLE hot (id int, n bigint, pad text) USING %s; INSERT INTO hot SELECT i, 0, repeat('x', 50) FROM generate_series(1, 8) i" % AM)
    a.exec("SET rowan.fault = 'version_added:error'")
    r = a.try_('UPDATE hot SET n = n + 1 WHERE id = 1')
    check(r.error and 'version_added' in str(r.error), 'who makes a page does not fail: %s' % r.error)
    a.exec('RESET rowan.fault')
    page = header(b, 'version_head')
    check(header(b, 'version_tail') == page and filled(b, page) == 24, 'there is no empty version page')
    for n in range(2000):
        bump(b, 1 + n % 8)
    newest = int(b.one("SELECT newest_xid::text FROM rowan.version_store_stats('hot')"))
    b.exec('VACUUM hot')
    pages = int(b.one("SELECT pages FROM rowan.version_store_stats('hot')"))
    check(pages <= 1, 'VACUUM leaves %d version pages' % pages)
    frozen = int(b.one("SELECT relfrozenxid::text FROM pg_class WHERE relname = 'hot'"))
    check(frozen >= newest, 'relfrozenxid is %d, the last update was %d' % (frozen, newest))
    # both go on
    bump(a)
    bump(b)
    check(b.one('SELECT sum(n) FROM hot') == '2002', 'updates are lost')
    server.verify('hot')
    a.close()
    b.close()
    server.sql('DROP TABLE hot')
    say('an empty version page at the head does not keep those behind it')


def faulty(parts):
    """With faults to be armed."""
    if not ENGINE:
        return
    server = cluster.make('judged', variant='faults')
    server.sql("CREATE FUNCTION fault_arm(text, text, int) RETURNS void LANGUAGE c AS '$libdir/rowan', 'rowan_fault_arm'; "
               "CREATE FUNCTION fault_hits(text) RETURNS bigint LANGUAGE c AS '$libdir/rowan', 'rowan_fault_hits'")
    if 'judged' in parts:
        judged_pages(server)
    if 'empty' in parts:
        empty(server)
    server.stop()
    server.check_log()


def test(options):
    parts = options.parts or ['judged', 'beyond', 'missing', 'empty']
    faulty(parts)
    server = cluster.make('reclaim')
    if 'beyond' in parts:
        beyond(server)
    if 'missing' in parts:
        missing(server)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('parts', nargs='*', help='judged, beyond, missing, empty')
    harness.main(test, parser)
