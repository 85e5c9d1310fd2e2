"""The application tier as a client sees it: S1, S5 and S9, O2 to O4, O6 and O7."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from salina.common import wait
from tests import fleets
from tests.lab import tiers
from tests.lab.lab import apply, execute, failures, live, results, run, salt, shell
from tests.lab.tiers import APPS, secret

pytestmark = pytest.mark.lab

LOG = "/var/log/nginx/odoo-access.log"
PYTHON = "/opt/odoo/production/.venv/bin/python"


def log(host: str, mark: str) -> list[str]:
    """The lines about the marked requests in a host's log."""
    return shell(host, f"grep {mark} {LOG} || true").splitlines()


def sql(statement: str) -> list[str]:
    """The rows that a statement gives in the application's database."""
    return tiers.sql(tiers.leader(), statement, "crm").splitlines()


def test_s1_login_page_and_its_assets(client: Any) -> None:
    """S1: The login page and every script, style and image that it names arrive, jQuery too."""
    found = client(
        """
import re
status, headers, page = get("/web/login")
names = re.findall(r'(?:src|href)="(/[^"]+[.](?:js|css|png|ico)[^"]*)"', page.decode())
bodies = {name: get(name) for name in dict.fromkeys(names)}
print(json.dumps({
    "status": status,
    "assets": {name: [answer[0], len(answer[2])] for name, answer in bodies.items()},
    "jquery": any(b"jQuery" in answer[2] for answer in bodies.values()),
}))
"""
    )
    assert found["status"] == 200
    assert len(found["assets"]) >= 4
    assert all(status == 200 and size for status, size in found["assets"].values()), found
    assert found["jquery"] or live() != "/longpolling"  # newer versions do without it


def test_o4_the_balancer_names_the_client_and_nobody_else_may(client: Any, mark: str) -> None:
    """O4: nginx knows c1 by its address and ignores what c1 claims about itself."""
    client(
        """
print(json.dumps(get(f"/web/login?{given['mark']}", **{"X-Forwarded-For": "192.0.2.7"})[0]))
"""
    )
    lines = [line for host in APPS for line in log(host, mark)]
    assert [line.split()[:2] for line in lines] == [["10.1.1.11", "10.1.3.1"]]


def test_session_is_valid_on_every_host(client: Any, mark: str) -> None:
    """S2: Sessions are in the database, so every host accepts a login that one host made."""
    found = client(
        """
uid = login()["uid"]
seen = [call(f"/web/session/get_session_info?{given['mark']}")["uid"] for _ in range(12)]
print(json.dumps({"uid": uid, "seen": seen}))
"""
    )
    assert found["seen"] == [found["uid"]] * 12
    assert all(log(host, mark) for host in APPS)


def test_s5_attachment_is_the_same_from_every_host(client: Any, mark: str) -> None:
    """S5: A file that a client uploads through one host has the same bytes on each other host."""
    content = os.urandom(300_000)
    found = client(
        f"""
login()
number = model("ir.attachment", "create",
    {{"name": "salina-test", "datas": {base64.b64encode(content).decode()!r}}})
bodies = [get(f"/web/content/{{number}}?download=1&{{given['mark']}}")[2] for _ in range(12)]
print(json.dumps([hashlib.sha256(body).hexdigest() for body in bodies]))
model("ir.attachment", "unlink", [number])
"""
    )
    assert found == [hashlib.sha256(content).hexdigest()] * 12
    assert all("/web/content" in " ".join(log(host, mark)) for host in APPS)


COLLECT = """
import os, pathlib, time
walk = os.walk
def late(*given):
    pathlib.Path("/tmp/salina-locked").touch()
    end = time.monotonic() + 60
    while not pathlib.Path("/tmp/salina-go").exists() and time.monotonic() < end:
        time.sleep(0.1)
    return walk(*given)
os.walk = late
env["ir.attachment"]._gc_file_store()
"""
"""Odoo's collector, which waits between its lock and its look at the files that were marked."""
SHELL = (
    "set -a; . /etc/odoo/environment; set +a; cd /opt/odoo/production\n"
    f"exec runuser --user odoo -- {PYTHON} odoo-bin shell --config=/etc/odoo/odoo.conf --no-http"
)


def test_s5_an_upload_keeps_its_file_while_odoo_collects_garbage(client: Any) -> None:
    """S5: Odoo removes files that no row names, but none whose row is about to come."""
    content = os.urandom(30_000)
    upload = f"""
login()
number = model("ir.attachment", "create",
    {{"name": "salina-test", "datas": {base64.b64encode(content).decode()!r}}})
body = get(f"/web/content/{{number}}?download=1")[2]
model("ir.attachment", "unlink", [number])
print(json.dumps(hashlib.sha256(body).hexdigest()))
"""
    locked = "SELECT count(*) FROM pg_locks WHERE relation = 'ir_attachment'::regclass"
    run("s1", "rm", "--force", "/tmp/salina-locked", "/tmp/salina-go")
    with ThreadPoolExecutor() as pool:
        collecting = pool.submit(run, "s1", "sh", "-c", SHELL, given=COLLECT)
        assert wait.until(lambda: not execute("s1", "ls", "/tmp/salina-locked").returncode, 60)
        uploaded = pool.submit(client, upload)
        waits = wait.until(lambda: sql(f"{locked} AND NOT granted") != ["0"], 30)
        run("s1", "touch", "/tmp/salina-go")
        collecting.result()
        assert uploaded.result() == hashlib.sha256(content).hexdigest()
    assert waits


def test_reports_are_printed_as_pdf(client: Any) -> None:
    """O2, O4: A user gets a report as PDF, with the styles that its page names."""
    found = client(
        """
login()
number = model("ir.module.module", "search", [["name", "=", "base"]])[0]
answers = [get(f"/report/pdf/base.report_irmodulereference/{number}") for _ in range(3)]
print(json.dumps([[status, headers["content-type"], body[:5].decode(), len(body)]
                  for status, headers, body in answers]))
"""
    )
    assert all(answer[:3] == [200, "application/pdf", "%PDF-"] for answer in found), found
    assert all(answer[3] > 10_000 for answer in found)


TROUBLES = {
    # from 100 on, the reserve is a number of bytes
    "full": ("set nas storage.reserve 99", "reset nas storage.reserve"),
    "read-only": ("set nas features.read-only on", "reset nas features.read-only"),
    "no quorum": ("", "start nas force"),
}
"""Reasons for a volume to refuse uploads: gluster's commands for its begin and its end."""

UPLOAD = """
login()
try:
    number = model("ir.attachment", "create", {"name": NAME, "datas": CONTENT})
except SystemExit as error:
    print(json.dumps(str(error)))
else:
    bodies = [get(f"/web/content/{number}?download=1")[2] for _ in range(6)]
    print(json.dumps(sorted({hashlib.sha256(body).hexdigest() for body in bodies})))
    model("ir.attachment", "unlink", [number])
"""


@contextmanager
def refusing(trouble: str) -> Iterator[None]:
    """Make the volume refuse to write until the context ends."""
    tiers.whole()
    begin, end = TROUBLES[trouble]
    gluster, file = "gluster --mode=script volume", "/mnt/nas/salina-trouble"
    try:
        if begin:
            shell("nas1", f"{gluster} {begin}")
        else:
            for host in ("nas2", "nas3"):
                shell(host, "pkill -9 -f -- '--brick-name /nas '")
        refused = wait.until(lambda: execute("s1", "sh", "-c", f"echo > {file}").returncode, 60)
        assert refused, "the volume still takes files"
        yield
    finally:
        shell("nas1", f"{gluster} {end}")
        tiers.whole()
        tiers.connected()
        taken = wait.until(lambda: not execute("s1", "sh", "-c", f"echo > {file}").returncode, 60)
        run("s1", "rm", "-f", file)
        assert taken, "the volume still refuses files"


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLES)
def test_s5_an_upload_that_cannot_be_stored_is_an_error(client: Any, trouble: str) -> None:
    """S5: The user gets the error, and nothing of the upload remains. The same upload succeeds
    later, with its whole content from every host.
    """
    content, name = os.urandom(2_000_000), f"salina-{uuid.uuid4().hex}"
    script = UPLOAD.replace("NAME", repr(name))
    script = script.replace("CONTENT", repr(base64.b64encode(content).decode()))
    with refusing(trouble):
        answer = client(script)
        assert "The file could not be stored" in answer
        assert sql(f"SELECT id FROM ir_attachment WHERE name = '{name}'") == []
    assert run("s1", "find", "/mnt/nas/crm/filestore", "-name", "*.*") == ""
    assert client(script) == [hashlib.sha256(content).hexdigest()]


def test_s5_the_filestore_is_on_the_volume() -> None:
    """S5: Odoo's files are on the shared volume and belong to the service's user."""
    answer = run("s2", "stat", "--format=%U %a", "/mnt/nas/crm/filestore/crm").split()
    assert answer[0] == "odoo"
    assert run("s2", "stat", "--file-system", "--format=%T", "/mnt/nas/crm").strip() == "fuseblk"


def test_s5_the_service_can_write_after_the_volume_was_away() -> None:
    """S5: The service can still write to the volume after an outage (see ReadWritePaths in its
    unit).
    """
    for host in APPS:
        pid = run(host, "systemctl", "show", "odoo", "--property=MainPID", "--value").strip()
        inside = ["nsenter", "--target", pid, "--mount", "--setuid", "869", "--setgid", "869"]
        run(host, *inside, "test", "-w", "/mnt/nas/crm/filestore/crm")


def test_s9_initialised_once_without_demo_data() -> None:
    """S9: One host did each step, and there is no demo data."""
    steps = [row.split("|") for row in sql("SELECT step, host FROM salina_once ORDER BY finished")]
    own = ["initialise", "set the login", "set the URL", "make the user of monitoring"]
    assert [step for step, _ in steps] == own
    assert {host for _, host in steps} <= set(APPS)
    assert sql("SELECT count(*) FROM ir_module_module WHERE demo") == ["0"]
    assert sql("SELECT name FROM ir_module_module WHERE name = 'crm' AND state = 'installed'")


@pytest.mark.proof
def test_s9_a_changed_domain_changes_the_url_there_and_back() -> None:
    """S9: Odoo writes the URL into mails. An apply sets it, also to one that it had before."""

    def url(given: str = "") -> list[str]:
        pillar = {"app": {"url": given}} if given else {}
        options = ["queue=True", f"pillar={json.dumps(pillar)}"]
        assert not failures(results(salt("s1", "state.apply", "application", *options)))
        return sql("SELECT value FROM ir_config_parameter WHERE key = 'web.base.url'")

    before, other = url(), "https://other.example"
    assert before != [other]
    try:
        assert url(other) == [other]
    finally:
        assert url() == before


# The master's script: each step is published to all hosts in one message, and answered by each.
RACES = """
import json, sys, salt.client

given = json.load(sys.stdin)
client = salt.client.LocalClient()
for step in given["steps"]:
    argv = ["sh", "-c", f"sleep 0.3; echo {step} $(hostname) >> {given['shared']}"]
    arguments = [step, argv, "odoo", "/"]
    print(json.dumps(client.cmd(given["hosts"], "once.run", arguments, tgt_type="list")))
"""


@pytest.mark.proof
def test_s9_an_apply_names_modules_that_it_does_not_install() -> None:
    """S9: A new entry of odoo.modules is named with the reason, and the apply succeeds."""
    given = [*fleets.definition("odoo-14.0")["odoo"]["modules"], "note", "sale"]
    found = apply("s1", "application", odoo={"modules": given})["s1"]
    assert not failures({"s1": found})
    assert found["odoo-modules"]["result"] is None
    assert found["odoo-modules"]["comment"].startswith("odoo.modules: note, sale: not installed")
    assert apply("s1", "application")["s1"]["odoo-modules"]["result"] is True


@pytest.fixture
def marks() -> Iterator[str]:
    """A path on the volume, whose name begins the names of a test's steps; away at the end."""
    name = f"test-{uuid.uuid4().hex}"
    yield f"/mnt/nas/crm/{name}"
    run("s1", "rm", "--force", f"/mnt/nas/crm/{name}")
    sql(f"DELETE FROM salina_once WHERE step LIKE '{name}%'")


def test_s9_raced_by_all_hosts_a_step_runs_once(marks: str) -> None:
    """S9: All hosts begin twenty steps at the same moment, and each step runs on one host only."""
    steps = [f"{marks.rpartition('/')[2]}-{number}" for number in range(20)]
    given = json.dumps({"steps": steps, "shared": marks, "hosts": APPS})
    said = run("salt", "/opt/salt/bin/python", "-c", RACES, given=given)
    answers = [json.loads(line) for line in said.splitlines()]
    winners = [[host for host in APPS if answer[host] == ""] for answer in answers]
    assert [len(hosts) for hosts in winners] == [1] * 20, answers
    ran = [line.split() for line in run("s1", "cat", marks).splitlines()]
    assert ran == [[step, host] for step, [host] in zip(steps, winners, strict=True)]
    for answer, [winner] in zip(answers, winners, strict=True):
        losers = [answer[host] for host in APPS if host != winner]
        assert all(told.startswith(f"{winner} at ") for told in losers), answer


def test_s9_a_step_that_fails_stays_undone_and_is_tried_again(marks: str) -> None:
    """S9, K2, K5: The error shows the command's output, and the next host does the failed step."""
    step = marks.rpartition("/")[2]
    fails = ["once.run", step, json.dumps(["sh", "-c", "echo no luck; exit 3"])]
    failed = salt("s1", *fails, "odoo", "/")["s1"]
    assert "ended with exit code 3" in failed
    assert "no luck" in failed
    assert salt("s1", "once.done", step) == {"s1": ""}
    assert salt("s2", "once.run", step, '["true"]', "odoo", "/") == {"s2": ""}
    assert salt("s1", "once.done", step)["s1"].startswith("s2 at ")


def test_o6_static_files_are_compressed_and_cached(client: Any) -> None:
    """O6: Static files are compressed and expire after an hour, and nginx's cache gives the
    second answer.
    """
    found = client(
        """
path = "/web/static/lib/underscore/underscore.js"
get("/web/login")
answers = [get(path, **{"Accept-Encoding": "gzip"}) for _ in range(6)]
print(json.dumps([[headers, len(gzip.decompress(body))] for _, headers, body in answers]))
"""
    )
    for headers, size in found:
        assert headers["content-encoding"] == "gzip"
        assert headers["cache-control"] == "max-age=3600"
        assert size > 10_000
    assert "HIT" in {headers["x-cache-status"] for headers, _ in found}


@pytest.mark.proof
def test_o6_a_release_has_a_cache_of_its_own() -> None:
    """O6: nginx does not answer with a file that it cached of another release."""
    path = f"/web/static/src/img/favicon.ico?{uuid.uuid4().hex}"

    def cached() -> str:
        asked = f"http://127.0.0.1{path}"
        shown = shell("s1", f"curl --silent --fail --output /dev/null --dump-header - {asked}")
        (found,) = re.findall(r"(?im)^x-cache-status: (\w+)", shown)
        return str(found)

    assert [cached() for _ in range(2)] == ["MISS", "HIT"]
    try:
        shell("s1", "echo 'default another;' >/etc/nginx/release.map; systemctl reload nginx")
        assert wait.until(lambda: cached() == "MISS", 30)
        assert cached() == "HIT"
    finally:
        found = apply("s1", "nginx.release")["s1"]
    assert found["nginx-release"]["changes"]
    assert cached() == "HIT"


def test_o7_websockets_go_to_their_own_port(client: Any, mark: str) -> None:
    """O7: The page asks port 8072 before it opens its websocket; the websocket opens there, too."""
    if live() != "/websocket":
        pytest.skip("this version of Odoo has long polling")
    found = client(
        """
import urllib.parse, http.client

login()
path = "/websocket/peek_notifications?" + given["mark"]
call(path, channels=[given["mark"]], last=0, is_first_poll=True)
host = urllib.parse.urlsplit(given["url"]).netloc
connection = http.client.HTTPSConnection(host, context=tls, timeout=90)
connection.request("GET", "/websocket?" + given["mark"], headers={
    "Connection": "Upgrade", "Upgrade": "websocket", "Origin": given["url"],
    "Sec-WebSocket-Key": base64.b64encode(given["mark"][:16].encode()).decode(),
    "Sec-WebSocket-Version": "13",
    "Cookie": "; ".join(f"{one.name}={one.value}" for one in cookies),
})
print(json.dumps(connection.getresponse().status))
connection.close()
"""
    )
    assert found == 101

    def logged() -> str:
        return "\n".join(line for host in APPS for line in log(host, mark))

    assert re.search(r"/websocket/peek_notifications.* 127\.0\.0\.1:8072 ", logged())
    # nginx logs the websocket when it ends
    assert wait.until(lambda: re.search(r"GET /websocket\?.* 127\.0\.0\.1:8072 ", logged()), 30)


def test_o7_long_polling_goes_to_its_own_port(client: Any, mark: str) -> None:
    """O7: A poll waits on port 8072 until a message arrives that another host received."""
    if live() != "/longpolling":
        pytest.skip("this version of Odoo has websockets")
    found = client(
        """
login()
answers = []
channel = given["mark"]

def poll():
    begin = time.monotonic()
    answers.append(call(f"/longpolling/poll?{channel}", channels=[channel], last=0))
    answers.append(time.monotonic() - begin)

waiting = threading.Thread(target=poll)
waiting.start()
time.sleep(3)
call("/longpolling/send", channel=channel, message="from beyond")
waiting.join(60)
print(json.dumps(answers))
"""
    )
    messages, seconds = found
    assert [item["message"] for item in messages] == ["from beyond"]
    assert 2.5 < seconds < 10
    lines = "\n".join(line for host in APPS for line in log(host, mark))
    assert re.search(r"/longpolling/poll.* 127\.0\.0\.1:8072 ", lines), lines


def test_o2_o3_service_as_it_should_run() -> None:
    """O2, O3: Odoo has its own user, listens only for the proxy, and keeps its secrets
    unreadable.
    """
    for host in APPS:
        assert run(host, "systemctl", "is-enabled", "odoo").strip() == "enabled"
        users = run(host, "ps", "-o", "user=", "-C", "python")
        assert set(users.split()) == {"odoo"}, users
        listening = set(shell(host, "ss -Hltn | awk '{print $4}'").split())
        assert {"127.0.0.1:8069", "127.0.0.1:8072"} <= listening
        assert not {"0.0.0.0:8069", "0.0.0.0:8072", "0.0.0.0:80", "*:80", "[::]:80"} & listening
        modes = shell(host, "stat --format='%a %U:%G' /etc/odoo/odoo.conf /etc/odoo/environment")
        assert modes.splitlines() == ["640 root:odoo", "600 root:root"]
        shown = run(host, "ps", "-eo", "args").replace("--no-password", "")  # of psql
        assert "password" not in shown


@pytest.mark.proof
def test_o2_settings_that_do_not_fit_the_host_change_nothing() -> None:
    """O2, K5: The apply ends with the setting that does not fit, before it changes anything."""
    huge = {"limit_memory_soft": 999_000, "limit_memory_hard": 1_000_000, "log_level": "debug"}
    before = run("s1", "sha256sum", "/etc/odoo/odoo.conf")
    given = json.dumps({"app": {"settings": huge}})
    found = results(salt("s1", "state.apply", "queue=True", f"pillar={given}"))["s1"]
    assert set(found) == {"python-loaded", "odoo-fits"}
    assert not [state["changes"] for state in found.values() if state["changes"]]
    assert "limit_memory_soft: 999000 is not valid on this host" in found["odoo-fits"]["comment"]
    assert run("s1", "sha256sum", "/etc/odoo/odoo.conf") == before


def test_o2_odoo_takes_the_hashed_password() -> None:
    """O2: passlib, which Odoo uses, accepts the hash in admin_passwd."""
    script = (
        "import configparser, sys; from passlib.hash import pbkdf2_sha512 as h; "
        "c = configparser.RawConfigParser(); c.read('/etc/odoo/odoo.conf'); "
        "print(h.verify(sys.stdin.read(), c['options']['admin_passwd']))"
    )
    assert run("s1", PYTHON, "-c", script, given=secret("app-crm-admin")).strip() == "True"


def test_s6_a_driver_may_send_options() -> None:
    """S6: pgbouncer accepts a session whose first packet has `options`."""
    script = (
        "import psycopg2, sys; given, password = sys.argv[1], sys.stdin.read(); "
        "print(psycopg2.connect(host='127.0.0.1', port=6432, dbname='crm', user='crm', "
        "password=password, sslmode='disable', options=given).info.server_version // 10000)"
    )
    for options in ("-c geqo=off", "-c extra_float_digits=3"):
        said = run("s1", PYTHON, "-c", script, options, given=secret("app-crm-database"))
        assert said.strip() == "15"
    conf = run("s1", "cat", "/etc/pgbouncer/pgbouncer.ini")
    assert "\nignore_startup_parameters = extra_float_digits,options\n" in conf


def test_o3_log_is_rotated_and_followed() -> None:
    """O3: Odoo writes into the new file after a rotation."""
    run("s3", "logrotate", "--force", "/etc/logrotate.d/odoo")
    run("s3", "curl", "--silent", "--output", "/dev/null", "http://127.0.0.1:8069/web/login")
    assert "/web/login" in run("s3", "cat", "/var/log/odoo/odoo.log")
    assert shell("s3", "ls /var/log/odoo/odoo.log.1").strip()


def test_o3_restarted_after_a_failure() -> None:
    """O3: systemd starts the service again after its process died."""
    before = run("s2", "systemctl", "show", "odoo", "--property=MainPID", "--value").strip()
    run("s2", "systemctl", "kill", "--signal=KILL", "odoo")
    health = ["http://127.0.0.1:8069/web/health", "log=/var/log/odoo/odoo.log", "wait=60"]
    assert salt("s2", "state.single", "application.healthy", *health)
    after = run("s2", "systemctl", "show", "odoo", "--property=MainPID", "--value").strip()
    assert after not in ("", "0", before)
