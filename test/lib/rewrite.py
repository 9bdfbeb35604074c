"""SQL of others with rowan_btree where it has default indexes or primary keys."""
import re

METHOD = 'rowan_btree'
INDEX = re.compile(r'(?P<head>\bcreate\s+(?P<unique>unique\s+)?index\s+(?:concurrently\s+)?(?:if\s+not\s+exists\s+)?(?:(?!on\s)[\w."]+\s+)?'
                   r'on\s+(?:only\s+)?[\w."]+)(?P<using>\s+using\s+btree)?(?P<space>\s*)(?P<open>\()', re.I)
TABLE = re.compile(r'\bcreate\s+table\s+(?P<name>[\w."]+)\s*\((?P<body>[^;]*)\)(?P<rest>[^;()]*);', re.I)
ADD_KEY = re.compile(r'\balter\s+table\s+(?P<name>[\w."]+)\s+add\s+primary\s+key\s*(?P<columns>\([^)]*\))\s*;', re.I)
TABLE_KEY = re.compile(r'(?:constraint\s+(?P<name>\w+)\s+)?primary\s+key\s*(?P<columns>\([^)]*\))(?P<include>\s*include\s*\([^)]*\))?', re.I)
COLUMN_KEY = re.compile(r'(?P<column>\w+)(?P<type>\s+[^,]*?)\s+primary\s+key', re.I)


def indexes(text, unique=True):
    """Default indexes; unique ones on request."""
    def replace(m):
        if m.group('unique') and not unique:
            return m.group(0)
        return m.group('head') + ' USING ' + METHOD + (m.group('space') or ' ') + '('
    return INDEX.sub(replace, text)


def _table(m):
    """A primary key becomes a unique index of its name."""
    name, body, rest = m.group('name'), m.group('body'), m.group('rest')
    key = TABLE_KEY.search(body)
    if key:
        before = body[:key.start()].rstrip()
        body = (before[:-1] if before.endswith(',') else before) + body[key.end():]
        index, columns, include = key.group('name') or name + '_pkey', key.group('columns'), key.group('include') or ''
    else:
        key = COLUMN_KEY.search(body)
        if not key:
            return m.group(0)
        null = '' if 'not null' in key.group('type').lower() or 'serial' in key.group('type').lower() else ' NOT NULL'
        body = body[:key.start()] + key.group('column') + key.group('type') + null + body[key.end():]
        index, columns, include = name + '_pkey', '(%s)' % key.group('column'), ''
    return 'CREATE TABLE %s (%s)%s; CREATE UNIQUE INDEX %s ON %s USING %s %s%s;' % (name, body, rest, index.split('.')[-1], name, METHOD, columns, include)


def keys(text):
    """Primary keys too."""
    text = ADD_KEY.sub(lambda m: 'CREATE UNIQUE INDEX %s_pkey ON %s USING %s %s;' % (m.group('name'), m.group('name'), METHOD, m.group('columns')), text)
    return TABLE.sub(_table, text)


# ---- PostgreSQL's regression suite ----

# Unique indexes stay btree where core 15 insists: ON CONFLICT, foreign keys, USING INDEX, partitioned tables, REFRESH CONCURRENTLY
UNIQUE_STAYS = {'insert_conflict', 'indexing', 'matview', 'foreign_key', 'partition_info', 'alter_table', 'constraints', 'create_index', 'updatable_views',
                'replica_identity', 'triggers', 'rules', 'with', 'truncate', 'rowsecurity', 'partition_aggregate', 'partition_join', 'merge', 'inherit',
                'write_parallel', 'privileges', 'publication', 'foreign_data', 'join'}
# Scripts about btree itself: left alone
LEFT_ALONE = {'create_am', 'opr_sanity', 'type_sanity', 'amutils'}


def regress_script(text, name):
    """A script, or the echo of it in its expected output.  (Constraints are btree in any case.)"""
    return text if name in LEFT_ALONE else indexes(text, name not in UNIQUE_STAYS)


def plain(text):
    """Output in which it does not count what the method is called, and how wide a column is."""
    text = re.sub(r'^(LINE \d+):.*\n *\^$', r'\1', text.replace(METHOD, 'btree'), flags=re.M)
    return '\n'.join(re.sub('-{3,}', '--', re.sub(' +', ' ', x)).rstrip() for x in text.split('\n'))
