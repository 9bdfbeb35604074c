"""Concurrent load with a ledger: after any crash it is known exactly what must be there.

Every session owns rows of `items` and keeps a model of them; the number of its last
transaction is in `progress` (engine) and `progress_heap` (heap), changed in the same transaction.  An acknowledged
commit must be found; one in flight at the crash is there whole or not at all.
Transfers between random `accounts` keep their sum at zero.  Readers check sums under
snapshots meanwhile, others checkpoint, scan, and create, truncate and drop tables.
"""
import random
import threading
import time

import harness
import pq
from harness import AM, ENGINE, Failure, check

GONE = (None, '57P01', '57P02', '57P03', '08006')       # the server went away
RETRY = ('40001', '40P01', '55P03')


def is_injected(error):
    """An error that the test itself asked for (base/fault.h), in the session or in what it waited for."""
    return error.sqlstate == 'XX000' and 'fault point' in str(error)


INDEX_AM = 'rowan_btree' if ENGINE else 'btree'
SETUP = """
CREATE FUNCTION big_value(g bigint, n int) RETURNS text LANGUAGE sql STABLE AS
    $$SELECT coalesce(string_agg(md5(i::text || ':' || g::text), ''), '') FROM generate_series(1, n) i$$;
CREATE TABLE items (id bigint PRIMARY KEY, s int, k int, v bigint, g bigint, n int, big text) USING {am};
CREATE INDEX items_k ON items USING {ix} (k);
CREATE UNIQUE INDEX items_s ON items USING {ix} (s, id DESC);
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint, pad text) USING {am};
CREATE UNIQUE INDEX accounts_pad ON accounts USING {ix} (pad, id);
CREATE TABLE progress (s int PRIMARY KEY, txn bigint) USING {am};
CREATE TABLE progress_heap (s int PRIMARY KEY, txn bigint) USING heap;
CREATE UNIQUE INDEX progress_heap_s ON progress_heap USING {ix} ((s + 0), txn);
CREATE TABLE churn (x int, t text) USING {am};
CREATE TABLE tide (batch int, size int, v int, t text) USING {am};
CREATE INDEX tide_batch ON tide USING {ix} (batch);
CREATE INDEX tide_t ON tide USING {ix} (t);
CREATE TABLE ticks (id int, n int) USING {am};
CREATE UNIQUE INDEX ticks_id ON ticks USING {ix} (id);
CREATE INDEX ticks_n ON ticks USING {ix} (n);
INSERT INTO ticks SELECT i, 0 FROM generate_series(1, 200) i;
INSERT INTO accounts SELECT i, 0, repeat('pad ', 35) FROM generate_series(1, {accounts}) i;
"""


# of them all rows and entries are looked at, beside the load
VERIFIED = ["'items'", "'items_k', true", "'items_s', true", "'accounts'", "'accounts_pad', true", "'progress'", "'progress_heap_s', true",
            "'tide'", "'tide_batch', true", "'tide_t', true",
            "'ticks'", "'ticks_id', true", "'ticks_n', true"]


class Session(threading.Thread):
    """One client.  model: {id: (k, v, g, n)} as of the last transaction known to be committed."""

    def __init__(self, load, number, seed):
        super().__init__(daemon=True)
        self.load, self.number, self.rnd = load, number, random.Random(seed)
        self.model, self.next, self.txn, self.in_flight = {}, 0, 0, None
        self.stopping, self.trouble, self.commits = False, None, 0
        self.connection = None

    def again(self, seed):
        """A new thread that goes on with this one's ledger."""
        s = Session(self.load, self.number, seed)
        s.model, s.next, s.txn = self.model, self.next, self.txn
        return s

    def run(self):
        try:
            self.connection = self.load.server.connect()
            while not self.stopping:
                self.transaction()
        except pq.Error as e:
            if e.sqlstate not in GONE:
                self.trouble = 'session %d: %s' % (self.number, e)
        except Exception as e:
            self.trouble = 'session %d: %s: %s' % (self.number, type(e).__name__, e)
        finally:
            if self.connection:
                self.connection.close()

    def transaction(self):
        c, new = self.connection, dict(self.model)
        try:
            c.exec('BEGIN ISOLATION LEVEL ' + self.rnd.choice(['READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ']))
            for _ in range(self.rnd.randrange(1, 7)):
                self.operation(c, new)
                if self.rnd.random() < 0.1:
                    self.subtransaction(c, new)
            if self.rnd.random() < 0.08:
                c.exec('ROLLBACK')
                return
            for t in ('progress', 'progress_heap'):
                r = c.exec('UPDATE %s SET txn = %d WHERE s = %d' % (t, self.txn + 1, self.number))
                check(r.count == 1, '%s has no row of session %d' % (t, self.number))
        except pq.Error as e:
            if e.sqlstate in RETRY or is_injected(e):
                c.exec('ROLLBACK')
                return
            raise
        self.in_flight = new
        c.exec('COMMIT')
        self.model, self.in_flight, self.txn = new, None, self.txn + 1
        self.commits += 1

    def subtransaction(self, c, new):
        saved = dict(new)
        c.exec('SAVEPOINT a')
        for _ in range(self.rnd.randrange(1, 3)):
            self.operation(c, new)
        if self.rnd.random() < 0.6:
            c.exec('ROLLBACK TO a')
            new.clear()
            new.update(saved)

    def operation(self, c, new):
        kinds = [(5, self.insert), (6, self.update_value), (3, self.update_key), (2, self.update_big),
                 (2 + len(new) // 150, self.delete), (1, self.update_range), (5, self.transfer)]
        self.rnd.choices([k for _, k in kinds], [w for w, _ in kinds])[0](c, new)

    def expect(self, result, count, what):
        check(result.count == count, '%s touched %d rows instead of %d' % (what, result.count, count))

    def some(self, new):
        return self.rnd.choice(list(new)) if new else None

    def insert(self, c, new):
        rows = []
        for _ in range(self.rnd.choice([1, 1, 3, 20])):
            ident = self.next * self.load.sessions_max + self.number
            self.next += 1
            g, n = self.rnd.randrange(10 ** 6), self.rnd.choice([0, 0, 1, 3, 10] if self.rnd.random() < 0.95 else [40, 120])
            new[ident] = (self.rnd.randrange(1000), self.rnd.randrange(10 ** 6), g, n)
            rows.append('(%d, %d, %d, %d, %d, %d, big_value(%d, %d))' % ((ident, self.number) + new[ident] + (g, n)))
        self.expect(c.exec('INSERT INTO items VALUES ' + ', '.join(rows)), len(rows), 'INSERT')

    def update_value(self, c, new):
        ident = self.some(new)
        if ident is not None:
            k, v, g, n = new[ident]
            v = self.rnd.randrange(10 ** 6)
            self.expect(c.exec('UPDATE items SET v = %d WHERE id = %d' % (v, ident)), 1, 'UPDATE in place')
            new[ident] = (k, v, g, n)

    def update_key(self, c, new):
        ident = self.some(new)
        if ident is not None:
            k, v, g, n = new[ident]
            k = self.rnd.randrange(1000)
            self.expect(c.exec('UPDATE items SET k = %d WHERE id = %d' % (k, ident)), 1, 'moving UPDATE')
            new[ident] = (k, v, g, n)

    def update_big(self, c, new):
        ident = self.some(new)
        if ident is not None:
            k, v, _, _ = new[ident]
            g, n = self.rnd.randrange(10 ** 6), self.rnd.choice([0, 1, 5, 20, 40, 120])
            self.expect(c.exec('UPDATE items SET g = %d, n = %d, big = big_value(%d, %d) WHERE id = %d' % (g, n, g, n, ident)),
                        1, 'UPDATE of long text')
            new[ident] = (k, v, g, n)

    def delete(self, c, new):
        ident = self.some(new)
        if ident is not None:
            self.expect(c.exec('DELETE FROM items WHERE id = %d' % ident), 1, 'DELETE')
            del new[ident]

    def update_range(self, c, new):
        ident = self.some(new)
        if ident is not None:
            hit = [i for i in new if ident <= i < ident + 2000]
            self.expect(c.exec('UPDATE items SET v = v + 1 WHERE id >= %d AND id < %d AND s = %d' % (ident, ident + 2000, self.number)),
                        len(hit), 'UPDATE of a range')
            for i in hit:
                k, v, g, n = new[i]
                new[i] = (k, v + 1, g, n)

    def transfer(self, c, new):
        a, b = sorted(self.rnd.sample(range(1, self.load.accounts + 1), 2))
        x = self.rnd.randrange(-1000, 1000)
        for ident, amount in ((a, x), (b, -x)):
            self.expect(c.exec('UPDATE accounts SET balance = balance + %d WHERE id = %d' % (amount, ident)), 1, 'transfer')


class Helper(threading.Thread):
    """Does something again and again until the server goes away."""

    def __init__(self, load, action, pause_s):
        super().__init__(daemon=True)
        self.load, self.action, self.pause_s = load, action, pause_s
        self.stopping, self.trouble, self.count = False, None, 0

    def run(self):
        rnd = random.Random(time.time())
        try:
            with self.load.server.connect() as c:
                while not self.stopping:
                    try:
                        self.action(c, rnd)
                    except pq.Error as e:
                        if not is_injected(e):
                            raise
                        c.exec('ROLLBACK')
                    self.count += 1
                    time.sleep(rnd.uniform(*self.pause_s))
        except pq.Error as e:
            if e.sqlstate not in GONE:
                self.trouble = '%s: %s' % (self.action.__name__, e)
        except Exception as e:
            self.trouble = '%s: %s: %s' % (self.action.__name__, type(e).__name__, e)


def checkpoints(c, rnd):
    c.exec('CHECKPOINT')


SNAPSHOT_ASKS = ['SELECT count(*), sum(balance) FROM accounts',
                 'SELECT count(*), sum(v), sum(length(big)) FROM items']


def ask_twice(c, where):
    """In an open REPEATABLE READ transaction: the sum is zero, and the answers stay."""
    first = [c.rows(q) for q in SNAPSHOT_ASKS]
    again = [c.rows(q) for q in SNAPSHOT_ASKS]
    if again == first and first[0][0][1] == '0':
        return
    third = [c.rows(q) for q in SNAPSHOT_ASKS]
    raise Failure('%s: a snapshot (%s) answers %s, then %s, then %s' % (
        where, c.one('SELECT txid_current_snapshot()'), first, again, third))


def snapshots(c, rnd):
    c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
    ask_twice(c, 'primary')
    c.exec('COMMIT')


def churn(c, rnd):
    """Files come and go; `churn` holds 200 equal rows or none, whatever happens."""
    x = rnd.randrange(10 ** 6)
    c.exec('BEGIN; TRUNCATE churn; INSERT INTO churn SELECT %d, repeat(md5(i::text), 5) FROM generate_series(1, 200) i' % x)
    c.exec('CREATE TABLE churn_%d USING %s AS SELECT * FROM churn' % (x, AM))
    c.exec(rnd.choice(['COMMIT', 'COMMIT', 'ROLLBACK']))
    c.exec('DROP TABLE IF EXISTS churn_%d' % x)


def tide(c, rnd):
    """Pages come and go: VACUUM merges and evens out leaves, shrinks the tree, moves pages, cuts the file.
    `tide` holds whole batches only, each of one value."""
    c.exec('VACUUM (INDEX_CLEANUP on) tide')        # by now nobody sees what was deleted last time
    new = int(c.one('SELECT coalesce(max(batch), 0) + 1 FROM tide'))
    # three batches row by row in turn, then one alone; the last, small one keeps the end of the file in use
    c.exec('INSERT INTO tide SELECT CASE WHEN i <= 900 THEN %d + i %% 3 ELSE %d END, CASE WHEN i <= 900 THEN 300 ELSE 600 END, 0, '
           "repeat(md5(i::text), 5) FROM generate_series(1, 1500) i" % (new, new + 3))
    c.exec("INSERT INTO tide SELECT %d, 20, 0, repeat('s', 150) FROM generate_series(1, 20)" % (new + 4))
    c.exec('BEGIN; UPDATE tide SET v = v + 1 WHERE batch > %d' % rnd.randrange(new + 4))
    c.exec(rnd.choice(['COMMIT', 'ROLLBACK']))
    c.exec('DELETE FROM tide WHERE batch IN (%d, %d)' % (new, new + 1))
    c.exec('VACUUM (INDEX_CLEANUP on) tide')
    c.exec('DELETE FROM tide' + rnd.choice([' WHERE batch < %d' % (new + 4)] * 2 + ['']))
    c.exec('VACUUM (INDEX_CLEANUP on) tide')


def ticks(c, rnd):
    """Versions of the same rows fill the leaves of indexes, which then get rid of dead entries; all rows have one value."""
    for _ in range(4):
        c.exec('UPDATE ticks SET n = n + 1')


def keys(c, rnd):
    """Locks that pass the moves of rows that others are updating."""
    c.exec('SELECT n FROM ticks WHERE id = %d FOR KEY SHARE' % rnd.randrange(1, 201))


def vacuums(c, rnd):
    r = c.try_('VACUUM ' + rnd.choice(['items', 'accounts', 'churn']))
    if r.error and r.error.sqlstate not in ('0A000',):
        raise r.error


TABLES = ('items', 'accounts', 'progress', 'progress_heap', 'tide', 'ticks', 'churn')


def contents(server):
    """What the load's tables hold, by sequential scans, and the items by an index, too."""
    query = ' UNION ALL '.join("SELECT '%s', count(*), sum(hashtextextended(t::text, 0)) FROM %s t"
                               % (table, table) for table in TABLES)
    with server.connect() as c:
        c.exec('SET enable_indexscan = off; SET enable_bitmapscan = off')
        by_scan = sorted(c.rows(query))
        c.exec('RESET ALL; SET enable_seqscan = off')
        return by_scan, c.rows('SELECT count(*), sum(id) FROM items WHERE k >= 0')


class Load:
    def __init__(self, server, sessions=4, accounts=20000, seed=1):
        self.server, self.accounts, self.seed = server, accounts, seed
        self.sessions_max, self.commits, self.cycles = 16, 0, 0
        self.sessions = [Session(self, i, 0) for i in range(sessions)]
        self.helpers = []

    def setup(self):
        with self.server.connect() as c:
            c.exec(SETUP.format(am=AM, ix=INDEX_AM, accounts=self.accounts))
            for s in self.sessions:
                c.exec('INSERT INTO progress VALUES (%d, 0); INSERT INTO progress_heap VALUES (%d, 0)' % (s.number, s.number))

    def start(self, checkpoint_pause_s=(0.05, 0.6)):
        self.cycles += 1
        self.sessions = [s.again(self.seed * 1000003 + self.cycles * 101 + s.number) for s in self.sessions]
        self.helpers = [Helper(self, snapshots, (0.0, 0.2)), Helper(self, churn, (0.05, 0.3)), Helper(self, tide, (0.0, 0.4)),
                        Helper(self, vacuums, (0.2, 1.0)), Helper(self, ticks, (0.0, 0.3)),
                        Helper(self, keys, (0.0, 0.02))]
        if checkpoint_pause_s:
            self.helpers.append(Helper(self, checkpoints, checkpoint_pause_s))
        for t in self.sessions + self.helpers:
            t.start()

    def stop(self):
        """Lets all come to an end."""
        for t in self.sessions + self.helpers:
            t.stopping = True
        self.join()

    def join(self):
        """After the server went away (or stop)."""
        for t in self.sessions + self.helpers:
            t.stopping = True
        for t in self.sessions + self.helpers:
            t.join(60)
            check(not t.is_alive(), 'a client hangs')
        self.commits += sum(s.commits for s in self.sessions)
        for t in self.sessions + self.helpers:
            check(t.trouble is None, t.trouble)

    def running(self):
        return any(t.is_alive() for t in self.sessions)

    def verify_beside(self, seconds, rnd):
        """rowan.verify of tables and indexes while the sessions go on, for so long; how often."""
        if not ENGINE or harness.env('ROWAN_TEST_VERIFY') == '0':
            time.sleep(seconds)
            return 0
        end, runs = time.time() + seconds, 0
        with self.server.connect() as c:
            while time.time() < end and self.server.postmaster.poll() is None:
                what = rnd.choice(VERIFIED)
                problems = c.rows('SELECT * FROM rowan.verify(%s)' % what)
                check(not problems, 'verify of %s beside the load: %s' % (what, problems[:5]))
                runs += 1
                time.sleep(rnd.uniform(0, 0.1))
        return runs

    # ---- what must be there ----

    def verify(self, server=None, engine_verify=True):
        """Raises Failure; takes over what turns out to have been committed."""
        with (server or self.server).connect(options='-c statement_timeout=100s') as c:      # damage must not mean a loop
            for s in self.sessions:
                self.verify_session(c, s)
            c.exec('RESET ALL')
            rows = c.rows('SELECT count(*), sum(balance) FROM accounts')
            check(rows == [(str(self.accounts), '0')], 'accounts: %s, expected %d with the sum 0' % (rows, self.accounts))
            rows = c.rows('SELECT count(*), count(DISTINCT x), count(DISTINCT t) FROM churn')
            check(rows in [[('0', '0', '0')], [('200', '1', '200')]], 'churn: %s' % rows)
            rows = c.rows('SELECT batch, size, count(*), min(v), max(v) FROM tide GROUP BY 1, 2 HAVING count(*) <> size OR min(v) <> max(v)')
            check(not rows, 'tide: half batches %s' % rows)
            for way in ('on', 'off'):
                c.exec('SET enable_seqscan = ' + way)
                rows = c.rows('SELECT count(*), max(n) - min(n) FROM ticks WHERE n >= 0 AND id > 0')
                check(rows == [('200', '0')], 'ticks: %s' % rows)
            rows = c.rows('SELECT count(*) FROM items WHERE s >= %d' % len(self.sessions))
            check(rows == [('0',)], 'items of nobody: %s' % rows)
        if engine_verify:
            (server or self.server).verify()

    def verify_session(self, c, s):
        txn = int(c.one('SELECT txn FROM progress WHERE s = %d' % s.number))
        txn_heap = int(c.one('SELECT txn FROM progress_heap WHERE s = %d' % s.number))
        c.exec('SET enable_seqscan = off')
        rows = c.rows('SELECT txn FROM progress_heap WHERE s + 0 = %d' % s.number)
        check(rows == [(str(txn_heap),)], 'session %d: %s through an index of %s, %d in heap' % (s.number, rows, INDEX_AM, txn_heap))
        check(txn == txn_heap, 'session %d: transaction %d in the engine, %d in heap' % (s.number, txn, txn_heap))
        check(txn >= s.txn, 'session %d: acknowledged transaction %d is lost, have %d' % (s.number, s.txn, txn))
        check(txn == s.txn or (s.in_flight is not None and txn == s.txn + 1),
              'session %d: transaction %d appeared, last acknowledged %d' % (s.number, txn, s.txn))
        expected = s.in_flight if txn > s.txn else s.model
        for setting, order in (('SET enable_seqscan = on; SET enable_indexscan = off; SET enable_bitmapscan = off', 'seq scan'),
                               ('SET enable_seqscan = off; SET enable_indexscan = on; SET enable_bitmapscan = on', 'index')):
            c.exec(setting)
            condition = 's = %d' % s.number + (' AND k >= 0' if order == 'index' else '')
            found = {int(r[0]): tuple(int(x) for x in r[1:5]) + (r[5],) for r in
                     c.rows('SELECT id, k, v, g, n, big = big_value(g, n) FROM items WHERE ' + condition)}
            compare(s.number, order, expected, found)
        s.model, s.txn, s.in_flight = expected, txn, None


def compare(number, path, expected, found):
    lost = [i for i in expected if i not in found]
    extra = [i for i in found if i not in expected]
    other = [(i, expected[i], found[i]) for i in expected if i in found and found[i] != expected[i] + ('t',)]
    if lost or extra or other:
        raise Failure('session %d by %s: %d rows lost %s, %d rows too many %s, %d different %s' % (
            number, path, len(lost), lost[:5], len(extra), extra[:5], len(other), other[:3]))
