#!/usr/bin/env python3
"""rowan.wal_records and rowan.wal_blocks: each kind of record is described, its bytes add up,
pg_walinspect and a recovery that fails say the same of it, and wrong arguments get an error that
names the mistake.

    walrecords.py          a statement for each kind, a standby, arguments, a short random load
    walrecords.py --long   a longer load
"""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import ENGINE, check, say
from workload import Load

CONF = {'wal_level': 'logical', 'wal_keep_size': '1GB', 'min_wal_size': '32MB'}

TABLES = """
CREATE TABLE t (id int PRIMARY KEY, k int, x text) USING rowan;
CREATE INDEX t_k ON t (k);
CREATE INDEX t_r ON t USING rowan_btree (k);
"""

COPIED = 'COPY t FROM STDIN'

# What a statement logs: kind, and parts of its description in this order, as regular expressions.
STATEMENTS = (
    ('CREATE UNLOGGED TABLE u (id int) USING rowan', 'INIT_FORK',
     [r'^base/\d+/\d+_init, pages: 2$']),
    ("INSERT INTO t VALUES (1, 1, 'one')", 'INSERT',
     [r'^logical: {action: insert, last: true, columns: 3, bytes: \d+}, ',
      r'leaf: {block: 1, slot: 0, delta: 0, rows: 1, flags: \[page_xid\], upper: 8128, ',
      r'page_xid: \d+, page_cid: 0, page_natts: 3, page_flags: \[uniform\], ',
      r'cells: \d+, bytes: \d+}$']),
    ("INSERT INTO t VALUES (2, 2, 'two')", 'INSERT',
     [r'slot: 1, delta: 1, rows: 1, flags: \[xid\]']),
    ('INSERT INTO t VALUES (3, 3, NULL)', 'INSERT', [r'slot: 2, .*flags: \[xid, nulls\]']),
    ("INSERT INTO t VALUES (4, 4, 'x') ON CONFLICT DO NOTHING", 'REPLACE', ['{action: confirm']),
    ("INSERT INTO t VALUES (4, 4, 'x') ON CONFLICT DO NOTHING", None, []),
    (COPIED, 'INSERT', [r'insert, last: true, ', r'slot: 4, delta: 4, rows: 100, flags: \[xid']),
    ("UPDATE t SET x = 'eno' WHERE id = 1", 'REPLACE',
     [r'^logical: {action: update, last: true, columns: 3, kept: \d+, bytes: \d+}, ',
      r'leaf: {block: 1, ', r'off: \d+, ', r'header: \d+, keeps: \d+, changes: 3, ',
      r'flags: \[xid, version\], tag: 1, ',
      r'version page: {block: \d+, off: 24, row: \(0,1\), tag: 0, ',
      r'kind: delta, prefix: 9, suffix: 0, superseder: \d+, xid: \d+, bytes: \d+}$']),
    ("UPDATE t SET x = 'two and more' WHERE id = 2", 'REPLACE', [r'slot: 1, ', r'row: \(0,2\)']),
    ('SELECT * FROM t WHERE id = 3 FOR UPDATE', 'REPLACE',
     [r'^leaf: {', r'flags: \[xid, lock, nulls\], ', r'page_flags: \[.*locks']),
    ('UPDATE t SET k = 33 WHERE id = 3', 'MOVE',
     [r'leaf: {block: 1, old row: {', r'\[xid, version, forward, nulls, deleted, key_kept\]',
      r'new row: {slot: \d+, delta: \d+, rows: 1, flags: \[xid, nulls\], ',
      r'version page: {.*row: \(0,3\), ', 'kind: same_data']),
    ('UPDATE t SET id = 44 WHERE id = 4', 'MOVE', [r'update, last: true, columns: 3, old: \d+, ']),
    ('DELETE FROM t WHERE id = 100', 'REPLACE',
     [r'^logical: {action: delete, last: true, old: \d+, bytes: \d+}, leaf: {', 'deleted']),
    ('INSERT INTO t VALUES (1000, 1000, NULL)', 'ENTRY',
     [r'^index leaf: {block: \d+, slot: \d+, head: \d+, cell: \d+, bytes: \d+}$']),
    ("INSERT INTO t SELECT i, i, repeat('x', 50) FROM generate_series(2000, 9000) i", 'EXTEND',
     [r'^pages: \d+, first: \d+$']),
    ('UPDATE t SET k = -k WHERE id BETWEEN 2000 AND 2040', 'MOVE',
     [r'new leaf: {block: \d+, slot: ']),
    ('VACUUM t', 'CHANGE',
     [r'^pages: \d+, horizon: \d+, page: {block: \d+, differences: \d+, bytes:']),
    ('VACUUM t', None, []),
    ('UPDATE t SET x = NULL WHERE id = 2100', 'REPLACE',
     [r'map page: {block: 0, clears: \[\d+\], bytes: 1}$|^clears: \[\d+\], (logical|leaf)']),
    ('DELETE FROM t WHERE id > 10', None, []),
    ('VACUUM t', 'TRUNCATE', [r'^base/\d+/\d+ to \d+ blocks$']),
    ('CREATE TABLE w (id int) USING rowan', 'CHANGE',
     ['{block: 1, whole: true, type: leaf, bytes: ']),
    ('CREATE DATABASE other', 'COPIED', ['^database: other$']),
)
KINDS = {'INIT_FORK', 'INSERT', 'REPLACE', 'MOVE', 'ENTRY', 'EXTEND', 'CHANGE', 'TRUNCATE',
         'COPIED'}

# Rows of these queries are failures.
RECORDS = "rowan.wal_records('{0}', '{1}')"
WRONG_SUM = """
SELECT start_lsn, kind, record_length, head_length, main_data_length, block_data_length, fpi_length
FROM """ + RECORDS + """ WHERE record_length <>
    head_length + main_data_length + block_data_length + fpi_length LIMIT 3"""
BLOCKS_DIFFER = """
SELECT start_lsn, r.kind, block_data_length, data, fpi_length, image, r.head_length, head
FROM """ + RECORDS + """ r LEFT JOIN (
    SELECT start_lsn, sum(data_length) AS data, sum(fpi_length) AS image, sum(head_length) AS head,
        max(relfilenode::text) FILTER (WHERE block_id = 0) AS file, max(kind) AS kind
    FROM rowan.wal_blocks('{0}', '{1}') GROUP BY 1) b USING (start_lsn)
WHERE block_data_length <> coalesce(data, 0) OR fpi_length <> coalesce(image, 0)
    OR r.head_length < 24 + coalesce(head, 0) OR r.kind <> b.kind OR file <> relfilenode::text
LIMIT 3"""
INSPECT_DIFFERS = """
SELECT start_lsn, r.kind, r.description, w.record_type, w.description
FROM """ + RECORDS + """ r FULL JOIN (
    SELECT * FROM pg_get_wal_records_info('{0}', '{1}') WHERE resource_manager = 'rowan') w
    USING (start_lsn)
WHERE (r.end_lsn, r.prev_lsn, r.xid, r.kind, r.record_length, r.main_data_length, r.fpi_length,
        r.description)
    IS DISTINCT FROM
    (w.end_lsn, w.prev_lsn, w.xid, w.record_type, w.record_length, w.main_data_length,
        w.fpi_length, w.description) LIMIT 3"""
SENSELESS = 'SELECT start_lsn, kind, description FROM ' + RECORDS + """
WHERE description ~ 'no sense|UNKNOWN' OR description IS NULL
    OR relfilenode IS NULL AND kind <> 'COPIED' LIMIT 3"""


def position(server):
    """Everything up to there is flushed."""
    server.sql("SET synchronous_commit = on; SELECT pg_logical_emit_message(true, '', '')")
    return server.one('SELECT pg_current_wal_flush_lsn()')


def all_described(server, start, end):
    """Every record there, whatever it is; how many."""
    for query in (WRONG_SUM, BLOCKS_DIFFER, INSPECT_DIFFERS, SENSELESS):
        rows = server.sql(query.format(start, end))
        check(not rows, '%s\n%s' % (query.format(start, end), rows))
    return int(server.one('SELECT count(*) FROM ' + RECORDS.format(start, end)))


def statement(server, sql, kind, parts):
    start = position(server)
    if sql == COPIED:
        lines = ''.join('%d\t%d\tcopied\n' % (i, i) for i in range(100, 200))
        server.psql(sql + ';\n' + lines + '\\.\n')
    else:
        server.sql(sql)
    end = position(server)
    found = server.sql('SELECT kind, description FROM ' + RECORDS.format(start, end))
    pattern = '.*?'.join(parts)
    check(kind is None or any(k == kind and re.search(pattern, d) for k, d in found),
          '%s: no %s like %s among\n%s' % (sql, kind, pattern, '\n'.join(map(str, found[:20]))))
    all_described(server, start, end)


def each_kind(server):
    server.sql(TABLES)
    for sql, kind, parts in STATEMENTS:
        statement(server, sql, kind, parts)
    check({kind for _, kind, _ in STATEMENTS} - {None} == KINDS, 'a kind without a statement')


def columns(server):
    """Of one record, all of them; the table may be gone when somebody looks."""
    start = position(server)
    server.sql('INSERT INTO w VALUES (7)')
    end = position(server)
    rows = server.sql("""
        SELECT relation, block, logical, reltablespace = dattablespace, reldatabase = d.oid,
            relfilenode = pg_relation_filenode('w'), xid IS NOT NULL,
            prev_lsn < start_lsn AND start_lsn < end_lsn
        FROM pg_database d, """ + RECORDS.format(start, end) + """ r
        WHERE datname = current_database()""")
    check(rows == [('w', '1', 'insert') + ('t',) * 5], 'columns of an INSERT: %s' % rows)
    rows = server.sql("SELECT block_id, part, relation, fork, block, description "
                      "FROM rowan.wal_blocks('%s', '%s')" % (start, end))
    check(len(rows) == 1 and rows[0][:5] == ('0', 'leaf', 'w', 'main', '1') and
          rows[0][5].startswith('slot: 0, delta: 0'), 'its page: %s' % rows)
    server.sql('DROP TABLE w')
    rows = server.sql('SELECT relation, relfilenode > 0 FROM ' + RECORDS.format(start, end))
    check(rows == [(None, 't')], 'a table that is gone: %s' % rows)


# ---- arguments ----

def refused(c, call, sqlstate, words):
    e = c.try_('SELECT * FROM rowan.' + call).error
    check(e is not None and e.sqlstate == sqlstate and words in e.primary,
          '%s: %s %s' % (call, e and e.sqlstate, e))


def wrong_range(c, name, now):
    call = name + "('%s', '%s')"
    refused(c, call % ('FFFFFFFF/0', 'FFFFFFFF/1'), '22023', 'must be less than current LSN')
    refused(c, call % (now, '0/1'), '22023', 'WAL start LSN must be less than end LSN')
    for start in ('0/0', '0/1FFF'):
        refused(c, call % (start, now), '22023', 'could not read WAL at LSN ' + start)


def odd_range(c, name, now):
    """Right, but strange."""
    count = 'SELECT count(*) FROM rowan.' + name
    check(c.one(count + "('%s', '%s')" % (now, now)) == '0', 'records at the end')
    check(c.one(count + "(NULL, '%s')" % now) == '0', 'records from NULL on')
    c.one(count + "(pg_current_wal_flush_lsn(), 'FFFFFFFF/FFFFFFFF')")
    for before in range(100, 160, 7):           # where no record begins
        c.one(count + "('%s'::pg_lsn - %d, '%s')" % (now, before, now))


def removed(server):
    server.stop()
    server.write_conf(wal_keep_size='0')
    server.start()
    server.sql('CREATE TABLE filler (i int) USING heap')
    for _ in range(6):
        server.sql('INSERT INTO filler VALUES (1)')
        server.sql('SELECT pg_switch_wal()')
        server.sql('CHECKPOINT')
    with server.connect() as c:
        refused(c, "wal_records('0/1000028', pg_current_wal_flush_lsn())", '58P01',
                'has already been removed')


def arguments(server):
    """As of pg_walinspect of 16 and later, on every major."""
    now = position(server)
    with server.connect() as c:
        for name in ('wal_records', 'wal_blocks'):
            wrong_range(c, name, now)
            odd_range(c, name, now)
    removed(server)


def privileges(server):
    now = position(server)
    with server.connect() as c:
        c.exec('CREATE ROLE reader; CREATE ROLE nobody; GRANT pg_read_server_files TO reader')
        for role, allowed in (('reader', True), ('nobody', False), ('pg_monitor', False)):
            c.exec('SET ROLE ' + role)
            for name in ('wal_records', 'wal_blocks'):
                e = c.try_("SELECT * FROM rowan.%s('%s', '%s')" % (name, now, now)).error
                check(e is None if allowed else e is not None and e.sqlstate == '42501',
                      '%s for %s: %s' % (name, role, e))
            c.exec('RESET ROLE')


# ---- other servers, other records ----

def load(server, options):
    """Whatever a load of all kinds of statements logs, with images compressed, and with checks."""
    work = Load(server, sessions=2, accounts=500, seed=options.seed)
    work.setup()
    seen = 0
    for setting in ('log_checkpoints = off', 'wal_compression = on', 'rowan.wal_check = on'):
        server.sql('ALTER SYSTEM SET ' + setting)
        server.sql('SELECT pg_reload_conf()')
        start = position(server)
        work.start((0.05, 0.3))
        time.sleep(10 if options.long else 0.5)
        work.stop()
        seen += all_described(server, start, position(server))
    work.verify()
    return seen


def on_standby(server):
    """What it has replayed, it shows as the primary does."""
    standby = server.backup_to('standby')
    start = position(server)
    standby.start()
    server.sql('UPDATE t SET x = md5(id::text)')
    end = position(server)
    standby.wait_replayed(server)
    query = ('SELECT start_lsn, kind, relation, record_length, description FROM ' +
             RECORDS.format(start, end))
    check(standby.sql(query) == server.sql(query) != [], 'the standby shows other records')
    with standby.connect() as c:
        wrong_range(c, 'wal_records', end)
    standby.stop()
    standby.check_log()


def recovery_tells():
    """The log of a recovery that fails says what the record is."""
    server = cluster.make('failing', variant='faults', conf={'restart_after_crash': 'off'})
    server.sql('CREATE TABLE t (id int) USING rowan')
    server.sql('CHECKPOINT')
    server.sql('INSERT INTO t VALUES (1)')
    server.kill9()
    server.write_conf(**{'rowan.fault': 'row_insert_redo:error:1'})
    server.start(wait=False)
    harness.wait_for(lambda: server.postmaster.poll() is not None, 'the end of a failing recovery')
    server.postmaster = None
    check(re.search(r'CONTEXT:  WAL redo at \S+ for rowan/INSERT: leaf: '
                    r'{block: 1, slot: 0, delta: 0, rows: 1, .*}; blkref #0', server.log_text()),
          'the record is not in the log')


def test(options):
    if not ENGINE:
        return
    server = cluster.make('records', conf=CONF)
    server.sql('CREATE EXTENSION pg_walinspect')
    each_kind(server)
    columns(server)
    privileges(server)
    on_standby(server)
    seen = load(server, options)
    arguments(server)
    server.verify()
    server.stop()
    server.check_log()
    recovery_tells()
    say('%d records of a load described' % seen)


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
