"""The sources of APT on this host, the source of another release, and dpkg's database.

An older release is requested from the mirror that the host uses anyway. So the repository names no
mirror, and an isolated fleet needs no exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: Options of a one-line source -> fields of a deb822 stanza.
FIELDS = {"signed-by": "Signed-By", "trusted": "Trusted", "arch": "Architectures"}

#: In dpkg's database, a package that is neither whole nor away: `install ok half-configured`.
HALFWAY = re.compile(
    r"^Package: (\S+)\n(?:.+\n)*?Status: (?!\S+ ok (?:installed|not-installed|config-files)$)",
    re.MULTILINE,
)

ONE_LINE = re.compile(r"deb\s+(?:\[\s*(?P<options>[^]]*?)\s*\]\s+)?(?P<rest>\S+\s+\S+.*)")


@dataclass(frozen=True)
class Entry:
    """A source of binary packages; `fields` are those beyond Types, URIs, Suites, Components."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    fields: Mapping[str, str] = field(default_factory=dict)


def of_release(files: Mapping[str, str], release: str, other: str) -> str:
    """Return the deb822 stanza of another release, on the mirror that one release comes from.

    Args:
        files: path of each file of sources -> its text; only `*.list` and `*.sources` count.
        release: code name of the host's own release, whose source is known: `bookworm`.
        other: code name of the wanted release: `bullseye`.

    Raises:
        ValueError: no file names that release's `main`.
    """
    for path, text in sorted(files.items()):
        for entry in entries(path, text):
            if release in entry.suites and "main" in entry.components:
                lines = {
                    "Types": "deb",
                    "URIs": " ".join(entry.uris),
                    "Suites": other,
                    "Components": "main",
                    **entry.fields,
                }
                stanza = "".join(f"{name}: {value}\n" for name, value in lines.items())
                return stanza.replace(": \n", ":\n")
    where = f"{', '.join(sorted(files)) or 'this host'} {'have' if len(files) > 1 else 'has'}"
    raise ValueError(f"{where} no source for {release} (this host's release), component main")


def unfinished(status: str) -> list[str]:
    """Return the packages whose installation was interrupted, by dpkg's database (`status`)."""
    return HALFWAY.findall(status)


def entries(path: str, text: str) -> Iterator[Entry]:
    """Return the sources in a file, in the form that its name says."""
    if path.endswith(".list"):
        yield from _one_line(text)
    elif path.endswith(".sources"):
        yield from _deb822(text)


def _one_line(text: str) -> Iterator[Entry]:
    """Parse lines such as `deb [signed-by=FILE] URI SUITE COMPONENT…`."""
    for line in text.splitlines():
        match = ONE_LINE.fullmatch(line.split("#")[0].strip())
        if match is None:
            continue
        uri, suite, *components = match["rest"].split()
        options = dict(option.split("=", 1) for option in (match["options"] or "").split())
        fields = {FIELDS[key]: value for key, value in options.items() if key in FIELDS}
        yield Entry((uri,), (suite,), tuple(components), fields)


def _deb822(text: str) -> Iterator[Entry]:
    """Parse stanzas of `Name: value` lines; a line that begins with a space continues a value."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = {
            name.lower(): value.rstrip()
            for name, value in re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza, re.M)
        }
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
            known = (name for name in FIELDS.values() if name.lower() in fields)
            uris, suites, components = (
                tuple(fields.get(name, "").split()) for name in ("uris", "suites", "components")
            )
            yield Entry(uris, suites, components, {name: fields[name.lower()] for name in known})
