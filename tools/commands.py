"""The options of `openstack` and `aws`, with which a test compares the commands of `bin/cloud`.

Neither program is a part of this project's environments. This runs in one that has both:

    python3 -m venv DIRECTORY; DIRECTORY/bin/pip install python-openstackclient awscli
    PYTHONPATH=. DIRECTORY/bin/python -m tools.commands

`gcloud` is in no package registry that the project uses.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

KEPT = Path(__file__).resolve().parent.parent / "tests/unit/data/commands.json"
SERVERS = {"create": "CreateServer", "delete": "DeleteServer", "list": "ListServer"}
CALLS = ("RunInstances", "DescribeInstances", "TerminateInstances")


def openstack() -> dict[str, Any]:
    """Return the options of each command of `openstack server`."""
    server = importlib.import_module("openstackclient.compute.v2.server")
    found = {}
    for name, kind in SERVERS.items():
        parser = getattr(server, kind)(None, None).get_parser(name)
        options = {word for one in parser._actions for word in one.option_strings}
        found[name] = sorted(one for one in options if one.startswith("--"))
    return found


def aws() -> dict[str, Any]:
    """Return the options of each command of `aws ec2`, with the members of their values."""
    core = importlib.import_module("awscli.botocore.session")
    names = importlib.import_module("awscli.botocore").xform_name
    model = core.get_session().get_service_model("ec2")
    found: dict[str, Any] = {}
    for call in CALLS:
        members = model.operation_model(call).input_shape.members
        found[names(call, "-")] = {
            f"--{names(name, '-')}": _members(shape) for name, shape in members.items()
        }
    return found


def _members(shape: Any) -> Mapping[str, Any]:
    """Return the members of a structure, or of those in a list."""
    if shape.type_name == "list":
        return _members(shape.member)
    if shape.type_name != "structure":
        return {}
    return {name: _members(inner) for name, inner in shape.members.items()}


def main() -> None:
    """Write the options, with the versions of the programs."""
    found = {
        "versions": {name: version(name) for name in ("python-openstackclient", "awscli")},
        "openstack": openstack(),
        "aws": aws(),
    }
    KEPT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
