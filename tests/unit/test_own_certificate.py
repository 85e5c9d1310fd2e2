"""The operator's own certificate for an application: judged before it is kept, and then served."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from salina.common.certificate import new_key, published_faults
from salina_fleet import health, secrets
from salina_fleet.certificates import signing_policy
from salina_fleet.errors import RunnerError
from salina_fleet.model.tls import TlsSettings
from salina_fleet.pillar import select
from tests import fleets
from tests.loading import load
from tests.render.minion import Minion

NOW = datetime.now(UTC)
CA_KEY, KEY, OTHER = (new_key() for _ in range(3))
CA, OTHER_CA = (secrets.self_signed(key, "a public CA", 100) for key in (CA_KEY, OTHER))
OWN = fleets.settings().but(replace(fleets.settings()[TlsSettings], public="own"))


def signed(names: str = "crm.example", days: int = 90, since: int = 0) -> str:
    """A certificate of the CA for the key, with a DNS name."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names)]))
        .issuer_name(x509.load_pem_x509_certificate(CA.encode()).subject)
        .public_key(load_pem_private_key(KEY.encode(), None).public_key())  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=since))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(names)]), critical=False)
    )
    private: Any = load_pem_private_key(CA_KEY.encode(), None)
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("pem", "key", "faults"),
    [
        (signed(), KEY, []),
        (signed() + CA, KEY, []),
        (signed("*.example"), KEY, []),
        ("no PEM", KEY, ["the certificate can't be read"]),
        (signed(), "no PEM", ["the key can't be read"]),
        (signed(), OTHER, ["the key is not that of the first certificate in the file"]),
        (signed("shop.example"), KEY, ["its names are shop.example; one must be crm.example"]),
        (signed("*.crm.example"), KEY, ["its names are *.crm.example; one must be crm.example"]),
        (signed(days=14), KEY, ["it expires on "]),
        (signed(since=1), KEY, ["it is valid from "]),
        (signed() + OTHER_CA, KEY, ["CN=a public CA in the file did not sign"]),
        (signed("x.y", 14, 1), OTHER, ["the key is not", "its names are", "it is valid", "it exp"]),
    ],
    ids=range(12),
)
def test_x6_a_pair_is_judged(pem: str, key: str, faults: list[str]) -> None:
    """X6, K5: Every fault is told at once, before HAProxy or a browser finds it."""
    found = published_faults(pem.encode(), key.encode(), "crm.example", NOW, 15 * 86_400)
    assert len(found) == len(faults)
    assert all(said.startswith(fault) for said, fault in zip(found, faults, strict=True))


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The runner, on a master with an empty store; `store` is that store."""
    module = load("_runners/certificates.py", opts={})
    site = SimpleNamespace(fleet=fleets.fleet(), store=secrets.open_store(tmp_path))
    monkeypatch.setattr(module.runner, "site", lambda _: site)
    module.store = site.store
    for name, text in (("crm.pem", signed()), ("crm.key", KEY), ("other.key", OTHER)):
        (tmp_path / name).write_text(text)
    return module


def test_x6_a_pair_is_kept(runner: Any, tmp_path: Path) -> None:
    """X6, K4: Only root reads it. A newer one replaces it, and no message has the key."""
    given = ("crm", str(tmp_path / "crm.pem"), str(tmp_path / "crm.key"))
    told = runner.own(*given)
    assert told.splitlines() == [
        "public-crm is kept with the secrets",
        "set `public: own` in pillar/settings/tls.yaml",
        "next: salt -L lb1 state.apply",
    ]
    (tmp_path / "crm.pem").write_text(signed() + CA)
    runner.own(*given)
    assert runner.store.get("public-crm.crt").count("BEGIN") == 2
    assert {file.stat().st_mode & 0o777 for file in runner.store.folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("application", "key", "words"),
    [
        ("shop", "crm.key", "application: 'shop' is unknown; choose one of: crm"),
        ("crm", "absent.key", "absent.key: No such file or directory"),
        ("crm", "other.key", "for crm.example:\n  the key is not that of the first certificate"),
    ],
)
def test_x6_a_pair_that_does_not_fit_is_refused(
    runner: Any, tmp_path: Path, application: str, key: str, words: str
) -> None:
    """X6, K5: Nothing is kept."""
    with pytest.raises(RunnerError, match=re.escape(words)):
        runner.own(application, str(tmp_path / "crm.pem"), str(tmp_path / key))
    assert not runner.store.has("public-crm.crt")


def test_x6_the_balancer_gets_the_pair_and_nobody_else_does() -> None:
    """X6, S6, K4: The key is in the balancer's pillar and file, and no difference shows it."""
    pillar = fleets.pillar("lb1", own=OWN)
    one, inner, *_ = pillar["tls"]["certificates"]
    assert (inner["name"], inner["pair"]) == ("balancer", None)
    assert one["pair"] == {"certificate": "canary-public-crm.crt", "key": "canary-public-crm.key"}
    assert "canary-public" not in str([fleets.pillar(host, own=OWN) for host in ("s1", "nas1")])
    chunks = Minion("lb1", pillar).chunks
    written = {
        chunk["name"]: (chunk["contents_pillar"], chunk["mode"], chunk["show_changes"])
        for chunk in chunks
        if chunk["name"].startswith("/etc/salina/tls/public-crm")
    }
    assert written == {
        "/etc/salina/tls/public-crm.key": ("tls:certificates:0:pair:key", "0600", False),
        "/etc/salina/tls/public-crm.crt": ("tls:certificates:0:pair:certificate", "0644", False),
    }
    assert "canary" not in str(chunks).replace("canary-ca.crt", "")  # Salt keeps these in a cache


def test_x6_the_ca_signs_no_certificate_that_is_the_operators() -> None:
    """X6: And its health check names the operator's next step."""
    fleet = fleets.fleet()
    own = replace(fleet, settings=OWN)
    with pytest.raises(ValueError, match="choose one of: balancer, report, metrics, logs"):
        signing_policy(own, own.hosts["lb1"], "public-crm", NOW)
    checks = health.checks(own, own.hosts["lb1"], fleets.definitions(fleet.topology))
    arguments = {check.probe: check.arguments for check in checks}
    assert arguments["certificates"]["names"] == {
        "public-crm": health.GIVE_ANOTHER,
        "balancer": health.RENEWAL_FAILS,
        "report": health.RENEWAL_FAILS,
        "metrics": health.RENEWAL_FAILS,
        "logs": health.RENEWAL_FAILS,
    }
    assert arguments["served"]["own"] is True


def test_x6_a_missing_pair_is_told() -> None:
    """K5: The pillar fails with the next command, before anything is changed."""
    store = secrets.FakeStore(without=["public-crm.key"])
    data = fleets.master_data(replace(fleets.fleet(), settings=OWN), store)
    with pytest.raises(secrets.SecretsError, match=r"give it by salt-run certificates\.own"):
        select(data, "lb1")
