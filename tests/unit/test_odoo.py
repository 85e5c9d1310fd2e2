"""odoo.conf (O2): every option, the names of each version, and the hash that stays the same."""

from __future__ import annotations

import base64
import configparser
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from salina.application import odoo
from salina.database.psql import PsqlError
from salina_fleet.fleet import Fleet
from salina_fleet.kinds import KINDS
from salina_fleet.roles import ROLES
from salina_fleet.roles.app import AppSettings
from tests import fleets
from tests.loading import Managed, failure, load
from tests.render.minion import Minion


def app(version: str = "14.0") -> dict[str, Any]:
    """Pillar `app` of s1 for a version of Odoo."""
    found: dict[str, Any] = fleets.pillar("s1")["app"]
    definition = fleets.definition(f"odoo-{version}")
    return found | {"name": f"odoo-{version}", "definition": definition}


def options(text: str) -> dict[str, str]:
    """Return the options as Odoo reads them: it uses the same parser."""
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return dict(parser["options"])


def written(app: Mapping[str, Any], workers: int) -> str:
    """Return odoo.conf for a release with the modules of the definition."""
    return odoo.configuration(app, workers, odoo.addons(app["definition"]["odoo"]))


def test_o2_complete() -> None:
    """O2: what the requirement lists, with the values of the default fleet."""
    found = options(written(app(), 5))
    assert found.pop("admin_passwd").startswith("$pbkdf2-sha512$")
    assert found == {
        "addons_path": "/opt/odoo/production/odoo/addons,/opt/odoo/production/addons,"
        "/opt/odoo/addons",
        "server_wide_modules": "base,web,salina_odoo14,salina_held,salina_cron,salina_request",
        "data_dir": "/var/lib/odoo",
        "db_host": "127.0.0.1",
        "db_port": "6432",
        "db_user": "crm",
        "db_password": "canary-app-crm-database",
        "db_sslmode": "disable",
        "db_name": "crm",
        "dbfilter": "^crm$",
        "db_maxconn": "16",
        "list_db": "False",
        "proxy_mode": "True",
        "http_interface": "127.0.0.1",
        "http_port": "8069",
        "longpolling_port": "8072",
        "workers": "5",
        "max_cron_threads": "1",
        "limit_memory_soft": "2147483648",
        "limit_memory_hard": "2684354560",
        "limit_time_cpu": "60",
        "limit_time_real": "120",
        "limit_time_real_cron": "900",
        "limit_request": "8192",
        "logfile": "/var/log/odoo/odoo.log",
        "log_level": "info",
        "without_demo": "all",
    }


def test_newest_version_has_its_own_names() -> None:
    """O2: Options have the names that the version knows."""
    found = options(written(app("19.0"), 5))
    assert found["gevent_port"] == "8072"
    assert "longpolling_port" not in found
    assert found["with_demo"] == "False"
    assert "without_demo" not in found
    assert (
        found["server_wide_modules"]
        == "base,rpc,web,session_db,salina_retry,salina_held,salina_cron,salina_request"
    )


ROOM = 1_000_000
"""MiB of a host with more memory than any number of workers needs."""


def tuned(**given: Any) -> dict[str, Any]:
    """The pillar's settings of the application, with some of them given."""
    return dict(fleets.pillar("s1")["app"]["settings"]) | given


@pytest.mark.parametrize(("wanted", "cores", "number"), [(None, 1, 3), (None, 8, 17), (2, 8, 2)])
def test_workers(wanted: int | None, cores: int, number: int) -> None:
    """O2: There are 1 + 2 workers for each core, unless the setting says otherwise."""
    assert odoo.workers(tuned(workers=wanted), 100, cores, ROOM) == number


@pytest.mark.parametrize(
    ("pool_size", "cores", "memory", "number"),
    [
        (25, 4, ROOM, 9),
        (25, 5, ROOM, 10),
        (25, 64, ROOM, 10),
        (263, 64, ROOM, 129),
        (1000, 64, 16384, 30),
        (25, 2, 2048, 3),
        (25, 2, 512, 1),
        (4, 2, ROOM, 1),
    ],
)
def test_o2_workers_fit_the_pool_and_the_memory(
    pool_size: int, cores: int, memory: int, number: int
) -> None:
    """O2: By default there are no more workers than the pool and the memory allow."""
    assert odoo.workers(tuned(), pool_size, cores, memory) == number


@given(
    pool_size=st.integers(7, 1000),
    cron_threads=st.integers(0, 1),
    cores=st.integers(1, 512),
    memory=st.integers(900, 10**6),
)
def test_o2_the_default_always_fits(
    pool_size: int, cron_threads: int, cores: int, memory: int
) -> None:
    """O2, K5: Whatever the host, the default number of workers fits the pool and the memory."""
    settings = tuned(cron_threads=cron_threads)
    number = odoo.workers(settings, pool_size, cores, memory)
    assert 1 <= number <= 1 + 2 * cores
    assert odoo.sessions(number, cron_threads, 16) <= pool_size
    assert odoo.obstacle(settings, memory, number) == ""


HERE = "is not valid on this host; must be at most"


@pytest.mark.parametrize(
    ("settings", "memory", "reason"),
    [
        ({}, 2048, ""),
        ({"workers": 10}, 8192, ""),
        ({"workers": 0}, 2048, ""),
        (
            {"workers": 20},
            8192,
            f"pillar/settings/app.yaml: workers: 20 {HERE} 14, because its memory is 8192 MiB and "
            "these processes need 10900 MiB",
        ),
        (
            {"limit_memory_soft": 20_000},
            4096,
            f"pillar/settings/app.yaml: limit_memory_soft: 20000 {HERE} 18380, because its memory "
            "is 4096 MiB and these processes need 4420 MiB",
        ),
        (
            {},
            400,
            "this host is too small for Odoo, because its memory is 400 MiB and these processes "
            "need 830 MiB; use a host with more memory",
        ),
    ],
)
def test_what_does_not_fit_the_memory(settings: dict[str, Any], memory: int, reason: str) -> None:
    """O2, K5: The reason names the file, the setting, the value found and the value allowed."""
    own = tuned(**settings)
    assert odoo.obstacle(own, memory, odoo.workers(own, 1000, 2, memory)) == reason


@pytest.mark.parametrize(("workers", "result"), [(3, True), (40, False)])
def test_the_host_is_asked_before_anything_changes(workers: int, result: bool) -> None:
    """O2, K5: The state compares the settings with the host's own grains."""
    pillar = fleets.pillar("s1")
    pillar["app"]["settings"] |= {"workers": workers}
    grains = {"num_cpus": 2, "mem_total": 4096}
    modules = load("_modules/odoo.py", pillar=pillar, grains=grains)
    states = load("_states/odoo.py", salt={"odoo.obstacle": modules.obstacle}, opts={"test": False})
    found = states.fits("odoo-fits")
    assert (found["result"], found["changes"]) == (result, {})
    assert result or "workers: 40 is not valid on this host; must be at most 7" in found["comment"]
    assert f"workers = {workers}\n" in modules.configuration()


def test_password_hash_is_the_same_each_time_and_right() -> None:
    """O2, K1: passlib reads the hash: ab64 of 16 bytes of salt and of PBKDF2's 64 bytes."""
    found = odoo.password_hash("correct horse")
    assert found == odoo.password_hash("correct horse")
    assert found != odoo.password_hash("correct horsf")
    empty, scheme, rounds, salt, checksum = found.split("$")
    assert (empty, scheme) == ("", "pbkdf2-sha512")
    expected = hashlib.pbkdf2_hmac("sha512", b"correct horse", bytes_of(salt), int(rounds))
    assert bytes_of(checksum) == expected
    assert len(bytes_of(salt)) == 16


def bytes_of(text: str) -> bytes:
    return base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4))


def test_a_line_break_can_not_become_an_option() -> None:
    """O2: A line break in a value cannot become an option."""
    broken = app()
    broken["database"] = broken["database"] | {"password": "x\nlist_db = True"}
    with pytest.raises(ValueError, match="db_password: the value has a line break"):
        written(broken, 5)


DIFF = {"diff": "New file"}


@pytest.mark.parametrize(
    ("changes", "result"), [({}, True), (DIFF, True), (DIFF, None), ({}, False)]
)
def test_the_state_of_the_configuration(changes: dict[str, Any], result: bool | None) -> None:
    """O2, K4: Core's state reports the change, and no secret is shown."""
    managed, salt = (
        Managed(changes, result),
        {"odoo.configuration": lambda: "admin_passwd = canary"},
    )
    core, opts = {"file.managed": managed}, {"test": result is None}
    states = load("_states/odoo.py", salt=salt, states=core, opts=opts)
    assert states.configured("/etc/odoo/odoo.conf", "odoo") == managed.ret
    given = managed.given["/etc/odoo/odoo.conf"]
    assert (given["mode"], given["group"], given["show_changes"]) == ("0640", "odoo", False)
    assert given["contents"] == "admin_passwd = canary"


class Answers:
    """A session that answers each question from a list, or breaks off.

    `database`: the copy that is asked, or "" for the application's database.
    """

    def __init__(self, *answers: list[str] | Exception, database: str = "") -> None:
        self.answers = list(answers)
        self.database = database

    def __call__(self, pillar: dict[str, Any], name: str, database: str) -> Answers:
        """Connect."""
        assert ("app" in pillar, name, database) == (True, "salina: modules?", self.database)
        return self

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def query(self, sql: str) -> list[str]:
        """Give the next answer."""
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def modules_of(*answers: list[str] | Exception, test: bool = False, down: str = "") -> Any:
    """The state of the modules base, web and crm, for these answers of the database."""
    module: Any = load("_modules/odoo.py", pillar={"app": app()})
    module.session = Answers(*answers)
    salt = {"odoo.missing_modules": module.missing_modules, "application.database": lambda: down}
    return load("_states/odoo.py", salt=salt, opts={"test": test}).modules("odoo-modules")


@pytest.mark.parametrize("test", [True, False])
def test_s9_modules_that_are_not_installed_are_named(test: bool) -> None:
    """S9: A new entry of odoo.modules has no effect, and the apply says so without failing."""
    ret = modules_of(["f"], ["base", "mail"], test=test)
    assert (ret["result"], ret["changes"]) == (None, {})
    assert ret["comment"] == (
        "odoo.modules: web, crm: not installed yet; next: salt-run state.orchestrate orch.upgrade"
    )


@pytest.mark.parametrize("answers", [(["t"],), (["f"], ["base", "crm", "mail", "web"])])
def test_s9_nothing_is_missing(answers: tuple[list[str], ...]) -> None:
    """S9, K1: Before the first installation, and while all are installed, there is no message."""
    ret = modules_of(*answers)
    assert (ret["result"], ret["changes"]) == (True, {})


def test_s9_a_database_that_does_not_answer() -> None:
    """S9, K3: A prediction succeeds without a database; an apply says why it fails."""
    assert modules_of(test=True, down="psql is not installed")["result"] is True
    said = failure(modules_of(PsqlError("the server is away")))
    assert said.endswith("which modules are installed: the server is away")


# The modules that make the database


def module_of(place: Path) -> Path:
    """Make a module of three files, and return its directory."""
    (place / "models").mkdir(parents=True)
    (place / "__manifest__.py").write_text("{'name': 'CRM'}")
    (place / "models/lead.py").write_text("class Lead: pass")
    (place / "views.xml").write_text("<odoo/>")
    return place


def sum_of(place: Path) -> str:
    """Return the checksum of the module crm of a release."""
    return odoo.checksums(place, ["addons"])["crm"]


@pytest.mark.parametrize(
    "path",
    [
        *("models/lead.py", "views.xml", "__manifest__.py", "new.py", "data/new.csv"),
        *("models/static/x.js", "models/tests/x.py", "migrations/14.0.2/pre.py"),
    ],
)
def test_o8_a_file_that_can_change_the_database_counts(path: str, tmp_path: Path) -> None:
    """O8: Another or a new file is another version of the module."""
    module = module_of(tmp_path / "addons/crm")
    before = sum_of(tmp_path)
    assert sum_of(tmp_path) == before
    (module / path).parent.mkdir(parents=True, exist_ok=True)
    (module / path).write_text("other")
    assert sum_of(tmp_path) != before


@pytest.mark.parametrize(
    "path",
    [
        *("i18n/de.po", "i18n/crm.pot", "i18n_extra/fr.po", "static/src/x.js", "tests/test_x.py"),
        *("__pycache__/x.cpython-39.pyc", "models/__pycache__/lead.pyc", "models/lead.pyc"),
    ],
)
def test_o8_translations_static_files_and_tests_do_not_count(path: str, tmp_path: Path) -> None:
    """O8: The database works without them, and Odoo compiles its modules itself."""
    module = module_of(tmp_path / "addons/crm")
    before = sum_of(tmp_path)
    (module / path).parent.mkdir(parents=True, exist_ok=True)
    (module / path).write_text("other")
    assert sum_of(tmp_path) == before


def test_o8_the_first_directory_with_a_module_wins(tmp_path: Path) -> None:
    """O8: It is the one from which Odoo takes the module. A directory without a manifest is none.

    A missing directory of addons has no modules.
    """
    for addon in ("one", "two"):
        (module_of(tmp_path / addon / "crm") / "views.xml").write_text(addon)
    module_of(tmp_path / "two/sale")
    (tmp_path / "one/docs").mkdir()
    (tmp_path / "one/README.md").touch()
    found = odoo.checksums(tmp_path, ["one", "two", "nowhere"])
    assert {*found} == {"crm", "sale"}
    assert found == odoo.checksums(tmp_path, ["one", "two"])
    assert odoo.checksums(tmp_path, ["one"]) == {"crm": found["crm"]}
    assert odoo.checksums(tmp_path, ["two", "one"])["crm"] != found["crm"]
    module: Any = load("_modules/odoo.py", pillar={"app": app()})
    (tmp_path / "one").rename(tmp_path / "addons")
    assert module.checksums(str(tmp_path)) == {"crm": found["crm"]}


def differing(*answers: list[str] | Exception) -> list[str]:
    """Return the installed modules that differ, for these answers of the database."""
    module: Any = load("_modules/odoo.py", pillar={"app": app()})
    module.session = Answers(*answers)
    before = {"base": "0", "crm": "0", "gone": "0", "sale": "0", "unused": "0"}
    after = {"base": "0", "crm": "1", "new": "0", "sale": "1", "unused": "1"}
    found: list[str] = module.differing(before, after)
    return found


def test_o8_only_installed_modules_differ() -> None:
    """O8: One that the release lost differs as well, and one in neither release does not."""
    installed = ["sale", "base", "gone", "crm", "new", "foreign"]
    assert differing(["f"], installed) == ["crm", "gone", "new", "sale"]
    assert differing(["f"], ["base", "foreign"]) == []


def test_s9_nothing_differs_before_the_first_installation() -> None:
    """S9, K5: A new database fits every release. One that does not answer fits none."""
    assert differing(["t"]) == []
    with pytest.raises(CommandExecutionError, match="are installed: the server is away"):
        differing(PsqlError("the server is away"))


def test_o1_a_copy_has_modules_of_its_own() -> None:
    """O1: Those of the copy differ, or are missing, whatever the running database has."""
    module: Any = load("_modules/odoo.py", pillar={"app": app()})
    module.session = Answers(["f"], ["base", "crm"], ["f"], ["base", "crm"], database="a_copy")
    before, after = ({"base": "0", "crm": one, "sale": one} for one in "01")
    assert module.differing(before, after, "a_copy") == ["crm"]
    assert module.missing_modules("a_copy") == ["web"]


def test_o8_an_odoo_never_works_with_newer_modules() -> None:
    """O8: Its code and its tables change together."""
    assert load("_modules/odoo.py").rolls(["crm"]) is False


# The upgrade of a copy


@pytest.mark.parametrize(
    ("update", "install", "given", "words"),
    [
        (["crm", "sale"], [], ["--update=crm,sale"], "modules: 2 updated"),
        ([], ["web"], ["--init=web"], "modules: new: web"),
        (["crm"], ["a", "b"], ["--update=crm", "--init=a,b"], "modules: 1 updated, new: a, b"),
        ([], [], [], "modules: none changed"),
    ],
)
def test_o8_an_upgrade_changes_modules_and_then_reads_every_model(
    update: list[str], install: list[str], given: list[str], words: str
) -> None:
    """O8: Both commands work on the copy, and listen nowhere."""
    release = "/opt/odoo/releases/c0ffee000000-0123abcd"
    salt = {"cp.get_file_str": lambda path: f"content of {path}"}
    module: Any = load("_modules/odoo.py", salt=salt, pillar={"app": app()})
    program = odoo.program(app(), release, "salina_next_crm")
    changes, read = module.upgrade(release, update, install)
    assert changes["command"] == [*program, "--no-http", *given, "--stop-after-init"]
    assert changes["words"] == words and "stdin" not in changes
    assert read["command"] == [*program[:2], "shell", *program[2:], "--no-http"]
    assert read["stdin"] == "content of salt://odoo/files/check.py"
    served = module.server(release, 40000)
    assert served == [*program, "--http-port=40000", "--http-interface=127.0.0.1"]


def test_o8_a_check_of_the_operators_runs_in_the_shell_of_odoo(tmp_path: Path) -> None:
    """O8: With the copy. Odoo's user opens the file: root could read where it leads."""
    module: Any = load("_modules/odoo.py", pillar={"app": app()})
    shell, option, script, file, *command = module.check("/r", "check.py")
    program = odoo.program(app(), "/r", "salina_next_crm")
    assert command == [*program[:2], "shell", *program[2:], "--no-http"]
    assert file == "/r/check.py"
    (tmp_path / "check.py").write_text("words of the file")
    ran = [
        shell,
        option,
        script,
        str(tmp_path / "check.py"),
        "sh",
        "-c",
        'cat; echo " $1"',
        "x",
        "y",
    ]
    assert subprocess.run(ran, capture_output=True, text=True).stdout == "words of the file y\n"


# The directories of modules of a release


def released(place: Path, *addons: str) -> Path:
    """Make a release with these directories of modules, and return it."""
    place.mkdir(parents=True)
    (place / odoo.ADDONS).write_text(json.dumps(addons))
    return place


def test_o8_a_release_keeps_its_directories_of_modules(tmp_path: Path) -> None:
    """O8: The definition may name others, while the release that has them waits."""
    section = app()["definition"]["odoo"]
    release = released(tmp_path / "a", "addons", "own")
    assert odoo.recorded(release, section) == ["addons", "own"]
    assert odoo.recorded(tmp_path / "b", section) == odoo.addons(section)  # an older one
    path = f"{release}/addons,{release}/own,/opt/odoo/addons"
    assert f"--addons-path={path}" in odoo.program(app(), str(release), "crm")
    module_of(release / "own/crm")
    module_of(release / "odoo/addons/base")
    module: Any = load("_modules/odoo.py", pillar={"app": app()})
    assert {*module.checksums(str(release))} == {"crm"}


def test_o8_an_older_release_has_only_the_directories_that_are_there(tmp_path: Path) -> None:
    """O8: It was built before releases named theirs, and the definition may name more since then.

    Odoo refuses to start with one that does not exist. A file is none.
    """
    section = app()["definition"]["odoo"]
    wanted = {**section, "addons": ["addons", "own", "odoo/addons", "more"], "repositories": []}
    release = tmp_path / "release"
    assert odoo.recorded(release, wanted) == wanted["addons"]  # it is not on this host yet
    for place in ("odoo/addons", "addons"):
        (release / place).mkdir(parents=True)
    (release / "own").touch()
    assert odoo.recorded(release, wanted) == ["addons", "odoo/addons"]
    link = tmp_path / "production"
    link.symlink_to(release)
    assert odoo.recorded(link, wanted) == ["addons", "odoo/addons"]
    (release / odoo.ADDONS).write_text(json.dumps(["gone", "addons"]))
    assert odoo.recorded(release, wanted) == ["gone", "addons"]  # it knows by itself


def test_o8_the_configuration_follows_the_release_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O8, X8: Another release may have other directories. Its owner and its mode stay."""
    link, file = tmp_path / "production", tmp_path / "odoo.conf"
    pillar = deepcopy(fleets.pillar("s1"))  # all tests share the definition
    pillar["app"]["definition"]["odoo"]["configuration"] = str(file)
    module: Any = load("_modules/odoo.py", pillar=pillar, grains={"num_cpus": 2, "mem_total": 4096})
    monkeypatch.setattr(module.release, "production", lambda kind: str(link))
    link.symlink_to(released(tmp_path / "a", "addons"))
    module.configure()
    assert not file.exists()  # a new host gets it by its states
    file.write_text(module.configuration())
    file.chmod(0o640)
    before = os.stat(file)
    module.configure()
    assert os.stat(file).st_ino == before.st_ino
    link.unlink()
    link.symlink_to(released(tmp_path / "b", "more", "addons"))
    module.configure()
    wanted = "/opt/odoo/production/more,/opt/odoo/production/addons,/opt/odoo/addons"
    assert options(file.read_text())["addons_path"] == wanted
    after = os.stat(file)
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )


# The build of a release


def build(
    definition: Mapping[str, Any], tmp_path: Path, there: bool = True
) -> list[tuple[Any, ...]]:
    """Build in a directory, and return what the module of environments was asked for."""
    asked = list[tuple[Any, ...]]()
    record = {"interpreter": "python"}

    def wanted(*given: Any) -> dict[str, Any]:
        asked.append(given)
        return record if there else {}

    def install(path: str, what: dict[str, Any]) -> None:
        assert what is record
        asked.append((path,))

    salt = {"python_environment.wanted": wanted, "python_environment.install": install}
    module = load(
        "_modules/odoo.py", salt=salt, pillar={"app": {**app(), "definition": definition}}
    )
    module.build(str(tmp_path))
    return asked


def test_x10_a_release_has_an_environment_from_its_lock(tmp_path: Path) -> None:
    """X10, O1: The environment is in the release, built from the lock of this project."""
    lock = ("python3.9", "salt://locks/odoo-14.0.txt", True, [], [], [])
    assert build(fleets.definition("odoo-14.0"), tmp_path) == [lock, (f"{tmp_path}/.venv",)]
    lock = ("python3.11", "salt://locks/odoo-19.0.txt", True, [], [], [])
    assert build(fleets.definition("odoo-19.0"), tmp_path) == [lock, (f"{tmp_path}/.venv",)]


def test_o2_a_release_may_use_the_requirements_of_its_checkout(tmp_path: Path) -> None:
    """O2: Without a lock it has the requirements of upstream, and limits for them."""
    python = fleets.without_lock()["odoo"]["python"]
    asked, place = build(fleets.without_lock(), tmp_path)
    assert asked[:3] == ("python3.11", f"{tmp_path}/requirements.txt", False)
    assert asked[3:] == (python["without_dependencies"], ["setuptools<82"], [])
    assert place == (f"{tmp_path}/.venv",)


def test_o2_a_release_may_have_rtlcss(tmp_path: Path) -> None:
    """O2, X10: With the packages of the lock and no others, each of them by its hash."""
    text = (fleets.REPOSITORY / "salt/locks/rtlcss.json").read_text()
    unpacked = dict[str, tuple[str, ...]]()

    def unpack(path: str, *package: str) -> None:
        unpacked[path] = package
        Path(path, "bin").mkdir(parents=True)
        Path(path, "bin/rtlcss.js").write_text("#!/bin/sh\nsed s/left/right/\n")

    definition = fleets.definition("odoo-14.0")
    section = {**definition["odoo"], "right_to_left": True}
    salt = {
        "python_environment.wanted": lambda *_: {"interpreter": "python"},
        "python_environment.install": lambda *_: None,
        "cp.get_file_str": {"salt://locks/rtlcss.json": text}.__getitem__,
        "node_environment.unpack": unpack,
    }
    changed = {**app(), "definition": {**definition, "odoo": section}}
    load("_modules/odoo.py", salt=salt, pillar={"app": changed}).build(str(tmp_path))
    locked = json.loads(text)["dependencies"]
    assert unpacked == {
        f"{tmp_path}/.rtlcss/node_modules/{name}": (name, one["version"], one["integrity"])
        for name, one in locked.items()
    }
    assert not any("dependencies" in one for one in locked.values())
    tmp_path.rename(tmp_path.with_name("elsewhere"))  # the link leads to its own release
    program = tmp_path.with_name("elsewhere") / ".rtlcss/bin/rtlcss"
    done = subprocess.run([program, "-"], input="left", capture_output=True, text=True, check=True)
    assert done.stdout == "right"


def test_o2_the_service_finds_rtlcss() -> None:
    """O2: Its path begins with that of the release, and Debian's Node is there."""
    pillar = fleets.pillar("s1")
    without = Minion("s1", pillar).chunks
    definition = pillar["app"]["definition"]
    section = {**definition["odoo"], "right_to_left": True}
    pillar["app"]["definition"] = {**definition, "odoo": section}
    pillar["app"]["settings"] |= {"npm_registry": "https://registry.example/"}
    chunks = Minion("s1", pillar).chunks
    named = {chunk["__id__"]: chunk for chunk in chunks}
    assert "nodejs" in named["odoo-packages"]["pkgs"]
    assert named["node-registry"]["value"] == "https://registry.example/"
    others = {chunk["__id__"]: chunk for chunk in without}
    assert "nodejs" not in others["odoo-packages"]["pkgs"] and "node-registry" not in others


def test_k5_a_checkout_without_its_requirements(tmp_path: Path) -> None:
    """K5: The error names the file, and no environment is built."""
    with pytest.raises(CommandExecutionError, match=r"requirements\.txt is not in the code"):
        build(fleets.without_lock(), tmp_path, there=False)


@pytest.mark.parametrize(
    ("own", "options", "seconds"),
    [
        ({}, {}, 7200),
        ({"limit_time_cron": 3600}, {}, 14_400),
        ({"cron_threads": 0}, {}, None),
        ({}, {"max_cron_threads": 0}, None),  # the definition's own options come last
        ({"cron_threads": 0}, {"max_cron_threads": "2"}, 7200),
        ({}, {"limit_time_real_cron": 7200}, 28_800),
        ({}, {"limit_time_real_cron": 0}, 86_400),  # unlimited
        ({}, {"limit_time_real_cron": -1}, 7200),  # Odoo's word for another limit
    ],
)
def test_o3_how_long_no_job_may_end(
    own: dict[str, int], options: dict[str, Any], seconds: int | None
) -> None:
    """O3: Longer than several jobs take that use all of their time; nothing without threads."""
    definition = deepcopy(fleets.definition("odoo-14.0"))
    definition["odoo"]["options"] = options
    assert KINDS["odoo"].jobs(definition, AppSettings(**own)) == seconds
    assert KINDS["node"].jobs(fleets.definition("sample-crm"), AppSettings(**own)) is None


def test_o3_the_database_hosts_look_at_the_jobs_of_what_serves() -> None:
    """O3: A copy for trials runs none, and neither does an application without hosts."""

    def within(name: str, members: Mapping[str, list[str]] | None = None) -> list[Any]:
        found = fleets.fleet(name)
        here = Fleet(found.topology, members, found.settings) if members is not None else found
        (host, *_) = here.having("database")
        checks = ROLES["database"].checks(here, host, fleets.definitions(here.topology))
        return [one.arguments["within"] for one in checks if one.probe == "jobs"]

    assert within("default") == [{"crm": 7200}]
    assert within("default", {"app": []}) == []
    assert within("staging") == [{"crm": 7200}]
    assert within("pairs") == []  # a Node application
