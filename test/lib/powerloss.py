"""Power loss: takes back, in a killed server's files, what no completed sync made durable.

Relation blocks become, at random, any of the contents they had since the last sync, or
a mixture of them torn at sectors of 512 bytes or of 4 kB; WAL after the last sync is lost whole.  Works on the
journal of shim.c.
"""
import ctypes
import os
import random
import re
import struct

ENTRY = struct.Struct('<IIQQQQQ')
WRITE_BEGIN, WRITE_END, SYNC_BEGIN, SYNC_END = 1, 2, 3, 4
BLOCK = 8192
_libc = ctypes.CDLL(None, use_errno=True)


def read_journal(path):
    """Entries (type, id, file key, offset, length, old content).  None if the server was killed before its first write."""
    if not os.path.exists(path):
        return []
    data = open(path, 'rb').read()
    out, at = [], 0
    while at + ENTRY.size <= len(data):
        kind, length, ident, inode, birth, offset, old = ENTRY.unpack_from(data, at)
        if kind not in (1, 2, 3, 4):
            raise Exception('journal is damaged at %d' % at)
        at += ENTRY.size
        if at + old > len(data):
            break
        out.append((kind, ident, (inode, birth), offset, length, data[at:at + old]))
        at += old
    return out


def file_key(path):
    """(inode, time of birth) as the shim writes it."""
    buf = ctypes.create_string_buffer(256)
    if _libc.statx(-100, path.encode(), 0x100, 0x900, buf) != 0:
        return None
    inode = struct.unpack_from('<Q', buf, 32)[0]
    seconds, nanoseconds = struct.unpack_from('<qI', buf, 80)
    return inode, seconds * 1000000000 + nanoseconds


def files_of(data_dir):
    found = {}
    for part in ('base', 'global', 'pg_wal', 'pg_xact'):
        for directory, _, names in os.walk(os.path.join(data_dir, part)):
            for name in names:
                path = os.path.join(directory, name)
                found[file_key(path)] = path
    return found


def lost_versions(entries, present):
    """{(file key, block offset): [older contents, in order]} of writes not covered by a sync."""
    begun, durable, ended = {}, {}, {}
    for i, (kind, ident, key, _, _, _) in enumerate(entries):
        if kind == SYNC_BEGIN:
            begun[ident] = i
        elif kind == SYNC_END and ident in begun:
            durable[key] = max(durable.get(key, -1), begun[ident])
        elif kind == WRITE_END:
            ended[ident] = i
    versions = {}
    for kind, ident, key, offset, length, old in entries:
        if kind != WRITE_BEGIN or key not in present or ended.get(ident, 1 << 60) < durable.get(key, -1):
            continue
        for k in range(0, length, BLOCK):
            part = old[k:k + BLOCK]
            part += b'\0' * (min(BLOCK, length - k) - len(part))
            versions.setdefault((key, offset + k), []).append(part)
    return versions


# What a server logs of a page that redo could not put together.
DAMAGED = 'WAL does not make it whole'


def healed_pages(log):
    """Torn pages that recoveries made whole which came to their end."""
    return sum(int(n) for n in re.findall(r'redo made (\d+) torn pages', log))


SECTORS = (512, 4096)


def torn(rnd, sector, versions):
    """Each sector of any of these versions of a page."""
    return b''.join(rnd.choice(versions)[s:s + sector] for s in range(0, len(versions[0]), sector))


def choose(rnd, mode, sector, older, current):
    if mode == 'all' or rnd.random() < 0.33:
        return older[0]
    every = older + [current]
    if rnd.random() < 0.5:
        return rnd.choice(every)
    return torn(rnd, sector, [v[:len(current)] for v in every])


def undo(data_dir, journal, mode='mix', seed=None):
    """mode 'mix' or 'all'; returns counts"""
    rnd = random.Random(seed)
    sector = rnd.choice(SECTORS)
    present = files_of(data_dir)
    count = dict(unsynced=0, undone=0, torn=0, kept=0, wal=0)
    for (key, offset), older in lost_versions(read_journal(journal), present).items():
        path = present[key]
        if offset >= os.path.getsize(path):
            continue
        count['unsynced'] += 1
        with open(path, 'r+b') as f:
            f.seek(offset)
            current = f.read(BLOCK)
            if '/base/' in path:
                new = choose(rnd, mode, sector, older, current)[:len(current)]
            else:
                count['wal'] += 1
                # catalogs' pg_xact and global files: torn pages there are core's affair
                new = older[0][:len(current)]
            if new == current:
                count['kept'] += 1
                continue
            count['undone' if new in older else 'torn'] += 1
            f.seek(offset)
            f.write(new)
    return count
