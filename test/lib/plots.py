"""Plots as SVG: bars and lines of two sides, heap and Rowan, and how the one is to the other.

Each stands for itself, has a light and a dark ground, names nothing elsewhere and has no script;
what the mouse points to is told by <title>.  A value may be (least, median, most) of several.
"""
import math
from xml.sax.saxutils import escape

SIDES = ('heap', 'Rowan')
WIDTH = 600
MARGIN = 20
STYLE = """<style>.c-bg{fill:#fcfcfa;stroke:#d5d9de}.c-ln{stroke:#dde1e6;fill:none}
.c-t,.c-n,.c-v,.c-s{font-family:system-ui,"Segoe UI","DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums}.c-t{fill:#1d2530;font-size:18px;font-weight:600}
.c-n{fill:#5d6773;font-size:13px}.c-v{fill:#1d2530;font-size:13px}.c-s{fill:#5d6773;font-size:12px}
.c-0{fill:#c08a4e}.c-1{fill:#3f86d1}.c-l0{stroke:#c08a4e}.c-l1{stroke:#3f86d1}
.c-w{fill:none;stroke:#1d2530;stroke-width:1.2;opacity:.65}.c-one{stroke:#8c96a3}
.c-l0,.c-l1{fill:none;stroke-width:2.4;stroke-linejoin:round;stroke-linecap:round}
@media (prefers-color-scheme:dark){.c-bg{fill:#15191f;stroke:#39414c}.c-ln{stroke:#2b323b}
.c-t,.c-v{fill:#e5e9ef}.c-w{stroke:#e5e9ef}.c-n,.c-s{fill:#9aa5b3}.c-0{fill:#c9965f}
.c-1{fill:#5b9be0}.c-l0{stroke:#c9965f}.c-l1{stroke:#5b9be0}}</style>
"""


def number(value):
    """Three digits that count."""
    if value == 0:
        return '0'
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    if 0 < value < 0.1:
        digits = 2 - math.floor(math.log10(value))
    return '{:,.{}f}'.format(value, digits)


def text(x, y, kind, words, anchor='start'):
    return '<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>\n' % (
        x, y, kind, anchor, escape(words))


def frame(title, subtitle, height, content, sides=SIDES):
    head = '<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 %d %d" ' % (
        WIDTH, height)
    head += 'width="%d" height="%d">\n%s<rect class="c-bg" x=".5" y=".5" width="%d" ' % (
        WIDTH, height, STYLE, WIDTH - 1)
    head += 'height="%d" rx="10"/>\n<title>%s</title>\n' % (height - 1, escape(title))
    return (head + text(MARGIN, 36, 'c-t', title) + text(MARGIN, 56, 'c-n', subtitle) +
            legend(sides) + content + '</svg>\n')


def legend(sides):
    out, x = '', WIDTH - MARGIN
    for i, side in reversed(list(enumerate(sides))):
        x -= 34 + 7.4 * len(side)
        out += '<rect class="c-%d" x="%.1f" y="26" width="12" height="12" rx="2"/>' % (i, x)
        out += text(x + 18, 36, 'c-n', side)
    return out


def spread(value):
    """(least, median, most) of a value, which may be one already."""
    return value if isinstance(value, tuple) else (value, value, value)


def whisker(x0, x1, y):
    return '<path class="c-w" d="M%.1f %.1fH%.1fM%.1f %.1fv6M%.1f %.1fv6"/>' % (
        x0, y, x1, x0, y - 3, x1, y - 3)


def bars(title, subtitle, unit, rows, sides=SIDES):
    """rows: (label, heap, rowan); each has a scale of its own, for they are of unlike size."""
    left, top, height = MARGIN, 84, 66
    out = ''
    for n, (label, *values) in enumerate(rows):
        y = top + n * height
        values = [spread(v) for v in values]
        told = [('%s %s' % (spread_words(v), unit)).strip() for v in values]
        room = WIDTH - left - MARGIN - 26 - 6.6 * max(len(words) for words in told)
        most = max(max(v[2] for v in values), 1e-9)
        out += text(left, y + 8, 'c-v', label)
        for i, (least, middle, largest) in enumerate(values):
            width = max(room * middle / most, 1)
            at = y + 16 + i * 18
            out += '<g><title>%s, %s: %s</title>' % (escape(label), escape(sides[i]),
                                                     escape(told[i]))
            out += '<rect class="c-%d" x="%d" y="%.1f" width="%.1f" height="15" rx="2"/></g>' % (
                i, left, at, width)
            end = left + width
            if largest > least:
                out += whisker(left + room * least / most, left + room * largest / most, at + 7.5)
                end = max(end, left + room * largest / most)
            out += text(end + 8, at + 12, 'c-v', told[i])
    return frame(title, subtitle, top + len(rows) * height, out, sides)


def spread_words(value):
    least, middle, most = value
    if least == most:
        return number(middle)
    return '%s (%s - %s)' % (number(middle), number(least), number(most))


RATIOS = [2.0 ** n for n in range(-8, 9)]
RATIOS_LEFT = MARGIN + 280


def ticks(least, most):
    """Powers of two between, 1 among them; if there are many, every other one."""
    shown = [r for r in RATIOS if least <= r * 1.001 and r <= most * 1.001]
    return shown if len(shown) < 6 else [r for r in shown if math.log2(r) % 2 == 0]


def ratio_row(label, value, y, place):
    words = spread_words(value)
    return (text(RATIOS_LEFT - 14, y + 4, 'c-s', label, 'end') +
            '<g><title>%s: %s</title>%s<circle class="c-%d" cx="%.1f" cy="%.1f" r="5"/></g>' % (
                escape(label), escape(words), whisker(place(value[0]), place(value[2]), y),
                value[1] < 1, place(value[1]), y) +
            text(WIDTH - MARGIN, y + 4, 'c-s', words, 'end'))


def ratios(title, subtitle, groups, sides=SIDES):
    """groups: (heading, rows); rows: (label, (least, median, most)), the second side's part of the
    first's; less is better.  The scale is logarithmic: half and double are as far from 1."""
    top, height, room = 92, 22, WIDTH - RATIOS_LEFT - MARGIN - 120
    values = [v for _, rows in groups for _, v in rows]
    least = min([1 / 2] + [v[0] for v in values])
    most = max([2] + [v[2] for v in values])

    def place(value):
        return RATIOS_LEFT + room * math.log(value / least) / math.log(most / least)
    bottom = top + height * (len(values) + len(groups))
    out, y = '', top
    for r in ticks(least, most):
        out += '<path class="c-ln%s" d="M%.1f %dV%d"/>' % (' c-one' if r == 1 else '', place(r),
                                                          top - 10, bottom)
        out += text(place(r), top - 16, 'c-s', '%g' % r if r >= 1 else '1/%d' % round(1 / r),
                    'middle')
    for heading, rows in groups:
        out += text(MARGIN, y + 12, 'c-v', heading)
        for n, (label, value) in enumerate(rows):
            out += ratio_row(label, value, y + height * (n + 1) + 8, place)
        y += height * (len(rows) + 1)
    return frame(title, subtitle, bottom + 14, out, ['%s is better' % s for s in sides])


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
