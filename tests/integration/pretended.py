"""Salt's module `service` where no systemd runs: services are entries of a file of the minion.

The tests of the plan serve it to minions under the name of Salt's own module. The functions below
the name of a module of this project replace those of that module.
"""

import json
import os
import time
from pathlib import Path

__opts__ = {}
__salt__ = {}

NEW = {"running": False, "enabled": False, "listens": False, "started": 0, "read": 0}
__virtualname__ = "service"


def __virtual__():
    return __virtualname__


def _file():
    return Path(__opts__["root_dir"], "services.json")


def _all():
    return json.loads(_file().read_text()) if _file().exists() else {}


def note(name, **facts):
    """Record facts about a service."""
    found = _all()
    found[name] = {**NEW, **found.get(name, {}), **facts}
    _file().write_text(json.dumps(found))
    return True


def shown(name):
    """Return the facts about a service."""
    return {**NEW, **_all().get(name, {})}


def offline():
    return False


def available(name):
    return True


def status(name, *_, **__):
    return shown(name)["running"]


def enabled(name, **_):
    return shown(name)["enabled"]


def disabled(name, **_):
    return not shown(name)["enabled"]


def enable(name, **_):
    return note(name, enabled=True)


def start(name, **_):
    now = time.time()
    return note(name, running=True, listens=True, started=now, read=now, replaced=[])


def stop(name, **_):
    return note(name, running=False, listens=False)


def restart(name, **_):
    return start(name)


def reload(name, **_):
    return note(name, read=time.time(), replaced=[])


def systemctl_reload():
    return True


# daemon


def outdated(name, files, reloads=False):
    service = __salt__["service.shown"](name)
    if not service["running"]:
        return []
    moment = service["read" if reloads else "started"]
    return [path for path in files if os.path.exists(path) and os.path.getmtime(path) > moment]


def replaced(name):
    return __salt__["service.shown"](name).get("replaced", [])


def restart_afterwards(name, unit):
    __salt__["service.restart"](name)


# application


def listening(address, port):
    listens = __salt__["service.shown"]("nginx")["listens"]
    return not listens if address in ("0.0.0.0", "::") else listens


def health(url, cookie=None):
    return ""


# python_environment


def installed(path):
    record = Path(path, "salina.json")
    return json.loads(record.read_text()) if record.exists() else {}


def wanted(interpreter, requirements, *_):
    return {"requirements": [requirements]}


def install(path, wanted):
    Path(path).mkdir(parents=True, exist_ok=True)
    Path(path, "salina.json").write_text(json.dumps(wanted))


# release


def _production():
    return Path(__opts__["root_dir"], "etc/odoo/production")


def active():
    return Path(os.readlink(_production())).name if _production().is_symlink() else ""


def activate(directory):
    _production().unlink(missing_ok=True)
    _production().symlink_to(directory)
    _production().with_name("production.json").write_text(directory)
