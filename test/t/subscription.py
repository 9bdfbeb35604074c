#!/usr/bin/env python3
"""A publisher and a subscriber, with the engine's tables on either side or both: contents are the
same after random changes, an initial copy meanwhile, and crashes of both that lose and repeat
nothing."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import pq
from harness import AM, check, say

TABLES = """
CREATE TABLE keyed (id int PRIMARY KEY, v int, t text, big text);
CREATE INDEX ON keyed (v);
CREATE TABLE whole (id int, v int, t text, big text); ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE parts (id int, p int, t text, PRIMARY KEY (id, p)) PARTITION BY LIST (p);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE log (id int, t text);
"""
START = """
INSERT INTO keyed SELECT i, i, 'start', repeat(md5(i::text), i % 200)
    FROM generate_series(1, 300) i;
INSERT INTO whole SELECT i % 50, i, 'start', repeat(md5(i::text), i % 200)
    FROM generate_series(1, 300) i;
INSERT INTO parts SELECT i, i % 2, 'start' FROM generate_series(1, 100) i;
CREATE PUBLICATION all_of_it FOR TABLE keyed, whole, parts;
CREATE PUBLICATION log FOR TABLE log WITH (publish = 'insert, truncate');
"""
TABLE_NAMES = ('keyed', 'whole', 'parts', 'log')
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


def set_up(publisher, subscriber):
    for am in sorted({a for a, _ in PAIRS}):
        db = 'p_' + am
        publisher.sql('CREATE DATABASE ' + db)
        publisher.create_extension(db)
        publisher.sql('ALTER DATABASE %s SET default_table_access_method = %s' % (db, am))
        publisher.sql(TABLES, db)
        publisher.sql(START, db)
    for source, target in PAIRS:
        db = 's_%s_%s' % (source, target)
        subscriber.sql('CREATE DATABASE ' + db)
        subscriber.create_extension(db)
        subscriber.sql('ALTER DATABASE %s SET default_table_access_method = %s' % (db, target))
        subscriber.sql(TABLES, db)


def subscribe(publisher, subscriber):
    for source, target in PAIRS:
        db = 's_%s_%s' % (source, target)
        info = "host=%s port=5432 user=postgres dbname=p_%s" % (publisher.dir, source)
        for name in ('all_of_it', 'log'):
            streaming = 'true' if name == 'all_of_it' else 'false'
            subscriber.sql("CREATE SUBSCRIPTION %s_%s CONNECTION '%s' PUBLICATION %s "
                           'WITH (streaming = %s)' % (db, name, info, name, streaming), db)


def compare(publisher, subscriber):
    # something for each slot to confirm that is not empty
    harness.wait_for(lambda: slots_are_done(publisher), 'subscribers have not caught up', 180, 0.2)
    for source, target in PAIRS:
        db = 's_%s_%s' % (source, target)
        harness.wait_for(lambda: copies_are_done(subscriber, db), 'initial copies', 120, 0.2)
        there, here = contents(publisher, 'p_' + source), contents(subscriber, db)
        check(there == here, '%s to %s: %s, but %s' % (source, target, there, here))


def test(options):
    publisher = cluster.make('publisher', conf={
        'wal_level': 'logical', 'max_replication_slots': '40', 'max_wal_senders': '40',
        'logical_decoding_work_mem': '64kB'})
    subscriber = cluster.make('subscriber', conf={
        'wal_retrieve_retry_interval': '200ms', 'max_logical_replication_workers': '12',
        'max_worker_processes': '24', 'max_sync_workers_per_subscription': '2',
        'max_replication_slots': '40'})
    set_up(publisher, subscriber)
    seed, total = options.seed, 0
    rounds = 10 if options.long else 3
    for n in range(rounds):
        writers = [Writer(publisher, 'p_' + am, seed + n) for am in sorted({a for a, _ in PAIRS})]
        if n == 0:
            time.sleep(0.2)
            subscribe(publisher, subscriber)    # the copy is made while rows change
        time.sleep(1.5)
        if n > 0:
            victim = publisher if n % 2 else subscriber
            victim.kill9()
            victim.start()
            time.sleep(1)
        for w in writers:
            w.end()
            total += w.done
        compare(publisher, subscriber)
    say('%d transactions' % total)
    for source, target in PAIRS:
        if target == AM:
            subscriber.verify(db='s_%s_%s' % (source, target))
    publisher.stop()
    subscriber.stop()
    publisher.check_log()
    subscriber.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
