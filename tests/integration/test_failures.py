"""Bad files, failing steps and dead hosts: the error says where, what and why, and nothing is
done.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.commands import deploy
from lab.errors import LabError
from tests.integration.conftest import MINIONS, Installation

TOPOLOGY = """\
service: {address: 10.9.0.5, tls: false}
applications: {crm: {domain: crm.example, definition: odoo-14.0}}
networks: {lan: 10.9.0.0/24}
links: {clients: lan, edge: lan, web: lan, data: lan, management: lan}
hosts:
  salt: {roles: [master, balancer], addresses: {lan: 10.9.0.5}}
  nas1: {roles: [storage, quorum, database], first: true, addresses: {lan: 10.9.0.6}}
  s1: {roles: [app], addresses: {lan: 10.9.0.7}}
"""
PREPARE = "nothing to do: test.nop\n"
TOP = "base: {'*': [harmless]}\n"
HARMLESS = """\
written:
  file.managed:
    - name: {{ opts.root_dir }}/written
    - contents: something
"""
BROKEN = """
{%- if grains.id == "nas1" %}
broken:
  cmd.run:
    - name: echo no such thing >&2; exit 3
{%- endif %}
"""
STEPS = """\
failing state:
  salt.state: [tgt: nas1, sls: harmless]
broken file:
  salt.state: [tgt: s1, sls: unrenderable]
runner:
  salt.runner: [name: fleet.ready, hosts: [eve]]
gluster.volumes:
  salt.function: [tgt: nas1]
nobody:
  salt.state: [tgt: [], tgt_type: list, sls: harmless]
every step succeeded:
  orchestration.succeeded: [order: last]
"""
CAUSE = """\
nas1: broken (cmd.run)
  Command "echo no such thing >&2; exit 3" run
  no such thing"""
TOLD = f"""\
{CAUSE}
s1: state.apply
  Rendering SLS 'base:unrenderable' failed: Jinja variable 'nonsense' is undefined; line 1
  .
  ---
  {{{{ nonsense.a }}}}    <======================
  ---
master: runner (salt.runner)
  eve is not a host of the fleet; `salt-run topology.show` lists all hosts
nas1: gluster.volumes
  ERROR: GlusterFS is not installed on this host
master: nobody (salt.state)
  No minions returned
next: salt nas1 state.apply"""


@pytest.fixture(scope="module", autouse=True)
def harmless(installation: Installation) -> Iterator[None]:
    """The three hosts, and a file that each of them is to get; afterwards the repository's own."""
    files = {
        "pillar/topology.yaml": TOPOLOGY,
        "salt/top.sls": TOP,
        "salt/prepare/init.sls": PREPARE,
        "salt/harmless.sls": HARMLESS,
    }
    for name in files:
        if (installation.repository / name).exists():
            shutil.copy(installation.repository / name, installation.repository / f"{name}.kept")
    for name, text in files.items():
        (installation.repository / name).write_text(text)
    yield
    for name in files:
        (installation.repository / name).unlink()
        if (installation.repository / f"{name}.kept").exists():
            (installation.repository / f"{name}.kept").rename(installation.repository / name)


@pytest.fixture
def written(installation: Installation) -> Iterator[dict[str, Path]]:
    """Where the hosts' files are, once they are written."""
    files = {
        name: Path(installation.minions[name].config["root_dir"], "written") for name in MINIONS
    }
    for file in files.values():
        file.unlink(missing_ok=True)
    yield files


def there(written: dict[str, Path]) -> list[str]:
    """The hosts that have their file."""
    return [name for name, file in written.items() if file.exists()]


def failed(done: Any) -> LabError:
    """The error that `make up` ends with when an orchestration ended so."""
    assert done.returncode == 1, done
    with pytest.raises(LabError) as caught:
        deploy.judge(done.returncode, done.stdout, done.stderr)
    return caught.value


def last_word(done: Any) -> str:
    """Return the comment of an orchestration's last step."""
    (steps,) = done.data["data"].values()
    *_, last = steps.values()
    return str(last["comment"])


# Files with faults: where, what is in them, and the lines that say so.
BAD: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "binary": (
        "site/pillar/topology.yaml",
        b"\x7fELF\x02\x01\xff\x00",
        ("pillar/topology.yaml: the file is not text in UTF-8; save it as UTF-8",),
    ),
    "empty": (
        "site/pillar/topology.yaml",
        b"",
        ("pillar/topology.yaml: empty; must be a mapping",),
    ),
    "several faults": (
        "site/pillar/topology.yaml",
        TOPOLOGY.replace("0.7}", "0.6}").replace("[app]", "[ap]").encode() + b"hosts: {}\n",
        (
            "pillar/topology.yaml: hosts: is given twice (lines 5 and 9); remove one",
            'pillar/topology.yaml: hosts.s1.roles[0]: "ap" is not a role; choose one of: master, '
            "firewall, storage, quorum, database, backup, app, balancer, monitoring, "
            "management",
            "pillar/topology.yaml: hosts.s1.addresses.lan: 10.9.0.6 is already used by nas1; "
            "choose another address in 10.9.0.0/24",
        ),
    ),
    "settings": (
        "site/pillar/settings/tls.yaml",
        b"lifetime: 1\nlifetime: 2\n",
        (
            "pillar/settings/tls.yaml: lifetime: is given twice (lines 1 and 2); remove one",
            "pillar/settings/tls.yaml: lifetime: 1 is not valid; must be a duration such as 90d, "
            "12h or 30m",
        ),
    ),
    "application": (
        "site/pillar/app/odoo-14.0.yaml",
        b"\0",
        ("pillar/app/odoo-14.0.yaml: the file is not text: unacceptable character #x0000",),
    ),
    "members": (
        "state/members.json",
        b'{"web": ["s1"]}',
        ("members.json: web: unknown pool; there is none to choose from",),
    ),
}


@pytest.fixture
def faulty(place: Path, kind: str) -> Iterator[tuple[str, ...]]:
    """A bad file in the place of a good one, for one test; gives what is to be said of it."""
    name, content, lines = BAD[kind]
    file = place / name
    good = file.read_bytes() if file.exists() else None
    file.write_bytes(content)
    yield lines
    file.unlink()
    if good is not None:
        file.write_bytes(good)


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_stop_every_apply(
    installation: Installation, faulty: tuple[str, ...], written: dict[str, Path]
) -> None:
    """K5: Every host reports the faults, `salt` ends with an exit code, and nothing is changed."""
    applied = installation.salt("*", "state.apply", "harmless")
    assert applied.returncode != 0
    assert set(applied.data) == set(MINIONS)
    for line in faulty:
        assert all(line in "\n".join(told) for told in applied.data.values()), applied
    assert there(written) == []


@pytest.mark.parametrize("kind", ["several faults"])
def test_bad_topology_stops_the_deployment(
    installation: Installation, faulty: tuple[str, ...], written: dict[str, Path]
) -> None:
    """K5: Nothing is done, and the command that helps also ends with an exit code."""
    error = failed(installation.run("fleet.deploy"))
    assert error.advice.startswith("bin/lab salt-run topology.check ")
    refused = installation.run("state.orchestrate", "orch.deploy")
    assert refused.returncode == 1
    checked = installation.run("topology.check")
    assert checked.returncode == 1
    for line in faulty:
        assert line in str(error)
        assert line in last_word(refused)
        assert line in checked.stdout + checked.stderr
    assert there(written) == []


@pytest.fixture
def broken(installation: Installation) -> Iterator[None]:
    """A state that fails on nas1."""
    (installation.repository / "salt/harmless.sls").write_text(HARMLESS + BROKEN)
    yield
    (installation.repository / "salt/harmless.sls").write_text(HARMLESS)


def test_failing_state_ends_the_deployment(
    installation: Installation, broken: None, written: dict[str, Path]
) -> None:
    """K5: No later tier begins, and the error has host, state, cause and next command."""
    deployed = installation.run("state.orchestrate", "orch.deploy")
    assert last_word(deployed) == f"{CAUSE}\nnext: salt nas1 state.apply"
    assert there(written) == ["salt", "nas1"]
    error = failed(installation.run("fleet.deploy"))
    assert str(error) == f"the deployment failed:\n{CAUSE}"
    assert error.advice.startswith("bin/lab salt nas1 state.apply ")
    assert there(written) == ["salt", "nas1"]


def test_every_kind_of_step_tells_why_it_failed(installation: Installation, broken: None) -> None:
    """K5: Commands, modules, files and states all report why they failed."""
    files = {"orch/steps.sls": STEPS, "unrenderable.sls": "{{ nonsense.a }}\n"}
    for name, text in files.items():
        (installation.repository / "salt" / name).write_text(text)
    done = installation.run("state.orchestrate", "orch.steps")
    for name in files:
        (installation.repository / "salt" / name).unlink()
    assert done.returncode == 1
    assert last_word(done).replace("\n  \n", "\n  .\n") == TOLD


def test_a_state_that_is_refused_says_why_without_a_traceback(installation: Installation) -> None:
    """K5: A refused state reports the reason and no traceback."""
    volume = ("name=nas", "host=nas1", "replica=1", "bricks=[nas1:/nas]", "options={}", "wait=0")
    done = installation.salt("nas1", "state.single", "gluster.volume", *volume)
    assert done.returncode != 0
    (ret,) = done.data.values()
    assert (ret["result"], ret["comment"]) == (False, "GlusterFS is not installed on this host")


@pytest.fixture
def down(installation: Installation) -> Iterator[str]:
    """A host that does not answer, and a deployment that waits for it for a second only."""
    file = installation.repository / "salt/orch/change.jinja"
    good = file.read_text()
    name = "- name: {{ step.runner | json }}"
    assert name in good
    file.write_text(good.replace(name, f"{name}\n    - timeout: 1"))
    minion = psutil.Process(installation.minions["nas1"].pid)
    processes = [minion, *minion.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a job's, that ended meanwhile
            process.suspend()
    yield "nas1"
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()
    file.write_text(good)


def test_a_planned_host_that_is_down_is_an_error(
    installation: Installation, down: str, written: dict[str, Path]
) -> None:
    """K5: The error names a host that is down before anything is done."""
    deployed = installation.run("state.orchestrate", "orch.deploy")
    assert last_word(deployed) == (
        "master: every planned minion answers (salt.runner)\n"
        f"  {down} did not answer within 1 s; start each host that is down\n"
        "next: salt-run fleet.ready"
    )
    again = failed(installation.run("fleet.deploy"))
    assert again.advice.startswith("bin/lab salt-run fleet.ready ")
    assert there(written) == []
