"""The site: the files that the external pillar and the runners read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from salina_fleet import secrets
from salina_fleet import site as sites
from salina_fleet.errors import RunnerError
from salina_fleet.model import members
from salina_fleet.pillar import UnknownMinion
from salina_fleet.site import SiteError, read
from tests import fleets, pypi
from tests.loading import load


class Places(NamedTuple):
    """A repository and a state directory."""

    root: Path
    state: Path


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A repository of its own, with nothing but data and Python, and an empty state directory."""
    root = tmp_path / "root"
    for name in ("pillar", "salt/locks", "_utils"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(fleets.REPOSITORY / name, root / name, ignore=ignore)
    (tmp_path / "state").mkdir()
    return Places(root, tmp_path / "state")


@pytest.fixture
def site(places: Places) -> Any:
    """The same with its secrets, and what the master reads there."""
    found = read(places.root, places.state)
    secrets.create(found.store, ["crm"], 3650)
    fleets.record(found.state)
    return found


def test_site_follows_its_files(site: Any) -> None:
    """A changed file is seen at once; without a change nothing is read again."""
    again = read(site.root, site.state)
    assert again is site
    members.save(site.members_file, {"app": ["s5"]}, site.fleet.topology)
    changed = read(site.root, site.state)
    assert changed.pillar("s5")["host"]["pool"] == "app"
    with pytest.raises(UnknownMinion):
        changed.pillar("s1")
    (site.root / "_utils" / "salina" / "new.py").write_text("x = 1\n")
    assert read(site.root, site.state).tree != site.tree


def test_k5_a_fault_is_found_once(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """K5: The pillars of a thousand minions read a broken topology once, until it changes."""
    file = site.root / "pillar/topology.yaml"
    good = file.read_text()
    file.write_text(good.replace("10.1.4.22", "10.1.4.21"))
    with pytest.raises(SiteError) as first:
        read(site.root, site.state)
    with monkeypatch.context() as patched:
        patched.delattr(sites, "_read")
        with pytest.raises(SiteError) as second:
            read(site.root, site.state)
    assert second.value.faults == first.value.faults
    assert second.value is not first.value
    file.write_text(good)
    assert read(site.root, site.state).fleet == site.fleet


@pytest.mark.parametrize("good", [True, False])
def test_k5_one_process_reads_for_all(
    site: Any, tmp_path: Path, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: Good or bad, the result is that of the files, and only while they stay the same."""
    if not good:
        (site.root / "pillar/settings/tls.yaml").write_text("lifetime: never\n")

    def result() -> object:
        """Return what a new process gets."""
        sites._known.clear()
        try:
            found = read(site.root, site.state, tmp_path)
            return found.fleet, found.definitions, found.locks, found.tree, found.pillar("lb1")
        except SiteError as error:
            return error.faults

    first = result()
    with monkeypatch.context() as patched:
        patched.delattr(sites, "_read")
        assert result() == first
    with monkeypatch.context() as patched:  # other code makes another result
        patched.setattr(sites, "_imported", {})
        patched.delattr(sites, "_read")
        with pytest.raises(NameError):
            result()
    members.save(site.members_file, {"app": ["s5"]}, site.fleet.topology)
    (site.root / "pillar/settings/tls.yaml").write_text("lifetime: 40d\n")
    after = result()
    assert isinstance(after, tuple)
    assert after[0].members == {"app": ["s5"]}


def test_a_file_that_settings_name_counts_as_well(site: Any, tmp_path: Path) -> None:
    """The CA of an ACME directory is outside of the repository."""
    file = tmp_path / "ca.pem"
    (site.root / "pillar/settings/tls.yaml").write_text(
        f"public: acme\nacme: {{directory: 'https://directory.example/', ca: {file}}}\n"
    )
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    assert any(f"{file}: No such file" in fault for fault in caught.value.faults), caught.value
    file.write_text("x")
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    assert any(f"{file} has no certificate" in fault for fault in caught.value.faults)


def away(file: Path) -> None:
    """Replace a file by a link into a file system that is not mounted."""
    file.unlink(missing_ok=True)
    file.symlink_to("/unmounted/file")


def pipe(file: Path) -> None:
    """Replace a file by a named pipe."""
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def folder(file: Path) -> None:
    """Replace a file by a folder."""
    file.unlink(missing_ok=True)
    file.mkdir()


def endless(file: Path) -> None:
    """Replace a file by a device that never ends."""
    file.unlink(missing_ok=True)
    file.symlink_to("/dev/zero")


READ = [
    "pillar/topology.yaml",
    "pillar/settings/storage.yaml",
    "pillar/app/odoo-14.0.yaml",
    "salt/locks/mine.txt",
    "salt/locks/mine.json",
    "_utils/salina/mine.py",
]
"""A file of each kind that the master reads from the repository."""


@pytest.mark.parametrize("change", [away, pipe, folder, endless])
@pytest.mark.parametrize("name", [*READ, members.FILE])
def test_k5_something_else_in_the_place_of_a_file(
    places: Places, name: str, change: Callable[[Path], None]
) -> None:
    """K5: One line each, which names the file; nobody hangs, and nothing gets its default."""
    file = places.state / members.FILE if name == members.FILE else places.root / name
    if change is folder and name.endswith(".py"):
        pytest.skip("a folder may have any name")
    change(file)
    with pytest.raises(SiteError) as caught:
        read(places.root, places.state)
    shown = str(file) if name == members.FILE else name
    [fault] = caught.value.faults
    assert fault.startswith(f"{shown}: ")
    assert "cannot be read: it is a " in fault


CLOSED = [
    *(("file", name) for name in READ[:3]),
    ("state", "state"),
    ("folder", "pillar/settings"),
    ("folder", "pillar/app"),
    ("folder", "_utils/salina/common"),
    ("names", "pillar/settings"),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
@pytest.mark.parametrize(("kind", "name"), CLOSED)
def test_k5_a_master_that_is_not_root(places: Places, kind: str, name: str) -> None:
    """K5: It names what it may not read, in one line, and never takes the defaults instead."""
    place = places.state if kind == "state" else places.root / name
    for one in (places.state.parent, *places.state.parent.parents):
        if one.is_relative_to("/tmp/") and one != Path("/tmp"):
            one.chmod(0o755)
    place.chmod(0o744 if kind == "names" else 0)
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        try:
            os.setuid(65534)
            read(places.root, places.state)
        except SiteError as error:
            os.write(theirs, "\n".join(error.faults).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    place.chmod(0o755)
    with os.fdopen(ours) as answer:
        [fault] = answer.read().splitlines()
    shown = f"{places.state / members.FILE}: " if kind == "state" else f"{name}: "
    assert fault.startswith(shown)
    assert "has no permission to " in fault
    assert fault.endswith("; change the owner or the mode")


def test_k5_data_files_with_another_suffix(places: Places) -> None:
    """K5: A topology, a definition or settings that nobody would read."""
    for name in ("pillar/topology.yaml", "pillar/app/odoo-14.0.yaml"):
        (places.root / name).with_suffix(".yml").write_text("x")
    (places.root / "pillar/settings/.#app.yaml").symlink_to("root@salt.4711:1")
    with pytest.raises(SiteError) as caught:
        read(places.root, places.state)
    there = "a data file's name must end with .yaml; move its content to"
    assert caught.value.faults == (
        "pillar/settings/.#app.yaml: app.yaml has changes in an editor that are not saved; save "
        "them, or delete this file",
        f"pillar/topology.yml: {there} topology.yaml",
        f"pillar/app/odoo-14.0.yml: {there} odoo-14.0.yaml",
    )


def test_a_port_that_the_fleet_itself_has(site: Any) -> None:
    """On loopback of an app host: pgbouncer and the way to the database are there already."""
    file = site.root / "pillar/app/odoo-14.0.yaml"
    file.write_text(file.read_text().replace("port: 8069", "port: 6432").replace("8072", "5433"))
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    assert caught.value.faults == (
        "pillar/app/odoo-14.0.yaml: port: 6432 is used by pgbouncer "
        "(pillar/settings/database_route.yaml: pool_port) on s1; choose another port",
        "pillar/app/odoo-14.0.yaml: live.port: 5433 is used by the database route "
        "(pillar/settings/database_route.yaml: listen) on s1; choose another port",
    )


def listed(folder: Path, suffix: str) -> str:
    """Return the names of a folder's files in order, without the locks of build tools."""
    names = sorted(file.name for file in folder.glob(f"*{suffix}"))
    return ", ".join(name.removesuffix(suffix) for name in names if ".build" not in name)


def test_k5_a_lock_that_does_not_exist(site: Any) -> None:
    """K5: The definition has the fault before a host looks for the lock."""
    file = site.root / "pillar/app/odoo-14.0.yaml"
    file.write_text(file.read_text().replace("lock: odoo-14.0 ", "lock: nosuch "))
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    assert caught.value.faults == (
        'pillar/app/odoo-14.0.yaml: odoo.python.lock: "nosuch" is not a lock of salt/locks; choose '
        f"one of: {listed(site.root / 'salt/locks', '.txt')}",
    )


def test_k5_another_topology_is_checked_with_all_other_files(site: Any, tmp_path: Path) -> None:
    """K5: `topology.check FILE` judges the file as if it were the fleet's, and changes nothing."""
    runner = load("_runners/topology.py", opts={"salina": {"root": site.root, "state": site.state}})
    file = tmp_path / "next.yaml"
    text = (site.root / "pillar/topology.yaml").read_text()
    file.write_text(text)
    assert runner.check(str(file)) == f"{file} is good: {len(site.fleet.hosts)} hosts"
    members.save(site.members_file, {"app": ["s1", "s2", "s5"]}, site.fleet.topology)
    file.write_text(text.replace("maximum: 10", "maximum: 4").replace("odoo-14.0 ", "odoo-15.0 "))
    (site.root / "pillar/settings/autoscale.yaml").write_text("{enabled: true, maximum: 5}\n")
    with pytest.raises(RunnerError) as caught:
        runner.check(str(file))
    assert str(caught.value).splitlines() == [
        f"{file}: 3 faults",
        f'  {site.members_file}: app[2]: "s5" is not valid; must be s{{n}} with n from 1 to 4',
        f'  {file}: applications.crm.definition: "odoo-15.0" is not a file of pillar/app; choose '
        f"one of: {listed(site.root / 'pillar/app', '.yaml')}",
        "  pillar/settings/autoscale.yaml: maximum: 5 is not valid; must be a number from 1 to 4",
    ]
    file.write_text(text.replace("roles: [master]", "roles: [mster]"))
    with pytest.raises(
        RunnerError, match=rf"{file}: hosts.salt.roles\[0\]: \"mster\" is not a role"
    ):
        runner.check(str(file))
    assert read(site.root, site.state).fleet.topology == site.fleet.topology


def test_x10_a_lock_without_hashes(site: Any) -> None:
    """X10, K5: It is refused before any host changes, with the command that writes a good one."""
    folder = site.root / "salt/locks"
    (folder / "mine.txt").write_text("--only-binary :all:\nsix==1.17.0\ndocopt==0.6.2\n")
    (folder / "mine.json").write_text('{"dependencies": {"pg": {"version": "6.4.2"}}}')
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    assert caught.value.faults == (
        "salt/locks/mine.txt: six==1.17.0 and 1 more have no hash; `make lock` writes a lock "
        "with hashes",
        "salt/locks/mine.json: pg has no integrity; `npm install --package-lock-only` writes a "
        "lock with hashes",
    )
    (folder / "mine.txt").write_text(pypi.lock({"six": "0" * 64}))
    (folder / "mine.json").unlink()
    assert read(site.root, site.state).fleet == site.fleet


def test_site_tells_all_faults(site: Any) -> None:
    """K5: The errors of settings, topology, members and application come together."""
    (site.root / "pillar/settings/tls.yaml").write_text("lifetime: never\n")
    site.members_file.write_text("[]")
    file = site.root / "pillar/topology.yaml"
    file.write_text(file.read_text().replace("odoo-14.0 ", "odoo-99 "))
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    there = ", ".join(sorted(path.stem for path in (site.root / "pillar/app").glob("*.yaml")))
    assert caught.value.faults == (
        'pillar/settings/tls.yaml: lifetime: "never" is not valid; must be a duration such as '
        "90d, 12h or 30m",
        f"{site.members_file}: an empty list is not valid; must be a mapping of pools",
        'pillar/topology.yaml: applications.crm.definition: "odoo-99" is not a file of '
        f"pillar/app; choose one of: {there}",
    )
    assert str(caught.value).startswith("salina: 3 faults\n  pillar/settings/tls.yaml: lifetime")
    assert str(caught.value).endswith("\nnext: salt-run topology.check")
    file.write_text(file.read_text().replace("10.1.4.22", "10.1.4.21"))
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    assert caught.value.faults[-1] == (
        "pillar/topology.yaml: hosts.nas2.addresses.data: 10.1.4.21 is already used by nas1; "
        "choose another address in 10.1.4.0/24"
    )


def test_k5_a_copy_is_of_the_same_kind_as_its_original(site: Any) -> None:
    """O1, K5: The error names both definitions. A definition with faults of its own has no kind."""
    file = site.root / "pillar/topology.yaml"
    text = (fleets.OTHERS["staging"]).read_text()
    node = text.replace("odoo-14.0, volume: staging", "sample-crm, volume: staging")
    file.write_text(node)
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    assert caught.value.faults == (
        "pillar/topology.yaml: applications.crm_staging.definition: sample-crm has kind node, and "
        "odoo-14.0 of crm has odoo; a copy needs the same kind",
    )
    (site.root / "pillar/app/sample-crm.yaml").write_text("kind: node\n")
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    assert not [fault for fault in caught.value.faults if "the same kind" in fault]
    file.write_text(text.replace("odoo-14.0, volume: staging", "odoo-19.0, volume: staging"))
    assert [one.name for one in read(site.root, site.state).fleet.topology.copies] == [
        "crm_staging"
    ]


def test_settings_that_do_not_fit_the_other_files(site: Any) -> None:
    """K5: A setting is judged beside the other files only if no setting has a fault of its own."""
    file = site.root / "pillar/settings/firewall.yaml"
    file.write_text("rules: [{network: web, ports: 1, host: s99}]\n")
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    (fault,) = caught.value.faults
    assert fault.startswith(
        'pillar/settings/firewall.yaml: rules[0].host: "s99" is not a host; choose one of: salt, '
    )
    (site.root / "pillar/settings/tls.yaml").write_text("lifetime: never\n")
    with pytest.raises(SiteError) as caught:
        read(site.root, site.state)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "pillar/settings/tls.yaml"
    ]
