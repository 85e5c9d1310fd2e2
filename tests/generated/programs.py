"""The daemons that judge generated files: this machine's, or out of the lab's mirror of packages.

They run in a network namespace in which they may listen on every address and port, so also on those
of a host. Nothing of it is seen outside.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.packaged import POOL

PACKAGES = (
    *("etcd-server", "haproxy", "iptables", "nginx", "nginx-common", "pgbouncer", "ufw"),
    "postgresql-15",
    *("libc-ares2", "libevent-2.1-7", "liblua5.3-0", "libopentracing1", "libip6tc2", "libnftnl11"),
    *("libopentracing-c-wrapper0", "libicu72", "libldap-2.5-0", "libsasl2-2", "libxml2"),
)
"""The packages with the daemons, and with those libraries that a small Debian does not have."""
DIRECTORIES = ("usr/sbin", "usr/bin", "sbin", "bin", "usr/lib/postgresql/15/bin")
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")


@cache
def home() -> Path:
    """Return a directory with the content of the packages that the mirror has."""
    place = Path(tempfile.mkdtemp(prefix="salina-programs-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    place.chmod(0o755)
    for file in sorted(one for name in PACKAGES for one in POOL.glob(f"{name}_*.deb")):
        subprocess.run(["dpkg-deb", "--extract", file, place], check=True)
    return place


@cache
def program(name: str) -> Path:
    """Return a daemon's command.

    Raises:
        AssertionError: neither this machine nor the mirror has it.
    """
    own = shutil.which(name, path=":".join(f"/{one}" for one in DIRECTORIES))
    if own and "/local/" not in os.path.realpath(own):
        return Path(own)
    for directory in DIRECTORIES:
        if (home() / directory / name).exists():
            return home() / directory / name
    raise AssertionError(f"no {name} yet: run `make hosts`")


def environment() -> dict[str, str]:
    """Return the variables with which a program finds the libraries beside it."""
    paths = [str(home() / one) for one in LIBRARIES]
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LD_LIBRARY_PATH": ":".join(paths),
        "XTABLES_LIBDIR": ":".join(f"{one}/xtables" for one in (f"/{LIBRARIES[0]}", *paths)),
        "LANG": "C.UTF-8",
    }


@cache
def network() -> int:
    """Return a process with a network namespace of its own, in which every address is local."""
    script = (
        "ip link set lo up; cd /proc/sys/net; echo 1 > ipv4/ip_nonlocal_bind; "
        "echo 1 > ipv6/ip_nonlocal_bind; echo 0 > ipv4/ip_unprivileged_port_start; "
        "echo ready; exec cat"
    )
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(holder.kill)
    assert holder.stdout and holder.stdout.readline() == b"ready\n", "unshare needs root"
    return holder.pid


def inside(
    command: Sequence[str | Path], user: str = "", more: Mapping[str, str] | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return a command that runs in the network namespace, and its variables.

    Args:
        command: the command.
        user: who runs it; by default root.
        more: further variables.
    """
    argv = ["nsenter", f"--net=/proc/{network()}/ns/net"]
    if user:
        argv += ["setpriv", f"--reuid={user}", "--clear-groups"]
    return [*argv, *map(str, command)], {**environment(), **(more or {})}


def run(
    command: Sequence[str | Path], given: str = "", user: str = "", seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command in the network namespace to its end."""
    argv, variables = inside(command, user)
    return subprocess.run(
        argv,
        input=given,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
