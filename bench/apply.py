"""Compare an apply of the whole fleet that changes nothing with an apply of an empty SLS.

With Salt's default settings a minion synchronises all modules at each run. Ours synchronise only
after a change (salt/common/python.sls). So our whole tree has to take less time than an empty SLS
with the default settings.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median

from bench.repeat import seconds, spread
from bench.restore import restoring
from bench.result import Result
from lab.machines import inventory, minions
from lab.machines.containers import attach, each
from lab.machines.plan import Machine, Plan
from lab.process import run
from tests.lab import lab

ROUNDS = 3
STOCK_BOUND, OWN_BOUND = 0.8, 2.0
SETTINGS = "/etc/salt/minion.d/salina.conf"  # salt/common/minion.sls puts it there
ASIDE = "/etc/salt/salina.conf.bench"
# The directory that adds a highstate of one empty SLS to the repository's tree.
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
    """Let the master serve an empty highstate in addition to its own."""

    def restore() -> None:
        shell(wanted.master, NO_EMPTY)
        minions.wait_until_connected(wanted)

    with restoring(restore):
        shell(wanted.master, EMPTY)
        minions.wait_until_connected(wanted)
        yield


@contextmanager
def stock(wanted: Plan) -> Iterator[None]:
    """Let all minions run with Salt's default settings."""
    with restoring(lambda: restarted(wanted, OWN)):
        restarted(wanted, STOCK)
        yield


def restarted(wanted: Plan, script: str) -> None:
    """Run a script that restarts the minion on each host, and wait until all minions are back."""
    before = minions.connections(wanted)
    each(lambda machine: shell(machine, script), wanted.minions)
    minions.wait_until_connected(wanted, before=before)


def nothing_to_change(wanted: Plan) -> None:
    """Apply the highstate everywhere.

    Raises:
        AssertionError: A state changed something or failed.
    """
    found = lab.results(lab.salt("*", "state.apply"))
    everywhere(wanted, found)
    wrong = lab.failures(found) + lab.changes(found)
    assert not wrong, "the highstate changed something or failed: " + "\n".join(wrong[:5])


def nothing_to_do(wanted: Plan) -> None:
    """Apply the empty highstate everywhere.

    Raises:
        AssertionError: A minion did not answer, or found states.
    """
    found = lab.salt("*", "state.top", TOP)
    everywhere(wanted, found)
    comments = {str(state["comment"]) for states in found.values() for state in states.values()}
    assert comments == {"No states found for this minion"}, comments


def everywhere(wanted: Plan, found: Mapping[str, object]) -> None:
    """Raise AssertionError unless every minion answered."""
    hosts = {machine.name for machine in wanted.minions}
    assert hosts == set(found), f"these minions did not answer: {hosts - set(found)}"


def measure() -> Iterator[Result]:
    """Measure our highstate and an empty one with our settings, and an empty one with defaults."""
    wanted = inventory.current_plan()
    ours, own, plain = [], [], []
    with empty_highstate(wanted):
        nothing_to_change(wanted)  # so that files which are fetched only once are in the caches
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
