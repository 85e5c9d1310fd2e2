"""A full disk causes one clear error, leaves nothing half done, and the next apply succeeds."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from salina.application.commits import is_full
from tests import fleets
from tests.lab import lab, tiers

pytestmark = pytest.mark.lab

HOST = "s3"
DISK = "/opt/salina-test"
"""A small file system in memory on HOST, for the time of a test."""
SIZE = 300  # MiB
SOURCE = "/var/tmp/salina-test"
"""The input of the cases: a repository and a lock."""
FULL = "No space left on device"
CHECKOUT = "checkout.update"
TREE = f"{DISK}/tree"


class Case(NamedTuple):
    """A state, or CHECKOUT; how many MiB are left at first, and what its error names."""

    call: tuple[str, ...]
    left: int
    named: str


CASES = {
    "file": Case(
        ("file.managed", f"{DISK}/file", "source=salt://locks/odoo-14.0.txt"), 0, f"{DISK}/file"
    ),
    "checkout": Case((CHECKOUT, TREE, f"file://{SOURCE}", "main"), 1, "git -C"),
    "clone": Case((CHECKOUT, TREE, SOURCE, "main"), 1, "git -C"),
    "environment": Case(
        (
            *("python_environment.installed", f"{DISK}/python", "interpreter=python3.11"),
            f"requirements={SOURCE}/lock.txt",
        ),
        16,
        f"{DISK}/python",
    ),
    "environment of the host's own interpreter": Case(
        (
            *("python_environment.installed", f"{DISK}/python", "interpreter=python3"),
            f"requirements={SOURCE}/lock.txt",
        ),
        2,
        f"{DISK}/python",
    ),
}


def single(case: Case) -> dict[str, Any]:
    """Return the state's result, or that of the function in the same form."""
    if case.call[0] == CHECKOUT:
        before = lab.salt(HOST, "checkout.status", TREE)[HOST]
        said = lab.salt(HOST, *case.call)[HOST]
        after = lab.salt(HOST, "checkout.status", TREE)[HOST]
        changes = {"old": before, "new": after} if before != after else {}
        good = is_full(said) and after == {"revision": "main", "commit": said, "changed": []}
        return {"result": good, "comment": said, "changes": changes}
    answer = lab.salt(HOST, "state.single", *case.call, "queue=True")
    [found] = lab.results(answer)[HOST].values()
    return found


@pytest.fixture
def sources() -> Iterator[None]:
    """A repository of 3 MB in SOURCE, and the locks of Patroni and of its build tools."""
    git = "git -c user.name=test -c user.email=test@example.org"
    lab.shell(
        HOST,
        f"git init --quiet --initial-branch=main {SOURCE}; cd {SOURCE}\n"
        f"head -c 3000000 /dev/urandom >file; git add file; {git} commit --quiet --message=test",
    )
    for name, copy in (("patroni", "lock"), ("patroni.build", "lock.build")):
        lock = (fleets.REPOSITORY / f"salt/locks/{name}.txt").read_text()
        lab.run(HOST, "tee", f"{SOURCE}/{copy}.txt", given=lock)
    yield
    lab.run(HOST, "rm", "-r", SOURCE)


VARIANTS = [
    pytest.param(name, marks=[] if name in ("file", "environment") else pytest.mark.proof)
    for name in CASES
]


@pytest.fixture(params=VARIANTS)
def case(request: pytest.FixtureRequest, sources: None) -> Iterator[Case]:
    """A case, with its disk."""
    found = CASES[request.param]
    lab.shell(
        HOST,
        f"mkdir {DISK}; mount -t tmpfs -o size={SIZE}m tmpfs {DISK}\n"
        f"fallocate --length {SIZE - found.left}MiB {DISK}/ballast",
    )
    yield found
    lab.shell(HOST, f"umount {DISK}; rmdir {DISK}")


def test_full_disk(case: Case) -> None:
    """S15, K2, K5: The failed state names the file, and the next apply with free space succeeds."""
    failed = single(case)
    assert failed["result"] is False
    assert FULL in failed["comment"]
    assert case.named in failed["comment"]
    assert "Traceback" not in failed["comment"]
    lab.run(HOST, "rm", f"{DISK}/ballast")
    mended = single(case)
    assert mended["result"] is True, mended["comment"]
    assert mended["changes"]
    assert single(case)["changes"] == {}


# A brick

STORAGE = "nas3"
BRICK, SMALL = "/nas", "/mnt/brick"
END = f"pkill -9 -f -- '--brick-name {BRICK} '; ! pidwait -f -- '--brick-name {BRICK} '"
START = "gluster --mode=script volume start nas force"


def copy(old: str, new: str) -> str:
    """Have a brick's files somewhere else, with all that GlusterFS noted on them."""
    return f"find {new} -mindepth 1 -delete; cp --archive --preserve=all {old}/. {new}/"


@pytest.fixture
def small_brick() -> Iterator[None]:
    """The brick of nas3 is on a small file system of its own, which has 40 MiB left."""
    tiers.whole()
    used = int(lab.run(STORAGE, "du", "--summarize", "--block-size=1M", BRICK).split()[0])
    lab.shell(
        STORAGE,
        f"mount -t tmpfs -o size={used + 40}m tmpfs /mnt; mkdir {SMALL}\n"
        f"{END}\n{copy(BRICK, SMALL)}\nmount --bind {SMALL} {BRICK}\n{START}",
    )
    tiers.whole()
    yield
    lab.shell(STORAGE, f"rm -f /mnt/ballast; {START}")
    tiers.whole()
    lab.shell(
        STORAGE,
        f"{END}\numount --lazy {BRICK}\n{copy(SMALL, BRICK)}\numount --lazy /mnt\n{START}",
    )
    tiers.whole()


@pytest.fixture
def directory() -> Iterator[str]:
    """A directory on the volume."""
    path = "/mnt/nas/salina-test-disk"
    lab.run("s1", "mkdir", path)
    yield path
    lab.run("s1", "rm", "-r", path)


@pytest.mark.proof
@pytest.mark.slow
def test_full_brick(small_brick: None, directory: str) -> None:
    """S4: The other two hosts take the writes, every check reports the full brick, and it heals
    itself.
    """
    fill = "fallocate --length $(df --output=avail --block-size=1 /mnt | tail -1) /mnt/ballast"
    lab.shell(STORAGE, fill)
    lab.shell("s1", f"head -c 1000000 /dev/urandom >{directory}/file")
    told = "the file system of /nas is full: 0 MiB"
    assert told in "; ".join(tiers.faults(STORAGE))
    assert "to heal" in "; ".join(tiers.faults("nas1"))
    status = subprocess.run([lab.LAB, "status"], capture_output=True, text=True)
    assert status.returncode == 1
    assert "brick /nas: 0 % free" in " ".join(status.stdout.split())
    applied = lab.apply(STORAGE, "gluster.server")[STORAGE]
    assert applied["gluster-brick"]["result"] is False
    assert applied["gluster-brick"]["comment"].startswith(told)
    lab.run(STORAGE, "rm", "/mnt/ballast")
    tiers.whole()
    file = f"{directory}/file"
    places = dict.fromkeys(tiers.STORAGE, file.replace("/mnt/nas", BRICK)) | {"s2": file}
    sums = {host: lab.run(host, "sha256sum", place).split()[0] for host, place in places.items()}
    assert len(set(sums.values())) == 1, sums
