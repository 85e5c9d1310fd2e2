"""The applications' upstreams in the lab, as git repositories.

Odoo is what Debian ships of Odoo 14, in the layout of the public repository: odoo-bin, odoo/,
addons/. The sample of a Node application is a directory of this one. Author and dates are fixed,
so that the same files give the same commit.
"""

import shutil
from pathlib import Path

from lab.errors import LabError
from lab.mirror.cache import remove
from lab.process import run

# The package, and those that its links point into.
PACKAGES = (
    *("odoo-14", "libjs-jquery", "libjs-jquery-ui", "libjs-underscore", "fonts-font-awesome"),
    *("fonts-glyphicons-halflings", "fonts-inconsolata", "fonts-roboto-unhinted"),
)
BRANCH = "14.0"
TAG = "14.0-debian"
LANGUAGES = ("de", "es", "fr", "pt")  # of about 80: all translations are 480 MB

# Addons that belong to the framework, as in the public repository.
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
    """Make a bare repository from a directory; its branch is main.

    :param target: an existing empty directory
    """
    commit(source, target, "main", f"{source.name} as it is in Salina's repository")


def odoo(target: Path, packages: list[Path]) -> None:
    """Make a bare repository from Debian's packages.

    :param target: an existing empty directory
    :param packages: files of PACKAGES
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
    """Arrange the unpacked packages as a checkout of the public repository."""
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
    """Tell whether an addon lies beside the framework rather than among the applications."""
    return addon in FRAMEWORK or addon.startswith(("test_", "__"))


def drop_languages(tree: Path) -> None:
    """Remove the translations except those of LANGUAGES."""
    for file in tree.rglob("i18n*/*.po"):
        if file.stem not in LANGUAGES:
            file.unlink()


def materialise(tree: Path, root: Path) -> None:
    """Replace the symbolic links of a tree by what they stand for.

    :param root: directory in which the links' targets lie, as in the file system they are for
    :raises LabError: naming the links that point nowhere
    """
    links = [path for path in tree.rglob("*") if path.is_symlink()]
    targets = {link: resolve(link, root) for link in links}
    lost = [str(link.relative_to(root)) for link, target in targets.items() if not target.exists()]
    if lost:
        raise LabError(f"Debian's Odoo links to what none of its packages has: {', '.join(lost)}")
    for link, target in targets.items():
        link.unlink()
        if target.is_dir():
            shutil.copytree(target, link)
        else:
            shutil.copy(target, link)


def resolve(path: Path, root: Path) -> Path:
    """Follow symbolic links, also absolute ones, without leaving the root directory."""
    for _ in range(40):
        for part in (*reversed(path.parents), path):
            if part != root and part.is_relative_to(root) and part.is_symlink():
                aim = part.readlink()
                start = root if aim.is_absolute() else part.parent
                path = normal(start / str(aim).lstrip("/")) / path.relative_to(part)
                break
        else:
            return path
    raise LabError(f"links in a circle: {path}")


def normal(path: Path) -> Path:
    """Return a path without `..`."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


def commit(tree: Path, target: Path, branch: str, message: str) -> None:
    """Commit a tree as the only commit of a new bare repository."""
    run(["git", "init", "--quiet", "--bare", f"--initial-branch={branch}", target])
    env = ["env", *(f"{name}={value}" for name, value in WHO_AND_WHEN.items())]
    settings = ["-c", "core.bare=false", "-c", "core.compression=1", "-c", "commit.gpgSign=false"]
    git = [*env, "git", f"--git-dir={target}", f"--work-tree={tree}", *settings]
    run([*git, "add", "--all", "--force", "."])
    run([*git, "commit", "--quiet", "--no-verify", "-m", message])
    run([*git, "repack", "-adq"])
