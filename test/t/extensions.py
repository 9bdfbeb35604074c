#!/usr/bin/env python3
"""Other people's extensions with rowan as the default access method: their scripts make heap tables, so
that pg_cron (package postgresql-NN-cron), which treats its table as a catalog, works as on heap; one whose
table is Rowan's all the same gets errors and loses nothing.  pg_repack (postgresql-NN-repack) is refused
where it would mix up files of two access methods.  Files exchanged behind our back are recognised."""
import difflib
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, ENGINE, check, say

DEFAULT = 'default_table_access_method'
# what only rowan says about a script that made tables
NOTICE = ('use access method "heap" instead of', "may treat the extension's tables as heap tables", 'use ALTER TABLE ... SET ACCESS METHOD')


def method(c, table):
    return c.one("SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.oid = '%s'::regclass" % table)


# ---- scripts ----

SCRIPTS = {
    'ex_plain': {'1.0': 'CREATE TABLE ex_plain (id int); CREATE TABLE ex_plain_as AS SELECT 1 AS id; CREATE MATERIALIZED VIEW ex_plain_m AS SELECT 1 AS id; '
                        'CREATE TABLE ex_plain_p (id int) PARTITION BY RANGE (id); CREATE TABLE ex_plain_p1 PARTITION OF ex_plain_p DEFAULT; '
                        "DO $$ BEGIN BEGIN EXECUTE 'CREATE TABLE ex_plain_do (id int)'; PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END; "
                        "EXECUTE 'CREATE TABLE ex_plain_do (id int)'; END $$",
                 '1.0--1.1': 'CREATE TABLE ex_plain_new (id int)'},
    'ex_using': {'1.0': 'CREATE TABLE ex_using (id int) USING rowan'},
    'ex_sets': {'1.0': "SET LOCAL default_table_access_method = rowan; CREATE TABLE ex_sets (id int)"},
    'ex_none': {'1.0': 'CREATE FUNCTION ex_none() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$'},
    'ex_child': {'1.0': 'CREATE TABLE ex_child (id int)', 'requires': 'ex_plain'},
    'ex_fails': {'1.0': 'CREATE TABLE ex_fails (id int); SELECT 1/0'},
}
PLAIN = ['ex_plain', 'ex_plain_as', 'ex_plain_m', 'ex_plain_p1', 'ex_plain_do']


def write_scripts(server):
    folder = server.extension_dir()
    for name, files in SCRIPTS.items():
        for version, sql in files.items():
            if version == 'requires':
                continue
            with open('%s/%s--%s.sql' % (folder, name, version), 'w') as f:
                f.write(sql + ';\n')
        with open('%s/%s.control' % (folder, name), 'w') as f:
            f.write("default_version = '1.0'\nrelocatable = true\n" + ("requires = '%s'\n" % files['requires'] if 'requires' in files else ''))


def told(server, sql, default=AM):
    """Runs it with psql; what it was told."""
    return server.psql(sql, options='-c %s=%s' % (DEFAULT, default), check_=False)


def scripts(server):
    write_scripts(server)
    out = told(server, 'CREATE EXTENSION ex_plain; SHOW %s' % DEFAULT)
    check(out.count('NOTICE') == 1 and 'extension "ex_plain" use access method "heap"' in out, 'the notice: ' + out)
    check(out.strip().endswith(AM), 'the setting afterwards: ' + out)
    out = told(server, "ALTER EXTENSION ex_plain UPDATE TO '1.1'")
    check(out.count('NOTICE') == 1, 'the notice of an update: ' + out)
    with server.connect() as c:
        for t in PLAIN + ['ex_plain_new']:
            check(method(c, t) == 'heap', t + ' is ' + method(c, t))
    # who says something gets it, and who makes no table hears nothing
    for name, made in (('ex_using', AM), ('ex_sets', AM), ('ex_none', None)):
        out = told(server, 'CREATE EXTENSION %s; SHOW %s' % (name, DEFAULT))
        check('NOTICE' not in out and out.strip() == AM, '%s: %s' % (name, out))
        with server.connect() as c:
            check(made is None or method(c, name) == made, name)
    server.sql('DROP EXTENSION ex_plain')
    out = told(server, 'CREATE EXTENSION ex_child CASCADE; SHOW ' + DEFAULT)
    check(out.count('use access method') == 2 and out.strip().endswith(AM), 'CASCADE: ' + out)
    # an error, in a transaction and in a subtransaction
    out = told(server, 'CREATE EXTENSION ex_fails; SHOW %s; BEGIN; SAVEPOINT a; CREATE EXTENSION ex_fails; ROLLBACK TO a; SHOW %s; '
                       'CREATE TABLE after_failure (id int); COMMIT' % (DEFAULT, DEFAULT))
    check([x for x in out.split('\n') if x == AM] == [AM, AM], 'the setting after an error: ' + out)
    with server.connect() as c:
        check(method(c, 'after_failure') == AM, 'a table made after an error')
    # where heap is the default there is nothing to say
    server.sql('DROP EXTENSION ex_child, ex_plain')
    check('use access method' not in told(server, 'CREATE EXTENSION ex_child CASCADE', 'heap'), 'a notice about heap')


def catalog_of_its_own(server):
    """An extension that keeps a table as core keeps its catalogs (as pg_cron and pg_ivm do), with rowan as the default: its table is
    a heap and works; once somebody makes it Rowan's, each such call is an error that loses nothing."""
    SCRIPTS['ex_catalog'] = {'1.0': "CREATE TABLE ex_catalog (id int, s text); CREATE INDEX ON ex_catalog (id); "
                             "CREATE FUNCTION ex_call(text, regclass, tid) RETURNS int LANGUAGE c STRICT AS '%s', 'heap_call'" % harness.server_module('heapcalls')}
    write_scripts(server)
    told(server, 'CREATE EXTENSION ex_catalog')
    calls = ['CatalogTupleInsert', 'CatalogTupleInsert', 'CatalogTupleUpdate', 'CatalogTupleDelete']
    with server.connect(options='-c %s=%s' % (DEFAULT, AM)) as c:
        for i, call in enumerate(calls):
            c.exec("SELECT ex_call('%s', 'ex_catalog', '(0,%d)')" % (call, 1 if i == 2 else 2))
        check(c.rows('TABLE ex_catalog') == [('-1', 'alien')], 'its table: %s' % c.rows('TABLE ex_catalog'))
        c.exec('ALTER TABLE ex_catalog SET ACCESS METHOD ' + AM)
        for call in calls:
            r = c.try_("SELECT ex_call('%s', 'ex_catalog', '(0,1)')" % call)
            check(r.error is not None and r.error.sqlstate == '0A000' and 'SET ACCESS METHOD heap' in r.error.hint, '%s: %s' % (call, r.error))
    server.verify('ex_catalog')
    server.restart()
    check(server.sql('TABLE ex_catalog') == [('-1', 'alien')], 'its table after a restart')


# ---- pg_cron ----

CRON = """
SELECT cron.schedule('a', '0 10 * * *', 'SELECT 1');
SELECT cron.schedule('a', '0 11 * * *', 'SELECT 2');
SELECT cron.schedule('0 3 * * *', 'VACUUM');
SELECT cron.schedule_in_database('b', '30 3 * * 6', 'VACUUM', 'postgres', 'postgres', true);
SELECT cron.alter_job(1, '5 * * * *', 'SELECT 3');
SELECT jobid, schedule, command, active, jobname FROM cron.job ORDER BY 1;
SELECT cron.unschedule('a');
SELECT cron.unschedule('no such job');
SELECT cron.unschedule(2);
SELECT cron.unschedule(2);
SELECT cron.schedule('bad', '* * *', 'SELECT 1');
UPDATE cron.job SET active = false WHERE jobid = 3;
DELETE FROM cron.job WHERE jobid = 3;
SELECT count(*) FROM cron.job;
SELECT cron.schedule('c', '0 0 1 1 *', 'SELECT 4');
SELECT jobname, command FROM cron.job ORDER BY 1;
"""


def cron_server(am, preload='rowan,pg_cron'):
    conf = {DEFAULT: am, 'cron.database_name': 'postgres', 'cron.use_background_workers': 'on'}
    server = cluster.Cluster('cron_' + am, conf=conf, preload=preload, checksums=False)
    server.provide('pg_cron', 'cron')
    server.provide('pg_repack', 'repack')
    server.start()
    server.create_extension()
    return server


def wait_for_run(server):
    """pg_cron's worker runs a job, and notes it by SQL."""
    server.sql("SELECT cron.schedule('each minute', '* * * * *', 'SELECT 42')")
    done = "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded' AND command = 'SELECT 42'"
    harness.wait_for(lambda: server.one(done) != '0', 'pg_cron has not run its job', timeout_s=180, pause_s=1)


def cron(options):
    answers = {}
    for am in ('heap', AM):
        server = cron_server(am)
        server.psql('CREATE EXTENSION pg_cron')
        with server.connect() as c:
            check(method(c, 'cron.job') == 'heap' and method(c, 'cron.job_run_details') == 'heap', 'tables of pg_cron')
        answers[am] = server.psql(CRON, check_=False, flags=('-XAt',))
        if am == AM and options.long:
            wait_for_run(server)
        server.restart()
        answers[am] += server.psql('SELECT jobname, command FROM cron.job WHERE jobname <> $$each minute$$ ORDER BY 1')
        server.verify()
        server.stop()
        server.check_log()
        if am == 'heap':
            server.destroy()
    check(answers[AM] == answers['heap'], 'pg_cron answers\n%s\nand on heap\n%s' % (answers[AM], answers['heap']))
    check('4|SELECT' not in answers[AM] and answers[AM].count('SELECT 4') == 2, answers[AM])


def cron_on_rowan(server):
    """Somebody moves its table: errors that say what is the matter, no loss."""
    server.sql("CREATE EXTENSION pg_cron; SELECT cron.schedule('a', '0 10 * * *', 'SELECT 1'); ALTER TABLE cron.job SET ACCESS METHOD " + AM)
    with server.connect() as c:
        for sql in ("SELECT cron.schedule('b', '0 10 * * *', 'SELECT 1')", 'SELECT cron.unschedule(1)', "DO $$ BEGIN PERFORM cron.unschedule(1); END $$"):
            r = c.try_(sql)
            check(r.error is None or (r.error.sqlstate == '0A000' and 'SET ACCESS METHOD heap' in r.error.hint), '%s: %s' % (sql, r.error))
            if 'unschedule' in sql:
                check(r.error is not None, sql + ' went through')
        jobs = c.rows('SELECT jobid FROM cron.job WHERE jobid = 1')
    check(jobs == [('1',)], 'the job: %s' % jobs)
    server.verify()
    server.restart()
    check(server.one('SELECT count(*) FROM cron.job WHERE jobid = 1') == '1', 'the job after a restart')
    server.sql("ALTER TABLE cron.job SET ACCESS METHOD heap; SELECT cron.unschedule(1)")


# ---- an extension's own suite ----

def suite(folder):
    """The scripts of FOLDER/sql of an extension that is installed, with heap and with rowan as the default: the same output."""
    name = os.path.basename(folder.rstrip('/'))
    for script in sorted(os.listdir(folder + '/sql')):
        if not script.endswith('.sql'):
            continue
        out = {}
        for am in ('heap', AM):
            server = cron_server(am, preload='rowan,' + name)
            out[am] = server.psql(file=os.path.join(folder, 'sql', script), flags=('-Xaq',), check_=False)
            server.verify()
            server.restart()
            server.verify()
            server.stop()
            server.check_log()
        lines = [x for x in out[AM].split('\n') if not any(w in x for w in NOTICE)]
        difference = '\n'.join(difflib.unified_diff(out['heap'].split('\n'), lines, 'heap', AM, lineterm='', n=2))
        check(not difference, '%s of %s:\n%s' % (script, name, difference))
        say('%s of %s: %d lines, the same as with heap' % (script, name, len(lines)))


# ---- pg_repack ----

def repack(server, default, table):
    program = '/usr/lib/postgresql/%d/bin/pg_repack' % harness.major()
    env = server.environment(dict(PGOPTIONS='-c %s=%s' % (DEFAULT, default)))
    p = subprocess.run([program, '-t', table, '--no-superuser-check', '-d', 'postgres', '--no-order'], env=env, text=True, errors='replace',
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    return p.returncode, p.stdout


def swap_by_hand(server, default, table):
    """The exchange alone, after a copy that had been made in time."""
    with server.connect(options='-c %s=%s' % (DEFAULT, default)) as c:
        oid = c.one("SELECT '%s'::regclass::oid" % table)
        c.exec('CREATE TABLE repack.copied AS SELECT * FROM %s; ALTER TABLE repack.copied RENAME TO table_%s' % (table, oid))
        r = c.try_('SELECT repack.repack_swap(%s)' % oid)
        c.exec('DROP TABLE repack.table_' + oid)
        return r.error


def contents(server, table):
    return server.sql('SELECT count(*), sum(id), max(s) FROM ' + table)


def misunderstandings(server):
    """What has nothing to do with it goes on: a configuration file that names no table access method,
    tables and functions of the users' own whose names are pg_repack's."""
    server.sql('DROP EXTENSION IF EXISTS ex_none')
    server.write_conf(**{DEFAULT: 'btree'})
    server.restart()
    server.sql('CREATE EXTENSION ex_none; DROP EXTENSION ex_none')
    server.write_conf(**{DEFAULT: 'heap'})
    server.restart()
    with server.connect() as c:
        c.exec("CREATE SCHEMA repack; CREATE TABLE own (id int) USING %s; CREATE FUNCTION repack.repack_swap(oid) RETURNS text "
               "LANGUAGE sql AS $$ SELECT 'mine' $$" % AM)
        c.exec("DO $$ BEGIN EXECUTE format('CREATE TABLE repack.table_%s USING heap AS SELECT 1', 'own'::regclass::oid); END $$")
        check(c.one("SELECT repack.repack_swap('own'::regclass)") == 'mine', "a user's own function")
        c.exec('DROP SCHEMA repack CASCADE; DROP TABLE own')


def repacking(server):
    server.sql('CREATE EXTENSION pg_repack')
    for table, am in (('rep_rowan', AM), ('rep_heap', 'heap')):
        server.sql("CREATE TABLE %s (id int PRIMARY KEY, s text) USING %s; INSERT INTO %s SELECT i, md5(i::text) FROM generate_series(1, 3000) i; "
                   "DELETE FROM %s WHERE id %% 3 = 0" % (table, am, table, table))
    for table, default, hint in (('rep_rowan', 'heap', 'Rowan tables do not need it'), ('rep_heap', AM, DEFAULT + ' to "heap"')):
        before = contents(server, table)
        status, out = repack(server, default, table)
        check('cannot repack' in out and hint in out, '%s with %s: %s' % (table, default, out))
        check(contents(server, table) == before, table + ' after pg_repack')
        error = swap_by_hand(server, default, table)
        check(error is not None and error.sqlstate == '0A000' and hint in error.hint, 'the exchange alone: %s' % error)
        check(contents(server, table) == before, table + ' after the exchange')
        left = server.sql("SELECT relname FROM pg_class WHERE relnamespace = 'repack'::regnamespace AND relkind = 'r'")
        check(left == [], 'left behind: %s' % left)
    for table, default in (('rep_heap', 'heap'), ('rep_rowan', AM)):
        before = contents(server, table)
        status, out = repack(server, default, table)
        check(status == 0 and 'ERROR' not in out, '%s with %s: %s' % (table, default, out))
        check(contents(server, table) == before, table + ' after a repack that may be')
        server.sql("INSERT INTO %s VALUES (100000, 'new'); DELETE FROM %s WHERE id = 100000" % (table, table))
    server.verify()


# ---- files exchanged ----

def swapped(server):
    """Two tables whose files were exchanged, as such tools do it."""
    server.sql("CREATE TABLE sw_h (id int) USING heap; CREATE TABLE sw_r (id int) USING %s; INSERT INTO sw_h SELECT generate_series(1, 1000); "
               "INSERT INTO sw_r SELECT generate_series(1, 2000); CHECKPOINT; SELECT rowan.flush('sw_r')" % AM)
    swap = ("SET allow_system_table_mods = on; WITH f AS (SELECT oid, relfilenode FROM pg_class WHERE relname IN ('sw_h', 'sw_r')) "
            "UPDATE pg_class c SET relfilenode = (SELECT relfilenode FROM f WHERE f.oid <> c.oid) WHERE relname IN ('sw_h', 'sw_r')")
    server.sql(swap)
    with server.connect() as c:
        for sql in ('SELECT count(*) FROM sw_h', 'INSERT INTO sw_h VALUES (1)', 'VACUUM sw_h', 'TABLE sw_h'):
            r = c.try_(sql)
            check(r.error is not None and r.error.sqlstate == '0A000' and 'Rowan' in r.error.primary, '%s: %s' % (sql, r.error))
        for sql in ('SELECT count(*) FROM sw_r', 'INSERT INTO sw_r VALUES (1)', 'VACUUM sw_r'):
            r = c.try_(sql)
            check(r.error is not None and r.error.sqlstate == 'XX001' and 'access method' in r.error.hint and 'disk' not in r.error.hint,
                  '%s: %s %s' % (sql, r.error, r.error and r.error.hint))
        advice = c.rows("SELECT advice FROM rowan.verify('sw_r')")
        check(advice and all('access method' in a and 'disk' not in a for a, in advice), 'verify: %s' % advice)
    server.sql(swap)
    swapped_indexes(server)
    check(server.one('SELECT count(*) FROM sw_h') == '1000' and server.one('SELECT count(*) FROM sw_r') == '2000', 'exchanged back')
    server.verify('sw_r')


def swapped_indexes(server):
    server.sql("CREATE INDEX sw_bt ON sw_r USING btree (id); CREATE INDEX sw_ro ON sw_r USING rowan_btree (id); CHECKPOINT; SELECT rowan.flush('sw_ro')")
    swap = ("SET allow_system_table_mods = on; WITH f AS (SELECT oid, relfilenode FROM pg_class WHERE relname IN ('sw_bt', 'sw_ro')) "
            "UPDATE pg_class c SET relfilenode = (SELECT relfilenode FROM f WHERE f.oid <> c.oid) WHERE relname IN ('sw_bt', 'sw_ro')")
    server.sql(swap)
    with server.connect() as c:
        c.exec('SET enable_seqscan = off; SET enable_bitmapscan = off')
        r = c.try_('INSERT INTO sw_r VALUES (5)')
        check(r.error is not None and r.error.sqlstate in ('0A000', 'XX001', 'XX002') and 'disk' not in r.error.hint, 'indexes: %s %s' % (r.error, r.error and r.error.hint))
        advice = c.rows("SELECT advice FROM rowan.verify('sw_ro')")
        check(advice and all('disk' not in a for a, in advice), 'verify of an index: %s' % advice)
    server.sql(swap + "; UPDATE pg_class SET relname = relname WHERE false")
    server.verify('sw_r')
    server.sql('DROP INDEX sw_bt, sw_ro')


def test(options):
    if not ENGINE:
        return
    if options.suite:
        return suite(options.suite)
    cron(options)
    server = cron_server('heap')
    scripts(server)
    catalog_of_its_own(server)
    misunderstandings(server)
    repacking(server)
    swapped(server)
    # pg_cron reads by systable_getnext, which asserts that tuples come out of heap's slots
    if server.one('SHOW debug_assertions') == 'off':
        cron_on_rowan(server)
    server.stop()
    server.check_log()


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('--suite', metavar='DIR', help="run the sql/ of an installed extension's source (DIR ends in its name) instead")
    harness.main(test, parser)
