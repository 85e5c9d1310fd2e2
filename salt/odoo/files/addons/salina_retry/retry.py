import contextlib
import functools
import logging
import tempfile
import threading
import time

import psycopg2
from odoo import http, sql_db
from odoo.addons.session_db.pg_session_store import PGSessionStore
from odoo.tools import config
from psycopg2 import errorcodes, extensions

_logger = logging.getLogger(__name__)

# A new primary cuts the requests that have a transaction. Here such a request begins again, if the
# database kept nothing of it. As with Odoo's own retry after a conflict, what it did elsewhere (a
# mail that it sent at once, a call of another service) happens twice.

PATIENCE = 60  # seconds from its arrival in which a request can begin again; Odoo ends it after 120
TRIES = 3
LARGEST = 64 * 2**20  # bytes of a request that can begin again
IN_MEMORY = 2**20  # bytes of a request that need no temporary file
HEALTH = "/web/health"  # it must tell at once what it finds
SERVED_BY_APPLICATION = hasattr(http, "Application")  # since Odoo 16

# The server ends the session, or is a replica. pgbouncer says "protocol violation".
CODES = {
    errorcodes.ADMIN_SHUTDOWN,
    errorcodes.CRASH_SHUTDOWN,
    errorcodes.CANNOT_CONNECT_NOW,
    errorcodes.READ_ONLY_SQL_TRANSACTION,
    errorcodes.PROTOCOL_VIOLATION,
}
# The end of a server's last recovery says which part of the log it has; it is null after a clean
# start. It and the time of the start say whether the server is the same as before, without a crash.
RUN = "concat(extract(epoch FROM pg_postmaster_start_time()), ' ', pg_last_wal_replay_lsn())"
# A transaction's number (null: it wrote nothing), its place in the log, and its server.
TRANSACTION = f"""
    SELECT pg_current_xact_id_if_assigned()::text, pg_current_wal_insert_lsn()::text, {RUN}
"""
# The transaction's state, and whether the number is still its own: a new primary that never had
# this part of the log gives the number to another transaction.
OUTCOME = f"""
    SELECT pg_xact_status(%s::xid8),
           coalesce(pg_last_wal_replay_lsn() >= %s::pg_lsn, true) OR {RUN} = %s
"""
current = threading.local()


class Record:
    """The fate of the database's connections in one request."""

    def __init__(self):
        self.deadline = time.monotonic() + PATIENCE
        self.lost = False  # in this try
        self.kept = False  # the database has, or may have, something of the request


def record():
    return getattr(current, "record", None)


@contextlib.contextmanager
def recording(new):
    before = record()
    current.record = new
    try:
        yield
    finally:
        current.record = before


@contextlib.contextmanager
def recovering():
    """A loss counts only if the caller does not recover from it by itself."""
    try:
        with recording(None):
            yield
    except psycopg2.Error:
        lost()
        raise


def lost(error=None):
    """Note that a connection was lost. Odoo may get another error for the given one.

    Since version 16, Odoo takes an OperationalError at the beginning of a request for a database
    that does not exist, and logs the user out. psycopg2 tells some ends of a connection by a plain
    DatabaseError, which Odoo does not expect.
    """
    if record():
        record().lost = True
        if error and SERVED_BY_APPLICATION:
            raise psycopg2.InterfaceError(str(error)) from error
    if type(error) is psycopg2.DatabaseError:
        raise psycopg2.OperationalError(str(error)) from error


class Cursor(extensions.cursor):
    def execute(self, query, *args):
        if record() and self.connection.autocommit and statement(query) != "SELECT":
            record().kept = True
        try:
            return super().execute(query, *args)
        except psycopg2.Error as error:
            if self.connection.ended(error):
                lost(error)
            raise


class Connection(sql_db.PsycoConnection):
    def __init__(self, *args, **kwargs):
        try:
            super().__init__(*args, **kwargs)
        except psycopg2.OperationalError as error:
            lost(error)
            raise
        self.cursor_factory = Cursor

    def ended(self, error):
        """Return whether the error is the connection's end. Then Odoo's pool forgets it."""
        if not self.closed and error.pgcode not in CODES:
            return False
        self.close()
        return True

    def reset(self):
        # Odoo's pool takes another connection after an OperationalError, and only after that.
        try:
            super().reset()
        except psycopg2.Error as error:
            self.close()
            raise psycopg2.OperationalError(str(error)) from error

    def commit(self):
        if not record() or self.get_transaction_status() != extensions.TRANSACTION_STATUS_INTRANS:
            return super().commit()
        with self.cursor() as cursor:
            # This also notices that the connection ended while it was idle, before COMMIT is sent.
            cursor.execute(TRANSACTION)
            transaction = cursor.fetchone()
        try:
            super().commit()
        except psycopg2.Error as error:
            if not self.ended(error):
                raise
            became = outcome(transaction, record().deadline)
            if became == "aborted":
                lost()
                raise
            record().kept = True
            if became == "unknown":
                raise
            _logger.warning("the answer to a COMMIT was lost, but the transaction was not")
        record().kept = record().kept or transaction[0] is not None

    def rollback(self):
        # The server rolls back what it loses. An error here would hide the one before.
        if self.closed:
            return
        try:
            super().rollback()
        except psycopg2.Error as error:
            if not self.ended(error):
                raise


def statement(query):
    text = query.decode() if isinstance(query, bytes) else str(query)
    return (text.split(None, 1) or [""])[0].upper()


def ask(deadline, query, *args):
    """Return the primary's row as soon as there is a primary, or None after the deadline."""
    name = config["db_name"]  # since Odoo 19 it is a list
    _, address = sql_db.connection_info_for(name if isinstance(name, str) else name[0])
    while True:
        try:
            with contextlib.closing(psycopg2.connect(**address)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_is_in_recovery()")
                    if not cursor.fetchone()[0]:
                        cursor.execute(query, args)
                        return cursor.fetchone()
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            pass
        if time.monotonic() > deadline:
            return None
        time.sleep(0.1)


def primary(deadline):
    """Return whether there is a primary before the deadline."""
    return ask(deadline, "SELECT true") is not None and time.monotonic() < deadline


def outcome(transaction, deadline):
    """Return what the primary knows of a transaction: "committed", "aborted" or "unknown"."""
    if transaction[0] is None:
        return "aborted"
    while True:
        try:
            found, same = ask(deadline, OUTCOME, *transaction) or (None, False)
        except psycopg2.errors.InvalidParameterValue:
            return "aborted"  # a number of the future: this primary has never had the transaction
        # A server that is only out of reach still ends what it has received.
        if found != "in progress" or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if found == "aborted" or (found == "committed" and same):
        return found
    return "unknown"


def body(environ):
    """Return the content of a request as a file, or None if it is too large to be kept."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if "HTTP_TRANSFER_ENCODING" in environ or not length.isdigit() or int(length) > LARGEST:
        return None
    file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (it goes with the request)
    left = int(length)
    while left:
        part = environ["wsgi.input"].read(min(left, IN_MEMORY))
        if not part:
            break
        file.write(part)
        left -= len(part)
    return file


def application(once, environ, start_response):
    """Answer a request; `once` is Odoo's own function for that."""
    # A websocket goes on after its answer, so it cannot begin again.
    alone = environ.get("PATH_INFO") == HEALTH or "HTTP_UPGRADE" in environ
    content = None if alone else body(environ)
    if content is None:
        # Since version 16 Odoo would answer without a database and end the session, but for the
        # error of `lost`.
        with recording(Record() if SERVED_BY_APPLICATION else None):
            return once(environ, start_response)
    noted = Record()
    for number in range(1, TRIES + 1):
        noted.lost = False
        content.seek(0)
        answer = failed = None
        # Odoo turns most errors into answers, so only the record tells that a connection was lost.
        with recording(noted):
            try:
                head, answer = tried(once, {**environ, "wsgi.input": content})
            except Exception as error:
                failed = error
        again = noted.lost and not noted.kept and number < TRIES
        if not again or not primary(noted.deadline):
            break
        what = environ.get("REQUEST_METHOD"), environ.get("PATH_INFO")
        _logger.warning("%s %s lost the database and begins again", *what)
        if hasattr(answer, "close"):
            answer.close()
    if failed:
        raise failed
    start_response(*head)
    return answer


def tried(once, environ):
    """Return the head and the content of an answer. Nothing of it has been sent."""
    heads = []
    content = once(environ, lambda *head: heads.append(head))
    return heads[-1], content


def repeatable(name):
    method = getattr(PGSessionStore, name)

    def wrapper(*args, **kwargs):
        # The next try can do all of this again, but it would miss a deleted session.
        if name == "delete" and record():
            record().kept = True
        with recovering():
            return method(*args, **kwargs)

    return wrapper


for _name in ("_setup_db", "delete", "gc", "get", "save", "vacuum"):
    if hasattr(PGSessionStore, _name):
        setattr(PGSessionStore, _name, repeatable(_name))
sql_db.PsycoConnection = Connection
if SERVED_BY_APPLICATION:
    _own = http.Application.__call__
    http.Application.__call__ = lambda self, *given: application(
        functools.partial(_own, self), *given
    )
else:
    from odoo.service import wsgi_server

    wsgi_server.application = functools.partial(application, wsgi_server.application)
