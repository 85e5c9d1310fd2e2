"""A run of the whole fleet that changes nothing against one that has nothing to do.

With stock settings a minion synchronises all modules at each run. Ours do so only when they
changed (salt/common/python.sls), so the whole tree has to cost less than stock settings alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median

from bench.repeat import seconds, spread
from bench.result import Result
from lab.machines import hosts as fleet
from lab.machines.containers import attach
from lab.machines.plan import Machine, Plan
from lab.process import run
from tests.lab import lab

ROUNDS = 3
STOCK_BOUND, OWN_BOUND = 0.8, 2.0
SETTINGS = "/etc/salt/minion.d/salina.conf"  # salt/common/minion.sls puts it there
ASIDE = "/etc/salt/salina.conf.bench"
# A highstate of one empty SLS, served from beside the repository's own tree.
SERVED = "/srv/bench"
TOP = "bench/top.sls"
EMPTY = f"""
mkdir -p {SERVED}/bench
echo "base: {{'*': [bench.nothing]}}" >{SERVED}/{TOP}
: >{SERVED}/bench/nothing.sls
echo 'file_roots: {{base: [/srv/salina/salt, {SERVED}]}}' >/etc/salt/master.d/99-bench.conf
systemctl restart salt-master
"""
NO_EMPTY = f"rm -rf /etc/salt/master.d/99-bench.conf {SERVED}; systemctl restart salt-master"
STOCK = f"mv {SETTINGS} {ASIDE}; systemctl restart salt-minion"
OWN = f"[ ! -e {ASIDE} ] || mv {ASIDE} {SETTINGS}; systemctl restart salt-minion"


def shell(machine: Machine, script: str) -> None:
    """Run a script on a host."""
    run(attach(machine, ["sh", "-euc", script]))


@contextmanager
def empty_highstate(wanted: Plan) -> Iterator[None]:
    """Have the master serve an empty highstate besides its own."""
    try:
        shell(wanted.master, EMPTY)
        fleet.wait_for_minions(wanted)
        yield
    finally:
        shell(wanted.master, NO_EMPTY)
        fleet.wait_for_minions(wanted)


@contextmanager
def stock(wanted: Plan) -> Iterator[None]:
    """Have all minions run with Salt's own settings."""
    try:
        restarted(wanted, STOCK)
        yield
    finally:
        restarted(wanted, OWN)


def restarted(wanted: Plan, script: str) -> None:
    """Run a script that restarts the minion on each host, and wait until they are back."""
    before = fleet.connections(wanted)
    fleet.each(lambda machine: shell(machine, script), wanted.minions)
    fleet.wait_for_minions(wanted, before=before)


def nothing_to_change(wanted: Plan) -> None:
    """Apply everything everywhere; AssertionError when that changes or lacks anything."""
    found = lab.results(lab.salt("*", "state.apply"))
    everywhere(wanted, found)
    wrong = lab.failures(found) + lab.changes(found)
    assert not wrong, "the fleet is not in its condition: " + "\n".join(wrong[:5])


def nothing_to_do(wanted: Plan) -> None:
    """Apply the empty highstate everywhere."""
    found = lab.salt("*", "state.top", TOP)
    everywhere(wanted, found)
    told = {str(state["comment"]) for states in found.values() for state in states.values()}
    assert told == {"No states found for this minion"}, told


def everywhere(wanted: Plan, found: Mapping[str, object]) -> None:
    """AssertionError unless every minion answered."""
    hosts = {machine.name for machine in wanted.minions}
    assert hosts == set(found), f"no answer from {hosts - set(found)}"


def measure() -> Iterator[Result]:
    """Measure in turn: ours and nothing under our settings, then nothing under stock settings."""
    wanted = fleet.current()
    ours, own, plain = [], [], []
    with empty_highstate(wanted):
        nothing_to_change(wanted)  # what is fetched once is fetched now
        for _ in range(ROUNDS):
            ours.append(seconds(lambda: nothing_to_change(wanted)))
            own.append(seconds(lambda: nothing_to_do(wanted)))
            with stock(wanted):
                plain.append(seconds(lambda: nothing_to_do(wanted)))
    for kind, others, bound in (("stock", plain, STOCK_BOUND), ("our", own, OWN_BOUND)):
        yield Result(
            f"no-change apply of the fleet / empty highstate, {kind} minion settings",
            median(ours) / median(others),
            "ratio",
            bound,
            detail=f"{spread(ours)} / {spread(others)}, {len(wanted.minions)} minions",
        )
