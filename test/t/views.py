#!/usr/bin/env python3
"""The views say what goes on: pages in the pool by relation, trees, who keeps older versions, the
worker; counters
count, and begin anew when they are reset; nobody who looks waits for a lock, or fails when a table
goes."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import ENGINE, check, say

VIEWS = ('pool_stat', 'pool_relations', 'trees', 'version_holders', 'versions', 'tree_activity',
         'worker_stat')


def number(c, sql):
    return int(c.one(sql))


def pool(server, c):
    c.exec('CREATE TABLE p (id int PRIMARY KEY, t text) USING rowan; '
           "INSERT INTO p SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i; "
           'CREATE INDEX p_t ON p USING rowan_btree (t)')
    for name in ('p', 'p_t'):
        c.exec("SELECT rowan.flush('%s')" % name)
        frames, size, dirty, recent = c.rows(
            'SELECT frames, bytes, dirty, recent FROM rowan.pool_relations '
            "WHERE relation = '%s'::regclass AND database = current_database()" % name)[0]
        used = number(c, "SELECT high_water FROM rowan.file_header('%s')" % name)
        check(int(frames) == used and int(size) == used * 8192,
              '%s: %s frames of %d pages' % (name, frames, used))
        check(dirty == '0' and 0 < int(recent) <= used, '%s: dirty %s, recent %s'
              % (name, dirty, recent))
    c.exec('UPDATE p SET t = t WHERE id = 1')
    check(number(c, "SELECT dirty FROM rowan.pool_relations WHERE relation = 'p'::regclass") > 0,
          'nothing dirty')
    check(c.one('SELECT (SELECT used FROM rowan.pool_stat) = (SELECT sum(frames) FROM '
                'rowan.pool_relations)') == 't',
          'pool_stat and pool_relations differ')
    server.sql('CREATE DATABASE other')
    server.sql('CREATE EXTENSION rowan; CREATE TABLE q (i int) USING rowan; INSERT INTO q VALUES '
               '(1)', 'other')
    check(c.rows("SELECT relation FROM rowan.pool_relations WHERE database = 'other'") == [(None,)],
          'a table of another database')


def trees(c):
    for relation, method, height, tree, versions, free, unused, blocks in c.rows(
            'SELECT relation, method, height, tree_pages, version_pages, free_pages, '
            'unused_pages, blocks FROM rowan.trees'):
        stat = c.rows("SELECT height, inner_pages + leaf_pages, version_pages, free_pages, "
                      "unused_pages "
                      "FROM rowan.tree_stats('%s')" % relation)[0]
        check((height, tree, versions, free, unused) == stat,
              '%s: trees %s, tree_stats %s' % (relation, (height, tree, versions, free, unused),
                                               stat))
        check(int(blocks) == 1 + int(tree) + int(versions) + int(free) + int(unused),
              '%s: %s blocks' % (relation, blocks))
        check(method == ('rowan_btree' if relation == 'p_t' else 'rowan'),
              'method of %s' % relation)
    listed = {r[0] for r in c.rows('SELECT relation FROM rowan.trees')}
    check({'p', 'p_t'} <= listed, 'trees lists %s' % listed)


def holders(server, c):
    """A snapshot, a transaction that has written, a prepared one: each is named, and so is what it
    keeps."""
    c.exec('CREATE TABLE v (id int, n int) USING rowan; INSERT INTO v SELECT i, 0 FROM '
           'generate_series(1, 5000) i')
    check(c.rows("SELECT * FROM rowan.versions WHERE relation = 'v'::regclass") == [],
          'versions of a new table')
    with server.connect() as old:
        pid = old.one('SELECT pg_backend_pid()')
        old.exec("SET application_name = 'the report'; BEGIN ISOLATION LEVEL REPEATABLE READ; "
                 "SELECT count(*) FROM v")
        for _ in range(3):
            c.exec('UPDATE v SET n = n + 1')
        rows = c.rows("SELECT pages, bytes, held_by, pid, name, age, since < now(), holder_xid "
                      "FROM rowan.versions WHERE relation = 'v'::regclass")
        check(len(rows) == 1, 'versions: %s' % rows)
        pages, size, kind, by, name, age, past, holder_xid = rows[0]
        check(int(pages) > 20 and int(size) == int(pages) * 8192, 'pages of versions: %s' % (rows,))
        check((kind, by, name, past) == ('session', pid, 'the report', 't') and int(age) >= 3,
              'who holds them: %s, not %s' % (rows, pid))
        first = c.rows('SELECT kind, pid, xid, age, query FROM rowan.version_holders LIMIT 1')[0]
        check(first[:3] == ('session', pid, holder_xid) and 'REPEATABLE READ' in first[4],
              'oldest holder: %s' % (first,))
        before = number(c, 'SELECT version_pages_freed FROM rowan.tree_activity')
        old.exec('COMMIT')
    rows = c.rows("SELECT held_by, pid FROM rowan.versions WHERE relation = 'v'::regclass")
    check(rows == [(None, None)], 'nobody holds them now: %s' % rows)
    c.exec('VACUUM v')
    check(number(c, 'SELECT version_pages_freed FROM rowan.tree_activity') >= before + 20,
          'freed pages are not counted')
    c.exec("BEGIN; UPDATE v SET n = 5 WHERE id = 1; PREPARE TRANSACTION 'forgotten'")
    c.exec('UPDATE v SET n = n + 1 WHERE id > 1')
    check(c.rows('SELECT kind, name, pid FROM rowan.version_holders')[0]
          == ('prepared transaction', 'forgotten', None), 'a prepared transaction')
    check(c.rows("SELECT held_by, name FROM rowan.versions WHERE relation = 'v'::regclass")
          == [('prepared transaction', 'forgotten')],
          'versions kept by a prepared transaction: %s' % c.rows('SELECT * FROM rowan.versions'))
    c.exec("ROLLBACK PREPARED 'forgotten'")
    # without a snapshot, somebody who waits holds nothing
    with server.connect() as idle:
        idle.exec('BEGIN')
        check(c.rows('SELECT pid FROM rowan.version_holders') == [],
              'an idle transaction without a snapshot')
        idle.exec('COMMIT')


def counters(server, c):
    for view, column, doing in (
            ('tree_activity', 'splits',
             "INSERT INTO p SELECT i, 'x' || i FROM generate_series(5001, 20000) i"),
            ('tree_activity', 'root_splits', 'CREATE TABLE r (t text) USING rowan; '
             "INSERT INTO r SELECT repeat('x', 500) FROM generate_series(1, 100)"),
            ('tree_activity', 'merges', 'DELETE FROM p WHERE id % 10 > 0; VACUUM p'),
            ('worker_stat', 'flushes', 'CHECKPOINT'),
            ('worker_stat', 'flush_writes', 'UPDATE p SET t = id; CHECKPOINT'),
            ('pool_stat', 'writes', "UPDATE p SET t = id || 'y'; CHECKPOINT")):
        before = number(c, 'SELECT %s FROM rowan.%s' % (column, view))
        for statement in doing.split('; '):
            c.exec(statement)
        after = number(c, 'SELECT %s FROM rowan.%s' % (column, view))
        check(after > before, '%s.%s: %d, then %d' % (view, column, before, after))
    row = c.rows("SELECT armed, pid = (SELECT pid FROM pg_stat_activity WHERE backend_type = "
                 "'rowan pool worker'), "
                 "last_flush > now() - interval '1 minute', last_tick > now() - interval '10 s', "
                 "flushing_since, writers > 0, last_flush_writes > 0 FROM rowan.worker_stat")
    check(row == [('t', 't', 't', 't', None, 't', 't')], 'the worker: %s' % row)
    since = c.one('SELECT since FROM rowan.pool_stat')
    c.exec('SELECT rowan.reset_stats()')
    for view, columns in (('tree_activity', ('splits', 'root_splits', 'merges',
                                             'version_pages_added', 'version_pages_freed')),
                          ('worker_stat', ('flushes', 'flush_writes', 'flush_ms')),
                          ('pool_stat', ('reads', 'flushes', 'evictions'))):
        row = c.rows('SELECT %s FROM rowan.%s' % (', '.join(columns), view))[0]
        check(all(float(n) == 0 for n in row), '%s after a reset: %s' % (view, row))
        check(c.one("SELECT since > '%s' FROM rowan.%s" % (since, view)) == 't', '%s: since' % view)
    c.exec('CHECKPOINT')
    check(c.one('SELECT flushes FROM rowan.worker_stat') == '1', 'counting goes on')


def nobody_waits(server, c):
    """A table that somebody has locked has no numbers, at once; tables that come and go do no
    harm."""
    with server.connect() as locker:
        locker.exec('BEGIN; LOCK TABLE p IN ACCESS EXCLUSIVE MODE')
        c.exec("SET statement_timeout = '5s'")
        check(c.rows("SELECT height, blocks FROM rowan.trees WHERE relation = 'p'::regclass")
              == [(None, None)], 'a locked table')
        for view in VIEWS:
            c.rows('SELECT * FROM rowan.' + view)
        c.exec('RESET statement_timeout')
        locker.exec('COMMIT')
    stop = threading.Event()

    def come_and_go():
        with server.connect() as other:
            while not stop.is_set():
                other.exec('CREATE TABLE fleeting (i int) USING rowan')
                other.exec('INSERT INTO fleeting SELECT generate_series(1, 1000); UPDATE fleeting '
                           'SET i = 1')
                other.exec('DROP TABLE fleeting')
    threads = [threading.Thread(target=come_and_go) for _ in range(1)]
    for t in threads:
        t.start()
    try:
        end = time.time() + 6
        while time.time() < end:
            for view in VIEWS:
                c.rows('SELECT * FROM rowan.' + view)
    finally:
        stop.set()
        for t in threads:
            t.join()


def rights(server, c):
    c.exec('CREATE ROLE watcher LOGIN IN ROLE pg_monitor; CREATE ROLE anybody LOGIN')
    for view in VIEWS:
        with server.connect() as w:
            w.exec('SET SESSION AUTHORIZATION watcher')
            w.rows('SELECT * FROM rowan.' + view)
            w.exec('RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION anybody')
            error = w.try_('SELECT * FROM rowan.' + view).error
            check(error is not None and error.sqlstate == '42501',
                  '%s for anybody: %s' % (view, error))
    with server.connect() as w:
        w.exec('SET SESSION AUTHORIZATION watcher')
        error = w.try_('SELECT rowan.reset_stats()').error
        check(error is not None and error.sqlstate == '42501',
              'reset_stats for pg_monitor: %s' % error)
        check(w.rows("SELECT pid FROM rowan.version_holders") == [], 'holders, for pg_monitor')
    for relation, sqlstate in (('pg_class', '42809'), ('pg_stat_activity', '42809')):
        error = c.try_("SELECT * FROM rowan.file_state('%s')" % relation).error
        check(error is not None and error.sqlstate == sqlstate,
              'file_state(%s): %s' % (relation, error))
    check(c.rows('SELECT height FROM rowan.file_state(1)') == [(None,)],
          'file_state of what does not exist')


def after_a_crash(server):
    with server.connect() as c:
        before = c.one('SELECT since FROM rowan.pool_stat')
    server.kill9()
    server.start()
    with server.connect() as c:
        check(c.one("SELECT since > '%s' FROM rowan.pool_stat" % before) == 't',
              'since, after a crash')
        for view in VIEWS:
            c.rows('SELECT * FROM rowan.' + view)


def test(options):
    if not ENGINE:
        return
    server = cluster.make('views')
    with server.connect() as c:
        pool(server, c)
        trees(c)
        holders(server, c)
        counters(server, c)
        nobody_waits(server, c)
        rights(server, c)
    after_a_crash(server)
    server.verify()
    server.stop()
    server.check_log()
    say('%d views' % len(VIEWS))


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
