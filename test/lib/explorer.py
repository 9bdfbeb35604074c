#!/usr/bin/env python3
"""A static page with pictures of a relation: its tree, and its pages, to go from one to another.

    explorer.py CONNINFO RELATION FILE     writes FILE, e.g.
    explorer.py dbname=shop public.orders orders.html

No script: a page is shown by being the target of a link.  The pictures are those of
rowan.tree_svg and rowan.page_svg; of a large relation it shows some pages of each kind.
"""
import os
import sys
from html import escape

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pq

MOST_PAGES = 80

STYLE = """
:root{color-scheme:light dark;--ground:#f4f4f1;--ink:#1d2530;--soft:#5d6773;--line:#d5d9de;
--link:#1f66b3}
@media (prefers-color-scheme:dark){:root{--ground:#0e1116;--ink:#e5e9ef;--soft:#9aa5b3;
--line:#39414c;--link:#7db4f0}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1040px;padding:24px 16px 80px;background:var(--ground);
color:var(--ink);font:15px/1.55 system-ui,"Segoe UI","DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums}
a{color:var(--link);text-decoration:none}a:hover,a:focus{text-decoration:underline}
h1{font-size:28px;line-height:1.2;margin:8px 0 4px}h2{font-size:21px;margin:44px 0 6px}
p{margin:6px 0 14px;max-width:72ch}.soft{color:var(--soft)}
figure{margin:18px 0}figure svg{display:block;width:100%;height:auto}
@media (max-width:700px){section figure,.tree{overflow-x:auto}
section svg,.tree svg{min-width:760px}}
figcaption{color:var(--soft);margin-top:6px;font-size:14px}
"""

OWN_STYLE = """
nav{margin:14px 0;line-height:2}
nav a{display:inline-block;min-width:40px;text-align:center;padding:0 6px;margin:1px;
border:1px solid var(--line);border-radius:5px}
nav b{display:inline-block;min-width:130px;font-weight:500;color:var(--soft)}
section{display:none}section:target{display:block}
.step{display:flex;justify-content:space-between}
"""

HEADERS = """SELECT b, type FROM generate_series(0,
    (SELECT high_water - 1 FROM rowan.file_header(%s))) b, rowan.page_header(%s, b) ORDER BY b"""


def quoted(name):
    return "'%s'" % name.replace("'", "''")


def chosen(kinds):
    """Of many pages some of each kind, the first ones and some from all over."""
    chosen_ones = []
    for blocks in kinds.values():
        room = max(MOST_PAGES * len(blocks) // sum(len(b) for b in kinds.values()), 6)
        step = max(len(blocks) // room, 1)
        chosen_ones += blocks[::step][:room]
    return sorted(chosen_ones)


def explorer(c, relation):
    """The page, as text."""
    name = quoted(relation)
    kinds = {}
    for block, kind in c.rows(HEADERS % (name, name)):
        kinds.setdefault(kind, []).append(int(block))
    blocks = chosen(kinds)
    links, sections = '', ''
    for kind, members in kinds.items():
        shown = [b for b in members if b in set(blocks)]
        note = '' if len(shown) == len(members) else ' of %d' % len(members)
        links += '<div><b>%s%s</b> %s</div>\n' % (escape(kind), note, ' '.join(
            '<a href="#b%d">%d</a>' % (b, b) for b in shown))
    for i, block in enumerate(blocks):
        before = '<a href="#b%d">block %d</a>' % (blocks[i - 1], blocks[i - 1]) if i else ''
        after = ('<a href="#b%d">block %d</a>' % (blocks[i + 1], blocks[i + 1])
                 if i + 1 < len(blocks) else '')
        sections += '<section id="b%d"><div class="step"><span>%s</span><span>%s</span></div>' % (
            block, before, after)
        sections += '<figure>%s</figure></section>\n' % c.one(
            'SELECT rowan.page_svg(%s, %d)' % (name, block))
    return """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pages of %s</title>
<style>%s%s</style></head><body>
<h1>Pages of %s</h1>
<p class="soft">The tree and the file; below, choose a block. Point at something to be told what it
is.</p>
<figure class="tree">%s</figure>
<nav>%s</nav>
%s</body></html>
""" % (escape(relation), STYLE, OWN_STYLE, escape(relation),
       c.one('SELECT rowan.tree_svg(%s)' % name), links, sections)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    with pq.Connection(sys.argv[1]) as c:
        page = explorer(c, sys.argv[2])
    with open(sys.argv[3], 'w', encoding='utf-8') as f:
        f.write(page)


if __name__ == '__main__':
    main()
