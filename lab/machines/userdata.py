"""What cloud-init would make of user data: as much of it as Salina's own needs, and no more.

Pure. A fault's message never shows what was found: it may be the private key.
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
SALT_MINION = ("conf", "pki_dir", "public_key", "private_key")
WRITE_FILES = ("path", "permissions", "content")


@dataclass(frozen=True)
class UserData:
    """The minion's key, and all files that a host is given."""

    pair: Pair
    files: Files


def parse(text: str, name: str) -> UserData:
    """Return what a host is given by its user data.

    :param text: a cloud-init document
    :param name: the host's id, which the minion must have
    :raises LabError: with every fault
    """
    header = userdata.HEADER
    faults = [] if text.startswith(header) else [f"line 1: allowed is {header.strip()}"]
    try:
        data = known(document.loads(text, SOURCE), ("write_files", "salt_minion"), "", faults)
    except DataError as error:
        raise LabError(str(error)) from None
    minion = known(data.get("salt_minion"), SALT_MINION, "salt_minion", faults)
    conf = known(minion.get("conf"), None, "salt_minion.conf", faults)
    words(conf, "master", "salt_minion.conf", faults)
    if conf.get("id") != name:
        faults.append(f"salt_minion.conf.id: allowed is {name}")
    pair = Pair(
        private=words(minion, "private_key", "salt_minion", faults),
        public=words(minion, "public_key", "salt_minion", faults),
    )
    folder = inside(minion.get("pki_dir", userdata.PKI), "salt_minion.pki_dir", faults)
    files = {
        **written(data.get("write_files", []), faults),
        "etc/salt/minion": File(yaml.safe_dump(dict(conf), sort_keys=False)),
        f"{folder}/minion.pem": File(pair.private, 0o400),
        f"{folder}/minion.pub": File(pair.public),
        **enabled("salt-minion"),
    }
    if faults:
        raise LabError(str(DataError(SOURCE, faults)))
    return UserData(pair, files)


def written(data: object, faults: list[str]) -> Files:
    """Return the files of `write_files`."""
    if not isinstance(data, Sequence) or isinstance(data, str):
        faults.append("write_files: allowed is a list")
        return {}
    files = {}
    for number, entry in enumerate(data):
        path = f"write_files[{number}]"
        file = known(entry, WRITE_FILES, path, faults)
        mode = file.get("permissions", "0644")
        if not isinstance(mode, str) or not re.fullmatch(r"0?[0-7]{3}", mode):
            faults.append(f"{path}.permissions: allowed is text such as '0644'")
            mode = "0"
        content = words(file, "content", path, faults)
        files[inside(file.get("path"), f"{path}.path", faults)] = File(content, int(mode, 8))
    return files


def known(
    data: object, allowed: Sequence[str] | None, path: str, faults: list[str]
) -> Mapping[str, Any]:
    """Return a mapping; that it is none, or has other keys than the allowed, is a fault."""
    if not isinstance(data, Mapping):
        faults.append(f"{path or 'the document'}: allowed is a mapping")
        return {}
    if allowed is not None:
        strange = [key for key in data if key not in allowed]
        faults += [f"{join(path, key)}: allowed is {', '.join(allowed)}" for key in strange]
    return data


def words(data: Mapping[str, Any], key: str, path: str, faults: list[str]) -> str:
    """Return a text of a mapping; that it is missing is a fault."""
    value = data.get(key)
    if isinstance(value, str) and value:
        return value
    faults.append(f"{path}.{key}: allowed is text")
    return ""


def inside(path: object, where: str, faults: list[str]) -> str:
    """Return an absolute path as one relative to the host's root, which it must not leave."""
    if isinstance(path, str) and re.fullmatch(r"(/[\w.-]+)+", path, re.ASCII):
        parts = PurePosixPath(path).parts[1:]
        if ".." not in parts:
            return "/".join(parts)
    faults.append(f"{where}: allowed is an absolute path")
    return ""
