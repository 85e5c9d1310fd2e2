"""Where the lab keeps things on the machine."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = REPOSITORY / "salt/packages.yaml"
LOCKS = REPOSITORY / "salt/locks"

# What can be built again: kept by `make down`, removed by `make clean`.
CACHE = Path("/var/cache/salina-lab")
DOWNLOADS = CACHE / "downloads"
IMAGES = CACHE / "image"
MIRROR = CACHE / "mirror"

# What the running lab has made: removed by `make down`.
STATE = Path("/var/lib/salina-lab")
CONTAINERS = STATE / "containers"
KEYS = STATE / "keys"
SNAPSHOTS = STATE / "snapshots"
TOPOLOGY = STATE / "topology.yaml"  # of the running lab
OVERRIDE = STATE / "override"  # holds topology.yaml when it isn't the repository's own
FAULTS = STATE / "faults.json"
RELAY = STATE / "relay.pid"
CLOUD = STATE / "cloud"  # the master sees it at /srv/lab
CLOUD_SOCKET = CLOUD / "provisioner.sock"
CLOUD_LOG = STATE / "cloud.log"

# Held while a command changes the lab; outside STATE because that is removed.
LOCK = Path("/run/salina-lab.lock")
HOSTS_LOCK = Path("/run/salina-lab-hosts.lock")  # while hosts are made or removed
