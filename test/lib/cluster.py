"""A server of a test's own: made, started, stopped, crashed, copied to a standby."""
import ctypes
import glob
import os
import re
import signal
import shutil
import subprocess
import time

import harness
import pq
from harness import AM, ENGINE, EXTENSION, PRELOAD, Failure, as_user, check, new_dir, run

clusters = []

CONF = """
listen_addresses = ''
unix_socket_directories = '{socket}'
port = 5432
shared_buffers = 32MB
max_wal_size = 256MB
min_wal_size = 64MB
wal_level = replica
max_wal_senders = 8
max_connections = 60
max_worker_processes = 16
max_prepared_transactions = 10
hot_standby = on
wal_keep_size = 256MB
autovacuum = off
restart_after_crash = on
log_checkpoints = off
log_line_prefix = '%m [%p] %b %a '
log_statement = none
jit = off
timezone = 'UTC'
lc_messages = 'C'
fsync = {fsync}
"""


class Cluster:
    def __init__(self, name='main', conf=None, variant=None, shim=False, fsync=None,
                 preload=None, initdb=True, extension=True, checksums=True, origin=None):
        """conf: dict of settings; shim: journal for power loss; origin: the bindir of another server than
        the one under test."""
        self.name, self.variant, self.shim = name, variant or harness.VARIANT, shim
        self.preload = PRELOAD if preload is None else preload
        self.extension = extension and EXTENSION
        self.origin = origin or harness.BINDIR
        self.bindir = harness.prefix_bindir(self.variant, bindir=self.origin)
        self.dir = new_dir(name)
        self.data, self.log, self.journal = self.dir + '/data', self.dir + '/log', self.dir + '/journal'
        self.postmaster = None
        self.extra_env = {}
        self.conf = dict(conf or {})
        self.fsync = shim if fsync is None else fsync
        clusters.append(self)
        harness.at_end(self.destroy)
        if initdb:
            self.initdb(checksums)

    # ---- making ----

    def initdb(self, checksums=True):
        self.run_tool('initdb', '-D', self.data, '-N', '-A', 'trust', '-U', 'postgres', '-E', 'UTF8',
                      '--locale=C', *(['-k'] if checksums else []))
        self.write_conf()

    def write_conf(self, **changes):
        self.conf.update(changes)
        with open(self.data + '/postgresql.auto.conf', 'w') as f:
            f.write(CONF.format(socket=self.dir, fsync='on' if self.fsync else 'off'))
            f.write("shared_preload_libraries = '%s'\n" % self.preload)
            for k, v in self.conf.items():
                f.write("%s = '%s'\n" % (k, v))

    def run_tool(self, tool, *arguments, timeout=600, env=None):
        return run([os.path.join(self.bindir, tool)] + list(arguments), what=tool, timeout=timeout,
                   cwd=self.dir, env=self.environment(env), **as_user())

    def environment(self, extra=None):
        e = {k: v for k, v in os.environ.items() if not k.startswith(('PG', 'LC_', 'LANG'))}
        e.update(LC_ALL='C', PGHOST=self.dir, PGPORT='5432', PGUSER='postgres', PGDATABASE='postgres', HOME=self.dir)
        e.update(extra or {})
        return e

    # ---- its installation ----

    def installed(self, path):
        """Where that directory of the server's installation is in the private copy."""
        return self.bindir[:-len(os.path.realpath(self.origin))] + path

    def extension_dir(self):
        return self.installed(harness.pg_config('--sharedir', self.origin) + '/extension')

    def provide(self, extension, package):
        """Links the files of an extension that a package of Debian's has for this major version, also
        where the server is not Debian's."""
        major = harness.major(self.origin)
        libdir = self.installed(harness.pg_config('--pkglibdir', self.origin))
        for source, target in (('/usr/lib/postgresql/%d/lib', libdir), ('/usr/share/postgresql/%d/extension', self.extension_dir())):
            for path in glob.glob('%s/%s*' % (source % major, extension)):
                to = os.path.join(target, os.path.basename(path))
                if not os.path.lexists(to):
                    os.symlink(path, to)
        check(os.path.exists('%s/%s.control' % (self.extension_dir(), extension)),
              '%s is not installed: apt-get install postgresql-%d-%s' % (extension, major, package))

    # ---- life ----

    def start(self, timeout_s=120, wait=True, arguments=()):
        check(self.postmaster is None, 'server runs already')
        env = dict(self.extra_env)
        if self.shim:
            if os.path.exists(self.journal):
                os.unlink(self.journal)
            env.update(LD_PRELOAD=harness.shim(), ROWAN_SHIM_JOURNAL=self.journal)
        with open(self.log, 'ab') as log:
            self.postmaster = subprocess.Popen(
                [self.bindir + '/postgres', '-D', self.data, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.dir, env=self.environment(env), start_new_session=True, preexec_fn=end_with_parent, **as_user())
        if wait:
            self.wait_ready(timeout_s)
        return self

    def state(self):
        """The postmaster's own word: starting, ready, standby, stopping."""
        try:
            lines = open(self.data + '/postmaster.pid').read().split('\n')
            if int(lines[0]) == self.postmaster.pid:
                return lines[7].strip()
        except (OSError, ValueError, IndexError):
            pass
        return 'starting'

    def wait_ready(self, timeout_s=120):
        end = time.time() + timeout_s
        while self.state() not in ('ready',):
            if self.postmaster.poll() is not None:
                self.postmaster = None
                raise Failure('server "%s" does not start' % self.name)
            if time.time() > end:
                raise Failure('server "%s" is not ready after %d s' % (self.name, timeout_s))
            time.sleep(0.02)

    def wait_ended(self, timeout_s=120):
        try:
            self.postmaster.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failure('server "%s" does not stop' % self.name)
        self.postmaster = None

    def stop(self, mode='fast', timeout_s=120):
        sig = {'smart': signal.SIGTERM, 'fast': signal.SIGINT, 'immediate': signal.SIGQUIT}[mode]
        os.kill(self.postmaster.pid, sig)
        self.wait_ended(timeout_s)

    def restart(self, mode='fast'):
        self.stop(mode)
        self.start()

    def processes(self):
        """The postmaster and all its children."""
        if self.postmaster is None:
            return []
        mine = [self.postmaster.pid]
        for d in os.listdir('/proc'):
            if d.isdigit():
                try:
                    stat = open('/proc/%s/stat' % d).read()
                except OSError:
                    continue
                fields = stat[stat.rindex(')') + 2:].split()
                if int(fields[1]) == self.postmaster.pid and fields[0] != 'Z':
                    mine.append(int(d))
        return mine

    def kill9(self):
        """All processes at one moment: stopped first, then killed."""
        for _ in range(2):              # the second round takes children forked meanwhile
            signal_all(self.processes(), signal.SIGSTOP)
        time.sleep(0.02)
        pids = self.processes()
        signal_all(pids, signal.SIGKILL)
        self.postmaster.wait()
        self.postmaster = None
        end = time.time() + 20
        while any(running(p) for p in pids) and time.time() < end:
            time.sleep(0.01)
        self.remove_empty_lock_files()

    def remove_empty_lock_files(self):
        """Of a server killed between making its lock file and writing it: no server starts over such a file."""
        for path in (self.data + '/postmaster.pid', self.dir + '/.s.PGSQL.5432.lock'):
            if os.path.exists(path) and os.path.getsize(path) == 0:
                os.unlink(path)

    def power_loss(self, mode='mix', seed=None):
        """kill9, then undo what no fsync had made durable; what was undone."""
        import powerloss
        self.kill9()
        return powerloss.undo(self.data, self.journal, mode, seed)

    def destroy(self):
        if self.postmaster is not None:
            self.kill9()
        if not harness.env('ROWAN_TEST_KEEP'):
            shutil.rmtree(self.dir, ignore_errors=True)

    # ---- talking to it ----

    def conninfo(self, db='postgres', options=''):
        return "host='%s' port=5432 user=postgres dbname='%s' options='%s' connect_timeout=20" % (self.dir, db, options)

    def connect(self, db='postgres', options=''):
        return pq.Connection(self.conninfo(db, options))

    def connect_patiently(self, timeout_s=60, **kw):
        """Connects when the server lets us: it may be in crash recovery."""
        end = time.time() + timeout_s
        while True:
            try:
                return self.connect(**kw)
            except pq.Error:
                if time.time() > end:
                    raise
                time.sleep(0.05)

    def sql(self, sql, db='postgres', options=''):
        """Rows of the last statement; its errors are the test's failures."""
        with self.connect(db, options) as c:
            return c.rows(sql)

    def one(self, sql, db='postgres'):
        rows = self.sql(sql, db)
        return rows[0][0] if rows else None

    def psql(self, script=None, file=None, db='postgres', options='', flags=('-XAtq',), check_=True, env=None):
        e = self.environment(env)
        if options:
            e['PGOPTIONS'] = options
        command = [self.bindir + '/psql', *flags, '-d', db] + (['-v', 'ON_ERROR_STOP=1'] if check_ else [])
        p = subprocess.run(command, input=script if file is None else None,
                           stdin=open(file) if file else None,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                           env=e, cwd=self.dir, timeout=1200)
        if check_ and p.returncode:
            raise Failure('psql: ' + p.stdout[-3000:])
        return p.stdout

    def create_extension(self, db='postgres'):
        if self.extension:
            self.sql('CREATE EXTENSION IF NOT EXISTS ' + self.extension, db)

    def verify(self, *tables, db='postgres'):
        """rowan.verify of these tables (of all of them if none are named) must be silent."""
        if not ENGINE or harness.env('ROWAN_TEST_VERIFY') == '0':
            return
        with self.connect(db, '-c statement_timeout=300s') as c:
            if not tables:
                tables = [r[0] for r in c.rows(
                    "SELECT c.oid::regclass FROM pg_class c JOIN pg_am a ON a.oid = c.relam "
                    "WHERE amname = '%s' AND relkind IN ('r','m','t') AND relpersistence <> 't' ORDER BY 1" % AM)]
            for t in tables:
                complaints = c.rows("SELECT * FROM rowan.verify('%s')" % t)
                check(not complaints, 'verify of %s: %s' % (t, complaints[:5]))
        self.verify_indexes(*tables, db=db)

    def verify_indexes(self, *tables, db='postgres'):
        """The same of rowan_btree indexes of these tables, both ways (of all if none are named)."""
        if not ENGINE or harness.env('ROWAN_TEST_VERIFY') == '0':
            return
        of = "indrelid IN (%s) AND " % ','.join("'%s'::regclass" % t for t in tables) if tables else ''
        with self.connect(db) as c:
            for (i,) in c.rows("SELECT c.oid::regclass FROM pg_class c JOIN pg_am a ON a.oid = c.relam JOIN pg_index i ON i.indexrelid = c.oid "
                               "WHERE %s amname = 'rowan_btree' AND relkind = 'i' AND indisready ORDER BY 1" % of):
                complaints = c.rows("SELECT * FROM rowan.verify('%s', true)" % i)
                check(not complaints, 'verify of index %s: %s' % (i, complaints[:5]))

    def path_of(self, table, db='postgres'):
        return os.path.join(self.data, self.one("SELECT pg_relation_filepath('%s')" % table, db))

    # ---- its log ----

    def log_text(self):
        try:
            return open(self.log, errors='replace').read()
        except OSError:
            return ''

    def check_log(self, *allowed):
        """No assertion failed, nobody panicked or crashed, except as allowed."""
        for line in self.log_text().split('\n'):
            if any(w in line for w in ('TRAP:', 'PANIC:', 'terminated by signal 11', 'terminated by signal 6')):
                if not any(a in line for a in allowed):
                    raise Failure('in the log of "%s": %s' % (self.name, line))

    def show_log_tail(self, lines=25):
        ordinary = re.compile(r'client backend \S+ (ERROR|DETAIL|STATEMENT|HINT|NOTICE|WARNING|CONTEXT)')
        text = [x for x in self.log_text().rstrip('\n').split('\n') if not ordinary.search(x)][-lines:]
        print('--- log of server "%s":\n%s' % (self.name, '\n'.join('  ' + x[:300] for x in text)), flush=True)

    # ---- a standby ----

    def backup_to(self, name='standby', conf=None):
        """A streaming standby of this server, not started yet."""
        s = Cluster(name, conf=dict(self.conf, **(conf or {})), variant=self.variant, shim=False, fsync=self.fsync,
                    preload=self.preload, initdb=False)
        s.run_tool('pg_basebackup', '-D', s.data, '-h', self.dir, '-p', '5432', '-U', 'postgres',
                   '-c', 'fast', '-X', 'stream', '--no-sync')
        s.write_conf(primary_conninfo="host=%s port=5432 user=postgres application_name=%s" % (self.dir, name))
        open(s.data + '/standby.signal', 'w').close()
        harness.own(s.data + '/standby.signal')
        return s

    def wait_replayed(self, primary, timeout_s=120):
        """Waits until this standby has applied all that the primary has done."""
        # its commit writes all WAL, that of VACUUM too
        primary.sql("SET synchronous_commit = local; SELECT pg_logical_emit_message(true, '', '')")
        lsn = primary.one('SELECT pg_current_wal_lsn()')
        end = time.time() + timeout_s
        while True:
            try:
                if self.one("SELECT coalesce(pg_last_wal_replay_lsn() >= '%s', false)" % lsn) == 't':
                    return
            except pq.Error:
                check(self.postmaster.poll() is None, 'the standby has ended')
            if time.time() > end:
                raise Failure('standby has not replayed up to %s' % lsn)
            time.sleep(0.05)

    def wait_recovered(self, timeout_s=120):
        """Until all WAL there is was replayed, and the server writes."""
        end = time.time() + timeout_s
        while self.one('SELECT pg_is_in_recovery()') == 't':
            check(time.time() < end, 'recovery does not end')
            time.sleep(0.05)

    def promote(self, timeout_s=60):
        check(self.one('SELECT pg_promote(true, %d)' % timeout_s) == 't', 'promotion failed')


_libc = ctypes.CDLL(None)


def end_with_parent():
    """A test that is killed takes its servers along: immediate shutdown."""
    _libc.prctl(1, signal.SIGQUIT)      # PR_SET_PDEATHSIG


def vacuum_all(c, table, options='ANALYZE'):
    """VACUUM passes over a page of a heap that somebody has pinned, who writes it for a checkpoint for example.  Until all is visible to all."""
    for _ in range(200):
        c.exec('VACUUM (%s) %s' % (options, table))
        if c.one("SELECT relallvisible = relpages OR amname <> 'heap' FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = '%s'::regclass" % table) == 't':
            return
        time.sleep(0.1)
    raise Failure('VACUUM does not make all of %s visible' % table)


def running(pid):
    try:
        stat = open('/proc/%d/stat' % pid).read()
        return stat[stat.rindex(')') + 2] != 'Z'
    except OSError:
        return False


def signal_all(pids, sig):
    for p in pids:
        try:
            os.kill(p, sig)
        except ProcessLookupError:
            pass


def make(name='main', **kw):
    """A started cluster with the extension."""
    c = Cluster(name, **kw)
    c.start()
    c.create_extension()
    return c
