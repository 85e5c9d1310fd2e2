"""odoo.conf (O2): every option, the names of each version, and the hash that stays the same."""

from __future__ import annotations

import base64
import configparser
import hashlib
from typing import Any

import pytest

from salina.application import odoo
from tests import fleets
from tests.loading import Managed, load


def app(version: str = "14.0") -> dict[str, Any]:
    """Pillar `app` of s1 for a version of Odoo."""
    found: dict[str, Any] = fleets.pillar("s1")["app"]
    definition = fleets.definition(f"odoo-{version}")
    return found | {"name": f"odoo-{version}", "definition": definition}


def options(text: str) -> dict[str, str]:
    """Return the options as Odoo reads them: it uses the same parser."""
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return dict(parser["options"])


def test_o2_complete() -> None:
    """O2: what the requirement lists, with the values of the default fleet."""
    found = options(odoo.configuration(app(), 2))
    assert found.pop("admin_passwd").startswith("$pbkdf2-sha512$")
    assert found == {
        "addons_path": "/opt/odoo/production/odoo/addons,/opt/odoo/production/addons,"
        "/opt/odoo/addons",
        "server_wide_modules": "base,web,salina_odoo14",
        "data_dir": "/mnt/nas/crm",
        "db_host": "127.0.0.1",
        "db_port": "6432",
        "db_user": "crm",
        "db_password": "canary-app-crm-database",
        "db_sslmode": "disable",
        "db_name": "crm",
        "dbfilter": "^crm$",
        "db_maxconn": "16",
        "list_db": "False",
        "proxy_mode": "True",
        "http_interface": "127.0.0.1",
        "http_port": "8069",
        "longpolling_port": "8072",
        "workers": "5",
        "max_cron_threads": "1",
        "limit_memory_soft": "2147483648",
        "limit_memory_hard": "2684354560",
        "limit_time_cpu": "60",
        "limit_time_real": "120",
        "limit_request": "8192",
        "logfile": "/var/log/odoo/odoo.log",
        "log_level": "info",
        "without_demo": "all",
    }


def test_newest_version_has_its_own_names() -> None:
    """O2: Options have the names that the version knows."""
    found = options(odoo.configuration(app("19.0"), 2))
    assert found["gevent_port"] == "8072"
    assert "longpolling_port" not in found
    assert found["with_demo"] == "False"
    assert "without_demo" not in found
    assert found["server_wide_modules"] == "base,rpc,web,session_db"


@pytest.mark.parametrize(("wanted", "cores", "number"), [(None, 1, 3), (None, 8, 17), (2, 8, 2)])
def test_workers(wanted: int | None, cores: int, number: int) -> None:
    """O2: There are 1 + 2 workers for each core, unless the setting says otherwise."""
    assert odoo.workers(wanted, cores) == number


def test_password_hash_is_the_same_each_time_and_right() -> None:
    """O2, K1: passlib reads the hash: ab64 of 16 bytes of salt and of PBKDF2's 64 bytes."""
    found = odoo.password_hash("correct horse")
    assert found == odoo.password_hash("correct horse")
    assert found != odoo.password_hash("correct horsf")
    empty, scheme, rounds, salt, checksum = found.split("$")
    assert (empty, scheme) == ("", "pbkdf2-sha512")
    expected = hashlib.pbkdf2_hmac("sha512", b"correct horse", bytes_of(salt), int(rounds))
    assert bytes_of(checksum) == expected
    assert len(bytes_of(salt)) == 16


def bytes_of(text: str) -> bytes:
    return base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4))


def test_a_line_break_can_not_become_an_option() -> None:
    """O2: A line break in a value cannot become an option."""
    broken = app()
    broken["database"] = broken["database"] | {"password": "x\nlist_db = True"}
    with pytest.raises(ValueError, match="db_password: the value has a line break"):
        odoo.configuration(broken, 2)


DIFF = {"diff": "New file"}


@pytest.mark.parametrize(
    ("changes", "result"), [({}, True), (DIFF, True), (DIFF, None), ({}, False)]
)
def test_the_state_of_the_configuration(changes: dict[str, Any], result: bool | None) -> None:
    """O2, K4: Core's state reports the change, and no secret is shown."""
    managed, salt = (
        Managed(changes, result),
        {"odoo.configuration": lambda: "admin_passwd = canary"},
    )
    core, opts = {"file.managed": managed}, {"test": result is None}
    states = load("_states/odoo.py", salt=salt, states=core, opts=opts)
    assert states.configured("/etc/odoo/odoo.conf", "odoo") == managed.ret
    given = managed.given["/etc/odoo/odoo.conf"]
    assert (given["mode"], given["group"], given["show_changes"]) == ("0640", "odoo", False)
    assert given["contents"] == "admin_passwd = canary"
