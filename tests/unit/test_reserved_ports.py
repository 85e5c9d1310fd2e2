"""The kernel reserves the ports of services, and no running service loses its own (X8)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from salina.common import listeners
from tests.loading import failure, load, never, states

LISTING = """\
tcp LISTEN 0 128  127.0.0.1:8069  0.0.0.0:* users:(("python",pid=12,fd=5),("python",pid=11,fd=5))
tcp LISTEN 0 511  10.1.3.11:80    0.0.0.0:* users:(("nginx",pid=31,fd=6),("nginx",pid=30,fd=6))
tcp LISTEN 0 128  [fd00::1]:9000  [::]:*    users:(("exporter",pid=40,fd=3))
udp UNCONN 0 0    0.0.0.0:40000   0.0.0.0:* users:(("agent",pid=41,fd=3))
tcp LISTEN 0 64   *:2049          *:*
"""
WITH, WITHOUT = 1 << 10, 0


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    """The module on a host with these processes, which reserves the ports below 1024."""
    said = {"retcode": 0, "stdout": LISTING}
    loaded = load("_modules/reserved_ports.py", salt={"cmd.run_all": lambda *_, **__: said})
    found: Any = loaded
    found.PROCESSES, found.FIRST = tmp_path, tmp_path / "first"
    found.FIRST.write_text("1024\n")
    held = {11: WITHOUT, 12: WITHOUT, 30: (1 << 41) - 1, 31: WITHOUT, 40: WITHOUT, 41: WITHOUT}
    for pid, capabilities in held.items():
        process(tmp_path, pid, capabilities)
    return loaded


def process(proc: Path, pid: int, capabilities: int, parent: int = 1) -> None:
    """Write the status of a process into a directory that stands for /proc."""
    (proc / str(pid)).mkdir(exist_ok=True)
    status = f"Name:\tx\nPPid:\t{parent}\nCapPrm:\t{capabilities:016x}\n"
    (proc / str(pid) / "status").write_text(status)


def test_sockets_and_their_processes() -> None:
    found = listeners.listeners(LISTING)
    assert [one.port for one in found] == [8069, 80, 9000, 40000, 2049]
    assert found[0].processes == {12: "python", 11: "python"}
    assert found[4].processes == {}  # the kernel's own


def test_x8_a_service_that_could_not_listen_again_is_named(module: Any, tmp_path: Path) -> None:
    """X8: Every port above the present limit needs a process with the capability."""
    python = "python (process 11) listens on port 8069 without CAP_NET_BIND_SERVICE"
    exporter = "exporter (process 40) listens on port 9000 without CAP_NET_BIND_SERVICE"
    assert module.obstacles(32768) == [exporter, python]
    process(tmp_path, 12, WITH)  # one of those that share the socket is enough
    assert module.obstacles(32768) == [exporter]
    (tmp_path / "40" / "status").unlink()  # it has ended meanwhile
    assert module.obstacles(32768) == []


def test_x8_a_master_that_binds_for_its_worker_is_enough(module: Any, tmp_path: Path) -> None:
    """X8: HAProxy's worker has no capability. The first process of a host does not count."""
    assert len(module.obstacles(32768)) == 2
    process(tmp_path, 1, (1 << 41) - 1, parent=0)
    assert len(module.obstacles(32768)) == 2
    process(tmp_path, 39, WITH)
    process(tmp_path, 40, WITHOUT, parent=39)
    assert [one.split()[0] for one in module.obstacles(32768)] == ["python"]


def test_x8_the_limit_is_the_kernels(module: Any) -> None:
    """X8: The module reads and sets the kernel's own number."""
    assert module.first() == 1024
    module.reserve(32768)
    assert (module.first(), module.obstacles(32768)) == (32768, [])


def reserved(test: bool = False, first: int = 1024, **modules: Any) -> dict[str, Any]:
    """Apply the state."""
    known = {"reserved_ports.first": lambda: first, **modules}
    found = states("reserved_ports", test=test)
    found.__salt__ = known  # type: ignore[attr-defined]
    ret: dict[str, Any] = found.reserved("ports", below=32768)
    return ret


def test_x8_given_back() -> None:
    """X8: Without the setting, the kernel's own limit applies again."""
    asked: list[int] = []
    known: dict[str, Any] = {
        "reserved_ports.first": lambda: 32768,
        "reserved_ports.obstacles": lambda below: [],
        "reserved_ports.reserve": asked.append,
    }
    found: Any = states("reserved_ports")
    found.__salt__ = known
    assert (found.reserved("ports", below=1024)["result"], asked) == (True, [1024])


def test_k1_nothing_is_asked_when_the_ports_are_reserved() -> None:
    """X8, K1: The second apply looks at one number."""
    ret = reserved(first=32768)
    assert (ret["result"], ret["changes"]) == (True, {})


def test_x8_services_come_first() -> None:
    """X8: While a service has no capability, nothing is reserved, and the error says what to do."""
    found = "python (process 11) listens on port 8069 without CAP_NET_BIND_SERVICE"
    ret = reserved(**{"reserved_ports.obstacles": lambda below: [found]})
    advice = "give its unit AmbientCapabilities=CAP_NET_BIND_SERVICE, restart it and apply again"
    assert failure(ret) == f"{found}; {advice}"


def test_x8_reserved() -> None:
    """X8: The state reports the old and the new limit."""
    asked: list[int] = []
    known = {"reserved_ports.obstacles": lambda below: [], "reserved_ports.reserve": asked.append}
    ret = reserved(**known)
    assert (ret["result"], asked) == (True, [32768])
    assert ret["changes"] == {"first free port": {"old": 1024, "new": 32768}}


def test_k3_a_prediction_reserves_nothing() -> None:
    """X8, K3: A prediction asks no process, since the states before would restart them."""
    never_asked = {f"reserved_ports.{name}": never for name in ("obstacles", "reserve")}
    assert reserved(test=True, **never_asked)["result"] is None


def test_k5_the_kernel_refuses() -> None:
    """X8, K5: The kernel's ranges must not overlap."""

    def refuse(below: int) -> None:
        raise OSError(22, "Invalid argument")

    known = {"reserved_ports.obstacles": lambda below: [], "reserved_ports.reserve": refuse}
    assert failure(reserved(**known)) == (
        "the kernel does not reserve the ports below 32768: Invalid argument; "
        "net.ipv4.ip_local_port_range must begin at 32768 or above"
    )
