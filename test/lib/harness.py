"""What every test starts from: options, a private copy of the server with Rowan in it,
a temporary directory, an unprivileged user, clean-up.

The server's installation is relocatable, so a test server is a copy of its binaries
with links to the rest, and Rowan installed into that: the system is not touched, and several variants
(release, with fault points) live beside each other.

Environment: ROWAN_TEST_AM (heap proves the harness itself), ROWAN_TEST_BINDIR (else PG_CONFIG's server,
as in make, else Debian's),
ROWAN_TEST_VARIANT (release, pages, faults), ROWAN_TEST_USER, ROWAN_TEST_KEEP=1 (keep the directory), ROWAN_TEST_SEED, ROWAN_TEST_VERIFY=0 (leave
rowan.verify out).
"""
import argparse
import atexit
import fcntl
import functools
import glob
import os
import pwd
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
env = os.environ.get

AM = env('ROWAN_TEST_AM', 'rowan')
PRELOAD = env('ROWAN_TEST_PRELOAD', '' if AM == 'heap' else AM)
EXTENSION = env('ROWAN_TEST_EXTENSION', '' if AM == 'heap' else AM)
ENGINE = AM != 'heap'               # has functions of its own: verify and the rest
SUPPORTED = (18, 17, 16, 15)        # major versions of PostgreSQL


def packaged_bindir():
    """Of Debian's newest server that has its development files; as lib/bootstrap.sh chooses."""
    places = ['/usr/lib/postgresql/%d/bin' % major for major in SUPPORTED]
    complete = [p for p in places if os.path.exists(p + '/postgres') and os.path.exists(p + '/pg_config')]
    return (complete or places[-1:])[0]


def chosen_bindir():
    """Of the server that PG_CONFIG belongs to, as in make; else of the packaged one."""
    if not env('PG_CONFIG'):
        return packaged_bindir()
    return subprocess.run([env('PG_CONFIG'), '--bindir'], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


BINDIR = env('ROWAN_TEST_BINDIR') or chosen_bindir()
VARIANT = env('ROWAN_TEST_VARIANT', 'release')      # of tests that do not ask for one


class Failure(Exception):
    """A test's expectation was not met."""


def say(*words):
    print(*words, flush=True)


def check(condition, message):
    if not condition:
        raise Failure(message)


def wait_for(condition, what, timeout_s=120, pause_s=0.02):
    """Until condition() holds."""
    end = time.time() + timeout_s
    while not condition():
        check(time.time() < end, 'waited %d s: %s' % (timeout_s, what))
        time.sleep(pause_s)


def run(command, what=None, timeout=600, **kw):
    """Runs a command; its output; Failure with the output's end if it fails."""
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       errors='replace', timeout=timeout, **kw)
    if p.returncode != 0:
        raise Failure('%s failed (%d):\n%s' % (what or command[0], p.returncode, p.stdout[-6000:]))
    return p.stdout


# ---- the unprivileged user ----

def server_user():
    """Whom the server runs as: nobody in particular, but never root."""
    if os.getuid() != 0:
        return None
    for name in (env('ROWAN_TEST_USER'), 'rowan-test', 'postgres', 'nobody'):
        if name:
            try:
                return pwd.getpwnam(name)
            except KeyError:
                pass
    raise Failure('no unprivileged user to run the server as')


USER = server_user()


def as_user():
    """Arguments for subprocess that make the child run as that user."""
    if USER is None:
        return {}
    return dict(user=USER.pw_uid, group=USER.pw_gid, extra_groups=[])


def own(path):
    if USER is not None:
        os.chown(path, USER.pw_uid, USER.pw_gid)


def own_tree(top):
    """And what is in it; the server wants it for itself alone."""
    os.chmod(top, 0o700)
    for directory, _, files in os.walk(top):
        own(directory)
        for name in files:
            own(os.path.join(directory, name))


# ---- the temporary directory ----

_tmp = None


def tmp():
    """This run's directory; tests started by run.py share the runner's."""
    global _tmp
    if _tmp is None:
        _tmp = env('ROWAN_TEST_SESSION')
        if _tmp is None:
            _tmp = tempfile.mkdtemp(prefix='rowan.')
            os.chmod(_tmp, 0o755)
            os.environ['ROWAN_TEST_SESSION'] = _tmp
            at_end(lambda: None if env('ROWAN_TEST_KEEP') else shutil.rmtree(_tmp, ignore_errors=True))
    return _tmp


def new_dir(name):
    """A directory of the server's user inside the run's directory."""
    path = tempfile.mkdtemp(prefix=name + '.', dir=tmp())
    os.chmod(path, 0o700)
    own(path)
    return path


_at_end = []


def at_end(action):
    _at_end.append(action)


def _finish():
    while _at_end:
        try:
            _at_end.pop()()
        except Exception as e:
            print('clean-up: %s' % e, file=sys.stderr)


atexit.register(_finish)
for _s in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_s, lambda *a: sys.exit(143))


# ---- building, and the private installation ----

@functools.lru_cache(None)
def pg_config(what, bindir=BINDIR):
    return subprocess.run([bindir + '/pg_config', what], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


def major(bindir=BINDIR):
    """The server's major version, a number."""
    return int(re.search(r'PostgreSQL (\d+)', pg_config('--version', bindir)).group(1))


def applies(majors):
    """Whether an entry of a list of exceptions is for the server; majors: `*`, or numbers with commas."""
    return majors == '*' or str(major()) in majors.split(',')


def cassert_directory(of):
    """Where the source and the cassert build of that major version are, or will be."""
    return '%s-%d' % (env('ROWAN_TEST_POSTGRES', '/var/tmp/rowan-postgres'), of)


def cassert_server(of):
    """The same; fetched and built if they are not there."""
    path = cassert_directory(of)
    subprocess.run([TOP + '/test/core/get-postgres.sh', str(of), path], check=True)
    return path


def mirror_source(path):
    """Copies what is newer, so that builds of several variants do not disturb each other."""
    wanted = set()
    for pattern in ('Makefile', 'rowan.control', 'rowan--*.sql', 'src/*.[ch]', 'src/*/*.[ch]'):
        for source in glob.glob(os.path.join(TOP, pattern)):
            name = os.path.relpath(source, TOP)
            target = os.path.join(path, name)
            wanted.add(name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.exists(target) or os.stat(source).st_mtime_ns != os.stat(target).st_mtime_ns:
                shutil.copy2(source, target)
    for stale in glob.glob(path + '/src/**/*.[cho]', recursive=True):
        name = os.path.relpath(stale, path)
        if name not in wanted and name[:-2] + '.c' not in wanted:
            os.unlink(stale)


def build_name(variant, bindir):
    """Of the directory in build/ and of the private installation."""
    return ('' if bindir == packaged_bindir() else bindir.strip('/').replace('/', '-') + '-') + variant


def build(variant, werror=False, bindir=BINDIR):
    """Compiles a variant in build/; returns the directory."""
    path = os.path.join(TOP, 'build', build_name(variant, bindir))
    os.makedirs(path, exist_ok=True)
    with open(path + '/.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mirror_source(path)
        run(['make', '-s', '-j%d' % (os.cpu_count() or 1)] + make_flags(variant, werror, bindir),
            what='build of variant ' + variant, cwd=path, timeout=1200)
    return path


def make_flags(variant, werror, bindir):
    return (['PG_CONFIG=' + bindir + '/pg_config'] + ['FAULTS=1'] * ('faults' in variant) +
            ['CHECK_PAGES=1'] * ('pages' in variant) + ['WERROR=1'] * werror)


def link_tree(source, target):
    """target: a directory of links to what is in source."""
    os.makedirs(target, exist_ok=True)
    for name in os.listdir(source):
        to = os.path.join(target, name)
        if not os.path.lexists(to):
            os.symlink(os.path.join(source, name), to)


def prefix_bindir(variant=VARIANT, werror=False, bindir=BINDIR):
    """The binaries of a private installation that has that variant of Rowan."""
    root = os.path.join(tmp(), 'server-' + build_name(variant, bindir))
    private = root + os.path.realpath(bindir)
    if os.path.exists(root + '/.done'):
        return private
    libdir, sharedir = pg_config('--pkglibdir', bindir), pg_config('--sharedir', bindir)
    shutil.copytree(bindir, private, symlinks=True, dirs_exist_ok=True)
    link_tree(libdir, root + libdir)
    os.makedirs(root + sharedir + '/extension', exist_ok=True)
    link_tree(sharedir + '/extension', root + sharedir + '/extension')
    link_tree(sharedir, root + sharedir)
    if PRELOAD == 'rowan' or EXTENSION == 'rowan':
        scripts = glob.glob(root + sharedir + '/extension/rowan--*.sql')
        for stale in [libdir + '/rowan.so', sharedir + '/extension/rowan.control'] + \
                [script[len(root):] for script in scripts]:
            if os.path.lexists(root + stale):
                os.unlink(root + stale)         # a link to an installed Rowan
        run(['make', '-s', 'install', 'DESTDIR=' + root] + make_flags(variant, werror, bindir),
            what='install of variant ' + variant, cwd=build(variant, werror, bindir))
    # libpq of a server that is not the system's
    libpq = pg_config('--libdir', bindir) + '/libpq.so.5'
    if os.path.exists(libpq) and not os.path.lexists(root + libpq):
        os.makedirs(os.path.dirname(root + libpq), exist_ok=True)
        os.symlink(libpq, root + libpq)
    headers = pg_config('--includedir-server', bindir)
    if not os.path.lexists(root + headers):
        os.makedirs(os.path.dirname(root + headers), exist_ok=True)
        os.symlink(headers, root + headers)
    open(root + '/.done', 'w').close()
    return private


def shim():
    """The library that journals writes and syncs, or refuses to extend files."""
    path = os.path.join(tmp(), 'shim.so')
    if not os.path.exists(path):
        run(['gcc', '-O2', '-Wall', '-Wextra', '-shared', '-fPIC', '-o', path, HERE + '/shim.c', '-ldl'])
        os.chmod(path, 0o755)
    return path


def server_module(name):
    """The path of test/lib/NAME.c compiled as a module for the server under test."""
    path = os.path.join(tmp(), name + '.so')
    if not os.path.exists(path):
        run(['gcc', '-std=gnu11', '-O2', '-Wall', '-Wextra', '-Wno-unused-parameter', '-shared', '-fPIC',
             '-isystem', pg_config('--includedir-server'), '-o', path + '.new', '%s/%s.c' % (HERE, name)])
        os.chmod(path + '.new', 0o755)
        os.rename(path + '.new', path)
    return path


# ---- options and the frame of a test ----

def arguments(description):
    """Parser with the options that every test knows."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument('--long', action='store_true', help='the whole campaign, not the quick form')
    p.add_argument('--seed', type=int, default=int(env('ROWAN_TEST_SEED', '1')))
    p.add_argument('--bindir', help='binaries of another server (same as ROWAN_TEST_BINDIR)')
    p.add_argument('--am', help='access method under test (same as ROWAN_TEST_AM)')
    return p


def reexec_on_cassert(options):
    """--major decides about the server: a cassert build of it, or --bindir's; set and start again."""
    bindir = os.path.join(cassert_server(options.major), 'pg', 'bin')
    bindir = getattr(options, 'bindir', None) or bindir
    if env('ROWAN_TEST_BINDIR') != bindir:
        os.environ['ROWAN_TEST_BINDIR'] = bindir
        os.execv(sys.executable, [sys.executable] + sys.argv)


def major_option(parser):
    parser.add_argument('--major', type=int, choices=SUPPORTED, default=int(env('PGVERSION', '15')),
                        help="of PostgreSQL, whose source is built with assertions (as PGVERSION; default 15)")


def reexec_with(options):
    """--bindir and --am decide about module variables: set and start again."""
    again = False
    for option, name in (('bindir', 'ROWAN_TEST_BINDIR'), ('am', 'ROWAN_TEST_AM')):
        value = getattr(options, option, None)
        if value and env(name) != value:
            os.environ[name] = value
            again = True
    if again:
        os.execv(sys.executable, [sys.executable] + sys.argv)


def main(test, parser):
    """Runs test(options); exit status 0 or 1."""
    options = parser.parse_args()
    reexec_with(options)
    random.seed(options.seed)
    start = time.time()
    try:
        test(options)
    except Exception as e:
        if not isinstance(e, Failure):
            traceback.print_exc(file=sys.stdout)
        from cluster import clusters
        for c in clusters:
            c.show_log_tail()
        say('FAILED: %s' % e)
        sys.exit(1)
    say('passed in %.1f s' % (time.time() - start))
