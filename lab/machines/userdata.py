"""The part of cloud-init that Salina's user data needs: it turns user data into files.

The functions here only compute. An error never shows what was found, because that may be the
private key.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from lab.errors import LabError
from lab.machines.keys import Pair
from lab.machines.provision import File, Files, enabled
from salina_fleet.provision import userdata
from salina_fleet.schema import document
from salina_fleet.schema.document import DataError, join

SOURCE = "user data"
SALT_MINION = ("conf", "pki_dir")
WRITE_FILES = ("path", "permissions", "content")


@dataclass(frozen=True)
class UserData:
    """The minion's key pair, and all files of the user data."""

    pair: Pair
    files: Files


def parse(text: str, name: str) -> UserData:
    """Return the content of a host's user data.

    Args:
        text: A cloud-init document.
        name: The host's id, which must also be the minion's.

    Raises:
        LabError: The user data is invalid. The message has every fault.
    """
    header = userdata.HEADER
    faults = [] if text.startswith(header) else [f"line 1: must be {header.strip()}"]
    try:
        data = known(document.loads(text, SOURCE), userdata.OWN, "", faults)
    except DataError as error:
        raise LabError(str(error)) from None
    minion = known(data.get("salt_minion"), SALT_MINION, "salt_minion", faults)
    conf = known(minion.get("conf"), None, "salt_minion.conf", faults)
    words(conf, "master", "salt_minion.conf", faults)
    if data.get("hostname") != name:
        faults.append(f"hostname: must be {name}")
    if conf.get("id") != name:
        faults.append(f"salt_minion.conf.id: must be {name}")
    folder = inside(minion.get("pki_dir", userdata.PKI), "salt_minion.pki_dir", faults)
    given = written(data.get("write_files", []), faults)
    private, public = (f"{folder}/minion.{end}" for end in ("pem", "pub"))
    missing = [path for path in (private, public) if not given.get(path, File()).content]
    faults += [f"write_files: must have /{path}, and not empty" for path in missing]
    files = {
        **given,
        "etc/salt/minion": File(yaml.safe_dump(dict(conf), sort_keys=False)),
        **enabled("salt-minion"),
    }
    if faults:
        raise LabError(str(DataError(SOURCE, faults)))
    return UserData(Pair(files[private].content, files[public].content), files)


def written(data: object, faults: list[str]) -> Files:
    """Return the files of `write_files`, and add its faults to `faults`."""
    if not isinstance(data, Sequence) or isinstance(data, str):
        faults.append("write_files: must be a list")
        return {}
    files = {}
    for number, entry in enumerate(data):
        path = f"write_files[{number}]"
        file = known(entry, WRITE_FILES, path, faults)
        mode = file.get("permissions", "0644")
        if not isinstance(mode, str) or not re.fullmatch(r"0?[0-7]{3}", mode):
            faults.append(f"{path}.permissions: must be an octal mode as text, for example '0644'")
            mode = "0"
        content = words(file, "content", path, faults)
        files[inside(file.get("path"), f"{path}.path", faults)] = File(content, int(mode, 8))
    return files


def known(
    data: object, allowed: Sequence[str] | None, path: str, faults: list[str]
) -> Mapping[str, Any]:
    """Return a mapping. It is a fault if it is not one, or has other keys than the allowed ones.

    Args:
        data: The value to check.
        allowed: The allowed keys; None allows any.
        path: The value's path in the document.
        faults: Faults are added to this list.
    """
    if not isinstance(data, Mapping):
        faults.append(f"{path or 'the document'}: must be a mapping")
        return {}
    if allowed is not None:
        strange = [key for key in data if key not in allowed]
        faults += [
            f"{join(path, key)}: unknown key; choose one of: {', '.join(allowed)}"
            for key in strange
        ]
    return data


def words(data: Mapping[str, Any], key: str, path: str, faults: list[str]) -> str:
    """Return a text of a mapping. It is a fault if the text is missing or empty.

    Args:
        data: The mapping.
        key: The text's key.
        path: The mapping's path in the document.
        faults: Faults are added to this list.
    """
    value = data.get(key)
    if isinstance(value, str) and value:
        return value
    faults.append(f"{path}.{key}: must be text, and not empty")
    return ""


def inside(path: object, where: str, faults: list[str]) -> str:
    """Return an absolute path without its first slash. It is a fault if it is not such a path.

    Args:
        path: The value to check.
        where: The value's path in the document.
        faults: Faults are added to this list.
    """
    if isinstance(path, str) and re.fullmatch(r"(/[\w.-]+)+", path, re.ASCII):
        parts = PurePosixPath(path).parts[1:]
        if ".." not in parts:
            return "/".join(parts)
    faults.append(f"{where}: must be an absolute path")
    return ""
