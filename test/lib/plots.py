"""Plots as SVG: bars and lines of two sides, heap and Rowan.

Each stands for itself, has a light and a dark ground, names nothing elsewhere
and has no script; what
the mouse points to is told by <title>.
"""
from xml.sax.saxutils import escape

SIDES = ('heap', 'Rowan')
WIDTH = 600
MARGIN = 20
STYLE = """<style>.c-bg{fill:#fcfcfa;stroke:#d5d9de}.c-ln{stroke:#dde1e6;fill:none}
.c-t,.c-n,.c-v,.c-s{font-family:system-ui,"Segoe UI","DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums}.c-t{fill:#1d2530;font-size:18px;font-weight:600}
.c-n{fill:#5d6773;font-size:13px}.c-v{fill:#1d2530;font-size:13px}.c-s{fill:#5d6773;font-size:12px}
.c-0{fill:#c08a4e}.c-1{fill:#3f86d1}.c-l0{stroke:#c08a4e}.c-l1{stroke:#3f86d1}
.c-l0,.c-l1{fill:none;stroke-width:2.4;stroke-linejoin:round;stroke-linecap:round}
@media (prefers-color-scheme:dark){.c-bg{fill:#15191f;stroke:#39414c}.c-ln{stroke:#2b323b}
.c-t,.c-v{fill:#e5e9ef}.c-n,.c-s{fill:#9aa5b3}.c-0{fill:#c9965f}.c-1{fill:#5b9be0}
.c-l0{stroke:#c9965f}.c-l1{stroke:#5b9be0}}</style>
"""


def number(value):
    """Three digits that count."""
    if value == 0:
        return '0'
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return '{:,.{}f}'.format(value, digits)


def text(x, y, kind, words, anchor='start'):
    return '<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>\n' % (
        x, y, kind, anchor, escape(words))


def frame(title, subtitle, height, content):
    head = '<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 %d %d" ' % (
        WIDTH, height)
    head += 'width="%d" height="%d">\n%s<rect class="c-bg" x=".5" y=".5" width="%d" ' % (
        WIDTH, height, STYLE, WIDTH - 1)
    head += 'height="%d" rx="10"/>\n<title>%s</title>\n' % (height - 1, escape(title))
    return (head + text(MARGIN, 36, 'c-t', title) + text(MARGIN, 56, 'c-n', subtitle) +
            legend() + content + '</svg>\n')


def legend():
    out, x = '', WIDTH - MARGIN - 138
    for i, side in enumerate(SIDES):
        out += '<rect class="c-%d" x="%d" y="26" width="12" height="12" rx="2"/>' % (i, x)
        out += text(x + 18, 36, 'c-n', side)
        x += 78
    return out


def bars(title, subtitle, unit, rows):
    """rows: (label, heap, rowan); each has a scale of its own, for they are of unlike size."""
    left, top, height = MARGIN, 84, 66
    room = WIDTH - left - MARGIN - 90
    out = ''
    for n, (label, *values) in enumerate(rows):
        y = top + n * height
        most = max(max(values), 1e-9)
        out += text(left, y + 8, 'c-v', label)
        for i, value in enumerate(values):
            width = max(room * value / most, 1)
            at = y + 16 + i * 18
            words = ('%s %s' % (number(value), unit)).strip()
            out += '<g><title>%s, %s: %s</title>' % (escape(label), SIDES[i], escape(words))
            out += '<rect class="c-%d" x="%d" y="%.1f" width="%.1f" height="15" rx="2"/></g>' % (
                i, left, at, width)
            out += text(left + width + 8, at + 12, 'c-v', words)
    return frame(title, subtitle, top + len(rows) * height, out)


def nice_step(most):
    step = 10.0 ** len('%d' % most)
    while most / step < 3:
        for part in (2, 2.5, 2):
            step /= part
            if most / step >= 3:
                break
    return step


def lines(title, subtitle, unit, across, series):
    """across: labels; series: two lists of numbers."""
    left, top, room, height = 78, 84, WIDTH - 78 - 74, 230
    most = max(max(s) for s in series) or 1
    step = nice_step(most)
    scale = height / (most * 1.04)
    out, value = '', 0.0
    while value <= most * 1.04:
        y = top + height - value * scale
        out += '<path class="c-ln" d="M%d %.1fh%d"/>' % (left, y, room)
        out += text(left - 10, y + 4, 'c-s', '%s %s' % (number(value), unit), 'end')
        value += step
    place = [left + room * (i + 0.5) / len(across) for i in range(len(across))]
    for x, label in zip(place, across):
        out += text(x, top + height + 20, 'c-s', label, 'middle')
    ends = []
    for i, s in enumerate(series):
        points = [(x, top + height - v * scale) for x, v in zip(place, s)]
        out += '<path class="c-l%d" d="M%s"/>\n' % (
            i, 'L'.join('%.1f %.1f' % p for p in points))
        for (x, y), v, label in zip(points, s, across):
            out += ('<circle class="c-%d" cx="%.1f" cy="%.1f" r="3.6"><title>%s, %s: %s %s'
                    '</title></circle>' % (i, x, y, SIDES[i], escape(label), number(v), unit))
        ends.append((points[-1][1], i, points[-1][0], s[-1]))
    ends.sort()
    if len(ends) > 1 and ends[1][0] - ends[0][0] < 15:
        ends[0] = (ends[1][0] - 15,) + ends[0][1:]
    for y, i, x, v in ends:
        out += text(x + 12, y + 4, 'c-v', '%s %s' % (number(v), unit))
    return frame(title, subtitle, top + height + 40, out)
