#!/usr/bin/env python3
"""Tuples that triggers are given have the headers that a heap's have: stored rows are not marked as composite values, and
say their creator, place and table."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check, say

SQL = """
CREATE TABLE {t} (i int, dropped text, c composite) USING {am};
ALTER TABLE {t} ADD added int DEFAULT 7, DROP dropped;
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON {t} FOR EACH ROW EXECUTE FUNCTION show_tuples();
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON {t} FOR EACH ROW EXECUTE FUNCTION show_tuples();
CREATE TRIGGER d AFTER UPDATE ON {t} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION show_tuples();
INSERT INTO {t} VALUES (1, ROW(1, 'x'));
UPDATE {t} SET i = 2;
CREATE INDEX ON {t} (i);
UPDATE {t} SET i = 3, c = NULL;
BEGIN; UPDATE {t} SET added = 8; SAVEPOINT p; UPDATE {t} SET i = 4; ROLLBACK TO p; UPDATE {t} SET c = ROW(2, 'y'); COMMIT;
SELECT * FROM {t};
DELETE FROM {t};
"""


def test(options):
    server = cluster.make('tuples')
    server.sql("CREATE TYPE composite AS (n int, t text)")
    server.sql("CREATE FUNCTION show_tuples() RETURNS trigger LANGUAGE c AS '%s'" % harness.server_module('tuples'))
    said = {}
    for am in sorted({'heap', AM}):
        text = server.psql(SQL.replace('{t}', 't_' + am).replace('{am}', am).replace('CREATE TRIGGER d', 'CREATE CONSTRAINT TRIGGER d'))
        said[am] = [re.sub('.*NOTICE: *', '', line) for line in text.split('\n') if line]
    for a, b in zip(said['heap'], said[AM]):
        check(a == b, 'heap: %s; %s: %s' % (a, AM, b))
    check(len(said['heap']) == len(said[AM]) > 20, 'lines: %s' % said)
    check(any('after new' in line and 'creator 1, place 1, table 1' in line for line in said[AM]), 'nothing of a stored row: %s' % said[AM])
    say('%d tuples alike' % len(said[AM]))
    server.verify()
    server.stop()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
