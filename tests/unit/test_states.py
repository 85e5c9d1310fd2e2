"""Every state names the refused question or action, and the reason."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from salt.exceptions import CommandExecutionError

from salina.common import commands, state
from tests import fleets
from tests.conftest import REPOSITORY
from tests.loading import failure, load

HOSTS = ["nas1", "nas2", "nas3"]
BRICKS = [f"{host}:/nas" for host in HOSTS]
NAME = "c0ffee000000-0123abcd"
RELEASE, STORE = f"/opt/odoo/releases/{NAME}", "/mnt/nas/releases/crm"

#: Every state, and arguments for it.
CALLS: dict[str, tuple[Any, ...]] = {
    "application.database_answers": ("crm", 0),
    "application.healthy": ("http://127.0.0.1:8069/web/health", "/log", 0),
    "application.listening": ("nginx", "10.1.3.11", 80),
    "application.open_to_older": ("/c", "/dev/null", "10.1.3.11", 80, ["lb1"]),
    "application.reconfigured": ("odoo", [], [], NAME, "app"),
    "apt.release": ("bullseye",),
    "apt.whole": ("packages", 0),
    "balancer.app_hosts_have_tls": ("TLS on the app hosts", 0),
    "certificate.issued": ("/etcd.crt", "etcd"),
    "certificate.key_made": ("/host.key",),
    "daemon.all_upgraded": ("system", ["cron"]),
    "daemon.at_boot": ("ufw",),
    "daemon.current": ("patroni", ["/etc/patroni.yml"]),
    "daemon.current_afterwards": ("salt-minion", ["/etc/salt/minion"], "unit"),
    "daemon.running": ("nginx",),
    "daemon.upgraded": ("nginx",),
    "database.present": ("roles", 0),
    "gluster.brick": ("nas1:/nas", "nas"),
    "gluster.current": ("glusterd", ["nas"], HOSTS, [], 0),
    "clock.kept": ("chrony",),
    "gluster.mounted": ("/mnt/nas", "nas", HOSTS, 0),
    "gluster.peers": ("pool", "nas1", HOSTS, 0),
    "gluster.secured": ("nas1", HOSTS, True),
    "gluster.volume": ("nas", "nas1", 3, BRICKS, {}, 0),
    "odoo.configured": ("/etc/odoo/odoo.conf", "odoo"),
    "odoo.fits": ("odoo-fits",),
    "odoo.modules": ("odoo-modules",),
    "once.done": ("init", ["odoo-bin"], "odoo", "/"),
    "operators.settled": ("accounts", []),
    "patroni.configured": ("settings",),
    "patroni.its_turn": ("turn", False, 0),
    "patroni.working": ("patroni", 0, []),
    "pgbackrest.backed_up": ("first",),
    "pgbackrest.stanza": ("salina", 0),
    "python_environment.installed": ("/opt/patroni", "python3.9", "/lock.txt"),
    "quorum_users.present": ("users",),
    "quorum_users.required": ("login", 0),
    "quorum.joined": ("etcd", 0, []),
    "quorum.serves": ("quorum", ["10.1.4.21:2379"], 0),
    "release.active": (RELEASE, STORE, "odoo", "app", "http://127.0.0.1:8069/web/health", "/log"),
    "release.built": (RELEASE,),
    "release.first": (RELEASE, STORE, 0),
    "release.kept": (STORE, 3),
    "release.older_environment": ("/opt/odoo/production/.venv", "/opt/odoo/odoo-14.0"),
    "release.present": (RELEASE, STORE, 0),
    "reserved_ports.reserved": ("ports", 32768),
    "second_repository.fetched": ("backups",),
    "sshd.in_force": ("/dev/null", 22),
    "sshd.open_to_somebody": ("/etc/ssh/sshd_config.d/00-salina.conf",),
    "turn.ended": ("turn",),
    "verdict.recorded": ("apply",),
    "ufw.enabled": ("firewall", True, "low"),
    "ufw.rules": ("rules", [], [], []),
}
SAID = "`gluster volume info`: Connection failed."


class Refusing(dict[str, Any]):
    """Salt's functions, all of which raise; no module of this project raises anything else."""

    def __missing__(self, name: str) -> Callable[..., Any]:
        def refuse(*_: Any, **__: Any) -> Any:
            raise CommandExecutionError(SAID)

        return refuse


def states() -> dict[str, Callable[..., dict[str, Any]]]:
    """Every state function of the repository, by name."""
    given = {"opts": {"test": False}, "pillar": fleets.pillar("s1"), "states": Refusing()}
    found = {}
    for file in sorted((REPOSITORY / "_states").glob("*.py")):
        module: ModuleType = load(f"_states/{file.name}", salt=Refusing(), **given)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("_"):
                found[f"{file.stem}.{name}"] = function
    for name in ("orchestration.succeeded", "verdict.has_platform"):
        del found[name]  # they ask nothing and do nothing
    return found


STATES = states()


def test_every_state_is_here() -> None:
    assert sorted(STATES) == sorted(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_a_refusal_is_told_as_it_was_said(name: str) -> None:
    """K5: The error has the command and its output, as the modules report them, and no
    traceback.
    """
    assert failure(STATES[name](*CALLS[name])) == SAID


def test_salt_sees_the_arguments_of_the_state_itself() -> None:
    """Its own reader of signatures goes through the wrapper, and so do names and documentation."""
    from salt.utils.args import get_function_argspec

    found = get_function_argspec(STATES["gluster.brick"])
    assert list(found.args) == ["name", "volume"]
    assert "CLI Example" in str(STATES["gluster.brick"].__doc__)


@pytest.mark.parametrize("name", STATES)
def test_the_example_is_where_the_docstring_says(name: str) -> None:
    """How a state is used is shown by the SLS that uses it."""
    [file] = re.findall(r"CLI Example:\n +See (\S+)\.\n", STATES[name].__doc__ or "")
    assert f" {name}:\n" in (REPOSITORY / file).read_text()


@pytest.mark.parametrize(
    ("error", "comment"),
    [
        (CommandExecutionError("ufw reload: ERROR"), "ufw reload: ERROR"),
        (TimeoutError("waited 3 s for x: y"), "waited 3 s for x: y"),
        (OSError(28, "No space left on device", "/x"), "[Errno 28] No space left on device: '/x'"),
    ],
)
def test_what_a_state_fails_with(error: Exception, comment: str) -> None:
    @state.fails_plainly
    def failing(name: str) -> dict[str, Any]:
        raise error

    assert failure(failing("x")) == comment


def test_a_mistake_of_ours_is_shown_whole() -> None:
    @state.fails_plainly
    def failing(name: str) -> dict[str, Any]:
        raise KeyError(name)

    with pytest.raises(KeyError):
        failing("x")


def test_systemctl_names_the_command_and_what_was_said() -> None:
    done = list[Any]()
    salt = {"service.start": lambda name, **options: done.append((name, options))}
    commands.systemctl(salt, "start", "etcd", no_block=True)
    assert done == [("etcd", {"no_block": True})]
    with pytest.raises(CommandExecutionError) as caught:
        commands.systemctl(Refusing(), "reload", "haproxy")
    assert str(caught.value) == f"systemctl reload haproxy: {SAID}"


VALUE = re.compile(r"(?:^|[:,\[-] |\[)(\{\{.*?\}\})(?=$|[\s,\]}:])")
"""An expression that is a whole value, item or key of YAML."""


def bare(text: str) -> list[str]:
    """Return the expressions of a state file that YAML may read as another value.

    The lines of a block of text, comments and Jinja's own lines have no values of YAML.
    """
    found, block = [], -1
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if block >= 0 and line.strip() and depth <= block:
            block = -1
        if block < 0 and re.search(r"[:-] [|>]-?$", line):
            block = depth
        elif block < 0 and not line.lstrip().startswith(("#", "{%", "{#")):
            found += [one for one in VALUE.findall(line.strip()) if "json" not in one]
    return found


@pytest.mark.parametrize(
    "file",
    [*(REPOSITORY / "salt").rglob("*.sls"), REPOSITORY / "salt/orch/change.jinja"],
    ids=lambda file: str(file.relative_to(REPOSITORY)),
)
def test_k5_a_value_is_the_same_after_rendering(file: Path) -> None:
    """K5: Every value of a state is written through `| json`, so `010` or `no` stays what it is."""
    assert bare(file.read_text()) == []


def test_k5_a_value_without_json_would_be_found() -> None:
    """K5: also in a list, in a mapping on one line and as a key."""
    text = "a:\n  - {{ b }}\n  - c: {{ d }}\n  - {{ e }}:\n      f: {g: {{ h }}}\n  - [{{ i }}]\n"
    assert bare(text) == ["{{ b }}", "{{ d }}", "{{ e }}", "{{ h }}", "{{ i }}"]
    assert bare("a: '{{ b }}'\nc-{{ d }}:\n  e: |\n    {{ f }}\n  g: {{ h | json }}\n") == []


@pytest.mark.parametrize("value", ["no", "null", "010", "1234", "0x1f", "1:20", "1.10", "a: b"])
def test_k5_yaml_reads_json_as_it_was(value: Any) -> None:
    """K5: What JSON writes is the same text for YAML."""
    assert yaml.safe_load(f"a: {json.dumps(value)}") == {"a": value}
