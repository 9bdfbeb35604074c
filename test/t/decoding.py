#!/usr/bin/env python3
"""Logical decoding leaves out Rowan tables: that is said, and heap tables of the same transaction are there."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

WARNING = 'WARNING:  changes of Rowan tables'


def test(options):
    if not ENGINE:
        return
    server = cluster.make('decoding', conf={'wal_level': 'logical'})
    server.sql('CREATE TABLE r (id int PRIMARY KEY) USING %s; CREATE TABLE h (id int PRIMARY KEY) USING heap; '
               'CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) USING %s; '
               'CREATE SCHEMA s; CREATE TABLE s.r (id int) USING %s' % (AM, AM, AM))
    for sql, warned in (('CREATE PUBLICATION a FOR TABLE h', False), ('ALTER PUBLICATION a ADD TABLE r', True),
                        ('ALTER PUBLICATION a SET TABLE h', False), ('CREATE PUBLICATION b FOR TABLE p', True),
                        ('CREATE PUBLICATION c FOR TABLES IN SCHEMA s', True), ('CREATE PUBLICATION d FOR ALL TABLES', True)):
        text = server.psql(sql)
        check((WARNING + ' are not published' in text) == warned, '%s: %s' % (sql, text))
    server.sql("SELECT pg_create_logical_replication_slot('slot', 'test_decoding')")
    get = "SELECT data FROM pg_logical_slot_peek_changes('slot', NULL, NULL)"
    server.sql('INSERT INTO h VALUES (1)')
    check(WARNING not in server.psql(get), 'a warning, but no Rowan table was changed')
    server.sql('BEGIN; INSERT INTO h VALUES (2); INSERT INTO r VALUES (2); UPDATE h SET id = 3 WHERE id = 2; COMMIT')
    for _ in range(2):
        text = server.psql(get)
        check(text.count(WARNING + ' are left out') == 1, 'decoding: %s' % text)
        check('INSERT: id[integer]:2' in text and 'UPDATE:' in text and 'public.r' not in text, 'decoding: %s' % text)
    # a subscription makes its copy over a replication connection
    for table, warned in (('r', True), ('h', False)):
        text = server.psql('COPY %s TO STDOUT' % table, db='dbname=postgres replication=database')
        check((WARNING + ' are not published' in text) == warned, 'COPY: %s' % text)
    check(WARNING not in server.psql('COPY r TO STDOUT'), 'a warning over an ordinary connection')
    # another database's changes are nobody's business
    server.sql("SELECT pg_logical_slot_get_changes('slot', NULL, NULL)")
    server.sql('CREATE DATABASE other')
    server.create_extension('other')
    server.sql('CREATE TABLE r (id int) USING %s; INSERT INTO r VALUES (1)' % AM, 'other')
    check(WARNING not in server.psql(get), 'a warning for another database')
    # where nothing at all can be published core says so
    server.sql("SELECT pg_drop_replication_slot('slot')")
    server.stop()
    server.write_conf(wal_level='replica')
    server.start()
    text = server.psql('CREATE PUBLICATION e FOR TABLE r')
    check(WARNING not in text and 'wal_level is insufficient' in text, 'wal_level = replica: %s' % text)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
