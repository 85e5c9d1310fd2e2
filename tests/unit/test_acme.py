"""X6: The published certificate of an ACME directory: asked for, judged, served and watched."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from salt.exceptions import CommandExecutionError

from salina.common import certificate
from salina.common.certificate import new_key
from salina.health import probes
from salina_fleet import health, secrets
from salina_fleet.certificates import signing_policy
from salina_fleet.model import settings
from salina_fleet.model.settings import Settings
from salina_fleet.model.tls import AcmeSettings, TlsSettings
from salina_fleet.pillar import select
from tests import fleets
from tests.fleets import ACME
from tests.loading import load
from tests.render.minion import Minion

NOW = datetime.now(UTC)
DIRECTORY = "https://directory.example/"
CA_KEY, PUBLIC_KEY, KEY, OTHER = (new_key() for _ in range(4))
CA = secrets.self_signed(CA_KEY, "the fleet's CA", 100)
PUBLIC = secrets.self_signed(PUBLIC_KEY, "a public CA", 100)
THUMBPRINT = certificate.thumbprint(fleets.account_key().encode())


def signed(
    by: str = PUBLIC_KEY,
    key: str = KEY,
    name: str = "crm.example",
    days: float = 90,
    age: float = 0,
) -> str:
    """A certificate for a key, by the public CA or the fleet's own."""
    issuer = PUBLIC if by == PUBLIC_KEY else CA
    private: Any = load_pem_private_key(by.encode(), None)
    public: Any = load_pem_private_key(key.encode(), None).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.load_pem_x509_certificate(issuer.encode()).subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=age, minutes=5))
        .not_valid_after(NOW + timedelta(days=days - age))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def issued(**given: Any) -> str:
    """A certificate of the public CA as the balancer keeps it, with its chain."""
    return f"# {DIRECTORY}\n{signed(**given)}{PUBLIC}"


# The thumbprint and the request


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    """X6: Computed by OpenSSL's numbers, as dehydrated does it."""
    ask = ["openssl", "rsa", "-noout", "-modulus"]
    said = subprocess.run(ask, input=fleets.account_key(), capture_output=True, text=True)
    number = bytes.fromhex(said.stdout.strip().partition("=")[2])
    jwk = {"e": "AQAB", "kty": "RSA", "n": certificate._encoded(number)}
    text = json.dumps(jwk, separators=(",", ":"))
    digest = hashes.Hash(hashes.SHA256())
    digest.update(text.encode())
    assert certificate._encoded(digest.finalize()) == THUMBPRINT
    with pytest.raises(ValueError, match="is not an RSA key"):
        certificate.thumbprint(KEY.encode())


def test_a_request_names_one_domain_and_nothing_else() -> None:
    """X6: No subject, which would be too short for a long domain; the key's signature is good."""
    request = x509.load_pem_x509_csr(certificate.signing_request(KEY.encode(), "crm.example"))
    [names] = [one.value for one in request.extensions]
    assert (list(request.subject), list(names)) == ([], [x509.DNSName("crm.example")])
    assert request.is_signature_valid


# The module


class Balancer:
    """A balancer's certificate and its unit; `answer` is what the directory issues, None: fails.

    `every`: whether it has its certificate for app hosts as well, which the fleet's CA signs.
    """

    def __init__(self, place: Path, answer: str | None = None, every: bool = False) -> None:
        self.place, self.answer, self.called = place, answer, list[str]()
        (place / "public-crm.key").write_text(KEY)
        (place / "ca.crt").write_text(CA)
        salt = {"service.start": self.start, "service.reload": self.called.append}
        pillar = fleets.pillar("lb1", own=ACME)
        tls = pillar["tls"]
        tls["certificates"] = [one for one in tls["certificates"] if every or one["acme"]]
        self.module = load("_modules/certificate.py", salt=salt, pillar=pillar)
        self.module.request = lambda name: self.called.append(f"CA {name}")
        own = {"folder": str(place)}
        for name in ("faults", "order_faults", "order"):
            more = {"orders": str(place / "orders")} if name == "order" else {}
            setattr(self.module, name, partial(getattr(self.module, name), **own, **more))

    def faults(self) -> list[str]:
        found: list[str] = self.module.faults("public-crm")
        return found

    def start(self, unit: str) -> None:
        self.called.append(unit)
        orders = self.place / "orders"
        assert (orders.stat().st_mode & 0o777) == 0o700
        assert (orders / "public-crm.csr").read_text().startswith("-----BEGIN CERTIFICATE REQ")
        if self.answer is None:
            raise CommandExecutionError("Job for salina-acme@public-crm.service failed")
        (orders / "public-crm.crt").write_text(self.answer)

    @property
    def served(self) -> str:
        return (self.place / "public-crm.crt").read_text()

    @served.setter
    def served(self, text: str) -> None:
        (self.place / "public-crm.crt").write_text(text)


def test_x6_an_apply_asks_the_ca_only_for_the_first_certificate(tmp_path: Path) -> None:
    """X6: HAProxy has one at its first start, and whatever fits the key and the domain stays."""
    balancer = Balancer(tmp_path)
    assert balancer.faults() == ["there is none"]
    for found in (signed(CA_KEY), issued(), issued(days=90, age=91), signed(name="*.example")):
        balancer.served = found
        assert balancer.faults() == []
    balancer.served = issued(name="shop.example")
    assert balancer.faults() == ["its names are shop.example; one must be crm.example"]
    balancer.served = issued(key=OTHER)
    assert balancer.faults() == ["the key is not that of the first certificate in the file"]


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (signed(CA_KEY), f"it is not of {DIRECTORY}"),
        (issued().replace(DIRECTORY, f"{DIRECTORY}staging"), f"it is not of {DIRECTORY}"),
        (issued(), ""),
        (issued(age=59.9), ""),
        (issued(age=60.1), "it expires on "),
        (issued(days=6, age=3.9), ""),
        (issued(days=6, age=4.1), "it expires on "),
        (issued(name="shop.example"), "its names are shop.example"),
        (f"# {DIRECTORY}\nno PEM", "it can't be read"),
    ],
    ids=range(9),
)
def test_x6_a_certificate_is_due(tmp_path: Path, found: str, fault: str) -> None:
    """X6: The CA's, another directory's, and each in its last third, but at most `renew`."""
    balancer = Balancer(tmp_path)
    balancer.served = found
    faults = balancer.module.order_faults("public-crm")
    assert len(faults) == bool(fault) and "".join(faults).startswith(fault)


def test_x6_a_certificate_is_ordered(tmp_path: Path) -> None:
    """X6: The unit gets the request, HAProxy the certificate, and its key stays where it was."""
    balancer = Balancer(tmp_path, signed() + PUBLIC)
    balancer.served = signed(CA_KEY)
    assert list(balancer.module.renew()) == ["public-crm"]
    assert balancer.called == ["salina-acme@public-crm", "haproxy"]
    assert certificate.issued_by(balancer.served.encode(), DIRECTORY)
    assert balancer.served.count("BEGIN CERTIFICATE") == 2
    assert (tmp_path / "public-crm.key").read_text() == KEY
    balancer.called.clear()
    assert balancer.module.renew() == {}
    assert balancer.called == []


def test_x6_each_certificate_comes_from_its_own_ca(tmp_path: Path) -> None:
    """X6: The fleet's CA goes on signing the one for app hosts, and HAProxy reloads once."""
    balancer = Balancer(tmp_path, signed() + PUBLIC, every=True)
    balancer.served = signed(CA_KEY)
    for name in ("balancer", "report", "metrics", "logs"):
        balancer.module.make_key(str(tmp_path / f"{name}.key"), "root")
    renewed = ["public-crm", "balancer", "report", "metrics", "logs"]
    assert list(balancer.module.renew()) == renewed
    called = [
        "salina-acme@public-crm",
        "CA balancer",
        "CA report",
        "CA metrics",
        "CA logs",
        "haproxy",
        "salina-metrics",
    ]
    assert balancer.called == called


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "Job for salina-acme@public-crm.service failed; see journalctl -u salina-acme@pub"),
        (signed(key=OTHER) + PUBLIC, "the directory's certificate: the key is not that"),
        (signed(name="evil.example") + PUBLIC, "its names are evil.example"),
        (signed() + CA, "CN=the fleet's CA in the file did not sign"),
        (signed(days=3, age=4), "it expires on"),
        ("", "the certificate can't be read"),
    ],
    ids=range(6),
)
def test_x6_a_failed_order_leaves_the_old_certificate(
    tmp_path: Path, answer: str | None, words: str
) -> None:
    """X6: HAProxy goes on with it and does not reload, and the renewal fails with the reason."""
    balancer = Balancer(tmp_path, answer)
    balancer.served = before = issued(age=70)
    with pytest.raises(CommandExecutionError, match=re.escape(words)):
        balancer.module.renew()
    assert (balancer.served, balancer.called) == (before, ["salina-acme@public-crm"])


# The pillar and the files of hosts


def test_x6_the_balancer_alone_gets_the_account() -> None:
    """X6, S6, K4: The key is in one file, which only root reads, and in no difference."""
    pillar = fleets.pillar("lb1", own=ACME)
    key = fleets.account_key()
    assert pillar["tls"]["acme"]["account_key"] == key
    others = [fleets.pillar(host, own=ACME) for host in ("s1", "nas1", "bbdd1", "fw", "salt")]
    assert [other["tls"]["acme"] for other in others] == [None] * 5
    chunks = Minion("lb1", pillar).chunks
    [chunk] = [one for one in chunks if one["name"] == "/etc/salina/acme/account.key"]
    assert (chunk["contents_pillar"], chunk["mode"], chunk["show_changes"]) == (
        *("tls:acme:account_key", "0600", False),
    )
    assert "PRIVATE KEY" not in str(chunks)  # Salt keeps these in a cache


def test_x6_an_apply_begins_and_does_not_wait() -> None:
    """X6: After HAProxy's reload, without blocking, and only when something has changed."""
    chunks = Minion("lb1", fleets.pillar("lb1", own=ACME)).chunks
    [asked] = [one for one in chunks if one["__id__"] == "acme-asked"]
    [start] = [value for key, value in asked.items() if key == "service.start"]
    assert {"no_block": True} in start and {"name": "salina-certificates.service"} in start
    assert {"daemon": "haproxy-reloaded"} in [dict(one) for one in asked["require"]]
    assert [dict(one) for one in asked["onchanges"]] == [
        *({"file": "acme-files"}, {"file": "acme-account"}, {"certificate": "tls-public-crm"}),
    ]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd")
def test_x6_x8_the_unit_may_do_little(tmp_path: Path) -> None:
    """X6, X8: systemd judges how much a unit may do, from 0 to 10."""
    unit = tmp_path / "etc/systemd/system/salina-acme@.service"
    unit.parent.mkdir(parents=True)
    shutil.copy(fleets.REPOSITORY / "salt/acme/files/salina-acme@.service", unit)
    ask = ["systemd-analyze", "security", "--offline=yes", f"--root={tmp_path}", "--no-pager"]
    said = subprocess.run([*ask, "salina-acme@a.service"], capture_output=True, text=True)
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said.stdout)
    assert found and float(found[1]) <= 2.5, said.stdout + said.stderr


def test_x6_nothing_is_left_without_a_directory() -> None:
    """X6: The account's key leaves a balancer whose certificate comes from elsewhere."""
    chunks = Minion("lb1", fleets.pillar("lb1")).chunks
    gone = [one["name"] for one in chunks if one["__id__"] == "acme-absent"]
    assert gone == ["/etc/salina/acme", "/etc/systemd/system/salina-acme@.service"]
    assert not [one for one in chunks if one["__id__"] in ("acme-account", "acme-packages")]


def test_x6_dehydrated_gets_plain_values(tmp_path: Path) -> None:
    """X6: Its file is a script of bash, so nothing in it may be more than text."""
    acme = AcmeSettings(DIRECTORY, "ops@crm.example", str(tmp_path / "ca.pem"))
    (tmp_path / "ca.pem").write_text(PUBLIC)
    own = ACME.but(replace(ACME[TlsSettings], acme=acme))
    files = Minion("lb1", fleets.pillar("lb1", own=own))
    [text] = [files.render(one) for one in files.chunks if one["name"].endswith("/dehydrated.conf")]
    script = 'printf "%s\\n" "$CA" "$CONTACT_EMAIL" "$CURL_OPTS"'
    said = subprocess.run(["bash", "-euc", f"{text}\n{script}"], capture_output=True, text=True)
    assert said.stdout.splitlines() == [
        *(DIRECTORY, "ops@crm.example"),
        "--connect-timeout 20 --max-time 60 --cacert /etc/salina/acme/ca.pem",
    ]


def test_x6_the_ca_signs_the_first_certificate() -> None:
    """X6: HAProxy starts with it; that of an operator's own pair is refused."""
    fleet = replace(fleets.fleet(), settings=ACME)
    policy = signing_policy(fleet, fleet.hosts["lb1"], "public-crm", NOW)
    assert policy["subjectAltName"] == ["DNS:crm.example"]


# Health


def test_x6_the_checks_of_a_balancer() -> None:
    """X6: The directory's certificate has a check of its own, and need not be of the fleet's CA."""
    fleet = replace(fleets.fleet(), settings=ACME)
    checks = health.checks(fleet, fleet.hosts["lb1"], fleets.definitions(fleet.topology))
    arguments = {check.probe: check.arguments for check in checks}
    assert list(arguments["certificates"]["names"]) == ["balancer", "report", "metrics", "logs"]
    assert arguments["served"]["own"] is True
    assert arguments["issued"] == {
        **{"certificate": "public-crm", "directory": DIRECTORY, "least": 15 * 86_400},
    }


@pytest.mark.parametrize(
    ("found", "good", "words"),
    [
        (
            signed(CA_KEY),
            False,
            f"{DIRECTORY} has not issued it yet; see journalctl -u salina-acme@",
        ),
        (issued().replace(DIRECTORY, "https://old/"), False, "has not issued it yet"),
        (issued(), True, "valid for 89 days more"),
        (issued(age=74.9), True, "valid for 15 days more"),
        (
            issued(age=75.1),
            False,
            "days more; its renewal fails: see journalctl -u salina-acme@pub",
        ),
        (issued(days=6, age=4.9), True, "minutes more"),
        (issued(days=6, age=5.1), False, "its renewal fails"),
        (issued(age=91), False, "expired "),
    ],
    ids=range(8),
)
def test_x6_the_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str, good: bool, words: str
) -> None:
    """X6: A host without the directory's certificate is not healthy, nor one that renews none."""
    monkeypatch.setattr(probes, "TLS", str(tmp_path))
    (tmp_path / "public-crm.crt").write_text(found)
    [check] = probes.issued("public-crm", DIRECTORY, 15 * 86_400)
    assert check[:2] == ("certificate public-crm", good) and words in check[2]


# Settings and secrets


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ({"public": "acme"}, "acme: missing; must be a mapping such as {contact: ops@example.com}"),
        (
            {"acme": {"directory": "http://a.b/"}},
            'acme.directory: "http://a.b/" is not valid; must',
        ),
        ({"acme": {"directory": "https://a'$(id)"}}, "acme.directory: "),
        (
            {"acme": {"directory": "https://a.b:99999/"}},
            'acme.directory: "https://a.b:99999/" is not valid; must be a URL such as',
        ),
        ({"acme": {"directory": "https://[a.b/"}}, "acme.directory: "),
        ({"acme": {"contact": "'; id; '@a"}}, "acme.contact: "),
        ({"acme": {"contact": "mailto:a@b.c"}}, "acme.contact: "),
        (
            {"acme": {"ca": "ca.pem"}},
            'acme.ca: "ca.pem" is not valid; must be an absolute path, or',
        ),
        (
            {"acme": {"token": "x"}},
            "acme.token: unknown key; choose one of: directory, contact, ca",
        ),
    ],
)
def test_k5_a_wrong_directory_is_refused(tls: dict[str, Any], message: str) -> None:
    """K5: With its path, and what is allowed. No value can be more than text for bash."""
    with pytest.raises(settings.SettingsError) as caught:
        settings.parse({"tls": tls})
    [fault] = caught.value.faults
    assert fault.startswith(f"tls.yaml: {message}")


def conflicts(own: Settings, **changed: Any) -> list[str]:
    """The conflicts of the settings with the default fleet; `domain`, `http`, `tls` replace its."""
    topology = fleets.topology()
    domain = changed.pop("domain", "crm.example")
    applications = {"crm": replace(topology.default, domain=domain)}
    service = replace(topology.service, **changed)
    other = replace(topology, applications=applications, service=service)
    found = own[TlsSettings].conflicts(other, own, fleets.definitions(topology))
    return [f"{key}: {message}" for key, message in found]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, ""),
        (
            {"domain": "crm"},
            "public: no directory issues a certificate for applications.crm.domain: "
            '"crm"; give it a domain name with a dot, or choose another `public`',
        ),
        ({"domain": "10.1.2.2"}, "public: no directory issues a certificate for applications.crm"),
        (
            {"http": 8080},
            "public: a directory asks at port 80, and service.http is 8080; set it to 80, or "
            "choose another `public`",
        ),
        ({"tls": False}, "public: service.tls is false, so no certificate is used; set it, or"),
    ],
    ids=range(5),
)
def test_k5_what_no_directory_can_issue_is_refused(changed: dict[str, Any], message: str) -> None:
    """K5, X6: Before anything changes, and only with `public: acme`."""
    found = conflicts(ACME, **changed)
    assert len(found) == bool(message) and "".join(found).startswith(message)
    assert conflicts(fleets.settings(), **changed) == []


def test_k5_the_directorys_ca_is_read(tmp_path: Path) -> None:
    """K5: A file that is missing or has no certificate is told by topology.check."""
    file = tmp_path / "ca.pem"
    acme = AcmeSettings(DIRECTORY, None, str(file))
    own = ACME.but(replace(ACME[TlsSettings], acme=acme))
    words = "No such file or directory; put the file on the master"
    assert conflicts(own) == [f"acme.ca: {file}: {words}"]
    with pytest.raises(secrets.SecretsError, match=r"acme\.ca in pillar/settings/tls\.yaml: .*No"):
        fleets.pillar("lb1", own=own)
    file.write_text("no PEM")
    assert conflicts(own) == [
        f"acme.ca: {file} has no certificate; must be a file of PEM certificates"
    ]
    file.write_text(PUBLIC)
    assert conflicts(own) == []
    assert fleets.pillar("lb1", own=own)["tls"]["acme"]["ca"] == PUBLIC


def test_x6_the_fleet_has_one_account(tmp_path: Path) -> None:
    """X6, K4: The master makes its key once, when it is wanted; a missing one is told."""
    store = secrets.open_store(tmp_path)
    assert secrets.ACME_ACCOUNT not in secrets.create(store, ["crm"], 100)
    assert secrets.check(store, ["crm"]) == []
    assert "acme-account.key does not exist" in "".join(secrets.check(store, ["crm"], True))
    assert secrets.create(store, ["crm"], 100, True) == [secrets.ACME_ACCOUNT]
    assert secrets.create(store, ["crm"], 100, True) == []
    assert secrets.check(store, ["crm"], True) == []
    assert len(certificate.thumbprint(store.get(secrets.ACME_ACCOUNT).encode())) == 43
    data = fleets.master_data(
        replace(fleets.fleet(), settings=ACME), secrets.FakeStore([secrets.ACME_ACCOUNT])
    )
    with pytest.raises(secrets.SecretsError, match="acme-account"):
        select(data, "lb1")
