"""Packages come from the machine's own Debian mirrors, whatever else its APT knows."""

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.mirror import debian

KEYS = f"[signed-by={debian.KEYS}]"
TARGETS = """\
Debian|bookworm|http://mirror/debian/|bookworm|main
Debian|bookworm|http://mirror/debian/|bookworm|contrib
Debian|bookworm-updates|http://mirror/debian/|bookworm-updates|main
Debian|bookworm-security|http://mirror/security/|bookworm-security|main
Debian|bookworm|http://mirror/debian/|bookworm|main
Debian|trixie|http://mirror/debian/|trixie|main
Example|bookworm|https://example.invalid/apt|bookworm|main
"""


def test_only_debian_main_of_the_release_is_used() -> None:
    assert debian.select(TARGETS, "bookworm") == [
        f"deb {KEYS} http://mirror/debian/ bookworm main",
        f"deb {KEYS} http://mirror/debian/ bookworm-updates main",
        f"deb {KEYS} http://mirror/security/ bookworm-security main",
    ]


def test_another_release_is_taken_from_the_same_mirror() -> None:
    lines = debian.select(TARGETS, "bookworm")
    line = debian.other_suite(lines, "bookworm", "bullseye")
    assert line == f"deb {KEYS} http://mirror/debian/ bullseye main"


def test_a_release_that_the_machine_has_no_source_for(monkeypatch) -> None:
    """It comes from the mirrors of the machine's own release, with its updates."""
    monkeypatch.setattr(debian, "run", lambda argv: type("Done", (), {"stdout": TARGETS}))
    assert debian.source_lines("forky", "bookworm") == [
        f"deb {KEYS} http://mirror/debian/ forky main",
        f"deb {KEYS} http://mirror/debian/ forky-updates main",
        f"deb {KEYS} http://mirror/security/ forky-security main",
    ]
    own = "Debian|forky|http://own/debian/|forky|main\n"
    monkeypatch.setattr(debian, "run", lambda argv: type("Done", (), {"stdout": TARGETS + own}))
    assert debian.source_lines("forky", "bookworm") == [f"deb {KEYS} http://own/debian/ forky main"]


def test_machine_without_debian_sources_is_told(monkeypatch) -> None:
    asked = []

    def run(argv):
        asked.append(argv[1])
        return type("Done", (), {"stdout": "Example|noble|http://example.invalid|noble|main\n"})

    monkeypatch.setattr(debian, "run", run)
    with pytest.raises(LabError, match="no source for Debian bookworm, component main"):
        debian.source_lines("bookworm")
    assert asked == ["indextargets", "-qq", "indextargets"]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('Acquire::http::Proxy "http://127.0.0.1:3142";', True),
        ('Acquire::http::Proxy::mirror "DIRECT";', True),
        ('Acquire::https::CaInfo "/etc/ssl/own.pem";', True),
        ('Acquire::Check-Valid-Until "false";', True),
        ('Acquire::IndexTargets "";', False),
        ('APT::Install-Recommends "1";', False),
    ],
)
def test_only_options_for_reaching_the_mirrors_are_kept(line: str, kept: bool) -> None:
    assert bool(debian.KEPT.match(line)) is kept


def test_output_of_print_uris() -> None:
    text = "'http://mirror/pool/ufw_0.36.2-1_all.deb' ufw_0.36.2-1_all.deb 167940 SHA256:ab\n"
    assert debian.parse_uris(text) == [
        debian.Package(
            "http://mirror/pool/ufw_0.36.2-1_all.deb", "ufw_0.36.2-1_all.deb", 167940, "SHA256:ab"
        )
    ]


def test_fetch_downloads_what_is_missing_or_cut_short(tmp_path: Path, monkeypatch) -> None:
    packages = [
        debian.Package(f"http://mirror/{name}", name, 4, f"SHA256:{name}")
        for name in ("whole.deb", "cut.deb", "new.deb")
    ]
    (tmp_path / "whole.deb").write_text("1234")
    (tmp_path / "cut.deb").write_text("12")
    (tmp_path / "stale.deb").write_text("")
    calls: list[list[object]] = []
    monkeypatch.setattr(debian, "run", calls.append)
    debian.fetch(packages, tmp_path)
    (argv,) = calls
    assert [part for part in argv if str(part).startswith("http")] == [
        "http://mirror/cut.deb",
        "http://mirror/new.deb",
    ]
    assert not (tmp_path / "stale.deb").exists()


def test_fetch_runs_nothing_when_all_is_there(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(debian, "run", lambda argv: pytest.fail("ran"))
    debian.fetch([], tmp_path)
