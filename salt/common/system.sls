#!py
"""Refuse to apply anything to a host that runs another system than the topology says.

Its packages and settings would be those of the other system. The error appears before any state
runs, because no state is compiled without this file.
"""

from salt.exceptions import CommandExecutionError


def run():
    """Compare this host's system with the pillar, and return no state."""
    wanted, found = __pillar__["host"]["platform"], __grains__["osfinger"]
    if found != wanted["finger"]:
        raise CommandExecutionError(
            f"{__grains__['id']} runs {found}, but pillar/topology.yaml gives it the platform "
            f"{wanted['name']} ({wanted['finger']}); correct `platform` there, or install this "
            "host again with that system"
        )
    return {}
