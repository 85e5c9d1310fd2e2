"""Compare small files on the Gluster volume with the same files on an app host's own disk.

The script works like a file store: it writes a file under its hash (with a temporary name, and then
renames it), looks it up, reads it, lists its folder, and removes it. It runs on an app host, in
both places in turn.
"""

import json
from collections.abc import Iterator
from statistics import median

from bench.result import Result
from lab.machines import inventory
from lab.machines.containers import attach
from lab.process import run
from salina_fleet.roles.storage import StorageSettings
from tests import fleets

ROUNDS = 5
LOCAL = "/var/tmp"
SCRIPT = '''
import hashlib, json, os, random, shutil, sys, tempfile, time

SIZES = [1 << power for power in range(9, 18)]  # 512 bytes to 128 KiB
COUNT = 180


def mix(place):
    """Return the seconds that each kind of operation took for COUNT files."""
    random.seed(1)
    contents = [random.randbytes(SIZES[number % len(SIZES)]) for number in range(COUNT)]
    names = [hashlib.sha1(content).hexdigest() for content in contents]
    paths = [os.path.join(place, name[:1], name) for name in names]
    took = {}

    def timed(kind, action):
        start = time.perf_counter()
        for number in range(COUNT):
            action(number)
        took[kind] = time.perf_counter() - start

    def write(number):
        path = paths[number]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "wb") as stream:
            stream.write(contents[number])
        os.rename(path + ".new", path)

    def read(number):
        with open(paths[number], "rb") as stream:
            assert stream.read() == contents[number]

    timed("write", write)
    timed("stat", lambda number: os.stat(paths[number]))
    timed("read", read)
    timed("list", lambda number: os.listdir(os.path.dirname(paths[number])))
    timed("remove", lambda number: os.remove(paths[number]))
    return took


found = {place: [] for place in sys.argv[2:]}
for turn in range(int(sys.argv[1])):
    for place in sys.argv[2:][:: -1 if turn % 2 else 1]:
        folder = tempfile.mkdtemp(prefix="salina-bench-", dir=place)
        try:
            found[place].append(mix(folder))
        finally:
            shutil.rmtree(folder)
print(json.dumps({"count": COUNT, "found": found}))
'''


def measure() -> Iterator[Result]:
    """Measure each kind of operation, and all of them together, if the fleet has storage."""
    wanted = inventory.current_plan()
    if not any("storage" in machine.roles for machine in wanted.machines):
        return
    host = next(machine for machine in wanted.machines if "app" in machine.roles)
    volume = fleets.settings()[StorageSettings].mount
    command = attach(host, ["python3", "-", str(ROUNDS), volume, LOCAL])
    answer = json.loads(run(command, text=SCRIPT).stdout)
    for kind in (*answer["found"][volume][0], "all"):
        shared, own = (
            median(
                sum(took.values()) if kind == "all" else took[kind]
                for took in answer["found"][place]
            )
            / answer["count"]
            * 1000
            for place in (volume, LOCAL)
        )
        yield Result(
            f"small files, {kind}: Gluster / local disk",
            shared / own,
            "ratio",
            detail=f"{shared:.2f} ms / {own:.3f} ms a file",
        )
