#!/usr/bin/env python3
"""Servers put together from files and WAL by core's tools.

    rewind.py rewind    a primary that went on after its standby was promoted becomes the new one's
                        standby by pg_rewind, after a clean shutdown and after a crash
    rewind.py target    a base backup (pg_verifybackup) is recovered up to named restore points;
                        each time the tables are what they were then
    rewind.py           both
"""
import os
import random
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

INDEX = ' USING rowan_btree' if ENGINE else ''
CONF = {'rowan.buffers': '1MB', 'shared_buffers': '2MB', 'wal_keep_size': '512MB',
        'max_wal_size': '64MB'}


def setup(c):
    c.sql('CREATE TABLE t (id int PRIMARY KEY, k int, v int, filler text) USING %s; '
          'CREATE INDEX t_k ON t%s (k); '
          'INSERT INTO t SELECT i, i %% 100, 0, md5(i::text) FROM generate_series(1, 8000) i'
          % (AM, INDEX))
    c.sql('VACUUM t')


def change(c, rnd, n):
    """Updates in place and moving, deletions, insertions, rollbacks, a vacuum."""
    with c.connect() as session:
        for _ in range(n):
            i = rnd.randrange(1, 8000)
            session.exec('UPDATE t SET v = v + 1 WHERE id BETWEEN %d AND %d' % (i, i + 20))
            session.exec('UPDATE t SET k = k + 1, filler = filler || %d '
                         'WHERE id %% 400 = %d' % (i, i % 400))
            session.exec('DELETE FROM t WHERE id = %d' % i)
            session.exec("INSERT INTO t VALUES (%d, 1, 1, 'again') ON CONFLICT DO NOTHING" % i)
            session.exec('BEGIN; UPDATE t SET v = -1 WHERE id %% 50 = %d; ROLLBACK' % (i % 50))
        session.exec('VACUUM t')


def content(c):
    """By sequential scan and by both indexes."""
    total = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM t WHERE %s"
    with c.connect() as session:
        rows = [session.rows(total % 'true')[0]]
        session.exec('SET enable_seqscan = off')
        rows += [session.rows(total % condition)[0] for condition in ('id >= 0', 'k >= 0')]
    check(len(set(rows)) == 1, 'ways through the table differ: %s' % rows)
    return rows[0]


# ---- pg_rewind ----

def rewind_once(options, crash):
    rnd = random.Random(options.seed + crash)
    old = cluster.make('old', conf=CONF)
    setup(old)
    new = old.backup_to('new')
    new.start()
    change(old, rnd, 20)
    new.wait_replayed(old)
    new.promote()
    new.sql('CHECKPOINT')               # the timeline's history is there then
    change(old, rnd, 20)                # nobody hears of this
    change(new, rnd, 20)
    if crash:
        old.kill9()
    else:
        old.stop()
    old.run_tool('pg_rewind', '-D', old.data, '--source-server', new.conninfo())
    old.write_conf(primary_conninfo='host=%s port=5432 user=postgres' % new.dir)
    open(old.data + '/standby.signal', 'w').close()
    harness.own(old.data + '/standby.signal')
    old.start()
    change(new, rnd, 5)
    old.wait_replayed(new)
    check(content(old) == content(new), 'contents differ: %s %s' % (content(old), content(new)))
    new.verify()
    old.verify()
    for c in (old, new):
        c.stop()
        c.check_log()
        c.destroy()


def rewind(options):
    for crash in (False, True):
        rewind_once(options, crash)
    say('rewind: after a shutdown, and after a crash')


# ---- recovery to a target ----

def recover(backup, archive, name):
    c = cluster.Cluster('recovered', conf=CONF, initdb=False)
    shutil.copytree(backup, c.data)
    harness.own_tree(c.data)
    open(c.data + '/recovery.signal', 'w').close()
    harness.own(c.data + '/recovery.signal')
    c.write_conf(restore_command='cp %s/%%f %%p' % archive, recovery_target_name=name,
                 recovery_target_action='promote', archive_mode='off')
    c.start()
    c.wait_recovered()
    result = content(c)
    c.verify()
    c.stop()
    c.check_log()
    c.destroy()
    return result


def target(options):
    rnd = random.Random(options.seed)
    archive = harness.new_dir('archive')
    primary = cluster.make('primary', conf=dict(CONF, archive_mode='on',
                                                archive_command='cp %%p %s/%%f' % archive))
    setup(primary)
    change(primary, rnd, 10)
    backup = harness.new_dir('backup') + '/data'
    primary.run_tool('pg_basebackup', '-D', backup, '-h', primary.dir, '-U', 'postgres',
                     '-c', 'fast')
    primary.run_tool('pg_verifybackup', backup)
    points = {}
    for n in range(3):
        change(primary, rnd, 10)
        primary.sql("SELECT pg_create_restore_point('point%d')" % n)
        points['point%d' % n] = content(primary)
        if n == 1:
            primary.sql('CHECKPOINT')
    change(primary, rnd, 5)
    primary.sql('SELECT pg_switch_wal()')
    primary.stop()
    for name, expected in points.items():
        found = recover(backup, archive, name)
        check(found == expected, '%s: %s, should be %s' % (name, found, expected))
    say('target: %d restore points' % len(points))


def test(options):
    modes = {'rewind': rewind, 'target': target}
    for mode in options.mode or modes:
        modes[mode](options)


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('mode', nargs='*', help='rewind, target')
    harness.main(test, parser)
