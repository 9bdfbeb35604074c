#!/usr/bin/env python3
"""Benchmark of table access methods.  The only thing that differs between them is the
name put after USING (or in default_table_access_method for pgbench -i).

Talks to the server of PGHOST, PGPORT, PGUSER, PGDATABASE; run.py starts one.  Measures named ...|cpu are
CPU time of the backend, the ones to trust on a shared machine.  See README.md."""
import os, re, subprocess, sys, time, statistics as st, shutil, traceback
AMS = sys.argv[1:] or ['heap']
HERE = os.path.dirname(os.path.abspath(__file__))
E = os.environ.get
REPS = int(E('REPS', '5')); T = E('PGB_T', '6')
SYNC = E('SYNC', 'off'); CLIENTS = [int(x) for x in E('CLIENTS', '1 4').split()]
CASES = E('CASES', 'a b c c2 d k e f l g h i').split()
N = int(E('N', '1000000')); NLOAD = int(E('NLOAD', '2000000')); NBLOAT = int(E('NBLOAT', '500000'))
NUPD = int(E('NUPD', '2000000')); NUUID = int(E('NUUID', '1000000')); NBIG = int(E('NBIG', '4000000'))
SCALE = E('SCALE', '20'); OUT = E('OUT', os.path.join(os.getcwd(), 'bench-results')); DATA = E('BENCH_DATA', OUT + '/data')
TMO = int(E('STMT_TIMEOUT_S', '240'))
os.makedirs(OUT, exist_ok=True); os.makedirs(DATA, exist_ok=True)
TAG = E('TAG', time.strftime('%m%d_%H%M%S') + '_sync' + SYNC)
raw = open(f'{OUT}/raw_{TAG}.tsv', 'w', buffering=1); log = open(f'{OUT}/log_{TAG}.txt', 'w', buffering=1)
raw.write('case\tmetric\tunit\tam\trep\tvalue\tloadavg\n')
recs = []; order = []
OPT = f'-c synchronous_commit={SYNC} -c max_parallel_workers_per_gather=0 -c max_parallel_maintenance_workers=0 -c jit=off -c statement_timeout={TMO}s -c client_min_messages=warning'
env = dict(os.environ); env['PGOPTIONS'] = OPT; env.setdefault('PGDATABASE', 'bench')

class SqlErr(Exception): pass
def psql(script, extra_env=None, check=True):
    e = dict(env); e.update(extra_env or {})
    try:
        p = subprocess.run(['psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', '-'], input=script, text=True,
                           capture_output=True, env=e, timeout=TMO + 60)
    except subprocess.TimeoutExpired:
        raise SqlErr('psql timeout: ' + script[:120])
    if p.returncode and check:
        raise SqlErr((p.stderr.strip() or f'rc={p.returncode}')[:600] + ' | SQL: ' + ' '.join(script.split())[-200:])
    return p.stdout
def one(script): return psql(script).strip().split('\n')[-1]
def timed(stmt, setup=''):
    """seconds spent in stmt (psql \\timing, connection start excluded); timed.cpu = on-CPU
    seconds of the backend from /proc/<pid>/schedstat (None if the server is remote)"""
    ss = "\\! cat /proc/$BPID/schedstat 2>/dev/null | sed s/^/SCHED:/"
    o = psql('SELECT pg_backend_pid() AS pid \\gset\n\\setenv BPID :pid\n' + setup + '\n' + ss + '\n\\timing on\n\\o /dev/null\n' + stmt + '\n\\o\n' + ss + '\n')
    ms = [float(x) for x in re.findall(r'^Time: ([0-9.]+) ms', o, re.M)]
    c = [int(x) for x in re.findall(r'^SCHED:(\d+)', o, re.M)]
    timed.cpu = (c[-1] - c[0]) / 1e9 if len(c) == 2 else None
    return sum(ms) / 1000.0
def tm(case, metric, unit, am, rep, stmt, setup='', k=1, n=1):
    """record wall and backend-CPU time of stmt, best of n, divided by k"""
    sc = {'s': 1, 'ms': 1e3}.get(unit.split('/')[0], 1e6) / k
    w, c = [], []
    for _ in range(n):
        w.append(timed(stmt, setup)); c.append(timed.cpu)
    rec(case, metric, unit, am, rep, min(w) * sc)
    if None not in c: rec(case, metric + '|cpu', unit, am, rep, min(c) * sc)
    return min(w)
def lsn(): return one('SELECT pg_current_wal_insert_lsn()')
def waldiff(l0): return int(one(f"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(),'{l0}')::bigint"))
def size(rel):
    return [int(x) for x in one(f"SELECT tbl,idx,undo,live FROM bench_size('{rel}')").split('|')]
def rec(case, metric, unit, am, rep, val):
    recs.append((case, metric, unit, am, rep, val))
    if (case, metric, unit) not in order: order.append((case, metric, unit))
    raw.write(f'{case}\t{metric}\t{unit}\t{am}\t{rep}\t{val}\t{os.getloadavg()[0]:.2f}\n')
def err(case, am, rep, ex):
    m = f'{time.strftime("%H:%M:%S")} ERROR case={case} am={am} rep={rep}: {ex}'
    log.write(m + '\n'); print(m, flush=True)
    recs.append((case, 'ERROR', 'text', am, rep, str(ex)))
    for _ in range(60):                      # server may be in crash recovery
        try: one('SELECT 1'); return
        except Exception: time.sleep(2)
def note(s): log.write(time.strftime('%H:%M:%S ') + s + '\n'); print(time.strftime('%H:%M:%S ') + s, flush=True)
def ab(case, fn, reps=None):
    """alternate AMs; fn(am, rep)"""
    dead = {}
    for rep in range(1, (reps or REPS) + 1):
        for am in AMS:
            if dead.get(am, 0) >= 2: continue
            try: fn(am, rep)
            except SqlErr as ex: err(case, am, rep, ex); dead[am] = dead.get(am, 0) + 1
def each(case, fn):
    for am in AMS:
        try: fn(am)
        except SqlErr as ex: err(case, am, 0, ex)
def srvcpu():
    """CPU seconds of the whole server so far: reaped children + live children (None if remote)"""
    try:
        pm = srvcpu.pm = getattr(srvcpu, 'pm', None) or one("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
        hz = os.sysconf('SC_CLK_TCK')
        f = open(f'/proc/{pm}/stat').read().rsplit(')', 1)[1].split(); t = int(f[13]) + int(f[14])
        for p in open(f'/proc/{pm}/task/{pm}/children').read().split():
            try: g = open(f'/proc/{p}/stat').read().rsplit(')', 1)[1].split(); t += int(g[11]) + int(g[12])
            except OSError: pass
        return t / hz
    except (OSError, IndexError): return None
def pgb_ro(case, name, am, rep, script, c):
    tps, n, cpu = pgbench(script, c); rec(case, f'{name}_c{c}_tps', 'tx/s', am, rep, tps)
    if cpu is not None: rec(case, f'{name}_c{c}_srvcpu', 'us/tx', am, rep, cpu)
def pgbench(script, c, extra=(), secs=None):
    f = f'{OUT}/_{TAG}.pgb'
    if script is not None:
        open(f, 'w').write(script); extra = ['-f', f] + list(extra)
    c0 = srvcpu()
    p = subprocess.run(['pgbench', '-n', '-M', 'prepared', '-c', str(c), '-j', str(min(c, 2)), '-T', str(secs or T)] + list(extra),
                       text=True, capture_output=True, env=env, timeout=TMO + 60)
    m = re.search(r'tps = ([0-9.]+)', p.stdout); n = re.search(r'transactions actually processed: (\d+)', p.stdout)
    bad = re.search(r'number of failed transactions: (\d+)', p.stdout)
    if p.returncode or not m: raise SqlErr('pgbench: ' + p.stderr.strip()[-500:])
    if bad and int(bad.group(1)): note(f'pgbench failed transactions: {bad.group(1)}')
    time.sleep(0.1); c1 = srvcpu(); nn = max(int(n.group(1)), 1)
    return float(m.group(1)), int(n.group(1)), (None if c0 is None or c1 is None else (c1 - c0) * 1e6 / nn)
def pgb_rw(case, name, am, rep, script, c, tbl, extra=()):
    psql('CHECKPOINT'); s0 = size(tbl); l0 = lsn()
    tps, n, cpu = pgbench(script, c, extra)
    w = waldiff(l0); psql('CHECKPOINT'); s1 = size(tbl)
    rec(case, f'{name}_c{c}_tps', 'tx/s', am, rep, tps)
    if cpu is not None: rec(case, f'{name}_c{c}_srvcpu', 'us/tx', am, rep, cpu)
    rec(case, f'{name}_c{c}_wal_per_tx', 'bytes', am, rep, w / max(n, 1))
    rec(case, f'{name}_c{c}_growth_per_tx', 'bytes', am, rep, (s1[0] + s1[1] - s0[0] - s0[1]) / max(n, 1))

COLS = "id bigint{pk}, a int, b int, c text"
ROW = "{i}::bigint, (hashint8({i}::bigint) & 1073741823) % 1000000, {i}::int % 1000, substr(repeat(md5({i}::text),3),1,60+((hashint8({i}::bigint+7) & 1073741823) % 31))"
def gen_files():
    for name, n, ordby in (('seq', NLOAD, 'i'), ('seqn', N, 'i'), ('rndn', N, 'hashint8extended(i,42)')):
        f = f'{DATA}/{name}_{n}.csv'
        if not os.path.exists(f):
            note('generating ' + f)
            psql(f"COPY (SELECT {ROW.format(i='i')} FROM generate_series(1,{n}) i ORDER BY {ordby}) TO '{f}'")
def mk(t, am, cols=None, post=''):
    psql(f'DROP TABLE IF EXISTS {t}; CREATE TABLE {t} ({cols or COLS.format(pk=" PRIMARY KEY")}) USING {am}; {post}')
def load(t, am, f, post=''):
    mk(t, am, post=post); psql(f"COPY {t} FROM '{DATA}/{f}'"); psql(f'VACUUM ANALYZE {t}'); psql('CHECKPOINT')

# ---- cases ----------------------------------------------------------------
def case_a():
    f = f'{DATA}/seq_{NLOAD}.csv'
    def go(am, rep):
        t = f'a_{am}'
        mk(t, am); psql('CHECKPOINT'); l0 = lsn()
        tm('a_load', 'copy_with_pk', 's', am, rep, f"COPY {t} FROM '{f}';"); w = waldiff(l0); rec('a_load', 'copy_with_pk_wal', 'bytes', am, rep, w)
        tm('a_load', 'copy_with_pk_checkpoint_after', 's', am, rep, 'CHECKPOINT;')
        z = size(t); rec('a_load', 'copy_with_pk_table', 'bytes', am, rep, z[0]); rec('a_load', 'copy_with_pk_index', 'bytes', am, rep, z[1])
        psql(f'DROP TABLE {t}')
    ab('a_load', go)
    def go2(am, rep):
        t = f'a_{am}'
        mk(t, am, COLS.format(pk='')); psql('CHECKPOINT'); l0 = lsn()
        s1 = tm('a_load', 'copy_nopk', 's', am, rep, f"COPY {t} FROM '{f}';"); s2 = tm('a_load', 'then_add_pk', 's', am, rep, f'ALTER TABLE {t} ADD PRIMARY KEY (id);'); w = waldiff(l0)
        pass
        rec('a_load', 'nopk_total', 's', am, rep, s1 + s2); rec('a_load', 'nopk_total_wal', 'bytes', am, rep, w)
        psql('CHECKPOINT'); z = size(t); rec('a_load', 'nopk_table', 'bytes', am, rep, z[0]); rec('a_load', 'nopk_index', 'bytes', am, rep, z[1])
        psql(f'DROP TABLE {t}')
    ab('a_load', go2)

def need_read_tables():
    def go(am):
        for o in ('seqn', 'rndn'):
            t = f'r_{o}_{am}'
            if one(f"SELECT to_regclass('{t}') IS NULL") == 't':
                load(t, am, f'{o}_{N}.csv'); psql(f'SELECT count(*), sum(length(c)) FROM {t}; SELECT count(b) FROM (SELECT b FROM {t} ORDER BY id OFFSET 0) s')
    each('read_setup', go)
FORCE = 'SET enable_seqscan=off; SET enable_hashjoin=off; SET enable_mergejoin=off; SET enable_material=off; SET enable_memoize=off;'
def plan(case, am, q, setup=''):
    try: note(f'PLAN {case} {am}: ' + ' / '.join(x.strip() for x in psql(setup + 'EXPLAIN (COSTS OFF) ' + q).strip().split('\n')))
    except SqlErr as ex: err(case, am, 0, ex)
def case_b():
    need_read_tables(); K = 200000
    def q(am): return f'SELECT count(t.b) FROM generate_series(1,{K}) g JOIN LATERAL (SELECT b FROM r_seqn_{am} WHERE id = (g*7919::bigint)%{N}) t ON true'
    for am in AMS: plan('b', am, q(am), FORCE)
    ab('b_point', lambda am, rep: tm('b_point', 'server_loop_per_lookup', 'us', am, rep, q(am) + ';', FORCE + q(am) + ';', K, 2))
    for c in CLIENTS:
        ab('b_point', lambda am, rep: pgb_ro('b_point', 'select', am, rep, f'\\set id random(1, {N})\nSELECT b FROM r_seqn_{am} WHERE id = :id;\n', c))
def case_b2():
    need_read_tables()
    for c in CLIENTS:
        ab('b_point', lambda am, rep: pgb_ro('b_point', 'select', am, rep, f'\\set id random(1, {N})\nSELECT b FROM r_seqn_{am} WHERE id = :id;\n', c))
def case_c():
    need_read_tables()
    for o, on in (('seqn', 'loaded_in_pk_order'), ('rndn', 'loaded_random')):
        for w, k in ((100, 5000), (10000, 100)):
            def q(am): return f'SELECT sum(s) FROM generate_series(1,{k}) g, LATERAL (SELECT sum(b) s FROM r_{o}_{am} WHERE id >= (g*7919::bigint*13)%{N-w} AND id < (g*7919::bigint*13)%{N-w}+{w}) x'
            for nm, st_ in (('', FORCE), ('_noBitmap', FORCE + 'SET enable_bitmapscan=off;')):
                for am in AMS: plan(f'c{w}{on}{nm}', am, q(am), st_)
                ab('c_range', lambda am, rep: tm('c_range', f'{w}_rows_{on}{nm}', 'us/range', am, rep, q(am) + ';', st_, k, 2))
def case_c2():
    need_read_tables()
    for w in (100, 10000):
        ab('c_range', lambda am, rep: pgb_ro('c_range', f'pgbench_{w}_rows_in_order', am, rep, f'\\set id random(1, {N - w})\nSELECT sum(b) FROM r_seqn_{am} WHERE id >= :id AND id < :id + {w};\n', 1))
def case_d():
    def setup(am):
        if one(f"SELECT to_regclass('d_{am}') IS NULL") == 't': load(f'd_{am}', am, f'seq_{NLOAD}.csv')
        psql(f'SELECT sum(length(c)) FROM d_{am}')
    each('d_seq', setup)
    for nm, ex in (('count_star', 'count(*)'), ('sum_int', 'sum(b)'), ('sum_len_text', 'sum(length(c))')):
        ab('d_seq', lambda am, rep: tm('d_seq', nm, 'ms', am, rep, f'SELECT {ex} FROM d_{am};', 'SET enable_indexscan=off; SET enable_indexonlyscan=off; SET enable_bitmapscan=off;', 1, 2))
    for am in AMS: plan('d', am, f'SELECT sum(b) FROM d_{am}'); plan('d', am, f'SELECT count(*) FROM d_{am}')
def case_k():
    def setup(am):
        if one(f"SELECT to_regclass('k_{am}') IS NULL") == 't':
            load(f'k_{am}', am, f'seqn_{N}.csv')
            tm('k_ios', 'create_secondary_index', 's', am, 1, f'CREATE INDEX k_{am}_a ON k_{am}(a);'); psql(f'VACUUM ANALYZE k_{am}; CHECKPOINT')
            z = size(f'k_{am}'); rec('k_ios', 'index_bytes(pk+secondary)', 'bytes', am, 1, z[1])
    each('k_ios', setup); S = 'SET enable_seqscan=off; SET enable_bitmapscan=off; SET enable_sort=off;'
    for nm, q in (('count_secondary', 'SELECT count(*) FROM k_{} WHERE a >= 0'), ('count_pk', 'SELECT count(*) FROM k_{} WHERE id >= 0'), ('count_star_default', 'SELECT count(*) FROM k_{}')):
        s_ = '' if nm == 'count_star_default' else S
        for am in AMS: plan('k ' + nm, am, q.format(am), s_)
        ab('k_ios', lambda am, rep: tm('k_ios', nm, 'ms', am, rep, q.format(am) + ';', s_, 1, 2))
def case_e():
    each('e_update', lambda am: load(f'e_{am}', am, f'seqn_{N}.csv', post=f'CREATE INDEX e_{am}_a ON e_{am}(a);'))
    for col, nm in (('b', 'nonindexed'),) + ((('a', 'indexed'),) if E('E_INDEXED', '1') == '1' else ()):
        for c in CLIENTS:
            ab('e_update', lambda am, rep: pgb_rw('e_update', nm, am, rep,
               f'\\set id random(1, {N})\n\\set v random(0, 999999)\nUPDATE e_{am} SET {col} = :v WHERE id = :id;\n', c, f'e_{am}'))
def case_f():
    def init(am):
        psql(f'CREATE SCHEMA IF NOT EXISTS pgb_{am}')
        e = dict(env); e['PGOPTIONS'] = OPT + f' -c default_table_access_method={am} -c search_path=pgb_{am},public'
        t0 = time.time()
        p = subprocess.run(['pgbench', '-i', '-q', '-s', SCALE], text=True, capture_output=True, env=e, timeout=TMO + 60)
        if p.returncode: raise SqlErr('pgbench -i: ' + p.stderr[-600:])
        rec('f_tpcb', 'init', 's', am, 1, time.time() - t0)
    each('f_tpcb', init)
    for c in CLIENTS:
        def go(am, rep):
            old = env['PGOPTIONS']; env['PGOPTIONS'] = OPT + f' -c search_path=pgb_{am},public'
            try: pgb_rw('f_tpcb', 'tpcb', am, rep, None, c, 'pgbench_accounts', ['-b', 'tpcb-like'])
            finally: env['PGOPTIONS'] = old
        ab('f_tpcb', go)
def case_l():
    each('l_mix', lambda am: load(f'l_{am}', am, f'seqn_{N}.csv'))
    for c in CLIENTS:
        ab('l_mix', lambda am, rep: pgb_rw('l_mix', 'upsert', am, rep,
          f"\\set id random(1, {N + N // 10})\nINSERT INTO l_{am} VALUES (:id, 1, 1, 'upsert row payload upsert row payload upsert row payload 0123') ON CONFLICT (id) DO UPDATE SET b = l_{am}.b + 1;\n", c, f'l_{am}'))
    for c in CLIENTS:
        ab('l_mix', lambda am, rep: pgb_rw('l_mix', 'for_update', am, rep,
          f'\\set id random(1, {N})\n\\set id2 random(1, {N})\nBEGIN;\nSELECT b FROM l_{am} WHERE id = :id FOR UPDATE;\nUPDATE l_{am} SET b = b + 1 WHERE id = :id;\nEND;\nSELECT b FROM l_{am} WHERE id = :id2 FOR UPDATE;\n', c, f'l_{am}'))
def case_g():
    BATCH = 20000
    def go(am, rep):
        t = f'g_{am}'; mk(t, am); psql(f"INSERT INTO {t} SELECT {ROW.format(i='i')} FROM generate_series(1,{NBLOAT}) i"); psql(f'VACUUM ANALYZE {t}'); psql('CHECKPOINT')
        def scan(m): tm('g_bloat', m, 'ms', am, rep, f'SELECT sum(b) FROM {t};', 'SET enable_indexscan=off; SET enable_indexonlyscan=off;', 1, 2)
        z = size(t); rec('g_bloat', 'size_before', 'bytes', am, rep, z[0] + z[1]); scan('scan_before')
        h = subprocess.Popen(['psql', '-XqAt'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        try:
            h.stdin.write(f'BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT sum(b) FROM {t};\n'); h.stdin.flush(); v0 = h.stdout.readline().strip()
            l0 = lsn(); q = '; '.join
            up = '\n'.join(f'UPDATE {t} SET b = b + 1 FROM (SELECT ((hashint8extended(i, {rep}*1000+{k}) & 4611686018427387903) % {NBLOAT}) + 1 AS k FROM generate_series(1,{BATCH}) i) s WHERE {t}.id = s.k;' for k in range(NUPD // BATCH))
            tm('g_bloat', 'updates_2M_nominal', 's', am, rep, up, FORCE); rec('g_bloat', 'updates_wal', 'bytes', am, rep, waldiff(l0))
            psql('CHECKPOINT'); z = size(t); rec('g_bloat', 'size_peak(tbl+idx)', 'bytes', am, rep, z[0] + z[1]); rec('g_bloat', 'undo_peak', 'bytes', am, rep, z[2])
            scan('scan_peak_new_snapshot')
            t0 = time.time(); h.stdin.write(f'SELECT sum(b) FROM {t};\n'); h.stdin.flush(); v1 = h.stdout.readline().strip()
            rec('g_bloat', 'scan_peak_old_snapshot', 'ms', am, rep, 1000 * (time.time() - t0))
            if v0 != v1: err('g_bloat', am, rep, f'OLD SNAPSHOT WRONG RESULT before={v0} after={v1}')
            h.stdin.write('COMMIT;\n\\q\n'); h.stdin.flush(); h.wait(30)
        finally:
            if h.poll() is None: h.terminate()
        tm('g_bloat', 'vacuum', 's', am, rep, f'VACUUM {t};'); psql('CHECKPOINT'); psql('CHECKPOINT')
        z = size(t); rec('g_bloat', 'size_after_vacuum', 'bytes', am, rep, z[0] + z[1]); rec('g_bloat', 'undo_after', 'bytes', am, rep, z[2])
        rec('g_bloat', 'live_leaf_bytes_after', 'bytes', am, rep, z[3]); scan('scan_after_vacuum')
    ab('g_bloat', go, int(E('REPS_G', '3')))
def case_h():
    def go(am, rep):
        t = f'h_{am}'; mk(t, am); psql(f"INSERT INTO {t} SELECT {ROW.format(i='i')} FROM generate_series(1,{NBLOAT}) i"); psql(f'VACUUM ANALYZE {t}'); psql('CHECKPOINT')
        z = size(t); rec('h_delete', 'size_before', 'bytes', am, rep, z[0] + z[1])
        psql(f'DROP TABLE IF EXISTS h_ids; CREATE TABLE h_ids USING heap AS SELECT i::bigint k, row_number() OVER (ORDER BY hashint8extended(i,{rep})) * 10 / {NBLOAT} AS bucket, hashint8extended(i,{rep}) h FROM generate_series(1,{NBLOAT}) i ORDER BY 3; ANALYZE h_ids; CHECKPOINT')
        l0 = lsn(); n0 = 'SET enable_hashjoin=off; SET enable_mergejoin=off; SET enable_material=off; SET enable_memoize=off;'
        tm('h_delete', 'delete_90pct_random', 's', am, rep, '\n'.join(f'DELETE FROM {t} USING (SELECT k FROM h_ids WHERE bucket = {b} ORDER BY h OFFSET 0) s WHERE {t}.id = s.k;' for b in range(9)), n0)
        rec('h_delete', 'delete_wal', 'bytes', am, rep, waldiff(l0))
        left = one(f'SELECT count(*) FROM {t}')
        rec('h_delete', 'rows_left', 'rows', am, rep, int(left))
        tm('h_delete', 'vacuum', 's', am, rep, f'VACUUM {t};'); psql('CHECKPOINT'); psql('CHECKPOINT')
        z = size(t); rec('h_delete', 'size_after_vacuum', 'bytes', am, rep, z[0] + z[1]); rec('h_delete', 'live_leaf_bytes_after', 'bytes', am, rep, z[3])
        tm('h_delete', 'scan_after', 'ms', am, rep, f'SELECT sum(b) FROM {t};', 'SET enable_indexscan=off;', 1, 2)
    ab('h_delete', go, int(E('REPS_H', '3')))
def case_i():
    def go(am, rep):
        t = f'i_{am}'; mk(t, am, 'k uuid PRIMARY KEY, a int, b int, c text', f'CREATE INDEX {t}_a ON {t}(a); CREATE INDEX {t}_b ON {t}(b);'); psql('CHECKPOINT'); l0 = lsn()
        st_ = NUUID // 10
        tm('i_uuid', 'insert_1M_2sec_idx', 's', am, rep, '\n'.join(f"INSERT INTO {t} SELECT md5(i::text)::uuid, hashint4(i), hashint4(i+5), 'payload payload payload payload payload' FROM generate_series({j*st_+1},{(j+1)*st_}) i;" for j in range(10)))
        rec('i_uuid', 'wal', 'bytes', am, rep, waldiff(l0))
        tm('i_uuid', 'checkpoint_after', 's', am, rep, 'CHECKPOINT;')
        z = size(t); rec('i_uuid', 'table', 'bytes', am, rep, z[0]); rec('i_uuid', 'index', 'bytes', am, rep, z[1]); psql(f'DROP TABLE {t}')
    ab('i_uuid', go, int(E('REPS_I', '5')))
def case_m():
    """server-side transactions (COMMIT per iteration), no protocol: robust CPU/tx"""
    K = int(E('M_K', '20000'))
    each('m_srvtx', lambda am: load(f'm_{am}', am, f'seqn_{N}.csv', post=f'CREATE INDEX m_{am}_a ON m_{am}(a);'))
    R = f'1 + floor(random() * {N})::bigint'
    ops = {
      'update_nonindexed': 'UPDATE {t} SET b = b + 1 WHERE id = k;',
      'update_indexed': 'UPDATE {t} SET a = (random() * 1000000)::int WHERE id = k;',
      'upsert_90pct_conflict': f"INSERT INTO {{t}} VALUES (1 + floor(random() * {N + N // 10})::bigint, 1, 1, 'upsert row payload upsert row payload upsert row payload 0123') ON CONFLICT (id) DO UPDATE SET b = {{t}}.b + 1;",
      'select_for_update': 'PERFORM b FROM {t} WHERE id = k FOR UPDATE;',
      'select_for_update_then_update': 'PERFORM b FROM {t} WHERE id = k FOR UPDATE; UPDATE {t} SET b = b + 1 WHERE id = k;',
      'insert_then_delete': "INSERT INTO {t} VALUES (10000000 + k, 1, 1, 'payload payload payload payload payload payload payload payload'); COMMIT; DELETE FROM {t} WHERE id = 10000000 + k;",
      'read_only_tx': 'PERFORM b FROM {t} WHERE id = k;',
      '20_updates_per_tx': 'FOR j IN 1..20 LOOP k := ' + R + '; UPDATE {t} SET b = b + 1 WHERE id = k; END LOOP;',
    }
    for nm, body in ops.items():
        n = K // 10 if nm.startswith('20_') else K
        def go(am, rep):
            psql('CHECKPOINT'); l0 = lsn()
            tm('m_srvtx', nm, 'us/tx', am, rep, f"DO $$DECLARE k bigint; BEGIN FOR i IN 1..{n} LOOP k := {R}; {body.format(t='m_' + am)} COMMIT; END LOOP; END$$;", '', n)
            rec('m_srvtx', nm + '_wal_per_tx', 'bytes', am, rep, waldiff(l0) / n)
        ab('m_srvtx', go)
    def tp(am, rep):
        psql('CHECKPOINT'); l0 = lsn(); z = f'pgb_{am}.'
        tm('m_srvtx', 'tpcb', 'us/tx', am, rep, f"""DO $$DECLARE d int; a_ int; x int; BEGIN FOR i IN 1..{K} LOOP d := floor(random()*10000)-5000; a_ := 1 + floor(random()*{int(SCALE)*100000}); x := 1 + floor(random()*{SCALE});
 UPDATE {z}pgbench_accounts SET abalance = abalance + d WHERE aid = a_; PERFORM abalance FROM {z}pgbench_accounts WHERE aid = a_;
 UPDATE {z}pgbench_tellers SET tbalance = tbalance + d WHERE tid = x * 10; UPDATE {z}pgbench_branches SET bbalance = bbalance + d WHERE bid = x;
 INSERT INTO {z}pgbench_history (tid, bid, aid, delta, mtime) VALUES (x * 10, x, a_, d, now()); COMMIT; END LOOP; END$$;""", '', K)
        rec('m_srvtx', 'tpcb_wal_per_tx', 'bytes', am, rep, waldiff(l0) / K)
    if all(one(f"SELECT to_regclass('pgb_{am}.pgbench_accounts') IS NULL") == 'f' for am in AMS): ab('m_srvtx', tp)
def case_jload():
    def go(am):
        t = f'j_{am}'
        if one(f"SELECT to_regclass('{t}') IS NULL") == 'f': return
        mk(t, am)
        tm('j_bigger', 'load_2GB', 's', am, 1, '\n'.join(f"INSERT INTO {t} SELECT i::bigint, i % 1000, i % 1000, repeat(md5(i::text),14) FROM generate_series({j*(NBIG//10)+1},{(j+1)*(NBIG//10)}) i;" for j in range(10)))
        psql(f'VACUUM ANALYZE {t}'); psql('CHECKPOINT')
        z = size(t); rec('j_bigger', 'table', 'bytes', am, 1, z[0]); rec('j_bigger', 'index', 'bytes', am, 1, z[1])
    each('j_bigger', go)
def case_j():
    K = int(E('J_K', '50000'))
    each('j_bigger', lambda am: psql(f'SELECT sum(length(c)) FROM j_{am}'))   # file cache warm
    def q(am): return f'SELECT count(t.b) FROM generate_series(1,{K}) g JOIN LATERAL (SELECT b FROM j_{am} WHERE id = 1 + (hashint8extended(g, REPX) & 4611686018427387903) % {NBIG}) t ON true'
    for am in AMS: plan('j', am, q(am).replace('REPX', '1'), FORCE)
    ab('j_bigger', lambda am, rep: tm('j_bigger', 'server_loop_random_point', 'us/lookup', am, rep, q(am).replace('REPX', str(rep)) + ';', FORCE, K))
    ab('j_bigger', lambda am, rep: tm('j_bigger', 'full_seq_scan', 'ms', am, rep, f'SELECT sum(b) FROM j_{am};', 'SET enable_indexscan=off;'), 3)
    for c in CLIENTS:
        ab('j_bigger', lambda am, rep: pgb_ro('j_bigger', 'select', am, rep, f'\\set id random(1, {NBIG})\nSELECT b FROM j_{am} WHERE id = :id;\n', c))
        ab('j_bigger', lambda am, rep: pgb_rw('j_bigger', 'update', am, rep,
            f'\\set id random(1, {NBIG})\nUPDATE j_{am} SET b = b + 1 WHERE id = :id;\n', c, f'j_{am}'))

def fmt(v):
    return f'{v:.0f}' if abs(v) >= 1000 else (f'{v:.1f}' if abs(v) >= 100 else f'{v:.3f}')
def summary():
    out = [['case', 'metric', 'unit', 'reps'] + [x for am in AMS for x in (f'{am}_median', f'{am}_min-max')] +
           [x for am in AMS[1:] for x in (f'{am}/{AMS[0]}', f'{am}/{AMS[0]}_paired_min-max')]]
    for k in order:
        v = {am: {r[4]: r[5] for r in recs if r[:3] == k and r[3] == am} for am in AMS}
        row = list(k) + [str(max(len(x) for x in v.values()))]
        for am in AMS:
            x = list(v[am].values()); row += [fmt(st.median(x)), f'{fmt(min(x))}-{fmt(max(x))}'] if x else ['-', '-']
        b = v[AMS[0]]
        for am in AMS[1:]:
            m0 = st.median(b.values()) if b else 0; m1 = st.median(v[am].values()) if v[am] else None
            pr = [v[am][r] / b[r] for r in v[am] if b.get(r)]
            row += [f'{m1 / m0:.3f}' if m0 and m1 is not None else '-', f'{min(pr):.3f}-{max(pr):.3f}' if pr else '-']
        out.append(row)
    for r in recs:
        if r[1] == 'ERROR': out.append([r[0], 'ERROR', r[3], f'rep{r[4]}', r[5].replace('\n', ' ').replace('\t', ' ')])
    s = '\n'.join('\t'.join(x) for x in out)
    open(f'{OUT}/summary_{TAG}.tsv', 'w').write(s + '\n'); return s
def main():
    psql(open(HERE + '/size.sql').read())
    for am in AMS:
        if am != 'heap': psql(f'CREATE EXTENSION IF NOT EXISTS {E("EXT_" + am, am)}', check=False)
    note('server: ' + one('SELECT version()')); note('settings: ' + psql("SELECT string_agg(name||'='||setting||coalesce(unit,''),' ') FROM pg_settings WHERE name IN ('shared_buffers','rowan.buffers','max_wal_size','checkpoint_timeout','full_page_writes','wal_compression','autovacuum','synchronous_commit','fsync','wal_level','maintenance_work_mem','work_mem','checkpoint_completion_target','wal_buffers')").strip())
    gen_files()
    for c in CASES:
        t0 = time.time(); note(f'== case {c}')
        try: globals()['case_' + c]()
        except Exception as ex: note(f'case {c} aborted: {ex}\n{traceback.format_exc()}')
        note(f'== case {c} took {time.time()-t0:.0f}s'); summary()
    print(summary())
main()
