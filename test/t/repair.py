#!/usr/bin/env python3
"""rowan.repair: free lists and counts that are wrong, damaged free pages, maps, indexes are made
anew; a file that lacks a page of the tree is left alone.  What verify found it does not find
afterwards, also after a crash; no row is lost, and pages are used again."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cluster
import harness
from bytes import seal
from harness import AM, ENGINE, check

PAGE = 8192
HEADER = 24
FREE_HEAD, FREE_COUNT, VERSION_TAIL, VERSION_COUNT, ACTIVE = 12, 16, 24, 28, 32
SUM = 'SELECT count(*), sum(hashtextextended(r::text, 0)) FROM r'

SETUP = """
CREATE TABLE r (id int, n int, s text) USING {am};
CREATE INDEX r_i ON r USING {ix} (id);
INSERT INTO r SELECT i, 0, repeat('x', 200) FROM generate_series(1, 6000) i;
DELETE FROM r WHERE id BETWEEN 2000 AND 4000;
"""


def u32(data, offset):
    return struct.unpack_from('<I', data, offset)[0]


def set_header(data, field, value):
    struct.pack_into('<I', data, HEADER + field, value)
    seal(data, 0)


def flip(data, block):
    data[block * PAGE + 3000] ^= 1


def lose_head(data):
    """The list begins behind its first page, as one that another list has taken."""
    behind = u32(data, u32(data, HEADER + FREE_HEAD) * PAGE + PAGE - 64 + 40)
    set_header(data, FREE_HEAD, behind)


def list_of_tree(data):
    """The list has a page of the tree: whoever takes it overwrites rows."""
    set_header(data, FREE_HEAD, 2)


HARMS = {
    'a lost free page': lose_head,
    'a free page that is none': list_of_tree,
    'a wrong count': lambda d: set_header(d, FREE_COUNT, 1),
    'a damaged free page': lambda d: flip(d, u32(d, HEADER + FREE_HEAD)),
    'a wrong count of versions': lambda d: set_header(d, VERSION_COUNT, 77),
    'a wrong tail': lambda d: set_header(d, VERSION_TAIL, 2),
    'a wrong active page': lambda d: set_header(d, ACTIVE, 2),
}
BROKEN = {
    'a damaged leaf': lambda d: flip(d, 2),
    'a damaged root': lambda d: flip(d, 1),
    'a damaged header': lambda d: flip(d, 0),
}


def put(server, path, content):
    if server.postmaster is not None:
        server.stop()
    with open(path, 'r+b') as f:
        f.write(content)
    server.start()


def repair(c, relation='r'):
    return dict(c.rows("SELECT part, action FROM rowan.repair('%s')" % relation))


def verify(c, relation='r'):
    return c.rows("SELECT block, problem, severity FROM rowan.verify('%s')" % relation)


def tables(server, path, whole, answer):
    for name, change in HARMS.items():
        data = bytearray(whole)
        change(data)
        put(server, path, data)
        with server.connect() as c:
            check(verify(c), '%s: verify finds nothing' % name)
            said = repair(c)
            check(said['free list and counts'].startswith('made anew'), '%s: %s' % (name, said))
            found = verify(c)
            check(found == [] and c.rows(SUM) == answer, '%s: after it: %s' % (name, found))
        server.kill9()
        server.start()
        with server.connect() as c:
            check(verify(c) == [] and c.rows(SUM) == answer, '%s: after a crash' % name)
            blocks = c.one("SELECT (rowan.file_header('r')).high_water")
            c.exec("INSERT INTO r SELECT i, 1, 'new' FROM generate_series(7000, 9000) i")
            check(verify(c) == [], '%s: after insertions' % name)
            check(c.one("SELECT (rowan.file_header('r')).high_water") == blocks,
                  '%s: free pages are not used' % name)
            c.exec('DROP INDEX r_i; CREATE INDEX r_i ON r USING %s (id)' % INDEX)


def broken(server, path, whole):
    for name, change in BROKEN.items():
        data = bytearray(whole)
        change(data)
        put(server, path, data)
        with server.connect() as c:
            said = repair(c)
            check(said['free list and counts'].startswith('nothing done'), '%s: %s' % (name, said))
        server.stop()
        now = open(path, 'rb').read()
        check(now == bytes(data), '%s: the file was changed' % name)
        put(server, path, whole)


INDEX = 'rowan_btree' if ENGINE else 'btree'


def indexes(server):
    with server.connect() as c:
        c.exec('REINDEX INDEX r_i')
        path = server.path_of('r_i')
    server.stop()
    data = bytearray(open(path, 'rb').read())
    for block in (0, 1, 2):
        flip(data, block)
    put(server, path, data)
    with server.connect() as c:
        check(verify(c, 'r_i'), 'a damaged index is found')
        check(repair(c, 'r_i') == {'index': 'built anew'}, 'an index')
        check(c.rows("SELECT * FROM rowan.verify('r_i', true)") == [], 'after it was built anew')


def rights(server):
    with server.connect() as c:
        c.exec('CREATE ROLE mallory; SET ROLE mallory')
        for relation in ('r', 'r_i'):
            e = c.try_("SELECT rowan.repair('%s')" % relation).error
            check(e and e.sqlstate == '42501', 'not the owner: %s' % e)
        c.exec('RESET ROLE; DROP ROLE mallory')
        c.exec('BEGIN; DECLARE x CURSOR FOR TABLE r; FETCH x')
        e = c.try_("SELECT rowan.repair('r')").error
        check(e and e.sqlstate == '55006', 'a table in use: %s' % e)
        c.exec('ROLLBACK')
        said = repair(c)
        check(said['free list and counts'].startswith('nothing to do'), 'a sound table: %s' % said)


def test(options):
    if not ENGINE:
        return
    server = cluster.make('repair')
    with server.connect() as c:
        c.exec(SETUP.format(am=AM, ix=INDEX))
        c.exec('VACUUM (TRUNCATE off) r')
        c.exec('BEGIN; UPDATE r SET n = 1 WHERE id < 300; ROLLBACK')
        answer = c.rows(SUM)
        path = server.path_of('r')
    server.stop()
    whole = open(path, 'rb').read()
    server.start()
    broken(server, path, whole)
    tables(server, path, whole, answer)
    indexes(server)
    rights(server)
    server.verify()
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
