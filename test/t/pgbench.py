#!/usr/bin/env python3
"""pgbench -i with all tables in the engine, the TPC-B-like run with 8 clients; the four sums agree, also
after kill -9 in the middle."""
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, as_user, check, say

SUMS = """SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
    (SELECT sum(bbalance) FROM pgbench_branches), (SELECT coalesce(sum(delta), 0) FROM pgbench_history),
    (SELECT count(*) FROM pgbench_history)"""


def pgbench(server, *arguments):
    return subprocess.Popen([server.bindir + '/pgbench'] + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, errors='replace', cwd=server.dir,
                            env=server.environment({'PGOPTIONS': '-c default_table_access_method=' + AM}), **as_user())


def sums_agree(server, when):
    a, t, b, h, n = (int(x) for x in server.sql(SUMS)[0])
    check(a == t == b == h, '%s: accounts %d, tellers %d, branches %d, history %d' % (when, a, t, b, h))
    return n


def test(options):
    scale, seconds = ('10', 60) if options.long else ('3', 6)
    server = cluster.make('pgbench', conf={'rowan.buffers': '32MB', 'shared_buffers': '32MB', 'max_wal_size': '512MB'})
    p = pgbench(server, '-i', '-q', '-s', scale)
    out = p.communicate(timeout=600)[0]
    check(p.returncode == 0, 'pgbench -i: ' + out[-1500:])
    ams = server.sql("SELECT DISTINCT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relname LIKE 'pgbench%' AND relkind = 'r'")
    check(ams == [(AM,)], 'tables are in %s' % ams)
    p = pgbench(server, '-n', '-c', '8', '-j', '2', '-T', str(seconds), '-M', 'prepared')
    out = p.communicate(timeout=seconds + 300)[0]
    check(p.returncode == 0, 'pgbench: ' + out[-1500:])
    done = int(re.search(r'actually processed: (\d+)', out).group(1))
    check('number of failed transactions: 0 ' in out, out[-800:])
    check(sums_agree(server, 'after the run') == done, 'history has another number of rows than %d' % done)
    say('scale %s, 8 clients, %d s: %s tps' % (scale, seconds, re.search(r'tps = ([\d.]+)', out).group(1)))
    server.verify()
    for _ in range(5 if options.long else 2):
        p = pgbench(server, '-n', '-c', '8', '-j', '2', '-T', '60')
        time.sleep(3 if options.long else 1.5)
        server.kill9()
        p.communicate(timeout=60)
        server.start()
        now = sums_agree(server, 'after kill -9')
        check(now >= done, 'history has shrunk')
        done = now
        server.verify()
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
