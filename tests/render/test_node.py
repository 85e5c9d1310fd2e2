"""The Node application rendered (S5, S8, S9), and what stays unchanged when a step fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import fleets
from tests.render.minion import Minion


@pytest.fixture(scope="module")
def crm() -> Minion:
    """s1 in a fleet that runs the assignment's CRM."""
    return Minion("s1", fleets.pillar("s1", application="crm-2017"))


def before(minion: Minion, name: str) -> set[str]:
    """The states that must succeed before one does anything, however far before."""
    known: dict[str, set[str]] = {}
    for chunk in minion.chunks:
        known.setdefault(chunk["__id__"], set()).update(
            str(one) for wanted in chunk.get("require", []) for one in wanted.values()
        )
    found: set[str] = set()
    left = {name}
    while left:
        left = {one for each in left for one in known.get(each, ())} - found
        found |= left
    return found


def test_s8_what_fails_leaves_production_and_the_service_as_they_are(crm: Minion) -> None:
    """S8, S9, K5: After a build, a migration or a seed that fails the running code stays."""
    steps = [chunk["__id__"] for chunk in crm.chunks if chunk["state"] == "once"]
    assert len(steps) == 4
    tried = {"application-built", "application-release", *steps}
    for name in ("application-production", "node-unit", "node-service"):
        assert tried <= before(crm, name), name
    links = {chunk["__id__"] for chunk in crm.chunks if chunk["__id__"].startswith("node-link-")}
    assert len(links) == 2 and links | {"node-unit"} <= before(crm, "application-production")
    for name in ("application-built", "application-release", "application-first"):
        assert not before(crm, name) & {"application-production", "node-unit", "node-service"}
    for number, step in enumerate(steps):
        assert set(steps[:number]) <= before(crm, step)


def test_s9_steps_run_in_the_release_with_secrets_in_their_environment(crm: Minion) -> None:
    """S9, K4: Migrations run for each revision, other steps once; no command has a URL or a
    password.
    """
    release = crm.opts["pillar"]["app"]["release"]["directory"]
    assert release.startswith("/opt/node/releases/")
    steps = [chunk for chunk in crm.chunks if chunk["state"] == "once"]
    assert [step["name"] for step in steps] == [
        f"migrate at {fleets.COMMIT}", "seed", "set the login", "make a session for health checks"
    ]  # fmt: skip
    for step in steps:
        assert (step["user"], step["cwd"]) == ("node", release)
        assert step["env_file"] == "/etc/node/steps"
        assert step["env"]["PATH"].startswith(f"{release}/node_modules/.bin:")
    needed = [step.get("secrets") for step in steps]
    assert needed == [None, None, {"LOGIN_PASSWORD": "login_password"}, None]
    assert steps[0]["command"] == [
        "sequelize", "db:migrate", "--config", "/etc/node/sequelize.json"
    ]  # fmt: skip
    config = dict(crm.files)["/etc/node/sequelize.json"]
    assert json.loads(config) == {"use_env_variable": "DATABASE_URL"}


def test_s8_configured_by_environment(crm: Minion) -> None:
    """S8: DATABASE_URL points to the local pgbouncer, PORT is set, and CLOUDINARY_URL is not."""
    chunk = state(crm, "node-environment-file")
    assert (chunk["name"], chunk["mode"]) == ("/etc/node/environment", "0600")
    lines = dict(line.split("=", 1) for line in crm.render(chunk).splitlines()[1:])
    assert lines == {
        "DATABASE_URL": '"postgres://crm:canary-app-crm-database@127.0.0.1:6432/crm"',
        "PATH": '"/opt/node/production/node_modules/.bin:/usr/local/bin:/usr/bin:/bin"',
        "PORT": '"3000"',
        "SALINA_DATA": '"/mnt/nas/crm"',
        "SALINA_HELD": '"/mnt/nas/crm/held"',
        "NODE_OPTIONS": '"--require /opt/node/pg.js --require /opt/node/held.js'
        ' --max-http-header-size=32768"',
        "NODE_ENV": '"production"',
    }


def test_o9_node_gets_the_options_of_the_definition_too() -> None:
    """O9, S8: A definition adds options. It cannot remove the module that holds removed files."""
    for fleet, own in ("default", ["--require", "/opt/node/held.js"]), ("plain", []):
        pillar = fleets.pillar("s1", fleet, application="crm-2017")
        node = pillar["app"]["definition"]["node"]
        given = {**node, "environment": {"NODE_OPTIONS": "--max-old-space-size=512"}}
        definition = {**pillar["app"]["definition"], "node": given}
        pillar["app"] = {**pillar["app"], "definition": definition}
        minion = Minion("s1", pillar)
        lines = minion.render(state(minion, "node-environment-file")).splitlines()
        [options] = [line for line in lines if line.startswith("NODE_OPTIONS=")]
        words = options.removeprefix("NODE_OPTIONS=").strip('"').split()
        assert words == [
            "--require",
            "/opt/node/pg.js",
            *own,
            "--max-http-header-size=32768",
            "--max-old-space-size=512",
        ]
        assert bool([line for line in lines if line.startswith("SALINA_")]) is bool(own)
        assert bool([one for one in minion.chunks if one["__id__"] == "node-held"]) is bool(own)


def test_o9_the_module_is_there_before_a_service_loads_it(crm: Minion) -> None:
    """O9, S12: Node does not start without a module that NODE_OPTIONS names."""
    names = [chunk["__id__"] for chunk in crm.chunks]
    for module in ("node-held", "node-pg"):
        assert names.index(module) < names.index("node-environment-file")
        assert names.index(module) < names.index("node-reconfigured")
        assert module in before(crm, "node-environment-file") & before(crm, "node-steps-file")


def test_s12_steps_have_a_pool_that_the_application_cannot_fill(crm: Minion) -> None:
    """S12, S9: A step differs from the service in its pool alone. The database is the same."""
    service = crm.render(state(crm, "node-environment-file")).splitlines()
    chunk = state(crm, "node-steps-file")
    assert (chunk["name"], chunk["mode"]) == ("/etc/node/steps", "0600")
    steps = crm.render(chunk).splitlines()
    url = 'DATABASE_URL="postgres://crm:canary-app-crm-database@127.0.0.1:6432/crm-steps"'
    assert [line for line in steps if line not in service] == [url]
    assert len(steps) == len(service)
    conf = dict(crm.files)["/etc/pgbouncer/pgbouncer.ini"].splitlines()
    assert "crm-steps = host=database port=5433 dbname=crm pool_size=3" in conf


def test_s6_the_driver_gets_in_by_md5_and_the_server_asks_scram(crm: Minion) -> None:
    """S6: md5 is used on loopback only; the connection to the server uses SCRAM over TLS."""
    conf = dict(crm.files)["/etc/pgbouncer/pgbouncer.ini"].splitlines()
    assert {"auth_type = md5", "listen_addr = 127.0.0.1", "unix_socket_dir ="} <= set(conf)
    assert "server_tls_sslmode = verify-full" in conf
    assert "ignore_startup_parameters = extra_float_digits,options" in conf


def test_s8_unit(crm: Minion) -> None:
    """S8: The unit has its own user, a sandbox, a restart after failure, and a rotated log."""
    files = dict(crm.files)
    unit = files["/etc/systemd/system/node.service"].splitlines()
    for line in (
        "User=node",
        "WorkingDirectory=/opt/node/production",
        "EnvironmentFile=/etc/node/environment",
        "ExecStart=/bin/sh -c 'exec >>/var/log/node/node.log 2>&1; "
        "[ ! -e .start ] || exec /bin/sh .start; exec node ./bin/www'",
        "Restart=always",
        "ProtectSystem=strict",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "ReadWritePaths=/mnt/nas /var/log/node /var/cache/node",
    ):
        assert line in unit
    rotation = files["/etc/logrotate.d/node"]
    assert "copytruncate" in rotation and "create" not in rotation


def test_s5_uploads_are_on_the_volume_and_scratch_is_not(crm: Minion) -> None:
    """S5: Uploads are on the volume, and scratch files are on the host."""
    release = crm.opts["pillar"]["app"]["release"]["directory"]
    links = {
        chunk["name"]: chunk["target"]
        for chunk in crm.chunks
        if chunk["fun"] == "symlink" and chunk["__id__"] != "gluster-certificate"
    }
    assert links == {
        f"{release}/public/uploads": "/mnt/nas/crm/public/uploads",
        f"{release}/uploads": "/var/cache/node/uploads",
    }
    for name in links.values():
        (directory,) = [chunk for chunk in crm.chunks if chunk["name"] == name]
        assert (directory["user"], directory["mode"]) == ("node", "0750")
    cleaned = dict(crm.files)["/etc/tmpfiles.d/node.conf"]
    assert "e /var/cache/node/uploads - - - 1d" in cleaned


@pytest.mark.parametrize("definition", ["crm-2017", "sample-crm"])
def test_x2_nothing_that_node_loads_is_on_the_volume(definition: str) -> None:
    """X2: Only the uploads lead to the volume. A link never takes the place of a directory of the
    release, because `file.symlink` replaces none without `force`.
    """
    pillar = fleets.pillar("s1", application=definition)
    minion = Minion("s1", pillar)
    mount = pillar["files"]["mount"]
    links = [chunk for chunk in minion.chunks if chunk["fun"] == "symlink"]
    shared = [chunk for chunk in links if chunk["target"].startswith(mount)]
    uploads = pillar["app"]["definition"]["node"]["uploads"]
    release = pillar["app"]["release"]["directory"]
    assert not release.startswith(mount)
    assert [chunk["name"] for chunk in shared] == [f"{release}/{one}" for one in uploads]
    assert not [chunk for chunk in links if chunk.get("force")]
    unit = dict(minion.files)["/etc/systemd/system/node.service"]
    [line] = [line for line in unit.splitlines() if line.startswith("WorkingDirectory=")]
    assert mount not in line
    for line in minion.render(state(minion, "node-environment-file")).splitlines():
        assert mount not in line or line.startswith(("SALINA_DATA=", "SALINA_HELD="))


def test_a_registry_may_be_given_by_the_settings(crm: Minion) -> None:
    """S8: The registry of the settings goes into /etc/npmrc, whose other lines stay."""
    assert not [chunk for chunk in crm.chunks if chunk["__id__"] == "node-registry"]
    pillar = fleets.pillar("s1", application="crm-2017")
    pillar["app"]["settings"]["npm_registry"] = "https://npm.example/"
    given = Minion("s1", pillar)
    registry = state(given, "node-registry")
    assert (registry["fun"], registry["name"]) == ("keyvalue", "/etc/npmrc")
    assert (registry["key"], registry["value"]) == ("registry", "https://npm.example/")
    assert "node-registry" in before(given, "application-built")


def state(minion: Minion, name: str) -> dict[str, Any]:
    return next(chunk for chunk in minion.chunks if chunk["__id__"] == name)
