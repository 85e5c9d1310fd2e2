"""S6: the fleet's real secrets are the canaries: each is where it belongs, and nowhere else.

One that is found elsewhere is told by its name and the place, never by its text.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.paths import CONTAINERS
from salina_fleet import secrets
from salina_fleet.certificates import certificates
from tests import fleets
from tests.lab import lab, tiers

pytestmark = pytest.mark.lab

HOSTS = fleets.fleet().hosts
[MASTER] = [host.id for host in fleets.fleet().having("master")]
STORE = "/var/lib/salina/secrets"
CA_KEYS = [secrets.authority(name)[0] for name in secrets.AUTHORITIES]
#: host -> the files of its private keys
KEYS = {
    host.id: (
        "/etc/salt/pki/minion/minion.pem",
        *(f"/etc/salina/tls/{one.name}.key" for one in certificates(fleets.fleet(), host)),
    )
    for host in HOSTS.values()
}
#: role -> the files that hold secrets, and which.
PLACES = {
    "app": {
        "/etc/odoo/odoo.conf": {"app-crm-database"},
        "/etc/odoo/environment": {"app-crm-database"},
        "/etc/odoo/health.json": {"app-crm-database"},
        "/etc/pgbouncer/userlist.txt": {"app-crm-database"},
    },
    "balancer": {
        f"/etc/haproxy/conf.d/15-visitors-{one.name}.cfg": {secrets.own(one.name, "visitors")}
        for one in fleets.topology().copies
    },
    "backup": {
        "/etc/pgbackrest.conf": {secrets.BACKUP},
        "/etc/pgbackrest-scratch.conf": {secrets.BACKUP},
        "/etc/salina/files-repository/password": {secrets.FILES_BACKUP},
    },
    "monitoring": {"/etc/nagios4/users.json": {"app-crm-monitoring"}},
    "storage": {"/etc/salina/files-backup.json": {secrets.FILES_BACKUP}},
    "quorum": {
        # etcd's log of what it has decided, which has the passwords of new users
        "/var/lib/etcd/default/member/wal/0000000000000000-0000000000000000.wal": {
            secrets.ETCD_ROOT,
            secrets.ETCD_PATRONI,
        },
    },
    "database": {
        "/etc/patroni/patroni.yml": {*secrets.DATABASE, secrets.ETCD_PATRONI},
        # written by Patroni for the replica's connection
        "/var/lib/postgresql/.pgpass-patroni": {"database-replication"},
    },
}
#: uid -> what the environment of its processes may hold: the service's own user.
ENVIRONMENTS = {
    fleets.definition(fleets.topology().default.definition)["uid"]: {"app-crm-database"}
}

Found = dict[str, set[str]]
"""place -> names of the secrets there"""


class Canaries:
    """Secrets by name. Their texts are never shown, also not among the values of a failed test."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = {name: line(value) for name, value in values.items()}

    def __repr__(self) -> str:
        return f"Canaries({', '.join(self.values)})"

    def planted(self) -> tuple[Canaries, str]:
        """Return these and a word that is not secret, which the search must find where it is."""
        word = uuid.uuid4().hex
        return Canaries(self.values | {"planted": word}), word

    def within(self, content: bytes) -> set[str]:
        """The names of those that some content holds."""
        return {name for name, value in self.values.items() if value.encode() in content}

    def script(self, script: str, **given: object) -> str:
        """A script of Python that finds them: for standard input, where nobody else reads it."""
        return f"CANARIES = {self.values!r}\nGIVEN = {given!r}\n{script}"


def line(value: str) -> str:
    """A secret as one line that may be anywhere: of a key one from its middle."""
    lines = value.split("\n")
    return lines[len(lines) // 2]


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    """All secrets of the fleet, and the private keys of all hosts."""
    stored = (*fleets.secrets(), *CA_KEYS)
    values = {name: written(MASTER, f"{STORE}/{name}").read_text().strip() for name in stored}
    for host in HOSTS:
        values |= {
            f"{path} of {host}": written(host, path).read_text().strip() for path in KEYS[host]
        }
    return Canaries(values)


def written(host: str, path: str = "") -> Path:
    """A host's own files, as the machine sees them: a container adds to its image in one folder."""
    return CONTAINERS / f"salina-{host}" / "delta" / path.lstrip("/")


# On disk


def on_disk(host: str, canaries: Canaries) -> Found:
    """The files of a host that hold a secret, among all that it ever wrote."""
    grep = ["grep", "--recursive", "--devices=skip", "--files-with-matches", "--null"]
    done = subprocess.run(
        [*grep, "--fixed-strings", "--file=-", written(host)],
        input="\n".join(canaries.values.values()).encode(),
        capture_output=True,
        env={"LC_ALL": "C"},
    )
    paths = [Path(name.decode()) for name in done.stdout.split(b"\0") if name]
    return {
        str(path).removeprefix(str(written(host))): names
        for path in paths
        if path.exists() and (names := canaries.within(path.read_bytes()))
    }


def homes(host: str) -> Found:
    """The files of a host in which secrets belong."""
    expected = {path: {f"{path} of {host}"} for path in KEYS[host]}
    for role in HOSTS[host].roles:
        expected |= PLACES.get(role, {})
    if host == MASTER:
        expected |= {f"{STORE}/{name}": {name} for name in fleets.secrets()}
        expected |= {f"{STORE}/{name}": {name} for name in CA_KEYS}
    return expected


def test_s6_in_their_files_and_no_others(canaries: Canaries) -> None:
    """S6, K4: No log, cache, job or temporary file has a secret, whoever may read it."""
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(HOSTS, pool.map(lambda host: on_disk(host, canaries), HOSTS), strict=True))
    astray = {
        f"{host}:{path}": names - homes(host).get(path, set())
        for host, files in found.items()
        for path, names in files.items()
        if names - homes(host).get(path, set())
    }
    assert astray == {}
    assert {"/etc/odoo/odoo.conf", "/etc/pgbouncer/userlist.txt"} <= set(found["s1"])  # it sees
    assert "/etc/patroni/patroni.yml" in found["bbdd1"]


def test_s6_their_files_are_not_for_everyone() -> None:
    """S6, K4: Only the owner and at most one group can read a file that has a secret."""
    files = [written(host, path) for host in HOSTS for path in homes(host)]
    modes = {path: path.stat().st_mode for path in files if path.exists()}
    assert len(modes) > sum(map(len, KEYS.values()))
    assert [path for path, mode in modes.items() if mode & 0o007] == []


# In memory: what is on no disk

MEMORY = """
import json, os, subprocess

def names(content):
    return [name for name, value in CANARIES.items() if value.encode() in content]

found = {}
for place in ("/run", "/dev/shm"):
    for folder, below, files in os.walk(place):
        below[:] = [name for name in below if name != "journal"]  # asked below
        for path in (os.path.join(folder, file) for file in files):
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    found[path] = names(file.read())
journal = subprocess.run(["journalctl", "--output=export", "--no-pager"], capture_output=True)
assert journal.stdout, journal.stderr
found["the journal"] = names(journal.stdout)
print(json.dumps({place: held for place, held in found.items() if held}))
"""


def in_memory(host: str, canaries: Canaries) -> Found:
    """Where a host holds secrets on file systems in memory and in its journal."""
    answer = json.loads(lab.run(host, "python3", "-", given=canaries.script(MEMORY)))
    return {f"{host}: {place}": set(names) for place, names in answer.items()}


def test_s6_in_no_journal(canaries: Canaries) -> None:
    """S6, K4: Neither the journal nor a file in memory has a secret; a planted one is found."""
    canaries, word = canaries.planted()
    lab.shell("s1", f"echo {word} > /run/planted; echo {word} | systemd-cat")
    try:
        with ThreadPoolExecutor(2) as pool:
            seen = pool.map(lambda host: in_memory(host, canaries), HOSTS)
        found = {place: names for host in seen for place, names in host.items()}
    finally:
        lab.run("s1", "rm", "/run/planted")
    assert found == {"s1: /run/planted": {"planted"}, "s1: the journal": {"planted"}}


# Processes


def processes(canaries: Canaries, file: str) -> Found:
    """The processes that hold a secret in a file of /proc: all of the machine, all hosts' too."""
    found: Found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            names = canaries.within((process / file).read_bytes())
            if names:
                names -= ENVIRONMENTS.get(process.stat().st_uid, set())
                host = re.search(r"salina-([\w-]+)", (process / "cgroup").read_text())
                place = (
                    f"{host[1] if host else 'machine'}: {(process / 'comm').read_text().strip()}"
                )
        except OSError:  # it has ended
            continue
        if names:
            found.setdefault(place, set()).update(names)
    return found


def test_s6_in_no_environment(canaries: Canaries) -> None:
    """S6, K4: No process has a secret in its environment, except the service with its password."""
    canaries, word = canaries.planted()
    pid = lab.shell("s1", f"export PLANTED={word}; sleep 600 >&- 2>&- & echo $!").strip()
    try:
        found = processes(canaries, "environ")
    finally:
        lab.run("s1", "kill", pid)
    assert found == {"s1: sleep": {"planted"}}


class Watch(threading.Thread):
    """Looks at the command lines of all processes again and again, until `end`."""

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self.canaries = canaries
        self.found: Found = {}
        self.rounds = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            for place, names in processes(self.canaries, "cmdline").items():
                self.found.setdefault(place, set()).update(names)
            self.rounds += 1

    def end(self) -> Found:
        """The findings and their places."""
        self.over.set()
        self.join()
        return self.found


# A process may end before anybody looks; of what Salt starts its own Python tells each command.
APPLY = """
import json, sys
from salt.scripts import salt_call

started, found = 0, set()

def hook(event, arguments):
    global started
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        started += 1
        found.update(name for name, value in CANARIES.items() if value in repr(arguments[:2]))

sys.addaudithook(hook)
quiet = ["--log-level=quiet", "--retcode-passthrough"]
sys.argv = ["salt-call", *quiet, *GIVEN["call"]]
code = 0
try:
    salt_call()
except SystemExit as end:
    code = end.code
print(json.dumps([code, started, sorted(found)]))
"""


def apply(host: str, canaries: Canaries, *call: str) -> tuple[int, list[str]]:
    """Run a function on a host, and succeed: commands started, secrets on their command lines."""
    script = canaries.script(APPLY, call=call)
    said = lab.run(host, "/opt/salt/bin/python", "-", given=script)
    code, started, names = json.loads(said.splitlines()[-1])
    assert code == 0, f"{host}: {call}\n{said}"
    return started, names


def test_s6_on_no_command_line_of_an_apply(canaries: Canaries) -> None:
    """S6, K4: No command line has a secret while Salt or anybody else sets passwords and does
    steps.
    """
    canaries, word = canaries.planted()
    leader = tiers.leader()
    tiers.sql(leader, "ALTER ROLE rewinder PASSWORD NULL")  # wanted after a failover only
    step = f"test {uuid.uuid4().hex}"
    once = ["state.single", "once.done", step, "command=[sleep, '2']", "user=odoo", "cwd=/"]
    control = ["cmd.run", f"sleep 2; : {word}"]
    watch = Watch(canaries)
    watch.start()
    try:
        with ThreadPoolExecutor() as pool:
            database = pool.submit(apply, leader, canaries, "state.apply", "role.database")
            app = pool.submit(apply, "s1", canaries, "state.apply", "role.app")
            step_ = pool.submit(apply, "s2", canaries, *once, "secrets={LOGIN: login_password}")
            planted = pool.submit(apply, "s3", canaries, *control)
            applied = [job.result() for job in (database, app, step_)]
            seen = planted.result()
    finally:
        found = watch.end()
        undo = f"DELETE FROM salina_once WHERE step = '{step}' RETURNING host"
        undone = tiers.sql(leader, undo, "crm")
    assert undone == "s2"
    assert [names for _, names in applied] == [[]] * 3
    assert all(started > 2 for started, _ in applied)
    assert seen[1] == ["planted"]
    wanted = "SELECT rolpassword LIKE 'SCRAM%' FROM pg_authid WHERE rolname = 'rewinder'"
    assert tiers.sql(leader, wanted) == "t"
    assert found.pop("s3: sh") == {"planted"}
    assert found == {}
    assert watch.rounds > 20


# Elsewhere


def test_s6_in_no_object_of_git(canaries: Canaries) -> None:
    """S6, K4: No revision, branch, stash or dropped commit of the repository has a secret."""
    cat = ["git", "-C", fleets.REPOSITORY, "cat-file", "--batch-all-objects", "--batch"]
    objects = subprocess.run([*cat, "--buffer", "--unordered"], capture_output=True, check=True)
    assert b"Salina" in objects.stdout  # they are not compressed any more
    assert canaries.within(objects.stdout) == set()


# As the master does it for a minion, but not as a job: that would be kept.
PILLARS = """
import json
import salt.config, salt.pillar, salt.utils.secret

opts = salt.config.master_config("/etc/salt/master")
found = {}
for host in GIVEN["hosts"]:
    pillar = salt.pillar.Pillar(opts, {"id": host}, host, "base").compile_pillar()
    text = json.dumps(salt.utils.secret.expose(pillar))
    assert json.dumps(host) in text
    found[host] = [name for name, value in CANARIES.items() if value in text]
print(json.dumps(found))
"""


def test_s6_in_no_other_minions_pillar(canaries: Canaries) -> None:
    """S6, K4: A minion's pillar has what its roles need.

    tests/integration/test_pillar.py proves that a minion cannot ask for more.
    """
    script = canaries.script(PILLARS, hosts=list(HOSTS))
    found = json.loads(lab.run(MASTER, "/opt/salt/bin/python", "-", given=script))
    assert {host: set(names) for host, names in found.items()} == {
        name: fleets.secrets_of(name) for name in HOSTS
    }
