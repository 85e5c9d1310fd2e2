"""sshd on a host that has it already, and on which root logs in (X9)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests import fleets
from tests.lab import lab

pytestmark = [pytest.mark.lab, pytest.mark.proof]

HOST = "s1"
ADDRESS = fleets.fleet().hosts[HOST].addresses["management"]
FILE = "/etc/ssh/sshd_config.d/00-salina.conf"
KEY = "/root/salina-test-key"


def ssh(source: str, user: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Log in to the host from another one, and print the name of the account there."""
    command = ["ssh", "-i", KEY, "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
    command += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    return lab.execute(source, *command, *options, f"{user}@{ADDRESS}", "id", "--user", "--name")


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    """sshd on the host as somebody else has installed it, and a key with which root can log in."""
    lab.shell(HOST, f"rm {FILE}; systemctl reload ssh")
    lab.run("salt", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY)
    private, public = (lab.run("salt", "cat", f"{KEY}{end}") for end in ("", ".pub"))
    lab.shell("s2", f"umask 077; cat >{KEY} <<'END'\n{private}END\n")
    lab.shell(HOST, f"umask 077; mkdir -p /root/.ssh; echo '{public}' >/root/.ssh/authorized_keys")
    yield
    lab.shell(HOST, "userdel --remove olga 2>/dev/null || true; rm -rf /root/.ssh")
    for host in ("salt", "s2"):
        lab.shell(host, f"rm -f {KEY} {KEY}.pub")
    assert lab.failures(lab.apply(HOST, "ssh")) == []


def test_x9_sshd_where_it_is_installed(installed: None) -> None:
    """X9: An apply locks nobody out; then keys only, no root, no old algorithms, and the master
    alone reaches it.
    """
    assert ssh("salt", "root").stdout == "root\n"
    states = lab.apply(HOST, "ssh")[HOST]
    assert states["ssh-open"]["result"] is False
    assert "root (with a key)" in states["ssh-open"]["comment"]
    assert lab.execute(HOST, "test", "-e", FILE).returncode == 1
    assert ssh("salt", "root").stdout == "root\n"

    lab.shell(
        HOST,
        "useradd --create-home --shell /bin/sh olga\n"
        "install -d -m 700 -o olga -g olga ~olga/.ssh\n"
        "install -m 600 -o olga -g olga /root/.ssh/authorized_keys ~olga/.ssh/\n"
        "echo olga:secret | chpasswd",
    )
    found = lab.apply(HOST, "ssh")
    assert lab.failures(found) == []
    assert found[HOST]["ssh-current"]["changes"]["reload"] == "ssh"
    assert lab.changes(lab.apply(HOST, "ssh")) == []

    assert ssh("salt", "olga").stdout == "olga\n"
    assert "Permission denied (publickey)" in ssh("salt", "root").stderr
    password = ssh("salt", "olga", "-o", "PubkeyAuthentication=no")
    assert "Permission denied (publickey)" in password.stderr
    for old in ("KexAlgorithms=diffie-hellman-group14-sha256", "Ciphers=aes256-ctr"):
        assert "no matching" in ssh("salt", "olga", "-o", old).stderr
    assert "timed out" in ssh("s2", "olga").stderr


def test_x9_a_configuration_that_does_not_include_the_file(installed: None) -> None:
    """X9, K5: The apply says that the settings are not in force, and what to do."""
    include = "Include /etc/ssh/sshd_config.d/*.conf"
    lab.shell(HOST, "sed -i 's|^Include |# Include |' /etc/ssh/sshd_config")
    try:
        state = lab.apply(HOST, "ssh")[HOST]["ssh-in-force"]
        assert state["result"] is False
        assert "PermitRootLogin is " in state["comment"] and include in state["comment"]
    finally:
        lab.shell(HOST, "sed -i 's|^# Include |Include |' /etc/ssh/sshd_config")
    assert lab.failures(lab.apply(HOST, "ssh")) == []
