"""verify.service: which rows it covers, how it judges what it sees, and how it shows them."""

from __future__ import annotations

import http.server
import inspect
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from salina.application import release
from salina.health import probes
from salina.health.probes import ELSEWHERE, HERE, SHARED
from salina.verify import evidence, seen, service
from salina.verify.seen import Seen
from salina_fleet import guard, health, minions, pair, runner, secrets, verify
from salina_fleet.change import exclusive
from salina_fleet.errors import RunnerError
from salina_fleet.health import Finding as Health
from salina_fleet.kinds import KINDS
from salina_fleet.role import Look
from salina_fleet.roles.app import AppSettings
from salina_fleet.verify import Finding
from tests import fleets, releases
from tests.conftest import REPOSITORY
from tests.loading import load
from tools import requirements

MASTER = {"S10", "X4"}
"""The rows at which the master itself looks."""


def looks(host: str, name: str = "default") -> list[Look]:
    """The looks that a host is asked for."""
    fleet = fleets.fleet(name)
    return verify.looks(fleets.master_data(fleet, secrets.FakeStore()), fleet.hosts[host])


def elsewhere() -> dict[str, dict[str, str]]:
    """The rows that a running fleet cannot answer."""
    groups = requirements.groups(REPOSITORY).values()
    return {row: one for group in groups for row, one in group.get("elsewhere", {}).items()}


# Which rows


def test_every_row_is_covered_or_explained() -> None:
    """K5: No row is silently missing, and none is both."""
    asked = {look.row for name, host in fleets.everyone() for look in looks(host, name)} | MASTER
    known = set(requirements.rows(REPOSITORY))
    assert asked | set(elsewhere()) == known
    assert not asked & set(elsewhere())


def test_an_explained_row_names_a_test_that_proves_it() -> None:
    """A row without a test says so in docs/requirements.md."""
    proofs = requirements.proofs(REPOSITORY)
    for row, one in elsewhere().items():
        assert set(one) <= {"why", "test"}
        found = [f"{test.file}::{test.name}" for test in proofs[row]]
        assert (one["test"] in found) if "test" in one else not found, row


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_every_health_check_is_a_look(name: str, host: str) -> None:
    """It agrees with fleet.health: a fault there is a fault here, under a row that exists."""
    fleet = fleets.fleet(name)
    data = fleets.master_data(fleet, secrets.FakeStore())
    wanted = health.checks(fleet, fleet.hosts[host], data.definitions)
    asked = [look.arguments for look in looks(host, name) if look.look == "probe"]
    for check in wanted:
        one = {"name": check.probe, "arguments": dict(check.arguments)}
        assert one in asked or check.probe == "timekeeping"
        assert check.row in requirements.rows(REPOSITORY)


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_every_look_takes_its_arguments(name: str, host: str) -> None:
    """A look that does not know an argument would fail on every host."""
    for look in looks(host, name):
        more = {"pillar": {}} if look.look in service.PRIVATE else {}
        inspect.signature(evidence.LOOKS[look.look]).bind(**look.arguments, **more)
        json.dumps(look.arguments)


def test_the_looks_of_an_odoo_and_of_a_node_host_differ() -> None:
    """S8, O1, O2, O3: Each kind has its own rows."""
    default = {look.row for look in looks("s1")}
    assert {"O1", "O2", "O3", "O4", "O6", "O7"} <= default and "S8" not in default
    kinds = {
        fleets.definition(fleets.topology("two-applications").served_by(host).definition)["kind"]
        for host in fleets.fleet("two-applications").hosts.values()
        if host.application
    }
    assert kinds == {"odoo", "node"}


def test_options_of_the_definition_are_not_asked_for() -> None:
    """K4: They may be secret, and the job cache keeps what a host is asked for."""
    definition = dict(fleets.definition("odoo-14.0"))
    definition["odoo"] = {**definition["odoo"], "options": {"list_db": "canary"}}
    found = KINDS["odoo"].evidence(definition, "crm", fleets.settings()[AppSettings], {})
    asked = next(look for look in found if look.row == "O2").arguments["wanted"]
    assert "list_db" not in asked
    assert (asked["longpolling_port"], asked["limit_memory_soft"]) == ("8072", str(2048 * 2**20))


# The looks


def only(found: Iterator[Seen]) -> Seen:
    """The only thing that was seen."""
    (one,) = found
    return one


def test_a_health_check_as_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are those of fleet.health; one that fails is a fault."""

    def check(bad: bool) -> Iterator[probes.Check]:
        yield "peers", not bad, "1 of 2 connected" if bad else ""

    monkeypatch.setattr(probes, "CHECKS", {"gluster": check})
    assert only(evidence.probe("gluster", {"bad": False})) == Seen("peers", True, "good")
    assert only(evidence.probe("gluster", {"bad": True})) == Seen(
        "peers", False, "1 of 2 connected"
    )
    assert not only(evidence.probe("gluster", {})).good
    assert "no such check" in only(evidence.probe("unknown", {})).seen


def test_looks_go_side_by_side_and_a_hanging_one_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """K5: A dead mount keeps no other look waiting, and no look is missing."""
    never = Event()

    def hangs() -> Iterator[Seen]:
        never.wait()
        yield Seen("mount", True, "")

    def good() -> Iterator[Seen]:
        yield Seen("good", True, "yes")

    def breaks() -> Iterator[Seen]:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(evidence, "LIMIT", 0.5)
    monkeypatch.setattr(evidence, "LOOKS", {"hangs": hangs, "good": good, "breaks": breaks})
    names = ["hangs", "good", "breaks", "unknown", "good"]
    found = evidence.gather([{"row": "S4", "look": name, "arguments": {}} for name in names])
    never.set()
    assert [(one["what"], one["good"]) for one in found] == [
        *(("hangs", False), ("good", True), ("breaks", False), ("unknown", False), ("good", True)),
    ]
    assert [one["seen"] for one in found[2:4]] == [
        "no such thing",
        "this host has no such look; synchronise it with the master",
    ]


def test_k1_the_trees_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """K1: The digest is that of the files which the minion has."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/x.py").write_text("x = 1\n")
    monkeypatch.setattr(service, "EXTENSIONS", tmp_path)
    wanted = service.trees.of_minion(tmp_path)
    assert only(service.tree(wanted)).good
    (tmp_path / "modules/x.py").write_text("x = 2\n")
    assert not only(service.tree(wanted)).good


MOUNT = "nas2:/nas /mnt/nas fuse.glusterfs rw,nosuid,nodev,noexec 0 0\n"
FSTAB = "# disks\n\nnas1:/nas /mnt/nas glusterfs _netdev,nofail,nosuid 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "fstab", "good"),
    [
        (MOUNT, FSTAB, [True, True]),
        ("", FSTAB, [False, True]),
        (MOUNT.replace(":/nas ", ":/shop "), FSTAB, [False, True]),
        (MOUNT, "", [True, False]),
        (MOUNT, FSTAB.replace("_netdev,", ""), [True, False]),
    ],
)
def test_s4_the_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, fstab: str, good: list[bool]
) -> None:
    """S4: The volume is mounted now, and after each boot."""
    for name, text in (("MOUNTS", mounts), ("FSTAB", fstab)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(service, name, tmp_path / name)
    found = service.mounted("/mnt/nas", "nas", ["nas1", "nas2"])
    assert [one.good for one in found] == good


def test_s5_users_files(tmp_path: Path) -> None:
    """S5: The link leads into the application's directory, which exists."""
    (tmp_path / "nas/crm/filestore").mkdir(parents=True)
    link = tmp_path / "filestore"
    link.symlink_to(tmp_path / "nas/crm/filestore")
    assert only(service.shared([str(link)], str(tmp_path / "nas/crm"))).good
    assert not only(service.shared([str(link)], str(tmp_path / "nas/other"))).good
    (tmp_path / "nas/crm/filestore").rmdir()
    assert not only(service.shared([str(link)], str(tmp_path / "nas/crm"))).good


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["a", "s1", "9:00"], ["b", "s2", "9:01"]], "2 done; the last by s2 at 9:01"),
        ([["a", "s1", "9:00"]], "not done: b"),
        ([["a", "s1", "9:00"], ["b", "s2", "9:01"], ["a", "s3", "9:02"]], "done twice: a"),
        ([], "not done: a; not done: b"),
    ],
)
def test_s9_one_time_steps(rows: list[list[str]], words: str) -> None:
    """S9: Each step has one line in the table."""
    found = service.done_once(rows, ["a", "b"])
    assert (found.good, found.seen) == (words.startswith("2 done"), words)


def test_o1_o8_the_release(tmp_path: Path) -> None:
    """O1, O8: It was built from the recorded commit, and no other one waits."""
    own = releases.complete(tmp_path / "releases" / releases.NAME)
    link = tmp_path / "production"
    release.activate(link, own)
    commit = own.commit()
    good = only(service.checkout(str(link), commit))
    assert good.good and own.digest()[:12] in good.seen and own.name in good.what
    assert not only(service.checkout(str(link), "f" * 40)).good
    assert only(service.waiting(str(link))) == Seen("releases that wait", True, "none")
    release.wait(link, releases.NEXT)
    assert not only(service.waiting(str(link))).good


KEPT = "ActiveState=active\nUnitFileState=enabled\nRestart=always\nUser=odoo\n"


@pytest.mark.parametrize(
    ("shown", "rotated", "good"),
    [
        (KEPT, True, [True, True]),
        (KEPT.replace("always", "no"), True, [False, True]),
        (KEPT.replace("User=odoo", "User="), True, [False, True]),
        (KEPT.replace("enabled", "disabled"), False, [False, False]),
    ],
)
def test_o3_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str, rotated: bool, good: list[bool]
) -> None:
    """O3, S8: It starts at boot and after a failure, as its own user, and its log is rotated."""
    (tmp_path / "one").write_text("/var/log/odoo/*.log {\n}\n" if rotated else "/var/log/x {\n}\n")
    monkeypatch.setattr(service, "ROTATION", tmp_path)
    monkeypatch.setattr(service, "command", lambda *_: shown)
    assert [one.good for one in service.kept("odoo", "odoo")] == good


CONF = """\
[options]
addons_path = {place}
admin_passwd = $pbkdf2-sha512$25000$x$y
db_password = 100%canary
list_db = False
workers = 3
"""


@pytest.mark.parametrize(
    ("old", "new", "workers", "bad"),
    [
        ("", "", None, None),
        ("", "", 3, None),
        ("", "", 4, "workers"),
        ("list_db = False", "list_db = True", None, "its options"),
        ("list_db = False\n", "", None, "its options"),
        ("$pbkdf2-sha512$25000$x$y", "canary", None, "the administrator's password"),
        ("{place}", "/absent", None, "the path of the addons"),
        ("workers = 3", "workers = 0", None, "workers"),
        ("workers = 3", "workers = many", None, "workers"),
    ],
)
def test_o2_odoo_conf(
    tmp_path: Path, old: str, new: str, workers: int | None, bad: str | None
) -> None:
    """O2, K4: A wrong option is named; no password is shown."""
    text = CONF.replace(old, new).replace("{place}", str(tmp_path))
    found = list(service.options(text, {"list_db": "False"}, workers, 2))
    assert [one.what for one in found if not one.good] == ([bad] if bad else [])
    assert "canary" not in str(found)
    path = tmp_path / "odoo.conf"
    path.write_text(text)
    path.chmod(0o644)
    first, *_ = service.odoo(str(path), {}, workers)
    assert first == Seen(str(path), False, "mode 644")


HEADERS = {
    "content-encoding": "gzip",
    "cache-control": "max-age=3600",
    "x-cache-status": "HIT",
}


@pytest.mark.parametrize(
    ("status", "headers", "minutes", "good"),
    [
        (200, HEADERS, 60, True),
        (404, HEADERS, 60, False),
        (200, {**HEADERS, "content-encoding": "identity"}, 60, False),
        (200, HEADERS, 30, False),
        (200, {"content-encoding": "gzip"}, 60, False),
        (200, {"content-encoding": "gzip"}, 0, True),
    ],
)
def test_o6_a_static_file(status: int, headers: dict[str, str], minutes: int, good: bool) -> None:
    """O6: Compressed, and kept as long as the settings say."""
    assert service.cached("/web/static/x.js", status, headers, minutes).good == good


class Web(http.server.BaseHTTPRequestHandler):
    """nginx, or the balancer at its port for plain HTTP."""

    status = 200
    sent: Mapping[str, str] = {}

    def do_GET(self) -> None:
        self.send_response(self.status)
        for name, value in self.sent.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """A function that starts a server with an answer, and returns its port."""
    running = []

    def start(status: int, **headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answering = type("Answering", (Web,), {"status": status, "sent": sent})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answering)
        running.append(server)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server.server_port

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "good"), [(404, True), (400, True), (502, False), (504, False)])
def test_o7_long_requests(web: Callable[..., int], status: int, good: bool) -> None:
    """O7: nginx's own answers are not those of the process behind it."""
    assert only(service.long(web(status), "crm.example", "/websocket")).good == good


@pytest.mark.parametrize(
    ("status", "location", "https", "good"),
    [
        (301, "https://crm.example/web/health", 443, [True, True]),
        (301, "https://foreign.example/", 443, [False, True]),
        (200, "", 443, [False, True]),
        (200, "", None, [True]),
        (503, "", None, [False]),
    ],
)
def test_s1_o5_port_80(
    web: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    location: str,
    https: int | None,
    good: list[bool],
) -> None:
    """S1, O5: With TLS it redirects to the application's own URL, otherwise it serves."""
    port = web(status, **({"Location": location} if location else {}))

    def get(_: str, asked: int, tls: bool, *more: Any) -> Any:
        return (200, {}) if tls else seen.get("127.0.0.1", asked, tls, *more)

    monkeypatch.setattr(service, "get", get)
    found = service.front("127.0.0.1", port, https, "crm.example", "https://crm.example", "/")
    assert [one.good for one in found] == good


def test_o4_the_reverse_proxy(
    web: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O4: A missing directive is named, and the application must answer through nginx."""
    monkeypatch.setattr(service, "NGINX", tmp_path / "nginx.conf")
    (tmp_path / "nginx.conf").write_text("http {\n    proxy_buffers 16 64k;\n}\n")
    port = web(200)
    wanted = ["proxy_buffers ", "proxy_next_upstream "]
    first, second = service.proxied(port, "crm.example", "/", wanted)
    assert (first.good, first.seen, second.good) == (False, "no proxy_next_upstream ", True)
    first, second = service.proxied(web(502), "crm.example", "/", wanted[:1])
    assert (first.good, second.good) == (True, False)


def test_o6_the_first_text_file_is_asked_for(web: Callable[..., int], tmp_path: Path) -> None:
    """O6: A small file would not be compressed."""
    folder = tmp_path / "static/lib"
    folder.mkdir(parents=True)
    (folder / "a.js").write_text("x")
    port = web(200, **{name: value for name, value in HEADERS.items()})
    asked = {"port": port, "domain": "crm.example", "prefix": "/web/static", "minutes": 60}
    folders = [str(tmp_path / "absent"), str(tmp_path / "static")]
    assert not only(service.static(folders=folders, **asked)).good
    (folder / "b.css").write_text("x" * service.LEAST)
    found = only(service.static(folders=folders, **asked))
    assert (found.what, found.good) == ("/web/static/lib/b.css", True)


INFO = """\
type=2
count=3
status=1
replica_count=3
network.ping-timeout=5
brick-count=3
brick-0=nas1:-nas
brick-1=nas2:-nas
brick-2=nas3:-nas
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "", "3 copies on 3 bricks, waits 5 s"),
        ("timeout=5", "timeout=42", "network.ping-timeout is 42, not 5"),
        ("network.ping-timeout=5\n", "", "network.ping-timeout is missing, not 5"),
        ("replica_count=3", "replica_count=2", "replica_count is 2, not 3"),
        ("brick-2=nas3:-nas\n", "", "its bricks are nas1:-nas, nas2:-nas"),
        ("status=1", "status=2", "it is not started"),
    ],
)
def test_s3_the_volume(old: str, new: str, words: str) -> None:
    """S3: Copies, bricks and the wait for a silent host, from glusterd's own record."""
    [look] = [look for look in looks("nas1") if look.look == "volumes"]
    [wanted] = look.arguments["wanted"]
    wanted = {**wanted, "options": {"network.ping-timeout": "5"}}
    found = service.volume(INFO.replace(old, new), wanted)
    assert (found.good, found.seen) == (not old, words)


ACCESS: dict[str, Any] = {
    "ssl": "on",
    "plain": 0,
    "secure": 12,
    "rules": ["hostssl scram-sha-256", "local peer"],
    "scram": {"crm": True, "postgres": True},
    "super": ["postgres"],
    "owners": {"crm": "crm", "postgres": "postgres"},
}


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        ({}, None),
        ({"ssl": "off"}, "lines of pg_hba.conf"),
        ({"rules": ["hostssl scram-sha-256", "host trust"]}, "lines of pg_hba.conf"),
        ({"rules": ["local trust"]}, "lines of pg_hba.conf"),
        ({"rules": None}, "lines of pg_hba.conf"),
        ({"plain": 1}, "connections"),
        ({"owners": {"crm": "postgres"}}, "roles of applications"),
        ({"owners": {}}, "roles of applications"),
        ({"scram": {"crm": False}}, "roles of applications"),
        ({"super": ["postgres", "crm"]}, "roles of applications"),
    ],
)
def test_s6_access_to_the_database(change: dict[str, Any], bad: str | None) -> None:
    """S6: TLS and SCRAM for everybody, and a role and a database for each application."""
    found = list(service.guarded({**ACCESS, **change}, ["crm"]))
    assert [one.what for one in found if not one.good] == ([bad] if bad else [])


STAT = """\
# pxname,svname,stot,algo,
crm,s1,412,,
crm,s2,410,,
crm,BACKEND,822,roundrobin,
database,bbdd1,7,,
"""


@pytest.mark.parametrize(
    ("algorithm", "hosts", "good"),
    [
        ("roundrobin", ["s1", "s2"], True),
        ("leastconn", ["s1", "s2"], False),
        ("roundrobin", ["s1", "s2", "s3"], False),
        ("roundrobin", ["s1"], False),
    ],
)
def test_s2_the_balance(algorithm: str, hosts: list[str], good: bool) -> None:
    """S2: The algorithm, and exactly the app hosts of the fleet."""
    found = only(service.spread(STAT, algorithm, {"crm": hosts}))
    assert found.good == good
    assert found.seen.startswith("roundrobin; requests: s1 412, s2 410")


# The rows


def test_a_clock_is_judged_by_the_master() -> None:
    """X6: Also one that a host has made up."""
    given = [Finding("X6", "s1", "clock", True, shown) for shown in ("101", "90", "soon")]
    found = verify.timed([*given, Finding("S1", "s1", "port", True, "x")], 100, 102)
    assert [one.good for one in found] == [True, False, False, True]


def test_o1_the_same_release_is_the_same_archive() -> None:
    """O1: One host with another digest is a fault on all, because nobody knows which is right."""
    one = Finding("O1", "s1", "release a", True, "commit c, archive d")
    others = [one._replace(host="s2"), one._replace(host="s3", seen="commit c, archive e")]
    assert all(found.good for found in verify.agreeing([one, others[0]]))
    assert not any(found.good for found in verify.agreeing([one, *others]))


def test_a_host_answers_only_what_it_was_asked() -> None:
    """X4: A host that leaves a row out, or speaks for another one, hides nothing."""
    answer = [
        {"row": "S4", "what": "/mnt/nas", "good": "yes", "seen": "nas1:/nas"},
        {"row": "X9", "what": "sshd", "good": True, "seen": "keys only"},
    ]
    found = verify.findings("s1", [Look("S4", "mounted"), Look("S5", "shared")], answer)
    assert [(one.row, one.good) for one in found] == [("S4", False), ("S5", False)]


def test_a_host_cannot_write_to_the_terminal() -> None:
    """K5, X4: Escape sequences become spaces, and of a traceback the last line counts."""
    wanted = [Look("S4", "mounted")]
    answer = [{"row": "S4", "what": "a\x1b[2Jb", "good": True, "seen": "x" * 9000}]
    [found] = verify.findings("s1", wanted, answer)
    assert (found.what, len(found.seen)) == ("a [2Jb", verify.MOST)
    [found] = verify.findings("s1", wanted, "Traceback:\n  File x\nKeyError: 's1'\n")
    assert (found.good, found.seen) == (False, "KeyError: 's1'")


def test_the_steps_of_odoo_are_those_of_its_states() -> None:
    """S9: salt/odoo/once.sls has two more, which are done while their rows are there."""
    text = (REPOSITORY / "salt/odoo/once.sls").read_text()
    names = re.findall(r"once\.done:\n    - name: (\w+)$|^    \('([\w ]+)', ", text, re.MULTILINE)
    found = [one or other for one, other in names]
    assert found == [*KINDS["odoo"].steps({}, ""), "set the URL"]


def test_o4_nginx_has_every_directive() -> None:
    """O4: The look wants nothing that the states do not write."""
    template = (REPOSITORY / "salt/nginx/files/nginx.conf").read_text()
    lines = [line.strip() for line in template.splitlines()]
    [look] = [look for look in looks("s1") if look.row == "O4"]
    for directive in look.arguments["directives"]:
        assert any(line.startswith(directive) for line in lines), directive


def test_the_table() -> None:
    """K5: Faults first, hosts that show the same together, no long line, and a summary."""
    found = [
        Finding("S4", "s1", "/mnt/nas", True, "nas1:/nas"),
        Finding("S4", "s2", "/mnt/nas", True, "nas1:/nas"),
        Finding("S7", "s1", "ufw", True, "active"),
        Finding("O3", "s1", "unit odoo", True, "active"),
        Finding("O3", "s2", "unit odoo", False, "failed " * 20),
        Finding("S3", "nas1", "volume nas", True, "good"),
    ]
    shown = verify.rows(found, REPOSITORY)
    assert [row.name for row in shown] == list(requirements.rows(REPOSITORY))
    lines = verify.table(shown).splitlines()
    assert lines[0].startswith("✗ O3   s2: unit odoo: failed failed")
    assert lines[1].startswith("       failed") and max(map(len, lines)) <= 100
    assert "✓ S4   s1 s2: /mnt/nas: nas1:/nas" in lines
    assert "✓ S3   nas1: volume nas" in lines
    assert "- S17  It is about a file, which no host runs." in lines
    assert f"- S1   {verify.NO_PART}" in lines
    assert lines[-1].startswith("3 of 4 rows hold") and lines[-1].endswith("not: O3")
    told = verify.data(shown)
    assert told["good"] is False
    assert told["rows"]["S3"] == {
        "good": True,
        "seen": [{"host": "nas1", "what": "volume nas", "good": True, "seen": "good"}],
    }
    assert told["rows"]["K2"]["good"] is None and told["rows"]["K2"]["test"]
    json.dumps(told)


# The runner


@pytest.fixture
def fleet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> SimpleNamespace:
    """A fleet whose hosts find everything good. A test may change `down`, `bad` and the rest."""
    whole = fleets.fleet(getattr(request, "param", "default"))
    site = SimpleNamespace(
        fleet=whole,
        data=fleets.master_data(whole, secrets.FakeStore()),
        root=REPOSITORY,
        change_file=tmp_path / "lock",
    )
    state = SimpleNamespace(
        site=site, down=set(), silent=set(), bad={}, unfinished={}, behind={}, members=True
    )
    state.shared = dict[str, Iterator[str]]()

    def answers(
        _: Any, hosts: Sequence[str], function: str, arguments: Any, *__: Any
    ) -> dict[str, Any]:
        assert function == "verify.look"
        return {
            host: {"ret": [look(host, one) for one in arguments[0][host]]}
            for host in hosts
            if host not in state.silent
        }

    def look(host: str, one: Mapping[str, Any]) -> dict[str, Any]:
        if one["arguments"].get("name") == "shared":
            words = next(state.shared[host])
            return {"row": "K6", "what": SHARED, "good": True, "seen": words}
        good = (host, one["row"]) not in state.bad
        shown = str(time.time()) if one["look"] == "clock" else "as it must be"
        words = shown if good else state.bad[host, one["row"]]
        return {"row": one["row"], "what": one["look"], "good": good, "seen": words}

    monkeypatch.setattr(runner, "site", lambda _: site)
    monkeypatch.setattr(minions, "connected", lambda *_: set(whole.hosts) - state.down)
    monkeypatch.setattr(minions, "answers", answers)
    monkeypatch.setattr(guard, "ensure", lambda _: None)
    monkeypatch.setattr(runner, "unfinished", lambda _: state.unfinished)
    monkeypatch.setattr(runner, "behind", lambda _: state.behind)
    monkeypatch.setattr(
        runner, "membership", lambda *_: Health("members", state.members, "s1 s2 s3")
    )
    return state


def verified(output: str = "") -> Any:
    """The answer of the command."""
    return load("_runners/verify.py", opts={"output": output}).service()


def test_a_good_fleet(fleet: SimpleNamespace) -> None:
    """K5: Every row is there; those that a fleet cannot answer say why."""
    text = verified()
    assert "✗" not in text
    told = verified("json")["data"]
    assert told["retcode"] == 0 and told["good"]
    assert list(told["rows"]) == list(requirements.rows(REPOSITORY))
    unanswered = {row for row, one in told["rows"].items() if one["good"] is None}
    # the default fleet has neither a Node application nor two balancers
    assert unanswered == set(elsewhere()) | {"S8", "K6"}


def test_a_bad_row_ends_with_an_error(fleet: SimpleNamespace) -> None:
    """K5: The exit code is 1, and the first line has the fault."""
    fleet.bad = {("s2", "S4"): "not mounted"}
    with pytest.raises(RunnerError) as raised:
        verified()
    first, *_, last = str(raised.value).splitlines()
    assert first.startswith("✗ S4   s2: ") and "not mounted" in first
    assert last.endswith("not: S4")
    told = verified("json")["data"]
    assert (told["retcode"], told["rows"]["S4"]["good"], told["rows"]["S5"]["good"]) == (
        1,
        False,
        True,
    )


@pytest.mark.parametrize("fleet", ["pairs"], indirect=True)
def test_k6_the_hosts_of_a_pair_are_compared(
    fleet: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K6: Those that disagree are asked again, and only for this."""
    monkeypatch.setattr(pair.settled, "__defaults__", (0.0,))
    fleet.shared = {
        **{host: iter([HERE, ELSEWHERE]) for host in ("lb1", "lb2")},
        **{host: iter([where]) for host, where in (("fw1", HERE), ("fw2", ELSEWHERE))},
    }
    row = verified("json")["data"]["rows"]["K6"]
    bad = {one["host"]: one["seen"] for one in row["seen"] if not one["good"]}
    words = "neither lb1 nor lb2 has them; see journalctl -u keepalived on both"
    assert bad == dict.fromkeys(("lb1", "lb2"), words)


@pytest.mark.parametrize("kind", ["down", "silent"])
def test_a_silent_host_fails_its_rows(fleet: SimpleNamespace, kind: str) -> None:
    """K5: Nothing is known of it, so nothing of it holds."""
    getattr(fleet, kind).add("bkp1")
    rows = verified("json")["data"]["rows"]
    asked = {look.row for look in looks("bkp1")}
    assert {row for row, one in rows.items() if one["good"] is False} == asked
    assert "O9" in asked


@pytest.mark.parametrize(
    ("change", "good", "words"),
    [
        ({}, True, "every change has come to its end"),
        ({"unfinished": {"app": ["s4"]}}, False, "interrupted at s4; see salt-run fleet.status"),
        ({"behind": {"nas2": 1}}, False, "behind: nas2; see salt-run fleet.status"),
        ({"members": False}, False, "every change has come to its end"),
    ],
)
def test_s10_changes(
    fleet: SimpleNamespace, change: dict[str, Any], good: bool, words: str
) -> None:
    """S10: An interrupted change, a host behind and a damaged file of the members are faults."""
    vars(fleet).update(change)
    row = verified("json")["data"]["rows"]["S10"]
    assert (row["good"], row["seen"][-1]["seen"]) == (good, words)


def test_s10_a_running_change_is_no_fault(
    fleet: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S10: Its hosts are unfinished until its end."""
    fleet.unfinished = {"app": ["s4"]}
    monkeypatch.setattr(exclusive, "holder", lambda _: {"what": "add s4"})
    row = verified("json")["data"]["rows"]["S10"]
    assert row["good"] and row["seen"][-1]["seen"] == "running: add s4"


def test_verify_security_asks_for_its_own_rows(fleet: SimpleNamespace) -> None:
    """X4: The same looks, without the others."""
    fleet.bad = {("s1", "S4"): "not mounted"}
    told = load("_runners/verify.py", opts={"output": "json"}).security()["data"]
    assert told["good"] and {row[0] for row in told["rows"]} == {"X"}
