"""Keep this host in the quorum, and wait for it where it is needed."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import command
from salina.common import state as salina_state
from salina.common import wait as salina_wait

__virtualname__ = "quorum"
__salt__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


@salina_state.fails_plainly
def joined(name: str, wait: int, files: list[str]) -> dict[str, Any]:
    """Ensure that this host is a running member of the cluster, and that the cluster serves.

    Without data it founds the cluster if no planned member knows one, and otherwise enters it. On a
    bare fleet all of them found it at the same moment and wait here for one another. A member that
    the topology does not have is an error: whether it may go is for the operator to say.

    Args:
        name: the service's name.
        wait: seconds to wait until this host's member serves.
        files: what the service reads at its start only; if one is newer, it is restarted.

    Fails:
        etcd refused, did not start, or does not serve in time.

    CLI Example:
        See salt/etcd/init.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    data, running = __salt__["quorum.has_data"](), __salt__["service.status"](name)
    enabled = __salt__["service.enabled"](name)
    old = __salt__["daemon.outdated"](name, files)
    if __opts__["test"]:
        if data and running and enabled and not old:
            return ret | {"comment": "it is a member"}
        return ret | {"result": None, "comment": "it would be (re)started, and join"}
    if not enabled:
        command.systemctl(__salt__, "enable", name)
        ret["changes"]["enabled"] = True
    if not data and not running:
        ret["changes"]["joined"] = _enter(wait)
    if not running:
        command.systemctl(__salt__, "start", name, no_block=True)
        ret["changes"]["started"] = True
    if old:
        command.systemctl(__salt__, "restart", name, no_block=True)
        ret["changes"]["restarted"] = old
    _serve(name, wait)
    __salt__["quorum.entered"]()
    drift = __salt__["quorum.drift"]()
    if drift:
        return ret | {"result": False, "comment": "\n".join(drift)}
    return ret | {"comment": "it is a member, and the cluster serves"}


@salina_state.fails_plainly
def serves(name: str, endpoints: list[str], wait: int) -> dict[str, Any]:
    """Wait until the quorum can be used from this host. It changes nothing.

    Args:
        name: free text.
        endpoints: ``10.1.4.21:2379``; one that serves is enough.
        wait: seconds.

    Fails:
        it took longer; the message says what each endpoint answered.

    CLI Example:
        See salt/patroni/service.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "it serves"}
    if __opts__["test"]:
        obstacle = __salt__["quorum.obstacle"](endpoints)
        return ret if not obstacle else ret | {"result": None, "comment": f"would wait: {obstacle}"}
    salina_wait.clear(
        lambda: str(__salt__["quorum.obstacle"](endpoints)),
        wait,
        f"the quorum ({', '.join(endpoints)})",
    )
    return ret


def _enter(wait: int) -> str:
    state = ""

    def refused() -> str:
        nonlocal state
        try:
            state = __salt__["quorum.enter"]()["state"]
        except CommandExecutionError as error:
            return str(error)
        return ""

    salina_wait.clear(
        refused, wait, "the other members, to tell whether the quorum exists and to get in"
    )
    return state


def _serve(name: str, wait: int) -> None:
    salina_wait.clear(
        lambda: str(__salt__["quorum.own_obstacle"]()),
        wait,
        f"this host's member of the quorum (journalctl -u {name})",
    )
