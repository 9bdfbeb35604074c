#!/usr/bin/env python3
"""pgBackRest and Barman, as Debian packages them: backups under load, restored to their end, and to
a point in time; the tables are what they were then, and verify finds nothing.

    backup.py            a backup by pgBackRest, if it is installed, and a point in time
    backup.py --long     both; full, differential, incremental backups; several points, and the end

    apt-get install pgbackrest barman
"""
import os
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import cluster
import harness
from harness import AM, check, say
from workload import Load, contents

CONF = {'rowan.buffers': '2MB', 'shared_buffers': '4MB', 'max_wal_size': '128MB',
        'archive_mode': 'on', 'wal_keep_size': '1GB'}
if AM == 'heap':
    CONF.pop('rowan.buffers')


def owned_dir(*path):
    directory = os.path.join(*path)
    os.makedirs(directory, exist_ok=True)
    harness.own(directory)
    return directory


class Tool:
    """A tool for backups of a server, with its files in a directory of its own."""

    def __init__(self):
        self.dir = harness.new_dir(self.name)
        self.config = os.path.join(self.dir, 'config')

    def run(self, *arguments, timeout=600):
        return harness.run([self.name, *self.options(), *arguments], what=self.name,
                           timeout=timeout, cwd=self.dir, env=self.server.environment(),
                           **harness.as_user())

    def write_config(self, text):
        with open(self.config, 'w') as f:
            f.write(text)
        harness.own(self.config)

    def finish(self):
        pass


class PgBackRest(Tool):
    name = 'pgbackrest'
    kinds = ('full', 'diff', 'incr')

    def options(self):
        return ['--config=' + self.config, '--stanza=main']

    def server_conf(self):
        options = ' '.join(self.options())
        return {'archive_command': '%s %s archive-push %%p' % (self.name, options)}

    def attach(self, server):
        self.server = server
        lines = ['[global]']
        for what in ('repo1', 'lock', 'log', 'spool'):
            lines.append('%s-path=%s' % (what, owned_dir(self.dir, what)))
        lines += ['start-fast=y', 'checksum-page=y', 'compress-type=none',
                  'log-level-console=warn', '[main]',
                  'pg1-path=' + server.data, 'pg1-socket-path=' + server.dir, 'pg1-port=5432',
                  'pg1-user=postgres', 'pg1-database=postgres']
        self.write_config('\n'.join(lines) + '\n')
        self.run('stanza-create')
        self.run('check')

    def backup(self, kind):
        out = self.run('--type=' + kind, 'backup')
        check('invalid page checksum' not in out, out)

    def restore(self, to, point):
        """The command that fetches WAL is in what it writes to postgresql.auto.conf."""
        target = ['--type=name', '--target=' + point, '--target-action=promote'] if point else []
        self.run('--pg1-path=' + to.data, *target, 'restore')
        return {'restore_command': '%s %s --pg1-path=%s archive-get %%f "%%p"'
                                   % (self.name, ' '.join(self.options()), to.data)}


class Barman(Tool):
    """By pg_basebackup and pg_receivewal."""
    name = 'barman'
    kinds = ('full',)
    receiver = None

    def options(self):
        return ['-c', self.config]

    def server_conf(self):
        return {'archive_command': '/bin/true'}

    def attach(self, server):
        self.server = server
        conninfo = 'host=%s port=5432 user=postgres dbname=postgres' % server.dir
        self.write_config(
            '[barman]\nbarman_user = %s\nbarman_home = %s\nbarman_lock_directory = %s\n'
            'log_file = %s/log\nlog_level = INFO\ncompression = gzip\n'
            '[main]\nconninfo = %s\nstreaming_conninfo = %s\nbackup_method = postgres\n'
            'streaming_archiver = on\nslot_name = barman\ncreate_slot = auto\npath_prefix = %s\n'
            'immediate_checkpoint = true\n'
            % (harness.USER.pw_name if harness.USER else os.environ['USER'],
               owned_dir(self.dir, 'home'), owned_dir(self.dir, 'locks'), self.dir,
               conninfo, conninfo, server.bindir))
        self.run('receive-wal', '--create-slot', 'main')
        self.receiver = subprocess.Popen([self.name, *self.options(), 'receive-wal', 'main'],
                                         cwd=self.dir, env=server.environment(),
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                         **harness.as_user())
        harness.wait_for(lambda: server.one('SELECT active FROM pg_replication_slots') == 't',
                         'pg_receivewal')
        self.archive()
        self.run('check', 'main')

    def archive(self):
        self.run('switch-wal', '--force', '--archive', 'main')

    def backup(self, kind):
        self.run('backup', 'main', '--wait')

    def restore(self, to, point):
        self.archive()
        target = ['--target-name', point, '--target-action', 'promote'] if point else []
        self.run('recover', *target, '--no-get-wal', 'main', 'latest',
                 to.data)
        return {'restore_command': 'cp %s/barman_wal/%%f %%p' % to.data}

    def finish(self):
        if self.receiver is not None:
            self.receiver.terminate()
            self.receiver.wait()


def restored(tool, server, point):
    """A server made of the last backup."""
    to = cluster.Cluster('restored', conf=dict(CONF, archive_mode='off'), initdb=False)
    os.makedirs(to.data, mode=0o700, exist_ok=True)
    harness.own(to.data)
    conf = tool.restore(to, point)
    if point:
        conf.update(recovery_target_name=point, recovery_target_action='promote')
    to.write_conf(**conf)
    signal = to.data + '/recovery.signal'
    open(signal, 'a').close()
    harness.own(signal)
    to.start()
    to.wait_recovered()
    return to


def compare(tool, server, point, expected):
    to = restored(tool, server, point)
    found = contents(to)
    check(found == expected, '%s, %s: %s, should be %s' % (tool.name, point, found, expected))
    to.verify()
    to.sql('UPDATE items SET v = v + 1')
    to.sql('VACUUM items')
    to.verify()
    to.stop()
    to.check_log()
    to.destroy()


def make_points(server, load, n):
    """{name: what was there}, of restore points between bouts of load."""
    points = {}
    for i in range(n):
        load.start((0.1, 0.5))
        time.sleep(0.5)
        load.stop()
        name = 'point%d' % i
        server.sql("SELECT pg_create_restore_point('%s')" % name)
        points[name] = contents(server)
    return points


def backups(tool, options):
    server = cluster.Cluster('saved', conf=dict(CONF, **tool.server_conf()))
    server.start()
    server.create_extension()
    tool.attach(server)
    load = Load(server, sessions=3, accounts=2000, seed=options.seed)
    load.setup()
    load.start((0.1, 0.5))
    time.sleep(0.5)
    for kind in tool.kinds if options.long else tool.kinds[:1]:
        tool.backup(kind)
        time.sleep(0.3)
    load.stop()
    points = make_points(server, load, 4 if options.long else 1)
    server.sql('SELECT pg_switch_wal()')
    last = contents(server)
    for point in random.Random(options.seed).sample(sorted(points), len(points)):
        compare(tool, server, point, points[point])
    if options.long:
        compare(tool, server, None, last)
    load.verify()
    tool.finish()
    server.stop()
    server.check_log()
    say('%s: %d points in time' % (tool.name, len(points)))


def test(options):
    for kind in (PgBackRest, Barman) if options.long else (PgBackRest,):
        if shutil.which(kind.name) is None:
            say('%s is not installed' % kind.name)
            continue
        if kind is PgBackRest and harness.major() > 15:
            say('pgBackRest of Debian 12 knows servers up to 15')
            continue
        tool = kind()
        try:
            backups(tool, options)
        finally:
            tool.finish()


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
