"""K3: The plan of an apply says what the apply then does, on three real minions.

The states are like those of the real hosts: files, also with secrets, an environment, a release,
services that restart, reload, and take turns. Only systemd, pip and the release are pretended.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from salina.common import wait
from tests.integration.conftest import MINIONS, Installation
from tests.integration.test_failures import BAD, HARMLESS, harmless

__all__ = ["harmless"]  # this file's tests need the fixture of three hosts, too

pytestmark = pytest.mark.slow

SECRET = "4bUW2Q-secret"
PRETENDED = Path(__file__).with_name("pretended.py")
SLS = """\
{%- import_json "knobs.json" as knobs %}
{%- set knob, etc = knobs[grains.id], opts.root_dir ~ '/etc' %}
{%- set turn = {'nas1': 'storage', 's1': 'app', 'salt': 'master'}[grains.id] %}
include:
  - common.python

stale:
  file.absent:
    - name: {{ etc }}/stale
hosts-file:
  file.managed:
    - {name: {{ etc }}/hosts, contents: {{ knob.hosts }}, makedirs: True, mode: '0644'}
tls-ca:
  file.managed:
    - {name: {{ etc }}/ca.crt, contents: {{ knob.ca }}, require: [file: hosts-file]}
minion-config:
  file.managed:
    - {name: {{ etc }}/minion, contents: {{ knob.minion }}, require: [file: hosts-file]}
minion-current:
  daemon.current_afterwards:
    - {name: pretended-minion, files: [{{ etc }}/minion], unit: unit, order: last}

odoo-environment:
  python_environment.installed:
    - {name: {{ etc }}/odoo/environment, requirements: {{ knob.lock }}, interpreter: python3}
odoo-settings:
  file.managed:
    - name: {{ etc }}/odoo/odoo.conf
    - contents: 'limit = {{ knob.limit }}, password = {{ knobs.secret }}'
    - show_changes: False
    - mode: '0640'
    - require: [python_environment: odoo-environment]
odoo-unit:
  file.managed:
    - {name: {{ etc }}/odoo.service, contents: {{ knob.unit }}, require: [file: hosts-file]}
odoo-unit-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges: [file: odoo-unit]
odoo-release:
  release.active:
    - name: {{ etc }}/odoo/releases/{{ knob.revision }}
    - service: odoo
    - turn: {{ turn }}
    - url: http://127.0.0.1:8069/
    - log: /dev/null
    - require: [file: odoo-settings, module: odoo-unit-loaded]
odoo-service:
  service.running:
    - {name: odoo, enable: True, require: [release: odoo-release]}
odoo-upgraded:
  daemon.upgraded:
    - {name: odoo, turn: {{ turn }}, require: [service: odoo-service]}
odoo-current:
  daemon.current:
    - name: odoo
    - restart: True
    - turn: {{ turn }}
    - files:
        - {{ etc }}/odoo.service
        - {{ etc }}/odoo/odoo.conf
        - {{ etc }}/odoo/environment/salina.json
        - {{ etc }}/odoo/production.json
    - require: [daemon: odoo-upgraded]

nginx-configuration:
  file.managed:
    - {name: {{ etc }}/nginx.conf, contents: {{ knob.nginx }}, require: [file: hosts-file]}
nginx-listening:
  application.listening:
    - {name: nginx, address: 127.0.0.1, port: 80, require: [file: nginx-configuration]}
nginx-service:
  service.running:
    - {name: nginx, enable: True, require: [application: nginx-listening]}
nginx-current:
  daemon.current:
    - name: nginx
    - turn: {{ turn }}
    - files: [{{ etc }}/nginx.conf]
    - require: [service: nginx-service]

haproxy-default:
  file.managed:
    - {name: {{ etc }}/default, contents: {{ knob.default }}, require: [file: hosts-file]}
haproxy-fragment:
  file.managed:
    - {name: {{ etc }}/conf.d/10.cfg, contents: {{ knob.fragment }}, makedirs: True}
haproxy-service:
  service.running:
    - {name: haproxy, enable: True, require: [file: haproxy-default, file: haproxy-fragment]}
haproxy-restarted:
  daemon.current:
    - name: haproxy
    - restart: True
    - files: [{{ etc }}/default]
    - require: [service: haproxy-service]
haproxy-upgraded:
  daemon.upgraded:
    - {name: haproxy, reload: True, require: [daemon: haproxy-restarted]}
haproxy-reloaded:
  daemon.current:
    - name: haproxy
    - files: [{{ etc }}/conf.d/10.cfg, {{ etc }}/ca.crt, {{ etc }}/never]
    - require: [daemon: haproxy-upgraded, file: tls-ca]

turn-ended:
  turn.ended:
    - order: last
"""
SETTINGS = {
    name: f"{name}-0"
    for name in ("hosts", "ca", "minion", "lock", "limit", "unit", "nginx", "default", "fragment")
}
States = set[str]


class Host:
    """A minion, its settings at the master, and its disk."""

    def __init__(self, installation: Installation, name: str) -> None:
        self.installation = installation
        self.name = name
        self.root = Path(installation.minions[name].config["root_dir"])
        self.knobs = installation.repository / "salt/knobs.json"

    def set(self, *names: str, **values: str) -> None:
        """Change settings of this host, as an operator would."""
        knobs = json.loads(self.knobs.read_text())
        for name in names:
            knobs[self.name][name] += "1"
        knobs[self.name] |= values
        self.knobs.write_text(json.dumps(knobs))

    def file(self, name: str) -> Path:
        """A file on this host."""
        return self.root / "etc" / name

    def service(self, name: str, **facts: Any) -> None:
        """Let something happen to a service."""
        file = self.root / "services.json"
        found = json.loads(file.read_text())
        found[name] |= facts
        file.write_text(json.dumps(found))


RUNNING = {"running": True, "enabled": True, "started": 0, "read": 0, "listens": True}
STOPPED = {"running": False, "listens": False}


def touched(host: Host) -> None:
    """A killed run wrote the file, and never restarted the service."""
    later = time.time()
    os.utime(host.file("odoo/odoo.conf"), (later, later))


class Case(NamedTuple):
    """Something that changes, and the states that it changes."""

    change: Callable[[Host], object]
    states: States


TURN = {"turn-ended"}  # of the hosts with turns
CASES: dict[str, Case] = {
    "a limit": Case(lambda host: host.set("limit"), {"odoo-settings", "odoo-current", *TURN}),
    "a setting of nginx": Case(
        lambda host: host.set("nginx"), {"nginx-configuration", "nginx-current", *TURN}
    ),
    "a fragment": Case(lambda host: host.set("fragment"), {"haproxy-fragment", "haproxy-reloaded"}),
    "what only a start reads": Case(
        lambda host: host.set("default"), {"haproxy-default", "haproxy-restarted"}
    ),
    "both at once": Case(
        lambda host: host.set("default", "fragment"),
        {"haproxy-default", "haproxy-fragment", "haproxy-restarted"},
    ),
    "the CA": Case(lambda host: host.set("ca"), {"tls-ca", "haproxy-reloaded"}),
    "the names": Case(lambda host: host.set("hosts"), {"hosts-file"}),
    "the minion": Case(lambda host: host.set("minion"), {"minion-config", "minion-current"}),
    "a unit": Case(
        lambda host: host.set("unit"), {"odoo-unit", "odoo-unit-loaded", "odoo-current", *TURN}
    ),
    "an environment": Case(
        lambda host: host.set("lock"), {"odoo-environment", "odoo-current", *TURN}
    ),
    "a revision": Case(lambda host: host.set(revision="two"), {"odoo-release", *TURN}),
    "a revision with a limit and an environment": Case(
        lambda host: host.set("limit", "lock", revision="three"),
        {"odoo-environment", "odoo-settings", "odoo-release", *TURN},
    ),
    "a revision of a stopped service": Case(
        lambda host: (host.service("odoo", **STOPPED), host.set(revision="four")),
        {"odoo-release", "odoo-service"},
    ),
    "a file removed by hand": Case(
        lambda host: host.file("nginx.conf").unlink(),
        {"nginx-configuration", "nginx-current", *TURN},
    ),
    "a file changed by hand": Case(
        lambda host: host.file("conf.d/10.cfg").write_text("by hand"),
        {"haproxy-fragment", "haproxy-reloaded"},
    ),
    "rights changed by hand": Case(
        lambda host: host.file("odoo/odoo.conf").chmod(0o600), {"odoo-settings"}
    ),
    "a file that must not be there": Case(
        lambda host: host.file("stale").write_text("x"), {"stale"}
    ),
    "a stopped service": Case(lambda host: host.service("nginx", **STOPPED), {"nginx-service"}),
    "a stopped service with a setting": Case(
        lambda host: (host.service("nginx", **STOPPED), host.set("nginx")),
        {"nginx-configuration", "nginx-service"},
    ),
    "a disabled service": Case(lambda host: host.service("odoo", enabled=False), {"odoo-service"}),
    "an upgraded program": Case(
        lambda host: host.service("odoo", replaced=["/usr/bin/odoo"]), {"odoo-upgraded", *TURN}
    ),
    "an upgraded program with a limit": Case(
        lambda host: (host.service("odoo", replaced=["/usr/bin/odoo"]), host.set("limit")),
        {"odoo-settings", "odoo-upgraded", *TURN},
    ),
    "an upgraded program that a reload starts": Case(
        lambda host: (host.service("haproxy", replaced=["/usr/sbin/haproxy"]), host.set("ca")),
        {"tls-ca", "haproxy-upgraded"},
    ),
    "an upgraded program and a restart": Case(
        lambda host: host.set("default", "ca", "fragment"),
        {"tls-ca", "haproxy-default", "haproxy-fragment", "haproxy-restarted"},
    ),
    "an address on which nginx does not listen": Case(
        lambda host: (host.service("nginx", listens=False), host.set("nginx")),
        {"nginx-configuration", "nginx-listening"},
    ),
    "what a killed run left": Case(touched, {"odoo-current", *TURN}),
    "everything": Case(
        lambda host: host.set(*SETTINGS),
        {
            *("hosts-file", "tls-ca", "minion-config", "minion-current"),
            *("odoo-environment", "odoo-settings"),
            *("odoo-unit", "odoo-unit-loaded", "odoo-current", "nginx-configuration"),
            *("nginx-current", "haproxy-default", "haproxy-fragment", "haproxy-restarted"),
            *TURN,
        },
    ),
}


@pytest.fixture(scope="module")
def hosts(installation: Installation, harmless: None) -> Iterator[dict[str, Host]]:
    """The three hosts, which have applied the states; afterwards Salt's own modules again."""
    repository, modules = installation.repository, installation.repository / "_modules"
    knobs = {name: {**SETTINGS, "revision": "one"} for name in MINIONS}
    (repository / "salt/knobs.json").write_text(json.dumps({**knobs, "secret": SECRET}))
    (repository / "salt/harmless.sls").write_text(SLS)
    service, replaced = pretended()
    kept = {name: (modules / f"{name}.py").read_text() for name in (*replaced, "turn")}
    (modules / "systemd_service.py").write_text(service)
    (modules / "debian_service.py").write_text("def __virtual__():\n    return False\n")
    for name, functions in replaced.items():
        (modules / f"{name}.py").write_text(kept[name] + functions)
    drain = '__opts__["root_dir"] + "/drain"'
    (modules / "turn.py").write_text(kept["turn"].replace("agent.DRAIN", drain))
    found = {name: Host(installation, name) for name in MINIONS}
    for host in found.values():
        (host.root / "services.json").write_text(json.dumps({"pretended-minion": RUNNING}))
    applied = apply(installation)
    assert all(changed for changed in applied.values()), applied
    assert apply(installation) == {name: set() for name in MINIONS}
    yield found
    for name, text in kept.items():
        (modules / f"{name}.py").write_text(text)
    for name in ("systemd_service.py", "debian_service.py"):
        (modules / name).unlink()
    (repository / "salt/knobs.json").unlink()
    (repository / "salt/harmless.sls").write_text(HARMLESS)
    for name in MINIONS:
        installation.salt(name, "saltutil.sync_modules")


def pretended() -> tuple[str, dict[str, str]]:
    """Salt's module `service`, and the functions that replace those of this project's modules."""
    service, *parts = re.split(r"^# (\w+)$", PRETENDED.read_text(), flags=re.MULTILINE)
    return service, dict(zip(parts[::2], parts[1::2], strict=True))


def run(installation: Installation, *arguments: str) -> tuple[int, str, str]:
    """Run `salt-run fleet.plan …` as an operator does: the exit code, the output, the errors."""
    folder = Path(installation.master.config["conf_file"]).parent
    command = [str(Path(sys.executable).with_name("salt-run")), "-c", str(folder), "fleet.plan"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def planned(installation: Installation) -> tuple[dict[str, States], dict[str, Any]]:
    """The states of each host that the plan names, and the plan."""
    code, text, errors = run(installation, "--out=json")
    assert code == 0, text + errors
    assert SECRET not in text + errors
    plan = json.loads(text)
    states = {
        host: {change["state"] for change in one["changes"]} for host, one in plan["hosts"].items()
    }
    assert not any(one["notes"] or one["failures"] for one in plan["hosts"].values()), text
    return states, plan


def apply(installation: Installation) -> dict[str, States]:
    """Apply the states on all hosts, and return those of each host that changed something."""
    cli = installation.master.salt_cli(timeout=120)
    answers = cli.run("state.apply", minion_tgt="*").data
    failed = [
        f"{host}: {state['comment']}" if isinstance(state, dict) else f"{host}: {state}"
        for host, states in answers.items()
        for state in (states.values() if isinstance(states, dict) else [states])
        if not isinstance(state, dict) or state["result"] is not True
    ]
    assert not failed, failed
    return {
        host: {state["__id__"] for state in states.values() if state["changes"]}
        for host, states in answers.items()
    }


NAMES = list(CASES)
ROUNDS = [NAMES[at : at + 3] for at in range(0, len(NAMES), 3)]


@pytest.mark.proof
@pytest.mark.parametrize("names", ROUNDS, ids="; ".join)
def test_the_apply_does_what_the_plan_says(
    installation: Installation, hosts: dict[str, Host], names: list[str]
) -> None:
    """K3: Each host has another change, and the plan names exactly the states that change."""
    turns = len(names[0]) % len(MINIONS)
    order = [*MINIONS[turns:], *MINIONS[:turns]]
    wanted: dict[str, States] = {name: set() for name in MINIONS}
    for name, host in zip(names, order, strict=False):
        CASES[name].change(hosts[host])
        # s1 serves no requests, so it needs no turn
        wanted[host] = CASES[name].states - (TURN if host == "s1" else set())
    try:
        predicted, plan = planned(installation)
    finally:
        applied = apply(installation)
    assert (predicted, applied) == (wanted, wanted)
    for host, one in plan["hosts"].items():
        taking = any(change["turn"] for change in one["changes"])
        assert taking == ("turn-ended" in wanted[host]), one


def test_there_are_twenty_changes() -> None:
    assert len(CASES) >= 20


@pytest.mark.proof
def test_an_operator_reads_the_plan(installation: Installation, hosts: dict[str, Host]) -> None:
    """K3, K4: Differences, restarts, turns and a summary; no secret. A plan changes nothing, so the
    next one is the same, until an apply leaves nothing to do.
    """
    for name in ("salt", "nas1"):
        hosts[name].set("limit")
        hosts[name].set(nginx="gzip-off")
    code, text, _ = run(installation)
    print(text)
    assert code == 0
    lines = [line.strip() for line in text.splitlines()]
    assert "+gzip-off" in lines
    assert any(line.startswith("restart odoo in turn: /") for line in lines)
    assert any(line.startswith("reload nginx in turn: /") for line in lines)
    assert "its content changes; it may hold secrets, so it is not shown" in lines
    assert "no changes: s1" in lines
    assert lines[-1] == "2 hosts change, 2 restart odoo in turn, 2 reload nginx in turn"
    assert SECRET not in text
    code, text, _ = run(installation, "hosts=[s1]")
    assert (code, [line.strip() for line in text.splitlines()]) == (
        0,
        ["no changes: s1", "no host changes"],
    )
    predicted, _ = planned(installation)
    changes = CASES["a limit"].states | CASES["a setting of nginx"].states
    assert predicted == {"salt": changes, "nas1": changes, "s1": set()}
    assert apply(installation) == predicted
    assert planned(installation)[0] == {name: set() for name in MINIONS}


@pytest.mark.proof
def test_a_plan_without_a_host_is_incomplete(
    installation: Installation, hosts: dict[str, Host]
) -> None:
    """K5: A host that applies states already is named, and the exit code is not 0."""
    sls, held = installation.repository / "salt/harmless.sls", hosts["s1"].root / "held"
    held.touch()
    hold = f"timeout 120 sh -c 'while test -e {held}; do sleep 0.2; done'"
    slow = {"name": hold, "onlyif": "test {{ grains.id }} = s1"}
    sls.write_text(f"{SLS}\nslow:\n  cmd.run: [{json.dumps(slow)}]\n")
    job = installation.salt("s1", "--async", "state.apply")
    try:
        busy = lambda: installation.salt("s1", "saltutil.is_running", "state.*").data  # noqa: E731
        assert wait.until(busy, 30), job
        code, text, _ = run(installation)
        assert code == 1
        assert "s1: it applies states at the moment" in text
        assert "incomplete without 1 host" in text
        assert "Traceback" not in text
        code, text, _ = run(installation, "--out=json")
        assert (code, json.loads(text)["complete"]) == (1, False)
    finally:
        held.unlink()
        sls.write_text(SLS)
        ready: Any = installation.run("fleet.ready")
        assert ready.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["hosts=[eve]"], "eve is not a host of the fleet; `salt-run topology.show` lists all"),
        (["hosts=[s1]", "pool=app", "count=2"], "hosts: is not valid with a pool"),
        (["count=2"], "pool: "),
    ],
)
def test_a_bad_request(installation: Installation, arguments: list[str], fault: str) -> None:
    """K5: There is one clear error."""
    code, text, errors = run(installation, *arguments)
    assert code == 1
    assert fault in text + errors
    assert "Traceback" not in text + errors


def test_a_broken_topology(installation: Installation) -> None:
    """K5: The error is the one that every command gives, and no host is asked."""
    _, content, faults = BAD["several faults"]
    file = installation.repository / "pillar/topology.yaml"
    good = file.read_bytes()
    file.write_bytes(content)
    try:
        code, text, errors = run(installation)
    finally:
        file.write_bytes(good)
    assert code == 1
    assert text.splitlines()[0] == "salina: 3 faults"
    assert all(line in text for line in faults)
    assert "Traceback" not in text + errors
