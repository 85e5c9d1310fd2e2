"""The user data of a new host for cloud-init, with the minion's own key.

cloud-init's modules `write_files` and `salt_minion` do the work, in this order, so the minion knows
its master's key before it first starts. The text has a private key: it goes to the provisioner on
standard input, and nowhere else.
"""

from __future__ import annotations

import yaml

HEADER = "#cloud-config\n"
PKI = "/etc/salt/pki/minion"
SETTINGS = "/etc/salt/minion.d/salina.conf"
SETTINGS_SOURCE = "salt/common/files/minion.conf"
"""The minion's own settings, in the repository."""


def render(
    minion_id: str,
    master_address: str,
    private: str,
    public: str,
    master_public: str,
    settings: str = "",
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
    """
    files = {f"{PKI}/minion_master.pub": master_public, SETTINGS: settings}
    data = {
        "write_files": [
            {"path": path, "permissions": "0644", "content": content}
            for path, content in files.items()
            if content
        ],
        "salt_minion": {
            "conf": {"master": master_address, "id": minion_id},
            "pki_dir": PKI,
            "public_key": public,
            "private_key": private,
        },
    }
    return HEADER + yaml.dump(data, Dumper=_Legible, sort_keys=False)


class _Legible(yaml.SafeDumper):
    """A writer of YAML that writes texts of several lines, such as keys, line by line."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style="|" if "\n" in value else None
    )


_Legible.add_representer(str, _text)
