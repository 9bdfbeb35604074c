"""Values of every type that has a btree operator class, as SQL expressions of a random integer r."""

SETUP = """
CREATE TYPE op_mood AS ENUM ('sad', 'so so', 'happy', 'very', 'b', 'a');
CREATE TYPE op_pair AS (a int, b text);
CREATE DOMAIN op_even AS int CHECK (value % 2 = 0);
"""
EXTENSIONS = ['citext', 'ltree', 'hstore', 'cube', 'seg', 'isn']

WORDS = "(ARRAY['', 'a', 'A', 'ab', 'b', 'zz', 'http://example.org/a/', 'http://example.org/b/', 'x y', 'é', 'ÿ'])[1 + abs(r) %% 11] || %s"
TEXT = WORDS % "CASE WHEN r % 3 = 0 THEN '' WHEN r % 29 = 1 THEN repeat('long ', r % 200) ELSE (r % 100)::text END"

# operator class's input type -> (type of the column, expression)
VALUES = {
    'boolean': ('boolean', 'r % 2 = 0'),
    '"char"': ('"char"', 'chr(33 + abs(r) % 90)::"char"'),
    'name': ('name', "('n' || r % 500)::name"),
    'smallint': ('smallint', '(r % 300 - 150)::smallint'),
    'integer': ('integer', 'CASE WHEN r % 50 = 0 THEN 2147483647 WHEN r % 50 = 1 THEN -2147483648 ELSE r % 1000 - 500 END'),
    'bigint': ('bigint', "CASE WHEN r % 3 = 0 THEN r::bigint * 4000000000 - 900000000000 ELSE r % 1000 END"),
    'real': ('real', "CASE r % 20 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' WHEN 2 THEN 'Infinity' WHEN 3 THEN -0.0 ELSE (r % 400 - 200) / 7.0 END::real"),
    'double precision': ('double precision', "CASE r % 20 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' WHEN 2 THEN 'Infinity' WHEN 3 THEN -0.0 ELSE (r % 400 - 200) / 7.0 END::float8"),
    'numeric': ('numeric', "CASE r % 20 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' WHEN 2 THEN 'Infinity' ELSE (r % 1000 - 500)::numeric * power(10::numeric, r % 30 - 15) END"),
    'money': ('money', '(r % 10000 - 5000)::int::money'),
    'text': ('text', TEXT),
    'character': ('char(9)', "substr('q' || r % 300, 1, 9)::char(9)"),
    'bytea': ('bytea', "decode(lpad(to_hex(r % 256), 2, '0'), 'hex') || decode(repeat('00', r % 4), 'hex')"),
    'date': ('date', "CASE r % 40 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' ELSE date '2000-01-01' + (r % 4000 - 2000) END::date"),
    'time without time zone': ('time', "time '00:00' + (r % 86400) * interval '1 s'"),
    'time with time zone': ('timetz', "(time '00:00' + (r % 86400) * interval '1 s')::text::time AT TIME ZONE (ARRAY['UTC', '+03', '-07'])[1 + abs(r) % 3]"),
    'timestamp without time zone': ('timestamp', "CASE r % 40 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' ELSE timestamp '2000-01-01' + (r % 9000) * interval '7 h' END::timestamp"),
    'timestamp with time zone': ('timestamptz', "CASE r % 40 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' ELSE timestamptz '2000-01-01 00:00+00' + (r % 9000) * interval '7 h' END::timestamptz"),
    'interval': ('interval', "make_interval(months => r % 5 - 2, days => r % 70 - 30, hours => r % 30)"),
    'oid': ('oid', "CASE WHEN r % 20 = 0 THEN 4294967295 ELSE abs(r) % 1000 END::oid"),
    'oidvector': ('oidvector', "(r % 20 || ' ' || r % 7)::oidvector"),
    'tid': ('tid', "('(' || abs(r) % 300 || ',' || 1 + abs(r) % 5 || ')')::tid"),
    'xid8': ('xid8', "(abs(r)::bigint * 7000000)::text::xid8"),
    'pg_lsn': ('pg_lsn', "('0/0'::pg_lsn + abs(r)::bigint * 70000000)"),
    'inet': ('inet', "CASE WHEN r % 4 = 0 THEN set_masklen(inet '2001:db8::' + r % 100, 64 + abs(r) % 64) ELSE set_masklen(inet '10.0.0.0' + r % 1000, 8 + abs(r) % 25) END"),
    'macaddr': ('macaddr', "('08002b' || lpad(to_hex(abs(r) % 300), 6, '0'))::macaddr"),
    'macaddr8': ('macaddr8', "('08002b01' || lpad(to_hex(abs(r) % 300), 8, '0'))::macaddr8"),
    'bit': ('bit(11)', "(r % 2000)::int::bit(11)"),
    'bit varying': ('varbit', "substring((r % 2000)::int::bit(11), 1, abs(r) % 12)::varbit"),
    'uuid': ('uuid', "md5((r % 500)::text)::uuid"),
    'jsonb': ('jsonb', "CASE r % 5 WHEN 0 THEN jsonb_build_object('a', r % 30, 'b', null) WHEN 1 THEN to_jsonb(r % 30) WHEN 2 THEN to_jsonb('s' || r % 30) "
                       "WHEN 3 THEN 'null' ELSE jsonb_build_array(r % 9, true) END"),
    'tsvector': ('tsvector', "to_tsvector('simple', 'w' || r % 30 || ' cat v' || r % 3)"),
    'tsquery': ('tsquery', "('w' || abs(r) % 30 || ' & !x' || abs(r) % 3)::tsquery"),
    'anyarray': ('numeric[]', "CASE r % 9 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY[NULL, r % 5] ELSE ARRAY[r % 20, r % 3, r % 7] END::numeric[]"),
    'anyenum': ('op_mood', "(enum_range(NULL::op_mood))[1 + abs(r) % 6]"),
    'anyrange': ('int4range', "CASE r % 9 WHEN 0 THEN 'empty' WHEN 1 THEN int4range(NULL, r % 50) ELSE int4range(r % 50, r % 50 + 1 + abs(r) % 3) END"),
    'anymultirange': ('int4multirange', "CASE r % 9 WHEN 0 THEN '{}' ELSE int4multirange(int4range(r % 50, r % 50 + 3), int4range(r % 50 + 9, NULL)) END"),
    'record': ('op_pair', "ROW(CASE WHEN r % 11 <> 0 THEN r % 20 END, 'p' || r % 3)::op_pair"),
    'citext': ('citext', "(ARRAY['a', 'A', 'Ab', 'aB', 'c'])[1 + abs(r) % 5] || r % 10"),
    'ltree': ('ltree', "('top.n' || abs(r) % 20 || '.m' || abs(r) % 3)::ltree"),
    'hstore': ('hstore', "hstore('k' || r % 10, CASE WHEN r % 3 <> 0 THEN 'v' || r % 4 END)"),
    'cube': ('cube', "cube(ARRAY[r % 10, r % 3]::float8[], ARRAY[r % 10 + 1, 9]::float8[])"),
    'seg': ('seg', "((abs(r) % 30) || ' .. ' || (abs(r) % 30 + abs(r) % 4))::seg"),
    'ean13': ('ean13', "ISN"), 'isbn': ('isbn', "ISN"), 'isbn13': ('isbn13', "ISN"), 'ismn': ('ismn', "ISN"), 'ismn13': ('ismn13', "ISN"),
    'issn': ('issn', "ISN"), 'issn13': ('issn13', "ISN"), 'upc': ('upc', "ISN"),
}
# '?': the type computes the check digit
ISN = {'ean13': "('400000' || lpad((abs(r) % 300)::text, 6, '0') || '?')::ean13", 'upc': "('0' || lpad((abs(r) % 300)::text, 10, '0') || '?')::upc"}
for _t in ('isbn', 'isbn13'):
    ISN[_t] = "('978' || lpad((abs(r) %% 300)::text, 9, '0') || '?')::%s" % _t
for _t in ('ismn', 'ismn13'):
    ISN[_t] = "('9790' || lpad((abs(r) %% 300)::text, 8, '0') || '?')::%s" % _t
for _t in ('issn', 'issn13'):
    ISN[_t] = "('977' || lpad((abs(r) %% 300)::text, 7, '0') || '00?')::%s" % _t
for _t, _e in ISN.items():
    VALUES[_t] = (VALUES[_t][0], _e)


def setup(connection):
    """Types, and the extensions that are there."""
    have = {r[0] for r in connection.rows('SELECT name FROM pg_available_extensions')}
    for e in EXTENSIONS:
        if e in have:
            connection.exec('CREATE EXTENSION IF NOT EXISTS %s SCHEMA public' % e)
    if connection.one("SELECT to_regtype('op_pair')") is None:
        connection.exec(SETUP)


def classes(connection, method='btree'):
    """(qualified name, input type, family, default) of each operator class of that method."""
    return [(r[0], r[1], r[2], r[3] == 't') for r in connection.rows(
        "SELECT format('%%I.%%I', n.nspname, opcname), format_type(opcintype, NULL), opcfamily, opcdefault FROM pg_opclass c "
        "JOIN pg_namespace n ON n.oid = opcnamespace JOIN pg_am a ON a.oid = opcmethod WHERE amname = '%s' ORDER BY 2, 1" % method)]


def operators(connection, family, input_type):
    """(strategy, operator, right type) of the family's members that take the class's type on the left."""
    return [(int(r[0]), r[1], r[2]) for r in connection.rows(
        "SELECT amopstrategy, format('OPERATOR(%%I.%%s)', nspname, oprname), format_type(amoprighttype, NULL) FROM pg_amop m JOIN pg_operator o ON o.oid = amopopr "
        "JOIN pg_namespace n ON n.oid = oprnamespace WHERE amopfamily = %s AND amoplefttype = '%s'::regtype AND amoppurpose = 's' ORDER BY 3, 1" % (
            family, input_type.replace("'", "''")))]
