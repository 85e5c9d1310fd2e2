"""rclone's configuration for the second repository.

The options are those of rclone 1.60: https://rclone.org/s3/, https://rclone.org/sftp/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salina.backup.second import REMOTE, Place

HEAD = "# Managed by Salt (salt/second_repository)."
SSH = 22
"""The port that a file of known hosts does not name."""


def configuration(second: Mapping[str, Any]) -> str:
    """Return the content of rclone's configuration. It holds a secret.

    The known hosts are not in it, but among the arguments of each call.

    Args:
        second: the pillar `second_repository`.
    """
    options = _s3(second) if second["kind"] == "s3" else _sftp(second)
    lines = [f"{key} = {value}" for key, value in options.items()]
    return "\n".join([HEAD, f"[{REMOTE}]", *lines]) + "\n"


def _s3(second: Mapping[str, Any]) -> dict[str, Any]:
    key, _, secret = second["secret"].partition("\n")
    return {
        "type": "s3",
        "provider": "Other",  # what every store understands, AWS as well
        "endpoint": second["endpoint"],
        "region": second["region"],
        "access_key_id": key,
        "secret_access_key": secret,
        "no_check_bucket": "true",  # the login may not create one
    }


def _sftp(second: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "sftp",
        "host": second["host"],
        "port": second["port"],
        "user": second["user"],
        "key_pem": second["secret"].replace("\n", r"\n"),
        # the user there may have no shell
        "shell_type": "none",
        "disable_hashcheck": "true",
    }


def known_hosts(second: Mapping[str, Any]) -> str:
    """Return the content of the file with the public keys of the server; none for s3."""
    host = second["host"] if second["port"] == SSH else f"[{second['host']}]:{second['port']}"
    return "\n".join([HEAD, *(f"{host} {key}" for key in second["host_keys"])]) + "\n"


def place(second: Mapping[str, Any]) -> Place:
    """Return the place."""
    if second["kind"] == "s3":
        root, path = f"{REMOTE}:{second['bucket']}", second["path"]
        words = f"{second['bucket']}{path} at {second['endpoint']}"
        return Place(root, f"{root}{path}", words)
    root = f"{REMOTE}:{second['path']}"
    return Place(root, root, f"{second['path']} on {second['host']}")
