#!/usr/bin/env python3
"""make report and make bench: their pages stand for themselves, and are seen by a browser as they
should be: at two widths, on light ground and on dark, nothing sticks out, every picture is drawn.

The bench is a tiny one: its figures mean nothing, and each measure must be there.

Needs chromium (apt-get install chromium) to look at them; without it, they are only read."""
import glob
import os
import re
import sys
import xml.etree.ElementTree as ET

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import browser
import harness
import report
from harness import ENGINE, TOP, check, run, say

BENCH = ['--quick', '--cases', 'a b k x', '--keys', 'int8', '--buffers', '64MB']


def bench_page():
    directory = harness.new_dir('bench-page')
    run([sys.executable, TOP + '/bench/run.py', '--out', directory] + BENCH, what='bench')
    paths = glob.glob(directory + '/bench_*.html')
    check(len(paths) == 1, 'pages of the bench: %s' % os.listdir(directory))
    text = re.sub(r'<[^>]+>', ' ', open(paths[0], encoding='utf-8').read())
    for words in ('copy with pk', 'server loop per lookup', 'count secondary', 'point lookup',
                  'shared_buffers', 'load average', 'rowan_btree', 'bench/run.py'):
        check(words in text, 'the page of the bench does not say "%s"' % words)
    check('ERROR' not in text, 'the bench met errors: %s' % paths[0])
    return paths[0]


def report_pages():
    directory = harness.new_dir('report')
    made = report.make(report.arguments().parse_args(
        ['--packages', '4000', '--rounds', '3', '--out', directory, '--pictures', directory]))
    for name in ('growth', 'speed', 'tree', 'page'):
        ET.parse('%s/%s.svg' % (directory, name))
    return made


def test(options):
    if not ENGINE:
        return
    pages = report_pages() + [bench_page()]
    for path in pages:
        browser.check_page(path)
        if browser.browser():
            browser.check_seen(path)
    say('%d pages' % len(pages) if browser.browser() else
        'no chromium: nobody has looked at the pages')


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
