#!/usr/bin/env python3
"""A publisher and a subscriber, with the engine's tables on either side or both: contents are the
same after random changes, an initial copy meanwhile, and crashes of both that lose and repeat
nothing: kill -9, and at fault points; the random SQL of t/decoding (all types, values out of line,
subtransactions, prepared transactions, upserts) arrives equal on heap and on the engine.  Long: all
points, publisher and subscriber of different major versions, ten seeds of that SQL:

    subscription.py oracle --long [--seed N] [--bindir DIRECTORY]
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import decoding
import harness
import pq
from crash import arm, chosen_points, replay_crashes, times_reached, wait_panic
from harness import AM, ENGINE, check, say

# before 18 core's subscribers know nothing of the operators of other index AMs; but 15 asks nobody
OURS = 'rowan_btree' if ENGINE and harness.major() not in (16, 17) else 'btree'

TABLES = """
CREATE TABLE keyed (id int PRIMARY KEY, v int, t text, big text);
CREATE INDEX ON keyed (v);
CREATE TABLE whole (id int, v int, t text, big text); ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE parts (id int, p int, t text, PRIMARY KEY (id, p)) PARTITION BY LIST (p);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE log (id int, t text);
CREATE TABLE ours (x int, b text NOT NULL, id int NOT NULL, t text);
CREATE UNIQUE INDEX ours_key ON ours USING {btree} (id, b);
ALTER TABLE ours REPLICA IDENTITY USING INDEX ours_key;
CREATE TABLE ours_whole (id int, n int, t text); ALTER TABLE ours_whole REPLICA IDENTITY FULL;
CREATE INDEX ON ours_whole USING {btree} (id, n);
""".replace('{btree}', OURS)
START = """
INSERT INTO keyed SELECT i, i, 'start', repeat(md5(i::text), i % 200)
    FROM generate_series(1, 300) i;
INSERT INTO whole SELECT i % 50, i, 'start', repeat(md5(i::text), i % 200)
    FROM generate_series(1, 300) i;
INSERT INTO parts SELECT i, i % 2, 'start' FROM generate_series(1, 100) i;
INSERT INTO ours SELECT i, 'b' || i % 3, i, 'start' FROM generate_series(1, 300) i;
INSERT INTO ours_whole SELECT nullif(i % 50, 7), i, 'start' FROM generate_series(1, 300) i;
CREATE PUBLICATION all_of_it FOR TABLE keyed, whole, parts, ours, ours_whole;
CREATE PUBLICATION log FOR TABLE log WITH (publish = 'insert, truncate');
"""
TABLE_NAMES = ('keyed', 'whole', 'parts', 'log', 'ours', 'ours_whole')
PAIRS = ((AM, AM), (AM, 'heap'), ('heap', AM))
KEYS = 400


def statement(rnd):
    i, j, n = rnd.randrange(KEYS), rnd.randrange(KEYS), rnd.randrange(1000)
    return rnd.choice([
        "INSERT INTO keyed VALUES (%d, %d, 't', repeat(md5('%d'), %d)) ON CONFLICT (id) DO UPDATE "
        'SET v = excluded.v' % (i, n, n, n % 200),
        "UPDATE keyed SET t = 'n%d' WHERE id = %d" % (n, i),
        'UPDATE keyed SET v = v + 1 WHERE id BETWEEN %d AND %d' % (i, i + 5),
        "UPDATE keyed SET big = repeat(md5('%d'), %d) WHERE id = %d" % (n, n % 200, i),
        'UPDATE keyed SET id = %d WHERE id = %d AND NOT EXISTS (SELECT FROM keyed WHERE id = %d)'
        % (j, i, j),
        'DELETE FROM keyed WHERE id = %d' % i,
        "INSERT INTO whole VALUES (%d, %d, NULL, repeat(md5('%d'), %d))" % (i % 50, n, n, n % 200),
        'UPDATE whole SET v = v + 1 WHERE id = %d' % (i % 50),
        'DELETE FROM whole WHERE id = %d AND v %% 5 = 0' % (i % 50),
        "INSERT INTO parts VALUES (%d, %d, 't') ON CONFLICT DO NOTHING" % (i, n % 2),
        'UPDATE parts SET p = 1 - p WHERE id = %d AND NOT EXISTS (SELECT FROM parts WHERE id = %d '
        'AND p = 1)' % (i, i),
        "INSERT INTO log SELECT %d, 'x' FROM generate_series(1, %d)" % (n, n % 50),
        "COPY log (id) FROM PROGRAM 'seq 1 %d'" % (n % 100),
        "INSERT INTO ours SELECT %d, 'new', %d, 't' WHERE NOT EXISTS (SELECT FROM ours WHERE "
        "id = %d AND b = 'new')" % (n, i, i),
        "UPDATE ours SET x = x + 1, t = 'n%d' WHERE id BETWEEN %d AND %d" % (n, i, i + 5),
        'UPDATE ours o SET id = id + 1000 * %d WHERE id = %d AND NOT EXISTS (SELECT FROM ours p '
        'WHERE p.id = o.id + 1000 * %d AND p.b = o.b)' % (n + 1, i, n + 1),
        'DELETE FROM ours WHERE id = %d' % i,
        'INSERT INTO ours_whole VALUES (%d, %d, NULL)' % (i % 50, n),
        "UPDATE ours_whole SET t = 'n%d' WHERE id = %d" % (n, i % 50),
        'UPDATE ours_whole SET id = nullif(id + 1, 51) WHERE id = %d AND n %% 3 = 0' % (i % 50),
        'UPDATE ours_whole SET t = t || 1 WHERE id IS NULL AND n = %d' % (n % 300),
        'DELETE FROM ours_whole WHERE id = %d AND n %% 5 = 0' % (i % 50),
    ])


class Writer(threading.Thread):
    """Random transactions on a database, until it is told to stop; the server may go meanwhile."""

    def __init__(self, server, db, seed):
        super().__init__(daemon=True)
        self.server, self.db, self.rnd, self.stopping = server, db, random.Random(seed), False
        self.done, self.problem = 0, None
        self.start()

    def run(self):
        c = None
        while not self.stopping:
            try:
                c = c or self.server.connect(self.db)
                c.exec('BEGIN')
                for n in range(self.rnd.randrange(1, 8)):
                    c.exec('SAVEPOINT s')
                    c.exec(statement(self.rnd))
                    if self.rnd.random() < 0.2:
                        c.exec('ROLLBACK TO s')
                c.exec('COMMIT' if self.rnd.random() < 0.9 else 'ROLLBACK')
                self.done += 1
            except pq.Error as e:
                if c is not None and c.alive() and e.sqlstate not in (None, '57P01', '57P02'):
                    self.problem = e
                    return
                c = None
                time.sleep(0.05)

    def end(self):
        self.stopping = True
        self.join()
        check(self.problem is None, 'writing to %s: %s' % (self.db, self.problem))


def contents(server, db):
    return [server.one("SELECT count(*) || ' rows, ' || coalesce(md5(string_agg(r::text, '|' "
                       'ORDER BY r::text)), \'\') FROM %s r' % t, db) for t in TABLE_NAMES]


def slots_are_done(publisher):
    lsn = publisher.one('SELECT pg_current_wal_lsn()')
    return publisher.one("SELECT bool_and(confirmed_flush_lsn >= '%s' AND NOT temporary) "
                         'FROM pg_replication_slots' % lsn) == 't'


def copies_are_done(subscriber, db):
    return subscriber.one("SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel", db) == 't'


def sources(pairs):
    return sorted({source for source, _ in pairs})


def set_up(publisher, subscriber, pairs):
    for am in sources(pairs):
        db = 'p_' + am
        publisher.sql('CREATE DATABASE ' + db)
        publisher.create_extension(db)
        publisher.sql('ALTER DATABASE %s SET default_table_access_method = %s' % (db, am))
        publisher.sql(TABLES, db)
        publisher.sql(START, db)
    for source, target in pairs:
        db = 's_%s_%s' % (source, target)
        subscriber.sql('CREATE DATABASE ' + db)
        subscriber.create_extension(db)
        subscriber.sql('ALTER DATABASE %s SET default_table_access_method = %s' % (db, target))
        subscriber.sql(TABLES, db)


def subscribe(publisher, subscriber, pairs):
    for source, target in pairs:
        db = 's_%s_%s' % (source, target)
        info = "host=%s port=5432 user=postgres dbname=p_%s" % (publisher.dir, source)
        for name in ('all_of_it', 'log'):
            streaming = 'true' if name == 'all_of_it' else 'false'
            subscriber.sql("CREATE SUBSCRIPTION %s_%s CONNECTION '%s' PUBLICATION %s "
                           'WITH (streaming = %s)' % (db, name, info, name, streaming), db)


def compare(publisher, subscriber, pairs):
    # something for each slot to confirm that is not empty
    harness.wait_for(lambda: slots_are_done(publisher), 'subscribers have not caught up', 180, 0.2)
    for source, target in pairs:
        db = 's_%s_%s' % (source, target)
        harness.wait_for(lambda: copies_are_done(subscriber, db), 'initial copies', 120, 0.2)
        there, here = contents(publisher, 'p_' + source), contents(subscriber, db)
        check(there == here, '%s to %s: %s, but %s' % (source, target, there, here))


def make_both(origins=(None, None), **more):
    checked = {'rowan.wal_check': 'on'} if ENGINE else {}
    publisher = cluster.make('publisher', origin=origins[0], conf=dict(checked, **{
        'wal_level': 'logical', 'max_replication_slots': '40', 'max_wal_senders': '40',
        'logical_decoding_work_mem': '64kB'}, **more), variant=VARIANT if more else None)
    subscriber = cluster.make('subscriber', origin=origins[1], conf=dict(checked, **{
        'wal_retrieve_retry_interval': '200ms', 'wal_receiver_status_interval': '1s',
        'max_logical_replication_workers': '12',
        'max_worker_processes': '24', 'max_sync_workers_per_subscription': '2',
        'max_replication_slots': '40'}, **more), variant=VARIANT if more else None)
    return publisher, subscriber


def end(publisher, subscriber, pairs, *allowed):
    for source, target in pairs:
        if target == AM:
            subscriber.verify(db='s_%s_%s' % (source, target))
    for server in (publisher, subscriber):
        server.stop()
        server.check_log(*allowed)
        server.destroy()


def kills(seed, rounds, origins=(None, None)):
    publisher, subscriber = make_both(origins)
    total = 0
    set_up(publisher, subscriber, PAIRS)
    for n in range(rounds):
        writers = [Writer(publisher, 'p_' + am, seed + n) for am in sources(PAIRS)]
        if n == 0:
            time.sleep(0.2)
            subscribe(publisher, subscriber, PAIRS)     # the copy is made while rows change
        time.sleep(1.5)
        if n > 0:
            victim = publisher if n % 2 else subscriber
            victim.kill9()
            victim.start()
            time.sleep(1)
        for w in writers:
            w.end()
            total += w.done
        compare(publisher, subscriber, PAIRS)
    say('%d transactions' % total)
    end(publisher, subscriber, PAIRS)


# ---- crashes at fault points ----

VARIANT = 'faults'
# for the quick form: those that rows reach all the time
ROW_POINTS = ('row_insert_applied', 'row_replace_logged', 'row_move_logged', 'row_move_inserted',
              'row_insert_logged', 'row_replace_applied', 'version_append', 'change_after_log')


def maintain(server, db):
    """What reaches the points of the pool and of VACUUM; the server may go meanwhile."""
    try:
        server.sql('VACUUM', db)
        server.sql('CHECKPOINT', db)
    except pq.Error:
        pass


def crash_at(server, db, point, hit):
    """True if the server has crashed there, and is down."""
    before = times_reached(server, point)
    if 'redo' in point:
        server.sql('CHECKPOINT')
        time.sleep(0.5)
        server.kill9()
        replay_crashes(server, point, 'panic:%d' % hit)
    elif point == 'pool_shutdown':
        arm(server, point, 'panic:1')
        server.stop()
    else:
        for n in (hit, 1):
            arm(server, point, 'panic:%d' % n)
            if wait_panic(server, 1):
                break
            maintain(server, db)
            if wait_panic(server, 1):
                break
    return times_reached(server, point) > before


def crash_and_compare(publisher, subscriber, victim, point, rnd, seed):
    """Whether the point was reached."""
    pairs = FAULT_PAIRS
    db = 'p_' + AM if victim is publisher else 's_%s_%s' % pairs[0]
    writer = Writer(publisher, 'p_' + AM, seed)
    time.sleep(0.3)
    reached = crash_at(victim, db, point, rnd.choice([1, 3, 20]))
    arm(victim)
    if victim.postmaster is not None:       # it may have got there just now
        reached |= wait_panic(victim, 0.3)
    if victim.postmaster is not None:       # a worker that applies reads no settings: it may yet
        victim.kill9()
    victim.start()
    time.sleep(0.3)
    writer.end()
    compare(publisher, subscriber, pairs)
    return reached


FAULT_PAIRS = ((AM, AM),)


def faults(options):
    """Both sides crash at each point; nothing is lost, nothing comes twice."""
    rnd = random.Random(options.seed)
    publisher, subscriber = make_both(restart_after_crash='off', **{
        'rowan.fault': '', 'rowan.buffers': '1MB'})
    set_up(publisher, subscriber, FAULT_PAIRS)
    subscribe(publisher, subscriber, FAULT_PAIRS)
    points = rnd.sample(ROW_POINTS, 2)
    if options.long or options.points:
        points = chosen_points(options)
    missed = {}
    for n, point in enumerate(points):
        start = time.time()
        for victim in (publisher, subscriber):
            try:
                reached = crash_and_compare(publisher, subscriber, victim, point, rnd,
                                            rnd.randrange(1 << 30))
            except (harness.Failure, pq.Error) as e:
                raise harness.Failure('%s, %s (seed %d): %s'
                                      % (victim.name, point, options.seed, e))
            if not reached:
                missed.setdefault(victim.name, []).append(point)
        if options.long:
            say('%2d of %d: %-28s %.1f s' % (n + 1, len(points), point, time.time() - start))
    for name, unreached in sorted(missed.items()):
        say('%s: not reached: %s' % (name, ', '.join(unreached)))
        check(len(unreached) < len(points) / 2 + 1, 'hardly any point was reached')
    crashes = 2 * len(points) - sum(map(len, missed.values()))
    say('faults: %d crashes, of both sides, at %d points tried' % (crashes, len(points)))
    end(publisher, subscriber, FAULT_PAIRS, 'fault point', 'terminated by signal 6')


# ---- the random SQL of t/decoding ----

ORACLE_TABLES = decoding.TABLES.replace('{btree}', OURS)
ORACLE_NAMES = decoding.PUBLISHED.split(', ')
# core's pgoutput fails an assertion at the end of a streamed transaction that aborts (18.6)
STREAMING = 'false' if harness.major() >= 18 else 'true'


class Publisher:
    """What decoding.Random takes for its twin: one database, and nothing to be compared."""

    def __init__(self, server, db):
        self.server, self.sides, self.origins = server, [(db, server.connect(db))], ['o_' + db]
        self.failed = self.asked = 0
        server.sql("SELECT pg_replication_origin_create('o_%s')" % db)

    def both(self, sql, may_fail=False):
        result = self.sides[0][1].try_(sql)
        check(may_fail or not result.error, '%s: %s' % (sql[:2000], result.error))
        self.asked += 1
        self.failed += bool(result.error)
        return result

    def each(self, sql):
        self.sides[0][1].exec(sql % 0)

    def mark(self, any_order):
        pass

    def compare(self, names=None, what=''):
        return 0


class Rows(decoding.Random):
    """Without definitions, which do not travel."""

    def define(self):
        return self.many()


def oracle_contents(server, db):
    return [(t, server.one("SELECT count(*) || ' rows, ' || coalesce(md5(string_agg(r::text, '|' "
                           'ORDER BY r::text)), \'\') FROM %s r' % t, db)) for t in ORACLE_NAMES]


def make_database(server, db, am):
    server.sql('CREATE DATABASE ' + db)
    server.create_extension(db)
    server.sql('ALTER DATABASE %s SET default_table_access_method = %s' % (db, am))
    server.sql(ORACLE_TABLES, db)


def subscribes_two_phase(subscriber, db):
    return copies_are_done(subscriber, db) and \
        subscriber.one("SELECT bool_and(subtwophasestate = 'e') FROM pg_subscription", db) == 't'


def oracle(seed, transactions, publisher, subscriber):
    """One run on a publisher of the engine's tables, for subscribers of both kinds."""
    source = 'o%d' % seed
    targets = [(am, 'o%d_%s' % (seed, am)) for am in ('heap', AM)]
    make_database(publisher, source, AM)
    publisher.sql('CREATE PUBLICATION everything FOR TABLE ' + decoding.PUBLISHED, source)
    for am, db in targets:
        make_database(subscriber, db, am)
        subscriber.sql("CREATE SUBSCRIPTION %s CONNECTION 'host=%s port=5432 user=postgres "
                       "dbname=%s' PUBLICATION everything WITH (streaming = %s, two_phase = true)"
                       % (db, publisher.dir, source, STREAMING), db)
        harness.wait_for(lambda: subscribes_two_phase(subscriber, db), 'two-phase', 120, 0.2)
    twin = Publisher(publisher, source)
    run = Rows(twin, seed)
    for n in range(transactions):
        run.transaction()
    if run.reader:
        run.read_on()
    harness.wait_for(lambda: slots_are_done(publisher), 'subscribers have not caught up', 180, 0.2)
    there = oracle_contents(publisher, source)
    for am, db in targets:
        here = oracle_contents(subscriber, db)
        check(there == here, 'seed %d, %s: %s' % (seed, am, [pair for pair in zip(there, here)
                                                            if pair[0] != pair[1]]))
        if am == AM and ENGINE:
            subscriber.verify(db=db)
        subscriber.sql('DROP SUBSCRIPTION ' + db, db)
    say('seed %d: %d statements, %d of them errors; %s are the same'
        % (seed, twin.asked, twin.failed, ', '.join(' '.join((t, rows.split(' rows')[0]))
                                                     for t, rows in there)))
    twin.sides[0][1].close()


def oracles(options):
    publisher, subscriber = make_both()
    for server in (publisher, subscriber):
        server.stop()
        server.write_conf(max_prepared_transactions='20')
        server.start()
    for seed in range(options.seed, options.seed + (10 if options.long else 1)):
        oracle(seed, 100 if options.long else 30, publisher, subscriber)
    end(publisher, subscriber, ())


# ---- different major versions ----

def majors(options):
    other = 15 if harness.major() == 18 else 18
    there = os.path.join(harness.cassert_server(other), 'pg', 'bin')
    for origins in ((harness.BINDIR, there), (there, harness.BINDIR)):
        say('%d to %d' % tuple(harness.major(origin) for origin in origins))
        kills(options.seed, 4, origins)


def test(options):
    modes = options.mode or ['kills', 'oracle'] + ['faults'] * ENGINE + ['majors'] * options.long
    for mode in modes:
        start = time.time()
        if mode == 'kills':
            for n in range(10 if options.long else 1):
                kills(options.seed + n, 5 if options.long else 3)
        elif mode == 'oracle':
            oracles(options)
        elif mode == 'faults':
            faults(options)
        else:
            majors(options)
        say('%s took %.0f s' % (mode, time.time() - start))


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('mode', nargs='*', help='kills, oracle, faults, majors')
    parser.add_argument('--points', nargs='*', help='only these fault points')
    harness.main(test, parser)
