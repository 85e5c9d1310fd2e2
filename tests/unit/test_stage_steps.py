"""A copy of an application for trials: its request, its plan in words, and its steps."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from salina_fleet.change import stage
from salina_fleet.change.stage import Request
from salina_fleet.errors import RunnerError
from salina_fleet.model.topology import Application
from tests import fleets
from tests.loading import load
from tests.releases import NAME

NOW = datetime(2026, 11, 29, 15, 10, 7, tzinfo=UTC)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
ORIGINAL, COPY = fleets.topology("staging").applications.values()
OTHER = replace(COPY, name="training")
HOSTS = ["g1", "g2"]
REQUEST = Request("crm_staging", "crm", None, False, True)
NEUTRAL = "mail and jobs are off in the copy"
ROOM = {"label": "20261128-030000F", "primary": "bbdd2", "needed": 3 * 2**30, "free": 2**33}
TIME = "must be latest, or a moment such as 2026-11-29 12:00:00 (UTC) or 2026-11-29T12:00:00+01:00"


# The request


@pytest.mark.parametrize(
    ("request_", "until", "live", "confirmed"),
    [
        ({}, None, False, False),
        ({"application": "crm_staging"}, None, False, False),
        ({"confirm": "crm_staging"}, None, False, True),
        ({"live": True, "confirm": "crm_staging"}, None, True, True),
        ({"time": "2026-11-29 12:00"}, NOON, False, False),
        ({"time": "2026-11-29T13:00:00+01:00", "live": False}, NOON, False, False),
        ({"time": 20261129}, NOON.replace(hour=0), False, False),  # as Salt reads it
        ({"time": None}, None, False, False),
        ({"time": "latest"}, None, False, False),
        ({"time": "latest", "live": True}, None, True, False),
    ],
)
def test_o1_the_only_copy_needs_no_name(
    request_: dict[str, Any], until: datetime | None, live: bool, confirmed: bool
) -> None:
    """O1: It is made from the backups as of now, unless the request says otherwise."""
    assert stage.parse(request_, [COPY]) == Request("crm_staging", "crm", until, live, confirmed)


def test_o1_one_of_several_copies_is_named() -> None:
    """O1: The original comes from the topology, and not from the request."""
    assert stage.parse({"application": "training"}, [COPY, OTHER]).application == "training"
    assert stage.parse({"application": "training"}, [COPY, OTHER]).original == "crm"


@pytest.mark.parametrize(
    ("request_", "copies", "said"),
    [
        ({}, [COPY, OTHER], "application: nothing is not a copy of another application; choose "
         "one of: crm_staging, training"),
        ({"application": "crm"}, [COPY], 'application: "crm" is not a copy of another '
         "application; choose one of: crm_staging"),
        ({"application": None}, [COPY], "application: nothing is not a copy of another "
         "application; choose one of: crm_staging"),
        ({"application": ["crm_staging"]}, [COPY], "application: a list is not a copy of another "
         "application; choose one of: crm_staging"),
        ({"application": {"crm_staging": 1}}, [COPY], "application: a mapping is not a copy of "
         "another application; choose one of: crm_staging"),
        ({}, [], "application: nothing is not a copy of another application; choose one of: "
         "(none has copy_of in pillar/topology.yaml)"),
        ({"live": "yes"}, [COPY], 'live: "yes" is not valid; must be true or false'),
        ({"live": 1}, [COPY], "live: 1 is not valid; must be true or false"),
        ({"live": None}, [COPY], "live: nothing is not valid; must be true or false"),
        ({"live": "yes", "time": "2026-11-29"}, [COPY], 'live: "yes" is not valid; must be true or '
         "false"),
        ({"time": "noon"}, [COPY], f'time: "noon" is not valid; {TIME}'),
        ({"time": "2026-11-29", "live": True}, [COPY], "time: does not go together with live"),
        ({"confirm": "crm"}, [COPY], 'confirm: "crm" is not the name of the copy'),
        ({"confirm": True}, [COPY], "confirm: true is not the name of the copy"),
        ({"confirm": ""}, [COPY], 'confirm: "" is not the name of the copy'),
        ({"copy_of": "crm"}, [COPY], "copy_of: is not known; choose among application, time, live, "
         "confirm"),
    ],
)  # fmt: skip
def test_k5_a_faulty_request(
    request_: dict[str, Any], copies: list[Application], said: str
) -> None:
    """O1, K5: The error names the key, and the choices."""
    with pytest.raises(RunnerError) as caught:
        stage.parse(request_, copies)
    assert str(caught.value) == said


def test_k5_all_faults_of_a_request_at_once() -> None:
    """O1, K5: Each has a line."""
    asked = {"kept": 1, "application": "shop", "live": 0, "time": "noon", "confirm": "crm"}
    with pytest.raises(RunnerError) as caught:
        stage.parse(asked, [COPY, OTHER])
    keys = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert keys == [*asked] and len(keys) == 5


# The plan in words


def test_k5_the_plan_in_words() -> None:
    """O1, K5: An operator reads what is lost, who goes on, and the command with `confirm`."""
    assert stage.plan(REQUEST, NAME, HOSTS, NEUTRAL, ROOM).splitlines() == [
        f"crm_staging becomes a copy of crm as of now, from the backups, with release {NAME}",
        "it begins with backup 20261128-030000F; on bbdd2 3.0 GiB are needed, and 8.0 GiB are free",
        "mail and jobs are off in the copy",
        "lost: all data that crm_staging has now; files stay, and new ones come",
        "crm_staging stops on g1, g2 at the end; crm goes on",
        "next: salt-run state.orchestrate orch.stage "
        """pillar='{"application": "crm_staging", "confirm": "crm_staging"}'""",
    ]


def test_x10_the_plan_of_a_copy_that_nobody_makes_neutral() -> None:
    """O1, X10, K5: An operator reads that only the firewall protects the outside."""
    neutral, plain = (
        stage.plan(REQUEST, NAME, HOSTS, one, ROOM).splitlines() for one in (NEUTRAL, "")
    )
    assert plain[2] == (
        "its definition does not say how a copy becomes neutral: only the firewall keeps it from "
        "mail and payments, and the sessions of the original are valid in it"
    )
    assert neutral[2] == NEUTRAL
    assert [*plain[:2], *plain[3:]] == [*neutral[:2], *neutral[3:]]


def test_o1_a_copy_of_the_running_database_begins_with_no_backup() -> None:
    """O1: The host judges its room when it makes the copy, and the plan has no line about it."""
    live = stage.plan(replace(REQUEST, live=True), NAME, HOSTS, NEUTRAL, {}).splitlines()
    usual = stage.plan(REQUEST, NAME, HOSTS, NEUTRAL, ROOM).splitlines()
    assert live[1:-1] == usual[2:-1]
    assert "backup" not in "".join(live)


@pytest.mark.parametrize(
    ("request_", "source"),
    [
        (replace(REQUEST, until=NOON), "2026-11-29 12:00:00 UTC, from the backups"),
        (replace(REQUEST, live=True), "now, from its running database"),
    ],
)
def test_k5_the_command_of_a_plan_asks_for_the_same(request_: Request, source: str) -> None:
    """O1, K5: Copied into a shell, it does what the plan says."""
    said = stage.plan(request_, NAME, HOSTS, NEUTRAL, ROOM)
    assert f"a copy of crm as of {source}, with release" in said
    command = said.splitlines()[-1]
    asked = json.loads(command.partition("pillar='")[2].removesuffix("'"))
    assert stage.parse(asked, [COPY, OTHER]) == request_


# The steps

BRING = "backup.bring_files"
REQUESTS = [REQUEST, replace(REQUEST, until=NOON), replace(REQUEST, live=True)]


def given(change: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the arguments of each runner."""
    return {step["runner"]: step["arguments"] for step in change["steps"] if "runner" in step}


def order(change: dict[str, Any]) -> list[str]:
    """Return the runner of each step, or the hosts that apply their states."""
    return [step.get("runner") or ",".join(step["hosts"]) for step in change["steps"]]


@pytest.mark.parametrize("request_", REQUESTS)
def test_o1_the_steps_of_a_copy(request_: Request) -> None:
    """O1: The copy is complete, neutral and tried before its application stops.

    The former database is there until the hosts serve with the copy.
    Users' files are copied after its database: none is missing that it names.
    """
    change = stage.told(request_, NAME, HOSTS, NOW)
    newest = () if request_.until else ("backup.bring_files",)  # the database took long, perhaps
    assert order(change) == [
        *("fleet.ready", "upgrade.fetch", "stage.copy", "backup.copy_files", "backup.bring_files"),
        *newest,
        *("stage.change", "backup.stop", "stage.exchange", "upgrade.switch", "g1,g2"),
        *("fleet.probe", "stage.clean"),
    ]
    names = [step["name"] for step in change["steps"]]
    assert len({*names}) == len(names)  # Salt needs an id for each
    said = given(change)
    own = {"application": "crm_staging"}
    assert said["upgrade.fetch"] == said["stage.change"] == {**own, "release": NAME}
    assert said["stage.exchange"] == said["upgrade.switch"] == said["stage.clean"] == own
    assert said["fleet.ready"] == said["backup.stop"] == {"hosts": HOSTS}
    assert said["fleet.probe"] == {"hosts": HOSTS, "through": True}


@pytest.mark.parametrize(
    ("request_", "until", "files", "words"),
    [
        (REQUESTS[0], "", "2026-11-29T15:10:07+00:00", "2026-11-29 15:10:07 UTC"),
        (
            REQUESTS[1],
            "2026-11-29 12:00:00.000000+00",
            "2026-11-29T12:00:00+00:00",
            "2026-11-29 12:00:00 UTC",
        ),
        (REQUESTS[2], "", "2026-11-29T15:10:07+00:00", "2026-11-29 15:10:07 UTC"),
    ],
)
def test_o1_database_and_files_are_of_the_same_moment(
    request_: Request, until: str, files: str, words: str
) -> None:
    """O1, O9: The copy says of itself what it is a copy of.

    Files that are removed after the moment come, too: the database may name them.
    """
    change = stage.told(request_, NAME, HOSTS, NOW)
    said = given(change)
    assert said["stage.copy"] == {
        "application": "crm_staging",
        "original": "crm",
        "until": until,
        "live": request_.live,
        "about": f"crm_staging from crm as of {words}",
    }
    moments = [one["arguments"] for one in change["steps"] if one.get("runner") == BRING]
    own = {"application": "crm", "target": "crm_staging"}
    newest = [] if request_.until else [{**own, "until": ""}]
    assert moments == [{**own, "until": files}, *newest]
    shown = "now" if request_.until is None else words
    assert change["what"] == f"stage: crm_staging from crm as of {shown}"


@pytest.mark.parametrize("request_", REQUESTS)
def test_o1_no_step_changes_the_original(request_: Request) -> None:
    """O1: It is only read, whatever happens to the copy."""
    said = given(stage.told(request_, NAME, HOSTS, NOW))
    named = {name for name, one in said.items() if "crm" in one.values()}
    assert named == {"backup.bring_files", "stage.copy"}


@pytest.mark.parametrize("request_", REQUESTS)
def test_o1_each_step_is_a_function_of_a_runner(request_: Request) -> None:
    """O1: A wrong name of an argument would show only while a copy is made."""
    for name, arguments in given(stage.told(request_, NAME, HOSTS, NOW)).items():
        module, _, function = name.partition(".")
        found = getattr(load(f"_runners/{module}.py"), function)
        inspect.signature(found).bind(**arguments)
