"""Write a fleet for a cloud: its networks, rules and ports, as a file for OpenTofu.

`bin/cloud` makes and removes the hosts (docs/deployment.md).
"""

from __future__ import annotations

import json
from typing import Any

from salina.common import file
from salina_fleet import runner
from salina_fleet.errors import RunnerError
from salina_fleet.provision import clouds
from salina_fleet.provision.clouds import CLOUDS
from salina_fleet.schema.faults import not_among

__opts__: dict[str, Any]


def check(cloud: str) -> str:
    """Check whether the fleet can be in a cloud. This asks no cloud.

    Args:
        cloud: `openstack`, `aws` or `google`.

    Returns:
        A sentence that says so.

    Raises:
        RunnerError: the cloud is unknown; or with every reason why the fleet cannot be there.

    CLI Example:
        salt-run cloud.check openstack
    """
    if cloud not in CLOUDS:
        raise RunnerError(f"cloud: {not_among(cloud, CLOUDS, 'a cloud')}")
    fleet = runner.site(__opts__).fleet
    found = clouds.faults(cloud, fleet)
    if found:
        raise RunnerError("\n".join([f"pillar/topology.yaml cannot be in {cloud}:", *found]))
    return f"the fleet can be in {cloud}: {len(fleet.hosts)} hosts"


def tofu(cloud: str, path: str) -> str:
    """Write the networks, the rules and the ports of the fleet into a file for OpenTofu.

    The file has no secret. It has ports for every host that a pool can have.

    Args:
        cloud: `openstack`, `aws` or `google`.
        path: the file to write; its name ends with `.tf.json`.

    Returns:
        A sentence that says so.

    Raises:
        RunnerError: as for `check`; or the file cannot be written.

    CLI Example:
        salt-run cloud.tofu openstack /root/cloud/fleet.tf.json
    """
    check(cloud)
    if not path.endswith(".tf.json"):
        raise RunnerError(f"path: {path!r} is not valid; must end with .tf.json")
    content = clouds.tofu(cloud, runner.site(__opts__).fleet)
    file.put(path, json.dumps(content, indent=2) + "\n")
    return f"{path} has the fleet for {cloud}; next, in its directory: tofu init, then tofu apply"
