"""This project's addon repeats a request that lost the database (S12).

Odoo, psycopg2 and the database are only pretended: they have what the addon uses of them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.conftest import REPOSITORY

ADDONS = REPOSITORY / "salt/odoo/files/addons"
ADDON = ADDONS / "salina_retry"
NUMBER = "SELECT pg_current_xact_id_if_assigned()"
BODY = b'{"name": "a partner"}'
IDLE, OPEN = 0, 2


class Error(Exception):
    """An error of psycopg2."""

    pgcode: str | None = None


class OperationalError(Error):
    """The server, the connection or the transaction failed."""


class InterfaceError(Error):
    """The connection was closed before."""


class DatabaseError(Error):
    """The plain error of some ends of a connection."""


class InvalidParameterValue(Error):
    """An argument is not possible."""


def error(code: str | None = None, kind: type[Error] = OperationalError) -> Error:
    """Return an error as the server reports it. Without a code, the connection just ended."""
    found = kind(code or "server closed the connection unexpectedly")
    found.pgcode = code
    return found


class Server:
    """The database: what it was asked, and the faults that it shows once each."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.faults: list[tuple[str, Error]] = []
        self.refuses = 0
        self.wrote = self.same = True
        self.recovering: list[bool] = []
        self.status: list[str | Error | None] = []

    def ask(self, connection: Connection, query: str) -> list[Any]:
        """Answer one statement."""
        query = " ".join(query.split()) if isinstance(query, str) else str(query)
        self.asked.append(query)
        if connection.closed:
            raise InterfaceError("connection already closed")
        for fault in self.faults:
            if query.startswith(fault[0]):
                self.faults.remove(fault)
                connection.closed = 0 if fault[1].pgcode else 2
                raise fault[1]
        if not connection.autocommit:
            connection.status = OPEN
        if query.startswith(NUMBER):
            return ["740" if self.wrote else None, "0/3000060", "1795000000.5"]
        if query == "SELECT pg_is_in_recovery()":
            return [self.recovering.pop(0) if self.recovering else False]
        if query.startswith("SELECT pg_xact_status"):
            status = self.status.pop(0)
            if isinstance(status, Error):
                raise status
            return [status, self.same]
        return []


class Cursor:
    """A cursor of psycopg2."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, query: str, *_: Any) -> None:
        self.found = self.connection.server.ask(self.connection, query)

    def fetchone(self) -> Any:
        return self.found


class Connection:
    """A connection of psycopg2."""

    server: Server
    cursor_factory: type[Cursor] = Cursor

    def __init__(self, **_: Any) -> None:
        if self.server.refuses:
            self.server.refuses -= 1
            raise OperationalError("server login has been failing")
        self.closed, self.autocommit, self.status = 0, False, IDLE

    def cursor(self) -> Cursor:
        return self.cursor_factory(self)

    def get_transaction_status(self) -> int:
        return self.status

    def close(self) -> None:
        self.closed = 1

    def reset(self) -> None:
        self.server.ask(self, "RESET")

    def commit(self) -> None:
        self.server.ask(self, "COMMIT")
        self.status = IDLE

    def rollback(self) -> None:
        self.server.ask(self, "ROLLBACK")
        self.status = IDLE


class PGSessionStore:
    """session_db's store, which tries again by itself."""

    def __init__(self, odoo: Odoo) -> None:
        self.odoo = odoo

    def _ask(self, query: str) -> None:
        for last in (False, True):
            try:
                connection = self.odoo.connect()
                connection.autocommit = True
                connection.cursor().execute(query)
                return
            except Error:
                if last:
                    raise

    def _setup_db(self) -> None:
        self._ask("CREATE TABLE")

    def get(self, _: str) -> None:
        self._ask("SELECT payload")

    def save(self, _: str) -> None:
        self._ask("INSERT INTO http_sessions")

    def delete(self, _: str) -> None:
        self._ask("DELETE FROM http_sessions")

    def gc(self) -> None:
        self._ask("DELETE FROM http_sessions")

    def vacuum(self, max_lifetime: int = 0) -> None:
        self._ask(f"DELETE FROM http_sessions {max_lifetime}")


class Registry:
    """Odoo's registry, as far as each request begins with it."""

    odoo: Odoo

    def check_signaling(self) -> str:
        self.odoo.connect().cursor().execute("SELECT base_registry_signaling")
        return "checked"


class Odoo:
    """Odoo with the addon: it serves with `work`, and turns errors into answers as Odoo does."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.calls: list[bytes] = []
        self.work: Callable[[Odoo], object] = write
        self.raises = False
        self.now = 0.0
        self.module: Any = None

    def application(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        self.calls.append(environ["wsgi.input"].read())
        environ["wsgi.input"] = environ["REQUEST_METHOD"] = None  # Odoo changes what it gets
        try:
            self.work(self)
        except Error as error:
            if self.raises:
                raise
            start_response("200 OK", [("Content-Type", "application/json")])
            return [f"error: {error}".encode()]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"done"]

    def connect(self) -> Any:
        """Return a connection of Odoo's pool."""
        return self.module.sql_db.PsycoConnection()

    def request(self, content: bytes = BODY, **environ: str) -> bytes:
        """Send a request; return the answer. Its head is sent once, and nothing before the end."""
        heads: list[Any] = []
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/web/dataset/call_kw"} | environ
        length = {"CONTENT_LENGTH": str(len(content))}
        given: dict[str, Any] = {**length, **environ, "wsgi.input": io.BytesIO(content)}
        application = self.serve()
        answer = b"".join(application(given, lambda *head: heads.append(head)))
        assert heads == [("200 OK", [("Content-Type", "application/json")])]
        return answer

    def serve(self) -> Any:
        """Return what Odoo's server calls for each request."""
        if hasattr(self.module.http, "Application"):
            return self.module.http.Application()
        return sys.modules["odoo.service"].wsgi_server.application

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def write(odoo: Odoo) -> None:
    """Do what most requests do: one transaction, whatever happens to it."""
    connection = odoo.connect()
    try:
        connection.cursor().execute("INSERT INTO res_partner")
        connection.commit()
    finally:
        connection.rollback()  # as Odoo closes a cursor


@pytest.fixture(params=["14", "19"])
def odoo(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Odoo]:
    """Odoo 14 or 19 with the addon's retry, and Odoo 14 with its signaling."""
    server = Server()
    found = Odoo(server)
    old = request.param == "14"

    class Application:
        def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            return found.application(environ, start_response)

    http = SimpleNamespace() if old else SimpleNamespace(Application=Application)
    service = {"wsgi_server": SimpleNamespace(application=found.application)} if old else {}
    monkeypatch.setattr(Connection, "server", server, raising=False)
    monkeypatch.setattr(Registry, "odoo", found, raising=False)
    for kind in (PGSessionStore, Registry):
        for name in ("_setup_db", "get", "save", "delete", "gc", "vacuum", "check_signaling"):
            if hasattr(kind, name):
                monkeypatch.setattr(kind, name, getattr(kind, name))  # restored afterwards
    codes = SimpleNamespace(
        ADMIN_SHUTDOWN="57P01",
        CRASH_SHUTDOWN="57P02",
        CANNOT_CONNECT_NOW="57P03",
        READ_ONLY_SQL_TRANSACTION="25006",
        PROTOCOL_VIOLATION="08P01",
    )
    sql_db = SimpleNamespace(
        PsycoConnection=Connection,
        connection_info_for=lambda name: (name, {"database": name}),
    )
    pretended: dict[str, dict[str, Any]] = {
        "psycopg2": {
            "Error": Error,
            "OperationalError": OperationalError,
            "InterfaceError": InterfaceError,
            "DatabaseError": DatabaseError,
            "errors": SimpleNamespace(InvalidParameterValue=InvalidParameterValue),
            "errorcodes": codes,
            "extensions": SimpleNamespace(cursor=Cursor, TRANSACTION_STATUS_INTRANS=OPEN),
            "connect": Connection,
        },
        "odoo": {"sql_db": sql_db, "http": http},
        "odoo.addons.session_db.pg_session_store": {"PGSessionStore": PGSessionStore},
        "odoo.service": service,
        "odoo.tools": {"config": {"db_name": "crm" if old else ["crm"]}},
        "odoo.modules.registry": {"Registry": Registry},
        "odoo.addons.salina_retry": {},
    }
    for name, content in pretended.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("salina_retry/retry", *(["salina_odoo14/signaling"] if old else [])):
        spec = importlib.util.spec_from_file_location(Path(name).name, ADDONS / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        vars(sys.modules["odoo.addons.salina_retry"])[Path(name).name] = module
        spec.loader.exec_module(module)
    found.module = vars(sys.modules["odoo.addons.salina_retry"])["retry"]
    monkeypatch.setattr(found.module, "_logger", SimpleNamespace(warning=lambda *_: None))
    clock = SimpleNamespace(monotonic=lambda: found.now, sleep=found.sleep)
    monkeypatch.setattr(found.module, "time", clock)
    yield found


def test_a_request_without_a_fault_runs_once(odoo: Odoo) -> None:
    assert odoo.request() == b"done"
    assert odoo.calls == [BODY]
    words = [query.split()[0] for query in odoo.server.asked]
    assert words == ["INSERT", "SELECT", "COMMIT", "ROLLBACK"]


@pytest.mark.parametrize("code", [None, "57P01", "57P02", "57P03", "25006", "08P01"])
@pytest.mark.parametrize("query", ["INSERT", NUMBER])
@pytest.mark.parametrize("raises", [True, False])
def test_s12_a_request_that_lost_the_database_begins_again(
    odoo: Odoo, raises: bool, query: str, code: str | None
) -> None:
    """S12: Whether Odoo answers with an error or fails, the user gets the answer of a later try.

    NUMBER comes just before COMMIT: it is where an idle connection is found dead.
    """
    odoo.raises = raises
    odoo.server.faults = [(query, error(code)), (query, error(code))]
    assert odoo.request() == b"done"
    assert odoo.calls == [BODY] * 3
    assert odoo.server.asked.count("COMMIT") == 1


def test_the_third_loss_is_the_users_error(odoo: Odoo) -> None:
    odoo.server.faults = [("INSERT", error("57P01"))] * 3
    assert odoo.request() == b"error: 57P01"
    assert len(odoo.calls) == 3
    odoo.raises = True
    odoo.server.faults = [("INSERT", error("57P02"))] * 3
    with pytest.raises(Error, match="57P02"):
        odoo.request()
    assert len(odoo.calls) == 6


@pytest.mark.parametrize("code", ["23505", "40001", "57014"])
def test_other_errors_are_not_repeated(odoo: Odoo, code: str) -> None:
    """A duplicate, a conflict, a cancelled query: Odoo knows what to do."""
    odoo.server.faults = [("INSERT", error(code))]
    assert odoo.request() == f"error: {code}".encode()
    assert len(odoo.calls) == 1
    odoo.server.faults = [("COMMIT", error(code))]
    assert odoo.request() == f"error: {code}".encode()
    assert len(odoo.calls) == 2


@pytest.mark.parametrize(
    ("status", "answer", "calls"),
    [
        (["committed"], b"done", 1),
        (["in progress", "in progress", "committed"], b"done", 1),
        (["aborted"], b"done", 2),
        ([error("22023", InvalidParameterValue)], b"done", 2),  # the number is in the future
        ([None], b"error: server closed the connection unexpectedly", 1),  # it is too old
        (["in progress"] * 700, b"error: server closed the connection unexpectedly", 1),
    ],
)
def test_s12_a_commit_without_an_answer_is_looked_up(
    odoo: Odoo, status: list[Any], answer: bytes, calls: int
) -> None:
    """S12: The new primary knows whether it has the transaction. It is never done twice."""
    odoo.server.faults = [("COMMIT", error())]
    odoo.server.status = [*status]
    assert odoo.request() == answer
    assert len(odoo.calls) == calls


@pytest.mark.parametrize(("status", "calls"), [("committed", 1), ("aborted", 2)])
def test_a_number_that_can_be_another_transactions_is_no_success(
    odoo: Odoo, status: str, calls: int
) -> None:
    """A new primary that never had the transaction gives its number to another one."""
    odoo.server.faults = [("COMMIT", error("57P02"))]
    odoo.server.status, odoo.server.same = [status], False
    assert odoo.request() == (b"done" if calls == 2 else b"error: 57P02")
    assert len(odoo.calls) == calls


def test_a_transaction_that_wrote_nothing_can_be_repeated(odoo: Odoo) -> None:
    odoo.server.wrote = False
    odoo.server.faults = [("COMMIT", error())]
    assert odoo.request() == b"done"
    assert len(odoo.calls) == 2


def test_after_a_commit_nothing_is_repeated(odoo: Odoo) -> None:
    def twice(odoo: Odoo) -> None:
        write(odoo)
        odoo.server.faults = [("INSERT", error("57P01"))]
        write(odoo)

    odoo.work = twice
    assert odoo.request() == b"error: 57P01"
    assert len(odoo.calls) == 1


@pytest.mark.parametrize(
    ("query", "calls"),
    [("  select 1", 2), (b"SELECT 1", 2), ("CREATE DATABASE other", 1), (b"UPDATE", 1), ("", 1)],
)
def test_a_statement_without_a_transaction_is_kept_at_once(
    odoo: Odoo, query: Any, calls: int
) -> None:
    def both(odoo: Odoo) -> None:
        connection = odoo.connect()
        connection.autocommit = True
        connection.cursor().execute(query)
        write(odoo)

    odoo.work = both
    odoo.server.faults = [("INSERT", error("57P01"))]
    odoo.request()
    assert len(odoo.calls) == calls


@pytest.mark.parametrize(
    ("method", "calls"),
    [("get", 2), ("save", 2), ("gc", 2), ("_setup_db", 2), ("delete", 1)],
)
def test_sessions_can_be_saved_again_but_not_deleted(odoo: Odoo, method: str, calls: int) -> None:
    """A login deletes the old session. A repeated one would find none."""

    def both(odoo: Odoo) -> None:
        store = PGSessionStore(odoo)
        getattr(store, method)(*(["a session"] if method in ("get", "save", "delete") else []))
        write(odoo)

    odoo.work = both
    odoo.server.faults = [("INSERT INTO res_partner", error("57P01"))]
    odoo.request()
    assert len(odoo.calls) == calls


@pytest.mark.parametrize(("faults", "calls"), [(1, 1), (2, 2)])
def test_a_loss_from_which_the_session_store_recovers_is_none(
    odoo: Odoo, faults: int, calls: int
) -> None:
    odoo.work = lambda odoo: PGSessionStore(odoo).get("a session")
    odoo.server.faults = [("SELECT payload", error())] * faults
    assert odoo.request() == b"done"
    assert len(odoo.calls) == calls


def test_s12_a_refused_connection_is_a_loss(odoo: Odoo) -> None:
    """S12: pgbouncer refuses for a moment when the old primary refused a login."""
    odoo.server.refuses = 5
    assert odoo.request() == b"done"
    assert len(odoo.calls) == 2
    assert odoo.now == pytest.approx(0.4)


def test_it_waits_for_the_new_primary(odoo: Odoo) -> None:
    odoo.server.faults = [("INSERT", error("25006")), ("SELECT pg_is_in", error())]
    odoo.server.recovering = [True] * 20
    assert odoo.request() == b"done"
    assert odoo.now == pytest.approx(2.1)
    assert len(odoo.calls) == 2


@pytest.mark.parametrize("how", ["none", "a replica", "the request itself is slow"])
def test_the_wait_has_a_bound(odoo: Odoo, how: str) -> None:
    """Odoo ends the process of a request after 120 seconds."""

    def slow(odoo: Odoo) -> None:
        odoo.sleep(100)
        write(odoo)

    odoo.server.faults = [("INSERT", error("57P01"))]
    if how == "a replica":
        odoo.server.recovering = [True] * 1000
    elif how == "none":
        odoo.server.faults += [("SELECT pg_is_in", error())] * 1000
    else:
        odoo.work = slow
    assert odoo.request() == b"error: 57P01"
    assert len(odoo.calls) == 1
    assert odoo.now < 101


def test_the_health_url_tells_at_once(odoo: Odoo) -> None:
    odoo.server.faults = [("INSERT", error("57P01"))]
    assert odoo.request(PATH_INFO=odoo.module.HEALTH) == b"error: 57P01"
    assert len(odoo.calls) == 1
    assert odoo.now == 0
    assert f'"{odoo.module.HEALTH}"' in (ADDONS / "salina_odoo14/health.py").read_text()


@pytest.mark.parametrize("size", [0, 100, 3 * 2**20])
def test_the_whole_content_is_repeated(odoo: Odoo, size: int) -> None:
    content = bytes(range(100)) * (size // 100)
    odoo.server.faults = [("INSERT", error("57P01"))]
    assert odoo.request(content) == b"done"
    assert odoo.calls == [content] * 2


@pytest.mark.parametrize(
    "environ",
    [{"CONTENT_LENGTH": str(65 * 2**20)}, {"HTTP_TRANSFER_ENCODING": "chunked"}],
)
def test_content_that_is_not_kept_is_sent_once(odoo: Odoo, environ: dict[str, str]) -> None:
    odoo.server.faults = [("INSERT", error("57P01"))]
    assert odoo.request(BODY, **environ) == b"error: 57P01"
    assert odoo.calls == [BODY]


def test_content_of_a_client_that_went_away_is_what_came(odoo: Odoo) -> None:
    assert odoo.request(CONTENT_LENGTH="100") == b"done"
    assert odoo.calls == [BODY]


def test_the_rest_of_odoo_is_as_before(odoo: Odoo) -> None:
    """Scheduled jobs have no request: no statement more, and no other error."""
    write(odoo)
    assert odoo.server.asked == ["INSERT INTO res_partner", "COMMIT", "ROLLBACK"]
    for query in ("INSERT", "COMMIT"):
        odoo.server.faults = [(query, error("57P01"))]
        with pytest.raises(OperationalError, match="57P01"):
            write(odoo)
    assert odoo.now == 0


def test_another_error_of_a_rollback_is_an_error(odoo: Odoo) -> None:
    connection = odoo.connect()
    odoo.server.faults = [("ROLLBACK", error("XX000"))]
    with pytest.raises(OperationalError, match="XX000"):
        connection.rollback()
    odoo.server.faults = [("ROLLBACK", error("57P01"))]
    connection.rollback()
    assert connection.closed


def test_a_lost_connection_leaves_the_pool(odoo: Odoo) -> None:
    """Odoo's pool forgets a connection that is closed. Otherwise it would lend it again."""
    connection = odoo.connect()
    odoo.server.faults = [("INSERT", error("25006"))]
    with pytest.raises(OperationalError):
        connection.cursor().execute("INSERT")
    assert connection.closed


@pytest.mark.parametrize("odoo", ["14"], indirect=True)
@pytest.mark.parametrize("faults", [1, 4])
def test_the_first_query_waits_for_the_new_primary(odoo: Odoo, faults: int) -> None:
    """Odoo logs a user out who meets this error."""
    odoo.work = lambda _: Registry().check_signaling()
    odoo.server.faults = [("SELECT base", error())] * faults
    odoo.server.recovering = [True] * 10
    assert odoo.request() == b"done"
    assert len(odoo.calls) == 1
    assert odoo.now == pytest.approx(1.0)


@pytest.mark.parametrize("odoo", ["14"], indirect=True)
def test_the_first_query_fails_without_a_primary(odoo: Odoo) -> None:
    odoo.work = lambda _: Registry().check_signaling()
    odoo.server.faults = [("SELECT base", error("57P01"))]
    odoo.server.recovering = [True] * 2000
    assert odoo.request() == b"error: 57P01"
    assert len(odoo.calls) == 1


@pytest.mark.parametrize("odoo", ["14"], indirect=True)
def test_the_first_query_without_a_request_only_tries_again(odoo: Odoo) -> None:
    odoo.server.faults = [("SELECT base", error())] * 4
    assert Registry().check_signaling() == "checked"
    odoo.server.faults = [("SELECT base", error())] * 5
    with pytest.raises(OperationalError):
        Registry().check_signaling()
    assert odoo.now == 0


@pytest.mark.parametrize("odoo", ["19"], indirect=True)
def test_s12_health_of_newer_odoo_needs_the_database(odoo: Odoo) -> None:
    """S12: Odoo 16 and later answer 200 without one after psycopg2.OperationalError."""

    def health(odoo: Odoo) -> None:
        with contextlib.suppress(OperationalError):
            odoo.connect()

    odoo.work = health
    odoo.server.refuses = 1
    assert odoo.request(PATH_INFO=odoo.module.HEALTH).startswith(b"error: ")
    assert len(odoo.calls) == 1
    assert odoo.request(PATH_INFO=odoo.module.HEALTH) == b"done"


@pytest.mark.parametrize("odoo", ["19"], indirect=True)
@pytest.mark.parametrize(
    ("further", "answer"),
    [({}, b"done"), ({"HTTP_UPGRADE": "websocket"}, b"error: ")],
    ids=["a page", "a websocket"],
)
@pytest.mark.parametrize("how", ["refused", "cut"])
def test_s12_newer_odoo_gets_no_error_that_ends_the_session(
    odoo: Odoo, how: str, further: dict[str, str], answer: bytes
) -> None:
    """S12: Odoo 16 and later log a user out who meets psycopg2.OperationalError. Every open tab
    asks for its websocket again while there is no primary.
    """
    met: list[Error] = []

    def begin(odoo: Odoo) -> None:
        try:
            odoo.connect().cursor().execute("SELECT base_registry_signaling")
        except Error as error:
            met.append(error)
            raise

    odoo.work = begin
    if how == "refused":
        odoo.server.refuses = 1
    else:
        odoo.server.faults = [("SELECT base", error("57P01"))]
    assert odoo.request(**further).startswith(answer)
    assert [type(error) for error in met] == [InterfaceError]


@pytest.mark.parametrize("odoo", ["19"], indirect=True)
def test_s12_the_plain_error_of_an_end_is_one_that_odoo_expects(odoo: Odoo) -> None:
    """S12: Odoo's pool and the session store take another connection after an OperationalError."""
    odoo.server.faults = [("INSERT", error(None, DatabaseError))]
    with pytest.raises(OperationalError):
        write(odoo)  # outside a request
    odoo.server.faults = [("INSERT", error(None, DatabaseError))]
    assert odoo.request() == b"done"
    for kind in (DatabaseError, InterfaceError):
        connection = odoo.connect()
        odoo.server.faults = [("RESET", error(None, kind))]
        with pytest.raises(OperationalError):
            connection.reset()
        assert connection.closed


def test_old_sessions_are_removed(odoo: Odoo) -> None:
    """Odoo 17 and later name the age, and a lost connection is tried again."""
    odoo.server.faults = [("DELETE FROM http_sessions", error())]
    PGSessionStore(odoo).vacuum(max_lifetime=7)
    assert odoo.server.asked == ["DELETE FROM http_sessions 7"] * 2


def test_a_websocket_is_left_alone(odoo: Odoo) -> None:
    """Its socket goes on after the answer, and nothing of it can begin again."""
    odoo.server.faults = [("INSERT", error("57P01"))]
    assert odoo.request(HTTP_UPGRADE="websocket") == b"error: 57P01"
    assert len(odoo.calls) == 1


def test_all_files_of_the_addon_are_installed() -> None:
    """A file that Salt does not place would keep Odoo from starting."""
    salt = REPOSITORY / "salt/odoo"
    state, code = (salt / "addons.sls").read_text(), (salt / "code.jinja").read_text()
    for addon in ("salina_odoo14", "salina_retry"):
        for file in (ADDONS / addon).glob("*.py"):
            assert f"{addon}/{file.name}" in state
            restarts = f"'/opt/odoo/addons/{addon}/{file.name}'" in code
            assert restarts is (file.name != "__manifest__.py")


class Prefork:
    """Odoo's server, whose process for new processes asks the database first."""

    addon: ModuleType
    failure: Exception | None = None
    spawned = 0

    def process_spawn(self) -> None:
        if self.failure:
            raise self.failure
        self.spawned += 1


@pytest.fixture
def prefork(monkeypatch: pytest.MonkeyPatch) -> Prefork:
    """Odoo's server with the addon."""
    pretended: dict[str, dict[str, Any]] = {
        "psycopg2": {"Error": Error},
        "odoo": {},
        "odoo.service": {},
        "odoo.service.server": {"PreforkServer": type("Patched", (Prefork,), {})},
    }
    for name, content in pretended.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("server", ADDON / "server.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    monkeypatch.setattr(made, "_logger", SimpleNamespace(warning=lambda *_: None))
    found: Prefork = vars(sys.modules["odoo.service.server"])["PreforkServer"]()
    found.addon = made
    return found


def test_s12_the_server_goes_on_without_the_database(prefork: Prefork) -> None:
    """S12: Odoo 19 would end with all its processes, and every request in them."""
    prefork.failure = error()
    prefork.process_spawn()
    prefork.failure = None
    prefork.process_spawn()
    assert prefork.spawned == 1
    prefork.failure = ValueError("another error")
    with pytest.raises(ValueError, match="another"):
        prefork.process_spawn()


def test_a_new_process_keeps_its_error(prefork: Prefork, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must end, and not go on as a second server."""
    prefork.failure = error()
    numbers = iter([1, 2])
    monkeypatch.setattr(prefork.addon, "os", SimpleNamespace(getpid=lambda: next(numbers)))
    with pytest.raises(Error):
        prefork.process_spawn()
