"""The parts of `make bench`: their figures, their order, and their end, whatever ends them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bench import __main__ as bench
from bench import apply, backup, balance, client, pillar, release, repeat, rest, restore, web
from bench.restore import restoring
from bench.result import Result, table, write
from lab.commands import console
from lab.errors import LabError
from salina_fleet.model import topology


def test_sides_take_turns_and_change_their_order() -> None:
    order: list[str] = []

    def side(name: str) -> int:
        order.append(name)
        return len(order)

    found = repeat.in_turn({"a": lambda: side("a"), "b": lambda: side("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (99, 99), (100, 100)]
)
def test_percentile(percent: float, expected: int) -> None:
    assert repeat.percentile(list(range(100, 0, -1)), percent) == expected


def test_percentile_of_one() -> None:
    assert repeat.percentile([7.0], 99) == 7.0


def test_spread() -> None:
    assert repeat.spread([3.0, 1.0, 2.04]) == "2.0 s (1.0 to 3.0)"
    assert repeat.spread([30.0, 10.0], "/s", 0) == "20 /s (10 to 30)"


@pytest.mark.parametrize(
    ("value", "bound", "least", "holds"),
    [
        (1.5, 1.5, False, True),
        (1.51, 1.5, False, False),
        (0.9, 0.9, True, True),
        (0.89, 0.9, True, False),
        (99.0, None, False, True),
    ],
)
def test_holds(value: float, bound: float | None, least: bool, holds: bool) -> None:
    assert Result("x", value, "ratio", bound, least).holds is holds


RESULTS = [
    Result("a", 0.123456, "ratio", 0.9, least=True, detail="1 / 8"),
    Result("b", 20, "s"),
]


def test_results_have_the_form_that_other_tools_read(tmp_path: Path) -> None:
    write(RESULTS, tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == [
        {"name": "a", "value": 0.1235, "unit": "ratio", "bound": 0.9, "holds": False},
        {"name": "b", "value": 20, "unit": "s", "bound": None, "holds": True},
    ]


def test_the_table_shows_value_bound_and_what_is_behind() -> None:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table(RESULTS, "2 cores"))
    title, _headings, first, second = capture.get().splitlines()
    assert title.strip() == "2 cores"
    assert " ".join(first.split()) == "✗ a 0.123 ratio ≥ 0.9 1 / 8"
    assert " ".join(second.split()) == "b 20 s"


def test_the_log_of_h2load() -> None:
    """Three answers from the first one's begin to the last one's end, 0.5 s later."""
    found = web.parse(["1000000\t200\t200000", "1000100\t200\t100000", "1200000\t200\t300000"])
    assert found.taken == (200000, 100000, 300000)
    assert found.rate == pytest.approx(6)


def test_a_wrong_answer_is_no_figure() -> None:
    with pytest.raises(LabError, match=r"2 of 3 answers .* other than 200: \[0, 503\]"):
        web.parse(["1\t503\t5", "2\t200\t5", "3\t0\t5"])
    with pytest.raises(LabError, match="no answer at all"):
        web.parse([])


def test_a_static_file_of_a_page() -> None:
    page = '<link href="/web/content/1-a/x.css"/><img src="/web/static/src/img/favicon.ico"/>'
    found = web.STATIC.search(page)
    assert found and found[1] == "/web/static/src/img/favicon.ico"


@pytest.mark.parametrize("count", [1, pillar.SMALL, pillar.LARGE])
def test_the_large_fleet_is_a_valid_one(count: int) -> None:
    found = topology.parse(pillar.topology(count))
    assert len(found.initial()["app"]) == count
    assert {host.id for host in found.hosts} > set(pillar.MINIONS.values()) - {"s1"}


def test_the_part_pillar_has_all_files_that_a_pillar_needs(tmp_path: Path) -> None:
    site = pillar.Site(tmp_path, 1)
    assert site.measure("s1") > 0
    assert site.states["s1"] > 100


def test_the_parts_keep_their_order() -> None:
    assert bench.chosen(["web", "pillar"]) == ["pillar", "web"]
    assert bench.COLD not in bench.chosen([])
    with pytest.raises(
        LabError,
        match=r"unknown part of the benchmark: speed; choose one of: pillar, topology, cold, ",
    ):
        bench.chosen(["speed"])


# Part by part


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Return a function that returns the text on the screen."""
    out = Console(width=120, record=True, file=open(os.devnull, "w"), highlight=False)  # noqa: SIM115
    for module in (console, bench, restore):
        monkeypatch.setattr(module, "out", out)
    return lambda: out.export_text(clear=False)


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[str]]:
    """The names of the results in the file."""
    file = tmp_path / "bench" / "results.json"
    file.parent.mkdir()
    monkeypatch.setattr(bench, "FILE", file)
    return lambda: [one["name"] for one in json.loads(file.read_text())]


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The signals mean afterwards what they meant before."""
    before = {number: signal.getsignal(number) for number in restore.INTERRUPTIONS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def parts(monkeypatch: pytest.MonkeyPatch, **measures: Callable[[], Iterator[Result]]) -> None:
    """Have these parts instead of the real ones; none needs the lab."""
    monkeypatch.setattr(bench, "WITHOUT_LAB", measures)
    monkeypatch.setattr(bench, "ON_LAB", {})
    monkeypatch.setattr(bench, "NAMES", tuple(measures))


def one() -> Iterator[Result]:
    """Measure two results."""
    yield Result("first", 1, "s")
    yield Result("second", 2, "s")


def test_each_part_is_printed_and_stored_when_it_ends(
    monkeypatch: pytest.MonkeyPatch, printed: Callable[[], str], results: Callable[[], list[str]]
) -> None:
    """A part sees the results of the part before it on the screen and in the file."""

    def two() -> Iterator[Result]:
        assert "second" in printed()
        assert results() == ["first", "second"]
        yield Result("third", 3, "s", bound=2)

    parts(monkeypatch, one=one, two=two)
    with pytest.raises(SystemExit) as ended:
        bench.main([])
    assert ended.value.code == 1  # a bound is missed
    assert results() == ["first", "second", "third"]
    assert printed().count("second") == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGHUP, 130), (0, 1)]
)
def test_an_interrupted_benchmark_keeps_its_results_and_restores(
    monkeypatch: pytest.MonkeyPatch,
    printed: Callable[[], str],
    results: Callable[[], list[str]],
    number: int,
    code: int,
) -> None:
    """After Ctrl-C, a signal or an error, the results so far are there and nothing is left."""
    restored: list[str] = []

    def two() -> Iterator[Result]:
        with restoring(lambda: restored.append("two")):
            yield Result("third", 3, "s")
            if not number:
                raise LabError("the lab is gone")
            os.kill(os.getpid(), number)
            pytest.fail("the signal has not arrived")

    parts(monkeypatch, one=one, two=two, three=one)
    with pytest.raises(SystemExit) as ended:
        bench.main([])
    assert ended.value.code == code
    assert results() == ["first", "second", "third"]
    assert "third" in printed()
    assert restored == ["two"]


def test_ctrl_c_does_not_interrupt_what_restores(printed: Callable[[], str]) -> None:
    """Neither the actions nor their commands end, and each action is called."""
    restore.interruptible()
    restored: list[object] = []

    def first() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise LabError("the host is gone")

    def second() -> None:
        command = ["sh", "-c", "kill -INT $$; echo restored"]
        restored.append(subprocess.run(command, capture_output=True, text=True).stdout)

    failed = pytest.raises(ExceptionGroup, match="the lab could not be restored")
    with failed as caught, restoring(first, second):
        raise KeyboardInterrupt
    assert bench.told(caught.value) == "the lab could not be restored\n  the host is gone"
    assert restored == ["restored\n"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt), restoring():
        raise KeyboardInterrupt


def interrupt(*_: object, **__: object) -> None:
    """Do as Ctrl-C does."""
    raise KeyboardInterrupt


def test_apply_restores_master_and_minions(
    monkeypatch: pytest.MonkeyPatch, printed: Callable[[], str]
) -> None:
    """After an interruption, all hosts have their own settings again."""
    ran: list[tuple[str, str]] = []
    machines = [SimpleNamespace(name=name) for name in ("salt", "s1")]
    plan: Any = SimpleNamespace(master=machines[0], minions=machines)
    monkeypatch.setattr(apply, "shell", lambda host, script: ran.append((host.name, script)))
    monkeypatch.setattr(apply, "each", lambda action, hosts: [action(host) for host in hosts])
    monkeypatch.setattr(apply, "nothing_to_change", lambda _: None)
    monkeypatch.setattr(apply.minions, "connections", lambda _: {})
    monkeypatch.setattr(apply.minions, "wait_until_connected", lambda *_, **__: None)
    monkeypatch.setattr(apply.inventory, "current_plan", lambda: plan)
    calls = iter([None, interrupt])

    def nothing_to_do(_: object) -> None:
        call = next(calls)
        if call:
            call()

    monkeypatch.setattr(apply, "nothing_to_do", nothing_to_do)
    with pytest.raises(KeyboardInterrupt):
        list(apply.measure())
    both = ["salt", "s1"]
    assert ran == [
        ("salt", apply.EMPTY),
        *((host, apply.STOCK) for host in both),
        *((host, apply.OWN) for host in both),
        ("salt", apply.NO_EMPTY),
    ]


@pytest.mark.parametrize("fails", [interrupt, None])
def test_balance_restores_the_slow_host_and_the_balancer(
    monkeypatch: pytest.MonkeyPatch, printed: Callable[[], str], fails: Callable[..., None] | None
) -> None:
    """The balancer gets its setting back, even if the host cannot be healed."""
    done: list[object] = []
    way = SimpleNamespace(with_header=lambda _: way, load=lambda *_: None, targets=())
    monkeypatch.setattr(balance.shutil, "which", lambda _: "h2load")
    monkeypatch.setattr(balance, "ways", lambda: {"through": way})
    monkeypatch.setattr(balance, "page", lambda _: ("", ""))
    monkeypatch.setattr(balance, "in_turn", interrupt)
    monkeypatch.setattr(balance.lab, "fault", lambda kind, host: done.append((kind, host)))
    monkeypatch.setattr(balance.balance, "by_load", done.append)

    def heal(host: str) -> None:
        done.append(("heal", host))
        if not fails:
            raise LabError("the host is gone")

    monkeypatch.setattr(balance.lab, "heal", heal)
    with pytest.raises(KeyboardInterrupt if fails else ExceptionGroup):
        list(balance.measure())
    slow = balance.APPS[-1]
    assert done == [("slow", slow), ("heal", slow), False]


COPIER = """
import json
from pathlib import Path

CONFIGURATION, CACHE = {configuration!r}, "/var/cache/salina-files"

class Repository:
    def __init__(self, settings, name):
        self.made, self.said = [], [settings, name, CACHE]

    def copy(self, name, path):
        self.made.append([str(one) for one in Path(path).rglob("*") if one.is_file()])
        Path({said!r}).write_text(json.dumps([*self.said, name, path, self.made]))

    def snapshots(self):
        return self.made

    def entries(self, copy, directory):
        return [one for one in copy if one.startswith(directory + "/")]
"""


def test_the_script_makes_files_as_odoo_does_and_copies_them_again_and_again(
    tmp_path: Path,
) -> None:
    """Each copy has the same files, and the cache is beside them instead of among them."""
    configuration, said, place = (tmp_path / name for name in ("settings", "said", "place"))
    configuration.write_text('{"server": "bkp1"}')
    module = tmp_path / "lib" / "salina" / "backup" / "files.py"
    module.parent.mkdir(parents=True)
    for package in (module.parent, module.parents[1]):
        (package / "__init__.py").touch()
    module.write_text(COPIER.format(configuration=str(configuration), said=str(said)))
    done = subprocess.run(
        [sys.executable, "-", "bench", place, "40", "2"],
        input=backup.SCRIPT,
        env={"PYTHONPATH": str(tmp_path / "lib")},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert (len(answer["took"]), answer["copies"], answer["files"]) == (3, 3, 40)
    settings, name, cache, host, path, made = json.loads(said.read_text())
    assert (settings, name, host) == ({"server": "bkp1"}, "bench", "bench")
    assert (path, cache) == (f"{place}/files", f"{place}/cache")
    assert made[0] == made[1] == made[2]
    for file in map(Path, made[0]):
        digest = hashlib.sha1(file.read_bytes()).hexdigest()
        assert file == place / "files" / "crm" / digest[:2] / digest
        assert file.stat().st_size == 200


def test_the_time_without_service() -> None:
    """It is the longest time between two good answers, whichever fail between them."""
    answers = [
        {"ended": ended, "status": status}
        for ended, status in ((1, 200), (2, 200), (3, 503), (6.5, 0), (7, 200), (10, 200), (12, 0))
    ]
    assert client.outage(answers) == 5
    assert client.failed(answers) == "3 of 7 requests failed"


@pytest.mark.parametrize("fails", [interrupt, None])
def test_copies_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, printed: Callable[[], str], fails: Callable[..., None] | None
) -> None:
    """After an interruption the copying process ends before its files are removed."""
    done: list[tuple[str, str]] = []
    source: Any = SimpleNamespace(name="nas1")
    target: Any = SimpleNamespace(name="bkp1")

    def run(command: list[str], **given: object) -> SimpleNamespace:
        done.append((command[0], " ".join(command[1:])))
        if "text" in given and fails:
            fails()
        answer = {"took": [9, 1, 1, 1], "copies": 4, "files": backup.COUNT}
        return SimpleNamespace(stdout=json.dumps(answer))

    monkeypatch.setattr(backup, "attach", lambda host, command: [host.name, *command])
    monkeypatch.setattr(backup, "end", lambda host, name: done.append((host.name, f"end {name}")))
    monkeypatch.setattr(backup, "run", run)
    if fails:
        with pytest.raises(KeyboardInterrupt):
            backup.copies(source, target)
    else:
        assert backup.copies(source, target) == [9, 1, 1, 1]
    gone = [
        ("nas1", "end salina-bench"),
        ("nas1", "rm --recursive --force /var/tmp/salina-bench"),
        ("bkp1", "rm --recursive --force /var/lib/restic/bench"),
    ]
    assert done[:3] == done[-3:] == gone
    (init, copying) = done[3:-3]
    assert init[0] == "bkp1" and "restic init" in init[1]
    assert copying[0] == "nas1" and f"bench /var/tmp/salina-bench {backup.COUNT}" in copying[1]


def settling(monkeypatch: pytest.MonkeyPatch, serves: bool) -> list[str]:
    """Have a lab with two kept databases after a restore; return what settle does with it."""
    done: list[str] = []
    kept = [{"name": name, "size": "40 MiB"} for name in ("crm_before_1", "crm_before_2")]

    def salt_run(function: str, *arguments: str) -> SimpleNamespace:
        if function != "backup.kept":
            done.append(" ".join([function, *arguments]))
        return SimpleNamespace(returncode=0, stdout=json.dumps(kept), stderr="")

    def salt(host: str, function: str, *_: str) -> dict[str, Any]:
        done.append(function)
        return {host: [] if function == "saltutil.is_running" else None}

    monkeypatch.setattr(backup, "PATIENCE", 0)
    monkeypatch.setattr(backup, "running", lambda: "")
    monkeypatch.setattr(backup, "leader", lambda: "bbdd1")
    monkeypatch.setattr(backup, "all_serve", lambda: serves)
    monkeypatch.setattr(backup.lab, "salt", salt)
    monkeypatch.setattr(backup.lab, "salt_run", salt_run)
    return done


def test_only_the_database_that_the_restore_replaced_is_discarded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A database that was kept before the measurement stays."""
    done = settling(monkeypatch, serves=True)
    backup.settle({"crm_before_1"})
    discarded = "backup.discard crm_before_2 confirm=crm_before_2"
    assert done == ["saltutil.is_running", "database_copy.clean", discarded]


def test_nothing_is_discarded_while_the_application_does_not_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The replaced database may be the only good one."""
    done = settling(monkeypatch, serves=False)
    with pytest.raises(TimeoutError, match="does not have its whole share"):
        backup.settle(set())
    assert done == ["saltutil.is_running"]


def test_an_interrupted_restore_is_settled(
    monkeypatch: pytest.MonkeyPatch, printed: Callable[[], str]
) -> None:
    """The client ends first, and then the restore."""
    done: list[object] = []
    way = SimpleNamespace(domain="crm.example")
    topology = SimpleNamespace(service=SimpleNamespace(address="10.1.2.2"))

    @contextmanager
    def background(*_: object, **asks: object) -> Iterator[None]:
        done.append(asks["cookie"])
        try:
            yield
        finally:
            done.append("the client ends")

    monkeypatch.setattr(client, "ways", lambda: {"through": way})
    monkeypatch.setattr(client, "page", lambda _: ("session_id=1", ""))
    monkeypatch.setattr(client.topology_file, "read", lambda: topology)
    monkeypatch.setattr(client, "Background", background)
    monkeypatch.setattr(client, "_wait_for_answer", lambda _: None)
    monkeypatch.setattr(backup, "kept", lambda: {"crm_before_1": "40 MiB"})
    monkeypatch.setattr(backup, "orchestrate", interrupt)
    monkeypatch.setattr(backup, "settle", done.append)
    with pytest.raises(KeyboardInterrupt):
        backup.restored("crm")
    assert done == ["session_id=1", "the client ends", {"crm_before_1"}]


def test_the_cost_at_rest_is_the_difference_that_monitoring_makes() -> None:
    """S13: Each host's, in per cent of one core, and the host with the highest cost comes first."""
    first = rest.percent({"s1": 10.0, "nagios": 5.0}, {"s1": 13.6, "nagios": 11.0})
    assert first == pytest.approx({"s1": 3.0, "nagios": 5.0})
    watched = [{"s1": 4.0, "nas1": 2.0}, {"s1": 6.0, "nas1": 9.0}]
    alone = [{"s1": 3.0, "nas1": 1.0}, {"s1": 3.0, "nas1": 1.5}]
    assert list(rest.costs(watched, alone).items()) == [("nas1", 4.25), ("s1", 2.0)]


@pytest.mark.parametrize("fails", ["", "upgrade", "rollback"])
def test_a_measured_upgrade_is_undone(
    monkeypatch: pytest.MonkeyPatch, printed: Callable[[], str], fails: str
) -> None:
    """The application has its former release and database again, wherever the measurement ends."""
    done: list[str] = []
    upgraded = False

    def orchestrate(name: str, application: str) -> None:
        nonlocal upgraded
        done.append(f"{name} {application}")
        if done.count(f"{name} {application}") == 1 and name == fails:
            upgraded = upgraded or fails == "upgrade"  # Salt goes on without the command
            raise KeyboardInterrupt
        upgraded = name == "upgrade"

    @contextmanager
    def moved(texts: object) -> Iterator[None]:
        assert texts == "texts"
        try:
            yield
        finally:
            done.append("moved back")

    @contextmanager
    def watching() -> Iterator[list[dict[str, int]]]:
        yield [{"ended": 1, "status": 200}, {"ended": 5, "status": 200}]

    monkeypatch.setattr(release.backup, "kept", lambda: {"crm_before_1": "1 MiB"})
    monkeypatch.setattr(release.backup, "unsettled", lambda: "")
    monkeypatch.setattr(release.backup, "orchestrate", orchestrate)
    monkeypatch.setattr(release.backup, "settle", lambda kept: done.append(f"settle {kept}"))
    monkeypatch.setattr(release.upstream, "moved", moved)
    monkeypatch.setattr(release.upstream, "with_column", lambda: "texts")
    monkeypatch.setattr(release.upstream, "resolve", lambda: None)
    monkeypatch.setattr(release.tiers, "leader", lambda: "bbdd1")
    monkeypatch.setattr(release.tiers, "sql", lambda *_: str(int(upgraded)))
    monkeypatch.setattr(release.client, "watching", watching)
    ended = pytest.raises(KeyboardInterrupt) if fails else nullcontext()
    with ended:
        found = release.with_a_changed_module("crm", lambda: done.append("apply"))
        assert [one.value for one in found[1::2]] == [4, 4]
        assert "during the orch.upgrade" in found[1].name
    rollbacks = ["rollback crm"] * (2 if fails == "rollback" else 1)
    after = ["settle {'crm_before_1'}", "moved back"]
    assert done == ["apply", "upgrade crm", *rollbacks, *after]
