#!/usr/bin/env python3
"""Incremental backups (PostgreSQL 17 and later), put together again by pg_combinebackup.

What changed since the last backup, core reads from WAL: pages that records refer to, and files that
were made, cut or emptied.  So each of our changes must be seen there.  A chain of backups is made
while sessions change a table and its twin in heap, with what is hard between them: files that are
cut and grow again, emptied, dropped and made anew, indexes, an unlogged table, a new database.
After each, the chain is combined and started: both tables say the same, and verify is clean.
"""
import os
import random
import shutil
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

INDEX = 'rowan_btree' if ENGINE else 'btree'
TABLES = ('plain', 'ours')
PAIRS = [TABLES] + [('plain' + x, 'ours' + x) for x in ('_cut', '_new', '_new_u')]
SETUP = """
CREATE TABLE {t} (id int, k int, payload text) USING {am};
CREATE INDEX {t}_k ON {t} USING {index} (k);
INSERT INTO {t} SELECT i, i % 977, repeat(md5(i::text), 1 + i % 9) FROM generate_series(1, 8000) i;
"""
FINGERPRINT = "SELECT count(*), coalesce(sum(hashtext(t::text)::bigint), 0) FROM {t} t"


class Writer(threading.Thread):
    """Changes both tables in one transaction each, until told to end."""

    def __init__(self, server, seed):
        super().__init__(daemon=True)
        self.server, self.rnd, self.ended = server, random.Random(seed), threading.Event()
        self.trouble, self.done = None, 0

    def change(self):
        x, n = self.rnd.randrange(1, 9000), self.rnd.choice([1, 5, 200])
        return self.rnd.choice([
            "UPDATE {t} SET payload = md5(payload || '%d') WHERE id BETWEEN %d AND %d" %
                                (x, x, x + n),
            "UPDATE {t} SET payload = payload || repeat('m', 300) "
            'WHERE id BETWEEN %d AND %d AND length(payload) < 2000' % (x, x + n),
            'UPDATE {t} SET k = (k + 31) %% 977 WHERE id BETWEEN %d AND %d' % (x, x + n),
            'DELETE FROM {t} WHERE id BETWEEN %d AND %d' % (x, x + n),
            "INSERT INTO {t} SELECT i, i %% 977, md5(i::text) FROM generate_series(%d, %d) i" %
                                (x, x + n)])

    def run(self):
        try:
            with self.server.connect() as c:
                while not self.ended.is_set():
                    sql = self.change()
                    c.exec('BEGIN; LOCK plain IN SHARE ROW EXCLUSIVE MODE; %s; %s' %
                           tuple(sql.replace('{t}', t) for t in TABLES))
                    c.exec(self.rnd.choice(['COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK']))
                    self.done += 1
        except Exception as e:
            self.trouble = e

    def end(self):
        self.ended.set()
        self.join()
        check(self.trouble is None, 'a writer: %s' % self.trouble)


def both(server, sql):
    for t in TABLES:
        server.sql(sql.replace('{t}', t))


def cut_and_grow(server, step):
    """A file that is cut and grows again has other pages at the same places."""
    for am, t in (('heap', 'plain_cut'), (AM, 'ours_cut')):
        if step == 0:
            server.sql('CREATE TABLE %s (id int, payload text) USING %s' % (t, am))
            server.sql('CREATE INDEX ON %s USING %s (id)' % (t, 'btree' if am == 'heap' else INDEX))
        server.sql('INSERT INTO %s SELECT i, repeat(md5((i + %d)::text), 12) '
                   'FROM generate_series(1, %d) i' % (t, step, 3000 + 1000 * step))
        server.sql('CHECKPOINT')
        server.sql('DELETE FROM %s WHERE id > 300' % t)
        server.sql('VACUUM %s' % t)
        server.sql("INSERT INTO %s SELECT i, md5((i + %d)::text) FROM generate_series(1, 900) i" %
                   (t, step))


def others(server, step):
    """Files that come, go and are emptied."""
    for am, t in (('heap', 'plain_new'), (AM, 'ours_new')):
        if step == 1:
            server.sql('CREATE TABLE %s (id int, payload text) USING %s' % (t, am))
            server.sql('CREATE UNLOGGED TABLE %s_u (id int) USING %s' % (t, am))
            server.sql('INSERT INTO %s_u VALUES (1)' % t)
        elif step == 2:
            server.sql('TRUNCATE %s' % t)
        if step:
            server.sql("INSERT INTO %s SELECT i, md5(i::text) FROM generate_series(%d, %d) i" %
                       (t, step, step * 700))
    server.sql('DROP TABLE IF EXISTS gone; CREATE TABLE gone (id int) USING %s; '
               'INSERT INTO gone SELECT generate_series(1, 500)' % AM)
    if step == 1:
        server.sql('CREATE DATABASE other')
        server.create_extension('other')
        server.sql('CREATE TABLE there (id int) USING %s; '
                   'INSERT INTO there SELECT generate_series(1, 1000)' % AM, 'other')


def backup(server, name, before):
    path = os.path.join(server.dir, name)
    arguments = ['pg_basebackup', '-D', path, '-c', 'fast', '-X', 'stream', '--no-sync']
    if before:
        arguments.append('--incremental=%s/backup_manifest' % before)
    server.run_tool(*arguments)
    return path


def incremental_files(path):
    return sum(f.startswith('INCREMENTAL.') for _, _, files in os.walk(path) for f in files)


def compare(server, pairs):
    for a, b in pairs:
        x, y = (server.sql(FINGERPRINT.replace('{t}', t))[0] for t in (a, b))
        check(x == y, 'restored: %s says %s, %s says %s' % (a, x, b, y))


def restore(server, chain, step):
    """Starts what the chain combines to, and looks at it."""
    restored = cluster.Cluster('restored', conf=server.conf, initdb=False)
    os.rmdir(restored.data) if os.path.isdir(restored.data) else None
    server.run_tool('pg_combinebackup', '--no-sync', '-o', restored.data, *chain)
    restored.write_conf()
    restored.start()
    compare(restored, [(a, b) for a, b in PAIRS if step > 0 or 'new' not in a])
    question = FINGERPRINT.replace('{t}', 'ours') + ' WHERE k >= 0'
    check(restored.sql('SET enable_seqscan = off; ' + question) ==
          restored.sql('SET enable_indexscan = off; SET enable_bitmapscan = off; ' + question),
          'restored: the index says something else')
    restored.verify()
    if step > 0:
        check(restored.sql('SELECT count(*) FROM there', 'other') == [('1000',)],
              'restored: the other database')
        restored.verify(db='other')
    restored.stop()
    restored.check_log()
    shutil.rmtree(restored.data)


def test(options):
    if harness.major() < 17:
        say('not there before PostgreSQL 17: nothing to test')
        return
    server = cluster.make('incremental', conf={'summarize_wal': 'on', 'rowan.buffers': '2MB'}
                          if ENGINE else {'summarize_wal': 'on'})
    for t, am in zip(TABLES, ('heap', AM)):
        server.sql(SETUP.format(t=t, am=am, index='btree' if am == 'heap' else INDEX))
    chain, found = [], 0
    for step in range(6 if options.long else 3):
        writers = [Writer(server, options.seed * 100 + step * 10 + i) for i in range(2)]
        for w in writers:
            w.start()
        cut_and_grow(server, step)
        others(server, step)
        both(server, 'VACUUM {t}')
        chain.append(backup(server, 'b%d' % step, chain[-1] if chain else None))
        for w in writers:
            w.end()
        found += incremental_files(chain[-1])
        restore(server, chain, step)
        say('backup %d: %d transactions meanwhile, %d files sent in part' %
            (step, sum(w.done for w in writers), incremental_files(chain[-1])))
    check(found > 0, 'no file was sent in part: nothing was tested')
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
