"""The module of GlusterFS: which commands it runs, and what it makes of their failures."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from tests.loading import load

DATA = Path(__file__).parent / "data" / "gluster"


class Commands:
    """`cmd.run_all` that answers what it is given, and keeps the commands."""

    def __init__(self, stdout: str = "", stderr: str = "", retcode: int = 0) -> None:
        self.result = {"stdout": stdout, "stderr": stderr, "retcode": retcode}
        self.run: list[list[str]] = []

    def __call__(self, command: list[str], **options: Any) -> dict[str, Any]:
        assert options["python_shell"] is False
        self.run.append(command)
        return self.result


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loaded = load("_modules/gluster.py", salt={}, opts={"id": "nas1"})
    monkeypatch.setattr(loaded, "installed", lambda: True)
    return loaded


def give(module: ModuleType, **result: Any) -> Commands:
    commands = Commands(**result)
    module.__salt__ = {"cmd.run_all": commands}  # type: ignore[attr-defined]
    return commands


@pytest.mark.parametrize(
    ("function", "arguments", "command"),
    [
        ("pool", ["nas1"], "pool list"),
        ("probe", ["nas2"], "peer probe nas2"),
        ("create", ["nas", 2, ["a:/b", "c:/b"]], "volume create nas replica 2 a:/b c:/b force"),
        ("create", ["nas", 1, ["all:/nas"]], "volume create nas all:/nas force"),
        ("set_options", ["nas", {"a": "1", "b": "2"}], "volume set nas a 1 b 2"),
        ("start", ["nas"], "volume start nas"),
        ("start", ["nas", True], "volume start nas force"),
        ("heal_info", ["nas"], "volume heal nas info"),
    ],
)
def test_command(module: ModuleType, function: str, arguments: list[Any], command: str) -> None:
    commands = give(module, stdout=(DATA / "pool-alone.xml").read_text())
    getattr(module, function)(*arguments)
    assert commands.run == [["gluster", "--mode=script", "--xml", *command.split()]]


def test_refusal_names_the_command_and_its_output(module: ModuleType) -> None:
    """K5: The error has the command and its output."""
    give(module, stdout=(DATA / "set-refused.xml").read_text(), stderr="and more")
    with pytest.raises(CommandExecutionError) as error:
        module.set_options("nas", {"network.pin-timeout": "5"})
    assert str(error.value) == (
        "`gluster volume set nas network.pin-timeout 5`: option : network.pin-timeout does not "
        "exist\nDid you mean network.ping-timeout? and more"
    )


def test_not_installed(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "installed", lambda: False)
    with pytest.raises(CommandExecutionError, match="GlusterFS is not installed on this host"):
        module.volumes()


def found(status: str, replica: int, *bricks: str) -> dict[str, Any]:
    return {"status": status, "replica": replica, "bricks": bricks}


def test_faults(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = {"nas": found("Started", 3, "nas1:/absent", "nas2:/"), "old": found("Stopped", 3)}
    monkeypatch.setattr(module, "volumes", lambda: volumes)
    give(module, stdout=(DATA / "heal-down-pending.xml").read_text(), retcode=0)
    assert module.faults("nas") == [
        "nas1:/nas has 2 entries to heal",
        "nas2:/nas has 2 entries to heal",
        "nas3:/nas is not connected",
    ]
    assert module.faults("old") == ["volume old is stopped"]
    assert module.faults("new") == ["volume new is absent"]


def test_a_full_brick_is_a_fault(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """S4: A full brick of this host is a fault; the other hosts' directories are not looked at."""
    volumes = {"nas": found("Started", 1, "nas1:/", "nas2:/proc")}
    monkeypatch.setattr(module, "volumes", lambda: volumes)
    assert module.faults("nas") == []
    monkeypatch.setattr(module.gluster, "space_fault", lambda path, *space: f"{path} full")
    assert module.faults("nas") == ["/ full"]


class Answers(Commands):
    """`cmd.run_all` that answers with a captured file, chosen by the words of the command."""

    def __init__(self, **files: str) -> None:
        super().__init__()
        self.files = files

    def __call__(self, command: list[str], **options: Any) -> dict[str, Any]:
        file = next(name for word, name in self.files.items() if word in command)
        path = next(DATA.glob(f"{file}.*"))
        return super().__call__(command, **options) | {"stdout": path.read_text()}


@pytest.mark.parametrize(
    ("pool", "clients", "heal", "obstacle"),
    [
        ("pool-three", "clients-whole", "heal-none", ""),
        ("pool-three", "clients-missing", "heal-none", "nas2:/nas does not run; "),
        ("pool-three", "clients-whole", "heal-down-pending", "nas1:/nas has 2 entries to heal; "),
        ("pool-one-down", "clients-whole", "heal-none", "nas1 has no connection to nas"),
        ("daemon-down", "clients-whole", "heal-none", "`gluster pool list`: Connection failed"),
    ],
)
def test_s12_a_storage_host_restarts_only_in_a_whole_tier(
    module: ModuleType, pool: str, clients: str, heal: str, obstacle: str
) -> None:
    """S12: Hosts, clients and bricks are connected, and nothing has to be healed."""
    answers = Answers(pool=pool, status=clients, heal=heal, info="volume-started")
    module.__salt__ = {"cmd.run_all": answers}  # type: ignore[attr-defined]
    found = module.restart_obstacle(["nas"], ["nas1", "nas2", "nas3"])
    assert found.startswith(obstacle) and bool(found) == bool(obstacle)
    asked = [argv[3] for argv in answers.run if "pool" in argv]
    assert ["pool", "--remote-host=nas2", "--remote-host=nas3"][: len(asked)] == asked
    assert obstacle or len(asked) == 3


def test_x1_a_mount_is_restricted_while_it_is_in_use(module: ModuleType) -> None:
    """X1: The kernel changes the options of this mount, and GlusterFS does not mount it again."""
    asked: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> dict[str, Any]:
        asked.append(argv)
        return {"retcode": 0, "stdout": "", "stderr": ""}

    module.__salt__ = {"cmd.run_all": run}  # type: ignore[attr-defined]
    module.restrict("/mnt/nas")
    [command] = asked
    assert command[-4:] == ["mount", "-o", "remount,bind,nosuid,nodev,noexec", "/mnt/nas"]


def test_brick_directory(module: ModuleType, tmp_path: Path) -> None:
    assert module.brick_fault(f"nas1:{tmp_path}/absent", "nas") == ""
    assert module.brick_fault(f"nas1:{tmp_path}", "nas") == ""
    (tmp_path / "file").touch()
    assert f"{tmp_path} holds files of its own: file" in module.brick_fault(
        f"nas1:{tmp_path}", "nas"
    )


def test_brick_that_lost_its_disk(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only if the volume has it: before it is added (again), an empty directory is right."""
    monkeypatch.setattr(module, "VOLUMES", tmp_path / "vols")
    (path := tmp_path / "brick").mkdir()
    brick, record = f"nas1:{path}", tmp_path / "vols" / "nas"
    (record / "bricks").mkdir(parents=True)
    (record / "info").write_text("volume-id=b1de4cd0-7220-4090-9063-dcbb95bb48bf\n")
    assert module.brick_fault(brick, "nas") == ""
    (record / "bricks" / brick.replace("/", "-")).touch()
    assert "has lost the mark of volume nas" in module.brick_fault(brick, "nas")


def test_bricks_without_connection(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of a mount's client say so; the other translators are ignored."""
    monkeypatch.setattr(module, "mounted", lambda path: {"type": "fuse.glusterfs"})
    graph = tmp_path / ".meta/graphs/active"
    (graph / "nas-replicate-0").mkdir(parents=True)
    for number, connection in enumerate((1, 0, 1)):
        client = graph / f"nas-client-{number}"
        (client / "options").mkdir(parents=True)
        (client / "options/remote-host").write_text(f"nas{number + 1}\n")
        (client / "options/remote-subvolume").write_text("/nas\n")
        (client / "private").write_text(
            f"[xlator.protocol.client.nas-client-{number}.priv]\nconnected = {connection}\n"
            "total_bytes_read = 103080\nping_timeout = 5\n"
        )
    assert module.unconnected(str(tmp_path)) == ["nas2:/nas"]


def test_bricks_that_nobody_tells_of(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No brick known is not every brick connected."""
    with pytest.raises(CommandExecutionError, match=f"no volume is mounted at {tmp_path}"):
        module.unconnected(str(tmp_path))
    monkeypatch.setattr(module, "mounted", lambda path: {"type": "fuse.glusterfs"})
    with pytest.raises(
        CommandExecutionError, match=f"the GlusterFS mount {tmp_path} shows no brick"
    ):
        module.unconnected(str(tmp_path))


def test_mount_of_a_dead_client_is_taken_away_first(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = give(module, stdout="mnt-nas.mount")
    monkeypatch.setattr(module, "mounted", lambda path: {"fault": ""})
    assert module.mount("/mnt/nas") == "mnt-nas.mount"
    by_systemd = [" ".join(argv[3:]) for argv in commands.run]
    assert by_systemd[-1] == "systemctl start --no-block mnt-nas.mount"
    commands.run.clear()
    monkeypatch.setattr(module, "mounted", lambda path: {"fault": "ENOTCONN"})
    module.mount("/mnt/nas")
    taken_away = "systemctl start gluster-mount-again"  # tests/render/test_mount_again.py
    assert [" ".join(argv[3:]) for argv in commands.run] == [
        *by_systemd[:-1],
        taken_away,
        by_systemd[-1],
    ]


def test_failed_mount_names_the_command_and_its_output(module: ModuleType) -> None:
    give(module, stderr="Failed to connect to bus", retcode=1)
    with pytest.raises(CommandExecutionError) as error:
        module.mount("/mnt/nas")
    assert str(error.value).endswith("/mnt/nas: Failed to connect to bus")
