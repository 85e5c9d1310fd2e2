"""Build the git repositories from which the lab's hosts fetch applications.

Odoo comes from Debian's package of Odoo 14, in the layout of the public repository: odoo-bin,
odoo/, addons/. The sample Node application is a directory of Salina's own repository. Author and
dates are fixed, so that the same files give the same commit.
"""

import shutil
from pathlib import Path

from lab.errors import LabError
from lab.mirror.cache import remove
from lab.process import run

# Odoo's package, and the packages that its symbolic links point into.
PACKAGES = (
    *("odoo-14", "libjs-jquery", "libjs-jquery-ui", "libjs-underscore", "fonts-font-awesome"),
    *("fonts-glyphicons-halflings", "fonts-inconsolata", "fonts-roboto-unhinted"),
)
BRANCH = "14.0"
TAG = "14.0-debian"
LANGUAGES = ("de", "es", "fr", "pt")  # all 80 translations would take 480 MB

# Addons that the public repository keeps in odoo/addons instead of addons.
FRAMEWORK = ("base",)

ODOO_BIN = """\
#!/usr/bin/env python3

# set server timezone in UTC before time module imported
__import__('os').environ['TZ'] = 'UTC'
import odoo

if __name__ == "__main__":
    odoo.cli.main()
"""
WHO_AND_WHEN = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in {
        "NAME": "Salina lab",
        "EMAIL": "lab@salina.invalid",
        "DATE": "2021-01-01T00:00:00+0000",
    }.items()
}


def directory(target: Path, source: Path) -> None:
    """Create a bare repository from a directory, on the branch main.

    Args:
        target: An existing empty directory for the repository.
        source: The directory to commit.
    """
    commit(source, target, "main", f"{source.name} as it is in Salina's repository")


def odoo(target: Path, packages: list[Path]) -> None:
    """Create a bare repository from Debian's packages.

    Args:
        target: An existing empty directory for the repository.
        packages: The files of PACKAGES.
    """
    unpacked, tree = target / "unpacked", target / "tree"
    for package in packages:
        run(["dpkg-deb", "--extract", package, unpacked])
    checkout(unpacked, tree)
    commit(tree, target, BRANCH, "Odoo 14 as in Debian's package odoo-14")
    run(["git", f"--git-dir={target}", "tag", TAG])
    remove(unpacked)
    remove(tree)


def checkout(unpacked: Path, tree: Path) -> None:
    """Arrange the unpacked packages like a checkout of the public repository.

    Args:
        unpacked: The directory with the unpacked packages, which this function changes.
        tree: The checkout to create.
    """
    origin = unpacked / "usr/lib/python3/dist-packages/odoo"
    drop_languages(origin)
    materialise(origin, unpacked)
    tree.mkdir()
    origin.rename(tree / "odoo")
    framework = tree / "odoo/addons"
    addons = tree / "addons"
    addons.mkdir()
    for addon in sorted(framework.iterdir()):
        if addon.is_dir() and not is_framework(addon.name):
            addon.rename(addons / addon.name)
    program = tree / "odoo-bin"
    program.write_text(ODOO_BIN)
    program.chmod(0o755)


def is_framework(addon: str) -> bool:
    """Return whether an addon belongs in odoo/addons instead of addons."""
    return addon in FRAMEWORK or addon.startswith(("test_", "__"))


def drop_languages(tree: Path) -> None:
    """Remove all translations except LANGUAGES."""
    for file in tree.rglob("i18n*/*.po"):
        if file.stem not in LANGUAGES:
            file.unlink()


def materialise(tree: Path, root: Path) -> None:
    """Replace the symbolic links of a tree by copies of their targets.

    Args:
        tree: The tree.
        root: The root of the file system for which the links are made.

    Raises:
        LabError: Some links have no target. The message names them.
    """
    links = [path for path in tree.rglob("*") if path.is_symlink()]
    targets = {link: resolve(link, root) for link in links}
    lost = [str(link.relative_to(root)) for link, target in targets.items() if not target.exists()]
    if lost:
        raise LabError(
            f"Debian's Odoo has links without a target: {', '.join(lost)}",
            "in lab/mirror/upstream.py, add to PACKAGES the packages that contain these targets",
        )
    for link, target in targets.items():
        link.unlink()
        if target.is_dir():
            shutil.copytree(target, link)
        else:
            shutil.copy(target, link)


def resolve(path: Path, root: Path) -> Path:
    """Follow symbolic links, including absolute ones, without leaving the root directory.

    Raises:
        LabError: The links form a circle.
    """
    for _ in range(40):
        for part in (*reversed(path.parents), path):
            if part != root and part.is_relative_to(root) and part.is_symlink():
                aim = part.readlink()
                start = root if aim.is_absolute() else part.parent
                path = normal(start / str(aim).lstrip("/")) / path.relative_to(part)
                break
        else:
            return path
    raise LabError(f"the symbolic links at {path} form a circle")


def normal(path: Path) -> Path:
    """Return the path without `..`."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


def commit(tree: Path, target: Path, branch: str, message: str) -> None:
    """Create a bare repository with a tree as its only commit.

    Args:
        tree: The directory to commit.
        target: An existing empty directory for the repository.
        branch: The name of the branch.
        message: The commit's message.
    """
    run(["git", "init", "--quiet", "--bare", f"--initial-branch={branch}", target])
    env = ["env", *(f"{name}={value}" for name, value in WHO_AND_WHEN.items())]
    settings = ["-c", "core.bare=false", "-c", "core.compression=1", "-c", "commit.gpgSign=false"]
    git = [*env, "git", f"--git-dir={target}", f"--work-tree={tree}", *settings]
    run([*git, "add", "--all", "--force", "."])
    run([*git, "commit", "--quiet", "--no-verify", "-m", message])
    run([*git, "repack", "-adq"])
