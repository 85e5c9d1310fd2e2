"""X9: a real sshd judges the settings, and refuses a file that would lock everybody out."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from salina.common import file
from salina.ssh import sshd
from tests import fleets
from tests import sshd as real
from tests.fleets import REPOSITORY
from tests.render.minion import Minion

SETTINGS = REPOSITORY / "salt/ssh/files/sshd.conf"
CHECK = REPOSITORY / "salt/ssh/files/sshd-check"
PROGRAM = real.program()
DEBIAN = """\
Include {include}/*.conf
KbdInteractiveAuthentication no
UsePAM yes
X11Forwarding yes
AcceptEnv LANG LC_*
PasswordAuthentication yes
PermitRootLogin yes
Ciphers +aes128-cbc
"""
"""Debian's own configuration, with what an operator may have added."""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """Debian's configuration of a host, with a host key, and without Salina's file."""
    assert PROGRAM, "no sshd yet: run `make hosts`"
    (tmp_path / "sshd_config.d").mkdir()
    key = tmp_path / "host_key"
    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    file.put(key, text, 0o600)
    text = DEBIAN.format(include=tmp_path / "sshd_config.d")
    (tmp_path / "sshd_config").write_text(f"{text}HostKey {key}\n")
    return tmp_path / "sshd_config"


def effective(configuration: Path) -> dict[str, list[str]]:
    """Return the settings in force, by a real sshd."""
    done = real.run(str(PROGRAM), "-T", "-f", configuration)
    assert done.returncode == 0, done.stderr
    return sshd.settings(done.stdout)


def test_x9_a_real_sshd_heeds_the_settings(configuration: Path) -> None:
    """X9: Before the operator's own, which keep their effect for everything else."""
    wanted = SETTINGS.read_text()
    assert len(sshd.unheeded(wanted, effective(configuration))) >= 4
    (configuration.parent / "sshd_config.d/00-salina.conf").write_text(wanted)
    (configuration.parent / "sshd_config.d/50-cloud-init.conf").write_text(
        "PasswordAuthentication yes\n"
    )
    found = effective(configuration)
    assert sshd.unheeded(wanted, found) == []
    assert found["permitrootlogin"] == found["passwordauthentication"] == ["no"]
    assert found["kbdinteractiveauthentication"] == found["permitemptypasswords"] == ["no"]
    assert found["x11forwarding"] == ["yes"]  # the operator's own
    offered = ",".join(found[key][0] for key in ("ciphers", "macs", "kexalgorithms"))
    for old in ("cbc", "sha1", "diffie", "umac", "-ctr"):
        assert old not in offered
    for current in ("curve25519-sha256", "chacha20-poly1305@", "aes256-gcm@", "sha2-512-etm@"):
        assert current in offered


def test_s14_a_real_sshd_heeds_what_operators_may_do(configuration: Path, tmp_path: Path) -> None:
    """S14: Only the management host forwards, and lets in operators alone; nobody runs a file of
    their own before the session, and keys are root's files.
    """
    for host, group, forwarding in (("ges", "salina-operators", "local"), ("s1", "", "no")):
        minion = Minion(host, fleets.pillar(host))
        [text] = [text for path, text in minion.files if path.endswith("/00-operators.conf")]
        text = text.replace("/etc/salina/ssh/host_key", str(tmp_path / "host_key"))
        folder = configuration.parent / "sshd_config.d"
        (folder / "00-operators.conf").write_text(text)
        (folder / "00-salina.conf").write_text(SETTINGS.read_text())
        found = effective(configuration)
        assert sshd.unheeded(text, found) == sshd.unheeded(SETTINGS.read_text(), found) == []
        assert found.get("allowgroups", [""])[0] == group
        assert found["authorizedkeysfile"] == [".ssh/authorized_keys .ssh/authorized_keys2"]
        own = ["-T", "-f", configuration, "-C", "user=root,host=x,addr=192.0.2.1"]
        member = text.replace("Match Group salina-operators", "Match User root")
        (folder / "00-operators.conf").write_text(member)
        there = sshd.settings(real.run(str(PROGRAM), *own).stdout)
        assert there["authorizedkeysfile"] == ["/etc/salina/ssh/keys/%u"]
        assert there["allowtcpforwarding"] == [forwarding]
        assert there["permituserrc"] == there["allowagentforwarding"] == ["no"]
        assert there["x11forwarding"] == there["allowstreamlocalforwarding"] == ["no"]
        assert there["permitopen"] == (["*:22"] if host == "ges" else ["any"])
    offered = ",".join(found["kexalgorithms"] + found["ciphers"])
    assert "curve25519-sha256" in offered  # on the other hosts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, ""),
        ("PermitRootLogin perhaps\n", "unsupported option"),
        ("AuthenticationMethods password\nPasswordAuthentication no\n", "Authentication"),
    ],
)
def test_x9_a_bad_file_does_not_land(
    configuration: Path, tmp_path: Path, text: str | None, said: str
) -> None:
    """X9, K5: The check reads the whole configuration, with the new file first."""
    new = tmp_path / "new"
    new.write_text(SETTINGS.read_text() if text is None else text)
    script = CHECK.read_text().replace("/etc/ssh/sshd_config", str(configuration))
    (tmp_path / "check").write_text(script.replace("/usr/sbin/sshd", str(PROGRAM)))
    done = real.run("sh", tmp_path / "check", new)
    assert (done.returncode == 0) == (text is None), done.stderr
    assert said in done.stderr
