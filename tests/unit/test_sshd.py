"""sshd where it is installed: keys only, no root, current algorithms, nobody locked out (X9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salina.ssh import sshd
from salina.ssh.sshd import Account
from tests.loading import load

BEFORE: dict[str, list[str]] = {
    "port": ["22"],
    "permitrootlogin": ["without-password"],
    "pubkeyauthentication": ["yes"],
    "passwordauthentication": ["yes"],
    "kbdinteractiveauthentication": ["no"],
    "authorizedkeysfile": [".ssh/authorized_keys .ssh/authorized_keys2"],
    "authorizedkeyscommand": ["none"],
    "trustedusercakeys": ["none"],
}
ROOT = Account("root", ("root",), key=True, password=True)
ADMIN = Account("admin", ("admin", "sudo"), key=True, password=False)
CLERK = Account("clerk", ("clerk",), key=False, password=True)


@pytest.mark.parametrize(
    ("accounts", "more", "now", "later"),
    [
        ([ROOT, ADMIN], {}, {"root": "with a key", "admin": "with a key"}, {"admin"}),
        ([ROOT, CLERK], {}, {"root": "with a key", "clerk": "with a password"}, set()),
        ([ROOT], {"permitrootlogin": ["no"]}, {}, set()),
        ([ROOT], {"pubkeyauthentication": ["no"], "permitrootlogin": ["yes"]},
         {"root": "with a password"}, set()),
        ([CLERK], {"passwordauthentication": ["no"]}, {}, set()),
        ([CLERK], {"passwordauthentication": ["no"], "kbdinteractiveauthentication": ["yes"]},
         {"clerk": "with a password"}, set()),
        ([ADMIN, CLERK], {"allowusers": ["cl*", "x"]}, {"clerk": "with a password"}, set()),
        ([ADMIN, CLERK], {"denygroups": ["sudo"]}, {"clerk": "with a password"}, set()),
        ([ADMIN, CLERK], {"allowgroups": ["sudo"]}, {"admin": "with a key"}, {"admin"}),
        ([ADMIN], {"allowusers": ["admin@10.1.5.2"]}, {"admin": "with a key"}, {"admin"}),
    ],
)  # fmt: skip
def test_x9_the_accounts_that_can_log_in(
    accounts: list[Account], more: dict[str, list[str]], now: dict[str, str], later: set[str]
) -> None:
    """X9: By the settings in force, and with keys only and without root."""
    assert sshd.logins(accounts, BEFORE | more) == now
    assert set(sshd.with_keys_only(accounts, BEFORE | more)) == later


def test_x9_the_files_of_keys() -> None:
    """X9: As sshd finds them; a comment is not a key."""
    found = sshd.key_files(
        {"authorizedkeysfile": ["%h/k /etc/keys/%u-%U none .ssh/a"]}, "u", 7, "/h"
    )
    assert found == ["/h/k", "/etc/keys/u-7", "/h/.ssh/a"]
    assert not sshd.has_key("# nothing\n\n") and sshd.has_key("# one\nssh-ed25519 AAAA\n")


class Host:
    """A host with sshd: its settings, its accounts, and what the modules say of them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = load("_modules/sshd.py", salt={"cmd.run_all": self.run_all})
        self.shown = "\n".join(f"{key} {one}" for key, value in BEFORE.items() for one in value)
        monkeypatch.setattr(self.module, "RUNTIME", folder / "sshd")
        monkeypatch.setattr(self.module, "SHADOW", folder / "shadow")
        self.home = folder / "home"
        self.shell = "/bin/bash"
        monkeypatch.setattr(self.module.pwd, "getpwall", self.accounts)
        self.file = folder / "00-salina.conf"
        (folder / "shadow").write_text("root:*:1:::\nclerk:$y$hash:1:::\nadmin:!:1:::\n")

    def run_all(self, argv: list[str], **_: Any) -> dict[str, Any]:
        assert argv[-2:] == ["/usr/sbin/sshd", "-T"]
        return {"retcode": 0, "stdout": self.shown, "stderr": ""}

    def accounts(self) -> list[Any]:
        from pwd import struct_passwd

        return [
            struct_passwd((name, "x", uid, 0, "", str(self.home / name), shell))
            for name, uid, shell in (
                ("root", 0, "/bin/bash"),
                ("daemon", 1, "/usr/sbin/nologin"),
                ("admin", 1000, self.shell),
            )
        ]

    def give(self, name: str) -> None:
        """Give an account a key."""
        file = self.home / name / ".ssh/authorized_keys"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("ssh-ed25519 AAAA somebody\n")

    def state(self, function: str, *arguments: Any, test: bool = False) -> dict[str, Any]:
        functions = {
            "sshd.obstacle": self.module.obstacle,
            "sshd.unheeded": self.module.unheeded,
        }
        states = load("_states/sshd.py", salt=functions, opts={"test": test})
        found: dict[str, Any] = getattr(states, function)(str(self.file), *arguments)
        return found


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@pytest.mark.parametrize("test", [False, True])
def test_x9_an_apply_locks_nobody_out(host: Host, test: bool) -> None:
    """X9, K5: If root alone can log in, sshd stays as it is, and the plan already says so."""
    host.give("root")
    found = host.state("open_to_somebody", test=test)
    assert found["result"] is False
    assert found["comment"] == (
        "sshd was not changed: these accounts can log in now, and none of them could afterwards: "
        "root (with a key)\nnext: give an account other than root a public key, then apply again "
        "(`managed: false` in pillar/settings/ssh.yaml leaves sshd's configuration alone)"
    )
    host.give("admin")
    assert host.state("open_to_somebody", test=test)["result"] is True


def test_x9_nobody_is_locked_out_who_could_not_log_in(host: Host) -> None:
    """X9: A new host without any key gets its settings, and so does one that has them already."""
    assert host.state("open_to_somebody")["result"] is True
    host.give("daemon")  # it has no shell
    assert host.state("open_to_somebody")["result"] is True
    host.give("root")
    host.file.touch()
    assert host.state("open_to_somebody")["comment"] == "sshd has its settings already"


@pytest.mark.parametrize("option", ["authorizedkeyscommand", "trustedusercakeys"])
def test_x9_keys_from_elsewhere_count(host: Host, option: str) -> None:
    """X9: A directory service or a CA may know the operators' keys."""
    host.give("root")
    host.shown = host.shown.replace(f"{option} none", f"{option} /usr/bin/keys")
    assert host.state("open_to_somebody")["result"] is True


def test_x9_settings_that_are_not_in_force_are_reported(host: Host) -> None:
    """X9, K5: With the reason and the next step; a prediction compares only what is there."""
    predicted = host.state("in_force", 22, test=True)
    assert (predicted["result"], predicted["changes"]) == (None, {})
    host.file.write_text("# words\n\nPermitRootLogin no\nCiphers -*-cbc\n")
    host.shown += "\nciphers aes128-cbc,aes256-gcm@openssh.com"
    found = host.state("in_force", 2222)
    assert found["result"] is False
    first, second = found["comment"].splitlines()
    assert first == (
        f"sshd does not heed {host.file}: PermitRootLogin is without-password instead of no; "
        "Ciphers has aes128-cbc; sshd listens on 22, and the firewalls open 2222; set `port` in "
        "pillar/settings/ssh.yaml"
    )
    assert second.startswith("next: begin /etc/ssh/sshd_config with the line `Include")
    host.shown = "permitrootlogin no\nport 22\nport 2222\nciphers aes256-gcm@openssh.com"
    assert host.state("in_force", 2222)["result"] is True
