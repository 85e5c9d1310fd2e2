"""States of the database tier against a cluster that is only pretended."""

from __future__ import annotations

import re
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from tests.loading import failure, load

Answers = dict[str, Any]


class Pretended:
    """Salt's functions with prepared answers; a list is given one by one, the last for ever."""

    def __init__(self, answers: Answers) -> None:
        self.answers = {
            "daemon.outdated": [],
            "daemon.replaced": [],
            "service.show": Sequence({"InvocationID": "1"}, {"InvocationID": "2"}),
            "service.status": True,
            "service.enabled": True,
            "service.start": True,
            "service.enable": True,
            "service.restart": True,
            "service.reload": True,
            "turn.take": "it has its turn",
            "turn.needed": True,
            "turn.renew": None,
            "patroni.pending": [],
            "patroni.replaced": [],
            "patroni.lowered": [],
            "patroni.read_at_start": {},
            "patroni.incomplete": "",
            "patroni.drift": {},
        } | answers
        self.calls: list[tuple[Any, ...]] = []

    def __getitem__(self, name: str) -> Any:
        def function(*arguments: Any, **_: Any) -> Any:
            self.calls.append((name, *arguments))
            answer = self.answers[name]
            if isinstance(answer, Sequence):
                answer = answer.next()
            if isinstance(answer, Exception):
                raise answer
            return answer

        return function

    def called(self, *names: str) -> list[str]:
        """Which of these functions were called, in order."""
        return [call[0] for call in self.calls if call[0] in names]


class Sequence:
    """Answers one after the other; the last one stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def next(self) -> Any:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


TWO = {"members": [{"name": "bbdd1", "role": "leader"}, {"name": "bbdd2", "role": "sync_standby"}]}


def state(name: str, answers: Answers, test: bool = False) -> tuple[Any, Pretended]:
    salt = Pretended(answers)
    return load(f"_states/{name}.py", salt=salt, opts={"test": test, "id": "bbdd1"}), salt


# quorum

IN: Answers = {
    "quorum.has_data": True,
    "quorum.own_obstacle": "",
    "quorum.others_obstacle": "",
    "quorum.entered": None,
    "quorum.drift": [],
}
OUT = IN | {
    "quorum.has_data": False,
    "service.status": False,
    "service.enabled": False,
    "quorum.enter": {"state": "new"},
}
ACTIONS = ("quorum.enter", "service.enable", "service.start", "service.restart")


def test_a_member_stays_as_it_is() -> None:
    module, salt = state("quorum", IN)
    ret = module.joined("etcd", 1, [])
    assert (ret["result"], ret["changes"]) == (True, {})
    assert salt.called(*ACTIONS) == []


def test_a_bare_host_enters_starts_and_forgets_how() -> None:
    module, salt = state("quorum", OUT)
    ret = module.joined("etcd", 1, [])
    assert ret["changes"] == {"enabled": True, "joined": "new", "started": True}
    assert salt.called(*ACTIONS, "quorum.entered") == [
        "service.enable",
        "quorum.enter",
        "service.start",
        "quorum.entered",
    ]


@pytest.mark.parametrize(("answers", "result"), [(IN, True), (OUT, None)])
def test_a_prediction_changes_nothing(answers: Answers, result: bool | None) -> None:
    """K3: A prediction changes nothing."""
    module, salt = state("quorum", answers, test=True)
    assert module.joined("etcd", 1, [])["result"] is result
    assert salt.called(*ACTIONS, "quorum.entered") == []


def test_a_stopped_member_with_data_is_started_and_enters_nothing() -> None:
    module, salt = state("quorum", IN | {"service.status": False})
    assert module.joined("etcd", 1, [])["changes"] == {"started": True}
    assert salt.called("quorum.enter") == []


def test_a_member_that_runs_since_before_its_settings_is_restarted() -> None:
    answers = IN | {"daemon.outdated": ["/etc/default/etcd"]}
    assert state("quorum", answers, test=True)[0].joined("etcd", 1, [])["result"] is None
    module, salt = state("quorum", answers)
    assert module.joined("etcd", 1, [])["changes"] == {"restarted": ["/etc/default/etcd"]}
    assert salt.called("service.restart") == ["service.restart"]


OUTDATED = IN | {"daemon.outdated": ["/etc/default/etcd"]}
TURNS = ("turn.take", "quorum.others_obstacle", "service.restart")


def test_s12_a_member_that_serves_restarts_in_its_turn() -> None:
    """S12, S11: So never more than one is away, for a changed file and for an upgraded program."""
    for answers in (OUTDATED, IN | {"daemon.replaced": ["/usr/bin/etcd"]}):
        module, salt = state("quorum", answers)
        assert module.joined("etcd", 1, [], "quorum")["result"] is True
        assert salt.called(*TURNS) == list(TURNS)
        assert ("turn.take", "quorum", "etcd has to restart") in salt.calls
    predicted = state("quorum", OUTDATED, test=True)[0].joined("etcd", 1, [], "quorum")
    why = "because /etc/default/etcd changed"
    assert predicted["comment"] == f"etcd would restart, in the turn of this host, {why}"
    assert predicted["changes"].items() >= {"restart": "etcd", "turn": "quorum"}.items()
    broken = OUTDATED | {"quorum.own_obstacle": "connection refused"}
    predicted = state("quorum", broken, test=True)[0].joined("etcd", 1, [], "quorum")
    assert predicted["comment"] == f"etcd would restart, {why}"
    assert predicted["changes"] == {"restart": "etcd", "read": ["/etc/default/etcd"]}


def test_s12_a_member_does_not_restart_while_another_one_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S12, S11: The error names it; the turn is renewed meanwhile."""
    module, salt = state("quorum", OUTDATED | {"quorum.others_obstacle": "10.1.4.22: refused"})
    monkeypatch.setattr(module, "OTHERS", 0)
    assert failure(module.joined("etcd", 1, [], "quorum")) == (
        "waited 0 s for the other members of the quorum, before etcd restarts: 10.1.4.22: refused"
    )
    assert salt.called("service.restart") == [] and salt.called("turn.renew")


def test_s12_without_a_turn_a_member_does_not_restart() -> None:
    refused = CommandExecutionError("waited 900 s for the turn of this host: nas1 has the turn")
    module, salt = state("quorum", OUTDATED | {"turn.take": refused})
    assert failure(module.joined("etcd", 1, [], "quorum")) == str(refused)
    assert salt.called("service.restart") == []


@pytest.mark.parametrize("answers", [IN, OUT])
def test_s12_a_member_that_does_not_restart_needs_no_turn(answers: Answers) -> None:
    """S12: The members of a first deployment start together."""
    module, salt = state("quorum", answers)
    assert module.joined("etcd", 1, [], "quorum")["result"] is True
    assert salt.called(*TURNS) == []


def test_s12_a_member_that_does_not_serve_is_repaired_at_once() -> None:
    """S12: Its repair depends neither on a turn nor on the other members."""
    served = Sequence("connection refused", "")
    module, salt = state("quorum", OUTDATED | {"quorum.own_obstacle": served})
    assert module.joined("etcd", 1, [], "quorum")["result"] is True
    assert salt.called(*TURNS) == ["service.restart"]


def test_s12_a_member_serves_again_only_after_it_has_stopped() -> None:
    """S12: systemd restarts it in the background. Its last answers before that do not count."""
    module, _ = state("quorum", OUTDATED | {"service.show": {"InvocationID": "1"}})
    said = failure(module.joined("etcd", 0, [], "quorum"))
    assert said.endswith("(see journalctl -u etcd): it has not stopped yet")


def test_a_refusal_of_the_quorum_is_told() -> None:
    refusal = CommandExecutionError(
        "request `member/add` with {}: 10.1.4.21:2379: unhealthy cluster"
    )
    module, _ = state("quorum", OUT | {"quorum.enter": refusal})
    assert re.search(r"waited 0 s for .*unhealthy cluster", failure(module.joined("etcd", 0, [])))


def test_a_member_that_founds_just_now_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    silent = CommandExecutionError("timed out")
    module, _ = state("quorum", OUT | {"quorum.enter": Sequence(silent, {"state": "existing"})})
    assert module.joined("etcd", 5, [])["changes"]["joined"] == "existing"


def test_a_member_that_does_not_serve_is_told_with_the_reason() -> None:
    module, salt = state("quorum", IN | {"quorum.own_obstacle": "connection refused"})
    assert re.search(
        r"journalctl -u etcd.*connection refused", failure(module.joined("etcd", 0, []))
    )
    assert salt.called("quorum.entered") == []


def test_a_service_that_does_not_start_is_told() -> None:
    module, _ = state("quorum", OUT | {"service.start": CommandExecutionError("Unit not found.")})
    assert failure(module.joined("etcd", 1, [])) == "systemctl start etcd: Unit not found."


def test_a_foreign_member_is_an_error_with_instructions() -> None:
    """S11, K5: The error says how to remove a member that the topology does not list."""
    module, _ = state("quorum", IN | {"quorum.drift": ["salt nas1 quorum.remove 9"]})
    ret = module.joined("etcd", 1, [])
    assert (ret["result"], ret["comment"]) == (False, "salt nas1 quorum.remove 9")


def test_waiting_for_the_quorum() -> None:
    where = ["10.1.4.21:2379"]
    assert state("quorum", {"quorum.obstacle": ""})[0].serves("q", where, 0)["changes"] == {}
    down = {"quorum.obstacle": "refused"}
    assert state("quorum", down, test=True)[0].serves("q", where, 0)["result"] is None
    assert re.search(
        r"the quorum \(10.1.4.21:2379\): refused",
        failure(state("quorum", down)[0].serves("q", where, 0)),
    )


# patroni


@pytest.mark.parametrize(
    ("first", "answers"),
    [
        (True, {"patroni.initialise_again": False}),
        (False, {"patroni.has_data": True, "patroni.leader": None}),
        (False, {"patroni.has_data": False, "patroni.leader": "bbdd1"}),
    ],
)
def test_whose_turn_it_is(first: bool, answers: Answers) -> None:
    ret = state("patroni", answers)[0].its_turn("turn", first, 0)
    assert (ret["result"], ret["changes"]) == (True, {})


def test_the_first_host_begins_an_interrupted_founding_again() -> None:
    """S11, K2: The first host begins an interrupted founding again."""
    module, _ = state("patroni", {"patroni.initialise_again": True})
    ret = module.its_turn("turn", True, 0)
    assert (ret["result"], ret["changes"]) == (
        True,
        {"initialisation": "it was interrupted and begins again"},
    )
    unsaid = CommandExecutionError("timed out")
    assert "timed out" in failure(
        state("patroni", {"patroni.initialise_again": unsaid})[0].its_turn("turn", True, 0)
    )


def test_another_host_waits_for_the_first() -> None:
    answers = {"patroni.has_data": False, "patroni.leader": None}
    assert state("patroni", answers, test=True)[0].its_turn("turn", False, 0)["result"] is None
    assert re.search(
        "waited 0 s for a primary", failure(state("patroni", answers)[0].its_turn("turn", False, 0))
    )


WHOLE: Answers = {
    "patroni.obstacle": "",
    "patroni.half_copied": False,
    "patroni.stuck": "",
    "patroni.standby_fault": "",
}


def test_an_interrupted_copy_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """S11, K2: An interrupted copy is made again."""
    monkeypatch.setattr("salina.common.wait.time.sleep", lambda _: None)
    answers = WHOLE | {
        "patroni.obstacle": Sequence("PostgreSQL is stopped", "PostgreSQL is creating replica", ""),
        "patroni.half_copied": Sequence(True, True, False),
        "patroni.copy_again": Sequence(CommandExecutionError("no leader"), None),
    }
    module, salt = state("patroni", answers)
    ret = module.working("patroni", 5, [])
    assert (ret["result"], ret["changes"]) == (True, {"copy": "it was interrupted and is repeated"})
    assert salt.called("patroni.copy_again") == ["patroni.copy_again"] * 2


def test_a_copy_that_can_not_be_made_again_is_told_with_the_reason() -> None:
    answers = WHOLE | {
        "patroni.half_copied": True,
        "patroni.copy_again": CommandExecutionError("503 no leader"),
    }
    assert "503 no leader" in failure(state("patroni", answers)[0].working("patroni", 0, []))


def test_a_replica_that_can_never_stream_again_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """S11: It is copied once, and the wait goes on after a refusal."""
    monkeypatch.setattr("salina.common.wait.time.sleep", lambda _: None)
    gone = "the primary has deleted the WAL segment A3"
    answers = WHOLE | {
        "patroni.obstacle": Sequence("not connected", "not connected", "creating replica", ""),
        "patroni.stuck": Sequence(gone, gone, ""),
        "patroni.copy_again": Sequence(CommandExecutionError("no leader"), None),
    }
    module, salt = state("patroni", answers)
    ret = module.working("patroni", 5, [])
    assert (ret["result"], ret["changes"]) == (True, {"copy": gone})
    assert salt.called("patroni.copy_again") == ["patroni.copy_again"] * 2
    answers = WHOLE | {"patroni.obstacle": "not connected", "patroni.stuck": gone}
    predicted = state("patroni", answers, test=True)[0].working("patroni", 0, [])
    assert predicted["result"] is None
    assert predicted["comment"] == f"it would copy the primary again: {gone}"


def test_a_replica_that_does_not_stream_is_not_copied_without_proof() -> None:
    """S11, K5: The error has the command for an operator who knows better."""
    module, salt = state("patroni", WHOLE | {"patroni.obstacle": "not connected"})
    said = failure(module.working("patroni", 0, []))
    assert "salt bbdd1 patroni.copy_again" in said and said.endswith(": not connected")
    assert salt.called("patroni.copy_again") == []


def test_a_working_replica_is_not_asked_whether_it_is_stuck() -> None:
    module, salt = state("patroni", WHOLE)
    module.working("patroni", 0, [])
    assert salt.called("patroni.stuck", "patroni.copy_again") == []


def test_a_missing_synchronous_standby_is_told() -> None:
    """S11: The state succeeds, because the primary serves."""
    fault = "no standby is synchronous, so the primary alone stores new commits"
    ret = state("patroni", WHOLE | {"patroni.standby_fault": fault})[0].working("patroni", 0, [])
    assert (ret["result"], ret["changes"]) == (True, {})
    assert ret["comment"] == f"this host works in the cluster; {fault}"


def test_a_working_member_is_left_alone() -> None:
    """S11, K1: The state leaves a working member alone."""
    module, salt = state("patroni", WHOLE)
    assert module.working("patroni", 0, [])["changes"] == {}
    assert salt.called("service.restart") == []


def test_a_member_that_does_not_work_in_time_is_told_with_the_reason() -> None:
    down = WHOLE | {"patroni.obstacle": "PostgreSQL is creating replica"}
    assert state("patroni", down, test=True)[0].working("patroni", 0, [])["result"] is None
    assert re.search(
        r"journalctl -u patroni.*creating replica",
        failure(state("patroni", down)[0].working("patroni", 0, [])),
    )


def test_s12_a_wrong_parameter_does_not_keep_the_right_one_away() -> None:
    """S12: A cluster that does not work gets the settings first: they may be its repair."""
    answers = WHOLE | {
        "patroni.obstacle": Sequence("PostgreSQL is start failed", ""),
        "patroni.half_copied": False,
        "patroni.stuck": "",
        "patroni.drift": {"postgresql": {"parameters": {"shared_buffers": "128MB"}}},
        "patroni.patch": None,
        "patroni.read_at_start": {"shared_buffers": True},
        "patroni.pending": ["bbdd1", "bbdd2"],
        "patroni.cluster": TWO,
    }
    module, salt = state("patroni", answers)
    ret = module.working("patroni", 5, [])
    assert ret["changes"] == {"configuration": answers["patroni.drift"]}
    order = salt.called("patroni.obstacle", "patroni.patch", "patroni.pending")
    assert order == ["patroni.obstacle", "patroni.patch", "patroni.obstacle", "patroni.pending"]


@pytest.mark.parametrize("refused", ["patroni.drift", "patroni.patch"])
def test_s12_a_configuration_that_cannot_be_changed_yet_is_not_the_failure(refused: str) -> None:
    """S12: A new cluster has none, and without a quorum nobody changes it; the reason is told."""
    answers = WHOLE | {
        "patroni.obstacle": "PostgreSQL is starting",
        "patroni.drift": {"ttl": 20},
        "patroni.patch": None,
        refused: CommandExecutionError("502"),
    }
    told = failure(state("patroni", answers)[0].working("patroni", 0, []))
    assert told.endswith("PostgreSQL is starting")


OLD: Answers = WHOLE | {"daemon.outdated": ["/opt/patroni/salina.json"]}
TWO = {"members": [{"name": "bbdd1"}, {"name": "bbdd2"}]}


@pytest.mark.parametrize(
    ("role", "members", "handed"),
    [("replica", TWO, False), ("primary", {"members": [{}]}, False), ("primary", TWO, True)],
)
def test_a_primary_hands_over_before_its_restart(role: str, members: Answers, handed: bool) -> None:
    """S11: A primary hands over before it restarts."""
    answers = OLD | {
        "patroni.cluster": members,
        "patroni.member": {"role": role},
        "patroni.switchover": "Successfully switched over",
        "patroni.leader": "bbdd2",
    }
    module, salt = state("patroni", answers)
    changes = module.working("patroni", 1, [])["changes"]
    assert changes["restarted"] == ["/opt/patroni/salina.json"]
    assert changes.get("handed over to") == ("bbdd2" if handed else None)
    order = ["patroni.switchover", "service.restart"] if handed else ["service.restart"]
    assert salt.called("patroni.switchover", "service.restart") == order


def test_an_upgraded_postgresql_restarts_in_its_turn() -> None:
    """S11, S12: Its package restarts nothing, so the next apply does, and predicts it."""
    program = "/usr/lib/postgresql/15/bin/postgres"
    answers = OLD | {
        "daemon.outdated": [],
        "patroni.replaced": [program],
        "patroni.member": {"role": "replica"},
    }
    module, salt = state("patroni", answers)
    assert module.working("patroni", 1, [])["changes"] == {"restarted": [program]}
    assert salt.called("turn.take", "service.restart") == ["turn.take", "service.restart"]
    module, salt = state("patroni", answers, test=True)
    ret = module.working("patroni", 1, [])
    assert (ret["result"], ret["changes"]["restart"]) == (None, "patroni")


def test_a_primary_without_a_replica_to_hand_over_to_is_not_restarted() -> None:
    answers = OLD | {
        "patroni.cluster": TWO,
        "patroni.member": {"role": "primary"},
        "patroni.switchover": CommandExecutionError("POST /switchover: 412 no good candidates"),
    }
    module, salt = state("patroni", answers)
    assert re.search("412 no good candidates", failure(module.working("patroni", 0, [])))
    assert salt.called("service.restart") == []


def test_a_restart_that_failed_is_told() -> None:
    refused = CommandExecutionError("Job for patroni.service failed.")
    answers = OLD | {
        "patroni.cluster": {"members": [{}]},
        "patroni.member": {"role": "primary"},
        "service.restart": refused,
    }
    ret = state("patroni", answers)[0].working("patroni", 1, [])
    assert failure(ret) == "systemctl restart patroni: Job for patroni.service failed."


def test_a_restart_is_predicted() -> None:
    module, salt = state("patroni", OLD, test=True)
    assert module.working("patroni", 0, [])["result"] is None
    assert salt.called("service.restart", "patroni.switchover") == []


MEMBER: Answers = {"patroni.member": {"role": "primary"}, "patroni.patch": None}


def test_the_shared_configuration_is_written_only_when_it_differs() -> None:
    module, salt = state("patroni", MEMBER | {"patroni.drift": {}})
    assert module.configured("c")["changes"] == {}
    assert salt.called("patroni.patch") == []
    late = Sequence({"ttl": 20}, {"ttl": 20}, {}, {})
    module, salt = state("patroni", MEMBER | {"patroni.drift": late})
    ret = module.configured("c")
    assert (ret["result"], ret["changes"], ret["comment"]) == (
        True,
        {"ttl": 20},
        "the configuration was changed",
    )


def test_a_configuration_that_does_not_take_is_a_failure() -> None:
    module, _ = state("patroni", MEMBER | {"patroni.drift": {"ttl": 20}})
    module.ROUND = 0
    ret = module.configured("c")
    assert (ret["result"], ret["comment"]) == (False, "it still differs: {'ttl': 20}")


def test_a_refused_configuration_is_told() -> None:
    refused = CommandExecutionError("PATCH /config {'ttl': 20}: 401 no auth")
    answers = MEMBER | {"patroni.drift": {"ttl": 20}, "patroni.patch": refused}
    assert failure(state("patroni", answers)[0].configured("c")) == str(refused)


def test_a_change_of_the_configuration_is_predicted() -> None:
    answers = {"patroni.obstacle": "", "patroni.drift": {"ttl": 20}}
    module, salt = state("patroni", answers, test=True)
    ret = module.configured("c")
    assert (ret["result"], ret["changes"]) == (None, {"ttl": 20})
    assert salt.called("patroni.patch") == []
    module, _ = state("patroni", {"patroni.obstacle": "refused"}, test=True)
    assert module.configured("c")["result"] is None


def test_a_parameter_restarts_the_replica_then_the_old_primary() -> None:
    """S11: The replica first; then it takes over, which restarts the old primary."""
    pending = ["bbdd2", "bbdd1"]
    answers = MEMBER | {
        "patroni.drift": {},
        "patroni.pending": pending,
        "patroni.leader": "bbdd1",
        "patroni.cluster": TWO,
        "patroni.restart": None,
        "patroni.switchover": "done",
    }
    module, salt = state("patroni", answers)
    ret = module.configured("c")
    assert (ret["result"], ret["changes"]) == (True, {"restarted": ["bbdd2", "bbdd1"]})
    steps = [call for call in salt.calls if call[0] in ("turn.take", "patroni.restart")]
    assert steps == [
        ("turn.take", "database", "PostgreSQL restarts for a parameter"),
        ("patroni.restart", "bbdd2"),
    ]
    assert salt.called("patroni.restart", "patroni.switchover")[-1] == "patroni.switchover"


def test_a_parameter_restarts_the_members_that_notice_it_later_too() -> None:
    """S11: Each member compares its parameters in its own round."""
    drift = {"postgresql": {"parameters": {"shared_buffers": "136MB"}}}
    answers = MEMBER | {
        "patroni.drift": Sequence(drift, {}),
        "patroni.patch": None,
        "patroni.read_at_start": {"shared_buffers": True},
        "patroni.pending": Sequence(["bbdd2"], ["bbdd2", "bbdd1"]),
        "patroni.leader": "bbdd1",
        "patroni.cluster": TWO,
        "patroni.restart": None,
        "patroni.switchover": "done",
    }
    ret = state("patroni", answers)[0].configured("c")
    assert ret["changes"] == {**drift, "restarted": ["bbdd2", "bbdd1"]}


def test_another_host_may_have_restarted_them_meanwhile() -> None:
    pending = Sequence(["bbdd2"], ["bbdd2"], ["bbdd2"], [])
    answers = MEMBER | {"patroni.drift": {}, "patroni.pending": pending, "patroni.cluster": TWO}
    module, _ = state("patroni", answers)
    module.ROUND = 0
    ret = module.configured("c")
    assert (ret["result"], ret["changes"]) == (True, {})


def test_a_restart_for_a_parameter_is_predicted() -> None:
    answers = {"patroni.obstacle": "", "patroni.drift": {}, "patroni.pending": ["bbdd2"]}
    module, salt = state("patroni", answers, test=True)
    ret = module.configured("c")
    assert (ret["result"], ret["comment"]) == (
        None,
        "PostgreSQL would restart on bbdd2, one host after the other",
    )
    assert salt.called("turn.take") == []


def test_a_parameter_that_will_need_a_restart_is_predicted() -> None:
    """K3: The prediction names the restarts before the parameter is changed."""
    drift = {"postgresql": {"parameters": {"shared_buffers": "136MB"}}}
    answers = {
        "patroni.obstacle": "",
        "patroni.drift": drift,
        "patroni.read_at_start": {"shared_buffers": True},
        "patroni.cluster": TWO,
    }
    module, salt = state("patroni", answers, test=True)
    ret = module.configured("c")
    assert (ret["result"], ret["changes"]) == (
        None,
        {**drift, "restart": "PostgreSQL", "turn": "database"},
    )
    assert ret["comment"] == (
        "the configuration would be changed; "
        "PostgreSQL would restart on bbdd1, bbdd2, one host after the other"
    )
    assert salt.called("turn.take", "patroni.patch") == []


@pytest.mark.parametrize("test", [False, True])
def test_a_lower_value_is_left_to_the_operator(test: bool) -> None:
    """S11, K1: A replica never has less than its primary, so only a restart in place helps, and an
    apply restarts nothing.
    """
    answers = MEMBER | {
        "patroni.obstacle": "",
        "patroni.drift": {},
        "patroni.lowered": ["bbdd2", "bbdd1"],
    }
    module, salt = state("patroni", answers, test=test)
    ret = module.configured("c")
    assert (ret["result"], ret["changes"]) == (True, {})
    assert ret["comment"].endswith("for a moment: salt bbdd1 patroni.restart bbdd1")
    assert salt.called("turn.take", "patroni.restart") == []


# database

STEPS = [["role crm", "created"], ["database crm", "created"]]


def plan(replica: bool, steps: list[list[str]]) -> Answers:
    return {"replica": replica, "steps": steps}


def test_roles_that_are_there_stay() -> None:
    module, salt = state("database", {"database.plan": plan(False, [])})
    assert module.present("d", 0)["changes"] == {}
    assert salt.called("database.apply") == []


def test_the_primary_makes_what_is_missing() -> None:
    answers = {
        "database.plan": Sequence(plan(False, STEPS), plan(False, [])),
        "database.apply": {"role crm": "created"},
    }
    ret = state("database", answers)[0].present("d", 0)
    assert (ret["result"], ret["changes"]) == (True, {"role crm": "created"})


def test_a_replica_waits_until_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    module, salt = state("database", {"database.plan": Sequence(plan(True, STEPS), plan(True, []))})
    assert module.present("d", 5)["changes"] == {}
    assert salt.called("database.apply") == []


def test_a_replica_that_becomes_the_primary_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    answers = {
        "database.plan": Sequence(plan(True, STEPS), plan(False, STEPS), plan(False, [])),
        "database.apply": {"role crm": "created"},
    }
    assert state("database", answers)[0].present("d", 5)["changes"] == {"role crm": "created"}


def test_nothing_arrives_in_time() -> None:
    module, _ = state("database", {"database.plan": plan(True, STEPS)})
    assert re.search(r"waited 0 s .* role crm is not created", failure(module.present("d", 0)))


def test_a_database_that_restarts_meanwhile_is_waited_for() -> None:
    """S11: Another host may restart this PostgreSQL, or hand the primary over, at any moment."""
    away = CommandExecutionError("psql: error: connection to server on socket failed")
    demoted = CommandExecutionError("this host is a replica: change roles on the primary")
    answers = {
        "database.plan": Sequence(away, plan(False, STEPS), plan(False, STEPS), plan(True, [])),
        "database.apply": Sequence(demoted),
    }
    ret = state("database", answers)[0].present("d", 5)
    assert (ret["result"], ret["changes"]) == (True, {})
    assert str(away) in failure(state("database", {"database.plan": away})[0].present("d", 0))


def test_a_refusal_of_postgresql_fails_the_state() -> None:
    refused = CommandExecutionError("runuser -u postgres -- psql: ERROR:  permission denied")
    answers = {"database.plan": plan(False, STEPS), "database.apply": refused}
    assert failure(state("database", answers)[0].present("d", 0)) == str(refused)


def test_changes_of_roles_are_predicted() -> None:
    module, salt = state("database", {"database.plan": plan(False, STEPS)}, test=True)
    ret = module.present("d", 0)
    assert (ret["result"], ret["changes"]) == (None, dict(STEPS))
    module, _ = state("database", {"database.plan": CommandExecutionError("no psql")}, test=True)
    assert module.present("d", 0)["result"] is None
    assert salt.called("database.apply") == []


# daemon


def test_a_daemon_that_has_read_its_files_is_left_alone() -> None:
    module, salt = state("daemon", {})
    assert module.current("patroni", ["/f"])["changes"] == {}
    assert salt.called("service.reload") == []


def test_a_daemon_is_reloaded_after_a_change() -> None:
    changed = {"daemon.outdated": ["/f"]}
    ret = state("daemon", changed)[0].current("patroni", ["/f"])
    assert ret["changes"] == {"reload": "patroni", "read": ["/f"]}
    module, salt = state("daemon", changed, test=True)
    assert module.current("patroni", ["/f"])["result"] is None
    assert salt.called("service.reload") == []
    module, _ = state("daemon", changed | {"service.reload": CommandExecutionError("Job failed.")})
    assert failure(module.current("patroni", ["/f"])) == "systemctl reload patroni: Job failed."


def test_a_daemon_that_reads_at_its_start_only_is_restarted() -> None:
    module, salt = state("daemon", {"daemon.outdated": ["/f"]})
    ret = module.current("etcd", ["/f"], restart=True)
    changes = {"restart": "etcd", "read": ["/f"]}
    assert (ret["changes"], ret["comment"]) == (changes, "etcd was restarted")
    assert salt.called("service.reload", "service.restart") == ["service.restart"]


def test_the_minion_restarts_when_the_job_has_ended() -> None:
    unread: Answers = {"daemon.outdated": ["/f"], "daemon.restart_afterwards": None}
    arguments = ("salt-minion", ["/f"], "unit")
    module, salt = state("daemon", unread)
    changes = {"restart": "salt-minion", "read": ["/f"]}
    assert module.current_afterwards(*arguments)["changes"] == changes
    assert ("daemon.restart_afterwards", "salt-minion", "unit") in salt.calls
    module, salt = state("daemon", unread, test=True)
    assert module.current_afterwards(*arguments)["result"] is None
    assert salt.called("daemon.restart_afterwards") == []
    module, salt = state("daemon", {})
    assert module.current_afterwards(*arguments)["changes"] == {}
    refused = CommandExecutionError("systemd-run --collect --unit=unit: Access denied")
    module, _ = state("daemon", unread | {"daemon.restart_afterwards": refused})
    assert failure(module.current_afterwards(*arguments)) == str(refused)


def test_a_daemon_takes_its_turn_before_it_restarts() -> None:
    """S12: Without a turn nothing restarts."""
    given: Answers = {"daemon.outdated": ["/f"], "turn.take": "it has its turn"}
    module, salt = state("daemon", given)
    assert module.current("nginx", ["/f"], turn="app")["result"] is True
    assert salt.called("turn.take", "service.reload") == ["turn.take", "service.reload"]
    refused = CommandExecutionError("s1 has the turn")
    module, salt = state("daemon", given | {"turn.take": refused})
    assert failure(module.current("nginx", ["/f"], turn="app")) == "s1 has the turn"
    assert salt.called("service.reload") == []


def test_an_upgraded_daemon_restarts_in_its_turn() -> None:
    """S12: The package restarted nothing; the next apply does."""
    given: Answers = {"daemon.replaced": ["/usr/sbin/nginx"], "turn.take": "it has its turn"}
    module, salt = state("daemon", given)
    ret = module.upgraded("nginx", turn="app")
    assert (ret["changes"], ret["comment"]) == (
        {"restart": "nginx", "replaced": ["/usr/sbin/nginx"]},
        "nginx was restarted",
    )
    assert salt.called("turn.take", "service.restart") == ["turn.take", "service.restart"]
    module, salt = state("daemon", given)
    assert module.upgraded("haproxy", reload=True)["comment"] == "haproxy was reloaded"
    assert salt.called("turn.take", "service.restart") == []
    module, salt = state("daemon", given, test=True)
    ret = module.upgraded("nginx", turn="app")
    assert ret["comment"] == (
        "nginx would restart, in the turn of this host, because /usr/sbin/nginx was replaced"
    )
    module, salt = state("daemon", {"daemon.replaced": []})
    assert module.upgraded("nginx")["changes"] == {}
