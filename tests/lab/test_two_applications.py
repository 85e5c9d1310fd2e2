"""A second application joins the running fleet: its kind differs, and each keeps its own resources.

The second one is the Node sample, so S2, S5, S9, S10, S11 and S12 are proven for another kind of
application.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest

from lab.commands import status
from lab.machines import topology_file
from salina.common import wait
from tests import fleets
from tests.lab import lab, second, test_verify, tiers, upstream
from tests.lab.lab import shell
from tests.lab.test_backup import kept, orchestrate, succeeded
from tests.lab.test_database import log_in
from tests.lab.test_rolling import edited
from tests.lab.traffic import SAMPLE, Background, Traffic, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.proof]

TOPOLOGY = "two-applications"
HOSTS = {
    name: [host.id for host in fleets.fleet(TOPOLOGY).serving(name)]
    for name in fleets.topology(TOPOLOGY).applications
}
PAIRS = list(itertools.permutations(HOSTS, 2))
ADDRESS = fleets.topology(TOPOLOGY).service.address
[POOL] = [pool for pool in fleets.topology(TOPOLOGY).pools.values() if pool.application == "shop"]
NEW = "w4"
VOLUME = "/mnt/nas/shop/public/uploads"
VOLUMES = {"crm": "nas", "shop": "shop"}
ASK = """
import http.client, ssl

tls = ssl._create_unverified_context()
while not stopped.wait(0.2):
    for name, (domain, path) in given["applications"].items():
        connection = http.client.HTTPSConnection(given["address"], timeout=30, context=tls)
        connection.request("GET", path, headers={"Host": domain})
        say(name=name, status=connection.getresponse().status)
        connection.close()
"""


@pytest.fixture(scope="module", autouse=True)
def failed() -> Iterator[list[str]]:
    """The fleet with a second application: what failed for the first one's users meanwhile."""
    with second.application("shop", TOPOLOGY) as found:
        yield found


def definition(name: str) -> str:
    """The file of pillar/app that an application of the running lab has."""
    return topology_file.read().applications[name].definition


def url(name: str) -> tuple[str, str]:
    """An application's domain, and the path that its health is asked for at."""
    topology = topology_file.read()
    application = topology.applications[name]
    health = status.definitions(topology)[application.definition]["health"]
    return application.domain, health["path"]


def curl(name: str, path: str, *arguments: str, given: str = "") -> str:
    """Return the answer that a client gets for a path of an application, by its domain."""
    domain, _ = url(name)
    command = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "20"]
    command += ["--connect-to", f"{domain}::{ADDRESS}:", *arguments, f"https://{domain}{path}"]
    return lab.run("c1", *command, given=given)


def asked(name: str, number: int) -> dict[str, int]:
    """How many more requests each host had after so many for an application."""
    before = {host: server["requests"] for host, server in tiers.servers().items()}
    status = ["--output", "/dev/null", "--write-out", "%{http_code}\\n"]
    assert curl(name, f"{url(name)[1]}?[1-{number}]", *status).split() == ["200"] * number
    after = {host: server["requests"] for host, server in tiers.servers().items()}
    return {host: after[host] - before[host] for host in after}


def test_the_first_ones_users_notice_nothing(failed: list[str]) -> None:
    """S2, S12: New backend, roles, certificate and rules arrive while the first application
    serves.
    """
    assert not failed


def test_all_is_well() -> None:
    """S15: Both domains have a certificate that names them, and every tier is healthy."""
    lab.lab("status")


def test_every_row_holds_for_both() -> None:
    """X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11, S8: What the hosts show of each, with an
    application of either kind.
    """
    assert test_verify.holds() == test_verify.ROWS
    assert wait.until(lambda: test_verify.service() == (0, {}), 180), test_verify.service()
    rows = json.loads(lab.salt_run("verify.service").stdout)["rows"]
    assert rows["S8"]["good"] is True


@pytest.mark.parametrize("name", HOSTS)
def test_s2_a_name_leads_to_its_own_hosts(name: str) -> None:
    """S2: The application's own hosts take turns, and the other application's hosts get nothing."""
    assert wait.until(tiers.all_serve, 60), tiers.servers()
    assert {host: server["backend"] for host, server in tiers.servers().items()} == {
        host: name for name, hosts in HOSTS.items() for host in hosts
    }
    assert asked(name, 24) == {
        host: 24 / len(HOSTS[name]) if host in HOSTS[name] else 0
        for hosts in HOSTS.values()
        for host in hosts
    }


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_s6_a_role_reaches_its_own_database_from_its_own_hosts(name: str, other: str) -> None:
    """S6: A role reaches neither the other database nor the other role, not by pgbouncer either."""
    primary, [client, *_] = tiers.leader(), HOSTS[name]
    own, others = (tiers.secret(f"app-{one}-database") for one in (name, other))
    where = f"host=database hostaddr={tiers.DATABASES[primary]}"
    tls = f"{where} sslmode=verify-full sslrootcert=/etc/salina/tls/ca.crt"
    assert log_in(client, f"{tls} user={name} dbname={name}", own) == name
    assert "no pg_hba.conf entry" in log_in(client, f"{tls} user={name} dbname={other}", own)
    assert "no pg_hba.conf entry" in log_in(client, f"{tls} user={other} dbname={other}", others)
    pooled = f"host=127.0.0.1 port=6432 user={name} sslmode=disable"
    assert log_in(client, f"{pooled} dbname={name}", own) == name
    assert "FATAL" in log_in(client, f"{pooled} dbname={other}", own)


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_s6_a_role_may_nothing_in_the_other_database(name: str, other: str) -> None:
    """S6: The database refuses the other role even without pg_hba, and no role is in a group."""
    primary = tiers.leader()
    may = f"SELECT has_database_privilege('{name}', '{other}', 'CONNECT')"
    assert tiers.sql(primary, may) == "f"
    assert tiers.sql(primary, f"SELECT pg_has_role('{name}', '{other}', 'MEMBER')") == "f"
    owned = f"SELECT datname FROM pg_database WHERE datdba = '{name}'::regrole"
    assert tiers.sql(primary, owned) == name


@pytest.mark.parametrize("name", HOSTS)
def test_s5_files_are_on_a_volume_of_its_own(name: str) -> None:
    """S5: The application's hosts share its files, and see no others."""
    user, [one, other, *_] = fleets.definition(definition(name))["kind"], HOSTS[name]
    source = lab.run(one, "findmnt", "--noheadings", "--output", "SOURCE", "/mnt/nas").strip()
    assert source.partition(":")[2] == f"/{VOLUMES[name]}"
    assert {*lab.run(one, "ls", "/mnt/nas").split()} == {name, "releases"}
    assert lab.run(one, "stat", "--format=%U %a", f"/mnt/nas/{name}").split() == [user, "750"]
    archives = f"/mnt/nas/releases/{name}"
    assert lab.run(one, "stat", "--format=%U %a", archives).split() == ["root", "700"]
    runs = lab.salt(one, "release.status")[one]["runs"]
    assert f"{runs}.tar.zst" in lab.run(one, "ls", archives).split()
    assert lab.execute(one, "runuser", "-u", user, "--", "ls", archives).returncode
    file, content = f"/mnt/nas/{name}/test-{uuid.uuid4().hex}", uuid.uuid4().hex
    try:
        lab.run(one, "runuser", "-u", user, "--", "tee", file, given=content)
        assert lab.run(other, "runuser", "-u", user, "--", "cat", file) == content
    finally:
        lab.run(one, "rm", "--force", file)


@pytest.mark.proof
@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_x1_a_host_cannot_mount_the_volume_of_another_application(name: str, other: str) -> None:
    """X1: Root on a host of one application reads no file of the other, by no storage host."""
    client, directory = HOSTS[name][0], "/run/salina-attack"
    attack = f"""
    mkdir -p {directory}
    mount -t glusterfs nas1:/{VOLUMES[other]} {directory} || exit 0
    ! mountpoint --quiet {directory} || ls -A {directory}
    """
    private = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    done = lab.execute(client, "timeout", "60", *private, "sh", "-c", attack)
    assert done.stdout.strip() == "", done.stdout
    for volume in VOLUMES.values():
        options = lab.salt("nas1", "gluster.volumes")["nas1"][volume]["options"]
        assert "auth.allow" in options


@pytest.mark.parametrize("name", HOSTS)
def test_s9_its_steps_were_done_on_its_own_hosts(name: str) -> None:
    """S9: Each application records its steps in its own database."""
    done = tiers.sql(tiers.leader(), "SELECT DISTINCT host FROM salina_once", name).split()
    assert done and set(done) <= set(HOSTS[name])


def test_each_has_a_login_of_its_own() -> None:
    """S6: The other application's password opens nothing."""

    def log_in_with(password: str) -> dict[str, object]:
        call = {"params": {"db": "crm", "login": "admin", "password": password}}
        asks = ["--header", "Content-Type: application/json", "--data", "@-"]
        said = curl("crm", "/web/session/authenticate", *asks, given=json.dumps(call))
        return dict(json.loads(said))

    own, others = (tiers.secret(f"app-{one}-login") for one in ("crm", "shop"))
    assert log_in_with(own)["result"]
    assert "result" not in log_in_with(others)


def test_s9_migrated_and_seeded_once_though_all_hosts_began_together() -> None:
    """S9: One host did each step, and no migration and no seed ran twice."""

    def rows(select: str) -> list[str]:
        return tiers.sql(tiers.leader(), select, "shop").splitlines()

    assert len(POOL.initial) == 3
    steps = [f"migrate at {commit(HOSTS['shop'][0])}", "seed"]
    assert rows("SELECT step FROM salina_once ORDER BY step") == steps
    migrations = rows('SELECT name FROM "SequelizeMeta" ORDER BY name')
    assert migrations == ["1-users.js", "2-photos.js", "3-sessions.js"]
    assert rows('SELECT login FROM "Users"') == ["admin"]


def test_s5_uploads_and_sessions_are_the_same_on_every_host() -> None:
    """S5, S2: An upload has the same bytes on each host, and a login is valid on all.

    Every wrong answer counts as a failed request.
    """
    log = "grep -c 'GET /uploads/[0-9a-f]' /var/log/nginx/node-access.log || true"

    def unread() -> str:
        """Name the hosts that have shown no upload: one that is slow gets few requests."""
        return " ".join(host for host in HOSTS["shop"] if shell(host, log).strip() == "0")

    with Traffic(user=SAMPLE, name="shop") as traffic:
        wait_for([traffic], 30)
        wait.clear(unread, 60, "every host to show an upload")
        wait_for([traffic], 30)
        traffic.end()
    assert not traffic.failed()
    uploads = [each for each in traffic.requests() if each.kind == "upload"]
    assert len(uploads) >= 8
    sums = [sorted(shell(host, f"cd {VOLUME} && sha1sum *").splitlines()) for host in HOSTS["shop"]]
    assert all(one == other for one, other in itertools.pairwise(sums))
    assert {each.sha1 for each in uploads} <= {line.split()[0] for line in sums[0]}


def commit(host: str) -> str:
    """The commit of the release that a host runs."""
    return str(lab.salt(host, "release.status")[host]["commit"])


def processes() -> dict[str, str]:
    """The service's process on each host of the second application."""
    show = ["systemctl", "show", "node", "--property=MainPID", "--value"]
    return {host: lab.run(host, *show).strip() for host in HOSTS["shop"]}


def done(step: str) -> str:
    """The host that did a step of the second application."""
    return tiers.sql(tiers.leader(), f"SELECT host FROM salina_once WHERE step = '{step}'", "shop")


def undo(step: str) -> None:
    """Forget that a step was done: a lab that stays has the next run's tests before it."""
    tiers.sql(tiers.leader(), f"DELETE FROM salina_once WHERE step = '{step}'", "shop")


def test_s9_a_migration_that_fails_on_one_host_is_done_by_another() -> None:
    """S9, K2: The failed step stays undone, the service goes on, and the next apply does it
    once.
    """
    [victim, *others], before = HOSTS["shop"], processes()
    name = f"trial {uuid.uuid4().hex[:8]}"
    at = f"{name} at {commit(victim)}"
    command = ["sh", "-c", f"echo no luck here; test $(hostname) != {victim}"]
    flags = {"each_revision": True, "login_password": False}
    step = {"name": name, "command": command, **flags}
    found = lab.apply(victim, "application", node={"once": [step]})[victim]
    assert found["node-once-1"]["result"] is False
    assert "is not done" in found["node-once-1"]["comment"]
    assert "no luck here" in found["node-once-1"]["comment"]
    assert found["application-production"]["result"] is False
    assert (processes(), curl("shop", url("shop")[1])) == (before, "pass")

    try:
        found = lab.apply(",".join(others), "application", node={"once": [step]})
        found |= lab.apply(victim, "application", node={"once": [step]})
        assert not lab.failures(found)
        [line] = lab.changes(found)
        assert line.startswith(f"{done(at)}: node-once-1: ")
        assert processes() == before
    finally:
        undo(at)


def test_s8_a_new_revision_and_back() -> None:
    """S8, S9: All hosts take the revision together, its migrations run once, and the old one
    returns.
    """
    name, shop, style = definition("shop"), ",".join(HOSTS["shop"]), "public/style.css"
    states = "application,nginx.release"  # nginx caches the file under the release
    old = upstream.git("show", f"{commit(HOSTS['shop'][0])}:{style}", name=name)
    before, second = processes(), ""
    try:
        with upstream.moved(name, {style: f"{old}\n/* second */\n"}) as (first, second):
            assert upstream.resolve(name) == second
            found = lab.apply(shop, states)
            assert not lab.failures(found)
            assert "/* second */" in curl("shop", "/style.css")
            assert {commit(host) for host in HOSTS["shop"]} == {second}
            migrated = [host for host in HOSTS["shop"] if found[host]["node-once-1"]["changes"]]
            assert [done(f"migrate at {second}")] == migrated
            assert all(pid != before[host] for host, pid in processes().items())
            built = [host for host in HOSTS["shop"] if found[host]["application-built"]["changes"]]
            assert len(built) == 1
            assert not lab.changes(lab.apply(shop, states))
    finally:
        back = lab.apply(shop, states)
        undo(f"migrate at {second}")
    assert not lab.failures(back)
    assert not [host for host in back if back[host]["application-built"]["changes"]]
    assert {commit(host) for host in HOSTS["shop"]} == {first}
    assert "second" not in curl("shop", "/style.css")
    assert wait.until(tiers.all_serve, 60), tiers.servers()


NOTES = "exports.up = (query, {STRING}) => query.createTable('Notes', {text: STRING});\n"
NEWER = "migrations/4-notes.js"


@pytest.fixture
def without_notes() -> Iterator[None]:
    """Without the table, its migration and its step afterwards: a lab that stays has them not."""
    [before] = {commit(host) for host in HOSTS["shop"]}
    yield
    leader = tiers.leader()
    tiers.sql(leader, 'DROP TABLE IF EXISTS "Notes"', "shop")
    tiers.sql(leader, "DELETE FROM \"SequelizeMeta\" WHERE name = '4-notes.js'", "shop")
    shown = f"DELETE FROM salina_once WHERE step LIKE 'migrate at %' AND step NOT LIKE '%{before}'"
    tiers.sql(leader, shown, "shop")
    assert not lab.changes(lab.apply(",".join(HOSTS["shop"]), "application,nginx.release"))


@pytest.mark.usefixtures("without_notes")
def test_o8_s12_hosts_follow_a_compatible_migration_and_no_request_fails() -> None:
    """O8, S12: The database changes while all hosts serve. Then one host after another follows, and
    on the way back as well. No user's page, upload or session is lost meanwhile.
    """
    name, sure = definition("shop"), {"application": "shop", "confirm": "shop"}
    declared = f"s|migrations: migrations|&\\n  compatible: [{NEWER}]|"
    tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'Notes'"
    before, former = processes(), {commit(host) for host in HOSTS["shop"]}
    with Traffic(user=SAMPLE, name="shop") as traffic:
        wait_for([traffic], 30)
        with edited(f"pillar/app/{name}.yaml", declared):
            with upstream.moved(name, {NEWER: NOTES}) as (_, newer):
                upstream.resolve(name)
                plan = orchestrate("upgrade", application="shop")
                assert plan.returncode and "all of this is declared compatible" in plan.stdout
                succeeded("upgrade", **sure)
                assert {commit(host) for host in HOSTS["shop"]} == {newer}
                assert tiers.sql(tiers.leader(), tables, "shop") == "1"
                between = processes()
                assert all(between[host] != before[host] for host in HOSTS["shop"])
                wait_for([traffic], 60)
            succeeded("upgrade", **sure)
        assert {commit(host) for host in HOSTS["shop"]} == former
        assert all(pid != between[host] for host, pid in processes().items())
        wait_for([traffic], 60)
        traffic.end()
    print(f"{len(traffic.requests())} requests")
    assert not traffic.failed()
    assert tiers.sql(tiers.leader(), tables, "shop") == "1"  # the former release works with it
    assert wait.until(tiers.all_serve, 120), tiers.servers()


def scaled(**request: list[str]) -> None:
    """`orch.scale` of the second application's pool."""
    pillar = json.dumps({"pool": "shop", **request})
    lab.lab("salt-run", "state.orchestrate", "orch.scale", f"pillar={pillar}")


@pytest.mark.proof
@pytest.mark.slow
def test_s10_one_pool_grows_and_shrinks_and_no_request_fails() -> None:
    """S10: The new host serves its own application and reaches only its own database."""
    applications = {name: url(name) for name in HOSTS}
    hba = "SELECT DISTINCT user_name[1] FROM pg_hba_file_rules WHERE address = '{}' ORDER BY 1"
    [host] = [one for one in fleets.topology(TOPOLOGY).everyone() if one.id == NEW]
    address = host.addresses["data"]
    with (
        Background("c1", ASK, address=ADDRESS, applications=applications) as asking,
        Traffic(user=SAMPLE, name="shop") as traffic,
    ):
        wait_for([traffic], 30)
        scaled(add=[NEW])
        try:
            assert tiers.servers()[NEW]["backend"] == "shop"
            assert wait.until(tiers.all_serve, 60), tiers.servers()
            names = tiers.sql(tiers.leader(), hba.format(address)).split()
            assert names == ["salina_record_shop", "shop"]
        finally:
            scaled(remove=[NEW])
        assert NEW not in tiers.servers()
        assert tiers.sql(tiers.leader(), hba.format(address)) == ""
        wait_for([traffic], 30)
        traffic.end()
        asking.end()
        answers = Counter((line["name"], line["status"]) for line in asking.lines())
    assert set(answers) == {(name, 200) for name in HOSTS}, answers
    assert min(answers.values()) > 20
    assert not traffic.failed()


@pytest.mark.proof
@pytest.mark.slow
def test_s11_s12_an_app_host_killed_then_the_primary() -> None:
    """S11, S12: No repeatable request fails when an app host dies, and nobody is logged out.

    The old driver may wait without end for a primary that died: its user asks again.
    """
    victim = HOSTS["shop"][1]
    broken: list[str] = []
    with Traffic(user=SAMPLE, name="shop", timeout=30) as traffic:
        try:
            wait_for([traffic], 30)
            for host in (victim, tiers.leader()):
                broken.append(host)
                lab.fault("kill", host)
                wait_for([traffic], 90)
                lab.heal(broken.pop())
                tiers.leader()
                assert wait.until(tiers.all_serve, 90), tiers.servers()
                wait_for([traffic], 30)
                if host == victim:
                    alone = [each for each in traffic.requests() if each.fault]
            traffic.end()
        finally:
            if broken:
                lab.heal(*broken)
    failed = [each for each in traffic.requests() if each.fault]
    print(f"{len(traffic.requests())} requests, failed: {traffic.failed()}")
    assert not [each for each in alone if each.retriable]
    assert len(failed) <= 2 * traffic.sessions  # what was under way at these two moments
    assert not [each for each in failed if "logged out" in each.fault]


def test_o9_every_application_goes_back_to_one_moment() -> None:
    """O9: One command restores both, and keeps what it replaces."""

    def execute(name: str, statement: str) -> str:
        return tiers.sql(tiers.leader(), statement, name).strip()

    def values() -> list[str]:
        return [execute(name, "SELECT value FROM trial") for name in HOSTS]

    try:
        for name in HOSTS:
            execute(name, "CREATE TABLE trial AS SELECT 1 AS value")
        moment = execute("postgres", "SELECT clock_timestamp()")
        for name in HOSTS:
            execute(name, "UPDATE trial SET value = 2")
        plan = orchestrate("restore", application="all", time=moment)
        assert plan.returncode and f"the databases of {', '.join(HOSTS)} as of" in plan.stdout
        assert values() == ["2", "2"]
        succeeded("restore", application="all", time=moment, confirm="all")
        assert values() == ["1", "1"]
        assert {about.split()[0] for about in kept().values()} == {*HOSTS}
    finally:
        for name in kept():
            lab.salt_run("backup.discard", name, f"confirm={name}")
        for name in HOSTS:
            execute(name, "DROP TABLE IF EXISTS trial")
    lab.lab("status")


def test_s15_the_second_run_changes_nothing() -> None:
    """S15, K1: A second run changes nothing on any host of both applications."""
    for test in (True, False):
        lab.unchanged(test=test)
