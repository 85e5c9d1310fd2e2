"""A minion without a process: Salt's own renderer and state compiler, given a pillar."""

from __future__ import annotations

import atexit
import copy
import logging
import shutil
import sys
import tempfile
from collections import ChainMap
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import salt._logging
import salt.config
import salt.fileclient
import salt.loader
import salt.state
import salt.utils.templates

from tests import fleets
from tests.fleets import REPOSITORY
from tests.render import caches

GRAINS = {
    "os": "Debian",
    "os_family": "Debian",
    "osrelease": "12",
    "oscodename": "bookworm",
    "kernel": "Linux",
    "osfinger": "Debian-12",
    "osarch": "amd64",
    "num_cpus": 2,
    "mem_total": 4096,
    "saltversioninfo": [3008, 3],
}

# Salt keeps early log lines for a handler that a test never sets up, and prints them at the end.
salt._logging.shutdown_temp_handler()
# pytest would format each of a hundred thousand lines of the compiler.
logging.getLogger("salt").setLevel(logging.WARNING)
caches.use()
CONFIG = dict(salt.config.minion_config(None))

# All minions have received the same from the master, so they share what Salt keeps of it.
RECEIVED = Path(tempfile.mkdtemp(prefix="salina-received-"))
atexit.register(shutil.rmtree, RECEIVED)
EXTENSIONS = RECEIVED / "extmods"
EXTENSIONS.mkdir()
for _kind in ("modules", "states", "utils"):
    (EXTENSIONS / _kind).symlink_to(REPOSITORY / f"_{_kind}")


class Minion:
    """Renders the repository's SLS for one pillar, and the files that they would write."""

    def __init__(self, minion: str, pillar: Mapping[str, Any]) -> None:
        cache = RECEIVED / pillar["host"]["tree"]
        self.opts = copy.deepcopy(CONFIG) | {
            "id": minion,
            "root_dir": str(RECEIVED),
            "cachedir": str(cache),
            "extension_modules": str(EXTENSIONS),
            "pki_dir": str(RECEIVED / "pki"),
            "file_client": "local",
            "__fs_update": True,  # no file changes meanwhile
            "file_roots": {"base": [str(REPOSITORY / "salt")]},
            "pillar_roots": {"base": []},
            "grains": GRAINS | {"id": minion, "osfinger": pillar["host"]["platform"]["finger"]},
            "pillar": dict(pillar),
            "test": True,
        }
        # The Python is in place already: without the record common.python would fetch it.
        cache.mkdir(exist_ok=True)
        (cache / "salina-tree").write_text(pillar["host"]["tree"])
        self.client = salt.fileclient.get_file_client(self.opts)

    @cached_property
    def highstate(self) -> salt.state.HighState:
        """The compiler of the highstate; its modules also render the files."""
        return self.fresh()

    def fresh(self) -> salt.state.HighState:
        """Return a compiler of states, which can be used once."""
        pillar = dict(self.opts["pillar"])
        return salt.state.HighState(self.opts, initial_pillar=pillar, file_client=self.client)

    @cached_property
    def chunks(self) -> list[dict[str, Any]]:
        """The compiled highstate."""
        return list(caches.once(self.opts, "highstate", self._chunks))

    def _chunks(self) -> list[dict[str, Any]]:
        top = self.highstate.top_matches(self.highstate.get_top())
        return self.compiled(self.highstate, top)

    def apply(self, sls: str) -> list[dict[str, Any]]:
        """The states of one SLS and what it includes."""

        def compute() -> list[dict[str, Any]]:
            return self.compiled(self.fresh(), {"base": [sls]})

        return list(caches.once(self.opts, ["apply", sls], compute))

    def compiled(self, high: Any, matches: dict[str, list[str]]) -> list[dict[str, Any]]:
        """The states of some SLS; AssertionError when an SLS or a requisite is wrong.

        `matches`: environment -> the names of its SLS.
        """
        kept = {
            name: held
            for name, held in sys.modules.items()
            if name.split(".")[0] in ("salina", "salina_fleet")
        }
        found, errors = high.render_highstate(matches)
        sys.modules.update(kept)  # common.python makes a minion forget them; other tests go on
        assert not errors, "\n".join(errors)
        state = high.state
        found, errors = state.reconcile_extend(found)
        errors += state.verify_high(found)
        assert not errors, "\n".join(errors)
        found, errors = state.requisite_in(found)
        assert not errors, "\n".join(errors)
        chunks, errors = state.compile_high_data(found)
        assert not errors, "\n".join(map(str, errors))
        return list(chunks)

    @cached_property
    def files(self) -> list[tuple[str, str]]:
        """The path on the host, and the content, of every file that `file.managed` writes."""
        return list(caches.once(self.opts, "files", self._files))

    def _files(self) -> list[tuple[str, str]]:
        return [
            (chunk["name"], self.render(chunk))
            for chunk in self.chunks
            if (chunk["state"], chunk["fun"]) == ("file", "managed")
        ]

    def render(self, chunk: Mapping[str, Any]) -> str:
        """One file's content, with the context that its state gives a template."""
        if "contents_pillar" in chunk:
            found: Any = self.opts["pillar"]
            for key in chunk["contents_pillar"].split(":"):
                found = found[int(key) if key.isdigit() else key]
            return str(found)
        if "source" not in chunk:
            return str(chunk["contents"])
        source = REPOSITORY / "salt" / chunk["source"].removeprefix("salt://")
        if "template" not in chunk:
            return source.read_text()
        done = salt.utils.templates.TEMPLATE_REGISTRY[chunk["template"]](
            str(source),
            to_str=True,
            context=dict(chunk.get("defaults") or {}) | dict(chunk.get("context") or {}),
            opts=self.opts,
            grains=self.opts["grains"],
            pillar=self.opts["pillar"],
            salt=ChainMap(fleets.cards(self.opts["pillar"]), self.highstate.state.functions),
            saltenv="base",
            sls="",
        )
        assert done["result"], f"{source}: {done['data']}"
        return str(done["data"])
