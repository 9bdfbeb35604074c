#!/usr/bin/env python3
"""Databases that are copied, and recovery that copies them again, later.

    copied.py           all of these
    copied.py template  a standby crashes before a restartpoint and copies a template that has
                        changed since CREATE DATABASE; then the copy's pages are changed
    copied.py backup    the same in recovery from a base backup that was begun before
    copied.py move      a database that was moved to another tablespace and back
    copied.py images    the first change of a page after a copy has an image in WAL, the second
                        has none; so it is after a restart, and without the file that says so all
                        changes have one

What the tables of the copies must say is taken from the primary, and from heap tables beside them.
"""
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

CONF = {'rowan.buffers': '4MB', 'checkpoint_timeout': '1d', 'max_wal_size': '4GB',
        'rowan.clean_interval': '1s', 'autovacuum': 'off'}
INDEX = 'USING rowan_btree' if ENGINE else ''
TABLES = ('ours', 'heaps')
ROWS = 4000


def fill(c):
    for t in TABLES:
        am = AM if t == 'ours' else 'heap'
        c.exec('CREATE TABLE %s (id int PRIMARY KEY, k int, s text) USING %s; '
               'CREATE INDEX %s_k ON %s %s (k); '
               'INSERT INTO %s SELECT i, i %% 50, md5(i::text) FROM generate_series(1, %d) i'
               % (t, am, t, t, INDEX if t == 'ours' else '', t, ROWS))


def change(server, db, n):
    """Every page is changed: in place, by moves, by insertions and deletions; versions stay."""
    with server.connect(db) as c:
        for t in TABLES:
            c.exec('UPDATE %s SET s = md5(s || %d) WHERE id %% 5 = %d' % (t, n, n % 5))
            c.exec('UPDATE %s SET k = k + 100 WHERE id %% 7 = %d' % (t, n % 7))
            c.exec('DELETE FROM %s WHERE id %% 31 = %d' % (t, n % 31))
            c.exec("INSERT INTO %s SELECT (%d + 1) * 10000 + i, i, 'new' "
                   'FROM generate_series(1, 300) i' % (t, n))
            c.exec('BEGIN; UPDATE %s SET k = -1 WHERE id %% 11 = 3; ROLLBACK' % t)


def contents(server, db):
    answers = []
    with server.connect(db) as c:
        for t in TABLES:
            for setting in ('on', 'off'):
                c.exec('SET enable_seqscan = %s; SET enable_bitmapscan = %s' % (setting, setting))
                answers.append(c.rows('SELECT count(*), sum(hashtextextended(t::text, 0)) '
                                      'FROM %s t WHERE k > -5' % t))
    check(all(a == answers[0] for a in answers), 'database %s: tables differ: %s' % (db, answers))
    return answers[0]


def same(server, other, databases):
    other.wait_replayed(server)
    for db in databases:
        check(contents(other, db) == contents(server, db), 'database %s has other rows' % db)


def begin(**more):
    server = cluster.make('copied', conf=dict(CONF, **more))
    server.sql('CREATE DATABASE original')
    server.create_extension('original')
    with server.connect('original') as c:
        fill(c)
    return server


def pages_written(standby):
    """What has been replayed is in files: a copy made in another recovery has it."""
    time.sleep(3)
    standby.kill9()
    standby.start()


def template(options):
    server = begin()
    standby = server.backup_to('standby', conf=CONF)
    standby.start()
    server.sql('CREATE DATABASE copy TEMPLATE original STRATEGY file_copy')
    for n in range(2):
        change(server, 'original', n)
    standby.wait_replayed(server)
    pages_written(standby)
    same(server, standby, ['original'])
    for n in range(2, 4):
        change(server, 'copy', n)
    same(server, standby, ['original', 'copy'])
    pages_written(standby)
    same(server, standby, ['original', 'copy'])
    # the standby takes over, and what it logs must do in recovery, too
    server.sql('CREATE DATABASE second TEMPLATE copy STRATEGY file_copy')
    change(server, 'copy', 4)
    standby.wait_replayed(server)
    expected = contents(server, 'second')
    server.stop('immediate')
    standby.promote()
    change(standby, 'copy', 5)
    check(contents(standby, 'second') == expected, 'the copy changed')
    change(standby, 'second', 6)
    expected = contents(standby, 'second'), contents(standby, 'copy')
    pages_written(standby)
    check((contents(standby, 'second'), contents(standby, 'copy')) == expected,
          'after a crash of the promoted server there are other rows')
    standby.verify(db='second')
    standby.verify(db='copy')


def without_wal(directory, names):
    if os.path.basename(directory) in ('pg_wal', 'pg_replslot'):
        return [n for n in names if n != 'archive_status']
    return [n for n in names if n in ('postmaster.pid', 'postmaster.opts')]


def backup(options):
    server = begin()
    with server.connect() as c:
        c.exec("SELECT pg_backup_start('b', true)")
        server.sql('CREATE DATABASE copy TEMPLATE original STRATEGY file_copy')
        change(server, 'original', 1)
        server.sql('CHECKPOINT')            # so the template's files have that
        restored = cluster.Cluster('restored', conf=CONF, variant=server.variant, initdb=False,
                                   fsync=server.fsync, preload=server.preload)
        shutil.copytree(server.data, restored.data, ignore=without_wal, dirs_exist_ok=True)
        label = c.one('SELECT labelfile FROM pg_backup_stop()')
    with open(restored.data + '/backup_label', 'w') as f:
        f.write(label)
    restored.write_conf(primary_conninfo='host=%s port=5432 user=postgres' % server.dir)
    open(restored.data + '/standby.signal', 'w').close()
    harness.own_tree(restored.data)
    restored.start()
    change(server, 'copy', 2)
    same(server, restored, ['original', 'copy'])


def move(options):
    server = begin(allow_in_place_tablespaces='on')
    standby = server.backup_to('standby')
    standby.start()
    server.sql("CREATE TABLESPACE elsewhere LOCATION ''")
    for n, where in enumerate(('elsewhere', 'pg_default', 'elsewhere', 'pg_default')):
        change(server, 'original', n)
        server.sql('ALTER DATABASE original SET TABLESPACE ' + where)
    change(server, 'original', 4)
    standby.wait_replayed(server)
    pages_written(standby)
    same(server, standby, ['original'])
    change(server, 'original', 5)
    pages_written(standby)
    same(server, standby, ['original'])


def image_bytes(c, sql):
    """Of what our resource manager logs."""
    start = c.one('SELECT pg_current_wal_insert_lsn()')
    c.exec(sql)
    return int(c.one("SELECT coalesce(sum(fpi_length), 0) FROM pg_get_wal_records_info('%s', "
                     "pg_current_wal_flush_lsn()) WHERE resource_manager = 'rowan'" % start))


def images(options):
    server = begin()
    server.sql('CREATE EXTENSION pg_walinspect', db='original')

    def updates(db='original'):
        """In one session, which keeps its place for versions."""
        with server.connect(db) as c:
            return [image_bytes(c, 'UPDATE ours SET s = md5(s) WHERE id = 77') > 1000
                    for _ in range(3)]

    updates()
    check(updates() == [False] * 3, 'images without a copy')
    server.sql('CREATE DATABASE copy TEMPLATE original STRATEGY file_copy')
    server.restart()
    check(updates('copy') == [True, False, False], 'not one image of a page of a copy')
    with open(os.path.join(server.data, 'rowan_copied'), 'r+b') as f:
        f.write(b'damaged')
    server.restart()
    check(updates('copy') == [True] * 3, 'no images though it is not known what was copied')
    server.sql('CREATE DATABASE second TEMPLATE copy STRATEGY file_copy')
    check(updates('second') == [True, False, False], 'images after the file was made anew')
    check('could not read file "rowan_copied"' in server.log_text(), 'nothing was said')


def test(options):
    modes = {'template': template, 'backup': backup, 'move': move, 'images': images}
    for mode in options.mode or modes:
        start = time.time()
        modes[mode](options)
        for server in cluster.clusters:
            if server.postmaster is not None:
                server.stop('immediate')
        say('%s: fine, %d s' % (mode, time.time() - start))


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('mode', nargs='*', help='template, backup, move, images')
    harness.main(test, parser)
