"""The steps of a change: what they are, and that salt/orch/change.jinja can do them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import jinja2
import pytest
import yaml

from salina_fleet.change.step import apply, run
from tests.conftest import REPOSITORY


def test_a_step_may_call_a_function_of_a_runner() -> None:
    """O9: Its name is for people, and its arguments are those of the function."""
    assert run("a backup is made", "backup.make", kind="full", hosts=["s1"]) == {
        "name": "a backup is made",
        "runner": "backup.make",
        "arguments": {"kind": "full", "hosts": ["s1"]},
    }


def test_a_function_without_arguments_has_none() -> None:
    """The template goes through them, so there must be a mapping."""
    assert run("a backup is made", "backup.make")["arguments"] == {}


def test_an_argument_cannot_have_the_name_of_the_step() -> None:
    """O9: Salt's state `salt.runner` would take it for its own."""
    with pytest.raises(TypeError):
        run("a copy gets its name", "backup.rename", **{"name": "crm_copy"})


@pytest.mark.parametrize("hosts", [["s1", "s2"], ("s1", "s2"), dict.fromkeys(("s1", "s2"))])
def test_a_step_may_apply_all_states_of_hosts(hosts: list[str]) -> None:
    """O9: The hosts are a list, whatever they were, because the step becomes JSON."""
    found = apply("the application starts", hosts)
    assert found == {"name": "the application starts", "hosts": ["s1", "s2"]}
    assert found["hosts"] is not hosts


def test_a_step_may_apply_some_states() -> None:
    """O9: Without a name of states the step has no such key, and the template applies all."""
    assert apply("they get their packages", ["s1"], "prepare") == {
        "name": "they get their packages",
        "hosts": ["s1"],
        "sls": "prepare",
    }
    assert "sls" not in apply("they get their packages", ["s1"], "")


def rendered(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the states that salt/orch/change.jinja makes of these steps."""
    source = (REPOSITORY / "salt/orch/change.jinja").read_text()
    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    environment.filters["json"] = json.dumps
    runner = {"saltutil.runner": lambda *_, **__: None}
    text = environment.from_string(source).render(
        change={"what": "restore", "steps": steps}, salt=runner, opts={"test": False}
    )
    return dict(yaml.safe_load(text))


def test_o9_a_step_apart_neither_waits_for_the_others_nor_stops_them() -> None:
    """O9, K5: A damaged second repository says nothing about the first one, nor the reverse."""
    steps = [run(name, "backup.drill") for name in ("first", "second", "third")]
    states = rendered([steps[0], {**steps[1], "apart": True}, steps[2]])
    waits = {step["name"]: str(states[step["name"]]).count("require") for step in steps}
    assert waits == {"first": 0, "second": 0, "third": 1}
    assert {"require": [{"salt": "first"}]} in states["third"]["salt.runner"]


@pytest.mark.parametrize("steps", [[], [run("first", "backup.drill")]])
def test_k5_a_change_without_steps_says_why(steps: list[dict[str, Any]]) -> None:
    """O8, K5: Otherwise an operator would read that every step succeeded."""
    shown = rendered(steps)["every step succeeded"]["orchestration.succeeded"]
    assert ({"idle": "restore"} in shown) is not bool(steps)


def test_k5_a_name_with_a_colon_is_still_one_name() -> None:
    """O9, K5: A restore of several applications has the application's name before each step."""
    steps = [
        run("crm: the application stops", "backup.stop", hosts=["s1"]),
        apply("crm: the application starts", ["s1"]),
        run("#1: 'each' \"serves\"", "fleet.probe", hosts=["s1"]),
    ]
    states = rendered(steps)
    assert list(states)[:3] == [step["name"] for step in steps]
    for former, step in itertools.pairwise(steps):
        (function,) = states[step["name"]].values()
        assert {"require": [{"salt": former["name"]}]} in function
