"""Results that are the same for each of a hundred minions in one process, computed once.

Salt has one process for each minion, so it compiles each template once, lists the folders of
modules once for each of its loaders, and looks for changed files. Many states of two minions are
the same YAML, and many tests look at the same minion.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
import salt.utils.yamlloader
from salt.fileserver import Fileserver
from salt.loader.lazy import LazyLoader

COMPILE = jinja2.Environment.compile
LIST = LazyLoader._refresh_file_mapping
HASH = Fileserver.file_hash
PARSE = salt.utils.yamlloader.load
codes: dict[tuple[Any, ...], Any] = {}
listings: dict[tuple[Any, ...], dict[str, Any]] = {}
hashes: dict[str, Any] = {}
documents: dict[str, bytes] = {}
results: dict[str, bytes] = {}


def compile_once(self: jinja2.Environment, source: Any, *arguments: Any, **options: Any) -> Any:
    """Compile a template whose text and options are new."""
    # The code depends on the environment: a sandbox calls functions in another way.
    kind = (type(self), *self.extensions, self.trim_blocks, self.lstrip_blocks)
    key = (source, arguments, *options.items(), *kind)
    if key not in codes:
        codes[key] = COMPILE(self, source, *arguments, **options)
    return codes[key]


def list_once(self: LazyLoader) -> None:
    """List the modules in folders that no loader has listed before."""
    folders, key = self.module_dirs, (*self.module_dirs, None, *sorted(self.disabled))
    self.module_dirs = [] if key in listings else folders
    LIST(self)
    self.module_dirs = folders
    self.file_mapping |= listings.setdefault(key, dict(self.file_mapping))


def hash_once(self: Fileserver, load: dict[str, Any]) -> Any:
    """Return the hash of a file that the file server offers; no test changes such a file."""
    path = load["path"]
    if path not in hashes:
        hashes[path] = HASH(self, load)
    return hashes[path]


def parse_once(stream: str, Loader: Any = None) -> Any:
    """Parse YAML that is new, and return data that its caller may change."""
    if stream not in documents:
        options = {"Loader": Loader} if Loader else {}
        documents[stream] = pickle.dumps(PARSE(stream, **options))
    return pickle.loads(documents[stream])


def once(opts: Mapping[str, Any], about: Any, compute: Callable[[], Any]) -> Any:
    """Return what was computed for an equal minion, or compute it; the caller may change it.

    Args:
        opts: the minion's options.
        about: the name of the result among those of one minion, as plain data.
        compute: returns the result.
    """
    given = {key: opts[key] for key in ("id", "grains", "pillar", "file_roots")}
    key = json.dumps([given, about], sort_keys=True)
    if key not in results:
        results[key] = pickle.dumps(compute())
    return pickle.loads(results[key])


def forget() -> None:
    """Forget what was computed for minions, which may be many, or which somebody measures."""
    documents.clear()
    results.clear()


def use() -> None:
    """Have all minions of this process use the caches."""
    jinja2.Environment.compile = compile_once  # type: ignore[assignment, method-assign]
    LazyLoader._refresh_file_mapping = list_once
    Fileserver.file_hash = hash_once
    salt.utils.yamlloader.load = parse_once
