#!/usr/bin/env python3
"""FOR KEY SHARE of rows, and references to them, while others move them all the time, committing or not, keys never changing:
each finds the row, exactly once, and never fails, whatever moment of a move it meets.

    keyshare.py --seconds 60
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check, say

ROWS = 3
UPDATES = ('n = n + 1', 'n = n + 1', "v = v || 'x'", 'n = n + 1, v = left(v, 1)')


class Storm:
    def __init__(self, server, seed, seconds):
        self.server, self.seed, self.until = server, seed, time.time() + seconds
        self.problem, self.moves, self.locks = None, 0, 0

    def going(self):
        return self.problem is None and time.time() < self.until

    def mover(self, row):
        """Transactions of one to four updates of that row, in subtransactions or not, that are taken back or not."""
        def move(c, rng):
            c.exec('BEGIN')
            for _ in range(rng.choice((1, 1, 2, 4))):
                save = rng.random() < 0.3
                if save:
                    c.exec('SAVEPOINT s')
                c.exec('UPDATE q SET %s WHERE k = %d' % (rng.choice(UPDATES), row))
                if save and rng.random() < 0.6:
                    c.exec('ROLLBACK TO s')
            c.exec(rng.choice(('COMMIT', 'ROLLBACK')))
            self.moves += 1
        return move

    def lock(self, c, rng):
        k = rng.randint(1, ROWS)
        if rng.random() < 0.2:
            c.exec('INSERT INTO f VALUES (%d)' % k)
            return
        isolation = rng.choice(('READ COMMITTED', 'REPEATABLE READ'))
        c.exec('BEGIN ISOLATION LEVEL ' + isolation)
        found = c.rows('SELECT k FROM q WHERE k = %d FOR KEY SHARE%s' % (k, rng.choice(('', '', ' NOWAIT', ' SKIP LOCKED'))))
        check(found == [(str(k),)], 'FOR KEY SHARE of row %d under %s: %s' % (k, isolation, found))
        again = c.rows('SELECT k FROM q WHERE k = %d FOR KEY SHARE' % k)
        check(again == found, 'FOR KEY SHARE of row %d again: %s' % (k, again))
        c.exec('COMMIT')
        self.locks += 1

    def guarded(self, action, number):
        rng = random.Random(self.seed * 100 + number)
        try:
            with self.server.connect() as c:
                while self.going():
                    action(c, rng)
        except Exception as e:
            self.problem = self.problem or '%s: %s' % (type(e).__name__, e)

    def run(self):
        actions = [self.mover(k) for k in range(1, ROWS + 1)] + [self.lock] * 4
        threads = [threading.Thread(target=self.guarded, args=(a, n)) for n, a in enumerate(actions)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        say('seed %d: %d transactions that move rows, %d that lock them' % (self.seed, self.moves, self.locks))
        check(self.problem is None, 'seed %d: %s' % (self.seed, self.problem))


def test(options):
    server = cluster.make('keyshare', conf=dict(autovacuum='off'))
    with server.connect() as c:
        c.exec("CREATE TABLE q (k int PRIMARY KEY, v text, n int) USING %s; CREATE INDEX ON q (n); CREATE TABLE f (k int REFERENCES q) USING %s; "
               "INSERT INTO q SELECT i, 'a', 0 FROM generate_series(1, %d) i" % (AM, AM, ROWS))
    Storm(server, options.seed, options.seconds or (60 if options.long else 6)).run()
    server.verify()
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--seconds', type=int, help='how long')
    harness.main(test, parser)
