"""The faults that `salt-run verify.service` and Nagios must find: a table.

Each fault is made by a script on one host of the default topology, and undone by another one. It
fails a row of docs/requirements.yaml, and one service of Nagios gives the alarm.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lab.machines.faults import Kind
from salina.backup.pgbackrest import GIVEN_UP
from salina.health.probes import STAMPS

PRIMARY, REPLICA = "the primary", "the replica"
"""Hosts that only the running cluster knows."""
HOST = "host"
"""The alarm of a host that does not answer at all."""
REPORT = "report"
"""The alarm of a host that gives no report, or shows another time."""
WHOLE = "the host"
"""The subject by which verify.service names a host that does not answer it."""

DRIFT = "applied"
"""The alarm about an edited file: an apply would change it. A host looks seldom, and a difference
is a fault after days. So PREDICT has it look now, and makes what it finds older."""
PREDICT = """
salt-call --log-level=error --out=quiet drift.look
python3 - <<'END'
import json, pathlib

record = pathlib.Path("/var/lib/salina-applied/predicted.json")
told = json.loads(record.read_text())
told["since"] -= 4 * 86_400
record.write_text(json.dumps(told))
END
"""
QUEUE, MOUNT, MINION = "queue", "mount", "salt"
"""The alarms about clients that wait for a connection, a mount without one of its bricks, and a
minion without its master."""

MOST = 15
"""The most faults of a round. More would keep the hosts too busy to answer in time."""


@dataclass(frozen=True)
class Fault:
    """A fault, and where it must be seen.

    Args:
        name: The fault in a few words.
        host: The host on which it is made, and which shows it.
        inject: A shell script for that host, or a kind of the lab's faults.
        undo: The script that undoes it; empty for one of the lab's kinds.
        row: The row of docs/requirements.yaml that fails.
        what: The beginning of the subject that verify.service names.
        alarm: The service of Nagios on the host; HOST for the host itself.
        parts: Things that only one fault at a time may break, such as the volume.
        primary: A further script, on the primary.
    """

    name: str
    host: str
    inject: str | Kind
    undo: str
    row: str
    what: str
    alarm: str
    parts: Sequence[str] = ()
    primary: str = ""

    @property
    def whole(self) -> bool:
        """Return whether it hides the host's other faults from verify.service or from Nagios."""
        return self.what == WHOLE or self.alarm == REPORT

    @property
    def subject(self) -> str:
        """Return the beginning of the mail's subject."""
        return f"{self.host if self.alarm == HOST else f'{self.host} {self.alarm}'} is "


TRIAL = "salina-trial"
ASIDE = f"/root/{TRIAL}"
TLS = "/etc/salina/tls"
FORCE = "gluster --mode=script volume start nas force"
SOCKET = "UNIX-CONNECT:/run/haproxy/admin.sock"
PATRONICTL = "/opt/patroni/bin/patronictl -c /etc/patroni/patroni.yml"
PSQL = "runuser -u postgres -- psql -XAtqc"
WAL = "SELECT count(pg_logical_emit_message(false, 'trial', repeat('x', 1000000)))"
"""Each message of this statement is a megabyte of WAL, in no table."""
REPLAY = "$(pgrep --euid postgres --full ': startup ')"
"""The process that applies the WAL of a replica."""
RECORD = "/var/lib/salina-backup/drill.json"
OLD_BACKUPS = """cat >/usr/local/bin/pgbackrest <<'END'
#!/usr/bin/python3
import re, subprocess, sys

done = subprocess.run(["/usr/bin/pgbackrest", *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
old = lambda found: f'"stop":{int(found[1]) - 3 * 86400}'
print(re.sub(r'"stop":([0-9]{10})', old, done.stdout), end="")
sys.exit(done.returncode)
END
chmod 755 /usr/local/bin/pgbackrest"""
"""pgBackRest says that every backup is three days older."""
MUCH_WAL = """cat >/usr/local/bin/psql <<'END'
#!/bin/sh
case "$*" in
  *wal_segment_size*) echo '1000000000000|3600' ;;
  *) exec /usr/bin/psql "$@" ;;
esac
END
chmod 755 /usr/local/bin/psql"""
"""PostgreSQL says that a terabyte of WAL has waited for an hour."""
NO_JOBS = """cat >/usr/local/bin/psql <<'END'
#!/usr/bin/python3
import os, sys

later = "(now() + interval '3 days')"
argv = [one.replace("now()", later) if "ir_cron" in one else one for one in sys.argv]
os.execv("/usr/bin/psql", argv)
END
chmod 755 /usr/local/bin/psql"""
"""The question for the scheduled jobs is asked three days later, and none has run since."""
PAGE = "10.1.2.5"
"""The address of the page of monitoring."""
CLOCK = "/run/salina-trial-clock"
SHIFTED = f"""mkdir -p {CLOCK} /run/systemd/system/salt-minion.service.d \
  /run/systemd/system/salina-report@.service.d
cat >{CLOCK}/sitecustomize.py <<'END'
import time

now = time.time
time.time = lambda: now() + 60
END
cat >{CLOCK}/told.py <<'END'
import runpy

import sitecustomize

runpy.run_module("salina.health.told", run_name="__main__")
END
cat >/run/systemd/system/salt-minion.service.d/{TRIAL}.conf <<'END'
[Service]
Environment=PYTHONPATH={CLOCK}
END
cat >/run/systemd/system/salina-report@.service.d/{TRIAL}.conf <<'END'
[Service]
ExecStart=
ExecStart=/usr/bin/python3 -S {CLOCK}/told.py /etc/salina/report/checks.json
END
systemctl daemon-reload
systemctl restart salt-minion"""
"""A container has its machine's clock, so the programs that tell the time add a minute."""
REAL = f"""rm -rf {CLOCK} /run/systemd/system/salt-minion.service.d/{TRIAL}.conf \
  /run/systemd/system/salina-report@.service.d/{TRIAL}.conf
systemctl daemon-reload
systemctl restart salt-minion"""


def started(*units: str) -> str:
    """Return the script that starts units."""
    return f"systemctl start {' '.join(units)}"


def stopped(*units: str) -> str:
    """Return the script that stops units."""
    return f"systemctl stop {' '.join(units)}"


def signed(certificate: str, days: int) -> tuple[str, str]:
    """Return how to replace a certificate by one of the same key, and to put it back.

    A daemon keeps the one that it has read, so no client notices.

    Args:
        certificate: The name of the certificate.
        days: The days that it is valid; negative if it has expired.
    """
    file, kept = f"{TLS}/{certificate}.crt", f"{ASIDE}-{certificate}"
    sign = f"openssl x509 -in {kept} -signkey {TLS}/{certificate}.key -days {days} -out {file}"
    return f"cp -p {file} {kept}; {sign}", f"cp -p {kept} {file}; rm {kept}"


def edited(path: str, expression: str) -> tuple[str, str]:
    """Return how to edit a file with sed, and to put it back."""
    kept = f"{ASIDE}{path.replace('/', '-')}"
    put = f"cp -p {kept} {path}; rm {kept}"
    return f"cp -p {path} {kept}; sed -i '{expression}' {path}", put


def opened(path: str) -> tuple[str, str]:
    """Return how to let everybody read a file, and to close it again."""
    kept = f"{ASIDE}{path.replace('/', '-')}"
    put = f"chmod $(cat {kept}) {path}; rm {kept}"
    return f"stat -c %a {path} >{kept}; chmod 0644 {path}", put


def moved(path: str) -> tuple[str, str]:
    """Return how to remove a file, and to put it back."""
    kept = f"{ASIDE}{path.replace('/', '-')}"
    return f"mv {path} {kept}", f"mv {kept} {path}"


def mounted(options: str) -> tuple[str, str]:
    """Return how to cover /tmp with a file system in memory, and to remove it.

    systemd keeps a unit for what was mounted. The basic target wants this one, so without a reload
    each service that starts tries to mount it again, and fails.
    """
    forget = "systemctl daemon-reload; systemctl reset-failed tmp.mount"
    return f"mount -t tmpfs -o {options} tmpfs /tmp", f"umount --lazy /tmp; {forget}"


def ruled(tool: str, rule: str) -> tuple[str, str]:
    """Return how to add a rule to the kernel, and to delete it."""
    return f"{tool} -I {rule}", f"{tool} -D {rule}"


def policy(tool: str, chain: str) -> tuple[str, str]:
    """Return how to open a chain of the kernel, and to close it."""
    return f"{tool} -P {chain} ACCEPT", f"{tool} -P {chain} DROP"


APPS = ("s1", "s2", "s3")
"""The parts of faults that take an app host out of the balance, each its own."""

SYSTEM = (
    Fault(
        "a failed unit",
        "fw",
        f"systemd-run --quiet --unit={TRIAL} --wait /bin/false || true",
        f"systemctl reset-failed {TRIAL}",
        "S7",
        "units",
        "system",
    ),
    Fault(
        "a unit that restarts again and again",
        "lb1",
        f"systemd-run --quiet --unit={TRIAL} --property=Restart=always --property=RestartSec=1 "
        "--property=StartLimitIntervalSec=0 sleep 2",
        stopped(TRIAL),
        "S12",
        "restarts",
        "system",
    ),
    Fault(
        "security updates that nobody tries any more",
        "fw",
        f"mkdir -p {STAMPS}; cp -a {STAMPS} {ASIDE}-stamps; "
        f"touch -d '10 days ago' {STAMPS}/update-stamp",
        f"rm -rf {STAMPS}; mv {ASIDE}-stamps {STAMPS}",
        "X11",
        "updates",
        "updated",
    ),
    Fault(
        "a stopped timer: the certificates' renewal",
        "fw",
        stopped("salina-certificates.timer"),
        started("salina-certificates.timer"),
        "S7",
        "timers and sockets",
        "triggers",
    ),
    Fault(
        "a stopped timer: the backups",
        "bkp1",
        stopped("salina-backup@diff.timer"),
        started("salina-backup@diff.timer"),
        "O9",
        "timers and sockets",
        "triggers",
    ),
    Fault(
        "a timer that is stopped and disabled: the daily prediction",
        "lb1",
        "systemctl disable --quiet --now salina-drift.timer",
        "systemctl enable --quiet --now salina-drift.timer",
        "S12",
        "timers and sockets",
        "triggers",
    ),
    Fault(
        "a stopped socket: the report for monitoring",
        "salt",
        stopped("salina-report-tls.socket"),
        started("salina-report-tls.socket"),
        "K1",
        "timers and sockets",
        REPORT,
        parts=("master",),
    ),
    Fault("a full disk", "lb1", *mounted("size=1m"), "S12", "disk", "disk"),
    Fault(
        "a disk without inodes", "nas3", *mounted("size=300m,nr_inodes=1"), "S11", "disk", "disk"
    ),
    Fault("a read-only disk", "fw", *mounted("ro,size=300m"), "S7", "disk", "disk"),
    Fault(
        "no free memory",
        "lb1",
        f"sed -E 's/^(MemAvailable|SwapFree): .*/\\1: 0 kB/' /proc/meminfo >/run/{TRIAL}; "
        f"mount --bind /run/{TRIAL} /proc/meminfo",
        f"umount /proc/meminfo; rm /run/{TRIAL}",
        "S12",
        "memory",
        "memory",
    ),
    Fault("a wrong clock", "fw", SHIFTED, REAL, "X6", "clock", REPORT),
    Fault(
        "a stopped minion",
        "nagios",
        stopped("salt-minion"),
        started("salt-minion"),
        "S13",
        WHOLE,
        MINION,
        parts=("master",),
    ),
)

FIREWALL = (
    Fault(
        "a firewall that accepts every packet",
        "fw",
        "iptables -P INPUT ACCEPT; iptables -F INPUT",
        "salt-call --retcode-passthrough --out=quiet state.apply ufw queue=True",
        "S7",
        "ufw",
        "firewall",
    ),
    Fault("an open policy of IPv6", "s2", *policy("ip6tables", "INPUT"), "S7", "ufw", "firewall"),
    Fault("every packet may leave", "nas1", *policy("iptables", "OUTPUT"), "S7", "ufw", "firewall"),
    Fault("every packet may pass", "fw", *policy("iptables", "FORWARD"), "S7", "ufw", "firewall"),
    Fault(
        "a rule added by hand",
        REPLICA,
        *ruled("iptables", "INPUT -p tcp --dport 9999 -j ACCEPT"),
        "S7",
        "ufw",
        "firewall",
    ),
    Fault(
        "a rule added by hand to a chain of ufw",
        "lb1",
        *ruled("iptables", "ufw-user-input -p udp --dport 9999 -j ACCEPT"),
        "S7",
        "ufw",
        "firewall",
    ),
    Fault(
        "a rule deleted by hand",
        "bkp1",
        f"iptables -S ufw-user-input | grep -m1 -e '--dport 22 ' >{ASIDE}-rule; "
        f"iptables $(sed s/^-A/-D/ {ASIDE}-rule)",
        f"iptables $(cat {ASIDE}-rule); rm {ASIDE}-rule",
        "S7",
        "ufw",
        "firewall",
    ),
    Fault(
        "a firewall host that does not forward",
        "fw",
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv4.ip_forward=1",
        "S7",
        "forwarding",
        "forwarding",
    ),
)

CERTIFICATES = (
    Fault(
        "an expiring certificate",
        "nagios",
        *signed("monitoring-page", 1),
        "X6",
        "certificate monitoring-page",
        "certificates",
        parts=("page",),  # nginx that starts meanwhile would serve it
    ),
    Fault(
        "an expired certificate",
        "s2",
        *signed("web", -1),
        "X6",
        "certificate web",
        "certificates",
        parts=("s2",),  # nginx that starts meanwhile would serve it
    ),
    Fault(
        "a certificate that is not served",
        "lb1",
        *signed("public-crm", 365),
        "X6",
        "served to crm.example",
        "served crm.example",
    ),
    Fault(
        "a certificate that the page of monitoring does not serve",
        "nagios",
        *signed("monitoring-page", 365),
        "X6",
        f"served to {PAGE}",
        f"served {PAGE}",
        parts=("page",),
    ),
)

STORAGE = (
    Fault(
        "an offline brick",
        "nas2",
        "pkill --signal=KILL --full 'brick-name /nas'",
        FORCE,
        "S4",
        "brick /nas",
        "gluster",
        parts=("volume",),
    ),
    Fault(
        "a brick that hangs",
        "nas3",
        "pkill --signal=STOP --full 'brick-name /nas'",
        "pkill --signal=CONT --full 'brick-name /nas'",
        "S4",
        "brick /nas",
        "gluster",
        parts=("volume",),
    ),
    Fault(
        "a dead self-heal daemon",
        "nas1",
        "pkill --signal=KILL --full 'volfile-id shd/'",
        FORCE,
        "S4",
        "heal",
        "heal",
        parts=("volume",),
    ),
    Fault(
        "a stopped glusterd",
        "nas2",
        stopped("glusterd"),
        started("glusterd"),
        "S4",
        "gluster",
        "gluster",
        parts=("volume",),
    ),
    Fault(
        "a stopped etcd",
        "nas3",
        stopped("etcd"),
        started("etcd"),
        "S11",
        "etcd",
        "etcd",
        parts=("quorum",),
    ),
    Fault(
        "an etcd that hangs",
        "nas1",
        "systemctl kill --signal=STOP etcd",
        "systemctl kill --signal=CONT etcd",
        "S11",
        "etcd",
        "etcd",
        parts=("quorum",),
    ),
)

DATABASE = (
    Fault(
        "a lagging replica",
        REPLICA,
        f"kill -STOP {REPLAY}",  # Patroni ends a pause that is asked of PostgreSQL
        f"kill -CONT {REPLAY}",
        "S11",
        "patroni",
        "patroni",
        parts=("cluster",),
        primary=f'{PSQL} "{WAL} FROM generate_series(1, 100)"',
    ),
    Fault(
        "a stopped replica",
        REPLICA,
        stopped("patroni"),
        started("patroni"),
        "S11",
        "patroni",
        "patroni",
        parts=("cluster",),
    ),
    Fault(
        "a paused failover",
        PRIMARY,
        f"{PATRONICTL} pause --wait",
        f"{PATRONICTL} resume --wait",
        "S11",
        "failover",
        "patroni",
        parts=("cluster",),
    ),
    Fault(
        "WAL that does not reach the backup host",
        PRIMARY,
        f"mv /etc/pgbackrest.conf {ASIDE}-pgbackrest; "
        f'{PSQL} "{WAL}"; {PSQL} "SELECT pg_switch_wal()"',
        f"mv {ASIDE}-pgbackrest /etc/pgbackrest.conf",
        "O9",
        "archiving",
        "archiving",
        parts=("repository",),
    ),
    Fault(
        "WAL that fills the disk",
        PRIMARY,
        MUCH_WAL,
        "rm /usr/local/bin/psql",
        "O9",
        "room for WAL",
        "kept_wal",
        parts=("psql",),
    ),
    Fault(
        "scheduled jobs that do not run",
        PRIMARY,
        NO_JOBS,
        "rm /usr/local/bin/psql",
        "O3",
        "jobs of crm",
        "jobs of crm",
        parts=("psql", *APPS),  # the application's own alarm keeps that of its jobs silent
    ),
    Fault(
        "WAL that was given up",
        PRIMARY,
        f"touch {GIVEN_UP}",
        f"rm {GIVEN_UP}",
        "O9",
        "gap in the WAL",
        "gap in the WAL",
    ),
    Fault(
        "a parameter from ALTER SYSTEM",
        PRIMARY,
        f"{PSQL} \"ALTER SYSTEM SET work_mem = '9MB'\"",
        f"{PSQL} 'ALTER SYSTEM RESET work_mem'",
        "S11",
        "parameters",
        "parameters",
    ),
)

BACKUP = (
    Fault(
        "a stopped pgBackRest",
        "bkp1",
        stopped("pgbackrest"),
        started("pgbackrest"),
        "O9",
        "pgbackrest",
        "unit pgbackrest",
        parts=("repository",),
    ),
    Fault(
        "a stopped repository of files",
        "bkp1",
        stopped("salina-files-repository"),
        started("salina-files-repository"),
        "O9",
        "salina-files-repository",
        "unit salina-files-repository",
    ),
    Fault(
        "an old backup",
        "bkp1",
        OLD_BACKUPS,
        "rm /usr/local/bin/pgbackrest",
        "O9",
        "backup",
        "backup",
        parts=("repository",),
    ),
    Fault(
        "a restore drill that failed",
        "bkp1",
        f"mkdir -p /var/lib/salina-backup; [ ! -e {RECORD} ] || mv {RECORD} {ASIDE}-drill; "
        f'printf \'{{"ended": %s, "good": false, "faults": ["a trial"]}}\' "$(date +%s)" >{RECORD}',
        f"rm {RECORD}; [ ! -e {ASIDE}-drill ] || mv {ASIDE}-drill {RECORD}",
        "O9",
        "restore drill",
        "backup",
        parts=("repository",),
    ),
    Fault(
        "old copies of files",
        "bkp1",
        "find /var/lib/restic/*/config /var/lib/restic/*/snapshots -type f "
        "-exec touch -d '3 hours ago' {} +",
        "find /var/lib/restic/*/config /var/lib/restic/*/snapshots -type f -exec touch {} +",
        "O9",
        "files of ",
        "files_copied",
    ),
    Fault(
        "a read-only repository",
        "bkp1",
        "mount --bind /var/lib/pgbackrest /var/lib/pgbackrest; "
        "mount -o remount,bind,ro /var/lib/pgbackrest",
        "umount --lazy /var/lib/pgbackrest",
        "O9",
        "room for backups",
        "repositories",
        parts=("repository",),
    ),
)

APPLICATION = (
    Fault(
        "a mount that hangs",
        "s1",
        "pkill --signal=STOP --full 'process-name fuse'",
        "pkill --signal=CONT --full 'process-name fuse'",
        "S12",
        "files",
        "files",
        parts=("s1",),
    ),
    Fault(
        "a mount without one of its bricks",
        "s2",
        "ip route add blackhole $(getent hosts nas1 | cut -d' ' -f1)",
        "ip route del blackhole $(getent hosts nas1 | cut -d' ' -f1)",
        "S4",
        "mount",
        MOUNT,
        parts=("volume",),
    ),
    Fault(
        "a stopped nginx", "s2", stopped("nginx"), started("nginx"), "S12", "app", "app", ("s2",)
    ),
    Fault("a stopped Odoo", "s3", stopped("odoo"), started("odoo"), "S12", "app", "app", ("s3",)),
    Fault(
        "a stopped pgbouncer",
        "s2",
        stopped("pgbouncer"),
        started("pgbouncer"),
        "S12",
        "database",
        "database",
        parts=("s2",),
    ),
    Fault(
        "a stopped way to the database",
        "s1",
        stopped("haproxy"),
        started("haproxy"),
        "S12",
        "haproxy",
        "haproxy",
        parts=("s1",),
    ),
    Fault(
        "a process for long requests that crashes",
        "s3",
        f"systemd-run --quiet --unit={TRIAL} "
        "sh -c 'while :; do pkill -KILL -f \"[o]doo-bin gevent\"; sleep 4; done'",
        stopped(TRIAL),
        "O7",
        "live",
        "live",
        parts=("s3",),
    ),
    Fault(
        "a growing queue at pgbouncer",
        "s2",
        f"""cat >/run/{TRIAL}-queue <<'END'
export PGPASSWORD=$(sed -n 's/^db_password = //p' /etc/odoo/odoo.conf)
session() {{
    while :; do
        psql -XAtqc 'SELECT pg_sleep(20)' 'host=127.0.0.1 port=6432 user=crm dbname=crm' || sleep 1
    done
}}
for number in $(seq 60); do
    session &
done
wait
END
systemd-run --quiet --unit={TRIAL} sh /run/{TRIAL}-queue""",
        f"{stopped(TRIAL)}; rm /run/{TRIAL}-queue",
        "S12",
        "database",
        QUEUE,
        parts=("s2",),
    ),
    Fault(
        "a stopped health agent",
        "s3",
        stopped("salina-health.socket", "salina-health.service"),
        started("salina-health.socket", "salina-health.service"),
        "S12",
        "agent",
        "agent",
        parts=("s3",),
    ),
    Fault(
        "a server that somebody disabled in the balancer",
        "lb1",
        f"echo disable server crm/s3 | socat - {SOCKET}",
        f"echo enable server crm/s3 | socat - {SOCKET}",
        "S12",
        "haproxy crm",
        "haproxy crm",
        parts=APPS,
    ),
    Fault(
        "a stopped balancer",
        "lb1",
        stopped("haproxy"),
        started("haproxy"),
        "S12",
        "haproxy",
        "haproxy",
        parts=APPS,
    ),
    Fault(
        "a stopped web server of monitoring",
        "nagios",
        stopped("nginx"),
        started("nginx"),
        "S13",
        "nginx",
        "unit nginx",
        parts=("page",),
    ),
    Fault(
        "a mail that was refused",
        "nagios",
        f"touch /var/lib/nagios4/mail/failed/{TRIAL}",
        f"rm /var/lib/nagios4/mail/failed/{TRIAL}",
        "S13",
        "mails",
        "mails",
    ),
)

DIFFERENCES = (
    Fault(
        "a password file for everybody",
        "s2",
        *opened("/etc/odoo/odoo.conf"),
        "O2",
        "/etc/odoo/odoo.conf",
        DRIFT,
    ),
    Fault(
        "an edited option of Odoo",
        "s1",
        *edited("/etc/odoo/odoo.conf", "s/^list_db = .*/list_db = True/"),
        "O2",
        "its options",
        DRIFT,
    ),
    Fault(
        "a missing header of nginx",
        "s2",
        *edited("/etc/nginx/nginx.conf", "/X-Forwarded-Proto/d"),
        "O4",
        "/etc/nginx/nginx.conf",
        DRIFT,
    ),
    Fault(
        "a unit that no boot starts",
        "s1",
        "systemctl disable -q odoo",
        "systemctl enable -q odoo",
        "O3",
        "unit odoo",
        DRIFT,
    ),
    Fault(
        "a log that nothing rotates",
        "s2",
        *moved("/etc/logrotate.d/odoo"),
        "O3",
        "logs",
        DRIFT,
    ),
    Fault(
        "a mount that no boot makes",
        "s1",
        *edited("/etc/fstab", "/glusterfs/d"),
        "S4",
        "each boot",
        DRIFT,
    ),
    Fault(
        "a missing module of Salt",
        "s2",
        *moved("/var/cache/salt/minion/extmods/modules/once.py"),
        "K1",
        "the tree's Python",
        DRIFT,
    ),
    Fault(
        "ports that every user may take",
        "s1",
        f"sysctl -n net.ipv4.ip_unprivileged_port_start >{ASIDE}-ports; "
        "sysctl -qw net.ipv4.ip_unprivileged_port_start=1024",
        f"sysctl -qw net.ipv4.ip_unprivileged_port_start=$(cat {ASIDE}-ports); rm {ASIDE}-ports",
        "X8",
        "reserved ports",
        DRIFT,
    ),
    Fault(
        "security updates that nobody installs",
        "s2",
        stopped("apt-daily-upgrade.timer"),
        started("apt-daily-upgrade.timer"),
        "X11",
        "security updates",
        DRIFT,
    ),
    Fault(
        "a rule added with ufw",
        "s1",
        "ufw allow 9999/tcp",
        "ufw delete allow 9999/tcp; touch /run/salina-ufw-loaded",
        "X7",
        "interfaces in iptables",
        DRIFT,
    ),
    Fault(
        "a private key for everybody",
        "lb1",
        *opened(f"{TLS}/public-crm.key"),
        "O5",
        "the key of crm.example",
        DRIFT,
    ),
    Fault(
        "a volume that waits too long for a silent host",
        "nas1",
        "gluster --mode=script volume set nas network.ping-timeout 42",
        "gluster --mode=script volume set nas network.ping-timeout 5",
        "S3",
        "volume nas",
        DRIFT,
        parts=("volume",),
    ),
)

HOSTS = (
    Fault("an unreachable host", "bkp1", Kind.LINK_DOWN, "", "O9", WHOLE, HOST),
    Fault("a frozen host", "s3", Kind.FREEZE, "", "S12", WHOLE, REPORT, ("s3",)),
    Fault("a dead host", "nas3", Kind.KILL, "", "S4", WHOLE, HOST, ("volume", "quorum")),
    Fault("a host that was shut down", REPLICA, Kind.STOP, "", "S11", WHOLE, HOST, ("cluster",)),
)

FAULTS = (
    *(*DIFFERENCES, *SYSTEM, *FIREWALL, *CERTIFICATES, *STORAGE),
    *(*DATABASE, *BACKUP, *APPLICATION, *HOSTS),
)


def placed(faults: Iterable[Fault], primary: str, replica: str) -> list[Fault]:
    """Return faults on the hosts of the running cluster.

    Args:
        faults: The faults.
        primary: The host of the primary.
        replica: The host of a replica.
    """
    hosts = {PRIMARY: primary, REPLICA: replica}
    return [replace(one, host=hosts.get(one.host, one.host)) for one in faults]


def independent(one: Fault, other: Fault) -> bool:
    """Return whether two faults can be told apart, and neither hides the other one.

    The difference between a host and its states is one alarm for all faults of the host.
    """
    if one.host == other.host and (one.whole or other.whole):
        return False
    alarm = one.alarm == other.alarm != DRIFT
    seen = (one.row, one.what) == (other.row, other.what)
    return not ((one.host == other.host and (alarm or seen)) or {*one.parts} & {*other.parts})


def rounds(faults: Iterable[Fault]) -> list[list[Fault]]:
    """Return faults in rounds, not too many in one; those of a round are independent of each other.

    Faults of whole hosts come last: Nagios knows for minutes afterwards that a host was away, and
    keeps what its neighbours see silent.
    """
    found: list[list[Fault]] = []
    lasting: list[list[Fault]] = []
    for fault in faults:
        group = lasting if isinstance(fault.inject, Kind) else found
        for others in group:
            if len(others) < MOST and all(independent(fault, one) for one in others):
                others.append(fault)
                break
        else:
            group.append([fault])
    return [*found, *lasting]


def seen(fault: Fault, wrong: Iterable[Mapping[str, str]]) -> bool:
    """Return whether verify.service has found a fault.

    Args:
        fault: The fault.
        wrong: What is not good: the `row`, the `host`, and `what`.
    """
    return any(
        (one["row"], one["host"]) == (fault.row, fault.host) and one["what"].startswith(fault.what)
        for one in wrong
    )


def chosen(faults: Sequence[Fault], words: Sequence[str]) -> list[Fault]:
    """Return the faults that have all of these words: in the name, or as host, row or alarm."""
    return [
        one
        for one in faults
        if all(word in (one.host, one.row, one.alarm) or word in one.name for word in words)
    ]
