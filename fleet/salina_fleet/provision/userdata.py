"""The user data of a new host for cloud-init, with the minion's own key.

cloud-init's modules `write_files` and `salt_minion` do the work, in this order, so the minion knows
its own key and its master's before it first starts. `salt_minion` could write the minion's key as
well, but then every user of the host could read it. The text has a private key: it goes to the
provisioner on standard input, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

HEADER = "#cloud-config\n"
PKI = "/etc/salt/pki/minion"
PRIVATE, PUBLIC = f"{PKI}/minion.pem", f"{PKI}/minion.pub"
SETTINGS = "/etc/salt/minion.d/salina.conf"
SETTINGS_SOURCE = "salt/common/files/minion.conf"
"""The minion's own settings, in the repository."""
OWN = ("hostname", "write_files", "salt_minion")
"""The keys for cloud-init that the master gives."""


def render(
    minion_id: str,
    master_address: str,
    private: str,
    public: str,
    master_public: str,
    settings: str = "",
    further: Mapping[str, Any] | None = None,
) -> str:
    """Return the user data of a host.

    Args:
        minion_id: the host's minion id.
        master_address: the address of the master.
        private: the minion's private key, PEM.
        public: the minion's public key, PEM.
        master_public: the master's key; the minion obeys no other master.
        settings: the minion's own settings (salt/common/files/minion.conf). A minion that has them
            from its first start need not restart after its first apply.
        further: the operator's own keys for cloud-init, such as `apt` with a source of the package
            salt-minion. They have none of the keys OWN.
    """
    files = {
        f"{PKI}/minion_master.pub": (master_public, "0644"),
        SETTINGS: (settings, "0644"),
        PRIVATE: (private, "0400"),
        PUBLIC: (public, "0644"),
    }
    data = {
        "hostname": minion_id,  # a cloud would give another one, such as ip-10-1-5-11
        "write_files": [
            {"path": path, "permissions": mode, "content": content}
            for path, (content, mode) in files.items()
            if content
        ],
        "salt_minion": {"conf": {"master": master_address, "id": minion_id}, "pki_dir": PKI},
    }
    return HEADER + yaml.dump({**(further or {}), **data}, Dumper=_Legible, sort_keys=False)


class _Legible(yaml.SafeDumper):
    """A writer of YAML that writes texts of several lines, such as keys, line by line."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style="|" if "\n" in value else None
    )


_Legible.add_representer(str, _text)
