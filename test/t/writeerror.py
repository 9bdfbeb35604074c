#!/usr/bin/env python3
"""A page that cannot be written is an error of the statement that needed its frame, or makes the pool worker try
again; afterwards both can be interrupted as before."""
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

LIMIT = 18 << 20        # beyond a WAL segment, below the table


def limit_files(pid, size):
    """Writes of the process beyond that size fail with EFBIG."""
    subprocess.run(['prlimit', '--pid', str(pid), '--fsize=%s:unlimited' % size], check=True, **harness.as_user())


def backend(server):
    with server.connect() as c:
        pid = int(c.one('SELECT pg_backend_pid()'))
        limit_files(pid, LIMIT)
        # another session leaves dirty pages; reading others pushes them out
        server.sql("UPDATE t SET x = repeat('y', 1000) WHERE id > 39700")
        r = c.try_("SELECT sum(length((SELECT x FROM t WHERE ctid = format('(%s,1)', n)::tid))) FROM generate_series(0, 4000) n")
        check(r.error and 'could not write block' in r.error.primary, 'no write failed: %s' % r.error)
        say('backend: %s' % r.error.primary)
        c.exec("SET statement_timeout = '200ms'")
        r = c.try_('SELECT pg_sleep(10)')
        check(r.error and r.error.sqlstate == '57014', 'a statement cannot be cancelled any more: %s' % r.error)
        limit_files(pid, 'unlimited')


def worker(server):
    pid = int(server.one("SELECT pid FROM pg_stat_activity WHERE backend_type = 'rowan pool worker'"))
    limit_files(pid, LIMIT)
    with server.connect() as c:
        c.exec("UPDATE t SET x = repeat('z', 1000) WHERE id > 39900")       # they stay in the pool
        c.exec("SET statement_timeout = '3s'")
        c.try_('CHECKPOINT')
        end = time.time() + 20
        while not re.search('pool worker.* ERROR: .*could not write block', server.log_text()):
            check(time.time() < end, 'the worker had no error')
            time.sleep(0.1)
        limit_files(pid, 'unlimited')
        c.exec("SET statement_timeout = '60s'")
        c.exec('CHECKPOINT')
        c.exec('CREATE DATABASE d')
        c.exec('DROP DATABASE d')       # waits for the worker to serve a barrier


def test(options):
    if not ENGINE:
        return
    server = cluster.make('writeerror', conf={'rowan.buffers': '1MB', 'rowan.clean_interval': '0'})
    server.sql("CREATE TABLE t (id int, x text) USING %s; "
               "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 40000) i; CHECKPOINT" % AM)
    backend(server)
    worker(server)
    rows = server.sql('SELECT count(*), min(length(x)), count(*) FILTER (WHERE x LIKE \'z%\') FROM t')
    check(rows == [('40000', '1000', '100')], 'wrong rows: %s' % rows)
    server.verify('t')
    server.restart('immediate')
    server.verify('t')
    server.stop()
    server.check_log()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
