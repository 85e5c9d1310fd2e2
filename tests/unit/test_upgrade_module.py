"""An app host in an upgrade: a copy of its database gets the new release, which is tried."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.application import copy
from salina.database.psql import PsqlError
from tests import fleets
from tests.loading import load, never
from tests.releases import NAME, NEXT, Database

COPY = "salina_next_crm"
STEPS = "crm-steps"
UPDATE = {"command": ["odoo-bin", "--update=crm"], "words": "modules: 1 updated"}
READ = {"command": ["odoo-bin", "shell"], "stdin": "script", "words": "models were read"}
MIGRATE = {"command": ["node", "migrate.js"], "words": "migrate", "step": "migrate at c0ffee"}
BROKEN = {"command": ["node", "broken.js"], "words": "broken", "step": "broken at c0ffee"}
SLEEP = "print('starting', flush=True)\nimport time\ntime.sleep(60)"
SHOW = """
import os, sys
directory, port = sys.argv[1:]
assert os.environ["PORT"] == port
print(os.getcwd(), directory, os.environ["POOL"], os.environ["RELEASE"])
"""


class Host:
    """An app host that runs NAME and has NEXT, which its definition wants.

    `files`: where the link of the copy to the files of the database appears. `linked`: where it
    led at each command. `asked`: the paths of the application that were asked for. `answers`: why
    a path does not answer. `missing`: the modules that would be installed. `compatible`: the
    migrations with which the former release works as well. `others`: how the answers about a copy
    differ, by its name.
    """

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        self.place, self.database = place, Database()
        self.runs, self.complete = NAME, True
        self.found: dict[str, Any] = {"release": NAME, "differing": ["crm"], "recorded": True}
        self.commands: list[tuple[list[str], dict[str, Any]]] = []
        self.linked: list[str] = []
        self.calls: list[tuple[Any, ...]] = []
        self.asked: list[str] = []
        self.answers: dict[str, str] = {}
        self.failing, self.said = "", "the last words"
        self.log, self.files = place / "upgrade.log", place / "filestore" / COPY
        self.files.parent.mkdir()
        self.work: list[dict[str, Any]] = [UPDATE, READ]
        self.missing, self.compatible = ["web"], list[str]()
        self.checks: list[str] = []
        self.others: dict[str, dict[str, Any]] = {}
        self.server = [sys.executable, "-c", SLEEP]
        self.directory = place / "releases" / NEXT
        self.directory.mkdir(parents=True)
        release = {"name": NEXT, "directory": str(self.directory), "store": "/mnt/nas/releases"}
        health = {"path": "/web/health", "cookie": "a=b"}
        neutral = ['DELETE FROM "Sessions"', "UPDATE mails SET sent = true"]
        app = {
            "kind": kind,
            "data": str(place),
            "database": {"name": "crm"},
            "secrets": {},
            "release": release,
            "definition": {
                "health": health,
                "pages": ["/web/login"],
                "checks": self.checks,
                "port": 8069,
                "node": {"compatible": self.compatible, "neutral": neutral},
            },
        }
        steps = {"name": STEPS} if kind == "node" else None
        pillar = {"app": app, "database_route": {"steps": steps}}
        self.salt: dict[str, Any] = {
            "cmd.run_all": self.run_all,
            "release.complete": lambda directory: self.complete,
            "release.active": lambda: self.runs,
            "release.activate": self.note("activate"),
            "release.fetch": self.note("fetch"),
            "application.later": self.note("later"),
            "release.restore": self.note("restore"),
            "release.obtain": lambda directory, store: f"{directory} from {store}",
            "schema.obstacle": lambda directory, database: self.about(database, self.found),
            "schema.record": self.note("record"),
            "application.start": self.note("start"),
            "application.health": self.health,
            "application.stop": self.note("stop"),
            "service.stop": self.note("forget"),
            f"{kind}.checksums": lambda directory: {"crm": Path(directory).name},
            f"{kind}.upgrade": self.upgrade,
            f"{kind}.server": lambda directory, port: [*self.server, directory, str(port)],
            f"{kind}.check": lambda directory, file: ["check", Path(directory).name, file],
            f"{kind}.rolls": load(f"_modules/{kind}.py", pillar={"app": app}).rolls,
        }
        if kind == "odoo":
            self.salt["odoo.missing_modules"] = lambda database: self.about(
                database, {"missing": self.missing}
            )["missing"]
        self.database.others["crm"] = self.database
        self.module: Any = load("_modules/upgrade.py", salt=self.salt, pillar=pillar)
        self.closed = place / "closed"
        self.module.CLOSED = str(self.closed)
        self.module.session = self.database.session
        self.module._become = lambda: ["setpriv", "--"]
        self.module._environment = self.environment
        monkeypatch.setattr(copy, "log", lambda _: str(self.log))

    @property
    def copied(self) -> Database:
        """Return the copy of the database."""
        return self.database.others.setdefault(COPY, Database())

    def about(self, database: str, usual: dict[str, Any]) -> dict[str, Any]:
        """Return the answers about a database."""
        found = self.others.get(database, {})
        return {key: found.get(key, value) for key, value in usual.items()}

    def environment(self, port: int, pool: str, directory: str) -> dict[str, str]:
        """Return the environment of a release that uses a pool of pgbouncer."""
        found = {"PORT": str(port), "POOL": pool, "RELEASE": Path(directory).name}
        return found | {"PATH": os.environ["PATH"]}

    def note(self, what: str) -> Callable[..., None]:
        """Return a function that notes its calls."""
        return lambda *given: self.calls.append((what, *given))

    def upgrade(self, directory: str, update: list[str], install: list[str]) -> Any:
        """Note what changes, and return the commands."""
        self.calls.append(("upgrade", update, install))
        return self.work

    def run_all(self, argv: list[str], **options: Any) -> dict[str, Any]:
        """Pretend that a command ran. It writes a log."""
        self.commands.append((argv, options))
        self.linked.append(os.readlink(self.files) if self.files.is_symlink() else "")
        with self.log.open("a") as log:
            log.write(f"log of {' '.join(argv)}\n")
        failed = bool(self.failing) and self.failing in argv
        return {"retcode": 3 if failed else 0, "stdout": self.said if failed else ""}

    def health(self, url: str, cookie: str, patience: int = 0) -> str:
        """Note a question, and return why the application does not answer."""
        assert cookie == "a=b"
        place, _, path = url.removeprefix("http://").partition("/")
        self.asked.append(f"/{path}")
        assert place.startswith("127.0.0.1:")
        return self.answers.get(f"/{path}", "")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host of an Odoo."""
    return Host(tmp_path, monkeypatch, "odoo")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host of a Node application."""
    (tmp_path / "node").mkdir()
    return Host(tmp_path / "node", monkeypatch, "node")


def failed(call: Callable[[], Any]) -> str:
    """Return why a call fails."""
    with pytest.raises(CommandExecutionError) as caught:
        call()
    return str(caught.value)


# The plan


def test_o8_the_plan_has_what_changes(host: Host, node: Host) -> None:
    """O8: A Node application has no modules to install."""
    plan = {"former": NAME, "release": NEXT, "differing": ["crm"], "missing": ["web"]}
    assert host.module.plan() == plan | {"rolls": False}
    assert node.module.plan() == plan | {"missing": [], "rolls": False}
    assert (host.calls, host.commands, host.database.asked) == ([], [], [])


@pytest.mark.parametrize(
    ("differing", "missing"), [(["crm"], []), ([], ["web"]), (["crm"], ["web"])]
)
def test_o8_an_odoo_stops_for_every_changed_or_new_module(
    host: Host, differing: list[str], missing: list[str]
) -> None:
    """O8: The former release would meet tables that do not fit its modules."""
    host.found["differing"], host.missing = differing, missing
    assert host.module.plan()["rolls"] is False


@pytest.mark.parametrize(
    ("differing", "compatible", "rolls"),
    [
        (["m/2.js"], ["m/2.js"], True),
        (["m/2.js", "m/3.js"], ["m/1.js", "m/3.js", "m/2.js"], True),
        (["m/2.js", "m/3.js"], ["m/2.js"], False),
        (["m/2.js"], [], False),
    ],
)
def test_o8_a_node_application_goes_on_if_every_migration_is_compatible(
    node: Host, differing: list[str], compatible: list[str], rolls: bool
) -> None:
    """O8: One that the definition does not list stops it."""
    node.found["differing"] = differing
    node.compatible += compatible
    assert node.module.plan()["rolls"] is rolls


def test_o1_a_copy_has_a_plan_of_its_own(host: Host) -> None:
    """O1: Its modules and its release count, and not those of the application's database."""
    host.others[COPY] = {"release": NEXT, "differing": ["sale"], "missing": []}
    plan = {"former": NEXT, "release": NEXT, "differing": ["sale"], "missing": [], "rolls": False}
    assert host.module.plan(COPY) == plan


def test_o8_a_database_without_a_record_belongs_to_the_release_that_runs(host: Host) -> None:
    """O8: The plan names it all the same."""
    host.found = {"release": "", "differing": [], "recorded": False}
    assert host.module.plan()["former"] == NAME


def test_k5_a_plan_needs_the_release(host: Host) -> None:
    """K5: The error says how the host gets it."""
    host.complete = False
    host.salt["schema.obstacle"] = never
    assert failed(host.module.plan) == (
        f"{host.directory} is not complete; apply the states of this host"
    )
    assert host.module.fetch() == f"{host.directory} from /mnt/nas/releases"


# The copy gets the release


def test_o8_the_copy_gets_the_release_and_its_record(host: Host) -> None:
    """O8: The commands run beside the service, and the running database stays as it is.

    The copy has the files of the database meanwhile.
    """
    host.copied.belongs(NAME, crm="old")
    assert host.module.run(False, 60) == ["modules: 1 updated", "models were read"]
    assert [argv for argv, _ in host.commands] == [
        ["setpriv", "--", *UPDATE["command"]],
        ["setpriv", "--", *READ["command"]],
    ]
    for (_, options), stdin in zip(host.commands, (None, "script"), strict=True):
        assert (options["cwd"], options["stdin"]) == (str(host.directory), stdin)
        assert options["clean_env"] and options["output_loglevel"] == "quiet"
        assert options["timeout"] == 60  # a command that waits for ever is killed
    assert host.linked == ["crm", "crm"] and not host.files.is_symlink()
    assert ("upgrade", ["crm"], ["web"]) in host.calls
    assert (host.copied.release, host.copied.parts) == (NEXT, {"crm": NEXT})
    assert (host.database.release, host.database.changes) == ("", [])
    assert not [sql for sql in host.copied.changes if sql.startswith("DO")]


def test_o8_the_checks_of_the_operators_run_on_the_changed_copy(host: Host) -> None:
    """O8: Each in its turn, with the environment of the copy; the first that fails ends it."""
    host.checks += ["a.py", "b.py"]
    done = host.module.run(True, 100)
    assert done[-2:] == ["a.py passed", "b.py passed"]
    ran, environments = zip(*[(argv, given["env"]) for argv, given in host.commands], strict=True)
    assert [argv[2:] for argv in ran[-2:]] == [["check", NEXT, "a.py"], ["check", NEXT, "b.py"]]
    assert [env["POOL"] for env in environments[-2:]] == [COPY, COPY]
    host.failing = "a.py"
    count = len(host.commands)
    assert "a.py" in failed(lambda: host.module.run(True, 100))
    assert "b.py" not in str(host.commands[count:])


def test_o8_no_check_runs_on_a_copy_that_becomes_the_database(host: Host) -> None:
    """O8, X10: It may leave something behind, or write to customers. The rehearsal had it."""
    host.checks += ["a.py"]
    host.salt["odoo.check"] = never
    assert host.module.run(False, 100) == ["modules: 1 updated", "models were read"]
    assert len(host.commands) == 2
    assert host.copied.release == NEXT


def test_o1_the_copy_says_what_changes_in_it(host: Host) -> None:
    """O1, O8: It may be of another application, or older than the running database."""
    host.others[COPY] = {"differing": ["sale", "stock"], "missing": ["crm"]}
    host.module.run(True, 60)
    assert host.calls == [("upgrade", ["sale", "stock"], ["crm"])]


@pytest.mark.parametrize("kind", ["odoo", "node"])
def test_x10_a_neutral_copy_reaches_nobody(kind: str, request: pytest.FixtureRequest) -> None:
    """X10: Mail, jobs and payments are off, and sessions gone, before the first command runs."""
    host = request.getfixturevalue({"odoo": "host"}.get(kind, kind))
    usual, seen = host.salt["cmd.run_all"], list[list[str]]()

    def run_all(argv: list[str], **options: Any) -> Any:
        seen.append([*host.copied.changes])
        return usual(argv, **options)

    host.salt["cmd.run_all"] = run_all
    host.module.run(True, 60)
    neutral = copy.neutral(host.module.__pillar__["app"])
    assert seen == [neutral] * 2 and len(neutral) >= 2
    assert host.database.changes == []


@pytest.mark.parametrize("kind", ["odoo", "node"])
def test_x10_a_copy_is_neutral_before_it_gets_a_release(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """O1, X10: Only the copy changes, and no command runs."""
    host = request.getfixturevalue({"odoo": "host"}.get(kind, kind))
    host.module.neutralise()
    assert host.copied.changes == copy.neutral(host.module.__pillar__["app"])
    assert (host.database.changes, host.commands, host.calls) == ([], [], [])


def test_k5_a_statement_that_is_refused_is_told(node: Host) -> None:
    """X10, K5: The definition may have a fault. No command runs with a copy that is not neutral."""
    usual = node.copied.query

    def query(sql: str) -> list[str]:
        if sql.startswith("UPDATE mails"):
            raise PsqlError('relation "mails" does not exist')
        return usual(sql)

    node.copied.query = query  # type: ignore[method-assign]
    said = f'{COPY}: it cannot be neutralised: relation "mails" does not exist'
    for call in (lambda: node.module.run(True, 60), node.module.neutralise):
        assert failed(call) == said
    assert (node.commands, node.copied.release) == ([], "")


def test_o8_the_steps_of_a_revision_are_marked_in_the_copy(node: Host) -> None:
    """O8, S9: The next apply does not run the migrations again, and the former database has none.

    A Node application has no files that belong to a database.
    """
    node.work = [MIGRATE]
    assert node.module.run(False, 60) == ["migrate"]
    assert (node.copied.marks, node.copied.release) == (["migrate at c0ffee"], NEXT)
    assert (node.database.marks, node.linked) == ([], [""])


@pytest.mark.parametrize("runs", [NAME, NEXT, ""])
def test_o9_the_former_database_says_which_code_it_needs(host: Host, runs: str) -> None:
    """O9: Even one from before there were records, if this host runs that code."""
    host.runs = runs
    host.module.settle()
    recorded = ("record", str(host.directory.with_name(NAME)))
    assert [call for call in host.calls if call[0] == "record"] == [recorded] * (runs == NAME)


def test_k5_a_command_that_fails_shows_the_end_of_the_log(host: Host) -> None:
    """O8, K5: Nothing is recorded, nothing else runs, and the files of the database stay."""
    host.failing = "--update=crm"
    host.said = "\n".join(f"line {number}" for number in range(100))
    host.log.write_text("an earlier upgrade\n")
    said = failed(lambda: host.module.run(False, 60)).splitlines()
    assert said[0] == "this command ended with exit code 3: odoo-bin --update=crm"
    assert said[1:41] == [f"line {number}" for number in range(60, 100)]
    assert said[41:] == ["log of setpriv -- odoo-bin --update=crm"]
    assert len(host.commands) == 1
    assert host.linked == ["crm"] and not host.files.is_symlink()
    assert (host.copied.release, host.copied.marks) == ("", [])


def test_k2_the_link_that_a_killed_job_left_is_replaced(host: Host) -> None:
    """K2: It may lead elsewhere."""
    host.files.symlink_to("nowhere")
    host.module.run(False, 60)
    assert host.linked == ["crm", "crm"] and not host.files.is_symlink()


def test_k5_the_copy_does_not_answer(host: Host) -> None:
    """K5: The error names the copy, and what could not be done."""
    host.copied.down = "it is away"
    assert (
        failed(lambda: host.module.run(True, 60)) == f"{COPY}: it cannot be neutralised: it is away"
    )

    def query(sql: str) -> list[str]:
        raise PsqlError("the disk is full")

    host.copied.down = ""
    host.copied.query = query  # type: ignore[method-assign]
    said = f"{COPY}: the release is not recorded: the disk is full"
    assert failed(lambda: host.module.run(False, 60)) == said


# The running database gets the release


@pytest.fixture
def rolling(node: Host) -> Host:
    """A host of a Node application whose former release works with the new migration."""
    node.found["differing"] = ["migrations/2.js"]
    node.compatible.append("migrations/2.js")
    node.work = [MIGRATE]
    node.database.belongs(NAME)
    return node


def test_o8_the_running_database_gets_the_release_and_its_record(rolling: Host) -> None:
    """O8, S9: Its steps are marked there. The former release goes on, and nothing is copied."""
    assert rolling.module.migrate(60) == ["migrate"]
    [(argv, options)] = rolling.commands
    assert argv == ["setpriv", "--", *MIGRATE["command"]]
    assert (options["cwd"], options["timeout"]) == (str(rolling.directory), 60)
    assert options["clean_env"] and options["output_loglevel"] == "quiet"
    assert rolling.database.marks == ["migrate at c0ffee"]
    assert (rolling.database.release, rolling.database.parts) == (NEXT, {"crm": NEXT})
    assert [*rolling.database.others] == ["crm"]
    assert rolling.calls == [("upgrade", ["migrations/2.js"], [])]


@pytest.mark.parametrize("pool", [STEPS, COPY])
def test_o8_a_command_has_the_environment_of_the_new_release(rolling: Host, pool: str) -> None:
    """O8, S9: Users may fill the application's pool, so it gets another one.

    A command may have variables and secrets.
    """
    own = {"env": {"LEVEL": "debug"}, "secrets": {"LOGIN_PASSWORD": "login_password"}}
    rolling.work = [MIGRATE | own, MIGRATE]
    rolling.module.__pillar__["app"]["secrets"] = {"login_password": "canary", "other": "secret"}
    if pool == COPY:
        rolling.module.run(True, 60)
    else:
        rolling.module.migrate(60)
    usual = rolling.environment(0, pool, str(rolling.directory))
    assert [options["env"] for _, options in rolling.commands] == [
        usual | {"LEVEL": "debug", "LOGIN_PASSWORD": "canary"},
        usual,
    ]


@pytest.mark.parametrize("pool", [STEPS, COPY])
def test_o8_a_release_reaches_its_database_by_way_of_a_pool(tmp_path: Path, pool: str) -> None:
    """O8: Its other variables are those of the application that serves."""
    module: Any = load("_modules/upgrade.py", pillar=fleets.pillar("s1", application="crm-2017"))
    module.Path = lambda path: tmp_path / path.removeprefix("/")
    (tmp_path / "etc" / "node").mkdir(parents=True)
    usual = 'DATABASE_URL="postgres://crm:x@127.0.0.1:6432/crm"\nPORT="3000"\nTZ="UTC"\n'
    (tmp_path / "etc" / "node" / "environment").write_text(usual)
    found = module._environment(40000, pool, "/release")
    assert found["DATABASE_URL"].endswith(f"@127.0.0.1:6432/{pool}")
    assert (found["PORT"], found["TZ"]) == ("40000", "UTC")


def test_o8_a_running_database_that_must_not_change(host: Host, node: Host) -> None:
    """O8, K5: The former release would not work with it, so no command runs."""
    node.compatible.append("migrations/2.js")
    host.salt["odoo.upgrade"] = node.salt["node.upgrade"] = never
    for one in (host, node):
        said = failed(partial(one.module.migrate, 60))
        assert said == "the former release does not work with the changed database"
        assert (one.commands, one.database.changes) == ([], [])


def test_k5_a_migration_that_fails_shows_the_end_of_the_log(rolling: Host) -> None:
    """O8, K5: The database still names the former release, and no step counts as done."""
    rolling.work, rolling.failing = [MIGRATE, BROKEN, MIGRATE], "broken.js"
    rolling.said = "\n".join(f"line {number}" for number in range(100))
    rolling.log.write_text("an earlier upgrade\n")
    said = failed(lambda: rolling.module.migrate(60)).splitlines()
    assert said[0] == "this command ended with exit code 3: node broken.js"
    assert said[1:41] == [f"line {number}" for number in range(60, 100)]
    assert said[41:] == ["log of setpriv -- node broken.js"]
    assert len(rolling.commands) == 2
    assert (rolling.database.release, rolling.database.marks) == (NAME, [])
    assert rolling.database.changes == []


def test_k5_the_running_database_takes_no_record(rolling: Host) -> None:
    """K5: The error names the database, which may have changed already."""
    rolling.database.down = "it is away"
    said = "crm: the release is not recorded: it is away"
    assert failed(lambda: rolling.module.migrate(60)) == said


# The release is tried


def living(host: Host) -> list[Any]:
    """Have the processes noted that the host starts."""
    processes, usual = list[Any](), host.module.subprocess.Popen

    def start(argv: list[str], **options: Any) -> Any:
        assert argv[:2] == ["setpriv", "--"]
        processes.append(usual(argv[2:], **options))
        return processes[-1]

    class Subprocess:
        DEVNULL, STDOUT = host.module.subprocess.DEVNULL, host.module.subprocess.STDOUT
        Popen = staticmethod(start)

    host.module.subprocess = Subprocess
    return processes


def test_o8_a_release_is_tried_and_ends(host: Host) -> None:
    """O8: Its health and its pages are asked for, and its process is gone afterwards."""
    processes = living(host)
    assert host.module.check(NEXT) == ["/web/health", "/web/login"]
    assert host.asked == ["/web/health", "/web/login"]
    [process] = processes
    assert process.returncode is not None
    assert not host.files.is_symlink()


@pytest.mark.parametrize("name", [NAME, NEXT])
def test_o8_either_release_is_tried_with_the_copy(host: Host, name: str) -> None:
    """O8: The former one as well, in its own directory and with its own programs."""
    place = host.directory.with_name(name)
    place.mkdir(exist_ok=True)
    host.server = [sys.executable, "-c", SHOW]
    host.answers["/web/health"] = "[Errno 111] Connection refused"
    living(host)
    said = failed(lambda: host.module.check(name))
    assert said == f"the application ended\n{place} {place} {COPY} {name}"


def test_k5_a_release_that_is_not_complete_is_not_tried(host: Host) -> None:
    """O8, K5: The error names its directory, and how the host gets it. Nothing starts."""
    former = str(host.directory.with_name(NAME))
    host.salt["release.complete"] = lambda directory: directory != former
    processes = living(host)
    said = failed(lambda: host.module.check(NAME))
    assert said == f"{former} is not complete; apply the states of this host"
    assert (processes, host.asked) == ([], [])
    assert host.module.check(NEXT) == ["/web/health", "/web/login"]


def test_k5_a_page_that_does_not_answer(host: Host) -> None:
    """O8, K5: The error has the page and what the application has printed. Its process is gone."""
    host.answers["/web/login"] = "status 500"
    processes = living(host)
    said = failed(lambda: host.module.check(NEXT))
    assert said.startswith("/web/login: status 500")
    assert processes[0].returncode is not None
    assert not host.files.is_symlink()


def test_k5_a_release_that_does_not_start(host: Host) -> None:
    """O8, K5: The error has what it printed, and comes at once."""
    host.server = [sys.executable, "-c", "print('no such module'); raise SystemExit(1)"]
    host.answers["/web/health"] = "[Errno 111] Connection refused"
    processes = living(host)
    said = failed(lambda: host.module.check(NEXT))
    assert said == "the application ended\nno such module"
    assert processes[0].returncode == 1


def test_k5_a_release_that_does_not_answer_in_time(host: Host) -> None:
    """O8, K2, K5: It is not left running."""
    host.module.ANSWER = 0
    host.answers["/web/health"] = "status 503"
    processes = living(host)
    said = failed(lambda: host.module.check(NEXT))
    assert said.startswith("waited 0 s for http://127.0.0.1:")
    assert "/web/health: status 503" in said
    assert processes[0].returncode is not None


def test_k2_a_check_that_is_stopped_leaves_no_process(host: Host) -> None:
    """K2: An operator may end it at any moment."""
    processes = living(host)

    def stopped(*_: Any) -> str:
        raise KeyboardInterrupt

    host.salt["application.health"] = stopped
    with pytest.raises(KeyboardInterrupt):
        host.module.check(NEXT)
    assert processes[0].returncode is not None
    assert not host.files.is_symlink()


def test_x10_the_release_that_is_tried_runs_as_its_user(tmp_path: Path) -> None:
    """X10: It dies with the job, and has the environment of its application for the copy."""
    module: Any = load("_modules/upgrade.py", pillar={"app": {"kind": "node"}})
    assert module._become() == [
        *("setpriv", "--pdeathsig=KILL", "--reuid=node", "--regid=node", "--init-groups", "--")
    ]
    assert 1024 <= module._free_port() <= 65535


# The change


def test_o8_a_host_gets_another_release_for_its_next_start(host: Host) -> None:
    """O8, K2: Code and database fit from now on, so it may start by itself if the master dies."""
    host.module.switch(NAME)
    assert host.calls == [("activate", str(host.directory.with_name(NAME))), ("later", 600)]


def test_o9_a_stopped_host_follows_its_database(host: Host) -> None:
    """O9: After a restore the code fits the database before anything starts."""
    host.runs = NEXT
    due = {"name": NEXT, "waits": [], "recorded": NEXT}
    host.salt["release.due"] = lambda: due
    assert host.module.follow() == NEXT and host.calls == []
    due["name"] = NAME
    assert host.module.follow() == NAME
    directory = str(host.directory.with_name(NAME))
    assert host.calls == [("fetch", directory, "/mnt/nas/releases"), ("activate", directory),
                          ("later", 600)]  # fmt: skip


class Door:
    """The closed host: what happens while nginx answers nobody, and what happens outside of that.

    `events`: each call with whether the host was closed at that moment.
    """

    def __init__(self, host: Host) -> None:
        self.host, self.events = host, list[tuple[str, bool]]()
        for name in ("application.start", "application.stop", "application.health"):
            self.watch(name)
        for name in ("service.stop", "cmd.run_all"):
            self.watch(name)

    def watch(self, name: str) -> None:
        """Note the calls of one of Salt's functions."""
        usual = self.host.salt[name]

        def watched(*given: Any, **options: Any) -> Any:
            self.events.append((name, self.host.closed.exists()))
            return usual(*given, **options)

        self.host.salt[name] = watched

    def fails(self, name: str, error: BaseException) -> None:
        """Let one of Salt's functions fail."""

        def fail(*_: Any) -> None:
            raise error

        self.host.salt[name] = fail
        self.watch(name)

    def serve(self) -> BaseException | None:
        """Start the application, and return why that fails."""
        self.events.clear()
        self.host.calls.clear()
        self.host.commands.clear()
        try:
            assert self.host.module.serve() == ["/web/health", "/web/login"]
        except BaseException as error:
            return error
        return None


@pytest.fixture
def door(host: Host) -> Door:
    return Door(host)


TIMER, AGAIN = "salina-open.timer", 600
CLOSES = [("service.stop", False), ("cmd.run_all", False)]
OPENS = [("service.stop", False)]
"""First the timer of an earlier upgrade goes, and at last the own one."""


def test_o8_the_application_serves_again(door: Door) -> None:
    """O8: It counts as soon as its pages answer, and nobody reaches it before that."""
    assert door.serve() is None
    inside = ["application.start", "application.health", "application.health"]
    assert door.events == [*CLOSES, *((name, True) for name in inside), *OPENS]
    assert door.host.asked == ["/web/health", "/web/login"]
    assert door.host.calls == [("forget", TIMER), ("start",), ("forget", TIMER)]
    assert not door.host.closed.exists()


def test_k2_a_closed_host_opens_by_itself(door: Door) -> None:
    """O8, K2: Its job may be killed. The timer is there before the host is closed, and removes just
    what closes it.
    """
    assert door.serve() is None
    ((argv, _),) = door.host.commands
    begin = argv.index("systemd-run")
    module = door.host.module
    longest = module.ANSWER + 2 * module.PAGE + AGAIN  # for the health path and one page
    options = ["--collect", "--unit=salina-open", f"--on-active={longest}"]
    assert argv[begin + 1 :] == [*options, "rm", "--force", str(door.host.closed)]
    assert module.LATER == AGAIN
    door.host.closed.touch()  # a killed job leaves it
    assert door.serve() is None
    assert not door.host.closed.exists()


def test_k5_a_host_that_cannot_open_by_itself_is_never_closed(door: Door) -> None:
    """O8, K2, K5: Without the timer the application does not start either."""
    door.host.failing, door.host.said = "systemd-run", "Failed to connect to bus"
    usual = door.host.salt["cmd.run_all"]
    door.host.salt["cmd.run_all"] = lambda *given, **more: usual(*given, **more) | {"stderr": ""}
    assert str(door.serve()).endswith(": Failed to connect to bus")
    assert door.events == CLOSES
    assert not door.host.closed.exists() and ("start",) not in door.host.calls


def test_k5_an_application_that_does_not_serve_is_stopped_first(door: Door) -> None:
    """O8, K5: The host opens only when nobody could use the release that has failed."""
    door.host.answers["/web/login"] = "status 500"
    assert str(door.serve()) == "/web/login: status 500"
    inside = ["start", "health", "health", "stop"]
    assert door.events == [*CLOSES, *((f"application.{one}", True) for one in inside), *OPENS]
    assert ("stop", AGAIN) in door.host.calls
    door.host.module.ANSWER = 0
    door.host.answers["/web/health"] = "status 503"
    said = "waited 0 s for http://127.0.0.1:8069/web/health: status 503"
    assert str(door.serve()) == said
    assert (door.events[-2:], door.host.closed.exists()) == (
        [("application.stop", True), *OPENS],
        False,
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CommandExecutionError("systemctl start odoo: no such unit"), CommandExecutionError),
        (OSError("no room"), CommandExecutionError),
        (KeyboardInterrupt("stopped"), KeyboardInterrupt),
        (SystemExit("ended"), SystemExit),
    ],
)
def test_k5_whatever_fails_stops_the_application_and_opens_the_host(
    door: Door, error: BaseException, kind: type[BaseException]
) -> None:
    """O8, K2, K5: The error stays what it was, so a job that is ended has ended."""
    door.fails("application.start", error)
    found = door.serve()
    assert (type(found), str(found)) == (kind, str(error))
    assert door.events == [
        *CLOSES,
        ("application.start", True),
        ("application.stop", True),
        *OPENS,
    ]
    assert not door.host.closed.exists()


def test_k5_an_application_that_cannot_be_stopped_is_no_second_fault(door: Door) -> None:
    """O8, K5: The operator reads why it does not serve, and the host opens."""
    door.host.answers["/web/login"] = "status 500"
    door.fails("application.stop", CommandExecutionError("systemctl stop odoo: failed"))
    assert str(door.serve()) == "/web/login: status 500"
    assert not door.host.closed.exists()
    assert door.events[-1:] == OPENS


def test_o8_nginx_closes_the_host_by_the_same_file() -> None:
    """O8: Users and the health agent get 503 then. The balancers' checks still reach the agent."""
    text = (fleets.REPOSITORY / "salt/nginx/files/nginx.conf").read_text()
    path = load("_modules/upgrade.py").CLOSED
    assert path.startswith("/run/")  # a host that boots is open
    rule = " ".join(f"if (-f {path}) {{ return 503; }}".split())
    checks, *others = text.split("    server {\n        listen {{ address }}:{{ app.port }}")[1:]
    assert rule not in " ".join(checks.split())
    (site,) = others
    assert "default_server" in site and rule in " ".join(site.split())
    assert " ".join(site.split()).index(rule) < " ".join(site.split()).index("location")


def test_k2_the_work_of_an_interrupted_upgrade_ends(host: Host) -> None:
    """K2: Its jobs go on without their orchestration, and would write into the next copy."""
    jobs = {"upgrade.run": [{"jid": "1"}], "upgrade.check": [{"jid": "2"}]}
    killed: list[str] = []

    def kill(job: str) -> None:
        killed.append(job)
        for left in jobs.values():
            left[:] = [one for one in left if one["jid"] != job]

    host.salt["saltutil.is_running"] = lambda function: jobs.get(function, [])
    host.salt["saltutil.kill_job"] = kill
    assert host.module.end() == killed == ["1", "2"]
    assert host.module.end() == []


def test_k2_work_that_does_not_end_is_told(host: Host) -> None:
    """K2: Nobody copies the database beside it."""
    host.module.KILLED = 0
    host.salt["saltutil.is_running"] = lambda name: [{"jid": "1"}] * (name == "upgrade.run")
    host.salt["saltutil.kill_job"] = lambda job: None
    with pytest.raises(CommandExecutionError, match="the jobs of an earlier upgrade to end: 1"):
        host.module.end()
