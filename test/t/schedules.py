#!/usr/bin/env python3
"""Random schedules of three sessions that lock and change the same few rows, on heap tables and on Rowan tables side by
side: each statement must give the same answer, row count or error on both, and wait or not wait alike.

A schedule is one order in which the statements of three transactions begin.  Every step is done on both sides, and ends when
all sessions on both sides have an answer or wait for a lock of another session; whether one waits is read from the lock
manager (pg_blocking_pids), never concluded from time that has passed.  So a schedule depends on its seed and number only,
however busy the machine is:

    schedules.py --seed 7 --only 123        schedule 123 of seed 7, with all its steps

When a lock is released and two sessions have waited for it, it is chance who goes first.  A second waiter is therefore
cancelled, unless it waits for the transaction of the first.

One difference is allowed (doc/limits.md): under REPEATABLE READ a change of a row that somebody has changed since fails at once;
heap first waits for those who hold the old version FOR KEY SHARE.  Then all other transactions are rolled back, and heap must fail the
same way; the schedule ends there.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, Failure, check, say

SESSIONS = 3
STUCK_S = 600
SETTINGS = ("SET deadlock_timeout = '1h'; SET enable_seqscan = off; SET enable_bitmapscan = off; "     # rows in the order of a key
            "SET search_path = %s")

TABLES = """
CREATE TABLE q (k int PRIMARY KEY, v text, n int, u int UNIQUE) USING {am};
ALTER TABLE q ALTER v SET STORAGE external;
CREATE INDEX ON q (n);
CREATE TABLE f (id int PRIMARY KEY, k int REFERENCES q) USING {am};
CREATE TABLE g (id int PRIMARY KEY, k int REFERENCES q ON UPDATE CASCADE ON DELETE CASCADE) USING {am};
CREATE INDEX ON f (k);
CREATE INDEX ON g (k);
CREATE FUNCTION as_it_is() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF TG_OP = ''DELETE'' THEN RETURN old; END IF; RETURN new; END';
CREATE TRIGGER t BEFORE UPDATE OR DELETE ON q FOR EACH ROW EXECUTE FUNCTION as_it_is();      -- locks the row first
ALTER TABLE q DISABLE TRIGGER t
"""

CONTENTS = (('q', 'SELECT k, left(v, 50), length(v), n, u FROM q ORDER BY k'), ('f', 'SELECT * FROM f ORDER BY id'),
            ('g', 'SELECT * FROM g ORDER BY id'))


# ---- statements ----

def some_row(rng):
    return rng.choice(('k = 1',) * 6 + ('k = 2', 'u = 1', 'n = 1', 'n = 6', "k = 1 AND v = 'a'", 'k = 1 AND n < 7'))


def key(rng):
    return rng.choice((1, 1, 1, 2, 2, 3, 10, 11))


def lock(rng):
    where = rng.choice((some_row(rng), some_row(rng), 'k <= 2 ORDER BY k'))
    return 'SELECT k, left(v, 50), n, u FROM q WHERE %s FOR %s%s' % (
        where, rng.choice(('KEY SHARE', 'KEY SHARE', 'SHARE', 'NO KEY UPDATE', 'UPDATE')), rng.choice(('', '', '', ' NOWAIT', ' SKIP LOCKED')))


def join_lock(rng):
    return ('SELECT q.k, left(q.v, 50), q.n FROM (VALUES (1)) s(x) JOIN q ON q.k = s.x WHERE q.n < 40 FOR %s OF q' %
            rng.choice(('KEY SHARE', 'SHARE', 'NO KEY UPDATE', 'UPDATE')))


UPDATES = (
    "v = v || 'c'", "v = v || n", "v = v || 'k', k = k",                                # in place
    'n = n + 5', "n = n + 1, v = v || 'm'", 'n = n + 2, u = u',                         # moves
    "v = left(v, 2) || repeat('x', 3000)", "n = n + 3, v = left(v, 2) || repeat('y', 2500)",
    'k = k + 10', 'k = 1', 'u = u + 100', 'u = 1',                                      # keys
)


def update(rng):
    return 'UPDATE q SET %s WHERE %s RETURNING k, left(v, 50), n, u' % (rng.choice(UPDATES), some_row(rng))


def update_from(rng):
    return "UPDATE q x SET v = x.v || left(y.v, 3) FROM q y WHERE x.k = 1 AND y.k = 2 RETURNING x.k, left(x.v, 50), y.k"


def delete(rng):
    return 'DELETE FROM q WHERE %s RETURNING k, left(v, 50), n' % some_row(rng)


def insert(rng):
    return "INSERT INTO q VALUES (%d, 'i', %d, %d)" % (key(rng), rng.randint(1, 9), rng.choice((1, 2, 3, 101)))


def upsert(rng):
    k = key(rng)
    action = rng.choice(('NOTHING', "UPDATE SET v = excluded.v || q.v", "UPDATE SET k = %d, v = 'ku'" % k, 'UPDATE SET n = q.n + 50',
                         'UPDATE SET n = 9 WHERE q.n < 5', "UPDATE SET u = q.u + 200"))
    return "INSERT INTO q VALUES (%d, 'i', 9, %d) ON CONFLICT (k) DO %s RETURNING k, left(v, 50), n, u" % (k, k + 30, action)


def merge(rng):
    matched = rng.choice((
        "WHEN MATCHED THEN UPDATE SET v = v || 'm'",
        "WHEN MATCHED AND n < 5 THEN UPDATE SET n = n + 10 WHEN MATCHED THEN DELETE",
        "WHEN MATCHED AND v = 'a' THEN DO NOTHING WHEN MATCHED THEN UPDATE SET k = k + 10",
        "WHEN MATCHED AND u < 50 THEN DELETE"))
    return ("MERGE INTO q USING (VALUES (%d)) s(x) ON q.k = s.x %s WHEN NOT MATCHED THEN INSERT VALUES (x, 'mm', 3, x + 60)"
            % (key(rng), matched))


def reference(rng):
    table = rng.choice('ffg')
    n, k = rng.randint(1, 4), key(rng)
    return rng.choice(('INSERT INTO %s VALUES (%d, %d)' % (table, n, k), 'INSERT INTO %s VALUES (%d, %d)' % (table, n, k),
                       'UPDATE %s SET k = %d WHERE id = %d' % (table, k, n), 'DELETE FROM %s WHERE id = %d' % (table, n)))


def read(rng):
    return rng.choice(CONTENTS)[1]


STATEMENTS = ((lock, 30), (join_lock, 4), (update, 26), (update_from, 2), (delete, 6), (insert, 4), (upsert, 9), (merge, 7), (reference, 8),
              (read, 4))
CHOICES = [f for f, weight in STATEMENTS for _ in range(weight)]


# ---- two sides ----

def answer(result):
    """What must be equal."""
    if result.error:
        return 'ERROR %s: %s' % (result.error.sqlstate, result.error.primary)
    return '%s %s' % (result.tag, sorted(result.rows, key=repr)) if result.rows else result.tag


class FailsEarlier(Exception):
    """The difference that is allowed: session (a Session), heap (its answer there)."""

    def __init__(self, session, heap):
        self.session, self.heap = session, heap


class Side:
    """One session on one side."""

    def __init__(self, server, schema):
        self.conn = server.connect()
        self.conn.exec(SETTINGS % schema)
        self.pid = self.conn.pid
        self.running, self.blockers, self.answer = False, [], None

    def send(self, sql):
        self.conn.send(sql)
        self.running, self.blockers, self.answer = True, [], None

    def poll(self):
        """True while there is no answer."""
        if self.running and self.conn.ready(0.001):
            self.answer = answer(self.conn.receive())
            check(self.conn.alive(), 'the connection is lost: ' + self.answer)
            self.running, self.blockers = False, []
        return self.running


class Session:
    """One session of a schedule, on both sides, and what it is going to do."""

    def __init__(self, number, server, schemas):
        self.number = number
        self.sides = [Side(server, schema) for schema in schemas]

    def plan(self, rng):
        self.transactions = rng.choice((1, 1, 1, 2))
        self.begun, self.failed, self.savepoints, self.waiting = False, False, [], False
        self.left, self.repeatable, self.sql = rng.choice((1, 1, 2, 2, 3, 4, 5)), False, ''
        self.may_save = rng.random() < 0.4

    def done(self):
        return self.transactions == 0

    def next_transaction(self, rng):
        self.transactions -= 1
        self.begun, self.failed, self.savepoints, self.repeatable = False, False, [], False
        self.left = rng.choice((1, 2, 3))

    def end(self, rng, sql):
        self.next_transaction(rng)
        return sql

    def savepoint(self, rng):
        if self.savepoints and rng.random() < 0.6:
            place = rng.randrange(len(self.savepoints))
            name = self.savepoints[place]
            if rng.random() < 0.7:
                del self.savepoints[place + 1:]
                return 'ROLLBACK TO ' + name
            del self.savepoints[place:]
            return 'RELEASE ' + name
        self.savepoints.append('s%d' % (len(self.savepoints) + 1))
        return 'SAVEPOINT ' + self.savepoints[-1]

    def next_statement(self, rng):
        if self.failed:
            if not self.savepoints or rng.random() < 0.5:
                return self.end(rng, 'ROLLBACK')
            self.failed = False
            del self.savepoints[rng.randrange(len(self.savepoints)) + 1:]
            return 'ROLLBACK TO ' + self.savepoints[-1]
        if not self.begun:
            if rng.random() < 0.12:
                self.next_transaction(rng)
                return rng.choice(CHOICES)(rng)             # a transaction of its own
            self.begun, self.repeatable = True, rng.random() < 0.33
            return 'BEGIN ISOLATION LEVEL ' + ('REPEATABLE READ' if self.repeatable else 'READ COMMITTED')
        if self.left <= 0:
            return self.end(rng, rng.choice(('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK')))
        if self.may_save and rng.random() < 0.35:
            return self.savepoint(rng)
        self.left -= 1
        return rng.choice(CHOICES)(rng)

    def fails_earlier(self, heap, ours):
        return self.repeatable and ours.startswith('ERROR 40001') and (
            heap == 'waits' or heap.startswith('ERROR 55P03') or 'SKIP LOCKED' in self.sql)

    def answers(self):
        return [s.answer or 'waits' for s in self.sides]

    def note_answer(self):
        """All sides have the same answer."""
        self.waiting = self.sides[0].running
        if not self.waiting and self.sides[0].answer.startswith('ERROR') and self.begun:
            self.failed = True


class Arena:
    """Three sessions on a heap and a Rowan schema of their own, schedule after schedule."""

    def __init__(self, server, name, options):
        self.options = options
        self.schemas = ['heap_%d' % name, 'ours_%d' % name]
        self.admin, self.monitor = server.connect(), server.connect()
        for schema, am in zip(self.schemas, ('heap', AM)):
            self.admin.exec('CREATE SCHEMA %s; SET search_path = %s;' % (schema, schema) + TABLES.format(am=am))
        self.sessions = [Session(i, server, self.schemas) for i in range(SESSIONS)]
        self.steps, self.waits, self.earlier, self.errors = 0, 0, 0, {}
        self.trigger = False
        self.transcript = []

    # ---- steps ----

    def say(self, line):
        self.transcript.append(line)
        if self.options.only is not None:
            say(line)

    def settle(self):
        """Until each session has an answer or waits for another."""
        give_up = time.time() + STUCK_S
        while True:
            running = [side for s in self.sessions for side in s.sides if side.poll()]
            if not running:
                return
            pids = ','.join(str(side.pid) for side in running)
            blockers = dict(self.monitor.rows("SELECT pid, nullif(pg_blocking_pids(pid), '{}') FROM unnest('{%s}'::int[]) pid" % pids))
            for side in running:
                b = blockers[str(side.pid)]
                side.blockers = [int(x) for x in b.strip('{}').split(',')] if b else []
            if all(side.blockers for side in running):
                return
            if time.time() > give_up:
                raise Failure('no answer, no wait for a lock: %s' % self.monitor.rows(
                    'SELECT pid, state, wait_event_type, wait_event, query FROM pg_stat_activity WHERE pid IN (%s)' % pids))

    def report(self, before):
        """Compares and notes the answers that have come since."""
        for s in self.sessions:
            if s.number not in before:
                continue
            heap, ours = s.answers()
            if heap != ours:
                self.say('  %d: heap: %s\n     ours: %s' % (s.number, heap, ours))
                if s.fails_earlier(heap, ours):
                    raise FailsEarlier(s, heap)
                raise Failure('session %d: heap %s, here %s' % (s.number, heap, ours))
            self.say('  %d: %s' % (s.number, heap))
            s.note_answer()
            self.waits += s.waiting
            if heap.startswith('ERROR'):
                self.errors[heap[6:11]] = self.errors.get(heap[6:11], 0) + 1

    def step(self, session, sql):
        before = {s.number for s in self.sessions if s.waiting} | {session.number}
        self.say('%d> %s' % (session.number, sql))
        session.sql = sql
        for side in session.sides:
            side.send(sql)
        self.settle()
        self.report(before)
        self.steps += 1

    def cancel(self, session):
        before = {s.number for s in self.sessions if s.waiting}
        self.say('%d> cancelled' % session.number)
        for side in session.sides:
            self.monitor.exec('SELECT pg_cancel_backend(%d)' % side.pid)
        give_up = time.time() + STUCK_S
        while any([side.poll() for side in session.sides]):
            check(time.time() < give_up, 'a waiting statement cannot be cancelled')
        self.settle()
        self.report(before)

    def waits_for_transaction_of(self, session, other):
        """And for nothing else: no race when others end."""
        for side, its in zip(session.sides, other.sides):
            if set(side.blockers) != {its.pid} or self.monitor.one(
                    'SELECT locktype FROM pg_locks WHERE pid = %d AND NOT granted' % side.pid) != 'transactionid':
                return False
        return True

    # ---- a schedule ----

    def reset(self, rng, number):
        for schema in self.schemas:
            self.admin.exec('SET search_path = ' + schema)
            if number % 25 == 0 or self.options.only is not None:
                self.admin.exec('TRUNCATE q, f, g')
            self.admin.exec("DELETE FROM f; DELETE FROM q; INSERT INTO q VALUES (1, 'a', 1, 1), (2, 'b', 2, 2)")
        before = rng.choice((None, None, None, "UPDATE q SET v = v || 'p'; UPDATE q SET v = left(v, 1)", 'UPDATE q SET n = n + 1; UPDATE q SET n = n - 1',
                             'INSERT INTO g VALUES (1, 1)', 'INSERT INTO f VALUES (1, 2)', 'VACUUM q'))
        trigger = rng.random() < 0.2
        for schema in self.schemas:
            self.admin.exec('SET search_path = ' + schema)
            if before:
                self.admin.exec(before)
            if trigger != self.trigger:
                self.admin.exec('ALTER TABLE q %s TRIGGER t' % ('ENABLE' if trigger else 'DISABLE'))
        self.trigger = trigger

    def compare(self):
        for name, sql in CONTENTS:
            rows = []
            for schema in self.schemas:
                self.admin.exec('SET search_path = ' + schema)
                rows.append(self.admin.rows(sql))
            check(rows[0] == rows[1], 'in the end table %s differs: heap %s, here %s' % (name, rows[0], rows[1]))

    def run(self, number):
        rng = random.Random(self.options.seed * 1000003 + number)
        self.transcript = []
        self.reset(rng, number)
        try:
            self.take_turns(rng)
        except FailsEarlier as e:
            self.earlier += 1
            self.must_fail_on_heap(e.session, e.heap)
            self.end_all(self.sessions)
        self.compare()

    def take_turns(self, rng):
        for s in self.sessions:
            s.plan(rng)
        waiting = []                    # who waits, in the order in which they began to
        while not all(s.done() for s in self.sessions) or waiting:
            free = [s for s in self.sessions if not s.done() and not s.waiting]
            if free:
                session = rng.choice(free)
                self.step(session, session.next_statement(rng))
                if session.waiting and waiting and not (len(waiting) == 1 and self.waits_for_transaction_of(session, waiting[0])):
                    self.cancel(session)
                waiting.append(session)
            else:
                self.cancel(waiting[-1])
            waiting = [s for s in waiting if s.waiting]

    def must_fail_on_heap(self, session, heap):
        """As ours has, once nobody else has locks."""
        self.end_all([s for s in self.sessions if s is not session])
        side, ours = session.sides
        if heap.startswith('ERROR'):
            return                      # NOWAIT: an error, too
        if heap != 'waits':
            side.send(session.sql)      # SKIP LOCKED: what was locked isn't any more
        self.settle()
        self.say('  %d: heap: %s' % (session.number, side.answer))
        check(side.answer == ours.answer, 'session %d: heap at last %s, here %s' % (session.number, side.answer, ours.answer))

    def end_all(self, sessions):
        """What waits is cancelled, all transactions are rolled back."""
        for s in sessions:
            for side in s.sides:
                if side.running and side.conn.alive():
                    self.monitor.exec('SELECT pg_cancel_backend(%d)' % side.pid)
        for s in sessions:
            for side in s.sides:
                if side.running:
                    side.conn.receive()
                    side.running, side.blockers = False, []
                side.conn.exec('ROLLBACK')
            s.waiting = False


class Campaign:
    def __init__(self, server, options, count):
        self.server, self.options, self.count = server, options, count
        self.next, self.differences, self.problem = 0, [], None
        self.lock = threading.Lock()

    def take(self):
        with self.lock:
            if self.next >= self.count or self.problem or len(self.differences) >= self.options.most:
                return None
            self.next += 1
            return self.next

    def work(self, arena):
        number = self.take()
        while number is not None:
            try:
                arena.run(number)
            except Failure as e:
                with self.lock:
                    self.differences.append(number)
                    say('\n'.join(['schedule %d of seed %d:' % (number, self.options.seed)] +
                                  arena.transcript * (self.options.only is None) + [str(e), '']))
                arena.end_all(arena.sessions)
            number = self.take()

    def guarded(self, arena):
        try:
            self.work(arena)
        except Exception as e:
            self.problem = '%s: %s' % (type(e).__name__, e)

    def run(self, arenas):
        threads = [threading.Thread(target=self.guarded, args=(a,)) for a in arenas]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        errors = {}
        for a in arenas:
            for state, n in a.errors.items():
                errors[state] = errors.get(state, 0) + n
        earlier = sum(a.earlier for a in arenas)
        say('seed %d: %d schedules, %d steps, %d waits, %d failed earlier than on heap, errors %s' % (
            self.options.seed, self.next, sum(a.steps for a in arenas), sum(a.waits for a in arenas), earlier, dict(sorted(errors.items()))))
        check(self.problem is None, 'seed %d: %s' % (self.options.seed, self.problem))
        check(earlier <= 5 + self.next / 200, 'more failed earlier than on heap than is plausible')
        check(not self.differences, 'seed %d: %d schedules differ: %s' % (self.options.seed, len(self.differences), self.differences))


def test(options):
    server = cluster.make('schedules', conf=dict(max_connections=20 + 8 * options.arenas, autovacuum='off'))
    arenas = [Arena(server, i, options) for i in range(1 if options.only is not None else options.arenas)]
    if options.only is not None:
        try:
            arenas[0].run(options.only)
        finally:
            arenas[0].end_all(arenas[0].sessions)
    else:
        Campaign(server, options, options.count or (10000 if options.long else 400)).run(arenas)
    server.verify()
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--count', type=int, help='number of schedules')
    parser.add_argument('--only', type=int, metavar='NUMBER', help='this schedule of the seed only, showing its steps')
    parser.add_argument('--arenas', type=int, default=2, help='schedules that run at the same time')
    parser.add_argument('--most', type=int, default=3, metavar='N', help='give up after N that differ')
    harness.main(test, parser)
