"""Keep a host's certificate good: present, of its key, of the CA, with its names, not expiring."""

from __future__ import annotations

from typing import Any

from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def key_made(name: str, group: str = "root") -> dict[str, Any]:
    """Ensure that a private key is at a path, for root and one group alone; it is never replaced.

    Does what `x509.private_key_managed` does, in a tenth of the time of a run without change.
    Raises CommandExecutionError: there is no such group.

    CLI Example:
        See salt/tls/init.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "it is there"}
    if __opts__["test"] and not __salt__["group.info"](group):
        faults = [f"there is no group {group} yet"]
    else:
        faults = __salt__["certificate.key_faults"](name, group)
    if not faults:
        return ret
    changes = {"key": {"old": "; ".join(faults), "new": f"for root and {group}"}}
    if __opts__["test"]:
        return ret | {"result": None, "changes": changes, "comment": "would be made"}
    __salt__["certificate.make_key"](name, group)
    return ret | {"changes": changes, "comment": "made"}


@state.fails_plainly
def issued(
    name: str, key: str, ca: str, alt_names: list[str], days_remaining: int = 30
) -> dict[str, Any]:
    """Ensure that a good certificate of the CA is at a path; the CA is asked only if there is none.

    `name`, `key`, `ca`: paths of the certificate, the host's private key, the CA's certificate.
    `alt_names`: its subject alternative names: `DNS:nas1`, `IP:10.1.4.21`.
    `days_remaining`: renew when it is valid for fewer days.
    Raises CommandExecutionError as `certificate.request` does.

    CLI Example:
        See salt/tls/init.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "it is good"}
    if __opts__["test"] and not __salt__["file.file_exists"](key):
        faults = ["there is no key yet"]
    else:
        faults = __salt__["certificate.faults"](name, key, ca, alt_names, days_remaining)
    if not faults:
        return ret
    old = "; ".join(faults)
    if __opts__["test"]:
        changes = {"certificate": {"old": old, "new": "issued"}}
        return ret | {"result": None, "changes": changes, "comment": "would be issued"}
    serial = __salt__["certificate.request"](name, key, ca, alt_names)
    changes = {"certificate": {"old": old, "new": f"serial {serial}"}}
    return ret | {"changes": changes, "comment": "issued by the master's CA"}
