"""Compare one minion's pillar and highstate in fleets of a thousand and of ten app hosts.

One process does the work of master and minion: it runs Salt's pillar with this repository's
external pillar, and then Salt's state compiler. Loading Salt's own modules takes the same time in
both fleets, and is not measured.
"""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import salt.config
import salt.pillar
import yaml

from bench.repeat import in_turn, spread
from bench.result import Result
from salina_fleet import secrets
from tests import fleets
from tests.render import caches
from tests.render.minion import GRAINS, Minion

SMALL, LARGE = 10, 1000
BOUND = 1.5
ROUNDS = 9
MINIONS = {
    "app": "s1",
    "balancer": "lb1",
    "storage": "nas1",
    "database": "bbdd1",
    "firewall": "fw",
}
"""A host of the default topology for each role. Only the app host has a bound: balancer, storage
and database hosts have a rule or a line for each app host, so their time grows with the fleet."""


def topology(count: int) -> dict[str, Any]:
    """Return the default topology with this many app hosts, in networks that are large enough."""
    data = fleets.data()
    wide = {name: f"10.{index}.0.0/16" for index, name in enumerate(data["networks"], 1)}
    data["networks"] = wide
    for host in data["hosts"].values():
        for name, address in host["addresses"].items():
            host["addresses"][name] = widened(wide[name], address.rpartition(".")[2])
    data["service"]["address"] = data["hosts"]["lb1"]["addresses"]["edge"]
    data["pools"]["app"] |= {
        "addresses": {
            name: widened(wide[name], "(100+n)") for name in ("web", "data", "management")
        },
        "maximum": count,
        "initial": [f"s{number}" for number in range(1, count + 1)],
    }
    return data


def widened(cidr: str, last: str) -> str:
    """Return an address at the beginning of a large network: 10.4.0.0/16 and 21 give 10.4.0.21."""
    return f"{cidr.split('.0.0/')[0]}.0.{last}"


class Site:
    """A master's repository and state directory, with a topology of `count` app hosts."""

    def __init__(self, place: Path, count: int) -> None:
        root, state = place / "site", place / "state"
        (root / "pillar").mkdir(parents=True)
        for name in ("settings", "app"):
            (root / "pillar" / name).symlink_to(fleets.REPOSITORY / "pillar" / name)
        for name in ("salt", "_modules", "_states", "_utils"):
            (root / name).symlink_to(fleets.REPOSITORY / name)
        data = topology(count)
        (root / "pillar/topology.yaml").write_text(yaml.safe_dump(data))
        secrets.create(secrets.open_store(state), [*data["applications"]], 1)
        fleets.record(state)
        self.place = place
        self.states: dict[str, int] = {}  # a minion -> how many states its highstate has
        self.opts = dict(salt.config.master_config(None)) | {
            "root_dir": str(place),
            "cachedir": str(place / "cache"),
            "pki_dir": str(place / "pki"),
            "extension_modules": str(place / "extmods"),
            "file_roots": {"base": [str(fleets.REPOSITORY / "salt")]},
            "pillar_roots": {"base": []},
            "pillar_dirs": [str(fleets.REPOSITORY / "_pillar")],
            "utils_dirs": [str(fleets.REPOSITORY / name) for name in ("fleet", "_utils")],
            "ext_pillar": [{"salina": {}}],
            "salina": {"root": str(root), "state": str(state)},
        }

    def pillar(self, minion: str) -> dict[str, Any]:
        """Return a minion's pillar, compiled as on Salt's master."""
        grains = {**GRAINS, "id": minion}
        compiled = salt.pillar.Pillar(self.opts, grains, minion, "base").compile_pillar()
        assert "_errors" not in compiled, compiled["_errors"]
        return dict(compiled)

    def measure(self, minion: str) -> float:
        """Return how many seconds it takes to compile a minion's pillar and highstate."""
        start = time.process_time()
        pillar = self.pillar(minion)
        compiled = time.process_time() - start
        prepared = Minion(minion, pillar)
        _ = prepared.highstate.state.functions
        caches.forget()
        start = time.process_time()
        chunks = prepared.chunks
        assert len(chunks) > 10, f"{minion}: {chunks}"
        self.states[minion] = len(chunks)
        return compiled + time.process_time() - start


def measure() -> Iterator[Result]:
    """Measure a minion of each role."""
    with tempfile.TemporaryDirectory(prefix="salina-bench-") as place:
        sites = {count: Site(Path(place) / str(count), count) for count in (SMALL, LARGE)}
        for role, minion in MINIONS.items():
            sides = {str(count): partial(site.measure, minion) for count, site in sites.items()}
            in_turn(sides, 1)  # so that files which are read only once are in the caches
            found = in_turn(sides, ROUNDS)
            small, large = (found[str(count)] for count in (SMALL, LARGE))
            yield Result(
                f"pillar and highstate of role {role}, {LARGE} app hosts / {SMALL}",
                median(large) / median(small),
                "ratio",
                BOUND if role == "app" else None,
                detail=f"{spread(large, digits=3)} / {spread(small, digits=3)}; "
                f"{sites[SMALL].states[minion]} states",
            )
