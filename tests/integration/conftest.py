"""A real master and minions, on a copy of this repository, in a directory that goes away after.

The master reads the files of master.d as they stand, only that /srv/salina and /var/lib/salina are
that directory's. No key is accepted on request: they are made beforehand, as for a planned host.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import salt.channel.client
import salt.config
import salt.crypt
import salt.exceptions
from saltfactories.daemons.master import SaltMaster
from saltfactories.daemons.minion import SaltMinion
from saltfactories.manager import FactoriesManager

from tests import fleets

# The daemons' last words come when pytest has closed its output: nobody wants to read of that.
logging.raiseExceptions = False

#: The master's own minion, one that must see no secret of the database, one that may see the app's.
MINIONS = ("salt", "nas1", "s1")
COPIED = (
    *("salt", "pillar", "fleet"),
    *("_guard", "_modules", "_states", "_utils", "_runners", "_pillar"),
)


class Forged(dict[str, Any]):
    """A request whose id stays what it was: Salt's client would put the minion's own."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "id":
            super().__setitem__(key, value)


@dataclass(frozen=True)
class Installation:
    """A running master and its minions."""

    repository: Path
    state: Path
    master: SaltMaster
    minions: dict[str, SaltMinion]

    def salt(self, minion: str, *arguments: str, **keywords: Any) -> Any:
        """Run `salt MINION …`: the finished process, with `.data`."""
        return self.master.salt_cli(timeout=120).run(*arguments, minion_tgt=minion, **keywords)

    def run(self, *arguments: str, **keywords: Any) -> Any:
        """Run `salt-run …`."""
        return self.master.salt_run_cli(timeout=120).run(*arguments, **keywords)

    def ask(self, minion: str, load: dict[str, Any], private: str = "") -> Any:
        """Return the master's answer to a minion's request, sent with that minion's key.

        `private`: what the answer is called, where it is for the key of that minion alone.
        """
        config = self.minions[minion].config
        opts = salt.config.minion_config(config["conf_file"])
        opts["master_uri"] = f"tcp://{config['master']}:{config['master_port']}"
        with salt.channel.client.ReqChannel.factory(opts) as channel:
            ask = channel.crypted_transfer_decode_dictentry if private else channel.send
            options = {"dictkey": private} if private else {}
            try:
                return ask(Forged(load), tries=1, timeout=5, **options)
            except salt.exceptions.SaltException as error:
                return str(error)

    def call(self, minion: str, *arguments: str, **keywords: Any) -> Any:
        """Run `salt-call …` on a minion."""
        return self.minions[minion].salt_call_cli(timeout=120).run(*arguments, **keywords)


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A directory with a short name: the path of a unix socket has at most 107 characters."""
    path = Path(tempfile.mkdtemp(prefix="salina-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def salt_factories_config(place: Path) -> dict[str, Any]:
    """Tell salt-factories to put everything there."""
    return {"root_dir": str(place / "f"), "slow_stop": False}


@pytest.fixture(scope="session")
def installation(
    place: Path, repository: Path, salt_factories: FactoriesManager
) -> Iterator[Installation]:
    """The master with three minions, their secrets made, nothing applied."""
    master = salt_factories.salt_master_daemon("salt_master")  # as Salt itself calls host salt's
    site, state = place / "site", place / "state"
    lay_out(repository, master, site, state)
    minions = {}
    for name in MINIONS:
        minions[name] = master.salt_minion_daemon(name, overrides={"grains": {"salina_test": True}})
        plant_key(Path(master.config["pki_dir"]), Path(minions[name].config["pki_dir"]), name)
    with master.started():
        running: Any = master
        assert running.config["auto_accept"] is False
        yield from _with_minions(Installation(site, state, master, minions))


def lay_out(repository: Path, master: SaltMaster, site: Path, state: Path) -> None:
    """Give a master that has not started the repository's copy and the files of master.d.

    The applications' commits are recorded, because their repositories are elsewhere.
    """
    for name in COPIED:
        shutil.copytree(
            repository / name,
            site / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    drop_ins = Path(master.config["conf_file"]).parent / "master.d"
    drop_ins.mkdir()
    for file in sorted((repository / "master.d").glob("*.conf")):
        text = file.read_text().replace("/srv/salina", str(site))
        (drop_ins / file.name).write_text(text.replace("/var/lib/salina", str(state)))
    fleets.record(state)


def _with_minions(installation: Installation) -> Iterator[Installation]:
    made = installation.run("secrets.create")
    assert made.returncode == 0, made
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda minion: minion.start(), installation.minions.values()))
        yield installation
        list(pool.map(lambda minion: minion.terminate(), installation.minions.values()))


def plant_key(master_pki: Path, minion_pki: Path, name: str) -> None:
    """Make a minion's key and put it on both sides, as a provisioner does for a planned host."""
    minion_pki.mkdir(parents=True, exist_ok=True)
    private, public = salt.crypt.gen_keys(2048)
    (minion_pki / "minion.pem").write_text(private)
    (minion_pki / "minion.pem").chmod(0o400)
    (minion_pki / "minion.pub").write_text(public)
    accepted = master_pki / "minions"
    accepted.mkdir(parents=True, exist_ok=True)
    (accepted / name).write_text(public)
