#!/usr/bin/env python3
"""The page of a bench: what raw_TAG.tsv has, as plots and tables.  run.py calls it; anew by hand:

    bench/page.py DIRECTORY TAG      writes DIRECTORY/bench_TAG.html
"""
import json
import os
import re
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'test', 'lib'))
import htmlpage
import plots

TITLES = {
    'a_load': ('Loading', 'COPY of rows of about 100 bytes with a primary key; without, and the '
               'key added afterwards.'),
    'b_point': ('Point lookups', 'By primary key: a loop in the server, and pgbench.'),
    'c_range': ('Ranges', '100 and 10000 rows by primary key; the table loaded in order of the '
                'key, and at random.'),
    'd_seq': ('Sequential scans', 'Everything in memory, one process.'),
    'k_ios': ('Counting by an index alone', 'Index-only scans, after VACUUM.'),
    'e_update': ('Updates by key', 'pgbench, of a column without an index and of one with.'),
    'f_tpcb': ('TPC-B-like', 'pgbench\'s own transactions.'),
    'l_mix': ('Upserts and locks', 'INSERT ... ON CONFLICT, 90 % of them conflicts; SELECT FOR '
              'UPDATE.'),
    'g_bloat': ('Updates under an old snapshot', 'A snapshot is held while rows are updated; it '
                'ends, and VACUUM runs.'),
    'h_delete': ('Deleting', '90 % of the rows in random order, then VACUUM.'),
    'i_uuid': ('Random keys', 'Rows with a random uuid as primary key, and two more indexes.'),
    'm_srvtx': ('Transactions in the server', 'One COMMIT an iteration, without a client.'),
    'j_bigger': ('A larger table', ''),
    'x_int8': ('Indexes: bigint', 'btree beside rowan_btree, both on heap tables.'),
    'x_uuid': ('Indexes: uuid', 'The same with random uuids.'),
    'x_url': ('Indexes: text', 'The same with URL-like text, long common prefixes.'),
    'x_two': ('Indexes: two columns', 'The same with two integers.'),
    'x_low': ('Indexes: few distinct keys', 'The same with 100 different values.'),
}

MB = 1048576.0
LESS, MORE = 'Less is better.', 'More is better.'


class Measure:
    def __init__(self, case, metric, unit):
        self.case, self.metric, self.unit = case, metric, unit
        self.found = {}                 # method: {repeat: value}

    def kind(self):
        if self.metric.endswith(('|cpu', '_srvcpu')) or self.case.startswith('x_') and \
                self.unit in ('s', 'ms', 'us'):
            return 'cpu'
        if self.unit == 'tx/s':
            return 'rate'
        if self.unit in ('bytes', 'MB'):
            return 'size'
        return 'time' if self.unit.split('/')[0] in ('s', 'ms', 'us') else 'other'

    def has_cpu_of_all(self):
        """Not of a CHECKPOINT: its work is done by another process."""
        return self.kind() == 'cpu' and 'checkpoint' not in self.metric

    def name(self):
        name = self.metric.replace('|cpu', '').replace('_srvcpu', '').replace('_tps', '')
        name = re.sub(r'_\dM\w*', '', name)       # --quick has other numbers
        name = name.replace('_noBitmap', ', no bitmaps').replace('_', ' ')
        return re.sub(r' c(\d+)\b', lambda m: ', %s client%s' % (m[1], 's' * (m[1] != '1')), name)

    def scaled(self):
        """Unit, factor: what is large is told in MB."""
        largest = max(abs(v) for found in self.found.values() for v in found.values())
        return ('MB', 1 / MB) if self.unit == 'bytes' and largest > MB else (self.unit, 1)

    def spread(self, method):
        values = sorted(self.found[method].values())
        factor = self.scaled()[1]
        return tuple(factor * v for v in (values[0], statistics.median(values), values[-1]))

    def ratio(self, methods):
        """Second method by the first, repeat by repeat; for rates the other way.  None: unknown."""
        first, second = (self.found[m] for m in methods)
        pairs = [(first[r], second[r]) for r in first if r in second]
        if self.kind() == 'rate':
            pairs = [p[::-1] for p in pairs]
        if not pairs or min(min(p) for p in pairs) <= 0:
            return None
        parts = sorted(b / a for a, b in pairs)
        return parts[0], statistics.median(parts), parts[-1]


def read(paths):
    """{(case, metric, unit): Measure}, in the order of the files."""
    measures = {}
    for path in paths:
        with open(path) as f:
            for line in list(f)[1:]:
                case, metric, unit, method, repeat, value = line.rstrip('\n').split('\t')[:6]
                m = measures.setdefault((case, metric, unit), Measure(case, metric, unit))
                m.found.setdefault(method, {})[int(repeat)] = float(value)
    return measures


PLOTS = (('cpu', 'CPU time', LESS), ('time', 'Elapsed time', LESS),
         ('rate', 'Transactions a second', MORE), ('size', 'Size and WAL', LESS))


class BenchPage(htmlpage.Page):
    def __init__(self, measures):
        super().__init__()
        self.measures = [m for m in measures.values() if len(m.found) == 2]
        self.cases = list(dict.fromkeys(m.case for m in self.measures))

    def methods(self, case):
        return list(next(m for m in self.measures if m.case == case).found)

    def of(self, case, kind):
        """Those to be plotted: elapsed time only where there is no CPU time."""
        chosen = [m for m in self.measures if m.case == case and m.kind() == kind and
                  m.ratio(list(m.found)) is not None]
        with_cpu = {m.name() for m in self.measures if m.case == case and m.has_cpu_of_all()}
        return [m for m in chosen if (kind != 'cpu' or m.has_cpu_of_all()) and
                (kind != 'time' or m.name() not in with_cpu)]

    def overview(self, indexes):
        cases = [c for c in self.cases if c.startswith('x_') == indexes]
        if not cases:
            return
        methods = self.methods(cases[0])
        sides = [named(m) for m in methods]
        self.section('%s beside %s, all measures' % (sides[1], sides[0]),
                     'One part of the other, repeat by repeat: the median, and the extremes. '
                     'Left of 1, %s is better.' % sides[1])
        for kind, title, _ in PLOTS:
            groups = [(TITLES.get(c, (c,))[0], [(m.name(), m.ratio(methods))
                                                for m in self.of(c, kind)]) for c in cases]
            groups = [g for g in groups if g[1]]
            if groups:
                order = sides if kind == 'rate' else sides[::-1]
                self.picture('ratios-%s-%s' % (kind, indexes), plots.ratios(
                    title, '%s / %s' % tuple(order), groups, sides), 'The scale is logarithmic.')

    def case(self, case):
        title, words = TITLES.get(case, (case, ''))
        methods = self.methods(case)
        sides = [named(m) for m in methods]
        self.section(title, words)
        for kind, plot, better in PLOTS:
            rows = [('%s, %s' % (m.name(), m.scaled()[0]), *(m.spread(s) for s in methods))
                    for m in self.of(case, kind)]
            if rows:
                self.picture('%s-%s' % (case, kind), plots.bars(plot, better, '', rows, sides),
                             'Median (least - most). Each measure has a scale of its own.')
        self.table(['measure', 'unit', 'repeats'] + ['%s, %s' % (s, what) for s in sides
                                                     for what in ('least', 'median', 'most')] +
                   ['ratio, least', 'median', 'most'],
                   [self.numbers(m, methods) for m in self.measures if m.case == case],
                   'all measures, in numbers')

    def numbers(self, m, methods):
        ratio = m.ratio(methods)
        repeats = min(len(m.found[s]) for s in methods)
        return ([m.metric, m.scaled()[0], str(repeats)] +
                [signed(v) for s in methods for v in m.spread(s)] +
                [plots.number(v) for v in ratio or ()])


def signed(value):
    return '-' + plots.number(-value) if value < 0 else plots.number(value)


def named(method):
    return 'Rowan' if method == 'rowan' else method


def page(directory, tag):
    """Writes it; returns its path."""
    def at(name):
        return '%s/%s_%s' % (directory, name, tag)
    with open(at('about') + '.json') as f:
        about = json.load(f)
    bench = BenchPage(read([p for p in (at('raw') + '.tsv', at('indexes') + '.tsv')
                            if os.path.exists(p)]))
    for indexes in (False, True):
        bench.overview(indexes)
    for case in bench.cases:
        bench.case(case)
    bench.section('How it was measured', 'The methods take turns within each repeat. CPU time is '
                  'that of the process that runs the statement (of pgbench, of the whole server): '
                  'elapsed time, and so transactions a second, depend on what else the machine '
                  'does. Everything fits in memory unless it says otherwise. What each case does: '
                  '<code>bench/README.md</code>.')
    bench.table(['what', ''], sorted(about['facts'].items()))
    bench.section('Settings', 'All that are not the default.')
    bench.table(['setting', 'value'], about['settings'])
    if about['errors']:
        bench.section('Errors', 'What follows could not be measured.')
        bench.table(['ERROR'], [[e] for e in about['errors']])
    path = at('bench') + '.html'
    repeats = max(len(f) for m in bench.measures for f in m.found.values())
    htmlpage.write(path, bench.html('Rowan, measured', about['title'], [
        (str(len(bench.measures)), 'measures'), (str(repeats), 'repeats, at most'),
        (about['facts']['memory'], 'of memory')]))
    return path


if __name__ == '__main__':
    page(*sys.argv[1:3])
