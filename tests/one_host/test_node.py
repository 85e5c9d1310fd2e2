"""A Node application on one host (S5, S8, S9), and errors in its file."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from salina.common import wait
from tests import fleets
from tests.lab import lab, tiers, upstream
from tests.lab.lab import run, shell
from tests.lab.test_rolling import edited
from tests.lab.test_verify import ROWS, holds

pytestmark = pytest.mark.lab

HEALTH = "http://127.0.0.1:3000/health"
UPLOADS = "/mnt/nas/crm/public/uploads"
LOG = "/var/log/node/node.log"
SECRETS = [f"/var/lib/salina/secrets/app-crm-{name}" for name in ("database", "login")]
DEFINITION = "pillar/app/sample-crm.yaml"
RUNTIME, HASH = (
    fleets.definition("sample-crm")["node"][one]["integrity"] for one in ("runtime", "npm")
)
NOWHERE = "f" * 40
RELEASES = "/opt/node/releases"
STEP = f"trial {uuid.uuid4().hex[:8]}"

# The script that the master runs in a browser's place: logs in, uploads, and reads the upload back.
BROWSER = """
set -e
cd $(mktemp -d)
head -c 300000 /dev/urandom > photo
curl() { command curl --silent --show-error --fail --max-time 20 -b jar -c jar "$@"; }
tr -d '\\n' < /var/lib/salina/secrets/app-crm-login |
    curl --data login=admin --data-urlencode password@- --output /dev/null $1/login
path=$(curl --form photo=@photo --output /dev/null --write-out '%{redirect_url}' $1/photos)
curl --output again "$path"
cmp photo again
curl $1/ | grep -qF "${path##*/}"
cmp photo $2/${path##*/}
echo "${path##*/}"
"""


# The same, but only the status of the upload.
REFUSED = """
set -e
cd $(mktemp -d)
head -c 300000 /dev/urandom > photo
curl() { command curl --silent --show-error --max-time 20 -b jar -c jar --output /dev/null "$@"; }
tr -d '\\n' < /var/lib/salina/secrets/app-crm-login |
    curl --data login=admin --data-urlencode password@- $1/login
curl --form photo=@photo --write-out '%{http_code}' $1/photos
"""


def sql(statement: str) -> list[str]:
    """The rows that a statement gives in the application's database."""
    return tiers.sql("all", statement, "crm").splitlines()


def pid() -> str:
    """The service's process."""
    return run("all", "systemctl", "show", "node", "--property=MainPID", "--value").strip()


def test_s5_uploaded_to_the_volume_and_shown() -> None:
    """S5: Volume and client have the same bytes, and the page shows the photo."""
    name = run("all", "bash", "-s", "http://127.0.0.1:3000", UPLOADS, given=BROWSER).strip()
    assert run("all", "stat", "--format=%U %a", f"{UPLOADS}/{name}").split() == ["node", "640"]
    kind = run("all", "stat", "--file-system", "--format=%T", UPLOADS).strip()
    assert kind == "fuseblk"
    assert not run("all", "ls", "/var/cache/node/uploads").split()


@pytest.mark.proof
@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("set nas storage.reserve 99", "reset nas storage.reserve"),  # 100 has no effect
        ("set nas features.read-only on", "reset nas features.read-only"),
    ],
    ids=["full", "read-only"],
)
def test_s5_an_upload_that_cannot_be_stored_is_an_error(begin: str, end: str) -> None:
    """S5: The user gets the error, and nothing of the upload remains."""

    def kept() -> tuple[list[str], list[str]]:
        return sql('SELECT file FROM "Photos" ORDER BY id'), run("all", "ls", UPLOADS).split()

    gluster, probe = "gluster --mode=script volume", f"{UPLOADS}/../trouble"
    before = kept()
    try:
        shell("all", f"{gluster} {begin}")
        write = ("all", "sh", "-c", f"echo > {probe}")
        assert wait.until(lambda: lab.execute(*write).returncode, 60), "the volume takes files"
        answer = run("all", "bash", "-s", "http://127.0.0.1:3000", given=REFUSED)
        assert answer == "500"
        assert kept() == before
    finally:
        shell("all", f"{gluster} {end}")
        taken = wait.until(lambda: not lab.execute(*write).returncode, 60)
        run("all", "rm", "-f", probe)
        assert taken, "the volume still refuses files"
    name = run("all", "bash", "-s", "http://127.0.0.1:3000", UPLOADS, given=BROWSER).strip()
    assert name in kept()[1]


def test_s9_migrated_and_seeded_once() -> None:
    """S9: Each migration and the seed ran once."""
    steps = sql("SELECT step FROM salina_once ORDER BY finished, step")
    commit = lab.salt("all", "release.status")["all"]["commit"]
    assert steps == [f"migrate at {commit}", "seed"]
    migrations = sql('SELECT name FROM "SequelizeMeta" ORDER BY name')
    assert migrations == ["1-users.js", "2-photos.js", "3-sessions.js"]
    assert sql('SELECT login FROM "Users"') == ["admin"]


def test_s8_as_it_should_run() -> None:
    """S8: The service has its own user and only loopback; root owns its code; no command line has a
    secret.
    """
    assert run("all", "systemctl", "is-enabled", "node").strip() == "enabled"
    assert run("all", "ps", "-o", "user=", "-p", pid()).strip() == "node"
    listening = shell("all", "ss -Hltn | awk '{print $4}'").split()
    assert [where for where in listening if where.endswith(":3000")] == ["127.0.0.1:3000"]
    for name in ("environment", "steps"):
        shown = run("all", "stat", "--format=%a %U", f"/etc/node/{name}")
        assert shown.split() == ["600", "root"]
    inside = ["nsenter", "--target", pid(), "--mount", "--setuid", "871", "--setgid", "871"]
    run("all", *inside, "test", "-w", UPLOADS)
    run("all", *inside, "test", "!", "-w", "/opt/node/production/app.js")
    shown = run("all", "ps", "-eo", "args")
    assert not [name for name in SECRETS if run("all", "cat", name).strip() in shown]


@pytest.mark.proof
def test_s8_the_sandbox_lets_it_list_its_network_interfaces() -> None:
    """S8: os.networkInterfaces() works in the unit's sandbox; it opens a netlink socket."""
    name = "RestrictAddressFamilies"
    families = run("all", "systemctl", "show", "node", f"--property={name}", "--value").strip()
    command = ["node", "-p", "Object.keys(os.networkInterfaces()).includes('lo')"]
    shown = run(
        "all", "systemd-run", "--pipe", "--wait", "--quiet",
        "--property=User=node", "--property=EnvironmentFile=/etc/node/environment",
        f"--property={name}={families}", "--", "/usr/bin/env", *command,
    )  # fmt: skip
    assert shown.strip() == "true"


def test_s8_restarted_after_a_failure() -> None:
    """S8: systemd starts the service again after its process died."""
    before = pid()
    run("all", "systemctl", "kill", "--signal=KILL", "node")
    served = wait.until(lambda: run("all", "curl", "-s", HEALTH, check=False) == "pass", 30)
    assert served and pid() not in ("", "0", before)


def test_s8_log_is_rotated_and_followed() -> None:
    """S8: The service keeps its log file open, so a rotation copies and empties it."""
    run("all", "logrotate", "--force", "/etc/logrotate.d/node")
    assert "port 3000" in run("all", "cat", f"{LOG}.1")
    assert run("all", "stat", "--format=%s %U %a", LOG).split() == ["0", "node", "640"]
    assert run("all", "readlink", f"/proc/{pid()}/fd/1").strip() == LOG


def applied(**definition: Any) -> dict[str, lab.State]:
    """Apply the application with another part of its file, and return the results."""
    return lab.apply("all", "application", **definition)["all"]


@pytest.fixture(scope="module")
def mended() -> Iterator[None]:
    """At the end all is as its file says, and the next apply finds nothing to do."""
    yield
    sql(f"DELETE FROM salina_once WHERE step = '{STEP}'")
    shell("all", f"cd {RELEASES}; for each in */; do [ -e ${{each%/}}.json ] || rm -r $each; done")
    assert not lab.failures({"all": applied()})
    assert not lab.changes({"all": applied()})


def step(*command: str) -> dict[str, Any]:
    """The file with one step."""
    flags = dict.fromkeys(("each_revision", "login_password"), False)
    return {"node": {"once": [{"name": STEP, "command": list(command), **flags}]}}


def release() -> str:
    """The release that runs, and each of its files with the time of its last change."""
    files = "find /opt/node/production/ -type f -printf '%p %s %C@\\n'"
    return shell("all", f"readlink /opt/node/production; {files} | sort | sha256sum")


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"s/revision: main/revision: {NOWHERE}/", NOWHERE),
        (f"s|{RUNTIME}|{HASH}|", f"but must be {HASH}; it was not unpacked"),
        ("s/version: 6.14.18/version: 0.0.0/", "npm-0.0.0.tgz: status 404"),
        (r's/install: .*/install: [sh, -c, "echo no luck >\&2; exit 3"]/', "no luck"),
    ],
    ids=["revision", "hash", "version", "install"],
)
def test_a_release_that_cannot_be_built_is_told_and_the_service_goes_on(
    script: str, said: str
) -> None:
    """S8, S9, K5: The failed state says why, and production and the service stay as they were."""
    with edited(DEFINITION, script):
        fails("application-built", said)


@pytest.mark.usefixtures("mended")
def test_a_step_that_fails_is_told_and_the_service_goes_on() -> None:
    """S8, S9, K5: The failed state says why, and production and the service stay as they were."""
    fails("node-once-1", "is not done", **step("sh", "-c", "echo no luck; exit 3"))


def fails(state: str, said: str, **definition: Any) -> None:
    """Apply, and assert that this state alone fails, and that everything goes on as before."""
    before = pid(), release()
    found = applied(**definition)
    assert found[state]["result"] is False and said in found[state]["comment"], found[state]
    others = [name for name in found if found[name]["result"] is False and name != state]
    assert {"application-production", "node-service"} <= set(others)
    assert all("requisite" in found[name]["comment"] for name in others), others
    assert (pid(), release()) == before
    assert run("all", "curl", "-s", HEALTH) == "pass"


@pytest.mark.proof
@pytest.mark.usefixtures("mended")
def test_x10_what_npm_runs_is_not_root_and_reads_no_secret() -> None:
    """X10, K4: Install scripts belong to a user of their own; the packages belong to root."""
    script = r"id -un >\&2; cat /etc/node/environment; exit 3"
    with edited(DEFINITION, f's|install: .*|install: [sh, -c, "{script}"]|'):
        found = applied()["application-built"]
    assert found["result"] is False
    assert "salina-build" in found["comment"]
    assert "Permission denied" in found["comment"]
    others = f"find {RELEASES}/*/node_modules* ! -type l \\( ! -user root -o -perm /6022 \\)"
    assert not shell("all", f"{others} -printf '%M %u %p\\n'")


@pytest.mark.usefixtures("mended")
def test_s9_a_step_that_failed_is_tried_by_the_next_apply() -> None:
    """S9, K2: The next apply does a step that failed."""
    assert applied(**step("false"))["node-once-1"]["result"] is False
    done = applied(**step("true"))["node-once-1"]
    assert (done["result"], done["changes"]) == (True, {"once": {"old": None, "new": STEP}})


NOTES = "exports.up = (query, {STRING}) => query.createTable('Notes', {text: STRING});\n"


def tables() -> list[str]:
    """The tables and migrations that the next test adds."""
    asked = "SELECT name FROM \"SequelizeMeta\" WHERE name LIKE '4-%' UNION ALL "
    return sql(f"{asked}SELECT tablename FROM pg_tables WHERE tablename = 'Notes'")


def orchestrate(name: str, **pillar: str) -> tuple[int, str]:
    """Run an orchestration, and return its exit code and what it said."""
    given = f"pillar={json.dumps(pillar)}"
    done = lab.execute("all", "salt-run", "state.orchestrate", f"orch.{name}", given)
    return done.returncode, done.stdout + done.stderr


def test_o8_a_migration_waits_for_its_upgrade_and_goes_with_the_rollback() -> None:
    """O8, S9: An apply changes neither code nor database. The upgrade changes both, after a
    rehearsal; the rollback brings both back, and keeps what it replaces.
    """
    former = lab.salt("all", "release.active")["all"]
    sure = {"application": "crm", "confirm": "crm"}
    with (
        edited(DEFINITION, r"s|start: .*|start: [node, ./app.js]|"),
        upstream.moved("sample-crm", {"migrations/4-notes.js": NOTES}),
    ):
        upstream.resolve("sample-crm")
        found = applied()
        assert found["node-once-1"]["comment"].endswith("which waits")
        assert "migrations/4-notes.js; next" in found["application-production"]["comment"]
        assert lab.salt("all", "release.active")["all"] == former and tables() == []
        assert "node app.js" in shell("all", f"cat /proc/{pid()}/cmdline | tr '\\0' ' '")
        code, said = orchestrate("upgrade")
        assert code and "changed: migrations/4-notes.js" in said and "not rehearsed yet" in said
        code, said = orchestrate("upgrade", **sure)
        assert code == 0, said
        release = lab.salt("all", "release.active")["all"]
        assert release != former and tables() == ["4-notes.js", "Notes"]
        assert "node ./app.js" in shell("all", f"cat /proc/{pid()}/cmdline | tr '\\0' ' '")
        assert lab.changes({"all": applied()}) == []
        name = run("all", "bash", "-s", "http://127.0.0.1:3000", UPLOADS, given=BROWSER).strip()
        code, said = orchestrate("rollback")
        assert code and "lost: what users have changed since then" in said
        code, said = orchestrate("rollback", **sure)
        assert code == 0, said
        assert lab.salt("all", "release.active")["all"] == former and tables() == []
        assert name not in sql('SELECT file FROM "Photos"')
    kept = [one["name"] for one in json.loads(lab.salt_run("backup.kept").stdout)]
    assert len(kept) == 1
    assert lab.salt_run("backup.discard", kept[0], f"confirm={kept[0]}").returncode == 0
    assert lab.failures({"all": applied()}) == []


SLOWLY = """exports.up = (query, {STRING}) => query.sequelize.query('SELECT pg_sleep(8)')
  .then(() => query.createTable('Notes', {text: STRING}));
"""


@pytest.fixture
def without_notes() -> Iterator[None]:
    """Without the table and the record of the migration afterwards."""
    yield
    sql('DROP TABLE IF EXISTS "Notes"; DELETE FROM "SequelizeMeta" WHERE name = \'4-notes.js\'')
    assert lab.changes({"all": applied()}) == []


@pytest.mark.proof
@pytest.mark.usefixtures("without_notes")
def test_o8_the_application_goes_on_while_compatible_migrations_change_its_database() -> None:
    """O8: The former release serves meanwhile, and after the way back it has the new table."""
    former, process = lab.salt("all", "release.active")["all"], pid()
    sure = {"application": "crm", "confirm": "crm"}
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = 'crm' "
    sleeping += "AND query LIKE 'SELECT pg_sleep%'"
    declared = r"s|migrations: migrations|&\n  compatible: [migrations/4-notes.js]|"
    with edited(DEFINITION, declared):
        with upstream.moved("sample-crm", {"migrations/4-notes.js": SLOWLY}):
            upstream.resolve("sample-crm")
            code, said = orchestrate("upgrade")
            assert code and "all of this is declared compatible" in said
            with ThreadPoolExecutor() as pool:
                asked = pool.submit(orchestrate, "upgrade", **sure)
                assert wait.until(lambda: sql(sleeping) == ["1"], 300), asked.result()
                assert run("all", "curl", "-s", HEALTH) == "pass" and pid() == process
                assert sql(sleeping) == ["1"]
                code, said = asked.result()
            assert code == 0, said
            assert "and so does the former release" in said
            assert lab.salt("all", "release.active")["all"] != former
            assert tables() == ["4-notes.js", "Notes"]
            assert lab.changes({"all": applied()}) == []
            assert json.loads(lab.salt_run("backup.kept").stdout) == []
        assert "waits" in applied()["application-production"]["comment"]
        code, said = orchestrate("upgrade", **sure)
        assert code == 0, said
    assert lab.salt("all", "release.active")["all"] == former
    assert run("all", "curl", "-s", HEALTH) == "pass" and tables() == ["4-notes.js", "Notes"]


@pytest.mark.proof
def test_x8_services_of_every_role_keep_their_ports() -> None:
    """X8: With all roles on one host, each daemon opens its port again, and nobody else can."""
    pillar = fleets.pillar("all", "one-host")
    quorum, database, route = (pillar[name] for name in ("quorum", "database", "database_route"))
    ports = {
        "etcd": [quorum["client_port"], quorum["peer_port"]],
        "patroni": [database["rest_port"], database["port"]],
        "pgbouncer": [route["pool_port"]],
        "node": [pillar["app"]["definition"]["port"]],
    }

    def silent(daemon: str) -> str:
        listening = shell("all", "ss -Hltn | awk '{print $4}'").split()
        found = {int(where.rpartition(":")[2]) for where in listening}
        return "" if found >= set(ports[daemon]) else f"{daemon} does not listen at all its ports"

    for daemon, numbers in ports.items():
        run("all", "systemctl", "restart", daemon)
        wait.clear(lambda daemon=daemon: silent(daemon), 120, daemon)  # type: ignore[misc]
        for number in numbers:
            bind = f"import socket; socket.socket().bind(('127.0.0.2', {number}))"
            refused = lab.execute("all", "runuser", "-u", "nobody", "--", "python3", "-c", bind)
            assert "PermissionError" in refused.stderr, (daemon, number)
    wait.clear(lambda: "" if run("all", "curl", "-s", HEALTH) == "pass" else "no", 120, "the CRM")


@pytest.mark.proof
def test_every_row_about_security_holds_on_one_host() -> None:
    """X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11: With Node, and all roles on one host, too."""
    assert holds() == ROWS
