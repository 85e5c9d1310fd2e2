"""The digest of the Python that minions load."""

from __future__ import annotations

from pathlib import Path

from salina.common import tree


def write(root: Path, name: str, content: str = "") -> None:
    """Write a file below a directory."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


def test_same_on_both_sides(tmp_path: Path) -> None:
    """A repository and a minion that synchronised it have the same digest."""
    for kind in tree.KINDS:
        write(tmp_path / "master", f"_{kind}/a.py", kind)
        write(tmp_path / "minion", f"{kind}/a.py", kind)
    write(tmp_path / "minion", "utils/__pycache__/a.cpython-311.pyc")
    write(tmp_path / "minion", "grains/b.py")
    expected = tree.of_repository(tmp_path / "master")
    assert tree.of_minion(tmp_path / "minion") == expected


def test_every_difference_counts(tmp_path: Path) -> None:
    """Content, name, kind and presence of a file."""
    digests = {tree.of_minion(tmp_path)}
    for name, content in (("utils/a.py", "1"), ("utils/a.py", "2"), ("modules/a.py", "2")):
        write(tmp_path, name, content)
        digests.add(tree.of_minion(tmp_path))
    (tmp_path / "utils/a.py").rename(tmp_path / "utils/b.py")
    digests.add(tree.of_minion(tmp_path))
    assert len(digests) == 5


def test_nothing(tmp_path: Path) -> None:
    """A bare minion has a digest, too, and it is not that of any repository."""
    assert tree.of_minion(tmp_path) != tree.of_repository(Path.cwd())
