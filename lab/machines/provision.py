"""The files that a host has before its first start.

lab/machines/userdata.py has the minion's own part. Each function here only returns files.
"""

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from lab.machines.keys import Pair
from lab.machines.plan import Machine
from salina_fleet.model import ids

Files = dict[str, "File"]
"""The files by their path, without the first slash."""

WANTS = "etc/systemd/system/multi-user.target.wants"
ACCEPTED = "/etc/salt/pki/master/minions"
TRACES = (  # everything that a master keeps about a minion
    *(f"{ACCEPTED}{state}/{{}}" for state in ("", "_pre", "_rejected", "_denied")),
    *(f"/var/cache/salt/master/{kind}/{{}}" for kind in ("minions", "sessions")),
)
MASTER_D = "etc/salt/master.d"


@dataclass(frozen=True)
class File:
    """A file's content and mode, or the target of a symbolic link."""

    content: str = ""
    mode: int = 0o644
    link: str | None = None


def system(machine: Machine, names: Mapping[str, str]) -> Files:
    """Return the files that every host needs: its name, and the names that it can resolve.

    Args:
        machine: The host.
        names: The address of each name for /etc/hosts.
    """
    own = dict.fromkeys([machine.name, ids.short(machine.name)])
    lines = ["127.0.0.1 localhost", f"127.0.1.1 {' '.join(own)}", "::1 localhost"]
    lines += [f"{address} {name}" for name, address in names.items()]
    return {
        "etc/hostname": File(f"{ids.short(machine.name)}\n"),
        "etc/hosts": File("\n".join(lines) + "\n"),
    }


def enabled(unit: str) -> Files:
    """Return the link that starts a service when the host starts."""
    return {f"{WANTS}/{unit}.service": File(link=f"/etc/systemd/system/{unit}.service")}


def accepted(keys: Mapping[str, Pair]) -> Files:
    """Return the files with the public keys that the master accepts.

    Args:
        keys: The pair of each minion id.
    """
    folder = ACCEPTED.removeprefix("/")
    return {f"{folder}/{name}": File(pair.public) for name, pair in keys.items()}


def master(keys: Pair, configurations: Iterable[str]) -> Files:
    """Return the files of a master: its key, and links to this repository's configuration.

    Args:
        keys: The master's pair.
        configurations: The paths of the configuration files in the repository.
    """
    return {
        "etc/salt/pki/master/master.pem": File(keys.private, 0o400),
        "etc/salt/pki/master/master.pub": File(keys.public),
        **enabled("salt-master"),
        **{
            f"{MASTER_D}/{PurePosixPath(path).name}": File(link=f"/srv/salina/{path}")
            for path in configurations
        },
    }


def archive(files: Files) -> bytes:
    """Return the files as a tar archive. Root owns them; the archive has no entries for folders."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, file in files.items():
            entry = tarfile.TarInfo(path)
            entry.mode = file.mode
            if file.link is not None:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
                tar.addfile(entry)
            else:
                content = file.content.encode()
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
