#!/usr/bin/env python3
"""Row ids far larger than the file: core takes logical block numbers for pages in several places, and would prefetch
them from segments that do not exist."""
import os
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import bytes as damage          # test/t/bytes.py: checksums
import cluster
import harness
from harness import AM, ENGINE, check, say

NEXT_KEY = 1 << 26              # logical block 262144: in the third gigabyte
ROWS = 5000


def jump(server, table):
    """The next row of a small table gets the id NEXT_KEY, as after so many insertions and deletions."""
    path = server.path_of(table)
    server.stop()
    with open(path, 'r+b') as f:
        data = bytearray(f.read())
        at = damage.PAGE + damage.PAGE - 64 + 16
        data[at:at + 8] = struct.pack('<Q', NEXT_KEY)
        damage.seal(data, 1)
        f.seek(0)
        f.write(data)
    server.start()


def recheck(server):
    """A row that changed meanwhile is looked at again by a plan of its own, which has a bitmap scan."""
    one, two = server.connect(), server.connect()
    for sql in ('UPDATE o SET n = n + (SELECT count(*) FROM t WHERE k < 3999 + o.id) WHERE id = 1',
                'SELECT n, (SELECT count(*) FROM t WHERE k < 3999 + o.id) FROM o WHERE id = 1 FOR UPDATE'):
        two.exec('SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off')
        one.exec('BEGIN; UPDATE o SET n = n + 1')
        results = []
        thread = threading.Thread(target=lambda: results.append(two.try_(sql)))
        thread.start()
        while server.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == '0':
            time.sleep(0.01)
        one.exec('COMMIT')
        thread.join()
        check(results[0].error is None, '%s: %s' % (sql, results[0].error))
    check(server.one('SELECT n FROM o') == '4002', 'the counter is %s' % server.one('SELECT n FROM o'))
    one.close()
    two.close()


def test(options):
    if not ENGINE:
        return
    server = cluster.make('largeids', conf={'effective_io_concurrency': '100', 'maintenance_io_concurrency': '100'})
    server.sql("CREATE TABLE t (k int, s text) USING %s; INSERT INTO t VALUES (0, 'first'); "
               "CREATE TABLE o (id int, n int) USING %s; INSERT INTO o VALUES (1, 0)" % (AM, AM))
    jump(server, 't')
    server.sql("INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, %d) i; CREATE INDEX t_k ON t (k)" % (ROWS - 1))
    check(int(server.one("SELECT max((ctid::text::point)[0]) FROM t")) > 262143, 'row ids did not jump')
    with server.connect() as c:
        for brin in (False, True):
            c.exec('ANALYZE t')
            check(c.one("SELECT reltuples FROM pg_class WHERE relname = 't'") == str(ROWS), 'reltuples after ANALYZE')
            check(c.one("SELECT n_distinct FROM pg_stats WHERE tablename = 't' AND attname = 'k'") == '-1', 'the sample')
            c.exec('SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off')
            check(c.one('SELECT count(*) FROM t WHERE k BETWEEN 100 AND 3099') == '3000', 'bitmap scan')
            c.exec('RESET ALL')
            if not brin:
                recheck(server)
                c.exec('DROP INDEX t_k; CREATE INDEX t_brin ON t USING brin (k) WITH (pages_per_range = 4096)')
        check('Bitmap Heap Scan' in str(c.rows('SET enable_seqscan = off; EXPLAIN SELECT count(*) FROM t WHERE k < 100')), 'BRIN is not used')
        check(c.one('SELECT count(*) FROM t WHERE k < 100') == '100', 'BRIN scan')
        c.exec('RESET ALL')
        c.exec('VACUUM ANALYZE t')
        check(c.one('SELECT count(*) FROM t TABLESAMPLE BERNOULLI (100)') == str(ROWS), 'sample')
        # what functions of index expressions see of the size while ANALYZE computes statistics
        c.exec('CREATE FUNCTION f(int) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS '
               '$$ BEGIN RETURN (SELECT count(*) FROM t WHERE k BETWEEN 4990 AND 4999); END $$')
        c.exec("ALTER FUNCTION f SET enable_seqscan = off; CREATE INDEX o_f ON o (f(id)); INSERT INTO o VALUES (2, 0); ANALYZE o")
        check(c.one("SELECT most_common_vals FROM pg_stats WHERE tablename = 'o_f'") == '{10}', 'BRIN during ANALYZE')
        c.exec('DROP INDEX o_f')
    server.verify()
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
