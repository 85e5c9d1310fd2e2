"""S14: The shell of the operators records a session, and there is none without a record."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from salina.management import recorder, session
from tests.fleets import REPOSITORY

PROGRAM = REPOSITORY / "_utils/salina/management/session.py"
RUN = """
import sys
sys.path.insert(0, {folder!r})
import session
session.SOCKET = {socket!r}
sys.exit(session.main(sys.argv[1:]))
"""


class Sink:
    """The other end of the socket: the record so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.lines: list[str] = []
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def take(self) -> None:
        connection, _ = self.server.accept()
        with connection.makefile(encoding="utf-8") as file:
            self.lines += [line.rstrip("\n") for line in file]

    def whole(self) -> list[str]:
        """Return the record of the session, which has ended."""
        self.thread.join(10)
        return self.lines


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    found = Sink(tmp_path / "record")
    yield found
    found.server.close()


def argv(sink: Path, *arguments: str) -> list[str]:
    """Return the command of a session."""
    script = RUN.format(folder=str(PROGRAM.parent), socket=str(sink))
    return [sys.executable, "-c", script, *arguments]


def run(sink: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv(sink, *arguments), input=given, capture_output=True, text=True, timeout=30
    )


def test_s14_a_command_is_recorded_with_all_it_prints(sink: Sink) -> None:
    """S14: The operator sees the same, with the same exit code."""
    done = run(sink.path, "-c", "echo shown; echo wrong >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "shown\n", "wrong\n")
    record = sink.whole()
    assert record[0].endswith("from this host: echo shown; echo wrong >&2; exit 7")
    assert {"> shown", "! wrong"} <= {*record}
    assert record[-1].endswith("has left, exit code 7")


def test_s14_commands_without_a_terminal_are_recorded(sink: Sink) -> None:
    """S14: They come in as the input."""
    done = run(sink.path, "-c", "bash", given="echo $((6 * 7))\n")
    assert done.stdout == "42\n"
    assert {"< echo $((6 * 7))", "> 42"} <= {*sink.whole()}


def test_s14_a_terminal_is_recorded_without_the_keys(sink: Sink) -> None:
    """S14: A password that is typed is not shown, so it is in no record."""
    pid, terminal = os.forkpty()
    if not pid:
        command = argv(sink.path, "-c", "stty -echo; echo ready; read word; echo got ${#word}")
        os.execv(command[0], command)
    shown = b""
    while b"ready" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"secret-word\n")
    while b"got 11" not in shown:
        shown += os.read(terminal, 1024)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    record = sink.whole()
    assert "> got 11" in record and "secret-word" not in str(record)


def test_s14_there_is_no_session_without_a_record(tmp_path: Path) -> None:
    """S14, K5: The message says why, and what to do."""
    done = run(tmp_path / "nothing", "-c", "echo unseen")
    assert (done.returncode, done.stdout) == (1, "")
    assert "this session would not be recorded" in done.stderr
    assert "systemctl start salina-session@" in done.stderr


def test_s14_a_session_ends_with_its_record(tmp_path: Path) -> None:
    """S14: The service that writes the record has ended."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "record"))
    server.listen()
    command = argv(tmp_path / "record", "-c", "while echo more; do sleep 0.1; done")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as child:
        connection, _ = server.accept()
        connection.recv(10)
        connection.close()
        assert child.wait(20) == 1
    server.close()


def test_s14_the_operator_does_not_reach_into_the_shell(sink: Sink) -> None:
    """S14: Its memory and its descriptors belong to root then, but not those of the commands."""
    [program, option, script, *rest] = argv(sink.path, "-c", "exec 3</proc/self/mem && echo runs")
    script = script.replace("sys.exit(session", "print(session")
    script += "import ctypes\nprint(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    done = subprocess.run([program, option, script, *rest], capture_output=True, text=True)
    assert done.stdout == "runs\n0\n0\n", done.stderr


def test_s14_other_arguments_are_refused() -> None:
    """S14: The shell knows a login and a command."""
    assert session.main(["--version"]) == 2


def test_s14_a_record_is_text_of_bounded_lines() -> None:
    """S14: No byte of it controls the terminal of a reader."""
    lines: list[bytes] = []
    record = session.Record(lines.append)
    record.add(">", b"half")
    assert lines == []
    record.add(">", b" a line\r\n\x1b[31mred\xff\n" + b"x" * 5000)
    record.end()
    assert lines == [
        b"> half a line\n",
        b"> \\x1b[31mred\\xff\n",
        b"> " + b"x" * 4096 + b"\n",
        b"> " + b"x" * 904 + b"\n",
    ]


def test_s14_an_operator_fills_no_journal(tmp_path: Path) -> None:
    """S14: All sessions share one allowance, which comes back; what is more waits its time."""
    path = tmp_path / "1001"
    assert recorder.spend(path, recorder.BURST, 100.0) == 0
    assert recorder.spend(path, recorder.RATE, 100.0) == 1
    assert recorder.spend(path, recorder.RATE, 100.0) == 2  # of another session
    assert recorder.spend(path, recorder.RATE, 110.0) == 0
    assert recorder.spend(path, recorder.BURST, 1e6) == 0  # no more than the burst was kept
    assert recorder.spend(path, recorder.RATE, 1e6) == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_s14_the_recorder_loses_nothing(tmp_path: Path) -> None:
    """S14: It copies all, and knows by the kernel whose session it is."""
    script = "import sys, pathlib; sys.path.insert(0, {!r}); import recorder\n"
    script += "recorder.STATE = pathlib.Path({!r}); sys.exit(recorder.main())"
    script = script.format(str(PROGRAM.parent), str(tmp_path))
    content = os.urandom(300_000)
    inner, outer = socket.socketpair()
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=inner, stdout=subprocess.PIPE) as child:
        inner.close()
        threading.Thread(target=lambda: (outer.sendall(content), outer.close())).start()
        assert child.stdout and child.stdout.read() == content
    assert child.returncode == 0
    left, _ = (tmp_path / str(os.getuid())).read_text().split()
    assert float(left) >= recorder.BURST - len(content)
