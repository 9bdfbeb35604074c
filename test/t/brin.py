#!/usr/bin/env python3
"""BRIN summarises beside writers: it ends, and what it says of a range of blocks is true.

First by hand: the summary of a block stops at its first row, an expression of the index waiting for a lock, while
the record that another row of it was deleted becomes unneeded and is reclaimed.  Then sessions write, VACUUM and
summarise at the same time, and in each snapshot bitmap scans by BRIN answer as sequential scans do.
In between: rows stay in place where only BRIN indexes change.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

LOCK = 4711
PAUSE = """
CREATE FUNCTION paused(id int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('test.pause', true) = 'on' THEN
        PERFORM pg_advisory_lock_shared(%d);
        PERFORM pg_advisory_unlock_shared(%d);
    END IF;
    RETURN id;
END $$""" % (LOCK, LOCK)


def answers(c, table, conditions):
    """count and sum by both kinds of scan; the caller's transaction sees to it that they use one snapshot."""
    result = []
    for seq in ('on', 'off'):
        c.exec('SET enable_seqscan = %s; SET enable_bitmapscan = %s' % (seq, 'off' if seq == 'on' else 'on'))
        result.append([c.rows('SELECT count(*), sum(id) FROM %s WHERE %s' % (table, x)) for x in conditions])
    return result


def check_answers(c, table, conditions, what):
    c.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
    seq, brin = answers(c, table, conditions)
    c.exec('COMMIT')
    for condition, a, b in zip(conditions, seq, brin):
        check(a == b, '%s: %s: sequential scan %s, BRIN %s' % (what, condition, a, b))


def reclaimed_under_a_summary(server):
    """Rows deleted under an old snapshot; reclaimed when that is gone, the summary under way."""
    with server.connect() as c, server.connect() as old, server.connect() as a, \
            server.connect() as holder, server.connect() as writer, server.connect() as running:
        c.exec(PAUSE)
        c.exec("CREATE TABLE d (id int, pad text) USING %s" % AM)
        c.exec("CREATE INDEX db ON d USING brin (paused(id)) WITH (pages_per_range = 1)")
        c.exec("INSERT INTO d SELECT g, repeat('x', 20) FROM generate_series(1, 2000) g")
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        check(old.one('SELECT count(*) FROM d') == '2000', 'rows')
        # the records of the deletions, and enough others that their page is no writer's any more
        writer.exec('DELETE FROM d WHERE id IN (1, 2, 3)')
        writer.exec("UPDATE d SET pad = repeat('y', 20) WHERE id > 1000")
        # while it runs no snapshot moves the summary's idea of what everybody sees
        running.exec('BEGIN; SELECT pg_current_xact_id()')
        holder.exec('SELECT pg_advisory_lock(%d)' % LOCK)
        c.exec("SELECT brin_desummarize_range('db', 0)")
        a.exec("SET test.pause = on; SET statement_timeout = '120s'")
        a.send("SELECT brin_summarize_new_values('db') > 0")
        while c.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == '0':
            check(not a.ready(), 'the summary did not wait')
            time.sleep(0.02)
        old.exec('COMMIT')
        for i in range(12):
            writer.exec("UPDATE d SET pad = repeat('%s', 20) WHERE id > 1000" % 'pq'[i % 2])
        holder.exec('SELECT pg_advisory_unlock(%d)' % LOCK)
        r = a.receive()
        check(r.error is None, 'summary while versions were reclaimed: %s' % r.error)
        check(r.rows == [('t',)], 'summarised: %s' % r.rows)
        running.exec('COMMIT')
        conditions = ['paused(id) = %d' % x for x in (1, 3, 4, 1000, 2000)] + ['paused(id) < 20', 'paused(id) > 1990']
        check_answers(c, 'd', conditions, 'after the summary')
    server.verify()
    say('summary over reclaimed versions: done')


def stays_in_place(server):
    """A change of columns that only BRIN indexes have: from 16 on the row stays, as on heap.  A summary made anew, by
    brin_summarize_range or REINDEX, must have the values that an old snapshot sees."""
    with server.connect() as c, server.connect() as old:
        c.exec('CREATE TABLE s (id int, v int, e int) USING %s' % AM)
        c.exec('CREATE INDEX s_v ON s USING brin (v) WITH (pages_per_range = 1)')
        c.exec('CREATE INDEX s_e ON s USING brin ((e * 2)) WITH (pages_per_range = 1) WHERE id > 0')
        c.exec('INSERT INTO s SELECT g, g, g FROM generate_series(1, 3000) g WHERE g <> 700')
        # the values that change are beyond all others of their block
        c.exec('INSERT INTO s VALUES (700, -700, -700)')
        c.exec("SELECT brin_summarize_new_values('s_v'), brin_summarize_new_values('s_e')")
        old.exec('BEGIN ISOLATION LEVEL REPEATABLE READ')
        old.exec('SELECT 1')
        c.exec('BEGIN')
        for change in ('v = v + 1000000', 'e = e + 1000000', 'v = v + 1', 'v = v - 1'):
            c.exec('UPDATE s SET %s WHERE id = 700' % change)
        hot = int(c.one("SELECT n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 's'"))
        c.exec('COMMIT')
        check(not ENGINE or hot == (4 if harness.major() >= 16 else 0), '%d of 4 updates stayed in place' % hot)
        conditions = ['v = -700', 'v = 999300', 'e * 2 = -1400 AND id > 0', 'e * 2 = 1998600 AND id > 0', 'v > 2990']
        for again in ('REINDEX TABLE s',        # first: it would wait for the old snapshot's scans
                      "SELECT brin_desummarize_range(i, b), brin_summarize_range(i, b) "
                      "FROM (VALUES ('s_v'::regclass), ('s_e')) x(i), generate_series(0, 11) b", 'VACUUM s'):
            c.exec(again)
            check_answers(c, 's', conditions, again)
            seq, brin = answers(old, 's', conditions)
            check(seq == brin, 'old snapshot after %s: sequential scan %s, BRIN %s' % (again, seq, brin))
            check(seq[0] == [('1', '700')], 'old snapshot: %s' % seq)
        old.exec('COMMIT')
    server.verify()
    say('%d of 4 changes of summarized columns stayed in place' % hot)


def write(server, n, until, seed, problems):
    rng = random.Random(seed)
    key = 1000000 * (n + 1)
    try:
        with server.connect() as c:
            while time.time() < until and not problems:
                c.exec("INSERT INTO b (k, v) SELECT g, 'z' FROM generate_series(%d, %d) g" % (key, key + 3))
                c.exec('BEGIN')
                c.exec("UPDATE b SET k = -k WHERE k = %d" % (key + 1))
                c.exec("UPDATE b SET v = 'w' WHERE k = %d" % (key + 2))
                c.exec('DELETE FROM b WHERE id = (SELECT id FROM b ORDER BY id OFFSET %d LIMIT 1)' % rng.randint(0, 40))
                c.exec(rng.choice(['COMMIT', 'COMMIT', 'ROLLBACK']))
                key += 4
    except Exception as e:
        problems.append('writer: %s' % e)


def summarise(server, until, problems):
    try:
        with server.connect() as c:
            while time.time() < until and not problems:
                c.exec("SELECT brin_summarize_new_values('b_id')")
                c.exec("SELECT brin_desummarize_range('b_k', 0), brin_summarize_new_values('b_k')")
                c.exec('VACUUM b')
    except Exception as e:
        problems.append('summary: %s' % e)


def compare(server, until, problems):
    conditions = ['k > 0', 'k < 0', 'k BETWEEN 1000000 AND 1000400', 'id < 300', 'id > 500', 'id BETWEEN 100 AND 160']
    times = 0
    try:
        with server.connect() as c:
            while time.time() < until and not problems:
                check_answers(c, 'b', conditions, 'beside writers')
                times += 1
        say('compared %d times' % times)
    except Exception as e:
        problems.append('compare: %s' % e)


def beside_writers(server, seconds, seed):
    with server.connect() as c:
        c.exec('CREATE TABLE b (id serial, k int, v text) USING %s' % AM)
        for column in ('id', 'k'):
            c.exec('CREATE INDEX b_%s ON b USING brin (%s) WITH (pages_per_range = 1, autosummarize)' % (column, column))
        c.exec("INSERT INTO b (k, v) SELECT g, 'a' FROM generate_series(1, 1000) g")
    problems = []
    until = time.time() + seconds
    threads = [threading.Thread(target=write, args=(server, n, until, seed * 100 + n, problems)) for n in range(3)]
    threads += [threading.Thread(target=f, args=(server, until, problems)) for f in (summarise, compare)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not problems, '\n'.join(problems[:3]))
    with server.connect() as c:
        check_answers(c, 'b', ['k > 0', 'k < 0', 'id > 500'], 'in the end')
    server.verify()


def test(options):
    server = cluster.make('brin', conf=dict(autovacuum='on', autovacuum_naptime='1s'))
    reclaimed_under_a_summary(server)
    stays_in_place(server)
    beside_writers(server, 120 if options.long else 8, options.seed)
    server.check_log()
    server.stop()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
