#!/usr/bin/env python3
"""Debian packages and the zip for PGXN: built, installed, used and purged in chroots of other
distributions; what
the files say of versions agrees.

Quick: only what can be told without building.  --long: packages,
in chroots (needs root, and some minutes for
packages to be loaded)."""
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import chroot
import harness
from harness import ENGINE, TOP, check, run, say

SUITES = ('bookworm', 'trixie', 'forky')


def read(name):
    with open(os.path.join(TOP, name)) as f:
        return f.read()


def versions():
    """The same one everywhere; scripts lead from each version to it."""
    version = re.search(r"default_version = '(.*)'", read('rowan.control')).group(1)
    for name, pattern in (('META.json', r'"version": "(%s)",\n   "maintainer"'),
                          ('CHANGELOG.md', r'^## (%s) '),
                          ('debian/changelog', r'^postgresql-rowan \((%s)-\d+\)')):
        check(re.search(pattern % re.escape(version), read(name), re.M),
              '%s is not of version %s' % (name, version))
    scripts = sorted(f for f in os.listdir(TOP) if re.match(r'rowan--.*\.sql$', f))
    check(all(s in read('Makefile') for s in scripts), 'the Makefile does not install %s' % scripts)
    majors = set(re.findall(r'\d+', read('debian/pgversions')))
    check(majors == set(re.findall(r'\b1[5-9]\b', read('README.md').split('untested')[0])) - {'16'},
          'majors of debian/pgversions: %s' % majors)
    return version


def meta(version, files):
    """PGXN Meta Spec 1.0.0: what it demands, and that files which are named exist."""
    m = json.loads(read('META.json'))
    for key in ('name', 'version', 'abstract', 'maintainer', 'license', 'provides', 'meta-spec'):
        check(m.get(key), 'META.json has no ' + key)
    semantic = r'\d+\.\d+\.\d+([a-zA-Z][-0-9A-Za-z]*)?$'
    check(re.match(r'[^\s/\\\x00-\x1f]{2,}$', m['name']) and re.match(semantic, m['version']),
          'META.json: name or version')
    check(m['meta-spec']['version'] == '1.0.0' and re.match(r'https?://', m['meta-spec']['url']),
          'META.json: meta-spec')
    licenses = {'agpl_3', 'apache_2_0', 'artistic_2', 'bsd', 'mit', 'postgresql', 'gpl_2', 'gpl_3',
                'lgpl_2_1', 'mozilla_2_0'}
    check(m['license'] in licenses, 'META.json: license')
    check(m['release_status'] in ('stable', 'testing', 'unstable'), 'META.json: release_status')
    check(set(m['prereqs']) <= {'configure', 'build', 'test', 'runtime', 'develop'},
          'META.json: prereqs')
    for name, provided in m['provides'].items():
        check(re.match(semantic, provided['version']) and provided['version'] == version,
              'META.json: version of ' + name)
        for key in ('file', 'docfile'):
            check(provided[key] in files, 'META.json: %s does not exist' % provided[key])
    check(all(re.match(r'[^/\\\x00-\x1f]{1,255}$', t) for t in m.get('tags', [])),
          'META.json: tags')


def zip_file(version):
    """make dist: all that git has, below one directory; it builds where nothing else is."""
    run(['make', '-s', 'dist'], cwd=TOP, what='make dist')
    path = '%s/build/rowan-%s.zip' % (TOP, version)
    with zipfile.ZipFile(path) as z:
        top = 'rowan-%s/' % version
        names = z.namelist()
        check(all(n.startswith(top) for n in names), 'the zip has files beside its directory')
        files = {n[len(top):] for n in names}
        check({'META.json', 'Makefile', 'rowan.control', 'LICENSE', 'README.md',
               'src/rowan.c'} <= files, 'the zip lacks files')
        check(not any(n.endswith(('.o', '.so')) or n.startswith('build/') for n in files),
              'the zip has what was built')
        meta(version, files)
        directory = harness.new_dir('zip')
        z.extractall(directory)
    return os.path.join(directory, top)


def docker_file(version):
    """It is not run here: each file that it copies exists, the base is Debian."""
    text = read('Dockerfile')
    check(re.match(r'(#.*\n)*ARG DEBIAN=\w+\nFROM debian:\$\{DEBIAN\}', text),
          'the base of the Dockerfile')
    for names in re.findall(r'^COPY (?!--from)(.*) \S+$', text, re.M):
        for name in names.split():
            check(os.path.exists(os.path.join(TOP, name)), 'the Dockerfile copies %s' % name)


def package(suite):
    root = chroot.make(suite)
    with chroot.running(suite, root, ['test/lib/package.sh'], overlay=True, stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT) as p:
        out = p.communicate(timeout=3600)[0]
    check(p.returncode == 0, '%s:\n%s' % (suite, out))
    say('%s: %s' % (suite, ' / '.join(line for line in out.strip().split('\n') if line)))


def test(options):
    if not ENGINE:
        return
    version = versions()
    if os.path.isdir(TOP + '/.git') or os.path.isfile(TOP + '/.git'):
        directory = zip_file(version)
        if options.long:
            run(['make', '-s', '-j2'], cwd=directory, what='make from the zip', timeout=1200)
        shutil.rmtree(directory)
    docker_file(version)
    if options.long:
        for suite in SUITES:
            package(suite)


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
