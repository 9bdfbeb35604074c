"""What logical decoding gives out, made comparable: output of test_decoding and messages of
pgoutput, without what two databases with the same contents do not share (OIDs, transaction ids,
positions, times)."""
import re
import struct

MARK = 'mark'                       # prefix of logical messages that divide the stream


class Numbers:
    """Names for ids, in the order in which they are met."""

    def __init__(self, name):
        self.name, self.known = name, {}

    def __call__(self, number):
        return self.name + str(self.known.setdefault(number, len(self.known) + 1))


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        size = struct.calcsize('>' + form)
        value, = struct.unpack('>' + form, self.data[self.at:self.at + size])
        self.at += size
        return value

    def char(self):
        return chr(self.number('B'))

    def string(self):
        end = self.data.index(b'\0', self.at)
        text = self.data[self.at:end].decode()
        self.at = end + 1
        return text

    def bytes(self, size):
        self.at += size
        return self.data[self.at - size:self.at]

    def rest(self):
        return len(self.data) - self.at


class PgOutput:
    """Messages of the protocol (Logical Replication Message Formats) as lines."""

    def __init__(self):
        self.relations, self.xids, self.streaming = {}, Numbers('xid'), False

    def tuple(self, r):
        values = []
        for _ in range(r.number('H')):
            kind = r.char()
            values.append(kind if kind in 'nu' else kind + repr(r.bytes(r.number('I'))))
        return '(%s)' % ', '.join(values)

    def relation(self, r):
        oid, schema, name, identity = r.number('I'), r.string(), r.string(), r.char()
        self.relations[oid] = schema + '.' + name
        columns = []
        for _ in range(r.number('H')):
            flags, column, kind, modifier = r.number('B'), r.string(), r.number('I'), r.number('i')
            columns.append('%s%s %d %d' % ('*' if flags else '', column, kind, modifier))
        return 'relation %s %s (%s)' % (self.relations[oid], identity, ', '.join(columns))

    def change(self, kind, r):
        words = [{'I': 'insert', 'U': 'update', 'D': 'delete'}[kind], self.relations[r.number('I')]]
        while r.rest():
            words.append(r.char() + self.tuple(r))
        return ' '.join(words)

    def line(self, data):
        r = Reader(data)
        kind = r.char()
        xid = ''
        if self.streaming and kind in 'RYIUDTM':
            xid = self.xids(r.number('I')) + ' '
        if kind == 'B':
            r.bytes(16)
            return 'begin ' + self.xids(r.number('I'))
        if kind == 'C':
            return 'commit'
        if kind == 'O':
            r.bytes(8)
            return 'origin ' + r.string()
        if kind == 'R':
            return xid + self.relation(r)
        if kind == 'Y':
            r.bytes(4)
            return xid + 'type %s.%s' % (r.string(), r.string())
        if kind in 'IUD':
            return xid + self.change(kind, r)
        if kind == 'T':
            n, options = r.number('I'), r.number('B')
            return xid + 'truncate %d %s' % (options,
                ' '.join(self.relations[r.number('I')] for _ in range(n)))
        if kind == 'M':
            r.bytes(9)
            prefix = r.string()
            return xid + 'message %s %s' % (prefix, r.bytes(r.number('I')).decode())
        if kind == 'S':
            self.streaming = True
            return 'stream start ' + self.xids(r.number('I'))
        if kind == 'E':
            self.streaming = False
            return 'stream stop'
        if kind == 'c':
            return 'stream commit ' + self.xids(r.number('I'))
        if kind == 'A':
            return 'stream abort %s %s' % (self.xids(r.number('I')), self.xids(r.number('I')))
        if kind in 'bPKp':
            r.bytes({'b': 24, 'P': 25, 'K': 25, 'p': 25}[kind])
            return '%s %s %s' % (kind, self.xids(r.number('I')), r.string())
        if kind == 'r':
            r.bytes(33)
            return 'rollback %s %s' % (self.xids(r.number('I')), r.string())
        raise ValueError('unknown message %r' % data[:40])


def pgoutput(rows):
    """Lines of messages as pg_logical_slot_*_binary_changes has them: bytea as text.  Relations are
    told of again after each invalidation, VACUUM's too: once is enough here."""
    reader, lines, told = PgOutput(), [], {}
    for row in rows:
        line = reader.line(bytes.fromhex(row[0][2:]))
        words = line.split(' ')
        if 'relation' in words[:2]:
            name, what = words[words.index('relation') + 1], line.partition('relation')[2]
            if told.get(name) == what:
                continue
            told[name] = what
        lines.append(line)
    return lines


def test_decoding(rows):
    xids = Numbers('xid')
    return [re.sub(r'^(BEGIN|COMMIT|streaming.* TXN|.*streamed.* TXN|.* TXN) (\d+)',
        lambda m: m.group(1) + ' ' + xids(m.group(2)), row[0])
            for row in rows]


def unstreamed(lines):
    """pgoutput's lines as if nothing had been streamed, those of a transaction sorted.  Where
    blocks end, and what of an aborted transaction was sent, depends on the memory that changes
    take; messages do not say which subtransaction they are of."""
    out, blocks, top = [], {}, None
    for line in lines:
        words = line.split(' ')
        if line.startswith('stream start'):
            top = words[2]
        elif line == 'stream stop':
            top = None
        elif line.startswith('stream abort'):
            blocks[words[2]] = [x for x in blocks.get(words[2], [])
                                if words[3] not in (x[0], words[2])]
        elif line.startswith('stream commit'):
            out += ['begin'] + [x[1] for x in blocks.pop(words[2], [])] + ['commit']
        elif top:
            blocks.setdefault(top, []).append((words[0], ' '.join(words[1:])))
        else:
            out.append('begin' if words[0] == 'begin' else line)
    parts = [[]]
    for line in out:
        if line == 'begin':
            parts.append([])
        elif not line.startswith(('relation', 'type', 'message')):
            parts[-1].append(line)
    return [line for part in parts for line in ['begin'] + sorted(part)]


def without_order(lines):
    """Lines between two marks of which the first says `any` are sorted: the statement does not say
    in which order it changes rows."""
    out, part, sort = [], [], False
    for line in lines:
        m = re.search(r'(?:message|content).*\b(any|ordered) \d+$', line)
        part.append(line)
        if m:
            out += (sorted(part[:-1]) if sort else part[:-1]) + part[-1:]
            part, sort = [], m.group(1) == 'any'
    return out + (sorted(part) if sort else part)


def difference(heap, ours):
    """None, or the first lines that differ."""
    for n in range(max(len(heap), len(ours))):
        a = heap[n] if n < len(heap) else '(nothing)'
        b = ours[n] if n < len(ours) else '(nothing)'
        if a != b:
            before = heap[max(0, n - 3):n]
            return '\n'.join(['line %d, after' % n] + [x[:300] for x in before]
                + ['heap:  ' + a[:1500], 'rowan: ' + b[:1500]])
    return None
