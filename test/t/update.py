#!/usr/bin/env python3
"""ALTER EXTENSION rowan UPDATE, from 0.1.0: what it leaves is what CREATE EXTENSION makes; tables,
what uses the old objects, and privileges that were granted stay; the library serves those who have
not updated yet."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import ENGINE, check, say

OBJECTS = """
SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid),
obj_description(p.oid, 'pg_proc'),
    (SELECT array_agg(a::text ORDER BY 1) FROM unnest(proacl) a)::text, NULL
FROM pg_proc p WHERE pronamespace = 'rowan'::regnamespace
UNION ALL
SELECT 'view', c.oid::regclass::text, pg_get_viewdef(c.oid), obj_description(c.oid, 'pg_class'),
    (SELECT array_agg(a::text ORDER BY 1) FROM unnest(relacl) a)::text,
    (SELECT string_agg(attname || ' ' || atttypid::regtype, ', ' ORDER BY attnum) FROM pg_attribute
     WHERE attrelid = c.oid AND attnum > 0)
FROM pg_class c WHERE relnamespace = 'rowan'::regnamespace AND relkind = 'v'
UNION ALL
SELECT 'member', pg_describe_object(classid, objid, 0), NULL, NULL, NULL, NULL FROM pg_depend
WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'rowan') AND deptype = 'e'
ORDER BY 1, 2"""


def paths(c):
    """From each version that there is a script for, to the default one."""
    default = c.one("SELECT default_version FROM pg_available_extensions WHERE name = 'rowan'")
    rows = c.rows("SELECT source, path FROM pg_extension_update_paths('rowan') WHERE target = '%s'"
                  % default)
    check(all(path for _, path in rows), 'no way to %s: %s' % (default, rows))
    return [source for source, _ in rows], default


def use(c, after):
    """What is there before the update; or is there still."""
    if not after:
        c.exec('CREATE TABLE t (id int PRIMARY KEY, n int) USING rowan; INSERT INTO t SELECT i, 0 '
               'FROM generate_series(1, 5000) i; '
               'CREATE INDEX t_n ON t USING rowan_btree (n); UPDATE t SET n = id; '
               'CREATE VIEW dirt AS SELECT dirty, flushes FROM rowan.pool_stat; '
               'GRANT EXECUTE ON FUNCTION rowan.page_header(bytea) TO PUBLIC; GRANT SELECT ON '
               'rowan.pool_stat TO watcher')
    check(c.one('SELECT count(*), sum(n) FROM t') == '5000', 'rows')
    check(int(c.one('SELECT dirty FROM dirt')) >= 0, 'a view of a user')
    check(c.rows("SELECT * FROM rowan.verify('t')") == []
          and c.rows("SELECT * FROM rowan.verify('t_n', true)") == [], 'verify')
    check(c.one("SELECT has_table_privilege('watcher', 'rowan.pool_stat', 'SELECT') AND "
                "has_function_privilege('watcher', 'rowan.page_header(bytea)', 'EXECUTE')") == 't',
          'privileges that were granted')
    check(c.one("SELECT has_function_privilege('watcher', 'rowan.page_items(bytea)', 'EXECUTE')")
          == 'f', 'privileges that were not')


def test(options):
    if not ENGINE:
        return
    server = cluster.Cluster('update')
    server.start()
    server.sql('CREATE ROLE watcher')
    server.sql('CREATE DATABASE fresh')
    with server.connect('fresh') as c:
        c.exec('CREATE EXTENSION rowan')
        wanted = c.rows(OBJECTS)
        sources, default = paths(c)
    check(len(sources) > 0, 'there is no older version')
    for source in sources:
        db = 'from_' + source.replace('.', '_')
        server.sql('CREATE DATABASE ' + db)
        with server.connect(db) as c:
            c.exec("CREATE EXTENSION rowan VERSION '%s'" % source)
            use(c, False)
            c.exec('ALTER EXTENSION rowan UPDATE')
            check(c.one("SELECT extversion FROM pg_extension WHERE extname = 'rowan'") == default,
                  'the version')
            use(c, True)
            check(c.try_('DROP VIEW rowan.trees').error is not None,
                  'a new view does not belong to the extension')
            c.exec('REVOKE EXECUTE ON FUNCTION rowan.page_header(bytea) FROM PUBLIC; REVOKE '
                   'SELECT ON rowan.pool_stat FROM watcher; '
                   'DROP VIEW dirt')
            got = c.rows(OBJECTS)
            for a, b in zip(got, wanted):
                check(a == b, 'updated: %s\nnew: %s' % (a, b))
            check(len(got) == len(wanted), '%d objects, new: %d' % (len(got), len(wanted)))
            for view in ('pool_stat', 'trees', 'versions', 'worker_stat'):
                c.rows('SELECT * FROM rowan.' + view)
            c.exec('DROP TABLE t; DROP EXTENSION rowan')
    server.check_log()
    server.stop()
    say('from %s to %s: %d objects' % (', '.join(sources), default, len(wanted)))


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
