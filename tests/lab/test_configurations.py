"""The real daemons check every rendered file, for every topology of the tests."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from salina.firewall.ufw import Rule, wanted
from salina.quorum import etcd as salina_etcd
from salina_fleet.model.settings import Settings
from salina_fleet.platforms import DEFAULT
from tests import fleets
from tests.lab import lab
from tests.render.minion import RECEIVED, Minion

pytestmark = pytest.mark.lab

TRIAL = Path(__file__).with_name("trial.py").read_text()
PGBOUNCER = "/etc/pgbouncer/pgbouncer.ini"
PATRONI = "/etc/patroni/patroni.yml"
CHRONY = "/etc/chrony/chrony.conf"
NGINX = "/etc/nginx/nginx.conf"
UNITS = "/etc/systemd/system/"
LOGROTATE = "/etc/logrotate.d/odoo"
TMPFILES = "/etc/tmpfiles.d/salina-minion.conf"
RULES = "/etc/ufw/before.rules"
MANY = "/var/cache/salt/minion/extmods/utils/salina/firewall/many.py"
SYSCTL = "/etc/sysctl.d/60-salina-ports.conf"


CASE: dict[str, Any] = {
    "empty": [],
    "commands": [],
    "daemon": [],
    "listens": [],
    "files": {},
    "addresses": [],
}
ENABLED: dict[str, Any] = {
    "empty": ["/run"],  # locks
    "commands": [
        ["sed", "--in-place", "s/ENABLED=yes/ENABLED=no/", "/etc/ufw/ufw.conf"],
        ["ufw", "--force", "enable"],
    ],
}


Files = Mapping[str, str]
Pillar = Mapping[str, Any]


class Rendered(NamedTuple):
    """The files of a host of a fleet."""

    pillar: Pillar
    addresses: list[str]
    files: Files


class Check(NamedTuple):
    """How a daemon judges its files, on a host of the lab that has it.

    `trial` gives what trial.py has to know beyond files and addresses. `spoilt`: a file, a text in
    it, another one in its place, and what the daemon says of that.
    """

    host: str
    paths: tuple[str, ...]
    trial: Callable[[Rendered], dict[str, Any]]
    spoilt: tuple[str, str, str, str]


def commands(*argv: str) -> Callable[[Rendered], dict[str, Any]]:
    """A check that is one command, whatever the host."""
    return lambda rendered: {"commands": [argv]}


def haproxy(rendered: Rendered) -> dict[str, Any]:
    """Warnings count as well (-dW). It has no states of servers from before.

    The certificate of this lab's application stands for those of all applications.
    """
    applications = rendered.pillar.get("balancer", {}).get("applications", [])
    names = {one["certificate"] for one in applications} - {None, "public-crm"}
    own = "/etc/salina/tls/public-crm"
    return {
        "empty": ["/etc/haproxy/conf.d", "/run/haproxy"],
        "files": {"/run/haproxy/servers-state": "1\n"},
        "commands": [
            *(
                ["cp", f"{own}.{end}", f"/etc/salina/tls/{name}.{end}"]
                for name in sorted(names)
                for end in ("crt", "key")
            ),
            ["haproxy", "-dW", "-c", "-f", "/etc/haproxy/conf.d"],
        ],
    }


def nginx(rendered: Rendered) -> dict[str, Any]:
    """The certificate of this host stands for that of monitoring's page."""
    own, page = "/etc/salina/tls/web", "/etc/salina/tls/monitoring-page"
    copies = [["cp", f"{own}.{end}", f"{page}.{end}"] for end in ("crt", "key")]
    return {"commands": [*(copies if "monitoring" in rendered.pillar else []), ["nginx", "-t"]]}


def pgbouncer(rendered: Rendered) -> dict[str, Any]:
    """It has no check of its own, so it is started, with the capability that its unit gives it."""
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    capability = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"]
    return {
        "empty": ["/run/postgresql", "/var/log/postgresql"],
        "daemon": [*user, *capability, "pgbouncer", PGBOUNCER],
        "listens": [("127.0.0.1", rendered.pillar["database_route"]["pool_port"])],
    }


def etcd(rendered: Rendered) -> dict[str, Any]:
    """Nor has this one; it is started as a member that founds its cluster."""
    quorum = rendered.pillar["quorum"]
    first = salina_etcd.environment_file(salina_etcd.join_environment(quorum, "new", ()))
    user = "exec setpriv --reuid=etcd --regid=etcd --init-groups etcd"
    start = f"set -a; . /etc/default/etcd; {first.replace(chr(10), ';')} {user}"
    return {
        "empty": ["/var/lib/etcd"],
        "daemon": ["sh", "-c", start],
        "listens": [(quorum["address"], quorum[port]) for port in ("client_port", "peer_port")],
    }


def glusterd(rendered: Rendered) -> dict[str, Any]:
    """Started without what it knows of its pool."""
    return {
        "empty": ["/var/lib/glusterd", "/var/log/glusterfs", "/run/gluster"],
        "daemon": ["glusterd", "--no-daemon", "--log-file=/dev/stderr"],
        "listens": [(address, 24007) for address in rendered.addresses],
    }


def pgbackrest(rendered: Rendered) -> dict[str, Any]:
    """Its server is started, as on the backup host or on a database host."""
    pillar = rendered.pillar.get("backup") or rendered.pillar["archiving"]
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    return {
        "empty": ["/run/pgbackrest"],
        "daemon": [*user, "pgbackrest", "server"],
        "listens": [(pillar["address"], pillar["port"])],
    }


def ufw(rendered: Rendered) -> dict[str, Any]:
    """Switched on with these files, and without rules: `test_ufw_takes_every_rule` adds them."""
    return ENABLED


def on_each(folder: str, *argv: str) -> Callable[[Rendered], dict[str, Any]]:
    """A check that is one command for all rendered files of a folder."""

    def check(rendered: Rendered) -> dict[str, Any]:
        return {
            "commands": [[*argv, *(path for path in rendered.files if path.startswith(folder))]]
        }

    return check


def logrotate(rendered: Rendered) -> dict[str, Any]:
    """It knows the users of the files, which on this host may be another application's."""
    user = rendered.pillar["app"]["kind"]
    made = ["sh", "-c", f"id {user} >/dev/null 2>&1 || useradd --user-group {user}"]
    return {"commands": [made, ["logrotate", "--debug", f"/etc/logrotate.d/{user}"]]}


def units(host: str, *names: str, spoilt: tuple[str, str, str, str]) -> Check:
    """Those that a host of the lab has the programs for; Debian's with what we add."""

    def verify(rendered: Rendered) -> dict[str, Any]:
        found = [name for name in names if any(f"{UNITS}{name}" in path for path in rendered.files)]
        argv = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *found]
        return {"commands": [argv]}

    return Check(host, tuple(f"{UNITS}{name}" for name in names), verify, spoilt)


CHECKS = {
    "haproxy": Check(
        "lb1",
        ("/etc/haproxy/",),
        haproxy,
        ("/etc/haproxy/conf.d/00-global.cfg", "stats timeout 30s", "stats timeout soon", "stats"),
    ),
    "nginx": Check(
        "s1",
        ("/etc/nginx/",),
        nginx,
        (NGINX, "gzip on;", "gzip maybe;", 'invalid value "maybe" in "gzip" directive'),
    ),
    "pgbouncer": Check(
        "s1",
        ("/etc/pgbouncer/",),
        pgbouncer,
        (PGBOUNCER, "pool_mode = session", "pool_mode = lazy", "pool_mode"),
    ),
    "patroni": Check(
        "bbdd1",
        (PATRONI, "/usr/local/sbin/patroni-check"),
        commands("sh", "/usr/local/sbin/patroni-check", PATRONI),
        (PATRONI, "loop_wait: 1", "loop_wait: none", "loop_wait"),
    ),
    "pgbackrest": Check(
        "bbdd1",
        ("/etc/pgbackrest.conf",),
        pgbackrest,
        ("/etc/pgbackrest.conf", "tls-server-port=", "tls-server-port=many", "tls-server-port"),
    ),
    "etcd": Check(
        "nas1",
        ("/etc/default/etcd",),
        etcd,
        ("/etc/default/etcd", 'ELECTION_TIMEOUT="', 'ELECTION_TIMEOUT="9999', "election"),
    ),
    "glusterd": Check(
        "nas1",
        ("/etc/glusterfs/",),
        glusterd,
        ("/etc/glusterfs/glusterd.vol", "type mgmt/glusterd", "type mgmt/nothing", "mgmt/nothing"),
    ),
    "chrony": Check(
        "salt",
        ("/etc/chrony/",),
        commands("chronyd", "-p", "-f", CHRONY),
        (CHRONY, "makestep 1 3", "makestep soon", "makestep"),
    ),
    "ufw": Check(
        "fw",
        ("/etc/ufw/", "/etc/default/ufw"),
        ufw,
        (RULES, "-j ACCEPT", "-j PERHAPS", "PERHAPS"),
    ),
    "logrotate": Check(
        "s1",
        ("/etc/logrotate.d/",),
        logrotate,
        (LOGROTATE, "rotate 14", "rotate often", "often"),
    ),
    "tmpfiles": Check(  # all lines are read, none concerns that place
        "lb1",
        ("/etc/tmpfiles.d/",),
        on_each("/etc/tmpfiles.d/", "systemd-tmpfiles", "--create", "--boot", "--prefix=/nowhere"),
        (TMPFILES, "r! ", "?! ", "Unknown command type '?'"),
    ),
    "sysctl": Check(
        "s1",
        ("/etc/sysctl.d/",),
        on_each("/etc/sysctl.d/", "sysctl", "--load"),
        (SYSCTL, "port_start", "port_begin", "port_begin"),
    ),
    "apt": Check(
        "nas1",
        ("/etc/apt/apt.conf.d/51salina",),
        commands("apt-config", "dump"),
        ("/etc/apt/apt.conf.d/51salina", 'Reboot "false";', 'Reboot "false"', "Syntax error"),
    ),
    "units of every host": units(
        "nas1",
        *("apt-daily.timer", "apt-daily-upgrade.timer", "apt-daily.service"),
        *("salina-certificates.service", "salina-certificates.timer"),
        *("salina-drift.service", "salina-drift.timer"),
        *("salina-report.socket", "salina-report@.service"),
        *("salina-report-tls.socket", "salina-report-tls@.service"),
        *("prometheus-node-exporter.socket", "prometheus-node-exporter.service"),
        "salina-metrics.service",
        "systemd-journal-upload.service",
        *("salina-session@.socket", "salina-session@.service"),
        spoilt=(
            f"{UNITS}apt-daily-upgrade.timer.d/salina.conf",
            "OnCalendar=*-",
            "OnCalendar=often-",
            "often-",
        ),
    ),
    "units of app hosts": units(
        "s1",
        *("odoo.service", "node.service", "haproxy.service", "nginx.service"),
        *("gluster-mountable.service", "gluster-mount-again.service"),
        "gluster-mount-again.timer",
        *("salina-held.service", "salina-held.timer"),
        *("salina-log-nginx.service", "salina-log-odoo.service", "salina-log-node.service"),
        *("salina-health.socket", "salina-health.service", "pgbouncer.service"),
        spoilt=(f"{UNITS}odoo.service", "Restart=always", "Restart=now", "restart specifier"),
    ),
    "units of database hosts": units(
        "bbdd1",
        *("patroni.service", "pgbackrest.service", "salina-scratch.service"),
        spoilt=(f"{UNITS}patroni.service", "ExecStart=/opt", "ExecStart=/ppt", "/ppt/"),
    ),
    "units of backup hosts": units(
        "bkp1",
        *("salina-backup@.service", "salina-backup@diff.timer", "salina-backup@full.timer"),
        "salina-files-repository.service",
        *("salina-files-forget.service", "salina-files-forget.timer"),
        *("salina-second.service", "salina-second-fetch.service", "salina-second.timer"),
        spoilt=(f"{UNITS}salina-backup@.service", "Type=oneshot", "Type=once", "service type"),
    ),
    "units of balancers": units(
        "lb1",
        *("salina-load.service", "haproxy.service", "salina-hosts.service"),
        "salina-closed.service",
        spoilt=(
            f"{UNITS}salina-load.service",
            "Restart=always",
            "Restart=now",
            "restart specifier",
        ),
    ),
    "units of storage hosts": units(
        "nas1",
        *("salina-files.service", "salina-files@.service", "salina-files.timer"),
        spoilt=(f"{UNITS}salina-files.timer", "OnCalendar=*:", "OnCalendar=often:", "often:"),
    ),
    "units of monitoring hosts": units(
        "nagios",
        *("nagios4.service", "nullmailer.service", "fcgiwrap.service", "prometheus.service"),
        *("salina-log@.socket", "salina-log@.service", "salina-logs.target"),
        *("salina-logs.service", "salina-logs-bounded.service", "salina-logs-bounded.timer"),
        spoilt=(f"{UNITS}nagios4.service", "Restart=always", "Restart=now", "restart specifier"),
    ),
    "nagios": Check(
        "nagios",
        (
            "/etc/nagios4/nagios.cfg",
            "/etc/nagios4/salina.cfg",
            "/usr/local/sbin/salina-nagios-check",
        ),
        commands("sh", "/usr/local/sbin/salina-nagios-check", "/etc/nagios4/salina.cfg"),
        ("/etc/nagios4/salina.cfg", "check_command plugin!host!fw", "check_command none", "none"),
    ),
    "prometheus": Check(
        "nagios",
        ("/etc/prometheus/",),
        commands("promtool", "check", "config", "/etc/prometheus/salina.yml"),
        ("/etc/prometheus/salina.yml", "_interval: 30s", "_interval: often", "duration"),
    ),
    "sshd": Check(
        "ges",
        ("/etc/ssh/sshd_config.d/", "/usr/local/sbin/sshd-check"),
        commands("sh", "/usr/local/sbin/sshd-check", "/etc/ssh/sshd_config.d/00-operators.conf"),
        (
            "/etc/ssh/sshd_config.d/00-operators.conf",
            "PermitUserRC no",
            "PermitUserRC perhaps",
            "unsupported option",
        ),
    ),
    "sudo": Check(
        "ges",
        ("/etc/sudoers.d/salina",),
        commands("visudo", "-cf", "/etc/sudoers.d/salina"),
        ("/etc/sudoers.d/salina", "NOPASSWD: ALL", "NOPASSWD:", "syntax error"),
    ),
    "units of voters": units(
        "nas1",
        "etcd.service",
        spoilt=(f"{UNITS}etcd.service.d/salina.conf", "RestartSec", "RestartMin", "RestartMin"),
    ),
}
#: Not for a daemon: who reads them has no check, and would tell in the running fleet.
OTHERS = (
    *("/etc/hosts", "/etc/salina/", "/etc/salt/", "/etc/odoo/environment", "/etc/node/", "/opt/"),
    "/usr/local/sbin/patroni-initdb",
    *("/etc/default/haproxy", "/usr/local/sbin/haproxy-", "/etc/postgresql-common/"),
    *("/usr/local/lib/salina-load/", "/usr/local/lib/salina-health/", "/etc/odoo/health.json"),
    "/usr/local/lib/salina-report/",
    "/usr/local/lib/salina-monitoring/",
    "/usr/local/share/salina-graphs/",  # test_prometheus
    *(
        "/usr/local/lib/salina-operators/",
        "/etc/profile.d/salina-operators.sh",
        "/etc/ssh/ssh_known_hosts",
        "/etc/ssh/ssh_config.d/00-salina.conf",
    ),  # test_management
    *(
        "/etc/nagios4/cgi.cfg",
        "/etc/nagios4/salina.json",
        "/etc/nagios4/mail/",
        "/etc/nagios4/users.json",
    ),  # test_monitoring
    *("/usr/local/sbin/salina-logs-bounded", "/usr/local/sbin/salina-request"),  # test_logs
    "/usr/local/lib/salina-files/",  # tests/unit/test_files_backup.py runs it
    "/usr/sbin/policy-rc.d",
    "/etc/pgbackrest-scratch.conf",  # a restore drill in test_backup reads it
    "/usr/local/sbin/salina-closed",  # tests/render runs it
    "/etc/needrestart/",  # no host of the lab has it; tests/render reads the file
    "/usr/local/sbin/salina-held-sweep",  # tests/unit/test_held.py runs it
    *(
        "/etc/keepalived/",
        f"{UNITS}keepalived.service.d/",
    ),  # tests/pairs; keepalived checks its own
    "/usr/local/sbin/gluster-mount",  # tests/render and test_storage run these
)


def render(name: str, host: str, application: str = "", own: Settings | None = None) -> Rendered:
    """Return the files of a host of a topology."""
    pillar = fleets.pillar(host, name, own, application)
    files = {
        path: text
        for path, text in Minion(host, pillar).files
        if not path.startswith(str(RECEIVED))
    }
    addresses = set(fleets.fleet(name).hosts[host].addresses.values())
    if "balancer" in pillar:
        addresses.add(pillar["balancer"]["address"])
    return Rendered(pillar, sorted(addresses), files)


def ours(hosts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the hosts whose daemons have the versions of the lab's."""
    platforms = {name: fleets.fleet(name).hosts for name, _ in hosts}
    return [(name, host) for name, host in hosts if platforms[name][host].platform == DEFAULT]


@pytest.fixture(scope="module")
def rendered() -> dict[str, Rendered]:
    """Return the files of one host for each set of roles in each topology."""
    default = {f"{name} {host}": render(name, host) for name, host in ours(fleets.kinds())}
    return (
        default
        | {
            f"{name} {host} by load": render(name, host, own=fleets.BY_LOAD)
            for name, host in ours(fleets.balancers())
        }
        | {
            f"{name} {host} second": render(name, host, own=fleets.SECOND)
            for name, host in ours(fleets.backed_up())
        }
    )


def judge(check: Check, hosts: Iterable[Rendered]) -> list[str]:
    """Return the daemon's verdict on each host's files; "" when it accepts them."""
    cases = []
    for host in hosts:
        case = CASE | check.trial(host)
        own = {path: text for path, text in host.files.items() if path.startswith(check.paths)}
        cases.append(case | {"files": own | case["files"], "addresses": host.addresses})
    return trial(check.host, cases)


def trial(host: str, cases: list[dict[str, Any]]) -> list[str]:
    """Return what went wrong in each case on a host of the lab; "" for nothing."""
    script = TRIAL.replace("CASES)", f"{json.dumps(cases)!r})")
    said: list[str] = json.loads(lab.run(host, "python3", "-", given=script))
    return said


@pytest.mark.parametrize("daemon", CHECKS)
def test_daemon_takes_what_is_rendered(daemon: str, rendered: dict[str, Rendered]) -> None:
    """S15: Each daemon accepts its files of every topology, and refuses a damaged one."""
    check = CHECKS[daemon]
    judged = {
        name: host
        for name, host in rendered.items()
        if any(path.startswith(check.paths) for path in host.files)
    }
    path, old, new, complaint = check.spoilt
    good = next(host for host in judged.values() if old in host.files.get(path, ""))
    wrong = good._replace(files={**good.files, path: good.files[path].replace(old, new)})
    *taken, refused = judge(check, [*judged.values(), wrong])
    assert {name: said for name, said in zip(judged, taken, strict=True) if said} == {}
    assert complaint in refused


def shape(rule: Rule) -> tuple[str, ...]:
    """Return the words of a rule, with `IPv4` or `IPv6` in the place of each address."""

    def family(word: str) -> str:
        try:
            return f"IPv{ipaddress.ip_network(word, strict=False).version}"
        except ValueError:
            return word

    return tuple(map(family, rule.words))


def test_ufw_takes_every_rule(rendered: dict[str, Rendered]) -> None:
    """S15: ufw accepts one rule of each shape of every topology, and refuses a wrong one.

    In place of `--dry-run`, which forgets each rule, it is switched on with all of them.
    """
    rules: dict[tuple[str, ...], Rule] = {}
    for host in rendered.values():
        if pillar := host.pillar.get("ufw"):
            cards = fleets.interfaces(host.pillar)
            asked = pillar["rules"], pillar["routes"], pillar["outgoing"], cards
            rules |= {shape(rule): rule for rule in wanted(*asked)}

    def case(*words: list[str]) -> dict[str, Any]:
        first, enable = ENABLED["commands"]
        many = ["sh", "-c", f'printf %s "$1" | python3 -I {MANY} /usr/sbin/ufw', "sh"]
        return {**CASE, **ENABLED, "commands": [first, [*many, json.dumps(words)], enable]}

    additions = [rule.addition[1:] for rule in rules.values()]
    # ufw reads all rules again for each one
    cases = [case(*additions[start::4]) for start in range(4)]
    *taken, refused = trial("fw", [*cases, case(["allow", "in", "on", "card0", "from", "10.1.5"])])
    assert taken == [""] * 4
    assert "Bad source address" in refused


def test_nginx_takes_what_the_newest_odoo_needs() -> None:
    """O4, O7: nginx accepts the paths of the newest Odoo, which the lab does not run by default."""
    newest = render("default", "s1", "odoo-19.0")
    assert judge(CHECKS["nginx"], [newest]) == [""]


def test_every_file_is_judged(rendered: dict[str, Rendered]) -> None:
    """Every rendered file has a daemon above that checks it, or is listed as one without a
    check.
    """
    known = (*OTHERS, *(path for check in CHECKS.values() for path in check.paths))
    assert {
        path for host in rendered.values() for path in host.files if not path.startswith(known)
    } == set()
