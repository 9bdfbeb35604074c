"""A minimal PostgreSQL client: libpq through ctypes, for python has no driver of its own."""
import collections
import ctypes
import ctypes.util
import select

_lib = ctypes.CDLL('libpq.so.5')        # releases the interpreter's lock in every call


def _declare(name, result, *arguments):
    f = getattr(_lib, name)
    f.restype, f.argtypes = result, arguments
    return f


_p, _s, _i = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_connectdb = _declare('PQconnectdb', _p, _s)
_status = _declare('PQstatus', _i, _p)
_error = _declare('PQerrorMessage', _s, _p)
_finish = _declare('PQfinish', None, _p)
_exec = _declare('PQexec', _p, _p, _s)
_send = _declare('PQsendQuery', _i, _p, _s)
_consume = _declare('PQconsumeInput', _i, _p)
_busy = _declare('PQisBusy', _i, _p)
_get_result = _declare('PQgetResult', _p, _p)
_socket = _declare('PQsocket', _i, _p)
_pid = _declare('PQbackendPID', _i, _p)
_result_status = _declare('PQresultStatus', _i, _p)
_error_field = _declare('PQresultErrorField', _s, _p, _i)
_result_error = _declare('PQresultErrorMessage', _s, _p)
_ntuples = _declare('PQntuples', _i, _p)
_nfields = _declare('PQnfields', _i, _p)
_value = _declare('PQgetvalue', _p, _p, _i, _i)
_length = _declare('PQgetlength', _i, _p, _i, _i)
_isnull = _declare('PQgetisnull', _i, _p, _i, _i)
_tag = _declare('PQcmdStatus', _s, _p)
_count = _declare('PQcmdTuples', _s, _p)
_clear = _declare('PQclear', None, _p)
_transaction = _declare('PQtransactionStatus', _i, _p)
_NOTICE = ctypes.CFUNCTYPE(None, _p, _s)
_set_notice = _declare('PQsetNoticeProcessor', _p, _p, _NOTICE, _p)

OK_STATES = (0, 1, 2)                   # empty query, command, tuples


class Error(Exception):
    """An SQL error, with its state and fields; state None: the connection is gone."""

    def __init__(self, message, sqlstate=None, primary='', detail='', hint=''):
        super().__init__(message)
        self.sqlstate, self.primary, self.detail, self.hint = sqlstate, primary, detail, hint


class Result:
    """rows: list of tuples of str or None; count: affected rows; error: Error or None"""

    def __init__(self, raw, connection):
        self.rows, self.tag, self.count, self.error = [], '', 0, None
        if not raw:
            self.error = Error(connection.message())
            return
        try:
            if _result_status(raw) in OK_STATES:
                self._read(raw)
            else:
                field = lambda c: (_error_field(raw, ord(c)) or b'').decode(errors='replace')
                message = (_result_error(raw) or b'').decode(errors='replace').strip()
                self.error = Error(message or connection.message(), field('C') or None, field('M'), field('D'), field('H'))
        finally:
            _clear(raw)

    def _read(self, raw):
        self.tag = _tag(raw).decode()
        n = _count(raw)
        self.count = int(n) if n else 0
        columns = range(_nfields(raw))
        for r in range(_ntuples(raw)):
            self.rows.append(tuple(
                None if _isnull(raw, r, c) else
                ctypes.string_at(_value(raw, r, c), _length(raw, r, c)).decode(errors='replace')
                for c in columns))


class Connection:
    def __init__(self, conninfo):
        self.raw = _connectdb(conninfo.encode())
        if _status(self.raw) != 0:
            message = self.message()
            self.close()
            raise Error(message)
        self.notices = collections.deque(maxlen=100)    # the last ones, as text
        self._processor = _NOTICE(
            lambda _, text: self.notices.append(text.decode(errors='replace')))
        _set_notice(self.raw, self._processor, None)

    def message(self):
        return (_error(self.raw) or b'').decode(errors='replace').strip()

    @property
    def pid(self):
        return _pid(self.raw)

    def alive(self):
        return bool(self.raw) and _status(self.raw) == 0

    def in_transaction(self):
        return _transaction(self.raw) in (1, 2, 3)

    def try_(self, sql):
        """Result, its error inside."""
        return Result(_exec(self.raw, sql.encode()), self)

    def exec(self, sql):
        """Result; raises Error."""
        r = self.try_(sql)
        if r.error:
            raise r.error
        return r

    def rows(self, sql):
        return self.exec(sql).rows

    def one(self, sql):
        """The first value of the first row."""
        rows = self.exec(sql).rows
        return rows[0][0] if rows else None

    # asynchronous
    def send(self, sql):
        if not _send(self.raw, sql.encode()):
            raise Error(self.message())

    def ready(self, timeout_s=0):
        """Has the answer to what was sent arrived?"""
        if not _consume(self.raw):
            return True                 # the connection is gone: receive() says so
        if _busy(self.raw):
            fd = _socket(self.raw)
            if fd < 0:
                return True
            select.select([fd], [], [], timeout_s)
            if not _consume(self.raw):
                return True
        return not _busy(self.raw)

    def receive(self):
        """The last Result of what was sent (the first error if there is one)."""
        last = None
        while True:
            raw = _get_result(self.raw)
            if not raw:
                return last if last is not None else Result(None, self)
            r = Result(raw, self)
            if last is None or last.error is None:
                last = r

    def close(self):
        if self.raw:
            _finish(self.raw)
            self.raw = None

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()
