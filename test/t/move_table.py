#!/usr/bin/env python3
"""doc/move_table.sql: tables are moved from heap to Rowan and back beside writers, and exchanged;
no row is lost, none
comes twice; indexes, constraints, privileges, triggers and sequences come along."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, TOP, check, say

DEFINITION = """
CREATE TABLE {t} (a int, b int GENERATED ALWAYS AS IDENTITY,
                  u int UNIQUE DEFERRABLE INITIALLY DEFERRED,
    n int NOT NULL DEFAULT 7 CHECK (n > -1000000000), dropped int, s serial, "odd ""name" text,
    g int GENERATED ALWAYS AS (n + 1) STORED, PRIMARY KEY (a, b)) {using} WITH (fillfactor = 80);
ALTER TABLE {t} DROP dropped;
CREATE INDEX "odd index" ON {t} (lower("odd ""name")) WHERE n > 0;
CREATE UNIQUE INDEX {t}_s ON {t} (s) INCLUDE (n);
COMMENT ON TABLE {t} IS 'moves about';
"""


def fill(c, rows):
    c.exec('CREATE ROLE clerk; CREATE ROLE boss; CREATE TABLE region (id int PRIMARY KEY); '
           'INSERT INTO region SELECT generate_series(0, 9)')
    c.exec(DEFINITION.format(t='moved', using='USING heap'))
    c.exec('CREATE TABLE log (n int); CREATE FUNCTION count_log() RETURNS trigger LANGUAGE plpgsql '
           'AS $$ BEGIN INSERT INTO log VALUES (1); RETURN NULL; END $$; '
           'CREATE TRIGGER counts AFTER DELETE ON moved EXECUTE FUNCTION count_log()')
    c.exec('INSERT INTO moved (a, u, n, "odd ""name") SELECT i %% 10, i, i, \'Name \' || i '
           'FROM generate_series(1, %d) i' % rows)
    c.exec('ALTER TABLE moved ADD CONSTRAINT of_region FOREIGN KEY (a) REFERENCES region; '
           'CREATE TABLE detail (a int, b int, FOREIGN KEY (a, b) REFERENCES moved); '
           'INSERT INTO detail SELECT a, b FROM moved WHERE u % 100 = 0; '
           'ALTER TABLE moved OWNER TO boss; GRANT SELECT, UPDATE (n) ON moved TO clerk')


class Writers:
    """Change rows, and know what the table must hold: n is added to as much as total says."""

    def __init__(self, server, n):
        self.server, self.stop, self.errors, self.done = server, threading.Event(), [], [0] * n
        self.threads = [threading.Thread(target=self.guarded, args=(i,)) for i in range(n)]
        for t in self.threads:
            t.start()

    def guarded(self, i):
        try:
            self.write(i)
        except Exception as e:
            self.errors.append(e)

    def write(self, i):
        rnd = random.Random(i)
        with self.server.connect() as c:
            while not self.stop.is_set():
                u = rnd.randrange(1, 3000)
                for statement in (
                        'BEGIN; UPDATE moved SET n = n + 1 WHERE u BETWEEN %d AND %d; '
                        'INSERT INTO ledger SELECT count(*) FROM moved WHERE u BETWEEN %d AND %d; '
                        'COMMIT' % (u, u + 3, u, u + 3),
                        # keys and values of unique indexes change places
                        'BEGIN; UPDATE moved SET u = 10001 - u WHERE u BETWEEN 5000 AND 5001; '
                        'COMMIT',
                        'BEGIN; UPDATE moved SET a = (a + 1) %% 10 WHERE u = %d; COMMIT'
                        % (3100 + u),
                        'INSERT INTO moved (a, u, n) VALUES (%d, %d, 0)'
                        % (rnd.randrange(10), 100000 * (i + 1) + self.done[i]),
                        'DELETE FROM moved WHERE u = %d AND NOT EXISTS (SELECT FROM detail d '
                        'WHERE (d.a, d.b) = (moved.a, moved.b))' % (6000 + rnd.randrange(2000)),
                        'BEGIN; UPDATE moved SET n = -1; ROLLBACK' if self.done[i] % 50
                        == 0 else 'SELECT 1'):
                    r = c.try_(statement)
                    if r.error:
                        if c.in_transaction():
                            c.exec('ROLLBACK')
                        check(r.error.sqlstate in ('40P01', '40001', '23503', '23505', '55P03',
                                                   '42P01') , '%s: %s' % (statement, r.error))
                self.done[i] += 1

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        check(not self.errors, 'a writer: %s' % self.errors[:1])


def shape(c):
    """What is said of the table, but for the access method."""
    return [c.rows(sql) for sql in (
        "SELECT attname, atttypid::regtype, attnotnull, attidentity, attgenerated, atthasdef FROM "
        "pg_attribute "
        "WHERE attrelid = 'moved'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = "
        "'moved'::regclass AND contype <> 'n' ORDER BY 1",
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE confrelid = "
        "'moved'::regclass ORDER BY 1",
        "SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = "
        "'moved'::regclass ORDER BY 1",
        "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'moved'::regclass "
        "AND NOT tgisinternal",
        "SELECT relowner::regrole, (SELECT array_agg(x::text ORDER BY 1) FROM unnest(relacl) x), "
        "reloptions, "
        "obj_description(oid, 'pg_class') FROM pg_class WHERE oid = 'moved'::regclass",
        "SELECT attname, attacl FROM pg_attribute WHERE attrelid = 'moved'::regclass AND attacl "
        "IS NOT NULL",
        "SELECT pg_get_serial_sequence('moved', 's'), pg_get_serial_sequence('moved', 'b') IS NOT "
        "NULL")]


def move(server, method):
    with server.connect() as c:
        before = shape(c)
        largest = int(c.one('SELECT max(b) FROM moved'))
        writers = Writers(server, 2)
        try:
            time.sleep(1)
            c.exec("CALL rowan_move.begin('moved', '%s')" % method)
            c.exec("CALL rowan_move.copy('moved', 1000)")
            time.sleep(1)
            for attempt in range(20):
                r = c.try_("CALL rowan_move.finish('moved', '10 s')")
                if r.error is None:
                    break
                check(r.error.sqlstate in ('40001', '55P03', '40P01'), 'finish: %s' % r.error)
            check(r.error is None, 'finish: %s' % r.error)
            time.sleep(1)
        finally:
            writers.end()
        for table, constraint in c.rows("SELECT conrelid::regclass, conname FROM pg_constraint "
                                        "WHERE 'moved'::regclass IN (conrelid, confrelid) AND NOT "
                                        "convalidated"):
            c.exec('ALTER TABLE %s VALIDATE CONSTRAINT %s' % (table, constraint))
        check(c.one("SELECT amname FROM pg_am a JOIN pg_class c ON a.oid = relam WHERE c.oid = "
                    "'moved'::regclass") == method, 'the method')
        after = shape(c)
        for a, b in zip(before, after):
            check(a == b, 'before: %s\nafter: %s' % (a, b))
        check(c.rows('SELECT a, b FROM moved GROUP BY 1, 2 HAVING count(*) > 1') == [],
              'keys that come twice')
        c.exec("INSERT INTO moved (a, u, n) VALUES (1, -1, 1); DELETE FROM moved WHERE u = -1")
        check(int(c.one("SELECT nextval(pg_get_serial_sequence('moved', 'b'))")) > largest,
              'identity goes on')
        c.exec('DROP TABLE moved_moved_away')
        check(sum(writers.done) > 20, 'writers did nothing')
        return sum(writers.done)


def check_sums(c, rows):
    """Each round of a writer adds to n of some rows what it notes in the ledger."""
    first = sum(range(1, 5000))
    got = int(c.one('SELECT sum(n) FROM moved WHERE u < 5000'))
    noted = int(c.one('SELECT coalesce(sum(n), 0) FROM ledger'))
    check(got == first + noted, 'sum of n: %d, it was %d, %d were added' % (got, first, noted))
    check(c.one('SELECT count(*) FROM moved WHERE u <= %d' % 5999) == '5999',
          'rows that nobody deletes')


def refused(c):
    c.exec('CREATE TABLE nokey (i int); CREATE TABLE seen (i int PRIMARY KEY); CREATE VIEW v AS '
           'SELECT * FROM seen; '
           'CREATE TABLE secure (i int PRIMARY KEY); ALTER TABLE secure ENABLE ROW LEVEL '
           'SECURITY; CREATE TABLE still (i int PRIMARY KEY)')
    for t in ('nokey', 'seen', 'secure', 'v'):
        r = c.try_("CALL rowan_move.begin('%s', '%s')" % (t, AM))
        check(r.error is not None and r.error.sqlstate == '0A000', '%s: %s' % (t, r.error))
    for call in ("copy('still')", "finish('still')", "cancel('still')"):
        r = c.try_('CALL rowan_move.' + call)
        check(r.error is not None and r.error.sqlstate == '55000', '%s: %s' % (call, r.error))
    c.exec("INSERT INTO still VALUES (1); CALL rowan_move.begin('still', '%s')" % AM)
    r = c.try_('TRUNCATE still')
    check(r.error is not None and r.error.sqlstate == '55006', 'TRUNCATE: %s' % r.error)
    r = c.try_("CALL rowan_move.finish('still')")
    check(r.error is not None and r.error.sqlstate == '55000', 'finish before copy: %s' % r.error)
    c.exec("CALL rowan_move.cancel('still'); TRUNCATE still")
    check(c.one("SELECT count(*) FROM pg_class WHERE relname LIKE 'still%' AND relkind = 'r'")
          == '1', 'cancel leaves something')


def test(options):
    server = cluster.make('move', conf={'deadlock_timeout': '100ms'})
    server.psql(file=TOP + '/doc/move_table.sql')
    with server.connect() as c:
        refused(c)
        fill(c, 20000)
        c.exec('CREATE TABLE ledger (n int)')
        rounds = [move(server, method) for method in (AM, 'heap', AM)]
        check_sums(c, 20000)
        c.exec('DROP SCHEMA rowan_move CASCADE')
    server.verify()
    server.stop()
    server.check_log()
    say('moved three times, beside %d rounds of writers' % sum(rounds))


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
