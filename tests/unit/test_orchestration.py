"""The result of an orchestration, and its report: host, state, cause, next command."""

from __future__ import annotations

from typing import Any

import pytest
from salt.loader.context import LoaderContext, NamedLoaderContext
from salt.utils import immutabletypes

from salina.common import orchestration
from salina.common.orchestration import Failure, failures
from tests.loading import load

GOOD = {"file_|-a_|-/a_|-managed": {"result": True, "comment": "", "__id__": "a"}}
BAD = {
    "pkg_|-b_|-b_|-installed": {"result": False, "comment": "no package", "__id__": "b"},
    "cmd_|-c_|-c_|-run": {"result": False, "comment": "One or more requisite failed: x.b"},
}
# As Salt 3008 shows a runner, and a state, that raise.
RUNNER = """\
Exception occurred in runner fleet.ready: Traceback (most recent call last):
  File "/srv/salina/_runners/fleet.py", line 57, in ready
    raise CommandExecutionError(str(error)) from None
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
salt.exceptions.CommandExecutionError: two lines:
  no answer from nas1
"""
STATE = """\
An exception occurred in this state: Traceback (most recent call last):
  File "x.py", line 1, in x
    y()
TimeoutError: waited

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "x.py", line 2, in x
    raise CommandExecutionError(str(error)) from error
KeyError: 'fleet.nonsense'
"""


def step(
    result: bool | None = False,
    hosts: object = None,
    comment: object = "",
    name: str = "storage",
    function: str = "state",
    **changes: Any,
) -> dict[str, Any]:
    """One step of an orchestration, as Salt returns it."""
    made = {"out": "highstate", "ret": hosts} if hosts is not None else changes
    tag = f"salt_|-{name}_|-{changes.pop('runs', name)}_|-{function}"
    return {tag: {"result": result, "comment": comment, "changes": made, "__id__": name}}


@pytest.mark.parametrize("result", [True, None])
def test_what_succeeded_or_is_predicted_is_no_failure(result: bool | None) -> None:
    assert failures(step(result, {"nas1": GOOD}), "orch.deploy") == []


def test_failed_state_is_named_with_host_and_cause_and_without_its_consequences() -> None:
    """K5: The error names host, state and cause, and leaves out the consequences."""
    steps = step(hosts={"nas1": GOOD, "nas2": GOOD | BAD}) | step(
        name="app", comment="One or more requisite failed: orch.deploy.storage"
    )
    assert failures(steps, "orch.deploy") == [
        Failure("nas2", "b (pkg.installed)", "no package", "salt nas2 state.apply")
    ]


def test_consequences_count_when_nothing_else_failed() -> None:
    only = {"cmd_|-c_|-c_|-run": {"result": False, "comment": "One or more requisite failed: x"}}
    assert len(failures(step(hosts={"s1": only}), "orch.deploy")) == 1


def test_a_fault_that_two_steps_meet_is_told_once() -> None:
    steps = step(hosts={"nas2": BAD}) | step(hosts={"nas2": BAD}, name="prepared")
    assert len(failures(steps, "orch.deploy")) == 1


def test_a_failed_command_is_told_with_its_output() -> None:
    """K5: Core's cmd.run has the output in its changes."""
    ran = {"retcode": 3, "stdout": "out", "stderr": "no such unit"}
    state = {"cmd_|-x_|-x_|-run": {"result": False, "comment": 'Command "x" run', "changes": ran}}
    assert failures(step(hosts={"s1": state}), "")[0].cause == 'Command "x" run\nno such unit'


def test_host_that_could_not_render_tells_why() -> None:
    [failure] = failures(step(hosts={"s1": ["Rendering SLS failed", "here"]}), "orch.deploy")
    assert failure == Failure(
        "s1", "state.apply", "Rendering SLS failed\nhere", "salt s1 state.apply"
    )


@pytest.mark.parametrize("nothing", [False, None])
def test_host_that_did_not_return(nothing: object) -> None:
    """It went down after it was asked whether it is there."""
    [failure] = failures(step(hosts={"nas1": nothing}), "orch.deploy")
    assert failure == Failure(
        "nas1", "state.apply", "no result: it is down, or was stopped meanwhile",
        "salt-run fleet.ready",
    )  # fmt: skip


def test_runner_that_raises_tells_its_message_and_no_traceback() -> None:
    """K5: The error has the runner's message and no traceback."""
    steps = step(function="runner", name="answers", runs="fleet.ready", **{"return": RUNNER})
    assert failures(steps, "orch.deploy") == [
        Failure(
            "master", "answers (salt.runner)", "two lines:\n  no answer from nas1",
            "salt-run state.orchestrate orch.deploy",
        )
    ]  # fmt: skip


def test_state_that_raises_tells_the_last_reason() -> None:
    [failure] = failures(step(function="runner", comment=STATE), "orch.deploy")
    assert failure.cause == "KeyError: 'fleet.nonsense'"


def test_step_without_hosts_is_the_masters_failure() -> None:
    [failure] = failures(step(comment="No minions returned"), "orch.deploy")
    assert failure == Failure(
        "master", "storage (salt.state)", "No minions returned",
        "salt-run state.orchestrate orch.deploy",
    )  # fmt: skip


def test_function_that_fails_on_a_host() -> None:
    steps = step(function="function", name="balancer.drain", hosts={"lb1": "ERROR: no server s9"})
    [failure] = failures(steps, "orch.scale")
    assert failure == Failure(
        "lb1", "balancer.drain", "ERROR: no server s9", "salt lb1 balancer.drain"
    )


def test_orchestration_that_could_not_begin() -> None:
    """K5: The message itself says what to do next."""
    errors = ["Pillar failed:", "salina: 1 fault\n  x: missing\nnext: salt-run topology.check"]
    [failure] = failures(errors, "orch.deploy")
    assert failure == Failure(
        "master", "orch.deploy", "Pillar failed:\nsalina: 1 fault\n  x: missing",
        "salt-run topology.check",
    )  # fmt: skip


def test_many_failures_are_cut_short() -> None:
    text = orchestration.told([Failure(f"s{n}", "x", "y\nz", "") for n in range(13)])
    assert text.startswith("s0: x\n  y\n  z\ns1: x\n")
    assert text.endswith("s9: x\n  y\n  z\nand 3 more")


def last_word(
    steps: dict[str, Any],
    request: dict[str, Any] | None = None,
    refused: str = "",
    idle: str = "",
) -> dict[str, Any]:
    """The state that ends an orchestration, given what Salt gives it: frozen results, a mapping."""
    running = immutabletypes.freeze(steps) if steps else {}
    pillar = NamedLoaderContext("__pillar__", LoaderContext(), default=request or {})
    given = {"low": {"__sls__": "orch.deploy"}, "pillar": pillar}
    module = load("_states/orchestration.py", running=running, **given)
    ret: dict[str, Any] = module.succeeded("every step succeeded", refused, idle=idle)
    return ret


@pytest.mark.parametrize("steps", [{}, step(True, {"nas1": GOOD}), step(None)])
def test_last_word_of_a_success(steps: dict[str, Any]) -> None:
    ret = last_word(steps)
    assert (ret["result"], ret["changes"]) == (True, {})


def test_an_orchestration_without_steps_says_why() -> None:
    """O8: A new commit may need a command, although the database needs no upgrade."""
    assert last_word({}, idle="nothing to do\nnext: apply") == {
        **last_word({}),
        "comment": "nothing to do\nnext: apply",
    }


def test_the_next_command_has_the_request() -> None:
    """K5: The next command has the same pillar, so it repeats the request."""
    ret = last_word(step(comment="No minions returned"), {"pool": "app", "count": 5})
    again = """salt-run state.orchestrate orch.deploy pillar='{"pool": "app", "count": 5}'"""
    assert ret["comment"].endswith(f"next: {again}")


def test_a_refused_request_is_told_without_a_traceback() -> None:
    """Salt gives an SLS a runner's error as a text."""
    ret = last_word({}, refused=RUNNER)
    assert (ret["result"], ret["changes"]) == (False, {})
    told = "master: orch.deploy\n  two lines:\n    no answer from nas1\n"
    assert ret["comment"] == f"{told}next: salt-run state.orchestrate orch.deploy"


def test_last_word_of_a_failure() -> None:
    """K5: The last line says what to do next."""
    ret = last_word(step(hosts={"nas2": BAD}))
    assert (ret["result"], ret["changes"]) == (False, {})
    assert ret["comment"] == "nas2: b (pkg.installed)\n  no package\nnext: salt nas2 state.apply"
    tag = "orchestration_|-every step succeeded_|-every step succeeded_|-succeeded"
    assert len(failures(step(hosts={"nas2": BAD}) | {tag: ret}, "orch.deploy")) == 1
