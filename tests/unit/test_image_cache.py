"""Directories of the cache: complete or absent, however the build ended."""

from pathlib import Path

import pytest

from lab.mirror import cache


def build(text: str):
    def write(root: Path) -> None:
        (root / "file").write_text(text)

    return write


def refuse(root: Path) -> None:
    raise AssertionError("built again")


def test_digest_depends_on_values_not_on_order_of_keys() -> None:
    assert cache.digest({"a": 1, "b": [2]}) == cache.digest({"b": [2], "a": 1})
    assert cache.digest({"a": 1}) != cache.digest({"a": 2})
    assert len(cache.digest()) == 12


def test_directory_is_built_once(tmp_path: Path) -> None:
    path = cache.directory(tmp_path / "image/abc", build("first"))
    assert cache.directory(path, refuse) == path
    assert (path / "file").read_text() == "first"


def test_killed_build_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "abc"

    def killed(root: Path) -> None:
        (root / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.directory(path, killed)
    assert not path.exists()
    cache.directory(path, build("whole"))
    assert [file.name for file in path.iterdir()] == ["file"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["abc"]


def test_older_siblings_go_unless_a_host_stands_on_them(tmp_path: Path, monkeypatch) -> None:
    for name in ("new", "old", "old.unfinished", "running"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(cache, "in_use", lambda path: path.name == "running")
    cache.keep_only(tmp_path / "new")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["new", "running"]


def test_directory_that_no_mount_names_is_not_in_use(tmp_path: Path) -> None:
    assert not cache.in_use(tmp_path / "rootfs")


def test_link_is_replaced_in_one_step_and_stays_relative(tmp_path: Path) -> None:
    link = tmp_path / "git/odoo.git"
    link.parent.mkdir()
    for name in ("one", "two"):
        target = tmp_path / ".store" / name
        target.mkdir(parents=True)
        cache.point(link, target)
        assert link.resolve() == target
        assert str(link.readlink()) == f"../.store/{name}"
    assert [entry.name for entry in link.parent.iterdir()] == ["odoo.git"]


def test_remove_leaves_what_a_link_points_to(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    cache.remove(link)
    cache.remove(tmp_path / "nothing")
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


def test_siblings_of_another_kind_stay(tmp_path: Path, monkeypatch) -> None:
    for name in ("bookworm-new", "bookworm-old", "trixie-old"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(cache, "in_use", lambda path: False)
    cache.keep_only(tmp_path / "bookworm-new", ["trixie-"])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bookworm-new", "trixie-old"]
