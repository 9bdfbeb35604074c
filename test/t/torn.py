#!/usr/bin/env python3
"""Pages that redo finds torn or damaged: WAL has no images of them to begin with.

    torn.py backup     a base backup copied while pages are written, some sectors before and some
                       after; recovered with crashes in between, past restartpoints made before it
                       was consistent
    torn.py standby    a page damaged on a standby: replay goes on, the page stays unreadable, also
                       in a copy of its database
    torn.py salvage    a damaged page, read with ignore_checksum_failure, cannot be changed
    torn.py rot        bits flipped in the files of a crashed server, in pages that redo changes and
                       in others: never a wrong row; each damage is an error that names the
                       block, or was overwritten by redo
    torn.py            all of them

Torn by power failures: t/crash powerloss.  Negative controls: t/crash tears, and rot with the
page's sum not asked.
"""
import os
import random
import re
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
import powerloss
import pq
from harness import AM, ENGINE, Failure, check, say
from workload import Load

PAGE = 8192
CORRUPTED = 'XX001'
INDEX = ' USING rowan_btree' if ENGINE else ''


def block_of(path, text):
    """The block of a file in which a text is."""
    at = open(path, 'rb').read().find(text.encode())
    check(at >= 0, '%s is not in %s' % (text, path))
    return at // PAGE


def overwrite(path, block, size):
    """By zeroes, from the page's start."""
    with open(path, 'r+b') as f:
        f.seek(block * PAGE)
        f.write(bytes(size))


def flip(path, block, at, bit=0):
    with open(path, 'r+b') as f:
        f.seek(block * PAGE + at)
        byte = f.read(1)[0]
        f.seek(block * PAGE + at)
        f.write(bytes([byte ^ 1 << bit]))


# ---- a base backup with torn pages ----

def copy_tree(source, target):
    """Of a server at work: files may go and come."""
    os.makedirs(target, exist_ok=True)
    for directory, names, files in os.walk(source):
        to = os.path.join(target, os.path.relpath(directory, source))
        if os.path.relpath(directory, source) == 'pg_wal':
            names[:] = []
            files = []
        os.makedirs(to, exist_ok=True)
        for name in files:
            if name in ('postmaster.pid', 'postmaster.opts'):
                continue
            try:
                shutil.copyfile(os.path.join(directory, name), os.path.join(to, name))
            except FileNotFoundError:
                pass


def tear(source, target, rnd):
    """Pages of the copy become mixtures of what they were when copied and what they are now."""
    count = 0
    for directory, _, files in os.walk(os.path.join(target, 'base')):
        for name in files:
            copy = os.path.join(directory, name)
            original = os.path.join(source, os.path.relpath(copy, target))
            if not re.match(r'\d+(\.\d+)?$', name) or not os.path.exists(original):
                continue
            old, new = open(copy, 'rb').read(), open(original, 'rb').read()
            pages = [old[at:at + PAGE] for at in range(0, len(old), PAGE)]
            for block in range(min(len(old), len(new)) // PAGE):
                now = new[block * PAGE:(block + 1) * PAGE]
                if now == pages[block]:
                    continue
                sector = rnd.choice(powerloss.SECTORS)
                pages[block] = powerloss.torn(rnd, sector, [pages[block], now])
                count += 1
            with open(copy, 'wb') as f:
                f.write(b''.join(pages))
    return count


def restartpoints(log):
    """(before consistency, after it)"""
    parts = log.split('consistent recovery state reached')
    return [p.count('restartpoint complete') for p in (parts[0], ''.join(parts[1:]))]


def backup_round(options, rnd, n):
    conf = {'rowan.buffers': '1MB', 'rowan.wal_check': 'on', 'shared_buffers': '2MB',
            'max_wal_size': '32MB', 'min_wal_size': '32MB', 'archive_mode': 'on',
            'deadlock_timeout': '200ms', 'log_checkpoints': 'on'}
    archive = harness.new_dir('archive')
    primary = cluster.make('primary', conf=dict(conf, archive_command='cp %%p %s/%%f' % archive))
    load = Load(primary, sessions=3, accounts=8000, seed=options.seed + n)
    load.setup()
    restored = cluster.Cluster('restored', conf=conf, shim=True, initdb=False)
    with primary.connect() as c:
        c.exec("SELECT pg_backup_start('torn', true)")
        load.start((0.05, 0.5))
        time.sleep(0.5)
        copy_tree(primary.data, restored.data)
        time.sleep(rnd.uniform(0.5, 1.5))
        torn = tear(primary.data, restored.data, rnd)
        for _ in range(3):
            time.sleep(0.5)
            primary.sql("CHECKPOINT; SELECT pg_switch_wal(); "
                        "SELECT pg_logical_emit_message(false, '', repeat('x', 20000000))")
        label = c.one('SELECT labelfile FROM pg_backup_stop(false)')
    time.sleep(0.3)
    load.stop()
    primary.sql('SELECT pg_switch_wal()')
    last = primary.one('SELECT pg_walfile_name(pg_current_wal_lsn() - 1)')
    end = time.time() + 60
    while not os.path.exists('%s/%s' % (archive, last)) and time.time() < end:
        time.sleep(0.05)
    with open(restored.data + '/backup_label', 'w') as f:
        f.write(label)
    open(restored.data + '/recovery.signal', 'w').close()
    os.makedirs(restored.data + '/pg_wal', exist_ok=True)
    restored.write_conf(restore_command='cp %s/%%f %%p' % archive, archive_mode='off')
    harness.own_tree(restored.data)
    for _ in range(rnd.choice([0, 1, 2, 3])):
        restored.start(wait=False)
        time.sleep(rnd.uniform(0.05, 2))
        restored.power_loss('mix', rnd.random())
    restored.start()
    restored.wait_recovered()
    load.verify(restored)
    log = restored.log_text()
    check(powerloss.DAMAGED not in log, 'a torn page was not made whole')
    restored.stop()
    restored.check_log()
    primary.stop()
    result = [torn, powerloss.healed_pages(log), *restartpoints(log)]
    for c in (primary, restored):
        c.destroy()
    shutil.rmtree(archive)
    return result


def backup(options):
    rnd = random.Random(options.seed)
    total = [0] * 4
    for n in range(options.rounds or (20 if options.long else 2)):
        try:
            total = [a + b for a, b in zip(total, backup_round(options, rnd, n))]
        except (Failure, pq.Error) as e:
            raise Failure('backup %d (seed %d): %s' % (n + 1, options.seed, e))
    say('backup: %d pages torn, %d made whole by recoveries that came to their end, '
        '%d restartpoints before consistency, %d after' % tuple(total))
    check(total[0] > 0, 'no page was torn')
    if ENGINE:
        check(total[1] > 0, 'no page was made whole')
    if options.long:
        check(total[2] > 0, 'no restartpoint before consistency')


# ---- a damaged page on a standby ----

def tells_block(c, sql, block):
    """The statement's error names that block."""
    answer = c.try_(sql)
    check(answer.error is not None, 'no error: %s' % sql)
    check(answer.error.sqlstate == CORRUPTED and 'block %d of' % block in str(answer.error),
          '%s: %s' % (sql, answer.error))


def standby(options):
    if not ENGINE:
        return
    primary = cluster.make('primary', conf={'wal_keep_size': '1GB'})
    primary.sql('CREATE DATABASE source')
    primary.create_extension('source')
    primary.sql('CREATE TABLE t (id int, v int, filler text) USING rowan; '
                'INSERT INTO t SELECT i, 0, md5(i::text) FROM generate_series(1, 5000) i; '
                'CREATE INDEX ON t USING rowan_btree (id)', db='source')
    there = primary.backup_to('standby')
    there.start()
    there.wait_replayed(primary)
    path = os.path.relpath(primary.path_of('t', 'source'), primary.data)
    text = primary.one("SELECT md5('2500')", 'source')
    there.sql('CHECKPOINT')
    there.stop()
    file = os.path.join(there.data, path)
    block = block_of(file, text)
    flip(file, block, open(file, 'rb').read().find(text.encode()) % PAGE)
    there.start()
    primary.sql('UPDATE t SET v = 1', db='source')
    there.wait_replayed(primary)
    rest = 'SELECT count(*) FROM t WHERE id < 1000 AND v = 1'
    with there.connect('source') as c:
        check(c.one(rest) == '999', 'other pages of the standby')
        tells_block(c, 'SELECT * FROM t WHERE id = 2500', block)
    check(powerloss.DAMAGED in there.log_text(), 'the standby does not complain')
    for copy in ('copy', 'changed'):
        primary.sql('CREATE DATABASE %s TEMPLATE source STRATEGY file_copy' % copy)
    there.wait_replayed(primary)
    for copy in ('copy', 'changed'):
        with there.connect(copy) as c:
            check(c.one(rest) == '999', 'other pages of the copy')
            tells_block(c, 'SELECT * FROM t WHERE id = 2500', block)
    # the first change of a page of a copy has an image of it (pool/copied.h)
    primary.sql('UPDATE t SET v = 2', db='changed')
    there.wait_replayed(primary)
    check(there.one('SELECT count(*) FROM t WHERE v = 2', 'changed') == '5000', 'a changed copy')
    primary.sql('VACUUM FULL t', db='source')
    there.wait_replayed(primary)
    check(there.one('SELECT count(*) FROM t WHERE v = 1', 'source') == '5000', 'a table made anew')
    primary.stop()
    there.promote()
    there.sql("INSERT INTO t SELECT i, 3, '' FROM generate_series(5001, 6000) i", db='copy')
    with there.connect('copy') as c:
        tells_block(c, 'SELECT count(*) FROM t', block)
    there.restart()
    with there.connect('copy') as c:
        tells_block(c, 'SELECT * FROM t WHERE id = 2500', block)
    there.stop()
    there.check_log()
    say('standby: damaged block %d of %s stayed one' % (block, path))


# ---- reading what is damaged ----

def salvage(options):
    """A page read in spite of its checksums cannot be changed: it would become a good one."""
    if not ENGINE:
        return
    server = cluster.make('salvage')
    server.sql('CREATE TABLE t (id int, v int, filler text) USING rowan; '
               'CREATE INDEX t_id ON t USING rowan_btree (id); '
               'INSERT INTO t SELECT i, 0, md5(i::text) FROM generate_series(1, 2000) i')
    server.sql('VACUUM t')
    path, text = server.path_of('t'), server.one("SELECT md5('1000')")
    server.stop()
    block = block_of(path, text)
    flip(path, block, open(path, 'rb').read().find(text.encode()) % PAGE)
    server.start()
    with server.connect() as c:
        tells_block(c, 'SELECT count(*) FROM t', block)
        c.exec('SET ignore_checksum_failure = on')
        check(c.one('SELECT count(*) FROM t') == '2000', 'rows read in spite of checksums')
        for sql in ('UPDATE t SET v = 1 WHERE id = 1000', 'DELETE FROM t WHERE id = 1000',
                    'SELECT FROM t WHERE id = 1000 FOR UPDATE',
                    'UPDATE t SET id = -id WHERE id = 1000'):
            answer = c.try_(sql)
            check(answer.error is not None and answer.error.sqlstate == CORRUPTED and
                  'cannot change block %d of' % block in str(answer.error),
                  '%s: %s' % (sql, answer.error))
        c.exec('UPDATE t SET v = 1 WHERE id = 1')
        c.exec('CHECKPOINT; CREATE TABLE saved AS SELECT * FROM t')
        check(c.one('SELECT count(*) FROM saved') == '2000', 'rows saved')
    server.restart()
    with server.connect() as c:
        tells_block(c, 'SELECT count(*) FROM t', block)
    server.stop()
    server.check_log()
    say('salvage: block %d was read, and not changed' % block)


# ---- bit rot ----

PROBE = """
CREATE FUNCTION probe() RETURNS TABLE (row_id int, what text) LANGUAGE plpgsql AS $$
DECLARE
  e record; found int; text_found text;
BEGIN
  FOR e IN SELECT * FROM expected ORDER BY id LOOP
    row_id := e.id;
    FOR way IN 0 .. 1 LOOP
      BEGIN
        IF way = 0 THEN
          SELECT v, filler INTO found, text_found FROM rot WHERE ctid = e.tid;
        ELSE
          SELECT v, filler INTO found, text_found FROM rot WHERE id = e.id;
        END IF;
        IF found IS NULL THEN
          what := 'lost'; RETURN NEXT;
        ELSIF found <> e.v OR text_found <> md5(e.id::text) THEN
          what := format('wrong: %s %s', found, text_found); RETURN NEXT;
        END IF;
      EXCEPTION WHEN data_corrupted THEN
        what := SQLERRM; RETURN NEXT;
      END;
    END LOOP;
  END LOOP;
END $$
"""


def crashed(options, control=None):
    """A server that was killed after changes of some pages: (server, files with damages to come)"""
    conf = {'checkpoint_timeout': '1h', 'rowan.clean_interval': '0'}
    if control:
        conf['rowan.torn_control'] = control
    server = cluster.make('rot', variant='faults' if control else None, conf=conf)
    with server.connect() as c:
        c.exec('CREATE TABLE rot (id int, v int, filler text) USING %s; '
               'INSERT INTO rot SELECT i, 0, md5(i::text) FROM generate_series(1, 8000) i; '
               'CREATE INDEX rot_id ON rot%s (id); '
               'CREATE TABLE expected (id int, v int, tid tid)' % (AM, INDEX))
        c.exec(PROBE)
        c.exec('SET synchronous_commit = on; CHECKPOINT')
        for n in range(200):            # a half of the pages, about; entries of some index pages
            c.exec('UPDATE rot SET v = %d WHERE id %% 160 = %d' % (n + 1, n % 80))
            if n % 10 == 0:
                c.exec('INSERT INTO rot SELECT i, 7, md5(i::text) '
                       'FROM generate_series(%d, %d) i' % (8001 + n, 8010 + n))
        c.exec('UPDATE rot SET v = -v WHERE id BETWEEN 1000 AND 3000')
        c.exec('INSERT INTO expected SELECT id, v, ctid FROM rot')
        check(c.one('SELECT count(*) FROM rot') == '8200', 'rows')
    paths = [server.path_of('rot'), server.path_of('rot_id')]
    server.kill9()
    return server, paths


def damage(rnd, paths, data, flips):
    """Flips bits in so many pages, or zeroes them; {(file, block)}"""
    first = rnd.choice([0, 2, 2, 2, 2])             # without header and root little can be read
    pages = [(path, block) for path in paths
             for block in range(first, os.path.getsize(path) // PAGE)]
    chosen = set(rnd.sample(pages, min(flips, len(pages))))
    for path, block in chosen:
        if rnd.random() < 0.1 and ENGINE:
            overwrite(path, block, rnd.choice([512, 4096, PAGE]))
        else:
            flip(path, block, rnd.randrange(PAGE), rnd.randrange(8))
    return {(os.path.relpath(path, data), block) for path, block in chosen}


def rot_round(server, saved, paths, rnd, flips):
    """(flips, errors of the probe, pages that they name); Failure if something is wrong"""
    shutil.rmtree(server.data)
    shutil.copytree(saved, server.data)
    harness.own_tree(server.data)
    chosen = damage(rnd, paths, server.data, flips)
    server.start()
    with server.connect() as c:
        c.exec('SET enable_seqscan = off')
        answers = c.rows('SELECT * FROM probe()')
    named = set()
    for row, what in answers:
        m = re.match(r'invalid page in block (\d+) of file "([^"]*)"', what)
        check(m is not None, 'row %s: %s' % (row, what))
        page = (m.group(2), int(m.group(1)))
        check(page in chosen, 'row %s: %s, which nobody damaged' % (row, what))
        named.add(page)
    server.kill9()
    return len(chosen), len(answers), len(named)


def rot_rounds(options, control, rounds, flips):
    rnd = random.Random(options.seed)
    server, paths = crashed(options, control)
    saved = harness.new_dir('saved') + '/data'
    shutil.copytree(server.data, saved)
    total = [0, 0, 0]
    try:
        for n in range(rounds):
            try:
                total = [a + b for a, b in zip(total, rot_round(server, saved, paths, rnd, flips))]
            except (Failure, pq.Error) as e:
                raise Failure('rot, round %d (seed %d): %s' % (n + 1, options.seed, e))
        server.check_log()
    finally:
        server.destroy()
        shutil.rmtree(os.path.dirname(saved))
    return total


def rot(options):
    rounds, flips = (110, 100) if options.long else (3, 30)
    total = rot_rounds(options, None, options.rounds or rounds, flips)
    say('rot: bits flipped in %d pages; %d answers were errors, naming %d of these' % tuple(total))
    check(total[2] > 0, 'no damage was met')
    if not ENGINE:
        return
    try:
        rot_rounds(options, 'sum_not_asked', 10, 60)
    except Failure as e:
        say('rot, control: without the sum noticed: %s' % str(e).split('\n')[0])
        check(re.search('wrong|lost|does not start', str(e)), 'the control was noticed by: %s' % e)
        return
    raise Failure('control: without the sum nothing was noticed')


def test(options):
    modes = {'backup': backup, 'standby': standby, 'salvage': salvage, 'rot': rot}
    for mode in options.mode or modes:
        start = time.time()
        modes[mode](options)
        say('%s took %.0f s' % (mode, time.time() - start))


if __name__ == '__main__':
    parser = harness.arguments(__doc__)
    parser.add_argument('mode', nargs='*', help='backup, standby, salvage, rot')
    parser.add_argument('--rounds', type=int)
    harness.main(test, parser)
