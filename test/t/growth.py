#!/usr/bin/env python3
"""A table does not grow by updates of an indexed column, which give rows other places.

The same updates on heap and on Rowan, by VACUUM's leave or without it: Rowan's table ends at most
1.15 times as big as it began, and at most a tenth bigger than heap's.  Then: its contents.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check, say

ROWS = 50000
TABLE = """
CREATE TABLE t_{am} (id int PRIMARY KEY, k int, c char(120), pad char(60)) USING {am}
  WITH (autovacuum_enabled = off);
INSERT INTO t_{am} SELECT g, g, md5(g::text), 'x' FROM generate_series(1, {rows}) g;
CREATE INDEX ON t_{am} (k);
"""
UPDATES = """
CREATE PROCEDURE updates_{am}(n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n LOOP
    UPDATE t_{am} SET k = k + 1 WHERE id = 1 + (i::bigint * 7919 * (1 + i / 9973)) % {rows};
    IF i % 50 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;
"""


def size(c, am):
    return int(c.one("SELECT pg_table_size('t_%s')" % am))


def grown(c, am, updates, vacuums):
    """Its size before, and after so many updates, VACUUM in between or not."""
    c.exec(TABLE.format(am=am, rows=ROWS))
    c.exec(UPDATES.format(am=am, rows=ROWS))
    c.exec('VACUUM ANALYZE t_' + am)
    before = size(c, am)
    for _ in range(vacuums + 1):
        c.exec('CALL updates_%s(%d)' % (am, updates // (vacuums + 1)))
        if vacuums:
            c.exec('VACUUM t_' + am)
    after = size(c, am)
    content = c.rows('SELECT count(*), sum(id), sum(k::bigint * id) FROM t_' + am)
    c.exec('SET enable_seqscan = off')
    by_index = c.rows('SELECT count(*), sum(id), sum(k::bigint * id) FROM t_%s WHERE k > 0' % am)
    c.exec('RESET enable_seqscan')
    check(content == by_index, '%s: %s by index, %s without' % (am, by_index, content))
    c.exec('DROP TABLE t_%s; DROP PROCEDURE updates_%s' % (am, am))
    return before, after, content


def test(options):
    server = cluster.make('growth', conf={'synchronous_commit': 'off'})
    factor = 60 if options.long else 4
    with server.connect() as c:
        for vacuums in (0, 10):
            updates = ROWS * (factor if vacuums else 4)
            before_h, after_h, content_h = grown(c, 'heap', updates, vacuums)
            before, after, content = grown(c, AM, updates, vacuums)
            check(content == content_h, 'heap has %s, %s %s' % (content_h, AM, content))
            say('%d updates, %d VACUUMs: heap %.3f of what it was, %s %.3f, %.3f of heap' %
                (updates, vacuums, after_h / before_h, AM, after / before, after / after_h))
            if AM != 'heap':
                check(after <= 1.15 * before, 'the table has grown')
                check(after <= 1.1 * after_h, "it is much bigger than heap's")
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
