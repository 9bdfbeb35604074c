#!/usr/bin/env python3
"""Prepared transactions: what they wrote and locked on a heap table and on its twin stays the same to others, over
restarts, crashes and a promotion, until they are committed or rolled back.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check, say

ROWS = 12
TWINS = (('h', 'heap'), ('r', AM))
MODES = ('UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE')

# name: statements of the transaction, % being the table; rows 1 to 12 have k = id, v = 0
WORK = {
    'insert': ["INSERT INTO % SELECT i, i, 1, repeat('n', i * 100) FROM generate_series(13, 60) i"],
    'in place': ['UPDATE % SET v = v + 1 WHERE id <= 3', 'UPDATE % SET v = v + 1 WHERE id = 2', "UPDATE % SET s = repeat('long', 3000) WHERE id = 3"],
    'moved': ['UPDATE % SET k = k + 100 WHERE id <= 3', 'UPDATE % SET v = 5 WHERE id = 2', 'UPDATE % SET k = k + 100 WHERE id = 2',
              'UPDATE % SET id = id + 100 WHERE id = 3'],
    'deleted': ['DELETE FROM % WHERE id <= 2', 'UPDATE % SET v = 1 WHERE id = 3', 'DELETE FROM % WHERE id = 3'],
    'locks': ['SELECT * FROM % WHERE id = 1 FOR UPDATE', 'SELECT * FROM % WHERE id = 2 FOR NO KEY UPDATE', 'SELECT * FROM % WHERE id = 3 FOR SHARE',
              'SELECT * FROM % WHERE id = 4 FOR KEY SHARE'],
    'subtransactions': ['SAVEPOINT a', 'UPDATE % SET v = 1 WHERE id <= 4', 'SAVEPOINT b', 'UPDATE % SET v = 2, k = k + 100 WHERE id <= 2', 'DELETE FROM % WHERE id = 3',
                        'ROLLBACK TO b', 'UPDATE % SET v = v + 10 WHERE id = 2', 'RELEASE a', 'SAVEPOINT c', 'SELECT * FROM % WHERE id = 6 FOR UPDATE', 'ROLLBACK TO c',
                        'SAVEPOINT d', "INSERT INTO % VALUES (20, 20, 20, 'kept')", 'SAVEPOINT e', "INSERT INTO % VALUES (21, 21, 21, 'gone')", 'ROLLBACK TO e'],
    'upgraded locks': ['SELECT * FROM % WHERE id = 1 FOR KEY SHARE', 'SAVEPOINT a', 'SELECT * FROM % WHERE id = 1 FOR UPDATE', 'RELEASE a', 'SELECT * FROM % WHERE id = 2 FOR SHARE',
                       'SAVEPOINT b', 'UPDATE % SET v = 7 WHERE id = 2', 'ROLLBACK TO b', 'UPDATE % SET v = 8 WHERE id = 3', 'SELECT * FROM % WHERE id = 3 FOR UPDATE'],
    'all tags': ["DO $$ BEGIN FOR i IN 1..300 LOOP UPDATE % SET v = v + 1 WHERE id = 5; END LOOP; END $$"],
    'many subtransactions': ["DO $$ BEGIN FOR i IN 1..150 LOOP BEGIN UPDATE % SET v = v + 1 WHERE id = 6; UPDATE % SET k = k + 1 WHERE id = i % 3 + 7; "
                             "IF i % 2 = 0 THEN RAISE division_by_zero; END IF; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$"],
    'upsert': ["INSERT INTO % VALUES (1, 1, 1, 'x'), (30, 30, 30, 'new') ON CONFLICT (id) DO UPDATE SET v = %.v + 50"],
    'emptied': ['TRUNCATE %', "INSERT INTO % VALUES (70, 70, 70, 'after')"],
    'rewritten': ['ALTER TABLE % ADD extra int DEFAULT random() * 0 + 5', 'UPDATE % SET v = 3 WHERE id < 5'],
    'gone': ['UPDATE % SET v = 1', 'DROP TABLE %'],
}
HOLDS_TABLE = ('emptied', 'rewritten', 'gone')
# what happens between PREPARE and its end
EVENTS = ('nothing', 'restart', 'kill', 'checkpoint and kill')


def table(name, twin):
    return '%s_%s' % (name.replace(' ', '_'), twin)


def both(c, name, sql, may_fail=False):
    """The statement on both tables: the answers, which must be the same."""
    answers = []
    for twin, _ in TWINS:
        r = c.try_(sql.replace('% 2 =', '\0 2 =').replace('% 3 +', '\0 3 +').replace('%', table(name, twin)).replace('\0', '%'))
        if r.error and not may_fail:
            raise harness.Failure('%s: %s: %s' % (name, sql, r.error))
        answers.append(r.error.sqlstate if r.error else sorted(r.rows, key=repr))
    # where a row was updated twice, the second time so that it conflicts, heap waits even with SKIP LOCKED
    if answers[0] == '55P03' and 'SKIP LOCKED' in sql and isinstance(answers[1], list):
        return answers[1]
    check(answers[0] == answers[1], '%s: %s: heap %s, here %s' % (name, sql, answers[0], answers[1]))
    return answers[0]


def create(c, name):
    for twin, am in TWINS:
        t = table(name, twin)
        c.exec("DROP TABLE IF EXISTS %s; CREATE TABLE %s (id int PRIMARY KEY, k int, v int, s text) USING %s; CREATE INDEX ON %s (k); "
               "INSERT INTO %s SELECT i, i, 0, repeat('s', i) FROM generate_series(1, %d) i" % (t, t, am, t, t, ROWS))


def prepare(c, name, gid):
    c.exec('BEGIN')
    for sql in WORK[name]:
        if sql.startswith(('SAVEPOINT', 'ROLLBACK', 'RELEASE')):
            c.exec(sql)
        else:
            both(c, name, sql)
    c.exec("PREPARE TRANSACTION '%s'" % gid)


def probe(c, name):
    """What others see, and whom they would have to wait for."""
    if c.one("SELECT to_regclass('%s')" % table(name, 'h')) is None:
        check(c.try_('TABLE ' + table(name, 'r')).error.sqlstate == '42P01', 'only one table has gone')
        return
    for query in ('TABLE %', 'SELECT count(*), sum(k), sum(v) FROM %'):
        both(c, name, query)
    c.exec('SET enable_seqscan = off')
    both(c, name, 'SELECT id, k FROM % WHERE k > 0')
    both(c, name, 'SELECT id, v FROM % WHERE id > 0')
    c.exec('RESET enable_seqscan')
    for i in range(1, ROWS + 1):
        for mode in MODES:
            both(c, name, 'SELECT id, k, v FROM %% WHERE id = %d FOR %s NOWAIT' % (i, mode), may_fail=True)
    for mode in MODES:
        both(c, name, 'SELECT id FROM %% FOR %s SKIP LOCKED' % mode, may_fail=True)
    for i in (1, 2, 3, 4, 6):
        for change in ('UPDATE % SET v = v + 1000', 'UPDATE % SET k = k + 1000', 'DELETE FROM %'):
            # in one implicit transaction, which does not last: division by zero is success
            both(c, name, '%s WHERE id = %d; SELECT 1 / 0' % (change, i), may_fail=True)
    both(c, name, "INSERT INTO % VALUES (1, 0, 0, 'dup')", may_fail=True)


def probe_all(server, names):
    with server.connect() as c:
        c.exec("SET lock_timeout = '1ms'")
        for name in names:
            probe(c, name)


def happen(server, event):
    if 'checkpoint' in event:
        server.sql('CHECKPOINT')
    if 'kill' in event:
        server.kill9()
        server.start()
    if event == 'restart':
        server.restart()


def gid(name, ending):
    return '%s, %s' % (name, ending)


def round_(server, event, ending):
    names = list(WORK)
    with server.connect() as c:
        for name in names:
            create(c, name)
        if event != 'checkpoint and kill':
            c.exec('CHECKPOINT')
        for name in names:
            prepare(c, name, gid(name, ending))
    free = [n for n in names if n not in HOLDS_TABLE]
    probe_all(server, free)
    happen(server, event)
    probe_all(server, free)
    with server.connect() as c:
        for name in free:                       # with prepared transactions of that age in the way; cutting files would wait for them
            both(c, name, 'VACUUM (TRUNCATE off) %')
        # somebody shares locks with the prepared transaction
        with server.connect() as d:
            d.exec('BEGIN')
            both(d, 'locks', 'SELECT id FROM % WHERE id = 3 FOR SHARE')
            both(d, 'locks', 'SELECT id FROM % WHERE id = 4 FOR NO KEY UPDATE')
            both(d, 'locks', 'UPDATE % SET v = v + 1 WHERE id = 4')
            d.exec('COMMIT')
    probe_all(server, free)
    with server.connect() as c:
        for name in names:
            c.exec("%s PREPARED '%s'" % (ending, gid(name, ending)))
    probe_all(server, names)
    happen(server, event)
    probe_all(server, names)
    with server.connect() as c:
        for name in names:
            if c.one("SELECT to_regclass('%s')" % table(name, 'r')) is not None:
                both(c, name, 'UPDATE % SET v = v + 1')
                both(c, name, 'UPDATE % SET k = k + 1 WHERE id <= 2')
                both(c, name, 'VACUUM (TRUNCATE off) %')
    probe_all(server, names)
    server.verify()
    say('%s, %s: fine' % (event, ending))


def promotion(server):
    """Half of the transactions end on a standby that has become the primary."""
    standby = server.backup_to()
    standby.start()
    names = list(WORK)
    with server.connect() as c:
        for name in names:
            create(c, name)
            prepare(c, name, gid(name, 'later'))
    standby.wait_replayed(server)
    free = [n for n in names if n not in HOLDS_TABLE]
    with standby.connect() as c:
        for name in free:
            both(c, name, 'TABLE %')
    server.stop()
    standby.promote()
    probe_all(standby, free)
    with standby.connect() as c:
        for n, name in enumerate(names):
            c.exec("%s PREPARED '%s'" % ('COMMIT' if n % 2 else 'ROLLBACK', gid(name, 'later')))
    probe_all(standby, names)
    standby.kill9()
    standby.start()
    probe_all(standby, names)
    standby.verify()
    standby.stop()
    standby.check_log()


def test(options):
    server = cluster.make('prepared', conf=dict(max_prepared_transactions=40, max_locks_per_transaction=256))
    rounds = [(e, x) for e in EVENTS for x in ('COMMIT', 'ROLLBACK')] if options.long else \
        [('kill', 'COMMIT'), ('checkpoint and kill', 'ROLLBACK')]
    for event, ending in rounds:
        round_(server, event, ending)
    promotion(server)
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
