#!/usr/bin/env python3
"""Random schedules of three serializable transactions, on a heap table and on a Rowan table: each statement must give the same answer on
both, and fail for the same reason or not at all.

The sessions read any rows, by indexes, and change their own: in place, moving, with savepoints that are rolled back or released.  So nobody
waits, and whether a transaction fails depends on the conflicts that were noticed only.

    serializable.py --seed 7 --rounds 5000
"""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check, say

TWINS = (('h', 'heap'), ('r', AM))
SESSIONS, ROWS = 3, 12
# no lock on a page for locks on a few rows: what lies on a page is not the same
CONF = {'max_pred_locks_per_page': '100', 'max_pred_locks_per_transaction': '1000', 'autovacuum': 'off'}


def statement(rng, session, depth):
    own, any_id, kind = rng.randrange(ROWS // SESSIONS) * SESSIONS + session + 1, rng.randint(1, ROWS), rng.random()
    if kind < 0.38:
        return 'SELECT id, k, v FROM t$ WHERE id = %d' % any_id
    if kind < 0.45:
        return 'SELECT id, k, v FROM t$ WHERE k = %d' % any_id
    if kind < 0.68:
        return 'UPDATE t$ SET v = v + 1 WHERE id = %d' % own
    if kind < 0.74:
        return 'UPDATE t$ SET k = k + 100 WHERE id = %d' % own
    if kind < 0.80:
        return 'DELETE FROM t$ WHERE id = %d' % own
    if kind < 0.84:
        return 'INSERT INTO t$ VALUES (%d, 1, 1)' % (own + ROWS)
    if kind < 0.94 or depth == 0:
        return 'SAVEPOINT s%d' % depth
    return '%s s%d' % (rng.choice(('ROLLBACK TO', 'RELEASE')), depth - 1)


def transaction(rng, session):
    bitmap = rng.choice(('on', 'off'))
    done = ['BEGIN ISOLATION LEVEL SERIALIZABLE', 'SET LOCAL enable_bitmapscan = ' + bitmap,
            'SET LOCAL enable_indexscan = ' + (rng.choice(('on', 'off')) if bitmap == 'on' else 'on')]
    depth = 0
    for _ in range(rng.randint(2, 6)):
        done.append(statement(rng, session, depth))
        depth += done[-1].startswith('SAVEPOINT') - done[-1].startswith('RELEASE')
    return done + [rng.choice(('COMMIT',) * 9 + ('ROLLBACK',))]


def answer(c, sql):
    r = c.try_(sql)
    return r.error.sqlstate if r.error else (sorted(r.rows or [], key=repr), r.count)


def one_round(rng, setup, sessions):
    """How many statements failed."""
    for twin, _ in TWINS:
        setup.exec('TRUNCATE t_%s; INSERT INTO t_%s SELECT i, i, 0 FROM generate_series(1, %d) i' % (twin, twin, ROWS))
    plans = [transaction(rng, i) for i in range(SESSIONS)]
    order = [i for i in range(SESSIONS) for _ in plans[i]]
    rng.shuffle(order)
    log, failures = [], 0
    for i in order:
        sql = plans[i].pop(0)
        answers = [answer(sessions[twin][i], sql.replace('$', '_' + twin)) for twin, _ in TWINS]
        log.append('session %d: %s: %s' % (i + 1, sql, answers[0]))
        check(answers[0] == answers[1], 'here: %s\n%s' % (answers[1], '\n'.join(log)))
        failures += answers[0] == '40001'
    return failures


def test(options):
    rounds = options.rounds or (5000 if options.long else 200)
    rng = random.Random(options.seed)
    server = cluster.make('serializable', conf=CONF)
    setup = server.connect()
    for twin, am in TWINS:
        setup.exec('CREATE TABLE t_%s (id int PRIMARY KEY, k int, v int) USING %s; CREATE INDEX ON t_%s (k)' % (twin, am, twin))
    sessions = {twin: [server.connect() for _ in range(SESSIONS)] for twin, _ in TWINS}
    for c in sum(sessions.values(), []):
        c.exec('SET enable_seqscan = off')
    failures = sum(one_round(rng, setup, sessions) for _ in range(rounds))
    check(failures > rounds // 20, '%d serialization failures in %d rounds' % (failures, rounds))
    server.verify('t_r')
    server.stop()
    server.check_log()
    say('seed %d: %d rounds, %d serialization failures, the same on heap' % (options.seed, rounds, failures))


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--rounds', type=int)
    harness.main(test, parser)
