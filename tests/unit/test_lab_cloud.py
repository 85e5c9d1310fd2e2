"""The lab's cloud and its client over a real socket, with fakes that make no host (S10)."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import paths
from lab.cloud import provisioner, server
from lab.errors import LabError
from lab.process import wait_until
from tests.fleets import REPOSITORY

CANARY = "-----BEGIN RSA PRIVATE KEY-----\ncanary"
SECONDS = 20


class Fake:
    """The requests in their order; `work` runs between them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.work: Callable[[str], object] = lambda host: None

    def create(self, host: str, user_data: str) -> str:
        self.done.append(f"create {host} {user_data}".strip())
        self.work(host)
        self.done.append(f"created {host}")
        return "made"

    def destroy(self, host: str, _: str) -> str:
        self.done.append(f"destroy {host}")
        return "removed"


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud" / "socket"


@pytest.fixture
def running(fake: Fake, path: Path) -> Iterator[server.Server]:
    """A server in this process."""
    with server.Server(path, {"create": fake.create, "destroy": fake.destroy}) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def send(path: Path, raw: bytes) -> socket.socket:
    """A connection over which a request was sent."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(SECONDS)
    connection.connect(str(path))
    connection.sendall(raw)
    connection.shutdown(socket.SHUT_WR)
    return connection


def request(action: str, host: str, user_data: str = "") -> bytes:
    return json.dumps({"action": action, "host": host, "user_data": user_data}).encode()


# Requests


def test_s10_create_and_destroy(running: server.Server, fake: Fake, path: Path) -> None:
    assert provisioner.ask("create", "s9", "data", str(path)) == "made"
    assert provisioner.ask("destroy", "s9", path=str(path)) == "removed"
    assert fake.done == ["create s9 data", "created s9", "destroy s9"]


def test_only_root_can_ask(running: server.Server, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


BAD = {
    "no JSON": (CANARY.encode(), "it must be JSON"),
    "half of one": (request("create", "s9", CANARY)[:-1], "it must be JSON"),
    "too deep": (b"[" * 50_000, "it must be JSON"),
    "a list": (b"[]", "it must be a mapping with the keys action, host, user_data"),
    "a key is missing": (
        b'{"action": "create", "host": "s9"}',
        "it must be a mapping with the keys",
    ),
    "no texts": (
        b'{"action": "create", "host": 9, "user_data": ""}',
        "every value must be a string",
    ),
    "unknown action": (request("rebuild", "s9", CANARY), "action: choose one of: create, destroy"),
    "too large": (
        request("create", "s9", "x" * provisioner.MAX_BYTES),
        "it must have at most 100000 bytes",
    ),
}


@pytest.mark.parametrize(("raw", "fault"), BAD.values(), ids=BAD.keys())
def test_bad_requests(
    raw: bytes, fault: str, fake: Fake, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One is told why, nothing is done, and the key it may hold is in no message and no log."""
    with (
        caplog.at_level(logging.INFO),
        server.Server(path, {"create": fake.create, "destroy": fake.destroy}) as running,
    ):
        told = running.answer(raw)
    assert fault in told["error"]
    assert fake.done == []
    assert fault in caplog.text and "canary" not in caplog.text + told["error"]


def test_a_bad_request_is_answered(running: server.Server, path: Path) -> None:
    with send(path, b"{}") as connection:
        assert b'{"error": "invalid request: it must be a mapping with the keys' in connection.recv(
            1000
        )


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (LabError("no image", "make up"), "no image\nnext: make up"),
        (LabError("no image"), "no image"),
        (OSError(28, "No space left on device"), "No space left on device; next: "),
    ],
)
def test_failures_are_told(
    raised: Exception,
    told: str,
    running: server.Server,
    fake: Fake,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S10, K5: The master learns of every failure, and the next request is served."""

    def fail(host: str) -> None:
        raise raised

    monkeypatch.setattr(server.log, "disabled", True)  # Salt, where imported, repeats errors
    fake.work = fail
    with pytest.raises(provisioner.ProvisionerError) as caught:
        provisioner.ask("create", "s9", "", str(path))
    assert told in str(caught.value)
    assert provisioner.ask("destroy", "s9", path=str(path)) == "removed"


def test_user_data_is_not_logged(
    running: server.Server, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """K4: No log has the key of a host."""
    with caplog.at_level(logging.DEBUG):
        provisioner.ask("create", "s9", CANARY, str(path))
    assert "create 's9': made" in caplog.text
    assert "canary" not in caplog.text


def test_s10_several_hosts_at_the_same_time(running: server.Server, fake: Fake, path: Path) -> None:
    """Four at once, and no more."""
    go = threading.Event()
    fake.work = lambda host: go.wait(SECONDS)
    hosts = [f"s{number}" for number in range(1, 2 * server.PARALLEL + 1)]
    with ThreadPoolExecutor(len(hosts)) as pool:
        said = [pool.submit(provisioner.ask, "create", host, "", str(path)) for host in hosts]
        assert wait_until(lambda: len(fake.done) == server.PARALLEL, SECONDS, 0.01)
        assert not wait_until(lambda: len(fake.done) > server.PARALLEL, 0.3, 0.01)
        go.set()
        assert [one.result(SECONDS) for one in said] == ["made"] * len(hosts)


def test_one_at_a_time_for_each_host(running: server.Server, fake: Fake, path: Path) -> None:
    """S10: No host is removed while it is being made, and other hosts do not wait for it."""
    go = threading.Event()
    fake.work = lambda host: host == "s9" and go.wait(SECONDS)
    with send(path, request("create", "s9")) as first:
        assert wait_until(lambda: fake.done == ["create s9"], SECONDS, 0.01)
        with send(path, request("destroy", "s9")) as second:
            assert provisioner.ask("create", "s10", "", str(path)) == "made"
            assert "destroy s9" not in fake.done
            go.set()
            assert first.recv(1000) and second.recv(1000)
    assert fake.done.index("created s9") < fake.done.index("destroy s9")


def test_a_client_that_goes_away(
    running: server.Server, fake: Fake, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S10: The request is done, the next one is served, and the log has no fault."""
    go = threading.Event()
    fake.work = lambda host: go.wait(SECONDS)
    send(path, request("create", "s9")).close()
    assert wait_until(lambda: fake.done == ["create s9"], SECONDS, 0.01)
    go.set()
    assert provisioner.ask("create", "s9", "", str(path)) == "made"
    assert fake.done == ["create s9", "created s9"] * 2
    running.shutdown()
    running.server_close()
    assert capsys.readouterr().err == ""


def test_a_client_that_says_nothing(
    running: server.Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is dropped after a while; others don't wait for it."""
    monkeypatch.setattr(server.Handler, "timeout", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(SECONDS)
        silent.connect(str(path))
        assert provisioner.ask("create", "s9", "", str(path)) == "made"
        assert silent.recv(1) == b""


# The client


def call(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """The executable, as a master calls it: by the system's Python, with nothing else."""
    command = ["/usr/bin/env", "-i", str(REPOSITORY / "lab/cloud/provisioner.py"), *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [(), ("create",), ("remove", "s9"), ("create", "s9", "x")])
def test_the_client_is_called_wrongly(arguments: tuple[str, ...]) -> None:
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == provisioner.USAGE + "\n"


def test_the_clients_exit_code_and_words(
    running: server.Server,
    fake: Fake,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Given:
        class buffer:
            read = staticmethod(lambda: b"data \xff")

    monkeypatch.setattr(sys, "stdin", Given)
    assert provisioner.main(["create", "s9"], str(path)) == 0
    assert capsys.readouterr() == ("s9: made\n", "")
    assert fake.done[0] == "create s9 data \ufffd"

    def fail(host: str) -> None:
        raise LabError("no image", "make up")

    fake.work = fail
    assert provisioner.main(["create", "s9"], str(path)) == 1
    assert capsys.readouterr() == ("", "create s9: no image\nnext: make up\n")


def test_too_much_user_data_is_not_sent(path: Path) -> None:
    with pytest.raises(
        provisioner.ProvisionerError, match=r"has 100\d+ bytes; it must have at most 100000"
    ):
        provisioner.ask("create", "s9", "x" * provisioner.MAX_BYTES, str(path))


def test_without_a_cloud_the_wait_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioner, "ABSENT_SECONDS", 0.1)
    with pytest.raises(provisioner.ProvisionerError) as caught:
        provisioner.ask("destroy", "s9", path=str(path))
    assert str(caught.value) == (
        f"the lab's cloud is not running: {path}: No such file or directory\n"
        "next, on the machine that runs the lab: bin/lab up"
    )


def test_no_answer_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioner, "ANSWER_SECONDS", 0.1)
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(provisioner.ProvisionerError) as caught:
            provisioner.ask("destroy", "s9", path=str(path))
    assert str(caught.value) == (
        "the lab's cloud (the process that creates and removes hosts of pools) did not answer "
        "within 0.1 s\nnext, on the machine that runs the lab: tail /var/lib/salina-lab/cloud.log"
    )
    assert str(paths.CLOUD_LOG) == provisioner.LOG


# The process

PROCESS = """
import sys, pathlib
from lab.cloud import server
from lab.process import wait_until
folder = pathlib.Path(sys.argv[1])
def create(host, user_data):
    (folder / f"begun-{host}").touch()
    wait_until((folder / "go").exists, 20, 0.01)
    return "made"
server.serve(folder / "socket", {"create": create})
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a cloud as a process; it listens when this returns."""
    path, started = tmp_path / "socket", []

    def run() -> subprocess.Popen[bytes]:
        environment = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/fleet:{REPOSITORY}/_utils"}
        command = [sys.executable, "-c", PROCESS, str(tmp_path)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        started.append(process)
        assert wait_until(lambda: server.pid(path) == process.pid, SECONDS, 0.01)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


Start = Callable[[], subprocess.Popen[bytes]]


def test_a_killed_cloud_is_noticed_and_replaced(start: Start, tmp_path: Path) -> None:
    """S10, K2: The socket of a killed cloud does not stop the next one."""
    (tmp_path / "go").touch()
    assert server.pid(tmp_path / "socket") is None
    first = start()
    first.kill()
    first.wait()
    assert (tmp_path / "socket").exists()
    assert server.pid(tmp_path / "socket") is None
    start()
    assert provisioner.ask("create", "s9", "", str(tmp_path / "socket")) == "made"


def test_a_request_whose_cloud_was_killed_is_asked_again(start: Start, tmp_path: Path) -> None:
    """S10, K2: `bin/lab up` may replace the cloud at any time."""
    path = tmp_path / "socket"
    with ThreadPoolExecutor() as pool:
        first = start()
        answer = pool.submit(provisioner.ask, "create", "s9", "", str(path))
        assert wait_until((tmp_path / "begun-s9").exists, SECONDS, 0.01)
        first.kill()
        first.wait()
        (tmp_path / "go").touch()
        start()
        assert answer.result(SECONDS) == "made"


def test_told_to_end_it_finishes_what_is_under_way(start: Start, tmp_path: Path) -> None:
    """S10: `bin/lab down` and `up` leave no host half made."""
    path = tmp_path / "socket"
    with ThreadPoolExecutor() as pool:
        process = start()
        answer = pool.submit(provisioner.exchange, request("create", "s9"), str(path))
        assert wait_until((tmp_path / "begun-s9").exists, SECONDS, 0.01)
        process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: server.pid(path) is None, SECONDS, 0.01)
        assert process.poll() is None
        (tmp_path / "go").touch()
        assert answer.result(SECONDS) == {"done": "made"}
        assert process.wait(SECONDS) == 0


def test_it_ends_with_its_socket(start: Start, tmp_path: Path) -> None:
    """A lab that was removed by hand leaves no process."""
    process = start()
    (tmp_path / "socket").unlink()
    assert process.wait(SECONDS) == 0
