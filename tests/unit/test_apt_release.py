"""Another Debian release at the mirror that a host uses, in either form of sources."""

from __future__ import annotations

from typing import Any

import pytest

from salina.common import apt
from tests.loading import Managed, failure, load, never, refusing

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb-src http://sources.example/debian bookworm main
deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://third.example/repo stable main
deb http://mirror.example/debian bookworm main contrib  # the mirror
"""
LAB = "deb [trusted=yes] file:/srv/mirror/apt bookworm main\n"
DEB822 = """\
# the cloud's
Types: deb deb-src
URIs: http://mirror.example/debian http://other.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
EMBEDDED = """\
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
"""
BULLSEYE = "Suites: bullseye\nComponents: main\n"


@pytest.mark.parametrize(
    ("name", "text", "stanza"),
    [
        ("a.list", ONE_LINE, f"Types: deb\nURIs: http://mirror.example/debian\n{BULLSEYE}"),
        ("a.list", LAB, f"Types: deb\nURIs: file:/srv/mirror/apt\n{BULLSEYE}Trusted: yes\n"),
        (
            "a.sources",
            DEB822,
            "Types: deb\nURIs: http://mirror.example/debian http://other.example/debian\n"
            f"{BULLSEYE}Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
        ),
        (
            "a.sources",
            EMBEDDED,
            EMBEDDED.replace("bookworm", "bullseye"),
        ),
    ],
    ids=["one line", "the lab's", "deb822", "embedded key"],
)
def test_stanza(name: str, text: str, stanza: str) -> None:
    assert apt.of_release({name: text}, "bookworm", "bullseye") == stanza


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a.list.disabled": LAB},
        {"a.sources": DEB822.replace("Types: deb deb-src", "Types: deb-src")},
        {"a.sources": DEB822.replace("Types: deb deb-src", "Types: deb\nEnabled: no")},
        {"a.list": LAB.replace("bookworm", "trixie")},
        {"a.list": LAB.replace("main", "contrib")},
    ],
)
def test_no_source(files: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match=r"no source for bookworm \(this host's release\), component main"
    ):
        apt.of_release(files, "bookworm", "bullseye")


# The state

DIFF = {"diff": "New file"}
FILES = ["/etc/apt/preferences.d/bullseye.pref", "/etc/apt/sources.list.d/bullseye.sources"]


def released(managed: Managed, refresh: Any, test: bool = False) -> dict[str, Any]:
    """Return what the state returns. `refresh`: what stands for `pkg.refresh_db`."""
    salt = {"apt.source": lambda release: f"Suites: {release}", "pkg.refresh_db": refresh}
    module = load(
        "_states/apt.py", salt=salt, states={"file.managed": managed}, opts={"test": test}
    )
    ret: dict[str, Any] = module.release("bullseye")
    return ret


@pytest.mark.parametrize(
    ("test", "changes", "result", "refreshed"),
    [(False, {}, True, 0), (True, {}, True, 0), (False, DIFF, True, 1), (True, DIFF, None, 0)],
)
def test_another_release(
    test: bool, changes: dict[str, Any], result: bool | None, refreshed: int
) -> None:
    """The state fetches APT's lists again only when its files have changed."""
    managed, refreshes = Managed(changes), list[dict[str, Any]]()
    ret = released(managed, lambda **options: refreshes.append(options), test)
    assert (ret["result"], refreshes) == (result, [{"failhard": True}] * refreshed)
    assert ret["changes"] == ({path: DIFF for path in FILES} if changes else {})
    assert managed.given[FILES[1]]["contents"] == "Suites: bullseye"


def test_another_release_that_failed() -> None:
    ret = released(Managed({}, result=False), never)
    assert (ret["name"], failure(ret)) == ("bullseye", "No space left")
    said = "Error getting repos: http://mirror"
    assert failure(released(Managed(DIFF), refusing(said))) == said
