#!/usr/bin/env python3
"""A long REPEATABLE READ snapshot while the table is updated in place again and again: its answers
stay, the tree does not grow, and afterwards the version pages are used again without VACUUM."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

ANSWERS = ['SELECT count(*), sum(v), sum(id::bigint), sum(hashtext(s)::bigint) FROM t',
           'SELECT count(*), sum(v) FROM t WHERE id BETWEEN 100 AND 2000',
           'SELECT id, v, s FROM t WHERE id = 77']


def pages(server):
    """(tree pages, version pages, all pages of the file)"""
    if not ENGINE:
        n = int(server.one("SELECT pg_relation_size('t') / 8192"))
        return n, 0, n
    with server.connect() as c:
        row = c.rows("SELECT to_jsonb(x)->>'inner_pages', to_jsonb(x)->>'leaf_pages', to_jsonb(x)->>'version_pages' "
                     "FROM rowan.tree_stats('t') x")[0]
        return int(row[0]) + int(row[1]), int(row[2]), int(c.one("SELECT pg_relation_size('t') / 8192"))


def update(c, rows, count, batch=10000):
    """count in-place updates, in a pseudo-random order, in transactions of `batch`"""
    for first in range(0, count, batch):
        r = c.exec('UPDATE t SET v = t.v + 1 FROM (SELECT ((i::bigint * 7919 + %d) %% %d) AS k FROM generate_series(1, %d) i) x '
                   'WHERE t.id = x.k' % (first, rows, min(batch, rows)))
        check(r.count == min(batch, rows), 'updated %d rows' % r.count)


def test(options):
    rows, count = (200000, 1000000) if options.long else (20000, 100000)
    server = cluster.make('snapshot', conf={'rowan.buffers': '32MB', 'shared_buffers': '32MB', 'max_wal_size': '2GB'})
    c = server.connect()
    c.exec("CREATE TABLE t (id int PRIMARY KEY, v bigint, s text) USING %s; "
           "INSERT INTO t SELECT i, i %% 1000, md5(i::text) FROM generate_series(0, %d) i" % (AM, rows - 1))
    before = pages(server)
    old = server.connect()
    old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
    expected = [old.rows(q) for q in ANSWERS]
    start = time.time()
    for part in range(5):
        update(c, rows, count // 5)
        check([old.rows(q) for q in ANSWERS] == expected, 'the snapshot has changed its answer after %d updates' % ((part + 1) * count // 5))
    with_old = pages(server)
    say('%d updates under the snapshot in %.0f s; tree, version, all pages: %s -> %s' % (count, time.time() - start, before, with_old))
    start = time.time()
    check([old.rows(q) for q in ANSWERS] == expected, 'the snapshot has changed its answer')
    say('the old snapshot reads all in %.2f s' % (time.time() - start))
    old.exec('SET enable_seqscan = off')
    check([old.rows(q) for q in ANSWERS] == expected, 'the snapshot has another answer by index')
    total = int(c.one('SELECT sum(v) FROM t'))
    check(total == int(expected[0][0][1]) + count, 'updates are missing')
    if ENGINE:
        check(with_old[0] <= before[0] * 1.05 + 2, 'the tree has grown from %d to %d pages' % (before[0], with_old[0]))
    old.exec('COMMIT')
    old.close()
    # nobody needs the old versions now: the same number of updates again must not make the file longer
    update(c, rows, count)
    after = pages(server)
    say('the same again without a snapshot: %s' % (after,))
    if ENGINE:
        check(after[2] <= with_old[2] * 1.05 + 64, 'the file has grown from %d to %d pages: version pages are not reused' % (with_old[2], after[2]))
        check(after[1] < with_old[1] / 2 + 64, 'version pages are not reclaimed: %d, then %d' % (with_old[1], after[1]))
        check(after[0] <= before[0] * 1.05 + 2, 'the tree has grown from %d to %d pages' % (before[0], after[0]))
    server.verify('t')
    c.close()
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
