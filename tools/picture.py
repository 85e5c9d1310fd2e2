"""Make the picture of monitoring's page for the documents, from the running lab: `make picture`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from lab.machines import containers, inventory
from tests import fleets
from tests.lab import lab, tiers
from tools import chromium

FILE = Path(__file__).resolve().parent.parent / "docs/pictures/monitoring.png"
CLIENT = "c1"
USER = "operator"
START = "/"
"""It leads to the page with the services of all hosts."""


def pages(paths: list[str], user: str = USER, password: str | None = None) -> list[Any]:
    """Return pages of monitoring as a browser on a client shows them.

    Args:
        paths: the pages.
        user: who logs in; "" for nobody.
        password: the user's password; None for the right one.
    """
    [host] = fleets.fleet().having("monitoring")
    namespace = containers.namespace(inventory.current_plan().machine(CLIENT))
    certificate = lab.run(host.id, "cat", "/etc/salina/tls/monitoring-page.crt")
    right = tiers.secret("monitoring") if password is None else password
    url = f"https://{host.addresses['edge']}"
    return chromium.look(namespace, url, certificate, paths, user, right)


def main() -> None:
    """Write the picture."""
    [seen] = pages([START])
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_bytes(base64.b64decode(seen["picture"]))
    print(f"{FILE} shows {seen['title']}, as {CLIENT} sees it")


if __name__ == "__main__":
    main()
