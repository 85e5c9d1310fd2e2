"""Ensure that a host has its private keys and good certificates of the project's CA."""

from __future__ import annotations

from typing import Any

from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def key_made(name: str, group: str = "root") -> dict[str, Any]:
    """Ensure that a private key exists, and that only root and one group can read it.

    An existing key is never replaced. This does the same as `x509.private_key_managed`, in a tenth
    of the time if nothing changes.

    Args:
        name: the key's file.
        group: the group that may read it besides root; `root` for none.

    Returns:
        The state's result. It fails if the group does not exist.

    CLI Example:
        See salt/tls/init.sls.
    """
    if __opts__["test"] and not __salt__["group.info"](group):
        faults = [f"group {group} does not exist yet"]
    else:
        faults = __salt__["certificate.key_faults"](name, group)
    if not faults:
        return state.result(name, True, "the key exists")
    change = {"old": "; ".join(faults), "new": f"for root and {group}"}
    changes = {"mode" if __salt__["file.file_exists"](name) else "key": change}
    if __opts__["test"]:
        return state.result(name, None, "the key would be created", changes)
    __salt__["certificate.make_key"](name, group)
    return state.result(name, True, "the key was created", changes)


@state.fails_plainly
def issued(name: str, certificate: str) -> dict[str, Any]:
    """Ensure that a certificate fits its key, the CA and the pillar, and does not expire soon.

    The state asks the CA only for a missing or bad certificate.

    Args:
        name: the certificate's file.
        certificate: its name in the pillar `tls`.

    Returns:
        The state's result. It fails if the CA issues no good certificate in time.

    CLI Example:
        See salt/tls/init.sls.
    """
    if __opts__["test"] and not __salt__["file.file_exists"](name.removesuffix(".crt") + ".key"):
        faults = ["the key does not exist yet"]
    else:
        faults = __salt__["certificate.faults"](certificate)
    if not faults:
        return state.result(name, True, "the certificate is good")
    old = "; ".join(faults)
    if __opts__["test"]:
        changes = {"certificate": {"old": old, "new": "issued"}}
        return state.result(name, None, "the CA would issue a certificate", changes)
    serial = __salt__["certificate.request"](certificate)
    changes = {"certificate": {"old": old, "new": f"serial {serial}"}}
    return state.result(name, True, "the CA issued a certificate", changes)
