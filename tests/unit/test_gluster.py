"""Gluster's answers (captured from GlusterFS 10.3), and the plans that follow from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from salina.storage import gluster
from salina.storage.gluster import GlusterError, Peer, PoolPlan, Volume, VolumePlan

DATA = Path(__file__).parent / "data" / "gluster"
HOSTS = ["nas1", "nas2", "nas3"]
BRICKS = [f"{host}:/nas" for host in HOSTS]
OPTIONS = {
    "network.ping-timeout": "5",
    "cluster.quorum-type": "auto",
    "cluster.server-quorum-type": "server",
}
WANTED = Volume(status="Started", replica=3, bricks=BRICKS, options=OPTIONS)


def captured(name: str) -> str:
    return next(DATA.glob(f"{name}.*")).read_text()


def pool(name: str, host: str = "nas1") -> list[Peer]:
    return gluster.parse_pool(captured(name), host)


def volume(name: str) -> Volume:
    return gluster.parse_volumes(captured(name))["nas"]


# Reading


def test_pool_of_three() -> None:
    assert [(peer["names"], peer["description"]) for peer in pool("pool-three")] == [
        (["nas2"], "Peer in Cluster"),
        (["nas3"], "Peer in Cluster"),
        (["nas1"], "this host"),
    ]
    assert all(peer["connected"] for peer in pool("pool-three"))


def test_member_that_is_down_is_not_connected() -> None:
    assert {peer["names"][0]: peer["connected"] for peer in pool("pool-one-down")} == {
        "nas1": True,
        "nas2": True,
        "nas3": False,
    }


def test_no_volume() -> None:
    assert gluster.parse_volumes(captured("volumes-none")) == {}


def test_volume() -> None:
    found = volume("volume-started")
    assert (found["status"], found["replica"], found["bricks"]) == ("Started", 3, BRICKS)
    assert found["options"].items() >= OPTIONS.items()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("heal-none", {"nas1:/nas": 0, "nas2:/nas": 0, "nas3:/nas": 0}),
        ("heal-down-pending", {"nas1:/nas": 2, "nas2:/nas": 2, "nas3:/nas": None}),
    ],
)
def test_heal_info(name: str, expected: dict[str, int | None]) -> None:
    assert gluster.parse_heal(captured(name)) == expected


def test_s12_every_client_has_a_connection_to_every_brick() -> None:
    """S12: Otherwise the restart of a host could leave a client without a majority."""
    assert gluster.cut_off(BRICKS, gluster.parse_clients(captured("clients-whole"))) == []
    found = gluster.parse_clients(captured("clients-missing"))
    assert found["nas1:/nas"] == {"10.1.4.11", "10.1.4.21"}
    wrong = ["nas2:/nas does not run", "10.1.4.11 has no connection to nas3:/nas"]
    assert gluster.cut_off(BRICKS, found) == wrong
    del found["nas2:/nas"]  # gluster leaves it out while its glusterd is away
    assert gluster.cut_off(BRICKS, found) == wrong


@pytest.mark.parametrize(
    ("name", "message", "transient"),
    [
        ("busy", "Another transaction is in progress for nas.", True),
        ("daemon-down", "Connection failed. Please check if gluster daemon is operational.", True),
        ("set-refused", "option : network.pin-timeout does not exist", False),
        ("quorum-lost", "Quorum not met. Volume operation not allowed.", False),
        ("create-refused", "The brick nas1:/nas is being created in the root partition.", False),
        ("probe-refused", "nas1 is either already part of another cluster", False),
        ("heal-stopped", "nas: Not able to fetch volfile from glusterd", False),
    ],
)
def test_refusal(name: str, message: str, transient: bool) -> None:
    with pytest.raises(GlusterError) as refusal:
        gluster.answer(captured(name))
    assert str(refusal.value).startswith(message)
    assert gluster.transient(str(refusal.value)) is transient


def test_refusal_without_a_reason() -> None:
    """The answer of a host to another one, when all of them had just started."""
    with pytest.raises(GlusterError) as refusal:
        gluster.answer("<cliOutput><opRet>-1</opRet><opErrno>0</opErrno><opErrstr/></cliOutput>")
    assert str(refusal.value) == "gluster gave no reason"
    assert gluster.transient(f"`gluster --remote-host=nas1 pool list`: {refusal.value}")


def test_a_busy_host_is_asked_again() -> None:
    """S15: Seen on a bare fleet whose hosts all applied at once on a slow machine."""
    assert gluster.transient("`gluster --remote-host=nas3 pool list`: Error : Request timed out")


def test_no_answer() -> None:
    with pytest.raises(GlusterError, match="gluster printed nothing"):
        gluster.answer("")


# The pool


@pytest.mark.parametrize("host", HOSTS)
def test_pool_as_wanted(host: str) -> None:
    members = [
        Peer(names=[name], uuid="", state=3, description="", connected=True) for name in HOSTS
    ]
    assert gluster.plan_pool(host, HOSTS, members, {}) == PoolPlan()


def test_on_a_bare_fleet_the_first_host_adds_the_others() -> None:
    plan = gluster.plan_pool("nas1", HOSTS, pool("pool-alone"), {})
    assert plan == PoolPlan(probe=("nas2", "nas3"))


def test_on_a_bare_fleet_the_others_wait_for_the_first() -> None:
    plan = gluster.plan_pool("nas2", HOSTS, pool("pool-alone", "nas2"), {})
    assert plan == PoolPlan(waits=("nas1 has not added nas2 (see the apply's result on nas1)",))


def test_a_host_alone_is_a_pool() -> None:
    assert gluster.plan_pool("all", ["all"], pool("pool-alone", "all"), {}) == PoolPlan()


def test_member_that_is_down_is_no_difference() -> None:
    assert gluster.plan_pool("nas1", HOSTS, pool("pool-one-down"), {}) == PoolPlan()


def test_member_on_its_way_is_waited_for() -> None:
    """Captured on nas3, which knows nas1 only, and that not fully."""
    plan = gluster.plan_pool("nas3", HOSTS, pool("pool-joining", "nas3"), {})
    assert not plan.probe
    assert not plan.faults
    assert plan.waits == (
        "nas1 is on its way into the pool (Accepted peer request)",
        "nas1 has not added nas2 (see the apply's result on nas1)",
    )


def test_a_new_first_host_is_added_by_a_member() -> None:
    """nas0 comes before the others in the topology: it must not found a pool of its own."""
    wanted = ["nas0", *HOSTS]
    assert gluster.plan_pool("nas1", wanted, pool("pool-three"), {}).probe == ("nas0",)
    assert gluster.plan_pool("nas2", wanted, pool("pool-three"), {}).probe == ()


STAY = "If it must stay, it must be one of the first storage hosts of the topology."


@pytest.mark.parametrize(
    ("volumes", "steps"),
    [
        ({}, "gluster peer detach nas3"),
        (
            {"nas": WANTED},
            "gluster volume remove-brick nas replica 2 nas3:/nas force; gluster peer detach nas3",
        ),
        ({"nas": Volume(**{**WANTED, "replica": 1})}, "gluster peer detach nas3"),
    ],
)
def test_foreign_member_is_named(volumes: dict[str, Volume], steps: str) -> None:
    """S3: With the commands by which its bricks leave before it."""
    plan = gluster.plan_pool("nas1", ["nas1", "nas2"], pool("pool-three"), volumes)
    assert plan.faults == (
        "nas3 is in the trusted pool, but not among the hosts with bricks. If it must leave, run "
        f"`{steps}`. {STAY}",
    )


def test_s3_a_spare_comes_into_the_pool_before_it_gets_the_bricks() -> None:
    """S3: nas2 has left the topology, so nas4 is the third host with bricks now."""
    wanted = ["nas1", "nas3", "nas4"]
    volumes = {"nas": WANTED, "shop": Volume(**{**WANTED, "bricks": ["nas2:/nas-shop"]})}
    before = gluster.plan_pool("nas1", wanted, pool("pool-three"), volumes)
    assert (before.probe, before.faults) == (("nas4",), ())
    joined = [*pool("pool-three"), Peer(**{**pool("pool-three")[1], "names": ["nas4"]})]
    for peer in joined:
        peer["connected"] = peer["names"][0] != "nas2"
    [fault] = gluster.plan_pool("nas1", wanted, joined, volumes).faults
    assert (
        "`gluster volume replace-brick nas nas2:/nas nas4:/nas commit force; "
        "gluster volume replace-brick shop nas2:/nas-shop nas1:/nas-shop commit force; "
        "gluster peer detach nas2 force`"
    ) in fault


def test_rebuilt_member_is_told_with_the_commands() -> None:
    """Captured on nas1 after nas3 came back empty; the commands were tried as they stand here."""
    plan = gluster.plan_pool("nas1", HOSTS, pool("pool-rebuilt"), {"nas": WANTED})
    assert not plan.probe
    [fault] = plan.faults
    assert [line.strip() for line in fault.splitlines()][:7] == [
        "nas3 is rejected by the trusted pool.",
        "If it was rebuilt, with an empty brick, on nas1:",
        "gluster volume heal nas info    # the others: connected",
        "gluster volume remove-brick nas replica 2 nas3:/nas force",
        "gluster peer detach nas3",
        "gluster peer probe nas3",
        "until gluster volume add-brick nas replica 3 nas3:/nas force; do sleep 1; done    "
        "# the pool takes a moment",
    ]


def test_the_odd_one_does_not_tell_to_remove_the_others() -> None:
    """Captured on nas3, whose record of the volume differed from the other two's."""
    plan = gluster.plan_pool("nas3", HOSTS, pool("pool-differs", "nas3"), {"nas": WANTED})
    [fault] = plan.faults
    assert fault.startswith("nas3 and nas1, nas2 reject each other. Run the apply on the other")


def test_host_that_is_known_as_another_was_rebuilt() -> None:
    """Captured on nas1, and on nas3 before and after it came back empty."""
    its, own = pool("pool-rebuilt"), pool("pool-alone", "nas3")
    fault = gluster.forgotten("nas3", own, "nas1", its, {"nas": WANTED})
    assert fault == gluster.rejection("nas3", "nas1", {"nas": WANTED})
    before = [peer for peer in its if peer["names"] == ["nas3"]]
    assert gluster.forgotten("nas3", before, "nas1", its, {}) == ""
    assert gluster.forgotten("nas3", own, "nas1", pool("pool-alone"), {}) == ""


# The volume


def plan(found: Volume | None, host: str = "nas1", brick_runs: bool = True) -> VolumePlan:
    return gluster.plan_volume("nas", host, WANTED, found, brick_runs)


def test_volume_as_wanted() -> None:
    assert plan(volume("volume-started")) == VolumePlan()
    assert gluster.difference(volume("volume-started"), WANTED) == {}


def test_absent_volume_is_made_by_the_host_of_the_first_brick() -> None:
    assert plan(None).steps == (
        ("create", "nas", 3, BRICKS),
        ("set_options", "nas", OPTIONS),
        ("start", "nas"),
    )
    assert plan(None, "nas3") == VolumePlan(waits="nas1 has not created it")


def test_volume_left_half_made_is_finished() -> None:
    """The host was killed between creating and starting."""
    found = volume("volume-created")
    assert plan(found, brick_runs=False).steps == (
        ("set_options", "nas", OPTIONS),
        ("start", "nas"),
    )
    assert plan(found, "nas2", brick_runs=False) == VolumePlan(waits="nas1 has not started it")


@pytest.mark.parametrize("host", HOSTS)
def test_changed_and_missing_options_are_set_by_any_host(host: str) -> None:
    found = volume("volume-started")
    found["options"] |= {"network.ping-timeout": "42", "performance.cache-size": "64MB"}
    del found["options"]["cluster.quorum-type"]
    options = {"network.ping-timeout": "5", "cluster.quorum-type": "auto"}
    assert plan(found, host) == VolumePlan((("set_options", "nas", options),))
    assert gluster.difference(found, WANTED) == {
        "network.ping-timeout": {"old": "42", "new": "5"},
        "cluster.quorum-type": {"old": None, "new": "auto"},
    }


def test_dead_brick_is_started() -> None:
    found = volume("volume-started")
    assert plan(found, brick_runs=False) == VolumePlan((("start", "nas", True),), revive=True)


@pytest.mark.parametrize("host", HOSTS)
def test_foreign_brick_is_named(host: str) -> None:
    assert plan(volume("volume-foreign-brick"), host) == VolumePlan(
        faults=(
            "volume nas has a brick that is not in the topology: nas3:/other. If it must "
            "leave, run `gluster volume replace-brick nas nas3:/other nas3:/nas commit force`. "
            "If it must stay, its host must be one of the first storage hosts of the topology.",
        )
    )


def test_further_brick_is_named() -> None:
    found = volume("volume-started") | {"bricks": [*BRICKS, "nas4:/nas"], "replica": 4}
    [fault] = plan(Volume(**found)).faults  # type: ignore[typeddict-item]
    assert fault.endswith(
        "run `gluster volume remove-brick nas replica 3 nas4:/nas force`. "
        "If it must stay, its host must be one of the first storage hosts of the topology."
    )


def test_lacking_brick_is_named() -> None:
    found = volume("volume-started")
    found["bricks"], found["replica"] = BRICKS[:2], 2
    assert plan(found).faults == (
        "volume nas does not have a brick of the topology: nas3:/nas. If that brick "
        "is empty, run `gluster volume add-brick nas replica 3 nas3:/nas force`.",
    )


def test_s3_a_whole_set_of_hosts_makes_the_volume_larger() -> None:
    """S3: Three hosts more are not six copies."""
    wanted = Volume(**{**WANTED, "bricks": [*BRICKS, *(f"nas{n}:/nas" for n in (4, 5, 6))]})
    [fault] = gluster.plan_volume("nas", "nas1", wanted, volume("volume-started"), True).faults
    assert (
        "run `gluster volume add-brick nas nas4:/nas nas5:/nas nas6:/nas force; "
        "gluster volume rebalance nas start`"
    ) in fault


@pytest.mark.parametrize(
    ("order", "good"),
    [("1 7 3 4 5 6", True), ("3 1 7 6 5 4", True), ("1 3 4 5 6 7", False), ("4 5 6 1 3 7", False)],
)
def test_s3_the_topology_has_the_sets_of_the_volume(order: str, good: bool) -> None:
    """S3: nas7 has replaced nas2, so it must stand in its place: files are copied by sets."""

    def made(numbers: str) -> Volume:
        bricks = [f"nas{number}:/nas" for number in numbers.split()]
        return Volume(status="Started", replica=3, bricks=bricks, options=OPTIONS)

    plan = gluster.plan_volume("nas", "nas1", made(order), made("1 7 3 4 5 6"), True)
    assert plan.faults == (
        ()
        if good
        else (
            "volume nas has its copies on other sets of hosts than the topology, and users' files "
            "are copied from each set. List the storage hosts in this order: nas1, nas7, nas3, "
            "nas4, nas5, nas6",
        )
    )


def test_files_spread_over_bricks_get_no_single_command() -> None:
    """Taking a brick out of a volume without copies would take its files away."""
    found = Volume(status="Started", replica=1, bricks=[*BRICKS, "nas4:/nas"], options=OPTIONS)
    wanted = Volume(status="Started", replica=1, bricks=BRICKS, options=OPTIONS)
    [fault] = gluster.plan_volume("nas", "nas1", wanted, found, True).faults
    assert "If it must leave, run `gluster volume help`. If it must stay," in fault


def test_other_number_of_copies() -> None:
    found = volume("volume-started")
    found["replica"] = 1
    [fault] = plan(found).faults
    assert fault.startswith("volume nas keeps 1 copy of each file, not 3; to change this, create")


def test_stopped_volume_is_left_so() -> None:
    [fault] = plan(volume("volume-stopped")).faults
    assert fault.startswith("volume nas is stopped; Salt does not start a stopped volume.")
    assert "`gluster volume start nas`" in fault


# The brick's directory, and the client

OWN, OTHER = "b1de4cd0722040909063dcbb95bb48bf", "09897570" * 4


@pytest.mark.parametrize(
    ("entries", "mark", "own", "message"),
    [
        ([], "", "", ""),
        (["lost+found"], "", "", ""),
        ([], OTHER, "", ""),  # marked by a creation that was broken off: nothing in it is lost
        ([".glusterfs", "odoo"], OWN, OWN, ""),
        (
            ["b", "a", "d", "c"],
            "",
            "",
            "/nas holds files of its own: a, b, c, …. The brick of nas must be empty",
        ),
        ([".glusterfs", "odoo"], OTHER, "", f"/nas is the brick of another volume (id {OTHER})"),
        ([".glusterfs", "odoo"], OTHER, OWN, f"/nas is the brick of another volume (id {OTHER})"),
        ([], "", OWN, "/nas has lost the mark of volume nas. Is its file system mounted?"),
    ],
)
def test_brick(entries: list[str], mark: str, own: str, message: str) -> None:
    fault = gluster.brick_fault("/nas", "nas1:/nas", "nas", entries, mark, own)
    assert fault.startswith(message)
    assert bool(fault) is bool(message)


def test_full_disk() -> None:
    """The numbers are of a brick that was filled: writes went on, on the other two only."""
    assert gluster.space_fault("/nas", 1 << 30, 100 << 30) == ""
    assert gluster.space_fault("/nas", 0, 33519 << 10) == (
        "the file system of /nas is full: 0 MiB of 32 MiB are left, and below one percent this "
        "brick stops accepting writes. Enlarge the file system, or delete files on an app host"
    )


def test_volume_id() -> None:
    record = "type=2\nvolume-id=b1de4cd0-7220-4090-9063-dcbb95bb48bf\nusername=x\n"
    assert gluster.parse_volume_id(record) == OWN
    assert gluster.parse_volume_id("type=2\n") == ""


def test_mounted() -> None:
    mounts = "overlay / overlay rw 0 0\nnas1:/nas /mnt/nas fuse.glusterfs rw,relatime 0 0\n"
    assert gluster.mounted(mounts, "/mnt/nas") == ("nas1:/nas", "fuse.glusterfs", "rw,relatime")
    assert gluster.mounted(mounts, "/mnt") == ("", "", "")


def test_x1_a_mount_gives_nobody_rights() -> None:
    """X1: Every mount has the three options, and a mount without one of them is known."""
    assert {"nosuid", "nodev", "noexec"} == set(gluster.FLAGS)
    assert gluster.loose("rw,nosuid,nodev,noexec,relatime") == []
    assert gluster.loose("rw,nodev,relatime") == ["nosuid", "noexec"]


def test_mount_options() -> None:
    flags = [*gluster.FLAGS]
    assert gluster.mount_options(HOSTS, "inet") == [*flags, "backup-volfile-servers=nas2:nas3"]
    assert gluster.mount_options(["all"], "inet") == flags
    assert gluster.mount_options(["all"], "inet6") == [
        *flags,
        "xlator-option=transport.address-family=inet6",
    ]
