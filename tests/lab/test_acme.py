"""X6, O5: The published certificate comes from an ACME directory. The client c1 plays it.

c1 runs serles, an ACME server from PyPI, with a CA of its own (acme_server.py). It asks the
balancer for the answer to a challenge as a directory on the Internet does: at port 80.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.paths import LOCKS
from salina.common import wait
from tests import fleets
from tests.lab.lab import changes as changes_of
from tests.lab.lab import execute, highstate, run, salt_run, shell
from tests.lab.test_certificates import ISSUER, TLS, faults
from tests.lab.test_rolling import applied, edited, nobody_notices

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.proof]

SERVER, PORT = "salina-test-acme", 14000
PLACE = f"/root/{SERVER}"
ON_MASTER = f"/root/{SERVER}.pem"
SERVICE = fleets.topology().service.address
DOMAIN = fleets.topology().default.domain
PYTHON = "/opt/salt/bin/python"
CERTIFICATE = f"{TLS}/public-crm.crt"
PIP = (
    "PIP_DISABLE_PIP_VERSION_CHECK=1 {python} -m pip install -q --no-deps --root-user-action=ignore"
)
START = (
    "systemd-run --quiet --unit={unit} --working-directory={place} "
    "--setenv=PYTHONPATH={place}/packages:{place} {python} acme_server.py {address} {port}"
)


@pytest.fixture(scope="module")
def client() -> str:
    """The address of c1."""
    return shell("c1", "ip -4 -br address show scope global").split()[2].partition("/")[0]


@pytest.fixture(scope="module")
def passage(client: str) -> Iterator[None]:
    """A way for the balancer through the firewall host, as the operator's router would give it."""
    rule = f"FORWARD -s {SERVICE} -p tcp -d {client} --dport {PORT} -j ACCEPT"
    shell("fw", f"iptables -I {rule}")
    yield
    shell("fw", f"iptables -D {rule}")


@pytest.fixture(scope="module")
def directory(client: str, passage: None) -> Iterator[str]:
    """The URL of the running directory. Its CA's certificate is on c1 and on the master."""
    shell("c1", f"umask 077; rm -rf {PLACE}; mkdir {PLACE}")
    script = Path(__file__).with_name("acme_server.py").read_text()
    run("c1", "sh", "-c", f"cat >{PLACE}/acme_server.py", given=script)
    lock = (LOCKS / "acme-server.txt").read_text()
    run("c1", "sh", "-c", f"cat >{PLACE}/lock.txt", given=lock)
    pip = PIP.format(python=PYTHON)
    shell("c1", f"{pip} --target {PLACE}/packages -r {PLACE}/lock.txt")
    start(client)
    run("salt", "sh", "-c", f"cat >{ON_MASTER}", given=authority())
    yield f"https://{client}:{PORT}/directory"
    shell("c1", f"systemctl stop {SERVER} || :; rm -rf {PLACE}")
    shell("salt", f"rm -f {ON_MASTER}")


def start(client: str) -> None:
    """Start the directory, and wait until it answers."""
    options = {"unit": SERVER, "place": PLACE, "python": PYTHON}
    shell("c1", START.format(**options, address=client, port=PORT))
    curl = f"curl -sS --max-time 5 --cacert {PLACE}/ca.pem https://{client}:{PORT}/directory"

    def silent() -> str:
        done = execute("c1", "sh", "-c", curl)
        return "" if "newOrder" in done.stdout else done.stderr or "no directory"

    wait.clear(silent, 60, "the directory to answer")


def authority() -> str:
    """Return the certificate of the directory's CA."""
    return run("c1", "cat", f"{PLACE}/ca.pem", check=False)


@pytest.fixture(scope="module")
def acme(directory: str, client: str) -> Iterator[None]:
    """The fleet with `public: acme`, before its next apply; and as it was.

    The directory has a port of its own, so the firewall's settings name it.
    """
    before = shell("c1", ISSUER)
    mapping = f"{{directory: {directory}, contact: ops@{DOMAIN}, ca: {ON_MASTER}}}"
    script = f"s/^public: ca/public: acme/; s|^acme: null|acme: {mapping}|"
    entry = f"{{role: balancer, ports: {PORT}, to: {client}, comment: the ACME directory}}"
    opened = f"s|^egress:$|&\\n  - {entry}|"
    try:
        with (
            edited("pillar/settings/firewall.yaml", opened),
            edited("pillar/settings/tls.yaml", script),
        ):
            assert execute("salt", "salt-run", "secrets.create").returncode == 0
            yield
    finally:
        applied("lb1")
        shell("salt", "rm -f /var/lib/salina/secrets/acme-account.key")
    assert shell("c1", ISSUER) == before
    assert faults("lb1") == []
    assert shell("lb1", "ls -d /etc/salina/acme || :") == ""


def trusted(by: str) -> bool:
    """Tell whether a client that trusts one CA only accepts the published certificate."""
    path = f"/run/{SERVER}-trusted.pem"
    url = f"--connect-to {DOMAIN}::{SERVICE}: https://{DOMAIN}/"
    script = f"cat >{path}; curl -sS -o /dev/null --max-time 20 --cacert {path} {url}"
    done = execute("c1", "sh", "-c", script, given=by)
    shell("c1", f"rm {path}")
    assert done.returncode in (0, 60), done.stderr
    return done.returncode == 0


def renewed() -> int:
    """Have lb1 renew what is due, as its timer does; return the exit code."""
    unit = "salina-certificates.service"
    state = ["systemctl", "show", unit, "--property=ActiveState", "--value"]
    running = ("activating", "deactivating")
    wait.clear(lambda: unit if run("lb1", *state).strip() in running else "", 180, "its last run")
    return execute("lb1", "systemctl", "start", unit).returncode


def make_due() -> None:
    """Have lb1 forget which directory issued the certificate, so that it asks for another one."""
    shell("lb1", f"sed -i '/^# https:/d' {CERTIFICATE}")


def serial() -> str:
    """Return the serial number of the certificate that clients see."""
    return shell("c1", ISSUER.replace("-issuer", "-serial")).strip()


def test_x6_acme_takes_over_and_renews_under_traffic(acme: None, directory: str) -> None:
    """X6, O5, S12: From the CA's certificate to the directory's, and to its next one.

    No request fails. A client that trusts the directory's CA alone accepts both of its
    certificates, and one that trusts the fleet's CA alone neither.
    """
    fleet, internet = run("s1", "cat", f"{TLS}/ca.crt"), authority()
    assert (trusted(fleet), trusted(internet)) == (True, False)
    with nobody_notices(internet):
        applied("lb1")
        wait.clear(lambda: "; ".join(faults("lb1")), 180, "the directory's certificate")
        assert (trusted(fleet), trusted(internet)) == (False, True)
        first = serial()
        make_due()
        assert renewed() == 0
        assert serial() != first
        assert (trusted(fleet), trusted(internet)) == (False, True)
    assert shell("lb1", f"head -n 1 {CERTIFICATE}").strip() == f"# {directory}"
    lb1 = {key: value for key, value in highstate(test=True).items() if key == "lb1"}
    assert changes_of(lb1) == []


def test_x6_only_who_must_reads_the_keys(acme: None) -> None:
    """X6, K4: Root reads both; the unit gets the account's, and no log has any part of them."""
    applied("lb1")
    wait.clear(lambda: "; ".join(faults("lb1")), 180, "the directory's certificate")
    files = f"{TLS}/public-crm.key /etc/salina/acme/account.key"
    assert shell("lb1", f"stat -c '%U %a' {files}").split() == ["root", "600"] * 2
    assert shell("lb1", "stat -c '%U %a' /run/salina/acme").split() == ["root", "700"]
    user = "systemctl show salina-acme@public-crm --property=User --value"
    assert shell("lb1", user).strip() == "salina-acme"
    own = "runuser -u salina-acme -- cat"
    assert execute("lb1", "sh", "-c", f"{own} /etc/salina/acme/account.key").returncode
    line = shell("lb1", "sed -n 2p /etc/salina/acme/account.key").strip()
    assert line not in shell("lb1", "journalctl --no-pager --quiet; cat /var/log/salt/minion")
    seen = json.loads(salt_run("verify.security").stdout)["rows"]["X6"]["seen"]
    [shown] = [one for one in seen if one["what"] == f"the certificate of {DOMAIN}"]
    assert shown["good"] and shown["seen"] == f"source acme, names {DOMAIN}, 89 days left"


def test_x6_a_directory_that_is_down_raises_the_alarm(acme: None, client: str) -> None:
    """X6: The old certificate stays, the health report says why, and it ends by itself."""
    applied("lb1")
    wait.clear(lambda: "; ".join(faults("lb1")), 180, "the directory's certificate")
    before = serial()
    with nobody_notices(authority()):
        shell("c1", f"systemctl stop {SERVER}")
        make_due()
        assert renewed() != 0
        found = "; ".join(faults("lb1"))
        assert "has not issued it yet; see journalctl -u salina-acme@public-crm" in found
        assert "salina-certificates.service" in found
        assert serial() == before
        said = shell("lb1", "journalctl --no-pager --quiet -u salina-acme@public-crm -n 5")
        assert "Problem connecting to server" in said
        start(client)
        assert renewed() == 0
        wait.clear(lambda: "; ".join(faults("lb1")), 60, "lb1 to be healthy")
    assert serial() != before


def test_x5_x6_a_challenge_is_answered_for_the_domain_only(acme: None) -> None:
    """X5, X6: On plain HTTP, in one form; any other path and any other host is as before."""
    applied("lb1")
    curl = "curl -sS -o /dev/null -w '%{http_code}' --max-time 20"
    url = f"http://{SERVICE}/.well-known/acme-challenge"
    for host, path, status in (
        (DOMAIN, "token_-1", "200"),
        (DOMAIN, "token/x", "301"),
        (DOMAIN, "", "301"),
        ("evil.test", "token", "421"),
    ):
        assert shell("c1", f"{curl} -H 'Host: {host}' '{url}/{path}'") == status
