"""X6: Certificates renew by themselves, and users never notice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from salina.common import wait
from salina_fleet.certificates import certificates
from tests import fleets
from tests.lab.lab import execute, salt, salt_run, shell
from tests.lab.test_rolling import applied, edited, nobody_notices

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.proof]

TLS = "/etc/salina/tls"
OWN = {
    host.id: [one.name for one in found]
    for host in fleets.fleet().hosts.values()
    if (found := certificates(fleets.fleet(), host))
}
"""host -> the names of its certificates."""
HOSTS = ",".join(OWN)


def serials(host: str) -> dict[str, str]:
    """The serial number of each certificate of a host."""
    show = f"openssl x509 -noout -serial -in {TLS}/"
    return {name: shell(host, f"{show}{name}.crt").strip() for name in OWN[host]}


def faults(host: str) -> list[str]:
    """The words of the host's checks that are not good, as `fleet.health` has them."""
    own = json.loads(salt_run("fleet.health").stdout)["hosts"][host]
    return [f"{one['what']}: {one['detail']}" for one in own["checks"] if not one["good"]]


@pytest.fixture
def five_minutes() -> Iterator[None]:
    """Certificates of five minutes, everywhere; and those of the default again."""

    def anew() -> None:
        applied(HOSTS)
        for host in OWN:
            shell(host, f"find {TLS} -name '*.crt' ! -name ca.crt -delete")
        answers = salt("-L", HOSTS, "certificate.renew")
        assert {host: sorted(names) for host, names in answers.items()} == {
            host: sorted(names) for host, names in OWN.items()
        }

    short = "s/^lifetime: .*/lifetime: 5m/; s/^renew: .*/renew: 2m/"
    try:
        with edited("pillar/settings/tls.yaml", short):
            anew()
            yield
    finally:
        anew()


def test_x6_certificates_of_five_minutes_renew_under_traffic(five_minutes: None) -> None:
    """X6, S12: Two renewals of each certificate, while every daemon goes on to accept connections.

    Then a host whose renewals fail is not healthy, and says why, until they work again.
    """
    with nobody_notices():
        for _ in range(2):
            before = {host: serials(host) for host in OWN}

            def waiting(before: dict[str, dict[str, str]] = before) -> str:
                return ", ".join(
                    f"{host}: {name}"
                    for host in OWN
                    for name, serial in serials(host).items()
                    if before[host][name] == serial
                )

            wait.clear(waiting, 300, "every host to renew its certificates")
    shell("nas3", "systemctl stop salina-certificates.timer")
    try:
        wait.clear(
            lambda: "" if "renewal fails" in str(faults("nas3")) else "healthy", 300, "the alarm"
        )
    finally:
        shell("nas3", "systemctl start salina-certificates.timer")
    begun = time.time()
    wait.clear(lambda: "; ".join(faults("nas3")), 120, "nas3 to renew its certificates")
    assert time.time() - begun < 120


ISSUE = """
umask 077; mkdir -p {place}; cd {place}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=public' \\
    -keyout ca.key -out ca.pem 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=crm.example' \\
    -keyout crm.key -out crm.csr 2>/dev/null
printf 'subjectAltName=DNS:crm.example' >names
openssl x509 -req -in crm.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -extfile names \\
    -out crm.pem 2>/dev/null
cat ca.pem >>crm.pem
"""
ISSUER = "openssl s_client -connect 10.1.2.2:443 -servername crm.example </dev/null 2>/dev/null |"
ISSUER += " openssl x509 -noout -issuer"


def test_x6_the_operators_own_certificate() -> None:
    """X6, O5: It is served, judged by the health report, and leaves no trace afterwards."""
    place = "/root/salina-test-pair"
    shell("salt", ISSUE.format(place=place))
    before = shell("c1", ISSUER)
    try:
        told = execute(
            "salt", "salt-run", "certificates.own", "crm", f"{place}/crm.pem", f"{place}/crm.key"
        )
        assert told.returncode == 0, told.stdout
        with edited("pillar/settings/tls.yaml", "s/^public: ca/public: own/"):
            applied("lb1")
            assert shell("c1", ISSUER).strip() == "issuer=CN = public"
            assert faults("lb1") == []
            mode = shell("lb1", f"stat -c '%U %a' {TLS}/public-crm.key").strip()
            assert mode == "root 600"
    finally:
        applied("lb1")
        shell("salt", f"rm -rf {place} /var/lib/salina/secrets/public-crm.*")
    assert shell("c1", ISSUER) == before
    assert faults("lb1") == []
