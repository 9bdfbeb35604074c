#!/usr/bin/env python3
"""Rows with values of a dropped column whose type is passed by reference, aligned to its length."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check


TYPE = """
CREATE TYPE m8;
CREATE FUNCTION m8_in(cstring) RETURNS m8 IMMUTABLE STRICT LANGUAGE internal AS 'macaddr8_in';
CREATE FUNCTION m8_out(m8) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'macaddr8_out';
CREATE TYPE m8 (input = m8_in, output = m8_out, internallength = 8, alignment = double)"""


def test(options):
    server = cluster.make('dropped')
    with server.connect() as c:
        c.exec(TYPE)
        c.exec('CREATE TABLE d (a int, m m8, b int, t text) USING %s' % AM)
        # some of the rows would make sense without alignment, too
        c.exec("INSERT INTO d SELECT g, '08:00:2b:01:02:03:04:05', g * 7, 'x' || g "
               "FROM generate_series(1, 5000) g")
        before = c.rows('SELECT a, b, t FROM d ORDER BY a')
        c.exec('ALTER TABLE d DROP COLUMN m')
        check(before == c.rows('SELECT a, b, t FROM d ORDER BY a'),
              'rows differ after a column was dropped')
        c.exec('UPDATE d SET b = b + 1 WHERE a % 2 = 0')
        right = c.one("SELECT count(*) FROM d WHERE b = a * 7 + 1 - a % 2 AND t = 'x' || a")
        check(right == '5000', '%s of 5000 rows are right after an update' % right)
    server.verify()
    server.stop()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
