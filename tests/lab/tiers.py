"""The tiers of the running lab: what each says of itself, and when it is whole."""

from __future__ import annotations

import json
from typing import Any

from salina.common import wait
from tests import fleets
from tests.lab.lab import run, salt

APPS = [host.id for host in fleets.fleet().having("app")]
STORAGE = [host.id for host in fleets.fleet().having("storage")]
DATABASES = {host.id: host.addresses["data"] for host in fleets.fleet().having("database")}
SECRETS = "/var/lib/salina/secrets"


def secret(name: str) -> str:
    """A secret of the fleet."""
    return run("salt", "cat", f"{SECRETS}/{name}").strip()


# Storage


def faults(host: str = "nas1") -> list[str]:
    """Return the volume's fault as one storage host sees it, or why the host cannot tell."""
    answer = salt(host, "gluster.faults", "nas").get(host)
    return answer if isinstance(answer, list) else [str(answer)]


def whole(seconds: float = 120) -> None:
    """Wait until every brick is there and nothing is left to heal."""
    wait.clear(lambda: "; ".join(faults()), seconds, "the volume to be whole")


def connected() -> None:
    """Wait until each app host has a connection to each brick, also to one that was just away."""

    def unconnected() -> str:
        found = salt("-L", ",".join(APPS), "gluster.unconnected", "/mnt/nas")
        return "" if found == {host: [] for host in APPS} else str(found)

    wait.clear(unconnected, 60, "the app hosts to be connected to all bricks")


# Database


def sql(host: str, statement: str, database: str = "postgres") -> str:
    """One statement as the superuser, over the host's own socket."""
    psql = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1"]
    return run(host, *psql, "-d", database, given=statement).strip()


def cluster(host: str) -> list[dict[str, Any]]:
    """The members as one of them sees them; none if it does not answer."""
    url = f"https://{DATABASES[host]}:8008/cluster"
    answer = run(host, "curl", "-s", "--cacert", "/etc/salina/tls/ca.crt", url, check=False)
    return list(json.loads(answer)["members"]) if answer.startswith("{") else []


def leader() -> str:
    """The primary's host, when all members see the same one and all others stream from it."""
    views: list[dict[str, tuple[str, str]]] = []

    def agreed() -> str | None:
        views[:] = [
            {member["name"]: (member["role"], member["state"]) for member in cluster(host)}
            for host in DATABASES
        ]
        good = {("leader", "running"), ("sync_standby", "streaming")}
        if any(set(view) != set(DATABASES) or set(view.values()) != good for view in views):
            return None
        leaders = {name for view in views for name in view if view[name][0] == "leader"}
        return leaders.pop() if len(leaders) == 1 else None

    found = wait.until(agreed, 90)
    assert found, f"the database is not whole after 90 s: {views}"
    return found


# Balancer


def servers() -> dict[str, dict[str, Any]]:
    """The app hosts as the balancer sees them."""
    return dict(salt("lb1", "balancer.servers")["lb1"])


def all_serve() -> bool:
    """Whether each app host has its whole share."""
    return all(server["serving"] and server["weight"] == 100 for server in servers().values())
