#!/usr/bin/env python3
"""Installing the extension is safe: schemas prepared by others, roles without privileges, search paths, no preloading;
what PUBLIC may call, what DROP takes along, what a dump says, which symbols the library shows."""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import ENGINE, TOP, check, run, say

# Functions that everybody may call: they ask for the privileges of whom they serve.
OPEN_TO_PUBLIC = {'rowan.prewarm(regclass)', 'rowan.repair(regclass)',
                  'rowan.salvage(regclass,regclass,text)'}
OPEN_TO_MONITOR = {'rowan.page_header(regclass,bigint)', 'rowan.page_header(bytea)', 'rowan.file_header(regclass)',
                   'rowan.tree_stats(regclass)', 'rowan.version_store_stats(regclass)', 'rowan.verify(regclass)',
                   'rowan.verify(regclass,boolean)', 'rowan.pool_stat()', 'rowan.pool_relations()',
                   'rowan.file_state(regclass)', 'rowan.tree_activity()', 'rowan.worker_stat()',
                   'rowan.page_svg(regclass,bigint)', 'rowan.page_svg(bytea)',
                   'rowan.tree_svg(regclass)', 'rowan.verify_progress()',
                   'rowan.verify_database(boolean,integer,integer)'}
# as pg_walinspect's
OPEN_TO_READER = {'rowan.wal_records(pg_lsn,pg_lsn)', 'rowan.wal_blocks(pg_lsn,pg_lsn)'}

VIEWS_OF_MONITOR = {'pool_stat', 'pool_relations', 'trees', 'version_holders', 'versions',
                    'tree_activity', 'worker_stat', 'verify_progress'}

# What core looks up by name, besides the functions of the script.
EXPORTED = {'Pg_magic_func', '_PG_init', 'rowan_pool_worker_main', 'rowan_recovery_writer_main', 'rowan_index_build_worker'}

# Of builds with fault points; tests declare them themselves.
FAULT_FUNCTIONS = {'rowan_fault_arm', 'rowan_fault_hits', 'rowan_latch_blocks'}

ATTACK = """
CREATE FUNCTION %s LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO mallory.caught SELECT CURRENT_USER;
    RETURN %s;
END $$"""


def expect(c, sql, sqlstate, words=(), hint=True):
    e = c.try_(sql).error
    check(e is not None, 'not refused: ' + sql)
    check(e.sqlstate == sqlstate, '%s: %s %s, expected %s' % (sql, e.sqlstate, e.primary, sqlstate))
    for w in words:
        check(w in e.primary + ' ' + e.detail, '%s: %s / %s' % (sql, e.primary, e.detail))
    check(e.hint or not hint, '%s: no hint' % sql)
    if c.in_transaction():
        c.exec('ROLLBACK')


# ---- the schema ----

def schema_of_another(c, mallory):
    mallory.exec('CREATE SCHEMA rowan')
    mallory.exec(ATTACK % ("rowan.verify(text) RETURNS text", "'harmless'"))
    expect(c, 'CREATE EXTENSION rowan', '42501', ['mallory'])
    mallory.exec('DROP FUNCTION rowan.verify(text)')
    expect(c, 'CREATE EXTENSION rowan', '42501', ['mallory'])
    mallory.exec('DROP SCHEMA rowan')


def schema_not_empty(c):
    for make in ('FUNCTION rowan.verify(text) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$', 'TABLE rowan.t (i int)', 'TYPE rowan.mood AS ENUM ()',
                 'OPERATOR rowan.@@ (FUNCTION = int4pl, LEFTARG = int, RIGHTARG = int)'):
        c.exec('CREATE SCHEMA rowan; CREATE ' + make)
        expect(c, 'CREATE EXTENSION rowan', '55000', ['not empty', make.split()[0].lower()])
        c.exec('DROP SCHEMA rowan CASCADE')


def schema_others_may_create_in(c):
    for whom in ('mallory', 'PUBLIC'):
        c.exec('CREATE SCHEMA rowan; GRANT CREATE ON SCHEMA rowan TO ' + whom)
        expect(c, 'CREATE EXTENSION rowan', '42501', ['other roles', whom])
        c.exec('DROP SCHEMA rowan')


def own_empty_schema(c):
    """It is taken over, and goes with the extension."""
    c.exec('CREATE SCHEMA rowan; GRANT USAGE ON SCHEMA rowan TO mallory')
    c.exec('CREATE EXTENSION rowan')
    c.exec('DROP EXTENSION rowan')
    check(c.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'rowan'") == '0', 'the schema is left')


def what_drop_takes_along(c):
    c.exec('CREATE EXTENSION rowan')
    expect(c, 'DROP SCHEMA rowan CASCADE', '2BP01')
    c.exec('CREATE TABLE rowan.of_others (i int)')
    expect(c, 'DROP EXTENSION rowan', '2BP01', ['of_others'])
    c.exec('DROP TABLE rowan.of_others; CREATE TABLE public.kept (i int) USING rowan; INSERT INTO public.kept VALUES (1)')
    expect(c, 'DROP EXTENSION rowan', '2BP01', ['kept'])
    c.exec('DROP TABLE public.kept; CREATE TABLE public.kept (i int) USING heap; CREATE INDEX ON public.kept USING rowan_btree (i)')
    expect(c, 'DROP EXTENSION rowan', '2BP01', ['kept'])
    c.exec('DROP TABLE public.kept; DROP EXTENSION rowan')


CATALOGS = ('pg_proc', 'pg_class', 'pg_namespace', 'pg_am', 'pg_opclass', 'pg_opfamily', 'pg_amop', 'pg_amproc', 'pg_depend', 'pg_description',
            'pg_init_privs', 'pg_type')


def counts(c):
    return {t: c.one('SELECT count(*) FROM pg_catalog.' + t) for t in CATALOGS}


def leaves_nothing(c):
    before = counts(c)
    c.exec('CREATE EXTENSION rowan')
    c.exec('DROP EXTENSION rowan')
    check(counts(c) == before, 'left behind: %s, before %s' % (counts(c), before))


# ---- roles and search paths ----

def without_privileges(c, mallory):
    expect(mallory, 'CREATE EXTENSION rowan', '42501')
    c.exec('CREATE EXTENSION rowan')
    for sql in ("SELECT rowan.verify('pg_class')", 'SELECT rowan.adopt_operator_classes()', 'SELECT * FROM rowan.pool_stat',
                "SELECT rowan.get_page('pg_class', 0)", 'ALTER EXTENSION rowan UPDATE', 'DROP EXTENSION rowan',
                'CREATE FUNCTION rowan.verify(text) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$'):
        expect(mallory, sql, '42501', hint=False)
    c.exec('DROP EXTENSION rowan')


def hostile_search_path(c, mallory):
    """Functions, operators and tables that would be called, were a name in the script not qualified."""
    mallory.exec("""CREATE SCHEMA mallory; CREATE TABLE mallory.caught (who name);
        GRANT USAGE ON SCHEMA mallory TO PUBLIC; GRANT ALL ON mallory.caught TO PUBLIC""")
    for function, value in (('same(oid, oid) RETURNS bool', 'true'), ('same(name, name) RETURNS bool', 'true'), ('same(text, text) RETURNS bool', 'true'),
                            ('same(name, text) RETURNS bool', 'true'), ('format(text, text) RETURNS text', "''"), ('verify(text) RETURNS text', "''"),
                            ('aclexplode(aclitem[]) RETURNS int', '1'), ('adopt_operator_classes() RETURNS int', '1'), ('current_setting(text) RETURNS text', "''"),
                            ('pg_describe_object(oid, oid, int) RETURNS text', "''")):
        mallory.exec(ATTACK % ('mallory.' + function, value))
    for types in (('oid', 'oid'), ('name', 'name'), ('text', 'text'), ('name', 'text')):
        for operator in ('=', '<>'):
            mallory.exec('CREATE OPERATOR mallory.%s (FUNCTION = mallory.same, LEFTARG = %s, RIGHTARG = %s)' % ((operator,) + types))
    for table in ('pg_namespace', 'pg_depend', 'pg_roles', 'pg_settings', 'pg_am'):
        mallory.exec('CREATE TABLE mallory.%s (oid oid, name name, nspname name, nspowner oid, nspacl aclitem[])' % table)
        c.exec('CREATE TEMP TABLE %s (oid oid, name name, nspname name, nspowner oid, nspacl aclitem[])' % table)
    c.exec('SET search_path = mallory, pg_temp, pg_catalog')
    for prepare in ('SELECT 1', 'CREATE SCHEMA rowan'):
        c.exec(prepare)
        c.exec('CREATE EXTENSION rowan')
        check(c.one("SELECT pg_catalog.count(*) FROM pg_catalog.pg_am WHERE amname OPERATOR(pg_catalog.=) 'rowan'") == '1', 'not installed')
        c.exec('DROP EXTENSION rowan')
    check(c.rows('SELECT * FROM mallory.caught') == [], 'functions of the search path were called: %s' % c.rows('SELECT * FROM mallory.caught'))
    c.exec('DISCARD TEMP; RESET search_path')


def script_is_strict():
    """Nothing that exists is replaced or taken for the script's own; what it makes is named with its schema."""
    text = ''.join(re.sub(r'--.*', '', open(script).read())
                   for script in glob.glob(TOP + '/rowan--*.sql'))
    # a view that exists is the extension's own, or core refuses to replace it
    replaced = re.findall(r'CREATE\s+OR\s+REPLACE\s+(\S+ \S+)', text, re.I)
    check(replaced == ['VIEW rowan.pool_stat'], 'CREATE OR REPLACE: %s' % replaced)
    check(not re.search(r'(CREATE|ADD|TABLE|SCHEMA)\s+(\w+\s+)?IF\s+NOT\s+EXISTS', text, re.I), 'IF NOT EXISTS')
    for kind, name in re.findall(r'CREATE (FUNCTION|VIEW|TABLE|TYPE) (\S+)', text):
        check(name.startswith('rowan.'), 'CREATE %s %s' % (kind, name))
    for body in re.findall(r'\$script\$(.*?)\$script\$', text, re.S):
        # outside of strings
        bare = re.sub(r"'[^']*'", "''", body)
        for word in re.findall(r'(?:FROM|JOIN)\s+([a-z_.]+)', bare):
            check(word.startswith('pg_catalog.'), 'not qualified: FROM ' + word)
        for word in re.findall(r'(?<![\w.])([a-z_.]+)\(', bare):
            check(word.startswith('pg_catalog.'), 'not qualified: %s()' % word)
        bare = re.sub(r'OPERATOR\(\S+\)', '', bare)
        for word in re.findall(r'[^:<>=]=[^=>]|<>', re.sub(r'USING.*?;', ';', bare, flags=re.S)):
            check(False, 'operator not qualified: ' + word)


# ---- privileges ----

def who_may_call(c):
    c.exec('CREATE EXTENSION rowan')
    mine = ("SELECT p.oid, p.oid::regprocedure::text AS name FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass "
            "JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass WHERE extname = 'rowan'")
    allowed = lambda whom: {r[0] for r in c.rows(
        "SELECT name FROM (%s) f JOIN pg_proc p USING (oid), aclexplode(coalesce(proacl, acldefault('f', proowner))) a "
        "WHERE privilege_type = 'EXECUTE' AND %s" % (mine, whom))}
    check(allowed('a.grantee = 0') == OPEN_TO_PUBLIC, 'PUBLIC may call %s' % sorted(allowed('a.grantee = 0')))
    monitor = allowed("a.grantee = 'pg_monitor'::regrole")
    check(monitor == OPEN_TO_MONITOR, 'pg_monitor may call %s' % sorted(monitor))
    reader = allowed("a.grantee = 'pg_read_server_files'::regrole")
    check(reader == OPEN_TO_READER, 'pg_read_server_files may call %s' % sorted(reader))
    others = allowed("a.grantee NOT IN (0, 'pg_monitor'::regrole, 'pg_read_server_files'::regrole, p.proowner)")
    check(others == set(), 'others may call %s' % others)
    views = c.rows("SELECT relname, a.grantee::regrole FROM pg_class, aclexplode(relacl) a WHERE relnamespace = 'rowan'::regnamespace "
                   "AND relkind = 'v' AND a.grantee <> relowner")
    check(set(views) == {(v, 'pg_monitor') for v in VIEWS_OF_MONITOR},
          'who may read views: %s' % views)
    silent = c.rows("SELECT relname FROM pg_class WHERE relnamespace = 'rowan'::regnamespace "
                    "AND obj_description(oid, 'pg_class') IS NULL")
    check(silent == [], 'views without a comment: %s' % silent)
    silent = c.rows("SELECT name FROM (%s) f WHERE obj_description(oid, 'pg_proc') IS NULL" % mine)
    check(silent == [], 'functions without a comment: %s' % silent)
    outside = c.rows("SELECT name FROM (%s) f WHERE name NOT LIKE 'rowan.%%'" % mine)
    check(outside == [], 'functions outside of schema rowan: %s' % outside)
    symbols = {r[0] for r in c.rows("SELECT prosrc FROM (%s) f JOIN pg_proc p USING (oid) JOIN pg_language l ON l.oid = prolang WHERE lanname = 'c'" % mine)}
    c.exec('DROP EXTENSION rowan')
    return symbols


def what_the_library_shows(functions):
    for variant in ('release', 'faults'):
        library = os.path.join(harness.build(variant), 'rowan.so')
        shown = {line.split()[-1] for line in run(['nm', '-D', '--defined-only', library]).split('\n') if line}
        callable_ = functions | (FAULT_FUNCTIONS if variant == 'faults' else set())
        wanted = EXPORTED | callable_ | {'pg_finfo_' + f for f in callable_}
        check(shown == wanted, '%s: shows %s, does not show %s' % (variant, sorted(shown - wanted), sorted(wanted - shown)))


# ---- dumps, and no preloading ----

def dump_and_restore(server):
    server.sql('CREATE DATABASE source')
    server.sql('CREATE DATABASE target')
    server.sql('CREATE EXTENSION rowan', 'source')
    server.sql("CREATE TABLE t (i int) USING rowan; INSERT INTO t SELECT generate_series(1, 10); CREATE INDEX ON t USING rowan_btree (i)", 'source')
    dump = server.run_tool('pg_dump', '-d', 'source')
    check('CREATE SCHEMA' not in dump, 'the dump makes the schema itself')
    server.psql(dump, db='target')
    check(server.one('SELECT count(*) FROM t', 'target') == '10', 'rows of a restored dump')
    check(server.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'rowan'", 'target') == '1', 'schema of a restored dump')


def without_preload(server):
    said = server.psql('CREATE EXTENSION rowan')
    for word in ('WARNING', 'shared_preload_libraries', 'DETAIL', 'HINT'):
        check(word in said, 'CREATE EXTENSION without preloading says: ' + said)
    with server.connect() as c:
        c.exec('CREATE TABLE h (i int); INSERT INTO h VALUES (1)')
        for sql in ('CREATE TABLE t (i int) USING rowan', 'CREATE INDEX ON h USING rowan_btree (i)', 'SELECT * FROM rowan.pool_stat'):
            expect(c, sql, '55000', ['shared_preload_libraries'])
        for sql in ("SELECT rowan.verify('h')", "SELECT rowan.get_page('h', 0)", "SELECT rowan.prewarm('h')"):
            expect(c, sql, '42809', hint=False)
        # bytes can be looked at anywhere
        c.exec(r"SELECT * FROM rowan.page_header(decode(repeat('00', 8192), 'hex'))")
        check(c.one('SELECT i FROM h') == '1', 'heap')
    server.stop()
    server.preload = harness.PRELOAD
    server.write_conf()
    server.start()
    said = server.psql('CREATE TABLE t (i int) USING rowan; INSERT INTO t VALUES (7); SELECT i FROM t; DROP TABLE t; DROP EXTENSION rowan; CREATE EXTENSION rowan')
    check('7' in said and 'WARNING' not in said, 'once it is loaded: ' + said)


def test(options):
    if not ENGINE:
        return
    script_is_strict()
    bare = cluster.Cluster('bare', preload='')
    bare.start()
    without_preload(bare)
    bare.stop()
    server = cluster.Cluster('install')
    server.start()
    with server.connect() as c:
        c.exec('CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE postgres TO mallory')
        with server.connect() as mallory:
            mallory.exec('SET SESSION AUTHORIZATION mallory')
            schema_of_another(c, mallory)
            without_privileges(c, mallory)
            hostile_search_path(c, mallory)
        schema_not_empty(c)
        schema_others_may_create_in(c)
        own_empty_schema(c)
        what_drop_takes_along(c)
        leaves_nothing(c)
        functions = who_may_call(c)
        say('%d functions of C' % len(functions))
    what_the_library_shows(functions)
    dump_and_restore(server)
    server.check_log()
    server.stop()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
