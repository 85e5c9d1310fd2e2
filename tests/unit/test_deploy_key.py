"""The operator's keys for private repositories, in the secrets of the master (K4, X10)."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from salina_fleet import runner, secrets
from salina_fleet.errors import RunnerError
from tests import fleets
from tests.loading import load

KEY = ed25519.Ed25519PrivateKey.generate()


def written(key: Any = KEY, form: str = "OpenSSH", password: bytes = b"") -> str:
    """Return a private key as text."""
    protection = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    data: bytes = key.private_bytes(
        serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), protection
    )
    return data.decode()


TEXT = written()
PUBLIC = (
    KEY.public_key()
    .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    .decode()
)


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The runner, on a master with an empty store."""
    return load("_runners/secrets.py", opts={"salina": {"root": "/", "state": str(tmp_path)}})


def give(monkeypatch: pytest.MonkeyPatch, given: bytes) -> None:
    """Write something into the standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))


def store(tmp_path: Path) -> secrets.Store:
    """Return the secrets of that master."""
    return secrets.open_store(tmp_path)


def test_k4_a_deploy_key_is_kept(called: Any, tmp_path: Path) -> None:
    """K4: Only root reads it. The answer, which Salt keeps, has the public part only."""
    file = tmp_path / "key"
    file.write_text(TEXT)
    told = called.deploy_key("addons", str(file))
    assert told.splitlines() == [
        f"the deploy key addons is kept with the secrets; its public part: {PUBLIC}",
        "next: salt-run fleet.resolve",
    ]
    kept = store(tmp_path)
    assert kept.get("deploy-addons") == TEXT.strip()
    assert kept.path("deploy-addons").stat().st_mode & 0o777 == 0o600
    newer = written(ed25519.Ed25519PrivateKey.generate())
    file.write_text(newer)
    called.deploy_key("addons", str(file))
    assert kept.get("deploy-addons") == newer.strip()


def test_a_key_from_the_standard_input(
    called: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file on the master needs to have it."""
    give(monkeypatch, TEXT.encode())
    called.deploy_key("addons", "-")
    assert store(tmp_path).get("deploy-addons") == TEXT.strip()


@pytest.mark.parametrize("given", [b"", b"canary", b"canary\xff"])
def test_k4_k5_something_else_on_the_standard_input_is_refused(
    called: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bytes
) -> None:
    """K4, K5: The message has nothing of it, and nothing is kept."""
    give(monkeypatch, given)
    with pytest.raises(RunnerError, match=r"^-: it is not a private key") as caught:
        called.deploy_key("addons", "-")
    assert "canary" not in str(caught.value)
    assert not store(tmp_path).has("deploy-addons")


def test_k5_a_key_is_never_awaited_without_a_word(
    called: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: Without a file the command would wait at a terminal. Salt says what is missing."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(TypeError, match="file"):
        called.deploy_key("addons")


@pytest.mark.parametrize(
    "text",
    [
        written(rsa.generate_private_key(65537, 2048), "TraditionalOpenSSL"),
        written(form="PKCS8"),
        written(rsa.generate_private_key(65537, 2048)),
    ],
    ids=["RSA", "PKCS8", "OpenSSH RSA"],
)
def test_other_forms_of_keys(text: str) -> None:
    """ssh reads them as well."""
    assert secrets.public_part(text).startswith(("ssh-rsa ", "ssh-ed25519 "))


@pytest.mark.parametrize(
    "text",
    ["", "canary", PUBLIC, f"{written()[:60]}canary\n-----END OPENSSH PRIVATE KEY-----\n"],
    ids=["empty", "text", "public", "damaged"],
)
def test_k4_k5_something_else_is_refused(called: Any, tmp_path: Path, text: str) -> None:
    """K4, K5: The message says what to do, has nothing of the file, and nothing is kept."""
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(RunnerError) as caught:
        called.deploy_key("addons", str(file))
    assert str(caught.value) == (
        f"{file}: it is not a private key without a password; make one: ssh-keygen -t ed25519 "
        "-N '' -f FILE"
    )
    assert not store(tmp_path).has("deploy-addons")


def test_k5_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    """K5: Nobody could type the password when a host builds."""
    file = tmp_path / "key"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(file)]
    subprocess.run(argv, check=True)
    with pytest.raises(secrets.SecretsError, match="not a private key without a password"):
        secrets.public_part(file.read_text())
    with pytest.raises(secrets.SecretsError, match="not a private key without a password"):
        secrets.public_part(written(form="PKCS8", password=b"secret"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("../x", written().encode(), 'name: "../x" is not valid; must be the name of a deploy key'),
        ("addons", None, "key: No such file or directory"),
        ("addons", b"\xff\xfe", "it is not a private key; must be plain text"),
    ],
)
def test_k5_a_request_that_is_not_valid(
    called: Any, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    """K5: One message, and nothing is kept."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RunnerError, match=re.escape(said)):
        called.deploy_key(name, str(file))
    assert not store(tmp_path).folder.exists()


def test_k5_a_missing_key_is_a_fault(
    called: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: The check knows the keys that definitions name."""
    kept = store(tmp_path)
    secrets.create(kept, ["crm"], 3650)
    found = fleets.definition("odoo-14.0")
    private = {**found, "source": {**found["source"], "key": "addons"}}
    site = SimpleNamespace(store=kept, fleet=fleets.fleet(), definitions={"odoo-14.0": private})
    monkeypatch.setattr(runner, "site", lambda _: site)
    with pytest.raises(RunnerError, match=r"salt-run secrets\.deploy_key addons FILE"):
        called.check()
    kept.replace(secrets.deploy("addons"), written())
    assert called.check() == f"all secrets are in {kept.folder}"
    kept.path("deploy-addons").chmod(0o644)
    with pytest.raises(RunnerError, match="deploy-addons: other users may read it"):
        called.check()
