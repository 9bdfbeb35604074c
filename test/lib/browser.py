"""Pages of HTML, read and looked at by chromium (apt-get install chromium), if it is there."""
import os
import re
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET
import zlib

import harness
from harness import check

WIDTHS = (1200, 420)
HEIGHT = 3000
MEASURE = """<script>document.title = document.documentElement.scrollWidth + ' ' +
    Array.from(document.querySelectorAll('figure > svg')).filter(s => {
        const r = s.getBoundingClientRect(); return r.width < 200 || r.height < 60;
    }).length</script>"""


def browser():
    return shutil.which('chromium') or shutil.which('chromium-browser')


def browse(path, width, *arguments):
    directory = harness.new_dir('browser')
    command = [browser(), '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
               '--user-data-dir=' + directory, '--window-size=%d,%d' % (width, HEIGHT)]
    p = subprocess.run(command + list(arguments) + ['file://' + path], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=180, text=True,
                       env=dict(os.environ, HOME=directory))
    check(p.returncode == 0, 'chromium: ' + p.stderr[-2000:])
    return p.stdout


def pixels(path):
    """Lines of (red, green, blue) bytes of a PNG of 8 bits a colour."""
    data = open(path, 'rb').read()
    check(data[:8] == b'\x89PNG\r\n\x1a\n', 'no PNG')
    width, height, depth, kind = struct.unpack('>IIBB', data[16:26])
    check(depth == 8 and kind in (2, 6), 'a PNG of another kind')
    size, at, packed = {2: 3, 6: 4}[kind], 8, b''
    while at < len(data):
        length, name = struct.unpack('>I4s', data[at:at + 8])
        packed += data[at + 8:at + 8 + length] if name == b'IDAT' else b''
        at += 12 + length
    raw = zlib.decompress(packed)
    before, lines = bytearray(width * size), []
    for y in range(height):
        start = y * (width * size + 1)
        line = bytearray(raw[start + 1:start + 1 + width * size])
        unfilter(raw[start], line, before, size)
        lines.append(line)
        before = line
    return width, height, size, lines


def unfilter(kind, line, above, size):
    for i in range(len(line)):
        left = line[i - size] if i >= size else 0
        up = above[i]
        if kind == 1:
            line[i] = (line[i] + left) & 255
        elif kind == 2:
            line[i] = (line[i] + up) & 255
        elif kind == 3:
            line[i] = (line[i] + (left + up) // 2) & 255
        elif kind == 4:
            corner = above[i - size] if i >= size else 0
            guess = left + up - corner
            _, best = min((abs(guess - left), 0), (abs(guess - up), 1), (abs(guess - corner), 2))
            line[i] = (line[i] + (left, up, corner)[best]) & 255


def check_page(path):
    """Without looking: it names nothing elsewhere, and its pictures are well-formed."""
    content = open(path, encoding='utf-8').read()
    elsewhere = [u for u in re.findall(r'(?:https?:)?//[\w.]+[^\s"<]*', content)
                 if 'www.w3.org/2000/svg' not in u and ':' in u]
    check(not elsewhere, '%s: names %s' % (path, elsewhere[:3]))
    check('<script' not in content and '@import' not in content, '%s: script or import' % path)
    pictures = re.findall(r'<svg .*?</svg>', content, re.S)
    for picture in pictures:
        ET.fromstring(picture)
    check(len(pictures) >= 5, '%s has %d pictures' % (path, len(pictures)))
    for target in set(re.findall(r'href="#(\w+)"', content)):
        check('id="%s"' % target in content, '%s: #%s leads nowhere' % (path, target))


def check_seen(path):
    measured = path.replace('.html', '-measured.html')
    with open(path, encoding='utf-8') as f, open(measured, 'w', encoding='utf-8') as to:
        to.write(re.sub(r'section\{display:none\}', '', f.read()).replace('</body>',
                MEASURE + '</body>'))
    for width in WIDTHS:
        title = re.search(r'<title>([^<]*)</title>', browse(measured, width, '--dump-dom')).group(1)
        wide, collapsed = (int(x) for x in title.split())
        check(wide <= max(width, 500), '%s at %d: %d wide' % (path, width, wide))
        check(collapsed == 0, '%s at %d: %d pictures are not drawn' % (path, width, collapsed))
        grounds = []
        for scheme in ('0', '1'):
            shot = '%s-%d-%s.png' % (path[:-5], width, 'light' if scheme == '1' else 'dark')
            browse(path, width, '--blink-settings=preferredColorScheme=' + scheme,
                   '--screenshot=' + shot)
            grounds.append(check_shot(shot, width))
        check(grounds[0] + 300 < grounds[1], '%s: light and dark are alike: %s' % (path, grounds))


def check_shot(path, width):
    """It shows something; how light its ground is."""
    wide, high, size, lines = pixels(path)
    check(wide >= width and high == HEIGHT, '%s: %d x %d' % (path, wide, high))
    colours = {}
    for line in lines[::7]:
        for x in range(0, wide, 5):
            colour = bytes(line[x * size:x * size + 3])
            colours[colour] = colours.get(colour, 0) + 1
    check(len(colours) > 60, '%s: only %d colours' % (path, len(colours)))
    ground = max(colours, key=colours.get)
    check(colours[ground] < 0.97 * sum(colours.values()), '%s is empty' % path)
    return sum(ground)
