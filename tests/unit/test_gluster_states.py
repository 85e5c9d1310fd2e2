"""States of GlusterFS against a pool and a volume that are only pretended."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.storage.gluster import Peer, Volume
from tests.loading import failure, load

HOSTS = ["nas1", "nas2", "nas3"]
BRICKS = [f"{host}:/nas" for host in HOSTS]
OPTIONS = {"network.ping-timeout": "5"}
MAKE_VOLUME = {"replica": 3, "bricks": BRICKS, "options": OPTIONS, "wait": 5}
BUSY = "`gluster volume set`: Another transaction is in progress for nas. Please try again"


class Pretended:
    """The module `gluster` on nas1; `calls` has the requested actions.

    `refusals`: per function the messages with which the next calls of it fail.
    """

    def __init__(self) -> None:
        self.installed = True
        self.runs = True
        self.members = {"nas1": 3}
        self.seen_by_others: list[Peer] = []
        self.listening = {"nas2", "nas3"}
        self.found: dict[str, Volume] = {}
        self.brick = ""
        self.mount = {"source": "", "type": "", "options": "", "fault": ""}
        self.unconnected: list[str] = []
        self.unmountable = 0  # for how many tries
        self.content: list[str] = []
        self.calls: list[tuple[Any, ...]] = []
        self.refusals: dict[str, list[str]] = {}
        self.later: list[Callable[[], None]] = []
        self.outdated: list[str] = []
        self.replaced: list[str] = []
        self.tls = False
        self.formed = False
        self.speaking: dict[str, bool] = {}
        self.runs_already = True  # the service
        self.obstacles: list[str] = []  # before a restart and after it

    def pool(self, host: str, server: str = "localhost") -> list[Peer]:
        if server != "localhost":
            self._refuse("pool of another")
            return self.seen_by_others
        if self.later:
            self.later.pop(0)()
        self._refuse("pool")
        return [
            Peer(
                names=[name],
                uuid=f"uuid of {name}",
                state=state,
                description=str(state),
                connected=True,
            )
            for name, state in self.members.items()
        ]

    def volumes(self, server: str = "localhost") -> dict[str, Volume]:
        if self.later:
            self.later.pop(0)()
        self._refuse("volumes")
        return {
            name: Volume(**volume | {"options": dict(volume["options"])})  # type: ignore[typeddict-item]
            for name, volume in self.found.items()
        }

    def started(self, **other: Any) -> None:
        """There is the volume as wanted, but for `other`."""
        volume = {"status": "Started", "replica": 3, "bricks": BRICKS, "options": dict(OPTIONS)}
        self.found["nas"] = Volume(**volume | other)  # type: ignore[typeddict-item]

    def _refuse(self, function: str) -> None:
        if self.refusals.get(function):
            raise CommandExecutionError(self.refusals[function].pop(0))

    def _do(self, function: str, *arguments: Any) -> None:
        self._refuse(function)
        self.calls.append((function, *arguments))

    def probe(self, peer: str) -> None:
        self._do("probe", peer)
        self.members[peer] = 3

    def create(self, volume: str, replica: int, bricks: list[str]) -> None:
        self._do("create", volume, replica, bricks)
        self.found[volume] = Volume(status="Created", replica=replica, bricks=bricks, options={})

    def set_options(self, volume: str, options: dict[str, str]) -> None:
        self._do("set_options", volume, options)
        self.found[volume]["options"].update(options)

    def start(self, volume: str, force: bool = False) -> None:
        self._do("start", volume, force)
        self.found[volume]["status"] = "Started"
        self.runs = True

    def mount_it(self, path: str) -> str:
        self._do("mount", path)
        self.unmountable -= 1
        if self.unmountable < 0:
            self.mount = HERE
        return "mnt-nas.mount"

    def take_turn(self, role: str, what: str) -> None:
        self._do("take", role, what)

    def command(self, argv: list[str], **_: Any) -> dict[str, Any]:
        self._do(*argv[3:])
        return {"retcode": 0, "stdout": "", "stderr": ""}

    def restart(self, name: str, **_: Any) -> bool:
        self._do("restart", name)
        return True

    def salt(self) -> dict[str, Callable[..., Any]]:
        """As `__salt__`."""
        return {
            "gluster.installed": lambda: self.installed,
            "gluster.pool": self.pool,
            "gluster.volumes": self.volumes,
            "gluster.tls": lambda: self.tls,
            "gluster.formed": lambda: self.formed,
            "gluster.speaks_tls": lambda peer: self.speaking.get(peer),
            "gluster.secure": lambda tls: self._do("secure", tls),
            "gluster.listens": lambda peer: peer in self.listening,
            "gluster.probe": self.probe,
            "gluster.create": self.create,
            "gluster.set_options": self.set_options,
            "gluster.start": self.start,
            "gluster.brick_runs": lambda brick: self.runs,
            "gluster.brick_fault": lambda brick, volume: self.brick,
            "gluster.mounted": lambda path: self.mount,
            "gluster.mount": self.mount_it,
            "gluster.unconnected": lambda path: self.unconnected,
            "gluster.restrict": lambda path: self._do("restrict", path),
            "gluster.restart_obstacle": lambda volumes, hosts: (
                self.obstacles.pop(0) if self.obstacles else ""
            ),
            "daemon.outdated": lambda name, files, reloads: self.outdated,
            "service.status": lambda name: self.runs_already,
            "turn.needed": lambda role: True,
            "daemon.replaced": lambda name: self.replaced,
            "turn.take": self.take_turn,
            "turn.renew": lambda: self.calls.append(("renew",)),
            "service.restart": self.restart,
            "cmd.run_all": self.command,
            "file.directory_exists": lambda path: bool(self.content),
            "file.readdir": lambda path: [".", "..", *self.content],
        }


@pytest.fixture
def gluster(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    monkeypatch.setattr("salina.common.wait.time.sleep", lambda seconds: None)
    return Pretended()


def apply(gluster: Pretended, state: str, *args: Any, test: bool = False, **kwargs: Any) -> Any:
    module = load("_states/gluster.py", salt=gluster.salt(), opts={"test": test})
    return getattr(module, state)(*args, **kwargs)


def outcome(ret: dict[str, Any]) -> tuple[bool | None, dict[str, Any]]:
    return ret["result"], ret["changes"]


# The brick


def test_good_brick(gluster: Pretended) -> None:
    assert outcome(apply(gluster, "brick", "nas1:/nas", "nas")) == (True, {})


def test_bad_brick(gluster: Pretended) -> None:
    gluster.brick = "/nas holds files of its own: a"
    for test in (False, True):
        ret = apply(gluster, "brick", "nas1:/nas", "nas", test=test)
        assert outcome(ret) == (False, {})
        assert ret["comment"] == gluster.brick


# The pool

ADDED = {name: {"old": None, "new": "member"} for name in ("nas2", "nas3")}


def peers(gluster: Pretended, host: str = "nas1", wait: int = 5, test: bool = False) -> Any:
    return apply(gluster, "peers", "gluster-pool", host=host, hosts=HOSTS, wait=wait, test=test)


@pytest.mark.parametrize("test", [False, True])
def test_pool_as_wanted(gluster: Pretended, test: bool) -> None:
    """S3, K1: The state leaves a complete pool alone."""
    gluster.members = dict.fromkeys(HOSTS, 3)
    assert outcome(peers(gluster, test=test)) == (True, {})
    assert gluster.calls == []


@pytest.mark.parametrize("installed", [False, True])
def test_bare_pool_is_predicted(gluster: Pretended, installed: bool) -> None:
    """S3, K3: A bare host predicts the pool."""
    gluster.installed = installed
    assert outcome(peers(gluster, test=True)) == (None, ADDED)
    assert gluster.calls == []


def test_pool_is_not_predicted_while_glusterd_is_stopped(gluster: Pretended) -> None:
    gluster.refusals["pool"] = ["Connection failed."]
    ret = peers(gluster, test=True)
    assert outcome(ret) == (None, {})
    assert ret["comment"] == "it would be compared when GlusterFS runs: Connection failed."


def test_first_host_adds_the_others(gluster: Pretended) -> None:
    """S3: The first host adds the others to the pool."""
    assert outcome(peers(gluster)) == (True, ADDED)
    assert gluster.calls == [("probe", "nas2"), ("probe", "nas3")]


def test_other_host_waits_to_be_added(gluster: Pretended) -> None:
    def add() -> None:
        gluster.members = dict.fromkeys(HOSTS, 3)

    gluster.members = {"nas3": 3}
    gluster.later = [lambda: None] * 4 + [add]
    ret = peers(gluster, host="nas3")
    assert ret["changes"].keys() == {"nas1", "nas2"}
    assert gluster.calls == []


def test_other_host_waits_in_vain(gluster: Pretended) -> None:
    gluster.members = {"nas3": 3}
    assert failure(peers(gluster, host="nas3", wait=0)) == (
        "waited 0 s for the trusted pool: nas1 has not added nas3 (see the apply's result on nas1)"
    )


def test_silent_host_is_named(gluster: Pretended) -> None:
    gluster.listening = {"nas2"}
    assert failure(peers(gluster, wait=0)) == (
        "waited 0 s for the trusted pool: nas3 does not answer on port 24007"
    )
    assert gluster.calls == [("probe", "nas2")]


def test_another_one_that_has_just_begun_is_asked_again(gluster: Pretended) -> None:
    """Whether it knows this host as another one can't be told yet."""
    refusal = "`gluster --remote-host=nas1 pool list`: gluster gave no reason"
    gluster.refusals["pool of another"] = [refusal] * 3
    assert peers(gluster)["result"] is True
    assert gluster.refusals["pool of another"] == []


@pytest.mark.parametrize("refused", ["pool", "volumes"])
def test_a_refusal_that_passes_is_waited_for(gluster: Pretended, refused: str) -> None:
    """S15: While three bare hosts begin together, gluster refuses to answer for a moment."""
    gluster.refusals[refused] = ["`gluster pool list`: gluster gave no reason"] * 3
    assert outcome(peers(gluster)) == (True, ADDED)
    assert gluster.refusals[refused] == []


def test_a_refusal_that_does_not_pass_is_told(gluster: Pretended) -> None:
    gluster.refusals["pool"] = ["`gluster pool list`: gluster gave no reason"]
    assert failure(peers(gluster, wait=0)) == (
        "waited 0 s for the trusted pool: `gluster pool list`: gluster gave no reason"
    )


def test_refused_probe_names_command_and_answer(gluster: Pretended) -> None:
    refusal = "`gluster peer probe nas2`: nas2 is either already part of another cluster"
    gluster.refusals["probe"] = [refusal]
    assert re.search(refusal, failure(peers(gluster)))


def test_probe_is_tried_again_after_another_transaction(gluster: Pretended) -> None:
    gluster.refusals["probe"] = [BUSY, BUSY]
    assert outcome(peers(gluster)) == (True, ADDED)


@pytest.mark.parametrize("test", [False, True])
def test_rejected_peer_is_an_error(gluster: Pretended, test: bool) -> None:
    """S3, K5: A rejected peer is an error."""
    gluster.members = {"nas1": 3, "nas2": 3, "nas3": 6}
    ret = peers(gluster, test=test)
    assert outcome(ret) == (False, {})
    assert ret["comment"].startswith("nas3 is rejected by the trusted pool.")


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("host", ["nas1", "nas3"])
def test_rebuilt_host_is_told_at_once(gluster: Pretended, host: str, test: bool) -> None:
    """S4, K5: A rebuilt host gets its error at once, whichever host would have to add it."""
    gluster.members = {host: 3}
    gluster.started()
    gluster.seen_by_others = [
        Peer(names=[host], uuid="the one before", state=3, description="", connected=True)
    ]
    ret = peers(gluster, host=host, test=test)
    assert outcome(ret) == (False, {})
    assert "If it was rebuilt, with an empty brick, on nas2:" in ret["comment"]
    assert f"gluster volume add-brick nas replica 3 {host}:/nas force" in ret["comment"]
    assert gluster.calls == []


# The volume

MADE = {
    "status": {"old": "absent", "new": "Started"},
    "bricks": {"old": [], "new": BRICKS},
    "network.ping-timeout": {"old": None, "new": "5"},
}


def volume(gluster: Pretended, host: str = "nas1", test: bool = False, **other: Any) -> Any:
    return apply(gluster, "volume", "nas", host=host, test=test, **MAKE_VOLUME | other)


@pytest.mark.parametrize("test", [False, True])
def test_volume_as_wanted(gluster: Pretended, test: bool) -> None:
    """S3, K1: The state leaves a complete volume alone."""
    gluster.started()
    assert outcome(volume(gluster, test=test)) == (True, {})
    assert gluster.calls == []


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("host", HOSTS)
def test_absent_volume_is_predicted(gluster: Pretended, host: str, installed: bool) -> None:
    """S3, K3: A missing volume is predicted."""
    gluster.installed = installed
    assert outcome(volume(gluster, host, test=True)) == (None, MADE)
    assert gluster.calls == []


def test_volume_is_made_by_the_first_host(gluster: Pretended) -> None:
    """S3: The first host creates the volume."""
    gluster.runs = False
    assert outcome(volume(gluster)) == (True, MADE)
    assert gluster.calls == [
        ("create", "nas", 3, BRICKS),
        ("set_options", "nas", OPTIONS),
        ("start", "nas", False),
    ]


def test_a_refused_question_about_volumes_is_asked_again(gluster: Pretended) -> None:
    gluster.refusals["volumes"] = [BUSY] * 3
    assert outcome(volume(gluster))[0] is True
    assert gluster.refusals["volumes"] == []


def test_volume_is_awaited_by_the_others(gluster: Pretended) -> None:
    gluster.later = [lambda: None, lambda: None, gluster.started]
    assert outcome(volume(gluster, "nas2")) == (True, MADE)
    assert gluster.calls == []


def test_volume_is_awaited_in_vain(gluster: Pretended) -> None:
    assert (
        failure(volume(gluster, "nas2", wait=0))
        == "waited 0 s for volume nas: nas1 has not created it"
    )


@pytest.mark.parametrize("test", [False, True])
def test_changed_option_is_put_back(gluster: Pretended, test: bool) -> None:
    """S3: The state restores a changed option."""
    gluster.started(options={"network.ping-timeout": "42"})
    changes = {"network.ping-timeout": {"old": "42", "new": "5"}}
    assert outcome(volume(gluster, "nas3", test=test)) == (None if test else True, changes)
    assert gluster.calls == ([] if test else [("set_options", "nas", OPTIONS)])


def test_three_hosts_put_an_option_back_at_once(gluster: Pretended) -> None:
    """The lock is another host's; when it is free, that host has done it."""
    gluster.started(options={})
    gluster.refusals["set_options"] = [BUSY]
    gluster.later = [lambda: None, lambda: None, gluster.started]
    assert volume(gluster)["result"] is True
    assert gluster.calls == []


@pytest.mark.parametrize("test", [False, True])
def test_dead_brick_is_started(gluster: Pretended, test: bool) -> None:
    """S3: The state starts a dead brick."""
    gluster.started()
    gluster.runs = False
    ret = volume(gluster, test=test)
    assert ret["result"] is (None if test else True)
    assert ret["changes"] == {"brick": {"old": "its process is dead", "new": "running"}}
    assert gluster.calls == ([] if test else [("start", "nas", True)])


@pytest.mark.parametrize("test", [False, True])
def test_foreign_brick_is_refused(gluster: Pretended, test: bool) -> None:
    """S3, K5: The state refuses a brick that the topology does not list."""
    gluster.started(bricks=[*BRICKS[:2], "nas3:/other"])
    ret = volume(gluster, test=test)
    assert outcome(ret) == (False, {})
    assert "nas3:/other" in ret["comment"]
    assert gluster.calls == []


def test_refused_option_names_command_and_answer(gluster: Pretended) -> None:
    gluster.started(options={})
    refusal = "`gluster volume set nas a 1`: option : a does not exist"
    gluster.refusals["set_options"] = [refusal]
    assert re.search(refusal, failure(volume(gluster)))


# Its program and its settings

SETTINGS = "/etc/glusterfs/glusterd.vol"
RESTART = [
    ("take", "storage", "glusterd has to restart"),
    ("systemctl", "reset-failed", "glusterd"),  # Debian's unit allows six starts an hour
    ("restart", "glusterd"),
]


def current(gluster: Pretended, wait: int = 5, test: bool = False) -> Any:
    given = {"hosts": HOSTS, "files": [SETTINGS], "wait": wait, "turn": "storage"}
    return apply(gluster, "current", "glusterd", ["nas"], test=test, **given)


@pytest.mark.parametrize("test", [False, True])
def test_s12_a_current_daemon_takes_no_turn(gluster: Pretended, test: bool) -> None:
    """S12: A first deployment is not slower."""
    assert outcome(current(gluster, test=test)) == (True, {})
    assert gluster.calls == []


@pytest.mark.parametrize(
    "files", [{"outdated": [SETTINGS]}, {"replaced": ["/usr/sbin/glusterfsd"]}]
)
def test_s12_the_daemon_restarts_in_its_turn(gluster: Pretended, files: dict[str, Any]) -> None:
    """S12: In a whole tier; the state ends when the tier is whole again, and renews the turn."""
    vars(gluster).update(files)
    predicted = current(gluster, test=True)
    assert predicted["result"] is None
    assert "glusterd would restart, in the turn of this host, because /" in predicted["comment"]
    assert predicted["changes"].items() >= {"restart": "glusterd", "turn": "storage"}.items()
    assert gluster.calls == []
    gluster.obstacles = ["nas1 has no connection to nas3", "", "nas2:/nas does not run", ""]
    [old] = files.values()
    assert outcome(current(gluster)) == (True, {"restarted": old})
    assert [call for call in gluster.calls if call != ("renew",)] == RESTART
    assert gluster.calls.count(("renew",)) == 4


def test_s12_the_daemon_does_not_restart_in_a_tier_that_is_not_whole(gluster: Pretended) -> None:
    """S12: The error says what is missing."""
    gluster.outdated, gluster.obstacles = [SETTINGS], ["nas3:/nas does not run"]
    assert failure(current(gluster, wait=0)) == (
        "waited 0 s for the storage hosts and clients, before glusterd restarts: "
        "nas3:/nas does not run"
    )
    assert RESTART[-1] not in gluster.calls


def test_s12_without_a_turn_the_daemon_does_not_restart(gluster: Pretended) -> None:
    gluster.outdated, gluster.refusals = [SETTINGS], {"take": ["nas1 has the turn"]}
    assert failure(current(gluster)) == "nas1 has the turn"
    assert gluster.calls == []


# TLS

TLS = {"client.ssl": "on", "server.ssl": "on", "auth.ssl-allow": "nas1,nas2,nas3,s1"}
USES = {"tls": {"old": False, "new": True}}
MOVE = "without TLS; to move the fleet: salt-run state.orchestrate orch.storage_tls"


def secured(gluster: Pretended, host: str = "nas1", test: bool = False, **given: Any) -> Any:
    return apply(gluster, "secured", host, HOSTS, test=test, **{"wanted": True, **given})


@pytest.mark.parametrize("others", [{}, {"nas2": True}, {"nas2": True, "nas3": True}])
def test_x1_a_bare_host_uses_tls_from_its_first_start_on(
    gluster: Pretended, others: dict[str, bool]
) -> None:
    """X1, K3: The first host of a new fleet, and one that is added or rebuilt."""
    gluster.speaking, gluster.runs_already = others, False
    assert outcome(secured(gluster, test=True)) == (None, USES)
    assert gluster.calls == []
    assert outcome(secured(gluster)) == (True, USES)
    assert gluster.calls == [("secure", True)]


def test_x1_a_daemon_that_nobody_uses_starts_again_with_tls(gluster: Pretended) -> None:
    """X1, K2: An earlier apply had started it, and was killed."""
    assert outcome(secured(gluster)) == (True, USES)
    assert gluster.calls == [("secure", True), ("restart", "glusterd")]


@pytest.mark.parametrize(
    "pretended", [{"formed": True}, {"speaking": {"nas2": True, "nas3": False}}]
)
@pytest.mark.parametrize("test", [False, True])
def test_a_pool_without_tls_stays_as_it_is(
    gluster: Pretended, pretended: dict[str, Any], test: bool
) -> None:
    """K1, K5: An apply does not move it, because that interrupts its clients; it says what does."""
    vars(gluster).update(pretended)
    ret = secured(gluster, test=test)
    assert (*outcome(ret), ret["comment"]) == (True, {}, f"the pool was formed {MOVE}")
    assert gluster.calls == []


def test_a_bare_host_corrects_its_decision(gluster: Pretended) -> None:
    """K2, K3: It had begun with TLS while no other host answered, and the pool has none."""
    gluster.tls, gluster.speaking = True, {"nas2": False}
    changes = {"tls": {"old": True, "new": False}}
    assert outcome(secured(gluster, test=True)) == (None, changes)
    assert outcome(secured(gluster)) == (True, changes)
    assert gluster.calls == [("secure", False), ("restart", "glusterd")]


def test_a_bare_host_with_tls_does_not_wait(gluster: Pretended) -> None:
    """K1: Such as an app host whose volume is not mounted, while all storage hosts are down."""
    gluster.tls = True
    assert outcome(secured(gluster, "s1", wait=5)) == (True, {})
    assert gluster.calls == []


def test_an_app_host_does_as_the_storage_hosts(gluster: Pretended) -> None:
    """X1: It waits until one of them answers."""
    assert failure(secured(gluster, "s1", wait=1)) == (
        "waited 1 s for a storage host, which knows whether the pool uses TLS: "
        "none of nas1, nas2, nas3 answers on port 24007"
    )
    gluster.speaking, gluster.runs_already = {"nas3": True}, False
    assert outcome(secured(gluster, "s1", wait=1)) == (True, USES)


@pytest.mark.parametrize("test", [False, True])
def test_nothing_leads_back_from_tls(gluster: Pretended, test: bool) -> None:
    """K5: A host with TLS keeps it; the settings must agree."""
    gluster.tls = gluster.formed = True
    assert outcome(secured(gluster, test=test)) == (True, {})
    told = (
        "the pool uses TLS, and nothing leads back; set `tls: true` in pillar/settings/storage.yaml"
    )
    assert failure(secured(gluster, test=test, wanted=False)) == told
    gluster.tls = gluster.formed = False
    assert outcome(secured(gluster, test=test, wanted=False)) == (True, {})
    gluster.speaking = {"nas2": True}
    assert failure(secured(gluster, test=test, wanted=False)) == told
    assert gluster.calls == []


@pytest.mark.parametrize("tls", [False, True])
def test_x1_a_new_volume_has_tls_before_it_starts(gluster: Pretended, tls: bool) -> None:
    """X1: In a pool with TLS; in another one it must do without."""
    gluster.tls, gluster.members = tls, dict.fromkeys(HOSTS, 3)
    ret = apply(gluster, "volume", "nas", "nas1", **MAKE_VOLUME, tls=TLS)
    assert gluster.calls[1:] == [
        ("set_options", "nas", OPTIONS | (TLS if tls else {})),
        ("start", "nas", False),
    ]
    assert (MOVE in ret["comment"]) is not tls


def test_x1_a_started_volume_without_tls_does_not_get_it(gluster: Pretended) -> None:
    """K5: Half of its clients and bricks would heed it, and lose the others."""
    gluster.tls = True
    gluster.started()
    ret = apply(gluster, "volume", "nas", "nas1", **MAKE_VOLUME, tls=TLS)
    assert outcome(ret) == (True, {})
    assert ret["comment"].endswith(MOVE)
    assert gluster.calls == []


def test_x1_a_changed_name_is_put_back(gluster: Pretended) -> None:
    """X1: Of a volume with TLS, as every other option."""
    gluster.tls = True
    gluster.started(options=OPTIONS | TLS | {"auth.ssl-allow": "*"})
    changes = {"auth.ssl-allow": {"old": "*", "new": TLS["auth.ssl-allow"]}}
    assert outcome(apply(gluster, "volume", "nas", "nas2", **MAKE_VOLUME, tls=TLS)) == (
        True,
        changes,
    )


# The mount

OPEN = "rw,relatime,user_id=0"
CLOSED = f"{OPEN},nosuid,nodev,noexec"
HERE = {"source": "nas1:/nas", "type": "fuse.glusterfs", "options": CLOSED, "fault": ""}


def mounted(gluster: Pretended, wait: int = 5, test: bool = False) -> Any:
    return apply(gluster, "mounted", "/mnt/nas", "nas", servers=HOSTS, wait=wait, test=test)


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("source", ["nas1:/nas", "nas2:/nas", "nas2:nas"])
def test_mounted(gluster: Pretended, source: str, test: bool) -> None:
    """S4, K1: The state leaves a mounted volume alone."""
    gluster.mount = HERE | {"source": source}
    assert outcome(mounted(gluster, test=test)) == (True, {})
    assert gluster.calls == []


def test_x1_a_mount_without_its_restrictions_gets_them(gluster: Pretended) -> None:
    """X1, K3: At once, because nobody notices. A prediction changes nothing."""
    gluster.mount = HERE | {"options": OPEN}
    changes = {"/mnt/nas": {"old": OPEN, "new": CLOSED}}
    assert outcome(mounted(gluster, test=True)) == (None, changes)
    assert gluster.calls == []
    assert outcome(mounted(gluster)) == (True, changes)
    assert gluster.calls == [("restrict", "/mnt/nas")]


def test_mounted_without_one_of_its_bricks(gluster: Pretended) -> None:
    """As when the pool has a member that is down: said, and no difference."""
    gluster.mount, gluster.unconnected = HERE, ["nas2:/nas"]
    ret = mounted(gluster)
    assert outcome(ret) == (True, {})
    assert ret["comment"] == "nas1:/nas is mounted; not connected to nas2:/nas"


def test_not_mounted_is_mounted(gluster: Pretended) -> None:
    """S4: The state mounts the volume."""
    changes = {"/mnt/nas": {"old": None, "new": "nas"}}
    assert outcome(mounted(gluster, test=True)) == (None, changes)
    assert gluster.calls == []
    assert outcome(mounted(gluster)) == (True, changes)
    assert gluster.calls == [("mount", "/mnt/nas")]


def test_mount_waits_for_the_volume(gluster: Pretended) -> None:
    """S4: The state waits for the volume with a bound."""
    gluster.unmountable = 3
    assert mounted(gluster)["result"] is True
    assert gluster.calls == [("mount", "/mnt/nas")] * 4


def test_mount_that_does_not_come_about_names_its_unit(gluster: Pretended) -> None:
    gluster.unmountable = 3
    assert failure(mounted(gluster, wait=0)) == (
        "waited 0 s for volume nas to be mountable: "
        "see journalctl -u gluster-mountable -u mnt-nas.mount"
    )


def test_mount_is_not_tried_while_no_server_answers(gluster: Pretended) -> None:
    gluster.listening = set()
    assert re.search(
        "none of nas1, nas2, nas3 answers on port 24007", failure(mounted(gluster, wait=0))
    )
    assert gluster.calls == []


def test_mount_whose_client_died_is_made_anew(gluster: Pretended) -> None:
    """S4: The state mounts the volume again after its client died."""
    gluster.mount = HERE | {"fault": "Transport endpoint is not connected"}
    assert outcome(mounted(gluster)) == (
        True,
        {"/mnt/nas": {"old": "Transport endpoint is not connected", "new": "nas"}},
    )
    assert gluster.calls == [("mount", "/mnt/nas")]


def test_mount_whose_bricks_are_away_names_its_fault(gluster: Pretended) -> None:
    """S4: The module leaves such a mount alone, so the state waits for the bricks."""
    gluster.mount = HERE | {"fault": "Transport endpoint is not connected"}
    gluster.unmountable = 3
    assert failure(mounted(gluster, wait=0)) == (
        "waited 0 s for volume nas to be mountable: Transport endpoint is not connected; "
        "see journalctl -u gluster-mountable -u mnt-nas.mount"
    )


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize(
    "other", [{"source": "nas1:/other"}, {"source": "/dev/sdb1", "type": "ext4"}]
)
def test_something_else_is_mounted(gluster: Pretended, other: dict[str, str], test: bool) -> None:
    gluster.mount = HERE | other
    ret = mounted(gluster, test=test)
    assert outcome(ret) == (False, {})
    assert ret["comment"].startswith(
        f"/mnt/nas: {gluster.mount['source']} is mounted here instead of volume nas"
    )
    assert gluster.calls == []


@pytest.mark.parametrize("test", [False, True])
def test_files_are_not_hidden(gluster: Pretended, test: bool) -> None:
    """S4, K5: The state refuses a mount over files that would be hidden."""
    gluster.content = ["odoo"]
    ret = mounted(gluster, test=test)
    assert outcome(ret) == (False, {})
    assert ret["comment"].startswith("/mnt/nas: it holds files, which a mount would hide")
    assert gluster.calls == []
