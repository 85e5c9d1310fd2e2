"""Secrets: made once, readable by root alone, and never told to anyone."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from salina.common.certificate import new_key
from salina_fleet import runner, secrets
from salina_fleet.errors import RunnerError
from salina_fleet.secrets import SecretsError, Store
from tests import fleets
from tests.loading import load

CAS = ["ca.key", "ca.crt", "files-ca.key", "files-ca.crt"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with all secrets."""
    made = secrets.open_store(tmp_path)
    secrets.create(made, ["crm"], 3650)
    return made


def test_created_once(store: Store) -> None:
    """K1: A second call makes nothing and changes nothing."""
    before = {file.name: file.read_bytes() for file in store.folder.iterdir()}
    assert secrets.create(store, ["crm"], 3650) == []
    assert {file.name: file.read_bytes() for file in store.folder.iterdir()} == before
    assert set(before) == {*secrets.passwords(["crm"]), *CAS}


def test_names_are_returned_and_no_values(tmp_path: Path) -> None:
    """K4: The runner returns names only, because the job cache keeps them."""
    store = secrets.open_store(tmp_path)
    made = secrets.create(store, ["crm"], 3650)
    assert made == [*secrets.passwords(["crm"]), *CAS]
    assert not [name for name in made if store.get(name) in str(made)]


def test_missing_one_is_made(store: Store) -> None:
    """Only what is missing is made: the others stay."""
    kept = store.get("database-superuser")
    store.path("app-crm-admin").unlink()
    assert secrets.create(store, ["crm"], 3650) == ["app-crm-admin"]
    assert store.get("database-superuser") == kept


def test_a_further_application_gets_its_own(store: Store) -> None:
    """And all others stay, the CA's too."""
    before = {file.name: file.read_bytes() for file in store.folder.iterdir()}
    made = secrets.create(store, ["crm", "shop"], 3650)
    assert made == ["app-shop-database", "app-shop-admin", "app-shop-login", "app-shop-record"]
    after = {file.name: file.read_bytes() for file in store.folder.iterdir()}
    assert before.items() <= after.items() and len(after) == len(before) + 4


STAGING = ["crm", "crm_staging"]
COPIES = ["crm_staging"]
VISITORS = "app-crm_staging-visitors"


def test_o1_only_a_copy_for_trials_has_a_password_for_visitors(store: Store) -> None:
    """O1, K1: It is made once, also for an application that becomes a copy later."""
    made = secrets.create(store, STAGING, 3650)
    assert made == [f"app-crm_staging-{purpose}" for purpose in secrets.APPLICATION]
    assert secrets.create(store, STAGING, 3650, copies=COPIES) == [VISITORS]
    assert secrets.create(store, STAGING, 3650, copies=COPIES) == []
    every = {file.name for file in store.folder.iterdir()}
    assert every == {*secrets.passwords(STAGING, COPIES), *CAS}
    assert {*secrets.passwords(STAGING, COPIES)} - {*secrets.passwords(STAGING)} == {VISITORS}


def test_o1_a_copy_for_trials_without_its_password_is_a_fault(store: Store) -> None:
    """O1, K5: The balancer needs it. Without the copy nobody asks for it."""
    secrets.create(store, STAGING, 3650)
    assert secrets.check(store, STAGING) == []
    assert secrets.check(store, STAGING, copies=COPIES) == [
        f"secret {VISITORS} does not exist in {store.folder}: salt-run secrets.create makes it"
    ]


def test_o1_the_runner_knows_the_copies_of_the_topology(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O1, K4: It makes and checks their passwords, and returns names only."""
    site = SimpleNamespace(store=store, fleet=fleets.fleet("staging"), definitions={})
    monkeypatch.setattr(runner, "site", lambda _: site)
    called: Any = load("_runners/secrets.py", opts={})
    with pytest.raises(RunnerError, match=f"secret {VISITORS} does not exist"):
        called.check()
    own = [f"app-crm_staging-{purpose}" for purpose in secrets.APPLICATION]
    assert called.create() == {"made": [*own, VISITORS]}
    assert called.check() == f"all secrets are in {store.folder}"


def test_modes(store: Store) -> None:
    """K4: The directory is 0700, each file 0600, and nothing else remains in it."""
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in store.folder.iterdir()} == {0o600}


def test_passwords_differ(store: Store) -> None:
    """S6: Each has at least 128 bits, in characters that need no quotes anywhere."""
    values = [store.get(name) for name in secrets.passwords(["crm"])]
    assert len(set(values)) == len(values)
    assert all(len(value) >= 32 and value.isascii() for value in values)
    assert not set("".join(values)) & set("'\"\\ $:@/%#")


def test_ca(store: Store) -> None:
    """The CA: ECDSA P-256, self-signed, ten years, may sign hosts' certificates only."""
    certificate = x509.load_pem_x509_certificate(store.get("ca.crt").encode())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    assert certificate.subject.rfc4514_string() == "CN=Salina CA crm"
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == (
        datetime.timedelta(days=3650)
    )
    limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical and limits.value == x509.BasicConstraints(ca=True, path_length=0)


def test_never_overwritten(store: Store) -> None:
    """A secret that exists cannot be replaced by accident."""
    kept = store.get("app-crm-admin")
    with pytest.raises(FileExistsError):
        store.put("app-crm-admin", "other")
    assert store.get("app-crm-admin") == kept
    assert not list(store.folder.glob(".*"))


def test_check(store: Store) -> None:
    """K5: A complete and closed store has no fault; otherwise each fault is a line."""
    assert secrets.check(store, ["crm"]) == []
    store.path("app-crm-admin").chmod(0o644)
    store.path("app-crm-login").write_text("\n")
    store.path("database-rest").unlink()
    store.folder.chmod(0o755)
    folder = store.folder
    assert secrets.check(store, ["crm"]) == [
        f"{folder}: other users may enter it; its mode must be 0700",
        f"secret database-rest does not exist in {folder}: salt-run secrets.create makes it",
        f"{folder}/app-crm-admin: other users may read it; its mode must be 0600",
        f"secret app-crm-login in {folder} is empty; restore it from your copy",
    ]


def test_foreign_ca(store: Store) -> None:
    """A certificate of another key is found before any host trusts it."""
    store.path("ca.key").write_text(new_key())
    assert secrets.check(store, ["crm"]) == [
        f"{store.path('ca.crt')} does not belong to ca.key; restore both from your copy"
    ]


def test_messages_hold_no_value(store: Store) -> None:
    """K4: A message names the secret and never its value."""
    store.path("app-crm-admin").write_bytes(b"s\xe9cret")
    with pytest.raises(SecretsError) as caught:
        store.get("app-crm-admin")
    assert (
        str(caught.value)
        == f"secret app-crm-admin in {store.folder} is not plain text; restore it from your copy"
    )
