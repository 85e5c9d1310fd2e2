"""S14: The operators of the topology, their accounts, their commands, and the hosts' keys."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
)

from salina.management import accounts, command
from salina.management.accounts import MARK, NO_SHELL, SHELL, Seen
from salina.verify import evidence
from salina_fleet import commands, host_key, operators
from salina_fleet.fleet import Fleet
from salina_fleet.model import settings, topology
from salina_fleet.model.ssh import SshSettings
from salina_fleet.model.topology import TopologyError
from salina_fleet.secrets import FakeStore
from salina_fleet.site import _conflicts
from tests import fleets
from tests.loading import load

KEYS = {name: one.keys[0] for name, one in fleets.topology("ipv6").operators.items()}
OLGA = {"keys": [KEYS["olga"]], "expires": "2037-06-30", "may": "operate"}
KEY = "must be a public key: a line of a .pub file, such as ssh-ed25519 AAAA…"
CUT = "is cut or changed; copy the whole line of the .pub file"


def short_rsa() -> str:
    """Return an RSA key with too few bits."""
    key = generate_private_key(65537, 1024).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no key": ({"olga": OLGA | {"keys": []}}, "operators.olga.keys: "),
    "a private key": (
        {"olga": OLGA | {"keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}},
        f'operators.olga.keys[0]: "-----BEGIN OPENSSH PRIVATE KEY-----" is not valid; {KEY}',
    ),
    "options before the key": (
        {"olga": OLGA | {"keys": [f"no-pty {KEYS['olga']}"]}},
        f"is not valid; {KEY}",
    ),
    "a cut key": ({"olga": OLGA | {"keys": [KEYS["olga"][:-9]]}}, CUT),
    "a key of another type": (
        {"olga": OLGA | {"keys": [KEYS["olga"].replace("ed25519", "rsa")]}},
        CUT,
    ),
    "two lines": ({"olga": OLGA | {"keys": [f"{KEYS['olga']}\n{KEYS['ruth']}"]}}, KEY),
    "the same key": (
        {"olga": OLGA, "ruth": OLGA},
        "operators.ruth.keys[0]: is already a key of olga; each operator needs keys of their own",
    ),
    "root": (
        {"root": OLGA},
        'operators.root: "root" is reserved, because an account or a group of the system may have '
        "it; choose another one",
    ),
    "a group of Debian": ({"shadow": OLGA}, 'operators.shadow: "shadow" is reserved'),
    "a daemon of one host": ({"restic": OLGA}, 'operators.restic: "restic" is reserved'),
    "a name with a capital": ({"Olga": OLGA}, 'operators.Olga: "Olga" is not valid; must be a'),
    "no day": (
        {"olga": OLGA | {"expires": "soon"}},
        'operators.olga.expires: "soon" is not valid; must be a day such as 2027-06-30',
    ),
    "a day that does not exist": ({"olga": OLGA | {"expires": "2027-02-30"}}, "must be a day"),
    "no end": ({"olga": {"keys": OLGA["keys"], "may": "look"}}, "operators.olga.expires: missing"),
    "another rank": (
        {"olga": OLGA | {"may": "everything"}},
        'operators.olga.may: "everything" is not valid; choose one of: look, operate, all',
    ),
}


def parsed(given: dict[str, Any]) -> topology.Topology:
    """Return the default topology with operators."""
    return topology.parse(fleets.data() | {"operators": given})


@pytest.mark.parametrize(("given", "words"), WRONG.values(), ids=WRONG)
def test_s14_a_wrong_operator_is_one_clear_error(given: dict[str, Any], words: str) -> None:
    """S14, K5: With the place, what was found and what is allowed."""
    with pytest.raises(TopologyError) as caught:
        parsed(given)
    (fault,) = caught.value.faults
    assert fault.startswith("operators") and words in fault


def test_s14_a_short_key_is_refused() -> None:
    """S14: As sshd would refuse it."""
    with pytest.raises(TopologyError, match="has 1024 bits, and RSA needs 2048; make an ed25519"):
        parsed({"olga": OLGA | {"keys": [short_rsa()]}})


def test_s14_a_past_day_and_a_comment_are_good() -> None:
    """S14: Without an account that works, and without the comment of the key."""
    found = parsed(
        {"olga": OLGA | {"expires": "2020-01-01", "keys": [f"{KEYS['olga']} my laptop"]}}
    )
    assert found.operators["olga"].keys == (KEYS["olga"],)


def test_s14_operators_need_a_management_host() -> None:
    """S14, K5: Nobody could log in without one. Its sshd must be Salina's."""
    data = fleets.data() | {"operators": {"olga": OLGA}}
    del data["hosts"]["ges"]
    with pytest.raises(TopologyError, match="operators: no host has role management"):
        topology.parse(data)
    own = fleets.settings().but(SshSettings(managed=False))
    assert [one for one in _conflicts(fleets.topology(), own, {}) if "ssh.yaml" in one] == [
        "pillar/settings/ssh.yaml: managed: false is not valid with a host with role management, "
        "whose sshd is reached from outside; set it to true, or remove the role"
    ]
    assert settings.parse({"ssh": {"managed": False}})


# The pillar


def test_s14_keys_are_good_from_the_management_host_only() -> None:
    """S14: And until the last day, by sshd's own clock and by the account's."""
    [there] = [one for one in accounts_of("s1") if one["name"] == "ivan"]
    [here] = [one for one in accounts_of("ges") if one["name"] == "ivan"]
    end = 'expiry-time="20370630Z"'
    assert there["keys"] == [f'from="fd00:5::6",{end} {KEYS["ivan"]}']
    assert here["keys"] == [f"{end} {KEYS['ivan']}"]
    assert there["expires"] * 86_400 == 2_129_932_800  # date --utc --date 2037-06-30 +%s
    groups = {one["name"]: one["groups"] for one in accounts_of("s1")}
    assert groups == {
        "olga": ["adm", "salina-all", "salina-operators", "systemd-journal"],
        "ivan": ["adm", "salina-operators", "systemd-journal"],
        "ruth": ["salina-operators"],
    }


def accounts_of(host: str) -> list[dict[str, Any]]:
    """Return the accounts in a host's pillar."""
    found: list[dict[str, Any]] = fleets.pillar(host, "ipv6")["operators"]["accounts"]
    return found


def test_s14_the_master_alone_judges_commands() -> None:
    """S14, K4: No other host knows the ranks."""
    known = {host: fleets.pillar(host, "ipv6")["operators"]["salt"] for host in ("salt", "s1")}
    assert known["s1"] is None
    assert known["salt"]["ranks"] == {"olga": "all", "ivan": "operate", "ruth": "look"}
    assert "operators" not in fleets.pillar("spread", "five-apps")


def test_s14_every_host_has_the_key_that_the_others_know() -> None:
    """S14: It follows from the secret and the id, and it is the same text each time."""
    fleet = fleets.fleet()
    lines = operators.known_hosts(fleets.master_data(fleet))
    known = dict(line.split(" ", 1) for line in lines)
    assert {name.split(",")[0] for name in known} == {*fleet.hosts}
    assert "ges,10.1.5.6,10.1.2.6" in known and "s1,10.1.5.11" in known
    private = fleets.pillar("s1")["operators"]["host_key"]
    assert private == host_key.private(FakeStore().get("ssh-hosts"), "s1")
    key = load_ssh_private_key(private.encode(), password=None).public_key()
    public = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert known["s1,10.1.5.11"] == public
    assert len({*known.values()}) == len(fleet.hosts)


def test_s10_s14_a_new_host_is_known_by_name() -> None:
    """S10, S14: After a change the management host has its name and its key."""
    found = fleets.topology()
    fleet = Fleet(found, {"app": ["s1", "s7"]}, fleets.settings())
    assert any(one.startswith("s7,10.1.5.17 ") for one in operators.known_hosts(
        fleets.master_data(fleet)
    ))  # fmt: skip


# Commands


RULES = {
    "ranks": {"olga": "all", "ivan": "operate", "ruth": "look"},
    "allowed": commands.allowed(),
}
GOOD = [
    ("ruth", ["salt", "*", "test.ping"]),
    ("ruth", ["salt", "--out=json", "-L", "s1,s2", "disk.usage"]),
    ("ruth", ["salt", "nas*", "gluster.faults", "nas"]),
    ("ruth", ["salt-run", "fleet.health", "--out=json"]),
    ("ruth", ["salt-run", "topology.router", "--out=raw"]),
    ("ivan", ["salt", "s[1-3]", "state.apply", "ufw", "test=True"]),
    ("ivan", ["salt", "s1", "state.apply", "logs.files"]),
    ("ivan", ["salt-run", "fleet.scale", "pool=app", "add=[s4, s5]", "count=5"]),
    (
        "ivan",
        ["salt-run", "state.orchestrate", "orch.scale", 'pillar={"pool": "app", "add": ["s4"]}'],
    ),
    ("olga", ["salt", "*", "cmd.run", "rm --recursive /tmp/x"]),
]
REFUSED = [
    ("nobody", ["salt", "*", "test.ping"], "nobody is not an operator"),
    ("root", ["salt", "*", "test.ping"], "root is not an operator"),
    ("ruth", [], "the first argument must be one of salt, salt-run"),
    ("ruth", ["salt-key", "-L"], "the first argument"),
    ("ruth", ["salt"], "the target must be"),
    ("ruth", ["salt", "*"], "a command without a function"),
    ("ruth", ["salt", "*", "cmd.run", "id"], "cmd.run is not a function that `look` may call"),
    ("ruth", ["salt", "*", "test.ping,cmd.run", "id"], "is not a function"),
    ("ruth", ["salt", "*", "test.ping\n"], "is not a function"),
    ("ruth", ["salt", "*", "test.ping", "x"], "x is not an argument"),
    ("ruth", ["salt", "-G", "roles:app", "test.ping"], "-G is not an option"),
    ("ruth", ["salt", "--return=x", "*", "test.ping"], "--return=x is not an option"),
    ("ruth", ["salt-run", "--config-dir=/tmp", "fleet.health"], "is not an option"),
    ("ruth", ["salt-run", "fleet.health", "--log-file=/etc/passwd"], "is not an option"),
    ("ruth", ["salt-run", "-d"], "-d is not an option"),
    ("ruth", ["salt-run", "topology.check", "/etc/shadow"], "/etc/shadow is not an argument"),
    ("ruth", ["salt-run", "fleet.deploy"], "fleet.deploy is not a function that `look` may call"),
    ("ivan", ["salt", "*", "state.apply", 'pillar={"a": 1}'], "is not an argument"),
    ("ivan", ["salt", "*", "state.apply", "ufw", "saltenv=x"], "is not an argument"),
    ("ivan", ["salt", "s1", "state.apply", "logs.absent"], "is not an argument"),
    ("ivan", ["salt", "salt", "state.apply", "orch.deploy"], "is not an argument"),
    ("ivan", ["salt", "*", "cmd.run", "id"], "cmd.run is not a function"),
    ("ivan", ["salt-run", "state.orchestrate", "local.evil"], "is not an argument"),
    ("ivan", ["salt-run", "state.orchestrate", "orch.restore"], "is not an argument"),
    ("ivan", ["salt-run", "state.orchestrate", "orch.remove"], "is not an argument"),
    (
        "ivan",
        ["salt-run", "state.orchestrate", "orch.scale", 'pillar={"a": {"b": 1}}'],
        "is not an argument",
    ),
    (
        "ivan",
        ["salt-run", "state.orchestrate", "orch.scale", 'pillar={"a": "{{ salt }}"}'],
        "is not an argument",
    ),
    ("ivan", ["salt-run", "secrets.create"], "secrets.create is not a function"),
]


@pytest.mark.parametrize(("name", "argv"), GOOD)
def test_s14_a_command_of_the_rank_is_started_as_it_is(name: str, argv: list[str]) -> None:
    """S14: With the same words; the options of Salt come before its function."""
    found = command.judged(RULES, name, argv)
    assert found[0] == argv[0] and sorted(found) == sorted(argv)


@pytest.mark.parametrize(("name", "argv", "words"), REFUSED)
def test_s14_everything_else_is_refused(name: str, argv: list[str], words: str) -> None:
    """S14: Those who may look cannot change, and no argument changes the meaning of a command."""
    with pytest.raises(command.Refusal) as caught:
        command.judged(RULES, name, argv)
    assert words in str(caught.value)


ALONE = {
    *("autoscale.evaluate", "backup.evaluate", "certificates.own", "certificates.sign"),
    *("application.build", "application.built", "application.forget", "cloud.tofu"),
    *("backup.bring_files", "backup.discard", "backup.restore_cluster", "fleet.user_data"),
    *("secrets.check", "secrets.create", "secrets.deploy_key", "secrets.relay", "secrets.second"),
    *("turn.clear", "turn.end", "turn.take"),
}
"""The functions of runners that only `all` may call."""
STEPS = ("change", "join", "leftover", "stage", "storage", "upgrade", "backup")
"""The runners whose functions are the steps of orchestrations, if the lists do not name them."""


def test_s14_each_function_has_a_rank() -> None:
    """S14: A new function of a runner is in a list of commands.py, or only `all` may call it."""
    listed = {**commands.LOOK["salt-run"], **commands.OPERATE["salt-run"]}
    known: set[str] = set()
    for file in sorted((fleets.REPOSITORY / "_runners").glob("*.py")):
        module = load(f"_runners/{file.name}", opts={})
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("_") and function.__module__ == module.__name__:
                known.add(f"{file.stem}.{name}")
    assert {one for one in listed if not one.startswith("state.")} <= known
    assert known >= ALONE and not ALONE & {*listed}
    left = known - {*listed} - ALONE
    assert {one for one in left if one.partition(".")[0] not in STEPS} == set()


def test_s14_each_orchestration_has_a_rank() -> None:
    """S14: Those that go back to older data, or delete data, are for `all` alone."""
    known = {file.stem for file in (fleets.REPOSITORY / "salt" / "orch").glob("*.sls")}
    assert known - {*commands.ORCHESTRATIONS} == {
        *("remove", "restore", "restore_cluster", "rollback")
    }
    assert known >= {*commands.ORCHESTRATIONS}


# Accounts


ACCOUNT = {
    "name": "olga",
    "groups": ["adm", "salina-operators"],
    "expires": 24_652,
    "keys": ['expiry-time="20370630Z" ssh-ed25519 AAAA'],
}
THERE = Seen(
    MARK, SHELL, 24_652, ("adm", "salina-operators"), tuple(ACCOUNT["keys"]), busy=True
)  # fmt: skip
TODAY = 20_000


def steps(seen: dict[str, Seen], *wanted: dict[str, Any], today: int = TODAY) -> list[Any]:
    """Return the plan of a host."""
    return list(accounts.plan(wanted, seen, today))


def test_s14_a_new_operator_gets_an_account() -> None:
    """S14: Without a password, with an end, and with a home that nobody else reads."""
    [step] = steps({}, ACCOUNT)
    assert " ".join(step.argv) == (
        "useradd --create-home --user-group --key HOME_MODE=0700 --comment operator of Salina "
        f"--password * --groups adm,salina-operators --expiredate 24652 --shell {SHELL} olga"
    )
    assert step.keys == tuple(ACCOUNT["keys"]) and not step.ends
    assert steps({"olga": THERE}, ACCOUNT) == []


def test_s14_a_smaller_rank_ends_the_sessions() -> None:
    """S14: Sessions end when a group or a key goes or the access is over, and otherwise not."""
    more = ACCOUNT | {"groups": [*ACCOUNT["groups"], "salina-all"]}
    longer = ACCOUNT | {"expires": 25_000, "keys": ['expiry-time="20380612Z" ssh-ed25519 AAAA']}
    less = ACCOUNT | {"groups": ["salina-operators"]}
    other = ACCOUNT | {"keys": ["ssh-ed25519 BBBB"]}
    for wanted, ends in ((more, False), (longer, False), (less, True), (other, True)):
        [step] = steps({"olga": THERE}, wanted)
        assert step.ends is ends, wanted
    [over] = steps({"olga": THERE}, ACCOUNT, today=24_652)
    assert over.changes == {"sessions": "ended"} and over.argv == ()


def test_s14_a_removed_operator_keeps_nothing_but_files() -> None:
    """S14: The keys, the groups and the sessions go; a second plan is empty."""
    [step] = steps({"olga": THERE, "root": Seen("root", "/bin/bash", None, (), (), True)})
    assert step.argv == (
        *("usermod", "--groups", "", "--expiredate", "1", "--shell", NO_SHELL, "olga"),
    )
    assert step.keys == () and step.ends
    assert steps({"olga": Seen(MARK, NO_SHELL, 1, (), (), False)}) == []
    [late] = steps({"olga": Seen(MARK, NO_SHELL, 1, (), (), True)})
    assert late.argv == () and late.keys is None and late.ends
    [back] = steps({"olga": Seen(MARK, NO_SHELL, 1, (), (), False)}, ACCOUNT)
    assert back.argv[0] == "usermod" and back.keys


def test_s14_an_access_ends_before_another_begins() -> None:
    """S14: An account that cannot be made keeps no access alive."""
    found = steps({"olga": THERE}, ACCOUNT | {"name": "ivan"})
    assert [one.name for one in found] == ["olga", "ivan"]


def test_k5_the_account_of_somebody_else_stays() -> None:
    """K5: The apply leaves it alone, and says what to do."""
    seen = {"olga": Seen("Olga", "/bin/bash", None, (), (), False)}
    [fault] = accounts.faults([ACCOUNT], seen)
    assert fault.startswith("olga: the host has an account of this name, which is not an operator")
    assert steps(seen, ACCOUNT) == []


@pytest.mark.parametrize("test", [True, False])
def test_s14_a_taken_name_keeps_no_other_access_alive(test: bool) -> None:
    """S14, K5: The state fails, and the access of a removed operator ends nevertheless."""
    foreign = Seen("Olga", "/bin/bash", None, (), (), False)
    seen = {"olga": foreign, "ruth": THERE}
    settled: list[str] = []

    def plan(wanted: list[dict[str, Any]]) -> dict[str, Any]:
        return {one.name: one.changes for one in accounts.plan(wanted, seen, TODAY)}

    def settle(wanted: list[dict[str, Any]]) -> None:
        settled.extend(plan(wanted))
        seen.pop("ruth")

    calls = {
        "operators.faults": lambda wanted: accounts.faults(wanted, seen),
        "operators.plan": plan,
        "operators.settle": settle,
    }
    state = load("_states/operators.py", salt=calls, opts={"test": test})
    found = state.settled("accounts", [ACCOUNT])
    assert found["result"] is False and "olga: the host has an account" in found["comment"]
    assert list(found["changes"]) == ["ruth"] and settled == ([] if test else ["ruth"])
    if not test:
        assert state.settled("accounts", [ACCOUNT])["changes"] == {}


class Host:
    """A host with the accounts root and olga, whose files are in a directory."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = load("_modules/operators.py", salt={"cmd.run_all": self.run})
        self.argv: list[list[str]] = []
        self.users = [("root", 0, "root", "/bin/bash")]
        self.keys = folder / "keys"
        self.keys.mkdir()
        (folder / "shadow").write_text("root:*:1::::::\nolga:*:1:::::24652:\n")
        (folder / "proc").mkdir()
        for name, place in (("KEYS", "keys"), ("SHADOW", "shadow"), ("PROCESSES", "proc")):
            monkeypatch.setattr(self.module, name, folder / place)
        monkeypatch.setattr(self.module, "PATIENCE", 0)
        monkeypatch.setattr(self.module.pwd, "getpwall", self.entries)
        monkeypatch.setattr(self.module.pwd, "getpwnam", lambda name: self.entries()[-1])
        groups = [SimpleNamespace(gr_name=one, gr_mem=["olga"]) for one in ACCOUNT["groups"]]
        monkeypatch.setattr(self.module.grp, "getgrall", lambda: groups)

    def entries(self) -> list[Any]:
        return [
            SimpleNamespace(pw_name=name, pw_uid=uid, pw_gecos=gecos, pw_shell=shell)
            for name, uid, gecos, shell in self.users
        ]

    def run(self, argv: list[str], **_: Any) -> dict[str, Any]:
        self.argv.append(argv[3:])
        if "useradd" in argv:
            self.users.append(("olga", 1001, f"{MARK},,,", SHELL))
        return {"retcode": 0, "stdout": "", "stderr": ""}


@pytest.mark.parametrize("test", [True, False])
def test_s14_the_state_settles_the_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: bool
) -> None:
    """S14: It predicts the same changes, and a second run has none."""
    host = Host(tmp_path, monkeypatch)
    functions = {
        f"operators.{name}": getattr(host.module, name) for name in ("faults", "plan", "settle")
    }
    state = load("_states/operators.py", salt=functions, opts={"test": test})
    found = state.settled("accounts", [ACCOUNT])
    assert found["result"] is (None if test else True), found
    assert found["changes"] == {"olga": {"added": "adm, salina-operators"}}
    assert bool(host.argv) is not test
    if not test:
        assert (host.keys / "olga").read_text() == f"{ACCOUNT['keys'][0]}\n"
        assert state.settled("accounts", [ACCOUNT])["changes"] == {}


def test_s14_an_ended_session_is_no_failed_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S14: The manager that systemd starts for each user was killed as well."""
    host = Host(tmp_path, monkeypatch)
    host.users.append(("olga", 1001, f"{MARK},,,", SHELL))
    alive = tmp_path / "proc/7"
    alive.mkdir()
    (alive / "status").write_text(
        "Name:\tsystemd\nState:\tS (sleeping)\nUid:\t1001 1001 1001 1001\n"
    )

    def kill(pid: int, _: int) -> None:
        (tmp_path / f"proc/{pid}/status").unlink()

    monkeypatch.setattr(host.module.os, "kill", kill)
    monkeypatch.setattr(host.module, "PATIENCE", 5)
    host.module.settle([])
    assert host.argv[-2:] == [
        ["systemctl", "reset-failed", "user@1001.service"],
        ["systemctl", "disable", "--now", "salina-session@olga.socket"],
    ]


# Verification


def test_s14_every_host_answers_with_its_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S14: A silent sshd and another key are faults with the host's name."""
    known = tmp_path / "known"
    known.write_text("s1,10.1.5.11 ssh-ed25519 AAA1\ns2,10.1.5.12 ssh-ed25519 AAA2\n")
    shown = "# 10.1.5.11:22 SSH-2.0\ns1 ssh-ed25519 AAA1\n"
    monkeypatch.setattr(evidence, "KNOWN_HOSTS", known)
    answer = SimpleNamespace(stdout=shown)
    monkeypatch.setattr(evidence.subprocess, "run", lambda *_, **__: answer)
    [good] = evidence.reached(["s1"], 22)
    assert good.good and good.seen == "each answers with its own key (1)"
    [silent] = evidence.reached(["s1", "s2"], 22)
    assert (silent.good, silent.seen) == (False, "no answer of s2")
    answer.stdout = "[s1]:2222 ssh-ed25519 AAA9\n[s2]:2222 ssh-ed25519 AAA2\n"
    [foreign] = evidence.reached(["s1", "s2"], 2222)
    assert foreign.seen == "another key than the master's: s1"


def test_s14_nobody_else_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """S14: A setting that another file undoes, and a shell that records nothing."""
    lines = [f"{name} {value}" for name, value in evidence.KEYS_ONLY.items()]
    printed = ["\n".join([*lines, "allowgroups salina-operators"])]
    shells = {"olga": SHELL, "ruth": "/bin/bash"}
    monkeypatch.setattr(evidence, "command", lambda *_: printed[0])
    group = SimpleNamespace(gr_mem=["olga"])
    monkeypatch.setattr(evidence.grp, "getgrnam", lambda _: group)
    monkeypatch.setattr(
        evidence.pwd, "getpwnam", lambda name: SimpleNamespace(pw_shell=shells[name])
    )
    assert [(one.good, one.seen) for one in evidence.outside()] == [
        (True, "operators alone, with keys only"),
        (True, "of all operators (1)"),
    ]
    printed[0] = "\n".join(lines)
    group.gr_mem = ["olga", "ruth"]
    assert [(one.good, one.seen) for one in evidence.outside()] == [
        (False, "allowgroups not set"),
        (False, "not recorded: ruth"),
    ]
