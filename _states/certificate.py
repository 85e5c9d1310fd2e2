"""Keep a host's certificate good: present, of its key, of the CA, with its names, not expiring."""

from __future__ import annotations

from typing import Any

__virtualname__ = "certificate"
__salt__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


def issued(
    name: str,
    key: str,
    ca: str,
    ca_server: str,
    policy: str,
    alt_names: list[str],
    days_remaining: int = 30,
) -> dict[str, Any]:
    """Ensure that a good certificate of the CA is at a path; the CA is asked only if there is none.

    Args:
        name: path of the certificate.
        key: path of the host's private key.
        ca: path of the CA's certificate.
        ca_server: id of the minion that signs.
        policy: the signing policy.
        alt_names: its subject alternative names: ``DNS:nas1``, ``IP:10.1.4.21``.
        days_remaining: renew when it is valid for fewer days.

    Raises:
        CommandExecutionError: see ``certificate.request``.

    CLI example: see ``salt/tls/init.sls``.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "it is good"}
    if __opts__["test"] and not __salt__["file.file_exists"](key):
        faults = ["there is no key yet"]
    else:
        faults = __salt__["certificate.faults"](name, key, ca, alt_names, days_remaining)
    if not faults:
        return ret
    if __opts__["test"]:
        return ret | {
            "result": None,
            "changes": {"certificate": {"old": "; ".join(faults), "new": "issued"}},
            "comment": "would be issued",
        }
    serial = __salt__["certificate.request"](name, key, ca, ca_server, policy, alt_names)
    return ret | {
        "changes": {"certificate": {"old": "; ".join(faults), "new": f"serial {serial}"}},
        "comment": f"issued by {ca_server}",
    }
