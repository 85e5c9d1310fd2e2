"""Write Odoo's configuration for this host, and compare its settings with host and database."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import copy, odoo, release
from salina.application.database import session
from salina.common import file
from salina.database.psql import PsqlError

__grains__: dict[str, Any]
__salt__: dict[str, Any]
__pillar__: dict[str, Any]


def configuration() -> str:
    """Return the content of odoo.conf for this host. It holds secrets, so print it nowhere.

    Returns:
        The file's text.

    CLI Example:
        salt s1 odoo.configuration
    """
    section = __pillar__["app"]["definition"]["odoo"]
    places = odoo.recorded(Path(release.production(odoo.KIND)), section)
    return odoo.configuration(__pillar__["app"], _workers(), places)


def configure() -> None:
    """Let odoo.conf follow the release that this host runs from the next start on.

    Its directories of modules belong to the release, and another one may have others.

    Raises:
        CommandExecutionError: the file cannot be written.

    CLI Example:
        salt s1 odoo.configure
    """
    path, text = Path(__pillar__["app"]["definition"]["odoo"]["configuration"]), configuration()
    if path.exists() and path.read_text() != text:  # a new host gets it by its states
        found = path.stat()
        file.put(path, text, stat.S_IMODE(found.st_mode))
        os.chown(path, found.st_uid, found.st_gid)


def build(directory: str) -> None:
    """Add the Python environment to the checkout of a release, and rtlcss if it is wanted.

    Args:
        directory: the checkout.

    Raises:
        CommandExecutionError: pip or the npm registry failed, or the requirements or the modules of
            a further repository are missing.

    CLI Example:
        salt s1 odoo.build /opt/odoo/releases/c0ffee000000-0123abcd
    """
    section = __pillar__["app"]["definition"]["odoo"]
    _refuse_empty(directory, section)
    file.put(f"{directory}/{odoo.ADDONS}", json.dumps(odoo.addons(section)))
    python = section["python"]
    lock = python["lock"]
    files = [] if lock else odoo.requirements(section)
    sources = [f"salt://locks/{lock}.txt"] if lock else [f"{directory}/{one}" for one in files]
    wanted = __salt__["python_environment.wanted"](
        python["interpreter"],
        sources[0],
        bool(lock),
        python["without_dependencies"],
        python["constraints"],
        sources[1:],
    )
    if not wanted:
        raise CommandExecutionError(f"requirements: {' or '.join(files)} is not in the code")
    __salt__["python_environment.install"](f"{directory}/{odoo.ENVIRONMENT}", wanted)
    if section["right_to_left"]:
        _add_rtlcss(Path(directory, odoo.RTLCSS))


def obstacle() -> str:
    """Return why Odoo's settings do not fit this host's memory, or "" if they do.

    Returns:
        The reason, with the setting and the value that would fit, or "".

    CLI Example:
        salt s1 odoo.obstacle
    """
    return odoo.obstacle(__pillar__["app"]["settings"], __grains__["mem_total"], _workers())


def missing_modules(database: str = "") -> list[str]:
    """Return the modules of `odoo.modules` that are not installed in the database.

    Args:
        database: the name of a copy, whose modules count instead.

    Returns:
        Their names, in the order of the definition. Before the first installation there are none,
        because it installs all of them.

    Raises:
        CommandExecutionError: the database does not answer.

    CLI Example:
        salt s1 odoo.missing_modules
    """
    installed = _installed(database)
    if installed is None:
        return []
    wanted = __pillar__["app"]["definition"]["odoo"]["modules"]
    return [name for name in wanted if name not in installed]


def checksums(directory: str) -> dict[str, str]:
    """Return the checksum of each module of a release.

    Args:
        directory: the release's directory.

    Returns:
        The modules with their checksums.

    CLI Example:
        salt s1 odoo.checksums /opt/odoo/releases/c0ffee000000-0123abcd
    """
    section = __pillar__["app"]["definition"]["odoo"]
    return odoo.checksums(Path(directory), odoo.recorded(Path(directory), section))


def rolls(differing: list[str]) -> bool:
    """Return whether the code before some modules works with a database that has them.

    Args:
        differing: the modules that are not the same in two releases.

    Returns:
        False: an Odoo whose module is older than its tables fails.

    CLI Example:
        salt s1 odoo.rolls '["crm"]'
    """
    return False


def differing(before: dict[str, str], after: dict[str, str], database: str = "") -> list[str]:
    """Return the installed modules that two releases have in different versions.

    Args:
        before: the checksums of the one.
        after: those of the other.
        database: the name of a copy, whose modules count instead.

    Returns:
        The modules.

    Raises:
        CommandExecutionError: the database does not answer.

    CLI Example:
        salt s1 odoo.differing '{"crm": "00"}' '{"crm": "01"}'
    """
    found = sorted(_installed(database) or ())
    return [name for name in found if before.get(name) != after.get(name)]


def upgrade(directory: str, update: list[str], install: list[str]) -> list[dict[str, Any]]:
    """Return the commands that bring the copy of the database to a release.

    Args:
        directory: the release's directory.
        update: the modules that changed.
        install: the modules that are new in the definition.

    Returns:
        For each the `command`, what it does in `words`, and perhaps its `stdin` and further
        variables of its environment (`env`).

    CLI Example:
        salt s1 odoo.upgrade /opt/odoo/releases/c0ffee000000-0123abcd '[crm]' '[]'
    """
    program = _program(directory)
    changes = [f"--update={','.join(update)}"] * bool(update)
    changes += [f"--init={','.join(install)}"] * bool(install)
    words = [f"{len(update)} updated"] * bool(update)
    words += [f"new: {', '.join(install)}"] * bool(install)
    wanted = __pillar__["app"]["definition"]["odoo"]["modules"]
    return [
        {
            "command": [*program, "--no-http", *changes, "--stop-after-init"],
            "words": f"modules: {', '.join(words) or 'none changed'}",
        },
        {
            "command": [*program[:2], "shell", *program[2:], "--no-http"],
            "stdin": __salt__["cp.get_file_str"]("salt://odoo/files/check.py"),
            "env": {"SALINA_MODULES": ",".join(wanted)},
            "words": "a record of every model was read",
        },
    ]


def check(directory: str, file: str) -> list[str]:
    """Return the command that runs a check of the operator's in Odoo's shell, on the copy.

    Odoo's own user opens the file, because it may be a link to anywhere.

    Args:
        directory: the release's directory.
        file: the path of the file in it.

    Returns:
        The command.

    CLI Example:
        salt s1 odoo.check /opt/odoo/releases/c0ffee000000-0123abcd check.py
    """
    program = _program(directory)
    shell = [*program[:2], "shell", *program[2:], "--no-http"]
    return ["/bin/sh", "-c", 'exec "$@" <"$0"', f"{directory}/{file}", *shell]


def server(directory: str, port: int) -> list[str]:
    """Return the command that serves the copy of the database with a release.

    Args:
        directory: the release's directory.
        port: where it listens, on loopback.

    Returns:
        The command.

    CLI Example:
        salt s1 odoo.server /opt/odoo/releases/c0ffee000000-0123abcd 40000
    """
    return [*_program(directory), f"--http-port={port}", "--http-interface=127.0.0.1"]


def _add_rtlcss(place: Path) -> None:
    """Unpack rtlcss and the packages that it needs. They are not built, so this needs no npm."""
    lock = json.loads(__salt__["cp.get_file_str"](f"salt://locks/{odoo.RTLCSS_LOCK}"))
    packages = place / "node_modules"
    for name, one in lock["dependencies"].items():
        wanted = name, one["version"], one["integrity"]
        __salt__["node_environment.unpack"](str(packages / name), *wanted)
    program, link = packages / "rtlcss/bin/rtlcss.js", place / "bin/rtlcss"
    program.chmod(0o755)
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(program, link.parent))


def _refuse_empty(directory: str, section: dict[str, Any]) -> None:
    """Raise an error if a further repository has no module where the definition says.

    Odoo 14 does not start with such a directory in `--addons-path`.
    """
    for repository in section["repositories"]:
        for place in odoo.addons_of(repository):
            if not any(Path(directory, place).glob("*/__manifest__.py")):
                raise CommandExecutionError(
                    f"{place} has no modules in this release; correct `addons` of the repository "
                    f"{repository['name']} in pillar/app/{__pillar__['app']['name']}.yaml"
                )


def _program(directory: str) -> list[str]:
    app = __pillar__["app"]
    return odoo.program(app, directory, copy.name(app["database"]["name"]))


def _installed(database: str) -> list[str] | None:
    """Return the modules that are installed in the database; None before the first installation."""
    try:
        with session(__pillar__, "salina: modules?", database) as opened:
            if opened.query("SELECT to_regclass('ir_module_module') IS NULL") == ["t"]:
                return None
            return opened.query(
                "SELECT name FROM ir_module_module WHERE state IN ('installed', 'to upgrade')"
            )
    except PsqlError as error:
        raise CommandExecutionError(
            f"the database does not say which modules are installed: {error}"
        ) from error


def _workers() -> int:
    """Return the number of worker processes on this host."""
    pool_size = __pillar__["database_route"]["settings"]["pool_size"]
    cores, memory = __grains__["num_cpus"], __grains__["mem_total"]
    return odoo.workers(__pillar__["app"]["settings"], pool_size, cores, memory)
