#!/usr/bin/env python3
"""Wrong settings are told clearly: not preloaded, wal_level = minimal."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, Failure, check, say


def test(options):
    if not ENGINE:
        return
    server = cluster.Cluster('bare', preload='')
    server.start()
    with server.connect() as c:
        c.exec('CREATE TABLE h (id int)')
        errors = []
        for sql in ('CREATE EXTENSION rowan', 'CREATE TABLE t (id int) USING rowan'):
            r = c.try_(sql)
            if r.error:
                errors.append(r.error)
                break
        check(errors, 'a table could be made without shared_preload_libraries')
        e = errors[0]
        check('shared_preload_libraries' in e.primary + e.detail + e.hint, 'the error does not name the setting: %s' % e)
        check(e.hint, 'no hint: %s' % e)
        say('without preload: %s %s / %s' % (e.sqlstate, e.primary, e.hint))
        check(c.try_('INSERT INTO h VALUES (1)').error is None, 'heap tables must work on')
    # a table made with the library, then a start without it
    server.stop()
    server.preload = harness.PRELOAD
    server.write_conf()
    server.start()
    server.create_extension()
    server.sql('CREATE TABLE t (id int) USING rowan; INSERT INTO t VALUES (7)')
    server.stop()
    server.preload = ''
    server.write_conf()
    server.start()
    with server.connect() as c:
        r = c.try_('SELECT * FROM t')
        check(r.error and r.error.hint and 'shared_preload_libraries' in str(r.error.primary + r.error.hint),
              'reading a table without the library: %s %s' % (r.rows, r.error))
        check(c.alive(), 'the session is gone')
    server.stop()
    server.preload = harness.PRELOAD
    server.write_conf(wal_level='minimal', max_wal_senders='0')
    try:
        server.start()
        with server.connect() as c:
            r = c.try_('CREATE TABLE u (id int) USING rowan; INSERT INTO u VALUES (1)')
            check(r.error, 'wal_level = minimal is not refused')
            say('wal_level = minimal: %s' % r.error.primary)
        server.stop()
    except Failure:
        check('wal_level' in server.log_text(), 'refused to start without a word about wal_level')
        server.postmaster = None
        say('wal_level = minimal: ' + [x for x in server.log_text().split('\n') if 'wal_level' in x][-1])
    server.write_conf(wal_level='replica', max_wal_senders='4')
    server.start()
    check(server.one('SELECT id FROM t') == '7', 'the row is gone')
    server.verify()
    server.stop()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
