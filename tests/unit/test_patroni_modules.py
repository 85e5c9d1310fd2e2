"""Modules of the database tier against interfaces that are only pretended."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.common import service
from salina.common.https import NoAnswer
from salina.database import patroni as salina_patroni
from salina.database.psql import PsqlError
from salina.quorum import client, etcd
from salina.quorum.etcd import NO_LOGIN
from tests.loading import load
from tests.unit.test_etcd import QUORUM
from tests.unit.test_patroni import DATABASE

ENDPOINTS = [f"10.1.4.2{n}:2379" for n in (1, 2, 3)]
SILENT, REFUSED = NoAnswer("timed out"), NoAnswer("Connection refused", refused=True)
KNOWN = {
    "members": [
        {"ID": str(n), "name": f"nas{n}", "peerURLs": [f"https://10.1.4.2{n}:2380"]}
        | ({"clientURLs": [f"https://10.1.4.2{n}:2379"]} if n < 3 else {})
        for n in (1, 2, 3)
    ]
}


class Interface:
    """Stands for `call`: answers by a word of the URL; remembers what was sent."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.sent: list[tuple[str, str, Any, Any]] = []

    def __call__(
        self, method: str, url: str, identity: Any, body: Any = None, timeout: float = 5
    ) -> tuple[int, Any]:
        if not url.endswith("/auth/authenticate"):
            self.sent.append((method, url, body, identity.authorization))
        login = url.endswith("/auth/authenticate")
        for word, answer in self.answers.items():
            if word in url and not (login and isinstance(answer, dict)):
                if isinstance(answer, Exception):
                    raise answer
                return (200, answer) if not isinstance(answer, tuple) else answer
        if url.endswith("/auth/authenticate"):
            return 400, {"error": NO_LOGIN}
        raise NoAnswer(f"{url}: not pretended")


@pytest.fixture(autouse=True)
def own_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give etcd's client its own `call` back after each test."""
    monkeypatch.setattr(client, "call", client.call)


def quorum(answers: dict[str, Any]) -> tuple[Any, Interface]:
    module = load("_modules/quorum.py", pillar={"quorum": QUORUM}, salt={})
    module.call = client.call = interface = Interface(answers)
    return module, interface


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where etcd keeps its data and the file for its first start."""
    monkeypatch.setattr(etcd, "DATA", str(tmp_path / "data"))
    monkeypatch.setattr(etcd, "JOIN", str(tmp_path / "join.env"))
    return tmp_path


def test_the_quorum_serves_when_one_endpoint_does() -> None:
    module, _ = quorum({ENDPOINTS[0]: REFUSED, ENDPOINTS[1]: {"health": "true"}})
    assert module.obstacle(ENDPOINTS) == ""


def test_why_the_quorum_does_not_serve_is_told_for_each_endpoint() -> None:
    module, _ = quorum({ENDPOINTS[0]: REFUSED, "health": (503, {"health": "false"})})
    assert module.obstacle() == (
        "Connection refused; 10.1.4.22:2379: {'health': 'false'}; "
        "10.1.4.23:2379: {'health': 'false'}"
    )
    assert module.own_obstacle() == "10.1.4.23:2379: {'health': 'false'}"


def test_s12_every_other_member_that_does_not_serve_is_told() -> None:
    """S12: The state of this host's own member does not matter."""
    module, _ = quorum({ENDPOINTS[2]: REFUSED, "health": {"health": "true"}})
    assert module.others_obstacle() == ""
    down = {ENDPOINTS[0]: SILENT, ENDPOINTS[1]: {"health": "true"}, ENDPOINTS[2]: REFUSED}
    module, _ = quorum(down)
    assert module.others_obstacle() == "timed out"


@pytest.mark.parametrize("others", [(REFUSED, REFUSED), (REFUSED, SILENT)])
def test_a_majority_without_etcd_has_no_cluster(data: Path, others: tuple[NoAnswer, ...]) -> None:
    answers = dict(zip(ENDPOINTS, (*others, REFUSED), strict=True))
    module, _ = quorum(answers)
    assert module.enter() == {"state": "new", "remove": None, "add": False}
    assert 'ETCD_INITIAL_CLUSTER_STATE="new"' in (data / "join.env").read_text()
    module.entered()
    assert not (data / "join.env").exists()


def test_while_a_majority_is_silent_nothing_is_founded(data: Path) -> None:
    """S11: No host founds a cluster while a majority is silent."""
    module, _ = quorum({ENDPOINTS[0]: SILENT, ENDPOINTS[1]: SILENT, ENDPOINTS[2]: REFUSED})
    with pytest.raises(CommandExecutionError, match="timed out; timed out; Connection refused"):
        module.enter()
    assert not (data / "join.env").exists()


def test_a_member_that_never_started_goes_on_where_it_was(data: Path) -> None:
    module, interface = quorum({"member/list": KNOWN})
    assert module.enter()["state"] == "existing"
    assert [url for _, url, _, _ in interface.sent if "list" not in url] == []


def test_a_member_that_lost_its_data_is_removed_and_added(data: Path) -> None:
    """S11: A voter that lost its data is removed and added again."""
    lost = json.loads(json.dumps(KNOWN))
    lost["members"][2]["clientURLs"] = ["https://10.1.4.23:2379"]
    answers = {"member/list": lost, "member/remove": {}, "member/add": KNOWN}
    module, interface = quorum(answers)
    assert module.enter() == {"state": "existing", "remove": "3", "add": True}
    assert [body for method, _, body, _ in interface.sent if body] == [
        {"ID": "3"},
        {"peerURLs": ["https://10.1.4.23:2380"]},
    ]


def test_a_refusal_of_etcd_is_told_with_its_words(data: Path) -> None:
    answers = {"member/list": {"members": []}, "member/add": (503, {"error": "unhealthy cluster"})}
    with pytest.raises(
        CommandExecutionError, match=r"request `member/add` with .*unhealthy cluster"
    ):
        quorum(answers)[0].enter()


def test_a_host_with_data_never_enters_again(data: Path) -> None:
    (data / "data" / "member").mkdir(parents=True)
    with pytest.raises(CommandExecutionError, match="holds a member's data"):
        quorum({})[0].enter()


def test_a_member_beyond_the_topology_is_named_with_the_command_that_removes_it() -> None:
    foreign = {"ID": "9", "name": "old", "peerURLs": ["https://10.1.4.29:2380"]}
    module, _ = quorum({"member/list": {"members": [*KNOWN["members"], foreign]}})
    [drift] = module.drift()
    assert "old at https://10.1.4.29:2380" in drift
    assert "salt nas3 quorum.remove 9" in drift


def patroni(answers: dict[str, Any]) -> tuple[Any, Interface]:
    module = load("_modules/patroni.py", pillar={"database": DATABASE}, salt={})
    module.call = client.call = interface = Interface(answers)
    return module, interface


RUNNING = {"state": "running", "role": "primary"}
REPLICA = {"state": "running", "role": "replica", "replication_state": "streaming"}
LEADER = {"name": "bbdd1", "role": "leader", "state": "running"}
NEAR = {"name": "bbdd2", "role": "sync_standby", "state": "streaming", "lag": 67_108_864}
VIEW: dict[str, Any] = {"members": [LEADER, NEAR]}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"/patroni": RUNNING, "/primary": RUNNING}, ""),
        ({"/patroni": RUNNING, "/primary": (503, {})}, "it is not the leader yet"),
        ({"/patroni": REPLICA, "/cluster": VIEW | {"members": [NEAR]}}, ""),
        ({"/patroni": REPLICA, "/cluster": VIEW | {"members": [NEAR | {"lag": "unknown"}]}}, ""),
        (
            {"/patroni": REPLICA, "/cluster": VIEW | {"members": [NEAR | {"lag": 67_108_865}]}},
            "it is a replica that is 67108865 bytes behind; at most 67108864 are allowed",
        ),
        ({"/patroni": REFUSED}, "Connection refused"),
        ({"/patroni": "no JSON"}, "Patroni's answer to GET /patroni is not its status: no JSON"),
    ],
)
def test_why_a_member_does_not_work(answers: dict[str, Any], expected: str) -> None:
    assert patroni(answers)[0].obstacle() == expected


def test_the_cluster_is_asked_of_the_own_member_first_and_then_of_the_others() -> None:
    view = {"members": [{"name": "bbdd1", "role": "leader", "state": "running"}]}
    module, interface = patroni({"10.1.4.32": REFUSED, "10.1.4.31": view})
    assert module.leader() == "bbdd1"
    assert [url for _, url, _, _ in interface.sent] == [
        "https://10.1.4.32:8008/cluster",
        "https://10.1.4.31:8008/cluster",
    ]
    assert patroni({"cluster": REFUSED})[0].leader() is None


def test_the_login_goes_with_changes_only() -> None:
    module, interface = patroni({"config": {}})
    module.drift()
    module.patch({"ttl": 20})
    assert [(method, login) for method, _, _, login in interface.sent] == [
        ("GET", ""),
        ("PATCH", "Basic cGF0cm9uaTpjYW5hcnktcmVzdA=="),
    ]


def test_hosts_that_change_the_same_at_once_all_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    """K2: Patroni refuses the one that comes second, which repeats its change."""
    module, interface = patroni({"config": (409, "conflict")})

    def settled(_: float) -> None:
        interface.answers["config"] = {}

    monkeypatch.setattr("time.sleep", settled)
    module.patch({"ttl": 20})
    assert [body for _, _, body, _ in interface.sent] == [{"ttl": 20}] * 2


@pytest.mark.parametrize("status", [409, 400])
def test_a_refused_change_is_told(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _ = patroni({"config": (status, "no")})
    monkeypatch.setattr(module, "AGREEMENT", 0)
    with pytest.raises(CommandExecutionError, match=rf"'ttl': 20.* \(HTTP {status}\): no"):
        module.patch({"ttl": 20})


def test_a_refused_switchover_is_told_without_the_login() -> None:
    module, _ = patroni({"cluster": {"members": []}, "switchover": (412, "no good candidates")})
    with pytest.raises(CommandExecutionError, match=r"\(HTTP 412\): no good candidates") as caught:
        module.switchover("bbdd1")
    assert "canary" not in str(caught.value)


IDLE = {"state": "stopped", "role": "uninitialized"}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory without a control file."""
    path = tmp_path / "crm"
    (path / "global").mkdir(parents=True)
    monkeypatch.setattr("salina.database.patroni.data_directory", lambda _: str(path))
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("postgres", ["/opt/patroni/bin/python3", "/usr/lib/postgresql/15/bin/postgres"]),
        ("cron", ["/opt/patroni/bin/python3"]),  # another process has the id of one that died
        (None, ["/opt/patroni/bin/python3"]),
    ],
)
def test_an_upgrade_of_postgresql_is_noticed(
    name: str | None, expected: list[str], directory: Path, tmp_path: Path
) -> None:
    """S12: Neither Patroni nor PostgreSQL restarts by itself for its new program."""
    module, _ = patroni({})
    module.__salt__ = {"daemon.replaced": lambda _: ["/opt/patroni/bin/python3"]}
    module.PROCESSES = tmp_path / "proc"
    (directory / "postmaster.pid").write_text("77\n/var/lib/postgresql\n")
    if name:
        process = module.PROCESSES / "77"
        process.mkdir(parents=True)
        (process / "comm").write_text(f"{name}\n")
        program = "/usr/lib/postgresql/15/bin/postgres (deleted)"
        (process / "maps").write_text(f"5581-5582 r-xp 00000000 fe:01 1443 {program}\n")
    assert module.replaced() == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(IDLE, True), (IDLE | {"state": "creating replica"}, False), (REFUSED, False)],
)
def test_a_copy_without_its_end_is_half(directory: Path, answer: Any, expected: bool) -> None:
    assert patroni({"/patroni": answer})[0].half_copied() is expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"/patroni": REFUSED, "kv/txn": {"succeeded": True}}, True),
        ({"/patroni": IDLE, "4.21": SILENT, "4.22": {"succeeded": True}}, True),
        ({"/patroni": IDLE, "kv/txn": {"header": {}}}, False),  # no claim, or one that was met
        ({"/patroni": {"state": "initializing new cluster"}, "kv/txn": {"succeeded": True}}, False),
    ],
)
def test_an_interrupted_founding_loses_its_claim(
    directory: Path, answers: dict[str, Any], expected: bool
) -> None:
    """S11, K2: An interrupted founding gives up its claim."""
    assert patroni(answers)[0].initialise_again() is expected


def test_a_host_with_data_founds_nothing(directory: Path) -> None:
    """S11: A host that has data never founds a cluster."""
    (directory / "PG_VERSION").touch()
    module, interface = patroni({"kv/txn": {"succeeded": True}})
    assert module.initialise_again() is False
    assert interface.sent == []


def test_without_the_quorum_it_is_not_known_whether_a_founding_was_interrupted(
    directory: Path,
) -> None:
    with pytest.raises(CommandExecutionError, match=r"had a primary: .*timed out; .*no leader"):
        patroni({"/patroni": REFUSED, "4.21": SILENT, "kv/txn": (503, "no leader")})[
            0
        ].initialise_again()


def test_a_copy_with_its_end_is_whole_and_none_is_none(directory: Path) -> None:
    module, _ = patroni({"/patroni": IDLE})
    (directory / "global/pg_control").touch()
    assert module.half_copied() is False
    shutil.rmtree(directory)
    assert module.half_copied() is False


def test_a_copy_is_made_again_by_patroni_which_may_refuse() -> None:
    module, interface = patroni({"reinitialize": "reinitialize started"})
    module.copy_again()
    assert interface.sent[0][0] == "POST"
    with pytest.raises(
        CommandExecutionError, match=r"refused to copy the primary again \(HTTP 503\): no leader"
    ):
        patroni({"reinitialize": (503, "no leader")})[0].copy_again()


HALTED = {
    "state": "running",
    "role": "replica",
    "xlog": {"replayed_location": 0xA3_000000, "paused": False},
}
GONE = "0000000200000000000000A3\t00000000000000A4"


class Primary:
    """The session with the primary's PostgreSQL, with this answer."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.logins: list[tuple[dict[str, Any], dict[str, str]]] = []

    def __call__(self, database: dict[str, Any], _: str, **options: str) -> Primary:
        self.logins.append((database, options))
        return self

    def __enter__(self) -> Primary:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def query(self, sql: str) -> list[str]:
        """Answer the only query."""
        assert "pg_walfile_name('0/A3000001')" in sql
        assert isinstance(self.answer, str)
        return [self.answer]


def stuck(
    answer: str | Exception = GONE, view: dict[str, Any] = VIEW, **other: Any
) -> tuple[str, Primary]:
    """Return the verdict on a replica that is HALTED, except for the `other` keys."""
    module, _ = patroni({"/patroni": HALTED | other, "/cluster": view})
    module.Session = primary = Primary(answer)
    module.time = SimpleNamespace(sleep=lambda _: None)
    return module.stuck(), primary


def test_a_replica_whose_next_wal_is_deleted_can_never_stream() -> None:
    """S11: The primary itself says so, over TLS, to a login that may do nothing else."""
    found, primary = stuck()
    segment = "0000000200000000000000A3"
    assert (
        found == f"the primary has deleted the WAL segment {segment}, which this replica needs next"
    )
    ((database, options),) = primary.logins
    assert (database["host"], database["user"]) == ("10.1.4.31", "rewinder")
    assert options["ca"] == "/etc/salina/tls/ca.crt"


@pytest.mark.parametrize(
    "other",
    [
        {"replication_state": "streaming"},
        {"replication_state": "in archive recovery"},
        {"state": "starting"},
        {"state": "creating replica"},
        {"role": "primary", "xlog": {"location": 1}},
        {"xlog": {"replayed_location": 1, "paused": True}},
        {"xlog": {"replayed_location": None}},
        {"xlog": None},
    ],
)
def test_a_member_that_may_stream_again_is_not_stuck(other: dict[str, Any]) -> None:
    """S11: The primary least of all; it is not even asked."""
    found, primary = stuck(**other)
    assert (found, primary.logins) == ("", [])


@pytest.mark.parametrize(
    "answer",
    [
        "0000000200000000000000A3\t00000000000000A3",
        "0000000200000000000000A3\t000000000000000F",
        "0000000200000000000000A3\t",
        PsqlError("connection refused"),
        OSError("no psql"),
    ],
)
def test_a_replica_whose_next_wal_is_there_is_not_stuck(answer: str | Exception) -> None:
    assert stuck(answer)[0] == ""


@pytest.mark.parametrize(
    "members",
    [
        [],
        [NEAR],
        [LEADER | {"state": "starting"}, NEAR],
        [LEADER | {"name": "bbdd2"}],
        [LEADER | {"name": "stranger"}],
    ],
)
def test_without_another_primary_no_replica_is_stuck(members: list[dict[str, Any]]) -> None:
    """S11: Its data may be the last copy."""
    found, primary = stuck(view={"members": members})
    assert (found, primary.logins) == ("", [])


def test_a_replica_that_still_replays_is_not_stuck() -> None:
    """S11: It may have the next WAL itself, so it is watched for a while."""
    module, interface = patroni({"/patroni": HALTED, "/cluster": VIEW})
    module.Session = Primary(GONE)
    slept = []

    def sleep(seconds: int) -> None:
        slept.append(seconds)
        later = HALTED | {"xlog": {"replayed_location": 0xA3_000010, "paused": False}}
        interface.answers["/patroni"] = later

    module.time = SimpleNamespace(sleep=sleep)
    assert module.stuck() == ""
    assert slept == [30]


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ([LEADER, NEAR], False),
        ([LEADER, NEAR | {"role": "quorum_standby"}], False),
        ([LEADER, NEAR | {"role": "replica"}], True),
        ([LEADER], True),
        ([LEADER | {"name": "bbdd2"}], False),  # as the other host sees it
        ([NEAR | {"role": "replica"}], False),  # there is no primary
    ],
)
def test_the_primary_misses_a_synchronous_standby(
    members: list[dict[str, Any]], fault: bool
) -> None:
    own = DATABASE | {"name": "bbdd1", "address": "10.1.4.31"}
    said = salina_patroni.standby_fault({"members": members}, own)
    assert said == ("no standby is synchronous, so the primary alone stores new commits" * fault)
    for other in (
        {"members": own["members"][:1]},
        {"settings": own["settings"] | {"synchronous_mode": False}},
    ):
        assert salina_patroni.standby_fault({"members": members}, own | other) == ""


def test_a_host_without_the_role_says_so() -> None:
    for name, function in (("patroni", "member"), ("database", "plan"), ("quorum", "members")):
        module = load(f"_modules/{name}.py", pillar={}, salt={})
        with pytest.raises(CommandExecutionError, match="does not have the role"):
            getattr(module, function)()


class Psql:
    """Stands for psql: answers the question for the state, takes what is sent."""

    def __init__(self, state: dict[str, Any], refusal: str = "") -> None:
        self.state = state
        self.refusal = refusal
        self.record = {"schema": None, "table": None, "before": False, "connects": False}
        self.commands: list[list[str]] = []
        self.scripts: list[str] = []
        self.environments: list[dict[str, str]] = []

    def __call__(self, command: list[str], **given: Any) -> dict[str, Any]:
        self.commands.append(command)
        self.environments.append(given["env"])
        if given["stdin"].startswith("SELECT json_build_object('schema'"):
            found = json.dumps(self.record)
            return {"retcode": 0, "stdout": found, "stderr": ""}
        if given["stdin"].startswith("SELECT json_build_object"):
            return {"retcode": 0, "stdout": json.dumps(self.state), "stderr": ""}
        self.scripts.append(given["stdin"])
        return {"retcode": 3 if self.refusal else 0, "stdout": "", "stderr": self.refusal}


def database(state: dict[str, Any], refusal: str = "") -> tuple[Any, Psql]:
    psql = Psql(state, refusal)
    salt = {"cmd.run_all": psql}
    return load("_modules/database.py", pillar={"database": DATABASE}, salt=salt), psql


NOTHING: dict[str, Any] = {"replica": False, "roles": {}, "databases": {}}


def test_roles_are_made_through_standard_input_and_no_password_is_sent() -> None:
    """S6, K4: Statements go through standard input, and no password is sent."""
    module, psql = database(NOTHING)
    changes = module.apply()
    assert changes == {
        "role postgres": "created",
        "role replicator": "created",
        "role rewinder": "created",
        "role crm": "created",
        "role salina_record_crm": "created",
        "database crm": "created, closed to others",
        "release of database crm": "made",
        "role shop": "created",
        "role salina_record_shop": "created",
        "database shop": "created, closed to others",
        "release of database shop": "made",
    }
    assert "canary" not in str(psql.commands) + str(psql.scripts)
    assert not [word for command in psql.commands for word in command if "SELECT" in word]


def test_a_superuser_s_query_finds_only_functions_of_postgresql() -> None:
    """S6: A function of the application with the name of one of PostgreSQL's is not called."""
    module, psql = database(NOTHING)
    module.query("SELECT count(*) FROM public.sale", "crm")
    module.apply()
    assert "--dbname=crm" in psql.commands[0]
    assert len(psql.environments) == 3 + 2 * 3
    for environment in psql.environments:
        assert environment == {"PGOPTIONS": "-c search_path=pg_catalog"}


MADE = {"schema": "salina_record_crm", "table": "salina_record_crm", "before": True}
"""The condition of a database that an earlier version of this project has used."""


def test_x10_only_the_role_of_the_record_writes_it() -> None:
    """O8, X10, K1: An earlier record is taken over. A second apply finds nothing to do."""
    state: dict[str, Any] = {"owner": "crm", "encoding": "UTF8", "collate": "C", "public": False}
    module, psql = database(NOTHING | {"databases": {"crm": state}})
    psql.record["before"] = True
    assert module.record("crm")
    [asked, made] = psql.scripts
    assert asked == "COPY public.salina_release (release, parts) TO STDOUT (FORMAT csv)"
    assert 'AUTHORIZATION "salina_record_crm"' in made and "canary" not in made
    assert 'GRANT CONNECT ON DATABASE "crm" TO "salina_record_crm"' in made
    # the application may make such a table at the same moment, whose functions the superuser
    # would call
    _, _, as_owner = made.partition('SET LOCAL ROLE "salina_record_crm";')
    for step in ("CREATE TABLE", "GRANT SELECT", "COMMIT"):
        assert made.count(step) == as_owner.count(step) == 1
    psql.scripts.clear()
    psql.record |= MADE | {"connects": True}
    assert not module.record("crm")
    assert not [one for one in module.plan()["steps"] if "database crm" in one[0]]
    assert psql.scripts == []
    psql.record["schema"] = "crm"
    with pytest.raises(CommandExecutionError, match="schema salina belongs to crm, and must"):
        module.plan()


def test_x10_the_copy_of_a_database_gets_the_record_of_its_source() -> None:
    """O8, X10: The application's role has written all else in the copy."""
    module, psql = database(NOTHING)
    assert module.record("crm", "salina_next_crm", ["c0ffee000000-0123abcd", "{}"])
    [made] = psql.scripts
    assert "VALUES ('c0ffee000000-0123abcd', '{}', now()) ON CONFLICT DO NOTHING" in made
    assert 'ON DATABASE "salina_next_crm"' in made
    assert all("--dbname=salina_next_crm" in command for command in psql.commands)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('c0ffee000000-0123abcd,"{""crm"": ""00""}"', ["c0ffee000000-0123abcd", '{"crm": "00"}']),
        ("", []),
        ("../../etc,{}", None),
        ("c0ffee000000-0123abcd,[]", None),
    ],
)
def test_x10_an_odd_name_is_no_release(said: str, found: list[str] | None) -> None:
    """X10: It becomes a part of a path, and the application could write it in earlier versions.

    A record that is not valid is not taken over.
    """

    def run(command: list[str], **given: Any) -> dict[str, Any]:
        state = {"schema": None, "table": None, "before": True, "connects": False}
        text = said if given["stdin"].startswith("COPY") else json.dumps(state)
        return {"retcode": 0, "stdout": text, "stderr": ""}

    module = load("_modules/database.py", pillar={"database": DATABASE}, salt={"cmd.run_all": run})
    if found is None:
        with pytest.raises(CommandExecutionError, match=r"crm_before: .* is not the name of a"):
            module.row("crm_before")
        assert module.record("crm")
    else:
        assert module.row("crm_before") == found


def test_a_replica_is_never_written_to() -> None:
    module, psql = database(NOTHING | {"replica": True})
    assert module.plan()["replica"] is True
    with pytest.raises(CommandExecutionError, match="is a replica"):
        module.apply()
    assert psql.scripts == []


def test_a_refusal_of_postgresql_is_told_without_the_statement() -> None:
    """K4, K5: The error has PostgreSQL's message and not the statement."""
    said = "psql: ERROR:  role exists\nLINE 1: CREATE ROLE x PASSWORD 'SCRAM-SHA-256$..'\n    ^"
    module, _ = database(NOTHING, said)
    with pytest.raises(CommandExecutionError, match="ERROR:  role exists") as caught:
        module.apply()
    assert "SCRAM" not in str(caught.value)


def test_a_file_written_after_the_start_is_newer(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.touch()
    os.utime(file, (1000, 1000))
    files = [str(file), str(tmp_path / "missing")]
    assert service.newer(files, 50_000_000, 60, 1005) == [str(file)]  # started at 995
    assert service.newer(files, 50_000_000, 52, 1005) == []  # started at 1003
    assert service.newer(files, 0, 60, 1005) == []


@pytest.mark.parametrize(("state", "expected"), [("inactive", []), ("active", ["f"])])
def test_a_service_that_does_not_run_is_not_outdated(
    tmp_path: Path, state: str, expected: list[str]
) -> None:
    (tmp_path / "f").touch()
    shown = f"ActiveState={state}\nExecMainStartTimestampMonotonic=1\n"
    salt = {"cmd.run_all": lambda *_, **__: {"retcode": 0, "stdout": shown}}
    module = load("_modules/daemon.py", salt=salt)
    found = module.outdated("patroni", [str(tmp_path / "f")])
    assert [Path(path).name for path in found] == expected


def test_systemd_s_refusal_is_told() -> None:
    failed = {"retcode": 1, "stderr": "Failed to connect to bus"}
    salt = {"service.status": lambda _: True, "cmd.run_all": lambda *_, **__: failed}
    with pytest.raises(CommandExecutionError, match=r"systemctl show .*Failed to connect to bus"):
        load("_modules/daemon.py", salt=salt).outdated("patroni", [])


@pytest.mark.parametrize(
    ("written", "names", "expected"),
    [
        (None, ["", ""], True),
        ("", ["nas1", "etcd-peer"], False),
        ("", ["etcd-peer", "etcd-peer"], True),
        ("", ["etcd-peer", ""], False),
        ('ETCD_PEER_CERT_ALLOWED_CN="etcd-peer"', ["", ""], True),
    ],
)
def test_x3_a_voter_insists_on_names_when_the_others_have_them(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: str | None,
    names: list[str],
    expected: bool,
) -> None:
    """X3: A new cluster insists at once; in one from before, no voter is ever alone.

    `written`: the settings of a member that has data. `names`: those that the other two show.
    """
    module, _ = quorum({})
    shown = dict(zip(("10.1.4.21", "10.1.4.22"), names, strict=True))
    monkeypatch.setattr(module, "common_name", lambda address, *_: shown[address])
    monkeypatch.setattr(module, "SETTINGS", str(tmp_path / "etcd"))
    if written is not None:
        (data / "data" / "member").mkdir(parents=True)
        (tmp_path / "etcd").write_text(written)
    assert ("ETCD_PEER_CERT_ALLOWED_CN=" in module.environment_file()) is expected
