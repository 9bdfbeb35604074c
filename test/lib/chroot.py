#!/usr/bin/env python3
"""Other distributions of Debian on this machine, each in a directory that debootstrap fills: for the
PostgreSQL that their users have.

    chroot.py make trixie            makes it if it is not there
    chroot.py run trixie COMMAND     runs COMMAND in it, in a copy of this checkout

A chroot holds what bootstrap.sh installs on a bare system, is made once, and is not written to by the
commands that run in it: checkout, /tmp and /dev/shm are the run's own, mounted in its own namespaces, so that
nothing is left of its mounts and processes once it has ended, however it ended.  Needs root.

Environment: ROWAN_TEST_CHROOTS, the directory (default /var/tmp/rowan-chroots).
"""
import contextlib
import ctypes
import fcntl
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import TOP, Failure, check, env, say

CACHE = env('ROWAN_TEST_CHROOTS', '/var/tmp/rowan-chroots')
MAKE_TIMEOUT_S = 3600
CHECKOUT = '/srv/rowan'         # in the chroot
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
# of the environment, what a command in a chroot gets to see
PASSED_ON = re.compile('ROWAN_TEST_(AM|KEEP|SEED|VARIANT|VERIFY)$|TERM$|(https?|ftp|no)_proxy$', re.I)


def mirror():
    """Of the distribution, as the machine's own apt has it."""
    return harness.run([os.path.dirname(os.path.abspath(__file__)) + '/mirror.sh'], what='the search for a Debian archive').strip()


def apt_settings():
    """How the machine's apt reaches its archive, as lines for the chroot's: proxies, and whether old lists are believed."""
    dump = harness.run(['apt-config', 'dump'])
    return ''.join(line + '\n' for line in dump.split('\n') if re.match(r'Acquire::(\S*prox|\S*timeout|Retries|Check-Valid-Until)', line, re.I))


# ---- making one ----

def make(suite):
    """The directory of a complete chroot of that distribution."""
    check(os.getuid() == 0, 'a chroot of %s needs root' % suite)
    target = os.path.join(CACHE, suite)
    os.makedirs(CACHE, exist_ok=True)
    with open(target + '.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(target):
            bootstrap(suite, target)                    # this checkout may need more than the one that made it
            return target
        for left in glob.glob(target + '.new.*'):       # of a maker that was killed
            shutil.rmtree(left)
        new = tempfile.mkdtemp(prefix=suite + '.new.', dir=CACHE)
        try:
            say('making a chroot of %s in %s' % (suite, target))
            fill(suite, new)
            os.rename(new, target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return target


def fill(suite, root):
    if not shutil.which('debootstrap'):
        install_debootstrap()
    os.chmod(root, 0o755)
    script = '/usr/share/debootstrap/scripts/' + suite
    # in a mount namespace, so that what debootstrap mounts cannot stay behind
    quietly(['unshare', '--mount', 'debootstrap', '--variant=minbase', '--keyring=' + KEYRING, suite, root, mirror()] +
            ([] if os.path.exists(script) else ['/usr/share/debootstrap/scripts/sid']),
            'debootstrap of %s from %s' % (suite, mirror()))
    for path, text, mode in (
            ('usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755),           # no service is started
            ('etc/postgresql-common/createcluster.conf', 'create_main_cluster = false\n', 0o644),
            ('etc/dpkg/dpkg.cfg.d/rowan', 'force-unsafe-io\npath-exclude /usr/share/man/*\n', 0o644),
            ('etc/apt/apt.conf.d/90rowan', apt_settings() + 'APT::Sandbox::User "root";\nAcquire::Languages "none";\n', 0o644)):
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        with open(os.path.join(root, path), 'w') as f:
            f.write(text)
        os.chmod(os.path.join(root, path), mode)
    os.makedirs(root + CHECKOUT, exist_ok=True)
    bootstrap(suite, root)
    again = bootstrap(suite, root)
    check(not again, 'bootstrap.sh in a chroot of %s is not silent the second time:\n%s' % (suite, again))
    shutil.rmtree(root + '/var/cache/apt/archives', ignore_errors=True)


def bootstrap(suite, root):
    """Installs what the tests need and is not there yet; what it says."""
    with running(suite, root, ['test/lib/bootstrap.sh'], writable=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as p:
        out = p.communicate(timeout=MAKE_TIMEOUT_S)[0]
    check(p.returncode == 0, 'bootstrap.sh in a chroot of %s:\n%s' % (suite, out))
    return out


def install_debootstrap():
    e = dict(os.environ, DEBIAN_FRONTEND='noninteractive')
    quietly(['apt-get', 'update'], 'debootstrap is missing; apt-get update', env=e)
    quietly(['apt-get', 'install', '-y', '--no-install-recommends', 'debootstrap'], 'installation of debootstrap', env=e)


def quietly(command, what, **kw):
    try:
        harness.run(command, what=what, timeout=MAKE_TIMEOUT_S, stdin=subprocess.DEVNULL, **kw)
    except OSError as e:
        raise Failure('%s: %s' % (what, e))
    except subprocess.TimeoutExpired:
        raise Failure('%s: no end after %d s' % (what, MAKE_TIMEOUT_S))


# ---- running in one ----

# Arguments: root, directory of the run, ro or rw, build directory, command.
# The shell stays, as the first process of its PID namespace: it takes in orphans, and with it all end.
ENTER = r'''
set -e
root=$1 own=$2 mode=$3 build=$4; shift 4
if [ "$mode" = overlay ]; then
    mkdir "$own/changes" "$own/root"
    mount -t tmpfs tmpfs "$own/changes"
    mkdir "$own/changes/upper" "$own/changes/work"
    mount -t overlay overlay "$own/root" -o \
        "lowerdir=$root,upperdir=$own/changes/upper,workdir=$own/changes/work"
    root=$own/root
else
    mount --bind "$root" "$root"
fi
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
mount --bind "$own/tmp" "$root/tmp"
mount --bind "$own/checkout" "$root''' + CHECKOUT + r'''"
[ -z "$build" ] || mount --bind "$build" "$root''' + CHECKOUT + r'''/build"
[ "$mode" != ro ] || mount -o remount,bind,ro "$root"
set +e
chroot "$root" sh -c 'cd ''' + CHECKOUT + r''' && exec "$@"' sh "$@"
exit $?
'''


def copy_checkout(target):
    """What git knows of the checkout, as it is now; all of it, if it is not git's."""
    try:
        listed = subprocess.run(['git', '-c', 'safe.directory=*', 'ls-files', '-co', '--exclude-standard', '-z'], cwd=TOP, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, check=True).stdout.decode().split('\0')
    except (OSError, subprocess.CalledProcessError):
        shutil.copytree(TOP, target, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns('build', '.git', '*.o', '*.so', '__pycache__'))
        return
    for name in filter(None, listed):
        source, to = os.path.join(TOP, name), os.path.join(target, name)
        if os.path.lexists(source):
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy2(source, to, follow_symlinks=False)


def die_with_parent():
    """unshare is killed with us, and takes its namespaces along."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG


@contextlib.contextmanager
def running(suite, root, command, writable=False, overlay=False, **kw):
    """The command as a process in the chroot; what it left behind is removed at the end.
    With overlay, it may write everywhere, and what it has written is forgotten."""
    mode = 'overlay' if overlay else 'rw' if writable else 'ro'
    check(shutil.which('unshare'), 'unshare (package util-linux) is missing')
    own = tempfile.mkdtemp(prefix='chroot-%s.' % suite, dir=harness.tmp())
    os.chmod(own, 0o755)
    os.makedirs(own + '/checkout/build')
    os.mkdir(own + '/tmp')
    os.chmod(own + '/tmp', 0o1777)
    copy_checkout(own + '/checkout')
    build = ''
    if not writable:                                # objects are kept for the next run
        build = os.path.join(TOP, 'build', suite)
        os.makedirs(build, exist_ok=True)
    e = {k: v for k, v in os.environ.items() if PASSED_ON.match(k)}
    e.update(PATH=PATH, HOME='/root', LC_ALL='C.UTF-8', DEBIAN_FRONTEND='noninteractive')
    p = subprocess.Popen(['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--ipc', 'sh', '-c', ENTER, 'sh',
                          root, own, mode, build] + list(command),
                         stdin=subprocess.DEVNULL, env=e, text=True, errors='replace', preexec_fn=die_with_parent, **kw)
    try:
        yield p
    finally:
        if p.poll() is None:
            p.kill()
            p.wait()
        if not env('ROWAN_TEST_KEEP'):
            shutil.rmtree(own, ignore_errors=True)


def main():
    check(len(sys.argv) > 2 and sys.argv[1] in ('make', 'run'), __doc__)
    suite, command = sys.argv[2], sys.argv[3:]
    root = make(suite)
    if sys.argv[1] == 'make':
        say(root)
        return 0
    check(command, 'run what?')
    with running(suite, root, command) as p:
        return p.wait()


if __name__ == '__main__':
    try:
        sys.exit(main())
    except Failure as e:
        sys.exit('chroot: %s' % e)
