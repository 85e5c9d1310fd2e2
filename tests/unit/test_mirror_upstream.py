"""Odoo's repository in the lab has the layout of the public one, and no links to elsewhere."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.mirror import upstream


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A file system as Debian's packages leave it, with each kind of link."""
    root = tmp_path / "unpacked"
    odoo = root / "usr/lib/python3/dist-packages/odoo"
    files = {
        "__init__.py": "",
        "cli/__init__.py": "",
        "addons/__init__.py": "",
        "addons/base/__manifest__.py": "{}",
        "addons/base/i18n/es.po": "es",
        "addons/base/i18n/zh_CN.po": "zh",
        "addons/base/i18n/base.pot": "template",
        "addons/test_lint/__manifest__.py": "{}",
        "addons/crm/__manifest__.py": "{}",
        "addons/l10n_es/i18n_extra/fr.po": "fr",
        "addons/l10n_es/i18n_extra/ru.po": "ru",
    }
    for name, text in files.items():
        path = odoo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    scripts = root / "usr/share/javascript/jquery"
    scripts.mkdir(parents=True)
    (scripts / "jquery-3.js").write_text("jquery")
    (scripts / "jquery.js").symlink_to("jquery-3.js")
    (root / "usr/share/fonts").symlink_to("/usr/share/real")
    (root / "usr/share/real/roboto").mkdir(parents=True)
    (root / "usr/share/real/roboto/a.ttf").write_text("font")
    static = odoo / "addons/crm/static"
    static.mkdir()
    up = "../" * 7
    (static / "jquery.js").symlink_to(f"{up}share/javascript/jquery/jquery.js")
    (static / "fonts").symlink_to("/usr/share/fonts/roboto")
    return root


def test_checkout_looks_like_the_public_repository(unpacked: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    upstream.checkout(unpacked, tree)
    assert sorted(path.name for path in tree.iterdir()) == ["addons", "odoo", "odoo-bin"]
    assert sorted(path.name for path in (tree / "addons").iterdir()) == ["crm", "l10n_es"]
    framework = sorted(path.name for path in (tree / "odoo/addons").iterdir())
    assert framework == ["__init__.py", "base", "test_lint"]
    assert (tree / "odoo-bin").stat().st_mode & 0o111


def test_links_become_the_files_they_stand_for(unpacked: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    upstream.checkout(unpacked, tree)
    static = tree / "addons/crm/static"
    assert (static / "jquery.js").read_text() == "jquery"
    assert (static / "fonts/a.ttf").read_text() == "font"
    assert not [path for path in tree.rglob("*") if path.is_symlink()]


def test_few_translations_stay(unpacked: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    upstream.checkout(unpacked, tree)
    assert sorted(path.name for path in tree.rglob("*.po*")) == ["base.pot", "es.po", "fr.po"]


def test_link_to_nothing_is_named(unpacked: Path, tmp_path: Path) -> None:
    shutil.rmtree(unpacked / "usr/share/javascript")
    with pytest.raises(LabError, match=r"odoo/addons/crm/static/jquery\.js$"):
        upstream.checkout(unpacked, tmp_path / "tree")


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(LabError, match="circle"):
        upstream.resolve(tmp_path / "a", tmp_path)


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_same_tree_gives_the_same_commit(tmp_path: Path) -> None:
    commits = set()
    for number in ("1", "2"):
        tree, target = tmp_path / f"tree{number}", tmp_path / f"bare{number}"
        tree.mkdir()
        target.mkdir()
        (tree / "odoo-bin").write_text("#!/bin/sh\n")
        (tree / ".gitignore").write_text("*\n")  # and yet all is committed
        upstream.commit(tree, target, "14.0", "Odoo")
        command = ["git", f"--git-dir={target}", "rev-parse", "HEAD", "14.0"]
        commits |= set(subprocess.check_output(command, text=True).split())
        listed = subprocess.check_output(
            ["git", f"--git-dir={target}", "ls-tree", "--name-only", "14.0"], text=True
        )
        assert listed.split() == [".gitignore", "odoo-bin"]
    assert len(commits) == 1
