"""A page of HTML that stands for itself: sections, figures, tables; on light ground and on dark.

Nothing in it is loaded from elsewhere, and it has no script.
"""
import datetime
import os
import platform
from html import escape

import explorer
from harness import TOP, say

STYLE = """
.cards{display:flex;flex-wrap:wrap;gap:12px;margin:22px 0}
.card{flex:1 1 150px;border:1px solid var(--line);border-radius:10px;padding:12px 16px}
.card strong{display:block;font-size:25px;line-height:1.25}
.card span{color:var(--soft);font-size:13.5px}
.wide{overflow-x:auto}table{border-collapse:collapse;margin:10px 0 18px}
th,td{text-align:left;padding:5px 16px 5px 0;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:500}code{font-size:.95em;overflow-wrap:anywhere}
summary{cursor:pointer;color:var(--soft)}
figure.plot{max-width:760px}
@media (max-width:700px){.drawn{overflow-x:auto}.drawn svg{min-width:760px}}
"""


class Page:
    def __init__(self):
        self.parts, self.pictures = [], {}

    def section(self, title, words):
        """words: HTML."""
        self.parts.append('<h2>%s</h2>\n<p>%s</p>\n' % (escape(title), words))

    def picture(self, name, svg, caption):
        """caption: HTML."""
        self.pictures[name] = svg
        kind = 'plot' if 'c-bg' in svg else 'drawn'
        self.parts.append('<figure class="%s">%s<figcaption>%s</figcaption></figure>\n' % (
            kind, svg, caption))

    def table(self, columns, rows, folded=None):
        """folded: what is to be clicked at to see it."""
        head = ''.join('<th>%s</th>' % escape(c) for c in columns)
        body = ''.join('<tr>%s</tr>' % ''.join('<td>%s</td>' % escape(x or '') for x in r)
                       for r in rows)
        html = '<div class="wide"><table><tr>%s</tr>%s</table></div>\n' % (head, body)
        if folded:
            html = '<details><summary>%s</summary>%s</details>\n' % (escape(folded), html)
        self.parts.append(html)

    def html(self, title, about, facts):
        """facts: (what is seen first, what it is), some of them."""
        cards = ''.join('<div class="card"><strong>%s</strong><span>%s</span></div>' % f
                        for f in facts)
        return """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<style>%s%s</style></head><body>
<h1>%s</h1>
<p class="soft">%s</p>
<div class="cards">%s</div>
%s</body></html>
""" % (title, explorer.STYLE, STYLE, title, escape(about), cards, ''.join(self.parts))


def about(c):
    """What was measured, on what, when."""
    version = c.one('SELECT version()').split(' on ')[0]
    extension = c.one("SELECT extversion FROM pg_extension WHERE extname = 'rowan'")
    return 'Rowan %s on %s; %s; %s.' % (extension, version, processor(),
                                        datetime.date.today().isoformat())


def processor():
    try:
        for line in open('/proc/cpuinfo'):
            if line.startswith('model name'):
                return '%s, %d of them' % (line.split(':')[1].strip(), os.cpu_count())
    except OSError:
        pass
    return platform.machine()


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(content)
    say('     %s, %d kB' % (os.path.relpath(path, TOP), len(content) // 1024))
