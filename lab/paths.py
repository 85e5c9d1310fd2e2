"""Where the lab keeps its files on the machine."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = REPOSITORY / "salt/packages.yaml"
LOCKS = REPOSITORY / "salt/locks"

# Caches: `make down` keeps them, `make clean` removes them.
CACHE = Path("/var/cache/salina-lab")
DOWNLOADS = CACHE / "downloads"
IMAGES = CACHE / "image"
MIRROR = CACHE / "mirror"

# The running lab's files: `make down` removes them.
STATE = Path("/var/lib/salina-lab")
CONTAINERS = STATE / "containers"
KEYS = STATE / "keys"
SNAPSHOTS = STATE / "snapshots"
TOPOLOGY = STATE / "topology.yaml"
IMAGES_OF = STATE / "images.json"  # platform -> the root directory of its image
OVERRIDE = STATE / "override"  # has a topology.yaml when the lab's is not the repository's own
DEFINITIONS = OVERRIDE / "app"  # exists while the lab deploys another revision (REVISION=)
FORMER = OVERRIDE / "app.former"  # the same, until the master sees the repository's own again
FAULTS = STATE / "faults.json"
RELAY = STATE / "relay.pid"
CLOUD = STATE / "cloud"  # the master sees this directory at /srv/lab
CLOUD_SOCKET = CLOUD / "provisioner.sock"
CLOUD_LOG = STATE / "cloud.log"

# A command holds LOCK while it changes the lab, and HOSTS_LOCK while it creates or removes hosts.
# Both are outside STATE, because `make down` removes that.
LOCK = Path("/run/salina-lab.lock")
HOSTS_LOCK = Path("/run/salina-lab-hosts.lock")


def digest(paths: Iterable[Path]) -> str:
    """Return a digest of the files' names and contents."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.name}\0".encode() + path.read_bytes())
    return total.hexdigest()
