#!/usr/bin/env python3
"""A write that the disk lost: one page of a file is as it was at an earlier checkpoint, its checksums right.

Nobody can promise right answers then.  But no statement may hang or crash; and where rows are missed, verify says so.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, Failure, check, say

PAGE = 8192
INDEX_AM = 'rowan_btree' if ENGINE else 'btree'
SCAN = 'SET enable_seqscan = {seq}; SET enable_bitmapscan = off; SET enable_indexscan = {index}; SET enable_indexonlyscan = {index}'
QUESTIONS = [(SCAN.format(seq='on', index='off'), 'SELECT count(*), sum(id) FROM t'),
             (SCAN.format(seq='off', index='on'), 'SELECT count(*), sum(id) FROM t WHERE s > $$$$'),
             (SCAN.format(seq='off', index='on'), 'SELECT count(id), sum(id) FROM (SELECT id FROM t WHERE s > $$$$ ORDER BY s DESC, id DESC OFFSET 0) x')] + [
    (SCAN.format(seq='off', index='on'), 'SELECT count(*), sum(id) FROM t WHERE s = md5($$%d$$)' % i) for i in range(1, 6000, 200)]
WRITES = ["UPDATE t SET v = v + 1 WHERE id % 7 = 0", "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 600) i",
          'DELETE FROM t WHERE id % 3 = 0', 'VACUUM t']


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def lose(path, then, now, block):
    """The file as it is now, but for one block."""
    with open(path, 'r+b') as f:
        f.truncate(0)
        f.write(now[:block * PAGE] + then[block * PAGE:(block + 1) * PAGE] + now[(block + 1) * PAGE:])


def complaints(c, name):
    r = c.try_("SELECT count(*) FROM rowan.verify('%s', true)" % name if name == 'i' else "SELECT count(*) FROM rowan.verify('t')")
    return r.error is not None or r.rows != [('0',)]


def ask(c, what, answers):
    """How many answers were wrong or errors; Failure if one did not come."""
    wrong = 0
    for (setting, question), answer in zip(QUESTIONS, answers):
        c.exec(setting)
        r = c.try_(question)
        if r.error is not None:
            check(r.error.sqlstate in ('XX001', 'XX002', 'XX000'), '%s: %s: %s: %s' % (what, question, r.error.sqlstate, r.error))
        wrong += r.error is not None or r.rows != answer
    return wrong


def write(c, what):
    for statement in WRITES:
        r = c.try_(statement)
        if r.error is not None:
            check(r.error.sqlstate in ('XX001', 'XX002', 'XX000', '23505'), '%s: %s: %s: %s' % (what, statement, r.error.sqlstate, r.error))


def test(options):
    server = cluster.make('lostwrite', conf={'statement_timeout': '30s', 'fsync': 'off'})
    with server.connect() as c:
        c.exec('CREATE TABLE t (id int, s text, v int) USING %s; CREATE INDEX i ON t USING %s (s, id)' % (AM, INDEX_AM))
        c.exec('INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 3000) i; CHECKPOINT')
        paths = {n: server.path_of(n) for n in 'ti'}
        then = {n: read(p) for n, p in paths.items()}
        c.exec('INSERT INTO t SELECT i, md5(i::text) FROM generate_series(3001, 6000) i; UPDATE t SET v = 1 WHERE id % 4 = 0; CHECKPOINT')
        answers = [c.rows(q) for s, q in QUESTIONS if not c.exec(s).error]
    check(answers[0] == answers[1] == answers[2] == [('6000', '18003000')], 'answers %s' % answers[:3])
    server.stop()
    now = {n: read(p) for n, p in paths.items()}
    lost = missed = 0
    for name, path in paths.items():
        blocks = [b for b in range(len(then[name]) // PAGE) if then[name][b * PAGE:(b + 1) * PAGE] != now[name][b * PAGE:(b + 1) * PAGE]]
        for block in blocks[:4] + blocks[4::len(blocks) if not options.long else 1]:
            what = 'block %d of %s as it was' % (block, name)
            lose(path, then[name], now[name], block)
            server.start()
            with server.connect() as c:
                wrong = ask(c, what, answers)
                found = complaints(c, name)
                if ENGINE:
                    check(found or not wrong, '%s: %d wrong answers, and verify is silent' % (what, wrong))
                write(c, what)
            # what was written has gone over the files
            server.stop()
            for n, p in paths.items():
                lose(p, now[n], now[n], 0)
            lost += 1
            missed += wrong > 0
    say('%d writes lost, %d had an effect on answers' % (lost, missed))
    check(missed > 0 or not ENGINE, 'no lost write had an effect')
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
