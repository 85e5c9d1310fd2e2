"""The deployment's outcome: truthful failures with host, state and cause; progress from events."""

import io
import json
from typing import Any

import pytest

from lab.commands import deploy
from lab.errors import LabError


def step(result: bool, hosts: dict[str, Any] | None = None, comment: str = "") -> dict[str, Any]:
    changes = {"out": "highstate", "ret": hosts} if hosts is not None else {}
    return {"result": result, "comment": comment, "changes": changes}


def returned(**steps: dict[str, Any]) -> dict[str, Any]:
    tagged = {f"salt_|-{name}_|-{name}_|-state": one for name, one in steps.items()}
    return {"data": {"salt_master": tagged}, "retcode": 1}


GOOD = {"file_|-a_|-/a_|-managed": {"result": True, "comment": "", "__id__": "a"}}
BAD = {
    "pkg_|-b_|-b_|-installed": {"result": False, "comment": "no package", "__id__": "b"},
    "cmd_|-c_|-c_|-run": {"result": False, "comment": "One or more requisite failed: x.b"},
}


def test_judge_raises_with_host_state_cause_and_next_command() -> None:
    noise = "No minions matched the target. No command was sent, no jid was assigned.\n"
    printed = noise + json.dumps(returned(storage=step(False, {"nas2": BAD})))
    with pytest.raises(LabError) as caught:
        deploy.judge(1, printed, "")
    assert str(caught.value) == ("the deployment failed:\nnas2: b (pkg.installed)\n  no package")
    assert caught.value.advice.startswith("bin/lab salt nas2 state.apply ")


def test_judge_believes_the_exit_code() -> None:
    deploy.judge(0, json.dumps(returned(app=step(True, {"s1": GOOD}))), "")
    for printed in ("", "Traceback", json.dumps(returned(app=step(True, {"s1": GOOD})))):
        with pytest.raises(LabError, match="master is away") as caught:
            deploy.judge(1, printed, "master is away")
        assert caught.value.advice.startswith("bin/lab salt-run state.orchestrate orch.deploy ")


def test_progress_follows_jobs() -> None:
    progress = deploy.Progress({"nas1": "storage quorum"})
    new = {"fun": "state.sls", "arg": [{"mods": "gluster"}], "minions": ["nas1", "nas2"]}
    assert progress.line("salt/job/1/new", new, 10) is None
    assert progress.pending() == "nas1 nas2"
    line = progress.line("salt/job/1/ret/nas1", {"retcode": 0, "return": GOOD}, 14)
    assert line and "✓" in line and "4 s" in line
    assert "nas1     storage quorum   gluster: 0 of 1 states changed" in line
    line = progress.line("salt/job/1/ret/nas2", {"retcode": 2}, 15)
    assert line and "✗" in line
    assert progress.pending() == ""


@pytest.mark.parametrize("tag", ["salt/job/2/ret/nas1", "salt/auth", "salt/job/2/new"])
def test_progress_ignores_other_events(tag: str) -> None:
    assert deploy.Progress({}).line(tag, {"fun": "test.ping", "minions": ["a"]}, 0) is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ""),
        (["tls,gluster"], "tls,gluster: "),
        ([{"mods": ["a", "b"]}], "a,b: "),
        ([{"test": True}], ""),
    ],
)
def test_what_a_job_applies(arguments: list[Any], expected: str) -> None:
    assert deploy.what({"arg": arguments}) == expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (GOOD, "0 of 1 states changed"),
        ({"a": {"changes": {"new": 1}, "result": True}} | BAD, "1 of 3 states changed, 2 failed"),
        (["Rendering failed"], "could not begin"),
    ],
)
def test_outcome_of_a_run(states: object, expected: str) -> None:
    assert deploy.outcome(states) == expected


def test_events_are_read_and_noise_is_not() -> None:
    stream = io.StringIO('salt/auth\t{"id": "s1"}\nnoise\nsalt/x\tnot json\n')
    assert list(deploy.events(stream)) == [("salt/auth", {"id": "s1"})]
