"""S7: ufw's rules as it prints them, as the pillar wants them, and the way between."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest

from _modules import ufw as module
from _states import ufw as state
from salina.firewall import ufw as firewall
from salina_fleet.model.firewall import Egress, FirewallSettings
from salina_fleet.model.settings import Settings
from tests import fleets
from tests.loading import failure

# As ufw 0.36.2 printed them, for rules given in other words.
ADDED = """\
Added user rules (see 'ufw status' for running firewall):
ufw allow from 10.1.5.0/24 to 10.1.5.1 port 22 proto tcp comment 'SSH'
ufw allow to 10.1.2.2 port 80,443 proto tcp
ufw route allow to 10.1.2.2 port 80,443 proto tcp comment 'the published service'
ufw allow 4505,4506/tcp comment 'Salt'
ufw deny from 1.2.3.4
ufw allow in on eth0
ufw allow from 2001:db8::/64 to any port 80 proto tcp
"""
ADDRESSES = """\
[{"ifindex":1,"ifname":"lo","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8},
  {"family":"inet","local":"10.1.4.1","prefixlen":32}]},
 {"ifindex":2,"link":"eth0","ifname":"eth0.7","addr_info":[{"family":"inet","local":"10.1.2.2",
  "prefixlen":24},{"family":"inet6","local":"fd00::2"},{"family":"inet6","local":"fe80::1"}]},
 {"ifindex":3,"ifname":"down","addr_info":[{}]},
 {"ifindex":4,"ifname":"eth1","addr_info":[{"family":"inet","local":"10.1.3.1"},
  {"family":"inet6","local":"fe80::1"}]}]
"""
INACTIVE = "Status: inactive\n"
ACTIVE = """\
Status: active
Logging: {logging}
Default: deny (incoming), deny (outgoing), {routed} (routed)
New profiles: skip

To                         Action      From
"""
KERNEL = """\
-P INPUT {policy}
-P FORWARD DROP
-P OUTPUT DROP
-N ufw-before-forward
-N ufw-before-input
-N ufw-before-output
-N ufw-user-input
-A INPUT -j ufw-before-input
-A FORWARD -j ufw-before-forward
-A OUTPUT -j ufw-before-output
"""
SSH = {"comment": "SSH", "proto": "tcp", "ports": "22", "from": "10.1.5.0/24", "to": "10.1.5.1"}
WEB = {"comment": "web", "proto": "tcp", "ports": "443,80", "from": "any", "to": "10.1.2.2"}


CARDS = {"10.1.5.1": ["mgmt"], "10.1.2.2": ["eth0.7"], "fd00::2": ["web0"], "10.9.9.9": ["a", "b"]}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (SSH, "allow from 10.1.5.0/24 to 10.1.5.1 port 22 proto tcp"),
        (WEB, "allow to 10.1.2.2 port 80,443 proto tcp"),
        (WEB | {"from": "0.0.0.0/0"}, "allow to 10.1.2.2 port 80,443 proto tcp"),
        (WEB | {"from": "10.1.1.11/32"}, "allow from 10.1.1.11 to 10.1.2.2 port 80,443 proto tcp"),
        (
            WEB | {"from": "10.1.1.11/24"},
            "allow from 10.1.1.0/24 to 10.1.2.2 port 80,443 proto tcp",
        ),
        (WEB | {"to": "2001:DB8:0::2"}, "allow to 2001:db8::2 port 80,443 proto tcp"),
        (SSH | {"to": "any"}, "allow from 10.1.5.0/24 to any port 22 proto tcp"),
        (SSH | {"from": "any", "to": "any"}, "allow 22/tcp"),
        (
            WEB | {"ports": "49152:49251,24007"},
            "allow to 10.1.2.2 port 24007,49152:49251 proto tcp",
        ),
        (WEB | {"ports": "53,53", "proto": "udp"}, "allow to 10.1.2.2 port 53 proto udp"),
        (
            SSH | {"in": "10.1.5.1"},
            "allow in on mgmt from 10.1.5.0/24 to 10.1.5.1 port 22 proto tcp",
        ),
        (WEB | {"in": "10.1.2.2"}, "allow in on eth0.7 to 10.1.2.2 port 80,443 proto tcp"),
        (
            WEB | {"from": "any", "to": "any", "in": "10.1.2.2"},
            "allow in on eth0.7 to any port 80,443 proto tcp",
        ),
        (
            WEB | {"in": "10.1.5.1", "out": "fd00:0::2"},
            "allow in on mgmt out on web0 to 10.1.2.2 port 80,443 proto tcp",
        ),
    ],
)
def test_a_rule_in_the_words_of_ufw(entry: dict[str, str], words: str) -> None:
    assert firewall.wanted([entry], [], [], CARDS) == [
        firewall.Rule(tuple(words.split()), entry["comment"])
    ]


def test_rules_that_are_one_for_ufw_are_one_with_both_comments() -> None:
    found = firewall.wanted([SSH, SSH | {"comment": "ges"}, SSH], [], [], CARDS)
    assert [rule.comment for rule in found] == ["SSH; ges"]


def test_x7_the_interface_of_an_address() -> None:
    """X7: The host itself finds the interface, with any name; loopback is none."""
    assert firewall.interfaces(ADDRESSES) == {
        "10.1.2.2": ["eth0.7"],
        "fd00::2": ["eth0.7"],
        "fe80::1": ["eth0.7", "eth1"],
        "10.1.3.1": ["eth1"],
    }
    assert firewall.interface(firewall.interfaces(ADDRESSES), "fd00:0:0::2") == "eth0.7"
    with pytest.raises(
        ValueError, match=r"^10\.1\.4\.1 is on no interface of this host, which has "
    ):
        firewall.interface(firewall.interfaces(ADDRESSES), "10.1.4.1")
    with pytest.raises(ValueError, match=r"^10\.9\.9\.9 is on several interfaces .*: a, b; remove"):
        firewall.interface(CARDS, "10.9.9.9")


def test_a_route_is_another_rule() -> None:
    rule, route = firewall.wanted([WEB], [WEB], [], CARDS)
    assert route.words == ("route", *rule.words)
    assert route.deletion[:4] == ["ufw", "route", "delete", "allow"]


def test_added() -> None:
    found = firewall.added(ADDED)
    assert [str(rule) for rule in found] == [
        line.removeprefix("ufw ") for line in ADDED.splitlines()[1:]
    ]
    assert found[0].comment == "SSH" and found[2].comment == "the published service"
    assert firewall.added("Added user rules (see 'ufw status' for running firewall):\n(None)") == []


def test_plan_adds_first_and_deletes_what_is_not_wanted() -> None:
    """S7: The plan adds missing rules first and deletes unwanted ones."""
    have = firewall.added(ADDED)
    want = firewall.wanted([SSH, WEB], [WEB | {"comment": "the published service"}], [], CARDS)
    add, delete = firewall.plan(have, want)
    assert [str(rule) for rule in add] == ["allow to 10.1.2.2 port 80,443 proto tcp comment 'web'"]
    assert [rule.deletion for rule in delete] == [
        ["ufw", "delete", "allow", "4505,4506/tcp"],
        ["ufw", "delete", "deny", "from", "1.2.3.4"],
        ["ufw", "delete", "allow", "in", "on", "eth0"],
        [
            "ufw",
            "delete",
            "allow",
            "from",
            "2001:db8::/64",
            "to",
            "any",
            "port",
            "80",
            "proto",
            "tcp",
        ],
    ]
    assert firewall.plan(want, want) == ([], [])


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_every_rule_of_every_fleet_is_one_of_its_own(name: str, host: str) -> None:
    """S7, K1: ufw would print each rule as it is written, so a second run changes no host."""
    pillar = fleets.pillar(host, name)
    ufw = pillar["ufw"]
    cards = fleets.interfaces(pillar)
    want = firewall.wanted(ufw["rules"], ufw["routes"], ufw["outgoing"], cards)
    assert want
    assert all(" in on card" in str(rule) or "allow out " in str(rule) for rule in want)
    assert firewall.added("\n".join(f"ufw {rule}" for rule in want)) == want
    assert all(rule.comment and "'" not in rule.comment for rule in want)


def test_status() -> None:
    assert firewall.status(INACTIVE) == firewall.Status(active=False)
    assert firewall.status(ACTIVE.format(logging="on (low)", routed="disabled")) == (
        firewall.Status(True, "low", "deny", "deny", "disabled")
    )
    assert firewall.status(ACTIVE.format(logging="off", routed="deny")).logging == "off"
    with pytest.raises(ValueError, match="printed something unexpected"):
        firewall.status("ERROR: problem running iptables")


CLOSED = """\
-P INPUT DROP
-P FORWARD DROP
-P OUTPUT ACCEPT
-N salina-closed
-A INPUT -j salina-closed
-A salina-closed -i lo -j ACCEPT
-A salina-closed -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
"""
"""As iptables prints the rules of salt/ufw/files/closed."""


class Ufw:
    """A ufw that remembers, in place of the command."""

    def __init__(self, configuration: Path) -> None:
        self.file = configuration.with_name("user.rules")
        self.kept: list[firewall.Rule] | None = None  # by the kernel
        self.rules = []
        self.active = False
        self.logging = "off"
        self.routed = "disabled"
        self.forward = False  # what /etc/ufw/sysctl.conf says
        self.calls: list[list[str]] = []
        self.fails = ""
        self.configuration = configuration
        configuration.write_text("# boot?\nENABLED=no\n")
        self.booted = False  # since ufw was enabled
        self.jumps = True  # ufw adds them only when it adds its chains
        self.policy = "DROP"
        self.closed = False  # by a boot, at which ufw did not start
        self.addresses = '[{"ifname": "mgmt", "addr_info": [{"local": "10.1.5.1"}]}]'

    @property
    def rules(self) -> list[firewall.Rule]:
        """The rules of ufw's file."""
        return firewall.added(self.file.read_text())

    @rules.setter
    def rules(self, rules: list[firewall.Rule]) -> None:
        self.file.write_text("".join(f"ufw {rule}\n" for rule in rules))

    def __call__(self, command: list[str], stdin: str | None = None, **_: Any) -> dict[str, Any]:
        if command[: len(module.MANY)] == list(module.MANY):
            for words in json.loads(stdin or ""):
                done = self(["ufw", *command[len(module.MANY) :], *words])
                if done["retcode"]:
                    shown = " ".join(["ufw", *words])
                    return done | {"stderr": f"{shown}: {done['stderr']}"}
            return {"retcode": 0, "stdout": "", "stderr": ""}
        self.calls.append(command)
        if command == ["ip", "-json", "address", "show"]:
            return {"retcode": 0, "stdout": self.addresses, "stderr": ""}
        if command[0] == "iptables-restore":
            assert command[1:] == ["--noflush", str(self.file)] and self.active
            self.kept = self.rules
        if command[0].endswith("-restore"):
            return {"retcode": 0, "stdout": "", "stderr": ""}
        if command[0].endswith("tables"):
            return {"retcode": 0, "stdout": self.kernel(command[0]), "stderr": ""}
        if command == [module.INIT, "flush-all"]:
            self.active, self.jumps, self.closed = False, True, False
            return {"retcode": 0, "stdout": "", "stderr": ""}
        if self.fails and self.fails in command:
            return {"retcode": 1, "stdout": "", "stderr": "ERROR: Bad port"}
        return {"retcode": 0, "stdout": self.run(command[1:]), "stderr": ""}

    def kernel(self, tool: str) -> str:
        """The kernel's rules; a comment stands for those that are not looked at."""
        if self.closed:
            return CLOSED
        if not self.active:
            return "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT"
        name = "ufw" if tool == "iptables" else "ufw6"
        rules = KERNEL.replace("ufw-", f"{name}-").format(policy=self.policy)
        if not self.jumps:
            rules = "\n".join(line for line in rules.splitlines() if " -j " not in line)
        return f"{rules}# {self.routed} {self.logging}"

    def run(self, words: list[str]) -> str:
        if not words[0].startswith("--datadir="):
            return self.answer(words)
        folder = Path(words[0].removeprefix("--datadir="), "etc/ufw")
        assert (folder / "ufw.conf").read_text() == "# boot?\nENABLED=no\n"
        own, self.file = self.file, folder / "user.rules"
        try:
            return self.answer(words[1:])
        finally:
            self.file = own

    def answer(self, words: list[str]) -> str:
        match words:
            case ["show", "added"]:
                return "\n".join(f"ufw {rule}" for rule in self.rules)
            case ["status", "verbose"]:
                logging = "off" if self.logging == "off" else f"on ({self.logging})"
                return (
                    ACTIVE.format(logging=logging, routed=self.routed) if self.active else INACTIVE
                )
            case ["reload"]:
                self.active = self.configuration.read_text() == "# boot?\nENABLED=yes\n"
                self.policy, self.kept = "DROP", self.rules
                self.routed = "deny" if self.forward else "disabled"
            case ["logging", level]:
                self.logging = level
            case ["delete", *rule]:
                self.rules = [known for known in self.rules if known.words != tuple(rule)]
            case ["route", "delete", *rule]:
                self.rules = [known for known in self.rules if known.words != ("route", *rule)]
            case _:
                (rule,) = firewall.added("ufw " + firewall.shlex.join(words))
                self.rules = [known for known in self.rules if known.words != rule.words] + [rule]
        return ""


@pytest.fixture
def ufw(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ufw]:
    fake = Ufw(tmp_path / "ufw.conf")
    (tmp_path / "before.rules").touch()
    monkeypatch.setattr(module, "CONFIGURATION", fake.configuration)
    monkeypatch.setattr(module, "FILES", (str(tmp_path / "before.rules"),))
    monkeypatch.setattr(module, "LOADED", tmp_path / "loaded")
    monkeypatch.setattr(module, "SAID", tmp_path / "said")
    names = [tmp_path / name for name in ("user.rules", "user6.rules", "default")]
    for name in names[1:]:
        name.touch()
    monkeypatch.setattr(module, "RULES", tuple(map(str, names[:2])))
    monkeypatch.setattr(module, "DEFAULTS", str(names[2]))
    salt = {
        "cmd.run_all": fake,
        "service.status": lambda _: fake.booted,
        "daemon.outdated": lambda *_: [],
    }
    monkeypatch.setattr(module, "__salt__", salt, raising=False)
    monkeypatch.setattr(module, "installed", lambda: True)
    calls = {f"ufw.{name}": getattr(module, name) for name in dir(module) if name[0] != "_"}
    monkeypatch.setattr(state, "__salt__", calls, raising=False)
    monkeypatch.setattr(state, "__opts__", {"test": False}, raising=False)
    yield fake


def test_rules_and_a_second_run(ufw: Ufw) -> None:
    """S7, K1: The second run changes no rule."""
    ufw.rules = firewall.added("ufw allow 99/tcp\nufw deny from 1.2.3.4")
    first = state.rules("r", [SSH], [WEB], [])
    assert first["result"] is True
    assert first["changes"]["delete"] == ["allow 99/tcp", "deny from 1.2.3.4"]
    assert len(first["changes"]["add"]) == 2
    assert state.rules("r", [SSH], [WEB], []) | {"comment": ""} == {
        "name": "r",
        "result": True,
        "changes": {},
        "comment": "",
    }


def test_x7_an_apply_that_adds_the_interfaces_never_closes_a_port(ufw: Ufw) -> None:
    """X7, S7: The kernel gets the new rules in place of the old ones in one step."""
    state.rules("r", [SSH], [WEB], [])
    state.enabled("e", False, "low")
    before = ufw.kept
    assert before and before == ufw.rules
    ufw.calls.clear()
    bound = SSH | {"in": "10.1.5.1"}
    changes = state.rules("r", [bound], [WEB], [])["changes"]
    assert changes == {
        "add": ["allow in on mgmt from 10.1.5.0/24 to 10.1.5.1 port 22 proto tcp comment 'SSH'"],
        "delete": ["allow from 10.1.5.0/24 to 10.1.5.1 port 22 proto tcp comment 'SSH'"],
    }
    changing = [command[0] for command in ufw.calls if "--list-rules" not in command]
    assert [name for name in changing if name not in ("ip", "ufw")] == [
        "iptables-restore",
        "ip6tables-restore",
    ]
    assert all(
        command[1].startswith("--datadir=")
        for command in ufw.calls
        if command[0] == "ufw" and command[1] != "show"
    )
    assert ufw.kept == ufw.rules != before
    assert not state.rules("r", [bound], [WEB], [])["changes"]
    assert not state.enabled("e", False, "low")["changes"]


@pytest.mark.parametrize("test", [True, False])
def test_x7_without_the_address_no_rule_changes(
    ufw: Ufw, monkeypatch: pytest.MonkeyPatch, test: bool
) -> None:
    """X7, K5: The message names the address, and what this host has."""
    state.rules("r", [SSH], [], [])
    monkeypatch.setitem(state.__opts__, "test", test)
    said = failure(state.rules("r", [SSH | {"in": "10.1.5.1"}, WEB | {"in": "10.1.2.2"}], [], []))
    assert said.startswith(
        "pillar ufw: 10.1.2.2 is on no interface of this host, which has 10.1.5.1;"
    )
    assert [rule.comment for rule in ufw.rules] == ["SSH"]


def test_x7_a_rule_that_ufw_refuses_changes_none(ufw: Ufw) -> None:
    """X7, K2: Not even those before it."""
    state.rules("r", [SSH], [], [])
    ufw.fails = "80,443"
    assert failure(state.rules("r", [SSH | {"ports": "23"}, WEB], [], []))
    assert [str(rule) for rule in ufw.rules] == [
        "allow from 10.1.5.0/24 to 10.1.5.1 port 22 proto tcp comment 'SSH'"
    ]


OUT = {"comment": "DNS", "proto": "udp", "ports": "53", "to": "any"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (OUT, "allow out 53/udp"),
        (OUT | {"ports": "443,80", "proto": "tcp"}, "allow out 80,443/tcp"),
        (OUT | {"to": "10.1.4.21"}, "allow out to 10.1.4.21 port 53 proto udp"),
        (OUT | {"to": "FD00:0::/64"}, "allow out to fd00::/64 port 53 proto udp"),
    ],
)
def test_x7_an_outgoing_connection_in_the_words_of_ufw(entry: dict[str, str], words: str) -> None:
    """X7: As ufw prints it, so that a second run changes nothing."""
    assert firewall.wanted([], [], [entry], {}) == [firewall.Rule(tuple(words.split()), "DNS")]


def test_x7_what_a_host_sends_is_open_while_its_rules_are_loaded(ufw: Ufw) -> None:
    """X7: ufw empties its chains before it opens the policies."""
    state.rules("r", [SSH], [], [OUT])
    state.enabled("e", False, "low")
    opened = ["--policy", "OUTPUT", "ACCEPT"]
    changing = [one for one in ufw.calls if one[0] == "ufw" or one[1:] == opened]
    place = changing.index(["ufw", "reload"])
    assert changing[place - 2 : place] == [["iptables", *opened], ["ip6tables", *opened]]


def test_ufw_is_asked_again_only_after_a_change(ufw: Ufw) -> None:
    for _ in range(2):
        state.rules("r", [SSH], [], [])
        state.enabled("e", False, "low")
    ufw.calls.clear()
    assert not state.rules("r", [SSH], [], [])["changes"]
    assert not state.enabled("e", False, "low")["changes"]
    assert {command[0] for command in ufw.calls} == {"ip", "iptables", "ip6tables"}
    ufw(["ufw", "allow", "99/tcp"])  # by hand
    assert state.rules("r", [SSH], [], [])["changes"] == {"delete": ["allow 99/tcp"]}
    ufw.active = False
    assert "active" in state.enabled("e", False, "low")["changes"]


def test_rules_are_predicted(ufw: Ufw, monkeypatch: pytest.MonkeyPatch) -> None:
    """S7, K3: A prediction changes no rule."""
    monkeypatch.setitem(state.__opts__, "test", True)
    predicted = state.rules("r", [SSH], [WEB], [])
    assert predicted["result"] is None and ufw.rules == []
    monkeypatch.setitem(state.__opts__, "test", False)
    assert state.rules("r", [SSH], [WEB], [])["changes"] == predicted["changes"]


def test_a_bare_host_is_predicted(ufw: Ufw, monkeypatch: pytest.MonkeyPatch) -> None:
    """S7, K3: A bare host predicts its rules."""
    monkeypatch.setitem(state.__opts__, "test", True)
    monkeypatch.setattr(module, "installed", lambda: False)
    monkeypatch.setitem(state.__salt__, "ufw.installed", lambda: False)
    assert state.rules("r", [SSH], [], [])["result"] is None
    assert state.enabled("e", False, "low")["result"] is None
    assert ufw.calls == [["ip", "-json", "address", "show"]]


PROGRAM = """
import importlib.util
import sys
found = importlib.util.find_spec("ufw")
assert not found or "salina" not in found.origin  # ufw's own package
assert sys.argv[1:3] == ["--datadir=x", "allow"]
if sys.argv[3] == "{refused}":
    print("ERROR: Bad port", file=sys.stderr)
    sys.exit(1)
open("{folder}/" + sys.argv[3], "w")
sys.exit(0)
"""


def test_what_ufw_refuses_is_named(ufw: Ufw) -> None:
    """S7, K5: The error names the rule that ufw refuses."""
    ufw.fails = "22"
    assert re.search(
        r"ufw allow from .* port 22 .*: ERROR: Bad port", failure(state.rules("r", [SSH], [], []))
    )


@pytest.mark.parametrize(("refused", "made"), [("3", ["1", "2"]), ("none", ["1", "2", "3"])])
def test_many_commands_run_in_one_process(tmp_path: Path, refused: str, made: list[str]) -> None:
    """S7, K5: Each is a run of the program itself; what it refuses is named with its words."""
    program = tmp_path / "program"
    program.write_text(PROGRAM.format(folder=tmp_path, refused=refused))
    done = subprocess.run(
        [sys.executable, *module.MANY[1:-1], program, "--datadir=x"],
        input=json.dumps([["allow", name] for name in ("1", "2", "3")]),
        capture_output=True,
        text=True,
    )
    assert sorted(path.name for path in tmp_path.glob("[0-9]")) == made
    wanted = (0, "") if refused == "none" else (1, "ufw allow 3: ERROR: Bad port\n")
    assert (done.returncode, done.stderr) == wanted


def test_a_bad_rule_is_named(ufw: Ufw) -> None:
    assert re.search(
        r"pillar ufw: '10\.1\.2\.300' does not",
        failure(state.rules("r", [WEB | {"to": "10.1.2.300"}], [], [])),
    )


def test_enabled_and_a_second_run(ufw: Ufw) -> None:
    """S7, K1: The second run leaves the firewall alone."""
    ufw.forward = True
    first = state.enabled("e", True, "low")
    assert first["result"] is True
    assert first["changes"] == {"loaded": list(module.FILES)}
    assert (ufw.active, ufw.routed, ufw.logging) == (True, "deny", "low")
    assert state.enabled("e", True, "low")["changes"] == {}


def test_a_firewall_that_can_t_be_switched_on_is_an_error(ufw: Ufw) -> None:
    ufw.fails = "reload"
    assert failure(state.enabled("e", False, "low")) == "ufw reload: ERROR: Bad port"


def test_forwarding_switched_off_by_hand_is_put_right(ufw: Ufw) -> None:
    """S7: An apply switches forwarding on again."""
    ufw.forward = True
    state.enabled("e", True, "low")
    ufw.routed = "disabled"
    again = state.enabled("e", True, "low")
    assert again["changes"] == {"routed": {"old": "disabled", "new": "deny"}}


@pytest.mark.parametrize(
    ("name", "value"), [("jumps", False), ("policy", "ACCEPT")], ids=["flushed", "opened"]
)
def test_rules_that_were_taken_out_of_the_kernel_are_loaded(
    ufw: Ufw, name: str, value: object
) -> None:
    """S7: ufw says that it is active, but the kernel has none of its rules."""
    state.enabled("e", False, "low")
    setattr(ufw, name, value)
    again = state.enabled("e", False, "low")
    assert again["result"] is True
    assert again["changes"] == {"active": {"old": False, "new": True}}
    assert ufw.active and ufw.jumps and ufw.policy == "DROP"
    assert not state.enabled("e", False, "low")["changes"]


def test_x8_an_apply_opens_a_host_that_a_boot_has_closed(ufw: Ufw) -> None:
    """X8, K2: ufw replaces the rules of the boot, and does not stand behind them."""
    state.enabled("e", False, "low")
    ufw.active, ufw.closed = False, True
    module.LOADED.unlink()  # as at each boot
    again = state.enabled("e", False, "low")
    assert again["result"] is True and again["changes"]
    assert ufw.active and not ufw.closed
    assert not state.enabled("e", False, "low")["changes"]
    assert firewall.closed_by_boot(CLOSED) and not firewall.closed_by_boot(KERNEL)


def test_chains_that_the_kernel_does_not_use() -> None:
    """A chain that is not there is not missed: ufw has not been loaded yet."""
    rules = KERNEL.format(policy="DROP")
    assert firewall.unused(rules) == firewall.unused("") == []
    assert firewall.unused(rules.replace("-A FORWARD -j ufw-before-forward\n", "")) == ["FORWARD"]
    assert firewall.unused(rules.replace("-A", "#").replace("ufw-", "ufw6-")) == [
        "INPUT",
        "OUTPUT",
        "FORWARD",
    ]


def test_what_loading_does_not_mend_is_an_error(ufw: Ufw) -> None:
    result = state.enabled("e", True, "low")  # the files don't say so
    assert result["result"] is False
    assert "'routed': {'old': 'disabled', 'new': 'deny'}" in result["comment"]


def test_a_changed_file_is_loaded_also_by_a_later_run(
    ufw: Ufw, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.enabled("e", False, "low")
    changed = [str(file) for file in module.FILES]
    os.utime(changed[0], (time.time() + 60,) * 2)
    monkeypatch.setitem(state.__opts__, "test", True)
    assert state.enabled("e", False, "low")["result"] is None
    monkeypatch.setitem(state.__opts__, "test", False)
    ufw.calls.clear()
    assert state.enabled("e", False, "low")["changes"] == {"loaded": changed}
    assert ["ufw", "reload"] in ufw.calls


def test_a_firewall_that_was_interrupted_while_it_was_loaded_is_loaded(ufw: Ufw) -> None:
    """S7, K2: ufw says that it is active although only IPv4 is in the kernel: an apply loads it
    again.
    """
    ufw.active = True
    ufw.configuration.write_text("# boot?\nENABLED=yes\n")
    assert state.enabled("e", False, "low")["changes"] == {"loaded": list(module.FILES)}


def test_a_firewall_that_a_boot_has_loaded_is_left_alone(ufw: Ufw) -> None:
    state.enabled("e", False, "low")
    module.LOADED.unlink()
    ufw.booted = True
    assert state.enabled("e", False, "low")["changes"] == {}


@pytest.mark.parametrize("loaded", [True, False])
def test_a_rule_is_loaded_with_its_change(
    ufw: Ufw, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    """ufw does that where it is loaded; elsewhere the rule is loaded with all others."""
    if loaded:
        state.enabled("e", False, "low")
        os.utime(module.LOADED, (0, time.time() - 60))
        os.utime(module.FILES[0], (0, time.time() - 90))

    def writing(command: list[str], **options: Any) -> dict[str, Any]:
        if command[1] == "allow":
            os.utime(module.FILES[0], (0, time.time() - 1))
        return ufw(command, **options)

    monkeypatch.setitem(module.__salt__, "cmd.run_all", writing)
    assert state.rules("r", [SSH], [], [])["changes"]
    changes = state.enabled("e", False, "low")["changes"]
    assert changes == ({} if loaded else {"loaded": list(module.FILES)})


def before_rules(repository: Path, host: str, name: str = "default") -> str:
    """Both before.rules as a host has them, without comments."""
    found = []
    for file in ("before.rules", "before6.rules"):
        template = jinja2.Template((repository / "salt/ufw/files" / file).read_text())
        pillar = fleets.pillar(host, name)
        found += template.render(pillar=pillar, salt=fleets.cards(pillar)).splitlines()
    return "\n".join(line for line in found if not line.startswith("#"))


def test_the_firewall_passes_ping_to_the_service_alone(repository: Path) -> None:
    """S7: The firewall passes ping to the service's address only."""
    text = before_rules(repository, "fw")
    pings = [line for line in text.splitlines() if "echo-request" in line]
    ping = "-p icmp --icmp-type echo-request -d 10.1.2.2 -j ACCEPT"
    assert [line for line in pings if "output" not in line] == [
        f"-A ufw-before-forward -i card0 -o card1 {ping}"
    ]
    assert [line for line in pings if "output" in line] == [
        f"-A ufw-before-output -p icmp --icmp-type echo-request -d 10.1.{number}.0/24 -j ACCEPT"
        for number in (1, 2, 3, 4, 5)
    ]


@pytest.mark.parametrize("host", fleets.fleet("ipv6").hosts)
def test_x7_over_ipv6_each_network_has_its_interface(repository: Path, host: str) -> None:
    """X7: The kernel checks no source of IPv6, so the first rules after loopback do."""
    lines = before_rules(repository, host, "ipv6").splitlines()
    own = fleets.fleet("ipv6").hosts[host].addresses
    networks = fleets.topology("ipv6").networks
    for chain in ("input", "forward"):
        drops = [
            f"-A ufw6-before-{chain} -s {networks[name].cidr} ! -i card{place} -j DROP"
            for place, name in enumerate(own)
        ]
        found = [line for line in lines if f"before-{chain} -s " in line and " ! -i " in line]
        assert found == drops
        accepts = [
            place
            for place, line in enumerate(lines)
            if f"6-before-{chain} " in line and "ACCEPT" in line and "-i lo" not in line
        ]
        assert lines.index(drops[-1]) < min(accepts)


def outputs(repository: Path, host: str, own: Settings, name: str = "default") -> list[str]:
    """The rules of both before.rules for the packets that a host sends."""
    found = []
    pillar = fleets.pillar(host, name, own)
    for file in ("before.rules", "before6.rules"):
        template = jinja2.Template((repository / "salt/ufw/files" / file).read_text())
        found += template.render(pillar=pillar, salt=fleets.cards(pillar)).splitlines()
    return [line for line in found if re.match("-A ufw6?-before-output ", line)]


def allowing(*egress: Egress) -> Settings:
    """The repository's settings with more connections to the outside."""
    firewall_settings = fleets.settings()[FirewallSettings]
    more = (*firewall_settings.egress, *egress)
    return fleets.settings().but(replace(firewall_settings, egress=more))


@pytest.mark.parametrize(("name", "host"), fleets.kinds())
def test_x7_the_application_opens_nothing_outside_its_host(
    repository: Path, name: str, host: str
) -> None:
    """X7, X8: Over IPv4 and IPv6 its user is refused at once, before any rule that accepts."""
    lines = outputs(repository, host, fleets.settings(), name)
    application = fleets.pillar(host, name)["ufw"]["application"]
    served = fleets.fleet(name).hosts[host].application
    refused = [line for line in lines if "--uid-owner" in line and "! --uid-owner" not in line]
    if not served:
        assert application is None and refused == []
        return
    assert len(refused) == 2
    for line, chain in zip(refused, ("ufw-before-output", "ufw6-before-output"), strict=True):
        user = f"-m conntrack --ctstate NEW -m owner --uid-owner {application['uid']}"
        assert line == f"-A {chain} {user} -j REJECT"
        before = [one for one in lines[: lines.index(line)] if chain in one and "ACCEPT" in one]
        assert before == [f"-A {chain} -o lo -j ACCEPT"]


def test_x7_the_application_opens_what_egress_gives_it(repository: Path) -> None:
    """X7: The entries for the application itself, on the hosts that they cover."""
    mail = Egress(ports="25,587", role="app", to="198.51.100.25", application=True, comment="mail")
    asks = Egress(ports="53", protocol="udp", application=True, comment="DNS")
    six = Egress(ports="443", host="s2", to="2001:db8::/32", application=True, comment="payment")
    own = allowing(mail, asks, six)
    user = "-m conntrack --ctstate NEW -m owner --uid-owner 869"
    accepted = [line for line in outputs(repository, "s1", own) if user in line and "ACC" in line]
    assert accepted == [
        f"-A ufw-before-output {user} -p tcp -d 198.51.100.25 -m multiport --dports 25,587 "
        "-j ACCEPT",
        f"-A ufw-before-output {user} -p udp -m multiport --dports 53 -j ACCEPT",
        f"-A ufw6-before-output {user} -p udp -m multiport --dports 53 -j ACCEPT",
    ]
    second = [line for line in outputs(repository, "s2", own) if user in line and "ACC" in line]
    assert second[:2] == accepted[:2] and "-d 2001:db8::/32" in second[-1]
    assert not any(user in line for line in outputs(repository, "nas1", own))


def test_x10_a_copy_opens_nothing_that_egress_gives_its_original(repository: Path) -> None:
    """O1, X10: The data of real customers stays on its host, over IPv4 and IPv6."""
    own = allowing(
        Egress(ports="25,587", application=True, comment="mail"),
        Egress(ports="443", host="g1", to="2001:db8::/32", application=True, comment="payment"),
    )
    user = "--uid-owner 869"
    for host, accepted in (("s1", 2), ("g1", 0)):
        lines = [line for line in outputs(repository, host, own, "staging") if user in line]
        assert [line.split()[-1] for line in lines].count("ACCEPT") == accepted
        assert [line.split()[-1] for line in lines].count("REJECT") == 2


@pytest.mark.parametrize("host", fleets.fleet().hosts)
def test_x7_only_root_asks_for_the_rights_of_a_cloud(repository: Path, host: str) -> None:
    """X7: And only root reaches the master's ports, on every host but the master."""
    everything = Egress(ports="1:65535", application=True, comment="everything")
    lines = outputs(repository, host, allowing(everything))
    accepts = [
        place for place, line in enumerate(lines) if "ACCEPT" in line and "-o lo" not in line
    ]
    for address in ("169.254.169.254", "fd00:ec2::254"):
        [place] = [place for place, line in enumerate(lines) if f"-d {address} " in line]
        assert lines[place].endswith("-m owner ! --uid-owner 0 -j REJECT")
        family = [one for one in accepts if lines[one].split()[1] == lines[place].split()[1]]
        assert place < min(family)
    closed = [line for line in lines if "--dports 4505,4506" in line]
    assert len(closed) == (host != "salt")
    assert all("-d 10.1.5.2 " in line and "! --uid-owner 0" in line for line in closed)


@pytest.mark.parametrize(("name", "host"), fleets.kinds())
def test_x7_connections_go_on_when_the_rules_begin(repository: Path, name: str, host: str) -> None:
    """X7, S12: Packets of known connections pass, also of those that are older than the firewall;
    neighbours are found, and addresses are leased.
    """
    lines = outputs(repository, host, fleets.settings(), name)
    text = "\n".join(lines)
    for chain in ("ufw-before-output", "ufw6-before-output"):
        assert f"-A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" in lines
        assert f"-A {chain} -p tcp ! --syn -m conntrack --ctstate NEW -j ACCEPT" in lines
    assert "-p udp --sport 68 --dport 67 -j ACCEPT" in text
    assert "--sport 546 --dport 547 -j ACCEPT" in text
    for kind in ("neighbour-solicitation", "neighbour-advertisement"):
        assert f"-A ufw6-before-output -p icmpv6 --icmpv6-type {kind} -j ACCEPT" in lines
    for line in lines:  # and nothing else opens a connection
        known = ("-o lo", "RELATED,ESTABLISHED", "! --syn", "icmp", "port 67", "port 547")
        assert "ACCEPT" not in line or any(word in line for word in known), line


def test_x7_the_policy_drops_what_no_rule_accepts(repository: Path) -> None:
    """X7: A rejection would answer all connections while ufw loads its rules."""
    lines = (repository / "salt/ufw/files/default").read_text().splitlines()
    assert 'DEFAULT_OUTPUT_POLICY="DROP"' in lines and 'DEFAULT_INPUT_POLICY="DROP"' in lines


@pytest.mark.parametrize("path", ["loose", "none"])
def test_x7_hosts_with_several_ways_bind_no_rule(path: str) -> None:
    """X7: Their packets may come in on any interface, so the setting is for both."""
    own = fleets.settings().but(replace(fleets.settings()[FirewallSettings], reverse_path=path))
    for name in ("default", "ipv6"):
        found = fleets.pillar("fw", name, own)["ufw"]
        assert found["near"] == []
        ways = [*found["rules"], *found["routes"], *found["forward_ping"]]
        assert {one[key] for one in ways for key in ("in", "out") if key in one} == {None}
        assert not any(" on " in str(rule) for rule in firewall.wanted(found["rules"], [], [], {}))


def test_a_host_answers_ping_at_its_own_addresses(repository: Path) -> None:
    """S7: A host answers ping at its own addresses."""
    text = before_rules(repository, "s1")
    assert "ufw-before-forward -p icmp" not in text
    for address in ("10.1.3.11", "10.1.4.11", "10.1.5.11"):
        assert (
            f"-A ufw-before-input -p icmp --icmp-type echo-request -d {address} -j ACCEPT" in text
        )


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_nothing_new_is_let_through_before_the_rules(
    repository: Path, name: str, host: str
) -> None:
    """S7: before.rules accept replies and ping to one address, and forward nothing else.

    One of two firewalls also forwards the answers of a connection that the other one has let in.
    """
    answers = {
        f"-p tcp ! --syn -s {way['to']} -m multiport --sports {way['ports']} -m conntrack"
        for way in fleets.pillar(host, name)["ufw"]["taken_over"]
    }
    for line in before_rules(repository, host, name).splitlines():
        if "before-forward" in line and line.endswith("ACCEPT"):
            known = "RELATED,ESTABLISHED" in line or "echo-request -d" in line
            assert known or any(answer in line for answer in answers)
        if "--sports 4505,4506" in line:
            assert "! --syn -s " in line


def test_nobody_sends_through_the_firewall_from_a_network_behind_it(repository: Path) -> None:
    """S7: A client can not send packets in the name of an inner host."""
    lines = before_rules(repository, "fw").splitlines()
    dropped = [f"-A ufw-before-forward -s 10.1.{number}.0/24 -j DROP" for number in (3, 4)]
    assert [line for line in lines if " -s " in line and line.endswith("DROP")] == dropped
    accepted = [n for n, line in enumerate(lines) if "forward" in line and "ACCEPT" in line]
    assert lines.index(dropped[-1]) < min(accepted)
    assert "-j DROP" not in "".join(
        line for line in before_rules(repository, "s1").splitlines() if "forward -s" in line
    )


def kernel_settings(repository: Path, ufw: dict[str, Any]) -> dict[str, str]:
    """The settings in ufw's sysctl.conf, with the asterisk that stands for every interface."""
    template = jinja2.Template((repository / "salt/ufw/files/sysctl.conf").read_text())
    lines = template.render(pillar={"ufw": ufw}).splitlines()
    return dict(line.split("=") for line in lines if line and not line.startswith("#"))


def test_the_kernel_believes_no_packet_about_routes(repository: Path) -> None:
    """S7: Each interface drops packets with a source that lies elsewhere, and takes no routes."""
    ufw = fleets.pillar("s1")["ufw"]
    found = kernel_settings(repository, ufw)
    assert found["net/ipv4/conf/*/rp_filter"] == "1"
    refused = ("accept_redirects", "accept_source_route", "accept_ra")
    names = {name for name in found if name.endswith(refused)}
    assert {found[name] for name in names} == {"0"} and len(names) == 5
    assert "router-advertisement" not in before_rules(repository, "s1")
    given = ufw | {"reverse_path": 2, "settings": {"router_advertisements": True}}
    changed = kernel_settings(repository, given)
    assert changed["net/ipv4/conf/*/rp_filter"] == "2"
    assert changed["net/ipv6/conf/*/accept_ra"] == "1"
    text = (repository / "salt/ufw/files/before6.rules").read_text()
    rules = jinja2.Template(text).render(pillar={"ufw": given})
    assert "--icmpv6-type router-advertisement -m hl --hl-eq 255 -j ACCEPT" in rules


@pytest.mark.parametrize(
    ("file", "address"), [("before.rules", "10.1.4.21"), ("before6.rules", "fd00::1")]
)
def test_x1_other_users_are_refused_at_once(repository: Path, file: str, address: str) -> None:
    """X1: Only a new connection is judged, and the process gets an error instead of a silence."""
    opening = {"proto": "tcp", "ports": "24007,49152:49251", "to": address}
    text = (repository / "salt/ufw/files" / file).read_text()
    ufw = fleets.pillar("s1")["ufw"] | {"by_root": [opening]}
    lines = jinja2.Template(text).render(pillar={"ufw": ufw}).splitlines()
    [rule] = [line for line in lines if "--uid-owner 0" in line and "--dports" in line]
    assert f"-d {address} -m multiport --dports 24007,49152:49251" in rule
    assert rule.endswith("--ctstate NEW -m owner ! --uid-owner 0 -j REJECT")
    accept = next(line for line in lines if "ESTABLISHED" in line)
    assert lines.index(rule) < lines.index(accept)
