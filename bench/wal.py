#!/usr/bin/env python3
"""WAL of each operation, heap against Rowan: bytes and records.

    wal.py [--rows 500000] [--ops 2000] [--only NAME] [--quick] [--kinds] [--compression lz4]
           [--logical]

A server of its own; heap and Rowan tables with the same rows.  Each operation runs `ops` times, at
random places, in a transaction of its own, commit included, first on the tables as they were
loaded, then on tables that have aged (120,000 updates that move rows and 500,000 that do not, for
500,000 rows).  The first three figures are after a checkpoint, when core logs an image of each page
that changes for the first time; the next three without one, when all pages have had theirs
(full_page_writes off comes to the same).  Data checksums are off, which saves heap's hints.
--logical: with what logical decoding needs, and operations that matter there.

WAL does not depend on how busy the machine is.  --kinds shows the records behind each figure.
"""
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'test', 'lib'))
import cluster
import harness
from harness import say

# keyed: a primary key and an index, core's btree; own: two indexes, on Rowan rowan_btree's
SETUP = """
CREATE TABLE keyed_{am} (id int PRIMARY KEY, k int, v int, filler char(84)) USING {am};
CREATE TABLE own_{am} (id int, k int, v int, filler char(84)) USING {am};
CREATE TABLE new_{am} (id int, k int, v int, filler char(84)) USING {am};
CREATE TABLE newkey_{am} (id serial PRIMARY KEY, k int, v int, filler char(84)) USING {am};
CREATE TABLE newown_{am} (id int, k int, v int, filler char(84)) USING {am};
INSERT INTO keyed_{am} SELECT i, i, 0, 'x' FROM generate_series(1, {n}) i;
INSERT INTO own_{am} SELECT i, i, 0, 'x' FROM generate_series(1, {n}) i;
CREATE INDEX ON keyed_{am} (k);
CREATE INDEX ON own_{am} USING {index} (id);
CREATE INDEX ON own_{am} USING {index} (k);
CREATE INDEX ON newown_{am} USING {index} (id);
CREATE INDEX ON newown_{am} USING {index} (k);
CREATE TABLE accounts_{am} (aid int PRIMARY KEY, bid int, abalance int, filler char(84)) USING {am};
CREATE TABLE tellers_{am} (tid int PRIMARY KEY, bid int, tbalance int, filler char(84)) USING {am};
CREATE TABLE branches_{am} (bid int PRIMARY KEY, bbalance int, filler char(88)) USING {am};
CREATE TABLE history_{am} (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))
  USING {am};
INSERT INTO accounts_{am} SELECT i, 1, 0, '' FROM generate_series(1, {n}) i;
INSERT INTO tellers_{am} SELECT i, 1, 0, '' FROM generate_series(1, 100) i;
INSERT INTO branches_{am} SELECT i, 0, '' FROM generate_series(1, 10) i;
"""
# $1: a random id, $2: the number of the turn
PROCEDURE = """
CREATE PROCEDURE many(sql text, n int, most int, each int DEFAULT 1) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n LOOP
    FOR j IN 1 .. each LOOP
      EXECUTE sql USING 1 + floor(random() * most)::int, i * each + j;
    END LOOP;
    COMMIT;
  END LOOP;
END $$;
"""
TPCB = """
CREATE PROCEDURE tpcb_{am}(n int, most int) LANGUAGE plpgsql AS $$
DECLARE a int; t int; b int;
BEGIN
  FOR i IN 1 .. n LOOP
    a := 1 + floor(random() * most); t := 1 + floor(random() * 100); b := 1 + floor(random() * 10);
    UPDATE accounts_{am} SET abalance = abalance + i WHERE aid = a;
    UPDATE tellers_{am} SET tbalance = tbalance + i WHERE tid = t;
    UPDATE branches_{am} SET bbalance = bbalance + i WHERE bid = b;
    INSERT INTO history_{am} (tid, bid, aid, delta, mtime) VALUES (t, b, a, i, now());
    COMMIT;
  END LOOP;
END $$;
"""
# no byte of it is repeated, as the blanks are that a char(84) is mostly made of
RANDOM_TEXT = ("INSERT INTO new_{am} SELECT $2, $1, 0, left(string_agg(md5($2::text || g), ''), 84)"
               ' FROM generate_series(1, 3) g')
# name, statement, statements a transaction
OPERATIONS = [
    ('update', 'UPDATE keyed_{am} SET v = v + $2 WHERE id = $1', 1),
    ('update, 20 a transaction', 'UPDATE keyed_{am} SET v = v + $2 WHERE id = $1', 20),
    ('update with two rowan_btree', 'UPDATE own_{am} SET v = v + $2 WHERE id = $1', 1),
    ('update of an indexed column', 'UPDATE keyed_{am} SET k = k + $2 WHERE id = $1', 1),
    ('the same, rowan_btree', 'UPDATE own_{am} SET k = k + $2 WHERE id = $1', 1),
    ('lock', 'SELECT 1 FROM keyed_{am} WHERE id = $1 FOR UPDATE', 1),
    ('insert', "INSERT INTO new_{am} VALUES ($2, $1, 0, 'x')", 1),
    ('insert, 20 a transaction', "INSERT INTO new_{am} VALUES ($2, $1, 0, 'x')", 20),
    ('insert of 200 rows',
     "INSERT INTO new_{am} SELECT $2 + g, $1, 0, 'x' FROM generate_series(1, 200) g", 1),
    ('insert of random text', RANDOM_TEXT, 1),
    ('insert with a btree', "INSERT INTO newkey_{am} (k, v, filler) VALUES ($1, 0, 'x')", 1),
    ('insert with two rowan_btree', "INSERT INTO newown_{am} VALUES ($1, $1, 0, 'x')", 1),
    ('delete', 'DELETE FROM keyed_{am} WHERE id = $1', 1),
    ('TPC-B', None, 1),
]
# with --logical, too
LOGICAL = [
    ('update of the key', 'UPDATE keyed_{am} SET id = -id WHERE id = abs($1)', 1),
    ('update of all columns',
     'UPDATE keyed_{am} SET v = $2, k = $2, filler = $2::text WHERE id = $1', 1),
    ('update of a long column', 'UPDATE keyed_{am} SET filler = md5($2::text) WHERE id = $1', 1),
    ('update, identity full', 'UPDATE own_{am} SET v = v + $2 WHERE id = $1', 1),
    ('delete, identity full', 'DELETE FROM own_{am} WHERE id = $1', 1),
]
AGE = [('keyed', 'k = k + 1 WHERE id = $1', 120000), ('keyed', 'v = v + 1 WHERE id = $1', 500000),
       ('own', 'k = k + 1 WHERE id = $1', 120000), ('own', 'v = v + 1 WHERE id = $1', 500000),
       ('accounts', 'abalance = abalance + 1 WHERE aid = $1', 500000)]


class Bench:
    def __init__(self, options):
        self.options = options
        self.seed = 0
        self.server = cluster.make('wal', checksums=False, conf={
            'shared_buffers': '1GB', 'rowan.buffers': '1GB', 'max_wal_size': '20GB',
            'min_wal_size': '2GB', 'checkpoint_timeout': '1d', 'synchronous_commit': 'off',
            'wal_level': 'logical' if options.logical else 'replica',
            'wal_compression': options.compression, 'full_page_writes': 'on',
            'bgwriter_delay': '10s', 'plan_cache_mode': 'force_generic_plan'})
        self.c = self.server.connect()
        self.c.exec('CREATE EXTENSION pg_walinspect')
        self.c.exec('SET enable_seqscan = off; SET jit = off')
        self.c.exec(PROCEDURE)
        for am, index in (('heap', 'btree'), ('rowan', 'rowan_btree')):
            self.c.exec(SETUP.format(am=am, index=index, n=options.rows))
            self.c.exec(TPCB.format(am=am))
        for t in ('keyed', 'own', 'accounts', 'tellers', 'branches'):
            for am in ('heap', 'rowan'):
                self.c.exec('VACUUM (FREEZE, ANALYZE) %s_%s' % (t, am))

    def images(self, on):
        self.c.exec("ALTER SYSTEM SET full_page_writes = '%s'" % ('on' if on else 'off'))
        self.c.exec('SELECT pg_reload_conf()')
        harness.wait_for(lambda: self.c.one('SHOW full_page_writes') == ('on' if on else 'off'),
                         'full_page_writes')

    def lsn(self):
        return self.c.one('SELECT pg_current_wal_insert_lsn()')

    def wal(self, am, statement, each, checkpoint):
        """Bytes and records an operation, and the records by kind."""
        n = self.options.ops
        call = 'CALL tpcb_%s(%d, %d)' % (am, n, self.options.rows) if statement is None else \
            "CALL many('%s', %d, %d, %d)" % (statement.format(am=am).replace("'", "''"), n,
                                             self.options.rows, each)
        self.seed += 1
        self.c.exec('SELECT setseed(%f)' % (self.seed // 2 / 1000))     # the same for both methods
        self.images(checkpoint)
        self.c.exec('CHECKPOINT')
        start = self.lsn()
        self.c.exec(call)
        end = self.lsn()
        self.c.exec('SET synchronous_commit = on')      # pg_walinspect reads what is flushed
        self.c.exec("SELECT pg_logical_emit_message(true, '', '')")
        self.c.exec('RESET synchronous_commit')
        kinds = self.c.rows(
            'SELECT "resource_manager/record_type", count, combined_size '
            "FROM pg_get_wal_stats('%s', '%s', true) WHERE count > 0" % (start, end))
        return (float(self.c.one("SELECT '%s'::pg_lsn - '%s'::pg_lsn" % (end, start))) / n,
                sum(float(k[1]) for k in kinds) / n, kinds)

    def compare(self, age):
        for name, statement, each in OPERATIONS + LOGICAL * self.options.logical:
            if name == LOGICAL[3][0]:
                for am in ('heap', 'rowan'):
                    self.c.exec('ALTER TABLE own_%s REPLICA IDENTITY FULL' % am)
            if self.options.only and self.options.only not in name:
                continue
            cells = []
            for checkpoint in (True, False):
                (heap, before, hk), (rowan, records, rk) = (
                    self.wal(am, statement, each, checkpoint) for am in ('heap', 'rowan'))
                cells.append('%.0f | %.0f | %.2f' % (heap, rowan, rowan / heap))
                if self.options.kinds:
                    for am, kinds in (('heap', hk), ('rowan', rk)):
                        say('    %s%s:' % (am, ', after a checkpoint' if checkpoint else ''),
                            '; '.join('%s x %.2f = %.1f' % (k, float(c) / self.options.ops,
                                                            float(s) / self.options.ops)
                                      for k, c, s in kinds if float(c) >= self.options.ops / 50))
            say('| %s | %s | %s | %.2f : %.2f |' % (name, age, ' | '.join(cells), before, records))

    def age(self):
        rows = self.options.rows
        for am in ('heap', 'rowan'):
            for t, change, times in AGE:
                self.c.exec("CALL many('UPDATE %s_%s SET %s', %d, %d)" %
                            (t, am, change, times * rows // 500000, rows))
            for t in ('keyed', 'own', 'accounts'):
                self.c.exec('VACUUM %s_%s' % (t, am))


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rows', type=int, default=500000)
    p.add_argument('--ops', type=int, default=2000)
    p.add_argument('--only', help='operations whose names contain this')
    p.add_argument('--fresh', action='store_true', help='only fresh tables')
    p.add_argument('--logical', action='store_true', help='wal_level = logical')
    p.add_argument('--kinds', action='store_true', help='the records, by kind')
    p.add_argument('--compression', default='off')
    p.add_argument('--quick', action='store_true', help='few rows and operations')
    options = p.parse_args()
    if options.quick:
        options.rows, options.ops = 20000, 200
    bench = Bench(options)
    say('| operation | tables | heap | Rowan | ratio | heap | Rowan | ratio | records |')
    say('|---|---|---|---|---|---|---|---|---|')
    bench.compare('fresh')
    if not options.fresh:
        bench.age()
        bench.compare('aged')
    bench.server.stop()
    return 0


if __name__ == '__main__':
    sys.exit(main())
